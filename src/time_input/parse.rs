//! Parses a day and a time of day.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

use super::{Day, LocalTime};
use crate::domain::time::clock;

/// Parses `[DAY] [TIME] [OFFSET]`, day and time in either order.
pub(super) fn local_time(text: &str) -> Option<LocalTime> {
    let (text, offset) = split_offset(text);
    let mut text = text.to_owned();
    let joins = |&at: &usize| date(&text[..at]).is_some() && text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    if let Some(at) = text.find('t').filter(joins) {
        text.replace_range(at..=at, " ");
    }
    let (mut found_day, mut found_time) = (None, None);
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let repeated = match day(word) {
            Some(day) => found_day.replace(day).is_some(),
            None => {
                let half = words.next_if(|word| ["am", "pm"].contains(word)).unwrap_or_default();
                found_time.replace(clock(&format!("{word}{half}"))?).is_some()
            }
        };
        if repeated {
            return None;
        }
    }
    let nothing = found_day.is_none() && found_time.is_none();
    let offset_of_day = offset.is_some() && found_time.is_none();
    if nothing || offset_of_day {
        return None;
    }
    Some(LocalTime { day: found_day.unwrap_or(Day::Any), time: found_time.unwrap_or(NaiveTime::MIN), offset })
}

fn day(word: &str) -> Option<Day> {
    match word {
        "yesterday" => Some(Day::Yesterday),
        "today" => Some(Day::Today),
        "tomorrow" => Some(Day::Tomorrow),
        _ => match word.parse() {
            Ok(weekday) => Some(Day::Weekday(weekday)),
            Err(_) => date(word).map(Day::Date),
        },
    }
}

fn date(word: &str) -> Option<NaiveDate> {
    let year =
        word.split_once('-').is_some_and(|(year, _)| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()));
    let date = NaiveDate::parse_from_str(word, "%Y-%m-%d").ok()?;
    (year && date.year() >= 1970).then_some(date)
}

/// Splits `Z`, `UTC`, `+01:00` or `+0100` off the end of a text, if there is a time of day before it.
fn split_offset(text: &str) -> (&str, Option<i32>) {
    let has_time = |head: &str| head.contains(':') || head.ends_with("am") || head.ends_with("pm");
    let zero = ["z", "utc"].into_iter().find_map(|name| text.strip_suffix(name)).map(|head| (head, 0));
    let signed = || {
        let at = text.rfind(['+', '-'])?;
        let ahead = seconds_of_offset(&text[at + 1..])?;
        Some((&text[..at], if text[at..].starts_with('-') { -ahead } else { ahead }))
    };
    match zero.or_else(signed) {
        Some((head, offset)) if has_time(head.trim_end()) => (head.trim_end(), Some(offset)),
        Some(_) | None => (text, None),
    }
}

/// Parses `HH:MM`, `HH:MM:SS` and `HHMM`, up to 23:59:59.
fn seconds_of_offset(text: &str) -> Option<i32> {
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return None;
    }
    let parts: Vec<&str> = match text.split_at_checked(2) {
        Some((hours, minutes)) if text.len() == 4 => vec![hours, minutes],
        Some(_) | None => text.split(':').collect(),
    };
    let numbers = parts.iter().map(|part| if part.len() == 2 { part.parse().ok() } else { None });
    let time = match numbers.collect::<Option<Vec<u32>>>()?.as_slice() {
        [hour, minute] => NaiveTime::from_hms_opt(*hour, *minute, 0)?,
        [hour, minute, second] => NaiveTime::from_hms_opt(*hour, *minute, *second)?,
        _ => return None,
    };
    i32::try_from(time.num_seconds_from_midnight()).ok()
}
