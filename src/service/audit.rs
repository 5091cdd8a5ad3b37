//! `audit` and `audit export`: the log, newest first or oldest first. The caller's role is checked again for each page.

use serde::{Deserialize, Serialize};

use super::{Call, Listed, Problem, Rows, Service, no_such_member};
use crate::domain::audit;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::error::Failure;
use crate::protocol::{AuditFilter, EntryView, RawView};
use crate::store::Read;

const READ: &str = "read the audit log";

/// The log, newest entry first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Audit {
    pub filter: AuditFilter,
}

impl Call for Audit {
    const NAME: &'static str = "Audit";

    type Row = EntryView;
    type Reply = Listed;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, EntryView>) -> Result<Listed, Failure> {
        let Audit { filter } = self;
        let filter = &filter;
        let mut left = filter.limit.unwrap_or(u64::MAX);
        let mut before = i64::MAX;
        loop {
            let page = service.ask("audit", |read, me, now| {
                authorize::needs_admin(me, READ, now)?;
                if before == i64::MAX {
                    check_names(read, filter)?;
                }
                // Reads one more than is shown, to find out whether there are more.
                Ok(read.entries_before(
                    filter,
                    before,
                    usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1),
                )?)
            })?;
            for (entry, hash) in page.rows {
                if left == 0 {
                    let more = service.store.read(|read| read.count_entries(filter, before))?;
                    return Ok(Listed { more, warnings: Vec::new() });
                }
                left -= 1;
                before = entry.seq;
                rows(EntryView::of(entry, audit::hex(&hash)))?;
            }
            if page.last {
                return Ok(Listed::default());
            }
        }
    }
}

/// Refuses a filter by a name or number that the log does not have, since it is probably mistyped.
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

/// The log, oldest entry first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditExport {}

impl Call for AuditExport {
    const NAME: &'static str = "AuditExport";

    type Row = EntryView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, EntryView>) -> Result<(), Failure> {
        let mut after = 0;
        loop {
            let page = service.ask("audit export", |read, me, now| {
                authorize::needs_admin(me, READ, now)?;
                Ok(read.entries_after(after)?)
            })?;
            for (entry, hash) in page.rows {
                after = entry.seq;
                rows(EntryView::of(entry, audit::hex(&hash)))?;
            }
            if page.last {
                return Ok(());
            }
        }
    }
}

/// The log as it is stored. Entries that this program cannot read are exported too, so that they can be verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditExportRaw {}

impl Call for AuditExportRaw {
    const NAME: &'static str = "AuditExportRaw";

    type Row = RawView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, RawView>) -> Result<(), Failure> {
        let mut after = 0;
        loop {
            let page = service.ask("audit export", |read, me, now| {
                authorize::needs_admin(me, READ, now)?;
                Ok(read.raw_entries_after(after)?)
            })?;
            for entry in page.rows {
                after = entry.seq;
                rows(entry)?;
            }
            if page.last {
                return Ok(());
            }
        }
    }
}
