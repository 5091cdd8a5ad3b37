//! Reads the audit log.

use rusqlite::types::Value;
use rusqlite::{Params, Row, params, params_from_iter};

use super::read::{PAGE, Page, Read, agree};
use super::{Error, row};
use crate::domain::audit;
use crate::domain::audit::Hash;
use crate::domain::event::Entry;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::protocol::{AuditFilter, COUNTED, RawView};

/// The last entry of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub seq: i64,
    pub at: Timestamp,
    pub hash: Hash,
}

/// The column of an entry as it is understood. What is stored of a void entry can't be, or means nothing.
pub(super) const ENTRY: &str = "CASE action WHEN 'entry.void'
    THEN json_object('v', 3, 'seq', seq, 'at', strftime('%Y-%m-%dT%H:%M:%SZ', at, 'unixepoch'), 'os_user', '',
        'event', json_object('action', action))
    ELSE body END";

/// A page ends with the entry that reaches this size, in bytes.
const PAGE_BYTES: usize = 4 << 20;
/// The number of entries in which refused attempts are counted: 2 milliseconds of reading.
const REFUSALS_AMONG: i64 = 2000;
/// The actions that are not in the index `event_by_action`.
const FREQUENT: [&str; 4] = ["request.submitted", "request.approved", "grant.started", "grant.expired"];
/// The condition of the index `event_by_action`. A query uses a partial index only if it repeats its condition.
pub(super) const RARE: &str =
    "action <> 'request.submitted' AND action <> 'request.approved' AND action <> 'grant.started'
    AND action <> 'grant.expired'";

/// The condition that makes SQLite use the index `event_by_action`. None for an action that is not in it.
fn rare(action: &str) -> Option<&'static str> {
    (!FREQUENT.contains(&action)).then_some(RARE)
}

/// The condition of entries that are about something: by this member, about a request of it or for it, or without a request
/// and with it in the entry itself.
fn about(kind: LogSubject, text: &str, values: &mut Vec<Value>) -> String {
    let (by, requests, field, what) = match kind {
        LogSubject::Member => (
            "actor = ? OR ",
            "SELECT id FROM request WHERE requester = ? UNION SELECT id FROM request WHERE filed_by = ?",
            "member",
            format!("member:{text}"),
        ),
        LogSubject::Resource => (
            "",
            "SELECT id FROM request WHERE resource = ? UNION SELECT request FROM grant WHERE resource = ?
             UNION SELECT request FROM decision WHERE CASE WHEN json_valid(terms) THEN terms ->> '$.resource' = ? END",
            "resource",
            text.to_owned(),
        ),
    };
    let same = (by.to_owned() + requests).matches('?').count() + 1;
    values.extend(std::iter::repeat_n(Value::from(text.to_owned()), same));
    values.push(what.clone().into());
    let (mut is_in_change, mut is_reviewed) = (String::from("c.value ->> '$.what' = ?"), "");
    if matches!(kind, LogSubject::Member) {
        // A group, scope or rule names a member who was not named before, or no longer does.
        let named = |side: &str| {
            format!(
                "(SELECT count(*) FROM json_tree(c.value, '$.{side}') t WHERE t.atom = ? OR t.atom = ? AND t.path = '$.{side}.members')"
            )
        };
        is_in_change += &format!(" OR {} <> {}", named("from"), named("to"));
        is_reviewed = " OR action = 'recertification.started' AND EXISTS (
                 SELECT 1 FROM json_each(body, '$.event.detail.items') i WHERE i.value ->> '$.member' = ?)";
        values.extend([&what, text, &what, text, text].map(|value| Value::from(value.to_owned())));
    }
    format!(
        " AND ({by}request IN ({requests}) OR request IS NULL AND CASE WHEN json_valid(body) THEN
             body ->> '$.event.detail.{field}' = ? OR action IN ('team.initialized', 'team.applied') AND EXISTS (
                 SELECT 1 FROM json_each(body, '$.event.detail.changes') c WHERE {is_in_change}){is_reviewed} END)"
    )
}

/// What entries are about.
#[derive(Debug, Clone, Copy)]
enum LogSubject {
    Member,
    Resource,
}

impl Read<'_> {
    pub fn head(&self) -> Result<Head, Error> {
        self.one("SELECT seq, at, hash FROM event ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Head { seq: row.get(0)?, at: row::time(row, 1)?, hash: row.get(2)? })
        })?
        .ok_or_else(|| Error::damaged("the audit log is empty"))
    }

    /// The latest recorded time: of the last entry, or of the last run of `expire`. Commands use no time before it, even if
    /// the clock is behind.
    pub fn last_time(&self) -> Result<Timestamp, Error> {
        let sql = "SELECT max(at, coalesce((SELECT expire_ran_at FROM team), 0)) FROM event ORDER BY seq DESC LIMIT 1";
        self.one(sql, [], |row| row::time(row, 0))?.ok_or_else(|| Error::damaged("the audit log is empty"))
    }

    /// The number of the last entry about a request that changes it: refused attempts do not, and neither do reminders, what
    /// connectors do, sessions and certificates.
    pub fn last_entry_about(&self, id: RequestId) -> Result<i64, Error> {
        let sql = "SELECT e.seq, e.request IS ?1, e.action IN
                 ('attempt.refused', 'request.reminded', 'grant.expiring', 'grant.provisioned', 'grant.deprovisioned', 'provisioning.failed',
                  'certificate.issued', 'session.opened', 'session.closed')
             FROM event i CROSS JOIN event e ON e.seq = i.seq WHERE i.request = ?1 ORDER BY i.seq DESC";
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query([id.get()])?;
        while let Some(row) = rows.next()? {
            agree(row.get(1)?, "event_by_request")?;
            if !row.get::<_, bool>(2)? {
                return Ok(row.get(0)?);
            }
        }
        Ok(0)
    }

    /// The number and time of the entry that granted access.
    pub fn grant_entry(&self, id: RequestId) -> Result<Option<(i64, Timestamp)>, Error> {
        let sql = "SELECT seq, at FROM event WHERE request = ?1 AND action IN ('grant.started', 'grant.scheduled')
             ORDER BY seq LIMIT 1";
        self.one(sql, [id.get()], |row| Ok((row.get(0)?, row::time(row, 1)?)))
    }

    /// Whether connectors ever gave anything, by this log. `host`: those of this host.
    pub fn has_provisioned(&self, host: Option<&str>) -> Result<bool, Error> {
        let sql = format!(
            "SELECT 1 FROM event WHERE action = 'grant.provisioned' AND {RARE}
                 AND (?1 IS NULL OR json_extract(body, '$.host') = ?1) LIMIT 1"
        );
        Ok(self.one(&sql, [host], |_| Ok(()))?.is_some())
    }

    /// Whether there is an entry after this one that can change what systems should have. What the reconciler recorded does not,
    /// and neither do certificates.
    pub fn has_news_after(&self, seq: i64) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM event WHERE seq > ?1 AND action NOT IN
                 ('grant.provisioned', 'grant.deprovisioned', 'provisioning.failed', 'drift.found', 'drift.resolved',
                  'drift.omitted', 'certificate.issued', 'session.opened', 'session.closed', 'checkpoint_key.added',
                  'checkpoint.taken')
             LIMIT 1";
        Ok(self.one(sql, [seq], |_| Ok(()))?.is_some())
    }

    pub fn entry(&self, seq: i64) -> Result<Entry, Error> {
        self.one(&format!("SELECT {ENTRY} FROM event WHERE seq = ?1"), [seq], |row| row::json(row, 0))?
            .ok_or_else(|| Error::damaged(format!("entry {seq} is missing")))
    }

    /// The first entry, and its hash.
    pub fn first_entry(&self) -> Result<(Entry, Hash), Error> {
        let sql = "SELECT body, hash FROM event WHERE seq = 1";
        self.one(sql, [], |row| Ok((row::json(row, 0)?, row.get(1)?)))?
            .ok_or_else(|| Error::damaged("entry 1 is missing"))
    }

    /// The entries that add a key which signs checkpoints.
    pub fn checkpoint_keys(&self) -> Result<Vec<Entry>, Error> {
        let sql = format!("SELECT body FROM event WHERE action = 'checkpoint_key.added' AND {RARE} ORDER BY seq");
        let entries = self.rows(&sql, [], |row| row::json::<Entry>(row, 0))?;
        agree(entries.iter().all(|entry| entry.event.action() == "checkpoint_key.added"), "event_by_action")?;
        Ok(entries)
    }

    /// The stored text of an entry. None: there is no such entry.
    pub fn body(&self, seq: i64) -> Result<Option<String>, Error> {
        self.one("SELECT body FROM event WHERE seq = ?1", [seq], |row| Ok(row.get(0)?))
    }

    /// The last checkpoint that `expire` took.
    pub fn last_checkpoint(&self) -> Result<Option<Entry>, Error> {
        let sql =
            format!("SELECT body FROM event WHERE action = 'checkpoint.taken' AND {RARE} ORDER BY seq DESC LIMIT 1");
        let entry = self.one(&sql, [], |row| row::json::<Entry>(row, 0))?;
        agree(entry.as_ref().is_none_or(|entry| entry.event.action() == "checkpoint.taken"), "event_by_action")?;
        Ok(entry)
    }

    /// Reads the stored texts of the entries after the first `after`, up to `last`, in order.
    pub fn each_body(&self, after: u64, last: u64, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let sql = "SELECT seq, body FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([number(after), number(last)])?;
        let mut next = after + 1;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)?.unsigned_abs() != next {
                return Err(Error::damaged(format!("entry {next} is missing")));
            }
            each(row.get_ref(1)?.as_bytes().map_err(Error::damaged)?);
            next += 1;
        }
        if next <= last { Err(Error::damaged(format!("entry {next} is missing"))) } else { Ok(()) }
    }

    pub fn entries_about(&self, id: RequestId) -> Result<Vec<Entry>, Error> {
        self.rows("SELECT body FROM event WHERE request = ?1 ORDER BY seq", [id.get()], |row| {
            let entry: Entry = row::json(row, 0)?;
            agree(entry.event.request() == Some(id), "event_by_request")?;
            Ok(entry)
        })
    }

    /// Up to `most` entries before this one, newest first.
    pub fn entries_before(&self, filter: &AuditFilter, before: i64, most: usize) -> Result<Page<(Entry, Hash)>, Error> {
        let (clauses, values) = self.audit_clauses(filter)?;
        let most = most.min(PAGE);
        let sql = format!("SELECT {ENTRY}, hash FROM event WHERE seq < ?{clauses} ORDER BY seq DESC LIMIT {most}");
        let page = self.entries(&sql, before, values, most)?;
        let asked = |entry: &Entry| filter.request.is_none() || entry.event.request() == filter.request;
        agree(page.rows.iter().all(|(entry, _)| asked(entry)), "event_by_request")?;
        let acted = |entry: &Entry| filter.action.as_ref().is_none_or(|action| entry.event.action() == action);
        agree(page.rows.iter().all(|(entry, _)| acted(entry)), "event_by_action")?;
        let by = |entry: &Entry| filter.actor.is_none() || entry.actor == filter.actor;
        agree(page.rows.iter().all(|(entry, _)| by(entry)), "event_by_actor")?;
        Ok(page)
    }

    /// A page of the entries after this one in a range of times, oldest first.
    pub fn entries_within(&self, after: i64, filter: &AuditFilter) -> Result<Page<(Entry, Hash)>, Error> {
        let (clauses, values) = self.audit_clauses(filter)?;
        let sql = format!("SELECT {ENTRY}, hash FROM event WHERE seq > ?{clauses} ORDER BY seq LIMIT {PAGE}");
        self.entries(&sql, after, values, PAGE)
    }

    /// A page of the entries after this one, oldest first.
    pub fn entries_after(&self, after: i64) -> Result<Page<(Entry, Hash)>, Error> {
        let sql = format!("SELECT {ENTRY}, hash FROM event WHERE seq > ? ORDER BY seq LIMIT {PAGE}");
        self.entries(&sql, after, Vec::new(), PAGE)
    }

    fn entries(&self, sql: &str, bound: i64, values: Vec<Value>, most: usize) -> Result<Page<(Entry, Hash)>, Error> {
        let params = params_from_iter(std::iter::once(Value::Integer(bound)).chain(values));
        self.page(sql, params, most, |row| Ok((row::json(row, 0)?, row.get(1)?)))
    }

    /// A page of the entries after this one as they are stored, oldest first.
    pub fn raw_entries_after(&self, after: i64) -> Result<Page<RawView>, Error> {
        let sql = format!("SELECT body, hash, seq FROM event WHERE seq > ? ORDER BY seq LIMIT {PAGE}");
        self.page(&sql, [after], PAGE, |row| {
            let seq = row.get(2)?;
            let body = row.get_ref(0)?.as_str();
            let body = body.map_err(|_| Error::damaged(format!("entry {seq} is not valid UTF-8")))?.to_owned();
            Ok(RawView { seq, body, hash: audit::hex(row.get_ref(1)?.as_bytes().map_err(Error::damaged)?) })
        })
    }

    /// A page of up to `most` entries, where the first column is the body. Pages are held in memory, so a page of large entries
    /// is shorter.
    pub(super) fn page<T>(
        &self,
        sql: &str,
        params: impl Params,
        most: usize,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Page<T>, Error> {
        let mut statement = self.statement(sql)?;
        let mut found = statement.query(params)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            bytes += row.get_ref(0)?.as_bytes().map_err(Error::damaged)?.len();
            rows.push(read(row)?);
            if bytes >= PAGE_BYTES {
                return Ok(Page { rows, last: false });
            }
        }
        Ok(Page { last: rows.len() < most, rows })
    }

    fn audit_clauses(&self, filter: &AuditFilter) -> Result<(String, Vec<Value>), Error> {
        let (first, last) = self.entries_between(filter.since, filter.until)?;
        let mut clauses = String::from(" AND seq BETWEEN ? AND ?");
        let mut values = vec![Value::Integer(first), Value::Integer(last)];
        let mut add = |clause: &str, value: Value| {
            clauses += clause;
            values.push(value);
        };
        if let Some(request) = filter.request {
            add(" AND request = ?", Value::Integer(request.get()));
        }
        if let Some(actor) = &filter.actor {
            add(" AND actor = ?", actor.to_string().into());
        }
        match &filter.action {
            // The `+` keeps the index on actions out: a request has fewer entries than an action.
            Some(action) if filter.request.is_some() => add(" AND +action = ?", action.clone().into()),
            Some(action) => add(" AND action = ?", action.clone().into()),
            None => {}
        }
        if let Some(since) = filter.since {
            add(" AND at >= ?", Value::Integer(since.unix()));
        }
        if let Some(until) = filter.until {
            add(" AND at <= ?", Value::Integer(until.unix()));
        }
        if let Some(resource) = &filter.resource {
            clauses += &about(LogSubject::Resource, &resource.to_string(), &mut values);
        }
        if let Some(member) = &filter.member {
            clauses += &about(LogSubject::Member, member.as_str(), &mut values);
        }
        let rare = filter.action.as_ref().filter(|_| filter.request.is_none()).and_then(|action| rare(action));
        clauses.extend(rare.map(|rare| format!(" AND {rare}")));
        Ok((clauses, values))
    }

    /// The number of entries before this one, up to `COUNTED` + 1.
    pub fn count_entries(&self, filter: &AuditFilter, before: i64) -> Result<u64, Error> {
        let (clauses, values) = self.audit_clauses(filter)?;
        let params = params_from_iter(std::iter::once(Value::Integer(before)).chain(values));
        let first = format!("SELECT 1 FROM event WHERE seq < ?{clauses} ORDER BY seq DESC LIMIT {}", COUNTED + 1);
        self.count(&format!("SELECT count(*) FROM ({first})"), params)
    }

    /// The number of this person's refused attempts since a time, among the last `REFUSALS_AMONG` entries. This runs under the
    /// write lock, so it reads a limited number of entries. If more are recorded in that time, the count is too low, and the
    /// limit that it serves applies per `REFUSALS_AMONG` entries.
    pub fn refusals_since(&self, actor: Option<&Name>, os_user: &str, since: Timestamp) -> Result<u64, Error> {
        // A user ID without a name is logged as #100123. One person can have thousands of them, so they all count as one.
        let sql = "SELECT at, action = 'attempt.refused' AND actor IS ?1
                       AND (os_user = ?2 OR (?2 GLOB '#*' AND os_user GLOB '#*'))
                   FROM event ORDER BY seq DESC LIMIT ?3";
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params![actor.map(Name::as_str), os_user, REFUSALS_AMONG])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            if row::time(row, 0)? <= since {
                break;
            }
            count += u64::from(row.get::<_, bool>(1)?);
        }
        Ok(count)
    }

    /// Whether any entry has a member of this name as its actor.
    pub fn has_acted(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM event WHERE actor = ?1 LIMIT 1", [name.as_str()], |_| Ok(()))?.is_some())
    }

    /// Whether the team file ever declared this, such as `member:bob` or `target:orders-db`.
    pub fn was_declared(&self, what: &str) -> Result<bool, Error> {
        let sql = format!(
            "SELECT 1 FROM event e,
                 json_each(CASE WHEN json_valid(e.body) THEN e.body ELSE '{{}}' END, '$.event.detail.changes') c
             WHERE {} AND e.action IN ('team.initialized', 'team.applied') AND c.value ->> '$.what' = ?1 LIMIT 1",
            RARE
        );
        Ok(self.one(&sql, [what], |_| Ok(()))?.is_some())
    }

    /// The first and last number that entries in this range of times can have. Times decrease only at entries that accept a
    /// clock. Between two of those they are in order, so a binary search finds them.
    pub(super) fn entries_between(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(i64, i64), Error> {
        if since.is_none() && until.is_none() {
            return Ok((0, i64::MAX));
        }
        let sql = "SELECT e.seq, e.action = 'clock.accepted' FROM event i CROSS JOIN event e ON e.seq = i.seq
             WHERE i.action = 'clock.accepted' AND ";
        let rare = RARE.replace("action", "i.action");
        let mut starts = self.rows(&format!("{sql}{rare} ORDER BY i.seq"), [], |row| {
            agree(row.get(1)?, "event_by_action")?;
            Ok(row.get::<_, i64>(0)?)
        })?;
        starts.insert(0, 1);
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([self.head()?.seq]);
        let (mut first, mut last) = (i64::MAX, 0);
        for (&start, end) in starts.iter().zip(ends) {
            let at = "SELECT at FROM event WHERE seq >= ?1 ORDER BY seq LIMIT 1";
            let from = match since {
                Some(since) => self.first_with(at, start, end, |at| at >= since.unix())?,
                None => start,
            };
            let to = match until {
                Some(until) => self.first_with(at, start, end, |at| at > until.unix())? - 1,
                None => end,
            };
            if from <= to {
                (first, last) = (first.min(from), last.max(to));
            }
        }
        Ok((first, last))
    }

    /// Finds the first number from `first` to `last` whose value satisfies `is`, if all later ones do too. Gives `last` + 1 if
    /// none does.
    pub(super) fn first_with(&self, sql: &str, first: i64, last: i64, is: impl Fn(i64) -> bool) -> Result<i64, Error> {
        let (mut low, mut high) = (first, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let value: Option<i64> = self.one(sql, params![middle], |row| Ok(row.get(0)?))?;
            if value.is_none_or(&is) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    /// A log of entries at these times. Where they decrease, the entry accepts a clock. Each entry files a request.
    fn log(times: &[i64]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        let mut last = 0;
        for (seq, &at) in (1_i64..).zip(times) {
            let action = if at < last { "clock.accepted" } else { "request.submitted" };
            last = at;
            let sql = "INSERT INTO event VALUES (?1, ?2, NULL, 'root', ?3, NULL, zeroblob(32), '')";
            conn.execute(sql, params![seq, at, action]).unwrap();
            let sql =
                "INSERT INTO request (id, state, requester, filed_by, resource, reason, submitted_at, lapses_at, seq)
                 VALUES (?1, 'denied', 'bob', 'bob', 'role:admin', 'x', ?2, ?2, ?1)";
            conn.execute(sql, params![seq, at]).unwrap();
        }
        conn
    }

    #[test]
    fn a_range_of_times_has_all_its_entries_wherever_the_clock_went_back() {
        let clocks: [&[i64]; 6] = [
            &[10],
            &[10, 10, 20, 30],
            &[10, 20, 30, 15, 25, 40],
            &[50, 20, 10, 60, 5],
            &[10, 90, 20, 80, 30, 70, 40],
            &[5, 5, 4, 4, 9],
        ];
        for times in clocks {
            let conn = log(times);
            let read = Read::new(&conn);
            for limit in 0..100 {
                let numbers = |within: &dyn Fn(i64) -> bool| -> Vec<i64> {
                    (1..).zip(times).filter(|(_, at)| within(**at)).map(|(seq, _)| seq).collect()
                };
                let since = numbers(&|at| at >= limit);
                let (first, last) = read.entries_between(Some(at(limit)), None).unwrap();
                assert!(
                    since.iter().all(|seq| (first..=last).contains(seq)),
                    "{times:?} since {limit}: {first}..={last}"
                );
                assert_eq!(since.first().copied().unwrap_or(i64::MAX), first, "{times:?} since {limit}");
                let request = read.first_request_since(at(limit)).unwrap();
                assert_eq!(
                    since.first().copied().unwrap_or(times.len() as i64 + 1),
                    request,
                    "{times:?} since {limit}"
                );
                let until = numbers(&|at| at <= limit);
                let (first, last) = read.entries_between(None, Some(at(limit))).unwrap();
                assert!(
                    until.iter().all(|seq| (first..=last).contains(seq)),
                    "{times:?} until {limit}: {first}..={last}"
                );
                assert_eq!(until.last().copied().unwrap_or(0), last, "{times:?} until {limit}");
            }
        }
    }
}
