//! Replays what approvers signed: each signature was by a key that its approver had then, of the terms as the log has them, and no
//! approval that had to be signed lacks one.

use super::demands::whose;
use super::{Fault, Model};
use crate::domain::event::{Approval, Entry, Event, Granted};
use crate::domain::name::Name;
use crate::domain::policy::demand::Requirement;
use crate::domain::request::approval_terms::{ApprovalTerms, NAMESPACE};
use crate::domain::time::Timestamp;

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
        let request = self.requests.get(&id).filter(|request| request.grant.is_none())?;
        // An emergency is reviewed afterwards.
        if granted.by_rule.is_some() && request.emergency {
            return None;
        }
        let demands = self.team_then.signed_demands(team, request, &granted.terms(), at)?;
        if let Some(rule) = &granted.by_rule {
            return Some(format!(
                "request {id} is granted by rule {:?}, where approvals had to be signed",
                rule.as_str()
            ));
        }
        let is_signed = |name: &Name| request.approvals().any(|given| given.by == *name && given.signed_with.is_some());
        if let Some(unsigned) = granted.approved_by.iter().find(|name| !is_signed(name)) {
            return Some(format!(
                "request {id} is granted by an approval of {unsigned} that had to be signed, and was not"
            ));
        }
        // Nobody signs for those who were left out.
        let is_met = |demand: &Requirement| granted.demands.iter().any(|met| met.rule == demand.rule);
        let missing = demands.iter().find(|demand| !is_met(demand))?;
        Some(format!(
            "request {id} is granted without the approvals that {} demanded then",
            whose(missing.rule.as_ref())
        ))
    }
}
