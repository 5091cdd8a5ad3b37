//! A machine for each test, with five people on it and a database that they share.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, geteuid};
use serde_json::Value;
use tempfile::TempDir;

pub const ACCESS: &str = "/usr/bin/access";
pub const SOCKET: &str = "/run/access/access.sock";
pub const CONFIG: &str = "/etc/access/config.toml";
pub const DATABASE: &str = "/var/lib/access/access.db";
/// The owner, an admin, two engineers, and somebody who is no member.
pub const PEOPLE: [&str; 5] = ["ana", "alice", "bob", "carol", "mallory"];

pub const TEAM: &str = r#"
[team]
name = "acme"

[members.ana]
role = "owner"

[members.alice]
role = "admin"

[members.bob]
role = "member"

# Her name is not her login; and somebody else's login is.
[members.mallory]
role = "member"
login = "carol"

[connections.prod]
environment = "production"

[targets.orders-db]
connections = ["prod"]

[features.export]
role = "owner"
"#;

/// How the server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// `access serve`, as root.
    Listener,
    /// As systemd does with `Accept=no`: `access serve` with the socket on descriptor 0, as the system user.
    Given,
    /// As systemd does with `Accept=yes`: each connection on descriptor 0 of a process of its own.
    Handed,
}

pub struct Host {
    pub scratch: TempDir,
    server: Option<Server>,
    /// Held until the end: a test that measures time has the real machine to itself.
    _turn: Turn,
}

static TURNS: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "held, not looked at")]
enum Turn {
    Together(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

enum Server {
    Listener(Child),
    Handed(Arc<AtomicBool>),
}

/// What a run of a program gave.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Says why a test is passed over.
fn unable() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("skipped: this test needs root");
    }
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return Some("skipped: this test needs mounts of its own (CAP_SYS_ADMIN)");
    }
    None
}

/// A layer over a folder: what is written there is seen by this thread and its children alone.
fn cover(folder: &str, scratch: &Path) {
    let name = folder.trim_matches('/').replace('/', "-");
    let (upper, work) = (scratch.join(format!("{name}.upper")), scratch.join(format!("{name}.work")));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    let options = format!("lowerdir={folder},upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), folder, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
}

fn empty(folder: &str, options: &str) {
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

/// Users of one test are not those of another, which may run beside it: limits and signals go by number.
fn first_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    100_000 + (std::process::id() % 40_000) * 1000 + NEXT.fetch_add(1, Ordering::Relaxed) * 10
}

impl Host {
    /// The people, and nothing else yet. None: this machine can't do that, and the reason was printed.
    pub fn bare() -> Option<Host> {
        Host::with(Turn::Together(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(turn: Turn) -> Option<Host> {
        if let Some(why) = unable() {
            eprintln!("{why}");
            return None;
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        empty(scratch.path().to_str().unwrap(), "mode=0755");
        cover("/etc", scratch.path());
        cover("/usr", scratch.path());
        empty("/var/lib", "mode=0755");
        empty("/run", "mode=0755");
        empty("/home", "mode=0755");
        empty("/srv", "mode=0755");
        assert!(!Path::new("/etc/access").exists(), "this machine has an access of its own");
        fs::write(ACCESS, "").unwrap();
        let built = env!("CARGO_BIN_EXE_access");
        mount(Some(built), ACCESS, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        // It is the one that was built: nothing here may change it.
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, ACCESS, None::<&str>, read_only, None::<&str>).unwrap();
        fs::write("/etc/default/useradd", "CREATE_MAIL_SPOOL=no\n").unwrap();
        let first = first_uid();
        for (login, uid) in PEOPLE.into_iter().zip(first..) {
            let uid = uid.to_string();
            let made = ["--create-home", "--shell", "/bin/sh", "--uid", &uid, login];
            root("useradd", &made).ok();
        }
        Some(Host { scratch, server: None, _turn: turn })
    }

    /// Laid out and its team applied; served so.
    pub fn started(start: Start) -> Option<Host> {
        Host::bare()?.set_up(start)
    }

    /// The same, while no other test runs.
    pub fn alone(start: Start) -> Option<Host> {
        Host::with(Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)))?.set_up(start)
    }

    fn set_up(mut self, start: Start) -> Option<Host> {
        let host = &mut self;
        root(ACCESS, &["init", "--shared", "--owner", "ana", "--team", "acme"]).ok();
        host.serve(start);
        host.apply("ana", TEAM).ok();
        Some(self)
    }

    pub fn new() -> Option<Host> {
        Host::started(Start::Listener)
    }

    pub fn serve(&mut self, start: Start) {
        self.server = Some(match start {
            Start::Listener => listener(),
            Start::Given => given(),
            Start::Handed => handed(),
        });
        let there = || fs::metadata(SOCKET).is_ok_and(|found| found.mode() & 0o777 == 0o666);
        within(Duration::from_secs(10), there, "the server is there");
    }

    pub fn stop_serving(&mut self) {
        self.server = None;
    }

    /// The listener's process, where there is one.
    pub fn server_pid(&self) -> Option<u32> {
        match &self.server {
            Some(Server::Listener(child)) => Some(child.id()),
            Some(Server::Handed(_)) | None => None,
        }
    }

    pub fn apply(&self, login: &str, team: &str) -> Ran {
        let path = home(login).join("team.toml");
        fs::write(&path, team).unwrap();
        access(login, &["team", "apply", path.to_str().unwrap(), "--yes"])
    }

    /// Asks for something; gives the request's number.
    pub fn request(&self, login: &str, resource: &str) -> String {
        let asked = access(login, &["request", resource, "--reason", "testing", "--json"]).ok();
        asked.json()["id"].to_string()
    }

    /// The owner alone changes something.
    pub fn request_of_own(&self) {
        self.apply("ana", TEAM).ok();
    }

    /// A hash of all that is recorded: it stays the same while nothing is.
    pub fn head(&self) -> String {
        access("ana", &["audit", "checkpoint"]).ok().json()["head"].to_string()
    }

    /// The refused attempts of this Unix user, by what was said of them, the newest first.
    pub fn refused(&self, os_user: &str) -> Vec<String> {
        let log = access("ana", &["audit", "--json", "--action", "attempt.refused"]).ok().json();
        let of_user = log.as_array().unwrap().iter().filter(|entry| entry["os_user"] == os_user).cloned();
        of_user.map(|entry| entry["detail"]["why"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.server = None;
        // The mounts go with the thread; the folder under them has to be free first.
        let _ = nix::mount::umount2(self.scratch.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self {
            Server::Listener(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Server::Handed(ended) => {
                ended.store(true, Ordering::SeqCst);
                let _ = std::os::unix::net::UnixStream::connect(SOCKET);
            }
        }
    }
}

fn listener() -> Server {
    let _ = fs::remove_file(SOCKET);
    let mut command = Command::new(ACCESS);
    // Started by root, from surroundings that it should not take over.
    command.arg("serve").env("LD_LIBRARY_PATH", "/nowhere").env("ACCESS_DB", "/nowhere.db").env("SQLITE_TMPDIR", "/");
    Server::Listener(command.stdin(Stdio::null()).spawn().unwrap())
}

/// A socket as systemd makes it.
pub fn listening() -> UnixListener {
    let _ = fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).unwrap();
    fs::set_permissions(SOCKET, Permissions::from_mode(0o666)).unwrap();
    assert!(fs::metadata(SOCKET).unwrap().file_type().is_socket());
    listener
}

/// Does what systemd does for `access-serve.socket` and `access-serve.service`.
fn given() -> Server {
    let user = User::from_name("access").unwrap().unwrap();
    let mut command = Command::new(ACCESS);
    command.arg("serve").uid(user.uid.as_raw()).gid(user.gid.as_raw()).env_clear();
    command.env("INVOCATION_ID", "0123456789abcdef").stdin(OwnedFd::from(listening()));
    Server::Listener(command.spawn().unwrap())
}

/// Does what systemd does for `access.socket` and `access@.service`.
fn handed() -> Server {
    let listener = listening();
    let user = User::from_name("access").unwrap().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if told.load(Ordering::SeqCst) {
                return;
            }
            let mut command = Command::new(ACCESS);
            command.args(["serve", "--connection"]).uid(user.uid.as_raw()).gid(user.gid.as_raw()).env_clear();
            command.env("INVOCATION_ID", "0123456789abcdef").env("REMOTE_ADDR", "x");
            command.stdin(OwnedFd::from(stream.unwrap())).stdout(Stdio::null()).stderr(Stdio::inherit());
            let mut child = command.spawn().unwrap();
            // Only the child holds the connection now.
            drop(command);
            std::thread::spawn(move || child.wait());
        }
    });
    Server::Handed(ended)
}

#[track_caller]
pub fn within(most: Duration, mut what: impl FnMut() -> bool, says: &str) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < most, "not within {most:?}: {says}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn home(login: &str) -> PathBuf {
    Path::new("/home").join(login)
}

pub fn user(login: &str) -> User {
    User::from_name(login).unwrap().unwrap()
}

/// A program, ready to run as this user.
pub fn as_user(login: &str, program: &str, args: &[&str]) -> Command {
    let user = user(login);
    let mut command = Command::new(program);
    command.args(args).uid(user.uid.as_raw()).gid(user.gid.as_raw()).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", &user.dir).env("USER", login);
    command.env("TZ", "UTC").current_dir("/").stdin(Stdio::null());
    command
}

/// No program of a test takes longer. One that does is ended, and what was running then is printed.
const LONGEST: Duration = Duration::from_secs(90);

pub fn run(command: &mut Command, line: String) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let group = Pid::from_raw(child.id().cast_signed());
    let (ended, over) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("ps").args(["axo", "pid,ppid,pgid,user,stat,wchan:30,etime,args"]).status();
            let _ = killpg(group, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watch.join().unwrap();
    ran(output, line)
}

pub fn ran(output: Output, line: String) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { line, code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub fn access(login: &str, args: &[&str]) -> Ran {
    run(&mut as_user(login, ACCESS, args), format!("{login}$ access {}", args.join(" ")))
}

/// A line of the shell, as this user.
pub fn shell(login: &str, line: &str) -> Ran {
    run(&mut as_user(login, "/bin/sh", &["-c", line]), format!("{login}$ {line}"))
}

/// A program of Python, as this user.
pub fn python(login: &str, program: &str) -> Ran {
    let program = format!("{PRELUDE}{program}");
    run(&mut as_user(login, "/usr/bin/python3", &["-I", "-c", &program]), format!("{login}$ python {program}"))
}

/// Programs of Python that wait, and hide: one has a name that is no text, and the first thread of the other ends, so that it looks
/// like a process that has ended. Each makes the file of its name when it has done so.
pub const HIDING: [(&str, &str); 2] = [
    (
        "named",
        "import os, time; open('/proc/self/comm', 'wb').write(b'\\xff) Z 1'); \
               open('named', 'w').write(str(os.getpid())); time.sleep(300)",
    ),
    (
        "headless",
        "import ctypes, os, threading, time; threading.Thread(target=time.sleep, args=(300,)).start(); \
                  open('headless', 'w').write(str(os.getpid())); ctypes.CDLL(None).pthread_exit(None)",
    ),
];

/// A process that starts another and ends, as fast as it can, forty thousand times. Then the last one waits. The file `lock` is locked
/// until none is left. Above them is a process that has nothing to do with the access, so that the system's first process does not
/// have to ask for each exit status.
const HOPPER: &str = r#"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    setsid();
    for (int each = 0; each < 1024; each++) close(each);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1)) return 1;
    if (fork()) for (;;) pause();
    if (flock(open("lock", O_CREAT | O_RDWR, 0600), LOCK_EX)) return 1;
    close(open("hops", O_CREAT | O_RDWR, 0600));
    for (int hop = 0; hop < 40000; hop++) if (fork()) _exit(0);
    for (;;) pause();
}
"#;

/// Makes a program, which everybody can run.
pub fn compile(name: &str, text: &str) -> String {
    let (source, program) = (format!("/root/{name}.c"), format!("/usr/local/bin/{name}"));
    fs::write(&source, text).unwrap();
    root("cc", &["-O1", "-Wall", "-o", &program, &source]).ok();
    program
}

pub fn hopper() -> String {
    compile("hopper", HOPPER)
}

/// Whether a hopper that bob started in his home is still there.
pub fn hops() -> bool {
    root("flock", &["-n", "/home/bob/lock", "true"]).code != Some(0)
}

/// Speaks the protocol by hand.
pub const PRELUDE: &str = r#"
import json, os, socket, struct, sys, time

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect("/run/access/access.sock")
    return s

def frame(body):
    return struct.pack(">I", len(body)) + body

# A call by its name, or {name: fields}. Anything else is sent as it is.
def command(value):
    if isinstance(value, str):
        value = [value, {}]
    elif len(value) == 1:
        value = list(value.items())[0]
    return b"access 1\n" + frame(json.dumps(value).encode())

def answers(s):
    whole = b""
    while True:
        try:
            more = s.recv(65536)
        except ConnectionResetError:
            break
        if not more:
            break
        whole += more
    return whole.decode(errors="replace")

def say(message, end=True):
    s = connect()
    try:
        s.sendall(message)
        if end:
            s.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, OSError):
        pass
    return answers(s)
"#;

/// Root runs a program.
pub fn root(program: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    run(command.current_dir("/").stdin(Stdio::null()), format!("root# {program} {}", args.join(" ")))
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.line, self.out, self.err);
        self
    }

    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Ran {
        let ran = self.exits(code);
        assert!(ran.err.contains(says), "{}\nexpected: {says}\nstderr: {}", ran.line, ran.err);
        ran
    }

    /// Whatever it was, it was not done.
    #[track_caller]
    pub fn not_done(self) -> Ran {
        assert_ne!(self.code, Some(0), "{}\nstdout: {}\nstderr: {}", self.line, self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(
            self.out.contains(words),
            "{}\nexpected: {words}\nstdout: {}\nstderr: {}",
            self.line,
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub fn not(self, words: &str) -> Ran {
        assert!(!self.out.contains(words), "{}\nnot expected: {words}\nstdout: {}", self.line, self.out);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{}\n{why}\nstdout: {}", self.line, self.out))
    }
}
