//! Where a list has to look: by indexes, so that a page takes no longer when the history is long.
//!
//! An index only finds numbers. The rows are read by these numbers and compared with the whole filter.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};

use super::Error;
use super::read::{Only, PAGE, Read, agree};
use crate::domain::request::State;
use crate::domain::time::Timestamp;
use crate::protocol::ListFilter;

/// The conditions of two partial indexes: a query has to repeat them.
const CLOSED: &str = "state IN ('denied', 'withdrawn', 'lapsed')";
pub(super) const RARE: &str =
    "action NOT IN ('request.submitted', 'request.approved', 'grant.started', 'grant.expired')";
/// The actions that are not in the index `event_by_action`.
const FREQUENT: [&str; 4] = ["request.submitted", "request.approved", "grant.started", "grant.expired"];

/// A page of the numbers of requests that a list can have, newest first.
pub(super) struct Window {
    pub ids: Vec<i64>,
    /// The next page begins below this one; None: there is no other.
    pub next: Option<i64>,
}

/// The states that a list has (empty: all), and whether emergencies that owe a review are in it too.
pub(super) fn states(filter: &ListFilter) -> (Vec<State>, bool) {
    match (filter.states.as_slice(), filter.all) {
        ([], true) => (Vec::new(), false),
        ([], false) => (State::ALL.into_iter().filter(|state| state.is_open()).collect(), true),
        (states, _) => (states.to_vec(), false),
    }
}

/// The condition that lets the index `event_by_action` find this action; None: it does not have it.
pub(super) fn rare(action: &str) -> Option<&'static str> {
    (!FREQUENT.contains(&action)).then_some(RARE)
}

/// Queries that find every request in these states by partial indexes. None: there is no index for one of the states.
fn by_state(states: &[State], owed: bool) -> Option<BTreeSet<String>> {
    let closed = |state: &str| format!("SELECT id FROM request WHERE state = '{state}' AND {CLOSED} AND id < ?1");
    // With a `+` before the number, which the index does not have in order, the whole table is not read in its order instead.
    let pending = || "SELECT +id FROM request WHERE state = 'pending' AND +id < ?1".to_owned();
    let mut queries = BTreeSet::new();
    for state in states {
        match state {
            State::Expired => return None,
            State::Pending => drop(queries.insert(pending())),
            State::Denied | State::Withdrawn => drop(queries.insert(closed(state.as_str()))),
            // On the record, or by the clock only.
            State::Lapsed => queries.extend([closed("lapsed"), pending()]),
            State::Active | State::Scheduled => {
                queries.insert("SELECT +request FROM grant WHERE ended_at IS NULL AND +request < ?1".to_owned());
            }
            State::Revoked => {
                queries.insert("SELECT request FROM grant WHERE ended_by IS NOT NULL AND request < ?1".to_owned());
            }
        }
    }
    if owed {
        queries.insert("SELECT id FROM request WHERE emergency AND review IS NULL AND id < ?1".to_owned());
    }
    (!queries.is_empty()).then_some(queries)
}

/// Queries that find every request that this person may see.
fn by_person(only: &Only) -> BTreeSet<String> {
    let mut queries = BTreeSet::from([
        "SELECT id FROM request WHERE requester = ?2 AND id < ?1".to_owned(),
        "SELECT id FROM request WHERE requester_login = ?3 AND requester_login <> requester AND id < ?1".to_owned(),
        "SELECT id FROM request WHERE filer_login = ?3 AND filed_by <> requester AND id < ?1".to_owned(),
    ]);
    if only.member.as_str() != only.login.as_str() {
        queries.insert("SELECT id FROM request WHERE requester = ?3 AND id < ?1".to_owned());
    }
    if !only.and.is_empty() {
        let and: Vec<String> = only.and.iter().map(ToString::to_string).collect();
        queries.insert(format!("SELECT id FROM request WHERE id IN ({}) AND id < ?1", and.join(", ")));
    }
    queries
}

impl Read<'_> {
    /// Where requests of this list can be, below `before`. None: anywhere.
    pub(super) fn window(
        &self,
        filter: &ListFilter,
        only: Option<&Only>,
        before: i64,
    ) -> Result<Option<Window>, Error> {
        let (states, owed) = states(filter);
        let all_open = !states.is_empty() && states.iter().all(|state| state.is_open());
        let mut values = vec![Value::Integer(before)];
        let queries = match only {
            // There are few open requests, however many somebody has.
            Some(only) if !all_open => {
                values.extend([only.member.to_string().into(), only.login.to_string().into()]);
                Some(by_person(only))
            }
            // An index finds the requester's own.
            None if filter.requester.is_some() && !all_open => None,
            Some(_) | None => by_state(&states, owed),
        };
        let Some(queries) = queries else { return Ok(None) };
        let queries = queries.into_iter().collect::<Vec<_>>().join(" UNION ");
        let sql = format!("{queries} ORDER BY 1 DESC LIMIT {PAGE}");
        let ids: Vec<i64> = self.rows(&sql, params_from_iter(values), |row| Ok(row.get(0)?))?;
        let next = if ids.len() < PAGE { None } else { ids.last().copied() };
        Ok(Some(Window { ids, next }))
    }

    /// The first and the last number that entries of these times can have. Times only go back where a clock was accepted, so
    /// between two such entries they are in order, and a binary search finds them.
    pub(super) fn entries_between(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(i64, i64), Error> {
        if since.is_none() && until.is_none() {
            return Ok((0, i64::MAX));
        }
        let sql = "SELECT e.seq, e.action = 'clock.accepted' FROM event i CROSS JOIN event e ON e.seq = i.seq
             WHERE i.action = 'clock.accepted' AND i.";
        let mut starts = self.rows(&format!("{sql}{RARE} ORDER BY i.seq"), [], |row| {
            agree(row.get(1)?, "event_by_action")?;
            Ok(row.get::<_, i64>(0)?)
        })?;
        starts.insert(0, 1);
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([self.head()?.seq]);
        let (mut first, mut last) = (i64::MAX, 0);
        for (&start, end) in starts.iter().zip(ends) {
            let at = "SELECT at FROM event WHERE seq >= ?1 ORDER BY seq LIMIT 1";
            let from = match since {
                Some(since) => self.first_with(at, start, end, |at| at >= since.unix())?,
                None => start,
            };
            let to = match until {
                Some(until) => self.first_with(at, start, end, |at| at > until.unix())? - 1,
                None => end,
            };
            if from <= to {
                (first, last) = (first.min(from), last.max(to));
            }
        }
        Ok((first, last))
    }

    /// The first number that a request submitted then or later can have.
    pub(super) fn first_request_since(&self, since: Timestamp) -> Result<i64, Error> {
        let (entry, _) = self.entries_between(Some(since), None)?;
        let last: Option<i64> =
            self.conn.prepare_cached("SELECT max(id) FROM request")?.query_row([], |row| row.get(0))?;
        let seq = "SELECT seq FROM request WHERE id >= ?1 ORDER BY id LIMIT 1";
        self.first_with(seq, 1, last.unwrap_or(0), |seq| seq >= entry)
    }

    /// The first number from `first` to `last` whose value is one of these, where all after it are too; else the next number
    /// after `last`.
    fn first_with(&self, sql: &str, first: i64, last: i64, is: impl Fn(i64) -> bool) -> Result<i64, Error> {
        let (mut low, mut high) = (first, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let value: Option<i64> = self.one(sql, params![middle], |row| Ok(row.get(0)?))?;
            if value.is_none_or(&is) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    /// A log of entries at these times; a clock is accepted wherever they go back. Each entry files a request.
    fn log(times: &[i64]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        let mut last = 0;
        for (seq, &at) in (1_i64..).zip(times) {
            let action = if at < last { "clock.accepted" } else { "request.submitted" };
            last = at;
            let sql = "INSERT INTO event VALUES (?1, ?2, NULL, 'root', ?3, NULL, zeroblob(32), '')";
            conn.execute(sql, params![seq, at, action]).unwrap();
            let sql =
                "INSERT INTO request (id, state, requester, filed_by, resource, reason, submitted_at, lapses_at, seq)
                 VALUES (?1, 'denied', 'bob', 'bob', 'role:admin', 'x', ?2, ?2, ?1)";
            conn.execute(sql, params![seq, at]).unwrap();
        }
        conn
    }

    #[test]
    fn no_entry_of_the_times_asked_for_is_left_out_wherever_the_clock_went_back() {
        let clocks: [&[i64]; 6] = [
            &[10],
            &[10, 10, 20, 30],
            &[10, 20, 30, 15, 25, 40],
            &[50, 20, 10, 60, 5],
            &[10, 90, 20, 80, 30, 70, 40],
            &[5, 5, 4, 4, 9],
        ];
        for times in clocks {
            let conn = log(times);
            let read = Read::new(&conn);
            for limit in 0..100 {
                let numbers = |within: &dyn Fn(i64) -> bool| -> Vec<i64> {
                    (1..).zip(times).filter(|(_, at)| within(**at)).map(|(seq, _)| seq).collect()
                };
                let since = numbers(&|at| at >= limit);
                let (first, last) = read.entries_between(Some(at(limit)), None).unwrap();
                assert!(
                    since.iter().all(|seq| (first..=last).contains(seq)),
                    "{times:?} since {limit}: {first}..={last}"
                );
                assert_eq!(since.first().copied().unwrap_or(i64::MAX), first, "{times:?} since {limit}");
                let request = read.first_request_since(at(limit)).unwrap();
                assert_eq!(
                    since.first().copied().unwrap_or(times.len() as i64 + 1),
                    request,
                    "{times:?} since {limit}"
                );
                let until = numbers(&|at| at <= limit);
                let (first, last) = read.entries_between(None, Some(at(limit))).unwrap();
                assert!(
                    until.iter().all(|seq| (first..=last).contains(seq)),
                    "{times:?} until {limit}: {first}..={last}"
                );
                assert_eq!(until.last().copied().unwrap_or(0), last, "{times:?} until {limit}");
            }
        }
    }
}
