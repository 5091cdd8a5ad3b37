//! The listener, for hosts without systemd: each connection gets a process of its own.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::unistd::{Group, chown};

use super::connection::no_shared_host;
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
    let listener = bind(&shared.socket, group)?;
    privacy::become_owner(&shared.database)?;
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
    let mut command = Command::new(privacy::MYSELF);
    command.arg0("access").args(["serve", "--connection"]).env_clear().current_dir("/");
    let started = command.stdin(OwnedFd::from(stream)).stdout(Stdio::null()).spawn();
    // The command holds the connection too.
    drop(command);
    let Ok(child) = started else {
        thread::sleep(REST);
        return;
    };
    let child = Arc::new(Mutex::new(child));
    let (its, places_then) = (Arc::clone(&child), Arc::clone(places));
    places.take();
    let waiting = thread::Builder::new().stack_size(64 << 10).spawn(move || {
        see_end(&its);
        places_then.give_back();
    });
    if waiting.is_err() {
        see_end(&child);
        places.give_back();
    }
}

fn see_end(child: &Mutex<Child>) {
    // One thread or the other has it, never both.
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
}

/// How many are served now.
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Places {
    fn take(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn give_back(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.given_back.notify_one();
    }

    fn wait_for_one(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let _free = self.given_back.wait_while(taken, |taken| *taken >= MOST);
    }
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
