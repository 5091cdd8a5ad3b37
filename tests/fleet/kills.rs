//! A host that is killed at any of its system calls while its log moves or its copy is made: the next run completes it.
//! `ACCESS_TEST_FULL=1` tries every call, otherwise a part of them, by a seed that `ACCESS_TEST_SEED` sets.

use std::path::Path;

use crate::program::{Fleet, Host};
use crate::random::{Random, is_full};
use crate::strace::{Injection, count_calls, inject};

/// How many calls of each command are tried, unless all are.
const PART: usize = 5;
const ASK: [&str; 5] = ["request", "target:orders-db", "--duration", "1h", "--reason=deploy"];

/// Kills this command of the host at its calls. `begin`: before each, `complete`: after each.
fn kill_at_each_call(host: Host<'_>, args: &[&str], begin: impl Fn(), complete: impl Fn(&str)) {
    begin();
    let counts = count_calls(&host.command(args));
    complete(&format!("{args:?}: nothing"));
    let mut points: Vec<_> =
        counts.into_iter().flat_map(|(call, count)| (1..=count).map(move |nth| (call, nth))).collect();
    let mut random = Random::of(args[1]);
    while !is_full() && points.len() > PART {
        points.swap_remove(random.below(points.len()));
    }
    let mut killed = 0;
    for (call, nth) in points {
        begin();
        let ran = inject(&host.command(args), Injection { call, nth, what: "signal=KILL" });
        if ran.injected.is_some() {
            killed += 1;
            complete(&format!("{args:?}: killed at {call} {nth}"));
        }
    }
    eprintln!("kills: {}: {killed}", args[1]);
    assert!(killed > 0);
}

/// The same command again. Returns its exit code.
#[track_caller]
fn again(host: Host<'_>, args: &[&str], point: &str, codes: &[i32]) -> i32 {
    let output = host.run(args);
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{point}, again: {output:?}");
    code
}

/// The host's copy, if there is one, has no fault.
#[track_caller]
fn is_sound(host: Host<'_>, point: &str) {
    if host.database().exists() {
        let verified = host.run(&["audit", "verify"]);
        assert!(verified.status.success(), "{point}: {verified:?}");
    }
}

#[test]
fn a_host_that_is_killed_as_it_joins_has_a_copy_or_none() {
    let fleet = Fleet::shared();
    let (alpha, leaf) = (fleet.on("alpha"), fleet.on("leaf"));
    alpha.succeeds(&["log", "allow", "leaf", "decide", &fleet.url("keeper")]);
    let entries = alpha.entries();
    let complete = |point: &str| {
        is_sound(leaf, point);
        let was_there = leaf.database().exists();
        assert_eq!(again(leaf, &["log", "join"], point, &[0, 5]) == 5, was_there, "{point}");
        assert_eq!(leaf.entries(), entries, "{point}");
        is_sound(leaf, point);
    };
    kill_at_each_call(leaf, &["log", "join"], || leaf.put_back(None), complete);
}

#[test]
fn a_log_whose_move_is_killed_is_moved_by_the_next_run() {
    let fleet = Fleet::start();
    let (alpha, owner, kept) = (fleet.on("alpha"), fleet.url("keeper"), fleet.file("kept"));
    alpha.succeeds(&["log", "init", &owner]);
    alpha.succeeds(&["log", "allow", "alpha", "decide", &owner]);
    alpha.by("bob").succeeds(&ASK);
    let entries = alpha.entries();
    moves(&fleet, &["log", "move", &owner], &kept, |point| {
        assert_eq!(alpha.entries(), entries, "{point}");
        let shared = fleet.ask("SELECT string_agg(body, ' ' ORDER BY seq) FROM access.entry");
        assert_eq!(shared, entries.join(" "), "{point}");
        assert_eq!(fleet.ask("SELECT state FROM access.log"), "open", "{point}");
    });
}

#[test]
fn a_log_whose_return_is_killed_is_brought_back_by_the_next_run() {
    let fleet = Fleet::shared();
    let (alpha, owner, kept) = (fleet.on("alpha"), fleet.url("keeper"), fleet.file("kept"));
    // The copy of alpha lacks it.
    fleet.on("beta").by("bob").succeeds(&ASK);
    let entries = fleet.on("beta").entries();
    moves(&fleet, &["log", "leave", &owner], &kept, |point| {
        assert_eq!(alpha.entries(), entries, "{point}");
        assert_eq!(fleet.ask("SELECT state FROM access.log"), "closed", "{point}");
        alpha.by("alice").succeeds(&["approve", "1"]);
    });
}

/// Kills a command of alpha that changes both sides. `is_done`: what holds once another run has completed it.
fn moves(fleet: &Fleet, args: &[&str], kept: &Path, is_done: impl Fn(&str)) {
    let alpha = fleet.on("alpha");
    std::fs::copy(alpha.database(), kept).unwrap();
    let copy = |from: &str, to: &str| {
        fleet.cluster.sql("postgres", &format!("DROP DATABASE IF EXISTS {to} WITH (FORCE)"));
        fleet.cluster.sql("postgres", &format!("CREATE DATABASE {to} OWNER keeper TEMPLATE {from}"));
    };
    copy("acme", "kept");
    let begin = || {
        alpha.put_back(Some(kept));
        copy("kept", "acme");
    };
    let complete = |point: &str| {
        is_sound(alpha, point);
        again(alpha, args, point, &[0]);
        is_sound(alpha, point);
        is_done(point);
    };
    kill_at_each_call(alpha, args, begin, complete);
}

#[test]
fn a_salvage_that_is_killed_loses_nothing_and_is_completed() {
    let fleet = Fleet::shared();
    let (alpha, beta, owner) = (fleet.on("alpha"), fleet.on("beta"), fleet.url("keeper"));
    let backed_up = alpha.entries().len();
    alpha.by("bob").succeeds(&ASK);
    let before = alpha.entries();
    fleet.restore_to(backed_up.try_into().unwrap());
    beta.succeeds(&["log", "raise-epoch", &owner]);
    beta.by("carol").succeeds(&ASK);
    let (kept, after) = (fleet.file("kept"), beta.entries());
    std::fs::copy(alpha.database(), &kept).unwrap();
    let files = ["lost", "again"].map(|name| fleet.file(name));
    let begin = || {
        alpha.put_back(Some(&kept));
        files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    };
    let complete = |point: &str| {
        is_sound(alpha, point);
        // 1: there is nothing to salvage any more.
        let code = again(alpha, &["log", "salvage", "again", "--rejoin"], point, &[0, 1]);
        assert_eq!(files[1].exists(), code == 0, "{point}");
        let found: Vec<_> = files.iter().filter(|file| file.exists()).collect();
        assert!(!found.is_empty(), "{point}");
        for file in found {
            let text = std::fs::read_to_string(file).unwrap();
            assert_eq!(text.lines().count(), before.len() - backed_up, "{point}: {text}");
        }
        assert_eq!(alpha.entries(), after, "{point}");
        let old = rusqlite::Connection::open(alpha.database().with_file_name("access.db.epoch-1")).unwrap();
        let count: i64 = old.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
        assert_eq!(count, i64::try_from(before.len()).unwrap(), "{point}");
        is_sound(alpha, point);
    };
    kill_at_each_call(alpha, &["log", "salvage", "lost", "--rejoin"], begin, complete);
}
