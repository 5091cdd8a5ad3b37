//! `review`: closes the review of an emergency; and the details of an emergency that its request does not have.

use serde::{Deserialize, Serialize};

use super::policy_context::{Judged, PolicyContext};
use super::{Call, Never, Rows, Service, unchanged, view, visible};
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::authorize::Case;
use crate::domain::request::emergency::{Emergency, TOGETHER};
use crate::domain::request::{Request, emergency};
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{RequestView, Seen};
use crate::store::{Error, Read};

/// Closes the review of an emergency.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReviewEmergency {
    pub id: RequestId,
    pub note: Text,
    pub seen: Option<Seen>,
}

impl Call for ReviewEmergency {
    const NAME: &'static str = "ReviewEmergency";

    type Row = Never;
    type Reply = RequestView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RequestView, Failure> {
        let ReviewEmergency { id, note, seen } = self;
        service.change(
            "review",
            Some(id),
            |read, me, now| {
                let policy = PolicyContext::default();
                let request = visible(read, &policy, me, id, now)?;
                let judged = judged(read, &policy, &request, now)?;
                let drafts = emergency::review(&case(&request, &judged, &judged.people()), me, note, now)?;
                drop(judged);
                unchanged(read, id, seen.as_ref())?;
                Ok((drafts, policy))
            },
            |read, policy, now| view::written(read, &policy, id, now),
        )
    }
}

/// Judges an emergency by today's rules, for the terms as they were taken.
fn judged(read: &Read<'_>, policy: &PolicyContext, request: &Request, now: Timestamp) -> Result<Judged, Error> {
    policy.judge(read, request, &request.details.asked, request.grant.as_ref().map_or(now, |grant| grant.starts_at))
}

fn case<'c>(request: &'c Request, judged: &'c Judged, people: &'c [&'c Principal]) -> Case<'c> {
    let (requester, judgement) = (judged.requester.as_ref(), &judged.judgement);
    Case { request, requester, terms: &request.details.asked, judgement, people }
}

/// Who can review an emergency now.
pub fn reviewers(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    now: Timestamp,
) -> Result<Vec<Name>, Error> {
    let judged = judged(read, policy, request, now)?;
    let people = judged.people();
    let reviewers = emergency::reviewers(&case(request, &judged, &people), now);
    Ok(reviewers.into_iter().map(|principal| principal.name.clone()).collect())
}

/// The additional details of a request that is an emergency.
pub fn emergency(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    now: Timestamp,
) -> Result<Option<Emergency>, Error> {
    if !request.emergency {
        return Ok(None);
    }
    let day_ago = request.submitted_at.minus(TOGETHER);
    let grants = read.emergencies(request, day_ago)?;
    let reviewers = if request.owes_review() { reviewers(read, policy, request, now)? } else { Vec::new() };
    Ok(Some(Emergency::of(request, reviewers, &grants)))
}

/// The emergencies among these that need a review, each with its possible reviewers.
pub fn owed(
    read: &Read<'_>,
    policy: &PolicyContext,
    ids: &[RequestId],
    now: Timestamp,
) -> Result<Vec<(RequestId, Vec<Name>)>, Error> {
    let mut owed = Vec::new();
    for &id in ids {
        let missing = || Error::Internal { message: format!("request {id} is missing") };
        let request = read.request(id)?.ok_or_else(missing)?;
        owed.push((id, reviewers(read, policy, &request, now)?));
    }
    Ok(owed)
}
