//! `access ssh keys`: tells sshd which keys may give commands.

use anyhow::Result;
use clap::Args;

use super::super::app::App;
use crate::error::{Failure, Kind};
use crate::service::HolderOfKey;

/// Print the line of authorized_keys for a member's SSH key (for the user who owns the database, and root)
#[derive(Debug, Args)]
#[command(
    after_help = "For AuthorizedKeysCommand of sshd, so that members give commands over SSH without an account. Their keys are \
ssh_keys in the team file. The line lets the key run `access ssh command` for its member, and nothing else.

Exit 0: a member has the key; 1: nobody has, or the member is disabled.

Example:
  access ssh keys -- %k"
)]
pub struct KeysArgs {
    /// The key in Base64 (%k of sshd)
    #[arg(value_name = "KEY")]
    pub blob: String,
}

impl KeysArgs {
    pub fn run(self, app: &mut App) -> Result<u8> {
        let Some((member, key)) = app.backend()?.answer(HolderOfKey { blob: self.blob })? else { return Ok(1) };
        let command = format!("{} ssh command --key={} -- {member}", program()?, key.fingerprint());
        app.printer.raw(format!("restrict,command=\"{command}\" {}\n", key.without_comment()).as_bytes())?;
        Ok(0)
    }
}

/// The path of this program. It is read by sshd and by a shell, so nothing in it may have a meaning there.
fn program() -> Result<String, Failure> {
    let path = std::env::current_exe().map_err(|error| Failure::new(Kind::Io, format!("this program: {error}")))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match path.to_str().filter(|path| path.chars().all(is_plain)) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Failure::new(Kind::Failure, format!("sshd can't run {} from a line of keys", path.display()))
            .hint("install the program as /usr/bin/access")),
    }
}
