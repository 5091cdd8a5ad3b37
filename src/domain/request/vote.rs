//! Approvals and denials, and how far a request has come.

use std::collections::BTreeSet;

use super::authorize::{Case, may_act, may_decide, may_propose, still_pending};
use super::lifecycle::{begins, draft, granted};
use super::submit::wrong_terms;
use super::{Decision, Request, Verdict};
use crate::domain::event::{Approval, Draft, Event, Granted, MetDemand};
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::policy::demand::Requirement;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Refusal, TermsRefusal, VoteRefusal};
use crate::domain::terms::Terms;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// How far a request has come with one of the demands on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub rule: Option<RuleName>,
    pub need: u32,
    /// Whose approvals count, in the order they were given.
    pub have: Vec<Name>,
    /// Who may still give one.
    pub waiting_on: Vec<Name>,
}

impl Tally {
    pub fn is_met(&self) -> bool {
        self.have.len() >= self.need as usize
    }
}

/// Where a request stands with each demand, were these the terms. `people`: all who gave an approval or might.
///
/// An approval counts for exactly the terms it was of, and only while whoever gave it may still decide: one person's
/// may count towards several demands, and never twice towards one.
pub fn standing(
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    people: &[&Principal],
    now: Timestamp,
) -> Vec<Tally> {
    let basis = request.role_basis(terms);
    let able: Vec<&&Principal> =
        people.iter().filter(|person| may_decide(person, request, terms, requirements, now).is_ok()).collect();
    let mut given: Vec<&Principal> = Vec::new();
    for decision in &request.decisions {
        let counts =
            decision.verdict == Verdict::Approve && decision.counts && request.decided_terms(decision) == terms;
        let giver = able.iter().find(|person| person.name == decision.by && person.since < decision.seq);
        if let Some(giver) = giver.filter(|_| counts)
            && given.iter().all(|person| person.name != giver.name)
        {
            given.push(giver);
        }
    }
    let standing = |requirement: &Requirement| {
        let have: Vec<Name> = given
            .iter()
            .filter(|person| requirement.is_met_by(person, basis, now))
            .map(|person| person.name.clone())
            .collect();
        let met = have.len() >= requirement.approvals as usize;
        let may_still =
            |person: &&&&Principal| !met && requirement.is_met_by(person, basis, now) && !have.contains(&person.name);
        let waiting_on = able.iter().filter(may_still).map(|person| person.name.clone()).collect();
        Tally { rule: requirement.rule.clone(), need: requirement.approvals, have, waiting_on }
    };
    requirements.iter().map(standing).collect()
}

/// Whether one of these people made a decision: members who have left are not among them, and somebody else with the name of one
/// now is another person.
pub(super) fn is_by_one_of(decision: &Decision, people: &[&Principal]) -> bool {
    people.iter().any(|person| person.name == decision.by && person.since < decision.seq)
}

/// Everybody on whom any of the demands waits.
pub fn waits_on(standing: &[Tally]) -> Vec<Name> {
    let all: BTreeSet<&Name> = standing.iter().flat_map(|standing| &standing.waiting_on).collect();
    all.into_iter().cloned().collect()
}

/// Tells those who were asked that it is decided: not who decided, and nobody who is told of the same act otherwise.
pub(super) fn decided(asked: &[Name], by: &Name, told: &[&Name]) -> Vec<Recipient> {
    NotificationKind::RequestDecided.to_all(asked.iter().filter(|name| *name != by && !told.contains(name)))
}

/// Approves these terms; access is granted with the last approval that it takes. `asked`: those who were asked to decide.
pub fn approve(
    case: &Case<'_>,
    approver: &Principal,
    note: Option<Text>,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let Case { request, requester, terms, judgement, .. } = case;
    let requirements = judgement.requirements();
    may_decide(approver, request, terms, &requirements, now)?;
    still_pending(request, now)?;
    may_act(requester)?;
    may_propose(case, approver, now)?;
    if judgement.requirements_of_granted().is_empty() {
        return Err(TermsRefusal::NothingDemanded { resource: terms.resource.clone() }.into());
    }
    let mut wrong = wrong_terms(terms, requester, now);
    let violations = judgement.violations(terms, &request.reason, request.ticket.as_ref());
    wrong.extend(violations.into_iter().map(Refusal::from));
    Refusal::unless_none(wrong)?;
    let stood = standing(request, terms, &requirements, case.people, now);
    let counted = |standing: &[Tally]| -> BTreeSet<Name> { standing.iter().flat_map(|it| it.have.clone()).collect() };
    let given = counted(&stood);
    // Where a demand was relaxed since, what was given may be enough now: then whoever gave it can say so again.
    let enough = stood.iter().all(Tally::is_met);
    if given.contains(&approver.name) && !enough {
        return Err(VoteRefusal::AlreadyVoted { id: request.id }.into());
    }
    let modified = **terms != request.asked;
    let earlier = request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve && decision.counts);
    let voided: Vec<&Decision> =
        earlier.filter(|decision| !given.contains(&decision.by) || decision.by == approver.name).collect();
    let voids: BTreeSet<Name> = voided.iter().map(|decision| decision.by.clone()).collect();

    // As it stands with this approval.
    let mut after = (*request).clone();
    after
        .decisions
        .iter_mut()
        .filter(|decision| voids.contains(&decision.by))
        .for_each(|decision| decision.counts = false);
    after.decisions.push(Decision {
        seq: i64::MAX,
        by: approver.name.clone(),
        at: now,
        verdict: Verdict::Approve,
        note: note.clone(),
        terms: modified.then(|| (*terms).clone()),
        counts: true,
    });
    let stands = standing(&after, terms, &requirements, case.people, now);
    let complete = stands.iter().all(Tally::is_met);

    let mut told: Vec<Recipient> = Vec::new();
    if complete {
        told.push(NotificationKind::RequestApproved.to(&request.requester));
    }
    if *terms != request.on_the_table() {
        let lost = voided
            .iter()
            .filter(|decision| request.decided_terms(decision) != *terms && is_by_one_of(decision, case.people))
            .map(|decision| &decision.by);
        let waiting = if complete { Vec::new() } else { waits_on(&stands) };
        let all: BTreeSet<&Name> = lost.chain(&waiting).filter(|name| **name != approver.name).collect();
        told.extend(NotificationKind::RequestChanged.to_all(all));
    }
    if complete {
        let names: Vec<Name> = told.iter().map(|Recipient(name, _)| name.clone()).collect();
        told.extend(decided(asked, &approver.name, &names.iter().collect::<Vec<_>>()));
    }
    let approved = Event::RequestApproved(Approval {
        request: request.id,
        by: approver.name.clone(),
        asked: modified.then(|| request.asked.clone()),
        terms: (*terms).clone(),
        note,
        voids: voids.into_iter().collect(),
    });
    let mut drafts = vec![draft(approved, told)];
    if complete {
        let counts = counted(&stands);
        let mut approved_by: Vec<Name> = Vec::new();
        for decision in after.decisions.iter().filter(|decision| counts.contains(&decision.by) && decision.counts) {
            if !approved_by.contains(&decision.by) {
                approved_by.push(decision.by.clone());
            }
        }
        let demands = stands
            .iter()
            .map(|it| MetDemand { rule: it.rule.clone(), approvals: it.need, by: it.have.clone() })
            .collect();
        let granted = granted(request.id, &request.requester, terms, modified, None, now);
        let granted = Granted { approved_by, demands, ..granted };
        drafts.push(draft(begins(granted, now), Vec::new()));
    }
    Ok(drafts)
}

/// `asked`: those who were asked to decide.
pub fn deny(
    case: &Case<'_>,
    approver: &Principal,
    reason: Option<Text>,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let request = case.request;
    may_decide(approver, request, case.terms, &case.judgement.requirements(), now)?;
    still_pending(request, now)?;
    let denied = Event::RequestDenied { request: request.id, by: approver.name.clone(), reason };
    let mut told = vec![NotificationKind::RequestDenied.to(&request.requester)];
    told.extend(decided(asked, &approver.name, &[&request.requester]));
    Ok(vec![draft(denied, told)])
}
