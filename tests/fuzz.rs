//! The targets of the fuzzers (`fuzz/`), as ordinary tests: with their seeds, and with mutations of them that a seeded generator
//! makes. `ACCESS_FUZZ_RUNS` sets how many, `ACCESS_FUZZ_SEED` which.

#![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]
#![allow(clippy::print_stderr, reason = "an input that breaks a check is printed")]

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use access::commands::ssh::words::words;
use checks::{TARGETS, Target};

/// How many mutations each target gets by default, and how many bytes of them: seconds in all.
const RUNS: u64 = 3000;
const BYTES: usize = 5 << 20;
/// What a run of `forged`, which replays a whole log, counts as.
const LOG: usize = 32 << 10;
/// The most bytes of an input. Larger seeds are used as they are.
const LONGEST: usize = 16 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("seeds").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// SplitMix64: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What breaks parsers.
const PIECES: [&str; 40] = [
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "\\\\",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{200b}",
    "\u{2028}",
    "\u{85}",
    "é",
    "🚀",
    "-",
    "--",
    "+",
    "*",
    "=",
    ",",
    ":",
    ";",
    "/",
    "..",
    "#",
    "@",
    "{}",
    "[]",
    "null",
    "0",
    "-1",
    "18446744073709551615",
    "9223372036854775807",
    "2026-02-30",
    "9999-12-31T23:59:60Z",
    "e\u{301}\u{301}",
    "\"v\":3,",
    "24h",
];

fn mutation(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = numbers.of(seeds).clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        let end = (at + 1 + numbers.below(12)).min(input.len());
        match numbers.below(8) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < input.len() => input[at] = u8::try_from(numbers.below(256)).unwrap(),
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, numbers.of(&PIECES).bytes())),
            4 => drop(input.splice(at..end, numbers.of(&PIECES).bytes())),
            5 => {
                let copy = input[at..end].to_vec();
                let to = numbers.below(input.len() + 1);
                drop(input.splice(to..to, copy));
            }
            6 => {
                let other = numbers.of(seeds);
                let from = numbers.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            // A line of another seed, in the place of one of its own.
            _ => {
                let other: Vec<&[u8]> = numbers.of(seeds).split(|byte| *byte == b'\n').collect();
                let line = numbers.of(&other).to_vec();
                let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let place = numbers.below(lines.len());
                lines[place] = line;
                input = lines.join(&b'\n');
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn run((name, check): Target) {
    let run = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
            let shown: String = input.escape_ascii().to_string().chars().take(4000).collect();
            eprintln!("the input of {name}; keep it in fuzz/seeds/{name}, and see CONTRIBUTING.md:\n{shown}");
            std::panic::resume_unwind(panic);
        }
    };
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| run(seed));
    let mut numbers = Numbers(variable("ACCESS_FUZZ_SEED").unwrap_or(17));
    let (runs, mut bytes) = match variable("ACCESS_FUZZ_RUNS") {
        Some(runs) => (runs, usize::MAX),
        None => (RUNS, BYTES),
    };
    for _ in 0..runs {
        let input = mutation(&seeds, &mut numbers);
        run(&input);
        bytes = bytes.saturating_sub(if name == "forged" { LOG } else { input.len() });
        if bytes == 0 {
            break;
        }
    }
}

macro_rules! tests {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            run(*TARGETS.iter().find(|(name, _)| *name == stringify!($name)).unwrap());
        })+

        #[test]
        fn each_target_has_a_test_and_a_program() {
            let tested: BTreeSet<&str> = [$(stringify!($name)),+].into();
            assert_eq!(tested, TARGETS.map(|(name, _)| name).into());
            let programs = fs::read_dir(folder().join("fuzz_targets")).unwrap();
            let programs: BTreeSet<String> =
                programs.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            assert_eq!(programs, tested.iter().map(ToString::to_string).collect());
        }
    };
}

tests! { config connector entries forged frames names notes shapes ssh systems team_file times }

#[test]
fn frames_of_each_call_are_fuzzed() {
    let service = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service/mod.rs")).unwrap();
    let (_, list) = service.split_once("macro_rules! calls").unwrap();
    let (list, _) = list.split_once("pub(crate) use calls").unwrap();
    let lines = list.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once(": "));
    let calls: BTreeSet<&str> = lines.flat_map(|(_, calls)| calls.split(", ")).collect();
    assert!(calls.len() > 60, "the list is where this test looks for it");
    assert_eq!(calls, checks::frames::CALLS.iter().copied().collect());
}

/// Lines that mean the same to a shell, and that no shell expands.
#[test]
fn words_of_a_command_are_those_of_a_shell() {
    let mut numbers = Numbers(17);
    let pieces =
        ["a", "é", " ", "  ", "\t", "'", "\"", "\\", "\\\\", "\\\n", "-", "--x=", "''", "\"\"", "\\'", "\\\"", "b c"];
    let mut compared = 0;
    while compared < 300 {
        let line: String = (0..numbers.below(12)).map(|_| *numbers.of(&pieces)).collect();
        let Ok(read) = words(&line) else { continue };
        let shell = Command::new("/bin/sh").args(["-c", &format!("set -f; printf '%s\\0' x {line}")]).output().unwrap();
        let expected: Vec<String> =
            String::from_utf8(shell.stdout).unwrap().split_terminator('\0').skip(1).map(str::to_owned).collect();
        assert_eq!(read, expected, "{line:?}");
        compared += 1;
    }
}
