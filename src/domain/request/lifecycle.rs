//! What happens to a request apart from its decision: it lapses, its grant begins, ends, is extended or revoked.

use super::authorize::{may_act, needs_admin};
use super::{Recorded, Request};
use crate::domain::duration::Length;
use crate::domain::event::{Because, Draft, Event, Granted};
use crate::domain::grant::{Grant, State};
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::principal::Principal;
use crate::domain::refusal::{LifecycleRefusal, Refusal};
use crate::domain::terms::{End, RequestId, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// The member is warned of the end of a grant when this much is left. For a grant that is no longer than that, when a quarter
/// of its time is left.
pub const WARN_WITHIN: Length = Length::HOUR;

pub(super) fn draft(event: Event, recipients: Vec<Recipient>) -> Draft {
    Draft { event, recipients }
}

pub(super) fn granted(
    request: RequestId,
    member: &Name,
    terms: &Terms,
    modified: bool,
    by_rule: Option<&RuleName>,
    now: Timestamp,
) -> Granted {
    Granted {
        request,
        member: member.clone(),
        resource: terms.resource.clone(),
        end: terms.end,
        start: terms.start,
        starts_at: terms.starts_at(now),
        ends_at: terms.ends_at(now),
        modified,
        approved_by: Vec::new(),
        by_rule: by_rule.cloned(),
        demands: Vec::new(),
        reviewers: None,
    }
}

pub(super) fn begins(granted: Granted, now: Timestamp) -> Event {
    if granted.starts_at > now { Event::GrantScheduled(granted) } else { Event::GrantStarted(granted) }
}

/// Whether this person may ask for more of this grant, and what that would be, on the terms granted before: it starts
/// when that one ends. `end`: None for as long again.
pub fn extended(
    request: &Request,
    principal: &Principal,
    end: Option<Length>,
    now: Timestamp,
) -> Result<Terms, Refusal> {
    may_act(principal)?;
    if !request.is_requested_by(principal) {
        return Err(LifecycleRefusal::NeedsOwnGrant { id: request.id }.into());
    }
    let state = request.state(now);
    let live = request.grant.as_ref().filter(|_| matches!(state, State::Active | State::Scheduled));
    let Some(grant) = live else { return Err(LifecycleRefusal::NotExtendable { id: request.id, state }.into()) };
    let Some(ends_at) = grant.ends_at else { return Err(LifecycleRefusal::NothingToExtend { id: request.id }.into()) };
    let before = Length::from_seconds(ends_at.since(grant.starts_at)).unwrap_or(Length::HOUR);
    let end = End::After(end.unwrap_or(before));
    Ok(Terms { resource: grant.terms.resource.clone(), end, start: Some(ends_at) })
}

/// `asked`: those who were asked to decide on it.
pub fn withdraw(
    request: &Request,
    principal: &Principal,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    may_act(principal)?;
    if !request.belongs_to(principal) {
        // An approver ends it by denying it, and the log says so.
        return Err(LifecycleRefusal::NeedsOwnRequest { id: request.id }.into());
    }
    let state = request.state(now);
    if state != State::Pending {
        return Err(LifecycleRefusal::NotPending { id: request.id, state }.into());
    }
    let withdrawn =
        Event::RequestWithdrawn { request: request.id, by: Some(principal.name.clone()), because: Because::Asked };
    // The member it was filed for should know as well.
    let requester = Some(&request.requester).filter(|requester| **requester != principal.name);
    let recipients = asked.iter().filter(|name| **name != principal.name).chain(requester);
    Ok(vec![draft(withdrawn, NotificationKind::RequestWithdrawn.to_all(recipients))])
}

/// Ends a grant now. Admins may end anyone's, a requester their own. `following`: its extensions, and theirs, which end
/// with it.
pub fn revoke(
    request: &Request,
    following: &[Request],
    principal: &Principal,
    reason: Option<Text>,
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    may_act(principal)?;
    if !request.is_requested_by(principal) {
        needs_admin(principal, "revoke somebody else's access", now)?;
    }
    let drafts = end(request, following, Ending { by: Some(&principal.name), because: Because::Asked, reason }, now);
    match drafts.is_empty() {
        true => Err(LifecycleRefusal::NotLive { id: request.id, state: request.state(now) }.into()),
        false => Ok(drafts),
    }
}

/// Who ends a grant, and why.
pub(super) struct Ending<'e> {
    /// None: the due time of a recertification.
    pub by: Option<&'e Name>,
    pub because: Because,
    pub reason: Option<Text>,
}

/// Ends a grant and its extensions. Empty: it is not live.
pub(super) fn end(request: &Request, following: &[Request], ending: Ending<'_>, now: Timestamp) -> Vec<Draft> {
    let Ending { by, because, reason } = ending;
    let live = request.grant.as_ref().filter(|_| matches!(request.state(now), State::Active | State::Scheduled));
    let Some(grant) = live else { return Vec::new() };
    let recipients =
        |event: NotificationKind| if by == Some(&grant.member) { vec![] } else { vec![event.to(&grant.member)] };
    let mut drafts = vec![draft(revoked(grant, by, because, reason), recipients(NotificationKind::AccessRevoked))];
    for next in following {
        let because = Because::Fell(next.extends.unwrap_or(request.id));
        match (next.state(now), &next.grant) {
            (State::Pending, _) => {
                let event = Event::RequestWithdrawn { request: next.id, by: by.cloned(), because };
                drafts.push(draft(event, recipients(NotificationKind::RequestWithdrawn)));
            }
            (State::Scheduled | State::Active, Some(grant)) => {
                let revoked = revoked(grant, by, because, None);
                drafts.push(draft(revoked, recipients(NotificationKind::AccessRevoked)));
            }
            (
                State::Scheduled
                | State::Active
                | State::Denied
                | State::Withdrawn
                | State::Lapsed
                | State::Expired
                | State::Revoked,
                _,
            ) => {}
        }
    }
    drafts
}

/// `by`: None for root, and for the due time of a recertification.
pub(super) fn revoked(grant: &Grant, by: Option<&Name>, because: Because, reason: Option<Text>) -> Event {
    Event::GrantRevoked {
        request: grant.request,
        resource: grant.terms.resource.clone(),
        by: by.cloned(),
        because,
        reason,
    }
}

pub(super) fn untold(draft: Draft) -> Draft {
    Draft { recipients: Vec::new(), ..draft }
}

/// Records that a grant has ended by the clock. None: it has not. `continues`: its member has the access still, by another
/// grant, and is notified of that one's end.
pub fn expire(grant: &Grant, continues: bool, now: Timestamp) -> Option<Draft> {
    let ended_at = grant.ends_at.filter(|&end| end <= now && grant.ended.is_none())?;
    let expired = Event::GrantExpired { request: grant.request, resource: grant.terms.resource.clone(), ended_at };
    let recipients = if continues { Vec::new() } else { vec![NotificationKind::AccessExpired.to(&grant.member)] };
    Some(draft(expired, recipients))
}

/// Records that a scheduled grant has begun by the clock. None: it has not, or that is on the record.
pub fn begin(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let due = grant.starts_at <= now && !grant.begun && grant.ended.is_none();
    let begun = Granted {
        starts_at: grant.starts_at,
        ends_at: grant.ends_at,
        ..granted(grant.request, &grant.member, &grant.terms, grant.modified, grant.by_rule.as_ref(), now)
    };
    due.then(|| draft(Event::GrantStarted(begun), vec![NotificationKind::AccessStarted.to(&grant.member)]))
}

/// Reminds, once, those who may still decide, and those to whom it escalates. None: it is not time.
pub fn remind(request: &Request, names: &[Name], now: Timestamp) -> Option<Draft> {
    let due = request.reminder_time().is_some_and(|at| at <= now) && request.state(now) == State::Pending;
    let event = Event::RequestReminded { request: request.id };
    due.then(|| draft(event, NotificationKind::RequestReminder.to_all(names)))
}

/// Records, once, that a request of an older version is judged by the rules of this one. `names`: those who may decide on
/// it and were not notified.
pub fn rejudge(request: &Request, names: &[Name]) -> Draft {
    draft(Event::RequestRejudged { request: request.id }, NotificationKind::RequestSubmitted.to_all(names))
}

/// Warns, once, that a grant ends soon. None: it does not, or its member was warned. (The caller leaves out grants that
/// another one continues.)
pub fn warn(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let soon = |&end: &Timestamp| {
        let length = end.since(grant.starts_at);
        let lead = if length <= WARN_WITHIN.seconds() { length / 4 } else { WARN_WITHIN.seconds() };
        end.since(now) <= lead
    };
    let ends_at = grant.ends_at.filter(soon).filter(|_| grant.is_live(now) && !grant.warned)?;
    let expiring = Event::GrantExpiring { request: grant.request, resource: grant.terms.resource.clone(), ends_at };
    Some(draft(expiring, vec![NotificationKind::AccessExpiring.to(&grant.member)]))
}

/// Records that a request lapsed undecided. None: it has not.
pub fn lapse(request: &Request, now: Timestamp) -> Option<Draft> {
    let lapsed = request.recorded == Recorded::Pending && request.state(now) == State::Lapsed;
    let event = Event::RequestLapsed { request: request.id, lapsed_at: request.lapse_time() };
    lapsed.then(|| draft(event, vec![NotificationKind::RequestLapsed.to(&request.requester)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::examples::{at, grant, revoked};
    use crate::domain::replay::history;

    #[test]
    fn a_grant_begins_and_expires_once_by_the_clock() {
        let it = grant(1, 10, 30);
        assert!(begin(&it, at(9)).is_none() && begin(&it, at(10)).is_some());
        assert!(begin(&Grant { begun: true, ..it.clone() }, at(10)).is_none());
        assert!(begin(&revoked(it.clone()), at(10)).is_none());
        assert!(expire(&it, false, at(29)).is_none());
        assert_eq!(expire(&it, false, at(30)).unwrap().recipients.len(), 1);
        assert!(expire(&it, true, at(30)).unwrap().recipients.is_empty());
        assert!(expire(&revoked(it), false, at(30)).is_none());
    }

    #[test]
    fn a_warning_comes_an_hour_before_the_end_and_for_short_grants_in_their_last_quarter() {
        for (length, last_quiet) in [(7200, 3599), (3600, 2699), (40, 29)] {
            let it = grant(1, 0, length);
            assert!(warn(&it, at(last_quiet)).is_none(), "{length}");
            assert!(warn(&it, at(last_quiet + 1)).is_some(), "{length}");
            assert!(warn(&it, at(length)).is_none(), "{length}: it is over");
            assert!(warn(&Grant { warned: true, ..it.clone() }, at(last_quiet + 1)).is_none());
            assert!(warn(&revoked(it), at(last_quiet + 1)).is_none());
        }
        assert!(warn(&grant(1, 10, 20), at(9)).is_none(), "it has not begun");
        assert!(warn(&Grant { ends_at: None, ..grant(1, 0, 10) }, at(9)).is_none());
    }

    #[test]
    fn a_request_is_reminded_of_and_lapses_while_it_is_pending() {
        let log = include_str!("../../../tests/fixtures/replay.jsonl");
        let filed = log.lines().filter(|line| line.contains("\"seq\":32,"));
        let mut request = history::request(filed.map(|line| serde_json::from_str(line).unwrap()).collect()).unwrap();
        let (remind_at, lapses_at) = (request.remind_at.unwrap(), request.lapse_time());
        let before = |time: Timestamp| Timestamp::from_unix(time.unix() - 1).unwrap();
        assert!(remind(&request, &[], before(remind_at)).is_none() && remind(&request, &[], remind_at).is_some());
        assert!(remind(&request, &[], lapses_at).is_none(), "it lapsed");
        assert!(lapse(&request, before(lapses_at)).is_none() && lapse(&request, lapses_at).is_some());
        request.recorded = Recorded::Lapsed;
        assert!(lapse(&request, lapses_at).is_none(), "it is on the record");
        request.recorded = Recorded::Denied;
        assert!(remind(&request, &[], remind_at).is_none() && lapse(&request, lapses_at).is_none());
        request.remind_at = Some(lapses_at);
        assert_eq!(request.reminder_time(), None);
    }
}
