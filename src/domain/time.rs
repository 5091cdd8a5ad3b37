//! An instant: whole seconds since 1970 in UTC. Which instant is *now* is always told from outside.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use super::Malformed;
use super::duration::Length;

/// Written as RFC 3339 in UTC, to the second: `2026-11-24T09:00:00Z`. Between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    const LAST: i64 = 253_402_300_799;

    /// Seconds since 1970 in UTC.
    pub fn from_unix(seconds: i64) -> Result<Timestamp, Malformed> {
        if (0..=Timestamp::LAST).contains(&seconds) {
            Ok(Timestamp(seconds))
        } else {
            Err(Malformed::new("a time lies between the years 1970 and 9999"))
        }
    }

    pub fn unix(self) -> i64 {
        self.0
    }

    /// This long after; never later than the year 9999.
    #[must_use]
    pub fn plus(self, length: Length) -> Timestamp {
        Timestamp((self.0 + length.seconds()).min(Timestamp::LAST))
    }

    /// Seconds from `earlier` to this; negative when it lies after.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    fn utc(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp(self.0, 0).expect("a Timestamp lies between 1970 and 9999")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.utc().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl FromStr for Timestamp {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Timestamp, Malformed> {
        let parsed = DateTime::parse_from_rfc3339(text)
            .map_err(|_| Malformed::new("a time is written like 2026-12-01T17:00:00Z"))?;
        Timestamp::from_unix(parsed.timestamp())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Timestamp, Malformed> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        let time: Timestamp = "2026-11-24T10:00:00+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-24T09:00:00Z");
        assert_eq!(time.plus(Length::HOUR).to_string(), "2026-11-24T10:00:00Z");
        assert_eq!(Timestamp::from_unix(Timestamp::LAST).unwrap().plus(Length::LONGEST).unix(), Timestamp::LAST);
        assert!("2026-11-24".parse::<Timestamp>().is_err());
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
    }
}
