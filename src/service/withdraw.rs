//! `withdraw`: withdraws the caller's own pending request.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Never, Rows, Service, those_asked, unchanged, view, visible};
use crate::domain::request::lifecycle;
use crate::domain::terms::RequestId;
use crate::error::Failure;
use crate::protocol::{RequestView, Seen};

/// Withdraws a pending request of the caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Withdraw {
    pub id: RequestId,
    pub seen: Option<Seen>,
}

impl Call for Withdraw {
    const NAME: &'static str = "Withdraw";

    type Row = Never;
    type Reply = RequestView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RequestView, Failure> {
        let Withdraw { id, seen } = self;
        service.change(
            "withdraw",
            Some(id),
            |read, me, now| {
                let request = visible(read, &PolicyContext::default(), me, id, now)?;
                unchanged(read, id, seen.as_ref())?;
                let asked = those_asked(read, &request)?;
                Ok((lifecycle::withdraw(&request, me, &asked, now)?, ()))
            },
            |read, (), now| view::written(read, &PolicyContext::default(), id, now),
        )
    }
}
