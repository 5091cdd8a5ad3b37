//! Recertifications: reviews of what people hold.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::recertification::{Held, ItemId, ItemVerdict, RecertificationId, Selection};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// A recertification, with counts of the items that the caller may see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecertificationView {
    pub id: RecertificationId,
    pub selection: Selection,
    pub by: Name,
    pub started_at: Timestamp,
    pub due: Timestamp,
    pub closed_at: Option<Timestamp>,
    pub counts: ItemCounts,
    /// How many wait for the caller.
    pub waiting_for_you: u64,
    /// Empty in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemView>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct ItemCounts {
    pub waiting: u64,
    pub kept: u64,
    pub revoked: u64,
    pub not_kept: u64,
    pub ended: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemView {
    pub id: ItemId,
    pub member: Name,
    pub held: Held,
    pub state: ItemState,
    pub reviewers: BTreeSet<Assignee>,
    /// Whether the caller may decide on it now.
    pub may_decide: bool,
    pub decided_by: Option<Name>,
    pub verdict: Option<ItemVerdict>,
    pub reason: Option<Text>,
    pub decided_at: Option<Timestamp>,
    /// What to change in the team file, which still gives it although nobody kept it.
    pub team_change: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    Waiting,
    Kept,
    Revoked,
    /// Nobody decided until the due time.
    NotKept,
    /// It ended before anybody decided.
    Ended,
}

impl ItemState {
    pub fn in_words(self) -> &'static str {
        match self {
            ItemState::Waiting => "waiting",
            ItemState::Kept => "kept",
            ItemState::Revoked => "revoked",
            ItemState::NotKept => "not kept",
            ItemState::Ended => "ended",
        }
    }
}
