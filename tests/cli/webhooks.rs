//! docs/webhooks.md: every event and every field on the page is one that the program sends, and the other way round.
//!
//! `ACCESS_BLESS=1` writes the examples of the page anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use access::domain::notification::NotificationKind;
use access::protocol::{Drift, DriftView};
use serde_json::Value;

use crate::harness::{TEAM, World};
use crate::post::{Server, configure, fresh, webhook};
use crate::provisioning;
use crate::tables::{column, paths};

const RULES: &str = r#"
[[rules]]
name = "two for production"
match = { resources = ["target:*"], environments = ["production"] }
approvers = ["role:admin"]
approvals = 2
remind_after = "4h"

[[rules]]
name = "sandbox"
match = { environments = ["non-production"], permanent = false }
auto_approve = true

[[rules]]
name = "break glass"
match = { resources = ["feature:export-customers"] }
emergency = true
"#;

/// All that a webhook gets which takes everything, of requests that meet everything. With the headers of the first.
fn everything() -> (Vec<Value>, Value) {
    let world = World::of("olivia", TEAM);
    world.rows("DELETE FROM outbox");
    let web = Server::web(&world);
    let events: Vec<String> = NotificationKind::ALL.iter().map(|notice| format!("\"{notice}\"")).collect();
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    let hook = webhook(&world, "all", &url, &format!("{}, \"audit\", \"checkpoint\"", events.join(", ")));
    configure(&world, &format!("{hook}[checkpoints]\nevery = \"52w\"\n"));
    let send = || world.run("root", &["expire"]).ok();
    world.apply("olivia", &format!("{TEAM}{RULES}")).ok();
    // Asked, changed by an approver, approved, and at its end.
    world.request("bob", "target:billing-db", &["--duration", "4h", "--ticket", "OPS-12"]);
    send();
    world.run("alice", &["approve", "1", "--duration", "1h", "--note", "Enough for the fix"]).ok();
    send();
    let seq = world.json("erin", &["show", "1"])["last_seq"].to_string();
    world.run("erin", &["approve", "1", "--seen", &seq]).ok();
    send();
    world.pass("45m");
    send();
    world.pass("15m");
    send();
    // By a rule alone, and for a later time.
    world.request("heidi", "connection:sandbox", &["--start", "in 1h", "--duration", "2h"]);
    send();
    world.pass("1h");
    send();
    world.request("heidi", "connection:sandbox", &["--duration", "4h"]);
    world.run("alice", &["revoke", "2", "--reason", "The test is over"]).ok();
    // Changed by its requester, reminded of, denied; withdrawn; and forgotten.
    world.request("carol", "target:billing-db", &[]);
    world.run("carol", &["edit", "4", "--duration", "2h"]).ok();
    send();
    world.pass("4h");
    send();
    world.run("erin", &["deny", "4", "--reason", "Use the replica"]).ok();
    world.request("alice", "target:orders-db", &["--for", "dave"]);
    world.run("alice", &["withdraw", "5"]).ok();
    world.request("dave", "target:orders-db", &[]);
    world.run("bob", &["request", "feature:export-customers", "--reason", "Down", "--emergency"]).ok();
    send();
    connectors_fail(&world);
    world.run("olivia", &["recertify", "start", "--due", "4d"]).ok();
    send();
    world.pass("3d");
    send();
    world.pass("4d");
    send();
    let got = web.got();
    assert_eq!(world.rows("SELECT count(*) FROM outbox WHERE subscriber GLOB 'webhook*'"), ["0"]);
    (web.bodies("/hook"), got[0]["headers"].clone())
}

/// A connector can't give grant 1, and finds something that nothing explains.
fn connectors_fail(world: &World) {
    provisioning::record(world, vec![provisioning::grant_failed("bob", 1, "the server is down")]);
    provisioning::record(world, vec![provisioning::revoke_failed("bob", Some(1), "the server is down")]);
    provisioning::record(world, vec![provisioning::revoked("bob", 1)]);
    let mallory = provisioning::granted("mallory", 1).holding;
    provisioning::found(world, vec![DriftView { drift: Drift::Unexplained, holding: mallory }]);
}

/// Whether it is an entry as itself.
fn is_audit(body: &&Value) -> bool {
    body["type"] == "audit" || body["type"] == "checkpoint"
}

/// A hash changes with every word before it; an example shows what it looks like.
fn without_hash(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(hash) = body["data"].get_mut("hash") {
        assert_eq!(hash.as_str().unwrap().len(), 64);
        *hash = Value::Null;
    }
    body
}

#[test]
fn the_page_says_what_is_sent() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhooks.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (bodies, headers) = everything();

    // Every event there is is on the page and was sent, and no other.
    let mut events: BTreeSet<String> = NotificationKind::ALL.iter().map(ToString::to_string).collect();
    events.extend(["audit", "checkpoint"].map(str::to_owned));
    assert_eq!(column(&page, "Events"), events);
    let sent: BTreeSet<String> = bodies.iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, events, "the scenario meets all of them");

    for (heading, audit) in [("Fields of an event", false), ("Fields of audit", true)] {
        let mut fields = BTreeSet::new();
        for body in bodies.iter().filter(|body| is_audit(body) == audit) {
            paths(body, "", &["data.detail"], &mut fields);
        }
        assert_eq!(column(&page, heading), fields, "{heading}");
    }
    let named = column(&page, "Headers");
    let has: BTreeSet<String> = headers.as_object().unwrap().keys().cloned().collect();
    assert!(named.is_subset(&has), "{named:?} {has:?}");
    assert!(["webhook-id", "webhook-timestamp", "webhook-signature"].iter().all(|name| named.contains(*name)));

    // Each example is what the program sent.
    let mut blocks: Vec<&str> = page.split("```json\n").collect();
    let first = blocks.remove(0);
    let mut written = first.to_owned();
    let mut examples: BTreeMap<String, usize> = BTreeMap::new();
    for block in blocks {
        let (example, rest) = block.split_once("```").unwrap();
        let example: Value = serde_json::from_str(example).unwrap();
        let event = example["type"].as_str().unwrap().to_owned();
        *examples.entry(event.clone()).or_default() += 1;
        let mut of_event = bodies.iter().filter(|body| body["type"] == event.as_str());
        let actual = of_event.clone().find(|body| without_hash(body) == without_hash(&example));
        let actual = actual.unwrap_or_else(|| of_event.next().unwrap());
        written += &format!("```json\n{}\n```{rest}", serde_json::to_string_pretty(actual).unwrap());
        if std::env::var_os("ACCESS_BLESS").is_none() {
            assert_eq!(without_hash(actual), without_hash(&example), "run this test with ACCESS_BLESS=1");
        }
    }
    if std::env::var_os("ACCESS_BLESS").is_some() {
        std::fs::write(&path, written).unwrap();
    }
    assert!(examples.len() >= 6, "{examples:?}");
}

#[test]
fn an_approval_carries_its_rule_and_its_end() {
    let (bodies, _) = everything();
    let approved: Vec<&Value> = bodies.iter().filter(|body| body["type"] == "request.approved").collect();
    let grants: Vec<&Value> = approved.iter().map(|body| &body["data"]["grant"]).collect();
    assert_eq!(grants[0]["ends_at"], "2026-11-24T10:00:00Z");
    assert_eq!(grants[0]["demands"][0]["rule"], "two for production");
    assert_eq!(grants[1]["rule"], "sandbox");
    assert_eq!(grants[1]["ends_at"], "2026-11-24T13:00:00Z");
}

#[test]
fn what_is_sent_to_a_webhook_is_not_what_a_reader_prefers() {
    // A decision goes out to people with digests only; a webhook that names it gets it at once.
    let world = fresh(TEAM);
    let web = Server::web(&world);
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    configure(&world, &webhook(&world, "siem", &url, "\"request.decided\""));
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", "1"]).ok();
    world.run("root", &["deliver"]).ok();
    let bodies = web.bodies("/hook");
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["data"]["told"], serde_json::json!(["erin", "olivia"]));
    assert_eq!(bodies[0]["data"]["headline"], "Request 1 of bob for target:orders-db was approved");
}
