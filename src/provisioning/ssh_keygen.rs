//! ssh-keygen of OpenSSH.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::domain::ssh_key::KeyFingerprint;

/// ssh-keygen, which asks nothing.
pub fn ssh_keygen() -> Command {
    let mut command = Command::new("ssh-keygen");
    // It reads and writes times in the local time zone.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    // It must not ask at the terminal for a passphrase.
    command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force").stdin(Stdio::null());
    command
}

/// Runs it to its end. Returns what it printed, or the first line of what it complained about.
pub fn finish(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("ssh-keygen can't be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("ssh-keygen gave no reason").to_owned())
}

/// The fingerprint of the key in a file, or of the public part of a private key.
pub fn fingerprint(key: &Path) -> Result<KeyFingerprint, String> {
    let said = finish(ssh_keygen().args(["-l", "-E", "sha256", "-f"]).arg(key))?;
    let word = said.split_whitespace().nth(1).unwrap_or_default();
    word.parse().map_err(|_| format!("{} is not an SSH key", key.display()))
}
