//! The hosts that share a log, as the team file names them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::{Malformed, read_by_parsing};

/// What the people on a host may do with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPower {
    /// All commands.
    Decide,
    /// Ask for themselves, and give back.
    Ask,
    /// Check and list.
    Read,
}

/// A host as the team file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamHost {
    pub may: HostPower,
}

/// The hosts by the role that each logs in to the database as.
pub type Hosts = BTreeMap<Name, TeamHost>;

impl HostPower {
    pub const ALL: [HostPower; 3] = [HostPower::Decide, HostPower::Ask, HostPower::Read];

    pub fn as_str(self) -> &'static str {
        match self {
            HostPower::Decide => "decide",
            HostPower::Ask => "ask",
            HostPower::Read => "read",
        }
    }
}

impl fmt::Display for HostPower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostPower {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<HostPower, Malformed> {
        HostPower::ALL
            .into_iter()
            .find(|power| power.as_str() == text)
            .ok_or_else(|| Malformed::new("a host may decide, ask or read"))
    }
}

read_by_parsing!(HostPower);

impl Serialize for HostPower {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
