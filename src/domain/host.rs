//! The hosts that share a log, and what each may append to it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::event::{Entry, Event};
use super::name::Name;
use super::team::change::Change;
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

    /// Whether a host with this power may append the entry. The database has the same list (`access.may_ask` in
    /// `log/postgres.sql`), which explains it.
    pub fn may_append(self, entry: &Entry) -> bool {
        let Entry { actor, event, .. } = entry;
        let is_own = |by: &Name| actor.as_ref() == Some(by);
        match (self, event) {
            (HostPower::Decide, _) => true,
            (HostPower::Read, _) => false,
            (HostPower::Ask, Event::RequestSubmitted(submission)) => is_own(&submission.filed_by),
            (HostPower::Ask, Event::RequestEdited(revision)) => is_own(&revision.by),
            (HostPower::Ask, Event::RequestWithdrawn { by, .. } | Event::GrantRevoked { by, .. }) => {
                by.as_ref().is_some_and(is_own)
            }
            (HostPower::Ask, Event::PreferenceChanged { member, .. }) => is_own(member),
            (HostPower::Ask, Event::AttemptRefused { .. }) => true,
            (
                HostPower::Ask,
                Event::TeamInitialized { .. }
                | Event::TeamApplied { .. }
                | Event::RequestApproved(_)
                | Event::RequestDenied { .. }
                | Event::RequestLapsed { .. }
                | Event::RequestReminded { .. }
                | Event::RequestRejudged { .. }
                | Event::ApprovalsVoided { .. }
                | Event::RequestReviewed { .. }
                | Event::GrantScheduled(_)
                | Event::GrantStarted(_)
                | Event::GrantExpiring { .. }
                | Event::GrantExpired { .. }
                | Event::ClockAccepted { .. }
                | Event::GrantProvisioned(_)
                | Event::GrantDeprovisioned(_)
                | Event::ProvisioningFailed(_)
                | Event::DriftFound(_)
                | Event::DriftResolved(_)
                | Event::DriftOmitted(_)
                | Event::CertificateIssued(_)
                | Event::SessionOpened(_)
                | Event::SessionClosed(_),
            ) => false,
        }
    }
}

/// Whether the host that an entry names may append it, where the team file names any hosts.
pub fn may_append(hosts: &Hosts, entry: &Entry) -> bool {
    let Some(host) = entry.host.as_deref().filter(|_| !hosts.is_empty()) else { return true };
    let host = host.parse::<Name>().ok().and_then(|name| hosts.get(&name));
    host.is_some_and(|host| host.may.may_append(entry))
}

/// Whether the entry changes which hosts there are, or what they may. What its host appends in the same call is still
/// judged by what it could do before, as removing its own host may have consequences.
pub fn changes_hosts(entry: &Entry) -> bool {
    match &entry.event {
        Event::TeamInitialized { changes } | Event::TeamApplied { changes } => {
            changes.iter().any(|change| matches!(change, Change::Host(..)))
        }
        _ => false,
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
