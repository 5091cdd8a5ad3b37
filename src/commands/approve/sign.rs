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
    /// Approves, with a signature if a rule demands it. `shown`: what the user saw of the request before they said yes.
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
        let id = approve.id;
        may_be_signed(approve, &to_sign.terms, shown, self.prompt.is_some())
            .map_err(|why| Failure::new(Kind::Internal, format!("{why} of request {id}; nothing was signed")))?;
        if self.backend()?.is_over_ssh() {
            let message =
                format!("an approval of request {id} has to be signed where your key is; --signature is missing");
            return Err(sign_elsewhere(id, Failure::new(Kind::Usage, message)));
        }
        let key = KeyFile::find(&to_sign.keys).map_err(|why| sign_elsewhere(id, why))?;
        let text = to_sign.terms.to_string();
        self.printer.status("You sign:");
        self.printer.preview(|sheet| text.lines().for_each(|line| sheet.line(line)));
        key.sign(NAMESPACE, &text).map_err(|why| sign_elsewhere(id, why))
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

/// What the server answers is not trusted: what is signed is what the user asked for and, where they can be asked, what they saw and
/// said yes to.
fn may_be_signed(
    approve: &Approve,
    terms: &ApprovalTerms,
    shown: Option<&RequestView>,
    can_be_asked: bool,
) -> Result<(), &'static str> {
    let Approve { id, modification, note, .. } = approve;
    if shown.is_none() && can_be_asked {
        return Err("nobody confirmed this approval");
    }
    let is_shown = shown.is_none_or(|view| is_as_shown(terms, view, modification));
    let is_meant = terms.are_meant(*id, modification, note.as_ref());
    if is_shown && is_meant { Ok(()) } else { Err("the terms to sign are not those of this approval") }
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
    fn what_nobody_confirmed_is_signed_only_where_nobody_can_be_asked() {
        let (terms, view) = (serde_json::from_value(terms()).unwrap(), serde_json::from_value(view()).unwrap());
        let modification = Modification { resource: None, end: None };
        let approve = Approve { id: "12".parse().unwrap(), modification, note: None, seen: None, signature: None };
        assert_eq!(may_be_signed(&approve, &terms, Some(&view), true), Ok(()));
        assert_eq!(may_be_signed(&approve, &terms, None, false), Ok(()));
        assert_eq!(may_be_signed(&approve, &terms, None, true), Err("nobody confirmed this approval"));
        let other = Approve { id: "13".parse().unwrap(), ..approve };
        assert!(
            may_be_signed(&other, &terms, Some(&view), true).is_err()
                && may_be_signed(&other, &terms, None, false).is_err()
        );
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
