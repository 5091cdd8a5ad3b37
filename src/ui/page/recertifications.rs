//! Recertifications: what was reviewed, by whom, and what came of it.

use super::{HtmlColumn, LONGEST_TEXT, ReportPage, time};
use crate::domain::text::{cut, joined};
use crate::protocol::{ItemCounts, ItemState, ItemView, RecertificationView, ReportedItem, ReportedRecertification};
use crate::report::{Citation, Figure};

const RECERTIFICATIONS: [HtmlColumn; 9] = [
    HtmlColumn("Recertification", "id"),
    HtmlColumn("Of", "res"),
    HtmlColumn("Started", "t"),
    HtmlColumn("Due", "t"),
    HtmlColumn("State", "word"),
    HtmlColumn("Kept", "n"),
    HtmlColumn("Revoked, not kept", "n"),
    HtmlColumn("Waiting", "n"),
    HtmlColumn("Entries", "refs"),
];

const REVIEWERS: [HtmlColumn; 3] = [HtmlColumn("Reviewer", ""), HtmlColumn("Kept", "n"), HtmlColumn("Revoked", "n")];

const ITEMS: [HtmlColumn; 6] = [
    HtmlColumn("Item", "id"),
    HtmlColumn("Member", "word"),
    HtmlColumn("Holds", "res"),
    HtmlColumn("Outcome", "word"),
    HtmlColumn("Reason", "long"),
    HtmlColumn("Entry", "refs"),
];

/// The most people in the table of reviewers.
const PEOPLE: usize = 50;

impl ReportPage<'_> {
    pub(super) fn recertifications(&mut self) {
        self.section("recertifications");
        self.paragraph("In a recertification, reviewers keep or revoke what others hold. What nobody keeps by the due time is revoked, if a grant gives it. What the team file gives has to be changed there.");
        self.counts(&[
            ("Open in the period", Figure::Recertifications),
            ("Items that a reviewer kept or revoked", Figure::Reviewed),
            ("Items that nobody kept", Figure::NotKept),
            ("Overdue at the end", Figure::Overdue),
        ]);
        let evidence = self.evidence;
        if evidence.recertifications.total > 0 {
            self.open_table("Recertifications, newest first", &RECERTIFICATIONS);
            for found in &evidence.recertifications.rows {
                self.recertification_row(found);
            }
            self.close_table();
            self.more(evidence.recertifications.more(), "recertifications.csv");
            self.reviewers();
            self.items();
        }
        self.end_section();
    }

    fn recertification_row(&mut self, found: &ReportedRecertification) {
        let ReportedRecertification { recertification, overdue, started, closed, .. } = found;
        let RecertificationView { id, selection, by, started_at, due, closed_at, cancelled, counts, .. } =
            recertification;
        let ItemCounts { waiting, kept, revoked, not_kept, ended: _ } = *counts;
        self.html.raw("<tr>");
        self.heading_cell(&RECERTIFICATIONS[0], |page| {
            page.html.digits(*id);
        });
        self.text_cell(&RECERTIFICATIONS[1], &selection.to_string());
        self.cell(&RECERTIFICATIONS[2], |page| {
            page.html.text(&time(*started_at)).raw(" by ").text(by.as_str());
        });
        self.text_cell(&RECERTIFICATIONS[3], &time(*due));
        self.cell(&RECERTIFICATIONS[4], |page| match (closed_at, cancelled) {
            (Some(closed), Some(cancelled)) => {
                page.html.text(&format!("cancelled {} by {}: ", time(*closed), cancelled.by));
                page.html.isolated(&cut(cancelled.reason.as_str(), LONGEST_TEXT));
            }
            (Some(closed), None) => {
                page.html.text(&format!("closed {}", time(*closed)));
            }
            (None, _) if *overdue => {
                page.html.raw("<span class=\"tag owed\">overdue</span>");
            }
            (None, _) => {
                page.html.raw("open");
            }
        });
        for (column, count) in [(5, kept), (6, revoked + not_kept), (7, waiting)] {
            self.count_cell(&RECERTIFICATIONS[column], count);
        }
        self.cell(&RECERTIFICATIONS[8], |page| {
            for entry in [Some(started), closed.as_ref()].into_iter().flatten() {
                page.cite(&Citation::about(entry, None));
                page.html.raw(" ");
            }
        });
        self.html.raw("</tr>\n");
    }

    fn reviewers(&mut self) {
        let evidence = self.evidence;
        if evidence.reviewers.is_empty() {
            return;
        }
        let mut sorted: Vec<_> = evidence.reviewers.iter().collect();
        sorted.sort_by_key(|(_, used)| std::cmp::Reverse(used.kept + used.revoked));
        self.open_table("Who reviewed, in the period", &REVIEWERS);
        for (name, used) in sorted.iter().take(PEOPLE) {
            self.html.raw("<tr>");
            self.heading_cell(&REVIEWERS[0], |page| {
                page.html.text(name.as_str());
            });
            self.count_cell(&REVIEWERS[1], used.kept);
            self.count_cell(&REVIEWERS[2], used.revoked);
            self.html.raw("</tr>\n");
        }
        self.close_table();
        self.more(sorted.len().saturating_sub(PEOPLE) as u64, "recertification-items.csv");
    }

    fn items(&mut self) {
        let evidence = self.evidence;
        if evidence.items.total == 0 {
            return;
        }
        self.open_table("Items, those of the newest recertification first", &ITEMS);
        for reported in &evidence.items.rows {
            self.item_row(reported);
        }
        self.close_table();
        self.more(evidence.items.more(), "recertification-items.csv");
    }

    fn item_row(&mut self, reported: &ReportedItem) {
        let ReportedItem { item, decided } = reported;
        let ItemView { id, member, held, state, reviewers, decided_by, decided_at, reason, team_change, .. } = item;
        self.html.raw("<tr>");
        self.heading_cell(&ITEMS[0], |page| {
            page.html.text(&id.to_string());
        });
        self.text_cell(&ITEMS[1], member.as_str());
        self.cell(&ITEMS[2], |page| {
            page.html.raw("<code>").text(&held.without_request()).raw("</code>");
            if let Some(request) = held.request() {
                page.html.raw(" request ").digits(request);
            }
        });
        self.cell(&ITEMS[3], |page| {
            page.html.raw(match state {
                ItemState::Waiting => "waits for ",
                ItemState::Kept => "kept",
                ItemState::Revoked => "revoked",
                ItemState::NotKept => "nobody kept it",
                ItemState::Ended => "was over",
            });
            if *state == ItemState::Waiting {
                page.html.text(&joined(reviewers));
            }
            if let (Some(by), Some(at)) = (decided_by, decided_at) {
                page.html.raw(" by ").text(by.as_str()).raw(", ").text(&time(*at));
            }
            if team_change.is_some() {
                page.html.raw(" <span class=\"tag owed\">still in the team file</span>");
            }
        });
        self.written_cell(&ITEMS[4], reason.as_ref().map_or("", |reason| reason.as_str()));
        self.cell(&ITEMS[5], |page| {
            if let Some(entry) = decided {
                page.cite(&Citation::about(entry, held.request()));
            }
        });
        self.html.raw("</tr>\n");
    }
}
