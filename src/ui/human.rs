//! Answers in words, for people.

use std::fmt::Write;

use super::escape::{bounded, line, lines};
use super::fold::Sheet;
use super::table::{Color, Column, Fit, NARROW, Shown};
use crate::command::{
    AgainstView, ApprovalsView, BackupView, COUNTED, CheckView, DecisionView, EntryView, ExpireView, FindingView,
    Follows, GrantView, Health, HolderView, NotificationView, PlanView, ProfileView, RequestView, ResourceView,
    ReviewView, VerifyView,
};
use crate::domain::describe::words;
use crate::domain::duration::{brief, spell};
use crate::domain::entitlement::{Entitlement, Via, longest};
use crate::domain::grant::State;
use crate::domain::name::{Name, one_of};
use crate::domain::request::Verdict;
use crate::domain::resource::Resource;
use crate::domain::team::change::Change;
use crate::domain::team::difference::{Difference, Turn};
use crate::domain::time::Timestamp;
use crate::time_input::{both, date_and_time, day_or_hour, relative};

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
        State::Withdrawn | State::Lapsed | State::Expired => Some(Color::Grey),
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
pub(super) fn asked(view: &RequestView) -> String {
    terms(&view.resource, view.start, view.duration.as_deref(), view.until)
}

fn terms(resource: &Resource, start: Option<Timestamp>, duration: Option<&str>, until: Option<Timestamp>) -> String {
    let from = start.map_or_else(String::new, |start| format!("from {} ", date_and_time(start)));
    format!("{resource} {from}{}", how_long(duration, until))
}

/// What has just become of a request, and of those that ended with it.
pub fn outcomes(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    sheet.line(&outcome(view, now));
    for next in &view.also_ended {
        sheet.item("  ", 4, &format!("and with it {}", in_short(next, now)));
    }
}

/// `request 2: target:orders-db for 4h, scheduled, in 2h`.
pub fn in_short(view: &RequestView, now: Timestamp) -> String {
    let asked = match &view.grant {
        Some(grant) => terms(&grant.resource, None, grant.duration.as_deref(), grant.ends_at),
        None => asked(view),
    };
    format!("request {}: {asked}, {}", view.id, status(view, now))
}

/// One line on what has just become of a request.
fn outcome(view: &RequestView, now: Timestamp) -> String {
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
        (State::Expired | State::Revoked, grant) if was_reviewed_last(view, grant.as_ref()) => {
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

/// Whether an emergency that is over was reviewed after it ended.
fn was_reviewed_last(view: &RequestView, grant: Option<&GrantView>) -> bool {
    match (&view.review, grant.and_then(|grant| grant.ended_at)) {
        (Some(ReviewView::Done(review)), Some(ended)) => review.at >= ended,
        (Some(ReviewView::Done(_)), None) => true,
        (Some(ReviewView::Owed(_)) | None, _) => false,
    }
}

/// What a dry run of a request says.
pub fn would_submit(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    let filed = if view.filed_by == view.requester { String::new() } else { format!(" for {}", view.requester) };
    sheet.line(&format!("Would ask{filed}: {}", asked(view)));
    matched(sheet, view);
    if let Some(grant) = &view.grant {
        let begins = if view.state == State::Scheduled { both(grant.starts_at, now) } else { "at once".to_owned() };
        sheet.field("granted", &begins);
        if view.emergency {
            sheet.field("review", &format!("owed afterwards{}; all who could approve are told", by_whom(view)));
        }
        return;
    }
    demands(sheet, &view.approvals);
    sheet.field("lapses", &format!("{} if it is not decided by then", date_and_time(view.lapses_at)));
    if let Some(remind) = view.remind_at {
        sheet.field("reminder", &date_and_time(remind));
    }
}

/// Which rules match, why, and what they say.
fn matched(sheet: &mut Sheet, view: &RequestView) {
    for rule in &view.rules {
        let because = line(&format!("{:?}, because {}", rule.rule, rule.because)).into_owned();
        sheet.field("rule", &format!("{because}\n{}", line(&rule.says.join("; "))));
    }
}

/// Who may still decide, by each demand.
fn demands(sheet: &mut Sheet, approvals: &ApprovalsView) {
    for demand in &approvals.requirements {
        let able = if demand.waiting_on.is_empty() { "nobody".to_owned() } else { names(&demand.waiting_on) };
        let words = match (&demand.rule, demand.need, demand.have) {
            (None, 1, _) => format!("{able} (one of them has to)"),
            (Some(rule), need, have) if have >= need => format!("{need} of {need}, by rule {rule:?}: done"),
            (Some(rule), need, have) => format!("{have} of {need}, by rule {rule:?}: waiting on {able}"),
            (None, need, have) => format!("{have} of {need}: waiting on {able}"),
        };
        sheet.field("may decide", &line(&words));
    }
}

pub fn request(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    sheet.line(&format!("Request {}: {} for {}", view.id, view.resource, view.requester));
    sheet.field("state", &status(view, now));
    sheet.field("asked", &asked(view));
    if let Some(on) = &view.on_the_table {
        sheet.field("on the table", &terms(&on.resource, on.start, on.duration.as_deref(), on.until));
    }
    if let Some(grant) = &view.grant {
        sheet.field("granted", &granted(grant, now));
    }
    sheet.field("reason", &lines(view.reason.as_str()));
    if let Some(ticket) = &view.ticket {
        sheet.field("ticket", &line(ticket.as_str()));
    }
    if view.filed_by != view.requester {
        sheet.field("filed by", view.filed_by.as_str());
    }
    if let Some(before) = view.extends {
        sheet.field("goes on from", &format!("request {before}"));
    }
    for next in &view.extended_by {
        sheet.field("goes on in", &format!("request {next}"));
    }
    match &view.review {
        Some(ReviewView::Owed(_)) => {
            let owed = format!("owed{}: `access review {} --note '…'`", by_whom(view), view.id);
            sheet.field("review", &owed);
        }
        Some(ReviewView::Done(review)) => {
            let note = lines(review.note.as_str());
            sheet.field("review", &format!("{}, {}: {note}", review.by, relative(review.at, now)));
        }
        None => {}
    }
    if let Some(row) = view.emergencies_in_24h.and_then(|together| together.words(&view.requester, &view.resource)) {
        sheet.field("emergency", &row);
    }
    sheet.field("submitted", &both(view.submitted_at, now));
    matched(sheet, view);
    if view.state == State::Pending {
        demands(sheet, &view.approvals);
        if let Some(remind) = view.remind_at {
            sheet.field("reminder", &both(remind, now));
        }
        sheet.field("lapses", &both(view.lapses_at, now));
    }
    for next in &view.also_ended {
        sheet.field("ends with it", &in_short(next, now));
    }
    if let Some(scope) = &view.narrowest_scope {
        sheet.field("covered by", &format!("scope:{scope}"));
    }
    for decision in &view.decisions {
        sheet.field("decision", &decided(decision, now));
    }
    if !view.timeline.is_empty() {
        sheet.line("Timeline");
    }
    for step in &view.timeline {
        let lead = format!("  {}  ", date_and_time(step.at));
        // On a narrow terminal the text stands below its time.
        if sheet.width().is_some_and(|width| width < NARROW) {
            sheet.line(lead.trim_end());
            sheet.item("    ", 4, &lines(&step.text));
        } else {
            sheet.item(&lead, lead.len(), &lines(&step.text));
        }
    }
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
fn way(way: &Entitlement, now: Timestamp) -> String {
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

pub fn profile(sheet: &mut Sheet, view: &ProfileView) {
    let raised = if view.effective_role == view.role {
        String::new()
    } else {
        format!(" ({} for now, by a grant)", view.effective_role)
    };
    sheet.line(&format!("{}, {}{raised}", view.member, view.role));
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    sheet.field("groups", &or_none(names(&view.groups)));
    sheet.field("scopes", &or_none(names(&view.scopes)));
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
    sheet.field("access", &or_none(live.join("\n")));
    sheet.field("unread", &counted(view.unread + u64::from(view.more_unread)));
}

/// A count that stopped at one more than `COUNTED`.
pub fn counted(count: u64) -> String {
    if count > COUNTED { format!("more than {},{:03}", COUNTED / 1000, COUNTED % 1000) } else { count.to_string() }
}

pub const NOTIFICATIONS: [Column; 3] =
    [Column("ID", Fit::Whole), Column("WHEN", Fit::Whole), Column("WHAT", Fit::Wrap)];

pub fn notification_row(view: &NotificationView, now: Timestamp) -> Vec<Shown> {
    let color = view.read_at.map(|_| Color::Grey);
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

pub fn plan(sheet: &mut Sheet, view: &PlanView) {
    sheet.line(match (view.changes.is_empty(), view.applied) {
        (true, _) => "Nothing changes.",
        (false, true) => "Applied:",
        (false, false) => "Would change:",
    });
    for change in &view.changes {
        let (mark, words) = changed(change);
        sheet.item(&format!("  {mark} "), 6, &words);
    }
    if !view.follows.is_empty() {
        sheet.line(if view.applied { "What followed:" } else { "What would follow:" });
    }
    for follow in &view.follows {
        let (id, member, resource) = (follow.request, &follow.member, &follow.resource);
        let because = line(&follow.because);
        let words = match follow.follows {
            Follows::Withdrawn => format!("request {id} withdrawn: {member} asked for {resource}; {because}"),
            Follows::Revoked => format!("grant {id} revoked: {member} has {resource}; {because}"),
            Follows::Widened => {
                format!("grant {id} widened: {member} has {resource}, which now also covers {because}")
            }
            Follows::Voided => format!(
                "request {id} reaches more, so approvals of it are void: {member} asked for {resource}, which now also covers {because}"
            ),
            Follows::Unmatched => format!("grant {id} unmatched: {member} has and keeps {resource}; {because}"),
        };
        sheet.item("  ", 4, &words);
    }
    if view.follows.iter().any(|follow| follow.follows == Follows::Unmatched) {
        sheet.item("  ", 4, "(unmatched: the team no longer gives it; `team apply --revoke-unmatched` ends it)");
    }
    if let Some(against) = &view.against {
        judged_past(sheet, against);
    }
}

fn judged_past(sheet: &mut Sheet, view: &AgainstView) {
    let (all, otherwise) = (view.requests, view.otherwise.len() + view.more);
    let stop = if view.otherwise.is_empty() { "." } else { ":" };
    let since = date_and_time(view.since);
    sheet.line(&format!("Of {all} requests since {since}, {otherwise} would have been decided otherwise{stop}"));
    for past in &view.otherwise {
        let (id, resource, requester) = (past.request, &past.resource, &past.requester);
        let words = format!("request {id} ({resource} for {requester}), {}: {}", past.was, line(&past.would));
        sheet.item("  ", 4, &words);
    }
    if view.more > 0 {
        sheet.item("  ", 4, &format!("and {} more", view.more));
    }
}

/// `+`, `~` or `-`, and `member:zoe (role: member)`, `member:bob (role: member → admin)`, `scope:x`.
fn changed(change: &Change) -> (char, String) {
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
            ('+', format!("{what} ({})", line(&said.join("; "))))
        }
        Difference::Removed => ('-', what),
        Difference::Changed(turns) => {
            let said: Vec<String> = turns.iter().map(|(key, turn)| format!("{key}: {}", turned(turn))).collect();
            ('~', format!("{what} ({})", line(&said.join("; "))))
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

pub fn verified(sheet: &mut Sheet, view: &VerifyView) {
    let held = match view.checkpoints {
        0 => String::new(),
        1 => ", and stands as it did at the checkpoint".to_owned(),
        many => format!(", and stands as it did at {many} checkpoints"),
    };
    let entries = view.entries;
    if view.ok {
        sheet.line(&format!("ok: {entries} entries, whole; the tables agree with them{held}"));
        sheet.line(&format!("head {}", view.head));
        return;
    }
    for fault in &view.faults {
        match fault.seq {
            Some(seq) => sheet.line(&format!("entry {seq}: {}", fault.problem)),
            None => sheet.line(&fault.problem),
        }
    }
    let faults = match view.faults.len() {
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    };
    sheet.line(&format!("not ok: {faults} in {entries} entries"));
}

/// `ok`, `warning` or `WRONG`, what was looked at, what was found, and what to do.
pub fn finding(sheet: &mut Sheet, view: &FindingView, color: bool) {
    const FOUND: usize = 20;
    let (mark, code) = match view.health {
        Health::Ok => ("ok", "32"),
        Health::Warning => ("warning", "33"),
        Health::Wrong => ("WRONG", "1;31"),
    };
    let mark = if color { format!("\x1b[{code}m{mark:<7}\x1b[0m") } else { format!("{mark:<7}") };
    let lead = format!("{mark}  {:<9}  ", view.what);
    sheet.item_after(&lead, FOUND.max(11 + view.what.len()), FOUND, &bounded(&lines(&view.found)));
    for mend in &view.mend {
        // A command to copy stays on one line.
        sheet.push(&format!("{:FOUND$}→ {}\n", "", bounded(&lines(mend))));
    }
}

pub fn backed_up(sheet: &mut Sheet, view: &BackupView) {
    let file = view.file.display();
    sheet.line(&format!("Copied to {file}: {} bytes, proven whole up to entry {}", view.bytes, view.checkpoint.seq));
}
