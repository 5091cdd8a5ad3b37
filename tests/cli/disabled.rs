//! Who is disabled, or no member at all, is refused before anything is looked up: whatever is named, the answer is the
//! same, so nothing is learnt by asking.

use std::collections::BTreeSet;

use crate::harness::{TEAM, World};

/// The sample team with bob disabled; before that he asked for something, was granted something, and was told of it.
fn world() -> World {
    let world = World::sample();
    world.request("bob", "target:billing-db", &[]);
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.apply("olivia", &TEAM.replace("[members.bob]\n", "[members.bob]\ndisabled = true\n")).ok();
    std::fs::write(world.folder().join("good.toml"), TEAM).unwrap();
    std::fs::write(world.folder().join("bad.toml"), "[team\n").unwrap();
    std::fs::write(world.folder().join("lines.jsonl"), world.json("olivia", &["audit", "checkpoint"]).to_string())
        .unwrap();
    world
}

/// Commands, each a group of lines that differ only in what they name: what there is, and what there is not.
const COMMANDS: [&[&str]; 43] = [
    &["whoami"],
    &["resources", "resources target", "resources --mine"],
    &["request target:orders-db --reason x", "request target:orders-dbb --reason x", "request role:owner --reason x"],
    &["request orders-db --reason x", "request orders-dbb --reason x", "request orders --reason x --dry-run"],
    &["who orders-db", "who orders-dbb", "list --resource orders-db", "list --resource orders-dbb"],
    &["request target:orders-db --reason x --dry-run", "request target:orders-dbb --reason x --dry-run"],
    &["request target:orders-db --reason x --until 2001-01-01T00:00:00Z"],
    &["request target:orders-db --reason x --for carol", "request target:orders-db --reason x --for caroll"],
    &["request target:orders-db --reason x --for bob", "request target:no-such --reason x --for carol --dry-run"],
    &["request target:orders-db --reason x --emergency", "request target:no-such --reason x --emergency"],
    &["request target:orders-db --reason x --wait --timeout 1s"],
    &["extend 2 --reason x", "extend 1 --reason x", "extend 999 --reason x"],
    &["edit 1 --reason y", "edit 2 --reason y", "edit 999 --reason y"],
    &["edit 1 --reason y --dry-run", "edit 2 --reason y --dry-run", "edit 999 --reason y --dry-run"],
    &[
        "list",
        "list --mine --all",
        "list --requester carol",
        "list --requester nobody",
        "list --resource target:no-such",
    ],
    &["show 1", "show 2", "show 999"],
    &["approve 1", "approve 2", "approve 999"],
    &["approve 1 --resource target:no-such", "approve 1 --scope no-such", "approve 999 --duration 1h"],
    &["approve 1 2 999", "approve 998 999"],
    &["deny 1", "deny 999", "deny 1 999"],
    &["review 1 --note x", "review 999 --note x"],
    &["withdraw 1", "withdraw 999", "withdraw 1 999"],
    &["revoke 2", "revoke 999", "revoke 2 999"],
    &["who target:orders-db", "who target:orders-dbb"],
    &["check target:orders-db --user carol", "check target:orders-db --user caroll", "check target:x --user carol"],
    &["check target:orders-db --login carol", "check target:orders-db --login nobody", "check target:x --login carol"],
    &["inbox", "inbox --all"],
    &["inbox --mark-read", "inbox --mark-read 1", "inbox --mark-read 999"],
    &["notify", "notify show"],
    &["notify mute request.submitted", "notify unmute", "notify reset"],
    &["notify test"],
    &["outbox", "outbox --dead"],
    &["audit", "audit --request 1", "audit --request 999", "audit --actor nobody"],
    &["audit export --format jsonl", "audit export --format csv"],
    &["audit verify", "audit verify --against lines.jsonl"],
    &["audit checkpoint"],
    &["team show"],
    &["team apply good.toml --yes", "team apply bad.toml --yes", "team apply team.toml --yes"],
    &["team apply good.toml --dry-run", "team apply bad.toml --dry-run", "team apply bad.toml --dry-run --against 90d"],
    &["team replace-owner alice --yes", "team replace-owner nobody --yes"],
    &["team replace-owner alice --dry-run", "team replace-owner nobody --dry-run"],
    &["doctor --accept-clock"],
    &["approve 1 --note x --yes --json", "approve 999 --note x --yes --json"],
];

#[test]
fn who_is_disabled_or_no_member_is_refused_before_anything_is_looked_up() {
    let world = world();
    for (login, says) in
        [("bob", "bob is disabled, and may do nothing here"), ("stranger", "is not a member of this team")]
    {
        for lines in COMMANDS {
            let mut answers = BTreeSet::new();
            for line in lines {
                let words: Vec<&str> = line.split(' ').collect();
                let ran = world.run(login, &words).exits(3);
                let replaces = line.starts_with("team replace-owner");
                assert!(ran.err.contains(if replaces { "only root" } else { says }), "{login}: {line}: {}", ran.err);
                assert!(ran.out.is_empty() || ran.out == "[]\n", "{login}: {line}: {}", ran.out);
                assert!(
                    !ran.err.contains("did you mean") && !ran.err.contains("warning"),
                    "{login}: {line}: {}",
                    ran.err
                );
                // Several ids are refused one by one, with the same words.
                answers.extend(ran.err.lines().map(str::to_owned));
            }
            assert!(answers.len() <= 2, "{login}: {lines:?} differ: {answers:#?}");
        }
    }
    assert!(world.actions().contains(&"attempt.refused".to_owned()));
}

/// A member who may not do something at all is on the record for a dry run too.
#[test]
fn a_dry_run_of_who_may_not_is_on_the_record_and_one_that_rules_refuse_is_not() {
    let world = world();
    let refused = || world.actions().iter().filter(|action| *action == "attempt.refused").count();
    for (login, line, times) in [
        ("stranger", "request target:orders-db --reason x --dry-run", 1),
        ("stranger", "edit 1 --reason y --dry-run", 1),
        ("stranger", "team replace-owner alice --dry-run", 1),
        ("bob", "request target:orders-db --reason x --dry-run", 1),
        ("bob", "edit 1 --reason y --dry-run", 1),
        ("carol", "request target:orders-db --reason x --for dave --dry-run", 1),
        ("carol", "team apply good.toml --dry-run", 1),
        // Rules, and what there is: nothing is attempted.
        ("carol", "request role:owner --reason x --dry-run", 0),
        ("carol", "request target:orders-db --reason x --emergency --dry-run", 0),
        ("carol", "request target:no-such --reason x --dry-run", 0),
        ("carol", "edit 1 --reason y --dry-run", 0),
        ("alice", "edit 1 --reason y --dry-run", 0),
        ("alice", "request target:orders-db --reason x --for bob --dry-run", 0),
    ] {
        let before = refused();
        let ran = world.run(login, &line.split(' ').collect::<Vec<_>>());
        assert!(ran.code == 3 || ran.code == 4, "{ran:?}");
        assert_eq!(refused() - before, times, "{login}: {line}: {}", ran.err);
    }
    // The entry is the same as without --dry-run.
    let last = &world.json("olivia", &["audit", "--action", "attempt.refused", "--actor", "bob", "--limit", "1"])[0];
    crate::harness::shows(last, &serde_json::json!({ "request": 1, "detail": { "command": "edit" } }));
    // And there are no more than twenty in an hour.
    for _ in 0..30 {
        world.run("stranger", &["request", "target:orders-db", "--reason", "x", "--dry-run"]).exits(3);
    }
    let log = world.json("olivia", &["audit", "--action", "attempt.refused"]);
    assert_eq!(log.as_array().unwrap().iter().filter(|row| row["os_user"] == "stranger").count(), 20);
}

#[test]
fn check_says_no_to_who_is_disabled_whatever_there_is() {
    let world = world();
    let before = world.actions();
    for resource in ["target:orders-db", "target:billing-db", "target:orders-dbb", "scope:no-such", "role:viewer"] {
        for more in [&[][..], &["--user", "bob"]] {
            let ran = world.run("bob", &[&["check", resource], more].concat()).exits(1);
            let expected = format!("no: bob may not use {resource}; ask with `access request {resource}`\n");
            assert_eq!((ran.out, ran.err), (expected, String::new()), "{resource}");
        }
        world.run("stranger", &["check", resource]).fails(3, "is not a member");
    }
    assert_eq!(world.actions(), before, "check never writes");
}

#[test]
fn a_wrong_clock_tells_them_nothing() {
    let world = world();
    world.set_clock("2026-11-01T00:00:00Z");
    for login in ["bob", "stranger"] {
        for line in ["request target:orders-db --reason x", "withdraw 1", "notify mute", "inbox --mark-read", "whoami"]
        {
            let words: Vec<&str> = line.split(' ').collect();
            let ran = world.run(login, &words).exits(3);
            assert!(!ran.err.contains("clock"), "{login}: {line}: {}", ran.err);
        }
    }
    world.run("carol", &["request", "target:orders-db", "--reason", "x"]).fails(1, "the clock says");
}

#[test]
fn completion_offers_them_nothing() {
    let world = world();
    for login in ["bob", "stranger"] {
        for line in ["request target:", "show ", "approve ", "withdraw ", "revoke ", "request x --for ", "extend "] {
            let words: Vec<&str> = ["--", "access"].into_iter().chain(line.split(' ')).collect();
            let mut command = world.command(login, &words);
            command.env("_ACCESS_COMPLETE", "fish");
            let ran = command.output().unwrap();
            let out = String::from_utf8(ran.stdout).unwrap();
            assert_eq!(out.lines().find(|word| !word.starts_with('-')), None, "{login}: {line}");
        }
    }
}
