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
/// Where everybody can do everything.
pub const HOSTS: [&str; 4] = ["alpha", "beta", "gamma", "watch"];
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
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub name: &'static str,
    /// A `*` at the end stands for anything. Empty: whatever it is.
    resources: &'static [&'static str],
    production: Option<bool>,
    requesters: &'static [&'static str],
    longer_than: Option<i64>,
    permanent: Option<bool>,
    pub approvers: &'static [&'static str],
    pub approvals: usize,
    pub longest: i64,
    /// Grants that lie nearer than this count together, for `longest` and `longer_than`.
    pub cooldown: i64,
    /// How many requests there may be in a day.
    pub per_day: Option<usize>,
    pub never_permanent: bool,
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
    permanent: None,
    approvers: &[],
    approvals: 1,
    longest: EVER,
    cooldown: 0,
    per_day: None,
    never_permanent: false,
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
pub const RULES: [Rule; 43] = [
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
    Rule { name: "not permanent", requesters: &["group:backend", "role:viewer"], never_permanent: true, ..RULE },
    Rule { name: "ticket", resources: &["scope:*", "feature:deploy"], ticket: true, reason: 10, ..RULE },
    Rule { name: "no viewer", resources: &["target:*"], requesters: &["role:viewer"], deny: true, ..RULE },
    Rule { name: "not eva", requesters: &["member:eva"], permanent: Some(true), deny: true, ..RULE },
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
    // Approvers of one thing inside others.
    Rule { name: "db", resources: &["target:db"], approvers: &["member:dee"], ..RULE },
    Rule {
        name: "both in stage",
        resources: &["target:both", "connection:stage"],
        production: Some(false),
        approvers: &["group:backend", "member:cy"],
        ..RULE
    },
    Rule { name: "connections", resources: &["connection:*"], approvers: &["member:eva", "role:admin"], ..RULE },
    // Scopes by name.
    Rule { name: "stores", resources: &["scope:stores"], approvers: &["member:fay", "role:member"], ..RULE },
    Rule {
        name: "scopes in production",
        resources: &["scope:*"],
        production: Some(true),
        approvers: &["group:backend"],
        ..RULE
    },
    Rule { name: "free staging", resources: &["scope:staging"], auto: true, ..RULE },
    Rule {
        name: "fire in scopes",
        resources: &["scope:stores", "scope:staging"],
        production: Some(false),
        emergency: true,
        approvers: &["member:fay"],
        ..RULE
    },
    // Requesters or lengths alone, which take no role's default away.
    Rule { name: "backend's own", requesters: &["group:backend"], approvers: &["member:fay"], ..RULE },
    Rule { name: "free for members", requesters: &["role:member"], auto: true, ..RULE },
    Rule { name: "free when short", permanent: Some(false), requesters: &["member:fay"], auto: true, ..RULE },
    Rule { name: "fire for members", requesters: &["role:member", "role:viewer"], emergency: true, ..RULE },
    Rule { name: "permanent", permanent: Some(true), approvers: &["role:admin", "member:dee"], ..RULE },
    // Lengths that count together.
    Rule { name: "in all", longest: 5 * HOUR, cooldown: 4 * HOUR, ..RULE },
    Rule { name: "db in all", resources: &["target:db"], longest: 4 * HOUR, cooldown: DAY, ..RULE },
    Rule {
        name: "longer",
        longer_than: Some(4 * HOUR),
        cooldown: HOUR + 1,
        approvers: &["group:backend", "member:cy"],
        ..RULE
    },
    Rule {
        name: "longer stores",
        resources: &["scope:stores", "role:*", "feature:*"],
        longer_than: Some(HOUR),
        cooldown: 2 * DAY,
        approvers: &["role:member"],
        ..RULE
    },
    Rule { name: "no longer", resources: &["target:web"], longer_than: Some(4 * HOUR), deny: true, ..RULE },
    Rule { name: "thrice", resources: &["target:*", "scope:*"], longer_than: Some(HOUR), per_day: Some(3), ..RULE },
    Rule { name: "twice in production", production: Some(true), per_day: Some(2), ..RULE },
    Rule {
        name: "export",
        resources: &["feature:export"],
        requesters: &["role:admin"],
        approvers: &["role:admin"],
        ..RULE
    },
    Rule { name: "brief", resources: &["target:*", "feature:*"], longest: BRIEF, ..RULE },
];
/// Less than what is asked where nobody says how long, and no length that is given.
pub const BRIEF: i64 = 1500;
/// Of them: about what is inside other things, about scopes by name, about requesters or lengths alone, about lengths.
pub const INSIDE: [usize; 3] = [22, 23, 24];
pub const SCOPES: [usize; 4] = [25, 26, 27, 6];
pub const ALONE: [usize; 5] = [29, 30, 31, 33, 5];
pub const LENGTHS: [usize; 8] = [34, 35, 36, 37, 38, 39, 40, 42];
pub const FIRES: [usize; 5] = [18, 19, 20, 28, 32];
pub const SHORT: [usize; 2] = [7, 8];
pub const NEVER: [usize; 2] = [11, 12];
pub const TICKET: usize = 10;
pub const LATE: usize = 16;
pub const LATER: usize = 17;
pub const FOUR_EYES: usize = 21;

/// Access to something for some time.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    pub resource: &'a str,
    pub from: i64,
    pub to: i64,
}

/// What rules judge: what somebody asked for, what would be granted, and what else they were granted at any time.
#[derive(Debug)]
pub struct Case<'a> {
    pub requester: &'a str,
    pub emergency: bool,
    pub asked: Span<'a>,
    pub granted: Span<'a>,
    pub others: Vec<Span<'a>>,
}

/// Whose approvals it takes, how many, and the rule that says so; None: no rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    pub rule: Option<&'static str>,
    pub named: &'static [&'static str],
    pub approvals: usize,
}

/// Which role counts where a role is named as approver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// The one held now.
    Now,
    /// The one in the team file.
    File,
    /// The one in the team file, from admin up.
    Roles,
}

impl Basis {
    /// Of a case: a role may be in it, or permanent access.
    pub fn of(case: &Case) -> Basis {
        let about_a_role = [case.asked, case.granted].iter().any(|span| span.resource.starts_with("role:"));
        match (about_a_role, case.granted.to == EVER) {
            (true, _) => Basis::Roles,
            (false, true) => Basis::File,
            (false, false) => Basis::Now,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub role: usize,
    pub disabled: bool,
    pub auditor: bool,
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
    /// Makes an auditor, or no auditor any more.
    Audit(&'static str),
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
    /// Is what it was at first.
    Restore,
}

pub fn full_team() -> Team {
    let member = |(name, role)| (name, Member { role, disabled: false, auditor: false, login: name });
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

fn default_demand(least: usize) -> Demand {
    let named: &[&str] = if least == OWNER { &["role:owner"] } else { &["role:admin"] };
    Demand { rule: None, named, approvals: 1 }
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

    pub fn is_auditor(&self, who: &str) -> bool {
        self.members.get(who).is_some_and(|member| member.auditor && !member.disabled)
    }

    pub fn can_decide(&self, who: &str) -> bool {
        self.active(who) && !self.is_auditor(who)
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

    /// Everything that a grant of this would open, and that approvers are needed for.
    pub fn opens(&self, resource: &str) -> BTreeSet<&'static str> {
        if !self.has(resource) {
            return BTreeSet::new();
        }
        let (kind, name) = resource.split_once(':').unwrap();
        let inside = |other: &&str| match kind {
            "scope" => self.covers(name, other),
            "connection" => {
                other.strip_prefix("target:").is_some_and(|it| self.targets.get(it).is_some_and(|on| on.contains(name)))
            }
            _ => false,
        };
        let mut opens: BTreeSet<&str> = RESOURCES.into_iter().filter(inside).collect();
        if kind != "scope" || opens.is_empty() {
            opens.extend(RESOURCES.into_iter().find(|it| *it == resource));
        }
        opens
    }

    /// Whether access to this reaches more than it did by the old team: other things, production, or other connections.
    pub fn gains(&self, old: &Team, resource: &str) -> bool {
        let reach = |team: &Team| {
            let mut reach = team.opens(resource);
            reach.extend(RESOURCES.into_iter().find(|it| *it == resource && team.has(it)));
            reach
        };
        let were = reach(old);
        reach(self).into_iter().any(|thing| {
            let joins = || {
                let on = |team: &Team| thing.strip_prefix("target:").map(|name| team.targets[name].clone());
                on(self).is_some_and(|on_now| !on_now.is_subset(&on(old).unwrap_or_default()))
            };
            let turns = || self.is_production(thing) == Some(true) && old.is_production(thing) != Some(true);
            !were.contains(thing) || turns() || joins()
        })
    }

    /// Where a thing is: a scope is in each environment that anything it covers is in.
    fn is_in(&self, thing: &str, production: bool) -> bool {
        let inside = self.opens(thing).into_iter().filter(|_| thing.starts_with("scope:"));
        self.is_production(thing) == Some(production)
            || inside.into_iter().any(|it| self.is_production(it) == Some(production))
    }

    /// Whether a target among these adds nothing to the connections that are among them too.
    fn is_wholly_inside(&self, thing: &str, opened: &BTreeSet<&str>) -> bool {
        let opened = |connection: &&str| opened.iter().any(|it| it.strip_prefix("connection:") == Some(connection));
        thing.strip_prefix("target:").is_some_and(|name| self.targets[name].iter().all(opened))
    }

    /// How long somebody would have a thing, counted together with their other grants that open it too.
    fn length(&self, span: &Span, others: &[Span], thing: &str, cooldown: i64) -> i64 {
        let own = if span.to == EVER { EVER } else { (span.to - span.from).max(0) };
        let opens = |other: &&Span| {
            other.from < other.to && (other.resource == thing || self.opens(other.resource).contains(thing))
        };
        let mut others: Vec<(i64, i64)> = others.iter().filter(opens).map(|other| (other.from, other.to)).collect();
        others.sort_unstable();
        let mut covered = span.from;
        for (from, to) in &others {
            if *from <= covered {
                covered = covered.max(*to);
            }
        }
        // They have it all that time anyway.
        if covered >= span.to {
            return own;
        }
        let mut together = vec![(span.from, span.to.max(span.from))];
        loop {
            let near = |one: &(i64, i64), other: &(i64, i64)| {
                let gap = (one.0.saturating_sub(other.1)).max(other.0.saturating_sub(one.1));
                gap <= 0 || gap < cooldown
            };
            let (joins, rest) = others.into_iter().partition(|other| together.iter().any(|it| near(it, other)));
            let joins: Vec<(i64, i64)> = joins;
            others = rest;
            if joins.is_empty() {
                break;
            }
            together.extend(joins);
        }
        together.sort_unstable();
        let (mut length, mut until) = (0, i64::MIN);
        for (from, to) in together {
            if to == EVER {
                return EVER;
            }
            length += (to - from.max(until)).max(0);
            until = until.max(to);
        }
        length
    }

    /// Whether a rule matches this very thing, with its name, its place and the length of it.
    fn matches(&self, rule: &Rule, requester: &str, span: &Span, others: &[Span], thing: &str) -> bool {
        let is_requester = |named: &&str| match named.split_once(':').unwrap() {
            ("member", name) => name == requester,
            ("group", _) => self.backend.contains(requester),
            (_, exactly) => self.base(requester) == role(exactly),
        };
        (rule.requesters.is_empty() || rule.requesters.iter().any(is_requester))
            && (rule.resources.is_empty() || rule.names(thing))
            && rule.production.is_none_or(|there| self.is_in(thing, there))
            && rule.permanent.is_none_or(|permanent| permanent == (span.to == EVER))
            && rule.longer_than.is_none_or(|least| self.length(span, others, thing, rule.cooldown) > least)
    }

    /// The things opened that a rule matches, and the scope itself where the rule names it.
    fn matched(&self, rule: &Rule, requester: &str, span: &Span, others: &[Span]) -> BTreeSet<&'static str> {
        let mut things = self.opens(span.resource);
        let scope = RESOURCES.into_iter().find(|it| *it == span.resource && it.starts_with("scope:") && self.has(it));
        things.extend(scope.filter(|it| rule.names(it)));
        things.retain(|thing| self.matches(rule, requester, span, others, thing));
        things
    }

    fn rules(&self, emergency: bool) -> impl Iterator<Item = &'static Rule> {
        self.rules.iter().map(|place| &RULES[*place]).filter(move |rule| emergency || !rule.emergency)
    }

    /// The rules that match what was asked or what would be granted.
    pub fn hold(&self, case: &Case) -> Vec<&'static Rule> {
        let matches = |span| move |rule: &&Rule| !self.matched(rule, case.requester, span, &case.others).is_empty();
        let rules = self.rules(case.emergency);
        rules.filter(|rule| matches(&case.asked)(rule) || matches(&case.granted)(rule)).collect()
    }

    /// What terms demand by themselves: the demands of rules, and the least role that meets the default, if there is one.
    fn demands_of(&self, case: &Case, span: &Span) -> (BTreeSet<Demand>, Option<usize>) {
        let opened = self.opens(span.resource);
        let mut demands = BTreeSet::new();
        let mut defaults = opened.clone();
        defaults.retain(|thing| !self.is_wholly_inside(thing, &opened));
        for rule in self.rules(case.emergency).filter(|rule| !rule.approvers.is_empty()) {
            let matched = self.matched(rule, case.requester, span, &case.others);
            if !matched.is_empty() {
                demands.insert(Demand { rule: Some(rule.name), named: rule.approvers, approvals: rule.approvals });
            }
            let takes = |thing: &str| match thing.split_once(':').unwrap().0 {
                "scope" => !rule.names(thing),
                "role" => rule.names(thing),
                _ => true,
            };
            defaults.retain(|thing| !(matched.contains(thing) && takes(thing)));
        }
        // Who gives a feature also holds the role that it needs.
        let least = |thing: &str| thing.strip_prefix("feature:").map_or(ADMIN, |name| self.features[name].max(ADMIN));
        (demands, defaults.into_iter().map(least).max())
    }

    /// Whether no more would be granted than was asked, and at no other time.
    pub fn is_part(&self, case: &Case) -> bool {
        let Case { asked, granted, .. } = case;
        let opens = self.opens(granted.resource);
        !opens.is_empty()
            && opens.is_subset(&self.opens(asked.resource))
            && granted.from >= asked.from
            && granted.to <= asked.to
    }

    /// Everything that must be met before it is granted.
    pub fn demands(&self, case: &Case) -> BTreeSet<Demand> {
        let (mut demands, mut default) = self.demands_of(case, &case.granted);
        if !self.is_part(case) {
            let (more, least) = self.demands_of(case, &case.asked);
            demands.extend(more);
            default = default.max(least);
        }
        demands.extend(default.map(default_demand));
        demands
    }

    /// What the terms that would be granted demand, whatever was asked.
    pub fn demands_alone(&self, case: &Case) -> BTreeSet<Demand> {
        let (mut demands, default) = self.demands_of(case, &case.granted);
        demands.extend(default.map(default_demand));
        demands
    }

    /// What a rule is about, of all that was asked and would be granted.
    fn concerned(&self, rule: &Rule, case: &Case) -> Vec<&'static str> {
        let mut things: Vec<&'static str> = Vec::new();
        things.extend(self.matched(rule, case.requester, &case.asked, &case.others));
        things.extend(self.matched(rule, case.requester, &case.granted, &case.others));
        things
    }

    fn exceeds(&self, rule: &Rule, case: &Case) -> bool {
        let opened = self.opens(case.granted.resource);
        let length = |thing: &str| {
            let is_granted = opened.contains(thing) || thing == case.granted.resource;
            self.length(&case.granted, if is_granted { &case.others } else { &[] }, thing, rule.cooldown)
        };
        rule.longest != EVER && self.concerned(rule, case).iter().any(|thing| length(thing) > rule.longest)
    }

    /// Whether a limit of the length stands against it.
    pub fn is_too_long(&self, case: &Case) -> bool {
        self.rules(case.emergency).any(|rule| self.exceeds(rule, case))
    }

    /// The rule that stands against it, if any does.
    pub fn forbidding(&self, case: &Case, reason: &str, ticket: Option<&str>) -> Option<&'static str> {
        let forbids = |rule: &&Rule| {
            !self.concerned(rule, case).is_empty()
                && (rule.deny
                    || rule.never_permanent && case.granted.to == EVER
                    || self.exceeds(rule, case)
                    || rule.wants_more(reason, ticket))
        };
        self.rules(case.emergency).find(forbids).map(|rule| rule.name)
    }

    /// The rules that give what was asked without anybody's approval.
    pub fn giving(&self, case: &Case) -> Vec<&'static str> {
        let Case { requester, asked: span, others, .. } = case;
        let opened = self.opens(span.resource);
        // A scope that covers nothing is given by no rule that names it: it may cover more tomorrow.
        let matches = |rule: &Rule, thing: &str| {
            let may_give = match thing.split_once(':').unwrap().0 {
                "scope" => !rule.names(thing),
                "role" => rule.names(thing),
                _ => true,
            };
            may_give && self.matches(rule, requester, span, others, thing)
        };
        let demanded = !self.demands_of(case, span).0.is_empty();
        let all =
            |rule: &Rule| opened.iter().filter(|it| !self.is_wholly_inside(it, &opened)).all(|it| matches(rule, it));
        let gives = |rule: &&Rule| {
            if !case.emergency {
                return rule.auto && !demanded && all(rule) && !opened.is_empty();
            }
            let itself = match span.resource.starts_with("scope:") {
                true => {
                    let named = rule.names(span.resource) && !opened.contains(span.resource);
                    named && self.matches(rule, requester, span, others, span.resource) || all(rule)
                }
                false => matches(rule, span.resource),
            };
            rule.emergency
                && itself
                && rule.production.is_none_or(|there| opened.iter().all(|it| self.is_in(it, there)))
        };
        self.rules(case.emergency).filter(gives).map(|rule| rule.name).collect()
    }

    /// Whether a request for this counts towards a rule's number of a day, however long it is.
    pub fn counts(&self, rule: &Rule, requester: &str, resource: &str) -> bool {
        let any_length = Rule { longer_than: None, permanent: None, ..*rule };
        let span = Span { resource, from: 0, to: EVER };
        !self.matched(&any_length, requester, &span, &[]).is_empty()
    }

    /// The rules that limit how many requests for this there may be in a day.
    pub fn counting(&self, requester: &str, resource: &str, emergency: bool) -> Vec<&'static Rule> {
        let rules = self.rules(emergency).filter(|rule| rule.per_day.is_some());
        rules.filter(|rule| self.counts(rule, requester, resource)).collect()
    }

    /// Whether somebody, who has this role now, is one of those named.
    pub fn is_one_of(&self, named: &[&str], who: &str, basis: Basis, now: usize) -> bool {
        self.can_decide(who)
            && named.iter().any(|named| match (named.split_once(':').unwrap(), basis) {
                (("member", name), _) => name == who,
                (("group", _), _) => self.backend.contains(who),
                ((_, least), Basis::Roles) => self.base(who) >= role(least).max(ADMIN),
                ((_, least), Basis::File) => self.base(who) >= role(least),
                ((_, least), Basis::Now) => now >= role(least),
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
            Edit::Audit(who) if !owns(self, who) => {
                self.members.entry(who).and_modify(|member| member.auditor = !member.auditor);
            }
            Edit::Member(who) if !owns(self, who) => {
                if self.members.remove(who).is_none()
                    && let Some(login) = self.free_login(who)
                {
                    let role = full.members[who].role.min(ADMIN);
                    self.members.insert(who, Member { role, disabled: false, auditor: false, login });
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
                self.members.insert(who, Member { role: OWNER, disabled: false, auditor: false, login });
            }
            Edit::Role(..) | Edit::Disable(_) | Edit::Audit(_) | Edit::Member(_) | Edit::Owner(..) => {}
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
            Edit::Restore => *self = full,
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
        let approvers = self.members.keys().filter(|who| self.is_one_of(rule.approvers, who, Basis::File, 0));
        named.all(|it| it.strip_prefix("member:").is_none_or(|who| self.members.contains_key(who)))
            && rule.resources.iter().all(|it| it.ends_with('*') || self.has(it))
            && (rule.approvers.is_empty() || approvers.count() >= rule.approvals)
    }

    pub fn file(&self) -> String {
        let mut file = "[team]\nname = \"model\"\n".to_owned();
        // Who shares the log, and for how long a copy answers: nothing that the model decides depends on it.
        let backend = self.backend.len();
        if backend > 1 {
            writeln!(file, "offline_for = \"{backend}h\"").unwrap();
        }
        let others = ["decide", "ask", "read"].into_iter().cycle().skip(backend);
        let hosts = HOSTS.into_iter().zip(["decide"; HOSTS.len()]);
        for (name, may) in hosts.chain(self.connections.keys().copied().zip(others)) {
            writeln!(file, "[hosts.{name}]\nmay = {may:?}").unwrap();
        }
        for (name, Member { role, disabled, auditor, login }) in &self.members {
            writeln!(file, "[members.{name}]\nrole = \"{}\"", ROLES[*role]).unwrap();
            writeln!(file, "disabled = {disabled}\nauditor = {auditor}\nlogin = {login:?}").unwrap();
            writeln!(file, "email = \"{name}@acme.example\"").unwrap();
        }
        writeln!(file, "[groups.backend]\nmembers = {:?}", Vec::from_iter(&self.backend)).unwrap();
        for (name, production) in &self.connections {
            writeln!(file, "[connections.{name}]\nenvironment = {:?}", environment(*production)).unwrap();
            if *production {
                writeln!(file, "offline_for = \"0\"").unwrap();
            }
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
        // Everything is bound, so that every grant gives something.
        for resource in RESOURCES.into_iter().filter(|it| self.has(it) && *it != "role:owner") {
            let binding = format!("[[bindings]]\nresource = \"{resource}\"\nconnector = \"sys\"");
            writeln!(file, "{binding}\nwhat = \"{resource}\"").unwrap();
            if resource.starts_with("feature:") {
                writeln!(file, "{binding}\nbaseline = true\nbase = \"{resource}\"").unwrap();
            }
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
        matches.extend(self.permanent.map(|it| format!("permanent = {it}")));
        let mut lines = vec!["[[rules]]".to_owned(), format!("name = {:?}", self.name)];
        lines.push(format!("match = {{ {} }}", matches.join(", ")));
        if !self.approvers.is_empty() {
            lines.extend(list("approvers", self.approvers));
            lines.push(format!("approvals = {}", self.approvals));
        }
        lines.extend(length("max_duration", Some(self.longest).filter(|it| *it != EVER)));
        lines.extend(length("cooldown", Some(self.cooldown).filter(|it| *it != 0)));
        lines.extend(self.per_day.map(|most| format!("max_per_day = {most}")));
        lines.extend(self.never_permanent.then(|| "allow_permanent = false".to_owned()));
        lines.extend(self.ticket.then(|| "ticket = \"OPS-[0-9]+\"".to_owned()));
        lines.extend((self.reason > 0).then(|| format!("reason_min = {}", self.reason)));
        lines.extend(self.auto.then(|| "auto_approve = true".to_owned()));
        lines.extend(self.deny.then(|| "deny = \"No\"".to_owned()));
        lines.extend(length("lapse_after", self.lapses));
        lines.extend(length("remind_after", self.reminds));
        lines.extend(list("escalate_to", self.escalates));
        lines.extend(self.emergency.then(|| "emergency = true".to_owned()));
        // It decides nothing.
        let is_about_some = self.longer_than.is_some() || self.permanent.is_some();
        lines.extend((self.auto && !is_about_some).then(|| "end_sessions = true".to_owned()));
        lines.join("\n") + "\n"
    }

    /// Whether its `resources` name it.
    fn names(&self, thing: &str) -> bool {
        self.resources.iter().any(|like| is_like(like, thing))
    }

    /// Whether it wants another ticket or more of a reason.
    fn wants_more(&self, reason: &str, ticket: Option<&str>) -> bool {
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
