//! Times in the time zone of their reader, by this machine's time zone database (`/usr/share/zoneinfo`).

use std::cell::RefCell;
use std::collections::HashMap;

use tz::TimeZone;

use crate::domain::contact::Timezone;
use crate::domain::time::Timestamp;

/// The zones that were looked up so far.
#[derive(Default)]
pub struct Zones(RefCell<HashMap<String, Option<TimeZone>>>);

impl Zones {
    /// A local time with its zone: `2026-11-24 10:00 CET`. In UTC if there is no zone, or this machine does not know it.
    pub fn write(&self, zone: Option<&Timezone>, time: Timestamp) -> String {
        let moment = time.unix();
        let (offset, name) = zone.and_then(|zone| self.look_up(zone, moment)).unwrap_or((0, "UTC".to_owned()));
        let local = Timestamp::from_unix((moment + offset).max(0)).unwrap_or(time).to_string();
        // Some zones are named by their offset, such as `-03`.
        let name = match name.bytes().all(|b| b.is_ascii_alphabetic()) {
            true => name,
            false => {
                let sign = if offset < 0 { '-' } else { '+' };
                format!("UTC{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
            }
        };
        format!("{} {} {name}", &local[..10], &local[11..16])
    }

    /// Seconds ahead of UTC at this moment; 0 in a zone that this machine does not know.
    pub fn offset(&self, zone: &Timezone, moment: i64) -> i64 {
        self.look_up(zone, moment).map_or(0, |(offset, _)| offset)
    }

    /// Seconds ahead of UTC at this moment, and the zone's name then.
    fn look_up(&self, zone: &Timezone, moment: i64) -> Option<(i64, String)> {
        let mut known = self.0.borrow_mut();
        let found =
            known.entry(zone.as_str().to_owned()).or_insert_with(|| TimeZone::from_posix_tz(&format!(":{zone}")).ok());
        let here = found.as_ref().and_then(|zone| zone.find_local_time_type(moment).ok())?;
        Some((i64::from(here.ut_offset()), here.time_zone_designation().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_their_readers_read_them() {
        let zones = Zones::default();
        for (zone, time, written) in [
            ("Europe/Paris", "2026-11-24T09:00:59Z", "2026-11-24 10:00 CET"),
            ("Europe/Paris", "2026-07-24T09:00:00Z", "2026-07-24 11:00 CEST"),
            ("America/New_York", "2026-11-24T03:00:00Z", "2026-11-23 22:00 EST"),
            ("America/Sao_Paulo", "2026-11-24T09:00:00Z", "2026-11-24 06:00 UTC-03:00"),
            ("Asia/Kathmandu", "2026-11-24T09:00:00Z", "2026-11-24 14:45 UTC+05:45"),
            ("Asia/Tokyo", "2026-11-24T20:00:00Z", "2026-11-25 05:00 JST"),
            ("UTC", "2026-11-24T09:00:00Z", "2026-11-24 09:00 UTC"),
            ("Nowhere/Atall", "2026-11-24T09:00:00Z", "2026-11-24 09:00 UTC"),
        ] {
            assert_eq!(zones.write(Some(&zone.parse().unwrap()), time.parse().unwrap()), written);
        }
        assert_eq!(zones.write(None, "2026-11-24T09:00:00Z".parse().unwrap()), "2026-11-24 09:00 UTC");
    }
}
