//! `edit`, and when a request lapses: what is on the record, who is told, races, and files of older versions.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};

use access::domain::duration::Length;
use access::domain::event::{Draft, Event, Submission};
use access::domain::terms::{End, RequestDetails, RequestId, Terms};
use access::domain::time::Timestamp;
use access::store::{Context, Error, Store};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World, shows};
use crate::post::{Server, configure, fresh, header, smtp};
use crate::proof::{bodies, faults, forge};
use crate::tmux::Terminal;

/// The sample team, with a rule by which production takes two approvals.
fn team() -> String {
    format!("{TEAM}\n[[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n")
}

fn world() -> World {
    World::of("olivia", &team())
}

/// The last entry of the log.
fn last(world: &World) -> Value {
    world.json("olivia", &["audit", "--limit", "1"])[0].clone()
}

fn approve(world: &World, who: &str, id: &str) -> Ran {
    let seq = world.json(who, &["show", id])["last_seq"].to_string();
    world.run(who, &["approve", id, "--seen", &seq])
}

#[test]
fn an_edit_is_on_the_record_with_what_it_said_before_and_what_it_says_now() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &id, "--note", "Fine"]).ok();
    world.pass("1h");
    let args = ["edit", &id, "--duration", "8h", "--reason", "The migration", "--ticket", "OPS-1"];
    let ran = world.run("bob", &args).ok().says("Request 1: target:orders-db for 8h, has 0 of 2 approvals");
    assert!(ran.err.contains("approvals that no longer count: alice"), "{}", ran.err);

    let entry = last(&world);
    let asked = |end: &str| json!({ "resource": "target:orders-db", "end": { "after": end } });
    let expected = json!({
        "action": "request.edited", "actor": "bob", "os_user": "bob", "request": 1,
        "detail": {
            "request": 1, "by": "bob",
            "from": { "asked": asked("4h"), "reason": "testing" },
            "to": { "asked": asked("8h"), "reason": "The migration", "ticket": "OPS-1" },
            "lapses_at": "2026-12-01T10:00:00Z", "voids": ["alice"],
        },
    });
    shows(&entry, &expected);
    assert!(entry["detail"]["from"].get("ticket").is_none(), "{entry:#}");
    let told: BTreeSet<&str> =
        entry["told"].as_array().unwrap().iter().map(|told| told["member"].as_str().unwrap()).collect();
    assert_eq!(told, BTreeSet::from(["alice", "erin", "olivia"]));

    // The vote stays on the record, as what it was: of four hours, and it does not count.
    let shown = world.json("bob", &["show", &id]);
    let vote = json!({ "by": "alice", "verdict": "approve", "note": "Fine", "counts": false,
        "terms": { "resource": "target:orders-db", "duration": "4h" } });
    shows(&shown["decisions"], &json!([vote]));
    shows(
        &shown,
        &json!({ "state": "pending", "duration": "8h", "reason": "The migration", "ticket": "OPS-1",
            "submitted_at": "2026-11-24T09:00:00Z", "lapses_at": "2026-12-01T10:00:00Z",
            "approvals": { "have": 0, "need": 2, "waiting_on": ["alice", "erin", "olivia"] } }),
    );
    let actions: Vec<&str> =
        shown["timeline"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["request.submitted", "request.approved", "request.edited"]);
    let text = "bob changed request 1 (target:orders-db): for 4h → for 8h; reason “testing” → “The migration”; \
                ticket none → OPS-1; approvals that no longer count: alice";
    assert_eq!(shown["timeline"][2]["text"], text);
    assert_eq!(world.json("erin", &["inbox"])[0]["text"], text);
    let people = world.run("alice", &["show", &id]).ok();
    assert!(
        people.out.contains("alice approved target:orders-db for 4h 1h ago (no longer counts): Fine"),
        "{}",
        people.out
    );
    world.run("alice", &["list"]).ok().says("8h");
    let wide = world.command("alice", &["audit", "--action", "request.edited"]).env("COLUMNS", "120").output().unwrap();
    assert!(String::from_utf8_lossy(&wide.stdout).contains("for 4h → for 8h"), "{wide:?}");
    let csv = world.run("olivia", &["audit", "export", "--format", "csv"]).ok().out;
    assert!(csv.contains("request.edited,1,"), "{csv}");
    assert_eq!(faults(&world), [""; 0]);

    approve(&world, "erin", &id).ok();
    approve(&world, "alice", &id).ok();
    shows(&world.json("bob", &["show", &id])["grant"], &json!({ "duration": "8h", "modified": false }));
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn a_vote_on_terms_that_an_approver_changed_keeps_them_on_the_record() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &id, "--duration", "1h"]).ok();
    world.run("bob", &["edit", &id, "--duration", "2h"]).ok();
    let shown = world.json("bob", &["show", &id]);
    assert!(shown.get("on_the_table").is_none(), "{shown:#}");
    shows(&shown["decisions"], &json!([{ "counts": false, "terms": { "duration": "1h" } }]));
    // Nor does a change of the reason alone leave them there.
    world.run("alice", &["approve", &id, "--duration", "1h", "--seen", &shown["last_seq"].to_string()]).ok();
    world.run("bob", &["edit", &id, "--reason", "Another one"]).ok();
    let shown = world.json("bob", &["show", &id]);
    shows(&shown, &json!({ "duration": "2h", "approvals": { "have": 0 } }));
    assert!(shown.get("on_the_table").is_none(), "{shown:#}");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn an_edit_of_nothing_names_what_can_be_edited() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &[]);
    let ran = world.run("bob", &["edit", &id]).exits(2);
    for flag in ["--reason", "--ticket", "--no-ticket", "--duration", "--until", "--start", "--no-start"] {
        assert!(ran.err.contains(flag), "{flag}: {}", ran.err);
    }
    for both in [["--duration", "1h", "--until", "17:00"], ["--ticket", "A", "--no-ticket", "--dry-run"]] {
        world.run("bob", &[&["edit", &id], &both[..]].concat()).exits(2);
    }
    world.run("bob", &["edit", &id, "--ticket", ""]).exits(2);
    world.run("bob", &["edit", "7", "--duration", "2h"]).exits(4);
    assert_eq!(world.actions(), ["team.initialized", "team.applied", "request.submitted"]);
}

#[test]
fn a_dry_run_of_an_edit_says_what_would_happen_and_does_nothing() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &["--until", "2026-11-24T17:00:00Z"]);
    world.run("alice", &["approve", &id]).ok();
    let before = world.json("bob", &["show", &id]);
    let ran = world.run("bob", &["edit", &id, "--until", "2026-11-24T12:00:00Z", "--dry-run"]).ok();
    assert!(ran.out.contains("until 2026-11-24 12:00") && ran.out.contains("by rule \"two\""), "{}", ran.out);
    assert!(ran.out.contains("lapses       2026-11-24 12:00"), "{}", ran.out);
    assert!(ran.err.contains("no longer count: alice"), "{}", ran.err);
    let view = world.json("bob", &["edit", &id, "--duration", "2h", "--dry-run"]);
    shows(&view, &json!({ "id": 1, "duration": "2h", "approvals": { "have": 0, "need": 2 } }));
    // Nor is a refusal recorded: nothing was attempted.
    world.run("carol", &["edit", &id, "--duration", "2h", "--dry-run"]).exits(4);
    world.run("erin", &["edit", &id, "--duration", "2h", "--dry-run"]).exits(3);
    assert_eq!(world.json("bob", &["show", &id]), before);
    world.run("erin", &["edit", &id, "--duration", "2h"]).fails(3, "only its requester, or who filed it, may edit");
    assert_eq!(last(&world)["action"], "attempt.refused");
}

#[test]
fn who_approves_has_been_shown_what_an_edit_says() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    let terminal = Terminal::access(&world, "erin", &["approve", &id]);
    terminal.shows("Approve as asked");
    world.run("bob", &["edit", &id, "--duration", "permanent"]).ok();
    terminal.key("Up").key("Up").key("Enter");
    let screen = terminal.exits(5).replace('\n', " ");
    assert!(screen.contains("request 1 has changed since it was shown (bob changed request 1"), "{screen}");
    assert!(screen.contains("`access show 1`"), "{screen}");

    // Where nothing is shown, the command says which version was looked at.
    for args in
        [vec!["approve", &id], vec!["approve", &id, "--yes"], vec!["approve", &id, "--duration", "1h", "--json"]]
    {
        let ran = world.run("erin", &args).exits(5);
        assert!(ran.err.contains("has changed since it was filed"), "{}", ran.err);
    }
    let seq = world.json("erin", &["show", &id])["last_seq"].to_string();
    world.run("bob", &["edit", &id, "--reason", "Another one"]).ok();
    world.run("erin", &["approve", &id, "--seen", &seq]).fails(5, "has changed since it was shown");
    assert_eq!(world.json("bob", &["show", &id])["decisions"], json!([]));
    approve(&world, "erin", &id).ok();
    world.run("erin", &["approve", &id, "99", "--seen", &seq]).exits(2);

    // On a terminal it is shown.
    let terminal = Terminal::access(&world, "alice", &["approve", &id]);
    let screen = terminal.shows("Approve as asked");
    assert!(screen.contains("Another one"), "{screen}");
    terminal.key("Up").key("Up").key("Enter");
    terminal.exits(0);
    assert_eq!(world.state(&id), "active");
}

/// Runs them all at once: the database is held until the last has been started.
fn at_once(world: &World, lines: &[(&str, Vec<&str>)]) -> Vec<Output> {
    let holder = Connection::open(world.db()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = |(login, args): &(&str, Vec<&str>)| {
        world.command(login, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = lines.iter().map(start).collect();
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    running.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

#[test]
fn of_an_edit_and_an_approval_at_once_exactly_one_happens() {
    let world = World::sample();
    for round in 0..12 {
        let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
        let edit = ("bob", vec!["edit", &id, "--duration", "permanent"]);
        let approval = ("alice", vec!["approve", &id]);
        let lines = if round % 2 == 0 { [edit, approval] } else { [approval, edit] };
        let codes: Vec<i32> = at_once(&world, &lines).iter().map(|ran| ran.status.code().unwrap()).collect();
        let shown = world.json("olivia", &["show", &id]);
        let edited = shown["duration"] == "permanent";
        let expected = if edited == (round % 2 == 0) { [0, 5] } else { [5, 0] };
        assert_eq!(codes, expected, "{shown:#}");
        match edited {
            true => shows(&shown, &json!({ "state": "pending", "decisions": [] })),
            false => shows(&shown, &json!({ "state": "active", "grant": { "duration": "1h" } })),
        }
        world.run("bob", &[if edited { "withdraw" } else { "revoke" }, &id]).ok();
    }
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn of_the_same_edit_many_times_at_once_exactly_one_happens_and_of_others_each() {
    let world = World::sample();
    let id = world.request("alice", "target:orders-db", &["--for", "bob"]);
    let same: Vec<(&str, Vec<&str>)> = (0..8).map(|_| ("bob", vec!["edit", &id, "--duration", "2h"])).collect();
    let codes: Vec<i32> = at_once(&world, &same).iter().map(|ran| ran.status.code().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 5].contains(code)), "{codes:?}");
    // Each changes what it names, and undoes nothing of the other.
    let lines =
        [("bob", vec!["edit", &id, "--ticket", "OPS-1"]), ("alice", vec!["edit", &id, "--reason", "Another one"])];
    assert!(at_once(&world, &lines).iter().all(|ran| ran.status.success()));
    shows(&world.json("bob", &["show", &id]), &json!({ "duration": "2h", "ticket": "OPS-1", "reason": "Another one" }));
    assert_eq!(world.actions().iter().filter(|action| *action == "request.edited").count(), 3);
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn an_edit_is_told_by_mail_under_its_own_headline() {
    let world = fresh(&team());
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.json("root", &["deliver"]);
    world.run("bob", &["edit", &id, "--reason", "Another <b>one</b>"]).ok();
    world.json("root", &["deliver"]);
    let mails = server.got();
    let to_alice = |mail: &&Value| mail["to"] == json!(["alice@acme.example"]);
    let mail = mails.iter().rev().find(to_alice).unwrap()["data"].as_str().unwrap();
    assert_eq!(header(mail, "Subject").unwrap(), "[acme] bob changed request 1 for target:orders-db");
    assert!(mail.contains("access approve 1"), "{mail}");
    assert!(!mail.contains("has new terms"), "{mail}");
}

/// The team of `world` without alice.
fn without_alice() -> String {
    let team = team();
    let alice = team.find("[members.alice]").unwrap();
    let end = alice + team[alice..].find("\n[").unwrap() + 1;
    let rest = [&team[..alice], &team[end..]].concat();
    rest.replace("\"alice\", ", "").replace("\"alice\"", "")
}

#[test]
fn an_approver_who_left_is_not_told_that_their_approval_is_void() {
    let world = world();
    let edited = world.request("bob", "target:orders-db", &[]);
    let approved = world.request("carol", "target:orders-db", &[]);
    world.run("alice", &["approve", &edited]).ok();
    world.run("alice", &["approve", &approved, "--duration", "30m"]).ok();
    world.apply("olivia", &without_alice()).ok();
    world.run("bob", &["edit", &edited, "--duration", "2h"]).ok();
    shows(&last(&world), &json!({ "action": "request.edited", "detail": { "voids": ["alice"] } }));
    // Nor by an approver who puts other terms on the table.
    let seq = world.json("erin", &["show", &approved])["last_seq"].to_string();
    let ran = world.run("erin", &["approve", &approved, "--duration", "10m", "--seen", &seq]).ok();
    ran.says("has 1 of 2 approvals").says("; approvals that no longer count: alice");
    shows(&last(&world), &json!({ "action": "request.approved", "detail": { "voids": ["alice"] } }));
    assert_eq!(faults(&world), [""; 0]);
    // The next member of that name is another person, who may not know of it.
    let third = world.request("dave", "target:orders-db", &[]);
    world.apply("olivia", &team()).ok();
    world.run("alice", &["approve", &third]).ok();
    let another = "[members.alice]\nrole = \"member\"\nlogin = \"alicia\"\n";
    world.apply("olivia", &team().replace("[members.alice]\nrole = \"admin\"\n", another)).ok();
    world.run("dave", &["edit", &third, "--duration", "2h"]).ok();
    let entry = last(&world);
    shows(&entry, &json!({ "action": "request.edited", "detail": { "voids": ["alice"] } }));
    let told = json!([{ "member": "erin" }, { "member": "olivia" }]);
    shows(&entry["told"], &told);
    assert_eq!(faults(&world), [""; 0]);
}

// Logs that are forged

/// Entries 1-2 the team; 3 bob's request 1; 4 alice's approval of it; 5 bob's edit; 6 carol's request 2.
fn edited() -> World {
    let world = world();
    world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", "1"]).ok();
    world.run("bob", &["edit", "1", "--duration", "8h"]).ok();
    world.request("carol", "target:orders-db", &[]);
    world
}

#[test]
fn no_edit_is_anothers_or_misstates_anything_in_a_log_that_is_true() {
    let forged = |edits: &[(&str, &str)], rest: &str, expected: &[&str]| {
        let world = edited();
        let mut bodies = bodies(&world);
        for (from, to) in edits {
            let edited = bodies[4].replace(from, to);
            assert_ne!(edited, bodies[4], "{from}");
            bodies[4] = edited;
        }
        forge(&world, &bodies, rest);
        assert_eq!(faults(&world), expected, "{edits:?}");
    };
    forged(
        &[("\"actor\":\"bob\"", "\"actor\":\"erin\""), ("\"by\":\"bob\"", "\"by\":\"erin\"")],
        "",
        &["entry 5: erin edits request 1, which is not their own"],
    );
    forged(
        &[("\"actor\":\"bob\"", "\"actor\":\"erin\"")],
        "",
        &["entry 5: the edit of request 1 is not that of the member who acts"],
    );
    forged(&[("\"after\":\"4h\"", "\"after\":\"7h\"")], "", &["entry 5: it misstates what request 1 said before"]);
    forged(&[(",\"voids\":[\"alice\"]", "")], "", &["entry 5: it voids other approvals of request 1 than there are"]);
    forged(
        &[("[\"alice\"]}", "[\"alice\",\"erin\"]}")],
        "",
        &["entry 5: it voids other approvals of request 1 than there are"],
    );
    forged(
        &[("\"to\":{\"asked\":{\"resource\":\"target:orders-db\"", "\"to\":{\"asked\":{\"resource\":\"role:admin\"")],
        "UPDATE request SET resource = 'role:admin' WHERE id = 1",
        &["entry 5: it changes what request 1 is for"],
    );
    forged(
        &[("2026-12-01T09:00:00Z", "2026-11-24T09:00:00Z")],
        "UPDATE request SET lapses_at = lapses_at - 604800 WHERE id = 1",
        &["entry 5: it sets another lapse or reminder for request 1 than it can"],
    );
    // A table that keeps the vote, or what it said before, is found too.
    forged(&[], "UPDATE decision SET counts = 1", &["the decision of entry 4 is not as it was recorded"]);
    forged(&[], "UPDATE decision SET terms = NULL", &["the decision of entry 4 is not as it was recorded"]);
    forged(&[], "UPDATE request SET length = 14400 WHERE id = 1", &["request 1 is not as it was recorded"]);
}

#[test]
fn nothing_is_edited_that_is_decided_and_no_void_vote_grants_in_a_log_that_is_true() {
    let world = edited();
    world.run("alice", &["deny", "2"]).ok();
    let mut forged = bodies(&world);
    forged.push(forged[4].replace("\"seq\":5", "\"seq\":8").replace("\"request\":1", "\"request\":2"));
    forge(&world, &forged, "UPDATE team SET last_seq = 8");
    let found = faults(&world);
    assert!(found.contains(&"entry 8: request 2 is decided, which was not pending".to_owned()), "{found:#?}");

    // A grant that counts the vote which the edit voided.
    let world = edited();
    approve(&world, "erin", "1").ok();
    approve(&world, "olivia", "1").ok();
    let mut forged = bodies(&world);
    let grant = forged.last().unwrap().clone();
    let other = grant.replace("\"approved_by\":[\"erin\",\"olivia\"]", "\"approved_by\":[\"alice\",\"erin\"]");
    assert_ne!(grant, other);
    *forged.last_mut().unwrap() = other;
    forge(&world, &forged, "");
    assert_eq!(faults(&world), ["entry 9: the grant of request 1 names other approvers than approved it"]);
}

// When a request lapses

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What an older version would have recorded: events as they are, without asking any rule.
fn record(world: &World, actor: Option<&str>, event: Event) {
    let store = Store::open(&world.db()).unwrap();
    let context = Context {
        now: world.now(),
        actor: actor.map(|actor| actor.parse().unwrap()),
        os_user: actor.unwrap_or("root").to_owned(),
    };
    let drafts = vec![Draft { event, recipients: Vec::new() }];
    store.write(|write| -> Result<(), Error> { write.record(&context, drafts) }).unwrap();
}

/// A request until noon that lapses in a week, as older versions filed them.
fn file_as_before(world: &World, id: i64, who: &str, until: &str) {
    let terms = Terms { resource: "target:orders-db".parse().unwrap(), end: End::At(time(until)), start: None };
    let filed = Event::RequestSubmitted(Submission {
        request: RequestId::try_from(id).unwrap(),
        requester: who.parse().unwrap(),
        filed_by: who.parse().unwrap(),
        requester_login: Some(who.parse().unwrap()),
        filer_login: Some(who.parse().unwrap()),
        details: RequestDetails::new(terms, "testing".parse().unwrap()),
        lapses_at: world.now().plus(Length::WEEK),
        remind_at: Some(time("2026-11-24T13:00:00Z")),
        extends: None,
        emergency: false,
    });
    record(world, Some(who), filed);
}

#[test]
fn a_request_of_an_older_version_lapses_at_the_end_that_it_asks_for() {
    let world = World::sample();
    file_as_before(&world, 1, "bob", "2026-11-24T12:00:00Z");
    world.set_clock("2026-11-24T11:59:59Z");
    shows(&world.json("bob", &["show", "1"]), &json!({ "state": "pending", "lapses_at": "2026-11-24T12:00:00Z" }));
    assert!(world.json("bob", &["show", "1"]).get("remind_at").is_none());
    world.run("bob", &["request", "target:orders-db", "--reason", "x"]).exits(5);

    world.set_clock("2026-11-24T12:00:00Z");
    assert_eq!(world.state("1"), "lapsed");
    assert_eq!(world.json("alice", &["list"]), json!([]));
    assert_eq!(world.json("alice", &["list", "--pending"]), json!([]));
    shows(&world.json("alice", &["list", "--state", "lapsed"]), &json!([{ "id": 1, "state": "lapsed" }]));
    assert_eq!(world.json("bob", &["resources", "target"])[1]["pending"], Value::Null);
    assert_eq!(world.run("bob", &["check", "target:orders-db", "--json"]).exits(1).json()["pending"], Value::Null);
    world.run("alice", &["approve", "1", "--duration", "1h"]).fails(5, "is lapsed already");
    world.run("bob", &["edit", "1", "--duration", "1h"]).fails(5, "is lapsed");
    // It blocks nothing, and nobody is reminded of it.
    world.run("bob", &["request", "target:orders-db", "--reason", "x"]).ok();
    world.set_clock("2026-11-24T14:00:00Z");
    shows(&world.json("root", &["expire", "--dry-run"]), &json!({ "lapsed": 1, "reminded": 0 }));
    shows(&world.json("root", &["expire"]), &json!({ "lapsed": 1, "reminded": 0 }));
    shows(&last(&world), &json!({ "action": "request.lapsed", "detail": { "lapsed_at": "2026-11-24T12:00:00Z" } }));
    shows(&world.json("root", &["expire"]), &json!({ "lapsed": 0 }));
    assert_eq!(world.state("1"), "lapsed");
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn what_an_older_version_recorded_after_that_end_stays_valid() {
    let world = World::sample();
    file_as_before(&world, 1, "bob", "2026-11-24T12:00:00Z");
    file_as_before(&world, 2, "carol", "2026-11-24T12:00:00Z");
    file_as_before(&world, 3, "dave", "2026-11-24T12:00:00Z");
    world.set_clock("2026-11-25T09:00:00Z");
    let request = |id| RequestId::try_from(id).unwrap();
    record(
        &world,
        Some("alice"),
        Event::RequestDenied { request: request(1), by: "alice".parse().unwrap(), reason: None },
    );
    world.set_clock("2026-12-01T09:00:00Z");
    record(&world, None, Event::RequestLapsed { request: request(2), lapsed_at: time("2026-12-01T09:00:00Z") });
    assert_eq!(faults(&world), [""; 0]);
    // But at no time between.
    record(&world, None, Event::RequestLapsed { request: request(3), lapsed_at: time("2026-11-30T09:00:00Z") });
    assert_eq!(
        faults(&world),
        ["entry 7: request 3 lapses at 2026-11-30T09:00:00Z, and should at 2026-11-24T12:00:00Z"]
    );
}

/// The state that a request shows is said in Rust, and which requests a list has in SQL.
#[test]
fn a_list_by_state_has_those_requests_that_show_that_state() {
    let world = World::sample();
    file_as_before(&world, 1, "bob", "2026-11-24T12:00:00Z");
    file_as_before(&world, 2, "carol", "2027-11-24T12:00:00Z");
    world.request("dave", "target:orders-db", &["--until", "2026-11-24T12:00:00Z"]);
    world.request("dave", "target:billing-db", &["--start", "2026-11-24T12:00:00Z", "--until", "2026-11-24T15:00:00Z"]);
    world.grant("grace", "target:orders-db", "alice", &["--duration", "3h"]);
    world.grant("grace", "target:billing-db", "alice", &["--duration", "permanent"]);
    let id = world.request("grace", "connection:prod-aws", &["--start", "2026-11-24T12:00:00Z", "--duration", "3h"]);
    world.run("alice", &["approve", &id]).ok();
    let id = world.request("frank", "connection:prod-aws", &[]);
    world.run("alice", &["deny", &id]).ok();
    let id = world.request("frank", "connection:prod-aws", &[]);
    world.run("frank", &["withdraw", &id]).ok();
    let id = world.grant("frank", "connection:prod-aws", "alice", &[]);
    world.run("alice", &["revoke", &id]).ok();
    let id = world.request("frank", "connection:prod-aws", &[]);
    world.run("frank", &["edit", &id, "--until", "2026-11-24T15:00:00Z"]).ok();

    let ids = |list: &Value, state: &str| -> Vec<i64> {
        let rows = list.as_array().unwrap().iter().filter(|row| row["state"] == state);
        rows.map(|row| row["id"].as_i64().unwrap()).collect()
    };
    let states = ["pending", "scheduled", "active", "denied", "withdrawn", "lapsed", "expired", "revoked"];
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let noon_and_beyond = [
        "2026-11-24T09:00:00Z",
        "2026-11-24T11:59:59Z",
        "2026-11-24T12:00:00Z",
        "2026-11-24T15:00:00Z",
        "2026-12-02T09:00:00Z",
    ];
    for at in noon_and_beyond {
        world.set_clock(at);
        for recorded in [false, true] {
            if recorded {
                world.run("root", &["expire"]).ok();
            }
            let all = world.json("alice", &["list", "--all"]);
            for state in states {
                let listed = world.json("alice", &["list", "--state", state]);
                assert_eq!(ids(&listed, state), ids(&all, state), "{state} at {at}");
                assert_eq!(listed.as_array().unwrap().len(), ids(&listed, state).len(), "{state} at {at}");
                if !ids(&all, state).is_empty() {
                    seen.insert(state);
                }
            }
        }
    }
    assert_eq!(seen, BTreeSet::from(states));
    assert_eq!(faults(&world), [""; 0]);
}

/// An approver who looked at a request before another changed it, or before it came to reach more, does not approve that.
#[test]
fn nobody_approves_what_another_approver_put_there_unseen() {
    let world = world();
    let says = "has changed since it was filed, so say which version you approve";
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    world.run("erin", &["approve", &id, "--duration", "permanent", "--yes"]).ok();
    for args in [vec!["approve", &id, "--yes"], vec!["approve", &id, "--duration", "30m", "--yes"]] {
        world.run("alice", &args).fails(5, says);
    }
    // The member who set them has seen them.
    world.run("erin", &["approve", &id, "--duration", "2h", "--yes"]).ok();
    // That the terms are those asked again makes no difference: another version was looked at.
    let seq = world.json("alice", &["show", &id])["last_seq"].to_string();
    world.run("erin", &["approve", &id, "--duration", "1h", "--yes"]).ok();
    world.run("alice", &["approve", &id, "--yes"]).fails(5, says);
    world.run("alice", &["approve", &id, "--seen", &seq]).fails(5, "has changed since it was shown");
    approve(&world, "alice", &id).ok();
    shows(&world.json("bob", &["show", &id]), &json!({ "state": "active", "grant": { "duration": "1h" } }));
    world.run("olivia", &["audit", "verify"]).ok();
}

/// A refused attempt changes nothing, so nobody can stop an approval with one.
#[test]
fn a_refused_attempt_does_not_void_what_an_approver_saw() {
    let world = world();
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    let seq = world.json("alice", &["show", &id])["last_seq"].to_string();
    world.run("bob", &["approve", &id]).exits(3);
    shows(&last(&world), &json!({ "action": "attempt.refused", "request": 1 }));
    assert_eq!(world.json("alice", &["show", &id])["last_seq"].to_string(), seq);
    world.run("alice", &["approve", &id, "--seen", &seq]).ok();

    // The same on a terminal, for an approval and for a revocation.
    let id = world.request("bob", "target:billing-db", &["--duration", "1h"]);
    let terminal = Terminal::access(&world, "alice", &["approve", &id]);
    terminal.shows(&format!("Approve request {id}"));
    world.run("bob", &["approve", &id]).exits(3);
    terminal.text("y").exits(0);
    let seq = world.json("erin", &["show", &id])["last_seq"].to_string();
    world.run("erin", &["approve", &id, "--seen", &seq]).ok();
    let terminal = Terminal::access(&world, "alice", &["revoke", &id]);
    terminal.shows(&format!("Revoke request {id}?"));
    world.run("bob", &["approve", &id]).exits(3);
    terminal.text("y").shows("Why?");
    terminal.key("Enter").exits(0);
    assert_eq!(world.state(&id), "revoked");
}

#[test]
fn a_resource_that_is_gone_is_not_found_even_if_the_request_is_for_it() {
    let with = format!("{}[targets.old-db]\nconnections = [\"prod-aws\"]\n", team());
    let world = World::of("olivia", &with);
    let id = world.request("bob", "target:old-db", &[]);
    world.apply("olivia", &team()).ok();
    assert_eq!(world.state(&id), "withdrawn");
    world.run("alice", &["approve", &id, "--resource", "target:old-db"]).fails(4, "target:old-db");
    // Somebody who may not see the request learns nothing.
    world.run("carol", &["approve", &id, "--resource", "target:old-db"]).fails(4, &format!("request {id}"));
    let other_resource = ["approve", &id, "--resource", "target:orders-db"];
    let other_length = ["approve", &id, "--resource", "target:old-db", "--duration", "30m"];
    for args in [&["approve", &id][..], &["deny", &id], &other_resource, &other_length] {
        let says = format!("nobody can decide on request {id}: the team file no longer has what it is for");
        world.run("alice", args).fails(3, &says);
    }
}

/// The scope comes to reach more while nobody has approved yet.
#[test]
fn nobody_approves_what_a_scope_came_to_reach_unseen() {
    let scope = |targets: &str| format!("{}[scopes.stores]\ntargets = [{targets}]\nassigned = []\n", team());
    let world = World::of("olivia", &scope("\"orders-db\""));
    let id = world.request("bob", "scope:stores", &["--duration", "1h"]);
    let seq = world.json("alice", &["show", &id])["last_seq"].to_string();
    let wider = scope("\"orders-db\", \"billing-db\"");
    world.apply("olivia", &wider).ok().says(&format!("request {id} reaches more"));
    shows(
        &last(&world),
        &json!({ "action": "approvals.voided", "detail": { "voids": [], "gained": "target:billing-db" } }),
    );
    world.run("alice", &["approve", &id, "--seen", &seq]).fails(5, "has changed since it was shown");
    world.run("alice", &["approve", &id, "--yes"]).fails(5, "has changed since it was filed");
    approve(&world, "alice", &id).ok();
    assert_eq!(faults(&world), [""; 0]);
}
