//! The log that several hosts share: joining it, how far each host is, and how old an answer of a copy may be.

use std::path::Path;
use std::time::Duration;

use crate::domain::audit;
use crate::domain::catalog::CatalogItem;
use crate::domain::duration::brief;
use crate::domain::replica::{ContactAge, HostClocks, NamedPosition, Replica};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::log::{Contacted, EngineError};
use crate::protocol::{AsOf, EngineCondition, EngineView, Freshness, HostView, LogStatusView, Position};
use crate::store::{EngineAccess, Error, KnownState, Read, Store};

/// A host is in contact if it heard from the shared log so many milliseconds ago.
const IN_CONTACT: i64 = 10_000;
/// How long to wait for an entry.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the database did not do what its owner asked.
pub fn engine_failure(error: EngineError) -> Failure {
    match error {
        EngineError::Unreachable(why) | EngineError::Busy(why) | EngineError::OutcomeUnknown(why) => {
            let failure = Failure::new(Kind::Unavailable, format!("the database can't be reached as its owner: {why}"));
            if why.contains("does not support TLS") {
                return failure.hint("set `ssl = on` in PostgreSQL, or allow a plain connection with --allow-plain");
            }
            failure
        }
        EngineError::Slow => Failure::new(Kind::Unavailable, "the line to the database is slow"),
        EngineError::Refused(why) | EngineError::Forbidden(why) => {
            Failure::new(Kind::Failure, format!("the database refuses: {why}"))
        }
    }
}

/// Why the shared log can't be reached by a host that has no copy of it yet.
pub fn without_copy(error: Error) -> Failure {
    match error {
        Error::Unreachable { message } if !message.contains("does not support TLS") => {
            Failure::new(Kind::Unavailable, message)
                .hint("nothing was changed; [log] in the configuration file says how this host reaches the log")
        }
        other => other.into(),
    }
}

/// Makes this host's copy of the shared log.
pub fn join_log(path: &Path, engine: EngineAccess) -> Result<Position, Failure> {
    let place = Store::join(path, engine).map_err(without_copy)?;
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
    let engine = store.engine_state().map(|(contacted, hosts)| EngineView {
        state: match &contacted {
            Contacted::Open(_) => EngineCondition::Open,
            Contacted::Closed(_) => EngineCondition::Closed,
            Contacted::Fork(_) => EngineCondition::Fork,
        },
        seq: contacted.state().head.seq,
        epoch: contacted.state().epoch,
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
    let (engine, unreachable) = match engine {
        Ok(engine) => (Some(engine), None),
        Err(error) => (None, Some(Failure::from(error).message)),
    };
    Ok(LogStatusView { host: replica.host, position, engine, unreachable })
}

/// What the last transaction knew, and how old that is. None: the log is in this database alone.
pub fn as_of(store: &Store, clocks: &dyn Fn() -> Result<HostClocks, Failure>) -> Result<Option<AsOf>, Failure> {
    let Some(KnownState { team, seq, replica, unwritten }) = store.known() else { return Ok(None) };
    let age_seconds = match replica.contact.age(&clocks()?) {
        ContactAge::Milliseconds(age) => Some(age / 1000),
        ContactAge::BeforeBoot => None,
    };
    let at = Timestamp::from_unix(replica.contact.engine / 1000)
        .map_err(|why| Failure::new(Kind::Failure, format!("the shared log's time: {why}")))?;
    Ok(Some(AsOf { position: NamedPosition { team, seq }, at, age_seconds, unwritten }))
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

/// A host that may not record what its reconciler did goes on as if the log could not be reached.
pub fn recorded_elsewhere(failure: Failure) -> Failure {
    match failure.kind {
        Kind::Refused => Failure { kind: Kind::Unavailable, ..failure },
        _ => failure,
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

/// Whether this host hears from the shared log, or has the log itself.
pub fn is_in_contact(read: &Read<'_>, clocks: &dyn Fn() -> Result<HostClocks, Failure>) -> Result<bool, Failure> {
    let Some(replica) = read.replica()? else { return Ok(true) };
    Ok(within(&replica, &clocks()?, IN_CONTACT).is_ok())
}

/// How old a copy may be to answer about a resource, in milliseconds.
pub fn offline_for(read: &Read<'_>, item: &CatalogItem) -> Result<i64, Error> {
    // Whatever the limit, a host that is in contact answers.
    Ok(read.offline_limit(item)?.milliseconds().max(IN_CONTACT))
}

fn within(replica: &Replica, clocks: &HostClocks, limit: i64) -> Result<(), Failure> {
    match replica.contact.age(clocks) {
        ContactAge::Milliseconds(age) if age <= limit => Ok(()),
        ContactAge::Milliseconds(age) => {
            let message =
                format!("this host last heard from the shared log {} ago, which is too long", brief(age / 1000));
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
        let limit = 15 * 60_000;
        assert!(within(&replica, &clocks(limit), limit).is_ok());
        assert_eq!(within(&replica, &clocks(limit + 1), limit).unwrap_err().kind, Kind::Unavailable);
        let rebooted = HostClocks { boot_id: "b".to_owned(), ..clocks(1) };
        assert_eq!(within(&replica, &rebooted, limit).unwrap_err().kind, Kind::Unavailable);
    }
}
