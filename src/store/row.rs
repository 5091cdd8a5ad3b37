//! Reads domain values from columns. A value that does not parse means that the database is damaged.

use std::str::FromStr;

use rusqlite::Row;
use serde::de::DeserializeOwned;

use super::Error;
use crate::domain::duration::Length;
use crate::domain::grant::{Ended, EndedHow, Grant};
use crate::domain::member::Member;
use crate::domain::request::{Decision, Recorded, Request, Verdict};
use crate::domain::terms::{End, RequestDetails, RequestId, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// The columns of each kind of row, in the order in which the functions below read them.
pub const REQUEST: &str = "r.id, r.state, r.requester, r.filed_by, r.resource, r.length, r.until, r.start, \
     r.reason, r.ticket, r.submitted_at, r.lapses_at, r.remind_at, r.extends, r.emergency, r.review, \
     r.seq, r.requester_login, r.filer_login";
pub const GRANT: &str = "g.request, g.member, g.resource, g.length, g.until, g.start, g.modified, g.starts_at, \
     g.ends_at, g.by_rule, g.begun, g.warned, g.ended_at, g.ended_by, g.reviewers";
pub const DECISION: &str = "by, verdict, at, note, terms, counts, seq, request, signed_with";
pub const MEMBER: &str = "role, login, addresses, timezone, disabled, auditor, ssh_keys";
const REQUEST_COLUMNS: usize = 19;
pub const GRANT_COLUMNS: usize = 15;

pub fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    let text = row.get_ref(column)?.as_str().map_err(Error::damaged)?;
    text.parse().map_err(|why| Error::damaged(format!("{text:?} is not valid: {why}")))
}

pub fn maybe_parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<Option<T>, Error>
where
    T::Err: std::fmt::Display,
{
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Error> {
    let text = row.get_ref(column)?.as_str().map_err(Error::damaged)?;
    serde_json::from_str(text).map_err(Error::damaged)
}

pub fn maybe_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>, Error> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => json(row, column).map(Some),
    }
}

pub fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Error> {
    Timestamp::from_unix(row.get(column)?).map_err(Error::damaged)
}

pub fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Error> {
    row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix).transpose().map_err(Error::damaged)
}

pub fn request_id(row: &Row<'_>, column: usize) -> Result<RequestId, Error> {
    RequestId::try_from(row.get::<_, i64>(column)?).map_err(Error::damaged)
}

/// The terms, in the columns `resource, length, until, start` from this one on.
fn terms(row: &Row<'_>, column: usize) -> Result<Terms, Error> {
    let end = match (row.get::<_, Option<i64>>(column + 1)?, maybe_time(row, column + 2)?) {
        (None, None) => End::Never,
        (Some(seconds), None) => End::After(Length::from_seconds(seconds).map_err(Error::damaged)?),
        (None, Some(until)) => End::At(until),
        (Some(_), Some(_)) => return Err(Error::damaged("terms with both a length and an end")),
    };
    Ok(Terms { resource: parsed(row, column)?, end, start: maybe_time(row, column + 3)? })
}

/// A member, in the columns of `MEMBER` from this one on.
pub fn member(row: &Row<'_>, column: usize) -> Result<Member, Error> {
    Ok(Member {
        role: parsed(row, column)?,
        login: parsed(row, column + 1)?,
        addresses: json(row, column + 2)?,
        timezone: maybe_parsed(row, column + 3)?,
        disabled: row.get(column + 4)?,
        auditor: row.get(column + 5)?,
        ssh_keys: maybe_json(row, column + 6)?.unwrap_or_default(),
    })
}

/// A grant, in the columns of `GRANT` from this one on. None if a left join found none.
pub fn maybe_grant(row: &Row<'_>, column: usize) -> Result<Option<Grant>, Error> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => grant(row, column).map(Some),
    }
}

pub fn grant(row: &Row<'_>, column: usize) -> Result<Grant, Error> {
    // An empty text means that root, who may not be a member, revoked it.
    let how = match row.get_ref(column + 13)?.as_str_or_null().map_err(Error::damaged)? {
        None => EndedHow::Expired,
        Some("") => EndedHow::Revoked { by: None },
        Some(_) => EndedHow::Revoked { by: Some(parsed(row, column + 13)?) },
    };
    Ok(Grant {
        request: request_id(row, column)?,
        member: parsed(row, column + 1)?,
        terms: terms(row, column + 2)?,
        modified: row.get(column + 6)?,
        starts_at: time(row, column + 7)?,
        ends_at: maybe_time(row, column + 8)?,
        by_rule: maybe_parsed(row, column + 9)?,
        reviewers: maybe_json(row, column + 14)?,
        begun: row.get(column + 10)?,
        warned: row.get(column + 11)?,
        ended: maybe_time(row, column + 12)?.map(|at| Ended { at, how }),
    })
}

/// A request without its decisions, in the columns of `REQUEST` and `GRANT` from this one on.
pub fn request(row: &Row<'_>, column: usize) -> Result<Request, Error> {
    let recorded = match row.get_ref(column + 1)?.as_str().map_err(Error::damaged)? {
        "pending" => Recorded::Pending,
        "approved" => Recorded::Approved,
        "denied" => Recorded::Denied,
        "withdrawn" => Recorded::Withdrawn,
        "lapsed" => Recorded::Lapsed,
        other => return Err(Error::damaged(format!("a request in the state {other:?}"))),
    };
    Ok(Request {
        id: request_id(row, column)?,
        recorded,
        requester: parsed(row, column + 2)?,
        filed_by: parsed(row, column + 3)?,
        details: RequestDetails {
            asked: terms(row, column + 4)?,
            reason: parsed(row, column + 8)?,
            ticket: maybe_parsed(row, column + 9)?,
        },
        submitted_at: time(row, column + 10)?,
        lapses_at: time(row, column + 11)?,
        remind_at: maybe_time(row, column + 12)?,
        extends: match row.get::<_, Option<i64>>(column + 13)? {
            Some(id) => Some(RequestId::try_from(id).map_err(Error::damaged)?),
            None => None,
        },
        emergency: row.get(column + 14)?,
        review: maybe_json(row, column + 15)?,
        // A request that no entry filed is older than every member.
        seq: row.get::<_, Option<i64>>(column + 16)?.unwrap_or(0),
        requester_login: maybe_parsed(row, column + 17)?,
        filer_login: maybe_parsed(row, column + 18)?,
        decisions: Vec::new(),
        grant: maybe_grant(row, column + REQUEST_COLUMNS)?,
    })
}

/// A decision, in the columns of `DECISION` from this one on.
pub fn decision(row: &Row<'_>, column: usize) -> Result<Decision, Error> {
    let verdict = match row.get_ref(column + 1)?.as_str().map_err(Error::damaged)? {
        "approve" => Verdict::Approve,
        "deny" => Verdict::Deny,
        other => return Err(Error::damaged(format!("a decision {other:?}"))),
    };
    Ok(Decision {
        seq: row.get(column + 6)?,
        by: parsed(row, column)?,
        verdict,
        at: time(row, column + 2)?,
        note: maybe_parsed::<Text>(row, column + 3)?,
        terms: maybe_json(row, column + 4)?,
        counts: row.get(column + 5)?,
        signed_with: maybe_parsed(row, column + 8)?,
    })
}
