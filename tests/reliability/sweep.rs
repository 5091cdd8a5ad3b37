//! What the sweeps share: the points at which something happens to a command, and what has to hold afterwards.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::World;
use crate::random::{Random, is_full};
use crate::scenarios::{Again, Scenario, settle};
use crate::state::{State, copy};
use crate::strace::{Injection, Traced, count_calls, inject};

/// A scenario, and what it leads to if nothing happens.
pub struct Prepared {
    pub scenario: Scenario,
    world: World,
    before: State,
    after: State,
}

impl Prepared {
    pub fn new(scenario: Scenario) -> Prepared {
        let world = (scenario.world)();
        let mut prepared =
            Prepared { before: State::of(&copy(&world)), after: State::of(&copy(&world)), scenario, world };
        let reference = prepared.begin();
        prepared.before = prepared.state(&reference);
        let ran = prepared.run(&reference);
        assert_eq!(ran.code, Some(prepared.scenario.exits), "{}: {ran:?}", prepared.scenario.name);
        prepared.after = prepared.state(&reference);
        assert!(prepared.before != prepared.after, "{} changes nothing", prepared.scenario.name);
        prepared
    }

    /// A world of its own, in which the command was not given yet.
    pub fn begin(&self) -> World {
        let world = copy(&self.world);
        settle(&self.scenario, &world);
        world
    }

    pub fn command(&self, world: &World) -> Command {
        self.scenario.command(world)
    }

    /// Gives the command, and nothing happens to it.
    pub fn run(&self, world: &World) -> Traced {
        let mut command = self.command(world);
        if let Ok(input) = std::fs::File::open(world.folder().join("input")) {
            command.stdin(input);
        }
        Traced::new(command.output().unwrap(), None)
    }

    fn state(&self, world: &World) -> State {
        let state = State::of(world);
        let state = if self.scenario.steps.is_random() { state.recorded() } else { state };
        // A run in which the connector failed records that, and another run does the rest.
        if self.scenario.name == "reconcile" { state.without_failures() } else { state }
    }

    /// What must hold after the command was cut short, or was not: everything or nothing of it, and no fault in the log. Says which.
    pub fn check(&self, world: &World, point: &str, ran: &Traced) -> Outcome {
        self.verify(world, point, ran);
        let state = self.state(world);
        let outcome = if state == self.after {
            Outcome::After
        } else if state == self.before {
            Outcome::Before
        } else {
            Outcome::Between
        };
        if self.scenario.steps.is_one() {
            assert_ne!(
                outcome,
                Outcome::Between,
                "{point}: {ran:?}\nbefore to here:\n{}\nhere to after:\n{}",
                self.before.differs(&state),
                state.differs(&self.after)
            );
        }
        // The exit code of `run` is that of the program that it runs, and a warning says what was not done.
        let warned = self.scenario.name == "run" && ran.err.contains("warning: ");
        if ran.code == Some(self.scenario.exits) && self.scenario.exits == 0 && !warned {
            assert_eq!(
                outcome,
                Outcome::After,
                "{point}: it was acknowledged: {ran:?}\n{}",
                state.differs(&self.after)
            );
        }
        outcome
    }

    /// The same command again leads to where it would have led at once.
    pub fn converges(&self, world: &World, point: &str, outcome: Outcome) {
        // What could not be sent is sent later.
        if self.scenario.name == "deliver" {
            world.rows("UPDATE outbox SET due_at = 0");
        }
        let again = self.run(world);
        // A key that the log has takes its place when it is used next.
        if world.folder().join("access.db.key-new").exists() {
            assert_eq!(world.run("olivia", &["audit", "checkpoint"]).code, 0, "{point}, again: {again:?}");
        }
        let repeats = self.scenario.again == Again::Repeats;
        let done = again.code == Some(5) && outcome != Outcome::Before;
        assert!(again.code == Some(self.scenario.exits) || done, "{point}, again: {again:?}");
        let state = self.state(world);
        if !repeats || (outcome == Outcome::Before && self.scenario.steps.is_one()) {
            assert!(state == self.after, "{point}, again: {again:?}\n{}", state.differs(&self.after));
        }
        self.verify(world, point, &again);
    }

    fn verify(&self, world: &World, point: &str, ran: &Traced) {
        let database = self.scenario.database(world);
        // Nothing, or the whole file: never an empty one.
        if database.exists() {
            let file = database.to_str().unwrap();
            let verified = world.run("root", &["--db", file, "--as", self.scenario.auditor(), "audit", "verify"]);
            assert_eq!(verified.code, 0, "{point}: {ran:?}\n{verified:?}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Before,
    Between,
    After,
}

/// Does this at each point of the command, or at a part of them. `whats`: what happens at such a call. Returns how many points
/// there were.
pub fn each_point(
    prepared: &Prepared,
    whats: impl Fn(&str) -> &'static [&'static str],
    part: usize,
    each: impl Fn(&World, &str, &Traced),
) -> usize {
    let mut points = Vec::new();
    for (call, count) in count_calls(&prepared.command(&prepared.begin())) {
        for what in whats(call) {
            points.extend((1..=count).map(|nth| (call, nth, *what)));
        }
    }
    if !is_full() {
        let mut random = Random::of(prepared.scenario.name);
        while points.len() > part {
            points.swap_remove(random.below(points.len()));
        }
    }
    let mut tried = 0;
    for (call, nth, what) in points {
        let world = prepared.begin();
        let ran = inject(&prepared.command(&world), Injection { call, nth, what });
        if ran.injected.is_some() {
            tried += 1;
            each(&world, &format!("{}: {what} at {call} {nth}", prepared.scenario.name), &ran);
        }
    }
    tried
}

/// Does this for all scenarios, on as many threads as there are processors. Prints the sum of what it returns.
pub fn for_each_scenario(scenarios: Vec<Scenario>, title: &str, each: impl Fn(Scenario) -> usize + Sync) {
    let only = std::env::var("ACCESS_TEST_ONLY").unwrap_or_default();
    let chosen: VecDeque<Scenario> = scenarios.into_iter().filter(|scenario| scenario.name.contains(&only)).collect();
    let (queue, total, failed) = (Mutex::new(chosen), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(scenario) = queue.lock().unwrap().pop_front() else { return };
                    let name = scenario.name;
                    // The others are tried all the same.
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(scenario))) {
                        Ok(count) => {
                            eprintln!("{title}: {name}: {count}");
                            total.fetch_add(count, Ordering::Relaxed);
                        }
                        Err(_) => failed.lock().unwrap().push(name),
                    }
                }
            });
        }
    });
    eprintln!("{title}: {} in all", total.into_inner());
    assert_eq!(failed.into_inner().unwrap(), [""; 0], "these failed");
}
