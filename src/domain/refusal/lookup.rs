//! Refusals because something does not exist, or several things have the name.

use super::kind::RefusalKind;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupRefusal {
    NoSuchMember {
        name: Name,
        nearest: Option<String>,
    },
    NoSuchResource {
        resource: Resource,
        nearest: Vec<String>,
    },
    NoResourceNamed {
        name: Name,
        nearest: Vec<String>,
    },
    SeveralNamed {
        name: Name,
        choices: Vec<Resource>,
    },
    /// Also for a request that the caller may not see.
    NoSuchRequest {
        id: RequestId,
    },
    NoSuchNotification {
        id: i64,
    },
    NotQueued {
        id: i64,
    },
    /// A moment of the past is asked about.
    InTheFuture {
        at: Timestamp,
    },
    BeforeTheLog {
        at: Timestamp,
        begins: Timestamp,
    },
    NoSuchMemberThen {
        name: Name,
        at: Timestamp,
        nearest: Option<String>,
    },
    NoSuchResourceThen {
        resource: Resource,
        at: Timestamp,
    },
}

impl LookupRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            LookupRefusal::SeveralNamed { .. } | LookupRefusal::InTheFuture { .. } => RefusalKind::Usage,
            LookupRefusal::NoSuchMember { .. }
            | LookupRefusal::NoSuchResource { .. }
            | LookupRefusal::NoResourceNamed { .. }
            | LookupRefusal::NoSuchRequest { .. }
            | LookupRefusal::NoSuchNotification { .. }
            | LookupRefusal::NotQueued { .. }
            | LookupRefusal::BeforeTheLog { .. }
            | LookupRefusal::NoSuchMemberThen { .. }
            | LookupRefusal::NoSuchResourceThen { .. } => RefusalKind::NotFound,
        }
    }

    pub fn message(&self) -> String {
        match self {
            LookupRefusal::NoSuchMember { name, .. } => format!("there is no member {name}"),
            LookupRefusal::NoSuchResource { resource, .. } => format!("there is no {resource}"),
            LookupRefusal::NoResourceNamed { name, .. } => format!("there is no resource with the name {name}"),
            LookupRefusal::SeveralNamed { name, choices } => {
                format!("{name} is the name of several resources: {}", joined(choices))
            }
            LookupRefusal::NoSuchRequest { id } => format!("there is no request {id}"),
            LookupRefusal::NoSuchNotification { id } => format!("there is no notification {id} for you"),
            LookupRefusal::NotQueued { id } => format!("there is no {id} in the outbox; nothing was done"),
            LookupRefusal::InTheFuture { at } => format!("{at} is in the future, and nothing is recorded about it"),
            LookupRefusal::BeforeTheLog { at, begins } => {
                format!("the log begins at {begins}, so it says nothing about {at}")
            }
            LookupRefusal::NoSuchMemberThen { name, at, .. } => format!("there was no member {name} at {at}"),
            LookupRefusal::NoSuchResourceThen { resource, at } => format!("there was no {resource} at {at}"),
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            LookupRefusal::NoSuchMember { nearest, .. } | LookupRefusal::NoSuchMemberThen { nearest, .. } => {
                nearest.iter().map(|near| format!("did you mean {near}?")).collect()
            }
            LookupRefusal::NoSuchResource { nearest, .. } | LookupRefusal::NoResourceNamed { nearest, .. } => {
                let meant = (!nearest.is_empty()).then(|| format!("did you mean {}?", nearest.join(" or ")));
                meant.into_iter().chain(["`access resources` lists what can be asked for".to_owned()]).collect()
            }
            LookupRefusal::InTheFuture { .. } => {
                one("name a time in the past, as in --at \"2026-03-01 12:00\" or --at \"2d ago\"")
            }
            LookupRefusal::BeforeTheLog { .. } => Vec::new(),
            LookupRefusal::NoSuchResourceThen { .. } => {
                one("`access audit --resource NAME` shows when it was added and removed")
            }
            LookupRefusal::SeveralNamed { .. } => one("name one of them in full, with its kind"),
            LookupRefusal::NoSuchRequest { .. } => one("`access list --all` shows the requests that you may see"),
            LookupRefusal::NoSuchNotification { .. } => one("`access inbox --all` lists yours"),
            LookupRefusal::NotQueued { .. } => one("`access outbox` and `access outbox --dead` list what there is"),
        }
    }
}
