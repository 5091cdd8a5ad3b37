//! A report as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere. It prints, and it is
//! readable on a phone, in the dark and with a screen reader.
//!
//! Every figure leads to the entries of the log that it rests on. Whatever there is, the page stays bounded: it shows the
//! last of each list, and says how many more there are and which file of `--csv` has them.

mod basis;
mod lists;
mod people;
mod recertifications;
mod timeline;

use std::collections::BTreeMap;

use super::html::{Html, grouped};
use crate::domain::entry_ref::EntryRef;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::text::cut;
use crate::domain::time::Timestamp;
use crate::protocol::ReportOpening;
use crate::report::{Citation, Evidence, Figure};

const STYLE: &str = include_str!("style.css");
/// The most characters of a text that somebody wrote. `access show` has all of it.
const LONGEST_TEXT: usize = 600;
/// The most entries of one request that a row names.
const CITED: usize = 12;
/// The most faults that are listed.
const FAULTS: usize = 20;

/// A column of a table: its heading, and its class in the style sheet.
struct HtmlColumn(&'static str, &'static str);

struct ReportPage<'d> {
    html: Html,
    evidence: &'d Evidence,
    /// The entries that the page names, to be listed at its end.
    cited: BTreeMap<i64, Citation>,
}

/// The whole page.
pub fn page(evidence: &Evidence) -> String {
    let mut page = ReportPage { html: Html::default(), evidence, cited: BTreeMap::new() };
    page.head();
    page.opening();
    page.figures();
    page.contents();
    page.held();
    page.requests();
    page.emergencies();
    page.permanent();
    page.recertifications();
    page.refusals();
    page.team();
    page.members();
    page.method();
    page.bases();
    page.entries();
    page.html.raw("</main>\n</body>\n</html>\n");
    page.html.into_text()
}

/// The sections, each with its address.
const SECTIONS: [(&str, &str); 11] = [
    ("grants", "Who held what, and when"),
    ("requests", "Requests and time to decision"),
    ("emergencies", "Emergencies and their reviews"),
    ("permanent", "Permanent access"),
    ("recertifications", "Recertifications"),
    ("refusals", "Denied and refused"),
    ("team", "Changes of the team and its rules"),
    ("members", "Members, and those without use"),
    ("method", "How to read and check this report"),
    ("basis", "What each figure rests on"),
    ("entries", "Entries"),
];

impl ReportPage<'_> {
    fn head(&mut self) {
        let opening = &self.evidence.opening;
        let html = &mut self.html;
        html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n");
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.raw("<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"generator\" content=\"access\">\n<title>Access report: ");
        html.text(opening.checkpoint.team.as_str()).raw(", ").text(&day(opening.since)).raw(" to ");
        html.text(&day(opening.until)).raw("</title>\n<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n");
    }

    fn opening(&mut self) {
        let ReportOpening { since, until, made_by, first, last_at, checkpoint, verify, entries, ends } =
            &self.evidence.opening;
        let html = &mut self.html;
        html.raw("<header>\n<h1>Access report for ").text(checkpoint.team.as_str()).raw("</h1>\n<p class=\"lede\">");
        html.text(&time(*since)).raw(" to ").text(&time(*until)).raw(". All times are UTC.</p>\n");
        if verify.ok {
            html.raw("<div class=\"verdict\"><p><strong>✓ The log is whole.</strong> All ")
                .count(verify.entries.unsigned_abs());
            html.raw(" entries follow from one another by their hashes, replaying them gives no contradiction, and the database agrees with them.</p></div>\n");
        } else {
            html.raw("<div class=\"verdict bad\" role=\"alert\"><p><strong>✗ The log is not whole.</strong> Verification found ");
            html.count(verify.faults.len() as u64).raw(" faults in ").count(verify.entries.unsigned_abs());
            html.raw(" entries. Do not rely on this report before they are explained.</p><ul>");
            for fault in verify.faults.iter().take(FAULTS) {
                html.raw("<li>");
                if let Some(seq) = fault.seq {
                    html.raw("entry ").digits(seq).raw(": ");
                }
                html.isolated(&cut(&fault.problem, LONGEST_TEXT)).raw("</li>");
            }
            html.raw("</ul><p>All faults: <code>access audit verify</code></p></div>\n");
        }
        self.void();
        let html = &mut self.html;
        html.raw("<dl class=\"facts\">\n<dt>Made</dt><dd>").text(&time(checkpoint.at)).raw(" by ");
        html.text(made_by.as_str()).raw("</dd>\n<dt>Log</dt><dd>entries ").digits(first.seq).raw(" (");
        html.text(&time(first.at)).raw(") to ").digits(checkpoint.seq).raw(" (").text(&time(*last_at));
        html.raw(")</dd>\n<dt>In the period</dt><dd>").count(*entries).raw(" entries");
        if let Some((first, last)) = ends {
            html.raw(", ").digits(*first).raw(" to ").digits(*last);
        }
        html.raw("</dd>\n<dt>Head</dt><dd><code>").text(&checkpoint.head).raw("</code></dd>\n<dt>Checkpoint</dt><dd>");
        match &checkpoint.note {
            Some(note) => {
                html.raw("<pre>")
                    .text_with_lines(note)
                    .raw("</pre>signed by this host (<code>access audit key</code>)");
            }
            None => {
                html.raw("<code>").text(&serde_json::to_string(checkpoint).unwrap_or_default()).raw("</code>");
            }
        }
        html.raw("</dd>\n");
        if let Some(as_of) = &self.evidence.as_of {
            html.raw("<dt>Read from</dt><dd>this host’s copy of the shared log at ").text(&as_of.position.to_string());
            html.raw(", which last heard from it at ").text(&time(as_of.at)).raw("</dd>\n");
        }
        html.raw("</dl>\n</header>\n");
    }

    /// The entries that change nothing. Only a log that several hosts share can have any.
    fn void(&mut self) {
        let void = &self.evidence.opening.verify.void;
        if void.is_empty() {
            return;
        }
        self.html.raw("<div class=\"verdict void\"><p><strong>Void entries: ").count(void.len() as u64);
        self.html.raw(".</strong> A host appended what can’t be read, or can’t follow what was recorded. Readers of the log take it for nothing, so it gives and takes away no access. Find out why that host did.</p><ul>");
        for fault in void.iter().take(FAULTS) {
            self.html.raw("<li>");
            if let Some(seq) = fault.seq {
                self.html.raw("entry ").digits(seq).raw(": ");
            }
            self.html.isolated(&cut(&fault.problem, LONGEST_TEXT)).raw("</li>");
        }
        self.html.raw("</ul>");
        self.more(void.len().saturating_sub(FAULTS) as u64, "verification.csv");
        self.html.raw("</div>\n");
    }

    fn figures(&mut self) {
        let shown = [
            (Figure::Held, "grants held"),
            (Figure::Live, "still live at the end"),
            (Figure::Permanent, "permanent grants"),
            (Figure::Submitted, "requests filed"),
            (Figure::Denied, "requests denied"),
            (Figure::Refused, "attempts refused"),
            (Figure::Emergencies, "emergencies"),
            (Figure::ReviewsOwed, "reviews owed"),
            (Figure::Recertifications, "recertifications"),
            (Figure::Overdue, "of these, overdue"),
            (Figure::TeamChanges, "changes of the team"),
            (Figure::Unused, "members without use"),
        ];
        self.html.raw("<ul class=\"figures\">\n");
        for (figure, words) in shown {
            let alert = [Figure::ReviewsOwed, Figure::Overdue].contains(&figure) && self.evidence.count(figure) > 0;
            self.html.raw(if alert { "<li class=\"alert\"><span>" } else { "<li><span>" }).raw(words).raw("</span><b>");
            self.figure(figure);
            self.html.raw("</b></li>\n");
        }
        for (percent, words) in [(50, "median time to decision"), (90, "90th percentile of it")] {
            self.html.raw("<li><span>").raw(words).raw("</span><b>");
            let wait = self.evidence.wait(percent).map_or_else(|| "–".to_owned(), length_of);
            self.link(Figure::Decided, &wait);
            self.html.raw("</b></li>\n");
        }
        self.html.raw("</ul>\n");
    }

    fn contents(&mut self) {
        self.html.raw("<nav aria-label=\"Contents\"><ol>\n");
        for (id, title) in SECTIONS {
            self.html.raw("<li><a href=\"#").raw(id).raw("\">").raw(title).raw("</a></li>\n");
        }
        self.html.raw("</ol></nav>\n");
    }

    /// Begins a section, and ends the one before.
    fn section(&mut self, id: &'static str) {
        let title = SECTIONS.iter().find(|(it, _)| *it == id).map_or("", |(_, title)| title);
        let is_new_page = ["requests", "basis"].contains(&id);
        self.html.raw(if is_new_page { "<section class=\"new\" id=\"" } else { "<section id=\"" }).raw(id);
        self.html
            .raw("\" aria-labelledby=\"h-")
            .raw(id)
            .raw("\">\n<h2 id=\"h-")
            .raw(id)
            .raw("\">")
            .raw(title)
            .raw("</h2>\n");
    }

    fn end_section(&mut self) {
        self.html.raw("</section>\n");
    }

    /// A figure, leading to what it rests on.
    fn figure(&mut self, figure: Figure) {
        let count = grouped(self.evidence.count(figure));
        self.link(figure, &count);
    }

    fn link(&mut self, figure: Figure, text: &str) {
        self.html.raw("<a href=\"#b-").raw(figure.key()).raw("\">").text(text).raw("</a>");
    }

    /// The number of an entry, leading to it.
    fn cite(&mut self, citation: &Citation) {
        let seq = citation.entry.seq;
        self.html.raw("<a href=\"#e").digits(seq).raw("\">").digits(seq).raw("</a>");
        self.cited.entry(seq).or_insert_with(|| citation.clone());
    }

    fn cite_all(&mut self, entries: &[EntryRef], request: RequestId) {
        let skipped = entries.len().saturating_sub(CITED);
        for (index, entry) in entries.iter().skip(skipped).enumerate() {
            if index > 0 {
                self.html.raw(" ");
            }
            self.cite(&Citation::about(entry, Some(request)));
        }
        if skipped > 0 {
            self.html.raw(" and ").count(skipped as u64).raw(" before");
        }
    }

    fn open_table(&mut self, caption: &'static str, columns: &[HtmlColumn]) {
        self.html.raw("<table class=\"rows\">\n<caption>").raw(caption).raw("</caption>\n<thead><tr>");
        for HtmlColumn(label, class) in columns {
            self.html.raw("<th scope=\"col\" class=\"").raw(class).raw("\">").raw(label).raw("</th>");
        }
        self.html.raw("</tr></thead>\n<tbody>\n");
    }

    fn close_table(&mut self) {
        self.html.raw("</tbody>\n</table>\n");
    }

    /// The cell that heads a row.
    fn heading_cell(&mut self, column: &HtmlColumn, write: impl FnOnce(&mut Self)) {
        self.html.raw("<th scope=\"row\" class=\"").raw(column.1).raw("\" data-label=\"").raw(column.0).raw("\">");
        write(self);
        self.html.raw("</th>");
    }

    fn cell(&mut self, column: &HtmlColumn, write: impl FnOnce(&mut Self)) {
        self.html.raw("<td class=\"").raw(column.1).raw("\" data-label=\"").raw(column.0).raw("\">");
        write(self);
        self.html.raw("</td>");
    }

    fn text_cell(&mut self, column: &HtmlColumn, text: &str) {
        self.cell(column, |page| {
            page.html.text(text);
        });
    }

    /// A text that somebody wrote.
    fn written_cell(&mut self, column: &HtmlColumn, text: &str) {
        self.cell(column, |page| {
            page.html.isolated(&cut(text, LONGEST_TEXT));
        });
    }

    fn count_cell(&mut self, column: &HtmlColumn, count: u64) {
        self.cell(column, |page| {
            page.html.count(count);
        });
    }

    fn paragraph(&mut self, text: &'static str) {
        self.html.raw("<p>").raw(text).raw("</p>\n");
    }

    /// A line of figures, each after its words.
    fn counts(&mut self, counts: &[(&'static str, Figure)]) {
        self.html.raw("<p>");
        for (words, figure) in counts {
            self.html.raw(words).raw(": ");
            self.figure(*figure);
            self.html.raw(". ");
        }
        self.html.raw("</p>\n");
    }

    /// A resource, which breaks after its kind.
    fn resource(&mut self, resource: &Resource) {
        self.html.raw("<code>").text(resource.kind().as_str()).raw(":<wbr>").text(resource.name()).raw("</code>");
    }

    fn resource_cell(&mut self, column: &HtmlColumn, resource: &Resource) {
        self.cell(column, |page| page.resource(resource));
    }

    fn request_cell(&mut self, column: &HtmlColumn, request: RequestId) {
        self.heading_cell(column, |page| {
            page.html.digits(request);
        });
    }

    /// What the page leaves out, and where it is.
    fn more(&mut self, more: u64, file: &'static str) {
        if more == 0 {
            return;
        }
        self.html.raw("<p class=\"note\">").count(more).raw(" more in <code>").raw(file).raw("</code>: <code>");
        self.csv_command();
        self.html.raw("</code></p>\n");
    }

    fn csv_command(&mut self) {
        let ReportOpening { since, until, .. } = &self.evidence.opening;
        let command = format!("access report --since {since} --until {until} --csv DIR");
        self.html.text(&command);
    }
}

/// `2026-11-24 09:00`, in UTC.
fn time(at: Timestamp) -> String {
    at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// `2026-11-24`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// A measured time: `2d4h`, or `under 1m`.
fn length_of(seconds: i64) -> String {
    if seconds < 60 { "under 1m".to_owned() } else { crate::domain::duration::brief(seconds) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::ReportRow;

    const BEGIN: i64 = 1_800_000_000;

    fn at(seconds: i64) -> String {
        Timestamp::from_unix(BEGIN + seconds).unwrap().to_string()
    }

    fn entry(seq: i64, action: &str) -> Value {
        json!({ "seq": seq, "at": at(seq * 60), "actor": "alice", "action": action })
    }

    fn row(row: Value) -> ReportRow {
        serde_json::from_value(row).unwrap()
    }

    /// A grant of an hour to one of many people for one of many things, an emergency or one without an end now and then.
    fn request(id: i64) -> ReportRow {
        let (seq, from) = (id * 4, id * 240);
        let (member, resource) = (format!("m{}", id % 700), format!("connection:c{}", id % 90));
        let permanent = id % 5 == 0;
        let ends = (!permanent).then(|| at(from + 3600));
        let grant = json!({
            "resource": resource, "scope": null, "duration": if permanent { "permanent" } else { "1h" }, "modified": false,
            "by_rule": null, "starts_at": at(from), "ends_at": ends, "remaining_seconds": null, "ended_at": ends, "ended_by": null,
        });
        let decision = json!({ "by": format!("m{}", id % 300), "verdict": "approve", "note": null, "at": at(from), "counts": true });
        row(json!({ "Request": {
            "request": {
                "id": id, "state": if permanent { "active" } else { "expired" }, "requester": member, "filed_by": member,
                "resource": resource, "reason": "word ".repeat(800), "duration": "1h", "until": null, "start": null,
                "ticket": null, "extends": null, "emergency": id % 7 == 0, "review": if id % 7 == 0 { json!("owed") } else { json!(null) },
                "submitted_at": at(from), "lapses_at": at(from + 9999), "decisions": [decision],
                "approvals": { "have": 1, "need": 1, "waiting_on": [], "requirements": [] }, "grant": grant,
            },
            "entries": [entry(seq, "request.submitted"), entry(seq + 1, "request.approved"), entry(seq + 2, "grant.started")],
        } }))
    }

    fn evidence(requests: i64) -> Evidence {
        let opening: ReportOpening = serde_json::from_value(json!({
            "since": at(0), "until": at(requests * 240), "made_by": "alice", "first": entry(1, "team.initialized"),
            "last_at": at(requests * 240), "checkpoint": { "team": "acme", "seq": requests * 4, "head": "0", "at": at(requests * 240) },
            "verify": { "ok": true, "entries": requests * 4, "head": "0", "faults": [], "checkpoints": 0 },
            "entries": requests * 4, "ends": [1, requests * 4],
        }))
        .unwrap();
        let mut evidence = Evidence::of(opening);
        let mut names: Vec<String> = (0..700).map(|n| format!("m{n}")).collect();
        names.sort();
        for name in names {
            evidence.take(row(json!({ "Member": {
                "name": name, "role": "member", "auditor": false, "disabled": false, "scopes": [], "since": entry(1, "team.applied"),
                "last_act": null, "last_session": null,
            } })));
        }
        (1..=requests).for_each(|id| evidence.take(request(id)));
        evidence.close();
        evidence
    }

    #[test]
    fn a_page_about_a_long_history_stays_small() {
        let (short, long) = (page(&evidence(2000)), page(&evidence(8000)));
        assert!(long.len() < 1_500_000, "{}", long.len());
        assert!(long.len() < short.len() * 5 / 4, "{} and {}", short.len(), long.len());
        for more in [
            "7,900 more in <code>requests.csv</code>",
            "600 more in <code>members.csv</code>",
            "30 more in <code>grants.csv</code>",
        ] {
            assert!(long.contains(more), "{more}");
        }
        assert!(long.contains("<a href=\"#b-grants_held\">8,000</a>"));
    }
}
