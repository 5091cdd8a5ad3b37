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
use crate::domain::contact::Timezone;
use crate::domain::time::Timestamp;

/// Seconds ahead of UTC, written `UTC` or `+01:00`.
pub struct Offset(pub i32);

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

/// The instants at which the clocks of a zone show a given date and time.
pub enum Instants {
    /// The first and the last. They differ only in the hour that occurs twice when the clocks go back.
    Between(i64, i64),
    /// None: the clocks skip that time. They go forward at `at`.
    Skipped { at: i64, why: Malformed },
}

/// Finds when the clocks of a zone show this date and time.
pub fn instants(zone: TimeZoneRef<'_>, local: NaiveDateTime) -> Result<Instants, Malformed> {
    let unknown = || Malformed::new(format!("{local} is not a time in this time zone"));
    let small = |number: u32| u8::try_from(number).map_err(|_| unknown());
    let (date, clock) = (local.date(), local.time());
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
        return Ok(Instants::Between(*first, *last));
    }
    let (before, after) = gap.ok_or_else(unknown)?;
    let shown =
        |it: tz::DateTime| format!("{:02}:{:02} {}", it.hour(), it.minute(), Offset(it.local_time_type().ut_offset()));
    let why = Malformed::new(format!(
        "{} does not exist: the clocks go forward then, from {} to {}",
        local.format("%Y-%m-%d %H:%M"),
        shown(before),
        shown(after)
    ));
    Ok(Instants::Skipped { at: after.unix_time(), why })
}

/// What the clocks of a zone show at an instant, and how many seconds they are ahead of UTC.
pub fn local_time(zone: TimeZoneRef<'_>, time: Timestamp) -> (NaiveDateTime, i32) {
    let offset = zone.find_local_time_type(time.unix()).map_or(0, |it| it.ut_offset());
    let local = DateTime::from_timestamp(time.unix() + i64::from(offset), 0);
    (local.expect("a Timestamp lies between 1970 and 9999").naive_utc(), offset)
}

/// The local time zone: the one that `TZ` names, else the system's. Read when it is first needed.
static LOCAL: OnceLock<Result<TimeZone, Malformed>> = OnceLock::new();

pub fn local_zone() -> Result<TimeZoneRef<'static>, Malformed> {
    let zone = LOCAL.get_or_init(|| zone_named(std::env::var_os("TZ").as_deref()));
    zone.as_ref().map(TimeZone::as_ref).map_err(Clone::clone)
}

/// Takes this zone for the local one, if it was not needed yet.
pub fn set_local(zone: &Timezone) {
    if let Ok(zone) = TimeZone::from_posix_tz(&format!(":{zone}")) {
        let _ = LOCAL.set(Ok(zone));
    }
}

/// Why the local time zone could not be read, if it was needed. Times are shown in UTC then.
pub fn local_zone_error() -> Option<&'static Malformed> {
    LOCAL.get()?.as_ref().err()
}

/// Whether this machine's time zone database has this zone.
pub fn is_known(zone: &Timezone) -> bool {
    TimeZone::from_posix_tz(&format!(":{zone}")).is_ok()
}

/// `name` is the value of `TZ`, if it is set.
pub(crate) fn zone_named(name: Option<&OsStr>) -> Result<TimeZone, Malformed> {
    // A zone file has a few kilobytes. The limit is for `TZ=:/dev/zero`.
    const SETTINGS: TimeZoneSettings<'_> = TimeZoneSettings::new(TimeZoneSettings::DEFAULT_DIRECTORIES, |path| {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let Some(name) = name else {
        return SETTINGS.parse_local().or_else(|why| match why {
            // A system without /etc/localtime is on UTC.
            tz::Error::Io(why) if is_missing(&*why) => Ok(TimeZone::utc()),
            _ => Err(Malformed::new("/etc/localtime is not a valid time zone file")),
        });
    };
    let shown = name.to_string_lossy();
    match name.to_str() {
        Some("" | "UTC" | "GMT" | "Etc/UTC") => Ok(TimeZone::utc()),
        Some(name) if let Ok(zone) = SETTINGS.parse_posix_tz(name) => Ok(zone),
        Some(_) | None => Err(Malformed::new(format!("TZ is {shown:?}, but this machine knows no such time zone"))),
    }
}

fn is_missing(why: &(dyn std::error::Error + 'static)) -> bool {
    why.downcast_ref::<std::io::Error>().is_some_and(|why| why.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_format::date_and_time_in;

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
            let zone = zone_named(Some(OsStr::new(name))).unwrap();
            assert_eq!(date_and_time_in(zone.as_ref(), "2026-11-24T09:00:00Z".parse().unwrap()), shown, "{name:?}");
        }
        assert!(zone_named(None).is_ok());
    }
}
