//! `audit verify` finds what was written into the file by another program, wherever it is.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use access::domain::audit::LogPlace;
use access::domain::event::{ACTIONS, Entry, Event};
use access::domain::replay::Model;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Ran, TEAM, World, shows};

/// Entries: 1 the team; 2-4 bob's request 1, approved by alice, started; 5-6 carol's request 2, denied by erin; 7 dave's
/// request 3; 8-11 frank's request 4, approved by erin, started, revoked; 12 bob refused.
fn history() -> World {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.request("carol", "target:billing-db", &[]);
    world.run("erin", &["deny", "2", "--reason", "Use the replica"]).ok();
    world.request("dave", "target:orders-db", &[]);
    world.grant("frank", "feature:cost-explorer", "erin", &[]);
    world.run("frank", &["revoke", "4"]).ok();
    world.run("bob", &["audit"]).exits(3);
    world
}

/// Does this to the file as one who can write it would: the guards taken off, and put back.
fn tamper(world: &World, statements: &str) {
    let guards = world.rows("SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'").join("\n");
    world.rows(&format!(
        "BEGIN; DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete; {statements}; {guards} COMMIT;"
    ));
}

fn verify(world: &World) -> Ran {
    world.run("olivia", &["audit", "verify", "--json"])
}

/// What `verify` finds, each as `entry N: …` or the row it names.
pub fn faults(world: &World) -> Vec<String> {
    let ran = verify(world);
    let proof = ran.json();
    let faults = proof["faults"].as_array().unwrap();
    assert_eq!(proof["ok"], faults.is_empty());
    assert_eq!(ran.code, i32::from(!faults.is_empty()), "{ran:?}");
    let told = |fault: &Value| match fault["seq"].as_i64() {
        Some(seq) => format!("entry {seq}: {}", fault["problem"].as_str().unwrap()),
        None => fault["problem"].as_str().unwrap().to_owned(),
    };
    faults.iter().map(told).collect()
}

/// Each way of tampering, on a file that was whole, and a fault that must be among those found.
#[track_caller]
fn found(cases: &[(&str, &str)]) {
    let world = history();
    assert_eq!(faults(&world), [""; 0]);
    let whole = std::fs::read(world.db()).unwrap();
    for (statements, expected) in cases {
        tamper(&world, statements);
        let faults = faults(&world);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{statements}\nexpected: {expected}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn an_honest_log_is_whole_and_its_head_can_be_compared() {
    let world = history();
    let last = |world: &World| world.rows("SELECT lower(hex(hash)) FROM event ORDER BY seq DESC LIMIT 1")[0].clone();
    let head = last(&world);
    shows(&verify(&world).ok().json(), &json!({ "ok": true, "entries": 12, "head": head, "faults": [] }));
    world.run("olivia", &["audit", "verify"]).ok().says("12 entries");
    let checkpoint = world.json("alice", &["audit", "checkpoint"]);
    // The first one made a key.
    shows(&checkpoint, &json!({ "team": "acme", "seq": 13, "head": last(&world), "at": "2026-11-24T09:00:00Z" }));
}

#[test]
fn an_edited_entry_is_named() {
    let hash = "its hash does not follow";
    found(&[
        ("UPDATE event SET body = replace(body, 'testing', 'urgency') WHERE seq = 2", &format!("entry 2: {hash}")),
        (
            "UPDATE event SET body = replace(body, 'T09:00:00Z', 'T08:00:00Z') WHERE seq = 6",
            &format!("entry 6: {hash}"),
        ),
        // One space, which changes nothing that it says.
        ("UPDATE event SET body = ' ' || body WHERE seq = 4", &format!("entry 4: {hash}")),
        ("UPDATE event SET hash = zeroblob(32) WHERE seq = 5", &format!("entry 5: {hash}")),
        // Where the last is its own end, too.
        ("UPDATE event SET hash = zeroblob(32) WHERE seq = 12", &format!("entry 12: {hash}")),
        ("UPDATE event SET at = at + 60 WHERE seq = 3", "entry 3: its column at is not what was recorded"),
        ("UPDATE event SET actor = 'erin' WHERE seq = 3", "entry 3: its column actor"),
        ("UPDATE event SET actor = NULL WHERE seq = 12", "entry 12: its column actor"),
        ("UPDATE event SET os_user = 'erin' WHERE seq = 3", "entry 3: its column os_user"),
        ("UPDATE event SET action = 'request.denied' WHERE seq = 3", "entry 3: its column action"),
        ("UPDATE event SET request = 2 WHERE seq = 3", "entry 3: its column request"),
        ("UPDATE event SET request = NULL WHERE seq = 3", "entry 3: its column request"),
        ("UPDATE event SET body = replace(body, '\"owner\"', '\"king\"') WHERE seq = 1", "entry 1: it can't be read"),
    ]);
}

/// Of such bytes two readers may read two things.
#[test]
fn an_entry_that_is_not_written_as_the_program_writes_it_is_named() {
    let world = history();
    let whole = bodies(&world);
    let dave = "\"what\":\"member:dave\",\"from\":null,\"to\":{";
    for (seq, from, to) in [
        (2, "{\"v\":2,\"seq\":2,", "{\"seq\":2,\"v\":2,"),
        (2, "{\"v\":2,", "{\"v\":2,\"w\":1,"),
        (2, "{\"v\":2,", "{ \"v\":2,"),
        (2, "\"testing\"", "\"\\u0074esting\""),
        (2, "\"reason\":", "\"ticket\":null,\"reason\":"),
        (2, "\"reason\":", "\"changes\":[],\"reason\":"),
        (3, "\"event\":{", "\"event\":{\"because\":\"asked\","),
        (1, dave, &format!("{dave}\"role\":\"owner\",")),
        (1, dave, &format!("{dave}\"shoe\":7,")),
    ] {
        let mut all = whole.clone();
        all[seq - 1] = all[seq - 1].replacen(from, to, 1);
        assert_ne!(all, whole, "{from}");
        forge(&world, &all, "");
        let found = faults(&world);
        assert_eq!(found, [format!("entry {seq}: it is not written as the program writes it")], "{to}");
    }
}

#[test]
fn a_missing_added_or_moved_entry_is_named() {
    found(&[
        ("DELETE FROM event WHERE seq = 6", "entry 6: it is missing"),
        ("DELETE FROM event WHERE seq = 1", "entry 1: it is missing"),
        // The last: an act, and an attempt that no table reflects.
        ("DELETE FROM event WHERE seq >= 11", "entry 12: the log ends at entry 10"),
        ("DELETE FROM event WHERE seq = 12", "entry 12: the log ends at entry 11"),
        // The same with the numbers closed up again.
        (
            "DELETE FROM event WHERE seq = 6; UPDATE event SET seq = seq - 1 WHERE seq > 6; UPDATE team SET last_seq = 11",
            "entry 6: its hash does not follow",
        ),
        (
            "UPDATE event SET seq = 99 WHERE seq = 5; UPDATE event SET seq = 5 WHERE seq = 7;
             UPDATE event SET seq = 7 WHERE seq = 99",
            "entry 5: its hash does not follow",
        ),
        (
            "INSERT INTO event SELECT 13, at, actor, os_user, action, request, hash, body FROM event WHERE seq = 12;
             UPDATE team SET last_seq = 13",
            "entry 13: its hash does not follow",
        ),
        ("UPDATE team SET last_seq = 11", "entry 12: the log ends at entry 12, and the tables say at 11"),
    ]);
}

#[test]
fn a_row_that_no_entry_explains_is_named() {
    found(&[
        (
            "INSERT INTO grant (request, member, resource, modified, starts_at, ends_at)
             SELECT 3, 'dave', 'target:orders-db', 0, submitted_at, NULL FROM request WHERE id = 3",
            "grant 3 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO request (id, state, requester, filed_by, resource, reason, submitted_at, lapses_at)
             SELECT 9, 'pending', 'dave', 'dave', 'role:admin', 'x', submitted_at, lapses_at FROM request WHERE id = 1",
            "request 9 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO decision SELECT 3, 7, 'alice', 'approve', at, NULL, NULL, 1, NULL FROM decision WHERE seq = 3",
            "the decision of entry 7 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO notification VALUES (999, 7, 'bob', 'request.approved', NULL)",
            "notification 999 is in its table",
        ),
        (
            "INSERT INTO membership VALUES ('dave', 'backend')",
            "the memberships of groups are not as they were recorded",
        ),
        (
            "INSERT INTO assignment VALUES ('member:dave', 'orders-read')",
            "the assignments of scopes are not as they were recorded",
        ),
        (
            "INSERT INTO member (name, role, login, disabled, since) VALUES ('mallory', 'admin', 'mallory', 0, 1)",
            "member:mallory is not as it was recorded",
        ),
        ("INSERT INTO catalogue VALUES ('feature', 'door', '{\"role\":\"viewer\"}')", "feature:door is not as it was"),
    ]);
}

#[test]
fn a_row_that_was_changed_is_named() {
    found(&[
        ("UPDATE event SET action = 'entry.void' WHERE seq = 6", "its row says that it is void, and it is not"),
        ("UPDATE event SET action = 'entry.void', at = at + 60 WHERE seq = 6", "entry 6: its column at"),
        ("UPDATE request SET reason = 'urgency' WHERE id = 1", "request 1 is not as it was recorded"),
        ("UPDATE request SET state = 'denied' WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET state = 'pending' WHERE id = 2", "request 2 is not as it was recorded"),
        ("UPDATE request SET requester = 'heidi' WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET lapses_at = lapses_at + 1 WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET seq = 1 WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET seq = NULL WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET requester_login = 'heidi' WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE request SET filer_login = NULL WHERE id = 3", "request 3 is not as it was recorded"),
        ("UPDATE decision SET verdict = 'approve' WHERE seq = 6", "the decision of entry 6 is not as it was recorded"),
        ("UPDATE decision SET note = NULL WHERE seq = 6", "the decision of entry 6 is not as it was recorded"),
        ("UPDATE grant SET ends_at = ends_at + 3600 WHERE request = 1", "grant 1 is not as it was recorded"),
        ("UPDATE grant SET ends_at = NULL, length = NULL WHERE request = 1", "grant 1 is not as it was recorded"),
        ("UPDATE grant SET resource = 'role:admin' WHERE request = 1", "grant 1 is not as it was recorded"),
        ("UPDATE grant SET warned = 1 WHERE request = 1", "grant 1 is not as it was recorded"),
        ("UPDATE grant SET ended_at = NULL, ended_by = NULL WHERE request = 4", "grant 4 is not as it was recorded"),
        ("UPDATE grant SET ended_by = NULL WHERE request = 4", "grant 4 is not as it was recorded"),
        ("UPDATE member SET role = 'admin' WHERE name = 'bob'", "member:bob is not as it was recorded"),
        ("UPDATE member SET login = 'mallory' WHERE name = 'alice'", "member:alice is not as it was recorded"),
        ("UPDATE member SET since = 2 WHERE name = 'bob'", "the entries that brought the members"),
        ("UPDATE team SET name = 'other'", "team is not as it was recorded"),
        (
            "UPDATE catalogue SET body = '{\"role\":\"viewer\"}' WHERE name = 'export-customers'",
            "feature:export-customers is not as it was recorded",
        ),
        (
            "UPDATE catalogue SET body = replace(body, 'orders-db', 'billing-db') WHERE name = 'orders-read'",
            "scope:orders-read is not as it was recorded",
        ),
        ("UPDATE notification SET member = 'heidi' WHERE id = 1", "notification 1 is not as it was recorded"),
    ]);
}

#[test]
fn a_row_that_is_gone_is_named() {
    found(&[
        (
            "DELETE FROM notification WHERE member = 'bob' AND kind = 'request.approved'",
            "notification 4 is on the record and not in its table",
        ),
        ("DELETE FROM grant WHERE request = 1", "grant 1 is on the record and not in its table"),
        ("DELETE FROM decision WHERE seq = 6", "the decision of entry 6 is on the record and not in its table"),
        ("DELETE FROM request WHERE id = 3", "request 3 is on the record and not in its table"),
        ("DELETE FROM member WHERE name = 'heidi'", "member:heidi is not as it was recorded"),
        ("DELETE FROM catalogue WHERE name = 'deploy'", "feature:deploy is not as it was recorded"),
        ("DELETE FROM membership WHERE member = 'bob'", "the memberships of groups"),
        ("DELETE FROM assignment WHERE scope = 'kubernetes'", "the assignments of scopes"),
    ]);
}

#[test]
fn a_value_that_can_not_be_read_is_a_fault_and_not_the_end_of_the_proof() {
    found(&[
        ("UPDATE member SET role = 'king' WHERE name = 'bob'", "the team can't be read"),
        ("UPDATE request SET resource = 'castle:north' WHERE id = 3", "request 3 can't be read"),
        ("UPDATE decision SET verdict = 'maybe' WHERE seq = 6", "the decision of entry 6 can't be read"),
        ("UPDATE grant SET until = ends_at WHERE request = 1", "grant 1 can't be read"),
        ("UPDATE grant SET starts_at = -1 WHERE request = 1", "grant 1 can't be read"),
        ("UPDATE notification SET kind = 'rumour' WHERE id = 1", "notification 1 can't be read"),
        ("UPDATE catalogue SET body = 'nonsense' WHERE name = 'deploy'", "the team can't be read"),
        // Not even text, and not even a hash.
        ("UPDATE event SET os_user = CAST(x'ff' AS TEXT) WHERE seq = 3", "entry 3: its column os_user"),
        ("UPDATE event SET actor = CAST(x'ff' AS TEXT) WHERE seq = 3", "entry 3: its column actor"),
        ("UPDATE event SET body = CAST(x'ff' AS TEXT) WHERE seq = 3", "entry 3: it can't be read"),
        ("PRAGMA ignore_check_constraints = ON; UPDATE event SET hash = x'00' WHERE seq = 3", "entry 3: its hash"),
        ("UPDATE event SET at = -1 WHERE seq = 3", "entry 3: its column at"),
        ("DELETE FROM team", "the team can't be read"),
        // And another fault beside it is still found.
        (
            "UPDATE member SET role = 'king' WHERE name = 'bob'; UPDATE grant SET ends_at = NULL WHERE request = 1",
            "grant 1 is not as it was recorded",
        ),
    ]);
}

#[test]
fn read_marks_and_what_waits_to_be_sent_are_no_record() {
    let world = history();
    world.run("bob", &["inbox", "--mark-read"]).ok();
    tamper(&world, "DELETE FROM outbox; UPDATE team SET expire_ran_at = 1");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn people_are_told_in_a_sentence_which_entry_it_is() {
    let world = history();
    tamper(&world, "UPDATE event SET body = replace(body, 'testing', 'urgency') WHERE seq = 2");
    let ran = world.run("olivia", &["audit", "verify"]).exits(1);
    assert!(ran.out.contains("entry 2"), "{ran:?}");
    assert!(ran.out.contains("request 1 is not as it was recorded"), "{ran:?}");
}

#[test]
fn one_entry_and_one_fault_are_singular() {
    let world = World::sample();
    world.run("olivia", &["audit", "verify"]).ok().says("ok: 1 entry, whole; the tables agree with it\n");
    world.run("root", &["doctor"]).ok().says("1 entry, whole, and the tables agree with the log");
    tamper(&world, "UPDATE member SET role = 'admin' WHERE name = 'bob'");
    let ran = world.run("olivia", &["audit", "verify"]).exits(1);
    assert!(ran.out.ends_with("not ok: 1 fault in 1 entry\n"), "{ran:?}");
}

#[test]
fn only_admins_prove_the_record_or_take_a_checkpoint() {
    let world = history();
    for verb in ["verify", "checkpoint"] {
        for login in ["alice", "olivia"] {
            world.run(login, &["audit", verb]).ok();
        }
        for login in ["bob", "heidi", "stranger"] {
            world.run(login, &["audit", verb]).exits(3);
        }
    }
}

// The whole log rewritten

/// The bodies of the log, oldest first.
pub fn bodies(world: &World) -> Vec<String> {
    world.rows("SELECT body FROM event ORDER BY seq")
}

/// Puts these bodies in the log's place, with every hash that follows from them, and does the rest to the tables.
pub fn forge(world: &World, bodies: &[String], rest: &str) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut statements = "DELETE FROM event;".to_owned();
    let mut hash = [0u8; 32];
    for body in bodies {
        hash = Sha256::new().chain_update(hash).chain_update(body).finalize().into();
        statements += &format!(
            "INSERT INTO event
             SELECT body ->> '$.seq', unixepoch(body ->> '$.at'), body ->> '$.actor', body ->> '$.os_user',
                 body ->> '$.event.action',
                 coalesce(body ->> '$.event.detail.request', body ->> '$.event.detail.held.grant.request'), x'{}', body
             FROM (SELECT CAST(x'{}' AS TEXT) AS body);",
            hex(&hash),
            hex(body.as_bytes())
        );
    }
    tamper(world, &(statements + rest));
}

/// Adds this entry to the end of the log, and nothing to the tables.
pub fn append(world: &World, body: &str) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let last = world.rows("SELECT hex(hash) FROM event ORDER BY seq DESC LIMIT 1")[0].clone();
    let pairs = last.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let last: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let hash = Sha256::new().chain_update(last).chain_update(body).finalize();
    world.rows(&format!(
        "INSERT INTO event
         SELECT body ->> '$.seq', unixepoch(body ->> '$.at'), body ->> '$.actor', body ->> '$.os_user',
             body ->> '$.event.action', body ->> '$.event.detail.request', x'{}', body
         FROM (SELECT CAST(x'{}' AS TEXT) AS body);
         UPDATE team SET last_seq = last_seq + 1",
        hex(&hash),
        hex(body.as_bytes())
    ));
}

fn keep(world: &World, checkpoints: &[&str]) -> String {
    let path = world.folder().join("checkpoints");
    std::fs::write(&path, checkpoints.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn checkpoint(world: &World) -> String {
    world.run("alice", &["audit", "checkpoint", "--json"]).ok().out.trim().to_owned()
}

#[test]
fn a_log_rewritten_from_end_to_end_is_found_by_a_checkpoint_kept_elsewhere() {
    let world = history();
    let early = checkpoint(&world);
    world.run("alice", &["deny", "3"]).ok();
    let mut bodies = bodies(&world);
    bodies[1] = bodies[1].replace("testing", "urgency");
    forge(&world, &bodies, "UPDATE request SET reason = 'urgency' WHERE id = 1");
    world.run("olivia", &["audit", "verify"]).ok();
    let kept = keep(&world, &[&early]);
    let ran = world.run("olivia", &["audit", "verify", "--against", &kept, "--json"]).exits(1);
    let fault =
        json!({ "seq": 13, "problem": "it is not the entry that the checkpoint of 2026-11-24T09:00:00Z was taken at" });
    let signed = json!({ "seq": 13, "problem": "the log is not the one of the signed checkpoint of 13 entries" });
    shows(&ran.json(), &json!({ "ok": false, "faults": [fault, signed] }));
    // What is rewritten after a checkpoint only a later one shows.
    let late = keep(&world, &[&checkpoint(&world)]);
    world.run("olivia", &["audit", "verify", "--against", &late]).ok();
}

#[test]
fn a_log_put_back_to_an_earlier_state_is_found_by_a_checkpoint_taken_since() {
    let world = history();
    let copy = world.folder().join("old.db");
    world.run("root", &["backup", copy.to_str().unwrap()]).ok();
    world.run("alice", &["revoke", "1"]).ok();
    let kept = keep(&world, &[&checkpoint(&world)]);
    world.run("olivia", &["audit", "verify", "--against", &kept]).ok();
    std::fs::copy(&copy, world.db()).unwrap();
    world.run("olivia", &["audit", "verify"]).ok();
    let ran = world.run("olivia", &["audit", "verify", "--against", &kept, "--json"]).exits(1);
    let problem = "the log ends at entry 12, and had 14 when the checkpoint of 2026-11-24T09:00:00Z was taken";
    let signed = "the log ends at entry 12, and a signed checkpoint has 14";
    let key = "the checkpoint of 14 entries has no valid signature of a key of this log";
    let faults = json!([{ "seq": 14, "problem": problem }, { "seq": 14, "problem": signed }, { "problem": key }]);
    shows(&ran.json(), &json!({ "ok": false, "entries": 12, "faults": faults }));
}

#[test]
fn checkpoints_are_read_a_line_each_from_a_file_or_from_stdin() {
    let world = history();
    let first = checkpoint(&world);
    world.run("alice", &["deny", "3"]).ok();
    let second = checkpoint(&world);
    let verify = ["audit", "verify", "--json", "--against"];
    let against = |path: &str| world.run("olivia", &[&verify[..], &[path]].concat());

    against(&keep(&world, &[&first, "", &second])).ok();
    let wrong = first.replace("\"seq\":13", "\"seq\":12");
    assert_ne!(wrong, first);
    let ran = against(&keep(&world, &[&wrong, &second])).exits(1);
    assert_eq!(ran.json()["faults"][0]["seq"], 12);

    for (stdin, code) in [(&second, 0), (&wrong, 1), (&String::new(), 65)] {
        let mut command = world.command("olivia", &[&verify[..], &["-"]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{stdin}");
    }
}

#[test]
fn a_file_that_holds_no_checkpoints_is_not_valid() {
    let world = history();
    let good = checkpoint(&world);
    let cut = &good[..good.len() / 2];
    for (lines, line) in [(vec!["nonsense"], 1), (vec![good.as_str(), cut], 2), (vec!["{}"], 1), (vec!["", "[]"], 2)] {
        let kept = keep(&world, &lines);
        let says = format!("line {line}: not a checkpoint");
        world.run("olivia", &["audit", "verify", "--against", &kept]).fails(65, &says);
    }
    for lines in [vec![], vec!["", "  "]] {
        let kept = keep(&world, &lines);
        world.run("olivia", &["audit", "verify", "--against", &kept]).fails(65, "contains no checkpoint");
    }
    world.run("olivia", &["audit", "verify", "--against", "absent"]).fails(74, "can't be read");
}

/// A log whose hashes and tables agree, and that says what no rules could have allowed: exactly this is found.
#[track_caller]
fn impossible(edits: &[(usize, &str, &str)], rest: &str, expected: &[&str]) {
    let world = history();
    let mut bodies = bodies(&world);
    for (seq, from, to) in edits {
        let edited = bodies[seq - 1].replace(from, to);
        assert_ne!(edited, bodies[seq - 1], "{from} is in entry {seq}: {edited}");
        bodies[seq - 1] = edited;
    }
    forge(&world, &bodies, rest);
    assert_eq!(faults(&world), expected);
}

#[test]
fn nobody_approved_their_own_request_in_a_log_that_is_true() {
    impossible(
        &[
            (3, "\"actor\":\"alice\"", "\"actor\":\"bob\""),
            (3, "\"by\":\"alice\"", "\"by\":\"bob\""),
            (4, "\"approved_by\":[\"alice\"]", "\"approved_by\":[\"bob\"]"),
            (4, "\"by\":[\"alice\"]", "\"by\":[\"bob\"]"),
        ],
        "UPDATE decision SET by = 'bob' WHERE seq = 3",
        &[
            "entry 3: bob decides on request 1, which is their own",
            "entry 4: bob could not meet the demand of the default on request 1 then",
        ],
    );
    // Nor one they filed.
    impossible(
        &[
            (2, "\"actor\":\"bob\"", "\"actor\":\"alice\""),
            (2, "\"filed_by\":\"bob\"", "\"filed_by\":\"alice\""),
            (2, "\"filer_login\":\"bob\"", "\"filer_login\":\"alice\""),
        ],
        "UPDATE request SET filed_by = 'alice', filer_login = 'alice' WHERE id = 1",
        &["entry 3: alice decides on request 1, which is their own"],
    );
    // Nor in another's name.
    impossible(
        &[(3, "\"actor\":\"alice\"", "\"actor\":\"bob\"")],
        "",
        &["entry 3: the decision on request 1 is not that of the member who acts"],
    );
}

#[test]
fn a_request_names_the_unix_users_behind_it_in_a_log_that_is_true() {
    let other = "entry 2: it does not name the Unix user that bob has";
    impossible(
        &[(2, "\"requester_login\":\"bob\"", "\"requester_login\":\"heidi\"")],
        "UPDATE request SET requester_login = 'heidi' WHERE id = 1",
        &[other],
    );
    impossible(
        &[(2, "\"requester_login\":\"bob\",\"filer_login\":\"bob\",", "")],
        "UPDATE request SET requester_login = 'bob' WHERE id = 1",
        &[other],
    );
    impossible(
        &[(1, "\"login\":\"heidi\"", "\"login\":\"ivan\"")],
        "DROP INDEX IF EXISTS member_admin; CREATE TABLE m AS SELECT * FROM member; DROP TABLE member;
         ALTER TABLE m RENAME TO member; UPDATE member SET login = 'ivan' WHERE name = 'heidi'",
        &[
            "entry 1: it gives two members the same login",
            "the database's schema was changed: the table member is not the one that access makes",
            "the database's schema was changed: the index member_admin is missing",
            "the database's schema was changed: the index sqlite_autoindex_member_2 is missing",
        ],
    );
}

/// Changes the entries of a log and their number, and makes the chain anew.
fn rewritten(world: &World, change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
    let mut entries: Vec<Value> = bodies(world).iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    change(&mut entries);
    forge(world, &entries.iter().map(Value::to_string).collect::<Vec<_>>(), "");
    faults(world)
}

const BY_MEMBERS: &str = "[[rules]]\nname = \"by members\"\napprovers = [\"role:member\"]\n";

/// carol is named caroline from here on, with the same Unix user.
fn rename_carol(world: &World, rules: &str) {
    let team = format!("{TEAM}{rules}").replace("[members.carol]", "[members.caroline]\nlogin = \"carol\"");
    world.apply("olivia", &team.replace("\"carol\"]", "\"caroline\"]")).ok();
}

/// In format 1 as well, where the Unix users follow from the team of then.
#[test]
fn nobody_reviewed_or_decided_on_their_own_request_under_another_name_in_a_log_that_is_true() {
    let rules = format!("{BY_MEMBERS}[[rules]]\nname = \"glass\"\nemergency = true\n");
    let world = World::of("olivia", &format!("{TEAM}{rules}"));
    world.request("carol", "target:orders-db", &["--emergency", "--duration", "1h"]);
    let asked = world.request("carol", "target:billing-db", &[]);
    rename_carol(&world, &rules);
    world.run("bob", &["review", "1", "--note", "x"]).ok();
    let actions = world.actions();
    let place = |action: &str| actions.iter().rposition(|it| it == action).unwrap();
    let (reviewed, withdrawn) = (place("request.reviewed"), place("request.withdrawn"));
    let whole = std::fs::read(world.db()).unwrap();
    for format in [1, 2] {
        let found = rewritten(&world, |entries| {
            for entry in entries.iter_mut().filter(|_| format == 1) {
                entry["v"] = 1.into();
                for login in ["requester_login", "filer_login"] {
                    entry["event"]["detail"].as_object_mut().unwrap().remove(login);
                }
            }
            entries[reviewed]["actor"] = "caroline".into();
            entries[reviewed]["event"]["detail"]["by"] = "caroline".into();
            entries[withdrawn]["actor"] = "caroline".into();
            entries[withdrawn]["event"] =
                json!({ "action": "request.denied", "detail": { "request": 2, "by": "caroline" } });
        });
        for (place, id) in [(reviewed, "1"), (withdrawn, &asked)] {
            let fault = format!("entry {}: caroline decides on request {id}, which is their own", place + 1);
            assert!(found.contains(&fault), "format {format}: {fault}\n{found:#?}");
        }
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn no_two_approvals_are_of_one_person_in_a_log_that_is_true() {
    let rules = BY_MEMBERS.to_owned() + "approvals = 2\n";
    let world = World::of("olivia", &format!("{TEAM}{rules}"));
    world.request("bob", "target:orders-db", &[]);
    world.run("carol", &["approve", "1"]).ok();
    rename_carol(&world, &rules);
    world.run("carol", &["approve", "1"]).ok();
    world.run("erin", &["approve", "1"]).ok();
    let granted = world.actions().len() - 1;
    let found = rewritten(&world, |entries| {
        entries[granted - 2]["event"]["detail"].as_object_mut().unwrap().remove("voids").unwrap();
        entries[granted - 1]["event"] =
            json!({ "action": "attempt.refused", "detail": { "command": "approve", "why": "x" } });
        entries[granted]["event"]["detail"]["approved_by"] = json!(["carol", "caroline"]);
    });
    let fault =
        format!("entry {}: the grant of request 1 counts an approval of carol, who is no longer a member", granted + 1);
    assert!(found.contains(&fault), "{found:#?}");
}

#[test]
fn no_grant_starts_without_an_approval_in_a_log_that_is_true() {
    // The denial of request 2, and a grant after it where dave's request stood.
    let world = history();
    let mut bodies = bodies(&world);
    bodies[6] = bodies[3].replace("\"seq\":4", "\"seq\":7").replace("\"request\":1", "\"request\":2");
    bodies[6] = bodies[6].replace("\"member\":\"bob\"", "\"member\":\"carol\"");
    bodies[6] = bodies[6].replace("\"approved_by\":[\"alice\"]", "\"approved_by\":[]");
    forge(&world, &bodies, "");
    let found = faults(&world);
    assert!(found.contains(&"entry 7: request 2 is granted without an approval".to_owned()), "{found:#?}");

    // An approval by another than the one the grant names.
    impossible(
        &[(4, "\"approved_by\":[\"alice\"]", "\"approved_by\":[\"erin\"]")],
        "",
        &["entry 4: the grant of request 1 names other approvers than approved it"],
    );
    // To another than who asked.
    impossible(
        &[(4, "\"member\":\"bob\"", "\"member\":\"heidi\"")],
        "UPDATE grant SET member = 'heidi' WHERE request = 1",
        &["entry 4: request 1 is granted to heidi, who did not ask"],
    );
}

/// A log of format 2: two of the group `dba` approve what a rule guards, and one of them is an admin by a grant.
fn demanding() -> World {
    let team = World::sample().run("olivia", &["team", "show"]).ok().out;
    let rule = "[[rules]]\nname = \"dba\"\nmatch = { resources = [\"target:orders-db\"] }\n\
                approvers = [\"group:backend\"]\napprovals = 2\n";
    let world = World::of("olivia", &format!("{team}\n{rule}"));
    let id = world.request("dave", "target:orders-db", &[]);
    world.run("bob", &["approve", &id]).ok();
    world.run("carol", &["approve", &id]).ok();
    world.grant("bob", "role:admin", "alice", &["--duration", "4h"]);
    world.grant("dave", "target:billing-db", "bob", &["--duration", "1h"]);
    assert_eq!(faults(&world), [""; 0]);
    world
}

#[test]
fn a_grant_met_the_demands_that_it_names_in_a_log_that_is_true() {
    let forged = |number: usize, edits: &[(&str, &str)]| -> Vec<String> {
        let world = demanding();
        let mut bodies = bodies(&world);
        let mut grants: Vec<&mut String> =
            bodies.iter_mut().filter(|body| body.contains("\"grant.started\"")).collect();
        for (from, to) in edits {
            let edited = grants[number].replace(from, to);
            assert_ne!(edited, *grants[number], "{from} is in {edited}");
            *grants[number] = edited;
        }
        forge(&world, &bodies, "");
        faults(&world).into_iter().map(|fault| fault.split_once(": ").unwrap().1.to_owned()).collect()
    };
    let demands = r#","demands":[{"rule":"dba","approvals":2,"by":["bob","carol"]}]"#;
    assert_eq!(forged(0, &[(demands, "")]), ["request 1 is granted without a demand that it met"]);
    let by = r#""by":["bob","carol"]"#;
    let without = ["request 1 is granted without the approvals that rule \"dba\" demanded then"];
    for (from, to) in [
        (by, r#""by":["bob"]"#),
        (by, r#""by":["bob","bob"]"#),
        (by, r#""by":["bob","carol","bob"]"#),
        (by, r#""by":["bob","carol","carol"]"#),
        (by, r#""by":["bob","erin"]"#),
        (r#""approvals":2"#, r#""approvals":1"#),
    ] {
        assert_eq!(forged(0, &[(from, to)]), without, "{to}");
    }
    // A demand that was made by no rule, or the default in the place of a rule's.
    assert_eq!(
        forged(0, &[(r#""rule":"dba""#, r#""rule":"dbb""#)]),
        ["request 1 is granted by a demand of rule \"dbb\", which made none then"]
    );
    assert_eq!(
        forged(0, &[(r#""rule":"dba","approvals":2"#, r#""approvals":1"#)]),
        ["bob could not meet the demand of the default on request 1 then"]
    );
    // Only people who were in the group, or admins, at that moment.
    let world = demanding();
    let mut bodies = bodies(&world);
    let place = bodies.iter().position(|body| body.contains("\"team.initialized\"") && body.contains("group:backend"));
    let place = place.or_else(|| bodies.iter().position(|body| body.contains("group:backend"))).unwrap();
    bodies[place] = bodies[place].replace(r#"{"members":["bob","carol"]}"#, r#"{"members":["bob"]}"#);
    forge(
        &world,
        &bodies,
        "DELETE FROM membership WHERE member = 'carol'; UPDATE catalogue SET body = '{\"members\":[\"bob\"]}' WHERE kind = 'group' AND name = 'backend'",
    );
    assert_eq!(
        faults(&world).into_iter().map(|fault| fault.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>(),
        ["carol could not meet the demand of rule \"dba\" on request 1 then"]
    );
    // An admin by a grant gives no role and nothing permanent.
    let world = demanding();
    let id = world.request("dave", "connection:prod-k8s", &["--duration", "permanent"]);
    world.run("alice", &["approve", &id]).ok();
    let mut bodies = self::bodies(&world);
    let count = bodies.len();
    for body in &mut bodies[count - 2..] {
        *body = body.replace("\"alice\"", "\"bob\"").replace("\"os_user\":\"alice\"", "\"os_user\":\"bob\"");
    }
    let told = bodies.iter().rposition(|body| body.contains("request.submitted")).unwrap();
    assert!(told < count - 2);
    forge(&world, &bodies, &format!("UPDATE decision SET by = 'bob' WHERE request = {id}"));
    assert_eq!(
        faults(&world),
        [format!("entry {count}: bob could not meet the demand of the default on request {id} then")]
    );
}

/// Who gives a role is an admin by the team file, whomever the rule names; and who gives a feature holds its role.
#[test]
fn roles_and_features_were_given_by_those_who_can_in_a_log_that_is_true() {
    // The last approval is of request 1, by `from`. The log says that `to` gave it.
    let forged = |world: &World, from: &str, to: &str| -> Vec<String> {
        rewritten(world, |entries| {
            let approved = entries.iter().rposition(|it| it["event"]["action"] == "request.approved").unwrap();
            let granted = entries.iter().rposition(|it| it["event"]["action"] == "grant.started").unwrap();
            let text = |value: &Value| value.to_string().replace(&format!("\"{from}\""), &format!("\"{to}\""));
            for place in [approved, granted] {
                let told = entries[place].as_object_mut().unwrap().remove("told");
                entries[place] = serde_json::from_str(&text(&entries[place])).unwrap();
                if let Some(told) = told {
                    entries[place]["told"] = told;
                }
            }
        })
    };
    let world = World::of("olivia", &format!("{TEAM}{BY_MEMBERS}"));
    world.request("dave", "role:admin", &[]);
    world.run("alice", &["approve", "1"]).ok();
    assert_eq!(faults(&world), [""; 0]);
    let fault = "bob could not meet the demand of rule \"by members\" on request 1 then";
    let found = forged(&world, "alice", "bob");
    assert!(found.iter().any(|it| it.ends_with(fault)), "{found:#?}");

    let feature = "[features.payroll]\nrole = \"owner\"\n";
    let world = World::of("olivia", &format!("{TEAM}{feature}"));
    world.request("dave", "feature:payroll", &[]);
    world.run("olivia", &["approve", "1"]).ok();
    assert_eq!(faults(&world), [""; 0]);
    let fault = "alice could not meet the demand of the default on request 1 then";
    let found = forged(&world, "olivia", "alice");
    assert!(found.iter().any(|it| it.ends_with(fault)), "{found:#?}");

    // Nor did anyone who was disabled.
    let world = World::of("olivia", &TEAM.replace("[members.erin]\n", "[members.erin]\ndisabled = true\n"));
    world.request("dave", "connection:prod-k8s", &[]);
    world.run("alice", &["approve", "1"]).ok();
    let fault = "erin could not meet the demand of the default on request 1 then";
    let found = forged(&world, "alice", "erin");
    assert!(found.iter().any(|it| it.ends_with(fault)), "{found:#?}");
}

/// A rule that matches a feature takes its default away, while the default of the role that was asked for stays.
#[test]
fn a_feature_in_the_place_of_a_role_is_given_by_what_both_demand() {
    let feature = "[features.payroll]\nrole = \"owner\"\n";
    let world = World::of("olivia", &format!("{TEAM}{feature}{BY_MEMBERS}"));
    world.request("dave", "role:admin", &[]);
    world.run("alice", &["approve", "1", "--resource", "feature:payroll"]).ok();
    assert_eq!(world.json("dave", &["show", "1"])["state"], "active");
    assert_eq!(faults(&world), [""; 0]);
}

/// Who reviews an emergency is recorded when it is taken: people, not names.
#[test]
fn an_emergency_was_reviewed_by_whom_it_names_in_a_log_that_is_true() {
    let glass = "[[rules]]\nname = \"glass\"\nemergency = true\n";
    let team = format!("{TEAM}{glass}");
    let world = World::of("olivia", &team);
    world.run("bob", &["request", "target:orders-db", "--reason", "Down", "--emergency"]).ok();
    let team = team.replace("[members.alice]\n", "[members.alice]\nlogin = \"alicia\"\n");
    world.apply("olivia", &team).ok();
    world.run("erin", &["review", "1", "--note", "seen"]).ok();
    assert_eq!(faults(&world), [""; 0]);
    let mut bodies = bodies(&world);
    let last = bodies.len();
    let review = &mut bodies[last - 1];
    *review = review.replace("\"os_user\":\"erin\"", "\"os_user\":\"alicia\"").replace("\"erin\"", "\"alice\"");
    forge(&world, &bodies, "UPDATE request SET review = replace(review, 'erin', 'alice')");
    assert_eq!(faults(&world), [format!("entry {last}: alice reviews request 1, which is for others to review")]);

    // When none of them is left, today's rules say who reviews; a person with the name of one of them is none of them.
    let world = World::of("olivia", &format!("{TEAM}{glass}"));
    world.run("bob", &["request", "target:orders-db", "--reason", "Down", "--emergency"]).ok();
    let team = team
        .replace("[members.erin]\n", "[members.erin]\nlogin = \"erina\"\n")
        .replace("[members.olivia]\nrole = \"owner\"\n", "[members.olivia]\nrole = \"admin\"\ndisabled = true\n")
        .replace("[members.dave]\nrole = \"member\"\n", "[members.dave]\nrole = \"owner\"\n");
    world.apply("olivia", &team).ok();
    assert_eq!(world.json("dave", &["show", "1"])["reviewers"], json!(["alice", "dave", "erin"]));
    world.run("dave", &["review", "1", "--note", "seen"]).ok();
    world.run("dave", &["audit", "verify"]).ok();
}

#[test]
fn no_grant_is_longer_or_larger_than_approved_in_a_log_that_is_true() {
    impossible(
        &[(4, "{\"after\":\"4h\"}", "{\"after\":\"8h\"}"), (4, "T13:00:00Z", "T17:00:00Z")],
        "UPDATE grant SET length = 28800, ends_at = ends_at + 14400 WHERE request = 1",
        &["entry 4: request 1 is granted on other terms than were approved"],
    );
    impossible(
        &[(4, "T13:00:00Z", "T17:00:00Z")],
        "UPDATE grant SET ends_at = ends_at + 14400 WHERE request = 1",
        &["entry 4: the grant of request 1 does not start and end as granted"],
    );
    impossible(
        &[(4, "\"resource\":\"target:orders-db\"", "\"resource\":\"role:admin\"")],
        "UPDATE grant SET resource = 'role:admin' WHERE request = 1",
        &["entry 4: request 1 is granted on other terms than were approved"],
    );
}

#[test]
fn nobody_acts_who_could_not_and_time_goes_on_in_a_log_that_is_true() {
    impossible(
        &[(6, "\"actor\":\"erin\"", "\"actor\":\"mallory\""), (6, "\"by\":\"erin\"", "\"by\":\"mallory\"")],
        "UPDATE decision SET by = 'mallory' WHERE seq = 6",
        &["entry 6: mallory acts, who is not a member"],
    );
    impossible(
        &[(12, "\"at\":\"2026-11-24T09:00:00Z\"", "\"at\":\"2026-11-24T08:00:00Z\"")],
        "",
        &["entry 12: its time, 2026-11-24T08:00:00Z, is before that of the entry before it"],
    );
    // What a later version of this program may write.
    impossible(
        &[(12, "\"v\":2", "\"v\":3")],
        "",
        &["entry 12: a host and a nonce are part of format 3, and of no earlier one"],
    );
    impossible(&[(12, "\"v\":2", "\"v\":4")], "", &["entry 12: it is of format 4, which this program does not know"]);
}

#[test]
fn only_the_owner_changed_the_team_in_a_log_that_is_true() {
    for (actor, expected) in [
        ("\"alice\"", "entry 2: alice changes the team, but is not its owner"),
        ("null", "entry 2: the team was changed by nobody"),
    ] {
        let world = World::sample();
        let team = world.run("olivia", &["team", "show"]).ok().out;
        world.apply("olivia", &format!("{team}\n[groups.friends]\nmembers = [\"bob\"]\n")).ok();
        let mut bodies = bodies(&world);
        let edited = bodies[1].replace("\"actor\":\"olivia\"", &format!("\"actor\":{actor}"));
        assert_ne!(edited, bodies[1]);
        bodies[1] = edited;
        forge(&world, &bodies, "");
        assert_eq!(faults(&world), [expected]);
    }
}

#[test]
fn each_host_appended_what_it_may_in_a_log_that_is_true() {
    let world = World::sample();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    world.apply("olivia", &format!("{team}\n[hosts.desk]\nmay = \"ask\"\n[hosts.main]\nmay = \"decide\"\n")).ok();
    world.run("bob", &["request", "target:orders-db", "--reason", "deploy"]).ok();
    world.run("alice", &["deny", "1"]).ok();
    let honest = bodies(&world);
    let by = |host: &str| {
        let mut bodies = honest.clone();
        for body in &mut bodies[2..] {
            let with_host = body.replace("\"event\":{", &format!("\"host\":\"{host}\",\"nonce\":\"1\",\"event\":{{"));
            *body = with_host.replacen("\"v\":2", "\"v\":3", 1);
        }
        forge(&world, &bodies, "");
        faults(&world)
    };
    let denied = "entry 4: request.denied is by the host";
    assert_eq!(by("main"), [""; 0]);
    assert_eq!(by("desk"), [format!("{denied} desk, which may not append that")]);
    let asked = "entry 3: request.submitted is by the host";
    assert_eq!(by("other"), [asked, denied].map(|what| format!("{what} other, which may not append that")));
}

#[test]
fn what_is_over_does_not_end_again_in_a_log_that_is_true() {
    let again = |from: usize, edits: &[(&str, &str)]| {
        let world = history();
        let mut bodies = bodies(&world);
        let copied = bodies[from - 1].replace(&format!("\"seq\":{from}"), "\"seq\":12");
        bodies[11] = edits.iter().fold(copied, |body, (from, to)| body.replace(from, to));
        forge(&world, &bodies, "");
        let found = faults(&world);
        found.into_iter().find(|fault| fault.starts_with("entry 12: ")).unwrap()
    };
    assert_eq!(again(11, &[]), "entry 12: grant 4 had ended before");
    assert_eq!(again(10, &[]), "entry 12: request 4 is granted a second time");
    // After the denial, which told carol in the sixth.
    let approved = [("\"request\":1", "\"request\":2")];
    assert_eq!(again(3, &approved), "entry 12: request 2 is decided, which was not pending");
}

#[test]
fn nothing_ended_for_a_clock_that_was_not_ahead_in_a_log_that_is_true() {
    let for_clock = |time: &str| format!("\"because\":{{\"clock_accepted\":\"2026-11-24T{time}:00Z\"}}");
    let asked = "\"because\":\"asked\"";
    let (nine, later) = ("\"at\":\"2026-11-24T09:00:00Z\"", "\"at\":\"2026-11-24T09:59:00Z\"");
    // Filed at nine, which is after eight: that could be.
    impossible(&[(11, asked, &for_clock("08:00"))], "", &[]);
    impossible(
        &[(11, asked, &for_clock("09:00"))],
        "",
        &["entry 11: grant 4 is revoked for a clock that was not ahead"],
    );
    impossible(
        &[(11, asked, &for_clock("09:30")), (11, nine, later), (12, nine, later)],
        "UPDATE grant SET ended_at = ended_at + 3540 WHERE request = 4",
        &["entry 11: grant 4 is revoked for a clock, and was made before the time that was accepted"],
    );
    let nobody = [(11, "\"actor\":\"frank\"", "\"actor\":null"), (11, "\"by\":\"frank\",", "")];
    let by_nobody = "UPDATE grant SET ended_by = '' WHERE request = 4";
    impossible(&nobody, by_nobody, &["entry 11: grant 4 is revoked by nobody"]);
    impossible(&[nobody[0], nobody[1], (11, asked, &for_clock("08:00"))], by_nobody, &[]);
    // Root revoked it, and not frank; and it did not expire.
    for (ended_by, id) in [("'frank'", 4), ("NULL", 4)] {
        let rest = format!("UPDATE grant SET ended_by = {ended_by} WHERE request = {id}");
        let edits = [nobody[0], nobody[1], (11, asked, &for_clock("08:00"))];
        impossible(&edits, &rest, &["grant 4 is not as it was recorded"]);
    }
}

// What a request that is over is remembered by

/// More than fit in a batch, so that what is over is forgotten before the log ends.
fn long_history() -> World {
    let world = history();
    let long = "long ".repeat(700);
    // Nobody files more than 50 in a day.
    for who in ["carol", "ivan"].repeat(45) {
        world.run(who, &["request", "target:orders-db", "--reason", &long, "--json"]).ok();
        let last = world.rows("SELECT max(id) FROM request")[0].clone();
        world.run(who, &["withdraw", &last]).ok();
    }
    world
}

#[test]
fn an_entry_about_a_request_that_is_over_and_forgotten_is_found() {
    let world = long_history();
    assert_eq!(faults(&world), [""; 0]);
    let honest = bodies(&world);
    let seq = honest.len() + 1;
    let whole = std::fs::read(world.db()).unwrap();
    let again = |from: usize, edits: &[(&str, &str)]| {
        let copied = honest[from - 1].replacen(&format!("\"seq\":{from}"), &format!("\"seq\":{seq}"), 1);
        append(&world, &edits.iter().fold(copied, |body, (from, to)| body.replace(from, to)));
        let found = faults(&world);
        std::fs::write(world.db(), &whole).unwrap();
        found.into_iter().find_map(|fault| fault.strip_prefix(&format!("entry {seq}: ")).map(str::to_owned)).unwrap()
    };
    let denied = [("\"request\":1", "\"request\":2")];
    assert_eq!(again(11, &[]), "grant 4 had ended before");
    assert_eq!(again(10, &[]), "request 4 is granted a second time");
    assert_eq!(again(3, &denied), "request 2 is decided, which was not pending");
    assert_eq!(again(4, &denied), "request 2 is granted, which was not pending");
    assert_eq!(again(11, &[("\"request\":4", "\"request\":2")]), "there is no grant 2");
    assert_eq!(again(11, &[("\"request\":4", "\"request\":999")]), "there is no request 999");
    assert_eq!(again(2, &[]), "it files request 1 a second time");
    // An extension of what was never granted, and of what was another's.
    let next = format!("\"request\":{}", 4 + 90 + 1);
    for before in [2, 4] {
        let extends = format!(",\"extends\":{before}}}}},\"told\"");
        let fault = again(2, &[("\"request\":1", &next), ("}},\"told\"", &extends)]);
        assert_eq!(fault, format!("request {} extends no grant of its requester", 4 + 90 + 1));
    }
}

#[test]
fn rows_of_requests_that_are_over_and_forgotten_are_compared_too() {
    let world = long_history();
    let whole = std::fs::read(world.db()).unwrap();
    for (statements, expected) in [
        ("UPDATE request SET reason = 'x' WHERE id = 50", "request 50 is not as it was recorded"),
        ("UPDATE request SET state = 'pending' WHERE id = 50", "request 50 is not as it was recorded"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM request WHERE id = 50", "request 50 is on the record and not"),
        ("DELETE FROM notification WHERE id = 100", "notification 100 is on the record and not in its table"),
        (
            "UPDATE notification SET id = 9000 WHERE id = 100",
            "notification 9000 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO decision SELECT 50, 4, by, verdict, at, note, terms, counts, NULL FROM decision WHERE seq = 3",
            "the decision of entry 4 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO grant (request, member, resource, modified, starts_at)
             VALUES (50, 'carol', 'target:orders-db', 0, 1)",
            "grant 50 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO grant (request, member, resource, modified, starts_at)
             VALUES (5000, 'carol', 'target:orders-db', 0, 1)",
            "grant 5000 is in its table, and no entry explains it",
        ),
        // As many rows as there should be, and one of them another.
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM grant WHERE request = 1;
             INSERT INTO grant (request, member, resource, modified, starts_at)
             VALUES (5000, 'carol', 'target:orders-db', 0, 1)",
            "grant 5000 is in its table, and no entry explains it",
        ),
    ] {
        tamper(&world, statements);
        let faults = faults(&world);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{statements}\nexpected: {expected}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn what_is_released_is_what_would_have_been_held_and_only_what_is_open_is_left() {
    for name in ["log-v1.jsonl", "log-v1-rules.jsonl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let (mut whole, mut released) = (Model::default(), Model::default());
        let (mut requests, mut notifications, mut place) = (Vec::new(), Vec::new(), LogPlace::START);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let entry: Entry = serde_json::from_str(line).unwrap();
            place = place.then(line.as_bytes());
            assert_eq!(whole.take(entry.clone(), place.hash), [""; 0]);
            assert_eq!(released.take(entry, place.hash), [""; 0]);
            let now = released.release();
            requests.extend(now.requests);
            notifications.extend(now.notifications);
        }
        assert!(!requests.is_empty(), "{name}");
        let open = |request: &access::domain::request::Request| {
            let live = request.grant.as_ref().is_some_and(|grant| grant.ended.is_none() || request.owes_review());
            live || request.recorded == access::domain::request::Recorded::Pending
        };
        assert!(released.requests.values().all(open), "{name}");
        assert!(!requests.iter().any(open), "{name}");
        requests.extend(released.requests.into_values());
        requests.sort_by_key(|request| request.id);
        assert_eq!(requests, whole.requests.into_values().collect::<Vec<_>>(), "{name}");
        assert_eq!(notifications, whole.notifications, "{name}");
    }
}

// Every format ever written stays readable

#[test]
fn the_logs_of_all_formats_read_back_and_contradict_themselves_nowhere() {
    let mut actions: Vec<&str> = Vec::new();
    // The second begins where rules do, the third where edits do; the fourth goes on in format 2, the fifth has connectors,
    // the sixth sessions, the seventh checkpoints, the eighth recertifications.
    let fixtures = [
        ("log-v1.jsonl", 1..=1, 9, 9),
        ("log-v1-rules.jsonl", 1..=1, 11, 8),
        ("log-v2-edits.jsonl", 2..=2, 10, 4),
        ("log-v2-team.jsonl", 1..=2, 6, 5),
        ("log-v2-connectors.jsonl", 2..=2, 10, 2),
        ("log-v2-sessions.jsonl", 2..=2, 10, 1),
        ("log-v2-checkpoints.jsonl", 2..=2, 10, 1),
        ("log-v2-recertifications.jsonl", 2..=2, 10, 3),
    ];
    for (name, formats, members, requests) in fixtures {
        let mut format = *formats.start();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let (mut model, mut place) = (Model::default(), LogPlace::START);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let entry: Entry = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}\n{line}"));
            assert!(formats.contains(&entry.v) && entry.v >= format, "{name}");
            format = entry.v;
            // What a request says is one struct, and flat in JSON: the order of the fields is part of the hash.
            if let Event::RequestSubmitted(_) = entry.event {
                assert_eq!(serde_json::to_string(&entry).unwrap(), line, "{name}");
            }
            actions.push(entry.event.action());
            let seq = entry.seq;
            place = place.then(line.as_bytes());
            assert_eq!(model.take(entry, place.hash), [""; 0], "{name}, entry {seq}");
        }
        assert_eq!(format, *formats.end(), "{name}");
        assert_eq!((model.team.unwrap().members.len(), model.requests.len()), (members, requests), "{name}");
    }
    for action in ACTIONS {
        assert!(actions.contains(&action), "{action} is in a fixture");
    }
}
