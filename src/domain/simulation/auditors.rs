//! Warns of auditors whom roles and rules name as approvers: an auditor decides nothing.

use crate::domain::member::{Assignee, Member};
use crate::domain::name::Name;
use crate::domain::policy::rule::Rule;
use crate::domain::role::Role;
use crate::domain::team::Team;

/// The most rules that a warning names.
const MOST_NAMED: usize = 3;

pub fn warnings(team: &Team) -> Vec<String> {
    let auditors = team.members.iter().filter(|(_, member)| member.auditor && !member.disabled);
    auditors.filter_map(|(name, member)| warning(team, name, member)).collect()
}

fn warning(team: &Team, name: &Name, member: &Member) -> Option<String> {
    let is_named = |rule: &&Rule| {
        rule.approvers.iter().any(|approver| match approver {
            Assignee::Member(other) => other == name,
            Assignee::Group(group) => team.groups.get(group).is_some_and(|group| group.members.contains(name)),
            Assignee::Role(least) => member.role >= *least,
        })
    };
    let rules: Vec<&Rule> = team.rules.iter().filter(is_named).collect();
    let mut named: Vec<String> = Vec::new();
    named.extend((member.role >= Role::Admin).then(|| format!("the role {}", member.role)));
    named.extend(rules.iter().take(MOST_NAMED).map(|rule| format!("rule {:?}", rule.name.as_str())));
    named.extend((rules.len() > MOST_NAMED).then(|| format!("{} more rules", rules.len() - MOST_NAMED)));
    let names = if named.len() == 1 { "names" } else { "name" };
    (!named.is_empty())
        .then(|| format!("{name} is an auditor and decides nothing, although {} {names} them", named.join(", ")))
}
