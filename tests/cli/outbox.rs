//! `outbox`: what waits, what was given up, and getting rid of it.

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::post::{Server, configure, fresh, smtp};

fn counts(world: &World) -> (i64, i64) {
    let count = |clause: &str| world.rows(&format!("SELECT count(*) FROM outbox WHERE {clause}"))[0].parse().unwrap();
    (count("NOT dead"), count("dead"))
}

/// A request is told to alice, erin and olivia; the first row of the outbox is given up, and the rest wait.
fn dead_at_the_head() -> World {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.request("bob", "target:orders-db", &[]);
    world.rows("UPDATE outbox SET dead = 1, attempts = 6, error = 'no' WHERE id = (SELECT min(id) FROM outbox)");
    assert_eq!(counts(&world), (2, 1));
    world
}

#[test]
fn a_dead_row_at_the_head_keeps_no_stale_row_and_stops_no_delivery() {
    let world = dead_at_the_head();
    world.pass("8d");
    world.run("root", &["deliver"]).ok();
    assert_eq!(counts(&world), (0, 1), "what waited for a week with no way to send it is dropped");

    let world = dead_at_the_head();
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2, "failed": 0, "dead": 0 }));
    assert_eq!((mail.got().len(), counts(&world)), (2, (0, 1)));
}

#[test]
fn nothing_at_the_head_keeps_a_stale_row() {
    // What comes first waits for a webhook, for its next attempt, or for a digest. It hides nothing that is stale.
    for head in [
        "subscriber = 'webhook:siem', notification = NULL, seq = 2, topic = 'audit'",
        "attempts = 3",
        "due_at = 1 << 40",
    ] {
        let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
        world.request("bob", "target:orders-db", &[]);
        world.rows(&format!("UPDATE outbox SET {head} WHERE id = (SELECT min(id) FROM outbox)"));
        world.pass("8d");
        world.run("root", &["deliver"]).ok();
        let left = world.rows("SELECT count(*) FROM outbox WHERE subscriber = 'email' AND due_at < 1 << 40");
        assert_eq!(left, ["0"], "{head}");
    }
}

#[test]
fn what_was_tried_before_its_way_was_taken_out_of_the_configuration_is_dropped_too() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.request("bob", "target:orders-db", &[]);
    configure(&world, &smtp(1));
    world.run("root", &["deliver"]).exits(1);
    configure(&world, "");
    world.pass("8d");
    world.run("root", &["deliver"]).ok();
    assert_eq!(counts(&world), (0, 0));
}

#[test]
fn what_waits_behind_a_message_that_failed_says_so_and_how_to_retry_that() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.request("bob", "target:orders-db", &[]);
    world.rows("UPDATE outbox SET attempts = 1, due_at = 1 << 34 WHERE id = (SELECT min(id) FROM outbox)");
    world.request("carol", "target:orders-db", &[]);
    let first = world.json("root", &["outbox"])[0]["id"].to_string();
    let shown = world.run("root", &["outbox"]).ok().out;
    let count = |text: &str| shown.lines().filter(|line| line.contains(text)).count();
    assert_eq!((count(&format!(" after {first}")), count(" due")), (1, 4), "{shown}");
    let waits = |row: &Value| row["after"].as_i64() == first.parse().ok();
    assert_eq!(world.json("root", &["outbox"]).as_array().unwrap().iter().filter(|row| waits(row)).count(), 1);
    // Not if later ones were taken already.
    world.rows(&format!("UPDATE outbox SET passed = 1 WHERE id = {first}"));
    assert!(!world.run("root", &["outbox"]).ok().out.contains(" after "));
    let ran = world.run("root", &["outbox", "retry"]).ok().says("0 messages are due again");
    assert!(ran.err.contains("`access outbox retry ID`"), "{ran:?}");
    world.run("root", &["outbox", "retry", &first]).ok().says("1 message is due again");
    assert_eq!(world.rows("SELECT count(*) FROM outbox WHERE passed"), ["0"]);
}

#[test]
fn discarding_takes_these_or_all_that_are_given_up() {
    let world = dead_at_the_head();
    let ids = |args: &[&str]| -> Vec<String> {
        world.json("root", args).as_array().unwrap().iter().map(|row| row["id"].to_string()).collect()
    };
    let (dead, waiting) = (ids(&["outbox", "--dead"]), ids(&["outbox"]));
    world.run("root", &["outbox", "discard", &waiting[0], "999"]).fails(4, "there is no 999 in the outbox");
    assert_eq!(counts(&world), (2, 1), "all or nothing");
    world.run("root", &["outbox", "discard", &waiting[0], &waiting[0]]).ok().says("Discarded 1 message");
    shows(&world.json("root", &["outbox", "retry", &waiting[1], &waiting[1]]), &json!({ "retried": 1 }));
    assert_eq!((ids(&["outbox"]), ids(&["outbox", "--dead"])), (vec![waiting[1].clone()], dead));
    shows(&world.json("root", &["outbox", "discard"]), &json!({ "discarded": 1 }));
    shows(&world.json("root", &["outbox", "discard"]), &json!({ "discarded": 0 }));
    assert_eq!(counts(&world), (1, 0), "what waits is kept");
    assert!(world.unread("alice").contains(&"request.submitted".to_owned()), "the inbox keeps it");
    world.run("root", &["doctor"]).ok();
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn only_who_looks_after_the_file_discards_or_tries_again() {
    let world = dead_at_the_head();
    for verb in ["discard", "retry"] {
        for login in ["bob", "alice", "olivia", "stranger"] {
            world.run(login, &["outbox", verb]).exits(3);
        }
        // Nor does the owner of the file in the name of a member.
        world
            .run("root", &["--as", "alice", "outbox", verb])
            .fails(3, "for root and for the user who owns the database");
    }
    assert_eq!(counts(&world), (2, 1));
    let refused = world.json("olivia", &["audit", "--action", "attempt.refused"]);
    assert!(refused.to_string().contains("outbox discard"), "{refused:#}");
}

#[test]
fn doctor_names_what_waits_with_no_way_to_send_it() {
    let world = fresh(TEAM);
    world.run("root", &["doctor"]).ok().says("ok       outbox      0 notifications wait");
    world.request("bob", "target:orders-db", &[]);
    let lacking = "warning  outbox      4 notifications wait, and config.toml does not configure how to send them (email: 3, slack: 1)";
    world.run("root", &["doctor"]).ok().says(lacking).says("[smtp]");
    configure(&world, &smtp(1));
    world
        .run("root", &["doctor"])
        .ok()
        .says("1 notification waits, and config.toml does not configure how to send it (slack: 1)");
    world.rows("DELETE FROM outbox WHERE subscriber = 'slack'");
    world.run("root", &["doctor"]).ok().says("ok       outbox      3 notifications wait");

    // A webhook or a channel that the configuration no longer names.
    world.rows(
        "INSERT INTO outbox (subscriber, seq, topic, due_at) VALUES ('webhook:siem', 1, 'audit', 0), ('slack:#ops', 1, 'team.changed', 0)",
    );
    world.run("root", &["doctor"]).ok().says("(slack:#ops: 1, webhook:siem: 1)");
}
