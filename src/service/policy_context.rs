//! What judging requests needs: the rules, what a grant would open, and the members who may approve. Each is loaded on
//! first use, once per command.

use crate::domain::policy::judge::{self, Judgement};
use crate::domain::policy::other_grants::{OtherGrant, OtherGrants};
use crate::domain::policy::{longest, matching};
use crate::domain::request::{Request, Verdict, vote};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::provisioned::Bound;
use crate::domain::catalog::CatalogItem;
use crate::domain::grant::Grant;
use crate::domain::member::Assignee;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::demand::{Requirement, RoleBasis};
use crate::domain::policy::opened::Proposal;
use crate::domain::policy::rule::Rule;
use crate::domain::principal::Principal;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::{Error, Read};

#[derive(Default)]
pub struct PolicyContext {
    has_rules: OnceCell<bool>,
    people: RefCell<BTreeMap<Name, Option<Rc<Principal>>>>,
    named: RefCell<BTreeMap<Assignee, Rc<BTreeSet<Name>>>>,
    usable: OnceCell<Team>,
    bound: OnceCell<Option<Bound>>,
}

/// A request with the judgement of certain terms.
pub struct Judged {
    pub judgement: Judgement,
    pub requester: Rc<Principal>,
    people: Vec<Rc<Principal>>,
}

impl Judged {
    /// Everyone who gave an approval or might give one.
    pub fn people(&self) -> Vec<&Principal> {
        self.people.iter().map(AsRef::as_ref).collect()
    }

    /// The approvals that each demand has and needs.
    pub fn tally(&self, request: &Request, terms: &Terms, now: Timestamp) -> Vec<vote::Tally> {
        vote::tally(request, terms, &self.judgement.requirements(), &self.people(), now)
    }
}

impl PolicyContext {
    fn has_rules(&self, read: &Read<'_>) -> Result<bool, Error> {
        match self.has_rules.get() {
            Some(has) => Ok(*has),
            None => {
                let has = read.has_rules()?;
                Ok(*self.has_rules.get_or_init(|| has))
            }
        }
    }

    /// The bindings of the team. None if it has none, and nothing is on record about connectors either.
    pub fn bound(&self, read: &Read<'_>) -> Result<Option<&Bound>, Error> {
        match self.bound.get() {
            Some(bound) => Ok(bound.as_ref()),
            None => {
                let bound = if read.has_provisioning()? { Some(Bound::new(read, read.bindings()?)?) } else { None };
                Ok(self.bound.get_or_init(|| bound).as_ref())
            }
        }
    }

    pub fn principal(&self, read: &Read<'_>, name: &Name) -> Result<Option<Rc<Principal>>, Error> {
        if let Some(known) = self.people.borrow().get(name) {
            return Ok(known.clone());
        }
        let principal = read.principal(name)?.map(Rc::new);
        self.people.borrow_mut().insert(name.clone(), principal.clone());
        Ok(principal)
    }

    /// Everyone whom these approvers might name.
    fn named(&self, read: &Read<'_>, named: &Assignee) -> Result<Rc<BTreeSet<Name>>, Error> {
        if let Some(known) = self.named.borrow().get(named) {
            return Ok(known.clone());
        }
        let names = Rc::new(match named {
            Assignee::Member(name) => BTreeSet::from([name.clone()]),
            Assignee::Group(group) => read.group_members(group)?,
            Assignee::Role(least) => read.holders_of_role(*least)?.into_iter().collect(),
        });
        self.named.borrow_mut().insert(named.clone(), names.clone());
        Ok(names)
    }

    /// The members whom these approvers name now.
    pub fn people_named(&self, read: &Read<'_>, named: &BTreeSet<Assignee>) -> Result<Vec<Rc<Principal>>, Error> {
        let mut names: BTreeSet<Name> = BTreeSet::new();
        for named in named {
            names.extend(self.named(read, named)?.iter().cloned());
        }
        let mut people = Vec::new();
        for name in &names {
            people.extend(self.principal(read, name)?);
        }
        Ok(people)
    }

    /// The resource, and after it everything else that a grant of it lets its holder use. Without any rule the rest makes
    /// no difference, and is not loaded.
    fn reach(&self, read: &Read<'_>, resource: &Resource) -> Result<Vec<CatalogItem>, Error> {
        let alone = || Ok(read.catalog_item(resource)?.into_iter().collect());
        if !self.has_rules(read)? {
            return alone();
        }
        match resource {
            Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => alone(),
            Resource::Connection(_) => Ok(self.usable(read)?.reach(resource, None)),
            Resource::Scope(name) => Ok(self.usable(read)?.reach(resource, read.scope(name)?.as_ref())),
        }
    }

    /// Which of these rules count a request for this resource towards their `max_per_day`.
    pub fn counting(
        &self,
        read: &Read<'_>,
        rules: &[Rule],
        requester: &Principal,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<BTreeSet<RuleName>, Error> {
        Ok(matching::counting(rules, requester, resource, &self.reach(read, resource)?, now))
    }

    fn usable(&self, read: &Read<'_>) -> Result<&Team, Error> {
        match self.usable.get() {
            Some(team) => Ok(team),
            None => {
                let team = read.connections_and_targets()?;
                Ok(self.usable.get_or_init(|| team))
            }
        }
    }

    /// Whether any rule names this person. If none does, no pending request has to be judged for them.
    pub fn names(&self, read: &Read<'_>, person: &Principal, now: Timestamp) -> Result<bool, Error> {
        let names = |rule: &Rule| {
            let named = rule.approvers.iter().chain(&rule.escalate_to).cloned().collect();
            Requirement::one_of(named).is_met_by(person, RoleBasis::Effective, now)
        };
        Ok(self.has_rules(read)? && read.rules()?.iter().any(names))
    }

    /// As `judge`. Where the terms are too long, it finds a length that is not.
    pub fn judge_and_fit(
        &self,
        read: &Read<'_>,
        request: &Request,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Judged, Error> {
        let mut judged = self.judge(read, request, terms, now)?;
        if judged.judgement.forbids_length(terms) {
            let fits = |rules: &[Rule], asked: Proposal<'_>, granted: Option<Proposal<'_>>| {
                longest::longest_allowed(rules, asked, granted, request.emergency)
            };
            judged.judgement.fits = self.with_cases(read, request, (terms, &judged.requester), now, fits)?;
        }
        Ok(judged)
    }

    /// Which rules match the terms asked, and these. Its requester may be no member any more: an emergency of theirs
    /// still owes its review.
    pub fn judge(&self, read: &Read<'_>, request: &Request, terms: &Terms, now: Timestamp) -> Result<Judged, Error> {
        let requester = self.principal(read, &request.requester)?;
        let requester = requester.unwrap_or_else(|| Rc::new(Principal::gone(request.requester.clone())));
        let judgement = self.with_cases(read, request, (terms, &requester), now, |rules, asked, granted| {
            judge::judge(rules, asked, granted, request.emergency)
        })?;

        let mut named: BTreeSet<Assignee> =
            judgement.requirements().into_iter().flat_map(|requirement: Requirement| requirement.approvers).collect();
        let voters = request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve);
        named.extend(voters.map(|decision| Assignee::Member(decision.by.clone())));
        if request.emergency {
            // A reviewer is a base admin or meets its demands.
            named.insert(Assignee::Role(Role::Admin));
        }
        let people = self.people_named(read, &named)?;
        Ok(Judged { judgement, requester, people })
    }

    /// Loads what judging takes: the rules, the terms asked, and these where they differ.
    fn with_cases<T>(
        &self,
        read: &Read<'_>,
        request: &Request,
        (terms, requester): (&Terms, &Principal),
        now: Timestamp,
        judge: impl FnOnce(&[Rule], Proposal<'_>, Option<Proposal<'_>>) -> T,
    ) -> Result<T, Error> {
        let asked = self.reach(read, &request.details.asked.resource)?;
        let granted = match *terms == request.details.asked {
            true => None,
            false => Some(self.reach(read, &terms.resource)?),
        };
        let items = asked.iter().chain(granted.iter().flatten());
        let resources: Vec<Resource> = items.map(CatalogItem::resource).collect();
        let rules = if self.has_rules(read)? { read.rules_about(&resources)? } else { Vec::new() };
        let held = held(read, request, terms, &rules, now)?;
        let case = |terms, reach| Proposal { requester, terms, reach, held: &held, now };
        let granted = granted.as_ref().map(|reach| case(terms, reach));
        Ok(judge(&rules, case(&request.details.asked, &asked), granted))
    }
}

/// The requester's other grants, as far as any of these rules counts their lengths together with what is asked.
fn held(
    read: &Read<'_>,
    request: &Request,
    terms: &Terms,
    rules: &[Rule],
    now: Timestamp,
) -> Result<OtherGrants, Error> {
    let mut held = OtherGrants::default();
    for grant in grants_counted(read, request, terms, rules, now)? {
        if let Resource::Scope(name) = &grant.terms.resource
            && !held.scopes.contains_key(name)
        {
            held.scopes.extend(read.scope(name)?.map(|scope| (name.clone(), scope)));
        }
        held.grants.extend(counted(grant));
    }
    Ok(held)
}

/// The requester's other grants, as far as any of these rules might count their lengths.
pub fn grants_counted(
    read: &Read<'_>,
    request: &Request,
    terms: &Terms,
    rules: &[Rule],
    now: Timestamp,
) -> Result<Vec<Grant>, Error> {
    let counting = || rules.iter().filter(|rule| rule.counts_length());
    if counting().next().is_none() {
        return Ok(Vec::new());
    }
    let cooldown = counting().filter_map(|rule| rule.cooldown).map(|length| length.seconds()).max().unwrap_or(0);
    let starts_at = terms.starts_at(now).min(request.details.asked.starts_at(now));
    let mut grants = read.grants_near(&request.requester, request.requester_login.as_ref(), starts_at, cooldown)?;
    grants.retain(|grant| grant.request != request.id);
    Ok(grants)
}

/// A grant as it counts towards a length limit. None: it was revoked before it began.
pub fn counted(grant: Grant) -> Option<OtherGrant> {
    let ends_at = grant.ended.as_ref().map(|ended| ended.at).or(grant.ends_at);
    let Grant { request, starts_at, terms, .. } = grant;
    let began = ends_at.is_none_or(|end| end > starts_at);
    began.then_some(OtherGrant { request, resource: terms.resource, starts_at, ends_at })
}
