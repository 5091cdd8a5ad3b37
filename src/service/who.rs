//! `who`: everyone who can use something, and everything that a member can use.

use serde::{Deserialize, Serialize};

use super::snapshot::TeamSnapshot;
use super::{Call, Rows, Service};
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::HolderView;

/// Everyone who has access to something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Who {
    pub resource: Resource,
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
}

impl Call for Who {
    const NAME: &'static str = "Who";

    type Row = HolderView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, HolderView>) -> Result<(), Failure> {
        let Who { resource, at } = self;
        let holders = service.ask("who", |read, me, now| {
            authorize::needs_auditor(me, "see who has access to something", now)?;
            let snapshot = TeamSnapshot::of(read, at, now)?;
            let item = snapshot.item(read, &resource)?;
            let mut holders = Vec::new();
            snapshot.each_member(read, |member| {
                let entitlements = member.entitlements(&item, snapshot.now());
                holders.extend(entitlements.into_iter().map(|entitlement| HolderView {
                    member: member.name.clone(),
                    resource: resource.clone(),
                    entitlement,
                    at,
                }));
            })?;
            Ok(holders)
        })?;
        holders.into_iter().try_for_each(rows)
    }
}

/// Everything that a member has access to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holdings {
    pub member: Name,
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
}

impl Call for Holdings {
    const NAME: &'static str = "Holdings";

    type Row = HolderView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, HolderView>) -> Result<(), Failure> {
        let Holdings { member, at } = self;
        let holdings = service.ask("who", |read, me, now| {
            // Of the past, a name may be another person's.
            if member != me.name || at.is_some() {
                authorize::needs_auditor(me, "see what somebody else has access to", now)?;
            }
            let snapshot = TeamSnapshot::of(read, at, now)?;
            let holder: Principal = snapshot.member(read, &member)?;
            let team = snapshot.team(read)?;
            let mut holdings = Vec::new();
            for resource in team.resources() {
                let Some(item) = team.item(&resource) else { continue };
                let entitlements = holder.entitlements(&item, snapshot.now());
                holdings.extend(entitlements.into_iter().map(|entitlement| HolderView {
                    member: member.clone(),
                    resource: resource.clone(),
                    entitlement,
                    at,
                }));
            }
            Ok(holdings)
        })?;
        holdings.into_iter().try_for_each(rows)
    }
}
