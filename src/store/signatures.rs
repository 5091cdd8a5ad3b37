//! What approvers sign, from the log.

use super::read::Read;
use super::{Error, Write};
use crate::domain::audit::LogPlace;
use crate::domain::event::{Approval, Entry, Event};
use crate::domain::log_name::log_name;
use crate::domain::name::Name;
use crate::domain::request::Request;
use crate::domain::request::approval_terms::{ApprovalTerms, NAMESPACE, rests_on};
use crate::domain::terms::Terms;
use crate::domain::text::Text;

impl Read<'_> {
    /// The name of this log, for the origin of checkpoints, for the name of its keys, and for what approvers sign.
    pub fn log_name(&self) -> Result<String, Error> {
        let (first, hash) = self.first_entry()?;
        Ok(log_name(&first.event, &hash))
    }

    /// What somebody signs who approves these terms. `entries`: those about the request, up to the approval.
    pub fn approval_terms(
        &self,
        request: &Request,
        entries: &[Entry],
        terms: &Terms,
        approver: &Name,
        note: Option<&Text>,
    ) -> Result<ApprovalTerms, Error> {
        let missing = || Error::damaged(format!("no entry files request {}", request.id));
        let seq = rests_on(entries).ok_or_else(missing)?;
        let sql = "SELECT hash FROM event WHERE seq = ?1";
        let hash = self.one(sql, [seq], |row| Ok(row.get(0)?))?.ok_or_else(missing)?;
        Ok(ApprovalTerms::new(&self.log_name()?, request, &LogPlace { seq, hash }, terms, approver, note))
    }
}

impl Write<'_> {
    /// Refuses an entry of a shared log that comes next, if it is an approval with a signature that its approver did not make.
    pub(super) fn check_signature(&self, entry: &Entry) -> Result<(), Error> {
        let Event::RequestApproved(Approval { request: id, by, terms, note, signature: Some(signature), .. }) =
            &entry.event
        else {
            return Ok(());
        };
        let invalid = |why: String| Error::Internal { message: format!("the signature of entry {}: {why}", entry.seq) };
        let request = self.request(*id)?.ok_or_else(|| invalid(format!("there is no request {id}")))?;
        let terms = self.approval_terms(&request, &self.entries_about(*id)?, terms, by, note.as_ref())?;
        let member = self.member(by)?;
        let keys = member.iter().flat_map(|(member, _)| &member.ssh_keys);
        signature.verify(keys, NAMESPACE, &terms.to_string()).map_err(|why| invalid(why.to_string()))
    }
}
