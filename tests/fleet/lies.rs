//! Acknowledgements that lie. A standby that does not exist shows whether a commit waits for it.

use std::sync::{Arc, Mutex};

use postgres::{Client, NoTls};

use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused};
use crate::tools::wait_until;

/// Every commit of another session than this waits from now on, if it waits for standbys at all.
fn without_its_standby(log: &SharedLog) -> Client {
    let mut admin = log.connect_with("postgres", "-c synchronous_commit=off");
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the setting counts", || {
        admin.query_one("SHOW synchronous_standby_names", &[]).unwrap().get::<_, &str>(0) == "nobody"
    });
    admin
}

/// Whether the session of this host waits for the standby.
fn waits(admin: &mut Client, host: &str) -> bool {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE usename = $1 AND wait_event = 'SyncRep'";
    admin.query_opt(sql, &[&host]).unwrap().is_some()
}

/// What a host calls, each after the one before.
fn calls() -> Vec<(&'static str, String)> {
    let first = Body::new("alpha", 1).text();
    let append = format!("SELECT verdict FROM access.append(1, 0, decode(repeat('00', 32), 'hex'), ARRAY['{first}'])");
    let zero = "decode(repeat('00', 32), 'hex')";
    vec![
        ("ok", append.clone()),
        ("already", append),
        ("ok", format!("SELECT verdict FROM access.contact(0, {zero}, 3)")),
        // Within the same second, when it writes no row.
        ("ok", format!("SELECT verdict FROM access.contact(0, {zero}, 3)")),
        ("1", "SELECT access.side_set('position', 0, '7')::text".to_owned()),
        ("2", "SELECT access.side_set('position', 1, '8')::text".to_owned()),
        ("true", "SELECT access.lease('lease/delivery', 60)::text".to_owned()),
        ("true", "SELECT access.lease('lease/delivery', 60)::text".to_owned()),
        ("", "SELECT access.release('lease/delivery')::text".to_owned()),
    ]
}

/// The session does not want to wait, by any way of saying so. Its commit waits; and where that is cancelled, the
/// answer is success with a warning, which a client must take for no answer.
#[test]
fn no_session_acknowledges_before_the_standby() {
    let ways: [(&str, &str, &str); 4] = [
        ("-c synchronous_commit=off", "", ""),
        ("", "SET synchronous_commit = local", ""),
        ("", "BEGIN; SET LOCAL synchronous_commit = off", "COMMIT"),
        ("", "SET synchronous_commit = remote_write; SET ROLE access_host", ""),
    ];
    for (options, before, after) in ways {
        let log = SharedLog::start();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let mut config = log.config("alpha");
        config.options(options);
        let noted = Arc::clone(&notices);
        config.notice_callback(move |notice| noted.lock().unwrap().push(notice.message().to_owned()));
        let mut admin = without_its_standby(&log);
        for (expected, call) in calls() {
            let config = config.clone();
            let session = std::thread::spawn(move || {
                let mut client = config.connect(NoTls).unwrap();
                client.batch_execute(before).unwrap();
                let answer: String = client.query_one(&call, &[]).unwrap().get(0);
                client.batch_execute(after).unwrap();
                answer
            });
            wait_until(&format!("it waits for the standby: {options} {before} {expected}"), || {
                assert!(!session.is_finished(), "{options} {before}: acknowledged before the standby");
                waits(&mut admin, "alpha")
            });
            admin.batch_execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alpha'").unwrap();
            assert_eq!(session.join().unwrap(), expected);
            let notices = std::mem::take(&mut *notices.lock().unwrap());
            assert!(notices.iter().any(|notice| notice.contains("canceling wait for synchronous")), "{notices:?}");
        }
    }
}

/// The end of a transaction overrides what the session sets after the append.
#[test]
fn a_setting_after_the_append_changes_nothing() {
    let log = SharedLog::start();
    let mut admin = without_its_standby(&log);
    let mut alpha = log.connect("alpha");
    let session = std::thread::spawn(move || {
        alpha.batch_execute("BEGIN").unwrap();
        alpha.append(&Place::empty(), &[Body::new("alpha", 1).text()]).unwrap();
        alpha.batch_execute("SET LOCAL synchronous_commit = off; COMMIT").unwrap();
    });
    wait_until("it waits for the standby", || {
        assert!(!session.is_finished(), "acknowledged before the standby");
        waits(&mut admin, "alpha")
    });
    // Nobody sees the entry meanwhile, and a host that waits for the standby does not count as one that keeps the turn.
    assert_eq!(log.end(), Place::empty());
    assert_refused(log.connect("beta").turn(&Place::empty()), "55P03", "somebody else has it");
    admin.batch_execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alpha'").unwrap();
    session.join().unwrap();
}

/// A host that cancels its own commit leaves an entry that the standby may not have. Who reads it can't believe it
/// either: the contact after it waits.
#[test]
fn a_reader_waits_for_what_another_cancelled() {
    let log = SharedLog::start();
    let mut admin = without_its_standby(&log);
    let mut alpha = log.connect("alpha");
    let bodies = [Body::new("alpha", 1).text()];
    let end = Place::empty().after(&bodies);
    let appended = std::thread::spawn(move || alpha.append(&Place::empty(), &bodies).unwrap());
    wait_until("alpha waits", || waits(&mut admin, "alpha"));
    admin.batch_execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alpha'").unwrap();
    appended.join().unwrap();

    let mut leaf = log.connect_with("leaf", "-c synchronous_commit=off");
    assert_eq!(leaf.since(0, 10).unwrap()[0].0, end);
    let reader = std::thread::spawn(move || leaf.contact(&end).unwrap());
    wait_until("the reader waits", || waits(&mut admin, "leaf"));
    assert!(!reader.is_finished());
    admin.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    assert_eq!(reader.join().unwrap(), "ok");
}
