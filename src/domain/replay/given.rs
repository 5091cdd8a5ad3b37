//! What replay keeps of connectors, certificates, sessions, recertifications, keys and signatures.

use std::collections::BTreeMap;

use super::past::Numbers;
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::binding::Holding;
use crate::domain::certificate::IssuedCertificate;
use crate::domain::event::{Approval, Entry, Event, Revision, Submission};
use crate::domain::log_name::log_name;
use crate::domain::note::NoteKey;
use crate::domain::provisioning::{Drifted, Provisioning};
use crate::domain::recertification::{Recertification, RecertificationId};
use crate::domain::session::RecordedSession;
use crate::domain::terms::{RequestId, Terms};

/// What is open, and what ended since the last release.
#[derive(Debug, Clone, Default)]
pub(super) struct Provisioned {
    pub(super) given: BTreeMap<(Option<RequestId>, Holding), Provisioning>,
    pub(super) drift: BTreeMap<Drifted, Provisioning>,
    pub(super) ended: Vec<Provisioning>,
    pub(super) begun: Numbers,
}

impl Provisioned {
    pub(super) fn take_ended(&mut self) -> Vec<Provisioning> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn take_open(&mut self) -> Vec<Provisioning> {
        let (given, drift) = (std::mem::take(&mut self.given), std::mem::take(&mut self.drift));
        given.into_values().chain(drift.into_values()).collect()
    }

    pub(super) fn has_begun(&self, seq: i64) -> bool {
        self.begun.contains(seq)
    }
}

/// The certificates since the last release, and the numbers of all entries that record one.
#[derive(Debug, Clone, Default)]
pub(super) struct Certificates {
    pub(super) since: Vec<IssuedCertificate>,
    pub(super) issued: Numbers,
}

impl Certificates {
    pub(super) fn take(&mut self) -> Vec<IssuedCertificate> {
        std::mem::take(&mut self.since)
    }
}

/// The keys that sign checkpoints, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedKeys {
    pub(super) all: Vec<NoteKey>,
    pub(super) replaced: Vec<NoteKey>,
}

/// What replay keeps of sessions: those that are open, and those that were closed since the last release.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    pub(super) open: BTreeMap<i64, RecordedSession>,
    pub(super) closed: Vec<RecordedSession>,
    pub(super) begun: Numbers,
}

impl Sessions {
    pub(super) fn take_closed(&mut self) -> Vec<RecordedSession> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn take_open(&mut self) -> Vec<RecordedSession> {
        std::mem::take(&mut self.open).into_values().collect()
    }

    pub(super) fn has_begun(&self, seq: i64) -> bool {
        self.begun.contains(seq)
    }
}

/// What replay keeps of recertifications: those that are open, and those that were closed since the last release.
#[derive(Debug, Clone, Default)]
pub(super) struct Recertified {
    pub(super) open: BTreeMap<RecertificationId, Recertification>,
    pub(super) closed: Vec<Recertification>,
    pub(super) begun: Numbers,
}

impl Recertified {
    pub(super) fn take_closed(&mut self) -> Vec<Recertification> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn take_open(&mut self) -> Vec<Recertification> {
        std::mem::take(&mut self.open).into_values().collect()
    }
}

/// What signatures cover in addition to the requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Signatures {
    /// The name of the log.
    pub(super) log: Option<String>,
    /// The entry that the next approval of each request rests on, and the terms that an entry named last.
    pub(super) rests_on: BTreeMap<RequestId, (LogPlace, Terms)>,
}

impl Signatures {
    pub(super) fn note(&mut self, entry: &Entry, hash: Hash) {
        if self.log.is_none() {
            self.log = Some(log_name(&entry.event, &hash));
        }
        let place = LogPlace { seq: entry.seq, hash };
        match &entry.event {
            Event::RequestSubmitted(Submission { request, details, .. })
            | Event::RequestEdited(Revision { request, to: details, .. }) => {
                self.rests_on.insert(*request, (place, details.asked.clone()));
            }
            Event::ApprovalsVoided { request, .. } => {
                self.rests_on.entry(*request).and_modify(|(rests_on, _)| *rests_on = place);
            }
            Event::RequestApproved(Approval { request, terms, voids, .. }) => {
                self.rests_on.entry(*request).and_modify(|(rests_on, named)| {
                    if terms != named || !voids.is_empty() {
                        (*rests_on, *named) = (place, terms.clone());
                    }
                });
            }
            _ => {}
        }
    }

    pub(super) fn release(&mut self, request: RequestId) {
        self.rests_on.remove(&request);
    }
}
