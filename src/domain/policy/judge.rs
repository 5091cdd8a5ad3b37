//! Judging a request: what a grant would open, which rules match that, and whose approval it takes.
//!
//! Everything that a grant would open needs its own approvers:
//!
//! 1. A grant opens its resource. A connection also opens its targets. A scope opens the connections and targets that it
//!    covers, or itself if it covers nothing. A feature or a role is one thing.
//! 2. Each rule with approvers that matches an opened thing makes one demand. A rule that names a scope adds a demand and
//!    replaces none.
//! 3. Opened things that no such rule matches are under the default demand, made once: an admin or the owner; for a
//!    feature, someone who also holds its role. A target whose connections are all opened too adds no default. Only a rule
//!    whose `resources` names a role takes the default of a role away.
//! 4. The demands of what was asked and of what would be granted add up, unless the granted terms are within those asked:
//!    they open nothing more, start no earlier and end no later. Then only the granted terms count.
//! 5. Deny rules, limits, tickets and signatures bind if they match what was asked or what would be granted.
//!
//! Nothing here decides; `decide` does, by what is said here.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::{Demands, Requirement, SignatureDemand};
use super::length::CountedLength;
use super::matching::RuleMatch;
use super::opened::{Opened, Proposal};
use super::rule::Rule;
use super::violation::{Breach, Violation};
use crate::domain::duration::Length;
use crate::domain::member::Assignee;
use crate::domain::name::RuleName;
use crate::domain::terms::Terms;
use crate::domain::text::{Text, Ticket};

/// A rule that matches, and why.
#[derive(Debug, Clone)]
pub struct MatchedRule {
    pub rule: Rule,
    pub because: String,
    counted: CountedLength,
}

/// The rules that match a request, and what they amount to.
#[derive(Debug, Clone)]
#[must_use]
pub struct Judgement {
    pub matched: Vec<MatchedRule>,
    demands: Demands,
    of_granted: Demands,
    signing: SignatureDemand,
    is_narrower: bool,
    approved_by: Option<RuleName>,
    emergency_by: Option<RuleName>,
    daily_limits: Vec<Rule>,
    daily_limits_of_granted: Vec<Rule>,
    /// Where the terms are too long: a length that is not. It takes time to find, so it is looked for only where it is shown.
    pub fits: Option<Length>,
}

/// Judges the terms asked, and those that would be granted where they differ.
pub fn judge<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    asked: Proposal<'_>,
    granted: Option<Proposal<'_>>,
    emergency: bool,
) -> Judgement {
    let rules: Vec<&Rule> = rules.into_iter().filter(|rule| rule.is_about(emergency)).collect();
    let hits = |opened: &Opened<'_>| -> Vec<(&Rule, RuleMatch)> {
        rules.iter().filter_map(|&rule| Some((rule, opened.hit(rule)?))).collect()
    };
    let asked = Opened::by(asked);
    let granted = granted.map(Opened::by);
    let of_asked = hits(&asked);
    let of_granted = granted.as_ref().map(&hits);

    let demands_asked = asked.demands(&of_asked);
    let asked_of_nobody = demands_asked.rules.is_empty();
    let is_narrower = granted.as_ref().is_some_and(|granted| granted.is_within(&asked));
    let (demands, demands_granted) = match (&granted, &of_granted) {
        (Some(granted), Some(of_granted)) => {
            let alone = granted.demands(of_granted);
            (if is_narrower { alone.clone() } else { demands_asked.and(&alone) }, alone)
        }
        (None, _) | (_, None) => (demands_asked.clone(), demands_asked),
    };
    // Without anybody's approval a grant is always of the terms asked.
    let gives = |gives: fn(&Opened<'_>, &Rule, &RuleMatch) -> bool| {
        of_asked.iter().find(|(rule, hit)| gives(&asked, rule, hit)).map(|(rule, _)| rule.name.clone())
    };
    let is_signed = |(rule, _): &(&Rule, RuleMatch)| rule.signed;
    let signing = match of_asked.iter().chain(of_granted.iter().flatten()).any(is_signed) {
        true => SignatureDemand::Needed,
        false => SignatureDemand::Unneeded,
    };
    let approved_by = match asked_of_nobody && signing == SignatureDemand::Unneeded {
        true => gives(|opened, rule, hit| rule.auto_approve && opened.is_whole(rule, hit)),
        false => None,
    };
    let emergency_by = gives(|opened, rule, hit| rule.emergency && opened.is_within_reach(rule, hit));

    // Where a rule matches the granted terms, those are what it limits.
    let mut found: BTreeMap<&RuleName, (String, CountedLength)> = BTreeMap::new();
    let own = granted.as_ref().unwrap_or(&asked).own_length();
    for (rule, hit) in of_asked {
        let counted = if granted.is_some() { own.clone() } else { hit.counted };
        found.insert(&rule.name, (hit.because, counted));
    }
    for (rule, hit) in of_granted.into_iter().flatten() {
        let because = found.remove(&rule.name).map_or(hit.because, |(because, _)| because);
        found.insert(&rule.name, (because, hit.counted));
    }
    let matched = rules.iter().filter_map(|rule| {
        let (because, counted) = found.remove(&rule.name)?;
        Some(MatchedRule { rule: (*rule).clone(), because, counted })
    });
    let matched = matched.collect();
    let (mut daily_limits, mut daily_limits_of_granted) = (Vec::new(), Vec::new());
    for rule in rules.iter().filter(|rule| rule.max_per_day.is_some()) {
        if asked.is_counted_by(rule) {
            daily_limits.push((*rule).clone());
        } else if granted.as_ref().is_some_and(|granted| granted.is_counted_by(rule)) {
            daily_limits_of_granted.push((*rule).clone());
        }
    }
    Judgement {
        matched,
        demands,
        of_granted: demands_granted,
        signing,
        is_narrower,
        approved_by,
        emergency_by,
        daily_limits,
        daily_limits_of_granted,
        fits: None,
    }
}

impl Judgement {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.matched.iter().map(|matched| &matched.rule)
    }

    /// Whether a rule forbids these terms for their length.
    pub fn forbids_length(&self, terms: &Terms) -> bool {
        self.matched.iter().any(|it| it.too_long().is_some() || terms.end.is_permanent() && !it.rule.allow_permanent)
    }

    /// Everything that these terms break of the rules. Empty: no rule forbids them.
    pub fn violations(&self, terms: &Terms, reason: &Text, ticket: Option<&Ticket>) -> Vec<Violation> {
        let mut violations: Vec<Violation> = Vec::new();
        let mut add = |rule: &Rule, breach: Breach| violations.push(Violation { rule: rule.name.clone(), breach });
        for rule in self.rules() {
            if let Some(message) = &rule.deny {
                add(rule, Breach::Denied { message: message.clone() });
            }
        }
        let fits = self.fits;
        for matched in &self.matched {
            if terms.end.is_permanent() && !matched.rule.allow_permanent {
                add(&matched.rule, Breach::Permanent { fits });
            }
            if let Some(most) = matched.too_long() {
                add(&matched.rule, Breach::TooLong { most, together: matched.counted.words(), fits });
            }
        }
        for rule in self.rules() {
            if let Some(pattern) = &rule.ticket
                && !ticket.is_some_and(|ticket| pattern.matches(ticket))
            {
                add(rule, Breach::NoTicket { pattern: pattern.clone() });
            }
            let has = reason.as_str().chars().count();
            if let Some(least) = rule.reason_min
                && has < least as usize
            {
                add(rule, Breach::ShortReason { least, has });
            }
        }
        violations
    }

    /// Whose approvals it takes, each demand on its own. Empty only when the catalogue knows nothing that it would open.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.demands.requirements(self.signing)
    }

    /// The demands of the granted terms alone. Only somebody who meets one of them can propose these terms.
    pub fn requirements_of_granted(&self) -> Vec<Requirement> {
        self.of_granted.requirements(self.signing)
    }

    /// Whether a rule demands that every approval is signed.
    pub fn signing(&self) -> SignatureDemand {
        self.signing
    }

    /// Whether the granted terms are not those asked, open nothing more, start no earlier and end no later.
    pub fn is_narrower(&self) -> bool {
        self.is_narrower
    }

    /// The rule that approves it without anybody.
    pub fn approved_by_rule(&self) -> Option<&RuleName> {
        self.approved_by.as_ref()
    }

    /// The rule that allows emergency access.
    pub fn allowed_in_emergency(&self) -> Option<&RuleName> {
        self.emergency_by.as_ref()
    }

    /// The rules that limit how many requests for this its requester may file in a day.
    pub fn daily_limits(&self) -> &[Rule] {
        &self.daily_limits
    }

    /// The rules that limit how many requests there may be for what would be granted, besides those for what was asked.
    pub fn daily_limits_of_granted(&self) -> &[Rule] {
        &self.daily_limits_of_granted
    }

    pub fn lapse_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.lapse_after).min()
    }

    pub fn remind_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.remind_after).min()
    }

    /// Who is reminded besides those who may decide.
    pub fn escalate_to(&self) -> BTreeSet<Assignee> {
        self.rules().flat_map(|rule| rule.escalate_to.iter().cloned()).collect()
    }
}

impl MatchedRule {
    /// The limit that the length goes beyond, if it does.
    pub(super) fn too_long(&self) -> Option<Length> {
        self.rule.max_duration.filter(|most| self.counted.is_longer_than(*most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::{Connection, Covers, Environment, Scope, Target};
    use crate::domain::member::Login;
    use crate::domain::name::Name;
    use crate::domain::policy::other_grants::{OtherGrant, OtherGrants};
    use crate::domain::principal::Principal;
    use crate::domain::role::Role;
    use crate::domain::team::Team;
    use crate::domain::terms::End;
    use crate::domain::time::Timestamp;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds).unwrap()
    }

    fn length(seconds: i64) -> Length {
        Length::from_seconds(seconds).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A team with this number of targets, each in its own connection, and a scope that covers all of them.
    fn wide(targets: usize) -> Team {
        let owner = name("olivia");
        let mut team = Team::of_one(name("acme"), owner.clone(), Login::from(&owner));
        let mut covered = BTreeSet::new();
        for number in 0..targets {
            let (target, connection) = (name(&format!("t{number}")), name(&format!("c{number}")));
            team.connections
                .insert(connection.clone(), Connection { environment: Environment::Production, offline_for: None });
            team.targets.insert(target.clone(), Target { connections: [connection].into(), offline_for: None });
            covered.insert(target);
        }
        let scope = Scope { covers: Covers::Targets(covered), assigned: BTreeSet::new() };
        team.scopes.insert(name("everything"), scope);
        team
    }

    #[test]
    fn a_wide_scope_takes_the_demand_of_each_rule_once_and_one_default() {
        let team = wide(5000);
        let requester = Principal::gone(name("bob"));
        let terms = Terms { resource: "scope:everything".parse().unwrap(), end: End::After(length(60)), start: None };
        let reach = team.reach(&terms.resource, None);
        assert_eq!(reach.len(), 5001);
        let rule = |text: &str| -> Rule { serde_json::from_str(text).unwrap() };
        let rules = [
            rule(r#"{"name":"one","approvers":["group:dba"],"match":{"resources":["target:t1*"]}}"#),
            rule(r#"{"name":"two","approvers":["group:web"],"match":{"resources":["target:t2","target:t20"]}}"#),
            rule(r#"{"name":"none","approvers":["group:ops"],"match":{"resources":["target:x*"]}}"#),
        ];
        let held = OtherGrants::default();
        let case = Proposal { requester: &requester, terms: &terms, reach: &reach, held: &held, now: time(0) };
        let requirements = judge(&rules, case, None, false).requirements();
        let by: Vec<Option<&str>> = requirements.iter().map(|it| it.rule.as_ref().map(RuleName::as_str)).collect();
        assert_eq!(by, [Some("one"), Some("two"), None]);
        assert_eq!(requirements[2].approvers, BTreeSet::from([Assignee::Role(Role::Admin)]));
    }

    #[test]
    fn terms_that_open_nothing_demand_nothing_and_are_within_none() {
        let requester = Principal::gone(name("bob"));
        let asked = Terms { resource: "target:t0".parse().unwrap(), end: End::Never, start: None };
        let gone = Terms { resource: "target:gone".parse().unwrap(), end: End::After(length(60)), start: None };
        let team = wide(1);
        let reach = team.reach(&asked.resource, None);
        let held = OtherGrants::default();
        let case = |terms, reach| Proposal { requester: &requester, terms, reach, held: &held, now: time(0) };
        let judgement = judge(&[], case(&asked, &reach), Some(case(&gone, &[])), false);
        assert!(judgement.requirements_of_granted().is_empty());
        assert_eq!(judgement.requirements().len(), 1);
    }

    #[test]
    fn terms_are_within_others_if_they_open_no_more_start_no_earlier_and_end_no_later() {
        let requester = Principal::gone(name("bob"));
        let (team, held) = (wide(2), OtherGrants::default());
        let terms = |resource: &str, start: i64, end: Option<i64>| Terms {
            resource: resource.parse().unwrap(),
            end: end.map_or(End::Never, |end| End::At(time(end))),
            start: Some(time(start)),
        };
        let is_within = |granted: &Terms, asked: &Terms| {
            let reaches = [granted, asked].map(|terms| team.reach(&terms.resource, None));
            let [granted, asked] = [(granted, &reaches[0]), (asked, &reaches[1])].map(|(terms, reach)| Proposal {
                requester: &requester,
                terms,
                reach,
                held: &held,
                now: time(0),
            });
            judge(&[], asked, Some(granted), false).is_narrower()
        };
        let asked = terms("target:t0", 100, Some(200));
        for (resource, start, end, is_it) in [
            ("target:t0", 100, Some(200), true),
            ("target:t0", 101, Some(199), true),
            ("target:t0", 99, Some(200), false),
            ("target:t0", 100, Some(201), false),
            ("target:t0", 100, None, false),
            ("target:t1", 100, Some(200), false),
            ("scope:everything", 100, Some(200), false),
        ] {
            assert_eq!(is_within(&terms(resource, start, end), &asked), is_it, "{resource} {start} {end:?}");
        }
        assert!(is_within(&asked, &terms("scope:everything", 100, None)));
    }

    #[test]
    fn a_rule_says_why_it_matches_and_what_it_counts() {
        let requester = Principal::gone(name("bob"));
        let (team, held) = (wide(2), OtherGrants::default());
        let judged = |text: &str, resource: &str| {
            let rule: Rule = serde_json::from_str(text).unwrap();
            let terms = Terms { resource: resource.parse().unwrap(), end: End::After(length(60)), start: None };
            let reach = team.reach(&terms.resource, None);
            let case = Proposal { requester: &requester, terms: &terms, reach: &reach, held: &held, now: time(0) };
            judge([&rule], case, None, false)
        };
        for (matches, resource, because) in [
            ("{}", "target:t0", "it matches every request"),
            (r#"{"resources":["target:t*"]}"#, "target:t0", "it is target:t0"),
            (r#"{"environments":["production"]}"#, "target:t0", "it is target:t0, in production"),
            (r#"{"resources":["target:t1"]}"#, "scope:everything", "it reaches target:t1"),
            (r#"{"resources":["scope:*"]}"#, "scope:everything", "it is scope:everything"),
            (r#"{"permanent":false}"#, "target:t0", "it is time-bound"),
        ] {
            let judgement = judged(&format!(r#"{{"name":"it","match":{matches}}}"#), resource);
            let found: Vec<&str> = judgement.matched.iter().map(|it| it.because.as_str()).collect();
            assert_eq!(found, [because], "{matches}");
        }
        // What a rule counts in a day does not depend on the length.
        for matches in [r#"{"permanent":true}"#, r#"{"longer_than":"1h"}"#] {
            let judgement = judged(&format!(r#"{{"name":"it","max_per_day":1,"match":{matches}}}"#), "target:t0");
            assert_eq!((judgement.matched.len(), judgement.daily_limits().len()), (0, 1), "{matches}");
        }
    }

    #[test]
    fn a_length_is_forbidden_a_scope_is_counted_and_each_demand_is_signed() {
        let (requester, team) = (Principal::gone(name("bob")), wide(1));
        let terms = |end| Terms { resource: "scope:everything".parse().unwrap(), end, start: Some(time(7200)) };
        let (hour, never) = (terms(End::After(length(3600))), terms(End::Never));
        let reach = team.reach(&hour.resource, None);
        let judged = |text: &str, terms: &Terms, held: &OtherGrants| {
            let rule: Rule = serde_json::from_str(text).unwrap();
            judge([&rule], Proposal { requester: &requester, terms, reach: &reach, held, now: time(0) }, None, false)
        };
        let none = OtherGrants::default();
        let brief = r#"{"name":"it","allow_permanent":false}"#;
        assert!(judged(brief, &never, &none).forbids_length(&never));
        assert!(!judged(brief, &hour, &none).forbids_length(&hour));
        assert!(!judged(r#"{"name":"it"}"#, &never, &none).forbids_length(&never));

        let before = |resource: &str| OtherGrant {
            request: 7.try_into().unwrap(),
            resource: resource.parse().unwrap(),
            starts_at: time(0),
            ends_at: Some(time(7200)),
        };
        let held = |resource| OtherGrants { grants: vec![before(resource)], ..OtherGrants::default() };
        let long = r#"{"name":"it","match":{"resources":["scope:*"],"longer_than":"2h"}}"#;
        assert_eq!(judged(long, &hour, &held("scope:everything")).matched.len(), 1, "with the grant before it");
        assert_eq!(judged(long, &hour, &held("target:t0")).matched.len(), 0);

        let signed = judged(r#"{"name":"it","signed":true,"approvers":["group:dba"]}"#, &hour, &none).requirements();
        assert!(signed.len() == 1 && signed.iter().all(|it| it.signing == SignatureDemand::Needed));
    }
}
