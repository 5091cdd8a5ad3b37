//! Secrets from a private file, a systemd credential or the environment. Never printed.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Group, geteuid};

use crate::config;
use crate::error::{Failure, Kind};

#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the configuration says the secret is.
#[derive(Clone, Copy)]
pub struct SecretSource<'c> {
    /// The start of its keys: `password`, `token`, `secret`.
    pub what: &'static str,
    pub file: Option<&'c Path>,
    pub credential: Option<&'c str>,
    pub env: Option<&'c str>,
}

/// The longest secret: 16 KiB.
const LONGEST: u64 = 16 << 10;

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// None if the configuration names no source.
    pub fn load(source: SecretSource<'_>) -> Result<Option<Secret>, Failure> {
        let what = source.what;
        let text = match (source.file, source.credential, source.env) {
            (None, None, None) => return Ok(None),
            (Some(file), None, None) => read_file(file)?,
            (None, Some(name), None) => read_credential(name)?,
            (None, None, Some(name)) => std::env::var(name).map_err(|_| {
                invalid(format!("the variable {name} is not set")).hint(format!("{what}_env names it in config.toml"))
            })?,
            (Some(_), ..) | (None, Some(_), Some(_)) => {
                let keys = format!("{what}_file, {what}_credential or {what}_env");
                return Err(invalid(format!("a {what} comes from one place: {keys}")));
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(invalid(format!("the {what} is empty")));
        }
        Ok(Some(Secret(text.to_owned())))
    }

    /// The secret in this file.
    pub fn in_file(file: &Path) -> Result<Secret, Failure> {
        Ok(Secret(read_file(file)?.trim().to_owned()))
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Kind::Invalid, message)
}

fn read_file(path: &Path) -> Result<String, Failure> {
    if let Some(text) = path.to_str()
        && (text.contains("://") || ["whsec_", "xoxb-", "xoxp-"].iter().any(|begin| text.starts_with(begin)))
    {
        // An error would show it as a path.
        let message = "config.toml has a secret where the name of a file belongs".to_owned();
        return Err(
            invalid(message).hint("write the secret to a file of mode 0600, and name that; then change the secret")
        );
    }
    let read = config::read_regular(path, LONGEST)?;
    let (shown, found) = (path.display(), &read.metadata);
    let me = geteuid().as_raw();
    if found.uid() != me && found.uid() != 0 {
        return Err(invalid(format!("{shown} belongs to another user")).hint("make it yours, or root's"));
    }
    let mode = found.mode() & 0o777;
    let ours = || matches!(Group::from_name("access"), Ok(Some(group)) if group.gid.as_raw() == found.gid());
    let shared = mode == 0o640 && found.uid() == 0 && ours();
    if mode & 0o077 != 0 && !shared {
        let failure =
            invalid(format!("{shown} can be read or written by others (mode {mode:04o}), so it is not secret"));
        // What root has beside the configuration of a shared host is for the system user too.
        return Err(failure.hint(
            if found.uid() == 0 && Group::from_name("access").is_ok_and(|group| group.is_some()) {
                format!("chown root:access {shown}; chmod 640 {shown}, and replace the secret")
            } else {
                format!("chmod 600 {shown}, and replace the secret")
            },
        ));
    }
    read.text(path)
}

fn read_credential(name: &str) -> Result<String, Failure> {
    if name.contains('/') {
        return Err(invalid(format!("{name} is not the name of a credential: it contains a /")));
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        invalid(format!("the credential {name} is not there: no CREDENTIALS_DIRECTORY is set"))
            .hint("systemd sets it for services that have LoadCredential=")
    })?;
    let path = Path::new(&folder).join(name);
    config::read_regular(&path, LONGEST)?.text(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_it() {
        let secret = Secret("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
