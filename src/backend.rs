//! The door through which commands go to the ledger: a database file of one's own, or a shared host's socket.

use std::cell::{OnceCell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};

use crate::client::Client;
use crate::command::{BackupView, Command, End, Reply};
use crate::config::{self, Shared};
use crate::deliver::Transports;
use crate::domain::name::Name;
use crate::domain::team::Login;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::server;
use crate::service::{self, Caller, Outside, Sink};
use crate::store::{self, Store, Vacant};
use crate::subscribers::{self, Feed};

pub enum Backend {
    Own(Own),
    Shared(Host),
}

/// One's own file, opened when the first command needs it.
pub struct Own {
    path: PathBuf,
    store: OnceCell<Store>,
    caller: Caller,
    open: fn(&Path) -> Result<Store, Failure>,
}

/// A shared host. Root, and the system user who owns the database, look after the file itself.
pub struct Host {
    shared: Shared,
    client: Client,
    file: Option<Own>,
}

impl Backend {
    /// Where the machine's config names a socket there is no way past it, whatever flags and variables say.
    pub fn choose(db: Option<PathBuf>, acting_as: Option<Name>) -> Result<Backend, Failure> {
        identity::no_borrowed_rights()?;
        let Some(shared) = config::shared()? else {
            let path = match db.map_or_else(config::database_by_variable, |path| Ok(Some(path)))? {
                Some(path) => path,
                None => config::database()?,
            };
            let acting_as = acting_as.map_or_else(config::member_by_variable, |name| Ok(Some(name)))?;
            return Ok(Backend::Own(Own::new(path, acting_as)?));
        };
        if let Some(name) = config::variable_set() {
            return Err(Failure::new(Kind::Refused, format!("{name} is set, and does not count on a shared host"))
                .hint(format!("unset {name}")));
        }
        if acting_as.is_some() {
            return Err(Failure::new(Kind::Refused, "on a shared host nobody acts as another")
                .hint("leave --as out: the system says who you are"));
        }
        let file = match (db, looks_after(&shared.database)) {
            (Some(path), true) => Some(Own::new(path, None)?),
            (None, true) => Some(Own::shared(shared.database.clone())?),
            (None, false) => None,
            (Some(_), false) => {
                return Err(Failure::new(Kind::Refused, "on a shared host nobody names a database of their own")
                    .hint("leave --db out: all commands go to the one that the host shares"));
            }
        };
        Ok(Backend::Shared(Host { client: Client::new(shared.socket.clone()), shared, file }))
    }

    /// The file that `init` creates: only where it is the caller's own.
    pub fn own(&self) -> Result<&Own, Failure> {
        match self {
            Backend::Own(own) => Ok(own),
            Backend::Shared(host) => {
                let message =
                    format!("this is a shared host, and all use its database: {}", host.shared.database.display());
                Err(Failure::new(Kind::Refused, message).hint("look at `access whoami`; root lays one out: --shared"))
            }
        }
    }

    pub fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        match self {
            Backend::Own(own) => own.carry_out(command, sink),
            Backend::Shared(host) => host.carry_out(command, sink),
        }
    }
}

/// Whether this user may open a shared host's database directly.
fn looks_after(database: &Path) -> bool {
    let owner = || std::fs::metadata(database).is_ok_and(|found| found.uid() == geteuid().as_raw());
    identity::is_root() || owner()
}

impl Own {
    fn new(path: PathBuf, acting_as: Option<Name>) -> Result<Own, Failure> {
        let caller = Caller { login: identity::login()?, root: identity::is_root(), acting_as };
        Ok(Own { path, store: OnceCell::new(), caller, open: |path| Ok(Store::open(path)?) })
    }

    /// A shared host's.
    fn shared(path: PathBuf) -> Result<Own, Failure> {
        let mut own = Own::new(path, None)?;
        own.open = server::open;
        Ok(own)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Unix user who came.
    pub fn login(&self) -> &Login {
        &self.caller.login
    }

    fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        if let Some(store) = self.store.get() {
            return self.carry_out_on(store, command, None, sink);
        }
        let mut transports = None;
        let opened = match server::another_owner(&self.path)? {
            None => (self.open)(&self.path)?,
            Some(owner) => {
                // While root can still follow the path, wherever it begins.
                let path = store::resolve(&self.path)?;
                if let Command::Backup { to } = command {
                    return self.back_up_as(&owner, &path, &to, sink);
                }
                // Root's own configuration, which the owner of the database can't read.
                transports = sends(&command).then(Transports::configured);
                server::become_user(&owner)?;
                (self.open)(&path)?
            }
        };
        self.carry_out_on(self.store.get_or_init(|| opened), command, transports, sink)
    }

    /// `transports`: where they were opened already.
    fn carry_out_on(
        &self,
        store: &Store,
        command: Command,
        transports: Option<Result<Transports, Failure>>,
        sink: Sink<'_>,
    ) -> Result<End, Failure> {
        let transports = RefCell::new(transports);
        let open = || transports.take().unwrap_or_else(Transports::configured);
        let feed = Feed { store, clock: &identity::clock };
        let outside = Outside {
            owns_file: &|| identity::owns(store.path()),
            has_account: &server::has_account,
            knows_zone: &identity::knows_zone,
            shared: false,
            deliver: &|sink| subscribers::deliver(&feed, &mut open()?, sink),
            notify_test: &|recipient| Ok(subscribers::notify_test(&mut open()?, recipient)),
            delivery_findings: &|read| subscribers::findings(read, &open()),
        };
        service::carry_out_with(store, &self.caller, &identity::clock, &outside, command, sink)
    }

    /// Root's backup of another user's database. The copy is made and proven as that user, beside the database. Root only
    /// moves its bytes into a folder that nobody else can write. SQLite never opens another user's file as root.
    fn back_up_as(&self, owner: &User, database: &Path, to: &Path, sink: Sink<'_>) -> Result<End, Failure> {
        let vacant = Vacant::at(to)?;
        let mut made = None;
        let (end, mut copy) = server::as_user(owner, || {
            let store = (self.open)(database)?;
            let draft = store::beside(store.path(), &format!(".copy-{}", std::process::id()));
            let end = self.carry_out_on(&store, Command::Backup { to: draft.clone() }, None, &mut |reply| {
                made = Some(reply);
                Ok(())
            });
            store.leave();
            let copy = end.and_then(|end| Ok((end, open_copy(&draft).map_err(|error| failed(&draft, &error))?)));
            // Only the open file is needed; where none was made there is nothing to remove.
            let _ = fs::remove_file(&draft);
            copy
        })?;
        let file = vacant.fill(&mut copy)?;
        match made {
            Some(Reply::BackedUp(view)) => sink(Reply::BackedUp(BackupView { file, ..view }))?,
            _ => return Err(Failure::new(Kind::Internal, "the copy was not described")),
        }
        Ok(end)
    }
}

/// Whether a command uses the transports.
fn sends(command: &Command) -> bool {
    matches!(command, Command::Expire { .. } | Command::Deliver | Command::NotifyTest | Command::Doctor { .. })
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
            store.leave();
        }
    }
}

impl Host {
    fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        let Some(file) = &self.file else { return self.client.carry_out(command, sink) };
        match &command {
            Command::Doctor { .. } => {
                let inspected = server::inspect(&self.shared, sink)?;
                if file.path == self.shared.database && !inspected.openable {
                    return Ok(End { no: true, ..End::default() });
                }
                match file.carry_out(command, sink) {
                    Ok(end) => Ok(End { no: end.no || inspected.wrong, ..end }),
                    Err(failure) if failure.kind == Kind::Refused => Err(failure),
                    Err(failure) => {
                        sink(Reply::Finding(server::unopened(&file.path, &inspected, failure)))?;
                        Ok(End { no: true, ..End::default() })
                    }
                }
            }
            command if server::looks_after(command) => file.carry_out(command.clone(), sink),
            // The clock is root's to set right.
            Command::AcceptClock if file.caller.root => file.carry_out(command, sink),
            // Admins look at it too, through the socket.
            Command::Outbox { .. } => file.carry_out(command, sink),
            // Root has no inbox.
            Command::Unread => Ok(End::default()),
            _ if file.path != self.shared.database => {
                Err(Failure::new(Kind::Refused, "on a shared host --db is for expire, backup and doctor"))
            }
            _ => self.client.carry_out(command, sink),
        }
    }
}
