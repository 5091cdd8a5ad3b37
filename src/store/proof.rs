//! The tables as they stand, row by row, for comparison with the log. A row that can't be read is no failure here: it
//! is handed on with its key and the reason.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Row;

use super::read::Read;
use super::{Error, row};
use crate::domain::audit::Hash;
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::request::{Decision, Request};
use crate::error::Failure;

/// A row of the log: the bytes that were hashed, and the copies beside them, all as they are, text or not.
pub struct Raw<'r> {
    pub seq: i64,
    pub at: i64,
    pub actor: Option<&'r [u8]>,
    pub os_user: &'r [u8],
    pub action: &'r [u8],
    pub request: Option<i64>,
    /// None: it has not the length of one.
    pub hash: Option<Hash>,
    pub body: &'r [u8],
}

/// A table that follows from the log, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Request,
    Decision,
    Grant,
    Notification,
}

/// A row's key: the number of the request or notification, and for a decision the entry that records it.
pub type Key = (i64, i64);

/// The numbers from the first to the last.
#[derive(Debug, Clone, Copy)]
pub struct Between(pub i64, pub i64);

/// Takes a row.
pub type Each<'e, T> = &'e mut dyn FnMut(Key, Result<T, String>);

impl Table {
    pub const ALL: [Table; 4] = [Table::Request, Table::Decision, Table::Grant, Table::Notification];

    fn name(self) -> &'static str {
        match self {
            Table::Request => "request",
            Table::Decision => "decision",
            Table::Grant => "grant",
            Table::Notification => "notification",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Table::Request | Table::Notification => "id, id",
            Table::Decision => "request, seq",
            Table::Grant => "request, request",
        }
    }
}

/// A row, or why it can't be read.
type Unsure<T> = Result<T, String>;

fn unsure<T>(read: Result<T, Error>) -> Unsure<T> {
    read.map_err(|error| Failure::from(error).message)
}

impl Read<'_> {
    /// Every row of the log, in order.
    pub fn each_raw_entry(&self, mut each: impl FnMut(Raw<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut statement =
            self.conn.prepare("SELECT seq, at, actor, os_user, action, request, hash, body FROM event ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes = |column| -> Result<&[u8], Error> { row.get_ref(column)?.as_bytes().map_err(Error::damaged) };
            each(Raw {
                seq: row.get(0)?,
                at: row.get(1)?,
                actor: row.get_ref(2)?.as_bytes_or_null().map_err(Error::damaged)?,
                os_user: bytes(3)?,
                action: bytes(4)?,
                request: row.get(5)?,
                hash: bytes(6)?.try_into().ok(),
                body: bytes(7)?,
            })?;
        }
        Ok(())
    }

    /// The number of the last entry, as the tables have it.
    pub fn last_seq(&self) -> Result<Option<i64>, Error> {
        self.one("SELECT last_seq FROM team", [], |row| Ok(row.get(0)?))
    }

    /// The entry that brought each member.
    pub fn members_since(&self) -> Result<BTreeMap<Name, i64>, Error> {
        let rows = self.rows("SELECT name, since FROM member", [], |row| Ok((row::parsed(row, 0)?, row.get(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// Member and group, for each membership.
    pub fn memberships(&self) -> Result<BTreeSet<(String, String)>, Error> {
        self.pairs("SELECT member, group_name FROM membership")
    }

    /// Assignee and scope, for each assignment.
    pub fn assignments(&self) -> Result<BTreeSet<(String, String)>, Error> {
        self.pairs("SELECT assignee, scope FROM assignment")
    }

    fn pairs(&self, sql: &str) -> Result<BTreeSet<(String, String)>, Error> {
        Ok(self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
    }

    /// Requests by number, without their decisions and their grants.
    pub fn requests_between(&self, numbers: Between, each: Each<'_, Request>) -> Result<(), Error> {
        let nothing = [const { "NULL" }; row::GRANT_COLUMNS].join(", ");
        let sql = format!(
            "SELECT r.id, r.id, {}, {nothing} FROM request r WHERE r.id BETWEEN ?1 AND ?2 ORDER BY r.id",
            row::REQUEST
        );
        self.each(&sql, numbers, |row| row::request(row, 2), each)
    }

    /// Grants by the number of their request.
    pub fn grants_between(&self, numbers: Between, each: Each<'_, Grant>) -> Result<(), Error> {
        let sql = format!(
            "SELECT g.request, g.request, {} FROM grant g WHERE g.request BETWEEN ?1 AND ?2 ORDER BY g.request",
            row::GRANT
        );
        self.each(&sql, numbers, |row| row::grant(row, 2), each)
    }

    /// Decisions by the number of their request, and by the entry that records each.
    pub fn decisions_between(&self, numbers: Between, each: Each<'_, Decision>) -> Result<(), Error> {
        let sql = format!(
            "SELECT request, seq, {} FROM decision WHERE request BETWEEN ?1 AND ?2 ORDER BY request, seq",
            row::DECISION
        );
        self.each(&sql, numbers, |row| row::decision(row, 2), each)
    }

    /// Notifications by number: the entry each tells of, and who is told.
    pub fn notifications_between(&self, numbers: Between, each: Each<'_, (i64, Recipient)>) -> Result<(), Error> {
        let sql = "SELECT id, id, seq, member, kind FROM notification WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let told = |row: &Row<'_>| -> Result<(i64, Recipient), Error> {
            Ok((row.get(2)?, Recipient(row::parsed(row, 3)?, row::parsed::<NotificationKind>(row, 4)?)))
        };
        self.each(sql, numbers, told, each)
    }

    fn each<T>(
        &self,
        sql: &str,
        Between(first, last): Between,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
        each: Each<'_, T>,
    ) -> Result<(), Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            each((row.get(0)?, row.get(1)?), unsure(read(row)));
        }
        Ok(())
    }

    /// How many rows a table has: counted in the table itself, since an index may not agree with it.
    pub fn count_rows(&self, table: Table) -> Result<u64, Error> {
        self.count(&format!("SELECT count(*) FROM {} NOT INDEXED", table.name()), [])
    }

    /// The key of every row of a table.
    pub fn each_key(&self, table: Table, mut each: impl FnMut(Key)) -> Result<(), Error> {
        let mut statement = self.conn.prepare(&format!("SELECT {} FROM {} NOT INDEXED", table.key(), table.name()))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each((row.get(0)?, row.get(1)?));
        }
        Ok(())
    }
}
