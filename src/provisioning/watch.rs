//! `reconcile --watch`: a run for a system when what its logins should hold has changed, and every ten minutes.
//!
//! Each run is a process of its own, for one system. So one that hangs holds up no other, and each reads the current
//! configuration. What has ended is taken back at once. For what is new a system rests between runs, so that a member who asks
//! for access and gives it back all the time does not keep the systems busy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::krl::write_krl;
use super::plan::each;
use super::run::desired_since;
use super::sessions::{SessionEnds, session_ends, sessions_name};
use super::start::rows;
use super::system::{DesiredRows, saw};
use super::view::{ReconcileState, ReconcileView};
use crate::backend::Backend;
use crate::config;
use crate::domain::binding::{Binding, Holding};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::{DesiredView, LogNews, Position, RecordedState};
use crate::service::LogPosition;
use crate::store::Journal;

/// How often the log is asked for its position.
const PAUSE: Duration = Duration::from_secs(1);
/// How often each system is looked at, whatever happens.
const ROUND: Duration = Duration::from_secs(600);
/// The least time from one run to the next, unless there is something to take back.
const REST: Duration = Duration::from_secs(5);
/// The pause after the first failure. It doubles up to `ROUND`.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Something that happened while watching.
pub enum Watched {
    Row(ReconcileView),
    /// A run that failed as a whole, or a database that can't be read.
    Trouble(String),
}

/// What the logins of one system should hold, by its bindings.
#[derive(Clone, PartialEq, Eq, Default)]
struct SystemAccess {
    rows: Vec<DesiredView>,
    bindings: Vec<Binding>,
}

/// When a run is due.
#[derive(Clone, Copy)]
enum Due {
    Now,
    /// When the system has rested.
    Rested,
}

#[derive(Default)]
struct Slot {
    running: Option<Receiver<Result<Vec<ReconcileView>, String>>>,
    /// Whether a run was under way at any time since the last look.
    ran: bool,
    /// When the last run began, and what was wanted then.
    began: Option<(Instant, SystemAccess)>,
    /// What is wanted now.
    wanted: SystemAccess,
    /// The log changed while a run was under way, which may have seen what is not so any more.
    unsure: bool,
    due: Option<Due>,
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
    let mut log = Followed::default();
    let mut trouble = None;
    let mut revocations = names.is_empty().then(Revocations::default);
    loop {
        for (name, slot) in &mut slots {
            slot.collect(name, show)?;
        }
        match log.look(backend, names, slots.values().any(Slot::is_unjudged)) {
            Ok(None) => trouble = None,
            Ok(Some(news)) => {
                trouble = None;
                revocations.iter_mut().for_each(|list| list.due = true);
                for (name, (wanted, has_stale)) in news.systems {
                    slots.entry(name).or_default().judge(wanted, has_stale, news.cause);
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
        if let Some(list) = &mut revocations {
            list.carry(backend, show)?;
        }
        for (name, slot) in &mut slots {
            slot.start(name, command);
        }
        sleep(PAUSE);
    }
}

/// The list of revoked SSH certificates. This process writes it: that takes no time.
#[derive(Default)]
struct Revocations {
    due: bool,
    path: Option<PathBuf>,
    /// Not before this time, after a failure.
    not_before: Option<Instant>,
    /// A failure that repeats is reported once.
    trouble: Option<String>,
}

impl Revocations {
    fn carry(
        &mut self,
        backend: &Backend,
        show: &mut dyn FnMut(Watched) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Without the file, sshd lets nobody in.
        let is_missing = self.path.as_ref().is_some_and(|path| !path.exists());
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        if waits || !self.due && !is_missing {
            return Ok(());
        }
        match write_krl(backend) {
            Ok(path) => *self = Revocations { path, ..Revocations::default() },
            Err(failure) => {
                self.not_before = Some(Instant::now() + FIRST_PAUSE);
                if self.trouble.as_ref() != Some(&failure.message) {
                    show(Watched::Trouble(failure.message.clone()))?;
                    self.trouble = Some(failure.message);
                }
            }
        }
        Ok(())
    }
}

/// Whether the failure may pass by itself: a server that is being restarted, a busy database, a configuration that is
/// being edited.
fn passes(failure: &Failure) -> bool {
    !matches!(failure.kind, Kind::Refused | Kind::Usage | Kind::NotFound | Kind::Internal)
}

/// How far the log is followed.
#[derive(Default)]
struct Followed {
    seen: Option<Position>,
    /// When the next access ends.
    next_end: Option<Timestamp>,
    /// When all systems were due.
    round: Option<Instant>,
    /// The last session that was reported.
    session: i64,
}

/// Why what is wanted was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Round,
    /// Others changed the log, or access ended.
    Change,
    /// A run ended that a change overtook.
    Unsure,
    /// A session was opened, whose access ends too.
    Session,
}

/// What a look at the log found.
struct News {
    cause: Cause,
    /// What is wanted of each system, and whether it was given something that is not wanted any more.
    systems: BTreeMap<Name, (SystemAccess, bool)>,
}

impl Followed {
    /// None: nothing has changed but what runs recorded. That makes no system due, or one whose list changes all the time
    /// would keep all others busy.
    fn look(&mut self, backend: &Backend, names: &[Name], is_unsure: bool) -> Result<Option<News>, Failure> {
        let LogNews { position, is_news } = backend.answer(LogPosition { known: self.seen.clone() })?;
        let is_over = match self.next_end {
            Some(end) => identity::clock()? >= end,
            None => false,
        };
        let journal = Journal::open(&backend.journal()?)?;
        let session = journal.last_session()?;
        let cause = if self.round.is_none_or(|round| round.elapsed() >= ROUND) {
            Cause::Round
        } else if is_news || is_over {
            Cause::Change
        } else if is_unsure {
            Cause::Unsure
        } else if session != self.session {
            Cause::Session
        } else {
            self.seen = Some(position);
            return Ok(None);
        };
        let rows = desired_since(backend, &journal)?;
        if rows.state.continues {
            // No run may follow that notes it.
            saw(&journal, &rows.state.position)?;
        }
        let now = rows.state.now;
        let sessions = journal.sessions()?;
        let SessionEnds { is_over, next } = session_ends(backend, &sessions)?;
        let ends = rows.rows.iter().filter_map(|row| row.until).chain(next);
        let next_end = ends.filter(|&until| until > now).min();
        let mut systems = systems(rows, &journal)?;
        if cause == Cause::Round || !sessions.is_empty() {
            systems.insert(sessions_name(), (SystemAccess::default(), is_over));
        }
        systems.retain(|name, _| names.is_empty() || names.contains(name));
        (self.seen, self.next_end, self.session) = (Some(position), next_end, session);
        if cause == Cause::Round {
            self.round = Some(Instant::now());
        }
        Ok(Some(News { cause, systems }))
    }
}

/// All systems that are configured, bound, or on record.
fn systems(rows: DesiredRows, journal: &Journal) -> Result<BTreeMap<Name, (SystemAccess, bool)>, Failure> {
    let DesiredRows { rows, state } = rows;
    let mut systems: BTreeMap<Name, (SystemAccess, bool)> = BTreeMap::new();
    for name in config::connectors()?.into_iter().map(|connector| connector.name).chain(journal.connectors()?) {
        systems.entry(name).or_default();
    }
    for binding in state.bindings {
        systems.entry(binding.connector.clone()).or_default().0.bindings.push(binding);
    }
    let wanted: BTreeMap<&Holding, &DesiredView> = rows.iter().map(|row| (&row.holding, row)).collect();
    for given in state.recorded {
        let (holding, host) = given.holding.without_host();
        if host.is_some_and(|host| state.host.as_deref() != Some(host.as_str())) {
            continue;
        }
        let (_, has_stale) = systems.entry(holding.connector.clone()).or_default();
        let is_wanted = wanted.get(&holding).is_some_and(|row| each(&row.requests).contains(&given.request));
        // What can't be taken back is tried again as a failure.
        *has_stale |= !is_wanted && given.state != RecordedState::RevokeFailed;
    }
    for row in rows {
        systems.entry(row.holding.connector.clone()).or_default().0.rows.push(row);
    }
    Ok(systems)
}

impl Slot {
    /// Whether a change overtook a run that has ended since.
    fn is_unjudged(&self) -> bool {
        self.unsure && self.running.is_none() && self.due.is_none()
    }

    fn judge(&mut self, wanted: SystemAccess, has_stale: bool, cause: Cause) {
        self.wanted = wanted;
        self.unsure |= self.ran && cause == Cause::Change;
        if self.running.is_some() {
            // What this run leaves to be done is seen when it has ended.
            return;
        }
        let is_other = self.unsure || self.began.as_ref().is_none_or(|(_, wanted)| *wanted != self.wanted);
        // A revoke needs no list, so it does not wait until a system that failed has rested. If it fails too, the system does not
        // rest longer for it.
        if has_stale && is_other && self.not_before.take().is_some() {
            self.failures = self.failures.saturating_sub(1);
        }
        self.due = if has_stale || cause == Cause::Round { Some(Due::Now) } else { is_other.then_some(Due::Rested) };
    }

    fn start(&mut self, name: &Name, command: &dyn Fn(&Name) -> Command) {
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        // A system that can't be reached is left alone for a while. One in which something else failed is not, such as the list for
        // one binding.
        let is_down = self.said.iter().any(|row| row.state == ReconcileState::Unreachable && row.parameters.is_none());
        let is_wanted = match self.due {
            Some(Due::Now) => true,
            Some(Due::Rested) => self.began.as_ref().is_none_or(|(began, _)| began.elapsed() >= REST),
            None => false,
        };
        let is_due = is_wanted && !(waits && is_down) || self.failures > 0 && !waits;
        if self.running.is_some() || !is_due {
            return;
        }
        (self.due, self.unsure, self.not_before) = (None, false, None);
        self.began = Some((Instant::now(), self.wanted.clone()));
        let mut command = command(name);
        let (done, running) = channel();
        self.running = Some(running);
        thread::spawn(move || done.send(run(&mut command)));
    }

    fn collect(&mut self, name: &Name, show: &mut dyn FnMut(Watched) -> Result<(), Failure>) -> Result<(), Failure> {
        self.ran = self.running.is_some();
        let Some(running) = &self.running else { return Ok(()) };
        let ended = match running.try_recv() {
            Ok(ended) => ended,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err("the run ended without a result".to_owned()),
        };
        self.running = None;
        let mut is_of_others = false;
        let failed = match ended {
            Ok(rows) => {
                let mut failures = rows.iter().filter(|row| row.state.is_failure()).peekable();
                is_of_others = failures.peek().is_some() && failures.all(|row| row.state.is_of_others());
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
        // When another host is gone, or the shared log is back, it is known within seconds.
        self.failures = if !failed {
            0
        } else if is_of_others {
            1
        } else {
            self.failures + 1
        };
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
