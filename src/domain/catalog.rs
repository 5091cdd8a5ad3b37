//! What there is to ask for: connections, targets, features and scopes, and what a grant of each covers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::member::Assignee;
use super::name::Name;
use super::replica::OfflineLimit;
use super::resource::Resource;
use super::role::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    Production,
    NonProduction,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub environment: Environment,
    /// How long a host answers about it without contact to the shared log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_for: Option<OfflineLimit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub connections: BTreeSet<Name>,
    /// How long a host answers about it without contact to the shared log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_for: Option<OfflineLimit>,
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

/// A resource with what the catalogue says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogItem {
    Connection { name: Name, environment: Environment },
    Target { name: Name, connections: BTreeMap<Name, Environment> },
    Feature { name: Name, role: Role },
    Scope { name: Name },
    Role(Role),
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

impl Covers {
    /// A target is covered by name, by any of its connections, or by environment when all of its connections are in it.
    pub fn covers(&self, item: &CatalogItem) -> bool {
        match (self, item) {
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
pub fn grant_covers<'s>(granted: &Resource, item: &CatalogItem, scope: impl Fn(&Name) -> Option<&'s Scope>) -> bool {
    match (granted, item) {
        (Resource::Connection(name), CatalogItem::Target { connections, .. }) => connections.contains_key(name),
        (Resource::Scope(name), CatalogItem::Connection { .. } | CatalogItem::Target { .. }) => {
            scope(name).is_some_and(|scope| scope.covers.covers(item))
        }
        // What a granted role brings comes by the effective role, below.
        (granted, item) => *granted == item.resource(),
    }
}
