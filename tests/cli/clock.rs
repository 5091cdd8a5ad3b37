//! Access ends by the clock, whatever cron does; and a clock that goes back gives nothing back.

use access::domain::duration::Length;
use access::domain::event::{Draft, Event, Submission};
use access::domain::name::Name;
use access::domain::terms::{End, RequestDetails, Terms};
use access::domain::time::Timestamp;
use access::error::Failure;
use access::store::{Context, Store, Write};
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
fn a_dry_run_sees_that_the_clock_was_set_back() {
    let world = granted();
    world.set_clock("2026-11-24T08:58:00Z");
    let asked: [(&str, &[&str]); 3] = [
        ("root", &["expire", "--dry-run"]),
        ("carol", &["request", "target:orders-db", "--reason", "x", "--dry-run"]),
        ("bob", &["edit", "1", "--reason", "y", "--dry-run"]),
    ];
    for (who, args) in asked {
        world.run(who, args).fails(1, "before the last recorded time");
    }
    world.set_clock("2026-11-24T09:01:00Z");
    world.run("root", &["expire", "--dry-run"]).ok();
    world.run("carol", &["request", "target:orders-db", "--reason", "x", "--dry-run"]).ok();
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
fn an_attempt_to_accept_a_clock_is_recorded_at_its_time() {
    let world = granted();
    world.set_clock("2026-11-24T12:00:00Z");
    world.run("bob", &["doctor", "--accept-clock"]).fails(3, "only the owner");
    let newest = &world.json("olivia", &["audit", "--limit", "1"])[0];
    shows(newest, &json!({ "action": "attempt.refused", "actor": "bob", "at": "2026-11-24T12:00:00Z" }));
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
    let ends = world.rows("SELECT action, request FROM event ORDER BY seq DESC LIMIT 3 OFFSET 1");
    assert_eq!(ends, ["request.withdrawn|3", "request.lapsed|2", "grant.expired|1"]);
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

#[test]
fn what_a_clock_that_ran_ahead_recorded_is_not_shown_as_still_to_come() {
    let world = granted();
    world.request("carol", "target:billing-db", &[]);
    world.set_clock("2026-11-24T12:00:00Z");
    world.run("root", &["expire"]).ok();
    world.run("carol", &["withdraw", "2"]).ok();
    world.set_clock("2026-11-24T09:30:00Z");
    world.run("root", &["doctor", "--accept-clock"]).ok();
    for (who, args, word) in [
        ("bob", &["list", "--all"][..], "expired by a wrong clock"),
        ("bob", &["inbox", "--all"], "by a wrong clock"),
        ("bob", &["show", "1"], "expired by a wrong clock"),
    ] {
        let ran = world.run(who, args).ok();
        assert!(ran.out.contains(word) && !ran.out.contains("expired in"), "{args:?}: {ran:?}");
    }
}

// What was made while the clock was ahead

const THREE_DAYS_AHEAD: &str = "2026-11-27T09:00:00Z";
const RIGHT: &str = "2026-11-24T09:30:00Z";
const MONTH: [&str; 2] = ["--duration", "30d"];

/// A request for a month, which alice approves.
fn for_a_month(world: &World, login: &str, resource: &str, more: &[&str]) -> String {
    let id = world.request(login, resource, &[&MONTH[..], more].concat());
    world.run("alice", &["approve", &id]).ok();
    id
}

/// 1: pending, filed in time; 2: scheduled with a start that was asked for; 3: filed in time and approved while the clock
/// was three days ahead; filed while it was: 4 pending, 5 live, 6 scheduled.
fn ahead() -> World {
    let world = World::sample();
    world.request("bob", "target:billing-db", &[]);
    for_a_month(&world, "carol", "target:orders-db", &["--start", "2026-11-25T09:00:00Z"]);
    world.request("dave", "target:orders-db", &MONTH);
    world.set_clock(THREE_DAYS_AHEAD);
    world.run("alice", &["approve", "3"]).ok();
    world.request("frank", "target:billing-db", &[]);
    for_a_month(&world, "frank", "target:orders-db", &[]);
    for_a_month(&world, "grace", "target:orders-db", &["--start", "2026-11-28T09:00:00Z"]);
    world.set_clock(RIGHT);
    world
}

fn states(world: &World) -> Vec<String> {
    (1..=6).map(|id| world.state(&id.to_string())).collect()
}

#[test]
fn what_was_made_while_the_clock_was_ahead_ends_with_the_accepted_time() {
    let world = ahead();
    let ran = world.run("olivia", &["doctor", "--accept-clock"]).ok();
    for line in [
        "grant 3 of dave was made while the clock was ahead, and is revoked",
        "request 4 of frank was made while the clock was ahead, and is withdrawn",
        "grant 5 of frank",
        "grant 6 of grace",
    ] {
        assert!(ran.err.contains(line), "{line}\n{ran:?}");
    }
    assert_eq!(ran.err.matches("while the clock was ahead").count(), 4, "{ran:?}");
    assert_eq!(states(&world), ["pending", "scheduled", "revoked", "withdrawn", "revoked", "revoked"]);
    let log = world.json("olivia", &["audit", "--limit", "5"]);
    let because = json!({ "by": "olivia", "because": { "clock_accepted": RIGHT } });
    shows(
        &log,
        &json!([
            { "action": "clock.accepted", "actor": "olivia", "at": RIGHT, "detail": { "was": THREE_DAYS_AHEAD } },
            { "action": "grant.revoked", "request": 6, "actor": "olivia", "at": THREE_DAYS_AHEAD, "detail": because },
            { "action": "grant.revoked", "request": 5, "detail": because },
            { "action": "request.withdrawn", "request": 4, "detail": because },
            { "action": "grant.revoked", "request": 3, "detail": because },
        ]),
    );
    for (login, notice) in [("dave", "access.revoked"), ("frank", "request.withdrawn"), ("grace", "access.revoked")] {
        assert!(world.unread(login).contains(&notice.to_owned()), "{login}: {:?}", world.unread(login));
    }
    world.run("dave", &["inbox"]).ok().says("(request 3): the clock was");
    world.run("olivia", &["audit", "verify"]).ok();

    // When that time comes, nothing starts but what was asked to start then.
    world.set_clock("2026-11-28T10:00:00Z");
    world.run("root", &["expire"]).ok();
    for login in ["dave", "frank", "grace"] {
        assert!(!world.may(login, "target:orders-db"), "{login}");
    }
    assert!(world.may("carol", "target:orders-db"));
    assert!(world.unread("carol").contains(&"access.started".to_owned()), "{:?}", world.unread("carol"));
    world.request("dave", "target:orders-db", &[]);
    world.run("olivia", &["audit", "verify"]).ok();
}

/// An edit sets when a request lapses, and the terms that it asks for, like a new request.
#[test]
fn what_was_edited_while_the_clock_was_ahead_ends_with_the_accepted_time() {
    let world = World::sample();
    // 1: pending; 2: scheduled with a start that the edit asks for; 3: a pending extension of 4, which is live.
    world.request("bob", "target:billing-db", &[]);
    world.request("carol", "target:orders-db", &MONTH);
    let live = for_a_month(&world, "dave", "target:orders-db", &[]);
    let extension = world.json("dave", &["extend", &live, "--reason", "more"])["id"].to_string();
    world.set_clock(THREE_DAYS_AHEAD);
    world.run("bob", &["edit", "1", "--reason", "testing more"]).ok();
    world.run("carol", &["edit", "2", "--start", "2026-11-28T09:00:00Z"]).ok();
    let seen = world.json("alice", &["show", "2"])["last_seq"].to_string();
    world.run("alice", &["approve", "2", "--seen", &seen]).ok();
    world.run("dave", &["edit", &extension, "--reason", "still more"]).ok();
    world.set_clock(RIGHT);
    let ran = world.run("olivia", &["doctor", "--accept-clock"]).ok();
    for line in [
        "request 1 of bob was edited while the clock was ahead, and is withdrawn",
        "grant 2 of carol was made while the clock was ahead, and is revoked",
        "request 4 of dave was edited while the clock was ahead, and is withdrawn",
    ] {
        assert!(ran.err.contains(line), "{line}\n{ran:?}");
    }
    let states = ["1", "2", "3", "4"].map(|id| world.state(id));
    assert_eq!(states, ["withdrawn", "revoked", "active", "withdrawn"]);
    shows(
        &world.json("olivia", &["audit", "--request", "1", "--limit", "1"]),
        &json!([{ "action": "request.withdrawn", "detail": { "because": { "clock_accepted": RIGHT } } }]),
    );
    world.run("olivia", &["audit", "verify"]).ok();

    // What is edited after that is judged by the right time, and stays.
    let id = world.request("bob", "target:billing-db", &[]);
    world.run("bob", &["edit", &id, "--reason", "once more"]).ok();
    world.set_clock("2026-11-24T09:10:00Z");
    assert_eq!(world.state(&id), "pending");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn root_accepts_a_clock_without_being_a_member_and_that_can_be_proven() {
    let world = ahead();
    world.run("root", &["doctor", "--accept-clock"]).ok();
    assert_eq!(states(&world), ["pending", "scheduled", "revoked", "withdrawn", "revoked", "revoked"]);
    let shown = world.run("olivia", &["audit", "--limit", "1"]).ok();
    assert!(shown.out.contains("root accepted its time"), "{shown:?}");
    let log = world.json("olivia", &["audit", "--limit", "2"]);
    shows(&log[1], &json!({ "action": "grant.revoked", "actor": null, "os_user": "root", "request": 6 }));
    assert_eq!(log[1]["detail"].get("by"), None, "{log:#}");
    shows(&world.json("grace", &["show", "6"])["grant"], &json!({ "ended_by": null, "ended_at": THREE_DAYS_AHEAD }));
    shows(&world.json("olivia", &["list", "--state", "revoked"]), &json!([{ "id": 6 }, { "id": 5 }, { "id": 3 }]));
    world.run("olivia", &["audit", "verify"]).ok();
    world.run("root", &["doctor"]).ok();
}

#[test]
fn no_reminder_or_warning_is_used_up_by_a_time_that_never_was() {
    let team = format!(
        "{}\n[[rules]]\nname = \"slow\"\nmatch = {{ resources = [\"target:billing-db\"] }}\nremind_after = \"1d\"\n",
        crate::harness::TEAM
    );
    let world = World::of("olivia", &team);
    world.request("bob", "target:billing-db", &[]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "3d"]);
    // A day and more, and within the last hour of carol's grant.
    world.set_clock("2026-11-27T08:30:00Z");
    world.request("dave", "target:orders-db", &[]);
    world.set_clock(RIGHT);
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    assert_eq!((world.state("1"), world.state("2")), ("pending".to_owned(), "active".to_owned()));
    world.set_clock("2026-11-25T09:00:00Z");
    shows(&world.json("root", &["expire"]), &json!({ "reminded": 1, "expiring": 0 }));
    world.set_clock("2026-11-27T08:00:00Z");
    shows(&world.json("root", &["expire"]), &json!({ "reminded": 0, "expiring": 1 }));
}

#[test]
fn what_waits_to_be_sent_does_not_wait_for_a_time_that_never_was() {
    let world = ahead();
    let late = || world.rows(&format!("SELECT count(*) FROM outbox WHERE due_at > unixepoch('{RIGHT}')"));
    assert_ne!(late(), ["0"]);
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    assert_eq!(late(), ["0"]);
    // Nor where it is looked at again because somebody prefers otherwise.
    for login in ["alice", "dave", "frank", "grace"] {
        world.run(login, &["notify", "set", "request.reminder", "--email", "off"]).ok();
    }
    assert_eq!(late(), ["0"]);
}

/// So many requests of ivan's, each filed while the clock is at this time, as the program records them.
fn file_many(world: &World, count: u64, at: &str) {
    let at: Timestamp = at.parse().unwrap();
    let store = Store::open(&world.db()).unwrap();
    let ivan: Name = "ivan".parse().unwrap();
    let filed = |write: &Write<'_>| -> Result<(), Failure> {
        let mut request = write.next_request()?;
        for _ in 0..count {
            let asked = Terms { resource: "target:orders-db".parse().unwrap(), end: End::Never, start: None };
            let event = Event::RequestSubmitted(Submission {
                request,
                requester: ivan.clone(),
                filed_by: ivan.clone(),
                requester_login: Some("ivan".parse().unwrap()),
                filer_login: Some("ivan".parse().unwrap()),
                details: RequestDetails::new(asked, "many".parse().unwrap()),
                lapses_at: at.plus(Length::WEEK),
                remind_at: None,
                extends: None,
                emergency: false,
            });
            let context = Context { now: at, actor: Some(ivan.clone()), os_user: "ivan".to_owned() };
            write.record(&context, vec![Draft { event, recipients: Vec::new() }])?;
            request = request.next();
        }
        Ok(())
    };
    store.write(filed).unwrap();
    store.close();
}

#[test]
fn an_acceptance_that_dies_half_way_leaves_a_whole_record_and_the_next_one_finishes() {
    let world = World::sample();
    world.set_clock(THREE_DAYS_AHEAD);
    file_many(&world, 2100, THREE_DAYS_AHEAD);
    world.set_clock(RIGHT);
    // The second of three transactions fails: it can't read this row.
    let reason = |text: &str| world.rows(&format!("UPDATE request SET reason = '{text}' WHERE id = 1500"));
    reason("");
    let ran = world.run("olivia", &["doctor", "--accept-clock"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    reason("many");
    let count = |action: &str| world.rows(&format!("SELECT count(*) FROM event WHERE action = '{action}'"));
    assert_eq!((count("request.withdrawn"), count("clock.accepted")), (vec!["1000".to_owned()], vec!["0".to_owned()]));
    world.run("olivia", &["audit", "verify"]).ok();
    world.run("bob", &["request", "target:orders-db", "--reason", "x"]).fails(1, "before the last recorded time");

    let ran = world.run("olivia", &["doctor", "--accept-clock"]).ok();
    assert_eq!(ran.err.matches("while the clock was ahead").count(), 20, "{ran:?}");
    assert!(ran.err.contains("and 1080 more ended"), "{ran:?}");
    assert_eq!((count("request.withdrawn"), count("clock.accepted")), (vec!["2100".to_owned()], vec!["1".to_owned()]));
    world.run("olivia", &["audit", "verify"]).ok();
    world.request("bob", "target:orders-db", &[]);
}
