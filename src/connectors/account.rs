//! The accounts of this host.

use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;

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

/// The user IDs that an account's processes may have: its own, and the subordinate ones of `/etc/subuid`, which
/// `newuidmap` gives (containers of users).
pub fn user_ids(user: &User) -> Result<Vec<RangeInclusive<u32>>, NotDone> {
    const FILE: &str = "/etc/subuid";
    let text = match fs::read(FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(NotDone::Later(format!("{FILE} can't be read: {error}"))),
    };
    let uid = user.uid.as_raw();
    let mut ids = subordinate(&String::from_utf8_lossy(&text), &user.name, uid);
    ids.push(uid..=uid);
    Ok(ids)
}

/// `bob:100000:65536`, or with the user ID instead of the name. Never root's ID.
fn subordinate(text: &str, name: &str, uid: u32) -> Vec<RangeInclusive<u32>> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != name && owner.parse() != Ok(uid) {
            return None;
        }
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let last = first.saturating_add(count.checked_sub(1)?);
        Some(first.max(1)..=last)
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_file_gives_the_id_of_root(text in "((bob|1001|alice|):[0-9]{0,11}:[0-9]{0,11}\n|\\PC{0,9}\n?){0,5}") {
            for range in subordinate(&text, "bob", 1001) {
                prop_assert!(!range.contains(&0));
            }
        }
    }

    #[test]
    fn subordinate_ids_are_by_name_or_by_number() {
        let text = "alice:100000:65536\nbob:165536:65536\n\n#bob:1:1\nbob\nbob:x:1\nbob:7:0\n1001:300000:1\n10010:5:5\n\
                    bob:4294967000:65536\nbob:0:2\n";
        let expected = [165_536..=231_071, 300_000..=300_000, 4_294_967_000..=u32::MAX, 1..=1];
        assert_eq!(subordinate(text, "bob", 1001), expected);
        assert_eq!(subordinate(text, "carol", 1002), []);
    }
}
