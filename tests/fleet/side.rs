//! What is no record: values by compare-and-set, and leases.

use postgres::Client;

use crate::shared_log::{SharedLog, assert_refused};

fn set(client: &mut Client, key: &str, version: i64, value: &str) -> Option<i64> {
    let sql = "SELECT access.side_set($1, $2, $3::text::jsonb)";
    client.query_one(sql, &[&key, &version, &value]).unwrap().get(0)
}

fn get(client: &mut Client, key: &str) -> (Option<i64>, Option<String>) {
    let row = client.query_one("SELECT version, value::text FROM access.side_get($1)", &[&key]).unwrap();
    (row.get(0), row.get(1))
}

fn lease(client: &mut Client, seconds: i32) -> bool {
    client.query_one("SELECT access.lease('lease/delivery', $1)", &[&seconds]).unwrap().get(0)
}

#[test]
fn a_value_is_set_over_the_one_that_was_read() {
    let log = SharedLog::start();
    let (mut alpha, mut beta, mut leaf) = (log.connect("alpha"), log.connect("beta"), log.connect("leaf"));
    assert_eq!(get(&mut alpha, "position"), (None, None));
    assert_eq!(set(&mut alpha, "position", 1, "7"), None);
    assert_eq!(set(&mut alpha, "position", 0, "7"), Some(1));
    assert_eq!(set(&mut beta, "position", 0, "8"), None);
    assert_eq!(set(&mut beta, "position", 1, "8"), Some(2));
    assert_eq!(set(&mut alpha, "position", 1, "9"), None);
    assert_eq!(get(&mut leaf, "position"), (Some(2), Some("8".to_owned())));
    let mut desk = log.connect("desk");
    assert_eq!(set(&mut desk, "read/alice", 0, "{}"), Some(1));
    assert_refused(desk.batch_execute("SELECT access.side_set('position', 2, '0')"), "42501", "may not set position");
    assert_refused(desk.batch_execute("SELECT access.lease('lease/delivery', 60)"), "42501", "may not take leases");
    for (key, value) in
        [("repeat('k', 201)", "1"), ("''", "1"), ("'k'", "repeat('1', 65537)"), ("NULL", "1"), ("'k'", "NULL")]
    {
        let sql = format!("SELECT access.side_set({key}, 0, ({value})::text::jsonb)");
        assert_refused(alpha.batch_execute(&sql), "54000", "at most 64 KiB");
    }
}

#[test]
fn a_lease_has_one_holder() {
    let log = SharedLog::start();
    let (mut alpha, mut beta) = (log.connect("alpha"), log.connect("beta"));
    let at = |seconds: u32| log.set_clock(&format!("timestamptz '2026-12-01' + interval '{seconds} seconds'"));
    at(0);
    assert!(lease(&mut alpha, 30));
    assert!(!lease(&mut beta, 30));
    at(20);
    assert!(lease(&mut alpha, 30), "extended, until 50");
    at(49);
    assert!(!lease(&mut beta, 30));
    at(50);
    assert!(lease(&mut beta, 30), "until 80");
    assert!(!lease(&mut alpha, 30));
    // Only its holder gives it back, and no value takes its place, also not before the first lease.
    alpha.batch_execute("SELECT access.release('lease/delivery')").unwrap();
    assert!(!lease(&mut alpha, 30));
    for (key, version) in
        [("lease/delivery", get(&mut alpha, "lease/delivery").0.unwrap()), ("lease/connector/doors", 0)]
    {
        let sql = format!("SELECT access.side_set('{key}', {version}, '\"alpha\"')");
        assert_refused(alpha.batch_execute(&sql), "42501", "a lease is taken, not set");
    }
    beta.batch_execute("SELECT access.release('lease/delivery')").unwrap();
    assert!(lease(&mut alpha, 30));
    assert_eq!(set(&mut alpha, "position", 0, "1"), Some(1));
    assert_refused(alpha.batch_execute("SELECT access.lease('position', 30)"), "22023", "its key is lease/ and a name");
    for seconds in ["0", "3601", "NULL"] {
        let sql = format!("SELECT access.lease('lease/delivery', {seconds})");
        assert_refused(alpha.batch_execute(&sql), "22023", "1 to 3600 seconds");
    }
}
