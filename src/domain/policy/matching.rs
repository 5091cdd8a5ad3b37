//! Whether a rule matches what a grant would open, and why.

use std::collections::BTreeSet;

use super::default_demand::replaces_default;
use super::length::CountedLength;
use super::opened::{Opened, OpenedItem, Proposal};
use super::other_grants::OtherGrants;
use super::rule::{Match, Rule};
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::duration::Length;
use crate::domain::member::Assignee;
use crate::domain::name::RuleName;
use crate::domain::principal::Principal;
use crate::domain::resource::Resource;
use crate::domain::terms::{End, Terms};
use crate::domain::time::Timestamp;

/// How a rule matches what a grant would open.
pub(super) struct RuleMatch {
    /// The things that match, by their places in `Opened::things`.
    pub(super) items: Vec<usize>,
    pub(super) because: String,
    /// The longest time counted for any of them.
    pub(super) counted: CountedLength,
}

impl Opened<'_> {
    /// The things that a rule's `resources` names, by their places. All of them if it names none.
    fn named(&self, rule: &Rule) -> Vec<usize> {
        let patterns = &rule.matches.resources;
        if patterns.is_empty() {
            return (0..self.items.len()).collect();
        }
        let mut places = BTreeSet::new();
        for pattern in patterns {
            let beginning = pattern.beginning();
            let from = self.items.partition_point(|item| item.text < beginning);
            let near = self.items[from..].iter().zip(from..).take_while(|(it, _)| it.text.starts_with(&beginning));
            places.extend(near.filter(|(it, _)| pattern.matches(&it.resource)).map(|(_, place)| place));
        }
        places.into_iter().collect()
    }

    /// How the rule matches, if it does.
    pub(super) fn hit(&self, rule: &Rule) -> Option<RuleMatch> {
        let matches = &rule.matches;
        let permanent = self.case.terms.end.is_permanent();
        if matches.permanent.is_some_and(|asked| asked != permanent) {
            return None;
        }
        let requester = self.case.requester;
        let by = if matches.requesters.is_empty() { None } else { Some(matches.matching_requester(requester)?) };

        let cooldown = rule.cooldown.map_or(0, Length::seconds);
        let counts_length = rule.counts_length();
        let mut longest = CountedLength { seconds: Some(0), with: Vec::new() };
        let mut is_long_enough = |item: Option<&CatalogItem>| {
            if !counts_length {
                return true;
            }
            let counted = self.counted(item, cooldown);
            let enough = matches.longer_than.is_none_or(|least| counted.is_longer_than(least));
            if enough && longest.seconds.is_some() && counted.seconds.is_none_or(|it| Some(it) > longest.seconds) {
                longest = counted;
            }
            enough
        };
        let is_inside = |environment: Option<Environment>| {
            matches.environments.is_empty() || environment.is_some_and(|it| matches.environments.contains(&it))
        };
        // A scope is in the environments of everything that it covers.
        let scope = self.scope.as_ref().filter(|scope| matches.resources.iter().any(|pattern| pattern.matches(scope)));
        let scope = scope.filter(|_| self.items.iter().any(|it| is_inside(it.environment)) && is_long_enough(None));
        let mut items = self.named(rule);
        items.retain(|&place| {
            let OpenedItem { environment, item, .. } = &self.items[place];
            is_inside(*environment) && is_long_enough(Some(item))
        });
        if scope.is_none() && items.is_empty() {
            return None;
        }

        let mut because: Vec<String> = Vec::new();
        because.extend(matches.longer_than.map(|least| format!("it is for longer than {least}")));
        because.extend(matches.permanent.map(|it| if it { "it is permanent" } else { "it is time-bound" }.to_owned()));
        because.extend(by.map(|by| match by {
            Assignee::Member(name) => format!("{name} asks"),
            Assignee::Group(_) | Assignee::Role(_) => format!("{} is in {by}", requester.name),
        }));
        if !(matches.resources.is_empty() && matches.environments.is_empty()) {
            because.push(self.touched(scope, &items, !matches.environments.is_empty()));
        }
        if because.is_empty() {
            because.push("it matches every request".to_owned());
        }
        Some(RuleMatch { items, because: because.join("; "), counted: longest })
    }

    /// Whether the rule counts a request for this: by resource, environment and requester. The length makes no difference, or
    /// nobody could count the short requests that make up a long one.
    pub(super) fn is_counted_by(&self, rule: &Rule) -> bool {
        let matches = Match { longer_than: None, permanent: None, ..rule.matches.clone() };
        self.hit(&Rule { max_duration: None, matches, ..rule.clone() }).is_some()
    }

    /// `it is connection:prod-aws, in production`, or what it reaches.
    fn touched(&self, scope: Option<&Resource>, places: &[usize], with_environment: bool) -> String {
        let whole = &self.case.terms.resource;
        let items = || places.iter().map(|&place| &self.items[place]);
        let itself = items().find(|it| it.resource == *whole);
        let first = if scope.is_some() { itself } else { itself.or_else(|| items().next()) };
        let environment = match first {
            Some(item) => item.environment,
            None => self.items.iter().find_map(|it| it.environment),
        };
        let place = match environment.filter(|_| with_environment) {
            Some(Environment::Production) => ", in production",
            Some(Environment::NonProduction) => ", not in production",
            None => "",
        };
        match first {
            Some(item) if item.resource != *whole => format!("it reaches {}{place}", item.resource),
            Some(_) | None => format!("it is {whole}{place}"),
        }
    }

    /// Whether the rule reaches as far as an emergency would: the resource itself, and every environment that it is in. A
    /// rule that names a scope does not reach it while it covers nothing: nobody knows what it covers tomorrow.
    pub(super) fn is_within_reach(&self, rule: &Rule, hit: &RuleMatch) -> bool {
        let environments = &rule.matches.environments;
        let inside = |it: &OpenedItem<'_>| it.environment.is_some_and(|it| environments.contains(&it));
        let names = |resource: &Resource| rule.matches.resources.iter().any(|pattern| pattern.matches(resource));
        let itself = match &self.scope {
            Some(scope) => names(scope),
            None => hit.items.iter().any(|&place| {
                let it = &self.items[place];
                it.resource == self.case.terms.resource && replaces_default(rule, it.item)
            }),
        };
        (environments.is_empty() || self.items.iter().all(inside)) && (itself || self.is_whole(rule, hit))
    }

    /// Whether the rule matches everything that a grant would open: what it approves by itself goes no further.
    pub(super) fn is_whole(&self, rule: &Rule, hit: &RuleMatch) -> bool {
        let matched: BTreeSet<usize> = hit.items.iter().copied().collect();
        self.items
            .iter()
            .enumerate()
            .all(|(place, it)| matched.contains(&place) && replaces_default(rule, it.item) || it.follows_connections)
    }
}

/// Which of these rules count a request for this resource towards their `max_per_day`. `reach`: the resource, and after it
/// everything else that a grant of it lets its holder use.
pub fn counting(
    rules: &[Rule],
    requester: &Principal,
    resource: &Resource,
    reach: &[CatalogItem],
    now: Timestamp,
) -> BTreeSet<RuleName> {
    let (held, end) = (OtherGrants::default(), End::Never);
    let terms = Terms { resource: resource.clone(), end, start: None };
    let opened = Opened::by(Proposal { requester, terms: &terms, reach, held: &held, now });
    rules.iter().filter(|rule| opened.is_counted_by(rule)).map(|rule| rule.name.clone()).collect()
}
