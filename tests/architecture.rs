//! The house keeps its shape: who may use whom, who may speak SQL, who may print. Read from the sources themselves.

#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

use std::path::{Path, PathBuf};

/// A line of code: comments, and all that is `#[cfg(test)]`, are left out.
struct Line {
    file: PathBuf,
    number: usize,
    text: String,
}

impl Line {
    fn place(&self) -> String {
        format!("{}:{}: {}", self.file.display(), self.number, self.text.trim())
    }

    /// The room this line is in: `service` for `src/service/expire.rs`, `cli` for `src/cli.rs`.
    fn room(&self) -> &str {
        let first = self.file.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs")
    }

    /// The rooms of this project that the line names, as `crate::room`.
    fn uses(&self) -> Vec<&str> {
        let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        self.text.split("crate::").skip(1).map(|rest| &rest[..word(rest)]).collect()
    }
}

fn sources() -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 30, "the sources are where this test looks for them");
    files.iter().flat_map(|file| code(file, file.strip_prefix(root).unwrap())).collect()
}

fn code(path: &Path, shown: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = Vec::new();
    // The indentation of a `#[cfg(test)]` whose item is being passed over: it ends with a brace as far in.
    let mut test: Option<usize> = None;
    for (index, text) in text.lines().enumerate() {
        let indent = text.len() - text.trim_start().len();
        match test {
            Some(begun) if indent == begun && (text.trim_start().starts_with('}') || text.ends_with(';')) => {
                test = None
            }
            Some(_) => {}
            None if text.trim_start().starts_with("#[cfg(test)]") => test = Some(indent),
            None if text.trim_start().starts_with("//") => {}
            None => lines.push(Line { file: shown.to_owned(), number: index + 1, text: text.to_owned() }),
        }
    }
    lines
}

#[track_caller]
fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}, but:\n{}", faults.join("\n"));
}

/// Which rooms a room may use. A room that is not here may use any.
const DIRECTIONS: [(&str, &[&str]); 21] = [
    ("domain", &[]),
    ("time_input", &["domain"]),
    ("command", &["domain"]),
    ("store", &["command", "domain", "error"]),
    ("service", &["command", "domain", "error", "store"]),
    ("ui", &["cli", "command", "domain", "error", "time_input"]),
    ("cli", &["completion", "domain", "time_input"]),
    ("error", &["domain"]),
    ("config", &["domain", "error"]),
    ("identity", &["domain", "error"]),
    ("deliver", &["config", "domain", "error"]),
    ("subscribers", &["command", "deliver", "domain", "error", "service", "store"]),
    ("frame", &["command", "error"]),
    ("client", &["command", "error", "frame"]),
    ("server", &["client", "command", "frame", "config", "domain", "error", "identity", "service", "store"]),
    (
        "backend",
        &[
            "client",
            "server",
            "command",
            "config",
            "deliver",
            "domain",
            "error",
            "identity",
            "service",
            "store",
            "subscribers",
        ],
    ),
    ("completion", &["command", "domain", "backend", "error"]),
    ("prompt", &["command", "domain", "error"]),
    ("pages", &["cli", "completion", "error", "time_input"]),
    ("line", &["cli", "domain", "error"]),
    (
        "app",
        &[
            "server",
            "cli",
            "command",
            "domain",
            "backend",
            "error",
            "identity",
            "service",
            "ui",
            "pages",
            "prompt",
            "time_input",
        ],
    ),
];

#[test]
fn the_arrows_run_one_way() {
    let sources = sources();
    for (room, allowed) in DIRECTIONS {
        let lines: Vec<&Line> = sources.iter().filter(|line| line.room() == room).collect();
        assert!(!lines.is_empty(), "there is no {room} any more: take it out of the list");
        let astray = |line: &&&Line| line.uses().iter().any(|used| *used != room && !allowed.contains(used));
        let faults: Vec<String> = lines.iter().filter(astray).map(|line| line.place()).collect();
        assert_none(&faults, &format!("{room} may use {allowed:?} and nothing else of this project"));
    }
}

#[test]
fn a_path_always_names_its_room() {
    // What the test above can't see: `use crate::{a, b}`, and `super` reaching out of a room.
    let sources = sources();
    let hidden = |line: &&Line| {
        let climbs = line.text.matches("super::").count();
        let depth = line.file.components().count() - 2;
        let roof = line.file.ends_with("mod.rs");
        line.text.contains("crate::{")
            || line.text.contains("crate::*")
            || climbs > depth - usize::from(roof && depth > 0)
    };
    let faults: Vec<String> = sources.iter().filter(hidden).map(Line::place).collect();
    assert_none(&faults, "a path begins with `crate::room`, and `super` stays in its room");
}

#[test]
fn only_client_and_server_use_sockets_or_become_another_user() {
    let sources = sources();
    let words = ["UnixStream", "UnixListener", "PeerCredentials", "setuid(", "seteuid(", "initgroups("];
    let speaks = |line: &&Line| {
        !["client", "frame", "server"].contains(&line.room()) && words.iter().any(|word| line.text.contains(word))
    };
    let faults: Vec<String> = sources.iter().filter(speaks).map(Line::place).collect();
    assert_none(&faults, "only client, frame and server/ know that there is a socket");
}

#[test]
fn the_domain_is_pure() {
    let sources = sources();
    let words =
        ["std::fs", "std::env", "std::net", "std::process", "std::io", "SystemTime", "Instant", "Utc::now", "Local"];
    let impure = |line: &&Line| line.room() == "domain" && words.iter().any(|word| line.text.contains(word));
    let faults: Vec<String> = sources.iter().filter(impure).map(Line::place).collect();
    assert_none(&faults, "the domain has no clock, no files and no environment");
}

#[test]
fn only_the_store_speaks_sql() {
    let sources = sources();
    let words = ["rusqlite", "SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "PRAGMA "];
    let speaks = |line: &&Line| line.room() != "store" && words.iter().any(|word| line.text.contains(word));
    let faults: Vec<String> = sources.iter().filter(speaks).map(Line::place).collect();
    assert_none(&faults, "only store/ knows that there is SQLite");
}

#[test]
fn only_the_ui_prints() {
    let sources = sources();
    let words = ["println!", "eprintln!", "print!(", "eprint!(", "dbg!(", "stdout()", "stderr()"];
    let printing = |line: &&Line| {
        let may = ["main", "prompt", "ui"].contains(&line.room());
        // Asking whether it is a terminal is not printing.
        !may && !line.text.contains("is_terminal()") && words.iter().any(|word| line.text.contains(word))
    };
    let faults: Vec<String> = sources.iter().filter(printing).map(Line::place).collect();
    assert_none(&faults, "only ui/ prints");
}

#[test]
fn nothing_is_unwrapped() {
    let sources = sources();
    // `.expect("a reason")` is for what can't be otherwise, and says why.
    let words = [".unwrap()", "panic!(", "todo!(", "unimplemented!("];
    let unwraps = |line: &&Line| words.iter().any(|word| line.text.contains(word));
    let faults: Vec<String> = sources.iter().filter(unwraps).map(Line::place).collect();
    assert_none(&faults, "the program gives errors, and panics at nothing");
}
