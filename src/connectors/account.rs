//! The accounts of this host.

use std::fs;

use nix::unistd::User;

use super::NotDone;
use crate::domain::member::Login;

/// The account that this host has for a login.
pub fn of(login: &Login) -> Result<User, NotDone> {
    match User::from_name(login.as_str()) {
        Ok(Some(user)) if user.name == login.as_str() => Ok(user),
        // A name service that ignores case: what is given to one spelling is not given to the other.
        Ok(Some(user)) => {
            Err(NotDone::Failed(format!("this host spells the login {login} differently: {}", user.name)))
        }
        Ok(None) => Err(NotDone::Failed(format!("this host has no user {login}"))),
        Err(error) => Err(NotDone::Later(format!("this host's user database can't be read: {}", error.desc()))),
    }
}

/// Another local account whose name differs only in the case of letters.
pub fn other_case(login: &Login) -> Result<Option<String>, NotDone> {
    const FILE: &str = "/etc/passwd";
    let text = fs::read(FILE).map_err(|error| NotDone::Later(format!("{FILE} can't be read: {error}")))?;
    let text = String::from_utf8_lossy(&text);
    let mut names = text.lines().filter_map(|line| line.split(':').next());
    let other = names.find(|name| *name != login.as_str() && name.eq_ignore_ascii_case(login.as_str()));
    Ok(other.map(str::to_owned))
}
