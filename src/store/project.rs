//! Applies events to the tables, which nothing else changes.

use std::collections::BTreeMap;

use rusqlite::{Params, params};
use serde::Serialize;

use super::{Error, Write};
use crate::domain::catalog::Scope;
use crate::domain::duration::Length;
use crate::domain::event::{Approval, Entry, Event, Granted, Revision, Submission};
use crate::domain::member::{Login, Member};
use crate::domain::name::{Name, RuleName};
use crate::domain::preference::{Policy, Preference};
use crate::domain::request::{Review, Verdict};
use crate::domain::team::Group;
use crate::domain::team::change::{Change, Diff};
use crate::domain::terms::{End, RequestDetails, RequestId};
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;

pub fn project(write: &Write<'_>, entry: &Entry) -> Result<(), Error> {
    match &entry.event {
        Event::TeamInitialized { changes } | Event::TeamApplied { changes } => {
            let kept = remove_changed_members(write, changes)?;
            for change in changes {
                project_change(write, &kept, entry.seq, entry.at, change)?;
            }
            write.reorder_rules(changes)?;
        }
        Event::RequestSubmitted(submission) => submit(write, entry, submission)?,
        Event::RequestEdited(Revision { request, from, to, lapses_at, remind_at, .. }) => {
            edit(write, *request, from, to, *lapses_at, *remind_at)?;
        }
        Event::RequestApproved(approval) => approve(write, entry, approval)?,
        Event::RequestDenied { request, by, reason } => {
            decide(write, entry, *request, by, Verdict::Deny, reason.as_ref(), None)?;
            set_state(write, *request, "denied")?;
        }
        Event::RequestWithdrawn { request, .. } => set_state(write, *request, "withdrawn")?,
        Event::RequestLapsed { request, .. } => set_state(write, *request, "lapsed")?,
        Event::RequestReminded { request } => {
            one(write, "UPDATE request SET remind_at = NULL WHERE id = ?1", [request.get()])?;
        }
        Event::RequestRejudged { .. } => {}
        Event::ApprovalsVoided { request, voids, .. } => void_approvals(write, *request, voids)?,
        Event::RequestReviewed { request, by, note } => {
            let review = Review { by: by.clone(), note: note.clone(), at: entry.at };
            let sql = "UPDATE request SET review = ?2 WHERE id = ?1 AND emergency AND review IS NULL";
            one(write, sql, params![request.get(), to_json(&review)?])?;
        }
        Event::GrantScheduled(granted) => grant(write, granted, false)?,
        Event::GrantStarted(granted) => {
            let sql = "UPDATE grant SET begun = 1 WHERE request = ?1 AND NOT begun";
            if write.conn().prepare_cached(sql)?.execute([granted.request.get()])? == 0 {
                grant(write, granted, true)?;
            }
        }
        Event::GrantExpiring { request, .. } => {
            one(write, "UPDATE grant SET warned = 1 WHERE request = ?1", [request.get()])?;
        }
        Event::GrantExpired { request, ended_at, .. } => end_grant(write, *request, *ended_at, None)?,
        Event::GrantRevoked { request, by, .. } => {
            end_grant(write, *request, entry.at, Some(by.as_ref().map_or("", Name::as_str)))?;
        }
        Event::AttemptRefused { .. }
        | Event::DriftOmitted(_)
        | Event::CheckpointKeyAdded { .. }
        | Event::CheckpointTaken { .. }
        | Event::Void => {}
        // Otherwise the last run of `expire` would keep the latest recorded time in the future, and messages would wait until
        // then.
        Event::ClockAccepted { .. } => {
            one(write, "UPDATE team SET expire_ran_at = ?1", [entry.at.unix()])?;
            many(write, "UPDATE outbox SET due_at = ?1 WHERE due_at > ?1", [entry.at.unix()])?;
        }
        Event::PreferenceChanged { member, to, .. } => change_preference(write, entry.at, member, to)?,
        Event::GrantProvisioned(_)
        | Event::GrantDeprovisioned(_)
        | Event::ProvisioningFailed(_)
        | Event::DriftFound(_)
        | Event::DriftResolved(_) => write.project_provisioning(entry)?,
        Event::CertificateIssued(certificate) => write.put_certificate(entry, certificate)?,
        Event::SessionOpened(opened) => write.project_opened_session(entry, opened)?,
        Event::SessionClosed(closed) => write.project_closed_session(entry, closed)?,
        Event::RecertificationStarted(started) => write.start_recertification(entry, started)?,
        Event::RecertificationDecided(decision) => write.decide_item(entry, decision)?,
        Event::RecertificationReminded { recertification } => write.note_reminder(*recertification)?,
        Event::RecertificationClosed(closed) => write.close_recertification(entry, closed)?,
        Event::RecertificationCancelled { recertification, cancellation } => {
            write.cancel_recertification(entry, *recertification, cancellation)?;
        }
    }
    Ok(())
}

/// Runs a statement that must change exactly one row. Anything else is a bug, and rolls the transaction back.
pub(super) fn one(write: &Write<'_>, sql: &str, params: impl Params) -> Result<(), Error> {
    match write.conn().prepare_cached(sql)?.execute(params)? {
        1 => Ok(()),
        rows => Err(Error::Internal { message: format!("{rows} rows changed instead of one by {sql}") }),
    }
}

fn many(write: &Write<'_>, sql: &str, params: impl Params) -> Result<(), Error> {
    write.conn().prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn length(end: End) -> Option<i64> {
    match end {
        End::After(length) => Some(Length::seconds(length)),
        End::Never | End::At(_) => None,
    }
}

fn until(end: End) -> Option<i64> {
    end.until().map(Timestamp::unix)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal { message: error.to_string() })
}

fn submit(write: &Write<'_>, entry: &Entry, submission: &Submission) -> Result<(), Error> {
    let Submission {
        request,
        requester,
        filed_by,
        requester_login,
        filer_login,
        details: RequestDetails { asked, reason, ticket },
        lapses_at,
        remind_at,
        extends,
        emergency,
    } = submission;
    one(
        write,
        "INSERT INTO request (id, state, requester, filed_by, resource, length, until, start, reason, ticket,
                 submitted_at, lapses_at, remind_at, extends, emergency, seq, requester_login, filer_login)
             VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        params![
            request.get(),
            requester.as_str(),
            filed_by.as_str(),
            asked.resource.to_string(),
            length(asked.end),
            until(asked.end),
            asked.start.map(Timestamp::unix),
            reason.as_str(),
            ticket.as_ref().map(Ticket::as_str),
            entry.at.unix(),
            lapses_at.unix(),
            remind_at.map(Timestamp::unix),
            extends.map(RequestId::get),
            emergency,
            entry.seq,
            requester_login.as_ref().map(Login::as_str),
            filer_login.as_ref().map(Login::as_str)
        ],
    )
}

fn approve(write: &Write<'_>, entry: &Entry, approval: &Approval) -> Result<(), Error> {
    let Approval { request, by, terms, asked, note, voids, signature } = approval;
    void_approvals(write, *request, voids)?;
    let put = asked.as_ref().map(|_| to_json(terms)).transpose()?;
    decide(write, entry, *request, by, Verdict::Approve, note.as_ref(), put)?;
    let Some(signature) = signature else { return Ok(()) };
    let sql = "UPDATE decision SET signed_with = ?3 WHERE request = ?1 AND seq = ?2";
    one(write, sql, params![request.get(), entry.seq, signature.key().as_str()])
}

fn void_approvals(write: &Write<'_>, request: RequestId, of: &[Name]) -> Result<(), Error> {
    for name in of {
        let sql = "UPDATE decision SET counts = 0 WHERE request = ?1 AND by = ?2 AND verdict = 'approve' AND counts";
        many(write, sql, params![request.get(), name.as_str()])?;
    }
    Ok(())
}

fn change_preference(write: &Write<'_>, at: Timestamp, member: &Name, to: &Preference) -> Result<(), Error> {
    let body = if to.is_empty() { None } else { Some(to_json(to)?) };
    one(write, "UPDATE member SET preference = ?2 WHERE name = ?1", params![member.as_str(), body])?;
    write.reconsider(Some(member), at)
}

/// Does in SQL what `Request::apply_edit` does: changes a pending request and voids all its approvals. Approvals of the terms
/// requested so far now name them.
fn edit(
    write: &Write<'_>,
    request: RequestId,
    from: &RequestDetails,
    to: &RequestDetails,
    lapses_at: Timestamp,
    remind_at: Option<Timestamp>,
) -> Result<(), Error> {
    let sql = "UPDATE decision SET counts = 0 WHERE request = ?1 AND verdict = 'approve' AND counts";
    many(write, sql, [request.get()])?;
    if from.asked != to.asked {
        let sql = "UPDATE decision SET terms = ?2 WHERE request = ?1 AND verdict = 'approve' AND terms IS NULL";
        many(write, sql, params![request.get(), to_json(&from.asked)?])?;
    }
    one(
        write,
        "UPDATE request SET length = ?2, until = ?3, start = ?4, reason = ?5, ticket = ?6, lapses_at = ?7, remind_at = ?8
         WHERE id = ?1 AND state = 'pending'",
        params![
            request.get(),
            length(to.asked.end),
            until(to.asked.end),
            to.asked.start.map(Timestamp::unix),
            to.reason.as_str(),
            to.ticket.as_ref().map(Ticket::as_str),
            lapses_at.unix(),
            remind_at.map(Timestamp::unix),
        ],
    )
}

fn grant(write: &Write<'_>, granted: &Granted, begun: bool) -> Result<(), Error> {
    one(
        write,
        "INSERT INTO grant (request, member, resource, length, until, start, modified, starts_at, ends_at, by_rule, begun,
             reviewers)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            granted.request.get(),
            granted.member.as_str(),
            granted.resource.to_string(),
            length(granted.end),
            until(granted.end),
            granted.start.map(Timestamp::unix),
            granted.modified,
            granted.starts_at.unix(),
            granted.ends_at.map(Timestamp::unix),
            granted.by_rule.as_ref().map(RuleName::as_str),
            begun,
            granted.reviewers.as_ref().map(to_json).transpose()?
        ],
    )?;
    set_state(write, granted.request, "approved")
}

/// Sets the state of a pending request. No other state can change.
fn set_state(write: &Write<'_>, request: RequestId, state: &str) -> Result<(), Error> {
    let sql = "UPDATE request SET state = ?2 WHERE id = ?1 AND state = 'pending'";
    one(write, sql, params![request.get(), state])
}

/// Records the end of a grant, once. `by` is who revoked it (empty for root), or None if it expired.
fn end_grant(write: &Write<'_>, request: RequestId, at: Timestamp, by: Option<&str>) -> Result<(), Error> {
    let sql = "UPDATE grant SET ended_at = ?2, ended_by = ?3 WHERE request = ?1 AND ended_at IS NULL";
    one(write, sql, params![request.get(), at.unix(), by])
}

fn decide(
    write: &Write<'_>,
    entry: &Entry,
    request: RequestId,
    by: &Name,
    verdict: Verdict,
    note: Option<&Text>,
    terms: Option<String>,
) -> Result<(), Error> {
    let sql = "INSERT INTO decision (request, seq, by, verdict, at, note, terms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let note = note.map(Text::as_str);
    one(write, sql, params![request.get(), entry.seq, by.as_str(), verdict.as_str(), entry.at.unix(), note, terms])
}

fn project_change(write: &Write<'_>, kept: &Kept<'_>, seq: i64, at: Timestamp, change: &Change) -> Result<(), Error> {
    match change {
        Change::Team(diff) => match diff.after() {
            Some(header) => one(
                write,
                "INSERT INTO team (only, name, last_seq, offline_for) VALUES (1, ?1, 0, ?2)
                 ON CONFLICT (only) DO UPDATE SET name = ?1, offline_for = ?2",
                params![header.name.as_str(), header.offline_for.map(|limit| limit.to_string())],
            ),
            None => Err(Error::Internal { message: "a team can't be removed".to_owned() }),
        },
        Change::Member(name, diff) => match diff.after() {
            Some(member) => put_member(write, seq, kept.get(name), name, member),
            None => Ok(()),
        },
        Change::Group(name, diff) => project_group(write, name, diff),
        Change::Connection(name, diff) => project_catalogued(write, "connection", name.as_str(), diff),
        Change::Target(name, diff) => project_catalogued(write, "target", name.as_str(), diff),
        Change::Feature(name, diff) => project_catalogued(write, "feature", name.as_str(), diff),
        Change::Scope(name, diff) => project_scope(write, name, diff),
        Change::Host(name, diff) => project_catalogued(write, "host", name.as_str(), diff),
        Change::Rule(name, diff) => {
            project_catalogued(write, "rule", name.as_str(), diff)?;
            write.put_rule(name, diff)
        }
        // `reorder_rules` handles all changes at once.
        Change::RuleOrder(_) => Ok(()),
        Change::Binding(diff) => project_catalogued(write, "binding", &diff.either().to_string(), diff),
        Change::Notifications(diff) => project_policy(write, seq, at, diff.after()),
    }
}

fn project_catalogued<T: Serialize>(write: &Write<'_>, kind: &str, name: &str, diff: &Diff<T>) -> Result<(), Error> {
    match diff {
        Diff::Add { to } => one(write, "INSERT INTO catalogue VALUES (?1, ?2, ?3)", params![kind, name, to_json(to)?]),
        Diff::Change { to, .. } => one(
            write,
            "UPDATE catalogue SET body = ?3 WHERE kind = ?1 AND name = ?2",
            params![kind, name, to_json(to)?],
        ),
        Diff::Remove { .. } => one(write, "DELETE FROM catalogue WHERE kind = ?1 AND name = ?2", params![kind, name]),
    }
}

/// Deletes the rows of all members that change, before any is inserted again: logins are unique, and a team file may swap two.
/// Returns what has to be kept of them.
fn remove_changed_members<'c>(write: &Write<'_>, changes: &'c [Change]) -> Result<Kept<'c>, Error> {
    let mut kept = Kept::new();
    for change in changes {
        if let Change::Member(name, diff @ (Diff::Change { .. } | Diff::Remove { .. })) = change {
            let sql = "DELETE FROM member WHERE name = ?1 RETURNING since, preference";
            let row =
                write.conn().prepare_cached(sql)?.query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if diff.is_same_person() {
                kept.insert(name, row);
            }
        }
    }
    Ok(kept)
}

/// For each deleted member who stays the same person: the entry that added them, and their preferences.
type Kept<'c> = BTreeMap<&'c Name, (i64, Option<String>)>;

fn put_member(
    write: &Write<'_>,
    seq: i64,
    kept: Option<&(i64, Option<String>)>,
    name: &Name,
    member: &Member,
) -> Result<(), Error> {
    let (since, preference) = kept.map_or((seq, None), |(since, preference)| (*since, preference.as_deref()));
    one(
        write,
        "INSERT INTO member (name, role, login, addresses, timezone, disabled, auditor, ssh_keys, since, preference)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            name.as_str(),
            member.role.as_str(),
            member.login.as_str(),
            to_json(&member.addresses)?,
            member.timezone.as_ref().map(|zone| zone.as_str()),
            member.disabled,
            member.auditor,
            (!member.ssh_keys.is_empty()).then(|| to_json(&member.ssh_keys)).transpose()?,
            since,
            preference
        ],
    )
}

fn project_policy(write: &Write<'_>, seq: i64, at: Timestamp, policy: Option<&Policy>) -> Result<(), Error> {
    one(write, "UPDATE team SET policy = ?1", [policy.map(to_json).transpose()?])?;
    let channels = policy.iter().flat_map(|policy| policy.channels.keys());
    write.subscribe_channels(channels, seq - 1)?;
    write.reconsider(None, at)
}

fn project_group(write: &Write<'_>, name: &Name, diff: &Diff<Group>) -> Result<(), Error> {
    project_catalogued(write, "group", name.as_str(), diff)?;
    many(write, "DELETE FROM membership WHERE group_name = ?1", [name.as_str()])?;
    for member in diff.after().iter().flat_map(|group| &group.members) {
        one(write, "INSERT INTO membership VALUES (?1, ?2)", [member.as_str(), name.as_str()])?;
    }
    Ok(())
}

fn project_scope(write: &Write<'_>, name: &Name, diff: &Diff<Scope>) -> Result<(), Error> {
    project_catalogued(write, "scope", name.as_str(), diff)?;
    many(write, "DELETE FROM assignment WHERE scope = ?1", [name.as_str()])?;
    for assignee in diff.after().iter().flat_map(|scope| &scope.assigned) {
        one(write, "INSERT INTO assignment VALUES (?1, ?2)", [assignee.to_string(), name.to_string()])?;
    }
    Ok(())
}
