//! `list` and `show`.

use super::resources::narrowest_scope;
use super::{Call, Problem, Sink, view, visible};
use crate::command::{End, ListFilter, TimelineView};
use crate::domain::decide;
use crate::domain::request::{RequestId, State};
use crate::domain::words::briefly;
use crate::error::Failure;
use crate::store::Read;

/// Requests, newest first, in pages each of its own short transaction, so that a long list holds nobody up.
pub fn list(call: &Call<'_>, filter: &ListFilter, sink: Sink<'_>) -> Result<End, Failure> {
    // Whoever may see all, sees all for the length of this command.
    let (only, admins, now) = call.ask("list", |read, me, now| {
        let sees_all = decide::needs_admin(me, "", now).is_ok() && !filter.mine;
        Ok((if sees_all { None } else { Some(me.name.clone()) }, read.admins()?, now))
    })?;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut before = i64::MAX;
    loop {
        let page = call.store.read(|read| read.requests_before(filter, only.as_ref(), before, now))?;
        for request in page.rows {
            if left == 0 {
                let more = call.store.read(|read| read.count_requests(filter, only.as_ref(), before, now))?;
                return Ok(End { more, ..End::default() });
            }
            left -= 1;
            before = request.id.get();
            view::send(view::of(request, &admins, now), sink)?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}

pub fn show(call: &Call<'_>, id: RequestId, sink: Sink<'_>) -> Result<End, Failure> {
    let view = call.ask("show", |read, me, now| {
        let request = visible(read, me, id, now)?;
        let timeline = timeline(read, id)?;
        let may_decide = decide::may_decide(me, &request, &request.asked, now).is_ok();
        let mut view = view::of(request, &read.admins()?, now);
        view.may_decide = Some(may_decide && view.state == State::Pending);
        view.timeline = timeline;
        view.last_seq = Some(read.last_entry_about(id)?);
        if view.state == State::Pending {
            view.narrowest_scope = narrowest_scope(&read.team()?, &view.resource);
        }
        Ok(view)
    })?;
    view::send(view, sink)?;
    Ok(End::default())
}

fn timeline(read: &Read<'_>, id: RequestId) -> Result<Vec<TimelineView>, Problem> {
    let entries = read.entries_about(id)?;
    let view = |entry: crate::domain::event::Entry| TimelineView {
        at: entry.at,
        text: briefly(&entry.event, entry.actor.as_ref()),
        action: entry.event.action().to_owned(),
        actor: entry.actor,
    };
    Ok(entries.into_iter().map(view).collect())
}
