//! Refusals to start a recertification, or to decide on one of its items.

use super::kind::RefusalKind;
use crate::domain::name::Name;
use crate::domain::recertification::{ItemId, RecertificationId, Selection};
use crate::domain::text::joined;
use crate::domain::time::Timestamp;

/// The most items that one message names.
const NAMED: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecertifyRefusal {
    NoSuchRecertification { id: RecertificationId },
    NoSuchItem { id: ItemId },
    NoSuchGroup { name: Name },
    NothingHeld { selection: Selection },
    TooManyItems { count: usize, most: usize },
    DueTooSoon,
    DueTooLate,
    StartsByGrant,
    NobodyReviews { items: Vec<String> },
    OwnItem { id: ItemId },
    NeedsItemReviewer { id: ItemId, reviewers: Vec<String> },
    ItemDecided { id: ItemId, by: Name, kept: bool },
    ItemOver { id: ItemId },
    PastDue { id: RecertificationId, due: Timestamp },
    Cancelled { id: RecertificationId, by: Name },
}

impl RecertifyRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            RecertifyRefusal::DueTooSoon | RecertifyRefusal::DueTooLate | RecertifyRefusal::TooManyItems { .. } => {
                RefusalKind::Usage
            }
            RecertifyRefusal::StartsByGrant
            | RecertifyRefusal::NobodyReviews { .. }
            | RecertifyRefusal::OwnItem { .. }
            | RecertifyRefusal::NeedsItemReviewer { .. } => RefusalKind::Refused,
            RecertifyRefusal::NoSuchRecertification { .. }
            | RecertifyRefusal::NoSuchItem { .. }
            | RecertifyRefusal::NoSuchGroup { .. }
            | RecertifyRefusal::NothingHeld { .. } => RefusalKind::NotFound,
            RecertifyRefusal::ItemDecided { .. }
            | RecertifyRefusal::ItemOver { .. }
            | RecertifyRefusal::PastDue { .. }
            | RecertifyRefusal::Cancelled { .. } => RefusalKind::Conflict,
        }
    }

    pub fn message(&self) -> String {
        match self {
            RecertifyRefusal::NoSuchRecertification { id } => format!("there is no recertification {id}"),
            RecertifyRefusal::NoSuchItem { id } => format!("there is no item {id}"),
            RecertifyRefusal::NoSuchGroup { name } => format!("there is no group {name}, or it has no members"),
            RecertifyRefusal::NothingHeld { selection } => format!("nobody holds anything to review: {selection}"),
            RecertifyRefusal::TooManyItems { count, most } => {
                format!("there are {count} items to review, and at most {most} fit in one recertification")
            }
            RecertifyRefusal::DueTooSoon => "the due time is at least an hour ahead".to_owned(),
            RecertifyRefusal::DueTooLate => "the due time is at most a year ahead".to_owned(),
            RecertifyRefusal::StartsByGrant => {
                "a role that was granted to you does not count to start a recertification, only your role in the team file".to_owned()
            }
            RecertifyRefusal::NobodyReviews { items } => {
                let more = items.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                let named = joined(items.iter().take(NAMED));
                format!("nobody else can review {named}{more}; nothing was started")
            }
            RecertifyRefusal::OwnItem { id } => format!("nobody reviews their own access, and item {id} is yours"),
            RecertifyRefusal::NeedsItemReviewer { id, reviewers } => {
                format!("item {id} is for others to review: {}", reviewers.join(", "))
            }
            RecertifyRefusal::ItemDecided { id, by, kept: true } => format!("{by} kept item {id} already"),
            RecertifyRefusal::ItemDecided { id, by, kept: false } => format!("{by} revoked item {id} already"),
            RecertifyRefusal::ItemOver { id } => {
                format!("what item {id} is about is no longer held, so there is nothing to decide")
            }
            RecertifyRefusal::PastDue { id, due } => {
                format!("recertification {id} was due {due}; its items can't be decided on any more")
            }
            RecertifyRefusal::Cancelled { id, by } => format!("{by} cancelled recertification {id}"),
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            RecertifyRefusal::NoSuchRecertification { .. } => {
                one("`access recertify list --all` shows those that you may see")
            }
            RecertifyRefusal::NoSuchItem { id } => {
                vec![format!("`access recertify show {}` lists the items that you may see", id.recertification)]
            }
            RecertifyRefusal::NoSuchGroup { .. } => one("`access team show` lists the groups"),
            RecertifyRefusal::TooManyItems { .. } => one("start several, with --resource or --group"),
            RecertifyRefusal::NobodyReviews { .. } => vec![
                "name other people with --reviewers; who holds an item can't review it".to_owned(),
                "or review less, with --resource, --group or --permanent".to_owned(),
            ],
            RecertifyRefusal::OwnItem { id } | RecertifyRefusal::NeedsItemReviewer { id, .. } => {
                vec![format!("`access recertify show {}` says which items wait for you", id.recertification)]
            }
            RecertifyRefusal::ItemDecided { kept: true, .. } => one("an admin can end a grant with `access revoke`"),
            RecertifyRefusal::ItemDecided { kept: false, .. } => one("the member can ask again with `access request`"),
            RecertifyRefusal::PastDue { .. } => {
                one("the next `access expire` revokes what nobody kept; `access request` asks for it again")
            }
            RecertifyRefusal::Cancelled { .. } => one("`access recertify start` starts another"),
            RecertifyRefusal::NothingHeld { .. }
            | RecertifyRefusal::DueTooSoon
            | RecertifyRefusal::DueTooLate
            | RecertifyRefusal::StartsByGrant
            | RecertifyRefusal::ItemOver { .. } => Vec::new(),
        }
    }
}
