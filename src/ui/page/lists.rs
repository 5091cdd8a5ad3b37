//! Requests: all of the period, emergencies, permanent access, and what was denied or refused.

use super::{HtmlColumn, LONGEST_TEXT, ReportPage, length_of, time};
use crate::domain::event::Event;
use crate::domain::grant::State;
use crate::domain::request::Verdict;
use crate::domain::text::{cut, joined};
use crate::protocol::{DecisionView, EntryView, GrantView, ReportedRequest, RequestView, ReviewView};
use crate::report::{Citation, Facts, Figure, ListedRequests, asked, given, percentile};

const REQUESTS: [HtmlColumn; 9] = [
    HtmlColumn("Request", "id"),
    HtmlColumn("Filed", "t"),
    HtmlColumn("Requester", "word"),
    HtmlColumn("Resource", "res"),
    HtmlColumn("Asked, given", "word"),
    HtmlColumn("Reason", "long"),
    HtmlColumn("Outcome", "w"),
    HtmlColumn("After", "n"),
    HtmlColumn("Entries", "refs"),
];

const APPROVERS: [HtmlColumn; 5] = [
    HtmlColumn("Person", ""),
    HtmlColumn("Approvals", "n"),
    HtmlColumn("Denials", "n"),
    HtmlColumn("Median time", "n"),
    HtmlColumn("90th percentile", "n"),
];

const EMERGENCIES: [HtmlColumn; 7] = [
    HtmlColumn("Request", "id"),
    HtmlColumn("Taken", "t"),
    HtmlColumn("Member", "word"),
    HtmlColumn("Resource", "res"),
    HtmlColumn("Reason", "long"),
    HtmlColumn("Review", "long"),
    HtmlColumn("Entries", "refs"),
];

const PERMANENT: [HtmlColumn; 8] = [
    HtmlColumn("Request", "id"),
    HtmlColumn("Since", "t"),
    HtmlColumn("Member", "word"),
    HtmlColumn("Resource", "res"),
    HtmlColumn("Reason", "long"),
    HtmlColumn("Approved by", "word"),
    HtmlColumn("State at end", "word"),
    HtmlColumn("Entries", "refs"),
];

const DENIED: [HtmlColumn; 7] = [
    HtmlColumn("Request", "id"),
    HtmlColumn("Denied", "t"),
    HtmlColumn("Requester", "word"),
    HtmlColumn("Resource", "res"),
    HtmlColumn("Reason", "long"),
    HtmlColumn("Denied by, because", "long"),
    HtmlColumn("Entries", "refs"),
];

const REFUSED: [HtmlColumn; 5] = [
    HtmlColumn("Entry", "id"),
    HtmlColumn("At", "t"),
    HtmlColumn("By", "word"),
    HtmlColumn("Command", ""),
    HtmlColumn("Why", "long"),
];

/// The steps of the chart of times to decision, in seconds, and their names.
const STEPS: [(i64, &str); 7] = [
    (300, "up to 5 minutes"),
    (1800, "up to 30 minutes"),
    (2 * 3600, "up to 2 hours"),
    (8 * 3600, "up to 8 hours"),
    (86_400, "up to a day"),
    (3 * 86_400, "up to 3 days"),
    (i64::MAX, "longer"),
];
const SPREAD: [HtmlColumn; 3] =
    [HtmlColumn("Time to decision", ""), HtmlColumn("Share", ""), HtmlColumn("Requests", "n")];
/// The most people in the table of decisions.
const PEOPLE: usize = 50;

impl ReportPage<'_> {
    pub(super) fn requests(&mut self) {
        self.section("requests");
        let evidence = self.evidence;
        self.counts(&[
            ("Filed in the period", Figure::Submitted),
            ("Decided by people", Figure::Decided),
            ("Granted by a rule", Figure::ByRule),
            ("Lapsed or withdrawn", Figure::Undecided),
            ("Pending at the end", Figure::Pending),
        ]);
        if let (Some(median), Some(late)) = (evidence.wait(50), evidence.wait(90)) {
            self.html.raw("<p>Half of the decisions came within ");
            self.link(Figure::Decided, &length_of(median));
            self.html.raw(" of filing, nine of ten within ");
            self.link(Figure::Decided, &length_of(late));
            self.html.raw(". Emergencies and what a rule granted do not count: both are immediate.</p>\n");
            self.spread();
            self.approvers();
        }
        if evidence.filed.total > 0 {
            self.open_table("The last requests that were filed, newest first", &REQUESTS);
            for row in evidence.filed.rows.iter().rev() {
                self.request_row(row);
            }
            self.close_table();
            self.more(evidence.filed.more(), "requests.csv");
        }
        self.end_section();
    }

    fn spread(&mut self) {
        let waits = &self.evidence.waits;
        let most = waits.len().max(1);
        self.html.raw("<div class=\"spread\">\n");
        self.open_table("How long people took to decide", &SPREAD);
        let mut before = 0;
        for (step, words) in STEPS {
            let until = waits.partition_point(|&wait| wait <= step);
            let percent = ((until - before) * 100).div_ceil(most);
            self.html.raw("<tr>");
            self.heading_cell(&SPREAD[0], |page| {
                page.html.raw(words);
            });
            self.cell(&SPREAD[1], |page| {
                if until > before {
                    page.html.raw("<div class=\"fill\" style=\"width:").digits(percent as i64).raw("%\"></div>");
                }
            });
            self.count_cell(&SPREAD[2], (until - before) as u64);
            self.html.raw("</tr>\n");
            before = until;
        }
        self.close_table();
        self.html.raw("</div>\n");
    }

    fn approvers(&mut self) {
        let evidence = self.evidence;
        let mut sorted: Vec<_> = evidence.approvers.iter().collect();
        sorted.sort_by_key(|(_, used)| std::cmp::Reverse(used.approved + used.denied));
        self.open_table("Who decided, and how long after filing", &APPROVERS);
        for (name, used) in sorted.iter().take(PEOPLE) {
            self.html.raw("<tr>");
            self.heading_cell(&APPROVERS[0], |page| {
                page.html.text(name.as_str());
            });
            self.count_cell(&APPROVERS[1], used.approved);
            self.count_cell(&APPROVERS[2], used.denied);
            for (column, percent) in [(3, 50), (4, 90)] {
                let wait = percentile(&used.waits, percent).map(length_of).unwrap_or_default();
                self.text_cell(&APPROVERS[column], &wait);
            }
            self.html.raw("</tr>\n");
        }
        self.close_table();
        self.more(sorted.len().saturating_sub(PEOPLE) as u64, "requests.csv");
    }

    fn request_row(&mut self, row: &ReportedRequest) {
        let facts = self.facts(row);
        let RequestView { id, submitted_at, requester, filed_by, resource, reason, ticket, grant, state, .. } =
            &row.request;
        self.html.raw("<tr>");
        self.request_cell(&REQUESTS[0], *id);
        self.text_cell(&REQUESTS[1], &time(*submitted_at));
        self.cell(&REQUESTS[2], |page| {
            page.html.text(requester.as_str());
            if filed_by != requester {
                page.html.raw(" (filed by ").text(filed_by.as_str()).raw(")");
            }
        });
        self.cell(&REQUESTS[3], |page| {
            page.resource(resource);
            if let Some(grant) = grant.as_ref().filter(|grant| grant.resource != *resource) {
                page.html.raw(" → ");
                page.resource(&grant.resource);
            }
        });
        self.cell(&REQUESTS[4], |page| {
            let asked = asked(&row.request);
            page.html.text(&asked);
            let given = grant.as_ref().map(given).filter(|given| *given != asked);
            if let Some(given) = given {
                page.html.raw(" → ").text(&given);
            }
        });
        self.cell(&REQUESTS[5], |page| {
            page.reason(reason.as_str());
            if let Some(ticket) = ticket {
                page.html.raw(" [").isolated(ticket.as_str()).raw("]");
            }
        });
        self.cell(&REQUESTS[6], |page| page.outcome(&facts, *state));
        self.text_cell(&REQUESTS[7], &facts.wait.map(length_of).unwrap_or_default());
        self.cell(&REQUESTS[8], |page| page.cite_all(facts.entries, *id));
        self.html.raw("</tr>\n");
    }

    /// How a request was decided, by whom, and how it is at the end.
    fn outcome(&mut self, facts: &Facts<'_>, state: State) {
        self.emergency_tag(facts.request.emergency);
        let by_rule = facts.request.grant.as_ref().and_then(|grant| grant.by_rule.as_ref());
        match (facts.denial(), by_rule) {
            (Some(denial), _) => {
                self.html.raw(" denied by ").text(denial.by.as_str());
                return;
            }
            (None, Some(rule)) => {
                self.html.raw(" granted by the rule ").isolated(rule.as_str()).raw("; ");
            }
            (None, None) if facts.request.grant.is_some() && !facts.request.emergency => {
                self.html.raw(" approved by ").text(&joined(facts.approvers())).raw("; ");
            }
            (None, None) => {
                self.html.raw(" ");
            }
        }
        self.html.text(state.as_str());
    }

    pub(super) fn emergency_tag(&mut self, emergency: bool) {
        if emergency {
            self.html.raw(" <span class=\"tag emergency\">emergency</span>");
        }
    }

    fn reason(&mut self, reason: &str) {
        self.html.isolated(&cut(reason, LONGEST_TEXT));
    }

    fn facts<'r>(&self, row: &'r ReportedRequest) -> Facts<'r> {
        Facts::of(row, self.evidence.opening.since, self.evidence.opening.until)
    }

    pub(super) fn emergencies(&mut self) {
        self.section("emergencies");
        self.counts(&[
            ("Taken in the period", Figure::Emergencies),
            ("Without a review at its end, including earlier ones", Figure::ReviewsOwed),
        ]);
        self.requests_table("Emergency access, newest first", &EMERGENCIES, &self.evidence.emergencies, |page, row| {
            let facts = page.facts(row);
            let request = facts.request;
            page.first_cells(&EMERGENCIES, request, &facts.granted.map(|entry| time(entry.at)).unwrap_or_default());
            page.cell(&EMERGENCIES[5], |page| match &request.review {
                Some(ReviewView::Done(review)) => {
                    page.html.text(review.by.as_str()).raw(", ").text(&time(review.at)).raw(": ");
                    page.reason(review.note.as_str());
                }
                Some(ReviewView::Owed(_)) => {
                    page.html.raw("<span class=\"tag owed\">review owed</span>");
                }
                None => {}
            });
            page.cell(&EMERGENCIES[6], |page| page.cite_all(facts.entries, request.id));
        });
        self.more(self.evidence.emergencies.more(), "emergencies.csv");
        self.end_section();
    }

    pub(super) fn permanent(&mut self) {
        self.section("permanent");
        self.counts(&[("Grants without an end, in force in the period", Figure::Permanent)]);
        self.paragraph("What the team file gives without a grant is listed with the <a href=\"#members\">members</a>.");
        self.requests_table("Permanent grants, newest first", &PERMANENT, &self.evidence.permanent, |page, row| {
            let facts = page.facts(row);
            let request = facts.request;
            let since = request.grant.as_ref().map(|grant| time(grant.starts_at)).unwrap_or_default();
            page.first_cells(&PERMANENT, request, &since);
            page.text_cell(&PERMANENT[5], &joined(facts.approvers()));
            page.cell(&PERMANENT[6], |page| {
                let ended = request.grant.as_ref().filter(|grant| grant.ended_at.is_some());
                let state = ended.map_or_else(|| request.state.to_string(), |grant| end_of(request, grant));
                page.html.text(&state);
            });
            page.cell(&PERMANENT[7], |page| page.cite_all(facts.entries, request.id));
        });
        self.more(self.evidence.permanent.more(), "permanent.csv");
        self.end_section();
    }

    pub(super) fn refusals(&mut self) {
        self.section("refusals");
        self.counts(&[
            ("Requests denied by approvers", Figure::Denied),
            ("Attempts refused by a rule or for a missing right", Figure::Refused),
        ]);
        self.requests_table("Denied requests, newest first", &DENIED, &self.evidence.denied, |page, row| {
            let facts = page.facts(row);
            let request = facts.request;
            page.first_cells(&DENIED, request, &facts.decided.map(|entry| time(entry.at)).unwrap_or_default());
            page.cell(&DENIED[5], |page| {
                let Some(denial) = facts.denial() else { return };
                page.html.text(denial.by.as_str());
                if let Some(note) = &denial.note {
                    page.html.raw(": ");
                    page.reason(note.as_str());
                }
            });
            page.cell(&DENIED[6], |page| page.cite_all(facts.entries, request.id));
        });
        self.more(self.evidence.denied.more(), "denied.csv");
        if self.evidence.refused.total > 0 {
            self.open_table("Refused attempts, newest first", &REFUSED);
            for entry in &self.evidence.refused.rows {
                self.refused_row(entry);
            }
            self.close_table();
            self.more(self.evidence.refused.more(), "refused.csv");
        }
        self.end_section();
    }

    fn refused_row(&mut self, entry: &EntryView) {
        let Event::AttemptRefused { command, request, why } = &entry.event else { return };
        self.html.raw("<tr>");
        self.heading_cell(&REFUSED[0], |page| page.cite(&Citation::of(entry)));
        self.text_cell(&REFUSED[1], &time(entry.at));
        self.cell(&REFUSED[2], |page| page.actor(entry));
        self.cell(&REFUSED[3], |page| {
            page.html.raw("<code>").text(&cut(command, LONGEST_TEXT)).raw("</code>");
            if let Some(request) = request {
                page.html.raw(" request ").digits(*request);
            }
        });
        self.written_cell(&REFUSED[4], why);
        self.html.raw("</tr>\n");
    }

    /// Who acted: the member, and the Unix user if that has another name.
    pub(super) fn actor(&mut self, entry: &EntryView) {
        match &entry.actor {
            Some(actor) if actor.as_str() == entry.os_user => {
                self.html.text(actor.as_str());
            }
            Some(actor) => {
                self.html.text(actor.as_str()).raw(" (user ").isolated(&entry.os_user).raw(")");
            }
            None => {
                self.html.raw("user ").isolated(&entry.os_user);
            }
        }
    }

    fn requests_table(
        &mut self,
        caption: &'static str,
        columns: &[HtmlColumn],
        rows: &ListedRequests,
        mut write: impl FnMut(&mut Self, &ReportedRequest),
    ) {
        if rows.total == 0 {
            return;
        }
        self.open_table(caption, columns);
        for row in rows.rows.iter().rev() {
            self.html.raw("<tr>");
            write(self, row);
            self.html.raw("</tr>\n");
        }
        self.close_table();
    }

    /// The first five cells: the request, a time, the person, the resource and the reason.
    fn first_cells(&mut self, columns: &[HtmlColumn], request: &RequestView, time: &str) {
        let resource = request.grant.as_ref().map_or(&request.resource, |grant| &grant.resource);
        self.request_cell(&columns[0], request.id);
        self.text_cell(&columns[1], time);
        self.text_cell(&columns[2], request.requester.as_str());
        self.resource_cell(&columns[3], resource);
        self.cell(&columns[4], |page| page.reason(request.reason.as_str()));
    }
}

impl Facts<'_> {
    fn denial(&self) -> Option<&DecisionView> {
        self.request.decisions.iter().find(|decision| decision.verdict == Verdict::Deny)
    }
}

/// When access ended, and by whom if somebody revoked it; or when it will.
pub(super) fn end_of(request: &RequestView, grant: &GrantView) -> String {
    match (grant.ended_at, grant.ends_at) {
        (Some(end), _) if request.state == State::Revoked => {
            // By nobody: by root, or because nobody kept it in a recertification.
            let by = grant.ended_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
            format!("{}, revoked{by}", time(end))
        }
        (Some(end), _) => time(end),
        (None, Some(end)) => format!("live, until {}", time(end)),
        (None, None) => "live, no end".to_owned(),
    }
}
