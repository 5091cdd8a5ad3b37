//! `extend`: requests an extension of a grant. It is a request like any other, which starts when that grant ends.

use serde::{Deserialize, Serialize};

use super::needs::{need, no_reason_yet};
use super::policy_context::PolicyContext;
use super::request::{Prepared, item, submit};
use super::resources::about;
use super::{Call, Never, Problem, Rows, Service, Warned, visible};
use crate::domain::duration::Length;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LifecycleRefusal, Refusal};
use crate::domain::request::submit::Ask;
use crate::domain::request::{Request, authorize, lifecycle};
use crate::domain::terms::{RequestDetails, RequestId};
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{NeedsView, RequestView};
use crate::store::Read;

/// Requests an extension of a grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Extend {
    pub id: RequestId,
    /// None: the same length.
    pub length: Option<Length>,
    pub reason: Text,
    pub ticket: Option<Ticket>,
}

impl Call for Extend {
    const NAME: &'static str = "Extend";

    type Row = Never;
    type Reply = Warned<RequestView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<RequestView>, Failure> {
        let Extend { id, length, reason, ticket } = self;
        let (view, warnings) = service.change(
            "extend",
            Some(id),
            |read, me, now| {
                let policy = PolicyContext::default();
                let default_length = length.is_none();
                let mut ask = Ask { default_length, ..asked(read, &policy, me, id, length, now)? };
                ask.details.reason = reason;
                ask.details.ticket = ticket.or(ask.details.ticket);
                let Prepared { drafts, warnings, view } = submit(read, &policy, me, me, &ask, now)?;
                Ok((drafts, (view, warnings)))
            },
            |_, answer, _| Ok(answer),
        )?;
        Ok(Warned { answer: view, warnings })
    }
}

/// The request to file: like the current request, with new terms and without its reason.
fn asked(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    id: RequestId,
    length: Option<Length>,
    now: Timestamp,
) -> Result<Ask, Problem> {
    let request = visible(read, policy, me, id, now)?;
    let terms = lifecycle::extended(&request, me, length, now)?;
    let open = |next: &&Request| next.state(now).is_open();
    if let Some(next) = read.extensions(id)?.iter().find(open) {
        return Err(Refusal::from(LifecycleRefusal::AlreadyExtended { id, by: next.id }).into());
    }
    Ok(Ask {
        details: RequestDetails { asked: terms, reason: no_reason_yet(), ..request.details },
        extends: Some(id),
        emergency: false,
        default_length: false,
    })
}

/// The requirements of an extension. Files nothing, and a refusal is not recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NeedsToExtend {
    pub id: RequestId,
    pub length: Option<Length>,
}

impl Call for NeedsToExtend {
    const NAME: &'static str = "NeedsToExtend";

    type Row = Never;
    type Reply = NeedsView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<NeedsView, Failure> {
        let NeedsToExtend { id, length } = self;
        let view = service.store.read(|read| -> Result<NeedsView, Problem> {
            let me = service.actor(read)?;
            authorize::may_act(&me)?;
            let now = service.now(read)?;
            let policy = PolicyContext::default();
            let ask = asked(read, &policy, &me, id, length, now)?;
            let mut need = need(read, &policy, &me, &me, &ask, now)?;
            // The ticket of the current request is kept by default.
            need.tickets.retain(|pattern| !ask.details.ticket.as_ref().is_some_and(|ticket| pattern.matches(ticket)));
            let item = item(read, &ask.details.asked.resource)?;
            let about = about(&read.team()?, &item);
            Ok(NeedsView { resource: ask.details.asked.resource, about, lengths: vec![need], longest: None })
        });
        view.map_err(Problem::unrecorded)
    }
}
