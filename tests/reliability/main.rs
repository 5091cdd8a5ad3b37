//! Nothing is lost and nothing is half done: commands that are killed, whose system calls fail, and whose machine loses power, at
//! each of their system calls. docs/reliability.md says what is promised.
//!
//! `ACCESS_TEST_FULL=1` tries every point; otherwise a part of them, by a seed that `ACCESS_TEST_SEED` sets.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]
#![allow(clippy::print_stderr, reason = "a test says how much it tried")]

mod disk;
mod error_sweep;
#[allow(dead_code, reason = "the tests of the command line use the rest of it")]
#[path = "../cli/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the tests of the command line use the rest of it")]
#[path = "../cli/hosts.rs"]
mod hosts;
mod kill_sweep;
#[allow(dead_code, reason = "the tests of the command line use the rest of it")]
#[path = "../cli/post.rs"]
mod post;
mod power_loss;
mod random;
mod recording;
mod rows;
mod scenarios;
mod state;
mod strace;
mod sweep;
