//! Every command takes as many steps of SQLite's in a long history as in a short one. Counted, not timed: an index that is
//! missing, or that a query does not use, fails here on any machine. `benches/run.sh` measures the times.
//!
//! Left out: `audit verify`, `audit export`, `report`, `doctor` and `backup`, which read everything; questions about the past
//! (`--at`), which read all grants or requests once; and lists that read on until they have found enough of something rare
//! that no index has (`list --all --resource`, `list --mine --all --state`, `list --search`, `audit --member`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    ActingAs, ApprovalToSign, Approve, Audit, Call, Caller, CancelRecertification, Check, CheckpointKeys, Complete,
    DecideItem, Deny, DesiredAccess, EditRequest, Expire, Extend, HolderOfKey, Inbox, Init, IssueCertificate,
    JudgeSessions, List, MarkRead, OpenSession, OpenSessions, Outbox, Outside, Prefer, Preferences, Principals,
    Recertifications, RecordProvisioning, Resources, Revoke, RevokedCertificates, Service, Show, ShowRecertification,
    StartRecertification, StillHeld, SubmitRequest, TeamApply, TeamShow, Unread, Who, Whoami, Withdraw, Words, init,
};
use crate::domain::binding::Holding;
use crate::domain::certificate::{Certificate, ssh_principal};
use crate::domain::duration::Length;
use crate::domain::event::{Approval, Draft, Event, Granted, MetDemand, Submission};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::preference::PreferenceChange;
use crate::domain::provisioning::{Deprovisioned, ProvisionedAccess, ProvisioningOutcome};
use crate::domain::recertification::{ItemVerdict, Selection};
use crate::domain::replica::Replica;
use crate::domain::request::edit::Edit;
use crate::domain::session::{ClosedSession, OpenedSession, SessionEnd, SessionProcesses};
use crate::domain::team::{Team, team_file};
use crate::domain::terms::{End, Modification, RequestDetails, RequestId, Terms};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{AuditFilter, ListFilter, OutcomeView};
use crate::store::{Context, Store};

const HOUR: i64 = 3600;
const NOW: i64 = 1_800_000_000;
/// More than a list counts, and more entries than are searched for refused attempts.
const SHORT: i64 = 1_600;
const LONG: i64 = 4 * SHORT;
/// The number of bob's pending requests, after his active grant.
const PENDING: i64 = 4;

const KEY: &str = "SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU";

const TEAM: &str = r#"
[team]
name = "acme"
[members.olivia]
role = "owner"
[members.alice]
role = "admin"
[members.bob]
role = "member"
[connections.prod]
environment = "production"
[connections.free]
environment = "non-production"
[connections.p0]
environment = "non-production"
[connections.p1]
environment = "non-production"
[connections.p2]
environment = "non-production"
[connections.p3]
environment = "non-production"
[targets.db]
connections = ["prod"]
[[bindings]]
resource = "target:db"
connector = "pg"
role = "rw"
"#;

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("well formed")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds).expect("a time")
}

/// A database in which bob has this many ended grants, one active grant and some pending requests.
struct World {
    _folder: tempfile::TempDir,
    store: Store,
    steps: std::sync::Arc<AtomicU64>,
    /// The first of the pending requests.
    pending: i64,
}

impl World {
    fn new(past: i64) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.db");
        let team: Team = team_file::parse(TEAM).expect("a team");
        let start = NOW - (past + 20) * 4 * HOUR;
        let olivia = parsed("olivia");
        let begin = Init { login: &olivia, by: &olivia, owner: parsed("olivia"), team: None, sample: false };
        init(&path, at(start), begin).expect("a database");
        let mut store = Store::open(&path).expect("the database");
        let alone = Team::of_one(parsed("team"), parsed("olivia"), parsed("olivia"));
        store
            .write(|write| -> Result<(), Failure> {
                let event = Event::TeamApplied { changes: alone.changes_to(&team) };
                let recipients = NotificationKind::TeamChanged.to_all(team.admins());
                write.record(&by("olivia", start), vec![Draft { event, recipients }])?;
                for n in 1..=past {
                    let begun = start + n * 4 * HOUR;
                    let drafts = vec![submitted(n, "connection:prod"), approved(n), started(n, begun, Length::HOUR)];
                    write.record(&by("bob", begun), drafts)?;
                    write.record(&by_nobody(begun), vec![provisioned(n), certified(n, begun)])?;
                    let next = write.head()?.seq + 1;
                    write.record(&by_nobody(begun), session(n, next).into())?;
                    let event = Event::GrantExpired {
                        request: id(n),
                        resource: parsed("connection:prod"),
                        ended_at: at(begun + HOUR),
                    };
                    let recipients = vec![NotificationKind::AccessExpired.to(&parsed::<Name>("bob"))];
                    write.record(&by("bob", begun + HOUR), vec![Draft { event, recipients }])?;
                    write.record(&by_nobody(begun + HOUR), vec![deprovisioned(n)])?;
                }
                let live = past + 1;
                let begun = NOW - 30 * HOUR;
                let drafts =
                    vec![submitted(live, "connection:prod"), approved(live), started(live, begun, Length::WEEK)];
                write.record(&by("bob", begun), drafts)?;
                for n in 0..PENDING {
                    let waits = submitted(live + 1 + n, &format!("connection:p{n}"));
                    write.record(&by("bob", NOW - 29 * HOUR), vec![waits])?;
                }
                Ok(())
            })
            .expect("a history");
        let steps = store.count_steps();
        World { _folder: folder, store, steps, pending: past + 2 }
    }

    /// How many steps a call takes.
    fn steps(&self, who: &str, asked: &Asked) -> u64 {
        let caller = Caller { login: parsed(who), root: false, acting_as: ActingAs::Login };
        let nothing = || Failure::new(Kind::Failure, "nothing can be sent");
        let outside = Outside {
            owns_file: &|| false,
            clocks: &|| Err(Failure::new(Kind::Internal, "no log is shared")),
            has_account: &|_| Ok(true),
            knows_zone: &|_| true,
            shared: false,
            deliver: &|_| Err(nothing()),
            notify_test: &|_| Err(nothing()),
            delivery_findings: &|_| Vec::new(),
        };
        let before = self.steps.load(Ordering::Relaxed);
        let clock = |_: Option<&Replica>| Ok(at(NOW));
        let service = Service { store: &self.store, caller: &caller, clock: &clock, outside: &outside };
        if let Err(failure) = (asked.answer)(&service) {
            assert_eq!(failure.kind, Kind::Refused, "{}: {}", asked.call, failure.message);
        }
        self.steps.load(Ordering::Relaxed) - before
    }
}

type Question = dyn Fn(&Service<'_>) -> Result<(), Failure>;

/// A call of any kind.
struct Asked {
    call: String,
    answer: Box<Question>,
}

fn call<C: Call + Clone + std::fmt::Debug + 'static>(call: C) -> Asked {
    Asked { call: format!("{call:?}"), answer: Box::new(move |service| service.answer(call.clone()).map(drop)) }
}

fn id(n: i64) -> RequestId {
    RequestId::try_from(n).expect("a number")
}

fn by(actor: &str, seconds: i64) -> Context {
    Context { now: at(seconds), actor: Some(parsed(actor)), os_user: actor.to_owned() }
}

fn details(resource: &str) -> RequestDetails {
    let asked = Terms { resource: parsed(resource), end: End::After(Length::HOUR), start: None };
    RequestDetails::new(asked, parsed("OPS-7: look into the alert"))
}

fn by_nobody(seconds: i64) -> Context {
    Context { actor: None, ..by("root", seconds) }
}

/// A connector gave bob what grant `n` says.
fn provisioned(n: i64) -> Draft {
    Draft { event: Event::GrantProvisioned(provision(n)), recipients: Vec::new() }
}

fn certified(n: i64, at_unix: i64) -> Draft {
    let (login, resource) = (parsed("bob"), parsed("connection:prod"));
    let event = Event::CertificateIssued(Certificate {
        request: id(n),
        member: parsed("bob"),
        principal: ssh_principal(&login, &resource),
        login,
        resource,
        serial: id(n),
        key: parsed(KEY),
        from: at(at_unix),
        until: at(at_unix + HOUR),
    });
    Draft { event, recipients: Vec::new() }
}

fn deprovisioned(n: i64) -> Draft {
    let event = Event::GrantDeprovisioned(Deprovisioned { provision: provision(n), still_held: false, note: None });
    Draft { event, recipients: Vec::new() }
}

fn provision(n: i64) -> ProvisionedAccess {
    let parameters = [(parsed("role"), parsed("rw"))].into();
    let holding = Holding { connector: parsed("pg"), login: parsed("bob"), parameters };
    ProvisionedAccess { request: Some(id(n)), member: Some(parsed("bob")), holding }
}

fn submitted(n: i64, resource: &str) -> Draft {
    let event = Event::RequestSubmitted(Submission {
        request: id(n),
        requester: parsed("bob"),
        filed_by: parsed("bob"),
        requester_login: Some(parsed("bob")),
        filer_login: Some(parsed("bob")),
        details: details(resource),
        lapses_at: at(NOW + 100 * HOUR),
        remind_at: None,
        extends: None,
        emergency: false,
    });
    Draft { event, recipients: vec![NotificationKind::RequestSubmitted.to(&parsed::<Name>("alice"))] }
}

fn approved(n: i64) -> Draft {
    let event = Event::RequestApproved(Approval {
        request: id(n),
        by: parsed("alice"),
        terms: Terms { resource: parsed("connection:prod"), end: End::After(Length::HOUR), start: None },
        asked: None,
        note: None,
        voids: Vec::new(),
        signature: None,
    });
    Draft { event, recipients: vec![NotificationKind::RequestApproved.to(&parsed::<Name>("bob"))] }
}

fn started(n: i64, begun: i64, length: Length) -> Draft {
    let event = Event::GrantStarted(Granted {
        request: id(n),
        member: parsed("bob"),
        resource: parsed("connection:prod"),
        end: End::After(length),
        start: None,
        starts_at: at(begun),
        ends_at: Some(at(begun).plus(length)),
        modified: false,
        approved_by: vec![parsed("alice")],
        by_rule: None,
        demands: vec![MetDemand { rule: None, approvals: 1, by: vec![parsed("alice")] }],
        reviewers: None,
    });
    Draft { event, recipients: Vec::new() }
}

fn outcome(n: i64) -> OutcomeView {
    let ProvisionedAccess { request, holding, .. } = provision(n);
    OutcomeView { holding, request, outcome: ProvisioningOutcome::RevokeFailed { why: "down".to_owned() } }
}

fn open_session() -> OpenSession {
    let processes = SessionProcesses { pid: 2, started: 1, boot: "b".into(), audit_session: None, scope: None };
    OpenSession {
        login: parsed("bob"),
        resource: parsed("connection:prod"),
        service: "sshd".to_owned(),
        from: String::new(),
        processes,
        recording: String::new(),
    }
}

/// A session that was closed.
fn session(n: i64, seq: i64) -> [Draft; 2] {
    let OpenSession { login, resource, service, processes, .. } = open_session();
    let opened = OpenedSession {
        request: Some(id(n)),
        member: parsed("bob"),
        login,
        resource,
        service,
        from: None,
        processes,
        recording: None,
        last_in_hour: false,
    };
    let closed = ClosedSession { request: Some(id(n)), session: seq, how: SessionEnd::Closed };
    [Event::SessionOpened(opened), Event::SessionClosed(closed)].map(|event| Draft { event, recipients: Vec::new() })
}

fn ask(resource: &str, dry_run: bool) -> Asked {
    call(SubmitRequest {
        details: details(resource),
        requester: None,
        emergency: false,
        default_length: false,
        dry_run,
    })
}

fn check(resource: &str) -> Asked {
    call(Check { resource: parsed(resource), user: None, login: None, freshness: None, at: None })
}

fn list(filter: ListFilter) -> Asked {
    call(List { filter: ListFilter { limit: Some(50), ..filter } })
}

fn audit(filter: AuditFilter) -> Asked {
    call(Audit { filter: AuditFilter { limit: Some(50), ..filter } })
}

/// Commands in the order in which they are given: who gives each, and what it is. `pending`: the first pending request.
fn commands(pending: i64) -> Vec<(&'static str, Asked)> {
    [questions(pending), changes(pending)].into_iter().flatten().collect()
}

fn questions(pending: i64) -> Vec<(&'static str, Asked)> {
    let all = ListFilter { all: true, ..ListFilter::default() };
    let old = Some(at(NOW - 28 * HOUR));
    let mut commands = vec![
        ("bob", check("connection:prod")),
        ("bob", check("connection:p0")),
        ("bob", check("connection:free")),
        ("bob", ask("connection:free", true)),
        ("bob", call(Whoami { at: None })),
        ("alice", call(Whoami { at: None })),
        ("alice", call(Unread {})),
        ("alice", call(Show { id: id(7) })),
        ("alice", call(Show { id: id(pending) })),
        ("bob", call(Resources { kind: None, mine: false, at: None, covering: None })),
        ("alice", call(Who { resource: parsed("connection:prod"), at: None })),
        ("alice", call(Principals { login: parsed("bob"), resource: None })),
        ("root", call(HolderOfKey { blob: "AAAAC3NzaC1lZDI1NTE5AAAAI".to_owned() })),
        ("alice", call(TeamShow { at: None })),
        ("bob", call(Preferences {})),
        ("alice", call(CheckpointKeys {})),
        (
            "olivia",
            call(TeamApply {
                text: TEAM.to_owned(),
                dry_run: true,
                seen: None,
                against: Some(Length::DAY),
                revoke_unmatched: false,
            }),
        ),
        ("alice", audit(AuditFilter::default())),
        ("alice", audit(AuditFilter { request: Some(id(7)), ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { actor: Some(parsed("olivia")), ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { actor: Some(parsed("bob")), ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { action: Some("team.applied".to_owned()), ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { action: Some("request.approved".to_owned()), ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { since: old, ..AuditFilter::default() })),
        ("alice", audit(AuditFilter { until: Some(at(NOW - 100_000 * HOUR)), ..AuditFilter::default() })),
        ("alice", list(ListFilter { requester: Some(parsed("bob")), ..ListFilter::default() })),
        ("alice", list(ListFilter { requester: Some(parsed("bob")), ..all.clone() })),
        ("alice", list(ListFilter { requester: Some(parsed("olivia")), ..all.clone() })),
        ("alice", list(ListFilter { resource: Some(parsed("connection:prod")), ..ListFilter::default() })),
        ("alice", list(ListFilter { resource: Some(parsed("connection:prod")), ..all.clone() })),
        ("alice", list(ListFilter { since: old, ..all.clone() })),
        ("bob", list(ListFilter { mine: true, ..ListFilter::default() })),
        ("bob", list(ListFilter { mine: true, ..all.clone() })),
        ("bob", call(Expire { dry_run: true, deliver: false })),
        ("root", call(DesiredAccess { known: None })),
        ("root", call(StillHeld {})),
        ("root", call(RevokedCertificates { known: None })),
        ("root", call(OpenSessions {})),
        ("root", call(JudgeSessions { sessions: vec![(parsed("bob"), parsed("connection:free"))] })),
    ];
    for who in ["alice", "bob"] {
        commands.extend([(who, list(ListFilter::default())), (who, list(all.clone()))]);
        commands.extend([false, true].map(|all| (who, call(Inbox { all, limit: Some(50) }))));
        for words in [Words::Decidable, Words::Withdrawable, Words::Revocable, Words::Extendable, Words::Requests] {
            commands.push((who, call(Complete { words })));
        }
    }
    // Everything of a member's own is searched for a state that none of it has, so that is alice's alone.
    for state in State::ALL {
        commands.push(("alice", list(ListFilter { states: vec![state], ..ListFilter::default() })));
    }
    commands
}

fn changes(pending: i64) -> Vec<(&'static str, Asked)> {
    let reason = || Some(parsed("not now"));
    let shorter = Edit { reason: Some(parsed("OPS-8: another alert")), ..Edit::default() };
    vec![
        ("bob", ask("connection:free", false)),
        ("bob", ask("role:admin", false)),
        ("bob", call(EditRequest { id: id(pending), edit: shorter.clone(), dry_run: true })),
        ("bob", call(EditRequest { id: id(pending), edit: shorter, dry_run: false })),
        ("bob", call(Who { resource: parsed("connection:prod"), at: None })),
        ("alice", call(ApprovalToSign { id: id(pending + 1), modification: Modification::default(), note: None })),
        (
            "alice",
            call(Approve {
                id: id(pending + 1),
                modification: Modification::default(),
                note: None,
                seen: None,
                signature: None,
            }),
        ),
        ("alice", call(Deny { id: id(pending + 2), reason: reason(), seen: None })),
        ("bob", call(Withdraw { id: id(pending + 3), seen: None })),
        ("bob", call(Extend { id: id(pending - 1), length: None, reason: parsed("OPS-7: more"), ticket: None })),
        (
            "alice",
            call(StartRecertification {
                selection: Selection::All,
                due_in: Length::HOUR,
                reviewers: BTreeSet::new(),
                dry_run: false,
            }),
        ),
        ("alice", call(Recertifications { all: true })),
        ("alice", call(ShowRecertification { id: parsed("1") })),
        ("olivia", call(Complete { words: Words::Items })),
        ("olivia", call(DecideItem { id: parsed("1.1"), verdict: ItemVerdict::Keep, reason: reason() })),
        ("alice", call(CancelRecertification { id: parsed("1"), reason: parsed("not now") })),
        ("alice", call(Revoke { id: id(pending - 1), reason: reason(), seen: None })),
        ("alice", call(Prefer { change: PreferenceChange::Mute(Vec::new()) })),
        ("alice", call(MarkRead { ids: vec![1] })),
        (
            "alice",
            call(IssueCertificate {
                login: parsed("bob"),
                resource: parsed("connection:prod"),
                key: parsed(KEY),
                longest: Length::HOUR,
            }),
        ),
        ("bob", call(Expire { dry_run: false, deliver: false })),
        (
            "olivia",
            call(TeamApply {
                text: TEAM.replace("db", "db2"),
                dry_run: false,
                seen: None,
                against: None,
                revoke_unmatched: false,
            }),
        ),
        ("olivia", call(Outbox { dead: true })),
        ("root", call(open_session())),
        (
            "root",
            call(RecordProvisioning {
                outcomes: vec![outcome(7)],
                drift: Vec::new(),
                looked_at: vec![parsed("pg")],
                host: None,
            }),
        ),
    ]
}

#[test]
fn a_command_is_no_more_work_in_a_long_history() {
    let (short, long) = (World::new(SHORT), World::new(LONG));
    let mut grown = Vec::new();
    for ((who, few), (_, many)) in commands(short.pending).into_iter().zip(commands(long.pending)) {
        let what = format!("{who}: {}", few.call);
        let (few, many) = (short.steps(who, &few), long.steps(who, &many));
        // A tree of pages that is one level higher takes no step more, and a binary search of four times as many takes two.
        if many > few + few / 10 + 100 {
            grown.push(format!("{few} steps, then {many}: {what}"));
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));
}
