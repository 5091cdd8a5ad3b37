//! The audit log and its verification.

use serde::{Deserialize, Serialize};

use crate::domain::event::{Entry, Event};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// An entry of the audit log as JSON shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntryView {
    /// The version of the format that the entry is stored in.
    pub v: u32,
    pub seq: i64,
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub os_user: String,
    #[serde(flatten)]
    pub event: Event,
    pub request: Option<RequestId>,
    /// Whose request that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Name>,
    #[serde(rename = "told")]
    pub recipients: Vec<RecipientView>,
    /// The number of the first notification of these recipients; the others follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_from: Option<i64>,
    /// SHA-256, in hex.
    pub hash: String,
}

/// An entry of the audit log as it is stored: see docs/log-format.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawView {
    pub seq: i64,
    /// The text that was hashed, byte for byte.
    pub body: String,
    /// SHA-256, in hex.
    pub hash: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecipientView {
    pub member: Name,
    pub event: NotificationKind,
}

/// What `audit verify` found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyView {
    pub ok: bool,
    pub entries: i64,
    /// The hash of the last entry, in hex.
    pub head: String,
    pub faults: Vec<FaultView>,
    /// How many checkpoints it was compared with.
    pub checkpoints: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The entry that is wrong. None: a row of a table is, and `problem` names it.
    pub seq: Option<i64>,
    pub problem: String,
}

/// The state of the log at one time, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub team: Name,
    pub seq: i64,
    /// The hash of that entry, in hex.
    pub head: String,
    /// When it was taken.
    pub at: Timestamp,
}

impl EntryView {
    /// `hash`: in hex.
    pub fn of(entry: Entry, hash: String) -> EntryView {
        EntryView {
            v: entry.v,
            request: entry.event.request(),
            requester: None,
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            os_user: entry.os_user.to_string(),
            event: entry.event,
            recipients: entry
                .recipients
                .into_iter()
                .map(|Recipient(member, event)| RecipientView { member, event })
                .collect(),
            told_from: entry.first_notification,
            hash,
        }
    }
}
