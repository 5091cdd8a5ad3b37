//! A disk that loses what was not synced. The model is worse than any file system: only a sync of a file makes its content last,
//! and only a sync of a folder the names in it. Without a sync each name and each sector is as it was at any moment since the
//! last one, whatever the order of the calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::recording::Op;

/// What a disk writes at once, and what SQLite does.
const SECTOR: usize = 512;
const PAGE: usize = 4096;

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLength(usize),
}

#[derive(Debug, Clone, Default)]
struct Node {
    is_folder: bool,
    mode: u32,
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename { from: PathBuf, to: PathBuf, node: usize },
}

impl NameChange {
    fn folder(&self) -> &Path {
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) | NameChange::Rename { to: path, .. } => {
                path.parent().unwrap()
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename { from, to, node } => {
                // With what is in it, if it is a folder.
                let inside: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in inside {
                    let moved = names.remove(&path);
                    let below = path.strip_prefix(from).unwrap();
                    names.extend(moved.filter(|_| path != *from).map(|moved| (to.join(below), moved)));
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// What reached the disk of all that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Nothing,
    Everything,
    Names,
    Contents,
    /// By these numbers.
    Some,
}

impl Reached {
    pub const PLAIN: [Reached; 4] = [Reached::Nothing, Reached::Everything, Reached::Names, Reached::Contents];
}

/// The files of a folder, after the power came back. None: a folder.
pub type Image = BTreeMap<PathBuf, Option<(u32, Vec<u8>)>>;

#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    synced: BTreeMap<PathBuf, usize>,
    pending: Vec<NameChange>,
    names: BTreeMap<PathBuf, usize>,
    /// Files of another system, which keeps what it is told.
    elsewhere: &'static [&'static str],
}

impl Disk {
    /// Everything in this folder, synced.
    pub fn of(root: &Path, elsewhere: &'static [&'static str]) -> Disk {
        let names = BTreeMap::new();
        let mut disk = Disk {
            root: root.to_owned(),
            nodes: Vec::new(),
            synced: names.clone(),
            pending: Vec::new(),
            names,
            elsewhere,
        };
        disk.take(root);
        disk.synced = disk.names.clone();
        disk
    }

    fn take(&mut self, path: &Path) {
        let (is_folder, mode) = (path.is_dir(), fs::metadata(path).unwrap().permissions().mode());
        let synced = if is_folder { Vec::new() } else { fs::read(path).unwrap() };
        self.nodes.push(Node { is_folder, mode, synced, pending: Vec::new() });
        self.names.insert(path.to_owned(), self.nodes.len() - 1);
        if is_folder {
            fs::read_dir(path).unwrap().for_each(|entry| self.take(&entry.unwrap().path()));
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { path, mode } if !self.names.contains_key(path) => self.add(path, false, mode & !0o022),
            Op::CreateFolder { path } => self.add(path, true, 0o700),
            Op::Create { .. } | Op::Told => {}
            Op::Write { path, at, bytes } => {
                let at = at.unwrap_or_else(|| self.length(path));
                self.change(path, Change::Write { at, bytes: bytes.clone() });
            }
            Op::SetLength { path, length } => self.change(path, Change::SetLength(*length)),
            Op::Sync { path } => self.sync(path),
            Op::Rename { from, to } => {
                let node = self.names[from];
                self.rename(NameChange::Rename { from: from.clone(), to: to.clone(), node });
            }
            Op::Link { from, to } => self.rename(NameChange::Add(to.clone(), self.names[from])),
            Op::Remove { path } => self.rename(NameChange::Remove(path.clone())),
        }
    }

    fn add(&mut self, path: &Path, is_folder: bool, mode: u32) {
        self.nodes.push(Node { is_folder, mode, ..Node::default() });
        self.rename(NameChange::Add(path.to_owned(), self.nodes.len() - 1));
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn change(&mut self, path: &Path, change: Change) {
        // A file without a name, or a socket, is lost in any case.
        let Some(node) = self.names.get(path) else { return };
        self.nodes[*node].pending.push(change);
        if self.elsewhere.iter().any(|name| path.ends_with(name)) {
            self.sync(path);
            self.sync(path.parent().unwrap());
        }
    }

    fn length(&self, path: &Path) -> usize {
        self.names.get(path).map_or(0, |node| self.nodes[*node].content(|_| usize::MAX, usize::MAX).len())
    }

    fn sync(&mut self, path: &Path) {
        let Some(node) = self.names.get(path) else { return };
        let node = &mut self.nodes[*node];
        if node.is_folder {
            let (done, left) =
                std::mem::take(&mut self.pending).into_iter().partition(|change| change.folder() == path);
            self.pending = left;
            let done: Vec<NameChange> = done;
            done.iter().for_each(|change| change.apply(&mut self.synced));
        } else {
            node.synced = node.content(|_| usize::MAX, usize::MAX);
            node.pending.clear();
        }
    }

    /// What is on the disk if the power fails now.
    pub fn after_power_loss(&self, reached: Reached, random: &mut Random) -> Image {
        let mut names = self.synced.clone();
        for change in &self.pending {
            let arrived = match reached {
                Reached::Nothing | Reached::Contents => false,
                Reached::Everything | Reached::Names => true,
                Reached::Some => random.below(2) == 0,
            };
            if arrived {
                change.apply(&mut names);
            }
        }
        let there: BTreeSet<PathBuf> = names.keys().cloned().collect();
        let has_folders = |path: &Path| {
            path.ancestors().skip(1).take_while(|it| it.starts_with(&self.root)).all(|it| there.contains(it))
        };
        let mut image = Image::new();
        for (path, node) in names.iter().filter(|(path, _)| has_folders(path)) {
            let node = &self.nodes[*node];
            let content = match reached {
                _ if node.is_folder => None,
                Reached::Nothing | Reached::Names => Some(node.synced.clone()),
                Reached::Everything | Reached::Contents => Some(node.content(|_| usize::MAX, usize::MAX)),
                // What is written through a mapping is not in the recording.
                Reached::Some if path.to_str().unwrap().ends_with("-shm") => Some(node.noise(random)),
                Reached::Some => Some(node.torn(random)),
            };
            image.insert(path.clone(), content.map(|content| (node.mode, content)));
        }
        image
    }
}

impl Node {
    /// The content, if so many of the changes have reached this sector, and so many the length.
    fn content(&self, mut reached: impl FnMut(usize) -> usize, length: usize) -> Vec<u8> {
        let mut content = self.synced.clone();
        let mut ends = content.len();
        let mut of_sector: BTreeMap<usize, usize> = BTreeMap::new();
        for (nth, change) in self.pending.iter().enumerate() {
            match change {
                Change::SetLength(to) => {
                    content.resize(content.len().max(*to), 0);
                    content[*to..].fill(0);
                    ends = if nth < length { *to } else { ends };
                }
                Change::Write { at, bytes } => {
                    let end = at + bytes.len();
                    content.resize(content.len().max(end), 0);
                    for sector in at / SECTOR..=(end - 1) / SECTOR {
                        if nth < *of_sector.entry(sector).or_insert_with(|| reached(sector)) {
                            let (from, to) = ((sector * SECTOR).max(*at), ((sector + 1) * SECTOR).min(end));
                            content[from..to].copy_from_slice(&bytes[from - at..to - at]);
                        }
                    }
                    ends = if nth < length { ends.max(end) } else { ends };
                }
            }
        }
        content.resize(ends, 0);
        content
    }

    /// Each sector, or each page, as it was at some moment since the last sync.
    fn torn(&self, random: &mut Random) -> Vec<u8> {
        let count = self.pending.len() + 1;
        let length = random.below(count);
        let unit = [1, PAGE / SECTOR, usize::MAX][random.below(3)];
        let mut of_unit: BTreeMap<usize, usize> = BTreeMap::new();
        self.content(|sector| *of_unit.entry(sector / unit).or_insert_with(|| random.below(count)), length)
    }

    fn noise(&self, random: &mut Random) -> Vec<u8> {
        let length = self.content(|_| usize::MAX, usize::MAX).len();
        let numbers = (0..=length / 4).flat_map(|_| u32::try_from(random.below(1 << 32)).unwrap().to_le_bytes());
        numbers.take(length).collect()
    }
}

/// Replaces everything in the folder.
pub fn write_image(root: &Path, image: &Image) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    for (path, content) in image.iter().filter(|(path, _)| *path != root) {
        match content {
            None => fs::DirBuilder::new().mode(0o700).create(path).unwrap(),
            Some((mode, bytes)) => {
                fs::write(path, bytes).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(*mode & 0o777)).unwrap();
            }
        }
    }
}
