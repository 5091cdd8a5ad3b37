//! `extend`: asking for more of a grant one has. It is a request like any other, which starts when that grant ends.

use super::docket::Docket;
use super::request::{Prepared, submit};
use super::{Call, Sink, view, visible};
use crate::command::End;
use crate::domain::decide::{self, Ask};
use crate::domain::duration::Length;
use crate::domain::refusal::Refusal;
use crate::domain::request::RequestId;
use crate::domain::text::{Text, Ticket};
use crate::error::Failure;

pub fn extend(
    call: &Call<'_>,
    id: RequestId,
    length: Option<Length>,
    reason: Text,
    ticket: Option<Ticket>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let (view, warnings) = call.change(
        "extend",
        Some(id),
        |read, me, now| {
            let docket = Docket::default();
            let request = visible(read, &docket, me, id, now)?;
            let default_length = length.is_none();
            let terms = decide::extended(&request, me, length, now)?;
            let open = |next: &&crate::domain::request::Request| next.state(now).is_open();
            if let Some(next) = read.extensions(id)?.iter().find(open) {
                return Err(Refusal::AlreadyExtended { id, by: next.id }.into());
            }
            let ticket = ticket.or(request.ticket);
            let ask = Ask { terms, reason, ticket, extends: Some(id), emergency: false, default_length };
            let Prepared { drafts, warnings, view } = submit(read, &docket, me, me, &ask, now)?;
            Ok((drafts, (view, warnings)))
        },
        |_, answer, _| Ok(answer),
    )?;
    view::send(view, sink)?;
    Ok(End { warnings, ..End::default() })
}
