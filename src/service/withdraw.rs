//! `withdraw`: taking back one's own request.

use super::policy_context::PolicyContext;
use super::{Call, Sink, those_asked, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::request::lifecycle;
use crate::domain::terms::RequestId;
use crate::error::Failure;

pub fn withdraw(call: &Call<'_>, id: RequestId, seen: Option<Seen>, sink: Sink<'_>) -> Result<End, Failure> {
    let view = call.change(
        "withdraw",
        Some(id),
        |read, me, now| {
            let request = visible(read, &PolicyContext::default(), me, id, now)?;
            unchanged(read, id, seen.as_ref())?;
            let asked = those_asked(read, &request)?;
            Ok((lifecycle::withdraw(&request, me, &asked, now)?, ()))
        },
        |read, (), now| view::written(read, &PolicyContext::default(), id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
