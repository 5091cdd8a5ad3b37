//! What the figures mean, the entries that they rest on, and how to check both.

use super::{ReportPage, time};
use crate::domain::entry_ref::EntryRef;
use crate::report::Figure;

impl ReportPage<'_> {
    pub(super) fn method(&mut self) {
        self.section("method");
        self.html.raw("<dl>\n");
        for figure in Figure::ALL {
            self.html.raw("<dt><b>").raw(figure.title()).raw("</b></dt><dd>").raw(figure.meaning()).raw("</dd>\n");
        }
        self.html.raw("<dt><b>Time held</b></dt><dd>within the period, summed over people; what one person held twice at a time counts once.</dd>\n<dt><b>Time to decision</b></dt><dd>from filing to the approval that granted, or to the denial. The median and the 90th percentile are by nearest rank: the least time that so many percent of the decisions did not exceed.</dd>\n</dl>\n");
        self.paragraph("Requests are shown as they were at the end of the period: decisions, ends and reviews after it are left out. The members are those of the team at the end of the period, and what became of a recertification’s items is what had become of them by then. A grant ends by the clock, whether or not its end was recorded by then. Texts longer than 600 characters are cut; <code>access show REQUEST</code> has all of them. Characters that hide or reorder text are shown by their number.");
        self.paragraph("To check this report, put the checkpoint above into a file and run:");
        self.html.raw("<ul>\n<li><code>access audit verify --against FILE</code>: the log is whole, and has not changed since the checkpoint</li>\n");
        self.html.raw("<li><code>access audit --request REQUEST</code>: the entries of one request</li>\n<li><code>access audit export --format raw</code>: the log itself, which can be verified without this program</li>\n<li><code>");
        self.csv_command();
        self.html.raw("</code>: everything that this page counts, row by row</li>\n</ul>\n");
        self.end_section();
    }

    pub(super) fn bases(&mut self) {
        self.section("basis");
        self.paragraph("The entries of the log behind each figure; the last of them, where there are many. Of a grant and of a decision it is the entry that made it, of a request the one that filed it, of a recertification the one that started it, of what nobody kept the one that closed it, and of a member the one that brought them into the team.");
        for figure in Figure::ALL {
            let basis = self.evidence.basis(figure).clone();
            self.html
                .raw("<div class=\"basis\" id=\"b-")
                .raw(figure.key())
                .raw("\"><h3>")
                .raw(figure.title())
                .raw(": ");
            self.html.count(basis.count).raw("</h3><p>");
            if basis.count == 0 {
                self.html.raw("None. ");
            }
            for citation in &basis.cited.rows {
                self.cite(citation);
                self.html.raw(" ");
            }
            if basis.cited.more() > 0 {
                self.html
                    .raw("and ")
                    .count(basis.cited.more())
                    .raw(" more in <code>")
                    .raw(figure.file())
                    .raw("</code>");
            }
            self.html.raw("</p></div>\n");
        }
        self.html.raw("<p class=\"note\">The files: <code>");
        self.csv_command();
        self.html.raw("</code></p>\n");
        self.end_section();
    }

    pub(super) fn entries(&mut self) {
        self.section("entries");
        let cited = std::mem::take(&mut self.cited);
        self.html.raw("<p>The ").count(cited.len() as u64);
        self.html.raw(" entries that this page names, by their number in the log: when, who, what, and the request.</p>\n<ul class=\"entries\">\n");
        for (seq, citation) in cited {
            self.html.raw("<li id=\"e").digits(seq).raw("\"><b>").digits(seq).raw("</b>");
            let EntryRef { at, actor, action, .. } = &citation.entry;
            self.html.text(&time(*at)).raw(" ").text(actor.as_ref().map_or("–", |actor| actor.as_str()));
            self.html.raw(" <i>").text(action);
            if let Some(request) = citation.request {
                self.html.raw(" ").digits(request);
            }
            self.html.raw("</i>");
            self.html.raw("</li>\n");
        }
        self.html.raw("</ul>\n");
        self.end_section();
    }
}
