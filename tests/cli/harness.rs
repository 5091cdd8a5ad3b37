//! A world for each test: a folder, a database, and a clock that moves when it is told to.

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use access::domain::duration::Length;
use access::domain::time::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::hosts::Hosts;

/// The binary under test, built with `test-overrides`.
pub const ACCESS: &str = env!("CARGO_BIN_EXE_access");
/// When every world begins.
pub const START: &str = "2026-11-24T09:00:00Z";
/// The sample team's file, to be applied with changes.
pub const TEAM: &str = include_str!("../../examples/team.toml");
/// Everybody in it.
pub const MEMBERS: [&str; 10] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "olivia"];

pub struct World {
    folder: TempDir,
    now: RefCell<Timestamp>,
    /// Its log is shared by two hosts, which take turns.
    hosts: Option<Hosts>,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// No database yet.
    pub fn empty() -> World {
        World::sharing(std::env::var("ACCESS_TEST_LOG").ok())
    }

    /// The same. `server`: where its log will be, if two hosts share it.
    pub fn sharing(server: Option<String>) -> World {
        let folder = tempfile::tempdir().unwrap();
        let hosts = server.map(|server| Hosts::in_server(server, folder.path()));
        World { folder, now: RefCell::new(START.parse().unwrap()), hosts }
    }

    /// The sample team of `examples/team.toml`: olivia owns, alice and erin are admins, bob, carol, dave, frank and
    /// grace are members, heidi and ivan are viewers.
    pub fn sample() -> World {
        let world = World::empty();
        world.run("olivia", &["init", "--sample"]).ok();
        world
    }

    /// The given team file, applied by its owner.
    pub fn of(owner: &str, team: &str) -> World {
        let world = World::empty();
        world.run(owner, &["init"]).ok();
        world.apply(owner, team).ok();
        world
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn db(&self) -> PathBuf {
        self.folder.path().join("access.db")
    }

    pub fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    /// Moves the clock on by a length, such as `90m`.
    pub fn pass(&self, length: &str) {
        let length: Length = length.parse().unwrap();
        let later = self.now().plus(length);
        self.now.replace(later);
    }

    /// Sets the clock, forwards or back.
    pub fn set_clock(&self, time: &str) {
        self.now.replace(time.parse().unwrap());
    }

    /// The program, ready to run as this Unix user, with nothing of the surroundings' environment.
    pub fn command(&self, login: &str, args: &[&str]) -> Command {
        let mut command = self.on_no_host(login, args);
        if let Some(hosts) = &self.hosts {
            hosts.take_turns(&mut command, args, &|login, args| self.on_no_host(login, args));
        }
        command
    }

    /// The two hosts, if the log is shared.
    pub fn hosts(&self) -> Option<&Hosts> {
        self.hosts.as_ref()
    }

    /// The program on this host, with its copy as it is.
    pub fn command_on(&self, host: usize, login: &str, args: &[&str]) -> Command {
        let mut command = self.on_no_host(login, args);
        self.hosts.as_ref().expect("the log is shared").run_on(host, &mut command);
        command
    }

    fn on_no_host(&self, login: &str, args: &[&str]) -> Command {
        let mut command = Command::new(ACCESS);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .env("ACCESS_DB", self.db())
            .env("ACCESS_TEST_USER", login)
            .env("ACCESS_TEST_NOW", self.now().to_string())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, login: &str, args: &[&str]) -> Ran {
        let output = self.command(login, args).output().unwrap();
        if let Some(hosts) = &self.hosts {
            hosts.share(args, &|login, args| self.on_no_host(login, args));
        }
        ran(login, args, output)
    }

    /// The same on this host.
    pub fn run_on(&self, host: usize, login: &str, args: &[&str]) -> Ran {
        ran(login, args, self.command_on(host, login, args).output().unwrap())
    }

    /// The same with `--json`, which must succeed.
    pub fn json(&self, login: &str, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        self.run(login, &all).ok().json()
    }

    /// A request that another member approves at once, with these changes. Gives its number.
    pub fn grant(&self, login: &str, resource: &str, approver: &str, changes: &[&str]) -> String {
        let id = self.request(login, resource, &[]);
        let mut args = vec!["approve", &id];
        args.extend(changes);
        self.run(approver, &args).ok();
        id
    }

    /// What SQLite's own shell does with the database file.
    pub fn sqlite(&self, statement: &str) -> std::process::Output {
        let mut shell = Command::new("sqlite3");
        shell.arg(self.db());
        // The kernel limits how long an argument may be.
        if statement.len() < 100_000 {
            shell.arg(statement);
        } else {
            let file = self.folder.path().join("statement.sql");
            std::fs::write(&file, statement).unwrap();
            shell.arg("-bail").stdin(std::fs::File::open(file).unwrap());
        }
        shell.output().unwrap()
    }

    /// The rows it answers, with `|` between their columns.
    #[track_caller]
    pub fn rows(&self, query: &str) -> Vec<String> {
        let output = self.sqlite(query);
        assert!(output.status.success(), "{query}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Applies a team file.
    pub fn apply(&self, login: &str, team: &str) -> Ran {
        let path = self.folder.path().join("team.toml");
        std::fs::write(&path, team).unwrap();
        self.run(login, &["team", "apply", path.to_str().unwrap(), "--yes"])
    }

    /// Asks for something. Gives the request's number.
    pub fn request(&self, login: &str, resource: &str, more: &[&str]) -> String {
        let mut args = vec!["request", resource, "--reason", "testing", "--json"];
        args.extend(more);
        self.run(login, &args).ok().json()["id"].to_string()
    }

    /// The state of a request, as the owner of the sample sees it.
    pub fn state(&self, id: &str) -> String {
        self.json("olivia", &["show", id])["state"].as_str().unwrap().to_owned()
    }

    /// Whether `check` says yes.
    pub fn may(&self, login: &str, resource: &str) -> bool {
        let ran = self.run(login, &["check", resource]);
        assert!(ran.code == 0 || ran.code == 1, "{ran:?}");
        ran.code == 0
    }

    /// The events of a member's unread notifications, oldest first.
    pub fn unread(&self, login: &str) -> Vec<String> {
        let inbox = self.json(login, &["inbox"]);
        let events = inbox.as_array().unwrap().iter().rev();
        events.map(|row| row["event"].as_str().unwrap().to_owned()).collect()
    }

    /// The actions of the log, oldest first.
    pub fn actions(&self) -> Vec<String> {
        let log = self.json("olivia", &["audit"]);
        let actions = log.as_array().unwrap().iter().rev();
        actions.map(|row| row["action"].as_str().unwrap().to_owned()).collect()
    }
}

fn ran(login: &str, args: &[&str], output: Output) -> Ran {
    Ran {
        line: format!("{login}$ access {}", args.join(" ")),
        code: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Holds JSON to what is promised of it: every field expected is there with its value; more may be.
#[track_caller]
pub fn shows(actual: &Value, expected: &Value) {
    if let Err(why) = difference(actual, expected, "") {
        panic!("{why}\nexpected: {expected:#}\nactual: {actual:#}");
    }
}

fn difference(actual: &Value, expected: &Value, place: &str) -> Result<(), String> {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected.iter().try_for_each(|(key, value)| {
            let place = format!("{place}.{key}");
            let found = actual.get(key).ok_or_else(|| format!("{place} is missing"))?;
            difference(found, value, &place)
        }),
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            let mut pairs = actual.iter().zip(expected).enumerate();
            pairs.try_for_each(|(n, (actual, expected))| difference(actual, expected, &format!("{place}[{n}]")))
        }
        _ if actual == expected => Ok(()),
        _ => Err(format!("{place} is {actual}, not {expected}")),
    }
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.line, self.out, self.err);
        self
    }

    /// Ends with this code, says so in a sentence, and prints nothing on stdout.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Ran {
        let ran = self.exits(code);
        assert!(ran.err.contains(says), "{}\nexpected: {says}\nstderr: {}", ran.line, ran.err);
        assert!(ran.err.starts_with("error: "), "{}\nstderr: {}", ran.line, ran.err);
        assert_eq!(ran.out, "", "{}", ran.line);
        ran
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{}\n{why}\nstdout: {}", self.line, self.out))
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.out.contains(words), "{}\nexpected: {words}\nstdout: {}", self.line, self.out);
        self
    }
}
