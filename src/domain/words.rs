//! What happened, in words: for notifications, the audit log and a request's timeline.

use super::duration::Duration;
use super::event::{Because, Event};
use super::name::Name;
use super::request::{Request, Terms};
use super::team::Change;
use super::text::Text;

/// `for 4h`, `for good`, `until 2026-12-01T17:00:00Z`.
pub fn how_long(terms: &Terms) -> String {
    match (terms.end.duration(), terms.end.until()) {
        (Some(Duration::Permanent), _) => "for good".to_owned(),
        (Some(duration), _) => format!("for {duration}"),
        (None, until) => until.map_or_else(String::new, |until| format!("until {until}")),
    }
}

/// An event in words, for somebody who has the request before them, its reason too.
pub fn briefly(event: &Event, actor: Option<&Name>) -> String {
    if let Event::RequestSubmitted { requester, filed_by, asked, .. } = event {
        asks(requester, filed_by, asked)
    } else {
        words(event, actor, None)
    }
}

fn asks(requester: &Name, filed_by: &Name, asked: &Terms) -> String {
    let filer = if filed_by == requester { String::new() } else { format!(" (filed by {filed_by})") };
    format!("{requester}{filer} asks for {} {}", asked.resource, how_long(asked))
}

/// An event in words. `request`: the one that it concerns, if it does.
pub fn words(event: &Event, actor: Option<&Name>, request: Option<&Request>) -> String {
    // Not every event carries the resource; the reader should not have to look it up.
    let of = request.map_or_else(String::new, |request| format!(" ({})", request.asked.resource));
    match event {
        Event::TeamInitialized { .. } => "The team was set up".to_owned(),
        Event::TeamApplied { changes } => {
            let actor = actor.map_or("root", Name::as_str);
            let named: Vec<String> = changes.iter().take(5).map(Change::what).collect();
            let more = changes.len().saturating_sub(named.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{actor} changed the team: {}{more}", named.join(", "))
        }
        Event::RequestSubmitted { request, requester, filed_by, asked, reason, .. } => {
            format!("{}, request {request}: {reason}", asks(requester, filed_by, asked))
        }
        Event::RequestApproved { request, by, terms, asked, note } => {
            let asked = asked.as_ref().map(|asked| format!(" (asked: {} {})", asked.resource, how_long(asked)));
            let note = note.as_ref().map(|note| format!(": {note}"));
            format!(
                "{by} approved request {request}: {} {}{}{}",
                terms.resource,
                how_long(terms),
                asked.unwrap_or_default(),
                note.unwrap_or_default()
            )
        }
        Event::RequestDenied { request, by, reason } => {
            format!("{by} denied request {request}{of}{}", after_colon(reason.as_ref()))
        }
        Event::RequestWithdrawn { request, by, because: Because::Asked } => {
            format!("{by} withdrew request {request}{of}")
        }
        Event::RequestWithdrawn { request, because, .. } => format!("Request {request}{of} was withdrawn: {because}"),
        Event::RequestLapsed { request, .. } => format!("Request {request}{of} lapsed: nobody decided in time"),
        Event::GrantStarted { request, resource, .. } => format!("Access to {resource} began (request {request})"),
        Event::GrantExpiring { request, resource, .. } => {
            format!("Access to {resource} ends within the hour (request {request})")
        }
        Event::GrantExpired { request, resource, .. } => format!("Access to {resource} has ended (request {request})"),
        Event::GrantRevoked { request, resource, by, because: Because::Asked, reason } => {
            format!("{by} revoked access to {resource} (request {request}){}", after_colon(reason.as_ref()))
        }
        Event::GrantRevoked { request, resource, because, .. } => {
            format!("Access to {resource} was revoked (request {request}): {because}")
        }
        Event::AttemptRefused { command, why, .. } => format!("{command} was refused: {why}"),
        Event::ClockAccepted { .. } => "The clock was set back and accepted".to_owned(),
        Event::PreferenceChanged { member, .. } => format!("{member} changed how they are notified"),
    }
}

fn after_colon(text: Option<&Text>) -> String {
    text.map_or_else(String::new, |text| format!(": {text}"))
}
