//! `approve`.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::request::item;
use super::{Call, Never, Problem, Rows, Service, deciding, quota, those_asked, unchanged, view, visible};
use crate::domain::event::{Approval, Event, Revision, Submission};
use crate::domain::name::Name;
use crate::domain::policy::demand::SignatureDemand;
use crate::domain::principal::Principal;
use crate::domain::quota::TERMS;
use crate::domain::refusal::{Refusal, RefusalKind, VoteRefusal};
use crate::domain::request::approval_terms::{ApprovalTerms, SignedTerms};
use crate::domain::request::{Request, authorize, vote};
use crate::domain::ssh_signature::SshSignature;
use crate::domain::terms::{Modification, RequestId, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{ApproveAnswer, Seen, ToSignView};
use crate::store::{Error, Read};

/// Approves a request, as it is or with changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Approve {
    pub id: RequestId,
    pub modification: Modification,
    pub note: Option<Text>,
    pub seen: Option<Seen>,
    /// The caller's signature of what was answered without one.
    #[serde(default)]
    pub signature: Option<SshSignature>,
}

impl Call for Approve {
    const NAME: &'static str = "Approve";

    type Row = Never;
    type Reply = ApproveAnswer;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ApproveAnswer, Failure> {
        let Approve { id, modification, note, seen, signature } = self;
        let modification = &modification;
        service.change(
            "approve",
            Some(id),
            |read, me, now| {
                let policy = PolicyContext::default();
                let (request, terms) = proposed(read, &policy, me, id, modification, now)?;
                let table = request.proposed_terms();
                let asked = those_asked(read, &request)?;
                let signed = match signature {
                    Some(signature) => {
                        let terms = to_sign(read, &request, &terms, me, note.as_ref())?;
                        Some(SignedTerms { terms, signature })
                    }
                    None => None,
                };
                let drafts = deciding(read, &policy, &request, &terms, now, |case| {
                    vote::approve(case, me, note.clone(), signed.as_ref(), &asked, now)
                });
                let is_refused = match &drafts {
                    // It may be of what the caller saw, or is still to be signed.
                    Err(Problem::Refusal(Refusal::Vote(
                        VoteRefusal::BadSignature { .. } | VoteRefusal::Unsigned { .. },
                    ))) => false,
                    Err(Problem::Refusal(refusal)) => refusal.kind() == RefusalKind::Refused,
                    Err(Problem::Failure(_)) | Ok(_) => false,
                };
                if !is_refused {
                    unchanged(read, id, seen.as_ref())?;
                }
                if let Err(Problem::Refusal(Refusal::Vote(VoteRefusal::Unsigned { .. }))) = drafts {
                    let terms = to_sign(read, &request, &terms, me, note.as_ref())?;
                    let to_sign = ToSignView { is_needed: true, terms, keys: me.member.ssh_keys.clone() };
                    return Ok((Vec::new(), (policy, Some(to_sign))));
                }
                let drafts = drafts?;
                let changes = changes(read, id)?;
                // An approver must not approve terms that an edit or another approver changed after they looked.
                if seen.is_none() && changes.iter().any(|change| !change.is_by(me)) {
                    return Err(Refusal::from(VoteRefusal::Unseen { id, seq: read.last_entry_about(id)? }).into());
                }
                if terms != *table {
                    let own = changes.iter().filter(|change| change.is_by(me)).map(|change| change.at);
                    TERMS.allows(own, now)?;
                    quota::may_grant(read, &policy, &request, &terms, now)?;
                }
                Ok((drafts, (policy, None)))
            },
            |read, (policy, to_sign), now| match to_sign {
                Some(to_sign) => Ok(ApproveAnswer::ToSign(Box::new(to_sign))),
                None => Ok(ApproveAnswer::Approved(Box::new(view::written(read, &policy, id, now)?))),
            },
        )
    }
}

/// What the caller signs who makes this approval elsewhere, and whether it has to be signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalToSign {
    pub id: RequestId,
    pub modification: Modification,
    pub note: Option<Text>,
}

impl Call for ApprovalToSign {
    const NAME: &'static str = "ApprovalToSign";

    type Row = Never;
    type Reply = ToSignView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ToSignView, Failure> {
        let ApprovalToSign { id, modification, note } = self;
        // What is refused here is refused again, and recorded, where the approval is made.
        let asked = service.store.read(|read| {
            let me = service.actor(read)?;
            authorize::may_act(&me)?;
            let now = service.now_to_write(read)?;
            let policy = PolicyContext::default();
            let (request, terms) = proposed(read, &policy, &me, id, &modification, now)?;
            let signing = deciding(read, &policy, &request, &terms, now, |case| vote::signing(case, &me, now))?;
            Ok(ToSignView {
                is_needed: signing == SignatureDemand::Needed,
                terms: to_sign(read, &request, &terms, &me, note.as_ref())?,
                keys: me.member.ssh_keys,
            })
        });
        asked.map_err(Problem::unrecorded)
    }
}

/// A request that the caller may see, and the terms that they would approve.
fn proposed(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    id: RequestId,
    modification: &Modification,
    now: Timestamp,
) -> Result<(Request, Terms), Problem> {
    let request = visible(read, policy, me, id, now)?;
    let table = request.proposed_terms();
    let terms = table.modified(modification);
    // Only someone who may decide on the request learns what else the catalogue has. Anyone who can give a part of what was asked
    // may give that part.
    if terms != *table && !policy.judge(read, &request, &terms, now)?.judgement.is_narrower() {
        deciding(read, policy, &request, table, now, |case| authorize::may_change(case, me, &terms, now))?;
    }
    if let Some(resource) = &modification.resource {
        item(read, resource)?;
    }
    Ok((request, terms))
}

fn to_sign(
    read: &Read<'_>,
    request: &Request,
    terms: &Terms,
    me: &Principal,
    note: Option<&Text>,
) -> Result<ApprovalTerms, Error> {
    read.approval_terms(request, &read.entries_about(request.id)?, terms, &me.name, note)
}

/// An entry that changed what an approval of a request would grant.
struct TermsChange {
    seq: i64,
    at: Timestamp,
    /// The approver who put other terms on the table. None: an edit did it, or a new team.
    by: Option<Name>,
}

impl TermsChange {
    fn is_by(&self, principal: &Principal) -> bool {
        self.by.as_ref() == Some(&principal.name) && principal.since < self.seq
    }
}

/// What changed what an approval would grant since the request was filed.
fn changes(read: &Read<'_>, id: RequestId) -> Result<Vec<TermsChange>, Error> {
    let mut table: Option<Terms> = None;
    let mut changes = Vec::new();
    for entry in read.entries_about(id)? {
        let (seq, at) = (entry.seq, entry.at);
        if let Event::RequestSubmitted(Submission { details, .. }) = entry.event {
            table = Some(details.asked);
        } else if let Event::RequestEdited(Revision { to, .. }) = entry.event {
            table = Some(to.asked);
            changes.push(TermsChange { seq, at, by: None });
        } else if let Event::ApprovalsVoided { .. } = entry.event {
            // Terms that an approver put there may be gone as well.
            table = None;
            changes.push(TermsChange { seq, at, by: None });
        } else if let Event::RequestApproved(Approval { by, terms, .. }) = entry.event {
            if table.as_ref().is_some_and(|table| *table != terms) {
                changes.push(TermsChange { seq, at, by: Some(by) });
            }
            table = Some(terms);
        }
    }
    Ok(changes)
}
