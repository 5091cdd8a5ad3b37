//! The difference between two teams, which is what a `team.applied` event records, and how it is applied again.

use std::collections::{BTreeMap, BTreeSet};

use super::Team;
use super::change::{Change, Diff, RuleOrder};
use crate::domain::binding::Binding;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::rule::Rule;
use crate::domain::preference::Policy;

impl Team {
    /// What changes from this team to `new`, in the order of the team file. Empty when nothing does.
    pub fn changes_to(&self, new: &Team) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.team != new.team {
            changes.push(Change::Team(Diff::Change { from: self.team.clone(), to: new.team.clone() }));
        }
        diff_maps(&self.members, &new.members, Change::Member, &mut changes);
        diff_maps(&self.groups, &new.groups, Change::Group, &mut changes);
        diff_maps(&self.connections, &new.connections, Change::Connection, &mut changes);
        diff_maps(&self.targets, &new.targets, Change::Target, &mut changes);
        diff_maps(&self.features, &new.features, Change::Feature, &mut changes);
        diff_maps(&self.scopes, &new.scopes, Change::Scope, &mut changes);
        diff_maps(&self.hosts, &new.hosts, Change::Host, &mut changes);
        diff_rules(&self.rules, &new.rules, &mut changes);
        diff_bindings(&self.bindings, &new.bindings, &mut changes);
        changes.extend(diff_policy(&self.notifications, &new.notifications).map(Change::Notifications));
        changes
    }

    /// Everything in this team, as additions to none.
    pub fn as_changes(&self) -> Vec<Change> {
        let mut changes = vec![Change::Team(Diff::Add { to: self.team.clone() })];
        let nothing = Team::named(self.team.clone());
        changes.extend(nothing.changes_to(self));
        changes
    }

    /// Applies one recorded change. What it changes from must be what the team has.
    pub fn apply(team: &mut Option<Team>, change: &Change) -> Result<(), String> {
        let mismatch = || format!("{} changes from what it was not", change.what());
        let Some(team) = team else {
            let Change::Team(Diff::Add { to }) = change else {
                return Err("a team begins with its name".to_owned());
            };
            *team = Some(Team::named(to.clone()));
            return Ok(());
        };
        let fits = match change {
            Change::Team(Diff::Change { from, to }) => {
                let fits = team.team == *from;
                team.team = to.clone();
                fits
            }
            Change::Team(Diff::Add { .. } | Diff::Remove { .. }) => false,
            Change::Member(name, diff) => take_diff(&mut team.members, name, diff),
            Change::Group(name, diff) => take_diff(&mut team.groups, name, diff),
            Change::Connection(name, diff) => take_diff(&mut team.connections, name, diff),
            Change::Target(name, diff) => take_diff(&mut team.targets, name, diff),
            Change::Feature(name, diff) => take_diff(&mut team.features, name, diff),
            Change::Scope(name, diff) => take_diff(&mut team.scopes, name, diff),
            Change::Host(name, diff) => take_diff(&mut team.hosts, name, diff),
            Change::Rule(name, diff) => take_rule(&mut team.rules, name, diff),
            Change::RuleOrder(diff) => take_order(&mut team.rules, diff),
            Change::Binding(diff) => take_binding(&mut team.bindings, diff),
            Change::Notifications(diff) => {
                let fits = diff_policy(&team.notifications, &diff.after().cloned().unwrap_or_default());
                team.notifications = diff.after().cloned().unwrap_or_default();
                fits.as_ref() == Some(diff)
            }
        };
        if fits { Ok(()) } else { Err(mismatch()) }
    }
}

/// An empty policy counts as absent.
fn diff_policy(old: &Policy, new: &Policy) -> Option<Diff<Policy>> {
    match (old.is_empty(), new.is_empty()) {
        _ if old == new => None,
        (true, _) => Some(Diff::Add { to: new.clone() }),
        (false, true) => Some(Diff::Remove { from: old.clone() }),
        (false, false) => Some(Diff::Change { from: old.clone(), to: new.clone() }),
    }
}

/// Puts the new value in its place. Whether the change fits the old one.
fn take_diff<T: Clone + PartialEq>(map: &mut BTreeMap<Name, T>, name: &Name, diff: &Diff<T>) -> bool {
    let before = match diff.after() {
        Some(after) => map.insert(name.clone(), after.clone()),
        None => map.remove(name),
    };
    match diff {
        Diff::Add { .. } => before.is_none(),
        Diff::Change { from, .. } | Diff::Remove { from } => before.as_ref() == Some(from),
    }
}

/// As `take_diff`; a new rule comes last.
fn take_rule(rules: &mut Vec<Rule>, name: &RuleName, diff: &Diff<Rule>) -> bool {
    let at = rules.iter().position(|rule| rule.name == *name);
    match (diff, at) {
        (Diff::Add { to }, None) => {
            rules.push(to.clone());
            to.name == *name
        }
        (Diff::Change { from, to }, Some(at)) => std::mem::replace(&mut rules[at], to.clone()) == *from,
        (Diff::Remove { from }, Some(at)) => rules.remove(at) == *from,
        (Diff::Add { .. }, Some(_)) | (Diff::Change { .. } | Diff::Remove { .. }, None) => false,
    }
}

/// Whether the change fits: what it adds is not there yet with other flags either.
fn take_binding(bindings: &mut BTreeSet<Binding>, diff: &Diff<Binding>) -> bool {
    let fits = match diff {
        Diff::Add { .. } => true,
        Diff::Change { from, to } => bindings.remove(from) && from.to_string() == to.to_string(),
        Diff::Remove { from } => bindings.remove(from),
    };
    let Some(to) = diff.after() else { return fits };
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let alike = flags.map(|(baseline, end_sessions)| Binding { baseline, end_sessions, ..to.clone() });
    let is_new = !alike.iter().any(|other| bindings.contains(other));
    bindings.insert(to.clone());
    fits && is_new
}

fn diff_bindings(old: &BTreeSet<Binding>, new: &BTreeSet<Binding>, changes: &mut Vec<Change>) {
    let written = |bindings: &BTreeSet<Binding>| -> BTreeMap<String, Binding> {
        bindings.iter().map(|binding| (binding.to_string(), binding.clone())).collect()
    };
    let change = |_, diff| Change::Binding(Box::new(diff));
    diff_maps(&written(old), &written(new), change, changes);
}

fn take_order(rules: &mut [Rule], diff: &Diff<RuleOrder>) -> bool {
    let Diff::Change { from, to } = diff else { return false };
    let before = order(rules);
    let place: BTreeMap<&RuleName, usize> = to.names.iter().zip(0..).collect();
    rules.sort_by_cached_key(|rule| place.get(&rule.name).copied());
    before == *from && order(rules) == *to
}

fn order(rules: &[Rule]) -> RuleOrder {
    RuleOrder { names: rules.iter().map(|rule| rule.name.clone()).collect() }
}

/// What changes in the rules, one by one, and then their order if it is not what that gives.
fn diff_rules(old: &[Rule], new: &[Rule], changes: &mut Vec<Change>) {
    fn named(rules: &[Rule]) -> BTreeMap<&RuleName, &Rule> {
        rules.iter().map(|rule| (&rule.name, rule)).collect()
    }
    let (before, after) = (named(old), named(new));
    let mut result = Vec::new();
    for from in old {
        let diff = match after.get(&from.name) {
            None => Diff::Remove { from: from.clone() },
            Some(to) => {
                result.push((*to).clone());
                if *to == from {
                    continue;
                }
                Diff::Change { from: from.clone(), to: (*to).clone() }
            }
        };
        changes.push(Change::Rule(from.name.clone(), Box::new(diff)));
    }
    for to in new.iter().filter(|rule| !before.contains_key(&rule.name)) {
        result.push(to.clone());
        changes.push(Change::Rule(to.name.clone(), Box::new(Diff::Add { to: to.clone() })));
    }
    let (from, to) = (order(&result), order(new));
    if from != to {
        changes.push(Change::RuleOrder(Diff::Change { from, to }));
    }
}

fn diff_maps<K: Clone + Ord, T: Clone + PartialEq>(
    old: &BTreeMap<K, T>,
    new: &BTreeMap<K, T>,
    change: impl Fn(K, Diff<T>) -> Change,
    changes: &mut Vec<Change>,
) {
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect::<BTreeSet<_>>() {
        let diff = match (old.get(name), new.get(name)) {
            (Some(from), Some(to)) if from == to => continue,
            (Some(from), Some(to)) => Diff::Change { from: from.clone(), to: to.clone() },
            (Some(from), None) => Diff::Remove { from: from.clone() },
            (None, Some(to)) => Diff::Add { to: to.clone() },
            (None, None) => continue,
        };
        changes.push(change(name.clone(), diff));
    }
}
