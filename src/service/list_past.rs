//! `list --at`: the requests as they were at a moment of the past.

use super::list::check_names;
use super::policy_context::PolicyContext;
use super::snapshot::{moment, request_then};
use super::{Listed, Problem, Rows, Service};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::{Request, Verdict, authorize};
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{COUNTED, ListFilter, RequestKind, RequestView};
use crate::store::{Error, Moment, Read, VisibleTo};

/// Lists page by page. Those who do not see everything today see their own requests.
pub fn list(
    service: &Service<'_>,
    filter: &ListFilter,
    at: Timestamp,
    rows: Rows<'_, RequestView>,
) -> Result<Listed, Failure> {
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut more = 0;
    let mut before = i64::MAX;
    loop {
        let (found, last) = service.ask("list", |read, me, now| {
            let moment = moment(read, at, now)?;
            if before == i64::MAX {
                check_names(read, &PolicyContext::default(), me, filter, now)?;
            }
            let sees_all = !filter.mine && authorize::needs_auditor(me, "", now).is_ok();
            let page = read.requests_of_past(filter, (!sees_all).then(|| own(me)).as_ref(), before, moment)?;
            before = page.rows.last().map_or(before, |request| request.id.get());
            let mut found = Vec::new();
            for today in page.rows {
                if let Some(request) = request_then(read, today, moment)?
                    && matches(read, filter, &request, moment)?
                {
                    found.push(request);
                }
            }
            Ok::<_, Problem>((found, page.last))
        })?;
        for request in found {
            if left == 0 {
                more += 1;
            } else {
                left -= 1;
                rows(view(request, at))?;
            }
        }
        if last || more > COUNTED {
            return Ok(Listed { more, warnings: Vec::new() });
        }
    }
}

fn own(me: &Principal) -> VisibleTo {
    VisibleTo { member: me.name.clone(), login: me.member.login.clone(), since: me.since, also: Vec::new() }
}

/// How many approvals a request that was pending still needed depends on what else was live. One at least.
fn view(request: Request, at: Timestamp) -> RequestView {
    let pending = request.state(at) == State::Pending;
    let counted: Vec<bool> = request.decisions.iter().map(|decision| decision.counts).collect();
    let mut view = RequestView::at(request, &[], at);
    if pending {
        for (decision, counts) in view.decisions.iter_mut().zip(counted) {
            decision.counts = counts;
        }
        view.approvals.need = view.approvals.have + 1;
        view.approvals.requirements.iter_mut().for_each(|it| it.need = it.have + 1);
    }
    RequestView { at: Some(at), ..view }
}

/// What the conditions of a list say in SQL, about a request as it was.
fn matches(read: &Read<'_>, filter: &ListFilter, request: &Request, moment: Moment) -> Result<bool, Error> {
    let ListFilter {
        mine: _,
        all,
        states,
        requester,
        resource,
        since,
        kind,
        ticket,
        search,
        approver,
        granted_since,
        at: _,
        limit: _,
    } = filter;
    let state = request.state(moment.at);
    let in_state = match states.is_empty() {
        true => *all || state.is_open() || request.owes_review(),
        false => states.contains(&state),
    };
    let granted = request.grant.as_ref().map(|grant| &grant.terms);
    let proposed = Some(request.proposed_terms()).filter(|_| state == State::Pending);
    let shown = [Some(&request.details.asked), granted, proposed];
    let is_about = |named: &Resource| shown.into_iter().flatten().any(|terms| terms.resource == *named);
    let is_kind = match kind {
        None => true,
        Some(RequestKind::Permanent) => granted.unwrap_or(&request.details.asked).end.is_permanent(),
        Some(RequestKind::Emergency) => request.emergency,
        Some(RequestKind::Unreviewed) => request.owes_review(),
    };
    let approved_by =
        |name: &Name| request.decisions.iter().any(|it| it.verdict == Verdict::Approve && it.counts && it.by == *name);
    let granted_in_time = match (granted_since, granted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(since), Some(_)) => read.grant_entry(request.id)?.is_some_and(|(_, at)| at >= *since),
    };
    Ok(in_state
        && is_kind
        && granted_in_time
        && requester.as_ref().is_none_or(|name| request.requester == *name)
        && resource.as_ref().is_none_or(is_about)
        && since.is_none_or(|since| request.submitted_at >= since)
        && ticket.as_ref().is_none_or(|ticket| request.details.ticket.as_ref() == Some(ticket))
        && search.as_ref().is_none_or(|text| says(request, &text.to_ascii_lowercase()))
        && approver.as_ref().is_none_or(approved_by))
}

fn says(request: &Request, text: &str) -> bool {
    let ticket = request.details.ticket.as_ref().map(|ticket| ticket.as_str());
    let notes = request.decisions.iter().filter_map(|decision| decision.note.as_ref());
    let review = request.review.as_ref().map(|review| &review.note);
    let texts = std::iter::once(&request.details.reason).chain(notes).chain(review).map(|text| text.as_str());
    texts.chain(ticket).any(|said| said.to_ascii_lowercase().contains(text))
}
