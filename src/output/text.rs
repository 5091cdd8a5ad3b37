//! Answers in words, for people.

use std::fmt::Write;

use comfy_table::Color;
use unicode_width::UnicodeWidthStr;

use super::escape::{line, lines};
use super::table::{Column, Fit, Shown};
use crate::command::{
    AgainstView, BackupView, CheckView, DecisionView, EntryView, ExpireView, FindingView, Follows, GrantView, Health,
    HolderView, NotificationView, PlanView, ProfileView, RequestView, ResourceView, ReviewView, VerifyView,
};
use crate::domain::difference::{Difference, Turn};
use crate::domain::duration::{brief, spell};
use crate::domain::emergency::one_of;
use crate::domain::entitlement::{Via, Way, longest};
use crate::domain::name::Name;
use crate::domain::request::{State, Verdict};
use crate::domain::resource::Resource;
use crate::domain::team::Change;
use crate::domain::time::Timestamp;
use crate::domain::words::words;
use crate::when::{both, date_and_time, day_or_hour, relative};

/// `for 4h`, `for good`, `until 2026-12-01 17:00 +01:00`.
pub fn how_long(duration: Option<&str>, until: Option<Timestamp>) -> String {
    match (duration, until) {
        (Some("permanent"), _) => "for good".to_owned(),
        (Some(duration), _) => format!("for {duration}"),
        (None, Some(until)) => format!("until {}", date_and_time(until)),
        (None, None) => String::new(),
    }
}

fn names(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// `alice`, or `alice +3`.
fn some_names(all: &[Name]) -> String {
    match all {
        [] => "nobody".to_owned(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} +{}", rest.len()),
    }
}

fn color_of(state: State) -> Option<Color> {
    match state {
        State::Pending | State::Scheduled => Some(Color::Yellow),
        State::Active => Some(Color::Green),
        State::Denied | State::Revoked => Some(Color::Red),
        State::Withdrawn | State::Lapsed | State::Expired => Some(Color::DarkGrey),
    }
}

/// The state of a request and what matters about it: the time left, the approvals it has, who ended it.
fn status(view: &RequestView, now: Timestamp) -> String {
    let state = view.state;
    let grant = view.grant.as_ref();
    let status = match state {
        State::Pending => match (view.approvals.have, view.approvals.need) {
            (0, _) => state.to_string(),
            (have, need) => format!("{state}, {have} of {need}"),
        },
        State::Active => match grant.and_then(|grant| grant.remaining_seconds) {
            Some(left) => format!("{state}, {} left", brief(left)),
            None => format!("{state}, for good"),
        },
        State::Scheduled => match grant {
            Some(grant) => format!("{state}, {}", relative(grant.starts_at, now)),
            None => state.to_string(),
        },
        State::Revoked => match grant.and_then(|grant| grant.ended_by.as_ref()) {
            Some(by) => format!("{state} by {by}"),
            None => state.to_string(),
        },
        State::Expired => match grant.and_then(|grant| grant.ended_at) {
            Some(ended) => format!("{state} {}", relative(ended, now)),
            None => state.to_string(),
        },
        State::Denied | State::Withdrawn | State::Lapsed => state.to_string(),
    };
    if !owes_review(view) {
        return status;
    }
    match grant.and_then(|grant| grant.remaining_seconds).filter(|_| state == State::Active) {
        Some(left) => format!("needs review, {} left", brief(left)),
        None => "needs review".to_owned(),
    }
}

fn owes_review(view: &RequestView) -> bool {
    matches!(view.review, Some(ReviewView::Owed(_)))
}

/// ` by alice, bob or carol`: who can review it.
fn by_whom(view: &RequestView) -> String {
    view.reviewers.as_ref().map_or_else(String::new, |reviewers| format!(" by {}", one_of(reviewers)))
}

/// Whom a pending request waits on; of the others, whose decision it was, or which rule's.
fn waiting_on_or_decided_by(view: &RequestView) -> String {
    if view.state == State::Pending {
        return some_names(&view.approvals.waiting_on);
    }
    if view.grant.as_ref().is_some_and(|grant| grant.by_rule.is_some()) {
        return if view.emergency { "emergency".to_owned() } else { "a rule".to_owned() };
    }
    let verdict = if view.state == State::Denied { Verdict::Deny } else { Verdict::Approve };
    let counted = view.decisions.iter().filter(|decision| decision.counts && decision.verdict == verdict);
    let by: Vec<Name> = counted.map(|decision| decision.by.clone()).collect();
    if by.is_empty() { "-".to_owned() } else { some_names(&by) }
}

pub const REQUESTS: [Column; 8] = [
    Column("ID", Fit::Whole),
    Column("STATUS", Fit::Whole),
    Column("REQUESTER", Fit::Whole),
    Column("RESOURCE", Fit::Whole),
    Column("FOR", Fit::Whole),
    Column("WAITS ON/BY", Fit::Whole),
    Column("ASKED", Fit::Drop),
    Column("REASON", Fit::Shorten),
];

pub fn request_row(view: &RequestView, now: Timestamp) -> Vec<Shown> {
    // What was granted is what counts once there is a grant, and what is on the table until then.
    let (resource, duration, until) = match (&view.grant, &view.on_the_table) {
        (Some(grant), _) => (&grant.resource, grant.duration.as_deref(), grant.ends_at),
        (None, Some(terms)) => (&terms.resource, terms.duration.as_deref(), terms.until),
        (None, None) => (&view.resource, view.duration.as_deref(), view.until),
    };
    let long = match (duration, until) {
        (Some(duration), _) => duration.to_owned(),
        (None, Some(until)) => relative(until, now),
        (None, None) => String::new(),
    };
    let color = if owes_review(view) { Some(Color::Red) } else { color_of(view.state) };
    vec![
        view.id.to_string().into(),
        Shown(status(view, now), color),
        view.requester.to_string().into(),
        resource.to_string().into(),
        long.into(),
        waiting_on_or_decided_by(view).into(),
        relative(view.submitted_at, now).into(),
        line(view.reason.as_str()).into_owned().into(),
    ]
}

/// What is asked for: `connection:prod-aws for 4h`, with the start if it has one.
fn asked(view: &RequestView) -> String {
    terms(&view.resource, view.start, view.duration.as_deref(), view.until)
}

fn terms(resource: &Resource, start: Option<Timestamp>, duration: Option<&str>, until: Option<Timestamp>) -> String {
    let from = start.map_or_else(String::new, |start| format!("from {} ", date_and_time(start)));
    format!("{resource} {from}{}", how_long(duration, until))
}

/// One line on what has just become of a request.
pub fn outcome(view: &RequestView, now: Timestamp) -> String {
    let id = view.id;
    let who = &view.requester;
    let asked = asked(view);
    match (view.state, &view.grant) {
        (State::Pending, _) => {
            let who = &view.approvals.waiting_on;
            let who = if who.is_empty() { "nobody".to_owned() } else { names(who) };
            let table = view.on_the_table.as_ref();
            let stands = table.map_or(asked, |on| terms(&on.resource, on.start, on.duration.as_deref(), on.until));
            let has = match (view.approvals.have, view.approvals.need) {
                (0, 1) => String::new(),
                (have, need) => format!("has {have} of {need} approvals, "),
            };
            format!("Request {id}: {stands}, {has}waiting on {who}")
        }
        (State::Active, Some(grant)) => {
            let until = match grant.ends_at {
                Some(end) => format!("until {}", both(end, now)),
                None => "for good".to_owned(),
            };
            let (how, owes) = match (view.emergency, &view.review) {
                (true, Some(ReviewView::Owed(_))) => {
                    ("taken in an emergency", format!("; it needs a review{}", by_whom(view)))
                }
                (true, _) => ("taken in an emergency", "; it is reviewed".to_owned()),
                (false, _) => ("approved", String::new()),
            };
            format!("Request {id} {how}: {who} has {} {until}{owes}", grant.resource)
        }
        (State::Scheduled, Some(grant)) => {
            let until =
                grant.ends_at.map_or_else(|| "for good".to_owned(), |end| format!("until {}", date_and_time(end)));
            format!(
                "Request {id} approved: {who} will have {} from {} {until}",
                grant.resource,
                both(grant.starts_at, now)
            )
        }
        (State::Expired | State::Revoked, _) if matches!(view.review, Some(ReviewView::Done(_))) => {
            format!("Request {id} reviewed: {asked}, {}", view.state)
        }
        (State::Revoked, Some(grant)) => {
            format!("Request {id} revoked: {who} no longer has {} through it", grant.resource)
        }
        (State::Denied, _) => format!("Request {id} denied: {who} does not get {}", view.resource),
        (State::Withdrawn, _) => format!("Request {id} withdrawn: {}", view.resource),
        (State::Scheduled | State::Active | State::Lapsed | State::Expired | State::Revoked, _) => {
            format!("Request {id} is {}: {asked}", view.state)
        }
    }
}

/// What a dry run of a request says.
pub fn would_submit(view: &RequestView, now: Timestamp) -> String {
    let filed = if view.filed_by == view.requester { String::new() } else { format!(" for {}", view.requester) };
    let mut text = format!("Would ask{filed}: {}\n", asked(view));
    matched(&mut text, view);
    if let Some(grant) = &view.grant {
        let begins = if view.state == State::Scheduled { both(grant.starts_at, now) } else { "at once".to_owned() };
        field(&mut text, "granted", &begins);
        if view.emergency {
            let owed = format!("owed afterwards{}; all who could approve are told", by_whom(view));
            field(&mut text, "review", &wrapped(&owed));
        }
        return text;
    }
    demands(&mut text, view);
    field(&mut text, "lapses", &format!("{} if it is not decided by then", date_and_time(view.lapses_at)));
    if let Some(remind) = view.remind_at {
        field(&mut text, "reminder", &date_and_time(remind));
    }
    text
}

/// Which rules match, why, and what they say.
fn matched(text: &mut String, view: &RequestView) {
    for rule in &view.rules {
        let because = wrapped(&line(&format!("{:?}, because {}", rule.rule, rule.because)));
        field(text, "rule", &format!("{because}\n{}", wrapped(&line(&rule.says.join("; ")))));
    }
}

/// Broken between words into lines that fit beside a label on 80 columns.
fn wrapped(words: &str) -> String {
    const WIDTH: usize = 80 - 15;
    let mut text = String::new();
    let mut column = 0;
    for word in words.split(' ') {
        let width = word.width();
        let (space, at) = match column {
            0 => ("", 0),
            column if column + 1 + width > WIDTH => ("\n", 0),
            column => (" ", column + 1),
        };
        text += space;
        text += word;
        column = at + width;
    }
    text
}

/// Who may still decide, by each demand.
fn demands(text: &mut String, view: &RequestView) {
    for demand in &view.approvals.requirements {
        let able = if demand.waiting_on.is_empty() { "nobody".to_owned() } else { names(&demand.waiting_on) };
        let words = match (&demand.rule, demand.need, demand.have) {
            (None, 1, _) => format!("{able} (one of them has to)"),
            (Some(rule), need, have) if have >= need => format!("{need} of {need}, by rule {rule:?}: done"),
            (Some(rule), need, have) => format!("{have} of {need}, by rule {rule:?}: waiting on {able}"),
            (None, need, have) => format!("{have} of {need}: waiting on {able}"),
        };
        field(text, "may decide", &wrapped(&line(&words)));
    }
}

/// A field of a record: its label, and its value on one or more lines.
pub(super) fn field(text: &mut String, label: &str, value: &str) {
    let mut rows = value.split('\n');
    let _ = writeln!(text, "  {label:<12} {}", rows.next().unwrap_or_default());
    for row in rows {
        let _ = writeln!(text, "  {:<12} {row}", "");
    }
}

pub fn request(view: &RequestView, now: Timestamp) -> String {
    let mut text = format!("Request {}: {} for {}\n", view.id, view.resource, view.requester);
    field(&mut text, "state", &status(view, now));
    field(&mut text, "asked", &asked(view));
    if let Some(on) = &view.on_the_table {
        field(&mut text, "on the table", &terms(&on.resource, on.start, on.duration.as_deref(), on.until));
    }
    if let Some(grant) = &view.grant {
        field(&mut text, "granted", &granted(grant, now));
    }
    field(&mut text, "reason", &lines(view.reason.as_str()));
    if let Some(ticket) = &view.ticket {
        field(&mut text, "ticket", &line(ticket.as_str()));
    }
    if view.filed_by != view.requester {
        field(&mut text, "filed by", view.filed_by.as_str());
    }
    if let Some(before) = view.extends {
        field(&mut text, "goes on from", &format!("request {before}"));
    }
    for next in &view.extended_by {
        field(&mut text, "goes on in", &format!("request {next}"));
    }
    match &view.review {
        Some(ReviewView::Owed(_)) => {
            let owed = format!("owed{}: `access review {} --note '…'`", by_whom(view), view.id);
            field(&mut text, "review", &wrapped(&owed));
        }
        Some(ReviewView::Done(review)) => {
            let note = lines(review.note.as_str());
            field(&mut text, "review", &format!("{}, {}: {note}", review.by, relative(review.at, now)));
        }
        None => {}
    }
    if let Some(row) = view.emergencies_in_24h.and_then(|together| together.words(&view.requester, &view.resource)) {
        field(&mut text, "emergency", &wrapped(&row));
    }
    field(&mut text, "submitted", &both(view.submitted_at, now));
    matched(&mut text, view);
    if view.state == State::Pending {
        demands(&mut text, view);
        if let Some(remind) = view.remind_at {
            field(&mut text, "reminder", &both(remind, now));
        }
        field(&mut text, "lapses", &both(view.lapses_at, now));
    }
    if let Some(scope) = &view.narrowest_scope {
        field(&mut text, "covered by", &format!("scope:{scope}"));
    }
    for decision in &view.decisions {
        field(&mut text, "decision", &decided(decision, now));
    }
    if !view.timeline.is_empty() {
        text += "Timeline\n";
    }
    for step in &view.timeline {
        let at = date_and_time(step.at);
        let under = format!("\n{:1$}", "", at.len() + 4);
        let what: Vec<String> = lines(&step.text).lines().map(str::to_owned).collect();
        let _ = writeln!(text, "  {at}  {}", what.join(&under));
    }
    text
}

fn granted(grant: &GrantView, now: Timestamp) -> String {
    let mut text = format!("{} {}", grant.resource, how_long(grant.duration.as_deref(), grant.ends_at));
    if grant.modified {
        text += " (not as asked)";
    }
    let _ = write!(text, "\nfrom {}", both(grant.starts_at, now));
    if let Some(end) = grant.ends_at {
        let _ = write!(text, "\nto   {}", both(end, now));
    }
    if let Some(rule) = &grant.by_rule {
        let _ = write!(text, "\nby rule  {:?}", rule.as_str());
    }
    if let (Some(ended), Some(by)) = (grant.ended_at, &grant.ended_by) {
        let _ = write!(text, "\nrevoked by {by} {}", both(ended, now));
    }
    text
}

fn decided(decision: &DecisionView, now: Timestamp) -> String {
    let verdict = match decision.verdict {
        Verdict::Approve => "approved",
        Verdict::Deny => "denied",
    };
    let note = decision.note.as_ref().map(|note| format!(": {}", lines(note.as_str()))).unwrap_or_default();
    let on = decision.terms.as_ref();
    let on = on
        .map_or_else(String::new, |on| format!(" {}", terms(&on.resource, on.start, on.duration.as_deref(), on.until)));
    let counts = if decision.counts { "" } else { " (no longer counts)" };
    format!("{} {verdict}{on} {}{counts}{note}", decision.by, relative(decision.at, now))
}

/// `role:admin`, `scope:kubernetes`, `the grant of request 12`, with the time left.
fn way(way: &Way, now: Timestamp) -> String {
    let how = match (way.via, way.request) {
        (Via::Grant, Some(request)) => format!("request {request} ({})", way.name),
        (Via::Role | Via::Scope | Via::Feature | Via::Grant, request) => {
            let granted = request.map(|request| format!(" by request {request}")).unwrap_or_default();
            format!("{}:{}{granted}", way.via.as_str(), way.name)
        }
    };
    match way.until {
        Some(until) => format!("{how}, {} left", brief(until.since(now))),
        None => how,
    }
}

pub fn check(view: &CheckView) -> String {
    let (member, resource) = (&view.member, &view.resource);
    match (longest(&view.because), view.pending) {
        (Some(best), _) => format!("yes: {member} may use {resource}, through {}", way(best, view.now)),
        (None, Some(pending)) => format!("no: {member} may not use {resource} yet; request {pending} is pending"),
        (None, None) => {
            format!("no: {member} may not use {resource}; ask with `access request {resource}`")
        }
    }
}

pub const HOLDERS: [Column; 4] = [
    Column("MEMBER", Fit::Whole),
    Column("THROUGH", Fit::Shorten),
    Column("REQUEST", Fit::Whole),
    Column("UNTIL", Fit::Whole),
];

pub fn holder_row(view: &HolderView, now: Timestamp) -> Vec<Shown> {
    let way = &view.way;
    vec![
        view.member.to_string().into(),
        match way.via {
            Via::Grant => format!("grant of {}", way.name),
            Via::Role | Via::Scope | Via::Feature => format!("{}:{}", way.via.as_str(), way.name),
        }
        .into(),
        way.request.map(|id| id.to_string()).unwrap_or_default().into(),
        way.until.map_or_else(String::new, |until| both(until, now)).into(),
    ]
}

pub const RESOURCES: [Column; 3] =
    [Column("RESOURCE", Fit::Whole), Column("YOU", Fit::Whole), Column("ABOUT", Fit::Shorten)];

pub fn resource_row(view: &ResourceView, now: Timestamp) -> Vec<Shown> {
    let via = view.via.first().map(String::as_str).unwrap_or_default();
    let more = if view.via.len() > 1 { ", …" } else { "" };
    let (held, color) = match (view.held, view.until, view.pending) {
        (true, Some(until), _) => (format!("{} left ({via}{more})", brief(until.since(now))), Some(Color::Green)),
        (true, None, _) => (format!("yes ({via}{more})"), Some(Color::Green)),
        (false, _, Some(pending)) => (format!("asked: request {pending}"), Some(Color::Yellow)),
        (false, _, None) => ("-".to_owned(), None),
    };
    vec![view.resource.to_string().into(), Shown(held, color), line(&view.about).into_owned().into()]
}

pub fn profile(view: &ProfileView) -> String {
    let mut text = String::new();
    let raised = if view.effective_role == view.role {
        String::new()
    } else {
        format!(" ({} for now, by a grant)", view.effective_role)
    };
    let _ = writeln!(text, "{}, {}{raised}", view.member, view.role);
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    field(&mut text, "groups", &or_none(names(&view.groups)));
    field(&mut text, "scopes", &or_none(names(&view.scopes)));
    let live: Vec<String> = view
        .grants
        .iter()
        .filter_map(|request| {
            let grant = request.grant.as_ref()?;
            let left = match grant.remaining_seconds {
                // To the second: this is what is watched.
                Some(left) => format!("{} left", spell(left)),
                None => "for good".to_owned(),
            };
            let until = grant.ends_at.map(|end| format!(", until {}", day_or_hour(end, view.now))).unwrap_or_default();
            Some(format!("{}  {left}{until} (request {})", grant.resource, request.id))
        })
        .collect();
    field(&mut text, "access", &or_none(live.join("\n")));
    field(&mut text, "unread", &view.unread.to_string());

    text
}

pub const NOTIFICATIONS: [Column; 3] =
    [Column("ID", Fit::Whole), Column("WHEN", Fit::Whole), Column("WHAT", Fit::Wrap)];

pub fn notification_row(view: &NotificationView, now: Timestamp) -> Vec<Shown> {
    let color = view.read_at.map(|_| Color::DarkGrey);
    vec![view.id.to_string().into(), relative(view.at, now).into(), Shown(line(&view.text).into_owned(), color)]
}

pub const ENTRIES: [Column; 5] = [
    Column("SEQ", Fit::Whole),
    Column("AT", Fit::Whole),
    Column("ACTOR", Fit::Whole),
    Column("ACTION", Fit::Whole),
    Column("WHAT", Fit::Wrap),
];

pub fn entry_row(view: &EntryView) -> Vec<Shown> {
    let actor = match &view.actor {
        Some(actor) => actor.to_string(),
        None => "-".to_owned(),
    };
    vec![
        view.seq.to_string().into(),
        date_and_time(view.at).into(),
        actor.into(),
        view.event.action().to_owned().into(),
        line(&words(&view.event, view.actor.as_ref(), None)).into_owned().into(),
    ]
}

/// Nothing to say: nothing said.
pub fn expired(view: &ExpireView) -> String {
    let counts = [
        (view.expired, "expired"),
        (view.started, "started"),
        (view.expiring, "warned that they end soon"),
        (view.lapsed, "lapsed undecided"),
        (view.reminded, "reminded of"),
        (view.rejudged, "from before the upgrade judged again"),
        (view.delivered, "notifications sent"),
        (view.failed, "not sent (`access outbox`)"),
    ];
    let said: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { String::new() } else { said.join(", ") + "\n" }
}

pub fn plan(view: &PlanView) -> String {
    let mut text = String::from(match (view.changes.is_empty(), view.applied) {
        (true, _) => "Nothing changes.\n",
        (false, true) => "Applied:\n",
        (false, false) => "Would change:\n",
    });
    for change in &view.changes {
        text += &changed(change);
    }
    if !view.follows.is_empty() {
        text += if view.applied { "What followed:\n" } else { "What would follow:\n" };
    }
    for follow in &view.follows {
        let (id, member, resource) = (follow.request, &follow.member, &follow.resource);
        let _ = match follow.follows {
            Follows::Withdrawn => {
                writeln!(text, "  request {id} withdrawn: {member} asked for {resource}; {}", line(&follow.because))
            }
            Follows::Revoked => {
                writeln!(text, "  grant {id} revoked: {member} has {resource}; {}", line(&follow.because))
            }
            Follows::Widened => writeln!(
                text,
                "  grant {id} widened: {member} has {resource}, which now also covers {}",
                line(&follow.because)
            ),
            Follows::Voided => writeln!(
                text,
                "  approvals of request {id} void: {member} asked for {resource}, which now also covers {}",
                line(&follow.because)
            ),
            Follows::Unmatched => {
                writeln!(text, "  grant {id} unmatched: {member} has and keeps {resource}; {}", line(&follow.because))
            }
        };
    }
    if view.follows.iter().any(|follow| follow.follows == Follows::Unmatched) {
        text += "  (unmatched: the file no longer gives it; --revoke-unmatched ends it)\n";
    }
    if let Some(against) = &view.against {
        text += &judged_past(against);
    }
    text
}

fn judged_past(view: &AgainstView) -> String {
    let (all, otherwise) = (view.requests, view.otherwise.len() + view.more);
    let mut text =
        format!("Of {all} requests since {}, {otherwise} would have been decided otherwise", date_and_time(view.since));
    text += if view.otherwise.is_empty() { ".\n" } else { ":\n" };
    for past in &view.otherwise {
        let _ = writeln!(
            text,
            "  request {} ({} for {}), {}: {}",
            past.request,
            past.resource,
            past.requester,
            past.was,
            line(&past.would)
        );
    }
    if view.more > 0 {
        let _ = writeln!(text, "  and {} more", view.more);
    }
    text
}

/// `+ member:zoe (role: member)`, `~ member:bob (role: member → admin)`, `- scope:x`.
fn changed(change: &Change) -> String {
    let what = match change {
        Change::RuleOrder(_) => "the order of the rules".to_owned(),
        Change::Team(_)
        | Change::Member(..)
        | Change::Group(..)
        | Change::Connection(..)
        | Change::Target(..)
        | Change::Feature(..)
        | Change::Scope(..)
        | Change::Rule(..)
        | Change::Notifications(_) => line(&change.what()).into_owned(),
    };
    match Difference::of(change) {
        Difference::Added(fields) => {
            let said: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("  + {what} ({})\n", line(&said.join("; ")))
        }
        Difference::Removed => format!("  - {what}\n"),
        Difference::Changed(turns) => {
            let said: Vec<String> = turns.iter().map(|(key, turn)| format!("{key}: {}", turned(turn))).collect();
            format!("  ~ {what} ({})\n", line(&said.join("; ")))
        }
    }
}

/// `a → b`; for lists, only what came and went.
fn turned(turn: &Turn) -> String {
    match turn {
        Turn::Value { from, to } => format!("{from} → {to}"),
        Turn::List { came, went } => {
            let came = came.iter().map(|item| format!("+{item}"));
            let went = went.iter().map(|item| format!("-{item}"));
            came.chain(went).collect::<Vec<_>>().join(" ")
        }
    }
}

pub fn verified(view: &VerifyView) -> String {
    let held = match view.checkpoints {
        0 => String::new(),
        1 => ", and stands as it did at the checkpoint".to_owned(),
        many => format!(", and stands as it did at {many} checkpoints"),
    };
    let entries = view.entries;
    if view.ok {
        return format!("ok: {entries} entries, whole; the tables agree with them{held}\nhead {}\n", view.head);
    }
    let mut text = String::new();
    for fault in &view.faults {
        let _ = match fault.seq {
            Some(seq) => writeln!(text, "entry {seq}: {}", fault.problem),
            None => writeln!(text, "{}", fault.problem),
        };
    }
    let faults = match view.faults.len() {
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    };
    text + &format!("not ok: {faults} in {entries} entries\n")
}

/// `ok`, `warning` or `WRONG`, what was looked at, what was found, and what to do.
pub fn finding(view: &FindingView, color: bool) -> String {
    let (mark, code) = match view.health {
        Health::Ok => ("ok", "32"),
        Health::Warning => ("warning", "33"),
        Health::Wrong => ("WRONG", "1;31"),
    };
    let mark = if color { format!("\x1b[{code}m{mark:<7}\x1b[0m") } else { format!("{mark:<7}") };
    let mut text = format!("{mark}  {:<9}  {}\n", view.what, lines(&view.found));
    for mend in &view.mend {
        let _ = writeln!(text, "{:20}→ {}", "", lines(mend));
    }
    text
}

pub fn backed_up(view: &BackupView) -> String {
    let file = view.file.display();
    format!("Copied to {file}: {} bytes, proven whole up to entry {}\n", view.bytes, view.checkpoint.seq)
}
