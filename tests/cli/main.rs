//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

mod completion;
mod generated;
mod harness;
mod lifecycle;
mod races;
mod terminal;
mod tmux;
