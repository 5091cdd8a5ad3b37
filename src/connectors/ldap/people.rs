//! The entries of people: which one a login has, and how it is spelled there.

use ldap3::LdapResult;

use super::dn::Template;
use super::session::{Directory, not_done};
use super::{code, values};
use crate::connectors::NotDone;
use crate::domain::member::Login;

/// The login of an entry, as the entry itself spells it, or the result that says why it can't be read.
fn read(
    directory: &mut Directory,
    template: &Template,
    entry: &str,
) -> Result<Result<Option<String>, LdapResult>, NotDone> {
    let (attribute, wanted) = (template.attribute(), template.login(entry));
    let read = directory.with(|session| session.read(entry, &[attribute]))?;
    Ok(read.map(|entry| {
        let spellings = values(&entry, attribute);
        let exact = spellings.iter().find(|spelling| wanted.as_ref() == Some(*spelling));
        let same =
            |spelling: &&String| wanted.as_ref().is_some_and(|wanted| wanted.to_lowercase() == spelling.to_lowercase());
        // The server can take another form of Unicode for the same.
        let found = exact.or_else(|| spellings.iter().find(same)).or(spellings.first());
        found.cloned().or(wanted)
    }))
}

/// How an entry spells its login. None: there is no such entry, or this connector can't see it.
pub fn spelling(directory: &mut Directory, template: &Template, entry: &str) -> Result<Option<String>, NotDone> {
    match read(directory, template, entry)? {
        Ok(spelling) => Ok(spelling),
        Err(result) if [code::NO_SUCH_OBJECT, code::REFERRAL, code::INSUFFICIENT_ACCESS].contains(&result.rc) => {
            Ok(None)
        }
        Err(result) => Err(not_done(&result)),
    }
}

/// A directory takes `Bob` and `bob` for one person, whose membership is not the other's.
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
    match read(directory, template, &entry)? {
        Ok(Some(spelling)) if spelling != login.as_str() => Err(other(login, &spelling)),
        Ok(Some(_)) => Ok(entry),
        Err(result) if result.rc != code::NO_SUCH_OBJECT => Err(not_done(&result)),
        Ok(None) | Err(_) => Err(NotDone::Failed(format!("there is no entry {entry}"))),
    }
}
