//! Times as people write and read them: in their own time zone, or relative to now.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Local, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

use crate::domain::Malformed;
use crate::domain::duration::{Length, spell};
use crate::domain::time::Timestamp;

/// A time as it was typed. Which instant it is depends on now and on the time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Instant(Timestamp),
    Local(NaiveDateTime),
    Today(NaiveTime),
    In(Length),
    Ago(Length),
}

impl FromStr for When {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<When, Malformed> {
        let text = text.trim();
        if let Some(length) = text.strip_prefix("in ") {
            return Ok(When::In(length.trim().parse()?));
        }
        if let Some(length) = text.strip_suffix(" ago") {
            return Ok(When::Ago(length.trim().parse()?));
        }
        for shape in ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"] {
            if let Ok(time) = NaiveDateTime::parse_from_str(text, shape) {
                return Ok(When::Local(time));
            }
        }
        for shape in ["%H:%M", "%H:%M:%S"] {
            if let Ok(time) = NaiveTime::parse_from_str(text, shape) {
                return Ok(When::Today(time));
            }
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(When::Local(date.and_time(NaiveTime::MIN)));
        }
        text.parse().map(When::Instant).map_err(|_| {
            Malformed::new("a time is written like 17:00, \"2026-12-01 17:00\", 2026-12-01T17:00:00Z or \"in 3h\"")
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Instant(instant) => instant.fmt(f),
            When::Local(time) => write!(f, "{time}"),
            When::Today(time) => write!(f, "{time}"),
            When::In(length) => write!(f, "in {length}"),
            When::Ago(length) => write!(f, "{length} ago"),
        }
    }
}

impl When {
    /// The instant meant, as seen now and here.
    pub fn resolve(self, now: Timestamp) -> Result<Timestamp, Malformed> {
        match self {
            When::Instant(instant) => Ok(instant),
            When::In(length) => Ok(now.plus(length)),
            When::Ago(length) => Timestamp::from_unix((now.unix() - length.seconds()).max(0)),
            When::Local(time) => local_instant(time),
            When::Today(time) => local_instant(local(now).date_naive().and_time(time)),
        }
    }
}

fn local_instant(time: NaiveDateTime) -> Result<Timestamp, Malformed> {
    match Local.from_local_datetime(&time) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Timestamp::from_unix(time.timestamp()),
        LocalResult::None => {
            Err(Malformed::new(format!("{time} does not exist here: the clocks are put forward over it")))
        }
    }
}

fn local(time: Timestamp) -> DateTime<Local> {
    let utc = DateTime::from_timestamp(time.unix(), 0).expect("a Timestamp lies between 1970 and 9999");
    utc.with_timezone(&Local)
}

/// `2026-11-24 09:00`, in the local time zone.
pub fn date_and_time(time: Timestamp) -> String {
    local(time).format("%Y-%m-%d %H:%M").to_string()
}

/// `14:00` on the day that `now` is, else `2026-11-25`: for where there is little room.
pub fn day_or_hour(time: Timestamp, now: Timestamp) -> String {
    let same_day = local(time).date_naive() == local(now).date_naive();
    local(time).format(if same_day { "%H:%M" } else { "%Y-%m-%d" }).to_string()
}

/// A length in its two largest units, for people: `3h 58m`, `45s`, `2d 4h`.
pub fn roughly(seconds: i64) -> String {
    let exact = spell(seconds);
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    for c in exact.chars() {
        part.push(c);
        if c.is_ascii_alphabetic() {
            parts.push(std::mem::take(&mut part));
        }
    }
    // Seconds matter only when there is little else.
    if parts.len() > 1 && seconds >= 3600 {
        parts.retain(|part| !part.ends_with('s'));
    }
    parts.truncate(2);
    parts.join(" ")
}

/// In one unit, to the nearest: `2d ago`, `now`, `in 3h`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let apart = now.since(time);
    let units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let nearest = |size: i64| (apart.abs() + size / 2) / size;
    let fitting = units.into_iter().find(|&(_, size)| apart.abs() >= size);
    let whole = fitting.map(|(unit, size)| format!("{}{unit}", nearest(size)));
    match (whole, apart) {
        (None, _) => "now".to_owned(),
        (Some(whole), 1..) => format!("{whole} ago"),
        (Some(whole), _) => format!("in {whole}"),
    }
}

/// `2026-11-24 09:00 (2d ago)`.
pub fn both(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", date_and_time(time), relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ways_to_write_a_time() {
        let now = at("2026-11-24T09:00:00Z");
        let resolved = |text: &str| text.parse::<When>().unwrap().resolve(now).unwrap();
        assert_eq!(resolved("in 3h"), at("2026-11-24T12:00:00Z"));
        assert_eq!(resolved("2d ago"), at("2026-11-22T09:00:00Z"));
        assert_eq!(resolved("2026-12-01T17:00:00+01:00"), at("2026-12-01T16:00:00Z"));
        for text in ["17:00", "2026-12-01 17:00", "2026-12-01"] {
            assert!(text.parse::<When>().unwrap().resolve(now).is_ok(), "{text}");
        }
        for text in ["", "tomorrow", "25:00", "in -1h", "in", "2026-13-01 00:00", "0000-00-00"] {
            assert!(text.parse::<When>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_for_people() {
        assert_eq!(roughly(14_280), "3h 58m");
        assert_eq!(roughly(14_339), "3h 58m");
        assert_eq!(roughly(3_480), "58m");
        assert_eq!(roughly(59), "59s");
        assert_eq!(roughly(90), "1m 30s");
        assert_eq!(roughly(0), "0s");
        let now = at("2026-11-24T09:00:00Z");
        for (time, words) in [
            ("2026-11-22T08:00:00Z", "2d ago"),
            ("2026-11-24T16:59:50Z", "in 8h"),
            ("2026-11-24T08:59:59Z", "1s ago"),
            ("2026-11-24T09:00:00Z", "now"),
            ("2026-12-01T09:00:00Z", "in 7d"),
        ] {
            assert_eq!(relative(at(time), now), words);
        }
    }
}
