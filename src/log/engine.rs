//! The calls of the shared log, and what its answers mean.

use std::cell::Cell;
use std::error::Error as _;
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::config::LogUrl;
use super::connection::{LogConnection, StepError, ended_certificate};
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::event::Entry;

/// Why an answer is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// Nothing was changed.
    Unreachable(String),
    /// Other hosts had the turn for too long. Nothing was changed.
    Busy(String),
    /// The entries did not come in time, though the database answers. Fewer are asked for the next time. Nothing was changed.
    Slow,
    /// The database refuses, and says why. Nothing was changed.
    Refused(String),
    /// This host may not do it. Nothing was changed.
    Forbidden(String),
    /// Whether the entries were appended is not known.
    OutcomeUnknown(String),
}

/// An entry as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEntry {
    pub seq: i64,
    pub hash: Hash,
    pub body: String,
    /// Who appended it. Empty for what was there before the log was shared.
    pub host: String,
    /// What the body says. None: it can't be read.
    pub entry: Option<Box<Entry>>,
}

impl LoggedEntry {
    /// Reads the body here, as this may be in another thread than the one that applies it.
    pub fn new(seq: i64, hash: Hash, body: String, host: String) -> LoggedEntry {
        let entry = Entry::parse(body.as_bytes()).ok().map(Box::new);
        LoggedEntry { seq, hash, body, host, entry }
    }
}

/// What the database said at a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacted {
    Open(EngineState),
    /// The log has another entry at our place, or none.
    Fork(EngineState),
    /// The log was moved away, or its import has not ended. It still says what it has.
    Closed(EngineState),
}

impl Contacted {
    pub fn state(&self) -> &EngineState {
        match self {
            Contacted::Open(state) | Contacted::Fork(state) | Contacted::Closed(state) => state,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineState {
    pub epoch: i64,
    pub head: LogPlace,
    /// The database's clock, in milliseconds since 1970.
    pub now: i64,
    /// The newest format that may be written.
    pub write_format: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log, now or from an earlier try.
    Done,
    /// Another entry has the place.
    Behind,
    /// The log has another entry at the place before, or none.
    Fork,
    /// The log was restored from a backup since the last contact.
    Epoch,
    /// The time of an entry is too far from the database's.
    Clock,
    Closed,
}

/// The log's database, connected when it is first needed. A connection that failed is dropped.
pub struct Engine {
    url: LogUrl,
    connection: Option<LogConnection>,
    turn: Turn,
    /// How many entries to ask for, so that they come in time: fewer on a slow line.
    page: i32,
    /// What follows an entry, as this connection read it ahead.
    ahead: Option<(i64, Vec<LoggedEntry>)>,
}

/// Whether the connection has a transaction open that has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Taken,
    Not,
}

impl Engine {
    pub fn new(url: LogUrl) -> Engine {
        Engine { url, connection: None, turn: Turn::Not, page: FIRST_PAGE, ahead: None }
    }

    /// Notes how far this host is, and returns how far the log is, with the first page of what follows. What it returns is
    /// replicated: its commit waits for the standby.
    pub fn contact(&mut self, at: &LogPlace, format: u32) -> Result<(Contacted, Vec<LoggedEntry>), EngineError> {
        let (limit, ahead) = (self.page, self.ahead.take().filter(|(after, _)| *after == at.seq));
        let connection = self.connected()?;
        let (hash, format) = (at.hash.as_slice(), i32::try_from(format).unwrap_or(i32::MAX));
        let asked: [Param<'_>; 3] = [(&at.seq, Type::INT8), (&hash, Type::BYTEA), (&format, Type::INT4)];
        let page: [Param<'_>; 2] = [(&at.seq, Type::INT8), (&limit, Type::INT4)];
        let client = &connection.client;
        connection.take_warnings();
        let (answered, begun) = (Cell::new(false), Instant::now());
        let answer = connection.wait(async {
            let (begun, state, entries, committed) = tokio::join!(
                client.batch_execute("BEGIN"),
                noting(&answered, client.query_typed(CONTACT, &asked)),
                async { if ahead.is_some() { Ok(Vec::new()) } else { client.query_typed(SINCE, &page).await } },
                client.batch_execute("COMMIT")
            );
            begun?;
            let (state, entries) = (state?, entries?);
            committed?;
            Ok((state, entries))
        });
        let (state, entries) = self.finish_page(answer, limit, answered.get())?;
        self.no_warnings()?;
        let contacted = contacted(at, state.first())?;
        if let Some((_, entries)) = ahead {
            return Ok((contacted, entries));
        }
        self.page = next_page(limit, entries.len(), begun.elapsed());
        let entries = entries.iter().map(entry).collect::<Result<_, _>>()?;
        Ok((contacted, entries))
    }

    /// Reads what follows an entry, for the next contact, which proves it: it is on the same connection. What can't be read now
    /// is read then.
    pub fn read_ahead(&mut self, after: i64) {
        let mut entries: Vec<LoggedEntry> = Vec::new();
        let (mut bytes, first) = (0, Instant::now());
        loop {
            let (limit, last) = (self.page, entries.last().map_or(after, |entry| entry.seq));
            let Some(connection) = &self.connection else { return };
            let page: [Param<'_>; 2] = [(&last, Type::INT8), (&limit, Type::INT4)];
            let begun = Instant::now();
            let answer = connection.wait(connection.client.query_typed(SINCE, &page));
            let Ok(rows) = self.finish_page(answer, limit, true) else { return };
            self.page = next_page(limit, rows.len(), begun.elapsed());
            let Ok(read) = rows.iter().map(entry).collect::<Result<Vec<_>, _>>() else { return };
            bytes += read.iter().map(|entry| entry.body.len()).sum::<usize>();
            entries.extend(read);
            let is_full = usize::try_from(limit) == Ok(rows.len());
            if !is_full || bytes >= AHEAD || first.elapsed() > LONG {
                self.ahead = Some((after, entries));
                return;
            }
        }
    }

    /// Takes the turn: until it ends, no other host can append. The database ends a turn of more than 4 seconds. What this
    /// returns may come from a server that no longer leads: only the commit of `append` or `end_turn` proves it. It returns few
    /// entries, as others wait.
    pub fn turn(&mut self, at: &LogPlace) -> Result<(Contacted, Vec<LoggedEntry>), EngineError> {
        let limit = self.page.min(PAGE_IN_A_TURN);
        let connection = self.connected()?;
        let hash = at.hash.as_slice();
        let asked: [Param<'_>; 2] = [(&at.seq, Type::INT8), (&hash, Type::BYTEA)];
        let page: [Param<'_>; 2] = [(&at.seq, Type::INT8), (&limit, Type::INT4)];
        let client = &connection.client;
        let answered = Cell::new(false);
        let answer = connection.wait_for_turn(async {
            let (begun, state, entries) = tokio::join!(
                client.batch_execute("BEGIN"),
                noting(&answered, client.query_typed(TURN, &asked)),
                client.query_typed(SINCE, &page)
            );
            begun?;
            Ok((state?, entries?))
        });
        let (state, entries) = self.finish_page(answer, limit, answered.get())?;
        self.turn = Turn::Taken;
        let contacted = contacted(at, state.first())?;
        let entries = entries.iter().map(entry).collect::<Result<_, _>>()?;
        Ok((contacted, entries))
    }

    /// Ends a turn without appending, and proves what it returned.
    pub fn end_turn(&mut self) -> Result<(), EngineError> {
        self.turn = Turn::Not;
        let connection = self.connected()?;
        connection.take_warnings();
        let committed = connection.wait(connection.client.batch_execute("COMMIT"));
        self.finish(committed)?;
        self.no_warnings()
    }

    /// Gives up a turn.
    pub fn let_go(&mut self) {
        self.turn = Turn::Not;
        self.ahead = None;
        if let Some(connection) = self.connection.take()
            && connection.wait(connection.client.batch_execute("ROLLBACK")).is_ok()
        {
            self.connection = Some(connection);
        }
    }

    /// Appends after a place, in the turn if it is taken, and commits. The same bytes to the same place are appended once,
    /// however often this is called.
    pub fn append(&mut self, epoch: i64, after: &LogPlace, bodies: &[String]) -> Result<Appended, EngineError> {
        let begin = match std::mem::replace(&mut self.turn, Turn::Not) {
            Turn::Taken => "",
            // A COMMIT without it is warned of, as if it had not waited for the standby.
            Turn::Not => "BEGIN",
        };
        let connection = self.connected()?;
        let hash = after.hash.as_slice();
        let asked: [Param<'_>; 4] =
            [(&epoch, Type::INT8), (&after.seq, Type::INT8), (&hash, Type::BYTEA), (&bodies, Type::TEXT_ARRAY)];
        let client = &connection.client;
        connection.take_warnings();
        let appending = async {
            let (begun, appended, committed) = tokio::join!(
                client.batch_execute(begin),
                client.query_typed(APPEND, &asked),
                client.batch_execute("COMMIT")
            );
            begun?;
            let appended = appended?;
            committed?;
            Ok(appended)
        };
        // Without the turn the database waits for it, and ends a session that keeps it for too long.
        let answer = if begin.is_empty() { connection.wait(appending) } else { connection.wait_for_turn(appending) };
        // From here on, only an answer of the server itself says that nothing was appended.
        let rows = match self.finish(answer) {
            Ok(rows) => rows,
            Err(EngineError::Unreachable(why) | EngineError::Busy(why)) => {
                return Err(EngineError::OutcomeUnknown(why));
            }
            Err(error) => return Err(error),
        };
        self.no_warnings()?;
        let verdict: &str = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or("nothing");
        match verdict {
            "ok" | "already" => Ok(Appended::Done),
            "behind" => Ok(Appended::Behind),
            "fork" => Ok(Appended::Fork),
            "epoch" => Ok(Appended::Epoch),
            "clock" => Ok(Appended::Clock),
            "closed" => Ok(Appended::Closed),
            other => Err(EngineError::OutcomeUnknown(format!("the database answered {other:?}"))),
        }
    }

    /// The role that this connection logs in as, which is the name of the host, and what tells its database from all others.
    pub fn identity(&mut self) -> Result<(String, String), EngineError> {
        let connection = self.connected()?;
        let row = connection.wait(connection.client.query_typed(IDENTITY, &[]));
        let rows = self.finish(row)?;
        let row = rows.first().ok_or_else(|| EngineError::Refused("the database gave no answer".to_owned()))?;
        let read = || Ok((row.try_get(0)?, row.try_get(1)?));
        read().map_err(|error| unexpected(&error))
    }

    /// The hash of an entry. None: there is none of this number.
    pub fn hash_at(&mut self, seq: i64) -> Result<Option<Hash>, EngineError> {
        let connection = self.connected()?;
        let before = seq - 1;
        let asked: [Param<'_>; 2] = [(&before, Type::INT8), (&1, Type::INT4)];
        let read = connection.wait(connection.client.query_typed(SINCE, &asked));
        let rows = self.finish(read)?;
        let entry = rows.first().map(entry).transpose()?;
        Ok(entry.filter(|entry| entry.seq == seq).map(|entry| entry.hash))
    }

    pub(super) fn connected(&mut self) -> Result<&LogConnection, EngineError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => LogConnection::open(&self.url).map_err(|error| problem(&error))?,
        };
        Ok(self.connection.insert(connection))
    }

    /// The same for entries that were asked for, so many at most. `answered`: the server was in time, only the entries were not.
    fn finish_page<T>(&mut self, answer: Result<T, StepError>, limit: i32, answered: bool) -> Result<T, EngineError> {
        if answered && limit > 1 && matches!(answer, Err(StepError::Late)) {
            self.drop_connection();
            self.page = (limit / 8).max(1);
            return Err(EngineError::Slow);
        }
        self.finish(answer)
    }

    /// Drops the connection unless the server itself answered.
    pub(super) fn finish<T>(&mut self, answer: Result<T, StepError>) -> Result<T, EngineError> {
        answer.map_err(|error| {
            let problem = problem(&error);
            // A transaction that failed is open until it is rolled back.
            match problem {
                EngineError::Refused(_) | EngineError::Forbidden(_) => self.let_go(),
                _ => {
                    self.drop_connection();
                    // It may be one that does not know that another leads now.
                    self.url.servers.rotate_left(1);
                }
            }
            problem
        })
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        self.turn = Turn::Not;
        self.ahead = None;
    }

    /// A commit with a warning did not wait for the standby.
    pub(super) fn no_warnings(&mut self) -> Result<(), EngineError> {
        let warnings = self.connection.as_ref().map(LogConnection::take_warnings).unwrap_or_default();
        match warnings.into_iter().next() {
            None => Ok(()),
            Some(warning) => {
                self.drop_connection();
                Err(EngineError::OutcomeUnknown(format!("the database warned: {warning}")))
            }
        }
    }
}

pub(super) type Param<'p> = (&'p (dyn ToSql + Sync), Type);

const CONTACT: &str = "SELECT CASE WHEN verdict = 'ok' AND state <> 'open' THEN 'closed' ELSE verdict END, epoch, seq, hash, (extract(epoch FROM now) * 1000)::int8, write_format
     FROM access.contact($1, $2, $3)";
const TURN: &str = "SELECT verdict, epoch, seq, hash, (extract(epoch FROM now) * 1000)::int8, write_format
     FROM access.turn($1, $2)";
const SINCE: &str = "SELECT seq, hash, body, host FROM access.since($1, $2)";
const IDENTITY: &str = "SELECT session_user::text, d.oid || ' ' || d.datname || ' ' || pg_postmaster_start_time()
     FROM pg_database d WHERE d.datname = current_database()";
const APPEND: &str = "SELECT verdict FROM access.append($1, $2, $3, $4)";
/// How many entries are asked for at first, and at most.
const FIRST_PAGE: i32 = 500;
const MOST_PAGE: i32 = 10_000;
const PAGE_IN_A_TURN: i32 = 500;
/// How many bytes of entries are read ahead, unless that takes longer than a page may: some 20,000 entries. They are applied in one
/// transaction, which writes each page of the copy once.
const AHEAD: usize = 12 << 20;
/// A page that takes less time than the first is followed by a larger one; one that takes more than the second, by a smaller one.
const QUICK: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(2);

/// How many entries to ask for after so many were asked for, and came in this time.
fn next_page(limit: i32, came: usize, took: Duration) -> i32 {
    if took > LONG {
        (limit / 2).max(1)
    } else if took < QUICK && usize::try_from(limit) == Ok(came) {
        (limit * 4).min(MOST_PAGE)
    } else {
        limit
    }
}

/// Notes that an answer came.
async fn noting<T>(answered: &Cell<bool>, answer: impl Future<Output = T>) -> T {
    let answer = answer.await;
    answered.set(true);
    answer
}

fn contacted(at: &LogPlace, row: Option<&Row>) -> Result<Contacted, EngineError> {
    let row = row.ok_or_else(|| EngineError::Refused("the database gave no answer".to_owned()))?;
    let read = || -> Result<Contacted, tokio_postgres::Error> {
        let verdict: &str = row.try_get(0)?;
        let hash: &[u8] = row.try_get(3)?;
        let state = EngineState {
            epoch: row.try_get(1)?,
            head: LogPlace { seq: row.try_get(2)?, hash: hash.try_into().unwrap_or_default() },
            now: row.try_get(4)?,
            write_format: u32::try_from(row.try_get::<_, i32>(5)?).unwrap_or_default(),
        };
        // Not only because the database says so.
        let is_behind = state.head.seq < at.seq || state.head.seq == at.seq && state.head.hash != at.hash;
        Ok(match verdict {
            "ok" if !is_behind => Contacted::Open(state),
            "closed" if !is_behind => Contacted::Closed(state),
            _ => Contacted::Fork(state),
        })
    };
    read().map_err(|error| unexpected(&error))
}

fn entry(row: &Row) -> Result<LoggedEntry, EngineError> {
    let read = || -> Result<LoggedEntry, tokio_postgres::Error> {
        let hash: &[u8] = row.try_get(1)?;
        let hash = hash.try_into().unwrap_or_default();
        Ok(LoggedEntry::new(row.try_get(0)?, hash, row.try_get(2)?, row.try_get(3)?))
    };
    read().map_err(|error| unexpected(&error))
}

/// The database's side is not what this program expects.
pub(super) fn unexpected(error: &tokio_postgres::Error) -> EngineError {
    EngineError::Refused(format!("the database's answer can't be read ({error}): is its schema older?"))
}

fn problem(error: &StepError) -> EngineError {
    let error = match error {
        StepError::Late => return EngineError::Unreachable("it did not answer in time".to_owned()),
        StepError::Io(error) => return EngineError::Unreachable(error.to_string()),
        StepError::Sql(error) => error,
    };
    if let Some(error) = error.as_db_error() {
        let code = error.code().code();
        // As access.turn and access.inspect say it. A copy of another host is a fault of this one.
        let said = error.message();
        if code == "42501" && said.starts_with("the host ") && !said.contains(" an entry of the host ") {
            return EngineError::Forbidden(said.to_owned());
        }
        let text = format!("{} ({code})", error.message());
        if code == "55P03" {
            return EngineError::Busy(text);
        }
        // Connections, conflicts, resources, shutdown, a standby, a turn that was lost.
        let passing = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || ["25006", "25P03"].contains(&code);
        return if passing { EngineError::Unreachable(text) } else { EngineError::Refused(text) };
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(ended) = ended_certificate(error) {
            return EngineError::Unreachable(ended.to_owned());
        }
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    EngineError::Unreachable(text)
}
