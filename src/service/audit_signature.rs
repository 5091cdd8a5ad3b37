//! `audit signature`: an approval that was signed, so that ssh-keygen can verify it elsewhere.

use serde::{Deserialize, Serialize};

use super::{Call, Never, Problem, Rows, Service};
use crate::domain::event::{Approval, Event};
use crate::domain::replay::history;
use crate::domain::request::approval_terms::NAMESPACE;
use crate::domain::request::authorize;
use crate::error::{Failure, Kind};
use crate::protocol::SignatureView;
use crate::store::{Error, Moment, Read};

/// The signature of an approval, the text that it signs, and the keys that its approver had then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditSignature {
    pub seq: i64,
}

impl Call for AuditSignature {
    const NAME: &'static str = "AuditSignature";

    type Row = Never;
    type Reply = SignatureView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<SignatureView, Failure> {
        service.ask("audit signature", |read, me, now| {
            authorize::needs_auditor(me, "see signatures of the audit log", now)?;
            signature(read, self.seq)
        })
    }
}

fn signature(read: &Read<'_>, seq: i64) -> Result<SignatureView, Problem> {
    let none = || {
        Failure::new(Kind::NotFound, format!("entry {seq} is not an approval that was signed"))
            .hint("`access audit --action request.approved` lists the approvals")
    };
    if seq < 1 || seq > read.head()?.seq {
        return Err(none().into());
    }
    let entry = read.entry(seq)?;
    let Event::RequestApproved(Approval { request: id, by, terms, note, signature: Some(signature), .. }) = entry.event
    else {
        return Err(none().into());
    };
    let before = Moment { at: entry.at, last: seq - 1 };
    let entries = read.entries_changing(id, before)?;
    let damaged = || Error::damaged(format!("entry {seq} approves a request that is missing"));
    let mut request = history::request(entries.clone()).ok_or_else(damaged)?;
    // Entries of format 1 lack it, and it never changes.
    request.requester_login = read.request(id)?.and_then(|request| request.requester_login);
    let text = read.approval_terms(&request, &entries, &terms, &by, note.as_ref())?.to_string();
    let team = history::team(read.team_entries(before)?).ok_or_else(damaged)?.team;
    let keys = team.members.get(&by).into_iter().flat_map(|member| &member.ssh_keys);
    let signers = keys.map(|key| format!("{by} namespaces=\"{NAMESPACE}\" {key}\n"));
    Ok(SignatureView {
        seq,
        request: id,
        at: entry.at,
        key: signature.key(),
        namespace: NAMESPACE.to_owned(),
        terms: text,
        signature: signature.armored(),
        allowed_signers: signers.collect(),
        approver: by,
    })
}
