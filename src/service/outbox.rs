//! `outbox`: lists, retries and discards messages that wait to be sent or failed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Rows, Service};
use crate::domain::preference::Policy;
use crate::domain::refusal::{CallerRefusal, LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::subscriber::{Blocked, Delivery, Subscriber};
use crate::error::Failure;
use crate::protocol::QueuedView;
use crate::store::{Error, Write};

/// Rows that are read at once.
const PAGE: usize = 500;

/// What waits to be sent, or was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outbox {
    pub dead: bool,
}

impl Call for Outbox {
    const NAME: &'static str = "Outbox";
    const CALLERS: Callers = Callers::MembersAndKeepers;
    type Row = QueuedView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, QueuedView>) -> Result<(), Failure> {
        let Outbox { dead } = self;
        // The file's owner need not be a member. Members need to be admins.
        if !is_keeper(service) {
            service.ask("outbox", |_, me, now| Ok(authorize::needs_auditor(me, "look at the outbox", now)?))?;
        }
        service.store.take_outstanding_if_reachable()?;
        let mut after = 0;
        loop {
            let page = service.store.read(|read| -> Result<Vec<QueuedView>, Failure> {
                let (blocked, policy) = (read.outbox_blocked(service.now(read)?)?, read.policy()?);
                let page = read.outbox_after(after, dead, PAGE)?;
                Ok(page.into_iter().map(|delivery| view(delivery, &blocked, &policy)).collect())
            })?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            page.into_iter().try_for_each(&mut *rows)?;
        }
    }
}

fn view(delivery: Delivery, blocked: &Blocked, policy: &Policy) -> QueuedView {
    let after = delivery.waits_for(blocked, policy).filter(|_| !delivery.dead);
    let to = match (&delivery.subscriber, delivery.notification) {
        (Subscriber::Members(_), Some((_, member))) => member.to_string(),
        (Subscriber::Members(_), None) => "nobody".to_owned(),
        (Subscriber::SlackChannel(channel), _) => channel.to_string(),
        (Subscriber::Mailbox(address), _) => address.to_string(),
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
        after,
        dead: delivery.dead,
        error: delivery.error,
    }
}

/// Whether the caller looks after the file: root or the user who owns it, and not in the name of a member.
fn is_keeper(service: &Service<'_>) -> bool {
    service.caller.acts_as_login() && (service.caller.root || (service.outside.owns_file)())
}

/// Makes these due now, or all that are given up. The next `deliver` or `expire` sends them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutboxRetry {
    /// Empty: all that are given up.
    pub ids: Vec<i64>,
}

impl Call for OutboxRetry {
    const NAME: &'static str = "OutboxRetry";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = u64;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<u64, Failure> {
        change(service, "outbox retry", self.ids, |write, id| write.outbox_retry(id))
    }
}

/// Deletes these, or all that are given up: they are not sent by anybody. The inboxes keep them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutboxDiscard {
    /// Empty: all that are given up.
    pub ids: Vec<i64>,
}

impl Call for OutboxDiscard {
    const NAME: &'static str = "OutboxDiscard";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = u64;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<u64, Failure> {
        change(service, "outbox discard", self.ids, |write, id| write.outbox_discard(id))
    }
}

/// Changes these rows, or all that are given up. An unknown number changes nothing.
fn change(
    service: &Service<'_>,
    command: &'static str,
    ids: Vec<i64>,
    each: impl Fn(&Write<'_>, Option<i64>) -> Result<u64, Error>,
) -> Result<u64, Failure> {
    if !is_keeper(service) {
        service.ask(command, |_, _, _| Err::<(), _>(Refusal::from(CallerRefusal::NeedsKeeper { command }).into()))?;
    }
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let count = service.store.change_outbox(|write| -> Result<Result<u64, Refusal>, Failure> {
        if ids.is_empty() {
            return Ok(Ok(each(write, None)?));
        }
        for &id in &ids {
            if !write.outbox_has(id)? {
                return Ok(Err(LookupRefusal::NotQueued { id }.into()));
            }
        }
        let mut count = 0;
        for &id in &ids {
            count += each(write, Some(id))?;
        }
        Ok(Ok(count))
    })?;
    count.map_err(Failure::from)
}
