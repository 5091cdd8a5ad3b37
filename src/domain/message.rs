//! Messages: notifications for people, and JSON for programs. Transports turn them into emails, Slack messages and requests.
//!
//! Subjects and headlines hold ids and names only, never what people wrote: they become mail headers.

use super::catalog::Environment;
use super::channel::Address;
use super::describe::{Times, briefly_with, by_rule, how_long, words_with};
use super::entitlement::Entitlement;
use super::event::{Entry, Event, Granted, MetDemand, Revision};
use super::grant::Grant;
use super::name::{Name, one_of};
use super::notification::NotificationKind;
use super::provisioning::{Failed, ProvisionedAccess, ProvisioningOperation};
use super::request::emergency::Emergency;
use super::request::vote::Tally;
use super::request::{Recorded, Request, Verdict};
use super::team::difference;
use super::terms::{End, Terms};
use super::text::{joined, quantity};
use super::time::Timestamp;

/// One message to one address.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same at every attempt, and of no other message to this address.
    pub id: String,
    pub to: Address,
    pub body: Body,
    /// When this attempt is made.
    pub sent_at: Timestamp,
    /// How many attempts failed.
    pub attempts: u32,
}

#[derive(Debug, Clone)]
pub enum Body {
    Notifications(Box<Notifications>),
    Checkpoint(Box<CheckpointMail>),
    Json(String),
}

/// A signed checkpoint of the log, for a mailbox that keeps it.
#[derive(Debug, Clone)]
pub struct CheckpointMail {
    pub team: Name,
    /// The number of entries.
    pub size: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The signed note, byte by byte.
    pub note: String,
}

/// The notifications of one message to people.
#[derive(Debug, Clone)]
pub struct Notifications {
    pub team: Name,
    /// What the message belongs to: the same for all messages about one request.
    pub thread: Option<String>,
    /// When the last of the entries was recorded.
    pub at: Timestamp,
    pub subject: String,
    /// One, or those of a digest, oldest first.
    pub each: Vec<Notification>,
}

/// What people read of one entry of the log.
#[derive(Debug, Clone)]
pub struct Notification {
    pub at: Timestamp,
    /// The same in the reader's time zone.
    pub when: String,
    /// One line: ids and names only.
    pub headline: String,
    /// What happened, with what people wrote.
    pub text: String,
    /// Labelled details of the request: who, what, why, for how long.
    pub facts: Vec<(&'static str, String)>,
    /// Commands that the reader may want to run.
    pub commands: Vec<String>,
}

impl Notifications {
    /// None if there are none.
    pub fn new(team: Name, thread: Option<String>, each: Vec<Notification>) -> Option<Notifications> {
        let last = each.last()?;
        let subject = match each.as_slice() {
            [only] => format!("[{team}] {}", only.headline),
            many => format!("[{team}] {} notifications", many.len()),
        };
        Some(Notifications { thread, at: last.at, subject, team, each })
    }

    /// The notifications without what people wrote.
    #[must_use]
    pub fn without_words(self) -> Notifications {
        Notifications { each: self.each.into_iter().map(Notification::without_words).collect(), ..self }
    }

    /// The message of `notify test`.
    pub fn test(team: Name, member: &Name, now: Timestamp, when: String) -> Notifications {
        let headline = "Test notification".to_owned();
        let text = format!("{member}, you asked for this test: notifications reach you here.");
        let commands = vec!["access notify".to_owned()];
        let subject = format!("[{team}] {headline}");
        let only = Notification { at: now, when, headline, text, facts: Vec::new(), commands };
        Notifications { thread: None, team, at: now, subject, each: vec![only] }
    }
}

impl Notification {
    /// The notification with names and numbers only, for a receiver that refuses what people wrote.
    #[must_use]
    fn without_words(self) -> Notification {
        let text = "What people wrote is left out, because it was refused on the way to you.".to_owned();
        Notification { text, facts: Vec::new(), ..self }
    }
}

/// What a notification says in addition to its entry.
pub struct Background<'b> {
    /// The request that the entry concerns, if it does.
    pub request: Option<&'b Request>,
    /// Of the resource.
    pub environment: Option<Environment>,
    /// The approvals that a pending request has and needs.
    pub tallies: &'b [Tally],
    /// How it was granted, once it is.
    pub granted: Option<&'b Granted>,
    /// Of an emergency: its reviewers, and how many there were lately.
    pub emergency: Option<&'b Emergency>,
    /// After a revocation: how the member still has the access.
    pub still_held: Option<&'b Entitlement>,
    /// Writes times for the reader.
    pub times: Times<'b>,
}

impl Notification {
    pub fn of(entry: &Entry, kind: NotificationKind, background: &Background<'_>) -> Notification {
        let Background { request, times, .. } = *background;
        // "has new terms" would be wrong for a new reason or ticket.
        let headline = match (&entry.event, request) {
            (Event::RequestEdited(Revision { request, by, to, .. }), _) if kind == NotificationKind::RequestChanged => {
                format!("{by} changed request {request} for {}", to.asked.resource)
            }
            (Event::ApprovalsVoided { .. }, Some(Request { id, requester, details, .. })) => {
                format!("Request {id} of {requester} would now give access to more than {}", details.asked.resource)
            }
            (Event::ProvisioningFailed(failed), _) => failed_headline(failed),
            (_, request) => headline(kind, request),
        };
        let mut text = match (&entry.event, request) {
            // A line for each change.
            (Event::TeamApplied { changes }, _) => {
                difference::in_words(entry.actor.as_ref().map_or("root", Name::as_str), changes, "\n")
            }
            // The reason is among the facts.
            (event, Some(_)) if kind == NotificationKind::RequestSubmitted => {
                briefly_with(event, entry.actor.as_ref(), times)
            }
            (event, _) => words_with(event, entry.actor.as_ref(), request, times),
        };
        let mut facts = request.map(|request| facts(kind, request, background)).unwrap_or_default();
        if let (Some(request), Some(emergency)) = (request, background.emergency) {
            text += &emergency.words(request);
            facts.extend(emergency.reviewers.as_ref().map(|reviewers| ("Reviewers", one_of(reviewers))));
        }
        Notification { at: entry.at, when: times(entry.at), headline, text, facts, commands: commands(kind, request) }
    }
}

fn headline(kind: NotificationKind, request: Option<&Request>) -> String {
    let Some(request) = request else { return plain_headline(kind).to_owned() };
    let (id, who, asked) = (request.id, &request.requester, &request.details.asked.resource);
    let held = request.grant.as_ref().map_or(asked, |grant| &grant.terms.resource);
    match kind {
        NotificationKind::RequestSubmitted => format!("{who} asks for {asked} (request {id})"),
        NotificationKind::RequestApproved => format!("Request {id} for {asked} was approved"),
        NotificationKind::RequestDenied => format!("Request {id} for {asked} was denied"),
        NotificationKind::RequestWithdrawn => format!("Request {id} of {who} for {asked} was withdrawn"),
        NotificationKind::RequestLapsed => format!("Request {id} for {asked} lapsed"),
        NotificationKind::RequestChanged => format!("Request {id} of {who} for {asked} has new terms"),
        NotificationKind::RequestReminder => format!("{who} is still waiting for {asked} (request {id})"),
        NotificationKind::RequestDecided => format!("Request {id} of {who} for {asked} was {}", verdict(request)),
        NotificationKind::AccessStarted => format!("Your access to {held} started (request {id})"),
        NotificationKind::AccessExpiring => format!("Your access to {held} ends soon (request {id})"),
        NotificationKind::AccessExpired => format!("Your access to {held} ended (request {id})"),
        NotificationKind::AccessRevoked => format!("Your access to {held} was revoked (request {id})"),
        NotificationKind::AccessEmergency => format!("EMERGENCY: {who} took access to {held} (request {id})"),
        NotificationKind::TeamChanged
        | NotificationKind::ProvisioningFailed
        | NotificationKind::RevokeFailed
        | NotificationKind::DriftFound
        | NotificationKind::RecertificationStarted
        | NotificationKind::RecertificationReminder
        | NotificationKind::RecertificationClosed => plain_headline(kind).to_owned(),
    }
}

/// `bob STILL HAS access in orders-pg (request 12)`.
fn failed_headline(failed: &Failed) -> String {
    let Failed { provision: ProvisionedAccess { request, member, holding }, operation, .. } = failed;
    let who = member.as_ref().map_or_else(|| holding.login.to_string(), ToString::to_string);
    let by = request.map_or_else(String::new, |request| format!(" (request {request})"));
    match operation {
        ProvisioningOperation::Grant => format!("{who} did not get access in {}{by}", holding.connector),
        ProvisioningOperation::Revoke => format!("{who} STILL HAS access in {}{by}", holding.connector),
    }
}

fn verdict(request: &Request) -> &'static str {
    match request.recorded {
        Recorded::Approved => "approved",
        Recorded::Denied => "denied",
        Recorded::Pending | Recorded::Withdrawn | Recorded::Lapsed => "decided",
    }
}

fn plain_headline(kind: NotificationKind) -> &'static str {
    match kind {
        NotificationKind::RequestSubmitted => "A request for access",
        NotificationKind::RequestApproved => "A request was approved",
        NotificationKind::RequestDenied => "A request was denied",
        NotificationKind::RequestWithdrawn => "A request was withdrawn",
        NotificationKind::RequestLapsed => "A request lapsed",
        NotificationKind::RequestChanged => "A request has new terms",
        NotificationKind::RequestReminder => "A request is still waiting",
        NotificationKind::RequestDecided => "A request was decided",
        NotificationKind::AccessStarted => "Access started",
        NotificationKind::AccessExpiring => "Access ends soon",
        NotificationKind::AccessExpired => "Access ended",
        NotificationKind::AccessRevoked => "Access was revoked",
        NotificationKind::AccessEmergency => "EMERGENCY access was taken",
        NotificationKind::TeamChanged => "The team was changed",
        NotificationKind::ProvisioningFailed => "Access could not be given",
        NotificationKind::RevokeFailed => "Access COULD NOT BE TAKEN BACK",
        NotificationKind::DriftFound => "A system differs from what access says",
        NotificationKind::RecertificationStarted => "Access of others waits for your review",
        NotificationKind::RecertificationReminder => "Access of others still waits for your review",
        NotificationKind::RecertificationClosed => "A recertification was closed",
    }
}

/// The details of a request: who, what, where, why, until when, and who decides or decided.
fn facts(kind: NotificationKind, request: &Request, background: &Background<'_>) -> Vec<(&'static str, String)> {
    let asks = kind.asks_for_a_decision();
    let times = background.times;
    let grant = request.grant.as_ref().filter(|_| !asks);
    let terms = grant.map_or_else(|| request.proposed_terms(), |grant| &grant.terms);
    let filed =
        if request.filed_by == request.requester { String::new() } else { format!(" (filed by {})", request.filed_by) };
    let mut facts = vec![("Who", format!("{}{filed}", request.requester)), ("What", terms.resource.to_string())];
    facts.extend(background.environment.map(|environment| ("Environment", environment.to_string())));
    facts.push(("How long", terms_in_words(request, terms, asks, times)));
    if let Some(grant) = grant {
        facts.extend(ends(grant, kind, times));
    }
    let still = |way: &Entitlement| {
        let until = way.until.map_or_else(|| "permanently".to_owned(), |until| format!("until {}", times(until)));
        format!("by {}, {until}", way.way_to(&terms.resource))
    };
    facts.extend(background.still_held.map(|way| ("Still held", still(way))));
    facts.push(("Why", request.details.reason.to_string()));
    facts.extend(request.details.ticket.as_ref().map(|ticket| ("Ticket", ticket.to_string())));
    if asks {
        let needs: Vec<String> = background.tallies.iter().map(need).collect();
        facts.extend((!needs.is_empty()).then(|| ("Needs", needs.join("\n"))));
    }
    facts.extend(decided_by(request, background.granted.filter(|_| !asks)).map(|by| ("Decided by", by)));
    // The reason of a denial is in the text.
    let notes = request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve && decision.counts);
    let notes: Vec<String> =
        notes.filter_map(|it| it.note.as_ref().map(|note| format!("{note} ({})", it.by))).collect();
    facts.extend((!notes.is_empty()).then(|| ("Note", notes.join("\n"))));
    if asks && request.recorded == Recorded::Pending {
        facts.push(("Lapses", times(request.lapse_time())));
    }
    facts
}

/// The current terms, and those asked for if they differ.
fn terms_in_words(request: &Request, terms: &Terms, asks: bool, times: Times<'_>) -> String {
    let mut text = how_long(terms, times);
    // The length counts from the approval.
    if asks && terms.start.is_none() && matches!(terms.end, End::After(_)) {
        text += " from approval";
    }
    if *terms != request.details.asked {
        text += &format!(" (asked: {} {})", request.details.asked.resource, how_long(&request.details.asked, times));
    }
    text
}

/// When access starts, if it has not, and when it ends or ended.
fn ends(grant: &Grant, kind: NotificationKind, times: Times<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let decided = matches!(kind, NotificationKind::RequestApproved | NotificationKind::RequestDecided);
    if decided && !grant.begun {
        facts.push(("Starts", times(grant.starts_at)));
    }
    facts.push(match (&grant.ended, grant.ends_at) {
        (Some(ended), _) => ("Ended", times(ended.at)),
        (None, Some(end)) => ("Ends", times(end)),
        (None, None) => ("Ends", "never".to_owned()),
    });
    facts
}

/// `1 of 2 approvals (erin) by the rule "two for production"; alice or olivia can approve`.
fn need(tally: &Tally) -> String {
    let Tally { rule, need, have, waiting_on } = tally;
    let given = if have.is_empty() { String::new() } else { format!(" ({})", joined(have)) };
    let rule = by_rule(rule.as_ref());
    let who = if tally.is_met() { String::new() } else { format!("; {} can approve", one_of(waiting_on)) };
    format!("{} of {}{given}{rule}{who}", have.len(), quantity(*need, "approval", "approvals"))
}

/// Who decided, or which rule.
fn decided_by(request: &Request, granted: Option<&Granted>) -> Option<String> {
    let Some(granted) = granted else {
        let denied = request.decisions.iter().find(|decision| decision.verdict == Verdict::Deny);
        return denied.map(|decision| decision.by.to_string());
    };
    if let Some(rule) = &granted.by_rule {
        return Some(format!("the rule {:?}", rule.as_str()));
    }
    let met = |met: &MetDemand| {
        let MetDemand { rule, approvals, by } = met;
        let rule = by_rule(rule.as_ref());
        format!("{} of {} ({}){rule}", by.len(), quantity(*approvals, "approval", "approvals"), joined(by))
    };
    let each: Vec<String> = granted.demands.iter().map(met).collect();
    Some(if each.is_empty() { joined(&granted.approved_by) } else { each.join("\n") })
}

fn commands(kind: NotificationKind, request: Option<&Request>) -> Vec<String> {
    let Some(request) = request else {
        let look = match kind {
            NotificationKind::TeamChanged => "access audit --action team.applied",
            NotificationKind::ProvisioningFailed | NotificationKind::RevokeFailed => {
                "access audit --action provisioning.failed"
            }
            NotificationKind::DriftFound => "access audit --action drift.found",
            NotificationKind::RecertificationStarted | NotificationKind::RecertificationReminder => {
                "access recertify keep"
            }
            NotificationKind::RecertificationClosed => "access recertify list --all",
            _ => "access inbox",
        };
        return vec![look.to_owned()];
    };
    let id = request.id;
    let show = format!("access show {id}");
    if kind.asks_for_a_decision() {
        return vec![format!("access approve {id}"), format!("access deny {id} --reason '…'"), show];
    }
    match kind {
        NotificationKind::AccessExpiring => vec![format!("access extend {id} --reason '…'"), show],
        NotificationKind::AccessEmergency => {
            vec![show, format!("access review {id} --note '…'"), format!("access revoke {id}")]
        }
        NotificationKind::RequestSubmitted
        | NotificationKind::RequestApproved
        | NotificationKind::RequestDenied
        | NotificationKind::RequestWithdrawn
        | NotificationKind::RequestLapsed
        | NotificationKind::RequestChanged
        | NotificationKind::RequestReminder
        | NotificationKind::RequestDecided
        | NotificationKind::AccessStarted
        | NotificationKind::AccessExpired
        | NotificationKind::AccessRevoked
        | NotificationKind::TeamChanged
        | NotificationKind::ProvisioningFailed
        | NotificationKind::RevokeFailed
        | NotificationKind::DriftFound
        | NotificationKind::RecertificationStarted
        | NotificationKind::RecertificationReminder
        | NotificationKind::RecertificationClosed => vec![show],
    }
}
