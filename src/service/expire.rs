//! `expire`, for cron: records what has expired, and notifies people.
//!
//! It works in batches, each in its own transaction, so that others wait briefly. The next run continues after one that
//! was interrupted, and two runs at the same time never record anything twice.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::recertify;
use super::{Call, Callers, Rows, Service, Warned};
use crate::domain::event::{Draft, Event};
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::policy::demand::{Requirement, RoleBasis};
use crate::domain::principal::Principal;
use crate::domain::request::{Request, lifecycle, vote};
use crate::domain::terms::RequestId;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{ExpireView, Progress};
use crate::store::{Error, Read};

const BATCH: usize = 1000;

/// Records what has expired, then sends what is due. A failure to send does not affect what was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expire {
    pub dry_run: bool,
    /// Send what is due as well.
    pub deliver: bool,
}

impl Call for Expire {
    const NAME: &'static str = "Expire";
    const CALLERS: Callers = Callers::Keepers;
    const SENDS: bool = true;
    type Row = Progress;
    type Reply = Warned<ExpireView>;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Progress>) -> Result<Warned<ExpireView>, Failure> {
        let Expire { dry_run, deliver } = self;
        let mut tally = if dry_run {
            service.store.read(|read| -> Result<ExpireView, Failure> {
                Ok(due(read, &PolicyContext::default(), service.now_to_write(read)?, usize::MAX)?.1)
            })?
        } else {
            run(service).map_err(|failure| not_recorded(service, failure))?
        };
        let mut warnings = Vec::new();
        if deliver && !dry_run {
            match (service.outside.deliver)(rows) {
                Ok(sent) => {
                    (tally.delivered, tally.failed) = (sent.view.delivered, sent.view.failed);
                    warnings = sent.warnings;
                    for failure in sent.failures {
                        warnings.push(failure.message);
                        warnings.extend(failure.hints);
                    }
                }
                Err(failure) => {
                    warnings.push(format!("notifications were not sent: {}", failure.message));
                    warnings.extend(failure.hints);
                }
            }
        }
        Ok(Warned { answer: tally, warnings })
    }
}

/// Says what could not be recorded because the shared log can't be reached, or takes it from other hosts alone.
fn not_recorded(service: &Service<'_>, failure: Failure) -> Failure {
    let due = || -> Result<ExpireView, Failure> {
        service.store.read(|read| Ok(due(read, &PolicyContext::default(), service.now(read)?, usize::MAX)?.1))
    };
    let (Kind::Unavailable | Kind::Refused, Ok(due)) = (failure.kind, due()) else { return failure };
    let counts = [
        (due.expired, "end of access", "ends of access"),
        (due.started, "start of access", "starts of access"),
        (due.lapsed, "request that lapsed", "requests that lapsed"),
    ];
    let some = counts.into_iter().filter(|(count, ..)| *count > 0);
    let each: Vec<String> = some.map(|(count, one, many)| quantity(count, one, many)).collect();
    if each.is_empty() {
        return failure;
    }
    let message = format!("{}; not recorded: {}", failure.message, each.join(", "));
    let recorded = match failure.kind {
        Kind::Refused => "a host that may decide records it",
        _ => "the next run records it",
    };
    Failure { message, ..failure }.hint(format!("access ends by the clock all the same; {recorded}"))
}

fn run(service: &Service<'_>) -> Result<ExpireView, Failure> {
    let mut total = ExpireView::default();
    service.store.enlarge_cache()?;
    loop {
        let batch = service.store.write(|write| -> Result<ExpireView, Failure> {
            let now = service.now_to_write(write)?;
            let (drafts, tally) = due(write, &PolicyContext::default(), now, BATCH)?;
            write.record(&service.context(None, now), drafts)?;
            write.expire_ran(now);
            Ok(tally)
        })?;
        total.expired += batch.expired;
        total.started += batch.started;
        total.expiring += batch.expiring;
        total.lapsed += batch.lapsed;
        total.reminded += batch.reminded;
        total.rejudged += batch.rejudged;
        total.closed += batch.closed;
        total.revoked += batch.revoked;
        let done = batch.expired + batch.started + batch.expiring + batch.lapsed + batch.reminded + batch.rejudged;
        if done < BATCH as u64 {
            return Ok(total);
        }
    }
}

/// The grants and requests that are over but not recorded as such, at most `most` of each, and how many they are. For a
/// grant that began and ended, both are recorded.
pub fn over(read: &Read<'_>, now: Timestamp, most: usize) -> Result<(Vec<Draft>, usize), Error> {
    let ended = read.lapsed_grants(now, most)?;
    let stale = read.lapsed_requests(now, most - ended.len())?;
    let policy = PolicyContext::default();
    let mut drafts = Vec::new();
    for grant in &ended {
        drafts.extend(lifecycle::begin(grant, now));
        drafts.extend(lifecycle::expire(grant, access_continues(read, &policy, grant, now)?, now));
    }
    drafts.extend(stale.iter().filter_map(|request| lifecycle::lapse(request, now)));
    Ok((drafts, ended.len() + stale.len()))
}

/// Whether the member of a grant has the same access by another grant at this moment: an extension, a parallel grant, or a
/// grant that covers it. It runs for thousands of grants, so the cheap checks come first.
pub fn access_continues(read: &Read<'_>, policy: &PolicyContext, grant: &Grant, at: Timestamp) -> Result<bool, Error> {
    if !read.has_another_grant(grant, at)? {
        return Ok(false);
    }
    let (principal, item) = (policy.principal(read, &grant.member)?, read.catalog_item(&grant.terms.resource)?);
    let (Some(principal), Some(item)) = (principal, item) else { return Ok(false) };
    Ok(principal.entitlements(&item, at).iter().any(|entitlement| entitlement.request != Some(grant.request)))
}

/// The warnings that are due, up to a limit. A grant whose access continues needs none, but is checked again until it
/// ends, since the other grant may be revoked first.
fn warnings(read: &Read<'_>, policy: &PolicyContext, now: Timestamp, most: usize) -> Result<Vec<Draft>, Error> {
    let mut drafts = Vec::new();
    let mut after = None;
    while drafts.len() < most {
        let room = (most - drafts.len()).min(BATCH);
        let page = read.unwarned_grants(now, lifecycle::WARN_WITHIN, after, room)?;
        let Some(last) = page.last() else { break };
        after = last.ends_at.map(|end| (end, last.request));
        for grant in &page {
            if !access_continues(read, policy, grant, grant.ends_at.unwrap_or(now))? {
                drafts.extend(lifecycle::warn(grant, now));
            }
        }
    }
    Ok(drafts)
}

/// What is due at this time, up to a limit. The start of a grant comes before its end, for those with both due.
pub fn due(
    read: &Read<'_>,
    policy: &PolicyContext,
    now: Timestamp,
    most: usize,
) -> Result<(Vec<Draft>, ExpireView), Error> {
    let mut drafts: Vec<Draft> = Vec::new();
    let begun = read.grants_to_begin(now, most)?;
    drafts.extend(begun.iter().filter_map(|grant| lifecycle::begin(grant, now)));
    let started = drafts.len();
    let ended = read.lapsed_grants(now, most - started)?;
    for grant in &ended {
        drafts.extend(lifecycle::expire(grant, access_continues(read, policy, grant, now)?, now));
    }
    let expired = drafts.len();
    drafts.extend(warnings(read, policy, now, most - expired)?);
    let expiring = drafts.len();
    let mut reminded_of: BTreeSet<RequestId> = BTreeSet::new();
    for request in read.requests_to_remind(now, most - expiring)? {
        reminded_of.insert(request.id);
        drafts.extend(lifecycle::remind(&request, &to_remind(read, policy, &request, now)?, now));
    }
    let reminded = drafts.len();
    for request in read.pending_of_format_1(now, false, most - reminded)? {
        // A reminder goes to everyone who may decide.
        let names =
            if reminded_of.contains(&request.id) { Vec::new() } else { not_notified(read, policy, &request, now)? };
        drafts.push(lifecycle::rejudge(&request, &names));
    }
    let rejudged = drafts.len();
    let stale = read.lapsed_requests(now, most - rejudged)?;
    drafts.extend(stale.iter().filter_map(|request| lifecycle::lapse(request, now)));
    let counted = drafts.len();
    let tended = recertify::tend(read, policy, now)?;
    drafts.extend(tended.drafts);
    let tally = ExpireView {
        started: started as u64,
        expired: (expired - started) as u64,
        expiring: (expiring - expired) as u64,
        reminded: (reminded - expiring) as u64 + tended.reminded,
        rejudged: (rejudged - reminded) as u64,
        lapsed: (counted - rejudged) as u64,
        closed: tended.closed,
        revoked: tended.revoked,
        ..ExpireView::default()
    };
    Ok((drafts, tally))
}

/// Those who may still decide on a request, and were not notified of it when it was filed or changed.
pub fn not_notified(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    now: Timestamp,
) -> Result<Vec<Name>, Error> {
    let terms = request.proposed_terms();
    let mut names = vote::waits_on(&policy.judge(read, request, terms, now)?.tally(request, terms, now));
    for entry in read.entries_about(request.id)? {
        if matches!(entry.event, Event::RequestRejudged { .. } | Event::RequestReminded { .. }) {
            continue;
        }
        for Recipient(member, notice) in entry.recipients {
            let same = || Ok::<_, Error>(read.member(&member)?.is_some_and(|(_, since)| since < entry.seq));
            if notice.asks_for_a_decision() && names.contains(&member) && same()? {
                names.retain(|name| *name != member);
            }
        }
    }
    Ok(names)
}

/// Those who may still decide, and those to whom it escalates.
fn to_remind(read: &Read<'_>, policy: &PolicyContext, request: &Request, now: Timestamp) -> Result<Vec<Name>, Error> {
    let terms = request.proposed_terms();
    let judged = policy.judge(read, request, terms, now)?;
    let mut names: BTreeSet<Name> = vote::waits_on(&judged.tally(request, terms, now)).into_iter().collect();
    let escalation = Requirement::one_of(judged.judgement.escalate_to());
    let escalated = policy.people_named(read, &escalation.approvers)?;
    let is_approver = |principal: &&Rc<Principal>| escalation.is_met_by(principal, RoleBasis::Effective, now);
    names.extend(escalated.iter().filter(is_approver).map(|principal| principal.name.clone()));
    names.remove(&request.requester);
    Ok(names.into_iter().collect())
}
