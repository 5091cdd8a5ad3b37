//! The database file. The only place that knows SQL, and nothing of SQL shows outside.
//!
//! A `Read` sees one consistent state. A `Write` is one `BEGIN IMMEDIATE` transaction: what it reads cannot change
//! until it commits, and either all of it happens or none. Nothing here decides anything.

mod file;
mod maintenance;
mod open;
mod outbox;
mod project;
mod proof;
mod queue;
mod read;
mod recent;
mod row;
mod rules;
mod schema;
mod window;
mod write;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

pub use file::{beside, open_private, resolve};
pub use maintenance::Vacant;
pub use outbox::Waiting;
pub use proof::{Between, Each, Key, Raw, Table};
pub use queue::Place;
pub use read::{Head, InboxRow, Only, Page, Read};
pub use recent::{Act, Filed};
pub use rules::keys as rule_keys;
pub use write::{Context, Write};

use crate::error::{Failure, Kind};

/// An open database.
pub struct Store {
    /// None: the disk had no room for the shared memory (`-shm`) that readers and writers use together. Each transaction
    /// then has a connection of its own, and a read has the file to itself.
    conn: Option<Connection>,
    path: PathBuf,
}

/// Why the store could not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// No file there.
    Absent {
        path: PathBuf,
    },
    /// A file there, where none should be.
    Exists {
        path: PathBuf,
    },
    /// The file is not ours, damaged, too new, or unsafe.
    Invalid {
        message: String,
        hint: String,
    },
    /// Others kept it busy for longer than we wait.
    Busy,
    Io {
        message: String,
    },
    /// There is no room for the shared memory beside the database.
    NoSharedMemory {
        message: String,
    },
    /// The file system takes no writes.
    ReadOnly {
        message: String,
        hint: String,
    },
    /// The commit itself failed: it may or may not have happened.
    CommitUnknown {
        message: String,
    },
    /// A mistake of ours.
    Internal {
        message: String,
    },
}

impl Error {
    fn damaged(what: impl std::fmt::Display) -> Error {
        Error::Invalid {
            message: format!("the database is damaged: {what}"),
            hint: "restore a backup; keep this file for examination".to_owned(),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let message = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(cause, _) if cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                Error::NoSharedMemory { message: format!("{message}: there is no space for its shared memory (-shm)") }
            }
            rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
                // The last is SQLite's word for a lock that it tried to get for ten seconds, again and again.
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                    Error::Busy
                }
                ErrorCode::NotADatabase => Error::Invalid {
                    message: "the file is not an SQLite database".to_owned(),
                    hint: "name the right file with --db, or move this one away and run `access init`".to_owned(),
                },
                ErrorCode::DatabaseCorrupt => Error::damaged(message),
                ErrorCode::CannotOpen => Error::Io { message: format!("{message}, or a file beside it (-wal, -shm)") },
                ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::PermissionDenied
                | ErrorCode::NoLargeFileSupport => Error::Io { message },
                _ => Error::Internal { message },
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Error::damaged(message),
            _ => Error::Internal { message },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Absent { path } => {
                Failure::new(Kind::Unavailable, format!("there is no access database at {}", path.display()))
                    .hint("create one with `access init`, or `access init --sample` to try it out")
                    .hint("or name another with --db")
            }
            Error::Exists { path } => {
                Failure::new(Kind::Conflict, format!("{} is there already; nothing was done", path.display()))
                    .hint("use it as it is, or name another file with --db")
            }
            Error::Invalid { message, hint } => Failure::new(Kind::Invalid, message).hint(hint),
            Error::Busy => Failure::new(Kind::Busy, "the database stayed busy").hint("try again"),
            Error::Io { message } | Error::NoSharedMemory { message } => {
                Failure::new(Kind::Io, format!("the database can't be read or written: {message}"))
                    .hint("nothing was changed; look at the disk's space and permissions")
            }
            Error::ReadOnly { message, hint } => Failure::new(Kind::Io, message).hint(hint),
            Error::CommitUnknown { message } => {
                Failure::new(Kind::Io, format!("writing failed at the very end, so the outcome is unknown: {message}"))
                    .hint("look at what stands there now (`access list`, `access audit`) before trying again")
            }
            Error::Internal { message } => {
                Failure::new(Kind::Internal, format!("an unexpected database error: {message}"))
                    .hint("this is a bug in access; please report it")
            }
        }
    }
}

/// A connection for one transaction.
enum ForOne<'s> {
    Kept(&'s Connection),
    Own(Connection),
}

impl std::ops::Deref for ForOne<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        match self {
            ForOne::Kept(conn) => conn,
            ForOne::Own(conn) => conn,
        }
    }
}

impl Store {
    fn connection(&self, connect: impl FnOnce(&Path) -> Result<Connection, Error>) -> Result<ForOne<'_>, Error> {
        match &self.conn {
            Some(conn) => Ok(ForOne::Kept(conn)),
            None => connect(&self.path).map(ForOne::Own),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room for work that touches many pages: a page cache of 16 MB.
    pub fn expect_much(&self) -> Result<(), Error> {
        Ok(self.conn.iter().try_for_each(|conn| conn.execute_batch("PRAGMA cache_size=-16000"))?)
    }

    /// Reads in one transaction: all that `work` sees is of one moment.
    pub fn read<T, E: From<Error>>(&self, work: impl FnOnce(&Read<'_>) -> Result<T, E>) -> Result<T, E> {
        // Those who each need the file to themselves take turns: SQLite's own waiting may never let one of many in.
        let _turn = if self.conn.is_none() { Some(file::LockFile::wait_for(&self.path)?) } else { None };
        let conn = self.connection(open::connect_alone)?;
        let transaction = conn.unchecked_transaction().map_err(Error::from)?;
        let answer = work(&Read::new(&transaction))?;
        transaction.finish().map_err(Error::from)?;
        Ok(answer)
    }

    /// Writes in one transaction, committed when `work` succeeds and undone when it fails.
    pub fn write<T, E: From<Error>>(&self, work: impl FnOnce(&Write<'_>) -> Result<T, E>) -> Result<T, E> {
        let _turn = file::LockFile::wait_for(&self.path)?;
        let conn = self.connection(open::connect)?;
        let transaction = rusqlite::Transaction::new_unchecked(&conn, rusqlite::TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        self.check_schema(&transaction)?;
        let answer = work(&Write::new(&transaction)?)?;
        transaction.commit().map_err(|error| match Error::from(error) {
            Error::Busy => Error::Busy,
            Error::Io { message } | Error::Internal { message } => Error::CommitUnknown { message },
            other @ (Error::NoSharedMemory { .. }
            | Error::Absent { .. }
            | Error::Exists { .. }
            | Error::Invalid { .. }
            | Error::ReadOnly { .. }
            | Error::CommitUnknown { .. }) => other,
        })?;
        Ok(answer)
    }
}

#[cfg(test)]
impl Store {
    /// Counts the steps that SQLite takes for every statement from now on: how much work a command is, on any machine.
    pub fn count_steps(&mut self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        use rusqlite::trace::{TraceEvent, TraceEventCodes};

        let total = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
        let steps = total.clone();
        // A statement counts on from its last run.
        let mut before: std::collections::HashMap<String, i32> = std::collections::HashMap::new();
        let count = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let now = statement.get_status(rusqlite::StatementStatus::VmStep);
                let last = before.insert(statement.sql().into_owned(), now).filter(|last| *last <= now).unwrap_or(0);
                steps.fetch_add(u64::from((now - last).unsigned_abs()), std::sync::atomic::Ordering::Relaxed);
            }
        };
        let conn = self.conn.as_mut().expect("there is room on the disk");
        // What statements did before does not count.
        conn.flush_prepared_statement_cache();
        conn.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).expect("tracing is built in");
        total
    }
}
