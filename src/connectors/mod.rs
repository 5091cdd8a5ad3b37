//! The connectors that access ships. Each is a program, `access connector NAME`, that gives and takes back access in one kind
//! of system. It speaks the same protocol as any other program that root's configuration names.

mod files;
mod parameters;
mod serve;

pub mod ldap;
pub mod postgres;
pub mod protocol;
pub mod scim;

pub use serve::{NotDone, System, serve};
