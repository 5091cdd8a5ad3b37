//! `inbox`: the caller's notifications. Looking marks nothing as read.

use super::policy_context::PolicyContext;
use super::{Call, Problem, Sink, review};
use crate::command::{End, NotificationView, Reply};
use crate::domain::decide;
use crate::domain::describe::words;
use crate::domain::notification::NotificationKind;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{InboxRow, Page, Read};

const MARK: &str = "inbox --mark-read";
/// How many are marked in one transaction, plus a page at most.
const BATCH: u64 = 10_000;

/// The caller's notifications, newest first. Each page is a short transaction.
pub fn inbox(call: &Call<'_>, all: bool, limit: Option<u64>, sink: Sink<'_>) -> Result<End, Failure> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut before = i64::MAX;
    loop {
        let (views, end) = call.ask("inbox", |read, me, now| {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            // One more than is shown, to find out whether there are more.
            let Page { mut rows, last } = read.notifications_before(&me.name, all, before, most.saturating_add(1))?;
            let cut = rows.len() > most;
            rows.truncate(most);
            left -= rows.len() as u64;
            before = rows.last().map_or(before, |row| row.id);
            let more = if cut { read.count_notifications(&me.name, all, before)? } else { 0 };
            let views = rows.into_iter().map(|row| view(read, row, now)).collect::<Result<Vec<_>, _>>()?;
            Ok((views, (cut || last).then(|| End { more, ..End::default() })))
        })?;
        for view in views {
            sink(Reply::Notification(view))?;
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

fn view(read: &Read<'_>, row: InboxRow, now: Timestamp) -> Result<NotificationView, Problem> {
    let InboxRow { id, notice, seq, read_at } = row;
    let entry = read.entry(seq)?;
    let request = match entry.event.request() {
        Some(id) => read.request(id)?,
        None => None,
    };
    let mut text = words(&entry.event, entry.actor.as_ref(), request.as_ref());
    if let Some(request) = request.filter(|_| notice == NotificationKind::AccessEmergency) {
        let emergency = review::emergency(read, &PolicyContext::default(), &request, now)?;
        text.extend(emergency.map(|emergency| emergency.words(&request)));
    }
    Ok(NotificationView { id, event: notice, request: entry.event.request(), text, at: entry.at, read_at })
}

pub fn mark_read(call: &Call<'_>, ids: &[i64]) -> Result<End, Failure> {
    if ids.is_empty() {
        return mark_all_read(call);
    }
    let count = call.write_as_member(
        MARK,
        None,
        |read| call.now(read),
        |write, me, now| {
            for &id in ids {
                if !write.has_notification(&me.name, id)? {
                    return Err(Refusal::NoSuchNotification { id }.into());
                }
            }
            let marked: Result<Vec<u64>, _> = ids.iter().map(|&id| write.mark_read(&me.name, id, now)).collect();
            Ok(marked?.into_iter().sum())
        },
    )?;
    Ok(End { count, ..End::default() })
}

/// Marks everything that is unread now, in batches, so that nobody waits long. What arrives meanwhile stays unread.
fn mark_all_read(call: &Call<'_>) -> Result<End, Failure> {
    let mut end = End::default();
    let mut before = Some(i64::MAX);
    while let Some(from) = before {
        let marked = call.write_as_member(
            MARK,
            None,
            |read| call.now(read),
            |write, me, now| {
                let (mut count, mut before) = (0, Some(from));
                while let Some(below) = before.filter(|_| count < BATCH) {
                    let page = write.notifications_before(&me.name, false, below, usize::MAX)?;
                    for row in &page.rows {
                        count += write.mark_read(&me.name, row.id, now)?;
                    }
                    before = page.rows.last().map(|row| row.id).filter(|_| !page.last);
                }
                Ok((count, before))
            },
        )?;
        end.count += marked.0;
        before = marked.1;
    }
    Ok(end)
}

pub fn unread(call: &Call<'_>) -> Result<End, Failure> {
    let count = call.store.read(|read| -> Result<u64, Problem> {
        let me = call.actor(read)?;
        decide::may_act(&me)?;
        Ok(read.unread(&me.name)?)
    });
    // Shells call this in every prompt, so it never fails.
    Ok(End { count: count.unwrap_or(0), ..End::default() })
}
