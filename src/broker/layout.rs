//! `init --shared`: lays out a shared host. What it leaves behind, `doctor` looks at.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, User, geteuid};

use super::{USER, has_account, privacy};
use crate::config::{self, Shared};
use crate::domain::name::Name;
use crate::domain::team::Login;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::ledger::{self, Init};

/// How a shared host begins.
pub struct Layout {
    pub owner: Name,
    /// The owner's Unix user name; None: as their name.
    pub login: Option<Login>,
    pub team: Option<Name>,
    pub sample: bool,
}

/// Makes the system user, the folders, the config and the database, as far as they are not there yet.
pub fn lay_out(layout: Layout, clock: Timestamp) -> Result<Shared, Failure> {
    if !geteuid().is_root() {
        return Err(
            Failure::new(Kind::Refused, "only root can lay out a shared host").hint("sudo access init --shared")
        );
    }
    let login = owners_login(&layout)?;
    privacy::close_up()?;
    let user = system_user()?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    let system = config::system();
    let shared = match config::shared()? {
        Some(shared) => shared,
        None => {
            folder(system.parent().unwrap_or(Path::new("/")), root, 0o755)?;
            write_config(&system)?;
            Shared { socket: config::SHARED_SOCKET.into(), database: config::SHARED_DATABASE.into() }
        }
    };
    folder(shared.socket.parent().unwrap_or(Path::new("/")), root, 0o755)?;
    folder(shared.database.parent().unwrap_or(Path::new("/")), (user.uid, user.gid), 0o700)?;
    let by = identity::login()?;
    privacy::as_user(&user, || {
        let init = Init { login: &login, by: &by, owner: layout.owner, team: layout.team, sample: layout.sample };
        ledger::init(&shared.database, clock, init)
    })?;
    Ok(shared)
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
        // Whoever can't connect under this name could never act as the owner.
        Ok(Some(_)) if !has_account(&login)? => Err(usage(format!("{login} is no person, and can't own the team"))),
        Ok(Some(_)) => Ok(login),
        Ok(None) => Err(usage(format!("there is no Unix user {login} on this machine"))),
        Err(error) => Err(failed("the user database", &error.into())),
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{what}: {error}"))
}

/// The user who owns the database, and does nothing else.
fn system_user() -> Result<User, Failure> {
    let known = || User::from_name(USER).map_err(|error| failed("the user database", &error.into()));
    if let Some(user) = known()? {
        return Ok(user);
    }
    let home = Path::new(config::SHARED_DATABASE).parent().unwrap_or(Path::new("/"));
    let made = Command::new("useradd")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--home-dir"])
        .arg(home)
        .arg(USER)
        .stdin(Stdio::null())
        .output();
    let why = match made {
        Ok(made) if made.status.success() => String::new(),
        Ok(made) => String::from_utf8_lossy(&made.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    known()?.ok_or_else(|| {
        Failure::new(Kind::Failure, format!("the system user {USER} could not be made: {why}"))
            .hint(format!("make a system user {USER} of a group of that name, without a shell; then try again"))
    })
}

/// A folder of this owner and mode. What is there already is mended, unless it is a link.
fn folder(path: &Path, (uid, gid): (Uid, Gid), mode: u32) -> Result<(), Failure> {
    let shown = path.display().to_string();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&shown, &error)),
    }
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mend = |folder: File| {
        fchown(&folder, Some(uid.as_raw()), Some(gid.as_raw()))?;
        folder.set_permissions(Permissions::from_mode(mode))
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
