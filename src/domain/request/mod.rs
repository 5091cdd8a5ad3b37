//! A request, the decisions on it, and the grant that an approved one gives.

pub mod approval_terms;
pub mod authorize;
pub mod clock;
pub mod edit;
pub mod emergency;
pub mod lifecycle;
pub mod recertify;
pub mod submit;
pub mod team_change;
pub mod vote;

use serde::{Deserialize, Serialize};

use crate::domain::grant::{Grant, State};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::policy::demand::RoleBasis;
use crate::domain::principal::Principal;
use crate::domain::resource::Resource;
use crate::domain::ssh_key::KeyFingerprint;
use crate::domain::terms::{RequestDetails, RequestId, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

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
    /// The SSH key that signed it.
    pub signed_with: Option<KeyFingerprint>,
}

/// The recorded state of a request, without regard to the clock.
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
    pub details: RequestDetails,
    pub submitted_at: Timestamp,
    /// As recorded. Entries of older versions may lie after the end that was asked for: see `lapses`.
    pub lapses_at: Timestamp,
    /// When those who may decide are reminded. None: never, or they were.
    pub remind_at: Option<Timestamp>,
    /// The request whose grant it extends.
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

impl Request {
    pub fn state(&self, now: Timestamp) -> State {
        match self.recorded {
            Recorded::Denied => State::Denied,
            Recorded::Withdrawn => State::Withdrawn,
            Recorded::Lapsed => State::Lapsed,
            Recorded::Pending if self.lapse_time() <= now => State::Lapsed,
            Recorded::Pending => State::Pending,
            // An approved request always has its grant; without one nothing is held.
            Recorded::Approved => self.grant.as_ref().map_or(State::Revoked, |grant| grant.state(now)),
        }
    }

    /// From when on it can no longer be decided: when it lapses, or when the end that was asked for comes, whichever is
    /// earlier. Terms that an approver proposes do not change this.
    pub fn lapse_time(&self) -> Timestamp {
        self.details.asked.end.until().map_or(self.lapses_at, |end| end.min(self.lapses_at))
    }

    /// When those who may decide are reminded. None: never, they were, or it lapses first.
    pub fn reminder_time(&self) -> Option<Timestamp> {
        self.remind_at.filter(|&at| at < self.lapse_time())
    }

    /// The terms that an approval now would be of: those of the last approval that counts, or those asked.
    pub fn proposed_terms(&self) -> &Terms {
        let last = self.approvals().last();
        last.and_then(|decision| decision.terms.as_ref()).unwrap_or(&self.details.asked)
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

    /// Applies an edit: all approvals are void, and the proposed terms are those asked now. An approval that was of
    /// the terms asked before says so from now on.
    pub fn apply_edit(&mut self, to: RequestDetails, lapses_at: Timestamp, remind_at: Option<Timestamp>) {
        for decision in self.decisions.iter_mut().filter(|decision| decision.verdict == Verdict::Approve) {
            decision.counts = false;
            if decision.terms.is_none() && self.details.asked != to.asked {
                decision.terms = Some(self.details.asked.clone());
            }
        }
        (self.details, self.lapses_at, self.remind_at) = (to, lapses_at, remind_at);
    }

    /// The terms that one of its decisions is about.
    pub fn decided_terms<'d>(&'d self, decision: &'d Decision) -> &'d Terms {
        decision.terms.as_ref().unwrap_or(&self.details.asked)
    }

    /// Whether what was asked or these terms are for a role.
    pub fn is_about_a_role(&self, terms: &Terms) -> bool {
        [&self.details.asked, terms].into_iter().any(|terms| matches!(terms.resource, Resource::Role(_)))
    }

    /// How roles count for this request, if these were its terms.
    pub fn role_basis(&self, terms: &Terms) -> RoleBasis {
        if self.is_about_a_role(terms) {
            RoleBasis::BaseAdmin
        } else if terms.end.is_permanent() {
            RoleBasis::Base
        } else {
            RoleBasis::Effective
        }
    }

    pub fn owes_review(&self) -> bool {
        self.emergency && self.review.is_none()
    }

    /// Whether this person asked for it.
    pub fn is_requested_by(&self, principal: &Principal) -> bool {
        principal.was(&self.requester, self.requester_login.as_ref(), self.seq)
    }

    /// Whether this person asked for it or filed it.
    pub fn belongs_to(&self, principal: &Principal) -> bool {
        self.is_requested_by(principal) || principal.was(&self.filed_by, self.filer_login.as_ref(), self.seq)
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
