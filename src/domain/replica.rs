//! The copy that a host has of a log which several hosts share: how old it is, and what time it is there.
//!
//! The engine that orders the entries has the clock that counts. Between two contacts the time goes on by the host's own
//! count of seconds since it started, which nobody can set. A wall clock only makes a copy look older, never younger.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::duration::{Length, stored};
use super::name::Name;
use super::time::Timestamp;
use super::{Malformed, read_by_parsing};

/// The clocks of this host at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostClocks {
    /// A new one each time the host starts.
    pub boot_id: String,
    /// Milliseconds since the host started, including those in which it slept (CLOCK_BOOTTIME).
    pub since_boot: i64,
    /// Milliseconds since 1970, by the wall clock.
    pub wall: i64,
}

/// When the host last heard from the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastContact {
    /// The engine's clock then, in milliseconds since 1970.
    pub engine: i64,
    pub clocks: HostClocks,
}

/// What a database says about the shared log that it is a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// This host's name, as the log's entries have it.
    pub host: String,
    /// Changes when the engine was restored from a backup.
    pub epoch: i64,
    pub contact: LastContact,
}

/// An entry of the log of a team, as people pass it on: `acme@12345`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamedPosition {
    pub team: Name,
    pub seq: i64,
}

impl fmt::Display for NamedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.team, self.seq)
    }
}

impl FromStr for NamedPosition {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<NamedPosition, Malformed> {
        let malformed = || Malformed::new(format!("{text:?} is not a position in a log, such as acme@12345"));
        let (team, seq) = text.rsplit_once('@').ok_or_else(malformed)?;
        let digits = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| digits).ok_or_else(malformed)?;
        Ok(NamedPosition { team: team.parse()?, seq })
    }
}

impl TryFrom<String> for NamedPosition {
    type Error = Malformed;

    fn try_from(text: String) -> Result<NamedPosition, Malformed> {
        text.parse()
    }
}

impl From<NamedPosition> for String {
    fn from(position: NamedPosition) -> String {
        position.to_string()
    }
}

/// How long after the last contact a copy still answers about a resource: `offline_for` in the team file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfflineLimit {
    seconds: i64,
}

impl OfflineLimit {
    /// Where the team file says nothing: in production, and elsewhere.
    pub const IN_PRODUCTION: OfflineLimit = OfflineLimit { seconds: 5 * 60 };
    pub const ELSEWHERE: OfflineLimit = OfflineLimit { seconds: 15 * 60 };

    pub fn milliseconds(self) -> i64 {
        self.seconds * 1000
    }
}

impl fmt::Display for OfflineLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 { f.pad("0") } else { f.pad(&stored(self.seconds)) }
    }
}

impl FromStr for OfflineLimit {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<OfflineLimit, Malformed> {
        let seconds = if text == "0" { 0 } else { text.parse::<Length>()?.seconds() };
        Ok(OfflineLimit { seconds })
    }
}

read_by_parsing!(OfflineLimit);

impl Serialize for OfflineLimit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How long ago the last contact was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContactAge {
    Milliseconds(i64),
    /// The host has started since, so how long it was off is known only by its wall clock.
    BeforeBoot,
}

impl LastContact {
    /// The engine's clock now, as well as this host can know it.
    pub fn now(&self, clocks: &HostClocks) -> Result<Timestamp, Malformed> {
        let since = if clocks.boot_id == self.clocks.boot_id {
            clocks.since_boot - self.clocks.since_boot
        } else {
            clocks.wall - self.clocks.wall
        };
        Timestamp::from_unix((self.engine + since.max(0)).div_euclid(1000))
    }

    /// The larger of what the two clocks say: a virtual machine that was paused must not look fresh.
    pub fn age(&self, clocks: &HostClocks) -> ContactAge {
        if clocks.boot_id != self.clocks.boot_id {
            return ContactAge::BeforeBoot;
        }
        let by_boot = clocks.since_boot - self.clocks.since_boot;
        let by_wall = clocks.wall - self.clocks.wall;
        ContactAge::Milliseconds(by_boot.max(by_wall).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot_id: &str, since_boot: i64, wall: i64) -> HostClocks {
        HostClocks { boot_id: boot_id.to_owned(), since_boot, wall }
    }

    #[test]
    fn time_goes_on_by_the_seconds_since_the_host_started_whatever_the_wall_clock_says() {
        let contact = LastContact { engine: 1_800_000_000_000, clocks: clocks("a", 5_000, 0) };
        for wall in [-1_000_000, 0, 9_000_000_000] {
            assert_eq!(contact.now(&clocks("a", 65_000, wall)).unwrap().unix(), 1_800_000_060);
        }
        // Never before the contact.
        assert_eq!(contact.now(&clocks("a", 0, 0)).unwrap().unix(), 1_800_000_000);
        assert_eq!(contact.now(&clocks("b", 0, -5)).unwrap().unix(), 1_800_000_000);
        assert_eq!(contact.now(&clocks("b", 0, 7_000)).unwrap().unix(), 1_800_000_007);
    }

    #[test]
    fn a_position_is_a_team_and_a_number() {
        let position: NamedPosition = "acme@12345".parse().unwrap();
        assert_eq!((position.seq, position.to_string().as_str()), (12345, "acme@12345"));
        for wrong in ["acme", "acme@", "@1", "acme@-1", "acme@+1", "acme@1 ", "a b@1", "acme@99999999999999999999"] {
            assert!(wrong.parse::<NamedPosition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_copy_is_as_old_as_the_clock_that_says_more() {
        let contact = LastContact { engine: 0, clocks: clocks("a", 5_000, 100_000) };
        assert_eq!(contact.age(&clocks("a", 6_000, 100_500)), ContactAge::Milliseconds(1_000));
        assert_eq!(contact.age(&clocks("a", 6_000, 900_000)), ContactAge::Milliseconds(800_000));
        assert_eq!(contact.age(&clocks("a", 6_000, 0)), ContactAge::Milliseconds(1_000));
        assert_eq!(contact.age(&clocks("b", 6_000, 100_500)), ContactAge::BeforeBoot);
        assert!(ContactAge::BeforeBoot > ContactAge::Milliseconds(i64::MAX));
    }
}
