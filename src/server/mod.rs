//! The shared host's server: many users, and one database that none of them can open directly.
//!
//! The client sends one call over a Unix socket. A process for each connection serves it as the system user who owns
//! the file: it asks the kernel who the caller is, reads the whole call, and only then lets the service carry it out.
//! No field of a call says who the caller is, so a client cannot claim to be another user.

mod connection;
mod doctor;
mod init;
mod listen;
mod over_ssh;
mod process;
mod remedy;
mod sshd;

pub use connection::{Sent, read_call, serve_connection};
pub use doctor::{inspect, unopenable};
pub use init::{SharedInit, init_shared};
pub use listen::listen;
pub use over_ssh::OverSsh;
pub use process::{another_owner, as_user, become_owner, become_user, clear_environment_but};

use std::path::Path;

use nix::unistd::User;

use crate::config;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::service::Outside;
use crate::store::{EngineAccess, Store};
use crate::time_zone;

/// The system user who owns a shared host's database.
pub const USER: &str = "access";

/// Whether this machine has the system user.
pub fn has_system_user() -> bool {
    User::from_name(USER).is_ok_and(|user| user.is_some())
}

/// Whether a user of this name, other than the system user, has an account on this machine.
pub fn has_account(login: &Login) -> Result<bool, Failure> {
    Ok(login.as_str() != USER && identity::has_account(login)?)
}

/// What the commands of members get from outside the database: they send nothing, and look after no file.
fn outside_of_members() -> Outside<'static> {
    Outside {
        owns_file: &|| false,
        clocks: &identity::clocks,
        has_account: &has_account,
        knows_zone: &time_zone::is_known,
        shared: true,
        deliver: &|_| Err(sends_nothing()),
        notify_test: &|_| Err(sends_nothing()),
        delivery_findings: &|_| Vec::new(),
    }
}

fn sends_nothing() -> Failure {
    Failure::new(Kind::Failure, "on a shared host a member's command cannot send notifications")
        .hint("your notifications are sent within a minute; `access notify` shows where to")
        .hint("root can send what is due with `access deliver`")
}

/// How this host reaches the log that several hosts share, in case its database is a copy of one.
pub fn engine() -> EngineAccess {
    EngineAccess::new(|| config::log()?.resolve(), identity::clocks)
}

/// Opens a shared host's database. If that fails, the only hint is for root: users must not be advised to create another
/// database.
pub fn open(database: &Path) -> Result<Store, Failure> {
    let store = Store::open(database).map(|store| store.with_engine(engine()));
    store.map_err(|error| {
        let failure = Failure::from(error);
        match failure.kind {
            Kind::Unavailable | Kind::Invalid => {
                Failure { hints: vec!["run `access doctor` as root on this machine".to_owned()], ..failure }
            }
            _ => failure,
        }
    })
}
