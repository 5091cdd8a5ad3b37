//! A file that somebody wrote to past the program: a schema with something added, dropped or replaced, and indexes that
//! say something other than their tables.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::harness::{TEAM, World};

/// The bytes of an index's root page, and where it begins. (Every index here has one page.)
fn page(world: &World, index: &str) -> (Vec<u8>, u64) {
    let log = fs::metadata(world.folder().join("access.db-wal"));
    assert!(!log.is_ok_and(|log| log.len() > 0), "everything is in the file itself");
    let found = world.rows(&format!("SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND name = '{index}'"));
    let begins = (found[0].parse::<u64>().unwrap() - 1) * 4096;
    let mut bytes = vec![0; 4096];
    fs::File::open(world.db()).unwrap().read_exact_at(&mut bytes, begins).unwrap();
    (bytes, begins)
}

fn write_page(world: &World, bytes: &[u8], begins: u64) {
    OpenOptions::new().write(true).open(world.db()).unwrap().write_all_at(bytes, begins).unwrap();
}

/// Replaces these bytes, which an index has once. The table's rows stay as they are.
fn edit_index(world: &World, index: &str, from: &str, to: &str) {
    let (mut bytes, begins) = page(world, index);
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from.as_bytes())).collect();
    assert_eq!((places.len(), from.len()), (1, to.len()), "{index}");
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
    write_page(world, &bytes, begins);
}

/// Changes rows of a table, and leaves its index as it was before.
fn leave_behind(world: &World, index: &str, statement: &str) {
    let (bytes, begins) = page(world, index);
    world.rows(statement);
    write_page(world, &bytes, begins);
}

/// `verify`, `doctor` and `backup` find it too, with these words.
#[track_caller]
fn is_found_out(world: &World, says: &str) {
    let ran = world.run("olivia", &["audit", "verify", "--json"]).exits(1);
    let faults = ran.json()["faults"].to_string();
    assert!(faults.contains(says), "verify\nexpected: {says}\n{faults}");
    let ran = world.run("root", &["doctor", "--json"]).exits(1);
    let findings = ran.json();
    let structure = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "structure").unwrap();
    assert_eq!(structure["health"], "wrong", "{findings:#}");
    assert!(structure["found"].as_str().unwrap().contains(says), "doctor\nexpected: {says}\n{structure:#}");
    let copy = world.folder().join("copy.db");
    world.run("root", &["backup", copy.to_str().unwrap()]).fails(65, says);
    assert!(!copy.exists());
}

#[test]
fn nobody_is_a_member_by_an_index_of_logins_that_lies() {
    let world = World::sample();
    assert_eq!(world.rows("SELECT login FROM member WHERE name = 'erin'"), ["erin"]);
    // The index has the login and then the name.
    edit_index(&world, "sqlite_autoindex_member_2", "erinerin", "erixerin");
    for args in [
        &["whoami"][..],
        &["list"],
        &["check", "target:orders-db"],
        &["request", "target:orders-db", "--reason", "x"],
        &["inbox"],
    ] {
        world.run("erix", args).fails(65, "the database is damaged: the index of logins disagrees");
    }
    world.run("root", &["check", "target:orders-db", "--login", "erix"]).fails(65, "disagrees with its table");
    is_found_out(&world, "missing from index sqlite_autoindex_member_2");
}

#[test]
fn a_grant_is_nobodys_by_an_index_that_lies() {
    let world = World::sample();
    world.grant("carol", "target:orders-db", "alice", &[]);
    assert!(world.may("carol", "target:orders-db") && !world.may("frank", "target:orders-db"));
    edit_index(&world, "grant_by_member", "carol", "frank");
    for args in [&["check", "target:orders-db"][..], &["whoami"], &["resources", "--mine"]] {
        world.run("frank", args).fails(65, "the index grant_by_member disagrees with its table");
    }
    is_found_out(&world, "missing from index grant_by_member");
}

#[test]
fn a_grant_that_has_ended_does_not_live_on_in_an_index() {
    let world = World::sample();
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent"]);
    let (before, begins) = page(&world, "grant_by_member");
    world.run("alice", &["revoke", &id]).ok();
    assert!(!world.may("bob", "target:orders-db"));
    write_page(&world, &before, begins);
    world.run("bob", &["check", "target:orders-db"]).fails(65, "the index grant_by_member disagrees");
    is_found_out(&world, "grant_by_member");
}

/// Each index that decides something, behind its table; and a command that would have believed it.
#[test]
fn nothing_is_decided_by_an_index_that_is_behind_its_table() {
    let cases: [(&str, &str, &str, &[&str]); 9] = [
        (
            "request_pending_by_requester",
            "UPDATE request SET requester = 'dave' WHERE id = 1",
            "carol",
            &["request", "target:orders-db", "--reason", "x"],
        ),
        ("request_pending", "UPDATE request SET state = 'withdrawn' WHERE id = 1", "root", &["expire"]),
        ("grant_by_end", "UPDATE grant SET ends_at = ends_at + 9999999 WHERE request = 2", "root", &["expire"]),
        ("grant_by_end", "UPDATE grant SET ended_at = 1 WHERE request = 2", "root", &["expire"]),
        ("grant_to_begin", "UPDATE grant SET begun = 1 WHERE request = 3", "root", &["expire"]),
        (
            "grant_by_member",
            "UPDATE grant SET member = 'dave' WHERE request = 2",
            "bob",
            &["check", "target:billing-db"],
        ),
        ("request_extension", "UPDATE request SET extends = NULL WHERE id = 4", "alice", &["show", "2"]),
        (
            "notification_by_member",
            "UPDATE notification SET member = 'frank' WHERE member = 'alice'",
            "alice",
            &["inbox", "--all"],
        ),
        ("notification_unread", "UPDATE notification SET member = 'frank' WHERE member = 'alice'", "alice", &["inbox"]),
    ];
    let world = World::of("olivia", TEAM);
    world.request("carol", "target:orders-db", &[]);
    let held = world.grant("bob", "target:billing-db", "alice", &["--duration", "1d"]);
    world.request("grace", "target:orders-db", &["--start", "2026-11-26T09:00:00Z"]);
    world.run("alice", &["approve", "3"]).ok();
    world.run("bob", &["extend", &held, "--duration", "1h", "--reason", "more"]).ok();
    world.request("erin", "target:orders-db", &["--for", "ivan"]);
    let whole = fs::read(world.db()).unwrap();
    let begun = world.now().to_string();
    for (index, statement, login, args) in cases {
        fs::write(world.db(), &whole).unwrap();
        world.set_clock(&begun);
        leave_behind(&world, index, statement);
        if login == "root" {
            world.pass("8d");
        }
        let before = world.rows("SELECT count(*) FROM event");
        let ran = world.run(login, args);
        assert_eq!(ran.code, 65, "{index} after {statement}: {ran:?}");
        assert!(ran.err.contains("disagrees with its table"), "{index} after {statement}: {ran:?}");
        assert_eq!(world.rows("SELECT count(*) FROM event"), before, "nothing is recorded by it");
        is_found_out(&world, index);
    }
    // Whose a request is, is read from its row: an index only finds candidates.
    fs::write(world.db(), &whole).unwrap();
    world.set_clock(&begun);
    world.run("erin", &["list", "--mine", "--all"]).ok().says("ivan");
    leave_behind(&world, "request_by_filer", "UPDATE request SET filed_by = 'dave', filer_login = 'dave' WHERE id = 5");
    assert!(!world.run("erin", &["list", "--mine", "--all"]).ok().out.contains("ivan"));
    is_found_out(&world, "request_by_filer");
}

#[test]
fn an_index_of_the_log_that_lies_is_found_out() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    let guards = world.rows("SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'").join("\n");
    let set = |request: u32| {
        world.rows(&format!(
            "BEGIN; DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete;
             UPDATE event SET request = {request} WHERE seq = 2; {guards} COMMIT;"
        ));
    };
    set(2);
    let (lies, begins) = page(&world, "event_by_request");
    set(1);
    world.run("olivia", &["audit", "verify"]).ok();
    write_page(&world, &lies, begins);
    world.run("alice", &["show", "2"]).fails(65, "the index event_by_request disagrees with its table");
    world.run("alice", &["audit", "--request", "2"]).exits(65);
    is_found_out(&world, "event_by_request");
}

/// Nothing that writes does so, with these words, and nothing has changed.
#[track_caller]
fn writes_nothing(world: &World, says: &str) {
    let state = "SELECT (SELECT group_concat(name || role) FROM member), (SELECT count(*) FROM event),
         (SELECT count(*) FROM request)";
    let before = world.rows(state);
    for (login, args) in [
        ("bob", &["request", "target:orders-db", "--reason", "x"][..]),
        ("alice", &["approve", "1"]),
        ("alice", &["deny", "1"]),
        ("carol", &["withdraw", "1"]),
        ("carol", &["inbox", "--mark-read"]),
        ("carol", &["notify", "mute", "request.withdrawn"]),
        ("olivia", &["doctor", "--accept-clock"]),
        ("root", &["expire"]),
        ("root", &["outbox", "retry"]),
    ] {
        let ran = world.run(login, args).exits(65);
        assert!(ran.err.contains("the database's schema was changed") && ran.err.contains(says), "{says}\n{ran:?}");
    }
    assert_eq!(world.rows(state), before, "{says}");
}

#[test]
fn a_schema_that_access_did_not_make_is_found_out_and_not_written_to() {
    let world = World::sample();
    world.request("carol", "target:orders-db", &[]);
    let whole = fs::read(world.db()).unwrap();
    for (statement, says) in [
        (
            "CREATE TRIGGER promote AFTER INSERT ON request BEGIN UPDATE member SET role = 'admin'; END",
            "the trigger promote is not part of it",
        ),
        ("DROP TRIGGER event_no_update", "the trigger event_no_update is missing"),
        ("DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete", "the trigger event_no_delete is missing"),
        (
            "DROP TRIGGER event_no_update; CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT 1; END",
            "the trigger event_no_update is not the one that access makes",
        ),
        ("CREATE TABLE mine (x)", "the table mine is not part of it"),
        ("CREATE INDEX mine ON event (at)", "the index mine is not part of it"),
        ("DROP INDEX grant_by_member", "the index grant_by_member is missing"),
        ("ALTER TABLE member ADD COLUMN shoe TEXT", "the table member is not the one that access makes"),
        ("CREATE VIRTUAL TABLE mine USING fts5 (x)", "the table mine is not part of it"),
    ] {
        fs::write(world.db(), &whole).unwrap();
        world.rows(statement);
        writes_nothing(&world, says);
        is_found_out(&world, says);
        assert!(!world.may("bob", "target:orders-db"), "reading goes on: {statement}");
    }
    fs::write(world.db(), &whole).unwrap();
    world.run("alice", &["approve", "1"]).ok();
}

#[test]
fn what_was_put_into_the_schema_is_not_evaluated_to_check_the_file() {
    let world = World::sample();
    world.run("bob", &["inbox", "--mark-read"]).ok();
    world.rows(
        "ALTER TABLE read_mark RENAME TO it; CREATE TABLE read_mark AS SELECT * FROM it; DROP TABLE it;
         ALTER TABLE read_mark ADD COLUMN mine CHECK (mine IS NOT NULL)",
    );
    let faults = |world: &World| world.run("olivia", &["audit", "verify", "--json"]).json()["faults"].to_string();
    assert!(faults(&world).contains("the table read_mark is not the one that access makes"), "{}", faults(&world));
    assert!(!faults(&world).contains("CHECK"), "{}", faults(&world));
    world.run("root", &["backup", "copy.db"]).fails(65, "schema was changed");
}

#[test]
fn a_view_in_a_tables_place_is_not_read() {
    let world = World::sample();
    world.rows(
        "ALTER TABLE member RENAME TO true_member;
         CREATE VIEW member AS SELECT name, CASE name WHEN 'bob' THEN 'owner' ELSE role END AS role, login, timezone,
             disabled, since, preference, addresses FROM true_member",
    );
    for args in [
        &["whoami"][..],
        &["check", "target:orders-db"],
        &["audit", "verify"],
        &["request", "target:orders-db", "--reason", "x"],
    ] {
        world.run("bob", args).fails(65, "the database's schema was changed");
    }
    let ran = world.run("root", &["doctor", "--json"]).exits(1);
    assert!(ran.out.contains("the database's schema was changed"), "{}", ran.out);
    world.run("root", &["backup", "copy.db"]).fails(65, "schema was changed");
    world.rows("DROP VIEW member");
    world.run("bob", &["check", "target:orders-db"]).fails(65, "the database's schema was changed");
}

#[test]
fn an_index_of_actions_or_actors_that_lies_is_found_out() {
    let world = World::sample();
    world.request("carol", "target:orders-db", &[]);
    // Words of the same length and in the same place in order, so that the page stays as it is.
    edit_index(&world, "event_by_actor", "carol", "heidi");
    world.run("erin", &["audit", "--actor", "heidi"]).fails(65, "the index event_by_actor disagrees with its table");
    edit_index(&world, "event_by_actor", "heidi", "carol");
    world.run("alice", &["deny", "1", "--reason", "no", "--yes"]).ok();
    edit_index(&world, "event_by_action", "request.denied", "clock.accepted");
    for args in [&["--action", "clock.accepted"][..], &["--since", "09:00"]] {
        world.run("erin", &[&["audit"], args].concat()).fails(65, "the index event_by_action disagrees with its table");
    }
    is_found_out(&world, "event_by_action");
}
