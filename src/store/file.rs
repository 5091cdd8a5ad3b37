//! The file before SQLite sees it: where it may lie, whose it must be, and whose turn it is to write.
//! All checks come before SQLite opens the file: closing another descriptor on it would drop SQLite's locks
//! (see "How To Corrupt An SQLite Database File", section 2.2).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_UNLCK, F_WRLCK, SEEK_SET, flock};
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::geteuid;

use super::Error;

/// How long a command waits for others before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The size of SQLite's pages, by default.
const PAGE: u64 = 4096;
const OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// File systems on which locks don't hold between machines (statfs(2) gives the numbers).
const NETWORK: [(&str, i64); 9] = [
    ("NFS", 0x6969),
    ("SMB", 0x517b),
    ("CIFS", 0xff53_4d42),
    ("SMB2", 0xfe53_4d42),
    ("AFS", 0x5346_414f),
    ("Coda", 0x7375_7245),
    ("Ceph", 0x00c3_6400),
    ("NCP", 0x564c),
    ("Lustre", 0x0bd0_0bd0),
];

fn invalid(message: String, hint: impl Into<String>) -> Error {
    Error::Invalid { message, hint: hint.into() }
}

pub fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::Io { message: format!("{}: {error}", path.display()) }
}

/// The path with its folder resolved, so that a linked folder is followed and a linked file is not.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let name = path
        .file_name()
        .ok_or_else(|| invalid(format!("{} is not the path of a file", path.display()), "name a file with --db"))?;
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    match parent.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Absent { path: path.to_owned() }),
        Err(error) => Err(io(parent, &error)),
    }
}

/// The resolved path of a database file that is safe to open: a regular file of ours, that nobody else can read,
/// write or replace, on a file system of this machine.
pub fn check(path: &Path) -> Result<PathBuf, Error> {
    let path = resolve(path)?;
    let shown = path.display();
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::Absent { path }),
        Err(error) => return Err(io(&path, &error)),
    };
    if found.is_symlink() {
        return Err(invalid(format!("{shown} is a link, not a database file"), "name the file it points to"));
    }
    if found.is_dir() {
        return Err(invalid(format!("{shown} is a folder, not a database file"), "name a file in it with --db"));
    }
    if !found.is_file() {
        return Err(invalid(format!("{shown} is not a regular file"), "name another with --db"));
    }
    let me = geteuid();
    if !me.is_root() && found.uid() != me.as_raw() {
        return Err(invalid(format!("{shown} belongs to another user"), "only its owner may use it"));
    }
    if found.mode() & OTHERS != 0 {
        return Err(invalid(
            format!("{shown} can be read or written by others (mode {:04o})", found.mode() & 0o7777),
            format!("make it yours alone: chmod 600 {shown}"),
        ));
    }
    if found.mode() & 0o600 != 0o600 {
        return Err(invalid(
            format!("{shown} is read-only (mode {:04o})", found.mode() & 0o7777),
            format!("make it writable: chmod 600 {shown}"),
        ));
    }
    if found.len() == 0 {
        return Err(invalid(format!("{shown} is empty"), "remove it and run `access init`"));
    }
    // SQLite takes the rest of a cut page as zeros. With a log beside it, that has the page whole.
    if found.len() % PAGE != 0 && !beside(&path, "-wal").exists() {
        return Err(invalid(
            format!("{shown} is not an SQLite database, or was cut off in the middle of a page"),
            "name the right file with --db, or restore a backup",
        ));
    }
    check_folder(&path, found.uid())?;
    Ok(path)
}

/// Nobody but the owner and root may put another file in this one's place.
#[allow(clippy::useless_conversion, reason = "the number's type is another on other machines")]
fn check_folder(path: &Path, owner: u32) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(folder).map_err(|error| io(folder, &error))?;
    let shown = folder.display();
    if found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0 {
        return Err(invalid(
            format!("the folder {shown} can be written by others (mode {:04o})", found.mode() & 0o7777),
            format!("make it yours alone: chmod 700 {shown}"),
        ));
    }
    if found.uid() != owner && found.uid() != 0 {
        return Err(invalid(
            format!("the folder {shown} belongs to another user"),
            "move the file to a folder of your own",
        ));
    }
    let kind = statfs(folder).map_err(|error| io(folder, &error.into()))?.filesystem_type();
    match NETWORK.into_iter().find(|&(_, number)| FsType(number) == kind) {
        Some((name, _)) => Err(invalid(
            format!("{shown} is on a network file system ({name}), where locks don't hold"),
            "keep the database on a disk of this machine",
        )),
        None => Ok(()),
    }
}

/// Where a new database can be put: the folder exists afterwards (0700 where it had to be made), and is safe.
pub fn prepare(path: &Path) -> Result<PathBuf, Error> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|error| io(parent, &error))?;
    }
    let path = resolve(path)?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::Exists { path });
    }
    check_folder(&path, geteuid().as_raw())?;
    Ok(path)
}

/// A name beside this path.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes an empty file that nobody else can open.
pub fn create_private(path: &Path) -> Result<(), Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| io(path, &error))
}

/// The path of a file that is not there yet, in a folder that is.
pub fn vacant(path: &Path) -> Result<PathBuf, Error> {
    let path = resolve(path).map_err(|error| match (error, path.parent()) {
        // What is not there is a folder, and not the database.
        (Error::Absent { .. }, Some(folder)) => io(folder, &nix::errno::Errno::ENOENT.into()),
        (error, _) => error,
    })?;
    if fs::symlink_metadata(&path).is_ok() { Err(Error::Exists { path }) } else { Ok(path) }
}

pub fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| io(path, &error))
}

/// Gives a finished draft its name, and syncs that. Never takes the place of a file that came meanwhile: a hard link,
/// unlike a rename, fails then.
pub fn move_into_place(draft: &Path, path: &Path) -> Result<(), Error> {
    fs::hard_link(draft, path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => io(path, &error),
    })?;
    sync(path.parent().unwrap_or(Path::new("/")))
}

/// Removes a draft and what SQLite laid beside it. What is left behind does no harm, and there may be nothing.
pub fn remove_draft(draft: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let _ = fs::remove_file(beside(draft, suffix));
    }
}

/// A turn at writing, held until it is dropped.
///
/// SQLite's own waiting polls at growing intervals and is unfair: of sixteen writers the unluckiest waited over a
/// second, and beside one that writes batch after batch the others never came to write at all. So writers take turns on
/// locks of our own, in a file beside the database: whoever is next waits for the turn at the gate, and who has just had
/// a turn has to pass the gate again. It guards nothing: SQLite's lock does.
pub struct LockFile(#[expect(dead_code, reason = "closing it releases the locks")] File);

/// The byte of the lock file that the next in line holds, the one that the writer holds, and the one of whoever sends
/// notifications.
const GATE: i64 = 0;
const TURN: i64 = 1;
const SENDER: i64 = 2;

/// Held for as long as it is open; None while another holds it.
pub fn lock_for_sending(database: &Path) -> Result<Option<File>, Error> {
    let path = beside(database, ".lock");
    let file = open_lock_file(database, &path)?;
    let taken = lock(&file, SENDER, Wait::No).map_err(|error| io(&path, &error.into()))?;
    Ok(taken.then_some(file))
}

impl LockFile {
    /// Waits for a turn, or gives up as busy.
    pub fn wait_for(database: &Path) -> Result<LockFile, Error> {
        let path = beside(database, ".lock");
        let file = open_lock_file(database, &path)?;
        let taken = at_once(&file).map_err(|error| io(&path, &error.into()))?;
        if taken {
            return Ok(LockFile(file));
        }
        // The kernel wakes those who wait in order, but can't be told a deadline: a thread waits, and is left behind.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let waited = in_line(&file).map(|()| file);
            // Nobody receives it when the deadline has passed.
            let _ = sender.send(waited);
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(file)) => Ok(LockFile(file)),
            Ok(Err(error)) => Err(io(&path, &error.into())),
            Err(_) => Err(Error::Busy),
        }
    }
}

fn open_lock_file(database: &Path, path: &Path) -> Result<File, Error> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path);
    let file = open.map_err(|error| io(path, &error))?;
    if geteuid().is_root() {
        // Root may be the first to need it, and must not keep the database's owner from it.
        let owner = fs::metadata(database).map_err(|error| io(database, &error))?;
        fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(|error| io(path, &error))?;
    }
    Ok(file)
}

/// Takes a turn if nobody has one or is in line.
fn at_once(file: &File) -> nix::Result<bool> {
    if !lock(file, GATE, Wait::No)? {
        return Ok(false);
    }
    let taken = lock(file, TURN, Wait::No)?;
    unlock(file, GATE)?;
    Ok(taken)
}

fn in_line(file: &File) -> nix::Result<()> {
    lock(file, GATE, Wait::Yes)?;
    lock(file, TURN, Wait::Yes)?;
    unlock(file, GATE)
}

#[derive(Clone, Copy)]
enum Wait {
    No,
    Yes,
}

/// Locks of the open file, not of the process (fcntl_locking(2)): closing it in one place releases it nowhere else.
fn lock(file: &File, byte: i64, wait: Wait) -> nix::Result<bool> {
    let wanted = one_byte(byte, F_WRLCK);
    loop {
        let how = match wait {
            Wait::No => FcntlArg::F_OFD_SETLK(&wanted),
            Wait::Yes => FcntlArg::F_OFD_SETLKW(&wanted),
        };
        match fcntl(file, how) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn unlock(file: &File, byte: i64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&one_byte(byte, F_UNLCK))).map(drop)
}

#[expect(clippy::cast_possible_truncation, reason = "both are small constants")]
fn one_byte(byte: i64, kind: i32) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}
