//! What a grant says in the log.

use serde::{Deserialize, Serialize};

use crate::domain::grant::Grant;
use crate::domain::name::{Name, RuleName};
use crate::domain::resource::Resource;
use crate::domain::terms::{End, RequestId, Terms};
use crate::domain::time::Timestamp;

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub request: RequestId,
    pub member: Name,
    pub resource: Resource,
    pub end: End,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub modified: bool,
    /// Those whose approvals counted.
    pub approved_by: Vec<Name>,
    /// The rule that granted it, where no person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_rule: Option<RuleName>,
    /// The demands that it met, from format 2 on. Empty where a rule granted it, and when a scheduled grant begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<MetDemand>,
    /// Who may review it, if it is an emergency, from format 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewers: Option<Vec<Name>>,
}

/// A demand that a grant met, and by whose approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetDemand {
    /// The rule that made it. None: the default demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleName>,
    /// How many approvals it took.
    pub approvals: u32,
    pub by: Vec<Name>,
}

impl Granted {
    pub fn terms(&self) -> Terms {
        Terms { resource: self.resource.clone(), end: self.end, start: self.start }
    }
}

impl From<Granted> for Grant {
    fn from(granted: Granted) -> Grant {
        Grant {
            terms: granted.terms(),
            request: granted.request,
            member: granted.member,
            modified: granted.modified,
            starts_at: granted.starts_at,
            ends_at: granted.ends_at,
            by_rule: granted.by_rule,
            reviewers: granted.reviewers,
            begun: true,
            warned: false,
            ended: None,
        }
    }
}
