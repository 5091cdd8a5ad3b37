//! Judges requests of the log by the team of their moment, as far as replay still has what is needed.
//!
//! Replay drops what is over, so the requester's other grants are not known here, and a request counts with its own length
//! alone. With the other grants it could only count as longer. So what a rule forbids or demands here, it forbade or demanded
//! then. A rule that gives only what is longer than something is taken to match at any length.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use crate::domain::catalog::CatalogItem;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::demand::{Requirement, SignatureDemand};
use crate::domain::policy::judge::{Judgement, judge};
use crate::domain::policy::opened::Proposal;
use crate::domain::policy::other_grants::OtherGrants;
use crate::domain::policy::rule::{Match, Rule};
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::team::Team;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

/// So many things, rules and groups are kept for the next judgement.
const MOST_KEPT: usize = 50_000;

/// What judging takes of the team, found once for many requests. It is of one team: after a change of the team start a new one.
#[derive(Debug, Clone, Default)]
pub struct TeamThen {
    about: BTreeMap<Resource, Opening>,
    people: BTreeMap<Name, Principal>,
    /// The places of the rules that demand signatures.
    signed: Option<Arc<[usize]>>,
    kept: usize,
}

/// What a grant of a resource opens, and the places of the rules that name any of that.
#[derive(Debug, Clone)]
struct Opening {
    reach: Vec<CatalogItem>,
    rules: Vec<usize>,
}

impl Opening {
    fn of(team: &Team, resource: &Resource) -> Opening {
        let reach = team.reach(resource, None);
        let opened: Vec<Resource> = reach.iter().map(CatalogItem::resource).collect();
        let names = |rule: &Rule| {
            let patterns = &rule.matches.resources;
            patterns.is_empty() || patterns.iter().any(|pattern| opened.iter().any(|it| pattern.matches(it)))
        };
        let rules = team.rules.iter().zip(0..).filter(|(rule, _)| names(rule)).map(|(_, place)| place).collect();
        Opening { reach, rules }
    }
}

impl TeamThen {
    /// What there is to know of a request's resource, and of its requester if they are a member.
    fn find(&mut self, team: &Team, request: &Request) -> Option<(&Opening, Option<&Principal>)> {
        if self.kept > MOST_KEPT {
            *self = TeamThen::default();
        }
        let (resource, requester) = (&request.details.asked.resource, &request.requester);
        if !self.about.contains_key(resource) {
            let about = Opening::of(team, resource);
            self.kept += 1 + about.reach.len() + about.rules.len();
            self.about.insert(resource.clone(), about);
        }
        if !self.people.contains_key(requester)
            && let Some(principal) = team.principal(requester)
        {
            self.kept += 1 + principal.groups.len();
            self.people.insert(requester.clone(), principal);
        }
        Some((self.about.get(resource)?, self.people.get(requester)))
    }

    /// Why this rule could not approve this request automatically. None: it could.
    pub fn not_given(&mut self, team: &Team, request: &Request, by: &Rule, at: Timestamp) -> Option<String> {
        let (about, requester) = self.find(team, request)?;
        let Some(requester) = requester else { return Some(format!("{} is not a member", request.requester)) };
        let named = at_any_length(by);
        // Of several rules that give it the first is named, so this one comes first.
        let others = about.rules.iter().map(|&place| &team.rules[place]).filter(|rule| rule.name != by.name);
        let judgement = judged(once(&named).chain(others), request, requester, &about.reach, at);
        let violations =
            judgement.violations(&request.details.asked, &request.details.reason, request.details.ticket.as_ref());
        if let Err(refusal) = Refusal::refuse_if_any(violations) {
            return Some(refusal.message());
        }
        let given_by: Option<&RuleName> = match request.emergency {
            true => judgement.allowed_in_emergency(),
            false => judgement.approved_by_rule(),
        };
        (given_by != Some(&by.name))
            .then(|| "it does not match all of it, or another rule demands approvals".to_owned())
    }

    /// What was demanded then of a request on these terms, if a rule demanded that approvals are signed.
    pub fn signed_demands(
        &mut self,
        team: &Team,
        request: &Request,
        terms: &Terms,
        at: Timestamp,
    ) -> Option<Vec<Requirement>> {
        let places = || team.rules.iter().zip(0..).filter(|(rule, _)| rule.signed).map(|(_, place)| place);
        let signed = self.signed.get_or_insert_with(|| places().collect()).clone();
        let (about, requester) = self.find(team, request).filter(|_| !signed.is_empty())?;
        let (held, gone) = (OtherGrants::default(), Principal::gone(request.requester.clone()));
        let requester = requester.unwrap_or(&gone);
        let proposal = |terms, reach| Proposal { requester, terms, reach, held: &held, now: at };
        let asked = proposal(&request.details.asked, &about.reach);
        let reach = team.reach(&terms.resource, None);
        let granted = (*terms != request.details.asked).then(|| proposal(terms, &reach));
        let signed = signed.iter().map(|&place| &team.rules[place]);
        if judge(signed, asked, granted, request.emergency).signing() == SignatureDemand::Unneeded {
            return None;
        }
        let mut demands = judge(&team.rules, asked, granted, request.emergency).requirements();
        // A rule that the requester's other grants made match may have taken the place of the default demand.
        let is_default = |requirement: &Requirement| requirement.rule.is_none();
        let long = team.rules.iter().filter(|rule| rule.matches.longer_than.is_some() && !rule.approvers.is_empty());
        let long: Vec<Rule> = long.map(at_any_length).collect();
        if !long.is_empty() {
            let least = judge(team.rules.iter().chain(&long), asked, granted, request.emergency).requirements();
            demands.retain(|requirement| !is_default(requirement) || least.iter().any(is_default));
        }
        Some(demands)
    }

    /// How these rules judge an emergency that was taken then. None: that depends on the requester's other grants.
    pub fn judge_emergency(&mut self, team: &Team, request: &Request, taken: Timestamp) -> Option<Judgement> {
        let (about, requester) = self.find(team, request)?;
        let mut rules = about.rules.iter().map(|&place| &team.rules[place]);
        if rules.clone().any(|rule| rule.matches.longer_than.is_some()) {
            return None;
        }
        let gone = Principal::gone(request.requester.clone());
        Some(judged(&mut rules, request, requester.unwrap_or(&gone), &about.reach, taken))
    }
}

fn at_any_length(rule: &Rule) -> Rule {
    Rule { matches: Match { longer_than: None, ..rule.matches.clone() }, ..rule.clone() }
}

fn judged<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    request: &Request,
    requester: &Principal,
    reach: &[CatalogItem],
    now: Timestamp,
) -> Judgement {
    let held = OtherGrants::default();
    judge(
        rules,
        Proposal { requester, terms: &request.details.asked, reach, held: &held, now },
        None,
        request.emergency,
    )
}
