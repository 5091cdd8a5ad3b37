//! Folds the audit log in memory and says where it contradicts itself.
//!
//! It never judges by today's rules (a log stays valid when the rules change), only by what no rules could allow: a
//! grant without an approval by another person, an end that is not the one granted, a decision on what was decided.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Entry, Event, FORMAT, Granted, MetDemand};
use super::judge::{RoleBasis, default_role};
use super::name::Name;
use super::notification::Told;
use super::preference::Preference;
use super::request::{Decision, Ended, EndedHow, Grant, Recorded, Request, RequestId, Review, Verdict};
use super::resource::Resource;
use super::role::Role;
use super::rule::Rule;
use super::team::{Assignee, Change, Diff, Member, Team};
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
    /// The requests whose grants of roles have not ended on the record.
    role_grants: BTreeSet<RequestId>,
    /// The entries that filed the emergencies.
    emergencies: BTreeMap<RequestId, i64>,
    /// The format of the entry that is being taken in.
    format: u32,
    last: Option<Timestamp>,
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
        self.last = Some(entry.at);
        self.format = entry.v;
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
            Event::TeamApplied { changes } => {
                let fault = self.not_theirs_to_change(actor, &changes);
                self.change_team(seq, changes)?;
                fault.map_or(Ok(()), Err)
            }
            Event::RequestSubmitted {
                request,
                requester,
                filed_by,
                asked,
                reason,
                ticket,
                lapses_at,
                remind_at,
                extends,
                emergency,
            } => {
                let expected = self.requests.last().map_or(RequestId::FIRST, |last| last.id.next());
                if request < expected {
                    return Err(format!("it files request {request} a second time"));
                }
                let unknown = [&requester, &filed_by].into_iter().find(|name| !self.since.contains_key(*name)).cloned();
                let filer_acts = actor == Some(&filed_by);
                if emergency {
                    self.emergencies.insert(request, seq);
                }
                let extends_theirs = extends.is_none_or(|before| {
                    self.request(before).is_ok_and(|before| before.requester == requester && before.grant.is_some())
                });
                self.requests.push(Request {
                    id: request,
                    requester,
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
                });
                match unknown {
                    _ if request != expected => Err(format!("it files request {request}, where {expected} comes next")),
                    Some(name) => Err(format!("it names {name}, who is no member")),
                    None if !filer_acts => Err(format!("request {request} was not filed by the member who acts")),
                    None if !extends_theirs => Err(format!("request {request} goes on from no grant of its requester")),
                    None => Ok(()),
                }
            }
            Event::RequestApproved { request, by, terms, asked, note, voids } => {
                let held = self.pending(request, at)?;
                let put = asked.is_some().then(|| terms.clone());
                let fault = by_another(held, &by, actor).err();
                let same_asked =
                    asked.is_none_or(|asked| asked == held.asked) && (put.is_some() || terms == held.asked);
                let kept = |decision: &&mut Decision| decision.verdict == Verdict::Approve && decision.counts;
                let mut kept: Vec<&mut Decision> = held.decisions.iter_mut().filter(kept).collect();
                let voids_none = voids.iter().any(|name| kept.iter().all(|decision| decision.by != *name));
                for decision in kept.iter_mut().filter(|decision| voids.contains(&decision.by)) {
                    decision.counts = false;
                }
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
                let held = self.pending(request, at)?;
                let fault = by_another(held, &by, actor).err();
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
            Event::RequestReminded { request } => {
                let held = self.pending(request, at)?;
                match held.remind_at.take() {
                    Some(due) if due <= at => Ok(()),
                    Some(_) | None => Err(format!("it reminds of request {request}, which was not due")),
                }
            }
            Event::RequestReviewed { request, by, note } => {
                let fault = self.not_theirs_to_review(request, &by);
                let held = self.request(request)?;
                let fault = by_another(held, &by, actor).err().or(fault);
                let owed = held.owes_review() && held.grant.is_some();
                held.review = Some(Review { by, note, at });
                match fault {
                    Some(fault) => Err(fault),
                    None if !owed => Err(format!("it reviews request {request}, which owes no review")),
                    None => Ok(()),
                }
            }
            Event::GrantScheduled(granted) if granted.starts_at <= at => {
                Err(format!("the grant of request {} is scheduled for a time that had come", granted.request))
            }
            Event::GrantScheduled(granted) => self.grant(granted, at),
            Event::GrantStarted(granted) => {
                let before = self.request(granted.request)?.grant.as_ref().map(|grant| grant.begun);
                match before {
                    None => self.grant(granted, at),
                    Some(false) => self.begin(&granted, at),
                    Some(true) => Err(format!("request {} is granted a second time", granted.request)),
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
            Event::GrantRevoked { request, resource, by, .. } => {
                let grant = self.live(request)?;
                let over = grant.ends_at.is_some_and(|end| end <= at);
                let same = grant.terms.resource == resource;
                let acts = actor == Some(&by);
                grant.ended = Some(Ended { at, how: EndedHow::Revoked { by } });
                self.role_grants.remove(&request);
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

    /// Access is granted: at once, or from a later time on.
    fn grant(&mut self, granted: Granted, at: Timestamp) -> Result<(), Wrong> {
        let id = granted.request;
        let unmet = self.demands_unmet(&granted, at);
        let rules = self.team.as_ref().map_or(&[] as &[Rule], |team| &team.rules);
        let rule = granted.by_rule.as_ref().and_then(|name| rules.iter().find(|rule| rule.name == *name)).cloned();
        let held = self.request(id)?;
        let terms = granted.terms();
        let fault = granted_rightly(held, &granted, rule.as_ref()).err().or(unmet);
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
        let request = self.place(id).and_then(|at| self.requests.get(at))?;
        if granted.demands.is_empty() {
            return Some(format!("request {id} is granted without a demand that it met"));
        }
        let terms = granted.terms();
        let basis = RoleBasis::of(request, &terms);
        let of_features = [&request.asked.resource, &terms.resource].into_iter().filter_map(|it| team.thing(it));
        let default = of_features.map(|thing| default_role(&thing)).max().unwrap_or(Role::Admin);
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
        let grants = self.role_grants.iter().filter_map(|id| self.requests.get(self.place(*id)?)?.grant.as_ref());
        let granted = grants.filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) if grant.member == *name && grant.is_live(at) => Some(role),
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

    /// Who reviews an emergency is fixed when it is taken, as long as one of them can act.
    fn not_theirs_to_review(&self, id: RequestId, by: &Name) -> Option<Wrong> {
        let request = self.requests.get(self.place(id)?)?;
        let reviewers = request.grant.as_ref()?.reviewers.as_ref()?;
        let members = &self.team.as_ref()?.members;
        let filed_in = *self.emergencies.get(&id)?;
        let same_person = |name: &Name| self.since.get(name).is_some_and(|since| *since < filed_in);
        let is_able = |name: &&Name| same_person(name) && members.get(*name).is_some_and(|member| !member.disabled);
        let able: Vec<&Name> = reviewers.iter().filter(is_able).collect();
        let is_anothers = !able.is_empty() && !able.contains(&by);
        is_anothers.then(|| format!("{by} reviews request {id}, which is for others to review"))
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

    /// Only the owner changes the team; and root, who is no member, who is the owner.
    fn not_theirs_to_change(&self, actor: Option<&Name>, changes: &[Change]) -> Option<Wrong> {
        let owner = self.team.as_ref().and_then(Team::owner).map(|(name, _)| name);
        let only_role = |change: &Change| {
            let Change::Member(_, Diff::Change { from, to }) = change else { return false };
            Member { role: from.role, ..to.clone() } == *from
        };
        match actor {
            Some(name) if Some(name) == owner => None,
            Some(name) => Some(format!("{name} changes the team, who is not its owner")),
            None if changes.len() == 2 && changes.iter().all(only_role) => None,
            None => Some("the team was changed by nobody".to_owned()),
        }
    }

    fn change_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Wrong> {
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

    /// Where a request is. In an honest log the number gives the place.
    fn place(&self, id: RequestId) -> Option<usize> {
        let likely =
            usize::try_from(id.get() - 1).ok().filter(|&at| self.requests.get(at).is_some_and(|it| it.id == id));
        likely.or_else(|| self.requests.binary_search_by_key(&id, |request| request.id).ok())
    }

    fn request(&mut self, id: RequestId) -> Result<&mut Request, Wrong> {
        let found = self.place(id);
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
        Err(format!("request {id} is granted without an approval"))
    } else if request.recorded != Recorded::Pending {
        Err(format!("request {id} is granted, which was not pending"))
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
