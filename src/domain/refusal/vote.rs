//! Refusals of an approval, a denial or a review.

use super::kind::RefusalKind;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::ssh_signature::SignatureFault;
use crate::domain::terms::RequestId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoteRefusal {
    NeedsApprover {
        id: RequestId,
        approvers: Vec<String>,
    },
    NeedsApproverOfTerms {
        id: RequestId,
        resource: Resource,
        approvers: Vec<String>,
    },
    NeedsBaseRole {
        id: RequestId,
        what: &'static str,
    },
    NeedsReviewer {
        id: RequestId,
        reviewers: Vec<String>,
    },
    OwnRequest {
        id: RequestId,
    },
    FiledRequest {
        id: RequestId,
        requester: Name,
    },
    MayBeOwn {
        id: RequestId,
    },
    AlreadyVoted {
        id: RequestId,
    },
    AlreadyDecided {
        id: RequestId,
        state: State,
        by: Option<Name>,
    },
    AlreadyReviewed {
        id: RequestId,
        by: Name,
    },
    NotOwed {
        id: RequestId,
    },
    /// A rule demands that approvals are signed.
    Unsigned {
        id: RequestId,
    },
    /// The same, and the approver has no key.
    NoSigningKey {
        id: RequestId,
    },
    BadSignature {
        id: RequestId,
        approver: Name,
        why: SignatureFault,
    },
    /// The request was edited, and the caller has not said which version they approve.
    Unseen {
        id: RequestId,
        seq: i64,
    },
}

impl VoteRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            VoteRefusal::NeedsApprover { .. }
            | VoteRefusal::NeedsApproverOfTerms { .. }
            | VoteRefusal::NeedsBaseRole { .. }
            | VoteRefusal::NeedsReviewer { .. }
            | VoteRefusal::OwnRequest { .. }
            | VoteRefusal::FiledRequest { .. }
            | VoteRefusal::MayBeOwn { .. }
            | VoteRefusal::Unsigned { .. }
            | VoteRefusal::NoSigningKey { .. }
            | VoteRefusal::BadSignature { .. } => RefusalKind::Refused,
            VoteRefusal::AlreadyVoted { .. }
            | VoteRefusal::AlreadyDecided { .. }
            | VoteRefusal::AlreadyReviewed { .. }
            | VoteRefusal::NotOwed { .. }
            | VoteRefusal::Unseen { .. } => RefusalKind::Conflict,
        }
    }

    pub fn message(&self) -> String {
        match self {
            VoteRefusal::NeedsApprover { id, approvers } if approvers.is_empty() => {
                format!("nobody can decide on request {id}: the team file no longer has what it is for")
            }
            VoteRefusal::NeedsApprover { id, approvers } => {
                format!("request {id} is for others to decide on: {}", approvers.join(", "))
            }
            VoteRefusal::NeedsApproverOfTerms { id, resource, approvers } => format!(
                "you may decide on request {id}, but {resource} on these terms is for others to give: {}",
                approvers.join(", ")
            ),
            VoteRefusal::NeedsBaseRole { id, what } => format!(
                "request {id} is for {what}; a role that was granted to you does not count there, only your role in the team file"
            ),
            VoteRefusal::NeedsReviewer { id, reviewers } => {
                format!("request {id} is for others to review: {}", reviewers.join(", "))
            }
            VoteRefusal::OwnRequest { id } => {
                format!("request {id} is your own, and nobody decides on their own request")
            }
            VoteRefusal::FiledRequest { id, requester } => {
                format!("you filed request {id} for {requester}, and nobody decides on a request they filed")
            }
            VoteRefusal::MayBeOwn { id } => format!(
                "request {id} can't be distinguished from your own: it was filed by or for an earlier member with your name"
            ),
            VoteRefusal::AlreadyVoted { id } => format!("you have approved request {id} already, on these terms"),
            VoteRefusal::AlreadyDecided { id, state, by: Some(by) } => {
                format!("request {id} is {state} already, decided by {by}")
            }
            VoteRefusal::AlreadyDecided { id, state, by: None } => format!("request {id} is {state} already"),
            VoteRefusal::AlreadyReviewed { id, by } => format!("{by} has reviewed request {id} already"),
            VoteRefusal::NotOwed { id } => format!("request {id} is not an emergency, so it needs no review"),
            VoteRefusal::Unsigned { id } => format!("an approval of request {id} has to be signed"),
            VoteRefusal::NoSigningKey { id } => {
                format!("an approval of request {id} has to be signed, and the team file has no SSH key of yours")
            }
            VoteRefusal::BadSignature { id, approver, why } => {
                format!("the signature is not {approver}'s for this approval of request {id}: {why}")
            }
            VoteRefusal::Unseen { id, .. } => {
                format!(
                    "request {id} has changed since it was filed, so say which version you approve; nothing was done"
                )
            }
        }
    }

    pub fn hints(&self) -> Vec<String> {
        match self {
            VoteRefusal::NeedsApprover { id, approvers } if approvers.is_empty() => {
                vec![format!("`access show {id}` shows what became of it")]
            }
            VoteRefusal::NeedsApprover { id, .. }
            | VoteRefusal::NeedsBaseRole { id, .. }
            | VoteRefusal::NeedsReviewer { id, .. }
            | VoteRefusal::OwnRequest { id }
            | VoteRefusal::FiledRequest { id, .. }
            | VoteRefusal::MayBeOwn { id }
            | VoteRefusal::AlreadyVoted { id } => vec![format!("`access show {id}` names who may decide")],
            VoteRefusal::NeedsApproverOfTerms { id, .. } => {
                vec![format!("approve it as it is, or deny it: `access deny {id}`")]
            }
            VoteRefusal::AlreadyDecided { id, .. } => vec![format!("`access show {id}` shows how")],
            VoteRefusal::AlreadyReviewed { id, .. } | VoteRefusal::NotOwed { id } => {
                vec![format!("see it with `access show {id}`")]
            }
            VoteRefusal::Unsigned { id } => vec![format!("`access approve {id}` signs it with your SSH key")],
            VoteRefusal::NoSigningKey { .. } => {
                vec!["the owner adds your public key to your ssh_keys in the team file".to_owned()]
            }
            VoteRefusal::BadSignature { id, .. } => vec![
                format!("sign what `access approve {id} --print-terms` prints now, with the same changes and note"),
                "only with a key that the team file has in your ssh_keys".to_owned(),
            ],
            VoteRefusal::Unseen { id, seq } => vec![
                format!("look at it with `access show {id}`, then `access approve {id} --seen {seq}`"),
                format!("on a terminal, without --yes, `access approve {id}` shows it first"),
            ],
        }
    }
}
