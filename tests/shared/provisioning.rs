//! The reconciler of a shared host: root over the socket, and nobody else.

use crate::host::{Host, access, python};

/// Speaks the protocol as this user.
fn say(login: &str, call: &str) -> crate::host::Ran {
    python(login, &format!("print(say(command({call})))"))
}

const DESIRED: &str = r#"{"DesiredAccess": {"known": None}}"#;
const HOLDING: &str = r#"{"connector": "pg", "login": "bob", "parameters": {"role": "rw"}}"#;
const BINDING: &str = "[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"pg\"\nrole = \"rw\"\n";

fn record(more: &str) -> String {
    format!(
        r#"{{"RecordProvisioning": {{"outcomes": [{{"holding": {HOLDING}, "request": 1, "outcome": "granted"}}] {more},
            "drift": [], "looked_at": []}}}}"#
    )
}

#[test]
fn only_root_is_the_reconciler_and_the_log_says_so() {
    let Some(host) = Host::new() else { return };
    host.apply("ana", &format!("{}\n{BINDING}", crate::host::TEAM)).ok();
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    // Neither members, nor the owner of the team, nor the user who owns the database.
    for login in ["bob", "alice", "ana", "carol"] {
        for call in [DESIRED, &record("")] {
            say(login, call).ok().says("Failed").says("only root may reconcile access on a shared host");
        }
    }
    assert!(!host.refused("bob").is_empty(), "it is recorded");
    let desired = say("root", DESIRED).ok().says("Row").says("Done").says("\"continues\":true");
    assert!(desired.out.contains(r#""login":"bob","parameters":{"role":"rw"}"#), "{desired:?}");
    say("root", &record("")).ok().says("Done");
    let shown = access("bob", &["show", &id, "--json"]).ok().json();
    assert_eq!(shown["grant"]["provisioning"][0]["state"], "granted");
    let log = access("alice", &["audit", "--action", "grant.provisioned", "--json"]).ok().json();
    assert_eq!((&log[0]["actor"], &log[0]["os_user"]), (&serde_json::Value::Null, &"root".into()));
    access("alice", &["audit", "verify"]).ok();
    // Root's report may be larger than a member's command.
    say("root", &record(r#"* 2000"#)).ok().says("Done");
    say("bob", &record(r#"* 2000"#)).ok().says("the command is too long");
}

#[test]
fn a_failed_revoke_makes_roots_expire_exit_1() {
    let Some(host) = Host::new() else { return };
    host.apply("ana", &format!("{}\n{BINDING}", crate::host::TEAM)).ok();
    crate::host::root(crate::host::ACCESS, &["expire"]).ok();
    let failed = r#"{"RecordProvisioning": {"outcomes": [{"holding": HOLDING, "request": None,
        "outcome": {"revoke_failed": {"why": "the server is down"}}}], "drift": [], "looked_at": []}}"#;
    say("root", &failed.replace("HOLDING", HOLDING)).ok().says("Done");
    let ran = crate::host::root(crate::host::ACCESS, &["expire"]).exits(1);
    assert!(ran.err.contains("bob STILL HAS role=rw in pg: the server is down"), "{ran:?}");
    let listed = access("alice", &["list"]).ok();
    assert!(listed.err.contains("bob STILL HAS role=rw in pg"), "{listed:?}");
}
