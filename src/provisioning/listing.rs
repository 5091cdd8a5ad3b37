//! What a system has, as its connector lists it.

use std::collections::BTreeSet;

use super::answers::Answered;
use super::lock::SystemLock;
use super::plan::{FoundHoldings, Unseen};
use super::program;
use super::system::SystemRun;
use crate::config::Connector;
use crate::connectors::protocol::{ConnectorAnswer, Operation};
use crate::domain::binding::{Holding, Parameters};

/// What the system lists.
#[derive(Default)]
pub struct SystemHoldings {
    pub found: FoundHoldings,
    pub unseen: Unseen,
    /// Why nothing could be listed.
    pub failure: Option<String>,
}

impl SystemHoldings {
    pub fn is_seen(&self, holding: &Holding) -> bool {
        !self.unseen.contains_key(&holding.parameters)
    }

    /// Nothing could be listed.
    fn failed(parameters: &BTreeSet<Parameters>, why: String) -> SystemHoldings {
        let unseen = parameters.iter().map(|one| (one.clone(), why.clone())).collect();
        SystemHoldings { found: FoundHoldings::new(), unseen, failure: Some(why) }
    }
}

impl SystemRun<'_> {
    pub fn list(&self, lock: &SystemLock, parameters: &BTreeSet<Parameters>) -> SystemHoldings {
        let connector = match self.connector {
            // Nothing was ever given there, and a binding that names it is refused as such.
            None if parameters.is_empty() => return SystemHoldings::default(),
            None => {
                let why = format!("no connector {} is configured on this machine", self.name);
                return SystemHoldings::failed(parameters, why);
            }
            Some(connector) => connector,
        };
        if parameters.is_empty() {
            return SystemHoldings::default();
        }
        let operation = Operation::List { parameters: parameters.iter().cloned().collect() };
        let mut answers = program::run(connector, &[operation], |group| lock.note(group));
        lock.forget();
        match self.listed(parameters, answers.pop()) {
            Ok(found) => SystemHoldings { found, ..SystemHoldings::default() },
            Err(why) if parameters.len() > 1 => self.list_each(connector, lock, parameters, why),
            Err(why) => SystemHoldings::failed(parameters, why),
        }
    }

    /// Asks for each set separately, so that one which the system can't list hides no other. `why`: what it said to all.
    fn list_each(
        &self,
        connector: &Connector,
        lock: &SystemLock,
        parameters: &BTreeSet<Parameters>,
        why: String,
    ) -> SystemHoldings {
        let operation = |one: &Parameters| Operation::List { parameters: vec![one.clone()] };
        let operations: Vec<Operation> = parameters.iter().map(operation).collect();
        let answers = program::run(connector, &operations, |group| lock.note(group));
        lock.forget();
        let mut listed = SystemHoldings::default();
        for (one, answer) in parameters.iter().zip(answers) {
            match self.listed(&BTreeSet::from([one.clone()]), Some(answer)) {
                Ok(found) => listed.found.extend(found),
                Err(why) => {
                    listed.unseen.insert(one.clone(), why);
                }
            }
        }
        listed.failure = (listed.unseen.len() == parameters.len()).then_some(why);
        listed
    }

    pub fn listed(&self, parameters: &BTreeSet<Parameters>, answer: Option<Answered>) -> Result<FoundHoldings, String> {
        match answer {
            Some(Ok(ConnectorAnswer::Holds(holders))) => {
                // What nobody asked about is not ours.
                let asked = holders.into_iter().filter(|holder| parameters.contains(&holder.parameters));
                Ok(asked
                    .map(|holder| Holding {
                        connector: self.name.clone(),
                        login: holder.login,
                        parameters: holder.parameters,
                    })
                    .collect())
            }
            Some(Ok(ConnectorAnswer::Failed(why) | ConnectorAnswer::Later(why)) | Err(why)) => Err(why),
            Some(Ok(ConnectorAnswer::Done { .. })) | None => Err("it did not answer".to_owned()),
        }
    }
}
