//! Notifications in words, for people: how one is told, what waits, what came of sending.

use super::escape::line;
use super::fold::Sheet;
use super::table::{Color, Column, Fit, Shown, table};
use crate::command::{DeliverView, PreferenceView, QueuedView, TestView};
use crate::domain::time::Timestamp;
use crate::time_input::relative;

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

const EVENTS: [Column; 4] =
    [Column("EVENT", Fit::Whole), Column("EMAIL", Fit::Whole), Column("SLACK", Fit::Whole), Column("WHY", Fit::Wrap)];

pub fn preferences(sheet: &mut Sheet, view: &PreferenceView, color: bool) {
    let or_none = |address: &Option<String>| address.as_deref().map_or("none".to_owned(), |it| line(it).into_owned());
    sheet.field("member", view.member.as_str());
    sheet.field("email", &or_none(&view.email));
    sheet.field("slack", &or_none(&view.slack));
    sheet.field("time zone", &line(&view.timezone));
    if view.muted {
        sheet.field("muted", "everything that can be: `access notify unmute`");
    }
    sheet.blank();
    sheet.line("Your inbox always has everything. Besides:");
    sheet.blank();
    let rows: Vec<Vec<Shown>> = view
        .events
        .iter()
        .map(|event| {
            let (email, slack) = (&event.email, &event.slack);
            let why = if email.why == slack.why {
                email.why.clone()
            } else {
                format!("email: {}; slack: {}", email.why, slack.why)
            };
            vec![
                event.event.to_string().into(),
                email.how.to_string().into(),
                slack.how.to_string().into(),
                line(&why).into_owned().into(),
            ]
        })
        .collect();
    let table = table(&EVENTS, &rows, sheet.width(), color);
    sheet.push(&table);
}

pub fn tested(sheet: &mut Sheet, view: &TestView) {
    let mark = match view.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "-",
    };
    let to = view.to.as_ref().map(|to| format!("{}: ", line(to))).unwrap_or_default();
    let lead = format!("{mark:<7} {:<6} ", view.channel);
    sheet.item(&lead, lead.len(), &format!("{to}{}", line(&view.answer)));
}
