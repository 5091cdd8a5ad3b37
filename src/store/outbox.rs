//! What waits to be sent, and what decides how. No record, but for what the team and the members prefer.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use super::read::{Read, agree};
use super::{Error, Store, Write, file, row};
use crate::domain::audit::Hash;
use crate::domain::event::Entry;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::Channel;
use crate::domain::outbox::{News, Outlet, Queued, Route};
use crate::domain::preference::{Policy, Preference};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The columns of a row of the outbox, for `queued`.
const QUEUED: &str =
    "SELECT o.id, o.channel, coalesce(o.kind, n.kind), e.seq, e.at, n.id, n.member, o.due_at, o.attempts,
         o.error, o.dead, e.request
     FROM outbox o LEFT JOIN notification n ON n.id = o.notification JOIN event e ON e.seq = coalesce(o.seq, n.seq)";

fn queued(row: &Row<'_>) -> Result<Queued, Error> {
    let notification: Option<i64> = row.get(5)?;
    Ok(Queued {
        id: row.get(0)?,
        outlet: row::parsed(row, 1)?,
        news: row::parsed(row, 2)?,
        seq: row.get(3)?,
        at: row::time(row, 4)?,
        notification: match notification {
            Some(id) => Some((id, row::parsed(row, 6)?)),
            None => None,
        },
        due_at: row::time(row, 7)?,
        attempts: row.get(8)?,
        error: row.get(9)?,
        dead: row.get(10)?,
        request: match row.get::<_, Option<i64>>(11)? {
            Some(id) => Some(RequestId::try_from(id).map_err(Error::damaged)?),
            None => None,
        },
    })
}

/// How many rows wait, how many of those have failed before, and how many are given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub waiting: u64,
    pub failing: u64,
    pub dead: u64,
}

/// The one process that sends, for as long as this lives. The kernel ends it with the process, however that ends.
pub struct Sending(#[expect(dead_code, reason = "closing it lets another send")] std::fs::File);

impl Store {
    /// The right to send what waits; None while another process has it.
    pub fn begin_sending(&self) -> Result<Option<Sending>, Error> {
        Ok(file::lock_for_sending(&self.path)?.map(Sending))
    }
}

impl Read<'_> {
    /// What the team file says of notifications.
    pub fn policy(&self) -> Result<Policy, Error> {
        let policy = self.one("SELECT policy FROM team WHERE policy IS NOT NULL", [], |row| row::json(row, 0))?;
        Ok(policy.unwrap_or_default())
    }

    pub fn preference(&self, member: &Name) -> Result<Preference, Error> {
        let sql = "SELECT preference FROM member WHERE name = ?1 AND preference IS NOT NULL";
        Ok(self.one(sql, [member.as_str()], |row| row::json(row, 0))?.unwrap_or_default())
    }

    /// What each member prefers, who has said anything.
    pub fn preferences(&self) -> Result<BTreeMap<Name, Preference>, Error> {
        let sql = "SELECT name, preference FROM member WHERE preference IS NOT NULL";
        Ok(self.rows(sql, [], |row| Ok((row::parsed(row, 0)?, row::json(row, 1)?)))?.into_iter().collect())
    }

    /// A member as the team file has them, with the entry that brought them.
    pub fn member(&self, name: &Name) -> Result<Option<(Member, i64)>, Error> {
        let sql = "SELECT role, login, email, slack, timezone, disabled, since FROM member WHERE name = ?1";
        self.one(sql, [name.as_str()], |row| Ok((row::member(row, 0)?, row.get(6)?)))
    }

    /// What is due at this time, but for the channels that are shut, after the row with this number, in order; at most so
    /// many rows.
    pub fn outbox_due(&self, now: Timestamp, shut: &[Channel], after: i64, most: usize) -> Result<Vec<Queued>, Error> {
        let open: String = shut.iter().map(|channel| format!(" AND o.channel <> '{}'", channel.as_str())).collect();
        let sql =
            format!("{QUEUED} WHERE o.id > ?1 AND NOT o.dead AND o.due_at <= ?2{open} ORDER BY o.id LIMIT {most}");
        self.rows(&sql, params![after, now.unix()], queued)
    }

    /// Whether anything that waits for one of these channels was due before this time.
    pub fn outbox_has_stale(&self, channels: &[Channel], before: Timestamp) -> Result<bool, Error> {
        let named: Vec<String> = channels.iter().map(|channel| format!("'{}'", channel.as_str())).collect();
        let named = named.join(", ");
        let sql = format!("SELECT 1 FROM outbox WHERE NOT dead AND due_at < ?1 AND channel IN ({named}) LIMIT 1");
        Ok(self.one(&sql, [before.unix()], |_| Ok(()))?.is_some())
    }

    /// Where a row that failed waits for its next attempt: what comes after it there waits too.
    pub fn outbox_blocked(&self, now: Timestamp) -> Result<BTreeSet<(Outlet, Option<Name>)>, Error> {
        let sql = "SELECT o.channel, n.member FROM outbox o LEFT JOIN notification n ON n.id = o.notification
             WHERE o.attempts > 0 AND NOT o.dead AND o.due_at > ?1";
        let rows = self.rows(sql, [now.unix()], |row| Ok((row::parsed(row, 0)?, row::maybe_parsed(row, 1)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// Withdrawals and decisions that wait for somebody (or a Slack channel) to whom the request itself was not sent: that waits
    /// too, or was given up.
    pub fn outbox_unheard(&self) -> Result<BTreeSet<i64>, Error> {
        let sql = "WITH told AS MATERIALIZED (
                 SELECT o.id, o.channel, n.member, e.request, coalesce(o.kind, n.kind) AS kind
                 FROM outbox o LEFT JOIN notification n ON n.id = o.notification JOIN event e ON e.seq = coalesce(o.seq, n.seq)
                 WHERE coalesce(o.kind, n.kind) IN ('request.submitted', 'request.withdrawn', 'request.decided')
                     AND o.channel NOT GLOB 'webhook:*')
             SELECT id FROM told WHERE kind <> 'request.submitted'
                 AND (request, channel, coalesce(member, '')) IN
                     (SELECT request, channel, coalesce(member, '') FROM told WHERE kind = 'request.submitted')
                 AND EXISTS (SELECT 1 FROM request r WHERE r.id = told.request AND r.state <> 'pending')";
        Ok(self.rows(sql, [], |row| Ok(row.get(0)?))?.into_iter().collect())
    }

    /// Rows after this one, in order; of the dead, or of those that wait.
    pub fn outbox_after(&self, after: i64, dead: bool, most: usize) -> Result<Vec<Queued>, Error> {
        let sql = format!("{QUEUED} WHERE o.id > ?1 AND o.dead = ?2 ORDER BY o.id LIMIT {most}");
        self.rows(&sql, params![after, dead], queued)
    }

    pub fn outbox_waiting(&self) -> Result<Waiting, Error> {
        let sql = "SELECT count(*) FILTER (WHERE NOT dead), count(*) FILTER (WHERE NOT dead AND attempts > 0),
             count(*) FILTER (WHERE dead) FROM outbox";
        let counts = |row: &Row<'_>| -> rusqlite::Result<[i64; 3]> { Ok([row.get(0)?, row.get(1)?, row.get(2)?]) };
        let [waiting, failing, dead] = self.conn.prepare_cached(sql)?.query_row([], counts)?.map(i64::unsigned_abs);
        Ok(Waiting { waiting, failing, dead })
    }

    /// How many rows wait for each channel, Slack channel and webhook.
    pub fn outbox_waiting_by_outlet(&self) -> Result<Vec<(Outlet, u64)>, Error> {
        let sql = "SELECT channel, count(*) FROM outbox WHERE NOT dead GROUP BY channel ORDER BY channel";
        self.rows(sql, [], |row| Ok((row::parsed(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs())))
    }

    pub fn outbox_has(&self, id: i64) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM outbox WHERE id = ?1", [id], |_| Ok(()))?.is_some())
    }

    /// How many rows wait for this channel or webhook.
    pub fn outbox_waiting_for(&self, outlet: &Outlet) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM outbox WHERE channel = ?1 AND NOT dead", [outlet.to_string()])
    }

    /// An entry with its hash.
    pub fn entry_with_hash(&self, seq: i64) -> Result<(Entry, Hash), Error> {
        self.one("SELECT body, hash FROM event WHERE seq = ?1", [seq], |row| Ok((row::json(row, 0)?, row.get(1)?)))?
            .ok_or_else(|| Error::damaged(format!("entry {seq} is missing")))
    }

    /// The hash of the entry that filed a request.
    pub fn hash_of_request(&self, id: RequestId) -> Result<Option<Hash>, Error> {
        let sql = "SELECT hash, request FROM event WHERE seq = (SELECT min(seq) FROM event WHERE request = ?1)";
        self.one(sql, [id.get()], |row| {
            agree(row.get::<_, Option<i64>>(1)? == Some(id.get()), "event_by_request")?;
            Ok(row.get(0)?)
        })
    }

    /// How far each Slack channel and webhook is: the number of the last entry that it was given.
    pub fn streams(&self) -> Result<BTreeMap<String, i64>, Error> {
        let streams = self.one("SELECT streams FROM team WHERE streams IS NOT NULL", [], |row| row::json(row, 0))?;
        Ok(streams.unwrap_or_default())
    }

    /// The number of the last entry before this time.
    pub fn last_seq_before(&self, time: Timestamp) -> Result<i64, Error> {
        let sql = "SELECT seq FROM event WHERE at < ?1 ORDER BY seq DESC LIMIT 1";
        Ok(self.one(sql, [time.unix()], |row| Ok(row.get(0)?))?.unwrap_or(0))
    }
}

impl Write<'_> {
    pub fn set_streams(&self, streams: &BTreeMap<String, i64>) -> Result<(), Error> {
        let body = serde_json::to_string(streams).map_err(|error| Error::Internal { message: error.to_string() })?;
        self.conn().prepare_cached("UPDATE team SET streams = ?1")?.execute([body])?;
        Ok(())
    }

    /// The Slack channels that the team file names now. One that is new begins after this entry; one that is gone, if
    /// it comes back, begins anew.
    pub(super) fn begin_channels(&self, channels: Vec<String>, after: i64) -> Result<(), Error> {
        let named: BTreeSet<String> = channels.into_iter().map(|channel| format!("slack:{channel}")).collect();
        let mut streams = self.streams()?;
        let before = streams.clone();
        streams.retain(|name, _| !name.starts_with("slack:") || named.contains(name));
        for name in named {
            streams.entry(name).or_insert(after);
        }
        if streams == before { Ok(()) } else { self.set_streams(&streams) }
    }

    /// What was put off for a digest is looked at again, since what its reader (or the team) prefers has changed.
    ///
    /// Entries may lie in the future, where a clock that was ahead was set right: those are due now.
    pub(super) fn reconsider(&self, member: Option<&Name>, now: Timestamp) -> Result<(), Error> {
        let sql = "UPDATE outbox SET due_at = (SELECT min(e.at, ?2) FROM notification n JOIN event e ON e.seq = n.seq
                 WHERE n.id = outbox.notification)
             WHERE attempts = 0 AND NOT dead AND notification IS NOT NULL
                 AND (?1 IS NULL
                     OR EXISTS (SELECT 1 FROM notification n WHERE n.id = outbox.notification AND +n.member = ?1))";
        self.conn().prepare_cached(sql)?.execute(params![member.map(Name::as_str), now.unix()])?;
        Ok(())
    }

    /// Queues an entry for a channel or webhook.
    pub fn outbox_add(&self, outlet: &Outlet, entry: &Entry, news: News, now: Timestamp) -> Result<(), Error> {
        let sql = "INSERT INTO outbox (channel, seq, kind, due_at) VALUES (?1, ?2, ?3, ?4)";
        let params = params![outlet.to_string(), entry.seq, news.as_str(), entry.at.min(now).unix()];
        self.conn().prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// They were sent, or nobody wants them.
    pub fn outbox_done(&self, ids: &[i64]) -> Result<(), Error> {
        for id in ids {
            self.conn().prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }

    /// Deletes what has waited for this channel since before this time, at most 10,000 rows: other commands wait for the lock.
    pub fn outbox_drop_stale(&self, channel: Channel, before: Timestamp) -> Result<(), Error> {
        let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox
             WHERE channel = ?1 AND due_at < ?2 AND NOT dead ORDER BY id LIMIT 10000)";
        self.conn().prepare_cached(sql)?.execute(params![channel.as_str(), before.unix()])?;
        Ok(())
    }

    pub fn outbox_put_off(&self, id: i64, until: Timestamp) -> Result<(), Error> {
        let sql = "UPDATE outbox SET due_at = ?2 WHERE id = ?1";
        self.conn().prepare_cached(sql)?.execute(params![id, until.unix()])?;
        Ok(())
    }

    /// An attempt failed: the next is due then, or there is none.
    pub fn outbox_failed(&self, id: i64, why: &str, next: Option<Timestamp>) -> Result<(), Error> {
        let sql =
            "UPDATE outbox SET attempts = attempts + 1, error = ?2, due_at = coalesce(?3, due_at), dead = ?3 IS NULL
             WHERE id = ?1";
        self.conn().prepare_cached(sql)?.execute(params![id, why, next.map(Timestamp::unix)])?;
        Ok(())
    }

    /// Whoever is there wants to be left alone until then: all that goes the same way waits.
    pub fn outbox_pause(&self, route: &Route, why: &str, until: Timestamp) -> Result<(), Error> {
        let channels = match route {
            Route::Email => "email".to_owned(),
            Route::Slack => "slack*".to_owned(),
            Route::Webhook(name) => format!("webhook:{name}"),
        };
        let sql = "UPDATE outbox SET due_at = ?2, error = ?3 WHERE channel GLOB ?1 AND NOT dead AND due_at < ?2";
        self.conn().prepare_cached(sql)?.execute(params![channels, until.unix(), why])?;
        Ok(())
    }

    /// Deletes this row, or all that were given up. How many.
    pub fn outbox_discard(&self, id: Option<i64>) -> Result<u64, Error> {
        let sql = "DELETE FROM outbox WHERE CASE WHEN ?1 IS NULL THEN dead ELSE id = ?1 END";
        Ok(self.conn().prepare_cached(sql)?.execute([id])? as u64)
    }

    /// Tries again at once, from the first attempt on: this one if it is there, or all that are dead. How many.
    pub fn outbox_retry(&self, id: Option<i64>) -> Result<u64, Error> {
        let sql = "UPDATE outbox SET attempts = 0, dead = 0, due_at = 0 WHERE CASE WHEN ?1 IS NULL THEN dead ELSE id = ?1 END";
        Ok(self.conn().prepare_cached(sql)?.execute([id])? as u64)
    }
}
