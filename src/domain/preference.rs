//! Notification settings: the team's policy, the member's preferences, and the result of the two. The inbox always gets every
//! notification; these settings are about the other channels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::Timelike;
use serde::{Deserialize, Serialize};

use super::channel::{Channel, SlackChannel, by_channel};
use super::contact::Timezone;
use super::notification::NotificationKind;
use super::time::{Timestamp, clock};
use super::{Malformed, read_by_parsing};

/// An hour and a minute of the day, such as `09:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    pub const NINE: TimeOfDay = TimeOfDay { minutes: 9 * 60 };
}

/// When notifications are sent. Written `realtime`, `hourly`, `daily 09:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    RealTime,
    /// Together, at the end of each hour.
    Hourly,
    /// Once a day, at this time in the member's time zone.
    Daily(TimeOfDay),
}

/// The settings for one event, or for all. What is not set is taken from the next place (see `Policy::plan`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Whether it goes out on a channel.
    #[serde(flatten, deserialize_with = "by_channel")]
    pub channels: BTreeMap<Channel, bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A member's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    #[serde(flatten)]
    pub all: Choice,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<NotificationKind, Choice>,
}

/// `[notifications]` of the team file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Events that nobody can mute or put off. `access.emergency` always is one of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mandatory: BTreeSet<NotificationKind>,
    /// The time zone of Slack channels, and of members who have none. None: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Timezone>,
    #[serde(flatten)]
    pub all: Choice,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<NotificationKind, Choice>,
    /// Slack channels that subscribe to events.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<SlackChannel, BTreeSet<NotificationKind>>,
}

/// A change of a member's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreferenceChange {
    /// For this event, or for all.
    Set {
        event: Option<NotificationKind>,
        choice: Choice,
    },
    /// No events: everything except mandatory events.
    Mute(Vec<NotificationKind>),
    Unmute(Vec<NotificationKind>),
    Reset,
}

/// What happens with an event on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Off,
    AtOnce,
    Together(Digest),
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Mandatory,
    Muted,
    OwnOfEvent,
    Own,
    PolicyOfEvent,
    Policy,
    Default,
    /// The default for what is sent in digests only.
    CanWait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub how: How,
    pub why: Why,
}

impl Choice {
    /// No channel at all.
    fn off() -> Choice {
        Choice { channels: Channel::ALL.into_iter().map(|channel| (channel, false)).collect(), digest: None }
    }

    /// Replaces what the other choice sets.
    fn update(&mut self, other: &Choice) {
        self.channels.extend(&other.channels);
        self.digest = other.digest.or(self.digest);
    }
}

impl Policy {
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }

    pub fn is_mandatory(&self, kind: NotificationKind) -> bool {
        kind.is_always_mandatory() || self.mandatory.contains(&kind)
    }

    /// What happens with this event on this channel. Mandatory events override everything, the member's settings override the
    /// team's, and a setting for one event overrides that for all.
    pub fn plan(&self, preference: &Preference, kind: NotificationKind, channel: Channel) -> Plan {
        if self.is_mandatory(kind) {
            return Plan { how: How::AtOnce, why: Why::Mandatory };
        }
        if preference.muted {
            return Plan { how: How::Off, why: Why::Muted };
        }
        let settings = [
            (preference.events.get(&kind), Why::OwnOfEvent),
            (Some(&preference.all), Why::Own),
            (self.events.get(&kind), Why::PolicyOfEvent),
            (Some(&self.all), Why::Policy),
        ];
        let settings = settings.into_iter().filter_map(|(choice, why)| Some((choice?, why)));
        let on = settings.clone().find_map(|(choice, why)| Some((*choice.channels.get(&channel)?, why)));
        let (on, source) = on.unwrap_or((true, Why::Default));
        let digest = settings.clone().find_map(|(choice, why)| Some((choice.digest?, why)));
        let (digest, digest_source) = digest.unwrap_or((Digest::RealTime, source));
        match digest {
            Digest::RealTime if kind.can_wait() && source == Why::Default => Plan { how: How::Off, why: Why::CanWait },
            _ if !on => Plan { how: How::Off, why: source },
            Digest::RealTime => Plan { how: How::AtOnce, why: digest_source },
            Digest::Hourly | Digest::Daily(_) => Plan { how: How::Together(digest), why: digest_source },
        }
    }
}

impl Preference {
    pub fn is_empty(&self) -> bool {
        *self == Preference::default()
    }

    /// These settings with the change.
    #[must_use]
    pub fn changed(&self, change: &PreferenceChange) -> Preference {
        let mut new = self.clone();
        match change {
            PreferenceChange::Set { event: None, choice } => new.all.update(choice),
            PreferenceChange::Set { event: Some(event), choice } => {
                new.events.entry(*event).or_default().update(choice)
            }
            PreferenceChange::Mute(events) if events.is_empty() => new.muted = true,
            PreferenceChange::Mute(events) => {
                for event in events {
                    new.events.entry(*event).or_default().update(&Choice::off());
                }
            }
            PreferenceChange::Unmute(events) if events.is_empty() => new.muted = false,
            PreferenceChange::Unmute(events) => {
                for event in events {
                    if let Some(choice) = new.events.get_mut(event) {
                        choice.channels.clear();
                    }
                }
                new.events.retain(|event, choice| !events.contains(event) || *choice != Choice::default());
            }
            PreferenceChange::Reset => new = Preference::default(),
        }
        new
    }
}

impl Digest {
    /// When a notification of this time is sent. `offset`: the seconds that the member's time zone is ahead of UTC at a moment.
    pub fn due(self, at: Timestamp, offset: &dyn Fn(i64) -> i64) -> Timestamp {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        let happened = at.unix();
        let due = match self {
            Digest::RealTime => happened,
            Digest::Hourly => (happened / HOUR + 1) * HOUR,
            Digest::Daily(time) => {
                let today = (happened + offset(happened)).div_euclid(DAY) * DAY;
                // A time that the clocks skip becomes the nearest one that exists.
                let instant = |day: i64| {
                    let local = today + day * DAY + i64::from(time.minutes) * 60;
                    local - offset(local - offset(local))
                };
                (0..3).map(instant).find(|&instant| instant > happened).unwrap_or(happened + DAY)
            }
        };
        Timestamp::from_unix(due).unwrap_or(at)
    }
}

impl FromStr for TimeOfDay {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<TimeOfDay, Malformed> {
        let time = clock(text).filter(|time| time.second() == 0);
        let minutes = time.and_then(|time| u16::try_from(time.hour() * 60 + time.minute()).ok());
        let malformed = || Malformed::new("write a time of day like 09:00 or 9am");
        minutes.map(|minutes| TimeOfDay { minutes }).ok_or_else(malformed)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl FromStr for Digest {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Digest, Malformed> {
        match text.split_once(' ') {
            None if text == "realtime" => Ok(Digest::RealTime),
            None if text == "hourly" => Ok(Digest::Hourly),
            None if text == "daily" => Ok(Digest::Daily(TimeOfDay::NINE)),
            Some(("daily", time)) => Ok(Digest::Daily(time.parse()?)),
            Some(_) | None => Err(Malformed::new("write realtime, hourly, daily or \"daily 09:00\"")),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::RealTime => f.write_str("realtime"),
            Digest::Hourly => f.write_str("hourly"),
            Digest::Daily(time) => write!(f, "daily {time}"),
        }
    }
}

read_by_parsing!(Digest);

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Off => f.write_str("off"),
            How::AtOnce => f.write_str("realtime"),
            How::Together(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Mandatory => "mandatory: it can't be muted",
            Why::Muted => "you muted everything",
            Why::OwnOfEvent => "your setting for this event",
            Why::Own => "your setting for all events",
            Why::PolicyOfEvent => "set in the team file for this event",
            Why::Policy => "set in the team file",
            Why::Default => "default",
            Why::CanWait => "default: in the inbox and in digests only",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(email: Option<bool>, digest: Option<Digest>) -> Choice {
        Choice { channels: email.map(|on| (Channel::Email, on)).into_iter().collect(), digest }
    }

    #[test]
    fn settings_in_their_order() {
        let kind = NotificationKind::RequestSubmitted;
        let mut policy = Policy::default();
        let mut own = Preference::default();
        let plan = |policy: &Policy, own: &Preference| {
            let plan = policy.plan(own, kind, Channel::Email);
            (plan.how.to_string(), plan.why)
        };
        assert_eq!(plan(&policy, &own), ("realtime".to_owned(), Why::Default));
        policy.all = choice(Some(false), Some(Digest::Hourly));
        assert_eq!(plan(&policy, &own), ("off".to_owned(), Why::Policy));
        policy.events.insert(kind, choice(Some(true), None));
        assert_eq!(plan(&policy, &own), ("hourly".to_owned(), Why::Policy));
        own.all = choice(None, Some(Digest::Daily(TimeOfDay::NINE)));
        assert_eq!(plan(&policy, &own), ("daily 09:00".to_owned(), Why::Own));
        own.events.insert(kind, choice(None, Some(Digest::RealTime)));
        assert_eq!(plan(&policy, &own), ("realtime".to_owned(), Why::OwnOfEvent));
        own.muted = true;
        assert_eq!(plan(&policy, &own), ("off".to_owned(), Why::Muted));
        policy.mandatory.insert(kind);
        assert_eq!(plan(&policy, &own), ("realtime".to_owned(), Why::Mandatory));
        for kind in [NotificationKind::AccessEmergency, NotificationKind::RevokeFailed] {
            let plan = Policy::default().plan(&own, kind, Channel::Slack);
            assert_eq!(plan, Plan { how: How::AtOnce, why: Why::Mandatory });
        }
    }

    #[test]
    fn what_can_wait_is_sent_in_digests_or_if_it_is_turned_on() {
        let kind = NotificationKind::RequestDecided;
        let mut policy = Policy::default();
        let mut own = Preference::default();
        let how = |policy: &Policy, own: &Preference| policy.plan(own, kind, Channel::Email).how.to_string();
        assert_eq!(policy.plan(&own, kind, Channel::Email), Plan { how: How::Off, why: Why::CanWait });
        own.all = choice(None, Some(Digest::Hourly));
        assert_eq!(how(&policy, &own), "hourly");
        own.events.insert(kind, choice(None, Some(Digest::RealTime)));
        assert_eq!(how(&policy, &own), "off");
        own.events.insert(kind, choice(Some(true), Some(Digest::RealTime)));
        assert_eq!(how(&policy, &own), "realtime");
        own = Preference::default();
        policy.events.insert(kind, choice(Some(true), None));
        assert_eq!(how(&policy, &own), "realtime");
        policy.mandatory.insert(kind);
        assert_eq!(how(&policy, &own), "realtime");
        own.muted = true;
        assert_eq!(Policy::default().plan(&own, kind, Channel::Email).how, How::Off);
    }

    #[test]
    fn muting_and_unmuting_leave_the_rest_as_it_was() {
        let hourly = Choice { digest: Some(Digest::Hourly), ..Choice::default() };
        let set = PreferenceChange::Set { event: Some(NotificationKind::AccessExpired), choice: hourly };
        let own = Preference::default().changed(&set);
        let events = vec![NotificationKind::AccessExpired, NotificationKind::AccessStarted];
        let muted = own.changed(&PreferenceChange::Mute(events.clone()));
        assert_eq!(
            muted.events[&NotificationKind::AccessExpired],
            Choice { digest: Some(Digest::Hourly), ..Choice::off() }
        );
        assert_eq!(muted.changed(&PreferenceChange::Unmute(events)), own);
        assert!(muted.changed(&PreferenceChange::Reset).is_empty());
    }

    #[test]
    fn when_digests_are_due() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let due = |digest: &str, time: &str, offset: i64| {
            digest.parse::<Digest>().unwrap().due(at(time), &|_| offset).to_string()
        };
        assert_eq!(due("hourly", "2026-11-24T09:00:00Z", 0), "2026-11-24T10:00:00Z");
        assert_eq!(due("hourly", "2026-11-24T09:59:59Z", 0), "2026-11-24T10:00:00Z");
        assert_eq!(due("daily", "2026-11-24T08:59:59Z", 0), "2026-11-24T09:00:00Z");
        assert_eq!(due("daily", "2026-11-24T09:00:00Z", 0), "2026-11-25T09:00:00Z");
        assert_eq!(due("daily 09:00", "2026-11-24T07:59:59Z", 3600), "2026-11-24T08:00:00Z");
        assert_eq!(due("daily 00:30", "2026-11-24T23:00:00Z", -5 * 3600), "2026-11-25T05:30:00Z");
        // Paris, the night the clocks go forward: 02:30 does not come on 29 March 2026.
        let paris = |moment: i64| if moment < at("2026-03-29T01:00:00Z").unix() { 3600 } else { 7200 };
        let night = |digest: &str, time: &str| digest.parse::<Digest>().unwrap().due(at(time), &paris).to_string();
        assert_eq!(night("daily 02:30", "2026-03-28T12:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(night("daily 09:00", "2026-03-28T12:00:00Z"), "2026-03-29T07:00:00Z");
    }

    #[test]
    fn what_is_not_a_time_or_digest() {
        for (text, meant) in [("9:00", "09:00"), ("9am", "09:00"), ("5:30pm", "17:30")] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), meant);
        }
        for text in ["24:00", "09:60", "0900", "+9:00", "09:00:30", ""] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text:?}");
        }
        for text in ["weekly", "daily ", "daily 25:00", "hourly 09:00", "Daily"] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
