//! Who may do what with a request. Every other file of this folder asks here.

use std::collections::BTreeSet;

use super::Request;
use crate::domain::grant::State;
use crate::domain::member::Assignee;
use crate::domain::policy::demand::{Requirement, RoleBasis};
use crate::domain::policy::judge::Judgement;
use crate::domain::principal::Principal;
use crate::domain::refusal::{CallerRefusal, Refusal, VoteRefusal};
use crate::domain::role::Role;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

/// Whether this member may do anything at all.
pub fn may_act(principal: &Principal) -> Result<(), Refusal> {
    if principal.is_disabled() {
        Err(CallerRefusal::Disabled { member: principal.name.clone() }.into())
    } else {
        Ok(())
    }
}

/// Whether this person may do what admins do: they are an admin or the owner now, by base role or by a live grant, and no
/// auditor.
pub fn needs_admin(principal: &Principal, to: &'static str, now: Timestamp) -> Result<(), Refusal> {
    is_no_auditor(principal, to)?;
    if principal.effective_role(now) >= Role::Admin { Ok(()) } else { Err(CallerRefusal::NeedsAdmin { to }.into()) }
}

/// Whether this person may see everything: an auditor, an admin or the owner.
pub fn needs_auditor(principal: &Principal, to: &'static str, now: Timestamp) -> Result<(), Refusal> {
    may_act(principal)?;
    if sees_everything(principal, now) { Ok(()) } else { Err(CallerRefusal::NeedsAuditor { to }.into()) }
}

fn sees_everything(principal: &Principal, now: Timestamp) -> bool {
    principal.member.auditor || principal.effective_role(now) >= Role::Admin
}

/// An auditor decides nothing, whatever their role and whatever rules say.
pub(super) fn is_no_auditor(principal: &Principal, to: &'static str) -> Result<(), Refusal> {
    may_act(principal)?;
    match principal.member.auditor {
        true => Err(CallerRefusal::IsAuditor { member: principal.name.clone(), to }.into()),
        false => Ok(()),
    }
}

/// Whether this person is the owner, by the team file: no grant makes one.
pub fn needs_owner(principal: &Principal, to: &'static str) -> Result<(), Refusal> {
    may_act(principal)?;
    if principal.member.role == Role::Owner { Ok(()) } else { Err(CallerRefusal::NeedsOwner { to }.into()) }
}

/// Nobody decides on their own request. Members with the same name or the same Unix user count as one person, so neither a
/// new name nor somebody else's name gets around this. No role and no rule does either.
pub(super) fn is_anothers(request: &Request, principal: &Principal) -> Result<(), Refusal> {
    is_no_auditor(principal, "decide on a request")?;
    let (name, login) = (&principal.name, &principal.member.login);
    let may_be_own = request.may_be_requested_by(name, login) || request.may_be_filed_by(name, login);
    match may_be_own {
        false => Ok(()),
        true if request.is_requested_by(principal) => Err(VoteRefusal::OwnRequest { id: request.id }.into()),
        true if request.belongs_to(principal) => {
            Err(VoteRefusal::FiledRequest { id: request.id, requester: request.requester.clone() }.into())
        }
        true => Err(VoteRefusal::MayBeOwn { id: request.id }.into()),
    }
}

/// Whether this person may decide on this request, if these were its terms. Nothing else decides that.
pub fn may_decide(
    principal: &Principal,
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    now: Timestamp,
) -> Result<(), Refusal> {
    is_anothers(request, principal)?;
    let basis = request.role_basis(terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(principal, basis, now)) {
        return Ok(());
    }
    let by_granted_role = requirements.iter().any(|it| it.is_met_by(principal, RoleBasis::Effective, now));
    match (requirements, basis) {
        (_, RoleBasis::BaseAdmin) if by_granted_role => {
            Err(VoteRefusal::NeedsBaseRole { id: request.id, what: "a role" }.into())
        }
        (_, RoleBasis::Base) if by_granted_role => {
            Err(VoteRefusal::NeedsBaseRole { id: request.id, what: "permanent access" }.into())
        }
        ([only], _) if is_default(only, Role::Admin) => {
            Err(CallerRefusal::NeedsAdmin { to: "decide on a request" }.into())
        }
        ([only], _) if is_default(only, Role::Owner) => {
            Err(CallerRefusal::NeedsOwner { to: "decide on this request" }.into())
        }
        (several, _) => Err(VoteRefusal::NeedsApprover { id: request.id, approvers: named(several) }.into()),
    }
}

/// Whether this person may replace the proposed terms by these, judged by the proposed ones: someone who can't decide on the
/// request as it is can't turn it into one that they can decide on. `case`: of the proposed terms.
pub fn may_change(case: &Case<'_>, principal: &Principal, terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
    may_decide(principal, case.request, terms, &case.judgement.requirements(), now)
}

fn is_default(requirement: &Requirement, least: Role) -> bool {
    requirement.rule.is_none() && requirement.approvers == BTreeSet::from([Assignee::Role(least)])
}

/// Everybody that the requirements name, each once.
pub(super) fn named(requirements: &[Requirement]) -> Vec<String> {
    let all: BTreeSet<&Assignee> = requirements.iter().flat_map(|it| &it.approvers).collect();
    all.into_iter().map(ToString::to_string).collect()
}

/// Whether this person may propose these terms instead of the current ones. They must meet a demand of the new terms
/// themselves, so that nobody proposes terms that they could not give and lets the next approval grant them.
pub(super) fn may_propose(case: &Case<'_>, principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
    let Case { request, terms, judgement, .. } = case;
    if **terms == *request.proposed_terms() {
        return Ok(());
    }
    let requirements = judgement.requirements_of_granted();
    let basis = request.role_basis(terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(principal, basis, now)) {
        return Ok(());
    }
    let resource = terms.resource.clone();
    Err(VoteRefusal::NeedsApproverOfTerms { id: request.id, resource, approvers: named(&requirements) }.into())
}

/// Whether somebody may see a request: its requester, its filer, those who may decide on it or are notified when it is late,
/// admins, auditors; and everybody, while an emergency owes its review.
///
/// `judgement`: None when it has not been looked for, which is enough only for those that no rule has to name.
pub fn may_see(principal: &Principal, request: &Request, judgement: Option<&Judgement>, now: Timestamp) -> bool {
    let is_named = |judgement: &Judgement| {
        let escalation = Requirement::one_of(judgement.escalate_to());
        may_decide(principal, request, request.proposed_terms(), &judgement.requirements(), now).is_ok()
            || escalation.is_met_by(principal, RoleBasis::Effective, now)
    };
    !principal.is_disabled()
        && (request.belongs_to(principal)
            || sees_everything(principal, now)
            || request.owes_review()
            || judgement.is_some_and(is_named))
}

/// What has been loaded for a request that is being decided on.
pub struct Case<'c> {
    pub request: &'c Request,
    pub requester: &'c Principal,
    /// What would be granted: the terms proposed so far, or those that an approver proposes now.
    pub terms: &'c Terms,
    /// By the rules as they are now, for the terms asked and these.
    pub judgement: &'c Judgement,
    /// All who gave an approval or might.
    pub people: &'c [&'c Principal],
}

/// Whether there is still something to decide.
pub(super) fn still_pending(request: &Request, now: Timestamp) -> Result<(), Refusal> {
    let state = request.state(now);
    if state == State::Pending {
        return Ok(());
    }
    let by = request.decisions.last().map(|decision| decision.by.clone());
    Err(VoteRefusal::AlreadyDecided { id: request.id, state, by }.into())
}
