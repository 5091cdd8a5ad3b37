//! Replays grants: access is granted, begins, ends.

use std::collections::BTreeSet;

use super::requests::{accepted_time, check_end};
use super::{EntryContext, Fault, Model, TeamChanger, no_request};
use crate::domain::event::{Because, Granted};
use crate::domain::grant::{Ended, EndedHow, Grant};
use crate::domain::name::Name;
use crate::domain::policy::rule::Rule;
use crate::domain::request::clock::{filed_ahead, granted_ahead};
use crate::domain::request::{Decision, Recorded, Request, Verdict};
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

impl Model {
    pub(super) fn schedule(&mut self, context: EntryContext<'_>, granted: Granted) -> Result<(), Fault> {
        if granted.starts_at <= context.at {
            return Err(format!("the grant of request {} is scheduled for a time that had come", granted.request));
        }
        self.grant(context, granted)
    }

    /// Access begins: of a new grant, or of one that was scheduled.
    pub(super) fn start(&mut self, context: EntryContext<'_>, granted: Granted) -> Result<(), Fault> {
        let id = granted.request;
        let begun = match self.past.get(id) {
            Some((_, granted)) => granted.then_some(true),
            None => self.request(id, |_| no_request(id))?.grant.as_ref().map(|grant| grant.begun),
        };
        match begun {
            None => self.grant(context, granted),
            Some(false) => self.begin(context, &granted),
            Some(true) => Err(format!("request {id} is granted a second time")),
        }
    }

    /// Access is granted: at once, or from a later time on.
    fn grant(&mut self, context: EntryContext<'_>, granted: Granted) -> Result<(), Fault> {
        let id = granted.request;
        let unmet = self.unmet_demand(&granted, context.at).or_else(|| self.not_given_by_rule(&granted, context.at));
        let rules = self.team.as_ref().map_or(&[] as &[Rule], |team| &team.rules);
        let rule = granted.by_rule.as_ref().and_then(|name| rules.iter().find(|rule| rule.name == *name)).cloned();
        let since: Vec<Option<i64>> = granted.approved_by.iter().map(|name| self.since.get(name).copied()).collect();
        let request = self.request(id, |_| match granted.by_rule.is_none() && granted.approved_by.is_empty() {
            true => granted_without_approval(id),
            false => granted_not_pending(id),
        })?;
        let terms = granted.terms();
        let checked =
            check_grant(request, &granted, rule.as_ref()).and_then(|()| check_approvers(request, &granted, &since));
        let same_times =
            terms.starts_at(context.at) == granted.starts_at && terms.ends_at(context.at) == granted.ends_at;
        request.recorded = Recorded::Approved;
        request.grant = Some(Grant { begun: granted.starts_at <= context.at, ..granted.into() });
        if matches!(terms.resource, Resource::Role(_)) {
            self.role_grants.insert(id);
        }
        checked?;
        match unmet {
            Some(fault) => Err(fault),
            None if !same_times => Err(format!("the grant of request {id} does not start and end as granted")),
            None => Ok(()),
        }
    }

    /// A scheduled grant begins.
    fn begin(&mut self, context: EntryContext<'_>, granted: &Granted) -> Result<(), Fault> {
        let id = granted.request;
        let grant = self.open_grant(id)?;
        grant.begun = true;
        let same = grant.terms == granted.terms()
            && (grant.starts_at, grant.ends_at) == (granted.starts_at, granted.ends_at)
            && grant.member == granted.member;
        if !same || grant.starts_at > context.at {
            return Err(format!("the grant of request {id} does not begin as it was scheduled"));
        }
        Ok(())
    }

    pub(super) fn warn(&mut self, id: RequestId) -> Result<(), Fault> {
        let grant = self.open_grant(id)?;
        let twice = std::mem::replace(&mut grant.warned, true);
        if twice { Err(format!("the end of grant {id} is announced twice")) } else { Ok(()) }
    }

    pub(super) fn expire(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        resource: &Resource,
        ended_at: Timestamp,
    ) -> Result<(), Fault> {
        let grant = self.open_grant(id)?;
        grant.ended = Some(Ended { at: ended_at, how: EndedHow::Expired });
        let as_granted = grant.ends_at == Some(ended_at) && ended_at <= context.at && grant.terms.resource == *resource;
        self.role_grants.remove(&id);
        if as_granted { Ok(()) } else { Err(format!("grant {id} does not expire as it was granted")) }
    }

    pub(super) fn revoke(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        resource: &Resource,
        by: Option<Name>,
        because: &Because,
    ) -> Result<(), Fault> {
        let owner_replaced = self.changed_by == Some(TeamChanger::Root);
        let submitted_at = self.requests.get(&id).map(|request| request.submitted_at);
        let edited_at = self.edited_at.get(&id).copied();
        let not_kept = self.unrevoked.remove(&id);
        let grant = self.open_grant(id)?;
        let accepted = accepted_time(because).unwrap_or(context.at);
        let ahead =
            submitted_at.is_some_and(|at| filed_ahead(at, edited_at, accepted)) || granted_ahead(grant, accepted);
        let checked = match because {
            Because::NotKept(item) if not_kept == Some((*item, by.clone())) => Ok(()),
            Because::NotKept(_) => Err("for a review that does not say so"),
            _ => check_end(context, by.as_ref(), because, ahead, owner_replaced),
        };
        let over = grant.ends_at.is_some_and(|end| end <= context.at);
        let as_stated = grant.terms.resource == *resource && context.actor == by.as_ref();
        grant.ended = Some(Ended { at: context.at, how: EndedHow::Revoked { by } });
        self.role_grants.remove(&id);
        if over {
            Err(format!("grant {id} is revoked after it had ended"))
        } else if !as_stated {
            Err(format!("grant {id} is revoked by or for another than it says"))
        } else {
            checked.map_err(|why| format!("grant {id} is revoked {why}"))
        }
    }

    /// A grant whose end is not on the record.
    fn open_grant(&mut self, id: RequestId) -> Result<&mut Grant, Fault> {
        let none = || format!("there is no grant {id}");
        let ended = || format!("grant {id} had ended before");
        let request = self.request(id, |granted| if granted { ended() } else { none() })?;
        let grant = request.grant.as_mut().ok_or_else(none)?;
        if grant.ended.is_some() { Err(ended()) } else { Ok(grant) }
    }
}

fn granted_without_approval(id: RequestId) -> Fault {
    format!("request {id} is granted without an approval")
}

fn granted_not_pending(id: RequestId) -> Fault {
    format!("request {id} is granted, which was not pending")
}

/// A grant is of a pending request, to its requester, on terms that others approved, or that a rule gives by itself.
/// `rule`: the one that it names, as the team had it then.
fn check_grant(request: &Request, granted: &Granted, rule: Option<&Rule>) -> Result<(), Fault> {
    let id = request.id;
    let terms = granted.terms();
    let approvals: Vec<&Decision> = request.approvals().collect();
    let names: BTreeSet<&Name> = granted.approved_by.iter().collect();
    let approved = |name: &Name| approvals.iter().any(|decision| decision.by == *name);
    let on_these = approvals.iter().all(|decision| *request.decided_terms(decision) == terms);
    let given_by_rule = rule.is_some_and(|rule| rule.auto_approve || rule.emergency && request.emergency);
    if granted.by_rule.is_none() && (names.is_empty() || approvals.is_empty()) {
        Err(granted_without_approval(id))
    } else if request.recorded != Recorded::Pending {
        Err(granted_not_pending(id))
    } else if granted.by_rule.is_some() && !given_by_rule {
        Err(format!("request {id} is granted by a rule that does not give it"))
    } else if names.len() != approvals.len()
        || names.len() != granted.approved_by.len()
        || !names.into_iter().all(approved)
    {
        Err(format!("the grant of request {id} names other approvers than approved it"))
    } else if !on_these || granted.modified != (terms != request.details.asked) || given_by_rule && granted.modified {
        Err(format!("request {id} is granted on other terms than were approved"))
    } else if granted.member != request.requester {
        Err(format!("request {id} is granted to {}, who did not ask", granted.member))
    } else {
        Ok(())
    }
}

/// Each approval is by a member who is still the person who gave it. Members have different Unix users, so no two of them
/// are one person. `since`: the entry that brought each approver.
fn check_approvers(request: &Request, granted: &Granted, since: &[Option<i64>]) -> Result<(), Fault> {
    for (name, since) in granted.approved_by.iter().zip(since) {
        let gave = |decision: &&Decision| decision.by == *name && decision.verdict == Verdict::Approve;
        let given = request.decisions.iter().rfind(gave).map_or(0, |decision| decision.seq);
        if since.is_none_or(|since| given < since) {
            return Err(format!(
                "the grant of request {} counts an approval of {name}, who is no longer a member",
                request.id
            ));
        }
    }
    Ok(())
}
