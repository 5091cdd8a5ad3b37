//! Moving a log to a database that several hosts share and back, and joining one.

use std::path::Path;

use super::outstanding::Outstanding;
use super::read::Read;
use super::shared::{EngineAccess, place, problem};
use super::{Error, Store, file, open};
use crate::domain::audit::LogPlace;
use crate::domain::event::FORMAT;
use crate::domain::replica::{HostClocks, LastContact, Replica};
use crate::log::{Contacted, Engine, EngineState, HostState};

impl Store {
    /// The role that this host logs in as: its name in the shared log.
    pub fn host_role(&self) -> Result<String, Error> {
        self.with(|engine, _| engine.role().map_err(problem))
    }

    /// How far the shared log and each host are.
    pub fn engine_state(&self) -> Result<(EngineState, Vec<HostState>), Error> {
        let conn = self.connection(open::connect)?;
        self.with(|engine, _| {
            let (contacted, _) = engine.contact(&place(&conn)?, FORMAT).map_err(problem)?;
            let hosts = engine.hosts().map_err(problem)?;
            match contacted {
                Contacted::Open(state) | Contacted::Fork(state) => Ok((state, hosts)),
                Contacted::Closed => Err(Error::Unreachable { message: "the shared log is closed".to_owned() }),
            }
        })
    }

    /// Copies the log of this file into an empty shared one, byte for byte, and makes this database a copy of it. A run that was
    /// interrupted goes on where it was.
    pub fn move_log(&self, owner: &mut Engine, host: &str) -> Result<LogPlace, Error> {
        let conn = self.connection(open::connect)?;
        let copied = self.export(owner, LogPlace::START)?;
        // Nobody writes from here on, so what is left is the rest.
        let _turn = file::LockFile::wait_for(&self.path)?;
        let copied = self.export(owner, copied)?;
        if Read::new(&conn).replica()?.is_none() {
            let clocks = HostClocks { boot_id: String::new(), since_boot: 0, wall: 0 };
            let replica = Replica { host: host.to_owned(), epoch: 0, contact: LastContact { engine: 0, clocks } };
            self.transact(&conn, |write| write.begin_replica(&replica))?;
        }
        // Whoever joins goes on from this outbox. Where it was said already, an earlier run was interrupted.
        self.publish_outstanding(&mut Outstanding::default())?;
        owner.open_log().map_err(problem)?;
        self.with(|engine, access| self.catch_up(engine, access, &conn))?;
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

    /// Closes the shared log, and makes this copy the log again.
    pub fn leave_log(&self, owner: &mut Engine) -> Result<LogPlace, Error> {
        let conn = self.connection(open::connect)?;
        self.follow()?;
        self.take_outstanding_on(&conn)?;
        owner.close_log().map_err(problem)?;
        let _turn = file::LockFile::wait_for(&self.path)?;
        // A closed log still answers what it has.
        self.with(|engine, access| self.catch_up(engine, access, &conn))?;
        if Read::new(&conn).pending_entries()?.is_some() {
            return Err(Error::Unreachable { message: "there are pending entries: see `access pending`".to_owned() });
        }
        self.transact(&conn, |write| write.end_replica())?;
        place(&conn)
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

    fn copy_log(draft: &Path, access: EngineAccess) -> Result<LogPlace, Error> {
        let store = Store::draft_at(draft)?.with_engine(access);
        let host = store.host_role()?;
        let clocks = HostClocks { boot_id: String::new(), since_boot: 0, wall: 0 };
        let replica = Replica { host, epoch: 0, contact: LastContact { engine: 0, clocks } };
        let last = {
            let conn = store.connection(open::connect)?;
            conn.execute_batch("PRAGMA cache_size=-64000; PRAGMA synchronous=OFF")?;
            store.transact(&conn, |write| write.begin_replica(&replica))?;
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
}
