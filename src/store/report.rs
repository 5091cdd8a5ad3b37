//! What a report about a period reads.

use std::collections::BTreeMap;

use rusqlite::params;
use rusqlite::types::Value;

use super::log::RARE;
use super::read::{PAGE, Page, Read, agree};
use super::requests::REQUESTS;
use super::{Error, row};
use crate::domain::entry_ref::EntryRef;
use crate::domain::name::Name;
use crate::domain::recertification::{ItemId, RecertificationId};
use crate::domain::request::Request;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// A period, and the range of entries that can lie in it.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    pub since: Timestamp,
    pub until: Timestamp,
    /// The first entry at or after `since`.
    pub first: i64,
    /// The last entry at or before `until`.
    pub last: i64,
}

/// The entries of a period: how many, and the first and the last of them.
pub struct PeriodEntries {
    pub count: u64,
    pub ends: Option<(i64, i64)>,
}

/// The entries of a recertification.
#[derive(Default)]
pub struct RecertificationEntries {
    pub closed: Option<EntryRef>,
    pub decided: BTreeMap<ItemId, EntryRef>,
}

/// These entries about a request do not change it.
const SIDE_NOTES: &str = "('attempt.refused', 'grant.provisioned', 'grant.deprovisioned', 'provisioning.failed',
     'certificate.issued', 'session.opened', 'session.closed')";

impl Read<'_> {
    pub fn period(&self, since: Timestamp, until: Timestamp) -> Result<Period, Error> {
        let (first, _) = self.entries_between(Some(since), None)?;
        let (_, last) = self.entries_between(None, Some(until))?;
        let last = last.min(self.head()?.seq);
        Ok(Period { since, until, first: first.min(last + 1), last })
    }

    pub fn entries_in(&self, period: &Period) -> Result<PeriodEntries, Error> {
        let sql = "SELECT count(*), min(seq), max(seq) FROM event WHERE seq BETWEEN ?1 AND ?2 AND at BETWEEN ?3 AND ?4";
        let Period { since, until, first, last } = period;
        let found = self.one(sql, params![first, last, since.unix(), until.unix()], |row| {
            let ends = row.get::<_, Option<i64>>(1)?.zip(row.get::<_, Option<i64>>(2)?);
            Ok(PeriodEntries { count: row.get::<_, i64>(0)?.unsigned_abs(), ends })
        })?;
        found.ok_or_else(|| Error::damaged("a count gives no row"))
    }

    /// The first entry of the log.
    pub fn first_entry_ref(&self) -> Result<EntryRef, Error> {
        self.one("SELECT seq, at, actor, action FROM event ORDER BY seq LIMIT 1", [], |row| entry_ref(row, 0))?
            .ok_or_else(|| Error::damaged("the audit log is empty"))
    }

    /// An entry, without its details.
    pub fn entry_ref(&self, seq: i64) -> Result<EntryRef, Error> {
        self.one("SELECT seq, at, actor, action FROM event WHERE seq = ?1", [seq], |row| entry_ref(row, 0))?
            .ok_or_else(|| Error::damaged(format!("entry {seq} is missing")))
    }

    /// A page of the requests that something happened to in the period, or under which somebody may have held access in it,
    /// each as it is now, with the entries about it up to the end of the period. With numbers above `after`, in their order.
    pub fn requests_of_period(&self, period: &Period, after: i64) -> Result<Page<(Request, Vec<EntryRef>)>, Error> {
        let clause = format!(
            "r.id > ? AND r.seq <= ? AND (g.request IS NOT NULL AND g.ended_at IS NULL OR r.state = 'pending'
                 OR r.emergency AND r.review IS NULL
                 OR EXISTS (SELECT 1 FROM event e WHERE e.request = r.id AND e.seq >= ?))
             ORDER BY r.id LIMIT {PAGE}"
        );
        let values = [after, period.last, period.first];
        let found = self.requests(REQUESTS, &clause, values.map(Value::Integer).into())?;
        let last = found.len() < PAGE;
        let rows: Result<Vec<_>, Error> = found
            .into_iter()
            .map(|request| {
                let entries = self.entry_refs(request.id, period.last)?;
                Ok((request, entries))
            })
            .collect();
        Ok(Page { rows: rows?, last })
    }

    fn entry_refs(&self, id: RequestId, last: i64) -> Result<Vec<EntryRef>, Error> {
        let sql = format!(
            "SELECT e.seq, e.at, e.actor, e.action, e.request IS ?1 FROM event i CROSS JOIN event e ON e.seq = i.seq
             WHERE i.request = ?1 AND i.seq <= ?2 AND e.action NOT IN {SIDE_NOTES} ORDER BY i.seq"
        );
        self.rows(&sql, params![id.get(), last], |row| {
            agree(row.get(4)?, "event_by_request")?;
            entry_ref(row, 0)
        })
    }

    /// The entry that closed or cancelled a recertification, and those of the decisions on its items, up to this entry.
    pub fn recertification_entries(&self, id: RecertificationId, last: i64) -> Result<RecertificationEntries, Error> {
        let sql = format!(
            "SELECT seq, at, actor, action, body ->> '$.event.detail.item' FROM event
             WHERE action IN ('recertification.decided', 'recertification.closed', 'recertification.cancelled') AND {RARE}
                 AND seq <= ?2 AND CASE WHEN json_valid(body) THEN body ->> '$.event.detail.recertification' = ?1
                     OR body ->> '$.event.detail.item' GLOB ?1 || '.*' END
             ORDER BY seq"
        );
        let mut found = RecertificationEntries::default();
        let rows = self.rows(&sql, params![id.get(), last], |row| {
            let entry = entry_ref(row, 0)?;
            agree(entry.action.starts_with("recertification."), "event_by_action")?;
            Ok((row::maybe_parsed::<ItemId>(row, 4)?, entry))
        })?;
        for (item, entry) in rows {
            match item {
                Some(item) => drop(found.decided.insert(item, entry)),
                None => found.closed = Some(entry),
            }
        }
        Ok(found)
    }

    /// The last entry in the period by which a member acted.
    pub fn last_act(&self, member: &Name, period: &Period) -> Result<Option<EntryRef>, Error> {
        let sql = "SELECT e.seq, e.at, e.actor, e.action FROM event i CROSS JOIN event e ON e.seq = i.seq
             WHERE i.actor = ?1 AND i.seq BETWEEN ?2 AND ?3 AND e.at BETWEEN ?4 AND ?5 ORDER BY i.seq DESC LIMIT 1";
        let Period { since, until, first, last } = period;
        let found =
            self.one(sql, params![member.as_str(), first, last, since.unix(), until.unix()], |row| entry_ref(row, 0))?;
        agree(found.iter().all(|entry| entry.actor.as_ref() == Some(member)), "event_by_actor")?;
        Ok(found)
    }

    /// The number of the entry of the last session that a member opened in the period.
    pub fn last_session(&self, member: &Name, period: &Period) -> Result<Option<i64>, Error> {
        let sql = "SELECT seq FROM session WHERE member = ?1 AND opened_at BETWEEN ?2 AND ?3 AND seq <= ?4
             ORDER BY opened_at DESC, seq DESC LIMIT 1";
        let Period { since, until, last, .. } = period;
        self.one(sql, params![member.as_str(), since.unix(), until.unix(), last], |row| Ok(row.get(0)?))
    }
}

/// An entry, in the columns `seq, at, actor, action` from this one on.
fn entry_ref(row: &rusqlite::Row<'_>, column: usize) -> Result<EntryRef, Error> {
    Ok(EntryRef {
        seq: row.get(column)?,
        at: row::time(row, column + 1)?,
        actor: row::maybe_parsed(row, column + 2)?,
        action: row.get(column + 3)?,
    })
}
