//! What a report says about a period, collected row by row. It keeps what is shown, and counts the rest.

mod facts;
mod figures;
mod holdings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::domain::event::Event;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::recertification::ItemVerdict;
use crate::domain::request::Verdict;
use crate::domain::time::Timestamp;
use crate::protocol::{
    AsOf, EntryView, ItemState, ReportOpening, ReportRow, ReportedItem, ReportedMember, ReportedRecertification,
    ReportedRequest,
};

pub use facts::{Facts, HeldHow, Span, asked, given, length};
pub use figures::{Citation, Figure, Last, percentile};
pub use holdings::{HeldAccess, ResourceUse, at_once, covered, merged};

/// The most rows of each list, and the most entries that are cited of a figure.
const ROWS: usize = 100;
const FEW_ROWS: usize = 50;
const LONGEST: usize = 25;
const CITED: usize = 50;

pub type ListedRequests = Last<Arc<ReportedRequest>>;

/// A report.
pub struct Evidence {
    pub opening: ReportOpening,
    /// What the copy of a shared log knew that it was made from.
    pub as_of: Option<AsOf>,
    bases: BTreeMap<Figure, Basis>,
    pub holdings: HeldAccess,
    /// Those that gave access the longest, from then on.
    pub longest: Vec<Arc<ReportedRequest>>,
    pub filed: ListedRequests,
    pub emergencies: ListedRequests,
    pub permanent: ListedRequests,
    pub denied: ListedRequests,
    /// Newest first.
    pub refused: Last<EntryView>,
    pub team_changes: Last<EntryView>,
    /// Newest first, without their items.
    pub recertifications: Last<ReportedRecertification>,
    /// Items on which something came of the review, and those that wait, of the newest recertification first.
    pub items: Last<ReportedItem>,
    pub reviewers: BTreeMap<Name, ReviewerUse>,
    pub approvers: BTreeMap<Name, ApproverUse>,
    /// The times to decision, in seconds: sorted once all is collected.
    pub waits: Vec<i64>,
    pub members: Vec<MemberUse>,
}

/// How a figure is made up.
#[derive(Debug, Clone)]
pub struct Basis {
    pub count: u64,
    /// The entries that it rests on.
    pub cited: Last<Citation>,
}

#[derive(Debug, Default)]
pub struct ApproverUse {
    pub approved: u64,
    pub denied: u64,
    /// The times from filing to this person's decision, in seconds.
    pub waits: Vec<i64>,
}

/// The decisions of one reviewer in recertifications, in the period.
#[derive(Debug, Default)]
pub struct ReviewerUse {
    pub kept: u64,
    pub revoked: u64,
}

pub struct MemberUse {
    pub member: ReportedMember,
    /// How many grants they held in the period.
    pub grants: u64,
}

impl MemberUse {
    pub fn is_unused(&self) -> bool {
        let ReportedMember { disabled, last_act, last_session, .. } = &self.member;
        !disabled && self.grants == 0 && last_act.is_none() && last_session.is_none()
    }
}

impl Evidence {
    pub fn of(opening: ReportOpening) -> Evidence {
        let basis = Basis { count: 0, cited: Last::of(CITED) };
        Evidence {
            opening,
            as_of: None,
            bases: Figure::ALL.into_iter().map(|figure| (figure, basis.clone())).collect(),
            holdings: HeldAccess::default(),
            longest: Vec::new(),
            filed: Last::of(ROWS),
            emergencies: Last::of(ROWS),
            permanent: Last::of(ROWS),
            denied: Last::of(FEW_ROWS),
            refused: Last::of(FEW_ROWS),
            team_changes: Last::of(FEW_ROWS),
            recertifications: Last::of(FEW_ROWS),
            items: Last::of(ROWS),
            reviewers: BTreeMap::new(),
            approvers: BTreeMap::new(),
            waits: Vec::new(),
            members: Vec::new(),
        }
    }

    pub fn basis(&self, figure: Figure) -> &Basis {
        &self.bases[&figure]
    }

    pub fn count(&self, figure: Figure) -> u64 {
        self.basis(figure).count
    }

    pub fn take(&mut self, row: ReportRow) {
        match row {
            ReportRow::Opening(opening) => self.opening = *opening,
            ReportRow::Member(member) => self.members.push(MemberUse { member: *member, grants: 0 }),
            ReportRow::Request(request) => self.request(Arc::new(*request)),
            ReportRow::Recertification(found) => self.recertification(*found),
            ReportRow::Entry(entry) => self.entry(*entry),
        }
    }

    fn request(&mut self, row: Arc<ReportedRequest>) {
        let facts = Facts::of(&row, self.opening.since, self.opening.until);
        let cited = |entry| Citation::about(entry, Some(facts.request.id));
        let first = facts.entries.first().map(cited);
        let granted = facts.granted.map(cited);
        let decided = facts.decided.map(cited);
        let last = facts.entries.last().map(cited);
        if facts.held.is_some() {
            self.cite(Figure::Held, granted.clone());
            self.hold(&row, &facts, granted.clone());
            if facts.is_live() {
                self.cite(Figure::Live, granted.clone());
            }
            if facts.is_permanent() {
                self.cite(Figure::Permanent, granted.clone());
                self.permanent.push(row.clone());
            }
        }
        if facts.is_filed {
            self.cite(Figure::Submitted, first.clone());
            self.filed.push(row.clone());
        }
        if let Some(wait) = facts.wait {
            self.cite(Figure::Decided, decided.clone());
            self.waits.push(wait);
        }
        if facts.is_by_rule() {
            self.cite(Figure::ByRule, decided.clone());
        }
        match facts.request.state {
            State::Pending => self.cite(Figure::Pending, first),
            _ if facts.is_undecided => self.cite(Figure::Undecided, last),
            _ => {}
        }
        if facts.is_denied() {
            self.cite(Figure::Denied, decided.clone());
            self.denied.push(row.clone());
        }
        if facts.is_emergency() {
            self.cite(Figure::Emergencies, decided);
        }
        if facts.owes_review() {
            self.cite(Figure::ReviewsOwed, granted);
        }
        if facts.is_emergency() || facts.owes_review() {
            self.emergencies.push(row.clone());
        }
        self.approver_times(&facts);
    }

    fn hold(&mut self, row: &Arc<ReportedRequest>, facts: &Facts<'_>, granted: Option<Citation>) {
        let (Some(grant), Some(span)) = (&facts.request.grant, facts.held) else { return };
        let used = self.holdings.add(&grant.resource, &facts.request.requester, span, facts.is_live());
        if let Some(granted) = granted {
            used.cited.push(granted);
        }
        if let Ok(index) = self.members.binary_search_by(|it| it.member.name.cmp(&facts.request.requester)) {
            self.members[index].grants += 1;
        }
        self.longest.push(row.clone());
        if self.longest.len() > 4 * LONGEST {
            self.keep_longest();
        }
    }

    fn keep_longest(&mut self) {
        let (since, until) = (self.opening.since, self.opening.until);
        self.longest.sort_by_cached_key(|row| std::cmp::Reverse(Facts::of(row, since, until).held_seconds()));
        self.longest.truncate(LONGEST);
    }

    fn approver_times(&mut self, facts: &Facts<'_>) {
        if facts.decided.is_none() || facts.request.emergency {
            return;
        }
        let counted = facts.request.decisions.iter().filter(|decision| decision.counts);
        for decision in counted {
            let used = self.approvers.entry(decision.by.clone()).or_default();
            match decision.verdict {
                Verdict::Approve => used.approved += 1,
                Verdict::Deny => used.denied += 1,
            }
            used.waits.push(decision.at.since(facts.request.submitted_at).max(0));
        }
    }

    fn entry(&mut self, entry: EntryView) {
        let cited = Some(Citation::of(&entry));
        match entry.event {
            Event::AttemptRefused { .. } => {
                self.cite_newest_first(Figure::Refused, cited);
                self.refused.offer(entry);
            }
            Event::TeamInitialized { .. } | Event::TeamApplied { .. } | Event::ClockAccepted { .. } => {
                self.cite_newest_first(Figure::TeamChanges, cited);
                self.team_changes.offer(entry);
            }
            _ => {}
        }
    }

    fn recertification(&mut self, mut found: ReportedRecertification) {
        self.cite_newest_first(Figure::Recertifications, Some(Citation::about(&found.started, None)));
        if found.overdue {
            self.cite_newest_first(Figure::Overdue, Some(Citation::about(&found.started, None)));
        }
        let (since, until) = (self.opening.since, self.opening.until);
        let within = |at: Timestamp| since <= at && at <= until;
        for reported in std::mem::take(&mut found.items) {
            let ReportedItem { item, decided } = &reported;
            if let (Some(by), Some(verdict), Some(at)) = (&item.decided_by, item.verdict, item.decided_at)
                && within(at)
            {
                let used = self.reviewers.entry(by.clone()).or_default();
                match verdict {
                    ItemVerdict::Keep => used.kept += 1,
                    ItemVerdict::Revoke => used.revoked += 1,
                }
                let cited = decided.as_ref().map(|entry| Citation::about(entry, item.held.request()));
                self.cite_newest_first(Figure::Reviewed, cited);
            }
            if item.state == ItemState::NotKept && found.recertification.closed_at.is_some_and(within) {
                let cited = found.closed.as_ref().map(|entry| Citation::about(entry, None));
                self.cite_newest_first(Figure::NotKept, cited);
            }
            if item.state != ItemState::Ended {
                self.items.offer(reported);
            }
        }
        self.recertifications.offer(found);
    }

    fn cite(&mut self, figure: Figure, entry: Option<Citation>) {
        if let Some(basis) = self.bases.get_mut(&figure) {
            basis.count += 1;
            entry.into_iter().for_each(|entry| basis.cited.push(entry));
        }
    }

    fn cite_newest_first(&mut self, figure: Figure, entry: Option<Citation>) {
        if let Some(basis) = self.bases.get_mut(&figure) {
            basis.count += 1;
            entry.into_iter().for_each(|entry| basis.cited.offer(entry));
        }
    }

    /// Ends the collection.
    pub fn close(&mut self) {
        self.keep_longest();
        // They come by action.
        self.team_changes.rows.make_contiguous().sort_by_key(|entry| std::cmp::Reverse(entry.seq));
        self.waits.sort_unstable();
        self.approvers.values_mut().for_each(|used| used.waits.sort_unstable());
        let unused = self.members.iter().filter(|it| it.is_unused());
        let cited: Vec<Citation> = unused.map(|it| Citation::about(&it.member.since, None)).collect();
        for citation in cited {
            self.cite(Figure::Unused, Some(citation));
        }
    }

    /// The number of people who held access.
    pub fn people(&self) -> usize {
        let names = self.holdings.resources.values().flat_map(|used| used.people.keys());
        names.collect::<BTreeSet<&Name>>().len()
    }

    /// The time to decision that at least so many percent did not exceed.
    pub fn wait(&self, percent: usize) -> Option<i64> {
        percentile(&self.waits, percent)
    }
}

/// The figures of a report, as JSON shows them.
#[derive(Debug, Serialize)]
pub struct FiguresView {
    pub team: Name,
    pub since: Timestamp,
    pub until: Timestamp,
    pub made_at: Timestamp,
    pub made_by: Name,
    pub log: ReportedLogView,
    #[serde(flatten)]
    pub figures: BTreeMap<&'static str, u64>,
    pub people: usize,
    pub resources: usize,
    pub median_seconds_to_decision: Option<i64>,
    pub p90_seconds_to_decision: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct ReportedLogView {
    pub ok: bool,
    pub faults: usize,
    /// Entries that are void. They change nothing, so they do not count as faults.
    pub void: usize,
    pub entries: i64,
    pub head: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub entries_in_period: u64,
    /// The signed checkpoint of the log that the report was made from, if this host signs.
    pub note: Option<String>,
}

impl From<&Evidence> for FiguresView {
    fn from(evidence: &Evidence) -> FiguresView {
        let ReportOpening { since, until, made_by, first, last_at, checkpoint, verify, entries, .. } =
            &evidence.opening;
        FiguresView {
            team: checkpoint.team.clone(),
            since: *since,
            until: *until,
            made_at: checkpoint.at,
            made_by: made_by.clone(),
            log: ReportedLogView {
                ok: verify.ok,
                faults: verify.faults.len(),
                void: verify.void.len(),
                entries: checkpoint.seq,
                head: checkpoint.head.clone(),
                first_at: first.at,
                last_at: *last_at,
                entries_in_period: *entries,
                note: checkpoint.note.clone(),
            },
            figures: Figure::ALL.into_iter().map(|figure| (figure.key(), evidence.count(figure))).collect(),
            people: evidence.people(),
            resources: evidence.holdings.resources.len(),
            median_seconds_to_decision: evidence.wait(50),
            p90_seconds_to_decision: evidence.wait(90),
        }
    }
}
