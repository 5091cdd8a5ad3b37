//! Text output for notifications: settings, the outbox, and the results of sending.

use std::sync::LazyLock;

use super::escape::line;
use super::fold::Sheet;
use super::table::{Color, Column, Fit, Layout, Shown};
use crate::command::{DeliverView, EventPreferenceView, PreferenceView, QueuedView, TestView};
use crate::domain::channel::Channel;
use crate::domain::time::Timestamp;
use crate::time_input::relative;

/// Empty if nothing was sent.
pub fn delivered(view: &DeliverView) -> String {
    if view.busy {
        return "Another process is sending the outbox.\n".to_owned();
    }
    let counts = [
        (view.delivered, "sent"),
        (view.failed - view.dead, "failed, will be retried (`access outbox`)"),
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

/// The event, a column for each channel, and why.
static EVENTS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let channels = Channel::ALL.into_iter().map(|channel| Column(channel.heading(), Fit::Whole));
    [Column("EVENT", Fit::Whole)].into_iter().chain(channels).chain([Column("WHY", Fit::Wrap)]).collect()
});

pub fn preferences(sheet: &mut Sheet, view: &PreferenceView, color: bool) {
    sheet.field("member", view.member.as_str());
    for (channel, address) in &view.addresses {
        sheet.field(channel.as_str(), &address.as_deref().map_or("none".into(), line));
    }
    sheet.field("time zone", &line(&view.timezone));
    if view.muted {
        sheet.field("muted", "everything except mandatory events: `access notify unmute`");
    }
    sheet.blank();
    sheet.line("Your inbox gets every notification. In addition:");
    sheet.blank();
    let rows: Vec<Vec<Shown>> = view.events.iter().map(event_row).collect();
    let table = Layout::of(&EVENTS, &rows, sheet.width()).first_page(&rows, color);
    sheet.push(&table);
}

fn event_row(view: &EventPreferenceView) -> Vec<Shown> {
    let mut whys = view.channels.values().map(|setting| &setting.why);
    let first = whys.next().cloned().unwrap_or_default();
    let why = if whys.all(|why| *why == first) {
        first
    } else {
        let each: Vec<String> =
            view.channels.iter().map(|(channel, setting)| format!("{channel}: {}", setting.why)).collect();
        each.join("; ")
    };
    let channels = view.channels.values().map(|setting| setting.how.clone().into());
    [view.event.to_string().into()].into_iter().chain(channels).chain([line(&why).into_owned().into()]).collect()
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
