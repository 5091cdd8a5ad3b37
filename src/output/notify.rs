//! Notifications in words, for people: how one is told, what waits, what came of sending.

use std::fmt::Write;

use comfy_table::Color;

use super::escape::line;
use super::table::{Column, Fit, Shown};
use super::text::field;
use crate::command::{DeliverView, PreferenceView, QueuedView, TestView};
use crate::domain::time::Timestamp;
use crate::when::relative;

/// Nothing sent: nothing said.
pub fn delivered(view: &DeliverView) -> String {
    if view.busy {
        return "Another process is sending what waits.\n".to_owned();
    }
    let counts = [
        (view.delivered, "sent"),
        (view.failed - view.dead, "not sent, to be tried again (`access outbox`)"),
        (view.dead, "given up (`access outbox --dead`)"),
    ];
    let said: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { String::new() } else { said.join(", ") + "\n" }
}

pub const QUEUED: [Column; 7] = [
    Column("ID", Fit::Whole),
    Column("BY", Fit::Whole),
    Column("TO", Fit::Whole),
    Column("EVENT", Fit::Whole),
    Column("TRIES", Fit::Whole),
    Column("NEXT", Fit::Whole),
    Column("WHY", Fit::Wrap),
];

pub fn queued_row(view: &QueuedView, now: Timestamp) -> Vec<Shown> {
    let color = (view.attempts > 0).then_some(if view.dead { Color::Red } else { Color::Yellow });
    let event = match view.request {
        Some(request) => format!("{} {request}", view.event.as_str()),
        None => view.event.as_str().to_owned(),
    };
    let next = match view.due_at {
        Some(due) if due <= now => "due".to_owned(),
        Some(due) => relative(due, now),
        None => "given up".to_owned(),
    };
    vec![
        view.id.to_string().into(),
        view.channel.to_string().into(),
        line(&view.to).into_owned().into(),
        event.into(),
        view.attempts.to_string().into(),
        Shown(next, color),
        line(view.error.as_deref().unwrap_or_default()).into_owned().into(),
    ]
}

pub fn preferences(view: &PreferenceView) -> String {
    let or_none = |address: &Option<String>| address.clone().unwrap_or_else(|| "none".to_owned());
    let mut text = String::new();
    field(&mut text, "member", view.member.as_str());
    field(&mut text, "email", &or_none(&view.email));
    field(&mut text, "slack", &or_none(&view.slack));
    field(&mut text, "time zone", &view.timezone);
    if view.muted {
        field(&mut text, "muted", "everything that can be: `access notify unmute`");
    }
    text += "\nYour inbox always has everything. Besides:\n\n";
    let _ = writeln!(text, "{:<18} {:<12} {:<12} WHY", "EVENT", "EMAIL", "SLACK");
    for event in &view.events {
        let (email, slack) = (&event.email, &event.slack);
        let why = if email.why == slack.why {
            email.why.clone()
        } else {
            format!("email: {}; slack: {}", email.why, slack.why)
        };
        let _ = writeln!(text, "{:<18} {:<12} {:<12} {}", event.event, email.how, slack.how, line(&why));
    }
    text
}

pub fn tested(view: &TestView) -> String {
    let mark = match view.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "-",
    };
    let to = view.to.as_ref().map(|to| format!("{}: ", line(to))).unwrap_or_default();
    format!("{mark:<7} {:<6} {to}{}\n", view.channel, line(&view.answer))
}
