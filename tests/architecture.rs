//! The structure of the sources: which top-level module may import which, which may use SQL, sockets or print, how long files
//! and functions may be, and that the documents name files that exist.

#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

use std::collections::{BTreeMap, BTreeSet};
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

    /// The top-level module that this line is in: `service` for `src/service/expire.rs`, `cli` for `src/cli.rs`.
    fn top_module(&self) -> &str {
        let first = self.file.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs")
    }

    /// The top-level modules that the line names, as `crate::module`.
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

/// Which top-level modules each may use. One that is not here may use any.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("time_zone", &["domain"]),
    ("time_format", &["domain", "time_zone"]),
    ("time_input", &["domain", "time_format", "time_zone"]),
    ("protocol", &["domain"]),
    ("error", &["domain"]),
    ("files", &["error"]),
    ("tls", &["error"]),
    ("log", &["domain", "error", "http_client", "tls"]),
    ("config", &["domain", "error", "log"]),
    ("identity", &["domain", "error"]),
    ("frame", &["error", "protocol"]),
    ("http_client", &[]),
    ("store", &["protocol", "domain", "error", "log"]),
    ("service", &["protocol", "domain", "error", "files", "log", "store", "tls"]),
    ("deliver", &["config", "domain", "error", "http_client", "tls"]),
    ("subscribers", &["deliver", "domain", "error", "protocol", "service", "store"]),
    ("connectors", &["domain", "error", "http_client", "tls"]),
    ("client", &["error", "frame", "protocol", "service"]),
    (
        "server",
        &["client", "protocol", "config", "domain", "error", "frame", "identity", "service", "store", "time_zone"],
    ),
    (
        "backend",
        &[
            "client",
            "server",
            "protocol",
            "config",
            "deliver",
            "domain",
            "error",
            "identity",
            "service",
            "store",
            "subscribers",
            "time_zone",
        ],
    ),
    ("signing", &["config", "domain", "error"]),
    ("witness", &["config", "domain", "error", "files", "store"]),
    ("checkpoints", &["backend", "config", "domain", "error", "files", "protocol", "service"]),
    ("completion", &["backend", "domain", "error", "service"]),
    ("prompt", &["protocol", "domain", "error"]),
    ("report", &["protocol", "domain"]),
    ("ui", &["protocol", "domain", "error", "report", "time_format"]),
    (
        "provisioning",
        &["backend", "config", "connectors", "domain", "error", "identity", "protocol", "service", "store"],
    ),
    (
        "commands",
        &[
            "backend",
            "checkpoints",
            "completion",
            "connectors",
            "domain",
            "error",
            "files",
            "identity",
            "log",
            "prompt",
            "protocol",
            "provisioning",
            "report",
            "server",
            "service",
            "signing",
            "time_format",
            "time_input",
            "time_zone",
            "ui",
            "witness",
        ],
    ),
];

#[test]
fn the_arrows_run_one_way() {
    let sources = sources();
    for &(module, allowed) in DIRECTIONS {
        let lines: Vec<&Line> = sources.iter().filter(|line| line.top_module() == module).collect();
        assert!(!lines.is_empty(), "there is no {module} any more: take it out of the list");
        let astray = |line: &&&Line| line.uses().iter().any(|used| *used != module && !allowed.contains(used));
        let faults: Vec<String> = lines.iter().filter(astray).map(|line| line.place()).collect();
        assert_none(&faults, &format!("{module} may use {allowed:?} and nothing else of this project"));
    }
}

#[test]
fn a_path_always_names_its_module() {
    // What the test above can't see: `use crate::{a, b}`, and `super` reaching out of a top-level module.
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
    assert_none(&faults, "a path begins with `crate::module`, and `super` stays in its top-level module");
}

/// What imports what: nodes are modules, such as `domain::request::vote`.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The module of a source file: `domain::request` for `src/domain/request/mod.rs`.
fn module(file: &Path) -> String {
    let file = file.with_extension("");
    let names: Vec<&str> = file.iter().skip(1).map(|name| name.to_str().unwrap()).collect();
    names.join("::").trim_end_matches("::mod").to_owned()
}

/// The paths that one `use` names, without groups: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(prefix: &str, tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![format!("{prefix}{tree}")] };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    let prefix = format!("{prefix}{head}");
    parts.iter().filter(|part| !part.is_empty()).flat_map(|part| paths(&prefix, part)).collect()
}

/// Which files import which, from their `use` lines and from paths that begin with `crate::`.
fn imports() -> Graph {
    let mut code: BTreeMap<String, String> = BTreeMap::new();
    for line in sources() {
        let file = code.entry(module(&line.file)).or_default();
        *file += &line.text;
        file.push('\n');
    }
    let mut graph = Graph::new();
    for (module, text) in &code {
        let uses = text.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(tree, _)| tree);
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let inline = text.split("crate::").skip(1).map(|rest| rest.find(|c| !word(c)).map_or(rest, |end| &rest[..end]));
        let mut named: Vec<String> = uses.flat_map(|tree| paths("", &tree.replace(char::is_whitespace, ""))).collect();
        named.extend(inline.map(|path| format!("crate::{path}")));
        for path in named {
            let mut base: Vec<&str> = module.split("::").collect();
            let mut path: Vec<&str> = path.split("::").collect();
            match path[0] {
                "crate" => base.clear(),
                "super" | "self" => {}
                // A path that begins with a module of the same folder.
                child if code.contains_key(&format!("{module}::{child}")) => {}
                _ => continue,
            }
            while ["crate", "super", "self"].contains(path.first().unwrap_or(&"")) {
                if path.remove(0) == "super" {
                    base.pop();
                }
            }
            base.extend(path);
            let known = (1..=base.len()).rev().map(|length| base[..length].join("::")).find(|it| code.contains_key(it));
            if let Some(known) = known.filter(|known| known != module) {
                graph.entry(module.clone()).or_default().insert(known);
            }
        }
    }
    graph
}

/// A circle in the graph, as `a -> b -> a`, if there is one.
fn circle(graph: &Graph) -> Option<String> {
    fn visit<'g>(
        graph: &'g Graph,
        at: &'g str,
        path: &mut Vec<&'g str>,
        done: &mut BTreeSet<&'g str>,
    ) -> Option<String> {
        if let Some(begin) = path.iter().position(|node| *node == at) {
            return Some([&path[begin..], &[at]].concat().join(" -> "));
        }
        if !done.insert(at) {
            return None;
        }
        path.push(at);
        let found = graph.get(at).into_iter().flatten().find_map(|next| visit(graph, next, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|node| visit(graph, node, &mut Vec::new(), &mut done))
}

/// The graph between the parts that `part` puts the modules in. None: the module is left out.
fn between(graph: &Graph, part: impl Fn(&str) -> Option<String>) -> Graph {
    let mut parts = Graph::new();
    for (from, all) in graph {
        for to in all {
            if let (Some(from), Some(to)) = (part(from), part(to))
                && from != to
            {
                parts.entry(from).or_default().insert(to);
            }
        }
    }
    parts
}

#[test]
fn no_imports_of_the_domain_go_in_a_circle() {
    let graph = imports();
    let seen = graph.get("domain::request::vote").map_or(0, BTreeSet::len);
    assert!(seen > 10, "the imports are where this test looks for them: {seen}");
    let files = between(&graph, |module| module.starts_with("domain::").then(|| module.to_owned()));
    assert_eq!(circle(&files), None, "files of the domain import one another in a circle");
    let folders = between(&graph, |module| Some(module.strip_prefix("domain::")?.split("::").next()?.to_owned()));
    assert_eq!(circle(&folders), None, "folders of the domain import one another in a circle");
}

#[test]
fn no_imports_of_top_level_modules_go_in_a_circle() {
    let top = between(&imports(), |module| module.split("::").next().map(str::to_owned));
    assert!(top.len() > 10, "the modules are where this test looks for them: {top:?}");
    assert_eq!(circle(&top), None, "top-level modules import one another in a circle");
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])), Some("b -> c -> b".to_owned()));
    assert_eq!(
        paths("", "crate::a::{self,b::{c,d},e}"),
        ["crate::a::self", "crate::a::b::c", "crate::a::b::d", "crate::a::e"]
    );
}

#[test]
fn only_client_and_server_use_sockets_or_become_another_user() {
    let sources = sources();
    let words = ["UnixStream", "UnixListener", "PeerCredentials", "setuid(", "seteuid(", "initgroups("];
    let speaks = |line: &&Line| {
        !["client", "frame", "server"].contains(&line.top_module()) && words.iter().any(|word| line.text.contains(word))
    };
    let faults: Vec<String> = sources.iter().filter(speaks).map(Line::place).collect();
    assert_none(&faults, "only client, frame and server/ know that there is a socket");
}

#[test]
fn the_domain_is_pure() {
    let sources = sources();
    let words =
        ["std::fs", "std::env", "std::net", "std::process", "std::io", "SystemTime", "Instant", "Utc::now", "Local"];
    let impure = |line: &&Line| line.top_module() == "domain" && words.iter().any(|word| line.text.contains(word));
    let faults: Vec<String> = sources.iter().filter(impure).map(Line::place).collect();
    assert_none(&faults, "the domain has no clock, no files and no environment");
}

#[test]
fn only_the_store_speaks_sql() {
    let sources = sources();
    let words = ["rusqlite", "SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "PRAGMA "];
    // What is said to a PostgreSQL server is no statement about the database file.
    let to_postgres = ["connectors/postgres/sql.rs", "log/engine.rs", "log/owner.rs", "log/side.rs", "log/status.rs"];
    let elsewhere =
        |line: &Line| to_postgres.iter().any(|file| line.file.ends_with(file)) && !line.text.contains("rusqlite");
    let speaks = |line: &&Line| {
        line.top_module() != "store" && !elsewhere(line) && words.iter().any(|word| line.text.contains(word))
    };
    let faults: Vec<String> = sources.iter().filter(speaks).map(Line::place).collect();
    assert_none(&faults, "only store/ knows that there is SQLite");
}

#[test]
fn only_the_ui_prints() {
    let sources = sources();
    let words = ["println!", "eprintln!", "print!(", "eprint!(", "dbg!(", "stdout()", "stderr()"];
    let printing = |line: &&Line| {
        let may = ["main", "prompt", "ui"].contains(&line.top_module());
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

#[test]
fn each_call_can_come_over_the_socket() {
    let sources = sources();
    let call = |line: &Line| line.text.strip_prefix("impl Call for ").map(|rest| rest.replace(" {", ""));
    let calls: Vec<String> = sources.iter().filter_map(call).collect();
    assert!(calls.len() > 30, "the calls are where this test looks for them: {calls:?}");
    // `file: Call, Another;`
    let list = sources.iter().filter(|line| line.file.ends_with("service/mod.rs"));
    let lines = list.filter_map(|line| line.text.trim().strip_suffix(';')?.split_once(": "));
    let listed: BTreeSet<&str> = lines.flat_map(|(_, calls)| calls.split(", ")).collect();
    let is_listed = |call: &&String| listed.contains(call.as_str());
    let missing: Vec<String> = calls.iter().filter(|call| !is_listed(call)).cloned().collect();
    assert_none(&missing, "`calls!` in src/service/mod.rs lists every call");
}

/// How long the sources may be, in lines.
const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 80;
/// The parser of the team file, which has a message for each mistake; and two files that are to be split.
const LONGER_FILES: &[&str] = &["src/domain/team/team_file.rs"];

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: BTreeSet<PathBuf> = sources().into_iter().map(|line| line.file).collect();
    let length = |file: &Path| std::fs::read_to_string(root.join(file)).unwrap().lines().count();
    let (allowed, others): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| LONGER_FILES.iter().any(|longer| file.ends_with(longer)));
    assert_eq!(allowed.len(), LONGER_FILES.len(), "a file of LONGER_FILES is gone");
    for file in allowed {
        assert!(length(file) > LONGEST_FILE, "{} is short enough: take it out of LONGER_FILES", file.display());
    }
    let long = others.iter().map(|file| (file, length(file))).filter(|(_, length)| *length > LONGEST_FILE);
    let faults: Vec<String> = long.map(|(file, length)| format!("{}: {length}", file.display())).collect();
    assert_none(&faults, &format!("a file has at most {LONGEST_FILE} lines"));
}

#[test]
fn no_function_is_too_long() {
    let sources = sources();
    let mut faults = Vec::new();
    for (index, line) in sources.iter().enumerate() {
        let text = line.text.trim_start();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        if !words.take(6).any(|word| word == "fn") || !text.contains('(') || text.ends_with(['}', ';']) {
            continue;
        }
        let close = format!("{}}}", &line.text[..line.text.len() - text.len()]);
        let end = sources[index..].iter().take_while(|it| it.file == line.file).find(|it| it.text == close);
        let length = end.map_or(0, |end| end.number + 1 - line.number);
        if length > LONGEST_FUNCTION {
            faults.push(format!("{} ({length} lines)", line.place()));
        }
    }
    assert_none(&faults, &format!("a function has at most {LONGEST_FUNCTION} lines"));
}

#[test]
fn no_type_name_is_defined_twice() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in sources() {
        let text = line.text.trim_start();
        // `type` inside an `impl` gives an associated type, not a name of its own.
        let is_item = text.len() == line.text.len();
        let text = text.strip_prefix("pub").map_or(text, |rest| rest.split_once(' ').map_or("", |(_, rest)| rest));
        let Some((kind, rest)) = text.split_once(' ') else { continue };
        if ["struct", "enum", "trait", "union"].contains(&kind) || (kind == "type" && is_item) {
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            defined.entry(name).or_default().push(line.place());
        }
    }
    assert!(defined.len() > 300, "the types are where this test looks for them: {}", defined.len());
    let faults: Vec<String> = defined.into_values().filter(|places| places.len() > 1).flatten().collect();
    assert_none(&faults, "a name is for one type");
}

/// The files and folders that a document names in backticks. Capitals are placeholders: `src/commands/NAME.rs`.
fn named_files(document: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let is_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c));
        plain && (word.ends_with('/') || word.ends_with(".rs") || word.ends_with(".sql") || word.ends_with(".sh"))
    };
    text.split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned).collect()
}

#[test]
fn each_file_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let named = named_files(document);
        assert!(named.len() > 15, "{document} names files: {named:?}");
        // The page of the architecture names files of src/ without that folder.
        let exists = |name: &&String| ["", "src"].iter().any(|folder| root.join(folder).join(name.as_str()).exists());
        let gone: Vec<String> = named.iter().filter(|name| !exists(name)).cloned().collect();
        assert_none(&gone, &format!("{document} names only files that exist"));
    }
}
