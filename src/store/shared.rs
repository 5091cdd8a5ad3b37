//! This host's copy of a log that several hosts share.
//!
//! A change is decided in a transaction on the copy, which is rolled back; its entries are kept as pending; they get their place in
//! the log; then they are applied like those of any other host. No transaction of SQLite is open while the network is used (but
//! for the commit of a turn in which nothing was recorded).

use std::cell::{Cell, RefCell};

use rusqlite::{Connection, params};

use super::copy::KnownState;
use super::judge::Judge;
use super::read::Read;
use super::settle::{Pending, Settled, end_pending};
use super::write::{Made, Write};
use super::{Error, Store, file, open};
use crate::domain::audit::LogPlace;
use crate::domain::event::FORMAT;
use crate::domain::replica::{HostClocks, LastContact, Replica};
use crate::error::Failure;
use crate::log::{Contacted, Engine, EngineError, EngineState, LogUrl, LoggedEntry};

/// A copy that lacks more entries than this needs more memory to take them in.
const MANY: usize = 1000;

/// How to reach the shared log, and the clocks of this host.
pub struct EngineAccess {
    pub url: fn() -> Result<LogUrl, Failure>,
    pub clocks: fn() -> Result<HostClocks, Failure>,
    pub(super) engine: RefCell<Option<Engine>>,
    /// What the last transaction on the copy knew.
    pub(super) known: RefCell<Option<KnownState>>,
    pub(super) judge: RefCell<Judge>,
}

impl EngineAccess {
    pub fn new(url: fn() -> Result<LogUrl, Failure>, clocks: fn() -> Result<HostClocks, Failure>) -> EngineAccess {
        EngineAccess {
            url,
            clocks,
            engine: RefCell::new(None),
            known: RefCell::new(None),
            judge: RefCell::new(Judge::default()),
        }
    }
}

impl Read<'_> {
    /// None: the log is in this file alone.
    pub fn replica(&self) -> Result<Option<Replica>, Error> {
        let sql = "SELECT host, epoch, engine_at, boot_id, since_boot, wall_at FROM replica";
        self.one(sql, [], |row| {
            let clocks = HostClocks { boot_id: row.get(3)?, since_boot: row.get(4)?, wall: row.get(5)? };
            let contact = LastContact { engine: row.get(2)?, clocks };
            Ok(Replica { host: row.get(0)?, epoch: row.get(1)?, contact })
        })
    }
}

impl Write<'_> {
    fn set_contact(&self, epoch: i64, contact: &LastContact) -> Result<(), Error> {
        let LastContact { engine, clocks } = contact;
        // After a restore, what is kept beside the log is older than what is known here, under versions that are used again.
        let sql = "UPDATE replica SET delivery = 0 WHERE epoch <> ?1";
        if self.conn().prepare_cached(sql)?.execute([epoch])? > 0 {
            self.conn().execute_batch("UPDATE read_mark SET version = -1, changes = changes + 1")?;
        }
        // Not by a process that asked before another and was held up since.
        let sql =
            "UPDATE replica SET epoch = ?1, engine_at = max(engine_at, ?2), boot_id = ?3, since_boot = ?4, wall_at = ?5
             WHERE boot_id <> ?3 OR since_boot <= ?4";
        self.conn().prepare_cached(sql)?.execute(params![
            epoch,
            engine,
            clocks.boot_id,
            clocks.since_boot,
            clocks.wall
        ])?;
        Ok(())
    }

    /// Makes this database a copy of a shared log.
    pub fn begin_replica(&self, replica: &Replica) -> Result<(), Error> {
        let Replica { host, epoch, contact: LastContact { engine, clocks } } = replica;
        self.conn().execute(
            "INSERT INTO replica (id, host, epoch, engine_at, boot_id, since_boot, wall_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            params![host, epoch, engine, clocks.boot_id, clocks.since_boot, clocks.wall],
        )?;
        Ok(())
    }

    /// Makes this database the log again.
    pub fn end_replica(&self) -> Result<(), Error> {
        self.conn().execute("DELETE FROM replica", [])?;
        Ok(())
    }
}

/// What a turn answered. It is used to decide, and stored once a commit in the database has proved that it came from the
/// leader: one that was frozen and led before answers reads too.
struct Taken {
    state: EngineState,
    entries: Vec<LoggedEntry>,
    clocks: HostClocks,
    is_usable: Cell<bool>,
}

impl Taken {
    fn apply(&self, write: &Write<'_>) -> Result<(), Error> {
        self.entries.iter().try_for_each(|entry| apply_new(write, entry))?;
        write.set_contact(self.state.epoch, &LastContact { engine: self.state.now, clocks: self.clocks.clone() })?;
        write.note_last()
    }
}

impl Store {
    /// Says how to reach the shared log, in case this database is a copy of one.
    #[must_use]
    pub fn with_engine(self, access: EngineAccess) -> Store {
        Store { engine: Some(access), ..self }
    }

    /// Takes in what the shared log has and this copy does not. Returns how many entries that were.
    pub fn follow(&self) -> Result<u64, Error> {
        let conn = self.connection(open::connect)?;
        if Read::new(&conn).replica()?.is_none() {
            return Err(Error::Invalid {
                message: "this database is not a copy of a shared log".to_owned(),
                hint: "see `access log --help`".to_owned(),
            });
        }
        let followed = self.with(|engine, access| {
            let followed = self.catch_up_open(engine, access, &conn)?;
            if Read::new(&conn).pending_entries()?.is_some() {
                let _turn = file::LockFile::wait_for(&self.path)?;
                self.settle(engine, access, &conn)?;
            }
            Ok(followed)
        })?;
        // Read marks are not recorded in the log, so they can wait for the next time.
        let _ = self.share_new_read_marks();
        if followed > 0 {
            let _ = self.shorten_outbox(&conn);
        }
        Ok(followed)
    }

    /// Whether this database is a copy of a log that several hosts share.
    pub fn shares_log(&self) -> Result<bool, Error> {
        self.read(|read| Ok(read.replica()?.is_some()))
    }

    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Engine, &EngineAccess) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let unreachable = |failure: Failure| Error::Unreachable { message: failure.message };
        let Some(access) = &self.engine else {
            return Err(Error::Unreachable { message: "this database is a copy of a shared log".to_owned() });
        };
        let mut engine = access.engine.borrow_mut();
        let engine = match &mut *engine {
            Some(engine) => engine,
            none => none.insert(Engine::new((access.url)().map_err(unreachable)?)),
        };
        work(engine, access)
    }

    /// The same as `write`, for a copy of a shared log.
    pub(super) fn write_shared<T, E: From<Error>>(
        &self,
        conn: &Connection,
        replica: Replica,
        work: impl FnOnce(&Write<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let taken = self.with(|engine, access| {
            let ready = self.settle(engine, access, conn).and_then(|()| self.take_turn(engine, access, conn));
            ready.map_err(|error| {
                engine.let_go();
                match error {
                    // What was not written is in the shared log, and this change is not begun.
                    Error::CommitUnknown { message } => Error::Io { message },
                    other => other,
                }
            })
        })?;
        let decided = self.decide(conn, &taken, replica.host, work);
        let let_go = || {
            self.with(|engine, _| {
                engine.let_go();
                Ok(())
            })
        };
        let (answer, after, made) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                let_go()?;
                if taken.is_usable.get() {
                    return Err(error);
                }
                // Outside a turn there is time to find out why.
                self.with(|engine, access| self.catch_up(engine, access, conn))?;
                return Err(Error::Busy.into());
            }
        };
        if made.bodies.is_empty() {
            return Ok(answer);
        }
        let pending = Pending::new(taken.state.epoch, &after, made.bodies);
        let kept: Result<(), Error> = self.transact(conn, |write| write.set_pending(Some(&pending)));
        if let Err(error) = kept {
            let_go()?;
            return Err(error.into());
        }
        let settled = self.with(|engine, access| self.append_pending(engine, access, conn, &pending))?;
        let ended = self.transact(conn, |write| {
            if settled == Settled::Recorded {
                taken.apply(write)?;
                write.store_expire_ran(made.expire_ran_at)?;
            }
            end_pending(write, &pending, &settled)?;
            self.note_known(write);
            Ok::<_, Error>(())
        });
        match (settled, ended) {
            (Settled::Recorded, Ok(())) => Ok(answer),
            // The log has it: what is pending is applied later.
            (Settled::Recorded, Err(error)) => {
                self.note_unwritten(error);
                Ok(answer)
            }
            (Settled::NotRecorded, _) => Err(Error::Busy.into()),
            (Settled::Refused(message), Ok(())) => Err(Error::Unreachable { message }.into()),
            (Settled::Forbidden(message), Ok(())) => Err(Error::Forbidden { message }.into()),
            // It would be sent again.
            (Settled::Refused(message) | Settled::Forbidden(message), Err(_)) => {
                Err(Error::CommitUnknown { message }.into())
            }
        }
    }

    /// Decides in a transaction. What was recorded in it is rolled back; what is not recorded in the log, such as read marks, is
    /// committed if nothing else was.
    fn decide<T, E: From<Error>>(
        &self,
        conn: &Connection,
        taken: &Taken,
        host: String,
        work: impl FnOnce(&Write<'_>) -> Result<T, E>,
    ) -> Result<(T, LogPlace, Made), E> {
        let transaction = rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        self.check_schema(&transaction)?;
        taken.apply(&Write::new(&transaction)?).inspect_err(|_| taken.is_usable.set(false))?;
        let write = Write::for_shared_log(&transaction, host, taken.state.write_format)?;
        let after = write.place();
        if after != taken.state.head {
            return Err(Error::Busy.into());
        }
        let answer = work(&write)?;
        self.note_known(&write);
        let made = write.made();
        if made.bodies.is_empty() {
            Write::new(&transaction)?.store_expire_ran(made.expire_ran_at)?;
            self.with(|engine, _| engine.end_turn().map_err(problem))?;
            transaction.commit().map_err(Error::from)?;
        } else {
            transaction.rollback().map_err(Error::from)?;
        }
        Ok((answer, after, made))
    }

    /// Takes the turn, with few entries that this copy does not have.
    fn take_turn(&self, engine: &mut Engine, access: &EngineAccess, conn: &Connection) -> Result<Taken, Error> {
        for _ in 0..2 {
            let at = place(conn)?;
            let (contacted, entries) = match engine.turn(&at) {
                // Many others wait too.
                Err(EngineError::Busy(_)) => continue,
                Err(EngineError::Slow) => {
                    self.catch_up(engine, access, conn)?;
                    continue;
                }
                Err(EngineError::Forbidden(message)) => return Err(Error::Forbidden { message }),
                answer => answer.map_err(problem)?,
            };
            // Now, after the wait for the turn. A process that is held up too long has lost the turn, so its entries do not count.
            let clocks = clocks(access)?;
            let end = entries.last().map_or(at.seq, |entry| entry.seq);
            match contacted {
                Contacted::Open(state) if end == state.head.seq => {
                    return Ok(Taken { state, entries, clocks, is_usable: Cell::new(true) });
                }
                // A contact says whether it is true.
                Contacted::Open(_) | Contacted::Fork(_) => {}
                Contacted::Closed(_) => return Err(closed()),
            }
            engine.let_go();
            self.catch_up(engine, access, conn)?;
        }
        Err(Error::Busy)
    }

    /// The same, for a log that has not moved away.
    pub(super) fn catch_up_open(
        &self,
        engine: &mut Engine,
        access: &EngineAccess,
        conn: &Connection,
    ) -> Result<u64, Error> {
        match self.catch_up(engine, access, conn)? {
            (_, Contacted::Closed(_)) => Err(closed()),
            (taken, Contacted::Open(_) | Contacted::Fork(_)) => Ok(taken),
        }
    }

    /// Takes in what this copy does not have, page by page. A log that is closed still says what it has.
    pub(super) fn catch_up(
        &self,
        engine: &mut Engine,
        access: &EngineAccess,
        conn: &Connection,
    ) -> Result<(u64, Contacted), Error> {
        let mut total = 0;
        loop {
            let clocks = clocks(access)?;
            let (contacted, entries) = match engine.contact(&place(conn)?, FORMAT) {
                // It asks for fewer each time, down to one.
                Err(EngineError::Slow) => continue,
                answer => answer.map_err(problem)?,
            };
            let more = entries.last().filter(|last| entries.len() > MANY && last.seq < contacted.state().head.seq);
            let contacted = std::thread::scope(|scope| {
                let take_in = || self.take_in(clocks, conn, contacted, &entries, access);
                let Some(last) = more else { return take_in() };
                scope.spawn(|| engine.read_ahead(last.seq));
                without_waiting(conn, take_in)
            })?;
            total += entries.len() as u64;
            let (seq, end) = (place(conn)?.seq, contacted.state().head.seq);
            if seq >= end {
                return Ok((total, contacted));
            }
            if entries.is_empty() {
                let message = format!("the shared log has {end} entries, and does not give those after {seq}");
                return Err(Error::Unreachable { message });
            }
        }
    }

    /// Applies entries, and notes the contact, in one transaction. `clocks`: from before the database was asked, so that a
    /// process that is held up meanwhile does not take an old answer for a new one.
    fn take_in(
        &self,
        clocks: HostClocks,
        conn: &Connection,
        contacted: Contacted,
        entries: &[LoggedEntry],
        access: &EngineAccess,
    ) -> Result<Contacted, Error> {
        let state = match &contacted {
            Contacted::Open(state) | Contacted::Closed(state) => state,
            Contacted::Fork(state) => return Err(forked(conn, &place(conn)?, state)),
        };
        if entries.len() > MANY {
            // They touch many pages, and the same ones again.
            conn.execute_batch("PRAGMA cache_size=-32000; PRAGMA wal_autocheckpoint=32000")?;
        }
        let mut rest = entries;
        loop {
            let mut applied = 0;
            let taken = self.transact(conn, |write| {
                for entry in rest {
                    apply_new(write, entry)?;
                    applied += 1;
                }
                let end = write.place();
                if end.seq == state.head.seq && end.hash != state.head.hash {
                    return Err(forked(write.conn(), &end, state));
                }
                // A copy that lacks entries is not fresh, nor is one whose log has moved away.
                if matches!(contacted, Contacted::Open(_)) && end.seq >= state.head.seq {
                    write.set_contact(state.epoch, &LastContact { engine: state.now, clocks: clocks.clone() })?;
                }
                write.note_last()
            });
            let Err(error @ (Error::Shared { .. } | Error::Internal { .. } | Error::Invalid { .. })) = taken else {
                return taken.map(|()| contacted);
            };
            let (before, from) = rest.split_at(applied);
            // What comes before the entry that can't be used counts: it may take access away.
            self.transact(conn, |write| {
                before.iter().try_for_each(|entry| apply_new(write, entry))?;
                write.note_last()
            })?;
            let Some((entry, after)) = from.split_first().filter(|_| !matches!(error, Error::Shared { .. })) else {
                return Err(error);
            };
            // Either this copy is damaged, or the entry is void. The log alone says which.
            if !access.judge.borrow_mut().is_void(&Read::new(conn), &self.path, entry)? {
                return Err(error);
            }
            self.transact(conn, |write| {
                if entry.seq > write.place().seq {
                    write.apply_void(entry)?;
                }
                write.note_last()
            })?;
            rest = after;
        }
    }
}

/// Does something whose commits do not wait for the disk. A power loss can undo the last of them, but never a part of one. The
/// next commit that waits makes them last.
fn without_waiting<T>(conn: &Connection, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let before: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    // A draft does not wait anyway.
    if before > 0 {
        conn.execute_batch("PRAGMA synchronous=NORMAL")?;
    }
    let done = work();
    conn.pragma_update(None, "synchronous", before)?;
    done
}

/// Another process of this host may have applied it meanwhile.
fn apply_new(write: &Write<'_>, entry: &LoggedEntry) -> Result<(), Error> {
    if entry.seq > write.place().seq { write.apply(entry) } else { Ok(()) }
}

fn clocks(access: &EngineAccess) -> Result<HostClocks, Error> {
    (access.clocks)().map_err(|failure| Error::Io { message: failure.message })
}

fn closed() -> Error {
    const CLOSED: &str = "the shared log is closed: a host took it with `access log leave`, or `access log move` has not ended. \
That host goes on with `access log move`";
    Error::Unreachable { message: CLOSED.to_owned() }
}

/// The last entry of this copy.
pub(super) fn place(conn: &Connection) -> Result<LogPlace, Error> {
    Ok(Write::new(conn)?.place())
}

pub(super) fn problem(error: EngineError) -> Error {
    match error {
        EngineError::Busy(_) => Error::Busy,
        EngineError::Unreachable(why) | EngineError::OutcomeUnknown(why) => {
            Error::Unreachable { message: format!("the shared log can't be reached: {why}") }
        }
        EngineError::Slow => Error::Unreachable { message: "the line to the shared log is slow".to_owned() },
        EngineError::Refused(why) | EngineError::Forbidden(why) => {
            Error::Unreachable { message: format!("the shared log refuses: {why}") }
        }
    }
}

fn forked(conn: &Connection, ours: &LogPlace, state: &EngineState) -> Error {
    match Read::new(conn).replica() {
        Ok(replica) => fork(ours, state, replica.map_or(0, |replica| replica.epoch)),
        Err(error) => error,
    }
}

/// What to do about it.
pub const UNEXPLAINED_FORK: &str = "if PostgreSQL was restored from a backup, run `access log raise-epoch` once, as the owner of the log, \
then `access log salvage` on each host that says FORK. Otherwise keep both as they are, and compare the copies of all hosts";

/// `known`: the last epoch that this copy has seen.
pub(super) fn fork(ours: &LogPlace, state: &EngineState, known: i64) -> Error {
    let what =
        format!("FORK: the shared log does not have entry {} of this copy (its last is {})", ours.seq, state.head.seq);
    if state.epoch > known {
        let message = format!("{what}; it was restored from a backup (epoch {}, after {known})", state.epoch);
        let hint = "collect what it lacks with `access log salvage`".to_owned();
        return Error::Shared { message, hint };
    }
    let message = format!("{what}; one of the two was rewritten or restored");
    Error::Shared { message, hint: UNEXPLAINED_FORK.to_owned() }
}
