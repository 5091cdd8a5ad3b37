//! A command that is killed at any of its system calls is carried out or it is not, and giving it again is all that is left to do.

use crate::scenarios::{all, named};
use crate::strace::{Injection, inject};
use crate::sweep::{Prepared, each_point, for_each_scenario};

/// How many points of each command are tried, unless all are.
const PART: usize = 3;

#[test]
fn a_command_killed_at_any_call_is_done_or_not() {
    for_each_scenario(all(), "kills", |scenario| {
        let prepared = Prepared::new(scenario);
        each_point(
            &prepared,
            |_| &["signal=KILL"],
            PART,
            |world, point, ran| {
                let outcome = prepared.check(world, point, ran);
                prepared.converges(world, point, outcome);
            },
        )
    });
}

#[test]
fn a_key_whose_maker_was_killed_is_made_again() {
    let prepared = Prepared::new(named("audit checkpoint"));
    let world = prepared.begin();
    let killed = inject(&prepared.command(&world), Injection { call: "write", nth: 1, what: "signal=KILL" });
    assert!(killed.injected.is_some(), "{killed:?}");
    let outcome = prepared.check(&world, "the key is written", &killed);
    prepared.converges(&world, "the key is written", outcome);
}
