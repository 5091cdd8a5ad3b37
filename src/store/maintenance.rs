//! Looking after the file: what SQLite itself can say about it, and copies of it while it is in use.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};

use super::read::Read;
use super::{Error, Store, file, open, row, schema};
use crate::domain::time::Timestamp;

impl Read<'_> {
    /// What is wrong in the file's own structure: its schema, its pages, and whether every index says what its table
    /// says (`quick_check` does not look at that). Empty when nothing is.
    pub fn structural_faults(&self) -> Result<Vec<String>, Error> {
        let mut faults: Vec<String> = self.rows("PRAGMA integrity_check(10)", [], |row| Ok(row.get(0)?))?;
        faults.retain(|fault| fault != "ok");
        let schema = schema::differences(self.conn)?;
        if schema.is_empty() {
            self.check_partial_indexes(&mut faults)?;
        }
        faults.extend(schema.into_iter().map(|fault| format!("the database's schema was changed: {fault}")));
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

    /// That no partial index has more entries than its table has such rows. (That it has no fewer, `integrity_check`
    /// says; it counts the entries only of indexes that are not partial.)
    fn check_partial_indexes(&self, faults: &mut Vec<String>) -> Result<(), Error> {
        let sql = "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'";
        let indexes: Vec<(String, String, String)> =
            self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (index, table, made_by) in indexes {
            let condition = made_by.split_once(" WHERE ").map_or("1", |(_, condition)| condition);
            let count = |how: &str| self.count(&format!("SELECT count(*) FROM {table} {how} WHERE {condition}"), []);
            if count(&format!("INDEXED BY {index}"))? != count("NOT INDEXED")? {
                faults.push(format!("the index {index} does not have the entries that its table has"));
            }
        }
        Ok(())
    }

    /// When `expire` last ran.
    pub fn expire_ran_at(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.one("SELECT expire_ran_at FROM team", [], |row| row::maybe_time(row, 0))?.flatten())
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
            let _turn = if self.conn.is_none() { Some(file::LockFile::wait_for(&self.path)?) } else { None };
            let from = self.connection(open::connect_alone)?;
            let backup = Backup::new(&from, &mut conn)?;
            // All pages in one step: one consistent state, and writers don't wait for it.
            let copied = backup.step(-1)?;
            drop(backup);
            match copied {
                StepResult::Done => Ok(conn),
                // What was copied then is nothing, or not all.
                _ => Err(Error::Busy),
            }
        };
        let store = Store { conn: Some(copy()?), path: draft.to_owned() };
        store.read(proven)?;
        Ok(store.checkpoint_and_close()?)
    }

    /// The number of the file system that the file is on, if nothing is known of it.
    pub fn unknown_file_system(&self) -> Result<Option<String>, Error> {
        file::unknown_file_system(&self.path)
    }
}

/// The name of a file that is not there yet, in a folder that nobody else can write. For root, who fills it with a copy
/// that was made as another user.
pub struct NewFile {
    path: PathBuf,
}

impl NewFile {
    pub fn at(path: &Path) -> Result<NewFile, Error> {
        Ok(NewFile { path: file::vacant(path)? })
    }

    /// Makes the file, with what is read from this one. It appears whole or not at all.
    pub fn fill(self, from: &mut File) -> Result<PathBuf, Error> {
        let draft = file::beside(&self.path, &format!(".new-{}", std::process::id()));
        file::remove_draft(&draft);
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
        let written = open.and_then(|mut to| std::io::copy(from, &mut to).and_then(|_| to.sync_all()));
        let made =
            written.map_err(|error| file::io(&draft, &error)).and_then(|()| file::move_into_place(&draft, &self.path));
        file::remove_draft(&draft);
        made.map(|()| self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::*;

    #[test]
    fn a_copy_of_a_database_that_stays_busy_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.db");
        Store::create(&path, |_| Ok::<(), Error>(())).unwrap();
        let store = Store::open(&path).unwrap();
        // A journal of the old kind, with which a writer keeps readers out.
        let conn = store.conn.as_ref().unwrap();
        conn.pragma_update(None, "journal_mode", "DELETE").unwrap();
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        let writer = open::connect(&path).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let to = folder.path().join("copy.db");
        let mut looked_at = false;
        let copied = store.copy_to(&to, |_| {
            looked_at = true;
            Ok::<(), Error>(())
        });
        assert!(matches!(copied, Err(Error::Busy)), "{copied:?}");
        assert!(!looked_at && !to.exists());
        writer.execute_batch("COMMIT").unwrap();
        store.copy_to(&to, |_| Ok::<(), Error>(())).unwrap();
    }
}
