//! Bindings, and the record of what connectors did. The two calls of the reconciler are made here as it makes them.

use std::sync::Mutex;

use access::domain::provisioning::{Drift, ProvisioningOutcome};
use access::error::{Failure, Kind};
use access::protocol::{DesiredState, DesiredView, DriftView, OutcomeView, Position};
use access::service::{Call, Caller, DesiredAccess, Outside, RecordProvisioning, Service};
use access::store::Store;
use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World, shows};
use crate::proof::faults;

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
    let nothing = || Failure::new(Kind::Failure, "nothing is sent");
    let outside = Outside {
        owns_file: &|| true,
        has_account: &|_| Ok(true),
        knows_zone: &|_| true,
        shared: false,
        deliver: &|_| Err(nothing()),
        notify_test: &|_| Err(nothing()),
        delivery_findings: &|_| Vec::new(),
    };
    let store = Store::open(&world.db())?;
    let caller = Caller { login: "cron".parse().unwrap(), root: false, acting_as: None };
    let clock = || Ok(world.now());
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
    call(world, RecordProvisioning { outcomes, drift: Vec::new(), looked_at: Vec::new() }).unwrap().0
}

fn found(world: &World, drift: Vec<DriftView>) {
    let looked_at = vec!["orders-pg".parse().unwrap()];
    call(world, RecordProvisioning { outcomes: Vec::new(), drift, looked_at }).unwrap();
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

fn outcome(login: &str, request: Option<i64>, outcome: ProvisioningOutcome) -> OutcomeView {
    let holding = json!({ "connector": "orders-pg", "login": login, "parameters": { "role": "orders_rw" } });
    OutcomeView {
        holding: serde_json::from_value(holding).unwrap(),
        request: request.map(|id| id.try_into().unwrap()),
        outcome,
    }
}

fn granted(login: &str, request: i64) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::Granted)
}

fn revoked(login: &str, request: i64) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::Revoked { still_held: false })
}

fn grant_failed(login: &str, request: i64, why: &str) -> OutcomeView {
    outcome(login, Some(request), ProvisioningOutcome::GrantFailed { why: why.to_owned() })
}

fn revoke_failed(login: &str, request: Option<i64>, why: &str) -> OutcomeView {
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
