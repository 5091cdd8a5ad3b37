//! `revoke`: ending a grant before its time.

use super::docket::Docket;
use super::{Call, Sink, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::decide;
use crate::domain::request::{Request, RequestId};
use crate::domain::text::Text;
use crate::error::Failure;
use crate::store::{Error, Read};

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
            let request = visible(read, &Docket::default(), me, id, now)?;
            unchanged(read, id, seen.as_ref())?;
            let following = following(read, id)?;
            Ok((decide::revoke(&request, &following, me, reason, now)?, ()))
        },
        |read, (), now| view::written(read, &Docket::default(), id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}

/// The requests that go on from this one's grant, and those that go on from theirs.
pub fn following(read: &Read<'_>, id: RequestId) -> Result<Vec<Request>, Error> {
    let mut found = read.extensions(id)?;
    let mut next = 0;
    while let Some(request) = found.get(next) {
        // Each goes on from an earlier one, so this ends.
        found.extend(read.extensions(request.id)?);
        next += 1;
    }
    Ok(found)
}
