//! Channels on which members are notified in addition to their inbox, and the addresses that messages go to.
//!
//! A new channel is a variant of `Channel` and of `Address`, a section in `config.rs`, a transport in `deliver/`, and a flag of
//! `notify set`. The team file, preferences, the database and what is shown take it from here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::Name;
use super::{Malformed, checked_string, read_by_parsing};
use crate::domain::contact::{Email, SlackId};

/// Where a member is notified besides the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Email,
    Slack,
}

impl Channel {
    pub const ALL: [Channel; 2] = [Channel::Email, Channel::Slack];

    /// Its key in the team file, in preferences and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Slack => "slack",
        }
    }

    /// The heading of its column in a table.
    pub fn heading(self) -> &'static str {
        match self {
            Channel::Email => "EMAIL",
            Channel::Slack => "SLACK",
        }
    }

    /// The name of the address on this channel.
    pub fn address_name(self) -> &'static str {
        match self {
            Channel::Email => "email address",
            Channel::Slack => "Slack id",
        }
    }

    /// Reads a member's address on this channel.
    pub fn address(self, text: &str) -> Result<Address, Malformed> {
        match self {
            Channel::Email => text.parse().map(Address::Email),
            Channel::Slack => text.parse().map(Address::Slack),
        }
    }
}

impl FromStr for Channel {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Channel, Malformed> {
        let unknown = || Malformed::new(format!("{text:?} is not a channel"));
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(unknown)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

read_by_parsing!(Channel);

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A Slack channel: `#ops`, or its id such as `C024BE91L`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlackChannel(String);
checked_string!(SlackChannel);

impl FromStr for SlackChannel {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<SlackChannel, Malformed> {
        let named = text.strip_prefix('#').is_some_and(|name| {
            (1..=80).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        });
        let id = (2..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if named || id {
            Ok(SlackChannel(text.to_owned()))
        } else {
            Err(Malformed::new("a Slack channel is written like #ops, or by its id such as C024BE91L"))
        }
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Email(Email),
    Slack(SlackId),
    SlackChannel(SlackChannel),
    Webhook(Name),
}

/// What shares a connection, and its faults.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    Channel(Channel),
    Webhook(Name),
}

impl Address {
    pub fn as_str(&self) -> &str {
        match self {
            Address::Email(email) => email.as_str(),
            Address::Slack(id) => id.as_str(),
            Address::SlackChannel(channel) => channel.as_str(),
            Address::Webhook(name) => name.as_str(),
        }
    }

    pub fn route(&self) -> Route {
        match self {
            Address::Email(_) => Route::Channel(Channel::Email),
            Address::Slack(_) | Address::SlackChannel(_) => Route::Channel(Channel::Slack),
            Address::Webhook(name) => Route::Webhook(name.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A member's addresses, by channel. Written as a key for each channel: `{"email":"ana@acme.example"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Addresses(BTreeMap<Channel, Address>);

impl Addresses {
    pub fn get(&self, channel: Channel) -> Option<&Address> {
        self.0.get(&channel)
    }

    /// Adds an address on its own channel.
    pub fn insert(&mut self, channel: Channel, address: Address) {
        self.0.insert(channel, address);
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Addresses, D::Error> {
        let texts: BTreeMap<Channel, String> = by_channel(deserializer)?;
        let read = |(channel, text): (Channel, String)| Ok((channel, channel.address(&text)?));
        texts.into_iter().map(read).collect::<Result<_, Malformed>>().map(Addresses).map_err(serde::de::Error::custom)
    }
}

/// Reads the keys of a map that are channels, and ignores the others: for fields that are flattened into their struct.
pub fn by_channel<'de, D, T>(deserializer: D) -> Result<BTreeMap<Channel, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ByChannel<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for ByChannel<T> {
        type Value = BTreeMap<Channel, T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map with a key for each channel")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                match key.parse() {
                    Ok(channel) => drop(found.insert(channel, map.next_value()?)),
                    Err(_) => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(found)
        }
    }
    deserializer.deserialize_map(ByChannel(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_key_for_each_channel() {
        let text = r#"{"email":"ana@acme.example","slack":"U0ANA"}"#;
        let addresses: Addresses = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&addresses).unwrap(), text);
        let more = r#"{"role":"admin","slack":"U0ANA","pager":{"id":1}}"#;
        let addresses: Addresses = serde_json::from_str(more).unwrap();
        assert_eq!(addresses.get(Channel::Slack).map(Address::as_str), Some("U0ANA"));
        assert_eq!(addresses.get(Channel::Email), None);
        for wrong in [r#"{"email":"U0ANA"}"#, r#"{"slack":"ana@acme.example"}"#, r#"{"email":1}"#, r#"[]"#] {
            assert!(serde_json::from_str::<Addresses>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_a_slack_channel() {
        for text in ["ops", "#", "#Ops", "#a b", "<!channel>", "#a\n", "c0"] {
            assert!(text.parse::<SlackChannel>().is_err(), "{text:?}");
        }
    }
}
