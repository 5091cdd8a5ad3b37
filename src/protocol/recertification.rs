//! Recertifications: reviews of what people hold.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::recertification::{
    Cancellation, Held, ItemId, ItemOutcome, ItemToReview, ItemVerdict, RecertificationId, RecertificationItem,
    Selection,
};
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
    /// Who ended it before it was due, and why.
    pub cancelled: Option<Cancellation>,
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

impl ItemCounts {
    pub fn add(&mut self, state: ItemState) {
        *match state {
            ItemState::Waiting => &mut self.waiting,
            ItemState::Kept => &mut self.kept,
            ItemState::Revoked => &mut self.revoked,
            ItemState::NotKept => &mut self.not_kept,
            ItemState::Ended => &mut self.ended,
        } += 1;
    }
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

impl ItemView {
    /// For somebody who decides nothing. `is_closed`: the recertification. `is_held`: whether its member still holds it.
    pub fn of(id: ItemId, item: &RecertificationItem, is_closed: bool, is_held: bool) -> ItemView {
        let ItemToReview { member, held, reviewers, .. } = item.item.clone();
        let (state, decided) = match item.outcome.clone() {
            Some(ItemOutcome::Decided { by, verdict, reason, at }) => {
                let kept = verdict == ItemVerdict::Keep;
                let state = if kept { ItemState::Kept } else { ItemState::Revoked };
                (state, Some((by, verdict, reason, at)))
            }
            Some(ItemOutcome::NotKept) => (ItemState::NotKept, None),
            None if is_held && !is_closed => (ItemState::Waiting, None),
            None => (ItemState::Ended, None),
        };
        let is_to_go = is_held && matches!(state, ItemState::Revoked | ItemState::NotKept);
        ItemView {
            id,
            team_change: held.team_change(&member).filter(|_| is_to_go),
            member,
            held,
            state,
            reviewers,
            may_decide: false,
            decided_by: decided.as_ref().map(|(by, ..)| by.clone()),
            verdict: decided.as_ref().map(|(_, verdict, ..)| *verdict),
            decided_at: decided.as_ref().map(|(.., at)| *at),
            reason: decided.and_then(|(_, _, reason, _)| reason),
        }
    }
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
