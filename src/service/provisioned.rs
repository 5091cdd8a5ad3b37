//! What bindings give, and how far the connectors have come with each grant.

use std::collections::{BTreeMap, BTreeSet};

use super::policy_context::PolicyContext;
use crate::domain::binding::{Binding, Holding, Parameters};
use crate::domain::catalog::CatalogItem;
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::provisioning::{Condition, Provisioning};
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;
use crate::protocol::{ProvisioningState, ProvisioningView};
use crate::store::{Error, Read};

/// The bindings of each resource that has any, with what the catalogue says about the resource.
pub struct Bound {
    each: Vec<(CatalogItem, Vec<Binding>)>,
}

impl Bound {
    pub fn new(read: &Read<'_>, bindings: Vec<Binding>) -> Result<Bound, Error> {
        let mut by_resource: BTreeMap<Resource, Vec<Binding>> = BTreeMap::new();
        for binding in bindings {
            by_resource.entry(binding.resource.clone()).or_default().push(binding);
        }
        let mut each = Vec::new();
        for (resource, bindings) in by_resource {
            each.extend(read.catalog_item(&resource)?.map(|item| (item, bindings)));
        }
        Ok(Bound { each })
    }

    /// The bindings of what this grant alone opens to a person.
    pub fn given_by(&self, principal: &Principal, grant: &Grant, now: Timestamp) -> Vec<&Binding> {
        let alone = principal.with_only(grant);
        let opens =
            |item: &CatalogItem| alone.entitlements(item, now).iter().any(|way| way.request == Some(grant.request));
        self.each.iter().filter(|(item, _)| opens(item)).flat_map(|(_, bindings)| bindings).collect()
    }

    /// The bindings with `baseline`, of what a person has without a grant.
    pub fn given_without(&self, principal: &Principal, now: Timestamp) -> Vec<&Binding> {
        let base = Principal { grants: Vec::new(), ..principal.clone() };
        let mut given = Vec::new();
        for (item, bindings) in &self.each {
            let mut bindings = bindings.iter().filter(|binding| binding.baseline).peekable();
            if bindings.peek().is_some() && !base.entitlements(item, now).is_empty() {
                given.extend(bindings);
            }
        }
        given
    }
}

/// How far connectors are with a grant, binding by binding. None if there is nothing to say.
pub fn of_grant(
    read: &Read<'_>,
    policy: &PolicyContext,
    grant: &Grant,
    now: Timestamp,
) -> Result<Option<Vec<ProvisioningView>>, Error> {
    let Some(bound) = policy.bound(read)? else { return Ok(None) };
    let on_record = read.provisioning_of(grant.request)?;
    let principal = if grant.is_live(now) { policy.principal(read, &grant.member)? } else { None };
    let wanted: BTreeSet<Holding> = match &principal {
        None => BTreeSet::new(),
        Some(principal) => {
            let login = &principal.member.login;
            let holding = |binding: &Binding| Holding {
                connector: binding.connector.clone(),
                login: login.clone(),
                parameters: binding.parameters.clone(),
            };
            bound.given_by(principal, grant, now).into_iter().map(holding).collect()
        }
    };
    let views = views(grant, &wanted, &on_record, now);
    Ok((!views.is_empty()).then_some(views))
}

/// `wanted`: what the grant gives now. `on_record`: all that was ever recorded for it, in order.
fn views(
    grant: &Grant,
    wanted: &BTreeSet<Holding>,
    on_record: &[Provisioning],
    now: Timestamp,
) -> Vec<ProvisioningView> {
    let view = |holding: &Holding, state, error: Option<&String>, at| ProvisioningView {
        connector: holding.connector.clone(),
        parameters: holding.parameters.clone(),
        state,
        error: error.cloned(),
        at: Some(at),
    };
    let (open, over): (Vec<&Provisioning>, Vec<&Provisioning>) =
        on_record.iter().partition(|row| !row.condition.is_final());
    let mut views = Vec::new();
    // On each host that has a system of its own.
    let anywhere = |row: &Provisioning| row.holding.clone().without_host().0;
    for holding in wanted {
        let mut rows = open.iter().filter(|row| anywhere(row) == *holding).peekable();
        if rows.peek().is_none() {
            views.push(view(holding, ProvisioningState::Granting, None, grant.starts_at));
        }
        views.extend(rows.map(|row| match row.condition {
            Condition::Granted => view(&row.holding, ProvisioningState::Granted, None, row.since),
            Condition::GrantFailed => view(&row.holding, ProvisioningState::Failed, row.error.as_ref(), row.since),
            // It should be taken back no longer.
            _ => view(&row.holding, ProvisioningState::Granting, None, row.since),
        }));
    }
    for row in open.iter().filter(|row| !wanted.contains(&anywhere(row))) {
        let ended_at = grant.ended_at(now).unwrap_or(row.since);
        views.push(match row.condition {
            Condition::RevokeFailed => view(&row.holding, ProvisioningState::Failed, row.error.as_ref(), row.since),
            _ => view(&row.holding, ProvisioningState::Revoking, None, ended_at),
        });
    }
    // Of what was given and taken several times, the last.
    let shown: BTreeSet<(Name, Parameters)> =
        views.iter().map(|view| (view.connector.clone(), view.parameters.clone())).collect();
    let mut revoked: BTreeMap<(Name, Parameters), ProvisioningView> = BTreeMap::new();
    for row in over {
        let key = (row.holding.connector.clone(), row.holding.parameters.clone());
        if !shown.contains(&key) {
            revoked.insert(key, view(&row.holding, ProvisioningState::Revoked, None, row.since));
        }
    }
    views.extend(revoked.into_values());
    views
}
