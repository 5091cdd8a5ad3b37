//! Replays what approvers signed: each signature was by a key that its approver had then, of the terms as the log has them, and no
//! approval that had to be signed lacks one.

use std::collections::BTreeMap;

use super::{Fault, Model};
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::event::{Approval, Entry, Event, Granted, Revision, Submission};
use crate::domain::log_name::log_name;
use crate::domain::name::Name;
use crate::domain::policy::demand::SignatureDemand;
use crate::domain::request::approval_terms::{ApprovalTerms, NAMESPACE};
use crate::domain::terms::{RequestId, Terms};
use crate::domain::time::Timestamp;

/// What signatures are of, besides what requests say.
#[derive(Debug, Clone, Default)]
pub(super) struct Signatures {
    /// The name of the log.
    log: Option<String>,
    /// The entry that the next approval of each request rests on, and the terms that an entry named last.
    rests_on: BTreeMap<RequestId, (LogPlace, Terms)>,
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

impl Model {
    /// What is wrong with the signature of an approval, or with a grant whose approvals are not signed.
    pub(super) fn check_signatures(&mut self, entry: &Entry) -> Option<Fault> {
        match &entry.event {
            Event::RequestApproved(approval) => self.bad_signature(approval),
            Event::GrantStarted(granted) | Event::GrantScheduled(granted) => self.unsigned(granted, entry.at),
            _ => None,
        }
    }

    fn bad_signature(&self, approval: &Approval) -> Option<Fault> {
        let Approval { request: id, by, terms, note, signature, .. } = approval;
        let signature = signature.as_ref()?;
        let (request, log) = (self.requests.get(id)?, self.signatures.log.as_ref()?);
        let (rests_on, _) = self.signatures.rests_on.get(id)?;
        let text = ApprovalTerms::new(log, request, rests_on, terms, by, note.as_ref()).to_string();
        let member = self.team.as_ref().and_then(|team| team.members.get(by));
        let keys = member.into_iter().flat_map(|member| &member.ssh_keys);
        let why = signature.verify(keys, NAMESPACE, &text).err()?;
        Some(format!("the signature is not {by}'s for this approval of request {id}: {why}"))
    }

    fn unsigned(&mut self, granted: &Granted, at: Timestamp) -> Option<Fault> {
        let id = granted.request;
        let team = self.team.as_ref()?;
        // A grant that was scheduled was checked then.
        let request = self.requests.get(&id).filter(|request| request.grant.is_none() && granted.by_rule.is_none())?;
        if self.team_then.signing(team, request, &granted.terms(), at) == SignatureDemand::Unneeded {
            return None;
        }
        let is_signed = |name: &Name| request.approvals().any(|given| given.by == *name && given.signed_with.is_some());
        let unsigned = granted.approved_by.iter().find(|name| !is_signed(name))?;
        Some(format!("request {id} is granted by an approval of {unsigned} that had to be signed, and was not"))
    }
}
