//! Opens and creates the database, and migrates its schema.
//!
//! | setting | why |
//! | --- | --- |
//! | WAL | readers never wait for a writer, and a writer never waits for them |
//! | `synchronous=FULL` | what was acknowledged survives a power loss (`NORMAL` while a copy catches up: see `shared`) |
//! | `foreign_keys` | no row can point nowhere |
//! | `harden` | a crafted file cannot use the parts of SQLite that access does not use |
//! | `temp_store=MEMORY` | nothing is written to another folder |
//! | `cache_size` 2 MB | a command touches few pages; `expire` touches many and gets 16 MB, a copy that catches up 32 MB |
//! | QPSG | plans do not depend on bound values, so no statement is prepared again for each row |

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{Error, Store, Write, commit, file, schema};

/// "accs", the `PRAGMA application_id` of our files.
const APPLICATION_ID: i32 = 0x6163_6373;

/// Each migrates the schema to the next version. Append only: databases of every older version exist.
pub(super) const MIGRATIONS: [&str; 4] = [
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];
/// The current version of the schema (`PRAGMA user_version`).
#[expect(clippy::cast_possible_truncation, reason = "there are few")]
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

impl Store {
    /// Opens an existing database, and migrates it if its version is older.
    pub fn open(path: &Path) -> Result<Store, Error> {
        let path = file::check(path)?;
        match connect(&path).and_then(|conn| Store::of(Some(conn), &path)) {
            // `check` has to work while the disk is full.
            Err(full @ Error::NoSharedMemory { .. }) => match Store::of(None, &path) {
                Err(Error::Io { .. }) => Err(full),
                tried => tried,
            },
            opened => opened,
        }
    }

    fn of(conn: Option<Connection>, path: &Path) -> Result<Store, Error> {
        let store = Store { engine: None, conn, path: path.to_owned() };
        let older = store.read(|read| check_version(read.conn, path))?;
        if older {
            store.migrate()?;
        }
        Ok(store)
    }

    /// Creates a database, in which `first` makes the first entries. The file appears complete or not at all.
    pub fn create<E: From<Error>>(path: &Path, first: impl FnOnce(&Write<'_>) -> Result<(), E>) -> Result<(), E> {
        let path = file::prepare(path)?;
        let draft = file::beside(&path, &format!(".new-{}", std::process::id()));
        let made = Store::create_at(&draft, first).and_then(|()| Ok(file::move_into_place(&draft, &path)?));
        file::remove_draft(&draft);
        made
    }

    fn create_at<E: From<Error>>(draft: &Path, first: impl FnOnce(&Write<'_>) -> Result<(), E>) -> Result<(), E> {
        let store = Store::draft_at(draft)?;
        store.write(first)?;
        Ok(store.checkpoint_and_close()?)
    }

    /// A new database without entries.
    pub(super) fn draft_at(draft: &Path) -> Result<Store, Error> {
        // A run that was killed may have left a draft with this name.
        file::remove_draft(draft);
        file::create_private(draft)?;
        let set_up = || -> Result<Connection, Error> {
            let conn = connect(draft)?;
            conn.pragma_update(None, "journal_mode", "WAL")?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            Ok(conn)
        };
        let store = Store { engine: None, conn: Some(set_up()?), path: draft.to_owned() };
        store.migrate()?;
        Ok(store)
    }

    /// Moves everything from the write-ahead log into the file, then closes it. The checkpoint can fail, for instance if the disk
    /// is full. Closing alone does not report that, and the draft would be renamed without the pages of the log.
    pub(super) fn checkpoint_and_close(self) -> Result<(), Error> {
        let Store { conn, path, .. } = self;
        let Some(conn) = conn else { return Ok(()) };
        let (busy, left): (bool, i64) =
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if busy {
            return Err(Error::Busy);
        }
        conn.close().map_err(|(_, error)| Error::from(error))?;
        let log = file::beside(&path, "-wal");
        if left > 0 || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(Error::Io { message: format!("{} could not be written completely", path.display()) });
        }
        file::sync(&path)
    }

    /// Closes the database. The last process to close it moves the write-ahead log into the file and deletes the log, which the
    /// next has to create again. So an empty log is kept.
    pub fn close(self) {
        let log = file::beside(&self.path, "-wal");
        let empty = || std::fs::metadata(&log).is_ok_and(|log| log.len() == 0);
        let Some(conn) = self.conn else { return };
        let kept = empty() && conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok();
        drop(conn);
        // Another process may have written to the log and closed first, so this was the last after all.
        if kept && !empty() {
            let _ = connect(&self.path);
        }
    }

    /// Refuses to write to a schema that this program did not make. Runs in the write transaction, since a newer program may
    /// have migrated the file after it was opened.
    pub(super) fn check_schema(&self, transaction: &Connection) -> Result<(), Error> {
        version(transaction, &self.path)?;
        schema::check(transaction)
    }

    fn migrate(&self) -> Result<(), Error> {
        let conn = self.connection(connect)?;
        let transaction = rusqlite::Transaction::new_unchecked(&conn, rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have migrated it first, and may be newer.
        let version = version(&transaction, &self.path)?;
        if version < VERSION {
            schema::check_older(&transaction, version)?;
        }
        for migration in MIGRATIONS.iter().skip(version as usize) {
            transaction.execute_batch(migration)?;
        }
        if version < VERSION {
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        schema::check(&transaction)?;
        commit(transaction)
    }
}

/// Whether the database has to be migrated.
fn check_version(conn: &Connection, path: &Path) -> Result<bool, Error> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let shown = path.display();
    if application != APPLICATION_ID {
        return Err(Error::Invalid {
            message: format!("{shown} is another program's database"),
            hint: "name the right file with --db".to_owned(),
        });
    }
    Ok(version(conn, path)? < VERSION)
}

/// The version of the schema. Fails if it is newer than this program's.
fn version(conn: &Connection, path: &Path) -> Result<u32, Error> {
    let version: u32 = conn.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    if version > VERSION {
        return Err(Error::Invalid {
            message: format!("{} was written by a newer version of access (schema {version})", path.display()),
            hint: "install that version".to_owned(),
        });
    }
    Ok(version)
}

pub(super) fn connect(path: &Path) -> Result<Connection, Error> {
    connect_and(path, "")
}

/// A connection that locks the file exclusively while it is open, and so needs no shared memory.
pub(super) fn connect_alone(path: &Path) -> Result<Connection, Error> {
    connect_and(path, "PRAGMA locking_mode=EXCLUSIVE;")
}

/// `first` is SQL that has to run before anything is read from the file.
fn connect_and(path: &Path, first: &str) -> Result<Connection, Error> {
    // No URI, no implicit create, no symbolic link. Only one thread uses the connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(file::PATIENCE)?;
    conn.set_prepared_statement_cache_capacity(64);
    harden(&conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch(first)?;
    conn.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-2000;",
    )?;
    Ok(conn)
}

/// The safety settings, whatever SQLite was compiled with: see docs/packaging.md for the flags that have no such setting.
const HARDENED: [(DbConfig, bool); 7] = [
    // SQL cannot write to the schema, shadow tables or the journal mode.
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    // The schema cannot call functions or virtual tables that have effects.
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    // A misspelt name in double quotes is an error, not a text.
    (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    // Takes the address of C functions from SQL.
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
];

pub(super) fn harden(conn: &Connection) -> rusqlite::Result<()> {
    HARDENED.into_iter().try_for_each(|(setting, on)| conn.set_db_config(setting, on).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_hardened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.db");
        drop(Connection::open(&path).unwrap());
        let conn = connect(&path).unwrap();
        for (setting, on) in HARDENED {
            assert_eq!(conn.db_config(setting).unwrap(), on, "{setting:?}");
        }
    }

    /// A build without the flags starts with other settings, so each is turned around first: what is refused in the end is
    /// refused because of the settings alone.
    #[test]
    fn a_crafted_schema_is_refused_in_a_build_without_the_flags() {
        let conn = Connection::open_in_memory().unwrap();
        for (setting, on) in HARDENED {
            conn.set_db_config(setting, !on).unwrap();
        }
        conn.execute_batch("CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t").unwrap();
        let attacks = [
            r#"SELECT "no such column" FROM t"#,
            r#"CREATE INDEX i ON t ("no such column")"#,
            "SELECT * FROM v",
            "UPDATE sqlite_schema SET sql = sql",
        ];
        for attack in attacks {
            conn.execute_batch(attack).unwrap();
        }
        harden(&conn).unwrap();
        for attack in attacks {
            conn.execute_batch(attack).expect_err(attack);
        }
    }

    #[test]
    fn no_sql_loads_an_extension() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("SELECT load_extension('x')").unwrap_err();
    }
}
