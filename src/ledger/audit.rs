//! `audit` and `audit export`: the log, newest first or oldest first.

use super::{Call, Sink};
use crate::command::{AuditFilter, End, EntryView, Reply};
use crate::domain::decide;
use crate::error::Failure;

pub fn audit(call: &Call<'_>, filter: &AuditFilter, sink: Sink<'_>) -> Result<End, Failure> {
    call.ask("audit", |_, me, now| Ok(decide::needs_admin(me, "read the audit log", now)?))?;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut before = i64::MAX;
    loop {
        let page = call.store.read(|read| read.entries_before(filter, before))?;
        for (entry, hash) in page.rows {
            if left == 0 {
                let more = call.store.read(|read| read.count_entries(filter, before))?;
                return Ok(End { more, ..End::default() });
            }
            left -= 1;
            before = entry.seq;
            sink(Reply::Entry(Box::new(EntryView::of(entry, &hash))))?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}

pub fn export(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    call.ask("audit export", |_, me, now| Ok(decide::needs_admin(me, "read the audit log", now)?))?;
    let mut after = 0;
    loop {
        let page = call.store.read(|read| read.entries_after(after))?;
        for (entry, hash) in page.rows {
            after = entry.seq;
            sink(Reply::Entry(Box::new(EntryView::of(entry, &hash))))?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}
