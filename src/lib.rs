//! access: ask for elevated access, have it decided by another person, and have it taken back on time.
//!
//! `commands` turns a command line into a call. The `service` carries the call out in one transaction: it loads what
//! the rules need from the `store`, lets the pure `domain` decide, records the resulting events in a hash-chained log
//! together with the rows they change, and returns a reply, which `ui` prints. Nothing changes except through a recorded
//! event, and nobody decides on their own request.

#![forbid(unsafe_code)]

pub mod backend;
pub mod checkpoints;
pub mod client;
pub mod commands;
pub mod completion;
pub mod config;
pub mod connectors;
pub mod deliver;
pub mod domain;
pub mod error;
pub mod files;
pub mod frame;
pub mod http_client;
pub mod identity;
pub mod log;
pub mod prompt;
pub mod protocol;
pub mod provisioning;
pub mod report;
pub mod server;
pub mod service;
pub mod signing;
pub mod store;
pub mod subscribers;
pub mod time_format;
pub mod time_input;
pub mod time_zone;
pub mod tls;
pub mod ui;
pub mod witness;
