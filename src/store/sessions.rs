//! The sessions that people opened with their access, by the log.

use rusqlite::{Row, params};

use super::project::{one, to_json};
use super::read::{Read, agree, limit};
use super::{Error, Write, row};
use crate::domain::event::Entry;
use crate::domain::name::Name;
use crate::domain::session::{ClosedSession, OpenedSession, RecordedSession, SessionEnd};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The columns of a row, in the order in which `session` reads them.
pub(super) const SESSION: &str = "s.seq, s.request, s.member, s.opened, s.opened_at, s.closed_at, s.how";

pub(super) fn session(row: &Row<'_>, column: usize) -> Result<RecordedSession, Error> {
    let opened: OpenedSession = row::json(row, column + 3)?;
    let (request, member): (Option<i64>, String) = (row.get(column + 1)?, row.get(column + 2)?);
    if request != opened.request.map(RequestId::get) || member != opened.member.as_str() {
        return Err(Error::damaged("a session is listed as one of another request or member"));
    }
    let closed = match row::maybe_time(row, column + 5)? {
        None => None,
        Some(at) => {
            let how: String = row.get(column + 6)?;
            let known = SessionEnd::ALL.into_iter().find(|known| known.as_str() == how);
            Some((at, known.ok_or_else(|| Error::damaged(format!("a session that is {how:?}")))?))
        }
    };
    Ok(RecordedSession { seq: row.get(column)?, opened, at: row::time(row, column + 4)?, closed })
}

impl Read<'_> {
    /// The last sessions under a grant, newest first, and how many there are.
    pub fn sessions_of(&self, request: RequestId, most: usize) -> Result<(Vec<RecordedSession>, u64), Error> {
        let sql = format!("SELECT {SESSION} FROM session s WHERE s.request = ?1 ORDER BY s.seq DESC LIMIT ?2");
        let sessions = self.rows(&sql, params![request.get(), limit(most)], |row| session(row, 0))?;
        agree(sessions.iter().all(|found| found.opened.request == Some(request)), "session_by_request")?;
        let count = self.count("SELECT count(*) FROM session WHERE request = ?1", [request.get()])?;
        Ok((sessions, count))
    }

    /// All sessions that nobody closed, in the order in which they were opened.
    pub fn open_sessions(&self) -> Result<Vec<RecordedSession>, Error> {
        let sql = format!("SELECT {SESSION} FROM session s WHERE s.closed_at IS NULL ORDER BY s.seq");
        let sessions = self.rows(&sql, [], |row| session(row, 0))?;
        agree(sessions.iter().all(|found| found.closed.is_none()), "session_open")?;
        Ok(sessions)
    }

    pub fn open_session(&self, seq: i64) -> Result<Option<RecordedSession>, Error> {
        let sql = format!("SELECT {SESSION} FROM session s WHERE s.seq = ?1 AND s.closed_at IS NULL");
        self.one(&sql, [seq], |row| session(row, 0))
    }

    /// How many sessions of a member were opened after this time.
    pub fn sessions_since(&self, member: &Name, since: Timestamp) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM session WHERE member = ?1 AND opened_at > ?2";
        self.count(sql, params![member.as_str(), since.unix()])
    }
}

impl Write<'_> {
    pub(super) fn project_opened_session(&self, entry: &Entry, opened: &OpenedSession) -> Result<(), Error> {
        one(
            self,
            "INSERT INTO session (seq, request, member, opened, opened_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                entry.seq,
                opened.request.map(RequestId::get),
                opened.member.as_str(),
                to_json(opened)?,
                entry.at.unix()
            ],
        )
    }

    pub(super) fn project_closed_session(&self, entry: &Entry, closed: &ClosedSession) -> Result<(), Error> {
        let sql = "UPDATE session SET closed_at = ?2, how = ?3 WHERE seq = ?1 AND closed_at IS NULL";
        one(self, sql, params![closed.session, entry.at.unix(), closed.how.as_str()])
    }
}
