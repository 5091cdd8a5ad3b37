//! The data that a report about a period is made from.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, EntryView, ItemView, RecertificationView, RequestView, VerifyView};
use crate::domain::entry_ref::EntryRef;
use crate::domain::name::Name;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

/// One part of it. The opening comes first, then the members by name, then the requests in the order of their numbers, then
/// the recertifications and the entries of each action, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ReportRow {
    Opening(Box<ReportOpening>),
    Member(Box<ReportedMember>),
    Request(Box<ReportedRequest>),
    Recertification(Box<ReportedRecertification>),
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

/// A recertification that was open in the period, as it was at its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportedRecertification {
    /// Without its items.
    pub recertification: RecertificationView,
    /// Whether it was due by then, and not closed.
    pub overdue: bool,
    /// The entry that started it.
    pub started: EntryRef,
    /// The entry that closed or cancelled it.
    pub closed: Option<EntryRef>,
    pub items: Vec<ReportedItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportedItem {
    pub item: ItemView,
    /// The entry that has the decision.
    pub decided: Option<EntryRef>,
}

/// A member of the team at the end of the period, and what they did in it.
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
