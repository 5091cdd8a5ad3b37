//! The journal of the reconciler: what it gave, in which system, what it was about to do, and the sessions of this host. A database of its own, so that a
//! restored database of access can't make it forget what it has to take back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::open::harden;
use super::{Error, commit, file, row};
use crate::domain::binding::{Holding, Parameters};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::session::SessionProcesses;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::protocol::Position;

/// "accj", the `PRAGMA application_id`.
const APPLICATION_ID: i32 = 0x6163_636a;
const VERSION: i32 = 1;
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS holding (
    connector TEXT NOT NULL,
    login TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    requests TEXT NOT NULL,
    until INTEGER,
    end_sessions INTEGER NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (connector, login, parameters)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER,
    login TEXT NOT NULL,
    resource TEXT NOT NULL,
    processes TEXT NOT NULL,
    state TEXT NOT NULL,
    UNIQUE (seq, processes, login, resource)
) STRICT;
CREATE TABLE IF NOT EXISTS position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;
";

/// What the reconciler knows of one holding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    pub state: JournalState,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// The requests for which it was given. Empty: baseline access.
    pub requests: Vec<RequestId>,
    /// The end that the system was given.
    pub until: Option<Timestamp>,
    pub end_sessions: bool,
    /// The idempotency key of the act that is under way. Empty: none is.
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// It was there before access wanted to give it, and is never taken away.
    Before,
    /// Access is about to give it, or began to: whether it did is unknown.
    Granting,
    Granted,
    /// Access is about to take it back, or began to.
    Revoking,
}

impl JournalState {
    const ALL: [JournalState; 4] =
        [JournalState::Before, JournalState::Granting, JournalState::Granted, JournalState::Revoking];

    fn as_str(self) -> &'static str {
        match self {
            JournalState::Before => "before",
            JournalState::Granting => "granting",
            JournalState::Granted => "granted",
            JournalState::Revoking => "revoking",
        }
    }
}

/// A session on this host that was opened with access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedSession {
    pub id: i64,
    /// The entry of the log that records it. None: there were too many in the hour.
    pub seq: Option<i64>,
    pub login: Login,
    pub resource: Resource,
    pub processes: SessionProcesses,
    pub state: TrackedState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackedState {
    Open,
    /// The reconciler ends it, and records that.
    Ending,
    /// It is over, and may have left processes behind.
    Closed,
}

impl TrackedState {
    const ALL: [TrackedState; 3] = [TrackedState::Open, TrackedState::Ending, TrackedState::Closed];

    fn as_str(self) -> &'static str {
        match self {
            TrackedState::Open => "open",
            TrackedState::Ending => "ending",
            TrackedState::Closed => "closed",
        }
    }
}

/// A change of the journal. None: the holding is forgotten.
pub type JournalChange = (Holding, Option<JournalEntry>);

pub struct Journal {
    conn: Connection,
}

impl Journal {
    /// Opens the journal, and creates it and its folder if needed. Both belong to this user alone.
    pub fn open(path: &Path) -> Result<Journal, Error> {
        if let Some(folder) = path.parent() {
            file::create_folders(folder).map_err(|error| file::io(folder, &error))?;
        }
        let path = file::resolve(path)?;
        file::check_private_file(&path)?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(file::PATIENCE)?;
        harden(&conn)?;
        // EXTRA also syncs the folder once the rollback journal is deleted. After a power loss that file could be back, and undo
        // what was noted: access that was given would then be taken for access that was there before, and never taken back.
        conn.execute_batch("PRAGMA synchronous=EXTRA; PRAGMA temp_store=MEMORY;")?;
        let mut journal = Journal { conn };
        journal.prepare(&path)?;
        Ok(journal)
    }

    fn prepare(&mut self, path: &Path) -> Result<(), Error> {
        let pragma = |conn: &Connection, name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let known = |conn: &Connection| -> Result<bool, Error> {
            match (pragma(conn, "application_id")?, pragma(conn, "user_version")?) {
                (APPLICATION_ID, VERSION) => Ok(true),
                (0, 0) => Ok(false),
                (APPLICATION_ID, version) => Err(Error::Invalid {
                    message: format!("{} was written by a newer version of access ({version})", path.display()),
                    hint: "install that version".to_owned(),
                }),
                _ => Err(Error::Invalid {
                    message: format!("{} is not the reconciler's journal", path.display()),
                    hint: "move it away; what access gave before is then never taken back by itself".to_owned(),
                }),
            }
        };
        if known(&self.conn)? {
            return Ok(());
        }
        // Another process may create it at the same time.
        let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !known(&transaction)? {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        commit(transaction)
    }

    /// All that is known of one system.
    pub fn entries(&self, connector: &Name) -> Result<BTreeMap<Holding, JournalEntry>, Error> {
        let mut statement = self.conn.prepare(
            "SELECT login, parameters, state, since, requests, until, end_sessions, key FROM holding WHERE connector = ?",
        )?;
        let mut rows = statement.query([connector.as_str()])?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let holding =
                Holding { connector: connector.clone(), login: row::parsed(row, 0)?, parameters: row::json(row, 1)? };
            let state: String = row.get(2)?;
            let state = JournalState::ALL.into_iter().find(|known| known.as_str() == state);
            let entry = JournalEntry {
                state: state.ok_or_else(|| Error::damaged("the journal has an unknown state"))?,
                since: row::time(row, 3)?,
                requests: row::json(row, 4)?,
                until: row::maybe_time(row, 5)?,
                end_sessions: row.get(6)?,
                key: row.get(7)?,
            };
            found.insert(holding, entry);
        }
        Ok(found)
    }

    /// The systems in which something is on record.
    pub fn connectors(&self) -> Result<Vec<Name>, Error> {
        let mut statement = self.conn.prepare("SELECT DISTINCT connector FROM holding ORDER BY connector")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(row::parsed(row, 0)?);
        }
        Ok(found)
    }

    /// Makes all of these changes, or none. They are on the disk when this returns.
    pub fn change(&mut self, changes: &[JournalChange]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (holding, entry) in changes {
            let key = (holding.connector.as_str(), holding.login.as_str(), text(&holding.parameters)?);
            match entry {
                None => {
                    let sql = "DELETE FROM holding WHERE connector = ? AND login = ? AND parameters = ?";
                    transaction.prepare_cached(sql)?.execute(key)?;
                }
                Some(entry) => {
                    let sql = "INSERT OR REPLACE INTO holding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
                    transaction.prepare_cached(sql)?.execute(params![
                        key.0,
                        key.1,
                        key.2,
                        entry.state.as_str(),
                        entry.since.unix(),
                        serde_json::to_string(&entry.requests).map_err(internal)?,
                        entry.until.map(Timestamp::unix),
                        entry.end_sessions,
                        entry.key,
                    ])?;
                }
            }
        }
        commit(transaction)
    }

    /// Notes a session that was opened. Two runs may note the same.
    pub fn track_session(
        &self,
        seq: Option<i64>,
        login: &Login,
        resource: &Resource,
        processes: &SessionProcesses,
    ) -> Result<(), Error> {
        let sql = "INSERT INTO session (seq, login, resource, processes, state) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT DO NOTHING";
        let processes = serde_json::to_string(processes).map_err(internal)?;
        let state = TrackedState::Open.as_str();
        self.conn.execute(sql, params![seq, login.as_str(), resource.to_string(), processes, state])?;
        Ok(())
    }

    /// All sessions that may still have processes, oldest first.
    pub fn sessions(&self) -> Result<Vec<TrackedSession>, Error> {
        let mut statement =
            self.conn.prepare("SELECT id, seq, login, resource, processes, state FROM session ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let state: String = row.get(5)?;
            let state = TrackedState::ALL.into_iter().find(|known| known.as_str() == state);
            found.push(TrackedSession {
                id: row.get(0)?,
                seq: row.get(1)?,
                login: row::parsed(row, 2)?,
                resource: row::parsed(row, 3)?,
                processes: row::json(row, 4)?,
                state: state.ok_or_else(|| Error::damaged("the journal has an unknown state"))?,
            });
        }
        Ok(found)
    }

    /// The number of the last session, also of one that was forgotten.
    pub fn last_session(&self) -> Result<i64, Error> {
        let sql = "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'session'), 0)";
        Ok(self.conn.query_row(sql, [], |row| row.get(0))?)
    }

    /// Changes the state of an open session, or of one that is being ended. Returns whether it was in the state `from`.
    pub fn turn_session(&self, id: i64, from: TrackedState, to: TrackedState) -> Result<bool, Error> {
        let sql = "UPDATE session SET state = ? WHERE id = ? AND state = ?";
        Ok(self.conn.execute(sql, params![to.as_str(), id, from.as_str()])? == 1)
    }

    pub fn forget_session(&self, id: i64) -> Result<(), Error> {
        self.conn.execute("DELETE FROM session WHERE id = ?", [id])?;
        Ok(())
    }

    /// The last entry of the log that was seen.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        let mut statement = self.conn.prepare("SELECT seq, hash FROM position")?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Position { seq: row.get(0)?, hash: row.get(1)? }))
    }

    /// Another process may have seen a later entry. Then that one stays.
    pub fn saw(&self, position: &Position) -> Result<(), Error> {
        let sql = "INSERT INTO position VALUES (1, ?, ?)
                   ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE excluded.seq > seq";
        self.conn.execute(sql, (position.seq, &position.hash))?;
        Ok(())
    }

    /// The position in a log that was restored, or in another one.
    pub fn accept(&self, position: &Position) -> Result<(), Error> {
        let sql = "INSERT OR REPLACE INTO position VALUES (1, ?, ?)";
        self.conn.execute(sql, (position.seq, &position.hash))?;
        Ok(())
    }
}

/// The same text for the same parameters: their keys are sorted.
fn text(parameters: &Parameters) -> Result<String, Error> {
    serde_json::to_string(parameters).map_err(internal)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn internal(error: serde_json::Error) -> Error {
    Error::Internal { message: error.to_string() }
}

/// The journal of a shared host.
pub fn shared_journal() -> PathBuf {
    "/var/lib/access-reconcile/journal.db".into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn holding(login: &str, role: &str) -> Holding {
        let parameters = [("role".parse().unwrap(), role.parse().unwrap())].into();
        Holding { connector: "pg".parse().unwrap(), login: login.parse().unwrap(), parameters }
    }

    fn entry(state: JournalState) -> JournalEntry {
        let time = |seconds| Timestamp::from_unix(seconds).unwrap();
        JournalEntry {
            state,
            since: time(1000),
            requests: vec![3.try_into().unwrap()],
            until: Some(time(2000)),
            end_sessions: true,
            key: "k".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/journal.db");
        let mut journal = Journal::open(&path).unwrap();
        let all: Vec<JournalChange> =
            JournalState::ALL.into_iter().map(|state| (holding("bob", state.as_str()), Some(entry(state)))).collect();
        journal.change(&all).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        let pg = "pg".parse().unwrap();
        let expected: BTreeMap<_, _> = all.iter().cloned().map(|(holding, entry)| (holding, entry.unwrap())).collect();
        assert_eq!(journal.entries(&pg).unwrap(), expected);
        assert_eq!(journal.connectors().unwrap(), vec![pg.clone()]);
        assert!(journal.entries(&"other".parse().unwrap()).unwrap().is_empty());
        let gone: Vec<JournalChange> = all.into_iter().map(|(holding, _)| (holding, None)).collect();
        journal.change(&gone).unwrap();
        assert!(journal.entries(&pg).unwrap().is_empty() && journal.connectors().unwrap().is_empty());
    }

    #[test]
    fn the_position_only_goes_forward_unless_a_restore_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.db")).unwrap();
        let at = |seq: i64| Position { seq, hash: format!("{seq:064x}") };
        assert_eq!(journal.position().unwrap(), None);
        journal.saw(&at(7)).unwrap();
        journal.saw(&at(5)).unwrap();
        assert_eq!(journal.position().unwrap(), Some(at(7)));
        journal.accept(&at(3)).unwrap();
        assert_eq!(journal.position().unwrap(), Some(at(3)));
    }

    #[test]
    fn it_belongs_to_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/journal.db");
        drop(Journal::open(&path).unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(&path, 0o644);
        assert!(matches!(Journal::open(&path), Err(Error::Invalid { .. })));
        set(&path, 0o600);
        set(path.parent().unwrap(), 0o777);
        assert!(matches!(Journal::open(&path), Err(Error::Invalid { .. })));
    }

    #[test]
    fn another_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        drop(Journal::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let Err(Error::Invalid { message, .. }) = Journal::open(&path) else { panic!("it is refused") };
        assert!(message.contains("newer version"), "{message}");
        Connection::open(&path).unwrap().pragma_update(None, "application_id", 5).unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::Invalid { .. })));
    }
}
