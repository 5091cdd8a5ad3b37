//! Approval rules, as the team file has them. `judge` says which of them match a request, and what they amount to.
//!
//! All rules that match bind: the strictest limit wins, deny beats everything, and a demand for approvers beats approval
//! by rule.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::duration::Length;
use crate::domain::entitlement::{CatalogItem, Principal};
use crate::domain::resource::{Kind, Resource};
use crate::domain::role::Role;
use crate::domain::team::{Assignee, Environment};
use crate::domain::text::{Text, Ticket, is_hostile};
use crate::domain::{Malformed, checked_string, read_by_parsing};

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
    /// Grants that lie nearer to one another than this count together. None: those that touch do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Length>,
    /// The most requests for what it matches that there may be for one member in 24 hours, whatever their length and outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_day: Option<u32>,
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

    /// The name without its `*`, for a comparison with real names.
    pub fn letters(&self) -> String {
        self.name.replace('*', "")
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn is_of_scopes(&self) -> bool {
        self.kind == Kind::Scope
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
    pub fn is_about(&self, requester: &Principal) -> bool {
        self.requesters.is_empty() || self.whom(requester).is_some()
    }

    /// As whom the requester matches.
    pub fn whom(&self, requester: &Principal) -> Option<&Assignee> {
        self.requesters.iter().find(|asks| match asks {
            Assignee::Member(name) => *name == requester.name,
            Assignee::Group(group) => requester.groups.contains(group),
            Assignee::Role(role) => *role == requester.member.role,
        })
    }

    /// Whether the thing itself matches, by its name and environment.
    pub fn names(&self, thing: &CatalogItem) -> bool {
        let resource = thing.resource();
        let within = |environment| self.environments.contains(&environment);
        (self.resources.is_empty() || self.resources.iter().any(|pattern| pattern.matches(&resource)))
            && (self.environments.is_empty() || thing.environment().is_some_and(within))
    }
}

impl Rule {
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
        says.extend(self.cooldown.map(|length| format!("counted with grants less than {length} apart")));
        says.extend((!self.allow_permanent).then(|| "not permanent".to_owned()));
        says.extend(self.max_per_day.map(|most| match most {
            1 => format!("at most 1 request in {}", Length::DAY),
            most => format!("at most {most} requests in {}", Length::DAY),
        }));
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

    /// Whether a length is part of what it says, and so the requester's other grants count.
    pub fn counts_length(&self) -> bool {
        self.max_duration.is_some() || self.matches.longer_than.is_some()
    }

    /// Whether this rule binds requests of this sort: one that is for emergencies binds those only.
    pub fn is_about(&self, emergency: bool) -> bool {
        !self.emergency || emergency
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
