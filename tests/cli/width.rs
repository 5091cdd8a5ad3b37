//! Tables and records at 40, 80 and 200 columns of a real terminal, and in a pipe.

use std::collections::BTreeSet;

use unicode_width::UnicodeWidthStr;

use crate::harness::{Ran, TEAM, World};
use crate::tmux::Terminal;

const LONG: &str = "A reason that goes on and on, well past the end of any line of eighty columns that there is here";
const WIDE: &str = "日本語のテキスト データベースの障害対応をします 🚀 cafe\u{301} über";

/// Requests in several states, with texts that are long, wide and combined.
fn busy() -> World {
    let world = World::sample();
    let ask = |login: &str, resource: &str, more: &[&str]| {
        world.run(login, &[&["request", resource, "--reason"], more].concat()).ok();
    };
    ask("bob", "target:orders-db", &[WIDE, "--duration", "4h"]);
    ask("carol", "connection:prod-aws", &[LONG, "--duration", "2d12h"]);
    ask("dave", "scope:kubernetes", &["short", "--duration", "permanent", "--ticket", "OPS-12"]);
    world.run("alice", &["approve", "1"]).ok();
    world.run("erin", &["deny", "2", "--reason", LONG]).ok();
    let team = format!("{TEAM}\n[members.zoe]\nrole = \"member\"\nemail = \"zoe@acme.example\"\n")
        + &format!("\n[[rules]]\nname = \"{}\"\nreason_min = 5\n", LONG[..40].trim());
    std::fs::write(world.folder().join("new.toml"), team.replacen("role = \"member\"", "role = \"viewer\"", 1))
        .unwrap();
    world
}

/// Every command that prints a table, and its headings.
const TABLES: [(&str, &[&str], &[&str]); 7] = [
    ("alice", &["list", "--all"], &["ID", "STATUS", "REQUESTER", "RESOURCE", "FOR", "WAITS ON/BY", "ASKED", "REASON"]),
    ("bob", &["resources"], &["RESOURCE", "YOU", "ABOUT"]),
    ("alice", &["who", "target:orders-db"], &["MEMBER", "THROUGH", "REQUEST", "UNTIL"]),
    ("alice", &["who", "--user", "bob"], &["RESOURCE", "THROUGH", "REQUEST", "UNTIL"]),
    ("alice", &["inbox"], &["ID", "WHEN", "WHAT"]),
    ("olivia", &["audit"], &["SEQ", "AT", "ACTOR", "ACTION", "WHAT"]),
    ("olivia", &["outbox"], &["ID", "BY", "TO", "EVENT", "TRIES", "NEXT", "WHY"]),
];

/// What prints records, lines or a difference.
const RECORDS: [(&str, &[&str]); 6] = [
    ("alice", &["show", "1"]),
    ("alice", &["show", "2"]),
    ("bob", &["whoami"]),
    ("alice", &["notify"]),
    ("olivia", &["team", "apply", "new.toml", "--dry-run"]),
    ("bob", &["request", "target:search-index", "--reason", "x", "--dry-run"]),
];

/// The lines that a terminal of this width shows. None of them is longer: the terminal breaks none.
#[track_caller]
fn shown(world: &World, login: &str, args: &[&str], columns: u16) -> Vec<String> {
    let mut command = world.command(login, args);
    command.arg("--quiet");
    let terminal = Terminal::sized(world, &command, columns, 200);
    terminal.shows("[exit ");
    let mut lines = terminal.drawn();
    let whole = terminal.screen();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    assert_eq!(lines.join("\n"), whole, "the terminal breaks no line: {args:?} at {columns}");
    let ended = lines.pop().unwrap();
    assert!(["[exit 0]", "[exit 1]"].contains(&ended.as_str()), "{ended}");
    assert!(lines.iter().all(|line| line.width() <= usize::from(columns)), "{lines:#?}");
    lines
}

#[track_caller]
fn piped(world: &World, login: &str, args: &[&str]) -> Ran {
    let mut command = world.command(login, args);
    // Set or not: nothing has to fit.
    let output = command.env("COLUMNS", "40").output().unwrap();
    let ran = world.run(login, args);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ran.out);
    ran
}

fn words<'t>(lines: impl IntoIterator<Item = &'t str>) -> BTreeSet<&'t str> {
    lines.into_iter().flat_map(str::split_whitespace).collect()
}

/// No word that people or programs have to read was broken. Where a script has no spaces, it may be.
#[track_caller]
fn breaks_no_word(lines: &[String], whole: &Ran) {
    let known = words(whole.out.lines());
    let broken: Vec<&str> = words(lines.iter().map(String::as_str))
        .into_iter()
        .filter(|word| word.is_ascii() && !known.contains(word))
        .collect();
    assert!(broken.is_empty(), "{broken:?} in {lines:#?}\n{}", whole.out);
}

#[test]
fn headings_are_whole_on_a_terminal_of_80_and_200_columns() {
    let world = busy();
    for columns in [80, 200] {
        for (login, args, headings) in TABLES {
            let lines = shown(&world, login, args, columns);
            // One heading may take two lines, never two lines in a word.
            let rows = piped(&world, login, args).out.lines().count() - 1;
            let head = words(lines[..2].iter().map(String::as_str));
            for word in headings.iter().flat_map(|heading| heading.split(' ')) {
                let dropped = columns == 80 && word == "ASKED";
                assert!(head.contains(word) || dropped, "{word} of {args:?} at {columns}: {lines:#?}");
            }
            assert!(lines.len() > rows, "{lines:#?}");
            breaks_no_word(&lines, &piped(&world, login, args));
        }
    }
}

#[test]
fn a_narrow_terminal_shows_a_block_for_each_row() {
    let world = busy();
    for (login, args, headings) in TABLES {
        let lines = shown(&world, login, args, 40);
        let rows = piped(&world, login, args).out.lines().count() - 1;
        let blocks: Vec<&[String]> = lines.split(String::is_empty).collect();
        assert_eq!(blocks.len(), rows, "{lines:#?}");
        for block in blocks {
            assert!(block[0].starts_with(headings[0]), "{block:#?}");
            let labels = block.iter().filter(|line| !line.starts_with(' '));
            for label in labels {
                assert!(headings.iter().any(|heading| label.starts_with(heading)), "{label}: {block:#?}");
            }
        }
        breaks_no_word(&lines, &piped(&world, login, args));
    }
}

#[test]
fn records_and_differences_break_between_words() {
    let world = busy();
    for columns in [40, 80, 200] {
        for (login, args) in RECORDS {
            let lines = shown(&world, login, args, columns);
            let piped = piped(&world, login, args);
            if args[0] != "notify" || columns != 40 {
                breaks_no_word(&lines, &piped);
            }
            // The same is said, whatever the width.
            let text = |text: &str| text.split_whitespace().collect::<String>();
            if args[0] != "notify" {
                assert_eq!(text(&lines.concat()), text(&piped.out), "{args:?} at {columns}");
            }
        }
    }
    let difference = shown(&world, "olivia", &["team", "apply", "new.toml", "--dry-run"], 40);
    assert!(difference.iter().any(|line| line.starts_with("  + member:zoe (")), "{difference:#?}");
    assert!(difference.iter().any(|line| line.starts_with("      ")), "what goes on is further in: {difference:#?}");
}

#[test]
fn a_pipe_gets_whole_lines_and_nothing_cut() {
    let world = busy();
    for (login, args, headings) in TABLES {
        let ran = piped(&world, login, args);
        let head = ran.out.lines().next().unwrap();
        assert_eq!(head.split("  ").filter(|it| !it.is_empty()).map(str::trim).collect::<Vec<_>>(), headings);
        if args[0] != "resources" {
            assert!(!ran.out.contains('…'), "{}", ran.out);
        }
        assert!(ran.out.lines().all(|line| !line.is_empty() && !line.starts_with(' ')), "a line each: {}", ran.out);
        assert_eq!(ran.err, "", "nothing else is said");
    }
    for args in [&["list", "--all"][..], &["inbox", "--all"], &["audit"], &["show", "2"]] {
        let out = piped(&world, "alice", args).out;
        assert!(out.lines().any(|line| line.contains(LONG)), "{out}");
    }
}

/// Where this begins in a line, in columns.
fn column(line: &str, of: &str) -> Option<usize> {
    line.find(of).map(|place| line[..place].width())
}

#[test]
fn wide_and_combining_characters_keep_the_columns_straight() {
    let world = World::sample();
    for reason in [WIDE, "e\u{301}e\u{301}e\u{301} done", "한국어 텍스트입니다", "🚀🚀🚀 launch", "plain"]
    {
        world.run("bob", &["request", "target:orders-db", "--reason", reason]).ok();
        let id = world.json("bob", &["list"])[0]["id"].to_string();
        world.run("alice", &["deny", &id, "--reason", reason]).ok();
    }
    for columns in [80, 200] {
        let lines = shown(&world, "alice", &["list", "--all"], columns);
        let begins: BTreeSet<usize> = lines.iter().filter_map(|line| column(line, "target:orders-db")).collect();
        assert_eq!(begins.len(), 1, "{lines:#?}");
        let lines = shown(&world, "olivia", &["audit"], columns);
        let goes_on = column(&lines[0], "WHAT").unwrap();
        for line in &lines[1..] {
            let indent = line.len() - line.trim_start().len();
            assert!(indent == 0 || indent == goes_on, "{line:?} in {lines:#?}");
        }
    }
}
