//! What follows the log: who gets which entries, what is queued for them, and when a failed delivery is tried again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::channel::{Channel, Route, SlackChannel};
use super::contact::Email;
use super::duration::Length;
use super::name::Name;
use super::notification::NotificationKind;
use super::preference::Policy;
use super::time::Timestamp;
use super::{Malformed, read_by_parsing};
use crate::domain::terms::RequestId;

/// Something that follows the log. Written `email`, `slack`, `slack:#ops`, `email:audit@acme.example`, `webhook:siem`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscriber {
    /// The members, each at their own address on this channel.
    Members(Channel),
    /// A Slack channel that the team file names.
    SlackChannel(SlackChannel),
    /// A mailbox that this machine's configuration names for checkpoints.
    Mailbox(Email),
    /// A webhook that this machine's configuration names.
    Webhook(Name),
}

/// What a subscriber gets of an entry: a notification, or the entry itself, of all or of those that have a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Notification(NotificationKind),
    Audit,
    Checkpoint,
}

/// An entry that is queued for a subscriber: a row of the outbox.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: i64,
    pub subscriber: Subscriber,
    pub topic: Topic,
    /// The entry, and when it was recorded.
    pub seq: i64,
    pub at: Timestamp,
    /// The request that the entry concerns, if any.
    pub request: Option<RequestId>,
    /// The notification and its member, if it goes to a member.
    pub notification: Option<(i64, Name)>,
    pub due_at: Timestamp,
    pub attempts: u32,
    pub error: Option<String>,
    /// Given up: only `outbox retry` sends it.
    pub dead: bool,
}

/// For each subscriber, or member on a channel, the first delivery that failed and waits for its next attempt.
pub type Blocked = BTreeMap<(Subscriber, Option<Name>), i64>;

impl Delivery {
    /// Whether nobody can put it off. Then it waits behind no other.
    pub fn is_urgent(&self, policy: &Policy) -> bool {
        matches!(self.topic, Topic::Notification(kind) if policy.is_mandatory(kind))
    }

    /// The delivery that has to be tried again before this one.
    pub fn waits_for(&self, blocked: &Blocked, policy: &Policy) -> Option<i64> {
        let member = self.notification.as_ref().map(|(_, member)| member.clone());
        let first = blocked.get(&(self.subscriber.clone(), member)).copied();
        first.filter(|first| *first < self.id && !self.is_urgent(policy))
    }
}

const WAITS: [i64; 5] = [60, 5 * 60, 30 * 60, 2 * 3600, 12 * 3600];
/// After this many failed attempts there is one more.
pub const LAST_ATTEMPT: u32 = 5;

/// What fails again after this many failed attempts may itself be at fault, and not its receiver.
pub const PATIENCE: u32 = 2;

/// How long to wait after this many failed attempts. None: give up.
pub fn retry_after(attempts: u32, id: i64) -> Option<Length> {
    let wait = WAITS.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    // Up to a fifth longer, so that what failed together is not retried together. Constant for a row.
    let spread = id.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(attempts) % 1000;
    let jitter = wait * i64::try_from(spread).unwrap_or(0) / 5000;
    Length::from_seconds(wait + jitter).ok()
}

impl Subscriber {
    pub fn route(&self) -> Route {
        match self {
            Subscriber::Members(channel) => Route::Channel(*channel),
            Subscriber::SlackChannel(_) => Route::Channel(Channel::Slack),
            Subscriber::Mailbox(_) => Route::Channel(Channel::Email),
            Subscriber::Webhook(name) => Route::Webhook(name.clone()),
        }
    }
}

impl fmt::Display for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subscriber::Members(channel) => f.write_str(channel.as_str()),
            Subscriber::SlackChannel(channel) => write!(f, "slack:{channel}"),
            Subscriber::Mailbox(address) => write!(f, "email:{address}"),
            Subscriber::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}

impl FromStr for Subscriber {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Subscriber, Malformed> {
        match text.split_once(':') {
            None => Ok(Subscriber::Members(text.parse()?)),
            Some(("slack", channel)) => Ok(Subscriber::SlackChannel(channel.parse()?)),
            Some(("email", address)) => Ok(Subscriber::Mailbox(address.parse()?)),
            Some(("webhook", name)) => Ok(Subscriber::Webhook(name.parse()?)),
            Some(_) => Err(Malformed::new(format!("{text:?} is not a subscriber"))),
        }
    }
}

read_by_parsing!(Subscriber);

impl serde::Serialize for Subscriber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Topic {
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Notification(kind) => kind.as_str(),
            Topic::Audit => "audit",
            Topic::Checkpoint => "checkpoint",
        }
    }
}

impl FromStr for Topic {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Topic, Malformed> {
        match text {
            "audit" => Ok(Topic::Audit),
            "checkpoint" => Ok(Topic::Checkpoint),
            kind => kind.parse().map(Topic::Notification),
        }
    }
}

read_by_parsing!(Topic);

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_more_attempts_and_no_more() {
        let waits: Vec<i64> = (1..=5).map(|attempts| retry_after(attempts, 7).unwrap().seconds()).collect();
        for (wait, least) in waits.iter().zip([60, 300, 1800, 7200, 43_200]) {
            assert!((least..=least * 6 / 5).contains(wait), "{wait}");
        }
        assert!(retry_after(6, 7).is_none() && retry_after(0, 7).is_none());
        assert_ne!(retry_after(3, 7), retry_after(3, 8), "they don't come back together");
    }

    #[test]
    fn subscribers_are_written_as_they_are_read() {
        for text in ["email", "slack", "slack:#ops", "slack:C024BE91L", "email:ana@acme.example", "webhook:siem"] {
            assert_eq!(text.parse::<Subscriber>().unwrap().to_string(), text);
        }
        for text in ["", "fax", "slack:", "webhook:A", "email:x"] {
            assert!(text.parse::<Subscriber>().is_err(), "{text}");
        }
    }
}
