//! A request as text: as a table row, in one line, and in detail.

use std::fmt::Write;

use super::escape::{line, lines};
use super::fold::Sheet;
use super::table::{Color, Column, Fit, NARROW, Shown};
use crate::domain::binding::written;
use crate::domain::duration::brief;
use crate::domain::grant::State;
use crate::domain::name::{Name, one_of};
use crate::domain::request::Verdict;
use crate::domain::resource::Resource;
use crate::domain::text::{joined, quantity, shortened};
use crate::domain::time::Timestamp;
use crate::protocol::{
    ApprovalsView, CertificateView, DecisionView, GrantView, ProvisioningState, ProvisioningView, RequestView,
    ReviewView, SessionView,
};
use crate::time_format::{ago, date_and_time, in_full, recorded_in_full, relative, with_local_times};

/// The most characters of an error in a table.
const SHORT_REASON: usize = 60;

/// `for 4h`, `permanently`, `until 2026-12-01 17:00 +01:00`.
pub fn how_long(duration: Option<&str>, until: Option<Timestamp>) -> String {
    match (duration, until) {
        (Some("permanent"), _) => "permanently".to_owned(),
        (Some(duration), _) => format!("for {duration}"),
        (None, Some(until)) => format!("until {}", date_and_time(until)),
        (None, None) => String::new(),
    }
}

pub fn names(names: &[Name]) -> String {
    joined(names)
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

/// The state of a request, what matters about it, and how far connectors are with it.
fn status(view: &RequestView, now: Timestamp) -> String {
    let state = state(view, now);
    match provisioned(view) {
        Some(provisioned) => format!("{state}, {provisioned}"),
        None => state,
    }
}

/// `granting`, `granted`, `revoking` or `FAILED: why`, in this order of importance from the last. None if no connector has to
/// do anything about it.
pub fn provisioned(view: &RequestView) -> Option<String> {
    let grant = view.grant.as_ref()?;
    let each = grant.provisioning.as_ref()?;
    let is = |state| each.iter().find(|one| one.state == state);
    if let Some(failed) = is(ProvisioningState::Failed) {
        let why = failed.error.as_deref().unwrap_or("it gave no reason");
        return Some(format!("FAILED: {}", shortened(&line(why), SHORT_REASON)));
    }
    let shown = [ProvisioningState::Revoking, ProvisioningState::Granting, ProvisioningState::Granted];
    shown.into_iter().find(|state| is(*state).is_some()).map(|state| state.as_str().to_owned())
}

/// `orders-pg: granted 5m ago (role=orders_rw)`, a line for each binding.
fn provisioning(each: &[ProvisioningView], now: Timestamp) -> String {
    let one = |one: &ProvisioningView| {
        let at = one.at.map_or_else(String::new, |at| format!(" {}", ago(at, now)));
        let parameters = written(&one.parameters);
        let parameters = if parameters.is_empty() { parameters } else { format!(" ({parameters})") };
        let what = match one.state {
            ProvisioningState::Granting | ProvisioningState::Revoking => format!("{}{parameters}", one.state.as_str()),
            ProvisioningState::Granted | ProvisioningState::Revoked => {
                format!("{}{at}{parameters}", one.state.as_str())
            }
            ProvisioningState::Failed => {
                format!("FAILED{at}{parameters}: {}", one.error.as_deref().unwrap_or("it gave no reason"))
            }
        };
        line(&format!("{}: {what}", one.connector)).into_owned()
    };
    each.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// The time left, the approvals it has, who ended it.
fn state(view: &RequestView, now: Timestamp) -> String {
    let state = view.state;
    let grant = view.grant.as_ref();
    let status = match state {
        State::Pending => match (view.approvals.have, view.approvals.need) {
            (0, _) => state.to_string(),
            (have, need) => format!("{state}, {have} of {need}"),
        },
        State::Active => match grant.and_then(|grant| grant.remaining_seconds) {
            Some(left) => format!("{state}, {} left", brief(left)),
            None => format!("{state}, permanent"),
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
            Some(ended) => format!("{state} {}", ago(ended, now)),
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

fn has_failed(view: &RequestView) -> bool {
    let each = view.grant.as_ref().and_then(|grant| grant.provisioning.as_ref());
    each.is_some_and(|each| each.iter().any(|one| one.state == ProvisioningState::Failed))
}

/// ` by alice, bob or carol`: who can review it.
fn by_whom(view: &RequestView) -> String {
    view.reviewers.as_ref().map_or_else(String::new, |reviewers| format!(" by {}", one_of(reviewers)))
}

/// For a pending request, who can decide; for any other, who decided, or that a rule did.
fn waiting_on_or_decided_by(view: &RequestView) -> String {
    if view.state == State::Pending {
        // Whom it waited for at a moment of the past is not known.
        return if view.at.is_some() { "-".to_owned() } else { some_names(&view.approvals.waiting_on) };
    }
    if view.grant.as_ref().is_some_and(|grant| grant.by_rule.is_some()) {
        return if view.emergency { "emergency".to_owned() } else { "a rule".to_owned() };
    }
    let verdict = if view.state == State::Denied { Verdict::Deny } else { Verdict::Approve };
    let counted = view.decisions.iter().filter(|decision| decision.counts && decision.verdict == verdict);
    let by: Vec<Name> = counted.map(|decision| decision.by.clone()).collect();
    if by.is_empty() { "-".to_owned() } else { some_names(&by) }
}

pub const COLUMNS: [Column; 8] = [
    Column("ID", Fit::Whole),
    Column("STATUS", Fit::Whole),
    Column("REQUESTER", Fit::Whole),
    Column("RESOURCE", Fit::Whole),
    Column("FOR", Fit::Whole),
    Column("WAITS ON/BY", Fit::Whole),
    Column("ASKED", Fit::Drop),
    Column("REASON", Fit::Shorten),
];

pub fn row(view: &RequestView, now: Timestamp) -> Vec<Shown> {
    // The granted terms once there is a grant, and the proposed terms until then.
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
    let color = if owes_review(view) || has_failed(view) { Some(Color::Red) } else { color_of(view.state) };
    vec![
        view.id.to_string().into(),
        Shown(status(view, now), color),
        view.requester.to_string().into(),
        resource.to_string().into(),
        long.into(),
        waiting_on_or_decided_by(view).into(),
        ago(view.submitted_at, now).into(),
        line(view.reason.as_str()).into_owned().into(),
    ]
}

/// What is asked for: `connection:prod-aws for 4h`, with the start if it has one.
pub fn asked(view: &RequestView) -> String {
    terms(&view.resource, view.start, view.duration.as_deref(), view.until)
}

fn terms(resource: &Resource, start: Option<Timestamp>, duration: Option<&str>, until: Option<Timestamp>) -> String {
    let from = start.map_or_else(String::new, |start| format!("from {} ", date_and_time(start)));
    format!("{resource} {from}{}", how_long(duration, until))
}

/// The outcome for a request, and for those that ended with it.
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

/// The outcome for a request, in one line, and how far connectors are with it.
fn outcome(view: &RequestView, now: Timestamp) -> String {
    and_provisioned(outcome_alone(view, now), view)
}

fn and_provisioned(outcome: String, view: &RequestView) -> String {
    match provisioned(view) {
        Some(provisioned) => format!("{outcome} ({provisioned})"),
        None => outcome,
    }
}

fn outcome_alone(view: &RequestView, now: Timestamp) -> String {
    let id = view.id;
    let who = &view.requester;
    let asked = asked(view);
    match (view.state, &view.grant) {
        (State::Pending, _) => {
            let who = &view.approvals.waiting_on;
            let who = if who.is_empty() { "nobody".to_owned() } else { names(who) };
            let table = view.on_the_table.as_ref();
            let proposed = table.map_or(asked, |on| terms(&on.resource, on.start, on.duration.as_deref(), on.until));
            let has = match (view.approvals.have, view.approvals.need) {
                (0, 1) => String::new(),
                (have, need) => format!("has {have} of {}, ", quantity(need, "approval", "approvals")),
            };
            let void = match view.void_approvals() {
                void if void.is_empty() => String::new(),
                void => format!("; approvals that no longer count: {}", joined(void)),
            };
            format!("Request {id}: {proposed}, {has}waiting on {who}{void}")
        }
        (State::Active, Some(grant)) => {
            let until = match grant.ends_at {
                Some(end) => format!("until {}", in_full(end, now)),
                None => "permanently".to_owned(),
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
                grant.ends_at.map_or_else(|| "permanently".to_owned(), |end| format!("until {}", date_and_time(end)));
            format!(
                "Request {id} approved: {who} will have {} from {} {until}",
                grant.resource,
                in_full(grant.starts_at, now)
            )
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

/// An emergency that was reviewed now.
pub fn reviewed(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    if view.state == State::Active {
        return outcomes(sheet, view, now);
    }
    sheet.line(&and_provisioned(format!("Request {} reviewed: {}, {}", view.id, asked(view), view.state), view));
}

/// What a dry run of a request says.
pub fn would_submit(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    let filed = if view.filed_by == view.requester { String::new() } else { format!(" for {}", view.requester) };
    sheet.line(&format!("Would ask{filed}: {}", asked(view)));
    matched(sheet, view);
    if let Some(grant) = &view.grant {
        let begins = if view.state == State::Scheduled { in_full(grant.starts_at, now) } else { "at once".to_owned() };
        sheet.field("granted", &begins);
        if view.emergency {
            sheet.field(
                "review",
                &format!("needed afterwards{}; everyone who could approve is notified", by_whom(view)),
            );
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

pub fn whole(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    sheet.line(&format!("Request {}: {} for {}", view.id, view.resource, view.requester));
    sheet.field("state", &status(view, now));
    sheet.field("asked", &asked(view));
    if let Some(on) = &view.on_the_table {
        sheet.field("on the table", &terms(&on.resource, on.start, on.duration.as_deref(), on.until));
    }
    if let Some(grant) = &view.grant {
        sheet.field("granted", &granted(grant, now));
        if let Some(each) = &grant.provisioning {
            sheet.field("in systems", &provisioning(each, now));
        }
        // The timeline has all of them.
        for valid in view.certificates.iter().filter(|certificate| certificate.until > now) {
            sheet.field("certificate", &certificate(valid));
        }
    }
    sheet.field("reason", &lines(view.reason.as_str()));
    if let Some(ticket) = &view.ticket {
        sheet.field("ticket", &line(ticket.as_str()));
    }
    if view.filed_by != view.requester {
        sheet.field("filed by", view.filed_by.as_str());
    }
    if let Some(before) = view.extends {
        sheet.field("extends", &format!("request {before}"));
    }
    for next in &view.extended_by {
        sheet.field("extended by", &format!("request {next}"));
    }
    match &view.review {
        Some(ReviewView::Owed(_)) => {
            let owed = format!("owed{}: `access review {} --note '…'`", by_whom(view), view.id);
            sheet.field("review", &owed);
        }
        Some(ReviewView::Done(review)) => {
            let note = lines(review.note.as_str());
            sheet.field("review", &format!("{}, {}: {note}", review.by, ago(review.at, now)));
        }
        None => {}
    }
    if let Some(row) = view.emergencies_in_24h.and_then(|together| together.words(&view.requester, &view.resource)) {
        sheet.field("emergency", &row);
    }
    sheet.field("submitted", &recorded_in_full(view.submitted_at, now));
    matched(sheet, view);
    if view.state == State::Pending {
        demands(sheet, &view.approvals);
        if let Some(remind) = view.remind_at {
            sheet.field("reminder", &in_full(remind, now));
        }
        sheet.field("lapses", &in_full(view.lapses_at, now));
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
    sessions(sheet, view, now);
    timeline(sheet, view);
}

fn sessions(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    for opened in &view.sessions {
        sheet.field("session", &session(opened, now));
    }
    if view.more_sessions > 0 {
        let command = format!("`access audit --request {} --action session.opened`", view.id);
        sheet.field("session", &format!("and {} older: {command}", view.more_sessions));
    }
}

fn timeline(sheet: &mut Sheet, view: &RequestView) {
    if !view.timeline.is_empty() {
        sheet.line("Timeline");
    }
    for step in &view.timeline {
        let lead = format!("  {}  ", date_and_time(step.at));
        let text = with_local_times(&step.text);
        // On a narrow terminal the text goes below its time.
        if sheet.width().is_some_and(|width| width < NARROW) {
            sheet.line(lead.trim_end());
            sheet.item("    ", 4, &lines(&text));
        } else {
            sheet.item(&lead, lead.len(), &lines(&text));
        }
    }
}

fn certificate(certificate: &CertificateView) -> String {
    let CertificateView { principal, key, until, issued_by, .. } = certificate;
    line(&format!("{principal} until {}, {key} (signed by {issued_by})", date_and_time(*until))).into_owned()
}

/// `sshd from 10.0.0.7, since 10:00, open`.
fn session(session: &SessionView, now: Timestamp) -> String {
    let SessionView { service, from, resource, opened_at, closed_at, how, recording, .. } = session;
    let from = from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let mut text = line(&format!("{service}{from} on {resource}")).into_owned();
    let _ = write!(text, ", since {}, ", recorded_in_full(*opened_at, now));
    match (closed_at, how) {
        (Some(at), Some(how)) => {
            let _ = write!(text, "{} {}", how.in_words(), recorded_in_full(*at, now));
        }
        _ => text += "open",
    }
    if let Some(recording) = recording {
        let _ = write!(text, "\nrecording: {}", line(recording));
    }
    text
}

fn granted(grant: &GrantView, now: Timestamp) -> String {
    let mut text = format!("{} {}", grant.resource, how_long(grant.duration.as_deref(), grant.ends_at));
    if grant.modified {
        text += " (not as asked)";
    }
    let _ = write!(text, "\nfrom {}", in_full(grant.starts_at, now));
    if let Some(end) = grant.ends_at {
        let _ = write!(text, "\nto   {}", in_full(end, now));
    }
    if let Some(rule) = &grant.by_rule {
        let _ = write!(text, "\nby rule  {:?}", rule.as_str());
    }
    if let (Some(ended), Some(by)) = (grant.ended_at, &grant.ended_by) {
        let _ = write!(text, "\nrevoked by {by} {}", recorded_in_full(ended, now));
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
    let signed = decision.signed_with.as_ref().map(|key| format!(", signed with {key}")).unwrap_or_default();
    format!("{} {verdict}{on} {}{signed}{counts}{note}", decision.by, ago(decision.at, now))
}
