//! This host's copy of a log that several hosts share.
//!
//! A change is decided in a transaction on the copy, which is rolled back; its entries are kept as pending; they get their place in
//! the log; then they are applied like those of any other host. No transaction of SQLite is open while the network is used, so
//! that readers never wait for it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::copy::KnownState;
use super::read::Read;
use super::write::{Made, Write};
use super::{Error, Store, file, open};
use crate::domain::audit;
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::event::FORMAT;
use crate::domain::replica::{HostClocks, LastContact, Replica};
use crate::error::Failure;
use crate::log::{Appended, Contacted, Engine, EngineError, EngineState, LogUrl, LoggedEntry, PAGE};

/// How long to ask again for an outcome that is not known.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many pages a turn may be behind before it is let go.
const PAGES_A_TURN: usize = 1;

/// How to reach the shared log, and the clocks of this host.
pub struct EngineAccess {
    pub url: fn() -> Result<LogUrl, Failure>,
    pub clocks: fn() -> Result<HostClocks, Failure>,
    pub(super) engine: RefCell<Option<Engine>>,
    /// What the last transaction on the copy knew.
    pub(super) known: RefCell<Option<KnownState>>,
}

impl EngineAccess {
    pub fn new(url: fn() -> Result<LogUrl, Failure>, clocks: fn() -> Result<HostClocks, Failure>) -> EngineAccess {
        EngineAccess { url, clocks, engine: RefCell::new(None), known: RefCell::new(None) }
    }
}

/// Entries of which it is not known whether the log has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    epoch: i64,
    after: i64,
    hash: String,
    pub bodies: Vec<String>,
}

impl Pending {
    fn place(&self) -> Result<LogPlace, Error> {
        let hash = unhex(&self.hash).ok_or_else(|| Error::damaged("the pending entries have no place"))?;
        Ok(LogPlace { seq: self.after, hash })
    }
}

fn unhex(text: &str) -> Option<Hash> {
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// What became of pending entries.
enum Settled {
    Recorded,
    /// The log has others in their place, so it will never have these.
    NotRecorded,
    /// The log refused them at the first try, so it does not have them.
    Refused(String),
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

    /// The entries of which it is not known whether the shared log has them.
    pub fn pending_entries(&self) -> Result<Option<Pending>, Error> {
        let text: Option<Option<String>> = self.one("SELECT pending FROM replica", [], |row| Ok(row.get(0)?))?;
        let parse = |text: String| serde_json::from_str(&text).map_err(Error::damaged);
        text.flatten().map(parse).transpose()
    }
}

impl Write<'_> {
    fn set_pending(&self, pending: Option<&Pending>) -> Result<(), Error> {
        let text = pending.map(serde_json::to_string).transpose().map_err(Error::damaged)?;
        self.conn().prepare_cached("UPDATE replica SET pending = ?1")?.execute([text])?;
        Ok(())
    }

    fn set_contact(&self, epoch: i64, contact: &LastContact) -> Result<(), Error> {
        let LastContact { engine, clocks } = contact;
        // After a restore, what is kept beside the log is older than what is known here, under versions that are used again.
        let sql = "UPDATE replica SET delivery = 0 WHERE epoch <> ?1";
        if self.conn().prepare_cached(sql)?.execute([epoch])? > 0 {
            self.conn().execute_batch("UPDATE read_mark SET version = -1, changes = changes + 1")?;
        }
        let sql = "UPDATE replica SET epoch = ?1, engine_at = max(engine_at, ?2), boot_id = ?3, since_boot = ?4, wall_at = ?5";
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
        self.conn().execute_batch("DELETE FROM replica; DELETE FROM read_mark")?;
        Ok(())
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
            return Err(Error::Unreachable { message: "this database is not a copy of a shared log".to_owned() });
        }
        let followed = self.with(|engine, access| {
            let followed = self.catch_up(engine, access, &conn)?;
            if Read::new(&conn).pending_entries()?.is_some() {
                let _turn = file::LockFile::wait_for(&self.path)?;
                self.settle(engine, access, &conn)?;
            }
            Ok(followed)
        })?;
        // What is no record can wait for the next time.
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
        let state = self.with(|engine, access| {
            self.settle(engine, access, conn)?;
            self.take_turn(engine, access, conn)
        })?;
        let decided = self.decide(conn, replica.host, work);
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
                return Err(error);
            }
        };
        if made.bodies.is_empty() {
            let_go()?;
            return Ok(answer);
        }
        let hash = audit::hex(&after.hash);
        let pending = Pending { epoch: state.epoch, after: after.seq, hash, bodies: made.bodies };
        let kept: Result<(), Error> = self.transact(conn, |write| write.set_pending(Some(&pending)));
        if let Err(error) = kept {
            let_go()?;
            return Err(error.into());
        }
        let settled = self.with(|engine, _| append(engine, &pending, true))?;
        self.transact(conn, |write| {
            write.store_expire_ran(made.expire_ran_at)?;
            end_pending(write, &pending, &settled)?;
            self.note_known(write);
            Ok::<_, Error>(())
        })?;
        match settled {
            Settled::Recorded => Ok(answer),
            Settled::NotRecorded => Err(Error::Busy.into()),
            Settled::Refused(message) => Err(Error::Unreachable { message }.into()),
        }
    }

    /// Decides in a transaction. What was recorded in it is rolled back; what is no part of the record, such as read marks, is
    /// committed if nothing else was.
    fn decide<T, E: From<Error>>(
        &self,
        conn: &Connection,
        host: String,
        work: impl FnOnce(&Write<'_>) -> Result<T, E>,
    ) -> Result<(T, LogPlace, Made), E> {
        let transaction = rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        self.check_schema(&transaction)?;
        let write = Write::for_shared_log(&transaction, host)?;
        let after = write.place();
        let answer = work(&write)?;
        let made = write.made();
        if made.bodies.is_empty() {
            Write::new(&transaction)?.store_expire_ran(made.expire_ran_at)?;
            transaction.commit().map_err(Error::from)?;
        } else {
            transaction.rollback().map_err(Error::from)?;
        }
        Ok((answer, after, made))
    }

    /// Takes the turn, with this copy up to date.
    fn take_turn(&self, engine: &mut Engine, access: &EngineAccess, conn: &Connection) -> Result<EngineState, Error> {
        for _ in 0..=PAGES_A_TURN {
            let at = place(conn)?;
            let (contacted, entries) = engine.turn(&at).map_err(problem)?;
            let complete = entries.len() < PAGE as usize;
            let state = self.take_in(access, conn, contacted, &entries)?;
            if complete && place(conn)? == state.head {
                return Ok(state);
            }
            engine.let_go();
            self.catch_up(engine, access, conn)?;
        }
        Err(Error::Busy)
    }

    pub(super) fn catch_up(&self, engine: &mut Engine, access: &EngineAccess, conn: &Connection) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let (contacted, entries) = engine.contact(&place(conn)?, FORMAT).map_err(problem)?;
            let state = self.take_in(access, conn, contacted, &entries)?;
            total += entries.len() as u64;
            if entries.is_empty() || place(conn)?.seq >= state.head.seq {
                return Ok(total);
            }
        }
    }

    /// Applies entries, and notes the contact, in one transaction.
    fn take_in(
        &self,
        access: &EngineAccess,
        conn: &Connection,
        contacted: Contacted,
        entries: &[LoggedEntry],
    ) -> Result<EngineState, Error> {
        let state = match contacted {
            Contacted::Open(state) => state,
            Contacted::Fork(state) => return Err(fork(&place(conn)?, &state)),
            Contacted::Closed => {
                let message = "the shared log is closed: it was moved, or is being filled".to_owned();
                return Err(Error::Unreachable { message });
            }
        };
        let clocks = (access.clocks)().map_err(|failure| Error::Io { message: failure.message })?;
        self.transact(conn, |write| {
            // Another process may have taken them in meanwhile.
            let mut new = entries.iter().skip_while(|entry| entry.seq <= write.place().seq);
            new.try_for_each(|entry| write.apply(entry))?;
            write.note_last()?;
            write.set_contact(state.epoch, &LastContact { engine: state.now, clocks })
        })?;
        Ok(state)
    }

    /// Finds out what became of entries whose outcome was not known.
    fn settle(&self, engine: &mut Engine, access: &EngineAccess, conn: &Connection) -> Result<(), Error> {
        let Some(pending) = Read::new(conn).pending_entries()? else { return Ok(()) };
        // Not the first try.
        let settled = append(engine, &pending, false)?;
        self.catch_up(engine, access, conn)?;
        self.transact(conn, |write| end_pending(write, &pending, &settled))
    }
}

/// The last entry of this copy.
pub(super) fn place(conn: &Connection) -> Result<LogPlace, Error> {
    Ok(Write::new(conn)?.place())
}

/// Sends the entries until an answer says what became of them.
///
/// `first`: they were not sent before. Then a refusal means that the log does not have them.
fn append(engine: &mut Engine, pending: &Pending, mut first: bool) -> Result<Settled, Error> {
    let after = pending.place()?;
    let begun = Instant::now();
    loop {
        match engine.append(pending.epoch, &after, &pending.bodies) {
            Ok(Appended::Done) => return Ok(Settled::Recorded),
            Ok(Appended::Behind | Appended::Fork | Appended::Epoch | Appended::Closed) => {
                return Ok(Settled::NotRecorded);
            }
            Ok(Appended::Clock) if first => {
                return Ok(Settled::Refused("the shared log does not accept the time".to_owned()));
            }
            // The time of the first try is too old by now, so these bytes are not there and never will be.
            Ok(Appended::Clock) => return Ok(Settled::NotRecorded),
            Err(EngineError::Refused(why)) if first => {
                return Ok(Settled::Refused(format!("the shared log refuses: {why}")));
            }
            Err(EngineError::Refused(why)) => {
                return Err(Error::Unreachable { message: format!("the shared log refuses: {why}") });
            }
            Err(EngineError::Unreachable(why) | EngineError::OutcomeUnknown(why)) => {
                if begun.elapsed() > PATIENCE {
                    return Err(Error::CommitUnknown { message: why });
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        first = false;
    }
}

/// Applies pending entries that the log has, and forgets those that it will never have.
fn end_pending(write: &Write<'_>, pending: &Pending, settled: &Settled) -> Result<(), Error> {
    write.set_pending(None)?;
    if !matches!(settled, Settled::Recorded) {
        return Ok(());
    }
    let mut place = pending.place()?;
    for body in &pending.bodies {
        place = place.then(body.as_bytes());
        if place.seq <= write.place().seq {
            continue;
        }
        let host = write.replica()?.map(|replica| replica.host).unwrap_or_default();
        write.apply(&LoggedEntry { seq: place.seq, hash: place.hash, body: body.clone(), host })?;
    }
    write.note_last()
}

pub(super) fn problem(error: EngineError) -> Error {
    match error {
        EngineError::Unreachable(why) | EngineError::OutcomeUnknown(why) => {
            Error::Unreachable { message: format!("the shared log can't be reached: {why}") }
        }
        EngineError::Refused(why) => Error::Unreachable { message: format!("the shared log refuses: {why}") },
    }
}

fn fork(ours: &LogPlace, state: &EngineState) -> Error {
    Error::Shared {
        message: format!(
            "FORK: the shared log does not have entry {} of this copy (its last is {}); one of the two was rewritten or restored",
            ours.seq, state.head.seq
        ),
        hint: "keep both as they are, and compare them: see docs/fleet.md".to_owned(),
    }
}
