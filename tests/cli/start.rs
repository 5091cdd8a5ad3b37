//! What a `check` costs. Gates run one for each login, so that most of its time is its start.

use std::process::Command;

use crate::harness::{ACCESS, World};

/// The most instructions of a `check` in a debug build (SQLite is optimised there too). A count does not depend on the load of
/// the machine. It differs a little between versions of the compiler and of the system's libraries: 5% are left for that.
const BUDGET: u64 = 3_450_000;

#[test]
fn a_check_takes_no_more_instructions_than_its_budget() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let check = world.command("bob", &["check", "target:orders-db"]);
    let mut counted = Command::new("valgrind");
    counted.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=main", ACCESS]);
    counted.args(check.get_args()).current_dir(world.folder()).env_clear();
    counted.envs(check.get_envs().filter_map(|(name, value)| Some((name, value?))));

    let output = counted.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = String::from_utf8(output.stderr).unwrap();
    let count = report.split("Collected : ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let count: u64 = count.trim().parse().unwrap();
    assert!(count > BUDGET / 2, "this is not all of it: {count}");
    assert!(
        count <= BUDGET,
        "a check takes {count} instructions, and its budget is {BUDGET}: `valgrind --tool=callgrind` and \
         `callgrind_annotate --inclusive=yes` say where they go"
    );
}
