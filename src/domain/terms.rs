//! What is asked for and granted: a resource, from when, until when.

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::duration::{Duration, Length};
use super::resource::Resource;
use super::text::{LONGEST_REPEATED, Text, Ticket, shortened};
use super::time::Timestamp;

/// 1, 2, 3 …: the number of a request and of its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct RequestId(i64);

impl RequestId {
    pub const FIRST: RequestId = RequestId(1);

    pub fn get(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn next(self) -> RequestId {
        RequestId(self.0 + 1)
    }
}

/// `request 1`, `requests 1, 2 and 4`.
pub fn requests(ids: &[RequestId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match ids.as_slice() {
        [] => "no request".to_owned(),
        [one] => format!("request {one}"),
        [others @ .., last] => format!("requests {} and {last}", others.join(", ")),
    }
}

impl TryFrom<i64> for RequestId {
    type Error = Malformed;
    fn try_from(id: i64) -> Result<RequestId, Malformed> {
        if (1..i64::MAX).contains(&id) {
            Ok(RequestId(id))
        } else {
            Err(Malformed::new("a request's number is 1 or more"))
        }
    }
}

impl From<RequestId> for i64 {
    fn from(id: RequestId) -> i64 {
        id.0
    }
}

impl FromStr for RequestId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RequestId, Malformed> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        let too_large = || {
            let none = Malformed::names_nothing(format!("there is no request {}", shortened(digits, LONGEST_REPEATED)));
            none.hint("`access list --all` shows the requests that you may see")
        };
        match digits.parse::<i64>() {
            Ok(i64::MAX) => Err(too_large()),
            Ok(id) => id.try_into(),
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(too_large()),
            Err(_) => Err(Malformed::new("a request is named by its number, as `access list` shows it")),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// When access ends: never, so long after it starts, or at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Never,
    After(Length),
    At(Timestamp),
}

impl End {
    /// The instant at which access that starts at `start` ends. None: never.
    pub fn instant(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            End::Never => None,
            End::After(length) => Some(start.plus(length)),
            End::At(instant) => Some(instant),
        }
    }

    /// `permanent` or a length; None when an instant was asked.
    pub fn duration(self) -> Option<Duration> {
        match self {
            End::Never => Some(Duration::Permanent),
            End::After(length) => Some(Duration::For(length)),
            End::At(_) => None,
        }
    }

    pub fn is_permanent(self) -> bool {
        matches!(self, End::Never)
    }

    pub fn until(self) -> Option<Timestamp> {
        match self {
            End::At(instant) => Some(instant),
            End::Never | End::After(_) => None,
        }
    }
}

impl From<Duration> for End {
    fn from(duration: Duration) -> End {
        match duration {
            Duration::Permanent => End::Never,
            Duration::For(length) => End::After(length),
        }
    }
}

/// What would be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub resource: Resource,
    pub end: End,
    /// Not before then. None: as soon as it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
}

impl Terms {
    #[must_use]
    pub fn modified(&self, by: &Modification) -> Terms {
        Terms {
            resource: by.resource.clone().unwrap_or_else(|| self.resource.clone()),
            end: by.end.unwrap_or(self.end),
            start: self.start,
        }
    }

    /// When access starts if it is approved now: a length counts from then, never from the asking.
    pub fn starts_at(&self, now: Timestamp) -> Timestamp {
        self.start.map_or(now, |start| start.max(now))
    }

    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.end.instant(self.starts_at(now))
    }
}

/// What an approver changes in the terms; what is None stays as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modification {
    pub resource: Option<Resource>,
    pub end: Option<End>,
}

/// What a request says. An edit can change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestDetails {
    pub asked: Terms,
    pub reason: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

impl RequestDetails {
    /// Without the optional parts.
    pub fn new(asked: Terms, reason: Text) -> RequestDetails {
        RequestDetails { asked, reason, ticket: None }
    }
}
