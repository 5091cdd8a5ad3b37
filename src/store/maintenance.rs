//! Checks of the file's structure, and copies of it while it is in use.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};

use super::read::Read;
use super::{Error, Store, file, open, row, schema};
use crate::domain::time::Timestamp;

impl Read<'_> {
    /// Checks the file's schema, its pages, and that indexes agree with their tables (which `quick_check` does not). Returns
    /// what is wrong. If the schema was changed that is all: the other checks would evaluate what was put into it.
    pub fn structural_faults(&self) -> Result<Vec<String>, Error> {
        let schema = schema::differences(self.conn)?;
        if !schema.is_empty() {
            let changed = |fault| format!("the database's schema was changed: {fault}");
            return Ok(schema.into_iter().map(changed).collect());
        }
        let mut faults: Vec<String> = self.rows("PRAGMA integrity_check(10)", [], |row| Ok(row.get(0)?))?;
        faults.retain(|fault| fault != "ok");
        self.check_partial_indexes(&mut faults)?;
        let mut statement = self.statement("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        let most = faults.len() + 10;
        while let Some(row) = rows.next()?
            && faults.len() < most
        {
            let (table, id, points_to): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let id = id.map(|id| format!(" {id}")).unwrap_or_default();
            faults.push(format!("{table}{id} refers to a row of {points_to} that does not exist"));
        }
        Ok(faults)
    }

    /// Checks that no partial index has more entries than its table has matching rows. `integrity_check` finds missing entries,
    /// but surplus ones only in indexes that are not partial.
    fn check_partial_indexes(&self, faults: &mut Vec<String>) -> Result<(), Error> {
        let sql = "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'";
        let indexes: Vec<(String, String, String)> =
            self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (index, table, made_by) in indexes {
            let condition = made_by.split_once(" WHERE ").map_or("1", |(_, condition)| condition);
            let count = |how: &str| self.count(&format!("SELECT count(*) FROM {table} {how} WHERE {condition}"), []);
            if count(&format!("INDEXED BY {index}"))? != count("NOT INDEXED")? {
                faults.push(format!("the index {index} disagrees with its table"));
            }
        }
        Ok(())
    }

    /// The last time that `expire` ran.
    pub fn expire_ran_at(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.one("SELECT expire_ran_at FROM team", [], |row| row::maybe_time(row, 0))?.flatten())
    }
}

impl Store {
    /// The versions of SQLite and of the schema.
    pub fn versions(&self) -> (String, u32) {
        (rusqlite::version().to_owned(), open::VERSION)
    }

    /// Copies the database into a new file with mode 0600, if `verify` accepts the copy. The file appears complete or not at all.
    /// Returns its path and its size in bytes.
    pub fn copy_to<E: From<Error>>(
        &self,
        to: &Path,
        verify: impl FnOnce(&Read<'_>) -> Result<(), E>,
    ) -> Result<(PathBuf, u64), E> {
        let to = file::vacant(to)?;
        let draft = file::beside(&to, &format!(".new-{}", std::process::id()));
        let made = self.copy_into(&draft, verify).and_then(|()| Ok(file::move_into_place(&draft, &to)?));
        file::remove_draft(&draft);
        made?;
        let size = fs::metadata(&to).map_err(|error| file::io(&to, &error))?.len();
        Ok((to, size))
    }

    fn copy_into<E: From<Error>>(
        &self,
        draft: &Path,
        verify: impl FnOnce(&Read<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A run that was killed may have left a draft with this name.
        file::remove_draft(draft);
        file::create_private(draft)?;
        let copy = || -> Result<rusqlite::Connection, Error> {
            let mut conn = open::connect(draft)?;
            let _turn = if self.conn.is_none() { Some(file::LockFile::wait_for(&self.path)?) } else { None };
            let from = self.connection(open::connect_alone)?;
            let backup = Backup::new(&from, &mut conn)?;
            // Copying all pages in one step gives a consistent state without blocking writers.
            let copied = backup.step(-1)?;
            drop(backup);
            match copied {
                StepResult::Done => Ok(conn),
                // The copy is incomplete.
                _ => Err(Error::Busy),
            }
        };
        let store = Store { engine: None, conn: Some(copy()?), path: draft.to_owned() };
        store.read(verify)?;
        Ok(store.checkpoint_and_close()?)
    }

    /// The number of the file system that the database is on, if access does not know it.
    pub fn unknown_file_system(&self) -> Result<Option<String>, Error> {
        file::unknown_file_system(&self.path)
    }
}

/// A file that does not exist yet, in a folder that nobody else can write. Root fills it with a copy that was made as another
/// user.
pub struct NewFile {
    path: PathBuf,
}

impl NewFile {
    pub fn at(path: &Path) -> Result<NewFile, Error> {
        Ok(NewFile { path: file::vacant(path)? })
    }

    /// Creates the file with the content of another. It appears complete or not at all.
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
    fn a_backup_of_a_busy_database_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.db");
        Store::create(&path, |_| Ok::<(), Error>(())).unwrap();
        let store = Store::open(&path).unwrap();
        // With a rollback journal a writer blocks readers.
        let conn = store.conn.as_ref().unwrap();
        conn.pragma_update(None, "journal_mode", "DELETE").unwrap();
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        let writer = open::connect(&path).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let to = folder.path().join("copy.db");
        let mut verified = false;
        let copied = store.copy_to(&to, |_| {
            verified = true;
            Ok::<(), Error>(())
        });
        assert!(matches!(copied, Err(Error::Busy)), "{copied:?}");
        assert!(!verified && !to.exists());
        writer.execute_batch("COMMIT").unwrap();
        store.copy_to(&to, |_| Ok::<(), Error>(())).unwrap();
    }
}
