//! The entries of people: which one a login has, and how it is spelled there.

use super::dn::Template;
use super::session::{Directory, not_done};
use super::{code, values};
use crate::connectors::NotDone;
use crate::domain::member::Login;

/// The login of an entry, as the entry itself spells it. None: there is no such entry.
pub fn spelling(directory: &mut Directory, template: &Template, entry: &str) -> Result<Option<String>, NotDone> {
    let (attribute, wanted) = (template.attribute(), template.login(entry));
    match directory.with(|session| session.read(entry, &[attribute]))? {
        Ok(entry) => {
            let spellings = values(&entry, attribute);
            let exact = spellings.iter().find(|spelling| wanted.as_ref() == Some(*spelling));
            let same = |spelling: &&String| {
                wanted.as_ref().is_some_and(|wanted| wanted.to_lowercase() == spelling.to_lowercase())
            };
            // The server can take another form of Unicode for the same.
            let found = exact.or_else(|| spellings.iter().find(same)).or(spellings.first());
            Ok(found.cloned().or(wanted))
        }
        Err(result) if result.rc == code::NO_SUCH_OBJECT => Ok(None),
        Err(result) => Err(not_done(&result)),
    }
}

/// A directory takes `Bob` and `bob` for one person, whose membership is not the other's. An entry that is gone has no spelling.
pub fn check_spelling(directory: &mut Directory, template: &Template, login: &Login) -> Result<(), NotDone> {
    match spelling(directory, template, &template.dn(login.as_str()))? {
        Some(spelling) if spelling != login.as_str() => Err(other(login, &spelling)),
        Some(_) | None => Ok(()),
    }
}

fn other(login: &Login, spelling: &str) -> NotDone {
    NotDone::Failed(format!("the directory has no login {login}, but {spelling}"))
}

/// A login can be given something if it has an entry, in the same upper and lower case. Returns the entry's name.
pub fn entry_of(directory: &mut Directory, template: &Template, login: &Login) -> Result<String, NotDone> {
    let entry = template.dn(login.as_str());
    match spelling(directory, template, &entry)? {
        Some(spelling) if spelling == login.as_str() => Ok(entry),
        Some(spelling) => Err(other(login, &spelling)),
        None => Err(NotDone::Failed(format!("there is no entry {entry}"))),
    }
}
