//! `access ssh cert`: a certificate for a grant, signed by ssh-keygen with the key of a CA.

use std::fs::{self, DirBuilder};
use std::io::{Read as _, stdin};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::super::app::App;
use crate::completion;
use crate::domain::duration::Length;
use crate::domain::entitlement::{Entitlement, longest};
use crate::domain::member::Login;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::CheckView;
use crate::service::Check;

/// The most bytes of a public key.
const LONGEST_KEY: u64 = 16 << 10;
/// How much the clock of the host may be behind ours.
const SLACK: i64 = 60;

/// Sign an SSH key for the time of a grant (for the user who has the key of the CA)
#[derive(Debug, Args)]
#[command(
    after_help = "Reads a public key on standard input and writes a certificate on standard output. It has the principal \
LOGIN:RESOURCE, the number of the request as its serial number, and ends with the grant, or after --longest if that is earlier. \
Access without a grant, by a role or a scope, gets no certificate.

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
    /// The longest that a certificate lasts
    #[arg(long, value_name = "LENGTH", default_value = "12h")]
    pub longest: Length,
}

/// What the certificate says.
struct Certificate {
    login: Login,
    resource: Resource,
    request: RequestId,
    from: Timestamp,
    until: Timestamp,
}

impl CertArgs {
    pub fn run(self, app: &mut App) -> Result<u8> {
        let CertArgs { ca, agent, resource, login, longest } = self;
        let check = Check { resource: resource.clone(), user: None, login: Some(login.clone()) };
        let view = app.backend()?.answer(check)?;
        let (request, end) = grant(&view)?;
        let most = view.now.plus(longest);
        let certificate = Certificate {
            login,
            resource,
            request,
            from: Timestamp::from_unix((view.now.unix() - SLACK).max(0)).unwrap_or(view.now),
            until: end.map_or(most, |end| end.min(most)),
        };
        let mut key = String::new();
        let unreadable = |error| Failure::new(Kind::Io, format!("the public key can't be read: {error}"));
        stdin().lock().take(LONGEST_KEY).read_to_string(&mut key).map_err(unreadable)?;
        let signed = certificate.sign(&public_key(&key)?, &ca, agent.as_deref())?;
        app.printer.raw(&signed)?;
        Ok(0)
    }
}

/// The grant that lasts longest.
fn grant(view: &CheckView) -> Result<(RequestId, Option<Timestamp>), Failure> {
    let granted: Vec<Entitlement> = view.because.iter().filter(|way| way.request.is_some()).cloned().collect();
    match longest(&granted) {
        Some(Entitlement { request: Some(request), until, .. }) => Ok((*request, *until)),
        Some(_) | None => {
            let (member, resource) = (&view.member, &view.resource);
            let message = format!("{member} has no grant for {resource}, so there is no certificate");
            Err(Failure::new(Kind::Failure, message).hint(format!("ask with `access request {resource}`")))
        }
    }
}

/// The key, without options and comment.
fn public_key(text: &str) -> Result<String, Failure> {
    let invalid = || {
        Failure::new(Kind::Invalid, "standard input is not an SSH public key")
            .hint("give it a file such as ~/.ssh/id_ed25519.pub")
    };
    let mut words = text.lines().next().unwrap_or_default().split_whitespace();
    let (kind, blob) = words.next().zip(words.next()).ok_or_else(invalid)?;
    let plain = |text: &str, signs: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c));
    let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|family| kind.starts_with(family)) && !kind.contains("-cert-");
    if is_key && plain(kind, "-@.") && plain(blob, "+/=") { Ok(format!("{kind} {blob}")) } else { Err(invalid()) }
}

impl Certificate {
    /// Runs ssh-keygen, which writes the certificate beside the key.
    fn sign(&self, key: &str, ca: &Path, agent: Option<&Path>) -> Result<Vec<u8>, Failure> {
        // Others can make folders there too, so the name is not to be guessed.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("access-ssh-cert-{}-{}", std::process::id(), since.as_nanos());
        let folder = std::env::temp_dir().join(name);
        let failed = |error| Failure::new(Kind::Io, format!("{}: {error}", folder.display()));
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let signed = fs::write(folder.join("key.pub"), format!("{key} {}\n", self.login))
            .map_err(failed)
            .and_then(|()| self.run_ssh_keygen(&folder, ca, agent))
            .and_then(|()| fs::read(folder.join("key-cert.pub")).map_err(failed));
        let _ = fs::remove_dir_all(&folder);
        signed
    }

    fn run_ssh_keygen(&self, folder: &Path, ca: &Path, agent: Option<&Path>) -> Result<(), Failure> {
        let Certificate { login, resource, request, .. } = self;
        let mut command = Command::new("ssh-keygen");
        // It reads times in the local time zone.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        // It must not ask at the terminal for the passphrase of the CA.
        command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent).arg("-U");
        }
        command.arg("-q").arg("-s").arg(ca).args(["-I", &format!("{login} request {request}")]);
        command.args(["-n", &format!("{login}:{resource}"), "-z", &request.to_string()]);
        command.args(["-V", &format!("{}:{}", digits(self.from), digits(self.until))]);
        let output = command
            .arg(folder.join("key.pub"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::new(Kind::Failure, format!("ssh-keygen can't be run: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it said nothing");
        Err(Failure::new(Kind::Failure, format!("ssh-keygen did not sign the key: {said}")))
    }
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
        assert_eq!(public_key("ssh-ed25519 AAAA+/== bob@host x\nsecond").unwrap(), "ssh-ed25519 AAAA+/==");
        assert!(public_key("sk-ssh-ed25519@openssh.com AAAA").is_ok());
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
            assert!(public_key(text).is_err(), "{text:?}");
        }
    }
}
