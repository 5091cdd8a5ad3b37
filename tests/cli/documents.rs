//! The documents say what the program does: their keys are those of the parser, and their examples apply.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use access::domain::channel::Channel;

use crate::harness::World;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What lies between these two, each time.
fn between<'t>(text: &'t str, begin: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(inside, _)| inside)
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_of_the_team_file_has_every_key() {
    let source = read("src/domain/team_file.rs");
    let mut keys: BTreeSet<String> = between(&source, ".refuse_unknown(", ");").flat_map(quoted).collect();
    keys.extend(between(&source, "const SAYS: ", "];").flat_map(quoted));
    keys.extend(between(&source, "let of_notifications = ", ";").flat_map(quoted));
    keys.extend(between(&source, "refuse_unknown(choice, ", ";").flat_map(quoted));
    keys.extend(Channel::ALL.map(|channel| channel.as_str().to_owned()));
    keys.extend(between(&source, "const WITH: ", "];").flat_map(quoted));
    // These two head tables of their own.
    keys.retain(|key| !["events", "channels"].contains(&key.as_str()));
    assert!(keys.len() > 30, "{keys:?}");

    let page = read("docs/team-file.md");
    let rows = page.lines().filter(|line| line.starts_with("| `") || line.starts_with("| connection |"));
    let rows =
        rows.chain(page.lines().filter(|line| ["| target |", "| feature |"].iter().any(|it| line.starts_with(it))));
    let mut named: BTreeSet<String> = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let cell = if cells[1].contains('`') { cells[1] } else { cells[2] };
        let names = cell.split('`').skip(1).step_by(2).filter(|name| !name.starts_with('['));
        named.extend(names.map(|name| name.trim_start_matches("match.").to_owned()));
    }
    assert_eq!(named, keys);
}

#[test]
fn the_examples_of_the_team_file_apply() {
    let page = read("docs/team-file.md");
    let examples: Vec<&str> = between(&page, "```toml\n", "```").collect();
    assert_eq!(examples.len(), 2);
    let world = World::sample();
    world.apply("olivia", &format!("{}\n{}", read("examples/team.toml"), examples.join("\n"))).ok();
}
