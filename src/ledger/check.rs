//! `check`: may this member use this now? Never writes.

use super::request::thing;
use super::{Call, Problem, Sink, member};
use crate::command::{CheckView, End, Reply};
use crate::domain::decide;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::error::Failure;

pub fn check(call: &Call<'_>, resource: Resource, user: Option<Name>, sink: Sink<'_>) -> Result<End, Failure> {
    let checked = call.store.read(|read| {
        let now = call.now(read)?;
        let person = match user {
            // Root looks after the machine, and need not be a member.
            Some(name) if call.caller.root => member(read, &name)?,
            Some(name) => {
                let me = call.actor(read)?;
                if name == me.name {
                    me
                } else {
                    decide::needs_admin(&me, "check somebody else's access", now)?;
                    member(read, &name)?
                }
            }
            None => call.actor(read)?,
        };
        let because = person.ways(&thing(read, &resource)?, now);
        let pending = if because.is_empty() { read.pending_request(&person.name, &resource, now)? } else { None };
        Ok(CheckView {
            allowed: !because.is_empty(),
            member: person.name,
            resource,
            because,
            pending: pending.map(|request| request.id),
            now,
        })
    });
    let view = checked.map_err(|problem| match problem {
        Problem::Refusal(refusal) => refusal.into(),
        Problem::Failure(failure) => failure,
    })?;
    let no = !view.allowed;
    sink(Reply::Check(view))?;
    Ok(End { no, ..End::default() })
}
