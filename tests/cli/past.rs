//! `--at`: what the log says about a moment of the past.

use serde_json::Value;

use crate::harness::{START, TEAM, World};

/// bob holds orders-db from 09:00 to 13:00 on the 24th; then prod-aws from 10:00 on the 25th, permanently, until olivia
/// revokes it at 12:00. zoe is an auditor from the 24th at 10:00 on.
fn world() -> World {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.pass("1h");
    let zoe = "[members.zoe]\nrole = \"viewer\"\nauditor = true\n\n[groups.backend]";
    world.apply("olivia", &TEAM.replace("[groups.backend]", zoe)).ok();
    world.pass("1d");
    let id = world.request("bob", "connection:prod-aws", &["--duration", "permanent", "--ticket", "OPS-7"]);
    world.run("alice", &["approve", &id]).ok();
    world.pass("2h");
    world.run("olivia", &["revoke", &id, "--reason", "Done"]).ok();
    world.pass("30d");
    // Nothing recorded the end of the first grant.
    world
}

fn holders(world: &World, at: &str) -> Vec<String> {
    let rows = world.json("zoe", &["who", "connection:prod-aws", "--at", at]);
    rows.as_array().unwrap().iter().map(|row| row["member"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_had_access_at_a_moment() {
    let world = world();
    let bob = "bob".to_owned();
    assert!(!holders(&world, "2026-11-25T09:59:59Z").contains(&bob));
    assert!(holders(&world, "2026-11-25T10:00:00Z").contains(&bob));
    assert!(holders(&world, "2026-11-25T11:59:59Z").contains(&bob));
    assert!(!holders(&world, "2026-11-25T12:00:00Z").contains(&bob));
    let ran = world.run("zoe", &["who", "connection:prod-aws", "--at", "2026-11-25 11:00"]).ok();
    let row = ran.out.lines().find(|line| line.starts_with("bob")).unwrap();
    assert!(row.contains("grant of connection:prod-aws") && row.contains('2'), "{row}");
    assert!(ran.err.contains("as of 2026-11-25 11:00"), "{ran:?}");
    // Everything that bob could use, and can.
    let held = |more: &[&str]| -> Vec<String> {
        let args: Vec<&str> = ["who", "--user", "bob"].into_iter().chain(more.iter().copied()).collect();
        let rows = world.json("zoe", &args);
        rows.as_array().unwrap().iter().map(|row| row["resource"].as_str().unwrap().to_owned()).collect()
    };
    assert!(held(&["--at", "2026-11-24T12:59:59Z"]).contains(&"target:orders-db".to_owned()));
    assert!(!held(&["--at", "2026-11-24T13:00:00Z"]).contains(&"target:orders-db".to_owned()), "the clock ends it");
    // A connection opens its targets.
    assert!(held(&["--at", "2026-11-25 11:00"]).contains(&"target:billing-db".to_owned()));
    assert!(!held(&[]).contains(&"target:billing-db".to_owned()));
    assert!(held(&[]).contains(&"connection:staging-aws".to_owned()), "by scope");
}

#[test]
fn check_of_the_past_says_that_it_is_and_opens_no_gate_by_mistake() {
    let world = world();
    let check = ["check", "connection:prod-aws", "--user", "bob"];
    let at = |time: &str| world.run("zoe", &[&check[..], &["--at", time]].concat());
    at("2026-11-25 11:00").ok().says("yes, at 2026-11-25 11:00").says("bob could use connection:prod-aws");
    at("2026-11-25 09:00").exits(1).says("no, at 2026-11-25 09:00").says("bob could not use connection:prod-aws");
    let view = world.json("zoe", &[&check[..], &["--at", "2026-11-25T11:00:00Z"]].concat());
    assert_eq!(view["at"], "2026-11-25T11:00:00Z");
    assert_eq!(view["allowed"], true);
    world.run("zoe", &check).exits(1);
    assert_eq!(world.run("zoe", &[&check[..], &["--json"]].concat()).exits(1).json().get("at"), None);
    // For oneself, without any role.
    let own = ["check", "connection:prod-aws", "--at", "2026-11-25 11:00"];
    world.run("bob", &own).ok().says("could use");
    world.run("dave", &own).exits(1).says("could not use");
    // What gates use goes with no other time.
    world.run("root", &["check", "connection:prod-aws", "--login", "bob", "--at", "2026-11-25 11:00"]).exits(2);
    world.run("bob", &["check", "connection:prod-aws", "--fresh", "--at", "2026-11-25 11:00"]).exits(2);
}

#[test]
fn the_past_has_a_beginning_and_an_end() {
    let world = world();
    world.run("zoe", &["who", "connection:prod-aws", "--at", "in 1h"]).fails(2, "is in the future");
    world.run("zoe", &["list", "--at", "2030-01-01"]).fails(2, "is in the future");
    world
        .run("zoe", &["team", "show", "--at", "2026-11-24T08:59:59Z"])
        .fails(4, "the log begins at 2026-11-24 09:00 UTC");
    world.run("zoe", &["team", "show", "--at", START]).ok().says("olivia");
    // zoe was no member yet.
    world.run("zoe", &["whoami", "--at", "2026-11-24 09:30"]).fails(4, "there was no member zoe");
    world.run("zoe", &["who", "--user", "zoe", "--at", "2026-11-24 09:30"]).fails(4, "there was no member zoe");
    world
        .run("zoe", &["check", "target:orders-db-2", "--user", "bob", "--at", "2026-11-25"])
        .fails(4, "there was no target");
}

#[test]
fn the_team_and_a_profile_and_the_resources_as_they_were() {
    let world = world();
    let before = world.run("zoe", &["team", "show", "--at", "2026-11-24 09:59"]).ok();
    assert!(!before.out.contains("zoe"), "{before:?}");
    let now = world.run("zoe", &["team", "show"]).ok();
    let after = world.run("zoe", &["team", "show", "--at", "2026-11-24 10:00"]).ok();
    assert_eq!(after.out, now.out);
    world.run("bob", &["team", "show", "--at", "2026-11-24 09:59"]).fails(3, "only admins, auditors and the owner");
    let profile = world.json("bob", &["whoami", "--at", "2026-11-25 11:00"]);
    assert_eq!(profile["grants"][0]["resource"], "connection:prod-aws", "{profile:#}");
    assert_eq!(profile["grants"][0]["state"], "active");
    assert_eq!(profile["at"], "2026-11-25T11:00:00Z");
    let text = world.run("bob", &["whoami", "--at", "2026-11-24 12:00"]).ok();
    assert!(text.out.contains("target:orders-db  1h left"), "{text:?}");
    let mine = world.run("bob", &["resources", "--mine", "--at", "2026-11-25 11:00"]).ok();
    assert!(
        mine.out.contains("connection:prod-aws")
            && !world.run("bob", &["resources", "--mine"]).out.contains("prod-aws ")
    );
    // What is gone is not shown to a member who never had it.
    let gone = TEAM.replace("[features.deploy]\nrole = \"member\"\n", "");
    world
        .apply(
            "olivia",
            &gone.replace("[groups.backend]", "[members.zoe]\nrole = \"viewer\"\nauditor = true\n\n[groups.backend]"),
        )
        .ok();
    let at = ["resources", "--at", "2026-11-25 11:00"];
    assert!(!world.run("heidi", &at).ok().out.contains("feature:deploy"));
    assert!(world.run("zoe", &at).ok().out.contains("feature:deploy"));
    assert!(world.run("bob", &at).ok().out.contains("feature:deploy"), "bob had it");
}

#[test]
fn requests_as_they_were() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &["--duration", "2h"]);
    world.pass("10m");
    world.run("bob", &["edit", &id, "--reason", "Another reason", "--duration", "1h"]).ok();
    world.pass("10m");
    world.run("alice", &["approve", &id, "--seen", "3"]).ok();
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    let at = |login: &str, time: &str| -> Vec<Value> {
        world.json(login, &["list", "--all", "--at", time]).as_array().unwrap().clone()
    };
    let first = &at("alice", "2026-11-24 09:05")[0];
    assert_eq!(
        (first["state"].as_str(), first["reason"].as_str(), first["duration"].as_str()),
        (Some("pending"), Some("testing"), Some("2h"))
    );
    assert_eq!(first["approvals"]["need"], 1, "{first:#}");
    let edited = &at("alice", "2026-11-24 09:10")[0];
    assert_eq!((edited["reason"].as_str(), edited["duration"].as_str()), (Some("Another reason"), Some("1h")));
    assert_eq!(edited["decisions"], Value::Array(Vec::new()));
    let active = &at("alice", "2026-11-24 10:19")[0];
    assert_eq!((active["state"].as_str(), active["grant"]["remaining_seconds"].as_i64()), (Some("active"), Some(60)));
    assert_eq!(at("alice", "2026-11-24 10:20")[0]["state"], "expired");
    assert!(at("alice", "2026-11-24T08:59:59Z".replace("08:59:59", "09:00:00").as_str()).len() == 1);
    // Others see only their own.
    assert_eq!(at("bob", "2026-11-24 10:19").len(), 1);
    assert_eq!(at("dave", "2026-11-24 10:19").len(), 0);
    let open = world.run("alice", &["list", "--at", "2026-11-24 10:19"]).ok();
    assert!(open.out.contains("active, 1m left"), "{open:?}");
}

#[test]
fn a_former_member_is_not_the_one_who_has_the_name_now() {
    let world = World::sample();
    world.grant("ivan", "target:orders-db", "alice", &["--duration", "1d"]);
    world.pass("1h");
    world.apply("olivia", &TEAM.replace("[members.ivan]\nrole = \"viewer\"\n", "")).ok();
    world.pass("1h");
    world.apply("olivia", &TEAM.replace("[members.ivan]\n", "[members.ivan]\nlogin = \"other\"\n")).ok();
    world.pass("1h");
    // Another person by that name, and the same person under another.
    world.run("other", &["check", "target:orders-db", "--at", "2026-11-24 09:30"]).fails(4, "there was no member ivan");
    assert_eq!(world.json("other", &["list", "--all", "--at", "2026-11-24 09:30"]).as_array().unwrap().len(), 0);
    world.run("alice", &["check", "target:orders-db", "--user", "ivan", "--at", "2026-11-24 09:30"]).ok();
    world.apply("olivia", &TEAM.replace("[members.ivan]\n", "[members.ivan-2]\nlogin = \"ivan\"\n")).ok();
    world.run("ivan", &["check", "target:orders-db", "--at", "2026-11-24 09:30"]).ok().says("ivan could use");
}

#[test]
fn a_clock_that_was_ahead_makes_nothing_true_before_its_time() {
    let world = World::sample();
    world.grant("carol", "target:orders-db", "alice", &["--duration", "permanent"]);
    world.set_clock("2027-06-01T09:00:00Z");
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.run("carol", &["revoke", "1"]).ok();
    world.set_clock("2026-11-24T12:00:00Z");
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    world.pass("1h");
    let may = |who: &str, at: &str| world.run("alice", &["check", "target:orders-db", "--user", who, "--at", at]).code;
    assert_eq!((may("carol", "2026-11-24 10:00"), may("bob", "2026-11-24 10:00")), (0, 1));
    // carol's access was revoked before 12:00, though by a clock that showed a later time.
    assert_eq!((may("carol", "2026-11-24 12:30"), may("bob", "2026-11-24 12:30")), (1, 1));
}

#[test]
fn an_approval_that_counted_then_counts_in_the_past() {
    let rule = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:orders-db\"] }\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let world = World::sample();
    world.apply("olivia", &format!("{TEAM}{rule}")).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &id]).ok();
    world.pass("1m");
    let then = ["list", "--at", START];
    let now = world.json("olivia", &["list"])[0].clone();
    let row = world.json("olivia", &then)[0].clone();
    let of = |row: &Value| (row["approvals"]["have"].clone(), row["decisions"][0]["counts"].clone());
    assert_eq!(of(&row), of(&now), "{row}");
    assert_eq!(of(&row).1, true);
    // Whom it waited for then is not known.
    let shown = world.run("olivia", &then).ok().out;
    assert!(!shown.contains("nobody"), "{shown}");
}
