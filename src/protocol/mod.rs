//! The data of calls and of their answers, between a front end and the service: in one process, and over a shared
//! host's socket. No logic except conversions.

mod certificate;
mod delivery;
mod log;
mod provisioning;
mod recertification;
mod report;
mod request;
mod session;
mod shared_log;
mod team;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::text::Ticket;
use crate::domain::time::Timestamp;

pub use certificate::{CertificateView, RevokedView};
pub use delivery::{
    DeliverView, EventPreferenceView, HowView, NotificationView, PreferenceView, Progress, QueuedView, TestView,
};
pub use log::{
    Checkpoint, ConsistencyView, EarlierLog, EntryView, FaultView, KeptCheckpoint, KeyView, ProofView, RawView,
    RecipientView, SignatureView, VerifyView,
};
pub use provisioning::{
    ConnectorLease, DesiredState, DesiredView, Drift, DriftView, LogNews, OutcomeView, Position, ProvisioningOutcome,
    ProvisioningState, ProvisioningView, RecordedState, RecordedView, StillHeldView, UnconfirmedView,
};
pub use recertification::{ItemCounts, ItemState, ItemView, RecertificationView};
pub use report::{ReportOpening, ReportRow, ReportedItem, ReportedMember, ReportedRecertification, ReportedRequest};
pub use request::{
    ApprovalsView, ApproveAnswer, DecisionView, GrantView, MatchedView, Owed, RequestView, RequirementView, ReviewView,
    TermsView, TimelineView, ToSignView,
};
pub use session::{OpenSessionView, OverSession, SessionRecord, SessionVerdict, SessionView};
pub use shared_log::{
    AsOf, AsOfLast, EngineCondition, EngineView, Freshness, HostBehindView, HostView, LogStatusView, MoveOutcome,
    MovedView, SalvagedView,
};
pub use team::{
    AgainstView, CheckView, FollowView, Follows, HolderView, NeedView, NeedsView, OtherwiseView, PlanView, ProfileView,
    ResourceView,
};

/// The state that a user was shown before they confirmed a change. The change is refused if that state is no longer
/// current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(pub String);

impl Seen {
    /// Several requests, by the number of the last entry about each, in the order of their own numbers.
    pub fn of(last_entries: impl IntoIterator<Item = i64>) -> Seen {
        Seen(last_entries.into_iter().map(|seq| seq.to_string()).collect::<Vec<_>>().join(","))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFilter {
    pub mine: bool,
    pub all: bool,
    /// Any of these; empty: the open ones unless `all`.
    pub states: Vec<State>,
    pub requester: Option<Name>,
    pub resource: Option<Resource>,
    /// Submitted then or later.
    pub since: Option<Timestamp>,
    pub kind: Option<RequestKind>,
    pub ticket: Option<Ticket>,
    /// In the reason, the ticket or a note. ASCII letters match in either case.
    pub search: Option<String>,
    /// With an approval by this member that counts.
    pub approver: Option<Name>,
    /// Access was granted then or later.
    pub granted_since: Option<Timestamp>,
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
    /// The most to list. None: all.
    pub limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// The access granted, or else asked for, has no end.
    Permanent,
    Emergency,
    /// An emergency without a review.
    Unreviewed,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AuditFilter {
    pub request: Option<RequestId>,
    /// About this resource: requests for it, changes of it in the team, and access to it without a request.
    pub resource: Option<Resource>,
    /// By this member, about their requests, or about what the team says of them.
    pub member: Option<Name>,
    pub actor: Option<Name>,
    pub action: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: Option<u64>,
}

/// Counts of what a list leaves out stop after this many: in a long history, counting takes longer than the list.
pub const COUNTED: u64 = 1000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireView {
    pub expired: u64,
    pub started: u64,
    pub expiring: u64,
    pub lapsed: u64,
    pub reminded: u64,
    /// Requests of an older version that are judged by the rules of this one from now on.
    pub rejudged: u64,
    /// Recertifications whose due time came.
    pub closed: u64,
    /// Grants that nobody kept in them.
    pub revoked: u64,
    pub delivered: u64,
    pub failed: u64,
}

/// One check of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    pub what: String,
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub mend: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Ok,
    Warning,
    Wrong,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupView {
    pub file: PathBuf,
    pub bytes: u64,
    pub checkpoint: Checkpoint,
}
