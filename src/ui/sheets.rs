//! A report as CSV: a file for each section, with flat columns. The files have everything that the report counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::csv;
use crate::domain::describe::words;
use crate::domain::entry_ref::EntryRef;
use crate::domain::event::Event;
use crate::domain::grant::State;
use crate::domain::request::Verdict;
use crate::domain::team::difference;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::protocol::{
    DecisionView, EntryView, FaultView, ItemCounts, RecertificationView, ReportRow, ReportedItem, ReportedMember,
    ReportedRecertification, RequestView, ReviewView,
};
use crate::report::{Evidence, Facts, FiguresView, asked, given};

const GRANTS: &str = "grants.csv";
const REQUESTS: &str = "requests.csv";
const EMERGENCIES: &str = "emergencies.csv";
const PERMANENT: &str = "permanent.csv";
const DENIED: &str = "denied.csv";
const REFUSED: &str = "refused.csv";
const RECERTIFICATIONS: &str = "recertifications.csv";
const ITEMS: &str = "recertification-items.csv";
const TEAM_CHANGES: &str = "team-changes.csv";
const VERIFICATION: &str = "verification.csv";
const MEMBERS: &str = "members.csv";
const SUMMARY: &str = "summary.csv";
const ENTRIES: &str = "entries.csv";

/// The files, each with its columns.
pub const FILES: [(&str, &str); 13] = [
    (SUMMARY, "figure,value"),
    (
        GRANTS,
        "request,member,resource,scope,reason,ticket,asked,granted,modified,approvers,rule,emergency,granted_at,starts_at,ends_at,ended_at,ended_by,state,held_seconds_in_period,entries",
    ),
    (
        REQUESTS,
        "request,requester,filed_by,resource,reason,ticket,asked,granted,state,submitted_at,approvers,denied_by,rule,decided_at,seconds_to_decision,emergency,extends,entries",
    ),
    (
        EMERGENCIES,
        "request,member,resource,reason,ticket,taken_at,ended_at,review,reviewed_by,reviewed_at,note,entries",
    ),
    (PERMANENT, "request,member,resource,reason,ticket,approvers,rule,starts_at,ended_at,ended_by,state,entries"),
    (DENIED, "request,requester,resource,reason,ticket,asked,denied_by,denied_at,note,entries"),
    (REFUSED, "seq,at,actor,os_user,command,request,why"),
    (
        RECERTIFICATIONS,
        "recertification,what,started_by,started_at,due,closed_at,cancelled_by,cancelled_because,overdue,kept,revoked,not_kept,ended,waiting,started_seq,closed_seq",
    ),
    (ITEMS, "item,member,holds,request,state,reviewers,decided_by,decided_at,reason,still_in_team_file,decided_seq"),
    (TEAM_CHANGES, "seq,at,actor,os_user,what,change"),
    (VERIFICATION, "seq,kind,problem"),
    (
        MEMBERS,
        "member,role,auditor,disabled,scopes,grants,last_act_at,last_act,last_act_seq,last_session_at,last_session_seq,since_at,since_seq,used",
    ),
    (ENTRIES, "seq,at,actor,action,request"),
];

pub struct Sheets<W> {
    files: BTreeMap<&'static str, W>,
    /// The entries of decisions on grants that are written with their requests.
    reviewed: BTreeSet<i64>,
}

impl<W: Write> Sheets<W> {
    /// `create`: makes the file of a name.
    pub fn create(mut create: impl FnMut(&str) -> io::Result<W>) -> io::Result<Sheets<W>> {
        let mut files = BTreeMap::new();
        for (name, columns) in FILES {
            let mut file = create(name)?;
            write!(file, "{columns}\r\n")?;
            files.insert(name, file);
        }
        Ok(Sheets { files, reviewed: BTreeSet::new() })
    }

    /// Writes what a row is about. `since`, `until`: the period.
    pub fn row(&mut self, row: &ReportRow, since: Timestamp, until: Timestamp) -> io::Result<()> {
        match row {
            ReportRow::Request(reported) => self.request(&Facts::of(reported, since, until)),
            ReportRow::Recertification(found) => self.recertification(found),
            ReportRow::Entry(entry) => self.entry(entry),
            ReportRow::Opening(_) | ReportRow::Member(_) => Ok(()),
        }
    }

    /// Writes what is known at the end. Gives the files, for the caller to close.
    pub fn close(mut self, evidence: &Evidence) -> io::Result<impl Iterator<Item = W>> {
        let value = serde_json::to_value(FiguresView::from(evidence))?;
        let as_of = evidence.as_of.as_ref().map(serde_json::to_value).transpose()?;
        let as_of = as_of.map(|as_of| flat("as_of", &as_of)).unwrap_or_default();
        for (key, value) in flat("", &value).into_iter().chain(as_of) {
            self.line(SUMMARY, vec![key, value])?;
        }
        let verify = &evidence.opening.verify;
        for (kind, found) in [("fault", &verify.faults), ("void", &verify.void)] {
            for FaultView { seq, problem } in found {
                self.line(VERIFICATION, vec![text(seq.as_ref()), kind.to_owned(), problem.clone()])?;
            }
        }
        for used in &evidence.members {
            let ReportedMember { name, role, auditor, disabled, scopes, since, last_act, last_session } = &used.member;
            let at = |entry: &Option<EntryRef>| entry.as_ref().map(|entry| entry.at.to_string()).unwrap_or_default();
            let seq = |entry: &Option<EntryRef>| entry.as_ref().map(|entry| entry.seq.to_string()).unwrap_or_default();
            self.line(
                MEMBERS,
                vec![
                    name.to_string(),
                    role.to_string(),
                    yes(*auditor),
                    yes(*disabled),
                    list(scopes),
                    used.grants.to_string(),
                    at(last_act),
                    last_act.as_ref().map(|entry| entry.action.clone()).unwrap_or_default(),
                    seq(last_act),
                    at(last_session),
                    seq(last_session),
                    since.at.to_string(),
                    since.seq.to_string(),
                    yes(!used.is_unused()),
                ],
            )?;
        }
        for file in self.files.values_mut() {
            file.flush()?;
        }
        Ok(self.files.into_values())
    }

    fn line(&mut self, file: &'static str, cells: Vec<String>) -> io::Result<()> {
        match self.files.get_mut(file) {
            Some(out) => csv::row(out, &cells),
            None => Err(io::Error::other("there is no such sheet")),
        }
    }

    fn request(&mut self, facts: &Facts<'_>) -> io::Result<()> {
        let is_request =
            facts.is_filed || facts.decided.is_some() || facts.is_undecided || facts.request.state == State::Pending;
        let is_emergency = facts.is_emergency() || facts.owes_review();
        if is_request {
            self.line(REQUESTS, request(facts))?;
        }
        if facts.held.is_some() {
            self.line(GRANTS, grant(facts))?;
            if facts.is_permanent() {
                self.line(PERMANENT, permanent(facts))?;
            }
        }
        if is_emergency {
            self.line(EMERGENCIES, emergency(facts))?;
        }
        if facts.is_denied() {
            self.line(DENIED, denied(facts))?;
        }
        if is_request || is_emergency || facts.held.is_some() {
            facts.entries.iter().try_for_each(|entry| self.cited(entry, Some(facts.request.id)))?;
            let decisions = facts.entries.iter().filter(|entry| entry.action == "recertification.decided");
            self.reviewed.extend(decisions.map(|entry| entry.seq));
        }
        Ok(())
    }

    fn recertification(&mut self, found: &ReportedRecertification) -> io::Result<()> {
        let ReportedRecertification { recertification, overdue, started, closed, items } = found;
        let RecertificationView { id, selection, by, started_at, due, closed_at, cancelled, counts, .. } =
            recertification;
        let ItemCounts { waiting, kept, revoked, not_kept, ended } = counts;
        let counts = [kept, revoked, not_kept, ended, waiting].map(u64::to_string);
        let head = [
            id.to_string(),
            selection.to_string(),
            by.to_string(),
            started_at.to_string(),
            due.to_string(),
            text(closed_at.as_ref()),
            text(cancelled.as_ref().map(|it| &it.by)),
            text(cancelled.as_ref().map(|it| &it.reason)),
            yes(*overdue),
        ];
        let entries = [started.seq.to_string(), text(closed.as_ref().map(|entry| entry.seq).as_ref())];
        self.line(RECERTIFICATIONS, head.into_iter().chain(counts).chain(entries).collect())?;
        for cited in [Some(started), closed.as_ref()].into_iter().flatten() {
            self.cited(cited, None)?;
        }
        for ReportedItem { item, decided } in items {
            let cells = vec![
                item.id.to_string(),
                item.member.to_string(),
                item.held.without_request(),
                text(item.held.request().as_ref()),
                item.state.in_words().to_owned(),
                list(&item.reviewers),
                text(item.decided_by.as_ref()),
                text(item.decided_at.as_ref()),
                text(item.reason.as_ref()),
                yes(item.team_change.is_some()),
                text(decided.as_ref().map(|entry| entry.seq).as_ref()),
            ];
            self.line(ITEMS, cells)?;
            let unwritten = decided.iter().filter(|entry| !self.reviewed.contains(&entry.seq)).collect::<Vec<_>>();
            unwritten.into_iter().try_for_each(|entry| self.cited(entry, item.held.request()))?;
        }
        Ok(())
    }

    /// A row for an entry that other rows name.
    fn cited(&mut self, entry: &EntryRef, request: Option<RequestId>) -> io::Result<()> {
        let EntryRef { seq, at, actor, action } = entry;
        let cells = [seq.to_string(), at.to_string(), text(actor.as_ref()), action.clone(), text(request.as_ref())];
        self.line(ENTRIES, cells.into())
    }

    fn entry(&mut self, entry: &EntryView) -> io::Result<()> {
        let by = [entry.seq.to_string(), entry.at.to_string(), text(entry.actor.as_ref()), entry.os_user.clone()];
        match &entry.event {
            Event::AttemptRefused { command, request, why } => {
                let cells = by.into_iter().chain([command.clone(), text(request.as_ref()), why.clone()]);
                self.line(REFUSED, cells.collect())?;
            }
            Event::TeamApplied { changes } | Event::TeamInitialized { changes } => {
                for change in changes {
                    let cells = by.clone().into_iter().chain([change.what(), difference::one(change)]);
                    self.line(TEAM_CHANGES, cells.collect())?;
                }
            }
            other => {
                let cells = by.into_iter().chain([other.action().to_owned(), words(other, entry.actor.as_ref(), None)]);
                self.line(TEAM_CHANGES, cells.collect())?;
            }
        }
        let action = entry.event.action().to_owned();
        let actor = text(entry.actor.as_ref());
        self.line(
            ENTRIES,
            vec![entry.seq.to_string(), entry.at.to_string(), actor, action, text(entry.request.as_ref())],
        )
    }
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Several values in one cell.
fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join("; ")
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// The numbers of the entries, with spaces between.
fn entries(facts: &Facts<'_>) -> String {
    facts.entries.iter().map(|entry| entry.seq.to_string()).collect::<Vec<_>>().join(" ")
}

/// The last denial.
fn denial<'f>(facts: &Facts<'f>) -> Option<&'f DecisionView> {
    facts.request.decisions.iter().rev().find(|decision| decision.verdict == Verdict::Deny)
}

fn request(facts: &Facts<'_>) -> Vec<String> {
    let RequestView { id, requester, filed_by, resource, reason, ticket, state, submitted_at, extends, .. } =
        facts.request;
    let grant = facts.request.grant.as_ref();
    vec![
        id.to_string(),
        requester.to_string(),
        filed_by.to_string(),
        resource.to_string(),
        reason.to_string(),
        text(ticket.as_ref()),
        asked(facts.request),
        grant.map(given).unwrap_or_default(),
        state.to_string(),
        submitted_at.to_string(),
        list(facts.approvers()),
        denial(facts).map(|denial| denial.by.to_string()).unwrap_or_default(),
        text(grant.and_then(|grant| grant.by_rule.as_ref())),
        text(facts.decided.map(|entry| entry.at).as_ref()),
        text(facts.wait.as_ref()),
        yes(facts.request.emergency),
        text(extends.as_ref()),
        entries(facts),
    ]
}

fn grant(facts: &Facts<'_>) -> Vec<String> {
    let RequestView { id, requester, reason, ticket, state, emergency, .. } = facts.request;
    let Some(grant) = &facts.request.grant else { return Vec::new() };
    vec![
        id.to_string(),
        requester.to_string(),
        grant.resource.to_string(),
        text(grant.scope.as_ref()),
        reason.to_string(),
        text(ticket.as_ref()),
        asked(facts.request),
        given(grant),
        yes(grant.modified),
        list(facts.approvers()),
        text(grant.by_rule.as_ref()),
        yes(*emergency),
        text(facts.granted.map(|entry| entry.at).as_ref()),
        grant.starts_at.to_string(),
        text(grant.ends_at.as_ref()),
        text(grant.ended_at.as_ref()),
        text(grant.ended_by.as_ref()),
        state.to_string(),
        facts.held_seconds().to_string(),
        entries(facts),
    ]
}

fn permanent(facts: &Facts<'_>) -> Vec<String> {
    let RequestView { id, requester, reason, ticket, state, .. } = facts.request;
    let Some(grant) = &facts.request.grant else { return Vec::new() };
    vec![
        id.to_string(),
        requester.to_string(),
        grant.resource.to_string(),
        reason.to_string(),
        text(ticket.as_ref()),
        list(facts.approvers()),
        text(grant.by_rule.as_ref()),
        grant.starts_at.to_string(),
        text(grant.ended_at.as_ref()),
        text(grant.ended_by.as_ref()),
        state.to_string(),
        entries(facts),
    ]
}

fn emergency(facts: &Facts<'_>) -> Vec<String> {
    let RequestView { id, requester, resource, reason, ticket, review, grant, .. } = facts.request;
    let review = match review {
        Some(ReviewView::Done(review)) => {
            ["done".to_owned(), review.by.to_string(), review.at.to_string(), review.note.to_string()]
        }
        Some(ReviewView::Owed(_)) => ["owed".to_owned(), String::new(), String::new(), String::new()],
        None => Default::default(),
    };
    let before = [
        id.to_string(),
        requester.to_string(),
        grant.as_ref().map_or(resource, |grant| &grant.resource).to_string(),
        reason.to_string(),
        text(ticket.as_ref()),
        text(facts.granted.map(|entry| entry.at).as_ref()),
        text(grant.as_ref().and_then(|grant| grant.ended_at.as_ref())),
    ];
    before.into_iter().chain(review).chain([entries(facts)]).collect()
}

fn denied(facts: &Facts<'_>) -> Vec<String> {
    let RequestView { id, requester, resource, reason, ticket, .. } = facts.request;
    let denial = denial(facts);
    vec![
        id.to_string(),
        requester.to_string(),
        resource.to_string(),
        reason.to_string(),
        text(ticket.as_ref()),
        asked(facts.request),
        denial.map(|denial| denial.by.to_string()).unwrap_or_default(),
        text(facts.decided.map(|entry| entry.at).as_ref()),
        text(denial.and_then(|denial| denial.note.as_ref())),
        entries(facts),
    ]
}

/// An object as keys with dots and values.
fn flat(prefix: &str, value: &serde_json::Value) -> Vec<(String, String)> {
    match value {
        serde_json::Value::Object(fields) => {
            let dot = if prefix.is_empty() { "" } else { "." };
            fields.iter().flat_map(|(key, value)| flat(&format!("{prefix}{dot}{key}"), value)).collect()
        }
        serde_json::Value::Null => vec![(prefix.to_owned(), String::new())],
        serde_json::Value::String(text) => vec![(prefix.to_owned(), text.clone())],
        other => vec![(prefix.to_owned(), other.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figure;

    #[test]
    fn each_figure_names_a_file_that_is_written() {
        for figure in Figure::ALL {
            assert!(FILES.iter().any(|(name, _)| *name == figure.file()), "{figure:?}");
        }
    }
}
