//! `audit` and `audit export`: the log, newest first or oldest first. Whoever reads slowly, and loses the role meanwhile,
//! reads no further page.

use super::{Call, Problem, Sink, no_such_member};
use crate::command::{AuditFilter, End, EntryView, Reply};
use crate::domain::audit;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::error::Failure;
use crate::store::Read;

const READ: &str = "read the audit log";

pub fn audit(call: &Call<'_>, filter: &AuditFilter, sink: Sink<'_>) -> Result<End, Failure> {
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut before = i64::MAX;
    loop {
        let page = call.ask("audit", |read, me, now| {
            authorize::needs_admin(me, READ, now)?;
            if before == i64::MAX {
                check_names(read, filter)?;
            }
            // One more than is shown tells whether there are others.
            Ok(read.entries_before(filter, before, usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1))?)
        })?;
        for (entry, hash) in page.rows {
            if left == 0 {
                let more = call.store.read(|read| read.count_entries(filter, before))?;
                return Ok(End { more, ..End::default() });
            }
            left -= 1;
            before = entry.seq;
            sink(Reply::Entry(Box::new(EntryView::of(entry, audit::hex(&hash)))))?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}

/// Refuses a filter by a name or number that the log does not have: one mistyped is no empty list.
fn check_names(read: &Read<'_>, filter: &AuditFilter) -> Result<(), Problem> {
    if let Some(name) = &filter.actor
        && !read.is_member(name)?
        && !read.has_acted(name)?
        && !read.was_declared(&format!("member:{name}"))?
    {
        return Err(no_such_member(read, name)?.into());
    }
    match filter.request {
        Some(id) if read.request(id)?.is_none() => Err(Refusal::from(LookupRefusal::NoSuchRequest { id }).into()),
        Some(_) | None => Ok(()),
    }
}

pub fn export(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let mut after = 0;
    loop {
        let page = call.ask("audit export", |read, me, now| {
            authorize::needs_admin(me, READ, now)?;
            Ok(read.entries_after(after)?)
        })?;
        for (entry, hash) in page.rows {
            after = entry.seq;
            sink(Reply::Entry(Box::new(EntryView::of(entry, audit::hex(&hash)))))?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}

/// The log as it is stored. What this program could not read is exported too: whoever verifies it has to see it.
pub fn export_raw(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let mut after = 0;
    loop {
        let page = call.ask("audit export", |read, me, now| {
            authorize::needs_admin(me, READ, now)?;
            Ok(read.raw_entries_after(after)?)
        })?;
        for entry in page.rows {
            after = entry.seq;
            sink(Reply::Raw(entry))?;
        }
        if page.last {
            return Ok(End::default());
        }
    }
}
