//! The shared host, attacked by real Unix users. Each test has a machine of its own: the mounts that hide the real
//! `/etc`, `/usr`, `/var/lib`, `/run` and `/home` are its thread's alone, so nothing has to be put back.
//!
//! It needs root, and a plain build: one with overrides would prove nothing.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]
#![allow(clippy::print_stderr, reason = "a test that is passed over says so")]

#[cfg(feature = "test-overrides")]
#[test]
fn passed_over() {
    eprintln!("skipped: the shared host is tested on a plain build: cargo test --test shared");
}

#[cfg(not(feature = "test-overrides"))]
mod accounts;
#[cfg(not(feature = "test-overrides"))]
mod carried;
#[cfg(not(feature = "test-overrides"))]
mod connector;
#[cfg(not(feature = "test-overrides"))]
mod connectors;
#[cfg(not(feature = "test-overrides"))]
mod delivery;
#[cfg(not(feature = "test-overrides"))]
mod doctor;
#[cfg(not(feature = "test-overrides"))]
mod files;
#[cfg(not(feature = "test-overrides"))]
mod forgery;
#[cfg(not(feature = "test-overrides"))]
mod form;
#[cfg(not(feature = "test-overrides"))]
#[path = "../cli/histories.rs"]
mod histories;
#[cfg(not(feature = "test-overrides"))]
mod host;
#[cfg(not(feature = "test-overrides"))]
mod kills;
#[cfg(not(feature = "test-overrides"))]
mod layout;
#[cfg(not(feature = "test-overrides"))]
mod lifecycle;
#[cfg(not(feature = "test-overrides"))]
#[path = "../connectors/meanwhile.rs"]
mod meanwhile;
#[cfg(not(feature = "test-overrides"))]
mod names;
#[cfg(not(feature = "test-overrides"))]
mod over_ssh;
#[cfg(not(feature = "test-overrides"))]
#[allow(dead_code, reason = "the connectors' tests use the rest of it")]
#[path = "../connectors/postgres_cluster.rs"]
mod postgres_cluster;
#[cfg(not(feature = "test-overrides"))]
mod provisioning;
#[cfg(not(feature = "test-overrides"))]
mod races;
#[cfg(not(feature = "test-overrides"))]
#[path = "../reliability/random.rs"]
mod random;
#[cfg(not(feature = "test-overrides"))]
mod recipes;
#[cfg(not(feature = "test-overrides"))]
#[path = "../reliability/recording.rs"]
mod recording;
#[cfg(not(feature = "test-overrides"))]
#[path = "../reliability/rows.rs"]
mod rows;
#[cfg(not(feature = "test-overrides"))]
mod sessions;
#[cfg(not(feature = "test-overrides"))]
mod shared_log;
#[cfg(not(feature = "test-overrides"))]
mod ssh;
#[cfg(not(feature = "test-overrides"))]
#[allow(dead_code, reason = "the tests of reliability use the rest of it")]
#[path = "../reliability/strace.rs"]
mod strace;
#[cfg(not(feature = "test-overrides"))]
mod sudoers;
#[cfg(not(feature = "test-overrides"))]
mod surroundings;
#[cfg(not(feature = "test-overrides"))]
mod systemd;
#[cfg(not(feature = "test-overrides"))]
#[allow(dead_code, reason = "the connectors' tests use the rest of it")]
#[path = "../connectors/tools.rs"]
mod tools;
#[cfg(not(feature = "test-overrides"))]
mod units;
#[cfg(not(feature = "test-overrides"))]
mod unix_group;
