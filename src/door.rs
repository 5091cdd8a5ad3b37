//! The door through which commands go to the ledger. There is one: a database file of one's own.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::command::{Command, End};
use crate::config;
use crate::deliver::Mail;
use crate::domain::name::Name;
use crate::domain::team::Login;
use crate::error::Failure;
use crate::identity;
use crate::ledger::{self, Caller, Outside, Post, Sink};
use crate::store::Store;

/// The way to the database: one's own file, opened when the first command needs it.
pub struct Door {
    path: PathBuf,
    store: OnceCell<Store>,
    caller: Caller,
}

impl Door {
    pub fn choose(db: Option<PathBuf>, acting_as: Option<Name>) -> Result<Door, Failure> {
        let path = match db {
            Some(path) => path,
            None => config::database()?,
        };
        let caller = Caller { login: identity::login()?, root: identity::is_root(), acting_as };
        Ok(Door { path, store: OnceCell::new(), caller })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Unix user who came.
    pub fn login(&self) -> &Login {
        &self.caller.login
    }

    pub fn carry_out(&self, command: Command, sink: Sink<'_>) -> Result<End, Failure> {
        let store = match self.store.get() {
            Some(store) => store,
            None => {
                let opened = Store::open(&self.path)?;
                self.store.get_or_init(|| opened)
            }
        };
        let owns_file = || identity::owns(&self.path);
        let post = || Mail::configured().map(|mail| Box::new(mail) as Box<dyn Post>);
        let outside = Outside { owns_file: &owns_file, post: &post };
        ledger::carry_out_with(store, &self.caller, &identity::clock, &outside, command, sink)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            store.leave();
        }
    }
}
