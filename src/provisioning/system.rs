//! A run for one system: asks what is there, works out what is to be done, does it, and looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answers::Answered;
use super::lease::{Calls, SystemJournal};
use super::listing::SystemHoldings;
use super::lock::{LockWait, NoLock, SystemLock};
use super::plan::{
    ActKind, Aftermath, Desired, Entries, FoundHoldings, Mismatch, Now, PlannedAct, SystemPlan, conclude, plan,
};
use super::program;
use super::record::SystemRecord;
use super::view::{ReconcileState, ReconcileView};
use crate::backend::Backend;
use crate::config::Connector;
use crate::connectors::protocol::{ConnectorAnswer, Operation};
use crate::domain::binding::{Binding, Holding, ParameterValue, Parameters};
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::protocol::{
    DesiredState, DesiredView, Drift, DriftView, OutcomeView, Position, ProvisioningOutcome, RecordedState,
};
use crate::store::{Journal, JournalChange, JournalState};

/// How long to wait where another run waits already: it will do what this one would.
const QUEUE: Duration = Duration::from_secs(10);
/// How long a run may take in addition to the time of its programs.
const BESIDES: Duration = Duration::from_secs(30);
/// How often the rest is done that turned up meanwhile.
const ROUNDS: u32 = 3;
/// The most runs of the program in a round: a list, another for each set, the acts, and the two lists again.
const PROGRAMS: u32 = 5;

/// What a run for one system asks of the thread that has the backend.
pub enum SystemAsk {
    Call(Box<dyn FnOnce(&Backend) + Send>),
    Desired(Sender<Result<DesiredRows, Failure>>),
    Record(Report, Sender<Result<(), Failure>>),
    Show(ReconcileView),
}

/// What should be there, in all systems.
pub struct DesiredRows {
    pub rows: Vec<DesiredView>,
    pub state: DesiredState,
}

/// What came of a run, for the record.
pub struct Report {
    pub connector: Name,
    pub outcomes: Vec<OutcomeView>,
    /// None: the system was not looked at.
    pub drift: Option<Vec<DriftView>>,
    /// The host, if each has a system of its own.
    pub host: Option<ParameterValue>,
}

pub struct SystemRun<'s> {
    pub name: &'s Name,
    /// None: a binding or the journal names it, but no configuration does.
    pub connector: Option<&'s Connector>,
    pub journal: &'s Path,
    pub fix: bool,
    /// Whether to go on from a log that was restored.
    pub accept_restore: bool,
    /// Whether to leave the system to a run that waits for it already.
    pub background: bool,
    pub asks: Sender<SystemAsk>,
}

/// What is known before the acts.
struct Known {
    /// What may be given, and what is refused.
    allowed: Desired,
    all: Desired,
    refused: BTreeMap<Holding, String>,
    bindings: Vec<Binding>,
    /// Otherwise this host only takes back: it can't know what the others recorded.
    may_give: bool,
    record: SystemRecord,
    state: DesiredState,
}

impl SystemRun<'_> {
    pub fn run(&self) {
        if let Err(failure) = self.try_run() {
            let state = match failure.kind {
                Kind::Busy => ReconcileState::Busy,
                Kind::Unavailable => ReconcileState::Offline,
                _ => ReconcileState::Unreachable,
            };
            self.show(ReconcileView::of_system(self.name, state, failure.message));
        }
    }

    fn try_run(&self) -> Result<(), Failure> {
        let lock = match SystemLock::take(self.journal, self.name, &self.patience()) {
            Ok(lock) => lock,
            Err(NoLock::Waiting) if self.background => return Ok(()),
            Err(NoLock::Waiting) => {
                return Err(Failure::new(
                    Kind::Busy,
                    "another run waits for this system already, and does what is due",
                ));
            }
            Err(NoLock::Busy) => {
                return Err(Failure::new(Kind::Busy, "another run for this system does not end"));
            }
            Err(NoLock::Failure(failure)) => return Err(failure),
        };
        let mut journal = SystemJournal::open(self)?;
        if let Some(why) = journal.offline() {
            let why = format!("{why}; nothing is given until then");
            self.show(ReconcileView::of_system(self.name, ReconcileState::Offline, why));
        }
        for _ in 0..ROUNDS {
            if self.round(&lock, &mut journal)? {
                break;
            }
        }
        Ok(())
    }

    /// For what the thread with the backend has to do.
    pub fn calls(&self) -> Calls {
        Calls(self.asks.clone())
    }

    /// Long enough for all that another run may do.
    pub fn patience(&self) -> LockWait {
        let programs = self.connector.map_or(Duration::ZERO, program::longest) * PROGRAMS * ROUNDS;
        LockWait { queue: if self.background { Duration::ZERO } else { QUEUE }, run: programs + BESIDES }
    }

    /// Returns whether nothing is left to do.
    fn round(&self, lock: &SystemLock, journal: &mut SystemJournal<'_>) -> Result<bool, Failure> {
        let known = self.desired(journal)?;
        let entries = journal.entries()?;
        if self.connector.is_none() && known.state.host.is_some() && entries.is_empty() {
            // Other hosts have the connector.
            return Ok(true);
        }
        let parameters = self.parameters(&known, &entries);
        let listed = self.list(lock, &parameters);
        let first = make_plan(&known, &listed, &entries);
        self.show_unseen(&listed);
        self.show_refused(&known);
        if !self.fix {
            first.differences.iter().for_each(|difference| self.show(ReconcileView::of_difference(difference)));
            return Ok(true);
        }
        if first.withheld > 0 && journal.offline().is_none() {
            let why =
                format!("this host does not hear from the shared log, so it gives nothing; {} due", first.withheld);
            self.show(ReconcileView::of_system(self.name, ReconcileState::Offline, why));
        }
        journal.change(&first.settled)?;
        self.show_unexplained(&first);
        if first.acts.is_empty() || self.connector.is_none() {
            let entries = journal.entries()?;
            self.report(&known, &listed, &entries, &known.refused, &BTreeMap::new(), &first.differences)?;
            return Ok(true);
        }
        self.carry_out(lock, journal, &first, &listed, &parameters)
    }

    /// Does what was planned and is still desired. Returns whether nothing else turned up meanwhile.
    fn carry_out(
        &self,
        lock: &SystemLock,
        journal: &mut SystemJournal<'_>,
        first: &SystemPlan,
        listed: &SystemHoldings,
        parameters: &BTreeSet<Parameters>,
    ) -> Result<bool, Failure> {
        let before = journal.entries()?;
        let intents = first.acts.iter().map(|act| (act.holding.clone(), Some(act.intent.clone())));
        journal.change(&intents.collect::<Vec<_>>())?;
        // What is desired may have changed while the program listed what is there.
        let known = self.desired(journal)?;
        let second = make_plan(&known, listed, &before);
        let second_acts: BTreeMap<&Holding, &PlannedAct> = second.acts.iter().map(|act| (&act.holding, act)).collect();
        let same = |act: &PlannedAct| {
            let again = second_acts.get(&act.holding);
            again.is_some_and(|again| again.kind == act.kind && again.intent.until == act.intent.until)
        };
        let (acts, dropped): (Vec<&PlannedAct>, Vec<&PlannedAct>) = first.acts.iter().partition(|act| same(act));
        let restored = |act: &&PlannedAct| (act.holding.clone(), before.get(&act.holding).cloned());
        journal.change(&dropped.iter().map(restored).collect::<Vec<_>>())?;

        let (answers, after) = self.act(lock, &acts, parameters, listed);
        let mut notes = BTreeMap::new();
        let (mut changes, mut failures): (Vec<JournalChange>, _) = (Vec::new(), known.refused.clone());
        for (act, answer) in acts.iter().zip(&answers) {
            let is_found = after.is_seen(&act.holding).then(|| after.found.contains(&act.holding));
            let (entry, done) = conclude(act, is_found, answer, before.get(&act.holding));
            let done = done.map_err(|why| match after.unseen.get(&act.holding.parameters) {
                Some(unseen) if matches!(answer, Ok(ConnectorAnswer::Done { .. })) => format!("{why}: {unseen}"),
                _ => why,
            });
            changes.push((act.holding.clone(), entry));
            let note = match answer {
                Ok(ConnectorAnswer::Done { note, .. }) => note.as_ref(),
                _ => None,
            };
            if act.kind == ActKind::Revoke {
                notes.extend(note.map(|note| (act.holding.clone(), note.clone())));
            }
            // What was taken back to be safe was not there.
            if act.was_found || act.kind == ActKind::Grant || done.is_err() {
                self.show(ReconcileView::of_act(act, done.as_ref().err().cloned(), note.cloned()));
            }
            if let Err(why) = done {
                failures.insert(act.holding.clone(), why);
            }
        }
        let given = acts.iter().filter(|act| act.kind == ActKind::Grant);
        let begun = given.map(|act| (act.holding.clone(), act.intent.clone())).collect();
        if !journal.conclude(&begun, &changes)? {
            return Ok(false);
        }
        if let (Some(why), None) = (&after.failure, &listed.failure) {
            self.show(ReconcileView::of_system(self.name, ReconcileState::Unreachable, why.clone()));
        }
        let entries = journal.entries()?;
        self.report(&known, &after, &entries, &failures, &notes, &first.differences)?;
        Ok(dropped.is_empty() && second.acts.len() == acts.len())
    }

    /// What should be there, as of now. The position is on record before anything is done that follows from it.
    fn desired(&self, journal: &SystemJournal<'_>) -> Result<Known, Failure> {
        let (answer, answered) = channel();
        let gone = || Failure::new(Kind::Internal, "the thread that reads the database has ended");
        self.asks.send(SystemAsk::Desired(answer)).map_err(|_| gone())?;
        let DesiredRows { rows, state } = answered.recv().map_err(|_| gone())??;
        if self.fix {
            if !state.continues {
                return Err(restored(journal.local.position()?.as_ref()));
            }
            saw(&journal.local, &state.position)?;
        }
        let all = merged(rows.into_iter().filter(|row| row.holding.connector == *self.name));
        let mut allowed = all.clone();
        let mut refused = BTreeMap::new();
        for holding in all.keys() {
            if let Some(why) = self.refusal(&holding.parameters) {
                allowed.remove(holding);
                refused.insert(holding.clone(), why);
            }
        }
        let is_ours = |binding: &Binding| binding.connector == *self.name;
        let bindings = state.bindings.iter().filter(|binding| is_ours(binding)).cloned().collect();
        let may_give = state.may_give && journal.offline().is_none();
        let record = SystemRecord::new(self.name, self.connector.map(|connector| connector.place), &state);
        Ok(Known { allowed, all, refused, bindings, may_give, record, state })
    }

    fn refusal(&self, parameters: &Parameters) -> Option<String> {
        match self.connector {
            Some(connector) => connector.refusal(parameters),
            None => Some(format!("no connector {} is configured on this machine", self.name)),
        }
    }

    /// All that is to be listed: what bindings name, and what was given before.
    fn parameters(&self, known: &Known, entries: &Entries) -> BTreeSet<Parameters> {
        let bound = known.bindings.iter().map(|binding| &binding.parameters);
        // What could not be given leaves nothing to look for, unless the journal knows better.
        let given = known.record.rows.iter().filter(|row| row.state != RecordedState::GrantFailed);
        let recorded = given.map(|row| &row.holding);
        let ours = entries.keys().chain(recorded).map(|holding| &holding.parameters);
        // What is refused today is still listed if something was given: it has to be taken back.
        let bound = bound.filter(|parameters| self.refusal(parameters).is_none());
        bound.chain(ours).cloned().collect()
    }

    /// Runs the acts, and the list after them.
    fn act(
        &self,
        lock: &SystemLock,
        acts: &[&PlannedAct],
        parameters: &BTreeSet<Parameters>,
        before: &SystemHoldings,
    ) -> (Vec<Answered>, SystemHoldings) {
        let Some(connector) = self.connector else { return (Vec::new(), SystemHoldings::default()) };
        // What could not be listed before would spoil the list.
        let seen = parameters.iter().filter(|one| !before.unseen.contains_key(*one)).cloned();
        let seen: BTreeSet<Parameters> = seen.collect();
        let mut operations: Vec<Operation> = acts.iter().map(|act| act.operation()).collect();
        if !seen.is_empty() {
            operations.push(Operation::List { parameters: seen.iter().cloned().collect() });
        }
        let mut answers = program::run(connector, &operations, |group| lock.note(group));
        lock.forget();
        let found = if seen.is_empty() { Ok(FoundHoldings::new()) } else { self.listed(&seen, answers.pop()) };
        let after = match found {
            Ok(found) => SystemHoldings { found, unseen: before.unseen.clone(), failure: before.failure.clone() },
            // A program that was stopped at its time limit may answer when it has nothing else to do.
            Err(_) => self.list(lock, parameters),
        };
        (answers, after)
    }

    /// Records how it is now.
    fn report(
        &self,
        known: &Known,
        listed: &SystemHoldings,
        entries: &Entries,
        failures: &BTreeMap<Holding, String>,
        notes: &BTreeMap<Holding, String>,
        differences: &[Mismatch],
    ) -> Result<(), Failure> {
        // Another host may have the connector.
        if !self.fix || known.state.host.is_some() && self.connector.is_none() {
            return Ok(());
        }
        let failure = listed.failure.as_deref();
        let aftermath = Aftermath {
            desired: &known.all,
            found: failure.is_none().then_some(&listed.found),
            unseen: &listed.unseen,
            journal: entries,
            recorded: &known.record.rows,
            failures,
            failure,
        };
        let drift = failure.is_none().then(|| {
            let real = differences.iter().filter(|difference| !difference.is_due);
            let real = real.map(|it| DriftView { drift: it.drift, holding: it.holding.clone() });
            // What could not be looked at is as it was.
            let hidden = |it: &&DriftView| !listed.is_seen(&it.holding);
            real.chain(known.record.drift.iter().filter(hidden).cloned()).collect::<Vec<_>>()
        });
        let outcomes = aftermath.outcomes();
        let was_tried = |it: &Holding| failures.contains_key(it) && !known.refused.contains_key(it);
        let is_unseen = |it: &Holding| failure.is_some() || !listed.is_seen(it);
        let untried = |it: &&OutcomeView| is_unseen(&it.holding) && !was_tried(&it.holding);
        outcomes.iter().filter(untried).filter_map(ReconcileView::of_failed).for_each(|view| self.show(view));
        let noted = |it: OutcomeView| match it.outcome {
            ProvisioningOutcome::Revoked { still_held, .. } => {
                let note = notes.get(&it.holding).cloned();
                OutcomeView { outcome: ProvisioningOutcome::Revoked { still_held, note }, ..it }
            }
            _ => it,
        };
        let outcomes = known.record.outcomes(outcomes.into_iter().map(noted).collect(), entries);
        let was: BTreeSet<String> = known.record.drift.iter().map(key_of).collect();
        let is_news = drift.as_ref().is_some_and(|drift| drift.iter().map(key_of).collect::<BTreeSet<_>>() != was);
        if outcomes.is_empty() && !is_news {
            return Ok(());
        }
        let (answer, answered) = channel();
        let gone = || Failure::new(Kind::Internal, "the thread that writes the record has ended");
        let (drift, host) = (drift.map(|drift| known.record.drift(drift)), known.record.host.clone());
        let report = Report { connector: self.name.clone(), outcomes, drift, host };
        self.asks.send(SystemAsk::Record(report, answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    fn show(&self, view: ReconcileView) {
        // The receiver is there for as long as this thread runs.
        let _ = self.asks.send(SystemAsk::Show(view));
    }

    fn show_refused(&self, known: &Known) {
        let refused: BTreeSet<(&Binding, String)> =
            known.bindings.iter().filter_map(|binding| Some((binding, self.refusal(&binding.parameters)?))).collect();
        for (binding, why) in refused {
            self.show(ReconcileView::of_refused(binding, why));
        }
    }

    fn show_unseen(&self, listed: &SystemHoldings) {
        if let Some(why) = &listed.failure {
            return self.show(ReconcileView::of_system(self.name, ReconcileState::Unreachable, why.clone()));
        }
        for (parameters, why) in &listed.unseen {
            let view = ReconcileView::of_system(self.name, ReconcileState::Unreachable, why.clone());
            self.show(ReconcileView { parameters: Some(parameters.clone()), ..view });
        }
    }

    fn show_unexplained(&self, plan: &SystemPlan) {
        let unexplained = plan.differences.iter().filter(|difference| difference.drift == Drift::Unexplained);
        unexplained.for_each(|difference| self.show(ReconcileView::of_difference(difference)));
    }
}

fn key_of(view: &DriftView) -> String {
    format!("{:?} {}", view.drift, view.holding)
}

/// Holdings that several rows give are there once.
fn merged(rows: impl Iterator<Item = DesiredView>) -> Desired {
    let mut desired = Desired::new();
    for row in rows {
        match desired.get_mut(&row.holding) {
            None => {
                desired.insert(row.holding.clone(), row);
            }
            Some(first) => {
                first.requests.extend(row.requests);
                first.requests.sort_unstable();
                first.requests.dedup();
                first.until = first.until.zip(row.until).map(|(one, other)| one.max(other));
                first.end_sessions |= row.end_sessions;
            }
        }
    }
    desired
}

/// The plan. Where nothing could be listed, nothing is given, and what access gave is taken back: that does not depend on the list.
fn make_plan(known: &Known, listed: &SystemHoldings, entries: &Entries) -> SystemPlan {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let nonce = format!("{nanos:x}-{}", std::process::id());
    let end_sessions = |holding: &Holding| {
        let mut bindings = known.bindings.iter().filter(|binding| binding.parameters == holding.parameters).peekable();
        bindings.peek()?;
        Some(bindings.any(|binding| binding.end_sessions))
    };
    let (mut desired, mut entries) = (known.allowed.clone(), entries.clone());
    desired.retain(|holding, _| listed.is_seen(holding));
    entries.retain(|holding, entry| {
        let is_ours_and_over = entry.state != JournalState::Before && !known.allowed.contains_key(holding);
        listed.is_seen(holding) || is_ours_and_over
    });
    let now = Now { now: known.state.now, nonce: &nonce, end_sessions: &end_sessions };
    let mut plan = plan(&desired, &listed.found, &entries, &now);
    if !known.may_give {
        plan.only_take(&entries);
    }
    plan
}

/// Writes only what is new: each write waits for the disk.
pub fn saw(journal: &Journal, position: &Position) -> Result<(), Failure> {
    if journal.position()?.as_ref() != Some(position) {
        journal.saw(position)?;
    }
    Ok(())
}

/// The log is behind what was seen before, or it is another one.
pub fn restored(known: Option<&Position>) -> Failure {
    let why = match known {
        Some(_) => {
            "the log does not go on from what the reconciler saw last: it was restored from a backup, or it is another one"
        }
        None => {
            "this log has provisioned access before, and there is no journal of it here: it is a backup, it was moved, or \
             the journal was lost"
        }
    };
    Failure::new(Kind::Refused, format!("{why}; nothing was given or taken back"))
        .hint("see what would change with `access reconcile`")
        .hint("access that was revoked after the backup would be given again: revoke it first")
        .hint("then run `access reconcile --accept-restore`")
}
