//! Recertifications: who may review what, and what becomes of what nobody keeps.

use serde_json::{Value, json};

use crate::completion::bash;
use crate::harness::{TEAM, World, shows};
use crate::proof::{bodies, faults, forge};
use crate::tmux::Terminal;

/// The sample team. bob and frank have permanent grants (requests 1 and 2), carol one for a day (request 3).
fn world() -> World {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent"]);
    world.grant("frank", "connection:prod-aws", "erin", &["--duration", "permanent"]);
    world.grant("carol", "target:billing-db", "alice", &["--duration", "1d"]);
    world
}

fn start(world: &World, args: &[&str]) -> Value {
    world.json("alice", &[&["recertify", "start"], args].concat())
}

fn show(world: &World, login: &str, id: &str) -> Value {
    world.json(login, &["recertify", "show", id])
}

/// The items as `1.2 bob role:member`.
fn items(view: &Value) -> Vec<String> {
    let text = |item: &Value| {
        let held = &item["held"];
        let held = match &held["grant"] {
            Value::Null => held
                .as_object()
                .unwrap()
                .iter()
                .map(|(kind, name)| format!("{kind}:{}", name.as_str().unwrap()))
                .collect(),
            grant => format!("{}/{}", grant["request"], grant["resource"].as_str().unwrap()),
        };
        format!("{} {} {held}", item["id"].as_str().unwrap(), item["member"].as_str().unwrap())
    };
    view["items"].as_array().unwrap().iter().map(text).collect()
}

fn states(view: &Value) -> Vec<&str> {
    view["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap()).collect()
}

#[test]
fn what_nobody_keeps_is_revoked_at_the_due_time_and_by_reviewers_before() {
    let world = world();
    let view = start(&world, &["--permanent", "--due", "14d"]);
    assert_eq!(items(&view), ["1.1 bob 1/target:orders-db", "1.2 frank 2/connection:prod-aws"]);
    shows(
        &view,
        &json!({ "id": 1, "selection": "permanent", "by": "alice", "due": "2026-12-08T09:00:00Z",
        "closed_at": null, "counts": { "waiting": 2, "kept": 0 }, "waiting_for_you": 2 }),
    );
    world
        .run("erin", &["recertify", "keep", "1.1", "--reason", "On call"])
        .ok()
        .says("Kept 1.1: target:orders-db (request 1) of bob");
    world.pass("13d");
    world.run("root", &["expire"]).ok();
    assert!(world.may("frank", "connection:prod-aws"), "not before the due time");
    world.pass("1d");
    let expired = world.json("root", &["expire"]);
    shows(&expired, &json!({ "closed": 1, "revoked": 1 }));
    assert!(!world.may("frank", "connection:prod-aws"));
    assert!(world.may("bob", "target:orders-db"));
    shows(&world.json("root", &["expire"]), &json!({ "closed": 0, "revoked": 0 }));
    let view = show(&world, "erin", "1");
    assert_eq!(states(&view), ["kept", "not_kept"]);
    shows(
        &view["items"][0],
        &json!({ "decided_by": "erin", "verdict": "keep", "reason": "On call", "team_change": null }),
    );
    let revoked = world.actions().into_iter().filter(|action| action == "grant.revoked").count();
    assert_eq!(revoked, 1);
    world.run("frank", &["show", "2"]).ok().says("it was not kept in a recertification (item 1.2)");
    assert_eq!(world.unread("frank").last().unwrap(), "access.revoked");
    assert_eq!(world.unread("alice").last().unwrap(), "recertification.closed");
    assert_eq!(world.json("alice", &["recertify", "list"]), json!([]));
    assert_eq!(world.json("alice", &["recertify", "list", "--all"])[0]["counts"]["not_kept"], 1);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_reviewer_who_is_no_admin_ends_a_grant_and_its_extensions() {
    let world = world();
    world.run("carol", &["extend", "3", "--reason", "more", "--duration", "60d"]).ok();
    world.run("erin", &["approve", "4"]).ok();
    start(&world, &["--resource", "target:billing-db", "--due", "1h", "--reviewers", "group:data"]);
    let view = show(&world, "dave", "1");
    // prod-aws opens billing-db, and admins and the owner have it by their role.
    assert_eq!(
        items(&view),
        [
            "1.1 alice role:admin",
            "1.2 carol 3/target:billing-db",
            "1.3 carol 4/target:billing-db",
            "1.4 erin role:admin",
            "1.5 frank 2/connection:prod-aws",
            "1.6 olivia role:owner"
        ]
    );
    assert_eq!(view["waiting_for_you"], 6);
    world.run("dave", &["revoke", "3"]).fails(4, "there is no request 3");
    world.run("dave", &["recertify", "revoke", "1.2", "--reason", "Moved on"]).ok();
    assert_eq!((world.state("3"), world.state("4")), ("revoked".into(), "revoked".into()));
    assert_eq!(states(&show(&world, "dave", "1"))[1..3], ["revoked", "ended"]);
    world.run("carol", &["show", "3"]).ok().says("dave did not keep access to target:billing-db");
    assert_eq!(world.unread("carol").last().unwrap(), "access.revoked");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn the_team_file_is_reviewed_line_by_line_and_changed_by_nobody() {
    let world = world();
    let view = start(&world, &["--due", "2d"]);
    assert_eq!(
        items(&view),
        [
            "1.1 alice role:admin",
            "1.2 bob 1/target:orders-db",
            "1.3 bob role:member",
            "1.4 bob group:backend",
            "1.5 carol role:member",
            "1.6 carol group:backend",
            "1.7 dave role:member",
            "1.8 dave group:data",
            "1.9 erin role:admin",
            "1.10 frank 2/connection:prod-aws",
            "1.11 frank role:member",
            "1.12 frank group:support",
            "1.13 grace role:member",
            "1.14 grace group:support",
            "1.15 grace scope:data-stores",
            "1.16 olivia role:owner"
        ],
        "carol's grant ends before the due time"
    );
    world.run("alice", &["recertify", "revoke", "1.4"]).ok().says("[groups.backend] members: remove \"bob\"");
    let before = world.run("olivia", &["team", "show"]).ok().out;
    world.pass("2d");
    world.run("root", &["expire"]).ok();
    assert_eq!(world.run("olivia", &["team", "show"]).ok().out, before);
    assert!(world.may("bob", "target:orders-api"), "the scope of the group is there");
    let text = world.run("alice", &["recertify", "show", "1"]).ok().out;
    for line in [
        "[groups.backend] members: remove \"bob\" (item 1.4)",
        "[members.alice] role: lower it from \"admin\" (item 1.1)",
        "[scopes.data-stores] assigned: remove \"member:grace\" (item 1.15)",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    world.apply("olivia", &TEAM.replace("members = [\"bob\", \"carol\"]", "members = [\"carol\"]")).ok();
    let text = world.run("alice", &["recertify", "show", "1"]).ok().out;
    assert!(!text.contains("(item 1.4)") && text.contains("(item 1.6)"), "{text}");
    assert!(world.unread("olivia").contains(&"recertification.closed".to_owned()));
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn nobody_reviews_their_own_access_or_what_is_for_others() {
    let world = world();
    // Filed by alice for dave.
    world
        .run("alice", &["request", "target:orders-db", "--for", "dave", "--reason", "x", "--duration", "permanent"])
        .ok();
    world.run("erin", &["approve", "4"]).ok();
    world.grant("grace", "role:admin", "olivia", &["--duration", "1w"]);
    start(&world, &["--due", "3d", "--group", "data"]);
    start(&world, &["--due", "3d", "--permanent"]);
    // It would go on after her grant, and end what nobody keeps.
    let by_grant = ["recertify", "start", "--due", "365d", "--reviewers", "member:grace,member:dave"];
    world.run("grace", &by_grant).fails(3, "a role that was granted to you does not count to start a recertification");
    let (own, hidden) = ("nobody reviews their own access", "there is no item");
    let disabled =
        TEAM.replace("[members.heidi]\nrole = \"viewer\"", "[members.heidi]\ndisabled = true\nrole = \"viewer\"");
    world.apply("olivia", &disabled).ok();
    for verdict in ["keep", "revoke"] {
        for (login, item, code, says) in [
            ("bob", "2.1", 3, own),
            ("dave", "1.1", 3, own),
            ("dave", "1.3", 3, own),
            ("alice", "1.1", 3, own),
            ("bob", "2.2", 4, hidden),
            ("carol", "2.1", 4, hidden),
            ("ivan", "2.1", 4, hidden),
            // An admin by a grant sees it.
            ("grace", "2.1", 3, "is for others to review: role:admin"),
            ("heidi", "2.1", 3, "is disabled"),
            ("stranger", "2.1", 3, "is not a member"),
            ("erin", "2.9", 4, hidden),
            ("erin", "3.1", 4, hidden),
            ("erin", "2.0", 2, "is written as"),
        ] {
            world.run(login, &["recertify", verdict, item]).fails(code, says);
        }
    }
    // alice approved bob's grant, and may review it: who may not is only who has it, or asked for it.
    world.run("alice", &["recertify", "keep", "2.1"]).ok();
    for (login, code) in [("bob", 0), ("carol", 4), ("alice", 0), ("dave", 0), ("grace", 0)] {
        world.run(login, &["recertify", "show", "2"]).exits(code);
    }
    let seen = items(&show(&world, "bob", "2"));
    assert_eq!(seen, ["2.1 bob 1/target:orders-db"], "their own, and no other");
    for (args, says) in [
        (["show", "9"], "there is no recertification 9\n"),
        (["show", "9223372036854775807"], "there is no recertification 9223372036854775807\n"),
        (["show", "99999999999999999999"], "there is no recertification 99999999999999999999\n"),
        (["keep", "99999999999999999999.1"], "there is no recertification 99999999999999999999\n"),
        (["keep", "1.99999999999999999999"], "there is no item 1.99999999999999999999\n"),
    ] {
        let ran = world.run("carol", &["recertify", args[0], args[1]]).fails(4, says);
        assert!(ran.err.contains("hint: `access recertify list --all` shows"), "{ran:?}");
    }
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_new_name_or_login_gives_nobody_their_own_access_to_review() {
    let world = world();
    start(&world, &["--permanent", "--due", "3d", "--reviewers", "role:member"]);
    // The same Unix user under another name, and another Unix user under the same name.
    let renamed = TEAM.replace("[members.bob]", "[members.robert]\nlogin = \"bob\"").replace("\"bob\", ", "");
    world.apply("olivia", &renamed).ok();
    world.run("bob", &["recertify", "keep", "1.1"]).fails(3, "nobody reviews their own access");
    let other = TEAM.replace("[members.frank]", "[members.frank]\nlogin = \"fred\"").replace("\"bob\", ", "");
    world.apply("olivia", &other).ok();
    world.run("fred", &["recertify", "keep", "1.2"]).fails(4, "there is no item");
    // What the former frank held ended with him.
    world.run("carol", &["recertify", "keep", "1.2"]).fails(5, "is no longer held");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_decision_is_final_and_only_before_the_due_time() {
    let world = world();
    start(&world, &["--permanent", "--due", "2h"]);
    world.run("alice", &["recertify", "keep", "1.1"]).ok();
    world.run("erin", &["recertify", "revoke", "1.1"]).fails(5, "alice kept item 1.1 already");
    world.run("alice", &["recertify", "keep", "1.1"]).fails(5, "alice kept item 1.1 already");
    assert!(world.may("bob", "target:orders-db"));
    world.run("erin", &["recertify", "revoke", "1.2", "--reason", "Left"]).ok().says("Revoked 1.2");
    assert!(!world.may("frank", "connection:prod-aws"));
    world.run("alice", &["recertify", "keep", "1.2"]).fails(5, "erin revoked item 1.2 already");
    start(&world, &["--permanent", "--due", "2h"]);
    world.pass("2h");
    // Whether or not cron ran.
    world.run("erin", &["recertify", "keep", "2.1"]).fails(5, "was due");
    world.run("erin", &["recertify", "revoke", "2.1"]).fails(5, "was due");
    world.run("root", &["expire"]).ok();
    world.run("erin", &["recertify", "keep", "2.1"]).fails(5, "was due");
    assert!(!world.may("bob", "target:orders-db"));
    assert_eq!(states(&show(&world, "alice", "1")), ["kept", "revoked"]);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn an_admin_cancels_one_and_nothing_more_comes_of_it() {
    let world = world();
    start(&world, &["--permanent", "--due", "4h", "--reviewers", "erin,dave"]);
    world.run("erin", &["recertify", "revoke", "1.1", "--reason", "Moved on"]).ok();
    for login in ["bob", "dave"] {
        world
            .run(login, &["recertify", "cancel", "1", "--reason", "no"])
            .fails(3, "only admins and the owner may cancel");
    }
    world.run("alice", &["recertify", "cancel", "2", "--reason", "no"]).fails(4, "there is no recertification 2");
    world.run("alice", &["recertify", "cancel", "1"]).fails(2, "--reason");
    let view = world.json("erin", &["recertify", "cancel", "1", "--reason", "The wrong people"]);
    shows(
        &view,
        &json!({ "closed_at": "2026-11-24T09:00:00Z", "cancelled": { "by": "erin", "reason": "The wrong people" } }),
    );
    assert_eq!(states(&view), ["revoked", "ended"]);
    world.run("alice", &["recertify", "show", "1"]).ok().says("by erin: The wrong people");
    world.run("dave", &["recertify", "keep", "1.2"]).fails(5, "erin cancelled recertification 1");
    world.run("alice", &["recertify", "cancel", "1", "--reason", "no"]).fails(5, "erin cancelled recertification 1");
    for login in ["alice", "dave", "olivia"] {
        assert_eq!(world.unread(login).last().unwrap(), "recertification.closed", "{login}");
    }
    world.run("alice", &["inbox"]).ok().says("erin cancelled recertification 1: The wrong people");
    world.pass("4h");
    shows(&world.json("root", &["expire"]), &json!({ "closed": 0, "revoked": 0, "reminded": 0 }));
    assert!(world.may("frank", "connection:prod-aws"), "nobody decided on it");
    assert!(!world.may("bob", "target:orders-db"), "erin did");
    // At the due time it is over: an admin can't make it undone.
    start(&world, &["--permanent", "--due", "2h"]);
    world.pass("2h");
    world.run("olivia", &["recertify", "cancel", "2", "--reason", "late"]).fails(5, "was due");
    shows(&world.json("root", &["expire"]), &json!({ "closed": 1, "revoked": 1 }));
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_nobody_can_review_is_not_started() {
    let alone = "[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n[members.bob]\nrole = \"member\"\n[groups.dev]\nmembers = [\"bob\"]\n";
    let world = World::of("olivia", alone);
    world.run("olivia", &["recertify", "start", "--due", "1d"]).fails(3, "nobody else can review role:owner of olivia");
    let bob = ["recertify", "start", "--due", "1d", "--group", "dev", "--reviewers", "bob"];
    world.run("olivia", &bob).fails(3, "nobody else can review role:member of bob, group:dev of bob");
    assert!(!world.actions().contains(&"recertification.started".to_owned()));
    world.run("olivia", &["recertify", "start", "--due", "1d", "--group", "dev"]).ok();
}

#[test]
fn only_admins_start_one_and_what_it_names_must_be_there() {
    let world = world();
    for login in ["bob", "heidi"] {
        world.run(login, &["recertify", "start", "--due", "1d"]).fails(3, "only admins and the owner");
    }
    for (args, code, says) in [
        (&["--due", "59m"][..], 2, "at least an hour ahead"),
        (&["--due", "366d"], 2, "at most a year ahead"),
        (&["--due", "1d", "--group", "nobody"], 4, "there is no group nobody"),
        (&["--due", "1d", "--reviewers", "zoe"], 4, "there is no member zoe"),
        (&["--due", "1d", "--reviewers", "group:zoe"], 4, "there is no group zoe"),
        (&["--due", "1d", "--resource", "target:nowhere"], 4, "there is no target:nowhere"),
    ] {
        world.run("alice", &[&["recertify", "start"], args].concat()).fails(code, says);
    }
    let dry = world.json("alice", &["recertify", "start", "--permanent", "--due", "1d", "--dry-run"]);
    assert_eq!(items(&dry).len(), 2);
    assert_eq!(world.json("alice", &["recertify", "list", "--all"]), json!([]));
    // A role without a grant; nobody holds anything of this scope but admins, by their role.
    let view = start(&world, &["--resource", "scope:orders-read", "--due", "1d"]);
    assert_eq!(items(&view), ["1.1 alice role:admin", "1.2 erin role:admin", "1.3 olivia role:owner"]);
    world
        .apply(
            "olivia",
            "[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n[members.alice]\nrole = \"admin\"\n",
        )
        .ok();
    world
        .run("alice", &["recertify", "start", "--permanent", "--due", "1d"])
        .fails(4, "nobody holds anything to review");
}

#[test]
fn no_more_is_reviewed_at_once_than_fits_in_one_entry() {
    let names: Vec<String> = (0..340).map(|n| format!("m{n}")).collect();
    let members: String = names.iter().map(|name| format!("[members.{name}]\nrole = \"member\"\n")).collect();
    let team = |groups: usize| {
        let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let groups: String = (0..groups).map(|n| format!("[groups.g{n}]\nmembers = [{list}]\n")).collect();
        format!(
            "[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n[members.alice]\nrole = \"admin\"\n{members}{groups}"
        )
    };
    let world = World::of("olivia", &team(2));
    world
        .run("alice", &["recertify", "start", "--due", "1d"])
        .fails(2, "there are 1022 items to review, and at most 1000 fit");
    world.apply("olivia", &team(1)).ok();
    assert_eq!(start(&world, &["--due", "1d"])["counts"]["waiting"], 682);
}

#[test]
fn the_reviewers_are_those_who_could_approve_it_today() {
    let rules = "[[rules]]\nname = \"dba\"\nmatch = { resources = [\"target:*\"] }\napprovers = [\"group:data\"]\n";
    let world = World::of("olivia", &format!("{TEAM}{rules}"));
    world.grant("bob", "target:orders-db", "dave", &["--duration", "permanent"]);
    let view = start(&world, &["--permanent", "--due", "1d"]);
    assert_eq!(view["items"][0]["reviewers"], json!(["group:data"]));
    assert_eq!(view["waiting_for_you"], 0);
    world.run("alice", &["recertify", "keep", "1.1"]).fails(3, "is for others to review: group:data");
    assert_eq!(world.unread("dave").last().unwrap(), "recertification.started");
    assert!(!world.unread("alice").contains(&"recertification.started".to_owned()));
    // Who is no longer one of them may not.
    world.apply("olivia", &format!("{TEAM}{rules}").replace("members = [\"dave\"]", "members = [\"grace\"]")).ok();
    world.run("dave", &["recertify", "keep", "1.1"]).fails(4, "there is no item");
    world.run("grace", &["recertify", "keep", "1.1"]).ok();
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_ended_meanwhile_is_done_and_what_came_later_is_not_in_it() {
    let world = world();
    world.run("alice", &["approve", &world.request("dave", "target:orders-api", &[]), "--duration", "3d"]).ok();
    start(&world, &["--due", "2d"]);
    let held = |view: &Value| items(view).iter().filter(|item| item.contains('/')).cloned().collect::<Vec<_>>();
    let view = show(&world, "alice", "1");
    assert_eq!(
        held(&view),
        ["1.2 bob 1/target:orders-db", "1.7 dave 4/target:orders-api", "1.11 frank 2/connection:prod-aws"]
    );
    world.run("bob", &["revoke", "1"]).ok();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent"]);
    world.run("erin", &["recertify", "keep", "1.2"]).fails(5, "is no longer held");
    // An extension rests on its own approval, and falls with the grant that it extends.
    let extension = world.json("dave", &["extend", "4", "--reason", "more", "--duration", "9d"])["id"].to_string();
    world.run("erin", &["approve", &extension]).ok();
    world.pass("2d");
    let expired = world.json("root", &["expire"]);
    shows(&expired, &json!({ "closed": 1, "revoked": 3 }));
    assert!(world.may("bob", "target:orders-db"), "granted later");
    assert_eq!((world.state("4"), world.state(&extension)), ("revoked".into(), "revoked".into()));
    let view = show(&world, "alice", "1");
    assert_eq!(view["items"][1]["state"], "ended");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn two_recertifications_that_are_due_together_end_a_grant_once() {
    let world = world();
    world.run("carol", &["extend", "3", "--reason", "more", "--duration", "60d"]).ok();
    world.run("erin", &["approve", "4"]).ok();
    // The extension alone, then both, then what it extends.
    start(&world, &["--due", "2h", "--resource", "target:billing-db"]);
    start(&world, &["--due", "2h", "--resource", "target:billing-db"]);
    world.pass("3h");
    let dry = world.json("root", &["expire", "--dry-run"]);
    shows(&dry, &json!({ "closed": 2, "revoked": 3 }));
    shows(&world.json("root", &["expire"]), &json!({ "closed": 2, "revoked": 3 }));
    let revoked = world.actions().into_iter().filter(|action| action == "grant.revoked").count();
    assert_eq!(revoked, 3);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn an_auditor_sees_all_of_it_and_decides_nothing() {
    let world = world();
    let audited = TEAM.replace("[members.erin]\n", "[members.erin]\nauditor = true\n");
    world.apply("olivia", &audited).ok();
    start(&world, &["--permanent", "--due", "2h", "--reviewers", "erin,alice"]);
    assert_eq!(items(&show(&world, "erin", "1")).len(), 2);
    assert_eq!(show(&world, "erin", "1")["waiting_for_you"], 0);
    for verdict in ["keep", "revoke"] {
        world.run("erin", &["recertify", verdict, "1.1"]).fails(3, "auditor");
    }
    world.run("erin", &["recertify", "start", "--permanent", "--due", "2h"]).fails(3, "auditor");
    world
        .run("alice", &["recertify", "start", "--permanent", "--due", "2h", "--reviewers", "erin"])
        .fails(3, "nobody else");
}

#[test]
fn however_many_run_expire_at_once_each_grant_ends_once() {
    let world = world();
    start(&world, &["--permanent", "--due", "2h"]);
    world.pass("2h");
    let mut running: Vec<_> = (0..6).map(|_| world.command("root", &["expire", "--quiet"]).spawn().unwrap()).collect();
    // Nothing is kept while they run.
    world.run("erin", &["recertify", "keep", "1.1"]).exits(5);
    assert!(running.iter_mut().all(|expire| expire.wait().unwrap().success()));
    let count = |wanted: &str| world.actions().iter().filter(|action| *action == wanted).count();
    assert_eq!((count("recertification.closed"), count("grant.revoked")), (1, 2));
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn reviewers_are_notified_and_reminded_once_while_anything_waits_for_them() {
    let world = world();
    start(&world, &["--permanent", "--due", "4d", "--reviewers", "erin,dave"]);
    let count = |login: &str, kind: &str| world.unread(login).iter().filter(|it| *it == kind).count();
    for (login, started) in [("erin", 1), ("dave", 1), ("alice", 0), ("bob", 0)] {
        assert_eq!(count(login, "recertification.started"), started, "{login}");
    }
    world.pass("71h");
    shows(&world.json("root", &["expire"]), &json!({ "reminded": 0 }));
    world.pass("1h");
    shows(&world.json("root", &["expire"]), &json!({ "reminded": 1 }));
    shows(&world.json("root", &["expire"]), &json!({ "reminded": 0 }));
    assert_eq!((count("erin", "recertification.reminder"), count("alice", "recertification.reminder")), (1, 0));
    start(&world, &["--permanent", "--due", "4h", "--reviewers", "erin"]);
    world.run("erin", &["recertify", "keep", "2", "--count", "2"]).ok();
    world.pass("3h");
    world.run("root", &["expire"]).ok();
    assert_eq!(count("erin", "recertification.reminder"), 1, "nothing waits in the second");
    world.run("erin", &["notify", "mute", "recertification.reminder"]).ok();
}

#[test]
fn what_is_overdue_or_waits_shows_where_people_look() {
    let world = world();
    start(&world, &["--permanent", "--due", "2h", "--reviewers", "erin"]);
    assert_eq!(world.json("erin", &["whoami"])["to_review"], 2);
    world.run("erin", &["whoami"]).ok().says("2 items of recertifications: `access recertify keep`");
    assert_eq!(world.json("alice", &["whoami"])["to_review"], 0);
    let late = "recertification 1 (due 2026-11-24 11:00 UTC) is overdue and not closed: what nobody kept is still held";
    world.pass("2h");
    let doctor = world.run("root", &["doctor"]).ok();
    assert!(doctor.out.contains(late), "{doctor:?}");
    assert!(world.run("alice", &["list"]).ok().err.contains(late));
    assert!(!world.run("dave", &["list"]).ok().err.contains("overdue"), "it is for those who see all");
    assert_eq!(world.json("erin", &["whoami"])["to_review"], 0);
    world.run("root", &["expire"]).ok();
    assert!(!world.run("root", &["doctor"]).ok().out.contains("overdue"));
    assert!(!world.run("alice", &["list"]).ok().err.contains("overdue"));
}

#[test]
fn several_are_decided_on_only_with_their_count() {
    let world = world();
    start(&world, &["--permanent", "--due", "4d"]);
    world.run("erin", &["recertify", "keep"]).fails(2, "ID is missing");
    for more in [&[][..], &["--yes"]] {
        world
            .run("erin", &[&["recertify", "keep", "1"], more].concat())
            .fails(2, "--count is missing: you would decide 2 items at once");
    }
    world.run("erin", &["recertify", "keep", "1", "--count", "3"]).fails(5, "--count is 3, and these are 2 items");
    world.run("erin", &["recertify", "keep", "1.1", "1.1", "--count", "2"]).fails(5, "these are 1 item;");
    assert_eq!(states(&show(&world, "erin", "1")), ["waiting", "waiting"]);
    // Each is decided by itself.
    let ran = world.run("erin", &["recertify", "revoke", "1.1", "1.7", "1.2"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(states(&show(&world, "erin", "1")), ["revoked", "revoked"]);
    world.run("erin", &["recertify", "keep", "1", "--count", "2"]).ok();
    let both = start(&world, &["--group", "support", "--due", "4d"]);
    let ours = both["waiting_for_you"].to_string();
    let kept = world.json("erin", &["recertify", "keep", "2", "--count", &ours]);
    assert_eq!(kept.as_array().unwrap().len().to_string(), ours);
}

#[test]
fn what_a_reviewer_writes_acts_on_no_terminal() {
    let world = world();
    start(&world, &["--permanent", "--due", "4d"]);
    for text in ["\u{1b}[2J", "a\u{202e}b", " "] {
        world.run("erin", &["recertify", "keep", "1.1", "--reason", text]).exits(2);
    }
    world.run("erin", &["recertify", "revoke", "1.1", "--reason", "hidden\u{200b}\n=cmd()|<b>"]).ok();
    for args in [&["recertify", "show", "1"][..], &["audit"], &["show", "1"]] {
        let out = world.run("alice", args).ok().out;
        assert!(out.contains("\\u{200b}") && !out.contains('\u{200b}'), "{args:?}: {out}");
    }
}

#[test]
fn on_a_terminal_items_are_reviewed_one_by_one() {
    let world = world();
    start(&world, &["--permanent", "--due", "4d"]);
    let terminal = Terminal::access(&world, "erin", &["recertify", "keep"]);
    let screen = terminal.shows("Item 1.1 (1 of 2)");
    for shown in ["bob", "target:orders-db", "permanent", "testing"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    // Nothing is preselected that keeps or takes.
    terminal.key("Enter").shows("Item 1.2 (2 of 2)");
    terminal.key("Up").shows_when("revoke picked", |screen| screen.contains("❯ Revoke"));
    terminal.key("Enter").shows("Why?");
    terminal.text("Left the project").key("Enter");
    terminal.exits(0);
    let view = show(&world, "alice", "1");
    assert_eq!(states(&view), ["waiting", "revoked"]);
    assert_eq!(view["items"][1]["reason"], "Left the project");
    assert!(!world.may("frank", "connection:prod-aws"));
    // All at once takes their number, and not a key.
    start(&world, &["--group", "support", "--due", "4d"]);
    let terminal = Terminal::access(&world, "erin", &["recertify", "keep", "2"]);
    terminal.shows("Keep all 5 items? Type how many they are");
    terminal.key("Enter").shows("type 5 to go on");
    terminal.text("5").key("Enter").shows("Why?");
    terminal.key("Enter");
    terminal.exits(0);
    assert_eq!(show(&world, "alice", "2")["counts"]["kept"], 5);
}

#[test]
fn starting_one_on_a_terminal_shows_it_first() {
    let world = world();
    let terminal = Terminal::access(&world, "alice", &["recertify", "start", "--permanent", "--due", "4d"]);
    let screen = terminal.shows("Start it, and notify the reviewers?");
    assert!(screen.contains("target:orders-db") && screen.contains("role:admin"), "{screen}");
    terminal.text("n").exits(1);
    assert_eq!(world.json("alice", &["recertify", "list"]), json!([]));
}

/// Recertification 1 is closed: bob's grant was kept, frank's was not, and carol's was revoked. Number 2 is open, and 3 was cancelled.
fn history() -> World {
    let world = World::sample();
    for (login, resource) in
        [("bob", "target:orders-db"), ("frank", "connection:prod-aws"), ("carol", "target:billing-db")]
    {
        world.grant(login, resource, "alice", &["--duration", "permanent"]);
    }
    start(&world, &["--permanent", "--due", "4h", "--reviewers", "erin,dave"]);
    world.run("erin", &["recertify", "keep", "1.1", "--reason", "On call"]).ok();
    world.run("dave", &["recertify", "revoke", "1.2"]).ok();
    world.pass("3h");
    world.run("root", &["expire"]).ok();
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    start(&world, &["--group", "data", "--due", "4h"]);
    start(&world, &["--group", "support", "--due", "4h"]);
    world.run("alice", &["recertify", "cancel", "3", "--reason", "no"]).ok();
    assert_eq!(faults(&world), [""; 0]);
    world
}

#[test]
fn a_recertification_that_is_missing_changed_or_added_is_found() {
    let world = history();
    let whole = std::fs::read(world.db()).unwrap();
    for (statement, fault) in [
        ("DELETE FROM recertification WHERE id = 2", "recertification 2 is on the record and not in its table"),
        ("DELETE FROM recertification_item WHERE number = 3", "item 1.3 is on the record and not in its table"),
        ("UPDATE recertification SET due = due + 1 WHERE id = 2", "recertification 2 is not as it was recorded"),
        ("UPDATE recertification SET cancelled = NULL", "recertification 3 is not as it was recorded"),
        ("UPDATE recertification SET closed_at = NULL", "recertification 1 is not as it was recorded"),
        ("UPDATE recertification SET remind_at = due WHERE id = 1", "recertification 1 is not as it was recorded"),
        (
            "UPDATE recertification_item SET outcome = (SELECT outcome FROM recertification_item WHERE number = 1)
             WHERE recertification = 1 AND number = 3",
            "item 1.3 is not as it was recorded",
        ),
        (
            "UPDATE recertification_item SET outcome = NULL WHERE recertification = 1",
            "item 1.1 is not as it was recorded",
        ),
        (
            "UPDATE recertification_item SET item = replace(item, 'erin', 'ivan') WHERE recertification = 1",
            "item 1.1 is not as it was recorded",
        ),
        ("UPDATE recertification_item SET item = '{}' WHERE recertification = 2", "item 2.1 can't be read"),
        (
            "INSERT INTO recertification SELECT 4, seq, started_at, by, selection, due, remind_at, closed_at, cancelled
             FROM recertification WHERE id = 2",
            "recertification 4 is in its table, and no entry explains it",
        ),
        (
            "INSERT INTO recertification_item SELECT 2, 9, item, outcome FROM recertification_item
             WHERE recertification = 1 AND number = 3",
            "item 2.9 is in its table, and no entry explains it",
        ),
    ] {
        world.rows(statement);
        let faults = faults(&world);
        assert!(
            faults.iter().any(|found| found == fault || found.starts_with(fault)),
            "{statement}\nexpected: {fault}\n{faults:#?}"
        );
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn no_forged_review_is_in_a_log_that_is_true() {
    let world = history();
    let bodies = bodies(&world);
    let whole = std::fs::read(world.db()).unwrap();
    let place = |text: &str| bodies.iter().position(|body| body.contains(text)).unwrap();
    let (started, kept, revoked) =
        (place("recertification.started"), place("\"verdict\":\"keep\""), place("\"verdict\":\"revoke\""));
    let (reminded, closed) = (place("recertification.reminded"), place("recertification.closed"));
    let cancelled = place("recertification.cancelled");
    assert!(bodies[closed + 1].contains("grant.revoked"), "{}", bodies[closed + 1]);
    let as_one = |before: &str, name: &str| {
        let by = |key: &str, name: &str| format!("\"{key}\":\"{name}\"");
        vec![(by("actor", before), by("actor", name)), (by("by", before), by("by", name))]
    };
    let as_another = |name: &str| as_one("erin", name);
    let one = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    let cases = [
        (kept, as_another("bob"), "bob reviews item 1.1, which is their own"),
        (kept, as_another("alice"), "alice reviews item 1.1, which is for others to review"),
        (kept, as_another("frank"), "frank reviews item 1.1, which is for others to review"),
        (kept, one("\"actor\":\"erin\"", "\"actor\":\"dave\""), "is not that of the member who acts"),
        (kept, one("\"item\":\"1.1\"", "\"item\":\"1.2\""), "the decision on item 1.2 misstates what it is about"),
        (kept, one("\"item\":\"1.1\"", "\"item\":\"1.9\""), "there is no item 1.9"),
        (kept, one("\"item\":\"1.1\"", "\"item\":\"7.1\""), "there is no recertification 7"),
        (kept, one("\"member\":\"bob\"", "\"member\":\"carol\""), "misstates what it is about"),
        (
            revoked,
            one("\"verdict\":\"revoke\"", "\"verdict\":\"keep\""),
            "is revoked for a review that does not say so",
        ),
        (kept, one("\"verdict\":\"keep\"", "\"verdict\":\"revoke\""), "grant 1 was not kept, and is not revoked"),
        (
            revoked + 1,
            one("\"not_kept\":\"1.2\"", "\"not_kept\":\"1.1\""),
            "is revoked for a review that does not say so",
        ),
        (closed, one("\"not_kept\":[3]", "\"not_kept\":[]"), "is closed with other items than nobody kept"),
        (closed, one("\"not_kept\":[3]", "\"not_kept\":[3,1]"), "is closed with other items than nobody kept"),
        (closed, one("\"actor\":null", "\"actor\":\"erin\""), "is closed by a member"),
        (closed, one("\"recertification\":1", "\"recertification\":2"), "there is no recertification 2"),
        (
            closed + 1,
            one("\"not_kept\":\"1.3\"", "\"not_kept\":\"1.1\""),
            "is revoked for a review that does not say so",
        ),
        (started, one("\"due\":\"2026-11-24T13", "\"due\":\"2026-11-24T14"), "is closed before it was due"),
        (started, one("\"due\":\"2026-11-24T13", "\"due\":\"2026-11-24T09"), "is due before it can be reviewed"),
        (started, one("\"remind_at\":\"2026-11-24T12", "\"remind_at\":\"2026-11-24T13"), "which was not due"),
        (started, one("\"recertification\":1", "\"recertification\":5"), "where 1 comes next"),
        (started, one("\"by\":\"alice\"", "\"by\":\"olivia\""), "is not started by the member who acts"),
        (started, one("\"request\":3", "\"request\":2"), "who does not have it"),
        (started, one("\"login\":\"bob\"", "\"login\":\"rob\""), "who does not have it"),
        (reminded, one("\"recertification\":1", "\"recertification\":4"), "there is no recertification 4"),
        (cancelled, one("\"recertification\":3", "\"recertification\":4"), "there is no recertification 4"),
        (cancelled, one("\"recertification\":3", "\"recertification\":1"), "recertification 1 was closed before"),
        (cancelled, one("\"by\":\"alice\"", "\"by\":\"erin\""), "is not cancelled by the member who acts"),
        (cancelled, as_one("alice", "dave"), "recertification 3 is cancelled by dave, who is no admin"),
        (cancelled, one("24T13:00:00Z", "24T17:00:00Z"), "recertification 3 is cancelled when it is due"),
    ];
    for (place, edits, fault) in cases {
        let mut edited = bodies.clone();
        for (from, to) in &edits {
            edited[place] = edited[place].replacen(from, to, 1);
        }
        assert_ne!(edited[place], bodies[place], "{edits:?}");
        forge(&world, &edited, "");
        let faults = faults(&world);
        let found = faults.iter().any(|found| found.starts_with("entry ") && found.contains(fault));
        assert!(found, "{edits:?}\nexpected: {fault}\n{faults:#?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
    // The same entry again, and the grant that nobody kept left alone.
    let mut again = bodies.clone();
    let seq = again.len() + 1;
    again.push(again[kept].replacen(&format!("\"seq\":{}", kept + 1), &format!("\"seq\":{seq}"), 1));
    forge(&world, &again, "");
    assert!(faults(&world).iter().any(|found| found.contains("recertification 1 was closed before")));
    std::fs::write(world.db(), &whole).unwrap();
    let mut left = bodies.clone();
    left.remove(closed + 1);
    forge(&world, &left, "");
    assert!(faults(&world).iter().any(|found| found.contains("grant 2 was not kept, and is not revoked")));
}

#[test]
fn a_shell_offers_what_waits_for_its_user() {
    let world = world();
    start(&world, &["--permanent", "--due", "4d"]);
    world.run("erin", &["recertify", "keep", "1.1"]).ok();
    assert_eq!(bash(&world, "erin", "access recertify keep "), ["1.2"]);
    assert_eq!(bash(&world, "bob", "access recertify show "), ["1"]);
    // Options are offered where nothing else is.
    for line in ["access recertify revoke ", "access recertify show "] {
        let offered = bash(&world, "carol", line);
        assert!(offered.iter().all(|word| word.starts_with("--")), "{line}{offered:?}");
    }
}
