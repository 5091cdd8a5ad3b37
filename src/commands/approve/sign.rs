//! Signs an approval here, or prints what is signed elsewhere and takes the signature.

use std::path::Path;

use anyhow::Result;

use super::super::app::App;
use super::super::input;
use crate::domain::request::approval_terms::NAMESPACE;
use crate::domain::ssh_signature::SshSignature;
use crate::domain::terms::{Modification, RequestId};
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
    /// Approves, with a signature if a rule demands it.
    pub(super) fn approve(&mut self, approve: Approve) -> Result<RequestView, Failure> {
        let to_sign = match self.backend()?.answer(approve.clone())? {
            ApproveAnswer::Approved(view) => return Ok(*view),
            ApproveAnswer::ToSign(to_sign) => to_sign,
        };
        let id = approve.id;
        let signature = self.sign(&approve, &to_sign)?;
        match self.backend()?.answer(Approve { signature: Some(signature), ..approve })? {
            ApproveAnswer::Approved(view) => Ok(*view),
            ApproveAnswer::ToSign(_) => Err(Failure::new(
                Kind::Internal,
                format!("the approval of request {id} was signed, and still has to be"),
            )),
        }
    }

    fn sign(&mut self, approve: &Approve, to_sign: &ToSignView) -> Result<SshSignature, Failure> {
        let Approve { id, modification, note, .. } = approve;
        // What the server answers is not trusted: what is signed is what the user asked for, and what they see.
        if !to_sign.terms.are_meant(*id, modification, note.as_ref()) {
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

fn sign_elsewhere(id: RequestId, failure: Failure) -> Failure {
    failure.hint(format!("or sign where your key is: access approve {id} --print-terms > terms")).hint(format!(
        "then ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 terms, and access approve {id} --signature terms.sig"
    ))
}
