//! Decides what has to be done in one system, and what the result was. Pure: its input is what should be there, what was found,
//! and what the journal and the log say.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::answers::Answered;
use crate::connectors::protocol::{ConnectorAnswer, Operation, Provision};
use crate::domain::binding::{Holding, Parameters};
use crate::domain::principal::lasts_longer;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::protocol::{DesiredView, Drift, OutcomeView, ProvisioningOutcome, RecordedState, RecordedView};
use crate::store::{JournalChange, JournalEntry, JournalState};

/// What every login should hold in this system.
pub type Desired = BTreeMap<Holding, DesiredView>;
/// What it holds there.
pub type FoundHoldings = BTreeSet<Holding>;
pub type Entries = BTreeMap<Holding, JournalEntry>;
/// The parameters whose holders the system could not list, and why.
pub type Unseen = BTreeMap<Parameters, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActKind {
    Grant,
    Revoke,
}

/// Something that is to be done. `intent` is in the journal before it is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedAct {
    pub kind: ActKind,
    pub holding: Holding,
    pub intent: JournalEntry,
    /// Whether the system had it before. Then the list does not prove that the act was done.
    pub was_found: bool,
}

impl PlannedAct {
    pub fn operation(&self) -> Operation {
        let provision = Provision {
            login: self.holding.login.clone(),
            parameters: self.holding.parameters.clone(),
            request: self.intent.requests.first().copied(),
            until: if self.kind == ActKind::Grant { self.intent.until } else { None },
            end_sessions: self.intent.end_sessions,
            key: self.intent.key.clone(),
        };
        match self.kind {
            ActKind::Grant => Operation::Grant(provision),
            ActKind::Revoke => Operation::Revoke(provision),
        }
    }
}

/// A difference between what is desired and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub holding: Holding,
    pub drift: Drift,
    /// Whether it follows from grants that began or ended since the last run. Otherwise somebody changed the system.
    pub is_due: bool,
    pub requests: Vec<RequestId>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct SystemPlan {
    pub acts: Vec<PlannedAct>,
    /// What the journal has to say without any act.
    pub settled: Vec<JournalChange>,
    pub differences: Vec<Mismatch>,
    /// How many acts were left out because they give something.
    pub withheld: usize,
}

/// What the plan needs beside the three sets.
pub struct Now<'n> {
    pub now: Timestamp,
    /// Different for each plan. The keys of new acts begin with it.
    pub nonce: &'n str,
    /// Whether the bindings say today that a revoke of this holding ends sessions. None: no binding gives it any more.
    pub end_sessions: &'n dyn Fn(&Holding) -> Option<bool>,
}

/// Compares what is desired with what was found.
pub fn plan(desired: &Desired, found: &FoundHoldings, journal: &Entries, now: &Now<'_>) -> SystemPlan {
    let mut plan = SystemPlan::default();
    let all: BTreeSet<&Holding> = desired.keys().chain(found).chain(journal.keys()).collect();
    for holding in all {
        let known = journal.get(holding);
        let is_found = found.contains(holding);
        match desired.get(holding) {
            Some(wanted) => plan.wanted(holding, wanted, is_found, known, now),
            None => plan.unwanted(holding, is_found, known, now),
        }
    }
    // A run may not get to the last one. What an earlier run tried comes after the rest, in another order each time.
    plan.acts.sort_by_cached_key(|act| {
        let was_tried = journal.get(&act.holding).is_some_and(|known| known.key == act.intent.key);
        was_tried.then(|| <[u8; 32]>::from(Sha256::digest(format!("{} {}", now.nonce, act.holding))))
    });
    plan
}

impl SystemPlan {
    fn wanted(
        &mut self,
        holding: &Holding,
        wanted: &DesiredView,
        is_found: bool,
        known: Option<&JournalEntry>,
        now: &Now<'_>,
    ) {
        let entry = |state, key: String| JournalEntry {
            state,
            since: known.filter(|known| known.state == state).map_or(now.now, |known| known.since),
            requests: wanted.requests.clone(),
            until: wanted.until,
            end_sessions: wanted.end_sessions,
            key,
        };
        let state = known.map(|known| known.state);
        if is_found {
            let settled = match (state, known) {
                (None | Some(JournalState::Before), _) => Some(JournalState::Before),
                // A new end is given to the system too.
                (Some(JournalState::Granted), Some(known)) if known.until == wanted.until => {
                    Some(JournalState::Granted)
                }
                _ => None,
            };
            if let Some(state) = settled {
                let entry = entry(state, String::new());
                if known != Some(&entry) {
                    self.settled.push((holding.clone(), Some(entry)));
                }
                return;
            }
        } else {
            let was_there = matches!(state, Some(JournalState::Before | JournalState::Granted));
            self.differ(holding, Drift::Missing, !was_there, &wanted.requests);
        }
        // The same try goes on, with the same key.
        let goes_on = |known: &&JournalEntry| known.state == JournalState::Granting && known.until == wanted.until;
        let key = known.filter(goes_on).map_or_else(|| self.key(now), |known| known.key.clone());
        self.act(ActKind::Grant, holding, entry(JournalState::Granting, key), is_found);
    }

    fn unwanted(&mut self, holding: &Holding, is_found: bool, known: Option<&JournalEntry>, now: &Now<'_>) {
        // What is ours is taken back also if it is not listed. The list can be wrong, and an act whose end is unknown may
        // still have its effect.
        match known.filter(|known| known.state != JournalState::Before) {
            Some(known) => {
                if is_found {
                    self.differ(holding, Drift::Stale, true, &known.requests);
                }
                let goes_on = known.state == JournalState::Revoking;
                let intent = JournalEntry {
                    state: JournalState::Revoking,
                    since: if goes_on { known.since } else { now.now },
                    end_sessions: (now.end_sessions)(holding).unwrap_or(known.end_sessions),
                    key: if goes_on { known.key.clone() } else { self.key(now) },
                    ..known.clone()
                };
                self.act(ActKind::Revoke, holding, intent, is_found);
            }
            None => {
                if is_found {
                    self.differ(holding, Drift::Unexplained, false, &[]);
                }
                if known.is_some() {
                    self.settled.push((holding.clone(), None));
                }
            }
        }
    }

    /// Leaves out what gives something, or gives it for longer.
    pub fn only_take(&mut self, journal: &Entries) {
        let all = self.acts.len();
        self.acts.retain(|act| match (act.kind, journal.get(&act.holding)) {
            (ActKind::Revoke, _) => true,
            (ActKind::Grant, Some(known)) => act.was_found && lasts_longer(known.until, act.intent.until),
            (ActKind::Grant, None) => false,
        });
        self.withheld = all - self.acts.len();
    }

    fn key(&self, now: &Now<'_>) -> String {
        format!("{}-{}", now.nonce, self.acts.len())
    }

    fn act(&mut self, kind: ActKind, holding: &Holding, intent: JournalEntry, was_found: bool) {
        self.acts.push(PlannedAct { kind, holding: holding.clone(), intent, was_found });
    }

    fn differ(&mut self, holding: &Holding, drift: Drift, is_due: bool, requests: &[RequestId]) {
        self.differences.push(Mismatch { holding: holding.clone(), drift, is_due, requests: requests.to_vec() });
    }
}

/// What came of an act: what the journal says now, and why it failed if it did. `is_found`: whether the system lists it
/// afterwards. None: it could not be asked, so the intent stays.
pub fn conclude(
    act: &PlannedAct,
    is_found: Option<bool>,
    answer: &Answered,
    before: Option<&JournalEntry>,
) -> (Option<JournalEntry>, Result<(), String>) {
    let intent = || Some(act.intent.clone());
    let why = || match answer {
        Ok(ConnectorAnswer::Failed(why) | ConnectorAnswer::Later(why)) | Err(why) => why.clone(),
        Ok(ConnectorAnswer::Done { .. } | ConnectorAnswer::Holds(_)) => match (act.kind, is_found) {
            (_, None) => "whether it is done could not be seen".to_owned(),
            (ActKind::Grant, _) => "the program says that it is done, but does not list it".to_owned(),
            (ActKind::Revoke, _) => "the program says that it is done, but still lists it".to_owned(),
        },
    };
    let is_done = matches!(answer, Ok(ConnectorAnswer::Done { .. }));
    match (act.kind, is_found) {
        // The list did not show it. After an earlier try of ours it proves nothing: that one may have given it.
        (ActKind::Grant, _) if was_there(answer) && before.is_none_or(is_foreign) => {
            let entry = JournalEntry { state: JournalState::Before, key: String::new(), ..act.intent.clone() };
            (Some(entry), if is_found == Some(true) { Ok(()) } else { Err(why()) })
        }
        (_, None) => (intent(), Err(why())),
        // The list decides what happened to an act without an answer, unless it was listed before too.
        (ActKind::Grant, Some(true)) if is_done || (answer.is_err() && !act.was_found) => {
            let granted = JournalEntry { state: JournalState::Granted, key: String::new(), ..act.intent.clone() };
            (Some(granted), Ok(()))
        }
        (ActKind::Grant, Some(true)) => (intent(), Err(why())),
        // It was certainly not given now. Whether it was by an earlier try may still be unknown.
        (ActKind::Grant, Some(false)) if matches!(answer, Ok(ConnectorAnswer::Failed(_))) => {
            match before.map(|before| before.state) {
                Some(JournalState::Granting | JournalState::Revoking) => (intent(), Err(why())),
                Some(JournalState::Before | JournalState::Granted) | None => (before.cloned(), Err(why())),
            }
        }
        // A system that says later may do it later.
        (ActKind::Grant, Some(false)) => (intent(), Err(why())),
        (ActKind::Revoke, Some(false)) if is_done => (None, Ok(())),
        // What was taken back leaves sessions, which only the program can see.
        (ActKind::Revoke, Some(false)) if act.was_found && act.intent.end_sessions => (intent(), Err(why())),
        // The list may be wrong that it is gone.
        (ActKind::Revoke, Some(false)) if before.is_some_and(|before| was_given(before) && !act.was_found) => {
            (intent(), Err(why()))
        }
        // An unknown grant may still have its effect. It is taken back until the program says that this is done.
        (ActKind::Revoke, Some(false)) => (intent(), Ok(())),
        (ActKind::Revoke, Some(true)) => (intent(), Err(why())),
    }
}

fn was_there(answer: &Answered) -> bool {
    matches!(answer, Ok(ConnectorAnswer::Done { was_there: true, .. }))
}

fn is_foreign(entry: &JournalEntry) -> bool {
    entry.state == JournalState::Before
}

/// Whether it was certainly given, or a revoke is under way that ends sessions too.
fn was_given(entry: &JournalEntry) -> bool {
    entry.state == JournalState::Granted || (entry.state == JournalState::Revoking && entry.end_sessions)
}

/// What is known after a run, for the record.
pub struct Aftermath<'a> {
    /// Also those that are refused.
    pub desired: &'a Desired,
    /// None: the system could not be asked.
    pub found: Option<&'a FoundHoldings>,
    pub unseen: &'a Unseen,
    pub journal: &'a Entries,
    pub recorded: &'a [RecordedView],
    /// Why something that is due is not done, by holding.
    pub failures: &'a BTreeMap<Holding, String>,
    /// Why nothing could be done at all.
    pub failure: Option<&'a str>,
}

impl Aftermath<'_> {
    fn failure(&self, holding: &Holding) -> Option<String> {
        let own = self.failures.get(holding).or_else(|| self.unseen.get(&holding.parameters));
        own.map(String::as_str).or(self.failure).map(str::to_owned)
    }

    fn is_found(&self, holding: &Holding) -> Option<bool> {
        let found = self.found.filter(|_| !self.unseen.contains_key(&holding.parameters));
        found.map(|found| found.contains(holding))
    }

    /// What is to be recorded: how it is, not what this run did. So a run that was killed before it could record leaves
    /// nothing out.
    pub fn outcomes(&self) -> Vec<OutcomeView> {
        let mut outcomes = Vec::new();
        let mut add = |holding: &Holding, request, outcome| {
            outcomes.push(OutcomeView { holding: holding.clone(), request, outcome });
        };
        let granted: BTreeSet<(&Holding, Option<RequestId>)> = self
            .recorded
            .iter()
            .filter(|row| row.state == RecordedState::Granted)
            .map(|row| (&row.holding, row.request))
            .collect();
        for (holding, wanted) in self.desired {
            for request in each(&wanted.requests) {
                match (self.failure(holding), self.is_found(holding)) {
                    (Some(why), _) if !self.is_still_there(holding, request, &granted) => {
                        add(holding, request, ProvisioningOutcome::GrantFailed { why });
                    }
                    (None, Some(true)) if !granted.contains(&(holding, request)) => {
                        add(holding, request, ProvisioningOutcome::Granted);
                    }
                    _ => {}
                }
            }
        }
        for row in self.recorded {
            let holding = &row.holding;
            let wanted = self.desired.get(holding);
            if wanted.is_some_and(|wanted| each(&wanted.requests).contains(&row.request)) {
                continue;
            }
            let ours = self.journal.get(holding).filter(|entry| entry.state != JournalState::Before);
            // It was given, and the program has not said that it is taken back. The list may be wrong.
            let is_unconfirmed = ours.is_some() && wanted.is_none() && row.state != RecordedState::GrantFailed;
            let outcome = match (self.failure(holding), self.is_found(holding)) {
                // It was never given, so there is nothing to take back.
                (_, None | Some(false)) if row.state == RecordedState::GrantFailed && ours.is_none() => {
                    ProvisioningOutcome::Revoked { still_held: false, note: None }
                }
                // Something else gives it as well, so it is not to be taken away.
                (_, found) if wanted.is_some() && found != Some(false) => {
                    ProvisioningOutcome::Revoked { still_held: true, note: None }
                }
                (Some(why), found) if found != Some(false) || is_unconfirmed => {
                    ProvisioningOutcome::RevokeFailed { why }
                }
                (None, Some(false)) if is_unconfirmed => continue,
                (_, Some(false)) => ProvisioningOutcome::Revoked { still_held: false, note: None },
                (None, Some(true)) if ours.is_none() => ProvisioningOutcome::Revoked { still_held: true, note: None },
                _ => continue,
            };
            add(holding, row.request, outcome);
        }
        let on_record: BTreeSet<(&Holding, Option<RequestId>)> =
            self.recorded.iter().map(|row| (&row.holding, row.request)).collect();
        for (holding, entry) in self.journal {
            let ours = entry.state != JournalState::Before;
            let Some(why) = self.failure(holding).filter(|_| ours && !self.desired.contains_key(holding)) else {
                continue;
            };
            for request in each(&entry.requests) {
                if !on_record.contains(&(holding, request)) {
                    add(holding, request, ProvisioningOutcome::RevokeFailed { why: why.clone() });
                }
            }
        }
        outcomes
    }

    /// Whether a grant that is on record keeps its effect though the system can't be asked now.
    fn is_still_there(
        &self,
        holding: &Holding,
        request: Option<RequestId>,
        granted: &BTreeSet<(&Holding, Option<RequestId>)>,
    ) -> bool {
        self.is_found(holding).is_none()
            && !self.failures.contains_key(holding)
            && granted.contains(&(holding, request))
    }
}

/// The requests of a holding. Baseline access has none.
pub fn each(requests: &[RequestId]) -> Vec<Option<RequestId>> {
    if requests.is_empty() { vec![None] } else { requests.iter().copied().map(Some).collect() }
}
