//! One recorded change of a team.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Group, Header};
use crate::domain::Malformed;
use crate::domain::binding::Binding;
use crate::domain::catalog::{Connection, Feature, Scope, Target};
use crate::domain::host::TeamHost;
use crate::domain::member::Member;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::rule::Rule;
use crate::domain::preference::Policy;
use crate::domain::resource::Resource;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diff<T> {
    Add { to: T },
    Change { from: T, to: T },
    Remove { from: T },
}

impl<T> Diff<T> {
    /// The value after the change, if there is one.
    pub fn after(&self) -> Option<&T> {
        match self {
            Diff::Add { to } | Diff::Change { to, .. } => Some(to),
            Diff::Remove { .. } => None,
        }
    }

    /// The value after the change, or the last one.
    pub fn either(&self) -> &T {
        match self {
            Diff::Add { to } | Diff::Change { to, .. } => to,
            Diff::Remove { from } => from,
        }
    }
}

impl Diff<Member> {
    /// Whether the member is, after the change, the one who was there before: somebody with another login is not.
    pub fn is_same_person(&self) -> bool {
        match self {
            Diff::Change { from, to } => from.login == to.login,
            Diff::Add { .. } | Diff::Remove { .. } => false,
        }
    }
}

/// One thing added, changed or removed. Written `{"change":"add","what":"member:bob","from":null,"to":{…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenChange", into = "WrittenChange")]
pub enum Change {
    Team(Diff<Header>),
    Member(Name, Diff<Member>),
    Group(Name, Diff<Group>),
    Connection(Name, Diff<Connection>),
    Target(Name, Diff<Target>),
    Feature(Name, Diff<Feature>),
    Scope(Name, Diff<Scope>),
    Host(Name, Diff<TeamHost>),
    Rule(RuleName, Box<Diff<Rule>>),
    /// Always a change of one order to another.
    RuleOrder(Diff<RuleOrder>),
    /// A binding is the same before and after if it is written the same (`Binding`'s `Display`).
    Binding(Box<Diff<Binding>>),
    Notifications(Diff<Policy>),
}

/// The rules by name, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOrder {
    pub names: Vec<RuleName>,
}

impl Change {
    /// `team`, `rules` (their order), or `kind:name`.
    pub fn what(&self) -> String {
        match self {
            Change::Team(_) => "team".to_owned(),
            Change::Member(name, _) => format!("member:{name}"),
            Change::Group(name, _) => format!("group:{name}"),
            Change::Connection(name, _) => format!("connection:{name}"),
            Change::Target(name, _) => format!("target:{name}"),
            Change::Feature(name, _) => format!("feature:{name}"),
            Change::Scope(name, _) => format!("scope:{name}"),
            Change::Host(name, _) => format!("host:{name}"),
            Change::Rule(name, _) => format!("rule:{name}"),
            Change::RuleOrder(_) => "rules".to_owned(),
            Change::Binding(diff) => format!("binding:{}", diff.either()),
            Change::Notifications(_) => "notifications".to_owned(),
        }
    }

    /// The resource that this change takes away, if it does.
    pub fn removes(&self) -> Option<Resource> {
        match self {
            Change::Connection(name, Diff::Remove { .. }) => Some(Resource::Connection(name.clone())),
            Change::Target(name, Diff::Remove { .. }) => Some(Resource::Target(name.clone())),
            Change::Feature(name, Diff::Remove { .. }) => Some(Resource::Feature(name.clone())),
            Change::Scope(name, Diff::Remove { .. }) => Some(Resource::Scope(name.clone())),
            Change::Team(_)
            | Change::Member(..)
            | Change::Group(..)
            | Change::Connection(..)
            | Change::Target(..)
            | Change::Feature(..)
            | Change::Scope(..)
            | Change::Host(..)
            | Change::Rule(..)
            | Change::RuleOrder(_)
            | Change::Binding(_)
            | Change::Notifications(_) => None,
        }
    }

    /// The member that this change is about, if it is about one.
    fn member(&self) -> Option<(&Name, &Diff<Member>)> {
        match self {
            Change::Member(name, diff) => Some((name, diff)),
            Change::Team(_)
            | Change::Group(..)
            | Change::Connection(..)
            | Change::Target(..)
            | Change::Feature(..)
            | Change::Scope(..)
            | Change::Host(..)
            | Change::Rule(..)
            | Change::RuleOrder(_)
            | Change::Binding(_)
            | Change::Notifications(_) => None,
        }
    }

    /// The member who is not there any more after this change: removed, or another person by the same name.
    pub fn departs(&self) -> Option<&Name> {
        self.member().and_then(|(name, diff)| match diff {
            Diff::Add { .. } => None,
            Diff::Change { .. } | Diff::Remove { .. } => (!diff.is_same_person()).then_some(name),
        })
    }

    /// The member who departs or is disabled. A member whose login changes counts as departed. Otherwise
    /// the person with the old login could, under another name, decide on their own earlier requests.
    pub fn shuts_out(&self) -> Option<&Name> {
        let disabled = |(name, diff): (_, &Diff<Member>)| match diff {
            Diff::Change { from, to } if to.disabled && !from.disabled => Some(name),
            Diff::Add { .. } | Diff::Change { .. } | Diff::Remove { .. } => None,
        };
        self.departs().or_else(|| self.member().and_then(disabled))
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct WrittenChange {
    change: DiffKind,
    what: String,
    from: Option<Value>,
    to: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DiffKind {
    Add,
    Change,
    Remove,
}

fn write_diff<T: Serialize>(what: String, diff: Diff<T>) -> WrittenChange {
    let value = |item: T| Some(serde_json::to_value(item).expect("a part of a team has string keys only"));
    match diff {
        Diff::Add { to } => WrittenChange { change: DiffKind::Add, what, from: None, to: value(to) },
        Diff::Change { from, to } => WrittenChange { change: DiffKind::Change, what, from: value(from), to: value(to) },
        Diff::Remove { from } => WrittenChange { change: DiffKind::Remove, what, from: value(from), to: None },
    }
}

fn read_diff<T: serde::de::DeserializeOwned>(written: WrittenChange) -> Result<Diff<T>, Malformed> {
    let read = |value: Value| serde_json::from_value(value).map_err(|e| Malformed::new(e.to_string()));
    match (written.change, written.from, written.to) {
        (DiffKind::Add, None, Some(to)) => Ok(Diff::Add { to: read(to)? }),
        (DiffKind::Change, Some(from), Some(to)) => Ok(Diff::Change { from: read(from)?, to: read(to)? }),
        (DiffKind::Remove, Some(from), None) => Ok(Diff::Remove { from: read(from)? }),
        (DiffKind::Add | DiffKind::Change | DiffKind::Remove, _, _) => {
            Err(Malformed::new("a change without what it changes"))
        }
    }
}

impl From<Change> for WrittenChange {
    fn from(change: Change) -> WrittenChange {
        let what = change.what();
        match change {
            Change::Team(diff) => write_diff(what, diff),
            Change::Member(_, diff) => write_diff(what, diff),
            Change::Group(_, diff) => write_diff(what, diff),
            Change::Connection(_, diff) => write_diff(what, diff),
            Change::Target(_, diff) => write_diff(what, diff),
            Change::Feature(_, diff) => write_diff(what, diff),
            Change::Scope(_, diff) => write_diff(what, diff),
            Change::Host(_, diff) => write_diff(what, diff),
            Change::Rule(_, diff) => write_diff(what, *diff),
            Change::RuleOrder(diff) => write_diff(what, diff),
            Change::Binding(diff) => write_diff(what, *diff),
            Change::Notifications(diff) => write_diff(what, diff),
        }
    }
}

impl TryFrom<WrittenChange> for Change {
    type Error = Malformed;
    fn try_from(written: WrittenChange) -> Result<Change, Malformed> {
        let what = written.what.clone();
        match what.split_once(':') {
            None if what == "team" => Ok(Change::Team(read_diff(written)?)),
            None if what == "rules" => Ok(Change::RuleOrder(read_diff(written)?)),
            None if what == "notifications" => Ok(Change::Notifications(read_diff(written)?)),
            Some(("member", name)) => Ok(Change::Member(name.parse()?, read_diff(written)?)),
            Some(("group", name)) => Ok(Change::Group(name.parse()?, read_diff(written)?)),
            Some(("connection", name)) => Ok(Change::Connection(name.parse()?, read_diff(written)?)),
            Some(("target", name)) => Ok(Change::Target(name.parse()?, read_diff(written)?)),
            Some(("feature", name)) => Ok(Change::Feature(name.parse()?, read_diff(written)?)),
            Some(("scope", name)) => Ok(Change::Scope(name.parse()?, read_diff(written)?)),
            Some(("host", name)) => Ok(Change::Host(name.parse()?, read_diff(written)?)),
            Some(("rule", name)) => Ok(Change::Rule(name.parse()?, Box::new(read_diff(written)?))),
            Some(("binding", _)) => {
                let change = Change::Binding(Box::new(read_diff(written)?));
                if change.what() == what {
                    Ok(change)
                } else {
                    Err(Malformed::new(format!("{what} is not what changes")))
                }
            }
            Some(_) | None => Err(Malformed::new(format!("a change of {what}, which is not a part of a team"))),
        }
    }
}
