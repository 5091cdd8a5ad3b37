//! What access is about, as pure values and rules.
//!
//! Nothing here reads a clock, a file, the environment or SQL: the time is an argument, and whatever a rule
//! needs has been loaded by the caller. Imports nothing of this project but itself.

pub mod audit;
pub mod decide;
pub mod duration;
pub mod entitlement;
pub mod event;
pub mod name;
pub mod notification;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod resource;
pub mod role;
pub mod team;
pub mod team_file;
pub mod text;
pub mod time;

/// Why a text is not what it should be: a sentence without its subject ("is blank", "has an unknown unit").
/// Parsing happens once, at the edge; a `Malformed` there is a usage error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Malformed {
    pub fn new(why: impl Into<String>) -> Malformed {
        Malformed(why.into())
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
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
                f.pad(&self.0)
            }
        }
        impl TryFrom<String> for $type {
            type Error = $crate::domain::Malformed;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
    };
}
pub(crate) use checked_string;
