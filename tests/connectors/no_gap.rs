//! What a member has by a grant, sampled while grants follow each other.

use crate::harness::World;
use crate::meanwhile::held_meanwhile;
use crate::wait_until;
use crate::whole::{ALL, Systems};

/// Bob's access, in each system by the system itself.
fn held_in_all_systems(systems: &Systems, work: impl FnOnce()) -> usize {
    let samples = ALL.map(|system| move || systems.has(system, "bob"));
    let samples: Vec<&(dyn Fn() -> bool + Sync)> = samples.iter().map(|sample| sample as _).collect();
    held_meanwhile(&samples, work)
}

fn fix(world: &World) {
    world.run("root", &["reconcile", "--fix"]).ok();
}

#[test]
fn an_extension_leaves_no_gap_in_any_system() {
    let systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    wait_until("all systems give it", || systems.of_bob() == ALL);
    fix(&world);
    let samples = held_in_all_systems(&systems, || {
        world.pass("50m");
        let more = world.json("bob", &["extend", &id, "--duration", "1h", "--reason", "more"])["id"].to_string();
        world.run("alice", &["approve", &more]).ok();
        fix(&world);
        // Over the end of the first.
        for _ in 0..4 {
            world.pass("5m");
            world.run("root", &["expire", "--no-deliver"]).ok();
        }
    });
    assert!(samples >= 5, "{samples}");
    world.pass("1h");
    world.run("root", &["expire", "--no-deliver"]).ok();
    assert_eq!(systems.of_bob(), [""; 0]);
}

#[test]
fn of_two_grants_of_one_thing_the_first_to_end_takes_nothing_away() {
    let systems = Systems::start();
    let world = World::sample();
    systems.configure(&world);
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let second = world.grant("bob", "target:billing-db", "alice", &["--duration", "3h"]);
    wait_until("all systems give it", || systems.of_bob() == ALL);
    fix(&world);
    let samples = held_in_all_systems(&systems, || {
        world.pass("61m");
        world.run("root", &["expire", "--no-deliver"]).ok();
        fix(&world);
        // The other way round: the second is revoked while a new one of the first is live.
        world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
        fix(&world);
        world.run("alice", &["revoke", &second]).ok();
        fix(&world);
    });
    assert!(samples >= 5, "{samples}");
    let shown = world.json("olivia", &["show", &first])["grant"]["provisioning"].clone();
    assert!(shown.as_array().unwrap().iter().all(|it| it["state"] == "revoked"), "{shown}");
    world.pass("61m");
    world.run("root", &["expire", "--no-deliver"]).ok();
    assert_eq!(systems.of_bob(), [""; 0]);
}
