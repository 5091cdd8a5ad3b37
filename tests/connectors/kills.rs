//! The reconciler, killed at random moments while it works on three real systems at once.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::World;
use crate::whole::Systems;

/// How often, unless `ACCESS_TEST_KILLS` says otherwise.
const KILLS: u64 = 10;

const MEMBERS: [&str; 4] = ["bob", "carol", "dave", "frank"];
const NAMES: [&str; 3] = ["directory", "id", "orders-pg"];

/// A number that is another at each call, and the same in each run of the test.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Whether it is about a system that is configured.
fn is_one_of(view: &Value) -> bool {
    NAMES.iter().any(|name| view["connector"] == *name)
}

/// Who has it in a system.
fn held(systems: &Systems, name: &str) -> BTreeSet<String> {
    let all = MEMBERS.into_iter().chain(["alice"]);
    all.filter(|login| systems.has(name, login)).map(str::to_owned).collect()
}

#[test]
fn a_reconciler_killed_at_random_over_real_systems_ends_in_the_same_state() {
    let kills = std::env::var("ACCESS_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut systems = Systems::start();
    let world = World::sample();
    // Alice was there before.
    systems.cluster.sql("postgres", "CREATE ROLE dave LOGIN; CREATE ROLE frank LOGIN; GRANT orders_rw TO alice");
    systems.directory.modify(
        "dn: cn=orders,ou=groups,dc=example,dc=com\nchangetype: modify\nadd: member\n\
         member: uid=alice,ou=people,dc=example,dc=com\n",
    );
    for login in ["carol", "dave", "frank"] {
        systems.add_user(login);
    }
    let alice = systems.add_user("alice");
    systems.service.replace_members(&systems.group, &[&alice]);
    systems.configure(&world);

    let mut live: Vec<(String, String)> = Vec::new();
    let (mut state, mut at_work, mut checked) = (0x2545_f491_4f6c_dd1d, 0, 0);
    // How long a run takes, in microseconds.
    let mut takes = 100_000;
    for kill in 1..=kills {
        // Without the configuration, so that nothing runs in the background.
        systems.write(&world, &[]);
        let login = MEMBERS[usize::try_from(random(&mut state) % 4).unwrap()];
        match live.iter().position(|(of, _)| of == login) {
            Some(at) => {
                world.run("alice", &["revoke", &live.remove(at).1]).ok();
            }
            None => live.push((login.to_owned(), world.grant(login, "target:orders-db", "alice", &[]))),
        }
        systems.write(&world, &NAMES);
        let mut run = world.command("root", &["reconcile", "--fix"]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // While it works, whatever it takes on this machine.
        sleep(Duration::from_micros(random(&mut state) % (takes + 1)));
        at_work += u64::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        world.pass("1s");
        // Sometimes the next run is killed too.
        if kill < kills && random(&mut state).is_multiple_of(3) {
            continue;
        }
        let begun = Instant::now();
        world.run("root", &["reconcile", "--fix"]);
        takes = u64::try_from(begun.elapsed().as_micros()).unwrap();
        checked += 1;
        let mut expected: BTreeSet<String> = live.iter().map(|(login, _)| login.clone()).collect();
        expected.insert("alice".to_owned());
        for name in NAMES {
            assert_eq!(held(&systems, name), expected, "{name} after {kill} kills");
        }
        for (_, id) in &live {
            let shown = world.json("olivia", &["show", id])["grant"]["provisioning"].clone();
            let is_granted = |it: &Value| it["state"] == "granted" || !is_one_of(it);
            assert!(shown.as_array().unwrap().iter().all(is_granted), "{shown} after {kill} kills");
        }
    }
    eprintln!("{kills} kills, {at_work} of them at work; compared {checked} times");
    assert!(at_work * 4 > kills, "most runs had ended before they were killed: {at_work} of {kills}");
    let rows = world.run("root", &["reconcile", "--json"]).exits(1).json();
    let rows: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| is_one_of(row)).collect();
    assert!(rows.iter().all(|row| row["state"] == "unexplained" && row["login"] == "alice"), "{rows:?}");
    assert_eq!(rows.len(), 3);
    world.run("olivia", &["audit", "verify"]).ok();
}
