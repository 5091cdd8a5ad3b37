//! `revoke`: ending a grant before its time.

use super::{Call, Sink, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::decide;
use crate::domain::request::RequestId;
use crate::domain::text::Text;
use crate::error::Failure;

pub fn revoke(
    call: &Call<'_>,
    id: RequestId,
    reason: Option<Text>,
    seen: Option<Seen>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let view = call.change(
        "revoke",
        Some(id),
        |read, me, now| {
            let request = visible(read, me, id, now)?;
            unchanged(read, id, seen.as_ref())?;
            Ok((decide::revoke(&request, me, reason, now)?, ()))
        },
        |read, (), now| view::written(read, id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
