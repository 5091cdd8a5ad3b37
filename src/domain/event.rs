//! What can happen. An event carries the outcome, not the input: the terms granted, the end, who was notified.
//! Reading an event never asks whether today's rules would allow it.

mod actions;
mod granted;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smol_str::SmolStr;

pub use actions::ACTIONS;
pub use granted::{Granted, MetDemand};

use super::Malformed;
pub use super::because::Because;
use super::certificate::Certificate;
use super::member::Login;
use super::name::Name;
use super::note::{Note, NoteKey};
use super::notification::Recipient;
use super::preference::Preference;
use super::provisioning::{Deprovisioned, Drifted, Failed, OmittedDrift, ProvisionedAccess};
use super::recertification::{
    Cancellation, ClosedRecertification, ItemDecision, RecertificationId, StartedRecertification,
};
use super::resource::Resource;
use super::session::{ClosedSession, OpenedSession};
use super::ssh_signature::SshSignature;
use super::team::change::Change;
use super::terms::{RequestDetails, RequestId, Terms};
use super::text::Text;
use super::time::Timestamp;

/// The newest version of the format below. Entries of older versions stay valid; entries of a newer one are refused.
///
/// Version 2 records the Unix users behind a request, the demands that a grant met, and who reviews an emergency.
/// Version 3 is written to a log that several hosts share: it adds the host and the nonce.
pub const FORMAT: u32 = 3;
/// The version that is written to a log in a file.
pub const FILE_FORMAT: u32 = 2;

/// What is wrong with an entry that is written in another way.
pub const UNUSUAL: &str = "it is not written as the program writes it";

/// An event and its recipients, before it is recorded in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub event: Event,
    pub recipients: Vec<Recipient>,
}

/// An entry of the audit log. Its JSON is what is stored and hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The format's version.
    pub v: u32,
    pub seq: i64,
    pub at: Timestamp,
    /// The member who acted. None: nobody did (cron), or nobody who is a member.
    pub actor: Option<Name>,
    /// The operating-system user who acted.
    pub os_user: SmolStr,
    /// The host that appended the entry to a shared log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<SmolStr>,
    /// Random, so that no two entries of a shared log have the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<SmolStr>,
    pub event: Event,
    #[serde(rename = "told", default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
    /// The number of the first recipient's notification; the others follow it.
    #[serde(rename = "told_from", default, skip_serializing_if = "Option::is_none")]
    pub first_notification: Option<i64>,
}

impl Entry {
    /// Reads a stored entry. One of a host that shares the log has to be written as this program writes it: what is read in
    /// another way by PostgreSQL, or by another reader, is no entry.
    ///
    /// # Errors
    ///
    /// If it is no entry.
    pub fn parse(body: &[u8]) -> Result<Entry, Malformed> {
        let entry: Entry = serde_json::from_slice(body).map_err(|why| Malformed::new(why.to_string()))?;
        if entry.host.is_some() && !entry.is_written_as(body) {
            return Err(Malformed::new(UNUSUAL));
        }
        Ok(entry)
    }

    /// Whether the program writes this entry as these bytes. Otherwise two readers of them may read two things.
    pub fn is_written_as(&self, body: &[u8]) -> bool {
        serde_json::to_vec(self).ok().as_deref() == Some(body)
    }
}

/// The time of an entry of a shared log, also if it is void. Read as PostgreSQL reads it: the last of several values counts.
pub fn time_of(body: &[u8]) -> Option<Timestamp> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(fields.get("at")?.get()).ok()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "detail")]
pub enum Event {
    #[serde(rename = "team.initialized")]
    TeamInitialized { changes: Vec<Change> },
    #[serde(rename = "team.applied")]
    TeamApplied { changes: Vec<Change> },
    #[serde(rename = "request.submitted")]
    RequestSubmitted(Submission),
    #[serde(rename = "request.edited")]
    RequestEdited(Revision),
    #[serde(rename = "request.approved")]
    RequestApproved(Approval),
    #[serde(rename = "request.denied")]
    RequestDenied {
        request: RequestId,
        by: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text>,
    },
    #[serde(rename = "request.withdrawn")]
    RequestWithdrawn {
        request: RequestId,
        /// None: root, who need not be a member. Root accepted a clock or replaced the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Name>,
        because: Because,
    },
    #[serde(rename = "request.lapsed")]
    RequestLapsed {
        request: RequestId,
        /// When it could no longer be decided; the entry's own time is when that was noticed.
        lapsed_at: Timestamp,
    },
    /// Those who may still decide were reminded.
    #[serde(rename = "request.reminded")]
    RequestReminded { request: RequestId },
    /// A request of format 1 is judged by the rules of format 2 from now on. Those who may decide on it, and were not
    /// notified when it was filed, are notified. Recorded once.
    #[serde(rename = "request.rejudged")]
    RequestRejudged { request: RequestId },
    /// A change of the team made the approved terms reach more. Approvals that were given for less no longer count.
    #[serde(rename = "approvals.voided")]
    ApprovalsVoided {
        request: RequestId,
        /// Those whose approvals no longer count.
        voids: Vec<Name>,
        /// What the terms reach now and did not before. Bounded.
        gained: String,
    },
    /// An emergency was looked at afterwards.
    #[serde(rename = "request.reviewed")]
    RequestReviewed { request: RequestId, by: Name, note: Text },
    /// The effect: access is granted, and begins later.
    #[serde(rename = "grant.scheduled")]
    GrantScheduled(Granted),
    /// The effect: access begins. (Of a scheduled grant: began; the entry's own time is when that was noticed.)
    #[serde(rename = "grant.started")]
    GrantStarted(Granted),
    #[serde(rename = "grant.expiring")]
    GrantExpiring { request: RequestId, resource: Resource, ends_at: Timestamp },
    #[serde(rename = "grant.expired")]
    GrantExpired {
        request: RequestId,
        resource: Resource,
        /// When access ended; the entry's own time is when that was noticed.
        ended_at: Timestamp,
    },
    #[serde(rename = "grant.revoked")]
    GrantRevoked {
        request: RequestId,
        resource: Resource,
        /// None: root, who need not be a member. Root accepted a clock or replaced the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Name>,
        because: Because,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text>,
    },
    #[serde(rename = "attempt.refused")]
    AttemptRefused {
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        why: String,
    },
    #[serde(rename = "clock.accepted")]
    ClockAccepted {
        /// The last time recorded before the clock was set back.
        was: Timestamp,
    },
    /// A member's own.
    #[serde(rename = "preference.changed")]
    PreferenceChanged { member: Name, from: Preference, to: Preference },
    /// A connector gave what a grant, or baseline access, says.
    #[serde(rename = "grant.provisioned")]
    GrantProvisioned(ProvisionedAccess),
    /// A connector took it back.
    #[serde(rename = "grant.deprovisioned")]
    GrantDeprovisioned(Deprovisioned),
    /// A connector could not give it, or take it back. Recorded when that begins, and then once a day.
    #[serde(rename = "provisioning.failed")]
    ProvisioningFailed(Failed),
    /// A system has what the log does not say, or the reverse. Recorded once until it is resolved.
    #[serde(rename = "drift.found")]
    DriftFound(Drifted),
    #[serde(rename = "drift.resolved")]
    DriftResolved(Drifted),
    /// More drift than is recorded in an hour. Recorded once an hour.
    #[serde(rename = "drift.omitted")]
    DriftOmitted(OmittedDrift),
    /// An SSH certificate for a grant. Recorded before it is signed.
    #[serde(rename = "certificate.issued")]
    CertificateIssued(Certificate),
    /// Somebody opened a session with their access.
    #[serde(rename = "session.opened")]
    SessionOpened(OpenedSession),
    #[serde(rename = "session.closed")]
    SessionClosed(ClosedSession),
    /// A key that signs checkpoints of the log from now on.
    #[serde(rename = "checkpoint_key.added")]
    CheckpointKeyAdded {
        key: NoteKey,
        /// The key that it replaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<NoteKey>,
    },
    /// A checkpoint of all entries before this one, signed by a key of the log.
    #[serde(rename = "checkpoint.taken")]
    CheckpointTaken { note: Note },
    /// People begin to review what others hold.
    #[serde(rename = "recertification.started")]
    RecertificationStarted(StartedRecertification),
    #[serde(rename = "recertification.decided")]
    RecertificationDecided(ItemDecision),
    /// Those who may still decide were reminded.
    #[serde(rename = "recertification.reminded")]
    RecertificationReminded { recertification: RecertificationId },
    #[serde(rename = "recertification.closed")]
    RecertificationClosed(ClosedRecertification),
    /// An admin ended it before it was due. What was decided stays, and nothing more comes of it.
    #[serde(rename = "recertification.cancelled")]
    RecertificationCancelled {
        recertification: RecertificationId,
        #[serde(flatten)]
        cancellation: Cancellation,
    },
    /// Nothing. Readers of a shared log take it in the place of an entry that can't be read, or that can't follow what is
    /// recorded, so that a host that appends one holds up no other. No program writes it.
    #[serde(rename = "entry.void")]
    Void,
}

/// What a new request says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub request: RequestId,
    pub requester: Name,
    pub filed_by: Name,
    /// The Unix users of the two at that moment. None in entries of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_login: Option<Login>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filer_login: Option<Login>,
    #[serde(flatten)]
    pub details: RequestDetails,
    pub lapses_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_at: Option<Timestamp>,
    /// The request whose grant it extends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<RequestId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
}

/// The requester, or the member who filed it, changed a pending request. All approvals given before are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub request: RequestId,
    pub by: Name,
    /// What it said before, and what it says now. The resource and who asks never change.
    pub from: RequestDetails,
    pub to: RequestDetails,
    /// Both counted from the edit.
    pub lapses_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_at: Option<Timestamp>,
    /// Those whose approvals no longer count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voids: Vec<Name>,
}

/// One approver's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub request: RequestId,
    pub by: Name,
    /// What was approved, and what was asked where that differs.
    pub terms: Terms,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Terms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Text>,
    /// Those whose earlier approvals no longer count: they were of other terms, or their givers may not decide now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voids: Vec<Name>,
    /// By an SSH key that the approver had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SshSignature>,
}

impl Event {
    pub fn action(&self) -> &'static str {
        match self {
            Event::TeamInitialized { .. } => "team.initialized",
            Event::TeamApplied { .. } => "team.applied",
            Event::RequestSubmitted { .. } => "request.submitted",
            Event::RequestEdited { .. } => "request.edited",
            Event::RequestApproved { .. } => "request.approved",
            Event::RequestDenied { .. } => "request.denied",
            Event::RequestWithdrawn { .. } => "request.withdrawn",
            Event::RequestLapsed { .. } => "request.lapsed",
            Event::RequestReminded { .. } => "request.reminded",
            Event::RequestRejudged { .. } => "request.rejudged",
            Event::ApprovalsVoided { .. } => "approvals.voided",
            Event::RequestReviewed { .. } => "request.reviewed",
            Event::GrantScheduled(_) => "grant.scheduled",
            Event::GrantStarted(_) => "grant.started",
            Event::GrantExpiring { .. } => "grant.expiring",
            Event::GrantExpired { .. } => "grant.expired",
            Event::GrantRevoked { .. } => "grant.revoked",
            Event::AttemptRefused { .. } => "attempt.refused",
            Event::ClockAccepted { .. } => "clock.accepted",
            Event::PreferenceChanged { .. } => "preference.changed",
            Event::GrantProvisioned(_) => "grant.provisioned",
            Event::GrantDeprovisioned(_) => "grant.deprovisioned",
            Event::ProvisioningFailed(_) => "provisioning.failed",
            Event::DriftFound(_) => "drift.found",
            Event::DriftResolved(_) => "drift.resolved",
            Event::DriftOmitted(_) => "drift.omitted",
            Event::CertificateIssued(_) => "certificate.issued",
            Event::SessionOpened(_) => "session.opened",
            Event::SessionClosed(_) => "session.closed",
            Event::CheckpointKeyAdded { .. } => "checkpoint_key.added",
            Event::CheckpointTaken { .. } => "checkpoint.taken",
            Event::RecertificationStarted(_) => "recertification.started",
            Event::RecertificationDecided(_) => "recertification.decided",
            Event::RecertificationReminded { .. } => "recertification.reminded",
            Event::RecertificationClosed(_) => "recertification.closed",
            Event::RecertificationCancelled { .. } => "recertification.cancelled",
            Event::Void => "entry.void",
        }
    }

    /// Whether a change of the team can bring this about.
    pub fn follows_team(&self) -> bool {
        match self {
            Event::RequestWithdrawn { .. }
            | Event::RequestLapsed { .. }
            | Event::GrantExpired { .. }
            | Event::ApprovalsVoided { .. }
            | Event::GrantRevoked { .. } => true,
            Event::TeamInitialized { .. }
            | Event::TeamApplied { .. }
            | Event::RequestSubmitted { .. }
            | Event::RequestEdited { .. }
            | Event::RequestApproved { .. }
            | Event::RequestDenied { .. }
            | Event::RequestReminded { .. }
            | Event::RequestRejudged { .. }
            | Event::RequestReviewed { .. }
            | Event::GrantScheduled(_)
            | Event::GrantStarted(_)
            | Event::GrantExpiring { .. }
            | Event::AttemptRefused { .. }
            | Event::ClockAccepted { .. }
            | Event::PreferenceChanged { .. }
            | Event::GrantProvisioned(_)
            | Event::GrantDeprovisioned(_)
            | Event::ProvisioningFailed(_)
            | Event::DriftFound(_)
            | Event::DriftResolved(_)
            | Event::DriftOmitted(_)
            | Event::CertificateIssued(_)
            | Event::SessionOpened(_)
            | Event::SessionClosed(_)
            | Event::CheckpointKeyAdded { .. }
            | Event::CheckpointTaken { .. }
            | Event::RecertificationStarted(_)
            | Event::RecertificationDecided(_)
            | Event::RecertificationReminded { .. }
            | Event::RecertificationClosed(_)
            | Event::RecertificationCancelled { .. }
            | Event::Void => false,
        }
    }

    /// The request that it concerns.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Event::RequestSubmitted(Submission { request, .. })
            | Event::RequestEdited(Revision { request, .. })
            | Event::RequestApproved(Approval { request, .. })
            | Event::RequestDenied { request, .. }
            | Event::RequestWithdrawn { request, .. }
            | Event::RequestLapsed { request, .. }
            | Event::RequestReminded { request }
            | Event::RequestRejudged { request }
            | Event::ApprovalsVoided { request, .. }
            | Event::RequestReviewed { request, .. }
            | Event::GrantScheduled(Granted { request, .. })
            | Event::GrantStarted(Granted { request, .. })
            | Event::GrantExpiring { request, .. }
            | Event::GrantExpired { request, .. }
            | Event::GrantRevoked { request, .. }
            | Event::CertificateIssued(Certificate { request, .. }) => Some(*request),
            Event::AttemptRefused { request, .. }
            | Event::GrantProvisioned(ProvisionedAccess { request, .. })
            | Event::GrantDeprovisioned(Deprovisioned { provision: ProvisionedAccess { request, .. }, .. })
            | Event::ProvisioningFailed(Failed { provision: ProvisionedAccess { request, .. }, .. })
            | Event::SessionOpened(OpenedSession { request, .. })
            | Event::SessionClosed(ClosedSession { request, .. }) => *request,
            Event::RecertificationDecided(decision) => decision.held.request(),
            Event::TeamInitialized { .. }
            | Event::TeamApplied { .. }
            | Event::ClockAccepted { .. }
            | Event::PreferenceChanged { .. }
            | Event::DriftFound(_)
            | Event::DriftResolved(_)
            | Event::DriftOmitted(_)
            | Event::CheckpointKeyAdded { .. }
            | Event::CheckpointTaken { .. }
            | Event::RecertificationStarted(_)
            | Event::RecertificationReminded { .. }
            | Event::RecertificationClosed(_)
            | Event::RecertificationCancelled { .. }
            | Event::Void => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `audit verify` demands it of entries of every version.
    #[test]
    fn entries_of_every_version_are_written_as_this_one_writes_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        for path in files.filter(|path| path.extension().is_some_and(|it| it == "jsonl")) {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let entry = Entry::parse(line.as_bytes()).unwrap();
                assert_eq!(serde_json::to_string(&entry).unwrap(), line, "{}", path.display());
                assert!(entry.is_written_as(line.as_bytes()));
            }
        }
    }
}
