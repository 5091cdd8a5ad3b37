//! `team replace-owner`: what becomes of the owner who is gone, and of what rested on them.

use serde_json::json;

use crate::harness::{World, shows};

/// olivia, the owner, has no account here; `daemon` and `games` are accounts on every machine. No base admin but olivia.
const TEAM: &str = r#"
[team]
name = "acme"
[members.olivia]
role = "owner"
login = "no-such-user-here"
[members.erin]
role = "member"
login = "daemon"
[members.bob]
role = "member"
[members.carol]
role = "member"
[groups.dba]
members = ["olivia", "carol"]
[connections.prod]
environment = "production"
[targets.db]
connections = ["prod"]
[targets.web]
connections = ["prod"]
[features.export]
role = "owner"
[[rules]]
name = "oncall"
emergency = true
match = { resources = ["connection:prod"] }
[[rules]]
name = "dba"
match = { resources = ["target:db"] }
approvers = ["group:dba"]
"#;

const OLIVIA: &str = "no-such-user-here";
const ERIN: &str = "daemon";

fn world() -> World {
    let world = World::empty();
    world.run("olivia", &["init"]).ok();
    world.apply("olivia", TEAM).ok();
    world
}

fn replace(world: &World) {
    world.run("root", &["team", "replace-owner", "erin", "--yes"]).ok();
}

fn emergency(world: &World) -> crate::harness::Ran {
    world.run("bob", &["request", "connection:prod", "--reason", "down", "--duration", "10m", "--emergency", "--json"])
}

#[test]
fn emergencies_that_only_the_gone_owner_could_review_are_reviewed_by_the_new_one() {
    let world = world();
    for _ in 0..3 {
        assert_eq!(emergency(&world).ok().json()["reviewers"], json!(["olivia"]));
        world.pass("11m");
    }
    assert!(emergency(&world).exits(3).err.contains("3 of your emergencies need a review"));
    replace(&world);
    assert_eq!(world.json(ERIN, &["show", "1"])["reviewers"], json!(["erin"]));
    world.run(ERIN, &["review", "1", "--note", "looked at it"]).ok();
    emergency(&world).ok();
    world.run(ERIN, &["audit", "verify"]).ok();
}

#[test]
fn the_next_unix_user_with_the_login_of_the_gone_owner_is_nobody() {
    let world = world();
    emergency(&world).ok();
    let asked = world.request("bob", "target:db", &[]);
    world.run(OLIVIA, &["show", &asked]).ok();
    replace(&world);
    for args in [
        &["review", "1", "--note", "another person"][..],
        &["approve", &asked],
        &["deny", &asked],
        &["show", &asked],
        &["list"],
        &["request", "target:db", "--reason", "x"],
    ] {
        world.run(OLIVIA, args).fails(3, "olivia is disabled");
    }
    assert!(!world.may(OLIVIA, "target:db"));
    let waiting = &world.json(ERIN, &["show", &asked])["approvals"]["waiting_on"];
    assert_eq!(waiting, &json!(["carol"]));
    let team = world.run(ERIN, &["team", "show"]).ok().out;
    assert!(team.contains("disabled = true"), "{team}");
}

/// The owner voted, and asked for something; and the only approval of a scheduled grant is the owner's.
#[test]
fn what_rests_on_the_gone_owner_is_judged_again_and_shown_first() {
    let rule = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:web\"] }\napprovers = [\"group:dba\", \"member:bob\"]\napprovals = 2\n";
    let world = world();
    world.apply(OLIVIA, &format!("{TEAM}{rule}")).ok();
    let later = ["--start", "2026-11-25T09:00:00Z", "--duration", "8h"];
    let scheduled = world.request("bob", "feature:export", &later);
    world.run(OLIVIA, &["approve", &scheduled]).ok();
    let voted = world.request(ERIN, "target:web", &[]);
    world.run(OLIVIA, &["approve", &voted]).ok();
    let extended = world.json("bob", &["extend", &scheduled, "--reason", "more"])["id"].to_string();
    let running = world.request("carol", "feature:export", &[]);
    world.run(OLIVIA, &["approve", &running]).ok();

    let plan = world.json("root", &["team", "replace-owner", "erin", "--dry-run"]);
    shows(
        &plan,
        &json!({ "applied": false, "changes": [
            { "what": "member:erin", "to": { "role": "owner" } },
            { "what": "member:olivia", "to": { "role": "viewer", "disabled": true } },
        ], "follows": [
            { "follows": "revoked", "request": 1, "member": "bob", "resource": "feature:export" },
            { "follows": "withdrawn", "request": 3, "member": "bob" },
            { "follows": "unmatched", "request": 4, "member": "carol", "resource": "feature:export" },
        ] }),
    );
    assert_eq!(world.json(ERIN, &["show", &voted])["state"], "pending", "a dry run does nothing");
    let terminal = crate::tmux::Terminal::access(&world, "root", &["team", "replace-owner", "erin"]);
    terminal.shows("grant 1 revoked");
    terminal.shows("who controls the team file?");
    terminal.key("y");
    terminal.exits(0);

    assert_eq!(world.json(ERIN, &["show", &scheduled])["state"], "revoked");
    assert_eq!(world.json("bob", &["show", &extended])["state"], "withdrawn");
    assert!(world.unread("bob").contains(&"access.revoked".to_owned()));
    let entry = &world.json(ERIN, &["audit", "--request", &scheduled, "--limit", "1"])[0];
    shows(entry, &json!({ "action": "grant.revoked", "actor": null, "os_user": "root" }));
    world.pass("1d");
    world.run("root", &["expire"]).ok();
    assert!(!world.may("bob", "feature:export"));
    // The vote of the gone owner does not count.
    assert_eq!(world.json("carol", &["show", &voted])["approvals"]["have"], 0);
    assert_eq!(world.json("carol", &["show", &running])["state"], "expired");
    world.run(ERIN, &["audit", "verify"]).ok();
}

#[test]
fn a_plan_that_changed_since_it_was_shown_is_not_carried_out() {
    let world = world();
    let scheduled = world.request("bob", "feature:export", &["--start", "2026-11-25T09:00:00Z", "--duration", "8h"]);
    let terminal = crate::tmux::Terminal::access(&world, "root", &["team", "replace-owner", "erin"]);
    terminal.shows("who controls the team file?");
    world.run(OLIVIA, &["approve", &scheduled]).ok();
    terminal.key("y");
    assert!(terminal.exits(5).contains("has changed since it was shown"));
    world.run(OLIVIA, &["team", "show"]).ok();
}

#[test]
fn all_admins_are_told_those_by_a_granted_role_too() {
    let world = world();
    let asked = world.request("carol", "role:admin", &["--duration", "8h"]);
    world.run(OLIVIA, &["approve", &asked]).ok();
    replace(&world);
    for login in ["carol", ERIN] {
        assert!(world.unread(login).contains(&"team.changed".to_owned()), "{login}");
    }
    assert!(!world.unread("bob").contains(&"team.changed".to_owned()));
}

/// A user who can't connect under a login could never act as the owner: the kernel's overflow user, and a login that the
/// user database spells in another way.
#[test]
fn nobody_becomes_the_owner_with_a_login_that_nobody_can_have() {
    let world = world();
    for login in ["nobody", "root", "access", "no-such-user"] {
        let team = TEAM.replace("login = \"daemon\"", &format!("login = \"{login}\""));
        world.apply(OLIVIA, &team).ok();
        world.run("root", &["team", "replace-owner", "erin", "--yes"]).fails(3, "not a person's account");
    }
    // An owner who has such a login can be replaced.
    let team = TEAM.replace(OLIVIA, "nobody");
    world.apply(OLIVIA, &team).ok();
    replace(&world);
}
