//! What becomes of requests and grants that were made while the clock was ahead, once the right time is accepted.

use super::Request;
use crate::domain::event::{Because, Draft, Event};
use crate::domain::grant::{Grant, State};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::time::Timestamp;

/// Whether a request was filed, or last edited, while the clock was ahead of the accepted time. Both set when it lapses.
pub fn filed_ahead(submitted_at: Timestamp, edited_at: Option<Timestamp>, accepted: Timestamp) -> bool {
    submitted_at > accepted || edited_at.is_some_and(|at| at > accepted)
}

/// Whether this grant starts after the accepted time only because the clock was ahead when it was approved. One whose
/// start was asked for starts then in any case.
pub fn granted_ahead(grant: &Grant, accepted: Timestamp) -> bool {
    grant.starts_at > accepted && grant.terms.start != Some(grant.starts_at)
}

/// Ends an open request or grant. None: it is not open. `by`: the member who accepts the clock; None: root. `asked`: those
/// who were asked to decide on it.
pub fn end(request: &Request, because: Because, last: Timestamp, by: Option<&Name>, asked: &[Name]) -> Option<Draft> {
    match (request.state(last), &request.grant) {
        (State::Pending, _) => {
            let mut recipients: Vec<Recipient> = NotificationKind::RequestWithdrawn.to_all(asked);
            recipients.push(NotificationKind::RequestWithdrawn.to(&request.requester));
            let event = Event::RequestWithdrawn { request: request.id, by: by.cloned(), because };
            Some(Draft { event, recipients })
        }
        (State::Active | State::Scheduled, Some(grant)) => {
            let event = Event::GrantRevoked {
                request: request.id,
                resource: grant.terms.resource.clone(),
                by: by.cloned(),
                because,
                reason: None,
            };
            Some(Draft { event, recipients: vec![NotificationKind::AccessRevoked.to(&grant.member)] })
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
        ) => None,
    }
}
