//! Whatever people do, in whatever order and whatever the clock does: nothing is allowed that should not be, and nobody
//! holds what nobody else approved.
//!
//! Random sequences of commands run on the real store, beside a model of the promises that is written here as plainly
//! as can be and shares no rule with the program. `ACCESS_PROPERTY_SEQUENCES` sets how many; a failure prints its seed,
//! which `ACCESS_PROPERTY_SEED` replays, and the shortest sequence that still fails.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails where it stands")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use access::command::{AskFor, Command, Reply};
use access::domain::duration::Length;
use access::domain::event::{ACTIONS, Entry, Event, Granted};
use access::domain::request::{End, Modification, RequestId, Terms};
use access::domain::resource::Resource;
use access::domain::time::Timestamp;
use access::error::Kind;
use access::ledger::{Caller, Init, carry_out, init};
use access::store::{Error, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};

const START: i64 = 1_795_510_800;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const EVER: i64 = i64::MAX;

const ROLES: [&str; 4] = ["viewer", "member", "admin", "owner"];
const VIEWER: usize = 0;
const MEMBER: usize = 1;
const ADMIN: usize = 2;
const OWNER: usize = 3;
const PEOPLE: [&str; 6] = ["ana", "ben", "cy", "dee", "eva", "fay"];
const RESOURCES: [&str; 16] = [
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
const ASSIGNEES: [&str; 6] = ["group:backend", "role:viewer", "role:member", "role:admin", "member:fay", "member:cy"];

// The model

/// How it stands on the record; the clock may have gone on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Pending,
    Decided,
    Granted,
    Over,
}

#[derive(Debug, Clone)]
struct Asked {
    requester: &'static str,
    filer: &'static str,
    asked: &'static str,
    /// As asked, and once granted as granted.
    resource: &'static str,
    end: Until,
    lapses: i64,
    stands: Stands,
    starts: i64,
    ends: i64,
    warned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    Never,
    After(i64),
    /// This long from now, which may be behind it.
    At(i64),
}

#[derive(Debug, Clone, PartialEq)]
struct Team {
    /// Role and whether disabled.
    members: BTreeMap<&'static str, (usize, bool)>,
    backend: BTreeSet<&'static str>,
    /// Whether it is production.
    connections: BTreeMap<&'static str, bool>,
    targets: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// The least role.
    features: BTreeMap<&'static str, usize>,
    scopes: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

struct Model {
    team: Team,
    requests: Vec<Asked>,
    last: i64,
    /// Whose refused attempts are on the record, and when.
    refused: Vec<((bool, &'static str), i64)>,
}

fn full_team() -> Team {
    Team {
        members: PEOPLE
            .into_iter()
            .zip([OWNER, ADMIN, ADMIN, MEMBER, MEMBER, VIEWER].map(|role| (role, false)))
            .collect(),
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
    }
}

impl Team {
    fn has(&self, resource: &str) -> bool {
        match resource.split_once(':').unwrap() {
            ("connection", name) => self.connections.contains_key(name),
            ("target", name) => self.targets.contains_key(name),
            ("feature", name) => self.features.contains_key(name),
            ("scope", name) => self.scopes.contains_key(name),
            _ => true,
        }
    }

    /// "staging" covers what is wholly non-production, "production" the connection prod, "stores" two targets by name.
    fn covers(&self, scope: &str, resource: &str) -> bool {
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

    fn edit(&mut self, edit: Edit) {
        let full = full_team();
        let owns = |team: &Team, who: &str| team.members.get(who).is_some_and(|(role, _)| *role == OWNER);
        match edit {
            Edit::Role(who, role) if !owns(self, who) => {
                self.members.entry(who).and_modify(|member| member.0 = role);
            }
            Edit::Disable(who) if !owns(self, who) => {
                self.members.entry(who).and_modify(|member| member.1 = !member.1);
            }
            Edit::Member(who) if !owns(self, who) => {
                if self.members.remove(who).is_none() {
                    self.members.insert(who, full.members[who]);
                    if full.members[who].0 == OWNER {
                        self.members.insert(who, (ADMIN, false));
                    }
                }
            }
            Edit::Owner(who, stays) if !owns(self, who) => {
                let old = *self.members.iter().find(|(_, member)| member.0 == OWNER).unwrap().0;
                self.members.insert(old, (ADMIN, false));
                if !stays {
                    self.members.remove(old);
                }
                self.members.insert(who, (OWNER, false));
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
    }

    fn file(&self) -> String {
        let mut file = "[team]\nname = \"model\"\n".to_owned();
        for (name, (role, disabled)) in &self.members {
            writeln!(file, "[members.{name}]\nrole = \"{}\"\ndisabled = {disabled}", ROLES[*role]).unwrap();
        }
        writeln!(file, "[groups.backend]\nmembers = {:?}", Vec::from_iter(&self.backend)).unwrap();
        for (name, production) in &self.connections {
            let environment = if *production { "production" } else { "non-production" };
            writeln!(file, "[connections.{name}]\nenvironment = {environment:?}").unwrap();
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
        file
    }
}

fn toggle<T: Clone>(map: &mut BTreeMap<&'static str, T>, full: &BTreeMap<&'static str, T>, name: &str) {
    if map.remove(name).is_none()
        && let Some((name, item)) = full.get_key_value(name)
    {
        map.insert(name, item.clone());
    }
}

impl Asked {
    fn pending(&self, now: i64) -> bool {
        self.stands == Stands::Pending && now < self.lapses
    }

    fn live(&self, now: i64) -> bool {
        self.stands == Stands::Granted && self.starts <= now && now < self.ends
    }
}

impl Until {
    fn instant(self, now: i64) -> i64 {
        match self {
            Until::Never => EVER,
            Until::After(length) | Until::At(length) => now + length,
        }
    }
}

impl Model {
    fn active(&self, who: &str) -> bool {
        self.team.members.get(who).is_some_and(|(_, disabled)| !disabled)
    }

    fn base(&self, who: &str) -> usize {
        self.team.members.get(who).map_or(VIEWER, |(role, _)| *role)
    }

    fn live<'m>(&'m self, who: &'m str, now: i64) -> impl Iterator<Item = &'m Asked> {
        self.requests.iter().filter(move |asked| asked.requester == who && asked.live(now))
    }

    /// Until when somebody holds this role or a higher one.
    fn role_until(&self, who: &str, least: usize, now: i64) -> Option<i64> {
        let granted = self.live(who, now).filter_map(|asked| {
            let role = asked.resource.strip_prefix("role:")?;
            (ROLES.iter().position(|name| *name == role)? >= least).then_some(asked.ends)
        });
        granted.chain((self.base(who) >= least).then_some(EVER)).max()
    }

    fn is_admin(&self, who: &str, now: i64) -> bool {
        self.active(who) && self.role_until(who, ADMIN, now).is_some()
    }

    fn scope_until(&self, who: &str, scope: &str, now: i64) -> Option<i64> {
        let assigned = self.team.scopes.get(scope)?.iter().filter_map(|assignee| match assignee.split_once(':')? {
            ("group", _) => self.team.backend.contains(who).then_some(EVER),
            ("member", name) => (name == who).then_some(EVER),
            (_, role) => self.role_until(who, ROLES.iter().position(|name| *name == role)?, now),
        });
        let granted = self.live(who, now).filter(|asked| asked.resource.strip_prefix("scope:") == Some(scope));
        assigned.chain(granted.map(|asked| asked.ends)).max()
    }

    /// Until when somebody may use something. None: they may not.
    fn until(&self, who: &str, resource: &str, now: i64) -> Option<i64> {
        if !self.active(who) {
            return None;
        }
        let (kind, name) = resource.split_once(':').unwrap();
        let mut ways: Vec<Option<i64>> =
            self.live(who, now).filter(|asked| asked.resource == resource).map(|asked| Some(asked.ends)).collect();
        match kind {
            "role" => ways.push(self.role_until(who, ROLES.iter().position(|role| *role == name).unwrap(), now)),
            "feature" => ways.push(self.role_until(who, self.team.features[name], now)),
            "scope" => ways.extend([self.role_until(who, ADMIN, now), self.scope_until(who, name, now)]),
            _ => {
                ways.push(self.role_until(who, ADMIN, now));
                let covering = self.team.scopes.keys().filter(|scope| self.team.covers(scope, resource));
                ways.extend(covering.map(|scope| self.scope_until(who, scope, now)));
                if kind == "target" {
                    for connection in &self.team.targets[name] {
                        let whole = self
                            .live(who, now)
                            .filter(|asked| asked.resource.strip_prefix("connection:") == Some(connection));
                        ways.extend(whole.map(|asked| Some(asked.ends)));
                    }
                }
            }
        }
        ways.into_iter().flatten().max()
    }

    /// What puts on the record what the clock has done.
    fn due(&mut self, now: i64) -> Vec<Happened> {
        let mut happened = Vec::new();
        for (asked, id) in self.requests.iter_mut().zip(1..) {
            if asked.stands == Stands::Granted && asked.ends <= now {
                asked.stands = Stands::Over;
                happened.push(("grant.expired", Some(id)));
            } else if asked.live(now) && !asked.warned && asked.ends - now <= HOUR {
                asked.warned = true;
                happened.push(("grant.expiring", Some(id)));
            } else if asked.stands == Stands::Pending && asked.lapses <= now {
                asked.stands = Stands::Over;
                happened.push(("request.lapsed", Some(id)));
            }
        }
        happened
    }

    fn team_becomes(&mut self, new: Team, now: i64) -> Vec<Happened> {
        if new == self.team {
            return Vec::new();
        }
        let mut happened = vec![("team.applied", None)];
        for (asked, id) in self.requests.iter_mut().zip(1..) {
            let was_in = self.team.members.get(asked.requester);
            let out = match new.members.get(asked.requester) {
                None => was_in.is_some(),
                Some((_, disabled)) => *disabled && was_in.is_some_and(|(_, disabled)| !disabled),
            };
            let gone = self.team.has(asked.resource) && !new.has(asked.resource);
            let left = |name| self.team.members.contains_key(name) && !new.members.contains_key(name);
            let over = match asked.stands {
                Stands::Pending => asked.lapses <= now,
                Stands::Granted => asked.ends <= now,
                Stands::Decided | Stands::Over => continue,
            };
            let action = match (asked.stands, over) {
                (Stands::Pending, false) if out || gone || left(asked.filer) => "request.withdrawn",
                (Stands::Pending, true) if out => "request.lapsed",
                (Stands::Granted, false) if out || gone => "grant.revoked",
                (Stands::Granted, true) if out => "grant.expired",
                _ => continue,
            };
            asked.stands = Stands::Over;
            happened.push((action, Some(id)));
        }
        self.team = new;
        happened
    }

    /// What the terms themselves forbid.
    fn against_terms(&self, requester: &str, resource: &str, end: Until) -> Vec<Kind> {
        let mut against = Vec::new();
        if matches!(end, Until::At(length) if length <= 0) {
            against.push(Kind::Usage);
        }
        if let Some(role) = resource.strip_prefix("role:") {
            let role = ROLES.iter().position(|name| *name == role).unwrap();
            if role == OWNER {
                against.push(Kind::Refused);
            } else if role <= self.base(requester) {
                against.push(Kind::Conflict);
            }
        }
        against
    }

    /// Why nobody may decide so: nobody decides on what they asked for or filed, and no granted admin on a role.
    fn may_not_decide(&self, who: &str, asked: &Asked, resource: &str, now: i64) -> bool {
        let about_a_role = asked.asked.starts_with("role:") || resource.starts_with("role:");
        who == asked.requester
            || who == asked.filer
            || !self.is_admin(who, now)
            || about_a_role && self.base(who) < ADMIN
    }
}

// What is tried

type Happened = (&'static str, Option<i64>);

#[derive(Debug, Clone, Copy)]
enum Who {
    Person(&'static str),
    /// As far as the request in question goes.
    Requester,
    Filer,
    Owner,
    /// An admin by a grant only; the owner while there is none.
    Promoted,
    Stranger,
}

#[derive(Debug, Clone)]
enum Step {
    Ask {
        who: Who,
        on_behalf_of: Option<&'static str>,
        resource: &'static str,
        end: Until,
    },
    /// `back`: so many requests before the last.
    Approve {
        who: Who,
        back: usize,
        resource: Option<&'static str>,
        end: Option<Until>,
    },
    Deny {
        who: Who,
        back: usize,
    },
    Withdraw {
        who: Who,
        back: usize,
    },
    Revoke {
        who: Who,
        back: usize,
    },
    Expire,
    Apply {
        who: Who,
        edits: Vec<Edit>,
    },
    Pass(i64),
    /// To this long from the next end or lapse.
    Next(i64),
    AcceptClock {
        who: Who,
    },
}

#[derive(Debug, Clone, Copy)]
enum Edit {
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
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let person = || prop::sample::select(&PEOPLE[..]);
    let resource = || prop_oneof![9 => prop::sample::select(&RESOURCES[..13]), 2 => Just("role:admin"), 1 => prop::sample::select(&RESOURCES[..])];
    let asker = || {
        prop_oneof![
            9 => prop::sample::select(&PEOPLE[3..]).prop_map(Who::Person),
            3 => person().prop_map(Who::Person),
            1 => Just(Who::Stranger),
        ]
    };
    let who = || {
        prop_oneof![
            6 => person().prop_map(Who::Person),
            2 => Just(Who::Requester),
            1 => Just(Who::Filer),
            2 => Just(Who::Owner),
            1 => Just(Who::Stranger),
        ]
    };
    let decider = || {
        prop_oneof![
            4 => prop::sample::select(&PEOPLE[..3]).prop_map(Who::Person),
            3 => Just(Who::Owner),
            3 => Just(Who::Promoted),
            1 => person().prop_map(Who::Person),
            1 => Just(Who::Requester),
            1 => Just(Who::Filer),
        ]
    };
    let end = || {
        prop_oneof![
            1 => Just(Until::Never),
            5 => prop::sample::select(&[1, 1800, HOUR, HOUR + 1, 4 * HOUR, DAY, 30 * DAY][..]).prop_map(Until::After),
            2 => prop::sample::select(&[-HOUR, 0, 1, HOUR, 2 * DAY][..]).prop_map(Until::At),
        ]
    };
    let back = || prop_oneof![10 => Just(0), 5 => 1usize..4, 1 => 4usize..9];
    let edit = prop_oneof![
        3 => (person(), VIEWER..OWNER).prop_map(|(who, role)| Edit::Role(who, role)),
        1 => prop::sample::select(&PEOPLE[1..3]).prop_map(|who| Edit::Role(who, MEMBER)),
        2 => person().prop_map(Edit::Disable),
        2 => person().prop_map(Edit::Member),
        3 => resource().prop_map(Edit::Item),
        1 => (person(), any::<bool>()).prop_map(|(who, stays)| Edit::Owner(who, stays)),
        1 => prop::sample::select(&["prod", "stage"][..]).prop_map(Edit::Environment),
        1 => person().prop_map(Edit::Backend),
        2 => (prop::sample::select(&["staging", "production", "stores"][..]), prop::sample::select(&ASSIGNEES[..]))
            .prop_map(|(scope, assignee)| Edit::Assign(scope, assignee)),
    ];
    let applier = prop_oneof![5 => Just(Who::Owner), 1 => who()];
    let step = prop_oneof![
        8 => (asker(), prop::option::weighted(0.1, person()), resource(), end())
            .prop_map(|(who, on_behalf_of, resource, end)| Step::Ask { who, on_behalf_of, resource, end }),
        2 => (decider(), prop::sample::select(&PEOPLE[2..]), resource(), end()).prop_map(
            |(who, requester, resource, end)| Step::Ask { who, on_behalf_of: Some(requester), resource, end }
        ),
        8 => (decider(), back(), prop::option::weighted(0.3, resource()), prop::option::weighted(0.3, end()))
            .prop_map(|(who, back, resource, end)| Step::Approve { who, back, resource, end }),
        1 => resource().prop_map(|to| Step::Approve { who: Who::Promoted, back: 0, resource: Some(to), end: None }),
        1 => (decider(), back()).prop_map(|(who, back)| Step::Deny { who, back }),
        1 => (who(), back()).prop_map(|(who, back)| Step::Withdraw { who, back }),
        3 => (prop_oneof![3 => who(), 1 => Just(Who::Filer)], back()).prop_map(|(who, back)| Step::Revoke { who, back }),
        2 => Just(Step::Expire),
        2 => (applier, prop::collection::vec(edit, 1..3)).prop_map(|(who, edits)| Step::Apply { who, edits }),
        3 => prop::sample::select(&[1, 59, 1799, HOUR, DAY, 7 * DAY - 1, 7 * DAY][..]).prop_map(Step::Pass),
        1 => prop::sample::select(&[-1, -60, -61, -HOUR, -DAY, -8 * DAY][..]).prop_map(Step::Pass),
        3 => prop::sample::select(&[-HOUR - 1, -HOUR, -1, 0, 0, 1][..]).prop_map(Step::Next),
        2 => prop_oneof![3 => Just(Who::Owner), 1 => who()].prop_map(|who| Step::AcceptClock { who }),
    ];
    // Asked and given at once, or few would come to hold anything.
    let given = (asker(), resource(), end()).prop_map(|(who, resource, end)| {
        let ask = Step::Ask { who, on_behalf_of: None, resource, end };
        vec![ask, Step::Approve { who: Who::Owner, back: 0, resource: None, end: None }]
    });
    let filer = prop_oneof![1 => prop::sample::select(&PEOPLE[1..3]).prop_map(Who::Person), 1 => Just(Who::Promoted)];
    let given_for_another = (filer, person(), resource(), end()).prop_map(|(who, requester, resource, end)| {
        let ask = Step::Ask { who, on_behalf_of: Some(requester), resource, end };
        vec![ask, Step::Approve { who: Who::Owner, back: 0, resource: None, end: None }]
    });
    // Whoever filed it is an admin no more, and knows of the grant still.
    let parted = (prop::sample::select(&PEOPLE[1..3]), person(), resource()).prop_map(|(who, requester, resource)| {
        let end = Until::After(DAY);
        vec![
            Step::Ask { who: Who::Person(who), on_behalf_of: Some(requester), resource, end },
            Step::Approve { who: Who::Owner, back: 0, resource: None, end: None },
            Step::Apply { who: Who::Owner, edits: vec![Edit::Role(who, MEMBER)] },
            Step::Revoke { who: Who::Filer, back: 0 },
        ]
    });
    let some = prop_oneof![28 => step.prop_map(|step| vec![step]), 2 => given, 2 => given_for_another, 1 => parted];
    prop::collection::vec(some, 1..50).prop_map(|steps| steps.concat())
}

// Both, side by side

#[derive(Default)]
struct Tally {
    sequences: Cell<u64>,
    steps: Cell<u64>,
    checks: Cell<u64>,
    /// What was recorded, by action, and how commands that failed did.
    seen: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    fn count(&self, what: impl Into<String>) {
        *self.seen.borrow_mut().entry(what.into()).or_default() += 1;
    }
}

struct Run<'t> {
    store: Store,
    clock: i64,
    model: Model,
    /// The last entry read, and the log so far.
    log: Vec<Entry>,
    tally: &'t Tally,
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_unix(at).unwrap()
}

fn resource(name: &str) -> Resource {
    name.parse().unwrap()
}

fn caller(login: &str) -> Caller {
    Caller { login: login.parse().unwrap(), root: login == "root", acting_as: None }
}

type Checked = Result<(), TestCaseError>;

impl Run<'_> {
    fn carry_out(&self, login: &str, command: Command) -> (Result<bool, Kind>, Option<Reply>) {
        let mut reply = None;
        let clock = || Ok(time(self.clock));
        let ended = carry_out(&self.store, &caller(login), &clock, command, &mut |piece| {
            reply = Some(piece);
            Ok(())
        });
        (ended.map(|end| !end.no).map_err(|failure| failure.kind), reply)
    }

    fn now(&self) -> i64 {
        self.clock.max(self.model.last)
    }

    fn who(&self, who: Who, asked: Option<&Asked>) -> &'static str {
        match (who, asked) {
            (Who::Person(name), _) => name,
            (Who::Requester, Some(asked)) => asked.requester,
            (Who::Filer, Some(asked)) => asked.filer,
            (Who::Owner, _) => {
                self.model.team.members.iter().find(|(_, (role, _))| *role == OWNER).map(|(name, _)| *name).unwrap()
            }
            (Who::Promoted, _) => {
                let promoted = |who: &&str| self.model.is_admin(who, self.now()) && self.model.base(who) < ADMIN;
                PEOPLE.into_iter().find(promoted).unwrap_or_else(|| self.who(Who::Owner, None))
            }
            (Who::Requester | Who::Filer | Who::Stranger, _) => "stranger",
        }
    }

    fn end(&self, end: Until) -> End {
        match end {
            Until::Never => End::Never,
            Until::After(length) => End::After(Length::from_seconds(length).unwrap()),
            Until::At(length) => End::At(time(self.now() + length)),
        }
    }

    /// Number `back` before the last; beyond the first, one that is not there.
    fn pick(&self, back: usize) -> usize {
        self.model.requests.len().checked_sub(back + 1).unwrap_or(self.model.requests.len() + 3)
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Pass(by) => {
                self.clock += by;
                return Ok(());
            }
            Step::Next(from) => {
                let now = self.now();
                let times = self.model.requests.iter().filter_map(|asked| match asked.stands {
                    Stands::Pending => Some(asked.lapses),
                    Stands::Granted => Some(asked.ends),
                    Stands::Decided | Stands::Over => None,
                });
                if let Some(next) = times.filter(|at| *at != EVER && *at + from > now).min() {
                    self.clock = next + from;
                }
                return Ok(());
            }
            _ => {}
        }
        let now = self.now();
        let picked = match step {
            Step::Approve { back, .. } | Step::Deny { back, .. } => Some(self.pick(*back)),
            Step::Withdraw { back, .. } | Step::Revoke { back, .. } => Some(self.pick(*back)),
            _ => None,
        };
        let asked = picked.and_then(|at| self.model.requests.get(at)).cloned();
        let who = match step {
            Step::Ask { who, .. } | Step::Approve { who, .. } | Step::Deny { who, .. } => {
                self.who(*who, asked.as_ref())
            }
            Step::Withdraw { who, .. } | Step::Revoke { who, .. } => self.who(*who, asked.as_ref()),
            Step::Apply { who, .. } | Step::AcceptClock { who } => self.who(*who, None),
            Step::Expire | Step::Pass(_) | Step::Next(_) => "root",
        };
        let id = || RequestId::try_from(picked.unwrap() as i64 + 1).unwrap();
        let command = match step {
            Step::Ask { on_behalf_of, resource: name, end, .. } => Command::Request(AskFor {
                emergency: false,
                terms: Terms { resource: resource(name), end: self.end(*end), start: None },
                reason: "Because".parse().unwrap(),
                ticket: None,
                requester: on_behalf_of.map(|name| name.parse().unwrap()),
                dry_run: false,
            }),
            Step::Approve { resource: name, end, .. } => Command::Approve {
                id: id(),
                modification: Modification { resource: name.map(resource), end: end.map(|end| self.end(end)) },
                note: None,
                seen: None,
            },
            Step::Deny { .. } => Command::Deny { id: id(), reason: None, seen: None },
            Step::Withdraw { .. } => Command::Withdraw { id: id(), seen: None },
            Step::Revoke { .. } => Command::Revoke { id: id(), reason: None, seen: None },
            Step::Apply { edits, .. } => {
                Command::TeamApply { text: self.edited(edits).file(), dry_run: false, seen: None, against: None }
            }
            Step::AcceptClock { .. } => Command::AcceptClock,
            Step::Expire | Step::Pass(_) | Step::Next(_) => Command::Expire { dry_run: false },
        };
        let against = self.against(step, who, asked.as_ref(), now);
        let (outcome, _) = self.carry_out(who, command);
        let expected = match outcome {
            Ok(done) => {
                prop_assert!(done && against.is_empty(), "{who} may do it, and should not: {against:?}");
                self.does(step, who, picked, now)
            }
            Err(kind) => {
                self.tally.count(format!("{kind:?}"));
                prop_assert!(against.contains(&kind), "{who} gets {kind:?}, and should {against:?}");
                self.refused(step, who, kind, now)
            }
        };
        self.recorded(expected)
    }

    fn edited(&self, edits: &[Edit]) -> Team {
        let mut team = self.model.team.clone();
        for edit in edits {
            team.edit(*edit);
        }
        team
    }

    /// Everything that speaks against it, where any may be the answer; empty: it must be done.
    fn against(&self, step: &Step, who: &'static str, asked: Option<&Asked>, now: i64) -> Vec<Kind> {
        let model = &self.model;
        if self.clock < model.last - 60 && !matches!(step, Step::AcceptClock { .. }) {
            return vec![Kind::Failure];
        }
        if matches!(step, Step::Expire) {
            return Vec::new();
        }
        if !model.active(who) {
            return vec![Kind::Refused];
        }
        let mut against = Vec::new();
        let known = |asked: &&Asked| [asked.requester, asked.filer].contains(&who) || model.is_admin(who, now);
        let asked = asked.filter(known);
        match step {
            Step::Ask { on_behalf_of, resource, end, .. } => {
                let requester = on_behalf_of.unwrap_or(who);
                if requester != who && !model.is_admin(who, now) {
                    return vec![Kind::Refused];
                }
                if !model.team.members.contains_key(requester)
                    || *resource == "target:nowhere"
                    || !model.team.has(resource)
                {
                    return vec![Kind::NotFound];
                }
                if !model.active(requester) {
                    against.push(Kind::Refused);
                }
                against.extend(model.against_terms(requester, resource, *end));
                if model.until(requester, resource, now).is_some_and(|until| until >= end.instant(now)) {
                    against.push(Kind::Conflict);
                }
                let same = |asked: &Asked| asked.requester == requester && asked.resource == *resource;
                if model.requests.iter().any(|asked| same(asked) && asked.pending(now)) {
                    against.push(Kind::Conflict);
                }
            }
            Step::Approve { resource, end, .. } => {
                let Some(asked) = asked else { return vec![Kind::NotFound] };
                let to = resource.unwrap_or(asked.asked);
                if model.may_not_decide(who, asked, to, now) {
                    return vec![Kind::Refused];
                }
                if !model.team.has(to) || !model.team.members.contains_key(asked.requester) {
                    against.push(Kind::NotFound);
                }
                if !asked.pending(now) {
                    against.push(Kind::Conflict);
                }
                if !model.active(asked.requester) {
                    against.push(Kind::Refused);
                }
                // An instant asked for does not move with the clock.
                let stays = match asked.end {
                    Until::At(instant) => Until::At(instant - now),
                    end => end,
                };
                against.extend(model.against_terms(asked.requester, to, end.unwrap_or(stays)));
            }
            Step::Deny { .. } => {
                let Some(asked) = asked else { return vec![Kind::NotFound] };
                if model.may_not_decide(who, asked, asked.asked, now) {
                    return vec![Kind::Refused];
                }
                if !asked.pending(now) {
                    against.push(Kind::Conflict);
                }
            }
            Step::Withdraw { .. } => {
                let Some(asked) = asked else { return vec![Kind::NotFound] };
                if asked.requester != who && asked.filer != who {
                    return vec![Kind::Refused];
                }
                if !asked.pending(now) {
                    against.push(Kind::Conflict);
                }
            }
            Step::Revoke { .. } => {
                let Some(asked) = asked else { return vec![Kind::NotFound] };
                if asked.requester != who && !model.is_admin(who, now) {
                    return vec![Kind::Refused];
                }
                if asked.stands != Stands::Granted || asked.ends <= now {
                    against.push(Kind::Conflict);
                }
            }
            Step::Apply { .. } if model.base(who) != OWNER => against.push(Kind::Refused),
            Step::AcceptClock { .. } if model.base(who) != OWNER => against.push(Kind::Refused),
            Step::AcceptClock { .. } if self.clock >= model.last => against.push(Kind::Conflict),
            Step::Apply { .. } | Step::AcceptClock { .. } | Step::Expire | Step::Pass(_) | Step::Next(_) => {}
        }
        against
    }

    /// What it changes in the model, and what the log should say of it.
    fn does(&mut self, step: &Step, who: &'static str, picked: Option<usize>, now: i64) -> Vec<Happened> {
        let id = picked.map(|at| at as i64 + 1);
        let (clock, last) = (self.clock, self.model.last);
        let happened = match step {
            Step::Ask { on_behalf_of, resource, end, .. } => {
                let end = match end {
                    Until::At(length) => Until::At(now + length),
                    end => *end,
                };
                self.model.requests.push(Asked {
                    requester: on_behalf_of.unwrap_or(who),
                    filer: who,
                    asked: resource,
                    resource,
                    end,
                    lapses: now + 7 * DAY,
                    stands: Stands::Pending,
                    starts: 0,
                    ends: 0,
                    warned: false,
                });
                vec![("request.submitted", Some(self.model.requests.len() as i64))]
            }
            Step::Approve { resource, end, .. } => {
                let asked = &mut self.model.requests[picked.unwrap()];
                asked.ends = match (end, asked.end) {
                    (Some(end), _) => end.instant(now),
                    (None, Until::At(instant)) => instant,
                    (None, end) => end.instant(now),
                };
                asked.resource = resource.unwrap_or(asked.resource);
                asked.starts = now;
                asked.stands = Stands::Granted;
                vec![("request.approved", id), ("grant.started", id)]
            }
            Step::Deny { .. } | Step::Withdraw { .. } | Step::Revoke { .. } => {
                let asked = &mut self.model.requests[picked.unwrap()];
                let (action, stands) = match step {
                    Step::Deny { .. } => ("request.denied", Stands::Decided),
                    Step::Withdraw { .. } => ("request.withdrawn", Stands::Decided),
                    _ => ("grant.revoked", Stands::Over),
                };
                asked.stands = stands;
                vec![(action, id)]
            }
            Step::Apply { edits, .. } => {
                let new = self.edited(edits);
                self.model.team_becomes(new, now)
            }
            Step::AcceptClock { .. } => {
                let mut happened = self.model.due(last);
                happened.push(("clock.accepted", None));
                happened
            }
            Step::Expire | Step::Pass(_) | Step::Next(_) => self.model.due(now),
        };
        match step {
            Step::AcceptClock { .. } => self.model.last = clock,
            Step::Apply { .. } if happened.is_empty() => {}
            _ => self.model.last = now,
        }
        happened
    }

    /// What a refused attempt leaves in the log: at most twenty of a person in an hour.
    fn refused(&mut self, step: &Step, who: &'static str, kind: Kind, now: i64) -> Vec<Happened> {
        let at = if matches!(step, Step::AcceptClock { .. }) { self.model.last } else { now };
        let person = (self.model.team.members.contains_key(who), who);
        let lately = self.model.refused.iter().filter(|(by, when)| *by == person && *when > at - HOUR).count();
        if kind != Kind::Refused || lately >= 20 {
            return Vec::new();
        }
        self.model.refused.push((person, at));
        self.model.last = at;
        let id = match step {
            Step::Approve { back, .. } | Step::Deny { back, .. } => Some(self.pick(*back) as i64 + 1),
            Step::Withdraw { back, .. } | Step::Revoke { back, .. } => Some(self.pick(*back) as i64 + 1),
            _ => None,
        };
        vec![("attempt.refused", id)]
    }

    /// The log holds what was expected and no more; and what it holds is right by itself.
    fn recorded(&mut self, mut expected: Vec<Happened>) -> Checked {
        let after = self.log.len() as i64;
        let page = self
            .store
            .read(|read| read.entries_after(after))
            .map_err(|error: Error| TestCaseError::fail(format!("{error:?}")))?;
        let entries: Vec<Entry> = page.rows.into_iter().map(|(entry, _)| entry).collect();
        let mut happened: Vec<Happened> =
            entries.iter().map(|entry| (entry.event.action(), entry.event.request().map(i64::from))).collect();
        expected.sort_unstable();
        happened.sort_unstable();
        prop_assert_eq!(happened, expected);
        for entry in entries {
            self.tally.count(entry.event.action());
            if let Event::GrantStarted(Granted { request, member, resource, starts_at, ends_at, .. }) = &entry.event {
                self.approved_by_another(*request, member.as_str(), resource, *starts_at, *ends_at)?;
            }
            self.log.push(entry);
        }
        Ok(())
    }

    /// A grant has an approval of exactly its terms, in the log before it, by neither its requester nor its filer.
    fn approved_by_another(
        &self,
        id: RequestId,
        member: &str,
        granted: &Resource,
        starts: Timestamp,
        ends: Option<Timestamp>,
    ) -> Checked {
        let asked = &self.model.requests[id.get() as usize - 1];
        let approved = self.log.iter().any(|entry| match &entry.event {
            Event::RequestApproved { request, by, terms, .. } => {
                *request == id
                    && ![asked.requester, asked.filer].contains(&by.as_str())
                    && entry.actor.as_ref() == Some(by)
                    && terms.resource == *granted
                    && terms.end.instant(starts) == ends
            }
            _ => false,
        });
        prop_assert!(approved && member == asked.requester, "grant {id} was not approved by another");
        prop_assert_eq!(ends.map_or(EVER, Timestamp::unix), asked.ends);
        Ok(())
    }

    /// The program and the model agree on what a member may use, and until when.
    fn agrees(&self, who: &str, name: &str) -> Checked {
        self.tally.checks.set(self.tally.checks.get() + 1);
        let now = self.now();
        let (outcome, reply) =
            self.carry_out(who, Command::Check { resource: resource(name), user: None, login: None });
        if !self.model.team.members.contains_key(who) {
            prop_assert_eq!(outcome, Err(Kind::Refused));
            return Ok(());
        }
        if !self.model.team.has(name) {
            prop_assert_eq!(outcome, Err(Kind::NotFound));
            return Ok(());
        }
        let Some(Reply::Check(view)) = reply else {
            return Err(TestCaseError::fail(format!("check of {name} by {who} gave {outcome:?}")));
        };
        let until = view.because.iter().map(|way| way.until.map_or(EVER, Timestamp::unix)).max();
        prop_assert_eq!(until, self.model.until(who, name, now), "{} on {}, at {}", who, name, time(now));
        prop_assert_eq!(outcome, Ok(until.is_some()));
        let over = view.because.iter().any(|way| way.until.is_some_and(|until| until.unix() <= now));
        prop_assert!(!over, "{who} holds {name} past its end: {view:?}");
        Ok(())
    }

    /// Whoever holds or held something lately, and two others that the step's number picks.
    fn sample(&self, number: usize) -> Checked {
        for asked in self.model.requests.iter().rev().take(4) {
            self.agrees(asked.requester, asked.resource)?;
        }
        for pick in [number, number * 7 + 3] {
            self.agrees(PEOPLE[pick % PEOPLE.len()], RESOURCES[pick / 2 % RESOURCES.len()])?;
        }
        Ok(())
    }

    fn finish(&self) -> Checked {
        for who in PEOPLE {
            for name in RESOURCES {
                self.agrees(who, name)?;
            }
        }
        let owner = self.who(Who::Owner, None);
        let (outcome, reply) = self.carry_out(owner, Command::AuditVerify { against: Vec::new() });
        let Some(Reply::Verified(proof)) = reply else {
            return Err(TestCaseError::fail(format!("verify gave {outcome:?}")));
        };
        prop_assert!(proof.ok, "{:?}", proof.faults);
        prop_assert_eq!(proof.entries as usize, self.log.len());
        Ok(())
    }
}

fn run(folder: &Path, template: &[u8], tally: &Tally, steps: &[Step]) -> Checked {
    let path = folder.join("run.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("run.db{suffix}")));
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(template).unwrap();
    let model = Model { team: full_team(), requests: Vec::new(), last: START, refused: Vec::new() };
    let mut run = Run { store: Store::open(&path).unwrap(), clock: START, model, log: Vec::new(), tally };
    run.recorded(vec![("team.initialized", None), ("team.applied", None)])?;
    for (number, step) in steps.iter().enumerate() {
        run.step(step).map_err(|why| TestCaseError::fail(format!("step {number}, {step:?}: {why}")))?;
        run.sample(number).map_err(|why| TestCaseError::fail(format!("after step {number}, {step:?}: {why}")))?;
        tally.steps.set(tally.steps.get() + 1);
    }
    tally.sequences.set(tally.sequences.get() + 1);
    run.finish()
}

/// A database with the full team in it, as bytes.
fn template(folder: &Path) -> Vec<u8> {
    let path = folder.join("template.db");
    let owner = "ana".parse().unwrap();
    let ana = "ana".parse().unwrap();
    init(&path, time(START), Init { login: &ana, by: &ana, owner, team: None, sample: false }).unwrap();
    let store = Store::open(&path).unwrap();
    let apply = Command::TeamApply { text: full_team().file(), dry_run: false, seen: None, against: None };
    carry_out(&store, &caller("ana"), &|| Ok(time(START)), apply, &mut |_| Ok(())).unwrap();
    drop(store);
    std::fs::read(path).unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_is_done_nothing_is_allowed_or_held_that_should_not_be() {
    // In memory where there is such a folder: power loss is another test's concern.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let template = template(folder.path());

    let fresh = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = number("ACCESS_PROPERTY_SEED").unwrap_or_else(fresh);
    let sequences = number("ACCESS_PROPERTY_SEQUENCES").unwrap_or(800);
    let config =
        Config { cases: sequences as u32, failure_persistence: None, max_shrink_iters: 1000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(config.rng_algorithm, &bytes);
    let tally = Tally::default();
    let outcome =
        TestRunner::new_with_rng(config, rng).run(&steps(), |steps| run(folder.path(), &template, &tally, &steps));

    let seen = tally.seen.borrow();
    let (done, steps, checks) = (tally.sequences.get(), tally.steps.get(), tally.checks.get());
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "seed {seed}: {done} sequences, {steps} steps, {checks} checks; {seen:?}");
    if let Err(why) = outcome {
        panic!("ACCESS_PROPERTY_SEED={seed} ACCESS_PROPERTY_SEQUENCES={sequences}: {why}");
    }
    if sequences >= 500 {
        for action in ACTIONS {
            assert!(seen.contains_key(action), "{action} never came about, so nothing was tried about it");
        }
    }
}
