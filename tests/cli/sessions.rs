//! The record of sessions. The calls of the reconciler are made here as it makes them.

use access::domain::session::{SessionEnd, SessionProcesses};
use access::protocol::{OverSession, SessionRecord, SessionVerdict};
use access::service::{CloseSessions, JudgeSessions, OpenSession, OpenSessions};
use serde_json::{Value, json};

use crate::harness::{TEAM, World};
use crate::proof::{bodies, faults, forge};
use crate::provisioning::call;

const DB: &str = "target:orders-db";

fn processes() -> SessionProcesses {
    serde_json::from_value(json!({ "pid": 4711, "started": 12, "boot": "b" })).unwrap()
}

pub fn open(world: &World, login: &str) -> SessionRecord {
    let call = OpenSession {
        login: login.parse().unwrap(),
        resource: DB.parse().unwrap(),
        service: "sshd".to_owned(),
        from: "10.0.0.7".to_owned(),
        processes: processes(),
        recording: "tlog/{login}/{request}/{pid}".to_owned(),
    };
    self::call(world, call).unwrap().0
}

fn close(world: &World, seq: i64, how: SessionEnd) {
    call(world, CloseSessions { sessions: vec![OverSession { seq, processes: processes(), how }] }).unwrap();
}

fn verdict(world: &World, login: &str) -> SessionVerdict {
    let sessions = vec![(login.parse().unwrap(), DB.parse().unwrap())];
    call(world, JudgeSessions { sessions }).unwrap().0[0]
}

#[test]
fn a_session_is_of_the_grant_that_opens_it_or_of_none() {
    let world = World::sample();
    assert_eq!(open(&world, "bob"), SessionRecord::NoAccess);
    assert_eq!(open(&world, "nobody"), SessionRecord::NoAccess);
    world.grant("bob", DB, "alice", &["--duration", "1h"]);
    let before = world.json("bob", &["show", "1"])["last_seq"].clone();
    assert!(matches!(open(&world, "bob"), SessionRecord::Recorded { .. }));
    assert!(matches!(open(&world, "alice"), SessionRecord::Recorded { .. }));
    let shown = world.json("bob", &["show", "1"]);
    assert_eq!(shown["last_seq"], before, "it is no change of the request");
    let session = &shown["sessions"][0];
    assert_eq!((&session["login"], &session["recording"]), (&"bob".into(), &"tlog/bob/1/4711".into()));
    assert!(shown["timeline"].as_array().unwrap().iter().all(|step| step["action"] != "session.opened"));
    let log = world.json("alice", &["audit", "--action", "session.opened"]);
    assert_eq!(log[0]["detail"].get("request"), None, "alice is an admin");
    assert_eq!(log[1]["detail"]["request"], 1);
    let text = world.run("bob", &["show", "1"]).ok().out;
    assert!(text.contains("recording: tlog/bob/1/4711"), "{text}");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn the_end_of_a_session_is_recorded_once() {
    let world = World::sample();
    world.grant("bob", DB, "alice", &["--duration", "1h"]);
    let SessionRecord::Recorded { seq } = open(&world, "bob") else { panic!("it is recorded") };
    assert_eq!(call(&world, OpenSessions {}).unwrap().1.len(), 1);
    // The grant may be over by then.
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    let mut other = OverSession { seq, processes: processes(), how: SessionEnd::Closed };
    other.processes.started += 1;
    call(&world, CloseSessions { sessions: vec![other] }).unwrap();
    assert_eq!(call(&world, OpenSessions {}).unwrap().1.len(), 1, "it is another session");
    close(&world, seq, SessionEnd::Ended);
    close(&world, seq, SessionEnd::Gone);
    close(&world, 1, SessionEnd::Closed);
    assert_eq!(call(&world, OpenSessions {}).unwrap().1.len(), 0);
    assert_eq!(world.actions().iter().filter(|action| *action == "session.closed").count(), 1);
    assert_eq!(world.json("bob", &["show", "1"])["sessions"][0]["how"], "ended");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_ends_is_said_by_a_rule_or_a_binding_and_only_once_no_access_is_left() {
    let world = World::sample();
    let apply = |more: &str| world.apply("olivia", &format!("{TEAM}\n{more}")).ok();
    let rule =
        |matches: &str| format!("[[rules]]\nname = \"sessions\"\nmatch = {{ {matches} }}\nend_sessions = true\n");
    assert_eq!(verdict(&world, "bob"), SessionVerdict::Left);
    assert!(matches!(verdict(&world, "alice"), SessionVerdict::Live { until: None }));
    for (matches, verdict_then) in [
        ("resources = [\"target:*\"]", SessionVerdict::End),
        ("resources = [\"target:billing-db\"]", SessionVerdict::Left),
        ("environments = [\"production\"]", SessionVerdict::End),
        ("environments = [\"non-production\"]", SessionVerdict::Left),
        ("requesters = [\"member:bob\"]", SessionVerdict::End),
        ("requesters = [\"member:carol\"]", SessionVerdict::Left),
    ] {
        apply(&rule(matches));
        assert_eq!(verdict(&world, "bob"), verdict_then, "{matches}");
        // About somebody who is no member any more, what is said of anyone holds.
        let of_anyone = !matches.contains("member") && verdict_then == SessionVerdict::Left;
        assert_eq!(verdict(&world, "nobody") == SessionVerdict::End, !of_anyone, "{matches}");
    }
    let binding = format!("[[bindings]]\nresource = \"{DB}\"\nconnector = \"pg\"\nrole = \"x\"\nend_sessions = true\n");
    apply(&binding);
    assert_eq!(verdict(&world, "bob"), SessionVerdict::End);
    world.grant("bob", DB, "alice", &["--duration", "1h"]);
    assert!(matches!(verdict(&world, "bob"), SessionVerdict::Live { until: Some(_) }));
    world.pass("1h");
    assert_eq!(verdict(&world, "bob"), SessionVerdict::End);
    apply(&binding.replace("end_sessions = true", ""));
    assert_eq!(verdict(&world, "bob"), SessionVerdict::Left);
}

#[test]
fn a_member_who_opens_many_sessions_fills_no_log() {
    let world = World::sample();
    world.grant("bob", DB, "alice", &["--duration", "4h"]);
    world.grant("carol", DB, "alice", &["--duration", "4h"]);
    for _ in 0..60 {
        assert!(matches!(open(&world, "bob"), SessionRecord::Recorded { .. }));
    }
    assert_eq!(open(&world, "bob"), SessionRecord::TooMany);
    assert!(matches!(open(&world, "carol"), SessionRecord::Recorded { .. }));
    let log = world.json("alice", &["audit", "--action", "session.opened"]);
    let said: Vec<&Value> =
        log.as_array().unwrap().iter().filter(|entry| entry["detail"]["last_in_hour"] == true).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["seq"], log[1]["seq"], "the last of bob's");
    assert!(world.run("alice", &["audit"]).ok().out.contains("more within this hour are not recorded"));
    world.pass("61m");
    assert!(matches!(open(&world, "bob"), SessionRecord::Recorded { .. }));
    assert_eq!(faults(&world), [""; 0]);
}

/// Bob's session under grant 1, which was closed, and one of alice's without a grant.
fn history() -> World {
    let world = World::sample();
    world.grant("bob", DB, "alice", &["--duration", "4h"]);
    let SessionRecord::Recorded { seq } = open(&world, "bob") else { panic!("it is recorded") };
    open(&world, "alice");
    close(&world, seq, SessionEnd::Closed);
    assert_eq!(faults(&world), [""; 0]);
    world
}

#[test]
fn a_session_that_is_missing_changed_or_added_is_found() {
    let world = history();
    let whole = std::fs::read(world.db()).unwrap();
    for (statement, fault) in [
        ("DELETE FROM session WHERE request = 1", "is on the record and not in its table"),
        ("DELETE FROM session WHERE request IS NULL", "is on the record and not in its table"),
        ("UPDATE session SET closed_at = NULL, how = NULL", "is not as it was recorded"),
        ("UPDATE session SET how = 'ended' WHERE request = 1", "is not as it was recorded"),
        ("UPDATE session SET opened_at = 1 WHERE request = 1", "is not as it was recorded"),
        ("UPDATE session SET opened = replace(opened, '10.0.0.7', '10.0.0.8')", "is not as it was recorded"),
        ("UPDATE session SET request = 1, closed_at = 1795510800, how = 'eaten'", "can't be read"),
        ("UPDATE session SET member = 'carol'", "can't be read"),
        (
            "INSERT INTO session SELECT 3, request, member, opened, opened_at, closed_at, how FROM session WHERE request = 1",
            "is in its table, and no entry explains it",
        ),
    ] {
        world.rows(statement);
        let faults = faults(&world);
        let found = faults.iter().any(|found| found.starts_with("the session of entry ") && found.contains(fault));
        assert!(found, "{statement}\nexpected: {fault}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn what_no_reconciler_records_of_sessions_is_found_in_a_log_whose_hashes_agree() {
    let world = history();
    let bodies = bodies(&world);
    let whole = std::fs::read(world.db()).unwrap();
    let place = |action: &str| bodies.iter().position(|body| body.contains(action)).unwrap();
    let (opened, closed) = (place("session.opened"), place("session.closed"));
    for (place, from, to, fault) in [
        (opened, "\"actor\":null", "\"actor\":\"alice\"", "alice records what the reconciler does"),
        (closed, "\"actor\":null", "\"actor\":\"alice\"", "alice records what the reconciler does"),
        (opened, "\"request\":1", "\"request\":7", "bob opens a session under grant 7, which is not live"),
        (
            opened,
            "\"login\":\"bob\"",
            "\"login\":\"dave\"",
            "dave, who opens a session, is not the Unix user that bob has",
        ),
        (
            opened,
            "\"member\":\"bob\",\"login\":\"bob\"",
            "\"member\":\"carol\",\"login\":\"carol\"",
            "carol opens a session under grant 1, which is of another member",
        ),
        (closed, "\"request\":1,", "", "is closed as one of another request"),
        (closed, "\"session\":", "\"session\":1", "is closed, which was not open"),
    ] {
        let mut edited = bodies.clone();
        edited[place] = edited[place].replacen(from, to, 1);
        assert_ne!(edited[place], bodies[place], "{from}");
        forge(&world, &edited, "");
        let faults = faults(&world);
        assert!(faults.iter().any(|found| found.contains(fault)), "{from}\nexpected: {fault}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
    // After the end of the grant.
    world.run("alice", &["revoke", "1"]).ok();
    let mut late = self::bodies(&world);
    let seq = late.len() + 1;
    let again = late[opened].replacen(&format!("\"seq\":{}", opened + 1), &format!("\"seq\":{seq}"), 1);
    late.push(again);
    forge(&world, &late, "");
    assert!(faults(&world).iter().any(|found| found.contains("under grant 1, which is not live")));
}
