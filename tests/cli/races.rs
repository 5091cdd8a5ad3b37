//! Many real processes at once on one database: one wins, nothing is lost, nothing happens twice, and no reader fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::harness::{ACCESS, World};
use crate::histories;

/// olivia owns; ada0 … ada31 are admins; bob0 … bob15 are members; account0 … account9 can be asked for.
fn crowd() -> World {
    let mut team = String::from("[team]\nname = \"crowd\"\n[members.olivia]\nrole = \"owner\"\n");
    for (role, name, count) in [("admin", "ada", 32), ("member", "bob", 16)] {
        for index in 0..count {
            writeln!(team, "[members.{name}{index}]\nrole = \"{role}\"").unwrap();
        }
    }
    for index in 0..10 {
        writeln!(team, "[connections.account{index}]\nenvironment = \"production\"").unwrap();
    }
    World::of("olivia", &team)
}

/// Runs them all at once: the database is held until the last has been started, so that they meet at its door.
fn at_once(world: &World, commands: Vec<Command>) -> Vec<Output> {
    let holder = Connection::open(world.db()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running: Vec<_> = commands.into_iter().map(start).collect();
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    running.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

/// Tells the others to stop, also when the work has failed.
struct Done<'b>(&'b AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Keeps looking, from other processes, for as long as the work goes on. No look may fail, nor warn.
fn while_others_look<T>(world: &World, work: impl FnOnce() -> T) -> T {
    let looks = [
        world.command("bob0", &["check", "connection:account0"]),
        world.command("olivia", &["list", "--all", "--json"]),
    ];
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done_at_last = Done(done);
        for mut look in looks {
            scope.spawn(move || {
                loop {
                    let ran = look.output().unwrap();
                    // For `check`, 1 is an answer.
                    assert!(ran.status.code().unwrap() <= 1 && ran.stderr.is_empty(), "{look:?}: {ran:?}");
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let result = work();
        drop(done_at_last);
        result
    })
}

/// How many ended with which code.
fn codes(outputs: &[Output]) -> BTreeMap<i32, usize> {
    let mut codes = BTreeMap::new();
    for output in outputs {
        *codes.entry(output.status.code().expect("no signal ended it")).or_default() += 1;
    }
    codes
}

/// The numbers of the log's entries have no gaps.
fn assert_gapless(world: &World) {
    let log = world.json("olivia", &["audit"]);
    let numbers: Vec<u64> = log.as_array().unwrap().iter().rev().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn of_32_who_decide_at_once_exactly_one_does() {
    let world = crowd();
    let id = world.request("bob0", "connection:account0", &[]);
    let verdicts = ["approve", "deny"].into_iter().cycle();
    let deciding = (0..32).zip(verdicts).map(|(index, verdict)| world.command(&format!("ada{index}"), &[verdict, &id]));
    let commands = deciding.collect();
    let outputs = while_others_look(&world, || at_once(&world, commands));
    assert_eq!(codes(&outputs), BTreeMap::from([(0, 1), (5, 31)]));

    let log = world.actions();
    let decided = |action: &&String| ["request.approved", "request.denied"].contains(&action.as_str());
    let decisions: Vec<&String> = log.iter().filter(decided).collect();
    assert_eq!(decisions.len(), 1, "{log:?}");
    let shown = world.json("olivia", &["show", &id]);
    assert_eq!(shown["decisions"].as_array().unwrap().len(), 1);
    let state = if decisions == ["request.approved"] { "active" } else { "denied" };
    assert_eq!(shown["state"], state);
    assert_eq!(world.may("bob0", "connection:account0"), state == "active");
    let told = world.unread("bob0");
    assert_eq!(told.len(), 1, "the requester is told once: {told:?}");
    assert_gapless(&world);
}

#[test]
fn of_32_who_file_the_same_request_at_once_exactly_one_does() {
    let world = crowd();
    let ask = ["request", "connection:account0", "--reason", "all at once"];
    let commands = (0..32).map(|_| world.command("bob0", &ask)).collect();
    let outputs = while_others_look(&world, || at_once(&world, commands));
    assert_eq!(codes(&outputs), BTreeMap::from([(0, 1), (5, 31)]));
    assert_eq!(world.json("olivia", &["list", "--all"]).as_array().unwrap().len(), 1);
    assert_eq!(world.unread("ada0"), ["team.changed", "request.submitted"]);
    assert_gapless(&world);
}

#[test]
fn runs_of_expire_at_once_say_each_thing_once() {
    let world = crowd();
    let rounds = 25;
    for round in 0..rounds {
        for member in ["bob0", "bob1"] {
            let id = world.request(member, "connection:account0", &["--duration", "1h"]);
            world.run("olivia", &["approve", &id]).ok();
        }
        // A quarter of the hour is left; and then it is over.
        for (wait, expired, expiring) in [("45m", 0, 2), ("15m", 2, 0)] {
            world.pass(wait);
            let commands = (0..2).map(|_| world.command("root", &["expire", "--json"])).collect();
            let outputs = while_others_look(&world, || at_once(&world, commands));
            assert_eq!(codes(&outputs), BTreeMap::from([(0, 2)]), "{outputs:?}");
            let said = |key: &str| -> u64 {
                let count = |output: &Output| {
                    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[key].as_u64()
                };
                outputs.iter().map(|output| count(output).unwrap()).sum()
            };
            assert_eq!((said("expired"), said("expiring")), (expired, expiring), "round {round}");
        }
    }
    for member in ["bob0", "bob1"] {
        let inbox = world.json(member, &["inbox"]);
        let mut told: BTreeMap<(String, u64), u32> = BTreeMap::new();
        for notification in inbox.as_array().unwrap() {
            let event = notification["event"].as_str().unwrap().to_owned();
            *told.entry((event, notification["request"].as_u64().unwrap())).or_default() += 1;
        }
        assert!(told.values().all(|times| *times == 1), "{member}: {told:?}");
        for event in ["access.expiring", "access.expired"] {
            assert_eq!(told.keys().filter(|(told, _)| told == event).count(), rounds, "{member}: {event}");
        }
    }
    assert_gapless(&world);
}

#[test]
fn of_16_who_write_at_once_nobody_is_turned_away() {
    let world = crowd();
    let asking = |index: usize, account: usize| {
        let resource = format!("connection:account{account}");
        world.command(&format!("bob{index}"), &["request", &resource, "--reason", "busy day", "--json"])
    };
    let writers: Vec<Vec<Command>> =
        (0..16).map(|index| (0..10).map(|account| asking(index, account)).collect()).collect();
    let outputs: Vec<Output> = while_others_look(&world, || {
        std::thread::scope(|scope| {
            let write = |commands: Vec<Command>| {
                scope.spawn(|| commands.into_iter().map(|mut one| one.output().unwrap()).collect::<Vec<_>>())
            };
            let running: Vec<_> = writers.into_iter().map(write).collect();
            running.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        })
    });
    assert_eq!(codes(&outputs), BTreeMap::from([(0, 160)]), "{outputs:?}");
    let id = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["id"].as_u64();
    let ids: BTreeSet<u64> = outputs.iter().map(|output| id(output).unwrap()).collect();
    assert_eq!(ids, (1..=160).collect());
    assert_gapless(&world);
}

#[test]
fn of_32_processes_at_random_commands_each_sees_what_is_true() {
    let world = World::empty();
    // The time is the real one, so that grants end while others ask.
    let program: Arc<histories::Program> = Arc::new({
        let (folder, db) = (world.folder().to_owned(), world.db());
        move |login: &str, args: &[&str]| {
            let mut command = Command::new(ACCESS);
            command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command.env("HOME", &folder).env("TZ", "UTC").env("ACCESS_DB", &db).env("ACCESS_TEST_USER", login);
            let output = command.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (output.status.code().expect("no signal ended it"), text(output.stdout), text(output.stderr))
        }
    });
    world.run("ana", &["init"]).ok();
    world.apply("ana", &histories::team()).ok();
    histories::hold(&program);
}
