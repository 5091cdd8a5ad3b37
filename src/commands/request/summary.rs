//! What the form shows between its questions.

use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::terms::End;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::protocol::{ApprovalsView, NeedView, NeedsView, RequestView};
use crate::time_format::date_and_time;
use crate::ui::{Sheet, line, lines, request};

/// Who decides on a resource, the longest that can be asked for, and what else a request needs.
pub fn needs(sheet: &mut Sheet, view: &NeedsView) {
    let about = if view.about.is_empty() { String::new() } else { format!(", {}", view.about) };
    sheet.line(&format!("{}{about}", view.resource));
    let Some(first) = view.usual() else { return };
    who_decides(sheet, first);
    if let Some(longest) = view.longest {
        sheet.field("how long", &at_most(longest));
    } else if let End::After(length) = first.end {
        // Only this length was asked about: of an extension.
        sheet.field("how long", &format!("{length} more"));
    }
    texts(sheet, first);
    // Longer access may need more.
    let from = view.lengths.iter().position(|need| need.end == first.end).unwrap_or(0);
    for pair in view.lengths[from..].windows(2) {
        if let [before, need] = pair
            && !before.takes_the_same_as(need)
        {
            sheet.item("  ", 2, &above(before.end, need.end));
            who_decides(sheet, need);
            texts(sheet, need);
        }
    }
}

/// From which length on something holds that does not hold for the one before.
fn above(before: End, end: End) -> String {
    match (before, end) {
        (End::After(before), End::After(length)) if length.seconds() <= before.seconds() + 60 => {
            format!("for longer than {before}:")
        }
        (_, End::After(length)) => format!("for {length} or longer:"),
        (_, End::At(time)) => format!("until {}:", date_and_time(time)),
        (_, End::Never) => "if it is permanent:".to_owned(),
    }
}

fn at_most(longest: End) -> String {
    match longest {
        End::Never => "any length, or permanent".to_owned(),
        End::After(Length::LONGEST) => "any length, but not permanent".to_owned(),
        End::After(length) => format!("at most {length}"),
        End::At(time) => format!("until {}", date_and_time(time)),
    }
}

fn who_decides(sheet: &mut Sheet, need: &NeedView) {
    if need.at_once {
        sheet.field("decides", "no approval needed: it is granted at once");
    } else {
        approvers(sheet, &need.approvals);
    }
    for warning in &need.warnings {
        sheet.field("warning", &line(warning));
    }
}

/// Whose approval it will take, by each demand.
fn approvers(sheet: &mut Sheet, approvals: &ApprovalsView) {
    for demand in &approvals.requirements {
        let named: Vec<&str> = demand.waiting_on.iter().map(Name::as_str).collect();
        let who = match (demand.need, named.split_last()) {
            (_, None) => "nobody".to_owned(),
            (1, Some((only, []))) => (*only).to_owned(),
            (1, Some((last, others))) => format!("{} or {last}", others.join(", ")),
            (need, Some(_)) => format!("{need} of {}", named.join(", ")),
        };
        let rule = demand.rule.as_ref().map_or_else(String::new, |rule| format!(" (rule {rule:?})"));
        sheet.field("decides", &line(&format!("{who}{rule}")));
    }
}

fn texts(sheet: &mut Sheet, need: &NeedView) {
    for pattern in &need.tickets {
        sheet.field("ticket", &line(&format!("required, like {pattern}")));
    }
    if let Some(least) = need.reason_min {
        sheet.field("reason", &format!("at least {}", quantity(least, "character", "characters")));
    }
}

/// What is about to be filed.
pub fn draft(sheet: &mut Sheet, view: &RequestView, now: Timestamp) {
    sheet.line("");
    sheet.line(&format!("Your request: {}", request::asked(view)));
    if view.filed_by != view.requester {
        sheet.field("for", view.requester.as_str());
    }
    sheet.field("reason", &lines(view.reason.as_str()));
    if let Some(ticket) = &view.ticket {
        sheet.field("ticket", &line(ticket.as_str()));
    }
    match &view.grant {
        Some(grant) if grant.starts_at > now => {
            sheet.field("granted", &format!("at once, from {}", date_and_time(grant.starts_at)));
        }
        Some(_) => sheet.field("granted", "at once"),
        None => {
            approvers(sheet, &view.approvals);
            let lapses = date_and_time(view.lapses_at);
            sheet.field("lapses", &format!("{lapses} if it is not decided by then"));
        }
    }
    if view.emergency {
        sheet.field("review", "needed afterwards; everyone who could approve is notified");
    }
}
