//! A server process keeps to itself: nothing comes in by its environment or by descriptors that were left open, and
//! nothing of it is left in files that others read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, User, getegid, geteuid, getgroups, initgroups, setegid, seteuid, setgid, setgroups, setuid,
};

use crate::error::{Failure, Kind};

/// This program, whatever its name has become since it was started.
pub const MYSELF: &str = "/proc/self/exe";

/// What the service manager says of itself. None of it is read here.
const HARMLESS: [&str; 7] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "REMOTE_ADDR",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LISTEN_PID",
];

/// Starts this program anew with an environment in which nothing stands, where anything else stands in it. (A program
/// can't take a variable from itself without `unsafe`; under our own listener and units this never has to run.)
pub fn clear_environment() -> Result<(), Failure> {
    let known = |name: &std::ffi::OsStr| HARMLESS.iter().any(|harmless| name == *harmless);
    if std::env::vars_os().all(|(name, _)| known(&name)) {
        return Ok(());
    }
    let error = Command::new(MYSELF).arg0("access").args(std::env::args_os().skip(1)).env_clear().exec();
    Err(failed("the environment can't be cleared", &error))
}

/// New files are ours alone, no core is ever dumped, and no process of the same user may look into this one.
pub fn close_up() -> Result<(), Failure> {
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failed("core dumps can't be forbidden", &error.into()))?;
    set_dumpable(false).map_err(|error| failed("tracing can't be forbidden", &error.into()))
}

/// Closes all but standard input, output and error.
pub fn close_other_descriptors() -> Result<(), Failure> {
    let entries = fs::read_dir("/proc/self/fd").map_err(|error| failed("the open files can't be listed", &error))?;
    let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = entries.filter_map(number).filter(|&descriptor| descriptor > 2).collect();
    for descriptor in open {
        // The one that the list was read by is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// The user who owns the database's folder; never root, who decides nothing and needs no server.
pub fn owner(database: &Path) -> Result<User, Failure> {
    let folder = database.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(folder).map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{}: {error}", folder.display()))
            .hint("as root, on this machine: access doctor")
    })?;
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten().filter(|user| !user.uid.is_root());
    user.ok_or_else(|| {
        let message = format!("{} belongs to no system user of its own", folder.display());
        Failure::new(Kind::Invalid, message).hint("as root, on this machine: access doctor")
    })
}

/// Gives up being root for good, for the user who owns the database.
pub fn become_owner(database: &Path) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    become_user(&owner(database)?)
}

/// Becomes this user; the process cannot become root again.
pub fn become_user(user: &User) -> Result<(), Failure> {
    let name = name_of(user)?;
    let become_user = |uid: Uid, gid: Gid| {
        initgroups(&name, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    become_user(user.uid, user.gid).map_err(|error| failed("root's rights can't be given up", &error.into()))
}

/// Does something as this user, and is root again afterwards: what it makes is theirs from the start.
pub fn as_user<T>(user: &User, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let name = name_of(user)?;
    let lost = |error: nix::Error| failed("root's rights can't be put aside", &error.into());
    let (uid, gid, groups) = (geteuid(), getegid(), getgroups().map_err(lost)?);
    let become_user = || {
        initgroups(&name, user.gid)?;
        setegid(user.gid)?;
        seteuid(user.uid)
    };
    let become_root = || {
        seteuid(uid)?;
        setegid(gid)?;
        setgroups(&groups)
    };
    let done = become_user().map_err(lost).and_then(|()| work());
    become_root().map_err(|error| failed("root's rights can't be taken up again", &error.into()))?;
    done
}

/// The user that root has to become before it opens this database: its owner. None if this process is not root's, or if
/// the file is root's own or does not exist. The owner also controls what is beside the file: anything that root opens or
/// makes there could be a link to somebody else's file.
pub fn another_owner(database: &Path) -> Result<Option<User>, Failure> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    // What is wrong with a file that can't be looked at is said when it is opened.
    let Ok(found) = fs::symlink_metadata(database) else { return Ok(None) };
    let uid = Uid::from_raw(found.uid());
    if uid.is_root() {
        return Ok(None);
    }
    let shown = database.display();
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(Some(user)),
        Ok(None) => {
            let message = format!("{shown} belongs to the user with the number {uid}, whom this system does not know");
            Err(Failure::new(Kind::Invalid, message)
                .hint("root uses a database as the user who owns it: give it to one that there is (chown)"))
        }
        Err(error) => Err(failed("the user database", &error.into())),
    }
}

fn name_of(user: &User) -> Result<std::ffi::CString, Failure> {
    std::ffi::CString::new(user.name.as_str())
        .map_err(|_| Failure::new(Kind::Internal, "a user's name has a NUL in it"))
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failure, format!("{what}: {error}"))
}
