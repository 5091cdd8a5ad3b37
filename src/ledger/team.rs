//! `team apply` and `team show`.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::docket::{Docket, held};
use super::{Call, Problem, Sink, those_asked};
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
use crate::domain::request::{Request, State};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::{Assignee, Team};
use crate::domain::team_file;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::store::{Act, Read};

pub fn show(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let team = call.ask("team show", |read, _, _| Ok(read.team()?))?;
    sink(Reply::Team(Box::new(team)))?;
    Ok(End::default())
}

/// `against`: judge the requests of this long ago and since by the new rules too, in a dry run.
pub fn apply(
    call: &Call<'_>,
    text: &str,
    dry_run: bool,
    seen: Option<Seen>,
    against: Option<Length>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let new = team_file::parse(text).map_err(|mistakes| {
        let count = match mistakes.len() {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        Failure::new(Kind::Invalid, format!("the team file has {count}; nothing was applied{}", lines.concat()))
    })?;
    let mut end = End { warnings: warnings(call, &new), ..End::default() };
    let view = if dry_run {
        call.ask("team apply", |read, me, now| {
            let (_, mut view) = plan(read, me, &new, now)?;
            if let Some(against) = against {
                view.against = Some(judge_past(read, &new, against, now)?);
            }
            Ok(view)
        })?
    } else {
        call.change(
            "team apply",
            None,
            |read, me, now| {
                let (drafts, mut view) = plan(read, me, &new, now)?;
                if seen.is_some() && seen != view.seen {
                    return Err(Refusal::Changed { what: "what the file would do".to_owned() }.into());
                }
                if !drafts.is_empty() {
                    let hour_ago = quota::since(now, TEAM_CHANGES.within);
                    TEAM_CHANGES.allows(read.acts(&me.name, Act::TeamApplied, hour_ago)?, now)?;
                }
                view.applied = true;
                Ok((drafts, view))
            },
            |_, view, _| Ok(view),
        )?
    };
    if view.changes.is_empty() {
        end.warnings.clear();
    }
    sink(Reply::Plan(Box::new(view)))?;
    Ok(end)
}

/// What the new team changes and what follows from that: as events, and as they are shown.
fn plan(read: &Read<'_>, me: &Person, new: &Team, now: Timestamp) -> Result<(Vec<Draft>, PlanView), Problem> {
    decide::needs_owner(me, "apply a team file")?;
    let old = read.team()?;
    let changes = old.changes_to(new);
    if changes.is_empty() {
        return Ok((Vec::new(), PlanView { changes, follows: Vec::new(), applied: false, against: None, seen: None }));
    }
    let open = read.open_requests()?;
    let admins = Docket::default().people_named(read, &[Assignee::Role(Role::Admin)].into())?;
    let remains = |name: &Name| new.members.contains_key(name);
    let mut asked = BTreeMap::new();
    for request in open.iter().filter(|request| request.state(now) == State::Pending) {
        asked.insert(request.id, those_asked(read, request.id)?);
    }
    let following = decide::follow(&changes, &open, &asked, remains, &me.name, now);
    let mut follows: Vec<FollowView> = following.iter().filter_map(|draft| shown(draft, &open)).collect();
    follows.extend(widened(&old, new, &open, now));

    // Those who were admins before, and those who are now.
    let before = admins.iter().filter(|person| decide::needs_admin(person, "", now).is_ok()).map(|person| &person.name);
    let told: BTreeSet<&Name> = before.chain(new.admins()).filter(|name| remains(name)).collect();
    let applied = Event::TeamApplied { changes: changes.clone() };
    let mut drafts = vec![Draft { event: applied, told: Notice::TeamChanged.to_all(told) }];
    drafts.extend(following);
    let mut view = PlanView { changes, follows, applied: false, against: None, seen: None };
    view.seen = Some(digest(&view)?);
    Ok((drafts, view))
}

/// The requests of this long ago and since that the new team would have decided otherwise.
fn judge_past(read: &Read<'_>, new: &Team, against: Length, now: Timestamp) -> Result<AgainstView, Problem> {
    let since = Timestamp::from_unix((now.unix() - against.seconds()).max(0)).expect("a time before now is a time");
    let past = read.requests_since(since)?;
    let mut otherwise = Vec::new();
    for request in &past {
        let terms = request.grant.as_ref().map_or_else(|| request.on_the_table(), |grant| &grant.terms);
        let mut held = held(read, request, terms, &new.rules, request.submitted_at)?;
        held.grants.retain(|grant| grant.request < request.id);
        held.scopes.clone_from(&new.scopes);
        if let Some(would) = hindsight::otherwise(new, request, &held) {
            otherwise.push(OtherwiseView {
                request: request.id,
                requester: request.requester.clone(),
                resource: request.asked.resource.clone(),
                was: request.state(now),
                would,
            });
        }
    }
    Ok(AgainstView { since, requests: past.len(), otherwise })
}

fn digest(view: &PlanView) -> Result<Seen, Problem> {
    let json = serde_json::to_vec(view).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(Seen(Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn shown(draft: &Draft, open: &[Request]) -> Option<FollowView> {
    let (follows, id, because) = match &draft.event {
        Event::RequestWithdrawn { request, because, .. } => (Follows::Withdrawn, *request, because),
        Event::GrantRevoked { request, because, .. } => (Follows::Revoked, *request, because),
        Event::TeamInitialized { .. }
        | Event::TeamApplied { .. }
        | Event::RequestSubmitted { .. }
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
    let request = open.iter().find(|request| request.id == id)?;
    let terms = request.grant.as_ref().map_or(&request.asked, |grant| &grant.terms);
    Some(FollowView {
        follows,
        request: id,
        member: request.requester.clone(),
        resource: terms.resource.clone(),
        because: because.to_string(),
    })
}

/// The live grants that come to cover more, because what they were given for does.
fn widened(old: &Team, new: &Team, open: &[Request], now: Timestamp) -> Vec<FollowView> {
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
    let mut views = Vec::new();
    for grant in open.iter().filter_map(|request| request.grant.as_ref()).filter(|grant| grant.is_live(now)) {
        let granted = &grant.terms.resource;
        match granted {
            Resource::Connection(_) | Resource::Scope(_) if new.has(granted) => {}
            Resource::Connection(_)
            | Resource::Scope(_)
            | Resource::Target(_)
            | Resource::Feature(_)
            | Resource::Role(_) => continue,
        }
        let before = covered(old, granted);
        let more: Vec<String> =
            covered(new, granted).difference(&before).map(|resource| resource.to_string()).collect();
        if !more.is_empty() && new.members.get(&grant.member).is_some_and(|member| !member.disabled) {
            views.push(FollowView {
                follows: Follows::Widened,
                request: grant.request,
                member: grant.member.clone(),
                resource: granted.clone(),
                because: more.join(", "),
            });
        }
    }
    views
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
    warnings.extend(hindsight::warnings(new));
    warnings
}
