//! How long access lasts.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Malformed, read_by_parsing};

/// A length of time in seconds: at least one, at most ten years of 365 days. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Length(i64);

/// What can be asked for: a length, or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duration {
    Permanent,
    For(Length),
}

const UNITS: [(char, i64); 5] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Length {
    pub const HOUR: Length = Length(3600);
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

    pub fn seconds(self) -> i64 {
        self.0
    }
}

/// Writes a number of seconds largest units first: `5400` is `1h30m`. Zero is `0s`.
pub fn spell(seconds: i64) -> String {
    let mut rest = seconds.max(0);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text += &format!("{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&spell(self.0))
    }
}

impl FromStr for Length {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Length, Malformed> {
        let shape = || Malformed::new("a duration is written like 1h, 90m, 2d12h or 1w");
        let too_long = || Length::from_seconds(i64::MAX).expect_err("longer than the longest");
        let mut total: i64 = 0;
        let mut largest = i64::MAX;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let unit = rest[digits..].chars().next().ok_or_else(shape)?;
            let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(shape)?;
            if digits == 0 || size >= largest {
                return Err(shape());
            }
            largest = size;
            let count: i64 = rest[..digits].parse().map_err(|_| too_long())?;
            total = count.checked_mul(size).and_then(|s| total.checked_add(s)).ok_or_else(too_long)?;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if text.is_empty() { Err(shape()) } else { Length::from_seconds(total) }
    }
}

read_by_parsing!(Length);

impl Serialize for Length {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
    fn malformed_or_out_of_range() {
        for text in [
            "",
            "0h",
            "-1h",
            "1x",
            "h",
            "1",
            "1h30",
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

    proptest! {
        #[test]
        fn every_length_reads_back(seconds in 1..=Length::LONGEST.seconds()) {
            let length = Length::from_seconds(seconds).unwrap();
            prop_assert_eq!(length.to_string().parse::<Length>().unwrap(), length);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Duration>();
        }
    }
}
