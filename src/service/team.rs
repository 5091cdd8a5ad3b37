//! `team apply` and `team show`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::policy_context::{PolicyContext, counted};
use super::rejudge::{Rejudge, few};
use super::snapshot::TeamSnapshot;
use super::{ActingAs, Call, Never, Outside, Problem, Rows, Service, Warned, those_asked};
use crate::domain::contact::Timezone;
use crate::domain::duration::Length;
use crate::domain::event::{Draft, Event};
use crate::domain::grant::{Grant, State};
use crate::domain::host::HostPower;
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::policy::other_grants::OtherGrants;
use crate::domain::policy::rule::Rule;
use crate::domain::principal::Principal;
use crate::domain::quota::TEAM_CHANGES;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::request::{Request, authorize, team_change};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::simulation::past;
use crate::domain::team::change::Change;
use crate::domain::team::{Team, team_file};
use crate::domain::terms::RequestId;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{AgainstView, FollowView, Follows, OtherwiseView, PlanView, Seen};
use crate::store::{Act, Error, Read};

const APPLY: &str = "apply a team file";
/// The most pairs (of a rule or a grant, and a member or a resource) that are checked for warnings about a file. A check
/// that needs more is left out, and the output says so.
const MOST_PAIRS: usize = 3_000_000;
/// The most newly covered resources that are named for a grant.
const MOST_COVERED: usize = 50;
/// The most warnings about the rules.
const MOST_WARNINGS: usize = 50;
/// The most members that are named.
const MOST_PEOPLE: usize = 5;
/// The most past requests with another outcome that are listed.
const MOST_OTHERWISE: usize = 1000;

/// The team, as in a team file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TeamShow {
    /// As of this moment. None: now.
    pub at: Option<Timestamp>,
}

impl Call for TeamShow {
    const NAME: &'static str = "TeamShow";

    type Row = Never;
    type Reply = Team;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Team, Failure> {
        service.ask("team show", |read, me, now| {
            if self.at.is_some() {
                authorize::needs_auditor(me, "see an earlier team", now)?;
            }
            Ok(TeamSnapshot::of(read, self.at, now)?.team(read)?)
        })
    }
}

fn may_apply(service: &Service<'_>) -> Result<(), Failure> {
    service.ask("team apply", |_, me, _| Ok(authorize::needs_owner(me, APPLY)?))
}

/// Replaces the team with the one in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TeamApply {
    pub text: String,
    pub dry_run: bool,
    /// The plan that was confirmed. None: it was not shown.
    pub seen: Option<Seen>,
    /// Judge the requests of this long ago and since by the new rules too (a dry run only).
    pub against: Option<Length>,
    /// End active grants too that the new team would not give.
    #[serde(default)]
    pub revoke_unmatched: bool,
}

impl Call for TeamApply {
    const NAME: &'static str = "TeamApply";

    type Row = Never;
    type Reply = Warned<PlanView>;

    fn file(&mut self) -> Option<&mut String> {
        Some(&mut self.text)
    }

    /// Only the owner may send a file. (This is checked again in the transaction that applies it.)
    fn may_send_file(service: &Service<'_>) -> Result<(), Failure> {
        may_apply(service)
    }

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<PlanView>, Failure> {
        let TeamApply { text, dry_run, seen, against, revoke_unmatched } = self;
        let (outside, text) = (service.outside, text.as_str());
        // Checked first: only the owner learns what is wrong with a file, and only the owner may cause this work. To apply
        // it, the clock must be right, too.
        may_apply(service)?;
        if !dry_run {
            service.store.read(|read| service.now_to_write(read))?;
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
        let mut warnings = warnings(service, outside, &new);
        warnings.extend(service.store.read(|read| warning_about_hosts(read, &new))?);
        let (view, left_out) = if dry_run {
            service.ask("team apply", |read, me, now| {
                let (_, mut view, left_out) = plan(read, me, &new, &new_owner, revoke_unmatched, now)?;
                if let Some(against) = against {
                    view.against = Some(judge_past(read, &new, against, now)?);
                }
                Ok((view, left_out))
            })?
        } else {
            service.change(
                "team apply",
                None,
                |read, me, now| {
                    let (drafts, mut view, left_out) = plan(read, me, &new, &new_owner, revoke_unmatched, now)?;
                    if seen.is_some() && seen != view.seen {
                        return Err(Refusal::Changed { what: "what the file would do".to_owned() }.into());
                    }
                    if !drafts.is_empty() {
                        let hour_ago = now.minus(TEAM_CHANGES.within);
                        TEAM_CHANGES.allows(read.acts(me, Act::TeamApplied, hour_ago)?, now)?;
                    }
                    view.applied = true;
                    Ok((drafts, (view, left_out)))
                },
                |_, planned, _| Ok(planned),
            )?
        };
        if view.changes.is_empty() {
            warnings.clear();
        }
        warnings.extend(left_out);
        Ok(Warned { answer: view, warnings })
    }
}

/// Whether the owner of a new team has an account here. Asked before the transaction, because the name service may be slow.
/// None: it does not matter, as the database is not a shared host's.
struct NewOwner(Option<Result<bool, Failure>>);

impl NewOwner {
    fn of(new: &Team, outside: &Outside<'_>) -> NewOwner {
        let owner = new.owner().filter(|_| outside.shared);
        NewOwner(owner.map(|(_, member)| (outside.has_account)(&member.login)))
    }

    /// A login without an account belongs to the next user with that name. Only a change of hands is refused: the same file may
    /// be applied on other machines.
    fn may_take_over(&self, old: &Team, new: &Team) -> Result<(), Problem> {
        let login = |team: &Team| team.owner().map(|(_, member)| member.login.clone());
        let Some((name, member)) = new.owner().filter(|(_, member)| login(old).as_ref() != Some(&member.login)) else {
            return Ok(());
        };
        match &self.0 {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => {
                Err(Refusal::from(CallerRefusal::NoAccount { member: name.clone(), login: member.login.to_string() })
                    .into())
            }
            Some(Err(failure)) => Err(failure.clone().into()),
        }
    }
}

/// The changes of the new team and their consequences, as events and for display. The text says what was left out, if
/// anything.
fn plan(
    read: &Read<'_>,
    me: &Principal,
    new: &Team,
    new_owner: &NewOwner,
    revoke_unmatched: bool,
    now: Timestamp,
) -> Result<(Vec<Draft>, PlanView, Vec<String>), Problem> {
    authorize::needs_owner(me, APPLY)?;
    let old = read.team()?;
    new_owner.may_take_over(&old, new)?;
    replace(read, Some(&me.name), &old, new, revoke_unmatched, now)
}

/// The consequences of replacing the old team with the new one. `by`: who applies it; None: root, who replaces the owner.
pub fn replace(
    read: &Read<'_>,
    by: Option<&Name>,
    old: &Team,
    new: &Team,
    revoke_unmatched: bool,
    now: Timestamp,
) -> Result<(Vec<Draft>, PlanView, Vec<String>), Problem> {
    let changes = old.changes_to(new);
    let open = read.open_requests()?;
    let admins = PolicyContext::default().people_named(read, &[Assignee::Role(Role::Admin)].into())?;
    // A new member with the name of one who left must not get that member's notifications.
    let departed: BTreeSet<&Name> = changes.iter().filter_map(Change::departs).collect();
    let remains = |name: &Name| new.members.contains_key(name) && !departed.contains(name);
    let mut asked = BTreeMap::new();
    for request in open.iter().filter(|request| request.state(now) == State::Pending) {
        asked.insert(request.id, those_asked(read, request)?);
    }
    let mut rejudge = Rejudge::new(read, (old, new), &departed, &open, now);
    let mut looks = Looks::at(old, new, &open, now);
    looks.at_live |= revoke_unmatched;
    looks.at_gains |= !rejudge.can_gain();
    let left_out = looks.left_out();
    let (mut unmatched, mut widened): (Vec<FollowView>, Vec<FollowView>) = (Vec::new(), Vec::new());
    let judge = |request: &Request, ended: &BTreeSet<RequestId>| -> Result<team_change::Reassessment, Error> {
        let Some(grant) = request.grant.as_ref().filter(|_| request.state(now) != State::Pending) else {
            return rejudge.pending(request);
        };
        let live = grant.is_live(now);
        let why = if live && !looks.at_live { None } else { rejudge.why_not(request, grant, ended)? };
        if why.is_some() && (!live || revoke_unmatched) {
            return Ok(team_change::Reassessment { ends: why, ..team_change::Reassessment::default() });
        }
        let view = |follows, because| FollowView {
            follows,
            request: request.id,
            member: grant.member.clone(),
            resource: grant.terms.resource.clone(),
            because,
        };
        unmatched.extend(why.map(|why| view(Follows::Unmatched, why)));
        if looks.at_gains && new.members.get(&grant.member).is_some_and(|member| !member.disabled) {
            let gained = rejudge.gained(&grant.terms.resource);
            widened.extend((!gained.is_empty()).then(|| view(Follows::Widened, few(&gained, MOST_COVERED))));
        }
        Ok(team_change::Reassessment::default())
    };
    let following = team_change::consequences(&changes, &open, &asked, remains, (by, now), judge)?;
    let by_number: BTreeMap<RequestId, &Request> = open.iter().map(|request| (request.id, request)).collect();
    let mut follows: Vec<FollowView> = following.iter().filter_map(|draft| shown(draft, &by_number)).collect();
    follows.extend(unmatched);
    follows.extend(widened);

    // Those who were admins before, and those who are now.
    let before = admins
        .iter()
        .filter(|principal| authorize::needs_admin(principal, "", now).is_ok())
        .map(|principal| &principal.name);
    let recipients: BTreeSet<&Name> = before.filter(|name| remains(name)).chain(new.admins()).collect();
    let applied = Event::TeamApplied { changes: changes.clone() };
    let mut drafts = Vec::new();
    if !changes.is_empty() {
        drafts.push(Draft { event: applied, recipients: NotificationKind::TeamChanged.to_all(recipients) });
    }
    drafts.extend(following);
    let mut view = PlanView { changes, follows, applied: false, against: None, seen: None };
    view.seen = Some(digest(&view)?);
    Ok((drafts, view, left_out))
}

/// What is too large to check.
struct Looks {
    at_live: bool,
    at_gains: bool,
}

impl Looks {
    /// Ended grants and void approvals are always computed. Results that are only shown are left out if they take too long,
    /// and the output says so.
    fn at(old: &Team, new: &Team, open: &[Request], now: Timestamp) -> Looks {
        let granted = |only_live: bool| -> BTreeSet<&Resource> {
            let grants = open.iter().filter_map(|request| request.grant.as_ref());
            let states = |grant: &&Grant| match grant.state(now) {
                State::Active => true,
                State::Scheduled => !only_live,
                State::Pending | State::Denied | State::Withdrawn | State::Lapsed | State::Expired | State::Revoked => {
                    false
                }
            };
            grants.filter(states).map(|grant| &grant.terms.resource).filter(|resource| new.has(resource)).collect()
        };
        let (before, after) = (old.resources().count(), new.resources().count());
        let live = open.iter().filter(|request| request.state(now) == State::Active).count();
        let at_live = granted(true).len() * after + live * new.rules.len() <= MOST_PAIRS;
        let at_gains = granted(false).len() * (before + after) <= MOST_PAIRS;
        Looks { at_live, at_gains }
    }

    fn left_out(&self) -> Vec<String> {
        let gains = "there are too many live grants and resources to say which grants come to cover more";
        let live = "there are too many active grants to say which of them the file no longer gives; --revoke-unmatched judges all";
        let each = [(self.at_gains, gains), (self.at_live, live)];
        each.into_iter().filter(|(looked, _)| !looked).map(|(_, what)| what.to_owned()).collect()
    }
}

/// The requests of this long ago and since that the new team would have decided otherwise.
fn judge_past(read: &Read<'_>, new: &Team, against: Length, now: Timestamp) -> Result<AgainstView, Problem> {
    let since = Timestamp::from_unix((now.unix() - against.seconds()).max(0)).expect("a time before now is a time");
    let mut view = AgainstView { since, requests: 0, otherwise: Vec::new(), more: 0 };
    let mut given: BTreeMap<Name, Vec<Given>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = read.requests_since(since, after)?;
        for request in &page.rows {
            after = request.id.get();
            view.requests += 1;
            if !given.contains_key(&request.requester) {
                given.insert(request.requester.clone(), given_to(read, &request.requester, new)?);
            }
            let held = held_then(request, &given[&request.requester], new);
            let Some(would) = past::changed_outcome(new, request, &held) else { continue };
            if view.otherwise.len() >= MOST_OTHERWISE {
                view.more += 1;
                continue;
            }
            view.otherwise.push(OtherwiseView {
                request: request.id,
                requester: request.requester.clone(),
                resource: request.details.asked.resource.clone(),
                was: request.state(now),
                would,
            });
        }
        if page.last {
            return Ok(view);
        }
    }
}

/// A grant, and the entry that gave it.
struct Given {
    seq: i64,
    at: Timestamp,
    grant: Grant,
}

/// All grants that somebody ever got, if any rule counts lengths.
fn given_to(read: &Read<'_>, member: &Name, new: &Team) -> Result<Vec<Given>, Error> {
    let mut given = Vec::new();
    if new.rules.iter().any(Rule::counts_length) {
        for grant in read.all_grants(member)? {
            let by = read.grant_entry(grant.request)?;
            given.extend(by.map(|(seq, at)| Given { seq, at, grant }));
        }
    }
    Ok(given)
}

/// The requester's other grants as they were when a past request was decided on, or filed if no access was granted.
fn held_then(request: &Request, given: &[Given], new: &Team) -> OtherGrants {
    let own = given.iter().find(|given| given.grant.request == request.id);
    let (seq, at) = own.map_or((request.seq, request.submitted_at), |given| (given.seq, given.at));
    let mut held = OtherGrants::default();
    for Given { grant, .. } in given.iter().filter(|given| given.seq < seq) {
        let mut grant = grant.clone();
        // At that time it was not known that it would end early.
        if grant.ended.as_ref().is_some_and(|ended| ended.at > at) {
            grant.ended = None;
        }
        if let Resource::Scope(name) = &grant.terms.resource {
            held.scopes.extend(new.scopes.get(name).map(|scope| (name.clone(), scope.clone())));
        }
        held.grants.extend(counted(grant));
    }
    held
}

fn digest(view: &PlanView) -> Result<Seen, Problem> {
    let json = serde_json::to_vec(view).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(Seen(Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn shown(draft: &Draft, open: &BTreeMap<RequestId, &Request>) -> Option<FollowView> {
    let (follows, id, because) = match &draft.event {
        Event::RequestWithdrawn { request, because, .. } => (Follows::Withdrawn, *request, because.to_string()),
        Event::GrantRevoked { request, because, .. } => (Follows::Revoked, *request, because.to_string()),
        Event::ApprovalsVoided { request, voids, gained } => {
            let voids: Vec<String> = voids.iter().map(ToString::to_string).collect();
            let by = match voids.is_empty() {
                true => String::new(),
                false => format!(" (approved by {})", few(&voids, MOST_PEOPLE)),
            };
            (Follows::Voided, *request, format!("{gained}{by}"))
        }
        _ => return None,
    };
    let request = open.get(&id)?;
    let voided = follows == Follows::Voided;
    let asked = if voided { request.proposed_terms() } else { &request.details.asked };
    let terms = request.grant.as_ref().map_or(asked, |grant| &grant.terms);
    Some(FollowView {
        follows,
        request: id,
        member: request.requester.clone(),
        resource: terms.resource.clone(),
        because,
    })
}

fn warnings(service: &Service<'_>, outside: &Outside<'_>, new: &Team) -> Vec<String> {
    let mut warnings = Vec::new();
    let able = || new.members.iter().filter(|(_, member)| !member.disabled);
    let (remains, you) = match &service.caller.acting_as {
        ActingAs::KeyHolder(me, key) => (
            able().any(|(name, member)| name == me && member.has_key(key)),
            format!("your SSH key {key} is not one of {me}'s"),
        ),
        ActingAs::Login | ActingAs::Member(_) => {
            let login = &service.caller.login;
            (able().any(|(_, member)| member.login == *login), format!("your Unix user {login} is not a member"))
        }
    };
    if !remains {
        warnings.push(format!("with this team, {you} (any more)"));
    }
    let able = new.admins().count();
    if able < 2 && new.members.len() > 1 {
        warnings.push("with this team only one member can decide, so nobody decides on what they file".to_owned());
    }
    warnings.extend(unknown_zones(new, outside));
    if pairs(new) > MOST_PAIRS {
        warnings
            .push("the file is too large to look for rules that nobody can meet, or that can be bypassed".to_owned());
    } else {
        let found = past::warnings(new);
        let more = found.len().saturating_sub(MOST_WARNINGS);
        warnings.extend(found.into_iter().take(MOST_WARNINGS));
        warnings.extend(
            (more > 0).then(|| format!("and {} of this kind", quantity(more, "more warning", "more warnings"))),
        );
    }
    warnings
}

/// What a shared log would make of the hosts of the new team. Fails if nobody could change anything any more.
fn warning_about_hosts(read: &Read<'_>, new: &Team) -> Result<Option<String>, Failure> {
    let Some(replica) = read.replica()? else { return Ok(None) };
    if new.hosts.is_empty() {
        return match read.hosts()?.is_empty() {
            true => Ok(None),
            false => Err(Failure::new(Kind::Invalid, "the team file names no host, and the log is shared")
                .hint("name at least one with may = \"decide\" in [hosts], or move the log back first")),
        };
    }
    let this = new.hosts.iter().find(|(name, _)| name.as_str() == replica.host);
    Ok(match this {
        Some((_, host)) if host.may == HostPower::Decide => None,
        Some((name, host)) => Some(format!("with this team, this host ({name}) may only {}", host.may)),
        None => Some(format!("with this team, this host ({}) may do nothing with the log", replica.host)),
    })
}

/// The members' time zones that this machine does not know.
fn unknown_zones(new: &Team, outside: &Outside<'_>) -> Vec<String> {
    let mut zones: BTreeMap<&str, (&Timezone, Vec<String>)> = BTreeMap::new();
    for (name, member) in &new.members {
        if let Some(zone) = &member.timezone {
            zones.entry(zone.as_str()).or_insert_with(|| (zone, Vec::new())).1.push(name.to_string());
        }
    }
    let unknown = zones.into_values().filter(|(zone, _)| !(outside.knows_zone)(zone));
    let words = unknown.take(MOST_WARNINGS).map(|(zone, members)| {
        format!("this machine does not know the time zone {zone}; UTC is used for {}", few(&members, MOST_COVERED))
    });
    words.collect()
}

/// How many pairs of a rule, and a member or a resource, it takes to look at what the rules amount to.
fn pairs(team: &Team) -> usize {
    let each = team.members.len() + team.resources().count();
    let pairs = team.rules.iter().map(|rule| {
        let named = 1 + rule.approvers.len() + rule.matches.resources.len();
        let asked = if rule.matches.requesters.is_empty() { 0 } else { rule.approvals as usize * team.groups.len() };
        named * each + asked
    });
    let of_scopes = team.scopes.len() * (each + team.rules.len());
    pairs.sum::<usize>() + of_scopes
}
