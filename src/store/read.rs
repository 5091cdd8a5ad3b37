//! What all queries share. The queries themselves are in the file of their subject, as methods of `Read`.

use rusqlite::{CachedStatement, Connection, Params, Row};

use super::{Error, schema};

/// One consistent state of the database.
pub struct Read<'c> {
    pub(super) conn: &'c Connection,
}

/// A page of a list.
pub struct Page<T> {
    pub rows: Vec<T>,
    /// No page follows.
    pub last: bool,
}

/// The most rows of a page.
pub(super) const PAGE: usize = 500;

/// Fails if a row that an index found does not have the indexed values. In a file that was tampered with, an index can differ
/// from its table.
pub(super) fn agree(same: bool, index: &str) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::damaged(format!("the index {index} disagrees with its table"))) }
}

/// The value of a `LIMIT`, which SQLite takes as a signed integer.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

impl<'c> Read<'c> {
    pub(super) fn new(conn: &'c Connection) -> Read<'c> {
        Read { conn }
    }

    pub(super) fn statement(&self, sql: &str) -> Result<CachedStatement<'c>, Error> {
        self.conn.prepare_cached(sql).map_err(|error| schema::unprepared(self.conn, error))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    pub(super) fn count(&self, sql: &str, params: impl Params) -> Result<u64, Error> {
        let count: i64 = self.statement(sql)?.query_row(params, |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}
