//! How often somebody may ask and act, and what that leaves to others.

use serde_json::{Value, json};

use crate::completion::bash;
use crate::harness::{TEAM, World, shows};
use crate::post::{Server, configure, fresh, slack, smtp, webhook};

const MANY: &str = r#"
[team]
name = "acme"
[members.olivia]
role = "owner"
[members.alice]
role = "admin"
[members.bob]
role = "member"
[members.carol]
role = "member"
"#;

/// A team with this many connections that are not in production, `c1` and so on, and rules.
fn team(connections: usize, rules: &str) -> String {
    let all = (1..=connections).map(|n| format!("[connections.c{n}]\nenvironment = \"non-production\"\n"));
    format!("{MANY}{}{rules}", all.collect::<String>())
}

const GLASS: &str = "[[rules]]\nname = \"glass\"\nemergency = true\n";

fn ask<'a>(resource: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["request", resource, "--reason", "testing"].into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn nobody_files_without_end_and_nobody_is_locked_out_by_another() {
    let world = World::of("olivia", &team(3, GLASS));
    for _ in 0..49 {
        let id = world.request("bob", "connection:c1", &[]);
        world.run("bob", &["withdraw", &id]).ok();
        world.pass("1m");
    }
    world.request("bob", "connection:c2", &[]);
    let says = "you have filed requests 50 times within 1d; the next is possible at 2026-11-25 09:00 UTC";
    world.run("bob", &ask("connection:c1", &["--dry-run"])).fails(3, says);
    assert!(!world.actions().contains(&"attempt.refused".to_owned()), "a dry run attempts nothing");
    world.run("bob", &ask("connection:c1", &[])).fails(3, says);
    // Emergencies and extensions are requests too.
    world.run("bob", &ask("connection:c3", &["--emergency"])).fails(3, says);
    world.run("alice", &["approve", "50"]).ok();
    world.run("bob", &["extend", "50", "--reason", "not done"]).fails(3, says);
    // Others go on, and an admin can still file for him.
    world.request("carol", "connection:c1", &[]);
    world.request("alice", "connection:c1", &["--for", "bob"]);
    world.set_clock("2026-11-25T08:59:59Z");
    world.run("bob", &ask("connection:c3", &[])).fails(3, says);
    world.pass("1s");
    world.run("bob", &ask("connection:c3", &[])).ok();
    world.run("bob", &ask("connection:c2", &[])).fails(3, "the next is possible at 2026-11-25 09:01 UTC");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn who_files_for_others_uses_up_their_own_number() {
    let world = World::of("olivia", &team(2, ""));
    for turn in 0..50_u32 {
        let who = if turn.is_multiple_of(2) { "bob" } else { "carol" };
        let id = world.request("alice", "connection:c1", &["--for", who]);
        world.run("alice", &["withdraw", &id]).ok();
    }
    world.run("alice", &ask("connection:c1", &["--for", "bob"])).fails(3, "50 times within 1d");
    world.request("bob", "connection:c1", &[]);
    world.request("olivia", "connection:c2", &["--for", "bob"]);
}

#[test]
fn at_most_twenty_of_ones_requests_wait() {
    let free = "[[rules]]\nname = \"free\"\nmatch = { resources = [\"connection:c24\"] }\nauto_approve = true\n";
    let world = World::of("olivia", &team(25, &format!("{GLASS}{free}")));
    let connection = |n: usize| format!("connection:c{n}");
    for n in 1..=19 {
        world.request("bob", &connection(n), &[]);
    }
    // An admin's requests for him are the admin's.
    world.request("alice", &connection(20), &["--for", "bob"]);
    let last = world.request("bob", &connection(21), &[]);
    let says = "20 requests that you filed are pending";
    world.run("bob", &ask("connection:c22", &["--dry-run"])).fails(3, says);
    world.run("bob", &ask("connection:c22", &[])).fails(3, says);
    world.run("alice", &ask("connection:c22", &["--for", "bob"])).ok();
    // What is granted at once waits for nobody.
    world.run("bob", &ask("connection:c23", &["--emergency"])).ok();
    world.run("bob", &ask("connection:c24", &[])).ok();
    world.run("bob", &["withdraw", &last]).ok();
    world.run("bob", &ask("connection:c25", &[])).ok();
    world.run("bob", &ask("connection:c21", &[])).fails(3, says);
    // What has lapsed does not wait, whether or not that is on the record.
    world.pass("1w");
    world.run("bob", &ask("connection:c21", &[])).ok();
}

/// An edit notifies everybody again, so edits have a limit of their own, and count for a rule's.
#[test]
fn edits_are_limited_and_count_for_a_rule() {
    let limited = "[[rules]]\nname = \"few\"\nmatch = { resources = [\"connection:c2\"] }\nmax_per_day = 5\n";
    let world = World::of("olivia", &team(3, limited));
    world.request("bob", "connection:c1", &[]);
    world.request("bob", "connection:c2", &[]);
    let edit = |request: u32, count: u32| {
        let now = world.now().unix();
        world.rows(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO event SELECT (SELECT max(seq) FROM event) + i, {now}, 'bob', 'bob', 'request.edited', {request},
                 hash, body FROM n, (SELECT hash, body FROM event ORDER BY seq DESC LIMIT 1)"
        ));
    };
    edit(2, 4);
    world.run("carol", &ask("connection:c2", &[])).ok();
    world.run("bob", &ask("connection:c3", &[])).ok();
    let says = "at most 5 requests in 1d";
    world.run("alice", &ask("connection:c2", &["--for", "bob", "--start", "in 2d"])).exits(5);
    world.run("bob", &["withdraw", "2"]).ok();
    world.run("bob", &ask("connection:c2", &[])).fails(3, says);
    world.run("alice", &ask("connection:c2", &["--for", "bob"])).fails(3, says);
    world.run("bob", &["edit", "1", "--reason", "another"]).ok();
    edit(1, 45);
    world.run("bob", &["edit", "1", "--reason", "one more", "--dry-run"]).fails(3, "you have edited requests 50 times");
    world.run("bob", &["edit", "1", "--reason", "one more"]).fails(3, "you have edited requests 50 times");
    world.pass("1d");
    world.run("bob", &["edit", "1", "--reason", "one more"]).ok();
}

#[test]
fn ten_emergencies_an_hour() {
    let world = World::of("olivia", &team(2, GLASS));
    for _ in 0..10 {
        let id = world.request("bob", "connection:c1", &["--emergency"]);
        world.run("bob", &["revoke", &id]).ok();
        world.run("alice", &["review", &id, "--note", "seen"]).ok();
        world.pass("1m");
    }
    let says = "you have taken emergency access 10 times within 1h; the next is possible at 2026-11-24 10:00 UTC";
    world.run("bob", &ask("connection:c1", &["--emergency", "--dry-run"])).fails(3, says);
    world.run("bob", &ask("connection:c1", &["--emergency"])).fails(3, says);
    world.run("carol", &ask("connection:c1", &["--emergency"])).ok();
    world.run("bob", &ask("connection:c1", &[])).ok();
    world.set_clock("2026-11-24T10:00:00Z");
    world.run("bob", &ask("connection:c2", &["--emergency"])).ok();
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn preferences_change_thirty_times_an_hour() {
    let world = World::sample();
    let flip = |turn: usize| if turn.is_multiple_of(2) { "mute" } else { "unmute" };
    for turn in 0..30 {
        world.run("bob", &["notify", flip(turn)]).ok();
        world.pass("1m");
    }
    let says = "you have changed how you are notified 30 times within 1h; the next is possible at 2026-11-24 10:00 UTC";
    world.run("bob", &["notify", "mute"]).fails(3, says);
    // What changes nothing writes nothing, and so is no matter.
    world.run("bob", &["notify", "unmute"]).ok();
    world.run("carol", &["notify", "mute"]).ok();
    world.set_clock("2026-11-24T09:59:59Z");
    world.run("bob", &["notify", "mute"]).fails(3, says);
    world.pass("1s");
    world.run("bob", &["notify", "mute"]).ok();
}

#[test]
fn the_team_changes_sixty_times_an_hour() {
    let world = World::of("olivia", MANY);
    let (one, other) = (MANY.replace("acme", "one"), MANY.replace("acme", "other"));
    for turn in 0..59_u32 {
        world.apply("olivia", if turn.is_multiple_of(2) { &one } else { &other }).ok();
    }
    world.apply("olivia", &other).fails(3, "you have changed the team 60 times within 1h");
    world.apply("olivia", &one).ok().says("Nothing changes");
    world.run("alice", &ask("role:admin", &["--for", "bob"])).ok();
    world.pass("1h");
    world.apply("olivia", &other).ok();
}

#[test]
fn approvers_do_not_void_each_other_without_end() {
    let rules = "[[rules]]\nname = \"three\"\napprovers = [\"role:admin\", \"member:carol\"]\napprovals = 3\n";
    let world = World::of("olivia", &team(1, rules));
    world.request("bob", "connection:c1", &["--duration", "8h"]);
    let approve = |approver: &str, more: &[&str]| {
        let seq = world.json(approver, &["show", "1"])["last_seq"].to_string();
        world.run(approver, &[&["approve", "1", "--seen", &seq], more].concat())
    };
    for turn in 1..=5 {
        approve("alice", &["--duration", &format!("{turn}h")]).ok();
        approve("olivia", &["--duration", &format!("{turn}h30m")]).ok();
    }
    let told = world.unread("carol").len();
    let says =
        "you have changed the terms of this request 5 times within 1h; the next is possible at 2026-11-24 10:00 UTC";
    approve("alice", &["--duration", "6h"]).fails(3, says);
    approve("olivia", &["--duration", "6h"]).fails(3, says);
    assert_eq!(world.unread("carol").len(), told);
    // A member who has used it up can still approve what is there, or put other terms there later.
    approve("alice", &[]).ok();
    world.pass("1h");
    approve("alice", &["--duration", "6h"]).ok();
    approve("olivia", &[]).ok();
    approve("carol", &[]).ok();
    assert_eq!(world.state("1"), "active");
}

/// An edit changes what was asked, and no approver is charged for that.
#[test]
fn an_edit_is_no_change_of_terms_by_who_approved_before_it() {
    let rules = "[[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let world = World::of("olivia", &team(1, rules));
    world.request("bob", "connection:c1", &["--duration", "1h"]);
    let approve = |more: &[&str]| {
        let seq = world.json("alice", &["show", "1"])["last_seq"].to_string();
        world.run("alice", &[&["approve", "1", "--seen", &seq], more].concat())
    };
    for turn in 1..=6 {
        approve(&[]).ok();
        world.run("bob", &["edit", "1", "--duration", &format!("{}m", 60 + turn)]).ok();
    }
    approve(&["--duration", "30m"]).ok();
}

/// What was filed or done long ago does not count, however much it is. (That it is not even read, a test of the store says.)
#[test]
fn a_long_history_does_not_count() {
    let world = World::of("olivia", &team(2, GLASS));
    world.request("bob", "connection:c1", &[]);
    world.run("bob", &["withdraw", "1"]).ok();
    world.pass("1d");
    world.rows(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO request (id, state, requester, filed_by, resource, length, reason, submitted_at, lapses_at)
         SELECT i, 'withdrawn', 'bob', CASE WHEN i % 2 THEN 'bob' ELSE 'alice' END, resource, length, reason, submitted_at,
             lapses_at FROM n, request WHERE id = 1;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO event SELECT seq + i, at, 'bob', 'bob', 'preference.changed', NULL, hash, body FROM n,
             (SELECT * FROM event ORDER BY seq DESC LIMIT 1);",
    );
    world.run("bob", &ask("connection:c1", &["--dry-run"])).ok();
    world.run("bob", &ask("connection:c1", &["--dry-run", "--emergency"])).ok();
    world.run("bob", &["notify", "mute", "request.withdrawn"]).ok();
}

#[test]
fn emergencies_one_after_another_are_told_together() {
    let world = World::of("olivia", &team(2, GLASS));
    let take = |resource: &str, more: &[&str]| world.json("bob", &ask(resource, &[&["--emergency"], more].concat()));
    let first = take("connection:c1", &[]);
    assert_eq!(first["emergencies_in_24h"], json!({ "count": 1, "seconds": 3600 }));
    world.pass("1h");
    world.run("alice", &["review", "1", "--note", "seen"]).ok();
    take("connection:c2", &[]);
    take("connection:c1", &[]);
    world.pass("30m");
    world.run("bob", &["revoke", "3"]).ok();
    world.pass("10h");
    let third = take("connection:c1", &["--duration", "90m"]);
    assert_eq!(third["emergencies_in_24h"], json!({ "count": 3, "seconds": 10_800 }));
    let row = "third emergency of bob for connection:c1 in 1d, 3h in all";
    let shown = world.run("carol", &["show", "4"]).ok().says("third emergency of bob for connection:c1 in 1d, 3h in");
    let record = shown.out.split("Timeline").next().unwrap();
    assert!(record.lines().all(|line| line.chars().count() <= 80), "{record}");
    assert_eq!(world.json("carol", &["show", "4"])["emergencies_in_24h"]["count"], 3);
    let told = world.json("alice", &["inbox"]);
    assert!(told[0]["text"].as_str().unwrap().contains(row), "{told}");
    assert!(!told[3]["text"].as_str().unwrap().contains("emergency of"), "{told}");
    // A day later it is the first again.
    world.run("alice", &["review", "2", "--note", "seen"]).ok();
    world.pass("1d");
    assert_eq!(take("connection:c1", &[])["emergencies_in_24h"]["count"], 1);
}

#[test]
fn whose_turn_a_review_is_is_told_wherever_the_emergency_is() {
    let policy = format!("{GLASS}[notifications.channels]\n\"#ops\" = [\"access.emergency\"]\n");
    let world = fresh(&format!("{TEAM}\n{policy}"));
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let hook = webhook(&world, "siem", &format!("http://127.0.0.1:{}/hook", web.port), "\"access.emergency\"");
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hook].concat());
    let taken = world.run("bob", &ask("target:orders-db", &["--emergency"])).ok();
    assert!(taken.out.contains("it needs a review by alice, erin or olivia"), "{}", taken.out);
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0 }));

    let can = "alice, erin or olivia can review it: access review 1 --note '…'";
    let letters: Vec<String> =
        mail.got().iter().map(|mail| mail["data"].as_str().unwrap().replace("=\r\n", "")).collect();
    assert!(!letters.is_empty());
    for letter in &letters {
        assert!(letter.contains("Reviewers") && letter.contains("alice, erin or olivia"), "{letter}");
    }
    let posted = web.bodies("/api/chat.postMessage");
    assert!(posted.iter().any(|message| message["channel"] == "#ops"), "{posted:?}");
    assert!(posted.iter().all(|message| message["blocks"].to_string().contains(can)), "{posted:?}");
    let hooked = &web.bodies("/hook")[0]["data"];
    shows(hooked, &json!({ "facts": { "reviewers": "alice, erin or olivia" } }));
    assert!(hooked["text"].as_str().unwrap().contains(can), "{hooked}");

    let inbox = world.run("erin", &["inbox"]).ok();
    assert!(inbox.out.contains("can review it"), "{}", inbox.out);
    let shown = world.run("carol", &["show", "1"]).ok().says("owed by alice, erin or olivia: `access review 1");
    let record = shown.out.split("Timeline").next().unwrap();
    assert!(record.lines().all(|line| line.chars().count() <= 80), "{record}");
    assert_eq!(world.json("carol", &["show", "1"])["reviewers"], json!(["alice", "erin", "olivia"]));
    let row = world.json("carol", &["list"]).as_array().unwrap()[0].clone();
    assert_eq!(row["reviewers"], json!(["alice", "erin", "olivia"]));
    let list = world.run("carol", &["list"]).ok();
    let warned = "emergency access that needs a review: request 1 (alice, erin or olivia)";
    assert!(list.err.contains(warned) && !list.err.contains("you can"), "{}", list.err);
    let list = world.run("erin", &["list"]).ok();
    let once = format!("warning: {warned}; you can review request 1: `access review 1 --note '…'`\n");
    assert_eq!(list.err, once);
    world.run("olivia", &["doctor"]).ok().says("1 emergency needs a review: request 1 (alice, erin or olivia)");

    world.run("erin", &["review", "1", "--note", "fine"]).ok();
    assert_eq!(world.json("carol", &["list", "--all"]), json!([]));
    let shown = world.json("bob", &["show", "1"]);
    assert!(shown.get("reviewers").is_none(), "{shown}");
    let inbox = world.run("alice", &["inbox"]).ok();
    assert!(!inbox.out.contains("can review it"), "{}", inbox.out);
}

/// No team file leaves a team without an owner who can act, so this takes a database that was changed by hand.
#[test]
fn an_emergency_that_nobody_can_review_says_so_when_it_is_taken() {
    let world = World::of("olivia", &team(1, GLASS));
    world.rows("UPDATE member SET disabled = 1 WHERE name <> 'bob'");
    let says = "warning: nobody can review this emergency";
    for args in [ask("connection:c1", &["--emergency", "--dry-run"]), ask("connection:c1", &["--emergency"])] {
        let ran = world.run("bob", &args).ok();
        assert!(ran.err.contains(says), "{}", ran.err);
    }
    assert_eq!(world.json("bob", &["show", "1"])["reviewers"], json!([]));
    world.run("bob", &["show", "1"]).ok().says("owed by nobody");
    let list = world.run("bob", &["list"]).ok();
    assert!(list.err.contains("request 1 (nobody)"), "{}", list.err);
}

/// A log of format 1 fixed no reviewers.
#[test]
fn an_emergency_of_an_older_log_is_reviewed_by_todays_rules() {
    let world = World::of("olivia", &team(1, GLASS));
    world.run("bob", &ask("connection:c1", &["--emergency"])).ok();
    world.rows("UPDATE grant SET reviewers = NULL");
    assert_eq!(world.json("bob", &["show", "1"])["reviewers"], json!(["alice", "olivia"]));
    world
        .apply(
            "olivia",
            &team(1, GLASS).replace("[members.carol]\nrole = \"member\"", "[members.carol]\nrole = \"admin\""),
        )
        .ok();
    assert_eq!(world.json("bob", &["show", "1"])["reviewers"], json!(["alice", "carol", "olivia"]));
    world.run("carol", &["review", "1", "--note", "seen"]).ok();
}

#[test]
fn a_shell_completes_the_reviews_that_are_ones_own() {
    let rules = format!("[[rules]]\nname = \"carol\"\napprovers = [\"member:carol\"]\n{GLASS}");
    let world = World::of("olivia", &team(1, &rules));
    world.run("bob", &ask("connection:c1", &["--emergency"])).ok();
    world.apply("olivia", &team(1, &rules.replace("member:carol", "member:bob"))).ok();
    let is_for = |who: &str, reviews: bool| {
        assert_eq!(world.json(who, &["show", "1"])["may_decide"], Value::from(reviews), "{who}");
        assert_eq!(bash(&world, who, "access review ").contains(&"1".to_owned()), reviews, "{who}");
    };
    // A reviewer counts while today's rules name them too.
    is_for("carol", false);
    world.apply("olivia", &team(1, &rules)).ok();
    for (who, reviews) in [("carol", true), ("alice", true), ("bob", false)] {
        is_for(who, reviews);
    }
    world.run("carol", &["review", "1", "--note", "seen"]).ok();
    assert!(!bash(&world, "carol", "access review ").contains(&"1".to_owned()));
}
