//! The shared host's door: many people, one database that none of them can open.
//!
//! The client sends its `Command` over a Unix socket. Each connection is a process of its own that serves one command
//! as the system user who owns the file: it asks the kernel who is there, reads the command whole, and only then has
//! the ledger carry it out. It trusts nothing that the client says about itself; no field of a `Command` could.

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

use crate::command::Command;
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

/// Whether this looks after the file itself, and so is done by root and the file's owner, who open it directly, and by
/// nobody over the socket.
pub fn looks_after(command: &Command) -> bool {
    match command {
        Command::Expire { .. }
        | Command::ReplaceOwner { .. }
        | Command::Deliver
        | Command::OutboxRetry { .. }
        | Command::OutboxDiscard { .. }
        | Command::Doctor { .. }
        | Command::Backup { .. } => true,
        Command::TeamApply { .. }
        | Command::TeamShow
        | Command::Resources { .. }
        | Command::Find { .. }
        | Command::Needs(_)
        | Command::NeedsToExtend { .. }
        | Command::Queue
        | Command::Request(_)
        | Command::Extend { .. }
        | Command::Edit { .. }
        | Command::List(_)
        | Command::Show { .. }
        | Command::Approve { .. }
        | Command::Deny { .. }
        | Command::Review { .. }
        | Command::Withdraw { .. }
        | Command::Revoke { .. }
        | Command::RevokeMember { .. }
        | Command::Whoami
        | Command::Check { .. }
        | Command::Who { .. }
        | Command::Inbox { .. }
        | Command::MarkRead { .. }
        | Command::Unread
        | Command::Preferences
        | Command::Prefer(_)
        | Command::NotifyTest
        | Command::Outbox { .. }
        | Command::Audit(_)
        | Command::AuditExport
        | Command::AuditExportRaw
        | Command::AuditVerify { .. }
        | Command::AuditCheckpoint
        | Command::AcceptClock
        | Command::Words(_) => false,
    }
}
