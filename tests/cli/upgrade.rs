//! Pending requests that an older version filed are judged by the rules of this version.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use access::domain::event::{Draft, Event};
use access::store::{Context, Error, Store};
use serde_json::{Value, json};

use crate::harness::{World, shows};
use crate::post::{Server, configure, smtp, webhook};

/// A database of version 3 of the schema. bob has connection:dev-1 (request 1) and target:orders-db (3) until 13:00, and
/// asks for four more hours of each (2, 4), and for connection:prod-aws (5). A rule demands an approval of group:finance,
/// which is mia, for more than four hours. That version did not count 1 with 2, nor 3 with 4, so it did not notify her.
fn before() -> World {
    let world = World::empty();
    assert!(world.sqlite(include_str!("../fixtures/database-v3-pending.sql")).status.success());
    fs::set_permissions(world.db(), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(world.rows("PRAGMA user_version"), ["3"]);
    world
}

fn upgrade(world: &World) -> Option<Value> {
    let ran = world.run("olivia", &["doctor", "--json"]);
    let findings: Value = ran.json();
    findings.as_array().unwrap().iter().find(|finding| finding["what"] == "upgrade").cloned()
}

/// Of each request that was judged again: its number, and who was told.
fn rejudged(world: &World) -> Vec<String> {
    world.rows("SELECT request || ' ' || ifnull(body ->> '$.told', '[]') FROM event WHERE action = 'request.rejudged'")
}

#[test]
fn who_may_decide_since_an_upgrade_is_notified_once() {
    let world = before();
    let found = upgrade(&world).unwrap();
    let says = "filed before an upgrade: request 2 now also needs mia, request 4 now also needs mia";
    shows(&found, &json!({ "health": "warning", "found": says }));
    assert_eq!(world.unread("mia"), [""; 0]);
    assert_eq!(world.json("root", &["expire", "--dry-run"])["rejudged"], 3);

    let ran = world.run("root", &["expire"]).ok();
    assert!(ran.out.contains("3 from before the upgrade judged again"), "{ran:?}");
    let told = "[[\"mia\",\"request.submitted\"]]";
    assert_eq!(rejudged(&world), [format!("2 {told}"), format!("4 {told}"), "5 []".to_owned()]);
    assert_eq!(world.unread("mia"), ["request.submitted"; 2]);
    let inbox = world.json("mia", &["inbox"]);
    assert!(
        inbox[0]["text"].as_str().unwrap().contains("Request 4 of bob (target:orders-db) was filed before an upgrade")
    );
    assert_eq!(world.unread("dave").iter().filter(|event| *event == "request.submitted").count(), 3, "as before");

    // Once, though the team changes and other people may decide.
    assert_eq!(world.run("root", &["expire"]).ok().out, "");
    let team = world.run("olivia", &["team", "show"]).ok().out;
    assert_eq!(team.matches("members = [\"mia\"]").count(), 1);
    world.apply("olivia", &team.replace("members = [\"mia\"]", "members = [\"mia\", \"erin\", \"dave\"]")).ok();
    world.pass("1m");
    world.run("root", &["expire"]).ok();
    assert_eq!(rejudged(&world).len(), 3);
    // What is filed from now on is not judged again.
    world.request("dave", "connection:dev-1", &[]);
    assert_eq!(world.json("root", &["expire"])["rejudged"], 0);
    assert!(upgrade(&world).is_some(), "still to be known while the requests wait");
    world.run("mia", &["approve", "2"]).ok();
    world.run("mia", &["deny", "4", "--reason", "no"]).ok();
    assert_eq!(upgrade(&world), None);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_reminder_that_is_due_is_the_notification() {
    let world = before();
    world.set_clock("2026-11-24T13:00:00Z");
    world.run("root", &["expire"]).ok();
    assert_eq!(rejudged(&world), ["2 [[\"mia\",\"request.submitted\"]]", "4 []", "5 []"]);
    // By now bob's hour of connection:prod-aws follows four hours of its target, so request 5 is hers too.
    assert_eq!(world.unread("mia"), ["request.reminder", "request.reminder", "request.submitted"]);
    assert_eq!(world.rows("SELECT count(remind_at) FROM request WHERE state = 'pending'"), ["0"]);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_reminder_that_comes_later_still_comes() {
    let world = before();
    world.run("root", &["expire"]).ok();
    world.set_clock("2026-11-24T13:00:00Z");
    assert_eq!(world.json("root", &["expire"])["reminded"], 2);
    assert_eq!(world.unread("mia"), ["request.submitted", "request.submitted", "request.reminder", "request.reminder"]);
}

/// Writes an event as it is, without asking any rule.
fn forge(world: &World, actor: Option<&str>, event: Event) {
    let store = Store::open(&world.db()).unwrap();
    let actor = actor.map(|actor| actor.parse().unwrap());
    let context = Context { now: world.now(), actor, os_user: "root".to_owned() };
    let drafts = vec![Draft { event, recipients: Vec::new() }];
    store.write(|write| -> Result<(), Error> { write.record(&context, drafts) }).unwrap();
    store.close();
}

#[test]
fn audit_verify_finds_forged_voids_and_judgements() {
    let again = |id: i64| Event::RequestRejudged { request: id.try_into().unwrap() };
    let void = |id: i64, voids: &[&str]| Event::ApprovalsVoided {
        request: id.try_into().unwrap(),
        voids: voids.iter().map(|name| name.parse().unwrap()).collect(),
        gained: "target:x".to_owned(),
    };
    let owed = "which was not due";
    let none = "it voids an approval of request 4 that does not exist";
    // Of requests 4 and 5, which are pending, dave approved 4; request 6 was filed in format 2.
    for (actor, event, says) in [
        (None, again(5), ""),
        (None, again(6), owed),
        (None, again(1), "request 1 is decided, which was not pending"),
        (Some("olivia"), void(4, &["dave"]), ""),
        (None, void(4, &["dave"]), "approvals of request 4 are voided by nobody"),
        (Some("olivia"), void(4, &[]), ""),
        (Some("olivia"), void(4, &["mia"]), none),
        (Some("olivia"), void(1, &["alice"]), "request 1 is decided, which was not pending"),
    ] {
        let world = before();
        world.run("dave", &["approve", "4"]).ok();
        world.request("mia", "connection:dev-1", &[]);
        forge(&world, actor, event.clone());
        let ran = world.run("olivia", &["audit", "verify"]);
        if says.is_empty() {
            ran.ok();
        } else {
            assert!(ran.code != 0 && ran.out.contains(says) || ran.err.contains(says), "{says}: {ran:?}");
        }
    }
    let world = before();
    world.run("root", &["expire"]).ok();
    forge(&world, None, again(5));
    let ran = world.run("olivia", &["audit", "verify"]);
    assert!(ran.code != 0 && format!("{}{}", ran.out, ran.err).contains(owed), "{ran:?}");
}

/// A database of this version of the schema: the fixture of version 1 or 3, and the migrations up to it.
fn of_version(version: usize) -> World {
    let world = World::empty();
    let fixture = match version {
        1 | 2 => include_str!("../fixtures/database-v1.sql"),
        _ => include_str!("../fixtures/database-v3.sql"),
    };
    assert!(world.sqlite(fixture).status.success());
    if version == 2 {
        let connection = rusqlite::Connection::open(world.db()).unwrap();
        connection.execute_batch(include_str!("../../src/store/schema-2.sql")).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
    }
    fs::set_permissions(world.db(), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(world.rows("PRAGMA user_version"), [version.to_string()]);
    world
}

#[test]
fn what_waits_to_be_sent_is_kept_by_every_upgrade() {
    for (version, attempts) in [(1, "0, NULL, 0"), (2, "0, NULL, 0"), (3, "attempts, error, dead")] {
        let world = of_version(version);
        if version == 3 {
            world.rows("UPDATE outbox SET attempts = id % 4, error = 'it failed', dead = id % 5 = 0 WHERE id > 10");
            world.rows(
                "INSERT INTO outbox (channel, seq, kind, due_at, attempts, error)
                 VALUES ('slack:#ops', 12, 'request.withdrawn', 1, 0, NULL), ('webhook:siem', 12, 'audit', 2, 3, 'gone')",
            );
            world.rows(r##"UPDATE team SET streams = '{"slack:#ops":20,"webhook:siem":12}'"##);
        }
        let (seq, kind) =
            if version == 3 { ("coalesce(o.seq, n.seq)", "coalesce(o.kind, n.kind)") } else { ("n.seq", "n.kind") };
        let before = world.rows(&format!(
            "SELECT o.id, channel, {seq}, {kind}, notification, n.member, due_at, {attempts}
             FROM outbox o LEFT JOIN notification n ON n.id = notification ORDER BY o.id"
        ));
        let addresses = world.rows("SELECT name, ifnull(email, ''), ifnull(slack, '') FROM member");
        assert!(before.len() >= 8 && addresses.len() >= 5, "{before:?}");

        world.run("root", &["outbox"]).ok();
        assert_eq!(world.rows("PRAGMA user_version"), ["4"]);
        let after = world.rows(
            "SELECT o.id, subscriber, o.seq, topic, notification, n.member, due_at, attempts, error, dead
             FROM outbox o LEFT JOIN notification n ON n.id = notification ORDER BY o.id",
        );
        assert_eq!(after, before, "version {version}");
        let kept = "SELECT name, ifnull(addresses ->> 'email', ''), ifnull(addresses ->> 'slack', '') FROM member";
        assert_eq!(world.rows(kept), addresses, "version {version}");
        let positions: &[&str] = if version == 3 { &["slack:#ops|20", "webhook:siem|12"] } else { &[] };
        assert_eq!(world.rows("SELECT name, seq FROM subscriber"), positions);
    }
}

#[test]
fn nothing_is_sent_twice_or_lost_by_an_upgrade() {
    let world = of_version(3);
    // siem has been given the log up to entry 15, and still waits for entry 12.
    world
        .rows("DELETE FROM outbox WHERE notification NOT IN (SELECT id FROM notification WHERE kind = 'team.changed')");
    world.rows("DELETE FROM outbox WHERE channel = 'slack'");
    world.rows("INSERT INTO outbox (channel, seq, kind, due_at) VALUES ('webhook:siem', 12, 'audit', 0)");
    world.rows(r##"UPDATE team SET streams = '{"webhook:siem":15}'"##);
    let mails =
        "SELECT count(*) FROM outbox o JOIN notification n ON n.id = notification JOIN member m ON m.name = n.member
         WHERE m.since <= n.seq";
    let mails: usize = world.rows(mails)[0].parse().unwrap();
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let url = format!("http://127.0.0.1:{}/siem", web.port);
    configure(&world, &[smtp(mail.port), webhook(&world, "siem", &url, "\"audit\"")].concat());
    for _ in 0..2 {
        world.run("root", &["deliver"]).ok();
        let seqs: Vec<u64> = web.bodies("/siem").iter().map(|body| body["data"]["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, [12, 16, 17, 18, 19, 20, 21, 22]);
        assert!(mails > 0);
        assert_eq!(mail.got().len(), mails);
        assert_eq!(world.rows("SELECT count(*) FROM outbox"), ["0"]);
    }
}

/// A migration would run it, and hold the lock meanwhile.
#[test]
fn an_older_file_that_was_prepared_is_not_upgraded() {
    for (statement, says) in [
        (
            "CREATE TRIGGER evil AFTER UPDATE ON request BEGIN
                 SELECT count(*) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000000000)
                                       SELECT x FROM c); END",
            "the trigger evil is not part of it",
        ),
        ("CREATE INDEX evil ON request (abs(id))", "the index evil is not part of it"),
        ("ALTER TABLE team ADD COLUMN evil TEXT CHECK (evil IS NULL)", "the table team is not the one"),
        ("DROP TRIGGER event_no_update", "the trigger event_no_update is missing"),
    ] {
        let world = before();
        world.rows(statement);
        for args in [&["check", "target:orders-db"][..], &["doctor"], &["audit", "verify"]] {
            let ran = world.run("olivia", args);
            let said = ran.out + &ran.err;
            assert!(said.contains("the database's schema was changed") && said.contains(says), "{says}: {said}");
        }
        assert_eq!(world.rows("PRAGMA user_version"), ["3"], "{says}");
    }
}
