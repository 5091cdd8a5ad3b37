//! `list` and `show`.

use std::sync::mpsc;
use std::thread;

use super::resources::narrowest_scope;
use super::{Call, Problem, Sink, view, visible};
use crate::command::{End, ListFilter, TimelineView};
use crate::domain::decide;
use crate::domain::request::{Request, RequestId, State};
use crate::domain::words::briefly;
use crate::error::Failure;
use crate::store::{Page, Read};

/// So many pages wait to be shown at most.
const PAGES: usize = 2;

/// Requests, newest first, in pages each of its own short transaction, so that a long list holds nobody up. While one
/// thread shows a page, the other reads the next: each is half of the work.
pub fn list(call: &Call<'_>, filter: &ListFilter, sink: Sink<'_>) -> Result<End, Failure> {
    // Whoever may see all, sees all for the length of this command.
    let (only, admins, now) = call.ask("list", |read, me, now| {
        let sees_all = decide::needs_admin(me, "", now).is_ok() && !filter.mine;
        Ok((if sees_all { None } else { Some(me.name.clone()) }, read.admins()?, now))
    })?;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut before = i64::MAX;
    // A page, and how the list ends if it does with that.
    let mut next = || -> Result<(Vec<Request>, Option<End>), Failure> {
        let Page { mut rows, last } =
            call.store.read(|read| read.requests_before(filter, only.as_ref(), before, now))?;
        let cut = rows.len() as u64 > left;
        if cut {
            rows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        left -= rows.len() as u64;
        before = rows.last().map_or(before, |request| request.id.get());
        let more =
            if cut { call.store.read(|read| read.count_requests(filter, only.as_ref(), before, now))? } else { 0 };
        Ok((rows, (cut || last).then(|| End { more, ..End::default() })))
    };
    let mut show =
        |rows: Vec<Request>| rows.into_iter().try_for_each(|request| view::send(view::of(request, &admins, now), sink));
    let (first, end) = next()?;
    if let Some(end) = end {
        show(first)?;
        return Ok(end);
    }
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(PAGES);
        let showing = scope.spawn(move || show(first).and_then(|()| receiver.iter().try_for_each(show)));
        let mut read = || loop {
            let (rows, end) = next()?;
            // Nobody receives it where showing has failed, which is what is told then.
            let failed = sender.send(rows).is_err();
            if let Some(end) = end.or_else(|| failed.then(End::default)) {
                return Ok(end);
            }
        };
        let end = read();
        drop(sender);
        showing.join().expect("showing does not panic")?;
        end
    })
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
