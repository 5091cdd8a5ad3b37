//! Lists of requests, with their filters.
//!
//! A page costs the same however long the history is: indexes find the numbers of candidates, and the rows with these numbers
//! are compared with the whole filter.

use std::collections::BTreeSet;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Error;
use super::past::Moment;
use super::read::{PAGE, Page, Read, agree};
use super::requests::REQUESTS;
use crate::domain::grant::State;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::request::Request;
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::domain::time::Timestamp;
use crate::protocol::{COUNTED, ListFilter, RequestKind};

/// Limits a list to the requests that a person may see: their own, and some others.
pub struct VisibleTo {
    pub member: Name,
    pub login: Login,
    /// The entry that added this member. Older requests under their name are another person's, unless the login is theirs.
    pub since: i64,
    pub also: Vec<RequestId>,
}

/// The condition of the index `request_closed`. A query uses a partial index only if it repeats its condition.
const CLOSED: &str = "state <> 'pending' AND state <> 'approved'";

/// The numbers of candidates for a list, newest first.
struct Window {
    ids: Vec<i64>,
    /// The next window has the numbers below this one. None if this is the last.
    next: Option<i64>,
}

impl Read<'_> {
    /// Up to `most` requests with numbers below `before`, newest first.
    pub fn requests_before(
        &self,
        filter: &ListFilter,
        only: Option<&VisibleTo>,
        before: i64,
        most: usize,
        now: Timestamp,
    ) -> Result<Page<Request>, Error> {
        let most = most.min(PAGE);
        let mut rows: Vec<Request> = Vec::new();
        self.windows(filter, only, before, now, |clauses, values| {
            let limit = most - rows.len();
            rows.extend(self.requests(REQUESTS, &format!("{clauses} ORDER BY r.id DESC LIMIT {limit}"), values)?);
            Ok(rows.len() >= most)
        })?;
        let may_see = |found: &Request| {
            let theirs = |only: &VisibleTo| {
                [&found.requester, &found.filed_by].contains(&&only.member)
                    || [&found.requester_login, &found.filer_login].contains(&&Some(only.login.clone()))
            };
            only.is_none_or(|only| theirs(only) || only.also.contains(&found.id))
        };
        agree(rows.iter().all(may_see), "of requests by member")?;
        Ok(Page { last: rows.len() < most, rows })
    }

    /// Requests with numbers below `before` that may have matched at a moment of the past, newest first. Each is as it is today;
    /// its entries tell how it was.
    pub fn requests_of_past(
        &self,
        filter: &ListFilter,
        only: Option<&VisibleTo>,
        before: i64,
        moment: Moment,
    ) -> Result<Page<Request>, Error> {
        // What no entry changes once it is there.
        let constant = ListFilter {
            all: true,
            requester: filter.requester.clone(),
            since: filter.since,
            kind: filter.kind.filter(|kind| *kind != RequestKind::Permanent).map(|_| RequestKind::Emergency),
            ..ListFilter::default()
        };
        let (mut clauses, mut values) = list_clauses(&constant, only, before, false, moment.at);
        clauses += &format!(" AND r.seq <= {}", moment.last);
        if let Some(resource) = &filter.resource {
            values.push(resource.to_string().into());
            clauses += &format!(" AND {}", about_resource("1").replace("?_", &format!("?{}", values.len())));
        }
        if let Some(approver) = &filter.approver {
            values.push(approver.to_string().into());
            let by = format!("d.by = ?{}", values.len());
            clauses += &format!(" AND EXISTS (SELECT 1 FROM decision d WHERE d.request = r.id AND {by})");
        }
        let (states, _) = states(filter);
        if !states.is_empty() && states.iter().all(|state| state.is_open()) {
            // What was granted and over by then was no longer pending, however late it would have lapsed.
            clauses += " AND (r.lapses_at > ?1 AND (g.ended_at IS NULL OR g.ended_at > ?1) OR r.emergency
                OR (g.ends_at > ?1 OR g.request IS NOT NULL AND g.ends_at IS NULL)
                    AND (g.ended_at IS NULL OR g.ended_at > ?1))";
        }
        clauses += &format!(" ORDER BY r.id DESC LIMIT {PAGE}");
        let rows = self.requests(REQUESTS, &clauses, values)?;
        Ok(Page { last: rows.len() < PAGE, rows })
    }

    /// The number of requests with numbers below `before`, up to `COUNTED` + 1.
    pub fn count_requests(
        &self,
        filter: &ListFilter,
        only: Option<&VisibleTo>,
        before: i64,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let mut count = 0;
        self.windows(filter, only, before, now, |clauses, values| {
            let limit = COUNTED + 1 - count;
            let first = format!("SELECT 1 FROM {REQUESTS} WHERE {clauses} ORDER BY r.id DESC LIMIT {limit}");
            count += self.count(&format!("SELECT count(*) FROM ({first})"), params_from_iter(values))?;
            Ok(count > COUNTED)
        })?;
        Ok(count)
    }

    /// Whether a list with this filter has any request.
    pub fn has_requests(&self, filter: &ListFilter, only: Option<&VisibleTo>, now: Timestamp) -> Result<bool, Error> {
        Ok(!self.requests_before(filter, only, i64::MAX, 1, now)?.rows.is_empty())
    }

    /// Calls `work` with the conditions of a list for each window of candidates, newest first, until it returns true. Where no
    /// index helps, there is one call for the whole table.
    fn windows(
        &self,
        filter: &ListFilter,
        only: Option<&VisibleTo>,
        before: i64,
        now: Timestamp,
        mut work: impl FnMut(&str, Vec<Value>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let first = filter.since.map(|since| self.first_request_since(since)).transpose()?;
        let mut before = before;
        loop {
            let window = self.window(filter, only, before)?;
            let (mut clauses, values) = list_clauses(filter, only, before, window.is_some(), now);
            clauses.extend(first.map(|first| format!(" AND r.id >= {first}")));
            let next = window.as_ref().and_then(|window| window.next);
            if let Some(window) = window {
                clauses += &format!(" AND r.id IN ({})", joined(&window.ids));
            }
            let enough = work(&clauses, values)?;
            match next {
                Some(next) if !enough && first.is_none_or(|first| first < next) => before = next,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// The candidates for a list with numbers below `before`. None if no index finds them.
    fn window(&self, filter: &ListFilter, only: Option<&VisibleTo>, before: i64) -> Result<Option<Window>, Error> {
        let (states, owed) = states(filter);
        let all_open = !states.is_empty() && states.iter().all(|state| state.is_open());
        let mut values = vec![Value::Integer(before)];
        let queries = match only {
            // A list of open requests is found by state, since there are few of them.
            Some(only) if !all_open => {
                values.extend([only.member.to_string().into(), only.login.to_string().into()]);
                Some(by_person(only))
            }
            // SQLite uses the index on requesters by itself.
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
}

/// The states that a list has (empty for all), and whether it also has emergencies that still need a review.
fn states(filter: &ListFilter) -> (Vec<State>, bool) {
    match (filter.states.as_slice(), filter.all) {
        ([], true) => (Vec::new(), false),
        ([], false) => (State::ALL.into_iter().filter(|state| state.is_open()).collect(), true),
        (states, _) => (states.to_vec(), false),
    }
}

/// Queries that find all requests in these states by partial indexes. None if a state has no index.
fn by_state(states: &[State], owed: bool) -> Option<BTreeSet<String>> {
    let closed = |state: &str| format!("SELECT id FROM request WHERE state = '{state}' AND {CLOSED} AND id < ?1");
    // The `+` keeps SQLite from reading the whole table in the order of its numbers instead of using the index.
    let pending = || "SELECT +id FROM request WHERE state = 'pending' AND +id < ?1".to_owned();
    let mut queries = BTreeSet::new();
    for state in states {
        match state {
            State::Expired => return None,
            State::Pending => drop(queries.insert(pending())),
            State::Denied | State::Withdrawn => drop(queries.insert(closed(state.as_str()))),
            // Requests lapse by the clock before it is recorded.
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

/// Queries that find all requests that a person may see.
fn by_person(only: &VisibleTo) -> BTreeSet<String> {
    let mut queries = BTreeSet::from([
        "SELECT id FROM request WHERE requester = ?2 AND id < ?1".to_owned(),
        "SELECT id FROM request WHERE requester_login = ?3 AND requester_login <> requester AND id < ?1".to_owned(),
        "SELECT id FROM request WHERE filer_login = ?3 AND filed_by <> requester AND id < ?1".to_owned(),
    ]);
    if only.member.as_str() != only.login.as_str() {
        queries.insert("SELECT id FROM request WHERE requester = ?3 AND id < ?1".to_owned());
    }
    if !only.also.is_empty() {
        queries.insert(format!("SELECT id FROM request WHERE id IN ({}) AND id < ?1", joined(&only.also)));
    }
    queries
}

/// `Request::state` in SQL, at the time `?1`. A test compares the two.
fn state_clause(state: State) -> &'static str {
    match state {
        State::Pending => "(r.state = 'pending' AND min(r.lapses_at, ifnull(r.until, r.lapses_at)) > ?1)",
        State::Lapsed => {
            "(r.state = 'lapsed' OR r.state = 'pending' AND min(r.lapses_at, ifnull(r.until, r.lapses_at)) <= ?1)"
        }
        State::Denied => "r.state = 'denied'",
        State::Withdrawn => "r.state = 'withdrawn'",
        State::Revoked => "g.ended_by IS NOT NULL",
        State::Expired => "(g.ended_at IS NOT NULL AND g.ended_by IS NULL OR g.ended_at IS NULL AND g.ends_at <= ?1)",
        State::Scheduled => "(g.request IS NOT NULL AND g.ended_at IS NULL AND g.starts_at > ?1)",
        State::Active => "(g.ended_at IS NULL AND g.starts_at <= ?1 AND (g.ends_at IS NULL OR g.ends_at > ?1))",
    }
}

/// A row of the list shows the resource that was requested, and the one that was granted or that an approver proposes.
/// `proposed`: which proposals count.
fn about_resource(proposed: &str) -> String {
    format!(
        "(r.resource = ?_ OR g.resource = ?_ OR EXISTS (
             SELECT 1 FROM decision d WHERE d.request = r.id AND d.verdict = 'approve' AND {proposed}
                 AND CASE WHEN json_valid(d.terms) THEN d.terms ->> '$.resource' = ?_ END))"
    )
}

/// The conditions of a list. With `narrowed`, candidates are found by number, and a `+` keeps other indexes out.
fn list_clauses(
    filter: &ListFilter,
    only: Option<&VisibleTo>,
    before: i64,
    narrowed: bool,
    now: Timestamp,
) -> (String, Vec<Value>) {
    // Mentions `?1`, the time, which the other clauses of some lists don't use.
    let mut clauses = String::from("?1 IS NOT NULL AND r.id < ?2");
    let mut values = vec![Value::Integer(now.unix()), Value::Integer(before)];
    if let Some(VisibleTo { member, login, since, also }) = only {
        let also = joined(also);
        // `Request::belongs_to` in SQL.
        clauses += &format!(
            " AND (?3 IN (r.requester, r.filed_by) AND r.seq > ?5 OR ?4 IN (r.requester_login, r.filer_login)
                  OR r.id IN ({also}))"
        );
        values.extend([member.to_string().into(), login.to_string().into(), Value::Integer(*since)]);
    }
    let mut add = |clause: &str, value: Value| {
        values.push(value);
        clauses += &format!(" AND {}", clause.replace("?_", &format!("?{}", values.len())));
    };
    if let Some(requester) = &filter.requester {
        let clause = if narrowed { "+r.requester = ?_" } else { "r.requester = ?_" };
        add(clause, requester.to_string().into());
    }
    if let Some(resource) = &filter.resource {
        add(&about_resource("r.state = 'pending' AND d.counts"), resource.to_string().into());
    }
    if let Some(since) = filter.since {
        add("r.submitted_at >= ?_", Value::Integer(since.unix()));
    }
    if let Some(ticket) = &filter.ticket {
        add("r.ticket = ?_", ticket.to_string().into());
    }
    if let Some(text) = &filter.search {
        add(
            "(instr(lower(r.reason), ?_) OR instr(lower(r.ticket), ?_)
              OR CASE WHEN json_valid(r.review) THEN instr(lower(r.review ->> '$.note'), ?_) END
              OR EXISTS (SELECT 1 FROM decision d WHERE d.request = r.id AND instr(lower(d.note), ?_)))",
            text.to_ascii_lowercase().into(),
        );
    }
    if let Some(approver) = &filter.approver {
        add(
            "EXISTS (SELECT 1 FROM decision d
                 WHERE d.request = r.id AND d.by = ?_ AND d.verdict = 'approve' AND d.counts)",
            approver.to_string().into(),
        );
    }
    if let Some(since) = filter.granted_since {
        // Access starts when it is granted or later.
        add(
            "g.starts_at >= ?_ AND (SELECT e.at FROM event e WHERE e.request = r.id
                 AND e.action IN ('grant.started', 'grant.scheduled') ORDER BY e.seq LIMIT 1) >= ?_",
            Value::Integer(since.unix()),
        );
    }
    // The `+` keeps an index out.
    clauses += match filter.kind {
        None => "",
        Some(RequestKind::Emergency) => " AND +r.emergency",
        Some(RequestKind::Unreviewed) => " AND +r.emergency AND r.review IS NULL",
        Some(RequestKind::Permanent) => {
            " AND CASE WHEN g.request IS NULL THEN r.length IS NULL AND r.until IS NULL ELSE g.ends_at IS NULL END"
        }
    };
    let (states, owed) = states(filter);
    if !states.is_empty() {
        let mut each: Vec<&str> = states.iter().map(|&state| state_clause(state)).collect();
        if owed {
            each.push("r.emergency AND r.review IS NULL");
        }
        clauses += &format!(" AND ({})", each.join(" OR "));
    }
    (clauses, values)
}
