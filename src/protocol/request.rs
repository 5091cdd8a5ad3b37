//! Requests and grants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CertificateView, ProvisioningView, Seen, SessionView};
use crate::domain::duration::Duration;
use crate::domain::grant::{EndedHow, Grant, State};
use crate::domain::name::{Name, RuleName};
use crate::domain::request::approval_terms::ApprovalTerms;
use crate::domain::request::emergency::Together;
use crate::domain::request::vote::{Tally, waits_on};
use crate::domain::request::{Decision, Request, Review, Verdict};
use crate::domain::resource::Resource;
use crate::domain::ssh_key::{KeyFingerprint, SshKey};
use crate::domain::terms::{RequestDetails, RequestId, Terms};
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;

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
    /// The SSH certificates for it, in the order in which they were issued (`show` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateView>,
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
    /// The sessions that were opened under its grant, newest first (`show` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionView>,
    /// How many older sessions there are (`show` only).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_sessions: u64,
    /// Whether the caller may decide on it (`show` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_decide: Option<bool>,
    /// The narrowest declared scope that covers what is asked (`show` of a pending one only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowest_scope: Option<Name>,
    /// The moment of the past that was asked about (`list` and `whoami` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
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
    /// The SSH key that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_with: Option<KeyFingerprint>,
}

/// What comes of an approval.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApproveAnswer {
    Approved(Box<RequestView>),
    /// Nothing was done: it has to be signed.
    ToSign(Box<ToSignView>),
}

/// What an approver would sign.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToSignView {
    /// Whether a rule demands the signature.
    pub is_needed: bool,
    pub terms: ApprovalTerms,
    /// The keys that count.
    pub keys: BTreeSet<SshKey>,
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
    /// What connectors do about it. None: no binding gives anything for it.
    #[serde(default)]
    pub provisioning: Option<Vec<ProvisioningView>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimelineView {
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub action: String,
    pub text: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
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
            provisioning: None,
        }
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
        let table =
            Some(request.proposed_terms()).filter(|terms| state == State::Pending && **terms != request.details.asked);
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
            signed_with: decision.signed_with,
        };
        let RequestDetails { asked, reason, ticket } = request.details;
        RequestView {
            id: request.id,
            state,
            requester: request.requester,
            filed_by: request.filed_by,
            resource: asked.resource,
            reason,
            duration: spelled(asked.end.duration()),
            until: asked.end.until(),
            start: asked.start,
            ticket,
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
            certificates: Vec::new(),
            extended_by: Vec::new(),
            also_ended: Vec::new(),
            rules: Vec::new(),
            timeline: Vec::new(),
            sessions: Vec::new(),
            more_sessions: 0,
            may_decide: None,
            narrowest_scope: None,
            at: None,
            last_seq: None,
        }
    }

    #[must_use]
    pub fn with_provisioning(mut self, provisioning: Option<Vec<ProvisioningView>>) -> RequestView {
        if let Some(grant) = &mut self.grant {
            grant.provisioning = provisioning;
        }
        self
    }

    /// Those who approved other terms, or what an edit changed, if an approval has come since.
    pub fn void_approvals(&self) -> Vec<&Name> {
        let given = || self.decisions.iter().filter(|one| one.verdict == Verdict::Approve);
        if !given().max_by_key(|one| one.at).is_some_and(|last| last.counts) {
            return Vec::new();
        }
        let by = |counts: bool| given().filter(move |one| one.counts == counts).map(|one| &one.by).collect();
        let (void, valid): (BTreeSet<&Name>, BTreeSet<&Name>) = (by(false), by(true));
        void.difference(&valid).copied().collect()
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
