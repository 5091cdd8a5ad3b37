//! Appends entries to the log. In the same transaction each entry changes the tables (see `project`) and queues its
//! notifications.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::ops::Deref;
use std::rc::Rc;

use rusqlite::{Connection, params};
use serde::Deserialize;
use smol_str::SmolStr;

use super::log::Head;
use super::read::Read;
use super::{Error, project};
use crate::domain::audit;
use crate::domain::audit::{Hash, LogPlace};
use crate::domain::event;
use crate::domain::event::{Draft, Entry, Event, FILE_FORMAT, FORMAT};
use crate::domain::host::Hosts;
use crate::domain::host_rights;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::team::change::Change;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::log::LoggedEntry;

/// What an entry says in addition to its event: who acts, and when.
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
    /// When `expire` ran, to be stored at the end.
    expire_ran_at: Cell<Option<Timestamp>>,
    /// None: entries are appended to the file alone.
    shared: Option<SharedEntries>,
    /// The hosts that the team file names. None: not loaded since they last changed.
    hosts: RefCell<Option<Hosts>>,
    /// Members that were looked up since the team last changed. None: there is none of that name.
    members: RefCell<BTreeMap<Name, Option<Rc<Member>>>>,
    /// The number of the next notification, and of the next request. None: not known yet.
    next_notification: Cell<Option<i64>>,
    next_request: Cell<Option<RequestId>>,
}

/// The entries that a transaction makes for a shared log.
struct SharedEntries {
    host: String,
    /// The format that all hosts read.
    format: u32,
    bodies: RefCell<Vec<String>>,
}

impl SharedEntries {
    /// The database's limits for one call.
    fn has_room_for(&self, body: &str) -> Result<(), Error> {
        const ENTRY: usize = 1 << 20;
        const CALL: usize = 16 << 20;
        const ENTRIES: usize = 10_000;
        let bodies = self.bodies.borrow();
        let what = if body.len() > ENTRY {
            format!("an entry of {} bytes, and a shared log takes at most {ENTRY}", body.len())
        } else if bodies.len() >= ENTRIES || bodies.iter().map(String::len).sum::<usize>() + body.len() > CALL {
            format!("more than {ENTRIES} entries or {} MiB, which is more than a shared log takes at once", CALL >> 20)
        } else {
            return Ok(());
        };
        let message = format!("this change makes {what}; nothing was changed");
        Err(Error::Shared { message, hint: "change less at once, such as half of the team file".to_owned() })
    }
}

/// What every format has.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// What a transaction for a shared log leaves to be done.
pub(super) struct Made {
    pub bodies: Vec<String>,
    pub expire_ran_at: Option<Timestamp>,
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
        Ok(Write {
            read,
            head: Cell::new(head),
            expire_ran_at: Cell::new(None),
            shared: None,
            hosts: RefCell::default(),
            members: RefCell::default(),
            next_notification: Cell::new(None),
            next_request: Cell::new(None),
        })
    }

    /// A transaction whose entries get their place in a shared log before they count. It is rolled back.
    pub(super) fn for_shared_log(conn: &'c Connection, host: String, write_format: u32) -> Result<Write<'c>, Error> {
        let format = write_format.min(FORMAT);
        Ok(Write { shared: Some(SharedEntries { host, format, bodies: RefCell::default() }), ..Write::new(conn)? })
    }

    pub(super) fn made(self) -> Made {
        let bodies = self.shared.map(|shared| shared.bodies.into_inner()).unwrap_or_default();
        Made { bodies, expire_ran_at: self.expire_ran_at.get() }
    }

    pub(super) fn conn(&self) -> &'c Connection {
        self.read.conn
    }

    /// Appends the events to the log and makes their changes. Recipients who are not members are left out.
    pub fn record(&self, context: &Context, drafts: Vec<Draft>) -> Result<(), Error> {
        for draft in drafts {
            let entry = self.entry_of(context, draft)?;
            let body = serde_json::to_string(&entry)
                .map_err(|error| Error::Internal { message: format!("an event can't be serialized: {error}") })?;
            if let Some(shared) = &self.shared {
                shared.has_room_for(&body)?;
            }
            self.append(&entry, &body, audit::link(&self.place().hash, body.as_bytes()))?;
            if let Some(shared) = &self.shared {
                shared.bodies.borrow_mut().push(body);
            }
        }
        self.note_last()
    }

    fn entry_of(&self, context: &Context, draft: Draft) -> Result<Entry, Error> {
        let recipients = self.only_members(&draft.event, draft.recipients)?;
        let (host, nonce) = match &self.shared {
            Some(shared) => (Some(shared.host.as_str().into()), Some(nonce()?.into())),
            None => (None, None),
        };
        Ok(Entry {
            v: self.shared.as_ref().map_or(FILE_FORMAT, |shared| shared.format),
            seq: self.place().seq + 1,
            at: context.now,
            actor: context.actor.clone(),
            os_user: context.os_user.as_str().into(),
            host,
            nonce,
            event: draft.event,
            first_notification: if recipients.is_empty() { None } else { Some(self.next_notification()?) },
            recipients,
        })
    }

    /// The place of the last entry.
    pub(super) fn place(&self) -> LogPlace {
        self.head.get().map_or(LogPlace::START, |head| LogPlace { seq: head.seq, hash: head.hash })
    }

    /// Adds an entry that is in the shared log already. Verifies the chain, and that it says who appended it.
    pub(super) fn apply(&self, logged: &LoggedEntry) -> Result<(), Error> {
        let place = self.place().then(logged.body.as_bytes());
        let wrong = |what: &str| Error::Shared {
            message: format!("entry {} of the shared log {what}", logged.seq),
            hint: "nothing after it is used; compare it on another host with `access audit`".to_owned(),
        };
        if (logged.seq, logged.hash) != (place.seq, place.hash) {
            return Err(wrong("does not follow the one before it: it was changed, or one is missing"));
        }
        // An entry of a newer format may be unreadable but for its version.
        let version = match &logged.entry {
            Some(entry) => entry.v,
            None => serde_json::from_str::<Version>(&logged.body).map_or(0, |version| version.v),
        };
        if version > FORMAT {
            let message = format!(
                "entry {} of the shared log is of format {version}; this version reads up to {FORMAT}",
                logged.seq
            );
            return Err(Error::Shared { message, hint: "install a newer version of access on this host".to_owned() });
        }
        // The database checks what it needs to know, not what an event says. Nobody can have decided on one that can't be read.
        let Some(entry) = &logged.entry else { return self.apply_void(logged) };
        let host = entry.host.as_deref().unwrap_or_default();
        if entry.seq != logged.seq || host != logged.host || (entry.v >= 3) == host.is_empty() {
            return Err(wrong("says another number or host than the log"));
        }
        if !self.host_may_append(entry)? {
            return Err(wrong(&format!("is {} by the host {host}, which may not append that", entry.event.action())));
        }
        if host.is_empty() {
            // It was in the file that became the shared log.
            self.check_signature(entry)?;
            return self.append(entry, &logged.body, place.hash);
        }
        self.check_foreign(entry)?;
        self.check_signature(entry)?;
        self.append(entry, &logged.body, place.hash)?;
        self.check_recipients(entry)
    }

    /// Adds an entry of the shared log that changes nothing. Its time counts all the same: the database refuses earlier ones.
    pub(super) fn apply_void(&self, logged: &LoggedEntry) -> Result<(), Error> {
        let entry = Entry {
            v: FORMAT,
            seq: logged.seq,
            at: event::time_of(logged.body.as_bytes()).map_or_else(|| self.read.head().map(|head| head.at), Ok)?,
            actor: None,
            os_user: SmolStr::default(),
            host: None,
            nonce: None,
            event: Event::Void,
            recipients: Vec::new(),
            first_notification: None,
        };
        self.append(&entry, &logged.body, self.place().then(logged.body.as_bytes()).hash)
    }

    /// Whether the host of an entry that comes next may append it. The database decides the same; this does not trust it.
    fn host_may_append(&self, entry: &Entry) -> Result<bool, Error> {
        let mut hosts = self.hosts.borrow_mut();
        let hosts = match &mut *hosts {
            Some(hosts) => hosts,
            none => none.insert(self.read.hosts()?),
        };
        if host_rights::may_append(hosts, entry) {
            return Ok(true);
        }
        // One call may remove its own host, and append what follows from that. All its entries have one time.
        let mut seq = self.place().seq;
        while seq > 0 {
            let before = self.entry(seq)?;
            if (&before.host, before.at) != (&entry.host, entry.at) {
                return Ok(false);
            }
            if host_rights::changes_hosts(&before) {
                return Ok(true);
            }
            seq -= 1;
        }
        Ok(false)
    }

    /// Appends an entry to the log in the file, and makes its changes.
    fn append(&self, entry: &Entry, body: &str, hash: Hash) -> Result<(), Error> {
        self.conn().prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            entry.seq,
            entry.at.unix(),
            entry.actor.as_ref().map(Name::as_str),
            entry.os_user.as_str(),
            entry.event.action(),
            entry.event.request().map(|id| id.get()),
            hash,
            body
        ])?;
        self.head.set(Some(Head { seq: entry.seq, at: entry.at, hash }));
        project::project(self, entry)?;
        if let Event::RequestSubmitted(submission) = &entry.event {
            self.next_request.set(Some(submission.request.next()));
        }
        if matches!(entry.event, Event::TeamInitialized { .. } | Event::TeamApplied { .. }) {
            self.hosts.take();
            self.members.take();
        }
        self.notify(entry)
    }

    /// Stores the number of the last entry outside the log, so that a log that was cut off is noticed.
    pub(super) fn note_last(&self) -> Result<(), Error> {
        let last = self.place().seq;
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

    pub(super) fn next_notification(&self) -> Result<i64, Error> {
        if let Some(next) = self.next_notification.get() {
            return Ok(next);
        }
        let sql = "SELECT coalesce(max(id), 0) + 1 FROM notification";
        let next = self.conn().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        self.next_notification.set(Some(next));
        Ok(next)
    }

    /// The number of the next request, while entries are applied.
    pub(super) fn request_comes_next(&self) -> Result<RequestId, Error> {
        let next = self.next_request.get().map_or_else(|| self.next_request(), Ok)?;
        self.next_request.set(Some(next));
        Ok(next)
    }

    /// A member as the team has them now.
    pub(super) fn member_now(&self, name: &Name) -> Result<Option<Rc<Member>>, Error> {
        if let Some(known) = self.members.borrow().get(name) {
            return Ok(known.clone());
        }
        let member = self.member(name)?.map(|(member, _)| Rc::new(member));
        self.members.borrow_mut().insert(name.clone(), member.clone());
        Ok(member)
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
            self.next_notification.set(notification.checked_add(1));
        }
        Ok(())
    }

    /// Stores when `expire` last ran, at the end of the transaction.
    pub fn expire_ran(&self, now: Timestamp) {
        self.expire_ran_at.set(Some(now));
    }

    pub(super) fn expire_ran_at(&self) -> Option<Timestamp> {
        self.expire_ran_at.get()
    }

    pub(super) fn store_expire_ran(&self, at: Option<Timestamp>) -> Result<(), Error> {
        if let Some(at) = at {
            self.conn().prepare_cached("UPDATE team SET expire_ran_at = ?1")?.execute([at.unix()])?;
        }
        Ok(())
    }
}

/// 64 random bits.
fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Error::Io { message: format!("/dev/urandom: {error}") })?;
    Ok(audit::hex(&bytes))
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

    #[test]
    fn what_is_no_record_records_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.db");
        crate::store::Store::create(&path, |_| Ok::<(), Error>(())).unwrap();
        let store = crate::store::Store::open(&path).unwrap();
        let context =
            Context { now: Timestamp::from_unix(1_800_000_000).unwrap(), actor: None, os_user: "root".to_owned() };
        let draft = Draft { event: Event::RequestRejudged { request: RequestId::FIRST }, recipients: Vec::new() };
        let tried = store.write_unrecorded(|write| write.record(&context, vec![draft]));
        assert!(matches!(tried, Err(Error::Internal { .. })), "{tried:?}");
        assert_eq!(store.read(|read| read.last_seq()).unwrap(), None);
    }
}
