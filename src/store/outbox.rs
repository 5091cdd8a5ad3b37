//! The subscribers' positions in the log, the deliveries that wait for them (the outbox), and what decides about these.
//! Positions and outbox are not part of the record.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use super::log::ENTRY;
use super::read::{Read, agree};
use super::{Error, Store, Write, file, row};
use crate::domain::audit::Hash;
use crate::domain::channel::{Channel, Route, SlackChannel};
use crate::domain::event::Entry;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::preference::{Policy, Preference};
use crate::domain::subscriber::{Blocked, Delivery, Subscriber, Topic};
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::domain::time::Timestamp;

/// The columns of `delivery`.
const DELIVERY: &str = "SELECT o.id, o.subscriber, o.topic, o.seq, e.at, n.id, n.member, o.due_at, o.attempts, o.error,
         o.dead, e.request
     FROM outbox o JOIN event e ON e.seq = o.seq LEFT JOIN notification n ON n.id = o.notification";

fn delivery(row: &Row<'_>) -> Result<Delivery, Error> {
    let notification: Option<i64> = row.get(5)?;
    Ok(Delivery {
        id: row.get(0)?,
        subscriber: row::parsed(row, 1)?,
        topic: row::parsed(row, 2)?,
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

/// How many deliveries wait, how many of those failed before, and how many were given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub waiting: u64,
    pub failing: u64,
    pub dead: u64,
}

/// Held by the one process that sends. The kernel releases it when the process ends, for whatever reason.
pub struct SendLock(#[expect(dead_code, reason = "closing it releases the lock")] std::fs::File);

impl Store {
    /// None while another process sends.
    pub fn begin_sending(&self) -> Result<Option<SendLock>, Error> {
        Ok(file::lock_for_sending(&self.path)?.map(SendLock))
    }
}

impl Read<'_> {
    /// `[notifications]` of the team file.
    pub fn policy(&self) -> Result<Policy, Error> {
        let policy = self.one("SELECT policy FROM team WHERE policy IS NOT NULL", [], |row| row::json(row, 0))?;
        Ok(policy.unwrap_or_default())
    }

    pub fn preference(&self, member: &Name) -> Result<Preference, Error> {
        let sql = "SELECT preference FROM member WHERE name = ?1 AND preference IS NOT NULL";
        Ok(self.one(sql, [member.as_str()], |row| row::json(row, 0))?.unwrap_or_default())
    }

    /// The preferences of the members who set any.
    pub fn preferences(&self) -> Result<BTreeMap<Name, Preference>, Error> {
        let sql = "SELECT name, preference FROM member WHERE preference IS NOT NULL";
        Ok(self.rows(sql, [], |row| Ok((row::parsed(row, 0)?, row::json(row, 1)?)))?.into_iter().collect())
    }

    /// A member as the team file declares them, with the entry that added them.
    pub fn member(&self, name: &Name) -> Result<Option<(Member, i64)>, Error> {
        let sql = format!("SELECT {}, since FROM member WHERE name = ?1", row::MEMBER);
        self.one(&sql, [name.as_str()], |row| Ok((row::member(row, 0)?, row.get(7)?)))
    }

    /// What is due, in order: deliveries after this id, at most so many. Those to members on the closed channels are left
    /// out.
    pub fn outbox_due(
        &self,
        now: Timestamp,
        closed: &[Channel],
        after: i64,
        most: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let open: String =
            closed.iter().map(|channel| format!(" AND o.subscriber <> '{}'", channel.as_str())).collect();
        let sql =
            format!("{DELIVERY} WHERE o.id > ?1 AND NOT o.dead AND o.due_at <= ?2{open} ORDER BY o.id LIMIT {most}");
        self.rows(&sql, params![after, now.unix()], delivery)
    }

    /// Whether anything that waits for members on these channels was due before this time.
    pub fn outbox_has_stale(&self, channels: &[Channel], before: Timestamp) -> Result<bool, Error> {
        let named = joined(channels.iter().map(|channel| format!("'{}'", channel.as_str())));
        let sql = format!("SELECT 1 FROM outbox WHERE NOT dead AND due_at < ?1 AND subscriber IN ({named}) LIMIT 1");
        Ok(self.one(&sql, [before.unix()], |_| Ok(()))?.is_some())
    }

    /// The subscribers (and members) for which a failed delivery waits for its next attempt, and the first of these: later ones
    /// wait behind it.
    pub fn outbox_blocked(&self, now: Timestamp) -> Result<Blocked, Error> {
        let sql =
            "SELECT o.subscriber, n.member, min(o.id) FROM outbox o LEFT JOIN notification n ON n.id = o.notification
             WHERE o.attempts > 0 AND NOT o.dead AND NOT o.passed AND o.due_at > ?1 GROUP BY 1, 2";
        let blocked = |row: &Row<'_>| Ok(((row::parsed(row, 0)?, row::maybe_parsed(row, 1)?), row.get(2)?));
        Ok(self.rows(sql, [now.unix()], blocked)?.into_iter().collect())
    }

    /// Deliveries that report a decision or withdrawal, where the same receiver never got the request: that still waits, or
    /// was given up.
    pub fn outbox_unannounced(&self) -> Result<BTreeSet<i64>, Error> {
        let sql = "WITH queued AS MATERIALIZED (
                 SELECT o.id, o.subscriber, coalesce(n.member, '') AS member, e.request, o.topic
                 FROM outbox o JOIN event e ON e.seq = o.seq LEFT JOIN notification n ON n.id = o.notification
                 WHERE o.topic IN ('request.submitted', 'request.withdrawn', 'request.decided')
                     AND o.subscriber NOT GLOB 'webhook:*')
             SELECT id FROM queued WHERE topic <> 'request.submitted'
                 AND (request, subscriber, member) IN
                     (SELECT request, subscriber, member FROM queued WHERE topic = 'request.submitted')
                 AND EXISTS (SELECT 1 FROM request r WHERE r.id = queued.request AND r.state <> 'pending')";
        Ok(self.rows(sql, [], |row| Ok(row.get(0)?))?.into_iter().collect())
    }

    /// Deliveries after this id, in order: the dead, or those that wait.
    pub fn outbox_after(&self, after: i64, dead: bool, most: usize) -> Result<Vec<Delivery>, Error> {
        let sql = format!("{DELIVERY} WHERE o.id > ?1 AND o.dead = ?2 ORDER BY o.id LIMIT {most}");
        self.rows(&sql, params![after, dead], delivery)
    }

    pub fn outbox_waiting(&self) -> Result<Waiting, Error> {
        let sql = "SELECT count(*) FILTER (WHERE NOT dead), count(*) FILTER (WHERE NOT dead AND attempts > 0),
             count(*) FILTER (WHERE dead) FROM outbox";
        let counts = |row: &Row<'_>| -> rusqlite::Result<[i64; 3]> { Ok([row.get(0)?, row.get(1)?, row.get(2)?]) };
        let [waiting, failing, dead] = self.statement(sql)?.query_row([], counts)?.map(i64::unsigned_abs);
        Ok(Waiting { waiting, failing, dead })
    }

    /// How many deliveries wait for each subscriber.
    pub fn outbox_waiting_by_subscriber(&self) -> Result<Vec<(Subscriber, u64)>, Error> {
        let sql = "SELECT subscriber, count(*) FROM outbox WHERE NOT dead GROUP BY subscriber ORDER BY subscriber";
        self.rows(sql, [], |row| Ok((row::parsed(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs())))
    }

    pub fn outbox_has(&self, id: i64) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM outbox WHERE id = ?1", [id], |_| Ok(()))?.is_some())
    }

    pub fn outbox_waiting_for(&self, subscriber: &Subscriber) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM outbox WHERE subscriber = ?1 AND NOT dead", [subscriber.to_string()])
    }

    /// An entry with its hash.
    pub fn entry_with_hash(&self, seq: i64) -> Result<(Entry, Hash), Error> {
        let sql = format!("SELECT {ENTRY}, hash FROM event WHERE seq = ?1");
        self.one(&sql, [seq], |row| Ok((row::json(row, 0)?, row.get(1)?)))?
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

    /// The last entry that this subscriber was given; None if it is new.
    pub fn position(&self, subscriber: &Subscriber) -> Result<Option<i64>, Error> {
        let sql = "SELECT seq FROM subscriber WHERE name = ?1";
        self.one(sql, [subscriber.to_string()], |row| Ok(row.get(0)?))
    }

    /// The number of the last entry before this time.
    pub fn last_seq_before(&self, time: Timestamp) -> Result<i64, Error> {
        let sql = "SELECT seq FROM event WHERE at < ?1 ORDER BY seq DESC LIMIT 1";
        Ok(self.one(sql, [time.unix()], |row| Ok(row.get(0)?))?.unwrap_or(0))
    }
}

impl Write<'_> {
    pub fn set_position(&self, subscriber: &Subscriber, seq: i64) -> Result<(), Error> {
        let sql = "INSERT INTO subscriber VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = excluded.seq";
        self.conn().prepare_cached(sql)?.execute(params![subscriber.to_string(), seq])?;
        Ok(())
    }

    /// The Slack channels that the team file names now. A new one starts after this entry. One that was removed starts
    /// again if it comes back.
    pub(super) fn subscribe_channels<'p>(
        &self,
        channels: impl Iterator<Item = &'p SlackChannel>,
        after: i64,
    ) -> Result<(), Error> {
        let named: BTreeSet<String> = channels.map(|name| Subscriber::SlackChannel(name.clone()).to_string()).collect();
        let known: Vec<String> =
            self.rows("SELECT name FROM subscriber WHERE name GLOB 'slack:*'", [], |row| Ok(row.get(0)?))?;
        for gone in known.iter().filter(|name| !named.contains(*name)) {
            self.conn().prepare_cached("DELETE FROM subscriber WHERE name = ?1")?.execute([gone])?;
        }
        for name in named {
            let sql = "INSERT INTO subscriber VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            self.conn().prepare_cached(sql)?.execute(params![name, after])?;
        }
        Ok(())
    }

    /// Makes due what waits for a digest: the preferences of its reader, or of the team, have changed.
    ///
    /// An entry can lie in the future, if the clock was ahead and was set right. It is due now.
    pub(super) fn reconsider(&self, member: Option<&Name>, now: Timestamp) -> Result<(), Error> {
        let sql = "UPDATE outbox SET due_at = (SELECT min(e.at, ?2) FROM event e WHERE e.seq = outbox.seq)
             WHERE attempts = 0 AND NOT dead AND notification IS NOT NULL
                 AND (?1 IS NULL
                     OR EXISTS (SELECT 1 FROM notification n WHERE n.id = outbox.notification AND +n.member = ?1))";
        self.conn().prepare_cached(sql)?.execute(params![member.map(Name::as_str), now.unix()])?;
        Ok(())
    }

    /// Queues an entry for a subscriber.
    pub fn outbox_add(
        &self,
        subscriber: &Subscriber,
        entry: &Entry,
        topic: Topic,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sql = "INSERT INTO outbox (subscriber, seq, topic, due_at) VALUES (?1, ?2, ?3, ?4)";
        let params = params![subscriber.to_string(), entry.seq, topic.as_str(), entry.at.min(now).unix()];
        self.conn().prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// Queues a notification for its member: one delivery for each channel on which they have an address.
    pub(super) fn outbox_add_for_member(
        &self,
        entry: &Entry,
        notification: i64,
        Recipient(member, kind): &Recipient,
    ) -> Result<(), Error> {
        let sql = "INSERT INTO outbox (subscriber, seq, topic, notification, due_at)
             SELECT key, ?2, ?3, ?4, ?5 FROM member, json_each(addresses) WHERE name = ?1";
        let params = params![member.as_str(), entry.seq, kind.as_str(), notification, entry.at.unix()];
        self.conn().prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// Deletes deliveries that were sent, or that are not wanted.
    pub fn outbox_done(&self, ids: &[i64]) -> Result<(), Error> {
        for id in ids {
            self.conn().prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }

    /// Deletes what has waited for members on this channel since before this time. At most 10,000 rows, since other commands
    /// wait for the lock.
    pub fn outbox_drop_stale(&self, channel: Channel, before: Timestamp) -> Result<(), Error> {
        let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox
             WHERE subscriber = ?1 AND due_at < ?2 AND NOT dead ORDER BY id LIMIT 10000)";
        self.conn().prepare_cached(sql)?.execute(params![channel.as_str(), before.unix()])?;
        Ok(())
    }

    pub fn outbox_put_off(&self, id: i64, until: Timestamp) -> Result<(), Error> {
        let sql = "UPDATE outbox SET due_at = ?2 WHERE id = ?1";
        self.conn().prepare_cached(sql)?.execute(params![id, until.unix()])?;
        Ok(())
    }

    /// An attempt failed. The next one is due at this time; None: give up.
    pub fn outbox_failed(&self, id: i64, why: &str, next: Option<Timestamp>) -> Result<(), Error> {
        let sql =
            "UPDATE outbox SET attempts = attempts + 1, error = ?2, due_at = coalesce(?3, due_at), dead = ?3 IS NULL
             WHERE id = ?1";
        self.conn().prepare_cached(sql)?.execute(params![id, why, next.map(Timestamp::unix)])?;
        Ok(())
    }

    /// Later deliveries were taken while this one failed: it holds none back any more.
    pub fn outbox_passed(&self, id: i64) -> Result<(), Error> {
        self.conn().prepare_cached("UPDATE outbox SET passed = 1 WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    /// The receiver asks to be left alone until this time: everything on the route waits.
    pub fn outbox_pause(&self, route: &Route, why: &str, until: Timestamp) -> Result<(), Error> {
        let name = match route {
            Route::Channel(channel) => channel.as_str().to_owned(),
            Route::Webhook(name) => format!("webhook:{name}"),
        };
        let sql = "UPDATE outbox SET due_at = ?2, error = ?3
             WHERE (subscriber = ?1 OR subscriber GLOB ?1 || ':*') AND NOT dead AND due_at < ?2";
        self.conn().prepare_cached(sql)?.execute(params![name, until.unix(), why])?;
        Ok(())
    }

    /// Deletes this delivery, or all that were given up. Returns how many.
    pub fn outbox_discard(&self, id: Option<i64>) -> Result<u64, Error> {
        let sql = "DELETE FROM outbox WHERE CASE WHEN ?1 IS NULL THEN dead ELSE id = ?1 END";
        Ok(self.conn().prepare_cached(sql)?.execute([id])? as u64)
    }

    /// Makes this delivery due with all its attempts, or all that were given up. Returns how many.
    pub fn outbox_retry(&self, id: Option<i64>) -> Result<u64, Error> {
        let sql = "UPDATE outbox SET attempts = 0, dead = 0, passed = 0, due_at = 0 WHERE CASE WHEN ?1 IS NULL THEN dead ELSE id = ?1 END";
        Ok(self.conn().prepare_cached(sql)?.execute([id])? as u64)
    }
}
