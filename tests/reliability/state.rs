//! What a world's folder has, for comparisons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::World;
use crate::rows::{recorded, rows};

/// The content of each file by its path. Of a database: its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(BTreeMap<PathBuf, String>);

impl State {
    pub fn of(world: &World) -> State {
        let mut files = BTreeMap::new();
        collect(world.folder(), world.folder(), &mut files);
        State(files)
    }

    /// Without random numbers: what was recorded, how many rows there are, and which files.
    #[must_use]
    pub fn recorded(self) -> State {
        let reduce = |(name, content): (PathBuf, String)| {
            let content = if content.starts_with("version ") {
                recorded(&content)
            } else if name.ends_with("allowed") {
                content
            } else {
                String::new()
            };
            (name, content)
        };
        State(self.0.into_iter().map(reduce).collect())
    }

    /// The same without what connectors failed to do, and who was notified of it.
    #[must_use]
    pub fn without_failures(self) -> State {
        let stays = |line: &&str| !line.contains("provisioning.failed") && !["notification", "outbox"].contains(line);
        let reduce = |content: String| content.lines().filter(stays).collect::<Vec<_>>().join("\n");
        State(self.0.into_iter().map(|(name, content)| (name, reduce(content))).collect())
    }

    /// What is not the same in both, for a person.
    pub fn differs(&self, other: &State) -> String {
        let names: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let mut all = String::new();
        for name in names {
            let (one, two) = (lines_of(self.0.get(name)), lines_of(other.0.get(name)));
            let lines: BTreeSet<_> = one.keys().chain(two.keys()).collect();
            for line in lines {
                let (here, there) = (one.get(line).unwrap_or(&0), two.get(line).unwrap_or(&0));
                if here != there {
                    all.push_str(&format!("{}: {here} -> {there} times: {line:.400}\n", name.display()));
                }
            }
        }
        all
    }
}

/// How often a file has each line. None: there is no file.
fn lines_of(content: Option<&String>) -> BTreeMap<&str, usize> {
    let mut lines = BTreeMap::new();
    for line in content.map_or("there is no file", String::as_str).lines() {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

/// A copy of a world, with its clock.
pub fn copy(world: &World) -> World {
    let copied = World::empty();
    copy_folder(world.folder(), copied.folder());
    copied.set_clock(&world.now().to_string());
    copied
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&copied).unwrap();
            fs::set_permissions(&copied, fs::metadata(&path).unwrap().permissions()).unwrap();
            copy_folder(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// What a run that was killed may leave, and what SQLite keeps beside a database: part of the database, or of no meaning.
fn counts(name: &str) -> bool {
    let beside =
        ["-wal", "-shm", "-journal", ".lock", ".new", ".key-new", ".key-new-0"].iter().any(|end| name.ends_with(end));
    !beside && !name.contains(".new-") && !name.contains(".log") && name != ".config"
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !counts(name) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let content = if bytes.starts_with(b"SQLite format 3\0") {
            rows(&path)
        } else if name.ends_with(".db") {
            format!("{} bytes that are no database", bytes.len())
        } else {
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // The name of the reconciler's journal has the path of the database in it.
        let shown = if folder.ends_with("reconcile") { folder.join("journal.db") } else { path };
        files.insert(shown.strip_prefix(root).unwrap().to_owned(), content);
    }
}
