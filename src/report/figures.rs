//! The figures of a report, and the entries of the log that each rests on.

use std::collections::VecDeque;

use crate::domain::entry_ref::EntryRef;
use crate::domain::terms::RequestId;
use crate::protocol::EntryView;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Held,
    Live,
    Permanent,
    Submitted,
    Decided,
    ByRule,
    Pending,
    Undecided,
    Denied,
    Refused,
    Emergencies,
    ReviewsOwed,
    Recertifications,
    Reviewed,
    NotKept,
    Overdue,
    TeamChanges,
    Unused,
}

impl Figure {
    pub const ALL: [Figure; 18] = [
        Figure::Held,
        Figure::Live,
        Figure::Permanent,
        Figure::Submitted,
        Figure::Decided,
        Figure::ByRule,
        Figure::Pending,
        Figure::Undecided,
        Figure::Denied,
        Figure::Refused,
        Figure::Emergencies,
        Figure::ReviewsOwed,
        Figure::Recertifications,
        Figure::Reviewed,
        Figure::NotKept,
        Figure::Overdue,
        Figure::TeamChanges,
        Figure::Unused,
    ];

    /// Its name in JSON, in CSV and in addresses within a page.
    pub fn key(self) -> &'static str {
        match self {
            Figure::Held => "grants_held",
            Figure::Live => "grants_live",
            Figure::Permanent => "permanent",
            Figure::Submitted => "submitted",
            Figure::Decided => "decided",
            Figure::ByRule => "granted_by_rule",
            Figure::Pending => "pending",
            Figure::Undecided => "undecided",
            Figure::Denied => "denied",
            Figure::Refused => "refused",
            Figure::Emergencies => "emergencies",
            Figure::ReviewsOwed => "reviews_owed",
            Figure::Recertifications => "recertifications",
            Figure::Reviewed => "items_reviewed",
            Figure::NotKept => "items_not_kept",
            Figure::Overdue => "recertifications_overdue",
            Figure::TeamChanges => "team_changes",
            Figure::Unused => "members_without_use",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Figure::Held => "Grants held",
            Figure::Live => "Grants live at the end",
            Figure::Permanent => "Permanent grants",
            Figure::Submitted => "Requests filed",
            Figure::Decided => "Requests decided by people",
            Figure::ByRule => "Granted by a rule",
            Figure::Pending => "Requests pending at the end",
            Figure::Undecided => "Lapsed or withdrawn",
            Figure::Denied => "Requests denied",
            Figure::Refused => "Attempts refused",
            Figure::Emergencies => "Emergencies",
            Figure::ReviewsOwed => "Reviews owed",
            Figure::Recertifications => "Recertifications",
            Figure::Reviewed => "Items reviewed",
            Figure::NotKept => "Items that nobody kept",
            Figure::Overdue => "Recertifications overdue",
            Figure::TeamChanges => "Changes of the team",
            Figure::Unused => "Members without use",
        }
    }

    /// What it counts.
    pub fn meaning(self) -> &'static str {
        match self {
            Figure::Held => "grants under which somebody held access for some time in the period",
            Figure::Live => "of these, grants that were still in force at the end of the period",
            Figure::Permanent => "of these, grants that have no end",
            Figure::Submitted => "requests filed in the period, with emergencies",
            Figure::Decided => "requests granted or denied in the period by people, without emergencies",
            Figure::ByRule => "requests granted in the period by a rule, without a person",
            Figure::Pending => "requests that nobody had decided at the end of the period",
            Figure::Undecided => "requests that lapsed or were withdrawn in the period",
            Figure::Denied => "requests denied in the period",
            Figure::Refused => {
                "attempts in the period that the rules or a missing right refused (at most 20 per person and hour are recorded)"
            }
            Figure::Emergencies => "emergency access taken in the period",
            Figure::ReviewsOwed => "emergencies of any time that had no review at the end of the period",
            Figure::Recertifications => "reviews of what people hold that were open in the period",
            Figure::Reviewed => "items of these that a reviewer kept or revoked in the period",
            Figure::NotKept => "items of these that nobody had kept when they were due, in the period",
            Figure::Overdue => "recertifications that were due by the end of the period, and not closed",
            Figure::TeamChanges => {
                "entries of the period that changed the team file (members, roles, scopes, rules), or accepted a clock that was set back"
            }
            Figure::Unused => {
                "members of the team at the end of the period, not disabled, who in it held no grant, opened no session and did nothing that is recorded"
            }
        }
    }

    /// The file of `--csv` that has all of it.
    pub fn file(self) -> &'static str {
        match self {
            Figure::Held | Figure::Live => "grants.csv",
            Figure::Permanent => "permanent.csv",
            Figure::Submitted | Figure::Decided | Figure::ByRule | Figure::Pending | Figure::Undecided => {
                "requests.csv"
            }
            Figure::Denied => "denied.csv",
            Figure::Refused => "refused.csv",
            Figure::Emergencies | Figure::ReviewsOwed => "emergencies.csv",
            Figure::Recertifications | Figure::Overdue => "recertifications.csv",
            Figure::Reviewed | Figure::NotKept => "recertification-items.csv",
            Figure::TeamChanges => "team-changes.csv",
            Figure::Unused => "members.csv",
        }
    }
}

/// An entry of the log as a report cites it.
#[derive(Debug, Clone)]
pub struct Citation {
    pub entry: EntryRef,
    pub request: Option<RequestId>,
}

impl Citation {
    pub fn about(entry: &EntryRef, request: Option<RequestId>) -> Citation {
        Citation { entry: entry.clone(), request }
    }

    pub fn of(view: &EntryView) -> Citation {
        let (actor, action) = (view.actor.clone(), view.event.action().to_owned());
        Citation { entry: EntryRef { seq: view.seq, at: view.at, actor, action }, request: view.request }
    }
}

/// The last of many, up to a number, and how many there were.
#[derive(Debug, Clone)]
pub struct Last<T> {
    pub rows: VecDeque<T>,
    pub total: u64,
    most: usize,
}

impl<T> Last<T> {
    pub fn of(most: usize) -> Last<T> {
        Last { rows: VecDeque::new(), total: 0, most }
    }

    /// Drops the first where there are too many.
    pub fn push(&mut self, row: T) {
        self.total += 1;
        self.rows.push_back(row);
        if self.rows.len() > self.most {
            self.rows.pop_front();
        }
    }

    /// Keeps what came first.
    pub fn offer(&mut self, row: T) {
        self.total += 1;
        if self.rows.len() < self.most {
            self.rows.push_back(row);
        }
    }

    pub fn more(&self) -> u64 {
        self.total - self.rows.len() as u64
    }
}

/// The value at this share of sorted values, by nearest rank: the least value that at least so many percent do not exceed.
pub fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let ten: Vec<i64> = (1..=10).collect();
        assert_eq!((percentile(&ten, 50), percentile(&ten, 90), percentile(&ten, 100)), (Some(5), Some(9), Some(10)));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 90), percentile(&[], 50)), (Some(7), Some(7), None));
        assert_eq!(percentile(&[1, 2, 3], 90), Some(3));
    }

    #[test]
    fn the_last_are_kept_and_all_are_counted() {
        let (mut last, mut first) = (Last::of(2), Last::of(2));
        for n in 0..5 {
            last.push(n);
            first.offer(n);
        }
        assert_eq!((last.rows.make_contiguous().to_vec(), last.total, last.more()), (vec![3, 4], 5, 3));
        assert_eq!((first.rows.make_contiguous().to_vec(), first.more()), (vec![0, 1], 3));
    }
}
