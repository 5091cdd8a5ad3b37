//! The files in `/etc/sudoers.d`, one for each login and profile.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::command::{RunAs, SudoCommand};
use crate::connectors::{NotDone, tool};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// The first line of each file of ours begins so. The rest of the line is a `SudoGrant` in JSON.
const MARK: &str = "# Written by access, which removes it when access ends: ";
const PREFIX: &str = "access+";
/// The most bytes of a file that can be ours.
const LONGEST: u64 = 64 << 10;
/// sudo does not read a file whose name has a dot.
const DRAFT: &str = ".new";

/// Whom a file is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SudoGrant {
    pub login: Login,
    pub profile: Name,
}

/// What a file says.
pub struct Rules<'r> {
    pub granted: SudoGrant,
    pub commands: Vec<&'r SudoCommand>,
    pub run_as: &'r RunAs,
    pub ask_password: bool,
    pub log_io: bool,
    pub until: Option<Timestamp>,
}

impl SudoGrant {
    /// `access+bob+web`. Other characters than letters, digits, `-` and `_` are written as numbers: sudo passes over a name with
    /// a dot or with `~` at its end.
    fn file_name(&self) -> Result<String, NotDone> {
        let name = format!("{PREFIX}{}+{}", encoded(self.login.as_str()), encoded(self.profile.as_str()));
        if name.len() + DRAFT.len() > 255 {
            return Err(NotDone::Failed(format!("the login {} is too long for the name of a file", self.login)));
        }
        Ok(name)
    }

    fn header(&self) -> Result<String, NotDone> {
        let json = serde_json::to_string(self).map_err(|error| NotDone::Failed(error.to_string()))?;
        Ok(format!("{MARK}{json}"))
    }
}

fn encoded(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            name.push(byte.into());
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// The login as sudoers has it: in quotes, so that it can't be an alias, a keyword or `ALL`. What has a meaning inside of quotes too
/// is refused: a `%`, `+`, `#` or `!` at the beginning would name a group, a netgroup, a number or everybody else.
fn quoted(login: &Login) -> Result<String, NotDone> {
    let name = login.as_str();
    let plain = name.starts_with(|c: char| c.is_alphanumeric() || c == '_') && !name.contains(['"', '\\']);
    if plain {
        Ok(format!("\"{name}\""))
    } else {
        Err(NotDone::Failed(format!("the login {name} has a meaning of its own in sudoers")))
    }
}

impl Rules<'_> {
    fn text(&self) -> Result<String, NotDone> {
        let mut text = format!("{}\n", self.granted.header()?);
        let user = quoted(&self.granted.login)?;
        let tag = if self.ask_password { "PASSWD" } else { "NOPASSWD" };
        let log = if self.log_io { "LOG_INPUT: LOG_OUTPUT: " } else { "" };
        for command in &self.commands {
            let _ = writeln!(text, "{user} ALL=({}) {}{log}{tag}: {command}", self.run_as, not_after(self.until));
        }
        Ok(text)
    }
}

/// The last second of access. It ends in Z (UTC): without it sudo would take the time zone of the caller's environment.
fn not_after(until: Option<Timestamp>) -> String {
    let Some(until) = until else { return String::new() };
    // sudo counts this second as still allowed.
    let last = Timestamp::from_unix(until.unix() - 1).unwrap_or(until);
    let digits: String = last.to_string().chars().filter(char::is_ascii_digit).collect();
    format!("NOTAFTER={digits}Z ")
}

/// All files of ours.
pub fn read_all(directory: &Path) -> Result<Vec<SudoGrant>, NotDone> {
    let unreadable = |error: std::io::Error| NotDone::Later(format!("{}: {error}", directory.display()));
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        match read(&directory.join(name))? {
            // A copy under another name (`.new`, a backup of an editor) is none of ours.
            Some(granted) if granted.file_name().is_ok_and(|own| own == name) => all.push(granted),
            Some(_) | None => {}
        }
    }
    all.sort();
    Ok(all)
}

/// Whom a file is for. None: there is none, or it is not ours.
fn read(path: &Path) -> Result<Option<SudoGrant>, NotDone> {
    let unreadable = |error: std::io::Error| NotDone::Later(format!("{}: {error}", path.display()));
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let text = text_of(path).map_err(unreadable)?;
    let header = text.lines().next().and_then(|line| line.strip_prefix(MARK));
    Ok(header.and_then(|json| serde_json::from_str(json).ok()))
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut bytes = Vec::new();
    OpenOptions::new().read(true).custom_flags(flags).open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Puts the file into place, after visudo has found no fault with it. Returns its path.
pub fn write(directory: &Path, rules: &Rules<'_>) -> Result<PathBuf, NotDone> {
    let name = rules.granted.file_name()?;
    let text = rules.text()?;
    let path = directory.join(&name);
    match read(&path)? {
        Some(granted) if granted == rules.granted => {
            if text_of(&path).is_ok_and(|found| found == text) {
                return Ok(path);
            }
        }
        None if fs::symlink_metadata(&path).is_err() => {}
        Some(_) | None => return Err(NotDone::Failed(format!("{} was not written by access", path.display()))),
    }
    let draft = directory.join(name + DRAFT);
    let made = write_draft(&draft, &text)
        .map_err(|error| failed(&draft, &error))
        .and_then(|()| check(&draft))
        .and_then(|()| fs::rename(&draft, &path).map_err(|error| failed(&path, &error)));
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    made?;
    tool::sync(directory)?;
    Ok(path)
}

/// Fails if sudo does not read this file: without `@includedir` in `/etc/sudoers` it would give nothing.
pub fn check_that_sudo_reads(path: &Path) -> Result<(), NotDone> {
    let output = tool::run("visudo", ["-c"])?;
    // It names each file that it reads, unless one has a fault. A fault of another file is not ours.
    let named = format!("{}:", path.display());
    let text = [output.stdout, output.stderr].concat();
    if !output.status.success() || String::from_utf8_lossy(&text).lines().any(|line| line.starts_with(&named)) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(path).display();
    Err(NotDone::Failed(format!("sudo does not read {directory}: /etc/sudoers has no line @includedir {directory}")))
}

fn write_draft(draft: &Path, text: &str) -> std::io::Result<()> {
    // What an interrupted run left.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o440).open(draft)?;
    file.set_permissions(fs::Permissions::from_mode(0o440))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn check(draft: &Path) -> Result<(), NotDone> {
    let output = tool::run("visudo", ["-c".as_ref(), "-f".as_ref(), draft.as_os_str()])?;
    if output.status.success() {
        return Ok(());
    }
    Err(NotDone::Failed(format!("visudo refuses the file: {}", tool::complaint(&output))))
}

/// Returns whether there was a file.
pub fn remove(directory: &Path, granted: &SudoGrant) -> Result<bool, NotDone> {
    let path = directory.join(granted.file_name()?);
    let is_there = read(&path)?.as_ref() == Some(granted);
    if is_there {
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    }
    // A run that was killed may have removed it, and not synced.
    if directory.exists() {
        tool::sync(directory)?;
    }
    Ok(is_there)
}

fn failed(path: &Path, error: &std::io::Error) -> NotDone {
    NotDone::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str) -> Login {
        text.parse().unwrap()
    }

    #[test]
    fn no_login_means_anything_else_to_sudo() {
        for name in ["bob", "Bob", "ALL", "ADMINS", "User_Alias", "a.b", "bob$", "bob@corp.example", "a=b(c)", "1000"] {
            assert_eq!(quoted(&login(name)).unwrap(), format!("\"{name}\""));
        }
        for name in ["%sudo", "+net", "#1000", "!bob", "a\"b", "CORP\\bob", "*", "~x", "@include", "."] {
            assert!(quoted(&login(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn each_login_and_profile_has_a_file_that_sudo_reads() {
        let name = |who: &str, profile: &str| {
            SudoGrant { login: login(who), profile: profile.parse().unwrap() }.file_name().unwrap()
        };
        assert_eq!(name("bob", "web"), "access+bob+web");
        assert_eq!(name("b.ob~", "web.1"), "access+b%2Eob%7E+web%2E1");
        let all = [name("a+b", "c"), name("a", "b+c".replace('+', "-").as_str()), name("a%2Bb", "c"), name("a", "b.c")];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(name(&"x".repeat(63), &"y".repeat(63)).len() < 255);
        let long = SudoGrant { login: login(&"x".repeat(256)), profile: "web".parse().unwrap() };
        assert!(long.file_name().is_err());
    }

    #[test]
    fn the_end_is_in_utc_and_the_last_second_before_it() {
        let until = "2026-11-27T15:00:00Z".parse().unwrap();
        assert_eq!(not_after(Some(until)), "NOTAFTER=20261127145959Z ");
        assert_eq!(not_after(None), "");
    }
}
