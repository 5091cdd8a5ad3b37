//! `resources`: what can be requested, and the caller's access to each.

use serde::{Deserialize, Serialize};

use super::snapshot::TeamSnapshot;
use super::{Call, Never, Problem, Rows, Service};
use crate::domain::catalog::{CatalogItem, Covers, grant_covers};
use crate::domain::entitlement::longest;
use crate::domain::name::Name;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::resource::{Resource, ResourceKind};
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::text::nearest;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::ResourceView;

/// What can be requested, and the caller's access to each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resources {
    pub kind: Option<ResourceKind>,
    pub mine: bool,
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
    /// Only what gives access to this too.
    #[serde(default)]
    pub covering: Option<Resource>,
}

impl Call for Resources {
    const NAME: &'static str = "Resources";

    type Row = ResourceView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, ResourceView>) -> Result<(), Failure> {
        let Resources { kind, mine, at, covering } = self;
        let views = service.ask("resources", |read, me, now| {
            let snapshot = TeamSnapshot::of(read, at, now)?;
            let team = snapshot.team(read)?;
            // What is gone is known only to those who held it and those who see everything.
            let sees_all = at.is_none() || authorize::needs_auditor(me, "", now).is_ok();
            let me = snapshot.caller(read, me)?;
            let pending = snapshot.pending(read, &me.name)?;
            let covered = covering.as_ref().and_then(|resource| team.item(resource));
            let mut views = Vec::new();
            for resource in team.resources().filter(|resource| kind.is_none_or(|kind| resource.kind() == kind)) {
                let Some(item) = team.item(&resource) else { continue };
                let covers = |wanted: &CatalogItem| grant_covers(&resource, wanted, |name| team.scopes.get(name));
                if covering.is_some() && !covered.as_ref().is_some_and(covers) {
                    continue;
                }
                let entitlements = me.entitlements(&item, snapshot.now());
                let is_known = sees_all || read.catalog_item(&resource)?.is_some();
                if entitlements.is_empty() && (mine || !is_known) {
                    continue;
                }
                views.push(ResourceView {
                    held: !entitlements.is_empty(),
                    via: entitlements.iter().map(ToString::to_string).collect(),
                    until: longest(&entitlements).and_then(|entitlement| entitlement.until),
                    pending: pending.get(&resource).copied(),
                    about: about(&team, &item),
                    resource,
                    at,
                });
            }
            Ok(views)
        })?;
        for view in views {
            rows(view)?;
        }
        Ok(())
    }
}

/// The resource with this name, of any kind. Every member can list the resources, so this reveals nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Find {
    pub name: Name,
}

impl Call for Find {
    const NAME: &'static str = "Find";

    type Row = Never;
    type Reply = Resource;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Resource, Failure> {
        let Find { name } = self;
        let name = &name;
        service.ask("resources", |read, _, _| {
            let all = read.resource_names()?;
            let mut choices: Vec<Resource> =
                all.iter().filter(|resource| resource.name() == name.as_str()).cloned().collect();
            match (choices.pop(), choices.is_empty()) {
                (Some(only), true) => Ok(only),
                (Some(last), false) => {
                    choices.push(last);
                    Err(Problem::from(Refusal::from(LookupRefusal::SeveralNamed { name: name.clone(), choices })))
                }
                (None, _) => {
                    let like = nearest(name.as_str(), all.iter().map(Resource::name));
                    let of_name = |resource: &&Resource| like.as_deref() == Some(resource.name());
                    let nearest = all.iter().filter(of_name).map(ToString::to_string).collect();
                    Err(Refusal::from(LookupRefusal::NoResourceNamed { name: name.clone(), nearest }).into())
                }
            }
        })
    }
}

/// A short description of a resource.
pub fn about(team: &Team, item: &CatalogItem) -> String {
    let list = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
    match item {
        CatalogItem::Connection { environment, .. } => environment.to_string(),
        CatalogItem::Target { connections, .. } => {
            format!("in {}", list(&mut connections.keys().map(ToString::to_string)))
        }
        CatalogItem::Feature { role, .. } => format!("every {role}"),
        CatalogItem::Scope { name } => match team.scopes.get(name).map(|scope| &scope.covers) {
            Some(Covers::Environments(set)) => format!("all {}", list(&mut set.iter().map(ToString::to_string))),
            Some(Covers::Connections(set) | Covers::Targets(set)) => list(&mut set.iter().map(ToString::to_string)),
            None => String::new(),
        },
        CatalogItem::Role(role) => match role {
            Role::Admin => "decides on requests".to_owned(),
            Role::Viewer | Role::Member | Role::Owner => String::new(),
        },
    }
}

/// The narrowest declared scope that covers a connection or target. Approvers are offered it.
pub fn narrowest_scope(team: &Team, resource: &Resource) -> Option<Name> {
    let item = team.item(resource)?;
    let items: Vec<CatalogItem> = team.resources().filter_map(|resource| team.item(&resource)).collect();
    let width = |covers: &Covers| items.iter().filter(|item| covers.covers(item)).count();
    let covering = team.scopes.iter().filter(|(_, scope)| scope.covers.covers(&item));
    covering.min_by_key(|(_, scope)| width(&scope.covers)).map(|(name, _)| name.clone())
}
