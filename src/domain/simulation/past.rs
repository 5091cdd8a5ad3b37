//! Warnings for the author of a team file: where its rules do not do what they seem to do, and how they would have decided
//! past requests.

use std::collections::{BTreeMap, BTreeSet};

use super::{auditors, unused};
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::member::Assignee;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::default_demand::replaces_default;
use crate::domain::policy::judge::{Judgement, judge};
use crate::domain::policy::opened::Proposal;
use crate::domain::policy::other_grants::OtherGrants;
use crate::domain::policy::pattern::Pattern;
use crate::domain::policy::rule::Rule;
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::domain::request::authorize::may_decide;
use crate::domain::request::vote::{Tally, tally, waits_on};
use crate::domain::request::{Request, Verdict};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::text::{joined, quantity};
use crate::domain::time::Timestamp;

/// The most people that a warning names.
const MOST_PEOPLE: usize = 5;

/// What the rules of a team amount to that may not be meant.
pub fn warnings(team: &Team) -> Vec<String> {
    let view = Overview::of(team);
    let mut warnings = unused::warnings(team);
    warnings.extend(auditors::warnings(team));
    warnings.extend(team.rules.iter().zip(0..).filter_map(|(rule, at)| view.unmeetable(rule, at)));
    warnings.extend(view.easier_to_be_admin());
    warnings.extend(view.easier_in_parts());
    warnings.extend(team.rules.iter().zip(0..).filter_map(|(rule, at)| view.all_below_admin(rule, at)));
    warnings.extend(team.rules.iter().zip(0..).filter_map(|(rule, at)| view.gives_nothing(rule, at)));
    warnings
}

/// What each rule of a team names, and what a grant of each thing opens. It takes the place of judging every possible
/// request: of conditions on who asks and for how long, only whether a rule has any is looked at.
struct Overview<'t> {
    team: &'t Team,
    /// Connections and targets, then features, then roles. Of scopes only those that cover nothing.
    items: Vec<CatalogItem>,
    /// For each thing: itself, and after it what else a grant of it opens.
    opens: Vec<Vec<usize>>,
    /// For each thing: the rules that name it.
    named_by: Vec<BTreeSet<usize>>,
    /// For each thing: whether every request for it is denied, the most approvals that every request for it needs, and the
    /// rule that approves it by itself.
    denied: Vec<bool>,
    needs: Vec<u32>,
    approved_by: Vec<Option<usize>>,
    /// For each rule: whether only admins can meet its demand, for other things and for roles.
    only_admins: Vec<[bool; 2]>,
}

/// How many approvals something takes at least, and by which rule if none.
struct Price<'t> {
    approvals: u32,
    by: Option<(&'t Rule, &'static str)>,
}

impl<'t> Overview<'t> {
    fn of(team: &'t Team) -> Overview<'t> {
        let covers_nothing = |resource: &Resource| team.reach(resource, None).len() == 1;
        let resources = team.resources().filter(|it| !matches!(it, Resource::Scope(_)) || covers_nothing(it));
        let items: Vec<CatalogItem> = resources.filter_map(|resource| team.item(&resource)).collect();
        let mut targets_of: BTreeMap<&Name, Vec<usize>> = BTreeMap::new();
        for (item, at) in items.iter().zip(0..) {
            if let CatalogItem::Target { connections, .. } = item {
                connections.keys().for_each(|name| targets_of.entry(name).or_default().push(at));
            }
        }
        let opens = items.iter().zip(0..).map(|(item, at)| {
            let targets = match item {
                CatalogItem::Connection { name, .. } => targets_of.get(name).cloned().unwrap_or_default(),
                CatalogItem::Target { .. }
                | CatalogItem::Feature { .. }
                | CatalogItem::Scope { .. }
                | CatalogItem::Role(_) => Vec::new(),
            };
            std::iter::once(at).chain(targets).collect()
        });
        let opens: Vec<Vec<usize>> = opens.collect();
        let naming = |item: &CatalogItem| {
            let naming = team.rules.iter().zip(0..).filter(|(rule, _)| rule.matches.names(item));
            naming.map(|(_, at)| at).collect()
        };
        let named_by: Vec<BTreeSet<usize>> = items.iter().map(naming).collect();
        let always = |at: usize| {
            let naming = named_by[at].iter().map(|&rule| &team.rules[rule]);
            naming.filter(|rule| rule.matches.is_unconditional())
        };
        let own_denied: Vec<bool> = (0..items.len()).map(|at| always(at).any(|rule| rule.deny.is_some())).collect();
        let most = |at: usize| always(at).filter(|rule| demands(rule)).map(|rule| rule.approvals).max().unwrap_or(0);
        let own_needs: Vec<u32> = (0..items.len()).map(most).collect();
        let denied = opens.iter().map(|opened| opened.iter().any(|&it| own_denied[it])).collect();
        let needs = opens.iter().map(|opened| opened.iter().map(|&it| own_needs[it]).max().unwrap_or(0)).collect();
        let only_admins = team.rules.iter().map(|rule| {
            [false, true].map(|about_a_role| {
                let able = team.approvers(&rule.approvers, about_a_role);
                demands(rule) && able.into_iter().all(|name| role(team, name) >= Role::Admin)
            })
        });
        let only_admins = only_admins.collect();
        let mut view = Overview { team, items, opens, named_by, denied, needs, approved_by: Vec::new(), only_admins };
        let approves = |at: usize| view.named_by[at].iter().copied().find(|&rule| view.is_approved_by(at, rule));
        view.approved_by = (0..view.items.len()).map(approves).collect();
        view
    }

    fn naming(&self, at: usize) -> impl Iterator<Item = &'t Rule> {
        self.named_by[at].iter().map(|&rule| &self.team.rules[rule])
    }

    fn named(&self, rule: usize) -> impl Iterator<Item = usize> {
        (0..self.items.len()).filter(move |&at| self.named_by[at].contains(&rule))
    }

    fn place(&self, resource: &Resource) -> Option<usize> {
        self.items.iter().position(|item| item.resource() == *resource)
    }

    fn is_used(&self, at: usize) -> bool {
        matches!(self.items[at], CatalogItem::Connection { .. } | CatalogItem::Target { .. })
    }

    fn is_approved_by(&self, at: usize, rule: usize) -> bool {
        let approves = self.team.rules[rule].auto_approve && !self.denied[at] && self.needs[at] == 0;
        // A target that no other connection has opens with its connection.
        let follows = |opened: usize| match &self.items[opened] {
            CatalogItem::Target { connections, .. } => opened != at && connections.len() == 1,
            CatalogItem::Connection { .. }
            | CatalogItem::Feature { .. }
            | CatalogItem::Scope { .. }
            | CatalogItem::Role(_) => false,
        };
        let names = |opened: usize| {
            self.named_by[opened].contains(&rule) && replaces_default(&self.team.rules[rule], &self.items[opened])
        };
        approves && self.opens[at].iter().all(|&opened| names(opened) || follows(opened))
    }

    /// The rule that gives this in an emergency, if there is one.
    fn emergency_by(&self, at: usize) -> Option<&'t Rule> {
        let reaches = |rule: &Rule| {
            rule.emergency
                && replaces_default(rule, &self.items[at])
                && self.opens[at].iter().all(|&opened| self.is_inside(rule, opened))
        };
        self.naming(at).find(|rule| reaches(rule) && !self.denied[at])
    }

    /// Whether this is in the environments that the rule is about.
    fn is_inside(&self, rule: &Rule, at: usize) -> bool {
        let environments = &rule.matches.environments;
        environments.is_empty() || self.items[at].environment().is_some_and(|it| environments.contains(&it))
    }

    /// The fewest approvals for which anybody is granted this.
    fn price(&self, at: usize) -> Price<'t> {
        if let Some(rule) = self.emergency_by(at) {
            return Price { approvals: 0, by: Some((rule, "in an emergency ")) };
        }
        if let Some(rule) = self.approved_by[at] {
            return Price { approvals: 0, by: Some((&self.team.rules[rule], "")) };
        }
        // Where no rule demands approvers, or not for all of it, the default demand is there.
        Price { approvals: self.needs[at].max(1), by: None }
    }

    /// A demand that nobody but the requester could ever meet.
    fn unmeetable(&self, rule: &Rule, at: usize) -> Option<String> {
        let all_denied = self.named(at).next().is_some() && self.named(at).all(|item| self.denied[item]);
        if !demands(rule) || all_denied {
            return None;
        }
        let of_roles = self.named(at).any(|item| matches!(self.items[item], CatalogItem::Role(_)));
        let of_others = rule.matches.resources.is_empty()
            || !of_roles
            || self.named(at).any(|item| !matches!(self.items[item], CatalogItem::Role(_)));
        let of_others = of_others.then(|| self.stuck(rule, false)).flatten();
        of_others.or_else(|| of_roles.then(|| self.stuck(rule, true)).flatten())
    }

    fn stuck(&self, rule: &Rule, about_a_role: bool) -> Option<String> {
        let able = self.team.approvers(&rule.approvers, about_a_role);
        let others = able.len().saturating_sub(1);
        if others >= rule.approvals as usize {
            return None;
        }
        let asks = |name: &&Name| {
            let requesters = &rule.matches.requesters;
            // An admin has all roles that can be asked for.
            let has_it = about_a_role && role(self.team, name) >= Role::Admin;
            !has_it
                && (requesters.is_empty()
                    || self.team.principal(name).is_some_and(|principal| rule.matches.is_about(&principal)))
        };
        let stuck: Vec<String> = able.into_iter().filter(asks).map(ToString::to_string).collect();
        let of_a_role = if about_a_role { " for a role" } else { "" };
        (!stuck.is_empty()).then(|| {
            format!(
                "rule {:?} takes {}, and when {} asks{of_a_role} only {others} can be given",
                rule.name.as_str(),
                quantity(rule.approvals, "approval", "approvals"),
                few(&stuck, " or "),
            )
        })
    }

    /// An admin uses what rules guard without asking. So an easier way to that role is a way around them.
    fn easier_to_be_admin(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(admin) = self.place(&Resource::Role(Role::Admin)).filter(|&admin| !self.denied[admin]) else {
            return warnings;
        };
        let guards: BTreeSet<usize> =
            (0..self.items.len()).filter(|&at| self.is_used(at)).flat_map(|at| &self.named_by[at]).copied().collect();
        let guards = || guards.iter().map(|&at| &self.team.rules[at]);
        let Price { approvals: takes, by } = self.price(admin);
        let harder = guards().filter(|rule| demands(rule) && rule.approvals > takes).max_by_key(|it| it.approvals);
        if let Some(guard) = harder {
            let takes = quantity(takes, "approval", "approvals");
            let by = by.map_or_else(String::new, |(rule, how)| format!(" {how}(rule {:?})", rule.name.as_str()));
            warnings.push(format!(
                "role:admin takes {takes}{by}, and rule {:?} demands {} for what every admin may use; demand as many for \
                 role:admin (approvals = {})",
                guard.name.as_str(),
                guard.approvals,
                guard.approvals
            ));
        }
        let always = || self.naming(admin).filter(|rule| !rule.emergency && rule.matches.is_unconditional());
        if let Some(guard) = guards().find(|rule| rule.signed)
            && !always().any(|rule| rule.signed)
        {
            warnings.push(format!(
                "role:admin takes no signed approval, and rule {:?} demands one for what every admin may use; demand it for \
                 role:admin (signed = true)",
                guard.name.as_str()
            ));
        }
        let longest = always().filter_map(|rule| rule.max_duration).min();
        let limited = guards().filter(|rule| !rule.emergency && rule.max_duration.is_some());
        let limited = limited.min_by_key(|rule| rule.max_duration);
        if let Some((guard, most)) = limited.and_then(|rule| Some((rule, rule.max_duration?)))
            && longest.is_none_or(|longest| longest > most)
        {
            let lasts = match longest {
                Some(longest) => longest.to_string(),
                None if always().any(|rule| !rule.allow_permanent) => "any length".to_owned(),
                None => "permanently".to_owned(),
            };
            warnings.push(format!(
                "role:admin may last {lasts}, and rule {:?} allows {most} for what every admin may use; give role:admin such a limit \
                 (max_duration = \"{most}\")",
                guard.name.as_str(),
            ));
        }
        warnings
    }

    /// What takes several approvals is given in an emergency without any; or parts of what takes approvals are approved at
    /// once. One warning for each two rules.
    fn easier_in_parts(&self) -> Vec<String> {
        let mut pairs: BTreeSet<(&RuleName, &RuleName)> = BTreeSet::new();
        let mut warnings = Vec::new();
        let mut warn = |easier: &'t Rule, guard: &'t Rule, what: String| {
            if pairs.insert((&easier.name, &guard.name)) {
                warnings.push(format!(
                    "rule {:?} {what}, and rule {:?} demands {} for it",
                    easier.name.as_str(),
                    guard.name.as_str(),
                    if guard.approvals == 1 {
                        "an approval".to_owned()
                    } else {
                        format!("{} approvals", guard.approvals)
                    }
                ));
            }
        };
        for at in (0..self.items.len()).filter(|&at| self.is_used(at)) {
            let resource = self.items[at].resource();
            let emergency = self.emergency_by(at);
            let parts = self.opens[at][1..].iter();
            let parts: Vec<(usize, usize)> = parts.filter_map(|&part| Some((part, self.approved_by[part]?))).collect();
            if emergency.is_none() && parts.is_empty() {
                continue;
            }
            for guard in self.naming(at).filter(|rule| demands(rule)) {
                if let Some(rule) = emergency.filter(|_| guard.approvals > 1) {
                    warn(rule, guard, format!("gives {resource} in an emergency without an approval"));
                }
                for &(part, rule) in &parts {
                    let part = self.items[part].resource();
                    warn(
                        &self.team.rules[rule],
                        guard,
                        format!("approves {part} at once, which is a part of {resource}"),
                    );
                }
            }
        }
        for name in self.team.scopes.keys() {
            let scope = Resource::Scope(name.clone());
            let names = |rule: &&Rule| rule.matches.resources.iter().any(|pattern| pattern.matches(&scope));
            let guards: Vec<&Rule> = self.team.rules.iter().filter(|rule| demands(rule)).filter(names).collect();
            let mut emergencies = self.team.rules.iter().filter(|rule| rule.emergency).filter(names).peekable();
            if guards.is_empty() && emergencies.peek().is_none() {
                continue;
            }
            let covered: BTreeSet<Resource> =
                self.team.reach(&scope, None).iter().skip(1).map(CatalogItem::resource).collect();
            let covered = (0..self.items.len()).filter(|&at| covered.contains(&self.items[at].resource()));
            let covered: Vec<usize> = covered.collect();
            let emergency =
                emergencies.find(|rule| covered.iter().all(|&at| !self.denied[at] && self.is_inside(rule, at)));
            for at in covered {
                let part = self.items[at].resource();
                if let Some(rule) = emergency {
                    self.naming(at).filter(|guard| demands(guard) && guard.approvals > 1).for_each(|guard| {
                        warn(rule, guard, format!("gives {part} in an emergency without an approval, by {scope}"));
                    });
                }
                let Some(rule) = self.approved_by[at].map(|rule| &self.team.rules[rule]) else { continue };
                guards.iter().for_each(|guard| {
                    warn(rule, guard, format!("approves {part} at once, which is a part of {scope}"));
                });
            }
        }
        warnings
    }

    /// A demand for production, or in the place of the default one for a role, that only people below admin can meet.
    fn all_below_admin(&self, rule: &Rule, at: usize) -> Option<String> {
        if !demands(rule) {
            return None;
        }
        let matters = |&item: &usize| match &self.items[item] {
            CatalogItem::Role(_) => replaces_default(rule, &self.items[item]),
            other => other.environment() == Some(Environment::Production),
        };
        let about_a_role = |item: usize| matches!(self.items[item], CatalogItem::Role(_));
        let able = [false, true].map(|about_a_role| self.team.approvers(&rule.approvers, about_a_role));
        let below = able
            .clone()
            .map(|able| !able.is_empty() && able.into_iter().all(|name| role(self.team, name) < Role::Admin));
        let item = self.named(at).filter(matters).find(|&item| {
            // Another demand on the same takes an admin.
            let another = || {
                let opened = self.opens[item].iter().flat_map(|&opened| &self.named_by[opened]);
                let admins = |rule: &usize| self.only_admins[*rule][usize::from(about_a_role(item))];
                opened.copied().filter(admins).any(|other| self.team.rules[other].matches.is_unconditional())
            };
            below[usize::from(about_a_role(item))] && !self.denied[item] && !another()
        })?;
        let able = able[usize::from(about_a_role(item))].iter();
        let people: Vec<String> = able.map(|name| format!("{name} ({})", role(self.team, name))).collect();
        let production = if about_a_role(item) { "" } else { " (production)" };
        Some(format!(
            "rule {:?}: nobody who can meet its demand for {}{production} is an admin: {}",
            rule.name.as_str(),
            self.items[item].resource(),
            few(&people, ", ")
        ))
    }

    /// A rule that is there to approve, and approves nothing.
    fn gives_nothing(&self, rule: &Rule, at: usize) -> Option<String> {
        if rule.emergency {
            return self.allows_no_emergency(rule);
        }
        if !rule.auto_approve || self.named(at).any(|item| self.is_approved_by(item, at)) {
            return None;
        }
        let patterns = &rule.matches.resources;
        let why = if !patterns.is_empty() && patterns.iter().all(Pattern::is_of_scopes) {
            "its resources name only scopes, and to name a scope approves nothing of what it covers; name that too"
        } else if self.named(at).next().is_none() {
            "it names nothing that is in the file"
        } else {
            "other rules deny all that it names or demand approvers for it, or it names only a part"
        };
        Some(format!("rule {:?} approves nothing: {why}", rule.name.as_str()))
    }

    /// A rule for emergencies that names only scopes, and all of those cover nothing.
    fn allows_no_emergency(&self, rule: &Rule) -> Option<String> {
        let patterns = &rule.matches.resources;
        if patterns.is_empty() || !patterns.iter().all(Pattern::is_of_scopes) {
            return None;
        }
        let mut named = self.team.scopes.keys().map(|name| Resource::Scope(name.clone()));
        let covers = |scope: &Resource| self.team.reach(scope, None).len() > 1;
        if named.any(|scope| patterns.iter().any(|pattern| pattern.matches(&scope)) && covers(&scope)) {
            return None;
        }
        let name = rule.name.as_str();
        Some(format!("rule {name:?} allows no emergency: it names only scopes, and none of them covers anything"))
    }
}

/// Whether a rule demands approvals. In an emergency none are needed, so one that is for emergencies demands none.
fn demands(rule: &Rule) -> bool {
    !rule.emergency && !rule.approvers.is_empty()
}

fn role(team: &Team, name: &Name) -> Role {
    team.members.get(name).map_or(Role::Viewer, |member| member.role)
}

/// At most five, and how many more there are.
fn few(people: &[String], separator: &str) -> String {
    let named = people.iter().take(MOST_PEOPLE).cloned().collect::<Vec<_>>().join(separator);
    match people.len().saturating_sub(MOST_PEOPLE) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// How this team would have decided a past request, if that differs from what happened. `held`: the requester's other
/// grants of that time. Roles are those of the team file alone.
pub fn changed_outcome(team: &Team, request: &Request, held: &OtherGrants) -> Option<String> {
    let Some(requester) = team.principal(&request.requester) else {
        return Some("refused: its requester is not in the file".to_owned());
    };
    // What was granted lasted from then on.
    let at = request.grant.as_ref().map_or(request.submitted_at, |grant| grant.starts_at);
    let terms = request.grant.as_ref().map_or_else(|| request.proposed_terms(), |grant| &grant.terms);
    let asked = team.reach(&request.details.asked.resource, None);
    let granted = (*terms != request.details.asked).then(|| team.reach(&terms.resource, None));
    for (terms, reach) in [(&request.details.asked, &asked), (terms, granted.as_ref().unwrap_or(&asked))] {
        if reach.is_empty() {
            return Some(format!("refused: {} is not in the file", terms.resource));
        }
    }
    let case = |terms, reach| Proposal { requester: &requester, terms, reach, held, now: at };
    let granted = granted.as_ref().map(|reach| case(terms, reach));
    let judgement = judge(&team.rules, case(&request.details.asked, &asked), granted, request.emergency);
    let violations = judgement.violations(terms, &request.details.reason, request.details.ticket.as_ref());
    if let Err(refusal) = Refusal::refuse_if_any(violations) {
        return Some(format!("refused: {}", refusal.message()));
    }
    if request.emergency {
        let allowed = judgement.allowed_in_emergency().is_some();
        return (!allowed)
            .then(|| format!("refused: no rule allows emergency access to {}", request.details.asked.resource));
    }
    by_votes(team, request, &judgement, at)
}

fn by_votes(team: &Team, request: &Request, judgement: &Judgement, at: Timestamp) -> Option<String> {
    let terms = request.grant.as_ref().map_or_else(|| request.proposed_terms(), |grant| &grant.terms);
    let requirements = judgement.requirements();
    let named: BTreeSet<Assignee> = requirements.iter().flat_map(|it| it.approvers.iter().cloned()).collect();
    let voters = request.decisions.iter().map(|decision| &decision.by);
    let names: BTreeSet<&Name> = team.approvers(&named, false).into_iter().chain(voters).collect();
    let people: Vec<Principal> = names.into_iter().filter_map(|name| team.principal(name)).collect();
    let people: Vec<&Principal> = people.iter().collect();
    let tallies = tally(request, terms, &requirements, &people, at);
    let met = tallies.iter().all(Tally::is_met);
    let denied = request.decisions.iter().find(|decision| decision.verdict == Verdict::Deny);
    match (judgement.approved_by_rule(), &request.grant, denied) {
        (Some(rule), Some(grant), _) if grant.by_rule.is_none() => {
            Some(format!("approved at once, by rule {:?}", rule.as_str()))
        }
        (Some(_), Some(_), _) => None,
        (Some(rule), None, _) => Some(format!("approved at once, by rule {:?}", rule.as_str())),
        (None, Some(_), _) if met => None,
        (None, Some(_), _) => Some(format!("still waiting: {}", missing(&tallies))),
        (None, None, Some(denial)) => {
            let denier = people.iter().find(|principal| principal.name == denial.by);
            let counts =
                denier.is_some_and(|principal| may_decide(principal, request, terms, &requirements, at).is_ok());
            (!counts).then(|| format!("not denied: {} would not be an approver", denial.by))
        }
        (None, None, None) => met.then(|| "approved, with the approvals it has".to_owned()),
    }
}

/// `2 more approvals by rule "…" (of alice, erin)`.
fn missing(tallies: &[Tally]) -> String {
    let open = tallies.iter().filter(|tally| !tally.is_met());
    let parts = open.map(|tally| {
        let more = tally.need as usize - tally.have.len();
        let rule = tally.rule.as_ref().map_or_else(String::new, |rule| format!(" by rule {:?}", rule.as_str()));
        let of = waits_on(std::slice::from_ref(tally));
        let of = if of.is_empty() { "nobody".to_owned() } else { joined(of) };
        format!("{}{rule} (of {of})", quantity(more, "more approval", "more approvals"))
    });
    parts.collect::<Vec<_>>().join("; ")
}
