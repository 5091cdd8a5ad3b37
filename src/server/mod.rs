//! The shared host's door: many people, one database that none of them can open.
//!
//! The client sends its `Command` over a Unix socket. Each connection is a process of its own that serves one command
//! as the system user who owns the file: it asks the kernel who is there, reads the command whole, and only then has
//! the ledger carry it out. It trusts nothing that the client says about itself; no field of a `Command` could.

mod calls;
mod connection;
mod doctor;
mod init;
mod listen;
mod process;
mod remedy;

pub use connection::serve_connection;
pub use doctor::{inspect, unopenable};
pub use init::{SharedInit, init_shared};
pub use listen::listen;
pub use process::{another_owner, as_user, become_user};

use std::path::Path;

use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::store::Store;

/// The system user who owns a shared host's database.
pub const USER: &str = "access";

/// Whether a person of this Unix user name has an account on this machine. The system user is no person.
pub fn has_account(login: &Login) -> Result<bool, Failure> {
    Ok(login.as_str() != USER && identity::has_account(login)?)
}

/// Opens a shared host's database. What to do about one that can't be opened, only root finds out and does; so nobody is
/// told to make another.
pub fn open(database: &Path) -> Result<Store, Failure> {
    Store::open(database).map_err(|error| {
        let failure = Failure::from(error);
        match failure.kind {
            Kind::Unavailable | Kind::Invalid => {
                Failure { hints: vec!["as root, on this machine: access doctor".to_owned()], ..failure }
            }
            _ => failure,
        }
    })
}
