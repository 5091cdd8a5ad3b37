//! The connectors that access ships. Each is a program, `access connector NAME`, that gives and takes back access in one kind
//! of system. It speaks the same protocol as any other program that root's configuration names.

mod aws;
mod parameters;
mod patience;
mod serve;
mod tool;
pub mod user_name;
mod web;

pub mod account;
pub mod aws_iam_group;
pub mod aws_identity_center;
pub mod ldap;
pub mod postgres;
pub mod processes;
pub mod protocol;
pub mod scim;
pub mod sudoers;
pub mod unix_group;

pub use patience::TIME_LIMIT;
pub use serve::{GrantEffect, NotDone, System, serve};
