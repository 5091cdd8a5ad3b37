//! The rules. Each function takes what has been loaded, who asks and the time, and gives the events that follow,
//! or the refusal. It is called inside the transaction that will record them.

use super::duration::Length;
use super::entitlement::{Person, Thing, longest};
use super::event::{Because, Draft, Event};
use super::name::Name;
use super::notification::{Notice, Told};
use super::refusal::Refusal;
use super::request::{End, Grant, Modification, Recorded, Request, RequestId, State, Terms};
use super::resource::Resource;
use super::role::Role;
use super::team::Change;
use super::text::{Text, Ticket};
use super::time::Timestamp;

/// A pending request that nobody decides on lapses after this: seven days.
const LAPSES_AFTER: i64 = 7 * 86_400;
/// Its member is told that a grant ends once this much, or less, is left: one hour.
pub const WARN_WITHIN: Length = Length::HOUR;

fn draft(event: Event, told: Vec<Told>) -> Draft {
    Draft { event, told }
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub terms: Terms,
    pub reason: Text,
    pub ticket: Option<Ticket>,
}

/// Whether this person may take part at all.
pub fn may_act(person: &Person) -> Result<(), Refusal> {
    if person.is_disabled() { Err(Refusal::Disabled { member: person.name.clone() }) } else { Ok(()) }
}

/// Whether this person is an admin or the owner now, by base role or by a live grant.
pub fn needs_admin(person: &Person, to: &'static str, now: Timestamp) -> Result<(), Refusal> {
    may_act(person)?;
    if person.effective_role(now) >= Role::Admin { Ok(()) } else { Err(Refusal::NeedsAdmin { to }) }
}

/// Whether this person is the owner, by the team file: no grant makes one.
pub fn needs_owner(person: &Person, to: &'static str) -> Result<(), Refusal> {
    may_act(person)?;
    if person.member.role == Role::Owner { Ok(()) } else { Err(Refusal::NeedsOwner { to }) }
}

/// Whether these terms can be granted at all, starting now.
fn check_terms(terms: &Terms, requester: &Person, now: Timestamp) -> Result<(), Refusal> {
    if let End::At(until) = terms.end {
        if until <= now {
            return Err(Refusal::EndPassed { until });
        }
        if until > now.plus(Length::LONGEST) {
            return Err(Refusal::EndTooFar { until });
        }
    }
    match terms.resource {
        Resource::Role(Role::Owner) => Err(Refusal::RoleOwner),
        Resource::Role(asked) if asked <= requester.member.role => {
            Err(Refusal::RoleNotAbove { asked, own: requester.member.role })
        }
        Resource::Role(_)
        | Resource::Connection(_)
        | Resource::Target(_)
        | Resource::Feature(_)
        | Resource::Scope(_) => Ok(()),
    }
}

/// When a request submitted now can no longer be decided.
pub fn lapses_at(now: Timestamp) -> Timestamp {
    now.plus(Length::from_seconds(LAPSES_AFTER).expect("seven days is a length"))
}

/// Files a request. `pending`: a request of the same requester for the same thing that is on the record as pending.
/// `deciders`: those who may decide on it.
#[expect(clippy::too_many_arguments, reason = "each is one fact that the rule needs")]
pub fn submit(
    id: RequestId,
    ask: &Ask,
    filer: &Person,
    requester: &Person,
    thing: &Thing,
    pending: Option<&Request>,
    deciders: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    if filer.name != requester.name {
        needs_admin(filer, "file a request for somebody else", now)?;
    }
    may_act(filer)?;
    may_act(requester)?;
    check_terms(&ask.terms, requester, now)?;
    let ends_at = ask.terms.end.instant(now);
    if let Some(way) = longest(&requester.ways(thing, now))
        && way.until.is_none_or(|until| ends_at.is_some_and(|end| end <= until))
    {
        return Err(Refusal::AlreadyHeld {
            member: requester.name.clone(),
            resource: ask.terms.resource.clone(),
            way: way.clone(),
            now,
        });
    }
    let open = pending.filter(|request| request.state(now) == State::Pending);
    if let Some(first) = open {
        return Err(Refusal::AlreadyPending { first: first.id, resource: ask.terms.resource.clone() });
    }
    let submitted = Event::RequestSubmitted {
        request: id,
        requester: requester.name.clone(),
        filed_by: filer.name.clone(),
        asked: ask.terms.clone(),
        reason: ask.reason.clone(),
        ticket: ask.ticket.clone(),
        lapses_at: lapses_at(now),
    };
    Ok(vec![draft(submitted, Notice::RequestSubmitted.to_all(deciders))])
}

/// Whether this person may decide on this request, were these the terms. This is the one place that says so.
///
/// Members are compared, never logins or names from outside; neither a granted role nor a second vote gets around
/// the first two lines.
pub fn may_decide(person: &Person, request: &Request, terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
    may_act(person)?;
    if person.name == request.requester {
        return Err(Refusal::OwnRequest { id: request.id });
    }
    if person.name == request.filed_by {
        return Err(Refusal::FiledRequest { id: request.id, requester: request.requester.clone() });
    }
    if person.effective_role(now) < Role::Admin {
        return Err(Refusal::NeedsAdmin { to: "decide on a request" });
    }
    // Else two granted admins could keep one another in office.
    let about_a_role = [&request.asked, terms].into_iter().any(|terms| matches!(terms.resource, Resource::Role(_)));
    if about_a_role && person.member.role < Role::Admin {
        return Err(Refusal::NeedsBaseAdmin { id: request.id });
    }
    Ok(())
}

/// Those of the candidates who may decide on the request as it was asked.
pub fn deciders(candidates: &[Person], request: &Request, now: Timestamp) -> Vec<Name> {
    let may = |person: &&Person| may_decide(person, request, &request.asked, now).is_ok();
    candidates.iter().filter(may).map(|person| person.name.clone()).collect()
}

/// Whether somebody may see a request: its requester, its filer, those who may decide on it, admins.
pub fn may_see(person: &Person, request: &Request, now: Timestamp) -> bool {
    !person.is_disabled()
        && (request.belongs_to(&person.name)
            || person.effective_role(now) >= Role::Admin
            || may_decide(person, request, &request.asked, now).is_ok())
}

fn still_pending(request: &Request, now: Timestamp) -> Result<(), Refusal> {
    match request.state(now) {
        State::Pending => Ok(()),
        state @ (State::Scheduled
        | State::Active
        | State::Denied
        | State::Withdrawn
        | State::Lapsed
        | State::Expired
        | State::Revoked) => {
            let by = request.decisions.last().map(|decision| decision.by.clone());
            Err(Refusal::AlreadyDecided { id: request.id, state, by })
        }
    }
}

/// Approves, as asked or with modifications; access starts at once.
pub fn approve(
    request: &Request,
    approver: &Person,
    requester: &Person,
    modification: &Modification,
    note: Option<Text>,
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let terms = request.asked.modified(modification);
    may_decide(approver, request, &terms, now)?;
    still_pending(request, now)?;
    may_act(requester)?;
    check_terms(&terms, requester, now)?;
    let modified = terms != request.asked;
    let started = Event::GrantStarted {
        request: request.id,
        member: request.requester.clone(),
        resource: terms.resource.clone(),
        end: terms.end,
        starts_at: now,
        ends_at: terms.end.instant(now),
        modified,
        approved_by: vec![approver.name.clone()],
    };
    let approved = Event::RequestApproved {
        request: request.id,
        by: approver.name.clone(),
        asked: modified.then(|| request.asked.clone()),
        terms,
        note,
    };
    Ok(vec![draft(approved, vec![Notice::RequestApproved.to(&request.requester)]), draft(started, Vec::new())])
}

pub fn deny(request: &Request, approver: &Person, reason: Option<Text>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    may_decide(approver, request, &request.asked, now)?;
    still_pending(request, now)?;
    let denied = Event::RequestDenied { request: request.id, by: approver.name.clone(), reason };
    Ok(vec![draft(denied, vec![Notice::RequestDenied.to(&request.requester)])])
}

/// `asked`: those who were asked to decide on it.
pub fn withdraw(request: &Request, person: &Person, asked: &[Name], now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    may_act(person)?;
    if !request.belongs_to(&person.name) {
        // Whoever may see it may deny it, which is the act that says what it is.
        return Err(Refusal::NeedsOwnRequest { id: request.id });
    }
    match request.state(now) {
        State::Pending => {}
        state @ (State::Scheduled
        | State::Active
        | State::Denied
        | State::Withdrawn
        | State::Lapsed
        | State::Expired
        | State::Revoked) => return Err(Refusal::NotPending { id: request.id, state }),
    }
    let withdrawn = Event::RequestWithdrawn { request: request.id, by: person.name.clone(), because: Because::Asked };
    Ok(vec![draft(withdrawn, Notice::RequestWithdrawn.to_all(asked))])
}

/// Ends a grant now. Admins may end anyone's, a requester their own.
pub fn revoke(request: &Request, person: &Person, reason: Option<Text>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    may_act(person)?;
    if person.name != request.requester {
        needs_admin(person, "revoke somebody else's access", now)?;
    }
    let state = request.state(now);
    let live = request.grant.as_ref().filter(|_| matches!(state, State::Active | State::Scheduled));
    let Some(grant) = live else { return Err(Refusal::NotLive { id: request.id, state }) };
    let told = if person.name == grant.member { vec![] } else { vec![Notice::AccessRevoked.to(&grant.member)] };
    Ok(vec![draft(revoked(grant, &person.name, Because::Asked, reason), told)])
}

fn revoked(grant: &Grant, by: &Name, because: Because, reason: Option<Text>) -> Event {
    Event::GrantRevoked {
        request: grant.request,
        resource: grant.terms.resource.clone(),
        by: by.clone(),
        because,
        reason,
    }
}

/// Records that a grant has ended by the clock. None: it has not.
pub fn expire(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let ended_at = grant.ends_at.filter(|&end| end <= now && grant.ended.is_none())?;
    let expired = Event::GrantExpired { request: grant.request, resource: grant.terms.resource.clone(), ended_at };
    Some(draft(expired, vec![Notice::AccessExpired.to(&grant.member)]))
}

/// Warns, once, that a grant ends soon. None: it does not, or its member was told.
pub fn warn(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let soon = |&end: &Timestamp| end <= now.plus(WARN_WITHIN);
    let ends_at = grant.ends_at.filter(soon).filter(|_| grant.is_live(now) && !grant.warned)?;
    let expiring = Event::GrantExpiring { request: grant.request, resource: grant.terms.resource.clone(), ends_at };
    Some(draft(expiring, vec![Notice::AccessExpiring.to(&grant.member)]))
}

/// Records that a request lapsed undecided. None: it has not.
pub fn lapse(request: &Request, now: Timestamp) -> Option<Draft> {
    let lapsed = request.recorded == Recorded::Pending && request.state(now) == State::Lapsed;
    let event = Event::RequestLapsed { request: request.id, lapsed_at: request.lapses_at };
    lapsed.then(|| draft(event, vec![Notice::RequestLapsed.to(&request.requester)]))
}

/// What follows for open requests and live grants when the team changes: whatever rests on something that is gone
/// goes with it, so that a name which comes back brings nothing back.
///
/// `open`: every request on the record as pending or with a grant that has not ended. `deciders`: who was asked, by request.
pub fn follow(
    changes: &[Change],
    open: &[Request],
    deciders: impl Fn(&Request) -> Vec<Name>,
    remains: impl Fn(&Name) -> bool,
    by: &Name,
    now: Timestamp,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for request in open {
        let shut_out = changes.iter().filter_map(Change::shuts_out).any(|name| *name == request.requester);
        let gone = |resource: &Resource| changes.iter().filter_map(Change::removes).any(|gone| gone == *resource);
        let because = |resource: &Resource| match (shut_out, gone(resource)) {
            (true, _) => Some(Because::MemberGone),
            (false, true) => Some(Because::Gone(resource.clone())),
            (false, false) => None,
        };
        let mut told: Vec<Told> = Vec::new();
        match (request.state(now), &request.grant) {
            (State::Pending, _) => {
                if let Some(because) = because(&request.asked.resource) {
                    told.extend(Notice::RequestWithdrawn.to_all(&deciders(request)));
                    told.push(Notice::RequestWithdrawn.to(&request.requester));
                    told.retain(|Told(member, _)| remains(member));
                    let event = Event::RequestWithdrawn { request: request.id, by: by.clone(), because };
                    drafts.push(draft(event, told));
                }
            }
            (State::Active | State::Scheduled, Some(grant)) => {
                if let Some(because) = because(&grant.terms.resource) {
                    told.push(Notice::AccessRevoked.to(&grant.member));
                    told.retain(|Told(member, _)| remains(member));
                    drafts.push(draft(revoked(grant, by, because, None), told));
                }
            }
            // Over by the clock, though not on the record: recorded now, or a namesake would be told of it later.
            (State::Expired | State::Lapsed, grant) if shut_out => {
                let over = grant.as_ref().map_or_else(|| lapse(request, now), |grant| expire(grant, now));
                drafts.extend(over.map(|over| draft(over.event, Vec::new())));
            }
            (
                State::Active
                | State::Scheduled
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
