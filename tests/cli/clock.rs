//! Access ends by the clock, whatever cron does; and a clock that goes back gives nothing back.

use serde_json::json;

use crate::harness::{World, shows};

/// One hour on orders-db for bob, from 09:00 to 10:00.
fn granted() -> World {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world
}

fn last_entry(world: &World) -> serde_json::Value {
    world.json("olivia", &["audit", "--limit", "1"])[0].clone()
}

fn entries(world: &World) -> Vec<String> {
    world.rows("SELECT count(*) FROM event")
}

#[test]
fn access_ends_at_its_second_without_cron() {
    let world = granted();
    world.set_clock("2026-11-24T09:59:59Z");
    assert!(world.may("bob", "target:orders-db"));
    world.set_clock("2026-11-24T10:00:00Z");
    assert!(!world.may("bob", "target:orders-db"));
}

#[test]
fn three_days_without_cron_and_everything_says_it_is_over() {
    let world = granted();
    world.grant("bob", "role:admin", "alice", &["--duration", "1h"]);
    world.pass("3d1h");
    assert!(!world.may("bob", "target:orders-db"));
    let ended = json!({ "state": "expired", "grant": { "remaining_seconds": 0, "ended_at": "2026-11-24T10:00:00Z" } });
    shows(&world.json("bob", &["show", "1"]), &ended);
    assert_eq!(world.json("bob", &["list"]), json!([]), "not among the open ones");
    shows(&world.json("bob", &["list", "--state", "expired"]), &json!([{ "id": 2 }, { "id": 1 }]));
    shows(&world.json("bob", &["whoami"]), &json!({ "effective_role": "member", "grants": [] }));
    let who = world.json("olivia", &["who", "target:orders-db"]);
    assert!(who.as_array().unwrap().iter().all(|row| row["member"] != "bob"), "{who:#}");
    let resources = world.json("bob", &["resources", "--mine"]);
    assert!(resources.as_array().unwrap().iter().all(|row| row["until"].is_null()), "{resources:#}");
    // And the role it gave opens no door.
    world.run("bob", &["audit"]).exits(3);
    // What was had may be asked for again.
    world.request("bob", "target:orders-db", &[]);
}

#[test]
fn expire_records_when_access_ended_and_when_that_was_noticed() {
    let world = granted();
    world.pass("3d1h");
    world.run("root", &["expire"]).ok();
    let entry = json!({
        "at": "2026-11-27T10:00:00Z", "action": "grant.expired", "actor": null, "os_user": "root", "request": 1,
        "detail": { "ended_at": "2026-11-24T10:00:00Z", "resource": "target:orders-db" }
    });
    shows(&last_entry(&world), &entry);
    shows(&world.json("bob", &["show", "1"])["grant"], &json!({ "ended_at": "2026-11-24T10:00:00Z" }));
}

#[test]
fn expire_again_does_nothing_and_says_nothing() {
    let world = granted();
    world.pass("1h");
    let first = world.run("root", &["expire"]).ok();
    assert_ne!(first.out, "");
    let before = entries(&world);
    let again = world.run("root", &["expire"]).ok();
    assert_eq!((again.out.as_str(), again.err.as_str()), ("", ""));
    assert_eq!(entries(&world), before);
}

#[test]
fn a_dry_run_tells_what_is_due_and_changes_nothing() {
    let world = granted();
    world.request("carol", "target:billing-db", &[]);
    world.pass("8d");
    let before = world.rows(".dump");
    let due = json!({ "expired": 1, "lapsed": 1, "expiring": 0 });
    shows(&world.json("root", &["expire", "--dry-run"]), &due);
    assert_eq!(world.rows(".dump"), before);
    shows(&world.json("root", &["expire"]), &due);
}

#[test]
fn a_clock_a_moment_back_is_tolerated_and_times_never_go_backwards() {
    let world = granted();
    world.set_clock("2026-11-24T08:59:01Z");
    world.request("carol", "target:orders-db", &[]);
    world.run("olivia", &["approve", "2"]).ok();
    let times: Vec<i64> =
        world.rows("SELECT at FROM event ORDER BY seq").iter().map(|at| at.parse().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    shows(&world.json("carol", &["show", "2"])["grant"], &json!({ "starts_at": "2026-11-24T09:00:00Z" }));
}

#[test]
fn a_clock_plainly_back_stops_every_change() {
    let world = granted();
    world.request("carol", "target:orders-db", &[]);
    world.set_clock("2026-11-24T08:58:59Z");
    let before = entries(&world);
    let commands: [(&str, &[&str]); 6] = [
        ("dave", &["request", "target:orders-db", "--reason", "x"]),
        ("alice", &["approve", "2"]),
        ("alice", &["deny", "2"]),
        ("carol", &["withdraw", "2"]),
        ("alice", &["revoke", "1"]),
        ("root", &["expire"]),
    ];
    for (login, args) in commands {
        let ran = world.run(login, args).fails(1, "before the last recorded time");
        assert!(ran.err.contains("2026-11-24T09:00:00Z") && ran.err.contains("doctor --accept-clock"), "{ran:?}");
    }
    assert_eq!(entries(&world), before);
    // Looking goes on.
    for args in [&["list"][..], &["show", "2"], &["whoami"], &["inbox"], &["resources"], &["check", "target:orders-db"]]
    {
        let ran = world.run("carol", args);
        assert!(ran.code <= 1 && !ran.err.contains("error"), "{ran:?}");
    }
    // Once the clock is right again, so is everything.
    world.set_clock("2026-11-24T09:01:00Z");
    world.run("alice", &["approve", "2"]).ok();
}

#[test]
fn a_lapsed_grant_stays_lapsed_when_the_clock_goes_back() {
    let world = granted();
    world.set_clock("2026-11-24T11:00:00Z");
    world.request("carol", "target:orders-db", &[]);
    // The end itself is not on the record; that time went on to 11:00 is.
    world.set_clock("2026-11-24T09:30:00Z");
    assert!(!world.may("bob", "target:orders-db"));
    shows(&world.json("bob", &["show", "1"]), &json!({ "state": "expired" }));
    shows(&world.json("bob", &["whoami"]), &json!({ "grants": [] }));
}

#[test]
fn a_run_of_expire_counts_as_recorded_time_even_with_nothing_to_record() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    let before = entries(&world);
    world.set_clock("2026-11-24T10:00:00Z");
    world.run("root", &["expire"]).ok();
    assert_eq!(entries(&world), before);
    world.set_clock("2026-11-24T09:30:00Z");
    world.run("alice", &["revoke", "1"]).fails(1, "before the last recorded time");
    let left = world.json("bob", &["show", "1"])["grant"]["remaining_seconds"].clone();
    assert_eq!(left, 3 * 3600, "counted from ten, not from half past nine");
}

#[test]
fn only_the_owner_accepts_a_clock_and_only_one_that_is_behind() {
    let world = granted();
    world.run("olivia", &["doctor", "--accept-clock"]).fails(5, "nothing to accept");
    world.set_clock("2026-11-24T06:00:00Z");
    world.run("alice", &["doctor", "--accept-clock"]).fails(3, "only the owner");
    world.run("bob", &["doctor", "--accept-clock"]).fails(3, "only the owner");
    world.run("bob", &["withdraw", "1"]).exits(1);
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    world.run("olivia", &["doctor", "--accept-clock"]).fails(5, "nothing to accept");
}

#[test]
fn an_accepted_clock_is_on_the_record_and_revives_nothing() {
    let world = granted();
    world.request("carol", "target:billing-db", &[]);
    // A clock that ran ahead: by its time bob's hour is over, and carol's request has lapsed.
    world.set_clock("2026-12-24T09:00:00Z");
    world.request("dave", "target:orders-db", &[]);
    world.set_clock("2026-11-24T09:30:00Z");
    world.run("olivia", &["doctor", "--accept-clock"]).ok();

    let accepted = json!({
        "action": "clock.accepted", "actor": "olivia", "at": "2026-11-24T09:30:00Z",
        "detail": { "was": "2026-12-24T09:00:00Z" }
    });
    shows(&last_entry(&world), &accepted);
    let ends = world.rows("SELECT action, request FROM event ORDER BY seq DESC LIMIT 2 OFFSET 1");
    assert_eq!(ends, ["request.lapsed|2", "grant.expired|1"]);
    assert!(!world.may("bob", "target:orders-db"), "it is half past nine, and still over");
    assert_eq!(world.state("1"), "expired");
    assert_eq!(world.state("2"), "lapsed");

    // And time goes on from here, also for expire.
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", &id]).ok();
    shows(&world.json("bob", &["show", &id])["grant"], &json!({ "ends_at": "2026-11-24T10:30:00Z" }));
    assert!(world.may("bob", "target:orders-db"));
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    assert_eq!(world.state(&id), "expired");
}

#[test]
fn an_accepted_clock_is_accepted_when_only_expire_had_run_ahead() {
    let world = granted();
    world.set_clock("2026-12-24T09:00:00Z");
    world.run("root", &["expire"]).ok();
    world.set_clock("2026-11-24T09:30:00Z");
    world.run("bob", &["request", "target:billing-db", "--reason", "x"]).exits(1);
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    world.request("bob", "target:billing-db", &[]);
    assert!(!world.may("bob", "target:orders-db"));
}
