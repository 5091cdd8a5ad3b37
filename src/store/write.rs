//! Appends entries to the log. In the same transaction each entry changes the tables (see `project`) and queues its
//! notifications.

use std::cell::Cell;
use std::ops::Deref;

use rusqlite::{Connection, params};

use super::log::Head;
use super::read::Read;
use super::{Error, project};
use crate::domain::audit;
use crate::domain::audit::GENESIS;
use crate::domain::event::{Draft, Entry, Event, FORMAT};
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::team::change::Change;
use crate::domain::time::Timestamp;

/// What an entry says besides its event: who acts, and when.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: Timestamp,
    pub actor: Option<Name>,
    pub os_user: String,
}

/// A write transaction, in which all queries work too.
pub struct Write<'c> {
    read: Read<'c>,
    /// The last entry of the log. None before the first.
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

    /// Appends the events to the log and makes their changes. Recipients who are not members are left out.
    pub fn record(&self, context: &Context, drafts: Vec<Draft>) -> Result<(), Error> {
        for draft in drafts {
            let recipients = self.only_members(&draft.event, draft.recipients)?;
            let (seq, previous) = self.head.get().map_or((1, GENESIS), |head| (head.seq + 1, head.hash));
            let entry = Entry {
                v: FORMAT,
                seq,
                at: context.now,
                actor: context.actor.clone(),
                os_user: context.os_user.as_str().into(),
                event: draft.event,
                first_notification: if recipients.is_empty() { None } else { Some(self.next_notification()?) },
                recipients,
            };
            let body = serde_json::to_string(&entry)
                .map_err(|error| Error::Internal { message: format!("an event can't be serialized: {error}") })?;
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

    /// The recipients who are members after this event. Only members have an inbox.
    fn only_members(&self, event: &Event, recipients: Vec<Recipient>) -> Result<Vec<Recipient>, Error> {
        let changes: &[Change] = match event {
            Event::TeamInitialized { changes } | Event::TeamApplied { changes } => changes,
            _ => &[],
        };
        let mut kept = Vec::with_capacity(recipients.len());
        for Recipient(name, notice) in recipients {
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
        let numbers = entry.first_notification.unwrap_or(1)..;
        for (notification, recipient) in numbers.zip(&entry.recipients) {
            let Recipient(member, kind) = recipient;
            self.conn()
                .prepare_cached("INSERT INTO notification (id, seq, member, kind) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![notification, entry.seq, member.as_str(), kind.as_str()])?;
            self.outbox_add_for_member(entry, notification, recipient)?;
        }
        Ok(())
    }

    /// Stores when `expire` last ran.
    pub fn expire_ran(&self, now: Timestamp) -> Result<(), Error> {
        self.conn().prepare_cached("UPDATE team SET expire_ran_at = ?1")?.execute([now.unix()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::NotificationKind;
    use crate::domain::team::team_file;
    use crate::domain::terms::RequestId;

    fn names(recipients: &[Recipient]) -> Vec<&str> {
        recipients.iter().map(|Recipient(name, _)| name.as_str()).collect()
    }

    #[test]
    fn only_members_are_notified() {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            conn.execute_batch(migration).unwrap();
        }
        let write = Write::new(&conn).unwrap();
        let context =
            Context { now: Timestamp::from_unix(1_800_000_000).unwrap(), actor: None, os_user: "root".to_owned() };
        let record = |event, recipients: &[&str]| {
            let recipients: Vec<Name> = recipients.iter().map(|name| name.parse().unwrap()).collect();
            write
                .record(&context, vec![Draft { event, recipients: NotificationKind::TeamChanged.to_all(&recipients) }])
                .unwrap();
            write.entry(write.head().unwrap().seq).unwrap().recipients
        };
        let team = |members: &str| {
            let file = format!("[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n{members}");
            team_file::parse(&file).unwrap()
        };
        let (small, alice, bob) =
            (team(""), team("[members.alice]\nrole = \"admin\""), team("[members.bob]\nrole = \"admin\""));
        let recipients = record(Event::TeamInitialized { changes: small.as_changes() }, &["olivia", "alice"]);
        assert_eq!(names(&recipients), ["olivia"]);
        // A member whom the entry itself adds counts, and one whom it removes does not.
        let recipients = record(Event::TeamApplied { changes: small.changes_to(&alice) }, &["alice", "olivia"]);
        assert_eq!(names(&recipients), ["alice", "olivia"]);
        let recipients = record(Event::TeamApplied { changes: alice.changes_to(&bob) }, &["alice", "bob", "olivia"]);
        assert_eq!(names(&recipients), ["bob", "olivia"]);
        let recipients = record(Event::RequestRejudged { request: RequestId::FIRST }, &["alice"]);
        assert_eq!(names(&recipients), [""; 0]);
        let recipients = record(Event::RequestRejudged { request: RequestId::FIRST }, &["alice", "bob"]);
        assert_eq!(names(&recipients), ["bob"]);
        let inbox: i64 = conn.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap();
        assert_eq!(inbox, 6);
    }
}
