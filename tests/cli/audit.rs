//! The audit log: every act is in it, with who, what and about which request, and its chain can be recomputed.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{TEAM, World, shows};

/// The log, oldest first.
fn log(world: &World) -> Vec<Value> {
    let mut entries = world.json("olivia", &["audit"]).as_array().unwrap().clone();
    entries.reverse();
    entries
}

fn count(world: &World) -> i64 {
    world.rows("SELECT count(*) FROM event")[0].parse().unwrap()
}

fn refused(world: &World) -> usize {
    world.actions().iter().filter(|action| *action == "attempt.refused").count()
}

/// The numbers of the entries that these filters let through, newest first.
fn filtered(world: &World, filters: &[&str]) -> Vec<i64> {
    let mut args = vec!["audit"];
    args.extend(filters);
    world.json("olivia", &args).as_array().unwrap().iter().map(|entry| entry["seq"].as_i64().unwrap()).collect()
}

/// RFC 4180, as any spreadsheet reads it.
pub fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the last line is whole");
    rows
}

#[test]
fn every_act_is_recorded_with_who_what_and_about_which_request() {
    let world = World::sample();
    let gone = TEAM.replace("[features.deploy]\nrole = \"member\"\n", "");
    world.apply("olivia", &gone).ok();
    // 1: approved with a change, warned of, expired.
    world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", "1", "--duration", "1h", "--note", "Enough"]).ok();
    world.pass("45m");
    world.run("root", &["expire"]).ok();
    // 2: denied, 3: withdrawn, 4: revoked, 5: lapsed.
    world.request("bob", "target:billing-db", &["--ticket", "OPS-12"]);
    world.run("erin", &["deny", "2", "--reason", "Use the replica"]).ok();
    world.request("alice", "target:billing-db", &["--for", "bob"]);
    world.run("alice", &["withdraw", "3"]).ok();
    world.grant("carol", "target:orders-db", "olivia", &[]);
    world.run("carol", &["revoke", "4", "--reason", "Done"]).ok();
    world.request("dave", "target:orders-db", &[]);
    world.run("dave", &["audit"]).exits(3);
    world.run("stranger", &["approve", "5"]).exits(3);
    world.pass("7d");
    world.run("root", &["expire"]).ok();
    world.set_clock("2026-11-24T09:00:00Z");
    world.run("olivia", &["doctor", "--accept-clock"]).ok();

    // Cron's acts are nobody's; a stranger is known by their Unix user only.
    let entry = |action: &str, actor: Value, os_user: &str, request: Value, detail: Value| json!({ "action": action, "actor": actor, "os_user": os_user, "request": request, "detail": detail });
    let by = |action: &str, actor: &str, request: i64, detail: Value| {
        entry(action, json!(actor), actor, json!(request), detail)
    };
    let cron = |action: &str, request: i64, detail: Value| entry(action, Value::Null, "root", json!(request), detail);
    let hour = json!({ "resource": "target:orders-db", "end": { "after": "1h" } });
    let four = json!({ "resource": "target:orders-db", "end": { "after": "4h" } });
    let (week, later) = ("2026-12-01T09:00:00Z", "2026-12-01T09:45:00Z");
    let expected = json!([
        entry("team.initialized", json!("olivia"), "olivia", Value::Null, json!({})),
        entry("team.applied", json!("olivia"), "olivia", Value::Null, json!({})),
        by(
            "request.submitted",
            "bob",
            1,
            json!({ "requester": "bob", "filed_by": "bob", "asked": four,
            "reason": "testing", "lapses_at": week })
        ),
        by("request.approved", "alice", 1, json!({ "by": "alice", "terms": hour, "asked": four, "note": "Enough" })),
        by(
            "grant.started",
            "alice",
            1,
            json!({ "member": "bob", "resource": "target:orders-db", "modified": true,
            "starts_at": "2026-11-24T09:00:00Z", "ends_at": "2026-11-24T10:00:00Z", "approved_by": ["alice"] })
        ),
        cron("grant.expiring", 1, json!({ "resource": "target:orders-db", "ends_at": "2026-11-24T10:00:00Z" })),
        by("request.submitted", "bob", 2, json!({ "ticket": "OPS-12" })),
        by("request.denied", "erin", 2, json!({ "by": "erin", "reason": "Use the replica" })),
        by("request.submitted", "alice", 3, json!({ "requester": "bob", "filed_by": "alice" })),
        by("request.withdrawn", "alice", 3, json!({ "by": "alice", "because": "asked" })),
        by("request.submitted", "carol", 4, json!({})),
        by("request.approved", "olivia", 4, json!({ "by": "olivia" })),
        by("grant.started", "olivia", 4, json!({ "member": "carol", "modified": false })),
        by("grant.revoked", "carol", 4, json!({ "by": "carol", "because": "asked", "reason": "Done" })),
        by("request.submitted", "dave", 5, json!({})),
        entry("attempt.refused", json!("dave"), "dave", Value::Null, json!({ "command": "audit" })),
        entry("attempt.refused", Value::Null, "stranger", json!(5), json!({ "command": "approve" })),
        cron("grant.expired", 1, json!({ "ended_at": "2026-11-24T10:00:00Z" })),
        cron("request.lapsed", 5, json!({ "lapsed_at": later })),
        entry("clock.accepted", json!("olivia"), "olivia", Value::Null, json!({ "was": later }))
    ]);
    let log = log(&world);
    shows(&json!(log), &expected);
    let changed = json!({ "change": "remove", "what": "feature:deploy", "from": { "role": "member" }, "to": null });
    assert!(log[1]["detail"]["changes"].as_array().unwrap().contains(&changed), "{:#}", log[1]);
    let numbers: Vec<i64> = log.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=20), "numbered without a gap: {numbers:?}");
}

#[test]
fn what_follows_from_a_team_file_is_recorded_with_its_reason() {
    let world = World::of("olivia", TEAM);
    world.grant("bob", "feature:cost-explorer", "alice", &[]);
    world.request("frank", "target:orders-db", &[]);
    let without = TEAM
        .replace("[features.cost-explorer]\nrole = \"admin\"\n", "")
        .replace("[members.frank]\nrole = \"member\"\n", "[members.frank]\nrole = \"member\"\ndisabled = true\n");
    world.apply("olivia", &without).ok();
    let log = log(&world);
    let expected = json!([
        { "action": "team.applied", "actor": "olivia" },
        { "action": "grant.revoked", "actor": "olivia", "request": 1,
          "detail": { "by": "olivia", "because": { "gone": "feature:cost-explorer" } } },
        { "action": "request.withdrawn", "actor": "olivia", "request": 2,
          "detail": { "by": "olivia", "because": "member_gone" } }
    ]);
    shows(&json!(log[log.len() - 3..]), &expected);
}

#[test]
fn acting_as_another_records_the_member_and_the_unix_user() {
    let world = World::sample();
    world.run("olivia", &["--as", "bob", "request", "target:orders-db", "--reason", "x"]).ok();
    world.run("olivia", &["--as", "alice", "approve", "1"]).ok();
    world.run("olivia", &["--as", "bob", "audit"]).exits(3);
    let expected = json!([
        { "action": "request.submitted", "actor": "bob", "os_user": "olivia" },
        { "action": "request.approved", "actor": "alice", "os_user": "olivia" },
        { "action": "grant.started", "actor": "alice", "os_user": "olivia" },
        { "action": "attempt.refused", "actor": "bob", "os_user": "olivia" }
    ]);
    shows(&json!(log(&world)[1..]), &expected);
}

#[test]
fn filters_narrow_and_combine() {
    let world = World::sample(); // 1
    world.grant("bob", "target:orders-db", "alice", &[]); // 2, 3, 4
    world.pass("1h");
    world.request("carol", "target:orders-db", &[]); // 5
    world.pass("1h");
    world.run("alice", &["deny", "2"]).ok(); // 6

    assert_eq!(filtered(&world, &[]), [6, 5, 4, 3, 2, 1]);
    assert_eq!(filtered(&world, &["--request", "1"]), [4, 3, 2]);
    assert_eq!(filtered(&world, &["--actor", "alice"]), [6, 4, 3]);
    assert_eq!(filtered(&world, &["--action", "request.submitted"]), [5, 2]);
    assert_eq!(filtered(&world, &["--since", "2026-11-24T10:00:00Z"]), [6, 5], "that second belongs to it");
    assert_eq!(filtered(&world, &["--until", "2026-11-24T10:00:00Z"]), [5, 4, 3, 2, 1], "so it does here");
    assert_eq!(filtered(&world, &["--since", "90m ago", "--until", "10:30"]), [5]);
    assert_eq!(filtered(&world, &["--actor", "alice", "--request", "2"]), [6]);
    assert_eq!(filtered(&world, &["--limit", "2"]), [6, 5]);
    assert_eq!(filtered(&world, &["--actor", "heidi"]), [0_i64; 0]);
    world.run("olivia", &["audit", "--action", "request.pondered"]).exits(2);
}

#[test]
fn a_limit_says_how_many_more_there_are() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let ran = world.run("olivia", &["audit", "--limit", "1"]).ok().says("… and 3 more");
    assert!(ran.out.contains("grant.started") && !ran.out.contains("request.approved"), "{}", ran.out);
    // Of those that the filter lets through, and nothing when all are shown.
    world.run("olivia", &["audit", "--limit", "1", "--actor", "alice"]).ok().says("… and 1 more");
    for limit in ["4", "0"] {
        let all = world.run("olivia", &["audit", "--limit", limit]).ok();
        assert!(!all.out.contains("more"), "{}", all.out);
    }
}

#[test]
fn a_table_stops_at_fifty_and_json_does_not() {
    let world = World::sample();
    for n in 0..26 {
        world.request("bob", "target:orders-db", &[]);
        world.run("bob", &["withdraw", &(n + 1).to_string()]).ok();
    }
    world.run("olivia", &["audit"]).ok().says("… and 3 more");
    assert_eq!(filtered(&world, &[]).len(), 53);
}

#[test]
fn export_gives_the_whole_log_oldest_first_an_object_a_line() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let ran = world.run("alice", &["audit", "export", "--format", "jsonl"]).ok();
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, log(&world));
    assert!(ran.out.ends_with('\n'));
    world.run("bob", &["audit", "export", "--format", "jsonl"]).fails(3, "only admins");
    world.run("bob", &["audit", "export", "--format", "csv"]).fails(3, "only admins");
}

#[test]
fn exported_csv_brings_every_cell_across_and_no_formula() {
    let world = World::sample();
    let reason = "=cmd|' /C calc'!A0 \"quoted\", and\na second line";
    world.run("bob", &["request", "target:orders-db", "--reason", reason]).ok();
    // A Unix user name may begin like a formula.
    world.run("=cmd|calc", &["--as", "alice", "deny", "1", "--reason", "@SUM(A1)"]).ok();
    let text = world.run("alice", &["audit", "export", "--format", "csv"]).ok().out;
    let rows = csv(&text);
    assert_eq!(rows[0][..7], ["seq", "at", "actor", "os_user", "action", "request", "detail"]);
    let log = log(&world);
    assert_eq!(rows.len(), 1 + log.len());
    for (row, entry) in rows[1..].iter().zip(&log) {
        assert_eq!(row.len(), rows[0].len());
        assert_eq!(row[0], entry["seq"].to_string());
        assert_eq!(row[4], entry["action"].as_str().unwrap());
        let detail: Value = serde_json::from_str(&row[6]).unwrap();
        assert_eq!(detail, entry["detail"]);
        for cell in row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "a spreadsheet would act on {cell}");
        }
    }
    assert_eq!(rows[2][6].matches("quoted").count(), 1);
    assert_eq!(rows[3][3], "'=cmd|calc");
}

#[test]
fn anybody_can_recompute_the_chain_from_the_stored_bytes() {
    let world = World::sample();
    world.run("bob", &["request", "target:orders-db", "--reason", "Größe\n\"quoted\""]).ok();
    world.run("alice", &["approve", "1"]).ok();
    world.run("bob", &["audit"]).exits(3);
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    let bytes = |hex: &str| -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let mut previous = vec![0; 32];
    let rows = world.rows("SELECT hex(body), hex(hash) FROM event ORDER BY seq");
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let (body, hash) = row.split_once('|').unwrap();
        let linked = Sha256::new().chain_update(&previous).chain_update(bytes(body)).finalize().to_vec();
        assert_eq!(linked, bytes(hash));
        previous = linked;
    }
    // What is hashed is what is shown: the columns to search by are only copies.
    let copies = "SELECT count(*) FROM event WHERE seq IS NOT body ->> 'seq' OR actor IS NOT body ->> 'actor'
         OR os_user IS NOT body ->> 'os_user' OR action IS NOT body ->> '$.event.action'
         OR request IS NOT body ->> '$.event.detail.request'
         OR at IS NOT CAST(strftime('%s', body ->> 'at') AS INTEGER)";
    assert_eq!(world.rows(copies), ["0"]);
}

#[test]
fn an_attempt_that_was_refused_is_recorded_reading_included() {
    let world = World::sample();
    world.request("alice", "feature:export-customers", &[]);
    let attempts: [(&str, &[&str], &str); 8] = [
        ("alice", &["approve", "1"], "approve"),
        ("bob", &["who", "target:orders-db"], "who"),
        ("bob", &["audit"], "audit"),
        ("bob", &["request", "target:orders-db", "--reason", "x", "--for", "carol"], "request"),
        ("bob", &["team", "apply", "team.toml", "--yes"], "team apply"),
        ("stranger", &["whoami"], "whoami"),
        ("stranger", &["inbox", "--mark-read"], "inbox --mark-read"),
        ("stranger", &["doctor", "--accept-clock"], "doctor --accept-clock"),
    ];
    std::fs::write(world.folder().join("team.toml"), TEAM).unwrap();
    for (n, (login, args, command)) in attempts.into_iter().enumerate() {
        let before = count(&world);
        let ran = world.run(login, args).exits(3);
        assert_eq!(count(&world), before + 1, "{}", ran.line);
        let entry = log(&world).pop().unwrap();
        shows(&entry, &json!({ "action": "attempt.refused", "os_user": login, "detail": { "command": command } }));
        // The reason recorded is the one that was given.
        let why = entry["detail"]["why"].as_str().unwrap();
        assert!(ran.err.contains(why), "{n}: {why}\n{}", ran.err);
    }
}

#[test]
fn refused_attempts_are_limited_to_twenty_per_person_and_hour() {
    let world = World::sample();
    for _ in 0..22 {
        world.run("bob", &["who", "target:orders-db"]).exits(3);
    }
    assert_eq!(refused(&world), 20);
    world.run("carol", &["who", "target:orders-db"]).exits(3);
    assert_eq!(refused(&world), 21, "another person's count is their own");
    world.pass("1h");
    world.run("bob", &["approve", "99"]).exits(4);
    world.run("bob", &["audit"]).exits(3);
    assert_eq!(refused(&world), 22);
}

/// The count is made under the write lock, so it looks at a bounded number of entries. Where there were more in an hour,
/// it errs towards recording.
#[test]
fn refused_attempts_are_counted_among_the_last_two_thousand_entries() {
    let world = World::sample();
    let attempt = || world.run("bob", &["who", "target:orders-db"]).exits(3);
    for _ in 0..22 {
        attempt();
    }
    let recorded = || world.rows("SELECT count(*) FROM event WHERE action = 'attempt.refused' AND os_user = 'bob'");
    assert_eq!(recorded(), ["20"]);
    let others = |count: u32| {
        world.rows(&format!(
            "BEGIN;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO event SELECT (SELECT max(seq) FROM event) + i, at, actor, os_user, 'request.lapsed', request, hash, body
                 FROM n, event WHERE seq = 1;
             UPDATE team SET last_seq = (SELECT max(seq) FROM event);
             COMMIT;"
        ))
    };
    others(1980);
    attempt();
    assert_eq!(recorded(), ["20"], "all twenty are among the last two thousand");
    others(1);
    for _ in 0..30 {
        attempt();
    }
    assert_eq!(recorded(), ["40"], "those that go out of the two thousand are made up for, and no more");
}

#[test]
fn usage_what_is_not_there_and_conflicts_leave_no_trace() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let before = world.rows(".dump");
    let attempts: [(&str, &[&str], i32); 11] = [
        ("bob", &["request", "target:billing-db"], 2),
        ("bob", &["request", "target:billing-db", "--reason", " "], 2),
        ("bob", &["request", "target:billing-db", "--reason", "x", "--duration", "soon"], 2),
        ("bob", &["request", "target:billing-db", "--reason", "x", "--until", "2026-11-24T08:00:00Z"], 2),
        ("bob", &["request", "target:no-such", "--reason", "x"], 4),
        ("alice", &["approve", "99"], 4),
        ("alice", &["approve", "1", "--scope", "no-such"], 4),
        ("carol", &["show", "1"], 4),
        ("bob", &["request", "target:orders-db", "--reason", "again"], 5),
        ("bob", &["request", "feature:deploy", "--reason", "x"], 5),
        ("alice", &["revoke", "1"], 5),
    ];
    for (login, args, code) in attempts {
        world.run(login, args).exits(code);
    }
    assert_eq!(world.rows(".dump"), before);
}

#[test]
fn check_never_writes_not_even_refusals_nor_while_the_clock_is_back() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    world.grant("carol", "target:orders-db", "alice", &["--duration", "1h"]);
    let before = world.rows(".dump");
    let checks = || {
        world.run("bob", &["check", "target:orders-db"]).exits(1);
        world.run("carol", &["check", "target:orders-db"]).exits(0);
        world.run("bob", &["check", "target:orders-db", "--user", "carol"]).exits(3);
        world.run("stranger", &["check", "target:orders-db"]).exits(3);
        world.run("bob", &["check", "target:no-such"]).exits(4);
    };
    checks();
    world.set_clock("2026-11-24T09:00:00Z");
    checks();
    assert_eq!(world.rows(".dump"), before);
}

#[test]
fn the_file_itself_refuses_to_change_or_drop_an_entry() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let before = world.rows("SELECT actor, body, hex(hash) FROM event");
    for statement in ["UPDATE event SET actor = 'carol' WHERE seq = 2", "DELETE FROM event WHERE seq = 2"] {
        let output = world.sqlite(statement);
        assert!(!output.status.success(), "{statement}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("append-only"), "{output:?}");
    }
    assert_eq!(world.rows("SELECT actor, body, hex(hash) FROM event"), before);
}

#[test]
fn the_log_about_a_resource_or_a_member() {
    let world = World::sample();
    // 1: bob's, approved as something else; 2: carol's, filed by alice.
    world.request("bob", "target:orders-db", &["--duration", "1h"]);
    world.run("alice", &["approve", "1", "--scope", "orders-read"]).ok();
    world.request("alice", "feature:cost-explorer", &["--for", "bob"]);
    world.request("carol", "target:billing-db", &[]);
    world.run("erin", &["deny", "3", "--reason", "No"]).ok();
    world.run("dave", &["audit"]).exits(3);
    world
        .apply(
            "olivia",
            &TEAM.replace("[targets.billing-db]\nconnections = [\"prod-aws\"]\n", "").replace("\"dave\"", "\"erin\""),
        )
        .ok();
    let about = |filters: &[&str]| -> Vec<(String, Value)> {
        let args: Vec<&str> = ["audit"].into_iter().chain(filters.iter().copied()).collect();
        let entries = world.json("olivia", &args);
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["action"].as_str().unwrap().to_owned(), it["request"].clone()))
            .collect()
    };
    let is = |found: Vec<(String, Value)>, expected: &[(&str, Value)]| {
        let expected: Vec<_> = expected.iter().map(|(action, id)| ((*action).to_owned(), id.clone())).collect();
        assert_eq!(found, expected);
    };
    let orders = [("grant.started", json!(1)), ("request.approved", json!(1)), ("request.submitted", json!(1))];
    is(about(&["--resource", "scope:orders-read"]), &[&orders[..], &[("team.initialized", Value::Null)]].concat());
    is(about(&["--resource", "orders-db"]), &[&orders[..], &[("team.initialized", Value::Null)]].concat());
    let billing = [
        ("team.applied", Value::Null),
        ("request.denied", json!(3)),
        ("request.submitted", json!(3)),
        ("team.initialized", Value::Null),
    ];
    // Gone from the team, and still in the log.
    is(about(&["--resource", "target:billing-db"]), &billing);
    is(
        about(&["--member", "carol"]),
        &[("request.denied", json!(3)), ("request.submitted", json!(3)), ("team.initialized", Value::Null)],
    );
    // A group lost dave and gained erin.
    let applied = ("team.applied", Value::Null);
    let initialized = ("team.initialized", Value::Null);
    is(about(&["--member", "dave"]), &[applied.clone(), ("attempt.refused", Value::Null), initialized.clone()]);
    assert_eq!(about(&["--member", "erin"])[0].0, "team.applied");
    // A rule, and then none, names grace; a scope that stays hers is no change.
    is(about(&["--member", "grace"]), std::slice::from_ref(&initialized));
    let rule = "[[rules]]\nname = \"r\"\nmatch = { resources = [\"target:*\"] }\napprovers = [\"member:grace\"]\n";
    world.apply("olivia", &format!("{TEAM}{rule}")).ok();
    world.apply("olivia", &format!("{TEAM}{rule}").replace("target:*", "target:o*")).ok();
    world.apply("olivia", TEAM).ok();
    is(about(&["--member", "grace"]), &[applied.clone(), applied, initialized.clone()]);
    world.run("alice", &["recertify", "start", "--group", "support", "--due", "4h"]).ok();
    assert_eq!(about(&["--member", "grace"])[0].0, "recertification.started");
    let by_alice =
        ["recertification.started", "request.submitted", "grant.started", "request.approved", "team.initialized"];
    assert_eq!(about(&["--member", "alice"]).iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), by_alice);
    is(
        about(&["--member", "bob", "--action", "request.submitted", "--resource", "feature:cost-explorer"]),
        &[("request.submitted", json!(2))],
    );
    world.run("olivia", &["audit", "--member", "nobody"]).fails(4, "there is no member nobody");
    world.run("olivia", &["audit", "--resource", "target:none"]).fails(4, "there is no target:none");
    // Texts name whose access it is.
    let text = world.run("olivia", &["audit"]).ok();
    for says in ["alice approved request 1 of bob", "(request 1 of bob)", "erin denied request 3 of carol"] {
        assert!(text.out.contains(says), "{says}: {text:?}");
    }
    assert_eq!(world.json("olivia", &["audit", "--request", "3"])[0]["requester"], "carol");
}

#[test]
fn a_range_of_the_log_is_exported() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &["--duration", "2d"]);
    world.pass("1d");
    world.run("alice", &["approve", "1"]).ok();
    world.pass("1d");
    world.run("alice", &["revoke", "1"]).ok();
    let export = |more: &[&str]| {
        let args: Vec<&str> = ["audit", "export", "--format"].into_iter().chain(more.iter().copied()).collect();
        world.run("olivia", &args)
    };
    let actions = |more: &[&str]| -> Vec<String> {
        let ran = export(&[&["jsonl"], more].concat()).ok();
        let entries = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&["--since", "2026-11-25"]), ["request.approved", "grant.started", "grant.revoked"]);
    assert_eq!(actions(&["--since", "2026-11-25", "--until", "2026-11-26"]), ["request.approved", "grant.started"]);
    assert_eq!(actions(&["--until", "2026-11-24T09:00:00Z"]), ["team.initialized", "request.submitted"]);
    assert_eq!(csv(&export(&["csv", "--until", "2026-11-25"]).ok().out).len(), 3);
    export(&["raw", "--since", "2026-11-25"]).fails(2, "a raw export is verified as a whole");
    export(&["jsonl", "--since", "2026-11-26", "--until", "2026-11-25"]).fails(2, "--until is before --since");
}
