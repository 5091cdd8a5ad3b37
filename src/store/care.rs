//! Looking after the file: what SQLite itself can say about it, and copies of it while it is in use.

use std::fs;
use std::path::{Path, PathBuf};

use super::read::Read;
use super::{Error, Store, file, open, row};
use crate::domain::time::Timestamp;

impl Read<'_> {
    /// What SQLite finds wrong in the file's own structure; empty when nothing is.
    pub fn structural_faults(&self) -> Result<Vec<String>, Error> {
        let mut faults: Vec<String> = self.rows("PRAGMA quick_check(10)", [], |row| Ok(row.get(0)?))?;
        faults.retain(|fault| fault != "ok");
        let mut statement = self.conn.prepare_cached("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        let most = faults.len() + 10;
        while let Some(row) = rows.next()?
            && faults.len() < most
        {
            let (table, id, points_to): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let id = id.map(|id| format!(" {id}")).unwrap_or_default();
            faults.push(format!("{table}{id} points to a row of {points_to} that is not there"));
        }
        Ok(faults)
    }

    /// When `expire` last ran.
    pub fn expire_ran_at(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.one("SELECT expire_ran_at FROM team", [], |row| row::maybe_time(row, 0))?.flatten())
    }

    /// How many grants wait for their end to be recorded, or will.
    pub fn time_bound_grants(&self) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM grant WHERE ended_at IS NULL AND ends_at IS NOT NULL", [])
    }
}

impl Store {
    /// The versions of SQLite and of the schema.
    pub fn versions(&self) -> (String, u32) {
        (rusqlite::version().to_owned(), open::VERSION)
    }

    /// Copies the database as it stands now into a new file, 0600, that `proven` finds whole. The file appears whole
    /// or not at all. Gives its size in bytes.
    pub fn copy_to<E: From<Error>>(
        &self,
        to: &Path,
        proven: impl FnOnce(&Read<'_>) -> Result<(), E>,
    ) -> Result<(PathBuf, u64), E> {
        let to = file::vacant(to)?;
        let draft = file::beside(&to, &format!(".new-{}", std::process::id()));
        let made = self.copy_into(&draft, proven).and_then(|()| Ok(file::move_into_place(&draft, &to)?));
        file::remove_draft(&draft);
        made?;
        let size = fs::metadata(&to).map_err(|error| file::io(&to, &error))?.len();
        Ok((to, size))
    }

    fn copy_into<E: From<Error>>(
        &self,
        draft: &Path,
        proven: impl FnOnce(&Read<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A run that was killed may have left one of this name.
        file::remove_draft(draft);
        file::create_private(draft)?;
        let copy = || -> Result<rusqlite::Connection, Error> {
            let mut conn = open::connect(draft)?;
            let backup = rusqlite::backup::Backup::new(&self.conn, &mut conn)?;
            // All pages in one step: one consistent state, and writers don't wait for it.
            backup.step(-1)?;
            drop(backup);
            Ok(conn)
        };
        let store = Store { conn: copy()?, path: draft.to_owned() };
        store.read(proven)?;
        store.conn.close().map_err(|(_, error)| Error::from(error))?;
        file::sync(draft)?;
        Ok(())
    }
}
