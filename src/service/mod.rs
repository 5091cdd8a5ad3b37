//! The use cases, one per file: load, decide, record. A call that changes anything does all three in one write
//! transaction; one that only reads sees one consistent state, or pages of it.
//!
//! Nothing here reads the clock or the environment, and nothing here prints.

mod admission;
mod approve;
mod audit;
mod audit_signature;
mod backup;
mod call;
mod caller;
mod certificates;
mod check;
mod checkpoint;
mod clock;
mod completion;
mod deliver;
mod deny;
mod doctor;
mod edit;
mod expire;
mod extend;
mod hosts_behind;
mod inbox;
mod init;
mod list;
mod list_past;
mod log_findings;
#[cfg(test)]
mod long_history;
mod moving;
mod needs;
mod notify;
mod outbox;
mod owner;
mod policy_context;
mod position;
mod principals;
mod provisioned;
mod provisioning;
mod queue;
mod quota;
mod recertify;
mod rejudge;
mod report;
mod request;
mod resources;
mod review;
mod revoke;
mod sessions;
mod shared_log;
mod snapshot;
mod ssh_keys;
mod team;
mod verify;
mod view;
mod who;
mod whoami;
mod withdraw;

/// The calls of each file. This module exports them, and a shared host's socket accepts them.
macro_rules! calls {
    ($action:ident) => {
        $action! {
            approve: ApprovalToSign, Approve;
            audit: Audit, AuditExport, AuditExportRaw;
            audit_signature: AuditSignature;
            backup: Backup;
            certificates: IssueCertificate, RevokedCertificates;
            check: Check;
            checkpoint: AuditCheckpoint, AuditConsistency, AuditProve, CheckpointKeys, CompareCheckpoint, RotateCheckpointKey, TakeCheckpoint;
            clock: AcceptClock;
            completion: Complete;
            deliver: Deliver;
            deny: Deny;
            doctor: Doctor;
            edit: EditRequest;
            expire: Expire;
            extend: Extend, NeedsToExtend;
            hosts_behind: HostsBehind;
            inbox: Inbox, MarkRead, Unread;
            list: HasRequests, List, Show;
            needs: Needs;
            notify: NotifyTest, Prefer, Preferences;
            outbox: Outbox, OutboxDiscard, OutboxRetry;
            owner: ReplaceOwner;
            position: LogPosition;
            principals: Principals;
            provisioning: DesiredAccess, FetchJournal, LeaseConnector, PublishJournal, RecordProvisioning, ReleaseConnector, StillHeld;
            queue: Queue;
            report: PeriodReport;
            recertify: CancelRecertification, DecideItem, Recertifications, ShowRecertification, StartRecertification;
            request: SubmitRequest;
            resources: Find, Resources;
            review: ReviewEmergency;
            revoke: Revoke, RevokeMember;
            sessions: CloseSessions, JudgeSessions, OpenSession, OpenSessions;
            ssh_keys: HolderOfKey;
            team: TeamApply, TeamShow;
            verify: AuditVerify;
            who: Holdings, Who;
            whoami: Whoami;
            withdraw: Withdraw;
        }
    };
}
pub(crate) use calls;

macro_rules! export {
    ($($file:ident: $($call:ident),+;)+) => {
        $(pub use $file::{$($call),+};)+
    };
}
calls!(export);

pub use admission::{is_member, record_refused};
pub use call::{Call, Callers, Listed, Never, Rows, Warned};
pub use caller::{ActingAs, Caller};
pub use completion::{Candidate, Words};
pub use deliver::Delivered;
pub use doctor::{finding, ok, unreadable};
pub use expire::access_continues;
pub use init::{Init, init};
pub use moving::{leave_log, move_log, prepare_log, raise_epoch, raise_format, salvage_log};
pub use notify::Preferred;
pub use policy_context::PolicyContext;
pub use review::emergency;
pub use shared_log::{as_of, engine_failure, join_log, log_status};
pub use ssh_keys::{key_holder, refuse_over_ssh};

use clock::{now, now_to_write};

use crate::domain::contact::Timezone;
use crate::domain::describe::briefly;
use crate::domain::event::{Draft, Entry, Event};
use crate::domain::member::{Login, Member};
use crate::domain::name::Name;
use crate::domain::notification::Recipient;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LookupRefusal, Refusal, RefusalKind};
use crate::domain::replica::{HostClocks, Replica};
use crate::domain::request::{Request, authorize, authorize::Case};
use crate::domain::terms::{RequestId, Terms};
use crate::domain::text::nearest;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{DeliverView, FindingView, Progress, Seen, TestView};
use crate::store::{Context, Error, Read, Store, Write};

/// Reads the clock: the system's, or in a copy of a shared log that of its database. It is read once per transaction, after the
/// wait for the write lock, so that requests that lapsed during the wait count as lapsed.
pub type Clock<'c> = &'c dyn Fn(Option<&Replica>) -> Result<Timestamp, Failure>;

/// Why a command was not carried out: a rule says no, or something failed.
#[derive(Clone)]
enum Problem {
    Refusal(Refusal),
    Failure(Failure),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::Refusal(refusal)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Failure(error.into())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem::Failure(failure)
    }
}

impl Problem {
    /// The failure that the caller gets, where a refusal is not recorded.
    fn unrecorded(self) -> Failure {
        match self {
            Problem::Refusal(refusal) => refusal.into(),
            Problem::Failure(failure) => failure,
        }
    }
}

/// The most refused attempts of one user that are recorded in an hour; more would only be noise.
const REFUSALS_AN_HOUR: u64 = 20;

/// Information from outside the database, which only some calls need.
pub struct Outside<'o> {
    /// Whether the Unix user who calls owns the database file.
    pub owns_file: &'o dyn Fn() -> bool,
    /// The clocks of this host.
    pub clocks: &'o dyn Fn() -> Result<HostClocks, Failure>,
    /// Whether a user of this name has an account on this machine. The lookup may take seconds, so it must not run while
    /// the write lock is held.
    pub has_account: &'o dyn Fn(&Login) -> Result<bool, Failure>,
    /// Whether this machine's database of time zones has this one.
    pub knows_zone: &'o dyn Fn(&Timezone) -> bool,
    /// Whether the database is a shared host's: then the owner must have an account on this machine.
    pub shared: bool,
    /// Sends what is due to the subscribers of the log.
    pub deliver: &'o dyn Fn(Rows<'_, Progress>) -> Result<DeliveryRun, Failure>,
    /// Sends a test to a member on each of their channels.
    pub notify_test: &'o dyn Fn(&TestRecipient) -> Result<Vec<TestView>, Failure>,
    /// What `doctor` finds of delivery.
    pub delivery_findings: &'o dyn Fn(&Read<'_>) -> Vec<FindingView>,
}

/// The result of a run of `deliver`.
#[derive(Default)]
pub struct DeliveryRun {
    pub view: DeliverView,
    pub warnings: Vec<String>,
    /// Why some transports could not be used. The others were.
    pub failures: Vec<Failure>,
}

/// The member who gets the message of `notify test`.
pub struct TestRecipient {
    pub team: Name,
    pub name: Name,
    pub member: Member,
    pub now: Timestamp,
}

/// What every call is given: the store, who calls, the system's clock, and the world outside.
pub struct Service<'a> {
    pub store: &'a Store,
    pub caller: &'a Caller,
    pub clock: Clock<'a>,
    pub outside: &'a Outside<'a>,
}

impl Service<'_> {
    /// Answers a call and discards its rows, if any.
    pub fn answer<C: Call>(&self, call: C) -> Result<C::Reply, Failure> {
        call.carry_out(self, &mut |_| Ok(()))
    }

    fn now(&self, read: &Read<'_>) -> Result<Timestamp, Failure> {
        now(read, self.clock)
    }

    fn now_to_write(&self, read: &Read<'_>) -> Result<Timestamp, Failure> {
        now_to_write(read, self.clock)
    }

    /// Reads something as the calling member. A refusal is recorded.
    fn ask<T>(
        &self,
        command: &str,
        work: impl FnOnce(&Read<'_>, &Principal, Timestamp) -> Result<T, Problem>,
    ) -> Result<T, Failure> {
        let asked = self.store.read(|read| {
            let me = self.actor(read)?;
            authorize::may_act(&me)?;
            work(read, &me, self.now(read)?)
        });
        asked.map_err(|problem| self.refused(command, None, problem))
    }

    /// Previews a change, as the calling member. A refusal is recorded only if it is about the caller: members may explore
    /// the rules, but attempts by others are visible in the log. While the clock is wrong it fails as the change would.
    fn try_out<T>(
        &self,
        command: &str,
        request: Option<RequestId>,
        work: impl FnOnce(&Read<'_>, &Principal, Timestamp) -> Result<T, Problem>,
    ) -> Result<T, Failure> {
        let asked = self.store.read(|read| {
            let me = self.actor(read)?;
            authorize::may_act(&me)?;
            Ok(work(read, &me, self.now_to_write(read)?))
        });
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Problem::Refusal(refusal))) if !refusal.is_about_the_caller() => Err(refusal.into()),
            Ok(Err(problem)) | Err(problem) => Err(self.refused(command, request, problem)),
        }
    }

    /// Why something failed. A refusal is recorded.
    fn refused(&self, command: &str, request: Option<RequestId>, problem: Problem) -> Failure {
        match problem {
            Problem::Failure(failure) => failure,
            Problem::Refusal(refusal) => {
                // The refusal holds even if it cannot be recorded, such as when the clock was set back.
                let _ = self.record_refused(command, request, &refusal);
                refusal.into()
            }
        }
    }

    /// Changes something as the calling member, in one transaction: `decide` returns the events, they are recorded, and
    /// `then` answers. A refusal is recorded instead.
    fn change<T, R>(
        &self,
        command: &str,
        request: Option<RequestId>,
        decide: impl FnOnce(&Read<'_>, &Principal, Timestamp) -> Result<(Vec<Draft>, T), Problem>,
        then: impl FnOnce(&Read<'_>, T, Timestamp) -> Result<R, Error>,
    ) -> Result<R, Failure> {
        let time = |read: &Read<'_>| self.now_to_write(read);
        self.write_as_member(command, request, time, |write, me, now| {
            let (drafts, kept) = decide(write, me, now)?;
            write.record(&self.context(Some(me), now), drafts)?;
            Ok(then(write, kept, now)?)
        })
    }

    /// One write transaction by the member who calls. Where `work` refuses, before it writes anything, that is recorded.
    fn write_as_member<R>(
        &self,
        command: &str,
        request: Option<RequestId>,
        time: impl FnOnce(&Read<'_>) -> Result<Timestamp, Failure>,
        work: impl FnOnce(&Write<'_>, &Principal, Timestamp) -> Result<R, Problem>,
    ) -> Result<R, Failure> {
        let outcome = self.store.write(|write| {
            let me = self.actor(write);
            let able = me.as_ref().map_err(Clone::clone).and_then(|me| Ok(authorize::may_act(me).map(|()| me)?));
            let now = match (time(write), &able) {
                (Ok(now), _) => now,
                // Callers who may do nothing do not even learn that the clock is wrong. Without a valid time nothing is
                // recorded either.
                (Err(_), Err(Problem::Refusal(refusal))) => return Ok(Err(refusal.clone())),
                (Err(failure), _) => return Err(failure),
            };
            match able.and_then(|me| work(write, me, now)) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Problem::Failure(failure)) => Err(failure),
                Err(Problem::Refusal(refusal)) => {
                    self.write_refused(write, me.ok().as_ref(), now, command, request, &refusal)?;
                    Ok(Err(refusal))
                }
            }
        })?;
        outcome.map_err(Failure::from)
    }

    fn context(&self, actor: Option<&Principal>, now: Timestamp) -> Context {
        Context { now, actor: actor.map(|principal| principal.name.clone()), os_user: self.caller.os_user() }
    }

    fn record_refused(&self, command: &str, request: Option<RequestId>, refusal: &Refusal) -> Result<(), Failure> {
        if refusal.kind() != RefusalKind::Refused {
            return Ok(());
        }
        self.store.write(|write| {
            let now = self.now_to_write(write)?;
            let me = self.actor(write).ok();
            self.write_refused(write, me.as_ref(), now, command, request, refusal)
        })
    }

    fn write_refused(
        &self,
        write: &Write<'_>,
        me: Option<&Principal>,
        now: Timestamp,
        command: &str,
        request: Option<RequestId>,
        refusal: &Refusal,
    ) -> Result<(), Failure> {
        if refusal.kind() != RefusalKind::Refused {
            return Ok(());
        }
        let context = self.context(me, now);
        let hour_ago = Timestamp::from_unix((now.unix() - 3600).max(0)).expect("an hour before a time is a time");
        if write.refusals_since(context.actor.as_ref(), &context.os_user, hour_ago)? >= REFUSALS_AN_HOUR {
            return Ok(());
        }
        let event = Event::AttemptRefused { command: command.to_owned(), request, why: refusal.message() };
        Ok(write.record(&context, vec![Draft { event, recipients: Vec::new() }])?)
    }
}

/// A member by name, or a refusal.
fn member(read: &Read<'_>, name: &Name) -> Result<Principal, Problem> {
    if let Some(principal) = read.principal(name)? {
        return Ok(principal);
    }
    Err(no_such_member(read, name)?.into())
}

/// The refusal for an unknown member, with the most similar name.
fn no_such_member(read: &Read<'_>, name: &Name) -> Result<Refusal, Error> {
    let names = read.member_names()?;
    let nearest = nearest(name.as_str(), names.iter().map(Name::as_str));
    Ok(LookupRefusal::NoSuchMember { name: name.clone(), nearest }.into())
}

/// A request, if this member may see it.
fn visible(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    id: RequestId,
    now: Timestamp,
) -> Result<Request, Problem> {
    let no_such = || Problem::from(Refusal::from(LookupRefusal::NoSuchRequest { id }));
    let request = read.request(id)?.ok_or_else(no_such)?;
    if sees(read, policy, me, &request, now)? { Ok(request) } else { Err(no_such()) }
}

/// Whether this member may see a request.
pub fn sees(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    request: &Request,
    now: Timestamp,
) -> Result<bool, Error> {
    if authorize::may_see(me, request, None, now) {
        return Ok(true);
    }
    let judged = policy.judge(read, request, request.proposed_terms(), now)?;
    Ok(authorize::may_see(me, request, Some(&judged.judgement), now))
}

/// Decides on a request. `decide` gets all it needs, for the proposed terms as changed by `terms`.
fn deciding<T>(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    terms: &Terms,
    now: Timestamp,
    decide: impl FnOnce(&Case<'_>) -> Result<T, Refusal>,
) -> Result<T, Problem> {
    let judged = policy.judge_and_fit(read, request, terms, now)?;
    let people = judged.people();
    let case = Case { request, requester: &judged.requester, terms, judgement: &judged.judgement, people: &people };
    Ok(decide(&case)?)
}

/// Those who were ever asked to decide on a request and are still the same members, without its requester and filer.
fn those_asked(read: &Read<'_>, request: &Request) -> Result<Vec<Name>, Error> {
    let mut asked: Vec<Name> = Vec::new();
    for entry in read.entries_about(request.id)? {
        for Recipient(member, notice) in entry.recipients {
            let asks = member == request.requester || member == request.filed_by;
            let still = || Ok::<_, Error>(read.member(&member)?.is_some_and(|(_, since)| since < entry.seq));
            if notice.asks_for_a_decision() && !asks && !asked.contains(&member) && still()? {
                asked.push(member);
            }
        }
    }
    Ok(asked)
}

/// Refuses if the request has changed since the caller was shown it.
fn unchanged(read: &Read<'_>, id: RequestId, seen: Option<&Seen>) -> Result<(), Problem> {
    match seen {
        Some(seen) if *seen != Seen::of([read.last_entry_about(id)?]) => Err(changed(read, id, [id], seen)?.into()),
        Some(_) | None => Ok(()),
    }
}

/// That a request has changed, with the last that happened since to it or another of these.
fn changed(
    read: &Read<'_>,
    id: RequestId,
    these: impl IntoIterator<Item = RequestId>,
    seen: &Seen,
) -> Result<Refusal, Error> {
    let seen = seen.0.split(',').filter_map(|seq| seq.parse().ok()).max().unwrap_or(i64::MAX);
    // What begins or ends by itself follows from what somebody did.
    let is_decision = |entry: &Entry| {
        matches!(
            entry.event,
            Event::RequestSubmitted(_)
                | Event::RequestEdited(_)
                | Event::RequestApproved(_)
                | Event::RequestDenied { .. }
                | Event::RequestWithdrawn { .. }
                | Event::RequestLapsed { .. }
                | Event::RequestRejudged { .. }
                | Event::RequestReviewed { .. }
                | Event::ApprovalsVoided { .. }
                | Event::GrantExpired { .. }
                | Event::GrantRevoked { .. }
        )
    };
    let mut last: Option<Entry> = None;
    for these in these {
        let newest = read.entries_about(these)?.into_iter().rfind(is_decision).filter(|entry| entry.seq > seen);
        last = last.into_iter().chain(newest).max_by_key(|entry| entry.seq);
    }
    Ok(Refusal::RequestChanged { id, last: last.map(|entry| briefly(&entry.event, entry.actor.as_ref())) })
}
