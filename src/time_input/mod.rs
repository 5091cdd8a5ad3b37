//! Times as people write and read them: in their own time zone, or relative to now.

mod parse;
mod zone;

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Timelike, Weekday};
use tz::{TimeZone, TimeZoneRef};

use crate::domain::Malformed;
use crate::domain::duration::{Length, brief};
use crate::domain::time::Timestamp;

use parse::moment;
pub use zone::trouble;
use zone::{Found, Offset, found, here, local, written};

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
        Ok(length) => Malformed::new("that is a length, not a time").hint(format!("write '{}'", meant(length))),
        Err(_) => why,
    })
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
