//! Notifications. One is an entry of the log for one member. Its text is not stored, but made when it is read (`describe`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::text::nearest;
use super::{Malformed, read_by_parsing};

/// A member to notify, and of what. Written `["bob","access.expired"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient(pub Name, pub NotificationKind);

/// The events that members are notified of, and can set preferences for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotificationKind {
    RequestSubmitted,
    RequestApproved,
    RequestDenied,
    RequestWithdrawn,
    RequestLapsed,
    RequestChanged,
    RequestReminder,
    RequestDecided,
    AccessStarted,
    AccessExpiring,
    AccessExpired,
    AccessRevoked,
    AccessEmergency,
    TeamChanged,
    ProvisioningFailed,
    RevokeFailed,
    DriftFound,
    RecertificationStarted,
    RecertificationReminder,
    RecertificationClosed,
}

impl NotificationKind {
    pub const ALL: [NotificationKind; 20] = [
        NotificationKind::RequestSubmitted,
        NotificationKind::RequestApproved,
        NotificationKind::RequestDenied,
        NotificationKind::RequestWithdrawn,
        NotificationKind::RequestLapsed,
        NotificationKind::RequestChanged,
        NotificationKind::RequestReminder,
        NotificationKind::RequestDecided,
        NotificationKind::AccessStarted,
        NotificationKind::AccessExpiring,
        NotificationKind::AccessExpired,
        NotificationKind::AccessRevoked,
        NotificationKind::AccessEmergency,
        NotificationKind::TeamChanged,
        NotificationKind::ProvisioningFailed,
        NotificationKind::RevokeFailed,
        NotificationKind::DriftFound,
        NotificationKind::RecertificationStarted,
        NotificationKind::RecertificationReminder,
        NotificationKind::RecertificationClosed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            NotificationKind::RequestSubmitted => "request.submitted",
            NotificationKind::RequestApproved => "request.approved",
            NotificationKind::RequestDenied => "request.denied",
            NotificationKind::RequestWithdrawn => "request.withdrawn",
            NotificationKind::RequestLapsed => "request.lapsed",
            NotificationKind::RequestChanged => "request.changed",
            NotificationKind::RequestReminder => "request.reminder",
            NotificationKind::RequestDecided => "request.decided",
            NotificationKind::AccessStarted => "access.started",
            NotificationKind::AccessExpiring => "access.expiring",
            NotificationKind::AccessExpired => "access.expired",
            NotificationKind::AccessRevoked => "access.revoked",
            NotificationKind::AccessEmergency => "access.emergency",
            NotificationKind::TeamChanged => "team.changed",
            NotificationKind::ProvisioningFailed => "provisioning.failed",
            NotificationKind::RevokeFailed => "revoke.failed",
            NotificationKind::DriftFound => "drift.found",
            NotificationKind::RecertificationStarted => "recertification.started",
            NotificationKind::RecertificationReminder => "recertification.reminder",
            NotificationKind::RecertificationClosed => "recertification.closed",
        }
    }

    /// Whether it asks its readers to decide on a request.
    pub fn asks_for_a_decision(self) -> bool {
        match self {
            NotificationKind::RequestSubmitted
            | NotificationKind::RequestChanged
            | NotificationKind::RequestReminder => true,
            NotificationKind::RequestApproved
            | NotificationKind::RequestDenied
            | NotificationKind::RequestWithdrawn
            | NotificationKind::RequestLapsed
            | NotificationKind::RequestDecided
            | NotificationKind::AccessStarted
            | NotificationKind::AccessExpiring
            | NotificationKind::AccessExpired
            | NotificationKind::AccessRevoked
            | NotificationKind::AccessEmergency
            | NotificationKind::TeamChanged
            | NotificationKind::ProvisioningFailed
            | NotificationKind::RevokeFailed
            | NotificationKind::DriftFound
            | NotificationKind::RecertificationStarted
            | NotificationKind::RecertificationReminder
            | NotificationKind::RecertificationClosed => false,
        }
    }

    /// Whether it is sent in digests only, by default: it asks for nothing.
    pub fn can_wait(self) -> bool {
        self == NotificationKind::RequestDecided
    }

    /// Whether nobody can mute or delay it, whatever the team says: somebody has access that nobody approved.
    pub fn is_always_mandatory(self) -> bool {
        matches!(self, NotificationKind::AccessEmergency | NotificationKind::RevokeFailed)
    }

    pub fn to(self, member: &Name) -> Recipient {
        Recipient(member.clone(), self)
    }

    pub fn to_all<'m>(self, members: impl IntoIterator<Item = &'m Name>) -> Vec<Recipient> {
        members.into_iter().map(|member| self.to(member)).collect()
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for NotificationKind {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<NotificationKind, Malformed> {
        NotificationKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let near = nearest(text, NotificationKind::ALL.into_iter().map(NotificationKind::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Malformed::new(format!("{text:?} is not a notification event{near}"))
        })
    }
}

read_by_parsing!(NotificationKind);

impl Serialize for NotificationKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
