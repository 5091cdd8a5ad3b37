//! Requests that wait for a decision.

use rusqlite::params;
use rusqlite::types::Value;

use super::read::{PAGE, Page, Read, agree, limit};
use super::requests::INDEXED;
use super::{Error, row};
use crate::domain::name::Name;
use crate::domain::request::{Recorded, Request};
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// Where a page of the queue ended: when its last request lapses, and that request's number.
pub type QueuePosition = (Timestamp, RequestId);

/// Whether a pending request has lapsed (see `Request::lapses`). Only requests filed by older versions can have an `until`
/// before `lapses_at`.
const LAPSED: &str = "min(i.lapses_at, ifnull(i.until, i.lapses_at)) <= ?1";
const NOT_LAPSED: &str = "min(i.lapses_at, ifnull(i.until, i.lapses_at)) > ?1";

impl Read<'_> {
    /// Requests recorded as pending, which an index finds as `i`.
    fn pending(&self, clause: &str, values: Vec<Value>) -> Result<Vec<Request>, Error> {
        let found = self.requests(INDEXED, &format!("i.state = 'pending' AND {clause}"), values)?;
        agree(found.iter().all(|found| found.recorded == Recorded::Pending), "request_pending")?;
        Ok(found)
    }

    /// All requests that are pending now.
    pub fn pending_requests(&self, now: Timestamp) -> Result<Vec<Request>, Error> {
        let clause = format!("{NOT_LAPSED} ORDER BY +i.id");
        let found = self.pending(&clause, vec![Value::Integer(now.unix())])?;
        agree(found.iter().all(|found| found.lapse_time() > now), "request_pending")?;
        Ok(found)
    }

    /// A member's pending request for a resource.
    pub fn pending_request(
        &self,
        requester: &Name,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<Option<Request>, Error> {
        // Finds only the number first. Mostly there is none, and the statement that reads a whole request is slow to prepare.
        let sql =
            "SELECT id FROM request WHERE requester = ?1 AND resource = ?2 AND state = 'pending' AND lapses_at > ?3
                 AND ifnull(until, lapses_at) > ?3
             LIMIT 1";
        let values = params![requester.as_str(), resource.to_string(), now.unix()];
        let Some(id) = self.one(sql, values, |row| row::request_id(row, 0))? else { return Ok(None) };
        let found = self.request(id)?;
        let is_it = |found: &Request| {
            found.requester == *requester
                && found.details.asked.resource == *resource
                && found.recorded == Recorded::Pending
        };
        agree(found.as_ref().is_some_and(is_it), "of pending requests")?;
        Ok(found)
    }

    pub fn pending_resources(&self, requester: &Name, now: Timestamp) -> Result<Vec<(Resource, RequestId)>, Error> {
        let sql = "SELECT r.resource, r.id, r.requester = ?1 AND r.state = 'pending'
             FROM request i CROSS JOIN request r ON r.id = i.id
             WHERE i.requester = ?1 AND i.state = 'pending' AND r.lapses_at > ?2 AND (r.until IS NULL OR r.until > ?2)";
        self.rows(sql, params![requester.as_str(), now.unix()], |row| {
            agree(row.get(2)?, "of pending requests")?;
            Ok((row::parsed(row, 0)?, row::request_id(row, 1)?))
        })
    }

    /// A page of the requests that are pending now, in the order in which they lapse, then by age.
    pub fn pending_after(&self, after: Option<QueuePosition>, now: Timestamp) -> Result<Page<Request>, Error> {
        // Leaves out requests that lapsed since the previous page was read.
        let after = after.filter(|(lapses, _)| *lapses > now);
        let (lapses, id) = after.map_or((now.unix(), i64::MAX), |(lapses, id)| (lapses.unix(), id.get()));
        let clause = format!(
            "min(i.lapses_at, ifnull(i.until, i.lapses_at)) >= ?1
                 AND (min(i.lapses_at, ifnull(i.until, i.lapses_at)) > ?1 OR i.id > ?2)
             ORDER BY min(i.lapses_at, ifnull(i.until, i.lapses_at)), i.id LIMIT {PAGE}"
        );
        let rows = self.pending(&clause, vec![Value::Integer(lapses), Value::Integer(id)])?;
        let ordered = rows.is_sorted_by_key(|found| (found.lapse_time(), found.id));
        agree(ordered && rows.iter().all(|found| found.lapse_time().unix() >= lapses), "request_pending")?;
        Ok(Page { last: rows.len() < PAGE, rows })
    }

    /// Pending requests whose reminder is due.
    pub fn requests_to_remind(&self, now: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let clause = format!(
            "{NOT_LAPSED} AND r.remind_at <= ?1 ORDER BY min(i.lapses_at, ifnull(i.until, i.lapses_at)) LIMIT ?2"
        );
        self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])
    }

    /// Requests that have lapsed and whose end is not recorded yet.
    pub fn lapsed_requests(&self, now: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let clause = format!("{LAPSED} ORDER BY min(i.lapses_at, ifnull(i.until, i.lapses_at)) LIMIT ?2");
        let found = self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])?;
        agree(found.iter().all(|found| found.lapse_time() <= now), "request_pending")?;
        Ok(found)
    }

    /// Pending requests that an older version filed in log format 1. Those that were judged again since are included only with
    /// `again`.
    pub fn pending_of_format_1(&self, now: Timestamp, again: bool, most: usize) -> Result<Vec<Request>, Error> {
        let not_again =
            "AND NOT EXISTS (SELECT 1 FROM event j WHERE j.request = r.id AND j.action = 'request.rejudged')";
        let not_again = if again { "" } else { not_again };
        let clause = format!(
            "{NOT_LAPSED} AND (SELECT body ->> '$.v' FROM event e WHERE e.seq = r.seq) = 1 {not_again} ORDER BY +i.id LIMIT ?2"
        );
        self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])
    }
}
