//! What readers ask of this host's copy of a shared log: what it knows, and how its engine is.

use std::time::{Duration, Instant};

use super::read::Read;
use super::shared::{place, problem};
use super::{Error, Store, open, row};
use crate::domain::event::FORMAT;
use crate::domain::name::Name;
use crate::domain::replica::{NamedPosition, Replica};
use crate::error::{Failure, Kind};
use crate::log::{Contacted, EngineSettings, EngineState, LogUrl};

/// The pause between two looks at the copy.
const POLL: Duration = Duration::from_millis(100);

/// What a transaction on a copy knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownState {
    pub team: Name,
    /// The last entry.
    pub seq: i64,
    pub replica: Replica,
    /// Why what was recorded could not be written here. None: it was, or there was nothing.
    pub unwritten: Option<String>,
}

/// What `doctor` asks about the engine.
pub struct EngineHealth {
    pub settings: EngineSettings,
    pub state: EngineState,
    /// Whether the log lacks an entry of this copy.
    pub is_fork: bool,
    /// Whether a host has taken it, or a move into it has not ended.
    pub is_closed: bool,
}

impl Store {
    /// What the last transaction knew. None: the log is in this file alone.
    pub fn known(&self) -> Option<KnownState> {
        self.engine.as_ref()?.known.borrow().clone()
    }

    /// A copy that can't say what it knows is damaged, which its other reads report.
    pub(super) fn note_known(&self, read: &Read<'_>) {
        let Some(access) = &self.engine else { return };
        let known = || -> Result<Option<KnownState>, Error> {
            let Some(replica) = read.replica()? else { return Ok(None) };
            // One short statement: every check runs it.
            let position =
                read.one("SELECT name, last_seq FROM team", [], |row| Ok((row::parsed(row, 0)?, row.get(1)?)))?;
            Ok(position.map(|(team, seq)| KnownState { team, seq, replica, unwritten: None }))
        };
        access.known.replace(known().ok().flatten());
    }

    /// The shared log has what was decided, but it could not be written here.
    pub(super) fn note_unwritten(&self, error: Error) {
        let Some(access) = &self.engine else { return };
        if let Some(known) = &mut *access.known.borrow_mut() {
            known.unwritten = Some(match error {
                Error::Io { message } | Error::CommitUnknown { message } => message,
                other => Failure::from(other).message,
            });
        }
    }

    /// Waits until this copy has an entry, and asks the shared log for it meanwhile. Returns whether it has it.
    pub fn wait_for(&self, wanted: &NamedPosition, patience: Duration) -> Result<bool, Error> {
        let begun = Instant::now();
        loop {
            let (head, is_copy) = self.read(|read| Ok::<_, Error>((read.head()?, read.replica()?.is_some())))?;
            if head.seq >= wanted.seq {
                return Ok(true);
            }
            if !is_copy || begun.elapsed() >= patience {
                return Ok(false);
            }
            match self.follow() {
                Ok(0) | Err(Error::Unreachable { .. } | Error::Busy) => std::thread::sleep(POLL),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How this host reaches the shared log.
    pub fn log_url(&self) -> Result<LogUrl, Failure> {
        let none = || Failure::new(Kind::Internal, "the database was opened without a shared log");
        (self.engine.as_ref().ok_or_else(none)?.url)()
    }

    /// Asks the engine how it is.
    pub fn engine_health(&self) -> Result<EngineHealth, Error> {
        let conn = self.connection(open::connect)?;
        self.with(|engine, _| {
            let (contacted, _) = engine.contact(&place(&conn)?, FORMAT).map_err(problem)?;
            let settings = engine.settings().map_err(problem)?;
            let (is_fork, is_closed) =
                (matches!(contacted, Contacted::Fork(_)), matches!(contacted, Contacted::Closed(_)));
            Ok(EngineHealth { settings, state: contacted.state().clone(), is_fork, is_closed })
        })
    }
}
