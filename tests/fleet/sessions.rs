//! What a session sets, plants or shadows changes nothing.

use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused, verdict};

#[test]
fn settings_of_the_session_change_nothing() {
    let log = SharedLog::start();
    let settings = [
        "synchronous_commit=off",
        "search_path=public",
        "standard_conforming_strings=off",
        "backslash_quote=off",
        "escape_string_warning=off",
        "DateStyle=SQL,DMY",
        "TimeZone=Pacific/Apia",
        "timezone_abbreviations=India",
        "IntervalStyle=sql_standard",
        "bytea_output=escape",
        "transform_null_equals=on",
        "quote_all_identifiers=on",
        "array_nulls=off",
        "check_function_bodies=off",
        "plan_cache_mode=force_generic_plan",
        "enable_indexscan=off",
        "row_security=off",
        "client_encoding=LATIN1",
        "xmlbinary=hex",
        "lc_numeric=C",
    ];
    let mut end = Place::empty();
    for setting in settings {
        let mut alpha = log.connect_with("alpha", &format!("-c {setting}"));
        // The hash is the client's own, and a wrong time is still wrong.
        let body = Body::new("alpha", end.0 + 1);
        let late = body.clone().at(&crate::shared_log::time(-12));
        assert_eq!(verdict(alpha.append(&end, &[late.text()])), "clock", "{setting}");
        let other = Body { host: "beta".to_owned(), ..body.clone() };
        assert_refused(alpha.append(&end, &[other.text()]), "42501", "may not append");
        // A text with all that JSON has, an escaped NUL included.
        let odd = body.action("request.denied", r#"{"reason":"é \\u0000 \u0000 \\\" 'x' ☃"}"#);
        let bodies = [odd.text()];
        let answer = alpha.append(&end, &bodies).unwrap();
        end = end.after(&bodies);
        assert_eq!(answer, ("ok".to_owned(), end.clone()), "{setting}");
        assert_eq!(
            alpha.since(end.0 - 1, 1).unwrap(),
            [(end.clone(), bodies[0].clone(), "alpha".to_owned())],
            "{setting}"
        );
        assert_eq!(alpha.contact(&end).unwrap(), "ok", "{setting}");
    }
}

#[test]
fn an_old_snapshot_is_refused() {
    let log = SharedLog::start();
    for level in ["serializable", "repeatable read"] {
        let mut alpha = log.connect("alpha");
        alpha.batch_execute(&format!("SET default_transaction_isolation = '{level}'")).unwrap();
        let body = Body::new("alpha", 1).text();
        assert_refused(alpha.append(&Place::empty(), &[body]), "25001", "read committed");
        assert_refused(alpha.contact(&Place::empty()), "25001", "read committed");
    }
}

#[test]
fn what_a_session_plants_is_not_called() {
    let log = SharedLog::start();
    log.admin().batch_execute("GRANT CREATE ON DATABASE acme TO alpha").unwrap();
    let mut alpha = log.connect("alpha");
    alpha
        .batch_execute(
            "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
             CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT decode(repeat(''ff'', 32), ''hex'')';
             CREATE FUNCTION evil.convert_to(text, name) RETURNS bytea LANGUAGE sql AS 'SELECT ''x''::bytea';
             CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT timestamptz ''2000-01-01''';
             CREATE FUNCTION evil.differs(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
             CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.differs);
             CREATE FUNCTION evil.same(bytea, bytea) RETURNS bool LANGUAGE sql AS 'SELECT true';
             CREATE OPERATOR evil.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = evil.same);
             CREATE TEMP TABLE log (LIKE pg_class); CREATE TEMP TABLE entry (seq bigint, hash bytea, at timestamptz);
             CREATE TEMP TABLE host (role name, may text, named bool, retired bool);
             CREATE TEMP TABLE pg_locks (pid int); CREATE TEMP VIEW pg_stat_activity AS SELECT 1 AS pid;
             CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT decode(repeat(''ff'', 32), ''hex'')';
             SET search_path = evil, pg_temp, pg_catalog",
        )
        .unwrap();
    let empty = Place::empty();
    let bodies = [Body::new("alpha", 1).text()];
    let planted = alpha.query_one("SELECT sha256('x')", &[]).unwrap().get::<_, Vec<u8>>(0);
    assert_eq!(planted, [255; 32], "the session itself does call it");
    assert_eq!(verdict(alpha.append(&Place(0, vec![9; 32]), &bodies)), "fork");
    assert_eq!(verdict(alpha.append(&empty, &[Body::new("alpha", 1).at("2000-01-01T00:00:00Z").text()])), "clock");
    assert_eq!(alpha.append(&empty, &bodies).unwrap(), ("ok".to_owned(), empty.after(&bodies)));
    assert_eq!(alpha.turn(&empty.after(&bodies)).unwrap(), "ok");
    assert_eq!(alpha.contact(&Place(1, vec![9; 32])).unwrap(), "fork");
}

#[test]
fn prepared_transactions_are_switched_off() {
    let mut log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    assert_refused(
        alpha.batch_execute("BEGIN; SELECT 1; PREPARE TRANSACTION 'mine'"),
        "55000",
        "prepared transactions",
    );
    drop(alpha);
    log.cluster.configure("max_prepared_transactions = 2\nfsync = off\n");
    let mut alpha = log.connect("alpha");
    assert_refused(alpha.turn(&Place::empty()), "55000", "max_prepared_transactions");
    assert_refused(
        alpha.append(&Place::empty(), &[Body::new("alpha", 1).text()]),
        "55000",
        "max_prepared_transactions",
    );
    assert_refused(log.connect("keeper").batch_execute(crate::shared_log::SQL), "55000", "max_prepared_transactions");
}
