//! `connector test`: tries a connector with a login that holds nothing there. Each operation is carried out twice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::answers::Answered;
use super::lock::{LockWait, NoLock, SystemLock, adopt_strays, end_strays};
use super::program;
use crate::backend::Backend;
use crate::config::Connector;
use crate::connectors::protocol::{ConnectorAnswer, Holder, Operation, Provision};
use crate::domain::binding::{Holding, Parameters};
use crate::domain::member::Login;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::store::{Journal, JournalEntry, JournalState};

/// How long to wait for a run of the reconciler.
const PATIENCE: Duration = Duration::from_secs(60);

/// One step of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStep {
    pub step: String,
    pub ok: bool,
    pub error: Option<String>,
    /// What the connector says that an act does not reach.
    pub note: Option<String>,
}

struct Trial<'t> {
    connector: &'t Connector,
    lock: &'t SystemLock,
    login: Login,
    parameters: Parameters,
    show: &'t mut dyn FnMut(TrialStep) -> Result<(), Failure>,
    failed: bool,
}

/// Tries a connector. Returns whether all went well.
pub fn try_out(
    backend: &Backend,
    connector: &Connector,
    (login, parameters): (Login, Parameters),
    now: Timestamp,
    show: &mut dyn FnMut(TrialStep) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    if let Some(why) = connector.refusal(&parameters) {
        return Err(Failure::new(Kind::Refused, why).hint("add the value to `allow` of this connector in config.toml"));
    }
    let others = adopt_strays();
    let path = backend.journal()?;
    let mut journal = Journal::open(&path)?;
    let patience = LockWait { queue: PATIENCE, run: PATIENCE };
    let lock = match SystemLock::take(&path, &connector.name, &patience) {
        Ok(lock) => lock,
        Err(NoLock::Failure(failure)) => return Err(failure),
        Err(NoLock::Waiting | NoLock::Busy) => {
            return Err(Failure::new(Kind::Busy, "another run for this system is under way; nothing was done"));
        }
    };
    let holding = Holding { connector: connector.name.clone(), login: login.clone(), parameters: parameters.clone() };
    let mut trial = Trial { connector, lock: &lock, login, parameters, show, failed: false };
    let entries = journal.entries(&connector.name)?;
    if !trial.begins_with_nothing()? {
        end_strays(&others);
        return Ok(false);
    }
    if !entries.contains_key(&holding) {
        // If this is killed, the next run of the reconciler takes it back.
        let state = JournalState::Granting;
        let entry = JournalEntry {
            state,
            since: now,
            requests: Vec::new(),
            until: None,
            end_sessions: false,
            key: key("test"),
        };
        journal.change(&[(holding.clone(), Some(entry))])?;
    }
    let given = trial.cycle();
    // What was not given must not be taken back: it can be somebody else's.
    let is_gone = matches!(given, Ok(false)) || trial.holders().is_ok_and(|holders| !holders.contains(&trial.holder()));
    if is_gone && !entries.contains_key(&holding) {
        journal.change(&[(holding, None)])?;
    }
    let failed = trial.failed;
    end_strays(&others);
    given.map(|_| !failed)
}

fn key(act: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{nanos:x}-{act}")
}

impl Trial<'_> {
    fn holder(&self) -> Holder {
        Holder { login: self.login.clone(), parameters: self.parameters.clone() }
    }

    fn step(&mut self, step: &str, done: Result<Option<String>, String>) -> Result<bool, Failure> {
        let ok = done.is_ok();
        self.failed |= !ok;
        let (note, error) = match done {
            Ok(note) => (note, None),
            Err(error) => (None, Some(error)),
        };
        (self.show)(TrialStep { step: step.to_owned(), ok, error, note })?;
        Ok(ok)
    }

    fn run(&self, operation: Operation) -> Answered {
        let mut answers = program::run(self.connector, &[operation], |group| self.lock.note(group));
        self.lock.forget();
        answers.pop().unwrap_or_else(|| Err("it did not answer".to_owned()))
    }

    fn holders(&self) -> Result<Vec<Holder>, String> {
        match self.run(Operation::List { parameters: vec![self.parameters.clone()] }) {
            Ok(ConnectorAnswer::Holds(holders)) => Ok(holders),
            Ok(ConnectorAnswer::Failed(why) | ConnectorAnswer::Later(why)) | Err(why) => Err(why),
            Ok(ConnectorAnswer::Done { .. }) => Err("it did not answer with a list".to_owned()),
        }
    }

    fn begins_with_nothing(&mut self) -> Result<bool, Failure> {
        let first = self.holders();
        let why = |holders: &Vec<Holder>| {
            holders
                .contains(&self.holder())
                .then(|| format!("{} holds this already: name a login that does not with --login", self.login))
        };
        let listed = first.clone().and_then(|holders| why(&holders).map_or(Ok(None), Err));
        if !self.step("list", listed)? {
            return Ok(false);
        }
        let again = self.holders().and_then(|again| match first {
            Ok(first) if sorted(first.clone()) == sorted(again) => Ok(None),
            _ => Err("the second list differs from the first".to_owned()),
        });
        self.step("list again", again)
    }

    /// Gives it and takes it back. Returns whether it was given, or may have been.
    fn cycle(&mut self) -> Result<bool, Failure> {
        let provision = |key| Provision {
            login: self.login.clone(),
            parameters: self.parameters.clone(),
            request: None,
            until: None,
            end_sessions: false,
            key,
        };
        let (grant, revoke) = (provision(key("grant")), provision(key("revoke")));
        let steps = [
            ("grant", Operation::Grant(grant.clone()), true),
            ("grant again", Operation::Grant(grant), true),
            ("revoke", Operation::Revoke(revoke.clone()), false),
            ("revoke again", Operation::Revoke(revoke), false),
        ];
        for (step, operation, is_held) in steps {
            let answer = self.run(operation);
            let was_not_given = step == "grant"
                && matches!(answer, Ok(ConnectorAnswer::Failed(_) | ConnectorAnswer::Done { was_there: true, .. }));
            let done = match answer {
                // What it says was there would never be taken back.
                Ok(ConnectorAnswer::Done { was_there: true, .. }) if step == "grant" => {
                    Err("it says that this was there before, and did not list it".to_owned())
                }
                Ok(ConnectorAnswer::Done { note, .. }) => Ok(note),
                Ok(ConnectorAnswer::Failed(why) | ConnectorAnswer::Later(why)) | Err(why) => Err(why),
                Ok(ConnectorAnswer::Holds(_)) => Err("it answered with a list".to_owned()),
            };
            self.step(step, done)?;
            if was_not_given {
                return Ok(false);
            }
            let listed = self.holders().and_then(|holders| match (holders.contains(&self.holder()), is_held) {
                (true, false) => Err(format!("{} is still listed after `{step}`", self.login)),
                (false, true) => Err(format!("{} is not listed after `{step}`", self.login)),
                (true, true) | (false, false) => Ok(None),
            });
            self.step(&format!("list after {step}"), listed)?;
        }
        Ok(true)
    }
}

fn sorted(mut holders: Vec<Holder>) -> Vec<Holder> {
    holders.sort_by(|one, other| (&one.login, &one.parameters).cmp(&(&other.login, &other.parameters)));
    holders
}
