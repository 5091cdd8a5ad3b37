//! Sessions that are open when access ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres_cluster::Cluster;
use crate::tools::wait_until;
use crate::{Connector, act, assert_done, assert_says};

fn grant(login: &str) -> Value {
    act("grant", login, "role", "orders_rw")
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "role", "orders_rw")
}

fn revoke_and_end(login: &str) -> Value {
    let mut operation = revoke(login);
    operation["end_sessions"] = true.into();
    operation
}

#[test]
fn open_sessions_are_ended_if_the_binding_says_so() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert_done(&connector.one(grant("bob")));
        let mut session = cluster.session("bob");
        let mut other = cluster.session("carol");
        assert_eq!(session.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));
        assert_eq!(other.ask("SELECT 1").as_deref(), Some("1"));

        let answer = connector.one(revoke("bob"));
        let note = answer["done"]["note"].as_str().unwrap();
        assert!(note.contains("bob has open sessions (1)"), "{note}");
        // What the note says is true.
        assert_eq!(session.ask("INSERT INTO orders VALUES (2); SELECT 2").as_deref(), Some("2"));

        assert_eq!(connector.one(revoke_and_end("bob")), json!({ "done": {} }));
        assert_eq!(session.ask("SELECT 3"), None);
        assert_eq!(other.ask("SELECT 3").as_deref(), Some("3"));
    }
}

#[test]
fn sessions_that_may_not_be_ended_are_a_failure() {
    let cluster = Cluster::start().with_orders();
    cluster.sql("postgres", "REVOKE pg_signal_backend FROM access");
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("bob")));
    let mut session = cluster.session("bob");
    assert_eq!(session.ask("SELECT 1").as_deref(), Some("1"));
    let answer = connector.one(revoke_and_end("bob"));
    assert_says(&answer, "failed", "the sessions of bob can't be ended");
    // The role is taken back all the same.
    assert!(!cluster.can_set_role("bob", "orders_rw"));

    // So is a login that the connector made.
    cluster.sql("postgres", "ALTER ROLE access CREATEROLE");
    let connector = connector.and(&["--create-logins"]);
    assert_done(&connector.one(grant("erin")));
    let mut session = cluster.session("erin");
    assert_eq!(session.ask("SELECT 1").as_deref(), Some("1"));
    assert_says(&connector.one(revoke_and_end("erin")), "failed", "the sessions of erin can't be ended");
    let ended = "SELECT rolvaliduntil <= now() FROM pg_roles WHERE rolname = 'erin'";
    assert_eq!(cluster.sql("postgres", ended), "t");
}

#[test]
fn a_session_that_is_still_starting_is_ended_too() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let mut running = cluster.connector("access").open();
        assert_done(&running.one(&grant("bob")));
        let mut open = cluster.session("bob");
        assert_eq!(open.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));
        // This start gets the role, and then waits for what its next setting has to look up.
        let mut other = cluster.session("postgres");
        let lock = "BEGIN; LOCK pg_ts_config IN ACCESS EXCLUSIVE MODE; SELECT 1";
        assert_eq!(other.ask(lock).as_deref(), Some("1"));
        let mut session = cluster.session_with("bob", "-c role=orders_rw -c default_text_search_config=english");
        wait_until("the session starts", || {
            other.ask("SELECT count(*) FROM pg_locks WHERE NOT granted").as_deref() == Some("1")
        });
        // One that has started ends all the same.
        assert_says(
            &running.one(&revoke_and_end("bob")),
            "later",
            "sessions that are still starting, and may be of bob: 1",
        );
        assert_eq!(open.ask("SELECT current_user"), None);

        let answer = std::thread::scope(|scope| {
            let revoke = scope.spawn(|| running.one(&revoke_and_end("bob")));
            sleep(Duration::from_millis(500));
            assert_eq!(other.ask("COMMIT; SELECT 2").as_deref(), Some("2"));
            revoke.join().unwrap()
        });
        assert_eq!(answer, json!({ "done": {} }));
        assert_eq!(session.ask("SELECT current_user"), None);
        running.end();
    }
}

/// Opens a session of bob, which takes less time than psql does.
fn log_in(cluster: &Cluster) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(cluster.folder().join(format!(".s.PGSQL.{}", cluster.port())))?;
    stream.write_all(b"\0\0\0\x24\0\x03\0\0user\0bob\0database\0postgres\0\0")?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..length]);
    }
    Ok(stream)
}

#[test]
fn opening_sessions_all_the_time_does_not_keep_the_others() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("bob")));
    let mut session = cluster.session("bob");
    assert_eq!(session.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // This thread sleeps while the session is open.
                    if let Ok(session) = log_in(&cluster) {
                        sleep(Duration::from_millis(20));
                        drop(session);
                    }
                }
            });
        }
        let open = "SELECT count(*) > 1 FROM pg_stat_activity WHERE usename = 'bob'";
        wait_until("there are some", || cluster.sql("postgres", open) == "t");
        let answers = connector.run(&[(); 15].map(|()| revoke_and_end("bob")));
        is_over.store(true, Ordering::Relaxed);
        assert!(answers.iter().all(|answer| *answer == json!({ "done": {} })), "{answers:?}");
    });
    assert_eq!(session.ask("SELECT current_user"), None);
}

/// A login that access made, which has the role.
fn made(cluster: &Cluster) -> Connector {
    cluster.sql("postgres", "DROP ROLE bob; ALTER ROLE access CREATEROLE");
    let connector = cluster.connector("access").and(&["--create-logins"]);
    assert_done(&connector.one(grant("bob")));
    connector
}

fn is_open(cluster: &Cluster) -> bool {
    cluster.sql("postgres", "SELECT rolvaliduntil > now() FROM pg_roles WHERE rolname = 'bob'") == "t"
}

#[test]
fn a_member_who_locks_their_login_keeps_nothing() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = made(&cluster);
        let mut blocker = cluster.session("bob");
        assert_eq!(blocker.ask("BEGIN; ALTER ROLE bob PASSWORD 'x'; SELECT 1").as_deref(), Some("1"));
        let mut session = cluster.session("bob");
        assert_eq!(session.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));
        assert_eq!(connector.one(revoke_and_end("bob")), json!({ "done": {} }));
        assert!(!cluster.can_set_role("bob", "orders_rw") && !is_open(&cluster));
        assert_eq!((session.ask("SELECT 1"), blocker.ask("SELECT 1")), (None, None));
    }
}

#[test]
fn a_prepared_transaction_keeps_no_role() {
    let mut cluster = Cluster::start();
    cluster.configure("fsync = off\nmax_prepared_transactions = 2\n");
    let cluster = cluster.with_orders();
    let connector = made(&cluster);
    cluster.sql("bob", "BEGIN; ALTER ROLE bob PASSWORD 'x'; PREPARE TRANSACTION 'lock'");
    let answer = connector.one(revoke("bob"));
    assert_says(&answer, "later", "bob no longer has orders_rw, but the login can't be ended yet: PostgreSQL says");
    assert!(!cluster.can_set_role("bob", "orders_rw") && is_open(&cluster));
    // The next run ends the login, although nothing is left to revoke.
    cluster.sql("bob", "ROLLBACK PREPARED 'lock'");
    assert_eq!(connector.one(revoke("bob")), json!({ "done": {} }));
    assert!(!is_open(&cluster));
}

#[test]
fn sessions_of_those_who_can_act_as_the_login_are_ended() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert_done(&connector.one(grant("bob")));
        cluster.sql("postgres", "CREATE ROLE dba SUPERUSER LOGIN; GRANT bob TO carol, dba, access; CREATE ROLE dave LOGIN; GRANT carol TO dave");
        let mut sessions = ["carol", "dave"].map(|login| cluster.session(login));
        for session in &mut sessions {
            assert_eq!(session.ask("SET ROLE orders_rw; SELECT current_user").as_deref(), Some("orders_rw"));
        }
        let mut others = ["alice", "dba", "access"].map(|login| cluster.session(login));
        others.iter_mut().for_each(|session| assert_eq!(session.ask("SELECT 1").as_deref(), Some("1")));
        assert_eq!(connector.one(revoke_and_end("bob")), json!({ "done": {} }));
        sessions.iter_mut().for_each(|session| assert_eq!(session.ask("SELECT 2"), None));
        others.iter_mut().for_each(|session| assert_eq!(session.ask("SELECT 2").as_deref(), Some("2")));
    }
}
