//! The database as a file: checks of its place and permissions, and the lock file.
//!
//! All checks run before SQLite opens the file, because closing another descriptor of it would release SQLite's locks (see "How To
//! Corrupt An SQLite Database File", section 2.2).

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{F_UNLCK, F_WRLCK, SEEK_SET, flock};
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::{AccessFlags, access, geteuid};

pub use super::draft::{create_folders, move_into_place, remove_draft};

use super::Error;

/// How long a command waits for a lock.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// SQLite's default page size.
const PAGE: u64 = 4096;
const OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Suffixes of the files that SQLite and access keep beside a database.
const BESIDE: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".key"];

/// Local file systems, where locks and shared memory work. The numbers are from the kernel's `magic.h`.
const LOCAL: [i64; 13] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0xf2f5_2010, // F2FS
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
    0x3153_464a, // JFS
    0x5265_4973, // ReiserFS
    0x3434,      // NILFS2
    0x2405_1905, // UBIFS
    0xf15f,      // eCryptfs, on top of a local one
];

/// File systems that other machines may use at the same time. Locks or shared memory don't work between machines.
const SHARED: [(&str, i64); 25] = [
    ("NFS", 0x6969),
    ("SMB", 0x517b),
    ("CIFS", 0xff53_4d42),
    ("SMB2", 0xfe53_4d42),
    ("AFS", 0x5346_414f),
    ("kAFS", 0x6b41_4653),
    ("Coda", 0x7375_7245),
    ("Ceph", 0x00c3_6400),
    ("NCP", 0x564c),
    ("Lustre", 0x0bd0_0bd0),
    ("9p", 0x0102_1997),
    ("FUSE: sshfs, virtiofs and others", 0x6573_5546),
    ("GFS2", 0x0116_1970),
    ("OCFS2", 0x7461_636f),
    ("GPFS", 0x4750_4653),
    ("BeeGFS", 0x1983_0326),
    ("WekaFS", 0x1983_0327),
    ("OrangeFS", 0x2003_0528),
    ("PanFS", 0xaad7_aaea),
    ("StorNext", 0xbeef_dead),
    ("ACFS", 0x6163_6673),
    ("VirtualBox shared folder", 0x786f_4256),
    ("VMware shared folder", 0xbacb_acbc),
    ("Parallels shared folder", 0x7c7c_6673),
    ("hostfs", 0x00c0_ffee),
];

fn invalid(message: String, hint: impl Into<String>) -> Error {
    Error::Invalid { message, hint: hint.into() }
}

pub fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::Io { message: format!("{}: {error}", path.display()) }
}

/// The path with links in its folder resolved. A link in place of the file itself is not.
pub fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let name = path
        .file_name()
        .ok_or_else(|| invalid(format!("{} is not a path to a file", path.display()), "name a file"))?;
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

/// Checks that a database is safe to open: a regular file that this user owns, that nobody else can read, write or replace, on a
/// local file system. Returns its resolved path.
pub fn check(path: &Path) -> Result<PathBuf, Error> {
    let path = resolve(path)?;
    let shown = path.display();
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::Absent { path }),
        Err(error) => return Err(io(&path, &error)),
    };
    if found.is_symlink() {
        return Err(invalid(format!("{shown} is a link, not a database file"), "name the file that it points to"));
    }
    if found.is_dir() {
        return Err(invalid(format!("{shown} is a folder, not a database file"), "name a file in it with --db"));
    }
    if !found.is_file() {
        return Err(invalid(format!("{shown} is not a regular file"), "name another one with --db"));
    }
    // This holds for root too: it becomes the owner before it opens the file (see `backend`).
    if found.uid() != geteuid().as_raw() {
        return Err(invalid(format!("{shown} belongs to another user"), "only its owner can use it"));
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
    // SQLite reads the missing part of a truncated page as zeros. A write-ahead log may have the complete page.
    if found.len() % PAGE != 0 && !beside(&path, "-wal").exists() {
        return Err(invalid(
            format!("{shown} is not an SQLite database, or was cut off in the middle of a page"),
            "name the right file with --db, or restore a backup",
        ));
    }
    check_folder(&path)?;
    check_file_system(&path)?;
    check_file_system(folder_of(&path))?;
    for suffix in BESIDE {
        let path = beside(&path, suffix);
        match fs::symlink_metadata(&path) {
            Ok(found) => check_private(&path, &found)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(&path, &error)),
        }
    }
    check_writable(folder_of(&path), AccessFlags::W_OK | AccessFlags::X_OK)?;
    check_writable(&path, AccessFlags::R_OK | AccessFlags::W_OK)?;
    Ok(path)
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        None => Path::new("/"),
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    }
}

/// Refuses a file beside the database that another user could have created or can change, since SQLite reads it.
pub(super) fn check_private(path: &Path, found: &Metadata) -> Result<(), Error> {
    let shown = path.display();
    let hint = "find out who put it there, move it away, then run `access doctor`";
    if !found.is_file() {
        return Err(invalid(format!("{shown} is not a regular file"), hint));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(invalid(format!("{shown} belongs to another user"), hint));
    }
    if found.nlink() > 1 {
        return Err(invalid(format!("{shown} is a hard link: the same file has another name"), hint));
    }
    if found.mode() & OTHERS != 0 {
        return Err(invalid(
            format!("{shown} can be read or written by others (mode {:04o})", found.mode() & 0o7777),
            format!("if you made it: chmod 600 {shown}; otherwise {hint}"),
        ));
    }
    Ok(())
}

/// Refuses a folder in which anyone but the owner and root could create files, such as another database or a write-ahead log.
/// The sticky bit does not help: it protects existing files, but does not prevent new ones.
fn check_folder(path: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    let found = fs::metadata(folder).map_err(|error| io(folder, &error))?;
    let shown = folder.display();
    let mode = found.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        let hint = match mode & STICKY {
            0 => format!("make it yours alone: chmod 700 {shown}"),
            _ => "use a folder that only you can write".to_owned(),
        };
        return Err(invalid(format!("the folder {shown} can be written by others (mode {mode:04o})"), hint));
    }
    if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        return Err(invalid(format!("the folder {shown} belongs to another user"), "use a folder of your own"));
    }
    Ok(())
}

/// Whether a file system works for a database.
#[derive(Debug, PartialEq, Eq)]
enum FileSystem {
    Local,
    Shared(&'static str),
    /// Its number.
    Unknown(String),
}

fn file_system(path: &Path) -> Result<FileSystem, Error> {
    Ok(known_as(statfs(path).map_err(|error| io(path, &error.into()))?.filesystem_type()))
}

fn known_as(kind: FsType) -> FileSystem {
    let shared = SHARED.into_iter().find(|&(_, number)| is_kind(kind, number));
    match shared {
        Some((name, _)) => FileSystem::Shared(name),
        None if LOCAL.into_iter().any(|number| is_kind(kind, number)) => FileSystem::Local,
        None => FileSystem::Unknown(format!("{:#x}", kind.0)),
    }
}

/// Compares the lower 32 bits, which are the kernel's number. The C type is wider, or signed, on some machines.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only the lower 32 bits count")]
#[allow(clippy::unnecessary_cast, reason = "the type differs between machines")]
fn is_kind(kind: FsType, number: i64) -> bool {
    kind.0 as u32 == number as u32
}

fn check_file_system(path: &Path) -> Result<(), Error> {
    match file_system(path)? {
        FileSystem::Shared(name) => Err(invalid(
            format!("{} is on a network or shared file system ({name}), where locks don't work", path.display()),
            "keep the database on a local disk",
        )),
        FileSystem::Local | FileSystem::Unknown(_) => Ok(()),
    }
}

/// The number of the file system that this path is on, if access does not know it.
pub fn unknown_file_system(path: &Path) -> Result<Option<String>, Error> {
    Ok(match file_system(folder_of(path))? {
        FileSystem::Unknown(number) => Some(number),
        FileSystem::Local | FileSystem::Shared(_) => None,
    })
}

/// Checks write permission, which SQLite needs even to read, for the files beside the database. SQLite's own error would only say
/// that it can't open the file.
fn check_writable(path: &Path, wanted: AccessFlags) -> Result<(), Error> {
    let shown = path.display();
    match access(path, wanted) {
        Ok(()) => Ok(()),
        Err(Errno::EROFS) => Err(Error::ReadOnly {
            message: format!("{shown} is on a read-only file system, and even reading a database writes beside it"),
            hint: "mount it read-write, or copy the database with its -wal file to a folder that you can write"
                .to_owned(),
        }),
        Err(Errno::EACCES | Errno::EPERM) => Err(invalid(
            format!("{shown} is read-only for you, and even reading a database writes beside it"),
            format!("let its owner write it: chmod u+rwX {shown}"),
        )),
        Err(error) => Err(io(path, &error.into())),
    }
}

/// Prepares the folder of a new database: creates it with mode 0700 if needed, and checks it. Returns the resolved path.
pub fn prepare(path: &Path) -> Result<PathBuf, Error> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folders(parent).map_err(|error| io(parent, &error))?;
    }
    let path = resolve(path)?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::Exists { path });
    }
    check_folder(&path)?;
    check_file_system(folder_of(&path))?;
    check_writable(folder_of(&path), AccessFlags::W_OK | AccessFlags::X_OK)?;
    Ok(path)
}

/// Checks a file of this user alone that SQLite opens next, in a folder that nobody else can write, and creates it if needed.
pub fn check_private_file(path: &Path) -> Result<(), Error> {
    check_folder(path)?;
    check_file_system(folder_of(path))?;
    match create_private(path) {
        Ok(()) => Ok(()),
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            ["", "-journal"].into_iter().try_for_each(|suffix| match fs::symlink_metadata(beside(path, suffix)) {
                Ok(found) => check_private(&beside(path, suffix), &found),
                Err(_) => Ok(()),
            })
        }
        Err(error) => Err(error),
    }
}

/// The path with a suffix.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates an empty file that nobody else can open.
pub fn create_private(path: &Path) -> Result<(), Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| io(path, &error))
}

/// The resolved path of a file that does not exist yet, in an existing folder that nobody else can write.
pub fn vacant(path: &Path) -> Result<PathBuf, Error> {
    let path = resolve(path).map_err(|error| match (error, path.parent()) {
        // Here it is the folder that is missing, not the database.
        (Error::Absent { .. }, Some(folder)) => {
            invalid(format!("there is no folder {}", folder.display()), "create it first, or name another place")
        }
        (error, _) => error,
    })?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::Exists { path });
    }
    check_folder(&path)?;
    Ok(path)
}

pub fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| io(path, &error))
}

/// A writer's turn, held until it is dropped.
///
/// SQLite polls for its lock at growing intervals, which is unfair: of sixteen writers the slowest waited over a second, and a
/// process that wrote many batches starved all others. So writers queue on two locks in a file beside the database: the next in
/// line holds the gate while it waits for the turn, and after its turn a writer has to pass the gate again. This only orders
/// writers. SQLite's own lock is what protects the database.
pub struct LockFile(#[expect(dead_code, reason = "closing it releases the locks")] File);

/// Bytes of the lock file: of the next writer in line, of the current writer, and of the process that sends notifications.
const GATE: i64 = 0;
const TURN: i64 = 1;
const SENDER: i64 = 2;

/// The lock for sending, held while the file is open. None if another process holds it.
pub fn lock_for_sending(database: &Path) -> Result<Option<File>, Error> {
    let path = beside(database, ".lock");
    let file = open_private(&path)?;
    let taken = lock(&file, SENDER, Wait::No).map_err(|error| io(&path, &error.into()))?;
    Ok(taken.then_some(file))
}

/// Locks a byte of this file, while it is open. False: another process has it.
pub fn try_lock(file: &File, byte: i64, path: &Path) -> Result<bool, Error> {
    lock(file, byte, Wait::No).map_err(|error| io(path, &error.into()))
}

impl LockFile {
    /// Waits for a turn, up to `PATIENCE`.
    pub fn wait_for(database: &Path) -> Result<LockFile, Error> {
        let path = beside(database, ".lock");
        let file = open_private(&path)?;
        let taken = at_once(&file).map_err(|error| io(&path, &error.into()))?;
        if taken {
            return Ok(LockFile(file));
        }
        // The kernel wakes waiting processes in order, but takes no deadline. So a thread waits, and is abandoned at the deadline.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let waited = in_line(&file).map(|()| file);
            // After the deadline nobody receives this.
            let _ = sender.send(waited);
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(file)) => Ok(LockFile(file)),
            Ok(Err(error)) => Err(io(&path, &error.into())),
            Err(_) => Err(Error::Busy),
        }
    }
}

/// Opens a private file that is used only for locks, and creates it if needed. Checks the file that was opened, and never blocks on
/// a FIFO.
pub fn open_private(path: &Path) -> Result<File, Error> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = open.open(path).map_err(|error| match fs::symlink_metadata(path) {
        // For a link or a device, what it is explains more than the error.
        Ok(found) => check_private(path, &found).err().unwrap_or_else(|| io(path, &error)),
        Err(_) => io(path, &error),
    })?;
    check_private(path, &file.metadata().map_err(|error| io(path, &error))?)?;
    Ok(file)
}

/// Takes a turn if no other process has it or waits for it.
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

/// Locks a byte for this open file, not for the process (see fcntl_locking(2)), so that closing another descriptor does not release
/// it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_local_or_shared_or_unknown() {
        for (number, name) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS"),
            // As on machines where the type is signed and has 32 bits.
            (0xfe53_4d42_u32 as i32 as i64, "SMB2"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE: sshfs, virtiofs and others"),
            (0x0116_1970, "GFS2"),
            (0x7461_636f, "OCFS2"),
            (0x4750_4653, "GPFS"),
            (0x1983_0326, "BeeGFS"),
            (0x786f_4256, "VirtualBox shared folder"),
        ] {
            assert_eq!(known_as(FsType(number)), FileSystem::Shared(name));
        }
        for number in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(known_as(FsType(number)), FileSystem::Local);
        }
        assert_eq!(known_as(FsType(0x8584_58f6)), FileSystem::Unknown("0x858458f6".to_owned()));
        assert!(LOCAL.iter().all(|local| SHARED.iter().all(|(_, shared)| local != shared)));
    }
}
