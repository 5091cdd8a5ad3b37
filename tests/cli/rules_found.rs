//! What random sequences found in the rules, each as the few commands that it takes.

use crate::harness::World;

const TEAM: &str = r#"
[team]
name = "found"
[members.ana]
role = "owner"
[members.ben]
role = "admin"
[members.cy]
role = "admin"
[members.eva]
role = "member"
[members.dee]
role = "member"
[connections.prod]
environment = "production"
[targets.db]
connections = ["prod"]
[targets.web]
connections = ["prod"]
"#;

const DEE: &str = "[members.dee]\nrole = \"member\"\n";

fn with(rules: &str) -> String {
    format!("{TEAM}{rules}")
}

#[test]
fn a_rule_that_approves_targets_gives_no_connection() {
    let world = World::of(
        "ana",
        &with("[[rules]]\nname = \"free\"\nmatch = { resources = [\"target:*\"] }\nauto_approve = true\n"),
    );
    let (target, connection) = (world.request("dee", "target:db", &[]), world.request("dee", "connection:prod", &[]));
    // It matches, for it reaches both targets; but the connection is more than these.
    world.run("ana", &["show", &target]).ok().says("active");
    world.run("ana", &["show", &connection]).ok().says("pending");
    assert!(!world.may("dee", "connection:prod"));
}

#[test]
fn the_emergency_of_somebody_removed_is_reviewed_still() {
    let rules = "[[rules]]\nname = \"fire\"\nemergency = true\n";
    let world = World::of("ana", &with(rules));
    let id = world.request("dee", "connection:prod", &["--emergency"]);
    world.apply("ana", &with(rules).replace(DEE, "")).ok();
    // Everybody's list has it, and not everybody closes it.
    world.run("eva", &["list"]).ok().says("dee");
    world.run("eva", &["review", &id, "--note", "mine"]).fails(3, "for others to review");
    world.run("ben", &["review", &id, "--note", "it was a fire"]).ok();
    world.run("cy", &["review", &id, "--note", "again"]).fails(5, "ben has reviewed request 1 already");
}

#[test]
fn what_an_approver_put_on_the_table_goes_with_its_resource() {
    let rules = "[[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let world = World::of("ana", &with(rules));
    let id = world.request("dee", "target:db", &[]);
    world.run("ben", &["approve", &id, "--resource", "target:web"]).ok();
    world.apply("ana", &with(rules).replace("[targets.web]\nconnections = [\"prod\"]\n", "")).ok();
    world.run("cy", &["approve", &id]).fails(5, "withdrawn already");
    // And what comes back by its name was approved by nobody.
    world.apply("ana", &with(rules)).ok();
    world.run("cy", &["approve", &id]).fails(5, "withdrawn already");
    assert!(!world.may("dee", "target:web"));
}

#[test]
fn a_role_that_has_lapsed_is_not_told_when_it_is_late() {
    let rules = r#"
[[rules]]
name = "late"
match = { resources = ["target:*"] }
approvers = ["member:cy"]
remind_after = "2h"
escalate_to = ["role:admin"]
"#;
    let world = World::of("ana", &with(rules));
    world.grant("eva", "role:admin", "ana", &["--duration", "1h"]);
    world.request("dee", "target:db", &[]);
    world.pass("3h");
    world.run("ana", &["expire"]).ok();
    for (login, told) in [("ana", true), ("ben", true), ("cy", true), ("eva", false)] {
        let reminders = world.unread(login).into_iter().filter(|event| event == "request.reminder").count();
        assert_eq!(reminders, usize::from(told), "{login}");
    }
}

#[test]
fn on_a_request_of_somebody_removed_it_is_told_first_who_may_not_decide() {
    let world = World::of("ana", TEAM);
    world.grant("eva", "role:admin", "ana", &[]);
    let id = world.request("dee", "role:admin", &[]);
    world.apply("ana", &with("").replace(DEE, "")).ok();
    world.run("eva", &["approve", &id]).fails(3, "is for a role");
    world.run("ben", &["approve", &id]).fails(5, "withdrawn already");
    world.run("ben", &["deny", &id]).fails(5, "withdrawn already");
}

#[test]
fn who_approved_before_a_demand_was_relaxed_can_complete_it() {
    let rule =
        |count: u8| with(&format!("[[rules]]\nname = \"some\"\napprovers = [\"role:admin\"]\napprovals = {count}\n"));
    let world = World::of("ana", &rule(2));
    let id = world.request("dee", "target:db", &[]);
    world.run("ben", &["approve", &id]).ok();
    world.run("ben", &["approve", &id]).fails(5, "approved");
    world.apply("ana", &rule(1)).ok();
    assert!(!world.may("dee", "target:db"), "a team file grants nothing");
    world.run("ben", &["approve", &id]).ok();
    assert!(world.may("dee", "target:db"));
    assert_eq!(world.run("ana", &["audit", "verify"]).ok().code, 0);
}

#[test]
fn a_rule_that_names_a_scope_approves_it_by_itself_not_even_while_it_covers_nothing() {
    let team = |rest: &str| {
        format!(
            "[team]\nname = \"acme\"\n[members.olivia]\nrole = \"owner\"\n[members.dee]\nrole = \"member\"\n\
             [connections.dev]\nenvironment = \"non-production\"\n[scopes.live]\nenvironments = [\"production\"]\n{rest}\
             [[rules]]\nname = \"free\"\nmatch = {{ resources = [\"scope:live\"] }}\nauto_approve = true\n"
        )
    };
    let world = World::of("olivia", &team(""));
    let id = world.request("dee", "scope:live", &["--duration", "permanent"]);
    assert_eq!(world.state(&id), "pending");
    world.apply("olivia", &team("[connections.db]\nenvironment = \"production\"\n")).ok();
    assert!(!world.may("dee", "connection:db"));
}

#[test]
fn an_owner_who_hands_over_and_is_disabled_in_one_file_leaves_a_log_that_is_true() {
    let team = |ana: &str, ben: &str, dee: &str| {
        format!(
            "[team]\nname = \"acme\"\n[members.olivia]\n{ana}[members.ben]\nrole = \"{ben}\"\n{dee}\
             [connections.dev]\nenvironment = \"non-production\"\n"
        )
    };
    let world = World::of("olivia", &team("role = \"owner\"\n", "admin", "[members.dee]\nrole = \"member\"\n"));
    let id = world.grant("dee", "connection:dev", "ben", &[]);
    world.apply("olivia", &team("role = \"member\"\ndisabled = true\n", "owner", "")).ok();
    assert_eq!(world.json("ben", &["show", &id])["state"], "revoked");
    world.run("ben", &["audit", "verify"]).ok();
}
