//! Refused because what was named is not there, or is not the only one of that name.

use super::kind::RefusalKind;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::text::joined;

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
}

impl LookupRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            LookupRefusal::SeveralNamed { .. } => RefusalKind::Usage,
            LookupRefusal::NoSuchMember { .. }
            | LookupRefusal::NoSuchResource { .. }
            | LookupRefusal::NoResourceNamed { .. }
            | LookupRefusal::NoSuchRequest { .. }
            | LookupRefusal::NoSuchNotification { .. }
            | LookupRefusal::NotQueued { .. } => RefusalKind::NotFound,
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
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            LookupRefusal::NoSuchMember { nearest, .. } => {
                nearest.iter().map(|near| format!("did you mean {near}?")).collect()
            }
            LookupRefusal::NoSuchResource { nearest, .. } | LookupRefusal::NoResourceNamed { nearest, .. } => {
                let meant = (!nearest.is_empty()).then(|| format!("did you mean {}?", nearest.join(" or ")));
                meant.into_iter().chain(["`access resources` lists what can be asked for".to_owned()]).collect()
            }
            LookupRefusal::SeveralNamed { .. } => one("name one of them in full, with its kind"),
            LookupRefusal::NoSuchRequest { .. } => one("`access list --all` shows the requests that you may see"),
            LookupRefusal::NoSuchNotification { .. } => one("`access inbox --all` lists yours"),
            LookupRefusal::NotQueued { .. } => one("`access outbox` and `access outbox --dead` list what there is"),
        }
    }
}
