//! A member of a team, and how members are named together: by name, group or role.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::channel::Addresses;
use super::contact::Timezone;
use super::name::Name;
use super::role::Role;
use super::ssh_key::{KeyFingerprint, SshKey};
use super::text::is_hostile;
use super::{Malformed, checked_string, read_by_parsing};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub role: Role,
    /// The Unix user name.
    pub login: Login,
    #[serde(flatten)]
    pub addresses: Addresses,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Timezone>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Whether this member sees everything and decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auditor: bool,
    /// The keys with which the member gives commands over SSH. No other member has one of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ssh_keys: BTreeSet<SshKey>,
}

impl Member {
    /// A member of whom only this is known.
    pub fn plain(role: Role, login: Login) -> Member {
        let (addresses, ssh_keys) = (Addresses::default(), BTreeSet::new());
        Member { role, login, addresses, timezone: None, disabled: false, auditor: false, ssh_keys }
    }

    /// Whether this member may decide on requests, if a role or a rule says so.
    pub fn can_decide(&self) -> bool {
        !self.disabled && !self.auditor
    }

    pub fn has_key(&self, fingerprint: &KeyFingerprint) -> bool {
        self.ssh_keys.iter().any(|key| key.fingerprint() == *fingerprint)
    }
}

/// A Unix user name, as the system's user database spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login(String);
checked_string!(Login);

impl FromStr for Login {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Login, Malformed> {
        let plain = |c: char| !c.is_whitespace() && !is_hostile(c) && !":/,".contains(c);
        if !text.is_empty() && text.len() <= 256 && !text.starts_with('-') && text.chars().all(plain) {
            Ok(Login(text.to_owned()))
        } else {
            Err(Malformed::new("a login is a Unix user name, without spaces, ':' or '/'"))
        }
    }
}

impl From<&Name> for Login {
    /// Every name is also a possible login.
    fn from(name: &Name) -> Login {
        Login(name.to_string())
    }
}

/// Who has a scope without asking, who may approve, whom a rule is about: a member, a group, or a role, which stands for
/// itself and all above it (but where it says whom a rule is about: there for itself alone).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignee {
    Member(Name),
    Group(Name),
    Role(Role),
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assignee::Member(name) => write!(f, "member:{name}"),
            Assignee::Group(name) => write!(f, "group:{name}"),
            Assignee::Role(role) => write!(f, "role:{role}"),
        }
    }
}

impl FromStr for Assignee {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Assignee, Malformed> {
        match text.split_once(':') {
            Some(("member", name)) => Ok(Assignee::Member(name.parse()?)),
            Some(("group", name)) => Ok(Assignee::Group(name.parse()?)),
            Some(("role", name)) => Ok(Assignee::Role(name.parse()?)),
            Some(_) | None => Err(Malformed::new("written member:NAME, group:NAME or role:NAME")),
        }
    }
}

read_by_parsing!(Assignee);

impl Serialize for Assignee {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
