//! Folds the audit log in memory and says where it contradicts itself.
//!
//! It never judges by today's rules (a log stays valid when the rules change), only by what no rules could allow (a grant
//! without an approval by another person, an end that is not the one granted, a decision on what was decided) and by the
//! team of that moment: whether it demanded what a grant met, and gave by a rule what that rule is said to have given.
//!
//! The team of that moment is read by the rules of judging of today. So a change of what a rule gives or demands makes a
//! new format, and has entries of the formats before judged as they were.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::{Approval, Because, Entry, Event, FORMAT, Granted, MetDemand, Revision, Submission};
use crate::domain::grant::{Ended, EndedHow, Grant};
use crate::domain::member::{Assignee, Login, Member};
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::policy::default_demand::default_role;
use crate::domain::policy::demand::RoleBasis;
use crate::domain::policy::rule::Rule;
use crate::domain::preference::Preference;
use crate::domain::request::clock::{filed_ahead, granted_ahead};
use crate::domain::request::emergency::could_review;
use crate::domain::request::{Decision, Recorded, Request, Review, Verdict};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::simulation::historical::TeamThen;
use crate::domain::team::Team;
use crate::domain::team::change::{Change, Diff};
use crate::domain::terms::{RequestId, Said};
use crate::domain::time::Timestamp;

/// What the entries so far amount to.
///
/// It holds every request until `release` is called. Whoever calls that after each batch of entries needs memory only for
/// what is still open.
#[derive(Debug, Default)]
pub struct Model {
    /// None before the first entry.
    pub team: Option<Team>,
    /// The entry that brought each member (back).
    pub since: BTreeMap<Name, i64>,
    /// By number, without those that were released.
    pub requests: BTreeMap<RequestId, Request>,
    /// By the notification's number, without those that were released: which entry it tells of, and whom.
    pub notifications: Vec<Notified>,
    /// What judging by this team takes.
    team_then: TeamThen,
    /// What each member prefers, who has said anything.
    pub preferences: BTreeMap<Name, Preference>,
    /// The requests whose grants of roles have not ended on the record.
    role_grants: BTreeSet<RequestId>,
    /// The requests that format 1 filed and that were not judged again since. Without those that were released.
    of_format_1: BTreeSet<RequestId>,
    /// Who changed the team, while what follows from it is taken in. None: nobody did, or nobody who may.
    changed_by: Option<Changer>,
    /// The format of the entry that is being taken in.
    format: u32,
    last: Option<Timestamp>,
    /// The requests that became final since the last release.
    final_since: Vec<RequestId>,
    past: Past,
    told: Numbers,
    last_told: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Changer {
    Member(Name),
    /// Root, who replaced the owner.
    Root,
}

/// A notification by number: the entry it tells of, and who is told.
pub type Notified = (i64, (i64, Recipient));

/// What no later entry of an honest log can change.
#[derive(Debug, Default)]
pub struct Released {
    pub requests: Vec<Request>,
    pub notifications: Vec<Notified>,
}

/// Ascending numbers, stored as runs: those of an honest log are one run.
#[derive(Debug, Default)]
struct Numbers {
    /// The first number of each run, and how many numbers come before it.
    runs: Vec<(i64, usize)>,
    count: usize,
    last: i64,
}

impl Numbers {
    /// Adds a number. One that is not above all before it is ignored.
    fn push(&mut self, number: i64) {
        if number <= self.last {
            return;
        }
        if self.runs.is_empty() || number != self.last + 1 {
            self.runs.push((number, self.count));
        }
        self.count += 1;
        self.last = number;
    }

    /// How many numbers come before this one; None if it is not one of them.
    fn place(&self, number: i64) -> Option<usize> {
        let run = self.runs.partition_point(|(first, _)| *first <= number).checked_sub(1)?;
        let (first, before) = self.runs[run];
        let place = before + usize::try_from(number - first).ok()?;
        let end = self.runs.get(run + 1).map_or(self.count, |(_, before)| *before);
        (place < end).then_some(place)
    }
}

/// What is kept of every request that was released: four bytes. A later entry may still name it.
#[derive(Debug, Default)]
struct Past {
    filed: Numbers,
    /// For each number filed: 0 while it was not released, else 1 + twice the requester's place in `requesters`, and 1 more
    /// if access was granted.
    states: Vec<u32>,
    requesters: Vec<Name>,
    places: BTreeMap<Name, u32>,
}

impl Past {
    fn file(&mut self, id: RequestId) {
        self.filed.push(id.get());
        self.states.resize(self.filed.count, 0);
    }

    fn release(&mut self, request: &Request) {
        let Some(place) = self.filed.place(request.id.get()) else { return };
        let requester = match self.places.get(&request.requester) {
            Some(&known) => known,
            None => {
                let new = u32::try_from(self.requesters.len()).unwrap_or(u32::MAX);
                self.requesters.push(request.requester.clone());
                self.places.insert(request.requester.clone(), new);
                new
            }
        };
        self.states[place] = 1 + 2 * requester + u32::from(request.grant.is_some());
    }

    /// Who asked, and whether access was granted; None unless the request was released.
    fn get(&self, id: RequestId) -> Option<(&Name, bool)> {
        let state = self.states.get(self.filed.place(id.get())?)?.checked_sub(1)?;
        let requester = self.requesters.get((state / 2) as usize)?;
        Some((requester, state % 2 == 1))
    }
}

/// Something that no honest log has.
type Wrong = String;

impl Model {
    /// Takes the next entry in. What is wrong with it is told, and the fold goes on as well as it can.
    pub fn take(&mut self, entry: Entry) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if !(1..=FORMAT).contains(&entry.v) {
            wrong.push(format!("it is of format {}, which this program does not know", entry.v));
        }
        self.check_time(&entry, &mut wrong);
        self.check_actor(&entry, &mut wrong);
        if let Event::TeamApplied { changes } = &entry.event {
            self.changed_by = match &entry.actor {
                Some(actor) => Some(Changer::Member(actor.clone())),
                None if entry.os_user == "root" && self.replaces_owner(changes) => Some(Changer::Root),
                None => None,
            };
        } else if !entry.event.follows_team() {
            self.changed_by = None;
        }
        self.check_logins(&entry, &mut wrong);
        self.last = Some(entry.at);
        self.format = entry.v;
        let (seq, at) = (entry.seq, entry.at);
        let about = entry.event.request();
        if let Err(why) = self.fold(seq, at, entry.actor.as_ref(), entry.event) {
            wrong.push(why);
        }
        self.final_since.extend(about.filter(|id| self.requests.get(id).is_some_and(is_final)));
        let next = self.last_told.saturating_add(1);
        let first = entry.told_from.unwrap_or(next);
        if first != next {
            wrong.push(format!("its first notification is {first}, where {next} comes next"));
        }
        // No honest log comes near the last number there is.
        let first = first.min(i64::MAX - 1 - entry.told.len() as i64);
        for (id, told) in (first..).zip(entry.told) {
            if !self.since.contains_key(&told.0) {
                wrong.push(format!("it tells {}, who is no member", told.0));
            }
            self.notifications.push((id, (seq, told)));
            self.told.push(id);
            self.last_told = id;
        }
        wrong
    }

    /// Hands out what is final, and forgets it but for a few bytes.
    pub fn release(&mut self) -> Released {
        let ids = std::mem::take(&mut self.final_since);
        let requests: Vec<Request> = ids.iter().filter_map(|id| self.requests.remove(id)).collect();
        for request in &requests {
            self.past.release(request);
            self.of_format_1.remove(&request.id);
        }
        Released { requests, notifications: std::mem::take(&mut self.notifications) }
    }

    /// Whether any entry filed a request with this number.
    pub fn has_filed(&self, id: i64) -> bool {
        self.past.filed.place(id).is_some()
    }

    /// Whether any entry told somebody by a notification with this number.
    pub fn has_told(&self, id: i64) -> bool {
        self.told.place(id).is_some()
    }

    fn check_time(&self, entry: &Entry, wrong: &mut Vec<Wrong>) {
        let Some(last) = self.last else { return };
        if let Event::ClockAccepted { was } = &entry.event {
            if *was < last {
                wrong.push(format!("it accepts a clock behind {was}, but {last} was recorded before"));
            }
        } else if entry.at < last {
            wrong.push(format!("its time, {}, is before that of the entry before it", entry.at));
        }
    }

    /// Whoever acts is a member who is not disabled. (An attempt that was refused may be anybody's.)
    fn check_actor(&self, entry: &Entry, wrong: &mut Vec<Wrong>) {
        let (Some(actor), Some(team)) = (&entry.actor, &self.team) else { return };
        if matches!(entry.event, Event::AttemptRefused { .. }) {
            return;
        }
        // A team file may take out or disable the member who applies it. What follows in the same act is theirs still.
        let changer = match &self.changed_by {
            Some(Changer::Member(name)) => Some(name),
            Some(Changer::Root) | None => None,
        };
        if entry.event.follows_team() && changer == Some(actor) {
            return;
        }
        match team.members.get(actor) {
            Some(member) if member.disabled => wrong.push(format!("{actor} acts, who is disabled")),
            Some(_) => {}
            None => wrong.push(format!("{actor} acts, who is no member")),
        }
    }

    /// A request names the Unix users that its requester and its filer have in the team. (Format 1 names none.)
    fn check_logins(&self, entry: &Entry, wrong: &mut Vec<Wrong>) {
        let Event::RequestSubmitted(Submission { requester, filed_by, requester_login, filer_login, .. }) =
            &entry.event
        else {
            return;
        };
        for (name, login) in BTreeSet::from([(requester, requester_login), (filed_by, filer_login)]) {
            if (entry.v > 1 || login.is_some()) && login.as_ref() != self.login_of(name) {
                wrong.push(format!("it does not name the Unix user that {name} has"));
            }
        }
    }

    fn login_of(&self, member: &Name) -> Option<&Login> {
        self.team.as_ref()?.members.get(member).map(|member| &member.login)
    }

    fn fold(&mut self, seq: i64, at: Timestamp, actor: Option<&Name>, event: Event) -> Result<(), Wrong> {
        match event {
            Event::TeamInitialized { changes } => {
                if self.team.is_some() {
                    return Err("the team is set up a second time".to_owned());
                }
                self.change_team(seq, changes)
            }
            Event::TeamApplied { changes } => {
                let fault = self.not_theirs_to_change();
                self.change_team(seq, changes)?;
                fault.map_or(Ok(()), Err)
            }
            Event::RequestSubmitted(Submission {
                request,
                requester,
                filed_by,
                requester_login,
                filer_login,
                asked,
                reason,
                ticket,
                lapses_at,
                remind_at,
                extends,
                emergency,
            }) => {
                let expected = RequestId::try_from(self.past.filed.last + 1).unwrap_or(RequestId::FIRST);
                if request < expected {
                    return Err(format!("it files request {request} a second time"));
                }
                let unknown = [&requester, &filed_by].into_iter().find(|name| !self.since.contains_key(*name)).cloned();
                let filer_acts = actor == Some(&filed_by);
                let extends_theirs = extends.is_none_or(|before| match self.requests.get(&before) {
                    Some(before) => before.requester == requester && before.grant.is_some(),
                    None => self.past.get(before) == Some((&requester, true)),
                });
                self.past.file(request);
                let filed = Request {
                    id: request,
                    seq,
                    requester_login: requester_login.or_else(|| self.login_of(&requester).cloned()),
                    requester,
                    filer_login: filer_login.or_else(|| self.login_of(&filed_by).cloned()),
                    filed_by,
                    asked,
                    reason,
                    ticket,
                    submitted_at: at,
                    lapses_at,
                    remind_at,
                    extends,
                    emergency,
                    review: None,
                    recorded: Recorded::Pending,
                    decisions: Vec::new(),
                    grant: None,
                };
                self.requests.insert(request, filed);
                if self.format < 2 {
                    self.of_format_1.insert(request);
                }
                match unknown {
                    _ if request != expected => Err(format!("it files request {request}, where {expected} comes next")),
                    Some(name) => Err(format!("it names {name}, who is no member")),
                    None if !filer_acts => Err(format!("request {request} was not filed by the member who acts")),
                    None if !extends_theirs => Err(format!("request {request} goes on from no grant of its requester")),
                    None => Ok(()),
                }
            }
            Event::RequestEdited(Revision { request, by, from, to, lapses_at, remind_at, voids }) => {
                let held = self.pending(request, at)?;
                let fault = edited_rightly(held, &by, actor, &from, &to, &voids).err();
                held.take_edit(to, lapses_at, remind_at);
                let late = held.lapses() != lapses_at || lapses_at <= at || held.reminds() != remind_at;
                match fault {
                    Some(fault) => Err(fault),
                    None if late => Err(format!("it sets another lapse or reminder for request {request} than it can")),
                    None => Ok(()),
                }
            }
            Event::RequestApproved(Approval { request, by, terms, asked, note, voids }) => {
                let login = self.login_of(&by).cloned();
                let held = self.pending(request, at)?;
                let put = asked.is_some().then(|| terms.clone());
                let fault = by_another(held, &by, login, actor).err();
                let same_asked =
                    asked.is_none_or(|asked| asked == held.asked) && (put.is_some() || terms == held.asked);
                let kept: Vec<&Decision> = held.approvals().collect();
                let voids_none = voids.iter().any(|name| kept.iter().all(|decision| decision.by != *name));
                held.void_approvals(&voids);
                held.decisions.push(Decision {
                    seq,
                    by,
                    at,
                    verdict: Verdict::Approve,
                    note,
                    terms: put,
                    counts: true,
                });
                match fault {
                    Some(fault) => Err(fault),
                    None if voids_none => Err(format!("it voids an approval of request {request} that there is not")),
                    None if !same_asked => Err(format!("it misstates what request {request} asked for")),
                    None => Ok(()),
                }
            }
            Event::RequestDenied { request, by, reason } => {
                let login = self.login_of(&by).cloned();
                let held = self.pending(request, at)?;
                let fault = by_another(held, &by, login, actor).err();
                held.decisions.push(Decision {
                    seq,
                    by,
                    at,
                    verdict: Verdict::Deny,
                    note: reason,
                    terms: None,
                    counts: true,
                });
                held.recorded = Recorded::Denied;
                fault.map_or(Ok(()), Err)
            }
            Event::RequestWithdrawn { request, by, because } => {
                let by_root = self.changed_by == Some(Changer::Root);
                let held = self.pending(request, at)?;
                held.recorded = Recorded::Withdrawn;
                let ahead = filed_ahead(held.submitted_at, accepted_time(&because).unwrap_or(at));
                ends_rightly(by.as_ref(), actor, &because, (ahead, by_root), at)
                    .map_err(|why| format!("request {request} is withdrawn {why}"))
            }
            Event::RequestLapsed { request, lapsed_at } => {
                let not_pending = || format!("request {request} lapses, which is not pending");
                let held = self.request(request, |_| not_pending())?;
                if held.recorded != Recorded::Pending {
                    return Err(not_pending());
                }
                held.recorded = Recorded::Lapsed;
                // Older versions let it lapse later than at the end that was asked for.
                let rightly = [held.lapses(), held.lapses_at].contains(&lapsed_at);
                if !rightly || lapsed_at > at {
                    return Err(format!("request {request} lapses at {lapsed_at}, and should at {}", held.lapses()));
                }
                Ok(())
            }
            Event::RequestReminded { request } => {
                let held = self.pending(request, at)?;
                match held.remind_at.take() {
                    Some(due) if due <= at => Ok(()),
                    Some(_) | None => Err(format!("it reminds of request {request}, which was not due")),
                }
            }
            Event::RequestRejudged { request } => {
                self.pending(request, at)?;
                match self.of_format_1.remove(&request) {
                    true => Ok(()),
                    false => Err(format!("it judges request {request} again, which is not owed that")),
                }
            }
            Event::ApprovalsVoided { request, voids, .. } => {
                let held = self.pending(request, at)?;
                let counted: BTreeSet<&Name> = held.approvals().map(|decision| &decision.by).collect();
                let none = voids.iter().any(|name| !counted.contains(name));
                held.void_approvals(&voids);
                match actor {
                    None => Err(format!("approvals of request {request} are voided by nobody")),
                    Some(_) if none => Err(format!("it voids an approval of request {request} that there is not")),
                    Some(_) => Ok(()),
                }
            }
            Event::RequestReviewed { request, by, note } => {
                let fault = self.not_theirs_to_review(request, &by, at);
                let login = self.login_of(&by).cloned();
                let owes_none = || format!("it reviews request {request}, which owes no review");
                let held = self.request(request, |_| owes_none())?;
                let fault = by_another(held, &by, login, actor).err().or(fault);
                let owed = held.owes_review() && held.grant.is_some();
                held.review = Some(Review { by, note, at });
                match fault {
                    Some(fault) => Err(fault),
                    None if !owed => Err(owes_none()),
                    None => Ok(()),
                }
            }
            Event::GrantScheduled(granted) if granted.starts_at <= at => {
                Err(format!("the grant of request {} is scheduled for a time that had come", granted.request))
            }
            Event::GrantScheduled(granted) => self.grant(granted, at),
            Event::GrantStarted(granted) => {
                let id = granted.request;
                let begun = match self.past.get(id) {
                    Some((_, granted)) => granted.then_some(true),
                    None => self.request(id, |_| no_request(id))?.grant.as_ref().map(|grant| grant.begun),
                };
                match begun {
                    None => self.grant(granted, at),
                    Some(false) => self.begin(&granted, at),
                    Some(true) => Err(format!("request {id} is granted a second time")),
                }
            }
            Event::GrantExpiring { request, .. } => {
                let grant = self.live(request)?;
                let twice = std::mem::replace(&mut grant.warned, true);
                if twice { Err(format!("the end of grant {request} is announced twice")) } else { Ok(()) }
            }
            Event::GrantExpired { request, resource, ended_at } => {
                let grant = self.live(request)?;
                grant.ended = Some(Ended { at: ended_at, how: EndedHow::Expired });
                let otherwise = grant.ends_at != Some(ended_at) || ended_at > at || grant.terms.resource != resource;
                self.role_grants.remove(&request);
                if otherwise {
                    return Err(format!("grant {request} expires otherwise than it was granted"));
                }
                Ok(())
            }
            Event::GrantRevoked { request, resource, by, because, .. } => {
                let by_root = self.changed_by == Some(Changer::Root);
                let filed = self.requests.get(&request).map(|request| request.submitted_at);
                let grant = self.live(request)?;
                let accepted = accepted_time(&because).unwrap_or(at);
                let ahead = filed.is_some_and(|filed| filed_ahead(filed, accepted)) || granted_ahead(grant, accepted);
                let ends = ends_rightly(by.as_ref(), actor, &because, (ahead, by_root), at);
                let over = grant.ends_at.is_some_and(|end| end <= at);
                let same = grant.terms.resource == resource;
                let acts = actor == by.as_ref();
                grant.ended = Some(Ended { at, how: EndedHow::Revoked { by } });
                self.role_grants.remove(&request);
                if over {
                    Err(format!("grant {request} is revoked after it had ended"))
                } else if !same || !acts {
                    Err(format!("grant {request} is revoked by or for another than it says"))
                } else {
                    ends.map_err(|why| format!("grant {request} is revoked {why}"))
                }
            }
            Event::AttemptRefused { .. } | Event::ClockAccepted { .. } => Ok(()),
            Event::PreferenceChanged { member, from, to } => {
                let acts = actor == Some(&member);
                let stood = match to.is_empty() {
                    true => self.preferences.remove(&member),
                    false => self.preferences.insert(member.clone(), to),
                };
                if !acts {
                    Err(format!("the preferences of {member} are changed by another"))
                } else if stood.unwrap_or_default() != from {
                    Err(format!("the preferences of {member} change from what they were not"))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Access is granted: at once, or from a later time on.
    fn grant(&mut self, granted: Granted, at: Timestamp) -> Result<(), Wrong> {
        let id = granted.request;
        let unmet = self.demands_unmet(&granted, at).or_else(|| self.not_given_by_rule(&granted, at));
        let rules = self.team.as_ref().map_or(&[] as &[Rule], |team| &team.rules);
        let rule = granted.by_rule.as_ref().and_then(|name| rules.iter().find(|rule| rule.name == *name)).cloned();
        let since: Vec<Option<i64>> = granted.approved_by.iter().map(|name| self.since.get(name).copied()).collect();
        let held = self.request(id, |_| match granted.by_rule.is_none() && granted.approved_by.is_empty() {
            true => granted_without_approval(id),
            false => granted_not_pending(id),
        })?;
        let terms = granted.terms();
        let fault =
            granted_rightly(held, &granted, rule.as_ref()).and_then(|()| given_by_members(held, &granted, &since));
        let fault = fault.err().or(unmet);
        let rightly = terms.starts_at(at) == granted.starts_at && terms.ends_at(at) == granted.ends_at;
        held.recorded = Recorded::Approved;
        held.grant = Some(Grant { begun: granted.starts_at <= at, ..granted.into() });
        if matches!(terms.resource, Resource::Role(_)) {
            self.role_grants.insert(id);
        }
        match fault {
            Some(fault) => Err(fault),
            None if !rightly => Err(format!("the grant of request {id} does not start and end as granted")),
            None => Ok(()),
        }
    }

    /// From format 2 on a grant says which demands it met. Each was made by a rule of the team at that moment, or is the
    /// default demand, and was met by people who were among its approvers at that moment.
    fn demands_unmet(&self, granted: &Granted, at: Timestamp) -> Option<Wrong> {
        let id = granted.request;
        if self.format < 2 || granted.by_rule.is_some() {
            return None;
        }
        let team = self.team.as_ref()?;
        let request = self.requests.get(&id)?;
        if granted.demands.is_empty() {
            return Some(format!("request {id} is granted without a demand that it met"));
        }
        let terms = granted.terms();
        let basis = request.role_basis(&terms);
        // A feature has a default of its own, unless a rule whose demand was met took it away.
        let named = granted.demands.iter().filter_map(|met| met.rule.as_ref());
        let rules: Vec<&Rule> = named.filter_map(|name| team.rules.iter().find(|rule| rule.name == *name)).collect();
        let took_default = |resource: &Resource| {
            rules.iter().map(|rule| &rule.matches).any(|it| {
                let names = it.resources.is_empty() || it.resources.iter().any(|pattern| pattern.matches(resource));
                names && it.environments.is_empty()
            })
        };
        let under_default = [&request.asked.resource, &terms.resource].into_iter().filter(|it| !took_default(it));
        let things = under_default.filter_map(|it| team.thing(it));
        let default = things.map(|thing| default_role(&thing)).max().unwrap_or(Role::Admin);
        for MetDemand { rule, approvals, by } in &granted.demands {
            let requirement = match rule {
                None => Some((BTreeSet::from([Assignee::Role(default)]), 1)),
                Some(name) => {
                    let rule = team.rules.iter().find(|rule| rule.name == *name && !rule.approvers.is_empty());
                    rule.map(|rule| (rule.approvers.clone(), rule.approvals))
                }
            };
            let whose =
                rule.as_ref().map_or_else(|| "the default".to_owned(), |rule| format!("rule {:?}", rule.as_str()));
            let Some((approvers, needed)) = requirement else {
                return Some(format!("request {id} is granted by a demand of {whose}, which made none then"));
            };
            let distinct: BTreeSet<&Name> = by.iter().filter(|name| granted.approved_by.contains(name)).collect();
            if *approvals != needed || distinct.len() != by.len() || distinct.len() < needed as usize {
                return Some(format!("request {id} is granted without the approvals that {whose} demanded then"));
            }
            let stranger = by.iter().find(|name| !self.could_approve(team, name, &approvers, basis, at));
            if let Some(stranger) = stranger {
                return Some(format!("{stranger} could not meet the demand of {whose} on request {id} then"));
            }
        }
        None
    }

    /// From format 2 on, what a rule gave by itself it could give at that moment, by the whole team of then.
    fn not_given_by_rule(&mut self, granted: &Granted, at: Timestamp) -> Option<Wrong> {
        let by = granted.by_rule.as_ref().filter(|_| self.format >= 2)?;
        let (team, request) = (self.team.as_ref()?, self.requests.get(&granted.request)?);
        let rule = team.rules.iter().find(|rule| rule.name == *by)?;
        let taken_otherwise = request.emergency
            && (request.filed_by != request.requester
                || request.asked.end.is_permanent()
                || request.asked.start.is_some());
        let why = match taken_otherwise {
            true => Some("an emergency is taken by who needs it, at once, and ends".to_owned()),
            false => self.team_then.not_given(team, request, rule, at),
        };
        why.map(|why| {
            format!("request {} is granted by rule {:?}, which could not give it then: {why}", request.id, by.as_str())
        })
    }

    /// Whether this member is among the approvers, by the team and the granted roles of this moment.
    fn could_approve(
        &self,
        team: &Team,
        name: &Name,
        approvers: &BTreeSet<Assignee>,
        basis: RoleBasis,
        at: Timestamp,
    ) -> bool {
        let Some(member) = team.members.get(name).filter(|member| !member.disabled) else { return false };
        let granted = self.roles_granted(name).filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) if grant.is_live(at) => Some(role),
            Resource::Role(_)
            | Resource::Connection(_)
            | Resource::Target(_)
            | Resource::Feature(_)
            | Resource::Scope(_) => None,
        });
        let role = match basis {
            RoleBasis::Effective => granted.max().map_or(member.role, |role| role.max(member.role)),
            RoleBasis::Base | RoleBasis::BaseAdmin => member.role,
        };
        let holds = |least: Role| match basis {
            RoleBasis::Effective | RoleBasis::Base => role >= least,
            RoleBasis::BaseAdmin => role >= least.max(Role::Admin),
        };
        approvers.iter().any(|approver| match approver {
            Assignee::Member(other) => other == name,
            Assignee::Group(group) => team.groups.get(group).is_some_and(|group| group.members.contains(name)),
            Assignee::Role(least) => holds(*least),
        })
    }

    /// The grants of roles to this member that have not ended on the record.
    fn roles_granted(&self, name: &Name) -> impl Iterator<Item = &Grant> {
        let grants = self.role_grants.iter().filter_map(|id| self.requests.get(id)?.grant.as_ref());
        grants.filter(move |grant| grant.member == *name)
    }

    /// Who reviews an emergency is fixed when it is taken; each counts while they could review it by the rules of the moment,
    /// and if none can, anybody who could. (Older versions let a fixed reviewer review whatever they had become.)
    ///
    /// Where the demands depend on grants that are forgotten, only base admins are known to be able to review.
    fn not_theirs_to_review(&mut self, id: RequestId, by: &Name, at: Timestamp) -> Option<Wrong> {
        let (team, request) = (self.team.as_ref()?, self.requests.get(&id)?);
        let grant = request.grant.as_ref()?;
        let reviewers = grant.reviewers.as_ref()?;
        let is_fixed = |name: &Name| {
            let same_person = self.since.get(name).is_some_and(|since| *since < request.seq);
            same_person && reviewers.contains(name)
        };
        let is_able = |name: &Name| team.members.get(name).is_some_and(|member| !member.disabled);
        if is_able(by) && is_fixed(by) {
            return None;
        }
        let judgement = self.team_then.judge_emergency(team, request, grant.starts_at);
        let could = |name: &Name| -> Option<bool> {
            let mut person = team.person(name).filter(|person| {
                let login = &person.member.login;
                !person.is_disabled()
                    && !request.may_be_requested_by(name, login)
                    && !request.may_be_filed_by(name, login)
            })?;
            person.grants = self.roles_granted(name).cloned().collect();
            match &judgement {
                Some(judgement) => Some(could_review(&person, judgement, &request.asked, at)),
                None => (person.member.role >= Role::Admin).then_some(true),
            }
        };
        if reviewers.iter().any(|name| is_fixed(name) && could(name) == Some(true)) {
            return Some(format!("{by} reviews request {id}, which is for others to review"));
        }
        (could(by) == Some(false)).then(|| format!("{by} reviews request {id}, who could not review it then"))
    }

    /// A scheduled grant begins.
    fn begin(&mut self, granted: &Granted, at: Timestamp) -> Result<(), Wrong> {
        let id = granted.request;
        let grant = self.live(id)?;
        grant.begun = true;
        let same = grant.terms == granted.terms()
            && (grant.starts_at, grant.ends_at) == (granted.starts_at, granted.ends_at)
            && grant.member == granted.member;
        if !same || grant.starts_at > at {
            Err(format!("the grant of request {id} begins otherwise than it was scheduled"))
        } else {
            Ok(())
        }
    }

    /// Only the owner changes the team; and root, who is no member, replaces the owner.
    fn not_theirs_to_change(&self) -> Option<Wrong> {
        let owner = self.team.as_ref().and_then(Team::owner).map(|(name, _)| name);
        match &self.changed_by {
            Some(Changer::Member(name)) if Some(name) == owner => None,
            Some(Changer::Member(name)) => Some(format!("{name} changes the team, who is not its owner")),
            Some(Changer::Root) => None,
            None => Some("the team was changed by nobody".to_owned()),
        }
    }

    /// Whether these changes put another member in the owner's place, disable the owner, and do nothing else. (Older
    /// versions did not disable the owner.)
    fn replaces_owner(&self, changes: &[Change]) -> bool {
        let [
            Change::Member(_, Diff::Change { from: a, to: to_a }),
            Change::Member(_, Diff::Change { from: b, to: to_b }),
        ] = changes
        else {
            return false;
        };
        let replaces = |old: &Member, gone: &Member, next: &Member, owner: &Member| {
            let viewer = Member { role: Role::Viewer, ..old.clone() };
            old.role == Role::Owner
                && (*gone == viewer || *gone == Member { disabled: true, ..viewer })
                && next.role != Role::Owner
                && !next.disabled
                && *owner == Member { role: Role::Owner, ..next.clone() }
        };
        replaces(a, to_a, b, to_b) || replaces(b, to_b, a, to_a)
    }

    fn change_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Wrong> {
        self.team_then = TeamThen::default();
        let mut fault = None;
        for change in &changes {
            if let Change::Member(name, diff) = change {
                if !diff.is_same_person() {
                    self.since.remove(name);
                    self.preferences.remove(name);
                }
                if diff.after().is_some() {
                    self.since.entry(name.clone()).or_insert(seq);
                }
            }
            fault = Team::take(&mut self.team, change).err().or(fault);
        }
        let members = || self.team.iter().flat_map(|team| team.members.values());
        let owners = members().filter(|member| member.role == Role::Owner);
        let logins: BTreeSet<&Login> = members().map(|member| &member.login).collect();
        match (fault, owners.count()) {
            (Some(fault), _) => Err(fault),
            (None, _) if logins.len() < members().count() => Err("it gives two members the same login".to_owned()),
            (None, 1) => Ok(()),
            (None, owners) => Err(format!("it leaves the team with {owners} owners")),
        }
    }

    /// A request that was not released. `over`: what is wrong with naming one that was, given whether it was granted.
    fn request(&mut self, id: RequestId, over: impl FnOnce(bool) -> Wrong) -> Result<&mut Request, Wrong> {
        let past = self.past.get(id).map(|(_, granted)| granted);
        self.requests.get_mut(&id).ok_or_else(|| past.map_or_else(|| no_request(id), over))
    }

    fn pending(&mut self, id: RequestId, at: Timestamp) -> Result<&mut Request, Wrong> {
        let not_pending = || format!("request {id} is decided, which was not pending");
        let held = self.request(id, |_| not_pending())?;
        if held.recorded != Recorded::Pending {
            Err(not_pending())
        } else if held.lapses_at <= at {
            Err(format!("request {id} is decided after it lapsed"))
        } else {
            Ok(held)
        }
    }

    fn live(&mut self, id: RequestId) -> Result<&mut Grant, Wrong> {
        let none = || format!("there is no grant {id}");
        let ended = || format!("grant {id} had ended before");
        let held = self.request(id, |granted| if granted { ended() } else { none() })?;
        let grant = held.grant.as_mut().ok_or_else(none)?;
        if grant.ended.is_some() { Err(ended()) } else { Ok(grant) }
    }
}

/// Whether no later entry of an honest log changes this request, its decisions or its grant.
fn is_final(request: &Request) -> bool {
    let ended = request.grant.as_ref().is_none_or(|grant| grant.ended.is_some());
    let owed = request.grant.is_some() && request.owes_review();
    request.recorded != Recorded::Pending && ended && !owed
}

fn no_request(id: RequestId) -> Wrong {
    format!("there is no request {id}")
}

fn granted_without_approval(id: RequestId) -> Wrong {
    format!("request {id} is granted without an approval")
}

fn granted_not_pending(id: RequestId) -> Wrong {
    format!("request {id} is granted, which was not pending")
}

/// The time that was accepted, if that is why something ended.
fn accepted_time(because: &Because) -> Option<Timestamp> {
    match because {
        Because::ClockAccepted(time) => Some(*time),
        Because::Asked
        | Because::MemberGone
        | Because::FilerGone
        | Because::Gone(_)
        | Because::Fell(_)
        | Because::NoLongerGiven(_) => None,
    }
}

/// The person who ends it is the actor. Root, who need not be a member, does so only where a clock was accepted (that ends what was made
/// while the clock was ahead, and what goes on from it) and where root replaced the owner.
fn ends_rightly(
    by: Option<&Name>,
    actor: Option<&Name>,
    because: &Because,
    (ahead, owner_replaced): (bool, bool),
    at: Timestamp,
) -> Result<(), &'static str> {
    let follows = owner_replaced && matches!(because, Because::MemberGone | Because::NoLongerGiven(_));
    match accepted_time(because) {
        _ if by != actor => Err("by another than it says"),
        None if by.is_none() && !follows && !matches!(because, Because::Fell(_)) => Err("by nobody"),
        None => Ok(()),
        Some(accepted) if accepted >= at => Err("for a clock that was not ahead"),
        Some(_) if !ahead => Err("for a clock, and was made before the time that was accepted"),
        Some(_) => Ok(()),
    }
}

/// `login`: the Unix user of whoever decides. None: they are no member, which is a fault by itself.
fn by_another(request: &Request, by: &Name, login: Option<Login>, actor: Option<&Name>) -> Result<(), Wrong> {
    let is_own = |login: &Login| request.may_be_requested_by(by, login) || request.may_be_filed_by(by, login);
    if actor != Some(by) {
        Err(format!("the decision on request {} is not that of the member who acts", request.id))
    } else if login.as_ref().is_some_and(is_own) {
        Err(format!("{by} decides on request {}, which is their own", request.id))
    } else {
        Ok(())
    }
}

/// Each approval is of a member who is still the person who gave it. Members have different Unix users, so no two of them
/// are of one person. `since`: the entry that brought each.
fn given_by_members(request: &Request, granted: &Granted, since: &[Option<i64>]) -> Result<(), Wrong> {
    for (name, since) in granted.approved_by.iter().zip(since) {
        let gave = |decision: &&Decision| decision.by == *name && decision.verdict == Verdict::Approve;
        let given = request.decisions.iter().rfind(gave).map_or(0, |decision| decision.seq);
        if since.is_none_or(|since| given < since) {
            return Err(format!(
                "the grant of request {} counts an approval of {name}, who is no member any more",
                request.id
            ));
        }
    }
    Ok(())
}

/// An edit is by the requester or who filed it, starts from what the request says, changes something else than the
/// resource, and voids all approvals.
fn edited_rightly(
    request: &Request,
    by: &Name,
    actor: Option<&Name>,
    from: &Said,
    to: &Said,
    voids: &[Name],
) -> Result<(), Wrong> {
    let id = request.id;
    let counted: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
    if actor != Some(by) {
        Err(format!("the edit of request {id} is not that of the member who acts"))
    } else if request.requester != *by && request.filed_by != *by {
        Err(format!("{by} edits request {id}, which is not their own"))
    } else if *from != request.said() {
        Err(format!("it misstates what request {id} said before"))
    } else if to == from {
        Err(format!("it edits request {id} and changes nothing"))
    } else if to.asked.resource != from.asked.resource {
        Err(format!("it changes what request {id} is for"))
    } else if request.extends.is_some() && to.asked.start != from.asked.start {
        Err(format!("it changes the start of request {id}, which is an extension"))
    } else if counted != voids.iter().collect() || counted.len() != voids.len() {
        Err(format!("it voids other approvals of request {id} than there are"))
    } else {
        Ok(())
    }
}

/// A grant is of a pending request, to its requester, on terms that others approved; or that a rule gives by itself.
/// `rule`: the one that it names, as the team had it then.
fn granted_rightly(request: &Request, granted: &Granted, rule: Option<&Rule>) -> Result<(), Wrong> {
    let id = request.id;
    let terms = granted.terms();
    let approvals: Vec<&Decision> =
        request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve && decision.counts).collect();
    let names: BTreeSet<&Name> = granted.approved_by.iter().collect();
    let approved = |name: &Name| approvals.iter().any(|decision| decision.by == *name);
    let on_these = approvals.iter().all(|decision| *request.decided_terms(decision) == terms);
    let given_by_rule = rule.is_some_and(|rule| rule.auto_approve || rule.emergency && request.emergency);
    if granted.by_rule.is_none() && (names.is_empty() || approvals.is_empty()) {
        Err(granted_without_approval(id))
    } else if request.recorded != Recorded::Pending {
        Err(granted_not_pending(id))
    } else if granted.by_rule.is_some() && !given_by_rule {
        Err(format!("request {id} is granted by a rule that does not give it"))
    } else if names.len() != approvals.len()
        || names.len() != granted.approved_by.len()
        || !names.into_iter().all(approved)
    {
        Err(format!("the grant of request {id} names other approvers than approved it"))
    } else if !on_these || granted.modified != (terms != request.asked) || given_by_rule && granted.modified {
        Err(format!("request {id} is granted on other terms than were approved"))
    } else if granted.member != request.requester {
        Err(format!("request {id} is granted to {}, who did not ask", granted.member))
    } else {
        Ok(())
    }
}
