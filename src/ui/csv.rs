//! Comma-separated values (RFC 4180), and the audit log as such. They are safe to open in a spreadsheet: a cell that would be
//! taken for a formula begins with an apostrophe (OWASP, "CSV Injection").

use std::io::{self, Write};

use super::escape;
use crate::domain::name::Name;
use crate::protocol::EntryView;

pub const HEADER: &str = "seq,at,actor,os_user,action,request,detail,told,hash\r\n";

pub fn entry(out: &mut dyn Write, entry: &EntryView) -> io::Result<()> {
    // The event as it is stored: `action` and `detail`.
    let event = serde_json::to_value(&entry.event)?;
    let part = |key: &str| event.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let recipients: Vec<String> =
        entry.recipients.iter().map(|recipient| format!("{} {}", recipient.member, recipient.event)).collect();
    let cells = [
        entry.seq.to_string(),
        entry.at.to_string(),
        entry.actor.as_ref().map(Name::to_string).unwrap_or_default(),
        entry.os_user.clone(),
        part("action").unwrap_or_default(),
        entry.request.map(|id| id.to_string()).unwrap_or_default(),
        // Stays JSON.
        part("detail").map(|detail| escape::json(&detail).into_owned()).unwrap_or_default(),
        recipients.join("; "),
        entry.hash.clone(),
    ];
    line(out, &cells)
}

/// One line of cells.
pub fn line(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let line: Vec<String> = cells.iter().map(|text| cell(&escape::lines(text))).collect();
    write!(out, "{}\r\n", line.join(","))
}

fn cell(text: &str) -> String {
    // The last four are the first four in full width, which some spreadsheets take for the same.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("＝1+1"), "'＝1+1");
    }
}
