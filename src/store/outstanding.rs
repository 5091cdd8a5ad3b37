//! The messages that are left to send, as hosts that share a log exchange them. The list is stored outside the log, and changed
//! by compare-and-set, so that the next host continues where the last one was.
//!
//! Each copy queues the same notifications from the same entries. So it is enough to store up to which entry everything was
//! queued, and which of these messages still wait.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::outbox::SendLock;
use super::read::Read;
use super::shared::problem;
use super::side_list::{SideList, unreadable};
use super::{Error, Store, Write, open};
use crate::domain::subscriber::{Subscriber, Topic};

/// The lease of the host that sends, and the value that says what is outstanding.
const LEASE: &str = "lease/delivery";
const KEY: &str = "delivery";
/// The most ranges in a group.
const MOST_RANGES: usize = 500;
/// What to do if it is too much to tell.
const TOO_LONG: &str = "too much was given up: drop it with `access outbox discard`";
/// The most characters of an error that other hosts are shown.
const ERROR: usize = 200;
/// A list with more rows than this is taken for damaged or hostile.
const MOST_ROWS: i64 = 5_000_000;

/// What is outstanding.
pub type Outstanding = SideList<Through, OutstandingRows>;

/// How far it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// What was queued for the entries up to this one is dealt with, except the rows.
    through: i64,
    /// The last entry that each subscriber with a position was given.
    positions: BTreeMap<String, i64>,
}

/// Rows of the outbox with the same fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutstandingRows {
    to: String,
    #[serde(flatten)]
    fate: RowFate,
    /// The numbers of members' notifications, as ranges.
    #[serde(default, skip_serializing_if = "is_default")]
    notifications: Vec<(i64, i64)>,
    /// The entries for a subscriber with a position, and their topics.
    #[serde(default, skip_serializing_if = "is_default")]
    entries: Vec<(i64, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct RowFate {
    /// None: since the entry was recorded.
    #[serde(default, skip_serializing_if = "is_default")]
    due: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    attempts: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    dead: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    passed: bool,
}

/// Which row of the outbox it is, on any host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum RowIdentity {
    Notification(i64),
    Entry(i64, String),
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The id, the subscriber, which row it is, and its fate.
const ROWS: &str =
    "SELECT o.id, o.subscriber, o.notification, o.seq, o.topic, nullif(o.due_at, e.at), o.attempts, o.error, o.dead, o.passed
     FROM outbox o JOIN event e ON e.seq = o.seq";

fn outbox_row(row: &Row<'_>) -> Result<(i64, String, RowIdentity, RowFate), Error> {
    let identity = match row.get::<_, Option<i64>>(2)? {
        Some(notification) => RowIdentity::Notification(notification),
        None => RowIdentity::Entry(row.get(3)?, row.get(4)?),
    };
    let error: Option<String> = row.get(7)?;
    let error = error.map(|error| error.chars().take(ERROR).collect());
    Ok((
        row.get(0)?,
        row.get(1)?,
        identity,
        RowFate { due: row.get(5)?, attempts: row.get(6)?, error, dead: row.get(8)?, passed: row.get(9)? },
    ))
}

impl Outstanding {
    /// What is outstanding by this copy.
    fn here(read: &Read<'_>) -> Result<Outstanding, Error> {
        let positions =
            read.rows("SELECT name, seq FROM subscriber ORDER BY name", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut rows = Vec::new();
        // The last group of this subscriber and fate.
        let mut groups: HashMap<(String, RowFate), usize> = HashMap::new();
        let mut statement = read.statement(&format!("{ROWS} ORDER BY o.id"))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (_, to, identity, fate) = outbox_row(row)?;
            let group = groups.entry((to.clone(), fate.clone())).or_insert(usize::MAX);
            let is_full =
                |rows: &OutstandingRows| rows.notifications.len() >= MOST_RANGES || rows.entries.len() >= MOST_RANGES;
            if rows.get(*group).is_none_or(is_full) {
                *group = rows.len();
                rows.push(OutstandingRows { to, fate, notifications: Vec::new(), entries: Vec::new() });
            }
            match (identity, &mut rows[*group]) {
                (RowIdentity::Entry(seq, topic), rows) => rows.entries.push((seq, topic)),
                (RowIdentity::Notification(id), rows) => match rows.notifications.last_mut() {
                    Some((_, last)) if *last + 1 == id => *last = id,
                    _ => rows.notifications.push((id, id)),
                },
            }
        }
        let through = read.last_seq()?.unwrap_or(0);
        Ok(Outstanding::new(Through { through, positions: positions.into_iter().collect() }, rows))
    }

    /// The rows, one by one.
    fn each(&self) -> Result<BTreeMap<(String, RowIdentity), RowFate>, Error> {
        let mut rows = BTreeMap::new();
        let mut left = MOST_ROWS;
        for OutstandingRows { to, fate, notifications, entries } in &self.rows {
            for &(first, last) in notifications {
                left = left.saturating_sub(last.saturating_sub(first).saturating_add(1));
                if left < 0 {
                    return Err(unreadable("it has too many rows"));
                }
                let each = (first..=last).map(|id| ((to.clone(), RowIdentity::Notification(id)), fate.clone()));
                rows.extend(each);
            }
            for (seq, topic) in entries {
                rows.insert((to.clone(), RowIdentity::Entry(*seq, topic.clone())), fate.clone());
            }
        }
        Ok(rows)
    }
}

impl Read<'_> {
    /// The version of what is outstanding that this copy's outbox continues from.
    fn delivery_version(&self) -> Result<i64, Error> {
        Ok(self.one("SELECT delivery FROM replica", [], |row| Ok(row.get(0)?))?.unwrap_or(0))
    }

    /// Whether it may be worth to ask what is still outstanding.
    fn outbox_is_long(&self) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM outbox LIMIT 1 OFFSET 100", [], |_| Ok(()))?.is_some())
    }
}

impl Write<'_> {
    fn set_delivery_version(&self, version: i64) -> Result<(), Error> {
        self.conn().prepare_cached("UPDATE replica SET delivery = ?1")?.execute([version])?;
        Ok(())
    }

    /// Makes the outbox what it is by the other hosts. Rows that both have keep their number.
    fn take_over(&self, state: &Outstanding) -> Result<(), Error> {
        let mut rows = state.each()?;
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        let mut statement = self.statement(ROWS)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (id, to, identity, fate) = outbox_row(row)?;
            let is_dealt_with = match identity {
                RowIdentity::Notification(_) => row.get::<_, i64>(3)? <= state.about.through,
                // What follows the position is queued again.
                RowIdentity::Entry(..) => state.about.positions.contains_key(&to),
            };
            match rows.remove(&(to, identity)) {
                Some(other) if other != fate => changed.push((id, other)),
                None if is_dealt_with => gone.push(id),
                Some(_) | None => {}
            }
        }
        self.outbox_done(&gone)?;
        let sql = "UPDATE outbox SET due_at = coalesce(?2, (SELECT at FROM event WHERE event.seq = outbox.seq)),
                 attempts = ?3, error = ?4, dead = ?5, passed = ?6 WHERE id = ?1";
        for (id, RowFate { due, attempts, error, dead, passed }) in changed {
            self.conn().prepare_cached(sql)?.execute(params![id, due, attempts, error, dead, passed])?;
        }
        for ((to, identity), RowFate { due, attempts, error, dead, passed }) in rows {
            // Those that only a newer version knows.
            if to.parse::<Subscriber>().is_err() {
                continue;
            }
            match identity {
                RowIdentity::Notification(id) => {
                    let sql = "INSERT INTO outbox (subscriber, seq, topic, notification, due_at, attempts, error, dead, passed)
                         SELECT ?1, n.seq, n.kind, n.id, coalesce(?3, e.at), ?4, ?5, ?6, ?7
                         FROM notification n JOIN event e ON e.seq = n.seq WHERE n.id = ?2";
                    self.conn().prepare_cached(sql)?.execute(params![to, id, due, attempts, error, dead, passed])?;
                }
                RowIdentity::Entry(seq, topic) if topic.parse::<Topic>().is_ok() => {
                    let sql = "INSERT INTO outbox (subscriber, seq, topic, due_at, attempts, error, dead, passed)
                         SELECT ?1, seq, ?3, coalesce(?4, at), ?5, ?6, ?7, ?8 FROM event WHERE seq = ?2";
                    self.conn()
                        .prepare_cached(sql)?
                        .execute(params![to, seq, topic, due, attempts, error, dead, passed])?;
                }
                RowIdentity::Entry(..) => {}
            }
        }
        for (name, seq) in &state.about.positions {
            match name.parse() {
                // The team file says which channels there are.
                Ok(Subscriber::SlackChannel(_)) => {
                    let sql = "UPDATE subscriber SET seq = ?2 WHERE name = ?1";
                    self.conn().prepare_cached(sql)?.execute(params![name, seq])?;
                }
                Ok(subscriber) => self.set_position(&subscriber, *seq)?,
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// For a host that holds the lock of the sender (`begin_sending`), so that no process of this host sends meanwhile.
impl Store {
    /// Makes this the host that sends, for so many seconds. False: another host is.
    pub fn lease_delivery(&self, seconds: i32) -> Result<bool, Error> {
        self.with(|engine, _| engine.lease(LEASE, seconds).map_err(problem))
    }

    pub fn release_delivery(&self) -> Result<(), Error> {
        self.with(|engine, _| engine.release(LEASE).map_err(problem))
    }

    /// Catches up with the log, and takes over what is outstanding by the host that sent last, unless the outbox here goes on
    /// from that. Returns it.
    pub fn take_outstanding(&self) -> Result<Outstanding, Error> {
        let conn = self.connection(open::connect)?;
        self.take_outstanding_on(&conn).map(Option::unwrap_or_default)
    }

    /// None: no host has said anything yet.
    pub(super) fn take_outstanding_on(&self, conn: &Connection) -> Result<Option<Outstanding>, Error> {
        self.with(|engine, access| {
            let fetched = Outstanding::fetch(engine, KEY)?;
            // Now all the entries that it is about are here.
            self.catch_up(engine, access, conn)?;
            let Some((version, state)) = fetched else { return Ok(None) };
            if version != Read::new(conn).delivery_version()? {
                self.transact(conn, |write| {
                    // What was queued while the log was copied is dealt with. One statement is faster than many.
                    if write.delivery_version()? == 0 {
                        let sql = "DELETE FROM outbox WHERE notification IS NOT NULL AND seq <= ?1";
                        write.conn().execute(sql, [state.about.through])?;
                    }
                    write.take_over(&state)?;
                    write.set_delivery_version(version)
                })?;
            }
            Ok(Some(state))
        })
    }

    /// Forgets what others have sent, on a host that never sends itself.
    pub(super) fn shorten_outbox(&self, conn: &Connection) -> Result<(), Error> {
        if self.read(|read| read.outbox_is_long())?
            && let Some(_lock) = self.begin_sending()?
        {
            self.take_outstanding_on(conn)?;
        }
        Ok(())
    }

    /// Says what is outstanding here, unless the others know that already. False: another host was first.
    pub fn publish_outstanding(&self, known: &mut Outstanding) -> Result<bool, Error> {
        let (version, state) =
            self.read(|read| Ok::<_, Error>((read.delivery_version()?, Outstanding::here(read)?)))?;
        if state == *known && version > 0 {
            return Ok(true);
        }
        let set = self.with(|engine, _| state.set(engine, KEY, version, TOO_LONG))?;
        let Some(version) = set else { return Ok(false) };
        let conn = self.connection(open::connect)?;
        self.transact(&conn, |write| write.set_delivery_version(version))?;
        *known = state;
        Ok(true)
    }

    /// The same as `take_outstanding` for a look at the outbox: while a process of this host sends, it is right as it is, and if
    /// the shared log can't be reached, it is as good as it gets.
    pub fn take_outstanding_if_reachable(&self) -> Result<(), Error> {
        if !self.shares_log()? {
            return Ok(());
        }
        let Some(_lock) = self.begin_sending()? else { return Ok(()) };
        match self.take_outstanding() {
            Ok(_) | Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Changes the outbox, for all hosts that share it.
    pub fn change_outbox<T, E: From<Error>>(&self, work: impl FnOnce(&Write<'_>) -> Result<T, E>) -> Result<T, E> {
        if !self.shares_log()? {
            return self.write_unrecorded(work);
        }
        let Some(_lock) = self.turn_to_change()? else { return Err(Error::Busy.into()) };
        let changed = self.take_outstanding().map_err(E::from).and_then(|mut known| {
            let answer = self.write_unrecorded(work)?;
            // Nobody else can have been first: the lease is ours.
            if self.publish_outstanding(&mut known)? { Ok(answer) } else { Err(Error::Busy.into()) }
        });
        self.release_delivery()?;
        changed
    }

    /// Waits a few seconds for the sender's lock and lease. None: a process or a host sends all the while.
    fn turn_to_change(&self) -> Result<Option<SendLock>, Error> {
        const WITHIN: Duration = Duration::from_secs(5);
        const LEASED: i32 = 15;
        let until = Instant::now() + WITHIN;
        loop {
            if let Some(lock) = self.begin_sending()?
                && self.lease_delivery(LEASED)?
            {
                return Ok(Some(lock));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::super::side_list::parsed;
    use super::*;

    /// A database whose outbox is as this text says, and how many rows that are.
    fn taken_over(state: &str) -> Result<i64, Error> {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        conn.execute_batch(
            "INSERT INTO event VALUES (1, 5, NULL, 'root', 'team.applied', NULL, zeroblob(32), '{}');
             INSERT INTO notification (id, seq, member, kind) VALUES (7, 1, 'bob', 'team.changed');",
        )
        .unwrap();
        Write::new(&conn)?.take_over(&parsed(state)?)?;
        Ok(conn.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap())
    }

    #[test]
    fn what_no_honest_host_says_is_refused_or_left_out() {
        let with = |rows: &str| taken_over(&format!(r#"{{"through": 1, "positions": {{}}, "rows": [{rows}]}}"#));
        assert_eq!(with(r#"{"to": "email", "notifications": [[7, 7]]}"#).unwrap(), 1);
        for rows in ["[1, 9223372036854775807]", "[-9223372036854775808, 9223372036854775807]"] {
            let refused = with(&format!(r#"{{"to": "email", "notifications": [{rows}]}}"#));
            assert!(matches!(refused, Err(Error::Shared { .. })), "{refused:?}");
        }
        for rows in [
            r#"{"to": "email", "notifications": [[9, 3], [8, 8]]}"#,
            r#"{"to": "fax", "notifications": [[7, 7]]}"#,
            r#"{"to": "webhook:siem", "entries": [[2, "audit"], [1, "gossip"]]}"#,
        ] {
            assert_eq!(with(rows).unwrap(), 0, "{rows}");
        }
        assert!(matches!(taken_over("[]"), Err(Error::Shared { .. })));
    }
}
