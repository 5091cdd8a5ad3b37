//! How long a polling command keeps trying while the server does not answer.

use std::time::{Duration, Instant};

use crate::error::{Failure, Kind};

/// It gives up after this.
const OUTAGE: Duration = Duration::from_secs(30);

/// Consecutive failures of a polling command, since the first of them.
#[derive(Default)]
pub struct Outage(Option<Instant>);

impl Outage {
    /// Whether this is the first failure.
    pub fn begin(&mut self) -> bool {
        let first = self.0.is_none();
        self.0.get_or_insert_with(Instant::now);
        first
    }

    /// Whether to try again: a busy server recovers, and a missing one may be restarting.
    pub fn is_bearable(&self, failure: &Failure) -> bool {
        match failure.kind {
            Kind::Busy => true,
            Kind::Unavailable | Kind::Io => self.0.is_some_and(|since| since.elapsed() < OUTAGE),
            Kind::Failure
            | Kind::Usage
            | Kind::Refused
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Invalid
            | Kind::Interrupted
            | Kind::Internal => false,
        }
    }
}
