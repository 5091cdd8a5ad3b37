//! An auditor who is no admin asks about a year of a team of 50, each question by one command.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::audit::csv;
use crate::harness::World;
use crate::year;

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

    // How long approvals take: both times of every decided request, in one file.
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
