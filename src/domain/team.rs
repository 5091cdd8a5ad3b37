//! The team as its file declares it: members, groups, and the catalogue of what there is to ask for.
//! Also the difference between two teams, which is what a `team.applied` event records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::channel::Addresses;
use super::name::Name;
use super::preference::Policy;
use super::resource::Resource;
use super::role::Role;
use super::rule::{Rule, RuleName};
use super::text::is_hostile;
use super::{Malformed, checked_string, read_by_parsing};

/// Serialized in the shape of the team file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    pub team: Header,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<Name, Member>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Name, Group>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<Name, Connection>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<Name, Target>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<Name, Feature>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes: BTreeMap<Name, Scope>,
    /// In the order of the file; all that match hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub notifications: Policy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub role: Role,
    /// The Unix user name.
    pub login: Login,
    #[serde(flatten)]
    pub addresses: Addresses,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Timezone>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub members: BTreeSet<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    Production,
    NonProduction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub environment: Environment,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub connections: BTreeSet<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// The least role that has it without asking.
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    #[serde(flatten)]
    pub covers: Covers,
    pub assigned: BTreeSet<Assignee>,
}

/// A scope covers things of one sort only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covers {
    Environments(BTreeSet<Environment>),
    Connections(BTreeSet<Name>),
    Targets(BTreeSet<Name>),
}

/// Who has a scope without asking, who may approve, whom a rule is about: a member, a group, or a role, which stands for
/// itself and all above it (but where it says whom a rule is about: there for itself alone).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignee {
    Member(Name),
    Group(Name),
    Role(Role),
}

/// An email address, as it was written. It holds nothing that a mail header acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);
checked_string!(Email);

/// A Unix user name, as the system's user database spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login(String);
checked_string!(Login);

/// A Slack member id, such as `U012AB3CD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackId(String);
checked_string!(SlackId);

/// A name of the IANA time zone database, such as `Europe/Paris`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timezone(String);
checked_string!(Timezone);

impl FromStr for Email {
    type Err = Malformed;
    /// Old logs and configurations may hold addresses that `check` refuses. They stay readable.
    fn from_str(text: &str) -> Result<Email, Malformed> {
        let (local, domain) = text.rsplit_once('@').unwrap_or(("", ""));
        let plain = |c: char| c.is_ascii_graphic() && !r#"<>()[]\,;:"'`@"#.contains(c);
        let as_before = text.len() <= 254
            && !local.is_empty()
            && !domain.is_empty()
            && local.chars().chain(domain.chars()).all(plain);
        let checked = Email::check(text);
        if as_before || checked.is_ok() { Ok(Email(text.to_owned())) } else { checked.map(|()| Email(text.to_owned())) }
    }
}

impl Email {
    /// Whether mail can be sent to this address: a dot-atom before the `@` (RFC 5322 3.2.3), the name of a host after it
    /// (RFC 1123 2.1), which may be an international one (RFC 5890).
    pub fn check(text: &str) -> Result<(), Malformed> {
        let wrong =
            |why: String| Err(Malformed::new(format!("an email is written like ana@example.com; this one {why}")));
        let Some((local, domain)) = text.rsplit_once('@') else { return wrong("has no @".to_owned()) };
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        if local.is_empty() || domain.is_empty() {
            return wrong("has nothing before or after the @".to_owned());
        }
        if let Some(c) = local.chars().find(|&c| !atom(c)) {
            let shown = if c.is_ascii_graphic() { c.to_string() } else { format!("U+{:04X}", u32::from(c)) };
            return wrong(format!("has the character {shown} before the @"));
        }
        if local.contains("..") || domain.contains("..") {
            return wrong("has two dots in a row".to_owned());
        }
        if local.starts_with('.') || local.ends_with('.') {
            return wrong("begins with a dot, or has one just before the @".to_owned());
        }
        if local.len() > 64 || text.len() > 254 {
            return wrong("is too long: at most 64 characters before the @, and 254 in all".to_owned());
        }
        match domain_on_the_wire(domain) {
            Ok(wire) if wire.len() > 253 => wrong("has a host name that is too long".to_owned()),
            Ok(_) => Ok(()),
            Err(why) => wrong(why),
        }
    }

    /// As mail servers take it: an international host name in its ASCII form, `xn--…`.
    pub fn on_the_wire(&self) -> String {
        match self.0.rsplit_once('@') {
            Some((local, domain)) if !domain.is_ascii() => {
                domain_on_the_wire(domain).map_or_else(|_| self.0.clone(), |domain| format!("{local}@{domain}"))
            }
            Some(_) | None => self.0.clone(),
        }
    }
}

/// A host name in its ASCII form, or why it is none.
fn domain_on_the_wire(domain: &str) -> Result<String, String> {
    if !domain.is_ascii() {
        return idna::domain_to_ascii_strict(domain)
            .map_err(|_| format!("has {domain:?} after the @, which is no international host name"));
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Err("has a dot at the beginning or the end of its host name".to_owned());
        }
        if let Some(c) = label.chars().find(|&c| !c.is_ascii_alphanumeric() && c != '-') {
            return Err(format!("has the character {c:?} after the @"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("has {label:?} in its host name, which begins or ends with a hyphen"));
        }
        if label.len() > 63 {
            return Err("has a part of more than 63 characters in its host name".to_owned());
        }
    }
    Ok(domain.to_owned())
}

impl FromStr for Login {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Login, Malformed> {
        let plain = |c: char| !c.is_whitespace() && !is_hostile(c) && !":/,".contains(c);
        if !text.is_empty() && text.len() <= 256 && !text.starts_with('-') && text.chars().all(plain) {
            Ok(Login(text.to_owned()))
        } else {
            Err(Malformed::new("a login is a Unix user name, without spaces, ':' or '/'"))
        }
    }
}

impl From<&Name> for Login {
    /// Every name is also a possible login.
    fn from(name: &Name) -> Login {
        Login(name.to_string())
    }
}

impl FromStr for SlackId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<SlackId, Malformed> {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if (2..=32).contains(&text.len()) && text.bytes().all(plain) {
            Ok(SlackId(text.to_owned()))
        } else {
            Err(Malformed::new("a Slack id is written like U012AB3CD"))
        }
    }
}

impl FromStr for Timezone {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Timezone, Malformed> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
        };
        if text.len() <= 64 && text.split('/').all(part) {
            Ok(Timezone(text.to_owned()))
        } else {
            Err(Malformed::new("a timezone is written like Europe/Paris"))
        }
    }
}

impl Environment {
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Production => "production",
            Environment::NonProduction => "non-production",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Environment, Malformed> {
        match text {
            "production" => Ok(Environment::Production),
            "non-production" => Ok(Environment::NonProduction),
            _ => Err(Malformed::new("an environment is production or non-production")),
        }
    }
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assignee::Member(name) => write!(f, "member:{name}"),
            Assignee::Group(name) => write!(f, "group:{name}"),
            Assignee::Role(role) => write!(f, "role:{role}"),
        }
    }
}

impl FromStr for Assignee {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Assignee, Malformed> {
        match text.split_once(':') {
            Some(("member", name)) => Ok(Assignee::Member(name.parse()?)),
            Some(("group", name)) => Ok(Assignee::Group(name.parse()?)),
            Some(("role", name)) => Ok(Assignee::Role(name.parse()?)),
            Some(_) | None => Err(Malformed::new("written member:NAME, group:NAME or role:NAME")),
        }
    }
}

read_by_parsing!(Assignee);

impl Serialize for Assignee {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Team {
    /// A team of one: its owner.
    pub fn of_one(team: Name, owner: Name, login: Login) -> Team {
        let member =
            Member { role: Role::Owner, login, addresses: Addresses::default(), timezone: None, disabled: false };
        let mut team = Team::named(Header { name: team });
        team.members.insert(owner, member);
        team
    }

    /// Whether the catalogue has this. Every role is always there.
    pub fn has(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Connection(name) => self.connections.contains_key(name),
            Resource::Target(name) => self.targets.contains_key(name),
            Resource::Feature(name) => self.features.contains_key(name),
            Resource::Scope(name) => self.scopes.contains_key(name),
            Resource::Role(_) => true,
        }
    }

    /// Those who are named so, by the team file alone, and may act. `about_a_role`: as far as they decide on roles.
    pub fn approvers(&self, named: &BTreeSet<Assignee>, about_a_role: bool) -> BTreeSet<&Name> {
        let is_named = |name: &Name, member: &Member| {
            named.iter().any(|named| match named {
                Assignee::Member(other) => other == name,
                Assignee::Group(group) => self.groups.get(group).is_some_and(|group| group.members.contains(name)),
                Assignee::Role(least) if about_a_role => member.role >= (*least).max(Role::Admin),
                Assignee::Role(least) => member.role >= *least,
            })
        };
        let able = self.members.iter().filter(|(name, member)| !member.disabled && is_named(name, member));
        able.map(|(name, _)| name).collect()
    }

    pub fn admins(&self) -> impl Iterator<Item = &Name> {
        self.members.iter().filter(|(_, member)| member.role >= Role::Admin && !member.disabled).map(|(name, _)| name)
    }

    pub fn owner(&self) -> Option<(&Name, &Member)> {
        self.members.iter().find(|(_, member)| member.role == Role::Owner)
    }

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
        diff_rules(&self.rules, &new.rules, &mut changes);
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
}

impl Team {
    /// Makes one recorded change. What the change was from must be what stands there.
    pub fn take(team: &mut Option<Team>, change: &Change) -> Result<(), String> {
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
            Change::Rule(name, diff) => take_rule(&mut team.rules, name, diff),
            Change::RuleOrder(diff) => take_order(&mut team.rules, diff),
            Change::Notifications(diff) => {
                let fits = diff_policy(&team.notifications, &diff.after().cloned().unwrap_or_default());
                team.notifications = diff.after().cloned().unwrap_or_default();
                fits.as_ref() == Some(diff)
            }
        };
        if fits { Ok(()) } else { Err(mismatch()) }
    }

    /// A team of nobody and nothing.
    pub fn named(team: Header) -> Team {
        Team {
            team,
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            connections: BTreeMap::new(),
            targets: BTreeMap::new(),
            features: BTreeMap::new(),
            scopes: BTreeMap::new(),
            rules: Vec::new(),
            notifications: Policy::default(),
        }
    }
}

/// A policy that says nothing is none.
fn diff_policy(old: &Policy, new: &Policy) -> Option<Diff<Policy>> {
    match (old.is_empty(), new.is_empty()) {
        _ if old == new => None,
        (true, _) => Some(Diff::Add { to: new.clone() }),
        (false, true) => Some(Diff::Remove { from: old.clone() }),
        (false, false) => Some(Diff::Change { from: old.clone(), to: new.clone() }),
    }
}

/// Puts what stands after the change in its place. Whether it fits what stood there.
fn take_diff<T: Clone + PartialEq>(map: &mut BTreeMap<Name, T>, name: &Name, diff: &Diff<T>) -> bool {
    let stood = match diff.after() {
        Some(after) => map.insert(name.clone(), after.clone()),
        None => map.remove(name),
    };
    match diff {
        Diff::Add { .. } => stood.is_none(),
        Diff::Change { from, .. } | Diff::Remove { from } => stood.as_ref() == Some(from),
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

fn take_order(rules: &mut [Rule], diff: &Diff<RuleOrder>) -> bool {
    let Diff::Change { from, to } = diff else { return false };
    let stood = order(rules);
    let place: BTreeMap<&RuleName, usize> = to.names.iter().zip(0..).collect();
    rules.sort_by_cached_key(|rule| place.get(&rule.name).copied());
    stood == *from && order(rules) == *to
}

fn order(rules: &[Rule]) -> RuleOrder {
    RuleOrder { names: rules.iter().map(|rule| rule.name.clone()).collect() }
}

/// What changes in the rules, one by one, and then their order if it is not what that gives.
fn diff_rules(old: &[Rule], new: &[Rule], changes: &mut Vec<Change>) {
    fn named(rules: &[Rule]) -> BTreeMap<&RuleName, &Rule> {
        rules.iter().map(|rule| (&rule.name, rule)).collect()
    }
    let (stood, stand) = (named(old), named(new));
    let mut standing = Vec::new();
    for from in old {
        let diff = match stand.get(&from.name) {
            None => Diff::Remove { from: from.clone() },
            Some(to) => {
                standing.push((*to).clone());
                if *to == from {
                    continue;
                }
                Diff::Change { from: from.clone(), to: (*to).clone() }
            }
        };
        changes.push(Change::Rule(from.name.clone(), Box::new(diff)));
    }
    for to in new.iter().filter(|rule| !stood.contains_key(&rule.name)) {
        standing.push(to.clone());
        changes.push(Change::Rule(to.name.clone(), Box::new(Diff::Add { to: to.clone() })));
    }
    let (from, to) = (order(&standing), order(new));
    if from != to {
        changes.push(Change::RuleOrder(Diff::Change { from, to }));
    }
}

fn diff_maps<T: Clone + PartialEq>(
    old: &BTreeMap<Name, T>,
    new: &BTreeMap<Name, T>,
    change: fn(Name, Diff<T>) -> Change,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diff<T> {
    Add { to: T },
    Change { from: T, to: T },
    Remove { from: T },
}

impl<T> Diff<T> {
    /// What stands after the change, if anything.
    pub fn after(&self) -> Option<&T> {
        match self {
            Diff::Add { to } | Diff::Change { to, .. } => Some(to),
            Diff::Remove { .. } => None,
        }
    }
}

impl Diff<Member> {
    /// Whether the member is, after the change, the one who was there before: somebody with another login is not.
    pub fn is_same_person(&self) -> bool {
        match self {
            Diff::Change { from, to } => from.login == to.login,
            Diff::Add { .. } | Diff::Remove { .. } => false,
        }
    }
}

/// One thing added, changed or removed. Written `{"change":"add","what":"member:bob","from":null,"to":{…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenChange", into = "WrittenChange")]
pub enum Change {
    Team(Diff<Header>),
    Member(Name, Diff<Member>),
    Group(Name, Diff<Group>),
    Connection(Name, Diff<Connection>),
    Target(Name, Diff<Target>),
    Feature(Name, Diff<Feature>),
    Scope(Name, Diff<Scope>),
    Rule(RuleName, Box<Diff<Rule>>),
    /// Always a change of one order to another.
    RuleOrder(Diff<RuleOrder>),
    Notifications(Diff<Policy>),
}

/// The rules by name, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOrder {
    pub names: Vec<RuleName>,
}

#[derive(Clone, Serialize, Deserialize)]
struct WrittenChange {
    change: Verb,
    what: String,
    from: Option<Value>,
    to: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Add,
    Change,
    Remove,
}

fn write_diff<T: Serialize>(what: String, diff: Diff<T>) -> WrittenChange {
    let value = |item: T| Some(serde_json::to_value(item).expect("a part of a team has string keys only"));
    match diff {
        Diff::Add { to } => WrittenChange { change: Verb::Add, what, from: None, to: value(to) },
        Diff::Change { from, to } => WrittenChange { change: Verb::Change, what, from: value(from), to: value(to) },
        Diff::Remove { from } => WrittenChange { change: Verb::Remove, what, from: value(from), to: None },
    }
}

fn read_diff<T: serde::de::DeserializeOwned>(written: WrittenChange) -> Result<Diff<T>, Malformed> {
    let read = |value: Value| serde_json::from_value(value).map_err(|e| Malformed::new(e.to_string()));
    match (written.change, written.from, written.to) {
        (Verb::Add, None, Some(to)) => Ok(Diff::Add { to: read(to)? }),
        (Verb::Change, Some(from), Some(to)) => Ok(Diff::Change { from: read(from)?, to: read(to)? }),
        (Verb::Remove, Some(from), None) => Ok(Diff::Remove { from: read(from)? }),
        (Verb::Add | Verb::Change | Verb::Remove, _, _) => Err(Malformed::new("a change without what it changes")),
    }
}

impl From<Change> for WrittenChange {
    fn from(change: Change) -> WrittenChange {
        let what = change.what();
        match change {
            Change::Team(diff) => write_diff(what, diff),
            Change::Member(_, diff) => write_diff(what, diff),
            Change::Group(_, diff) => write_diff(what, diff),
            Change::Connection(_, diff) => write_diff(what, diff),
            Change::Target(_, diff) => write_diff(what, diff),
            Change::Feature(_, diff) => write_diff(what, diff),
            Change::Scope(_, diff) => write_diff(what, diff),
            Change::Rule(_, diff) => write_diff(what, *diff),
            Change::RuleOrder(diff) => write_diff(what, diff),
            Change::Notifications(diff) => write_diff(what, diff),
        }
    }
}

impl TryFrom<WrittenChange> for Change {
    type Error = Malformed;
    fn try_from(written: WrittenChange) -> Result<Change, Malformed> {
        let what = written.what.clone();
        match what.split_once(':') {
            None if what == "team" => Ok(Change::Team(read_diff(written)?)),
            None if what == "rules" => Ok(Change::RuleOrder(read_diff(written)?)),
            None if what == "notifications" => Ok(Change::Notifications(read_diff(written)?)),
            Some(("member", name)) => Ok(Change::Member(name.parse()?, read_diff(written)?)),
            Some(("group", name)) => Ok(Change::Group(name.parse()?, read_diff(written)?)),
            Some(("connection", name)) => Ok(Change::Connection(name.parse()?, read_diff(written)?)),
            Some(("target", name)) => Ok(Change::Target(name.parse()?, read_diff(written)?)),
            Some(("feature", name)) => Ok(Change::Feature(name.parse()?, read_diff(written)?)),
            Some(("scope", name)) => Ok(Change::Scope(name.parse()?, read_diff(written)?)),
            Some(("rule", name)) => Ok(Change::Rule(name.parse()?, Box::new(read_diff(written)?))),
            Some(_) | None => Err(Malformed::new(format!("a change of {what}, which is no part of a team"))),
        }
    }
}

impl Change {
    /// `team`, `rules` (their order), or `kind:name`.
    pub fn what(&self) -> String {
        match self {
            Change::Team(_) => "team".to_owned(),
            Change::Member(name, _) => format!("member:{name}"),
            Change::Group(name, _) => format!("group:{name}"),
            Change::Connection(name, _) => format!("connection:{name}"),
            Change::Target(name, _) => format!("target:{name}"),
            Change::Feature(name, _) => format!("feature:{name}"),
            Change::Scope(name, _) => format!("scope:{name}"),
            Change::Rule(name, _) => format!("rule:{name}"),
            Change::RuleOrder(_) => "rules".to_owned(),
            Change::Notifications(_) => "notifications".to_owned(),
        }
    }

    /// The resource that this change takes away, if it does.
    pub fn removes(&self) -> Option<Resource> {
        match self {
            Change::Connection(name, Diff::Remove { .. }) => Some(Resource::Connection(name.clone())),
            Change::Target(name, Diff::Remove { .. }) => Some(Resource::Target(name.clone())),
            Change::Feature(name, Diff::Remove { .. }) => Some(Resource::Feature(name.clone())),
            Change::Scope(name, Diff::Remove { .. }) => Some(Resource::Scope(name.clone())),
            Change::Team(_)
            | Change::Member(..)
            | Change::Group(..)
            | Change::Connection(..)
            | Change::Target(..)
            | Change::Feature(..)
            | Change::Scope(..)
            | Change::Rule(..)
            | Change::RuleOrder(_)
            | Change::Notifications(_) => None,
        }
    }

    /// The member whom this change is about, if it is about one.
    fn member(&self) -> Option<(&Name, &Diff<Member>)> {
        match self {
            Change::Member(name, diff) => Some((name, diff)),
            Change::Team(_)
            | Change::Group(..)
            | Change::Connection(..)
            | Change::Target(..)
            | Change::Feature(..)
            | Change::Scope(..)
            | Change::Rule(..)
            | Change::RuleOrder(_)
            | Change::Notifications(_) => None,
        }
    }

    /// The member who is not there any more after this change: removed, or another person by the same name.
    pub fn departs(&self) -> Option<&Name> {
        self.member().and_then(|(name, diff)| match diff {
            Diff::Add { .. } => None,
            Diff::Change { .. } | Diff::Remove { .. } => (!diff.is_same_person()).then_some(name),
        })
    }

    /// The member who departs or is disabled. (One with another login departs, and another person comes: else whoever has
    /// the login now could decide on what they asked for before.)
    pub fn shuts_out(&self) -> Option<&Name> {
        let disabled = |(name, diff): (_, &Diff<Member>)| match diff {
            Diff::Change { from, to } if to.disabled && !from.disabled => Some(name),
            Diff::Add { .. } | Diff::Change { .. } | Diff::Remove { .. } => None,
        };
        self.departs().or_else(|| self.member().and_then(disabled))
    }
}
