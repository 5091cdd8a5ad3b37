//! Moving a log into the shared one and back, making a host's copy, and what is left of a copy after a restore.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::outstanding::Outstanding;
use super::read::Read;
use super::shared::{EngineAccess, fork, place, problem};
use super::{Error, Store, file, open};
use crate::domain::audit;
use crate::domain::audit::LogPlace;
use crate::domain::event::FORMAT;
use crate::domain::replica::{HostClocks, LastContact, Replica};
use crate::log::{Contacted, Engine, HostState};
use crate::protocol::RawView;

/// What a copy has that the shared log lost.
pub struct LostTail {
    /// The last epoch that the copy had seen, and that of the log.
    pub known_epoch: i64,
    pub epoch: i64,
    /// The last entry that both have.
    pub common: LogPlace,
}

impl Store {
    /// The role that this host logs in as, which is its name in the shared log. Fails if the owner is connected to another
    /// database than this host, or if the log does not let the host in.
    pub fn host_role(&self, owner: &mut Engine) -> Result<String, Error> {
        let expected = owner.identity().map_err(problem)?.1;
        let conn = self.connection(open::connect)?;
        self.with(|engine, _| {
            let (role, found) = engine.identity().map_err(problem)?;
            if found != expected {
                let message = "[log] in the configuration of this host names another database than the command line";
                let hint = "name the same servers and the same database in both".to_owned();
                return Err(Error::Shared { message: message.to_owned(), hint });
            }
            // Only whether it answers counts.
            engine.contact(&place(&conn)?, FORMAT).map_err(problem)?;
            Ok(role)
        })
    }

    /// How far the shared log and each host are.
    pub fn engine_state(&self) -> Result<(Contacted, Vec<HostState>), Error> {
        let conn = self.connection(open::connect)?;
        self.with(|engine, _| {
            let (contacted, _) = engine.contact(&place(&conn)?, FORMAT).map_err(problem)?;
            let hosts = engine.hosts().map_err(problem)?;
            Ok((contacted, hosts))
        })
    }

    /// Copies the log of this file into the shared one, byte for byte, after the entries that are there already, and makes this
    /// database a copy of it. A run that was interrupted continues where it was.
    pub fn move_log(&self, owner: &mut Engine, from: LogPlace, host: &str) -> Result<LogPlace, Error> {
        let conn = self.connection(open::connect)?;
        let copied = self.export(owner, from)?;
        // Nobody writes from here on, so what is left is the rest.
        let _turn = file::LockFile::wait_for(&self.path)?;
        let copied = self.export(owner, copied)?;
        if Read::new(&conn).replica()?.is_none() {
            self.transact(&conn, |write| write.begin_replica(&new_replica(host.to_owned())))?;
        }
        // A host that joins continues from this outbox. An earlier run that was interrupted may have published it.
        self.publish_outstanding(&mut Outstanding::default())?;
        owner.open_log().map_err(problem)?;
        self.with(|engine, access| self.catch_up_open(engine, access, &conn))?;
        Ok(copied)
    }

    /// Sends what follows a place. Returns the last place.
    fn export(&self, owner: &mut Engine, mut after: LogPlace) -> Result<LogPlace, Error> {
        loop {
            let page = self.read(|read| read.raw_entries_after(after.seq))?;
            if page.rows.is_empty() {
                return Ok(after);
            }
            let bodies: Vec<String> = page.rows.into_iter().map(|entry| entry.body).collect();
            owner.import(&after, &bodies).map_err(problem)?;
            after = bodies.iter().fold(after, |place, body| place.then(body.as_bytes()));
        }
    }

    /// Closes the shared log, takes in the rest of it, and makes this copy the log again. A run that was interrupted continues
    /// where it was.
    pub fn leave_log(&self, owner: &mut Engine, host: &str) -> Result<LogPlace, Error> {
        let conn = self.connection(open::connect)?;
        self.take_outstanding_on(&conn)?;
        let _turn = file::LockFile::wait_for(&self.path)?;
        self.with(|engine, access| {
            // What is pending can be settled before and after.
            self.settle_with(engine, access, &conn)?;
            owner.close_log(host).map_err(problem)?;
            self.catch_up(engine, access, &conn).map(drop)
        })?;
        let (here, there) = (place(&conn)?, owner.owned().map_err(problem)?.head);
        if here != there {
            let message = format!("this copy ends at entry {}, and the shared log at {}", here.seq, there.seq);
            return Err(Error::Shared { message, hint: "run the command again".to_owned() });
        }
        self.transact(&conn, |write| write.end_replica())?;
        Ok(here)
    }

    fn settle_with(
        &self,
        engine: &mut Engine,
        access: &EngineAccess,
        conn: &rusqlite::Connection,
    ) -> Result<(), Error> {
        self.settle(engine, access, conn)?;
        self.catch_up(engine, access, conn).map(drop)
    }

    /// Takes in what the log has, though it may be closed.
    pub fn follow_closed(&self) -> Result<(), Error> {
        let conn = self.connection(open::connect)?;
        let _turn = file::LockFile::wait_for(&self.path)?;
        self.with(|engine, access| self.settle_with(engine, access, &conn))
    }

    /// Makes a database that is a copy of a shared log. The file appears complete or not at all.
    pub fn join(path: &Path, access: EngineAccess) -> Result<LogPlace, Error> {
        let path = file::prepare(path)?;
        let draft = file::beside(&path, &format!(".new-{}", std::process::id()));
        let made =
            Store::copy_log(&draft, access).and_then(|place| file::move_into_place(&draft, &path).map(|()| place));
        file::remove_draft(&draft);
        made
    }

    /// Puts a new copy of the shared log in the place of this one, which is kept under another name.
    pub fn rejoin(self, access: EngineAccess, kept: &Path) -> Result<LogPlace, Error> {
        let Store { conn, path, .. } = self;
        let _turn = file::LockFile::wait_for(&path)?;
        let draft = file::beside(&path, &format!(".new-{}", std::process::id()));
        let made = Store::copy_log(&draft, access).and_then(|place| {
            // Succeeds only if no other process has the file open, whose write-ahead log would get the new one's name.
            let conn = conn.map_or_else(|| open::connect(&path), Ok)?;
            conn.pragma_update(None, "journal_mode", "DELETE")?;
            conn.close().map_err(|(_, error)| Error::from(error))?;
            replace(&path, &draft, kept)?;
            Ok(place)
        });
        file::remove_draft(&draft);
        made
    }

    fn copy_log(draft: &Path, access: EngineAccess) -> Result<LogPlace, Error> {
        let store = Store::draft_at(draft)?.with_engine(access);
        let host = store.with(|engine, _| engine.identity().map_err(problem))?.0;
        let last = {
            let conn = store.connection(open::connect)?;
            conn.execute_batch("PRAGMA cache_size=-64000; PRAGMA synchronous=OFF")?;
            store.transact(&conn, |write| write.begin_replica(&new_replica(host)))?;
            // Its own outbox would have all that was ever queued.
            if store.take_outstanding_on(&conn)?.is_none() {
                conn.execute_batch("DELETE FROM outbox")?;
            }
            place(&conn)?
        };
        if last == LogPlace::START {
            return Err(Error::Unreachable { message: "the shared log is empty".to_owned() });
        }
        store.checkpoint_and_close()?;
        Ok(last)
    }

    /// Where this copy and the shared log part, after the log was restored from a backup. None: the log has everything.
    /// A log that lacks entries though nobody has raised its epoch is refused: somebody may have rewritten it.
    pub fn lost_tail(&self) -> Result<Option<LostTail>, Error> {
        let conn = self.connection(open::connect)?;
        let known = Read::new(&conn).replica()?.map_or(0, |replica| replica.epoch);
        let here = place(&conn)?;
        self.with(|engine, _| {
            let state = match engine.contact(&here, FORMAT).map_err(problem)?.0 {
                Contacted::Open(_) | Contacted::Closed(_) => return Ok(None),
                Contacted::Fork(state) if state.epoch <= known => return Err(fork(&here, &state, known)),
                Contacted::Fork(state) => state,
            };
            // The hashes are chained, so once they differ they never agree again.
            let (mut common, mut beyond) = (LogPlace::START, here.seq.min(state.head.seq) + 1);
            while common.seq + 1 < beyond {
                let seq = common.seq + (beyond - common.seq) / 2;
                let ours = Read::new(&conn).hash_of(seq)?;
                match engine.hash_at(seq).map_err(problem)?.filter(|theirs| Some(*theirs) == ours) {
                    Some(hash) => common = LogPlace { seq, hash },
                    None => beyond = seq,
                }
            }
            // What was read counts once the server has proved that it is the leader.
            engine.contact(&common, FORMAT).map_err(problem)?;
            Ok(Some(LostTail { known_epoch: known, epoch: state.epoch, common }))
        })
    }

    /// The entries of this copy after a place, and then those that are pending.
    pub fn each_entry_after(
        &self,
        mut after: i64,
        mut each: impl FnMut(RawView) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let page = self.read(|read| read.raw_entries_after(after))?;
            let Some(last) = page.rows.last() else { break };
            after = last.seq;
            page.rows.into_iter().try_for_each(&mut each)?;
        }
        let pending = self.read(|read| read.pending_entries())?;
        let Some(pending) = pending else { return Ok(()) };
        let mut place = pending.place()?;
        pending.bodies.into_iter().try_for_each(|body| {
            place = place.then(body.as_bytes());
            each(RawView { seq: place.seq, hash: audit::hex(&place.hash), body })
        })
    }
}

/// Puts a finished draft in the place of a file, which is kept under another name. Nobody may have the file open.
fn replace(path: &Path, draft: &Path, kept: &Path) -> Result<(), Error> {
    // A run that was killed here has left the file with both names.
    if !is_same(path, kept) {
        file::move_into_place(path, kept)?;
    }
    std::fs::rename(draft, path).map_err(|error| file::io(path, &error))?;
    file::sync(path.parent().unwrap_or(Path::new("/")))
}

/// Whether both are names of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path| std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
    file(one).is_ok_and(|one| file(other).is_ok_and(|other| one == other))
}

/// A copy that has not heard from its log yet.
fn new_replica(host: String) -> Replica {
    let clocks = HostClocks { boot_id: String::new(), since_boot: 0, wall: 0 };
    Replica { host, epoch: 0, contact: LastContact { engine: 0, clocks } }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use std::fs;

    use super::*;

    #[test]
    fn a_replacement_that_was_interrupted_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, draft, kept] = ["access.db", "draft", "kept"].map(|name| folder.path().join(name));
        fs::write(&path, "old").unwrap();
        fs::write(&draft, "new").unwrap();
        // Where a run was killed.
        fs::hard_link(&path, &kept).unwrap();
        replace(&path, &draft, &kept).unwrap();
        let text = |path| fs::read_to_string(path).unwrap();
        assert!(text(&path) == "new" && text(&kept) == "old");
        // Another file is never replaced.
        fs::write(&draft, "newer").unwrap();
        assert!(matches!(replace(&path, &draft, &kept), Err(Error::Exists { .. })));
        assert!(text(&path) == "new" && text(&kept) == "old");
    }
}
