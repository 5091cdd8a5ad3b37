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
pub struct Reassessment {
    /// Why its grant ends. None: it stays.
    pub ends: Option<String>,
    /// Whose approvals no longer count, and what a grant would gain. Empty: nothing.
    pub voids: Vec<Name>,
    pub gained: String,
    /// Who is notified of that.
    pub notify: Vec<Name>,
}

/// What follows for open requests and live grants when the team changes: whatever depends on something that was
/// removed ends with it, so that reusing a name brings no access back.
///
/// `open`: every request on the record as pending or with a grant that has not ended. `asked`: who was
/// notified of a request when it was filed.
/// `by`: who changes the team; None for root, who replaces an owner. `judge`: judges one of them again, given the grants
/// that end before it, unless it goes anyway.
pub fn consequences<E>(
    changes: &[Change],
    open: &[Request],
    asked: &BTreeMap<RequestId, Vec<Name>>,
    remains: impl Fn(&Name) -> bool,
    (by, now): (Option<&Name>, Timestamp),
    mut judge: impl FnMut(&Request, &BTreeSet<RequestId>) -> Result<Reassessment, E>,
) -> Result<Vec<Draft>, E> {
    let mut drafts = Vec::new();
    let mut ended_early: BTreeSet<RequestId> = BTreeSet::new();
    let all_shut_out: BTreeSet<&Name> = changes.iter().filter_map(Change::shuts_out).collect();
    let all_departed: BTreeSet<&Name> = changes.iter().filter_map(Change::departs).collect();
    let all_gone: BTreeSet<Resource> = changes.iter().filter_map(Change::removes).collect();
    for request in open {
        let shut_out = all_shut_out.contains(&request.requester);
        let filer_departs = all_departed.contains(&request.filed_by);
        let gone = |resource: &Resource| all_gone.contains(resource);
        // A request comes after the one that it extends.
        let extends_ended = request.extends.filter(|before| ended_early.contains(before));
        let because = |resource: &Resource| match (shut_out, gone(resource)) {
            (true, _) => Some(Because::MemberGone),
            (false, true) => Some(Because::Gone(resource.clone())),
            (false, false) => extends_ended.map(Because::Fell),
        };
        let mut recipients: Vec<Recipient> = Vec::new();
        match (request.state(now), &request.grant) {
            (State::Pending, _) => {
                // The filer may come back under another name, and must not decide on it.
                // Approvals of changed terms depend on the resource of those terms too.
                let because =
                    because(&request.details.asked.resource).or_else(|| because(&request.proposed_terms().resource));
                let because = because.or_else(|| filer_departs.then_some(Because::FilerGone));
                if let Some(because) = because {
                    recipients.extend(
                        NotificationKind::RequestWithdrawn.to_all(asked.get(&request.id).into_iter().flatten()),
                    );
                    recipients.push(NotificationKind::RequestWithdrawn.to(&request.requester));
                    recipients.retain(|Recipient(member, _)| remains(member));
                    let event = Event::RequestWithdrawn { request: request.id, by: by.cloned(), because };
                    drafts.push(draft(event, recipients));
                    continue;
                }
                let Reassessment { voids, gained, notify, .. } = judge(request, &ended_early)?;
                if !gained.is_empty() {
                    let event = Event::ApprovalsVoided { request: request.id, voids, gained };
                    drafts.push(draft(event, NotificationKind::RequestChanged.to_all(&notify)));
                }
            }
            (State::Active | State::Scheduled, Some(grant)) => {
                let because = match because(&grant.terms.resource) {
                    Some(because) => Some(because),
                    None => judge(request, &ended_early)?.ends.map(Because::NoLongerGiven),
                };
                if let Some(because) = because {
                    ended_early.insert(request.id);
                    recipients.push(NotificationKind::AccessRevoked.to(&grant.member));
                    recipients.retain(|Recipient(member, _)| remains(member));
                    drafts.push(draft(revoked(grant, by, because, None), recipients));
                }
            }
            // It ended by the clock, and that is not recorded yet. Recorded later, it would notify the next member with that name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::history;
    use crate::domain::request::Recorded;

    /// The request that these entries of the fixture file and change.
    fn request(seqs: &[i64]) -> Request {
        let log = include_str!("../../../tests/fixtures/replay.jsonl");
        let entries = log.lines().map(|line| serde_json::from_str::<crate::domain::event::Entry>(line).unwrap());
        history::request(entries.filter(|entry| seqs.contains(&entry.seq)).collect()).unwrap()
    }

    /// A grant and a request whose end by the clock is not on the record, of bob and of vic.
    #[test]
    fn an_unrecorded_end_is_recorded_without_a_notification_and_only_for_members_who_go() {
        let (expired, lapsed) = (request(&[9, 14, 15, 16]), request(&[32]));
        let now = lapsed.lapse_time();
        assert_eq!((expired.state(now), lapsed.state(now)), (State::Expired, State::Lapsed));
        assert_eq!(lapsed.recorded, Recorded::Pending);
        let removed = |name: &str| -> Change {
            let member = format!(r#"{{"login":"{name}","role":"member"}}"#);
            let change = format!(r#"{{"change":"remove","what":"member:{name}","from":{member},"to":null}}"#);
            serde_json::from_str(&change).unwrap()
        };
        let follow = |changes: &[Change]| {
            let open = [expired.clone(), lapsed.clone()];
            let judge = |_: &Request, _: &BTreeSet<RequestId>| Ok::<_, ()>(Reassessment::default());
            consequences(changes, &open, &BTreeMap::new(), |_| true, (None, now), judge).unwrap()
        };
        assert!(follow(&[]).is_empty());
        for (name, action) in [("bob", "grant.expired"), ("vic", "request.lapsed"), ("erin", "")] {
            let drafts = follow(&[removed(name)]);
            let actions: Vec<&str> = drafts.iter().map(|draft| draft.event.action()).collect();
            assert_eq!(actions.join(" "), action, "{name}");
            assert!(drafts.iter().all(|draft| draft.recipients.is_empty()), "{name}");
        }
    }
}
