//! Subscribers follow the log. Each has a name, gets the entries it subscribes to, retries what fails with growing pauses,
//! and gives up in the end: what is dead stays in the outbox until somebody retries or discards it.
//!
//! | subscriber | name | follows the log |
//! | --- | --- | --- |
//! | inboxes | | in the transaction that records the entry (`store/write.rs`): a notification is part of the record |
//! | members, by channel | `email`, `slack` | in the same transaction: the outbox shows at once what waits for whom |
//! | Slack channels of the team file | `slack:#ops` | from a stored position |
//! | mailboxes for checkpoints, of config.toml | `email:audit@acme.example` | from a stored position |
//! | webhooks of config.toml | `webhook:siem` | from a stored position |
//!
//! A run first moves the positions forward (`follow`), then decides what becomes of the deliveries that are due (`settle`,
//! `relevance`), makes a message of each (`compose`), hands it to its transport (`deliver/`) and marks the outcome (`run`).
//! Each step is a short transaction, and none is open while something is sent. One process sends at a time; a kernel lock
//! ensures that, and a lease where several hosts share the log (`turn`). What it sent but did not mark when it died is sent again
//! by the next run, under the same id.

mod compose;
mod doctor;
mod follow;
mod notify_test;
mod relevance;
mod run;
mod settle;
mod turn;
mod zones;

pub use doctor::findings;
pub use notify_test::notify_test;
pub use run::deliver;

use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::service::Clock;
use crate::store::{Read, Store};

/// The log as subscribers read it.
#[derive(Clone, Copy)]
pub struct Feed<'f> {
    pub store: &'f Store,
    pub clock: Clock<'f>,
}

impl Feed<'_> {
    /// The time that counts: never earlier than the last recorded.
    fn now(&self, read: &Read<'_>) -> Result<Timestamp, Failure> {
        Ok((self.clock)(read.replica()?.as_ref())?.max(read.last_time()?))
    }
}
