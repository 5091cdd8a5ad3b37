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
