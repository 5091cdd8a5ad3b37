//! The data of calls and of their answers, between a front end and the service: in one process, and over a shared
//! host's socket. No logic except conversions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::channel::{Channel, by_channel};
use crate::domain::duration::{Duration, Length};
use crate::domain::entitlement::Entitlement;
use crate::domain::event::{Entry, Event};
use crate::domain::grant::{EndedHow, Grant, State};
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::policy::pattern::TicketPattern;
use crate::domain::preference::Preference;
use crate::domain::request::emergency::Together;
use crate::domain::request::vote::{Tally, waits_on};
use crate::domain::request::{Decision, Request, Review, Verdict};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::subscriber::{Subscriber, Topic};
use crate::domain::team::change::Change;
use crate::domain::terms;
use crate::domain::terms::{RequestId, Terms};
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;

/// The state that a user was shown before they confirmed a change. The change is refused if that state is no longer
/// current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(pub String);

impl Seen {
    /// Several requests, by the number of the last entry about each, in the order of their own numbers.
    pub fn of(last_entries: impl IntoIterator<Item = i64>) -> Seen {
        Seen(last_entries.into_iter().map(|seq| seq.to_string()).collect::<Vec<_>>().join(","))
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ListFilter {
    pub mine: bool,
    pub all: bool,
    /// Any of these; empty: the open ones unless `all`.
    pub states: Vec<State>,
    pub requester: Option<Name>,
    pub resource: Option<Resource>,
    /// Submitted then or later.
    pub since: Option<Timestamp>,
    /// The most to list. None: all.
    pub limit: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AuditFilter {
    pub request: Option<RequestId>,
    pub actor: Option<Name>,
    pub action: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: Option<u64>,
}

/// Counts of what a list leaves out stop after this many: in a long history, counting takes longer than the list.
pub const COUNTED: u64 = 1000;

/// A request as JSON shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestView {
    pub id: RequestId,
    pub state: State,
    pub requester: Name,
    pub filed_by: Name,
    pub resource: Resource,
    pub reason: Text,
    pub duration: Option<String>,
    pub until: Option<Timestamp>,
    pub start: Option<Timestamp>,
    pub ticket: Option<Ticket>,
    pub extends: Option<RequestId>,
    pub emergency: bool,
    pub review: Option<ReviewView>,
    /// Who can review an emergency, while it owes its review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewers: Option<Vec<Name>>,
    /// The emergencies of the same member for the same resource in the 24 hours up to this one (`show`, and when it is taken).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergencies_in_24h: Option<Together>,
    pub submitted_at: Timestamp,
    pub lapses_at: Timestamp,
    /// When those who may still decide are reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_at: Option<Timestamp>,
    /// The terms that an approval would grant now, if they differ from those asked (pending requests only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_the_table: Option<TermsView>,
    pub decisions: Vec<DecisionView>,
    pub approvals: ApprovalsView,
    pub grant: Option<GrantView>,
    /// The requests that extend its grant (`show` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_by: Vec<RequestId>,
    /// The extensions that ended together with it (`revoke` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_ended: Vec<RequestView>,
    /// The rules that match it (`show` of a pending one, and a dry run).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<MatchedView>,
    /// Its entries in the audit log, oldest first (`show` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelineView>,
    /// Whether the caller may decide on it (`show` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_decide: Option<bool>,
    /// The narrowest declared scope that covers what is asked (`show` of a pending one only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowest_scope: Option<Name>,
    /// The number of the last entry about it (`show` only): identifies the state that a user confirms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<i64>,
}

/// `"owed"`, or the reviewer and what they found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReviewView {
    Owed(Owed),
    Done(Review),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owed {
    Owed,
}

/// A rule that matches a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MatchedView {
    pub rule: String,
    /// Why it matches.
    pub because: String,
    /// What it says, each in a few words.
    pub says: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecisionView {
    pub by: Name,
    pub verdict: Verdict,
    pub note: Option<Text>,
    pub at: Timestamp,
    pub counts: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermsView>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TermsView {
    pub resource: Resource,
    pub duration: Option<String>,
    pub until: Option<Timestamp>,
    pub start: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalsView {
    pub have: u32,
    pub need: u32,
    pub waiting_on: Vec<Name>,
    pub requirements: Vec<RequirementView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementView {
    pub rule: Option<String>,
    pub have: u32,
    pub need: u32,
    pub waiting_on: Vec<Name>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantView {
    pub resource: Resource,
    pub scope: Option<Name>,
    pub duration: Option<String>,
    pub modified: bool,
    /// The rule that granted it, if no member did.
    pub by_rule: Option<RuleName>,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub remaining_seconds: Option<i64>,
    pub ended_at: Option<Timestamp>,
    pub ended_by: Option<Name>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimelineView {
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub action: String,
    pub text: String,
}

/// What applying a team file does or would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanView {
    pub changes: Vec<Change>,
    pub follows: Vec<FollowView>,
    pub applied: bool,
    /// Requests that the new rules would have decided otherwise (`--against`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Past requests, judged by the new rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainstView {
    pub since: Timestamp,
    /// How many requests were submitted since.
    pub requests: usize,
    /// The first of them.
    pub otherwise: Vec<OtherwiseView>,
    /// How many more would have been decided otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherwiseView {
    pub request: RequestId,
    pub requester: Name,
    pub resource: Resource,
    pub was: State,
    /// How it would have been decided, in a sentence.
    pub would: String,
}

/// Something that follows from a change of the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowView {
    pub follows: Follows,
    pub request: RequestId,
    pub member: Name,
    pub resource: Resource,
    /// Why. For a widened grant and for void approvals: what is newly covered.
    pub because: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follows {
    Withdrawn,
    Revoked,
    Widened,
    /// Approvals of a pending request no longer count.
    Voided,
    /// An active grant that the new team would not give. It stays.
    Unmatched,
}

impl PlanView {
    /// Whether applying it changes or ends anything.
    pub fn does_anything(&self) -> bool {
        let happens = |follow: &FollowView| match follow.follows {
            Follows::Withdrawn | Follows::Revoked | Follows::Voided => true,
            Follows::Widened | Follows::Unmatched => false,
        };
        !self.changes.is_empty() || self.follows.iter().any(happens)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourceView {
    pub resource: Resource,
    pub held: bool,
    pub via: Vec<String>,
    pub until: Option<Timestamp>,
    pub pending: Option<RequestId>,
    /// A connection's environment, a target's connections, a feature's least role, what a scope covers.
    pub about: String,
}

/// The requirements of requesting a resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NeedsView {
    pub resource: Resource,
    /// What the resource is, as in `ResourceView`.
    pub about: String,
    /// How long it can be asked for, the shortest first. Never empty: if nothing can be asked for, that is refused.
    pub lengths: Vec<NeedView>,
    /// The longest time that can be asked for, where more than one was tried.
    pub longest: Option<terms::End>,
}

/// The requirements of requesting a resource for a certain length.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NeedView {
    pub end: terms::End,
    /// Whether it is granted at once.
    pub at_once: bool,
    pub approvals: ApprovalsView,
    /// The ticket has to match each of these.
    pub tickets: Vec<TicketPattern>,
    /// The least number of characters of the reason.
    pub reason_min: Option<u32>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileView {
    pub member: Name,
    pub role: Role,
    pub effective_role: Role,
    pub groups: Vec<Name>,
    pub scopes: Vec<Name>,
    pub grants: Vec<RequestView>,
    /// Counted up to `COUNTED`.
    pub unread: u64,
    /// Whether more are unread than were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_unread: bool,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckView {
    pub allowed: bool,
    pub member: Name,
    pub resource: Resource,
    pub because: Vec<Entitlement>,
    /// The pending request that would allow it, if there is one.
    pub pending: Option<RequestId>,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HolderView {
    pub member: Name,
    #[serde(flatten)]
    pub entitlement: Entitlement,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotificationView {
    pub id: i64,
    pub event: NotificationKind,
    pub request: Option<RequestId>,
    pub text: String,
    pub at: Timestamp,
    pub read_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireView {
    pub expired: u64,
    pub started: u64,
    pub expiring: u64,
    pub lapsed: u64,
    pub reminded: u64,
    /// Requests of an older version that are judged by the rules of this one from now on.
    pub rejudged: u64,
    pub delivered: u64,
    pub failed: u64,
}

/// The result of one run of `deliver`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverView {
    pub delivered: u64,
    /// Attempts that failed, including those given up.
    pub failed: u64,
    /// Given up in this run.
    pub dead: u64,
    /// Another process was already sending.
    pub busy: bool,
}

/// What waits to be sent, or was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueuedView {
    pub id: i64,
    pub channel: Subscriber,
    /// A member, a Slack channel or a webhook.
    pub to: String,
    pub event: Topic,
    pub request: Option<RequestId>,
    pub at: Timestamp,
    pub attempts: u32,
    pub due_at: Option<Timestamp>,
    pub dead: bool,
    pub error: Option<String>,
}

/// How a member is notified of each event, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreferenceView {
    pub member: Name,
    /// None: the team file has no address for them there.
    #[serde(flatten, deserialize_with = "by_channel")]
    pub addresses: BTreeMap<Channel, Option<String>>,
    pub timezone: String,
    pub muted: bool,
    pub events: Vec<EventPreferenceView>,
    /// The member's own settings.
    pub own: Preference,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPreferenceView {
    pub event: NotificationKind,
    pub in_app: bool,
    #[serde(flatten, deserialize_with = "by_channel")]
    pub channels: BTreeMap<Channel, HowView>,
    pub mandatory: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HowView {
    /// `off`, `realtime`, `hourly`, `daily 09:00`.
    pub how: String,
    pub why: String,
}

/// The result of a test on one channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestView {
    pub channel: String,
    pub to: Option<String>,
    /// None: the channel was not tested.
    pub ok: Option<bool>,
    /// The server's answer, or why it could not be reached.
    pub answer: String,
}

/// An entry of the audit log as JSON shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntryView {
    /// The version of the format that the entry is stored in.
    pub v: u32,
    pub seq: i64,
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub os_user: String,
    #[serde(flatten)]
    pub event: Event,
    pub request: Option<RequestId>,
    #[serde(rename = "told")]
    pub recipients: Vec<RecipientView>,
    /// The number of the first notification of these recipients; the others follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_from: Option<i64>,
    /// SHA-256, in hex.
    pub hash: String,
}

/// An entry of the audit log as it is stored: see docs/log-format.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawView {
    pub seq: i64,
    /// The text that was hashed, byte for byte.
    pub body: String,
    /// SHA-256, in hex.
    pub hash: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecipientView {
    pub member: Name,
    pub event: NotificationKind,
}

/// What `audit verify` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyView {
    pub ok: bool,
    pub entries: i64,
    /// The hash of the last entry, in hex.
    pub head: String,
    pub faults: Vec<FaultView>,
    /// How many checkpoints it was compared with.
    pub checkpoints: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The entry that is wrong. None: a row of a table is, and `problem` names it.
    pub seq: Option<i64>,
    pub problem: String,
}

/// The state of the log at one time, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub team: Name,
    pub seq: i64,
    /// The hash of that entry, in hex.
    pub head: String,
    /// When it was taken.
    pub at: Timestamp,
}

/// One check of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    pub what: String,
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub mend: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Ok,
    Warning,
    Wrong,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupView {
    pub file: PathBuf,
    pub bytes: u64,
    pub checkpoint: Checkpoint,
}

fn spelled(duration: Option<Duration>) -> Option<String> {
    duration.map(|duration| duration.to_string())
}

impl From<Terms> for TermsView {
    fn from(terms: Terms) -> TermsView {
        TermsView {
            resource: terms.resource,
            duration: spelled(terms.end.duration()),
            until: terms.end.until(),
            start: terms.start,
        }
    }
}

impl GrantView {
    fn at(grant: Grant, now: Timestamp) -> GrantView {
        let scope = match &grant.terms.resource {
            Resource::Scope(name) => Some(name.clone()),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => None,
        };
        let ended_at = grant.ended_at(now);
        let ended_by = match grant.ended.as_ref().map(|ended| &ended.how) {
            Some(EndedHow::Revoked { by }) => by.clone(),
            Some(EndedHow::Expired) | None => None,
        };
        // Of a scheduled one: of all that it will be.
        let from = grant.starts_at.max(now);
        let remaining = grant.ends_at.map(|end| if ended_at.is_some() { 0 } else { end.since(from).max(0) });
        GrantView {
            scope,
            duration: spelled(grant.terms.end.duration()),
            resource: grant.terms.resource,
            modified: grant.modified,
            by_rule: grant.by_rule,
            starts_at: grant.starts_at,
            ends_at: grant.ends_at,
            remaining_seconds: remaining,
            ended_at,
            ended_by,
        }
    }
}

impl NeedsView {
    /// The requirements of the most common length: an hour, or the nearest that can be requested.
    pub fn usual(&self) -> Option<&NeedView> {
        let hour = terms::End::After(Length::HOUR);
        self.lengths.iter().find(|need| need.end == hour).or_else(|| self.lengths.first())
    }
}

impl NeedView {
    pub fn takes_the_same_as(&self, other: &NeedView) -> bool {
        let approvals = |need: &NeedView| need.approvals.requirements.clone();
        self.at_once == other.at_once
            && approvals(self) == approvals(other)
            && self.tickets == other.tickets
            && self.reason_min == other.reason_min
    }
}

impl RequestView {
    /// `tallies`: the approvals each demand has, while it is pending.
    pub fn at(request: Request, tallies: &[Tally], now: Timestamp) -> RequestView {
        let state = request.state(now);
        let review = match (&request.review, request.owes_review()) {
            (Some(review), _) => Some(ReviewView::Done(review.clone())),
            (None, true) => Some(ReviewView::Owed(Owed::Owed)),
            (None, false) => None,
        };
        let approvals = ApprovalsView::of(&request, tallies);
        let (lapses_at, remind_at) =
            (request.lapse_time(), request.reminder_time().filter(|_| state == State::Pending));
        let table = Some(request.proposed_terms()).filter(|terms| state == State::Pending && **terms != request.asked);
        let on_the_table = table.cloned().map(TermsView::from);
        let counting: Vec<&Name> = tallies.iter().flat_map(|tally| &tally.have).collect();
        let decision = |decision: Decision| DecisionView {
            counts: decision.counts
                && (state != State::Pending || decision.verdict == Verdict::Deny || counting.contains(&&decision.by)),
            by: decision.by,
            verdict: decision.verdict,
            note: decision.note,
            at: decision.at,
            terms: decision.terms.map(TermsView::from),
        };
        RequestView {
            id: request.id,
            state,
            requester: request.requester,
            filed_by: request.filed_by,
            resource: request.asked.resource,
            reason: request.reason,
            duration: spelled(request.asked.end.duration()),
            until: request.asked.end.until(),
            start: request.asked.start,
            ticket: request.ticket,
            extends: request.extends,
            emergency: request.emergency,
            review,
            reviewers: None,
            emergencies_in_24h: None,
            submitted_at: request.submitted_at,
            lapses_at,
            remind_at,
            on_the_table,
            decisions: request.decisions.into_iter().map(decision).collect(),
            approvals,
            grant: request.grant.map(|grant| GrantView::at(grant, now)),
            extended_by: Vec::new(),
            also_ended: Vec::new(),
            rules: Vec::new(),
            timeline: Vec::new(),
            may_decide: None,
            narrowest_scope: None,
            last_seq: None,
        }
    }

    pub fn seen(&self) -> Option<Seen> {
        self.last_seq.map(|seq| Seen(seq.to_string()))
    }
}

impl ApprovalsView {
    fn of(request: &Request, tallies: &[Tally]) -> ApprovalsView {
        let count = |names: &[Name]| u32::try_from(names.len()).unwrap_or(u32::MAX);
        let requirement = |tally: &Tally| RequirementView {
            rule: tally.rule.as_ref().map(ToString::to_string),
            have: count(&tally.have),
            need: tally.need,
            waiting_on: tally.waiting_on.clone(),
        };
        let requirements: Vec<RequirementView> = if tallies.is_empty() {
            // For a decided request: the approvals it had, not those that today's rules demand.
            let approvals = request.decisions.iter().filter(|it| it.verdict == Verdict::Approve && it.counts);
            let have = u32::try_from(approvals.count()).unwrap_or(u32::MAX);
            let need = if request.grant.is_some() { have } else { have.max(1) };
            vec![RequirementView { rule: None, have, need, waiting_on: Vec::new() }]
        } else {
            tallies.iter().map(requirement).collect()
        };
        ApprovalsView {
            have: requirements.iter().map(|it| it.have.min(it.need)).sum(),
            need: requirements.iter().map(|it| it.need).sum(),
            waiting_on: waits_on(tallies),
            requirements,
        }
    }
}

impl EntryView {
    /// `hash`: in hex.
    pub fn of(entry: Entry, hash: String) -> EntryView {
        EntryView {
            v: entry.v,
            request: entry.event.request(),
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            os_user: entry.os_user.to_string(),
            event: entry.event,
            recipients: entry
                .recipients
                .into_iter()
                .map(|Recipient(member, event)| RecipientView { member, event })
                .collect(),
            told_from: entry.first_notification,
            hash,
        }
    }
}

/// The progress of a long operation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub waiting: u64,
}
