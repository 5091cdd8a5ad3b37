//! `approve`.

use super::request::thing;
use super::{Call, Sink, member, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::decide;
use crate::domain::request::{Modification, RequestId};
use crate::domain::text::Text;
use crate::error::Failure;

pub fn approve(
    call: &Call<'_>,
    id: RequestId,
    modification: &Modification,
    note: Option<Text>,
    seen: Option<Seen>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let view = call.change(
        "approve",
        Some(id),
        |read, me, now| {
            let request = visible(read, me, id, now)?;
            decide::may_decide(me, &request, &request.asked.modified(modification), now)?;
            unchanged(read, id, seen.as_ref())?;
            if let Some(resource) = &modification.resource {
                thing(read, resource)?;
            }
            let requester = member(read, &request.requester)?;
            Ok((decide::approve(&request, me, &requester, modification, note, now)?, ()))
        },
        |read, (), now| view::written(read, id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
