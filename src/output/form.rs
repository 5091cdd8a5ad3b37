//! What a form shows between its questions.

use super::escape::{line, lines};
use super::text::{asked, field, folded, wrapped};
use crate::command::{ApprovalsView, NeedView, NeedsView, RequestView};
use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::request::End;
use crate::domain::time::Timestamp;
use crate::when::date_and_time;

/// Who decides on a resource, the longest that can be asked for, and what else a request needs.
pub fn needs(view: &NeedsView) -> String {
    let about = if view.about.is_empty() { String::new() } else { format!(", {}", view.about) };
    let mut text = format!("{}{about}\n", view.resource);
    let Some(first) = view.usual() else { return text };
    who_decides(&mut text, first);
    if let Some(longest) = view.longest {
        field(&mut text, "how long", &at_most(longest));
    }
    texts(&mut text, first);
    // Longer access may take more.
    let from = view.lengths.iter().position(|need| need.end == first.end).unwrap_or(0);
    for pair in view.lengths[from..].windows(2) {
        if let [before, need] = pair
            && !before.takes_the_same_as(need)
        {
            text += &format!("  {}\n", above(before.end, need.end));
            who_decides(&mut text, need);
            texts(&mut text, need);
        }
    }
    text
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

fn who_decides(text: &mut String, need: &NeedView) {
    if need.at_once {
        field(text, "decides", "nobody has to: it is granted at once");
    } else {
        approvers(text, &need.approvals);
    }
    for warning in &need.warnings {
        field(text, "warning", &wrapped(&line(warning)));
    }
}

/// Whose approval it will take, by each demand.
fn approvers(text: &mut String, approvals: &ApprovalsView) {
    for demand in &approvals.requirements {
        let named: Vec<&str> = demand.waiting_on.iter().map(Name::as_str).collect();
        let who = match (demand.need, named.split_last()) {
            (_, None) => "nobody".to_owned(),
            (1, Some((only, []))) => (*only).to_owned(),
            (1, Some((last, others))) => format!("{} or {last}", others.join(", ")),
            (need, Some(_)) => format!("{need} of {}", named.join(", ")),
        };
        let rule = demand.rule.as_ref().map_or_else(String::new, |rule| format!(" (rule {rule:?})"));
        field(text, "decides", &wrapped(&line(&format!("{who}{rule}"))));
    }
}

fn texts(text: &mut String, need: &NeedView) {
    for pattern in &need.tickets {
        field(text, "ticket", &wrapped(&line(&format!("required, like {pattern}"))));
    }
    if let Some(least) = need.reason_min {
        field(text, "reason", &format!("at least {least} characters"));
    }
}

/// What is about to be filed.
pub fn summary(view: &RequestView, now: Timestamp) -> String {
    let mut text = format!("\nYour request: {}\n", asked(view));
    if view.filed_by != view.requester {
        field(&mut text, "for", view.requester.as_str());
    }
    field(&mut text, "reason", &folded(&lines(view.reason.as_str())));
    if let Some(ticket) = &view.ticket {
        field(&mut text, "ticket", &line(ticket.as_str()));
    }
    match &view.grant {
        Some(grant) if grant.starts_at > now => {
            field(&mut text, "granted", &format!("at once, from {}", date_and_time(grant.starts_at)));
        }
        Some(_) => field(&mut text, "granted", "at once"),
        None => {
            approvers(&mut text, &view.approvals);
            let lapses = date_and_time(view.lapses_at);
            field(&mut text, "lapses", &format!("{lapses} if it is not decided by then"));
        }
    }
    if view.emergency {
        field(&mut text, "review", "owed afterwards; all who could approve are told");
    }
    text
}
