//! A server process keeps to itself: nothing comes in by its environment or by descriptors that were left open, and
//! nothing of it is left in files that others read.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setuid};

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
    use std::os::unix::fs::MetadataExt;
    let folder = database.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(folder).map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{}: {error}", folder.display())).hint("as root: access init --shared")
    })?;
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten().filter(|user| !user.uid.is_root());
    user.ok_or_else(|| {
        let message = format!("{} belongs to no system user of its own", folder.display());
        Failure::new(Kind::Invalid, message).hint(format!("as root: chown access:access {}", folder.display()))
    })
}

/// Gives up being root for good, for the user who owns the database.
pub fn become_owner(database: &Path) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let user = owner(database)?;
    let name = std::ffi::CString::new(user.name.as_str())
        .map_err(|_| Failure::new(Kind::Internal, "a user's name has a NUL in it"))?;
    let become_user = |uid: Uid, gid: Gid| {
        initgroups(&name, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    become_user(user.uid, user.gid).map_err(|error| failed("root's rights can't be given up", &error.into()))
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failure, format!("{what}: {error}"))
}
