//! Folds the audit log in memory and says where it contradicts itself.
//!
//! It never judges by today's rules (a log stays valid when the rules change), only by what no rules could allow: a
//! grant without an approval by another person, an end that is not the one granted, a decision on what was decided.

use std::collections::BTreeMap;

use super::event::{Entry, Event, FORMAT};
use super::name::Name;
use super::notification::Told;
use super::preference::Preference;
use super::request::{Decision, Ended, EndedHow, Grant, Recorded, Request, RequestId, Terms, Verdict};
use super::team::{Change, Team};
use super::time::Timestamp;

/// What the entries so far amount to.
#[derive(Debug, Default)]
pub struct Model {
    /// None before the first entry.
    pub team: Option<Team>,
    /// The entry that brought each member (back).
    pub since: BTreeMap<Name, i64>,
    /// In the order of their numbers.
    pub requests: Vec<Request>,
    /// By the notification's number: which entry it tells of, and whom.
    pub notifications: Vec<(i64, (i64, Told))>,
    /// What each member prefers, who has said anything.
    pub preferences: BTreeMap<Name, Preference>,
    last: Option<Timestamp>,
}

/// Something that no honest log has.
type Wrong = String;

impl Model {
    /// Takes the next entry in. What is wrong with it is told, and the fold goes on as well as it can.
    pub fn take(&mut self, entry: Entry) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if entry.v != FORMAT {
            wrong.push(format!("it is of format {}, which this program does not know", entry.v));
        }
        self.check_time(&entry, &mut wrong);
        self.check_actor(&entry, &mut wrong);
        self.last = Some(entry.at);
        let (seq, at) = (entry.seq, entry.at);
        if let Err(why) = self.fold(seq, at, entry.actor.as_ref(), entry.event) {
            wrong.push(why);
        }
        let next = self.notifications.last().map_or(1, |(id, _)| id + 1);
        let first = entry.told_from.unwrap_or(next);
        if first != next {
            wrong.push(format!("its first notification is {first}, where {next} comes next"));
        }
        for (id, told) in (first..).zip(entry.told) {
            if !self.since.contains_key(&told.0) {
                wrong.push(format!("it tells {}, who is no member", told.0));
            }
            self.notifications.push((id, (seq, told)));
        }
        wrong
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
        match team.members.get(actor) {
            Some(member) if member.disabled => wrong.push(format!("{actor} acts, who is disabled")),
            Some(_) => {}
            // A team file may take out the member who applies it, and what follows is theirs still.
            None if entry.event.follows_team() => {}
            None => wrong.push(format!("{actor} acts, who is no member")),
        }
    }

    fn fold(&mut self, seq: i64, at: Timestamp, actor: Option<&Name>, event: Event) -> Result<(), Wrong> {
        match event {
            Event::TeamInitialized { changes } => {
                if self.team.is_some() {
                    return Err("the team is set up a second time".to_owned());
                }
                self.change_team(seq, changes)
            }
            Event::TeamApplied { changes } => self.change_team(seq, changes),
            Event::RequestSubmitted { request, requester, filed_by, asked, reason, ticket, lapses_at } => {
                let expected = self.requests.last().map_or(RequestId::FIRST, |last| last.id.next());
                if request < expected {
                    return Err(format!("it files request {request} a second time"));
                }
                let unknown = [&requester, &filed_by].into_iter().find(|name| !self.since.contains_key(*name)).cloned();
                let filer_acts = actor == Some(&filed_by);
                self.requests.push(Request {
                    id: request,
                    requester,
                    filed_by,
                    asked,
                    reason,
                    ticket,
                    submitted_at: at,
                    lapses_at,
                    recorded: Recorded::Pending,
                    decisions: Vec::new(),
                    grant: None,
                });
                match unknown {
                    _ if request != expected => Err(format!("it files request {request}, where {expected} comes next")),
                    Some(name) => Err(format!("it names {name}, who is no member")),
                    None if !filer_acts => Err(format!("request {request} was not filed by the member who acts")),
                    None => Ok(()),
                }
            }
            Event::RequestApproved { request, by, terms, asked, note } => {
                let held = self.pending(request, at)?;
                let put = asked.is_some().then(|| terms.clone());
                let fault = by_another(held, &by, actor).err();
                let same_asked =
                    asked.is_none_or(|asked| asked == held.asked) && (put.is_some() || terms == held.asked);
                held.decisions.push(Decision { seq, by, at, verdict: Verdict::Approve, note, terms: put });
                held.recorded = Recorded::Approved;
                match fault {
                    Some(fault) => Err(fault),
                    None if !same_asked => Err(format!("it misstates what request {request} asked for")),
                    None => Ok(()),
                }
            }
            Event::RequestDenied { request, by, reason } => {
                let held = self.pending(request, at)?;
                let fault = by_another(held, &by, actor).err();
                held.decisions.push(Decision { seq, by, at, verdict: Verdict::Deny, note: reason, terms: None });
                held.recorded = Recorded::Denied;
                fault.map_or(Ok(()), Err)
            }
            Event::RequestWithdrawn { request, .. } => {
                self.pending(request, at)?.recorded = Recorded::Withdrawn;
                Ok(())
            }
            Event::RequestLapsed { request, lapsed_at } => {
                let held = self.request(request)?;
                if held.recorded != Recorded::Pending {
                    return Err(format!("request {request} lapses, which is not pending"));
                }
                held.recorded = Recorded::Lapsed;
                if lapsed_at != held.lapses_at || lapsed_at > at {
                    return Err(format!("request {request} lapses at {lapsed_at}, and should at {}", held.lapses_at));
                }
                Ok(())
            }
            Event::GrantStarted { request, member, resource, end, starts_at, ends_at, modified, approved_by } => {
                let held = self.request(request)?;
                let terms = Terms { resource, end };
                let fault = granted_rightly(held, &member, &terms, modified, &approved_by);
                let already = held.grant.is_some();
                let grant = Grant { request, member, terms, modified, starts_at, ends_at, warned: false, ended: None };
                let ends_rightly = grant.terms.end.instant(starts_at) == ends_at && starts_at == at;
                if !already {
                    held.grant = Some(grant);
                }
                match fault {
                    Err(fault) => Err(fault),
                    Ok(()) if already => Err(format!("request {request} is granted a second time")),
                    Ok(()) if !ends_rightly => Err(format!("the grant of request {request} does not end as granted")),
                    Ok(()) => Ok(()),
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
                if grant.ends_at != Some(ended_at) || ended_at > at || grant.terms.resource != resource {
                    return Err(format!("grant {request} expires otherwise than it was granted"));
                }
                Ok(())
            }
            Event::GrantRevoked { request, resource, by, .. } => {
                let grant = self.live(request)?;
                let over = grant.ends_at.is_some_and(|end| end <= at);
                let same = grant.terms.resource == resource;
                let acts = actor == Some(&by);
                grant.ended = Some(Ended { at, how: EndedHow::Revoked { by } });
                if over {
                    Err(format!("grant {request} is revoked after it had ended"))
                } else if !same || !acts {
                    Err(format!("grant {request} is revoked by or for another than it says"))
                } else {
                    Ok(())
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

    fn change_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Wrong> {
        let mut fault = None;
        for change in &changes {
            if let Change::Member(name, diff) = change {
                match diff.after() {
                    None => {
                        self.since.remove(name);
                        self.preferences.remove(name);
                    }
                    Some(_) => drop(self.since.entry(name.clone()).or_insert(seq)),
                }
            }
            fault = Team::take(&mut self.team, change).err().or(fault);
        }
        let owners = self
            .team
            .iter()
            .flat_map(|team| team.members.values())
            .filter(|member| member.role == super::role::Role::Owner);
        match (fault, owners.count()) {
            (Some(fault), _) => Err(fault),
            (None, 1) => Ok(()),
            (None, owners) => Err(format!("it leaves the team with {owners} owners")),
        }
    }

    fn request(&mut self, id: RequestId) -> Result<&mut Request, Wrong> {
        // In an honest log the number gives the place.
        let likely =
            usize::try_from(id.get() - 1).ok().filter(|&at| self.requests.get(at).is_some_and(|it| it.id == id));
        let found = likely.or_else(|| self.requests.binary_search_by_key(&id, |request| request.id).ok());
        found.and_then(|at| self.requests.get_mut(at)).ok_or_else(|| format!("there is no request {id}"))
    }

    fn pending(&mut self, id: RequestId, at: Timestamp) -> Result<&mut Request, Wrong> {
        let held = self.request(id)?;
        if held.recorded != Recorded::Pending {
            Err(format!("request {id} is decided, which was not pending"))
        } else if held.lapses_at <= at {
            Err(format!("request {id} is decided after it lapsed"))
        } else {
            Ok(held)
        }
    }

    fn live(&mut self, id: RequestId) -> Result<&mut Grant, Wrong> {
        let none = || format!("there is no grant {id}");
        let grant = self.request(id)?.grant.as_mut().ok_or_else(none)?;
        if grant.ended.is_some() { Err(format!("grant {id} had ended before")) } else { Ok(grant) }
    }
}

fn by_another(request: &Request, by: &Name, actor: Option<&Name>) -> Result<(), Wrong> {
    if actor != Some(by) {
        Err(format!("the decision on request {} is not that of the member who acts", request.id))
    } else if request.belongs_to(by) {
        Err(format!("{by} decides on request {}, which is their own", request.id))
    } else {
        Ok(())
    }
}

/// A grant is of an approved request, to its requester, on terms that others approved.
fn granted_rightly(
    request: &Request,
    member: &Name,
    terms: &Terms,
    modified: bool,
    approved_by: &[Name],
) -> Result<(), Wrong> {
    let id = request.id;
    let approvals: Vec<&Decision> =
        request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve).collect();
    let approved: Vec<&Name> = approvals.iter().map(|decision| &decision.by).collect();
    let on_these = approvals.iter().all(|decision| decision.terms.as_ref().unwrap_or(&request.asked) == terms);
    if request.recorded != Recorded::Approved || approvals.is_empty() {
        Err(format!("request {id} is granted without an approval"))
    } else if approved != approved_by.iter().collect::<Vec<_>>() {
        Err(format!("the grant of request {id} names other approvers than approved it"))
    } else if !on_these || modified != (*terms != request.asked) {
        Err(format!("request {id} is granted on other terms than were approved"))
    } else if *member != request.requester {
        Err(format!("request {id} is granted to {member}, who did not ask"))
    } else {
        Ok(())
    }
}
