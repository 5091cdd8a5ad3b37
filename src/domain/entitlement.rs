//! What a member may use: the baseline that the team file declares, and the grants that are live now.
//! A grant only ever adds, so two of them never undo one another.

use serde::{Deserialize, Serialize};

use super::catalog::{CatalogItem, Scope, grant_covers};
use super::grant::Grant;
use super::member::Assignee;
use super::name::Name;
use super::principal::{Principal, lasts_longer};
use super::resource::Resource;
use super::role::Role;
use super::terms::RequestId;
use super::time::Timestamp;

/// One way in which a member may use something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    pub via: Via,
    /// The role, the scope, the feature, or the resource granted.
    pub name: String,
    /// The request whose grant it rests on.
    pub request: Option<RequestId>,
    /// None: permanently.
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

impl Principal {
    /// Every way in which this person may use the thing now. Empty: they may not.
    pub fn entitlements(&self, item: &CatalogItem, now: Timestamp) -> Vec<Entitlement> {
        if self.is_disabled() {
            return Vec::new();
        }
        let by_role = |via: Via, least: Role, name: Option<String>| {
            self.role_held(least, now).map(|held| Entitlement {
                via,
                name: name.unwrap_or_else(|| held.role.to_string()),
                request: held.request,
                until: held.until,
            })
        };
        let mut entitlements = Vec::new();
        match item {
            CatalogItem::Connection { .. } | CatalogItem::Target { .. } => {
                entitlements.extend(by_role(Via::Role, Role::Admin, None));
                let covering = self.scopes.iter().filter(|(_, scope)| scope.covers.covers(item));
                entitlements.extend(covering.filter_map(|(name, scope)| self.assigned(name, scope, now)));
            }
            CatalogItem::Feature { name, role } => {
                entitlements.extend(by_role(Via::Feature, *role, Some(name.to_string())))
            }
            CatalogItem::Scope { name } => {
                entitlements.extend(by_role(Via::Role, Role::Admin, None));
                entitlements.extend(self.scopes.get(name).and_then(|scope| self.assigned(name, scope, now)));
            }
            CatalogItem::Role(role) => {
                if self.member.role >= *role {
                    let name = self.member.role.to_string();
                    entitlements.push(Entitlement { via: Via::Role, name, request: None, until: None });
                }
                let higher = self
                    .live_grants(now)
                    .filter(|grant| matches!(grant.terms.resource, Resource::Role(granted) if granted > *role));
                entitlements.extend(higher.map(by_grant));
            }
        }
        let covers = |grant: &&Grant| grant_covers(&grant.terms.resource, item, |name| self.scopes.get(name));
        entitlements.extend(self.live_grants(now).filter(covers).map(by_grant));
        entitlements
    }

    /// What this person would have with this grant as the only one. No two grants open more together than each by itself.
    pub fn with_only(&self, grant: &Grant) -> Principal {
        Principal {
            name: self.name.clone(),
            member: self.member.clone(),
            since: self.since,
            groups: self.groups.clone(),
            scopes: self.scopes.clone(),
            grants: vec![grant.clone()],
        }
    }

    /// How a scope is assigned to this person, if it is: the way that lasts longest.
    fn assigned(&self, name: &Name, scope: &Scope, now: Timestamp) -> Option<Entitlement> {
        let way = |request, until| Entitlement { via: Via::Scope, name: name.to_string(), request, until };
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

    fn own_ways_to_scope(&self, name: &Name, now: Timestamp) -> Vec<Entitlement> {
        let item = CatalogItem::Scope { name: name.clone() };
        self.entitlements(&item, now).into_iter().filter(|way| way.via != Via::Role).collect()
    }
}

impl Entitlement {
    /// How somebody has this resource, in words: `role:admin`, `request 12`, `the team file`.
    pub fn way_to(&self, resource: &Resource) -> String {
        match (self.via, self.request) {
            (Via::Grant, Some(request)) => format!("request {request}"),
            // That a feature or a role gives itself would say nothing.
            _ if self.to_string() == resource.to_string() => match self.request {
                Some(_) => "a granted role".to_owned(),
                None => "the team file".to_owned(),
            },
            _ => self.to_string(),
        }
    }
}

impl std::fmt::Display for Entitlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.request {
            Some(request) if self.via == Via::Grant => write!(f, "grant:{request}"),
            Some(_) | None => write!(f, "{}:{}", self.via.as_str(), self.name),
        }
    }
}

fn by_grant(grant: &Grant) -> Entitlement {
    Entitlement {
        via: Via::Grant,
        name: grant.terms.resource.to_string(),
        request: Some(grant.request),
        until: grant.ends_at,
    }
}

/// Of several ways, the one that lasts longest.
pub fn longest(entitlements: &[Entitlement]) -> Option<&Entitlement> {
    entitlements.iter().reduce(|a, b| if lasts_longer(b.until, a.until) { b } else { a })
}
