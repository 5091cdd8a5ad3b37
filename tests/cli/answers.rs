//! Answers that are right: a list has what its filter means, and a name that is mistyped is no empty list.

use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World, shows};

const BOB: &str = "[members.bob]\nrole = \"member\"\nemail = \"bob@acme.example\"\nslack = \"U0BOB\"\n";

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|request| request["id"].as_i64().unwrap()).collect()
}

fn listed(world: &World, login: &str, filter: &[&str]) -> Vec<i64> {
    ids(&world.json(login, &[&["list"], filter].concat()))
}

/// The sample team after bob has left, with a target that only he asked for, and one that nobody did.
fn without_bob() -> World {
    let world = World::of(
        "olivia",
        &format!(
            "{TEAM}\n[targets.old-db]\nconnections = [\"prod-aws\"]\n[targets.unused]\nconnections = [\"prod-aws\"]\n"
        ),
    );
    world.request("bob", "target:old-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    world.apply("olivia", &TEAM.replace(BOB, "").replace("\"bob\", \"carol\"", "\"carol\"")).ok();
    world
}

#[test]
fn a_list_by_resource_has_what_was_asked_and_what_was_granted() {
    let two = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:billing-db\", \"scope:orders-read\"] }\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let world = World::of("olivia", &format!("{TEAM}{two}"));
    world.grant("bob", "connection:prod-aws", "alice", &["--resource", "target:orders-db"]);
    world.request("carol", "target:orders-db", &[]);
    world.request("dave", "target:billing-db", &[]);
    // What stands in the row is what the next approval would grant.
    world.run("alice", &["approve", "3", "--scope", "orders-read"]).ok();
    for (resource, expected) in [
        ("target:orders-db", &[2, 1][..]),
        ("connection:prod-aws", &[1]),
        ("scope:orders-read", &[3]),
        ("target:billing-db", &[3]),
        ("target:orders-api", &[]),
    ] {
        assert_eq!(listed(&world, "olivia", &["--resource", resource]), expected, "{resource}");
        assert_eq!(listed(&world, "olivia", &["--resource", resource, "--limit", "1"]).len(), expected.len().min(1));
    }
    world.run("olivia", &["list", "--resource", "target:orders-db", "--limit", "1"]).ok().says("and 1 more");
    assert_eq!(listed(&world, "bob", &["--resource", "target:orders-db"]), [1], "of his own");
    // An approval that no longer counts puts nothing on the table.
    let seq = world.json("erin", &["show", "3"])["last_seq"].to_string();
    world.run("erin", &["approve", "3", "--resource", "target:billing-db", "--seen", &seq]).ok();
    assert_eq!(listed(&world, "olivia", &["--resource", "scope:orders-read"]), [0_i64; 0]);
    // A row that was edited by hand is no bug of ours.
    world.rows("UPDATE decision SET terms = '{' WHERE request = 3");
    let ran = world.run("olivia", &["list", "--resource", "target:orders-db"]).ok();
    assert!(ran.out.contains("target:orders-db"), "{ran:?}");
    world.run("olivia", &["list", "--resource", "target:billing-db"]).fails(65, "damaged");
}

#[test]
fn a_filter_by_an_unknown_name_is_an_error_with_the_nearest() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    for (args, says, hint) in [
        (&["list", "--requester", "bobb"][..], "there is no member bobb", "did you mean bob?"),
        (&["list", "--requester", "bobb", "--all", "--mine"], "there is no member bobb", "did you mean bob?"),
        (&["audit", "--actor", "alicia"], "there is no member alicia", "did you mean alice?"),
        (&["list", "--resource", "target:order-db"], "there is no target:order-db", "did you mean target:orders-db?"),
        (&["list", "--resource", "scope:nope"], "there is no scope:nope", "access resources"),
        (&["audit", "--request", "2"], "there is no request 2", "access list --all"),
        (&["revoke", "--member", "bobb"], "there is no member bobb", "did you mean bob?"),
        (&["check", "target:orders-db", "--user", "bobb"], "there is no member bobb", "did you mean bob?"),
    ] {
        let ran = world.run("alice", args).fails(4, says);
        assert!(ran.err.contains(hint), "{ran:?}");
        let ran = world.run("alice", &[args, &["--json"]].concat()).exits(4);
        let error: Value = serde_json::from_str(&ran.err).unwrap();
        shows(&error, &json!({ "error": { "kind": "not_found" } }));
        assert_eq!(ran.out, "", "no empty list: {ran:?}");
    }
    // Members, and what is in the catalogue, are known though there is nothing to list.
    for args in [
        &["list", "--requester", "heidi"][..],
        &["list", "--resource", "target:billing-db"],
        &["list", "--resource", "role:admin"],
        &["audit", "--actor", "heidi"],
        &["audit", "--request", "1", "--action", "grant.started"],
    ] {
        assert_eq!(world.json("alice", args), json!([]), "{args:?}");
    }
    world.run("alice", &["audit", "--actor", "heidi"]).ok();
    // An error of this sort is no attempt that is recorded, and the log's reader is asked for first.
    world.run("bob", &["audit", "--actor", "alicia"]).fails(3, "only admins");
    assert!(world.actions().iter().filter(|action| *action == "attempt.refused").count() == 1);
}

#[test]
fn who_left_and_what_is_gone_is_known_to_those_who_may_see_it() {
    let world = without_bob();
    // olivia made the team of one, and applied the file: bob did nothing but ask.
    for args in [&["list", "--all", "--requester", "bob"][..], &["list", "--all", "--resource", "target:old-db"]] {
        assert_eq!(ids(&world.json("alice", args)), [1], "{args:?}");
    }
    assert_eq!(world.json("alice", &["list", "--requester", "bob"]), json!([]), "it is closed");
    assert_eq!(world.json("alice", &["audit", "--actor", "bob"]).as_array().unwrap().len(), 1);
    // It was in the team, and nobody ever asked for it.
    assert_eq!(world.json("alice", &["list", "--all", "--resource", "target:unused"]), json!([]));
    world.run("alice", &["list", "--resource", "target:unuse"]).fails(4, "there is no target:unuse");
    // A member who never did anything, and left.
    let heidi = "[members.heidi]\nrole = \"viewer\"\nemail = \"heidi@acme.example\"\n";
    let file = TEAM.replace(BOB, "").replace("\"bob\", \"carol\"", "\"carol\"").replace(heidi, "");
    world.apply("olivia", &file).ok();
    assert_eq!(world.json("alice", &["audit", "--actor", "heidi"]), json!([]));
    assert_eq!(world.json("alice", &["list", "--requester", "heidi"]), json!([]));
    // Who filed for another is no requester, but did something.
    world.request("alice", "target:orders-api", &["--for", "dave"]);
    assert_eq!(listed(&world, "alice", &["--requester", "alice"]), [0_i64; 0]);
}

#[test]
fn a_name_that_the_caller_may_not_see_looks_like_one_that_never_was() {
    let world = without_bob();
    for (filter, hidden, never) in [
        ("--requester", "bob", "zob"),
        ("--resource", "target:old-db", "target:odd-db"),
        ("--resource", "target:unused", "target:unuxed"),
    ] {
        for more in [&[][..], &["--all"], &["--mine"], &["--json"], &["--all", "--state", "withdrawn"]] {
            let ask = |name| world.run("dave", &[&["list", filter, name], more].concat()).exits(4);
            let (of_hidden, of_never) = (ask(hidden), ask(never));
            let same = |ran: &Ran, name: &str| {
                let hints = |line: &&str| !line.contains("did you mean");
                ran.err.replace(name, "NAME").lines().filter(hints).collect::<Vec<_>>().join("\n")
            };
            assert_eq!(same(&of_hidden, hidden), same(&of_never, never), "{filter} {more:?}");
            assert!(!of_never.err.contains(hidden), "nor is it suggested: {of_never:?}");
        }
    }
    // Of what they may see they are told, also when it is gone.
    let world = World::of("olivia", &format!("{TEAM}\n[targets.old-db]\nconnections = [\"sandbox\"]\n"));
    world.request("heidi", "target:old-db", &[]);
    world.apply("olivia", TEAM).ok();
    assert_eq!(listed(&world, "heidi", &["--all", "--resource", "target:old-db"]), [1]);
    assert_eq!(listed(&world, "heidi", &["--resource", "target:old-db"]), [0_i64; 0]);
    world.run("ivan", &["list", "--resource", "target:old-db"]).fails(4, "there is no target:old-db");
    // A disabled member and a stranger learn nothing at all.
    world.run("stranger", &["list", "--requester", "bob"]).fails(3, "not a member");
    let disabled = TEAM.replace("[members.ivan]\n", "[members.ivan]\ndisabled = true\n");
    world.apply("olivia", &disabled).ok();
    world.run("ivan", &["list", "--requester", "zob"]).fails(3, "ivan is disabled");
}

#[test]
fn times_between_which_nothing_can_lie_are_errors() {
    let world = World::sample();
    world.run("olivia", &["audit", "--since", "today 10:00"]).fails(2, "is in the future");
    world.run("olivia", &["list", "--since", "in 2h"]).fails(2, "is in the future");
    let between = ["audit", "--since", "1d ago", "--until", "2d ago"];
    world.run("olivia", &between).fails(2, "--until is before --since");
    // The clock of the user who wrote it may be a little ahead.
    world.run("olivia", &["list", "--since", "2026-11-24T09:00:30Z"]).ok();
    world.run("olivia", &["audit", "--until", "in 2h"]).ok();
}

#[test]
fn an_empty_list_says_that_it_is_empty() {
    let world = World::of(
        "olivia",
        "[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n[members.vic]\nrole = \"viewer\"\n",
    );
    for (login, args, says) in [
        ("olivia", &["audit", "--actor", "vic"][..], "No entries"),
        ("vic", &["resources", "--mine"], "You have access to no such resources"),
        ("vic", &["resources", "target"], "No such resources"),
        ("vic", &["list"], "No requests"),
        ("vic", &["inbox", "--all"], "No notifications"),
        ("root", &["expire", "--dry-run"], "Nothing is due"),
    ] {
        let ran = world.run(login, args).ok();
        assert_eq!(ran.out, "", "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
        let ran = world.run(login, &[args, &["--quiet"]].concat()).ok();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    }
}

#[test]
fn a_profile_without_grants_denies_no_access_by_role() {
    let world = World::sample();
    world.run("olivia", &["resources"]).ok().says("yes (role:owner)");
    let profile = world.run("olivia", &["whoami"]).ok().says("  grants       none\n").out;
    assert!(!profile.contains("access"), "{profile}");
}

#[test]
fn nothing_is_said_to_come_through_itself() {
    let world = World::sample();
    world.grant("heidi", "role:member", "alice", &[]);
    for (login, resource, says) in [
        ("bob", "feature:deploy", "yes: bob may use feature:deploy, through the team file\n"),
        ("bob", "role:member", "yes: bob may use role:member, through the team file\n"),
        ("bob", "scope:kubernetes", "yes: bob may use scope:kubernetes, through the team file\n"),
        ("alice", "role:member", "yes: alice may use role:member, through role:admin\n"),
        ("heidi", "feature:deploy", "yes: heidi may use feature:deploy, through a granted role (request 1), 1h left\n"),
        ("heidi", "role:member", "yes: heidi may use role:member, through request 1 (role:member), 1h left\n"),
    ] {
        world.run(login, &["check", resource]).ok().says(says);
    }
    let says = |login: &str, args: &[&str]| {
        let out = world.run(login, args).ok().out;
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let bob = says("alice", &["who", "--user", "bob"]);
    assert!(bob.contains("feature:deploy the team file scope:kubernetes the team file"), "{bob}");
    assert!(says("alice", &["who", "feature:deploy"]).contains("heidi a granted role 1"));
    let listed = says("heidi", &["resources"]);
    assert!(listed.contains("feature:deploy 1h left every member"), "{listed}");
    assert!(listed.contains("role:member 1h left (request 1)"), "{listed}");
}

#[test]
fn parts_of_a_team_file_that_have_no_effect_are_warned_of() {
    let world = World::of("olivia", TEAM);
    let warned = |more: &str| {
        let file = format!("{TEAM}\n{more}");
        std::fs::write(world.folder().join("team.toml"), file).unwrap();
        world.run("olivia", &["team", "apply", "team.toml", "--dry-run"]).ok().err
    };
    let rule = |says: &str| format!("[[rules]]\nname = \"r\"\n{says}\nmax_duration = \"1h\"\n");
    let matching = |what: &str| rule(&format!("match = {{ {what} }}"));
    let nobody = "[groups.nobody]\nmembers = []\n";
    for (more, says) in [
        (
            matching("resources = [\"connection:prud-*\", \"target:orders-db\"]"),
            "rule \"r\": connection:prud-* matches nothing that is in the file; the nearest name is connection:prod-",
        ),
        (
            matching("resources = [\"feature:*-explorr\"]"),
            "feature:*-explorr matches nothing that is in the file; the nearest name is feature:cost-explorer",
        ),
        (matching("resources = [\"role:viewer\"]"), "role:viewer matches nothing"),
        (
            matching("resources = [\"connection:sandbox\"], environments = [\"production\"]"),
            "rule \"r\" has no effect: its resources and environments match nothing",
        ),
        (
            format!("{nobody}{}", matching("requesters = [\"group:nobody\"]")),
            "group:nobody has no member who can act, and is named by rule \"r\" (requesters)",
        ),
        (
            format!(
                "{nobody}{}",
                rule(
                    "approvers = [\"group:nobody\", \"role:admin\"]\nremind_after = \"1h\"\nescalate_to = [\"group:nobody\"]"
                )
            ),
            "group:nobody has no member who can act, and is named by rule \"r\" (approvers), rule \"r\" (escalate_to)",
        ),
        (
            format!("{nobody}[scopes.s]\ntargets = [\"orders-db\"]\nassigned = [\"group:nobody\"]\n"),
            "group:nobody has no member who can act, and is named by scope s",
        ),
        (
            format!("[members.zoe]\nrole = \"member\"\ndisabled = true\n{}", matching("requesters = [\"member:zoe\"]")),
            "member:zoe is disabled, and is named by rule \"r\" (requesters)",
        ),
        ("[scopes.s]\nconnections = []\n".to_owned(), "scope s covers nothing that is in the file"),
    ] {
        let err = warned(&more);
        assert!(err.contains(says), "{more}\nexpected: {says}\n{err}");
    }
    for more in [
        "".to_owned(),
        nobody.to_owned(),
        matching("resources = [\"connection:prod-*\"], environments = [\"production\"]"),
        matching("resources = [\"scope:orders-read\", \"role:*\"]"),
        matching("requesters = [\"role:viewer\", \"group:data\"]"),
    ] {
        let err = warned(&more);
        for says in ["matches nothing", "match nothing", "can act", "is disabled", "covers nothing", "nobody's role"] {
            assert!(!err.contains(says), "{more}\n{err}");
        }
    }
    let exactly = TEAM.replace("role = \"viewer\"", "role = \"member\"");
    let file = format!("{exactly}\n{}", matching("requesters = [\"role:viewer\"]"));
    let ran = world.apply("olivia", &file).ok();
    assert!(ran.err.contains("role:viewer is nobody's role, and is named by rule \"r\" (requesters)"), "{ran:?}");
}
