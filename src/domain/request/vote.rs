//! Approvals and denials, and how far a request has come.

use std::collections::BTreeSet;

use super::approval_terms::SignedTerms;
use super::authorize::{Case, may_act, may_decide, may_propose, still_pending};
use super::lifecycle::{begins, draft, granted};
use super::submit::wrong_terms;
use super::{Decision, Request, Verdict};
use crate::domain::event::{Approval, Draft, Event, Granted, MetDemand};
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::policy::demand::{Requirement, SignatureDemand};
use crate::domain::principal::Principal;
use crate::domain::refusal::{Refusal, TermsRefusal, VoteRefusal};
use crate::domain::ssh_signature::SshSignature;
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

/// How far a request has come with each demand, if these were its terms. `people`: all who gave an approval or might.
///
/// An approval counts for exactly the terms that it approved, and only while its approver may still decide. One person's
/// approval can count towards several demands, but never twice towards one.
pub fn tally(
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    people: &[&Principal],
    now: Timestamp,
) -> Vec<Tally> {
    let basis = request.role_basis(terms);
    let able: Vec<&&Principal> =
        people.iter().filter(|principal| may_decide(principal, request, terms, requirements, now).is_ok()).collect();
    let mut given: Vec<(&Principal, &Decision)> = Vec::new();
    for decision in &request.decisions {
        let counts =
            decision.verdict == Verdict::Approve && decision.counts && request.decided_terms(decision) == terms;
        let giver = able.iter().find(|principal| principal.name == decision.by && principal.since < decision.seq);
        if let Some(giver) = giver.filter(|_| counts)
            && given.iter().all(|(principal, _)| principal.name != giver.name)
        {
            given.push((giver, decision));
        }
    }
    let tally_of = |requirement: &Requirement| {
        let have: Vec<Name> = given
            .iter()
            .filter(|(_, given)| requirement.signing == SignatureDemand::Unneeded || given.signed_with.is_some())
            .filter(|(principal, _)| requirement.is_met_by(principal, basis, now))
            .map(|(principal, _)| principal.name.clone())
            .collect();
        let met = have.len() >= requirement.approvals as usize;
        let may_still = |principal: &&&&Principal| {
            !met && requirement.is_met_by(principal, basis, now) && !have.contains(&principal.name)
        };
        let waiting_on = able.iter().filter(may_still).map(|principal| principal.name.clone()).collect();
        Tally { rule: requirement.rule.clone(), need: requirement.approvals, have, waiting_on }
    };
    requirements.iter().map(tally_of).collect()
}

/// Whether one of these people made a decision: members who have left are not among them, and somebody else with the name of one
/// now is another person.
pub(super) fn is_by_one_of(decision: &Decision, people: &[&Principal]) -> bool {
    people.iter().any(|principal| principal.name == decision.by && principal.since < decision.seq)
}

/// Everybody on whom any of the demands waits.
pub fn waits_on(tallies: &[Tally]) -> Vec<Name> {
    let all: BTreeSet<&Name> = tallies.iter().flat_map(|tally| &tally.waiting_on).collect();
    all.into_iter().cloned().collect()
}

/// Notifies those who were asked that the request is decided, except the one who decides and other recipients of the same act.
pub(super) fn decided(asked: &[Name], by: &Name, recipients: &[&Name]) -> Vec<Recipient> {
    NotificationKind::RequestDecided.to_all(asked.iter().filter(|name| *name != by && !recipients.contains(name)))
}

/// Approves these terms. Access is granted with the last approval that is needed. `signed`: the approver's signature, if there is
/// one. `asked`: those who were asked to decide.
pub fn approve(
    case: &Case<'_>,
    approver: &Principal,
    note: Option<Text>,
    signed: Option<&SignedTerms>,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let Case { request, terms, judgement, .. } = case;
    let requirements = judgement.requirements();
    may_approve(case, approver, &requirements, now)?;
    check_signature(case, approver, signed)?;
    let signature = signed.map(|signed| signed.signature.clone());
    let before = tally(request, terms, &requirements, case.people, now);
    let given = counted(&before);
    // Where a demand was relaxed since, the approvals given may be enough now. Then an approver can repeat theirs.
    let enough = before.iter().all(Tally::is_met);
    if given.contains(&approver.name) && !enough {
        return Err(VoteRefusal::AlreadyVoted { id: request.id }.into());
    }
    let modified = **terms != request.details.asked;
    let voided: Vec<&Decision> =
        request.approvals().filter(|decision| !given.contains(&decision.by) || decision.by == approver.name).collect();
    let voids: BTreeSet<Name> = voided.iter().map(|decision| decision.by.clone()).collect();

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
        signed_with: signature.as_ref().map(SshSignature::key),
    });
    let tallies = tally(&after, terms, &requirements, case.people, now);
    let complete = tallies.iter().all(Tally::is_met);
    let waiting = if complete { Vec::new() } else { waits_on(&tallies) };
    let recipients = approval_recipients(case, approver, &voided, &waiting, complete.then_some(asked));
    let approved = Event::RequestApproved(Approval {
        request: request.id,
        by: approver.name.clone(),
        asked: modified.then(|| request.details.asked.clone()),
        terms: (*terms).clone(),
        note,
        voids: voids.into_iter().collect(),
        signature,
    });
    let mut drafts = vec![draft(approved, recipients)];
    if complete {
        let granted = granted(request.id, &request.requester, terms, modified, None, now);
        let (approved_by, demands) = met(&after, &tallies);
        drafts.push(draft(begins(Granted { approved_by, demands, ..granted }, now), Vec::new()));
    }
    Ok(drafts)
}

/// Whether this person's approval of these terms would have to be signed, if they may give one.
pub fn signing(case: &Case<'_>, approver: &Principal, now: Timestamp) -> Result<SignatureDemand, Refusal> {
    may_approve(case, approver, &case.judgement.requirements(), now)?;
    Ok(case.judgement.signing())
}

/// Whether this person may approve these terms now, and whether they can be granted at all.
fn may_approve(
    case: &Case<'_>,
    approver: &Principal,
    requirements: &[Requirement],
    now: Timestamp,
) -> Result<(), Refusal> {
    let Case { request, requester, terms, judgement, .. } = case;
    may_decide(approver, request, terms, requirements, now)?;
    still_pending(request, now)?;
    may_act(requester)?;
    may_propose(case, approver, now)?;
    if judgement.requirements_of_granted().is_empty() {
        return Err(TermsRefusal::NothingDemanded { resource: terms.resource.clone() }.into());
    }
    let mut wrong = wrong_terms(terms, requester, now);
    let violations = judgement.violations(terms, &request.details.reason, request.details.ticket.as_ref());
    wrong.extend(violations.into_iter().map(Refusal::from));
    Refusal::refuse_if_any(wrong)
}

/// Whether the approval is signed where a rule demands it, and a signature is the approver's, and of exactly these terms.
fn check_signature(case: &Case<'_>, approver: &Principal, signed: Option<&SignedTerms>) -> Result<(), Refusal> {
    let id = case.request.id;
    match (signed, case.judgement.signing()) {
        (Some(signed), _) => {
            let wrong = |why| VoteRefusal::BadSignature { id, approver: approver.name.clone(), why };
            Ok(signed.check(approver).map_err(wrong)?)
        }
        (None, SignatureDemand::Needed) if approver.member.ssh_keys.is_empty() => {
            Err(VoteRefusal::NoSigningKey { id }.into())
        }
        (None, SignatureDemand::Needed) => Err(VoteRefusal::Unsigned { id }.into()),
        (None, SignatureDemand::Unneeded) => Ok(()),
    }
}

/// Everybody whose approval counts towards any demand.
fn counted(tallies: &[Tally]) -> BTreeSet<Name> {
    tallies.iter().flat_map(|tally| tally.have.clone()).collect()
}

/// Who is notified of an approval. `voided`: the approvals that no longer count. `waiting`: those who may still decide.
/// `asked`: those who were asked to decide, if this approval completes the request.
fn approval_recipients(
    case: &Case<'_>,
    approver: &Principal,
    voided: &[&Decision],
    waiting: &[Name],
    asked: Option<&[Name]>,
) -> Vec<Recipient> {
    let Case { request, terms, .. } = case;
    let mut recipients: Vec<Recipient> = Vec::new();
    if asked.is_some() {
        recipients.push(NotificationKind::RequestApproved.to(&request.requester));
    }
    if *terms != request.proposed_terms() {
        let lost = voided
            .iter()
            .filter(|decision| request.decided_terms(decision) != *terms && is_by_one_of(decision, case.people))
            .map(|decision| &decision.by);
        let all: BTreeSet<&Name> = lost.chain(waiting).filter(|name| **name != approver.name).collect();
        recipients.extend(NotificationKind::RequestChanged.to_all(all));
    }
    if let Some(asked) = asked {
        let names: Vec<Name> = recipients.iter().map(|Recipient(name, _)| name.clone()).collect();
        recipients.extend(decided(asked, &approver.name, &names.iter().collect::<Vec<_>>()));
    }
    recipients
}

/// Whose approvals grant the request, in the order they were given, and which demands these meet.
fn met(request: &Request, tallies: &[Tally]) -> (Vec<Name>, Vec<MetDemand>) {
    let counts = counted(tallies);
    let mut approved_by: Vec<Name> = Vec::new();
    for decision in request.decisions.iter().filter(|decision| counts.contains(&decision.by) && decision.counts) {
        if !approved_by.contains(&decision.by) {
            approved_by.push(decision.by.clone());
        }
    }
    let demands = tallies
        .iter()
        .map(|tally| MetDemand { rule: tally.rule.clone(), approvals: tally.need, by: tally.have.clone() })
        .collect();
    (approved_by, demands)
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
    let mut recipients = vec![NotificationKind::RequestDenied.to(&request.requester)];
    recipients.extend(decided(asked, &approver.name, &[&request.requester]));
    Ok(vec![draft(denied, recipients)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::judge::judge;
    use crate::domain::policy::opened::Proposal;
    use crate::domain::policy::other_grants::OtherGrants;
    use crate::domain::policy::rule::Rule;
    use crate::domain::replay::history;

    /// carol has approved bob's request for an hour. Now dave approves half of it, by rules that no longer name carol.
    #[test]
    fn an_approver_whose_approval_is_lost_to_other_terms_is_notified_of_them_if_it_is_the_same_person() {
        let log = include_str!("../../../tests/fixtures/replay.jsonl");
        let entries = |seqs: &[usize]| {
            let lines = log.lines().collect::<Vec<_>>();
            seqs.iter().map(|seq| serde_json::from_str(lines[seq - 1]).unwrap()).collect()
        };
        let team = history::team(entries(&[1, 2])).unwrap();
        let request = history::request(entries(&[9, 14])).unwrap();
        let (now, asked) = (request.decisions[0].at, &request.details.asked);
        let terms = Terms { end: serde_json::from_str(r#"{"after":"30m"}"#).unwrap(), ..asked.clone() };
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let person = |text: &str| team.principal(&name(text), Vec::new()).unwrap();
        let [bob, dave, erin] = ["bob", "dave", "erin"].map(person);
        let notified = |approvals: u32, carol: &Principal| {
            let approvers =
                format!(r#"{{"name":"it","approvers":["member:dave","member:erin"],"approvals":{approvals}}}"#);
            let rule: Rule = serde_json::from_str(&approvers).unwrap();
            let (reach, held) = (team.team.reach(&terms.resource, None), OtherGrants::default());
            let [asked, granted] =
                [asked, &terms].map(|terms| Proposal { requester: &bob, terms, reach: &reach, held: &held, now });
            let judgement = judge([&rule], asked, Some(granted), false);
            let people = [carol, &dave, &erin];
            let case =
                Case { request: &request, requester: &bob, terms: &terms, judgement: &judgement, people: &people };
            let drafts = approve(&case, &dave, None, None, &[name("alice"), name("dave")], now).unwrap();
            let recipients = drafts[0].recipients.iter();
            recipients.map(|Recipient(to, kind)| format!("{to} {}", kind.as_str())).collect::<Vec<_>>()
        };
        let carol = person("carol");
        let namesake = Principal { since: request.decisions[0].seq + 1, ..carol.clone() };
        assert_eq!(notified(1, &carol), ["bob request.approved", "carol request.changed", "alice request.decided"]);
        assert_eq!(notified(1, &namesake), ["bob request.approved", "alice request.decided"]);
        assert_eq!(notified(2, &carol), ["carol request.changed", "erin request.changed"]);
        assert_eq!(notified(2, &namesake), ["erin request.changed"]);
    }
}
