//! Notifications, their delivery, and the settings for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::channel::{Channel, by_channel};
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::preference::Preference;
use crate::domain::subscriber::{Subscriber, Topic};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotificationView {
    pub id: i64,
    pub event: NotificationKind,
    pub request: Option<RequestId>,
    pub text: String,
    pub at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// The result of one run of `deliver`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverView {
    pub delivered: u64,
    /// Attempts that failed, including those given up.
    pub failed: u64,
    /// Given up in this run.
    pub dead: u64,
    /// Another process was already sending.
    pub busy: bool,
}

/// What waits to be sent, or was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueuedView {
    pub id: i64,
    pub channel: Subscriber,
    /// A member, a Slack channel or a webhook.
    pub to: String,
    pub event: Topic,
    pub request: Option<RequestId>,
    pub at: Timestamp,
    pub attempts: u32,
    pub due_at: Option<Timestamp>,
    /// The message to the same receiver that failed, and has to be tried again before this one.
    pub after: Option<i64>,
    pub dead: bool,
    pub error: Option<String>,
}

/// How a member is notified of each event, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreferenceView {
    pub member: Name,
    /// None: the team file has no address for them there.
    #[serde(flatten, deserialize_with = "by_channel")]
    pub addresses: BTreeMap<Channel, Option<String>>,
    pub timezone: String,
    pub muted: bool,
    pub events: Vec<EventPreferenceView>,
    /// The member's own settings.
    pub own: Preference,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPreferenceView {
    pub event: NotificationKind,
    pub in_app: bool,
    #[serde(flatten, deserialize_with = "by_channel")]
    pub channels: BTreeMap<Channel, HowView>,
    pub mandatory: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HowView {
    /// `off`, `realtime`, `hourly`, `daily 09:00`.
    pub how: String,
    pub why: String,
}

/// The result of a test on one channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestView {
    pub channel: String,
    pub to: Option<String>,
    /// None: the channel was not tested.
    pub ok: Option<bool>,
    /// The server's answer, or why it could not be reached.
    pub answer: String,
}

/// The progress of a long operation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub waiting: u64,
}
