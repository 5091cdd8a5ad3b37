//! Who makes a call.

use super::{Problem, Service, member};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::ssh_key::{KeyFingerprint, SSH_KEY};
use crate::store::Read;

/// The caller: the Unix user as the operating system reports it, and the member they act as.
#[derive(Debug, Clone)]
pub struct Caller {
    pub login: Login,
    /// Whether that user is root, who may maintain the file without being a member, but decides nothing.
    pub root: bool,
    pub acting_as: ActingAs,
}

#[derive(Debug, Clone)]
pub enum ActingAs {
    /// The member with the caller's login.
    Login,
    /// Another member, in a file that is the caller's own.
    Member(Name),
    /// This member, for whom the Unix user acts: sshd has verified that they have this key.
    KeyHolder(Name, KeyFingerprint),
}

impl Caller {
    /// The Unix user, or the key, on whose word something is done. No login begins like a key.
    pub(super) fn os_user(&self) -> String {
        match &self.acting_as {
            ActingAs::Login | ActingAs::Member(_) => self.login.to_string(),
            ActingAs::KeyHolder(_, key) => format!("{SSH_KEY}{key}"),
        }
    }

    /// Whether the Unix user acts as nobody else.
    pub(super) fn acts_as_login(&self) -> bool {
        matches!(self.acting_as, ActingAs::Login)
    }
}

impl Service<'_> {
    /// The member who acts.
    pub(super) fn actor(&self, read: &Read<'_>) -> Result<Principal, Problem> {
        match &self.caller.acting_as {
            ActingAs::Login => {
                let login = &self.caller.login;
                let name = read.member_of_login(login)?;
                let no_member = || Refusal::from(CallerRefusal::NoMember { login: login.to_string() });
                member(read, &name.ok_or_else(no_member)?)
            }
            ActingAs::Member(name) => member(read, name),
            // The key may have been removed since the connection was made.
            ActingAs::KeyHolder(name, key) => {
                let holder = read.principal(name)?.filter(|holder| holder.member.has_key(key));
                let not_theirs = || CallerRefusal::NotTheirKey { member: name.clone(), key: key.clone() };
                Ok(holder.ok_or_else(|| Refusal::from(not_theirs()))?)
            }
        }
    }
}
