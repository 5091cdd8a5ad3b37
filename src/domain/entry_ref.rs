//! How reports refer to an entry of the log.

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::time::Timestamp;

/// An entry without its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub action: String,
}
