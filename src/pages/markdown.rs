//! The documents that are manual pages too: the Markdown of docs/, as far as these pages use it, in roff.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// Appends a document. Its title is left to the page: NAME says it.
pub fn append(roff: &mut Roff, document: &str) {
    let mut lines = document.lines().skip(1).peekable();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            roff.control("SH", [plain(heading).as_str()]);
        } else if let Some(heading) = line.strip_prefix("### ") {
            roff.control("SS", [plain(heading).as_str()]);
        } else if line.starts_with("```") {
            for (name, arguments) in [("PP", None), ("RS", Some("4")), ("nf", None)] {
                roff.control(name, arguments);
            }
            for code in lines.by_ref().take_while(|line| *line != "```") {
                roff.text([roman(code)]);
            }
            roff.control("fi", []);
            roff.control("RE", []);
        } else if line.starts_with('|') {
            // The head of a table, and the rule below it.
            lines.next();
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                table_row(roff, row);
            }
        } else if let Some(item) = line.strip_prefix("- ") {
            roff.control("IP", ["\\(bu", "2"]);
            roff.text(inline(item));
        } else if !line.is_empty() {
            if !line.starts_with("  ") {
                roff.control("PP", []);
            }
            roff.text(inline(line.trim_start()));
            while let Some(more) = lines.next_if(|line| continues(line)) {
                roff.text(inline(more.trim_start()));
            }
        }
    }
}

/// Whether a line belongs to the paragraph above it.
fn continues(line: &str) -> bool {
    !line.is_empty() && !["#", "|", "- ", "```"].iter().any(|mark| line.starts_with(mark))
}

/// The first cell is the term. The others explain it, each in a sentence.
fn table_row(roff: &mut Roff, row: &str) {
    let row = row.trim_matches('|').replace("\\|", "\u{0}");
    let mut cells = row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).filter(|cell| !cell.is_empty());
    roff.control("TP", []);
    roff.text(inline(&cells.next().unwrap_or_default()));
    let sentences: Vec<String> = cells.map(|cell| sentence(&cell)).collect();
    roff.text(inline(&sentences.join(" ")));
}

fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', ':', '?']) { "" } else { "." };
    format!("{first}{}{stop}", rest.as_str())
}

/// Words with their marks: code and strong words are bold, and a link is its text.
fn inline(text: &str) -> Vec<Inline> {
    let text = without_links(text).replace("**", "`");
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(n, part)| if n % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

fn plain(text: &str) -> String {
    without_links(text).replace(['`', '*'], "")
}

/// `[text](address)` becomes `text`, with its marks.
fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut written = String::new();
    while let Some((before, link)) = rest.split_once("](") {
        let Some((target, after)) = link.split_once(')') else { break };
        // In code, as in `[[webhooks]](…)`, or without an opening bracket it is none.
        let Some((head, label)) = before.rsplit_once('[') else { break };
        written += head;
        written += label;
        if target.starts_with("http") && label != target {
            written += &format!(" <{target}>");
        }
        rest = after;
    }
    written + rest
}
