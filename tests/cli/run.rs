//! `access run`: a command that runs for as long as access does.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::World;

const RESOURCE: &str = "target:orders-db";

fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Exit code, standard output and standard error.
fn ended(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_asks_waits_runs_and_gives_back() {
    let world = World::sample();
    let line = ["run", "orders-db", "-r", "OPS-1", "--give-back", "--", "sh", "-c", "echo ran; exit 7"];
    let running = piped(world.command("bob", &line));
    until("it is filed", || world.rows("SELECT count(*) FROM request") == ["1"]);
    world.run("alice", &["approve", "1"]).ok();
    let (code, out, err) = ended(running);
    assert_eq!((code, out.as_str()), (7, "ran\n"), "only the command writes to standard output: {err}");
    assert!(err.contains("Request 1 was given back"), "{err}");
    assert_eq!(world.state("1"), "revoked");
}

#[test]
fn access_that_you_have_is_used_and_kept() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    world.run("bob", &["run", RESOURCE, "--give-back", "--", "true"]).ok();
    assert_eq!(world.state("1"), "active", "it was there before");
    assert_eq!(world.rows("SELECT count(*) FROM request"), ["1"]);
    // Nothing of the line is for access after `--`.
    assert_eq!(world.run("bob", &["run", RESOURCE, "--", "echo", "--json", "-q"]).ok().out, "--json -q\n");
}

#[test]
fn the_exit_code_is_the_commands() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    for (command, code) in [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)] {
        world.run("bob", &["run", RESOURCE, "--", "sh", "-c", command]).exits(code);
    }
    world.run("bob", &["run", RESOURCE, "--", "/nonexistent"]).fails(127, "/nonexistent");
    let file = world.folder().join("not-a-program");
    std::fs::write(&file, "x").unwrap();
    world.run("bob", &["run", RESOURCE, "--", file.to_str().unwrap()]).fails(126, "not-a-program");
}

#[test]
fn the_command_gets_every_signal() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    let blocked = |out: &str| out.lines().find(|line| line.starts_with("SigBlk")).map(str::to_owned);
    let by_itself = Command::new("cat").arg("/proc/self/status").output().unwrap();
    let under_access = world.run("bob", &["run", RESOURCE, "--", "cat", "/proc/self/status"]).ok();
    assert_eq!(blocked(&under_access.out), blocked(&String::from_utf8(by_itself.stdout).unwrap()));
}

#[test]
fn without_access_the_command_never_runs() {
    let world = World::sample();
    let touched = world.folder().join("ran");
    let line = ["run", RESOURCE, "-r", "x", "--", "touch", touched.to_str().unwrap()];
    let denied = piped(world.command("bob", &line));
    until("it is filed", || world.rows("SELECT count(*) FROM request") == ["1"]);
    world.run("alice", &["deny", "1"]).ok();
    let (code, out, err) = ended(denied);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("request 1 is denied; the command was not run"), "{err}");
    let waited = ["run", RESOURCE, "-r", "x", "--timeout", "1s", "--", "touch", touched.to_str().unwrap()];
    // The second time the pending request is used, not filed again.
    for _ in 0..2 {
        assert!(world.run("bob", &waited).exits(1).err.contains("error: request 2 is pending"));
    }
    world.run("bob", &["run", "target:nonsense", "-r", "x", "--", "touch", touched.to_str().unwrap()]).exits(4);
    world.run("bob", &["run", "role:admin", "--", "touch", touched.to_str().unwrap()]).fails(2, "--reason");
    assert!(!touched.exists());
}

#[test]
fn a_revoke_ends_the_command() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    let pid = world.folder().join("pid");
    // It takes SIGTERM as a reason to clean up.
    let script = format!("trap 'echo cleaned; exit 0' TERM; echo $$ > {}; while :; do sleep 0.05; done", pid.display());
    let running = piped(world.command("bob", &["run", RESOURCE, "--", "sh", "-c", &script]));
    until("it runs", || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    world.run("alice", &["revoke", "1"]).ok();
    let (code, out, err) = ended(running);
    assert_eq!((code, out.as_str()), (1, "cleaned\n"), "{err}");
    assert!(err.contains("your access to target:orders-db has ended"), "{err}");
}

/// By the real clock, which moves while the command runs.
#[test]
fn the_end_ends_the_command_after_a_warning_and_an_extension_does_not() {
    let world = World::sample();
    let real = |login: &str, args: &[&str]| {
        let mut command = world.command(login, args);
        command.env_remove("ACCESS_TEST_NOW");
        command
    };
    let ok = |login: &str, args: &[&str]| assert!(real(login, args).output().unwrap().status.success(), "{args:?}");
    ok("bob", &["request", RESOURCE, "-r", "x", "-d", "6s"]);
    ok("alice", &["approve", "1"]);
    let begun = Instant::now();
    let running = piped(real("bob", &["run", RESOURCE, "--", "sleep", "60"]));
    ok("bob", &["extend", "1", "-r", "more", "-d", "4s"]);
    ok("alice", &["approve", "2"]);
    let (code, _, err) = ended(running);
    assert_eq!(code, 1, "{err}");
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(30), "10 s and not 6: {took:?} {err}");
    assert!(err.contains("ends in") && err.contains("access extend 1"), "{err}");
}

/// One that comes while the command starts does not leave it behind, running after the end of access.
#[test]
fn a_signal_while_the_command_starts_ends_it_too() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    for _ in 0..10 {
        let running = piped(world.command("bob", &["run", RESOURCE, "--", "sleep", "60"]));
        let id = running.id();
        let children = || std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let mut found = children();
        while found.is_empty() {
            found = children();
        }
        kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(ended(running).0, 128 + 15);
        assert!(kill(Pid::from_raw(found.trim().parse().unwrap()), None).is_err(), "the command goes on");
    }
}

#[test]
fn signals_reach_the_command() {
    let world = World::sample();
    world.grant("bob", RESOURCE, "alice", &[]);
    let pid = world.folder().join("pid");
    let script = format!("trap 'exit 9' TERM; echo $$ > {}; while :; do sleep 0.05; done", pid.display());
    let running = piped(world.command("bob", &["run", RESOURCE, "--", "sh", "-c", &script]));
    until("it runs", || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(ended(running).0, 9);
}
