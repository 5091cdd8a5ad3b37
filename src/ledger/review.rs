//! `review`: closing the review that an emergency owes.

use super::docket::Docket;
use super::{Call, Sink, deciding, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::decide;
use crate::domain::request::RequestId;
use crate::domain::text::Text;
use crate::error::Failure;

pub fn review(call: &Call<'_>, id: RequestId, note: Text, seen: Option<Seen>, sink: Sink<'_>) -> Result<End, Failure> {
    let view = call.change(
        "review",
        Some(id),
        |read, me, now| {
            let docket = Docket::default();
            let request = visible(read, &docket, me, id, now)?;
            let drafts =
                deciding(read, &docket, &request, &request.asked, now, |case| decide::review(case, me, note, now))?;
            unchanged(read, id, seen.as_ref())?;
            Ok((drafts, docket))
        },
        |read, docket, now| view::written(read, &docket, id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
