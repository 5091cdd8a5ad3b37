//! What a run reports, one row for each thing that differs or was done.

use serde::{Deserialize, Serialize};

use super::plan::{ActKind, Mismatch, PlannedAct};
use crate::domain::binding::{Binding, Parameters};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::protocol::{Drift, OutcomeView, ProvisioningOutcome};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileView {
    pub connector: Name,
    pub state: ReconcileState,
    /// None: it is about the whole system, or about a binding.
    pub login: Option<Login>,
    pub parameters: Option<Parameters>,
    /// The requests that it is about. Empty: baseline access, or none.
    pub requests: Vec<RequestId>,
    /// Why it failed or is refused.
    pub error: Option<String>,
    /// What the connector says that an act does not reach, such as open sessions.
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileState {
    /// Due, and not there.
    Missing,
    /// Given by access, and no longer due.
    Stale,
    /// There, and explained by nothing.
    Unexplained,
    Granted,
    Revoked,
    GrantFailed,
    RevokeFailed,
    /// A binding that the configuration does not allow.
    Refused,
    /// The system could not be asked.
    Unreachable,
    /// Another run does it.
    Busy,
    /// This host does not hear from the shared log, so it only takes back.
    Offline,
}

impl ReconcileState {
    pub fn as_str(self) -> &'static str {
        match self {
            ReconcileState::Missing => "missing",
            ReconcileState::Stale => "stale",
            ReconcileState::Unexplained => "unexplained",
            ReconcileState::Granted => "granted",
            ReconcileState::Revoked => "revoked",
            ReconcileState::GrantFailed => "NOT GRANTED",
            ReconcileState::RevokeFailed => "NOT REVOKED",
            ReconcileState::Refused => "refused",
            ReconcileState::Unreachable => "UNREACHABLE",
            ReconcileState::Busy => "busy",
            ReconcileState::Offline => "offline",
        }
    }

    /// Whether all is well with it now.
    pub fn is_settled(self) -> bool {
        matches!(self, ReconcileState::Granted | ReconcileState::Revoked)
    }

    /// Whether another try may help.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            ReconcileState::GrantFailed
                | ReconcileState::RevokeFailed
                | ReconcileState::Unreachable
                | ReconcileState::Busy
                | ReconcileState::Offline
        )
    }

    /// Whether it fails because of other runs or hosts, and not because of the system.
    pub fn is_of_others(self) -> bool {
        matches!(self, ReconcileState::Busy | ReconcileState::Offline)
    }
}

impl ReconcileView {
    pub fn of_system(connector: &Name, state: ReconcileState, error: String) -> ReconcileView {
        ReconcileView {
            connector: connector.clone(),
            state,
            login: None,
            parameters: None,
            requests: Vec::new(),
            error: Some(error),
            note: None,
        }
    }

    pub fn of_difference(difference: &Mismatch) -> ReconcileView {
        ReconcileView {
            connector: difference.holding.connector.clone(),
            state: match difference.drift {
                Drift::Missing => ReconcileState::Missing,
                Drift::Stale => ReconcileState::Stale,
                Drift::Unexplained => ReconcileState::Unexplained,
            },
            login: Some(difference.holding.login.clone()),
            parameters: Some(difference.holding.parameters.clone()),
            requests: difference.requests.clone(),
            error: None,
            note: None,
        }
    }

    pub fn of_act(act: &PlannedAct, error: Option<String>, note: Option<String>) -> ReconcileView {
        ReconcileView {
            connector: act.holding.connector.clone(),
            state: match (act.kind, &error) {
                (ActKind::Grant, None) => ReconcileState::Granted,
                (ActKind::Revoke, None) => ReconcileState::Revoked,
                (ActKind::Grant, Some(_)) => ReconcileState::GrantFailed,
                (ActKind::Revoke, Some(_)) => ReconcileState::RevokeFailed,
            },
            login: Some(act.holding.login.clone()),
            parameters: Some(act.holding.parameters.clone()),
            requests: act.intent.requests.clone(),
            error,
            note,
        }
    }

    /// Something that is due and could not be tried.
    pub fn of_failed(outcome: &OutcomeView) -> Option<ReconcileView> {
        let (state, why) = match &outcome.outcome {
            ProvisioningOutcome::GrantFailed { why } => (ReconcileState::GrantFailed, why),
            ProvisioningOutcome::RevokeFailed { why } => (ReconcileState::RevokeFailed, why),
            ProvisioningOutcome::Granted | ProvisioningOutcome::Revoked { .. } => return None,
        };
        Some(ReconcileView {
            connector: outcome.holding.connector.clone(),
            state,
            login: Some(outcome.holding.login.clone()),
            parameters: Some(outcome.holding.parameters.clone()),
            requests: outcome.request.into_iter().collect(),
            error: Some(why.clone()),
            note: None,
        })
    }

    pub fn of_refused(binding: &Binding, why: String) -> ReconcileView {
        ReconcileView {
            connector: binding.connector.clone(),
            state: ReconcileState::Refused,
            login: None,
            parameters: Some(binding.parameters.clone()),
            requests: Vec::new(),
            error: Some(format!("{why} (the binding of {})", binding.resource)),
            note: None,
        }
    }
}
