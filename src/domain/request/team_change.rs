//! What follows for open requests and live grants when the team changes.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::lifecycle::{draft, expire, lapse, revoked, untold};
use crate::domain::event::{Because, Draft, Event};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::resource::Resource;
use crate::domain::team::change::Change;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// What judging an open request again, by the new team, comes to.
#[derive(Debug, Default)]
pub struct Anew {
    /// Why its grant ends. None: it stays.
    pub ends: Option<String>,
    /// Whose approvals no longer count, and what a grant would gain. Empty: nothing.
    pub voids: Vec<Name>,
    pub gained: String,
    /// Who is notified of that.
    pub told: Vec<Name>,
}

/// What follows for open requests and live grants when the team changes: whatever rests on something that is gone
/// goes with it, so that a name which comes back brings nothing back.
///
/// `open`: every request on the record as pending or with a grant that has not ended. `asked`: who was told of a request when it was filed.
/// `by`: who changes the team; None for root, who replaces an owner. `judge`: judges one of them again, given the grants
/// that end before it, unless it goes anyway.
pub fn follow<E>(
    changes: &[Change],
    open: &[Request],
    asked: &BTreeMap<RequestId, Vec<Name>>,
    remains: impl Fn(&Name) -> bool,
    (by, now): (Option<&Name>, Timestamp),
    mut judge: impl FnMut(&Request, &BTreeSet<RequestId>) -> Result<Anew, E>,
) -> Result<Vec<Draft>, E> {
    let mut drafts = Vec::new();
    let mut fallen: BTreeSet<RequestId> = BTreeSet::new();
    let all_shut_out: BTreeSet<&Name> = changes.iter().filter_map(Change::shuts_out).collect();
    let all_departed: BTreeSet<&Name> = changes.iter().filter_map(Change::departs).collect();
    let all_gone: BTreeSet<Resource> = changes.iter().filter_map(Change::removes).collect();
    for request in open {
        let shut_out = all_shut_out.contains(&request.requester);
        let filer_departs = all_departed.contains(&request.filed_by);
        let gone = |resource: &Resource| all_gone.contains(resource);
        // A request comes after the one that it goes on from.
        let fell = request.extends.filter(|before| fallen.contains(before));
        let because = |resource: &Resource| match (shut_out, gone(resource)) {
            (true, _) => Some(Because::MemberGone),
            (false, true) => Some(Because::Gone(resource.clone())),
            (false, false) => fell.map(Because::Fell),
        };
        let mut told: Vec<Recipient> = Vec::new();
        match (request.state(now), &request.grant) {
            (State::Pending, _) => {
                // Whoever filed it may come back by another name, and must not decide on it.
                // Approvals of what an approver put on the table rest on that too.
                let because = because(&request.asked.resource).or_else(|| because(&request.on_the_table().resource));
                let because = because.or_else(|| filer_departs.then_some(Because::FilerGone));
                if let Some(because) = because {
                    told.extend(
                        NotificationKind::RequestWithdrawn.to_all(asked.get(&request.id).into_iter().flatten()),
                    );
                    told.push(NotificationKind::RequestWithdrawn.to(&request.requester));
                    told.retain(|Recipient(member, _)| remains(member));
                    let event = Event::RequestWithdrawn { request: request.id, by: by.cloned(), because };
                    drafts.push(draft(event, told));
                    continue;
                }
                let Anew { voids, gained, told, .. } = judge(request, &fallen)?;
                if !gained.is_empty() {
                    let event = Event::ApprovalsVoided { request: request.id, voids, gained };
                    drafts.push(draft(event, NotificationKind::RequestChanged.to_all(&told)));
                }
            }
            (State::Active | State::Scheduled, Some(grant)) => {
                let because = match because(&grant.terms.resource) {
                    Some(because) => Some(because),
                    None => judge(request, &fallen)?.ends.map(Because::NoLongerGiven),
                };
                if let Some(because) = because {
                    fallen.insert(request.id);
                    told.push(NotificationKind::AccessRevoked.to(&grant.member));
                    told.retain(|Recipient(member, _)| remains(member));
                    drafts.push(draft(revoked(grant, by, because, None), told));
                }
            }
            // The clock was first, and nobody has recorded it: now, or it would be told to whoever bears the name next.
            (State::Expired, Some(grant)) if shut_out => drafts.extend(expire(grant, true, now)),
            (State::Lapsed, None) if shut_out => drafts.extend(lapse(request, now).map(untold)),
            (
                State::Active
                | State::Scheduled
                | State::Denied
                | State::Withdrawn
                | State::Lapsed
                | State::Expired
                | State::Revoked,
                _,
            ) => {}
        }
    }
    Ok(drafts)
}
