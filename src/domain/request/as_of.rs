//! A request as the log had it at an earlier time.

use serde::{Deserialize, Serialize};

use super::{Recorded, Request};
use crate::domain::name::Name;
use crate::domain::terms::RequestDetails;
use crate::domain::time::Timestamp;

/// An entry about a request, without its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: Option<Name>,
    pub action: String,
}

/// What a request was, and the entries that say so.
#[derive(Debug, Clone)]
pub struct PastRequest {
    pub request: Request,
    /// The entries about it up to that time, oldest first, without refused attempts, certificates, sessions and what connectors did.
    pub entries: Vec<EntryRef>,
}

impl PastRequest {
    /// `request`: as it is now. `entries`: those about it up to the time. `before_edit`: what it said before its first edit
    /// after that time, if it has one.
    pub fn of(mut request: Request, entries: Vec<EntryRef>, before_edit: Option<RequestDetails>) -> PastRequest {
        let has = |actions: &[&str]| entries.iter().any(|entry| actions.contains(&entry.action.as_str()));
        let is_granted = has(&["grant.started", "grant.scheduled"]);
        request.recorded = if is_granted {
            Recorded::Approved
        } else if has(&["request.denied"]) {
            Recorded::Denied
        } else if has(&["request.withdrawn"]) {
            Recorded::Withdrawn
        } else if has(&["request.lapsed"]) {
            Recorded::Lapsed
        } else {
            Recorded::Pending
        };
        request.decisions.retain(|decision| entries.iter().any(|entry| entry.seq == decision.seq));
        request.grant = request.grant.filter(|_| is_granted);
        if let Some(grant) = &mut request.grant
            && !has(&["grant.expired", "grant.revoked"])
        {
            grant.ended = None;
        }
        request.review = request.review.filter(|_| has(&["request.reviewed"]));
        if let Some(details) = before_edit {
            request.details = details;
        }
        PastRequest { request, entries }
    }

    /// The entry that granted or denied it.
    pub fn decided(&self) -> Option<&EntryRef> {
        let decides = ["grant.started", "grant.scheduled", "request.denied"];
        self.entries.iter().find(|entry| decides.contains(&entry.action.as_str()))
    }
}
