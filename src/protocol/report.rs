//! What a report about a period is made from.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, EntryView, RequestView, VerifyView};
use crate::domain::name::Name;
use crate::domain::request::as_of::EntryRef;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

/// One part of it. The opening comes first, then the members by name, then the requests in the order of their numbers, then
/// entries, of each action the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ReportRow {
    Opening(Box<ReportOpening>),
    Member(Box<ReportedMember>),
    Request(Box<ReportedRequest>),
    Entry(Box<EntryView>),
}

/// Which log and which period it is about, and whether the log is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportOpening {
    pub since: Timestamp,
    /// Never after `checkpoint.at`.
    pub until: Timestamp,
    pub made_by: Name,
    /// The first entry of the log.
    pub first: EntryRef,
    /// When the last entry of the log was made.
    pub last_at: Timestamp,
    /// The log that it was made from, and when.
    pub checkpoint: Checkpoint,
    pub verify: VerifyView,
    /// The number of entries in the period.
    pub entries: u64,
    /// The first and the last of them.
    pub ends: Option<(i64, i64)>,
}

/// A request as it was at the end of the period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportedRequest {
    pub request: RequestView,
    /// The entries about it up to then, oldest first.
    pub entries: Vec<EntryRef>,
}

/// A member of the team as it is when the report is made, and what they did in the period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportedMember {
    pub name: Name,
    pub role: Role,
    pub auditor: bool,
    pub disabled: bool,
    /// The scopes that the team file assigns to them.
    pub scopes: Vec<Name>,
    /// The entry that brought them into the team.
    pub since: EntryRef,
    /// The last entry by which they acted.
    pub last_act: Option<EntryRef>,
    /// The entry of the last session that they opened.
    pub last_session: Option<EntryRef>,
}
