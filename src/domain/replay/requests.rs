//! Replays what happens to requests apart from decisions: they are filed, edited, withdrawn, they lapse.

use std::collections::BTreeSet;

use super::{EntryContext, Fault, Model, TeamChanger};
use crate::domain::event::{Because, Revision, Submission};
use crate::domain::name::Name;
use crate::domain::request::clock::filed_ahead;
use crate::domain::request::{Recorded, Request};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

impl Model {
    pub(super) fn submit(&mut self, context: EntryContext<'_>, submission: Submission) -> Result<(), Fault> {
        let Submission { request: id, requester, filed_by, extends, .. } = &submission;
        let expected = RequestId::try_from(self.past.filed.last() + 1).unwrap_or(RequestId::FIRST);
        if *id < expected {
            return Err(format!("it files request {id} a second time"));
        }
        let fault = if *id != expected {
            Some(format!("it files request {id}, where {expected} comes next"))
        } else if let Some(name) = [requester, filed_by].into_iter().find(|name| !self.since.contains_key(*name)) {
            Some(format!("it names {name}, who is not a member"))
        } else if context.actor != Some(filed_by) {
            Some(format!("request {id} was not filed by the member who acts"))
        } else if self.format >= 3 && submission.lapses_at <= context.at {
            Some(format!("request {id} has lapsed when it is filed"))
        } else if extends.is_some_and(|before| !self.was_granted_to(before, requester)) {
            Some(format!("request {id} extends no grant of its requester"))
        } else {
            None
        };
        self.past.file(*id);
        if self.format < 2 {
            self.of_format_1.insert(*id);
        }
        let (requester_login, filer_login) = (self.login_of(requester).cloned(), self.login_of(filed_by).cloned());
        let request = Request {
            id: *id,
            seq: context.seq,
            requester_login: submission.requester_login.or(requester_login),
            requester: submission.requester,
            filer_login: submission.filer_login.or(filer_login),
            filed_by: submission.filed_by,
            details: submission.details,
            submitted_at: context.at,
            lapses_at: submission.lapses_at,
            remind_at: submission.remind_at,
            extends: submission.extends,
            emergency: submission.emergency,
            review: None,
            recorded: Recorded::Pending,
            decisions: Vec::new(),
            grant: None,
        };
        self.requests.insert(request.id, request);
        fault.map_or(Ok(()), Err)
    }

    /// Whether the grant of this request is or was the member's.
    fn was_granted_to(&self, id: RequestId, member: &Name) -> bool {
        match self.requests.get(&id) {
            Some(request) => request.requester == *member && request.grant.is_some(),
            None => self.past.get(id) == Some((member, true)),
        }
    }

    pub(super) fn edit(&mut self, context: EntryContext<'_>, revision: Revision) -> Result<(), Fault> {
        let request = self.pending(revision.request, context.at)?;
        let fault = revision_fault(request, context.actor, context.at, &revision);
        self.edited_at.insert(revision.request, context.at);
        fault.map_or(Ok(()), Err)
    }

    pub(super) fn withdraw(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        by: Option<&Name>,
        because: &Because,
    ) -> Result<(), Fault> {
        let owner_replaced = self.changed_by == Some(TeamChanger::Root);
        let request = self.pending(id, context.at)?;
        request.recorded = Recorded::Withdrawn;
        let submitted_at = request.submitted_at;
        let edited_at = self.edited_at.get(&id).copied();
        let ahead = filed_ahead(submitted_at, edited_at, accepted_time(because).unwrap_or(context.at));
        check_end(context, by, because, ahead, owner_replaced).map_err(|why| format!("request {id} is withdrawn {why}"))
    }

    pub(super) fn lapse(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        lapsed_at: Timestamp,
    ) -> Result<(), Fault> {
        let not_pending = || format!("request {id} lapses, which is not pending");
        let request = self.request(id, |_| not_pending())?;
        if request.recorded != Recorded::Pending {
            return Err(not_pending());
        }
        request.recorded = Recorded::Lapsed;
        // Older versions let a request lapse later than at the end that was asked for.
        let possible = [request.lapse_time(), request.lapses_at].contains(&lapsed_at);
        if !possible || lapsed_at > context.at {
            return Err(format!("request {id} lapses at {lapsed_at}, and should at {}", request.lapse_time()));
        }
        Ok(())
    }

    pub(super) fn remind(&mut self, context: EntryContext<'_>, id: RequestId) -> Result<(), Fault> {
        match self.pending(id, context.at)?.remind_at.take() {
            Some(due) if due <= context.at => Ok(()),
            Some(_) | None => Err(format!("it reminds of request {id}, which was not due")),
        }
    }

    pub(super) fn rejudge(&mut self, context: EntryContext<'_>, id: RequestId) -> Result<(), Fault> {
        self.pending(id, context.at)?;
        match self.of_format_1.remove(&id) {
            true => Ok(()),
            false => Err(format!("it judges request {id} again, which was not due")),
        }
    }
}

/// The time that was accepted, if that is why something ended.
pub(super) fn accepted_time(because: &Because) -> Option<Timestamp> {
    match because {
        Because::ClockAccepted(time) => Some(*time),
        Because::Asked
        | Because::MemberGone
        | Because::FilerGone
        | Because::Gone(_)
        | Because::Fell(_)
        | Because::NotKept(_)
        | Because::NoLongerGiven(_) => None,
    }
}

/// The one who ends something is the actor. Root, who need not be a member, ends something only in two cases: root accepted a
/// clock (which ends what was made while the clock was `ahead`, and its extensions), or root replaced the owner.
pub(super) fn check_end(
    context: EntryContext<'_>,
    by: Option<&Name>,
    because: &Because,
    ahead: bool,
    owner_replaced: bool,
) -> Result<(), &'static str> {
    let follows = owner_replaced && matches!(because, Because::MemberGone | Because::NoLongerGiven(_));
    match accepted_time(because) {
        _ if by != context.actor => Err("by somebody else than it says"),
        None if by.is_none() && !follows && !matches!(because, Because::Fell(_)) => Err("by nobody"),
        None => Ok(()),
        Some(accepted) if accepted >= context.at => Err("for a clock that was not ahead"),
        Some(_) if !ahead => Err("for a clock, and was made before the time that was accepted"),
        Some(_) => Ok(()),
    }
}

/// Makes an edit of a pending request. Returns what is wrong with it.
pub fn revision_fault(
    request: &mut Request,
    actor: Option<&Name>,
    at: Timestamp,
    revision: &Revision,
) -> Option<String> {
    let checked = check_edit(request, actor, revision);
    let &Revision { request: id, lapses_at, remind_at, .. } = revision;
    request.apply_edit(revision.to.clone(), lapses_at, remind_at);
    let right_times = request.lapse_time() == lapses_at && lapses_at > at && request.reminder_time() == remind_at;
    let wrong_times = || format!("it sets another lapse or reminder for request {id} than it can");
    checked.err().or_else(|| (!right_times).then(wrong_times))
}

/// An edit is by the requester or the filer, starts from what the request says, changes something other than the resource,
/// and voids all approvals.
fn check_edit(request: &Request, actor: Option<&Name>, revision: &Revision) -> Result<(), Fault> {
    let id = request.id;
    let Revision { by, from, to, voids, .. } = revision;
    let counted: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
    if actor != Some(by) {
        Err(format!("the edit of request {id} is not that of the member who acts"))
    } else if request.requester != *by && request.filed_by != *by {
        Err(format!("{by} edits request {id}, which is not their own"))
    } else if *from != request.details {
        Err(format!("it misstates what request {id} said before"))
    } else if to == from {
        Err(format!("it edits request {id} and changes nothing"))
    } else if to.asked.resource != from.asked.resource {
        Err(format!("it changes what request {id} is for"))
    } else if request.extends.is_some() && to.asked.start != from.asked.start {
        Err(format!("it changes the start of request {id}, which is an extension"))
    } else if counted != voids.iter().collect() || counted.len() != voids.len() {
        Err(format!("it voids other approvals of request {id} than there are"))
    } else {
        Ok(())
    }
}
