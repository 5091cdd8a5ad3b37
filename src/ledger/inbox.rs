//! `inbox`: the caller's notifications. Looking marks nothing as read.

use std::ops::ControlFlow;

use super::docket::Docket;
use super::{Call, Problem, Sink, review};
use crate::command::{End, NotificationView, Reply};
use crate::domain::decide;
use crate::domain::notification::Notice;
use crate::domain::refusal::Refusal;
use crate::domain::words::words;
use crate::error::Failure;
use crate::store::Read;

pub fn inbox(call: &Call<'_>, all: bool, sink: Sink<'_>) -> Result<End, Failure> {
    let found = call.ask("inbox", |read, me, _| {
        let mut found = Vec::new();
        read.notifications(&me.name, all, |id, event, seq, read_at| {
            found.push((id, event, seq, read_at));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    })?;
    for (id, event, seq, read_at) in found {
        let view = call.store.read(|read| -> Result<NotificationView, Failure> {
            let entry = read.entry(seq)?;
            let request = match entry.event.request() {
                Some(id) => read.request(id)?,
                None => None,
            };
            let mut text = words(&entry.event, entry.actor.as_ref(), request.as_ref());
            if let Some(request) = request.filter(|_| event == Notice::AccessEmergency) {
                let emergency = review::emergency(read, &Docket::default(), &request, call.now(read)?)?;
                text.extend(emergency.map(|emergency| emergency.words(&request)));
            }
            Ok(NotificationView { id, event, request: entry.event.request(), text, at: entry.at, read_at })
        })?;
        sink(Reply::Notification(view))?;
    }
    Ok(End::default())
}

pub fn mark_read(call: &Call<'_>, ids: &[i64]) -> Result<End, Failure> {
    let time = |read: &Read<'_>| call.now(read);
    let count = call.write_as_member("inbox --mark-read", None, time, |write, me, now| {
        for &id in ids {
            if !write.has_notification(&me.name, id)? {
                return Err(Refusal::NoSuchNotification { id }.into());
            }
        }
        if ids.is_empty() {
            return Ok(write.mark_read(&me.name, None, now)?);
        }
        let mut count = 0;
        for &id in ids {
            count += write.mark_read(&me.name, Some(id), now)?;
        }
        Ok(count)
    })?;
    Ok(End { count, ..End::default() })
}

pub fn unread(call: &Call<'_>) -> Result<End, Failure> {
    let count = call.store.read(|read| -> Result<u64, Problem> {
        let me = call.actor(read)?;
        decide::may_act(&me)?;
        Ok(read.unread(&me.name)?)
    });
    // A quiet line that nobody asked for is no reason to fail.
    Ok(End { count: count.unwrap_or(0), ..End::default() })
}
