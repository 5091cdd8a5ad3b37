//! What can be read. Each function is one question; what the answer means is for the domain to say.

use rusqlite::{Connection, Params, Row};

use super::Error;

/// One consistent state of the database.
pub struct Read<'c> {
    pub(super) conn: &'c Connection,
}

/// Where a page of a list ends: the next one begins below.
pub struct Page<T> {
    pub rows: Vec<T>,
    pub last: bool,
}

/// Rows of a page: enough that the cost of a query is shared, few enough to be held.
pub(super) const PAGE: usize = 500;

/// Refuses a row that differs from what its index says.
pub(super) fn agree(same: bool, index: &str) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::damaged(format!("the index {index} disagrees with its table"))) }
}

/// SQLite takes no limit beyond its own integers.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

impl<'c> Read<'c> {
    pub(super) fn new(conn: &'c Connection) -> Read<'c> {
        Read { conn }
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
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
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    pub(super) fn count(&self, sql: &str, params: impl Params) -> Result<u64, Error> {
        let count: i64 = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}
