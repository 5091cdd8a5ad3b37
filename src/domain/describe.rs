//! Events as text: for notifications, the audit log and a request's timeline.

use super::binding::{Holding, in_connector};
use super::certificate::Certificate;
use super::duration::Duration;
use super::event::{Approval, Because, Event, Granted, Revision, Submission};
use super::name::{Name, RuleName};
use super::note::NoteKey;
use super::provisioning::{
    Deprovisioned, Drift, Drifted, Failed, OmittedDrift, ProvisionedAccess, ProvisioningOperation,
};
use super::recertification::{Cancellation, ClosedRecertification, ItemDecision, ItemVerdict, StartedRecertification};
use super::request::Request;
use super::session::{ClosedSession, OpenedSession};
use super::team::difference;
use super::terms::{RequestDetails, RequestId, Terms};
use super::text::{Text, Ticket, joined, quantity};
use super::time::Timestamp;

/// Writes a time for a reader.
pub type Times<'t> = &'t dyn Fn(Timestamp) -> String;

/// `for 4h`, `permanently`, `until 2026-12-01T17:00:00Z`; after `from … ` if there is a start.
pub fn how_long(terms: &Terms, times: Times<'_>) -> String {
    let from = terms.start.map_or_else(String::new, |start| format!("from {} ", times(start)));
    match (terms.end.duration(), terms.end.until()) {
        (Some(Duration::Permanent), _) => format!("{from}permanently"),
        (Some(duration), _) => format!("{from}for {duration}"),
        (None, until) => until.map_or_else(String::new, |until| format!("{from}until {}", times(until))),
    }
}

/// An event for a reader who sees the request and its reason anyway.
pub fn briefly(event: &Event, actor: Option<&Name>) -> String {
    briefly_with(event, actor, &utc)
}

pub fn briefly_with(event: &Event, actor: Option<&Name>, times: Times<'_>) -> String {
    if let Event::RequestSubmitted(submission) = event {
        format!("{}{}", asks(submission, times), to_extend(submission))
    } else {
        words_with(event, actor, None, times)
    }
}

/// Times as the log has them.
fn utc(time: Timestamp) -> String {
    time.to_string()
}

fn asks(submission: &Submission, times: Times<'_>) -> String {
    let Submission { requester, filed_by, details: RequestDetails { asked, .. }, emergency, .. } = submission;
    let filer = if filed_by == requester { String::new() } else { format!(" (filed by {filed_by})") };
    let what = if *emergency { "takes emergency access to" } else { "asks for" };
    format!("{requester}{filer} {what} {} {}", asked.resource, how_long(asked, times))
}

fn to_extend(submission: &Submission) -> String {
    submission.extends.map_or_else(String::new, |before| format!(", to extend request {before}"))
}

/// An event as text. `about`: the request that it concerns, if any.
pub fn words(event: &Event, actor: Option<&Name>, about: Option<&Request>) -> String {
    words_with(event, actor, about, &utc)
}

/// An event as text for somebody's inbox: of a request of somebody else, it says whose.
pub fn in_inbox(event: &Event, actor: Option<&Name>, about: Option<&Request>, reader: &Name) -> String {
    let whose = about.map(|request| &request.requester).filter(|requester| *requester != reader);
    describe(event, actor, about, whose, &utc)
}

pub fn words_with(event: &Event, actor: Option<&Name>, about: Option<&Request>, times: Times<'_>) -> String {
    describe(event, actor, about, None, times)
}

/// An event as text in the log. `whose`: whose request it is about, if it is about one.
pub fn in_log(event: &Event, actor: Option<&Name>, whose: Option<&Name>, times: Times<'_>) -> String {
    describe(event, actor, None, whose, times)
}

/// `12`, or `12 of bob`.
fn numbered(request: RequestId, whose: Option<&Name>) -> String {
    whose.map_or_else(|| request.to_string(), |name| format!("{request} of {name}"))
}

fn describe(
    event: &Event,
    actor: Option<&Name>,
    about: Option<&Request>,
    whose: Option<&Name>,
    times: Times<'_>,
) -> String {
    // Nobody needs to read that somebody's own request is theirs.
    let own = |request: &RequestId, by: Option<&Name>| numbered(*request, whose.filter(|name| Some(*name) != by));
    let number = |request: &RequestId| numbered(*request, whose);
    let of_requester = |request: &RequestId| numbered(*request, about.map(|about| &about.requester).or(whose));
    // Not every event has the resource, and the reader should not have to look it up.
    let of = about.map_or_else(String::new, |request| format!(" ({})", request.details.asked.resource));
    match event {
        Event::TeamInitialized { .. } => "The team was created".to_owned(),
        Event::TeamApplied { changes } => difference::in_words(or_root(actor), changes, "; "),
        Event::RequestSubmitted(submission) => {
            let Submission { request, details: RequestDetails { reason, .. }, .. } = submission;
            format!("{}, request {request}{}: {reason}", asks(submission, times), to_extend(submission))
        }
        Event::RequestEdited(Revision { request, by, from, to, voids, .. }) => {
            let changes = changes(from, to, times).join("; ");
            let request = own(request, Some(by));
            format!("{by} changed request {request} ({}): {changes}{}", to.asked.resource, no_longer_counted(voids))
        }
        Event::RequestApproved(approval) => approved(approval, about, whose, times),
        Event::RequestDenied { request, by, reason } => {
            format!("{by} denied request {}{of}{}", number(request), after_colon(reason.as_ref()))
        }
        Event::RequestWithdrawn { request, by, because: Because::Asked } => {
            format!("{} withdrew request {}{of}", or_root(by.as_ref()), own(request, by.as_ref()))
        }
        Event::RequestWithdrawn { request, because, .. } => {
            format!("Request {}{of} was withdrawn: {because}", number(request))
        }
        Event::RequestLapsed { request, .. } => {
            format!("Request {}{of} lapsed: nobody decided on it in time", number(request))
        }
        Event::RequestReminded { request } => {
            format!("Request {}{of} is still waiting for a decision", of_requester(request))
        }
        Event::RequestRejudged { request } => format!(
            "Request {}{of} was filed before an upgrade. Under the rules of the new version, other people can decide on it",
            of_requester(request)
        ),
        Event::ApprovalsVoided { request, voids, gained } => {
            let request = number(request);
            format!("Request {request}{of} would now give access to more: {gained}{}", no_longer_counted(voids))
        }
        Event::RequestReviewed { request, by, note } => {
            format!("{by} reviewed the emergency access of request {}{of}: {note}", number(request))
        }
        Event::GrantScheduled(_)
        | Event::GrantStarted(_)
        | Event::GrantExpiring { .. }
        | Event::GrantExpired { .. }
        | Event::GrantRevoked { .. } => of_grant(event, about, whose, times),
        Event::AttemptRefused { command, why, .. } => format!("{command} was refused: {why}"),
        Event::ClockAccepted { .. } => format!("The clock was set back, and {} accepted its time", or_root(actor)),
        Event::PreferenceChanged { member, .. } => format!("{member} changed their notification settings"),
        Event::GrantProvisioned(_)
        | Event::GrantDeprovisioned(_)
        | Event::ProvisioningFailed(_)
        | Event::DriftFound(_)
        | Event::DriftResolved(_)
        | Event::DriftOmitted(_) => provisioned(event),
        Event::CertificateIssued(certificate) => certified(certificate, times),
        Event::SessionOpened(opened) => session_opened(opened),
        Event::SessionClosed(closed) => session_closed(closed),
        Event::CheckpointTaken { .. } => "A checkpoint of the entries before this one was signed".to_owned(),
        Event::CheckpointKeyAdded { key, replaces } => key_added(key, replaces.as_ref()),
        Event::RecertificationStarted(_)
        | Event::RecertificationDecided(_)
        | Event::RecertificationReminded { .. }
        | Event::RecertificationClosed(_)
        | Event::RecertificationCancelled { .. } => recertified(event, times),
        Event::Void => "A host appended what can't be read or can't follow; it changes nothing".to_owned(),
    }
}

fn session_closed(ClosedSession { session, how, .. }: &ClosedSession) -> String {
    format!("The session of entry {session} is {}", how.in_words())
}

fn key_added(key: &NoteKey, replaces: Option<&NoteKey>) -> String {
    let replaces = replaces.map(|old| format!(", in place of {}", old.id()));
    format!("The key {} signs checkpoints of this log{}", key.id(), replaces.unwrap_or_default())
}

/// What became of a review of what people hold.
fn recertified(event: &Event, times: Times<'_>) -> String {
    match event {
        Event::RecertificationStarted(StartedRecertification {
            recertification, by, selection, due, items, ..
        }) => {
            let count = quantity(items.len(), "item", "items");
            format!("{by} started recertification {recertification} of {selection}: {count}, due {}", times(*due))
        }
        Event::RecertificationDecided(ItemDecision { item, member, held, by, verdict, reason }) => {
            let verdict = match verdict {
                ItemVerdict::Keep => "kept",
                ItemVerdict::Revoke => "did not keep",
            };
            let reason = after_colon(reason.as_ref());
            format!("{by} {verdict} {held} of {member} in a recertification (item {item}){reason}")
        }
        Event::RecertificationReminded { recertification } => {
            format!("Items of recertification {recertification} still wait for a review")
        }
        Event::RecertificationClosed(ClosedRecertification { recertification, not_kept }) => match not_kept.len() {
            0 => format!("Recertification {recertification} is over"),
            count => {
                let count = quantity(count, "item was not kept", "items were not kept");
                format!("Recertification {recertification} is over; {count}")
            }
        },
        Event::RecertificationCancelled { recertification, cancellation: Cancellation { by, reason } } => {
            format!("{by} cancelled recertification {recertification}{}", after_colon(Some(reason)))
        }
        _ => String::new(),
    }
}

/// What happens to a grant.
fn of_grant(event: &Event, about: Option<&Request>, whose: Option<&Name>, times: Times<'_>) -> String {
    let number = |request: &RequestId| numbered(*request, whose);
    match event {
        Event::GrantScheduled(granted) => format!(
            "Access to {} was granted{} and starts {}{} (request {})",
            granted.resource,
            by_rule(granted.by_rule.as_ref()),
            times(granted.starts_at),
            extended(about, times),
            number(&granted.request)
        ),
        Event::GrantStarted(granted) => started(granted, about, whose, times),
        Event::GrantExpiring { request, resource, ends_at } => {
            format!("Access to {resource} ends {} (request {})", times(*ends_at), number(request))
        }
        Event::GrantExpired { request, resource, .. } => {
            format!("Access to {resource} ended (request {})", number(request))
        }
        Event::GrantRevoked { request, resource, by, because: Because::Asked, reason } => {
            let by = or_root(by.as_ref());
            let request = number(request);
            format!("{by} revoked access to {resource} (request {request}){}", after_colon(reason.as_ref()))
        }
        Event::GrantRevoked { request, resource, by: Some(by), because: Because::NotKept(item), reason } => format!(
            "{by} did not keep access to {resource} in a recertification (item {item}, request {}){}",
            number(request),
            after_colon(reason.as_ref())
        ),
        Event::GrantRevoked { request, resource, because, .. } => {
            format!("Access to {resource} was revoked (request {}): {because}", number(request))
        }
        _ => String::new(),
    }
}

fn approved(approval: &Approval, about: Option<&Request>, whose: Option<&Name>, times: Times<'_>) -> String {
    let Approval { request, by, terms, asked, note, voids, signature } = approval;
    let asked = asked.as_ref().map(|asked| format!(" (asked: {} {})", asked.resource, how_long(asked, times)));
    let note = note.as_ref().map(|note| format!(": {note}"));
    let voids = no_longer_counted(voids);
    let signed = signature.as_ref().map(|signature| format!(" (signed with {})", signature.key()));
    format!(
        "{by} approved request {}: {} {}{}{voids}{}{}{}",
        numbered(*request, whose),
        terms.resource,
        how_long(terms, times),
        asked.unwrap_or_default(),
        extended(about, times),
        signed.unwrap_or_default(),
        note.unwrap_or_default()
    )
}

fn session_opened(opened: &OpenedSession) -> String {
    let OpenedSession { request, member, login, resource, service, from, recording, last_in_hour, .. } = opened;
    let who = if member.as_str() == login.as_str() { login.to_string() } else { format!("{member} (login {login})") };
    let from = from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let by = request.map_or_else(|| "without a grant".to_owned(), |request| format!("request {request}"));
    let recording = recording.as_ref().map_or_else(String::new, |recording| format!("; recording: {recording}"));
    let more = if *last_in_hour { "; more within this hour are not recorded" } else { "" };
    format!("{who} opened a session of {service}{from} on {resource} ({by}){recording}{more}")
}

/// What connectors did or found.
fn provisioned(event: &Event) -> String {
    let what = |provision: &ProvisionedAccess| {
        let ProvisionedAccess { request, member, holding: Holding { connector, login, parameters } } = provision;
        let who = match member {
            Some(member) if member.as_str() != login.as_str() => format!("{member} (login {login})"),
            Some(_) | None => login.to_string(),
        };
        let by = request.map_or_else(|| "without a grant".to_owned(), |request| format!("request {request}"));
        (who, in_connector(parameters, connector), by)
    };
    match event {
        Event::GrantProvisioned(provision) => {
            let (who, what, by) = what(provision);
            format!("{who} got {what} ({by})")
        }
        Event::GrantDeprovisioned(Deprovisioned { provision, still_held, note }) => {
            let (who, what, by) = what(provision);
            let otherwise = if *still_held { " by this, but still has it otherwise" } else { "" };
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("{who} no longer has {what}{otherwise} ({by}){note}")
        }
        Event::ProvisioningFailed(Failed { provision, operation: ProvisioningOperation::Grant, why }) => {
            let (who, what, by) = what(provision);
            format!("{who} did not get {what} ({by}): {why}")
        }
        Event::ProvisioningFailed(Failed { provision, operation: ProvisioningOperation::Revoke, why }) => {
            let (who, what, by) = what(provision);
            format!("{who} STILL HAS {what}, which could not be taken back ({by}): {why}")
        }
        Event::DriftFound(Drifted { holding: Holding { connector, login, parameters }, drift }) => {
            let what = in_connector(parameters, connector);
            match drift {
                Drift::Missing => format!("{login} does not have {what}, which a grant gives"),
                Drift::Stale => format!("{login} still has {what}, which no grant gives any more"),
                Drift::Unexplained => format!("{login} has {what}, which access did not give"),
            }
        }
        Event::DriftResolved(Drifted { holding: Holding { connector, login, parameters }, drift }) => {
            let what = in_connector(parameters, connector);
            format!("{login} and {what}: no longer {}", drift.as_str())
        }
        Event::DriftOmitted(OmittedDrift { connector, count }) => {
            let differences = quantity(*count, "more difference", "more differences");
            format!("{differences} in {connector}, too many to record each")
        }
        _ => String::new(),
    }
}

fn certified(certificate: &Certificate, times: Times<'_>) -> String {
    let Certificate { request, member, principal, key, until, .. } = certificate;
    format!("{member} got an SSH certificate for {principal}, until {} (request {request}, key {key})", times(*until))
}

fn started(granted: &Granted, about: Option<&Request>, whose: Option<&Name>, times: Times<'_>) -> String {
    let (resource, request) = (&granted.resource, numbered(granted.request, whose));
    if let (Some(Request { extends: Some(_), .. }), Some(end)) = (about, granted.ends_at) {
        return format!("Access to {resource} was extended until {} (request {request})", times(end));
    }
    let rule = by_rule(granted.by_rule.as_ref());
    match about.filter(|request| request.emergency) {
        Some(Request { id, details: RequestDetails { reason, .. }, .. }) => {
            let who = &granted.member;
            format!("Access to {resource} started{rule} in an emergency: {who}: {reason} (request {id})")
        }
        None => format!("Access to {resource} started{rule} (request {request})"),
    }
}

/// The end of an extension that was granted.
fn extended(about: Option<&Request>, times: Times<'_>) -> String {
    let grant = about.filter(|request| request.extends.is_some()).and_then(|request| request.grant.as_ref());
    grant
        .and_then(|grant| grant.ends_at)
        .map_or_else(String::new, |end| format!("; access continues until {}", times(end)))
}

/// What an edit changed, each as `old → new`.
fn changes(from: &RequestDetails, to: &RequestDetails, times: Times<'_>) -> Vec<String> {
    let RequestDetails { asked, reason, ticket } = to;
    let mut changes = Vec::new();
    if from.asked != *asked {
        changes.push(format!("{} → {}", how_long(&from.asked, times), how_long(asked, times)));
    }
    if from.reason != *reason {
        changes.push(format!("reason “{}” → “{reason}”", from.reason));
    }
    if from.ticket != *ticket {
        let text = |ticket: &Option<Ticket>| ticket.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        changes.push(format!("ticket {} → {}", text(&from.ticket), text(ticket)));
    }
    changes
}

fn no_longer_counted(voids: &[Name]) -> String {
    if voids.is_empty() { String::new() } else { format!("; approvals that no longer count: {}", joined(voids)) }
}

/// Root need not be a member.
fn or_root(member: Option<&Name>) -> &str {
    member.map_or("root", Name::as_str)
}

pub fn by_rule(rule: Option<&RuleName>) -> String {
    rule.map_or_else(String::new, |rule| format!(" by the rule {:?}", rule.as_str()))
}

fn after_colon(text: Option<&Text>) -> String {
    text.map_or_else(String::new, |text| format!(": {text}"))
}
