//! `doctor` on a shared host: everything around the database that keeps people from it, or lets them at it, and whether
//! it is served. What is wrong comes with the line for root's shell that repairs it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User, geteuid};

use super::remedy::{self, Served, word};
use super::{USER, connection, has_account, privacy};
use crate::client::{self, Client};
use crate::config::{self, Shared};
use crate::domain::name::Name;
use crate::domain::role::Role;
use crate::domain::team::{Member, Team};
use crate::error::{Failure, Kind};
use crate::frame;
use crate::frame::{Broken, Timed};
use crate::protocol::{FindingView, Health};
use crate::service::{Rows, Whoami};
use crate::store::Store;

/// A server that has not greeted within this does not answer. (Looking up who is there may take a while.)
const GREETED_WITHIN: Duration = Duration::from_secs(10);
/// So long may the answer to a command take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// So many members are looked up in the system's user database.
const MOST_LOOKED_UP: usize = 20;

/// What an inspection came to.
pub struct Inspected {
    pub wrong: bool,
    /// Whether the database is there and its owner's. Nobody else opens it.
    pub openable: bool,
    data_is_wrong: bool,
}

/// A database that can't be opened.
pub fn unopened(database: &Path, inspected: &Inspected, failure: Failure) -> FindingView {
    let line = match failure.kind {
        // That was said already.
        _ if inspected.data_is_wrong => None,
        Kind::Invalid => Some(remedy::restore(database)),
        Kind::Io => Some(format!("df -h {}", word(folder_of(database)))),
        _ => Some("access doctor".to_owned()),
    };
    finding("file", vec![Fault(failure.message, line)], String::new())
}

pub fn inspect(shared: &Shared, rows: Rows<'_, FindingView>) -> Result<Inspected, Failure> {
    let data = data(shared);
    let openable = data.openable;
    let data_is_wrong = data.finding.health == Health::Wrong;
    let team = if openable { team(shared).ok() } else { None };
    let mut findings = vec![program(), user(shared), settings(), data.finding];
    let socket = socket(shared);
    let answers = socket.health == Health::Ok;
    findings.push(socket);
    if let Some(team) = team {
        let well = findings.iter().all(|finding| finding.health == Health::Ok);
        let people = People::of(&team);
        findings.push(owner(&people));
        // Where nobody answers, to ask again takes time and says nothing new.
        findings.extend(if answers { try_out(shared, &people, well) } else { None });
    }
    let wrong = findings.iter().any(|finding| finding.health == Health::Wrong);
    for finding in findings {
        rows(finding)?;
    }
    Ok(Inspected { wrong, openable, data_is_wrong })
}

/// What is wrong, and the line that repairs it, if there is one.
struct Fault(String, Option<String>);

fn fault(found: impl Into<String>, line: impl Into<String>) -> Fault {
    Fault(found.into(), Some(line.into()))
}

fn finding(what: &str, faults: Vec<Fault>, otherwise: String) -> FindingView {
    let health = if faults.is_empty() { Health::Ok } else { Health::Wrong };
    let found: Vec<&str> = faults.iter().map(|Fault(found, _)| found.as_str()).collect();
    let found = if found.is_empty() { otherwise } else { found.join("; ") };
    FindingView { what: what.to_owned(), health, found, mend: faults.into_iter().filter_map(|fault| fault.1).collect() }
}

/// The owner and mode that a file has to have.
#[derive(Clone, Copy)]
struct Wanted {
    /// Where it matters.
    uid: Option<u32>,
    gid: Option<u32>,
    /// These bits it may not have.
    not: u32,
    /// These bits it has to have.
    needs: u32,
    /// The mode to give it.
    mode: u32,
}

fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

fn system_user() -> Option<User> {
    User::from_name(USER).ok().flatten()
}

/// `absent`: the line that brings it back.
fn look(path: &Path, wanted: Wanted, absent: &str, faults: &mut Vec<Fault>) -> Option<Metadata> {
    let (shown, name) = (path.display(), word(path));
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            faults.push(fault(format!("{shown}: {error}"), absent));
            return None;
        }
    };
    if found.is_symlink() {
        faults.push(fault(format!("{shown} is a link"), remedy::unlink(path)));
        return None;
    }
    let (uid, gid) = (wanted.uid.unwrap_or(found.uid()), wanted.gid.unwrap_or(found.gid()));
    if found.uid() != uid || found.gid() != gid {
        let whose = format!("{shown} belongs to {}:{}", user_name(found.uid()), group_name(found.gid()));
        faults.push(fault(whose, format!("chown {}:{} {name}", user_name(uid), group_name(gid))));
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & wanted.not != 0 || mode & wanted.needs != wanted.needs {
        faults.push(fault(format!("{shown} has mode {mode:04o}"), format!("chmod {:04o} {name}", wanted.mode)));
    }
    Some(found)
}

/// That this user can pass through each folder above this path. Root passes through every folder, so it is tried as the user.
fn reached_by(user: Option<User>, path: &Path, faults: &mut Vec<Fault>) {
    let Some(user) = user.filter(|_| geteuid().is_root()) else { return };
    // What a link leads through counts as well.
    let Ok(path) = path.canonicalize() else { return };
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    let closed = || way.windows(2).find(|step| denied(step[1])).map(|step| step[0].to_owned());
    let closed = privacy::as_user(&user, || Ok(closed())).ok().flatten();
    let Some(at) = closed else { return };
    let mode = fs::metadata(&at).map_or(0, |found| found.mode() & 0o7777);
    let found = format!("{} can't pass through {} (mode {mode:04o})", user.name, at.display());
    faults.push(fault(found, format!("chmod a+x {}", word(&at))));
}

fn denied(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// A user with no rights of their own, who stands for everybody.
fn nobody() -> Option<User> {
    User::from_name("nobody").ok().flatten().filter(|user| !user.uid.is_root())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn program() -> FindingView {
    let mut faults = Vec::new();
    let path = fs::read_link(privacy::MYSELF).unwrap_or_else(|_| privacy::MYSELF.into());
    // Whoever can write the program decides what root and the server run.
    let wanted = Wanted { uid: Some(0), gid: None, not: 0o6022, needs: 0o111, mode: 0o755 };
    look(&path, wanted, "access doctor", &mut faults);
    reached_by(nobody(), &path, &mut faults);
    finding("program", faults, format!("{}, root's alone to write, with no set-id bit", path.display()))
}

fn user(shared: &Shared) -> FindingView {
    let mut faults = Vec::new();
    match system_user() {
        None => {
            let data = fs::metadata(&shared.database).or_else(|_| fs::metadata(folder_of(&shared.database))).ok();
            let line = remedy::make_user(data.map(|found| (found.uid(), found.gid())));
            faults.push(fault(format!("there is no system user {USER}"), line));
        }
        Some(user) => {
            if user.uid.is_root() {
                // Without `--force` it is not removed while any process of root's runs.
                let line = format!("userdel --force {USER}; {}", remedy::make_user(None));
                faults.push(fault(format!("{USER} is root"), line));
            }
            let shell = user.shell.file_name().unwrap_or_default();
            if shell != "nologin" && shell != "false" {
                faults.push(fault(
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
    let folder = folder_of(&system).to_owned();
    // A user who can't read the config doesn't know that the host is shared.
    let open = Wanted { uid: Some(0), gid: None, not: 0o022, needs: 0o111, mode: 0o755 };
    look(&folder, open, "access doctor", &mut faults);
    look(&system, Wanted { needs: 0o444, mode: 0o644, ..open }, "access doctor", &mut faults);
    reached_by(nobody(), &folder, &mut faults);
    let group = system_user().map(|user| user.gid.as_raw());
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path() != system) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let (not, mode) = if is_folder { (0o027, 0o750) } else { (0o137, 0o640) };
        look(&entry.path(), Wanted { gid: group, not, needs: 0, mode, ..open }, "access doctor", &mut faults);
    }
    finding("config", faults, format!("{}, root's alone to write, and no secret beside it lies open", system.display()))
}

struct Data {
    finding: FindingView,
    openable: bool,
}

fn data(shared: &Shared) -> Data {
    let mut faults = Vec::new();
    let (database, folder) = (&shared.database, folder_of(&shared.database));
    let otherwise = format!("{}, which nobody but {USER} can enter", folder.display());
    let there = fs::symlink_metadata(database).is_ok();
    if let Some(point) = remedy::not_mounted(folder).filter(|_| !there) {
        let found = format!("{} is not there, and nothing is mounted on {}", database.display(), point.display());
        faults.push(fault(found, format!("mount {}", word(&point))));
        return Data { finding: finding("data", faults, otherwise), openable: false };
    }
    let user = system_user();
    let (uid, gid) = (user.as_ref().map(|user| user.uid.as_raw()), user.as_ref().map(|user| user.gid.as_raw()));
    let make = format!("install -d -o {USER} -g {USER} -m 0700 {}", word(folder));
    look(folder, Wanted { uid, gid, not: 0o077, needs: 0o700, mode: 0o700 }, &make, &mut faults);
    reached_by(user, folder, &mut faults);
    let alone = Wanted { uid, gid, not: 0o177, needs: 0o600, mode: 0o600 };
    let found = look(database, alone, &remedy::restore(database), &mut faults);
    for path in beside(database) {
        look(&path, alone, "access doctor", &mut faults);
    }
    let owned = found.is_some_and(|found| found.is_file() && Some(found.uid()) == uid && found.uid() != 0);
    Data { finding: finding("data", faults, otherwise), openable: owned }
}

/// What lies beside the database and belongs to it.
fn beside(database: &Path) -> Vec<PathBuf> {
    let places = connection::beside(database);
    let begins = database.file_name().unwrap_or_default().as_encoded_bytes().to_owned();
    let entries = fs::read_dir(folder_of(database)).into_iter().flatten().flatten();
    let belongs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        (name.starts_with(&begins) && path != database) || *path == places
    };
    entries.map(|entry| entry.path()).filter(belongs).collect()
}

fn socket(shared: &Shared) -> FindingView {
    let mut faults = Vec::new();
    let served = Served::now(&shared.socket);
    let (shown, name) = (shared.socket.display(), word(&shared.socket));
    let folder = folder_of(&shared.socket);
    let found = fs::symlink_metadata(&shared.socket);
    let for_group = found.as_ref().is_ok_and(|found| found.mode() & 0o006 == 0);
    if folder.exists() {
        let users = [Some(0), system_user().map(|user| user.uid.as_raw())];
        let uid = fs::metadata(folder).ok().map(|found| found.uid()).filter(|&uid| users.contains(&Some(uid)));
        let needs = if for_group { 0o110 } else { 0o111 };
        let wanted = Wanted { uid: uid.or(Some(0)), gid: None, not: 0o022, needs, mode: 0o755 };
        look(folder, wanted, "access doctor", &mut faults);
        reached_by(nobody(), folder, &mut faults);
    }
    match found {
        Ok(found) if !found.file_type().is_socket() => {
            faults.push(fault(format!("{shown} is no socket"), format!("rm -r {name}; {}", served.start())));
        }
        Ok(found) => {
            let mode = found.mode() & 0o777;
            if mode != 0o666 && mode != 0o660 {
                // Root's own group is nobody's.
                let mode_for = if for_group && found.gid() != 0 { "0660" } else { "0666" };
                faults.push(fault(format!("{shown} has mode {mode:04o}"), format!("chmod {mode_for} {name}")));
            }
            faults.extend(greeted(&shared.socket, &served).err());
        }
        Err(error) => faults.push(fault(format!("{shown}: {error}"), served.start())),
    }
    finding("socket", faults, format!("{shown}, and a server answers"))
}

fn greeted(socket: &Path, served: &Served) -> Result<(), Fault> {
    let nobody_answers =
        |why: &str, line: String| fault(format!("nobody answers at {}: {why}", socket.display()), line);
    let stream = match client::connect(socket) {
        Ok(Some(stream)) => stream,
        Ok(None) => return Err(nobody_answers("too many wait at it", served.start_anew(socket))),
        Err(error) => return Err(nobody_answers(error.desc(), served.start())),
    };
    let mut greeting = frame::GREETING;
    let why = match frame::fill(&mut Timed::within(&stream, GREETED_WITHIN), &mut greeting) {
        Ok(()) if greeting == frame::GREETING => return Ok(()),
        Ok(()) => "it speaks another version",
        Err(Broken::TooSlow) => "it says nothing",
        Err(_) => "it closed the connection",
    };
    Err(nobody_answers(why, served.start_anew(socket)))
}

/// The team, read as the user who owns the database.
fn team(shared: &Shared) -> Result<Team, Failure> {
    let read = || {
        let store = Store::open(&shared.database)?;
        let team = store.read(|read| read.team());
        store.leave();
        Ok(team?)
    };
    match system_user().filter(|_| geteuid().is_root()) {
        Some(user) => privacy::as_user(&user, read),
        None => read(),
    }
}

/// The members who matter here.
struct People<'t> {
    /// With whether they have an account.
    owner: Option<(&'t Name, &'t Member, Result<bool, Failure>)>,
    /// A member with an account who is not disabled, other than the owner: an admin, if there is one.
    other: Option<(&'t Name, &'t Member)>,
}

impl<'t> People<'t> {
    fn of(team: &'t Team) -> People<'t> {
        let owner = team.owner().map(|(name, member)| (name, member, has_account(&member.login)));
        let able = team.members.iter().filter(|(_, member)| !member.disabled && member.role != Role::Owner);
        let (admins, others): (Vec<_>, Vec<_>) = able.partition(|(_, member)| member.role == Role::Admin);
        let mut asked = admins.into_iter().chain(others).take(MOST_LOOKED_UP);
        // A name service that hangs takes long enough for one.
        let answers = !matches!(owner, Some((_, _, Err(_))));
        let other = asked.find(|(_, member)| answers && has_account(&member.login).unwrap_or(false));
        People { owner, other }
    }

    /// Somebody to try a command as. A disabled member would be refused, on the record.
    fn somebody(&self) -> Option<(&'t Name, &'t Member)> {
        match self.owner {
            Some((name, member, Ok(true))) if !member.disabled => Some((name, member)),
            _ => self.other,
        }
    }
}

fn owner(people: &People<'_>) -> FindingView {
    let mut faults = Vec::new();
    let mut otherwise = String::new();
    match &people.owner {
        None => faults.push(Fault("the team has no owner".to_owned(), None)),
        Some((name, Member { login, .. }, Ok(true))) => otherwise = format!("{name}, with the account {login}"),
        Some((name, Member { login, .. }, Ok(false))) => {
            let line = match people.other {
                Some((other, _)) => format!("access team replace-owner {other}"),
                None => format!("useradd --create-home {login}"),
            };
            faults.push(fault(format!("the owner, {name}, has no account {login} on this machine"), line));
        }
        Some((_, Member { login, .. }, Err(failure))) => {
            faults.push(fault(failure.message.clone(), format!("getent passwd {login}")));
        }
    }
    finding("owner", faults, otherwise)
}

/// Has a member ask who they are, as their client would: all the way from reading the config to the answer. Nothing is
/// recorded. `otherwise_well`: whether a failure has no cause that is named already.
fn try_out(shared: &Shared, people: &People<'_>, otherwise_well: bool) -> Option<FindingView> {
    let (name, Member { login, .. }) = people.somebody().filter(|_| geteuid().is_root())?;
    let user = User::from_name(login.as_str()).ok().flatten()?;
    let asked = privacy::as_user(&user, || {
        let Some(seen) = config::shared()? else { return Err(connection::no_shared_host()) };
        Client::within(seen.socket, ANSWERED_WITHIN).call(Whoami {}, &mut |_| Ok(()))
    });
    let who = format!("{name} (Unix user {login})");
    let Err(failure) = asked else {
        return Some(finding("command", Vec::new(), format!("`access whoami` answers {who}")));
    };
    let busy = failure.kind == Kind::Busy;
    let line = || if otherwise_well { Some(Served::now(&shared.socket).start_anew(&shared.socket)) } else { None };
    let line = if busy { Some("access doctor".to_owned()) } else { line() };
    let found = finding("command", vec![Fault(format!("as {who}: {}", failure.message), line)], String::new());
    // That member may have all of their places in use.
    Some(if busy { FindingView { health: Health::Warning, ..found } } else { found })
}
