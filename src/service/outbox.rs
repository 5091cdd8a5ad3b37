//! `outbox`: what waits to be sent, what failed and why; trying again, and discarding.

use super::{Call, Outside, Sink};
use crate::command::{End, QueuedView, Reply};
use crate::domain::outbox::{Outlet, Queued};
use crate::domain::refusal::{CallerRefusal, LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::error::Failure;
use crate::store::{Error, Write};

/// Rows that are read at once.
const PAGE: usize = 500;

pub fn outbox(call: &Call<'_>, outside: &Outside<'_>, dead: bool, sink: Sink<'_>) -> Result<End, Failure> {
    // The file's owner may look after it without being a member. Members see it as admins.
    if !is_keeper(call, outside) {
        call.ask("outbox", |_, me, now| Ok(authorize::needs_admin(me, "look at the outbox", now)?))?;
    }
    let mut after = 0;
    loop {
        let page =
            call.store.read(|read| -> Result<Vec<Queued>, Failure> { Ok(read.outbox_after(after, dead, PAGE)?) })?;
        let Some(last) = page.last() else { return Ok(End::default()) };
        after = last.id;
        for row in page {
            sink(Reply::Queued(shown(row)))?;
        }
    }
}

fn shown(row: Queued) -> QueuedView {
    let to = match (&row.outlet, row.notification) {
        (Outlet::Member(_), Some((_, member))) => member.to_string(),
        (Outlet::Member(_), None) => "nobody".to_owned(),
        (Outlet::Channel(channel), _) => channel.to_string(),
        (Outlet::Webhook(name), _) => name.to_string(),
    };
    QueuedView {
        id: row.id,
        channel: row.outlet,
        to,
        event: row.news,
        request: row.request,
        at: row.at,
        attempts: row.attempts,
        due_at: (!row.dead).then_some(row.due_at),
        dead: row.dead,
        error: row.error,
    }
}

/// Whether the caller looks after the file: root or the user who owns it, and not in the name of a member.
fn is_keeper(call: &Call<'_>, outside: &Outside<'_>) -> bool {
    call.caller.acting_as.is_none() && (call.caller.root || (outside.owns_file)())
}

/// Tries these again at once, or all that are given up: with `deliver`, or when cron next comes.
pub fn retry(call: &Call<'_>, outside: &Outside<'_>, ids: &[i64]) -> Result<End, Failure> {
    change(call, outside, "outbox retry", ids, |write, id| write.outbox_retry(id))
}

/// Deletes these, or all that are given up: they are not sent by anybody. The inboxes keep them.
pub fn discard(call: &Call<'_>, outside: &Outside<'_>, ids: &[i64]) -> Result<End, Failure> {
    change(call, outside, "outbox discard", ids, |write, id| write.outbox_discard(id))
}

/// Changes these rows, or all that are given up. An unknown number changes nothing.
fn change(
    call: &Call<'_>,
    outside: &Outside<'_>,
    command: &'static str,
    ids: &[i64],
    each: impl Fn(&Write<'_>, Option<i64>) -> Result<u64, Error>,
) -> Result<End, Failure> {
    if !is_keeper(call, outside) {
        call.ask(command, |_, _, _| Err::<(), _>(Refusal::from(CallerRefusal::NeedsKeeper { command }).into()))?;
    }
    let count = call.store.write(|write| -> Result<Result<u64, Refusal>, Failure> {
        if ids.is_empty() {
            return Ok(Ok(each(write, None)?));
        }
        for &id in ids {
            if !write.outbox_has(id)? {
                return Ok(Err(LookupRefusal::NotQueued { id }.into()));
            }
        }
        let mut count = 0;
        for &id in ids {
            count += each(write, Some(id))?;
        }
        Ok(Ok(count))
    })?;
    Ok(End { count: count.map_err(Failure::from)?, ..End::default() })
}
