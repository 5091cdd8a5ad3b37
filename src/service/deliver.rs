//! `deliver`: works the outbox off. What is due is settled by what people prefer, handed to the world outside, and marked
//! by what came of it, each step in a short transaction of its own: nothing is sent while one is open, and nobody waits.
//!
//! One process sends at a time (the kernel keeps that, and ends it with the process), so nothing is sent by two at once.
//! What is sent and not yet marked when a process dies is sent again by the next, with the same id.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::compose::compose;
use super::policy_context::PolicyContext;
use super::{Call, Callers, Rows, Service, expire, sees};
use crate::domain::contact::Timezone;
use crate::domain::grant::State;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::{Channel, NotificationKind, Recipient};
use crate::domain::outbox::{Address, LAST_ATTEMPT, News, Outcome, Outlet, Parcel, Queued, Route, retry_after};
use crate::domain::preference::{How, Policy};
use crate::domain::request::Request;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{DeliverView, Progress};
use crate::store::{Error, Read};

/// The world outside, as far as notifications go there. It knows the time that passes; the ledger does not.
pub trait Post {
    fn service(&self, outlet: &Outlet) -> Availability;
    /// What is wrong with the ways that are broken.
    fn broken(&self) -> Vec<Failure>;
    fn hooks(&self) -> Vec<Hook>;
    /// How far, in seconds, the clocks of a time zone are ahead of UTC at a moment.
    fn offset(&self, zone: &Timezone, moment: i64) -> i64;
    /// A time as the clocks of a zone show it, with the zone; None: in UTC.
    fn write_time(&self, zone: Option<&Timezone>, time: Timestamp) -> String;
    /// Takes a parcel over, to be sent as soon as its way is free.
    fn hand(&mut self, ticket: u64, parcel: Parcel);
    /// Waits for what came of parcels. None: the deadline has passed.
    fn outcomes(&mut self) -> Vec<(u64, Outcome)>;
    /// Whether the deadline has passed.
    fn is_over(&self) -> bool;
    fn close(&mut self);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Open,
    /// There, but not as it should be: a secret can't be read, say.
    Broken,
    None,
}

/// A webhook, and what it is told of.
#[derive(Debug, Clone)]
pub struct Hook {
    pub name: Name,
    pub events: BTreeSet<News>,
}

/// Opens the ways out.
pub type OpenPost<'p> = &'p dyn Fn() -> Result<Box<dyn Post>, Failure>;

/// Rows that are settled in one transaction.
const PAGE: usize = 500;
/// Messages that are settled and wait for their turn, at most: a few megabytes.
const QUEUED: usize = 10_000;
/// Parcels under way on one route: twice as many as outcomes are handed on together, so that it never waits for us.
const UNDER_WAY: usize = 128;
/// A webhook that does not answer holds up no more than so many entries.
const BACKLOG: u64 = 1000;
/// Pieces of one digest.
const DIGEST: usize = 100;
/// Where there is no way to send it, something that was news is none after a week.
const STALE: i64 = 7 * 24 * 3600;
/// A webhook that is new is told of the last day.
const NEWS: i64 = 24 * 3600;

/// Sends what is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {}

impl Call for Deliver {
    const NAME: &'static str = "Deliver";
    const CALLERS: Callers = Callers::Keepers;
    const SENDS: bool = true;
    type Row = Progress;
    type Reply = Delivered;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Progress>) -> Result<Delivered, Failure> {
        let open = service.outside.post;
        let Sent { view, warnings, broken } = run(service, open, rows)?;
        Ok(Delivered { view, warnings, broken: broken.into_iter().next() })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    pub view: DeliverView,
    pub warnings: Vec<String>,
    /// What is wrong with a way that could not be used. The others were.
    pub broken: Option<Failure>,
}

/// What a run came to.
pub struct Sent {
    pub view: DeliverView,
    pub warnings: Vec<String>,
    /// What is wrong with the ways that could not be used. The others were.
    pub broken: Vec<Failure>,
}

/// Sends what is due, until nothing is or the deadline has passed.
pub fn run(service: &Service<'_>, open: OpenPost<'_>, rows: Rows<'_, Progress>) -> Result<Sent, Failure> {
    let mut post = open()?;
    let mut sent = Sent { view: DeliverView::default(), warnings: Vec::new(), broken: post.broken() };
    drop_stale(service, post.as_ref())?;
    if !anything(service, post.as_ref())? {
        return Ok(sent);
    }
    let Some(_sending) = service.store.begin_sending()? else {
        sent.view.busy = true;
        return Ok(sent);
    };
    let mut run = Run::new(service, post.as_mut());
    let done = run.all(rows);
    sent.view = run.tally;
    post.close();
    done?;
    if sent.view.dead > 0 {
        let dead = sent.view.dead;
        sent.warnings.push(format!("{dead} notifications are given up: `access outbox --dead` says why"));
    }
    Ok(sent)
}

/// The ways to members that are shut: what waits for them is passed over, however much it is.
fn shut(post: &dyn Post) -> Vec<Channel> {
    Channel::ALL.into_iter().filter(|&channel| post.service(&Outlet::Member(channel)) != Availability::Open).collect()
}

/// What nobody can send here, since this machine has no such way, goes when it is news no more.
fn drop_stale(service: &Service<'_>, post: &dyn Post) -> Result<(), Failure> {
    let missing =
        Channel::ALL.into_iter().filter(|&channel| post.service(&Outlet::Member(channel)) == Availability::None);
    let missing: Vec<Channel> = missing.collect();
    let before = |read: &Read<'_>| -> Result<Timestamp, Failure> {
        let week_ago = (service.now(read)?.unix() - STALE).max(0);
        Timestamp::from_unix(week_ago).map_err(|why| Failure::new(Kind::Internal, why.to_string()))
    };
    if missing.is_empty()
        || !service.store.read(|read| Ok::<_, Failure>(read.outbox_has_stale(&missing, before(read)?)?))?
    {
        return Ok(());
    }
    service.store.write(|write| {
        let before = before(write)?;
        missing.iter().try_for_each(|&channel| Ok::<_, Failure>(write.outbox_drop_stale(channel, before)?))
    })
}

/// Whether there is anything to send, or to queue for a channel or webhook.
fn anything(service: &Service<'_>, post: &dyn Post) -> Result<bool, Failure> {
    service.store.read(|read| -> Result<bool, Failure> {
        if !read.outbox_due(service.now(read)?, &shut(post), 0, 1)?.is_empty() {
            return Ok(true);
        }
        let (streams, last) = (read.streams()?, read.last_seq()?.unwrap_or(0));
        let wanted = wanted(&read.policy()?, post);
        Ok(wanted.keys().any(|outlet| streams.get(&outlet.to_string()).is_none_or(|&at| at < last)))
    })
}

/// The Slack channels and webhooks that can be told, and of what.
fn wanted(policy: &Policy, post: &dyn Post) -> BTreeMap<Outlet, BTreeSet<News>> {
    let channels = policy.channels.iter().map(|(channel, notices)| {
        (Outlet::Channel(channel.clone()), notices.iter().copied().map(News::NotificationKind).collect())
    });
    let hooks = post.hooks().into_iter().map(|hook| (Outlet::Webhook(hook.name), hook.events));
    channels.chain(hooks).filter(|(outlet, _)| post.service(outlet) == Availability::Open).collect()
}

/// Rows that go out as one message.
struct Plan {
    rows: Vec<Queued>,
    address: Address,
}

struct Run<'r> {
    service: &'r Service<'r>,
    post: &'r mut dyn Post,
    queues: BTreeMap<Route, VecDeque<Plan>>,
    under_way: HashMap<u64, Plan>,
    /// How many of those are on each route, and the first of them.
    on_route: BTreeMap<Route, VecDeque<u64>>,
    /// Routes that are not tried again in this run.
    closed: BTreeSet<Route>,
    tickets: u64,
    /// The last row that was settled.
    cursor: i64,
    tally: DeliverView,
}

impl<'r> Run<'r> {
    fn new(service: &'r Service<'r>, post: &'r mut dyn Post) -> Run<'r> {
        Run {
            service,
            post,
            queues: BTreeMap::new(),
            under_way: HashMap::new(),
            on_route: BTreeMap::new(),
            closed: BTreeSet::new(),
            tickets: 0,
            cursor: 0,
            tally: DeliverView::default(),
        }
    }

    fn all(&mut self, rows: Rows<'_, Progress>) -> Result<(), Failure> {
        let mut more = true;
        loop {
            // What comes while we send is seen when the rest is done.
            if self.queued() < QUEUED && (more || self.under_way.is_empty()) {
                more = self.fetch()?;
            }
            self.hand_out()?;
            if self.under_way.is_empty() {
                if more && !self.post.is_over() {
                    continue;
                }
                return Ok(());
            }
            let outcomes = self.post.outcomes();
            if outcomes.is_empty() {
                return self.out_of_time();
            }
            self.mark(outcomes)?;
            let waiting = (self.queued() + self.under_way.len()) as u64;
            rows(Progress { done: self.tally.delivered, waiting })?;
        }
    }

    fn queued(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// Settles more of what is due. False: there is no more.
    fn fetch(&mut self) -> Result<bool, Failure> {
        let (service, post, cursor) = (self.service, &*self.post, self.cursor);
        let (plans, last, moved) = service.store.write(|write| -> Result<(Vec<Plan>, Option<i64>, bool), Failure> {
            let now = service.now(write)?;
            let policy = write.policy()?;
            let moved = fan_out(write, post, &policy, now)?;
            let due = write.outbox_due(now, &shut(post), cursor, PAGE)?;
            let last = due.last().map(|row| row.id);
            Ok((settle(write, post, &policy, due, now)?, last, moved))
        })?;
        self.cursor = last.unwrap_or(cursor);
        for plan in plans {
            let route = plan.address.route();
            if !self.closed.contains(&route) {
                self.queues.entry(route).or_default().push_back(plan);
            }
        }
        Ok(last.is_some() || moved)
    }

    fn hand_out(&mut self) -> Result<(), Failure> {
        if self.post.is_over() {
            self.queues.clear();
        }
        let mut unwritten = Vec::new();
        for (route, queue) in &mut self.queues {
            let on_route = self.on_route.entry(route.clone()).or_default();
            while on_route.len() < UNDER_WAY {
                let Some(plan) = queue.pop_front() else { break };
                let Some(plan) = still_true(self.service, plan)? else { continue };
                let parcel = self.service.store.read(|read| -> Result<Parcel, Failure> {
                    let now = self.service.now(read)?;
                    Ok(Parcel {
                        to: plan.address.clone(),
                        content: compose(read, &*self.post, &plan.address, &plan.rows, now)?,
                        now,
                    })
                });
                self.tickets += 1;
                on_route.push_back(self.tickets);
                self.under_way.insert(self.tickets, plan);
                match parcel {
                    Ok(parcel) => self.post.hand(self.tickets, parcel),
                    // One that can't be read must not keep the others from going.
                    Err(failure) => unwritten.push((self.tickets, Outcome::Refused { why: failure.message })),
                }
            }
        }
        if unwritten.is_empty() { Ok(()) } else { self.mark(unwritten) }
    }

    fn mark(&mut self, outcomes: Vec<(u64, Outcome)>) -> Result<(), Failure> {
        let mut marked = Vec::new();
        for (ticket, outcome) in outcomes {
            let Some(plan) = self.under_way.remove(&ticket) else { continue };
            let route = plan.address.route();
            if let Some(on_route) = self.on_route.get_mut(&route) {
                on_route.retain(|&other| other != ticket);
            }
            marked.push((plan, outcome));
        }
        let service = self.service;
        let tally = service.store.write(|write| -> Result<DeliverView, Failure> {
            let now = service.now(write)?;
            let mut tally = DeliverView::default();
            for (plan, outcome) in &marked {
                let rows = &plan.rows;
                match outcome {
                    Outcome::Sent { .. } => {
                        write.outbox_done(&rows.iter().map(|row| row.id).collect::<Vec<_>>())?;
                        tally.delivered += rows.len() as u64;
                    }
                    Outcome::Failed { why, route_failed } => {
                        for row in rows {
                            let mut next = retry_after(row.attempts + 1, row.id);
                            if *route_failed && now.since(row.at) < STALE {
                                // A server that is down says nothing against the message.
                                next = next.or(retry_after(LAST_ATTEMPT, row.id));
                            }
                            let next = next.map(|wait| now.plus(wait));
                            write.outbox_failed(row.id, why, next)?;
                            tally.failed += 1;
                            tally.dead += u64::from(next.is_none());
                        }
                    }
                    Outcome::Refused { why } => {
                        for row in rows {
                            write.outbox_failed(row.id, why, None)?;
                        }
                        tally.failed += rows.len() as u64;
                        tally.dead += rows.len() as u64;
                    }
                    Outcome::NotNow { seconds, why } => {
                        let day = i64::try_from(*seconds).unwrap_or(i64::MAX).clamp(1, NEWS);
                        let until = Timestamp::from_unix(now.unix() + day).unwrap_or(now);
                        write.outbox_pause(&plan.address.route(), why, until)?;
                        tally.failed += rows.len() as u64;
                    }
                    Outcome::NotTried { .. } => {}
                }
            }
            Ok(tally)
        })?;
        self.tally.delivered += tally.delivered;
        self.tally.failed += tally.failed;
        self.tally.dead += tally.dead;
        for (plan, outcome) in marked {
            // What follows on the route, or to the same address, would not be tried either.
            let route = plan.address.route();
            match outcome {
                Outcome::NotNow { .. } | Outcome::NotTried { route_failed: true } => {
                    self.closed.insert(route.clone());
                }
                Outcome::Failed { .. } | Outcome::NotTried { route_failed: false } => {
                    if let Some(queue) = self.queues.get_mut(&route) {
                        queue.retain(|other| other.address != plan.address);
                    }
                }
                Outcome::Sent { .. } | Outcome::Refused { .. } => {}
            }
            if self.closed.contains(&route) {
                self.queues.remove(&route);
            }
        }
        Ok(())
    }

    /// The deadline has passed: what was being sent counts as an attempt, and what waited behind it does not.
    fn out_of_time(&mut self) -> Result<(), Failure> {
        let heads: Vec<u64> = self.on_route.values().filter_map(|tickets| tickets.front().copied()).collect();
        let why = || "no answer before the end of the run".to_owned();
        self.mark(
            heads.into_iter().map(|ticket| (ticket, Outcome::Failed { why: why(), route_failed: false })).collect(),
        )
    }
}

/// A plan without what has become untrue while it waited for its turn, which may be a minute. None: nothing is left.
fn still_true(service: &Service<'_>, plan: Plan) -> Result<Option<Plan>, Failure> {
    let all_true = service.store.read(|read| -> Result<bool, Failure> {
        let now = service.now(read)?;
        let mut truth = Truth::default();
        for row in &plan.rows {
            if !truth.holds(read, row, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    if all_true {
        return Ok(Some(plan));
    }
    let Plan { rows, address } = plan;
    let rows = service.store.write(|write| -> Result<Vec<Queued>, Failure> {
        let now = service.now(write)?;
        Ok(drop_untrue(write, rows, now)?)
    })?;
    Ok((!rows.is_empty()).then_some(Plan { rows, address }))
}

/// Queues, for each channel and webhook, entries that it has not been given yet. Whether there were any.
fn fan_out(write: &crate::store::Write<'_>, post: &dyn Post, policy: &Policy, now: Timestamp) -> Result<bool, Failure> {
    let wanted = wanted(policy, post);
    if wanted.is_empty() {
        return Ok(false);
    }
    let mut streams = write.streams()?;
    let before = streams.clone();
    let last = write.last_seq()?.unwrap_or(0);
    for (outlet, events) in wanted {
        let at = match streams.get(&outlet.to_string()) {
            Some(&at) => at,
            // Whoever takes the log takes all of it.
            None if events.contains(&News::Audit) => 0,
            None => {
                let day_ago = Timestamp::from_unix((now.unix() - NEWS).max(0)).unwrap_or(now);
                write.last_seq_before(day_ago)?
            }
        };
        let mut at = at;
        if at < last && write.outbox_waiting_for(&outlet)? < BACKLOG {
            for (entry, _) in write.entries_after(at)?.rows {
                at = entry.seq;
                let told: BTreeSet<News> =
                    entry.told.iter().map(|Recipient(_, notice)| News::NotificationKind(*notice)).collect();
                for &news in events.iter().filter(|news| **news == News::Audit || told.contains(news)) {
                    write.outbox_add(&outlet, &entry, news, now)?;
                }
            }
        }
        streams.insert(outlet.to_string(), at);
    }
    let moved = streams != before;
    if moved {
        write.set_streams(&streams)?;
    }
    Ok(moved)
}

/// What becomes of rows that are due: messages to be sent, with digests put together. What nobody wants is dropped, and
/// what is to wait is put off.
fn settle(
    write: &crate::store::Write<'_>,
    post: &dyn Post,
    policy: &Policy,
    due: Vec<Queued>,
    now: Timestamp,
) -> Result<Vec<Plan>, Error> {
    let due = drop_untrue(write, due, now)?;
    let blocked = write.outbox_blocked(now)?;
    let mut plans: Vec<Plan> = Vec::new();
    // By whom, how, and when it was due: the message of a digest, among the plans.
    let mut digests: HashMap<(Outlet, Name, Timestamp), usize> = HashMap::new();
    let mut dropped = Vec::new();
    for row in due {
        let key = (row.outlet.clone(), row.notification.as_ref().map(|(_, member)| member.clone()));
        match post.service(&row.outlet) {
            Availability::Open if blocked.contains(&key) => continue,
            Availability::Open => {}
            Availability::None if now.since(row.at) > STALE => {
                dropped.push(row.id);
                continue;
            }
            Availability::None | Availability::Broken => continue,
        }
        let (channel, name) = match (&row.outlet, &row.notification) {
            (Outlet::Channel(channel), _) => {
                plans.push(Plan { address: Address::Channel(channel.clone()), rows: vec![row] });
                continue;
            }
            (Outlet::Webhook(name), _) => {
                plans.push(Plan { address: Address::Webhook(name.clone()), rows: vec![row] });
                continue;
            }
            (Outlet::Member(channel), Some((_, name))) => (*channel, name.clone()),
            (Outlet::Member(_), None) => {
                dropped.push(row.id);
                continue;
            }
        };
        let Some((member, address)) = reachable(write, &name, row.seq, channel)? else {
            dropped.push(row.id);
            continue;
        };
        let News::NotificationKind(notice) = row.news else { continue };
        match policy.plan(&write.preference(&name)?, notice, channel).how {
            How::Off => dropped.push(row.id),
            How::AtOnce => plans.push(Plan { address, rows: vec![row] }),
            How::Together(digest) => {
                let zone = member.timezone.as_ref().or(policy.timezone.as_ref());
                let offset = |moment| zone.map_or(0, |zone| post.offset(zone, moment));
                // An entry of the future is from before a clock that was ahead was set right.
                let due = if row.at > now { now } else { digest.due(row.at, &offset) };
                if due > now {
                    write.outbox_put_off(row.id, due)?;
                    continue;
                }
                let place = digests.entry((row.outlet.clone(), name, due)).or_insert(plans.len());
                match plans.get_mut(*place) {
                    Some(plan) if plan.rows.len() < DIGEST => plan.rows.push(row),
                    Some(_) | None => {
                        *place = plans.len();
                        plans.push(Plan { address, rows: vec![row] });
                    }
                }
            }
        }
    }
    write.outbox_done(&dropped)?;
    Ok(plans)
}

/// Drops what is no longer true when it would be sent to people, and that something was withdrawn or decided, to whom it was
/// never sent. It stays in their inbox, and webhooks are told all of it.
fn drop_untrue(write: &crate::store::Write<'_>, due: Vec<Queued>, now: Timestamp) -> Result<Vec<Queued>, Error> {
    let mut truth = Truth::default();
    let mut untrue: BTreeSet<i64> = BTreeSet::new();
    let mut closed = false;
    for row in &due {
        closed |= matches!(
            row.news,
            News::NotificationKind(NotificationKind::RequestWithdrawn | NotificationKind::RequestDecided)
        );
        if !truth.holds(write, row, now)? {
            untrue.insert(row.id);
        }
    }
    // Found while what was never sent still waits, and dropped together with it: after that nobody could tell.
    if closed || !untrue.is_empty() {
        untrue.extend(write.outbox_unheard()?);
    }
    write.outbox_done(&untrue.iter().copied().collect::<Vec<_>>())?;
    Ok(due.into_iter().filter(|row| !untrue.contains(&row.id)).collect())
}

/// Whether what is queued is still true, with what was loaded to find that out.
#[derive(Default)]
struct Truth {
    policy: PolicyContext,
    requests: HashMap<RequestId, Option<Request>>,
}

impl Truth {
    /// A request waits for a member's decision while it is pending, they have not approved it, and they may still see it. Access
    /// is about to end while it lives and does not go on.
    fn holds(&mut self, read: &Read<'_>, row: &Queued, now: Timestamp) -> Result<bool, Error> {
        let (News::NotificationKind(notice), Some(id)) = (row.news, row.request) else { return Ok(true) };
        let is_expiring = notice == NotificationKind::AccessExpiring;
        if matches!(row.outlet, Outlet::Webhook(_)) || !is_expiring && !notice.asks_for_a_decision() {
            return Ok(true);
        }
        let request = match self.requests.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read.request(id)?),
        };
        let Some(request) = request else { return Ok(false) };
        if is_expiring {
            let Some(grant) = request.grant.as_ref().filter(|grant| grant.is_live(now)) else { return Ok(false) };
            return Ok(!expire::goes_on(read, &self.policy, grant, grant.ends_at.unwrap_or(now))?);
        }
        if request.state(now) != State::Pending {
            return Ok(false);
        }
        let Some((_, member)) = &row.notification else { return Ok(true) };
        if request.approvals().any(|decision| decision.by == *member) {
            return Ok(false);
        }
        match self.policy.person(read, member)? {
            Some(person) => sees(read, &self.policy, &person, request, now),
            None => Ok(false),
        }
    }
}

/// A member and their address on a channel: if they are still there, and were when the entry told them.
fn reachable(read: &Read<'_>, name: &Name, seq: i64, channel: Channel) -> Result<Option<(Member, Address)>, Error> {
    let Some((member, since)) = read.member(name)? else { return Ok(None) };
    if member.disabled || seq < since {
        return Ok(None);
    }
    let address = address(&member, channel);
    Ok(address.map(|address| (member, address)))
}

pub fn address(member: &Member, channel: Channel) -> Option<Address> {
    match channel {
        Channel::Email => member.email.clone().map(Address::Email),
        Channel::Slack => member.slack.clone().map(Address::Slack),
    }
}
