//! Refusals of an edit, an extension, a withdrawal or a revocation.

use super::kind::RefusalKind;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleRefusal {
    NeedsOwnToEdit { id: RequestId },
    NotEditable { id: RequestId, state: State },
    NothingToEdit { id: RequestId },
    ExtensionStart { id: RequestId, before: RequestId },
    NeedsOwnGrant { id: RequestId },
    NotExtendable { id: RequestId, state: State },
    NothingToExtend { id: RequestId },
    AlreadyExtended { id: RequestId, by: RequestId },
    NeedsOwnRequest { id: RequestId },
    NotPending { id: RequestId, state: State },
    NotLive { id: RequestId, state: State },
    NoGrant { member: Name, resource: Resource },
}

impl LifecycleRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            LifecycleRefusal::ExtensionStart { .. } => RefusalKind::Usage,
            LifecycleRefusal::NeedsOwnToEdit { .. }
            | LifecycleRefusal::NeedsOwnGrant { .. }
            | LifecycleRefusal::NeedsOwnRequest { .. }
            | LifecycleRefusal::NoGrant { .. } => RefusalKind::Refused,
            LifecycleRefusal::NotEditable { .. }
            | LifecycleRefusal::NothingToEdit { .. }
            | LifecycleRefusal::NotExtendable { .. }
            | LifecycleRefusal::NothingToExtend { .. }
            | LifecycleRefusal::AlreadyExtended { .. }
            | LifecycleRefusal::NotPending { .. }
            | LifecycleRefusal::NotLive { .. } => RefusalKind::Conflict,
        }
    }

    pub fn message(&self) -> String {
        match self {
            LifecycleRefusal::NeedsOwnToEdit { id } => {
                format!("only its requester, or who filed it, may edit request {id}")
            }
            LifecycleRefusal::NotEditable { id, state } => {
                format!("request {id} is {state}; only a pending request can be edited")
            }
            LifecycleRefusal::NothingToEdit { id } => {
                format!("request {id} says all of this already; nothing was changed")
            }
            LifecycleRefusal::ExtensionStart { id, before } => {
                format!("request {id} extends request {before} and starts when that ends; its start can't be edited")
            }
            LifecycleRefusal::NeedsOwnGrant { id } => {
                format!("only its requester may extend the grant of request {id}")
            }
            LifecycleRefusal::NotExtendable { id, state } => {
                format!("request {id} is {state}, so there is nothing to extend")
            }
            LifecycleRefusal::NothingToExtend { id } => {
                format!("the grant of request {id} is permanent; there is nothing to extend")
            }
            LifecycleRefusal::AlreadyExtended { id, by } => {
                format!("request {by} extends the grant of request {id} already")
            }
            LifecycleRefusal::NeedsOwnRequest { id } => {
                format!("only its requester, or who filed it, may withdraw request {id}")
            }
            LifecycleRefusal::NotPending { id, state } => {
                format!("request {id} is {state}, so there is nothing to withdraw")
            }
            LifecycleRefusal::NotLive { id, state } => {
                format!("request {id} is {state}, so there is nothing to revoke")
            }
            LifecycleRefusal::NoGrant { member, resource } => {
                format!("{member} has no grant for {resource}, so there is no certificate")
            }
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            LifecycleRefusal::NeedsOwnToEdit { id } => vec![
                format!("if you may decide on it, approve other terms: `access approve {id} --duration …`"),
                format!("or `access deny {id} --reason …`"),
            ],
            LifecycleRefusal::NotEditable { id, state } if state.is_open() => {
                vec![format!(
                    "ask for more time with `access extend {id}`, or file a new request with `access request`"
                )]
            }
            LifecycleRefusal::NotEditable { .. } | LifecycleRefusal::NotExtendable { .. } => {
                one("file a new request with `access request`")
            }
            LifecycleRefusal::NothingToEdit { id } => vec![format!("see it with `access show {id}`")],
            LifecycleRefusal::ExtensionStart { .. } => one("leave --start and --no-start out"),
            LifecycleRefusal::NeedsOwnGrant { .. } => one("file one on their behalf with `access request … --for`"),
            LifecycleRefusal::AlreadyExtended { by, .. } => vec![
                format!("extend that one once it is approved: `access extend {by}`"),
                format!("or, while it is pending, take it back: `access withdraw {by}`"),
            ],
            LifecycleRefusal::NeedsOwnRequest { id } => vec![format!("`access deny {id}` decides on it")],
            LifecycleRefusal::NotPending { id, state } if state.is_open() => {
                vec![format!("end the grant with `access revoke {id}`")]
            }
            LifecycleRefusal::NotLive { id, state } if state.is_open() => {
                vec![format!("`access deny {id}` decides it; its requester can `access withdraw {id}`")]
            }
            LifecycleRefusal::NothingToExtend { .. }
            | LifecycleRefusal::NotPending { .. }
            | LifecycleRefusal::NotLive { .. } => Vec::new(),
            LifecycleRefusal::NoGrant { resource, .. } => vec![format!("ask with `access request {resource}`")],
        }
    }
}
