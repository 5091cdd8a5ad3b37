//! A run for all systems. Each has a thread of its own, so that one that hangs holds up no other. This thread has the backend.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::krl::{krl_fault, write_krl};
use super::lock::{adopt_strays, end_strays};
use super::sessions::{SessionRun, sessions_name};
use super::system::{DesiredRows, Report, SystemAsk, SystemRun, restored};
use super::view::ReconcileView;
use crate::backend::Backend;
use crate::config;
use crate::config::Connector;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::protocol::{OutcomeView, Position};
use crate::service::{DesiredAccess, RecordProvisioning};
use crate::store::Journal;

/// The most bytes of one call. A shared host's socket takes more from root, but each call is one transaction.
const CALL: usize = 512 << 10;

/// What a run is to do.
#[derive(Debug, Default)]
pub struct Reconciliation {
    /// Give what is missing and take back what is stale. Otherwise it only compares.
    pub fix: bool,
    /// Go on from the log as it is, though it was restored or is another one.
    pub accept_restore: bool,
    /// Leave a system to another run that waits for it.
    pub background: bool,
    /// None: all.
    pub names: Vec<Name>,
}

/// Compares what is desired with what the systems have, and closes the difference. Returns warnings.
pub fn reconcile(
    backend: &Backend,
    wanted: &Reconciliation,
    show: &mut dyn FnMut(ReconcileView) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let others = adopt_strays();
    let connectors = config::connectors()?;
    let path = backend.journal()?;
    let journal = Journal::open(&path)?;
    let first = desired_since(backend, &journal)?;
    let mut warnings = Vec::new();
    match (first.state.continues, wanted.accept_restore) {
        (true, _) => {}
        (false, true) => journal.accept(&first.state.position)?,
        (false, false) if wanted.fix => return Err(restored(journal.position()?.as_ref())),
        (false, false) => warnings.push(restored(journal.position()?.as_ref()).message),
    }
    // First, since it takes no time.
    if wanted.names.is_empty() {
        warnings.extend(revocations(backend, wanted.fix));
    }
    let mut names = names(&connectors, &first, &journal, &wanted.names)?;
    // First, because a connector may take long.
    if names.remove(&sessions_name()) {
        let mut sessions = SessionRun { backend, journal: &journal, show: &mut *show };
        if wanted.fix { sessions.fix() } else { sessions.compare() }?;
    }
    drop(journal);
    let (asks, asked) = channel();
    let done = thread::scope(|scope| {
        for name in &names {
            let connector = connectors.iter().find(|connector| connector.name == *name);
            let Reconciliation { fix, accept_restore, background, .. } = *wanted;
            let (journal, asks) = (path.as_path(), asks.clone());
            let system = SystemRun { name, connector, journal, fix, accept_restore, background, asks };
            scope.spawn(move || system.run());
        }
        drop(asks);
        serve(backend, &path, &asked, show)
    });
    end_strays(&others);
    done.map(|()| warnings)
}

/// Writes the list of revoked SSH certificates, or looks at it. Returns what is wrong.
fn revocations(backend: &Backend, fix: bool) -> Option<String> {
    let looked = if fix { write_krl(backend).map(|_| None) } else { krl_fault(backend) };
    looked.unwrap_or_else(|failure| Some(failure.message))
}

/// All systems that are configured, bound, or on record, and the sessions of this host.
fn names(
    connectors: &[Connector],
    first: &DesiredRows,
    journal: &Journal,
    wanted: &[Name],
) -> Result<BTreeSet<Name>, Failure> {
    let mut names: BTreeSet<Name> = connectors.iter().map(|connector| connector.name.clone()).collect();
    names.extend(first.state.bindings.iter().map(|binding| binding.connector.clone()));
    names.extend(first.state.recorded.iter().map(|row| row.holding.connector.clone()));
    names.extend(journal.connectors()?);
    names.insert(sessions_name());
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(*name)) {
        return Err(no_connector(unknown));
    }
    if !wanted.is_empty() {
        names.retain(|name| wanted.contains(name));
    }
    Ok(names)
}

pub fn no_connector(name: &Name) -> Failure {
    Failure::new(Kind::NotFound, format!("there is no connector {name}"))
        .hint("`access connector list` shows the connectors of this machine")
}

/// Serves the threads until the last one has ended.
fn serve(
    backend: &Backend,
    path: &Path,
    asked: &Receiver<SystemAsk>,
    show: &mut dyn FnMut(ReconcileView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let journal = Journal::open(path)?;
    // An output that can't be written stops nothing.
    let mut shown = Ok(());
    for ask in asked {
        // The thread that asks waits for the answer.
        match ask {
            SystemAsk::Call(call) => call(backend),
            SystemAsk::Desired(answer) => {
                let _ = answer.send(desired_since(backend, &journal));
            }
            SystemAsk::Record(report, answer) => {
                let _ = answer.send(record(backend, &journal, report));
            }
            SystemAsk::Show(view) => shown = shown.and(show(view)),
        }
    }
    shown
}

pub fn desired(backend: &Backend, known: Option<Position>) -> Result<DesiredRows, Failure> {
    let mut rows = Vec::new();
    let state = backend.call(DesiredAccess { known }, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(DesiredRows { rows, state })
}

/// Also says whether the log continues from what the journal has seen of it.
pub fn desired_since(backend: &Backend, journal: &Journal) -> Result<DesiredRows, Failure> {
    let known = journal.position()?;
    let rows = desired(backend, known.clone())?;
    if known.is_none() && !rows.state.continues {
        // Another run may just have been the first one.
        if let Some(known) = journal.position()? {
            return desired(backend, Some(known));
        }
    }
    Ok(rows)
}

/// Records what came of a run, in as many calls as it takes.
fn record(backend: &Backend, journal: &Journal, report: Report) -> Result<(), Failure> {
    let host = report.host;
    let send = |outcomes, drift, looked_at| -> Result<(), Failure> {
        let host = host.clone();
        let position = backend.answer(RecordProvisioning { outcomes, drift, looked_at, host })?;
        Ok(journal.saw(&position)?)
    };
    let mut part: Vec<OutcomeView> = Vec::new();
    let mut length = 0;
    for outcome in report.outcomes {
        let more = size(&outcome)?;
        if length + more > CALL {
            send(std::mem::take(&mut part), Vec::new(), Vec::new())?;
            length = 0;
        }
        length += more;
        part.push(outcome);
    }
    let Some(mut drift) = report.drift else {
        return if part.is_empty() { Ok(()) } else { send(part, Vec::new(), Vec::new()) };
    };
    // All drift has to go in one call. What is too much is recorded once the first is resolved.
    let mut room = CALL;
    let mut fits = 0;
    for view in &drift {
        let Some(left) = room.checked_sub(size(view)?) else { break };
        room = left;
        fits += 1;
    }
    drift.truncate(fits);
    if !part.is_empty() && length > room {
        send(std::mem::take(&mut part), Vec::new(), Vec::new())?;
    }
    send(part, drift, vec![report.connector])
}

fn size(value: &impl serde::Serialize) -> Result<usize, Failure> {
    let text = serde_json::to_vec(value).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(text.len() + 1)
}
