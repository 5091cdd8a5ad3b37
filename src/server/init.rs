//! `init --shared`: sets up a shared host, which `doctor` then checks.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, User, geteuid};

use super::{USER, has_account, process, remedy};
use crate::config::{self, Shared};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::service::{self, Init};
use crate::store;

/// What to set up.
pub struct SharedInit {
    pub owner: Name,
    /// The owner's login. None: the same as their name.
    pub login: Option<Login>,
    pub team: Option<Name>,
    pub sample: bool,
}

/// Creates the system user, the folders, the configuration and the database, as far as they don't exist yet. Fails if there is a
/// database, which stays as it is.
pub fn init_shared(init: SharedInit, clock: Timestamp) -> Result<Shared, Failure> {
    if !geteuid().is_root() {
        return Err(Failure::new(Kind::Refused, "only root can set up a shared host").hint("sudo access init --shared"));
    }
    let login = owners_login(&init)?;
    let system = config::system();
    let (shared, config_exists) = match config::shared()? {
        Some(shared) => (shared, true),
        None => (Shared { socket: config::SHARED_SOCKET.into(), database: config::SHARED_DATABASE.into() }, false),
    };
    let data = shared.database.parent().unwrap_or(Path::new("/"));
    let kept = fs::symlink_metadata(&shared.database).ok();
    if let Some(point) = remedy::not_mounted(data).filter(|_| kept.is_none()) {
        let message =
            format!("nothing is mounted on {}, which may have the database; nothing was done", point.display());
        return Err(Failure::new(Kind::Conflict, message).hint(format!("mount {}", remedy::quoted(&point))));
    }
    process::harden()?;
    let mut made = Vec::new();
    let numbers = kept.as_ref().map(|found| (found.uid(), found.gid()));
    let user = system_user(numbers, &mut made)?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if !config_exists {
        folder(system.parent().unwrap_or(Path::new("/")), root, 0o755, &mut made)?;
        write_config(&system)?;
        made.push(system.display().to_string());
    }
    folder(shared.socket.parent().unwrap_or(Path::new("/")), root, 0o755, &mut made)?;
    folder(data, (user.uid, user.gid), 0o700, &mut made)?;
    if kept.is_some() {
        return Err(database_exists(&shared.database, &made));
    }
    let by = identity::login()?;
    process::as_user(&user, || {
        let SharedInit { owner, team, sample, .. } = init;
        service::init(&shared.database, clock, Init { login: &login, by: &by, owner, team, sample })
    })?;
    Ok(shared)
}

/// There is a database already, with its own team and owner.
fn database_exists(database: &Path, made: &[String]) -> Failure {
    let shown = database.display();
    if made.is_empty() {
        return Failure::new(Kind::Conflict, format!("{shown} already exists; nothing was done")).hint("access doctor");
    }
    let message = format!("{shown} already exists and was not changed; it has its own team and owner");
    Failure::new(Kind::Conflict, message)
        .hint(format!("created or repaired around it: {}", made.join(", ")))
        .hint("access doctor says what is left to do")
}

/// The owner's login, which needs an account here and can't be root's: root is not a member on a shared host.
fn owners_login(init: &SharedInit) -> Result<Login, Failure> {
    let usage = |message: String| {
        Failure::new(Kind::Usage, message).hint("name the owner's Unix user with --login, or create that user first")
    };
    let login = match &init.login {
        Some(login) => login.clone(),
        None => init.owner.as_str().parse().map_err(|why| usage(format!("{}: {why}", init.owner)))?,
    };
    match User::from_name(login.as_str()) {
        // With a login that can't connect nobody could act as the owner.
        Ok(Some(_)) if !has_account(&login)? => {
            Err(usage(format!("{login} is not a person's user, and can't own the team")))
        }
        Ok(Some(_)) => Ok(login),
        Ok(None) => Err(usage(format!("there is no Unix user {login} on this machine"))),
        Err(error) => Err(failed("the system's user database", &error.into())),
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{what}: {error}"))
}

/// Creates the user who owns the database, if needed. `numbers` are the user and group ID that own existing data.
fn system_user(numbers: Option<(u32, u32)>, made: &mut Vec<String>) -> Result<User, Failure> {
    let known = || User::from_name(USER).map_err(|error| failed("the system's user database", &error.into()));
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
        Failure::new(Kind::Failure, format!("the system user {USER} could not be created: {why}"))
            .hint(format!("create a system user {USER} with a group of the same name and no shell, then try again"))
    })?;
    made.push(format!("the system user {USER}"));
    Ok(user)
}

/// Creates a folder with this owner and mode. Repairs an existing one, but does not follow a link.
fn folder(path: &Path, (uid, gid): (Uid, Gid), mode: u32, made: &mut Vec<String>) -> Result<(), Failure> {
    let shown = path.display().to_string();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let above = path.parent().unwrap_or(Path::new("/"));
            File::open(above).and_then(|above| above.sync_all()).map_err(|error| failed(&shown, &error))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&shown, &error)),
    }
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let repair = |folder: File| {
        let found = folder.metadata()?;
        if (found.uid(), found.gid(), found.mode() & 0o7777) == (uid.as_raw(), gid.as_raw(), mode) {
            return Ok(());
        }
        fchown(&folder, Some(uid.as_raw()), Some(gid.as_raw()))?;
        folder.set_permissions(Permissions::from_mode(mode))?;
        made.push(shown.clone());
        Ok(())
    };
    open.and_then(repair).map_err(|error| failed(&shown, &error))
}

fn write_config(path: &Path) -> Result<(), Failure> {
    let text = format!(
        "# This machine is a shared host: every command goes to this socket, and all other configuration is ignored.\n\
         socket = \"{}\"\ndatabase = \"{}\"\n",
        config::SHARED_SOCKET,
        config::SHARED_DATABASE
    );
    let shown = path.display().to_string();
    if fs::symlink_metadata(path).is_ok() {
        return Err(Failure::new(Kind::Conflict, format!("{shown} already exists, and names no socket"))
            .hint(format!("add the line: socket = \"{}\"", config::SHARED_SOCKET)));
    }
    let write = |mut file: File| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()
    };
    // Half of a config would be refused by every command, and by the next run of this one.
    let draft = store::beside(path, ".new");
    // A run that was killed may have left one.
    let _ = fs::remove_file(&draft);
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let moved = open.and_then(write).map_err(|error| failed(&shown, &error)).and_then(|()| {
        store::move_into_place(&draft, path)?;
        Ok(())
    });
    let _ = fs::remove_file(&draft);
    moved
}
