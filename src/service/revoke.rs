//! `revoke`: ending grants before their time: one, or all that a member holds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Never, Problem, Rows, Service, changed, member, view, visible};
use crate::domain::event::Draft;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Request, authorize, lifecycle};
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{RequestView, Seen};
use crate::store::{Error, Read};

/// Ends a grant, and the requests that extend it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    pub id: RequestId,
    pub reason: Option<Text>,
    pub seen: Option<Seen>,
}

impl Call for Revoke {
    const NAME: &'static str = "Revoke";

    type Row = Never;
    type Reply = RequestView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RequestView, Failure> {
        let Revoke { id, reason, seen } = self;
        let seen = seen.as_ref();
        service.change(
            "revoke",
            Some(id),
            |read, me, now| {
                let request = visible(read, &PolicyContext::default(), me, id, now)?;
                let following = following(read, id)?;
                let open = following.iter().filter(|next| next.state(now).is_open()).map(|next| next.id);
                unchanged(read, &std::iter::once(id).chain(open).collect(), seen, |seen| {
                    let closed_too = following.iter().map(|next| next.id);
                    changed(read, id, std::iter::once(id).chain(closed_too), seen)
                })?;
                let drafts = lifecycle::revoke(&request, &following, me, reason, now)?;
                let ended = ended(&drafts);
                Ok((drafts, ended))
            },
            |read, ended, now| {
                let also = ended.into_iter().filter(|&other| other != id);
                let also_ended = also.map(|other| view::written(read, &PolicyContext::default(), other, now));
                let also_ended = also_ended.collect::<Result<Vec<RequestView>, Error>>()?;
                Ok(RequestView { also_ended, ..view::written(read, &PolicyContext::default(), id, now)? })
            },
        )
    }
}

/// Ends all that a member holds by grants, and the requests that extend them, in one transaction. `dry_run`: shows
/// what would end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokeMember {
    pub member: Name,
    pub reason: Option<Text>,
    pub seen: Option<Seen>,
    /// Shows what would end.
    pub dry_run: bool,
}

impl Call for RevokeMember {
    const NAME: &'static str = "RevokeMember";

    type Row = RequestView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, RequestView>) -> Result<(), Failure> {
        let RevokeMember { member, reason, seen, dry_run } = self;
        let (name, reason, seen) = (&member, reason.as_ref(), seen.as_ref());
        let views = if dry_run {
            service.ask("revoke", |read, me, now| {
                let (_, ended) = all_of(read, me, name, reason, now)?;
                let view = |id| -> Result<RequestView, Error> {
                    let last_seq = Some(read.last_entry_about(id)?);
                    Ok(RequestView { last_seq, ..view::written(read, &PolicyContext::default(), id, now)? })
                };
                Ok(ended.into_iter().map(view).collect::<Result<Vec<RequestView>, Error>>()?)
            })?
        } else {
            service.change(
                "revoke",
                None,
                |read, me, now| {
                    let (drafts, ended) = all_of(read, me, name, reason, now)?;
                    unchanged(read, &ended, seen, |_| Ok(Refusal::Changed { what: format!("what {name} holds") }))?;
                    Ok((drafts, ended))
                },
                |read, ended, now| {
                    ended.into_iter().map(|id| view::written(read, &PolicyContext::default(), id, now)).collect()
                },
            )?
        };
        views.into_iter().try_for_each(rows)
    }
}

/// What ends all grants of a member, and the requests that it ends. Each grant is decided on separately.
fn all_of(
    read: &Read<'_>,
    me: &Principal,
    name: &Name,
    reason: Option<&Text>,
    now: Timestamp,
) -> Result<(Vec<Draft>, BTreeSet<RequestId>), Problem> {
    if *name != me.name {
        authorize::needs_admin(me, "revoke somebody else's access", now)?;
    }
    member(read, name)?;
    let mut held = read.requests_granted_to(name)?;
    held.retain(|request| matches!(request.state(now), State::Active | State::Scheduled));
    // An extension comes after the request that it extends, and ends with it.
    held.sort_by_key(|request| request.id);
    let (mut drafts, mut all) = (Vec::new(), BTreeSet::new());
    for request in held {
        if !all.contains(&request.id) {
            let these = lifecycle::revoke(&request, &following(read, request.id)?, me, reason.cloned(), now)?;
            all.extend(ended(&these));
            drafts.extend(these);
        }
    }
    Ok((drafts, all))
}

fn ended(drafts: &[Draft]) -> BTreeSet<RequestId> {
    drafts.iter().filter_map(|draft| draft.event.request()).collect()
}

/// Refuses when anything has happened to these requests since the caller was shown them, or when they are others: what
/// was seen is the number of the last entry about each.
fn unchanged(
    read: &Read<'_>,
    ids: &BTreeSet<RequestId>,
    seen: Option<&Seen>,
    changed: impl FnOnce(&Seen) -> Result<Refusal, Error>,
) -> Result<(), Problem> {
    let Some(seen) = seen else { return Ok(()) };
    let last = ids.iter().map(|&id| read.last_entry_about(id)).collect::<Result<Vec<i64>, Error>>()?;
    if Seen::of(last) == *seen { Ok(()) } else { Err(changed(seen)?.into()) }
}

/// The requests that extend this one's grant, directly or through another extension.
pub fn following(read: &Read<'_>, id: RequestId) -> Result<Vec<Request>, Error> {
    let mut found = read.extensions(id)?;
    let mut next = 0;
    while let Some(request) = found.get(next) {
        // Each extends an earlier one, so this ends. A log that is forged could say otherwise.
        let further = read.extensions(request.id)?;
        found.extend(further.into_iter().filter(|later| later.extends < Some(later.id)));
        next += 1;
    }
    found.retain(|later| later.extends < Some(later.id));
    Ok(found)
}
