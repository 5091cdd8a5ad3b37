//! What people are told. A notification is an entry of the log as one person is told of it: nothing is stored twice,
//! and its words are made when they are read (see `words`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::team_file::nearest;
use super::{Malformed, read_by_parsing};

/// Somebody who is told, and of what. Written `["bob","access.expired"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told(pub Name, pub Notice);

/// The events that people are told of, and can set preferences for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
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
}

/// Where a notification goes besides the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Email,
    Slack,
}

impl Channel {
    pub const ALL: [Channel; 2] = [Channel::Email, Channel::Slack];

    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Slack => "slack",
        }
    }
}

impl Notice {
    pub const ALL: [Notice; 14] = [
        Notice::RequestSubmitted,
        Notice::RequestApproved,
        Notice::RequestDenied,
        Notice::RequestWithdrawn,
        Notice::RequestLapsed,
        Notice::RequestChanged,
        Notice::RequestReminder,
        Notice::RequestDecided,
        Notice::AccessStarted,
        Notice::AccessExpiring,
        Notice::AccessExpired,
        Notice::AccessRevoked,
        Notice::AccessEmergency,
        Notice::TeamChanged,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Notice::RequestSubmitted => "request.submitted",
            Notice::RequestApproved => "request.approved",
            Notice::RequestDenied => "request.denied",
            Notice::RequestWithdrawn => "request.withdrawn",
            Notice::RequestLapsed => "request.lapsed",
            Notice::RequestChanged => "request.changed",
            Notice::RequestReminder => "request.reminder",
            Notice::RequestDecided => "request.decided",
            Notice::AccessStarted => "access.started",
            Notice::AccessExpiring => "access.expiring",
            Notice::AccessExpired => "access.expired",
            Notice::AccessRevoked => "access.revoked",
            Notice::AccessEmergency => "access.emergency",
            Notice::TeamChanged => "team.changed",
        }
    }

    /// Whether it tells its readers that a request waits for them.
    pub fn asks_for_a_decision(self) -> bool {
        match self {
            Notice::RequestSubmitted | Notice::RequestChanged | Notice::RequestReminder => true,
            Notice::RequestApproved
            | Notice::RequestDenied
            | Notice::RequestWithdrawn
            | Notice::RequestLapsed
            | Notice::RequestDecided
            | Notice::AccessStarted
            | Notice::AccessExpiring
            | Notice::AccessExpired
            | Notice::AccessRevoked
            | Notice::AccessEmergency
            | Notice::TeamChanged => false,
        }
    }

    /// Whether it is sent only with a digest, unless somebody says otherwise: it asks for nothing.
    pub fn can_wait(self) -> bool {
        self == Notice::RequestDecided
    }

    pub fn to(self, member: &Name) -> Told {
        Told(member.clone(), self)
    }

    pub fn to_all<'m>(self, members: impl IntoIterator<Item = &'m Name>) -> Vec<Told> {
        members.into_iter().map(|member| self.to(member)).collect()
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Notice {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Notice, Malformed> {
        Notice::ALL.into_iter().find(|notice| notice.as_str() == text).ok_or_else(|| {
            let near = nearest(text, Notice::ALL.into_iter().map(Notice::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Malformed::new(format!("{text:?} is no event that anybody is told of{near}"))
        })
    }
}

read_by_parsing!(Notice);

impl Serialize for Notice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
