//! How long a run may wait for a slow system.

use std::thread;
use std::time::{Duration, Instant};

use super::NotDone;

/// The time limit of the run, in seconds. The reconciler sets it.
pub const TIME_LIMIT: &str = "ACCESS_TIMEOUT";
/// Without it.
const DEFAULT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// Of this run. A quarter of its time limit is left for the operations that follow.
    pub fn of_run() -> Patience {
        let limit = std::env::var(TIME_LIMIT).ok().and_then(|seconds| seconds.parse().ok());
        let limit = limit.map_or(DEFAULT, Duration::from_secs);
        Patience { until: Instant::now() + limit * 3 / 4 }
    }

    /// A list of many pages ends in time too.
    pub fn check(self) -> Result<(), NotDone> {
        if Instant::now() < self.until { Ok(()) } else { Err(NotDone::Later("the service takes too long".to_owned())) }
    }

    /// The pauses between the tries of one act. The last has no pause after it.
    pub fn pauses(self) -> Pauses {
        Pauses { patience: self, next: FIRST_PAUSE }
    }
}

pub struct Pauses {
    patience: Patience,
    next: Duration,
}

impl Pauses {
    /// Waits a while, each time longer. Returns whether there is time for another try.
    pub fn wait(&mut self) -> bool {
        if Instant::now() + self.next > self.patience.until {
            return false;
        }
        thread::sleep(self.next);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}
