//! The machine loses power at any moment: what a command said that it did has lasted, and of what it did not there is everything
//! or nothing. For the settings that the program ships with.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::disk::{Disk, Reached, write_image};
use crate::harness::World;
use crate::random::{Random, is_full};
use crate::recording::{Op, record};
use crate::scenarios::{all, named, settle};
use crate::strace::Traced;
use crate::sweep::{Outcome, Prepared, for_each_scenario};

/// How many mixtures of what reached the disk are tried at each moment.
const MIXTURES: usize = 4;
/// How many moments and mixtures of each command are tried, unless all are.
const PART: usize = 4;

#[test]
fn a_machine_that_loses_power_keeps_what_was_acknowledged() {
    for_each_scenario(all(), "power loss", |scenario| {
        let prepared = Prepared::new(scenario);
        let world = prepared.begin();
        let mut disk = Disk::of(world.folder(), &["allowed"]);
        let ops = record(&prepared.command(&world), world.folder());
        let mut random = Random::of(prepared.scenario.name);
        let mut moments: Vec<(usize, Reached)> = (0..=ops.len())
            .flat_map(|nth| {
                Reached::PLAIN.into_iter().chain([Reached::Some; MIXTURES]).map(move |reached| (nth, reached))
            })
            .collect();
        while !is_full() && moments.len() > PART {
            moments.remove(random.below(moments.len()));
        }
        let (mut applied, mut seen) = (0, BTreeSet::new());
        for (nth, reached) in moments {
            ops[applied..nth].iter().for_each(|op| disk.apply(op));
            applied = nth;
            let image = disk.after_power_loss(reached, &mut random);
            let acknowledged = nth >= acknowledged(&prepared, &ops);
            let mut hasher = DefaultHasher::new();
            (&image, acknowledged).hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                write_image(world.folder(), &image);
                let point = format!("{}: after {nth} calls of {}, {reached:?}", prepared.scenario.name, ops.len());
                comes_back(&prepared, &world, &point, acknowledged);
            }
        }
        seen.len()
    });
}

/// The reconciler notes what it is about to give before a connector gives it. If that note could be lost, the access would be taken
/// for access that was there before, and never taken back.
#[test]
fn access_that_a_connector_gave_is_taken_back_after_a_power_loss() {
    let prepared = Prepared::new(named("reconcile"));
    let world = prepared.begin();
    let mut disk = Disk::of(world.folder(), &["allowed"]);
    let ops = record(&prepared.command(&world), world.folder());
    let gives = |op: &Op| matches!(op, Op::Write { path, .. } if path.ends_with("allowed"));
    let given = ops.iter().position(gives).unwrap() + 1;
    ops[..given].iter().for_each(|op| disk.apply(op));
    let image = disk.after_power_loss(Reached::Nothing, &mut Random::of("reconcile"));
    write_image(world.folder(), &image);
    assert_eq!(std::fs::read_to_string(world.folder().join("allowed")).unwrap(), "bob north\n");
    comes_back(&prepared, &world, "the connector has given access", false);
}

/// After how many of the calls the command has said that it is done.
fn acknowledged(prepared: &Prepared, ops: &[Op]) -> usize {
    let told = ops.iter().position(|op| *op == Op::Told);
    // What does several things may say so of each.
    told.filter(|_| prepared.scenario.steps.is_one()).map_or(ops.len(), |nth| nth + 1)
}

fn comes_back(prepared: &Prepared, world: &World, point: &str, acknowledged: bool) {
    let code = acknowledged.then_some(prepared.scenario.exits);
    let ran = Traced { code, out: String::new(), err: String::new(), injected: None };
    let outcome = prepared.check(world, point, &ran);
    if prepared.scenario.exits != 0 && acknowledged {
        assert_eq!(outcome, Outcome::After, "{point}");
    }
    prepared.converges(world, point, outcome);
    if prepared.scenario.name == "reconcile" {
        takes_back(prepared, world, point);
    }
}

/// What the connector was told to give is known as given, and taken back.
fn takes_back(prepared: &Prepared, world: &World, point: &str) {
    // Without the configuration, so that nothing runs in the background.
    std::fs::remove_dir_all(world.folder().join(".config")).unwrap();
    world.run("alice", &["revoke", "1"]).ok();
    settle(&prepared.scenario, world);
    let ran = world.run("root", &["reconcile", "--fix"]);
    assert_eq!(ran.code, 0, "{point}: {ran:?}");
    let held = std::fs::read_to_string(world.folder().join("allowed")).unwrap();
    assert_eq!(held, "", "{point}: it stays, though the grant was revoked");
}
