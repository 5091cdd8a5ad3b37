//! `check`: whether a member has access to something now. Never writes.

use serde::{Deserialize, Serialize};

use super::request::item;
use super::shared_log::{freshen, is_recent_enough};
use super::{Call, Never, Problem, Rows, Service, member};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{CheckView, Freshness};
use crate::store::Read;

/// Whether a member has access to something now. Never writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    pub resource: Resource,
    pub user: Option<Name>,
    /// The member with this Unix user name, for gates such as PAM.
    pub login: Option<Login>,
    /// What the copy of a shared log has to know first.
    #[serde(default)]
    pub freshness: Option<Freshness>,
}

impl Call for Check {
    const NAME: &'static str = "Check";

    type Row = Never;
    type Reply = CheckView;

    fn is_about_another(&self) -> bool {
        self.user.is_some() || self.login.is_some()
    }

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<CheckView, Failure> {
        let Check { resource, user, login, freshness } = self;
        if freshness.is_some() && !service.caller.root {
            // Strangers make nobody ask the shared log.
            service.store.read(|read| service.actor(read)).map_err(Problem::unrecorded)?;
        }
        freshen(service.store, freshness.as_ref())?;
        let login = login.as_ref();
        let checked = service.store.read(|read| {
            let now = service.now(read)?;
            let user = match login {
                Some(login) => Some(of_login(service, read, login, now)?),
                None => user,
            };
            let (principal, own) = match user {
                // Root need not be a member.
                Some(name) if service.caller.root => (member(read, &name)?, false),
                Some(name) => {
                    let me = service.actor(read)?;
                    if name == me.name {
                        (me, true)
                    } else {
                        authorize::needs_admin(&me, "check somebody else's access", now)?;
                        (member(read, &name)?, false)
                    }
                }
                None => (service.actor(read)?, true),
            };
            // A disabled member holds nothing, and does not learn what exists.
            let disabled = own && principal.is_disabled();
            let because = if disabled {
                Vec::new()
            } else {
                let item = item(read, &resource)?;
                is_recent_enough(read, &item, service.outside.clocks)?;
                principal.entitlements(&item, now)
            };
            let may_wait = because.is_empty() && !disabled;
            let pending = if may_wait { read.pending_request(&principal.name, &resource, now)? } else { None };
            Ok(CheckView {
                allowed: !because.is_empty(),
                member: principal.name,
                resource,
                because,
                pending: pending.map(|request| request.id),
                now,
            })
        });
        checked.map_err(Problem::unrecorded)
    }
}

/// The member with a Unix user name. Only for callers who may ask about others: nobody else learns the login of a member.
pub fn of_login(service: &Service<'_>, read: &Read<'_>, login: &Login, now: Timestamp) -> Result<Name, Problem> {
    if !service.caller.root {
        authorize::needs_admin(&service.actor(read)?, "check access by a Unix user name", now)?;
    }
    Ok(read
        .member_of_login(login)?
        .ok_or_else(|| Refusal::from(CallerRefusal::NoMember { login: login.to_string() }))?)
}
