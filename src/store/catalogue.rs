//! The stored team file: the team, its members, and the catalogue of what can be requested.

use std::collections::{BTreeMap, BTreeSet};

use super::read::Read;
use super::{Error, row};
use crate::domain::binding::Binding;
use crate::domain::catalog::{CatalogItem, Connection, Environment, Feature, Scope, Target};
use crate::domain::host::Hosts;
use crate::domain::name::Name;
use crate::domain::replica::OfflineLimit;
use crate::domain::resource::{Resource, ResourceKind};
use crate::domain::role::Role;
use crate::domain::team::{Group, Header, Team};

impl Read<'_> {
    pub fn team_name(&self) -> Result<Name, Error> {
        let name = self.one("SELECT name FROM team", [], |row| row::parsed(row, 0))?;
        name.ok_or_else(|| Error::damaged("the team is missing"))
    }

    pub fn team(&self) -> Result<Team, Error> {
        let sql = format!("SELECT name, {} FROM member", row::MEMBER);
        let members = self.rows(&sql, [], |row| Ok((row::parsed(row, 0)?, row::member(row, 1)?)))?;
        Ok(Team {
            team: self.team_header()?,
            members: members.into_iter().collect(),
            groups: self.catalogued("group")?,
            connections: self.catalogued("connection")?,
            targets: self.catalogued("target")?,
            features: self.catalogued("feature")?,
            scopes: self.catalogued("scope")?,
            hosts: self.hosts()?,
            rules: self.rules()?,
            bindings: self.bindings()?.into_iter().collect(),
            notifications: self.policy()?,
        })
    }

    fn team_header(&self) -> Result<Header, Error> {
        let header = self.one("SELECT name, offline_for FROM team", [], |row| {
            Ok(Header { name: row::parsed(row, 0)?, offline_for: row::maybe_parsed(row, 1)? })
        })?;
        header.ok_or_else(|| Error::damaged("the team is missing"))
    }

    /// The hosts that the team file names.
    pub fn hosts(&self) -> Result<Hosts, Error> {
        self.catalogued("host")
    }

    /// How long this host may answer about a resource without contact to the shared log. A target is as strict as its
    /// strictest connection, if it has no limit of its own.
    pub fn offline_limit(&self, item: &CatalogItem) -> Result<OfflineLimit, Error> {
        let of_team = self.team_header()?.offline_for;
        let or_default = |environment| {
            of_team.unwrap_or(match environment {
                Some(Environment::Production) => OfflineLimit::IN_PRODUCTION,
                Some(Environment::NonProduction) | None => OfflineLimit::ELSEWHERE,
            })
        };
        let of_connection = |name: &Name, environment: Environment| {
            let connection: Option<Connection> = self.catalogue_body("connection", name)?;
            let own = connection.and_then(|connection| connection.offline_for);
            Ok::<_, Error>(own.unwrap_or_else(|| or_default(Some(environment))))
        };
        match item {
            CatalogItem::Connection { name, environment } => of_connection(name, *environment),
            CatalogItem::Target { name, connections } => {
                let target: Option<Target> = self.catalogue_body("target", name)?;
                if let Some(own) = target.and_then(|target| target.offline_for) {
                    return Ok(own);
                }
                let limits = connections.iter().map(|(name, environment)| of_connection(name, *environment));
                let limits: Vec<OfflineLimit> = limits.collect::<Result<_, _>>()?;
                Ok(limits.into_iter().min().unwrap_or_else(|| or_default(None)))
            }
            CatalogItem::Feature { .. } | CatalogItem::Scope { .. } | CatalogItem::Role(_) => Ok(or_default(None)),
        }
    }

    pub fn bindings(&self) -> Result<Vec<Binding>, Error> {
        self.rows("SELECT body FROM catalogue WHERE kind = 'binding'", [], |row| row::json(row, 0))
    }

    /// A team with only its connections and targets, which are what a scope can cover.
    pub fn connections_and_targets(&self) -> Result<Team, Error> {
        Ok(Team {
            connections: self.catalogued("connection")?,
            targets: self.catalogued("target")?,
            ..Team::named(self.team_header()?)
        })
    }

    fn catalogued<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Result<BTreeMap<Name, T>, Error> {
        let rows = self.rows("SELECT name, body FROM catalogue WHERE kind = ?1", [kind], |row| {
            Ok((row::parsed(row, 0)?, row::json(row, 1)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    pub(super) fn catalogue_body<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        name: &Name,
    ) -> Result<Option<T>, Error> {
        let sql = "SELECT body FROM catalogue WHERE kind = ?1 AND name = ?2";
        self.one(sql, [kind, name.as_str()], |row| row::json(row, 0))
    }

    /// A resource with what the catalogue says about it. None if the catalogue does not have it.
    pub fn catalog_item(&self, resource: &Resource) -> Result<Option<CatalogItem>, Error> {
        let name = match resource {
            Resource::Role(role) => return Ok(Some(CatalogItem::Role(*role))),
            Resource::Connection(name) | Resource::Target(name) | Resource::Feature(name) | Resource::Scope(name) => {
                name.clone()
            }
        };
        Ok(match resource.kind() {
            ResourceKind::Connection => {
                self.environment(&name)?.map(|environment| CatalogItem::Connection { name, environment })
            }
            ResourceKind::Target => match self.catalogue_body::<Target>("target", &name)? {
                None => None,
                Some(target) => {
                    let mut connections = BTreeMap::new();
                    for connection in target.connections {
                        if let Some(environment) = self.environment(&connection)? {
                            connections.insert(connection, environment);
                        }
                    }
                    Some(CatalogItem::Target { name, connections })
                }
            },
            ResourceKind::Feature => self
                .catalogue_body::<Feature>("feature", &name)?
                .map(|feature| CatalogItem::Feature { name, role: feature.role }),
            ResourceKind::Scope => self.catalogue_body::<Scope>("scope", &name)?.map(|_| CatalogItem::Scope { name }),
            ResourceKind::Role => None,
        })
    }

    fn environment(&self, connection: &Name) -> Result<Option<Environment>, Error> {
        Ok(self.catalogue_body::<Connection>("connection", connection)?.map(|found| found.environment))
    }

    pub fn scope(&self, name: &Name) -> Result<Option<Scope>, Error> {
        self.catalogue_body("scope", name)
    }

    pub fn group_members(&self, group: &Name) -> Result<BTreeSet<Name>, Error> {
        Ok(self.catalogue_body::<Group>("group", group)?.map(|group| group.members).unwrap_or_default())
    }

    /// All resources, for suggestions and completion.
    pub fn resource_names(&self) -> Result<Vec<Resource>, Error> {
        let sql = "SELECT kind || ':' || name FROM catalogue WHERE kind IN ('connection', 'target', 'feature', 'scope') ORDER BY 1";
        let mut all = self.rows(sql, [], |row| row::parsed(row, 0))?;
        all.extend([Role::Member, Role::Admin].map(Resource::Role));
        Ok(all)
    }
}
