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

/// Whether this person may take part at all.
pub fn may_act(person: &Principal) -> Result<(), Refusal> {
    if person.is_disabled() { Err(CallerRefusal::Disabled { member: person.name.clone() }.into()) } else { Ok(()) }
}

/// Whether this person is an admin or the owner now, by base role or by a live grant.
pub fn needs_admin(person: &Principal, to: &'static str, now: Timestamp) -> Result<(), Refusal> {
    may_act(person)?;
    if person.effective_role(now) >= Role::Admin { Ok(()) } else { Err(CallerRefusal::NeedsAdmin { to }.into()) }
}

/// Whether this person is the owner, by the team file: no grant makes one.
pub fn needs_owner(person: &Principal, to: &'static str) -> Result<(), Refusal> {
    may_act(person)?;
    if person.member.role == Role::Owner { Ok(()) } else { Err(CallerRefusal::NeedsOwner { to }.into()) }
}

/// Whether a request is another person's. Somebody is the same person if the name or the Unix user is the same: neither a
/// new name nor the name of somebody else gets around this, and no role, no rule and no second vote does.
pub(super) fn is_anothers(request: &Request, person: &Principal) -> Result<(), Refusal> {
    may_act(person)?;
    let (name, login) = (&person.name, &person.member.login);
    let may_be_own = request.may_be_requested_by(name, login) || request.may_be_filed_by(name, login);
    match may_be_own {
        false => Ok(()),
        true if request.is_requested_by(person) => Err(VoteRefusal::OwnRequest { id: request.id }.into()),
        true if request.belongs_to(person) => {
            Err(VoteRefusal::FiledRequest { id: request.id, requester: request.requester.clone() }.into())
        }
        true => Err(VoteRefusal::MayBeOwn { id: request.id }.into()),
    }
}

/// Whether this person may decide on this request, were these the terms. This is the one place that says so.
pub fn may_decide(
    person: &Principal,
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    now: Timestamp,
) -> Result<(), Refusal> {
    is_anothers(request, person)?;
    let basis = request.role_basis(terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(person, basis, now)) {
        return Ok(());
    }
    let by_granted_role = requirements.iter().any(|it| it.is_met_by(person, RoleBasis::Effective, now));
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

/// Whether this person may put these terms in the place of those on the table, as far as those go: someone who could not
/// decide on the request as it is can't make it one that they can. `case`: of the terms on the table.
pub fn may_change(case: &Case<'_>, person: &Principal, terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
    may_decide(person, case.request, terms, &case.judgement.requirements(), now)
}

fn is_default(requirement: &Requirement, least: Role) -> bool {
    requirement.rule.is_none() && requirement.approvers == BTreeSet::from([Assignee::Role(least)])
}

/// Everybody whom the requirements name, each once.
pub(super) fn named(requirements: &[Requirement]) -> Vec<String> {
    let all: BTreeSet<&Assignee> = requirements.iter().flat_map(|it| &it.approvers).collect();
    all.into_iter().map(ToString::to_string).collect()
}

/// Whether this person may put these terms in the place of those on the table: they have to meet a demand of the new terms
/// themselves. So nobody parks terms there that they could not give, for the next approval to grant.
pub(super) fn may_propose(case: &Case<'_>, person: &Principal, now: Timestamp) -> Result<(), Refusal> {
    let Case { request, terms, judgement, .. } = case;
    if **terms == *request.on_the_table() {
        return Ok(());
    }
    let requirements = judgement.requirements_of_granted();
    let basis = request.role_basis(terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(person, basis, now)) {
        return Ok(());
    }
    let resource = terms.resource.clone();
    Err(VoteRefusal::NeedsApproverOfTerms { id: request.id, resource, approvers: named(&requirements) }.into())
}

/// Whether somebody may see a request: its requester, its filer, those who may decide on it or are told when it is late,
/// admins; and everybody, while an emergency owes its review.
///
/// `judgement`: None when it has not been looked for, which settles it only for those whom no rule has to name.
pub fn may_see(person: &Principal, request: &Request, judgement: Option<&Judgement>, now: Timestamp) -> bool {
    let is_named = |judgement: &Judgement| {
        let told = Requirement { rule: None, approvers: judgement.escalate_to(), approvals: 1 };
        may_decide(person, request, request.on_the_table(), &judgement.requirements(), now).is_ok()
            || told.is_met_by(person, RoleBasis::Effective, now)
    };
    !person.is_disabled()
        && (request.belongs_to(person)
            || person.effective_role(now) >= Role::Admin
            || request.owes_review()
            || judgement.is_some_and(is_named))
}

/// What has been loaded for a request that is being decided on.
pub struct Case<'c> {
    pub request: &'c Request,
    pub requester: &'c Principal,
    /// What would be granted: the terms on the table, or those that an approver puts there now.
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
