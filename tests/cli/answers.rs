//! Answers that are right: a list has what its filter means, a name that is mistyped is no empty list, and whatever ends is
//! listed.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World, shows};
use crate::post::{configure, fresh, smtp};
use crate::tmux::Terminal;

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
    world.run("erin", &["approve", "3", "--resource", "target:billing-db"]).ok();
    assert_eq!(listed(&world, "olivia", &["--resource", "scope:orders-read"]), [0_i64; 0]);
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
    // Whoever is a member, and whatever is in the catalogue, is known though there is nothing to list.
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
fn who_left_and_what_is_gone_is_known_to_whoever_may_see_it() {
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
    world.run("olivia", &["audit", "--since", "10:00"]).fails(2, "is in the future");
    world.run("olivia", &["list", "--since", "in 2h"]).fails(2, "is in the future");
    let between = ["audit", "--since", "1d ago", "--until", "2d ago"];
    world.run("olivia", &between).fails(2, "--until is before --since");
    // The clock of whoever wrote it may be a little ahead.
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
        ("vic", &["resources", "--mine"], "You have nothing of that"),
        ("vic", &["resources", "target"], "There is nothing of that"),
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

/// Three grants of bob's: 1, which 2 and then 3 (pending) go on from, and 4.
fn holding() -> World {
    let world = World::sample();
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "2h"]);
    let second = world.json("bob", &["extend", &first, "--reason", "more"])["id"].to_string();
    world.run("alice", &["approve", &second]).ok();
    world.json("bob", &["extend", &second, "--reason", "still more"]);
    world.grant("bob", "connection:prod-aws", "erin", &[]);
    world.grant("carol", "connection:prod-aws", "erin", &[]);
    world
}

#[test]
fn revoking_says_what_ends_with_it() {
    let world = holding();
    let ran = world.run("alice", &["revoke", "1"]).ok();
    let expected = "Request 1 revoked: bob no longer has target:orders-db through it\n  \
        and with it request 2: target:orders-db for 2h, revoked by alice\n  \
        and with it request 3: target:orders-db";
    assert!(ran.out.starts_with(expected), "{ran:?}");
    assert!(ran.out.trim_end().ends_with("withdrawn"), "{ran:?}");
    // One object, as of any revoked request; what ended with it is in it, in the same shape.
    let world = holding();
    let ended = world.json("alice", &["revoke", "1"]);
    shows(
        &ended,
        &json!({ "id": 1, "state": "revoked", "also_ended": [
        { "id": 2, "state": "revoked", "grant": { "ended_by": "alice" } }, { "id": 3, "state": "withdrawn" }
    ] }),
    );
    let alone = world.json("alice", &["revoke", "4"]);
    assert_eq!((&alone["state"], alone.get("also_ended")), (&json!("revoked"), None));
    let several = world.run("alice", &["revoke", "5", "2", "--json"]).exits(5).json();
    assert_eq!(ids(&several), [5]);
}

#[test]
fn an_emergency_that_was_reviewed_is_revoked_in_so_many_words() {
    let world = World::of("olivia", &format!("{TEAM}\n[[rules]]\nname = \"glass\"\nemergency = true\n"));
    world.request("bob", "target:orders-db", &["--emergency"]);
    world.run("alice", &["review", "1", "--note", "fine"]).ok();
    world.pass("1m");
    world.run("alice", &["revoke", "1"]).ok().says("Request 1 revoked: bob no longer has target:orders-db");
    let second = world.request("carol", "target:orders-db", &["--emergency"]);
    world.run("alice", &["revoke", &second]).ok();
    world.pass("1m");
    world.run("alice", &["review", &second, "--note", "fine"]).ok().says("Request 2 reviewed");
}

#[test]
fn what_ends_is_shown_before_anybody_is_asked() {
    let world = holding();
    let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
    let screen = terminal.shows("Revoke request 1, and with it 2, 3?");
    assert!(screen.contains("ends with it request 2: target:orders-db for 2h, scheduled, in 2h"), "{screen}");
    terminal.text("n").exits(1);
    assert_eq!(["1", "2", "3"].map(|id| world.state(id)), ["active", "scheduled", "pending"]);

    // What has changed since is looked at again, also where it is only among what follows.
    for change in [&["deny", "3"][..], &["revoke", "2"]] {
        let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
        terminal.shows("Revoke request 1");
        world.run("erin", change).ok();
        terminal.text("y");
        let screen = terminal.exits(5);
        assert!(screen.contains("request 1 has changed since it was shown"), "{screen}");
        assert_eq!(world.state("1"), "active");
    }
    let terminal = Terminal::access(&world, "alice", &["revoke", "1"]);
    terminal.shows("Revoke request 1?");
    terminal.text("y").exits(0);
    assert_eq!(world.state("1"), "revoked");
}

#[test]
fn all_that_a_member_holds_ends_at_once() {
    let world = holding();
    let before = world.actions().len();
    let ran = world.run("alice", &["revoke", "--member", "bob", "--reason", "laptop stolen"]).ok();
    for says in [
        "Request 1 revoked: bob no longer has target:orders-db",
        "Request 2 revoked: bob no longer has target:orders-db",
        "Request 3 withdrawn: target:orders-db",
        "Request 4 revoked: bob no longer has connection:prod-aws",
    ] {
        assert!(ran.out.contains(says), "{says}: {ran:?}");
    }
    assert_eq!(
        ["1", "2", "3", "4", "5"].map(|id| world.state(id)),
        ["revoked", "revoked", "withdrawn", "revoked", "active"]
    );
    assert!(!world.may("bob", "target:orders-db"));
    // An entry for each, of one moment, by alice; and he is told of each.
    let log = world.json("olivia", &["audit", "--limit", "0"]);
    let new: Vec<&Value> = log.as_array().unwrap().iter().rev().skip(before).collect();
    let said: Vec<(&str, i64, &str)> = new
        .iter()
        .map(|entry| {
            (entry["action"].as_str().unwrap(), entry["request"].as_i64().unwrap(), entry["actor"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("grant.revoked", 1, "alice"),
            ("grant.revoked", 2, "alice"),
            ("request.withdrawn", 3, "alice"),
            ("grant.revoked", 4, "alice")
        ]
    );
    assert_eq!(new[0]["detail"]["reason"], "laptop stolen");
    assert_eq!(new[3]["detail"]["reason"], "laptop stolen");
    assert_eq!(world.unread("bob").iter().filter(|event| *event == "access.revoked").count(), 3);
    // Again it is done already.
    let ran = world.run("alice", &["revoke", "--member", "bob"]).ok();
    assert!(ran.err.contains("bob has no granted access"), "{ran:?}");
    assert_eq!(world.json("alice", &["revoke", "--member", "bob"]), json!([]));
    assert_eq!(world.json("carol", &["revoke", "--member", "carol"])[0]["id"], 5, "one's own");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn what_a_member_holds_is_given_in_json_as_other_revocations_are() {
    let world = holding();
    let all = world.json("alice", &["revoke", "--member", "bob", "--yes"]);
    assert_eq!(ids(&all), [1, 2, 3, 4]);
    shows(
        &all,
        &json!([
            { "id": 1, "state": "revoked", "requester": "bob", "grant": { "ended_by": "alice", "remaining_seconds": 0 } },
            { "id": 2, "state": "revoked" }, { "id": 3, "state": "withdrawn", "grant": null }, { "id": 4, "state": "revoked" }
        ]),
    );
    // The same fields as in an answer to `revoke ID --json`.
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&all[0]), fields(&world.json("alice", &["revoke", "5"])));
}

#[test]
fn only_who_may_end_each_grant_ends_all() {
    let world = holding();
    let before = world.actions();
    let refused = world.run("carol", &["revoke", "--member", "bob"]).fails(3, "only admins and the owner");
    // A name that nobody has looks the same to whoever may not ask.
    assert_eq!(refused.err, world.run("carol", &["revoke", "--member", "nobody"]).exits(3).err);
    world.run("stranger", &["revoke", "--member", "bob"]).fails(3, "not a member");
    for (args, says) in [
        (&["revoke", "--member", "bob", "1"][..], "cannot be used with"),
        (&["revoke"], "required"),
        (&["revoke", "--member", "B ob"], "invalid value"),
    ] {
        world.run("alice", args).fails(2, says);
    }
    world.run("carol", &["revoke", "--member", "bob", "--json"]).exits(3);
    let after: Vec<String> = world.actions().into_iter().filter(|action| action != "attempt.refused").collect();
    assert_eq!(after, before);
    assert_eq!(["1", "2", "3", "4"].map(|id| world.state(id)), ["active", "scheduled", "pending", "active"]);
}

#[test]
fn all_that_ends_is_listed_before_anybody_is_asked() {
    let world = holding();
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    let screen = terminal.shows("Revoke all 4 of bob's?");
    for says in [
        "request 1: target:orders-db for 2h, active, 2h left",
        "request 2: target:orders-db for 2h, scheduled, in 2h",
        "request 3: target:orders-db",
        "request 4: connection:prod-aws for 1h, active, 1h left",
    ] {
        assert!(screen.contains(says), "{says}: {screen}");
    }
    terminal.text("n");
    assert!(terminal.exits(1).contains("cancelled; nothing was done"));
    // What came or changed since is looked at again.
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    terminal.shows("Revoke all 4 of bob's?");
    world.grant("bob", "feature:cost-explorer", "erin", &[]);
    terminal.text("y");
    let screen = terminal.exits(5);
    assert!(screen.contains("what bob holds has changed since it was shown"), "{screen}");
    assert_eq!(world.state("1"), "active");
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob"]);
    terminal.shows("Revoke all 5 of bob's?");
    terminal.text("y").exits(0);
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
    // With --yes nobody is asked.
    world.grant("bob", "target:billing-db", "erin", &[]);
    let terminal = Terminal::access(&world, "alice", &["revoke", "--member", "bob", "--yes"]);
    terminal.exits(0);
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
}

/// Holds every place from which SQLite lets anybody read, so that a read finds the database busy. Until it is dropped.
struct Locked(Child);

impl Locked {
    fn all_readers_of(world: &World) -> Locked {
        let program = "import fcntl, os, sys, time\n\
            f = os.open(sys.argv[1], os.O_RDWR)\n\
            fcntl.lockf(f, fcntl.LOCK_EX, 5, 123)\n\
            print('held', flush=True)\n\
            time.sleep(60)\n";
        let file = format!("{}-shm", world.db().display());
        let mut child =
            Command::new("python3").args(["-I", "-c", program, &file]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Locked(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A child's standard error, as far as it has come.
fn so_far(child: &mut Child) -> std::sync::Arc<std::sync::Mutex<String>> {
    let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let (mut from, to) = (child.stderr.take().unwrap(), std::sync::Arc::clone(&said));
    std::thread::spawn(move || {
        let mut some = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut some) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..count]));
        }
    });
    said
}

#[track_caller]
fn within(most: Duration, says: &str, mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < most, "not within {most:?}: {says}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_waits_goes_on_waiting_while_the_database_is_busy() {
    let world = World::sample();
    let args = ["request", "target:orders-db", "--reason", "x", "--wait"];
    let mut waiting = world.command("bob", &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = so_far(&mut waiting);
    within(Duration::from_secs(10), "it is filed", || world.rows("SELECT count(*) FROM request") == ["1"]);
    within(Duration::from_secs(10), "it waits", || said.lock().unwrap().contains("Request 1 waits on"));
    let locked = Locked::all_readers_of(&world);
    within(Duration::from_secs(30), "it says that it is busy", || said.lock().unwrap().contains("is busy"));
    assert_eq!(waiting.try_wait().unwrap(), None, "{}", said.lock().unwrap());
    drop(locked);
    world.run("alice", &["approve", "1"]).ok();
    let ended = waiting.wait_with_output().unwrap();
    let said = said.lock().unwrap().clone();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("approved"));
    assert!(said.contains("request 1 was filed, and was waiting when last seen"), "{said}");
    assert!(!said.contains("nothing was done"), "{said}");
    assert_eq!(said.matches("is busy").count(), 1, "said once: {said}");
}

#[test]
fn whoever_waits_no_longer_than_so_is_told_that_it_is_filed() {
    let world = World::sample();
    let args = ["request", "target:orders-db", "--reason", "x", "--wait", "--timeout", "3s"];
    let mut waiting = world.command("bob", &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = so_far(&mut waiting);
    within(Duration::from_secs(10), "it waits", || said.lock().unwrap().contains("Request 1 waits on"));
    let _locked = Locked::all_readers_of(&world);
    let ended = waiting.wait_with_output().unwrap();
    let said = said.lock().unwrap().clone();
    assert_eq!(ended.status.code(), Some(75), "{said}");
    assert!(said.contains("error: request 1 was filed, and was waiting when last seen"), "{said}");
    assert!(said.contains("access show 1"), "{said}");
}

#[test]
fn watching_ends_where_it_can_never_succeed_and_says_once_what_goes_on() {
    let world = fresh(TEAM);
    world.request("bob", "target:orders-db", &[]);
    configure(&world, "[email]\nnonsense = 1\n");
    let begun = Instant::now();
    world.run("root", &["deliver", "--watch"]).exits(65);
    assert!(begun.elapsed() < Duration::from_secs(4), "at once");
    std::fs::remove_file(world.db()).unwrap();
    world.run("root", &["deliver", "--watch"]).exits(69);

    // What may pass is waited for: here the write lock.
    let world = fresh(TEAM);
    world.request("bob", "target:orders-db", &[]);
    configure(&world, &smtp(1));
    let mut holder =
        Command::new("sqlite3").arg(world.db()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    holder.stdin.as_mut().unwrap().write_all(b"BEGIN IMMEDIATE; SELECT 'held';\n").unwrap();
    holder.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let mut watch =
        world.command("root", &["deliver", "--watch"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = so_far(&mut watch);
    within(Duration::from_secs(30), "it is said", || said.lock().unwrap().contains("busy"));
    // Another run, and five seconds between.
    std::thread::sleep(Duration::from_secs(18));
    assert_eq!(watch.try_wait().unwrap(), None, "it keeps going");
    watch.kill().unwrap();
    watch.wait().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let said = said.lock().unwrap().clone();
    assert_eq!(said.matches("error:").count(), 1, "{said}");
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
