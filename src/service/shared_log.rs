//! The log that several hosts share: joining it, how far each host is, and how old an answer of a copy may be.

use std::path::Path;

use crate::domain::audit;
use crate::domain::catalog::CatalogItem;
use crate::domain::duration::spell;
use crate::domain::replica::{ContactAge, HostClocks, OfflineLimit, Replica};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::log::EngineError;
use crate::protocol::{AsOf, EngineView, HostView, LogStatusView, Position};
use crate::store::{EngineAccess, Read, Store};

/// A copy that is younger than this needs no remark, in milliseconds.
const FRESH: i64 = 10_000;

/// Why the database did not do what its owner asked.
pub fn engine_failure(error: EngineError) -> Failure {
    match error {
        EngineError::Unreachable(why) | EngineError::OutcomeUnknown(why) => {
            Failure::new(Kind::Unavailable, format!("the database can't be reached: {why}"))
        }
        EngineError::Refused(why) => Failure::new(Kind::Failure, format!("the database refuses: {why}")),
    }
}

/// Makes this host's copy of the shared log.
pub fn join_log(path: &Path, engine: EngineAccess) -> Result<Position, Failure> {
    let place = Store::join(path, engine)?;
    Ok(Position { seq: place.seq, hash: audit::hex(&place.hash) })
}

/// How far this copy, the shared log and all hosts are.
pub fn log_status(store: &Store) -> Result<LogStatusView, Failure> {
    let (replica, head) = store.read(|read| Ok::<_, crate::store::Error>((read.replica()?, read.head()?)))?;
    let replica = replica.ok_or_else(|| {
        Failure::new(Kind::Failure, "the log is in this database alone; it is not shared")
            .hint("see `access log init --help`")
    })?;
    let position = Position { seq: head.seq, hash: audit::hex(&head.hash) };
    let engine = store.engine_state().map(|(state, hosts)| EngineView {
        seq: state.head.seq,
        epoch: state.epoch,
        hosts: hosts
            .into_iter()
            .map(|host| HostView {
                host: host.host,
                may: host.may,
                seen_seq: host.seen_seq,
                seen_at: host.seen_at.and_then(|at| Timestamp::from_unix(at / 1000).ok()),
                retired: host.retired,
            })
            .collect(),
    });
    Ok(LogStatusView { host: replica.host, position, engine: engine.map_err(|error| Failure::from(error).message) })
}

/// How old the copy is, for an answer about a resource. Fails if it is too old to answer.
pub fn as_of(
    read: &Read<'_>,
    item: &CatalogItem,
    clocks: &dyn Fn() -> Result<HostClocks, Failure>,
) -> Result<Option<AsOf>, Failure> {
    let Some(replica) = read.replica()? else { return Ok(None) };
    answered(&replica, &clocks()?, read.offline_limit(item)?)
}

fn answered(replica: &Replica, clocks: &HostClocks, limit: OfflineLimit) -> Result<Option<AsOf>, Failure> {
    let age = match replica.contact.age(clocks) {
        ContactAge::Milliseconds(age) if age <= FRESH => return Ok(None),
        ContactAge::Milliseconds(age) if age <= limit.milliseconds() => age,
        ContactAge::Milliseconds(age) => {
            let message =
                format!("this host last heard from the shared log {} ago, which is too long", spell(age / 1000));
            return Err(too_old(message));
        }
        ContactAge::BeforeBoot => {
            return Err(too_old("this host has not heard from the shared log since it started".to_owned()));
        }
    };
    let at = Timestamp::from_unix(replica.contact.engine / 1000);
    Ok(at.ok().map(|at| AsOf { at, age_seconds: age / 1000 }))
}

fn too_old(message: String) -> Failure {
    Failure::new(Kind::Unavailable, message).hint("see `access log status`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replica::LastContact;

    #[test]
    fn an_old_copy_says_so_and_a_very_old_one_does_not_answer() {
        let clocks = |now: i64| HostClocks { boot_id: "a".to_owned(), since_boot: now, wall: now };
        let contact = LastContact { engine: 1_800_000_000_000, clocks: clocks(0) };
        let replica = Replica { host: "h".to_owned(), epoch: 1, contact };
        let limit: OfflineLimit = "15m".parse().unwrap();
        let age = |now| answered(&replica, &clocks(now), limit).map(|as_of| as_of.map(|as_of| as_of.age_seconds));
        assert_eq!(age(10_000).unwrap(), None);
        assert_eq!(age(10_001).unwrap(), Some(10));
        assert_eq!(age(900_000).unwrap(), Some(900));
        assert_eq!(age(900_001).unwrap_err().kind, Kind::Unavailable);
        // Whatever the limit, a host that is in contact answers.
        let never: OfflineLimit = "0".parse().unwrap();
        assert_eq!(answered(&replica, &clocks(10_000), never).unwrap(), None);
        assert_eq!(answered(&replica, &clocks(10_001), never).unwrap_err().kind, Kind::Unavailable);
        let rebooted = HostClocks { boot_id: "b".to_owned(), ..clocks(1) };
        assert_eq!(answered(&replica, &rebooted, limit).unwrap_err().kind, Kind::Unavailable);
    }
}
