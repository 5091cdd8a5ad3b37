//! How often somebody may ask and act. Each limit is a number within a length of time. It holds for one member, so that
//! nobody can use up what another needs.
//!
//! Every act that is counted here writes to the log and notifies people. Without a limit one member could flood both.

use crate::domain::duration::Length;
use crate::domain::refusal::{LimitRefusal, Refusal};
use crate::domain::time::Timestamp;

/// The most that one member may do something within a length of time.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Follows `you have`.
    done: &'static str,
    pub most: usize,
    pub within: Length,
}

/// Requests filed, emergencies and extensions included. They count for the person who files them, so an admin who files for
/// others can't lock a requester out.
pub const FILED: Limit = Limit { done: "filed requests", most: 50, within: Length::DAY };
pub const EDITED: Limit = Limit { done: "edited requests", most: 50, within: Length::DAY };
/// Requests of one filer that may wait for a decision at the same time.
pub const PENDING: u64 = 20;
pub const EMERGENCIES: Limit = Limit { done: "taken emergency access", most: 10, within: Length::HOUR };
/// Emergencies of one member that may wait for their review at the same time. More than one, so that a reviewer who
/// sleeps does not lock out the person who is on call.
pub const UNREVIEWED: usize = 3;
pub const PREFERENCES: Limit = Limit { done: "changed how you are notified", most: 30, within: Length::HOUR };
/// High enough for an owner who has to shut people out quickly.
pub const TEAM_CHANGES: Limit = Limit { done: "changed the team", most: 60, within: Length::HOUR };
/// SSH certificates that one member gets within an hour. Enough for one for each host of a fleet.
pub const CERTIFICATES: usize = 60;
/// Changes of the terms of one request by one approver: each voids what others approved, and notifies them. To approve what
/// another approver put there has no limit, or that approver could use it up.
pub const TERMS: Limit = Limit { done: "changed the terms of this request", most: 5, within: Length::HOUR };

impl Limit {
    /// Whether it can be done once more. `times`: when it was done lately, in any order.
    pub fn allows(&self, times: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Result<(), Refusal> {
        match next(times, self.most, self.within, now) {
            None => Ok(()),
            Some(next) => {
                Err(LimitRefusal::TooOften { done: self.done, most: self.most, within: self.within, next }.into())
            }
        }
    }
}

/// When something that was done at these times can be done again, if at most `most` of it may lie within a length of time.
/// None: now. Times after now are from a clock that ran ahead, and do not count.
pub fn next(
    times: impl IntoIterator<Item = Timestamp>,
    most: usize,
    within: Length,
    now: Timestamp,
) -> Option<Timestamp> {
    let counts = |at: &Timestamp| (0..within.seconds()).contains(&now.since(*at));
    let mut times: Vec<Timestamp> = times.into_iter().filter(counts).collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.get(most.checked_sub(1)?).map(|at| at.plus(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_oldest_act_that_counts_says_when_the_next_is_possible() {
        let hour = |times: &[i64], now| next(times.iter().map(|&it| at(it)), 2, Length::HOUR, at(now));
        assert_eq!(hour(&[], 0), None);
        assert_eq!(hour(&[0], 1), None);
        assert_eq!(hour(&[0, 600], 700), Some(at(3600)));
        assert_eq!(hour(&[600, 0], 3599), Some(at(3600)), "the order makes no difference");
        assert_eq!(hour(&[0, 600], 3600), None, "an act counts for less than an hour");
        assert_eq!(hour(&[0, 600, 601], 700), Some(at(4200)), "more than allowed: the second newest counts");
    }

    #[test]
    fn acts_of_a_clock_that_ran_ahead_lock_nobody_out() {
        assert_eq!(next([at(9000), at(9001)], 1, Length::HOUR, at(0)), None);
        assert_eq!(next([at(0)], 0, Length::HOUR, at(0)), None);
    }
}
