//! The listener, where systemd does not start a process for each connection itself: here each gets one of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{ErrorKind, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    getsockopt,
    sockopt::{AcceptConn, PeerCredentials},
};
use nix::unistd::{Group, chown};

use super::connection::{PLACES, no_shared_host};
use super::privacy;
use crate::config;
use crate::error::{Failure, Kind};
use crate::store::Store;

/// So many connections are served at once. The rest wait at the socket.
const MOST: usize = 64;
/// After something failed for want of memory, processes or descriptors.
const REST: Duration = Duration::from_millis(50);

/// Serves the shared host's socket until the process is ended. `group`: whose members may connect; None: everybody.
pub fn listen(group: Option<&str>) -> Result<(), Failure> {
    privacy::clear_environment()?;
    let shared = config::shared()?.ok_or_else(no_shared_host)?;
    privacy::close_other_descriptors()?;
    privacy::close_up()?;
    let listener = match handed_over()? {
        Some(_) if group.is_some() => {
            return Err(Failure::new(Kind::Usage, "--group is for a socket that access makes itself")
                .hint("in the socket's unit: SocketMode=0660 and SocketGroup="));
        }
        Some(listener) => listener,
        None => bind(&shared.socket, group)?,
    };
    privacy::become_owner(&shared.database)?;
    // To become another user lets tracing in again.
    privacy::close_up()?;
    // A database that could not be served safely is found out now, and not by the first who comes.
    drop(Store::open(&shared.database)?);
    let places = Arc::new(Places::default());
    loop {
        places.wait_for_one();
        match listener.accept() {
            Ok((stream, _)) => serve(stream, &places),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => thread::sleep(REST),
        }
    }
}

/// Starts the process that serves this connection, and a thread that sees it end. Where that fails, the connection is
/// closed before anything was said, which tells the client to try again.
fn serve(stream: UnixStream, places: &Arc<Places>) {
    let Some(place) = Place::take(places, &stream) else { return };
    let mut command = Command::new(privacy::MYSELF);
    command.arg0("access").args(["serve", "--connection"]).env_clear().current_dir("/");
    let started = command.stdin(OwnedFd::from(stream)).stdout(Stdio::null()).spawn();
    // The command holds the connection too.
    drop(command);
    let Ok(mut child) = started else {
        thread::sleep(REST);
        return;
    };
    let waiting = thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let _ = child.wait();
        drop(place);
    });
    if waiting.is_err() {
        // Nobody sees this one end: its place is free at once, and the connection's own lock is what counts.
        thread::sleep(REST);
    }
}

/// How many are served now, in all and of each user.
#[derive(Default)]
struct Places {
    taken: Mutex<HashMap<u32, usize>>,
    given_back: Condvar,
}

impl Places {
    fn wait_for_one(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut HashMap<u32, usize>| taken.values().sum::<usize>() >= MOST;
        let _free = self.given_back.wait_while(taken, full);
    }
}

/// A place, given back when it is dropped.
struct Place {
    uid: u32,
    places: Arc<Places>,
}

impl Place {
    /// None: this user has all of theirs. (Each connection sees to that itself too; but to start it costs more.)
    fn take(places: &Arc<Places>, stream: &UnixStream) -> Option<Place> {
        let uid = getsockopt(stream, PeerCredentials).ok()?.uid();
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = taken.entry(uid).or_default();
        if *of_user >= PLACES {
            return None;
        }
        *of_user += 1;
        Some(Place { uid, places: Arc::clone(places) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_user) = taken.entry(self.uid) {
            *of_user.get_mut() -= 1;
            if *of_user.get() == 0 {
                of_user.remove();
            }
        }
        self.places.given_back.notify_one();
    }
}

/// The socket to listen on, where whoever started this has made it and given it as standard input (systemd's
/// `StandardInput=socket`): then it outlives a restart, and who waits at it is served afterwards.
fn handed_over() -> Result<Option<UnixListener>, Failure> {
    let input = stdin();
    // No socket at all: none that listens.
    if !getsockopt(&input, AcceptConn).unwrap_or(false) {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Failure::new(Kind::Io, format!("standard input: {error}"));
    Ok(Some(input.as_fd().try_clone_to_owned().map_err(failed)?.into()))
}

fn bind(socket: &Path, group: Option<&str>) -> Result<UnixListener, Failure> {
    let shown = socket.display();
    let failed = |error: &std::io::Error| Failure::new(Kind::Unavailable, format!("{shown}: {error}"));
    let folder = socket.parent().unwrap_or(Path::new("/"));
    if fs::symlink_metadata(folder).is_err() {
        // The umask is 077, and everybody has to reach the socket in it.
        let made = DirBuilder::new().recursive(true).create(folder);
        made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
            .map_err(|error| failed(&error))?;
    }
    let found = fs::metadata(folder).map_err(|error| failed(&error))?;
    if found.mode() & 0o022 != 0 {
        return Err(Failure::new(Kind::Invalid, format!("others can write {}", folder.display()))
            .hint(format!("chmod 755 {}", folder.display())));
    }
    remove_left_over(socket)?;
    let listener = UnixListener::bind(socket).map_err(|error| failed(&error))?;
    let mode = match group {
        Some(name) => {
            let group = Group::from_name(name).ok().flatten();
            let gid = group.ok_or_else(|| Failure::new(Kind::Usage, format!("there is no Unix group {name}")))?.gid;
            chown(socket, None, Some(gid)).map_err(|error| failed(&error.into()))?;
            0o660
        }
        None => 0o666,
    };
    fs::set_permissions(socket, Permissions::from_mode(mode)).map_err(|error| failed(&error))?;
    Ok(listener)
}

/// Removes the socket of a listener that is no more.
fn remove_left_over(socket: &Path) -> Result<(), Failure> {
    let shown = socket.display();
    match fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(socket) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(socket).map_err(|error| Failure::new(Kind::Unavailable, format!("{shown}: {error}")))
            }
            _ => Err(Failure::new(Kind::Conflict, format!("{shown} is served already"))),
        },
        Ok(_) => Err(Failure::new(Kind::Invalid, format!("{shown} is there, and no socket"))),
        Err(_) => Ok(()),
    }
}
