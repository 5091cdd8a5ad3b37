//! `audit` and `audit export`: the log, newest first or oldest first. The caller's role is checked again for each page.

use serde::{Deserialize, Serialize};

use super::request::item;
use super::{Call, Listed, Problem, Rows, Service, no_such_member};
use crate::domain::audit;
use crate::domain::audit::Hash;
use crate::domain::event::Entry;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{AuditFilter, EntryView, RawView};
use crate::store::{Error, Page, Read};

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
                authorize::needs_auditor(me, READ, now)?;
                if before == i64::MAX {
                    check_names(read, filter)?;
                }
                // Reads one more than is shown, to find out whether there are more.
                let most = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
                viewed(read, read.entries_before(filter, before, most)?)
            })?;
            for view in page.rows {
                if left == 0 {
                    let more = service.store.read(|read| read.count_entries(filter, before))?;
                    return Ok(Listed { more, warnings: Vec::new() });
                }
                left -= 1;
                before = view.seq;
                rows(view)?;
            }
            if page.last {
                return Ok(Listed::default());
            }
        }
    }
}

/// Entries with whose requests they are about.
fn viewed(read: &Read<'_>, page: Page<(Entry, Hash)>) -> Result<Page<EntryView>, Problem> {
    let view = |(entry, hash): (Entry, Hash)| {
        let requester = entry.event.request().map(|id| read.requester(id)).transpose()?.flatten();
        Ok(EntryView { requester, ..EntryView::of(entry, audit::hex(&hash)) })
    };
    let rows: Result<Vec<EntryView>, Error> = page.rows.into_iter().map(view).collect();
    Ok(Page { rows: rows?, last: page.last })
}

/// Refuses a filter by a name or number that the log does not have, since it is probably mistyped.
fn check_names(read: &Read<'_>, filter: &AuditFilter) -> Result<(), Problem> {
    for name in [&filter.actor, &filter.member].into_iter().flatten() {
        if !read.is_member(name)? && !read.has_acted(name)? && !read.was_declared(&format!("member:{name}"))? {
            return Err(no_such_member(read, name)?.into());
        }
    }
    if let Some(resource) = &filter.resource
        && !read.was_declared(&resource.to_string())?
    {
        item(read, resource)?;
    }
    match filter.request {
        Some(id) if read.request(id)?.is_none() => Err(Refusal::from(LookupRefusal::NoSuchRequest { id }).into()),
        Some(_) | None => Ok(()),
    }
}

/// The log, oldest entry first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditExport {
    /// Only entries from this time on.
    pub since: Option<Timestamp>,
    /// Only entries up to this time.
    pub until: Option<Timestamp>,
}

impl Call for AuditExport {
    const NAME: &'static str = "AuditExport";

    type Row = EntryView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, EntryView>) -> Result<(), Failure> {
        let AuditExport { since, until } = self;
        let filter = AuditFilter { since, until, ..AuditFilter::default() };
        let mut after = 0;
        loop {
            let page = service.ask("audit export", |read, me, now| {
                authorize::needs_auditor(me, READ, now)?;
                viewed(read, read.entries_within(after, &filter)?)
            })?;
            for view in page.rows {
                after = view.seq;
                rows(view)?;
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
                authorize::needs_auditor(me, READ, now)?;
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
