//! A recertification as text: as a table row, and in detail with its items.

use super::escape::line;
use super::fold::Sheet;
use super::table::{Column, Fit, Shown, table};
use crate::domain::member::Assignee;
use crate::domain::recertification::{Cancellation, Held};
use crate::domain::text::joined;
use crate::domain::time::Timestamp;
use crate::protocol::{ItemCounts, ItemState, ItemView, RecertificationView};
use crate::time_format::{ago, in_full, recorded_in_full, relative};

pub const COLUMNS: [Column; 5] = [
    Column("ID", Fit::Whole),
    Column("OF", Fit::Shorten),
    Column("DUE", Fit::Whole),
    Column("DONE", Fit::Whole),
    Column("WAITS FOR YOU", Fit::Whole),
];

pub fn row(view: &RecertificationView, now: Timestamp) -> Vec<Shown> {
    let due = match view.closed_at {
        Some(closed) if view.cancelled.is_some() => format!("cancelled {}", ago(closed, now)),
        Some(closed) => format!("closed {}", ago(closed, now)),
        None => relative(view.due, now),
    };
    vec![
        view.id.to_string().into(),
        view.selection.to_string().into(),
        due.into(),
        done(&view.counts).into(),
        view.waiting_for_you.to_string().into(),
    ]
}

/// `3 of 5`: those that no longer wait.
fn done(counts: &ItemCounts) -> String {
    let ItemCounts { waiting, kept, revoked, not_kept, ended } = *counts;
    let over = kept + revoked + not_kept + ended;
    format!("{over} of {}", over + waiting)
}

const ITEMS: [Column; 6] = [
    Column("ID", Fit::Whole),
    Column("MEMBER", Fit::Whole),
    Column("HOLDS", Fit::Wrap),
    Column("UNTIL", Fit::Drop),
    Column("STATE", Fit::Whole),
    Column("REVIEWERS/BY", Fit::Wrap),
];

/// A recertification with its items, and what to change in the team file.
pub fn whole(sheet: &mut Sheet, view: &RecertificationView, now: Timestamp) {
    sheet.line(&format!("Recertification {}: {}", view.id, view.selection));
    sheet.field("started", &format!("{} by {}", recorded_in_full(view.started_at, now), view.by));
    match (view.closed_at, &view.cancelled) {
        (Some(closed), Some(Cancellation { by, reason })) => {
            sheet.field("cancelled", &format!("{} by {by}: {}", recorded_in_full(closed, now), line(reason.as_str())));
        }
        (Some(closed), None) => sheet.field("closed", &recorded_in_full(closed, now)),
        (None, _) => sheet.field("due", &in_full(view.due, now)),
    }
    sheet.field("done", &done(&view.counts));
    if view.waiting_for_you > 0 {
        sheet.field("for you", &view.waiting_for_you.to_string());
    }
    sheet.blank();
    let rows: Vec<Vec<Shown>> = view.items.iter().map(|item| item_row(item, now)).collect();
    let table = table(&ITEMS, &rows, sheet.width(), false);
    sheet.push(&table);
    let changes: Vec<&ItemView> = view.items.iter().filter(|item| item.team_change.is_some()).collect();
    if changes.is_empty() {
        return;
    }
    sheet.blank();
    sheet.line("To change in the team file:");
    for item in changes {
        let change = item.team_change.as_deref().unwrap_or_default();
        sheet.item("  ", 4, &format!("{change} (item {})", item.id));
    }
}

fn item_row(view: &ItemView, now: Timestamp) -> Vec<Shown> {
    let until = match view.held {
        Held::Grant { until: Some(until), .. } => relative(until, now),
        Held::Grant { until: None, .. } => "permanent".to_owned(),
        Held::Role(_) | Held::Group(_) | Held::Scope(_) => "team file".to_owned(),
    };
    vec![
        view.id.to_string().into(),
        view.member.to_string().into(),
        view.held.to_string().into(),
        until.into(),
        view.state.in_words().to_owned().into(),
        by_or_reviewers(view).into(),
    ]
}

/// Who decided, and why; until then who may.
fn by_or_reviewers(view: &ItemView) -> String {
    match (&view.decided_by, &view.reason) {
        (Some(by), Some(reason)) => format!("{by}: {}", line(reason.as_str())),
        (Some(by), None) => by.to_string(),
        (None, _) if view.state == ItemState::Waiting => joined::<&Assignee>(&view.reviewers),
        (None, _) => "-".to_owned(),
    }
}

/// One item in detail, for the person who is about to be asked about it.
pub fn item(sheet: &mut Sheet, view: &ItemView, now: Timestamp) {
    sheet.line(&format!("Item {}: {}", view.id, view.member));
    sheet.field("holds", &view.held.to_string());
    match view.held {
        Held::Grant { until: Some(until), .. } => sheet.field("until", &in_full(until, now)),
        Held::Grant { until: None, .. } => sheet.field("until", "permanent"),
        Held::Role(_) | Held::Group(_) | Held::Scope(_) => sheet.field("by", "the team file"),
    }
}

/// `1.4: bob's group:backend`.
pub fn item_in_short(view: &ItemView) -> String {
    format!("{}: {} of {}", view.id, view.held, view.member)
}

/// What a decision on an item did.
pub fn outcome(sheet: &mut Sheet, view: &ItemView) {
    let what = item_in_short(view);
    match (&view.team_change, view.state) {
        (Some(change), _) => sheet.line(&format!("Revoked {what}; the team file still gives it: {change}")),
        (None, ItemState::Kept) => sheet.line(&format!("Kept {what}")),
        (None, _) => sheet.line(&format!("Revoked {what}")),
    }
}
