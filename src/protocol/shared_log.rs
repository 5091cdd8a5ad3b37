//! A log that several hosts share, and this host's copy of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Position;
use crate::domain::replica::NamedPosition;
use crate::domain::time::Timestamp;

/// The state of the copy of a shared log that gave an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// An entry that the answer knows, and all before it.
    pub position: NamedPosition,
    /// The last contact with the shared log, by its clock.
    pub at: Timestamp,
    /// How long ago that was. None: the host has started since.
    pub age_seconds: Option<i64>,
    /// Why what the shared log has recorded is not in this copy yet. None: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

impl AsOf {
    /// Answers do not mention the age of a copy up to this: 10 seconds.
    const FRESH: i64 = 10;

    pub fn is_fresh(&self) -> bool {
        self.age_seconds.is_some_and(|age| age <= AsOf::FRESH)
    }
}

/// Of the last answer; shared by what asks and what prints.
#[derive(Debug, Clone, Default)]
pub struct AsOfLast(Arc<Mutex<Option<AsOf>>>);

impl AsOfLast {
    pub fn get(&self) -> Option<AsOf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, as_of: Option<AsOf>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = as_of;
    }
}

/// What a reader asks of a copy before it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// It has asked the shared log.
    Asked,
    /// It has this entry.
    AtLeast(NamedPosition),
}

/// A host that does not know a change yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBehindView {
    pub host: String,
    /// When its copy is too old to allow anything that was revoked.
    pub denies_by: Timestamp,
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
    pub engine: Option<EngineView>,
    /// Why there is no `engine`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineView {
    pub state: EngineCondition,
    pub seq: i64,
    pub epoch: i64,
    pub hosts: Vec<HostView>,
}

/// What the shared log is to this copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineCondition {
    Open,
    /// A host has taken it, or the move into it has not ended.
    Closed,
    /// It does not have the last entry of this copy.
    Fork,
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
