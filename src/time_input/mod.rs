//! Times that people type: absolute, in the local time zone or another, or relative to now.

mod parse;
mod resolve;

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime, Timelike, Weekday};

use crate::domain::Malformed;
use crate::domain::duration::Length;
use crate::domain::time::Timestamp;
use crate::time_zone::Offset;

pub use resolve::{Pick, Resolved};

/// A time as it was typed. Which instant it is depends on now and on the time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedTime {
    Instant(Timestamp),
    In(Length),
    Ago(Length),
    Local(LocalTime),
}

/// A day and a time of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    day: Day,
    time: NaiveTime,
    /// Seconds ahead of UTC. None: in the local time zone.
    offset: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// Only a time of day was typed.
    Any,
    Yesterday,
    Today,
    Tomorrow,
    Weekday(Weekday),
    Date(NaiveDate),
}

/// Accepted ways to write a length and a time, each with another that means the same. The manual page shows them.
pub const LENGTHS: [(&str, &str); 8] = [
    ("4 hours", "4h"),
    ("90 minutes", "90m"),
    ("1h30m", "90m"),
    ("1h30", "1h30m"),
    ("1 hour 30 min", "1h30m"),
    ("1 day 12 hours", "36h"),
    ("2 weeks", "14d"),
    ("45 sec", "45s"),
];
pub const TIMES: [(&str, &str); 17] = [
    ("5pm", "17:00"),
    ("9:30 am", "09:30"),
    ("tomorrow", "tomorrow 00:00"),
    ("tomorrow 9am", "tomorrow 09:00"),
    ("9am tomorrow", "tomorrow 09:00"),
    ("mon", "monday 00:00"),
    ("mon 09:00", "monday 9am"),
    ("today 17:00", "today 5pm"),
    ("2026-04-01", "2026-04-01 00:00"),
    ("2026-04-01 5pm", "2026-04-01 17:00"),
    ("2026-04-01T17:00", "2026-04-01 17:00"),
    ("2026-04-01T17:00Z", "2026-04-01T17:00:00Z"),
    ("2026-04-01 17:00 UTC", "2026-04-01T17:00:00Z"),
    ("2026-04-01 17:00 +02:00", "2026-04-01T15:00:00Z"),
    ("2026-04-01T17:00+0200", "2026-04-01T15:00:00Z"),
    ("in 90 minutes", "in 1h30m"),
    ("2 days ago", "48h ago"),
];

impl FromStr for TypedTime {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<TypedTime, Malformed> {
        let text = text.trim();
        if let Ok(instant) = text.parse() {
            return Ok(TypedTime::Instant(instant));
        }
        if let Some(length) = text.strip_prefix("in ") {
            return Ok(TypedTime::In(length.trim().parse()?));
        }
        if let Some(length) = text.strip_suffix(" ago") {
            return Ok(TypedTime::Ago(length.trim().parse()?));
        }
        parse::local_time(&text.to_ascii_lowercase()).map(TypedTime::Local).ok_or_else(|| {
            Malformed::new(
                "a time is written like 17:00, 5pm, \"tomorrow 09:00\", \"mon 9am\", \"2026-12-01 17:00\", \
                 2026-12-01T17:00Z, \"in 3h\" or \"2d ago\"",
            )
        })
    }
}

/// Parses the value of an option that takes a time in the future, such as `--until`.
pub fn parse_future(text: &str) -> Result<TypedTime, Malformed> {
    parse_option(text, |length| format!("in {length}"))
}

/// Parses the value of an option that takes a time in the past, such as `--since`.
pub fn parse_past(text: &str) -> Result<TypedTime, Malformed> {
    parse_option(text, |length| format!("{length} ago"))
}

/// `correction`: what someone who typed only a length probably wanted to write.
fn parse_option(text: &str, correction: impl Fn(Length) -> String) -> Result<TypedTime, Malformed> {
    text.parse().map_err(|why| match text.trim().parse::<Length>() {
        Ok(length) => Malformed::new("that is a length, not a time").hint(format!("write '{}'", correction(length))),
        Err(_) => why,
    })
}

impl fmt::Display for TypedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypedTime::Instant(instant) => instant.fmt(f),
            TypedTime::In(length) => write!(f, "in {length}"),
            TypedTime::Ago(length) => write!(f, "{length} ago"),
            TypedTime::Local(local) => local.fmt(f),
        }
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.day {
            Day::Any => {}
            Day::Yesterday => f.write_str("yesterday ")?,
            Day::Today => f.write_str("today ")?,
            Day::Tomorrow => f.write_str("tomorrow ")?,
            Day::Weekday(weekday) => write!(f, "{} ", weekday.to_string().to_ascii_lowercase())?,
            Day::Date(date) => write!(f, "{} ", date.format("%Y-%m-%d"))?,
        }
        write!(f, "{}", self.time.format(if self.time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }))?;
        self.offset.map_or(Ok(()), |offset| write!(f, " {}", Offset(offset)))
    }
}
