//! `doctor` on a shared host: everything around the database that keeps people from it, and whether it is served.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};

use super::frame::{Broken, Timed};
use super::{USER, client, connection, frame, privacy};
use crate::command::{FindingView, Health, Reply};
use crate::config::{self, Shared};
use crate::error::Failure;

/// A server that has not greeted within this does not answer. (Looking up who is there may take a while.)
const GREETED_WITHIN: Duration = Duration::from_secs(10);

/// Gives whether anything is wrong.
pub fn inspect(shared: &Shared, sink: &mut dyn FnMut(Reply) -> Result<(), Failure>) -> Result<bool, Failure> {
    let findings = [program(), user(), settings(), data(shared), socket(shared)];
    let wrong = findings.iter().any(|finding| finding.health == Health::Wrong);
    for finding in findings {
        sink(Reply::Finding(finding))?;
    }
    Ok(wrong)
}

/// What is wrong, and the line that mends it.
struct Fault(String, String);

fn finding(what: &str, faults: Vec<Fault>, otherwise: String) -> FindingView {
    let health = if faults.is_empty() { Health::Ok } else { Health::Wrong };
    let found: Vec<&str> = faults.iter().map(|Fault(found, _)| found.as_str()).collect();
    let found = if found.is_empty() { otherwise } else { found.join("; ") };
    FindingView { what: what.to_owned(), health, found, mend: faults.into_iter().map(|Fault(_, mend)| mend).collect() }
}

/// The owner and mode that a file has to have.
struct Wanted {
    uid: u32,
    /// Where it matters.
    gid: Option<u32>,
    /// These bits it may not have.
    not: u32,
    /// The mode to give it.
    mode: u32,
}

fn name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

fn look(path: &Path, wanted: &Wanted, faults: &mut Vec<Fault>) -> Option<Metadata> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            faults.push(Fault(format!("{shown}: {error}"), "as root: access init --shared --owner NAME".to_owned()));
            return None;
        }
    };
    if found.is_symlink() {
        faults.push(Fault(format!("{shown} is a link"), format!("put what it points to in its place: {shown}")));
        return None;
    }
    let gid = wanted.gid.unwrap_or(found.gid());
    if found.uid() != wanted.uid || found.gid() != gid {
        let whose = format!("{shown} belongs to {}:{}", name(found.uid()), group_name(found.gid()));
        faults.push(Fault(whose, format!("chown {}:{} {shown}", name(wanted.uid), group_name(gid))));
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & wanted.not != 0 {
        faults.push(Fault(format!("{shown} has mode {mode:04o}"), format!("chmod {:04o} {shown}", wanted.mode)));
    }
    Some(found)
}

fn program() -> FindingView {
    let mut faults = Vec::new();
    let path = fs::read_link(privacy::MYSELF).unwrap_or_else(|_| privacy::MYSELF.into());
    // Whoever can write the program decides what root and the server run.
    look(&path, &Wanted { uid: 0, gid: None, not: 0o6022, mode: 0o755 }, &mut faults);
    finding("program", faults, format!("{}, root's alone to write, with no set-id bit", path.display()))
}

fn user() -> FindingView {
    let mut faults = Vec::new();
    match User::from_name(USER).ok().flatten() {
        None => faults.push(Fault(
            format!("there is no system user {USER}"),
            "as root: access init --shared --owner NAME".to_owned(),
        )),
        Some(user) => {
            if user.uid.is_root() {
                faults.push(Fault(format!("{USER} is root"), format!("give {USER} a number of its own")));
            }
            let shell = user.shell.file_name().unwrap_or_default();
            if shell != "nologin" && shell != "false" {
                faults.push(Fault(
                    format!("{USER} can log in (shell {})", user.shell.display()),
                    format!("usermod --shell /usr/sbin/nologin {USER}"),
                ));
            }
        }
    }
    finding("user", faults, format!("{USER}, who can't log in"))
}

/// The config, and secrets beside it.
fn settings() -> FindingView {
    let mut faults = Vec::new();
    let system = config::system();
    let folder = system.parent().unwrap_or(Path::new("/")).to_owned();
    look(&folder, &Wanted { uid: 0, gid: None, not: 0o022, mode: 0o755 }, &mut faults);
    look(&system, &Wanted { uid: 0, gid: None, not: 0o022, mode: 0o644 }, &mut faults);
    if fs::metadata(&system).is_ok_and(|found| found.mode() & 0o004 == 0) {
        // Whoever can't read it knows of no shared host.
        faults.push(Fault(
            format!("not everybody can read {}", system.display()),
            format!("chmod 0644 {}", system.display()),
        ));
    }
    let group = User::from_name(USER).ok().flatten().map(|user| user.gid.as_raw());
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path() != system) {
        look(&entry.path(), &Wanted { uid: 0, gid: group, not: 0o137, mode: 0o640 }, &mut faults);
    }
    finding("config", faults, format!("{}, root's alone to write, and no secret beside it lies open", system.display()))
}

fn data(shared: &Shared) -> FindingView {
    let mut faults = Vec::new();
    let folder = shared.database.parent().unwrap_or(Path::new("/"));
    let user = User::from_name(USER).ok().flatten();
    let (uid, gid) = user.map_or((0, None), |user| (user.uid.as_raw(), Some(user.gid.as_raw())));
    look(folder, &Wanted { uid, gid, not: 0o077, mode: 0o700 }, &mut faults);
    let alone = Wanted { uid, gid, not: 0o177, mode: 0o600 };
    look(&shared.database, &alone, &mut faults);
    let places = connection::beside(&shared.database);
    let begins = shared.database.file_name().unwrap_or_default().as_encoded_bytes().to_owned();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let beside = entry.file_name().as_encoded_bytes().starts_with(&begins);
        if (beside && path != shared.database) || path == places {
            look(&path, &alone, &mut faults);
        }
    }
    finding("data", faults, format!("{}, which nobody but {USER} can enter", folder.display()))
}

fn socket(shared: &Shared) -> FindingView {
    let mut faults = Vec::new();
    let serve = || "systemctl enable --now access.socket, or `access serve` at boot".to_owned();
    let shown = shared.socket.display();
    let folder = shared.socket.parent().unwrap_or(Path::new("/"));
    match fs::metadata(folder) {
        Ok(found) if found.mode() & 0o022 == 0 => {}
        Ok(_) => faults.push(Fault(
            format!("others can put a socket of theirs into {}", folder.display()),
            format!("chmod 0755 {}", folder.display()),
        )),
        Err(error) => faults.push(Fault(format!("{}: {error}", folder.display()), serve())),
    }
    match fs::symlink_metadata(&shared.socket) {
        Ok(found) if !found.file_type().is_socket() => {
            faults.push(Fault(format!("{shown} is no socket"), format!("rm {shown}; then {}", serve())));
        }
        Ok(found) => {
            let mode = found.mode() & 0o777;
            if mode != 0o666 && mode != 0o660 {
                faults.push(Fault(
                    format!("{shown} has mode {mode:04o}"),
                    format!("chmod 0666 {shown} (or 0660, with the group that may connect)"),
                ));
            }
            if let Err(why) = greeted(&shared.socket) {
                faults.push(Fault(format!("nobody answers at {shown}: {why}"), serve()));
            }
        }
        Err(error) => faults.push(Fault(format!("{shown}: {error}"), serve())),
    }
    finding("socket", faults, format!("{shown}, and a server answers"))
}

fn greeted(socket: &Path) -> Result<(), String> {
    let stream = client::connect(socket).map_err(|error| error.desc().to_owned())?;
    let stream = stream.ok_or("too many wait at it")?;
    let mut greeting = frame::GREETING;
    match frame::fill(&mut Timed::within(&stream, GREETED_WITHIN), &mut greeting) {
        Ok(()) if greeting == frame::GREETING => Ok(()),
        Ok(()) => Err("it speaks another version".to_owned()),
        Err(Broken::TooSlow) => Err("it says nothing".to_owned()),
        Err(_) => Err("it closed the connection".to_owned()),
    }
}
