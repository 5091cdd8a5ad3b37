//! `check`: whether a member has access to something now. Never writes.

use serde::{Deserialize, Serialize};

use super::shared_log::{freshen, is_recent_enough};
use super::snapshot::TeamSnapshot;
use super::{Call, Never, Problem, Rows, Service};
use crate::domain::entitlement::Entitlement;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
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
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
}

impl Call for Check {
    const NAME: &'static str = "Check";

    type Row = Never;
    type Reply = CheckView;

    fn is_about_another(&self) -> bool {
        self.user.is_some() || self.login.is_some()
    }

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<CheckView, Failure> {
        let Check { resource, user, login, freshness, at } = self;
        if freshness.is_some() && !service.caller.root {
            // Strangers make nobody ask the shared log.
            service.store.read(|read| service.actor(read)).map_err(Problem::unrecorded)?;
        }
        freshen(service.store, freshness.as_ref())?;
        let login = login.as_ref();
        let checked = service.store.read(|read| {
            let now = service.now(read)?;
            let whose = asked_about(service, read, user, login, (now, at))?;
            if let Whose::Caller(me) = &whose
                && me.is_disabled()
            {
                // A disabled member holds nothing, and does not learn what exists.
                return Ok(view(me.name.clone(), resource, Vec::new(), None, (now, at)));
            }
            let snapshot = TeamSnapshot::of(read, at, now)?;
            let principal = match whose {
                Whose::Caller(me) => snapshot.caller(read, &me)?,
                Whose::Member(name) => snapshot.member(read, &name)?,
            };
            let item = snapshot.item(read, &resource)?;
            is_recent_enough(read, &item, service.outside.clocks)?;
            let because = principal.entitlements(&item, snapshot.now());
            let pending = match (because.is_empty(), at) {
                (false, _) => None,
                (true, None) => read.pending_request(&principal.name, &resource, now)?.map(|request| request.id),
                (true, Some(_)) => snapshot.pending(read, &principal.name)?.remove(&resource),
            };
            Ok(view(principal.name, resource, because, pending, (snapshot.now(), at)))
        });
        checked.map_err(Problem::unrecorded)
    }
}

/// Whose access is checked.
enum Whose {
    Caller(Principal),
    Member(Name),
}

/// Refuses who may not ask about others.
fn asked_about(
    service: &Service<'_>,
    read: &Read<'_>,
    user: Option<Name>,
    login: Option<&Login>,
    (now, at): (Timestamp, Option<Timestamp>),
) -> Result<Whose, Problem> {
    if let Some(login) = login {
        return Ok(Whose::Member(of_login(service, read, login, now, authorize::needs_auditor)?));
    }
    match user {
        // Root need not be a member.
        Some(name) if service.caller.root => Ok(Whose::Member(name)),
        Some(name) => {
            let me = service.actor(read)?;
            let sees_all = authorize::needs_auditor(&me, "check somebody else's access", now);
            // In the past, a name may have been another person's.
            if name == me.name && (at.is_none() || sees_all.is_err()) {
                return Ok(Whose::Caller(me));
            }
            sees_all?;
            Ok(Whose::Member(name))
        }
        None => Ok(Whose::Caller(service.actor(read)?)),
    }
}

/// The member with a Unix user name. Nobody else than root and those who pass `may` learns the login of a member.
pub fn of_login(
    service: &Service<'_>,
    read: &Read<'_>,
    login: &Login,
    now: Timestamp,
    may: impl FnOnce(&Principal, &'static str, Timestamp) -> Result<(), Refusal>,
) -> Result<Name, Problem> {
    if !service.caller.root {
        may(&service.actor(read)?, "check access by a Unix user name", now)?;
    }
    Ok(read
        .member_of_login(login)?
        .ok_or_else(|| Refusal::from(CallerRefusal::NoMember { login: login.to_string() }))?)
}

fn view(
    member: Name,
    resource: Resource,
    because: Vec<Entitlement>,
    pending: Option<RequestId>,
    (now, at): (Timestamp, Option<Timestamp>),
) -> CheckView {
    CheckView { allowed: !because.is_empty(), member, resource, because, pending, now, at }
}
