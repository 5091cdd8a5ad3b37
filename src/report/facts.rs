//! What a report counts of one request.

use crate::domain::entry_ref::EntryRef;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::request::Verdict;
use crate::domain::time::Timestamp;
use crate::protocol::{GrantView, Owed, ReportedRequest, RequestView, ReviewView};

/// How access came about, for a reader who looks at a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldHow {
    Limited,
    Permanent,
    Emergency,
}

/// The time within the period in which a grant gave access, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub to: i64,
    pub how: HeldHow,
}

/// A request, seen from a period.
pub struct Facts<'r> {
    pub request: &'r RequestView,
    pub entries: &'r [EntryRef],
    /// Filed in the period.
    pub is_filed: bool,
    /// The entry that granted it, whenever that was.
    pub granted: Option<&'r EntryRef>,
    /// The entry of the period that granted or denied it.
    pub decided: Option<&'r EntryRef>,
    /// Lapsed or withdrawn in the period.
    pub is_undecided: bool,
    /// None: nobody held access by it in the period.
    pub held: Option<Span>,
    /// In seconds, from filing to the decision, if people decided it in the period.
    pub wait: Option<i64>,
}

impl<'r> Facts<'r> {
    pub fn of(reported: &'r ReportedRequest, since: Timestamp, until: Timestamp) -> Facts<'r> {
        let ReportedRequest { request, entries } = reported;
        let within = |at: Timestamp| since <= at && at <= until;
        let find = |actions: &[&str]| entries.iter().find(|entry| actions.contains(&entry.action.as_str()));
        let granted = find(&["grant.started", "grant.scheduled"]);
        let decided = granted.or_else(|| find(&["request.denied"])).filter(|entry| within(entry.at));
        let closed = find(&["request.lapsed", "request.withdrawn"]).map_or(request.lapses_at, |entry| entry.at);
        let by_people = !request.emergency && request.grant.as_ref().is_none_or(|grant| grant.by_rule.is_none());
        Facts {
            is_filed: within(request.submitted_at),
            granted,
            decided,
            is_undecided: matches!(request.state, State::Lapsed | State::Withdrawn) && within(closed),
            held: request.grant.as_ref().and_then(|grant| held(request, grant, since, until)),
            wait: decided.filter(|_| by_people).map(|entry| entry.at.since(request.submitted_at).max(0)),
            request,
            entries,
        }
    }

    pub fn is_live(&self) -> bool {
        self.request.state == State::Active
    }

    pub fn is_permanent(&self) -> bool {
        self.request.grant.as_ref().is_some_and(|grant| grant.ends_at.is_none())
    }

    /// Denied in the period.
    pub fn is_denied(&self) -> bool {
        self.request.state == State::Denied && self.decided.is_some()
    }

    /// Granted in the period by a rule.
    pub fn is_by_rule(&self) -> bool {
        let by_rule = self.request.grant.as_ref().is_some_and(|grant| grant.by_rule.is_some());
        by_rule && self.decided.is_some() && !self.request.emergency
    }

    /// An emergency taken in the period.
    pub fn is_emergency(&self) -> bool {
        self.request.emergency && self.decided.is_some()
    }

    pub fn owes_review(&self) -> bool {
        matches!(self.request.review, Some(ReviewView::Owed(Owed::Owed)))
    }

    /// Those whose approvals it was granted by.
    pub fn approvers(&self) -> impl Iterator<Item = &'r Name> {
        let decisions = self.request.decisions.iter();
        decisions
            .filter(|decision| decision.verdict == Verdict::Approve && decision.counts)
            .map(|decision| &decision.by)
    }

    /// How long it gave access within the period, in seconds.
    pub fn held_seconds(&self) -> i64 {
        self.held.map_or(0, |span| span.to - span.from)
    }
}

fn held(request: &RequestView, grant: &GrantView, since: Timestamp, until: Timestamp) -> Option<Span> {
    let begun = grant.starts_at <= until && request.state != State::Scheduled;
    // A grant that was revoked before it began gave nothing.
    let reaches = grant.ended_at.is_none_or(|end| end >= since && end >= grant.starts_at);
    let how = match (request.emergency, grant.ends_at) {
        (true, _) => HeldHow::Emergency,
        (false, None) => HeldHow::Permanent,
        (false, Some(_)) => HeldHow::Limited,
    };
    let (from, to) = (grant.starts_at.max(since), grant.ended_at.unwrap_or(until).min(until));
    (begun && reaches).then(|| Span { from: from.unix(), to: to.unix().max(from.unix()), how })
}

/// What was asked, or what was given, in a word or two: `4h`, `permanent`, `until 2026-12-01T17:00:00Z`.
pub fn length(duration: Option<&String>, until: Option<Timestamp>) -> String {
    match (duration, until) {
        (Some(duration), _) => duration.clone(),
        (None, Some(until)) => format!("until {until}"),
        (None, None) => String::new(),
    }
}

/// How long access was asked for.
pub fn asked(request: &RequestView) -> String {
    length(request.duration.as_ref(), request.until)
}

/// How long access was granted for.
pub fn given(grant: &GrantView) -> String {
    length(grant.duration.as_ref(), grant.ends_at)
}
