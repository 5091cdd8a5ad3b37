//! What an approver signs: the exact terms of an approval, as a text that people can read and that programs build again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Request;
use crate::domain::audit::{LogPlace, hex};
use crate::domain::event::{Approval, Entry, Event};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::ssh_signature::{SignatureFault, SshSignature};
use crate::domain::terms::{Modification, RequestId, Terms};
use crate::domain::text::{Text, Ticket};

/// The purpose of these signatures, so that none that was made for something else counts.
pub const NAMESPACE: &str = "access-approval";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTerms {
    /// The name of the log.
    pub log: String,
    pub request: RequestId,
    /// The entry that the approval rests on (see `rests_on`). Its hash covers the log up to it.
    pub entry: i64,
    pub hash: String,
    pub requester: Name,
    /// The requester's Unix user when it was filed.
    pub login: Option<Login>,
    pub filed_by: Name,
    pub terms: Terms,
    pub ticket: Option<Ticket>,
    pub reason: Text,
    pub approver: Name,
    pub note: Option<Text>,
}

impl ApprovalTerms {
    /// What approving these terms of a request takes to sign. `rests_on`: the entry that the approval rests on.
    pub fn new(
        log: &str,
        request: &Request,
        rests_on: &LogPlace,
        terms: &Terms,
        approver: &Name,
        note: Option<&Text>,
    ) -> ApprovalTerms {
        ApprovalTerms {
            log: log.to_owned(),
            request: request.id,
            entry: rests_on.seq,
            hash: hex(&rests_on.hash),
            requester: request.requester.clone(),
            login: request.requester_login.clone(),
            filed_by: request.filed_by.clone(),
            terms: terms.clone(),
            ticket: request.details.ticket.clone(),
            reason: request.details.reason.clone(),
            approver: approver.clone(),
            note: note.cloned(),
        }
    }

    /// Whether somebody means these terms who approves this request, with these changes and this note. So the signer need not trust
    /// the server that names the terms.
    pub fn are_meant(&self, id: RequestId, changes: &Modification, note: Option<&Text>) -> bool {
        let is_one_word = |text: &str| !text.contains(char::is_whitespace);
        self.request == id
            && changes.resource.as_ref().is_none_or(|resource| *resource == self.terms.resource)
            && changes.end.is_none_or(|end| end == self.terms.end)
            && self.note.as_ref() == note
            && is_one_word(&self.log)
            && is_one_word(&self.hash)
    }
}

/// A signature, with the terms that it should be of.
#[derive(Debug, Clone)]
pub struct SignedTerms {
    pub terms: ApprovalTerms,
    pub signature: SshSignature,
}

impl SignedTerms {
    /// Whether the approver signed these terms, with a key that they have now.
    pub fn check(&self, approver: &Principal) -> Result<(), SignatureFault> {
        self.signature.verify(&approver.member.ssh_keys, NAMESPACE, &self.terms.to_string())
    }
}

/// The text that is signed. docs/log-format.md describes it.
impl fmt::Display for ApprovalTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: &dyn fmt::Display| {
            // No line of a value begins like the line of a key.
            writeln!(f, "{key}: {}", value.to_string().replace('\n', "\n    "))
        };
        line("access approval", &1)?;
        line("log", &self.log)?;
        line("request", &self.request)?;
        line("entry", &self.entry)?;
        line("hash", &self.hash)?;
        line("requester", &self.requester)?;
        self.login.as_ref().map_or(Ok(()), |login| line("login", login))?;
        if self.filed_by != self.requester {
            line("filed by", &self.filed_by)?;
        }
        line("resource", &self.terms.resource)?;
        match (self.terms.end.until(), self.terms.end.duration()) {
            (Some(until), _) => line("until", &until)?,
            (None, Some(duration)) => line("duration", &duration.stored())?,
            (None, None) => {}
        }
        self.terms.start.map_or(Ok(()), |start| line("start", &start))?;
        self.ticket.as_ref().map_or(Ok(()), |ticket| line("ticket", ticket))?;
        line("reason", &self.reason)?;
        line("approver", &self.approver)?;
        self.note.as_ref().map_or(Ok(()), |note| line("note", note))
    }
}

/// The entry that the next approval of a request rests on: the last of its entries that files or edits it, that voids approvals, or
/// that approves other terms than the entry before. `entries`: those about the request, oldest first.
pub fn rests_on<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Option<i64> {
    let (mut last, mut named) = (None, None);
    for entry in entries {
        let (terms, voids) = match &entry.event {
            Event::RequestSubmitted(submission) => (Some(&submission.details.asked), true),
            Event::RequestEdited(revision) => (Some(&revision.to.asked), true),
            Event::ApprovalsVoided { .. } => (None, true),
            Event::RequestApproved(Approval { terms, voids, .. }) => (Some(terms), !voids.is_empty()),
            _ => continue,
        };
        let changes = terms.is_some() && terms != named;
        named = terms.or(named);
        if voids || changes {
            last = Some(entry.seq);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::terms::End;

    #[test]
    fn terms_that_were_not_meant_are_not_signed() {
        let terms: ApprovalTerms = serde_json::from_str(
            r#"{"log":"access/acme/0","request":12,"entry":34,"hash":"00","requester":"bob","login":"bob","filed_by":"bob",
                "terms":{"resource":"target:orders-db","end":{"after":"4h"}},"ticket":null,"reason":"x","approver":"alice","note":"y"}"#,
        )
        .unwrap();
        let (id, note): (RequestId, Text) = ("12".parse().unwrap(), "y".parse().unwrap());
        let changes = |resource: Option<&str>, end: Option<&str>| Modification {
            resource: resource.map(|resource| resource.parse().unwrap()),
            end: end.map(|length| End::After(length.parse().unwrap())),
        };
        let none = changes(None, None);
        let same = changes(Some("target:orders-db"), Some("4h"));
        assert!(terms.are_meant(id, &none, Some(&note)) && terms.are_meant(id, &same, Some(&note)));
        assert!(!terms.are_meant("13".parse().unwrap(), &none, Some(&note)));
        assert!(!terms.are_meant(id, &changes(Some("target:web"), None), Some(&note)));
        assert!(!terms.are_meant(id, &changes(None, Some("1h")), Some(&note)));
        assert!(!terms.are_meant(id, &none, None));
        let hidden = ApprovalTerms { log: "access/acme/0\nrequest: 13".to_owned(), ..terms.clone() };
        assert!(!hidden.are_meant(id, &none, Some(&note)));
    }

    #[test]
    fn an_approval_rests_on_the_last_entry_that_changes_what_it_would_count_for() {
        let details = |end: &str| {
            format!(
                r#""asked":{{"resource":"target:web","end":{{"after":"{end}"}}}},"reason":"x","lapses_at":"2026-12-08T09:00:00Z""#
            )
        };
        let approved = |end: &str, voids: &str| {
            format!(
                r#"{{"action":"request.approved","detail":{{"request":1,"by":"ann","terms":{{"resource":"target:web","end":{{"after":"{end}"}}}},"voids":[{voids}]}}}}"#
            )
        };
        let filed = format!(
            r#"{{"action":"request.submitted","detail":{{"request":1,"requester":"bob","filed_by":"bob",{}}}}}"#,
            details("1h")
        );
        let voided =
            r#"{"action":"approvals.voided","detail":{"request":1,"voids":["ann"],"gained":"target:db"}}"#.to_owned();
        let reminded = r#"{"action":"request.reminded","detail":{"request":1}}"#.to_owned();
        let rests = |events: &[&String]| {
            let entries: Vec<Entry> = (1..)
                .zip(events)
                .map(|(seq, event)| {
                    let text = format!(
                        r#"{{"v":2,"seq":{seq},"at":"2026-12-01T09:00:00Z","actor":"ann","os_user":"ann","event":{event}}}"#
                    );
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
                })
                .collect();
            rests_on(&entries)
        };
        assert_eq!(rests(&[]), None);
        assert_eq!(rests(&[&filed, &approved("1h", ""), &reminded]), Some(1));
        assert_eq!(rests(&[&filed, &approved("2h", ""), &approved("2h", "")]), Some(2));
        assert_eq!(rests(&[&filed, &approved("1h", ""), &approved("1h", r#""ann""#)]), Some(3));
        assert_eq!(rests(&[&filed, &approved("1h", ""), &voided, &reminded]), Some(3));
    }
}
