//! What people are told, and in which words. A notification is an entry of the log as one person is told of it:
//! nothing is stored twice, and the words are made when they are read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::event::{Because, Event};
use super::name::Name;
use super::request::{Request, Terms};
use super::{Malformed, read_by_parsing};

/// Somebody who is told, and of what. Written `["bob","access.expired"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told(pub Name, pub Notice);

/// The events that people are told of, and can set preferences for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    RequestSubmitted,
    RequestApproved,
    RequestDenied,
    RequestWithdrawn,
    RequestLapsed,
    AccessExpiring,
    AccessExpired,
    AccessRevoked,
    TeamChanged,
}

/// Where a notification goes besides the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Email,
    Slack,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Slack => "slack",
        }
    }
}

impl Notice {
    pub const ALL: [Notice; 9] = [
        Notice::RequestSubmitted,
        Notice::RequestApproved,
        Notice::RequestDenied,
        Notice::RequestWithdrawn,
        Notice::RequestLapsed,
        Notice::AccessExpiring,
        Notice::AccessExpired,
        Notice::AccessRevoked,
        Notice::TeamChanged,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Notice::RequestSubmitted => "request.submitted",
            Notice::RequestApproved => "request.approved",
            Notice::RequestDenied => "request.denied",
            Notice::RequestWithdrawn => "request.withdrawn",
            Notice::RequestLapsed => "request.lapsed",
            Notice::AccessExpiring => "access.expiring",
            Notice::AccessExpired => "access.expired",
            Notice::AccessRevoked => "access.revoked",
            Notice::TeamChanged => "team.changed",
        }
    }

    pub fn to(self, member: &Name) -> Told {
        Told(member.clone(), self)
    }

    pub fn to_all<'m>(self, members: impl IntoIterator<Item = &'m Name>) -> Vec<Told> {
        members.into_iter().map(|member| self.to(member)).collect()
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Notice {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Notice, Malformed> {
        Notice::ALL
            .into_iter()
            .find(|notice| notice.as_str() == text)
            .ok_or_else(|| Malformed::new(format!("{text:?} is no event that anybody is told of")))
    }
}

read_by_parsing!(Notice);

impl Serialize for Notice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// `for 4h`, `for good`, `until 2026-12-01T17:00:00Z`.
pub fn how_long(terms: &Terms) -> String {
    match (terms.end.duration(), terms.end.until()) {
        (Some(super::duration::Duration::Permanent), _) => "for good".to_owned(),
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
            let named: Vec<String> = changes.iter().take(5).map(super::team::Change::what).collect();
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
    }
}

fn after_colon(text: Option<&super::text::Text>) -> String {
    text.map_or_else(String::new, |text| format!(": {text}"))
}
