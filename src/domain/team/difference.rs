//! What changed in a team, field by field and in words: for `team apply`, for notifications and for the audit log.

use serde_json::{Map, Value};

use super::change::{Change, Diff};
use crate::domain::binding::{Binding, in_connector};
use crate::domain::duration::Length;
use crate::domain::host::HostPower;
use crate::domain::member::Member;
use crate::domain::policy::rule::Rule;
use crate::domain::role::Role;
use crate::domain::ssh_key::SshKey;
use crate::domain::text::{cut, joined, quantity};

/// What a change does to what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// With these fields.
    Added(Vec<(String, String)>),
    Removed,
    Changed(Vec<(String, FieldChange)>),
}

/// How a field changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldChange {
    Value {
        from: String,
        to: String,
    },
    /// The items that a list has gained, and those that it has lost.
    List {
        added: Vec<String>,
        removed: Vec<String>,
    },
}

/// The most changes that a notification names, and the most characters of each.
const NAMED: usize = 10;
const LONGEST: usize = 200;

impl Difference {
    pub fn of(change: &Change) -> Difference {
        let written = serde_json::to_value(change).unwrap_or_default();
        match (written["from"].as_object(), written["to"].as_object()) {
            (Some(from), Some(to)) => Difference::Changed(field_changes(from, to)),
            (None, Some(to)) => {
                let fields = to.iter().filter(|(key, _)| *key != "name");
                let shown = |key: &str, value: &Value| match value {
                    Value::Array(keys) if key == "ssh_keys" => joined(keys.iter().map(short_key)),
                    value => plain(key, value),
                };
                Difference::Added(fields.map(|(key, value)| (key.clone(), shown(key, value))).collect())
            }
            (_, None) => Difference::Removed,
        }
    }
}

/// The fields that differ, those first that say who somebody is and what they may do.
fn field_changes(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<(String, FieldChange)> {
    const FIRST: [&str; 6] = ["role", "login", "ssh_keys", "approvals", "approvers", "environment"];
    let mut keys: Vec<&String> = from.keys().chain(to.keys().filter(|key| !from.contains_key(*key))).collect();
    keys.retain(|key| from.get(*key) != to.get(*key));
    keys.sort_by_key(|key| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    keys.into_iter().map(|key| (key.clone(), field_change(key, from.get(key), to.get(key)))).collect()
}

fn field_change(key: &str, from: Option<&Value>, to: Option<&Value>) -> FieldChange {
    let list = |value: Option<&Value>| match value {
        None => Some(Vec::new()),
        Some(Value::Array(items)) if key == "ssh_keys" => Some(items.iter().map(short_key).collect()),
        Some(Value::Array(items)) => Some(items.iter().map(|item| plain(key, item)).collect()),
        Some(_) => None,
    };
    // A list that is empty is not written.
    let lists = if from.is_some_and(Value::is_array) || to.is_some_and(Value::is_array) {
        list(from).zip(list(to))
    } else {
        None
    };
    if let Some((from, to)) = lists {
        let (added, removed) = (without(&to, &from), without(&from, &to));
        return FieldChange::List { added, removed };
    }
    let text = |value: Option<&Value>| value.map_or_else(|| default_of(key).to_owned(), |value| plain(key, value));
    FieldChange::Value { from: text(from), to: text(to) }
}

/// A key of SSH is as good as its fingerprint, and too long to be read.
fn short_key(value: &Value) -> String {
    value
        .as_str()
        .and_then(|key| key.parse::<SshKey>().ok())
        .map_or_else(|| plain("ssh_keys", value), |key| key.in_words())
}

fn without(these: &[String], those: &[String]) -> Vec<String> {
    these.iter().filter(|item| !those.contains(item)).cloned().collect()
}

/// What a field means if it is not written.
fn default_of(key: &str) -> &'static str {
    match key {
        "approvals" => "1",
        "allow_permanent" => "true",
        "auto_approve" | "emergency" | "disabled" | "auditor" | "baseline" | "end_sessions" | "signed" => "false",
        _ => "none",
    }
}

/// A length as people write it, where a key has one. The log has it in another way: 30 days are `4w2d` there.
pub(super) fn length_shown(key: &str, value: &str) -> Option<String> {
    const LENGTHS: [&str; 6] =
        ["max_duration", "cooldown", "lapse_after", "remind_after", "longer_than", "offline_for"];
    let length = value.parse::<Length>().ok().filter(|_| LENGTHS.contains(&key))?;
    Some(length.to_string())
}

fn plain(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => length_shown(key, text).unwrap_or_else(|| text.clone()),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => joined(items.iter().map(|item| plain(key, item))),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key} {}", plain(key, value))).collect();
            format!("({})", fields.join("; "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A change of the team in words: the most dangerous changes first, and how many more there are.
pub fn in_words(actor: &str, changes: &[Change], separator: &str) -> String {
    let sorted = by_danger(changes);
    let mut named: Vec<String> = sorted.iter().take(NAMED).map(|change| cut(&one(change), LONGEST)).collect();
    match sorted.len() - named.len() {
        0 => {}
        more => {
            let more = quantity(more, "more change", "more changes");
            named.push(format!("and {more}: `access audit --action team.applied --json`"));
        }
    }
    let begin = if separator.starts_with('\n') { separator } else { " " };
    format!("{actor} changed the team:{begin}{}", named.join(separator))
}

/// The most dangerous changes first.
pub fn by_danger(changes: &[Change]) -> Vec<&Change> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by_key(|change| danger(change));
    sorted
}

/// `bob: role member → admin`, `member zoe added (admin)`, `group dba: + dave`.
pub fn one(change: &Change) -> String {
    let what = match change {
        Change::Member(name, Diff::Change { .. }) => name.to_string(),
        Change::Rule(name, _) => format!("rule {:?}", name.as_str()),
        Change::RuleOrder(_) => return "the order of the rules changed".to_owned(),
        Change::Binding(diff) => match &**diff {
            Diff::Add { to } => return format!("{} now gives {}", to.resource, given(to)),
            Diff::Remove { from } => return format!("{} no longer gives {}", from.resource, given(from)),
            Diff::Change { to, .. } => format!("what {} gives ({})", to.resource, given(to)),
        },
        Change::Team(_)
        | Change::Member(..)
        | Change::Group(..)
        | Change::Connection(..)
        | Change::Target(..)
        | Change::Feature(..)
        | Change::Scope(..)
        | Change::Host(..)
        | Change::Notifications(_) => change.what().replacen(':', " ", 1),
    };
    if let Change::Member(name, Diff::Add { to }) = change {
        return format!("{what} added ({})", joining(name.as_str(), to));
    }
    match Difference::of(change) {
        Difference::Added(fields) if fields.is_empty() => format!("{what} added"),
        Difference::Added(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key} {value}")).collect();
            format!("{what} added ({})", fields.join("; "))
        }
        Difference::Removed => format!("{what} removed"),
        Difference::Changed(fields) => {
            let alone = matches!(change, Change::Group(..));
            let fields = fields.iter().map(|(key, change)| match change {
                FieldChange::Value { from, to } => format!("{key} {from} → {to}"),
                FieldChange::List { added, removed } => {
                    let added = added.iter().map(|item| format!("+ {item}"));
                    let items = joined(added.chain(removed.iter().map(|item| format!("- {item}"))));
                    if alone { items } else { format!("{key} {items}") }
                }
            });
            format!("{what}: {}", fields.collect::<Vec<_>>().join("; "))
        }
    }
}

/// `role=orders_rw in orders-pg, also without a grant`.
fn given(binding: &Binding) -> String {
    let baseline = if binding.baseline { ", also without a grant" } else { "" };
    format!("{}{baseline}", in_connector(&binding.parameters, &binding.connector))
}

/// What matters of somebody new: the role, and a login that is not the name.
fn joining(name: &str, member: &Member) -> String {
    let mut text = member.role.to_string();
    if member.login.as_str() != name {
        text += &format!(", login {}", member.login);
    }
    for key in &member.ssh_keys {
        text += &format!(", SSH key {}", key.in_words());
    }
    if member.disabled {
        text += ", disabled";
    }
    if member.auditor {
        text += ", auditor";
    }
    text
}

/// How dangerous a change may be; 0 is the most dangerous.
fn danger(change: &Change) -> u8 {
    match change {
        Change::Member(_, diff) => match diff {
            Diff::Add { to } if to.role >= Role::Admin || to.auditor => 0,
            Diff::Change { from, to }
                if from.role != to.role
                    || from.login != to.login
                    || (from.disabled && !to.disabled)
                    || from.auditor != to.auditor
                    || !to.ssh_keys.is_subset(&from.ssh_keys) =>
            {
                0
            }
            Diff::Add { .. } => 3,
            Diff::Change { .. } | Diff::Remove { .. } => 4,
        },
        Change::Rule(_, diff) => match &**diff {
            Diff::Remove { .. } => 1,
            Diff::Change { from, to } if may_weaken(from, to) => 1,
            Diff::Add { to } if to.auto_approve || to.emergency => 1,
            Diff::Add { .. } | Diff::Change { .. } => 3,
        },
        Change::Connection(_, Diff::Change { .. })
        | Change::Feature(_, Diff::Change { .. })
        | Change::Scope(_, Diff::Change { .. } | Diff::Add { .. })
        | Change::Group(_, Diff::Change { .. } | Diff::Add { .. }) => 2,
        Change::Binding(diff) => {
            if diff.after().is_some() {
                2
            } else {
                4
            }
        }
        Change::Host(_, diff) => match diff.after() {
            Some(host) if host.may == HostPower::Decide => 1,
            Some(_) | None => 3,
        },
        Change::Target(_, Diff::Change { .. }) | Change::Notifications(_) => 3,
        Change::Group(_, Diff::Remove { .. }) | Change::Scope(_, Diff::Remove { .. }) => 4,
        Change::Team(_) | Change::Connection(..) | Change::Target(..) | Change::Feature(..) | Change::RuleOrder(_) => 5,
    }
}

/// Whether a rule may demand less than before: all but more approvals and longer reasons is taken for that.
fn may_weaken(from: &Rule, to: &Rule) -> bool {
    let stricter = Rule { approvals: to.approvals, reason_min: to.reason_min, ..from.clone() };
    stricter != *to || to.approvals < from.approvals || to.reason_min < from.reason_min
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::team::Team;
    use crate::domain::team::team_file;

    const SAMPLE: &str = include_str!("../../../examples/team.toml");
    /// On lines that begin with spaces, as TOML allows.
    const RULES: &str = "
        [[rules]]
        name = \"two for production\"
        match = { environments = [\"production\"] }
        approvers = [\"role:admin\"]
        approvals = 2
        ";

    fn team(text: &str) -> Team {
        team_file::parse(text).unwrap()
    }

    fn described(from: &str, to: &str) -> String {
        in_words("root", &team(from).changes_to(&team(to)), "; ")
    }

    #[test]
    fn each_change_says_what_it_changes() {
        let from = &format!("{SAMPLE}{RULES}");
        for (was, is, words) in [
            ("[members.bob]\nrole = \"member\"", "[members.bob]\nrole = \"admin\"", "bob: role member → admin"),
            ("[members.bob]\n", "[members.bob]\nlogin = \"eve\"\n", "bob: login bob → eve"),
            ("approvals = 2", "approvals = 1", "rule \"two for production\": approvals 2 → 1"),
            (RULES, "", "rule \"two for production\" removed"),
            (
                "[connections.prod-aws]\nenvironment = \"production\"",
                "[connections.prod-aws]\nenvironment = \"non-production\"",
                "connection prod-aws: environment production → non-production",
            ),
            (
                "approvers = [\"role:admin\"]\n",
                "approvers = [\"role:member\"]\n",
                "approvers + role:member, - role:admin",
            ),
            ("[members.bob]\n", "[members.zoe]\nrole = \"admin\"\n[members.bob]\n", "member zoe added (admin)"),
            (
                "environments = [\"production\"]",
                "resources = [\"target:orders-db\"]",
                "match (environments production) → (resources target:orders-db)",
            ),
        ] {
            assert!(from.contains(was), "{was}");
            assert!(described(from, &from.replace(was, is)).starts_with("root changed the team: "));
            assert!(
                described(from, &from.replace(was, is)).contains(words),
                "{words}: {}",
                described(from, &from.replace(was, is))
            );
        }
        let groups = format!("{SAMPLE}\n[groups.dba]\nmembers = [\"bob\"]\n");
        assert_eq!(
            described(&groups, &groups.replace("[\"bob\"]\n", "[\"dave\"]\n")),
            "root changed the team: group dba: + dave, - bob"
        );
    }

    #[test]
    fn the_most_dangerous_comes_first_and_the_rest_is_counted() {
        let from = format!("{SAMPLE}{RULES}");
        let mut to = from.replace("approvals = 2", "approvals = 1");
        for number in 0..46 {
            to += &format!("\n[targets.aa-{number}]\nconnections = [\"sandbox\"]\n");
        }
        let to = to.replace("[members.grace]\nrole = \"member\"", "[members.grace]\nrole = \"admin\"");
        let words = described(&from, &to);
        let begin = "root changed the team: grace: role member → admin; rule \"two for production\": approvals 2 → 1; target aa-0 added";
        assert!(words.starts_with(begin), "{words}");
        assert!(words.ends_with("; and 38 more changes: `access audit --action team.applied --json`"), "{words}");
    }

    #[test]
    fn one_change_is_no_longer_than_a_few_lines() {
        let rule = |deny: &str| format!("{SAMPLE}\n[[rules]]\nname = \"no\"\ndeny = \"{deny}\"\n");
        let words = described(&rule("a"), &rule(&"é".repeat(2000)));
        assert!(words.chars().count() < LONGEST + 40 && words.ends_with('…'), "{words}");
    }
}
