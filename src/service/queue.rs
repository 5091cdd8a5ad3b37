//! The requests that wait for the caller's decision.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Rows, Service};
use crate::domain::principal::Principal;
use crate::domain::request::{Request, vote};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Error, Page, QueuePosition, Read};

/// All of them, in pages each of its own short transaction, so that a long queue holds nobody up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queue {}

impl Call for Queue {
    const NAME: &'static str = "Queue";

    type Row = RequestId;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, RequestId>) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let (found, next) = service
                .ask("approve", |read, me, now| Ok(waiting(read, &PolicyContext::default(), me, after, now)?))?;
            for request in found {
                rows(request.id)?;
            }
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }
}

/// The requests of one page that wait for this member, and where the next page begins. None: it was the last page.
pub fn waiting(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    after: Option<QueuePosition>,
    now: Timestamp,
) -> Result<(Vec<Request>, Option<QueuePosition>), Error> {
    let Page { rows, last } = read.pending_after(after, now)?;
    let next = rows.last().map(|request| (request.lapse_time(), request.id)).filter(|_| !last);
    let mut found = Vec::new();
    for request in rows {
        let terms = request.proposed_terms();
        let judged = policy.judge(read, &request, terms, now)?;
        if vote::waits_on(&judged.tally(&request, terms, now)).contains(&me.name) {
            found.push(request);
        }
    }
    Ok((found, next))
}
