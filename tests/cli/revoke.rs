//! `revoke`: what ends with a grant is listed, and all that a member holds ends at once.

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::tmux::Terminal;

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|request| request["id"].as_i64().unwrap()).collect()
}

/// Three grants of bob's: 1, which 2 and then 3 (pending) go on from, and 4.
fn holding() -> World {
    let world = World::sample();
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "2h"]);
    let second = world.json("bob", &["extend", &first, "--reason", "more"])["id"].to_string();
    world.run("alice", &["approve", &second]).ok();
    world.json("bob", &["extend", &second, "--reason", "still more"]);
    world.grant("bob", "connection:prod-aws", "erin", &[]);
    world.grant("carol", "connection:prod-aws", "erin", &[]);
    world
}

#[test]
fn revoking_says_what_ends_with_it() {
    let world = holding();
    let ran = world.run("alice", &["revoke", "1"]).ok();
    let expected = "Request 1 revoked: bob no longer has target:orders-db through it\n  \
        and with it request 2: target:orders-db for 2h, revoked by alice\n  \
        and with it request 3: target:orders-db";
    assert!(ran.out.starts_with(expected), "{ran:?}");
    assert!(ran.out.trim_end().ends_with("withdrawn"), "{ran:?}");
    // One object, as of any revoked request; what ended with it is in it, in the same shape.
    let world = holding();
    let ended = world.json("alice", &["revoke", "1"]);
    shows(
        &ended,
        &json!({ "id": 1, "state": "revoked", "also_ended": [
        { "id": 2, "state": "revoked", "grant": { "ended_by": "alice" } }, { "id": 3, "state": "withdrawn" }
    ] }),
    );
    let alone = world.json("alice", &["revoke", "4"]);
    assert_eq!((&alone["state"], alone.get("also_ended")), (&json!("revoked"), None));
    let several = world.run("alice", &["revoke", "5", "2", "--json"]).exits(5).json();
    assert_eq!(ids(&several), [5]);
}

#[test]
fn an_id_that_is_given_twice_counts_once() {
    let world = World::sample();
    for resource in ["target:orders-db", "connection:prod-aws", "feature:export-customers", "role:admin"] {
        world.request("bob", resource, &[]);
    }
    let out = |who: &str, args: &[&str]| world.run(who, args).ok().out;
    assert_eq!(out("olivia", &["approve", "1", "2", "1"]).matches("Request 1 ").count(), 1);
    assert_eq!(out("olivia", &["deny", "3", "3"]).matches("Request 3 ").count(), 1);
    assert_eq!(out("bob", &["withdraw", "4", "#4"]).matches("Request 4 ").count(), 1);
    assert_eq!(out("olivia", &["revoke", "1", "1"]).matches("Request 1 ").count(), 1);
    assert_eq!(["1", "2", "3", "4"].map(|id| world.state(id)), ["revoked", "active", "denied", "withdrawn"]);
    // Two IDs give a list, whatever they are.
    assert_eq!(ids(&world.run("olivia", &["revoke", "2", "2", "--json"]).ok().json()), [2]);
    // What the log says is one version, so it is enough for one request.
    let id = world.request("bob", "target:orders-db", &[]);
    let seen = world.json("olivia", &["show", &id])["last_seq"].to_string();
    world.run("olivia", &["approve", &id, &id, "--seen", &seen]).ok();
}

#[test]
fn what_ended_with_an_earlier_id_of_the_same_command_is_done() {
    let world = holding();
    let ran = world.run("alice", &["revoke", "1", "2", "3", "4"]).ok();
    for id in ["2", "3"] {
        assert!(ran.err.contains(&format!("Request {id} ended with request 1\n")), "{ran:?}");
    }
    assert_eq!(["1", "2", "3", "4"].map(|id| world.state(id)), ["revoked", "revoked", "withdrawn", "revoked"]);
    // In JSON the answer for request 1 names them, and nothing more is printed.
    let world = holding();
    let ran = world.run("alice", &["revoke", "1", "2", "4", "--json"]).ok();
    assert_eq!((ids(&ran.json()), ran.err.as_str()), (vec![1, 4], ""));
    // What ended in an earlier command remains a conflict.
    world.run("alice", &["revoke", "5", "2"]).exits(5);
    // On a terminal you are not asked about it.
    let world = holding();
    let terminal = Terminal::access(&world, "alice", &["revoke", "1", "2"]);
    terminal.shows("Revoke request 1, and with it 2, 3?");
    terminal.text("y").shows("Why?");
    let screen = terminal.key("Enter").exits(0);
    assert!(screen.contains("Request 2 ended with request 1"), "{screen}");
}

#[test]
fn an_emergency_that_was_reviewed_is_revoked_in_so_many_words() {
    let world = World::of("olivia", &format!("{TEAM}\n[[rules]]\nname = \"glass\"\nemergency = true\n"));
    world.request("bob", "target:orders-db", &["--emergency"]);
    world.run("alice", &["review", "1", "--note", "fine"]).ok();
    world.pass("1m");
    world.run("alice", &["revoke", "1"]).ok().says("Request 1 revoked: bob no longer has target:orders-db");
    let second = world.request("carol", "target:orders-db", &["--emergency"]);
    world.run("alice", &["revoke", &second]).ok();
    world.pass("1m");
    world.run("alice", &["review", &second, "--note", "fine"]).ok().says("Request 2 reviewed");
}

#[test]
fn what_ends_is_shown_before_anybody_is_asked() {
    let world = holding();
    let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
    let screen = terminal.shows("Revoke request 1, and with it 2, 3?");
    assert!(screen.contains("ends with it request 2: target:orders-db for 2h, scheduled, in 2h"), "{screen}");
    terminal.text("n").exits(1);
    assert_eq!(["1", "2", "3"].map(|id| world.state(id)), ["active", "scheduled", "pending"]);

    // What has changed since is looked at again, also where it is only among what follows.
    for (change, what) in [(&["deny", "3"][..], "erin denied request 3"), (&["revoke", "2"], "erin revoked access to")]
    {
        let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
        terminal.shows("Revoke request 1");
        world.run("erin", change).ok();
        terminal.text("y").shows("Why?");
        let screen = terminal.key("Enter").exits(5).replace('\n', " ");
        assert!(screen.contains(&format!("request 1 has changed since it was shown ({what}")), "{screen}");
        assert_eq!(world.state("1"), "active");
    }
    let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
    terminal.shows("Revoke request 1?");
    terminal.text("y").shows("Why?");
    terminal.key("Enter").exits(0);
    assert_eq!(world.state("1"), "revoked");
}

#[test]
fn all_that_a_member_holds_ends_at_once() {
    let world = holding();
    let before = world.actions().len();
    let ran = world.run("alice", &["revoke", "--member", "bob", "--reason", "laptop stolen"]).ok();
    for says in [
        "Request 1 revoked: bob no longer has target:orders-db",
        "Request 2 revoked: bob no longer has target:orders-db",
        "Request 3 withdrawn: target:orders-db",
        "Request 4 revoked: bob no longer has connection:prod-aws",
    ] {
        assert!(ran.out.contains(says), "{says}: {ran:?}");
    }
    assert_eq!(
        ["1", "2", "3", "4", "5"].map(|id| world.state(id)),
        ["revoked", "revoked", "withdrawn", "revoked", "active"]
    );
    assert!(!world.may("bob", "target:orders-db"));
    // An entry for each, of one moment, by alice; and he is told of each.
    let log = world.json("olivia", &["audit", "--limit", "0"]);
    let new: Vec<&Value> = log.as_array().unwrap().iter().rev().skip(before).collect();
    let said: Vec<(&str, i64, &str)> = new
        .iter()
        .map(|entry| {
            (entry["action"].as_str().unwrap(), entry["request"].as_i64().unwrap(), entry["actor"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("grant.revoked", 1, "alice"),
            ("grant.revoked", 2, "alice"),
            ("request.withdrawn", 3, "alice"),
            ("grant.revoked", 4, "alice")
        ]
    );
    assert_eq!(new[0]["detail"]["reason"], "laptop stolen");
    assert_eq!(new[3]["detail"]["reason"], "laptop stolen");
    assert_eq!(world.unread("bob").iter().filter(|event| *event == "access.revoked").count(), 3);
    // Again it is done already.
    let ran = world.run("alice", &["revoke", "--member", "bob"]).ok();
    assert!(ran.err.contains("bob has no granted access"), "{ran:?}");
    assert_eq!(world.json("alice", &["revoke", "--member", "bob"]), json!([]));
    assert_eq!(world.json("carol", &["revoke", "--member", "carol"])[0]["id"], 5, "their own");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn what_a_member_holds_is_given_in_json_as_other_revocations_are() {
    let world = holding();
    let all = world.json("alice", &["revoke", "--member", "bob", "--yes"]);
    assert_eq!(ids(&all), [1, 2, 3, 4]);
    shows(
        &all,
        &json!([
            { "id": 1, "state": "revoked", "requester": "bob", "grant": { "ended_by": "alice", "remaining_seconds": 0 } },
            { "id": 2, "state": "revoked" }, { "id": 3, "state": "withdrawn", "grant": null }, { "id": 4, "state": "revoked" }
        ]),
    );
    // The same fields as in an answer to `revoke ID --json`.
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&all[0]), fields(&world.json("alice", &["revoke", "5"])));
}

#[test]
fn only_who_may_end_each_grant_ends_all() {
    let world = holding();
    let before = world.actions();
    let refused = world.run("carol", &["revoke", "--member", "bob"]).fails(3, "only admins and the owner");
    // A name that nobody has looks the same to those who may not ask.
    assert_eq!(refused.err, world.run("carol", &["revoke", "--member", "nobody"]).exits(3).err);
    world.run("stranger", &["revoke", "--member", "bob"]).fails(3, "not a member");
    for (args, says) in [
        (&["revoke", "--member", "bob", "1"][..], "cannot be used with"),
        (&["revoke"], "required"),
        (&["revoke", "--member", "B ob"], "invalid value"),
    ] {
        world.run("alice", args).fails(2, says);
    }
    world.run("carol", &["revoke", "--member", "bob", "--json"]).exits(3);
    let after: Vec<String> = world.actions().into_iter().filter(|action| action != "attempt.refused").collect();
    assert_eq!(after, before);
    assert_eq!(["1", "2", "3", "4"].map(|id| world.state(id)), ["active", "scheduled", "pending", "active"]);
}

#[test]
fn all_that_ends_is_listed_before_anybody_is_asked() {
    let world = holding();
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    let screen = terminal.shows("Revoke all 4 of bob's?");
    for says in [
        "request 1: target:orders-db for 2h, active, 2h left",
        "request 2: target:orders-db for 2h, scheduled, in 2h",
        "request 3: target:orders-db",
        "request 4: connection:prod-aws for 1h, active, 1h left",
    ] {
        assert!(screen.contains(says), "{says}: {screen}");
    }
    terminal.text("n");
    assert!(terminal.exits(1).contains("cancelled; nothing was done"));
    // What came or changed since is looked at again.
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    terminal.shows("Revoke all 4 of bob's?");
    world.grant("bob", "feature:cost-explorer", "erin", &[]);
    terminal.text("y");
    let screen = terminal.exits(5);
    assert!(screen.contains("what bob holds has changed since it was shown"), "{screen}");
    assert_eq!(world.state("1"), "active");
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    terminal.shows("Revoke all 5 of bob's?");
    terminal.text("y").exits(0);
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
    // With --yes nobody is asked.
    world.grant("bob", "target:billing-db", "erin", &[]);
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob", "--yes"]);
    terminal.exits(0);
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
}
