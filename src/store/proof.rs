//! Reads the tables row by row, for `audit verify` to compare with the log. A row that can't be read does not fail the query: it is
//! passed on with its key and the reason.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Row;

use super::certificates::{CERTIFICATE, certificate};
use super::provisioning::{PROVISIONING, provisioning};
use super::read::Read;
use super::recertifications::{RECERTIFICATION, RECERTIFICATION_ITEM, recertification, recertification_item};
use super::sessions::{SESSION, session};
use super::{Error, row};
use crate::domain::audit::Hash;
use crate::domain::certificate::IssuedCertificate;
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::provisioning::Provisioning;
use crate::domain::recertification::{Recertification, RecertificationItem};
use crate::domain::request::{Decision, Request};
use crate::domain::session::RecordedSession;
use crate::error::Failure;

/// A row of the log as it is stored: the body that was hashed, and the columns beside it, which may not be valid text.
pub struct RawEntry<'r> {
    pub seq: i64,
    pub at: i64,
    pub actor: Option<&'r [u8]>,
    pub os_user: &'r [u8],
    pub action: &'r [u8],
    pub request: Option<i64>,
    /// None if it does not have the length of a hash.
    pub hash: Option<Hash>,
    pub body: &'r [u8],
}

/// A table that follows from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    Request,
    Decision,
    Grant,
    Notification,
    Provisioning,
    Certificate,
    Session,
    Recertification,
    RecertificationItem,
}

/// A row's key: the number of its request, notification, recertification or entry; for a decision also the entry that records
/// it, and for an item of a recertification its own number.
pub type RowKey = (i64, i64);

/// The first and last number of a range.
#[derive(Debug, Clone, Copy)]
pub struct Between(pub i64, pub i64);

/// Called for each row, with its key, and with the reason if it can't be read.
pub type EachRow<'e, T> = &'e mut dyn FnMut(RowKey, Result<T, String>);

impl Projection {
    pub const ALL: [Projection; 9] = [
        Projection::Request,
        Projection::Decision,
        Projection::Grant,
        Projection::Notification,
        Projection::Provisioning,
        Projection::Certificate,
        Projection::Session,
        Projection::Recertification,
        Projection::RecertificationItem,
    ];

    fn name(self) -> &'static str {
        match self {
            Projection::Request => "request",
            Projection::Decision => "decision",
            Projection::Grant => "grant",
            Projection::Notification => "notification",
            Projection::Provisioning => "provisioning",
            Projection::Certificate => "certificate",
            Projection::Session => "session",
            Projection::Recertification => "recertification",
            Projection::RecertificationItem => "recertification_item",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Projection::Request | Projection::Notification | Projection::Recertification => "id, id",
            Projection::Decision => "request, seq",
            Projection::Grant => "request, request",
            Projection::RecertificationItem => "recertification, number",
            Projection::Provisioning | Projection::Certificate | Projection::Session => "seq, seq",
        }
    }
}

impl Read<'_> {
    /// Reads the whole log, in order.
    pub fn each_raw_entry(&self, each: impl FnMut(RawEntry<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.each_raw_entry_after(0, each)
    }

    pub(super) fn each_raw_entry_after(
        &self,
        seq: i64,
        mut each: impl FnMut(RawEntry<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let sql = "SELECT seq, at, actor, os_user, action, request, hash, body FROM event WHERE seq > ?1 ORDER BY seq";
        let mut statement = self.conn.prepare(sql)?;
        let mut rows = statement.query([seq])?;
        while let Some(row) = rows.next()? {
            let bytes = |column| -> Result<&[u8], Error> { row.get_ref(column)?.as_bytes().map_err(Error::damaged) };
            each(RawEntry {
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

    /// The number of the last entry, as stored outside the log.
    pub fn last_seq(&self) -> Result<Option<i64>, Error> {
        self.one("SELECT last_seq FROM team", [], |row| Ok(row.get(0)?))
    }

    /// For each member, the entry that added them.
    pub fn members_since(&self) -> Result<BTreeMap<Name, i64>, Error> {
        let rows = self.rows("SELECT name, since FROM member", [], |row| Ok((row::parsed(row, 0)?, row.get(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// All memberships, as member and group.
    pub fn memberships(&self) -> Result<BTreeSet<(String, String)>, Error> {
        self.pairs("SELECT member, group_name FROM membership")
    }

    /// All assignments, as assignee and scope.
    pub fn assignments(&self) -> Result<BTreeSet<(String, String)>, Error> {
        self.pairs("SELECT assignee, scope FROM assignment")
    }

    fn pairs(&self, sql: &str) -> Result<BTreeSet<(String, String)>, Error> {
        Ok(self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
    }

    /// Requests in the order of their numbers, without decisions and grants.
    pub fn requests_between(&self, numbers: Between, each: EachRow<'_, Request>) -> Result<(), Error> {
        let nothing = [const { "NULL" }; row::GRANT_COLUMNS].join(", ");
        let sql = format!(
            "SELECT r.id, r.id, {}, {nothing} FROM request r WHERE r.id BETWEEN ?1 AND ?2 ORDER BY r.id",
            row::REQUEST
        );
        self.each(&sql, numbers, |row| row::request(row, 2), each)
    }

    /// Grants in the order of their requests' numbers.
    pub fn grants_between(&self, numbers: Between, each: EachRow<'_, Grant>) -> Result<(), Error> {
        let sql = format!(
            "SELECT g.request, g.request, {} FROM grant g WHERE g.request BETWEEN ?1 AND ?2 ORDER BY g.request",
            row::GRANT
        );
        self.each(&sql, numbers, |row| row::grant(row, 2), each)
    }

    /// Decisions in the order of their requests' numbers, then of the entries that record them.
    pub fn decisions_between(&self, numbers: Between, each: EachRow<'_, Decision>) -> Result<(), Error> {
        let sql = format!(
            "SELECT request, seq, {} FROM decision WHERE request BETWEEN ?1 AND ?2 ORDER BY request, seq",
            row::DECISION
        );
        self.each(&sql, numbers, |row| row::decision(row, 2), each)
    }

    /// Notifications in the order of their numbers: the entry that each is about, and its recipient.
    pub fn notifications_between(&self, numbers: Between, each: EachRow<'_, (i64, Recipient)>) -> Result<(), Error> {
        let sql = "SELECT id, id, seq, member, kind FROM notification WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let notification = |row: &Row<'_>| -> Result<(i64, Recipient), Error> {
            Ok((row.get(2)?, Recipient(row::parsed(row, 3)?, row::parsed::<NotificationKind>(row, 4)?)))
        };
        self.each(sql, numbers, notification, each)
    }

    /// What connectors gave and found, in the order of the entries that began it.
    pub fn provisioning_between(&self, numbers: Between, each: EachRow<'_, Provisioning>) -> Result<(), Error> {
        let sql = format!(
            "SELECT p.seq, p.seq, {PROVISIONING} FROM provisioning p WHERE p.seq BETWEEN ?1 AND ?2 ORDER BY p.seq"
        );
        self.each(&sql, numbers, |row| provisioning(row, 2), each)
    }

    /// Certificates in the order of the entries that record them.
    pub fn certificates_between(&self, numbers: Between, each: EachRow<'_, IssuedCertificate>) -> Result<(), Error> {
        let sql = format!(
            "SELECT c.seq, c.seq, {CERTIFICATE} FROM certificate c WHERE c.seq BETWEEN ?1 AND ?2 ORDER BY c.seq"
        );
        self.each(&sql, numbers, |row| certificate(row, 2), each)
    }

    /// Sessions, in the order of the entries that opened them.
    pub fn sessions_between(&self, numbers: Between, each: EachRow<'_, RecordedSession>) -> Result<(), Error> {
        let sql = format!("SELECT s.seq, s.seq, {SESSION} FROM session s WHERE s.seq BETWEEN ?1 AND ?2 ORDER BY s.seq");
        self.each(&sql, numbers, |row| session(row, 2), each)
    }

    /// Recertifications in the order of their numbers, without their items.
    pub fn recertifications_between(&self, numbers: Between, each: EachRow<'_, Recertification>) -> Result<(), Error> {
        let sql = format!(
            "SELECT c.id, c.id, {RECERTIFICATION} FROM recertification c WHERE c.id BETWEEN ?1 AND ?2 ORDER BY c.id"
        );
        self.each(&sql, numbers, |row| recertification(row, 2), each)
    }

    /// The items of recertifications, in the order of both numbers.
    pub fn items_between(&self, numbers: Between, each: EachRow<'_, RecertificationItem>) -> Result<(), Error> {
        let sql = format!(
            "SELECT recertification, number, {RECERTIFICATION_ITEM} FROM recertification_item
             WHERE recertification BETWEEN ?1 AND ?2 ORDER BY recertification, number"
        );
        self.each(&sql, numbers, |row| recertification_item(row, 2), each)
    }

    fn each<T>(
        &self,
        sql: &str,
        Between(first, last): Between,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
        each: EachRow<'_, T>,
    ) -> Result<(), Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            each((row.get(0)?, row.get(1)?), read(row).map_err(|error| Failure::from(error).message));
        }
        Ok(())
    }

    /// The number of rows of a table, counted without an index, which may disagree with it.
    pub fn count_rows(&self, table: Projection) -> Result<u64, Error> {
        self.count(&format!("SELECT count(*) FROM {} NOT INDEXED", table.name()), [])
    }

    /// Reads the keys of all rows of a table.
    pub fn each_key(&self, table: Projection, mut each: impl FnMut(RowKey)) -> Result<(), Error> {
        let mut statement = self.conn.prepare(&format!("SELECT {} FROM {} NOT INDEXED", table.key(), table.name()))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each((row.get(0)?, row.get(1)?));
        }
        Ok(())
    }
}
