//! The log that several hosts share: preparing it, moving to it and back, and how far everyone is.

use std::path::Path;

use super::verify::prove;
use crate::domain::audit;
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::duration::spell;
use crate::domain::name::Name;
use crate::domain::replica::{ContactAge, HostClocks, Replica};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::log::{Engine, EngineError};
use crate::protocol::{AsOf, EngineView, HostView, LogStatusView, MovedView, Position};
use crate::store::{EngineAccess, Read, Store};

/// A copy that is younger than this needs no remark, in milliseconds.
const FRESH: i64 = 10_000;
/// How old a copy may be for a resource in production, and elsewhere, in milliseconds.
const OFFLINE_IN_PRODUCTION: i64 = 5 * 60_000;
const OFFLINE: i64 = 15 * 60_000;

/// Why the database did not do what its owner asked.
pub fn engine_failure(error: EngineError) -> Failure {
    match error {
        EngineError::Unreachable(why) | EngineError::Busy(why) | EngineError::OutcomeUnknown(why) => {
            Failure::new(Kind::Unavailable, format!("the database can't be reached: {why}"))
        }
        EngineError::Refused(why) => Failure::new(Kind::Failure, format!("the database refuses: {why}")),
    }
}

/// Installs or upgrades the database's side, for the team of this database.
pub fn prepare_log(store: &Store, owner: &mut Engine) -> Result<Name, Failure> {
    let team = store.read(|read| read.team_name())?;
    owner.install(team.as_str()).map_err(engine_failure)?;
    Ok(team)
}

/// Moves the log of this database into the shared one.
pub fn move_log(store: &Store, owner: &mut Engine, dry_run: bool) -> Result<MovedView, Failure> {
    let proof = store.read(|read| prove(read, &[]))?;
    if let Some(fault) = proof.faults.first() {
        return Err(Failure::new(
            Kind::Invalid,
            format!("the log is not whole, so it was not moved: {}", fault.problem),
        )
        .hint("see `access audit verify`"));
    }
    owner.role().map_err(engine_failure)?;
    let host = store.host_role()?;
    if dry_run {
        return Ok(MovedView { entries: proof.entries, host });
    }
    let place = store.move_log(owner, &host)?;
    Ok(MovedView { entries: place.seq, host })
}

/// Makes this host's copy of the shared log.
pub fn join_log(path: &Path, engine: EngineAccess) -> Result<Position, Failure> {
    let place = Store::join(path, engine)?;
    Ok(Position { seq: place.seq, hash: audit::hex(&place.hash) })
}

/// Closes the shared log, and makes this copy the log again.
pub fn leave_log(store: &Store, owner: &mut Engine) -> Result<Position, Failure> {
    let place = store.leave_log(owner)?;
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
    let limit = match item.environment() {
        Some(Environment::Production) => OFFLINE_IN_PRODUCTION,
        Some(Environment::NonProduction) | None => OFFLINE,
    };
    answered(&replica, &clocks()?, limit)
}

fn answered(replica: &Replica, clocks: &HostClocks, limit: i64) -> Result<Option<AsOf>, Failure> {
    let age = match replica.contact.age(clocks) {
        ContactAge::Milliseconds(age) if age <= FRESH => return Ok(None),
        ContactAge::Milliseconds(age) if age <= limit => age,
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
        let age = |now| answered(&replica, &clocks(now), OFFLINE).map(|as_of| as_of.map(|as_of| as_of.age_seconds));
        assert_eq!(age(10_000).unwrap(), None);
        assert_eq!(age(10_001).unwrap(), Some(10));
        assert_eq!(age(OFFLINE).unwrap(), Some(OFFLINE / 1000));
        assert_eq!(age(OFFLINE + 1).unwrap_err().kind, Kind::Unavailable);
        let rebooted = HostClocks { boot_id: "b".to_owned(), ..clocks(1) };
        assert_eq!(answered(&replica, &rebooted, OFFLINE).unwrap_err().kind, Kind::Unavailable);
    }
}
