//! Judges open requests and grants again by a team that is about to be applied.

use crate::domain::request::vote::{self, Tally};
use crate::domain::request::{Request, team_change};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::policy_context::{counted, grants_counted};
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::grant::Grant;
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::policy::judge::{Judgement, judge};
use crate::domain::policy::opened::Proposal;
use crate::domain::policy::other_grants::OtherGrants;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Refusal, TermsRefusal};
use crate::domain::resource::Resource;
use crate::domain::team::Team;
use crate::domain::terms::{RequestId, Terms};
use crate::domain::text::{cut, quantity};
use crate::domain::time::Timestamp;
use crate::store::{Error, Read};

/// The most gained resources that an event names.
const MOST_NAMED: usize = 10;
/// The most characters in which an event says why a grant ends.
const LONGEST_WHY: usize = 300;

pub struct Rejudge<'r> {
    read: &'r Read<'r>,
    old: &'r Team,
    new: &'r Team,
    /// Members whose names are gone after the change, or belong to somebody else.
    departed: &'r BTreeSet<&'r Name>,
    /// The grants of roles that are not ended on the record.
    role_grants: BTreeMap<&'r Name, Vec<&'r Grant>>,
    now: Timestamp,
    can_gain: bool,
    reach: BTreeMap<Resource, Rc<[CatalogItem]>>,
    gained: BTreeMap<Resource, Rc<[String]>>,
}

impl<'r> Rejudge<'r> {
    pub fn new(
        read: &'r Read<'r>,
        (old, new): (&'r Team, &'r Team),
        departed: &'r BTreeSet<&'r Name>,
        open: &'r [Request],
        now: Timestamp,
    ) -> Rejudge<'r> {
        let mut role_grants: BTreeMap<&Name, Vec<&Grant>> = BTreeMap::new();
        for grant in open.iter().filter_map(|request| request.grant.as_ref()) {
            if matches!(grant.terms.resource, Resource::Role(_)) && grant.ended.is_none() {
                role_grants.entry(&grant.member).or_default().push(grant);
            }
        }
        let can_gain = (&old.connections, &old.targets, &old.scopes) != (&new.connections, &new.targets, &new.scopes);
        let (reach, gained) = (BTreeMap::new(), BTreeMap::new());
        Rejudge { read, old, new, departed, role_grants, now, can_gain, reach, gained }
    }

    /// Whether anything could come to reach more.
    pub fn can_gain(&self) -> bool {
        self.can_gain
    }

    /// What a grant of this resource reaches in the new team and not in the old one, each in a few words.
    pub fn gained(&mut self, resource: &Resource) -> Rc<[String]> {
        if !self.can_gain {
            return Rc::default();
        }
        if let Some(known) = self.gained.get(resource) {
            return known.clone();
        }
        let before: BTreeMap<Resource, CatalogItem> =
            self.old.reach(resource, None).into_iter().map(|item| (item.resource(), item)).collect();
        let mut gained: Vec<String> = Vec::new();
        for item in self.reach(resource).iter() {
            let name = item.resource();
            let Some(was) = before.get(&name) else {
                gained.push(name.to_string());
                continue;
            };
            let production = Some(Environment::Production);
            if item.environment() == production && was.environment() != production {
                gained.push(format!("{name} (now in production)"));
            } else if let (CatalogItem::Target { connections, .. }, CatalogItem::Target { connections: were, .. }) =
                (item, was)
            {
                let joined: Vec<String> = connections
                    .keys()
                    .filter(|it| !were.contains_key(*it))
                    .map(|it| format!("connection:{it}"))
                    .collect();
                gained.extend((!joined.is_empty()).then(|| format!("{name} (now in {})", few(&joined, MOST_NAMED))));
            }
        }
        let gained: Rc<[String]> = gained.into();
        self.gained.insert(resource.clone(), gained.clone());
        gained
    }

    /// What judging a pending request again comes to: approvals of terms that now reach more are void. That it reaches more is
    /// recorded without any approval too, so that nobody approves what they saw before.
    pub fn pending(&mut self, request: &Request) -> Result<team_change::Reassessment, Error> {
        let mut found = team_change::Reassessment::default();
        if !self.can_gain {
            return Ok(found);
        }
        let mut recipients: BTreeSet<Name> = BTreeSet::new();
        found.gained = few(&self.gained(&request.proposed_terms().resource), MOST_NAMED);
        for decision in request.approvals() {
            let gained = self.gained(&request.decided_terms(decision).resource);
            if gained.is_empty() || found.voids.contains(&decision.by) {
                continue;
            }
            found.gained = few(&gained, MOST_NAMED);
            found.voids.push(decision.by.clone());
            let giver = self.principal(&decision.by, &BTreeSet::new())?;
            recipients.extend(giver.filter(|giver| giver.since < decision.seq).map(|giver| giver.name));
        }
        if !found.gained.is_empty() {
            let mut after = request.clone();
            after.void_approvals(&found.voids);
            recipients.extend(self.waits_on(&after)?);
        }
        found.notify = recipients.into_iter().collect();
        Ok(found)
    }

    /// Who may decide on a pending request by the new team.
    fn waits_on(&mut self, request: &Request) -> Result<Vec<Name>, Error> {
        let terms = request.proposed_terms();
        let none = BTreeSet::new();
        let Some(requester) = self.principal(&request.requester, &none)? else { return Ok(Vec::new()) };
        let judgement = self.judgement(request, terms, &requester, &OtherGrants::default(), self.now);
        let requirements = judgement.requirements();
        let named: BTreeSet<Assignee> = requirements.iter().flat_map(|it| it.approvers.iter().cloned()).collect();
        let new = self.new;
        let mut names: BTreeSet<&Name> = new.approvers(&named, false);
        names.extend(self.role_grants.keys().copied());
        names.extend(request.approvals().map(|decision| &decision.by));
        let people = self.people(names, &none)?;
        let people: Vec<&Principal> = people.iter().collect();
        Ok(vote::waits_on(&vote::tally(request, terms, &requirements, &people, self.now)))
    }

    /// Why the new team would not give this grant. None: it would. `ended`: the grants that end before this one does.
    ///
    /// It is judged for its start time. An approval counts if its approver could still give it today.
    pub fn why_not(
        &mut self,
        request: &Request,
        grant: &Grant,
        ended: &BTreeSet<RequestId>,
    ) -> Result<Option<String>, Error> {
        let terms = &grant.terms;
        let Some(requester) = self.principal(&request.requester, ended)? else { return Ok(None) };
        let held = self.held(request, grant, ended)?;
        let judgement = self.judgement(request, terms, &requester, &held, grant.starts_at);
        if let Err(refusal) = Refusal::refuse_if_any(judgement.violations(
            terms,
            &request.details.reason,
            request.details.ticket.as_ref(),
        )) {
            return Ok(Some(cut(&refusal.message(), LONGEST_WHY)));
        }
        if request.emergency {
            let refusal = Refusal::from(TermsRefusal::NoEmergency { resource: terms.resource.clone() });
            return Ok(judgement.allowed_in_emergency().is_none().then(|| refusal.message()));
        }
        if !grant.modified && judgement.approved_by_rule().is_some() {
            return Ok(None);
        }
        let requirements = judgement.requirements();
        let people = self.people(request.approvals().map(|decision| &decision.by), ended)?;
        let people: Vec<&Principal> = people.iter().collect();
        let tallies = vote::tally(request, terms, &requirements, &people, self.now);
        let unmet: Vec<String> = tallies.iter().filter(|tally| !tally.is_met()).map(unmet).collect();
        if unmet.is_empty() {
            return Ok(None);
        }
        let by_rule = if grant.by_rule.is_some() { "no rule approves it any more; " } else { "" };
        Ok(Some(cut(&format!("{by_rule}{}", unmet.join("; ")), LONGEST_WHY)))
    }

    fn judgement(
        &mut self,
        request: &Request,
        terms: &Terms,
        requester: &Principal,
        held: &OtherGrants,
        at: Timestamp,
    ) -> Judgement {
        let asked = self.reach(&request.details.asked.resource);
        let granted = (*terms != request.details.asked).then(|| self.reach(&terms.resource));
        let case = |terms, reach| Proposal { requester, terms, reach, held, now: at };
        let granted = granted.as_ref().map(|reach| case(terms, reach));
        judge(&self.new.rules, case(&request.details.asked, &asked), granted, request.emergency)
    }

    fn reach(&mut self, resource: &Resource) -> Rc<[CatalogItem]> {
        if let Some(known) = self.reach.get(resource) {
            return known.clone();
        }
        let reach: Rc<[CatalogItem]> = self.new.reach(resource, None).into();
        self.reach.insert(resource.clone(), reach.clone());
        reach
    }

    /// The requester's other grants, as far as their lengths count together with this one. Of two grants that have not
    /// both begun, the later request is the one that is too long: so a scheduled grant counts no later scheduled one, and
    /// an active grant counts only earlier requests.
    fn held(&self, request: &Request, grant: &Grant, ended: &BTreeSet<RequestId>) -> Result<OtherGrants, Error> {
        let begun = grant.is_live(self.now);
        let mut held = OtherGrants::default();
        for other in grants_counted(self.read, request, &grant.terms, &self.new.rules, grant.starts_at)? {
            let is_later = other.request > request.id;
            let waits = other.starts_at > self.now;
            let ends = ended.contains(&other.request);
            if is_later && (begun || waits) || waits && ends {
                continue;
            }
            if let Resource::Scope(name) = &other.terms.resource {
                held.scopes.extend(self.new.scopes.get(name).map(|scope| (name.clone(), scope.clone())));
            }
            let mut other = counted(other);
            if let Some(other) = other.as_mut().filter(|_| ends) {
                other.ends_at = Some(self.now);
            }
            held.grants.extend(other);
        }
        Ok(held)
    }

    fn people<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Name>,
        ended: &BTreeSet<RequestId>,
    ) -> Result<Vec<Principal>, Error> {
        let mut people = Vec::new();
        for name in names {
            people.extend(self.principal(name, ended)?);
        }
        Ok(people)
    }

    /// A member as the new team has them, with the grants of roles that do not end.
    fn principal(&self, name: &Name, ended: &BTreeSet<RequestId>) -> Result<Option<Principal>, Error> {
        let Some(principal) = self.new.principal(name) else { return Ok(None) };
        let same = self.old.members.contains_key(name) && !self.departed.contains(name);
        let since = if same { self.read.member(name)?.map(|(_, since)| since) } else { None };
        let grants = self.role_grants.get(name).filter(|_| same).into_iter().flatten();
        let grants = grants.filter(|grant| !ended.contains(&grant.request)).map(|grant| (*grant).clone()).collect();
        Ok(Some(Principal { since: since.unwrap_or(i64::MAX), grants, ..principal }))
    }
}

/// `rule "two" needs 2 approvals, and 1 of those given counts`.
fn unmet(tally: &Tally) -> String {
    let whose =
        tally.rule.as_ref().map_or_else(|| "the default demand".to_owned(), |rule| format!("rule {:?}", rule.as_str()));
    let counts = match tally.have.len() {
        0 => "none of those given counts".to_owned(),
        some => quantity(some, "of those given counts", "of those given count"),
    };
    format!("{whose} needs {}, and {counts}", quantity(tally.need, "approval", "approvals"))
}

/// The first `most` of these, and how many more there are.
pub fn few(all: &[String], most: usize) -> String {
    let mut named: Vec<String> = all.iter().take(most).cloned().collect();
    named.extend((all.len() > most).then(|| format!("and {} more", all.len() - most)));
    named.join(", ")
}
