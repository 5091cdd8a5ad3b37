//! What is sent, made of the entries that it tells of: a letter for people, in the time of its reader; JSON for a webhook.

use crate::domain::event::{self, Granted};
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::deliver::Post;
use super::policy_context::PolicyContext;
use super::review;
use crate::domain::audit;
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::contact::Timezone;
use crate::domain::describe::Times;
use crate::domain::entitlement::{Way, longest};
use crate::domain::grant::State;
use crate::domain::letter::{Background, Letter, Piece};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::outbox::{Address, Content, News, Queued};
use crate::domain::request::Request;
use crate::domain::request::emergency::Emergency;
use crate::domain::request::vote::Tally;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::EntryView;
use crate::store::{Error, Read};

pub fn compose(
    read: &Read<'_>,
    post: &dyn Post,
    address: &Address,
    rows: &[Queued],
    now: Timestamp,
) -> Result<Content, Failure> {
    let nothing = || Failure::new(Kind::Internal, "a message of nothing");
    let zone = zone_of(read, rows)?;
    let local = |time: Timestamp| match address {
        Address::Webhook(_) => time.to_string(),
        Address::Email(_) | Address::Slack(_) | Address::Channel(_) => post.write_time(zone.as_ref(), time),
    };
    let mut pieces = Vec::new();
    let mut tokens = Vec::new();
    let mut thread = None;
    for row in rows {
        let (entry, hash) = read.entry_with_hash(row.seq)?;
        let whole = audit::hex(&hash);
        let hash = &whole[..32];
        let notice = match row.news {
            News::NotificationKind(notice) => notice,
            News::Audit => return Ok(audit_message(entry, hash, whole.clone())),
        };
        let about = About::of(read, &entry, notice, now)?;
        let piece = Piece::of(&entry, notice, &about.background(&local));
        if let Address::Webhook(_) = address {
            return webhook_message(read, &entry, hash, notice, &piece, &about);
        }
        // The hash, which no other entry of any database has, and the notification within it.
        let number = row.notification.as_ref().map_or(0, |(id, _)| *id);
        tokens.push(format!("{hash}.{number}"));
        if let Some(id) = entry.event.request() {
            thread = read.hash_of_request(id)?.map(|hash| format!("{}.request", &audit::hex(&hash)[..32]));
        }
        pieces.push(piece);
    }
    let token = match tokens.as_slice() {
        [only] => only.clone(),
        many => {
            thread = None;
            let digest: String = Sha256::digest(many.join(" ")).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}.digest", &digest[..32])
        }
    };
    let letter = Letter::of(read.team_name()?, token, thread, pieces).ok_or_else(nothing)?;
    Ok(Content::Letter(Box::new(letter)))
}

/// The zone of the reader: the member's own, else the team's.
fn zone_of(read: &Read<'_>, rows: &[Queued]) -> Result<Option<Timezone>, Error> {
    let name = rows.first().and_then(|row| row.notification.as_ref()).map(|(_, name)| name);
    let own = match name {
        Some(name) => read.member(name)?.and_then(|(member, _)| member.timezone),
        None => None,
    };
    match own {
        Some(zone) => Ok(Some(zone)),
        None => Ok(read.policy()?.timezone),
    }
}

/// A request with all that its readers are told of it.
#[derive(Default)]
struct About {
    request: Option<Request>,
    environment: Option<Environment>,
    standing: Vec<Tally>,
    granted: Option<Granted>,
    emergency: Option<Emergency>,
    still_held: Option<Way>,
}

impl About {
    fn of(read: &Read<'_>, entry: &event::Entry, notice: NotificationKind, now: Timestamp) -> Result<About, Error> {
        let mut about = About::default();
        let Some(id) = entry.event.request() else { return Ok(about) };
        let Some(request) = read.request(id)? else { return Ok(about) };
        let asks = notice.asks_for_a_decision();
        let terms = match &request.grant {
            Some(grant) if !asks => &grant.terms,
            Some(_) | None => request.on_the_table(),
        };
        let thing = read.catalog_item(&terms.resource)?;
        about.environment = thing.as_ref().and_then(CatalogItem::environment);
        let policy = PolicyContext::default();
        if let (NotificationKind::AccessRevoked, Some(thing)) = (notice, &thing)
            && let Some(person) = policy.person(read, &request.requester)?
        {
            about.still_held = longest(&person.ways(thing, now)).cloned();
        }
        if asks && request.state(now) == State::Pending {
            about.standing = policy.judge(read, &request, terms, now)?.standing(&request, terms, now);
        }
        if request.grant.is_some() && !asks {
            let granted = read.entries_about(id)?.into_iter().find_map(|entry| match entry.event {
                event::Event::GrantStarted(granted) | event::Event::GrantScheduled(granted) => Some(granted),
                _ => None,
            });
            about.granted = granted;
        }
        if notice == NotificationKind::AccessEmergency {
            about.emergency = review::emergency(read, &policy, &request, now)?;
        }
        about.request = Some(request);
        Ok(about)
    }

    fn background<'a>(&'a self, times: Times<'a>) -> Background<'a> {
        Background {
            request: self.request.as_ref(),
            environment: self.environment,
            standing: &self.standing,
            granted: self.granted.as_ref(),
            emergency: self.emergency.as_ref(),
            still_held: self.still_held.as_ref(),
            times,
        }
    }
}

/// An event that people are told of, for a program. docs/webhooks.md describes it.
fn webhook_message(
    read: &Read<'_>,
    entry: &event::Entry,
    hash: &str,
    notice: NotificationKind,
    piece: &Piece,
    about: &About,
) -> Result<Content, Failure> {
    let told: Vec<&Name> =
        entry.told.iter().filter(|Recipient(_, of)| *of == notice).map(|Recipient(member, _)| member).collect();
    let facts: BTreeMap<String, &String> =
        piece.facts.iter().map(|(label, fact)| (label.to_lowercase().replace(' ', "_"), fact)).collect();
    let mut data = serde_json::json!({
        "team": read.team_name()?,
        "seq": entry.seq,
        "request": entry.event.request(),
        "actor": entry.actor,
        "headline": piece.headline,
        "text": piece.text,
        "facts": facts,
        "told": told,
    });
    if let Some(request) = &about.request {
        data["requester"] = serde_json::json!(request.requester);
        data["environment"] = serde_json::json!(about.environment);
        data["grant"] = about.granted.as_ref().map_or(serde_json::Value::Null, |granted| grant_data(request, granted));
        let pending = notice.asks_for_a_decision().then(|| pending_data(request, &about.standing));
        data["pending"] = pending.unwrap_or_default();
    }
    let body = serde_json::json!({ "type": notice, "timestamp": entry.at, "data": data });
    let id = format!("msg_{hash}_{}", notice.as_str().replace('.', "_"));
    Ok(Content::Json { id, body: body.to_string() })
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

fn pending_data(request: &Request, standing: &[Tally]) -> serde_json::Value {
    let demand = |standing: &Tally| {
        let Tally { rule, need, have, waiting_on } = standing;
        serde_json::json!({ "rule": rule, "approvals": need, "by": have, "waiting_on": waiting_on })
    };
    serde_json::json!({
        "lapses_at": request.lapses(),
        "demands": standing.iter().map(demand).collect::<Vec<_>>(),
    })
}

/// An entry of the log, as `audit export` gives it.
fn audit_message(entry: event::Entry, id: &str, hash: String) -> Content {
    let id = format!("msg_{id}_audit");
    let at = entry.at;
    let view = EntryView::of(entry, hash);
    let body = serde_json::json!({ "type": News::Audit, "timestamp": at, "data": view });
    Content::Json { id, body: body.to_string() }
}
