//! Where commands are carried out: in this process on your own database file, or by a shared host's server.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};

use crate::client::Client;
use crate::config;
use crate::config::Shared;
use crate::deliver::Transports;
use crate::domain::audit;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::{AsOfLast, BackupView, FindingView, KeptCheckpoint};
use crate::server;
use crate::server::OverSsh;
use crate::service;
use crate::service::{ActingAs, Backup, Call, Caller, Callers, Doctor, Outside, Rows, Service};
use crate::store;
use crate::store::{NewFile, Store};
use crate::subscribers;
use crate::subscribers::Feed;
use crate::time_zone;

pub enum Backend {
    Own(Own),
    Shared(Host),
}

/// Your own file, opened when the first command needs it.
pub struct Own {
    path: PathBuf,
    store: OnceCell<Store>,
    caller: Caller,
    /// Whether this process was root and became the owner of the file.
    became_owner: Cell<bool>,
    open: fn(&Path) -> Result<Store, Failure>,
    /// What the copy of a shared log knew that gave the last answer.
    as_of: AsOfLast,
}

/// A shared host. Only root and the system user who owns the database open the file directly.
pub struct Host {
    shared: Shared,
    members: MembersWay,
    file: Option<Own>,
}

/// How the calls of members are carried out.
enum MembersWay {
    /// By the server, which asks the kernel who calls.
    Socket(Client),
    /// In this process, which sshd started for a member.
    OverSsh(Box<OverSsh>),
}

impl MembersWay {
    fn call<C: Call>(&self, call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        match self {
            MembersWay::Socket(client) => client.call(call, rows),
            MembersWay::OverSsh(over_ssh) => over_ssh.call(call, rows),
        }
    }
}

impl Backend {
    /// If the machine's config names a socket, flags and variables cannot bypass it.
    /// `as_of`: keeps what the last answer knew.
    pub fn choose(db: Option<PathBuf>, acting_as: Option<Name>, as_of: AsOfLast) -> Result<Backend, Failure> {
        identity::refuse_setid()?;
        let Some(shared) = config::shared()? else {
            let path = match db.map_or_else(config::database_by_variable, |path| Ok(Some(path)))? {
                Some(path) => path,
                None => config::database()?,
            };
            let acting_as = acting_as.map_or_else(config::member_by_variable, |name| Ok(Some(name)))?;
            return Ok(Backend::Own(Own::new(path, acting_as, as_of)?));
        };
        if let Some(name) = config::variable_set() {
            return Err(Failure::new(Kind::Refused, format!("{name} is set, but a shared host does not use it"))
                .hint(format!("unset {name}")));
        }
        if acting_as.is_some() {
            return Err(Failure::new(Kind::Refused, "on a shared host you cannot act as another member")
                .hint("leave out --as: the operating system tells who you are"));
        }
        let file = match (db, looks_after(&shared.database)) {
            (Some(path), true) => Some(Own::new(path, None, as_of.clone())?),
            (None, true) => Some(Own::shared(shared.database.clone(), as_of.clone())?),
            (None, false) => None,
            (Some(_), false) => {
                return Err(Failure::new(Kind::Refused, "on a shared host you cannot choose the database")
                    .hint("leave out --db: all commands use the host's shared database"));
            }
        };
        let members = MembersWay::Socket(Client::new(shared.socket.clone()).noting(as_of));
        Ok(Backend::Shared(Host { members, shared, file }))
    }

    /// For the command of a member that came over SSH.
    pub fn over_ssh(over_ssh: OverSsh) -> Backend {
        Backend::Shared(Host {
            shared: over_ssh.shared.clone(),
            members: MembersWay::OverSsh(Box::new(over_ssh)),
            file: None,
        })
    }

    /// The file that `init` creates. Only for a caller's own file.
    pub fn own(&self) -> Result<&Own, Failure> {
        match self {
            Backend::Own(own) => Ok(own),
            Backend::Shared(host) => {
                let message =
                    format!("this host is shared, and everyone uses its database: {}", host.shared.database.display());
                Err(Failure::new(Kind::Refused, message)
                    .hint("run `access whoami` to see your access; only root sets up a shared host, with --shared"))
            }
        }
    }

    /// Makes a call and discards its rows, if any.
    pub fn answer<C: Call>(&self, call: C) -> Result<C::Reply, Failure> {
        self.call(call, &mut |_| Ok(()))
    }

    pub fn call<C: Call>(&self, call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        match self {
            Backend::Own(own) => own.call(call, rows),
            Backend::Shared(host) => host.call(call, rows),
        }
    }

    /// The database itself, for what moves or follows a shared log. Root becomes the user who owns it.
    pub fn database(&self) -> Result<&Store, Failure> {
        match self {
            Backend::Own(own) | Backend::Shared(Host { file: Some(own), .. }) => own.opened(),
            Backend::Shared(Host { file: None, .. }) => Err(only_root()),
        }
    }

    /// Where a copy of a shared log is made. On a shared host root does it, and becomes the user who will own it.
    pub fn place_for_copy(&self) -> Result<&Path, Failure> {
        match self {
            Backend::Own(own) if is_roots_alone(own.path()) => {
                let message =
                    format!("this host is not shared yet, and only root could use a copy at {}", own.path().display());
                Err(Failure::new(Kind::Conflict, message)
                    .hint("write socket = \"/run/access/access.sock\" above [log] in /etc/access/config.toml, then run this again")
                    .hint("or, for a copy of root's own, name the file with --db"))
            }
            Backend::Own(own) => Ok(own.path()),
            Backend::Shared(host) if identity::is_root() => {
                server::become_owner(&host.shared.database)?;
                Ok(&host.shared.database)
            }
            Backend::Shared(_) => Err(only_root()),
        }
    }

    /// The same, for one command that replaces the file. Nobody else in this process has it open.
    pub fn open_database(&self) -> Result<Store, Failure> {
        match self {
            Backend::Own(own) | Backend::Shared(Host { file: Some(own), .. }) => own.open_now(),
            Backend::Shared(Host { file: None, .. }) => Err(only_root()),
        }
    }

    /// Copies the database to this file.
    pub fn back_up(&self, to: PathBuf) -> Result<BackupView, Failure> {
        match self {
            Backend::Own(own) => own.back_up(to),
            Backend::Shared(Host { file: Some(file), .. }) => file.back_up(to),
            Backend::Shared(host) => host.call(Backup { to }, &mut |_| Ok(())),
        }
    }

    /// Runs the checks of `doctor`; on a shared host, those of its installation first. Returns whether any failed.
    ///
    /// `ask_server`: called where the server answers, before this process becomes the owner of the file, who may not ask.
    pub fn doctor(
        &self,
        against: Vec<KeptCheckpoint>,
        ask_server: &mut dyn FnMut(),
        rows: Rows<'_, FindingView>,
    ) -> Result<bool, Failure> {
        let Backend::Shared(Host { shared, file: Some(file), .. }) = self else {
            return self.call(Doctor { against }, rows);
        };
        let inspected = server::inspect(shared, rows)?;
        if inspected.answers {
            ask_server();
        }
        if file.path == shared.database && !inspected.openable {
            return Ok(true);
        }
        match file.call(Doctor { against }, rows) {
            Ok(wrong) => Ok(wrong || inspected.wrong),
            Err(failure) if failure.kind == Kind::Refused => Err(failure),
            Err(failure) => {
                rows(server::unopenable(&file.path, &inspected, failure))?;
                Ok(true)
            }
        }
    }

    /// Where the reconciler keeps its journal: outside the database, so that restoring that does not change it.
    pub fn journal(&self) -> Result<PathBuf, Failure> {
        let own = match self {
            Backend::Own(own) => own,
            Backend::Shared(_) if identity::is_root() => return Ok(store::shared_journal()),
            Backend::Shared(_) => {
                return Err(Failure::new(Kind::Refused, "only root may reconcile access on a shared host")
                    .hint("run the same command as root on this machine"));
            }
        };
        if own.became_owner.get() || server::another_owner(&own.path)?.is_some() {
            let message =
                format!("{} belongs to another user, who has to carry it to other systems", own.path.display());
            return Err(Failure::new(Kind::Refused, message).hint("run `access reconcile --fix` as that user"));
        }
        let path = store::resolve(&own.path)?;
        let digest = audit::hex(&audit::link(&audit::GENESIS, path.as_os_str().as_encoded_bytes()));
        Ok(config::state_folder()?.join("reconcile").join(format!("{}.db", &digest[..16])))
    }

    /// Whether the command came over SSH, so that this machine is not where the caller is.
    pub fn is_over_ssh(&self) -> bool {
        matches!(self, Backend::Shared(Host { members: MembersWay::OverSsh(_), .. }))
    }

    /// Whether the caller looks after the database: its owner, and root.
    pub fn is_keepers(&self) -> bool {
        matches!(self, Backend::Own(_)) || !self.has_member()
    }

    /// Whether the caller acts as a member. On a shared host, root and the user who owns the file do not.
    pub fn has_member(&self) -> bool {
        matches!(self, Backend::Own(_) | Backend::Shared(Host { file: None, .. }))
    }
}

fn only_root() -> Failure {
    Failure::new(Kind::Refused, "only root may do this on a shared host")
        .hint("run the same command as root on this machine")
}

/// Whether the configuration says how to reach a shared log.
pub fn names_shared_log() -> bool {
    config::names_log()
}

/// Whether this is root's own place for a database, on a host that has the system user and so is to be shared.
fn is_roots_alone(path: &Path) -> bool {
    identity::is_root() && server::has_system_user() && config::database().is_ok_and(|default| default == path)
}

/// Whether this user may open a shared host's database directly.
fn looks_after(database: &Path) -> bool {
    let owner = || std::fs::metadata(database).is_ok_and(|found| found.uid() == geteuid().as_raw());
    identity::is_root() || owner()
}

fn open_own(path: &Path) -> Result<Store, Failure> {
    match Store::open(path) {
        Err(store::Error::Absent { path }) if names_shared_log() => {
            let message = format!("there is no copy of the shared log at {}", path.display());
            Err(Failure::new(Kind::Unavailable, message)
                .hint("make it with `access log join`")
                .hint("on the first host, before the log is shared: `access init`"))
        }
        opened => Ok(opened?.with_engine(server::engine())),
    }
}

impl Own {
    fn new(path: PathBuf, acting_as: Option<Name>, as_of: AsOfLast) -> Result<Own, Failure> {
        let acting_as = acting_as.map_or(ActingAs::Login, ActingAs::Member);
        let caller = Caller { login: identity::login()?, root: identity::is_root(), acting_as };
        Ok(Own { path, store: OnceCell::new(), caller, became_owner: Cell::new(false), open: open_own, as_of })
    }

    /// A shared host's.
    fn shared(path: PathBuf, as_of: AsOfLast) -> Result<Own, Failure> {
        let mut own = Own::new(path, None, as_of)?;
        own.open = server::open;
        Ok(own)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Unix user who calls.
    pub fn login(&self) -> &Login {
        &self.caller.login
    }

    fn opened(&self) -> Result<&Store, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let opened = self.open_now()?;
        Ok(self.store.get_or_init(|| opened))
    }

    fn open_now(&self) -> Result<Store, Failure> {
        match server::another_owner(&self.path)? {
            None => (self.open)(&self.path),
            Some(owner) => {
                let path = store::resolve(&self.path)?;
                server::become_user(&owner)?;
                self.became_owner.set(true);
                (self.open)(&path)
            }
        }
    }

    fn call<C: Call>(&self, call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        if let Some(store) = self.store.get() {
            return self.call_on(store, call, None, rows);
        }
        let mut transports = None;
        let opened = match server::another_owner(&self.path)? {
            None => (self.open)(&self.path)?,
            Some(owner) => {
                // Resolved while this process is still root and can follow any path.
                let path = store::resolve(&self.path)?;
                // Root's own configuration, which the owner of the database can't read.
                transports = C::SENDS.then(Transports::configured);
                server::become_user(&owner)?;
                self.became_owner.set(true);
                (self.open)(&path)?
            }
        };
        self.call_on(self.store.get_or_init(|| opened), call, transports, rows)
    }

    /// `transports`: the ones that are already open.
    fn call_on<C: Call>(
        &self,
        store: &Store,
        call: C,
        transports: Option<Result<Transports, Failure>>,
        rows: Rows<'_, C::Row>,
    ) -> Result<C::Reply, Failure> {
        let transports = RefCell::new(transports);
        let open = || transports.take().unwrap_or_else(Transports::configured);
        let feed = Feed { store, clock: &identity::clock_of };
        let outside = Outside {
            owns_file: &|| identity::owns(store.path()),
            clocks: &identity::clocks,
            has_account: &server::has_account,
            knows_zone: &time_zone::is_known,
            shared: false,
            deliver: &|sink| subscribers::deliver(&feed, &mut open()?, sink),
            notify_test: &|recipient| Ok(subscribers::notify_test(&mut open()?, recipient)),
            delivery_findings: &|read| subscribers::findings(read, &open()),
        };
        let service = Service { store, caller: &self.caller, clock: &identity::clock_of, outside: &outside };
        let reply = call.carry_out(&service, rows)?;
        self.as_of.set(service::as_of(store, outside.clocks)?);
        Ok(reply)
    }

    fn back_up(&self, to: PathBuf) -> Result<BackupView, Failure> {
        match self.store.get().map_or_else(|| server::another_owner(&self.path), |_| Ok(None))? {
            None => self.call(Backup { to }, &mut |_| Ok(())),
            Some(owner) => self.back_up_as(&owner, &store::resolve(&self.path)?, &to),
        }
    }

    /// Root's backup of another user's database. The copy is made and proven as that user, beside the database. Root only
    /// moves its bytes into a folder that nobody else can write. SQLite never opens another user's file as root.
    fn back_up_as(&self, owner: &User, database: &Path, to: &Path) -> Result<BackupView, Failure> {
        let vacant = NewFile::at(to)?;
        let (view, mut copy) = server::as_user(owner, || {
            let store = (self.open)(database)?;
            let draft = store::beside(store.path(), &format!(".copy-{}", std::process::id()));
            // A run that was killed may have left one with this name.
            let _ = fs::remove_file(&draft);
            let made = self.call_on(&store, Backup { to: draft.clone() }, None, &mut |_| Ok(()));
            store.close();
            let copy = made.and_then(|view| Ok((view, open_copy(&draft).map_err(|error| failed(&draft, &error))?)));
            // Only the open file is needed; where none was made there is nothing to remove.
            let _ = fs::remove_file(&draft);
            copy
        })?;
        let file = vacant.fill(&mut copy)?;
        Ok(BackupView { file, ..view })
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{}: {error}", path.display()))
}

/// Opens the copy that was just made. Its folder belongs to the other user, so opening must not wait, and what is opened
/// must be a regular file.
fn open_copy(path: &Path) -> std::io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
    }
}

impl Host {
    fn call<C: Call>(&self, call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        let Some(file) = &self.file else { return self.members.call(call, rows) };
        let on_file = match C::CALLERS {
            Callers::Members | Callers::Reconciler => false,
            // Only root can correct the clock.
            Callers::MembersAndRoot => file.caller.root,
            Callers::MembersAndKeepers | Callers::Keepers => true,
        };
        if on_file {
            file.call(call, rows)
        } else if file.path == self.shared.database {
            self.members.call(call, rows)
        } else {
            Err(Failure::new(Kind::Refused, "on a shared host --db is for expire, backup and doctor"))
        }
    }
}
