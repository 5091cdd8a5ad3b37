//! Approval rules, as the team file has them. `judge` says which of them match a request, and what they amount to.
//!
//! All rules that match bind: the strictest limit wins, deny beats everything, and a demand for approvers beats approval
//! by rule.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, TicketPattern};
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::duration::Length;
use crate::domain::member::Assignee;
use crate::domain::name::RuleName;
use crate::domain::principal::Principal;
use crate::domain::text::{Text, joined, quantity};

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
    /// Every request that matches is refused, with this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Text>,
    /// A pending request lapses this long after it was filed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapse_after: Option<Length>,
    /// Those who may still decide are reminded, once, this long after it was filed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_after: Option<Length>,
    /// Who is notified with them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub escalate_to: BTreeSet<Assignee>,
    /// It allows emergency access, and its limits bind that only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// The end of access ends the sessions that were opened with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_sessions: bool,
    /// Every approval is signed by an SSH key of its approver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
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
    /// Permanent is longer than any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_than: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
}

impl Match {
    pub fn is_empty(&self) -> bool {
        *self == Match::default()
    }

    /// Whether it holds for every requester and every length.
    pub fn is_unconditional(&self) -> bool {
        self.requesters.is_empty() && self.longer_than.is_none() && self.permanent.is_none()
    }

    /// Whether what this person asks for may match.
    pub fn is_about(&self, requester: &Principal) -> bool {
        self.requesters.is_empty() || self.matching_requester(requester).is_some()
    }

    /// The name, group or role by which the requester matches.
    pub fn matching_requester(&self, requester: &Principal) -> Option<&Assignee> {
        self.requesters.iter().find(|asks| match asks {
            Assignee::Member(name) => *name == requester.name,
            Assignee::Group(group) => requester.groups.contains(group),
            Assignee::Role(role) => *role == requester.member.role,
        })
    }

    /// Whether the thing itself matches, by its name and environment.
    pub fn names(&self, item: &CatalogItem) -> bool {
        let resource = item.resource();
        let within = |environment| self.environments.contains(&environment);
        (self.resources.is_empty() || self.resources.iter().any(|pattern| pattern.matches(&resource)))
            && (self.environments.is_empty() || item.environment().is_some_and(within))
    }
}

impl Rule {
    /// What it says, each in a few words.
    pub fn says(&self) -> Vec<String> {
        let mut says = Vec::new();
        if !self.approvers.is_empty() {
            says.push(format!("{} of {}", quantity(self.approvals, "approval", "approvals"), joined(&self.approvers)));
        }
        says.extend(self.signed.then(|| "signed approvals".to_owned()));
        says.extend(self.max_duration.map(|most| format!("at most {most}")));
        says.extend(self.cooldown.map(|length| format!("counted with grants less than {length} apart")));
        says.extend((!self.allow_permanent).then(|| "not permanent".to_owned()));
        let requests = |most| format!("at most {} in {}", quantity(most, "request", "requests"), Length::DAY);
        says.extend(self.max_per_day.map(requests));
        says.extend(self.ticket.as_ref().map(|pattern| format!("a ticket like {pattern}")));
        says.extend(self.reason_min.map(|least| format!("a reason of {}", quantity(least, "character", "characters"))));
        says.extend(self.auto_approve.then(|| "approved at once".to_owned()));
        says.extend(self.deny.as_ref().map(|message| format!("denied: {message}")));
        says.extend(self.lapse_after.map(|length| format!("lapses after {length}")));
        says.extend(self.remind_after.map(|length| format!("a reminder after {length}")));
        says.extend((!self.escalate_to.is_empty()).then(|| format!("and then also to {}", joined(&self.escalate_to))));
        says.extend(self.emergency.then(|| "emergencies allowed".to_owned()));
        says.extend(self.end_sessions.then(|| "sessions end with access".to_owned()));
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

    fn rule(keys: &str) -> Rule {
        serde_json::from_str(&format!(r#"{{"name":"it"{keys}}}"#)).unwrap()
    }

    #[test]
    fn a_rule_of_an_older_log_demands_one_approval_and_is_written_as_it_was() {
        let plain = rule("");
        assert!(plain.approvals == 1 && plain.allow_permanent && plain.matches.is_empty());
        for keys in ["", r#","approvals":2"#, r#","allow_permanent":false"#, r#","match":{"permanent":true}"#] {
            assert_eq!(serde_json::to_string(&rule(keys)).unwrap(), format!(r#"{{"name":"it"{keys}}}"#));
        }
    }

    #[test]
    fn a_rule_says_what_it_demands_and_nothing_else() {
        assert_eq!(rule("").says(), [""; 0]);
        let keys = r#","approvers":["role:admin"],"approvals":2,"allow_permanent":false,"escalate_to":["member:zoe"]"#;
        let says = ["2 approvals of role:admin", "not permanent", "and then also to member:zoe"];
        assert_eq!(rule(keys).says(), says);
    }

    #[test]
    fn what_a_rule_depends_on() {
        let counts = |keys: &str| rule(keys).counts_length();
        assert!(counts(r#","max_duration":"1h""#) && counts(r#","match":{"longer_than":"1h"}"#));
        assert!(!counts(r#","match":{"permanent":true}"#));
        let is_unconditional = |keys: &str| rule(keys).matches.is_unconditional();
        assert!(is_unconditional(r#","match":{"resources":["target:a"],"environments":["production"]}"#));
        for keys in [r#""requesters":["role:member"]"#, r#""longer_than":"1h""#, r#""permanent":false"#] {
            assert!(!is_unconditional(&format!(r#","match":{{{keys}}}"#)), "{keys}");
        }
        let emergency = rule(r#","emergency":true"#);
        assert!(emergency.is_about(true) && !emergency.is_about(false));
        assert!(rule("").is_about(true) && rule("").is_about(false));
    }
}
