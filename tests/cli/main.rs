//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails where it stands")]

mod audit;
mod backup;
mod clock;
mod doctor;
mod harness;
mod json;
mod lifecycle;
mod proof;
mod review;
mod told;
