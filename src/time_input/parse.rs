//! Reads a day and a time of day.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

use super::{Day, Moment};
use crate::domain::time::clock;

/// Reads `[DAY] [TIME] [OFFSET]`, day and time in either order.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let (text, offset) = split_offset(text);
    let mut text = text.to_owned();
    let joins = |&at: &usize| date(&text[..at]).is_some() && text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    if let Some(at) = text.find('t').filter(joins) {
        text.replace_range(at..=at, " ");
    }
    let (mut said_day, mut said_time) = (None, None);
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let repeated = match day(word) {
            Some(day) => said_day.replace(day).is_some(),
            None => {
                let half = words.next_if(|word| ["am", "pm"].contains(word)).unwrap_or_default();
                said_time.replace(clock(&format!("{word}{half}"))?).is_some()
            }
        };
        if repeated {
            return None;
        }
    }
    let nothing = said_day.is_none() && said_time.is_none();
    let offset_of_day = offset.is_some() && said_time.is_none();
    if nothing || offset_of_day {
        return None;
    }
    Some(Moment { day: said_day.unwrap_or(Day::Unsaid), time: said_time.unwrap_or(NaiveTime::MIN), offset })
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

/// Takes `Z`, `UTC`, `+01:00`, `+0100` off the end of a text that has a time of day before it.
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

/// Reads `HH:MM`, `HH:MM:SS` and `HHMM`, up to 23:59:59.
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::super::zone::zone_named;
    use super::super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        zone_named(Some(OsStr::new(name))).unwrap()
    }

    fn meant(zone: &str, typed: &str, now: &str, sense: Sense) -> Result<Meant, Malformed> {
        let when: When = typed.parse()?;
        if let When::At(Moment { offset: Some(_), .. }) = when {
            return when.resolve(at(now), sense);
        }
        when.resolve_in(self::zone(zone).as_ref(), at(now), sense)
    }

    /// In Berlin.
    fn berlin(typed: &str, now: &str, sense: Sense) -> String {
        match meant("Europe/Berlin", typed, now, sense) {
            Ok(meant) => meant.at.to_string(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn ways_to_write_a_time() {
        // A Tuesday, 10:00 in Berlin.
        let now = "2026-11-24T09:00:00Z";
        for (typed, next) in [
            ("in 3h", "2026-11-24T12:00:00Z"),
            ("in 90 minutes", "2026-11-24T10:30:00Z"),
            ("2d ago", "2026-11-22T09:00:00Z"),
            ("2026-12-01T17:00:00+01:00", "2026-12-01T16:00:00Z"),
            ("2026-12-01T17:00Z", "2026-12-01T17:00:00Z"),
            ("2026-12-01 17:00", "2026-12-01T16:00:00Z"),
            ("2026-12-01 17:00 utc", "2026-12-01T17:00:00Z"),
            ("2026-12-01 17:00 -0330", "2026-12-01T20:30:00Z"),
            ("2026-12-01", "2026-11-30T23:00:00Z"),
            ("17:00", "2026-11-24T16:00:00Z"),
            (" 5 PM ", "2026-11-24T16:00:00Z"),
            ("17:00 UTC", "2026-11-24T17:00:00Z"),
            ("08:59:59Z", "2026-11-25T08:59:59Z"),
            ("10:00", "2026-11-25T09:00:00Z"),
            ("10:00:01", "2026-11-24T09:00:01Z"),
            ("today 9am", "2026-11-24T08:00:00Z"),
            ("tomorrow 09:00", "2026-11-25T08:00:00Z"),
            ("9am tomorrow", "2026-11-25T08:00:00Z"),
            ("tomorrow", "2026-11-24T23:00:00Z"),
            ("mon 09:00", "2026-11-30T08:00:00Z"),
            ("Tuesday 9am", "2026-12-01T08:00:00Z"),
            ("tue 11:00", "2026-11-24T10:00:00Z"),
            ("wed", "2026-11-24T23:00:00Z"),
        ] {
            assert_eq!(berlin(typed, now, Sense::Next), next, "{typed}");
        }
        for text in [
            "",
            "25:00",
            "in -1h",
            "in",
            "2026-13-01 00:00",
            "0000-00-00",
            "1969-12-31",
            "12026-01-01",
            "+2026-01-01",
            "5",
            "mon tue",
            "17:00 18:00",
            "tomorrow UTC",
            "2026-12-01 +01:00",
            "17:00 +24:00",
            "17:00 +1",
            "noonish",
            "now",
            "17:00 +1:000",
            "pm",
            "2026-12-01T",
            "T17:00",
            "23:59:60",
            "17:00 +",
            "17:00 +01:0é",
        ] {
            assert!(text.parse::<When>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn of_what_is_listed_the_last_such_time_is_meant() {
        let now = "2026-11-24T09:00:00Z";
        for (typed, since, until) in [
            ("09:30", "2026-11-24T08:30:00Z", "2026-11-24T08:30:00Z"),
            ("10:00", "2026-11-24T09:00:00Z", "2026-11-24T09:00:00Z"),
            // A list up to 17:00 ends today, and one since 17:00 began yesterday.
            ("17:00", "2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z"),
            ("mon", "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z"),
            ("tue 17:00", "2026-11-17T16:00:00Z", "2026-11-24T16:00:00Z"),
            ("yesterday 9am", "2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"),
            ("tomorrow", "2026-11-24T23:00:00Z", "2026-11-24T23:00:00Z"),
        ] {
            assert_eq!(berlin(typed, now, Sense::Last), since, "{typed}");
            assert_eq!(berlin(typed, now, Sense::UpTo), until, "{typed}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice() {
        // In Berlin 02:30 is at 00:30 and again at 01:30 UTC.
        let (first, second) = ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
        for (now, next, last) in [
            ("2026-10-25T00:15:00Z", first, "2026-10-24T00:30:00Z"),
            ("2026-10-25T00:30:00Z", second, first),
            ("2026-10-25T01:15:00Z", second, first),
            ("2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z", first),
        ] {
            assert_eq!(berlin("02:30", now, Sense::Next), next, "{now}");
            assert_eq!(berlin("02:30", now, Sense::Last), last, "{now}");
        }
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-01T00:00:00Z", Sense::Next), first);
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-26T00:00:00Z", Sense::Last), first);
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-26T00:00:00Z", Sense::UpTo), second);
        assert_eq!(berlin("2026-10-25 02:30 +01:00", "2026-10-01T00:00:00Z", Sense::Next), second);
        let note = meant("Europe/Berlin", "02:30", "2026-10-25T00:15:00Z", Sense::Next).unwrap().note;
        let says = "2026-10-25 02:30 comes twice, because the clocks go back; 2026-10-25 02:30 +02:00 is taken";
        assert_eq!(note.as_deref(), Some(says));
    }

    #[test]
    fn the_hour_that_never_comes() {
        let never = "2026-03-29 02:30 does not exist: the clocks go forward then, from 02:00 +01:00 to 03:00 +02:00";
        assert_eq!(berlin("2026-03-29 02:30", "2026-03-01T00:00:00Z", Sense::Next), never);
        assert_eq!(berlin("02:30", "2026-03-28T12:00:00Z", Sense::Next), never);
        assert_eq!(berlin("sun 02:30", "2026-03-28T12:00:00Z", Sense::Next), never);
        assert_eq!(berlin("02:30", "2026-03-29T12:00:00Z", Sense::Last), never);
        // Before and after that day it exists.
        assert_eq!(berlin("02:30", "2026-03-28T00:00:00Z", Sense::Next), "2026-03-28T01:30:00Z");
        assert_eq!(berlin("02:30", "2026-03-29T12:00:00Z", Sense::Next), "2026-03-30T00:30:00Z");
        // The day that Samoa left out.
        let samoa = meant("Pacific/Apia", "2011-12-30 12:00", "2011-12-01T00:00:00Z", Sense::Next);
        assert!(samoa.unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn what_was_taken_is_said_where_another_could_have_been_meant() {
        let note = |typed, sense| meant("Europe/Berlin", typed, "2026-11-24T09:00:00Z", sense).unwrap().note;
        let passed = note("09:00", Sense::Next);
        assert_eq!(passed.as_deref(), Some("09:00 has passed today; 2026-11-25 09:00 +01:00 is taken"));
        let to_come = note("17:00", Sense::Last);
        assert_eq!(to_come.as_deref(), Some("17:00 is still to come today; 2026-11-23 17:00 +01:00 is taken"));
        let week = note("tue 9am", Sense::Next);
        assert_eq!(week.as_deref(), Some("today is Tue; 2026-12-01 09:00 +01:00 is taken"));
        for typed in ["17:00", "mon 09:00", "tomorrow 09:00", "2026-12-01", "in 3h"] {
            assert_eq!(note(typed, Sense::Next), None, "{typed}");
        }
    }

    #[test]
    fn an_unknown_time_zone_is_not_utc() {
        for name in ["Europe/Pariss", "Paris", "CEST", ":", "/etc/passwd", "/dev/null", "\u{1b}[2J"] {
            assert!(zone_named(Some(OsStr::new(name))).is_err(), "{name:?}");
        }
        for (name, shown) in [
            ("Europe/Paris", "2026-11-24 10:00 +01:00"),
            (":America/St_Johns", "2026-11-24 05:30 -03:30"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-11-24 10:00 +01:00"),
            ("", "2026-11-24 09:00 UTC"),
            ("UTC", "2026-11-24 09:00 UTC"),
        ] {
            assert_eq!(written(zone(name).as_ref(), at("2026-11-24T09:00:00Z")), shown, "{name:?}");
        }
        assert!(zone_named(None).is_ok());
    }

    #[test]
    fn a_length_where_a_time_belongs_says_what_was_probably_meant() {
        assert!(gone("1h").unwrap_err().hint.is_some_and(|hint| hint == "write '1h ago'"));
        assert!(to_come("90 minutes").unwrap_err().hint.is_some_and(|hint| hint == "write 'in 1h30m'"));
        assert!(!gone("noonish").unwrap_err().to_string().contains("tip"));
    }

    #[test]
    fn equivalent_forms_mean_the_same() {
        for (form, same) in LENGTHS {
            assert_eq!(form.parse::<Length>().unwrap(), same.parse().unwrap(), "{form}");
        }
        for (form, same) in TIMES {
            // Before and after each time of day.
            for now in ["2026-03-31T23:30:00Z", "2026-04-01T08:00:00Z", "2026-04-01T16:00:00Z"] {
                for sense in [Sense::Next, Sense::Last, Sense::UpTo] {
                    assert_eq!(berlin(form, now, sense), berlin(same, now, sense), "{form}");
                    assert!(berlin(form, now, sense).ends_with('Z'), "{form}");
                }
            }
        }
    }

    #[test]
    fn times_relative_to_now() {
        let now = at("2026-11-24T09:00:00Z");
        for (time, words) in [
            ("2026-11-22T08:00:00Z", "2d1h ago"),
            ("2026-11-24T16:59:50Z", "in 7h59m"),
            ("2026-11-24T08:00:20Z", "59m ago"),
            ("2026-11-23T09:15:00Z", "23h45m ago"),
            ("2026-11-24T08:59:59Z", "1s ago"),
            ("2026-11-24T09:00:00Z", "now"),
            ("2026-12-01T09:00:00Z", "in 1w"),
        ] {
            assert_eq!(relative(at(time), now), words);
        }
    }

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"];

    fn senses() -> impl Strategy<Value = Sense> {
        prop::sample::select(&[Sense::Next, Sense::Last, Sense::UpTo][..])
    }

    fn days() -> impl Strategy<Value = Day> {
        let date = (1970..=9999_i32, 1..=366_u32)
            .prop_filter_map("a day of that year", |(year, day)| NaiveDate::from_yo_opt(year, day).map(Day::Date));
        let named = vec![Day::Unsaid, Day::Yesterday, Day::Today, Day::Tomorrow];
        let weekdays = (0..7_u8).prop_map(|day| Day::Weekday(Weekday::try_from(day).unwrap()));
        prop_oneof![date, prop::sample::select(named), weekdays]
    }

    fn whens() -> impl Strategy<Value = When> {
        let length = || (1..=Length::LONGEST.seconds()).prop_map(|seconds| Length::from_seconds(seconds).unwrap());
        let instant = (0..253_402_300_800_i64).prop_map(|seconds| Timestamp::from_unix(seconds).unwrap());
        let time = (0..86_400_u32).prop_map(|second| NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap());
        let moment = (days(), time, prop::option::of(-86_399..=86_399_i32))
            .prop_map(|(day, time, offset)| When::At(Moment { day, time, offset }));
        prop_oneof![
            1 => length().prop_map(When::In),
            1 => length().prop_map(When::Ago),
            1 => instant.prop_map(When::Instant),
            5 => moment
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(when in whens()) {
            prop_assert_eq!(when.to_string().parse::<When>().unwrap(), when);
        }

        /// Shown to the minute, in any zone, the hour that comes twice included.
        #[test]
        fn a_time_that_is_shown_reads_back(minutes in 0..253_402_300_800_i64 / 60 - 1440, zone in prop::sample::select(&ZONES[..])) {
            let time = Timestamp::from_unix(minutes * 60 + 43_200).unwrap();
            let shown = written(self::zone(zone).as_ref(), time);
            let read = shown.parse::<When>().unwrap().resolve(Timestamp::from_unix(0).unwrap(), Sense::Next).unwrap();
            // Monrovia's clocks were behind by 44 minutes and 30 seconds.
            prop_assert!((0..60).contains(&time.since(read.at)), "{} is not {}", shown, time);
        }

        #[test]
        fn every_instant_reads_back_in_a_zone_that_shows_it_once(seconds in 1_000_000_000..2_000_000_000_i64) {
            let (zone, time) = (self::zone("Europe/Berlin"), Timestamp::from_unix(seconds - seconds % 60).unwrap());
            let (shown, _) = local(zone.as_ref(), time);
            let when: When = shown.format("%Y-%m-%d %H:%M").to_string().parse().unwrap();
            let before = Timestamp::from_unix(time.unix() - 1).unwrap();
            prop_assert_eq!(when.resolve_in(zone.as_ref(), before, Sense::Next).unwrap().at, time);
        }

        /// An end or a start of any day is to come, and the beginning of a list is not.
        #[test]
        fn what_is_taken_is_on_the_right_side_of_now(
            when in whens(), now in 86_400 * 30..4_000_000_000_i64, zone in prop::sample::select(&ZONES[..])
        ) {
            let (now, zone) = (Timestamp::from_unix(now).unwrap(), self::zone(zone));
            let When::At(Moment { day: Day::Unsaid | Day::Weekday(_), .. }) = when else { return Ok(()) };
            if let Ok(next) = when.resolve_in(zone.as_ref(), now, Sense::Next) {
                prop_assert!(next.at > now && next.at.since(now) <= 15 * 86_400);
            }
            if let Ok(last) = when.resolve_in(zone.as_ref(), now, Sense::Last) {
                prop_assert!(last.at <= now && now.since(last.at) <= 15 * 86_400);
            }
        }

        #[test]
        fn no_time_panics(when in whens(), now in 0..253_402_300_800_i64, sense in senses(), zone in prop::sample::select(&ZONES[..])) {
            let now = Timestamp::from_unix(now).unwrap();
            let _ = when.resolve_in(self::zone(zone).as_ref(), now, sense);
            let _ = when.resolve(now, sense);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (to_come(&text), gone(&text));
        }

        #[test]
        fn no_words_panic(text in "((in|ago|mon|tomorrow|2026-1?0?-3?1|T|Z|UTC|[+-][0-9:é]{0,6}|[0-9]{1,3}(:[0-9]{2}){0,2}|am|pm|[0-9]+h) ?){0,5}") {
            if let Ok(when) = to_come(&text) {
                prop_assert_eq!(when.to_string().parse::<When>().unwrap(), when);
            }
        }
    }
}
