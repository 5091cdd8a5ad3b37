//! Setting a team up, and changing it by its file.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use toml::Table;

use crate::harness::{Ran, World, shows};

/// The team file of today, with a change made to it.
fn edited(world: &World, change: impl FnOnce(&mut Table)) -> String {
    edited_by("olivia", world, change)
}

fn edited_by(login: &str, world: &World, change: impl FnOnce(&mut Table)) -> String {
    let mut team: Table = world.run(login, &["team", "show"]).ok().out.parse().unwrap();
    change(&mut team);
    team.to_string()
}

fn section<'t>(team: &'t mut Table, name: &str) -> &'t mut Table {
    team[name].as_table_mut().unwrap()
}

fn without_bob(team: &mut Table) {
    section(team, "members").remove("bob");
    team["groups"]["backend"]["members"] = vec!["carol"].into();
}

/// What the file would do, without doing it.
fn plan(world: &World, team: &str) -> Value {
    std::fs::write(world.folder().join("plan.toml"), team).unwrap();
    world.json("olivia", &["team", "apply", "plan.toml", "--dry-run"])
}

/// What follows, as `withdrawn 1`, in order.
fn follows(plan: &Value) -> Vec<String> {
    let follows = plan["follows"].as_array().unwrap().iter();
    follows.map(|one| format!("{} {}", one["follows"].as_str().unwrap(), one["request"])).collect()
}

fn piped(world: &World, login: &str, args: &[&str], input: &str) -> Ran {
    let mut command = world.command(login, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        line: format!("{login}$ … | access {}", args.join(" ")),
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn init_makes_a_private_file_in_private_folders() {
    let world = World::empty();
    let path = world.folder().join("new/deep/access.db");
    world.run("ana", &["init", "--db", path.to_str().unwrap()]).ok().says("you are its owner, ana");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&world.folder().join("new/deep")), 0o700);
    assert_eq!(mode(&world.folder().join("new")), 0o700);
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["access.db"], "no draft, log or lock is left behind");
}

#[test]
fn init_never_replaces_a_file() {
    let world = World::sample();
    let before = std::fs::read(world.db()).unwrap();
    world.run("bob", &["init"]).fails(5, "already exists");
    assert_eq!(std::fs::read(world.db()).unwrap(), before);
}

#[test]
fn init_names_the_owner_and_the_team() {
    let world = World::empty();
    let created = world.json("ana", &["init", "--owner", "boss", "--team", "acme"]);
    assert_eq!(created, json!({ "database": world.db().to_str(), "team": "acme", "owner": "boss" }));
    let me = world.json("ana", &["whoami"]);
    assert_eq!((&me["member"], &me["role"]), (&json!("boss"), &json!("owner")));
    world.run("boss", &["whoami"]).fails(3, "not a member");
}

#[test]
fn a_login_that_is_no_name_needs_another() {
    let world = World::empty();
    let ran = world.run("Ana.Smith", &["init"]).fails(2, "Ana.Smith");
    assert!(ran.err.contains("--owner"), "{ran:?}");
    assert!(!world.db().exists());
    world.run("Ana.Smith", &["init", "--owner", "ana"]).ok();
    assert_eq!(world.json("Ana.Smith", &["whoami"])["member"], "ana");
}

#[test]
fn the_sample_gives_way_to_a_caller_of_the_same_name() {
    // As the owner, bob is not the sample's bob; who calls is the owner, whatever they are named.
    let world = World::empty();
    world.run("bob", &["init", "--sample"]).ok();
    let me = world.json("bob", &["whoami"]);
    assert_eq!((&me["member"], &me["role"]), (&json!("bob"), &json!("owner")));

    let world = World::empty();
    world.run("bob", &["init", "--sample", "--owner", "zed"]).ok();
    assert_eq!(world.json("bob", &["whoami"])["member"], "zed");
    assert_eq!(world.json("bob", &["whoami", "--as", "bob"])["role"], "member");
    world.run("bob", &["whoami", "--as", "olivia"]).fails(4, "there is no member olivia");
}

#[test]
fn what_is_shown_applies_back_unchanged() {
    let world = World::sample();
    let before = world.actions();
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    world.apply("olivia", &shown).ok().says("Nothing changes");
    assert_eq!(plan(&world, &shown)["changes"], json!([]));
    assert_eq!(world.run("heidi", &["team", "show"]).ok().out, shown, "any member may see it");
    assert_eq!(world.actions(), before);
}

#[test]
fn only_the_owner_applies() {
    let world = World::sample();
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    let file = edited(&world, without_bob);
    world.apply("alice", &file).fails(3, "only the owner may apply a team file");
    world.run("alice", &["team", "apply", "team.toml", "--dry-run"]).fails(3, "only the owner");
    // A granted role, be it admin, does not make an owner either.
    let id = world.request("bob", "role:admin", &[]);
    world.run("olivia", &["approve", &id]).ok();
    world.apply("bob", &file).fails(3, "only the owner");
    let actions = world.actions();
    assert_eq!(actions.iter().filter(|action| *action == "attempt.refused").count(), 3, "{actions:?}");
    assert!(!actions.contains(&"team.applied".to_owned()));
    assert_eq!(world.run("olivia", &["team", "show"]).ok().out, shown);
}

#[test]
fn without_a_yes_nothing_is_applied() {
    let world = World::sample();
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    let file = edited(&world, without_bob);
    std::fs::write(world.folder().join("new.toml"), &file).unwrap();
    let ran = world.run("olivia", &["team", "apply", "new.toml"]).fails(2, "needs your confirmation");
    assert!(ran.err.contains("--yes"), "{ran:?}");
    world.run("olivia", &["team", "apply", "new.toml", "--dry-run"]).ok().says("Would change:").says("- member:bob");
    assert_eq!(world.run("olivia", &["team", "show"]).ok().out, shown);
    assert_eq!(world.actions(), ["team.initialized"]);
}

#[test]
fn a_file_comes_from_standard_input_too() {
    let world = World::sample();
    let file = edited(&world, |team| section(team, "team")["name"] = "zeta".into());
    piped(&world, "olivia", &["team", "apply", "-", "--yes"], &file).ok().says("acme → zeta");
    assert_eq!(edited(&world, |_| {}), file);
}

#[test]
fn the_difference_is_told_to_people_and_to_machines() {
    let world = World::sample();
    let file = edited(&world, |team| {
        section(team, "members")["bob"]["role"] = "admin".into();
        section(team, "members").insert("zoe".into(), "role = 'viewer'".parse::<Table>().unwrap().into());
        section(team, "targets").remove("billing-db");
        team["groups"]["backend"]["members"] = vec!["bob", "dave"].into();
    });
    let planned = plan(&world, &file);
    assert_eq!(planned["applied"], false);
    let changes = planned["changes"].as_array().unwrap();
    let told: Vec<_> =
        changes.iter().map(|c| format!("{} {}", c["change"].as_str().unwrap(), c["what"].as_str().unwrap())).collect();
    assert_eq!(told, ["change member:bob", "add member:zoe", "change group:backend", "remove target:billing-db"]);
    assert_eq!((&changes[0]["from"]["role"], &changes[0]["to"]["role"]), (&json!("member"), &json!("admin")));
    assert_eq!((&changes[1]["from"], &changes[1]["to"]["login"]), (&Value::Null, &json!("zoe")));
    assert_eq!((&changes[3]["from"]["connections"], &changes[3]["to"]), (&json!(["prod-aws"]), &Value::Null));

    let applied = world.apply("olivia", &file).ok();
    let applied = applied
        .says("Applied:")
        .says("~ member:bob (role: member → admin)")
        .says("+ member:zoe (")
        .says("~ group:backend (members: +dave -carol)");
    applied.says("- target:billing-db");
    let entries = world.json("olivia", &["audit", "--action", "team.applied"]);
    assert_eq!(entries[0]["detail"]["changes"], planned["changes"], "the log holds the same words");
}

#[test]
fn ownership_is_handed_over_by_the_file() {
    let world = World::sample();
    let file = edited(&world, |team| {
        section(team, "members")["olivia"]["role"] = "member".into();
        section(team, "members")["alice"]["role"] = "owner".into();
    });
    world.apply("olivia", &file).ok();
    world.apply("olivia", &file.replace("acme\"", "mine\"")).fails(3, "only the owner");
    world.apply("alice", &file.replace("acme\"", "hers\"")).ok();
    assert_eq!(world.json("olivia", &["whoami"])["role"], "member");
}

#[test]
fn two_members_exchange_their_logins() {
    let world = World::sample();
    let file = edited(&world, |team| {
        section(team, "members")["bob"]["login"] = "carol".into();
        section(team, "members")["carol"]["login"] = "bob".into();
    });
    world.apply("olivia", &file).ok();
    assert_eq!(world.json("bob", &["whoami"])["member"], "carol");
    assert_eq!(world.json("carol", &["whoami"])["member"], "bob");
}

#[test]
fn what_rests_on_a_removed_thing_goes_with_it_and_stays_gone() {
    for (kind, name) in
        [("connection", "sandbox"), ("target", "billing-db"), ("feature", "deploy"), ("scope", "orders-read")]
    {
        let world = World::sample();
        let resource = format!("{kind}:{name}");
        let pending = world.request("heidi", &resource, &[]);
        let live = world.request("ivan", &resource, &["--duration", "permanent"]);
        world.run("alice", &["approve", &live]).ok();
        // What was granted counts, not what was asked.
        let other = world.request("ivan", "connection:prod-aws", &[]);
        let unrelated = world.request("ivan", "target:search-index", &[]);
        world.run("alice", &["approve", &unrelated]).ok();

        let back = edited(&world, |_| {});
        let file = edited(&world, |team| {
            section(team, &format!("{kind}s")).remove(name);
        });
        let expected = [format!("withdrawn {pending}"), format!("revoked {live}")];
        assert_eq!(follows(&plan(&world, &file)), expected, "{resource}: shown first");
        assert!(world.may("ivan", &resource), "{resource}: looking changed nothing");

        let before = world.actions().len();
        world.apply("olivia", &file).ok().says("Effects:");
        assert_eq!(world.actions()[before..], ["team.applied", "request.withdrawn", "grant.revoked"], "{resource}");
        assert_eq!(world.state(&pending), "withdrawn", "{resource}");
        assert_eq!(world.state(&live), "revoked", "{resource}");
        assert_eq!((world.state(&other), world.state(&unrelated)), ("pending".into(), "active".into()), "{resource}");
        assert_eq!(world.unread("heidi"), ["request.withdrawn"], "{resource}");
        assert!(world.unread("ivan").contains(&"access.revoked".to_owned()), "{resource}");
        assert!(world.unread("erin").contains(&"request.withdrawn".to_owned()), "{resource}: who was asked is told");

        world.apply("olivia", &back).ok();
        assert!(!world.may("ivan", &resource), "{resource}: a name that comes back brings nothing back");
        assert_eq!(world.state(&pending), "withdrawn", "{resource}");
        world.request("heidi", &resource, &[]);
    }
}

#[test]
fn a_grant_goes_with_what_was_given_not_with_what_was_asked() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", &id, "--scope", "orders-read"]).ok();
    let without_scope = edited(&world, |team| {
        section(team, "scopes").remove("orders-read");
    });
    assert_eq!(follows(&plan(&world, &without_scope)), [format!("revoked {id}")]);
}

#[test]
fn a_removed_member_loses_all_and_a_namesake_gets_none_of_it() {
    let world = World::sample();
    let pending = world.request("bob", "target:billing-db", &[]);
    let live = world.request("bob", "target:orders-db", &["--duration", "permanent"]);
    world.run("alice", &["approve", &live]).ok();
    let back = edited(&world, |_| {});
    let file = edited(&world, without_bob);
    assert_eq!(follows(&plan(&world, &file)), [format!("withdrawn {pending}"), format!("revoked {live}")]);
    world.apply("olivia", &file).ok();
    assert_eq!((world.state(&pending), world.state(&live)), ("withdrawn".into(), "revoked".into()));
    world.run("bob", &["whoami"]).fails(3, "not a member");

    world.apply("olivia", &back).ok();
    assert!(!world.may("bob", "target:orders-db"));
    assert!(world.unread("bob").is_empty(), "{:?}", world.unread("bob"));
    assert_eq!(world.json("bob", &["inbox", "--all"]), json!([]));
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
    let again = world.request("bob", "target:billing-db", &[]);
    assert_ne!(again, pending);
}

#[test]
fn a_disabled_member_loses_all_and_does_nothing() {
    let world = World::sample();
    let pending = world.request("bob", "target:billing-db", &[]);
    let live = world.request("bob", "role:admin", &["--duration", "permanent"]);
    world.run("alice", &["approve", &live]).ok();
    let back = edited(&world, |_| {});
    let file = edited(&world, |team| {
        section(team, "members")["bob"].as_table_mut().unwrap().insert("disabled".into(), true.into());
    });
    assert_eq!(follows(&plan(&world, &file)), [format!("withdrawn {pending}"), format!("revoked {live}")]);
    world.apply("olivia", &file).ok();
    world.run("bob", &["whoami"]).fails(3, "bob is disabled");
    world.run("bob", &["approve", &pending]).fails(3, "bob is disabled");
    let of_others = world.run("alice", &["check", "feature:deploy", "--user", "bob"]);
    assert_eq!(of_others.code, 1, "neither scopes nor the base role hold: {of_others:?}");

    world.apply("olivia", &back).ok();
    assert_eq!(world.json("bob", &["whoami"])["effective_role"], "member");
    assert_eq!((world.state(&pending), world.state(&live)), ("withdrawn".into(), "revoked".into()));
}

#[test]
fn what_a_live_grant_comes_to_cover_is_shown() {
    let world = World::sample();
    let scope = world.request("bob", "scope:orders-read", &[]);
    let connection = world.request("carol", "connection:prod-aws", &[]);
    world.run("alice", &["approve", &scope, &connection]).ok();
    let file = edited(&world, |team| {
        team["scopes"]["orders-read"]["targets"] = vec!["orders-db", "orders-api", "billing-db"].into();
        let target = "connections = ['prod-aws']".parse::<Table>().unwrap();
        section(team, "targets").insert("ledger-db".into(), target.into());
    });
    let plan = plan(&world, &file);
    assert_eq!(follows(&plan), [format!("widened {scope}"), format!("widened {connection}")]);
    assert_eq!(plan["follows"][0]["because"], "target:billing-db");
    assert_eq!(plan["follows"][1]["because"], "target:ledger-db");
    world.apply("olivia", &file).ok().says("now also covers target:billing-db");
    assert!(world.may("bob", "target:billing-db"));
    assert!(world.may("carol", "target:ledger-db"));
}

#[test]
fn what_scheduled_grants_and_moved_targets_come_to_cover_is_shown() {
    let world = World::sample();
    let later = ["--start", "2026-11-25T09:00:00Z"];
    let scheduled = world.request("bob", "scope:orders-read", &later);
    let target = world.request("heidi", "target:orders-db-staging", &[]);
    let connection = world.request("heidi", "connection:sandbox", &["--duration", "permanent"]);
    world.run("alice", &["approve", &scheduled, &target, &connection]).ok();
    let file = edited(&world, |team| {
        team["scopes"]["orders-read"]["targets"] = vec!["orders-db", "orders-api", "billing-db"].into();
        team["targets"]["orders-db-staging"]["connections"] = vec!["staging-aws", "prod-aws"].into();
        team["connections"]["sandbox"]["environment"] = "production".into();
    });
    let plan = plan(&world, &file);
    let expected = [format!("widened {scheduled}"), format!("widened {target}"), format!("widened {connection}")];
    assert_eq!(follows(&plan), expected);
    let because: Vec<&Value> = plan["follows"].as_array().unwrap().iter().map(|it| &it["because"]).collect();
    let now =
        ["target:billing-db", "target:orders-db-staging (now in production)", "connection:sandbox (now in production)"];
    assert_eq!(because, now);
    let file = edited(&world, |team| {
        team["targets"]["orders-db-staging"]["connections"] = vec!["sandbox"].into();
    });
    world.apply("olivia", &file).ok().says("target:orders-db-staging (now in connection:sandbox)");
}

/// The sample team with rules before its tables.
fn with_rules(rules: &str) -> String {
    format!("{}\n{rules}", crate::harness::TEAM)
}

#[test]
fn what_the_file_no_longer_gives_is_shown_with_why_and_ends_as_shown() {
    let free = "[[rules]]\nname = \"free\"\nauto_approve = true\nmatch = { requesters = [\"member:bob\"] }\n";
    let world = World::of("olivia", &with_rules(free));
    let later = ["--start", "2026-11-25T09:00:00Z"];
    let scheduled = world.request("bob", "target:orders-db", &later);
    let extended = world.run("bob", &["extend", &scheduled, "--reason", "x", "--json"]).ok().json()["id"].to_string();
    let active = world.request("bob", "target:billing-db", &["--duration", "permanent"]);
    let approved = world.grant("carol", "target:billing-db", "alice", &[]);
    let denies = "[[rules]]\nname = \"freeze\"\ndeny = \"a freeze\"\nmatch = { resources = [\"target:orders-*\"] }\n\
        [[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let file = with_rules(denies);
    let plan = plan(&world, &file);
    let expected = [
        format!("revoked {scheduled}"),
        format!("revoked {extended}"),
        format!("unmatched {active}"),
        format!("unmatched {approved}"),
    ];
    assert_eq!(follows(&plan), expected);
    let because: Vec<&str> =
        plan["follows"].as_array().unwrap().iter().map(|it| it["because"].as_str().unwrap()).collect();
    let falls = format!("the grant that it extends, {scheduled}, was revoked");
    let why = [
        "the team file no longer gives it: a freeze (rule \"freeze\")",
        &falls,
        "no rule approves it any more; rule \"two\" needs 2 approvals, and none of those given counts",
        "rule \"two\" needs 2 approvals, and 1 of those given counts",
    ];
    assert_eq!(because, why);
    assert_eq!(world.state(&scheduled), "scheduled", "looking changed nothing");

    let ran = world.apply("olivia", &file).ok();
    assert!(
        ran.out.contains("bob has and keeps target:billing-db") && ran.out.contains("--revoke-unmatched"),
        "{ran:?}"
    );
    let states = [&scheduled, &extended, &active, &approved].map(|id| world.state(id));
    assert_eq!(states, ["revoked", "revoked", "active", "active"]);
    assert!(world.unread("bob").contains(&"access.revoked".to_owned()));
    let entry = &world.json("olivia", &["audit", "--request", &scheduled, "--action", "grant.revoked"])[0];
    shows(&entry["detail"]["because"], &json!({ "no_longer_given": "a freeze (rule \"freeze\")" }));
    world.run("bob", &["show", &scheduled]).ok().says("the team file no longer gives it: a freeze");
    // The file changes nothing now; active access that it does not give is listed, and ends if that is asked for.
    let ran = world.apply("olivia", &file).ok().says("Nothing changes").says(" unmatched: bob has and keeps");
    assert!(!ran.out.contains("revoked"), "{ran:?}");
    let before = world.actions().len();
    let args = ["team", "apply", "team.toml", "--revoke-unmatched"];
    let dry = world.json("olivia", &[&args[..], &["--dry-run"]].concat());
    assert_eq!(follows(&dry), [format!("revoked {active}"), format!("revoked {approved}")]);
    world.run("olivia", &args).fails(2, "needs your confirmation");
    world.run("bob", &[&args[..], &["--yes"]].concat()).fails(3, "only the owner");
    world.run("olivia", &[&args[..], &["--yes"]].concat()).ok().says("grant 3 revoked: bob has target:billing-db");
    assert_eq!(world.actions()[before..], ["attempt.refused", "grant.revoked", "grant.revoked"]);
    assert!(!world.may("bob", "target:billing-db") && !world.may("carol", "target:billing-db"));
    assert!(world.unread("carol").contains(&"access.revoked".to_owned()));
    world.run("olivia", &["audit", "verify"]).ok();
    let again = world.json("olivia", &[&args[..], &["--dry-run"]].concat());
    assert_eq!(again["follows"], json!([]));
}

#[test]
fn a_scheduled_grant_that_a_rule_denies_now_never_begins() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &["--start", "2026-11-25T09:00:00Z"]);
    world.run("alice", &["approve", &id]).ok();
    world.apply("olivia", &with_rules("[[rules]]\nname = \"no\"\ndeny = \"a freeze\"\n")).ok();
    world.pass("25h");
    world.run("root", &["expire"]).ok();
    assert!(!world.may("bob", "target:orders-db"));
    assert!(!world.actions().contains(&"grant.started".to_owned()));
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn void_approvals_are_on_the_record_and_in_the_timeline() {
    let two = with_rules("[[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n");
    let world = World::of("olivia", &two);
    let id = world.request("bob", "scope:orders-read", &[]);
    world.run("alice", &["approve", &id]).ok();
    let file = edited(&world, |team| {
        team["scopes"]["orders-read"]["targets"] = vec!["orders-db", "orders-api", "billing-db"].into();
    });
    let plan = plan(&world, &file);
    assert_eq!(follows(&plan), [format!("voided {id}")]);
    assert_eq!(plan["follows"][0]["because"], "target:billing-db (approved by alice)");
    let before = world.actions().len();
    world
        .apply("olivia", &file)
        .ok()
        .says(&format!("request {id} reaches more, so approvals of it are void: bob asked for scope:orders-read"));
    assert_eq!(world.actions()[before..], ["team.applied", "approvals.voided"]);
    let entry = &world.json("olivia", &["audit", "--action", "approvals.voided"])[0];
    let detail = json!({ "request": 1, "voids": ["alice"], "gained": "target:billing-db" });
    assert_eq!(entry["detail"], detail);
    let says = "would now give access to more: target:billing-db; approvals that no longer count: alice";
    world.run("bob", &["show", &id]).ok().says(says);
    let text = &world.json("alice", &["inbox"])[0]["text"];
    assert!(text.as_str().unwrap().contains(says), "{text}");
    assert!(world.unread("bob").is_empty(), "{:?}", world.unread("bob"));
    assert_eq!(world.rows("SELECT counts FROM decision"), ["0"]);
    world.run("olivia", &["audit", "verify"]).ok();
    // One more approval is not enough, and two are.
    for (approver, state) in [("erin", "pending"), ("alice", "active")] {
        world.run(approver, &["approve", &id]).fails(5, "has changed since it was filed");
        let seq = world.json(approver, &["show", &id])["last_seq"].to_string();
        world.run(approver, &["approve", &id, "--seen", &seq]).ok();
        assert_eq!(world.state(&id), state);
    }
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn all_admins_and_the_owner_are_told_of_a_change() {
    let world = World::sample();
    let file = edited(&world, |team| {
        section(team, "members")["erin"]["role"] = "member".into();
        section(team, "members")["dave"]["role"] = "admin".into();
    });
    world.apply("olivia", &file).ok();
    for told in ["olivia", "alice", "erin", "dave"] {
        assert_eq!(world.unread(told), ["team.changed"], "{told}: those who were admins and those who are now");
    }
    for other in ["bob", "heidi"] {
        assert!(world.unread(other).is_empty(), "{other}");
    }
}

#[test]
fn who_shuts_themselves_out_is_warned() {
    let world = World::sample();
    let file = edited(&world, |team| section(team, "members")["olivia"]["login"] = "olivia.new".into());
    std::fs::write(world.folder().join("new.toml"), &file).unwrap();
    for how in ["--dry-run", "--yes"] {
        let ran = world.run("olivia", &["team", "apply", "new.toml", how]).ok();
        assert!(ran.err.contains("warning: with this team, your Unix user olivia is not a member"), "{ran:?}");
    }
    world.run("olivia", &["whoami"]).fails(3, "not a member");
    assert_eq!(world.json("olivia.new", &["whoami"])["member"], "olivia");
}

#[test]
fn what_lapsed_unrecorded_before_its_member_went_is_no_business_of_a_namesake() {
    let world = World::sample();
    let granted = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    world.run("alice", &["approve", &granted]).ok();
    let asked = world.request("bob", "target:billing-db", &[]);
    world.pass("8d");
    // No cron ran: by the clock both are over, and nothing says so yet.
    let back = edited(&world, |_| {});
    let file = edited(&world, without_bob);
    assert!(follows(&plan(&world, &file)).is_empty(), "neither is there to be taken away");
    world.apply("olivia", &file).ok();
    world.apply("olivia", &back).ok();
    world.run("root", &["expire"]).ok();
    assert_eq!((world.state(&granted), world.state(&asked)), ("expired".into(), "lapsed".into()));
    let actions = world.actions();
    for once in ["grant.expired", "request.lapsed"] {
        assert_eq!(actions.iter().filter(|action| *action == once).count(), 1, "{actions:?}");
    }
    assert!(world.unread("bob").is_empty(), "{:?}", world.unread("bob"));
}

#[test]
fn expire_goes_on_where_a_member_is_gone() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    world.run("alice", &["approve", &id]).ok();
    world.pass("2h");
    let file = edited(&world, without_bob);
    world.apply("olivia", &file).ok();
    let other = world.request("carol", "target:orders-db", &["--duration", "1h"]);
    world.run("alice", &["approve", &other]).ok();
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    assert_eq!((world.state(&id), world.state(&other)), ("expired".into(), "expired".into()));
    assert!(world.run("root", &["expire"]).ok().out.is_empty(), "nothing is left to do");
}

/// What is on the record, as an admin sees it, the newest first.
fn recorded(world: &World) -> Vec<String> {
    let log = world.json("alice", &["audit"]);
    log.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

/// The sample team, whose owner has this Unix user name.
fn owned_by_login(login: &str) -> World {
    let world = World::sample();
    let file =
        edited(&world, |team| drop(section(section(team, "members"), "olivia").insert("login".into(), login.into())));
    world.apply("olivia", &file).ok();
    world
}

#[test]
fn root_replaces_an_owner_whose_account_is_gone_and_nobody_else_does() {
    let world = owned_by_login("no-such-user-here");
    // Their successor has an account on this machine, which `games` is of.
    let with_account =
        |team: &mut Table| drop(section(section(team, "members"), "erin").insert("login".into(), "games".into()));
    let file = edited_by("alice", &world, with_account);
    world.apply("no-such-user-here", &file).ok();
    let before = recorded(&world);
    for login in ["bob", "alice", "stranger"] {
        world.run(login, &["team", "replace-owner", "erin", "--yes"]).fails(3, "only root may replace the owner");
    }
    world.run("bob", &["team", "replace-owner", "nobody", "--yes"]).fails(3, "only root");
    world.run("root", &["--as", "alice", "team", "replace-owner", "erin", "--yes"]).fails(3, "only root");
    world.run("root", &["team", "replace-owner", "erin"]).fails(2, "needs your confirmation");
    world.run("root", &["team", "replace-owner", "nobody", "--yes"]).fails(4, "there is no member nobody");
    world.run("root", &["team", "replace-owner", "alise", "--yes"]).fails(4, "did you mean alice?");
    world.run("root", &["team", "replace-owner", "olivia", "--yes"]).fails(5, "olivia is the owner already");
    let since = recorded(&world);
    assert_eq!(since[..since.len() - before.len()], ["attempt.refused"; 5], "and nothing else");

    let plan = world.run("root", &["team", "replace-owner", "erin", "--yes", "--json"]).ok().json();
    shows(
        &plan,
        &json!({ "applied": true, "follows": [], "changes": [
            { "change": "change", "what": "member:erin", "from": { "role": "admin" }, "to": { "role": "owner" } },
            { "change": "change", "what": "member:olivia", "from": { "role": "owner" }, "to": { "role": "viewer", "disabled": true } },
        ] }),
    );
    world.run("alice", &["inbox"]).ok().says("root changed the team");
    let entry = &world.json("games", &["audit", "--limit", "1"])[0];
    shows(entry, &json!({ "action": "team.applied", "actor": null, "os_user": "root" }));
    // Erin may what the owner may; who has the old owner's login later is disabled, until the owner says otherwise.
    world.run("no-such-user-here", &["whoami"]).fails(3, "olivia is disabled");
    let file = edited_by("games", &world, |team| {
        section(section(team, "members"), "olivia").remove("login");
        section(section(team, "members"), "olivia").remove("disabled");
        section(section(team, "members"), "erin").remove("login");
        section(section(team, "members"), "alice").insert("login".into(), "games".into());
    });
    world.apply("games", &file).ok();
    world.apply("olivia", &file).fails(3, "only the owner");
    world.run("olivia", &["audit"]).fails(3, "only admins");
    assert_eq!(world.run("erin", &["audit", "verify"]).ok().code, 0);
    // And so on; but who has no account here could be anybody, later.
    world.run("root", &["team", "replace-owner", "bob", "--yes"]).fails(3, "bob can't become the owner: the login bob");
    world.run("root", &["team", "replace-owner", "alice", "--yes"]).ok();
}

#[test]
fn an_owner_who_has_an_account_is_not_replaced() {
    let world = owned_by_login("daemon");
    world.run("root", &["team", "replace-owner", "alice", "--yes"]).fails(3, "olivia is the owner, and has an account");
    assert_eq!(recorded(&world)[0], "attempt.refused");
    // Nor by somebody who is disabled.
    let gone = owned_by_login("no-such-user-here");
    let disabled =
        |team: &mut Table| team["members"]["bob"].as_table_mut().unwrap().insert("disabled".into(), true.into());
    let file = edited_by("alice", &gone, |team| drop(disabled(team)));
    gone.apply("no-such-user-here", &file).ok();
    gone.run("root", &["team", "replace-owner", "bob", "--yes"]).fails(3, "bob is disabled");
}
