//! What becomes of the deliveries that are due: sent at once, gathered into a digest, put off until it is due, or dropped.

use std::collections::{BTreeSet, HashMap};

use super::relevance::drop_irrelevant;
use super::zones::Zones;
use crate::deliver::{Availability, Transports};
use crate::domain::channel::{Address, Channel, Route};
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::preference::{How, Policy};
use crate::domain::subscriber::{Delivery, Subscriber, Topic};
use crate::domain::time::Timestamp;
use crate::store::{Error, Read, Write};

/// The most notifications in a digest.
const DIGEST: usize = 100;
/// What can't be sent from this machine is dropped after this long, in seconds: one week.
pub const STALE: i64 = 7 * 24 * 3600;

/// Deliveries that go out as one message.
#[derive(Clone)]
pub struct Batch {
    pub deliveries: Vec<Delivery>,
    pub address: Address,
}

impl Batch {
    /// How often one of them failed.
    pub fn attempts(&self) -> u32 {
        self.deliveries.iter().map(|delivery| delivery.attempts).max().unwrap_or(0)
    }

    /// Two smaller messages in its place.
    pub fn halves(self) -> [Batch; 2] {
        let Batch { mut deliveries, address } = self;
        let rest = deliveries.split_off(deliveries.len() / 2);
        [Batch { deliveries, address: address.clone() }, Batch { deliveries: rest, address }]
    }
}

/// What becomes of a delivery.
enum Fate {
    Send(Address),
    /// Send together with the others of this member's digest, due at this time.
    Gather(Address, Name, Timestamp),
    PutOff(Timestamp),
    Drop,
    /// It waits: its transport is broken, or an earlier delivery failed.
    Wait,
}

/// What it takes to decide that.
pub struct Settling<'s> {
    pub write: &'s Write<'s>,
    pub transports: &'s Transports,
    pub zones: &'s Zones,
    pub policy: &'s Policy,
    pub now: Timestamp,
}

impl Settling<'_> {
    /// The messages to send. Deletes what nobody wants, and puts off what waits for its digest. What nobody can put off does not
    /// wait behind what failed.
    pub fn settle(&self, due: Vec<Delivery>) -> Result<Vec<Batch>, Error> {
        let due = drop_irrelevant(self.write, due, self.now)?;
        let blocked = self.write.outbox_blocked(self.now)?;
        let mut batches: Vec<Batch> = Vec::new();
        // The last message of each digest, among the batches.
        let mut digests: HashMap<(Subscriber, Name, Timestamp), usize> = HashMap::new();
        let mut dropped = Vec::new();
        for delivery in due {
            let is_blocked = delivery.waits_for(&blocked, self.policy).is_some();
            let address = match self.fate(&delivery, is_blocked)? {
                Fate::Send(address) => address,
                Fate::Gather(address, member, due) => {
                    let place = digests.entry((delivery.subscriber.clone(), member, due)).or_insert(batches.len());
                    if let Some(batch) = batches.get_mut(*place).filter(|batch| batch.deliveries.len() < DIGEST) {
                        batch.deliveries.push(delivery);
                        continue;
                    }
                    *place = batches.len();
                    address
                }
                Fate::PutOff(due) => {
                    self.write.outbox_put_off(delivery.id, due)?;
                    continue;
                }
                Fate::Drop => {
                    dropped.push(delivery.id);
                    continue;
                }
                Fate::Wait => continue,
            };
            batches.push(Batch { deliveries: vec![delivery], address });
        }
        self.write.outbox_done(&dropped)?;
        // One message that fails can end the run for its whole route.
        let tried = batches.iter().filter(|batch| batch.attempts() > 0).map(|batch| batch.address.route());
        let failing: BTreeSet<Route> = blocked.keys().map(|(subscriber, _)| subscriber.route()).chain(tried).collect();
        let goes_first = |batch: &Batch| {
            failing.contains(&batch.address.route())
                && batch.deliveries.iter().all(|delivery| delivery.is_urgent(self.policy))
        };
        let (mut first, rest): (Vec<Batch>, Vec<Batch>) = batches.into_iter().partition(goes_first);
        first.extend(rest);
        Ok(first)
    }

    fn fate(&self, delivery: &Delivery, is_blocked: bool) -> Result<Fate, Error> {
        match self.transports.availability(&delivery.subscriber) {
            Availability::Ready if !is_blocked => {}
            Availability::NotConfigured if self.now.since(delivery.at) > STALE => return Ok(Fate::Drop),
            Availability::Ready | Availability::NotConfigured | Availability::Broken => return Ok(Fate::Wait),
        }
        let (channel, name) = match (&delivery.subscriber, &delivery.notification) {
            (Subscriber::SlackChannel(channel), _) => return Ok(Fate::Send(Address::SlackChannel(channel.clone()))),
            (Subscriber::Mailbox(address), _) => return Ok(Fate::Send(Address::Email(address.clone()))),
            (Subscriber::Webhook(name), _) => return Ok(Fate::Send(Address::Webhook(name.clone()))),
            (Subscriber::Members(channel), Some((_, name))) => (*channel, name),
            (Subscriber::Members(_), None) => return Ok(Fate::Drop),
        };
        let Topic::Notification(kind) = delivery.topic else { return Ok(Fate::Drop) };
        let Some((member, address)) = reachable(self.write, name, delivery.seq, channel)? else {
            return Ok(Fate::Drop);
        };
        let digest = match self.policy.plan(&self.write.preference(name)?, kind, channel).how {
            How::Off => return Ok(Fate::Drop),
            How::AtOnce => return Ok(Fate::Send(address)),
            How::Together(digest) => digest,
        };
        let zone = member.timezone.as_ref().or(self.policy.timezone.as_ref());
        let offset = |moment| zone.map_or(0, |zone| self.zones.offset(zone, moment));
        // An entry can lie in the future, if the clock was ahead and was set right.
        let due = if delivery.at > self.now { self.now } else { digest.due(delivery.at, &offset) };
        Ok(if due > self.now { Fate::PutOff(due) } else { Fate::Gather(address, name.clone(), due) })
    }
}

/// A member and their address on a channel, if they are still the member whom the entry notified.
fn reachable(read: &Read<'_>, name: &Name, seq: i64, channel: Channel) -> Result<Option<(Member, Address)>, Error> {
    let Some((member, since)) = read.member(name)? else { return Ok(None) };
    if member.disabled || seq < since {
        return Ok(None);
    }
    let address = member.addresses.get(channel).cloned();
    Ok(address.map(|address| (member, address)))
}
