//! What a member may use: the baseline that the team file declares, and the grants that are live now.
//! A grant only ever adds, so two of them never undo one another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::request::{Grant, RequestId};
use super::resource::Resource;
use super::role::Role;
use super::team::{Assignee, Covers, Environment, Login, Member, Scope, Team};
use super::time::Timestamp;

/// A member with all that decides what they may use.
#[derive(Debug, Clone)]
pub struct Principal {
    pub name: Name,
    pub member: Member,
    /// The entry that brought them (back), or gave them another login: what was decided before is not theirs.
    pub since: i64,
    pub groups: BTreeSet<Name>,
    /// The scopes that are assigned to them in any way, and those that a grant of theirs is for.
    pub scopes: BTreeMap<Name, Scope>,
    /// Their grants whose end is not on the record; the clock may still have ended one.
    pub grants: Vec<Grant>,
}

/// A resource with what the catalogue says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogItem {
    Connection { name: Name, environment: Environment },
    Target { name: Name, connections: BTreeMap<Name, Environment> },
    Feature { name: Name, role: Role },
    Scope { name: Name },
    Role(Role),
}

/// One way in which a member may use something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub via: Via,
    /// The role, the scope, the feature, or the resource granted.
    pub name: String,
    /// The request whose grant it rests on.
    pub request: Option<RequestId>,
    /// None: for good.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Role,
    Scope,
    Feature,
    Grant,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Role => "role",
            Via::Scope => "scope",
            Via::Feature => "feature",
            Via::Grant => "grant",
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.request {
            Some(request) if self.via == Via::Grant => write!(f, "grant:{request}"),
            Some(_) | None => write!(f, "{}:{}", self.via.as_str(), self.name),
        }
    }
}

/// How somebody comes to hold a role: by the team file, or by a grant.
struct RoleHeld {
    role: Role,
    request: Option<RequestId>,
    until: Option<Timestamp>,
}

impl CatalogItem {
    /// A target counts as production when any of its connections is.
    pub fn environment(&self) -> Option<Environment> {
        match self {
            CatalogItem::Connection { environment, .. } => Some(*environment),
            CatalogItem::Target { connections, .. } => connections.values().min().copied(),
            CatalogItem::Feature { .. } | CatalogItem::Scope { .. } | CatalogItem::Role(_) => None,
        }
    }

    pub fn resource(&self) -> Resource {
        match self {
            CatalogItem::Connection { name, .. } => Resource::Connection(name.clone()),
            CatalogItem::Target { name, .. } => Resource::Target(name.clone()),
            CatalogItem::Feature { name, .. } => Resource::Feature(name.clone()),
            CatalogItem::Scope { name } => Resource::Scope(name.clone()),
            CatalogItem::Role(role) => Resource::Role(*role),
        }
    }
}

impl Team {
    /// What this team's catalogue says of a resource; None when it has no such.
    pub fn thing(&self, resource: &Resource) -> Option<CatalogItem> {
        match resource {
            Resource::Connection(name) => {
                let environment = self.connections.get(name)?.environment;
                Some(CatalogItem::Connection { name: name.clone(), environment })
            }
            Resource::Target(name) => {
                let known = |name: &Name| Some((name.clone(), self.connections.get(name)?.environment));
                let connections = self.targets.get(name)?.connections.iter().filter_map(known).collect();
                Some(CatalogItem::Target { name: name.clone(), connections })
            }
            Resource::Feature(name) => {
                Some(CatalogItem::Feature { name: name.clone(), role: self.features.get(name)?.role })
            }
            Resource::Scope(name) => self.scopes.get(name).map(|_| CatalogItem::Scope { name: name.clone() }),
            Resource::Role(role) => Some(CatalogItem::Role(*role)),
        }
    }

    /// The resource, and after it all that a grant of it would let its holder use (a role's is the team file's to say).
    /// Empty when the catalogue has no such.
    ///
    /// `scope`: what a scope covers, where this team's own scopes are not loaded.
    pub fn reach(&self, resource: &Resource, scope: Option<&Scope>) -> Vec<CatalogItem> {
        let thing = match (resource, scope) {
            (Resource::Scope(name), Some(_)) => Some(CatalogItem::Scope { name: name.clone() }),
            (resource, _) => self.thing(resource),
        };
        let Some(thing) = thing else { return Vec::new() };
        let covered = |other: &Resource| {
            let thing = self.thing(other).filter(|_| other != resource)?;
            grant_covers(resource, &thing, |name| scope.or_else(|| self.scopes.get(name))).then_some(thing)
        };
        let used = self.connections.keys().cloned().map(Resource::Connection);
        let used = used.chain(self.targets.keys().cloned().map(Resource::Target));
        let beyond: Vec<CatalogItem> = match resource {
            Resource::Connection(_) | Resource::Scope(_) => used.filter_map(|other| covered(&other)).collect(),
            Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => Vec::new(),
        };
        std::iter::once(thing).chain(beyond).collect()
    }

    /// Every resource of the catalogue, and the roles that can be asked for.
    pub fn resources(&self) -> impl Iterator<Item = Resource> {
        let connections = self.connections.keys().cloned().map(Resource::Connection);
        let targets = self.targets.keys().cloned().map(Resource::Target);
        let features = self.features.keys().cloned().map(Resource::Feature);
        let scopes = self.scopes.keys().cloned().map(Resource::Scope);
        let roles = [Role::Member, Role::Admin].into_iter().map(Resource::Role);
        connections.chain(targets).chain(features).chain(scopes).chain(roles)
    }
}

impl Covers {
    /// A target is covered by name, by any of its connections, or by environment when all of its connections are in it.
    pub fn covers(&self, thing: &CatalogItem) -> bool {
        match (self, thing) {
            (Covers::Environments(set), CatalogItem::Connection { environment, .. }) => set.contains(environment),
            (Covers::Environments(set), CatalogItem::Target { connections, .. }) => {
                !connections.is_empty() && connections.values().all(|environment| set.contains(environment))
            }
            (Covers::Connections(set), CatalogItem::Connection { name, .. }) => set.contains(name),
            (Covers::Connections(set), CatalogItem::Target { connections, .. }) => {
                connections.keys().any(|name| set.contains(name))
            }
            (Covers::Targets(set), CatalogItem::Target { name, .. }) => set.contains(name),
            (Covers::Targets(_), CatalogItem::Connection { .. })
            | (_, CatalogItem::Feature { .. } | CatalogItem::Scope { .. } | CatalogItem::Role(_)) => false,
        }
    }
}

/// Whether a grant of `granted` lets its holder use the thing. `scope`: looks a scope up.
pub fn grant_covers<'s>(granted: &Resource, thing: &CatalogItem, scope: impl Fn(&Name) -> Option<&'s Scope>) -> bool {
    match (granted, thing) {
        (Resource::Connection(name), CatalogItem::Target { connections, .. }) => connections.contains_key(name),
        (Resource::Scope(name), CatalogItem::Connection { .. } | CatalogItem::Target { .. }) => {
            scope(name).is_some_and(|scope| scope.covers.covers(thing))
        }
        // What a granted role brings comes by the effective role, below.
        (granted, thing) => *granted == thing.resource(),
    }
}

impl Principal {
    /// Somebody who was a member once: of them only the name is left.
    pub fn gone(name: Name) -> Principal {
        let login = Login::from(&name);
        let member =
            Member { role: Role::Viewer, login, addresses: Default::default(), timezone: None, disabled: true };
        let (groups, scopes) = (BTreeSet::new(), BTreeMap::new());
        Principal { name, member, since: i64::MAX, groups, scopes, grants: Vec::new() }
    }

    pub fn is_disabled(&self) -> bool {
        self.member.disabled
    }

    /// Whether this person is the member whom an entry names: by the same Unix user, or by a name that they have had since
    /// before it. A name alone is not enough: its bearer of then may be somebody else.
    pub fn was(&self, name: &Name, login: Option<&Login>, seq: i64) -> bool {
        login == Some(&self.member.login) || *name == self.name && self.since < seq
    }

    /// The highest of the base role and the live role grants.
    pub fn effective_role(&self, now: Timestamp) -> Role {
        self.roles_held(now).into_iter().map(|held| held.role).max().unwrap_or(self.member.role)
    }

    pub fn live_grants(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let disabled = self.is_disabled();
        self.grants.iter().filter(move |grant| !disabled && grant.is_live(now))
    }

    fn roles_held(&self, now: Timestamp) -> Vec<RoleHeld> {
        let base = RoleHeld { role: self.member.role, request: None, until: None };
        let granted = self.live_grants(now).filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) => Some(RoleHeld { role, request: Some(grant.request), until: grant.ends_at }),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Scope(_) => None,
        });
        std::iter::once(base).chain(granted).collect()
    }

    /// How this person holds `least` or more: for good if the base role suffices, else by the grant that lasts longest.
    fn role_held(&self, least: Role, now: Timestamp) -> Option<RoleHeld> {
        let enough = self.roles_held(now).into_iter().filter(|held| held.role >= least);
        enough.reduce(|a, b| if lasts_longer(b.until, a.until) { b } else { a })
    }

    /// Every way in which this person may use the thing now. Empty: they may not.
    pub fn ways(&self, thing: &CatalogItem, now: Timestamp) -> Vec<Way> {
        if self.is_disabled() {
            return Vec::new();
        }
        let by_role = |via: Via, least: Role, name: Option<String>| {
            self.role_held(least, now).map(|held| Way {
                via,
                name: name.unwrap_or_else(|| held.role.to_string()),
                request: held.request,
                until: held.until,
            })
        };
        let mut ways = Vec::new();
        match thing {
            CatalogItem::Connection { .. } | CatalogItem::Target { .. } => {
                ways.extend(by_role(Via::Role, Role::Admin, None));
                let covering = self.scopes.iter().filter(|(_, scope)| scope.covers.covers(thing));
                ways.extend(covering.filter_map(|(name, scope)| self.assigned(name, scope, now)));
            }
            CatalogItem::Feature { name, role } => ways.extend(by_role(Via::Feature, *role, Some(name.to_string()))),
            CatalogItem::Scope { name } => {
                ways.extend(by_role(Via::Role, Role::Admin, None));
                ways.extend(self.scopes.get(name).and_then(|scope| self.assigned(name, scope, now)));
            }
            CatalogItem::Role(role) => {
                if self.member.role >= *role {
                    let name = self.member.role.to_string();
                    ways.push(Way { via: Via::Role, name, request: None, until: None });
                }
                let higher = self
                    .live_grants(now)
                    .filter(|grant| matches!(grant.terms.resource, Resource::Role(granted) if granted > *role));
                ways.extend(higher.map(by_grant));
            }
        }
        let covers = |grant: &&Grant| grant_covers(&grant.terms.resource, thing, |name| self.scopes.get(name));
        ways.extend(self.live_grants(now).filter(covers).map(by_grant));
        ways
    }

    /// How a scope is assigned to this person, if it is: the way that lasts longest.
    fn assigned(&self, name: &Name, scope: &Scope, now: Timestamp) -> Option<Way> {
        let way = |request, until| Way { via: Via::Scope, name: name.to_string(), request, until };
        let each = scope.assigned.iter().filter_map(|assignee| match assignee {
            Assignee::Member(member) => (*member == self.name).then(|| way(None, None)),
            Assignee::Group(group) => self.groups.contains(group).then(|| way(None, None)),
            Assignee::Role(least) => self.role_held(*least, now).map(|held| way(held.request, held.until)),
        });
        each.reduce(|a, b| if lasts_longer(b.until, a.until) { b } else { a })
    }

    /// The names of the scopes this person has now, assigned or granted.
    pub fn scopes_held(&self, now: Timestamp) -> Vec<Name> {
        let held = |name: &&Name| !self.own_ways_to_scope(name, now).is_empty();
        if self.is_disabled() { Vec::new() } else { self.scopes.keys().filter(held).cloned().collect() }
    }

    fn own_ways_to_scope(&self, name: &Name, now: Timestamp) -> Vec<Way> {
        let thing = CatalogItem::Scope { name: name.clone() };
        self.ways(&thing, now).into_iter().filter(|way| way.via != Via::Role).collect()
    }
}

fn by_grant(grant: &Grant) -> Way {
    Way { via: Via::Grant, name: grant.terms.resource.to_string(), request: Some(grant.request), until: grant.ends_at }
}

/// Whether an end `a` lies after an end `b`, where None is never.
fn lasts_longer(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
        (_, None) => false,
    }
}

/// Of several ways, the one that lasts longest.
pub fn longest(ways: &[Way]) -> Option<&Way> {
    ways.iter().reduce(|a, b| if lasts_longer(b.until, a.until) { b } else { a })
}
