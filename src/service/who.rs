//! `who`: everyone who can use something now.

use serde::{Deserialize, Serialize};

use super::request::item;
use super::{Call, Rows, Service};
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::error::Failure;
use crate::protocol::HolderView;

/// Everyone who has access to something now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Who {
    pub resource: Resource,
}

impl Call for Who {
    const NAME: &'static str = "Who";

    type Row = HolderView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, HolderView>) -> Result<(), Failure> {
        let Who { resource } = self;
        let resource = &resource;
        let holders = service.ask("who", |read, me, now| {
            authorize::needs_admin(me, "see who has access to something", now)?;
            let item = item(read, resource)?;
            let mut holders = Vec::new();
            for name in read.member_names()? {
                let entitlements =
                    read.principal(&name)?.map(|principal| principal.entitlements(&item, now)).unwrap_or_default();
                holders.extend(
                    entitlements.into_iter().map(|entitlement| HolderView { member: name.clone(), entitlement }),
                );
            }
            Ok(holders)
        })?;
        for holder in holders {
            rows(holder)?;
        }
        Ok(())
    }
}
