//! Recertifications: what is reviewed, who may review it, and what becomes of what nobody keeps.

use std::collections::BTreeSet;

use super::authorize::{is_no_auditor, needs_admin};
use super::lifecycle::{Ending, draft, end};
use super::{Request, may_be};
use crate::domain::catalog::{CatalogItem, grant_covers};
use crate::domain::duration::Length;
use crate::domain::event::{Because, Draft, Event};
use crate::domain::grant::{Grant, State};
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::policy::demand::{Requirement, RoleBasis};
use crate::domain::principal::Principal;
use crate::domain::recertification::{
    Cancellation, ClosedRecertification, Held, ItemDecision, ItemId, ItemOutcome, ItemToReview, ItemVerdict,
    Recertification, RecertificationId, RecertificationItem, Selection, StartedRecertification,
};
use crate::domain::refusal::{RecertifyRefusal, Refusal};
use crate::domain::role::Role;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// The most items of one recertification, so that its entry stays small enough to read at once.
const MOST_ITEMS: usize = 1000;
/// The same in bytes. A shared log takes entries of 1 MiB.
const MOST_BYTES: usize = 768 * 1024;

/// What a member holds that such a recertification reviews. `item`: what a selection by resource is about.
pub fn holdings(
    principal: &Principal,
    selection: &Selection,
    item: Option<&CatalogItem>,
    due: Timestamp,
    now: Timestamp,
) -> BTreeSet<Held> {
    if principal.is_disabled() {
        return BTreeSet::new();
    }
    // A grant that ends before the due time needs no review.
    let outlasts = |grant: &&Grant| grant.ended.is_none() && grant.ends_at.is_none_or(|end| end > due);
    let grants = principal.grants.iter().filter(outlasts);
    match selection {
        Selection::All => baseline(principal).chain(grants.map(by_grant)).collect(),
        Selection::Group(group) if principal.groups.contains(group) => {
            baseline(principal).chain(grants.map(by_grant)).collect()
        }
        Selection::Group(_) => BTreeSet::new(),
        Selection::Permanent => grants.filter(|grant| grant.ends_at.is_none()).map(by_grant).collect(),
        Selection::Resource(_) => {
            let Some(item) = item else { return BTreeSet::new() };
            // A granted role gives more than itself.
            let gives = |grant: &&Grant| {
                grant_covers(&grant.terms.resource, item, |name| principal.scopes.get(name))
                    || principal.with_only(grant).entitlements(item, now).iter().any(|way| way.request.is_some())
            };
            ways_by_team(principal, item).chain(grants.filter(gives).map(by_grant)).collect()
        }
    }
}

fn by_grant(grant: &Grant) -> Held {
    Held::Grant { request: grant.request, resource: grant.terms.resource.clone(), until: grant.ends_at }
}

/// What the team file gives to one member. The lowest role gives what everybody has.
fn baseline(principal: &Principal) -> impl Iterator<Item = Held> {
    let by_name = Assignee::Member(principal.name.clone());
    let scopes = principal.scopes.iter().filter(move |(_, scope)| scope.assigned.contains(&by_name));
    let role = (principal.member.role > Role::Viewer).then_some(Held::Role(principal.member.role));
    let groups = principal.groups.iter().cloned().map(Held::Group);
    role.into_iter().chain(groups).chain(scopes.map(|(name, _)| Held::Scope(name.clone())))
}

/// The lines of the team file that give something to this member.
fn ways_by_team(principal: &Principal, item: &CatalogItem) -> impl Iterator<Item = Held> {
    let gives = move |held: &Held| match (held, item) {
        (Held::Role(role), CatalogItem::Feature { role: least, .. } | CatalogItem::Role(least)) => role >= least,
        (Held::Role(role), _) if *role >= Role::Admin => true,
        (Held::Group(group), _) => is_assigned(principal, item, |assignee| *assignee == Assignee::Group(group.clone())),
        (Held::Role(role), _) => {
            is_assigned(principal, item, |assignee| matches!(assignee, Assignee::Role(least) if role >= least))
        }
        (Held::Scope(name), CatalogItem::Scope { name: scope }) => name == scope,
        (Held::Scope(name), _) => principal.scopes.get(name).is_some_and(|scope| scope.covers.covers(item)),
        (Held::Grant { .. }, _) => false,
    };
    baseline(principal).filter(gives)
}

/// Whether a scope that gives the item is assigned to one of these.
fn is_assigned(principal: &Principal, item: &CatalogItem, to: impl Fn(&Assignee) -> bool) -> bool {
    let mut scopes = principal.scopes.iter().filter(|(name, scope)| match item {
        CatalogItem::Scope { name: wanted } => *name == wanted,
        _ => scope.covers.covers(item),
    });
    scopes.any(|(_, scope)| scope.assigned.iter().any(&to))
}

/// Who may review what a grant, or the team file, gives: each of those whose approval it would take.
pub fn reviewers(requirements: &[Requirement]) -> BTreeSet<Assignee> {
    let named: BTreeSet<Assignee> = requirements.iter().flat_map(|it| it.approvers.iter().cloned()).collect();
    // Admins review what rules give without an approval, and what is not a resource.
    if named.is_empty() { [Assignee::Role(Role::Admin)].into() } else { named }
}

/// Whether this person may review an item: one of its reviewers, and another person than its holder, and than those who asked
/// for the grant. Auditors decide nothing. Granted roles do not count, since what is kept may last longer. `request`: that of the grant.
pub fn may_review(
    id: ItemId,
    item: &ItemToReview,
    request: Option<&Request>,
    principal: &Principal,
    now: Timestamp,
) -> Result<(), Refusal> {
    is_no_auditor(principal, "review access")?;
    let (name, login) = (&principal.name, &principal.member.login);
    let asked = |request: &Request| request.may_be_requested_by(name, login) || request.may_be_filed_by(name, login);
    if may_be(&item.member, Some(&item.login), name, login) || request.is_some_and(asked) {
        return Err(RecertifyRefusal::OwnItem { id }.into());
    }
    let basis = if item.held.is_about_a_role() { RoleBasis::BaseAdmin } else { RoleBasis::Base };
    let named = Requirement::one_of(item.reviewers.clone());
    match named.is_met_by(principal, basis, now) {
        true => Ok(()),
        false => {
            let reviewers = item.reviewers.iter().map(ToString::to_string).collect();
            Err(RecertifyRefusal::NeedsItemReviewer { id, reviewers }.into())
        }
    }
}

/// What a new recertification is made of.
pub struct Start<'s> {
    pub id: RecertificationId,
    pub selection: Selection,
    pub due_in: Length,
    pub items: Vec<ItemToReview>,
    /// The requests of the grants among the items.
    pub requests: &'s [Request],
    /// Everybody who might review.
    pub people: &'s [&'s Principal],
}

/// About how long an item is in JSON.
fn size(item: &ItemToReview) -> usize {
    let ItemToReview { member, login, held, reviewers } = item;
    let reviewers: usize = reviewers.iter().map(|assignee| assignee.to_string().len() + 3).sum();
    member.as_str().len() + login.as_str().len() + held.to_string().len() + reviewers + 150
}

/// Whether this person may start a recertification: as an admin by the team file, since it goes on after a grant of a role has ended,
/// and what nobody keeps is revoked.
pub fn may_start(principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
    needs_admin(principal, "start a recertification", now)?;
    if principal.member.role >= Role::Admin { Ok(()) } else { Err(RecertifyRefusal::StartsByGrant.into()) }
}

/// Starts a recertification of what is held now. Someone else than its holder must be able to review each item.
pub fn start(start: Start<'_>, principal: &Principal, now: Timestamp) -> Result<Draft, Refusal> {
    may_start(principal, now)?;
    let Start { id, selection, due_in, items, requests, people } = start;
    if due_in < Length::HOUR {
        return Err(RecertifyRefusal::DueTooSoon.into());
    } else if due_in > Length::YEAR {
        return Err(RecertifyRefusal::DueTooLate.into());
    } else if items.is_empty() {
        return Err(RecertifyRefusal::NothingHeld { selection }.into());
    } else if items.len() > MOST_ITEMS || items.iter().map(size).sum::<usize>() > MOST_BYTES {
        return Err(RecertifyRefusal::TooManyItems { count: items.len(), most: MOST_ITEMS }.into());
    }
    let mut asked: BTreeSet<&Name> = BTreeSet::new();
    let mut unreviewed = Vec::new();
    for (number, item) in (1..).zip(&items) {
        let item_id = ItemId { recertification: id, number };
        let request = of_item(requests, item);
        let able = people.iter().filter(|it| may_review(item_id, item, request, it, now).is_ok());
        let names: Vec<&Name> = able.map(|it| &it.name).collect();
        if names.is_empty() {
            unreviewed.push(format!("{} of {}", item.held, item.member));
        }
        asked.extend(names);
    }
    if !unreviewed.is_empty() {
        return Err(RecertifyRefusal::NobodyReviews { items: unreviewed }.into());
    }
    let recipients = NotificationKind::RecertificationStarted.to_all(asked);
    let due = now.plus(due_in);
    let remind_at = due.minus(Length::from_seconds(due_in.seconds() / 4).unwrap_or(Length::HOUR));
    let by = principal.name.clone();
    let started = StartedRecertification { recertification: id, by, selection, due, remind_at, items };
    Ok(draft(Event::RecertificationStarted(started), recipients))
}

/// The request of the grant that an item is about.
fn of_item<'r>(requests: &'r [Request], item: &ItemToReview) -> Option<&'r Request> {
    let id = item.held.request()?;
    requests.iter().find(|request| request.id == id)
}

/// What has been loaded of an item.
pub struct ItemCase<'c> {
    pub recertification: &'c Recertification,
    pub id: ItemId,
    pub item: &'c RecertificationItem,
    /// That of the grant.
    pub request: Option<&'c Request>,
    /// The extensions of the grant, and theirs.
    pub following: &'c [Request],
    /// The member who held it, if there is one by that name.
    pub holder: Option<&'c Principal>,
}

impl ItemCase<'_> {
    /// Whether the member of the start still holds it.
    pub fn is_held(&self, now: Timestamp) -> bool {
        match self.request {
            Some(request) => matches!(request.state(now), State::Active | State::Scheduled),
            None => self.holder.is_some_and(|it| self.item.item.is_in_team_of(it, self.recertification.seq)),
        }
    }

    pub fn may_review(&self, principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
        may_review(self.id, &self.item.item, self.request, principal, now)
    }

    /// Whether it can be decided on now.
    pub fn still_waits(&self, now: Timestamp) -> Result<(), Refusal> {
        match &self.item.outcome {
            Some(ItemOutcome::Decided { by, verdict, .. }) => {
                let kept = *verdict == ItemVerdict::Keep;
                Err(RecertifyRefusal::ItemDecided { id: self.id, by: by.clone(), kept }.into())
            }
            Some(ItemOutcome::NotKept) => Err(no_longer_open(self.recertification)),
            None if !self.recertification.is_open(now) => Err(no_longer_open(self.recertification)),
            None if !self.is_held(now) => Err(RecertifyRefusal::ItemOver { id: self.id }.into()),
            None => Ok(()),
        }
    }
}

fn no_longer_open(recertification: &Recertification) -> Refusal {
    let Recertification { id, due, .. } = *recertification;
    match &recertification.cancelled {
        Some(Cancellation { by, .. }) => RecertifyRefusal::Cancelled { id, by: by.clone() }.into(),
        None => RecertifyRefusal::PastDue { id, due }.into(),
    }
}

/// Keeps or revokes an item. What the team file gives is only marked: nothing but `team apply` changes the team.
pub fn decide(
    case: &ItemCase<'_>,
    principal: &Principal,
    verdict: ItemVerdict,
    reason: Option<Text>,
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    case.may_review(principal, now)?;
    case.still_waits(now)?;
    let ItemToReview { member, held, .. } = &case.item.item;
    let by = principal.name.clone();
    let decision =
        ItemDecision { item: case.id, member: member.clone(), held: held.clone(), by, verdict, reason: reason.clone() };
    let mut drafts = vec![draft(Event::RecertificationDecided(decision), Vec::new())];
    if let (ItemVerdict::Revoke, Some(request)) = (verdict, case.request) {
        let because = Because::NotKept(case.id);
        drafts.extend(end(request, case.following, Ending { by: Some(&principal.name), because, reason }, now));
    }
    Ok(drafts)
}

/// Ends a recertification before it is due. What was decided stays, and what was not is left as it is. `names`: who is notified
/// besides those who started it.
pub fn cancel(
    recertification: &Recertification,
    reason: Text,
    names: &BTreeSet<Name>,
    principal: &Principal,
    now: Timestamp,
) -> Result<Draft, Refusal> {
    needs_admin(principal, "cancel a recertification", now)?;
    if !recertification.is_open(now) {
        return Err(no_longer_open(recertification));
    }
    let cancellation = Cancellation { by: principal.name.clone(), reason };
    let event = Event::RecertificationCancelled { recertification: recertification.id, cancellation };
    let recipients: BTreeSet<&Name> = names.iter().chain([&recertification.by]).collect();
    Ok(draft(event, NotificationKind::RecertificationClosed.to_all(recipients)))
}

/// Reminds those who may still decide on an item, once. None: it is not time, or nothing waits.
pub fn remind(recertification: &Recertification, names: &BTreeSet<Name>, now: Timestamp) -> Option<Draft> {
    let due = recertification.remind_at.is_some_and(|at| at <= now) && recertification.is_open(now);
    let event = Event::RecertificationReminded { recertification: recertification.id };
    due.then(|| draft(event, NotificationKind::RecertificationReminder.to_all(names)))
}

/// Closes a recertification that is due: what nobody kept is revoked, or listed for the team file. `ended`: the requests that
/// end in the same transaction, which are added to. `notify`: the owner.
pub fn close(
    recertification: &Recertification,
    cases: &[ItemCase<'_>],
    ended: &mut BTreeSet<RequestId>,
    notify: Option<&Name>,
    now: Timestamp,
) -> Vec<Draft> {
    let is_ended = |case: &ItemCase<'_>| case.request.is_some_and(|it| ended.contains(&it.id));
    let waits = |case: &&ItemCase<'_>| case.item.outcome.is_none() && case.is_held(now) && !is_ended(case);
    let left: Vec<&ItemCase<'_>> = cases.iter().filter(waits).collect();
    let closed = ClosedRecertification {
        recertification: recertification.id,
        not_kept: left.iter().map(|case| case.id.number).collect(),
    };
    let recipients: BTreeSet<&Name> = notify.into_iter().chain([&recertification.by]).collect();
    let kind = NotificationKind::RecertificationClosed;
    let mut drafts = vec![draft(Event::RecertificationClosed(closed), kind.to_all(recipients))];
    for case in left {
        let Some(request) = case.request.filter(|it| !ended.contains(&it.id)) else { continue };
        let ending = Ending { by: None, because: Because::NotKept(case.id), reason: None };
        let following: Vec<Request> = case.following.iter().filter(|it| !ended.contains(&it.id)).cloned().collect();
        let these = end(request, &following, ending, now);
        ended.extend(these.iter().filter_map(|draft| draft.event.request()));
        drafts.extend(these);
    }
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Scope;
    use crate::domain::grant::examples::at;
    use crate::domain::member::Member;

    fn scope(targets: &str, assigned: &str) -> Scope {
        serde_json::from_str(&format!(r#"{{"targets":["{targets}"],"assigned":[{assigned}]}}"#)).unwrap()
    }

    /// A member of `backend` and `data`. `db` is also assigned to a higher role, which bob could only have by a grant.
    fn bob(role: Role) -> Principal {
        let name = |text: &str| -> Name { text.parse().unwrap() };
        Principal {
            member: Member::plain(role, "bob".parse().unwrap()),
            groups: [name("backend"), name("data")].into(),
            scopes: [
                (name("web"), scope("web", r#""group:backend","role:member""#)),
                (name("db"), scope("db", r#""member:bob","role:admin""#)),
            ]
            .into(),
            ..Principal::gone(name("bob"))
        }
    }

    #[test]
    fn a_review_of_a_resource_is_of_each_line_of_the_team_file_that_gives_it() {
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let target = |text: &str| CatalogItem::Target { name: name(text), connections: [].into() };
        let scope = |text: &str| CatalogItem::Scope { name: name(text) };
        let feature = |role| CatalogItem::Feature { name: name("cost"), role };
        let (member, admin) = (Role::Member, Role::Admin);
        for (role, item, lines) in [
            (member, target("web"), &["role:member", "group:backend"][..]),
            (member, target("db"), &["scope:db"]),
            (member, target("other"), &[]),
            (member, scope("web"), &["role:member", "group:backend"]),
            (member, scope("db"), &["scope:db"]),
            (Role::Viewer, target("web"), &["group:backend"]),
            (admin, target("other"), &["role:admin"]),
            (admin, scope("db"), &["role:admin", "scope:db"]),
            (member, feature(member), &["role:member"]),
            (admin, feature(member), &["role:admin"]),
            (member, feature(admin), &[]),
            (member, CatalogItem::Role(member), &["role:member"]),
            (member, CatalogItem::Role(admin), &[]),
        ] {
            let selection = Selection::Resource(item.resource());
            let held = holdings(&bob(role), &selection, Some(&item), at(10), at(0));
            let held: Vec<String> = held.iter().map(ToString::to_string).collect();
            assert_eq!(held, lines, "{role} {}", item.resource());
        }
    }
}
