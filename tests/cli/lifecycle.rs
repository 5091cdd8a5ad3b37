//! From asking to the end, once through.

use crate::harness::World;

#[test]
fn ask_decide_hold_and_lapse() {
    let world = World::sample();
    assert!(!world.may("bob", "target:orders-db"));
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    assert_eq!(world.state(&id), "pending");
    assert!(!world.may("bob", "target:orders-db"), "asking gives nothing");

    world.run("alice", &["approve", &id, "--duration", "1h"]).ok();
    assert!(world.may("bob", "target:orders-db"));
    assert!(!world.may("carol", "target:orders-db"));

    world.pass("1h");
    assert!(!world.may("bob", "target:orders-db"), "from the second it ends, with no cron");
    world.run("root", &["expire"]).ok();
    assert_eq!(world.state(&id), "expired");
    let expected = ["team.initialized", "request.submitted", "request.approved", "grant.started", "grant.expired"];
    assert_eq!(world.actions(), expected);
}

#[test]
fn nobody_decides_on_their_own() {
    let world = World::sample();
    let own = world.request("alice", "feature:export-customers", &[]);
    world.run("alice", &["approve", &own]).fails(3, "nobody decides on their own request");
    let filed = world.request("alice", "target:orders-db", &["--for", "bob"]);
    world.run("alice", &["approve", &filed]).fails(3, "nobody decides on a request they filed");
    world.run("erin", &["approve", &filed]).ok();
}
