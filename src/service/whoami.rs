//! `whoami`: the caller's profile.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Never, Rows, Service, view};
use crate::domain::grant::State;
use crate::error::Failure;
use crate::protocol::{COUNTED, ProfileView, RequestView};

/// The caller's profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Whoami {}

impl Call for Whoami {
    const NAME: &'static str = "Whoami";

    type Row = Never;
    type Reply = ProfileView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ProfileView, Failure> {
        service.ask("whoami", |read, me, now| {
            let granted = read.requests_granted_to(&me.name)?;
            let unread = read.unread(&me.name)?;
            let policy = PolicyContext::default();
            let mut grants = Vec::new();
            for request in granted.into_iter().filter(|request| request.state(now) == State::Active) {
                let provisioning = view::provisioning(read, &policy, &request, now)?;
                grants.push(RequestView::at(request, &[], now).with_provisioning(provisioning));
            }
            Ok(ProfileView {
                role: me.member.role,
                effective_role: me.effective_role(now),
                groups: me.groups.iter().cloned().collect(),
                scopes: me.scopes_held(now),
                grants,
                unread: unread.min(COUNTED),
                more_unread: unread > COUNTED,
                member: me.name.clone(),
                now,
            })
        })
    }
}
