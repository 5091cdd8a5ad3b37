//! What the author of a team file should know before it is applied: what its rules amount to that may not be meant, and
//! how they would have decided past requests.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Standing, may_decide, standing, waits_on};
use super::entitlement::Person;
use super::judge::{Case, Held, Judgement, judge};
use super::name::Name;
use super::request::{Request, Verdict};
use super::resource::Resource;
use super::role::Role;
use super::rule::Rule;
use super::team::{Assignee, Team};
use super::time::Timestamp;

impl Team {
    /// A member as the team file has them: without any grant.
    pub fn person(&self, name: &Name) -> Option<Person> {
        let groups = self.groups.iter().filter(|(_, group)| group.members.contains(name));
        Some(Person {
            name: name.clone(),
            member: self.members.get(name)?.clone(),
            since: 0,
            groups: groups.map(|(group, _)| group.clone()).collect(),
            scopes: BTreeMap::new(),
            grants: Vec::new(),
        })
    }
}

/// What the rules of a team amount to that may not be meant.
pub fn warnings(team: &Team) -> Vec<String> {
    let mut warnings: Vec<String> = team.rules.iter().filter_map(|rule| unmeetable(team, rule)).collect();
    warnings.extend(way_around(team));
    warnings
}

/// A demand that nobody but the requester could ever meet.
fn unmeetable(team: &Team, rule: &Rule) -> Option<String> {
    let patterns = &rule.matches.resources;
    let about_a_role = !patterns.is_empty() && patterns.iter().all(|pattern| pattern.is_of_roles());
    let able = team.approvers(&rule.approvers, about_a_role);
    let others = able.len().saturating_sub(1);
    if rule.approvers.is_empty() || others >= rule.approvals as usize {
        return None;
    }
    let asks = |name: &&Name| {
        let requesters = &rule.matches.requesters;
        requesters.is_empty() || team.person(name).is_some_and(|person| rule.matches.is_about(&person))
    };
    let stuck: Vec<&str> = able.into_iter().filter(asks).map(Name::as_str).collect();
    (!stuck.is_empty()).then(|| {
        format!(
            "rule {:?} takes {} approvals, and when {} asks only {others} can be given",
            rule.name.as_str(),
            rule.approvals,
            stuck.join(" or "),
        )
    })
}

/// Whoever is an admin uses what rules guard without asking. So an easier way to that role is a way around them.
fn way_around(team: &Team) -> Vec<String> {
    let admin = Resource::Role(Role::Admin);
    let is_about = |rule: &&Rule, resource: &Resource| {
        let Some(thing) = team.thing(resource) else { return false };
        !rule.emergency && rule.matches.names(&thing)
    };
    let bypassed: Vec<Resource> =
        team.resources().filter(|resource| !matches!(resource, Resource::Role(_) | Resource::Feature(_))).collect();
    // For the role: what holds whoever asks, and for however long; for the rest: whatever may hold.
    let of_admin: Vec<&Rule> = team.rules.iter().filter(|rule| is_about(rule, &admin)).collect();
    let always = || of_admin.iter().filter(|rule| rule.matches.is_unconditional());
    let guards = || team.rules.iter().filter(|rule| bypassed.iter().any(|resource| is_about(rule, resource)));

    let takes = always().map(|rule| if rule.approvers.is_empty() { 0 } else { rule.approvals }).max().unwrap_or(0);
    let takes = match takes {
        0 if of_admin.iter().any(|rule| rule.auto_approve) => 0,
        takes => takes.max(1),
    };
    let longest = always().filter_map(|rule| rule.max_duration).min();
    let mut warnings = Vec::new();
    if let Some(guard) =
        guards().filter(|rule| !rule.approvers.is_empty() && rule.approvals > takes).max_by_key(|it| it.approvals)
    {
        warnings.push(format!(
            "role:admin takes {takes} approval{}, and rule {:?} demands {} for what every admin may use; demand as many for role:admin",
            if takes == 1 { "" } else { "s" },
            guard.name.as_str(),
            guard.approvals
        ));
    }
    let limited = guards().filter(|rule| rule.max_duration.is_some()).min_by_key(|rule| rule.max_duration);
    if let Some((guard, most)) = limited.and_then(|rule| Some((rule, rule.max_duration?)))
        && longest.is_none_or(|longest| longest > most)
    {
        warnings.push(format!(
            "role:admin may last {}, and rule {:?} allows {most} for what every admin may use; give role:admin such a limit",
            longest.map_or_else(|| "for good".to_owned(), |longest| longest.to_string()),
            guard.name.as_str(),
        ));
    }
    warnings
}

/// How this team would have decided a past request, if that differs from what happened. `held`: the requester's other
/// grants of that time. Roles are those of the team file alone.
pub fn otherwise(team: &Team, request: &Request, held: &Held) -> Option<String> {
    let Some(requester) = team.person(&request.requester) else {
        return Some("refused: its requester is not in the file".to_owned());
    };
    let at = request.submitted_at;
    let terms = request.grant.as_ref().map_or_else(|| request.on_the_table(), |grant| &grant.terms);
    let asked = team.reach(&request.asked.resource, None);
    let granted = (*terms != request.asked).then(|| team.reach(&terms.resource, None));
    for (terms, reach) in [(&request.asked, &asked), (terms, granted.as_ref().unwrap_or(&asked))] {
        if reach.is_empty() {
            return Some(format!("refused: {} is not in the file", terms.resource));
        }
    }
    let case = |terms, reach| Case { requester: &requester, terms, reach, held, now: at };
    let granted = granted.as_ref().map(|reach| case(terms, reach));
    let judgement = judge(&team.rules, case(&request.asked, &asked), granted, request.emergency);
    if let Err(refusal) = judgement.allows(terms, &request.reason, request.ticket.as_ref()) {
        return Some(format!("refused: {}", refusal.message()));
    }
    if request.emergency {
        let allowed = judgement.allowed_in_emergency().is_some();
        return (!allowed).then(|| format!("refused: no rule allows emergency access to {}", request.asked.resource));
    }
    by_votes(team, request, &judgement, at)
}

fn by_votes(team: &Team, request: &Request, judgement: &Judgement, at: Timestamp) -> Option<String> {
    let terms = request.grant.as_ref().map_or_else(|| request.on_the_table(), |grant| &grant.terms);
    let requirements = judgement.requirements();
    let named: BTreeSet<Assignee> = requirements.iter().flat_map(|it| it.approvers.iter().cloned()).collect();
    let voters = request.decisions.iter().map(|decision| &decision.by);
    let names: BTreeSet<&Name> = team.approvers(&named, false).into_iter().chain(voters).collect();
    let people: Vec<Person> = names.into_iter().filter_map(|name| team.person(name)).collect();
    let people: Vec<&Person> = people.iter().collect();
    let stands = standing(request, terms, &requirements, &people, at);
    let met = stands.iter().all(Standing::is_met);
    let denied = request.decisions.iter().find(|decision| decision.verdict == Verdict::Deny);
    match (judgement.approved_by_rule(), &request.grant, denied) {
        (Some(rule), Some(grant), _) if grant.by_rule.is_none() => {
            Some(format!("approved at once, by rule {:?}", rule.as_str()))
        }
        (Some(_), Some(_), _) => None,
        (Some(rule), None, _) => Some(format!("approved at once, by rule {:?}", rule.as_str())),
        (None, Some(_), _) if met => None,
        (None, Some(_), _) => Some(format!("still waiting: {}", missing(&stands))),
        (None, None, Some(denial)) => {
            let denier = people.iter().find(|person| person.name == denial.by);
            let counts = denier.is_some_and(|person| may_decide(person, request, terms, &requirements, at).is_ok());
            (!counts).then(|| format!("not denied: {} would not be an approver", denial.by))
        }
        (None, None, None) => met.then(|| "approved, with the approvals it has".to_owned()),
    }
}

/// `2 more approvals by rule "…" (of alice, erin)`.
fn missing(stands: &[Standing]) -> String {
    let open = stands.iter().filter(|standing| !standing.is_met());
    let said = open.map(|standing| {
        let more = standing.need as usize - standing.have.len();
        let rule = standing.rule.as_ref().map_or_else(String::new, |rule| format!(" by rule {:?}", rule.as_str()));
        let of: Vec<String> = waits_on(std::slice::from_ref(standing)).iter().map(ToString::to_string).collect();
        let of = if of.is_empty() { "nobody".to_owned() } else { of.join(", ") };
        format!("{more} more approval{}{rule} (of {of})", if more == 1 { "" } else { "s" })
    });
    said.collect::<Vec<_>>().join("; ")
}
