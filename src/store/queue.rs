//! Pending requests in the order in which they are worth deciding.

use rusqlite::types::Value;

use super::read::{PAGE, Page, agree};
use super::{Error, Read};
use crate::domain::request::Request;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// Where a page of the queue ended: the last request lapses then and has this number.
pub type Place = (Timestamp, RequestId);

impl Read<'_> {
    /// A page of the requests that are pending now: those that lapse first at the front, and of those that lapse at the
    /// same time the oldest.
    pub fn pending_after(&self, after: Option<Place>, now: Timestamp) -> Result<Page<Request>, Error> {
        // What lapsed while the pages before were read is left out.
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
}
