//! One run of `deliver`: sends what is due until nothing is, or until the deadline.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::Feed;
use super::compose::compose;
use super::follow::{follow, is_behind};
use super::relevance::{Relevance, drop_irrelevant};
use super::settle::{Batch, STALE, Settling};
use super::turn::SendingTurn;
use super::zones::Zones;
use crate::deliver::{Availability, Outcome, Transports};
use crate::domain::channel::{Address, Channel, Route};
use crate::domain::message::Message;
use crate::domain::subscriber::{Delivery, LAST_ATTEMPT, PATIENCE, Subscriber, retry_after};
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{DeliverView, Progress};
use crate::service::{DeliveryRun, Rows};
use crate::store::{Read, Write};

/// Deliveries that are settled in one transaction.
const PAGE: usize = 500;
/// Batches that wait in memory for their route: a few megabytes.
const QUEUED: usize = 10_000;
/// Messages handed to one route. Twice the outcomes that come back at once, so that the route never waits for us.
const IN_FLIGHT: usize = 128;
/// The longest pause that a receiver can ask for, in seconds: one day.
const LONGEST_PAUSE: i64 = 24 * 3600;

/// Sends what is due.
pub fn deliver(feed: &Feed<'_>, transports: &mut Transports, rows: Rows<'_, Progress>) -> Result<DeliveryRun, Failure> {
    let mut done = DeliveryRun { failures: transports.failures(), ..DeliveryRun::default() };
    // What another host did meanwhile is known only with the turn.
    let is_shared = feed.store.shares_log()?;
    if !is_shared && !is_anything_due(feed, transports)? {
        return Ok(done);
    }
    done.view.busy = true;
    let Some(_lock) = feed.store.begin_sending()? else { return Ok(done) };
    let Some(turn) = SendingTurn::take(feed.store)? else { return Ok(done) };
    done.view.busy = false;
    if is_shared && !is_anything_due(feed, transports)? {
        turn.end()?;
        return Ok(done);
    }
    let mut run = Sending::new(feed, transports, turn);
    let sent = run.all(rows);
    run.transports.close();
    let Sending { total, turn, stopped, .. } = run;
    done.view = total;
    let ended = turn.end();
    sent?;
    stopped.map_or(Ok(()), Err)?;
    ended?;
    if done.view.dead > 0 {
        let dead = quantity(done.view.dead, "notification", "notifications");
        done.warnings.push(format!("gave up on {dead}: `access outbox --dead` shows why"));
    }
    Ok(done)
}

/// The channels that can't be used now. What waits for them is skipped, however much it is.
fn closed_channels(transports: &Transports) -> Vec<Channel> {
    let is_closed = |channel: &Channel| transports.availability(&Subscriber::Members(*channel)) != Availability::Ready;
    Channel::ALL.into_iter().filter(is_closed).collect()
}

/// Deletes old notifications for channels that this machine has no transport for.
fn drop_stale(feed: &Feed<'_>, transports: &Transports) -> Result<(), Failure> {
    let is_missing =
        |channel: &Channel| transports.availability(&Subscriber::Members(*channel)) == Availability::NotConfigured;
    let missing: Vec<Channel> = Channel::ALL.into_iter().filter(is_missing).collect();
    let before = |read: &Read<'_>| -> Result<Timestamp, Failure> {
        let week_ago = (feed.now(read)?.unix() - STALE).max(0);
        Timestamp::from_unix(week_ago).map_err(|why| Failure::new(Kind::Internal, why.to_string()))
    };
    if missing.is_empty()
        || !feed.store.read(|read| Ok::<_, Failure>(read.outbox_has_stale(&missing, before(read)?)?))?
    {
        return Ok(());
    }
    feed.store.write_unrecorded(|write| {
        let before = before(write)?;
        missing.iter().try_for_each(|&channel| Ok::<_, Failure>(write.outbox_drop_stale(channel, before)?))
    })
}

fn is_anything_due(feed: &Feed<'_>, transports: &Transports) -> Result<bool, Failure> {
    drop_stale(feed, transports)?;
    feed.store.read(|read| -> Result<bool, Failure> {
        let due = read.outbox_due(feed.now(read)?, &closed_channels(transports), 0, 1)?;
        Ok(!due.is_empty() || is_behind(read, transports)?)
    })
}

struct Sending<'r> {
    feed: &'r Feed<'r>,
    transports: &'r mut Transports,
    zones: Zones,
    queues: BTreeMap<Route, VecDeque<Batch>>,
    /// What was handed to the transports, by ticket.
    in_flight: HashMap<u64, Batch>,
    /// The tickets on each route, oldest first.
    on_route: BTreeMap<Route, VecDeque<u64>>,
    /// Routes that are not tried again in this run.
    closed: BTreeSet<Route>,
    doubts: Doubts,
    tickets: u64,
    /// The last delivery that was settled.
    cursor: i64,
    total: DeliverView,
    turn: SendingTurn<'r>,
    /// Why nothing more is handed out: the turn is over.
    stopped: Option<Failure>,
}

impl<'r> Sending<'r> {
    fn new(feed: &'r Feed<'r>, transports: &'r mut Transports, turn: SendingTurn<'r>) -> Sending<'r> {
        Sending {
            feed,
            transports,
            zones: Zones::default(),
            queues: BTreeMap::new(),
            in_flight: HashMap::new(),
            on_route: BTreeMap::new(),
            closed: BTreeSet::new(),
            doubts: Doubts::new(),
            tickets: 0,
            cursor: 0,
            total: DeliverView::default(),
            turn,
            stopped: None,
        }
    }

    fn all(&mut self, rows: Rows<'_, Progress>) -> Result<(), Failure> {
        let mut more = true;
        loop {
            let kept = self.turn.keep();
            self.go_on_if(kept);
            // What is queued meanwhile is fetched when the rest is done.
            if self.stopped.is_none() && self.queued() < QUEUED && (more || self.in_flight.is_empty()) {
                more = self.fetch()?;
            }
            self.hand_out()?;
            if self.in_flight.is_empty() {
                if more && self.stopped.is_none() && !self.transports.is_over() {
                    continue;
                }
                return Ok(());
            }
            let Some(outcomes) = self.transports.outcomes(self.turn.patience()) else {
                return self.out_of_time();
            };
            self.mark(outcomes)?;
            let waiting = (self.queued() + self.in_flight.len()) as u64;
            rows(Progress { done: self.total.delivered, waiting })?;
        }
    }

    /// Without the turn, what was handed out is still marked here, in case no other host has sent it when this one has the turn
    /// again.
    fn go_on_if(&mut self, kept: Result<(), Failure>) {
        if let Err(failure) = kept {
            self.stopped.get_or_insert(failure);
            self.queues.clear();
        }
    }

    fn queued(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// Moves the subscribers forward, and settles the next page of what is due. False: there is no more.
    fn fetch(&mut self) -> Result<bool, Failure> {
        let (feed, transports, zones, cursor) = (self.feed, &*self.transports, &self.zones, self.cursor);
        let (batches, last, moved) =
            feed.store.write_unrecorded(|write| -> Result<(Vec<Batch>, Option<i64>, bool), Failure> {
                let now = feed.now(write)?;
                let policy = write.policy()?;
                let moved = follow(write, transports, &policy, now)?;
                let due = write.outbox_due(now, &closed_channels(transports), cursor, PAGE)?;
                let last = due.last().map(|delivery| delivery.id);
                let settling = Settling { write, transports, zones, policy: &policy, now };
                Ok((settling.settle(due)?, last, moved))
            })?;
        self.cursor = last.unwrap_or(cursor);
        for batch in batches {
            let route = batch.address.route();
            if !self.closed.contains(&route) {
                self.queues.entry(route).or_default().push_back(batch);
            }
        }
        Ok(last.is_some() || moved)
    }

    fn hand_out(&mut self) -> Result<(), Failure> {
        if self.transports.is_over() || self.stopped.is_some() {
            self.queues.clear();
        }
        let (feed, zones) = (self.feed, &self.zones);
        let mut unwritten = Vec::new();
        for (route, queue) in &mut self.queues {
            let on_route = self.on_route.entry(route.clone()).or_default();
            while on_route.len() < IN_FLIGHT {
                let Some(batch) = queue.pop_front() else { break };
                let Some(batch) = still_relevant(feed, batch)? else { continue };
                let message = feed
                    .store
                    .read(|read| -> Result<Message, Failure> { compose(read, zones, &batch, feed.now(read)?) });
                self.tickets += 1;
                on_route.push_back(self.tickets);
                self.in_flight.insert(self.tickets, batch);
                match message {
                    Ok(message) => self.transports.send(self.tickets, message),
                    // An entry that can't be read must not hold up the others.
                    Err(failure) => unwritten.push((self.tickets, Outcome::refused(failure.message))),
                }
            }
        }
        if unwritten.is_empty() { Ok(()) } else { self.mark(unwritten) }
    }

    fn mark(&mut self, outcomes: Vec<(u64, Outcome)>) -> Result<(), Failure> {
        let mut marked = Vec::new();
        for (ticket, outcome) in outcomes {
            let Some(batch) = self.in_flight.remove(&ticket) else { continue };
            if let Some(on_route) = self.on_route.get_mut(&batch.address.route()) {
                on_route.retain(|&other| other != ticket);
            }
            marked.push((batch, outcome));
        }
        let (feed, doubts) = (self.feed, &mut self.doubts);
        let tally = feed.store.write_unrecorded(|write| -> Result<DeliverView, Failure> {
            let now = feed.now(write)?;
            let mut tally = DeliverView::default();
            for (batch, outcome) in &marked {
                judge(write, doubts, batch, outcome, now, &mut tally)?;
            }
            Ok(tally)
        })?;
        if self.stopped.is_none() {
            let published = self.turn.publish();
            self.go_on_if(published);
        }
        self.total.delivered += tally.delivered;
        self.total.failed += tally.failed;
        self.total.dead += tally.dead;
        for (batch, outcome) in marked {
            // What follows on the route, or to the same address, would not be tried either.
            let route = batch.address.route();
            match outcome {
                Outcome::NotNow { .. } | Outcome::NotTried { route_failed: true } => {
                    self.closed.insert(route.clone());
                }
                Outcome::Failed { .. } if self.doubts.contains_key(&route) => {}
                Outcome::Divide if self.stopped.is_none() => {
                    let queue = self.queues.entry(route.clone()).or_default();
                    let [first, rest] = batch.halves();
                    queue.push_front(rest);
                    queue.push_front(first);
                }
                Outcome::Failed { .. } | Outcome::NotTried { route_failed: false } => {
                    if let Some(queue) = self.queues.get_mut(&route) {
                        queue.retain(|other| other.address != batch.address);
                    }
                }
                Outcome::Sent { .. } | Outcome::Refused { .. } | Outcome::Divide => {}
            }
            if self.closed.contains(&route) {
                self.queues.remove(&route);
            }
        }
        Ok(())
    }

    /// The deadline has passed. What was being sent counts as an attempt; what waited behind it does not.
    fn out_of_time(&mut self) -> Result<(), Failure> {
        let sending = self.on_route.values().filter_map(|tickets| tickets.front().copied());
        let why = "no answer before the end of the run";
        let outcomes = sending.map(|ticket| (ticket, Outcome::failed(why))).collect();
        self.mark(outcomes)
    }
}

/// What webhooks did not take in this run since a message failed again and again, by route. Either the route fails, and then only
/// that message counts as tried. Or a later one is taken: then these are alone at fault, and hold none back any more.
type Doubts = BTreeMap<Route, Vec<Doubted>>;

struct Doubted {
    batch: Batch,
    /// None: it is marked.
    outcome: Option<Outcome>,
}

/// Marks a batch, unless it depends on those that follow.
fn judge(
    write: &Write<'_>,
    doubts: &mut Doubts,
    batch: &Batch,
    outcome: &Outcome,
    now: Timestamp,
    tally: &mut DeliverView,
) -> Result<(), Failure> {
    let doubted = |outcome| Doubted { batch: batch.clone(), outcome };
    match doubts.get_mut(&batch.address.route()) {
        Some(before) if outcome.is_doubtful(PATIENCE) => {
            before.push(doubted(Some(outcome.clone())));
            return Ok(());
        }
        Some(before) if matches!(outcome, Outcome::Sent { .. }) => {
            for Doubted { batch, outcome } in before.drain(..) {
                if let Some(outcome) = outcome {
                    mark(write, &batch, &outcome, now, tally)?;
                }
                batch.deliveries.iter().try_for_each(|delivery| write.outbox_passed(delivery.id))?;
            }
        }
        None if matches!(batch.address, Address::Webhook(_)) && outcome.is_doubtful(batch.attempts()) => {
            doubts.insert(batch.address.route(), vec![doubted(None)]);
        }
        Some(_) | None => {}
    }
    mark(write, batch, outcome, now, tally)
}

/// Marks the deliveries of a batch with its outcome: gone, due again later, or dead.
fn mark(
    write: &Write<'_>,
    batch: &Batch,
    outcome: &Outcome,
    now: Timestamp,
    tally: &mut DeliverView,
) -> Result<(), Failure> {
    let deliveries = &batch.deliveries;
    match outcome {
        Outcome::Sent { .. } => {
            write.outbox_done(&deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>())?;
            tally.delivered += deliveries.len() as u64;
        }
        Outcome::Failed { why, route_failed, .. } => {
            // What went out together is due together again.
            let first = deliveries.first().map_or(0, |delivery| delivery.id);
            for delivery in deliveries {
                let mut next = retry_after(delivery.attempts + 1, first);
                if *route_failed && now.since(delivery.at) < STALE {
                    // A server that is down is not the message's fault: it is tried for a week.
                    next = next.or(retry_after(LAST_ATTEMPT, first));
                }
                let next = next.map(|wait| now.plus(wait));
                write.outbox_failed(delivery.id, why, next)?;
                tally.failed += 1;
                tally.dead += u64::from(next.is_none());
            }
        }
        Outcome::Refused { why, .. } => {
            for delivery in deliveries {
                write.outbox_failed(delivery.id, why, None)?;
            }
            tally.failed += deliveries.len() as u64;
            tally.dead += deliveries.len() as u64;
        }
        Outcome::NotNow { seconds, why } => {
            let seconds = i64::try_from(*seconds).unwrap_or(i64::MAX).clamp(1, LONGEST_PAUSE);
            let until = Timestamp::from_unix(now.unix() + seconds).unwrap_or(now);
            write.outbox_pause(&batch.address.route(), why, until)?;
            tally.failed += deliveries.len() as u64;
        }
        Outcome::NotTried { .. } | Outcome::Divide => {}
    }
    Ok(())
}

/// A batch without what became irrelevant while it waited for its route, which can be a minute. None: nothing is left.
fn still_relevant(feed: &Feed<'_>, batch: Batch) -> Result<Option<Batch>, Failure> {
    let all = feed.store.read(|read| -> Result<bool, Failure> {
        let now = feed.now(read)?;
        let mut relevance = Relevance::default();
        for delivery in &batch.deliveries {
            if !relevance.is_relevant(read, delivery, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    if all {
        return Ok(Some(batch));
    }
    let Batch { deliveries, address } = batch;
    let deliveries = feed.store.write_unrecorded(|write| -> Result<Vec<Delivery>, Failure> {
        let now = feed.now(write)?;
        Ok(drop_irrelevant(write, deliveries, now)?)
    })?;
    Ok((!deliveries.is_empty()).then_some(Batch { deliveries, address }))
}
