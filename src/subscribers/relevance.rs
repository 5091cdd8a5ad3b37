//! What is no longer worth sending to people. It stays in their inbox, and webhooks get everything.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::domain::event::Event;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::request::Request;
use crate::domain::request::authorize::needs_auditor;
use crate::domain::subscriber::{Delivery, Subscriber, Topic};
use crate::domain::team::change::Change;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::service::{PolicyContext, access_continues, sees};
use crate::store::{Error, Read, Write};

/// Tells which deliveries are still relevant, and keeps what it loaded to find out.
#[derive(Default)]
pub struct Relevance {
    policy: PolicyContext,
    requests: HashMap<RequestId, Option<Request>>,
}

impl Relevance {
    /// To a member only what they may still see. Asking for a decision is relevant while the request is pending and the member has
    /// not approved it. The warning that access expires is relevant while the grant is active and nothing continues it.
    pub fn is_relevant(&mut self, read: &Read<'_>, delivery: &Delivery, now: Timestamp) -> Result<bool, Error> {
        let Topic::Notification(kind) = delivery.topic else { return Ok(true) };
        let member = delivery.notification.as_ref().map(|(_, member)| member);
        let (is_expiring, asks) = (kind == NotificationKind::AccessExpiring, kind.asks_for_a_decision());
        if matches!(delivery.subscriber, Subscriber::Webhook(_)) || member.is_none() && !is_expiring && !asks {
            return Ok(true);
        }
        let Some(id) = delivery.request else {
            return member.map_or(Ok(true), |member| self.concerns(read, delivery.seq, kind, member, now));
        };
        let request = match self.requests.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read.request(id)?),
        };
        let Some(request) = request else { return Ok(false) };
        if is_expiring {
            let Some(grant) = request.grant.as_ref().filter(|grant| grant.is_live(now)) else { return Ok(false) };
            return Ok(!access_continues(read, &self.policy, grant, grant.ends_at.unwrap_or(now))?);
        }
        if asks && request.state(now) != State::Pending {
            return Ok(false);
        }
        let Some(member) = member else { return Ok(true) };
        if asks && request.approvals().any(|decision| decision.by == *member) {
            return Ok(false);
        }
        match self.policy.principal(read, member)? {
            Some(person) => sees(read, &self.policy, &person, request, now),
            None => Ok(false),
        }
    }

    /// Whether what is about no request is still for this member: what only those who see everything are notified of, as they
    /// may not any more. What is about this member stays theirs: that they are no admin any more, or that their access could not be
    /// given.
    fn concerns(
        &self,
        read: &Read<'_>,
        seq: i64,
        kind: NotificationKind,
        member: &Name,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let is_about_them = match kind {
            NotificationKind::RevokeFailed | NotificationKind::DriftFound => false,
            NotificationKind::TeamChanged | NotificationKind::ProvisioningFailed => match read.entry(seq)?.event {
                Event::TeamApplied { changes } => {
                    changes.iter().any(|change| matches!(change, Change::Member(name, _) if name == member))
                }
                Event::ProvisioningFailed(failed) => failed.provision.member.as_ref() == Some(member),
                _ => false,
            },
            _ => return Ok(true),
        };
        if is_about_them {
            return Ok(true);
        }
        let person = self.policy.principal(read, member)?;
        Ok(person.is_some_and(|person| needs_auditor(&person, "read this", now).is_ok()))
    }
}

/// Deletes the deliveries that are not relevant any more, and those that report a decision or withdrawal to somebody who
/// never got the request.
pub fn drop_irrelevant(write: &Write<'_>, due: Vec<Delivery>, now: Timestamp) -> Result<Vec<Delivery>, Error> {
    let mut relevance = Relevance::default();
    let mut dropped: BTreeSet<i64> = BTreeSet::new();
    let mut closed = false;
    for delivery in &due {
        closed |= matches!(
            delivery.topic,
            Topic::Notification(NotificationKind::RequestWithdrawn | NotificationKind::RequestDecided)
        );
        if !relevance.is_relevant(write, delivery, now)? {
            dropped.insert(delivery.id);
        }
    }
    // Both are deleted together: once the request's own delivery is gone, nothing shows that it was never sent.
    if closed || !dropped.is_empty() {
        dropped.extend(write.outbox_unannounced()?);
    }
    write.outbox_done(&dropped.iter().copied().collect::<Vec<_>>())?;
    Ok(due.into_iter().filter(|delivery| !dropped.contains(&delivery.id)).collect())
}
