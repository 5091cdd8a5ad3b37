//! A host that stalls, or keeps what it has locked, holds up the others for seconds at most.

use std::time::{Duration, Instant};

use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused, verdict};
use crate::tools::wait_until;

#[test]
fn a_host_that_stalls_loses_the_turn() {
    let log = SharedLog::start();
    let (mut alpha, mut beta) = (log.connect("alpha"), log.connect("beta"));
    let empty = Place::empty();
    let bodies = [Body::new("beta", 1).text()];
    alpha.batch_execute("BEGIN").unwrap();
    assert_eq!(alpha.turn(&empty).unwrap(), "ok");
    let begun = Instant::now();
    assert_eq!(verdict(beta.append(&empty, &bodies)), "ok");
    assert!((3..=6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(alpha.batch_execute("COMMIT").is_err(), "the session is ended");
    assert_eq!(log.end(), empty.after(&bodies));

    // After an append that is not committed, too.
    let mut alpha = log.connect("alpha");
    let end = log.end();
    alpha.batch_execute("BEGIN").unwrap();
    assert_eq!(verdict(alpha.append(&end, &[Body::new("alpha", 2).text()])), "ok");
    assert_eq!(beta.turn(&end).unwrap(), "ok");
    assert!(alpha.batch_execute("COMMIT").is_err());
    assert_eq!(log.end(), end);
}

/// One that means to keep the turn switches the limit off and stays busy.
#[test]
fn a_host_that_keeps_the_turn_is_ended() {
    let log = SharedLog::start();
    let (mut alpha, mut beta) = (log.connect("alpha"), log.connect("beta"));
    let empty = Place::empty();
    alpha.batch_execute("BEGIN").unwrap();
    assert_eq!(alpha.turn(&empty).unwrap(), "ok");
    alpha.batch_execute("SET idle_in_transaction_session_timeout = 0").unwrap();
    let keeps = std::thread::spawn(move || alpha.batch_execute("SELECT pg_sleep(120)"));
    assert_refused(beta.turn(&empty), "55P03", "the host alpha has it");
    // Not before it is sure.
    assert!(!keeps.is_finished());
    wait_until("beta has the turn", || beta.turn(&empty).is_ok_and(|verdict| verdict == "ok"));
    assert!(keeps.join().unwrap().is_err(), "its session is ended");
}

/// Or waits for a lock of another session of its own, without any limit.
#[test]
fn a_host_that_keeps_the_turn_and_waits_is_ended() {
    let log = SharedLog::start();
    let (mut alpha, mut other, mut beta) = (log.connect("alpha"), log.connect("alpha"), log.connect("beta"));
    let empty = Place::empty();
    other.batch_execute("SELECT pg_advisory_lock(78)").unwrap();
    alpha.batch_execute("BEGIN").unwrap();
    assert_eq!(alpha.turn(&empty).unwrap(), "ok");
    let keeps = std::thread::spawn(move || {
        alpha.batch_execute(
            "SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SELECT pg_advisory_lock(78)",
        )
    });
    assert_refused(beta.turn(&empty), "55P03", "the host alpha has it");
    wait_until("beta has the turn", || beta.turn(&empty).is_ok_and(|verdict| verdict == "ok"));
    assert!(keeps.join().unwrap().is_err(), "its session is ended");
}

/// It has locked what it can, and stays in its transaction.
#[test]
fn who_reads_holds_up_nobody() {
    let log = SharedLog::start();
    let (mut alpha, mut leaf) = (log.connect("alpha"), log.connect("leaf"));
    let empty = Place::empty();
    leaf.batch_execute("BEGIN").unwrap();
    assert_eq!(leaf.contact(&empty).unwrap(), "ok");
    leaf.since(0, 10).unwrap();
    leaf.query("SELECT * FROM access.hosts()", &[]).unwrap();
    leaf.batch_execute(
        "SET idle_in_transaction_session_timeout = 0; SELECT pg_advisory_lock(g) FROM generate_series(1, 100) g",
    )
    .unwrap();
    // Its own removal, its own other session, and everybody else.
    let begun = Instant::now();
    let bodies = [Body::new("alpha", 1).hosts(&[("add", "alpha", "decide"), ("add", "leaf", "read")]).text()];
    assert_eq!(verdict(alpha.append(&empty, &bodies)), "ok");
    let end = empty.after(&bodies);
    assert_eq!(log.connect("leaf").contact(&end).unwrap(), "ok");
    let more = [Body::new("alpha", 2).hosts(&[("remove", "leaf", "")]).text()];
    assert_eq!(verdict(alpha.append(&end, &more)), "ok");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_refused(leaf.contact(&end), "42501", "leaf is not a host");
}

#[test]
fn a_flood_of_contacts_writes_one_row_a_second() {
    let log = SharedLog::start();
    let (mut leaf, mut admin) = (log.connect("leaf"), log.admin());
    let begun = Instant::now();
    let mut written = Vec::new();
    for _ in 0..300 {
        assert_eq!(leaf.contact(&Place::empty()).unwrap(), "ok");
        let sql = "SELECT xmin::text FROM access.seen WHERE role = 'leaf'";
        written.push(admin.query_one(sql, &[]).unwrap().get::<_, String>(0));
    }
    written.dedup();
    let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!(written.len() <= most, "{written:?}");

    // But a host that has come further is noted at once.
    let bodies = [Body::new("alpha", 1).text()];
    log.connect("alpha").append(&Place::empty(), &bodies).unwrap();
    leaf.contact(&Place::empty().after(&bodies)).unwrap();
    let sql = "SELECT seen_seq, format FROM access.hosts() WHERE host = 'leaf'";
    let row = admin.query_one(sql, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (1, 3));
}
