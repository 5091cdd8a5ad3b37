//! The committed completion scripts and manual pages are those that the program writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::harness::World;

/// File names and contents.
type Folder = BTreeMap<String, String>;

fn read(folder: &Path) -> Folder {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    files.map(|file| file.unwrap().path()).map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

fn committed(folder: &str) -> Folder {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
}

/// Says which files differ, and how to make them again.
#[track_caller]
fn assert_same(folder: &str, written: &Folder, remedy: &str) {
    let committed = committed(folder);
    let names: std::collections::BTreeSet<&String> = committed.keys().chain(written.keys()).collect();
    let wrong: Vec<String> = names
        .into_iter()
        .filter_map(|name| match (committed.get(name), written.get(name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(_), Some(_)) => Some(format!("{folder}/{name} is out of date")),
            (Some(_), None) => Some(format!("{folder}/{name} is of no command")),
            (None, _) => Some(format!("{folder}/{name} is missing")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}\nmake them again: {remedy}", wrong.join("\n"));
}

#[test]
fn the_completion_scripts_are_those_the_program_prints() {
    let world = World::empty();
    let scripts = [("bash", "access.bash"), ("zsh", "_access"), ("fish", "access.fish")];
    let print = |shell| world.run("bob", &["completions", shell]).ok().out;
    let written = scripts.map(|(shell, file)| (file.to_owned(), print(shell)));
    let remedy = "for s in bash:access.bash zsh:_access fish:access.fish; do \
                  cargo run -- completions ${s%:*} > completions/${s#*:}; done";
    assert_same("completions", &written.into(), remedy);
}

#[test]
fn the_manual_pages_are_those_the_program_writes() {
    let world = World::empty();
    world.run("bob", &["man", "man"]).ok().says("pages to man");
    assert_same("man", &read(&world.folder().join("man")), "rm -r man; cargo run -- man man");
}

fn mandoc(args: &[&str], page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
    let ran = Command::new("mandoc").args(args).arg(path).output().expect("mandoc is installed (tests/run.sh)");
    String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap()
}

#[test]
fn mandoc_finds_no_fault_with_the_manual_pages() {
    for page in committed("man").keys() {
        assert_eq!(mandoc(&["-T", "lint", "-W", "warning"], page), "", "{page}");
    }
}

#[test]
fn groff_warns_of_nothing_in_the_manual_pages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for page in committed("man").keys() {
        // As `man --warnings` runs it.
        let mut groff = Command::new("groff");
        let ran = groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(folder.join(page)).output();
        let ran = ran.expect("groff is installed (tests/run.sh)");
        assert_eq!(String::from_utf8(ran.stderr).unwrap(), "", "{page}");
    }
}

/// What a page names under SEE ALSO, as file names.
fn see_also(page: &str) -> Vec<String> {
    let (_, section) = page.split_once(".SH \"SEE ALSO\"\n").expect("a page has SEE ALSO");
    let plain = section.replace("\\fB", "").replace("\\fR", "").replace('\\', "");
    let name =
        |word: &str| Some(word.trim_matches(['(', ')', ',']).replacen('(', ".", 1)).filter(|it| it.contains('.'));
    plain.split_whitespace().filter_map(name).collect()
}

#[test]
fn see_also_names_other_pages_and_leads_to_each() {
    let pages = committed("man");
    let mut named: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for (page, text) in &pages {
        let others = see_also(text);
        let different: std::collections::BTreeSet<&String> = others.iter().collect();
        assert!(!others.is_empty() && different.len() == others.len(), "{page}: {others:?}");
        for other in others {
            assert!(pages.contains_key(&other) && other != *page, "{page}: {other}");
            named.insert(other);
        }
    }
    assert_eq!(named, pages.keys().cloned().collect());
}

#[test]
fn the_manual_pages_fit_a_terminal_of_80_columns() {
    for page in committed("man").keys() {
        for line in mandoc(&["-T", "ascii", "-O", "width=78"], page).lines() {
            // Bold and underlined letters are struck twice: x, backspace, x.
            let struck = line.matches('\u{8}').count();
            let width = line.chars().count() - 2 * struck;
            assert!(width <= 80, "{page}: {line}");
        }
    }
}

#[test]
fn the_manual_does_not_change_with_the_version() {
    for (page, text) in committed("man") {
        assert!(!text.contains(env!("CARGO_PKG_VERSION")), "{page}");
    }
}
