//! What connectors should give now, by the grants and the bindings, and the record of what they gave and took back.

mod leased;

use std::collections::{BTreeMap, BTreeSet};

pub use leased::{FetchJournal, LeaseConnector, PublishJournal, ReleaseConnector};
use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::provisioned::Bound;
use super::shared_log::{is_in_contact, recorded_elsewhere};
use super::{Call, Callers, Never, Rows, Service};
use crate::domain::audit;
use crate::domain::binding::{Binding, Holding, ParameterValue};
use crate::domain::duration::Length;
use crate::domain::event::{Draft, Event};
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::principal::lasts_longer;
use crate::domain::provisioning::{Condition, Drifted, Failed, ProvisionedAccess, Provisioning, ProvisioningOperation};
use crate::domain::reconciliation;
use crate::domain::reconciliation::RecentDrift;
use crate::domain::request::authorize;
use crate::domain::role::Role;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{
    DesiredState, DesiredView, DriftView, OutcomeView, Position, RecordedState, RecordedView, StillHeldView,
    UnconfirmedView,
};
use crate::store::{Error, Read, Write};

/// The most failures of one run, and the most drift of an hour, that the admins are notified of. All are in the log.
const NOTIFIED: usize = 20;
/// How long after its end access may stay before that is reported: the longest pause of a reconciler.
const UNCONFIRMED_AFTER: Length = Length::TEN_MINUTES;

/// What every login should hold now, in every system that a binding names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredAccess {
    /// The last entry that the caller saw. None: it has seen nothing of this log.
    pub known: Option<Position>,
}

impl Call for DesiredAccess {
    const NAME: &'static str = "DesiredAccess";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = DesiredView;
    type Reply = DesiredState;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, DesiredView>) -> Result<DesiredState, Failure> {
        let DesiredAccess { known } = self;
        service.store.enlarge_cache()?;
        let (desired, state) = service.store.read(|read| -> Result<_, Failure> {
            let now = service.now(read)?;
            let bindings = read.bindings()?;
            let desired = desired(read, &bindings, now)?;
            let continues = continues(read, known.as_ref())?;
            let (drift, recorded) = read.open_provisioning()?.into_iter().partition(|open| open.condition.is_drift());
            let drift: Vec<Provisioning> = drift;
            let recorded: Vec<Provisioning> = recorded;
            let state = DesiredState {
                now,
                position: position(read)?,
                continues,
                may_give: is_in_contact(read, service.outside.clocks)?,
                host: read.replica()?.map(|replica| replica.host),
                bindings,
                recorded: recorded.into_iter().filter_map(recorded_view).collect(),
                drift: drift.into_iter().filter_map(drift_view).collect(),
            };
            Ok((desired, state))
        })?;
        for view in desired {
            rows(view)?;
        }
        Ok(state)
    }
}

pub fn position(read: &Read<'_>) -> Result<Position, Error> {
    let head = read.head()?;
    Ok(Position { seq: head.seq, hash: audit::hex(&head.hash) })
}

/// Whether the log continues from what the reconciler saw. One that saw nothing yet can take only a log that has given
/// nothing: another may be a backup, which gives again what was taken back since. In a log that hosts share, only what this host
/// gave counts: the others have journals of their own.
pub fn continues(read: &Read<'_>, known: Option<&Position>) -> Result<bool, Error> {
    match known {
        Some(known) => Ok(read.hash_of(known.seq)?.is_some_and(|hash| audit::hex(&hash) == known.hash)),
        None => {
            let host = read.replica()?.map(|replica| replica.host);
            Ok(!read.has_provisioned(host.as_deref())?)
        }
    }
}

fn recorded_view(open: Provisioning) -> Option<RecordedView> {
    let state = match open.condition {
        Condition::Granted => RecordedState::Granted,
        Condition::GrantFailed => RecordedState::GrantFailed,
        Condition::RevokeFailed => RecordedState::RevokeFailed,
        Condition::Revoked | Condition::Drifted(_) | Condition::Resolved => return None,
    };
    Some(RecordedView { holding: open.holding, request: open.request, state, error: open.error, at: open.since })
}

fn drift_view(open: Provisioning) -> Option<DriftView> {
    match open.condition {
        Condition::Drifted(drift) => Some(DriftView { drift, holding: open.holding }),
        _ => None,
    }
}

/// What every login should hold now, in the order of the holdings.
fn desired(read: &Read<'_>, bindings: &[Binding], now: Timestamp) -> Result<Vec<DesiredView>, Error> {
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let bound = Bound::new(read, bindings.to_vec())?;
    let baseline = bindings.iter().any(|binding| binding.baseline);
    let candidates = if baseline { read.member_names()? } else { read.members_with_live_grants(now)? };
    let mut desired: BTreeMap<Holding, DesiredView> = BTreeMap::new();
    for name in candidates {
        let Some(principal) = read.principal(&name)? else { continue };
        let holding = |binding: &Binding| Holding {
            connector: binding.connector.clone(),
            login: principal.member.login.clone(),
            parameters: binding.parameters.clone(),
        };
        let mut give = |binding: &Binding, request: Option<RequestId>, until: Option<Timestamp>| {
            let view = desired.entry(holding(binding)).or_insert_with_key(|holding| DesiredView {
                holding: holding.clone(),
                member: name.clone(),
                requests: Vec::new(),
                until,
                end_sessions: false,
            });
            view.end_sessions |= binding.end_sessions;
            if lasts_longer(until, view.until) {
                view.until = until;
            }
            view.requests.extend(request.filter(|request| !view.requests.contains(request)));
        };
        if baseline {
            bound.given_without(&principal, now).into_iter().for_each(|binding| give(binding, None, None));
        }
        for grant in principal.live_grants(now) {
            let given = bound.given_by(&principal, grant, now).into_iter();
            given.for_each(|binding| give(binding, Some(grant.request), grant.ends_at));
        }
        // An extension follows the grant. A system that ends access by itself has to know its end before.
        for grant in principal.following_grants(now) {
            for binding in bound.given_by(&principal, grant, grant.starts_at) {
                let Some(view) = desired.get_mut(&holding(binding)) else { continue };
                let follows = view.until.is_some_and(|until| grant.starts_at <= until);
                if follows && lasts_longer(grant.ends_at, view.until) {
                    view.until = grant.ends_at;
                }
            }
        }
    }
    let mut desired: Vec<DesiredView> = desired.into_values().collect();
    desired.iter_mut().for_each(|view| view.requests.sort_unstable());
    Ok(desired)
}

/// Records what was given and taken back, what failed, and drift. What is on the record already is not recorded again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordProvisioning {
    pub outcomes: Vec<OutcomeView>,
    /// All drift of these connectors; what was reported and is not here is resolved.
    pub drift: Vec<DriftView>,
    /// The connectors that `drift` is about.
    pub looked_at: Vec<Name>,
    /// The host that they are about, if each host has a system of its own.
    pub host: Option<ParameterValue>,
}

impl Call for RecordProvisioning {
    const NAME: &'static str = "RecordProvisioning";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    /// The last entry of the log.
    type Reply = Position;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Position, Failure> {
        let RecordProvisioning { outcomes, drift, looked_at, host } = self;
        service
            .store
            .write(|write| {
                let now = service.now_to_write(write)?;
                let context = service.context(None, now);
                let mut recipients = Recipients::default();
                // Each is recorded before the next is decided: one run may give and take the same thing.
                for outcome in outcomes {
                    let provision = provision(write, &outcome)?;
                    let open = write.open_provisioning_of(provision.request, &provision.holding.login)?;
                    let same = |open: &&Provisioning| open.holding == provision.holding && !open.condition.is_drift();
                    let open = open.iter().find(same);
                    if let Some(event) = reconciliation::outcome(open, provision.clone(), outcome.outcome, now) {
                        let recipients = recipients.of(write, &event, now)?;
                        write.record(&context, vec![Draft { event, recipients }])?;
                    }
                }
                let found = drift.into_iter().filter(|view| looked_at.contains(&view.holding.connector));
                let found = found.map(|view| Drifted { holding: view.holding, drift: view.drift }).collect();
                let hour_ago = now.minus(reconciliation::DRIFT_WITHIN);
                let recent = |name: &Name| Ok((name.clone(), write.recent_drift(name, hour_ago)?));
                let recent: BTreeMap<Name, RecentDrift> = looked_at.iter().map(recent).collect::<Result<_, Error>>()?;
                recipients
                    .notified
                    .insert(NotificationKind::DriftFound, recent.values().map(|recent| recent.found).sum());
                let mut open = if looked_at.is_empty() { Vec::new() } else { write.open_provisioning()? };
                if write.replica()?.is_some() {
                    // Not what another host found. Without a host: from before the log was shared.
                    let host_of = |open: &Provisioning| open.holding.clone().without_host().1;
                    open.retain(|open| host_of(open).is_none_or(|its| host.as_ref() == Some(&its)));
                }
                let mut drafts = Vec::new();
                for event in reconciliation::drift(&open, &recent, found) {
                    drafts.push(Draft { recipients: recipients.of(write, &event, now)?, event });
                }
                write.record(&context, drafts)?;
                Ok(position(write)?)
            })
            .map_err(recorded_elsewhere)
    }
}

/// Whose holding it is, and by which request. In a log that was restored a request may be missing, or be another one with
/// the same number. Then the outcome is recorded as one without a request.
fn provision(write: &Write<'_>, outcome: &OutcomeView) -> Result<ProvisionedAccess, Error> {
    let holding = outcome.holding.clone();
    let request = outcome.request.map_or(Ok(None), |id| write.request(id))?;
    let of_login = write.member_of_login(&holding.login)?;
    if let Some((request, grant)) = request.as_ref().and_then(|request| Some((request, request.grant.as_ref()?))) {
        let recorded = write.open_provisioning_of(Some(request.id), &holding.login)?;
        let is_theirs = of_login.as_ref() == Some(&grant.member)
            || request.requester_login.as_ref() == Some(&holding.login)
            || recorded.iter().any(|open| open.holding == holding);
        if is_theirs {
            return Ok(ProvisionedAccess { request: Some(request.id), member: Some(grant.member.clone()), holding });
        }
    }
    Ok(ProvisionedAccess { request: None, member: of_login, holding })
}

/// Access that should be over: what could not be taken back, and what nobody has taken back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StillHeld {}

impl Call for StillHeld {
    const NAME: &'static str = "StillHeld";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = StillHeldView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<StillHeldView, Failure> {
        service.store.read(|read| {
            let failed = read.failed_revokes()?;
            let failed_revokes = failed.into_iter().filter_map(recorded_view).collect();
            Ok(StillHeldView { failed_revokes, unconfirmed_revokes: unconfirmed(read, service.now(read)?)? })
        })
    }
}

/// Access that nobody has taken back long after its end. A reconciler that runs either takes it back or says why it can't.
pub fn unconfirmed(read: &Read<'_>, now: Timestamp) -> Result<Option<UnconfirmedView>, Error> {
    let found = read.unconfirmed_revokes(now.minus(UNCONFIRMED_AFTER))?;
    Ok(found.map(|(grants, since)| UnconfirmedView { grants, since }))
}

/// Who is notified: the admins, but of not too many things at once, and the requester whose grant could not be given.
#[derive(Default)]
struct Recipients {
    admins: Option<BTreeSet<Name>>,
    notified: BTreeMap<NotificationKind, usize>,
}

impl Recipients {
    fn of(&mut self, read: &Read<'_>, event: &Event, now: Timestamp) -> Result<Vec<Recipient>, Error> {
        let (kind, requester) = match event {
            Event::ProvisioningFailed(Failed { provision, operation, .. }) => match operation {
                ProvisioningOperation::Grant => (NotificationKind::ProvisioningFailed, provision.member.clone()),
                ProvisioningOperation::Revoke => (NotificationKind::RevokeFailed, None),
            },
            Event::DriftFound(_) => (NotificationKind::DriftFound, None),
            // It is recorded once an hour.
            Event::DriftOmitted(_) => return Ok(NotificationKind::DriftFound.to_all(&self.admins(read, now)?)),
            _ => return Ok(Vec::new()),
        };
        let notified = self.notified.entry(kind).or_default();
        *notified += 1;
        let mut names = BTreeSet::new();
        if *notified <= NOTIFIED {
            names = self.admins(read, now)?;
        }
        names.extend(requester);
        Ok(kind.to_all(&names))
    }

    fn admins(&mut self, read: &Read<'_>, now: Timestamp) -> Result<BTreeSet<Name>, Error> {
        if self.admins.is_none() {
            self.admins = Some(admins(read, now)?);
        }
        Ok(self.admins.clone().unwrap_or_default())
    }
}

fn admins(read: &Read<'_>, now: Timestamp) -> Result<BTreeSet<Name>, Error> {
    let admins = PolicyContext::default().people_named(read, &[Assignee::Role(Role::Admin)].into())?;
    let able = admins.iter().filter(|principal| authorize::needs_admin(principal, "", now).is_ok());
    Ok(able.map(|principal| principal.name.clone()).collect())
}
