//! The shared log. Its database side by raw SQL: what honest hosts rely on, and what a hostile one can't do. And hosts that
//! run real commands while servers fail.
//! Each test starts its own servers on loopback and stops them by their process ids.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]
#![allow(clippy::print_stdout, reason = "figures of a run, and what servers said before a failure")]
#![allow(clippy::print_stderr, reason = "a test says how much it tried")]

mod checkpoints;
mod cluster;
mod contents;
mod copies;
#[allow(dead_code, reason = "the tests of reliability use the rest of it")]
#[path = "../reliability/disk.rs"]
mod disk;
mod expired;
mod faults;
mod hostile;
mod hosts;
mod install;
mod json_reference;
mod kills;
mod lies;
mod line;
mod many;
mod moving;
mod nodes;
#[allow(dead_code, reason = "the connectors' tests use the rest of it")]
#[path = "../connectors/postgres_cluster.rs"]
mod postgres_cluster;
mod powers;
mod program;
mod protocol;
#[allow(dead_code, reason = "the tests of reliability use the rest of it")]
#[path = "../reliability/random.rs"]
mod random;
mod reads;
#[path = "../reliability/recording.rs"]
mod recording;
mod restored;
mod salvage;
mod sessions;
mod shared_log;
mod side;
mod stalls;
#[allow(dead_code, reason = "the tests of reliability use the rest of it")]
#[path = "../reliability/strace.rs"]
mod strace;
#[path = "../cli/tables.rs"]
mod tables;
#[path = "../connectors/tools.rs"]
mod tools;
mod unwritten;
mod void;
mod wire;
