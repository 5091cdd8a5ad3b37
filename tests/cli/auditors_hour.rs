//! An auditor who is no admin asks about a year of a team of 50, each question by one command.

use std::collections::{BTreeMap, BTreeSet};

use access::domain::time::Timestamp;
use serde_json::{Value, json};

use crate::audit::csv;
use crate::harness::World;
use crate::year;

/// From filing to the decision, in seconds, of all requests that were decided before this day: in order, without emergencies.
fn waits(log: &[Value], before: &str) -> Vec<i64> {
    let seconds = |entry: &Value| entry["at"].as_str().unwrap().parse::<Timestamp>().unwrap().unix();
    let (mut filed, mut waits) = (BTreeMap::new(), Vec::new());
    for entry in log.iter().filter(|entry| entry["at"].as_str().unwrap() < before) {
        let request = entry["request"].as_i64();
        match entry["action"].as_str().unwrap() {
            "request.submitted" if entry["detail"]["emergency"] != true => {
                filed.insert(request, seconds(entry));
            }
            "grant.started" | "grant.scheduled" | "request.denied" => {
                waits.extend(filed.remove(&request).map(|at| seconds(entry) - at));
            }
            _ => {}
        }
    }
    waits.sort_unstable();
    waits
}

#[test]
fn an_auditor_asks_about_a_year_and_each_question_is_one_command() {
    let world = World::empty();
    if world.hosts().is_some() {
        return;
    }
    let checkpoint = year::fill(&world.db(), 7, 400).unwrap();
    world.set_clock("2027-01-04T09:00:00Z");
    let zoe = |args: &[&str]| world.run("zoe", args).ok();
    let json = |args: &[&str]| world.json("zoe", args).as_array().unwrap().clone();
    // What the log says, entry by entry, without any of the code that answers.
    let log: Vec<Value> = zoe(&["audit", "export", "--format", "jsonl"])
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_action = |action: &str| log.iter().filter(|entry| entry["action"] == action).collect::<Vec<_>>();
    let at = |entry: &Value| entry["at"].as_str().unwrap().to_owned();

    // Who had prod-aws on the first of March at noon?
    let noon = "2026-03-01T12:00:00Z";
    let over = |id: &Value| {
        let ends =
            log.iter().filter(|entry| ["grant.expired", "grant.revoked"].contains(&entry["action"].as_str().unwrap()));
        ends.filter(|entry| entry["request"] == *id).any(|entry| at(entry).as_str() <= noon)
    };
    let live = of_action("grant.started").into_iter().filter(|entry| {
        let detail = &entry["detail"];
        detail["resource"] == "connection:prod-aws"
            && detail["starts_at"].as_str().unwrap() <= noon
            && detail["ends_at"].as_str().is_none_or(|end| end > noon)
            && !over(&entry["request"])
    });
    let expected: BTreeSet<String> = live.map(|entry| entry["detail"]["member"].as_str().unwrap().to_owned()).collect();
    let holders = json(&["who", "connection:prod-aws", "--at", "2026-03-01 12:00"]);
    let by = |via: &str| -> BTreeSet<String> {
        let of = holders.iter().filter(|holder| holder["via"] == via);
        of.map(|holder| holder["member"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(by("grant"), expected);
    assert!(!expected.is_empty(), "nobody had it, so nothing is tested");
    assert_eq!(by("role").len(), 4, "the admins and the owner");

    // All that alice approved in the third quarter.
    let quarter = ["--since", "2026-07-01", "--until", "2026-09-30 23:59:59"];
    let approved = json(&[&["audit", "--actor", "alice", "--action", "request.approved"], &quarter[..]].concat());
    let expected = of_action("request.approved")
        .into_iter()
        .filter(|entry| entry["actor"] == "alice" && ("2026-07-01".."2026-10-01").contains(&at(entry).as_str()));
    assert_eq!(approved.len(), expected.count());
    assert!(approved.len() > 5);
    let text =
        zoe(&[&["audit", "--actor", "alice", "--action", "request.approved", "--limit", "1"], &quarter[..]].concat());
    assert!(text.out.contains("alice approved request") && text.out.contains(" of e"), "{text:?}");

    // All emergencies, who reviewed them, and when.
    let rows = csv(&zoe(&["list", "--emergency", "--csv"]).out);
    let column = |name: &str| rows[0].iter().position(|cell| cell == name).unwrap();
    let taken = of_action("request.submitted").into_iter().filter(|entry| entry["detail"]["emergency"] == true);
    assert_eq!(rows.len() - 1, taken.count());
    let reviewed = rows[1..].iter().filter(|row| !row[column("reviewed_by")].is_empty());
    assert_eq!(reviewed.clone().count(), of_action("request.reviewed").len());
    assert!(reviewed.clone().all(|row| row[column("reviewed_at")].starts_with("2026-")));
    let unreviewed = json(&["list", "--unreviewed"]);
    assert_eq!(unreviewed.len(), rows.len() - 1 - reviewed.count());

    // How long approvals take.
    let report = world.json("zoe", &["report", "--since", "2026-01-01", "--until", "2026-12-31 23:59:59"]);
    let waits = waits(&log, "2027-01-01");
    let nearest_rank = |percent: usize| json!(waits[(waits.len() * percent).div_ceil(100) - 1]);
    assert_eq!(report["decided"], json!(waits.len()));
    assert_eq!(report["median_seconds_to_decision"], nearest_rank(50));
    assert_eq!(report["p90_seconds_to_decision"], nearest_rank(90));
    // The same of every decided request, to compute with.
    let all = csv(&zoe(&["list", "--all", "--csv"]).out);
    assert_eq!(all.len() - 1, of_action("request.submitted").len());
    let decided = all[1..].iter().filter(|row| !row[column("decided_at")].is_empty());
    assert!(
        decided.clone().count() > 100
            && decided.into_iter().all(|row| row[column("submitted_at")] <= row[column("decided_at")])
    );

    // Who holds what without end.
    let permanent = json(&["list", "--permanent", "--state", "active"]);
    assert!(!permanent.is_empty() && permanent.iter().all(|view| view["grant"]["ends_at"].is_null()));
    let given = of_action("grant.started").into_iter().filter(|entry| entry["detail"]["ends_at"].is_null());
    let ended = of_action("grant.revoked");
    let expected = given.filter(|entry| !ended.iter().any(|end| end["request"] == entry["request"]));
    assert_eq!(permanent.len(), expected.count());

    // What changed in the rules, by whom.
    let changed = zoe(&["audit", "--action", "team.applied"]);
    assert!(changed.out.contains("olivia changed the team") && changed.out.contains("approvals 2 → 1"), "{changed:?}");
    assert!(changed.out.contains("rule \"billing\" added"), "{changed:?}");

    // Whether the log is whole since the last audit.
    let kept = world.folder().join("kept.jsonl");
    std::fs::write(&kept, serde_json::to_string(&checkpoint).unwrap() + "\n").unwrap();
    zoe(&["audit", "verify", "--against", kept.to_str().unwrap()]).says("unchanged since the checkpoint");
}
