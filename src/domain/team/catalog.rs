//! Looks things up in a team's catalogue.

use super::Team;
use crate::domain::catalog::{CatalogItem, Scope, grant_covers};
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::role::Role;

impl Team {
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

    /// A resource as this team's catalogue has it. None: it is not in there.
    pub fn item(&self, resource: &Resource) -> Option<CatalogItem> {
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
    /// Empty if the catalogue does not have it.
    ///
    /// `scope`: what a scope covers, where this team's own scopes are not loaded.
    pub fn reach(&self, resource: &Resource, scope: Option<&Scope>) -> Vec<CatalogItem> {
        let item = match (resource, scope) {
            (Resource::Scope(name), Some(_)) => Some(CatalogItem::Scope { name: name.clone() }),
            (resource, _) => self.item(resource),
        };
        let Some(item) = item else { return Vec::new() };
        let covered = |other: &Resource| {
            let item = self.item(other).filter(|_| other != resource)?;
            grant_covers(resource, &item, |name| scope.or_else(|| self.scopes.get(name))).then_some(item)
        };
        let used = self.connections.keys().cloned().map(Resource::Connection);
        let used = used.chain(self.targets.keys().cloned().map(Resource::Target));
        let beyond: Vec<CatalogItem> = match resource {
            Resource::Connection(_) | Resource::Scope(_) => used.filter_map(|other| covered(&other)).collect(),
            Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => Vec::new(),
        };
        std::iter::once(item).chain(beyond).collect()
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
