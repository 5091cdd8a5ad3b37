//! Moves subscribers forward in the log: what each subscribes to, and which entries it has been given.

use std::collections::{BTreeMap, BTreeSet};

use crate::deliver::{Availability, Transports};
use crate::domain::event::{Entry, Event};
use crate::domain::notification::Recipient;
use crate::domain::preference::Policy;
use crate::domain::subscriber::{Subscriber, Topic};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Read, Write};

/// The most entries that wait for a subscriber that does not take them.
const BACKLOG: u64 = 1000;
/// A new subscriber starts this far back, in seconds: one day.
const LOOK_BACK: i64 = 24 * 3600;

/// The subscribers with a position in the log that this machine can reach, and what each subscribes to.
fn subscriptions(policy: &Policy, transports: &Transports) -> BTreeMap<Subscriber, BTreeSet<Topic>> {
    let channels = policy.channels.iter().map(|(channel, kinds)| {
        (Subscriber::SlackChannel(channel.clone()), kinds.iter().copied().map(Topic::Notification).collect())
    });
    let webhooks = transports.webhooks().into_iter().map(|(name, topics)| (Subscriber::Webhook(name), topics));
    let mailboxes = transports.mailboxes().iter().cloned();
    let mailboxes = mailboxes.map(|address| (Subscriber::Mailbox(address), BTreeSet::from([Topic::Checkpoint])));
    let all = channels.chain(mailboxes).chain(webhooks);
    all.filter(|(subscriber, _)| transports.availability(subscriber) == Availability::Ready).collect()
}

/// Whether a subscriber has not been given the whole log.
pub fn is_behind(read: &Read<'_>, transports: &Transports) -> Result<bool, Failure> {
    let last = read.last_seq()?.unwrap_or(0);
    for subscriber in subscriptions(&read.policy()?, transports).keys() {
        if read.position(subscriber)?.is_none_or(|position| position < last) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Queues the next entries for each subscriber. Returns whether any position moved.
pub fn follow(write: &Write<'_>, transports: &Transports, policy: &Policy, now: Timestamp) -> Result<bool, Failure> {
    let last = write.last_seq()?.unwrap_or(0);
    let mut moved = false;
    for (subscriber, topics) in subscriptions(policy, transports) {
        let stored = write.position(&subscriber)?;
        let mut position = match stored {
            Some(position) => position,
            // The whole log.
            None if topics.contains(&Topic::Audit) => 0,
            None => {
                let day_ago = Timestamp::from_unix((now.unix() - LOOK_BACK).max(0)).unwrap_or(now);
                write.last_seq_before(day_ago)?
            }
        };
        if position < last && write.outbox_waiting_for(&subscriber)? < BACKLOG {
            for (entry, _) in write.entries_after(position)?.rows {
                position = entry.seq;
                for topic in wanted(&topics, &entry) {
                    write.outbox_add(&subscriber, &entry, topic, now)?;
                }
            }
        }
        if stored != Some(position) {
            write.set_position(&subscriber, position)?;
            moved = true;
        }
    }
    Ok(moved)
}

/// What a subscriber with these topics gets of an entry.
fn wanted(topics: &BTreeSet<Topic>, entry: &Entry) -> BTreeSet<Topic> {
    let notified = entry.recipients.iter().map(|Recipient(_, kind)| Topic::Notification(*kind));
    let checkpoint = matches!(entry.event, Event::CheckpointTaken { .. }).then_some(Topic::Checkpoint);
    notified.chain(checkpoint).chain([Topic::Audit]).filter(|topic| topics.contains(topic)).collect()
}
