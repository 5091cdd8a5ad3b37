//! A hostile host, by raw SQL: it appends what it may, in its own name, now and at the end, or nothing.

use std::collections::BTreeSet;

use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused, time, verdict};

#[test]
fn a_host_appends_only_in_its_own_name() {
    let log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    let empty = Place::empty();
    let other = Body::new("beta", 1).text();
    assert_refused(
        alpha.append(&empty, std::slice::from_ref(&other)),
        "42501",
        "may not append an entry of the host beta",
    );
    let nobody = other.replace(r#""host":"beta","#, "");
    assert_refused(alpha.append(&empty, &[nobody]), "42501", "of the host none");
    // The other key of the same name wins for jsonb; it is the last.
    let twice = other.replace(r#""host":"beta""#, r#""host":"alpha","host":"beta""#);
    assert_refused(alpha.append(&empty, &[twice]), "42501", "of the host beta");
    let own = Body::new("alpha", 1).text();
    assert_refused(alpha.append(&empty, &[own.clone(), Body::new("beta", 2).text()]), "42501", "the host beta");
    assert_eq!(log.end(), empty);
    assert_eq!(verdict(alpha.append(&empty, &[own])), "ok");

    // Another role does not help: the session's user counts.
    alpha.batch_execute("SET ROLE access_host").unwrap();
    assert_refused(alpha.append(&empty, &[other]), "42501", "of the host beta");
    alpha.batch_execute("RESET ROLE").unwrap();
    for (role, why) in [("beta", "SET SESSION AUTHORIZATION"), ("beta", "SET ROLE"), ("keeper", "SET ROLE")] {
        assert_refused(alpha.batch_execute(&format!("{why} {role}")), "42501", "permission denied");
    }
}

#[test]
fn who_is_no_host_calls_nothing() {
    let log = SharedLog::start();
    let mut admin = log.admin();
    admin.batch_execute("CREATE ROLE stranger LOGIN; CREATE ROLE visitor LOGIN; GRANT access_host TO visitor").unwrap();
    admin.batch_execute("SELECT access.allow('beta', NULL)").unwrap();
    let calls = [
        "access.turn(0, 'x')",
        "access.append(1, 0, decode(repeat('00', 32), 'hex'), ARRAY['{}'])",
        "access.since(0, 1)",
        "access.contact(0, 'x', 3)",
        "access.hosts()",
        "access.side_set('a', 0, '1')",
        "access.side_get('a')",
        "access.lease('a', 1)",
        "access.release('a')",
    ];
    for call in calls {
        let sql = format!("SELECT {call}");
        assert_refused(log.connect("stranger").batch_execute(&sql), "42501", "permission denied for schema access");
        assert_refused(log.connect("visitor").batch_execute(&sql), "42501", "the role visitor is not a host");
        assert_refused(log.connect("beta").batch_execute(&sql), "42501", "the role beta is not a host");
    }
}

#[test]
fn a_host_that_asks_gives_nothing() {
    let log = SharedLog::start();
    let mut desk = log.connect("desk");
    let body = |action: &str, detail: &str| Body::new("desk", 1).action(action, detail).text();
    let refused = [
        ("team.initialized", r#"{"changes":[]}"#),
        ("team.applied", r#"{"changes":[]}"#),
        ("request.approved", r#"{"request":1,"by":"alice"}"#),
        ("grant.started", r#"{"request":1,"member":"alice","by":"alice"}"#),
        ("grant.expired", r#"{"request":1}"#),
        ("clock.accepted", r#"{"was":"2026-01-01T00:00:00Z"}"#),
        ("request.submitted", r#"{"request":1,"filed_by":"bob"}"#),
        ("request.submitted", r#"{"request":1}"#),
        ("grant.revoked", r#"{"request":1,"by":"bob"}"#),
        ("grant.revoked", r#"{"request":1}"#),
        ("grant.revoked", r#"{"request":1,"by":"alice","because":{"not_kept":"1.1"}}"#),
        ("request.withdrawn", r#"{"request":1,"by":"alice","because":{"clock_accepted":"2026-01-01T00:00:00Z"}}"#),
        ("preference.changed", r#"{"member":"bob"}"#),
        ("something.else", "{}"),
    ];
    for (action, detail) in refused {
        assert_refused(
            desk.append(&Place::empty(), &[body(action, detail)]),
            "42501",
            &format!("may not append {action}"),
        );
    }
    let told =
        body("attempt.refused", "{}").replace("}}}", r#"}},"told":[["alice","access.emergency"]],"told_from":1}"#);
    assert_refused(desk.append(&Place::empty(), &[told]), "42501", "may not append attempt.refused");
    assert_refused(
        desk.append(&Place::empty(), &[body("x", "1").replace(r#""action":"x","#, "")]),
        "22023",
        "no action",
    );
    // Not as the second in a batch either.
    let asks = body("request.submitted", r#"{"request":1,"filed_by":"alice"}"#);
    let gives = Body::new("desk", 2).text();
    assert_refused(desk.append(&Place::empty(), &[asks, gives]), "42501", "may not append request.approved");

    let mut end = Place::empty();
    for (action, detail) in [
        ("request.submitted", r#"{"request":1,"filed_by":"alice"}"#),
        ("request.edited", r#"{"request":1,"by":"alice"}"#),
        ("request.withdrawn", r#"{"request":1,"by":"alice","because":"asked"}"#),
        ("grant.revoked", r#"{"request":1,"by":"alice","because":"asked"}"#),
        ("preference.changed", r#"{"member":"alice"}"#),
        ("attempt.refused", r#"{"command":"approve","why":"no"}"#),
    ] {
        let bodies = [Body::new("desk", end.0 + 1).action(action, detail).text()];
        assert_eq!(verdict(desk.append(&end, &bodies)), "ok", "{action}");
        end = end.after(&bodies);
    }
    assert_eq!(log.end(), end);
}

#[test]
fn a_host_that_reads_writes_nothing() {
    let log = SharedLog::start();
    let mut leaf = log.connect("leaf");
    let empty = Place::empty();
    assert_refused(leaf.turn(&empty), "42501", "may only read");
    for action in ["attempt.refused", "request.submitted", "request.approved"] {
        let body = Body::new("leaf", 1).action(action, r#"{"filed_by":"alice"}"#).text();
        assert_refused(leaf.append(&empty, &[body]), "42501", "may not append");
    }
    assert_refused(leaf.batch_execute("SELECT access.side_set('read/alice', 0, '1')"), "42501", "may not set");
    assert_refused(leaf.batch_execute("SELECT access.lease('lease/delivery', 9)"), "42501", "may not take leases");
    assert_eq!(leaf.contact(&empty).unwrap(), "ok");
    assert_eq!(leaf.since(0, 10).unwrap(), []);
}

#[test]
fn the_time_of_an_entry_is_now() {
    let log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    let at = |place: &Place, at: &str| [Body::new("alpha", place.0 + 1).at(at).text()];
    let empty = Place::empty();
    for seconds in [-3600, -12, 12, 3600] {
        assert_eq!(verdict(alpha.append(&empty, &at(&empty, &time(seconds)))), "clock", "{seconds}");
    }
    for written in
        ["2026-12-01T17:00:00+00:00", "2026-12-01 17:00:00Z", "2026-12-01T17:00:00.5Z", "now", "infinity", ""]
    {
        assert_refused(alpha.append(&empty, &at(&empty, written)), "22007", "no time like");
    }
    assert_refused(alpha.append(&empty, &at(&empty, "2026-13-01T17:00:00Z")), "22008", "out of range");
    let number = at(&empty, "x")[0].replace(r#""at":"x""#, r#""at":1764600000"#);
    assert_refused(alpha.append(&empty, &[number]), "22007", "no time like");

    log.set_clock("timestamptz '2026-12-01 12:00:00Z'");
    let noon = at(&empty, "2026-12-01T12:00:09Z");
    assert_eq!(verdict(alpha.append(&empty, &noon)), "ok");
    let first = empty.after(&noon);
    // Within 10 seconds, but before the last entry. In a batch, too.
    assert_eq!(verdict(alpha.append(&first, &at(&first, "2026-12-01T12:00:08Z"))), "clock");
    let second = at(&first, "2026-12-01T12:00:10Z");
    let batch = [second[0].clone(), Body::new("alpha", 3).at("2026-12-01T12:00:09Z").text()];
    assert_eq!(verdict(alpha.append(&first, &batch)), "clock");
    assert_eq!(log.end(), first);

    // A new leader's clock lags behind: the last entry's time goes on, and no other.
    log.set_clock("timestamptz '2026-12-01 11:00:00Z'");
    assert_eq!(verdict(alpha.append(&first, &at(&first, "2026-12-01T11:00:00Z"))), "clock");
    assert_eq!(verdict(alpha.append(&first, &at(&first, "2026-12-01T12:00:10Z"))), "clock");
    let same = at(&first, "2026-12-01T12:00:09Z");
    assert_eq!(verdict(alpha.append(&first, &same)), "ok");
    let second = first.after(&same);

    // Accepting another clock goes back, but only to now.
    let accepted = |at: &str| [Body::new("alpha", 3).at(at).action("clock.accepted", r#"{"was":"x"}"#).text()];
    assert_eq!(verdict(alpha.append(&second, &accepted("2026-12-01T10:00:00Z"))), "clock");
    assert_eq!(verdict(alpha.append(&second, &accepted("2026-12-01T12:00:09Z"))), "clock");
    let back = accepted("2026-12-01T11:00:00Z");
    assert_eq!(verdict(alpha.append(&second, &back)), "ok");
    let third = second.after(&back);
    assert_eq!(verdict(alpha.append(&third, &at(&third, "2026-12-01T11:00:01Z"))), "ok");
}

#[test]
fn entries_keep_their_places() {
    let log = SharedLog::start();
    let (mut alpha, mut beta) = (log.connect("alpha"), log.connect("beta"));
    let empty = Place::empty();
    let first = [Body::new("alpha", 1).text()];
    let one = empty.after(&first);
    // The database computes the same hash.
    assert_eq!(alpha.append(&empty, &first).unwrap(), ("ok".to_owned(), one.clone()));
    // Twice: it is there once.
    assert_eq!(alpha.append(&empty, &first).unwrap(), ("already".to_owned(), one.clone()));
    // Others in its place, and after it by a host that has not seen it.
    let other = [Body::new("beta", 1).action("request.denied", "{}").text()];
    assert_eq!(beta.append(&empty, &other).unwrap(), ("behind".to_owned(), one.clone()));
    assert_eq!(verdict(beta.append(&empty, &[other[0].clone(), Body::new("beta", 2).text()])), "behind");
    // After an entry that is not the one there, after a gap, and after a first hash that is not the beginning.
    let wrong = Place(1, vec![7; 32]);
    let next = [Body::new("beta", 2).text()];
    assert_eq!(verdict(beta.append(&wrong, &next)), "fork");
    assert_eq!(verdict(beta.append(&Place(7, one.1.clone()), &[Body::new("beta", 8).text()])), "fork");
    assert_eq!(verdict(beta.append(&Place(0, vec![1; 32]), &other)), "fork");
    assert_refused(beta.append(&Place(0, Vec::new()), &other), "22023", "a hash has 32 bytes");
    assert_eq!(verdict(beta.append(&Place(-1, vec![0; 32]), &[Body::new("beta", 0).text()])), "fork");
    // A number that is not its place's.
    for seq in [1, 3] {
        assert_refused(beta.append(&one, &[Body::new("beta", seq).text()]), "22023", &format!("says that it is {seq}"));
    }
    let text = next[0].replace(r#""seq":2"#, r#""seq":"2""#);
    assert_refused(beta.append(&one, &[text]), "22023", "says that it is 2");
    assert_refused(beta.append(&one, &[next[0].replace(r#""seq":2,"#, "")]), "22023", "none");
    // Formats that are not written here.
    for (v, code) in [(2, "22023"), (4, "0A000")] {
        let mut body = Body::new("beta", 2);
        body.v = v;
        assert_refused(beta.append(&one, &[body.text()]), code, "format");
    }
    assert_refused(beta.append(&one, &[next[0].replace(r#""nonce":"00ff","#, "")]), "22023", "nonce");
    for body in ["", "{", "[]", "null", "1"] {
        assert!(beta.append(&one, &[body.to_owned()]).is_err(), "{body}");
    }
    assert_eq!(log.end(), one);
    // What was appended together may be asked for in part.
    let both = [next[0].clone(), Body::new("beta", 3).text()];
    assert_eq!(verdict(beta.append(&one, &both)), "ok");
    assert_eq!(verdict(beta.append(&one, &both[..1])), "already");
    assert_eq!(verdict(alpha.append(&one, &[Body::new("alpha", 2).text()])), "behind");
}

#[test]
fn an_entry_has_a_size() {
    let log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    let empty = Place::empty();
    let of_size = |seq: i64, size: usize| {
        let body = Body::new("alpha", seq).action("request.denied", r#"{"reason":"?"}"#).text();
        body.replace('?', &"x".repeat(size + 1 - body.len()))
    };
    const MEBIBYTE: usize = 1 << 20;
    assert_refused(alpha.append(&empty, &[of_size(1, MEBIBYTE + 1)]), "54000", "at most 1 MiB");
    let many: Vec<String> = (1..=17).map(|seq| of_size(seq, MEBIBYTE)).collect();
    assert_refused(alpha.append(&empty, &many), "54000", "16 MiB");
    let many: Vec<String> = (1..=10_001).map(|seq| Body::new("alpha", seq).text()).collect();
    assert_refused(alpha.append(&empty, &many), "22023", "1 to 10000");
    assert_refused(alpha.append(&empty, &[]), "22023", "1 to 10000");
    for array in ["ARRAY[NULL]", "NULL", "ARRAY[ARRAY['{}'],ARRAY['{}']]", "'[0:0]={x}'::text[]"] {
        let sql = format!("SELECT access.append(1, 0, decode(repeat('00', 32), 'hex'), {array})");
        assert_refused(alpha.batch_execute(&sql), "22023", "1 to 10000");
    }
    assert_eq!(verdict(alpha.append(&empty, &many[..1000])), "ok");
    let end = empty.after(&many[..1000]);
    let large: Vec<String> = (1001..=1012).map(|seq| of_size(seq, MEBIBYTE)).collect();
    assert_eq!(verdict(alpha.append(&end, &large)), "ok");
    // A page is 10,000 entries or 8 MiB.
    assert_eq!(log.connect("leaf").since(0, 1_000_000).unwrap().len(), 1008);
    assert_eq!(log.connect("leaf").since(1000, 1_000_000).unwrap().len(), 8);
    assert_eq!(log.connect("leaf").since(1000, 3).unwrap().len(), 3);
    assert_eq!(log.connect("leaf").since(1010, 10).unwrap()[1].0, end.after(&large));
}

#[test]
fn nothing_is_changed_afterwards() {
    let log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    alpha.append(&Place::empty(), &[Body::new("alpha", 1).text()]).unwrap();
    let end = log.end();
    for table in ["log", "entry", "host", "seen", "side"] {
        for sql in [
            format!("SELECT FROM access.{table}"),
            format!("SELECT FROM access.{table} FOR UPDATE"),
            format!("INSERT INTO access.{table} DEFAULT VALUES"),
            format!("DELETE FROM access.{table}"),
            format!("TRUNCATE access.{table}"),
            format!("DO $$ BEGIN LOCK TABLE access.{table} IN ACCESS SHARE MODE; END $$"),
            format!("COPY access.{table} TO STDOUT"),
        ] {
            assert_refused(alpha.batch_execute(&sql), "42501", "permission denied");
        }
        assert_refused(alpha.batch_execute(&format!("DROP TABLE access.{table}")), "42501", "must be owner");
        assert_refused(
            alpha.batch_execute(&format!("ALTER TABLE access.{table} DISABLE TRIGGER ALL")),
            "42501",
            "owner",
        );
    }
    assert_refused(alpha.batch_execute("UPDATE access.entry SET body = ''"), "42501", "permission denied");
    assert_refused(alpha.batch_execute("UPDATE access.host SET may = 'decide'"), "42501", "permission denied");
    assert_refused(
        alpha.batch_execute("CREATE FUNCTION access.mine() RETURNS int RETURN 1"),
        "42501",
        "permission denied",
    );
    assert_refused(alpha.batch_execute("SET session_replication_role = replica"), "42501", "permission denied");

    // The owner's mistakes are refused too, and a superuser's with triggers off.
    let (mut owner, mut admin) = (log.connect("keeper"), log.admin());
    admin.batch_execute("SET session_replication_role = replica").unwrap();
    for client in [&mut owner, &mut admin] {
        for sql in ["UPDATE access.entry SET host = host", "DELETE FROM access.entry", "TRUNCATE access.entry"] {
            assert_refused(client.batch_execute(sql), "42501", "append-only");
        }
        for sql in ["DELETE FROM access.log", "TRUNCATE access.log"] {
            assert_refused(client.batch_execute(sql), "42501", "append-only");
        }
    }
    assert_eq!(log.end(), end);
}

#[test]
fn hosts_call_these_functions_and_no_others() {
    let log = SharedLog::start();
    let mut admin = log.admin();
    let mut names = |condition: &str| -> BTreeSet<String> {
        let sql = format!(
            "SELECT p.proname::text FROM pg_proc p WHERE pronamespace = 'access'::regnamespace AND {condition}"
        );
        admin.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let calls = ["append", "contact", "hosts", "lease", "release", "side_get", "side_set", "since", "turn"];
    let calls: BTreeSet<String> = calls.map(str::to_owned).into();
    for host in ["alpha", "desk", "leaf", "access_host"] {
        assert_eq!(names(&format!("has_function_privilege('{host}', oid, 'EXECUTE')")), calls, "{host}");
    }
    assert!(names("has_function_privilege('public', oid, 'EXECUTE')").is_empty());
    // They run as the owner, with no schema of the caller's; the owner's own functions do not.
    let definers: BTreeSet<String> = calls.iter().cloned().chain(["durable".to_owned()]).collect();
    assert_eq!(names("prosecdef"), definers);
    // The inner functions have the path of those that call them, and nobody calls them directly.
    let inner = [
        "caller",
        "chain",
        "evict",
        "expect",
        "follow",
        "has",
        "inspect",
        "lock",
        "may_ask",
        "parse",
        "time_of",
        "wait_for_standby",
    ];
    let without = names("NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)");
    assert_eq!(without, inner.map(str::to_owned).into());
    // A backslash would mean another thing where a session sets standard_conforming_strings.
    assert!(names("strpos(prosrc, chr(92)) > 0").is_empty());
    let reached = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'access'::regnamespace AND relkind = 'r'
        AND has_table_privilege('alpha', c.oid, 'SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER')";
    assert_eq!(admin.query_one(reached, &[]).unwrap().get::<_, i64>(0), 0);
}
