//! The filters of `list` that an auditor asks with, and CSV.

use serde_json::Value;

use crate::audit::csv;
use crate::harness::{TEAM, World};

fn ids(world: &World, login: &str, filters: &[&str]) -> Vec<i64> {
    let args: Vec<&str> = ["list"].into_iter().chain(filters.iter().copied()).collect();
    world.json(login, &args).as_array().unwrap().iter().map(|view| view["id"].as_i64().unwrap()).collect()
}

/// 1: permanent, approved by alice. 2: denied, with a note. 3: revoked. 4: an emergency, reviewed. 5: one that is not.
/// 6: pending, permanent.
fn world() -> World {
    let world = World::sample();
    let rule =
        "[[rules]]\nname = \"break glass\"\nmatch = { resources = [\"connection:prod-aws\"] }\nemergency = true\n";
    world.apply("olivia", &(TEAM.to_owned() + rule)).ok();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent", "--note", "The DBA leaves"]);
    world.request("carol", "target:billing-db", &["--ticket", "OPS-12", "--duration", "1h"]);
    world.run("erin", &["deny", "2", "--reason", "Use the Replica"]).ok();
    world.pass("1d");
    world.grant("dave", "target:orders-db", "erin", &["--duration", "2h"]);
    world.run("erin", &["revoke", "3"]).ok();
    let emergency = |login: &str| world.request(login, "connection:prod-aws", &["--emergency", "--duration", "1h"]);
    emergency("bob");
    world.run("alice", &["review", "4", "--note", "Fixed the failover"]).ok();
    emergency("carol");
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    world.request("grace", "target:orders-api", &["--duration", "permanent", "--ticket", "OPS-120"]);
    world
}

#[test]
fn each_filter_finds_its_requests() {
    let world = world();
    for (filters, expected) in [
        (&["--permanent"][..], &[6, 1][..]),
        (&["--permanent", "--state", "active"], &[1]),
        (&["--emergency"], &[5, 4]),
        (&["--unreviewed"], &[5]),
        (&["--ticket", "OPS-12"], &[2]),
        (&["--search", "replica"], &[2]),
        (&["--search", "dba LEAVES"], &[1]),
        (&["--search", "failover"], &[4]),
        (&["--search", "ops-12"], &[6, 2]),
        (&["--search", "%"], &[]),
        (&["--approver", "alice"], &[1]),
        (&["--approver", "erin"], &[3]),
        (&["--approver", "erin", "--state", "active"], &[]),
        (&["--granted-since", "2026-11-25"], &[5, 4, 3]),
        (&["--granted-since", "2026-11-24", "--requester", "bob"], &[4, 1]),
        (&["--emergency", "--requester", "bob"], &[4]),
    ] {
        assert_eq!(ids(&world, "alice", filters), expected, "{filters:?}");
        let now = world.now().to_string();
        assert_eq!(ids(&world, "alice", &[filters, &["--at", &now]].concat()), expected, "{filters:?} --at now");
    }
    // Others find only what they may see; an emergency that owes its review hides from nobody.
    assert_eq!(ids(&world, "grace", &["--emergency"]), [5]);
    assert_eq!(ids(&world, "grace", &["--search", "testing"]), [6, 5]);
    world.run("alice", &["list", "--approver", "alcie"]).fails(4, "there is no member alcie");
    world.run("alice", &["list", "--permanent", "--emergency"]).exits(2);
    world.run("alice", &["list", "--granted-since", "in 2d"]).exits(2);
    for line in [["list", "--csv", "--json"], ["--json", "list", "--csv"], ["--json", "whoami", "--watch"]] {
        let ran = world.run("alice", &line).exits(2);
        assert!(ran.err.contains("cannot be used with '--json'") && ran.out.is_empty(), "{ran:?}");
    }
}

#[test]
fn a_table_for_spreadsheets_has_flat_cells_and_no_formula() {
    let world = world();
    let args = [
        "request",
        "target:orders-db",
        "--reason",
        "=HYPERLINK(\"http://evil\")\nsecond line, \"quoted\"",
        "--duration",
        "30m",
    ];
    world.run("frank", &args).ok();
    world.run("alice", &["approve", "7", "--resource", "scope:orders-read"]).ok();
    let ran = world.run("alice", &["list", "--all", "--csv"]).ok();
    let rows = csv(&ran.out);
    let header = "id,requester,resource,reason,ticket,asked,granted,approvers,decided_at,starts_at,ends_at,ended_at,\
                  ended_by,emergency,reviewed_by,state,submitted_at,reviewed_at";
    assert_eq!(rows[0].join(","), header);
    assert_eq!(rows.len(), 8, "no limit: {rows:#?}");
    let cell = |id: &str, name: &str| -> String {
        let column = rows[0].iter().position(|cell| cell == name).unwrap();
        rows.iter().find(|row| row[0] == id).unwrap()[column].clone()
    };
    assert!(cell("7", "reason").starts_with("'=HYPERLINK"), "{}", cell("7", "reason"));
    assert_eq!(cell("7", "granted"), "scope:orders-read 30m");
    assert_eq!((cell("7", "asked"), cell("7", "approvers")), ("30m".to_owned(), "alice".to_owned()));
    assert_eq!((cell("1", "granted"), cell("1", "ends_at")), ("permanent".to_owned(), String::new()));
    assert_eq!((cell("3", "ended_by"), cell("3", "state")), ("erin".to_owned(), "revoked".to_owned()));
    assert_eq!(cell("3", "ended_at"), "2026-11-25T09:00:00Z");
    assert_eq!((cell("2", "approvers"), cell("2", "decided_at")), (String::new(), "2026-11-24T09:00:00Z".to_owned()));
    assert_eq!((cell("4", "approvers"), cell("4", "reviewed_by")), ("rule:break glass".to_owned(), "alice".to_owned()));
    assert_eq!((cell("5", "emergency"), cell("5", "reviewed_by")), ("true".to_owned(), String::new()));
    assert_eq!((cell("6", "asked"), cell("6", "granted")), ("permanent".to_owned(), String::new()));
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with('{') && !cell.starts_with('[')));
    // The header is there without any row, and not if it fails.
    assert_eq!(csv(&world.run("alice", &["list", "--ticket", "OPS-1", "--csv"]).ok().out).len(), 1);
    assert_eq!(world.run("stranger", &["list", "--csv"]).exits(3).out, "");
    let ids: Vec<Value> = world.json("alice", &["list", "--all", "--limit", "2"]).as_array().unwrap().clone();
    assert_eq!(csv(&world.run("alice", &["list", "--all", "--csv", "--limit", "2"]).ok().out).len() - 1, ids.len());
}
