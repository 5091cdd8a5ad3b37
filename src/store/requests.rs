//! Requests, each with its decisions and its grant.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::read::{PAGE, Page, Read, agree, limit};
use super::{Error, row};
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::request::{Decision, Recorded, Request};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// Requests that are found by their number.
pub(super) const REQUESTS: &str = "request r LEFT JOIN grant g ON g.request = r.id";
/// Requests that an index finds as `i`, each read again by its number as `r`, and then compared (see `agree`). Without the
/// second read SQLite takes a column's value from the index where it can, and skips conditions that a partial index implies.
pub(super) const INDEXED: &str = "request i CROSS JOIN request r ON r.id = i.id LEFT JOIN grant g ON g.request = r.id";

/// Open requests, found by partial indexes. Grants with and without an end are separate, since SQLite otherwise reads all of
/// `grant_by_member`.
const OPEN: &str = "r.id IN (SELECT id FROM request WHERE state = 'pending'
     UNION ALL SELECT request FROM grant WHERE ended_at IS NULL AND ends_at IS NOT NULL
     UNION ALL SELECT request FROM grant WHERE ended_at IS NULL AND ends_at IS NULL
     UNION ALL SELECT id FROM request WHERE emergency AND review IS NULL)";

impl Read<'_> {
    pub fn next_request(&self) -> Result<RequestId, Error> {
        let last: Option<i64> = self.statement("SELECT max(id) FROM request")?.query_row([], |row| row.get(0))?;
        match last {
            None => Ok(RequestId::FIRST),
            Some(last) => RequestId::try_from(last).map(RequestId::next).map_err(Error::damaged),
        }
    }

    /// Who asked.
    pub fn requester(&self, id: RequestId) -> Result<Option<Name>, Error> {
        self.one("SELECT requester FROM request WHERE id = ?1", [id.get()], |row| row::parsed(row, 0))
    }

    pub fn request(&self, id: RequestId) -> Result<Option<Request>, Error> {
        let found = self.requests(REQUESTS, "r.id = ?", vec![Value::Integer(id.get())])?;
        Ok(found.into_iter().next())
    }

    pub(super) fn requests(&self, from: &str, clause: &str, values: Vec<Value>) -> Result<Vec<Request>, Error> {
        let sql = format!("SELECT {}, {} FROM {from} WHERE {clause}", row::REQUEST, row::GRANT);
        let mut found = self.rows(&sql, params_from_iter(values), |row| row::request(row, 0))?;
        self.read_decisions(&mut found)?;
        Ok(found)
    }

    /// Adds the decisions to each request: with one query if the numbers are close together, else with one per request.
    fn read_decisions(&self, requests: &mut [Request]) -> Result<(), Error> {
        let numbers = || requests.iter().map(|request| request.id.get());
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Ok(()) };
        let columns = row::DECISION;
        let sql = &format!("SELECT {columns} FROM decision WHERE request BETWEEN ?1 AND ?2 ORDER BY request, seq");
        let decision = |row: &Row<'_>| Ok((row.get::<_, i64>(7)?, row::decision(row, 0)?));
        if last - first > 4 * requests.len() as i64 {
            for request in requests {
                let id = request.id.get();
                let decisions = self.rows(sql, [id, id], decision)?;
                request.decisions = decisions.into_iter().map(|(_, decision)| decision).collect();
            }
            return Ok(());
        }
        let mut of: HashMap<i64, Vec<Decision>> = HashMap::new();
        for (id, decision) in self.rows(sql, [first, last], decision)? {
            of.entry(id).or_default().push(decision);
        }
        for request in requests {
            request.decisions = of.remove(&request.id.get()).unwrap_or_default();
        }
        Ok(())
    }

    /// The requests that are recorded as pending, whose grant's end is not recorded, or that still need a review.
    pub fn open_requests(&self) -> Result<Vec<Request>, Error> {
        let found = self.requests(REQUESTS, &format!("{OPEN} ORDER BY r.id"), Vec::new())?;
        let open = |found: &Request| {
            let held = found.grant.as_ref().is_some_and(|grant| grant.ended.is_none());
            found.recorded == Recorded::Pending || held || found.owes_review()
        };
        agree(found.iter().all(open), "of open requests")?;
        Ok(found)
    }

    /// The requests for a member's grants whose end is not recorded, in the order of their ends.
    pub fn requests_granted_to(&self, member: &Name) -> Result<Vec<Request>, Error> {
        let clause = "r.id IN (SELECT request FROM grant WHERE member = ? AND ended_at IS NULL)
             ORDER BY g.ends_at IS NULL, g.ends_at, r.id";
        let found = self.requests(REQUESTS, clause, vec![member.to_string().into()])?;
        let theirs = |grant: &Grant| grant.member == *member && grant.ended.is_none();
        agree(found.iter().all(|found| found.grant.as_ref().is_some_and(theirs)), "grant_by_member")?;
        Ok(found)
    }

    /// The requests that extend this one's grant.
    pub fn extensions(&self, id: RequestId) -> Result<Vec<Request>, Error> {
        let found = self.requests(INDEXED, "i.extends = ? ORDER BY i.id", vec![Value::Integer(id.get())])?;
        agree(found.iter().all(|found| found.extends == Some(id)), "request_extension")?;
        Ok(found)
    }

    /// Emergencies that still need a review.
    pub fn reviews_owed(&self) -> Result<Vec<RequestId>, Error> {
        let sql = "SELECT id FROM request WHERE emergency AND review IS NULL ORDER BY id";
        self.rows(sql, [], |row| row::request_id(row, 0))
    }

    /// A page of the requests submitted at or after a time, with numbers above `after`, oldest first.
    pub fn requests_since(&self, since: Timestamp, after: i64) -> Result<Page<Request>, Error> {
        let after = after.max(self.first_request_since(since)? - 1);
        let clause = format!("r.submitted_at >= ? AND r.id > ? ORDER BY r.id LIMIT {PAGE}");
        let rows = self.requests(REQUESTS, &clause, vec![Value::Integer(since.unix()), Value::Integer(after)])?;
        Ok(Page { last: rows.len() < PAGE, rows })
    }

    /// Requests that were filed, edited or granted while the clock was ahead of the accepted time, and that are still open at
    /// `last`, the latest time it showed. Replay checks the same with `filed_ahead` and `granted_ahead`.
    pub fn requests_ahead(&self, accepted: Timestamp, last: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let filed_ahead = "(q.submitted_at > ?1 OR ?1 < (SELECT e.at FROM event e
                 WHERE e.request = q.id AND e.action = 'request.edited' ORDER BY e.seq DESC LIMIT 1))";
        let clause = format!(
            "r.id IN (SELECT id FROM request q WHERE state = 'pending' AND lapses_at > ?2 AND {filed_ahead}
                 UNION SELECT g.request FROM grant g JOIN request q ON q.id = g.request
                 WHERE g.ended_at IS NULL AND (g.ends_at IS NULL OR g.ends_at > ?2)
                     AND (g.starts_at > ?1 AND g.start IS NOT g.starts_at OR {filed_ahead}))
             ORDER BY r.id LIMIT ?3"
        );
        let values = [accepted.unix(), last.unix(), limit(most)];
        self.requests(REQUESTS, &clause, values.map(Value::Integer).into())
    }

    /// The lowest number that a request submitted at or after this time can have.
    pub(super) fn first_request_since(&self, since: Timestamp) -> Result<i64, Error> {
        let (entry, _) = self.entries_between(Some(since), None)?;
        let last: Option<i64> = self.statement("SELECT max(id) FROM request")?.query_row([], |row| row.get(0))?;
        let seq = "SELECT seq FROM request WHERE id >= ?1 ORDER BY id LIMIT 1";
        self.first_with(seq, 1, last.unwrap_or(0), |seq| seq >= entry)
    }
}
