//! How long access lasts.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Malformed, read_by_parsing};

/// A length of time in seconds: at least one, at most ten years of 365 days. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Length(i64);

/// What can be asked for: a length, or permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duration {
    Permanent,
    For(Length),
}

const UNITS: [(char, i64); 5] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Length {
    pub const TEN_MINUTES: Length = Length(600);
    pub const HOUR: Length = Length(3600);
    pub const HALF_DAY: Length = Length(43_200);
    pub const DAY: Length = Length(86_400);
    pub const WEEK: Length = Length(7 * 86_400);
    pub const YEAR: Length = Length(365 * 86_400);
    pub const LONGEST: Length = Length(3650 * 86_400);

    pub fn from_seconds(seconds: i64) -> Result<Length, Malformed> {
        if seconds < 1 {
            Err(Malformed::new("a duration is at least one second"))
        } else if seconds > Length::LONGEST.0 {
            Err(Malformed::new("a duration is at most ten years (3650d), or permanent"))
        } else {
            Ok(Length(seconds))
        }
    }

    /// Of what does not look like a length at all.
    pub fn unreadable() -> Malformed {
        Malformed::new("a duration is written like 1h, 90m, 2d12h, 1w or \"4 hours\"")
    }

    pub fn seconds(self) -> i64 {
        self.0
    }
}

/// Writes a number of seconds for people, largest units first: `5400` is `1h30m`. Weeks only where nothing is left over:
/// `30d`, but `2w`. Zero is `0s`.
pub fn spell(seconds: i64) -> String {
    let (week, size) = UNITS[0];
    if seconds > 0 && seconds % size == 0 { format!("{}{week}", seconds / size) } else { written(seconds, &UNITS[1..]) }
}

/// Writes a number of seconds as the log and signed texts have it, always from weeks on: 30 days are `4w2d`.
pub fn stored(seconds: i64) -> String {
    written(seconds, &UNITS)
}

fn written(seconds: i64, units: &[(char, i64)]) -> String {
    let mut rest = seconds.max(0);
    let mut text = String::new();
    for (unit, size) in units {
        if rest >= *size {
            text += &format!("{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Writes a length that was measured, such as the time left: from an hour on in its two largest units, below that in one.
/// The rest is cut off, never rounded up: 59m40s is `59m`, and 23h45m50s is `23h45m`.
pub fn brief(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let largest = UNITS[1..].iter().position(|(_, size)| seconds >= *size).map_or(UNITS.len() - 1, |at| at + 1);
    let least = if UNITS[largest].1 >= 3600 { largest + 1 } else { largest };
    spell(seconds - seconds % UNITS[least].1)
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&spell(self.0))
    }
}

impl FromStr for Length {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Length, Malformed> {
        let shape = Length::unreadable;
        let too_long = || Length::from_seconds(i64::MAX).expect_err("longer than the longest");
        let mut total: i64 = 0;
        let mut previous = i64::MAX;
        let mut rest = text;
        while !rest.is_empty() {
            let (number, after) = split(rest, |b| b.is_ascii_digit());
            let (word, next) = split(after.trim_start_matches(' '), |b| b.is_ascii_alphabetic());
            let size = match unit(word) {
                Some(size) => size,
                // `1h30` is what people write for 1h30m.
                None if previous == 3600 && number == rest && number.len() == 2 && number < "60" => 60,
                None if word.is_empty() && next.is_empty() && !number.is_empty() => {
                    return Err(Malformed::new("a duration needs a unit, as in 90m or 4h"));
                }
                None => return Err(shape()),
            };
            if number.is_empty() || size >= previous {
                return Err(shape());
            }
            previous = size;
            let count: i64 = number.parse().map_err(|_| too_long())?;
            total = count.checked_mul(size).and_then(|s| total.checked_add(s)).ok_or_else(too_long)?;
            rest = next.trim_start_matches(' ');
            if rest.is_empty() && !next.is_empty() {
                return Err(shape());
            }
        }
        if text.is_empty() { Err(shape()) } else { Length::from_seconds(total) }
    }
}

/// What a text begins with, as far as these bytes go, and the rest. The bytes are ASCII.
fn split(text: &str, belongs: impl Fn(&u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|b| belongs(b)).count())
}

/// The seconds of a unit, by its letter or its name.
fn unit(word: &str) -> Option<i64> {
    let letter = match word {
        "w" | "week" | "weeks" => 'w',
        "d" | "day" | "days" => 'd',
        "h" | "hr" | "hrs" | "hour" | "hours" => 'h',
        "m" | "min" | "mins" | "minute" | "minutes" => 'm',
        "s" | "sec" | "secs" | "second" | "seconds" => 's',
        _ => return None,
    };
    UNITS.into_iter().find_map(|(name, size)| (name == letter).then_some(size))
}

read_by_parsing!(Length);

impl Serialize for Length {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&stored(self.0))
    }
}

impl Duration {
    /// As the log and signed texts have it.
    pub fn stored(self) -> String {
        match self {
            Duration::Permanent => self.to_string(),
            Duration::For(length) => stored(length.0),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Permanent => f.pad("permanent"),
            Duration::For(length) => length.fmt(f),
        }
    }
}

impl FromStr for Duration {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Duration, Malformed> {
        if text == "permanent" { Ok(Duration::Permanent) } else { text.parse().map(Duration::For) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_back_largest_first() {
        for (given, back) in
            [("90m", "1h30m"), ("24h", "1d"), ("2d12h", "2d12h"), ("7d", "1w"), ("permanent", "permanent")]
        {
            assert_eq!(given.parse::<Duration>().unwrap().to_string(), back);
        }
    }

    #[test]
    fn people_read_days_and_the_log_keeps_its_weeks() {
        for (given, shown, in_the_log) in [
            ("14d", "2w", "2w"),
            ("30d", "30d", "4w2d"),
            ("30d4h", "30d4h", "4w2d4h"),
            ("90d", "90d", "12w6d"),
            ("400d", "400d", "57w1d"),
            ("1w1s", "7d1s", "1w1s"),
            ("permanent", "permanent", "permanent"),
        ] {
            let duration = given.parse::<Duration>().unwrap();
            assert_eq!((duration.to_string(), duration.stored()), (shown.to_owned(), in_the_log.to_owned()));
            if let Duration::For(length) = duration {
                assert_eq!(serde_json::to_value(length).unwrap(), in_the_log);
            }
        }
    }

    #[test]
    fn malformed_or_out_of_range() {
        for text in [
            "",
            "0h",
            "-1h",
            "1x",
            "h",
            "1",
            "1h3",
            "1h60",
            "1h5x",
            "1h300",
            "1d30",
            "30 1h",
            "1h30 ",
            "1 fortnight",
            "1hour1hour",
            "4  ",
            "1.5h",
            " 1h",
            "1h ",
            "1h1h",
            "1m1h",
            "99999999999d",
            "3651d",
            "99999999999999999999d",
            "１h",
            "1é",
            "Permanent",
            "0s",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
        assert_eq!("3650d".parse::<Length>().unwrap(), Length::LONGEST);
    }

    #[test]
    fn what_people_type() {
        for (typed, meant) in [
            ("4 hours", "4h"),
            ("1 hour", "1h"),
            ("1h30", "1h30m"),
            ("1h 05", "1h5m"),
            ("1h 30m", "1h30m"),
            ("90 minutes", "90m"),
            ("90min", "90m"),
            ("1 week 2 days", "1w2d"),
            ("2hrs 15 mins 10 secs", "2h15m10s"),
        ] {
            assert_eq!(typed.parse::<Length>().unwrap(), meant.parse().unwrap(), "{typed}");
        }
        assert_eq!("90".parse::<Length>(), Err(Malformed::new("a duration needs a unit, as in 90m or 4h")));
    }

    #[test]
    fn a_measured_length_is_cut_off_and_never_rounded_up() {
        for (seconds, words) in [
            (0, "0s"),
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (119, "1m"),
            (59 * 60 + 40, "59m"),
            (3600, "1h"),
            (3600 + 59, "1h"),
            (14_339, "3h58m"),
            (23 * 3600 + 45 * 60, "23h45m"),
            (86_399, "23h59m"),
            (86_400, "1d"),
            (86_400 + 3599, "1d"),
            (2 * 86_400 - 1, "1d23h"),
            (7 * 86_400 - 1, "6d23h"),
            (7 * 86_400, "1w"),
            (22 * 86_400, "22d"),
            (400 * 86_400 - 62, "399d23h"),
        ] {
            assert_eq!(brief(seconds), words);
        }
    }

    proptest! {
        #[test]
        fn every_measured_length_reads_back_as_no_more_than_it_is(seconds in 1..=Length::LONGEST.seconds()) {
            let read = brief(seconds).parse::<Length>().unwrap().seconds();
            prop_assert!(read <= seconds && brief(read) == brief(seconds));
        }

        #[test]
        fn no_words_of_lengths_panic(text in "([0-9]{0,20} ?(w|d|h|m|s|hours?|min|é|１)? ?){0,4}") {
            if let Ok(length) = text.parse::<Length>() {
                prop_assert_eq!(length.to_string().parse::<Length>().unwrap(), length);
            }
        }

        #[test]
        fn every_length_reads_back(seconds in 1..=Length::LONGEST.seconds()) {
            let length = Length::from_seconds(seconds).unwrap();
            prop_assert_eq!(length.to_string().parse::<Length>().unwrap(), length);
            prop_assert_eq!(stored(seconds).parse::<Length>().unwrap(), length);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Duration>();
        }
    }
}
