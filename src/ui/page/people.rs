//! Changes of the team, and its members.

use super::{HtmlColumn, LONGEST_TEXT, ReportPage, time};
use crate::domain::describe::words_with;
use crate::domain::event::Event;
use crate::domain::team::difference;
use crate::domain::text::{cut, joined};
use crate::report::{Citation, Figure, MemberUse};

const CHANGES: [HtmlColumn; 4] =
    [HtmlColumn("Entry", "id"), HtmlColumn("At", "t"), HtmlColumn("By", "word"), HtmlColumn("What changed", "long")];

const MEMBERS: [HtmlColumn; 7] = [
    HtmlColumn("Member", ""),
    HtmlColumn("Role", "word"),
    HtmlColumn("Scopes by the team file", ""),
    HtmlColumn("Grants", "n"),
    HtmlColumn("Last recorded act", "t"),
    HtmlColumn("Last session", "t"),
    HtmlColumn("Member since", "t"),
];

/// The most members, and the most changes of one entry.
const MEMBERS_SHOWN: usize = 100;
const CHANGES_SHOWN: usize = 30;

impl ReportPage<'_> {
    pub(super) fn team(&mut self) {
        self.section("team");
        self.counts(&[(
            "Entries that changed who is in the team, what there is to ask for, or by which rules",
            Figure::TeamChanges,
        )]);
        let evidence = self.evidence;
        if evidence.team_changes.total > 0 {
            self.open_table("Changes of the team, newest first", &CHANGES);
            for entry in &evidence.team_changes.rows {
                self.html.raw("<tr>");
                self.heading_cell(&CHANGES[0], |page| page.cite(&Citation::of(entry)));
                self.text_cell(&CHANGES[1], &time(entry.at));
                self.cell(&CHANGES[2], |page| page.actor(entry));
                self.cell(&CHANGES[3], |page| page.changes(&entry.event));
                self.html.raw("</tr>\n");
            }
            self.close_table();
            self.more(evidence.team_changes.more(), "team-changes.csv");
        }
        self.end_section();
    }

    fn changes(&mut self, event: &Event) {
        let (Event::TeamApplied { changes } | Event::TeamInitialized { changes }) = event else {
            self.html.text(&words_with(event, None, None, &time));
            return;
        };
        if matches!(event, Event::TeamInitialized { .. }) {
            self.html.text(&words_with(event, None, None, &time)).raw(". ");
        }
        for (index, change) in difference::by_danger(changes).into_iter().take(CHANGES_SHOWN).enumerate() {
            if index > 0 {
                self.html.raw("<br>");
            }
            self.html.isolated(&cut(&difference::one(change), LONGEST_TEXT));
        }
        if changes.len() > CHANGES_SHOWN {
            self.html
                .raw("<br>and ")
                .count((changes.len() - CHANGES_SHOWN) as u64)
                .raw(" more in <code>team-changes.csv</code>");
        }
    }

    pub(super) fn members(&mut self) {
        self.section("members");
        let members = &self.evidence.members;
        self.html.raw("<p>Members of the team at the end of the period: ").count(members.len() as u64);
        self.html.raw(". Without use in the period: ");
        self.figure(Figure::Unused);
        self.html.raw(".</p>\n");
        self.paragraph("Members without use held no grant, opened no recorded session, and did nothing else that the log has. Use of what a role or a scope gives is recorded only where sessions are.");
        let mut sorted: Vec<&MemberUse> = members.iter().collect();
        // Those who could lose the most go first.
        sorted.sort_by_key(|it| (!it.is_unused(), std::cmp::Reverse(it.member.role), std::cmp::Reverse(it.grants)));
        self.open_table("Members: those without use first, then by role", &MEMBERS);
        for used in sorted.iter().take(MEMBERS_SHOWN) {
            self.member_row(used);
        }
        self.close_table();
        self.more(sorted.len().saturating_sub(MEMBERS_SHOWN) as u64, "members.csv");
        self.end_section();
    }

    fn member_row(&mut self, used: &MemberUse) {
        let member = &used.member;
        self.html.raw("<tr>");
        self.heading_cell(&MEMBERS[0], |page| {
            page.html.text(member.name.as_str());
            if used.is_unused() {
                page.html.raw(" <span class=\"tag\">no use</span>");
            }
            if member.disabled {
                page.html.raw(" <span class=\"tag\">disabled</span>");
            }
        });
        self.cell(&MEMBERS[1], |page| {
            page.html.text(member.role.as_str());
            if member.auditor {
                page.html.raw(", auditor");
            }
        });
        self.text_cell(&MEMBERS[2], &joined(&member.scopes));
        self.count_cell(&MEMBERS[3], used.grants);
        self.cell(&MEMBERS[4], |page| {
            if let Some(entry) = &member.last_act {
                page.html.text(&time(entry.at)).raw(" ");
                page.cite(&Citation::about(entry, None));
            }
        });
        self.cell(&MEMBERS[5], |page| {
            if let Some(session) = &member.last_session {
                page.html.text(&time(session.at)).raw(" ");
                page.cite(&Citation::about(session, None));
            }
        });
        self.cell(&MEMBERS[6], |page| {
            page.html.text(&time(member.since.at)).raw(" ");
            page.cite(&Citation::about(&member.since, None));
        });
        self.html.raw("</tr>\n");
    }
}
