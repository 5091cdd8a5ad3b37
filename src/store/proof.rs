//! The tables as they stand, row by row, for holding against the log. A row that can't be read is no failure here: it
//! is handed on as what it is, with its key.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Row;

use super::read::Read;
use super::{Error, row};
use crate::domain::audit::Hash;
use crate::domain::name::Name;
use crate::domain::notification::{Notice, Told};
use crate::domain::request::{Decision, Grant, Request};
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

/// A row, or why it can't be read.
type Unsure<T> = Result<T, String>;

fn unsure<T>(read: Result<T, Error>) -> Unsure<T> {
    read.map_err(|error| Failure::from(error).message)
}

impl Read<'_> {
    /// Every row of the log, in order.
    pub fn each_raw_entry(&self, mut each: impl FnMut(Raw<'_>)) -> Result<(), Error> {
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
            });
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

    /// Every request by number, without its decisions and its grant.
    pub fn each_request(&self, each: impl FnMut(i64, Unsure<Request>)) -> Result<(), Error> {
        let nothing = [const { "NULL" }; row::GRANT_COLUMNS].join(", ");
        let sql = format!("SELECT {}, {nothing} FROM request r ORDER BY r.id", row::REQUEST);
        self.each(&sql, row::request, each)
    }

    /// Every grant by number.
    pub fn each_grant(&self, each: impl FnMut(i64, Unsure<Grant>)) -> Result<(), Error> {
        let sql = format!("SELECT {} FROM grant g ORDER BY g.request", row::GRANT);
        self.each(&sql, |row| row::grant(row, 0), each)
    }

    /// Every decision, by the entry that records it, with its request.
    pub fn each_decision(&self, each: impl FnMut(i64, Unsure<(i64, Decision)>)) -> Result<(), Error> {
        let sql = format!("SELECT seq, {} FROM decision ORDER BY seq", row::DECISION);
        self.each(&sql, |row| Ok((row.get(8)?, row::decision(row, 1)?)), each)
    }

    /// Every notification by number: the entry it tells of, and who is told.
    pub fn each_notification(&self, each: impl FnMut(i64, Unsure<(i64, Told)>)) -> Result<(), Error> {
        let sql = "SELECT id, seq, member, kind FROM notification ORDER BY id";
        let told = |row: &Row<'_>| -> Result<(i64, Told), Error> {
            Ok((row.get(1)?, Told(row::parsed(row, 2)?, row::parsed::<Notice>(row, 3)?)))
        };
        self.each(sql, told, each)
    }

    /// Rows whose first column is their key.
    fn each<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
        mut each: impl FnMut(i64, Unsure<T>),
    ) -> Result<(), Error> {
        let mut statement = self.conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, unsure(read(row)));
        }
        Ok(())
    }
}
