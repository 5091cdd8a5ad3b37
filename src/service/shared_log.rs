//! The log that several hosts share: preparing it, moving to it and back, and how far everyone is.

use std::path::Path;
use std::time::Duration;

use super::verify::prove;
use crate::domain::audit;
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::duration::spell;
use crate::domain::name::Name;
use crate::domain::replica::{ContactAge, HostClocks, NamedPosition, Replica};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::log::{Engine, EngineError};
use crate::protocol::{AsOf, EngineView, Freshness, HostView, LogStatusView, MovedView, Position};
use crate::store::{EngineAccess, Error, KnownState, Read, Store};

/// A host is in contact if it heard from the shared log so many milliseconds ago.
const IN_CONTACT: i64 = 10_000;
/// How long to wait for an entry.
const PATIENCE: Duration = Duration::from_secs(10);
/// How old a copy may be for a resource in production, and elsewhere, in milliseconds.
const OFFLINE_IN_PRODUCTION: i64 = 5 * 60_000;
const OFFLINE: i64 = 15 * 60_000;

/// Why the database did not do what its owner asked.
pub fn engine_failure(error: EngineError) -> Failure {
    match error {
        EngineError::Unreachable(why) | EngineError::OutcomeUnknown(why) => {
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
    let (replica, head) = store.read(|read| Ok::<_, Error>((read.replica()?, read.head()?)))?;
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

/// What the last transaction knew, and how old that is. None: the log is in this database alone.
pub fn as_of(store: &Store, clocks: &dyn Fn() -> Result<HostClocks, Failure>) -> Result<Option<AsOf>, Failure> {
    let Some(KnownState { team, seq, replica }) = store.known() else { return Ok(None) };
    let age_seconds = match replica.contact.age(&clocks()?) {
        ContactAge::Milliseconds(age) => Some(age / 1000),
        ContactAge::BeforeBoot => None,
    };
    let at = Timestamp::from_unix(replica.contact.engine / 1000)
        .map_err(|why| Failure::new(Kind::Failure, format!("the shared log's time: {why}")))?;
    Ok(Some(AsOf { position: NamedPosition { team, seq }, at, age_seconds }))
}

/// Makes sure that the next answer is as fresh as its reader asks.
pub fn freshen(store: &Store, freshness: Option<&Freshness>) -> Result<(), Failure> {
    let Some(freshness) = freshness else { return Ok(()) };
    let team = store.read(|read| Ok::<_, Error>((read.team_name()?, read.replica()?.is_some())))?;
    match (freshness, team) {
        // The log is in this file, so nothing is fresher.
        (Freshness::Asked, (_, false)) => Ok(()),
        (Freshness::Asked, (_, true)) => store.follow().map(drop).map_err(unanswered),
        (Freshness::AtLeast(wanted), (team, _)) if wanted.team != team => {
            Err(Failure::new(Kind::Usage, format!("{wanted} is not in the log of this team, {team}")))
        }
        (Freshness::AtLeast(wanted), _) => {
            if store.wait_for(wanted, PATIENCE).map_err(unanswered)? {
                return Ok(());
            }
            Err(too_old(format!("this host does not know {wanted} yet")))
        }
    }
}

/// A question has other hints than a change.
pub fn unanswered(error: Error) -> Failure {
    match error {
        Error::Unreachable { message } => too_old(message),
        other => other.into(),
    }
}

/// Fails if the copy is too old to answer about a resource.
pub fn is_recent_enough(
    read: &Read<'_>,
    item: &CatalogItem,
    clocks: &dyn Fn() -> Result<HostClocks, Failure>,
) -> Result<(), Failure> {
    let Some(replica) = read.replica()? else { return Ok(()) };
    within(&replica, &clocks()?, offline_for(read, item)?)
}

/// How old a copy may be to answer about a resource, in milliseconds.
pub fn offline_for(_: &Read<'_>, item: &CatalogItem) -> Result<i64, Error> {
    let limit = match item.environment() {
        Some(Environment::Production) => OFFLINE_IN_PRODUCTION,
        Some(Environment::NonProduction) | None => OFFLINE,
    };
    // Whatever the limit, a host that is in contact answers.
    Ok(limit.max(IN_CONTACT))
}

fn within(replica: &Replica, clocks: &HostClocks, limit: i64) -> Result<(), Failure> {
    match replica.contact.age(clocks) {
        ContactAge::Milliseconds(age) if age <= limit => Ok(()),
        ContactAge::Milliseconds(age) => {
            let message =
                format!("this host last heard from the shared log {} ago, which is too long", spell(age / 1000));
            Err(too_old(message))
        }
        ContactAge::BeforeBoot => {
            Err(too_old("this host has not heard from the shared log since it started".to_owned()))
        }
    }
}

fn too_old(message: String) -> Failure {
    Failure::new(Kind::Unavailable, message).hint("see `access log status`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replica::LastContact;

    #[test]
    fn a_very_old_copy_does_not_answer() {
        let clocks = |now: i64| HostClocks { boot_id: "a".to_owned(), since_boot: now, wall: now };
        let contact = LastContact { engine: 1_800_000_000_000, clocks: clocks(0) };
        let replica = Replica { host: "h".to_owned(), epoch: 1, contact };
        assert!(within(&replica, &clocks(OFFLINE), OFFLINE).is_ok());
        assert_eq!(within(&replica, &clocks(OFFLINE + 1), OFFLINE).unwrap_err().kind, Kind::Unavailable);
        let rebooted = HostClocks { boot_id: "b".to_owned(), ..clocks(1) };
        assert_eq!(within(&replica, &rebooted, OFFLINE).unwrap_err().kind, Kind::Unavailable);
    }
}
