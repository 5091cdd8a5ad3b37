//! What is known about an emergency in addition to its request: who can review it, and how many of the same kind came shortly
//! before it.

use serde::{Deserialize, Serialize};

use super::Request;
use super::authorize::{Case, is_anothers};
use super::lifecycle::draft;
use crate::domain::duration::{Length, spell};
use crate::domain::event::{Draft, Event};
use crate::domain::grant::Grant;
use crate::domain::interval::measure;
use crate::domain::name::{Name, one_of};
use crate::domain::policy::demand::RoleBasis;
use crate::domain::policy::judge::Judgement;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Refusal, VoteRefusal};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::terms::{RequestId, Terms, requests};
use crate::domain::text::{Text, joined};
use crate::domain::time::Timestamp;

/// Emergencies of one member for one resource count together when they were taken within this.
pub const TOGETHER: Length = Length::DAY;

#[derive(Debug, Clone)]
pub struct Emergency {
    /// Who can review it now. None: it has its review.
    pub reviewers: Option<Vec<Name>>,
    pub together: Together,
}

/// The emergencies of one member for one resource within a day, up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Together {
    pub count: usize,
    /// How long they give access in all. Overlaps count once.
    pub seconds: i64,
}

impl Emergency {
    /// `grants`: of this emergency and of those of the same member for the same resource in the day before it.
    pub fn of(request: &Request, reviewers: Vec<Name>, grants: &[Grant]) -> Emergency {
        let times = grants.iter().filter_map(|grant| {
            let end = grant.ended.as_ref().map(|ended| ended.at).or(grant.ends_at)?;
            Some((grant.starts_at.unix(), end.unix()))
        });
        let together = Together { count: grants.len(), seconds: measure(times.collect()) };
        Emergency { reviewers: request.owes_review().then_some(reviewers), together }
    }

    /// What its recipients read besides what happened.
    pub fn words(&self, request: &Request) -> String {
        let row = self.together.words(&request.requester, &request.details.asked.resource);
        let review = self.reviewers.as_ref().map(|reviewers| {
            let who = one_of(reviewers);
            match reviewers.is_empty() {
                true => "nobody can review it now".to_owned(),
                false => format!("{who} can review it: access review {} --note '…'", request.id),
            }
        });
        row.into_iter().chain(review).map(|words| format!("; {words}")).collect()
    }
}

impl Together {
    /// `third emergency of bob for connection:prod-aws in 1d, 3h in all`. None: it is the first.
    pub fn words(self, who: &Name, what: &Resource) -> Option<String> {
        let nth = match self.count {
            0 | 1 => return None,
            2 => "second".to_owned(),
            3 => "third".to_owned(),
            more => ordinal(more),
        };
        Some(format!("{nth} emergency of {who} for {what} in {TOGETHER}, {} in all", spell(self.seconds)))
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Emergencies that owe their review, with those who can review each: `requests 1 and 2 (alice or erin), request 4 (nobody)`.
pub fn reviews_owed(owed: &[(RequestId, Vec<Name>)]) -> String {
    let mut groups: Vec<(&[Name], Vec<RequestId>)> = Vec::new();
    for (id, reviewers) in owed {
        match groups.iter_mut().find(|(others, _)| *others == reviewers.as_slice()) {
            Some((_, ids)) => ids.push(*id),
            None => groups.push((reviewers, vec![*id])),
        }
    }
    let group = |(reviewers, ids): &(&[Name], Vec<RequestId>)| format!("{} ({})", requests(ids), one_of(reviewers));
    joined(groups.iter().map(group))
}

/// Whether this person could review an emergency on these terms: a base admin, the owner, or someone who meets all of its
/// demands.
pub fn could_review(principal: &Principal, judgement: &Judgement, terms: &Terms, now: Timestamp) -> bool {
    let requirements = judgement.requirements();
    let basis = match terms.resource {
        Resource::Role(_) => RoleBasis::BaseAdmin,
        Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Scope(_) => {
            RoleBasis::Effective
        }
    };
    principal.member.role >= Role::Admin && principal.member.can_decide()
        || !requirements.is_empty() && requirements.iter().all(|it| it.is_met_by(principal, basis, now))
}

/// Who can review an emergency now: of those who were fixed when it was taken, those who could review it by today's rules too;
/// and if there is none, anybody who could. A member who came after it was filed is another person than the one who had
/// that name then.
pub fn reviewers<'c>(case: &Case<'c>, now: Timestamp) -> Vec<&'c Principal> {
    let Case { request, judgement, .. } = case;
    let able = |principal: &&&Principal| {
        is_anothers(request, principal).is_ok() && could_review(principal, judgement, &request.details.asked, now)
    };
    let able: Vec<&Principal> = case.people.iter().filter(able).copied().collect();
    let reviewers = request.grant.as_ref().and_then(|grant| grant.reviewers.as_ref());
    let is_fixed = |principal: &&Principal| {
        principal.since < request.seq && reviewers.is_some_and(|reviewers| reviewers.contains(&principal.name))
    };
    let fixed: Vec<&Principal> = able.iter().copied().filter(is_fixed).collect();
    if fixed.is_empty() { able } else { fixed }
}

/// Whether this person may review this emergency.
pub fn may_review(case: &Case<'_>, principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
    is_anothers(case.request, principal)?;
    let able = reviewers(case, now);
    if able.iter().any(|other| other.name == principal.name) {
        return Ok(());
    }
    let mut named: Vec<String> = able.iter().map(|principal| principal.name.to_string()).collect();
    if named.is_empty() {
        named.push("role:admin".to_owned());
    }
    Err(VoteRefusal::NeedsReviewer { id: case.request.id, reviewers: named }.into())
}

/// Closes the review that an emergency owes.
pub fn review(case: &Case<'_>, reviewer: &Principal, note: Text, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let request = case.request;
    if !request.emergency {
        return Err(VoteRefusal::NotOwed { id: request.id }.into());
    }
    may_review(case, reviewer, now)?;
    if let Some(review) = &request.review {
        return Err(VoteRefusal::AlreadyReviewed { id: request.id, by: review.by.clone() }.into());
    }
    Ok(vec![draft(Event::RequestReviewed { request: request.id, by: reviewer.name.clone(), note }, Vec::new())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_order() {
        let words: Vec<String> = [4, 11, 12, 13, 21, 22, 23, 111].into_iter().map(ordinal).collect();
        assert_eq!(words, ["4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "111th"]);
    }

    #[test]
    fn requests_with_the_same_reviewers_are_named_together() {
        let ids: Vec<RequestId> = (1..=4).map(|id| RequestId::try_from(id).unwrap()).collect();
        let names = |names: &[&str]| -> Vec<Name> { names.iter().map(|name| name.parse().unwrap()).collect() };
        let all = [
            (ids[0], names(&["alice", "erin", "olivia"])),
            (ids[1], names(&["olivia"])),
            (ids[2], names(&["alice", "erin", "olivia"])),
            (ids[3], names(&[])),
        ];
        assert_eq!(
            reviews_owed(&all),
            "requests 1 and 3 (alice, erin or olivia), request 2 (olivia), request 4 (nobody)"
        );
    }
}
