//! Isolates a server process: it inherits no environment and no open descriptors, writes only private files, can't be traced, and
//! gives up root's privileges.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::prctl::{set_dumpable, set_name};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, User, getegid, geteuid, getgroups, initgroups, setegid, seteuid, setgid, setgroups, setuid,
};

use crate::error::{Failure, Kind};

/// The running program, even if its file was renamed or replaced since.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Variables that systemd sets. Access reads none of them.
const HARMLESS: [&str; 7] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "REMOTE_ADDR",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LISTEN_PID",
];

/// Runs this program again with an empty environment, unless that has only harmless variables.
pub fn clear_environment() -> Result<(), Failure> {
    run_again_unless_only(&HARMLESS, &[])
}

/// Runs this program again with only these variables, unless there are no others.
pub fn clear_environment_but(kept: &[&str]) -> Result<(), Failure> {
    run_again_unless_only(kept, kept)
}

/// A program can't remove its own variables without `unsafe`. Our listener and systemd units set none, so they rarely need this.
fn run_again_unless_only(allowed: &[&str], kept: &[&str]) -> Result<(), Failure> {
    let is_one_of = |names: &[&str], name: &std::ffi::OsStr| names.iter().any(|it| name == *it);
    if std::env::vars_os().all(|(name, _)| is_one_of(allowed, &name)) {
        return Ok(());
    }
    let variables = std::env::vars_os().filter(|(name, _)| is_one_of(kept, name));
    let mut again = Command::new(OWN_PROGRAM);
    again.arg0("access").args(std::env::args_os().skip(1)).env_clear().envs(variables);
    let error = again.exec();
    Err(failed("the environment can't be cleared", &error))
}

/// Makes new files private, names the process (which was started by another name), and forbids core dumps and tracing by other processes of the same user.
pub fn harden() -> Result<(), Failure> {
    umask(Mode::from_bits_truncate(0o077));
    set_name(c"access").map_err(|error| failed("the process can't be named", &error.into()))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failed("core dumps can't be disabled", &error.into()))?;
    set_dumpable(false).map_err(|error| failed("tracing can't be disabled", &error.into()))
}

/// Closes all descriptors except standard input, output and error.
pub fn close_other_descriptors() -> Result<(), Failure> {
    let entries = fs::read_dir("/proc/self/fd").map_err(|error| failed("the open files can't be listed", &error))?;
    let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = entries.filter_map(number).filter(|&descriptor| descriptor > 2).collect();
    for descriptor in open {
        // The descriptor that the list was read from is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// The user who owns the database's folder. Fails if that is root, since a shared host's database belongs to a system user.
pub fn owner(database: &Path) -> Result<User, Failure> {
    let folder = database.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(folder).map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{}: {error}", folder.display()))
            .hint("as root, on this machine: access doctor")
    })?;
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten().filter(|user| !user.uid.is_root());
    user.ok_or_else(|| {
        let message = format!("{} does not belong to a system user", folder.display());
        Failure::new(Kind::Invalid, message).hint("as root, on this machine: access doctor")
    })
}

/// Permanently switches from root to the user who owns the database's folder.
pub fn become_owner(database: &Path) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    become_user(&owner(database)?)
}

/// Permanently switches to this user. The process cannot become root again.
pub fn become_user(user: &User) -> Result<(), Failure> {
    let name = name_of(user)?;
    let become_user = |uid: Uid, gid: Gid| {
        initgroups(&name, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    become_user(user.uid, user.gid).map_err(|error| failed("root's privileges can't be dropped", &error.into()))
}

/// Does something as this user, then switches back to root. Files that it creates belong to the user from the start.
pub fn as_user<T>(user: &User, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let name = name_of(user)?;
    let failed_to_drop = |error: nix::Error| failed("root's privileges can't be dropped", &error.into());
    let (uid, gid, groups) = (geteuid(), getegid(), getgroups().map_err(failed_to_drop)?);
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
    let done = become_user().map_err(failed_to_drop).and_then(|()| work());
    become_root().map_err(|error| failed("root's privileges can't be restored", &error.into()))?;
    done
}

/// The user that root has to become before it opens this database: its owner. None if this process does not run as root, or the file
/// belongs to root or does not exist. The owner also controls the files beside it, so one that root opened or created there could be
/// a link to another user's file.
pub fn another_owner(database: &Path) -> Result<Option<User>, Failure> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    // Opening the file reports what is wrong with it.
    let Ok(found) = fs::symlink_metadata(database) else { return Ok(None) };
    let uid = Uid::from_raw(found.uid());
    if uid.is_root() {
        return Ok(None);
    }
    let shown = database.display();
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(Some(user)),
        Ok(None) => {
            let message = format!("{shown} belongs to the user ID {uid}, which has no user on this system");
            Err(Failure::new(Kind::Invalid, message)
                .hint("root uses a database as its owner, so give it to an existing user with chown"))
        }
        Err(error) => Err(failed("the system's user database", &error.into())),
    }
}

fn name_of(user: &User) -> Result<std::ffi::CString, Failure> {
    std::ffi::CString::new(user.name.as_str())
        .map_err(|_| Failure::new(Kind::Internal, "a user name contains a NUL byte"))
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failure, format!("{what}: {error}"))
}
