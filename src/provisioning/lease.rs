//! The journal that a run works with: this host's, and where hosts that share a log have a leased connector, also the one that they
//! share. Then the run has the connector's lease, and what it is about to do is in both journals before it begins.
//!
//! The lease does not prevent everything: a host that froze in the middle of an act may do it after another host took over. So a run
//! that finds its lease gone puts what it gave back into the shared journal, to be looked at again.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use super::plan::Entries;
use super::system::{SystemAsk, SystemRun, restored};
use crate::backend::Backend;
use crate::config::ConnectorPlace;
use crate::domain::binding::Holding;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::protocol::ConnectorLease;
use crate::service::{Call, FetchJournal, LeaseConnector, PublishJournal, ReleaseConnector};
use crate::store::{
    FetchedJournal, Journal, JournalChange, JournalEntry, JournalState, SharedJournal, SharedJournalRow,
};

/// How often a run extends its lease.
const EXTEND: Duration = Duration::from_secs(10);
/// How often the lease is asked for that another host has.
const POLL: Duration = Duration::from_secs(1);

/// Calls of a run, which the thread with the backend carries out.
#[derive(Clone)]
pub struct Calls(pub Sender<SystemAsk>);

impl Calls {
    pub fn answer<C: Call + Send + 'static>(&self, call: C) -> Result<C::Reply, Failure>
    where
        C::Reply: Send,
    {
        let (answer, answered) = channel();
        let gone = || Failure::new(Kind::Internal, "the thread that has the database has ended");
        let work = move |backend: &Backend| {
            let _ = answer.send(backend.answer(call));
        };
        self.0.send(SystemAsk::Call(Box::new(work))).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// Who else works with the journal.
enum Sharing {
    /// No other host.
    Alone,
    /// This host has the lease. `version`: of the shared journal, which has the same entries as this host's.
    Leased { version: i64, epoch: i64, entries: Entries, _extended: Extended },
    /// The shared log can't be reached. So this host only takes back, as far as it knows.
    Offline { why: String },
    /// The run changes nothing, so it has no lease.
    Compared(Entries),
}

pub struct SystemJournal<'r> {
    pub local: Journal,
    run: &'r SystemRun<'r>,
    sharing: Sharing,
}

impl<'r> SystemJournal<'r> {
    /// Waits for the lease if there is one.
    pub fn open(run: &'r SystemRun<'r>) -> Result<SystemJournal<'r>, Failure> {
        let local = Journal::open(run.journal)?;
        let mut journal = SystemJournal { local, run, sharing: Sharing::Alone };
        // What is no longer configured here may be on other hosts.
        if run.connector.is_some_and(|connector| connector.place == ConnectorPlace::Leased) {
            journal.share(&Entries::new())?;
        }
        Ok(journal)
    }

    /// Why nothing may be given, if the other hosts can't be asked.
    pub fn offline(&self) -> Option<&str> {
        match &self.sharing {
            Sharing::Offline { why } => Some(why),
            Sharing::Alone | Sharing::Leased { .. } | Sharing::Compared(_) => None,
        }
    }

    /// All that is known of the system.
    pub fn entries(&self) -> Result<Entries, Failure> {
        match &self.sharing {
            Sharing::Leased { entries, .. } | Sharing::Compared(entries) => Ok(entries.clone()),
            Sharing::Alone | Sharing::Offline { .. } => Ok(self.local.entries(self.run.name)?),
        }
    }

    /// Makes all of these changes, or none. Fails with `Busy` if another host has the lease by now.
    pub fn change(&mut self, changes: &[JournalChange]) -> Result<(), Failure> {
        if let Sharing::Leased { version, epoch, entries, .. } = &mut self.sharing {
            let mut changed = entries.clone();
            apply(&mut changed, changes);
            if changed != *entries {
                *version = publish(self.run, *version, *epoch, &changed)?;
                *entries = changed;
            }
        }
        Ok(self.local.change(changes)?)
    }

    /// The same for what came of acts. If another host took over meanwhile, it may not know of what was given since: the acts are
    /// put back into the journal as begun. Returns whether the changes were made.
    pub fn conclude(&mut self, begun: &Entries, changes: &[JournalChange]) -> Result<bool, Failure> {
        match self.change(changes) {
            Err(failure) if failure.kind == Kind::Busy => self.share(begun).map(|()| false),
            done => done.map(|()| true),
        }
    }

    /// Gets the lease, and takes over the shared journal. `begun`: what this run has begun to give, which the shared journal may
    /// not have.
    fn share(&mut self, begun: &Entries) -> Result<(), Failure> {
        // Else the lease that is gone would be extended.
        self.sharing = Sharing::Alone;
        let run = self.run;
        let asked = if run.fix || run.accept_restore { self.take_lease() } else { Ok(None) };
        let fetched = asked.and_then(|extended| {
            let fetched = run.calls().answer(FetchJournal { connector: run.name.clone() })?;
            Ok(fetched.map(|fetched| (fetched, extended)))
        });
        self.sharing = match fetched {
            Ok(None) => return Ok(()),
            Err(failure) if failure.kind == Kind::Unavailable => Sharing::Offline { why: failure.message },
            Err(failure) => return Err(failure),
            Ok(Some((fetched, extended))) => self.take_over(fetched, extended, begun)?,
        };
        Ok(())
    }

    /// None: the connector is not shared.
    fn take_lease(&self) -> Result<Option<Extended>, Failure> {
        let until = Instant::now() + self.run.patience().run;
        loop {
            match self.run.calls().answer(LeaseConnector { connector: self.run.name.clone() })? {
                ConnectorLease::NotShared => return Ok(None),
                ConnectorLease::Ours => return Ok(Some(Extended::start(self.run.calls(), self.run.name.clone()))),
                ConnectorLease::Taken if Instant::now() >= until => {
                    return Err(Failure::new(Kind::Busy, "another host runs this connector, and does not end"));
                }
                ConnectorLease::Taken => sleep(POLL),
            }
        }
    }

    fn take_over(
        &self,
        fetched: FetchedJournal,
        extended: Option<Extended>,
        begun: &Entries,
    ) -> Result<Sharing, Failure> {
        let FetchedJournal { journal: SharedJournal { version, epoch: written, rows }, epoch, has_given } = fetched;
        let run = self.run;
        let shared: Entries = rows.into_iter().map(|row| row.of(run.name)).collect();
        let mine = self.local.entries(run.name)?;
        let mut entries = shared.clone();
        let is_restored = if version == 0 { mine.is_empty() && has_given } else { written != epoch };
        match (is_restored, run.accept_restore) {
            (true, false) if run.fix => return Err(lost(version == 0, &self.local)?),
            // The first host that has the lease tells the others, and after a restore each may know more.
            _ if version == 0 || is_restored => add(&mut entries, &mine),
            _ => {}
        }
        add(&mut entries, begun);
        let Some(extended) = extended else { return Ok(Sharing::Compared(entries)) };
        let version =
            if entries == shared && written == epoch { version } else { publish(run, version, epoch, &entries)? };
        let mut changes: Vec<JournalChange> = mine.keys().map(|holding| (holding.clone(), None)).collect();
        changes.extend(entries.iter().map(|(holding, entry)| (holding.clone(), Some(entry.clone()))));
        changes.retain(|(holding, entry)| match entry {
            None => !entries.contains_key(holding),
            Some(entry) => mine.get(holding) != Some(entry),
        });
        let mut local = Journal::open(run.journal)?;
        local.change(&changes)?;
        Ok(Sharing::Leased { version, epoch, entries, _extended: extended })
    }
}

fn apply(entries: &mut Entries, changes: &[JournalChange]) {
    for (holding, entry) in changes {
        match entry {
            Some(entry) => drop(entries.insert(holding.clone(), entry.clone())),
            None => drop(entries.remove(holding)),
        }
    }
}

/// Adds what access gave, or may have given, unless that is known.
fn add<'j>(entries: &mut Entries, more: impl IntoIterator<Item = (&'j Holding, &'j JournalEntry)>) {
    for (holding, entry) in more {
        let is_known = match entries.get(holding).map(|known| known.state) {
            None => false,
            Some(JournalState::Before) => entry.state == JournalState::Before,
            Some(_) => true,
        };
        if !is_known {
            entries.insert(holding.clone(), entry.clone());
        }
    }
}

/// Tells the other hosts. Returns the new version.
fn publish(run: &SystemRun<'_>, version: i64, epoch: i64, entries: &Entries) -> Result<i64, Failure> {
    let rows = entries.iter().map(|(holding, entry)| SharedJournalRow::new(holding, entry)).collect();
    let journal = SharedJournal { version, epoch, rows };
    let published = run.calls().answer(PublishJournal { connector: run.name.clone(), journal })?;
    published.ok_or_else(|| {
        Failure::new(Kind::Busy, "another host took this connector over, because this one did not answer for a while")
    })
}

/// Nobody knows what was given.
fn lost(is_first: bool, local: &Journal) -> Result<Failure, Failure> {
    if !is_first {
        return Ok(restored(local.position()?.as_ref()));
    }
    Ok(Failure::new(
        Kind::Refused,
        "no host has a journal of what this connector gave; nothing was given or taken back: run `access reconcile --fix` first \
         on the host that ran it before, or, if there is none, with `--accept-restore`",
    ))
}

/// Extends a lease until it is dropped, and gives it back then.
struct Extended {
    calls: Calls,
    connector: Name,
    end: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Extended {
    fn start(calls: Calls, connector: Name) -> Extended {
        let (end, ended) = channel();
        let (its_calls, its_connector) = (calls.clone(), connector.clone());
        let thread = spawn(move || {
            while ended.recv_timeout(EXTEND) == Err(RecvTimeoutError::Timeout) {
                // If this fails, the next change of the journal finds it out.
                let _ = its_calls.answer(LeaseConnector { connector: its_connector.clone() });
            }
        });
        Extended { calls, connector, end: Some((end, thread)) }
    }
}

impl Drop for Extended {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.end.take() {
            drop(end);
            // First, so that it does not take the lease again.
            let _ = thread.join();
        }
        // Else the lease ends by itself.
        let _ = self.calls.answer(ReleaseConnector { connector: self.connector.clone() });
    }
}
