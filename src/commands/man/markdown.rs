//! The documents that are manual pages too: the Markdown of docs/, as far as these pages use it, in roff.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// Appends a document. Its title is left to the page: NAME says it.
pub fn append(roff: &mut Roff, document: &str) {
    let mut lines = document.lines().skip(1).peekable();
    // A heading begins a paragraph of its own.
    let mut after_heading = true;
    while let Some(line) = lines.next() {
        let is_paragraph = !line.is_empty() && !["#", "|", "- ", "  "].iter().any(|mark| line.starts_with(mark));
        if is_paragraph && !after_heading {
            roff.control("PP", []);
        }
        after_heading = line.starts_with('#') || after_heading && line.is_empty();
        if let Some(heading) = line.strip_prefix("## ") {
            roff.control("SH", [heading_text(heading).as_str()]);
        } else if line.starts_with("```") {
            roff.control("RS", ["4"]);
            roff.control("nf", []);
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

/// A heading is in capitals, except for the name of a section in a file.
fn heading_text(heading: &str) -> String {
    let text = heading.replace('`', "");
    if text.contains('[') { text } else { text.to_uppercase() }
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

/// `[text](address)` becomes its text, or the name of the page that the address is.
fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut written = String::new();
    while let Some((before, link)) = rest.split_once("](") {
        let (Some((head, label)), Some((address, after))) = (before.rsplit_once('['), link.split_once(')')) else {
            break;
        };
        written += head;
        written += match address {
            "config.md" => "**access-config**(5)",
            "team-file.md" => "**access-team**(5)",
            _ => label,
        };
        rest = after;
    }
    written + rest
}
