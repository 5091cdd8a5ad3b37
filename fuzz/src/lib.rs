//! What is fuzzed: each parser of text or bytes that come from outside, as a function that panics if the parser breaks a promise.
//!
//! cargo-fuzz runs these functions with inputs of its own (`fuzz/run`), and `tests/fuzz.rs` with the seeds and with mutations of
//! them.

#![allow(clippy::unwrap_used, reason = "a check fails by a panic")]

pub mod config;
pub mod connector;
pub mod entries;
pub mod forged;
pub mod frames;
pub mod names;
pub mod notes;
pub mod shaped;
pub mod ssh;
pub mod systems;
pub mod team_file;
pub mod times;

/// A target: its name, which its seeds and its program have too, and its check.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 12] = [
    ("config", config::check),
    ("connector", connector::check),
    ("entries", entries::check),
    ("forged", forged::check),
    ("frames", frames::check),
    ("names", names::check),
    ("notes", notes::check),
    ("shapes", frames::shapes),
    ("ssh", ssh::check),
    ("systems", systems::check),
    ("team_file", team_file::check),
    ("times", times::check),
];

/// What a text means, it means again after it is printed.
pub fn reads_back<T>(text: &str) -> Option<T>
where
    T: std::str::FromStr + std::fmt::Display + std::fmt::Debug + PartialEq,
{
    let read: T = text.parse().ok()?;
    let printed = read.to_string();
    let again = printed.parse::<T>();
    assert!(again.as_ref().is_ok_and(|again| *again == read), "{text:?} is {read:?}, printed as {printed:?}");
    Some(read)
}
