//! The database. All SQL is in this module.
//!
//! A `Read` sees one consistent state. A `Write` is one `BEGIN IMMEDIATE` transaction: what it reads cannot change until it
//! commits, and it commits completely or not at all. The store decides nothing.
//!
//! | file | what it has |
//! | --- | --- |
//! | `file.rs`, `draft.rs` | checks on the file itself, the lock file, and new files |
//! | `open.rs`, `schema.rs`, `schema-*.sql` | opening, migrations, and the check of the schema |
//! | `read.rs`, `write.rs`, `row.rs` | what all queries share: transactions, and values from columns |
//! | `log.rs`, `project.rs` | the audit log, and the changes that each event makes to the tables |
//! | `catalogue.rs`, `rules.rs`, `members.rs` | the team |
//! | `requests.rs`, `pending.rs`, `list.rs`, `grants.rs`, `recent.rs` | requests and grants |
//! | `inbox.rs`, `outbox.rs` | notifications |
//! | `journal.rs` | the reconciler's own database |
//! | `side_list.rs`, `outstanding.rs`, `read_marks.rs`, `connector_journal.rs` | what hosts that share a log tell each other about delivery, inboxes and connectors |
//! | `foreign.rs`, `judge.rs` | the check of what other hosts append to a shared log, and what is void |
//! | `shared.rs`, `copy.rs`, `moving.rs` | writing to a log that several hosts share, and this host's copy of it |
//! | `certificates.rs` | the SSH certificates that were issued |
//! | `provisioning.rs` | what connectors gave and took back |
//! | `sessions.rs` | the sessions that people opened |
//! | `key.rs` | the private key that signs checkpoints, in a file beside the database |
//! | `recertifications.rs` | reviews of what people hold |
//! | `proof.rs`, `maintenance.rs` | `audit verify`, `doctor` and `backup` |

mod catalogue;
mod certificates;
mod connector_journal;
mod copy;
mod draft;
mod file;
mod foreign;
mod grants;
mod inbox;
mod journal;
mod judge;
mod key;
mod list;
mod log;
mod maintenance;
mod members;
mod moving;
mod open;
mod outbox;
mod outstanding;
mod past;
mod pending;
mod project;
mod proof;
mod provisioning;
mod read;
mod read_marks;
mod recent;
mod recertifications;
mod report;
mod requests;
mod row;
mod rules;
mod schema;
mod sessions;
mod settle;
mod shared;
mod side_list;
mod signatures;
mod write;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

pub use connector_journal::{FetchedJournal, SharedJournal, SharedJournalRow};
pub use copy::{EngineHealth, KnownState};
pub use file::{beside, create_folders, move_into_place, open_private, resolve, try_lock};
pub use inbox::InboxItem;
pub use journal::{Journal, JournalChange, JournalEntry, JournalState, TrackedSession, TrackedState, shared_journal};
pub use key::random_seed;
pub use list::VisibleTo;
pub use log::Head;
pub use maintenance::NewFile;
pub use moving::LostTail;
pub use outbox::Waiting;
pub use outstanding::Outstanding;
pub use past::Moment;
pub use pending::QueuePosition;
pub use proof::{Between, EachRow, Projection, RawEntry, RowKey};
pub use read::{Page, Read};
pub use recent::{Act, Filed};
pub use report::Period;
pub use rules::keys as rule_keys;
pub use settle::Pending;
pub use shared::{EngineAccess, UNEXPLAINED_FORK};
pub use write::{Context, Write};

use crate::error::{Failure, Kind};

/// An open database.
pub struct Store {
    /// The shared log, if this database can be a copy of one.
    engine: Option<shared::EngineAccess>,
    /// None if the disk has no room for the shared memory (`-shm`) that readers and writers share. Each transaction then
    /// opens its own connection, and a read locks the file exclusively.
    conn: Option<Connection>,
    path: PathBuf,
}

/// Why a store operation failed.
#[derive(Debug)]
pub enum Error {
    /// The file does not exist.
    Absent {
        path: PathBuf,
    },
    /// The file to create exists already.
    Exists {
        path: PathBuf,
    },
    /// The file is another program's, damaged, too new, or unsafe.
    Invalid {
        message: String,
        hint: String,
    },
    /// Other processes kept the database locked until the timeout.
    Busy,
    Io {
        message: String,
    },
    /// The disk has no room for the shared memory (`-shm`).
    NoSharedMemory {
        message: String,
    },
    /// The file system is read-only.
    ReadOnly {
        message: String,
        hint: String,
    },
    /// The shared log is not what this copy of it expects.
    Shared {
        message: String,
        hint: String,
    },
    /// The shared log can't be reached, or refuses. Nothing was changed.
    Unreachable {
        message: String,
    },
    /// This host may not append it to the shared log. Nothing was changed.
    Forbidden {
        message: String,
    },
    /// The commit itself failed, so the changes may or may not have been written.
    CommitUnknown {
        message: String,
    },
    /// What was done may not last, or something is left to do.
    Unfinished {
        message: String,
    },
    /// A bug in access.
    Internal {
        message: String,
    },
}

impl Error {
    pub fn damaged(what: impl std::fmt::Display) -> Error {
        Error::Invalid {
            message: format!("the database is damaged: {what}"),
            hint: "restore a backup, and keep this file to find out what happened".to_owned(),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let message = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(cause, _) if cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                Error::NoSharedMemory {
                    message: format!("{message}: the disk has no space for its shared memory (-shm)"),
                }
            }
            rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
                // SQLite reports a lock that it could not get within ten seconds as a protocol failure.
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
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
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
                    .hint("or name another one with --db")
            }
            Error::Exists { path } => {
                Failure::new(Kind::Conflict, format!("{} already exists; nothing was done", path.display()))
                    .hint("use it as it is, or name another file")
            }
            Error::Invalid { message, hint } | Error::Shared { message, hint } => {
                Failure::new(Kind::Invalid, message).hint(hint)
            }
            Error::Unreachable { message } if message.contains("does not support TLS") => {
                Failure::new(Kind::Unavailable, message)
                    .hint("set `ssl = on` in PostgreSQL, or `allow_plain = true` in [log] of the configuration file")
            }
            Error::Unreachable { message } => Failure::new(Kind::Unavailable, message)
                .hint("nothing was changed; `access check` and lists go on with this host's copy of the log")
                .hint("see `access log status`"),
            Error::Forbidden { message } => {
                Failure::new(Kind::Refused, format!("this host may not do this: {message}"))
                    .hint("nothing was changed; use a host that may decide: `access log status` lists the hosts")
            }
            Error::Busy => Failure::new(Kind::Busy, "the database stayed busy").hint("try again"),
            Error::Io { message } | Error::NoSharedMemory { message } => {
                Failure::new(Kind::Io, format!("the database can't be read or written: {message}"))
                    .hint("this step changed nothing; check free disk space and permissions, then try again")
            }
            Error::ReadOnly { message, hint } => Failure::new(Kind::Io, message).hint(hint),
            Error::CommitUnknown { message } => Failure::new(
                Kind::Io,
                format!("the commit failed, so the changes may or may not have been written: {message}"),
            )
            .hint("check what was recorded (`access list`, `access audit`) before you try again"),
            Error::Unfinished { message } => Failure::new(Kind::Io, message)
                .hint("what was recorded stays recorded; check free disk space and permissions, then try again"),
            Error::Internal { message } => {
                Failure::new(Kind::Internal, format!("an unexpected database error: {message}"))
                    .hint("this is a bug in access; please report it")
            }
        }
    }
}

/// The connection of one transaction.
enum TransactionConnection<'s> {
    /// The store's own, which stays open.
    Shared(&'s Connection),
    /// Closed after the transaction.
    Single(Connection),
}

impl std::ops::Deref for TransactionConnection<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        match self {
            TransactionConnection::Shared(conn) => conn,
            TransactionConnection::Single(conn) => conn,
        }
    }
}

impl Store {
    fn connection(
        &self,
        connect: impl FnOnce(&Path) -> Result<Connection, Error>,
    ) -> Result<TransactionConnection<'_>, Error> {
        match &self.conn {
            Some(conn) => Ok(TransactionConnection::Shared(conn)),
            None => connect(&self.path).map(TransactionConnection::Single),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a page cache of 16 MB, for work that touches many pages.
    pub fn enlarge_cache(&self) -> Result<(), Error> {
        Ok(self.conn.iter().try_for_each(|conn| conn.execute_batch("PRAGMA cache_size=-16000"))?)
    }

    /// Reads in one transaction: `work` sees one consistent state.
    pub fn read<T, E: From<Error>>(&self, work: impl FnOnce(&Read<'_>) -> Result<T, E>) -> Result<T, E> {
        // With exclusive locks, SQLite's own waiting can starve a process. So they queue for the lock file.
        let _turn = if self.conn.is_none() { Some(file::LockFile::wait_for(&self.path)?) } else { None };
        let conn = self.connection(open::connect_alone)?;
        let transaction = conn.unchecked_transaction().map_err(Error::from)?;
        let read = Read::new(&transaction);
        self.note_known(&read);
        let answer = work(&read)?;
        transaction.finish().map_err(Error::from)?;
        Ok(answer)
    }

    /// Writes in one transaction: commits if `work` succeeds, and rolls back if it fails. In a copy of a shared log, what
    /// `work` records has its place in the log before it counts here.
    pub fn write<T, E: From<Error>>(&self, work: impl FnOnce(&Write<'_>) -> Result<T, E>) -> Result<T, E> {
        let _turn = file::LockFile::wait_for(&self.path)?;
        let conn = self.connection(open::connect)?;
        if let Some(replica) = Read::new(&conn).replica()? {
            return self.write_shared(&conn, replica, work);
        }
        self.transact(&conn, |write| {
            let answer = work(write)?;
            write.store_expire_ran(write.expire_ran_at())?;
            Ok(answer)
        })
    }

    /// Changes what is not recorded in the log: the outbox, positions, read marks. Other hosts that share the log are not asked, so
    /// nothing can be recorded.
    pub fn write_unrecorded<T, E: From<Error>>(&self, work: impl FnOnce(&Write<'_>) -> Result<T, E>) -> Result<T, E> {
        let _turn = file::LockFile::wait_for(&self.path)?;
        let conn = self.connection(open::connect)?;
        self.transact(&conn, |write| {
            let before = write.place();
            let answer = work(write)?;
            if write.place() != before {
                return Err(Error::Internal { message: "this may not be recorded".to_owned() }.into());
            }
            Ok(answer)
        })
    }

    /// One write transaction on the file.
    fn transact<T, E: From<Error>>(
        &self,
        conn: &Connection,
        work: impl FnOnce(&Write<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        self.check_schema(&transaction)?;
        let answer = work(&Write::new(&transaction)?)?;
        commit(transaction)?;
        Ok(answer)
    }
}

/// Commits. If that fails, nobody knows whether the changes were written.
fn commit(transaction: rusqlite::Transaction<'_>) -> Result<(), Error> {
    transaction.commit().map_err(|error| match Error::from(error) {
        Error::Io { message } | Error::Internal { message } => Error::CommitUnknown { message },
        other => other,
    })
}

#[cfg(test)]
impl Store {
    /// Counts the virtual machine steps of every statement from now on. They measure a command's work independently of the
    /// machine.
    pub fn count_steps(&mut self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        use rusqlite::trace::{TraceEvent, TraceEventCodes};

        let total = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
        let steps = total.clone();
        // A prepared statement continues its counter from its last run.
        let mut before: std::collections::HashMap<String, i32> = std::collections::HashMap::new();
        let count = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let now = statement.get_status(rusqlite::StatementStatus::VmStep);
                let last = before.insert(statement.sql().into_owned(), now).filter(|last| *last <= now).unwrap_or(0);
                steps.fetch_add(u64::from((now - last).unsigned_abs()), std::sync::atomic::Ordering::Relaxed);
            }
        };
        let conn = self.conn.as_mut().expect("there is room on the disk");
        // Statements that ran before have counted steps already.
        conn.flush_prepared_statement_cache();
        conn.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).expect("tracing is built in");
        total
    }
}
