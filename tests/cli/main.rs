//! The program as its users meet it: the real binary, each test with a home, a database, users and a clock of its own.

mod audit;
mod clock;
mod harness;
mod json;
mod lifecycle;
mod review;
mod told;
