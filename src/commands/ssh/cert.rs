//! `access ssh cert`: a certificate for a grant, signed by ssh-keygen with the key of a CA.

use std::fs::{self, DirBuilder};
use std::io::{Read as _, stdin};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::super::app::App;
use crate::completion;
use crate::domain::certificate::{Certificate, ssh_principal};
use crate::domain::duration::Length;
use crate::domain::entitlement::Entitlement;
use crate::domain::member::Login;
use crate::domain::resource::Resource;
use crate::domain::ssh_key::KeyFingerprint;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::CheckView;
use crate::provisioning::{fingerprint, finish, ssh_keygen};
use crate::service::{Check, IssueCertificate};

/// The most bytes of a public key and a certificate.
const LONGEST_INPUT: u64 = 32 << 10;
/// A certificate that ends sooner is replaced, if there can be a longer one: 10 minutes.
const SOON: i64 = 600;

/// Sign an SSH key for the time of a grant (for the user who has the key of the CA)
#[derive(Debug, Args)]
#[command(
    after_help = "Reads a public key on standard input and writes a certificate on standard output. It has the principal \
LOGIN:RESOURCE, the number of the request as its serial number, and ends with the grant, or after --longest if that is earlier. \
Access without a grant, by a role or a scope, gets no certificate.

If the next line of standard input is such a certificate of the same key and CA, its grant is live, and it is good for another \
10 minutes, it is written as it is. Each new certificate is on the record before it is signed.

Example:
  access ssh cert --ca ca --for target:orders-db --login=bob < id.pub"
)]
pub struct CertArgs {
    /// The private key of the CA, or with --agent its public key
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// The socket of an ssh-agent that holds the key of the CA
    #[arg(long, value_name = "SOCKET")]
    pub agent: Option<PathBuf>,
    /// The resource that the grant opens
    #[arg(long = "for", value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Resource,
    /// The Unix user whose key it is (root and admins)
    #[arg(long, value_name = "LOGIN")]
    pub login: Login,
    /// The longest that a certificate lasts, at most 12h
    #[arg(long, value_name = "LENGTH", default_value = "12h")]
    pub longest: Length,
}

impl CertArgs {
    pub fn run(self, app: &mut App) -> Result<u8> {
        let CertArgs { ca, agent, resource, login, longest } = self;
        let check =
            Check { resource: resource.clone(), user: None, login: Some(login.clone()), freshness: None, at: None };
        let view = app.backend()?.answer(check)?;
        let granted = granted(&view)?;
        let mut text = String::new();
        let unreadable = |error| Failure::new(Kind::Io, format!("the public key can't be read: {error}"));
        stdin().lock().take(LONGEST_INPUT).read_to_string(&mut text).map_err(unreadable)?;
        let mut lines = text.lines();
        let key = key(lines.next().unwrap_or_default(), KeyKind::Plain).ok_or_else(no_key)?;
        let folder = Scratch::new()?;
        let key = folder.put("key.pub", &format!("{key} {login}\n"))?;
        let fingerprint = fingerprint(&key).map_err(|_| no_key())?;
        if let Some(old) = lines.next().and_then(|line| self::key(line, KeyKind::Certificate)) {
            let principal = ssh_principal(&login, &resource);
            if OldCertificate::of(&folder, &old)
                .is_some_and(|old| old.is_good(&fingerprint, &ca, &principal, &granted, view.now))
            {
                app.printer.raw(format!("{old} {login}\n").as_bytes())?;
                return Ok(0);
            }
        }
        let issue = IssueCertificate { login, resource, key: fingerprint, longest };
        let certificate = app.backend()?.answer(issue)?;
        app.printer.raw(&sign(&certificate, &folder, &ca, agent.as_deref())?)?;
        Ok(0)
    }
}

/// The grants by which the member may use the resource.
fn granted(view: &CheckView) -> Result<Vec<Entitlement>, Failure> {
    let granted: Vec<Entitlement> = view.because.iter().filter(|way| way.request.is_some()).cloned().collect();
    if granted.is_empty() {
        let (member, resource) = (&view.member, &view.resource);
        let message = format!("{member} has no grant for {resource}, so there is no certificate");
        return Err(Failure::new(Kind::Failure, message).hint(format!("ask with `access request {resource}`")));
    }
    Ok(granted)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Plain,
    Certificate,
}

/// The key in a line, without options and comment.
fn key(line: &str, kind: KeyKind) -> Option<String> {
    let mut words = line.split_whitespace();
    let (name, blob) = words.next().zip(words.next())?;
    let plain = |text: &str, signs: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c));
    let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|family| name.starts_with(family));
    let is_certificate = name.contains("-cert-");
    let is_wanted = is_key && is_certificate == (kind == KeyKind::Certificate);
    (is_wanted && plain(name, "-@.") && plain(blob, "+/=")).then(|| format!("{name} {blob}"))
}

fn no_key() -> Failure {
    Failure::new(Kind::Invalid, "standard input is not an SSH public key")
        .hint("give it a file such as ~/.ssh/id_ed25519.pub")
}

/// A folder for the files of ssh-keygen, removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        // Others can make folders there too, so the name is not to be guessed.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("access-ssh-cert-{}-{}", std::process::id(), since.as_nanos());
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder).map_err(|error| failed(&folder, &error))?;
        Ok(Scratch(folder))
    }

    fn put(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{}: {error}", path.display()))
}

/// A certificate that the member has already, as ssh-keygen shows it. Its signature is not checked: somebody who forges one gets it
/// back.
struct OldCertificate(String);

impl OldCertificate {
    fn of(folder: &Scratch, certificate: &str) -> Option<OldCertificate> {
        let path = folder.put("old-cert.pub", certificate).ok()?;
        finish(ssh_keygen().args(["-L", "-f"]).arg(path)).ok().map(OldCertificate)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "))
    }

    fn time(&self, before: &str) -> Option<Timestamp> {
        let valid = self.field("Valid")?;
        let mut words = valid.split_whitespace().skip_while(|word| *word != before);
        format!("{}Z", words.nth(1)?).parse().ok()
    }

    /// Whether it is of this key, CA and principal, its grant is live, and a new one would not last longer or this one does not
    /// end soon.
    fn is_good(
        &self,
        key: &KeyFingerprint,
        ca: &Path,
        principal: &str,
        granted: &[Entitlement],
        now: Timestamp,
    ) -> bool {
        let names = |field, key: &KeyFingerprint| {
            self.field(field).is_some_and(|value| value.split_whitespace().nth(1) == Some(key.as_str()))
        };
        let serial = self.field("Serial").and_then(|serial| serial.trim().parse::<i64>().ok());
        let way = granted.iter().find(|way| way.request.map(|request| request.get()) == serial);
        let (Some(way), Some(from), Some(until)) = (way, self.time("from"), self.time("to")) else { return false };
        let is_last = granted.iter().all(|other| other.until.is_some_and(|end| end <= until));
        let lasts = until.since(now) > if is_last { 0 } else { SOON };
        names("Public key", key)
            && fingerprint(ca).is_ok_and(|ca| names("Signing CA", &ca))
            && self.0.lines().filter(|line| line.trim() == principal).count() == 1
            && way.until.is_none_or(|end| until <= end)
            && from <= now
            && lasts
    }
}

/// Runs ssh-keygen, which writes the certificate beside the key.
fn sign(certificate: &Certificate, folder: &Scratch, ca: &Path, agent: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let Certificate { login, principal, serial, from, until, .. } = certificate;
    let mut command = ssh_keygen();
    if let Some(agent) = agent {
        command.env("SSH_AUTH_SOCK", agent).arg("-U");
    }
    command.arg("-q").arg("-s").arg(ca).args(["-I", &format!("{login} request {serial}")]);
    command.args(["-n", principal, "-z", &serial.to_string()]);
    command.args(["-V", &format!("{}:{}", digits(*from), digits(*until))]);
    let failed_to_sign = |why| Failure::new(Kind::Failure, format!("ssh-keygen did not sign the key: {why}"));
    finish(command.arg(folder.0.join("key.pub"))).map_err(failed_to_sign)?;
    let path = folder.0.join("key-cert.pub");
    fs::read(&path).map_err(|error| failed(&path, &error))
}

/// `20261127150000`
fn digits(time: Timestamp) -> String {
    time.to_string().chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_kind_and_its_number_and_nothing_else() {
        let public_key = |text| key(text, KeyKind::Plain);
        assert_eq!(public_key("ssh-ed25519 AAAA+/== bob@host x").unwrap(), "ssh-ed25519 AAAA+/==");
        assert!(public_key("sk-ssh-ed25519@openssh.com AAAA").is_some());
        for text in [
            "",
            "\n",
            "ssh-ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "root x:0:0",
            "from=\"*\" ssh-ed25519 AAAA",
            "ssh-ed25519 -oX",
            "ssh-ed25519 A!",
            "ssh-ed25519-cert-v01@openssh.com AAAA",
        ] {
            assert!(public_key(text).is_none(), "{text:?}");
        }
    }
}
