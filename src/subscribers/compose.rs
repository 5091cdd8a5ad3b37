//! Composes messages from the entries of the log: notifications for people, in their time zone, and JSON for webhooks.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::settle::Batch;
use super::zones::Zones;
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::channel::Address;
use crate::domain::contact::Timezone;
use crate::domain::describe::Times;
use crate::domain::entitlement::{Entitlement, longest};
use crate::domain::event::Granted;
use crate::domain::grant::State;
use crate::domain::message::{Background, Body, CheckpointMail, Message, Notification, Notifications};
use crate::domain::name::Name;
use crate::domain::note::TreeHead;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::request::Request;
use crate::domain::request::emergency::Emergency;
use crate::domain::request::vote::Tally;
use crate::domain::subscriber::{Delivery, Topic};
use crate::domain::time::Timestamp;
use crate::domain::{audit, event};
use crate::error::{Failure, Kind};
use crate::protocol::EntryView;
use crate::service::{PolicyContext, emergency};
use crate::store::{Error, Read};

pub fn compose(read: &Read<'_>, zones: &Zones, batch: &Batch, now: Timestamp) -> Result<Message, Failure> {
    let Batch { deliveries, address } = batch;
    let attempts = batch.attempts();
    let message = |id, body| Message { id, to: address.clone(), body, sent_at: now, attempts };
    let zone = zone_of(read, deliveries)?;
    let times = |time: Timestamp| match address {
        Address::Webhook(_) => time.to_string(),
        _ => zones.write(zone.as_ref(), time),
    };
    let mut each = Vec::new();
    let mut ids = Vec::new();
    let mut thread = None;
    for delivery in deliveries {
        let (entry, hash) = read.entry_with_hash(delivery.seq)?;
        let hash = audit::hex(&hash);
        let start = &hash[..32];
        let kind = match delivery.topic {
            Topic::Notification(kind) => kind,
            Topic::Checkpoint if matches!(address, Address::Email(_)) => {
                return Ok(message(format!("{start}.checkpoint"), checkpoint_body(read, entry)?));
            }
            topic @ (Topic::Audit | Topic::Checkpoint) => {
                return Ok(message(format!("msg_{start}_{}", topic.as_str()), entry_body(topic, entry, hash.clone())));
            }
        };
        let about = About::of(read, &entry, kind, now)?;
        let notification = Notification::of(&entry, kind, &about.background(&times));
        if let Address::Webhook(_) = address {
            let id = format!("msg_{start}_{}", kind.as_str().replace('.', "_"));
            return Ok(message(id, webhook_body(read, &entry, kind, &notification, &about)?));
        }
        // No other entry of any database has this hash; what follows tells apart the messages of one entry.
        ids.push(match &delivery.notification {
            Some((number, _)) => format!("{start}.{number}"),
            None => format!("{start}.{kind}.{}", address.as_str()),
        });
        if let Some(id) = entry.event.request() {
            thread = read.hash_of_request(id)?.map(|hash| format!("{}.request", &audit::hex(&hash)[..32]));
        }
        each.push(notification);
    }
    let id = match ids.as_slice() {
        [only] => only.clone(),
        many => {
            thread = None;
            let digest: String = Sha256::digest(many.join(" ")).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}.digest", &digest[..32])
        }
    };
    let notifications = Notifications::new(read.team_name()?, thread, each)
        .ok_or_else(|| Failure::new(Kind::Internal, "a message without notifications"))?;
    Ok(message(id, Body::Notifications(Box::new(notifications))))
}

/// The time zone of the reader: their own, or the team's.
fn zone_of(read: &Read<'_>, deliveries: &[Delivery]) -> Result<Option<Timezone>, Error> {
    let name = deliveries.first().and_then(|delivery| delivery.notification.as_ref()).map(|(_, name)| name);
    let own = match name {
        Some(name) => read.member(name)?.and_then(|(member, _)| member.timezone),
        None => None,
    };
    match own {
        Some(zone) => Ok(Some(zone)),
        None => Ok(read.policy()?.timezone),
    }
}

/// What a notification says about a request in addition to its entry.
#[derive(Default)]
struct About {
    request: Option<Request>,
    environment: Option<Environment>,
    tallies: Vec<Tally>,
    granted: Option<Granted>,
    emergency: Option<Emergency>,
    still_held: Option<Entitlement>,
}

impl About {
    fn of(read: &Read<'_>, entry: &event::Entry, kind: NotificationKind, now: Timestamp) -> Result<About, Error> {
        let mut about = About::default();
        let Some(id) = entry.event.request() else { return Ok(about) };
        let Some(request) = read.request(id)? else { return Ok(about) };
        let asks = kind.asks_for_a_decision();
        let terms = match &request.grant {
            Some(grant) if !asks => &grant.terms,
            Some(_) | None => request.proposed_terms(),
        };
        let thing = read.catalog_item(&terms.resource)?;
        about.environment = thing.as_ref().and_then(CatalogItem::environment);
        let policy = PolicyContext::default();
        if let (NotificationKind::AccessRevoked, Some(thing)) = (kind, &thing)
            && let Some(person) = policy.principal(read, &request.requester)?
        {
            about.still_held = longest(&person.entitlements(thing, now)).cloned();
        }
        if asks && request.state(now) == State::Pending {
            about.tallies = policy.judge(read, &request, terms, now)?.tally(&request, terms, now);
        }
        if request.grant.is_some() && !asks {
            let granted = read.entries_about(id)?.into_iter().find_map(|entry| match entry.event {
                event::Event::GrantStarted(granted) | event::Event::GrantScheduled(granted) => Some(granted),
                _ => None,
            });
            about.granted = granted;
        }
        if kind == NotificationKind::AccessEmergency {
            about.emergency = emergency(read, &policy, &request, now)?;
        }
        about.request = Some(request);
        Ok(about)
    }

    fn background<'a>(&'a self, times: Times<'a>) -> Background<'a> {
        Background {
            request: self.request.as_ref(),
            environment: self.environment,
            tallies: &self.tallies,
            granted: self.granted.as_ref(),
            emergency: self.emergency.as_ref(),
            still_held: self.still_held.as_ref(),
            times,
        }
    }
}

/// A notification for a program. docs/webhooks.md describes it.
fn webhook_body(
    read: &Read<'_>,
    entry: &event::Entry,
    kind: NotificationKind,
    notification: &Notification,
    about: &About,
) -> Result<Body, Failure> {
    let notified: Vec<&Name> =
        entry.recipients.iter().filter(|Recipient(_, of)| *of == kind).map(|Recipient(member, _)| member).collect();
    let facts: BTreeMap<String, &String> =
        notification.facts.iter().map(|(label, fact)| (label.to_lowercase().replace(' ', "_"), fact)).collect();
    let mut data = serde_json::json!({
        "team": read.team_name()?,
        "seq": entry.seq,
        "request": entry.event.request(),
        "actor": entry.actor,
        "headline": notification.headline,
        "text": notification.text,
        "facts": facts,
        "told": notified,
    });
    if let Some(request) = &about.request {
        data["requester"] = serde_json::json!(request.requester);
        data["environment"] = serde_json::json!(about.environment);
        data["grant"] = about.granted.as_ref().map_or(serde_json::Value::Null, |granted| grant_data(request, granted));
        let pending = kind.asks_for_a_decision().then(|| pending_data(request, &about.tallies));
        data["pending"] = pending.unwrap_or_default();
    }
    let body = serde_json::json!({ "type": kind, "timestamp": entry.at, "data": data });
    Ok(Body::Json(body.to_string()))
}

fn grant_data(request: &Request, granted: &Granted) -> serde_json::Value {
    let demand =
        |met: &event::MetDemand| serde_json::json!({ "rule": met.rule, "approvals": met.approvals, "by": met.by });
    let ended = request.grant.as_ref().and_then(|grant| grant.ended.as_ref());
    serde_json::json!({
        "resource": granted.resource,
        "starts_at": granted.starts_at,
        "ends_at": granted.ends_at,
        "ended_at": ended.map(|ended| ended.at),
        "rule": granted.by_rule,
        "approved_by": granted.approved_by,
        "demands": granted.demands.iter().map(demand).collect::<Vec<_>>(),
    })
}

fn pending_data(request: &Request, tallies: &[Tally]) -> serde_json::Value {
    let demand = |tally: &Tally| {
        let Tally { rule, need, have, waiting_on } = tally;
        serde_json::json!({ "rule": rule, "approvals": need, "by": have, "waiting_on": waiting_on })
    };
    serde_json::json!({
        "lapses_at": request.lapse_time(),
        "demands": tallies.iter().map(demand).collect::<Vec<_>>(),
    })
}

/// A checkpoint for a mailbox.
fn checkpoint_body(read: &Read<'_>, entry: event::Entry) -> Result<Body, Failure> {
    let event::Event::CheckpointTaken { note } = entry.event else {
        return Err(Failure::new(Kind::Internal, format!("entry {} is no checkpoint", entry.seq)));
    };
    let head = TreeHead::of(&note).map_err(|why| Failure::new(Kind::Invalid, why.to_string()))?;
    let team = read.team_name()?;
    let mail = CheckpointMail { team, size: head.size, at: entry.at, note: note.to_string() };
    Ok(Body::Checkpoint(Box::new(mail)))
}

/// An entry of the log, as `audit export` writes it.
fn entry_body(topic: Topic, entry: event::Entry, hash: String) -> Body {
    let at = entry.at;
    let view = EntryView::of(entry, hash);
    Body::Json(serde_json::json!({ "type": topic, "timestamp": at, "data": view }).to_string())
}
