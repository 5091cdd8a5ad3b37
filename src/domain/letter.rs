//! What is sent to people, before it is an email or a Slack message: what happened, what it is about, what to do.
//! Its subject holds ids and names only, never what somebody wrote: it becomes a mail's header.

use super::difference;
use super::emergency::{Emergency, one_of};
use super::event::{Entry, Event};
use super::name::Name;
use super::notification::Notice;
use super::request::{Recorded, Request};
use super::time::Timestamp;
use super::words::{briefly, how_long, words};

/// One message.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The same at every attempt, and of no other message: hex digits and dots.
    pub token: String,
    /// What it belongs to: the same for all that is told of one request.
    pub thread: Option<String>,
    pub team: Name,
    /// When the (last) event was recorded.
    pub at: Timestamp,
    pub subject: String,
    /// One, or those of a digest, oldest first.
    pub pieces: Vec<Piece>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Piece {
    pub at: Timestamp,
    /// In a line: ids and names only.
    pub headline: String,
    /// In words, with what people wrote.
    pub text: String,
    /// Who wants what, why, for how long.
    pub facts: Vec<(&'static str, String)>,
    /// What the reader may want to type.
    pub commands: Vec<String>,
}

impl Letter {
    /// A letter of one piece, or a digest of several.
    pub fn of(team: Name, token: String, thread: Option<String>, pieces: Vec<Piece>) -> Option<Letter> {
        let last = pieces.last()?;
        let subject = match pieces.as_slice() {
            [only] => format!("[{team}] {}", only.headline),
            many => format!("[{team}] {} notifications", many.len()),
        };
        Some(Letter { token, thread, at: last.at, subject, team, pieces })
    }

    /// The letter of `notify test`.
    pub fn test(team: Name, member: &Name, token: String, now: Timestamp) -> Letter {
        let headline = "A test of your notifications".to_owned();
        let text = format!("{member}, this is what you asked for: notifications reach you here.");
        let commands = vec!["access notify".to_owned()];
        let subject = format!("[{team}] {headline}");
        let piece = Piece { at: now, headline, text, facts: Vec::new(), commands };
        Letter { token, thread: None, team, at: now, subject, pieces: vec![piece] }
    }
}

impl Piece {
    /// `request`: the one that the entry concerns, if it does. `emergency`: what to know besides, where it tells of one.
    pub fn of(entry: &Entry, notice: Notice, request: Option<&Request>, emergency: Option<&Emergency>) -> Piece {
        // "has new terms" would be wrong for a new reason or ticket.
        let headline = match (&entry.event, request) {
            (Event::RequestEdited { request, by, to, .. }, _) => {
                format!("{by} changed request {request} for {}", to.asked.resource)
            }
            (Event::ApprovalsVoided { .. }, Some(Request { id, requester, asked, .. })) => {
                format!("Request {id} of {requester} for {} now reaches more", asked.resource)
            }
            (_, request) => headline(notice, request),
        };
        let mut text = match (&entry.event, request) {
            // A line for each change.
            (Event::TeamApplied { changes }, _) => {
                difference::in_words(entry.actor.as_ref().map_or("root", Name::as_str), changes, "\n")
            }
            // The reason stands among the facts, once.
            (event, Some(_)) if notice == Notice::RequestSubmitted => briefly(event, entry.actor.as_ref()),
            (event, _) => words(event, entry.actor.as_ref(), request),
        };
        let mut facts = request.map(|request| facts(notice, request)).unwrap_or_default();
        if let (Some(request), Some(emergency)) = (request, emergency) {
            text += &emergency.words(request);
            facts.extend(emergency.reviewers.as_ref().map(|reviewers| ("Reviewers", one_of(reviewers))));
        }
        Piece { at: entry.at, headline, text, facts, commands: commands(notice, request) }
    }
}

fn headline(notice: Notice, request: Option<&Request>) -> String {
    let Some(request) = request else { return plain_headline(notice).to_owned() };
    let (id, who, asked) = (request.id, &request.requester, &request.asked.resource);
    let held = request.grant.as_ref().map_or(asked, |grant| &grant.terms.resource);
    match notice {
        Notice::RequestSubmitted => format!("{who} asks for {asked} (request {id})"),
        Notice::RequestApproved => format!("Request {id} for {asked} was approved"),
        Notice::RequestDenied => format!("Request {id} for {asked} was denied"),
        Notice::RequestWithdrawn => format!("Request {id} of {who} for {asked} was withdrawn"),
        Notice::RequestLapsed => format!("Request {id} for {asked} lapsed"),
        Notice::RequestChanged => format!("Request {id} of {who} for {asked} has new terms"),
        Notice::RequestReminder => format!("{who} still waits for {asked} (request {id})"),
        Notice::RequestDecided => format!("Request {id} of {who} for {asked} was {}", verdict(request)),
        Notice::AccessStarted => format!("Your access to {held} began (request {id})"),
        Notice::AccessExpiring => format!("Your access to {held} ends soon (request {id})"),
        Notice::AccessExpired => format!("Your access to {held} has ended (request {id})"),
        Notice::AccessRevoked => format!("Your access to {held} was revoked (request {id})"),
        Notice::AccessEmergency => format!("EMERGENCY: {who} took {held} (request {id})"),
        Notice::TeamChanged => plain_headline(notice).to_owned(),
    }
}

fn verdict(request: &Request) -> &'static str {
    match request.recorded {
        Recorded::Approved => "approved",
        Recorded::Denied => "denied",
        Recorded::Pending | Recorded::Withdrawn | Recorded::Lapsed => "decided",
    }
}

fn plain_headline(notice: Notice) -> &'static str {
    match notice {
        Notice::RequestSubmitted => "Somebody asks for access",
        Notice::RequestApproved => "A request was approved",
        Notice::RequestDenied => "A request was denied",
        Notice::RequestWithdrawn => "A request was withdrawn",
        Notice::RequestLapsed => "A request lapsed",
        Notice::RequestChanged => "A request has new terms",
        Notice::RequestReminder => "A request still waits",
        Notice::RequestDecided => "A request was decided",
        Notice::AccessStarted => "Access began",
        Notice::AccessExpiring => "Access ends soon",
        Notice::AccessExpired => "Access has ended",
        Notice::AccessRevoked => "Access was revoked",
        Notice::AccessEmergency => "EMERGENCY access was taken",
        Notice::TeamChanged => "The team was changed",
    }
}

fn facts(notice: Notice, request: &Request) -> Vec<(&'static str, String)> {
    let terms = match &request.grant {
        Some(grant) if !notice.asks_for_a_decision() => &grant.terms,
        Some(_) | None => &request.asked,
    };
    let filed =
        if request.filed_by == request.requester { String::new() } else { format!(" (filed by {})", request.filed_by) };
    let mut facts = vec![
        ("Who", format!("{}{filed}", request.requester)),
        ("What", terms.resource.to_string()),
        ("How long", how_long(terms)),
        ("Why", request.reason.to_string()),
    ];
    facts.extend(request.ticket.as_ref().map(|ticket| ("Ticket", ticket.to_string())));
    facts
}

fn commands(notice: Notice, request: Option<&Request>) -> Vec<String> {
    let Some(request) = request else {
        let look = if notice == Notice::TeamChanged { "access audit --action team.applied" } else { "access inbox" };
        return vec![look.to_owned()];
    };
    let id = request.id;
    let show = format!("access show {id}");
    if notice.asks_for_a_decision() {
        return vec![format!("access approve {id}"), format!("access deny {id} --reason '…'"), show];
    }
    match notice {
        Notice::AccessExpiring => vec![format!("access extend {id} --reason '…'"), show],
        Notice::AccessEmergency => vec![show, format!("access review {id} --note '…'"), format!("access revoke {id}")],
        Notice::RequestSubmitted
        | Notice::RequestApproved
        | Notice::RequestDenied
        | Notice::RequestWithdrawn
        | Notice::RequestLapsed
        | Notice::RequestChanged
        | Notice::RequestReminder
        | Notice::RequestDecided
        | Notice::AccessStarted
        | Notice::AccessExpired
        | Notice::AccessRevoked
        | Notice::TeamChanged => vec![show],
    }
}
