//! What access is about, as pure values and rules.
//!
//! Nothing here reads a clock, a file, the environment or SQL: the time is an argument, and whatever a rule
//! needs has been loaded by the caller. Imports nothing of this project but itself.

pub mod audit;
pub mod because;
pub mod binding;
pub mod catalog;
pub mod certificate;
pub mod channel;
pub mod contact;
pub mod describe;
pub mod duration;
pub mod entitlement;
pub mod entry_ref;
pub mod event;
pub mod grant;
pub mod host;
pub mod host_rights;
pub mod interval;
pub mod log_name;
pub mod member;
pub mod merkle;
pub mod message;
pub mod name;
pub mod note;
pub mod notification;
pub mod policy;
pub mod preference;
pub mod principal;
pub mod provisioning;
pub mod quota;
pub mod recertification;
pub mod reconciliation;
pub mod refusal;
pub mod replay;
pub mod replica;
pub mod request;
pub mod resource;
pub mod role;
pub mod session;
pub mod simulation;
pub mod ssh_key;
pub mod ssh_signature;
pub mod subscriber;
pub mod team;
pub mod terms;
pub mod text;
pub mod time;

/// Why a text is not what it should be: a sentence without its subject ("is blank", "has an unknown unit").
/// Parsing happens once, at the edge; a `Malformed` there is a usage error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    why: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// It is well formed, but nothing can have this name.
    pub names_nothing: bool,
}

impl Malformed {
    pub fn new(why: impl Into<String>) -> Malformed {
        Malformed { why: why.into(), hint: None, names_nothing: false }
    }

    /// For what is well formed, but can't exist.
    pub fn names_nothing(why: impl Into<String>) -> Malformed {
        Malformed { names_nothing: true, ..Malformed::new(why) }
    }

    pub fn hint(self, hint: impl Into<String>) -> Malformed {
        Malformed { hint: Some(hint.into()), ..self }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Malformed {}

/// Gives a validated newtype over `String` its reading and writing: through its own `FromStr` only,
/// so that no value of it exists that was not checked.
macro_rules! checked_string {
    ($type:ident) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        $crate::domain::read_by_parsing!($type);
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_string;

/// Gives a type its reading, from a text through its own `FromStr`.
macro_rules! read_by_parsing {
    ($type:ident) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Parsing;
                impl serde::de::Visitor<'_> for Parsing {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a text")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Parsing)
            }
        }
    };
}
pub(crate) use read_by_parsing;
