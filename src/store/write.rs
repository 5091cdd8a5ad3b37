//! What can be written: entries of the log, and with each, in the same transaction, what it changes in the tables
//! (see `project`) and the notifications it causes. Read marks and the time of the last `expire` are no record.

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::{Connection, params};

use super::read::{Head, Read};
use super::{Error, project};
use crate::domain::audit::{self, GENESIS};
use crate::domain::event::{Draft, Entry, Event, FORMAT};
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::team::Change;
use crate::domain::time::Timestamp;

/// Who acts, and when: what an entry says besides its event.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: Timestamp,
    pub actor: Option<Name>,
    pub os_user: String,
}

/// A write transaction. All reading works in it too.
pub struct Write<'c> {
    read: Read<'c>,
    /// The end of the log; None before its first entry.
    head: Cell<Option<Head>>,
}

impl<'c> Deref for Write<'c> {
    type Target = Read<'c>;
    fn deref(&self) -> &Read<'c> {
        &self.read
    }
}

impl<'c> Write<'c> {
    pub(super) fn new(conn: &'c Connection) -> Result<Write<'c>, Error> {
        let read = Read::new(conn);
        let any: bool = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM event)")?.query_row([], |row| row.get(0))?;
        let head = if any { Some(read.head()?) } else { None };
        Ok(Write { read, head: Cell::new(head) })
    }

    pub(super) fn conn(&self) -> &'c Connection {
        self.read.conn
    }

    /// Appends the events to the log, and does what they say. Names of non-members are removed from those to notify.
    pub fn record(&self, context: &Context, drafts: Vec<Draft>) -> Result<(), Error> {
        for draft in drafts {
            let told = self.only_members(&draft.event, draft.told)?;
            let (seq, previous) = self.head.get().map_or((1, GENESIS), |head| (head.seq + 1, head.hash));
            let entry = Entry {
                v: FORMAT,
                seq,
                at: context.now,
                actor: context.actor.clone(),
                os_user: context.os_user.as_str().into(),
                event: draft.event,
                told_from: if told.is_empty() { None } else { Some(self.next_notification()?) },
                told,
            };
            let body = serde_json::to_string(&entry)
                .map_err(|error| Error::Internal { message: format!("an event can't be written: {error}") })?;
            let hash = audit::link(&previous, body.as_bytes());
            self.conn().prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
                params![
                    seq,
                    entry.at.unix(),
                    entry.actor.as_ref().map(Name::as_str),
                    entry.os_user.as_str(),
                    entry.event.action(),
                    entry.event.request().map(|id| id.get()),
                    hash,
                    body
                ],
            )?;
            self.head.set(Some(Head { seq, at: entry.at, hash }));
            project::project(self, &entry)?;
            self.notify(&entry)?;
        }
        let last = self.head.get().map_or(0, |head| head.seq);
        self.conn().prepare_cached("UPDATE team SET last_seq = ?1 WHERE last_seq <> ?1")?.execute([last])?;
        Ok(())
    }

    /// Those who are members once this event has happened: a notification of anybody else has no inbox to go to.
    fn only_members(&self, event: &Event, told: Vec<Recipient>) -> Result<Vec<Recipient>, Error> {
        let changes: &[Change] = match event {
            Event::TeamInitialized { changes } | Event::TeamApplied { changes } => changes,
            _ => &[],
        };
        let mut kept = Vec::with_capacity(told.len());
        for Recipient(name, notice) in told {
            let changed = changes.iter().find_map(|change| match change {
                Change::Member(member, diff) if *member == name => Some(diff.after().is_some()),
                _ => None,
            });
            if changed.map_or_else(|| self.is_member(&name), Ok)? {
                kept.push(Recipient(name, notice));
            }
        }
        Ok(kept)
    }

    fn next_notification(&self) -> Result<i64, Error> {
        let sql = "SELECT coalesce(max(id), 0) + 1 FROM notification";
        Ok(self.conn().prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Adds the entry to the inbox of each recipient, and queues it for their channels. Both happen in the transaction that
    /// records the entry, so that a notification is part of the record.
    fn notify(&self, entry: &Entry) -> Result<(), Error> {
        let numbers = entry.told_from.unwrap_or(1)..;
        for (notification, recipient) in numbers.zip(&entry.told) {
            let Recipient(member, kind) = recipient;
            self.conn()
                .prepare_cached("INSERT INTO notification (id, seq, member, kind) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![notification, entry.seq, member.as_str(), kind.as_str()])?;
            self.outbox_add_for_member(entry, notification, recipient)?;
        }
        Ok(())
    }

    /// Marks one of a member's notifications as read. How many were unread.
    pub fn mark_read(&self, member: &Name, id: i64, now: Timestamp) -> Result<u64, Error> {
        let sql = "UPDATE notification SET read_at = ?1 WHERE id = ?2 AND +member = ?3 AND read_at IS NULL
                 AND seq >= (SELECT since FROM member WHERE name = ?3)";
        Ok(self.conn().prepare_cached(sql)?.execute(params![now.unix(), id, member.as_str()])? as u64)
    }

    /// Notes that `expire` ran, at this time of the clock.
    pub fn expire_ran(&self, now: Timestamp) -> Result<(), Error> {
        self.conn().prepare_cached("UPDATE team SET expire_ran_at = ?1")?.execute([now.unix()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::NotificationKind;
    use crate::domain::request::RequestId;
    use crate::domain::team_file;

    fn names(told: &[Recipient]) -> Vec<&str> {
        told.iter().map(|Recipient(name, _)| name.as_str()).collect()
    }

    #[test]
    fn only_members_are_notified_whatever_a_draft_says() {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        let write = Write::new(&conn).unwrap();
        let context =
            Context { now: Timestamp::from_unix(1_800_000_000).unwrap(), actor: None, os_user: "root".to_owned() };
        let record = |event, told: &[&str]| {
            let told: Vec<Name> = told.iter().map(|name| name.parse().unwrap()).collect();
            write.record(&context, vec![Draft { event, told: NotificationKind::TeamChanged.to_all(&told) }]).unwrap();
            write.entry(write.head().unwrap().seq).unwrap().told
        };
        let team = |members: &str| {
            let file = format!("[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n{members}");
            team_file::parse(&file).unwrap()
        };
        let (small, alice, bob) =
            (team(""), team("[members.alice]\nrole = \"admin\""), team("[members.bob]\nrole = \"admin\""));
        let told = record(Event::TeamInitialized { changes: small.as_changes() }, &["olivia", "alice"]);
        assert_eq!(names(&told), ["olivia"]);
        // Who joins with this very entry is a member, and who leaves with it is not.
        let told = record(Event::TeamApplied { changes: small.changes_to(&alice) }, &["alice", "olivia"]);
        assert_eq!(names(&told), ["alice", "olivia"]);
        let told = record(Event::TeamApplied { changes: alice.changes_to(&bob) }, &["alice", "bob", "olivia"]);
        assert_eq!(names(&told), ["bob", "olivia"]);
        let told = record(Event::RequestRejudged { request: RequestId::FIRST }, &["alice"]);
        assert_eq!(names(&told), [""; 0]);
        let told = record(Event::RequestRejudged { request: RequestId::FIRST }, &["alice", "bob"]);
        assert_eq!(names(&told), ["bob"]);
        let inbox: i64 = conn.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap();
        assert_eq!(inbox, 6);
    }
}
