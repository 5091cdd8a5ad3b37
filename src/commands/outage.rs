//! How long something that looks again and again goes on when nobody answers.

use std::time::{Duration, Instant};

use crate::error::{Failure, Kind};

/// After this it gives up.
const OUTAGE: Duration = Duration::from_secs(30);

/// Failures in a row of something that looks again and again, since the first of them.
#[derive(Default)]
pub struct Outage(Option<Instant>);

impl Outage {
    /// Whether this is the first failure.
    pub fn begin(&mut self) -> bool {
        let first = self.0.is_none();
        self.0.get_or_insert_with(Instant::now);
        first
    }

    /// Whether to look again: what is busy will have time, and what is not there may be in the middle of a restart.
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
