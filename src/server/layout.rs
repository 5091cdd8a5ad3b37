//! `init --shared`: lays out a shared host. What it leaves behind, `doctor` looks at.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, User, geteuid};

use super::{USER, has_account, privacy, remedy};
use crate::config::{self, Shared};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::service::{self, Init};

/// How a shared host begins.
pub struct Layout {
    pub owner: Name,
    /// The owner's Unix user name; None: as their name.
    pub login: Option<Login>,
    pub team: Option<Name>,
    pub sample: bool,
}

/// Makes the system user, the folders, the config and the database, as far as they are not there yet. A database that is
/// there is kept, and that is said.
pub fn lay_out(layout: Layout, clock: Timestamp) -> Result<Shared, Failure> {
    if !geteuid().is_root() {
        return Err(
            Failure::new(Kind::Refused, "only root can lay out a shared host").hint("sudo access init --shared")
        );
    }
    let login = owners_login(&layout)?;
    let system = config::system();
    let (shared, config_is_there) = match config::shared()? {
        Some(shared) => (shared, true),
        None => (Shared { socket: config::SHARED_SOCKET.into(), database: config::SHARED_DATABASE.into() }, false),
    };
    let data = shared.database.parent().unwrap_or(Path::new("/"));
    let kept = fs::symlink_metadata(&shared.database).ok();
    if let Some(point) = remedy::not_mounted(data).filter(|_| kept.is_none()) {
        let message = format!("nothing is mounted on {}, where the database may be; nothing was done", point.display());
        return Err(Failure::new(Kind::Conflict, message).hint(format!("mount {}", remedy::word(&point))));
    }
    privacy::close_up()?;
    let mut made = Vec::new();
    let numbers = kept.as_ref().map(|found| (found.uid(), found.gid()));
    let user = system_user(numbers, &mut made)?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if !config_is_there {
        folder(system.parent().unwrap_or(Path::new("/")), root, 0o755, &mut made)?;
        write_config(&system)?;
        made.push(system.display().to_string());
    }
    folder(shared.socket.parent().unwrap_or(Path::new("/")), root, 0o755, &mut made)?;
    folder(data, (user.uid, user.gid), 0o700, &mut made)?;
    if kept.is_some() {
        return Err(stays(&shared.database, &made));
    }
    let by = identity::login()?;
    privacy::as_user(&user, || {
        let init = Init { login: &login, by: &by, owner: layout.owner, team: layout.team, sample: layout.sample };
        service::init(&shared.database, clock, init)
    })?;
    Ok(shared)
}

/// The database is that of another layout: it has its team and owner.
fn stays(database: &Path, made: &[String]) -> Failure {
    let shown = database.display();
    if made.is_empty() {
        return Failure::new(Kind::Conflict, format!("{shown} is there already; nothing was done"))
            .hint("access doctor");
    }
    let message = format!("{shown} is there already and stays as it is, with its team and owner");
    Failure::new(Kind::Conflict, message)
        .hint(format!("what was missing around it was made or repaired: {}", made.join(", ")))
        .hint("what is left to do: access doctor")
}

/// The owner is a person with an account here. Root, who can do anything to the machine, decides nothing on it.
fn owners_login(layout: &Layout) -> Result<Login, Failure> {
    let usage = |message: String| {
        Failure::new(Kind::Usage, message).hint("say the owner's Unix user name with --login, or make the user first")
    };
    let login = match &layout.login {
        Some(login) => login.clone(),
        None => layout.owner.as_str().parse().map_err(|why| usage(format!("{}: {why}", layout.owner)))?,
    };
    match User::from_name(login.as_str()) {
        // A user who can't connect under this name could never act as the owner.
        Ok(Some(_)) if !has_account(&login)? => Err(usage(format!("{login} is no person, and can't own the team"))),
        Ok(Some(_)) => Ok(login),
        Ok(None) => Err(usage(format!("there is no Unix user {login} on this machine"))),
        Err(error) => Err(failed("the user database", &error.into())),
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{what}: {error}"))
}

/// The user who owns the database, and does nothing else. `numbers`: those of the user and group who own data that is kept.
fn system_user(numbers: Option<(u32, u32)>, made: &mut Vec<String>) -> Result<User, Failure> {
    let known = || User::from_name(USER).map_err(|error| failed("the user database", &error.into()));
    if let Some(user) = known()? {
        return Ok(user);
    }
    let output = Command::new("sh")
        .args(["-c", &remedy::make_user(numbers)])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output();
    let why = match output {
        Ok(output) if output.status.success() => String::new(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let user = known()?.ok_or_else(|| {
        Failure::new(Kind::Failure, format!("the system user {USER} could not be made: {why}"))
            .hint(format!("make a system user {USER} of a group of that name, without a shell; then try again"))
    })?;
    made.push(format!("the system user {USER}"));
    Ok(user)
}

/// A folder of this owner and mode. What is there already is mended, unless it is a link.
fn folder(path: &Path, (uid, gid): (Uid, Gid), mode: u32, made: &mut Vec<String>) -> Result<(), Failure> {
    let shown = path.display().to_string();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&shown, &error)),
    }
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mend = |folder: File| {
        let found = folder.metadata()?;
        if (found.uid(), found.gid(), found.mode() & 0o7777) == (uid.as_raw(), gid.as_raw(), mode) {
            return Ok(());
        }
        fchown(&folder, Some(uid.as_raw()), Some(gid.as_raw()))?;
        folder.set_permissions(Permissions::from_mode(mode))?;
        made.push(shown.clone());
        Ok(())
    };
    open.and_then(mend).map_err(|error| failed(&shown, &error))
}

fn write_config(path: &Path) -> Result<(), Failure> {
    let text = format!(
        "# This machine is a shared host: every command goes to this socket, and nothing else counts.\n\
         socket = \"{}\"\ndatabase = \"{}\"\n",
        config::SHARED_SOCKET,
        config::SHARED_DATABASE
    );
    let shown = path.display().to_string();
    if fs::symlink_metadata(path).is_ok() {
        return Err(Failure::new(Kind::Conflict, format!("{shown} is there already, and names no socket"))
            .hint(format!("add the line: socket = \"{}\"", config::SHARED_SOCKET)));
    }
    let write = |mut file: File| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()
    };
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(write).map_err(|error| failed(&shown, &error))
}
