//! What connectors should give, and what came of it: between the service, which keeps the record, and the reconciler.

use serde::{Deserialize, Serialize};

use crate::domain::binding::{Binding, Holding, Parameters};
use crate::domain::name::Name;
pub use crate::domain::provisioning::{Drift, ProvisioningOutcome};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// A position in the log: the last entry that somebody saw. Proves later that a log is the same one, and not behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub seq: i64,
    /// SHA-256 of that entry, in hex.
    pub hash: String,
}

/// The last entry of the log, and whether the reconciler has to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogNews {
    pub position: Position,
    /// Whether there is anything new but what the reconciler recorded itself.
    pub is_news: bool,
}

/// What a login should hold now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredView {
    pub holding: Holding,
    pub member: Name,
    /// The requests whose grants give it, lowest first. Empty: it is baseline access.
    pub requests: Vec<RequestId>,
    /// When the last of those grants ends. None: permanent.
    pub until: Option<Timestamp>,
    pub end_sessions: bool,
}

/// The rest of the answer: what the rows are compared with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredState {
    pub now: Timestamp,
    pub position: Position,
    /// Whether this log has the entry that the caller saw last. False: it was restored from a backup, or is another log.
    pub continues: bool,
    /// False: a host whose copy of a shared log is not fresh gives nothing, it only takes back.
    pub may_give: bool,
    /// This host, as the shared log names it. None: the log is not shared.
    pub host: Option<String>,
    pub bindings: Vec<Binding>,
    /// What the log records as given and not as taken back, and what failed.
    pub recorded: Vec<RecordedView>,
    /// Drift that was reported and not resolved since.
    pub drift: Vec<DriftView>,
}

/// What the log records of one grant in one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedView {
    #[serde(flatten)]
    pub holding: Holding,
    /// None: baseline access.
    pub request: Option<RequestId>,
    pub state: RecordedState,
    pub error: Option<String>,
    /// When it got into this state.
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedState {
    Granted,
    GrantFailed,
    RevokeFailed,
}

/// Access that should be over, and is not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StillHeldView {
    /// What could not be taken back.
    pub failed_revokes: Vec<RecordedView>,
    pub unconfirmed_revokes: Option<UnconfirmedView>,
}

/// Access by grants that ended some time ago, of which no reconciler has said that it was taken back, or that this failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnconfirmedView {
    pub grants: usize,
    /// When the first of them ended.
    pub since: Timestamp,
}

/// Something that happened in a system, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeView {
    pub holding: Holding,
    /// None: baseline access.
    pub request: Option<RequestId>,
    pub outcome: ProvisioningOutcome,
}

/// A difference between the log and a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftView {
    pub drift: Drift,
    pub holding: Holding,
}

/// What a connector gives for a resource, in the answers about requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisioningView {
    pub connector: Name,
    pub parameters: Parameters,
    pub state: ProvisioningState,
    pub error: Option<String>,
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisioningState {
    Granting,
    Granted,
    Revoking,
    Revoked,
    Failed,
}

impl ProvisioningState {
    pub fn as_str(self) -> &'static str {
        match self {
            ProvisioningState::Granting => "granting",
            ProvisioningState::Granted => "granted",
            ProvisioningState::Revoking => "revoking",
            ProvisioningState::Revoked => "revoked",
            ProvisioningState::Failed => "failed",
        }
    }
}

/// Who may run a connector now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorLease {
    /// No other host shares the log.
    NotShared,
    Ours,
    /// Another host runs it.
    Taken,
}
