//! A system call that fails: the command says that it is done only if it is, and if not, what became of it and what to do.

use crate::harness::World;
use crate::random::{Random, is_full};
use crate::scenarios::{all, named};
use crate::strace::{Injection, Traced, inject, limit_file_size};
use crate::sweep::{Outcome, Prepared, each_point, for_each_scenario};

/// How many points of each command are tried, unless all are.
const PART: usize = 3;
const LIMITS: usize = 1;
/// Beyond the size of every file here, and the step between two limits.
const LARGEST: u64 = 256 << 10;
const STEP: u64 = 1500;

fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "connect" | "sendto" | "sendmsg" => &[],
        "ftruncate" | "fallocate" => &["error=EIO", "error=ENOSPC"],
        _ => &["error=EIO", "error=ENOSPC", "error=EDQUOT"],
    }
}

#[test]
fn a_command_whose_system_call_fails_says_what_became_of_it() {
    for_each_scenario(all(), "errors", |scenario| {
        let prepared = Prepared::new(scenario);
        each_point(&prepared, errors, PART, |world, point, ran| survives(&prepared, world, point, ran))
    });
}

#[test]
fn a_command_whose_writes_are_short_says_what_became_of_it() {
    for_each_scenario(all(), "short writes", |scenario| {
        let prepared = Prepared::new(scenario);
        let mut random = Random::of(prepared.scenario.name);
        let count = usize::try_from(LARGEST / STEP).unwrap();
        let limits: Vec<usize> =
            if is_full() { (0..count).collect() } else { (0..LIMITS).map(|_| random.below(count)).collect() };
        for nth in &limits {
            let (bytes, world) = (*nth as u64 * STEP, prepared.begin());
            let ran = limit_file_size(&prepared.command(&world), bytes);
            let point = format!("{}: files of at most {bytes} bytes", prepared.scenario.name);
            survives(&prepared, &world, &point, &ran);
        }
        limits.len()
    });
}

fn survives(prepared: &Prepared, world: &World, point: &str, ran: &Traced) {
    let outcome = prepared.check(world, point, ran);
    tells(prepared, point, ran, outcome);
    prepared.converges(world, point, outcome);
}

/// The exit code and the text agree with what happened.
fn tells(prepared: &Prepared, point: &str, ran: &Traced, outcome: Outcome) {
    let code = ran.code.unwrap_or_else(|| panic!("{point}: a signal ended it: {ran:?}"));
    assert!(code != 70 && code != 101, "{point}: {ran:?}");
    if code == prepared.scenario.exits {
        return;
    }
    // What could not be written is not there to be read.
    if ran.injected.as_ref().is_some_and(|call| call.contains(" write(2")) {
        return;
    }
    let says = |words: &[&str]| words.iter().any(|word| ran.err.contains(word));
    // `reconcile` prints a line for each system.
    let in_lines = prepared.scenario.name == "reconcile" && code == 1 && ran.out.contains("doors");
    assert!(in_lines || says(&["error: ", "warning: "]), "{point}: {ran:?}");
    assert!(code != 74 || says(&["hint: "]), "{point}: it does not say what to do: {ran:?}");
    // A command that only reads says nothing of the migration before it.
    if prepared.scenario.name.contains("migrating") {
        return;
    }
    // Of several steps it says of each that it changed nothing.
    let is_one = prepared.scenario.steps.is_one();
    let says_nothing = says(&["nothing was ", "changed nothing"]);
    if is_one && says_nothing {
        assert_eq!(outcome, Outcome::Before, "{point}: {ran:?}");
    }
    if outcome == Outcome::After && !in_lines && (is_one || !says_nothing) {
        let admits = ["may or may not", "may not survive", "was carried out", "stays recorded", "warning: "];
        assert!(says(&admits), "{point}: it is done: {ran:?}");
    }
}

/// Another write would have succeeded.
#[test]
fn an_output_that_fails_once_says_that_the_command_was_carried_out() {
    let prepared = Prepared::new(named("request"));
    let world = prepared.begin();
    let ran = inject(&prepared.command(&world), Injection { call: "write", nth: 1, what: "error=EIO" });
    assert!(
        ran.code == Some(74) && ran.err.contains("the command was carried out; only its output is lost"),
        "{ran:?}"
    );
    survives(&prepared, &world, "the output fails once", &ran);
}
