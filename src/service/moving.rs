//! What the owner of a shared log does with it: prepares it, moves a log into it and back, and handles a restore.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::shared_log::{engine_failure, without_copy};
use super::verify::prove;
use crate::domain::audit::LogPlace;
use crate::domain::event::FORMAT;
use crate::domain::host::HostPower;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::files::draft_of;
use crate::log::{Engine, LogState, OwnedLog};
use crate::protocol::{MoveOutcome, MovedView, SalvagedView};
use crate::store::{EngineAccess, Error, Store, beside, move_into_place};

/// Installs or upgrades the database's side, for the team of this database.
pub fn prepare_log(store: &Store, owner: &mut Engine) -> Result<Name, Failure> {
    let team = store.read(|read| read.team_name())?;
    let found = owner.install(team.as_str()).map_err(engine_failure)?;
    of_this_team(&team, &found)?;
    Ok(team)
}

fn of_this_team(team: &Name, found: &str) -> Result<(), Failure> {
    if found == team.as_str() {
        return Ok(());
    }
    Err(Failure::new(Kind::Conflict, format!("the database has the log of team {found}, not of {team}"))
        .hint("use another database: each has the log of one team"))
}

/// The log of this database, verified: the chain, and that its fold gives what the tables have.
fn proven(store: &Store) -> Result<LogPlace, Failure> {
    store.read(|read| {
        let proof = prove(read, &[])?;
        if let Some(fault) = proof.faults.first() {
            let message = format!("the log of this database is not whole: {}", fault.problem);
            return Err(Failure::new(Kind::Invalid, message).hint("see `access audit verify`"));
        }
        let head = read.head()?;
        Ok(LogPlace { seq: head.seq, hash: head.hash })
    })
}

/// What this database is to a shared log.
struct Here {
    is_copy: bool,
    /// Whether this database has all that the shared log has.
    has_all: bool,
}

fn here(store: &Store, log: &OwnedLog) -> Result<Here, Failure> {
    store.read(|read| {
        of_this_team(&read.team_name()?, &log.team)?;
        let has_all = log.head == LogPlace::START || read.hash_of(log.head.seq)? == Some(log.head.hash);
        Ok(Here { is_copy: read.replica()?.is_some(), has_all })
    })
}

/// Moves the log of this database into the shared one. Continues what an earlier run began.
pub fn move_log(store: &Store, owner: &mut Engine, dry_run: bool) -> Result<MovedView, Failure> {
    let before = proven(store)?;
    let log = owner.owned().map_err(engine_failure)?;
    let Here { is_copy, has_all } = here(store, &log)?;
    let role = store.host_role(owner);
    let host = if is_copy { role? } else { role.map_err(without_copy)? };
    let conflict = |what: &str, hint: &str| Err(Failure::new(Kind::Conflict, what).hint(hint));
    match (log.state, is_copy) {
        (LogState::Open, true) => {
            store.follow()?;
            let outcome = if dry_run { MoveOutcome::DryRun } else { MoveOutcome::AlreadyMoved };
            return Ok(MovedView { outcome, entries: proven(store)?.seq, host });
        }
        (LogState::Open, false) => {
            return conflict("the shared log is in use already", "`access log join` makes a copy of it on a new host");
        }
        (LogState::Closed, _) if log.taken_by.as_ref().is_some_and(|taken_by| *taken_by != host) => {
            return conflict(&taken(&log), "move it back from that host");
        }
        (LogState::Importing | LogState::Closed, true) if log.head != before => {
            return conflict("this database is a copy of another shared log", "see `access log status`");
        }
        (LogState::Importing | LogState::Closed, _) if !has_all => {
            return conflict("the shared log has other entries already", "use an empty database");
        }
        (LogState::Importing | LogState::Closed, _) => {}
    }
    decides(store, owner, &host, "share its log", &[])?;
    if dry_run {
        return Ok(MovedView { outcome: MoveOutcome::DryRun, entries: before.seq, host });
    }
    let moved = store.move_log(owner, log.head, &host)?;
    compare(owner, moved)?;
    proven(store)?;
    Ok(MovedView { outcome: MoveOutcome::Moved, entries: moved.seq, host })
}

fn taken(log: &OwnedLog) -> String {
    format!("the host {} has taken the shared log", log.taken_by.as_deref().unwrap_or("of another copy"))
}

/// Fails if this host may not decide. Checked before a log is closed or filled, as such a host could not do what follows.
fn decides(store: &Store, owner: &mut Engine, host: &str, what: &str, hints: &[&str]) -> Result<(), Failure> {
    let named = store.read(|read| read.hosts())?;
    let may = if named.is_empty() {
        let hosts = owner.hosts().map_err(engine_failure)?;
        hosts.into_iter().find(|known| known.host == host && !known.retired).map(|known| known.may)
    } else {
        let host = host.parse::<Name>().ok();
        host.and_then(|host| named.get(&host)).map(|known| known.may.as_str().to_owned())
    };
    let may = may.unwrap_or_else(|| HostPower::Read.as_str().to_owned());
    if may == HostPower::Decide.as_str() {
        return Ok(());
    }
    let failure = Failure::new(Kind::Conflict, format!("the host {host} may only {may}, so it can't {what}"));
    let failure = hints.iter().fold(failure, |failure, hint| failure.hint(*hint));
    Err(failure.hint(if named.is_empty() {
        format!("let it decide first, as the owner of the log: `access log allow {host} decide URL`")
    } else {
        format!("let it decide first: may = \"decide\" in [hosts.{host}] of the team file")
    }))
}

/// The database has computed the hashes from what it has stored, so equal ones are equal entries, and give an equal fold.
fn compare(owner: &mut Engine, ours: LogPlace) -> Result<(), Failure> {
    let theirs = owner.owned().map_err(engine_failure)?.head;
    // Another host may have appended already.
    if theirs == ours || theirs.seq > ours.seq {
        return Ok(());
    }
    let message = format!("the shared log ends at entry {}, and this copy at {}", theirs.seq, ours.seq);
    Err(Failure::new(Kind::Invalid, message).hint("keep both, and compare them with `access audit verify`"))
}

/// Closes the shared log, and makes this copy the log again. Continues what an earlier run began.
pub fn leave_log(store: &Store, owner: &mut Engine, dry_run: bool) -> Result<MovedView, Failure> {
    let log = owner.owned().map_err(engine_failure)?;
    let Here { is_copy, has_all } = here(store, &log)?;
    let host = store.host_role(owner)?;
    let is_taken_here = log.taken_by.as_ref() == Some(&host);
    match (log.state, is_copy) {
        (LogState::Closed, false) if is_taken_here && has_all => {
            let entries = proven(store)?.seq;
            return Ok(MovedView { outcome: MoveOutcome::AlreadyMoved, entries, host });
        }
        (_, false) => {
            return Err(Failure::new(Kind::Conflict, "this database is not a copy of the shared log")
                .hint("run the command on a host that has a copy"));
        }
        (LogState::Closed, true) if !is_taken_here => {
            return Err(Failure::new(Kind::Conflict, taken(&log)).hint("use the log of that host"));
        }
        (LogState::Importing, true) => {
            return Err(Failure::new(Kind::Conflict, "the move to the shared log has not ended")
                .hint("run `access log move` again first"));
        }
        (LogState::Open | LogState::Closed, true) => {}
    }
    const ELSEWHERE: &str = "run the command on a host that may decide: `access log status` lists the hosts";
    decides(store, owner, &host, "take the shared log", if is_taken_here { &[] } else { &[ELSEWHERE] })?;
    store.follow_closed()?;
    let before = proven(store)?;
    if dry_run {
        return Ok(MovedView { outcome: MoveOutcome::DryRun, entries: before.seq, host });
    }
    let place = store.leave_log(owner, &host)?;
    proven(store)?;
    Ok(MovedView { outcome: MoveOutcome::Moved, entries: place.seq, host })
}

/// Begins an epoch, later than any that this host knows.
pub fn raise_epoch(store: &Store, owner: &mut Engine) -> Result<i64, Failure> {
    let known = store.read(|read| read.replica())?.map_or(0, |replica| replica.epoch);
    owner.raise_epoch(known).map_err(engine_failure)
}

/// Lets all hosts write the newest format that this version knows. Returns the format that they write then.
pub fn raise_format(owner: &mut Engine) -> Result<i32, Failure> {
    owner.raise_format(FORMAT).map_err(engine_failure)?;
    Ok(owner.owned().map_err(engine_failure)?.write_format)
}

/// Writes the entries that the shared log lacks since its restore to a file, one JSON object a line. `anew`: puts a new copy of
/// the log in the place of this one, which is kept.
pub fn salvage_log(store: Store, file: &Path, anew: Option<EngineAccess>) -> Result<SalvagedView, Failure> {
    let Some(lost) = store.lost_tail()? else {
        return Err(Failure::new(
            Kind::Failure,
            "the shared log has all entries of this copy; there is nothing to salvage",
        ));
    };
    let entries = write_lines(&store, lost.common.seq, file)?;
    let mut kept = None;
    if let Some(engine) = anew {
        let aside: PathBuf = beside(store.path(), &format!(".epoch-{}", lost.known_epoch));
        store.rejoin(engine, &aside).map_err(|error| match error {
            Error::Busy => Failure::new(Kind::Busy, "another process has the database open; the copy was not replaced")
                .hint("stop `access follow` and whatever else uses it, and name another file"),
            error => error.into(),
        })?;
        kept = Some(aside);
    }
    Ok(SalvagedView { entries, common: lost.common.seq, epoch: lost.epoch, kept })
}

/// Writes the file. It appears complete or not at all.
fn write_lines(store: &Store, after: i64, path: &Path) -> Result<u64, Failure> {
    let draft = draft_of(path);
    let written = write_draft(store, after, &draft).and_then(|count| {
        move_into_place(&draft, path).map_err(|error| match error {
            Error::Exists { path } => {
                Failure::new(Kind::Io, format!("{} exists already", path.display())).hint("name another file")
            }
            other => other.into(),
        })?;
        Ok(count)
    });
    // There may be none.
    let _ = fs::remove_file(&draft);
    written
}

fn write_draft(store: &Store, after: i64, path: &Path) -> Result<u64, Failure> {
    let failed = |error: &std::io::Error| Failure::new(Kind::Io, format!("{}: {error}", path.display()));
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| failed(&error))?;
    let mut lines = BufWriter::new(file);
    let mut count = 0;
    store.each_entry_after(after, |entry| {
        count += 1;
        let line = serde_json::to_string(&entry).map_err(|error| Error::Internal { message: error.to_string() })?;
        writeln!(lines, "{line}").map_err(|error| Error::Io { message: error.to_string() })
    })?;
    let file = lines.into_inner().map_err(|error| failed(error.error()))?;
    file.sync_all().map_err(|error| failed(&error))?;
    Ok(count)
}
