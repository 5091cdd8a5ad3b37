//! `report`: what happened in a period, as evidence. One transaction proves the log and reads who was in the team. The requests,
//! recertifications and entries follow in pages, each in a short transaction of its own, and none of them is newer than that proof.

mod recertifications;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::snapshot::{PastState, request_then};
use super::verify::verify;
use super::{Call, Problem, Rows, Service};
use crate::domain::audit;
use crate::domain::entry_ref::EntryRef;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::{Request, authorize};
use crate::domain::team::Team;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{AuditFilter, EntryView, ReportOpening, ReportRow, ReportedMember, ReportedRequest, RequestView};
use crate::store::{Error, Moment, Page, Period, Read};

/// The actions whose entries concern no request, or an attempt, and that a report shows.
const SHOWN: [&str; 4] = ["team.initialized", "team.applied", "clock.accepted", "attempt.refused"];
const PAGE: usize = 500;

/// What happened in a period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeriodReport {
    pub since: Timestamp,
    /// None: now.
    pub until: Option<Timestamp>,
}

impl Call for PeriodReport {
    const NAME: &'static str = "PeriodReport";

    type Row = ReportRow;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, ReportRow>) -> Result<(), Failure> {
        let OpenedReport { opening, members, period, past } = service.ask("report", |read, me, now| {
            may_read(me, now)?;
            Ok(open(service, read, &self, me, now)?)
        })?;
        rows(ReportRow::Opening(Box::new(opening)))?;
        for member in members {
            rows(ReportRow::Member(Box::new(member)))?;
        }
        let mut after = 0;
        loop {
            let page = service.ask("report", |read, me, now| {
                may_read(me, now)?;
                Ok(requests(read, &period, after)?)
            })?;
            for (request, entries) in page.rows {
                after = request.id.get();
                let request = RequestView::at(request, &[], period.until);
                rows(ReportRow::Request(Box::new(ReportedRequest { request, entries })))?;
            }
            if page.last {
                break;
            }
        }
        if let Some(past) = &past {
            recertifications::each(service, &period, past, rows)?;
        }
        SHOWN.into_iter().try_for_each(|action| entries_of(service, &period, action, rows))
    }
}

/// Who may read it: those who may read the whole log.
fn may_read(me: &Principal, now: Timestamp) -> Result<(), Problem> {
    Ok(authorize::needs_auditor(me, "make a report", now)?)
}

/// A page of requests, each as it was at the end of the period.
fn requests(read: &Read<'_>, period: &Period, after: i64) -> Result<Page<(Request, Vec<EntryRef>)>, Error> {
    let page = read.requests_of_period(period, after)?;
    // Where nothing was recorded since, it is as it was.
    if period.last == read.head()?.seq {
        return Ok(page);
    }
    let moment = Moment { at: period.until, last: period.last };
    let mut rows = Vec::with_capacity(page.rows.len());
    for (today, entries) in page.rows {
        let id = today.id;
        let then = request_then(read, today, moment)?;
        rows.push((then.ok_or_else(|| Error::damaged(format!("no entry files request {id}")))?, entries));
    }
    Ok(Page { rows, last: page.last })
}

struct OpenedReport {
    opening: ReportOpening,
    members: Vec<ReportedMember>,
    period: Period,
    /// The team at the end of the period. None: the log begins later.
    past: Option<PastState>,
}

fn open(
    service: &Service<'_>,
    read: &Read<'_>,
    report: &PeriodReport,
    me: &Principal,
    now: Timestamp,
) -> Result<OpenedReport, Error> {
    let until = report.until.map_or(now, |until| until.min(now));
    let period = read.period(report.since.min(until), until)?;
    let past = PastState::of(read, until)?;
    let members = past.as_ref().map(|past| members(read, past, &period)).transpose()?.unwrap_or_default();
    let entries = read.entries_in(&period)?;
    let opening = ReportOpening {
        since: period.since,
        until,
        made_by: me.name.clone(),
        first: read.first_entry_ref()?,
        last_at: read.head()?.at,
        checkpoint: service.checkpoint(read, now)?,
        verify: verify(read, &[])?,
        entries: entries.count,
        ends: entries.ends,
    };
    Ok(OpenedReport { opening, members, period, past })
}

fn members(read: &Read<'_>, past: &PastState, period: &Period) -> Result<Vec<ReportedMember>, Error> {
    let team = &past.team().team;
    let entry_of = |seq: i64| read.entry_ref(seq);
    let mut scopes = assigned(team);
    let members = team.members.iter().map(|(name, member)| {
        Ok(ReportedMember {
            role: member.role,
            auditor: member.auditor,
            disabled: member.disabled,
            scopes: scopes.remove(name).unwrap_or_default(),
            since: entry_of(past.team().since(name).unwrap_or_default())?,
            last_act: read.last_act(name, period)?,
            last_session: read.last_session(name, period)?.map(entry_of).transpose()?,
            name: name.clone(),
        })
    });
    members.collect()
}

/// The scopes that the team file assigns to each member.
fn assigned(team: &Team) -> BTreeMap<Name, Vec<Name>> {
    let mut scopes: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for (scope, assigned) in &team.scopes {
        for member in team.approvers(&assigned.assigned, false) {
            scopes.entry(member.clone()).or_default().push(scope.clone());
        }
    }
    scopes
}

/// The entries of one action in the period, newest first.
fn entries_of(service: &Service<'_>, period: &Period, action: &str, rows: Rows<'_, ReportRow>) -> Result<(), Failure> {
    let filter = AuditFilter {
        action: Some(action.to_owned()),
        since: Some(period.since),
        until: Some(period.until),
        ..AuditFilter::default()
    };
    let mut before = period.last + 1;
    loop {
        let page = service.ask("report", |read, me, now| {
            may_read(me, now)?;
            Ok(read.entries_before(&filter, before, PAGE)?)
        })?;
        for (entry, hash) in page.rows {
            before = entry.seq;
            rows(ReportRow::Entry(Box::new(EntryView::of(entry, audit::hex(&hash)))))?;
        }
        if page.last {
            return Ok(());
        }
    }
}
