//! Signs an approval here, or prints what is signed elsewhere and takes the signature.

use std::path::Path;

use anyhow::Result;

use super::super::app::App;
use super::super::input;
use super::queue::Proposed;
use crate::domain::request::approval_terms::{ApprovalTerms, NAMESPACE};
use crate::domain::ssh_signature::SshSignature;
use crate::domain::terms::{Modification, RequestId, Terms};
use crate::domain::text::Text;
use crate::error::{Failure, Kind};
use crate::protocol::{ApproveAnswer, RequestView, ToSignView};
use crate::service::{ApprovalToSign, Approve};
use crate::signing::KeyFile;

/// Reads a signature that was made elsewhere.
pub(super) fn read(file: &Path) -> Result<SshSignature> {
    let wrong = |why| {
        Failure::new(Kind::Invalid, format!("{} {why}", file.display()))
            .hint(format!("make it with `ssh-keygen -Y sign -n {NAMESPACE} -f KEY terms`"))
    };
    Ok(input::read_text(file)?.parse().map_err(wrong)?)
}

impl App {
    /// Approves, with a signature if a rule demands it. `shown`: what the user saw of the request.
    pub(super) fn approve(&mut self, approve: Approve, shown: Option<&RequestView>) -> Result<RequestView, Failure> {
        let to_sign = match self.backend()?.answer(approve.clone())? {
            ApproveAnswer::Approved(view) => return Ok(*view),
            ApproveAnswer::ToSign(to_sign) => to_sign,
        };
        let id = approve.id;
        let signature = self.sign(&approve, &to_sign, shown)?;
        match self.backend()?.answer(Approve { signature: Some(signature), ..approve })? {
            ApproveAnswer::Approved(view) => Ok(*view),
            ApproveAnswer::ToSign(_) => Err(Failure::new(
                Kind::Internal,
                format!("the approval of request {id} was signed, and still has to be"),
            )),
        }
    }

    fn sign(
        &mut self,
        approve: &Approve,
        to_sign: &ToSignView,
        shown: Option<&RequestView>,
    ) -> Result<SshSignature, Failure> {
        let Approve { id, modification, note, .. } = approve;
        // What the server answers is not trusted: what is signed is what the user asked for, and what they saw.
        if !to_sign.terms.are_meant(*id, modification, note.as_ref())
            || shown.is_some_and(|view| !is_as_shown(&to_sign.terms, view, modification))
        {
            let message =
                format!("the terms to sign are not those of this approval of request {id}; nothing was signed");
            return Err(Failure::new(Kind::Internal, message));
        }
        if self.backend()?.is_over_ssh() {
            let message =
                format!("an approval of request {id} has to be signed where your key is; --signature is missing");
            return Err(sign_elsewhere(*id, Failure::new(Kind::Usage, message)));
        }
        let key = KeyFile::find(&to_sign.keys).map_err(|why| sign_elsewhere(*id, why))?;
        let text = to_sign.terms.to_string();
        self.printer.status("You sign:");
        self.printer.preview(|sheet| text.lines().for_each(|line| sheet.line(line)));
        key.sign(NAMESPACE, &text).map_err(|why| sign_elsewhere(*id, why))
    }

    /// Prints the text that somebody signs who approves with these changes.
    pub(super) fn print_terms(&mut self, id: RequestId, modification: Modification, note: Option<Text>) -> Result<u8> {
        let to_sign = self.backend()?.answer(ApprovalToSign { id, modification, note })?;
        let text = to_sign.terms.to_string();
        if self.printer.is_json() {
            let keys: Vec<String> = to_sign.keys.iter().map(ToString::to_string).collect();
            let view = serde_json::json!({
                "request": id, "is_needed": to_sign.is_needed, "namespace": NAMESPACE, "text": text, "keys": keys
            });
            self.printer.json_line(&view)?;
        } else {
            self.printer.raw(text.as_bytes())?;
        }
        Ok(0)
    }
}

/// Whether these are the terms of a request that was shown, with these changes.
fn is_as_shown(terms: &ApprovalTerms, view: &RequestView, changes: &Modification) -> bool {
    let Proposed { resource, end } = Proposed::of(view, changes);
    let start = view.on_the_table.as_ref().map_or(view.start, |terms| terms.start);
    terms.terms == Terms { resource, end, start }
        && terms.requester == view.requester
        && terms.filed_by == view.filed_by
        && terms.ticket == view.ticket
        && terms.reason == view.reason
}

fn sign_elsewhere(id: RequestId, failure: Failure) -> Failure {
    failure.hint(format!("or sign where your key is: access approve {id} --print-terms > terms")).hint(format!(
        "then ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 terms, and access approve {id} --signature terms.sig"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view() -> Value {
        json!({
            "id": 12, "state": "pending", "requester": "bob", "filed_by": "bob", "resource": "target:orders-db", "reason": "x",
            "duration": "4h", "until": null, "start": null, "ticket": "OPS-1", "extends": null, "emergency": false, "review": null,
            "submitted_at": "2026-12-01T09:00:00Z", "lapses_at": "2026-12-08T09:00:00Z", "decisions": [], "grant": null,
            "approvals": { "have": 0, "need": 1, "waiting_on": [], "requirements": [] }
        })
    }

    fn terms() -> Value {
        json!({
            "log": "access/acme/0", "request": 12, "entry": 34, "hash": "00", "requester": "bob", "login": "bob", "filed_by": "bob",
            "terms": { "resource": "target:orders-db", "end": { "after": "4h" } }, "ticket": "OPS-1", "reason": "x",
            "approver": "alice", "note": null
        })
    }

    fn agree(terms: Value, view: Value, changes: Value) -> bool {
        let (terms, view) = (serde_json::from_value(terms).unwrap(), serde_json::from_value(view).unwrap());
        let changes: Vec<Option<String>> = serde_json::from_value(changes).unwrap();
        let modification = Modification {
            resource: changes[0].as_ref().map(|resource| resource.parse().unwrap()),
            end: changes[1].as_ref().map(|length| crate::domain::terms::End::After(length.parse().unwrap())),
        };
        is_as_shown(&terms, &view, &modification)
    }

    #[test]
    fn terms_that_were_not_shown_are_not_signed() {
        let none = || json!([null, null]);
        assert!(agree(terms(), view(), none()));
        for (path, other) in [
            ("/terms/resource", json!("connection:prod-aws")),
            ("/terms/end", json!({ "after": "5h" })),
            ("/terms/end", json!("never")),
            ("/terms/start", json!("2026-12-02T09:00:00Z")),
            ("/requester", json!("mallory")),
            ("/filed_by", json!("mallory")),
            ("/ticket", json!(null)),
            ("/reason", json!("y")),
        ] {
            let mut lie = terms();
            let (parent, key) = path.rsplit_once('/').unwrap();
            lie.pointer_mut(parent).unwrap()[key] = other;
            assert!(!agree(lie, view(), none()), "{path}");
        }
    }

    #[test]
    fn the_terms_that_are_proposed_and_those_that_are_chosen_are_shown() {
        let mut proposed = view();
        proposed["on_the_table"] =
            json!({ "resource": "target:orders-db", "duration": "1h", "until": null, "start": null });
        let none = || json!([null, null]);
        assert!(!agree(terms(), proposed.clone(), none()));
        assert!(agree(terms(), proposed.clone(), json!([null, "4h"])));
        let mut chosen = terms();
        chosen["terms"] = json!({ "resource": "scope:orders", "end": { "after": "1h" } });
        assert!(agree(chosen.clone(), proposed, json!(["scope:orders", null])) && !agree(chosen, view(), none()));
    }
}
