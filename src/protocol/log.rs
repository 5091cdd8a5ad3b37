//! The audit log and its verification.

use serde::{Deserialize, Serialize};

use crate::domain::event::{Entry, Event};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::ssh_key::KeyFingerprint;
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
    /// Entries that are void. They change nothing, so they do not count as faults.
    #[serde(default)]
    pub void: Vec<FaultView>,
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
    /// The same in the form of C2SP's `tlog-checkpoint`, signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A checkpoint that was kept: as `audit checkpoint` printed it, or the signed note alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeptCheckpoint {
    Line(Box<Checkpoint>),
    Note(String),
}

impl KeptCheckpoint {
    pub fn note(&self) -> Option<&str> {
        match self {
            KeptCheckpoint::Line(checkpoint) => checkpoint.note.as_deref(),
            KeptCheckpoint::Note(note) => Some(note),
        }
    }
}

/// The log to which this one is compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlierLog {
    Size(u64),
    /// A checkpoint that was kept.
    Checkpoint(String),
}

/// The proof that an entry is in the log, in the form of C2SP's `tlog-proof`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProofView {
    pub seq: i64,
    /// The number of entries of the checkpoint.
    pub size: u64,
    pub proof: String,
}

/// The signature of an approval, as `ssh-keygen -Y verify` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignatureView {
    pub seq: i64,
    pub request: RequestId,
    pub approver: Name,
    pub at: Timestamp,
    pub key: KeyFingerprint,
    pub namespace: String,
    /// The text that is signed.
    pub terms: String,
    pub signature: String,
    /// The keys that the approver had then.
    pub allowed_signers: String,
}

/// The proof that an earlier log is the beginning of this one, as C2SP's `tlog-witness` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConsistencyView {
    pub old: u64,
    /// The number of entries of the checkpoint.
    pub size: u64,
    pub proof: String,
}

/// A key that signs checkpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyView {
    pub key: String,
    /// The host whose key it is, of a log that several hosts share.
    pub host: Option<String>,
    /// The entry that added it.
    pub seq: i64,
    pub at: Timestamp,
    /// The entry that replaced it.
    pub replaced_by: Option<i64>,
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
