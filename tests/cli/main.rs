//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

mod completion;
mod generated;
mod harness;
mod lifecycle;
mod races;
mod terminal;
mod tmux;
