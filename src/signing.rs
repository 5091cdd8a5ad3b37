//! Signs a text with an SSH key of the user, by ssh-keygen: it asks the agent, for a passphrase, or for a touch of a security key.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config;
use crate::domain::ssh_key::SshKey;
use crate::domain::ssh_signature::{ALGORITHMS, SshSignature};
use crate::domain::text::joined;
use crate::error::{Failure, Kind};

/// A file that tells ssh-keygen which key to use.
pub enum KeyFile {
    Own(PathBuf),
    /// A public key of the agent, in a file that is removed.
    OfAgent(PathBuf),
}

impl KeyFile {
    /// The file that the user's configuration names, or else the first of these keys that the user has.
    pub fn find(keys: &BTreeSet<SshKey>) -> Result<KeyFile, Failure> {
        let usable: Vec<&SshKey> = keys.iter().filter(|key| ALGORITHMS.contains(&key.algorithm())).collect();
        match config::signing_key()? {
            Some(file) => Ok(KeyFile::Own(file)),
            None => find(&usable),
        }
    }

    /// Signs this text, for this purpose.
    pub fn sign(&self, namespace: &str, text: &str) -> Result<SshSignature, Failure> {
        let (KeyFile::Own(path) | KeyFile::OfAgent(path)) = self;
        ssh_keygen(namespace, text, path)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if let KeyFile::OfAgent(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The first of these keys that the agent has, or else one in `~/.ssh`.
fn find(keys: &[&SshKey]) -> Result<KeyFile, Failure> {
    let of_agent = keys_of_agent();
    let is_one = |found: &SshKey| keys.iter().any(|key| key.blob() == found.blob());
    if let Some(key) = of_agent.iter().flatten().find(|found| is_one(found)) {
        return write_public_key(key);
    }
    let folder = config::home().map(|home| home.join(".ssh")).unwrap_or_default();
    let files = std::fs::read_dir(&folder).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
    let is_named = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("id_") && name.ends_with(".pub")
    };
    let mut files: Vec<PathBuf> = files.filter(is_named).collect();
    files.sort();
    let public = |file: &PathBuf| config::read_regular(file, 1 << 16).ok()?.text(file).ok()?.parse::<SshKey>().ok();
    let found = files.into_iter().find(|file| public(file).is_some_and(|key| is_one(&key)));
    found.map(KeyFile::Own).ok_or_else(|| {
        let named = joined(keys.iter().map(|key| key.in_words()));
        let why = match of_agent {
            Some(_) => "your agent does not have it, and no id_*.pub in ~/.ssh is it",
            None => "no ssh-agent answers, and no id_*.pub in ~/.ssh is it",
        };
        Failure::new(Kind::Failure, format!("no key is here that the team file has of you ({named}): {why}")).hint(
            "`ssh-add FILE` gives it to your agent; or name its file in ~/.config/access/config.toml: signing_key",
        )
    })
}

/// None: no agent answers.
fn keys_of_agent() -> Option<Vec<SshKey>> {
    let listed = Command::new("ssh-add").arg("-L").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    // 1: it has none.
    let answers = matches!(listed.status.code(), Some(0 | 1));
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    answers.then(|| text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn write_public_key(key: &SshKey) -> Result<KeyFile, Failure> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("access-signing-key-{}.pub", std::process::id()));
    let failed = |error: std::io::Error| Failure::new(Kind::Io, format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    let key_file = KeyFile::OfAgent(path.clone());
    writeln!(file, "{}", key.without_comment()).map_err(failed)?;
    Ok(key_file)
}

fn ssh_keygen(namespace: &str, text: &str, key: &Path) -> Result<SshSignature, Failure> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    // On a terminal it says that a security key waits for a touch.
    let is_seen = std::io::stderr().is_terminal();
    command.stderr(if is_seen { Stdio::inherit() } else { Stdio::piped() });
    let failed = |error: std::io::Error| {
        let failure = Failure::new(Kind::Failure, format!("ssh-keygen can't be run: {error}"));
        match error.kind() {
            ErrorKind::NotFound => failure.hint("install the client programs of OpenSSH (Debian: openssh-client)"),
            _ => failure,
        }
    };
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it reads nothing, it says why.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().map_or_else(String::new, |line| format!(": {line}"));
    let message = format!("ssh-keygen did not sign with {}{why}", key.display());
    let signature = String::from_utf8(output.stdout).ok().and_then(|text| text.parse().ok());
    signature.filter(|_| output.status.success()).ok_or_else(|| Failure::new(Kind::Failure, message))
}
