//! `whoami`: the caller's profile.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::recertify::decidable;
use super::snapshot::TeamSnapshot;
use super::{Call, Never, Rows, Service, view};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{COUNTED, ProfileView, RequestView};

/// The caller's profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Whoami {
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
}

impl Call for Whoami {
    const NAME: &'static str = "Whoami";

    type Row = Never;
    type Reply = ProfileView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ProfileView, Failure> {
        let Whoami { at } = self;
        service.ask("whoami", |read, me, now| {
            let snapshot = TeamSnapshot::of(read, at, now)?;
            let me = snapshot.caller(read, me)?;
            // What connectors did and which notifications were read is known only as it is now.
            let unread = if at.is_none() { read.unread(&me.name)? } else { 0 };
            let to_review = if at.is_none() { decidable(read, &me, now)?.len() as u64 } else { 0 };
            let now = snapshot.now();
            let policy = PolicyContext::default();
            let mut grants = Vec::new();
            for request in snapshot.active(read, &me)? {
                let provisioning = match at {
                    None => view::provisioning(read, &policy, &request, now)?,
                    Some(_) => None,
                };
                let view = RequestView::at(request, &[], now).with_provisioning(provisioning);
                grants.push(RequestView { at, ..view });
            }
            Ok(ProfileView {
                role: me.member.role,
                effective_role: me.effective_role(now),
                groups: me.groups.iter().cloned().collect(),
                scopes: me.scopes_held(now),
                grants,
                unread: unread.min(COUNTED),
                more_unread: unread > COUNTED,
                to_review,
                member: me.name.clone(),
                now,
                at,
            })
        })
    }
}
