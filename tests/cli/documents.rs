//! The documents say what the program does: their keys are those of the parsers, their examples apply, their commands
//! are commands, their transcripts are what is printed, and their links lead somewhere.
//!
//! `ACCESS_BLESS=1` writes the transcripts anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use access::domain::channel::Channel;

use crate::harness::{ACCESS, World};
use crate::post::{SECRET, configure, private};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The pages, and what they say.
fn pages() -> Vec<(PathBuf, String)> {
    let folder = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|page| repository().join(page)).to_vec();
    paths.extend(folder.filter(|path| path.extension().is_some_and(|it| it == "md")));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What lies between these two, each time.
fn between<'t>(text: &'t str, begin: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(inside, _)| inside)
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names in backticks in the first column of a text's tables.
fn keys(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |")).map(|(cell, _)| cell);
    cells.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned)).collect()
}

fn all_sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { all_sources(&path) } else { fs::read_to_string(&path).unwrap() }).collect()
}

#[test]
fn each_direct_dependency_is_justified() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let linked: BTreeSet<String> = manifest["dependencies"].as_table().unwrap().keys().cloned().collect();
    let documented = read("docs/dependencies.md");
    let table = documented.split("\n\n").find(|part| part.starts_with("| crate |")).unwrap();
    assert_eq!(keys(table), linked);
}

#[test]
fn the_reference_of_the_team_file_has_every_key() {
    let source = all_sources(&repository().join("src/domain"));
    let mut known: BTreeSet<String> = between(&source, ".refuse_unknown(", ");").flat_map(quoted).collect();
    known.extend(between(&source, "const SAYS: ", "];").flat_map(quoted));
    known.extend(between(&source, "let of_notifications = ", ";").flat_map(quoted));
    known.extend(between(&source, "refuse_unknown(choice, ", ";").flat_map(quoted));
    known.extend(Channel::ALL.map(|channel| channel.as_str().to_owned()));
    known.extend(between(&source, "const WITH: ", "];").flat_map(quoted));
    known.extend(between(&source, "const KEYS: ", "];").flat_map(quoted));
    // These two head tables of their own.
    known.retain(|key| !["events", "channels"].contains(&key.as_str()));
    assert!(known.len() > 30, "{known:?}");

    let named = keys(&read("docs/team-file.md")).into_iter();
    let named: BTreeSet<String> =
        named.filter(|name| !name.starts_with('[')).map(|name| name.trim_start_matches("match.").to_owned()).collect();
    assert_eq!(named, known);
}

#[test]
fn the_examples_of_the_team_file_are_one_file_that_applies() {
    let page = read("docs/team-file.md");
    let examples: Vec<&str> = between(&page, "```toml\n", "```").collect();
    assert!(examples.len() >= 9, "{examples:?}");
    let world = World::empty();
    world.run("olivia", &["init"]).ok();
    world.apply("olivia", &examples.join("\n")).ok();
}

/// What `deliver` says of a configuration.
fn with_configuration(text: &str) -> String {
    let world = World::sample();
    configure(&world, text);
    world.run("root", &["deliver"]).err
}

#[test]
fn the_reference_of_the_configuration_has_every_key() {
    let page = read("docs/config.md");
    for heading in [
        "Top level",
        "`[smtp]`",
        "`[slack]`",
        "`[[webhooks]]`",
        "`[[connectors]]`",
        "`[ssh]`",
        "`[checkpoints]`",
        "`[log]`",
        "`[deliver]`",
    ] {
        let header = if heading == "Top level" { "" } else { heading.trim_matches('`') };
        // The program names the keys that it knows.
        let refusal = with_configuration(&format!("{header}\nnonsense = 1\n"));
        let (_, known) = refusal.split_once(", expected ").unwrap_or_else(|| panic!("{refusal}"));
        let known = known.lines().next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned);
        let mut known: BTreeSet<String> = known.collect();
        if header.is_empty() {
            // These have tables of their own.
            known.retain(|key| {
                !["smtp", "slack", "webhooks", "connectors", "ssh", "checkpoints", "log", "deliver"]
                    .contains(&key.as_str())
            });
        }
        let begin = format!("## {heading}\n");
        let section = between(&page, &begin, "\n## ").next();
        assert_eq!(keys(section.unwrap_or_else(|| panic!("no heading {heading}"))), known, "{heading}");
    }
}

#[test]
fn the_examples_of_the_configuration_are_valid() {
    let page = read("docs/config.md");
    let mut examples: Vec<String> = between(&page, "```toml\n", "```").map(str::to_owned).collect();
    assert_eq!(examples.len(), 9);
    // The file to start from, as it is, and with all that is commented out.
    let example = read("examples/config.toml");
    let uncommented = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.split(' ').nth(1) == Some("=") && !rest.starts_with("sendmail") => rest,
        _ => line,
    });
    examples.push(uncommented.collect::<Vec<_>>().join("\n"));
    examples.push(example);
    for example in examples {
        let world = World::sample();
        for name in ["smtp-password", "slack-token"] {
            private(&world, name, "secret");
        }
        private(&world, "slack-webhook-access", "https://hooks.slack.com/services/T0/B0/x");
        private(&world, "siem-secret", SECRET);
        let example = example.replace("/etc/access", world.folder().to_str().unwrap());
        configure(&world, &example);
        let findings = world.run("root", &["doctor", "--json"]).json();
        let delivery = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "delivery").unwrap();
        // A section alone may need another one.
        let excuses = [
            "ca.pem can't be read",
            "[checkpoints] has mail, and config.toml does not say how to send it",
            "/usr/sbin/sendmail: No such file",
        ];
        let excused = excuses.iter().any(|why| delivery["found"].to_string().contains(why));
        assert!(delivery["health"] == "ok" || excused, "{example}\n{delivery:#}");
    }
}

/// Plays the transcripts of a page, all in one home, and gives the page with what was printed. A line
/// `<!-- LENGTH later -->` lets time pass.
fn played(page: &str) -> String {
    let world = World::empty();
    let mut written = String::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(length) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" later -->")) {
            world.pass(length);
        }
        let command = line.strip_prefix("$ ").filter(|_| inside);
        inside = line == "```console" || inside && line != "```";
        // What was printed before is left out.
        if !inside || command.is_some() || line == "```console" {
            written += &format!("{line}\n");
        }
        if let Some(command) = command {
            written += &typed(&world, command);
        }
    }
    written
}

/// What a shell prints for a line that olivia types.
fn typed(world: &World, line: &str) -> String {
    let like = world.command("olivia", &[]);
    let folders = format!("{}:{}", Path::new(ACCESS).parent().unwrap().display(), env!("PATH"));
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", &format!("exec 2>&1; {line}")]).current_dir(world.folder());
    // The database is where it is for a person who names none.
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("ACCESS_DB");
    let output = command.env("PATH", folders).output().unwrap();
    let home = world.folder().to_str().unwrap();
    String::from_utf8(output.stdout).unwrap().replace(home, "/home/olivia")
}

#[test]
fn the_transcripts_are_what_the_program_prints() {
    let mut transcripts = 0;
    for (path, page) in pages() {
        if !page.contains("```console\n") {
            continue;
        }
        transcripts += 1;
        let played = played(&page);
        if std::env::var_os("ACCESS_BLESS").is_some() {
            fs::write(&path, played).unwrap();
        } else {
            assert_eq!(page, played, "{}: run this test with ACCESS_BLESS=1", path.display());
        }
    }
    assert!(transcripts >= 1);
}

/// What pages write where a reader puts something of their own.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("access COMMAND", "access help"),
    ("RESOURCE", "target:orders-db"),
    ("NAME", "bob"),
    ("ID", "1"),
    ("FILE", "file"),
    ("TEXT", "text"),
];

#[test]
fn every_command_line_in_the_documents_is_one() {
    let world = World::sample();
    let mut lines = 0;
    for (path, page) in pages() {
        let blocks = ["sh", "console"].into_iter().flat_map(|kind| {
            let begin = format!("```{kind}\n");
            between(&page, &begin, "\n```").map(str::to_owned).collect::<Vec<_>>()
        });
        let blocks: Vec<String> = blocks.collect();
        let typed = blocks.iter().flat_map(|block| block.lines()).map(|line| line.trim_start_matches("$ "));
        // A line of code in a sentence, such as `access check --quiet target:orders-db && psql orders`.
        let sentences = page.split('`').skip(1).step_by(2).filter(|code| !code.contains(['\n', '…']));
        let commands = typed.chain(sentences).filter(|line| {
            let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            let at = words.iter().position(|word| *word == "access");
            at.is_some_and(|at| words.len() > at + 1 && words[..at].iter().all(|word| *word == "sudo" || *word == "*"))
        });
        for line in commands {
            let line = line.trim_start_matches(['*', ' ']);
            // What follows the dashes is a command of its own, or an argument like the others.
            let mut line = match line.split_once(" -- ") {
                Some((run, _)) if run.starts_with("access run ") => run.to_owned(),
                _ => line.replace(" -- ", " "),
            };
            for (stands_for, value) in PLACEHOLDERS {
                line = line.replace(stands_for, value);
            }
            // The command alone, without what the shell does with its answer.
            let ends = [" > ", " >> ", " | ", " && ", "; echo"].iter().filter_map(|end| line.find(end));
            let line = &line[..ends.min().unwrap_or(line.len())];
            // Whatever it is for, help is what it gives, if it is understood up to there.
            let script = format!("sudo() {{ \"$@\"; }}\naccess() {{ {ACCESS} \"$@\" --help >&2; }}\n{line}");
            let mut command = Command::new("sh");
            command.args(["-c", &script]).env("HOME", world.folder()).current_dir(world.folder()).stdin(Stdio::null());
            let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
            let understood = said.contains("Usage:") || said.starts_with("access ");
            assert!(understood && !said.contains("error:"), "{}: {line}\n{said}", path.display());
            lines += 1;
        }
    }
    assert!(lines > 60, "{lines}");
}

/// The anchor that a heading has.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for (path, page) in pages() {
        let without_code = page.split("```").step_by(2).collect::<String>();
        for target in between(&without_code, "](", ")").filter(|target| !target.starts_with("http")) {
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(to.exists(), "{}: {target}", path.display());
            if !wanted.is_empty() {
                let text = fs::read_to_string(&to).unwrap();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == wanted);
                assert!(found, "{}: {target}", path.display());
            }
        }
    }
}

#[test]
fn each_threat_names_the_test_that_attacks_it() {
    let page = read("docs/security.md");
    let tests = all_sources(&repository().join("tests/shared"))
        + &all_sources(&repository().join("tests/connectors"))
        + &all_sources(&repository().join("tests/fleet"))
        + &all_sources(&repository().join("tests/property"))
        + &all_sources(&repository().join("tests/cli"))
        + &all_sources(&repository().join("tests/reliability"))
        + &all_sources(&repository().join("src"));
    let (_, threats) = page.split_once("\n## Threats and tests\n").unwrap();
    let threats = threats.split("\n## ").next().unwrap();
    let is_row = |line: &&str| line.starts_with("| ") && !["| threat", "| ---"].iter().any(|it| line.starts_with(it));
    let rows: Vec<&str> = threats.lines().filter(is_row).collect();
    assert!(rows.len() > 60, "{rows:?}");
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let before = tests.split_once(&format!("fn {name}()")).map(|(before, _)| before.trim_end());
            let is_test = before.is_some_and(|before| before.ends_with("#[test]"));
            assert!(is_test, "docs/security.md names a test {name}");
        }
    }
}
