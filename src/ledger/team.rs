//! `team apply` and `team show`.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::docket::{Docket, held};
use super::{Call, Outside, Problem, Sink, those_asked};
use crate::command::{AgainstView, End, FollowView, Follows, OtherwiseView, PlanView, Reply, Seen};
use crate::domain::decide;
use crate::domain::duration::Length;
use crate::domain::entitlement::{Person, grant_covers};
use crate::domain::event::{Draft, Event};
use crate::domain::hindsight;
use crate::domain::name::Name;
use crate::domain::notification::Notice;
use crate::domain::quota::{self, TEAM_CHANGES};
use crate::domain::refusal::Refusal;
use crate::domain::request::{Grant, Request, RequestId, State};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::{Assignee, Change, Team};
use crate::domain::team_file;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::store::{Act, Read};

const APPLY: &str = "apply a team file";
/// So many pairs (of a rule or a grant, and a member or a resource) are looked at to warn of what a file amounts to. What
/// takes more is left out, and that is said.
const MOST_PAIRS: usize = 3_000_000;
/// So many resources are named that a grant comes to cover.
const MOST_COVERED: usize = 50;
/// So many warnings are given of what the rules amount to.
const MOST_WARNINGS: usize = 50;
/// So many past requests are named that would have been decided otherwise.
const MOST_OTHERWISE: usize = 1000;

pub fn show(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let team = call.ask("team show", |read, _, _| Ok(read.team()?))?;
    sink(Reply::Team(Box::new(team)))?;
    Ok(End::default())
}

/// Whether a team file is worth reading from this caller. (It is asked again in the transaction that applies it.)
pub fn may_apply(call: &Call<'_>) -> Result<(), Failure> {
    call.ask("team apply", |_, me, _| Ok(decide::needs_owner(me, APPLY)?))
}

/// `against`: judge the requests of this long ago and since by the new rules too, in a dry run.
pub fn apply(
    call: &Call<'_>,
    outside: &Outside<'_>,
    text: &str,
    dry_run: bool,
    seen: Option<Seen>,
    against: Option<Length>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    // First of all: only the owner learns what is wrong with a file, and only the owner may cause the work that it takes. And
    // only while the clock is right, if it is to be applied.
    may_apply(call)?;
    if !dry_run {
        call.store.read(|read| call.now_to_write(read))?;
    }
    let new = team_file::parse(text).map_err(|mistakes| {
        let count = match mistakes.first.len() + mistakes.more {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        let lines = mistakes.to_string().replace('\n', "\n  ");
        Failure::new(Kind::Invalid, format!("the team file has {count}; nothing was applied\n  {lines}"))
    })?;
    let new_owner = NewOwner::of(&new, outside);
    let mut end = End { warnings: warnings(call, &new), ..End::default() };
    let (view, left_out) = if dry_run {
        call.ask("team apply", |read, me, now| {
            let (_, mut view, left_out) = plan(read, me, &new, &new_owner, now)?;
            if let Some(against) = against {
                view.against = Some(judge_past(read, &new, against, now)?);
            }
            Ok((view, left_out))
        })?
    } else {
        call.change(
            "team apply",
            None,
            |read, me, now| {
                let (drafts, mut view, left_out) = plan(read, me, &new, &new_owner, now)?;
                if seen.is_some() && seen != view.seen {
                    return Err(Refusal::Changed { what: "what the file would do".to_owned() }.into());
                }
                if !drafts.is_empty() {
                    let hour_ago = quota::since(now, TEAM_CHANGES.within);
                    TEAM_CHANGES.allows(read.acts(&me.name, Act::TeamApplied, hour_ago)?, now)?;
                }
                view.applied = true;
                Ok((drafts, (view, left_out)))
            },
            |_, planned, _| Ok(planned),
        )?
    };
    if view.changes.is_empty() {
        end.warnings.clear();
    }
    end.warnings.extend(left_out);
    sink(Reply::Plan(Box::new(view)))?;
    Ok(end)
}

/// Whether the owner of a new team has an account here. Asked before the transaction, because the name service may be slow.
/// None: it does not matter, as the database is not a shared host's.
struct NewOwner(Option<Result<bool, Failure>>);

impl NewOwner {
    fn of(new: &Team, outside: &Outside<'_>) -> NewOwner {
        let owner = new.owner().filter(|_| outside.shared);
        NewOwner(owner.map(|(_, member)| (outside.has_account)(&member.login)))
    }

    /// A login without an account is whoever is given that name next. Only a change of hands is refused: the same file may
    /// be applied on other machines.
    fn may_take_over(&self, old: &Team, new: &Team) -> Result<(), Problem> {
        let login = |team: &Team| team.owner().map(|(_, member)| member.login.clone());
        let Some((name, member)) = new.owner().filter(|(_, member)| login(old).as_ref() != Some(&member.login)) else {
            return Ok(());
        };
        match &self.0 {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(Refusal::NoAccount { member: name.clone(), login: member.login.to_string() }.into()),
            Some(Err(failure)) => Err(failure.clone().into()),
        }
    }
}

/// What the new team changes and what follows from that: as events, and as they are shown. The text says what was left out
/// of that, if anything was.
fn plan(
    read: &Read<'_>,
    me: &Person,
    new: &Team,
    new_owner: &NewOwner,
    now: Timestamp,
) -> Result<(Vec<Draft>, PlanView, Option<String>), Problem> {
    decide::needs_owner(me, APPLY)?;
    let old = read.team()?;
    new_owner.may_take_over(&old, new)?;
    let changes = old.changes_to(new);
    if changes.is_empty() {
        let view = PlanView { changes, follows: Vec::new(), applied: false, against: None, seen: None };
        return Ok((Vec::new(), view, None));
    }
    let open = read.open_requests()?;
    let admins = Docket::default().people_named(read, &[Assignee::Role(Role::Admin)].into())?;
    // Whoever comes by the name of somebody who departs is told nothing of what was theirs.
    let departed: BTreeSet<&Name> = changes.iter().filter_map(Change::departs).collect();
    let remains = |name: &Name| new.members.contains_key(name) && !departed.contains(name);
    let mut asked = BTreeMap::new();
    for request in open.iter().filter(|request| request.state(now) == State::Pending) {
        asked.insert(request.id, those_asked(read, request)?);
    }
    let following = decide::follow(&changes, &open, &asked, remains, &me.name, now);
    let by_number: BTreeMap<RequestId, &Request> = open.iter().map(|request| (request.id, request)).collect();
    let mut follows: Vec<FollowView> = following.iter().filter_map(|draft| shown(draft, &by_number)).collect();
    let widened = widened(&old, new, &open, now);
    let left_out = "there are too many live grants and resources to say which grants come to cover more";
    let left_out = widened.is_none().then(|| left_out.to_owned());
    follows.extend(widened.into_iter().flatten());

    // Those who were admins before, and those who are now.
    let before = admins.iter().filter(|person| decide::needs_admin(person, "", now).is_ok()).map(|person| &person.name);
    let told: BTreeSet<&Name> = before.filter(|name| remains(name)).chain(new.admins()).collect();
    let applied = Event::TeamApplied { changes: changes.clone() };
    let mut drafts = vec![Draft { event: applied, told: Notice::TeamChanged.to_all(told) }];
    drafts.extend(following);
    let mut view = PlanView { changes, follows, applied: false, against: None, seen: None };
    view.seen = Some(digest(&view)?);
    Ok((drafts, view, left_out))
}

/// The requests of this long ago and since that the new team would have decided otherwise.
fn judge_past(read: &Read<'_>, new: &Team, against: Length, now: Timestamp) -> Result<AgainstView, Problem> {
    let since = Timestamp::from_unix((now.unix() - against.seconds()).max(0)).expect("a time before now is a time");
    let mut view = AgainstView { since, requests: 0, otherwise: Vec::new(), more: 0 };
    let mut after = 0;
    loop {
        let page = read.requests_since(since, after)?;
        for request in &page.rows {
            after = request.id.get();
            view.requests += 1;
            let terms = request.grant.as_ref().map_or_else(|| request.on_the_table(), |grant| &grant.terms);
            let mut held = held(read, request, terms, &new.rules, request.submitted_at)?;
            held.grants.retain(|grant| grant.request < request.id);
            held.scopes.clone_from(&new.scopes);
            let Some(would) = hindsight::otherwise(new, request, &held) else { continue };
            if view.otherwise.len() >= MOST_OTHERWISE {
                view.more += 1;
                continue;
            }
            view.otherwise.push(OtherwiseView {
                request: request.id,
                requester: request.requester.clone(),
                resource: request.asked.resource.clone(),
                was: request.state(now),
                would,
            });
        }
        if page.last {
            return Ok(view);
        }
    }
}

fn digest(view: &PlanView) -> Result<Seen, Problem> {
    let json = serde_json::to_vec(view).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(Seen(Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn shown(draft: &Draft, open: &BTreeMap<RequestId, &Request>) -> Option<FollowView> {
    let (follows, id, because) = match &draft.event {
        Event::RequestWithdrawn { request, because, .. } => (Follows::Withdrawn, *request, because),
        Event::GrantRevoked { request, because, .. } => (Follows::Revoked, *request, because),
        Event::TeamInitialized { .. }
        | Event::TeamApplied { .. }
        | Event::RequestSubmitted { .. }
        | Event::RequestEdited { .. }
        | Event::RequestApproved { .. }
        | Event::RequestDenied { .. }
        | Event::RequestLapsed { .. }
        | Event::RequestReminded { .. }
        | Event::RequestReviewed { .. }
        | Event::GrantScheduled(_)
        | Event::GrantStarted(_)
        | Event::GrantExpiring { .. }
        | Event::GrantExpired { .. }
        | Event::AttemptRefused { .. }
        | Event::ClockAccepted { .. }
        | Event::PreferenceChanged { .. } => return None,
    };
    let request = open.get(&id)?;
    let terms = request.grant.as_ref().map_or(&request.asked, |grant| &grant.terms);
    Some(FollowView {
        follows,
        request: id,
        member: request.requester.clone(),
        resource: terms.resource.clone(),
        because: because.to_string(),
    })
}

/// The live grants that come to cover more, because what they were given for does. None: it takes too long to find them.
fn widened(old: &Team, new: &Team, open: &[Request], now: Timestamp) -> Option<Vec<FollowView>> {
    let covered = |team: &Team, granted: &Resource| -> BTreeSet<Resource> {
        if !team.has(granted) {
            return BTreeSet::new();
        }
        let covers = |resource: &Resource| {
            let thing = team.thing(resource);
            thing.is_some_and(|thing| grant_covers(granted, &thing, |name| team.scopes.get(name)))
        };
        team.resources().filter(covers).collect()
    };
    let granted: BTreeSet<&Resource> = widenable(new, open, now).map(|grant| &grant.terms.resource).collect();
    if granted.len() * (old.resources().count() + new.resources().count()) > MOST_PAIRS {
        return None;
    }
    // Many grants are of the same.
    let mut widens: BTreeMap<&Resource, Option<String>> = BTreeMap::new();
    let mut views = Vec::new();
    for grant in widenable(new, open, now) {
        let granted = &grant.terms.resource;
        let more = widens.entry(granted).or_insert_with(|| {
            let before = covered(old, granted);
            let after = covered(new, granted);
            let more: Vec<&Resource> = after.difference(&before).collect();
            let mut named: Vec<String> = more.iter().take(MOST_COVERED).map(ToString::to_string).collect();
            named.extend((more.len() > MOST_COVERED).then(|| format!("and {} more", more.len() - MOST_COVERED)));
            (!more.is_empty()).then(|| named.join(", "))
        });
        if let Some(more) = more
            && new.members.get(&grant.member).is_some_and(|member| !member.disabled)
        {
            views.push(FollowView {
                follows: Follows::Widened,
                request: grant.request,
                member: grant.member.clone(),
                resource: granted.clone(),
                because: more.clone(),
            });
        }
    }
    Some(views)
}

/// The live grants that could come to cover more.
fn widenable<'o>(new: &Team, open: &'o [Request], now: Timestamp) -> impl Iterator<Item = &'o Grant> {
    let live = open.iter().filter_map(|request| request.grant.as_ref()).filter(move |grant| grant.is_live(now));
    live.filter(|grant| match &grant.terms.resource {
        granted @ (Resource::Connection(_) | Resource::Scope(_)) => new.has(granted),
        Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => false,
    })
}

fn warnings(call: &Call<'_>, new: &Team) -> Vec<String> {
    let login = &call.caller.login;
    let mut warnings = Vec::new();
    if !new.members.values().any(|member| member.login == *login && !member.disabled) {
        warnings.push(format!("with this team, your Unix user {login} is no member (any more)"));
    }
    let able = new.admins().count();
    if able < 2 && new.members.len() > 1 {
        warnings.push("with this team only one member can decide, so nobody decides on what they file".to_owned());
    }
    if pairs(new) > MOST_PAIRS {
        warnings
            .push("the file is too large to look for rules that nobody can meet, or that can be bypassed".to_owned());
    } else {
        let found = hindsight::warnings(new);
        let more = found.len().saturating_sub(MOST_WARNINGS);
        warnings.extend(found.into_iter().take(MOST_WARNINGS));
        warnings.extend((more > 0).then(|| format!("and {more} more warnings of this kind")));
    }
    warnings
}

/// How many pairs of a rule, and a member or a resource, it takes to look at what the rules amount to.
fn pairs(team: &Team) -> usize {
    let each = team.members.len() + team.resources().count();
    let pairs = team.rules.iter().map(|rule| {
        let named = 1 + rule.approvers.len() + rule.matches.resources.len();
        let asked = if rule.matches.requesters.is_empty() { 0 } else { rule.approvals as usize * team.groups.len() };
        named * each + asked
    });
    pairs.sum()
}
