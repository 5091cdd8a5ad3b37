//! Programs that look again and again: what is busy for a moment does not end them, and what can't succeed does.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{TEAM, World};
use crate::post::{configure, fresh, smtp};
use crate::tmux::Terminal;

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
fn so_far(child: &mut Child) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let (mut from, to) = (child.stderr.take().unwrap(), Arc::clone(&said));
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
fn wait_goes_on_while_the_database_is_busy() {
    let world = World::sample();
    let args = ["request", "target:orders-db", "--reason", "x", "--wait"];
    let mut waiting = world.command("bob", &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = so_far(&mut waiting);
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
fn wait_says_at_its_time_limit_that_the_request_is_filed() {
    let world = World::sample();
    let args = ["request", "target:orders-db", "--reason", "x", "--wait", "--timeout", "10s"];
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
    assert!(begun.elapsed() < Duration::from_secs(20), "it ends");
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
fn a_countdown_goes_on_while_the_database_is_busy() {
    let world = World::sample();
    let terminal = Terminal::access(&world, "bob", &["whoami", "--watch"]);
    terminal.shows("(Ctrl-C ends)");
    let locked = Locked::all_readers_of(&world);
    // Longer than a command waits for SQLite.
    std::thread::sleep(Duration::from_secs(14));
    drop(locked);
    world.grant("bob", "target:orders-db", "alice", &[]);
    let screen = terminal.shows("target:orders-db");
    assert!(!screen.contains("[exit"), "{screen}");
    terminal.interrupt();
}
