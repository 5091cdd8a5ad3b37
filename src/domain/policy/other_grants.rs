//! The requester's other grants, whose lengths count together with what is asked now.

use std::collections::BTreeMap;

use crate::domain::catalog::Scope;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The requester's other grants: their lengths count together with what is asked now.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub grants: Vec<HeldGrant>,
    /// The scopes that these grants are for.
    pub scopes: BTreeMap<Name, Scope>,
}

#[derive(Debug, Clone)]
pub struct HeldGrant {
    pub request: RequestId,
    pub resource: Resource,
    pub starts_at: Timestamp,
    /// When it ended or will end. None: permanent.
    pub ends_at: Option<Timestamp>,
}
