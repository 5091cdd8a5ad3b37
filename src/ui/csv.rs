//! Comma-separated values (RFC 4180): the audit log and requests. They are safe to open in a spreadsheet: a cell that would be
//! taken for a formula begins with an apostrophe (OWASP, "CSV Injection").

use std::io::{self, Write};

use super::escape;
use crate::domain::name::Name;
use crate::domain::request::Verdict;
use crate::domain::time::Timestamp;
use crate::protocol::{EntryView, RequestView, ReviewView};
use crate::report::{asked, length};

pub const ENTRY_HEADER: &str = "seq,at,actor,os_user,action,request,detail,told,hash\r\n";

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
    row(out, &cells)
}

pub const REQUEST_HEADER: &str = "id,requester,resource,reason,ticket,asked,granted,approvers,decided_at,starts_at,\
     ends_at,ended_at,ended_by,emergency,reviewed_by,state,submitted_at,reviewed_at\r\n";

pub fn request(out: &mut dyn Write, view: &RequestView) -> io::Result<()> {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let grant = view.grant.as_ref();
    let granted = grant.map(|grant| {
        let ends_at = grant.ends_at.filter(|_| grant.duration.is_none());
        let other = if grant.resource == view.resource { String::new() } else { format!("{} ", grant.resource) };
        format!("{other}{}", length(grant.duration.as_ref(), ends_at))
    });
    let approvals = view.decisions.iter().filter(|it| it.verdict == Verdict::Approve && it.counts);
    let rule = grant.and_then(|grant| grant.by_rule.as_ref()).map(|rule| format!("rule:{rule}"));
    let approvers: Vec<String> = approvals.map(|decision| decision.by.to_string()).chain(rule).collect();
    let review = match &view.review {
        Some(ReviewView::Done(review)) => Some(review),
        Some(ReviewView::Owed(_)) | None => None,
    };
    row(
        out,
        &[
            view.id.to_string(),
            view.requester.to_string(),
            view.resource.to_string(),
            view.reason.to_string(),
            view.ticket.as_ref().map(ToString::to_string).unwrap_or_default(),
            asked(view),
            granted.unwrap_or_default(),
            approvers.join("; "),
            time(view.decisions.last().map(|decision| decision.at)),
            time(grant.map(|grant| grant.starts_at)),
            time(grant.and_then(|grant| grant.ends_at)),
            time(grant.and_then(|grant| grant.ended_at)),
            grant.and_then(|grant| grant.ended_by.as_ref()).map(Name::to_string).unwrap_or_default(),
            view.emergency.to_string(),
            review.map(|review| review.by.to_string()).unwrap_or_default(),
            view.state.to_string(),
            view.submitted_at.to_string(),
            time(review.map(|review| review.at)),
        ],
    )
}

/// A line of cells.
pub fn row(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let line: Vec<String> = cells.iter().map(|text| cell(&escape::lines(text))).collect();
    write!(out, "{}\r\n", line.join(","))
}

fn cell(text: &str) -> String {
    // The last four are the first four in full width, which some spreadsheets take for the same.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
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
        assert_eq!(cell("\n=1+1"), "\"'\n=1+1\"");
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("＝1+1"), "'＝1+1");
    }
}
