//! What sshd allows the system user `access`. This user owns the database, so sshd must run nothing else as this user than the
//! commands of members.

use std::process::{Command, Stdio};

use super::USER;

/// What sshd's configuration must say for the user, as `sshd -T` prints it.
const NEEDED: [&str; 3] = ["authenticationmethods publickey", "authorizedkeysfile none", "trustedusercakeys none"];
const KEYS_COMMAND: (&str, &str) = ("authorizedkeyscommand", "access ssh keys");

/// What sshd lacks to keep the user to the commands of members. Empty: nothing.
pub fn lacks() -> Vec<String> {
    let connection = format!("user={USER},host=localhost,addr=127.0.0.1");
    let mut sshd = Command::new("/usr/sbin/sshd");
    let printed = sshd.args(["-T", "-C", &connection]).env_clear().stdin(Stdio::null()).output();
    let Some(output) = printed.ok().filter(|output| output.status.success()) else {
        return vec!["a configuration that `sshd -T` can read".to_owned()];
    };
    let settings = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lacks: Vec<String> = Vec::new();
    lacks
        .extend(NEEDED.iter().filter(|needed| !settings.lines().any(|line| line == **needed)).map(ToString::to_string));
    let (keyword, command) = KEYS_COMMAND;
    if !settings.lines().any(|line| line.starts_with(keyword) && line.contains(&format!("/{command} "))) {
        lacks.push(format!("{keyword} {command}"));
    }
    lacks
}
