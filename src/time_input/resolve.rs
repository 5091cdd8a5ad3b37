//! Finds the instant that a typed time means.

use chrono::{Datelike, Days, NaiveDate};
use tz::{TimeZone, TimeZoneRef};

use super::{Day, LocalTime, TypedTime};
use crate::domain::Malformed;
use crate::domain::time::Timestamp;
use crate::time_format::date_and_time_in;
use crate::time_zone::{Instants, instants, local_time, local_zone};

/// Which instant to pick where a typed time can mean several: `17:00` on any day, `mon` of any week, or the hour that occurs
/// twice when the clocks go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The first in the future: for the start or end of a request.
    Next,
    /// The last that is not in the future: for the start of a list (`--since`).
    Last,
    /// The last today or earlier, even if still in the future: for the end of a list (`audit --until`).
    UpTo,
}

/// The instant that a typed time means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub at: Timestamp,
    /// Tells the person which instant was picked, where another was possible.
    pub note: Option<String>,
}

impl TypedTime {
    /// Finds the instant, from now and the local time zone.
    pub fn resolve(self, now: Timestamp, pick: Pick) -> Result<Resolved, Malformed> {
        let fixed;
        let zone = match self {
            TypedTime::Local(LocalTime { offset: Some(offset), .. }) => {
                fixed = TimeZone::fixed(offset).map_err(|_| Malformed::new("no time zone is that far from UTC"))?;
                fixed.as_ref()
            }
            TypedTime::Local(LocalTime { offset: None, .. }) => local_zone()?,
            TypedTime::Instant(_) | TypedTime::In(_) | TypedTime::Ago(_) => TimeZoneRef::utc(),
        };
        self.resolve_in(zone, now, pick)
    }

    fn resolve_in(self, zone: TimeZoneRef<'_>, now: Timestamp, pick: Pick) -> Result<Resolved, Malformed> {
        match self {
            TypedTime::Instant(at) => Ok(Resolved { at, note: None }),
            TypedTime::In(length) => Ok(Resolved { at: now.plus(length), note: None }),
            TypedTime::Ago(length) => {
                Ok(Resolved { at: Timestamp::from_unix((now.unix() - length.seconds()).max(0))?, note: None })
            }
            TypedTime::Local(local) => local.resolve(zone, now, pick),
        }
    }
}

impl LocalTime {
    /// The days that this can be on, in order.
    fn days(self, today: NaiveDate) -> Vec<NaiveDate> {
        let after = |days: u32| today.checked_add_days(Days::new(days.into()));
        let before = |days: u32| today.checked_sub_days(Days::new(days.into()));
        let days = match self.day {
            Day::Date(date) => vec![Some(date)],
            Day::Yesterday => vec![before(1)],
            Day::Today => vec![Some(today)],
            Day::Tomorrow => vec![after(1)],
            Day::Any => vec![before(1), Some(today), after(1)],
            Day::Weekday(weekday) => {
                let ahead = weekday.days_since(today.weekday());
                vec![before(7 - ahead), after(ahead), after(ahead + 7)]
            }
        };
        days.into_iter().flatten().collect()
    }

    fn resolve(self, zone: TimeZoneRef<'_>, now: Timestamp, pick: Pick) -> Result<Resolved, Malformed> {
        let today = local_time(zone, now).0.date();
        let days = self.days(today);
        let mut all = Vec::new();
        for &day in &days {
            all.push((day, instants(zone, day.and_time(self.time))?));
        }
        if pick != Pick::Next {
            all.reverse();
        }
        let only = all.len() == 1;
        let now = now.unix();
        for (day, found) in &all {
            let at = match (found, pick) {
                (Instants::Skipped { at, why }, Pick::Next) if *at > now || only => return Err(why.clone()),
                (Instants::Skipped { at, why }, Pick::Last | Pick::UpTo) if *at <= now || only => {
                    return Err(why.clone());
                }
                (Instants::Skipped { .. }, _) => None,
                // With a named day a time in the past resolves too. The caller refuses it with a better message.
                (Instants::Between(first, last), Pick::Next) => {
                    [*first, *last].into_iter().find(|at| *at > now).or(only.then_some(*last))
                }
                (Instants::Between(first, _), Pick::Last) => (*first <= now || only).then_some(*first),
                (Instants::Between(_, last), Pick::UpTo) => (*day <= today || only).then_some(*last),
            };
            if let Some(at) = at {
                let at = Timestamp::from_unix(at)?;
                return Ok(Resolved { at, note: self.note(zone, found, at, (*day, today)) });
            }
        }
        Err(Malformed::new("a time lies between the years 1970 and 9999"))
    }

    fn note(
        self,
        zone: TimeZoneRef<'_>,
        found: &Instants,
        at: Timestamp,
        (day, today): (NaiveDate, NaiveDate),
    ) -> Option<String> {
        let picked = date_and_time_in(zone, at);
        match (found, self.day) {
            (Instants::Between(first, last), _) if first != last => {
                let time = day.and_time(self.time).format("%Y-%m-%d %H:%M");
                Some(format!("{time} occurs twice because the clocks go back; using {picked}"))
            }
            (_, Day::Any) if day > today => Some(format!("{self} has passed today; using {picked}")),
            (_, Day::Any) if day < today => Some(format!("{self} is still in the future today; using {picked}")),
            (_, Day::Weekday(weekday)) if weekday == today.weekday() && day != today => {
                Some(format!("today is {weekday}; using {picked}"))
            }
            (_, Day::Any | Day::Yesterday | Day::Today | Day::Tomorrow | Day::Weekday(_) | Day::Date(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::super::*;
    use super::*;
    use crate::domain::duration::Length;
    use crate::time_zone::zone_named;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        zone_named(Some(OsStr::new(name))).unwrap()
    }

    fn meant(zone: &str, typed: &str, now: &str, pick: Pick) -> Result<Resolved, Malformed> {
        let when: TypedTime = typed.parse()?;
        if let TypedTime::Local(LocalTime { offset: Some(_), .. }) = when {
            return when.resolve(at(now), pick);
        }
        when.resolve_in(self::zone(zone).as_ref(), at(now), pick)
    }

    /// In Berlin.
    fn berlin(typed: &str, now: &str, pick: Pick) -> String {
        match meant("Europe/Berlin", typed, now, pick) {
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
            assert_eq!(berlin(typed, now, Pick::Next), next, "{typed}");
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
            assert!(text.parse::<TypedTime>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lists_use_the_last_such_time() {
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
            assert_eq!(berlin(typed, now, Pick::Last), since, "{typed}");
            assert_eq!(berlin(typed, now, Pick::UpTo), until, "{typed}");
        }
    }

    #[test]
    fn the_hour_that_occurs_twice() {
        // In Berlin 02:30 is at 00:30 and again at 01:30 UTC.
        let (first, second) = ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
        for (now, next, last) in [
            ("2026-10-25T00:15:00Z", first, "2026-10-24T00:30:00Z"),
            ("2026-10-25T00:30:00Z", second, first),
            ("2026-10-25T01:15:00Z", second, first),
            ("2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z", first),
        ] {
            assert_eq!(berlin("02:30", now, Pick::Next), next, "{now}");
            assert_eq!(berlin("02:30", now, Pick::Last), last, "{now}");
        }
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-01T00:00:00Z", Pick::Next), first);
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-26T00:00:00Z", Pick::Last), first);
        assert_eq!(berlin("2026-10-25 02:30", "2026-10-26T00:00:00Z", Pick::UpTo), second);
        assert_eq!(berlin("2026-10-25 02:30 +01:00", "2026-10-01T00:00:00Z", Pick::Next), second);
        let note = meant("Europe/Berlin", "02:30", "2026-10-25T00:15:00Z", Pick::Next).unwrap().note;
        let says = "2026-10-25 02:30 occurs twice because the clocks go back; using 2026-10-25 02:30 +02:00";
        assert_eq!(note.as_deref(), Some(says));
    }

    #[test]
    fn the_hour_that_is_skipped() {
        let skipped = "2026-03-29 02:30 does not exist: the clocks go forward then, from 02:00 +01:00 to 03:00 +02:00";
        assert_eq!(berlin("2026-03-29 02:30", "2026-03-01T00:00:00Z", Pick::Next), skipped);
        assert_eq!(berlin("02:30", "2026-03-28T12:00:00Z", Pick::Next), skipped);
        assert_eq!(berlin("sun 02:30", "2026-03-28T12:00:00Z", Pick::Next), skipped);
        assert_eq!(berlin("02:30", "2026-03-29T12:00:00Z", Pick::Last), skipped);
        // Before and after that day it exists.
        assert_eq!(berlin("02:30", "2026-03-28T00:00:00Z", Pick::Next), "2026-03-28T01:30:00Z");
        assert_eq!(berlin("02:30", "2026-03-29T12:00:00Z", Pick::Next), "2026-03-30T00:30:00Z");
        // The day that Samoa left out.
        let samoa = meant("Pacific/Apia", "2011-12-30 12:00", "2011-12-01T00:00:00Z", Pick::Next);
        assert!(samoa.unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn a_note_says_which_time_was_picked() {
        let note = |typed, pick| meant("Europe/Berlin", typed, "2026-11-24T09:00:00Z", pick).unwrap().note;
        let passed = note("09:00", Pick::Next);
        assert_eq!(passed.as_deref(), Some("09:00 has passed today; using 2026-11-25 09:00 +01:00"));
        let to_come = note("17:00", Pick::Last);
        assert_eq!(to_come.as_deref(), Some("17:00 is still in the future today; using 2026-11-23 17:00 +01:00"));
        let week = note("tue 9am", Pick::Next);
        assert_eq!(week.as_deref(), Some("today is Tue; using 2026-12-01 09:00 +01:00"));
        for typed in ["17:00", "mon 09:00", "tomorrow 09:00", "2026-12-01", "in 3h"] {
            assert_eq!(note(typed, Pick::Next), None, "{typed}");
        }
    }

    #[test]
    fn a_length_instead_of_a_time_is_refused_with_a_correction() {
        assert!(parse_past("1h").unwrap_err().hint.is_some_and(|hint| hint == "write '1h ago'"));
        assert!(parse_future("90 minutes").unwrap_err().hint.is_some_and(|hint| hint == "write 'in 1h30m'"));
        assert!(!parse_past("noonish").unwrap_err().to_string().contains("tip"));
    }

    #[test]
    fn equivalent_forms_mean_the_same() {
        for (form, same) in LENGTHS {
            assert_eq!(form.parse::<Length>().unwrap(), same.parse().unwrap(), "{form}");
        }
        for (form, same) in TIMES {
            // Before and after each time of day.
            for now in ["2026-03-31T23:30:00Z", "2026-04-01T08:00:00Z", "2026-04-01T16:00:00Z"] {
                for pick in [Pick::Next, Pick::Last, Pick::UpTo] {
                    assert_eq!(berlin(form, now, pick), berlin(same, now, pick), "{form}");
                    assert!(berlin(form, now, pick).ends_with('Z'), "{form}");
                }
            }
        }
    }

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"];

    fn picks() -> impl Strategy<Value = Pick> {
        prop::sample::select(&[Pick::Next, Pick::Last, Pick::UpTo][..])
    }

    fn days() -> impl Strategy<Value = Day> {
        let date = (1970..=9999_i32, 1..=366_u32)
            .prop_filter_map("a day of that year", |(year, day)| NaiveDate::from_yo_opt(year, day).map(Day::Date));
        let named = vec![Day::Any, Day::Yesterday, Day::Today, Day::Tomorrow];
        let weekdays = (0..7_u8).prop_map(|day| Day::Weekday(Weekday::try_from(day).unwrap()));
        prop_oneof![date, prop::sample::select(named), weekdays]
    }

    fn typed_times() -> impl Strategy<Value = TypedTime> {
        let length = || (1..=Length::LONGEST.seconds()).prop_map(|seconds| Length::from_seconds(seconds).unwrap());
        let instant = (0..253_402_300_800_i64).prop_map(|seconds| Timestamp::from_unix(seconds).unwrap());
        let time = (0..86_400_u32).prop_map(|second| NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap());
        let moment = (days(), time, prop::option::of(-86_399..=86_399_i32))
            .prop_map(|(day, time, offset)| TypedTime::Local(LocalTime { day, time, offset }));
        prop_oneof![
            1 => length().prop_map(TypedTime::In),
            1 => length().prop_map(TypedTime::Ago),
            1 => instant.prop_map(TypedTime::Instant),
            5 => moment
        ]
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back(when in typed_times()) {
            prop_assert_eq!(when.to_string().parse::<TypedTime>().unwrap(), when);
        }

        /// To the minute and in any zone, the hour that occurs twice included.
        #[test]
        fn a_time_that_is_shown_reads_back(minutes in 0..253_402_300_800_i64 / 60 - 1440, zone in prop::sample::select(&ZONES[..])) {
            let time = Timestamp::from_unix(minutes * 60 + 43_200).unwrap();
            let shown = date_and_time_in(self::zone(zone).as_ref(), time);
            let read = shown.parse::<TypedTime>().unwrap().resolve(Timestamp::from_unix(0).unwrap(), Pick::Next).unwrap();
            // Monrovia's clocks were behind by 44 minutes and 30 seconds.
            prop_assert!((0..60).contains(&time.since(read.at)), "{} is not {}", shown, time);
        }

        #[test]
        fn every_instant_reads_back_in_a_zone_that_shows_it_once(seconds in 1_000_000_000..2_000_000_000_i64) {
            let (zone, time) = (self::zone("Europe/Berlin"), Timestamp::from_unix(seconds - seconds % 60).unwrap());
            let (shown, _) = local_time(zone.as_ref(), time);
            let when: TypedTime = shown.format("%Y-%m-%d %H:%M").to_string().parse().unwrap();
            let before = Timestamp::from_unix(time.unix() - 1).unwrap();
            prop_assert_eq!(when.resolve_in(zone.as_ref(), before, Pick::Next).unwrap().at, time);
        }

        /// Without a day, the start or end of a request is in the future, and the start of a list is not.
        #[test]
        fn the_picked_instant_is_on_the_right_side_of_now(
            when in typed_times(), now in 86_400 * 30..4_000_000_000_i64, zone in prop::sample::select(&ZONES[..])
        ) {
            let (now, zone) = (Timestamp::from_unix(now).unwrap(), self::zone(zone));
            let TypedTime::Local(LocalTime { day: Day::Any | Day::Weekday(_), .. }) = when else { return Ok(()) };
            if let Ok(next) = when.resolve_in(zone.as_ref(), now, Pick::Next) {
                prop_assert!(next.at > now && next.at.since(now) <= 15 * 86_400);
            }
            if let Ok(last) = when.resolve_in(zone.as_ref(), now, Pick::Last) {
                prop_assert!(last.at <= now && now.since(last.at) <= 15 * 86_400);
            }
        }

        #[test]
        fn no_time_panics(when in typed_times(), now in 0..253_402_300_800_i64, pick in picks(), zone in prop::sample::select(&ZONES[..])) {
            let now = Timestamp::from_unix(now).unwrap();
            let _ = when.resolve_in(self::zone(zone).as_ref(), now, pick);
            let _ = when.resolve(now, pick);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_future(&text), parse_past(&text));
        }

        #[test]
        fn no_words_panic(text in "((in|ago|mon|tomorrow|2026-1?0?-3?1|T|Z|UTC|[+-][0-9:é]{0,6}|[0-9]{1,3}(:[0-9]{2}){0,2}|am|pm|[0-9]+h) ?){0,5}") {
            if let Ok(when) = parse_future(&text) {
                prop_assert_eq!(when.to_string().parse::<TypedTime>().unwrap(), when);
            }
        }
    }
}
