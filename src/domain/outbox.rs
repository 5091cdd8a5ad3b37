//! What waits to be sent: where to, what it is, what came of trying, and when to try again.

use std::fmt;
use std::str::FromStr;

use super::contact::{Email, SlackId};
use super::duration::Length;
use super::letter::Letter;
use super::name::Name;
use super::notification::{Channel, NotificationKind};
use super::preference::SlackChannel;
use super::terms::RequestId;
use super::time::Timestamp;
use super::{Malformed, read_by_parsing};

/// A way out of the outbox. Written `email`, `slack`, `slack:#ops`, `webhook:siem`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outlet {
    /// To a member.
    Member(Channel),
    /// To a channel that the team file names.
    Channel(SlackChannel),
    /// To a webhook that this machine's configuration names.
    Webhook(Name),
}

/// What goes to a channel or a webhook: an entry of the log as an event that people are told of, or as itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    NotificationKind(NotificationKind),
    Audit,
}

/// A row of the outbox.
#[derive(Debug, Clone)]
pub struct Queued {
    pub id: i64,
    pub outlet: Outlet,
    pub news: News,
    /// The entry that it tells of, and when that was recorded.
    pub seq: i64,
    pub at: Timestamp,
    /// The request that the entry concerns, if it does.
    pub request: Option<RequestId>,
    /// The notification and whom it is for; None to a channel or webhook.
    pub notification: Option<(i64, Name)>,
    pub due_at: Timestamp,
    pub attempts: u32,
    pub error: Option<String>,
    pub dead: bool,
}

/// Where a parcel goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Email(Email),
    Slack(SlackId),
    Channel(SlackChannel),
    Webhook(Name),
}

impl Address {
    pub fn route(&self) -> Route {
        match self {
            Address::Email(_) => Route::Email,
            Address::Slack(_) | Address::Channel(_) => Route::Slack,
            Address::Webhook(name) => Route::Webhook(name.clone()),
        }
    }
}

impl std::hash::Hash for Email {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl std::hash::Hash for SlackId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// What is sent at once: one message.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub to: Address,
    pub content: Content,
    /// When it is sent.
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub enum Content {
    Letter(Box<Letter>),
    /// A webhook's message: its id, the same at every attempt, and its JSON.
    Json {
        id: String,
        body: String,
    },
}

/// What came of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken over by the other side, which said this.
    Sent { answer: String },
    /// It may work another time. `route_failed`: it failed on the way, before the other side knew of this message.
    Failed { why: String, route_failed: bool },
    /// It will not work another time either.
    Refused { why: String },
    /// The other side wants to be left alone for so many seconds.
    NotNow { seconds: u64, why: String },
    /// It was not this one's turn: one before it to the same address failed, or its whole route did.
    NotTried { route_failed: bool },
}

const WAITS: [i64; 5] = [60, 5 * 60, 30 * 60, 2 * 3600, 12 * 3600];
/// The last failed attempt after which there is another one.
pub const LAST_ATTEMPT: u32 = 5;

/// How long to wait after so many failed attempts. None: no more.
pub fn retry_after(attempts: u32, id: i64) -> Option<Length> {
    let wait = WAITS.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    // Up to a fifth longer, so that what failed together does not come back together. The same for the same row.
    let spread = id.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(attempts) % 1000;
    let jitter = wait * i64::try_from(spread).unwrap_or(0) / 5000;
    Length::from_seconds(wait + jitter).ok()
}

impl Outlet {
    pub const EMAIL: Outlet = Outlet::Member(Channel::Email);
    pub const SLACK: Outlet = Outlet::Member(Channel::Slack);

    /// What shares a connection, and with it its faults.
    pub fn route(&self) -> Route {
        match self {
            Outlet::Member(Channel::Email) => Route::Email,
            Outlet::Member(Channel::Slack) | Outlet::Channel(_) => Route::Slack,
            Outlet::Webhook(name) => Route::Webhook(name.clone()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    Email,
    Slack,
    Webhook(Name),
}

impl fmt::Display for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outlet::Member(channel) => f.write_str(channel.as_str()),
            Outlet::Channel(channel) => write!(f, "slack:{channel}"),
            Outlet::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}

impl FromStr for Outlet {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Outlet, Malformed> {
        match text.split_once(':') {
            None if text == "email" => Ok(Outlet::EMAIL),
            None if text == "slack" => Ok(Outlet::SLACK),
            Some(("slack", channel)) => Ok(Outlet::Channel(channel.parse()?)),
            Some(("webhook", name)) => Ok(Outlet::Webhook(name.parse()?)),
            Some(_) | None => Err(Malformed::new(format!("{text:?} is no way to send anything"))),
        }
    }
}

read_by_parsing!(Outlet);

impl serde::Serialize for Outlet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl News {
    pub fn as_str(self) -> &'static str {
        match self {
            News::NotificationKind(notice) => notice.as_str(),
            News::Audit => "audit",
        }
    }
}

impl FromStr for News {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<News, Malformed> {
        if text == "audit" { Ok(News::Audit) } else { text.parse().map(News::NotificationKind) }
    }
}

read_by_parsing!(News);

impl serde::Serialize for News {
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
    fn outlets_are_written_as_they_are_read() {
        for text in ["email", "slack", "slack:#ops", "slack:C024BE91L", "webhook:siem"] {
            assert_eq!(text.parse::<Outlet>().unwrap().to_string(), text);
        }
        for text in ["", "fax", "slack:", "webhook:A", "email:x"] {
            assert!(text.parse::<Outlet>().is_err(), "{text}");
        }
    }
}
