//! `list` and `show`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::provisioning::unconfirmed;
use super::quota::NAMED;
use super::request::item;
use super::resources::narrowest_scope;
use super::{Call, Listed, Never, Problem, Rows, Service, list_past, no_such_member, review, sees, view, visible};
use crate::domain::describe::briefly;
use crate::domain::event::{Entry, Event};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::provisioning::{held_still, not_taken_back};
use crate::domain::recertification::overdue;
use crate::domain::request::vote::Tally;
use crate::domain::request::{Request, authorize, emergency};
use crate::domain::terms::{RequestId, requests};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{
    CertificateView, ListFilter, ProvisioningView, RequestView, SessionView, TimelineView, UnconfirmedView,
};
use crate::store::{Error, Page, Read, VisibleTo};

/// The most pages that wait to be shown.
const PAGES: usize = 2;
/// The most sessions of a request that are shown.
const SESSIONS: usize = 20;

/// Requests, newest first, in pages each of its own short transaction, so that a long list holds nobody up. While one
/// thread shows a page, the other reads the next: each is half of the work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List {
    pub filter: ListFilter,
}

impl Call for List {
    const NAME: &'static str = "List";

    type Row = RequestView;
    type Reply = Listed;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, RequestView>) -> Result<Listed, Failure> {
        match self.filter.at {
            Some(at) => list_past::list(service, &self.filter, at, rows),
            None => list(service, &self.filter, rows),
        }
    }
}

/// Whether a list of today has any request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HasRequests {
    pub filter: ListFilter,
}

impl Call for HasRequests {
    const NAME: &'static str = "HasRequests";

    type Row = Never;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<bool, Failure> {
        service.ask("list", |read, me, now| {
            let only = only(read, &PolicyContext::default(), me, &self.filter, now)?;
            Ok(read.has_requests(&self.filter, only.as_ref(), now)?)
        })
    }
}

fn list(service: &Service<'_>, filter: &ListFilter, rows: Rows<'_, RequestView>) -> Result<Listed, Failure> {
    let (only, policy, warnings, first, now) = service.ask("list", |read, me, now| {
        let policy = PolicyContext::default();
        check_names(read, &policy, me, filter, now)?;
        let only = only(read, &policy, me, filter, now)?;
        let owed = read.reviews_owed()?;
        let named = review::owed(read, &policy, &owed[..owed.len().min(NAMED)], now)?;
        let mut warnings = owed_warnings(&named, owed.len() - named.len(), me);
        let mut first = Vec::new();
        if only.is_none() && is_unfiltered(filter) {
            let overdue = overdue(&read.overdue_recertifications(now)?);
            warnings.extend(overdue.map(|overdue| format!("{overdue}; `access expire` closes them")));
            first = still_held(read, now, &mut warnings)?;
        }
        Ok((only, policy, warnings, first, now))
    })?;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut begun = false;
    let on_first_page: BTreeSet<RequestId> = first.iter().copied().collect();
    let mut before = i64::MAX;
    // A page with what each request waits for, and how the list ends if it does with that.
    let mut next = || -> Result<(ListPage, Option<Listed>), Failure> {
        service.ask("list", |read, me, today| {
            // The caller may have lost the admin role since the previous page.
            if only.is_none() {
                authorize::needs_auditor(me, "see everybody's requests", today)?;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            if !std::mem::replace(&mut begun, true) && !first.is_empty() {
                let mut rows = Vec::new();
                for id in first.iter().take(most) {
                    rows.extend(read.request(*id)?);
                }
                left -= rows.len() as u64;
                return Ok((page(read, &policy, rows, now)?, None));
            }
            // One more than is shown tells whether there are others.
            let Page { mut rows, last } =
                read.requests_before(filter, only.as_ref(), before, most.saturating_add(1), now)?;
            before = rows.last().map_or(before, |request| request.id.get());
            rows.retain(|request| !on_first_page.contains(&request.id));
            let cut = rows.len() > most;
            rows.truncate(most);
            left -= rows.len() as u64;
            if cut {
                before = rows.last().map_or(before, |request| request.id.get());
            }
            let more = if cut { read.count_requests(filter, only.as_ref(), before, now)? } else { 0 };
            let end = (cut || last).then(|| Listed { more, warnings: warnings.clone() });
            Ok((page(read, &policy, rows, now)?, end))
        })
    };
    let mut show = |page: ListPage| {
        page.into_iter().try_for_each(|ListedRequest { request, tallies, reviewers, provisioning }| {
            let view = RequestView::at(request, &tallies, now).with_provisioning(provisioning);
            rows(RequestView { reviewers, ..view })
        })
    };
    let (first, end) = next()?;
    if let Some(end) = end {
        show(first)?;
        return Ok(end);
    }
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(PAGES);
        let showing = scope.spawn(move || show(first).and_then(|()| receiver.iter().try_for_each(show)));
        let mut read = || loop {
            let (rows, end) = next()?;
            // This fails only if showing failed, and that failure is returned below.
            let failed = sender.send(rows).is_err();
            if let Some(end) = end.or_else(|| failed.then(Listed::default)) {
                return Ok(end);
            }
        };
        let end = read();
        drop(sender);
        showing.join().expect("showing does not panic")?;
        end
    })
}

/// A request with how far it has come, who can review it, and how far connectors are with it.
struct ListedRequest {
    request: Request,
    tallies: Vec<Tally>,
    reviewers: Option<Vec<Name>>,
    provisioning: Option<Vec<ProvisioningView>>,
}

type ListPage = Vec<ListedRequest>;

fn page(read: &Read<'_>, policy: &PolicyContext, requests: Vec<Request>, now: Timestamp) -> Result<ListPage, Problem> {
    let mut page = Vec::with_capacity(requests.len());
    for request in requests {
        let tallies = view::tallies(read, policy, &request, now)?;
        let owes = request.owes_review();
        let reviewers = owes.then(|| review::reviewers(read, policy, &request, now)).transpose()?;
        let provisioning = view::provisioning(read, policy, &request, now)?;
        page.push(ListedRequest { request, tallies, reviewers, provisioning });
    }
    Ok(page)
}

fn is_unfiltered(filter: &ListFilter) -> bool {
    let ListFilter {
        mine,
        all: _,
        states,
        requester,
        resource,
        since,
        kind,
        ticket,
        search,
        approver,
        granted_since,
        at,
        limit: _,
    } = filter;
    let names_nobody = requester.is_none() && resource.is_none() && approver.is_none();
    let names_no_time = since.is_none() && granted_since.is_none() && at.is_none();
    let names_no_text = ticket.is_none() && search.is_none();
    !mine && states.is_empty() && kind.is_none() && names_nobody && names_no_time && names_no_text
}

/// The requests whose access could not be taken back, which come first in an admin's list. Where there is no request, it
/// is a warning, and so is access that nobody has taken back.
fn still_held(read: &Read<'_>, now: Timestamp, warnings: &mut Vec<String>) -> Result<Vec<RequestId>, Error> {
    let mut first = Vec::new();
    for failed in read.failed_revokes()? {
        match failed.request {
            Some(id) => first.push(id),
            None => warnings.push(held_still(&failed.holding, None, failed.error.as_deref())),
        }
    }
    if let Some(UnconfirmedView { grants, since }) = unconfirmed(read, now)? {
        warnings.push(not_taken_back(grants, since));
    }
    let mut seen = BTreeSet::new();
    first.retain(|id| seen.insert(*id));
    Ok(first)
}

/// Whose requests this person's list has: everybody's, or their own with those that wait on them and the emergencies
/// that owe a review, which hide from nobody.
pub fn only(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    filter: &ListFilter,
    now: Timestamp,
) -> Result<Option<VisibleTo>, Error> {
    let visible = |also| VisibleTo { member: me.name.clone(), login: me.member.login.clone(), since: me.since, also };
    if filter.mine {
        return Ok(Some(visible(Vec::new())));
    }
    if authorize::needs_auditor(me, "", now).is_ok() {
        return Ok(None);
    }
    let mut also = read.reviews_owed()?;
    if policy.names(read, me, now)? {
        for request in read.pending_requests(now)? {
            if sees(read, policy, me, &request, now)? {
                also.push(request.id);
            }
        }
    }
    Ok(Some(visible(also)))
}

/// Refuses a filter by a name that nothing the caller may see has or had: a mistyped name must not give an empty list. All members
/// may see who is a member and what the catalogue has. Of what is gone, other members may know only what a
/// request that they may see names.
pub fn check_names(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    filter: &ListFilter,
    now: Timestamp,
) -> Result<(), Problem> {
    let known = |kind: &str, name: &dyn Display, by: ListFilter| -> Result<bool, Error> {
        let only = only(read, policy, me, &ListFilter::default(), now)?;
        let by = ListFilter { all: true, ..by };
        Ok(read.has_requests(&by, only.as_ref(), now)?
            || only.is_none() && read.was_declared(&format!("{kind}:{name}"))?)
    };
    if let Some(name) = &filter.approver
        && !read.is_member(name)?
        && !known("member", name, ListFilter { approver: filter.approver.clone(), ..ListFilter::default() })?
    {
        return Err(no_such_member(read, name)?.into());
    }
    if let Some(name) = &filter.requester
        && !read.is_member(name)?
        && !known("member", name, ListFilter { requester: filter.requester.clone(), ..ListFilter::default() })?
    {
        return Err(no_such_member(read, name)?.into());
    }
    if let Some(resource) = &filter.resource
        && read.catalog_item(resource)?.is_none()
        && !known(
            resource.kind().as_str(),
            &resource.name(),
            ListFilter { resource: filter.resource.clone(), ..ListFilter::default() },
        )?
    {
        item(read, resource)?;
    }
    Ok(())
}

/// The emergencies that owe their review, who can review them, and which of them the caller can. `more`: those that are not
/// named.
fn owed_warnings(owed: &[(RequestId, Vec<Name>)], more: usize, me: &Principal) -> Vec<String> {
    if owed.is_empty() {
        return Vec::new();
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let own: Vec<RequestId> =
        owed.iter().filter(|(_, reviewers)| reviewers.contains(&me.name)).map(|(id, _)| *id).collect();
    let you_can = match own.as_slice() {
        [] => String::new(),
        [id] => format!("; you can review request {id}: `access review {id} --note '…'`"),
        several => format!("; you can review {}: `access review ID --note '…'`", requests(several)),
    };
    vec![format!("emergency access that needs a review: {}{more}{you_can}", emergency::reviews_owed(owed))]
}

/// One request in detail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Show {
    pub id: RequestId,
}

impl Call for Show {
    const NAME: &'static str = "Show";

    type Row = Never;
    type Reply = RequestView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RequestView, Failure> {
        let Show { id } = self;
        service.ask("show", |read, me, now| {
            let policy = PolicyContext::default();
            let request = visible(read, &policy, me, id, now)?;
            let terms = request.proposed_terms();
            let judged = policy.judge(read, &request, terms, now)?;
            let pending = request.state(now) == State::Pending;
            let may_decide = if pending {
                authorize::may_decide(me, &request, terms, &judged.judgement.requirements(), now).is_ok()
            } else {
                request.owes_review() && review::reviewers(read, &policy, &request, now)?.contains(&me.name)
            };
            let rules = pending.then(|| view::matched(&judged.judgement));
            let resource = terms.resource.clone();
            let mut view = view::of(read, &policy, request, now)?;
            view.may_decide = Some(may_decide);
            view.rules = rules.unwrap_or_default();
            view.timeline = timeline(read, id)?;
            (view.sessions, view.more_sessions) = sessions(read, id)?;
            view.last_seq = Some(read.last_entry_about(id)?);
            view.certificates = read.certificates_of(id)?.into_iter().map(CertificateView::from).collect();
            view.extended_by = read.extensions(id)?.into_iter().map(|request| request.id).collect();
            if pending {
                view.narrowest_scope = narrowest_scope(&read.team()?, &resource);
            }
            Ok(view)
        })
    }
}

/// The last sessions, and how many there are besides.
fn sessions(read: &Read<'_>, id: RequestId) -> Result<(Vec<SessionView>, u64), Error> {
    let (sessions, count) = read.sessions_of(id, SESSIONS)?;
    let more = count.saturating_sub(sessions.len() as u64);
    Ok((sessions.into_iter().map(SessionView::from).collect(), more))
}

fn timeline(read: &Read<'_>, id: RequestId) -> Result<Vec<TimelineView>, Problem> {
    let entries = read.entries_about(id)?;
    let view = |entry: Entry| TimelineView {
        at: entry.at,
        text: match (&entry.event, &entry.actor) {
            // It quotes what the actor was answered.
            (Event::AttemptRefused { .. }, Some(actor)) => format!("{actor}: {}", briefly(&entry.event, None)),
            _ => briefly(&entry.event, entry.actor.as_ref()),
        },
        action: entry.event.action().to_owned(),
        actor: entry.actor,
    };
    // `sessions` has these.
    let is_session = |entry: &Entry| matches!(entry.event, Event::SessionOpened(_) | Event::SessionClosed(_));
    Ok(entries.into_iter().filter(|entry| !is_session(entry)).map(view).collect())
}
