//! Approval rules: which requests one matches, and what it then demands.
//!
//! All rules that match hold together: the strictest limit wins, deny beats all, and a demand for approvers beats
//! approval by rule. Nothing here decides; `decide` does, by what is said here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::duration::Length;
use super::entitlement::{Person, Thing};
use super::refusal::Refusal;
use super::resource::{Kind, Resource};
use super::role::Role;
use super::team::{Assignee, Environment};
use super::text::{Text, Ticket, is_hostile};
use super::time::Timestamp;
use super::{Malformed, checked_string, read_by_parsing};

/// One rule, as the team file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: RuleName,
    /// Who must approve; empty: the rule names nobody.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvers: BTreeSet<Assignee>,
    /// How many of them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub approvals: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Length>,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub allow_permanent: bool,
    /// A ticket must be given, and be like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketPattern>,
    /// The least number of characters of a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_min: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_approve: bool,
    /// What the requester is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Text>,
    /// A pending request lapses so long after it was filed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapse_after: Option<Length>,
    /// Those who may still decide are told again, once, so long after it was filed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_after: Option<Length>,
    /// Who is told with them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub escalate_to: BTreeSet<Assignee>,
    /// It allows emergency access, and its limits bind that only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    #[serde(default, rename = "match", skip_serializing_if = "Match::is_empty")]
    pub matches: Match,
}

fn one() -> u32 {
    1
}
fn is_one(count: &u32) -> bool {
    *count == 1
}
fn yes() -> bool {
    true
}
fn is_yes(yes: &bool) -> bool {
    *yes
}

/// Which requests a rule is about. Every key that is given must hold; of a list, any entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<Pattern>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub environments: BTreeSet<Environment>,
    /// `role:R` here is exactly that base role.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requesters: BTreeSet<Assignee>,
    /// For good is longer than any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_than: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
}

/// What people call a rule: one line of 1 to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(String);
checked_string!(RuleName);

impl FromStr for RuleName {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RuleName, Malformed> {
        let count = text.chars().count();
        if text.trim() != text || !(1..=80).contains(&count) || text.chars().any(is_hostile) {
            return Err(Malformed::new("a rule's name is one line of 1 to 80 characters, with no blank at its ends"));
        }
        Ok(RuleName(text.to_owned()))
    }
}

/// Resources by kind and name, where `*` stands for any characters: `connection:prod-*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    kind: Kind,
    name: SmolStr,
}

impl Pattern {
    pub fn matches(&self, resource: &Resource) -> bool {
        self.kind == resource.kind() && is_like(&self.name, resource.name())
    }

    pub fn is_of_roles(&self) -> bool {
        self.kind == Kind::Role
    }

    /// What whatever matches begins with.
    pub fn beginning(&self) -> String {
        let text = self.to_string();
        text.split_once('*').map_or(text.clone(), |(begins, _)| begins.to_owned())
    }

    /// The one resource that it names, if there is no `*` in it.
    pub fn names(&self) -> Option<Resource> {
        if self.name.contains('*') { None } else { self.to_string().parse().ok() }
    }
}

/// Whether a name is like a pattern: its pieces between the `*` follow one another in the name.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl FromStr for Pattern {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Pattern, Malformed> {
        let shape = || Malformed::new("written kind:name, where * stands for any characters, like connection:prod-*");
        let (kind, name) = text.split_once(':').ok_or_else(shape)?;
        let kind: Kind = kind.parse()?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'*');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(shape());
        }
        if kind == Kind::Role && !name.contains('*') {
            name.parse::<Role>()?;
        }
        Ok(Pattern { kind, name: name.into() })
    }
}

read_by_parsing!(Pattern);

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a ticket must be like, whole: a regular expression of at most 200 bytes. Matching takes time in proportion to
/// pattern and ticket together, whatever they are: the `regex-lite` crate never backtracks.
///
/// It is tried when it comes in, and not each time it is read back; should it be none then, no ticket is like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketPattern(String);

impl TicketPattern {
    fn compiled(pattern: &str) -> Result<Regex, Malformed> {
        // Groups and alternatives stay inside; a pattern that closes the group too early is none.
        Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))).map_err(|why| {
            Malformed::new(format!("it is no regular expression: {}", why.to_string().replace('\n', " ")))
        })
    }

    pub fn matches(&self, ticket: &Ticket) -> bool {
        TicketPattern::compiled(&self.0).is_ok_and(|regex| regex.is_match(ticket.as_str()))
    }
}

impl fmt::Display for TicketPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TicketPattern {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<TicketPattern, Malformed> {
        if text.is_empty() || text.len() > 200 || text.chars().any(is_hostile) {
            return Err(Malformed::new("a pattern is one line of 1 to 200 bytes"));
        }
        TicketPattern::compiled(text)?;
        Ok(TicketPattern(text.to_owned()))
    }
}

impl Match {
    pub fn is_empty(&self) -> bool {
        *self == Match::default()
    }

    /// Whether it holds whoever asks, and for however long.
    pub fn is_unconditional(&self) -> bool {
        self.requesters.is_empty() && self.longer_than.is_none() && self.permanent.is_none()
    }

    /// Whether what this person asks for may match.
    pub fn is_about(&self, requester: &Person) -> bool {
        self.requesters.is_empty() || self.whom(requester).is_some()
    }

    /// As whom the requester matches.
    fn whom(&self, requester: &Person) -> Option<&Assignee> {
        self.requesters.iter().find(|asks| match asks {
            Assignee::Member(name) => *name == requester.name,
            Assignee::Group(group) => requester.groups.contains(group),
            Assignee::Role(role) => *role == requester.member.role,
        })
    }

    /// Whether the thing itself matches, by its name and environment.
    pub fn names(&self, thing: &Thing) -> bool {
        let resource = thing.resource();
        let within = |environment| self.environments.contains(&environment);
        (self.resources.is_empty() || self.resources.iter().any(|pattern| pattern.matches(&resource)))
            && (self.environments.is_empty() || thing.environment().is_some_and(within))
    }
}

/// Terms as rules look at them.
#[derive(Debug, Clone, Copy)]
pub struct Case<'c> {
    pub requester: &'c Person,
    /// The resource, and after it all that a grant of it would let its holder use.
    pub reach: &'c [Thing],
    /// How long in all, in seconds, with the grants that it extends. None: for good.
    pub length: Option<i64>,
}

/// A rule that matches, and why.
#[derive(Debug, Clone)]
pub struct Matched {
    pub rule: Rule,
    pub because: String,
    /// Whether all that would be granted matches: what a rule gives freely it gives no further than it reaches.
    wholly: bool,
}

impl Rule {
    /// Why this rule matches the case, and whether wholly; None when it does not.
    fn matches(&self, case: &Case<'_>) -> Option<(String, bool)> {
        let mut because: Vec<String> = Vec::new();
        let Match { resources, environments, requesters, longer_than, permanent } = &self.matches;
        if let Some(least) = longer_than {
            case.length.is_none_or(|length| length > least.seconds()).then_some(())?;
            because.push(format!("it is for longer than {least}"));
        }
        if let Some(permanent) = permanent {
            (case.length.is_none() == *permanent).then_some(())?;
            because.push(if *permanent { "it is for good" } else { "it is not for good" }.to_owned());
        }
        if !requesters.is_empty() {
            let requester = case.requester;
            let as_whom = self.matches.whom(requester)?;
            because.push(match as_whom {
                Assignee::Member(name) => format!("{name} asks"),
                Assignee::Group(_) | Assignee::Role(_) => format!("{} is of {as_whom}", requester.name),
            });
        }
        let is_named = |thing: &Thing| {
            let resource = thing.resource();
            resources.is_empty() || resources.iter().any(|pattern| pattern.matches(&resource))
        };
        let within = |environment: Option<Environment>| environment.is_some_and(|it| environments.contains(&it));
        let is_inside = |thing: &Thing| {
            let anything = || case.reach.iter().any(|thing| within(thing.environment()));
            environments.is_empty() || within(thing.environment()) || matches!(thing, Thing::Scope { .. }) && anything()
        };
        let touched = case.reach.iter().find(|thing| is_named(thing) && is_inside(thing))?;
        if !(resources.is_empty() && environments.is_empty()) {
            let whole = case.reach.first().map(Thing::resource);
            let touched_resource = touched.resource();
            let place = if environments.is_empty() { "" } else { environment_words(touched, case) };
            because.push(if whole.as_ref() == Some(&touched_resource) {
                format!("it is {touched_resource}{place}")
            } else {
                format!("it reaches {touched_resource}{place}")
            });
        }
        if because.is_empty() {
            because.push("it matches every request".to_owned());
        }
        // A scope is nothing but what it covers; a connection is something by itself.
        let named = match case.reach {
            [scope @ Thing::Scope { .. }, covered @ ..] if !covered.is_empty() => {
                is_named(scope) || covered.iter().all(is_named)
            }
            reach => reach.first().is_some_and(is_named),
        };
        let inside = environments.is_empty()
            || case.reach.iter().filter_map(Thing::environment).all(|it| environments.contains(&it));
        Some((because.join("; "), named && inside))
    }

    /// What it says, each in a few words.
    pub fn says(&self) -> Vec<String> {
        let list = |named: &BTreeSet<Assignee>| named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut says = Vec::new();
        if !self.approvers.is_empty() {
            let many =
                if self.approvals == 1 { "1 approval".to_owned() } else { format!("{} approvals", self.approvals) };
            says.push(format!("{many} of {}", list(&self.approvers)));
        }
        says.extend(self.max_duration.map(|most| format!("at most {most}")));
        says.extend((!self.allow_permanent).then(|| "not for good".to_owned()));
        says.extend(self.ticket.as_ref().map(|pattern| format!("a ticket like {pattern}")));
        says.extend(self.reason_min.map(|least| format!("a reason of {least} characters")));
        says.extend(self.auto_approve.then(|| "approved at once".to_owned()));
        says.extend(self.deny.as_ref().map(|message| format!("denied: {message}")));
        says.extend(self.lapse_after.map(|length| format!("lapses after {length}")));
        says.extend(self.remind_after.map(|length| format!("a reminder after {length}")));
        says.extend((!self.escalate_to.is_empty()).then(|| format!("and then also to {}", list(&self.escalate_to))));
        says.extend(self.emergency.then(|| "emergencies allowed".to_owned()));
        says
    }

    /// Whether this rule binds requests of this sort: one that is for emergencies binds those only.
    fn is_about(&self, emergency: bool) -> bool {
        !self.emergency || emergency
    }
}

fn environment_words(thing: &Thing, case: &Case<'_>) -> &'static str {
    let first = || case.reach.iter().find_map(Thing::environment);
    match thing.environment().or_else(first) {
        Some(Environment::Production) => ", in production",
        Some(Environment::NonProduction) => ", not in production",
        None => "",
    }
}

/// So many approvals, of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The rule that demands it. None: no rule names approvers, so it takes one admin, or the owner.
    pub rule: Option<RuleName>,
    pub approvers: BTreeSet<Assignee>,
    pub approvals: u32,
}

impl Requirement {
    /// Whether this person is one of those whose approval is demanded. `about_a_role`: then a role counts only by the
    /// team file, and from admin up; else granted admins could keep one another in office.
    pub fn is_met_by(&self, person: &Person, about_a_role: bool, now: Timestamp) -> bool {
        !person.is_disabled()
            && self.approvers.iter().any(|approver| match approver {
                Assignee::Member(name) => *name == person.name,
                Assignee::Group(group) => person.groups.contains(group),
                Assignee::Role(least) if about_a_role => person.member.role >= (*least).max(Role::Admin),
                Assignee::Role(least) => person.effective_role(now) >= *least,
            })
    }
}

/// The rules that match a request, and what they amount to.
#[derive(Debug, Clone)]
#[must_use]
pub struct Judgement {
    pub matched: Vec<Matched>,
    emergency: bool,
}

/// Which rules match: the terms asked, or those on the table, or both.
pub fn judge(rules: &[Rule], cases: &[Case<'_>], emergency: bool) -> Judgement {
    let mut matched = Vec::new();
    for rule in rules.iter().filter(|rule| rule.is_about(emergency)) {
        let found: Vec<Option<(String, bool)>> = cases.iter().map(|case| rule.matches(case)).collect();
        let wholly = found.iter().all(|found| found.as_ref().is_some_and(|(_, wholly)| *wholly));
        if let Some((because, _)) = found.into_iter().flatten().next() {
            matched.push(Matched { rule: rule.clone(), because, wholly });
        }
    }
    Judgement { matched, emergency }
}

impl Judgement {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.matched.iter().map(|matched| &matched.rule)
    }

    /// The rules whose demands on a ticket and a reason bind: in an emergency only those that allow it.
    fn formal(&self) -> impl Iterator<Item = &Rule> {
        let emergency = self.emergency;
        self.rules().filter(move |rule| rule.emergency == emergency)
    }

    /// Whether any rule stands against these terms. `length`: in seconds, as in `Case`; None: for good.
    pub fn allows(&self, length: Option<i64>, reason: &Text, ticket: Option<&Ticket>) -> Result<(), Refusal> {
        let forbid = |rule: &Rule, what: String| Refusal::RuleForbids { rule: rule.name.clone(), what };
        if let Some((rule, message)) = self.rules().find_map(|rule| Some((rule, rule.deny.as_ref()?))) {
            return Err(Refusal::RuleDenies { rule: rule.name.clone(), message: message.clone() });
        }
        for rule in self.rules() {
            if length.is_none() && !rule.allow_permanent {
                return Err(forbid(rule, "no access for good".to_owned()));
            }
            if let Some(most) = rule.max_duration
                && length.is_none_or(|length| length > most.seconds())
            {
                return Err(forbid(rule, format!("at most {most}")));
            }
        }
        for rule in self.formal() {
            if let Some(pattern) = &rule.ticket
                && !ticket.is_some_and(|ticket| pattern.matches(ticket))
            {
                return Err(forbid(rule, format!("it needs a ticket like {pattern}")));
            }
            if let Some(least) = rule.reason_min
                && reason.as_str().chars().count() < least as usize
            {
                return Err(forbid(rule, format!("it needs a reason of at least {least} characters")));
            }
        }
        Ok(())
    }

    /// Whose approvals it takes, each demand on its own.
    pub fn requirements(&self) -> Vec<Requirement> {
        let naming = self.rules().filter(|rule| !rule.approvers.is_empty());
        let demands: Vec<Requirement> = naming
            .map(|rule| Requirement {
                rule: Some(rule.name.clone()),
                approvers: rule.approvers.clone(),
                approvals: rule.approvals,
            })
            .collect();
        if !demands.is_empty() {
            return demands;
        }
        vec![Requirement { rule: None, approvers: [Assignee::Role(Role::Admin)].into(), approvals: 1 }]
    }

    /// The rule by which it is approved without anybody: never where any rule demands approvers.
    pub fn approved_by_rule(&self) -> Option<&RuleName> {
        let demanded = self.rules().any(|rule| !rule.approvers.is_empty());
        let free = self.matched.iter().find(|matched| matched.wholly && matched.rule.auto_approve);
        free.filter(|_| !demanded).map(|matched| &matched.rule.name)
    }

    /// The rule that allows emergency access.
    pub fn allowed_in_emergency(&self) -> Option<&RuleName> {
        self.matched.iter().find(|matched| matched.wholly && matched.rule.emergency).map(|matched| &matched.rule.name)
    }

    pub fn lapse_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.lapse_after).min()
    }

    pub fn remind_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.remind_after).min()
    }

    /// Who is told besides those who may decide, when it is late.
    pub fn escalate_to(&self) -> BTreeSet<Assignee> {
        self.rules().flat_map(|rule| rule.escalate_to.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_star_stands_for() {
        for (pattern, name, like) in [
            ("*", "a", true),
            ("prod-*", "prod-", true),
            ("prod-*", "prod-aws", true),
            ("prod-*", "prod", false),
            ("*-db", "orders-db", true),
            ("*-db", "orders-db-2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("prod", "prod", true),
            ("prod", "prod-aws", false),
            ("**", "x", true),
        ] {
            assert_eq!(is_like(pattern, name), like, "{pattern} {name}");
        }
    }

    #[test]
    fn a_ticket_matches_whole() {
        let pattern: TicketPattern = "OPS-[0-9]+|INC-7".parse().unwrap();
        for (ticket, fits) in
            [("OPS-12", true), ("INC-7", true), ("OPS-12x", false), ("xOPS-12", false), ("OPS-", false)]
        {
            assert_eq!(pattern.matches(&ticket.parse().unwrap()), fits, "{ticket}");
        }
        for pattern in ["", "(", "a)(b", "[", "a{99999999}", "\u{202e}", &"a".repeat(201)] {
            assert!(pattern.parse::<TicketPattern>().is_err(), "{pattern:?}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "\\PC*", ticket in "[ -~]{1,60}") {
            if let (Ok(pattern), Ok(ticket)) = (pattern.parse::<TicketPattern>(), ticket.parse::<Ticket>()) {
                let _ = pattern.matches(&ticket);
            }
        }

        #[test]
        fn a_star_as_a_regular_expression_has_it(pattern in "[ab*]{1,6}", name in "[ab]{1,8}") {
            let regex = Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(is_like(&pattern, &name), regex.is_match(&name));
        }
    }
}
