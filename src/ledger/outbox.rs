//! `outbox`: what waits to be sent, what failed and why; and trying again.

use super::{Call, Outside, Sink};
use crate::command::{End, QueuedView, Reply};
use crate::domain::decide;
use crate::domain::outbox::{Outlet, Queued};
use crate::domain::refusal::Refusal;
use crate::error::Failure;

/// Rows that are read at once.
const PAGE: usize = 500;

pub fn outbox(call: &Call<'_>, outside: &Outside<'_>, dead: bool, sink: Sink<'_>) -> Result<End, Failure> {
    // Whoever owns the file may look after it without being a member. Members see it as admins.
    let keeper = call.caller.acting_as.is_none() && (call.caller.root || (outside.owns_file)());
    if !keeper {
        call.ask("outbox", |_, me, now| Ok(decide::needs_admin(me, "look at the outbox", now)?))?;
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

/// Tries these again at once, or all that are given up: with `deliver`, or when cron next comes.
pub fn retry(call: &Call<'_>, ids: &[i64]) -> Result<End, Failure> {
    let count = call.store.write(|write| -> Result<Result<u64, i64>, Failure> {
        if ids.is_empty() {
            return Ok(Ok(write.outbox_retry(None)?));
        }
        for &id in ids {
            if !write.outbox_has(id)? {
                return Ok(Err(id));
            }
        }
        let mut count = 0;
        for &id in ids {
            count += write.outbox_retry(Some(id))?;
        }
        Ok(Ok(count))
    })?;
    match count {
        Ok(count) => Ok(End { count, ..End::default() }),
        Err(id) => Err(Refusal::NotQueued { id }.into()),
    }
}
