//! The team of the model, and which of its rules match what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;
pub const EVER: i64 = i64::MAX;

pub const ROLES: [&str; 4] = ["viewer", "member", "admin", "owner"];
pub const VIEWER: usize = 0;
pub const MEMBER: usize = 1;
pub const ADMIN: usize = 2;
pub const OWNER: usize = 3;
pub const PEOPLE: [&str; 6] = ["ana", "ben", "cy", "dee", "eva", "fay"];
/// What each of them may be to the operating system.
const LOGINS: [[&str; 3]; 6] = [
    ["ana", "ana-2", "ana-3"],
    ["ben", "ben-2", "ben-3"],
    ["cy", "cy-2", "cy-3"],
    ["dee", "dee-2", "dee-3"],
    ["eva", "eva-2", "eva-3"],
    ["fay", "fay-2", "fay-3"],
];
pub const RESOURCES: [&str; 16] = [
    "connection:prod",
    "connection:stage",
    "target:db",
    "target:both",
    "target:web",
    "feature:deploy",
    "feature:export",
    "feature:cost",
    "scope:staging",
    "scope:production",
    "scope:stores",
    "role:member",
    "role:admin",
    "role:owner",
    "role:viewer",
    "target:nowhere",
];
pub const ASSIGNEES: [&str; 6] =
    ["group:backend", "role:viewer", "role:member", "role:admin", "member:fay", "member:cy"];

/// A rule as a team may have it: whom and what it is about, then what it says.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    /// A `*` at the end stands for anything. Empty: whatever it is.
    resources: &'static [&'static str],
    production: Option<bool>,
    requesters: &'static [&'static str],
    longer_than: Option<i64>,
    for_good: Option<bool>,
    pub approvers: &'static [&'static str],
    pub approvals: usize,
    pub longest: i64,
    pub never_for_good: bool,
    /// Whether it wants a ticket of OPS's.
    pub ticket: bool,
    pub reason: usize,
    pub auto: bool,
    pub deny: bool,
    pub lapses: Option<i64>,
    pub reminds: Option<i64>,
    pub escalates: &'static [&'static str],
    pub emergency: bool,
}

const RULE: Rule = Rule {
    name: "",
    resources: &[],
    production: None,
    requesters: &[],
    longer_than: None,
    for_good: None,
    approvers: &[],
    approvals: 1,
    longest: EVER,
    never_for_good: false,
    ticket: false,
    reason: 0,
    auto: false,
    deny: false,
    lapses: None,
    reminds: None,
    escalates: &[],
    emergency: false,
};

/// What a team picks its rules from.
pub const RULES: [Rule; 22] = [
    Rule { name: "two for prod", resources: &["connection:prod*"], approvers: &["role:admin"], approvals: 2, ..RULE },
    Rule {
        name: "cost",
        resources: &["feature:*", "target:*"],
        approvers: &["member:dee"],
        lapses: Some(3 * DAY),
        ..RULE
    },
    Rule { name: "backend", production: Some(true), approvers: &["group:backend", "member:fay"], ..RULE },
    Rule { name: "in office", resources: &["role:admin"], approvers: &["role:member"], approvals: 2, ..RULE },
    Rule { name: "roles", resources: &["role:*"], approvers: &["member:eva", "role:admin"], approvals: 2, ..RULE },
    Rule { name: "long", longer_than: Some(DAY), approvers: &["role:owner"], ..RULE },
    Rule { name: "anybody", resources: &["scope:*"], approvers: &["role:viewer"], approvals: 2, ..RULE },
    Rule { name: "short", resources: &["connection:*", "target:*"], longest: 8 * HOUR, ..RULE },
    Rule { name: "shorter", production: Some(true), longest: 4 * HOUR, reason: 10, ..RULE },
    Rule { name: "not for good", requesters: &["group:backend", "role:viewer"], never_for_good: true, ..RULE },
    Rule { name: "ticket", resources: &["scope:*", "feature:deploy"], ticket: true, reason: 10, ..RULE },
    Rule { name: "no viewer", resources: &["target:*"], requesters: &["role:viewer"], deny: true, ..RULE },
    Rule { name: "not eva", requesters: &["member:eva"], for_good: Some(true), deny: true, ..RULE },
    Rule { name: "free stage", production: Some(false), auto: true, ..RULE },
    Rule { name: "free targets", resources: &["target:*", "feature:deploy"], auto: true, ..RULE },
    Rule { name: "free stores", resources: &["scope:stores"], requesters: &["role:member"], auto: true, ..RULE },
    Rule {
        name: "late",
        lapses: Some(2 * DAY),
        reminds: Some(4 * HOUR),
        escalates: &["member:fay", "group:backend"],
        ..RULE
    },
    Rule { name: "later", requesters: &["role:member"], reminds: Some(DAY), escalates: &["role:admin"], ..RULE },
    Rule {
        name: "fire",
        resources: &["connection:prod", "target:*"],
        emergency: true,
        longest: DAY,
        reason: 10,
        approvers: &["member:dee", "role:admin"],
        ..RULE
    },
    Rule { name: "fire in stage", production: Some(false), emergency: true, ticket: true, ..RULE },
    Rule {
        name: "office in fire",
        resources: &["role:admin"],
        emergency: true,
        requesters: &["group:backend"],
        ..RULE
    },
    Rule { name: "four eyes", approvers: &["role:member"], approvals: 2, ..RULE },
];
pub const SHORT: [usize; 2] = [7, 8];
pub const NEVER: [usize; 2] = [11, 12];
pub const LATE: usize = 16;
pub const LATER: usize = 17;
pub const FIRE: [usize; 3] = [18, 19, 20];
pub const FOUR_EYES: usize = 21;

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub role: usize,
    pub disabled: bool,
    pub login: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Team {
    pub members: BTreeMap<&'static str, Member>,
    pub backend: BTreeSet<&'static str>,
    /// Whether it is production.
    pub connections: BTreeMap<&'static str, bool>,
    pub targets: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// The least role.
    pub features: BTreeMap<&'static str, usize>,
    pub scopes: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// By their places among all.
    pub rules: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy)]
pub enum Edit {
    Role(&'static str, usize),
    Disable(&'static str),
    /// Takes out, or brings back.
    Member(&'static str),
    Item(&'static str),
    /// A new owner, and whether the old one stays.
    Owner(&'static str, bool),
    Environment(&'static str),
    Backend(&'static str),
    Assign(&'static str, &'static str),
    /// Gives another login.
    Login(&'static str),
    /// Each gets the other's login.
    Exchange(&'static str, &'static str),
    Rule(usize),
    /// Has this rule from now on, if it had not.
    Adopt(usize),
}

pub fn full_team() -> Team {
    let member = |(name, role)| (name, Member { role, disabled: false, login: name });
    Team {
        members: PEOPLE.into_iter().zip([OWNER, ADMIN, ADMIN, MEMBER, MEMBER, VIEWER]).map(member).collect(),
        backend: BTreeSet::from(["dee"]),
        connections: BTreeMap::from([("prod", true), ("stage", false)]),
        targets: BTreeMap::from([
            ("db", BTreeSet::from(["prod"])),
            ("both", BTreeSet::from(["prod", "stage"])),
            ("web", BTreeSet::from(["stage"])),
        ]),
        features: BTreeMap::from([("deploy", MEMBER), ("cost", ADMIN), ("export", OWNER)]),
        scopes: BTreeMap::from([
            ("staging", BTreeSet::from(["role:member"])),
            ("production", BTreeSet::from(["group:backend"])),
            ("stores", BTreeSet::from(["member:fay"])),
        ]),
        rules: BTreeSet::new(),
    }
}

pub fn role(name: &str) -> usize {
    ROLES.iter().position(|role| *role == name).unwrap()
}

fn is_like(pattern: &str, resource: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => resource.starts_with(start),
        None => pattern == resource,
    }
}

impl Team {
    pub fn has(&self, resource: &str) -> bool {
        match resource.split_once(':').unwrap() {
            ("connection", name) => self.connections.contains_key(name),
            ("target", name) => self.targets.contains_key(name),
            ("feature", name) => self.features.contains_key(name),
            ("scope", name) => self.scopes.contains_key(name),
            _ => true,
        }
    }

    pub fn owner(&self) -> &'static str {
        self.members.iter().find(|(_, member)| member.role == OWNER).map(|(name, _)| *name).unwrap()
    }

    pub fn of_login(&self, login: &str) -> Option<&'static str> {
        self.members.iter().find(|(_, member)| member.login == login).map(|(name, _)| *name)
    }

    pub fn active(&self, who: &str) -> bool {
        self.members.get(who).is_some_and(|member| !member.disabled)
    }

    pub fn base(&self, who: &str) -> usize {
        self.members.get(who).map_or(VIEWER, |member| member.role)
    }

    /// "staging" covers what is wholly non-production, "production" the connection prod, "stores" two targets by name.
    pub fn covers(&self, scope: &str, resource: &str) -> bool {
        let (kind, name) = resource.split_once(':').unwrap();
        if !self.scopes.contains_key(scope) || !self.has(resource) {
            return false;
        }
        match (scope, kind) {
            ("staging", "connection") => !self.connections[name],
            ("staging", "target") => self.targets[name].iter().all(|connection| !self.connections[connection]),
            ("production", "connection") => name == "prod",
            ("production", "target") => self.targets[name].contains("prod"),
            ("stores", "target") => name == "db" || name == "both",
            _ => false,
        }
    }

    /// A target is in production when any of its connections is; what is no connection and no target is nowhere.
    fn is_production(&self, resource: &str) -> Option<bool> {
        match resource.split_once(':').unwrap() {
            ("connection", name) => Some(self.connections[name]),
            ("target", name) => Some(self.targets[name].iter().any(|connection| self.connections[connection])),
            _ => None,
        }
    }

    /// Whether a rule matches what somebody asks for so long; and then, whether all that it would give them does.
    fn matches(&self, rule: &Rule, requester: &str, resource: &str, length: i64) -> Option<bool> {
        let is_requester = |named: &&str| match named.split_once(':').unwrap() {
            ("member", name) => name == requester,
            ("group", _) => self.backend.contains(requester),
            (_, exactly) => self.base(requester) == role(exactly),
        };
        let is_about = (rule.requesters.is_empty() || rule.requesters.iter().any(is_requester))
            && rule.longer_than.is_none_or(|least| length > least)
            && rule.for_good.is_none_or(|for_good| for_good == (length == EVER));
        if !is_about || !self.has(resource) {
            return None;
        }
        let (kind, name) = resource.split_once(':').unwrap();
        let is_inside = |other: &&str| match kind {
            "scope" => self.covers(name, other),
            "connection" => {
                other.strip_prefix("target:").is_some_and(|it| self.targets.get(it).is_some_and(|on| on.contains(name)))
            }
            _ => false,
        };
        let inside: Vec<&str> = RESOURCES.into_iter().filter(is_inside).collect();
        let is_named = |it: &str| rule.resources.is_empty() || rule.resources.iter().any(|like| is_like(like, it));
        let is_there = |it: &str| rule.production.is_none_or(|there| self.is_production(it) == Some(there));
        // A scope is where anything is that it covers.
        let itself =
            is_named(resource) && (is_there(resource) || kind == "scope" && inside.iter().any(|it| is_there(it)));
        if !itself && !inside.iter().any(|it| is_named(it) && is_there(it)) {
            return None;
        }
        // A scope is nothing but what it covers; a connection is something by itself.
        let all_named =
            is_named(resource) || kind == "scope" && !inside.is_empty() && inside.iter().all(|it| is_named(it));
        let all_there = (kind == "scope" || is_there(resource)) && inside.iter().all(|it| is_there(it));
        Some(all_named && all_there)
    }

    /// The rules that match any of these, which are what and for how long, and of each whether it matches all wholly.
    pub fn hold(&self, requester: &str, cases: &[(&str, i64)], emergency: bool) -> Vec<(&'static Rule, bool)> {
        let rules = self.rules.iter().map(|place| &RULES[*place]).filter(|rule| emergency || !rule.emergency);
        let held = rules.filter_map(|rule| {
            let each = cases.iter().map(|(resource, length)| self.matches(rule, requester, resource, *length));
            let each: Vec<Option<bool>> = each.collect();
            each.iter().any(Option::is_some).then_some((rule, each.iter().all(|it| *it == Some(true))))
        });
        held.collect()
    }

    /// Whether somebody, who has this role now, is one of those named. Roles are decided on by what the file says.
    pub fn is_one_of(&self, named: &[&str], who: &str, about_a_role: bool, now: usize) -> bool {
        self.active(who)
            && named.iter().any(|named| match named.split_once(':').unwrap() {
                ("member", name) => name == who,
                ("group", _) => self.backend.contains(who),
                (_, least) if about_a_role => self.base(who) >= role(least).max(ADMIN),
                (_, least) => now >= role(least),
            })
    }

    pub fn edit(&mut self, edit: Edit) {
        let full = full_team();
        let owns = |team: &Team, who: &str| team.base(who) == OWNER;
        match edit {
            Edit::Role(who, role) if !owns(self, who) => {
                self.members.entry(who).and_modify(|member| member.role = role);
            }
            Edit::Disable(who) if !owns(self, who) => {
                self.members.entry(who).and_modify(|member| member.disabled = !member.disabled);
            }
            Edit::Member(who) if !owns(self, who) => {
                if self.members.remove(who).is_none()
                    && let Some(login) = self.free_login(who)
                {
                    let role = full.members[who].role.min(ADMIN);
                    self.members.insert(who, Member { role, disabled: false, login });
                }
            }
            Edit::Owner(who, stays) if !owns(self, who) => {
                let Some(login) = self.members.get(who).map(|it| it.login).or_else(|| self.free_login(who)) else {
                    return;
                };
                let old = self.owner();
                self.members.entry(old).and_modify(|member| member.role = ADMIN);
                if !stays {
                    self.members.remove(old);
                }
                self.members.insert(who, Member { role: OWNER, disabled: false, login });
            }
            Edit::Role(..) | Edit::Disable(_) | Edit::Member(_) | Edit::Owner(..) => {}
            Edit::Item(resource) => match resource.split_once(':').unwrap() {
                ("connection", name) => toggle(&mut self.connections, &full.connections, name),
                ("target", name) => toggle(&mut self.targets, &full.targets, name),
                ("feature", name) => toggle(&mut self.features, &full.features, name),
                ("scope", name) => toggle(&mut self.scopes, &full.scopes, name),
                _ => {}
            },
            Edit::Environment(name) => {
                self.connections.entry(name).and_modify(|production| *production = !*production);
            }
            Edit::Backend(who) => {
                if !self.backend.remove(who) {
                    self.backend.insert(who);
                }
            }
            Edit::Assign(scope, assignee) => {
                if let Some(assigned) = self.scopes.get_mut(scope)
                    && !assigned.remove(assignee)
                {
                    assigned.insert(assignee);
                }
            }
            Edit::Login(who) => {
                if let Some(login) = self.free_login(who) {
                    self.members.entry(who).and_modify(|member| member.login = login);
                }
            }
            Edit::Exchange(one, other) => {
                let login = |team: &Team, who| team.members.get(who).map(|member| member.login);
                if let (Some(of_one), Some(of_other)) = (login(self, one), login(self, other)) {
                    self.members.entry(one).and_modify(|member| member.login = of_other);
                    self.members.entry(other).and_modify(|member| member.login = of_one);
                }
            }
            Edit::Adopt(place) => drop(self.rules.insert(place)),
            Edit::Rule(place) => {
                if !self.rules.remove(&place) {
                    self.rules.insert(place);
                }
            }
        }
        // A file that names what is not in it is no team.
        self.backend.retain(|who| self.members.contains_key(who));
        for connections in self.targets.values_mut() {
            connections.retain(|name| self.connections.contains_key(name));
        }
        self.targets.retain(|_, connections| !connections.is_empty());
        for assigned in self.scopes.values_mut() {
            assigned.retain(|it| it.strip_prefix("member:").is_none_or(|who| self.members.contains_key(who)));
        }
        self.rules = self.rules.iter().copied().filter(|place| self.can_have(&RULES[*place])).collect();
    }

    fn free_login(&self, who: &str) -> Option<&'static str> {
        let place = PEOPLE.iter().position(|name| *name == who).unwrap();
        LOGINS[place].into_iter().find(|login| self.of_login(login).is_none())
    }

    /// A rule names what there is, and no more approvals than the team file has approvers.
    fn can_have(&self, rule: &Rule) -> bool {
        let mut named = [rule.approvers, rule.requesters, rule.escalates].concat().into_iter();
        let approvers = self.members.keys().filter(|who| self.is_one_of(rule.approvers, who, false, self.base(who)));
        named.all(|it| it.strip_prefix("member:").is_none_or(|who| self.members.contains_key(who)))
            && rule.resources.iter().all(|it| it.ends_with('*') || self.has(it))
            && (rule.approvers.is_empty() || approvers.count() >= rule.approvals)
    }

    pub fn file(&self) -> String {
        let mut file = "[team]\nname = \"model\"\n".to_owned();
        for (name, Member { role, disabled, login }) in &self.members {
            writeln!(file, "[members.{name}]\nrole = \"{}\"", ROLES[*role]).unwrap();
            writeln!(file, "disabled = {disabled}\nlogin = {login:?}").unwrap();
        }
        writeln!(file, "[groups.backend]\nmembers = {:?}", Vec::from_iter(&self.backend)).unwrap();
        for (name, production) in &self.connections {
            writeln!(file, "[connections.{name}]\nenvironment = {:?}", environment(*production)).unwrap();
        }
        for (name, connections) in &self.targets {
            writeln!(file, "[targets.{name}]\nconnections = {:?}", Vec::from_iter(connections)).unwrap();
        }
        for (name, role) in &self.features {
            writeln!(file, "[features.{name}]\nrole = {:?}", ROLES[*role]).unwrap();
        }
        for (name, assigned) in &self.scopes {
            let covers = match *name {
                "staging" => "environments = [\"non-production\"]".to_owned(),
                "production" if self.connections.contains_key("prod") => "connections = [\"prod\"]".to_owned(),
                "production" => "connections = []".to_owned(),
                _ => {
                    let stores = ["db", "both"].into_iter().filter(|name| self.targets.contains_key(name));
                    format!("targets = {:?}", Vec::from_iter(stores))
                }
            };
            writeln!(file, "[scopes.{name}]\n{covers}\nassigned = {:?}", Vec::from_iter(assigned)).unwrap();
        }
        for place in &self.rules {
            file += &RULES[*place].written();
        }
        file
    }
}

fn environment(production: bool) -> &'static str {
    if production { "production" } else { "non-production" }
}

impl Rule {
    fn written(&self) -> String {
        let mut matches: Vec<String> = Vec::new();
        let list = |key: &str, all: &[&str]| (!all.is_empty()).then(|| format!("{key} = {all:?}"));
        let length = |key: &str, length: Option<i64>| length.map(|seconds| format!("{key} = \"{seconds}s\""));
        matches.extend(list("resources", self.resources));
        matches.extend(self.production.and_then(|it| list("environments", &[environment(it)])));
        matches.extend(list("requesters", self.requesters));
        matches.extend(length("longer_than", self.longer_than));
        matches.extend(self.for_good.map(|it| format!("permanent = {it}")));
        let mut lines = vec!["[[rules]]".to_owned(), format!("name = {:?}", self.name)];
        lines.push(format!("match = {{ {} }}", matches.join(", ")));
        if !self.approvers.is_empty() {
            lines.extend(list("approvers", self.approvers));
            lines.push(format!("approvals = {}", self.approvals));
        }
        lines.extend(length("max_duration", Some(self.longest).filter(|it| *it != EVER)));
        lines.extend(self.never_for_good.then(|| "allow_permanent = false".to_owned()));
        lines.extend(self.ticket.then(|| "ticket = \"OPS-[0-9]+\"".to_owned()));
        lines.extend((self.reason > 0).then(|| format!("reason_min = {}", self.reason)));
        lines.extend(self.auto.then(|| "auto_approve = true".to_owned()));
        lines.extend(self.deny.then(|| "deny = \"No\"".to_owned()));
        lines.extend(length("lapse_after", self.lapses));
        lines.extend(length("remind_after", self.reminds));
        lines.extend(list("escalate_to", self.escalates));
        lines.extend(self.emergency.then(|| "emergency = true".to_owned()));
        lines.join("\n") + "\n"
    }

    /// Whether it stands against access of this length.
    pub fn forbids(&self, length: i64) -> bool {
        self.deny || self.never_for_good && length == EVER || length > self.longest
    }

    /// Whether it wants another ticket or more of a reason.
    pub fn wants_more(&self, reason: &str, ticket: Option<&str>) -> bool {
        let of_ops = |ticket: &str| {
            ticket.strip_prefix("OPS-").is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
        };
        self.ticket && !ticket.is_some_and(of_ops) || reason.len() < self.reason
    }
}

fn toggle<T: Clone>(map: &mut BTreeMap<&'static str, T>, full: &BTreeMap<&'static str, T>, name: &str) {
    if map.remove(name).is_none()
        && let Some((name, item)) = full.get_key_value(name)
    {
        map.insert(name, item.clone());
    }
}
