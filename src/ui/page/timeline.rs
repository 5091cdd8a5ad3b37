//! Who held what when: as a chart, and as a table.

use super::{HtmlColumn, ReportPage, day, length_of, time};
use crate::domain::name::Name;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::protocol::ReportedRequest;
use crate::report::{Facts, Figure, HeldAccess, HeldHow, ResourceUse, Span, at_once, covered, given, merged};
use crate::ui::html::SvgPath;

/// The width of a drawing, and the least that can be seen, in its own units.
const WIDTH: i64 = 2000;
const LEAST: i64 = 8;
/// The parts of a curve.
const PARTS: usize = 250;
const HEIGHT: i64 = 100;
/// The most resources whose holders are drawn, the most holders of each, and the most resources that are drawn at all.
const DRAWN: usize = 12;
const PEOPLE: usize = 10;
const RESOURCES: usize = 60;

const COLUMNS: [HtmlColumn; 9] = [
    HtmlColumn("Resource", "res"),
    HtmlColumn("Grants", "n"),
    HtmlColumn("People", "n"),
    HtmlColumn("Live at end", "n"),
    HtmlColumn("Permanent", "n"),
    HtmlColumn("Emergencies", "n"),
    HtmlColumn("Time held", "n"),
    HtmlColumn("Longest", "n"),
    HtmlColumn("Last entries", "refs"),
];

const LONGEST: [HtmlColumn; 7] = [
    HtmlColumn("Request", "id"),
    HtmlColumn("Member", ""),
    HtmlColumn("Resource", "res"),
    HtmlColumn("Granted", "word"),
    HtmlColumn("From", "t"),
    HtmlColumn("To", "t"),
    HtmlColumn("Entries", "refs"),
];

impl ReportPage<'_> {
    pub(super) fn held(&mut self) {
        self.section("grants");
        let evidence = self.evidence;
        let holdings = &evidence.holdings;
        if holdings.resources.is_empty() {
            self.paragraph("Nobody held access by a grant in this period.");
            return self.end_section();
        }
        self.counts(&[
            ("Grants held", Figure::Held),
            ("Live at the end", Figure::Live),
            ("Permanent", Figure::Permanent),
        ]);
        self.html.raw("<p>Held by ").text(&quantity(evidence.people(), "person", "people")).raw(", on ");
        self.html.text(&quantity(holdings.resources.len(), "resource", "resources")).raw(".</p>\n");
        self.legend();
        self.html.raw("<h3>Grants in force at the same time</h3>\n<div class=\"chart\">");
        self.curve("All grants", holdings.spans(), "tall all");
        self.axis();
        self.html.raw("</div>\n");
        self.lanes(holdings);
        self.by_resource(holdings);
        self.longest();
        self.end_section();
    }

    fn legend(&mut self) {
        self.html.raw("<ul class=\"legend\" aria-label=\"Legend\">");
        for (how, words) in [
            (HeldHow::Limited, "for a limited time"),
            (HeldHow::Permanent, "permanent (taller, no end)"),
            (HeldHow::Emergency, "emergency (tallest)"),
        ] {
            let mut path = SvgPath::default();
            let (y, height) = place(how);
            path.rectangle(0, y, 36, height);
            self.html.raw("<li><svg viewBox=\"0 0 36 18\" aria-hidden=\"true\"><path class=\"").raw(class(how));
            self.html.raw("\" d=\"").path(&path).raw("\"/></svg>").raw(words).raw("</li>");
        }
        self.html.raw("</ul>\n");
    }

    fn lanes(&mut self, holdings: &HeldAccess) {
        let sorted = holdings.by_grants();
        for (resource, used) in sorted.iter().take(DRAWN) {
            self.html.raw("<div class=\"lane\">\n<h3>");
            self.resource(resource);
            self.html.raw(" <small>");
            let grants = if used.grants == 1 { " grant" } else { " grants" };
            self.html.count(used.grants).raw(grants).raw(", ").count(used.people.len() as u64);
            self.html
                .raw(if used.people.len() == 1 { " person" } else { " people" })
                .raw("</small></h3>\n<div class=\"chart\">");
            if used.people.len() > PEOPLE {
                self.curve("at the same time", used.spans(), "tall");
            }
            let people = used.by_time();
            for (name, spans) in people.iter().take(PEOPLE) {
                self.lane(name, spans);
            }
            self.axis();
            self.html.raw("</div>\n");
            if people.len() > PEOPLE {
                self.html.raw("<p class=\"note\">Those who held it longest; ").count((people.len() - PEOPLE) as u64);
                self.html.raw(" more people in <code>grants.csv</code>.</p>\n");
            }
            self.html.raw("</div>\n");
        }
        if sorted.len() > DRAWN {
            self.html.raw("<div class=\"lane\">\n<h3>Other resources <small>grants in force at the same time</small></h3>\n<div class=\"chart\">");
            for (resource, used) in sorted.iter().take(RESOURCES).skip(DRAWN) {
                self.curve(&resource.to_string(), used.spans(), "");
            }
            self.axis();
            self.html.raw("</div>\n");
            self.more(sorted.len().saturating_sub(RESOURCES) as u64, "grants.csv");
            self.html.raw("</div>\n");
        }
    }

    /// How many grants were in force over time.
    fn curve<'s>(&mut self, label: &str, spans: impl Iterator<Item = &'s Span>, class: &'static str) {
        let (since, until) = self.period();
        let counts = at_once(spans, since, until, PARTS);
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let mut path = SvgPath::default();
        let mut begin = 0;
        for index in 1..=PARTS {
            if index < PARTS && counts[index] == counts[begin] {
                continue;
            }
            let height = i64::try_from(counts[begin]).unwrap_or(0) * HEIGHT / i64::try_from(most).unwrap_or(1);
            if counts[begin] > 0 {
                path.rectangle(begin as i64, HEIGHT - height.max(2), (index - begin) as i64, height.max(2));
            }
            begin = index;
        }
        self.html.raw("<div class=\"who\" aria-hidden=\"true\">").text(label).raw("</div><div class=\"bar ").raw(class);
        self.html.raw("\"><svg viewBox=\"0 0 250 100\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"");
        self.html
            .text(label)
            .raw(": up to ")
            .count(most)
            .raw(" at the same time\"><path class=\"area\" d=\"")
            .path(&path);
        self.html.raw("\"/></svg></div><div class=\"sum\" aria-hidden=\"true\">up to ").count(most).raw("</div>");
    }

    /// When one person held something.
    fn lane(&mut self, name: &Name, spans: &[Span]) {
        let (since, until) = self.period();
        self.html.raw("<div class=\"who\" aria-hidden=\"true\">").text(name.as_str()).raw("</div><div class=\"bar\">");
        self.html.raw("<svg viewBox=\"0 0 2000 18\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
        let held = length_of(covered(spans));
        let ends = spans.iter().map(|span| span.from).min().zip(spans.iter().map(|span| span.to).max());
        self.html.text(name.as_str()).raw(": ").count(spans.len() as u64).raw(" grants, ").text(&held);
        if let Some((from, to)) = ends {
            self.html.raw(" in all, between ").text(&moment(from)).raw(" and ").text(&moment(to));
        }
        self.html.raw("\">");
        for how in [HeldHow::Limited, HeldHow::Permanent, HeldHow::Emergency] {
            let path = bars(spans.iter().filter(|span| span.how == how), since, until, how);
            if !path.is_empty() {
                self.html.raw("<path class=\"").raw(class(how)).raw("\" d=\"").path(&path).raw("\"/>");
            }
        }
        self.html.raw("</svg></div><div class=\"sum\" aria-hidden=\"true\">").text(&held).raw("</div>");
    }

    /// Where each quarter of the period begins.
    fn axis(&mut self) {
        let (since, until) = self.period();
        self.html.raw("<div class=\"axis\" aria-hidden=\"true\">");
        for quarter in 0..4 {
            let at = since + (until - since) * quarter / 4;
            let text = Timestamp::from_unix(at).map_or_else(
                |_| String::new(),
                |at| {
                    if until - since < 8 * 86_400 { time(at).chars().skip(5).collect() } else { day(at) }
                },
            );
            self.html.raw("<span>").text(&text).raw("</span>");
        }
        self.html.raw("</div>");
    }

    fn by_resource(&mut self, holdings: &HeldAccess) {
        self.open_table("Grants by resource, those with the most first", &COLUMNS);
        let sorted = holdings.by_grants();
        for (resource, used) in sorted.iter().take(RESOURCES) {
            let ResourceUse { grants, live, permanent, emergencies, people, longest, cited } = used;
            self.html.raw("<tr>");
            self.heading_cell(&COLUMNS[0], |page| page.resource(resource));
            for (index, count) in
                [*grants, people.len() as u64, *live, *permanent, *emergencies].into_iter().enumerate()
            {
                self.count_cell(&COLUMNS[index + 1], count);
            }
            self.text_cell(&COLUMNS[6], &length_of(used.held()));
            self.text_cell(&COLUMNS[7], &length_of(*longest));
            self.cell(&COLUMNS[8], |page| {
                for citation in &cited.rows {
                    page.cite(citation);
                    page.html.raw(" ");
                }
            });
            self.html.raw("</tr>\n");
        }
        self.close_table();
        self.more(sorted.len().saturating_sub(RESOURCES) as u64, "grants.csv");
    }

    fn longest(&mut self) {
        let evidence = self.evidence;
        self.open_table("The grants that gave access longest within the period", &LONGEST);
        for row in &evidence.longest {
            self.longest_row(row);
        }
        self.close_table();
        self.more(evidence.count(Figure::Held) - evidence.longest.len() as u64, "grants.csv");
    }

    fn longest_row(&mut self, row: &ReportedRequest) {
        let facts = Facts::of(row, self.evidence.opening.since, self.evidence.opening.until);
        let Some(grant) = &facts.request.grant else { return };
        self.html.raw("<tr>");
        self.request_cell(&LONGEST[0], facts.request.id);
        self.text_cell(&LONGEST[1], facts.request.requester.as_str());
        self.resource_cell(&LONGEST[2], &grant.resource);
        self.cell(&LONGEST[3], |page| {
            page.html.text(&given(grant));
            page.emergency_tag(facts.request.emergency);
        });
        self.text_cell(&LONGEST[4], &time(grant.starts_at));
        self.text_cell(&LONGEST[5], &super::lists::end_of(facts.request, grant));
        self.cell(&LONGEST[6], |page| page.cite_all(facts.entries, facts.request.id));
        self.html.raw("</tr>\n");
    }

    fn period(&self) -> (i64, i64) {
        (self.evidence.opening.since.unix(), self.evidence.opening.until.unix())
    }
}

fn moment(at: i64) -> String {
    Timestamp::from_unix(at).map_or_else(|_| String::new(), time)
}

fn class(how: HeldHow) -> &'static str {
    match how {
        HeldHow::Limited => "limited",
        HeldHow::Permanent => "permanent",
        HeldHow::Emergency => "emergency",
    }
}

/// Where a bar lies, and how high it is.
fn place(how: HeldHow) -> (i64, i64) {
    match how {
        HeldHow::Limited => (6, 6),
        HeldHow::Permanent => (4, 10),
        HeldHow::Emergency => (0, 18),
    }
}

/// Bars for these times. What is too close to be told apart is one bar, so that there are never more than can be seen.
fn bars<'s>(spans: impl Iterator<Item = &'s Span>, since: i64, until: i64, how: HeldHow) -> SvgPath {
    let length = (until - since).max(1);
    let x = |at: i64| (at - since) * WIDTH / length;
    let drawn = spans.map(|span| {
        let from = x(span.from).min(WIDTH - LEAST);
        (from, x(span.to).max(from + LEAST))
    });
    let mut path = SvgPath::default();
    let (y, height) = place(how);
    for (from, to) in merged(drawn.collect()) {
        path.rectangle(from, y, to - from, height);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_grants_gives_a_bounded_drawing() {
        let spans: Vec<Span> =
            (0..100_000).map(|n| Span { from: n * 80, to: n * 80 + 3, how: HeldHow::Limited }).collect();
        let mut html = crate::ui::html::Html::default();
        html.path(&bars(spans.iter(), 0, 8_000_000, HeldHow::Limited));
        assert!(html.into_text().len() < 12_000);
    }
}
