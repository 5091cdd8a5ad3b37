//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails where it stands")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod audit;
mod backup;
mod bad_input;
mod clock;
mod completion;
mod database;
mod deliver;
mod disabled;
mod doctor;
mod edit;
mod exit;
mod export;
mod faults;
mod generated;
mod harness;
mod hostile;
mod identity;
mod json;
mod kills;
mod lifecycle;
mod notify;
mod post;
mod proof;
mod quota;
mod races;
mod review;
mod rules;
mod rules_found;
mod tampered;
mod team;
mod team_size;
mod terminal;
mod times;
mod tmux;
mod told;
mod upgrade;
