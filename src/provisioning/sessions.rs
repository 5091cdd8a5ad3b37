//! The sessions of this host that were opened with access. PAM reports them (`access session`), and a run ends those whose
//! access is over, where a binding or rule says so.
//!
//! This is not a connector, because nothing is given. The journal has each open session, also those that are too many for the
//! log, and closed sessions that may have left processes behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use nix::unistd::{Pid, Uid, User, getpid, getppid};

use super::process_table::{Found, audit_session, boot, find, session_scope};
use super::view::{ReconcileState, ReconcileView};
use crate::backend::Backend;
use crate::config::SESSIONS;
use crate::connectors::processes::{Census, Look, TOO_FAST, each, end};
use crate::connectors::{NotDone, account};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::session::{SessionEnd, SessionProcesses};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{OverSession, SessionRecord, SessionVerdict};
use crate::service::{CloseSessions, JudgeSessions, OpenSession, OpenSessions};
use crate::store::{Journal, TrackedSession, TrackedState};

/// The most sessions in one call.
const AT_ONCE: usize = 1000;

/// What PAM says about a session.
pub struct ReportedSession {
    pub login: Login,
    pub resource: Resource,
    pub service: String,
    pub from: String,
    pub recording: String,
    /// Whether it is a part of another session of the same login, as with su and sudo.
    pub inside: bool,
}

/// Records the session that the parent of this process opens, and keeps it in the journal.
pub fn open_session(backend: &Backend, reported: ReportedSession) -> Result<SessionRecord, Failure> {
    let ReportedSession { login, resource, service, from, recording, inside } = reported;
    let processes = of_leader(&leader()?, inside);
    let call = OpenSession {
        login: login.clone(),
        resource: resource.clone(),
        service,
        from,
        processes: processes.clone(),
        recording,
    };
    let record = backend.answer(call)?;
    let seq = match record {
        SessionRecord::NoAccess => return Ok(record),
        SessionRecord::Recorded { seq } => Some(seq),
        SessionRecord::TooMany => None,
    };
    Journal::open(&backend.journal()?)?.track_session(seq, &login, &resource, &processes)?;
    Ok(record)
}

/// Records that the sessions of the parent of this process are closed. Returns how many there were.
pub fn close_session(backend: &Backend) -> Result<usize, Failure> {
    // Refuses those who may not, before the journal is opened.
    backend.answer(CloseSessions { sessions: Vec::new() })?;
    let leader = leader()?;
    let journal = Journal::open(&backend.journal()?)?;
    let boot = boot();
    let (mut closed, mut earlier) = (Vec::new(), Vec::new());
    for session in journal.sessions()? {
        let SessionProcesses { pid, started, boot: booted, .. } = &session.processes;
        if *pid != leader.pid.as_raw() || *started != leader.started || *booted != boot {
            continue;
        }
        if session.state == TrackedState::Closed {
            earlier.push(session);
        // One that a run is ending is recorded by that run.
        } else if journal.turn_session(session.id, TrackedState::Open, TrackedState::Closed)? {
            closed.push(session);
        }
    }
    let unrecorded = unrecorded(backend, &earlier)?;
    let over = closed.iter().chain(unrecorded);
    let recorded = over.filter_map(|session| on_record(session, SessionEnd::Closed));
    backend.answer(CloseSessions { sessions: recorded.collect() })?;
    for session in closed.iter().chain(&earlier).filter(|session| leaves_nothing(&session.processes)) {
        journal.forget_session(session.id)?;
    }
    Ok(closed.len())
}

/// Those that are open on record, though they are closed: the process that closed them was killed.
fn unrecorded<'s>(backend: &Backend, closed: &'s [TrackedSession]) -> Result<Vec<&'s TrackedSession>, Failure> {
    let mut open = BTreeSet::new();
    if !closed.is_empty() {
        backend.call(OpenSessions {}, &mut |session| {
            open.insert(Some(session.seq));
            Ok(())
        })?;
    }
    Ok(closed.iter().filter(|session| open.contains(&session.seq)).collect())
}

/// None: it is not on record.
fn on_record(session: &TrackedSession, how: SessionEnd) -> Option<OverSession> {
    Some(OverSession { seq: session.seq?, processes: session.processes.clone(), how })
}

/// Whether no process of it can be found without its leader.
fn leaves_nothing(processes: &SessionProcesses) -> bool {
    processes.audit_session.is_none() && processes.scope.is_none()
}

fn leader() -> Result<Found, Failure> {
    let parent = getppid();
    let found = if parent.as_raw() > 1 { find(parent) } else { None };
    found.ok_or_else(|| Failure::new(Kind::Failure, "the process that opens the session is gone"))
}

fn of_leader(leader: &Found, inside: bool) -> SessionProcesses {
    let parent = Pid::from_raw(leader.parent);
    // What its parent has too belongs to a session around it.
    let audit_session = audit_session(leader.pid).filter(|own| !inside && audit_session(parent) != Some(*own));
    let scope = session_scope(leader.pid).filter(|own| !inside && session_scope(parent).as_ref() != Some(own));
    SessionProcesses { pid: leader.pid.as_raw(), started: leader.started, boot: boot().into(), audit_session, scope }
}

/// What is due for sessions.
pub struct SessionEnds {
    /// Whether one has to end now.
    pub is_over: bool,
    /// When the access of the next one ends.
    pub next: Option<Timestamp>,
}

pub fn session_ends(backend: &Backend, sessions: &[TrackedSession]) -> Result<SessionEnds, Failure> {
    let mut ends = SessionEnds { is_over: false, next: None };
    for verdict in judge(backend, sessions)? {
        match verdict {
            SessionVerdict::Live { until } => ends.next = ends.next.into_iter().chain(until).min(),
            SessionVerdict::End => ends.is_over = true,
            SessionVerdict::Left => {}
        }
    }
    Ok(ends)
}

fn judge(backend: &Backend, sessions: &[TrackedSession]) -> Result<Vec<SessionVerdict>, Failure> {
    let mut verdicts = Vec::new();
    for part in sessions.chunks(AT_ONCE) {
        let asked = part.iter().map(|session| (session.login.clone(), session.resource.clone())).collect();
        verdicts.extend(backend.answer(JudgeSessions { sessions: asked })?);
    }
    Ok(verdicts)
}

/// A run for the sessions of this host.
pub struct SessionRun<'s> {
    pub backend: &'s Backend,
    pub journal: &'s Journal,
    pub show: &'s mut dyn FnMut(ReconcileView) -> Result<(), Failure>,
}

impl SessionRun<'_> {
    /// Shows the sessions that have to end.
    pub fn compare(&mut self) -> Result<(), Failure> {
        let sessions = self.journal.sessions()?;
        let verdicts = judge(self.backend, &sessions)?;
        let table = Snapshot::read(Look::Census, &sessions);
        for (session, verdict) in sessions.iter().zip(verdicts) {
            let mut members = Members::of(session);
            let (has_processes, unknown) = (!members.find(&table).is_empty(), members.unknown(&table));
            if verdict == SessionVerdict::End && (has_processes || unknown.is_some()) {
                (self.show)(view(session, ReconcileState::Stale, unknown)?)?;
            }
        }
        Ok(())
    }

    /// Ends the sessions that have to end, and records those that are over.
    pub fn fix(&mut self) -> Result<(), Failure> {
        self.adopt()?;
        let sessions = self.journal.sessions()?;
        let verdicts = judge(self.backend, &sessions)?;
        let table = Snapshot::read(Look::Census, &sessions);
        let boot = boot();
        let (mut ending, mut over) = (Vec::new(), Vec::new());
        for (session, verdict) in sessions.into_iter().zip(verdicts) {
            let is_of_this_boot = session.processes.boot == boot;
            let mut members = Members::of(&session);
            let has_processes = is_of_this_boot && !members.find(&table).is_empty();
            if !is_of_this_boot {
                over.push((session, SessionEnd::Restarted));
            } else if verdict == SessionVerdict::End && (has_processes || members.may_be_missed(&table)) {
                self.journal.turn_session(session.id, TrackedState::Open, TrackedState::Ending)?;
                ending.push((session, members));
            } else if !has_processes {
                if let Some(why) = members.unknown(&table) {
                    if verdict == SessionVerdict::End {
                        (self.show)(view(&session, ReconcileState::RevokeFailed, Some(why))?)?;
                    }
                    continue;
                }
                let how = if session.state == TrackedState::Ending { SessionEnd::Ended } else { SessionEnd::Gone };
                over.push((session, how));
            } else if !table.has_leader(&session.processes) {
                self.left_behind(&session)?;
            }
        }
        self.forget(over)?;
        self.end(ending)
    }

    /// Sessions that are on record and not in the journal: the process that reported them was killed, or the journal is new.
    fn adopt(&self) -> Result<(), Failure> {
        let known = self.journal.sessions()?;
        let known: BTreeSet<_> = known.iter().map(|session| (session.seq, &session.processes)).collect();
        let mut unknown = Vec::new();
        self.backend.call(OpenSessions {}, &mut |open| {
            if !known.contains(&(Some(open.seq), &open.processes)) {
                unknown.push(open);
            }
            Ok(())
        })?;
        for open in unknown {
            self.journal.track_session(Some(open.seq), &open.login, &open.resource, &open.processes)?;
        }
        Ok(())
    }

    /// Its leader is gone, and processes of it are not: it is over, and may have to end later.
    fn left_behind(&self, session: &TrackedSession) -> Result<(), Failure> {
        if self.journal.turn_session(session.id, TrackedState::Open, TrackedState::Closed)? {
            let sessions = on_record(session, SessionEnd::Gone).into_iter().collect();
            self.backend.answer(CloseSessions { sessions })?;
        }
        Ok(())
    }

    fn end(&mut self, mut ending: Vec<(TrackedSession, Members)>) -> Result<(), Failure> {
        if ending.is_empty() {
            return Ok(());
        }
        let uids: Vec<Uid> = ending.iter().filter_map(|(_, members)| members.account).collect();
        let ended = end(&uids, |look| {
            let table = Snapshot::read(look, ending.iter().map(|(session, _)| session));
            let found = ending.iter_mut().flat_map(|(_, members)| members.find(&table)).collect();
            Ok((found, table.census))
        });
        // What did not end is found again.
        let table = Snapshot::read(Look::Census, ending.iter().map(|(session, _)| session));
        let mut over = Vec::new();
        for (session, mut members) in ending {
            let unknown = match ended {
                Ok(()) => members.unknown_user(),
                Err(_) => members.unknown(&table),
            };
            match (members.find(&table).as_slice(), unknown) {
                ([], None) => {
                    (self.show)(view(&session, ReconcileState::Revoked, None)?)?;
                    over.push((session, SessionEnd::Ended));
                }
                ([], Some(why)) => (self.show)(view(&session, ReconcileState::RevokeFailed, Some(why))?)?,
                ([first, rest @ ..], _) => {
                    let why = format!("process {first} and {} more of the session did not end", rest.len());
                    (self.show)(view(&session, ReconcileState::RevokeFailed, Some(why))?)?;
                }
            }
        }
        self.forget(over)
    }

    /// Records how these ended, and forgets them.
    fn forget(&self, over: Vec<(TrackedSession, SessionEnd)>) -> Result<(), Failure> {
        for part in over.chunks(AT_ONCE) {
            let recorded = part.iter().filter_map(|(session, how)| on_record(session, *how)).collect();
            self.backend.answer(CloseSessions { sessions: recorded })?;
            for (session, _) in part {
                self.journal.forget_session(session.id)?;
            }
        }
        Ok(())
    }
}

fn view(session: &TrackedSession, state: ReconcileState, error: Option<String>) -> Result<ReconcileView, Failure> {
    let internal = |_| Failure::new(Kind::Internal, "a resource is no value of a parameter");
    let resource = session.resource.to_string().parse().map_err(internal)?;
    let key = "resource".parse().map_err(internal)?;
    Ok(ReconcileView {
        connector: sessions_name(),
        state,
        login: Some(session.login.clone()),
        parameters: Some(Parameters::from([(key, resource)])),
        requests: Vec::new(),
        error,
        note: None,
    })
}

pub fn sessions_name() -> Name {
    SESSIONS.parse().expect("a plain word is a name")
}

/// The processes of this host at one moment.
struct Snapshot {
    each: Vec<Found>,
    census: Census,
    /// Of all processes, if a session has an audit session or a scope.
    belonging: BTreeMap<Pid, Belonging>,
}

struct Belonging {
    audit_session: Option<u32>,
    scope: Option<String>,
    uids: Vec<u32>,
}

impl Snapshot {
    fn read<'s>(look: Look, sessions: impl IntoIterator<Item = &'s TrackedSession>) -> Snapshot {
        let has_more = sessions.into_iter().any(|session| !leaves_nothing(&session.processes));
        let (mut all, mut belonging) = (Vec::new(), BTreeMap::new());
        let census = each(look, |pid, status| {
            if has_more {
                let (audit_session, scope) = (audit_session(pid), session_scope(pid));
                let uids = status.uids().take(3).collect();
                belonging.insert(pid, Belonging { audit_session, scope, uids });
            }
            all.extend(find(pid));
            Ok(())
        });
        // What can't be read is as what was not looked at.
        Snapshot { each: all, census: census.unwrap_or(Census::Partial), belonging }
    }

    fn has_leader(&self, processes: &SessionProcesses) -> bool {
        self.each.iter().any(|found| is_leader(found, processes))
    }
}

/// The first process opens no session, and has all others below it.
fn is_leader(found: &Found, processes: &SessionProcesses) -> bool {
    processes.pid > 1 && found.pid.as_raw() == processes.pid && found.started == processes.started && !found.zombie
}

/// Finds the processes of one session: its leader, all descendants, and the user's processes with its audit session or in its
/// scope. What belonged to it once is not lost when its parent ends first.
struct Members {
    processes: SessionProcesses,
    /// The user IDs of the login. Without the leader, only processes of these belong to it. Err: why they can't be found out now.
    uids: Result<Vec<RangeInclusive<u32>>, String>,
    /// The account of the login, if it is not root.
    account: Option<Uid>,
    seen: BTreeSet<(Pid, u64)>,
}

impl Members {
    fn of(session: &TrackedSession) -> Members {
        let ids = |user: &User| if user.uid.is_root() { Ok(Vec::new()) } else { account::user_ids(user) };
        let user = account::of(&session.login);
        let account = user.as_ref().ok().map(|user| user.uid).filter(|uid| !uid.is_root());
        let uids = match user.and_then(|user| ids(&user)) {
            Ok(uids) => Ok(uids),
            Err(NotDone::Later(why)) => Err(why),
            Err(NotDone::Failed(_)) => Ok(Vec::new()),
        };
        Members { processes: session.processes.clone(), uids, account, seen: BTreeSet::new() }
    }

    /// Why there may be processes that are not found.
    fn unknown(&self, table: &Snapshot) -> Option<String> {
        self.unknown_user().or_else(|| self.may_be_missed(table).then(|| TOO_FAST.to_owned()))
    }

    fn unknown_user(&self) -> Option<String> {
        self.uids.as_ref().err().filter(|_| !leaves_nothing(&self.processes)).cloned()
    }

    /// Whether processes started too fast to be looked at, and they can be stopped.
    fn may_be_missed(&self, table: &Snapshot) -> bool {
        table.census == Census::Partial && self.account.is_some()
    }

    fn find(&mut self, table: &Snapshot) -> Vec<Pid> {
        let mut children: BTreeMap<i32, Vec<&Found>> = BTreeMap::new();
        for found in &table.each {
            children.entry(found.parent).or_default().push(found);
        }
        let mut next: Vec<&Found> = table.each.iter().filter(|found| self.is_root(found, table)).collect();
        let mut members: BTreeMap<Pid, &Found> = BTreeMap::new();
        while let Some(found) = next.pop() {
            if members.insert(found.pid, found).is_none() {
                next.extend(children.get(&found.pid.as_raw()).into_iter().flatten());
            }
        }
        // A run that root starts in the session ends it and goes on.
        members.retain(|pid, found| pid.as_raw() > 1 && *pid != getpid() && !found.zombie);
        self.seen.extend(members.values().map(|found| (found.pid, found.started)));
        members.into_keys().collect()
    }

    fn is_root(&self, found: &Found, table: &Snapshot) -> bool {
        let belongs = |belonging: &Belonging| {
            let SessionProcesses { audit_session, scope, .. } = &self.processes;
            let by_audit = audit_session.is_some() && belonging.audit_session == *audit_session;
            let by_scope = scope.is_some() && belonging.scope == *scope;
            let ranges = self.uids.as_deref().unwrap_or_default();
            let is_theirs = belonging.uids.iter().any(|uid| ranges.iter().any(|range| range.contains(uid)));
            (by_audit || by_scope) && is_theirs
        };
        // All others are below the first process.
        found.pid.as_raw() > 1
            && (is_leader(found, &self.processes)
                || self.seen.contains(&(found.pid, found.started))
                || table.belonging.get(&found.pid).is_some_and(belongs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pid: i32, parent: i32, started: u64) -> Found {
        Found { pid: Pid::from_raw(pid), zombie: false, parent, group: pid, started }
    }

    fn members(audit_session: Option<u32>) -> Members {
        let processes = SessionProcesses { pid: 100, started: 7, boot: "b".into(), audit_session, scope: None };
        Members { processes, uids: Ok(vec![1001..=1001]), account: None, seen: BTreeSet::new() }
    }

    fn pids(found: &[Pid]) -> Vec<i32> {
        found.iter().map(|pid| pid.as_raw()).collect()
    }

    fn table(each: Vec<Found>) -> Snapshot {
        Snapshot { each, census: Census::Complete, belonging: BTreeMap::new() }
    }

    #[test]
    fn a_session_is_its_leader_and_all_descendants_also_when_their_parents_end() {
        let mut of = members(None);
        let first =
            table(vec![found(1, 0, 0), found(100, 50, 7), found(101, 100, 8), found(102, 101, 9), found(60, 50, 9)]);
        assert_eq!(pids(&of.find(&first)), [100, 101, 102]);
        // 101 has ended, 102 started another, and its number went to somebody else.
        let second = table(vec![found(1, 0, 0), found(102, 1, 9), found(103, 102, 10), found(101, 1, 11)]);
        assert_eq!(pids(&of.find(&second)), [102, 103]);
    }

    #[test]
    fn a_number_that_went_to_another_process_is_left_alone() {
        let reused = table(vec![found(1, 0, 0), found(100, 1, 70), found(101, 100, 71)]);
        assert!(members(None).find(&reused).is_empty());
    }

    #[test]
    fn the_first_process_is_never_a_leader() {
        let mut first = members(None);
        (first.processes.pid, first.processes.started) = (1, 0);
        assert!(first.find(&table(vec![found(1, 0, 0), found(100, 1, 7)])).is_empty());
    }

    #[test]
    fn a_detached_process_is_found_by_its_audit_session_if_it_is_the_users() {
        let of = |uid: u32, audit_session| Belonging { audit_session, scope: None, uids: vec![uid; 3] };
        let mut table = table(vec![found(1, 0, 0), found(200, 1, 9), found(201, 1, 9), found(202, 1, 9)]);
        let belonging =
            [(1, of(1001, Some(4))), (200, of(1001, Some(4))), (201, of(0, Some(4))), (202, of(1001, Some(5)))];
        table.belonging = belonging.into_iter().map(|(pid, of)| (Pid::from_raw(pid), of)).collect();
        assert_eq!(pids(&members(Some(4)).find(&table)), [200]);
        assert!(members(None).find(&table).is_empty());
    }
}
