//! Files a request.

use super::Request;
use super::authorize::{may_act, needs_admin};
use super::emergency::could_review;
use super::lifecycle::{begins, draft, granted};
use crate::domain::catalog::CatalogItem;
use crate::domain::duration::Length;
use crate::domain::entitlement::longest;
use crate::domain::event::{Draft, Event, Granted, Submission};
use crate::domain::grant::State;
use crate::domain::name::{Name, RuleName};
use crate::domain::notification::NotificationKind;
use crate::domain::policy::judge::Judgement;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Refusal, TermsRefusal};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::terms::{End, RequestDetails, RequestId, Terms};
use crate::domain::text::check_distinct;
use crate::domain::time::Timestamp;

/// A pending request that nobody decides on lapses after this: seven days.
const LAPSES_AFTER: Length = Length::WEEK;
/// Access may be asked to start within a year of 365 days.
const LATEST_START: Length = Length::YEAR;

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub details: RequestDetails,
    pub extends: Option<RequestId>,
    pub emergency: bool,
    /// Whether the length is the default, because nobody said how long. It is no longer than the rules allow.
    pub default_length: bool,
}

/// What has been loaded for a request that is being filed.
pub struct Filing<'f> {
    pub id: RequestId,
    pub filer: &'f Principal,
    pub requester: &'f Principal,
    pub item: &'f CatalogItem,
    /// A request of the same requester for the same thing that is on the record as pending.
    pub pending: Option<&'f Request>,
    /// The request that an edit changes. None: a new one is filed.
    pub edits: Option<&'f Request>,
    pub judgement: &'f Judgement,
    /// All admins and the owner, and everyone else whom a rule names.
    pub notify: &'f [Name],
    /// Everyone who might review it, if it is an emergency.
    pub people: &'f [&'f Principal],
    /// Those who were asked to decide before an edit.
    pub asked: &'f [Name],
}

/// Why these terms can't be granted at all, by somebody who approves them now.
pub(super) fn wrong_terms(terms: &Terms, requester: &Principal, now: Timestamp) -> Vec<Refusal> {
    let start = terms.starts_at(now);
    let end = terms.end.until().and_then(|until| match until {
        _ if until <= now => Some(TermsRefusal::EndPassed { until }.into()),
        _ if until <= start => Some(TermsRefusal::EndBeforeStart { until, start }.into()),
        _ if until > now.plus(Length::LONGEST) => Some(TermsRefusal::EndTooFar { until }.into()),
        _ => None,
    });
    let role = match terms.resource {
        Resource::Role(Role::Owner) => Some(TermsRefusal::RoleOwner.into()),
        Resource::Role(asked) if asked <= requester.member.role => {
            Some(TermsRefusal::RoleNotAbove { asked, own: requester.member.role }.into())
        }
        Resource::Role(_)
        | Resource::Connection(_)
        | Resource::Target(_)
        | Resource::Feature(_)
        | Resource::Scope(_) => None,
    };
    end.into_iter().chain(role).collect()
}

/// Why access can't be asked to start then.
fn wrong_start(ask: &Ask, now: Timestamp) -> Option<Refusal> {
    match ask.details.asked.start {
        // An extension starts when the grant before it ends, whenever that is.
        Some(start) if ask.extends.is_none() && start <= now => Some(TermsRefusal::StartPassed { start }.into()),
        Some(start) if ask.extends.is_none() && start > now.plus(LATEST_START) => {
            Some(TermsRefusal::StartTooFar { start }.into())
        }
        Some(_) | None => None,
    }
}

/// What is wrong with a request whatever it is for. `edits`: the request that it changes, if it does.
pub fn wrong_by_itself(ask: &Ask, requester: &Principal, edits: Option<&Request>, now: Timestamp) -> Vec<Refusal> {
    let mut wrong = wrong_terms(&ask.details.asked, requester, now);
    // A start that an edit leaves as it is may have passed: an approval would still be possible.
    if edits.is_none_or(|before| before.details.asked.start != ask.details.asked.start) {
        wrong.extend(wrong_start(ask, now));
    }
    let hidden = ask.details.ticket.as_ref().and_then(|ticket| check_distinct(ticket.as_str()).err());
    wrong.extend(hidden.map(|why| TermsRefusal::HiddenInTicket { why }.into()));
    wrong
}

/// When a request for these terms that is submitted or edited now can no longer be decided: after the usual time, or at
/// the end that is asked for, whichever is earlier.
pub fn lapses_at(terms: &Terms, judgement: &Judgement, now: Timestamp) -> Timestamp {
    let usual = now.plus(judgement.lapse_after().unwrap_or(LAPSES_AFTER));
    terms.end.until().map_or(usual, |end| end.min(usual))
}

/// When those who may decide on a request that is submitted or edited now are reminded. None: never, or it would have
/// lapsed by then.
pub fn remind_at(terms: &Terms, judgement: &Judgement, now: Timestamp) -> Option<Timestamp> {
    let due = judgement.remind_after().map(|length| now.plus(length));
    due.filter(|&due| due < lapses_at(terms, judgement, now))
}

/// Whether this may be asked for, by the terms themselves and by the rules. Gives the rule that grants it at once, if
/// there is one. Holds for new requests and for edits alike.
pub(super) fn may_ask<'f>(ask: &Ask, filing: &Filing<'f>, now: Timestamp) -> Result<Option<&'f RuleName>, Refusal> {
    let Filing { filer, requester, judgement, .. } = filing;
    if filer.name != requester.name {
        needs_admin(filer, "file a request for somebody else", now)?;
    }
    may_act(filer)?;
    may_act(requester)?;
    let mut wrong = wrong_by_itself(ask, requester, filing.edits, now);
    let ends_at = ask.details.asked.ends_at(now);
    if let Some(way) = longest(&requester.entitlements(filing.item, now))
        && way.until.is_none_or(|until| ends_at.is_some_and(|end| end <= until))
    {
        wrong.push(
            TermsRefusal::AlreadyHeld {
                member: requester.name.clone(),
                filer: filer.name.clone(),
                resource: ask.details.asked.resource.clone(),
                way: Box::new(way.clone()),
                now,
            }
            .into(),
        );
    }
    // An emergency does not wait behind what waits.
    let open = filing.pending.filter(|request| request.state(now) == State::Pending && !ask.emergency);
    let resource = || ask.details.asked.resource.clone();
    wrong.extend(open.map(|first| TermsRefusal::AlreadyPending { first: first.id, resource: resource() }.into()));
    if ask.emergency {
        wrong.extend(may_be_emergency(ask, filing).err());
    }
    let violations = judgement.violations(&ask.details.asked, &ask.details.reason, ask.details.ticket.as_ref());
    wrong.extend(violations.into_iter().map(Refusal::from));
    if judgement.requirements().is_empty() {
        wrong.push(TermsRefusal::NothingDemanded { resource: resource() }.into());
    }
    let by_rule = match ask.emergency {
        true => judgement.allowed_in_emergency(),
        false => judgement.approved_by_rule(),
    };
    if ask.emergency && by_rule.is_none() {
        wrong.push(TermsRefusal::NoEmergency { resource: resource() }.into());
    }
    Refusal::refuse_if_any(wrong).map(|()| by_rule)
}

/// Emergency access is for the caller, starts at once, and ends.
fn may_be_emergency(ask: &Ask, filing: &Filing<'_>) -> Result<(), Refusal> {
    if filing.filer.name != filing.requester.name {
        return Err(TermsRefusal::EmergencyForAnother.into());
    }
    match (ask.details.asked.end, ask.details.asked.start) {
        (End::Never, _) => Err(TermsRefusal::PermanentEmergency.into()),
        (End::After(_) | End::At(_), Some(_)) => Err(TermsRefusal::EmergencyLater.into()),
        (End::After(_) | End::At(_), None) => Ok(()),
    }
}

/// Files a request; one that a rule approves, or an emergency, is granted with it.
pub fn submit(ask: &Ask, filing: &Filing<'_>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let Filing { filer, requester, judgement, .. } = filing;
    let by_rule = may_ask(ask, filing, now)?;
    let submitted = Event::RequestSubmitted(Submission {
        request: filing.id,
        requester: requester.name.clone(),
        filed_by: filer.name.clone(),
        requester_login: Some(requester.member.login.clone()),
        filer_login: Some(filer.member.login.clone()),
        details: ask.details.clone(),
        lapses_at: lapses_at(&ask.details.asked, judgement, now),
        remind_at: remind_at(&ask.details.asked, judgement, now),
        extends: ask.extends,
        emergency: ask.emergency,
    });
    let others = || filing.notify.iter().filter(|name| **name != requester.name && **name != filer.name);
    let Some(rule) = by_rule else {
        return Ok(vec![draft(submitted, NotificationKind::RequestSubmitted.to_all(others()))]);
    };
    let recipients = match ask.emergency {
        true => NotificationKind::AccessEmergency.to_all(others()),
        // What a rule approves waits for nobody, so only its requester is notified.
        false => vec![NotificationKind::RequestApproved.to(&requester.name)],
    };
    let reviewers = ask.emergency.then(|| {
        let may_review = |principal: &&&Principal| {
            !principal.is_disabled()
                && principal.name != requester.name
                && could_review(principal, judgement, &ask.details.asked, now)
        };
        filing.people.iter().filter(may_review).map(|principal| principal.name.clone()).collect()
    });
    let granted =
        Granted { reviewers, ..granted(filing.id, &requester.name, &ask.details.asked, false, Some(rule), now) };
    Ok(vec![draft(submitted, Vec::new()), draft(begins(granted, now), recipients)])
}
