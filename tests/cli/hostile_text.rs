//! Hostile text in every field that keeps text, at every exit. The fields and the exits are found, not listed: a new one fails a
//! test here until its table has it.

use std::collections::BTreeSet;

use access::commands::completions::completed_command;
use access::domain::team::team_file::parse;
use access::domain::text::acts_or_hides;
use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::harness::World;
use crate::hostile_exits::team;

/// What no field takes, since it would act on a terminal, a log reader or a header: links and the clipboard of a terminal (OSC 8
/// and 52), colours, C1 controls, carriage returns, other directions, line ends that are none.
pub const ACTING: [&str; 9] = [
    "a\x1b]8;;https://evil.example/\x07b\x1b]8;;\x07",
    "a\x1b]52;c;ZXZpbA==\x07b",
    "a\x1b[2J\x1b[31mb",
    "a\u{9b}31mb\u{9d}0;x\u{9c}",
    "a\rb",
    "a\u{8}\u{7f}b",
    "a\u{202e}b\u{2066}c",
    "a\u{200f}b",
    "a\u{2028}b",
];

/// The commands that do something, by their words, with all that each takes.
pub fn commands() -> Vec<(String, Command)> {
    fn leaves(command: &Command, words: &str, all: &mut Vec<(String, Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" || words.is_empty()) {
            let words = format!("{words} {}", sub.get_name()).trim_start().to_owned();
            leaves(sub, &words, all);
            if !sub.is_subcommand_required_set() {
                all.push((words, sub.clone()));
            }
        }
    }
    let mut root = completed_command();
    root.build();
    let mut all = Vec::new();
    leaves(&root, "", &mut all);
    all
}

/// A line that gives this text to this argument, and nothing else.
fn line(words: &str, arg: &Arg, text: &str) -> Vec<String> {
    let mut line: Vec<String> = words.split(' ').map(str::to_owned).collect();
    match arg.get_long() {
        Some(long) => line.push(format!("--{long}={text}")),
        None => line.extend(["--".to_owned(), text.to_owned()]),
    }
    line
}

/// Each argument that takes a value: `request --reason`.
pub fn arguments() -> Vec<(String, String, Arg)> {
    let takes_value = |arg: &&Arg| arg.get_action().takes_values();
    let of = |(words, command): (String, Command)| {
        let own: Vec<Arg> = command.get_arguments().filter(takes_value).cloned().collect();
        own.into_iter().map(move |arg| {
            let name = arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
            (format!("{words} {name}"), words.clone(), arg)
        })
    };
    commands().into_iter().flat_map(of).collect()
}

/// The arguments whose text is kept, for others to read. `hostile_exits.rs` gives each of them every hostile text.
const KEPT: [&str; 15] = [
    "request --reason",
    "request --ticket",
    "extend --reason",
    "extend --ticket",
    "edit --reason",
    "edit --ticket",
    "approve --note",
    "deny --reason",
    "review --note",
    "recertify cancel --reason",
    "recertify keep --reason",
    "recertify revoke --reason",
    "revoke --reason",
    "run --reason",
    "run --ticket",
];

#[test]
fn an_argument_that_is_kept_refuses_what_acts_and_takes_the_rest() {
    let refuses = |words: &str, arg: &Arg, text: &str| {
        let line = line(words, arg, text);
        let parsed = completed_command().try_get_matches_from(std::iter::once("access".to_owned()).chain(line));
        parsed.is_err_and(|error| matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue))
    };
    let all = arguments();
    assert!(all.len() > 150, "the arguments are where this test looks for them");
    // A file, an address or a word to search for is not kept. A typed value refuses what is not of its type.
    let kept = all.iter().filter(|(_, words, arg)| {
        !refuses(words, arg, "=1+1 <b>&'x") && ACTING.iter().all(|text| refuses(words, arg, text))
    });
    let kept: BTreeSet<&str> = kept.map(|(name, ..)| name.as_str()).filter(|name| *name != "list --ticket").collect();
    assert_eq!(kept, KEPT.into());
}

#[test]
fn no_argument_acts_on_the_terminal_that_it_is_typed_on() {
    let world = World::sample();
    let text = ACTING.concat();
    for (name, words, arg) in arguments() {
        for json in [false, true] {
            let mut line = line(&words, &arg, &text);
            line.splice(0..0, ["--color=always".to_owned()].into_iter().chain(json.then(|| "--json".to_owned())));
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let ran = world.command("alice", &line).output().unwrap();
            let code = ran.status.code();
            assert!(code.is_some_and(|code| code != 70 && code != 101), "{name}: {ran:?}");
            harmless(&name, &String::from_utf8(ran.stdout).unwrap());
            harmless(&name, &String::from_utf8(ran.stderr).unwrap());
        }
    }
}

/// A team file with every key: the examples of docs/team-file.md, and what it has no example of.
fn every_key() -> toml::Table {
    const MORE: &str = "\n[members.dave]\nrole = \"member\"\nauditor = true\nssh_keys = [\"ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAILOGgAXUmcqZPlb7t8C0uPRWLCWHWLRfnRxcwSqkBO7j dave\"]\n";
    let page = include_str!("../../docs/team-file.md");
    let examples = page.split("\n```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let text = examples.collect::<Vec<_>>().join("\n") + MORE;
    parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    toml::from_str(&text).unwrap()
}

/// The strings of a file, by their keys. Names are left out of the path: `members.*.login`.
fn strings(value: &toml::Value, path: &str, into: &mut Vec<(String, String)>) {
    match value {
        toml::Value::String(text) => into.push((path.to_owned(), text.clone())),
        toml::Value::Array(items) => items.iter().for_each(|item| strings(item, path, into)),
        toml::Value::Table(table) => {
            for (key, value) in table {
                let section = path.split('.').next_back().unwrap_or_default();
                let named = ["members", "groups", "connections", "targets", "features", "scopes", "hosts"];
                let key = if named.contains(&section) && !path.contains('.') { "*" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                strings(value, &path, into);
            }
        }
        _ => {}
    }
}

/// The keys of the team file that take any text. The team of `hostile_exits.rs` has such a text in each.
pub const FREE_KEYS: [&str; 5] = ["bindings.role", "members.*.login", "members.*.ssh_keys", "rules.deny", "rules.name"];

#[test]
fn a_key_of_the_team_file_refuses_what_acts() {
    let table = every_key();
    let text = toml::to_string(&table).unwrap();
    let mut all = Vec::new();
    strings(&toml::Value::Table(table), "", &mut all);
    // The same text with this value in place of that.
    let with = |old: &str, new: &str| {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let changed = text.replace(&quoted(old), &quoted(new));
        assert_ne!(changed, text, "{old} is written as {}", quoted(old));
        parse(&changed)
    };
    let mut free = BTreeSet::new();
    for (path, old) in &all {
        for acting in ACTING {
            assert!(with(old, &format!("{old} {acting}")).is_err(), "{path} takes {acting:?}");
            assert!(with(old, acting).is_err(), "{path} takes {acting:?}");
        }
        if with(old, &format!("{old}=<b>\"&'%s")).is_ok() {
            free.insert(path.as_str());
        }
    }
    // A pattern is for comparison only.
    free.remove("rules.ticket");
    assert_eq!(free, FREE_KEYS.into());
    let mut hostile = Vec::new();
    strings(&toml::from_str(&team()).unwrap(), "", &mut hostile);
    let hostile: BTreeSet<&str> =
        hostile.iter().filter(|(_, text)| text.contains(['<', '$'])).map(|(path, _)| path.as_str()).collect();
    assert_eq!(hostile, FREE_KEYS.into());
}

/// What a terminal shows has no character that acts or hides but line ends and the program's own colours.
#[track_caller]
pub fn harmless(of: &str, shown: &str) {
    let mut rest = shown;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        let (colours, after) = after.split_once('m').unwrap_or_else(|| panic!("{of}: {shown:?}"));
        assert!(colours.chars().all(|c| c.is_ascii_digit() || c == ';'), "{of}: {colours:?} in {shown:?}");
        rest = after;
    }
    plain += rest;
    if let Some(c) = plain.chars().find(|c| acts_or_hides(*c) && *c != '\n') {
        panic!("{of}: U+{:04X} in {shown:?}", u32::from(c));
    }
}
