//! Which host sends, where several share the log: one at a time. It says what is outstanding after each step, so that the next
//! one sends nothing again but what was being sent.

use std::time::{Duration, Instant};

use crate::error::{Failure, Kind};
use crate::store::{Outstanding, Store};

/// A host that dies is replaced after this long, in seconds.
const LEASE: i32 = 30;
/// How often a host that sends extends its lease.
const EXTEND: Duration = Duration::from_secs(10);

/// The right to send.
pub enum SendingTurn<'t> {
    /// No other host shares the log.
    Alone,
    Leased {
        store: &'t Store,
        extended: Instant,
        /// What the other hosts know.
        known: Outstanding,
    },
}

impl<'t> SendingTurn<'t> {
    /// None: another host has the turn. What it has sent by now is no longer in the outbox here.
    pub fn take(store: &'t Store) -> Result<Option<SendingTurn<'t>>, Failure> {
        if !store.shares_log()? {
            return Ok(Some(SendingTurn::Alone));
        }
        let extended = Instant::now();
        let is_ours = store.lease_delivery(LEASE)?;
        let known = store.take_outstanding()?;
        Ok(is_ours.then_some(SendingTurn::Leased { store, extended, known }))
    }

    /// How long to wait before the next `keep`.
    pub fn patience(&self) -> Duration {
        match self {
            SendingTurn::Alone => Duration::MAX,
            SendingTurn::Leased { .. } => EXTEND,
        }
    }

    /// Extends the turn in time. Fails if another host has it by now.
    pub fn keep(&mut self) -> Result<(), Failure> {
        if let SendingTurn::Leased { store, extended, .. } = self
            && extended.elapsed() >= EXTEND
        {
            let now = Instant::now();
            if !store.lease_delivery(LEASE)? {
                return Err(taken());
            }
            *extended = now;
        }
        Ok(())
    }

    /// Tells the other hosts what is outstanding.
    pub fn publish(&mut self) -> Result<(), Failure> {
        self.keep()?;
        let SendingTurn::Leased { store, known, .. } = self else { return Ok(()) };
        if store.publish_outstanding(known)? { Ok(()) } else { Err(taken()) }
    }

    /// Tells the other hosts what is outstanding, and gives the turn back.
    pub fn end(mut self) -> Result<(), Failure> {
        let published = self.publish();
        if let SendingTurn::Leased { store, .. } = self {
            store.release_delivery()?;
        }
        published
    }
}

fn taken() -> Failure {
    Failure::new(Kind::Busy, "another host took over the delivery, because this one did not answer for a while")
        .hint("nothing is lost; what was being sent may arrive twice")
}
