//! The team and what it gives: the plan of a change, resources, profiles, and what a request needs.

use serde::{Deserialize, Serialize};

use super::{ApprovalsView, RequestView, Seen};
use crate::domain::duration::Length;
use crate::domain::entitlement::Entitlement;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::policy::pattern::TicketPattern;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::change::Change;
use crate::domain::terms;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// What applying a team file does or would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanView {
    pub changes: Vec<Change>,
    pub follows: Vec<FollowView>,
    pub applied: bool,
    /// Requests that the new rules would have decided otherwise (`--against`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Past requests, judged by the new rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainstView {
    pub since: Timestamp,
    /// How many requests were submitted since.
    pub requests: usize,
    /// The first of them.
    pub otherwise: Vec<OtherwiseView>,
    /// How many more would have been decided otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherwiseView {
    pub request: RequestId,
    pub requester: Name,
    pub resource: Resource,
    pub was: State,
    /// How it would have been decided, in a sentence.
    pub would: String,
}

/// Something that follows from a change of the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowView {
    pub follows: Follows,
    pub request: RequestId,
    pub member: Name,
    pub resource: Resource,
    /// Why. For a widened grant and for void approvals: what is newly covered.
    pub because: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follows {
    Withdrawn,
    Revoked,
    Widened,
    /// Approvals of a pending request no longer count.
    Voided,
    /// An active grant that the new team would not give. It stays.
    Unmatched,
}

impl PlanView {
    /// Whether applying it changes or ends anything.
    pub fn does_anything(&self) -> bool {
        let happens = |follow: &FollowView| match follow.follows {
            Follows::Withdrawn | Follows::Revoked | Follows::Voided => true,
            Follows::Widened | Follows::Unmatched => false,
        };
        !self.changes.is_empty() || self.follows.iter().any(happens)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourceView {
    pub resource: Resource,
    pub held: bool,
    pub via: Vec<String>,
    pub until: Option<Timestamp>,
    pub pending: Option<RequestId>,
    /// A connection's environment, a target's connections, a feature's least role, what a scope covers.
    pub about: String,
    /// The moment of the past that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The requirements of requesting a resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NeedsView {
    pub resource: Resource,
    /// What the resource is, as in `ResourceView`.
    pub about: String,
    /// How long it can be asked for, the shortest first. Never empty: if nothing can be asked for, that is refused.
    pub lengths: Vec<NeedView>,
    /// The longest time that can be asked for, where more than one was tried.
    pub longest: Option<terms::End>,
}

/// The requirements of requesting a resource for a certain length.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NeedView {
    pub end: terms::End,
    /// Whether it is granted at once.
    pub at_once: bool,
    pub approvals: ApprovalsView,
    /// The ticket has to match each of these.
    pub tickets: Vec<TicketPattern>,
    /// The least number of characters of the reason.
    pub reason_min: Option<u32>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileView {
    pub member: Name,
    pub role: Role,
    pub effective_role: Role,
    pub groups: Vec<Name>,
    pub scopes: Vec<Name>,
    pub grants: Vec<RequestView>,
    /// Counted up to `COUNTED`.
    pub unread: u64,
    /// Whether more are unread than were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_unread: bool,
    /// How many items of recertifications the member may decide on.
    pub to_review: u64,
    pub now: Timestamp,
    /// The moment of the past that was asked about. Then `now` is that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckView {
    pub allowed: bool,
    pub member: Name,
    pub resource: Resource,
    pub because: Vec<Entitlement>,
    /// The pending request that would allow it, if there is one.
    pub pending: Option<RequestId>,
    pub now: Timestamp,
    /// The moment of the past that was asked about. Then `now` is that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HolderView {
    pub member: Name,
    pub resource: Resource,
    #[serde(flatten)]
    pub entitlement: Entitlement,
    /// The moment of the past that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl NeedsView {
    /// The requirements of the most common length: an hour, or the nearest that can be requested.
    pub fn usual(&self) -> Option<&NeedView> {
        let hour = terms::End::After(Length::HOUR);
        self.lengths.iter().find(|need| need.end == hour).or_else(|| self.lengths.first())
    }
}

impl NeedView {
    pub fn takes_the_same_as(&self, other: &NeedView) -> bool {
        let approvals = |need: &NeedView| need.approvals.requirements.clone();
        self.at_once == other.at_once
            && approvals(self) == approvals(other)
            && self.tickets == other.tickets
            && self.reason_min == other.reason_min
    }
}
