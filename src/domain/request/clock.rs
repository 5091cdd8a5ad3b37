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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::examples::{at, grant};

    #[test]
    fn what_was_made_after_the_accepted_time_was_made_ahead() {
        assert!(filed_ahead(at(11), None, at(10)) && filed_ahead(at(5), Some(at(11)), at(10)));
        assert!(!filed_ahead(at(10), None, at(10)) && !filed_ahead(at(5), Some(at(10)), at(10)));
        let from = |start: Option<i64>| {
            let mut grant = grant(1, 11, 30);
            grant.terms.start = start.map(at);
            grant
        };
        assert!(granted_ahead(&from(None), at(10)) && granted_ahead(&from(Some(5)), at(10)));
        assert!(!granted_ahead(&from(Some(11)), at(10)), "it starts when it was asked to");
        assert!(!granted_ahead(&from(None), at(11)) && !granted_ahead(&from(None), at(12)));
    }
}
