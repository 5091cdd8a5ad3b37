//! The time zones of this machine's database (`/usr/share/zoneinfo`): how far their clocks are ahead of UTC.

use std::cell::RefCell;
use std::collections::HashMap;

use tz::TimeZone;

use crate::domain::team::Timezone;

/// Those looked up so far.
#[derive(Default)]
pub struct Zones(RefCell<HashMap<String, Option<TimeZone>>>);

impl Zones {
    /// Seconds ahead of UTC at a moment; 0 in a zone that this machine does not know.
    pub fn offset(&self, zone: &Timezone, moment: i64) -> i64 {
        let mut known = self.0.borrow_mut();
        let found =
            known.entry(zone.as_str().to_owned()).or_insert_with(|| TimeZone::from_posix_tz(&format!(":{zone}")).ok());
        let here = found.as_ref().and_then(|zone| zone.find_local_time_type(moment).ok());
        here.map_or(0, |here| i64::from(here.ut_offset()))
    }
}
