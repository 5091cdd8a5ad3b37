//! `approve`.

use super::docket::Docket;
use super::request::thing;
use super::{Call, Problem, Sink, deciding, those_asked, unchanged, view, visible};
use crate::command::{End, Seen};
use crate::domain::decide;
use crate::domain::refusal::{Refusal, Sort};
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
            let docket = Docket::default();
            let request = visible(read, &docket, me, id, now)?;
            let terms = request.on_the_table().modified(modification);
            if let Some(resource) = &modification.resource
                && read.thing(resource)?.is_none()
            {
                // Only someone who may decide on the request learns what the catalogue has.
                deciding(read, &docket, &request, request.on_the_table(), now, |case| decide::may_vote(case, me, now))?;
                thing(read, resource)?;
            }
            let asked = those_asked(read, &request)?;
            let drafts =
                deciding(read, &docket, &request, &terms, now, |case| decide::approve(case, me, note, &asked, now));
            if !matches!(&drafts, Err(Problem::Refusal(refusal)) if refusal.sort() == Sort::Refused) {
                unchanged(read, id, seen.as_ref())?;
            }
            // The requester must not get an approval, from somebody who looked before, for what an edit says since.
            if drafts.is_ok() && seen.is_none() && read.was_edited(id)? {
                return Err(Refusal::Unseen { id, seq: read.last_entry_about(id)? }.into());
            }
            Ok((drafts?, docket))
        },
        |read, docket, now| view::written(read, &docket, id, now),
    )?;
    view::send(view, sink)?;
    Ok(End::default())
}
