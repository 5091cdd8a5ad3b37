//! The door through which commands go to the ledger: a database file of one's own, or a shared host's socket.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::broker::{self, Client};
use crate::command::{Command, End};
use crate::config::{self, Shared};
use crate::deliver::Mail;
use crate::domain::name::Name;
use crate::domain::team::Login;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::ledger::{self, Caller, Outside, Post, Sink};
use crate::store::Store;

pub enum Door {
    Own(Own),
    Shared(Host),
}

/// One's own file, opened when the first command needs it.
pub struct Own {
    path: PathBuf,
    store: OnceCell<Store>,
    caller: Caller,
}

/// A shared host. Root, and the system user who owns the database, look after the file itself.
pub struct Host {
    shared: Shared,
    client: Client,
    file: Option<Own>,
}

impl Door {
    /// Where the machine's config names a socket there is no way past it, whatever flags and variables say.
    pub fn choose(db: Option<PathBuf>, acting_as: Option<Name>) -> Result<Door, Failure> {
        identity::no_borrowed_rights()?;
        let Some(shared) = config::shared()? else {
            let path = match db {
                Some(path) => path,
                None => config::database()?,
            };
            return Ok(Door::Own(Own::new(path, acting_as)?));
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
            (None, true) => Some(Own::new(shared.database.clone(), None)?),
            (None, false) => None,
            (Some(_), false) => {
                return Err(Failure::new(Kind::Refused, "on a shared host nobody names a database of their own")
                    .hint("leave --db out: all commands go to the one that the host shares"));
            }
        };
        Ok(Door::Shared(Host { client: Client::new(shared.socket.clone()), shared, file }))
    }

    /// The file that `init` creates: only where it is the caller's own.
    pub fn own(&self) -> Result<&Own, Failure> {
        match self {
            Door::Own(own) => Ok(own),
            Door::Shared(host) => {
                let message = format!(
                    "this is a shared host, and its database is made already: {}",
                    host.shared.database.display()
                );
                Err(Failure::new(Kind::Refused, message).hint("look at `access whoami`; root lays one out: --shared"))
            }
        }
    }

    pub fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        match self {
            Door::Own(own) => own.carry_out(command, sink),
            Door::Shared(host) => host.carry_out(command, sink),
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
        Ok(Own { path, store: OnceCell::new(), caller })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Unix user who came.
    pub fn login(&self) -> &Login {
        &self.caller.login
    }

    fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        let store = match self.store.get() {
            Some(store) => store,
            None => {
                let opened = Store::open(&self.path)?;
                self.store.get_or_init(|| opened)
            }
        };
        let owns_file = || identity::owns(&self.path);
        let post = || Mail::configured().map(|mail| Box::new(mail) as Box<dyn Post>);
        let outside = Outside { owns_file: &owns_file, has_account: &broker::has_account, shared: false, post: &post };
        ledger::carry_out_with(store, &self.caller, &identity::clock, &outside, command, sink)
    }
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
                let wrong = broker::inspect(&self.shared, sink)?;
                let end = file.carry_out(command, sink)?;
                Ok(End { no: end.no || wrong, ..end })
            }
            command if broker::looks_after(command) => file.carry_out(command.clone(), sink),
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
