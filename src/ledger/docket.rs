//! What it takes to judge requests: the rules, what a grant would reach, and the people who count. Each is loaded when
//! it is first needed, and once for a whole command.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::domain::decide;
use crate::domain::entitlement::{Person, Thing};
use crate::domain::name::Name;
use crate::domain::request::{Request, Terms, Verdict};
use crate::domain::resource::Resource;
use crate::domain::rule::{self, Judgement, Requirement, Rule};
use crate::domain::team::{Assignee, Team};
use crate::domain::time::Timestamp;
use crate::store::{Error, Read};

#[derive(Default)]
pub struct Docket {
    has_rules: OnceCell<bool>,
    people: RefCell<BTreeMap<Name, Option<Rc<Person>>>>,
    named: RefCell<BTreeMap<Assignee, Rc<BTreeSet<Name>>>>,
    usable: OnceCell<Team>,
}

/// A request with what decides on it, for certain terms.
pub struct Judged {
    pub judgement: Judgement,
    pub requester: Rc<Person>,
    /// When the grants that it goes on from began.
    pub since: Option<Timestamp>,
    people: Vec<Rc<Person>>,
}

impl Judged {
    /// All who gave an approval or might give one.
    pub fn people(&self) -> Vec<&Person> {
        self.people.iter().map(AsRef::as_ref).collect()
    }

    /// Where the request stands with each demand.
    pub fn standing(&self, request: &Request, terms: &Terms, now: Timestamp) -> Vec<decide::Standing> {
        decide::standing(request, terms, &self.judgement.requirements(), &self.people(), now)
    }
}

impl Docket {
    fn has_rules(&self, read: &Read<'_>) -> Result<bool, Error> {
        match self.has_rules.get() {
            Some(has) => Ok(*has),
            None => {
                let has = read.has_rules()?;
                Ok(*self.has_rules.get_or_init(|| has))
            }
        }
    }

    pub fn person(&self, read: &Read<'_>, name: &Name) -> Result<Option<Rc<Person>>, Error> {
        if let Some(known) = self.people.borrow().get(name) {
            return Ok(known.clone());
        }
        let person = read.person(name)?.map(Rc::new);
        self.people.borrow_mut().insert(name.clone(), person.clone());
        Ok(person)
    }

    /// Everybody who might be named so.
    fn named(&self, read: &Read<'_>, named: &Assignee) -> Result<Rc<BTreeSet<Name>>, Error> {
        if let Some(known) = self.named.borrow().get(named) {
            return Ok(known.clone());
        }
        let names = Rc::new(match named {
            Assignee::Member(name) => BTreeSet::from([name.clone()]),
            Assignee::Group(group) => read.group_members(group)?,
            Assignee::Role(least) => read.holders(*least)?.into_iter().collect(),
        });
        self.named.borrow_mut().insert(named.clone(), names.clone());
        Ok(names)
    }

    /// Those named so, as they are now.
    pub fn people_named(&self, read: &Read<'_>, named: &BTreeSet<Assignee>) -> Result<Vec<Rc<Person>>, Error> {
        let mut names: BTreeSet<Name> = BTreeSet::new();
        for named in named {
            names.extend(self.named(read, named)?.iter().cloned());
        }
        let mut people = Vec::new();
        for name in &names {
            people.extend(self.person(read, name)?);
        }
        Ok(people)
    }

    /// The resource, and after it all that a grant of it would let its holder use, as far as any rule asks.
    fn reach(&self, read: &Read<'_>, resource: &Resource) -> Result<Vec<Thing>, Error> {
        if !self.has_rules(read)? {
            return Ok(Vec::new());
        }
        match resource {
            Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => {
                Ok(read.thing(resource)?.into_iter().collect())
            }
            Resource::Connection(_) => Ok(self.usable(read)?.reach(resource)),
            Resource::Scope(name) => {
                let mut team = self.usable(read)?.clone();
                team.scopes.extend(read.scope(name)?.map(|scope| (name.clone(), scope)));
                Ok(team.reach(resource))
            }
        }
    }

    fn usable(&self, read: &Read<'_>) -> Result<&Team, Error> {
        match self.usable.get() {
            Some(team) => Ok(team),
            None => {
                let team = read.usable()?;
                Ok(self.usable.get_or_init(|| team))
            }
        }
    }

    /// Whether any rule could name somebody who is no admin.
    pub fn names_anybody(&self, read: &Read<'_>) -> Result<bool, Error> {
        let names = |rule: &Rule| !rule.approvers.is_empty() || !rule.escalate_to.is_empty();
        Ok(self.has_rules(read)? && read.rules()?.iter().any(names))
    }

    /// Which rules match the terms asked, and these. Its requester may be no member any more: an emergency of theirs
    /// still owes its review.
    pub fn judge(&self, read: &Read<'_>, request: &Request, terms: &Terms, now: Timestamp) -> Result<Judged, Error> {
        let requester = self.person(read, &request.requester)?;
        let requester = requester.unwrap_or_else(|| Rc::new(Person::gone(request.requester.clone())));
        let since = since(read, request)?;
        let mut reached: Vec<(Vec<Thing>, Option<i64>)> = Vec::new();
        for terms in std::iter::once(&request.asked).chain(Some(terms).filter(|terms| **terms != request.asked)) {
            reached.push((self.reach(read, &terms.resource)?, terms.length(since, now)));
        }
        let cases: Vec<rule::Case<'_>> = reached
            .iter()
            .map(|(reach, length)| rule::Case { requester: &requester, reach, length: *length })
            .collect();
        let reached: Vec<Resource> = reached.iter().flat_map(|(reach, _)| reach).map(Thing::resource).collect();
        let rules = if self.has_rules(read)? { read.rules_about(&reached)? } else { Vec::new() };
        let judgement = rule::judge(&rules, &cases, request.emergency);
        let mut named: BTreeSet<Assignee> =
            judgement.requirements().into_iter().flat_map(|requirement: Requirement| requirement.approvers).collect();
        let voters = request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve);
        named.extend(voters.map(|decision| Assignee::Member(decision.by.clone())));
        let people = self.people_named(read, &named)?;
        Ok(Judged { judgement, requester, since, people })
    }
}

/// When the grants began that this request goes on from, one after the other.
pub fn since(read: &Read<'_>, request: &Request) -> Result<Option<Timestamp>, Error> {
    let mut since = None;
    let mut before = request.extends;
    while let Some(id) = before {
        let Some(request) = read.request(id)? else { break };
        since = request.grant.as_ref().map(|grant| grant.starts_at).or(since);
        before = request.extends;
    }
    Ok(since)
}
