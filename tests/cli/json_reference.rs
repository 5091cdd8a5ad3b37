//! docs/json.md: each field on the page is one that a command prints with `--json`, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use access::service::IssueCertificate;
use serde_json::Value;

use crate::connectors::{Doors, NORTH};
use crate::harness::{TEAM, World};
use crate::post::{Server, configure, slack, smtp};
use crate::signed::Signing;
use crate::tables::{column, paths};
use crate::{provisioning, sessions};

const RULES: &str = r#"
[[rules]]
name = "two for production"
match = { resources = ["target:*"], environments = ["production"] }
approvers = ["role:admin"]
approvals = 2
remind_after = "4h"

[[rules]]
name = "break glass"
match = { resources = ["feature:export-customers"] }
emergency = true

[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
role = "orders_rw"
"#;

/// What the commands print, by the heading that describes it.
struct Printed<'w> {
    world: &'w World,
    fields: BTreeMap<&'static str, BTreeSet<String>>,
}

/// A request's own fields have a section; where others hold a request, it is named and not described again.
const CLOSED: [&str; 12] = [
    "selection",
    "held",
    "items[].held",
    "parameters",
    "detail",
    "grants[]",
    "also_ended[]",
    "changes[].from",
    "changes[].to",
    "own",
    "grant.provisioning[].parameters",
    "failed_revokes[].parameters",
];

impl Printed<'_> {
    fn add(&mut self, heading: &'static str, login: &str, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let ran = self.world.run(login, &all);
        assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
        let value = ran.json();
        let fields = self.fields.entry(heading).or_default();
        // A list has the fields of what it lists.
        match &value {
            Value::Array(items) => items.iter().for_each(|item| paths(item, "", &CLOSED, fields)),
            one => paths(one, "", &CLOSED, fields),
        }
        value
    }
}

#[test]
fn the_page_has_every_field_that_is_printed() {
    let world = World::empty();
    let mut printed = Printed { world: &world, fields: BTreeMap::new() };
    everything(&mut printed);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    for (heading, fields) in &printed.fields {
        assert_eq!(&column(&page, heading), fields, "{heading}");
    }
    // And the page has no other table of fields, but for those of commands that need a shared log: tests/fleet/json_reference.rs.
    let of_log = |section: &&str| ["log ", "follow --once", "pending"].iter().any(|name| section.starts_with(name));
    let sections = page.split("\n## ").skip(1).filter(|section| !of_log(section));
    let headings = sections.filter(|section| section.contains("| field |"));
    assert_eq!(headings.count(), printed.fields.len());
}

/// One for bob's grant.
fn certificate(world: &World) {
    let key = "SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU".parse().unwrap();
    let (login, resource) = ("bob".parse().unwrap(), "target:orders-db".parse().unwrap());
    let issue = IssueCertificate { login, resource, key, longest: "1h".parse().unwrap() };
    provisioning::call_as_root(world, issue).unwrap();
}

/// Requests in every state, and each command that prints something.
fn everything(printed: &mut Printed<'_>) {
    let world = printed.world;
    printed.add("init", "olivia", &["init", "--team", "acme"]);
    let mail = Server::mail(world, &[]);
    let web = Server::web(world);
    configure(world, &format!("{}{}", smtp(mail.port), slack(world, web.port)));
    let file = world.folder().join("team.toml");
    std::fs::write(&file, format!("{TEAM}{RULES}")).unwrap();
    let file = file.to_str().unwrap();
    printed.add("team apply", "olivia", &["team", "apply", file, "--dry-run"]);
    printed.add("team apply", "olivia", &["team", "apply", file, "--yes"]);

    // Asked for twice, changed, approved, extended, revoked.
    let ask = ["request", "target:orders-db", "--reason", "stuck", "--duration", "4h"];
    printed.add("A request", "bob", &[&ask[..], &["--dry-run"]].concat());
    printed.add("A request", "bob", &ask);
    printed.add("A request", "bob", &["edit", "1", "--ticket", "OPS-12"]);
    printed.add("A request", "alice", &["show", "1"]);
    printed.add("A request", "alice", &["approve", "1", "--duration", "1h", "--scope", "orders-read", "--seen", "4"]);
    printed.add("A request", "erin", &["list"]);
    let seq = world.json("erin", &["show", "1"])["last_seq"].to_string();
    printed.add("A request", "erin", &["approve", "1", "--seen", &seq]);
    for _ in 0..21 {
        sessions::open(world, "bob");
    }
    printed.add("A request", "bob", &["show", "1"]);
    let other = world.json("bob", &["extend", "1", "--reason", "more"])["id"].to_string();
    world.run("alice", &["approve", &other]).ok();
    world.run("erin", &["approve", &other]).ok();
    certificate(world);
    printed.add("A request", "bob", &["show", "1"]);
    printed.add("whoami", "bob", &["whoami"]);
    printed.add("check", "bob", &["check", "target:orders-db"]);
    printed.add("who", "alice", &["who", "target:orders-db"]);
    printed.add("resources", "bob", &["resources"]);
    let now = world.now().to_string();
    printed.add("whoami", "bob", &["whoami", "--at", &now]);
    printed.add("check", "bob", &["check", "target:orders-db", "--at", &now]);
    printed.add("who", "alice", &["who", "--user", "bob", "--at", &now]);
    printed.add("resources", "bob", &["resources", "--at", &now]);
    printed.add("A request", "alice", &["list", "--at", &now]);
    printed.add("A request", "alice", &["revoke", "1"]);

    // An emergency and its review; one that is denied, and one that is withdrawn.
    let emergency = ["request", "feature:export-customers", "--reason", "Down", "--emergency"];
    let id = printed.add("A request", "bob", &emergency)["id"].to_string();
    printed.add("A request", "alice", &["review", &id, "--note", "It was needed"]);
    let id = world.request("carol", "target:orders-db", &[]);
    printed.add("A request", "alice", &["deny", &id, "--reason", "Use the replica"]);
    let id = world.request("carol", "target:orders-db", &[]);
    printed.add("A request", "carol", &["withdraw", &id]);

    let start = ["recertify", "start", "--group", "backend", "--due", "1d", "--reviewers", "erin"];
    printed.add("recertify", "alice", &start);
    printed.add("recertify", "alice", &["recertify", "start", "--resource", "role:member", "--due", "1d", "--dry-run"]);
    printed.add("recertify", "bob", &["recertify", "list"]);
    printed.add("recertify keep", "erin", &["recertify", "revoke", "1.2", "--reason", "Left"]);
    printed.add("recertify", "alice", &["recertify", "cancel", "1", "--reason", "A mistake"]);

    printed.add("inbox", "bob", &["inbox"]);
    printed.add("inbox --mark-read", "bob", &["inbox", "--mark-read"]);
    printed.add("notify", "bob", &["notify"]);
    printed.add("notify test", "bob", &["notify", "test"]);
    printed.add("outbox", "root", &["outbox"]);
    printed.add("deliver", "root", &["deliver"]);
    let extended = provisioning::granted("bob", other.parse().unwrap());
    provisioning::record(world, vec![provisioning::revoke_failed("bob", Some(1), "the server is down"), extended]);
    world.pass("11m");
    printed.add("expire", "root", &["expire"]);
    printed.add("outbox retry", "root", &["outbox", "retry"]);
    printed.add("outbox discard", "root", &["outbox", "discard"]);

    printed.add("audit", "alice", &["audit"]);
    printed.add("audit checkpoint", "alice", &["audit", "checkpoint"]);
    printed.add("report", "alice", &["report"]);
    printed.add("audit key", "alice", &["audit", "key"]);
    printed.add("audit prove", "alice", &["audit", "prove", "1"]);
    printed.add("audit prove --consistency", "alice", &["audit", "prove", "--consistency", "1"]);
    printed.add("backup", "olivia", &["backup", "copy.db"]);
    printed.add("doctor", "olivia", &["doctor"]);
    printed.add("version", "olivia", &["version"]);

    // A connector, as docs/connectors.md has it, in a world of its own.
    let doors = Doors::new(NORTH);
    let other = &mut Printed { world: &doors.world, fields: std::mem::take(&mut printed.fields) };
    other.add("connector list", "olivia", &["connector", "list"]);
    other.add("connector test", "olivia", &["connector", "test", "doors", "door=north"]);
    std::fs::write(doors.world.folder().join("allowed"), "zoe north\n").unwrap();
    other.add("reconcile", "olivia", &["reconcile"]);
    printed.fields = std::mem::take(&mut other.fields);

    // An approval that is signed, in another.
    let signing = Signing::begin();
    let other = &mut Printed { world: &signing.world, fields: std::mem::take(&mut printed.fields) };
    let id = signing.world.request("bob", "target:orders-db", &[]);
    other.add("approve --print-terms", "alice", &["approve", &id, "--print-terms"]);
    signing.approve(&[&id]).ok();
    other.add("A request", "alice", &["show", &id]);
    other.add("audit signature", "alice", &["audit", "signature", "4"]);
    printed.fields = std::mem::take(&mut other.fields);

    // A team that takes things away, against what was decided so far, and a log that is not whole.
    let smaller = TEAM.replace("[members.erin]\nrole = \"admin\"", "[members.erin]\nrole = \"member\"");
    std::fs::write(file, format!("{smaller}[[rules]]\nname = \"no\"\ndeny = \"no\"\n")).unwrap();
    world.request("dave", "target:orders-db", &[]);
    printed.add("team apply", "olivia", &["team", "apply", file, "--dry-run", "--against", "1d"]);
    world.set_clock("2026-11-24T08:00:00Z");
    printed.add("doctor --accept-clock", "olivia", &["doctor", "--accept-clock"]);
    world.rows("UPDATE member SET role = 'admin' WHERE name = 'bob'");
    printed.add("audit verify", "alice", &["audit", "verify"]);
}
