//! The team file: TOML to a `Team` and back. Every mistake is found in one reading, each with its line;
//! a file with any mistake gives no team at all.
//!
//! The work that a file causes grows with its size and no faster, whatever it holds: what would compare everything with
//! everything has a limit.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::difference::length_shown;
use super::{Group, Header, Team};
use crate::domain::Malformed;
use crate::domain::binding::{Binding, Parameters};
use crate::domain::catalog::{Connection, Covers, Environment, Feature, Scope, Target};
use crate::domain::channel::{Addresses, Channel, SlackChannel};
use crate::domain::contact::Email;
use crate::domain::host::{HostPower, TeamHost};
use crate::domain::member::{Assignee, Login, Member};
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::NotificationKind;
use crate::domain::policy::demand::SignatureDemand;
use crate::domain::policy::pattern::Pattern;
use crate::domain::policy::rule::{Match, Rule};
use crate::domain::preference::{Choice, Policy};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::ssh_key::SshKey;
use crate::domain::text::{check_distinct, nearest, quantity};

/// A mistake in the file, and its line (the first is 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What is wrong with a file: at least one mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The first that were found, by line.
    pub first: Vec<Mistake>,
    /// How many there are besides.
    pub more: usize,
}

impl Mistakes {
    fn add(&mut self, line: usize, what: impl Into<String>) {
        if self.first.len() < MOST_MISTAKES {
            self.first.push(Mistake { line, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    fn by_line(mut self) -> Mistakes {
        self.first.sort_by_key(|mistake| mistake.line);
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        lines.extend((self.more > 0).then(|| format!("and {} more", self.more)));
        f.write_str(&lines.join("\n"))
    }
}

/// At most this many mistakes are reported, and the number of the others.
const MOST_MISTAKES: usize = 100;
/// So many names are compared in all to say which one was meant.
const MOST_COMPARED: usize = 50_000;
/// In a file of more bytes than this, only the first syntax error is reported.
const MOST_RECOVERED: usize = 256 << 10;
/// The most members, groups, connections, targets, features, scopes and hosts together in a file.
pub const MOST_ITEMS: usize = 100_000;
/// The most rules in a file.
pub const MOST_RULES: usize = 10_000;
/// The most bindings in a file.
pub const MOST_BINDINGS: usize = 10_000;
/// The most SSH keys of a member.
const MOST_SSH_KEYS: usize = 20;

/// Reads a team file.
pub fn parse(text: &str) -> Result<Team, Mistakes> {
    // In a large file each character may be an error of its own, and a list of millions helps nobody.
    let (root, syntax) = match text.len() > MOST_RECOVERED {
        true => match DeTable::parse(text) {
            Ok(root) => (root, Vec::new()),
            Err(first) => (Spanned::new(0..0, DeTable::new()), vec![first]),
        },
        false => DeTable::parse_recoverable(text),
    };
    let lines = line_ends(text);
    let mut mistakes = Mistakes::default();
    for error in &syntax {
        let line = line_at(&lines, error.span().map_or(0, |span| span.start));
        mistakes.add(line, format!("not valid TOML: {}", error.message().replace('\n', "; ")));
    }
    if syntax.is_empty() {
        mistakes = too_many(root.get_ref());
    }
    if !mistakes.first.is_empty() {
        return Err(mistakes.by_line());
    }
    let mut reading = Reading { lines, names: BTreeMap::new(), able: BTreeMap::new(), mistakes, compared: 0 };
    let team = reading.team(root.get_ref());
    if reading.mistakes.first.is_empty() { Ok(team) } else { Err(reading.mistakes.by_line()) }
}

/// Whether a file has more in it than it may.
fn too_many(root: &DeTable<'_>) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let section = |section: &&str| root.get(*section).and_then(|value| value.get_ref().as_table());
    let items: usize = SECTIONS[NAMED].iter().filter_map(section).map(|table| table.len()).sum();
    if items > MOST_ITEMS {
        let kinds = SECTIONS[NAMED].join(", ");
        mistakes.add(1, format!("the file has {items} items ({kinds}); it may have {MOST_ITEMS}"));
    }
    let rules = root.get("rules").and_then(|value| value.get_ref().as_array()).map_or(0, |rules| rules.len());
    if rules > MOST_RULES {
        mistakes.add(1, format!("the file has {rules} rules; it may have {MOST_RULES}"));
    }
    let bindings = root.get("bindings").and_then(|value| value.get_ref().as_array()).map_or(0, |all| all.len());
    if bindings > MOST_BINDINGS {
        mistakes.add(1, format!("the file has {bindings} bindings; it may have {MOST_BINDINGS}"));
    }
    mistakes
}

/// Writes the team as a file that `parse` reads back to the same team.
pub fn write(team: &Team) -> String {
    let text = toml::to_string(team).expect("a team has string keys and no empty values");
    let shown = with_lengths_shown(&text);
    // A line of a text that has several may look like a length.
    if shown == text || parse(&shown).is_ok_and(|read| read == *team) { shown } else { text }
}

fn with_lengths_shown(text: &str) -> String {
    let shown = |line: &str| {
        let (key, value) = line.strip_suffix("\"\n")?.split_once(" = \"")?;
        Some(format!("{key} = \"{}\"\n", length_shown(key, value)?))
    };
    text.split_inclusive('\n').map(|line| shown(line).unwrap_or_else(|| line.to_owned())).collect()
}

/// Where each line ends.
fn line_ends(text: &str) -> Vec<usize> {
    text.bytes().zip(0..).filter(|(byte, _)| *byte == b'\n').map(|(_, at)| at).collect()
}

fn line_at(lines: &[usize], offset: usize) -> usize {
    1 + lines.partition_point(|&end| end < offset)
}

type Value<'a> = Spanned<DeValue<'a>>;

/// A reading of one file: what each section declares, and the mistakes so far.
struct Reading {
    /// Where each line ends.
    lines: Vec<usize>,
    names: BTreeMap<&'static str, BTreeSet<Name>>,
    /// Who may approve, by how they are named: many rules name the same.
    able: BTreeMap<(Assignee, SignatureDemand), BTreeSet<Name>>,
    mistakes: Mistakes,
    /// How many names were compared to say which one was meant.
    compared: usize,
}

/// One table of the file, with how to call it in a message and the line it begins on.
#[derive(Clone, Copy)]
struct Table<'a> {
    what: &'a str,
    line: usize,
    keys: &'a DeTable<'a>,
}

const SECTIONS: [&str; 11] = [
    "team",
    "members",
    "groups",
    "connections",
    "targets",
    "features",
    "scopes",
    "hosts",
    "rules",
    "bindings",
    "notifications",
];
/// The sections with a table for each name.
const NAMED: std::ops::Range<usize> = 1..8;

impl Reading {
    fn mistake(&mut self, line: usize, what: impl Into<String>) {
        self.mistakes.add(line, what);
    }

    fn line(&self, offset: usize) -> usize {
        line_at(&self.lines, offset)
    }

    fn team(&mut self, root: &DeTable<'_>) -> Team {
        let root = Table { what: "the file", line: 1, keys: root };
        self.refuse_unknown(root, &SECTIONS);
        for section in &SECTIONS[NAMED] {
            let names = self.section(root, section).into_iter().filter_map(|(key, ..)| key.parse().ok()).collect();
            self.names.insert(section, names);
        }
        let team = Team {
            team: self.header(root),
            members: self.collect(root, "members", "member", Reading::member),
            groups: self.collect(root, "groups", "group", Reading::group),
            connections: self.collect(root, "connections", "connection", Reading::connection),
            targets: self.collect(root, "targets", "target", Reading::target),
            features: self.collect(root, "features", "feature", Reading::feature),
            scopes: self.collect(root, "scopes", "scope", Reading::scope),
            hosts: self.collect(root, "hosts", "host", Reading::host),
            rules: Vec::new(),
            bindings: self.bindings(root),
            notifications: self.notifications(root),
        };
        self.check_owner(root);
        self.check_logins(root, &team);
        self.check_ssh_keys(root, &team);
        self.check_hosts(root, &team);
        let rules = self.rules(root, &team);
        Team { rules, ..team }
    }

    fn header(&mut self, root: Table<'_>) -> Header {
        let fallback = || "unnamed".parse().expect("a plain word is a name");
        let Some(value) = root.keys.get("team") else {
            self.mistake(1, "there is no [team] section with the team's name");
            return Header { name: fallback(), offline_for: None };
        };
        let line = self.line(value.span().start);
        let Some(keys) = value.get_ref().as_table() else {
            self.mistake(line, "team is a section: [team]");
            return Header { name: fallback(), offline_for: None };
        };
        let table = Table { what: "[team]", line, keys };
        self.refuse_unknown(table, &["name", "offline_for"]);
        let name = self.required(table, "name").unwrap_or_else(fallback);
        Header { name, offline_for: self.optional(table, "offline_for") }
    }

    fn member(&mut self, name: &Name, table: Table<'_>) -> Option<Member> {
        const KEYS: [&str; 6] = ["role", "login", "timezone", "disabled", "auditor", "ssh_keys"];
        let channels = Channel::ALL.map(Channel::as_str);
        self.refuse_unknown(table, &[&KEYS, &channels[..]].concat());
        let role = self.required(table, "role");
        let member = Member {
            role: role.unwrap_or(Role::Viewer),
            login: self.optional(table, "login").unwrap_or_else(|| Login::from(name)),
            addresses: self.addresses(table),
            timezone: self.optional(table, "timezone"),
            disabled: self.flag(table, "disabled"),
            auditor: self.flag(table, "auditor"),
            ssh_keys: self.ssh_keys(table),
        };
        if member.role == Role::Owner && member.disabled {
            self.mistake(table.line, format!("{} is the owner, and the owner can't be disabled", table.what));
        }
        role.map(|_| member)
    }

    fn ssh_keys(&mut self, table: Table<'_>) -> BTreeSet<SshKey> {
        let keys = self.some::<SshKey>(table, "ssh_keys");
        if let Some((_, line)) = keys.get(MOST_SSH_KEYS) {
            self.mistake(*line, format!("{} has {} SSH keys; it may have {MOST_SSH_KEYS}", table.what, keys.len()));
        }
        let mut seen = BTreeSet::new();
        for (key, line) in &keys {
            if !seen.insert(key.blob()) {
                self.mistake(*line, format!("{} has the SSH key {} twice", table.what, key.in_words()));
            }
        }
        keys.into_iter().map(|(key, _)| key).collect()
    }

    fn addresses(&mut self, table: Table<'_>) -> Addresses {
        let mut addresses = Addresses::default();
        for channel in Channel::ALL {
            let Some(value) = table.keys.get(channel.as_str()) else { continue };
            if let Some(address) = self.parsed_by(table.what, channel.as_str(), value, |text| channel.address(text)) {
                addresses.insert(channel, address);
            }
        }
        addresses
    }

    fn group(&mut self, _: &Name, table: Table<'_>) -> Option<Group> {
        self.refuse_unknown(table, &["members"]);
        Some(Group { members: self.references(table, "members", "members", "member")? })
    }

    fn connection(&mut self, _: &Name, table: Table<'_>) -> Option<Connection> {
        self.refuse_unknown(table, &["environment", "offline_for"]);
        let offline_for = self.optional(table, "offline_for");
        Some(Connection { environment: self.required(table, "environment")?, offline_for })
    }

    fn target(&mut self, _: &Name, table: Table<'_>) -> Option<Target> {
        self.refuse_unknown(table, &["connections", "offline_for"]);
        let offline_for = self.optional(table, "offline_for");
        let connections = self.references(table, "connections", "connections", "connection")?;
        if connections.is_empty() {
            self.mistake(table.line, format!("{} has no connection; it needs one or more", table.what));
        }
        Some(Target { connections, offline_for })
    }

    fn feature(&mut self, _: &Name, table: Table<'_>) -> Option<Feature> {
        self.refuse_unknown(table, &["role"]);
        Some(Feature { role: self.required(table, "role")? })
    }

    fn scope(&mut self, _: &Name, table: Table<'_>) -> Option<Scope> {
        self.refuse_unknown(table, &["environments", "connections", "targets", "assigned"]);
        let assigned = self.assigned(table);
        let kinds: Vec<&str> = ["environments", "connections", "targets"]
            .into_iter()
            .filter(|kind| table.keys.contains_key(*kind))
            .collect();
        let covers = match kinds.as_slice() {
            ["environments"] => Covers::Environments(
                self.list::<Environment>(table, "environments")?.into_iter().map(|(e, _)| e).collect(),
            ),
            ["connections"] => {
                Covers::Connections(self.references(table, "connections", "connections", "connection")?)
            }
            ["targets"] => Covers::Targets(self.references(table, "targets", "targets", "target")?),
            [] => {
                let what = "covers nothing; give it environments, connections or targets";
                self.mistake(table.line, format!("{} {what}", table.what));
                return None;
            }
            [..] => {
                let what = format!("{} covers {}; a scope covers one kind", table.what, kinds.join(" and "));
                self.mistake(table.line, what);
                return None;
            }
        };
        Some(Scope { covers, assigned })
    }

    fn host(&mut self, _: &Name, table: Table<'_>) -> Option<TeamHost> {
        self.refuse_unknown(table, &["may"]);
        Some(TeamHost { may: self.required(table, "may")? })
    }

    /// A shared log whose hosts can't decide could never change again.
    fn check_hosts(&mut self, root: Table<'_>, team: &Team) {
        let Some(value) = root.keys.get("hosts").filter(|_| !team.hosts.is_empty()) else { return };
        if !team.hosts.values().any(|host| host.may == HostPower::Decide) {
            let line = self.line(value.span().start);
            self.mistake(line, "no host may decide; at least one needs may = \"decide\"");
        }
    }

    /// The rules, in their order. `team`: the rest of the file.
    fn rules(&mut self, root: Table<'_>, team: &Team) -> Vec<Rule> {
        let tables = self.tables(root, "rules");
        let mut rules: Vec<Rule> = Vec::new();
        let mut names: BTreeMap<RuleName, usize> = BTreeMap::new();
        for (keys, line) in tables {
            let name = keys.get("name").and_then(|name| name.get_ref().as_str());
            let what = name.map_or_else(|| "a rule".to_owned(), |name| format!("rule {name:?}"));
            let Some(rule) = self.rule(Table { what: &what, line, keys }, team) else { continue };
            match names.get(&rule.name) {
                Some(first) => self.mistake(line, format!("{what} is there already, on line {first}")),
                None => drop(names.insert(rule.name.clone(), line)),
            }
            rules.push(rule);
        }
        rules
    }

    /// A list of tables, such as `[[rules]]`, each with its line. Anything else under this key is a mistake.
    fn tables<'t>(&mut self, root: Table<'t>, key: &str) -> Vec<(&'t DeTable<'t>, usize)> {
        let Some(value) = root.keys.get(key) else { return Vec::new() };
        let tables = value.get_ref().as_array().filter(|all| all.iter().all(|table| table.get_ref().is_table()));
        let Some(tables) = tables else {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{key} are a list of tables: [[{key}]]"));
            return Vec::new();
        };
        let table = |value: &'t Value<'t>| Some((value.get_ref().as_table()?, self.line(value.span().start)));
        tables.iter().filter_map(table).collect()
    }

    fn bindings(&mut self, root: Table<'_>) -> BTreeSet<Binding> {
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        let mut bindings = BTreeSet::new();
        for (keys, line) in self.tables(root, "bindings") {
            let resource = keys.get("resource").and_then(|resource| resource.get_ref().as_str());
            let what = resource.map_or_else(|| "a binding".to_owned(), |resource| format!("binding of {resource:?}"));
            let Some(binding) = self.binding(Table { what: &what, line, keys }) else { continue };
            match lines.get(&binding.to_string()) {
                Some(first) => self.mistake(line, format!("{what} is there already, on line {first}")),
                None => drop(lines.insert(binding.to_string(), line)),
            }
            bindings.insert(binding);
        }
        bindings
    }

    fn binding(&mut self, table: Table<'_>) -> Option<Binding> {
        const KEYS: [&str; 4] = ["resource", "connector", "baseline", "end_sessions"];
        let resource = self.required::<Resource>(table, "resource");
        if let (Some(resource), Some(value)) = (&resource, table.keys.get("resource")) {
            let line = self.line(value.span().start);
            self.check_resource(resource, line, "a binding");
            if *resource == Resource::Role(Role::Owner) && !table.keys.contains_key("baseline") {
                self.mistake(line, "role:owner is never granted, so a binding of it needs baseline = true");
            }
        }
        let connector = self.required(table, "connector");
        let (baseline, end_sessions) = (self.flag(table, "baseline"), self.flag(table, "end_sessions"));
        let mut parameters = Parameters::new();
        for (key, value) in table.keys.iter().filter(|(key, _)| !KEYS.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let line = self.line(key.span().start);
            let parsed =
                name.parse::<Name>().map_err(|why| self.mistake(line, format!("{}: {name:?}: {why}", table.what)));
            let value = self.parsed(table.what, &format!("parameter {name}"), value);
            parameters.extend(parsed.ok().zip(value));
        }
        Some(Binding { resource: resource?, connector: connector?, baseline, end_sessions, parameters })
    }

    fn rule(&mut self, table: Table<'_>, team: &Team) -> Option<Rule> {
        const SAYS: [&str; 13] = [
            "approvers",
            "max_duration",
            "max_per_day",
            "allow_permanent",
            "ticket",
            "reason_min",
            "auto_approve",
            "deny",
            "lapse_after",
            "remind_after",
            "emergency",
            "end_sessions",
            "signed",
        ];
        const WITH: [&str; 5] = ["name", "match", "approvals", "escalate_to", "cooldown"];
        self.refuse_unknown(table, &[&SAYS[..], &WITH[..]].concat());
        let given = |key: &str| table.keys.contains_key(key);
        let name = self.required::<RuleName>(table, "name");
        let matches = self.matches(table);
        let approvers = self.people(table, "approvers");
        let approvals = self.count(table, "approvals");
        let rule = Rule {
            name: name.clone().unwrap_or_else(|| "unnamed".parse().expect("a plain word is a name")),
            approvers,
            approvals: approvals.unwrap_or(1),
            max_duration: self.optional(table, "max_duration"),
            cooldown: self.optional(table, "cooldown"),
            max_per_day: self.count(table, "max_per_day"),
            allow_permanent: !given("allow_permanent") || self.flag(table, "allow_permanent"),
            ticket: self.optional(table, "ticket"),
            reason_min: self.count(table, "reason_min"),
            auto_approve: self.flag(table, "auto_approve"),
            deny: self.optional(table, "deny"),
            lapse_after: self.optional(table, "lapse_after"),
            remind_after: self.optional(table, "remind_after"),
            escalate_to: self.people(table, "escalate_to"),
            emergency: self.flag(table, "emergency"),
            end_sessions: self.flag(table, "end_sessions"),
            signed: self.flag(table, "signed"),
            matches,
        };
        self.check_rule(table, &rule, !SAYS.iter().any(|key| given(key)), team);
        name.map(|_| rule)
    }

    /// Keys of a rule that contradict one another or have no effect. `is_empty`: it has no key that does something.
    fn check_rule(&mut self, table: Table<'_>, rule: &Rule, is_empty: bool, team: &Team) {
        let what = table.what;
        let mut wrong = |why: &str| self.mistake(table.line, format!("{what} {why}"));
        let given = |key: &str| table.keys.contains_key(key);
        if is_empty {
            wrong("says nothing: give it approvers, a limit, auto_approve, deny, emergency, signed or end_sessions");
        }
        if given("approvals") && !given("approvers") {
            wrong("has approvals and no approvers");
        }
        if given("escalate_to") && !given("remind_after") {
            wrong("has escalate_to and no remind_after");
        }
        if given("cooldown") && !rule.counts_length() {
            wrong("has cooldown and neither max_duration nor longer_than");
        }
        if rule.auto_approve && !rule.approvers.is_empty() {
            wrong("has approvers and auto_approve; a demand for approvers always wins");
        }
        if rule.emergency && (rule.auto_approve || rule.deny.is_some()) {
            wrong("allows emergencies; auto_approve and deny belong in a rule of their own");
        }
        let is_about_some = rule.matches.longer_than.is_some() || rule.matches.permanent.is_some();
        if rule.end_sessions && (rule.emergency || rule.deny.is_some() || is_about_some) {
            wrong("ends sessions; emergency, deny, longer_than and permanent belong in a rule of their own");
        }
        if rule.deny.is_some() && (rule.auto_approve || !rule.approvers.is_empty()) {
            wrong("denies; there is nothing left to approve");
        }
        if rule.signed && (rule.auto_approve || rule.deny.is_some() || rule.emergency) {
            wrong("is signed; auto_approve, deny and emergency belong in a rule of their own, as nobody signs there");
        }
        if let (Some(remind), Some(lapse)) = (rule.remind_after, rule.lapse_after)
            && remind >= lapse
        {
            wrong("reminds after the request has lapsed");
        }
        let default = BTreeSet::from([Assignee::Role(Role::Admin)]);
        let (signing, approvers) = match (rule.signed, rule.approvers.is_empty()) {
            (true, true) => (SignatureDemand::Needed, &default),
            (true, false) => (SignatureDemand::Needed, &rule.approvers),
            (false, _) => (SignatureDemand::Unneeded, &rule.approvers),
        };
        let able = self.able(approvers, signing, rule.approvals as usize, team);
        if !approvers.is_empty() && rule.approvals as usize > able {
            let line = table.keys.get("approvals").map_or(table.line, |value| self.line(value.span().start));
            let with_keys = if rule.signed { " with ssh_keys" } else { "" };
            self.mistake(
                line,
                format!(
                    "{what} takes {}, and has {}{with_keys}",
                    quantity(rule.approvals, "approval", "approvals"),
                    quantity(able, "approver", "approvers")
                ),
            );
        }
    }

    /// How many members may approve, and sign if that is needed, who are named so; where these are enough, it may be more.
    fn able(&mut self, named: &BTreeSet<Assignee>, signing: SignatureDemand, enough: usize, team: &Team) -> usize {
        let can_sign = |member: &Member| signing == SignatureDemand::Unneeded || !member.ssh_keys.is_empty();
        for assignee in named {
            if let Entry::Vacant(vacant) = self.able.entry((assignee.clone(), signing)) {
                let is_able = |name: &&Name| {
                    team.members.get(*name).is_some_and(|member| member.can_decide() && can_sign(member))
                };
                let able: BTreeSet<Name> = match assignee {
                    Assignee::Member(name) => std::iter::once(name).filter(is_able).cloned().collect(),
                    Assignee::Group(group) => {
                        let members = team.groups.get(group).into_iter().flat_map(|group| &group.members);
                        members.filter(is_able).cloned().collect()
                    }
                    Assignee::Role(_) => {
                        let named = team.approvers(&BTreeSet::from([assignee.clone()]), false);
                        named.into_iter().filter(is_able).cloned().collect()
                    }
                };
                vacant.insert(able);
            }
        }
        let each = || named.iter().filter_map(|assignee| self.able.get(&(assignee.clone(), signing)));
        if each().any(|able| able.len() >= enough) {
            return enough;
        }
        let mut all: BTreeSet<&Name> = BTreeSet::new();
        for name in each().flatten() {
            all.insert(name);
            if all.len() >= enough {
                break;
            }
        }
        all.len()
    }

    fn matches(&mut self, table: Table<'_>) -> Match {
        let Some(value) = table.keys.get("match") else { return Match::default() };
        let line = self.line(value.span().start);
        let Some(keys) = value.get_ref().as_table() else {
            self.mistake(line, format!("{}: match is a table: match = {{ resources = [\"…\"] }}", table.what));
            return Match::default();
        };
        let table = Table { line, keys, ..table };
        self.refuse_unknown(table, &["resources", "environments", "requesters", "longer_than", "permanent"]);
        let resources = self.some::<Pattern>(table, "resources");
        for (pattern, line) in &resources {
            if let Some(resource) = pattern.names() {
                self.check_resource(&resource, *line, table.what);
            }
        }
        let permanent = keys.contains_key("permanent").then(|| self.flag(table, "permanent"));
        let longer_than = self.optional(table, "longer_than");
        if permanent == Some(true) && longer_than.is_some() {
            self.mistake(
                line,
                format!("{}: what is permanent is longer than anything; say one of the two", table.what),
            );
        }
        Match {
            resources: resources.into_iter().map(|(pattern, _)| pattern).collect(),
            environments: self.some::<Environment>(table, "environments").into_iter().map(|(it, _)| it).collect(),
            requesters: self.people(table, "requesters"),
            longer_than,
            permanent,
        }
    }

    /// An optional list that is not empty once it is given: an empty one would match nothing, or everything.
    fn some<T: FromStr<Err = Malformed>>(&mut self, table: Table<'_>, key: &str) -> Vec<(T, usize)> {
        let Some(value) = table.keys.get(key) else { return Vec::new() };
        let entries = self.list::<T>(table, key).unwrap_or_default();
        if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{}: {key} is empty; leave it out, or fill it", table.what));
        }
        entries
    }

    /// An optional list of members, groups and roles.
    fn people(&mut self, table: Table<'_>, key: &str) -> BTreeSet<Assignee> {
        let entries = self.some::<Assignee>(table, key);
        self.check_people(&entries, table.what);
        entries.into_iter().map(|(assignee, _)| assignee).collect()
    }

    /// An optional whole number from one up.
    fn count(&mut self, table: Table<'_>, key: &str) -> Option<u32> {
        let value = table.keys.get(key)?;
        let number =
            value.get_ref().as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let count = number.and_then(|number| u32::try_from(number).ok()).filter(|&count| (1..=4096).contains(&count));
        if count.is_none() {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{}: {key} is a whole number from 1 to 4096", table.what));
        }
        count
    }

    fn check_resource(&mut self, resource: &Resource, line: usize, what: &str) {
        let (section, name) = match resource {
            Resource::Connection(name) => ("connections", name),
            Resource::Target(name) => ("targets", name),
            Resource::Feature(name) => ("features", name),
            Resource::Scope(name) => ("scopes", name),
            Resource::Role(_) => return,
        };
        self.check_reference(section, resource.kind().as_str(), name, line, what);
    }

    fn assigned(&mut self, table: Table<'_>) -> BTreeSet<Assignee> {
        if !table.keys.contains_key("assigned") {
            return BTreeSet::new();
        }
        let entries = self.list::<Assignee>(table, "assigned").unwrap_or_default();
        self.check_people(&entries, table.what);
        entries.into_iter().map(|(assignee, _)| assignee).collect()
    }

    fn check_people(&mut self, entries: &[(Assignee, usize)], what: &str) {
        for (assignee, line) in entries {
            match assignee {
                Assignee::Member(name) => self.check_reference("members", "member", name, *line, what),
                Assignee::Group(name) => self.check_reference("groups", "group", name, *line, what),
                Assignee::Role(_) => {}
            }
        }
    }

    fn notifications(&mut self, root: Table<'_>) -> Policy {
        let Some(table) = self.subtable(root, "notifications", "[notifications]") else { return Policy::default() };
        let channels = Channel::ALL.map(Channel::as_str);
        let of_notifications = &["mandatory", "digest", "timezone", "events", "channels"];
        self.refuse_unknown(table, &[&of_notifications[..], &channels].concat());
        let mut policy =
            Policy { all: self.choice(table), timezone: self.optional(table, "timezone"), ..Policy::default() };
        if table.keys.contains_key("mandatory") {
            let mandatory = self.list::<NotificationKind>(table, "mandatory").unwrap_or_default();
            policy.mandatory = mandatory.into_iter().map(|(notice, _)| notice).collect();
        }
        if let Some(events) = self.subtable(table, "events", "[notifications.events]") {
            for (key, line) in self.keys(events) {
                let event = key
                    .parse::<NotificationKind>()
                    .map_err(|why| self.mistake(line, format!("{}: {why}", events.what)));
                let what = format!("{} {key:?}", events.what);
                let (Ok(event), Some(choice)) = (event, self.subtable(events, &key, &what)) else { continue };
                self.refuse_unknown(choice, &[&["digest"], &channels[..]].concat());
                policy.events.insert(event, self.choice(choice));
            }
        }
        if let Some(channels) = self.subtable(table, "channels", "[notifications.channels]") {
            for (key, line) in self.keys(channels) {
                let channel = key.parse::<SlackChannel>();
                let channel = channel.map_err(|why| self.mistake(line, format!("{}: {key:?}: {why}", channels.what)));
                let events = self.list::<NotificationKind>(channels, &key);
                let (Ok(channel), Some(events)) = (channel, events) else { continue };
                policy.channels.insert(channel, events.into_iter().map(|(event, _)| event).collect());
            }
        }
        policy
    }

    fn choice(&mut self, table: Table<'_>) -> Choice {
        let given = Channel::ALL.into_iter().filter(|channel| table.keys.contains_key(channel.as_str()));
        let channels = given.map(|channel| (channel, self.flag(table, channel.as_str()))).collect();
        Choice { channels, digest: self.optional(table, "digest") }
    }

    /// A table in a table, under this key. Anything else there is a mistake.
    fn subtable<'t>(&mut self, table: Table<'t>, key: &str, what: &'t str) -> Option<Table<'t>> {
        let value = table.keys.get(key)?;
        let line = self.line(value.span().start);
        let keys = value.get_ref().as_table();
        if keys.is_none() {
            self.mistake(line, format!("{what} is a section, and is {} here", value.get_ref().type_str()));
        }
        Some(Table { what, line, keys: keys? })
    }

    fn keys(&self, table: Table<'_>) -> Vec<(String, usize)> {
        let keys = table.keys.iter();
        keys.map(|(key, _)| (key.get_ref().to_string(), self.line(key.span().start))).collect()
    }

    /// Exactly one owner, and every further one reported on its line.
    fn check_owner(&mut self, root: Table<'_>) {
        let owners: Vec<(String, usize)> = self
            .section(root, "members")
            .into_iter()
            .filter(|(_, _, value)| {
                let role = value.get_ref().as_table().and_then(|member| member.get("role"));
                role.and_then(|role| role.get_ref().as_str()) == Some("owner")
            })
            .map(|(key, line, _)| (key.to_owned(), line))
            .collect();
        match owners.as_slice() {
            [] => self.mistake(1, "the team has no owner; exactly one member needs role = \"owner\""),
            [(first, _), others @ ..] => {
                for (name, line) in others {
                    self.mistake(*line, format!("{name} is a second owner, beside {first}; a team has exactly one"));
                }
            }
        }
    }

    fn check_logins(&mut self, root: Table<'_>, team: &Team) {
        let lines = self.lines_of_members(root);
        let mut seen: BTreeMap<&Login, &Name> = BTreeMap::new();
        for (name, member) in &team.members {
            if let Some(first) = seen.insert(&member.login, name) {
                let line = lines.get(name.as_str()).copied().unwrap_or(1);
                let what = format!("{first} and {name} have the same login, {}; each needs its own", member.login);
                self.mistake(line, what);
            }
        }
    }

    /// A key says who gives a command, so it is one member's.
    fn check_ssh_keys(&mut self, root: Table<'_>, team: &Team) {
        let lines = self.lines_of_members(root);
        let mut seen: BTreeMap<&str, &Name> = BTreeMap::new();
        for (name, member) in &team.members {
            for key in &member.ssh_keys {
                if let Some(first) = seen.insert(key.blob(), name).filter(|first| *first != name) {
                    let line = lines.get(name.as_str()).copied().unwrap_or(1);
                    let key = key.in_words();
                    self.mistake(line, format!("{first} and {name} have the same SSH key, {key}; each needs its own"));
                }
            }
        }
    }

    fn lines_of_members(&self, root: Table<'_>) -> BTreeMap<String, usize> {
        self.section(root, "members").into_iter().map(|(key, line, _)| (key.to_owned(), line)).collect()
    }

    /// The entries of a section: key, line, value. A section that is not a table is a mistake, reported once.
    fn section<'t>(&self, root: Table<'t>, section: &str) -> Vec<(&'t str, usize, &'t Value<'t>)> {
        let table = root.keys.get(section).and_then(|value| value.get_ref().as_table());
        let entries = table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, value)| (key.get_ref().as_ref(), self.line(key.span().start), value)).collect()
    }

    fn collect<T>(
        &mut self,
        root: Table<'_>,
        section: &str,
        kind: &str,
        read: impl Fn(&mut Self, &Name, Table<'_>) -> Option<T>,
    ) -> BTreeMap<Name, T> {
        if let Some(value) = root.keys.get(section)
            && !value.get_ref().is_table()
        {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{section} is a section of tables: [{section}.NAME]"));
        }
        let mut all = BTreeMap::new();
        for (key, line, value) in self.section(root, section) {
            let what = format!("{kind} {key}");
            let name = match key.parse::<Name>() {
                Ok(name) => name,
                Err(why) => {
                    self.mistake(line, format!("{kind} {key:?}: {why}"));
                    continue;
                }
            };
            let Some(keys) = value.get_ref().as_table() else {
                self.mistake(line, format!("{what} is not a table: [{section}.{key}]"));
                continue;
            };
            if let Some(item) = read(self, &name, Table { what: &what, line, keys }) {
                all.insert(name, item);
            }
        }
        all
    }

    fn refuse_unknown(&mut self, table: Table<'_>, known: &[&str]) {
        for (key, _) in table.keys.iter() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let line = self.line(key.span().start);
                let meant = if self.may_compare(known.len()) { nearest(name, known.iter().copied()) } else { None };
                let meant = meant.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                self.mistake(line, format!("{}: unknown key {name:?}{meant}", table.what));
            }
        }
    }

    fn parsed<T: FromStr<Err = Malformed>>(&mut self, what: &str, key: &str, value: &Value<'_>) -> Option<T> {
        self.parsed_by(what, key, value, str::parse)
    }

    fn parsed_by<T>(
        &mut self,
        what: &str,
        key: &str,
        value: &Value<'_>,
        parse: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Option<T> {
        let line = self.line(value.span().start);
        let Some(text) = value.get_ref().as_str() else {
            self.mistake(line, format!("{what}: {key} is {}, not a text", value.get_ref().type_str()));
            return None;
        };
        // `deny` is a text for people, and is escaped when shown. Everything else names something.
        let distinct = |it| match key {
            "deny" => Ok(it),
            "email" => Email::check(text).and_then(|()| check_distinct(text)).map(|()| it),
            _ => check_distinct(text).map(|()| it),
        };
        let parsed = parse(text).and_then(distinct);
        parsed.map_err(|why| self.mistake(line, format!("{what}: {key} {text:?}: {why}"))).ok()
    }

    fn optional<T: FromStr<Err = Malformed>>(&mut self, table: Table<'_>, key: &str) -> Option<T> {
        let value = table.keys.get(key)?;
        self.parsed(table.what, key, value)
    }

    fn required<T: FromStr<Err = Malformed>>(&mut self, table: Table<'_>, key: &str) -> Option<T> {
        if !table.keys.contains_key(key) {
            self.mistake(table.line, format!("{} has no {key}", table.what));
        }
        self.optional(table, key)
    }

    fn flag(&mut self, table: Table<'_>, key: &str) -> bool {
        let Some(value) = table.keys.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{}: {key} is true or false", table.what));
            false
        })
    }

    /// A required list of texts, each with its line. None when it is absent or no list.
    fn list<T: FromStr<Err = Malformed>>(&mut self, table: Table<'_>, key: &str) -> Option<Vec<(T, usize)>> {
        let Some(value) = table.keys.get(key) else {
            self.mistake(table.line, format!("{} has no {key}", table.what));
            return None;
        };
        let Some(array) = value.get_ref().as_array() else {
            let line = self.line(value.span().start);
            self.mistake(line, format!("{}: {key} is a list: {key} = [\"…\"]", table.what));
            return None;
        };
        let mut items = Vec::new();
        for entry in array.iter() {
            let line = self.line(entry.span().start);
            if let Some(item) = self.parsed(table.what, key, entry) {
                items.push((item, line));
            }
        }
        Some(items)
    }

    fn references(&mut self, table: Table<'_>, key: &str, section: &'static str, kind: &str) -> Option<BTreeSet<Name>> {
        let entries = self.list::<Name>(table, key)?;
        for (name, line) in &entries {
            self.check_reference(section, kind, name, *line, table.what);
        }
        Some(entries.into_iter().map(|(name, _)| name).collect())
    }

    /// Whether to look for the name that was meant, among so many. It is done for the first mistakes only: it takes long, and
    /// after that it helps nobody.
    fn may_compare(&mut self, names: usize) -> bool {
        let few = self.compared + names <= MOST_COMPARED;
        if few {
            self.compared += names;
        }
        few
    }

    fn check_reference(&mut self, section: &'static str, kind: &str, name: &Name, line: usize, what: &str) {
        let declared = self.names.get(section);
        if declared.is_some_and(|names| names.contains(name)) {
            return;
        }
        let compare = self.may_compare(self.names.get(section).map_or(0, BTreeSet::len));
        let declared = self.names.get(section).filter(|_| compare);
        let near = declared.and_then(|names| nearest(name.as_str(), names.iter().map(Name::as_str)));
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.mistake(line, format!("{what} names {kind} {:?}, which is not in the file{near}", name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../examples/team.toml");

    #[test]
    fn the_sample_reads_back_unchanged() {
        let team = parse(SAMPLE).unwrap();
        assert_eq!(parse(&write(&team)).unwrap(), team);
    }

    #[test]
    fn every_mistake_at_once_with_its_line() {
        let text = r#"
[team]
name = "Acme"
colour = "red"

[members.ann]
role = "owner"
[members.bob]
role = "owner"
login = "ann"
[members.cy]
role = "boss"
[members."d e"]
role = "member"

[groups.g]
members = ["ann", "bbo"]

[connections.c]
environment = "staging"

[scopes.s]
connections = ["cc"]
assigned = ["group:h", "team:x"]
[scopes.t]
connections = ["c"]
targets = []
"#;
        let lines: Vec<usize> = parse(text).unwrap_err().first.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [3, 4, 8, 8, 12, 13, 17, 20, 23, 24, 24, 25]);
    }

    #[test]
    fn what_is_not_toml() {
        let mistakes = parse("[team\nname = ").unwrap_err();
        assert_eq!(mistakes.first[0].line, 1);
        assert!(mistakes.first[0].what.contains("not valid TOML"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
