//! `deny`.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Never, Rows, Service, deciding, those_asked, unchanged, view, visible};
use crate::domain::request::vote;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::error::Failure;
use crate::protocol::{RequestView, Seen};

/// Denies a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deny {
    pub id: RequestId,
    pub reason: Option<Text>,
    pub seen: Option<Seen>,
}

impl Call for Deny {
    const NAME: &'static str = "Deny";

    type Row = Never;
    type Reply = RequestView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RequestView, Failure> {
        let Deny { id, reason, seen } = self;
        service.change(
            "deny",
            Some(id),
            |read, me, now| {
                let policy = PolicyContext::default();
                let request = visible(read, &policy, me, id, now)?;
                let terms = request.proposed_terms();
                let asked = those_asked(read, &request)?;
                let drafts =
                    deciding(read, &policy, &request, terms, now, |case| vote::deny(case, me, reason, &asked, now))?;
                unchanged(read, id, seen.as_ref())?;
                Ok((drafts, policy))
            },
            |read, policy, now| view::written(read, &policy, id, now),
        )
    }
}
