//! `inbox`: the caller's notifications. Listing them does not mark them as read.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::{Call, Listed, Never, Problem, Rows, Service, review};
use crate::domain::describe::in_inbox;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LookupRefusal, Refusal, RefusalKind};
use crate::domain::request::authorize;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::NotificationView;
use crate::store::{InboxItem, Page, Read, Write};

const MARK: &str = "inbox --mark-read";
/// How many are marked in one transaction, plus a page at most.
const BATCH: u64 = 10_000;

/// The caller's notifications, newest first. Each page is a short transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inbox {
    pub all: bool,
    /// At most this many. None: all.
    pub limit: Option<u64>,
}

impl Call for Inbox {
    const NAME: &'static str = "Inbox";

    type Row = NotificationView;
    type Reply = Listed;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, NotificationView>) -> Result<Listed, Failure> {
        let Inbox { all, limit } = self;
        let mut left = limit.unwrap_or(u64::MAX);
        let mut before = i64::MAX;
        share_marks(service);
        loop {
            let (views, end) = service.ask("inbox", |read, me, now| {
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                // One more than is shown, to find out whether there are more.
                let Page { mut rows, last } =
                    read.notifications_before(&me.name, all, before, most.saturating_add(1))?;
                let cut = rows.len() > most;
                rows.truncate(most);
                left -= rows.len() as u64;
                before = rows.last().map_or(before, |row| row.id);
                let more = if cut { read.count_notifications(&me.name, all, before)? } else { 0 };
                let views =
                    rows.into_iter().map(|row| view(read, row, &me.name, now)).collect::<Result<Vec<_>, _>>()?;
                Ok((views, (cut || last).then(|| Listed { more, warnings: Vec::new() })))
            })?;
            for view in views {
                rows(view)?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }
}

fn view(read: &Read<'_>, row: InboxItem, reader: &Name, now: Timestamp) -> Result<NotificationView, Problem> {
    let InboxItem { id, notice, seq, read_at } = row;
    let entry = read.entry(seq)?;
    let request = match entry.event.request() {
        Some(id) => read.request(id)?,
        None => None,
    };
    let mut text = in_inbox(&entry.event, entry.actor.as_ref(), request.as_ref(), reader);
    if let Some(request) = request.filter(|_| notice == NotificationKind::AccessEmergency) {
        let emergency = review::emergency(read, &PolicyContext::default(), &request, now)?;
        text.extend(emergency.map(|emergency| emergency.words(&request)));
    }
    Ok(NotificationView { id, event: notice, request: entry.event.request(), text, at: entry.at, read_at })
}

/// Marks notifications of the caller as read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MarkRead {
    /// Empty: all of them.
    pub ids: Vec<i64>,
}

impl Call for MarkRead {
    const NAME: &'static str = "MarkRead";

    type Row = Never;
    type Reply = u64;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<u64, Failure> {
        let MarkRead { ids } = self;
        let ids = ids.as_slice();
        share_marks(service);
        let marked = if ids.is_empty() { mark_all_read(service)? } else { mark_these_read(service, ids)? };
        share_marks(service);
        Ok(marked)
    }
}

/// Learns what the caller read on other hosts, and tells them what was read here. If they can't be reached, that happens later.
fn share_marks(service: &Service<'_>) {
    if let Ok(me) = service.store.read(|read| service.actor(read)) {
        let _ = service.store.share_read_marks(&me.name);
    }
}

/// Changes the caller's read marks. They are not recorded in the log, so the shared log need not be reached; it must be to record
/// a refusal.
fn mark<R>(
    service: &Service<'_>,
    work: impl Fn(&Write<'_>, &Principal, Timestamp) -> Result<R, Problem>,
) -> Result<R, Failure> {
    let marked = service.store.write_unrecorded(|write| {
        let me = service.actor(write)?;
        authorize::may_act(&me)?;
        work(write, &me, service.now(write)?)
    });
    match marked {
        Ok(marked) => Ok(marked),
        Err(Problem::Failure(failure)) => Err(failure),
        Err(Problem::Refusal(refusal)) if refusal.kind() != RefusalKind::Refused => Err(refusal.into()),
        Err(Problem::Refusal(_)) => service.write_as_member(MARK, None, |read| service.now(read), work),
    }
}

fn mark_these_read(service: &Service<'_>, ids: &[i64]) -> Result<u64, Failure> {
    mark(service, |write, me, now| {
        for &id in ids {
            if !write.has_notification(&me.name, id)? {
                return Err(Refusal::from(LookupRefusal::NoSuchNotification { id }).into());
            }
        }
        let marked: Result<Vec<u64>, _> = ids.iter().map(|&id| write.mark_read(&me.name, id, now)).collect();
        Ok(marked?.into_iter().sum())
    })
}

/// Marks everything that is unread now, in batches, so that others wait briefly. Later notifications stay unread.
fn mark_all_read(service: &Service<'_>) -> Result<u64, Failure> {
    let mut count = 0;
    let mut before = Some(i64::MAX);
    while let Some(from) = before {
        let marked = mark(service, |write, me, now| {
            let (mut count, mut before) = (0, Some(from));
            while let Some(below) = before.filter(|_| count < BATCH) {
                let page = write.notifications_before(&me.name, false, below, usize::MAX)?;
                for row in &page.rows {
                    count += write.mark_read(&me.name, row.id, now)?;
                }
                before = page.rows.last().map(|row| row.id).filter(|_| !page.last);
            }
            Ok((count, before))
        })?;
        count += marked.0;
        before = marked.1;
    }
    Ok(count)
}

/// How many notifications of the caller are unread. More than `COUNTED`: at least that many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unread {}

impl Call for Unread {
    const NAME: &'static str = "Unread";

    type Row = Never;
    type Reply = u64;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<u64, Failure> {
        let count = service.store.read(|read| -> Result<u64, Problem> {
            let me = service.actor(read)?;
            authorize::may_act(&me)?;
            Ok(read.unread(&me.name)?)
        });
        // This count is only a courtesy, so its failure is ignored.
        Ok(count.unwrap_or(0))
    }
}
