//! access: ask for elevated access, have it decided by another person, and have it taken back on time.
//!
//! A front end turns what a person typed into a `command::Command`. The `ledger` carries it out in one transaction:
//! it loads what the rules need from the `store`, lets the pure `domain` decide, records the events that follow in a
//! hash-chained log with all that they change, and streams `command::Reply`s back, which `output` prints. Nothing
//! changes except through a recorded event, and whoever asks is never the one who decides.

#![forbid(unsafe_code)]

pub mod app;
pub mod broker;
pub mod cli;
pub mod command;
pub mod complete;
pub mod config;
pub mod deliver;
pub mod domain;
pub mod door;
pub mod error;
pub mod identity;
pub mod ledger;
pub mod line;
pub mod output;
pub mod pages;
pub mod prompt;
pub mod store;
pub mod when;
