//! Entries of which it is not known whether the shared log has them, and how that is found out.
//!
//! They are kept before they are sent. The same bytes can be sent to the same place any number of times, because the log has
//! them there at most once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::read::Read;
use super::shared::{EngineAccess, place, problem};
use super::write::Write;
use super::{Error, Store};
use crate::domain::audit;
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::event::Entry;
use crate::log::{Appended, Contacted, Engine, EngineError, LoggedEntry};

/// How long to ask again for an outcome that is not known. A failover takes some 20 seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// The log takes entries of the last 10 seconds. After this many milliseconds, none that was on its way is left.
const SURELY_TOO_OLD: i64 = 60_000;

/// Entries of which it is not known whether the log has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    epoch: i64,
    after: i64,
    hash: String,
    pub bodies: Vec<String>,
}

impl Pending {
    pub(super) fn new(epoch: i64, after: &LogPlace, bodies: Vec<String>) -> Pending {
        Pending { epoch, after: after.seq, hash: audit::hex(&after.hash), bodies }
    }

    pub(super) fn place(&self) -> Result<LogPlace, Error> {
        let hash = unhex(&self.hash).ok_or_else(|| Error::damaged("the pending entries have no place"))?;
        Ok(LogPlace { seq: self.after, hash })
    }

    /// The place of the last.
    fn end(&self) -> Result<LogPlace, Error> {
        Ok(self.bodies.iter().fold(self.place()?, |place, body| place.then(body.as_bytes())))
    }

    /// Whether the log takes these entries no longer, at this time of its clock, in milliseconds.
    fn is_too_old(&self, now: i64) -> bool {
        let time = |body: &String| serde_json::from_str::<Entry>(body).ok().map(|entry| entry.at.unix() * 1000);
        self.bodies.last().and_then(time).is_some_and(|at| now - at > SURELY_TOO_OLD)
    }
}

fn unhex(text: &str) -> Option<Hash> {
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// What became of pending entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Recorded,
    /// The log does not have these and never will.
    NotRecorded,
    /// The log refused them at the first try, so it does not have them.
    Refused(String),
    /// So did it, because of what this host may do.
    Forbidden(String),
}

impl Read<'_> {
    /// The entries of which it is not known whether the shared log has them.
    pub fn pending_entries(&self) -> Result<Option<Pending>, Error> {
        let text: Option<Option<String>> = self.one("SELECT pending FROM replica", [], |row| Ok(row.get(0)?))?;
        let parse = |text: String| serde_json::from_str(&text).map_err(Error::damaged);
        text.flatten().map(parse).transpose()
    }
}

impl Write<'_> {
    pub(super) fn set_pending(&self, pending: Option<&Pending>) -> Result<(), Error> {
        let text = pending.map(serde_json::to_string).transpose().map_err(Error::damaged)?;
        self.conn().prepare_cached("UPDATE replica SET pending = ?1")?.execute([text])?;
        Ok(())
    }
}

impl Store {
    /// Appends what was just kept as pending. If the answer is lost, asks until it is known what became of it.
    pub(super) fn append_pending(
        &self,
        engine: &mut Engine,
        access: &EngineAccess,
        conn: &Connection,
        pending: &Pending,
    ) -> Result<Settled, Error> {
        let mut message = match engine.append(pending.epoch, &pending.place()?, &pending.bodies) {
            Ok(Appended::Done) => return Ok(Settled::Recorded),
            Ok(Appended::Clock) => {
                return Ok(Settled::Refused("the shared log does not accept the time".to_owned()));
            }
            Ok(Appended::Behind | Appended::Fork | Appended::Epoch | Appended::Closed) => {
                return Ok(Settled::NotRecorded);
            }
            Err(EngineError::Refused(why)) => return Ok(Settled::Refused(format!("the shared log refuses: {why}"))),
            Err(EngineError::Forbidden(why)) => return Ok(Settled::Forbidden(why)),
            Err(EngineError::Unreachable(why) | EngineError::Busy(why) | EngineError::OutcomeUnknown(why)) => why,
            Err(EngineError::Slow) => "the line to the shared log is slow".to_owned(),
        };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            sleep(BETWEEN_TRIES);
            match self.outcome(engine, access, conn, pending) {
                Ok(settled) => return Ok(settled),
                Err(Error::Unreachable { message: why }) => message = why,
                Err(Error::Busy) => {}
                // Only this copy is at fault, or the log has been replaced: `follow` says more.
                Err(_) => break,
            }
        }
        Err(Error::CommitUnknown { message })
    }

    /// Finds out what became of entries of an earlier process or command.
    pub(super) fn settle(&self, engine: &mut Engine, access: &EngineAccess, conn: &Connection) -> Result<(), Error> {
        let Some(pending) = Read::new(conn).pending_entries()? else { return Ok(()) };
        let settled = self.outcome(engine, access, conn, &pending)?;
        self.transact(conn, |write| end_pending(write, &pending, &settled))
    }

    /// What the log has at the place of the entries says it. If it has nothing there, they are sent again.
    fn outcome(
        &self,
        engine: &mut Engine,
        access: &EngineAccess,
        conn: &Connection,
        pending: &Pending,
    ) -> Result<Settled, Error> {
        let (_, contacted) = self.catch_up(engine, access, conn)?;
        let (after, end) = (pending.place()?, pending.end()?);
        if place(conn)?.seq > after.seq {
            let sql = "SELECT hash FROM event WHERE seq = ?1";
            let there: Option<Hash> = Read::new(conn).one(sql, [end.seq], |row| Ok(row.get(0)?))?;
            return Ok(if there == Some(end.hash) { Settled::Recorded } else { Settled::NotRecorded });
        }
        match engine.append(pending.epoch, &after, &pending.bodies) {
            Ok(Appended::Done) => Ok(Settled::Recorded),
            // An earlier try of these bytes that still comes gets the same answer: others have the place, an epoch does not
            // come back, and time goes on.
            Ok(Appended::Behind | Appended::Fork | Appended::Epoch | Appended::Closed | Appended::Clock) => {
                Ok(Settled::NotRecorded)
            }
            Err(error @ (EngineError::Refused(_) | EngineError::Forbidden(_))) => match contacted {
                Contacted::Open(state) | Contacted::Closed(state) if pending.is_too_old(state.now) => {
                    Ok(Settled::NotRecorded)
                }
                _ => Err(problem(error)),
            },
            Err(error) => Err(problem(error)),
        }
    }
}

/// Applies pending entries that the log has, and forgets those that it will never have.
pub(super) fn end_pending(write: &Write<'_>, pending: &Pending, settled: &Settled) -> Result<(), Error> {
    write.set_pending(None)?;
    if *settled != Settled::Recorded {
        return Ok(());
    }
    let mut place = pending.place()?;
    for body in &pending.bodies {
        place = place.then(body.as_bytes());
        // It is here already, or a contact brings what is before it.
        if place.seq != write.place().seq + 1 {
            continue;
        }
        let host = write.replica()?.map(|replica| replica.host).unwrap_or_default();
        write.apply(&LoggedEntry::new(place.seq, place.hash, body.clone(), host))?;
    }
    write.note_last()
}
