//! `doctor` on a shared host: checks the program, users, files and permissions around the database, and whether the server answers.
//! Each fault comes with the shell command that repairs it.

use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User, geteuid};

use super::remedy::{ServedBy, quoted};
use super::{USER, connection, has_account, process, remedy, sshd};
use crate::client;
use crate::client::Client;
use crate::config;
use crate::config::Shared;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::text::joined;
use crate::error::{Failure, Kind};
use crate::frame;
use crate::frame::{Broken, Timed};
use crate::protocol::{FindingView, Health};
use crate::service::{Rows, Whoami};
use crate::store::Store;

/// The time in which a server has to greet. It looks up the user first, which can take a while.
const GREETED_WITHIN: Duration = Duration::from_secs(10);
/// The time in which a server has to answer a command.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// The most members that are looked up in the system's user database.
const MOST_LOOKED_UP: usize = 20;

/// The result of an inspection.
pub struct Inspection {
    pub wrong: bool,
    /// Whether the database exists and belongs to the system user. Otherwise it is not opened.
    pub openable: bool,
    /// Whether the server answers.
    pub answers: bool,
    data_is_wrong: bool,
}

/// The finding for a database that can't be opened.
pub fn unopenable(database: &Path, inspection: &Inspection, failure: Failure) -> FindingView {
    let line = match failure.kind {
        // Another finding says that already.
        _ if inspection.data_is_wrong => None,
        Kind::Invalid => Some(remedy::restore(database)),
        Kind::Io => Some(format!("df -h {}", quoted(folder_of(database)))),
        _ => Some("access doctor".to_owned()),
    };
    finding("file", vec![Flaw(failure.message, line)], String::new())
}

pub fn inspect(shared: &Shared, rows: Rows<'_, FindingView>) -> Result<Inspection, Failure> {
    let data = data(shared);
    let openable = data.openable;
    let data_is_wrong = data.finding.health == Health::Wrong;
    let team = if openable { team(shared).ok() } else { None };
    let mut findings = vec![program(), user(shared), settings(), data.finding];
    let socket = socket(shared);
    let answers = socket.health == Health::Ok;
    findings.push(socket);
    if let Some(team) = team {
        let otherwise_ok = findings.iter().all(|finding| finding.health == Health::Ok);
        let people = People::of(&team);
        findings.push(owner(&people));
        // Without a server that answers, another try takes time and finds nothing new.
        findings.extend(if answers { try_command(shared, &people, otherwise_ok) } else { None });
    }
    let wrong = findings.iter().any(|finding| finding.health == Health::Wrong);
    for finding in findings {
        rows(finding)?;
    }
    Ok(Inspection { wrong, openable, answers, data_is_wrong })
}

/// What is wrong, and the command that repairs it, if there is one.
struct Flaw(String, Option<String>);

fn fault(found: impl Into<String>, remedy: impl Into<String>) -> Flaw {
    Flaw(found.into(), Some(remedy.into()))
}

fn finding(what: &str, faults: Vec<Flaw>, if_ok: String) -> FindingView {
    let health = if faults.is_empty() { Health::Ok } else { Health::Wrong };
    let found: Vec<&str> = faults.iter().map(|Flaw(found, _)| found.as_str()).collect();
    let found = if found.is_empty() { if_ok } else { found.join("; ") };
    FindingView { what: what.to_owned(), health, found, mend: faults.into_iter().filter_map(|fault| fault.1).collect() }
}

/// The owner and mode that a file should have.
#[derive(Clone, Copy)]
struct Wanted {
    /// None: any.
    uid: Option<u32>,
    gid: Option<u32>,
    /// Mode bits that must not be set.
    forbidden: u32,
    /// Mode bits that must be set.
    required: u32,
    /// The mode that a repair sets.
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

/// Checks a file's owner and mode. `if_missing` is the command that restores the file.
fn check_file(path: &Path, wanted: Wanted, if_missing: &str, faults: &mut Vec<Flaw>) -> Option<Metadata> {
    let (shown, name) = (path.display(), quoted(path));
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            faults.push(fault(format!("{shown}: {error}"), if_missing));
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
    if mode & wanted.forbidden != 0 || mode & wanted.required != wanted.required {
        faults.push(fault(format!("{shown} has mode {mode:04o}"), format!("chmod {:04o} {name}", wanted.mode)));
    }
    Some(found)
}

/// Checks that this user can pass through each folder above this path. Root can pass through all folders, so this runs as the user.
fn check_reachable(user: Option<User>, path: &Path, faults: &mut Vec<Flaw>) {
    let Some(user) = user.filter(|_| geteuid().is_root()) else { return };
    // The folders behind a link count as well.
    let Ok(path) = path.canonicalize() else { return };
    let mut folders: Vec<&Path> = path.ancestors().collect();
    folders.reverse();
    let closed = || folders.windows(2).find(|step| denied(step[1])).map(|step| step[0].to_owned());
    let closed = process::as_user(&user, || Ok(closed())).ok().flatten();
    let Some(at) = closed else { return };
    let mode = fs::metadata(&at).map_or(0, |found| found.mode() & 0o7777);
    let found = format!("{} can't pass through {} (mode {mode:04o})", user.name, at.display());
    faults.push(fault(found, format!("chmod a+x {}", quoted(&at))));
}

fn denied(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// A user without privileges, to test what everyone can reach.
fn nobody() -> Option<User> {
    User::from_name("nobody").ok().flatten().filter(|user| !user.uid.is_root())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn program() -> FindingView {
    let mut faults = Vec::new();
    let path = fs::read_link(process::OWN_PROGRAM).unwrap_or_else(|_| process::OWN_PROGRAM.into());
    // Someone who can write the program decides what root and the server run.
    let wanted = Wanted { uid: Some(0), gid: None, forbidden: 0o6022, required: 0o111, mode: 0o755 };
    check_file(&path, wanted, "access doctor", &mut faults);
    check_reachable(nobody(), &path, &mut faults);
    finding("program", faults, format!("{}: only root can write it, and it has no set-ID bit", path.display()))
}

fn user(shared: &Shared) -> FindingView {
    let mut faults = Vec::new();
    let mut if_ok = "which can't log in";
    match system_user() {
        None => {
            let data = fs::metadata(&shared.database).or_else(|_| fs::metadata(folder_of(&shared.database))).ok();
            let line = remedy::make_user(data.map(|found| (found.uid(), found.gid())));
            faults.push(fault(format!("there is no system user {USER}"), line));
        }
        Some(user) => {
            if user.uid.is_root() {
                // Without `--force` userdel refuses while any process of root runs.
                let line = format!("userdel --force {USER}; {}", remedy::make_user(None));
                faults.push(fault(format!("{USER} is root"), line));
            }
            let shell = user.shell.file_name().unwrap_or_default();
            let lacking = if shell == "nologin" || shell == "false" { None } else { Some(sshd::lacks()) };
            match lacking {
                Some(lacking) if lacking.is_empty() => {
                    if_ok = "as whom sshd runs commands of members, and nothing else"
                }
                Some(lacking) => faults.push(fault(
                    format!(
                        "{USER} can log in (shell {}); to keep it to commands of members, sshd needs {}",
                        user.shell.display(),
                        joined(lacking)
                    ),
                    format!("usermod --shell /usr/sbin/nologin {USER}"),
                )),
                None => {}
            }
        }
    }
    finding("user", faults, format!("{USER}, {if_ok}"))
}

/// Checks the configuration file, and the secrets beside it.
fn settings() -> FindingView {
    let mut faults = Vec::new();
    let system = config::system();
    let folder = folder_of(&system).to_owned();
    // Without the configuration file a user's client does not know that this is a shared host.
    let open = Wanted { uid: Some(0), gid: None, forbidden: 0o022, required: 0o111, mode: 0o755 };
    check_file(&folder, open, "access doctor", &mut faults);
    check_file(&system, Wanted { required: 0o444, mode: 0o644, ..open }, "access doctor", &mut faults);
    check_reachable(nobody(), &folder, &mut faults);
    let group = system_user().map(|user| user.gid.as_raw());
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path() != system) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let (forbidden, mode) = if is_folder { (0o027, 0o750) } else { (0o137, 0o640) };
        check_file(
            &entry.path(),
            Wanted { gid: group, forbidden, required: 0, mode, ..open },
            "access doctor",
            &mut faults,
        );
    }
    finding(
        "config",
        faults,
        format!("{}: only root can write it, and the secrets beside it are private", system.display()),
    )
}

struct Data {
    finding: FindingView,
    openable: bool,
}

fn data(shared: &Shared) -> Data {
    let mut faults = Vec::new();
    let (database, folder) = (&shared.database, folder_of(&shared.database));
    let if_ok = format!("{}: only {USER} can enter it", folder.display());
    let there = fs::symlink_metadata(database).is_ok();
    if let Some(point) = remedy::not_mounted(folder).filter(|_| !there) {
        let found = format!("{} does not exist, and nothing is mounted on {}", database.display(), point.display());
        faults.push(fault(found, format!("mount {}", quoted(&point))));
        return Data { finding: finding("data", faults, if_ok), openable: false };
    }
    let user = system_user();
    let (uid, gid) = (user.as_ref().map(|user| user.uid.as_raw()), user.as_ref().map(|user| user.gid.as_raw()));
    let make = format!("install -d -o {USER} -g {USER} -m 0700 {}", quoted(folder));
    check_file(folder, Wanted { uid, gid, forbidden: 0o077, required: 0o700, mode: 0o700 }, &make, &mut faults);
    check_reachable(user, folder, &mut faults);
    let alone = Wanted { uid, gid, forbidden: 0o177, required: 0o600, mode: 0o600 };
    let found = check_file(database, alone, &remedy::restore(database), &mut faults);
    for path in beside(database) {
        check_file(&path, alone, "access doctor", &mut faults);
    }
    let owned = found.is_some_and(|found| found.is_file() && Some(found.uid()) == uid && found.uid() != 0);
    Data { finding: finding("data", faults, if_ok), openable: owned }
}

/// The files beside the database that belong to it.
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
    let served = ServedBy::detect(&shared.socket);
    let (shown, name) = (shared.socket.display(), quoted(&shared.socket));
    let folder = folder_of(&shared.socket);
    let found = fs::symlink_metadata(&shared.socket);
    let for_group = found.as_ref().is_ok_and(|found| found.mode() & 0o006 == 0);
    if folder.exists() {
        let users = [Some(0), system_user().map(|user| user.uid.as_raw())];
        let uid = fs::metadata(folder).ok().map(|found| found.uid()).filter(|&uid| users.contains(&Some(uid)));
        let required = if for_group { 0o110 } else { 0o111 };
        let wanted = Wanted { uid: uid.or(Some(0)), gid: None, forbidden: 0o022, required, mode: 0o755 };
        check_file(folder, wanted, "access doctor", &mut faults);
        check_reachable(nobody(), folder, &mut faults);
    }
    match found {
        Ok(found) if !found.file_type().is_socket() => {
            faults.push(fault(format!("{shown} is not a socket"), format!("rm -r {name}; {}", served.start())));
        }
        Ok(found) => {
            let mode = found.mode() & 0o777;
            if mode != 0o666 && mode != 0o660 {
                // Root's group has no members who could use it.
                let mode_for = if for_group && found.gid() != 0 { "0660" } else { "0666" };
                faults.push(fault(format!("{shown} has mode {mode:04o}"), format!("chmod {mode_for} {name}")));
            }
            faults.extend(greeted(&shared.socket, &served).err());
        }
        Err(error) => faults.push(fault(format!("{shown}: {error}"), served.start())),
    }
    finding("socket", faults, format!("{shown}: a server answers"))
}

fn greeted(socket: &Path, served: &ServedBy) -> Result<(), Flaw> {
    let no_answer = |why: &str, line: String| fault(format!("no server answers at {}: {why}", socket.display()), line);
    let stream = match client::connect(socket) {
        Ok(Some(stream)) => stream,
        Ok(None) => return Err(no_answer("its queue is full", served.restart(socket))),
        Err(error) => return Err(no_answer(error.desc(), served.start())),
    };
    let mut greeting = frame::GREETING;
    let why = match frame::fill(&mut Timed::within(&stream, GREETED_WITHIN), &mut greeting) {
        Ok(()) if greeting == frame::GREETING => return Ok(()),
        Ok(()) => "it has another version",
        Err(Broken::TooSlow) => "it does not greet",
        Err(_) => "it closed the connection",
    };
    Err(no_answer(why, served.restart(socket)))
}

/// The team, read as the user who owns the database.
fn team(shared: &Shared) -> Result<Team, Failure> {
    let read = || {
        let store = Store::open(&shared.database)?;
        let team = store.read(|read| read.team());
        store.close();
        Ok(team?)
    };
    match system_user().filter(|_| geteuid().is_root()) {
        Some(user) => process::as_user(&user, read),
        None => read(),
    }
}

/// The members that matter for the checks.
struct People<'t> {
    /// With whether they have an account on this machine.
    owner: Option<(&'t Name, &'t Member, Result<bool, Failure>)>,
    /// Another member with an account who is not disabled, preferably an admin.
    other: Option<(&'t Name, &'t Member)>,
}

impl<'t> People<'t> {
    fn of(team: &'t Team) -> People<'t> {
        let owner = team.owner().map(|(name, member)| (name, member, has_account(&member.login)));
        let able = team.members.iter().filter(|(_, member)| !member.disabled && member.role != Role::Owner);
        let (admins, others): (Vec<_>, Vec<_>) = able.partition(|(_, member)| member.role == Role::Admin);
        let mut asked = admins.into_iter().chain(others).take(MOST_LOOKED_UP);
        // Each look-up in a name service that hangs takes long, so one is enough.
        let answers = !matches!(owner, Some((_, _, Err(_))));
        let other = asked.find(|(_, member)| answers && has_account(&member.login).unwrap_or(false));
        People { owner, other }
    }

    /// A member to try a command as. Not a disabled one: the refusal would be recorded.
    fn to_try(&self) -> Option<(&'t Name, &'t Member)> {
        match self.owner {
            Some((name, member, Ok(true))) if !member.disabled => Some((name, member)),
            _ => self.other,
        }
    }
}

fn owner(people: &People<'_>) -> FindingView {
    let mut faults = Vec::new();
    let mut if_ok = String::new();
    match &people.owner {
        None => faults.push(Flaw("the team has no owner".to_owned(), None)),
        Some((name, Member { login, .. }, Ok(true))) => if_ok = format!("{name}, with the account {login}"),
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
    finding("owner", faults, if_ok)
}

/// Runs `whoami` as a member, as their client would, from reading the configuration to the answer. Nothing is recorded. With
/// `otherwise_ok`, no other finding explains a failure.
fn try_command(shared: &Shared, people: &People<'_>, otherwise_ok: bool) -> Option<FindingView> {
    let (name, Member { login, .. }) = people.to_try().filter(|_| geteuid().is_root())?;
    let user = User::from_name(login.as_str()).ok().flatten()?;
    let asked = process::as_user(&user, || {
        let Some(seen) = config::shared()? else { return Err(connection::no_shared_host()) };
        Client::within(seen.socket, ANSWERED_WITHIN).call(Whoami { at: None }, &mut |_| Ok(()))
    });
    let who = format!("{name} (Unix user {login})");
    let Err(failure) = asked else {
        return Some(finding("command", Vec::new(), format!("`access whoami` answers {who}")));
    };
    let busy = failure.kind == Kind::Busy;
    let line = || if otherwise_ok { Some(ServedBy::detect(&shared.socket).restart(&shared.socket)) } else { None };
    let line = if busy { Some("access doctor".to_owned()) } else { line() };
    let found = finding("command", vec![Flaw(format!("as {who}: {}", failure.message), line)], String::new());
    // The member may have too many connections open.
    Some(if busy { FindingView { health: Health::Warning, ..found } } else { found })
}
