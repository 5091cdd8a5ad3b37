//! Replays reviews of what people hold.

use std::collections::BTreeSet;

use super::{EntryContext, Fault, Model};
use crate::domain::event::{Because, Event};
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::policy::demand::RoleBasis;
use crate::domain::recertification::{
    Cancellation, ClosedRecertification, Held, ItemDecision, ItemId, ItemOutcome, ItemToReview, ItemVerdict,
    Recertification, RecertificationId, RecertificationItem, StartedRecertification,
};
use crate::domain::request::Request;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

impl Model {
    pub(super) fn start_recertification(
        &mut self,
        context: EntryContext<'_>,
        started: StartedRecertification,
    ) -> Result<(), Fault> {
        let id = started.recertification;
        let expected = self.recertifications.begun.last() + 1;
        if id.get() < expected {
            return Err(format!("it starts recertification {id} a second time"));
        }
        let checked = self.check_start(context, &started, expected);
        self.recertifications.begun.push(id.get());
        let items = started.items.into_iter().map(|item| RecertificationItem { item, outcome: None }).collect();
        let recertification = Recertification {
            id,
            seq: context.seq,
            started_at: context.at,
            by: started.by,
            selection: started.selection,
            due: started.due,
            remind_at: Some(started.remind_at),
            closed_at: None,
            cancelled: None,
            items,
        };
        self.recertifications.open.insert(id, recertification);
        checked
    }

    /// It is started by an admin, and about what members hold at that moment.
    fn check_start(
        &self,
        context: EntryContext<'_>,
        started: &StartedRecertification,
        expected: i64,
    ) -> Result<(), Fault> {
        let StartedRecertification { recertification: id, by, due, remind_at, items, .. } = started;
        let Some(team) = &self.team else { return Ok(()) };
        let admins = BTreeSet::from([Assignee::Role(Role::Admin)]);
        if id.get() != expected {
            return Err(format!("it starts recertification {id}, where {expected} comes next"));
        } else if context.actor != Some(by) {
            return Err(format!("recertification {id} is not started by the member who acts"));
        } else if !self.could_approve(team, by, &admins, RoleBasis::Effective, context.at) {
            return Err(format!("recertification {id} is started by {by}, who is no admin"));
        } else if *due <= context.at || *remind_at <= context.at || remind_at > due {
            return Err(format!("recertification {id} is due before it can be reviewed"));
        }
        let not_held = items.iter().find(|item| !self.holds(item));
        match not_held {
            None => Ok(()),
            Some(item) => Err(format!("it reviews {} of {}, who does not have it", item.held, item.member)),
        }
    }

    /// Whether the member of an item has it, by the team of this moment or by a grant that has not ended on the record.
    fn holds(&self, item: &ItemToReview) -> bool {
        let Some(team) = &self.team else { return false };
        let ItemToReview { member: name, login, held, .. } = item;
        let Some(member) = team.members.get(name).filter(|it| it.login == *login && !it.disabled) else {
            return false;
        };
        match held {
            Held::Grant { request, resource, until } => {
                let grant = self.requests.get(request).and_then(|request| request.grant.as_ref());
                grant.is_some_and(|grant| {
                    let as_said = (&grant.member, &grant.terms.resource, grant.ends_at) == (name, resource, *until);
                    grant.ended.is_none() && as_said
                })
            }
            Held::Role(role) => member.role >= *role,
            Held::Group(group) => team.groups.get(group).is_some_and(|group| group.members.contains(name)),
            Held::Scope(scope) => {
                let by_name = Assignee::Member(name.clone());
                team.scopes.get(scope).is_some_and(|scope| scope.assigned.contains(&by_name))
            }
        }
    }

    pub(super) fn decide_item(&mut self, context: EntryContext<'_>, decision: ItemDecision) -> Result<(), Fault> {
        let id = decision.item;
        let checked = self.check_item_decision(context, &decision);
        let Some(item) = self.open_recertification(id.recertification)?.item_mut(id.number) else {
            return Err(format!("there is no item {id}"));
        };
        if item.outcome.is_some() {
            return Err(format!("item {id} is decided a second time"));
        }
        let ItemDecision { by, verdict, reason, .. } = decision;
        let request = item.item.held.request().filter(|_| verdict == ItemVerdict::Revoke);
        item.outcome = Some(ItemOutcome::Decided { by: by.clone(), verdict, reason, at: context.at });
        self.unrevoked.extend(request.map(|request| (request, (id, Some(by)))));
        checked
    }

    fn check_item_decision(&self, context: EntryContext<'_>, decision: &ItemDecision) -> Result<(), Fault> {
        let ItemDecision { item: id, member, held, by, .. } = decision;
        let recertification = self.recertifications.open.get(&id.recertification);
        let (Some(team), Some(recertification)) = (&self.team, recertification) else { return Ok(()) };
        let Some(RecertificationItem { item, .. }) = recertification.item(id.number) else { return Ok(()) };
        let basis = if item.held.is_about_a_role() { RoleBasis::BaseAdmin } else { RoleBasis::Base };
        let request = held.request().and_then(|request| self.requests.get(&request));
        if (&item.member, &item.held) != (member, held) {
            Err(format!("the decision on item {id} misstates what it is about"))
        } else if context.actor != Some(by) {
            Err(format!("the decision on item {id} is not that of the member who acts"))
        } else if self.is_holder(item, request, by) {
            Err(format!("{by} reviews item {id}, which is their own"))
        } else if team.members.get(by).is_some_and(|member| member.auditor) {
            Err(format!("{by} reviews item {id}, who is an auditor"))
        } else if !self.could_approve(team, by, &item.reviewers, basis, context.at) {
            Err(format!("{by} reviews item {id}, which is for others to review"))
        } else if context.at >= recertification.due {
            Err(format!("item {id} is decided after the due time"))
        } else if !self.still_holds(recertification, item, context.at) {
            Err(format!("item {id} is decided, which was over"))
        } else {
            Ok(())
        }
    }

    /// Whether this reviewer may be the person who holds the item, or who asked for the grant.
    fn is_holder(&self, item: &ItemToReview, request: Option<&Request>, by: &Name) -> bool {
        let Some(login) = self.login_of(by) else { return true };
        let asked = |request: &Request| request.may_be_requested_by(by, login) || request.may_be_filed_by(by, login);
        *by == item.member || *login == item.login || request.is_some_and(asked)
    }

    /// Whether the same person still has an item.
    fn still_holds(&self, recertification: &Recertification, item: &ItemToReview, at: Timestamp) -> bool {
        self.holds(item)
            && match &item.held {
                Held::Grant { until, .. } => until.is_none_or(|end| end > at),
                Held::Role(_) | Held::Group(_) | Held::Scope(_) => {
                    self.since.get(&item.member).is_some_and(|since| *since < recertification.seq)
                }
            }
    }

    pub(super) fn remind_of_recertification(
        &mut self,
        context: EntryContext<'_>,
        id: RecertificationId,
    ) -> Result<(), Fault> {
        let recertification = self.open_recertification(id)?;
        match recertification.remind_at.take() {
            Some(due) if due <= context.at => Ok(()),
            Some(_) | None => Err(format!("it reminds of recertification {id}, which was not due")),
        }
    }

    /// The due time came. What nobody decided on and is still held was not kept.
    pub(super) fn close_recertification(
        &mut self,
        context: EntryContext<'_>,
        closed: ClosedRecertification,
    ) -> Result<(), Fault> {
        let ClosedRecertification { recertification: id, not_kept } = closed;
        let left: BTreeSet<u32> = {
            let recertification = self.open_recertification(id)?.clone();
            let waits = |it: &RecertificationItem| {
                it.outcome.is_none() && self.still_holds(&recertification, &it.item, context.at)
            };
            recertification.numbered().filter(|(_, it)| waits(it)).map(|(item, _)| item.number).collect()
        };
        let Some(mut recertification) = self.recertifications.open.remove(&id) else { return Ok(()) };
        for &number in &not_kept {
            if let Some(item) = recertification.item_mut(number) {
                item.outcome = Some(ItemOutcome::NotKept);
                let item_id = ItemId { recertification: id, number };
                self.unrevoked.extend(item.item.held.request().map(|request| (request, (item_id, None))));
            }
        }
        recertification.closed_at = Some(context.at);
        let was_due = recertification.due <= context.at;
        self.recertifications.closed.push(recertification);
        if context.actor.is_some() {
            Err(format!("recertification {id} is closed by a member"))
        } else if !was_due {
            Err(format!("recertification {id} is closed before it was due"))
        } else if not_kept.len() != left.len() || not_kept.into_iter().collect::<BTreeSet<_>>() != left {
            Err(format!("recertification {id} is closed with other items than nobody kept"))
        } else {
            Ok(())
        }
    }

    /// An admin ends it before it is due.
    pub(super) fn cancel_recertification(
        &mut self,
        context: EntryContext<'_>,
        id: RecertificationId,
        cancellation: Cancellation,
    ) -> Result<(), Fault> {
        self.open_recertification(id)?;
        let Some(mut recertification) = self.recertifications.open.remove(&id) else { return Ok(()) };
        let (by, was_due) = (cancellation.by.clone(), recertification.due <= context.at);
        recertification.closed_at = Some(context.at);
        recertification.cancelled = Some(cancellation);
        self.recertifications.closed.push(recertification);
        let Some(team) = &self.team else { return Ok(()) };
        let admins = BTreeSet::from([Assignee::Role(Role::Admin)]);
        if context.actor != Some(&by) {
            Err(format!("recertification {id} is not cancelled by the member who acts"))
        } else if !self.could_approve(team, &by, &admins, RoleBasis::Effective, context.at) {
            Err(format!("recertification {id} is cancelled by {by}, who is no admin"))
        } else if was_due {
            Err(format!("recertification {id} is cancelled when it is due"))
        } else {
            Ok(())
        }
    }

    fn open_recertification(&mut self, id: RecertificationId) -> Result<&mut Recertification, Fault> {
        let is_known = self.recertifications.begun.contains(id.get());
        self.recertifications.open.get_mut(&id).ok_or_else(|| match is_known {
            true => format!("recertification {id} was closed before"),
            false => format!("there is no recertification {id}"),
        })
    }

    /// What was not kept is revoked at once, before anything else is recorded.
    pub(super) fn check_unrevoked(&mut self, event: &Event, faults: &mut Vec<Fault>) {
        let is_ending =
            matches!(event, Event::GrantRevoked { .. } | Event::RequestWithdrawn { because: Because::Fell(_), .. });
        if !is_ending {
            let left = std::mem::take(&mut self.unrevoked);
            faults.extend(left.keys().map(|id| format!("grant {id} was not kept, and is not revoked")));
        }
    }
}
