//! `deny`.

use super::policy_context::PolicyContext;
use super::{Call, Sink, deciding, those_asked, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::request::vote;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::error::Failure;

pub fn deny(
    call: &Call<'_>,
    id: RequestId,
    reason: Option<Text>,
    seen: Option<Seen>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let view = call.change(
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
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
