//! The recertifications of a period, each as it was at its end.

use super::may_read;
use crate::domain::recertification::{ItemToReview, Recertification};
use crate::error::Failure;
use crate::protocol::{ItemCounts, ItemView, RecertificationView, ReportRow, ReportedItem, ReportedRecertification};
use crate::service::snapshot::PastState;
use crate::service::{Rows, Service};
use crate::store::{Error, Period, Read};

/// Newest first, each in a transaction of its own.
pub(super) fn each(
    service: &Service<'_>,
    period: &Period,
    past: &PastState,
    rows: Rows<'_, ReportRow>,
) -> Result<(), Failure> {
    let ids = service.ask("report", |read, me, now| {
        may_read(me, now)?;
        Ok(read.recertifications_open_since(period.last, period.since)?)
    })?;
    for id in ids {
        let reported = service.ask("report", |read, me, now| {
            may_read(me, now)?;
            Ok(read.recertification(id)?.map(|found| reported(read, past, period, found)).transpose()?)
        })?;
        reported.into_iter().try_for_each(|found| rows(ReportRow::Recertification(Box::new(found))))?;
    }
    Ok(())
}

fn reported(
    read: &Read<'_>,
    past: &PastState,
    period: &Period,
    today: Recertification,
) -> Result<ReportedRecertification, Error> {
    let recertification = today.as_of(period.until);
    let mut entries = read.recertification_entries(recertification.id, period.last)?;
    let mut counts = ItemCounts::default();
    let mut items = Vec::with_capacity(recertification.items.len());
    for (id, item) in recertification.numbered() {
        let is_held = is_held(read, past, period, &recertification, &item.item)?;
        let item = ItemView::of(id, item, recertification.closed_at.is_some(), is_held);
        counts.add(item.state);
        items.push(ReportedItem { item, decided: entries.decided.remove(&id) });
    }
    let Recertification { id, seq, selection, by, started_at, due, closed_at, cancelled, .. } = recertification;
    Ok(ReportedRecertification {
        overdue: closed_at.is_none() && due <= period.until,
        started: read.entry_ref(seq)?,
        closed: entries.closed,
        items,
        recertification: RecertificationView {
            id,
            selection,
            by,
            started_at,
            due,
            closed_at,
            cancelled,
            counts,
            waiting_for_you: 0,
            items: Vec::new(),
        },
    })
}

/// Whether it was still held at the end of the period.
fn is_held(
    read: &Read<'_>,
    past: &PastState,
    period: &Period,
    recertification: &Recertification,
    item: &ItemToReview,
) -> Result<bool, Error> {
    let Some(id) = item.held.request() else {
        let holder = past.principal(read, &item.member)?;
        return Ok(holder.is_some_and(|holder| item.is_in_team_of(&holder, recertification.seq)));
    };
    let grant = read.request(id)?.and_then(|request| request.grant);
    Ok(grant.is_some_and(|grant| {
        let was_ended = grant.ended.is_some_and(|ended| ended.at <= period.until);
        !was_ended && grant.ends_at.is_none_or(|end| end > period.until)
    }))
}
