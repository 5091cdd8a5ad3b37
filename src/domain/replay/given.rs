//! What replay keeps of connectors, certificates, sessions, recertifications and keys.

use std::collections::BTreeMap;

use super::past::Numbers;
use crate::domain::binding::Holding;
use crate::domain::certificate::IssuedCertificate;
use crate::domain::note::NoteKey;
use crate::domain::provisioning::{Drifted, Provisioning};
use crate::domain::recertification::{Recertification, RecertificationId};
use crate::domain::session::RecordedSession;
use crate::domain::terms::RequestId;

/// What is open, and what ended since the last release.
#[derive(Debug, Default)]
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
#[derive(Debug, Default)]
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
#[derive(Debug, Default)]
pub(super) struct AddedKeys {
    pub(super) all: Vec<NoteKey>,
    pub(super) replaced: Vec<NoteKey>,
}

/// What replay keeps of sessions: those that are open, and those that were closed since the last release.
#[derive(Debug, Default)]
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
#[derive(Debug, Default)]
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
