//! A log that several hosts share, and this host's copy of it.

use std::path::PathBuf;

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

/// What `log move` or `log leave` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedView {
    pub outcome: MoveOutcome,
    /// How many entries the log has.
    pub entries: i64,
    pub host: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveOutcome {
    Moved,
    /// By an earlier run.
    AlreadyMoved,
    DryRun,
}

/// What `log salvage` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvagedView {
    /// How many entries of this copy the shared log lacks.
    pub entries: u64,
    /// The last entry that both have.
    pub common: i64,
    pub epoch: i64,
    /// Where the copy was kept that has them, if a new one took its place.
    pub kept: Option<PathBuf>,
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
