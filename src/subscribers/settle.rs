//! What becomes of the deliveries that are due: sent at once, gathered into a digest, put off until it is due, or dropped.

use std::collections::HashMap;

use super::relevance::drop_irrelevant;
use super::zones::Zones;
use crate::deliver::{Availability, Transports};
use crate::domain::channel::{Address, Channel};
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
pub struct Batch {
    pub deliveries: Vec<Delivery>,
    pub address: Address,
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
    /// The messages to send. Deletes what nobody wants, and puts off what waits for its digest.
    pub fn settle(&self, due: Vec<Delivery>) -> Result<Vec<Batch>, Error> {
        let due = drop_irrelevant(self.write, due, self.now)?;
        let blocked = self.write.outbox_blocked(self.now)?;
        let mut batches: Vec<Batch> = Vec::new();
        // The last message of each digest, among the batches.
        let mut digests: HashMap<(Subscriber, Name, Timestamp), usize> = HashMap::new();
        let mut dropped = Vec::new();
        for delivery in due {
            let member = delivery.notification.as_ref().map(|(_, member)| member.clone());
            let is_blocked = blocked.contains(&(delivery.subscriber.clone(), member));
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
        Ok(batches)
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
