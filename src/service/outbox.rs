//! `outbox`: what waits to be sent, and what was given up and why; `retry` and `discard`.

use super::{Call, Outside, Sink};
use crate::command::{End, QueuedView, Reply};
use crate::domain::decide;
use crate::domain::refusal::Refusal;
use crate::domain::subscriber::{Delivery, Subscriber};
use crate::error::Failure;
use crate::store::{Error, Write};

/// Deliveries that are read in one transaction.
const PAGE: usize = 500;

pub fn outbox(call: &Call<'_>, outside: &Outside<'_>, dead: bool, sink: Sink<'_>) -> Result<End, Failure> {
    // The owner of the file need not be a member. Members have to be admins.
    if !is_keeper(call, outside) {
        call.ask("outbox", |_, me, now| Ok(decide::needs_admin(me, "look at the outbox", now)?))?;
    }
    let mut after = 0;
    loop {
        let page =
            call.store.read(|read| -> Result<Vec<Delivery>, Failure> { Ok(read.outbox_after(after, dead, PAGE)?) })?;
        let Some(last) = page.last() else { return Ok(End::default()) };
        after = last.id;
        for delivery in page {
            sink(Reply::Queued(view(delivery)))?;
        }
    }
}

fn view(delivery: Delivery) -> QueuedView {
    let to = match (&delivery.subscriber, delivery.notification) {
        (Subscriber::Members(_), Some((_, member))) => member.to_string(),
        (Subscriber::Members(_), None) => "nobody".to_owned(),
        (Subscriber::SlackChannel(channel), _) => channel.to_string(),
        (Subscriber::Webhook(name), _) => name.to_string(),
    };
    QueuedView {
        id: delivery.id,
        channel: delivery.subscriber,
        to,
        event: delivery.topic,
        request: delivery.request,
        at: delivery.at,
        attempts: delivery.attempts,
        due_at: (!delivery.dead).then_some(delivery.due_at),
        dead: delivery.dead,
        error: delivery.error,
    }
}

/// Whether the caller is root or the user who owns the file, and does not act as a member.
fn is_keeper(call: &Call<'_>, outside: &Outside<'_>) -> bool {
    call.caller.acting_as.is_none() && (call.caller.root || (outside.owns_file)())
}

/// Makes these due now, or all that were given up. The next `deliver` or `expire` sends them.
pub fn retry(call: &Call<'_>, outside: &Outside<'_>, ids: &[i64]) -> Result<End, Failure> {
    change(call, outside, "outbox retry", ids, |write, id| write.outbox_retry(id))
}

/// Deletes these, or all that were given up. They are never sent; the inboxes keep them.
pub fn discard(call: &Call<'_>, outside: &Outside<'_>, ids: &[i64]) -> Result<End, Failure> {
    change(call, outside, "outbox discard", ids, |write, id| write.outbox_discard(id))
}

/// Changes these deliveries, or all that were given up. With an unknown id it changes nothing.
fn change(
    call: &Call<'_>,
    outside: &Outside<'_>,
    command: &'static str,
    ids: &[i64],
    each: impl Fn(&Write<'_>, Option<i64>) -> Result<u64, Error>,
) -> Result<End, Failure> {
    if !is_keeper(call, outside) {
        call.ask(command, |_, _, _| Err::<(), _>(Refusal::NeedsKeeper { command }.into()))?;
    }
    let count = call.store.write(|write| -> Result<Result<u64, Refusal>, Failure> {
        if ids.is_empty() {
            return Ok(Ok(each(write, None)?));
        }
        for &id in ids {
            if !write.outbox_has(id)? {
                return Ok(Err(Refusal::NotQueued { id }));
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
