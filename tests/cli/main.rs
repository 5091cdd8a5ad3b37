//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should stop there")]

mod harness;
mod lifecycle;
