//! `--json`: what scripts read, field by field.

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};

/// The failures on stderr, an object a line.
fn errors(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|request| request["id"].as_i64().unwrap()).collect()
}

#[test]
fn a_pending_request_is_the_same_from_request_show_and_list() {
    let world = World::sample();
    let admins = ["alice", "erin", "olivia"];
    let expected = json!({
        "id": 1, "state": "pending", "requester": "bob", "filed_by": "bob", "resource": "target:orders-db",
        "reason": "stuck", "duration": "1h30m", "until": null, "start": null, "ticket": "OPS-12", "extends": null,
        "emergency": false, "review": null, "submitted_at": "2026-11-24T09:00:00Z", "decisions": [],
        "approvals": {
            "have": 0, "need": 1, "waiting_on": admins,
            "requirements": [{ "rule": null, "have": 0, "need": 1, "waiting_on": admins }]
        },
        "grant": null
    });
    let ask = ["request", "target:orders-db", "--reason", "stuck", "--duration", "90m", "--ticket", "OPS-12"];
    shows(&world.json("bob", &ask), &expected);
    shows(&world.json("bob", &["show", "1"]), &expected);
    shows(&world.json("alice", &["list"]), &json!([expected]));
}

#[test]
fn a_request_filed_for_another_names_both_and_waits_on_neither() {
    let world = World::sample();
    let filed = world.json("alice", &["request", "target:orders-db", "--reason", "new here", "--for", "dave"]);
    shows(&filed, &json!({ "requester": "dave", "filed_by": "alice", "duration": "1h" }));
    shows(&filed["approvals"], &json!({ "waiting_on": ["erin", "olivia"] }));
}

#[test]
fn an_approval_with_modifications_shows_the_terms_given() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let approved =
        world.json("alice", &["approve", "1", "--duration", "60m", "--scope", "orders-read", "--note", "Enough"]);
    let expected = json!({
        "id": 1, "state": "active", "resource": "target:orders-db", "duration": "4h",
        "decisions": [{
            "by": "alice", "verdict": "approve", "note": "Enough", "at": "2026-11-24T09:00:00Z", "counts": true,
            "terms": { "resource": "scope:orders-read", "duration": "1h", "until": null, "start": null }
        }],
        "approvals": {
            "have": 1, "need": 1, "waiting_on": [],
            "requirements": [{ "rule": null, "have": 1, "need": 1, "waiting_on": [] }]
        },
        "grant": {
            "resource": "scope:orders-read", "scope": "orders-read", "duration": "1h", "modified": true,
            "starts_at": "2026-11-24T09:00:00Z", "ends_at": "2026-11-24T10:00:00Z", "remaining_seconds": 3600,
            "ended_at": null, "ended_by": null
        }
    });
    shows(&approved, &expected);
    world.pass("2m");
    shows(&world.json("bob", &["show", "1"])["grant"], &json!({ "remaining_seconds": 3480 }));
}

#[test]
fn an_approval_as_asked_is_not_modified() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &["--duration", "4h"]);
    // The same length in other words is the same.
    let approved = world.json("alice", &["approve", "1", "--duration", "240m"]);
    let grant = json!({ "resource": "target:orders-db", "scope": null, "duration": "4h", "modified": false });
    shows(&approved["grant"], &grant);
    assert!(approved["decisions"][0].get("terms").is_none(), "{approved:#}");
    shows(&approved["decisions"][0], &json!({ "note": null, "counts": true }));
}

#[test]
fn permanent_access_has_no_end_and_no_countdown() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &["--duration", "permanent"]);
    let approved = world.json("alice", &["approve", "1"]);
    shows(&approved, &json!({ "duration": "permanent", "until": null }));
    let grant = json!({ "duration": "permanent", "ends_at": null, "remaining_seconds": null, "modified": false });
    shows(&approved["grant"], &grant);
}

#[test]
fn an_instant_asked_for_is_until_and_no_duration() {
    let world = World::sample();
    // Another time zone's way of saying it comes back in UTC.
    world.request("bob", "target:orders-db", &["--until", "2026-11-24T18:00:00+01:00"]);
    let approved = world.json("alice", &["approve", "1"]);
    shows(&approved, &json!({ "duration": null, "until": "2026-11-24T17:00:00Z" }));
    let grant = json!({ "duration": null, "ends_at": "2026-11-24T17:00:00Z", "remaining_seconds": 28800 });
    shows(&approved["grant"], &grant);

    world.request("carol", "target:orders-db", &[]);
    let approved = world.json("alice", &["approve", "2", "--until", "12:00"]);
    shows(&approved, &json!({ "duration": "1h", "until": null, "grant": { "modified": true, "duration": null } }));
    let terms = json!({ "resource": "target:orders-db", "duration": null, "until": "2026-11-24T12:00:00Z" });
    shows(&approved["decisions"][0]["terms"], &terms);
}

#[test]
fn denied_and_withdrawn_requests_have_no_grant() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let denied = world.json("erin", &["deny", "1", "--reason", "Use the replica"]);
    let decisions = json!([{
        "by": "erin", "verdict": "deny", "note": "Use the replica", "at": "2026-11-24T09:00:00Z", "counts": true
    }]);
    shows(&denied, &json!({ "id": 1, "state": "denied", "grant": null, "decisions": decisions }));
    shows(&denied["approvals"], &json!({ "have": 0, "need": 1, "waiting_on": [] }));

    world.request("bob", "target:billing-db", &[]);
    let withdrawn = world.json("bob", &["withdraw", "2"]);
    shows(&withdrawn, &json!({ "id": 2, "state": "withdrawn", "grant": null, "decisions": [] }));
    shows(&withdrawn["approvals"], &json!({ "waiting_on": [] }));
}

#[test]
fn a_revoked_grant_says_when_and_by_whom() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.pass("10m");
    let revoked = world.json("erin", &["revoke", "1"]);
    let grant = json!({
        "ends_at": "2026-11-24T13:00:00Z", "remaining_seconds": 0, "ended_at": "2026-11-24T09:10:00Z", "ended_by": "erin"
    });
    shows(&revoked, &json!({ "id": 1, "state": "revoked", "grant": grant }));
}

#[test]
fn access_ended_by_the_clock_whenever_cron_noticed() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.pass("3h");
    let grant = json!({ "remaining_seconds": 0, "ended_at": "2026-11-24T10:00:00Z", "ended_by": null });
    let expected = json!({ "state": "expired", "grant": grant });
    shows(&world.json("bob", &["show", "1"]), &expected);
    world.run("root", &["expire"]).ok();
    shows(&world.json("bob", &["show", "1"]), &expected);
}

#[test]
fn several_ids_give_an_array_and_an_error_a_failure() {
    let world = World::sample();
    for resource in ["target:orders-db", "target:billing-db", "connection:prod-aws"] {
        world.request("bob", resource, &[]);
    }
    let ran = world.run("alice", &["approve", "1", "99", "2", "1", "3", "--json"]).exits(4);
    assert_eq!(ids(&ran.json()), [1, 2, 3]);
    shows(&ran.json()[2], &json!({ "id": 3, "state": "active", "grant": { "modified": false } }));
    let failures = errors(&ran.err);
    shows(&json!(failures), &json!([{ "error": { "kind": "not_found" } }]));
    assert!(failures[0]["error"]["message"].as_str().unwrap().contains("99"), "{failures:?}");

    // The other verbs alike; the code is that of the first failure.
    world.run("alice", &["revoke", "1", "1"]).ok();
    let ran = world.run("alice", &["revoke", "1", "99", "2", "--json"]).exits(5);
    assert_eq!(ids(&ran.json()), [2]);
    shows(
        &json!(errors(&ran.err)),
        &json!([{ "error": { "kind": "conflict" } }, { "error": { "kind": "not_found" } }]),
    );
    let ran = world.run("alice", &["deny", "98", "99", "--json"]).exits(4);
    assert_eq!(ran.json(), json!([]), "none succeeded");
    world.request("carol", "target:orders-db", &[]);
    world.request("carol", "target:billing-db", &[]);
    let ran = world.run("carol", &["withdraw", "4", "5", "--json"]).ok();
    assert_eq!(ids(&ran.json()), [4, 5]);
    assert_eq!(ran.err, "");
}

#[test]
fn a_list_is_an_array_newest_first_even_when_empty() {
    let world = World::sample();
    assert_eq!(world.json("alice", &["list"]), json!([]));
    world.request("bob", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    world.run("bob", &["withdraw", "1"]).ok();
    assert_eq!(ids(&world.json("alice", &["list"])), [2], "the open ones");
    assert_eq!(ids(&world.json("alice", &["list", "--all"])), [2, 1]);
}

#[test]
fn resources_say_how_they_are_held_and_until_when() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.request("bob", "target:billing-db", &[]);
    let all = world.json("bob", &["resources"]);
    let of = |name: &str| all.as_array().unwrap().iter().find(|row| row["resource"] == name).unwrap().clone();
    let row = |resource: &str, held: bool, via: &[&str], until: Value, pending: Value| {
        shows(
            &of(resource),
            &json!({ "resource": resource, "held": held, "via": via, "until": until, "pending": pending }),
        );
    };
    row("target:orders-db-staging", true, &["scope:non-production"], Value::Null, Value::Null);
    row("target:orders-db", true, &["grant:1"], json!("2026-11-24T10:00:00Z"), Value::Null);
    row("target:billing-db", false, &[], Value::Null, json!(2));
    row("feature:deploy", true, &["feature:deploy"], Value::Null, Value::Null);
    row("role:admin", false, &[], Value::Null, Value::Null);
    let only = world.json("bob", &["resources", "target", "--mine"]);
    let names: Vec<&str> = only.as_array().unwrap().iter().map(|row| row["resource"].as_str().unwrap()).collect();
    assert_eq!(names, ["target:orders-api", "target:orders-db", "target:orders-db-staging"]);
}

#[test]
fn whoami_is_the_profile_with_each_live_grant() {
    let world = World::sample();
    let before = json!({
        "member": "bob", "role": "member", "effective_role": "member", "groups": ["backend"],
        "scopes": ["kubernetes", "non-production"], "grants": [], "unread": 0
    });
    shows(&world.json("bob", &["whoami"]), &before);
    world.grant("bob", "target:orders-db", "alice", &["--scope", "orders-read"]);
    world.grant("bob", "role:admin", "alice", &["--duration", "4h"]);
    world.pass("2m");
    let profile = world.json("bob", &["whoami"]);
    shows(&profile, &json!({ "role": "member", "effective_role": "admin", "unread": 2 }));
    assert_eq!(profile["scopes"], json!(["kubernetes", "non-production", "orders-read"]));
    let grant = json!({ "resource": "scope:orders-read", "scope": "orders-read", "remaining_seconds": 3480 });
    shows(&profile["grants"], &json!([{ "id": 1, "state": "active", "grant": grant }, { "id": 2 }]));
}

#[test]
fn check_says_whether_and_because_of_what() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let because = |login: &str, resource: &str, via: &str, name: &str, request: Value, until: Value| {
        let expected = json!({
            "allowed": true, "member": login, "resource": resource,
            "because": [{ "via": via, "name": name, "request": request, "until": until }]
        });
        shows(&world.json(login, &["check", resource]), &expected);
    };
    let end = json!("2026-11-24T10:00:00Z");
    because("alice", "target:orders-db", "role", "admin", Value::Null, Value::Null);
    because("bob", "target:orders-api", "scope", "kubernetes", Value::Null, Value::Null);
    because("bob", "feature:deploy", "feature", "deploy", Value::Null, Value::Null);
    because("bob", "target:orders-db", "grant", "target:orders-db", json!(1), end);

    let no = world.run("carol", &["check", "target:orders-db", "--json"]).exits(1);
    shows(&no.json(), &json!({ "allowed": false, "member": "carol", "resource": "target:orders-db", "because": [] }));
    assert_eq!(no.err, "", "no is an answer, not an error");
    let other = world.json("alice", &["check", "target:orders-db", "--user", "bob"]);
    shows(&other, &json!({ "allowed": true, "member": "bob" }));
}

#[test]
fn who_lists_each_way_of_each_member() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let row = |member: &str, via: &str, name: &str| json!({ "member": member, "via": via, "name": name, "request": null, "until": null });
    let bob = json!({
        "member": "bob", "via": "grant", "name": "target:orders-db", "request": 1, "until": "2026-11-24T10:00:00Z"
    });
    let expected =
        json!([row("alice", "role", "admin"), bob, row("erin", "role", "admin"), row("olivia", "role", "owner")]);
    shows(&world.json("alice", &["who", "target:orders-db"]), &expected);
}

#[test]
fn inbox_rows_and_what_was_marked() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.pass("5m");
    world.run("alice", &["deny", "1", "--reason", "no"]).ok();
    let inbox = world.json("bob", &["inbox"]);
    let row = json!({ "event": "request.denied", "request": 1, "at": "2026-11-24T09:05:00Z", "read_at": null });
    shows(&inbox, &json!([row]));
    assert!(inbox[0]["id"].as_i64().is_some() && inbox[0]["text"].as_str().is_some(), "{inbox:#}");
    world.pass("5m");
    shows(&world.json("bob", &["inbox", "--mark-read"]), &json!({ "marked": 1 }));
    shows(&world.json("bob", &["inbox", "--all"]), &json!([{ "read_at": "2026-11-24T09:10:00Z" }]));
    assert_eq!(world.json("bob", &["inbox"]), json!([]));
}

#[test]
fn expire_always_gives_one_object() {
    let world = World::sample();
    let nothing = json!({ "expired": 0, "started": 0, "expiring": 0, "lapsed": 0, "delivered": 0, "failed": 0 });
    shows(&world.json("root", &["expire"]), &nothing);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "7d"]);
    world.request("bob", "target:billing-db", &[]);
    world.pass("167h30m");
    world.grant("carol", "target:orders-db", "alice", &["--duration", "2h"]);
    world.pass("1h");
    let due = json!({ "expired": 1, "started": 0, "expiring": 1, "lapsed": 1, "failed": 0 });
    shows(&world.json("root", &["expire", "--dry-run"]), &due);
    shows(&world.json("root", &["expire"]), &due);
    shows(&world.json("root", &["expire"]), &nothing);
}

#[test]
fn audit_entries_name_who_what_and_which_request() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["deny", "1", "--reason", "no"]).ok();
    let log = world.json("alice", &["audit", "--limit", "1"]);
    let entry = json!({
        "seq": 3, "at": "2026-11-24T09:00:00Z", "actor": "alice", "os_user": "alice", "action": "request.denied",
        "request": 1, "detail": { "reason": "no" }
    });
    shows(&log, &json!([entry]));
}

#[test]
fn team_apply_gives_the_difference_and_whether_it_was_applied() {
    let world = World::of("olivia", TEAM);
    let changed = TEAM
        .replace("[members.frank]\nrole = \"member\"", "[members.frank]\nrole = \"admin\"")
        .replace("[features.deploy]\nrole = \"member\"\n", "[features.rollback]\nrole = \"member\"\n");
    let path = world.folder().join("team.toml");
    std::fs::write(&path, changed).unwrap();
    let path = path.to_str().unwrap();
    let changes = json!([
        { "change": "change", "what": "member:frank", "from": { "role": "member" }, "to": { "role": "admin" } },
        { "change": "remove", "what": "feature:deploy", "from": { "role": "member" }, "to": null },
        { "change": "add", "what": "feature:rollback", "from": null, "to": { "role": "member" } }
    ]);
    let dry = world.json("olivia", &["team", "apply", path, "--dry-run"]);
    shows(&dry, &json!({ "changes": changes, "applied": false }));
    let applied = world.json("olivia", &["team", "apply", path, "--yes"]);
    shows(&applied, &json!({ "changes": changes, "applied": true }));
    shows(&world.json("olivia", &["team", "apply", path, "--yes"]), &json!({ "changes": [] }));
}

#[test]
fn team_show_and_init_give_an_object() {
    let world = World::empty();
    shows(&world.json("ana", &["init", "--team", "acme"]), &json!({ "team": "acme", "owner": "ana" }));
    let team = world.json("ana", &["team", "show"]);
    shows(&team, &json!({ "team": { "name": "acme" }, "members": { "ana": { "role": "owner", "login": "ana" } } }));
}

#[test]
fn each_failure_is_an_object_with_its_kind() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let cases: [(&str, &[&str], i32, &str); 9] = [
        ("bob", &["request", "target:orders-db"], 2, "usage"),
        ("bob", &["request", "no-such-kind:x", "--reason", "x"], 2, "usage"),
        ("bob", &["request", "no-such-name", "--reason", "x"], 4, "not_found"),
        ("bob", &["approve", "1"], 3, "refused"),
        // No answer at all, rather than an empty list.
        ("bob", &["who", "target:orders-db"], 3, "refused"),
        ("alice", &["who", "target:no-such"], 4, "not_found"),
        ("bob", &["show", "99"], 4, "not_found"),
        ("bob", &["request", "target:orders-db", "--reason", "again"], 5, "conflict"),
        ("bob", &["whoami", "--db", "/nowhere/at/all.db"], 69, "unavailable"),
    ];
    for (login, args, code, kind) in cases {
        let mut args = args.to_vec();
        args.push("--json");
        let ran = world.run(login, &args).exits(code);
        assert_eq!(ran.out, "", "{}", ran.line);
        let failures = errors(&ran.err);
        shows(&json!(failures), &json!([{ "error": { "kind": kind } }]));
        assert!(failures[0]["error"]["message"].is_string() && failures[0]["error"]["hints"].is_array(), "{ran:?}");
    }
}
