//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails where it stands")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod addresses;
mod answers;
mod audit;
mod backup;
mod bad_input;
mod clock;
mod completion;
mod database;
mod deliver;
mod disabled;
mod doctor;
mod documents;
mod edit;
mod exit;
mod export;
mod faults;
mod forged;
mod form;
mod generated;
mod harness;
mod hostile;
mod identity;
mod json;
mod kills;
mod letters;
mod lifecycle;
mod line;
mod long_history;
mod notify;
mod outbox;
mod owner;
mod post;
mod prompt;
mod proof;
mod proxy;
mod queue;
mod quota;
mod races;
mod review;
mod revoke;
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
mod waiting;
mod webhooks;
mod width;
