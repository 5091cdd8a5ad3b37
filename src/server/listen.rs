//! The listener, for hosts where systemd does not start a process for each connection. It starts one for each.

use std::cell::Cell;
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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    getsockopt,
    sockopt::{AcceptConn, PeerCredentials},
};
use nix::unistd::{Group, chown, geteuid};

use super::connection::{PLACES, no_shared_host};
use super::process;
use crate::client;
use crate::config;
use crate::error::{Failure, Kind};

/// The most connections that are served at once, not counting root's. Non-members get a part of them (see `connection`).
const MOST: usize = 64;
/// The most connections that wait here for their turn. The rest waits in the socket's queue, and root's never wait.
const WAITING: usize = 32;
const ROOT: u32 = 0;
/// The pause after a failure, which is mostly a lack of memory, processes or descriptors.
const REST: Duration = Duration::from_millis(50);

/// Serves the shared host's socket until the process ends. Only members of `group` may connect, if there is one.
pub fn listen(group: Option<&str>) -> Result<(), Failure> {
    process::clear_environment()?;
    let shared = config::shared()?.ok_or_else(no_shared_host)?;
    process::close_other_descriptors()?;
    process::harden()?;
    let listener = match handed_over()? {
        Some(_) if group.is_some() => {
            return Err(Failure::new(Kind::Usage, "--group works only for a socket that access creates itself")
                .hint("in the socket's unit: SocketMode=0660 and SocketGroup="));
        }
        Some(listener) => listener,
        None => {
            check_database(&shared.database)?;
            bind(&shared.socket, group)?
        }
    };
    process::become_owner(&shared.database)?;
    // Changing the user enables tracing again.
    process::harden()?;
    // Checks a database that was not checked above, and one that may have changed since.
    drop(super::open(&shared.database)?);
    let places = Arc::new(Places::default());
    loop {
        places.wait_for_room();
        match listener.accept() {
            Ok((stream, _)) => serve(stream, &places),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => thread::sleep(REST),
        }
    }
}

/// Serves a connection, on a thread that waits for its turn and then for the process that serves it. If that fails, the connection is
/// closed without a greeting, which tells the client to try again.
fn serve(stream: UnixStream, places: &Arc<Places>) {
    let Some(place) = Place::take(places, &stream) else { return };
    let serving = thread::Builder::new().stack_size(64 << 10).spawn(move || {
        place.wait_for_turn();
        let mut command = Command::new(process::OWN_PROGRAM);
        command.arg0("access").args(["serve", "--connection"]).env_clear().current_dir("/");
        let started = command.stdin(OwnedFd::from(stream)).stdout(Stdio::null()).spawn();
        // The command also holds the connection.
        drop(command);
        match started {
            Ok(mut child) => drop(child.wait()),
            Err(_) => thread::sleep(REST),
        }
        drop(place);
    });
    if serving.is_err() {
        thread::sleep(REST);
    }
}

/// The connections that are open now.
#[derive(Default)]
struct Places {
    open: Mutex<Open>,
    changed: Condvar,
}

#[derive(Default)]
struct Open {
    /// How many each user has, waiting ones included.
    of_user: HashMap<u32, u8>,
    /// How many there are without root's, and how many of those have their turn.
    all: usize,
    served: usize,
}

impl Places {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_room(&self) {
        drop(self.changed.wait_while(self.open(), |open| open.all >= MOST + WAITING));
    }
}

/// A connection's place, released when it is dropped.
struct Place {
    uid: u32,
    has_turn: Cell<bool>,
    places: Arc<Places>,
}

impl Place {
    /// None if this user has no place left. (Each connection checks that as well, but this saves starting its process.)
    fn take(places: &Arc<Places>, stream: &UnixStream) -> Option<Place> {
        let uid = getsockopt(stream, PeerCredentials).ok()?.uid();
        let mut open = places.open();
        let of_user = open.of_user.entry(uid).or_default();
        if *of_user >= PLACES {
            return None;
        }
        *of_user += 1;
        open.all += usize::from(uid != ROOT);
        Some(Place { uid, has_turn: Cell::new(false), places: Arc::clone(places) })
    }

    fn wait_for_turn(&self) {
        if self.uid == ROOT {
            return;
        }
        let waited = self.places.changed.wait_while(self.places.open(), |open| open.served >= MOST);
        waited.unwrap_or_else(PoisonError::into_inner).served += 1;
        self.has_turn.set(true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Entry::Occupied(mut of_user) = open.of_user.entry(self.uid) {
            *of_user.get_mut() -= 1;
            if *of_user.get() == 0 {
                of_user.remove();
            }
        }
        open.all -= usize::from(self.uid != ROOT);
        open.served -= usize::from(self.has_turn.get());
        self.places.changed.notify_all();
    }
}

/// The socket to listen on, if it was passed as standard input (systemd's `StandardInput=socket`). Such a socket survives a restart,
/// and waiting clients are served afterwards.
fn handed_over() -> Result<Option<UnixListener>, Failure> {
    let input = stdin();
    // The call fails if standard input is not a socket.
    if !getsockopt(&input, AcceptConn).unwrap_or(false) {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Failure::new(Kind::Io, format!("standard input: {error}"));
    Ok(Some(input.as_fd().try_clone_to_owned().map_err(failed)?.into()))
}

/// Finds out whether the database can be served before the socket is created, so that no dead socket is left behind.
fn check_database(database: &Path) -> Result<(), Failure> {
    let open = || super::open(database);
    let opened = if geteuid().is_root() { process::as_user(&process::owner(database)?, open) } else { open() };
    opened.map(drop)
}

fn bind(socket: &Path, group: Option<&str>) -> Result<UnixListener, Failure> {
    let shown = socket.display();
    let failed = |error: &std::io::Error| Failure::new(Kind::Unavailable, format!("{shown}: {error}"));
    let folder = socket.parent().unwrap_or(Path::new("/"));
    if fs::symlink_metadata(folder).is_err() {
        // The umask is 077, but everyone has to reach the socket.
        let made = DirBuilder::new().recursive(true).create(folder);
        made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
            .map_err(|error| failed(&error))?;
    }
    let found = fs::metadata(folder).map_err(|error| failed(&error))?;
    if found.mode() & 0o022 != 0 {
        return Err(Failure::new(Kind::Invalid, format!("{} can be written by others", folder.display()))
            .hint(format!("chmod 755 {}", folder.display())));
    }
    let group = group.map(|name| match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Failure::new(Kind::Usage, format!("there is no Unix group {name}"))),
        Err(error) => Err(Failure::new(Kind::Unavailable, format!("the group {name} can't be looked up: {error}"))),
    });
    let group = group.transpose()?;
    remove_left_over(socket)?;
    let listener = UnixListener::bind(socket).map_err(|error| failed(&error))?;
    let opened = match group {
        Some(gid) => chown(socket, None, Some(gid)).map_err(std::io::Error::from).map(|()| 0o660),
        None => Ok(0o666),
    };
    let opened = opened.and_then(|mode| fs::set_permissions(socket, Permissions::from_mode(mode)));
    opened.map_err(|error| {
        let _ = fs::remove_file(socket);
        failed(&error)
    })?;
    Ok(listener)
}

/// Removes the socket of a listener that has ended.
fn remove_left_over(socket: &Path) -> Result<(), Failure> {
    let shown = socket.display();
    match fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => match client::connect(socket) {
            Err(Errno::ECONNREFUSED) => {
                fs::remove_file(socket).map_err(|error| Failure::new(Kind::Unavailable, format!("{shown}: {error}")))
            }
            _ => Err(Failure::new(Kind::Conflict, format!("{shown} is already being served"))),
        },
        Ok(_) => Err(Failure::new(Kind::Invalid, format!("{shown} exists, but is not a socket"))),
        Err(_) => Ok(()),
    }
}
