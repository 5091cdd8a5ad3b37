//! Bindings, and the record of what connectors did. The two calls of the reconciler are made here as it makes them.

use std::sync::Mutex;

use access::domain::provisioning::{Drift, ProvisioningOutcome};
use access::domain::replica::Replica;
use access::error::{Failure, Kind};
use access::protocol::{DesiredState, DesiredView, DriftView, OutcomeView, Position};
use access::service::{ActingAs, Call, Caller, DesiredAccess, Outside, RecordProvisioning, Service};
use access::store::Store;
use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::proof::{bodies, faults, forge};

const BINDINGS: &str = r#"
[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
role = "orders_rw"

[[bindings]]
resource = "target:billing-db"
connector = "orders-pg"
role = "orders_rw"
"#;

/// Makes a call as the file's owner does.
pub fn call<C: Call>(world: &World, call: C) -> Result<(C::Reply, Vec<C::Row>), Failure> {
    call_by(world, Caller { login: "cron".parse().unwrap(), root: false, acting_as: ActingAs::Login }, call)
}

pub fn call_as_root<C: Call>(world: &World, call: C) -> Result<(C::Reply, Vec<C::Row>), Failure> {
    call_by(world, Caller { login: "root".parse().unwrap(), root: true, acting_as: ActingAs::Login }, call)
}

fn call_by<C: Call>(world: &World, caller: Caller, call: C) -> Result<(C::Reply, Vec<C::Row>), Failure> {
    let nothing = || Failure::new(Kind::Failure, "nothing is sent");
    let outside = Outside {
        clocks: &|| Err(nothing()),
        owns_file: &|| true,
        has_account: &|_| Ok(true),
        knows_zone: &|_| true,
        shared: false,
        deliver: &|_| Err(nothing()),
        notify_test: &|_| Err(nothing()),
        delivery_findings: &|_| Vec::new(),
    };
    let store = Store::open(&world.db())?;
    let clock = |_: Option<&Replica>| Ok(world.now());
    let service = Service { store: &store, caller: &caller, clock: &clock, outside: &outside };
    let rows = Mutex::new(Vec::new());
    let reply = call.carry_out(&service, &mut |row| {
        rows.lock().unwrap().push(row);
        Ok(())
    })?;
    store.close();
    Ok((reply, rows.into_inner().unwrap()))
}

pub fn desired(world: &World) -> (DesiredState, Vec<DesiredView>) {
    call(world, DesiredAccess { known: None }).unwrap()
}

pub fn record(world: &World, outcomes: Vec<OutcomeView>) -> Position {
    call(world, RecordProvisioning { outcomes, drift: Vec::new(), looked_at: Vec::new(), host: None }).unwrap().0
}

pub fn found(world: &World, drift: Vec<DriftView>) {
    let looked_at = vec!["orders-pg".parse().unwrap()];
    call(world, RecordProvisioning { outcomes: Vec::new(), drift, looked_at, host: None }).unwrap();
}

/// `bob orders-pg role=orders_rw: 1 2 until 2026-11-24T10:00:00Z`
fn held(world: &World) -> Vec<String> {
    let said = |view: DesiredView| {
        let requests: Vec<String> = view.requests.iter().map(ToString::to_string).collect();
        let until = view.until.map_or_else(|| "forever".to_owned(), |until| until.to_string());
        let sessions = if view.end_sessions { ", sessions" } else { "" };
        format!("{} ({}) {} until {until}{sessions}", view.holding, view.member, requests.join("+"))
    };
    desired(world).1.into_iter().map(said).collect()
}

pub fn outcome(login: &str, request: Option<i64>, outcome: ProvisioningOutcome) -> OutcomeView {
    let holding = json!({ "connector": "orders-pg", "login": login, "parameters": { "role": "orders_rw" } });
    OutcomeView {
        holding: serde_json::from_value(holding).unwrap(),
        request: request.map(|id| id.try_into().unwrap()),
        outcome,
    }
}

pub fn granted(login: &str, request: i64) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::Granted)
}

pub fn revoked(login: &str, request: i64) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::Revoked { still_held: false, note: None })
}

pub fn grant_failed(login: &str, request: i64, why: &str) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::GrantFailed { why: why.to_owned() })
}

pub fn revoke_failed(login: &str, request: Option<i64>, why: &str) -> OutcomeView {
    outcome(login, request, ProvisioningOutcome::RevokeFailed { why: why.to_owned() })
}

fn bound() -> World {
    bound_by(BINDINGS)
}

fn bound_by(bindings: &str) -> World {
    let world = World::sample();
    world.apply("olivia", &format!("{TEAM}\n{bindings}")).ok();
    world
}

fn standing(world: &World, login: &str, id: &str) -> Value {
    let mut each = world.json(login, &["show", id])["grant"]["provisioning"].clone();
    for one in each.as_array_mut().into_iter().flatten() {
        one.as_object_mut().unwrap().remove("parameters");
        one.as_object_mut().unwrap().remove("connector");
    }
    each
}

// What is desired

#[test]
fn what_is_desired_follows_the_clock_and_is_a_union_of_grants() {
    let world = bound();
    assert_eq!(held(&world), [""; 0]);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.grant("bob", "target:billing-db", "alice", &["--duration", "2h"]);
    // Two grants, two bindings, one holding.
    assert_eq!(held(&world), ["bob: role=orders_rw in orders-pg (bob) 1+2 until 2026-11-24T11:00:00Z"]);
    world.pass("1h");
    assert_eq!(held(&world), ["bob: role=orders_rw in orders-pg (bob) 2 until 2026-11-24T11:00:00Z"]);
    world.pass("1h");
    assert_eq!(held(&world), [""; 0]);
}

/// A system that ends access by itself would otherwise end it between a grant and its extension.
#[test]
fn an_extension_moves_the_end_as_soon_as_it_is_approved() {
    let world = bound();
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let extend = |id: &str, length: &str| {
        let words = ["extend", id, "--duration", length, "--reason", "more"];
        world.json("bob", &words)["id"].to_string()
    };
    let more = extend(&id, "1h");
    let until = |end: &str, requests: &str| {
        assert_eq!(
            held(&world),
            [format!("bob: role=orders_rw in orders-pg (bob) {requests} until 2026-11-24T{end}:00Z")]
        );
    };
    until("10:00", "1");
    world.run("alice", &["approve", &more]).ok();
    until("11:00", "1");
    // What begins after a pause does not count.
    let later = world.json(
        "bob",
        &["request", "target:billing-db", "--start", "2026-11-24T12:00:00Z", "--duration", "1h", "--reason", "x"],
    );
    world.run("alice", &["approve", &later["id"].to_string()]).ok();
    until("11:00", "1");
    world.pass("1h");
    until("11:00", "2");
    world.run("alice", &["revoke", &more]).ok();
    assert_eq!(held(&world), [""; 0]);
}

#[test]
fn a_grant_of_something_wider_gives_the_bindings_of_what_it_opens() {
    let world = bound();
    world.grant("bob", "connection:prod-aws", "alice", &["--duration", "1h"]);
    let until = "until 2026-11-24T10:00:00Z";
    assert_eq!(held(&world), [format!("bob: role=orders_rw in orders-pg (bob) 1 {until}")]);
    // An admin has it by role, which is no grant. A granted role is one.
    world.grant("carol", "role:admin", "alice", &["--duration", "30m"]);
    assert_eq!(held(&world).len(), 2);
    assert_eq!(held(&world)[1], "carol: role=orders_rw in orders-pg (carol) 2 until 2026-11-24T09:30:00Z");
}

#[test]
fn baseline_access_is_desired_only_where_the_binding_says_so() {
    let world = bound_by(&BINDINGS.replacen("role =", "baseline = true\nend_sessions = true\nrole =", 1));
    let admins: Vec<String> = ["alice", "erin", "olivia"]
        .map(|name| format!("{name}: role=orders_rw in orders-pg ({name})  until forever, sessions"))
        .into();
    assert_eq!(held(&world), admins);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    assert!(
        held(&world)
            .contains(&"bob: role=orders_rw in orders-pg (bob) 1 until 2026-11-24T10:00:00Z, sessions".to_owned())
    );
}

#[test]
fn who_is_disabled_or_has_another_login_holds_nothing_under_the_old_one() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "1h"]);
    let team = format!("{TEAM}\n{BINDINGS}");
    world.apply("olivia", &team.replacen("[members.bob]\n", "[members.bob]\ndisabled = true\n", 1)).ok();
    assert_eq!(held(&world), ["carol: role=orders_rw in orders-pg (carol) 2 until 2026-11-24T10:00:00Z"]);
    world.apply("olivia", &team.replacen("[members.carol]\n", "[members.carol]\nlogin = \"eve\"\n", 1)).ok();
    assert!(held(&world).iter().all(|held| !held.starts_with("carol:") && !held.starts_with("eve:")));
}

#[test]
fn a_position_is_continued_by_its_own_log_alone() {
    let world = bound();
    let (state, _) = desired(&world);
    let continues = |known: Position| call(&world, DesiredAccess { known: Some(known) }).unwrap().0.continues;
    let at = |seq, hash: &str| Position { seq, hash: hash.to_owned() };
    assert!(continues(state.position.clone()));
    world.request("bob", "target:orders-db", &[]);
    assert!(continues(state.position.clone()), "the log went on");
    assert!(!continues(at(state.position.seq + 5, &state.position.hash)), "the log is shorter than it was");
    assert!(!continues(at(state.position.seq, &"0".repeat(64))), "another log");
}

// What is recorded

#[test]
fn what_is_on_record_is_not_recorded_again() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let before = world.actions().len();
    let new = |world: &World| world.actions()[before..].to_vec();
    record(&world, vec![granted("bob", 1)]);
    record(&world, vec![granted("bob", 1)]);
    assert_eq!(new(&world), ["grant.provisioned"]);
    let recorded = desired(&world).0.recorded;
    assert_eq!((recorded.len(), recorded[0].request.map(i64::from)), (1, Some(1)));
    record(&world, vec![revoked("bob", 1)]);
    record(&world, vec![revoked("bob", 1)]);
    assert_eq!(new(&world), ["grant.provisioned", "grant.deprovisioned"]);
    assert_eq!(desired(&world).0.recorded, []);
    // Given again, it is a new one.
    record(&world, vec![granted("bob", 1)]);
    assert_eq!(new(&world).len(), 3);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_failure_is_recorded_when_it_begins_when_its_reason_changes_and_once_a_day() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "7d"]);
    let count = |world: &World| world.actions().iter().filter(|action| *action == "provisioning.failed").count();
    let fails = |pass: &str, why: &str| {
        world.pass(pass);
        record(&world, vec![grant_failed("bob", 1, why)]);
        count(&world)
    };
    assert_eq!(fails("1m", "the server is down"), 1);
    assert_eq!(fails("23h", "the server is down"), 1);
    assert_eq!(fails("1h", "the server is down"), 2);
    // A reason that differs at each try does not fill the log.
    assert_eq!(fails("10m", "no route, try 1"), 2);
    assert_eq!(fails("10m", "no route, try 2"), 2);
    assert_eq!(fails("40m", "no route, try 3"), 3);
    assert_eq!(
        world.unread("bob"),
        ["request.approved"].into_iter().chain(["provisioning.failed"; 3]).collect::<Vec<_>>()
    );
    record(&world, vec![granted("bob", 1)]);
    assert_eq!(fails("1m", "no route, try 3"), 4, "it begins again");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn requester_and_admins_are_notified_of_a_failed_grant_and_admins_of_a_failed_revoke() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    for name in ["alice", "erin", "olivia", "bob"] {
        world.run(name, &["inbox", "--mark-read"]).ok();
    }
    record(&world, vec![grant_failed("bob", 1, "there is no role orders_rw")]);
    for name in ["alice", "erin", "olivia", "bob"] {
        assert_eq!(world.unread(name), ["provisioning.failed"], "{name}");
    }
    world.run("bob", &["inbox"]).ok().says("did not get role=orders_rw in orders-pg (request 1): there is no role");
    record(&world, vec![revoke_failed("bob", Some(1), "connection refused")]);
    assert_eq!(world.unread("bob").len(), 1);
    assert_eq!(world.unread("alice"), ["provisioning.failed", "revoke.failed"]);
    // Whatever an admin or the team has muted.
    world.run("alice", &["notify", "mute"]).ok();
    let settings = world.json("alice", &["notify"]);
    let of = |event: &str| {
        let events = settings["events"].as_array().unwrap();
        events.iter().find(|row| row["event"] == event).unwrap()["email"]["how"].clone()
    };
    assert_eq!((of("provisioning.failed"), of("revoke.failed")), (json!("off"), json!("realtime")));
    world.run("alice", &["inbox"]).ok().says("bob STILL HAS role=orders_rw in orders-pg");
}

#[test]
fn many_failures_at_once_are_all_on_record_and_do_not_flood_the_admins() {
    let world = bound();
    let mut failed = Vec::new();
    for name in ["bob", "carol", "dave", "frank", "grace"] {
        world.grant(name, "target:orders-db", "alice", &["--duration", "1h"]);
    }
    for role in 0..6 {
        for (name, id) in ["bob", "carol", "dave", "frank", "grace"].into_iter().zip(1..) {
            let mut one = grant_failed(name, id, "down");
            let role = format!("role{role}").parse().unwrap();
            one.holding.parameters.insert("role".parse().unwrap(), role);
            failed.push(one);
        }
    }
    world.run("alice", &["inbox", "--mark-read"]).ok();
    record(&world, failed);
    assert_eq!(world.actions().iter().filter(|action| *action == "provisioning.failed").count(), 30);
    assert_eq!(world.unread("alice").len(), 20);
    assert_eq!(world.unread("grace").iter().filter(|event| *event == "provisioning.failed").count(), 6);
}

#[test]
fn a_reason_can_neither_act_nor_be_long() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    record(&world, vec![grant_failed("bob", 1, &format!("a\n\u{1b}[31mred\u{202e} {}", "é".repeat(5000)))]);
    let why = world.json("bob", &["show", "1"])["grant"]["provisioning"][0]["error"].as_str().unwrap().to_owned();
    assert!(why.starts_with("a \\u{1b}[31mred\\u{202e} é") && why.chars().count() == 500, "{why}");
    record(&world, vec![revoke_failed("bob", Some(1), " \n ")]);
    assert_eq!(standing(&world, "bob", "1")[0]["state"], "granting");
}

#[test]
fn drift_is_found_once_until_it_is_resolved() {
    let world = bound();
    let drift = |login: &str, drift| DriftView { drift, holding: granted(login, 1).holding };
    let before = world.actions().len();
    world.run("alice", &["inbox", "--mark-read"]).ok();
    found(&world, vec![drift("mallory", Drift::Unexplained), drift("bob", Drift::Missing)]);
    found(&world, vec![drift("mallory", Drift::Unexplained), drift("bob", Drift::Missing)]);
    assert_eq!(world.unread("alice"), ["drift.found", "drift.found"]);
    assert_eq!(desired(&world).0.drift.len(), 2);
    world.run("alice", &["inbox"]).ok().says("mallory has role=orders_rw in orders-pg, which access did not give");
    found(&world, vec![drift("mallory", Drift::Unexplained)]);
    // A system that nobody looked at says nothing.
    call(
        &world,
        RecordProvisioning { outcomes: vec![], drift: vec![], looked_at: vec!["other".parse().unwrap()], host: None },
    )
    .unwrap();
    assert_eq!(desired(&world).0.drift, [drift("mallory", Drift::Unexplained)]);
    found(&world, vec![]);
    found(&world, vec![drift("bob", Drift::Missing)]);
    let expected = ["drift.found", "drift.found", "drift.resolved", "drift.resolved", "drift.found"];
    assert_eq!(world.actions()[before..], expected);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_a_restored_log_does_not_know_is_recorded_without_a_request() {
    let world = bound();
    world.grant("carol", "target:orders-db", "alice", &["--duration", "1h"]);
    // The journal has a request that this log never had, and one that is another member's here.
    record(&world, vec![revoked("bob", 57), revoked("bob", 1)]);
    assert!(!world.actions().iter().any(|action| action.starts_with("grant.deprov")));
    record(&world, vec![revoke_failed("bob", Some(57), "down"), revoke_failed("bob", Some(1), "down")]);
    let recorded = desired(&world).0.recorded;
    assert_eq!((recorded.len(), recorded[0].request), (1, None));
    assert_eq!(
        standing(&world, "carol", "1"),
        json!([{ "state": "granting", "error": null, "at": "2026-11-24T09:00:00Z" }])
    );
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_connectors_do_does_not_change_a_request() {
    let world = bound();
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let seen = world.json("alice", &["show", &id])["last_seq"].clone();
    record(&world, vec![granted("bob", 1)]);
    let shown = world.json("alice", &["show", &id]);
    assert_eq!(shown["last_seq"], seen);
    assert_eq!(shown["timeline"].as_array().unwrap().last().unwrap()["action"], "grant.provisioned");
}

// What people see

#[test]
fn show_list_and_whoami_say_how_far_connectors_are() {
    let world = bound();
    world.request("bob", "target:orders-db", &["--duration", "1h"]);
    world.run("alice", &["approve", "1"]).ok().says("bob has target:orders-db until").says("(granting)");
    let state = |state: &str, error: Value, at: &str| json!([{ "state": state, "error": error, "at": at }]);
    let everywhere = |words: &str| {
        world.run("bob", &["show", "1"]).ok().says(words);
        world.run("bob", &["list", "--all"]).ok().says(words);
        world.run("bob", &["whoami"]).ok().says(words);
    };
    assert_eq!(standing(&world, "bob", "1"), state("granting", Value::Null, "2026-11-24T09:00:00Z"));
    everywhere("granting");
    world.pass("1m");
    record(&world, vec![grant_failed("bob", 1, "the server is down")]);
    assert_eq!(standing(&world, "bob", "1"), state("failed", "the server is down".into(), "2026-11-24T09:01:00Z"));
    everywhere("FAILED: the server is down");
    world.pass("1m");
    record(&world, vec![granted("bob", 1)]);
    assert_eq!(standing(&world, "bob", "1"), state("granted", Value::Null, "2026-11-24T09:02:00Z"));
    everywhere("granted");
    shows(
        &world.json("bob", &["list"])[0]["grant"]["provisioning"],
        &json!([{ "connector": "orders-pg", "parameters": { "role": "orders_rw" }, "state": "granted" }]),
    );
    shows(&world.json("bob", &["whoami"])["grants"][0]["grant"]["provisioning"], &json!([{ "state": "granted" }]));
    world.pass("58m");
    assert_eq!(standing(&world, "bob", "1"), state("revoking", Value::Null, "2026-11-24T10:00:00Z"));
    world.run("bob", &["list", "--all"]).ok().says("revoking");
    world.pass("1m");
    record(&world, vec![revoke_failed("bob", Some(1), "the server is down")]);
    assert_eq!(standing(&world, "bob", "1"), state("failed", "the server is down".into(), "2026-11-24T10:01:00Z"));
    world.run("bob", &["show", "1"]).ok().says("FAILED");
    world.pass("1m");
    record(&world, vec![revoked("bob", 1)]);
    assert_eq!(standing(&world, "bob", "1"), state("revoked", Value::Null, "2026-11-24T10:02:00Z"));
    assert_eq!(world.json("bob", &["list", "--all"])[0]["grant"]["provisioning"][0]["state"], "revoked");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn without_a_binding_there_is_nothing_to_say() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    assert_eq!(world.json("bob", &["show", "1"])["grant"]["provisioning"], Value::Null);
    assert_eq!(world.json("bob", &["list"])[0]["grant"]["provisioning"], Value::Null);
    let world = bound();
    world.grant("bob", "feature:cost-explorer", "alice", &["--duration", "1h"]);
    assert_eq!(world.json("bob", &["show", "1"])["grant"]["provisioning"], Value::Null);
}

#[test]
fn a_binding_that_is_dropped_leaves_what_it_gave_to_be_taken_back() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    record(&world, vec![granted("bob", 1)]);
    world.apply("olivia", TEAM).ok();
    assert_eq!(held(&world), [""; 0]);
    assert_eq!(standing(&world, "bob", "1")[0]["state"], "revoking");
    record(&world, vec![revoke_failed("bob", Some(1), "down")]);
    assert_eq!(standing(&world, "bob", "1")[0]["state"], "failed");
    world.apply("olivia", &format!("{TEAM}\n{BINDINGS}")).ok();
    assert_eq!(standing(&world, "bob", "1")[0]["state"], "granting", "it may keep it now");
    record(&world, vec![granted("bob", 1)]);
    assert_eq!(standing(&world, "bob", "1")[0]["state"], "granted");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_failed_revoke_comes_first_in_every_admins_list() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    record(&world, vec![granted("bob", 1)]);
    world.pass("1h");
    record(&world, vec![revoke_failed("bob", Some(1), "the server is down")]);
    for name in ["carol", "dave", "frank"] {
        world.request(name, "target:orders-db", &[]);
    }
    let ids = |args: &[&str]| -> Vec<i64> {
        let list = world.json("alice", args);
        list.as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&["list"]), [1, 4, 3, 2]);
    assert_eq!(ids(&["list", "--all"]), [1, 4, 3, 2]);
    assert_eq!(ids(&["list", "--limit", "1"]), [1]);
    assert_eq!(ids(&["list", "--limit", "2"]), [1, 4]);
    assert_eq!(ids(&["list", "--all", "--limit", "3"]), [1, 4, 3]);
    // A filter is a filter.
    assert_eq!(ids(&["list", "--pending"]), [4, 3, 2]);
    let table = world.run("erin", &["list"]).ok().out;
    assert!(table.lines().nth(1).unwrap().contains("expired now, FAILED: the server is down"), "{table}");
    assert_eq!(world.json("carol", &["list"]).as_array().unwrap().len(), 1, "members have their own list");
    record(&world, vec![revoked("bob", 1)]);
    assert_eq!(ids(&["list"]), [4, 3, 2]);
}

#[test]
fn a_failed_revoke_makes_expire_exit_1_and_says_who_still_has_what() {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    record(&world, vec![granted("bob", 1)]);
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    record(&world, vec![revoke_failed("bob", Some(1), "the server is down"), revoke_failed("zoe", None, "down too")]);
    let ran = world.run("root", &["expire", "--quiet"]).exits(1);
    assert!(ran.err.contains("bob STILL HAS role=orders_rw in orders-pg (request 1): the server is down"), "{ran:?}");
    assert!(ran.err.contains("zoe STILL HAS role=orders_rw in orders-pg: down too"), "{ran:?}");
    let expired = world.run("root", &["expire", "--json"]).exits(1).json();
    shows(
        &expired,
        &json!({ "expired": 0, "failed_revokes": [
            { "connector": "orders-pg", "login": "bob", "request": 1, "error": "the server is down" },
            { "login": "zoe", "request": null },
        ] }),
    );
    let examined = world.run("root", &["doctor"]).exits(1);
    assert!(examined.out.contains("bob STILL HAS role=orders_rw in orders-pg (request 1)"), "{examined:?}");
    let listed = world.run("alice", &["list"]).ok();
    assert!(listed.err.contains("zoe STILL HAS role=orders_rw in orders-pg: down too"), "{listed:?}");
    record(
        &world,
        vec![revoked("bob", 1), outcome("zoe", None, ProvisioningOutcome::Revoked { still_held: true, note: None })],
    );
    let expired = world.run("root", &["expire", "--json"]).ok().json();
    assert_eq!(expired["failed_revokes"], json!([]));
}

#[test]
fn access_that_nobody_takes_back_is_reported_to_the_admins_and_by_cron() {
    let world = bound();
    for (login, length) in [("bob", "1h"), ("carol", "2h"), ("dave", "10h")] {
        world.grant(login, "target:orders-db", "alice", &["--duration", length]);
    }
    record(&world, vec![granted("bob", 1), granted("carol", 2), granted("dave", 3)]);
    world.pass("69m");
    world.run("root", &["expire"]).ok();
    let silent = |login: &str| !world.run(login, &["list"]).ok().err.contains("was not taken back");
    assert!(silent("alice"), "the reconciler may be about to do it");
    world.pass("1m");
    let said = "access by 1 grant that has ended was not taken back, since 2026-11-24 10:00 UTC: \
                the reconciler may not be running";
    let expired = world.run("root", &["expire", "--quiet"]).exits(1);
    assert!(expired.err.contains(said), "{expired:?}");
    for admin in ["alice", "erin", "olivia"] {
        let listed = world.run(admin, &["list"]).ok();
        assert!(listed.err.contains(said), "{admin}: {listed:?}");
    }
    assert!(silent("bob") && silent("carol"));
    world.run("root", &["doctor"]).exits(1).says("revokes").says("1 grant that has ended was not taken back");
    // A revoke counts as the clock does, and each grant once.
    world.run("alice", &["revoke", "2"]).ok();
    world.pass("11m");
    let expired = world.run("root", &["expire", "--json"]).exits(1).json();
    shows(&expired["unconfirmed_revokes"], &json!({ "grants": 2, "since": "2026-11-24T10:00:00Z" }));
    // A reconciler that can't do it says why. That is reported by itself.
    record(&world, vec![revoke_failed("bob", Some(1), "down"), revoked("carol", 2)]);
    let expired = world.run("root", &["expire"]).exits(1);
    assert!(expired.err.contains("bob STILL HAS") && !expired.err.contains("may not be running"), "{expired:?}");
    record(&world, vec![revoked("bob", 1)]);
    let expired = world.run("root", &["expire", "--json"]).ok().json();
    assert_eq!(expired["unconfirmed_revokes"], Value::Null);
    assert!(silent("alice"));
    world.run("root", &["doctor"]).says("all access that is over was taken back");
}

// The team file

#[test]
fn every_mistake_of_a_binding_has_its_line() {
    let world = World::sample();
    let first = TEAM.lines().count() + 1;
    let bindings = r#"[[bindings]]
resource = "target:order-db"
connector = "orders-pg"
[[bindings]]
resource = "orders-db"
connector = "Orders PG"
[[bindings]]
role = "-rw"
[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
baseline = "yes"
end_sessions = 1
Role = "x"
level = 3
[[bindings]]
resource = "feature:cost-explorer"
connector = "orders-pg"
role = "a"
[[bindings]]
resource = "feature:cost-explorer"
connector = "orders-pg"
baseline = true
role = "a"
[[bindings]]
resource = "role:owner"
connector = "orders-pg"
"#;
    let ran = world.apply("olivia", &format!("{TEAM}{bindings}")).exits(65);
    let mistakes = [
        (2, "a binding names target \"order-db\", which is not in the file; did you mean \"orders-db\"?"),
        (5, "binding of \"orders-db\": resource \"orders-db\": a resource is written kind:name"),
        (6, "binding of \"orders-db\": connector \"Orders PG\": a name has lower-case letters"),
        (7, "a binding has no resource"),
        (7, "a binding has no connector"),
        (
            8,
            "a binding: parameter role \"-rw\": a parameter is one line of 1 to 255 bytes that does not begin with a dash",
        ),
        (12, "binding of \"target:orders-db\": baseline is true or false"),
        (13, "binding of \"target:orders-db\": end_sessions is true or false"),
        (14, "binding of \"target:orders-db\": \"Role\": a name has lower-case letters"),
        (15, "binding of \"target:orders-db\": parameter level is integer, not a text"),
        (20, &format!("binding of \"feature:cost-explorer\" is there already, on line {}", first + 15)),
        (26, "role:owner is never granted, so a binding of it needs baseline = true"),
    ];
    for (line, what) in mistakes {
        let expected = format!("line {}: {what}", first + line - 1);
        assert!(ran.err.contains(&expected), "{expected}\n{}", ran.err);
    }
    world.apply("olivia", &format!("bindings = 3\n{TEAM}")).exits(65);
}

#[test]
fn bindings_of_every_kind_read_back_and_a_change_of_each_is_shown() {
    let bindings = r#"
[[bindings]]
resource = "role:admin"
connector = "wheel"
group = "adm in \"x\""
[[bindings]]
resource = "feature:cost-explorer"
connector = "costs"
[[bindings]]
resource = "scope:non-production"
connector = "ldap"
group = "cn=dev,ou=groups,dc=acme"
email = "not an address"
[[bindings]]
resource = "connection:prod-aws"
connector = "aws"
baseline = true
end_sessions = true
role = "admin"
"#;
    let world = World::sample();
    let path = world.folder().join("team.toml");
    std::fs::write(&path, format!("{TEAM}{bindings}")).unwrap();
    let apply = |args: &[&str]| world.run("olivia", &[&["team", "apply", path.to_str().unwrap()], args].concat()).ok();
    let plan = apply(&["--dry-run"]);
    for line in [
        "+ role:admin gives group=\"adm in \\\"x\\\"\" in wheel",
        "+ feature:cost-explorer gives access in costs",
        "+ connection:prod-aws gives role=admin in aws (baseline: true; end_sessions: true)",
    ] {
        assert!(plan.out.contains(line), "{line}\n{}", plan.out);
    }
    let plan = apply(&["--yes", "--json"]).json();
    let whats: Vec<&str> = plan["changes"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    let expected = [
        "binding:aws connection:prod-aws role=admin",
        "binding:costs feature:cost-explorer",
        "binding:ldap scope:non-production email=\"not an address\" group=cn=dev,ou=groups,dc=acme",
        "binding:wheel role:admin group=\"adm in \\\"x\\\"\"",
    ];
    assert_eq!(whats[1..], expected, "the first is a change of the sample");
    // What is shown applies back unchanged.
    std::fs::write(&path, world.run("heidi", &["team", "show"]).ok().out).unwrap();
    apply(&["--yes"]).says("Nothing changes.");
    let shown = world.json("heidi", &["team", "show"]);
    assert_eq!(shown["bindings"].as_array().unwrap().len(), 4);

    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("end_sessions = true\n", "")).unwrap();
    apply(&["--dry-run"]).says("~ connection:prod-aws gives role=admin in aws (end_sessions: true → false)");
    apply(&["--yes"]);
    world
        .run("alice", &["inbox"])
        .ok()
        .says("what connection:prod-aws gives (role=admin in aws, also without a grant): end_sessions true → false");
    std::fs::write(&path, TEAM).unwrap();
    apply(&["--yes"]).says("- feature:cost-explorer gives access in costs");
    world.run("alice", &["inbox"]).ok().says("role:admin no longer gives group=");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_resource_that_a_binding_names_cannot_be_removed() {
    let world = bound();
    let team = format!("{TEAM}\n{BINDINGS}").replace("[targets.billing-db]", "[targets.billing]");
    let ran = world.apply("olivia", &team).exits(65);
    assert!(ran.err.contains("a binding names target \"billing-db\", which is not in the file"), "{}", ran.err);
}

// The proof

/// Entries: 1-2 the team; 3-5 bob's grant 1, 6-8 carol's grant 2; 9-10 both given; 11 grant 2 revoked; 12 taking it back
/// fails, 13 taken back; 14 drift found, 15 resolved, 16 found.
fn history() -> World {
    let world = bound();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "4h"]);
    record(&world, vec![granted("bob", 1), granted("carol", 2)]);
    world.run("alice", &["revoke", "2"]).ok();
    record(&world, vec![revoke_failed("carol", Some(2), "down")]);
    record(&world, vec![revoked("carol", 2)]);
    let drift = || vec![DriftView { drift: Drift::Unexplained, holding: granted("mallory", 1).holding }];
    found(&world, drift());
    found(&world, vec![]);
    found(&world, drift());
    assert_eq!((world.actions().len(), faults(&world)), (16, Vec::new()));
    world
}

#[test]
fn a_row_of_the_record_that_is_missing_changed_or_added_is_found() {
    let world = history();
    let whole = std::fs::read(world.db()).unwrap();
    let row = "9, 1, 'bob', 'orders-pg', 'bob', '{\"role\":\"orders_rw\"}', 'granted', NULL, 1795510800, 1795510800";
    let changed = |number: i64| format!("what the connector of entry {number} did is not as it was recorded");
    for (statement, fault) in [
        (
            "DELETE FROM provisioning WHERE seq = 9",
            "what the connector of entry 9 did is on the record and not in its table".to_owned(),
        ),
        (
            "DELETE FROM provisioning WHERE seq = 10",
            "what the connector of entry 10 did is on the record and not in its table".to_owned(),
        ),
        ("UPDATE provisioning SET condition = 'revoked' WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET condition = 'granted' WHERE seq = 10", changed(10)),
        ("UPDATE provisioning SET error = 'x' WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET login = 'mallory' WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET member = 'carol' WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET request = NULL WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET parameters = '{}' WHERE seq = 9", changed(9)),
        ("UPDATE provisioning SET since = since + 1 WHERE seq = 10", changed(10)),
        ("UPDATE provisioning SET condition = 'resolved' WHERE seq = 16", changed(16)),
        ("UPDATE provisioning SET condition = 'eaten' WHERE seq = 16", "can't be read".to_owned()),
        (
            &format!("INSERT INTO provisioning VALUES ({})", row.replacen('9', "3", 1)),
            "what the connector of entry 3 did is in its table, and no entry explains it".to_owned(),
        ),
    ] {
        world.rows(statement);
        let faults = faults(&world);
        assert!(faults.iter().any(|found| found.contains(&fault)), "{statement}\nexpected: {fault}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn what_no_reconciler_records_is_found_in_a_log_whose_hashes_agree() {
    let world = history();
    let bodies = bodies(&world);
    let whole = std::fs::read(world.db()).unwrap();
    let of = "role=orders_rw in orders-pg";
    for (seq, from, to, fault) in [
        (
            9,
            "\"actor\":null",
            "\"actor\":\"alice\"",
            "alice records what the reconciler does, which no member does".to_owned(),
        ),
        (14, "\"actor\":null", "\"actor\":\"alice\"", "alice records what the reconciler does".to_owned()),
        (9, "\"member\":\"bob\"", "\"member\":\"carol\"", format!("bob: {of} is for another member than grant 1")),
        (9, "\"request\":1,", "\"request\":7,", format!("bob: {of} is for the grant 7, which there is not")),
        (13, "\"login\":\"carol\"", "\"login\":\"dave\"", format!("dave: {of} is taken back, which was not given")),
        (
            10,
            &bodies[9]["{\"v\":2,\"seq\":10".len()..],
            &bodies[8]["{\"v\":2,\"seq\":9".len()..],
            format!("bob: {of} is given, which was given before"),
        ),
        (
            15,
            "drift.resolved",
            "drift.found",
            format!("drift (unexplained) of mallory: {of} is found, which was found before"),
        ),
        (
            14,
            &bodies[13][bodies[13].find("\"event\"").unwrap()..],
            r#""event":{"action":"drift.omitted","detail":{"connector":"orders-pg","count":0}}}"#,
            "no drift of orders-pg is left out".to_owned(),
        ),
        (14, "mallory", "oscar", format!("drift (unexplained) of mallory: {of} is resolved, which was not found")),
    ] {
        let mut edited = bodies.clone();
        edited[seq - 1] = edited[seq - 1].replacen(from, to, 1);
        assert_ne!(edited[seq - 1], bodies[seq - 1], "{from}");
        forge(&world, &edited, "");
        let faults = faults(&world);
        assert!(faults.iter().any(|found| found.contains(&fault)), "{from}\nexpected: {fault}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
    // A change of a binding that says that it is of another.
    forge(
        &world,
        &{
            let mut edited = bodies.clone();
            edited[1] = edited[1].replacen(
                "\"what\":\"binding:orders-pg target:orders-db",
                "\"what\":\"binding:orders-pg target:x",
                1,
            );
            edited
        },
        "",
    );
    assert!(faults(&world).iter().any(|found| found.contains("entry 2: it can't be read")));
}
