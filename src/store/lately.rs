//! What somebody did lately, for the limits on how often they may. Each question reads the newest rows first, by an index,
//! and stops at the first one that is too old or at a number of rows, so it takes no longer when the history is long.

use rusqlite::{Params, Row, params};

use super::{Error, Read, row};
use crate::domain::entitlement::Person;
use crate::domain::name::Name;
use crate::domain::request::{Grant, RequestId};
use crate::domain::resource::Resource;
use crate::domain::team::Login;
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

// Each question, so that a test can ask SQLite how it would answer it.
const FILED_FOR: &str = "SELECT submitted_at, requester, filed_by, resource, emergency FROM request
     WHERE requester = ?1 ORDER BY id DESC";
const FILED_FOR_OTHERS: &str = "SELECT submitted_at, requester, filed_by, resource, emergency FROM request
     WHERE filer_login = ?1 AND filed_by <> requester ORDER BY id DESC";
const REQUEST: &str = "SELECT submitted_at, requester, filed_by, resource, emergency FROM request WHERE id = ?1";
/// Acts that only the log has are looked for among its last entries: an index for them would cost every command. On a busier
/// host the limit holds for each so many entries.
const ACTS: &str = "SELECT at, request FROM
     (SELECT seq, at, actor, action, request FROM event ORDER BY seq DESC LIMIT 2000)
     WHERE actor = ?1 AND action = ?2 ORDER BY seq DESC";
const PENDING: &str = "SELECT count(*) FROM request
     WHERE state = 'pending' AND lapses_at > ?2 AND id <> ?3 AND filed_by = ?1 AND requester = ?1";
/// At most 50 are filed in a day, so these are at least the last 20 days.
const PENDING_FOR_OTHERS: &str = "SELECT count(*) FROM
     (SELECT id, state, lapses_at FROM request WHERE filer_login = ?1 AND filed_by <> requester ORDER BY id DESC LIMIT 1000)
     WHERE state = 'pending' AND lapses_at > ?2 AND id <> ?3";
/// Of all that owe a review there are few, and of one requester's requests there can be many.
const OWED: &str = "SELECT id FROM request WHERE emergency AND review IS NULL
     AND (+requester = ?1 AND seq > ?2 OR +requester_login = ?3) ORDER BY id";

fn emergencies() -> String {
    format!(
        "SELECT r.submitted_at, r.emergency AND r.resource = ?2, {} FROM request r LEFT JOIN grant g ON g.request = r.id
         WHERE r.requester = ?1 AND r.id <= ?3 ORDER BY r.id DESC",
        row::GRANT
    )
}

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
        self.newest(FILED_FOR, [requester.as_str()], since, filed)
    }

    /// Requests that this Unix user filed for others after `since`, newest first.
    pub fn filed_for_others(&self, filer: &Login, since: Timestamp) -> Result<Vec<Filed>, Error> {
        self.newest(FILED_FOR_OTHERS, [filer.as_str()], since, filed)
    }

    /// The requests that this member edited after `since`, once for each edit: as they are now, at the time of the edit.
    pub fn edited(&self, member: &Name, since: Timestamp) -> Result<Vec<Filed>, Error> {
        let values = [member.as_str(), Act::RequestEdited.action()];
        let edits = self.newest(ACTS, values, since, |row, at| Ok((at, row.get::<_, i64>(1)?)))?;
        let mut found = Vec::new();
        for (at, id) in edits {
            found.extend(self.one(REQUEST, [id], |row| filed(row, at))?);
        }
        Ok(found)
    }

    /// When this member did something after `since`, newest first.
    pub fn acts(&self, member: &Name, act: Act, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
        self.newest(ACTS, [member.as_str(), act.action()], since, |_, at| Ok(at))
    }

    /// How many requests that this member filed for themselves wait for a decision, without this one.
    pub fn pending_filed(&self, filer: &Name, but_for: RequestId, now: Timestamp) -> Result<u64, Error> {
        self.count(PENDING, params![filer.as_str(), now.unix(), but_for.get()])
    }

    /// How many requests that this Unix user filed for others wait for a decision, without this one.
    pub fn pending_filed_for_others(&self, filer: &Login, but_for: RequestId, now: Timestamp) -> Result<u64, Error> {
        self.count(PENDING_FOR_OTHERS, params![filer.as_str(), now.unix(), but_for.get()])
    }

    /// This member's emergencies for this resource that were taken after `since`, up to this request: their grants, the newest first.
    pub fn emergencies(
        &self,
        requester: &Name,
        resource: &Resource,
        up_to: RequestId,
        since: Timestamp,
    ) -> Result<Vec<Grant>, Error> {
        let values = params![requester.as_str(), resource.to_string(), up_to.get()];
        let found = self.newest(&emergencies(), values, since, |row, _| match row.get(1)? {
            true => row::maybe_grant(row, 2),
            false => Ok(None),
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// This member's emergencies that owe their review, if the same person took them. Found among all that owe one, of which
    /// there are few.
    pub fn reviews_owed_by(&self, requester: &Person) -> Result<Vec<RequestId>, Error> {
        let values = params![requester.name.as_str(), requester.since, requester.member.login.as_str()];
        self.rows(OWED, values, |row| row::request_id(row, 0))
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn empty() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for schema in [
            include_str!("schema-1.sql"),
            include_str!("schema-2.sql"),
            include_str!("schema-3.sql"),
            include_str!("schema-4.sql"),
        ] {
            conn.execute_batch(schema).unwrap();
        }
        conn
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    /// Adds a request that was filed at this time.
    fn file(conn: &Connection, requester: &str, filer: &str, seconds: i64) {
        conn.execute(
            "INSERT INTO request (state, requester, filed_by, filer_login, resource, length, reason, submitted_at, lapses_at)
             VALUES ('pending', ?1, ?2, ?2, 'connection:prod-aws', 3600, 'x', ?3, ?3 + 600)",
            params![requester, filer, seconds],
        )
        .unwrap();
    }

    #[test]
    fn each_question_is_answered_by_an_index() {
        let conn = empty();
        let emergencies = emergencies();
        for (sql, index) in [
            (FILED_FOR, "request_by_requester (requester=?)"),
            (FILED_FOR_OTHERS, "request_by_filer (filer_login=?)"),
            (PENDING, "request_pending_by_requester (requester=?)"),
            (PENDING_FOR_OTHERS, "request_by_filer (filer_login=?)"),
            (OWED, "request_review"),
            (&emergencies, "request_by_requester (requester=? AND rowid<?)"),
        ] {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
            let plan = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3));
            let plan: Vec<String> = plan.unwrap().map(Result::unwrap).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{sql}\n{plan:?}");
            assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{sql}\n{plan:?}");
        }
    }

    #[test]
    fn what_is_too_old_is_not_read_however_much_there_is() {
        let conn = empty();
        // A row that nobody can read lies behind the first old one.
        file(&conn, "bob", "no name", 50);
        file(&conn, "bob", "bob", 100);
        file(&conn, "bob", "bob", 200);
        file(&conn, "bob", "alice", 300);
        file(&conn, "carol", "alice", 400);
        let read = Read::new(&conn);
        let times = |found: Vec<Filed>| found.into_iter().map(|filed| filed.at.unix()).collect::<Vec<_>>();
        assert_eq!(times(read.filed_for(&name("bob"), at(100)).unwrap()), [300, 200]);
        let login = |text: &str| -> Login { text.parse().unwrap() };
        assert_eq!(times(read.filed_for_others(&login("alice"), at(100)).unwrap()), [400, 300]);
        assert_eq!(times(read.filed_for_others(&login("bob"), at(0)).unwrap()), [0_i64; 0]);
        assert!(read.filed_for(&name("bob"), at(10)).is_err());
        let first = RequestId::FIRST;
        let pending = |filer: &str, now| read.pending_filed(&name(filer), first, at(now)).unwrap();
        assert_eq!((pending("bob", 600), pending("bob", 700), pending("bob", 800)), (2, 1, 0));
        let for_others = |filer: &str, now| read.pending_filed_for_others(&login(filer), first, at(now)).unwrap();
        assert_eq!((for_others("alice", 600), for_others("alice", 900), for_others("bob", 600)), (2, 1, 0));
    }
}
