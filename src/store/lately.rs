//! What somebody did lately, for the limits on how often they may. Each question reads the newest rows first, by an index,
//! and stops at the first one that is too old or at a number of rows, so it takes no longer when the history is long.

use rusqlite::{Params, Row, params};

use super::{Error, Read, row};
use crate::domain::entitlement::Person;
use crate::domain::name::Name;
use crate::domain::request::{Grant, RequestId};
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;

/// The most rows that one question reads. No limit is higher, so whoever reaches it is refused.
const ROWS: usize = 5000;

/// A request that was filed or edited.
#[derive(Debug, Clone)]
pub struct Filed {
    pub at: Timestamp,
    pub requester: Name,
    pub filed_by: Name,
    pub resource: Resource,
    pub emergency: bool,
}

/// What is counted of a member's acts that are found by the log alone.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    PreferenceChanged,
    RequestEdited,
    TeamApplied,
}

impl Act {
    fn action(self) -> &'static str {
        match self {
            Act::PreferenceChanged => "preference.changed",
            Act::RequestEdited => "request.edited",
            Act::TeamApplied => "team.applied",
        }
    }
}

/// What is read of a request. Its time comes first.
const FILED: &str = "submitted_at, requester, filed_by, resource, emergency";
/// A member's acts. The list has to be that of the index `event_of_limited_act`, or the index is not used.
const ACTS: &str = "FROM event WHERE actor = ?1 AND action = ?2
     AND action IN ('preference.changed', 'request.edited', 'team.applied') ORDER BY seq DESC";

fn filed(row: &Row<'_>, at: Timestamp) -> Result<Filed, Error> {
    Ok(Filed {
        at,
        requester: row::parsed(row, 1)?,
        filed_by: row::parsed(row, 2)?,
        resource: row::parsed(row, 3)?,
        emergency: row.get(4)?,
    })
}

impl Read<'_> {
    /// Requests for this member that were filed after `since`, by whomever, newest first.
    pub fn filed_for(&self, requester: &Name, since: Timestamp) -> Result<Vec<Filed>, Error> {
        let sql = format!("SELECT {FILED} FROM request WHERE requester = ?1 ORDER BY id DESC");
        self.newest(&sql, [requester.as_str()], since, filed)
    }

    /// Requests that this member filed for others after `since`, newest first.
    pub fn filed_for_others(&self, filer: &Name, since: Timestamp) -> Result<Vec<Filed>, Error> {
        let sql = format!("SELECT {FILED} FROM request WHERE filed_by = ?1 AND filed_by <> requester ORDER BY id DESC");
        self.newest(&sql, [filer.as_str()], since, filed)
    }

    /// The requests that this member edited after `since`, once for each edit: as they are now, at the time of the edit.
    pub fn edited(&self, member: &Name, since: Timestamp) -> Result<Vec<Filed>, Error> {
        let sql = format!("SELECT at, request {ACTS}");
        let values = [member.as_str(), Act::RequestEdited.action()];
        let edits = self.newest(&sql, values, since, |row, at| Ok((at, row.get::<_, i64>(1)?)))?;
        let mut found = Vec::new();
        for (at, id) in edits {
            let sql = format!("SELECT {FILED} FROM request WHERE id = ?1");
            found.extend(self.one(&sql, [id], |row| filed(row, at))?);
        }
        Ok(found)
    }

    /// When this member did something after `since`, newest first.
    pub fn acts(&self, member: &Name, act: Act, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
        self.newest(&format!("SELECT at {ACTS}"), [member.as_str(), act.action()], since, |_, at| Ok(at))
    }

    /// How many requests that this member filed wait for a decision, but for this one: at most `most` are counted.
    pub fn pending_filed_by(
        &self,
        filer: &Name,
        but_for: RequestId,
        now: Timestamp,
        most: usize,
    ) -> Result<usize, Error> {
        const PENDING: &str =
            "SELECT 1 FROM request WHERE state = 'pending' AND lapses_at > ?2 AND id <> ?3 AND filed_by = ?1";
        let sql = format!("{PENDING} AND requester = ?1 UNION ALL {PENDING} AND filed_by <> requester LIMIT ?4");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = self.rows(&sql, params![filer.as_str(), now.unix(), but_for.get(), most], |_| Ok(()))?;
        Ok(found.len())
    }

    /// This member's emergencies for this resource that were taken after `since`, up to this request: their grants, the newest first.
    pub fn emergencies(
        &self,
        requester: &Name,
        resource: &Resource,
        up_to: RequestId,
        since: Timestamp,
    ) -> Result<Vec<Grant>, Error> {
        let sql = format!(
            "SELECT r.submitted_at, r.emergency AND r.resource = ?2, {} FROM request r LEFT JOIN grant g ON g.request = r.id
             WHERE r.requester = ?1 AND r.id <= ?3 ORDER BY r.id DESC",
            row::GRANT
        );
        let values = params![requester.as_str(), resource.to_string(), up_to.get()];
        let found = self.newest(&sql, values, since, |row, _| match row.get(1)? {
            true => row::maybe_grant(row, 2),
            false => Ok(None),
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// This member's emergencies that owe their review, if the same person took them. Found among all that owe one, of which
    /// there are few.
    pub fn reviews_owed_by(&self, requester: &Person) -> Result<Vec<RequestId>, Error> {
        let sql = "SELECT id, (SELECT min(seq) FROM event WHERE request = r.id AND action = 'request.submitted')
             FROM request r WHERE emergency AND review IS NULL AND +requester = ?1 ORDER BY id";
        let owed =
            self.rows(sql, [requester.name.as_str()], |row| Ok((row::request_id(row, 0)?, row.get::<_, i64>(1)?)))?;
        Ok(owed.into_iter().filter(|(_, seq)| *seq > requester.since).map(|(id, _)| id).collect())
    }

    /// The entry that filed this request.
    pub fn filed_in(&self, id: RequestId) -> Result<i64, Error> {
        let sql = "SELECT min(seq) FROM event WHERE request = ?1 AND action = 'request.submitted'";
        let seq: Option<i64> = self.conn.prepare_cached(sql)?.query_row([id.get()], |row| row.get(0))?;
        seq.ok_or_else(|| Error::damaged(format!("request {id} was never filed")))
    }

    /// Rows whose first column is a time, newest first, down to `since`. They come in the order in which they were recorded,
    /// so none that follows the first old one counts.
    fn newest<T>(
        &self,
        sql: &str,
        values: impl Params,
        since: Timestamp,
        mut read: impl FnMut(&Row<'_>, Timestamp) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let at = row::time(row, 0)?;
            if at <= since || found.len() == ROWS {
                break;
            }
            found.push(read(row, at)?);
        }
        Ok(found)
    }
}
