//! What takes two hosts that share a log: one of them sends, and the other goes on where it was; read marks are the same on
//! both. Skipped unless `ACCESS_TEST_LOG` names a server (see `tests/fleet.sh`).

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::hosts::Hosts;
use crate::post::{Server, header, hurry, smtp};

const ALPHA: usize = 0;
const BETA: usize = 1;

/// A team with email alone, whose hosts use this mail server. Nothing waits.
fn by_email() -> Option<(World, Server)> {
    if std::env::var_os("ACCESS_TEST_LOG").is_none() {
        eprintln!("skipped: it takes tests/fleet.sh");
        return None;
    }
    let world = World::of("olivia", &TEAM.replace("slack = \"U0ALICE\"", ""));
    let server = Server::mail(&world, &[]);
    on_both(|host| hosts(&world).configure(host, &smtp(server.port)));
    sent(&world, ALPHA);
    sent(&world, BETA);
    fs::write(server.log(), "").unwrap();
    Some((world, server))
}

fn on_both(work: impl Fn(usize)) {
    [ALPHA, BETA].into_iter().for_each(work);
}

/// The shared log's hosts.
fn hosts(world: &World) -> &Hosts {
    world.hosts().unwrap()
}

/// Sends what is due, on this host. Gives how many were sent.
fn sent(world: &World, host: usize) -> Value {
    let view = world.run_on(host, "root", &["deliver", "--json"]).ok().json();
    assert_eq!(view["busy"], false, "{view}");
    view["delivered"].clone()
}

/// How often each message arrived.
fn ids(server: &Server) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for mail in server.got() {
        *ids.entry(header(mail["data"].as_str().unwrap(), "Message-ID").unwrap()).or_default() += 1;
    }
    ids
}

/// How often messages arrived, from the least to the most.
fn times(server: &Server) -> Vec<usize> {
    let mut times: Vec<usize> = ids(server).into_values().collect();
    times.sort_unstable();
    times
}

/// How many rows this host's own outbox has.
fn queued(world: &World, host: usize) -> i64 {
    let path = if host == ALPHA { world.db() } else { hosts(world).home(host).join("access.db") };
    let database = rusqlite::Connection::open(path).unwrap();
    database.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap()
}

fn outbox(world: &World, host: usize) -> Vec<Value> {
    world.run_on(host, "root", &["outbox", "--json"]).ok().json().as_array().unwrap().clone()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// A request that comes and goes on this host.
fn ask_in_vain(world: &World, host: usize) {
    let args = ["request", "target:orders-db", "--reason", "testing", "--duration", "1h", "--json"];
    let id = world.run_on(host, "bob", &args).ok().json()["id"].to_string();
    world.run_on(host, "bob", &["withdraw", &id]).ok();
}

#[test]
fn hosts_that_take_turns_or_run_at_once_send_each_message_once() {
    let Some((world, server)) = by_email() else { return };
    for round in 0..4 {
        let id = world.request("bob", "target:orders-db", &["--duration", &format!("{}m", 30 + round)]);
        // All at once, twice as many as there are hosts: those without the turn send nothing.
        let start = |host| {
            let mut run = world.command_on(host, "root", &["deliver", "--json"]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for run in [start(ALPHA), start(BETA), start(ALPHA), start(BETA)] {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        world.run("bob", &["withdraw", &id]).ok();
        sent(&world, (round + 1) % 2);
    }
    let times = times(&server);
    assert!(times.len() >= 8 && times.iter().all(|times| *times == 1), "{times:?}");
    // The other host's outbox does not keep what it never sends.
    on_both(|host| drop(sent(&world, host)));
    assert_eq!((queued(&world, ALPHA), queued(&world, BETA)), (0, 0));
}

#[test]
fn a_host_killed_between_sending_and_saying_so_is_replaced_and_only_what_was_in_flight_comes_twice() {
    let Some((world, server)) = by_email() else { return };
    world.request("bob", "target:billing-db", &[]);
    assert_eq!(sent(&world, ALPHA), json!(3));
    let first = ids(&server);
    world.request("bob", "target:orders-db", &[]);
    // It can't say what it has sent.
    let mut database = hosts(&world).superuser();
    let mut held = database.transaction().unwrap();
    held.execute("SELECT 1 FROM access.side WHERE key = 'delivery' FOR UPDATE", &[]).unwrap();
    let mut run = world.command_on(ALPHA, "root", &["deliver"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it sends", || ids(&server).len() > first.len());
    run.kill().unwrap();
    run.wait().unwrap();
    held.rollback().unwrap();

    let busy = world.run_on(BETA, "root", &["deliver", "--json"]).ok().json();
    shows(&busy, &json!({ "delivered": 0, "busy": true }));
    world.run_on(BETA, "root", &["deliver"]).ok().says("another host, is sending");
    world.pass("31s");
    sent(&world, BETA);
    let all = ids(&server);
    for (id, times) in &all {
        assert!(*times == 1 || *times == 2 && !first.contains_key(id), "{all:?}");
    }
    assert_eq!(all.len(), first.len() + 3, "the new request has three approvers");
    // The first comes back.
    assert_eq!((sent(&world, ALPHA), queued(&world, ALPHA), queued(&world, BETA)), (json!(0), 0, 0));
    assert_eq!(ids(&server), all);
}

#[test]
fn a_host_that_comes_back_knows_what_it_sent_if_no_other_sent_meanwhile() {
    let Some((world, server)) = by_email() else { return };
    world.request("bob", "target:orders-db", &[]);
    let mut database = hosts(&world).superuser();
    let mut held = database.transaction().unwrap();
    held.execute("SELECT 1 FROM access.side WHERE key = 'delivery' FOR UPDATE", &[]).unwrap();
    // It marks them here, and gives up on telling.
    let run = world.run_on(ALPHA, "root", &["deliver"]);
    assert_eq!(run.code, 69, "{run:?}");
    held.rollback().unwrap();
    assert_eq!((sent(&world, ALPHA), times(&server)), (json!(0), vec![1, 1, 1]));
    assert_eq!((sent(&world, BETA), times(&server)), (json!(0), vec![1, 1, 1]));
}

#[test]
fn a_host_that_froze_while_it_sent_says_nothing_once_another_has_sent() {
    let Some((world, server)) = by_email() else { return };
    let stuck = Server::broken_mail(&world, "taken", "hang");
    hosts(&world).configure(ALPHA, &[smtp(stuck.port), hurry("20s", "5s")].concat());
    world.request("bob", "target:orders-db", &[]);
    let mut run = world.command_on(ALPHA, "root", &["deliver"]);
    let run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it sends", || !stuck.lines().is_empty());
    let process = Pid::from_raw(i32::try_from(run.id()).unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    world.pass("31s");
    assert_eq!(sent(&world, BETA), json!(3));
    kill(process, Signal::SIGCONT).unwrap();
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(75), "{said}");
    assert!(said.contains("another host took over the delivery"), "{said}");
    hosts(&world).configure(ALPHA, &smtp(server.port));
    assert_eq!((sent(&world, ALPHA), times(&server), queued(&world, ALPHA)), (json!(0), vec![1, 1, 1], 0));
}

#[test]
fn what_failed_or_was_given_up_outlives_the_host_that_tried() {
    let Some((world, server)) = by_email() else { return };
    let rules = |rules: &Value| fs::write(world.folder().join("mail.rules"), rules.to_string()).unwrap();
    rules(&json!({ "rcpt": { "alice@acme.example": "451 later", "erin@acme.example": "550 nobody here" } }));
    world.request("bob", "target:orders-db", &[]);
    let view = world.run_on(ALPHA, "root", &["deliver", "--json"]).exits(1).json();
    shows(&view, &json!({ "failed": 2, "dead": 1 }));
    let there = outbox(&world, ALPHA);
    hosts(&world).configure(ALPHA, "");
    fs::remove_file(world.db()).unwrap();

    let here = outbox(&world, BETA);
    let fates = |rows: &[Value]| -> Vec<Value> {
        let keys = ["to", "event", "attempts", "due_at", "dead", "error"];
        rows.iter().map(|row| keys.iter().map(|key| row[key].clone()).collect()).collect()
    };
    assert_eq!((here.len(), fates(&here)), (1, fates(&there)));
    assert!(here[0]["error"].as_str().unwrap().contains("451 later"), "{here:?}");
    let dead = world.run_on(BETA, "root", &["outbox", "--dead", "--json"]).ok().json();
    assert!(dead[0]["error"].as_str().unwrap().contains("550 nobody here"), "{dead}");
    rules(&json!({}));
    assert_eq!(sent(&world, BETA), json!(0), "it is not due");
    world.pass("2m");
    assert_eq!(sent(&world, BETA), json!(1));
    world.run_on(BETA, "root", &["outbox", "retry"]).ok().says("1 message is due again");
    assert_eq!((sent(&world, BETA), times(&server)), (json!(1), vec![1, 1, 1]));

    // A host that joins has nothing of the past to send.
    world.run_on(ALPHA, "root", &["log", "join"]).ok();
    hosts(&world).configure(ALPHA, &smtp(server.port));
    assert_eq!((queued(&world, ALPHA), sent(&world, ALPHA), times(&server)), (0, json!(0), vec![1, 1, 1]));
}

#[test]
fn the_outbox_is_changed_for_all_hosts() {
    let Some((world, server)) = by_email() else { return };
    fs::write(world.folder().join("mail.rules"), json!({ "data": "554 no" }).to_string()).unwrap();
    world.request("bob", "target:orders-db", &[]);
    world.run_on(ALPHA, "root", &["deliver"]).exits(1);
    let dead = |host| world.run_on(host, "root", &["outbox", "--dead", "--json"]).ok().json();
    assert_eq!(dead(BETA).as_array().unwrap().len(), 3);
    // On the host that did not try: its own number for the same row.
    let id = dead(BETA)[0]["id"].to_string();
    let to = dead(BETA)[0]["to"].clone();
    world.run_on(BETA, "root", &["outbox", "discard", &id]).ok().says("Discarded 1 message");
    let left = dead(ALPHA);
    assert_eq!(left.as_array().unwrap().len(), 2);
    assert!(left.as_array().unwrap().iter().all(|row| row["to"] != to), "{left}");
    fs::remove_file(world.folder().join("mail.rules")).unwrap();
    world.run_on(BETA, "root", &["outbox", "retry"]).ok().says("2 messages are due again");
    assert_eq!((sent(&world, ALPHA), times(&server)), (json!(2), vec![1, 1]));
    assert_eq!(outbox(&world, BETA), Vec::<Value>::new());

    // While another host has the turn, nothing is changed.
    let mut database = hosts(&world).superuser();
    database.execute("UPDATE access.side SET value = '\"alpha\"', until = access.now() + interval '9 seconds' WHERE key = 'lease/delivery'", &[]).unwrap();
    world.run_on(BETA, "root", &["outbox", "retry"]).exits(75);
    world.pass("10s");
    world.run_on(BETA, "root", &["outbox", "retry"]).ok();
}

#[test]
fn a_subscriber_with_a_position_goes_on_where_the_other_host_was() {
    let Some((world, server)) = by_email() else { return };
    let web = Server::web(&world);
    let hook = crate::post::webhook(&world, "siem", &format!("http://127.0.0.1:{}/hook", web.port), "\"audit\"");
    on_both(|host| hosts(&world).configure(host, &[smtp(server.port), hook.clone()].concat()));
    for round in 0..4 {
        ask_in_vain(&world, round % 2);
        sent(&world, round % 2);
        assert_eq!(sent(&world, 1 - round % 2), json!(0));
    }
    let numbers: Vec<u64> = web.bodies("/hook").iter().map(|body| body["data"]["seq"].as_u64().unwrap()).collect();
    let last = numbers.iter().max().copied().unwrap();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "each entry once, in order");
}

#[test]
fn what_is_read_on_one_host_is_read_on_the_other() {
    let Some((world, _server)) = by_email() else { return };
    ask_in_vain(&world, ALPHA);
    ask_in_vain(&world, BETA);
    let unread = |host: usize| {
        world.run_on(host, "alice", &["follow", "--once"]).ok();
        world.run_on(host, "alice", &["inbox", "--json"]).ok().json().as_array().unwrap().clone()
    };
    let all = unread(ALPHA);
    assert!(all.len() >= 4, "{all:?}");
    assert_eq!(unread(BETA), all);
    let id = |at: usize| all[at]["id"].to_string();
    world.run_on(ALPHA, "alice", &["inbox", "--mark-read", &id(1)]).ok().says("1 marked as read");
    assert_eq!((unread(BETA).len(), unread(ALPHA).len()), (all.len() - 1, all.len() - 1));

    // Without the shared log, marks are kept here, and told to the others later.
    let config = hosts(&world).home(BETA).join(".config/access/config.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "[log]\nurl = \"postgresql://beta@127.0.0.1:1/none\"\n").unwrap();
    world.run_on(BETA, "alice", &["inbox", "--mark-read", &id(0)]).ok().says("1 marked as read");
    world.run_on(ALPHA, "alice", &["inbox", "--mark-read", &id(2)]).ok();
    fs::write(&config, good).unwrap();
    world.run_on(BETA, "alice", &["follow", "--once"]).ok();
    let times = |host: usize| -> Vec<Value> {
        let rows = world.run_on(host, "alice", &["inbox", "--all", "--json"]).ok().json();
        rows.as_array().unwrap().iter().map(|row| row["read_at"].clone()).collect()
    };
    assert_eq!((unread(ALPHA).len(), unread(BETA).len()), (all.len() - 3, all.len() - 3));
    assert_eq!(times(ALPHA), times(BETA));
    // Only the own inbox.
    world.run_on(ALPHA, "bob", &["inbox", "--mark-read", &id(3)]).exits(4);
    world.run_on(ALPHA, "alice", &["inbox", "--mark-read"]).ok();
    assert_eq!(unread(BETA), Vec::<Value>::new());
}

#[test]
fn expire_on_both_hosts_at_once_records_each_lapse_once() {
    let Some((world, server)) = by_email() else { return };
    for round in 0..3 {
        for target in ["target:orders-db", "target:billing-db"] {
            world.grant("bob", target, "alice", &["--duration", "30m"]);
        }
        world.pass("31m");
        let start = |host| {
            let mut run = world.command_on(host, "root", &["expire"]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for run in [start(ALPHA), start(BETA), start(ALPHA), start(BETA)] {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let expired = world.actions().into_iter().filter(|action| action == "grant.expired").count();
    assert_eq!(expired, 6);
    on_both(|host| drop(sent(&world, host)));
    let times = times(&server);
    assert!(times.iter().all(|times| *times == 1), "{times:?}");
}

#[test]
fn a_host_that_only_follows_does_not_keep_what_the_others_sent() {
    let Some((world, _server)) = by_email() else { return };
    for _ in 0..30 {
        ask_in_vain(&world, ALPHA);
        sent(&world, ALPHA);
        world.run_on(BETA, "root", &["follow", "--once"]).ok();
    }
    let rows = queued(&world, BETA);
    assert!(rows <= 110, "{rows}");
}

#[test]
fn what_the_hosts_tell_each_other_may_be_long() {
    let Some((world, _server)) = by_email() else { return };
    let beta = hosts(&world).home(BETA).join("access.db");
    // On both copies, as if the log had them.
    let notifications = "INSERT INTO notification (id, seq, member, kind)
         WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 3999)
         SELECT i, 2, 'bob', 'access.started' FROM n;";
    for path in [&world.db(), &beta] {
        rusqlite::Connection::open(path).unwrap().execute_batch(notifications).unwrap();
    }
    // Each with a reason of its own, and every other one without.
    world.rows(
        "INSERT INTO outbox (notification, seq, topic, subscriber, due_at, attempts, dead, error)
         SELECT id, seq, kind, 'email', 7, 6, 1, CASE id % 2 WHEN 0 THEN id || printf('%.*c', 150, 'x') END
         FROM notification WHERE id >= 1000",
    );
    let dead = |host| -> Vec<Value> {
        let rows = world.run_on(host, "root", &["outbox", "--dead", "--json"]).ok().json();
        let facts = |row: &Value| json!([row["to"], row["attempts"], row["error"]]);
        rows.as_array().unwrap().iter().map(facts).collect()
    };
    sent(&world, ALPHA);
    let all = dead(ALPHA);
    assert_eq!((all.len(), dead(BETA)), (3000, all.clone()));
    let parts: i64 = hosts(&world)
        .superuser()
        .query_one("SELECT count(*) FROM access.side WHERE starts_with(key, 'delivery/')", &[])
        .unwrap()
        .get(0);
    assert!(parts > 3, "{parts}");
    world.run_on(BETA, "root", &["outbox", "discard"]).ok().says("Discarded 3000 messages");
    assert_eq!(dead(ALPHA), Vec::<Value>::new());
}

#[test]
fn after_a_restore_of_the_database_what_it_says_counts_whatever_the_version() {
    let Some((world, server)) = by_email() else { return };
    let mut database = hosts(&world).superuser();
    fs::write(world.folder().join("mail.rules"), json!({ "data": "451 later" }).to_string()).unwrap();
    world.request("bob", "target:orders-db", &[]);
    world.run_on(BETA, "root", &["deliver"]).exits(1);
    // As beta has it, under the version that alpha knows.
    let value = database.query_one("SELECT value::text FROM access.side WHERE key = 'delivery'", &[]).unwrap();
    let value: String = value.get(0);
    fs::remove_file(world.folder().join("mail.rules")).unwrap();
    world.pass("2m");
    assert_eq!(sent(&world, ALPHA), json!(3));
    database.execute("UPDATE access.side SET value = $1::text::jsonb WHERE key = 'delivery'", &[&value]).unwrap();
    database.execute("SELECT access.raise_epoch()", &[]).unwrap();
    assert_eq!((sent(&world, ALPHA), times(&server)), (json!(3), vec![2, 2, 2]), "it is not lost, and has the same id");
}
