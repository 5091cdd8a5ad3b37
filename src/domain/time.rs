//! An instant: whole seconds since 1970 in UTC. The caller always supplies the current time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use serde::Serialize;

use super::duration::Length;
use super::{Malformed, read_by_parsing};

/// Written as RFC 3339 in UTC, to the second: `2026-11-24T09:00:00Z`. Between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A clock this much behind the last recorded time is wrong, or was: one minute. Less is taken as that time.
pub const CLOCK_SLACK: i64 = 60;

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

    /// This long before; never earlier than 1970.
    #[must_use]
    pub fn minus(self, length: Length) -> Timestamp {
        Timestamp((self.0 - length.seconds()).max(0))
    }

    /// Seconds from `earlier` to this; negative when it lies after.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// As RFC 3339 has it. Long lists and logs are full of them, so it is done without detours.
    fn written(self) -> [u8; 20] {
        let date = DateTime::from_timestamp(self.0, 0).expect("a Timestamp lies between 1970 and 9999").date_naive();
        let second = self.0 % 86_400;
        let mut text = *b"0000-00-00T00:00:00Z";
        let mut put = |at: usize, width: usize, mut number: u32| {
            for place in (at..at + width).rev() {
                text[place] = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        };
        put(0, 4, date.year().unsigned_abs());
        put(5, 2, date.month());
        put(8, 2, date.day());
        for (at, number) in [(11, second / 3600), (14, second / 60 % 60), (17, second % 60)] {
            put(at, 2, u32::try_from(number).unwrap_or(0));
        }
        text
    }

    /// Reads what `written` writes; None for any other way of writing a time.
    fn read(text: &str) -> Option<Timestamp> {
        let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
        let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        if shape.iter().any(|&(at, sign)| bytes[at] != sign) {
            return None;
        }
        let number = |from: usize, to: usize| {
            let digits = bytes[from..to].iter();
            digits
                .map(|digit| digit.is_ascii_digit().then(|| u32::from(digit - b'0')))
                .try_fold(0, |sum, digit| Some(sum * 10 + digit?))
        };
        let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
        let time = date.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
        Timestamp::from_unix(time.and_utc().timestamp()).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.written()).expect("digits and signs are text"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.written()).expect("digits and signs are text"))
    }
}

impl FromStr for Timestamp {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Timestamp, Malformed> {
        if let Some(time) = Timestamp::read(text) {
            return Ok(time);
        }
        let parsed = DateTime::parse_from_rfc3339(text)
            .map_err(|_| Malformed::new("a time is written like 2026-12-01T17:00:00Z"))?;
        Timestamp::from_unix(parsed.timestamp())
    }
}

read_by_parsing!(Timestamp);

/// A time of day as people write it: `17:00`, `9:30:15`, `5pm`, `12:15am`.
pub fn clock(text: &str) -> Option<NaiveTime> {
    let halves = [("am", 0), ("AM", 0), ("pm", 12), ("PM", 12)];
    let half = halves.into_iter().find_map(|(word, hours)| Some((text.strip_suffix(word)?.trim_end(), hours)));
    let mut numbers = [0; 3];
    let mut count = 0;
    for part in half.map_or(text, |(digits, _)| digits).split(':') {
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        // Only the hour may have one digit.
        if !is_number || count > 0 && part.len() == 1 {
            return None;
        }
        *numbers.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    let [hour, minute, second] = numbers;
    let hour = match half {
        Some((_, hours)) => (1..=12).contains(&hour).then_some(hour % 12 + hours)?,
        None => (count > 1).then_some(hour)?,
    };
    NaiveTime::from_hms_opt(hour, minute, second)
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
        for text in [
            "2026-11-24",
            "2026-02-30T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T0x:00:00Z",
            "+026-11-24T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
    }

    #[test]
    fn times_of_day() {
        for (text, hour, minute, second) in [
            ("17:00", 17, 0, 0),
            ("9:30", 9, 30, 0),
            ("23:59:59", 23, 59, 59),
            ("5pm", 17, 0, 0),
            ("5 PM", 17, 0, 0),
            ("12am", 0, 0, 0),
            ("12:15pm", 12, 15, 0),
        ] {
            assert_eq!(clock(text), NaiveTime::from_hms_opt(hour, minute, second), "{text}");
        }
        for text in [
            "",
            "5",
            "17",
            "24:00",
            "12:60",
            "23:59:60",
            "0pm",
            "13pm",
            "9:5",
            "1:2:3:4",
            ":",
            "pm",
            "１７:00",
            "+1:00",
        ] {
            assert_eq!(clock(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_time_is_written_as_others_write_it_and_reads_back(seconds in 0..=Timestamp::LAST) {
            let time = Timestamp::from_unix(seconds).unwrap();
            let others = DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            proptest::prop_assert_eq!(time.to_string(), others);
            proptest::prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
