//! A request, the decisions on it, and the grant that an approved one gives.

pub mod clock;
pub mod decide;
pub mod emergency;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::duration::{Duration, Length};
use super::entitlement::Principal;
use super::name::Name;
use super::resource::Resource;
use super::team::Login;
use super::text::{Text, Ticket};
use super::time::Timestamp;
use crate::domain::policy::rule::RuleName;

/// 1, 2, 3 …: the number of a request and of its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct RequestId(i64);

impl RequestId {
    pub const FIRST: RequestId = RequestId(1);

    pub fn get(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn next(self) -> RequestId {
        RequestId(self.0 + 1)
    }
}

impl TryFrom<i64> for RequestId {
    type Error = Malformed;
    fn try_from(id: i64) -> Result<RequestId, Malformed> {
        if (1..i64::MAX).contains(&id) {
            Ok(RequestId(id))
        } else {
            Err(Malformed::new("a request's number is 1 or more"))
        }
    }
}

impl From<RequestId> for i64 {
    fn from(id: RequestId) -> i64 {
        id.0
    }
}

impl FromStr for RequestId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RequestId, Malformed> {
        let number = || Malformed::new("a request is named by its number, as `access list` shows it");
        text.strip_prefix('#').unwrap_or(text).parse::<i64>().map_err(|_| number())?.try_into()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// When access ends: never, so long after it starts, or at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Never,
    After(Length),
    At(Timestamp),
}

impl End {
    /// The instant at which access that starts at `start` ends. None: never.
    pub fn instant(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            End::Never => None,
            End::After(length) => Some(start.plus(length)),
            End::At(instant) => Some(instant),
        }
    }

    /// `permanent` or a length; None when an instant was asked.
    pub fn duration(self) -> Option<Duration> {
        match self {
            End::Never => Some(Duration::Permanent),
            End::After(length) => Some(Duration::For(length)),
            End::At(_) => None,
        }
    }

    pub fn is_permanent(self) -> bool {
        matches!(self, End::Never)
    }

    pub fn until(self) -> Option<Timestamp> {
        match self {
            End::At(instant) => Some(instant),
            End::Never | End::After(_) => None,
        }
    }
}

impl From<Duration> for End {
    fn from(duration: Duration) -> End {
        match duration {
            Duration::Permanent => End::Never,
            Duration::For(length) => End::After(length),
        }
    }
}

/// What would be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub resource: Resource,
    pub end: End,
    /// Not before then. None: as soon as it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
}

/// What a request says that an edit can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub asked: Terms,
    pub reason: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// What an edit changes; what is None stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub reason: Option<Text>,
    pub ticket: Option<Edited<Ticket>>,
    pub end: Option<End>,
    pub start: Option<Edited<Timestamp>>,
}

/// A new value of something that a request can do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edited<T> {
    To(T),
    Removed,
}

impl<T: Clone> Edited<T> {
    /// The value after an edit, where it was `before`.
    pub fn apply(edited: Option<&Edited<T>>, before: Option<&T>) -> Option<T> {
        match edited {
            Some(Edited::To(value)) => Some(value.clone()),
            Some(Edited::Removed) => None,
            None => before.cloned(),
        }
    }
}

/// What an approver changes in the terms; what is None stays as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modification {
    pub resource: Option<Resource>,
    pub end: Option<End>,
}

impl Terms {
    #[must_use]
    pub fn modified(&self, by: &Modification) -> Terms {
        Terms {
            resource: by.resource.clone().unwrap_or_else(|| self.resource.clone()),
            end: by.end.unwrap_or(self.end),
            start: self.start,
        }
    }

    /// When access starts if it is approved now: a length counts from then, never from the asking.
    pub fn starts_at(&self, now: Timestamp) -> Timestamp {
        self.start.map_or(now, |start| start.max(now))
    }

    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.end.instant(self.starts_at(now))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Approve,
    Deny,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Approve => "approve",
            Verdict::Deny => "deny",
        }
    }
}

/// One approver's approve or deny. `terms`: those it approves, when they were not the ones asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The entry that records it.
    pub seq: i64,
    pub by: Name,
    pub at: Timestamp,
    pub verdict: Verdict,
    pub note: Option<Text>,
    pub terms: Option<Terms>,
    /// Whether it counts as far as the record says: not once a later approval or an edit voided it.
    pub counts: bool,
}

/// How a request stands on the record, whatever the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Pending,
    Approved,
    Denied,
    Withdrawn,
    Lapsed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: RequestId,
    /// The entry that files it.
    pub seq: i64,
    pub requester: Name,
    /// The requester's Unix user when it was filed. None only where the log is damaged.
    pub requester_login: Option<Login>,
    /// Who filed it: the requester, or an admin on their behalf.
    pub filed_by: Name,
    pub filer_login: Option<Login>,
    pub asked: Terms,
    pub reason: Text,
    pub ticket: Option<Ticket>,
    pub submitted_at: Timestamp,
    /// As recorded. Entries of older versions may lie after the end that was asked for: see `lapses`.
    pub lapses_at: Timestamp,
    /// When those who may decide are told again. None: never, or they were.
    pub remind_at: Option<Timestamp>,
    /// The request whose grant it goes on from.
    pub extends: Option<RequestId>,
    /// Granted at once, and to be reviewed afterwards.
    pub emergency: bool,
    pub review: Option<Review>,
    pub recorded: Recorded,
    pub decisions: Vec<Decision>,
    pub grant: Option<Grant>,
}

/// What an approver found, who looked at an emergency afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub by: Name,
    pub note: Text,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub request: RequestId,
    pub member: Name,
    pub terms: Terms,
    /// Whether the terms granted differ from those asked.
    pub modified: bool,
    pub starts_at: Timestamp,
    /// None: permanent.
    pub ends_at: Option<Timestamp>,
    /// The rule that granted it, where no person did.
    pub by_rule: Option<RuleName>,
    /// Who may review it, if it is an emergency. None: not recorded then (log format 1).
    pub reviewers: Option<Vec<Name>>,
    /// Whether its beginning is on the record; the clock is what begins it.
    pub begun: bool,
    /// Whether its member was told that it ends soon.
    pub warned: bool,
    /// Set once its end is on the record.
    pub ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When access ended, which may be before that was recorded.
    pub at: Timestamp,
    pub how: EndedHow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedHow {
    Expired,
    /// By whom; None: by root, who need not be a member.
    Revoked {
        by: Option<Name>,
    },
}

/// Where a request, or its grant once it has one, stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Scheduled,
    Active,
    Denied,
    Withdrawn,
    Lapsed,
    Expired,
    Revoked,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Pending,
        State::Scheduled,
        State::Active,
        State::Denied,
        State::Withdrawn,
        State::Lapsed,
        State::Expired,
        State::Revoked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Scheduled => "scheduled",
            State::Active => "active",
            State::Denied => "denied",
            State::Withdrawn => "withdrawn",
            State::Lapsed => "lapsed",
            State::Expired => "expired",
            State::Revoked => "revoked",
        }
    }

    /// Whether something may still happen: pending, scheduled or active.
    pub fn is_open(self) -> bool {
        match self {
            State::Pending | State::Scheduled | State::Active => true,
            State::Denied | State::Withdrawn | State::Lapsed | State::Expired | State::Revoked => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<State, Malformed> {
        let names = State::ALL.map(State::as_str).join(", ");
        State::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Malformed::new(format!("a state is one of {names}")))
    }
}

impl Grant {
    /// Expiry is a function of the time: a grant past its end is over, whether or not anything has recorded it.
    pub fn state(&self, now: Timestamp) -> State {
        match &self.ended {
            Some(Ended { how: EndedHow::Expired, .. }) => State::Expired,
            Some(Ended { how: EndedHow::Revoked { .. }, .. }) => State::Revoked,
            None if self.ends_at.is_some_and(|end| end <= now) => State::Expired,
            None if self.starts_at > now => State::Scheduled,
            None => State::Active,
        }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state(now) == State::Active
    }

    /// When access ended, by the clock or by a revoke; None while it has not.
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.ended {
            Some(ended) => Some(ended.at),
            None => self.ends_at.filter(|&end| end <= now),
        }
    }
}

impl Request {
    pub fn state(&self, now: Timestamp) -> State {
        match self.recorded {
            Recorded::Denied => State::Denied,
            Recorded::Withdrawn => State::Withdrawn,
            Recorded::Lapsed => State::Lapsed,
            Recorded::Pending if self.lapses() <= now => State::Lapsed,
            Recorded::Pending => State::Pending,
            // An approved request always has its grant; without one nothing is held.
            Recorded::Approved => self.grant.as_ref().map_or(State::Revoked, |grant| grant.state(now)),
        }
    }

    /// From when on it can no longer be decided: when it lapses, or when the end that was asked for comes, whichever is
    /// earlier. Terms that an approver put on the table do not change this.
    pub fn lapses(&self) -> Timestamp {
        self.asked.end.until().map_or(self.lapses_at, |end| end.min(self.lapses_at))
    }

    /// When those who may decide are told again. None: never, they were told, or it lapses first.
    pub fn reminds(&self) -> Option<Timestamp> {
        self.remind_at.filter(|&at| at < self.lapses())
    }

    /// The terms that an approval now would be of: those of the last approval that counts, or those asked.
    pub fn on_the_table(&self) -> &Terms {
        let last = self.approvals().last();
        last.and_then(|decision| decision.terms.as_ref()).unwrap_or(&self.asked)
    }

    /// The approvals that count, as far as the record says.
    pub fn approvals(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve && decision.counts)
    }

    /// Approvals of these people no longer count.
    pub fn void_approvals(&mut self, of: &[Name]) {
        let of = |decision: &&mut Decision| decision.verdict == Verdict::Approve && of.contains(&decision.by);
        self.decisions.iter_mut().filter(of).for_each(|decision| decision.counts = false);
    }

    /// What an edit can change.
    pub fn said(&self) -> Said {
        Said { asked: self.asked.clone(), reason: self.reason.clone(), ticket: self.ticket.clone() }
    }

    /// Takes in an edit: all approvals are void, and the terms on the table are those asked now. An approval that was of
    /// the terms asked before says so from now on.
    pub fn take_edit(&mut self, to: Said, lapses_at: Timestamp, remind_at: Option<Timestamp>) {
        for decision in self.decisions.iter_mut().filter(|decision| decision.verdict == Verdict::Approve) {
            decision.counts = false;
            if decision.terms.is_none() && self.asked != to.asked {
                decision.terms = Some(self.asked.clone());
            }
        }
        (self.asked, self.reason, self.ticket) = (to.asked, to.reason, to.ticket);
        (self.lapses_at, self.remind_at) = (lapses_at, remind_at);
    }

    /// The terms that one of its decisions is about.
    pub fn decided_terms<'d>(&'d self, decision: &'d Decision) -> &'d Terms {
        decision.terms.as_ref().unwrap_or(&self.asked)
    }

    /// Whether either what was asked or what is on the table is a role.
    pub fn is_about_a_role(&self, terms: &Terms) -> bool {
        [&self.asked, terms].into_iter().any(|terms| matches!(terms.resource, Resource::Role(_)))
    }

    pub fn owes_review(&self) -> bool {
        self.emergency && self.review.is_none()
    }

    /// Whether this person asked for it.
    pub fn is_requested_by(&self, person: &Principal) -> bool {
        person.was(&self.requester, self.requester_login.as_ref(), self.seq)
    }

    /// Whether this person asked for it or filed it.
    pub fn belongs_to(&self, person: &Principal) -> bool {
        self.is_requested_by(person) || person.was(&self.filed_by, self.filer_login.as_ref(), self.seq)
    }

    /// Whether this member does not count as another person than the requester.
    pub fn may_be_requested_by(&self, name: &Name, login: &Login) -> bool {
        may_be(&self.requester, self.requester_login.as_ref(), name, login)
    }

    /// Whether this member does not count as another person than the one who filed it.
    pub fn may_be_filed_by(&self, name: &Name, login: &Login) -> bool {
        may_be(&self.filed_by, self.filer_login.as_ref(), name, login)
    }
}

/// Whether two members may be one person. It is the strict comparison, for wherever another person is demanded: the same
/// name or the same Unix user is enough, and so is a user of then that is not known.
fn may_be(then: &Name, login_then: Option<&Login>, now: &Name, login_now: &Login) -> bool {
    then == now || login_then.is_none_or(|login| login == login_now)
}
