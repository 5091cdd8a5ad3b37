//! An auditor sees everything, decides nothing and gains nothing, whatever their role and whatever rules say.

use crate::harness::{TEAM, World};
use crate::proof::{bodies, faults, forge};

const ZOE: &str = "[members.zoe]\nrole = \"member\"\nauditor = true\n\n[groups.backend]";

/// The sample team with zoe, a member and an auditor.
fn world() -> World {
    let world = World::sample();
    world.apply("olivia", &TEAM.replace("[groups.backend]", ZOE)).ok();
    world
}

/// Everything that is recorded except refused attempts.
fn recorded(world: &World) -> Vec<String> {
    world.actions().into_iter().filter(|action| action != "attempt.refused").collect()
}

#[test]
fn an_auditor_sees_everything() {
    let world = world();
    world.request("bob", "target:orders-db", &[]);
    world.grant("carol", "connection:prod-aws", "alice", &["--duration", "1h"]);
    world.pass("2h");
    for (line, says) in [
        (&["list", "--all"][..], "orders-db"),
        (&["list", "--all", "--requester", "carol"], "prod-aws"),
        (&["show", "1"], "bob"),
        (&["show", "2"], "alice"),
        (&["who", "connection:prod-aws"], "olivia"),
        (&["audit"], "request.approved"),
        (&["audit", "verify"], "ok"),
        (&["audit", "checkpoint"], "head"),
        (&["audit", "export", "--format", "raw"], "request.approved"),
        (&["audit", "export", "--format", "csv"], "grant.started"),
        (&["team", "show"], "auditor = true"),
        (&["outbox"], ""),
    ] {
        world.run("zoe", line).ok().says(says);
        if line[0] != "team" {
            let code = world.run("dave", line).code;
            let shows_nothing = line[0] == "list" && !world.run("dave", line).out.contains(says);
            assert!(code != 0 || shows_nothing, "dave sees what {line:?} shows");
        }
    }
    world.run("zoe", &["check", "connection:prod-aws", "--user", "alice"]).ok().says("alice");
    world
        .run("dave", &["check", "connection:prod-aws", "--user", "alice"])
        .fails(3, "only admins, auditors and the owner");
    // Seeing is not having.
    for resource in ["connection:prod-aws", "target:orders-db", "role:admin", "feature:cost-explorer"] {
        world.run("zoe", &["check", resource]).exits(1);
    }
}

#[test]
fn an_auditor_changes_nothing_of_others() {
    let world = world();
    let rules = "[[rules]]\nname = \"break glass\"\nmatch = { resources = [\"target:orders-db\"] }\nemergency = true\n";
    world.apply("olivia", &(TEAM.replace("[groups.backend]", ZOE) + rules)).ok();
    world.request("bob", "connection:prod-aws", &[]);
    world.grant("carol", "connection:prod-aws", "alice", &[]);
    world.request("bob", "target:orders-db", &["--emergency", "--duration", "1h"]);
    let before = recorded(&world);
    let team = world.folder().join("team.toml").to_str().unwrap().to_owned();
    for line in [
        &["approve", "1"][..],
        &["approve", "1", "--duration", "1h", "--resource", "target:orders-db"],
        &["deny", "1"],
        &["withdraw", "1"],
        &["edit", "1", "--reason", "Another reason"],
        &["revoke", "2"],
        &["revoke", "--member", "carol", "--yes"],
        &["extend", "2", "--reason", "More"],
        &["review", "3", "--note", "Looked at"],
        &["request", "target:orders-db", "--reason", "For bob", "--for", "bob"],
        &["team", "apply", &team, "--yes"],
        &["team", "apply", &team, "--dry-run"],
        &["doctor", "--accept-clock"],
    ] {
        let ran = world.run("zoe", line);
        assert!([3, 4, 5].contains(&ran.code), "{ran:?}");
        assert_eq!(recorded(&world), before, "{line:?} changes something");
    }
    world.run("zoe", &["approve", "1"]).fails(3, "zoe is an auditor, who sees everything and decides nothing");
    world.run("zoe", &["check", "connection:prod-aws", "--user", "carol"]).ok();
    assert_eq!(world.state("1"), "pending");
    world.run("zoe", &["audit", "verify"]).ok();
}

#[test]
fn an_auditor_is_no_approver_by_role_or_rule_and_applying_that_warns() {
    let world = World::sample();
    let two = "[[rules]]\nname = \"two for billing\"\nmatch = { resources = [\"target:billing-db\"] }\n\
               approvers = [\"member:dave\", \"group:backend\", \"role:admin\"]\napprovals = 2\n";
    world.apply("olivia", &(TEAM.to_owned() + two)).ok();
    let id = world.request("frank", "target:billing-db", &[]);
    for approver in ["dave", "alice"] {
        world.run(approver, &["show", &id]).ok();
    }
    world.run("dave", &["approve", &id]).ok();
    // Both become auditors: dave's approval no longer counts, and neither gives another.
    let audited = TEAM
        .replace("[members.dave]\n", "[members.dave]\nauditor = true\n")
        .replace("[members.alice]\n", "[members.alice]\nauditor = true\n");
    let applied = world.apply("olivia", &(audited.clone() + two)).ok();
    assert!(
        applied.err.contains("alice is an auditor and decides nothing, although the role admin, rule"),
        "{applied:?}"
    );
    assert!(
        applied.err.contains("dave is an auditor and decides nothing, although rule \"two for billing\" names them")
    );
    let view = world.json("olivia", &["show", &id]);
    assert_eq!(view["approvals"]["have"], 0, "{view:#}");
    for auditor in ["dave", "alice"] {
        world.run(auditor, &["approve", &id]).fails(3, "is an auditor");
        assert!(!view["approvals"]["waiting_on"].to_string().contains(auditor), "{view:#}");
    }
    world.run("alice", &["revoke", &id]).exits(3);
    world.run("alice", &["request", "role:admin", "--reason", "For bob", "--for", "bob"]).fails(3, "is an auditor");
    // They keep what their role gives, and are not asked.
    world.run("alice", &["check", "connection:prod-aws"]).ok();
    let asked = world.unread("alice").len();
    let other = world.request("grace", "connection:prod-aws", &[]);
    assert_eq!(world.unread("alice").len(), asked);
    world.run("alice", &["approve", &other]).fails(3, "is an auditor");
    // Two others can decide.
    world.run("erin", &["approve", &id]).ok();
    world.run("bob", &["approve", &id]).ok();
    assert_eq!(world.state(&id), "active");
    // A rule for which too few are left is a mistake.
    let alone = two.replace("\"group:backend\", \"role:admin\"", "\"member:alice\"").replace("= 2", "= 1");
    world.apply("olivia", &(audited + &alone)).fails(65, "takes 1 approval, and has 0 approvers");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn an_auditor_with_a_granted_role_still_decides_nothing() {
    let world = world();
    world.grant("zoe", "role:admin", "olivia", &["--duration", "1h"]);
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("zoe", &["check", "role:admin"]).ok();
    world.run("zoe", &["approve", &id]).fails(3, "is an auditor");
    world.run("zoe", &["revoke", "1"]).ok();
    assert_eq!(world.state(&id), "pending");
}

#[test]
fn an_auditor_proves_entries_once_an_admin_has_made_the_key() {
    let world = world();
    assert!(!world.run("zoe", &["audit", "checkpoint"]).ok().out.contains("note"));
    world.run("zoe", &["audit", "prove", "1"]).fails(3, "may not prove entries");
    world.run("alice", &["audit", "checkpoint"]).ok();
    assert!(world.run("zoe", &["audit", "checkpoint"]).ok().out.contains("note"));
    world.run("zoe", &["audit", "prove", "1"]).ok().says("tlog-proof");
    world.run("zoe", &["audit", "key"]).ok().says("access/acme/");
    world.run("zoe", &["audit", "key", "--rotate"]).fails(3, "only the owner");
}

#[test]
fn a_log_in_which_an_auditor_approved_or_a_table_that_hides_one_is_found() {
    let world = world();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.rows("UPDATE member SET auditor = 0 WHERE name = 'zoe'");
    assert_eq!(faults(&world).len(), 1, "{:?}", faults(&world));
    world.rows("UPDATE member SET auditor = 1 WHERE name = 'zoe'");
    assert_eq!(faults(&world), [""; 0]);
    // alice was an auditor when she approved, by a forged entry of the team.
    let mut bodies = bodies(&world);
    let place = bodies.iter().position(|body| body.contains("\"team.initialized\"")).unwrap();
    let alice = r#""login":"alice","role":"admin""#;
    assert!(bodies[place].contains(alice));
    bodies[place] = bodies[place].replace(alice, &format!("\"auditor\":true,{alice}"));
    forge(&world, &bodies, "UPDATE member SET auditor = 1 WHERE name = 'alice'");
    let found = faults(&world).join("\n");
    assert!(found.contains("alice could not meet the demand of the default on request 1 then"), "{found}");
}
