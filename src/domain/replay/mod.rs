//! Replays the audit log in memory and reports where it contradicts itself.
//!
//! Replay never judges by today's rules: a log stays valid when the rules change. It checks what no rules could allow (a
//! grant without another person's approval, an end that is not the one granted, a decision on a decided request), and what
//! the team of that moment says: whether it made the demands that a grant met, and whether a rule could give what it is
//! said to have given.
//!
//! The team of that moment is judged by the current code. So a change of what a rule gives or demands needs a new log
//! format, and entries of earlier formats keep being judged as they were.

mod certificates;
mod decisions;
mod demands;
mod given;
mod grants;
pub mod history;
mod keys;
mod notified;
mod past;
mod provisioning;
mod recertifications;
#[cfg(test)]
mod replay_test;
pub mod requests;
mod sessions;
mod signatures;
mod team;

use std::collections::{BTreeMap, BTreeSet};

use super::audit::Hash;
use super::certificate::IssuedCertificate;
use super::event::{Entry, Event, FORMAT};
use super::host_rights;
use super::member::Login;
use super::name::Name;
use super::notification::Recipient;
use super::preference::Preference;
use super::provisioning::Provisioning;
use super::recertification::{ItemId, Recertification};
use super::request::{Recorded, Request};
use super::session::RecordedSession;
use super::simulation::historical::TeamThen;
use super::ssh_key::SSH_KEY;
use super::team::Team;
use super::terms::RequestId;
use super::time::Timestamp;
use given::{AddedKeys, Certificates, Provisioned, Recertified, Sessions, Signatures};
use past::{Numbers, Past};
use smol_str::SmolStr;

/// What the entries so far amount to.
///
/// It holds every request until `release` is called. A caller that does so after each batch of entries needs memory only for
/// what is still open.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// None before the first entry.
    pub team: Option<Team>,
    /// For each member, the entry that added them. A member who left and came back has a new one.
    pub since: BTreeMap<Name, i64>,
    /// By number, without those that were released.
    pub requests: BTreeMap<RequestId, Request>,
    /// By number, without those that were released.
    pub notifications: Vec<Notified>,
    /// What judging by the team of this moment has found so far.
    team_then: TeamThen,
    /// Of every member who has set any.
    pub preferences: BTreeMap<Name, Preference>,
    /// The requests whose grants of roles have not ended on the record.
    role_grants: BTreeSet<RequestId>,
    /// The requests that format 1 filed and that were not judged again since. Without those that were released.
    of_format_1: BTreeSet<RequestId>,
    /// When requests were last edited. Without those that were released.
    edited_at: BTreeMap<RequestId, Timestamp>,
    /// Who changed the team, while the entries that follow from it are replayed. None: nobody, or nobody who may.
    changed_by: Option<TeamChanger>,
    /// The host and the time of the call that changed the hosts last, while its entries are replayed.
    hosts_changed: Option<(Option<SmolStr>, Timestamp)>,
    /// The format that the current entry has to follow: its own, but not 1 after a later one.
    format: u32,
    last: Option<Timestamp>,
    /// The requests that became final since the last release.
    final_since: Vec<RequestId>,
    past: Past,
    provisioned: Provisioned,
    certificates: Certificates,
    sessions: Sessions,
    keys: AddedKeys,
    recertifications: Recertified,
    signatures: Signatures,
    /// The grants that a review did not keep, until they are revoked: the item of each, and who revokes it. None: the due time.
    unrevoked: BTreeMap<RequestId, (ItemId, Option<Name>)>,
    notified: Numbers,
    last_notified: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TeamChanger {
    Member(Name),
    /// Root, who replaced the owner.
    Root,
}

/// A notification by number: the entry it is about, and its recipient.
pub type Notified = (i64, (i64, Recipient));

/// What no later entry of an honest log can change.
#[derive(Debug, Default)]
pub struct Released {
    pub requests: Vec<Request>,
    pub notifications: Vec<Notified>,
    pub provisioning: Vec<Provisioning>,
    pub certificates: Vec<IssuedCertificate>,
    pub sessions: Vec<RecordedSession>,
    pub recertifications: Vec<Recertification>,
}

/// Something that no honest log has, in words.
type Fault = String;

/// What an entry says in addition to its event.
#[derive(Clone, Copy)]
struct EntryContext<'e> {
    seq: i64,
    at: Timestamp,
    actor: Option<&'e Name>,
    os_user: &'e str,
}

impl Model {
    /// Replays the next entry. Returns what is wrong with it, and continues as well as it can.
    /// `hash`: the entry's own.
    pub fn take(&mut self, entry: Entry, hash: Hash) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !(1..=FORMAT).contains(&entry.v) {
            faults.push(format!("it is of format {}, which this program does not know", entry.v));
        } else if (entry.v >= 3) != (entry.host.is_some() && entry.nonce.is_some()) {
            faults.push("a host and a nonce are part of format 3, and of no earlier one".to_owned());
        }
        // A log that is no longer shared goes back from 3 to 2. Nothing goes back to 1, which says less.
        if entry.v == 1 && self.format > 1 {
            faults.push("it is of format 1, after entries of a later format".to_owned());
        }
        // Earlier formats could leave the number out.
        if entry.host.is_some() && entry.recipients.is_empty() != entry.first_notification.is_none() {
            faults.push("its notifications have a number if it has any".to_owned());
        }
        self.check_host(&entry, &mut faults);
        self.check_time(&entry, &mut faults);
        self.check_actor(&entry, &mut faults);
        self.check_ssh_key(&entry, &mut faults);
        self.note_team_changer(&entry);
        self.check_logins(&entry, &mut faults);
        self.check_unrevoked(&entry.event, &mut faults);
        faults.extend(self.check_signatures(&entry));
        self.signatures.note(&entry, hash);
        self.last = Some(entry.at);
        self.format = entry.v.max(self.format.min(2));
        let mandatory = self.mandatory(&entry);
        let id = entry.event.request();
        let context =
            EntryContext { seq: entry.seq, at: entry.at, actor: entry.actor.as_ref(), os_user: &entry.os_user };
        faults.extend(self.fold(context, entry.event).err());
        faults.extend(mandatory.and_then(|mandatory| self.not_notified(mandatory, &entry.recipients)));
        self.final_since.extend(id.filter(|id| self.requests.get(id).is_some_and(is_final)));
        self.notify(entry.seq, entry.recipients, entry.first_notification, &mut faults);
        faults
    }

    /// The first thing that is wrong with an entry that comes next, which is not replayed.
    pub fn judge(&mut self, entry: Entry, hash: Hash) -> Option<String> {
        // A host that only asks can append thousands of these. Each is about one request, and most of a model is requests.
        let named = match &entry.event {
            Event::RequestSubmitted(submission) => submission.extends,
            Event::RequestEdited(_) | Event::RequestWithdrawn { .. } | Event::GrantRevoked { .. } => {
                entry.event.request()
            }
            Event::PreferenceChanged { .. } | Event::AttemptRefused { .. } => None,
            _ => return self.clone().take(entry, hash).into_iter().next(),
        };
        let (requests, notifications) = (std::mem::take(&mut self.requests), std::mem::take(&mut self.notifications));
        let mut trial = self.clone();
        (self.requests, self.notifications) = (requests, notifications);
        trial.requests.extend(named.and_then(|id| Some((id, self.requests.get(&id)?.clone()))));
        trial.take(entry, hash).into_iter().next()
    }

    /// An entry is by a host that may append it, or by the call that took the host's power away.
    fn check_host(&mut self, entry: &Entry, faults: &mut Vec<Fault>) {
        let call = (entry.host.clone(), entry.at);
        let is_same_call = self.hosts_changed.as_ref() == Some(&call);
        let may = self.team.as_ref().is_none_or(|team| host_rights::may_append(&team.hosts, entry));
        if !may && !is_same_call {
            let (host, action) = (entry.host.as_deref().unwrap_or_default(), entry.event.action());
            faults.push(format!("{action} is by the host {host}, which may not append that"));
        }
        if host_rights::changes_hosts(entry) {
            self.hosts_changed = Some(call);
        } else if !is_same_call {
            self.hosts_changed = None;
        }
    }

    fn fold(&mut self, context: EntryContext<'_>, event: Event) -> Result<(), Fault> {
        match event {
            Event::TeamInitialized { changes } => self.initialize_team(context.seq, changes),
            Event::TeamApplied { changes } => self.apply_team(context.seq, changes),
            Event::RequestSubmitted(submission) => self.submit(context, submission),
            Event::RequestEdited(revision) => self.edit(context, revision),
            Event::RequestApproved(approval) => self.approve(context, approval),
            Event::RequestDenied { request, by, reason } => self.deny(context, request, by, reason),
            Event::RequestWithdrawn { request, by, because } => self.withdraw(context, request, by.as_ref(), &because),
            Event::RequestLapsed { request, lapsed_at } => self.lapse(context, request, lapsed_at),
            Event::RequestReminded { request } => self.remind(context, request),
            Event::RequestRejudged { request } => self.rejudge(context, request),
            Event::ApprovalsVoided { request, voids, .. } => self.void_approvals(context, request, &voids),
            Event::RequestReviewed { request, by, note } => self.review(context, request, by, note),
            Event::GrantScheduled(granted) => self.schedule(context, granted),
            Event::GrantStarted(granted) => self.start(context, granted),
            Event::GrantExpiring { request, .. } => self.warn(request),
            Event::GrantExpired { request, resource, ended_at } => self.expire(context, request, &resource, ended_at),
            Event::GrantRevoked { request, resource, by, because, .. } => {
                self.revoke(context, request, &resource, by, &because)
            }
            Event::AttemptRefused { .. } | Event::ClockAccepted { .. } => Ok(()),
            Event::PreferenceChanged { member, from, to } => self.change_preference(context, member, &from, to),
            Event::GrantProvisioned(provision) => self.provision(context, provision),
            Event::GrantDeprovisioned(deprovisioned) => self.deprovision(context, deprovisioned),
            Event::ProvisioningFailed(failed) => self.fail(context, failed),
            Event::DriftFound(drifted) => self.find_drift(context, drifted),
            Event::DriftResolved(drifted) => self.resolve_drift(context, &drifted),
            Event::DriftOmitted(omitted) => provisioning::omit_drift(context, &omitted),
            Event::CertificateIssued(certificate) => self.certify(context, certificate),
            Event::SessionOpened(opened) => self.open_session(context, opened),
            Event::SessionClosed(closed) => self.close_session(context, &closed),
            Event::CheckpointKeyAdded { key, replaces } => self.add_key(context, key, replaces.as_ref()),
            Event::CheckpointTaken { note } => self.check_checkpoint(context, &note),
            Event::RecertificationStarted(started) => self.start_recertification(context, started),
            Event::RecertificationDecided(decision) => self.decide_item(context, decision),
            Event::RecertificationReminded { recertification } => {
                self.remind_of_recertification(context, recertification)
            }
            Event::RecertificationClosed(closed) => self.close_recertification(context, closed),
            Event::RecertificationCancelled { recertification, cancellation } => {
                self.cancel_recertification(context, recertification, cancellation)
            }
            Event::Void => Err("no program records it".to_owned()),
        }
    }

    fn notify(&mut self, seq: i64, recipients: Vec<Recipient>, first: Option<i64>, faults: &mut Vec<Fault>) {
        let next = self.last_notified.saturating_add(1);
        let first = first.unwrap_or(next);
        if first != next {
            faults.push(format!("its first notification is {first}, where {next} comes next"));
        }
        // No honest log comes near the last number there is.
        let first = first.min(i64::MAX - 1 - recipients.len() as i64);
        for (id, recipient) in (first..).zip(recipients) {
            if !self.since.contains_key(&recipient.0) {
                faults.push(format!("it notifies {}, who is not a member", recipient.0));
            }
            self.notifications.push((id, (seq, recipient)));
            self.notified.push(id);
            self.last_notified = id;
        }
    }

    /// Hands out what is final, and keeps only a few bytes of it.
    pub fn release(&mut self) -> Released {
        let ids = std::mem::take(&mut self.final_since);
        let requests: Vec<Request> = ids.iter().filter_map(|id| self.requests.remove(id)).collect();
        for request in &requests {
            self.past.release(request);
            self.of_format_1.remove(&request.id);
            self.edited_at.remove(&request.id);
            self.signatures.release(request.id);
        }
        Released {
            requests,
            notifications: std::mem::take(&mut self.notifications),
            provisioning: self.provisioned.take_ended(),
            certificates: self.certificates.take(),
            sessions: self.sessions.take_closed(),
            recertifications: self.recertifications.take_closed(),
        }
    }

    /// What connectors gave and did not take back, and the drift that is not resolved.
    pub fn take_open_provisioning(&mut self) -> Vec<Provisioning> {
        self.provisioned.take_open()
    }

    /// The sessions that nobody closed.
    pub fn take_open_sessions(&mut self) -> Vec<RecordedSession> {
        self.sessions.take_open()
    }

    /// The recertifications that were not closed.
    pub fn take_open_recertifications(&mut self) -> Vec<Recertification> {
        self.recertifications.take_open()
    }

    /// Whether any entry starts a recertification with this number.
    pub fn has_recertified(&self, id: i64) -> bool {
        self.recertifications.begun.contains(id)
    }

    /// Whether an entry with this number opens a session.
    pub fn has_opened_session(&self, seq: i64) -> bool {
        self.sessions.has_begun(seq)
    }

    /// Whether an entry with this number begins something that a connector gave or found.
    pub fn has_provisioned(&self, seq: i64) -> bool {
        self.provisioned.has_begun(seq)
    }

    /// Whether an entry with this number records a certificate.
    pub fn has_issued(&self, seq: i64) -> bool {
        self.certificates.issued.contains(seq)
    }

    /// Whether any entry filed a request with this number.
    pub fn has_filed(&self, id: i64) -> bool {
        self.past.filed.contains(id)
    }

    /// Whether any entry caused a notification with this number.
    pub fn has_notified(&self, id: i64) -> bool {
        self.notified.contains(id)
    }

    fn check_time(&self, entry: &Entry, faults: &mut Vec<Fault>) {
        let Some(last) = self.last else { return };
        if let Event::ClockAccepted { was } = &entry.event {
            if *was < last {
                faults.push(format!("it accepts a clock behind {was}, but {last} was recorded before"));
            }
        } else if entry.at < last {
            faults.push(format!("its time, {}, is before that of the entry before it", entry.at));
        }
    }

    /// The actor is a member who is not disabled. (Anybody may have made an attempt that was refused.)
    fn check_actor(&self, entry: &Entry, faults: &mut Vec<Fault>) {
        let (Some(actor), Some(team)) = (&entry.actor, &self.team) else { return };
        if matches!(entry.event, Event::AttemptRefused { .. }) || self.follows_change_by(entry, actor) {
            return;
        }
        match team.members.get(actor) {
            Some(member) if member.disabled => faults.push(format!("{actor} acts, who is disabled")),
            Some(_) => {}
            None => faults.push(format!("{actor} acts, who is not a member")),
        }
    }

    /// Whether an entry is part of the command with which this member has changed the team. The file may remove or disable the
    /// member who applies it, or take their key; they still act in what follows.
    fn follows_change_by(&self, entry: &Entry, actor: &Name) -> bool {
        let changer = match &self.changed_by {
            Some(TeamChanger::Member(name)) => Some(name),
            Some(TeamChanger::Root) | None => None,
        };
        entry.event.follows_team() && changer == Some(actor)
    }

    /// What came over SSH is by the member who had the key then, or was refused.
    fn check_ssh_key(&self, entry: &Entry, faults: &mut Vec<Fault>) {
        let Some(key) = entry.os_user.strip_prefix(SSH_KEY) else { return };
        let Some(actor) = &entry.actor else {
            if !matches!(entry.event, Event::AttemptRefused { .. }) {
                faults.push(format!("it came with the SSH key {key}, and is by nobody"));
            }
            return;
        };
        let holder = self.team.as_ref().and_then(|team| team.members.get(actor));
        let has_key = holder.is_some_and(|holder| holder.ssh_keys.iter().any(|it| it.fingerprint().as_str() == key));
        if !has_key && !self.follows_change_by(entry, actor) {
            faults.push(format!("it came with the SSH key {key}, which is not one of {actor}'s"));
        }
    }

    /// A request names the Unix users that its requester and its filer have in the team. (Format 1 names none.)
    fn check_logins(&self, entry: &Entry, faults: &mut Vec<Fault>) {
        let Event::RequestSubmitted(submission) = &entry.event else { return };
        let requester = (&submission.requester, &submission.requester_login);
        let filer = (&submission.filed_by, &submission.filer_login);
        for (name, login) in BTreeSet::from([requester, filer]) {
            if (entry.v > 1 || login.is_some()) && login.as_ref() != self.login_of(name) {
                faults.push(format!("it does not name the Unix user that {name} has"));
            }
        }
    }

    fn login_of(&self, member: &Name) -> Option<&Login> {
        self.team.as_ref()?.members.get(member).map(|member| &member.login)
    }

    /// A request that was not released. `released`: what is wrong with naming one that was, given whether it was granted.
    fn request(&mut self, id: RequestId, released: impl FnOnce(bool) -> Fault) -> Result<&mut Request, Fault> {
        let past = self.past.get(id).map(|(_, granted)| granted);
        self.requests.get_mut(&id).ok_or_else(|| past.map_or_else(|| no_request(id), released))
    }

    fn pending(&mut self, id: RequestId, at: Timestamp) -> Result<&mut Request, Fault> {
        let not_pending = || format!("request {id} is decided, which was not pending");
        let request = self.request(id, |_| not_pending())?;
        if request.recorded != Recorded::Pending {
            Err(not_pending())
        } else if request.lapses_at <= at {
            Err(format!("request {id} is decided after it lapsed"))
        } else {
            Ok(request)
        }
    }
}

/// Whether no later entry of an honest log changes this request, its decisions or its grant.
fn is_final(request: &Request) -> bool {
    let ended = request.grant.as_ref().is_none_or(|grant| grant.ended.is_some());
    let owed = request.grant.is_some() && request.owes_review();
    request.recorded != Recorded::Pending && ended && !owed
}

fn no_request(id: RequestId) -> Fault {
    format!("there is no request {id}")
}
