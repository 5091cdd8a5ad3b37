//! A shared host, where the server's process or the client is killed at any of its system calls: what was asked is carried out or it
//! is not, and asking again is all that is left to do. `ACCESS_TEST_FULL=1` tries every call, otherwise a part of them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{ACCESS, DATABASE, Host, Ran, SOCKET, TEAM, access, as_user, home, listening, root, within};
use crate::random::{Random, is_full};
use crate::rows::{recorded, rows};
use crate::strace::{CALLS, counts, injected};

/// How many calls of each side and command are tried, unless all are.
const PART: usize = 2;
const BEFORE: &str = "/srv/before";
const EMERGENCY: &str =
    "\n[[rules]]\nname = \"outage\"\nmatch = { resources = [\"connection:prod\"] }\nemergency = true\n";

/// What is asked, by whom, of a host on which bob has orders-db by request 1, waits for `prod` by request 2, and carol, whose name
/// is mallory, has an emergency's access by request 3.
const ASKED: [(&str, &str); 13] = [
    ("carol", "request target:orders-db --reason x --duration 2h"),
    ("bob", "extend 1 --reason more"),
    ("bob", "edit 2 --reason other"),
    ("bob", "withdraw 2"),
    ("alice", "approve 2"),
    ("alice", "deny 2 --reason no"),
    ("alice", "revoke 1 --reason over"),
    ("ana", "review 3 --note seen"),
    ("alice", "inbox --mark-read"),
    ("bob", "notify mute"),
    ("bob", "approve 2"),
    ("ana", "team apply /home/ana/next.toml --yes"),
    ("alice", "recertify start --resource target:orders-db --due 1d"),
];

const TRACE: &str = "/srv/trace";

/// A socket whose next connection is served under strace with these options.
struct Door {
    options: Arc<Mutex<Option<Vec<String>>>>,
    serving: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Door {
    fn open() -> Door {
        let door = Door { options: Arc::default(), serving: Arc::default(), ended: Arc::default() };
        let (options, serving, ended) = (door.options.clone(), door.serving.clone(), door.ended.clone());
        let listener = listening();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                serving.fetch_add(1, Ordering::SeqCst);
                let mut command = server(options.lock().unwrap().take());
                command.stdin(OwnedFd::from(stream.unwrap())).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = command.spawn().unwrap();
                // Only the child holds the connection now.
                drop(command);
                let serving = serving.clone();
                std::thread::spawn(move || {
                    child.wait().unwrap();
                    serving.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        door
    }

    /// Waits until nobody is served.
    fn settle(&self) {
        // Connections are accepted in their order, so those before this one have been.
        access("ana", &["whoami"]).ok();
        self.wait();
    }

    fn wait(&self) {
        within(Duration::from_secs(60), || self.serving.load(Ordering::SeqCst) == 0, "the server's processes end");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(SOCKET);
    }
}

/// Serves one connection as the system user, under strace if there are options for it.
fn server(options: Option<Vec<String>>) -> Command {
    let user = crate::host::user("access");
    let mut command = match options {
        Some(options) => {
            let mut strace = Command::new("/usr/bin/strace");
            strace.args(["-f", "-q", "-u", "access", "-o", TRACE]).args(options).args(["--", ACCESS]);
            strace
        }
        None => {
            let mut command = Command::new(ACCESS);
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command
        }
    };
    command.args(["serve", "--connection"]).env_clear();
    command
}

/// A host with requests in every state, and a copy of its database as it is before each command.
fn prepared() -> Option<(Host, Door)> {
    let mut host = Host::new()?;
    host.apply("ana", &format!("{TEAM}{EMERGENCY}")).ok();
    let first = host.request("bob", "target:orders-db");
    access("alice", &["approve", &first]).ok();
    host.request("bob", "connection:prod");
    let emergency = ["request", "connection:prod", "--reason", "down", "--emergency"];
    access("carol", &emergency).ok();
    fs::write(home("ana").join("next.toml"), TEAM).unwrap();
    host.stop_serving();
    root("cp", &["-a", "/var/lib/access", BEFORE]).ok();
    Some((host, Door::open()))
}

fn restore() {
    root("find", &["/var/lib/access", "-mindepth", "1", "-delete"]).ok();
    root("cp", &["-a", &format!("{BEFORE}/."), "/var/lib/access/"]).ok();
}

/// What the database has recorded, read from a copy.
fn state(door: &Door) -> String {
    // A client has its answer before the server's process has closed the database.
    door.wait();
    let _ = fs::remove_dir_all("/srv/after");
    root("cp", &["-a", "/var/lib/access", "/srv/after"]).ok();
    let rows = rows("/srv/after/access.db".as_ref());
    let unread = rows.lines().filter(|line| line.starts_with("notification: ") && line.ends_with("|NULL")).count();
    // The clock is the real one.
    let without_time = |line: &str| match line.split_once('|') {
        Some((_, rest)) => rest.to_owned(),
        None => line.to_owned(),
    };
    // Half a call, of a client that was killed as it sent it, is an attempt of the Unix user.
    let is_half = |line: &String| line.starts_with("NULL|") && line.contains("attempt.refused");
    let mut lines: Vec<String> = recorded(&rows).lines().map(without_time).filter(|line| !is_half(line)).collect();
    lines.sort();
    format!("{unread} unread\n{}", lines.join("\n"))
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// What happens at a call.
fn killing(call: &str, nth: usize) -> Vec<String> {
    ["-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=KILL:when={nth}")].map(str::to_owned).to_vec()
}

fn points(counts: std::collections::BTreeMap<&'static str, usize>, name: &str) -> Vec<(&'static str, usize)> {
    let mut points: Vec<_> =
        counts.into_iter().flat_map(|(call, count)| (1..=count).map(move |nth| (call, nth))).collect();
    let mut random = Random::of(name);
    while !is_full() && points.len() > PART {
        points.swap_remove(random.below(points.len()));
    }
    points
}

/// After a command was cut short: everything or nothing, and once more leads to everything.
fn holds(door: &Door, point: &str, (login, line): (&str, &str), ran: &Ran, (before, after, exits): (&str, &str, i32)) {
    access("ana", &["audit", "verify"]).ok();
    let found = state(door);
    assert!(found == before || found == after, "{point}: {ran:?}\n{found}\nbefore:\n{before}\nafter:\n{after}");
    match ran.code {
        Some(0) => assert_eq!(found, after, "{point}: {ran:?}"),
        Some(74) if found == after => assert!(ran.err.contains("the outcome is unknown"), "{point}: {ran:?}"),
        Some(74 | 69) | None => {}
        code => assert!(code == Some(exits), "{point}: {ran:?}"),
    }
    let again = access(login, &words(line));
    let done = again.code == Some(5) && found == after;
    assert!(again.code == Some(exits) || done, "{point}, again: {again:?}");
    let repeats = line.starts_with("recertify start") || exits != 0;
    if found == before || !repeats {
        assert_eq!(state(door), after, "{point}, again: {again:?}");
    }
    access("ana", &["audit", "verify"]).ok();
}

/// Under strace, as this user. The trace is in the home of the user.
fn client(login: &str, line: &str, options: &[String]) -> (Ran, String) {
    let trace = home(login).join("trace");
    let mut args = vec!["-f", "-q", "-o", trace.to_str().unwrap()];
    args.extend(options.iter().map(String::as_str));
    args.extend(["--", ACCESS]);
    args.extend(words(line));
    let ran = crate::host::run(&mut as_user(login, "/usr/bin/strace", &args), format!("{login}$ access {line}"));
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(trace).unwrap();
    (ran, text)
}

#[test]
fn a_server_or_a_client_killed_at_any_call_leaves_nothing_half_done() {
    let Some((_host, door)) = prepared() else { return };
    let all = vec!["-e".to_owned(), format!("trace={}", CALLS.join(","))];
    let (mut all_of_server, mut all_of_client) = (0, 0);
    for asked in ASKED {
        let (mut of_server, mut of_client) = (0, 0);
        let (login, line) = asked;
        door.wait();
        restore();
        let before = state(&door);
        *door.options.lock().unwrap() = Some(all.clone());
        let (ran, trace) = client(login, line, &all);
        door.settle();
        let (exits, after) = (ran.code.unwrap(), state(&door));
        assert!(before != after && [0, 3].contains(&exits), "{ran:?}");
        let reference = (before.as_str(), after.as_str(), exits);
        for (call, nth) in points(counts(&fs::read_to_string(TRACE).unwrap()), line) {
            door.wait();
            restore();
            *door.options.lock().unwrap() = Some(killing(call, nth));
            let ran = access(login, &words(line));
            door.settle();
            of_server += usize::from(injected(&fs::read_to_string(TRACE).unwrap()).is_some());
            holds(&door, &format!("{line}: the server is killed at {call} {nth}"), asked, &ran, reference);
        }
        for (call, nth) in points(counts(&trace), line) {
            door.wait();
            restore();
            let (ran, trace) = client(login, line, &killing(call, nth));
            door.settle();
            of_client += usize::from(injected(&trace).is_some());
            holds(&door, &format!("{line}: the client is killed at {call} {nth}"), asked, &ran, reference);
        }
        eprintln!("kills: {line}: {of_server} of the server, {of_client} of the client");
        (all_of_server, all_of_client) = (all_of_server + of_server, all_of_client + of_client);
    }
    eprintln!("kills: {all_of_server} of the server, {all_of_client} of the client");
    assert!(all_of_server > 0 && all_of_client > 0);
}

/// Root's own commands: the setup of a host, and another owner.
#[test]
fn a_setup_killed_at_any_call_is_completed_by_another_run() {
    let Some(_host) = Host::bare() else { return };
    let init = "init --shared --owner ana --team acme";
    let fresh = || {
        for folder in ["/etc/access", "/var/lib/access"] {
            let _ = fs::remove_dir_all(folder);
        }
    };
    let under = |options: &[String]| {
        let mut args = vec!["-f", "-q", "-o", TRACE];
        args.extend(options.iter().map(String::as_str));
        args.extend(["--", ACCESS]);
        args.extend(words(init));
        let ran = root("/usr/bin/strace", &args);
        (ran, fs::read_to_string(TRACE).unwrap())
    };
    // The system user is there from the first run on.
    root(ACCESS, &words(init)).ok();
    fresh();
    let (ran, trace) = under(&["-e".to_owned(), format!("trace={}", CALLS.join(","))]);
    ran.ok();
    let mut killed = 0;
    let mut points = points(counts(&trace), init);
    assert!(!points.is_empty(), "{trace}");
    // The config's own calls, among the many of the database.
    points.extend([("write", 1), ("linkat", 1), ("fsync", 1), ("fsync", 2), ("fsync", 3)]);
    for (call, nth) in points {
        fresh();
        let (ran, trace) = under(&killing(call, nth));
        killed += usize::from(injected(&trace).is_some());
        let again = root(ACCESS, &words(init));
        assert!([Some(0), Some(5)].contains(&again.code), "{call} {nth}: {ran:?}\n{again:?}");
        let text = fs::read_to_string(crate::host::CONFIG).unwrap();
        assert!(text.contains(SOCKET) && text.contains(DATABASE), "{call} {nth}: {text}");
        let found = root(ACCESS, &["--db", DATABASE, "backup", "/srv/copy.db"]).ok();
        fs::remove_file("/srv/copy.db").unwrap();
        drop(found);
    }
    eprintln!("kills: {killed} of a setup");
    assert!(killed > 0);
}
