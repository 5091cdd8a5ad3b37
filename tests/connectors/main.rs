//! The shipped connectors for servers, each with a server that nobody here wrote: a PostgreSQL cluster, slapd, scim2-server, moto.
//! Each test starts its own on loopback and stops it by its process id.

#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]
#![allow(clippy::print_stderr, reason = "a test says how much it did")]

mod aws;
mod aws_iam_group;
mod aws_identity_center;
mod aws_keys;
mod directory;
mod faults;
#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "../cli/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the tests of the command line use the rest of it")]
#[path = "../cli/hosts.rs"]
mod hosts;
mod kills;
mod ldap;
mod ldap_entries;
mod leased;
mod meanwhile;
mod no_gap;
mod odd_answers;
mod postgres;
mod postgres_cluster;
mod postgres_faults;
mod postgres_sessions;
mod scim;
mod tools;
mod whole;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::tools::{free_port, run, wait_until, with_input};

/// A connector under test: `access connector NAME …`.
#[derive(Clone)]
struct Connector(Vec<String>);

impl Connector {
    fn new(arguments: &[&str]) -> Connector {
        Connector(arguments.iter().map(|word| (*word).to_owned()).collect())
    }

    fn and(&self, more: &[&str]) -> Connector {
        Connector(self.0.iter().cloned().chain(more.iter().map(|word| (*word).to_owned())).collect())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_access"));
        // As the reconciler runs it.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("HOME", "/");
        command.arg("connector").args(&self.0);
        command
    }

    /// One run with these lines. Returns the lines of its answer.
    #[track_caller]
    fn run(&self, operations: &[Value]) -> Vec<Value> {
        let lines: String = operations.iter().map(|operation| format!("{operation}\n")).collect();
        let ran = with_input(&mut self.command(), &lines);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let answers: Vec<Value> =
            String::from_utf8(ran.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), operations.len(), "{answers:?}");
        answers
    }

    #[track_caller]
    fn one(&self, operation: Value) -> Value {
        self.run(&[operation]).remove(0)
    }

    /// It does not start. Returns what it says.
    #[track_caller]
    fn refuses(&self) -> String {
        let ran = with_input(&mut self.command(), "");
        assert!(!ran.status.success(), "{:?} starts", self.0);
        String::from_utf8(ran.stderr).unwrap()
    }

    /// A run whose lines are written one by one.
    fn open(&self) -> Running {
        Running::start(&mut self.command())
    }
}

impl postgres_cluster::Cluster {
    /// The connector, as this role over the socket.
    pub fn connector(&self, user: &str) -> Connector {
        let folder = self.folder().to_str().unwrap();
        Connector::new(&["postgres", "--host", folder, "--port", &self.port(), "--user", user])
    }
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Running { child, input, output }
    }

    fn one(&mut self, operation: &Value) -> Value {
        writeln!(self.input, "{operation}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn end(self) {
        let Running { mut child, input, .. } = self;
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

fn act(operation: &str, login: &str, key: &str, value: &str) -> Value {
    json!({ "operation": operation, "login": login, "parameters": { key: value }, "request": 7, "until": null,
        "end_sessions": false, "key": format!("{operation}-{login}") })
}

fn list(key: &str, values: &[&str]) -> Value {
    let parameters: Vec<Value> = values.iter().map(|value| json!({ key: value })).collect();
    json!({ "operation": "list", "parameters": parameters })
}

/// The logins of a list's answer, in order.
#[track_caller]
fn holders(answer: &Value) -> Vec<String> {
    let holds = answer["holds"].as_array().unwrap_or_else(|| panic!("not a list: {answer}"));
    let mut logins: Vec<String> = holds.iter().map(|holder| holder["login"].as_str().unwrap().to_owned()).collect();
    logins.sort();
    logins
}

#[track_caller]
fn assert_done(answer: &Value) {
    assert!(answer.get("done").is_some(), "{answer}");
}

/// The answer is `failed` or `later`, and says this.
#[track_caller]
fn assert_says(answer: &Value, kind: &str, text: &str) {
    let said = answer.get(kind).and_then(Value::as_str).unwrap_or_else(|| panic!("not {kind}: {answer}"));
    assert!(said.contains(text), "{said}");
}

/// A file that only its owner can read.
fn private_file(path: &Path, content: &str) -> PathBuf {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}

/// Makes an authority and a certificate for `localhost`: `ca.pem`, `cert.pem` and `key.pem`.
fn certificates(folder: &Path) {
    let openssl = |words: &[&str]| run(Command::new("openssl").args(words).current_dir(folder));
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    openssl(&[&make[..], &["-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"]].concat());
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let usage = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"];
    openssl(&[&make[..], &names, &usage, &["-keyout", "key.pem", "-out", "cert.pem"]].concat());
}
