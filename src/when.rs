//! Times as people write and read them: in their own time zone, or relative to now.

use std::ffi::OsStr;
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::str::FromStr;
use std::sync::OnceLock;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};
use tz::datetime::FoundDateTimeKind;
use tz::timezone::TimeZoneSettings;
use tz::{TimeZone, TimeZoneRef};

use crate::domain::Malformed;
use crate::domain::duration::{Length, brief};
use crate::domain::time::{Timestamp, clock};

/// A time as it was typed. Which instant it is depends on now and on the time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Instant(Timestamp),
    In(Length),
    Ago(Length),
    At(Moment),
}

/// A day and a time of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    day: Day,
    time: NaiveTime,
    /// Seconds ahead of UTC. None: in the local time zone.
    offset: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// Only a time of day was typed.
    Unsaid,
    Yesterday,
    Today,
    Tomorrow,
    Weekday(Weekday),
    Date(NaiveDate),
}

/// Which instant is taken where a typed time can mean several: `17:00` of any day, `mon` of any week, the hour that comes
/// twice when the clocks go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Of an end or a start that is asked for: the first that is still to come.
    Next,
    /// Of the start of a list (`--since`): the last that is not still to come.
    Last,
    /// Of the end of a list (`audit --until`): the last of that kind today or before.
    UpTo,
}

/// The instant that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    pub at: Timestamp,
    /// What the person should know where another instant could have been meant.
    pub note: Option<String>,
}

/// Forms of a length and of a time that are accepted, each with another that means the same. The manual page shows them.
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

impl FromStr for When {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<When, Malformed> {
        let text = text.trim();
        if let Ok(instant) = text.parse() {
            return Ok(When::Instant(instant));
        }
        if let Some(length) = text.strip_prefix("in ") {
            return Ok(When::In(length.trim().parse()?));
        }
        if let Some(length) = text.strip_suffix(" ago") {
            return Ok(When::Ago(length.trim().parse()?));
        }
        moment(&text.to_ascii_lowercase()).map(When::At).ok_or_else(|| {
            Malformed::new(
                "a time is written like 17:00, 5pm, \"tomorrow 09:00\", \"mon 9am\", \"2026-12-01 17:00\", \
                 2026-12-01T17:00Z, \"in 3h\" or \"2d ago\"",
            )
        })
    }
}

/// A time that is asked for, from the command line.
pub fn to_come(text: &str) -> Result<When, Malformed> {
    parsed(text, |length| format!("in {length}"))
}

/// A time that things are listed from or up to, from the command line.
pub fn gone(text: &str) -> Result<When, Malformed> {
    parsed(text, |length| format!("{length} ago"))
}

/// `meant`: what a length alone was probably meant to be.
fn parsed(text: &str, meant: impl Fn(Length) -> String) -> Result<When, Malformed> {
    text.parse().map_err(|why| match text.trim().parse::<Length>() {
        // The command line's own way to give a hint.
        Ok(length) => Malformed::new(format!("that is a length, not a time\n\n  tip: write '{}'", meant(length))),
        Err(_) => why,
    })
}

/// Reads `[DAY] [TIME] [OFFSET]`, day and time in either order.
fn moment(text: &str) -> Option<Moment> {
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

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Instant(instant) => instant.fmt(f),
            When::In(length) => write!(f, "in {length}"),
            When::Ago(length) => write!(f, "{length} ago"),
            When::At(moment) => moment.fmt(f),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.day {
            Day::Unsaid => {}
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

/// `UTC`, `+01:00`.
struct Offset(i32);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, ahead) = (if self.0 < 0 { '-' } else { '+' }, self.0.abs());
        match (ahead, ahead % 60) {
            (0, _) => f.write_str("UTC"),
            (_, 0) => write!(f, "{sign}{:02}:{:02}", ahead / 3600, ahead / 60 % 60),
            (_, second) => write!(f, "{sign}{:02}:{:02}:{second:02}", ahead / 3600, ahead / 60 % 60),
        }
    }
}

impl When {
    /// The instant meant, as seen now and here.
    pub fn resolve(self, now: Timestamp, sense: Sense) -> Result<Meant, Malformed> {
        let fixed;
        let zone = match self {
            When::At(Moment { offset: Some(offset), .. }) => {
                fixed = TimeZone::fixed(offset).map_err(|_| Malformed::new("no time zone is so far from UTC"))?;
                fixed.as_ref()
            }
            When::At(Moment { offset: None, .. }) => here()?,
            When::Instant(_) | When::In(_) | When::Ago(_) => TimeZoneRef::utc(),
        };
        self.resolve_in(zone, now, sense)
    }

    fn resolve_in(self, zone: TimeZoneRef<'_>, now: Timestamp, sense: Sense) -> Result<Meant, Malformed> {
        match self {
            When::Instant(at) => Ok(Meant { at, note: None }),
            When::In(length) => Ok(Meant { at: now.plus(length), note: None }),
            When::Ago(length) => {
                Ok(Meant { at: Timestamp::from_unix((now.unix() - length.seconds()).max(0))?, note: None })
            }
            When::At(moment) => moment.resolve(zone, now, sense),
        }
    }
}

impl Moment {
    /// The days that can be meant, in order.
    fn days(self, today: NaiveDate) -> Vec<NaiveDate> {
        let after = |days: u32| today.checked_add_days(Days::new(days.into()));
        let before = |days: u32| today.checked_sub_days(Days::new(days.into()));
        let days = match self.day {
            Day::Date(date) => vec![Some(date)],
            Day::Yesterday => vec![before(1)],
            Day::Today => vec![Some(today)],
            Day::Tomorrow => vec![after(1)],
            Day::Unsaid => vec![before(1), Some(today), after(1)],
            Day::Weekday(weekday) => {
                let ahead = weekday.days_since(today.weekday());
                vec![before(7 - ahead), after(ahead), after(ahead + 7)]
            }
        };
        days.into_iter().flatten().collect()
    }

    fn resolve(self, zone: TimeZoneRef<'_>, now: Timestamp, sense: Sense) -> Result<Meant, Malformed> {
        let today = local(zone, now).0.date();
        let days = self.days(today);
        let mut all = Vec::new();
        for &day in &days {
            all.push((day, found(zone, day.and_time(self.time))?));
        }
        if sense != Sense::Next {
            all.reverse();
        }
        let only = all.len() == 1;
        let now = now.unix();
        for (day, found) in &all {
            let at = match (found, sense) {
                (Found::Never { at, why }, Sense::Next) if *at > now || only => return Err(why.clone()),
                (Found::Never { at, why }, Sense::Last | Sense::UpTo) if *at <= now || only => return Err(why.clone()),
                (Found::Never { .. }, _) => None,
                // Of a day that was named, also what has passed: why it can't be taken is said where it is asked for.
                (Found::Times(first, last), Sense::Next) => {
                    [*first, *last].into_iter().find(|at| *at > now).or(only.then_some(*last))
                }
                (Found::Times(first, _), Sense::Last) => (*first <= now || only).then_some(*first),
                (Found::Times(_, last), Sense::UpTo) => (*day <= today || only).then_some(*last),
            };
            if let Some(at) = at {
                let at = Timestamp::from_unix(at)?;
                return Ok(Meant { at, note: self.note(zone, found, at, (*day, today)) });
            }
        }
        Err(Malformed::new("a time lies between the years 1970 and 9999"))
    }

    fn note(
        self,
        zone: TimeZoneRef<'_>,
        found: &Found,
        at: Timestamp,
        (day, today): (NaiveDate, NaiveDate),
    ) -> Option<String> {
        let taken = written(zone, at);
        match (found, self.day) {
            (Found::Times(first, last), _) if first != last => {
                let time = day.and_time(self.time).format("%Y-%m-%d %H:%M");
                Some(format!("{time} comes twice, because the clocks go back; {taken} is taken"))
            }
            (_, Day::Unsaid) if day > today => Some(format!("{self} has passed today; {taken} is taken")),
            (_, Day::Unsaid) if day < today => Some(format!("{self} is still to come today; {taken} is taken")),
            (_, Day::Weekday(weekday)) if weekday == today.weekday() && day != today => {
                Some(format!("today is {weekday}; {taken} is taken"))
            }
            (_, Day::Unsaid | Day::Yesterday | Day::Today | Day::Tomorrow | Day::Weekday(_) | Day::Date(_)) => None,
        }
    }
}

/// When the clocks of a zone show a date and time.
enum Found {
    /// The first time and the last: the same but for the hour that comes twice.
    Times(i64, i64),
    /// The clocks go forward over it, at this instant.
    Never { at: i64, why: Malformed },
}

fn found(zone: TimeZoneRef<'_>, time: NaiveDateTime) -> Result<Found, Malformed> {
    let unknown = || Malformed::new(format!("{time} is not a time in this time zone"));
    let small = |number: u32| u8::try_from(number).map_err(|_| unknown());
    let (date, clock) = (time.date(), time.time());
    let found = tz::DateTime::find(
        date.year(),
        small(date.month())?,
        small(date.day())?,
        small(clock.hour())?,
        small(clock.minute())?,
        small(clock.second())?,
        0,
        zone,
    );
    let mut times = Vec::new();
    let mut gap = None;
    for kind in found.map_err(|_| unknown())?.into_inner() {
        match kind {
            FoundDateTimeKind::Normal(time) => times.push(time.unix_time()),
            FoundDateTimeKind::Skipped { before_transition, after_transition } => {
                gap = Some((before_transition, after_transition));
            }
        }
    }
    if let (Some(first), Some(last)) = (times.first(), times.last()) {
        return Ok(Found::Times(*first, *last));
    }
    let (before, after) = gap.ok_or_else(unknown)?;
    let shown =
        |it: tz::DateTime| format!("{:02}:{:02} {}", it.hour(), it.minute(), Offset(it.local_time_type().ut_offset()));
    let why = Malformed::new(format!(
        "{} does not exist: the clocks go forward then, from {} to {}",
        time.format("%Y-%m-%d %H:%M"),
        shown(before),
        shown(after)
    ));
    Ok(Found::Never { at: after.unix_time(), why })
}

/// The local time zone: what `TZ` names, else the system's. Read when it is first needed.
static HERE: OnceLock<Result<TimeZone, Malformed>> = OnceLock::new();

fn here() -> Result<TimeZoneRef<'static>, Malformed> {
    let zone = HERE.get_or_init(|| zone_named(std::env::var_os("TZ").as_deref()));
    zone.as_ref().map(TimeZone::as_ref).map_err(Clone::clone)
}

/// Why times were shown in UTC, though something else was wanted.
pub fn trouble() -> Option<&'static Malformed> {
    HERE.get()?.as_ref().err()
}

/// `name`: the value of `TZ`; None: it is not set.
fn zone_named(name: Option<&OsStr>) -> Result<TimeZone, Malformed> {
    // A zone file has a few kilobytes.
    const SETTINGS: TimeZoneSettings<'_> = TimeZoneSettings::new(TimeZoneSettings::DEFAULT_DIRECTORIES, |path| {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let Some(name) = name else {
        return SETTINGS.parse_local().or_else(|why| match why {
            // A system without a local time zone is one on UTC.
            tz::Error::Io(why) if is_missing(&*why) => Ok(TimeZone::utc()),
            _ => Err(Malformed::new("/etc/localtime holds no time zone")),
        });
    };
    let shown = name.to_string_lossy();
    match name.to_str() {
        Some("" | "UTC" | "GMT" | "Etc/UTC") => Ok(TimeZone::utc()),
        Some(name) if let Ok(zone) = SETTINGS.parse_posix_tz(name) => Ok(zone),
        Some(_) | None => Err(Malformed::new(format!("TZ is {shown:?}, and this machine knows no such time zone"))),
    }
}

fn is_missing(why: &(dyn std::error::Error + 'static)) -> bool {
    why.downcast_ref::<std::io::Error>().is_some_and(|why| why.kind() == ErrorKind::NotFound)
}

/// What the clocks of a zone show at an instant, and how many seconds they are ahead of UTC.
fn local(zone: TimeZoneRef<'_>, time: Timestamp) -> (NaiveDateTime, i32) {
    let offset = zone.find_local_time_type(time.unix()).map_or(0, |it| it.ut_offset());
    let shown = DateTime::from_timestamp(time.unix() + i64::from(offset), 0);
    (shown.expect("a Timestamp lies between 1970 and 9999").naive_utc(), offset)
}

fn written(zone: TimeZoneRef<'_>, time: Timestamp) -> String {
    let (shown, offset) = local(zone, time);
    format!("{} {}", shown.format("%Y-%m-%d %H:%M"), Offset(offset))
}

/// The zone in which times are shown. Where the local one is unknown that is UTC, and they say so.
fn shown_zone() -> TimeZoneRef<'static> {
    here().unwrap_or(TimeZoneRef::utc())
}

/// `2026-11-24 09:00 +01:00`, in the local time zone.
pub fn date_and_time(time: Timestamp) -> String {
    written(shown_zone(), time)
}

/// `14:00 +01:00` on the day that `now` is, else `2026-11-25`: for where there is little room.
pub fn day_or_hour(time: Timestamp, now: Timestamp) -> String {
    let zone = shown_zone();
    let (shown, offset) = local(zone, time);
    if shown.date() == local(zone, now).0.date() {
        format!("{} {}", shown.format("%H:%M"), Offset(offset))
    } else {
        shown.format("%Y-%m-%d").to_string()
    }
}

/// `2d4h ago`, `now`, `in 7h59m`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    match now.since(time) {
        0 => "now".to_owned(),
        apart @ 1.. => format!("{} ago", brief(apart)),
        apart => format!("in {}", brief(-apart)),
    }
}

/// `2026-11-24 09:00 +01:00 (2d4h ago)`.
pub fn both(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", date_and_time(time), relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert!(gone("1h").unwrap_err().to_string().contains("tip: write '1h ago'"));
        assert!(to_come("90 minutes").unwrap_err().to_string().contains("tip: write 'in 1h30m'"));
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
