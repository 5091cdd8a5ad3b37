//! Time zones: the local one, what its clocks show, and when they show it.

use std::ffi::OsStr;
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::sync::OnceLock;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use tz::datetime::FoundDateTimeKind;
use tz::timezone::TimeZoneSettings;
use tz::{TimeZone, TimeZoneRef};

use crate::domain::Malformed;
use crate::domain::time::Timestamp;

/// `UTC`, `+01:00`.
pub(super) struct Offset(pub(super) i32);

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

/// When the clocks of a zone show a date and time.
pub(super) enum Found {
    /// The first time and the last: the same but for the hour that comes twice.
    Times(i64, i64),
    /// The clocks go forward over it, at this instant.
    Never { at: i64, why: Malformed },
}

pub(super) fn found(zone: TimeZoneRef<'_>, time: NaiveDateTime) -> Result<Found, Malformed> {
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

pub(super) fn here() -> Result<TimeZoneRef<'static>, Malformed> {
    let zone = HERE.get_or_init(|| zone_named(std::env::var_os("TZ").as_deref()));
    zone.as_ref().map(TimeZone::as_ref).map_err(Clone::clone)
}

/// Why times were shown in UTC, though something else was wanted.
pub fn trouble() -> Option<&'static Malformed> {
    HERE.get()?.as_ref().err()
}

/// `name`: the value of `TZ`; None: it is not set.
pub(super) fn zone_named(name: Option<&OsStr>) -> Result<TimeZone, Malformed> {
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
pub(super) fn local(zone: TimeZoneRef<'_>, time: Timestamp) -> (NaiveDateTime, i32) {
    let offset = zone.find_local_time_type(time.unix()).map_or(0, |it| it.ut_offset());
    let shown = DateTime::from_timestamp(time.unix() + i64::from(offset), 0);
    (shown.expect("a Timestamp lies between 1970 and 9999").naive_utc(), offset)
}

pub(super) fn written(zone: TimeZoneRef<'_>, time: Timestamp) -> String {
    let (shown, offset) = local(zone, time);
    format!("{} {}", shown.format("%Y-%m-%d %H:%M"), Offset(offset))
}
