//! Changes a pending request.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Request;
use super::authorize::may_act;
use super::lifecycle::{begins, draft, granted};
use super::submit::{Ask, Filing, lapses_at, may_ask, remind_at};
use super::vote::{decided, is_by_one_of};
use crate::domain::event::{Draft, Event, Revision};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::principal::Principal;
use crate::domain::refusal::{LifecycleRefusal, Refusal};
use crate::domain::terms::{End, RequestDetails};
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;

/// What an edit changes; what is None stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub reason: Option<Text>,
    pub ticket: Option<Edited<Ticket>>,
    pub end: Option<End>,
    pub start: Option<Edited<Timestamp>>,
}

/// A new value of something that a request can do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edited<T> {
    To(T),
    Removed,
}

impl<T: Clone> Edited<T> {
    /// The value after an edit, where it was `before`.
    pub fn apply(edited: Option<&Edited<T>>, before: Option<&T>) -> Option<T> {
        match edited {
            Some(Edited::To(value)) => Some(value.clone()),
            Some(Edited::Removed) => None,
            None => before.cloned(),
        }
    }
}

/// Whether this person may change this request now, and what it would say then.
pub fn edited(
    request: &Request,
    edit: &Edit,
    principal: &Principal,
    now: Timestamp,
) -> Result<RequestDetails, Refusal> {
    may_act(principal)?;
    if !request.belongs_to(principal) {
        return Err(LifecycleRefusal::NeedsOwnToEdit { id: request.id }.into());
    }
    let state = request.state(now);
    if state != State::Pending {
        return Err(LifecycleRefusal::NotEditable { id: request.id, state }.into());
    }
    if let (Some(before), Some(_)) = (request.extends, &edit.start) {
        return Err(LifecycleRefusal::ExtensionStart { id: request.id, before }.into());
    }
    let mut after = request.details.clone();
    after.asked.end = edit.end.unwrap_or(after.asked.end);
    after.asked.start = Edited::apply(edit.start.as_ref(), after.asked.start.as_ref());
    after.reason = edit.reason.clone().unwrap_or(after.reason);
    after.ticket = Edited::apply(edit.ticket.as_ref(), after.ticket.as_ref());
    if after == request.details { Err(LifecycleRefusal::NothingToEdit { id: request.id }.into()) } else { Ok(after) }
}

/// Changes a pending request to what `edited` gave. It is judged as if it were filed now, and all approvals that it has
/// are void, whatever changed: nobody has approved what it says now. `filing.notify`: those who may decide on it then.
/// `filing.people`: all who gave an approval or might.
pub fn edit(request: &Request, to: RequestDetails, filing: &Filing<'_>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let ask =
        Ask { details: to.clone(), extends: request.extends, emergency: request.emergency, default_length: false };
    let by_rule = may_ask(&ask, filing, now)?;
    let editor = &filing.filer.name;
    let voids: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
    let lost =
        request.approvals().filter(|decision| is_by_one_of(decision, filing.people)).map(|decision| &decision.by);
    // What a rule grants waits on nobody.
    let waiting = filing.notify.iter().filter(|_| by_rule.is_none());
    let recipients: BTreeSet<&Name> = waiting.chain(lost).chain([&request.requester, &request.filed_by]).collect();
    let recipients: Vec<&Name> = recipients.into_iter().filter(|name| *name != editor).collect();
    let no_longer_asked: Vec<Recipient> = decided(filing.asked, editor, &recipients);
    let event = Event::RequestEdited(Revision {
        request: request.id,
        by: editor.clone(),
        from: request.details.clone(),
        lapses_at: lapses_at(&to.asked, filing.judgement, now),
        remind_at: remind_at(&to.asked, filing.judgement, now),
        to,
        voids: voids.into_iter().cloned().collect(),
    });
    let mut drafts = vec![draft(event, NotificationKind::RequestChanged.to_all(recipients))];
    if let Some(rule) = by_rule {
        let granted = granted(request.id, &request.requester, &ask.details.asked, false, Some(rule), now);
        let mut recipients = vec![NotificationKind::RequestApproved.to(&request.requester)];
        recipients.extend(no_longer_asked);
        drafts.push(draft(begins(granted, now), recipients));
    }
    Ok(drafts)
}
