//! Tells whether an entry of a shared log is void: no copy of the log can apply it, so it changes nothing on any host.
//!
//! If this copy can't apply an entry, either the entry is void or this copy is damaged. So the log is asked, not the tables of this copy.
//! Replay finds nearly all void entries. It can miss one after a host that may decide appended what replay calls wrong, because from
//! there on replay and the tables know different things. Then a new copy is built from the log: if that can't apply the entry either, it
//! is void.

use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior};

use super::draft::remove_draft;
use super::read::{PAGE, Page, Read};
use super::shared::place;
use super::write::Write;
use super::{Error, Store, file, open};
use crate::domain::audit::LogPlace;
use crate::domain::event::{Entry, Event};
use crate::domain::replay::Model;
use crate::log::LoggedEntry;

/// Judges by what it has read of the log before, so it is kept.
pub(super) struct Judge {
    model: Model,
    /// The last entry that the model has.
    seen: LogPlace,
    copy: Option<NewCopy>,
}

impl Default for Judge {
    fn default() -> Judge {
        Judge { model: Model::default(), seen: LogPlace::START, copy: None }
    }
}

impl Judge {
    /// Whether an entry that comes next is void. `path`: of this copy.
    pub fn is_void(&mut self, read: &Read<'_>, path: &Path, entry: &LoggedEntry) -> Result<bool, Error> {
        if self.is_dishonest(read, &entry.body)? {
            return Ok(true);
        }
        let copy = match &mut self.copy {
            Some(copy) => copy,
            none => none.insert(NewCopy::beside(path)?),
        };
        copy.refuses(read, entry)
    }

    /// Whether replay finds something wrong with an entry that comes next.
    fn is_dishonest(&mut self, read: &Read<'_>, body: &str) -> Result<bool, Error> {
        let Judge { model, seen, .. } = self;
        let mut count = 0;
        read.each_raw_entry_after(seen.seq, |raw| {
            let hash = raw.hash.unwrap_or_default();
            if raw.action != Event::Void.action().as_bytes()
                && let Ok(entry) = Entry::parse(raw.body)
            {
                model.take(entry, hash);
            }
            *seen = LogPlace { seq: raw.seq, hash };
            count += 1;
            if count % 1000 == 0 {
                model.release();
            }
            Ok(())
        })?;
        let hash = seen.then(body.as_bytes()).hash;
        Ok(Entry::parse(body.as_bytes()).map_or(true, |entry| model.judge(entry, hash).is_some()))
    }
}

/// A copy of the same log in a draft, which is deleted at the end.
struct NewCopy(Box<Store>);

impl NewCopy {
    fn beside(path: &Path) -> Result<NewCopy, Error> {
        let draft = file::beside(path, &format!(".new-{}", std::process::id()));
        let copy = NewCopy(Box::new(Store::draft_at(&draft)?));
        copy.0.connection(open::connect)?.execute_batch("PRAGMA cache_size=-32000; PRAGMA synchronous=OFF")?;
        Ok(copy)
    }

    /// Whether this can't apply an entry that comes next either. `read`: of the copy that could not.
    fn refuses(&self, read: &Read<'_>, entry: &LoggedEntry) -> Result<bool, Error> {
        let NewCopy(store) = self;
        let conn = store.connection(open::connect)?;
        loop {
            let page = read.entries_to_apply(place(&conn)?.seq)?;
            if page.rows.is_empty() {
                break;
            }
            store.transact(&conn, |write| {
                page.rows.iter().try_for_each(|(entry, is_void)| match is_void {
                    true => write.apply_void(entry),
                    false => write.apply(entry),
                })
            })?;
        }
        // Another process has applied it here meanwhile, and so has the new copy.
        if place(&conn)?.seq >= entry.seq {
            return Ok(true);
        }
        // Rolled back as it goes away.
        let trial = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
        match Write::new(&trial)?.apply(entry) {
            Ok(()) => Ok(false),
            Err(Error::Internal { .. } | Error::Invalid { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Drop for NewCopy {
    fn drop(&mut self) {
        remove_draft(self.0.path());
    }
}

impl Read<'_> {
    /// The entries after this one, each with whether it is void.
    fn entries_to_apply(&self, after: i64) -> Result<Page<(LoggedEntry, bool)>, Error> {
        let sql = format!("SELECT body, seq, hash, action FROM event WHERE seq > ? ORDER BY seq LIMIT {PAGE}");
        self.page(&sql, [after], PAGE, |row| {
            let mut entry = LoggedEntry::new(row.get(1)?, row.get(2)?, row.get(0)?, String::new());
            entry.host = entry.entry.as_ref().and_then(|entry| entry.host.as_deref()).unwrap_or_default().to_owned();
            Ok((entry, row.get_ref(3)?.as_bytes() == Ok(Event::Void.action().as_bytes())))
        })
    }
}
