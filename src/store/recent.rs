//! What somebody did recently, for rate limits. Each query reads the newest rows first, by an index, and stops at the first that
//! is too old, or after a number of rows. So it costs the same however long the history is.

use rusqlite::{Params, Row, params};

use super::{Error, Read, row};
use crate::domain::grant::Grant;
use crate::domain::member::Login;
use crate::domain::principal::Principal;
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The most rows that a query reads. No rate limit is higher.
const ROWS: usize = 5000;

/// A request that was filed or edited, as rate limits count it.
#[derive(Debug, Clone)]
pub struct Filed {
    pub at: Timestamp,
    pub resource: Resource,
    /// The resource that was granted, which an approver may have changed.
    pub granted: Option<Resource>,
    pub emergency: bool,
    /// The requester filed it.
    pub own: bool,
}

impl Filed {
    /// What was asked for, and what was granted.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        [Some(&self.resource), self.granted.as_ref()].into_iter().flatten()
    }
}

/// Actions that are counted and that only the log has.
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

// The queries are constants so that a test can check SQLite's plan for each. They count by Unix user, so that nobody escapes a
// limit by a new name.

/// Runs for each name that the Unix user had.
const FILED_FOR: &str = "SELECT r.submitted_at, r.resource, r.emergency, r.filer_login IS ?2, g.resource
     FROM request r LEFT JOIN grant g ON g.request = r.id
     WHERE r.requester = ?1 AND r.requester_login = ?2 ORDER BY r.id DESC";
const FILED_FOR_OTHERS: &str = "SELECT submitted_at FROM request
     WHERE filer_login = ?1 AND filed_by <> requester ORDER BY id DESC";
/// Reads only the last entries of the log, since an index would slow down every command. If more are recorded in the time
/// that a limit covers, the limit applies per 2000 entries. In a personal database the Unix user can act as any member.
const ACTS: &str = "SELECT at FROM (SELECT seq, at, actor, os_user, action FROM event ORDER BY seq DESC LIMIT 2000)
     WHERE (os_user = ?1 OR actor = ?2 AND seq > ?3) AND action = ?4 ORDER BY seq DESC";
const EDITS_FOR: &str = "SELECT e.at, r.resource, r.emergency, r.filer_login IS ?1, NULL
     FROM (SELECT seq, at, action, request FROM event ORDER BY seq DESC LIMIT 2000) e CROSS JOIN request r ON r.id = e.request
     WHERE r.requester_login = ?1 AND e.action = ?2 ORDER BY e.seq DESC";
/// Runs for each name that the Unix user had.
const PENDING: &str = "SELECT count(*) FROM request WHERE state = 'pending' AND lapses_at > ?3 AND id <> ?4
     AND requester = ?1 AND filed_by = requester AND requester_login = ?2";
/// At most 50 can be filed in a day, so 1000 rows are at least 20 days.
const PENDING_FOR_OTHERS: &str = "SELECT count(*) FROM
     (SELECT id, state, lapses_at FROM request WHERE filer_login = ?1 AND filed_by <> requester ORDER BY id DESC LIMIT 1000)
     WHERE state = 'pending' AND lapses_at > ?2 AND id <> ?3";
/// The `+` keeps the index on requesters out: few requests need a review, but one person can have many requests.
const OWED: &str = "SELECT id FROM request WHERE emergency AND review IS NULL
     AND (+requester = ?1 AND seq > ?2 OR +requester_login = ?3) ORDER BY id";

fn emergencies() -> String {
    format!(
        "SELECT r.submitted_at, r.emergency AND r.resource = ?3, {} FROM request r LEFT JOIN grant g ON g.request = r.id
         WHERE r.requester = ?1 AND r.requester_login IS ?2 AND r.id <= ?4 ORDER BY r.id DESC",
        row::GRANT
    )
}

fn filed(row: &Row<'_>, at: Timestamp) -> Result<Filed, Error> {
    let (emergency, own) = (row.get(2)?, row.get(3)?);
    Ok(Filed { at, resource: row::parsed(row, 1)?, granted: row::maybe_parsed(row, 4)?, emergency, own })
}

impl Read<'_> {
    /// Requests for this person that anyone filed after `since`, in no particular order.
    pub fn filed_for(&self, requester: &Principal, since: Timestamp) -> Result<Vec<Filed>, Error> {
        let login = &requester.member.login;
        let mut found = Vec::new();
        for name in self.names_of_login(&requester.name, Some(login))? {
            found.extend(self.newest(FILED_FOR, [name.as_str(), login.as_str()], since, filed)?);
        }
        Ok(found)
    }

    /// The times after `since` at which this person filed requests for others, newest first.
    pub fn filed_for_others(&self, filer: &Principal, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
        self.newest(FILED_FOR_OTHERS, [filer.member.login.as_str()], since, |_, at| Ok(at))
    }

    /// Edits that anyone made to this person's requests after `since`: the time of each, and the request as it is now.
    pub fn edits_for(&self, requester: &Principal, since: Timestamp) -> Result<Vec<Filed>, Error> {
        self.newest(EDITS_FOR, [requester.member.login.as_str(), Act::RequestEdited.action()], since, filed)
    }

    /// The times after `since` at which this person did something, newest first.
    pub fn acts(&self, person: &Principal, act: Act, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
        let values = params![person.member.login.as_str(), person.name.as_str(), person.since, act.action()];
        self.newest(ACTS, values, since, |_, at| Ok(at))
    }

    /// The number of pending requests that this person filed for themselves, not counting `except`.
    pub fn pending_filed(&self, filer: &Principal, except: RequestId, now: Timestamp) -> Result<u64, Error> {
        let login = &filer.member.login;
        let mut pending = 0;
        for name in self.names_of_login(&filer.name, Some(login))? {
            pending += self.count(PENDING, params![name.as_str(), login.as_str(), now.unix(), except.get()])?;
        }
        Ok(pending)
    }

    /// The number of pending requests that this person filed for others, not counting `except`.
    pub fn pending_filed_for_others(&self, filer: &Principal, except: RequestId, now: Timestamp) -> Result<u64, Error> {
        self.count(PENDING_FOR_OTHERS, params![filer.member.login.as_str(), now.unix(), except.get()])
    }

    /// The grants of the requester's emergencies for the same resource, after `since` and up to this request, newest first for
    /// each name.
    pub fn emergencies(&self, request: &Request, since: Timestamp) -> Result<Vec<Grant>, Error> {
        let login = request.requester_login.as_ref();
        let resource = request.details.asked.resource.to_string();
        let mut found = Vec::new();
        for name in self.names_of_login(&request.requester, login)? {
            let values = params![name.as_str(), login.map(Login::as_str), resource, request.id.get()];
            found.extend(self.newest(&emergencies(), values, since, |row, _| match row.get(1)? {
                true => row::maybe_grant(row, 2),
                false => Ok(None),
            })?);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// This person's emergencies that still need a review.
    pub fn reviews_owed_by(&self, requester: &Principal) -> Result<Vec<RequestId>, Error> {
        let values = params![requester.name.as_str(), requester.since, requester.member.login.as_str()];
        self.rows(OWED, values, |row| row::request_id(row, 0))
    }

    /// Reads rows whose first column is a time, newest first, up to the first that is not after `since`.
    pub(super) fn newest<T>(
        &self,
        sql: &str,
        values: impl Params,
        since: Timestamp,
        mut read: impl FnMut(&Row<'_>, Timestamp) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.statement(sql)?;
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
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        conn
    }

    /// A member with this name and login.
    fn person(name: &str, login: &str) -> Principal {
        let mut person = Principal::gone(name.parse().unwrap());
        person.member.login = login.parse().unwrap();
        person
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    /// Adds a request that was filed at this time. Logins equal names.
    fn file(conn: &Connection, requester: &str, filer: &str, seconds: i64) {
        conn.execute(
            "INSERT INTO request (state, requester, requester_login, filed_by, filer_login, resource, length, reason,
                 submitted_at, lapses_at)
             VALUES ('pending', ?1, ?1, ?2, ?2, 'connection:prod-aws', 3600, 'x', ?3, ?3 + 600)",
            params![requester, filer, seconds],
        )
        .unwrap();
    }

    #[test]
    fn each_query_uses_an_index() {
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
    fn rows_that_are_too_old_are_not_read() {
        let conn = empty();
        // An unreadable row, behind the first that is too old.
        file(&conn, "bob", "bob", 50);
        conn.execute("UPDATE request SET resource = 'nothing'", []).unwrap();
        file(&conn, "bob", "bob", 100);
        file(&conn, "bob", "bob", 200);
        file(&conn, "bob", "alice", 300);
        file(&conn, "carol", "alice", 400);
        let read = Read::new(&conn);
        let filed_for = |person, since| read.filed_for(&person, at(since));
        let times = |found: Vec<Filed>| found.into_iter().map(|filed| filed.at.unix()).collect::<Vec<_>>();
        assert_eq!(times(filed_for(person("bob", "bob"), 100).unwrap()), [300, 200]);
        assert!(filed_for(person("bob", "bob"), 10).is_err());
        let for_others = |person| read.filed_for_others(&person, at(100)).unwrap().len();
        assert_eq!((for_others(person("alice", "alice")), for_others(person("bob", "bob"))), (2, 0));
        let pending = |now| read.pending_filed(&person("bob", "bob"), RequestId::FIRST, at(now)).unwrap();
        assert_eq!((pending(600), pending(700), pending(800)), (2, 1, 0));
        let pending_for_others =
            |person, now| read.pending_filed_for_others(&person, RequestId::FIRST, at(now)).unwrap();
        let alice = || person("alice", "alice");
        assert_eq!((pending_for_others(alice(), 600), pending_for_others(alice(), 900)), (2, 1));
        assert_eq!(pending_for_others(person("bob", "bob"), 600), 0);
    }

    #[test]
    fn a_new_login_is_a_new_person_and_a_new_name_is_not() {
        let conn = empty();
        file(&conn, "bob", "bob", 100);
        file(&conn, "bob", "bob", 200);
        file(&conn, "carol", "bob", 300);
        let read = Read::new(&conn);
        for (name, login, theirs) in
            [("bob", "bob", true), ("robert", "bob", true), ("bob", "rob", false), ("robert", "rob", false)]
        {
            let person = person(name, login);
            let counts = [
                read.filed_for(&person, at(0)).unwrap().iter().filter(|filed| filed.own).count() as u64,
                read.pending_filed(&person, RequestId::try_from(9).unwrap(), at(0)).unwrap(),
                2 * read.filed_for_others(&person, at(0)).unwrap().len() as u64,
                2 * read.pending_filed_for_others(&person, RequestId::try_from(9).unwrap(), at(0)).unwrap(),
            ];
            assert_eq!(counts, [if theirs { 2 } else { 0 }; 4], "{name}, {login}");
        }
    }
}
