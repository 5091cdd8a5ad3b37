//! `ssh principals`: the connections and targets that a Unix user may use now. Never writes.

use serde::{Deserialize, Serialize};

use super::check::of_login;
use super::request::item;
use super::shared_log::is_recent_enough;
use super::{Call, Problem, Rows, Service, member};
use crate::domain::member::Login;
use crate::domain::request::authorize;
use crate::domain::resource::{Resource, ResourceKind};
use crate::error::Failure;

/// The connections and targets that a Unix user may use now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Principals {
    pub login: Login,
    /// Only this one.
    pub resource: Option<Resource>,
}

impl Call for Principals {
    const NAME: &'static str = "Principals";

    type Row = Resource;
    type Reply = ();

    fn is_about_another(&self) -> bool {
        true
    }

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Resource>) -> Result<(), Failure> {
        let Principals { login, resource } = self;
        let usable = service.store.read(|read| -> Result<Vec<Resource>, Problem> {
            let now = service.now(read)?;
            let principal = member(read, &of_login(service, read, &login, now, authorize::needs_admin)?)?;
            let of_a_host = |kind| matches!(kind, ResourceKind::Connection | ResourceKind::Target);
            let is_named = resource.is_some();
            let candidates = match resource {
                Some(resource) => vec![resource],
                None => read.resource_names()?.into_iter().filter(|resource| of_a_host(resource.kind())).collect(),
            };
            let mut usable = Vec::new();
            for resource in candidates {
                let item = item(read, &resource)?;
                if principal.entitlements(&item, now).is_empty() {
                    continue;
                }
                // What an old copy still answers depends on the resource.
                let recent = is_recent_enough(read, &item, service.outside.clocks);
                if is_named {
                    recent?;
                    usable.push(resource);
                } else if recent.is_ok() {
                    usable.push(resource);
                }
            }
            Ok(usable)
        });
        for resource in usable.map_err(Problem::unrecorded)? {
            rows(resource)?;
        }
        Ok(())
    }
}
