//! `reconcile --watch`: a run for a system when others than the reconciler changed the log, when access ends, and
//! every ten minutes.
//!
//! Each run is a process of its own, for one system. So one that hangs holds up no other, and each reads the current
//! configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::run::desired;
use super::sessions::{next_end, sessions_name};
use super::start::rows;
use super::view::{ReconcileState, ReconcileView};
use crate::backend::Backend;
use crate::config;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::{LogNews, Position};
use crate::service::LogPosition;
use crate::store::Journal;

/// How often the log is asked for its position.
const PAUSE: Duration = Duration::from_secs(1);
/// How often each system is looked at, whatever happens.
const ROUND: Duration = Duration::from_secs(600);
/// The pause after the first failure. It doubles up to `ROUND`.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Something that happened while watching.
pub enum Watched {
    Row(ReconcileView),
    /// A run that failed as a whole, or a database that can't be read.
    Trouble(String),
}

#[derive(Default)]
struct Slot {
    running: Option<Receiver<Result<Vec<ReconcileView>, String>>>,
    dirty: bool,
    failures: u32,
    /// Not before this time, after a failure.
    not_before: Option<Instant>,
    /// What the last run said. It is reported once.
    said: Vec<ReconcileView>,
    trouble: Option<String>,
}

/// Never returns, unless something is wrong that no later try can repair. `command`: a run for the system whose name is added.
pub fn watch(
    backend: &Backend,
    command: &dyn Fn(&Name) -> Command,
    names: &[Name],
    show: &mut dyn FnMut(Watched) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut slots: BTreeMap<Name, Slot> = BTreeMap::new();
    let mut last = LastLook::default();
    let mut trouble = None;
    loop {
        match last.look(backend, names) {
            Ok(systems) => {
                trouble = None;
                for name in systems {
                    slots.entry(name).or_default().dirty = true;
                }
            }
            Err(failure) if !passes(&failure) => return Err(failure),
            Err(failure) => {
                // A failure that repeats is reported once.
                if trouble.as_ref() != Some(&failure.message) {
                    show(Watched::Trouble(failure.message.clone()))?;
                    trouble = Some(failure.message);
                }
            }
        }
        for (name, slot) in &mut slots {
            slot.collect(name, show)?;
            slot.start(name, command);
        }
        sleep(PAUSE);
    }
}

/// Whether the failure may pass by itself: a server that is being restarted, a busy database, a configuration that is
/// being edited.
fn passes(failure: &Failure) -> bool {
    !matches!(failure.kind, Kind::Refused | Kind::Usage | Kind::NotFound | Kind::Internal)
}

/// What was found at the last look at the log.
#[derive(Default)]
struct LastLook {
    seen: Option<Position>,
    /// When the next access ends.
    next_end: Option<Timestamp>,
    at: Option<Instant>,
    /// The last session that was reported.
    session: i64,
}

impl LastLook {
    /// The systems that are due. None are if nothing has changed but what runs recorded: one whose list changes all the time
    /// would keep all others busy.
    fn look(&mut self, backend: &Backend, names: &[Name]) -> Result<BTreeSet<Name>, Failure> {
        let LogNews { position, is_news } = backend.answer(LogPosition { known: self.seen.clone() })?;
        let is_over = match self.next_end {
            Some(end) => identity::clock()? >= end,
            None => false,
        };
        let is_old = self.at.is_none_or(|at| at.elapsed() >= ROUND);
        let is_due = is_news || is_over || is_old;
        let journal = Journal::open(&backend.journal()?)?;
        let session = journal.last_session()?;
        if !is_due && session == self.session {
            self.seen = Some(position);
            return Ok(BTreeSet::new());
        }
        let rows = desired(backend, None)?;
        let now = rows.state.now;
        let sessions = journal.sessions()?;
        let ends = rows.rows.iter().filter_map(|row| row.until).chain(next_end(backend, &sessions)?);
        let next_end = ends.filter(|&until| until > now).min();
        let mut systems = BTreeSet::new();
        if is_due {
            systems.extend(config::connectors()?.into_iter().map(|connector| connector.name));
            systems.extend(rows.state.bindings.iter().map(|binding| binding.connector.clone()));
            systems.extend(rows.state.recorded.iter().map(|row| row.holding.connector.clone()));
            systems.extend(journal.connectors()?);
            if is_old || !sessions.is_empty() {
                systems.insert(sessions_name());
            }
            systems.retain(|name| names.is_empty() || names.contains(name));
            self.at = Some(Instant::now());
        }
        (self.seen, self.next_end, self.session) = (Some(position), next_end, session);
        Ok(systems)
    }
}

impl Slot {
    fn start(&mut self, name: &Name, command: &dyn Fn(&Name) -> Command) {
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        // A system that can't be reached is left alone for a while. One in which something else failed is not.
        let is_down = self.said.iter().any(|row| row.state == ReconcileState::Unreachable);
        let is_due = self.dirty && !(waits && is_down) || self.failures > 0 && !waits;
        if self.running.is_some() || !is_due {
            return;
        }
        self.dirty = false;
        self.not_before = None;
        let mut command = command(name);
        let (done, running) = channel();
        self.running = Some(running);
        thread::spawn(move || done.send(run(&mut command)));
    }

    fn collect(&mut self, name: &Name, show: &mut dyn FnMut(Watched) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some(running) = &self.running else { return Ok(()) };
        let ended = match running.try_recv() {
            Ok(ended) => ended,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err("the run ended without a result".to_owned()),
        };
        self.running = None;
        let failed = match ended {
            Ok(rows) => {
                let failed = rows.iter().any(|row| row.state.is_failure());
                for row in &rows {
                    if row.state.is_settled() || !self.said.contains(row) {
                        show(Watched::Row(row.clone()))?;
                    }
                }
                (self.said, self.trouble) = (rows, None);
                failed
            }
            Err(why) => {
                if self.trouble.as_ref() != Some(&why) {
                    show(Watched::Trouble(format!("{name}: {why}")))?;
                }
                self.trouble = Some(why);
                true
            }
        };
        self.failures = if failed { self.failures + 1 } else { 0 };
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(ROUND);
        self.not_before = failed.then(|| Instant::now() + pause);
        Ok(())
    }
}

/// Runs one process to its end. Returns what it printed.
fn run(command: &mut Command) -> Result<Vec<ReconcileView>, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).map_err(|error| error.to_string())?;
    rows(&output.stdout, &output.stderr, output.status).map_err(|failure| failure.message)
}
