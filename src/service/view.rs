//! Requests as they are shown, with the approvals that they wait for.

use super::policy_context::PolicyContext;
use super::{provisioned, review};
use crate::domain::grant::State;
use crate::domain::policy::judge::Judgement;
use crate::domain::request::Request;
use crate::domain::request::emergency::Emergency;
use crate::domain::request::vote::Tally;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::protocol::{MatchedView, ProvisioningView, RequestView};
use crate::store::{Error, Read};

pub fn of(read: &Read<'_>, policy: &PolicyContext, request: Request, now: Timestamp) -> Result<RequestView, Error> {
    let tallies = tallies(read, policy, &request, now)?;
    let emergency = review::emergency(read, policy, &request, now)?;
    let provisioning = provisioning(read, policy, &request, now)?;
    let view = RequestView::at(request, &tallies, now).with_provisioning(provisioning);
    Ok(with_emergency(view, emergency))
}

/// How far connectors are with the grant of a request. None if there is nothing to say.
pub fn provisioning(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    now: Timestamp,
) -> Result<Option<Vec<ProvisioningView>>, Error> {
    request.grant.as_ref().map_or(Ok(None), |grant| provisioned::of_grant(read, policy, grant, now))
}

pub fn with_emergency(view: RequestView, emergency: Option<Emergency>) -> RequestView {
    match emergency {
        None => view,
        Some(Emergency { reviewers, together }) => {
            RequestView { reviewers, emergencies_in_24h: Some(together), ..view }
        }
    }
}

/// The approvals that each demand on a request has and needs. Empty unless it is pending.
pub fn tallies(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    now: Timestamp,
) -> Result<Vec<Tally>, Error> {
    if request.state(now) != State::Pending {
        return Ok(Vec::new());
    }
    let terms = request.proposed_terms();
    Ok(policy.judge(read, request, terms, now)?.tally(request, terms, now))
}

/// A request that was just written, as it is now.
pub fn written(read: &Read<'_>, policy: &PolicyContext, id: RequestId, now: Timestamp) -> Result<RequestView, Error> {
    let request = read.request(id)?.ok_or_else(|| Error::Internal { message: format!("request {id} is missing") })?;
    of(read, policy, request, now)
}

/// The rules that match, and why.
pub fn matched(judgement: &Judgement) -> Vec<MatchedView> {
    let view = |matched: &crate::domain::policy::judge::MatchedRule| MatchedView {
        rule: matched.rule.name.to_string(),
        because: matched.because.clone(),
        says: matched.rule.says(),
    };
    judgement.matched.iter().map(view).collect()
}
