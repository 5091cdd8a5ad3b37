//! A log that several hosts share, and this host's copy of it.

use serde::{Deserialize, Serialize};

use super::Position;
use crate::domain::time::Timestamp;

/// An answer from a copy that was not in contact with the shared log for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// The last contact.
    pub at: Timestamp,
    pub age_seconds: i64,
}

/// What `log move` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedView {
    pub entries: i64,
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatusView {
    /// This host.
    pub host: String,
    /// The last entry of its copy.
    pub position: Position,
    /// Or why the shared log can't be reached.
    pub engine: Result<EngineView, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineView {
    pub seq: i64,
    pub epoch: i64,
    pub hosts: Vec<HostView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    pub host: String,
    /// `decide`, `ask` or `read`.
    pub may: String,
    pub seen_seq: Option<i64>,
    pub seen_at: Option<Timestamp>,
    pub retired: bool,
}
