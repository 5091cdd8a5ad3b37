//! The record of what connectors gave and took back, and what they found.

use serde::{Deserialize, Serialize};

use super::binding::{Holding, in_connector};
use super::name::Name;
use super::terms::RequestId;
use super::text::quantity;
use super::time::Timestamp;

/// Something that a connector gave, failed to give, or found. It begins with one entry of the log and ends with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioning {
    /// The entry that began it.
    pub seq: i64,
    /// None: baseline access, or drift.
    pub request: Option<RequestId>,
    pub member: Option<Name>,
    pub holding: Holding,
    pub condition: Condition,
    /// Why it fails, if it does.
    pub error: Option<String>,
    /// When it got into this condition.
    pub since: Timestamp,
    /// When the last entry about it was recorded.
    pub recorded_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Granted,
    GrantFailed,
    RevokeFailed,
    Revoked,
    Drifted(Drift),
    /// Drift that is no longer there.
    Resolved,
}

/// How a system differs from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// A grant is live, and the system does not have it.
    Missing,
    /// Access gave it, no grant is live, and the system still has it.
    Stale,
    /// The system has it, and neither a grant nor baseline access explains it.
    Unexplained,
}

/// What came of an attempt to give or take something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisioningOutcome {
    Granted,
    /// `still_held`: by another grant, or because it was there before. `note`: what the connector says that this does not reach.
    Revoked {
        still_held: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    GrantFailed {
        why: String,
    },
    RevokeFailed {
        why: String,
    },
}

/// What was given or taken, to whom and for which request. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedAccess {
    /// None: baseline access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// None: a login that was no member's when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Name>,
    #[serde(flatten)]
    pub holding: Holding,
}

/// A difference between the log and a system. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drifted {
    #[serde(flatten)]
    pub holding: Holding,
    pub drift: Drift,
}

/// How many new differences of a system were not recorded. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OmittedDrift {
    pub connector: Name,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvisioningOperation {
    Grant,
    Revoke,
}

impl Condition {
    pub const ALL: [Condition; 8] = [
        Condition::Granted,
        Condition::GrantFailed,
        Condition::RevokeFailed,
        Condition::Revoked,
        Condition::Drifted(Drift::Missing),
        Condition::Drifted(Drift::Stale),
        Condition::Drifted(Drift::Unexplained),
        Condition::Resolved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Granted => "granted",
            Condition::GrantFailed => "grant_failed",
            Condition::RevokeFailed => "revoke_failed",
            Condition::Revoked => "revoked",
            Condition::Drifted(drift) => drift.as_str(),
            Condition::Resolved => "resolved",
        }
    }

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        match self {
            Condition::Revoked | Condition::Resolved => true,
            Condition::Granted | Condition::GrantFailed | Condition::RevokeFailed | Condition::Drifted(_) => false,
        }
    }

    pub fn is_drift(self) -> bool {
        match self {
            Condition::Drifted(_) | Condition::Resolved => true,
            Condition::Granted | Condition::GrantFailed | Condition::RevokeFailed | Condition::Revoked => false,
        }
    }
}

impl Drift {
    pub fn as_str(self) -> &'static str {
        match self {
            Drift::Missing => "missing",
            Drift::Stale => "stale",
            Drift::Unexplained => "unexplained",
        }
    }
}

/// Something was taken back. `still_held`: the login still has it, by another grant or from before. `note`: what the connector says
/// that this does not reach, such as open sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deprovisioned {
    #[serde(flatten)]
    pub provision: ProvisionedAccess,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something could not be given or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    #[serde(flatten)]
    pub provision: ProvisionedAccess,
    pub operation: ProvisioningOperation,
    pub why: String,
}

/// `bob STILL HAS role=orders_rw in orders-pg (request 12): why`.
pub fn held_still(holding: &Holding, request: Option<RequestId>, why: Option<&str>) -> String {
    let by = request.map_or_else(String::new, |request| format!(" (request {request})"));
    let what = in_connector(&holding.parameters, &holding.connector);
    format!("{} STILL HAS {what}{by}: {}", holding.login, why.unwrap_or("it could not be taken back"))
}

/// `access by 3 grants that have ended was not taken back, since 2026-11-24T10:00:00Z: the reconciler may not be running`.
pub fn not_taken_back(grants: usize, since: Timestamp) -> String {
    let grants = quantity(grants, "grant that has ended", "grants that have ended");
    format!("access by {grants} was not taken back, since {since}: the reconciler may not be running")
}
