//! What the log records of one system. Where hosts share the log, what a connector of every host did is recorded with the host: each
//! has a system of its own.

use super::plan::Entries;
use crate::config::ConnectorPlace;
use crate::domain::binding::ParameterValue;
use crate::domain::name::Name;
use crate::protocol::{DesiredState, DriftView, OutcomeView, ProvisioningOutcome, RecordedView};
use crate::store::JournalState;

/// What is on record, without the host.
pub struct SystemRecord {
    pub rows: Vec<RecordedView>,
    pub drift: Vec<DriftView>,
    /// From before the log was shared, or from when it was.
    former: Vec<RecordedView>,
    pub host: Option<ParameterValue>,
}

impl SystemRecord {
    pub fn new(name: &Name, place: Option<ConnectorPlace>, state: &DesiredState) -> SystemRecord {
        let of_every_host = state.host.as_ref().filter(|_| place == Some(ConnectorPlace::EveryHost));
        let host = of_every_host.and_then(|host| host.parse().ok());
        let mut record = SystemRecord { rows: Vec::new(), drift: Vec::new(), former: Vec::new(), host };
        for row in state.recorded.iter().filter(|row| row.holding.connector == *name) {
            let (holding, its) = row.holding.clone().without_host();
            match (&its, &record.host) {
                (its, host) if its == host => record.rows.push(RecordedView { holding, ..row.clone() }),
                (None, Some(_)) => record.former.push(row.clone()),
                (Some(_), None) if state.host.is_none() => record.former.push(row.clone()),
                // Another host's.
                (Some(_), _) | (None, None) => {}
            }
        }
        for view in state.drift.iter().filter(|view| view.holding.connector == *name) {
            let (holding, its) = view.holding.clone().without_host();
            if its == record.host {
                record.drift.push(DriftView { holding, ..view.clone() });
            }
        }
        record
    }

    /// The outcomes as they are recorded.
    pub fn outcomes(&self, outcomes: Vec<OutcomeView>, journal: &Entries) -> Vec<OutcomeView> {
        let is_ours = |row: &&RecordedView| {
            let entry = journal.get(&row.holding);
            self.host.is_none() || entry.is_some_and(|entry| entry.state != JournalState::Before)
        };
        let former = self.former.iter().filter(is_ours).map(|row| OutcomeView {
            holding: row.holding.clone(),
            request: row.request,
            outcome: ProvisioningOutcome::Revoked { still_held: true, note: None },
        });
        let here =
            outcomes.into_iter().map(|outcome| OutcomeView { holding: outcome.holding.on(&self.host), ..outcome });
        former.chain(here).collect()
    }

    pub fn drift(&self, drift: Vec<DriftView>) -> Vec<DriftView> {
        drift.into_iter().map(|view| DriftView { holding: view.holding.on(&self.host), ..view }).collect()
    }
}
