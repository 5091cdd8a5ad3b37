//! access: ask for elevated access, have it decided by another person, and have it taken back on time.
//!
//! A front end turns what a person typed into a `command::Command`. The `service` carries it out in one transaction:
//! it loads what the rules need from the `store`, lets the pure `domain` decide, records the events that follow in a
//! hash-chained log with all that they change, and streams `command::Reply`s back, which `ui` prints. Nothing
//! changes except through a recorded event, and whoever asks is never the one who decides.

#![forbid(unsafe_code)]

pub mod backend;
pub mod client;
pub mod commands;
pub mod completion;
pub mod config;
pub mod deliver;
pub mod domain;
pub mod error;
pub mod frame;
pub mod identity;
pub mod prompt;
pub mod protocol;
pub mod server;
pub mod service;
pub mod store;
pub mod subscribers;
pub mod time_format;
pub mod time_input;
pub mod time_zone;
pub mod ui;
