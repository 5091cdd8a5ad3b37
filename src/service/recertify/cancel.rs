//! `recertify cancel`: ends a recertification before it is due.

use serde::{Deserialize, Serialize};

use super::Loaded;
use crate::domain::recertification::RecertificationId;
use crate::domain::refusal::{RecertifyRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::request::recertify::cancel;
use crate::domain::role::Role;
use crate::domain::text::Text;
use crate::error::Failure;
use crate::protocol::RecertificationView;
use crate::service::policy_context::PolicyContext;
use crate::service::{Call, Never, Rows, Service};
use crate::store::{Error, Read};

/// Ends a recertification before it is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CancelRecertification {
    pub id: RecertificationId,
    pub reason: Text,
}

impl Call for CancelRecertification {
    const NAME: &'static str = "CancelRecertification";

    type Row = Never;
    type Reply = RecertificationView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RecertificationView, Failure> {
        let CancelRecertification { id, reason } = self;
        let load = |read: &Read<'_>, policy: &PolicyContext| -> Result<Option<Loaded>, Error> {
            read.recertification(id)?.map(|it| Loaded::of(read, policy, it, None)).transpose()
        };
        service.change(
            "recertify cancel",
            None,
            |read, me, now| {
                // Checked before the answer reveals what there is.
                authorize::needs_admin(me, "cancel a recertification", now)?;
                let policy = PolicyContext::default();
                let no_such = || Refusal::from(RecertifyRefusal::NoSuchRecertification { id });
                let loaded = load(read, &policy)?.ok_or_else(no_such)?;
                let mut names = loaded.may_still_decide(read, &policy, now)?;
                names.extend(read.holders_of_role(Role::Owner)?);
                Ok((vec![cancel(&loaded.recertification, reason, &names, me, now)?], me.clone()))
            },
            |read, me, now| {
                let missing = || Error::Internal { message: format!("recertification {id} is missing") };
                Ok(load(read, &PolicyContext::default())?.ok_or_else(missing)?.view(&me, true, now))
            },
        )
    }
}
