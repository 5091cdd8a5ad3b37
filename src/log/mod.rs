//! The log of a team that several hosts share: a PostgreSQL database that puts the entries in order and keeps them safe.
//!
//! It decides nothing. `postgres.sql` has its side: a host can only append at the end, under its own name, at the true time.
//! Each host verifies the chain of hashes again and keeps its own copy (see `store/shared.rs`).
//!
//! Every call has a deadline. A connection whose answer does not come in time is dropped, because a server that hangs keeps it
//! open for minutes. No call is ever cancelled on the server: a cancelled wait for the standby returns success.

mod config;
mod connection;
mod engine;
mod owner;
mod patroni;
mod side;
mod status;

pub use config::{LogConfig, LogUrl};
pub use engine::{Appended, Contacted, Engine, EngineError, EngineState, LoggedEntry};
pub use owner::{LogState, OwnedLog};
pub use patroni::PatroniSettings;
pub use side::SideValue;
pub use status::{EngineSettings, HostState};

/// The database's side: installed by `access log init`.
pub const SQL: &str = include_str!("postgres.sql");
