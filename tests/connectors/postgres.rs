//! What the connector gives and takes in PostgreSQL.

use serde_json::{Value, json};

use crate::postgres_cluster::Cluster;
use crate::{act, assert_done, assert_says, holders, list};

fn grant(login: &str, role: &str) -> Value {
    act("grant", login, "role", role)
}

fn revoke(login: &str, role: &str) -> Value {
    act("revoke", login, "role", role)
}

fn with(mut operation: Value, key: &str, value: impl Into<Value>) -> Value {
    operation[key] = value.into();
    operation
}

#[test]
fn a_role_is_given_and_taken_back() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert!(!cluster.can_set_role("bob", "orders_rw"));
        for answer in [json!({}), json!({ "was_there": true })] {
            assert_eq!(connector.one(grant("bob", "orders_rw")), json!({ "done": answer }));
            assert!(cluster.can_set_role("bob", "orders_rw"));
        }
        cluster.sql("bob", "SET ROLE orders_rw; INSERT INTO orders VALUES (1)");
        assert_eq!(holders(&connector.one(list("role", &["orders_rw", "orders_ro"]))), ["bob"]);
        for _ in 0..2 {
            assert_eq!(connector.one(revoke("bob", "orders_rw")), json!({ "done": {} }));
            assert!(!cluster.can_set_role("bob", "orders_rw"));
        }
        assert!(!cluster.try_sql("bob", "SELECT * FROM orders").status.success());
        assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), [""; 0]);
    }
}

#[test]
fn one_run_takes_many_operations() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("access");
    let answers = connector.run(&[
        list("role", &["orders_rw"]),
        grant("alice", "orders_rw"),
        grant("nobody", "orders_rw"),
        grant("bob", "orders_rw"),
        revoke("alice", "orders_rw"),
        json!({ "operation": "dance" }),
        json!({ "operation": "list", "parameters": [{ "role": "orders_rw" }, { "role": "gone" }, { "rolle": "x" }] }),
    ]);
    assert_eq!(holders(&answers[0]), [""; 0]);
    assert_done(&answers[1]);
    assert_says(&answers[2], "failed", "there is no login nobody");
    assert_done(&answers[3]);
    assert_done(&answers[4]);
    assert_says(&answers[5], "failed", "not valid");
    assert_eq!(holders(&answers[6]), ["bob"]);
}

#[test]
fn what_another_role_granted_stays() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        cluster.sql("postgres", "GRANT orders_rw TO carol");
        let connector = cluster.connector("access");
        // It is listed, so that the reconciler sees that it was there before.
        assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), ["carol"]);
        assert_done(&connector.one(grant("carol", "orders_rw")));
        assert_says(
            &connector.one(revoke("carol", "orders_rw")),
            "failed",
            "carol still has orders_rw: postgres granted it",
        );
        assert!(cluster.can_set_role("carol", "orders_rw"));
    }
}

#[test]
fn a_grant_beside_ours_stays() {
    // In the older one, a login has a role once, from one grantor.
    let [_, cluster] = Cluster::of_both_kinds().map(Cluster::with_orders);
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("bob", "orders_rw")));
    cluster.sql("postgres", "GRANT orders_rw TO bob");
    assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), ["bob"]);
    assert_says(&connector.one(revoke("bob", "orders_rw")), "failed", "postgres granted it too");
    assert_eq!(
        cluster.sql("postgres", "SELECT grantor::regrole FROM pg_auth_members WHERE member = 'bob'::regrole"),
        "postgres"
    );
}

#[test]
fn a_superuser_as_the_connectors_login() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        cluster.sql("postgres", "CREATE ROLE root SUPERUSER LOGIN; SET ROLE access; GRANT orders_rw TO carol");
        let connector = cluster.connector("root");
        assert_done(&connector.one(grant("bob", "orders_ro")));
        assert!(cluster.can_set_role("bob", "orders_ro"));
        assert_done(&connector.one(revoke("bob", "orders_ro")));
        assert!(!cluster.can_set_role("bob", "orders_ro"));
        assert_says(&connector.one(revoke("carol", "orders_rw")), "failed", "access granted it");
        assert!(cluster.can_set_role("carol", "orders_rw"));
    }
}

#[test]
fn the_connectors_own_login_is_left_alone() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), [""; 0]);
        assert_says(&connector.one(grant("access", "orders_rw")), "failed", "the login of this connector");
    }
}

#[test]
fn odd_logins_and_roles() {
    let cluster = Cluster::start();
    let longest = "x".repeat(63);
    let logins = [
        "o'brien",
        "a\"b",
        "Bob",
        "user",
        "current_user",
        "sélect",
        "a;DROP",
        "x$",
        "$1",
        "%I",
        "a\\b",
        "1000",
        "#1",
        &longest,
    ];
    let roles = ["orders rw", "Orders\"RW", "it's", "x; DROP ROLE alice"];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for login in logins {
        cluster.sql("postgres", &format!("CREATE ROLE {} LOGIN", quoted(login)));
    }
    for role in roles {
        cluster.sql("postgres", &format!("CREATE ROLE {}", quoted(role)));
    }
    // As other logins than these, all in lower case and without their odd ends, would be.
    cluster.sql("postgres", "CREATE ROLE bob LOGIN; CREATE ROLE a LOGIN; CREATE ROLE alice LOGIN");
    let connector = cluster.connector("postgres");
    for role in roles {
        for operation in connector.run(&logins.map(|login| grant(login, role))) {
            assert_done(&operation);
        }
        let mut expected = logins.map(str::to_owned);
        expected.sort();
        assert_eq!(holders(&connector.one(list("role", &[role]))), expected);
        assert!(logins.iter().all(|login| cluster.can_set_role(login, role)), "{role}");
        assert!(!cluster.can_set_role("bob", role) && !cluster.can_set_role("a", role));
        for operation in connector.run(&logins.map(|login| revoke(login, role))) {
            assert_done(&operation);
        }
        assert!(!logins.iter().any(|login| cluster.can_set_role(login, role)), "{role}");
    }
    cluster.sql("alice", "SELECT 1");
}

#[test]
fn a_role_of_a_database_with_another_encoding_hides_no_other() {
    let cluster = Cluster::start().with_orders();
    // All databases share the roles. Here the name of this one is no text.
    let other = "CREATE DATABASE other ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;\n\\c other\n\\encoding UTF8\n";
    let grant_by = "CREATE ROLE \"müller\" LOGIN; GRANT orders_rw TO \"müller\" WITH ADMIN OPTION;
                    SET ROLE \"müller\"; GRANT orders_rw TO bob;";
    cluster.sql("postgres", &format!("{other}{grant_by}"));
    let connector = cluster.connector("access");
    assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), ["bob", "role=m\u{fffd}ller"]);
    let answer = connector.one(revoke("bob", "orders_rw"));
    assert_says(&answer, "failed", "bob still has orders_rw: m\u{fffd}ller granted it");
}

#[test]
fn everybody_who_has_a_role_or_can_give_it_to_themselves_is_listed() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        cluster.sql(
            "postgres",
            "CREATE ROLE \"back door\"; CREATE ROLE \"x:y\"; GRANT orders_rw TO \"back door\", \"x:y\"",
        );
        let is_newer = cluster.version() >= 16;
        let only = if is_newer { ", INHERIT FALSE, SET FALSE" } else { "" };
        cluster.sql("postgres", &format!("GRANT orders_rw TO carol WITH ADMIN OPTION{only}"));
        if is_newer {
            cluster.sql("postgres", "GRANT orders_rw TO alice WITH ADMIN FALSE, INHERIT FALSE, SET FALSE");
        }
        let connector = cluster.connector("access");
        assert_done(&connector.one(grant("bob", "orders_rw")));
        let carol = if is_newer { "admin=carol" } else { "carol" };
        let mut all = [carol, "bob", r"role=back\20door", r"role=x\3ay"];
        all.sort_unstable();
        assert_eq!(holders(&connector.one(list("role", &["orders_rw"]))), all);
        // She gets it as everybody does.
        assert_done(&connector.one(grant("carol", "orders_rw")));
        assert!(cluster.can_set_role("carol", "orders_rw"));
        assert!(holders(&connector.one(list("role", &["orders_rw"]))).contains(&"carol".to_owned()));
    }
}

#[test]
fn a_name_that_the_server_would_cut_is_no_name() {
    let cluster = Cluster::start().with_orders();
    let (short, long) = ("y".repeat(63), "y".repeat(64));
    cluster.sql("postgres", &format!("CREATE ROLE {short} LOGIN; CREATE ROLE {} ", "r".repeat(63)));
    let connector = cluster.connector("postgres");
    assert_says(&connector.one(grant(&long, "orders_rw")), "failed", "there is no login");
    assert_says(&connector.one(grant("bob", &"r".repeat(64))), "failed", "there is no role");
    let creating = connector.and(&["--create-logins"]);
    assert_says(&creating.one(grant(&long, "orders_rw")), "failed", "longer than the 63 bytes");
    assert_done(&connector.one(grant(&short, "orders_rw")));
    // Nor is another login's role taken, or its session ended.
    let mut session = cluster.session(&short);
    assert_eq!(session.ask("SELECT 1").as_deref(), Some("1"));
    assert_done(&connector.one(with(revoke(&long, "orders_rw"), "end_sessions", true)));
    assert!(cluster.can_set_role(&short, "orders_rw"));
    assert_eq!(session.ask("SELECT 1").as_deref(), Some("1"));
}

#[test]
fn names_that_postgresql_reserves() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("postgres").and(&["--create-logins"]);
    for login in ["public", "none", "pg_monitor_2"] {
        let answer = connector.one(grant(login, "orders_rw"));
        assert!(answer.get("failed").is_some(), "{login}: {answer}");
    }
    assert_says(&connector.one(grant("bob", "public")), "failed", "there is no role public");
    assert!(!cluster.can_set_role("carol", "orders_rw"));
}

#[test]
fn system_roles_are_refused() {
    let cluster = Cluster::start().with_orders();
    cluster.sql(
        "postgres",
        "CREATE ROLE dba SUPERUSER; CREATE ROLE keys; GRANT dba TO keys;
         CREATE ROLE loader; GRANT pg_execute_server_program TO loader; CREATE ROLE nightly; GRANT loader TO nightly;
         CREATE ROLE creator CREATEROLE; CREATE ROLE copier REPLICATION; CREATE ROLE auditor BYPASSRLS;
         CREATE ROLE staff; GRANT creator TO staff; CREATE ROLE owner; CREATE DATABASE orders OWNER owner",
    );
    let connector = cluster.connector("postgres");
    let own = ["postgres", "dba", "pg_read_all_data", "pg_execute_server_program", "creator", "copier", "auditor"];
    for role in own.into_iter().chain(["keys", "loader", "nightly", "staff"]) {
        assert_says(&connector.one(grant("bob", role)), "failed", "--allow-system-roles");
        assert!(!cluster.can_set_role("bob", role));
    }
    // The owner of one database is none, also in that database.
    assert_done(&connector.and(&["--dbname", "orders"]).one(grant("bob", "owner")));
    let allowed = connector.and(&["--allow-system-roles"]);
    assert_done(&allowed.one(grant("bob", "dba")));
    assert!(cluster.can_set_role("bob", "dba"));
    // To take back is always allowed.
    assert_done(&connector.one(revoke("bob", "dba")));
    assert!(!cluster.can_set_role("bob", "dba"));
}

#[test]
fn a_login_that_others_can_act_as_is_refused() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        cluster.sql("postgres", "CREATE ROLE dba SUPERUSER; GRANT bob TO dba, carol, alice");
        let says = "alice and carol can act as bob, and would get orders_rw too";
        assert_eq!(connector.one(grant("bob", "orders_rw")), json!({ "failed": says }));
        assert!(!cluster.can_set_role("carol", "orders_rw"));
        cluster.sql("postgres", "REVOKE bob FROM carol, alice");
        assert_done(&connector.one(grant("bob", "orders_rw")));
    }
}

#[test]
fn a_role_that_can_log_in_is_not_granted() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert_done(&connector.one(grant("bob", "orders_rw")));
        cluster.sql("postgres", "ALTER ROLE orders_rw LOGIN");
        assert_says(&connector.one(grant("carol", "orders_rw")), "failed", "orders_rw can log in");
        assert!(!cluster.can_set_role("carol", "orders_rw"));
        // This is why.
        cluster.sql("bob", "SET ROLE orders_rw; ALTER ROLE orders_rw PASSWORD 'mine'");
        let answer = connector.one(revoke("bob", "orders_rw"));
        assert_eq!(answer["done"]["note"], "orders_rw can log in, and bob may have set its password");
        assert!(!cluster.can_set_role("bob", "orders_rw"));

        cluster.sql("postgres", "ALTER ROLE orders_rw NOLOGIN; CREATE ROLE app LOGIN; GRANT app TO orders_rw");
        assert_says(&connector.one(grant("carol", "orders_rw")), "failed", "a member of a role that can");
        // A superuser can do that anyway.
        let connector = cluster.connector("postgres").and(&["--allow-system-roles"]);
        cluster.sql("postgres", "CREATE ROLE dba SUPERUSER LOGIN");
        assert_done(&connector.one(grant("carol", "dba")));
    }
}

#[test]
fn a_role_that_cannot_log_in_is_no_member() {
    let cluster = Cluster::start().with_orders();
    cluster.sql("postgres", "CREATE ROLE staff; GRANT staff TO bob");
    for connector in [cluster.connector("access"), cluster.connector("access").and(&["--create-logins"])] {
        assert_says(&connector.one(grant("staff", "orders_rw")), "failed", "staff can't log in");
    }
    assert!(!cluster.can_set_role("bob", "orders_rw"));
    // To take back is always allowed.
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("carol", "orders_rw")));
    cluster.sql("postgres", "ALTER ROLE carol NOLOGIN; GRANT carol TO bob");
    assert!(cluster.can_set_role("bob", "orders_rw"));
    assert_done(&connector.one(revoke("carol", "orders_rw")));
    assert!(!cluster.can_set_role("bob", "orders_rw"));
}

#[test]
fn a_role_through_another_role_is_reported() {
    let cluster = Cluster::start().with_orders();
    cluster.sql("postgres", "CREATE ROLE team; GRANT orders_rw TO team; GRANT team TO bob");
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("bob", "orders_rw")));
    let answer = connector.one(revoke("bob", "orders_rw"));
    assert!(answer["done"]["note"].as_str().unwrap().contains("through another role"), "{answer}");
}

#[test]
fn logins_are_created_if_root_says_so() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        cluster.sql("postgres", "CREATE ROLE keeper LOGIN CREATEROLE");
        if cluster.version() >= 16 {
            cluster.sql("postgres", "GRANT orders_rw, orders_ro TO keeper WITH ADMIN OPTION, INHERIT FALSE, SET FALSE");
        } else {
            cluster.sql("postgres", "GRANT orders_rw, orders_ro TO keeper WITH ADMIN OPTION");
        }
        let connector = cluster.connector("keeper").and(&["--create-logins"]);
        let until = |login: &str| {
            let sql = "SET timezone = 'UTC'; SELECT rolvaliduntil FROM pg_roles WHERE rolname = ";
            cluster.sql("postgres", &format!("{sql}'{login}'"))
        };
        let ending = |login: &str, role: &str, end: &str| with(grant(login, role), "until", end);
        assert_done(&connector.one(ending("o'neil", "orders_rw", "2099-01-02T03:04:05Z")));
        assert!(cluster.can_set_role("o'neil", "orders_rw"));
        assert_eq!(until("o''neil"), "2099-01-02 03:04:05+00");
        assert_eq!(cluster.sql("postgres", "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'o''neil'"), "20");
        // The login ends with the last of its grants.
        assert_done(&connector.one(ending("o'neil", "orders_ro", "2099-01-01T00:00:00Z")));
        assert_eq!(until("o''neil"), "2099-01-02 03:04:05+00");
        assert_done(&connector.one(ending("o'neil", "orders_rw", "2099-06-01T00:00:00Z")));
        assert_eq!(until("o''neil"), "2099-06-01 00:00:00+00");
        assert_done(&connector.one(grant("o'neil", "orders_rw")));
        assert_eq!(until("o''neil"), "infinity");
        assert_done(&connector.one(revoke("o'neil", "orders_ro")));
        assert_eq!(until("o''neil"), "infinity");
        assert_done(&connector.one(revoke("o'neil", "orders_rw")));
        assert!(
            cluster.sql("postgres", "SELECT rolvaliduntil <= now() FROM pg_roles WHERE rolname = 'o''neil'") == "t"
        );
        // A new grant opens it again.
        assert_done(&connector.one(ending("o'neil", "orders_rw", "2099-01-01T00:00:00Z")));
        assert_eq!(until("o''neil"), "2099-01-01 00:00:00+00");
        // Other logins keep their end, and so do logins that were there before.
        cluster.sql("postgres", "ALTER ROLE alice VALID UNTIL '2098-01-01'");
        let answers = connector.run(&[
            ending("alice", "orders_rw", "2099-01-01T00:00:00Z"),
            ending("bob", "orders_rw", "2099-01-01T00:00:00Z"),
            revoke("alice", "orders_rw"),
            revoke("bob", "orders_rw"),
        ]);
        answers.iter().for_each(assert_done);
        assert_eq!(until("alice"), "2098-01-01 00:00:00+00");
        assert_eq!(until("bob"), "");
    }
}

#[test]
fn a_login_that_is_not_there_is_not_created_otherwise() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("postgres");
    assert_says(
        &connector.one(grant("dave", "orders_rw")),
        "failed",
        "there is no login dave: create the role, or let the connector do it with --create-logins",
    );
    // To take back what cannot be there is done.
    assert_done(&connector.one(revoke("dave", "orders_rw")));
    assert_done(&connector.one(revoke("bob", "no_such_role")));
}

#[test]
fn a_role_that_was_renamed_is_not_taken_for_gone() {
    for cluster in Cluster::of_both_kinds().map(Cluster::with_orders) {
        let connector = cluster.connector("access");
        assert_done(&connector.one(grant("bob", "orders_rw")));
        cluster.sql("postgres", "ALTER ROLE orders_rw RENAME TO orders_write; GRANT orders_ro TO bob");
        let says =
            "there is no role orders_rw any more; if it was renamed, bob still has it: access granted bob orders_write";
        for _ in 0..2 {
            assert_eq!(connector.one(revoke("bob", "orders_rw")), json!({ "failed": says }));
        }
        // Who has nothing from access has not this either.
        assert_done(&connector.one(revoke("carol", "orders_rw")));
        cluster.sql("access", "REVOKE orders_write FROM bob");
        assert_done(&connector.one(revoke("bob", "orders_rw")));

        assert_done(&connector.one(grant("bob", "orders_write")));
        cluster.sql("postgres", "DROP OWNED BY orders_write; DROP ROLE orders_write");
        assert_done(&connector.one(revoke("bob", "orders_write")));
    }
}

/// Each transaction waits for the disk, so their number is what many changes cost. docs/performance.md has the time.
#[test]
fn a_thousand_revokes_are_one_transaction_each() {
    let cluster = Cluster::start().with_orders();
    let logins: Vec<String> = (0..1000).map(|number| format!("member{number}")).collect();
    let each =
        |begin: &str, end: &str| -> String { logins.iter().map(|login| format!("{begin} {login} {end};\n")).collect() };
    cluster.sql("postgres", &each("CREATE ROLE", "LOGIN"));
    cluster.sql("access", &each("GRANT orders_rw TO", ""));
    let transaction = || -> u64 { cluster.sql("postgres", "SELECT pg_current_xact_id()").parse().unwrap() };
    let operations: Vec<Value> = logins.iter().map(|login| revoke(login, "orders_rw")).collect();
    let before = transaction();
    cluster.connector("access").run(&operations).iter().for_each(assert_done);
    assert_eq!(transaction() - before, 1 + 1000, "asking for the number takes one too");
    let left = cluster.sql("postgres", "SELECT count(*) FROM pg_auth_members WHERE roleid = 'orders_rw'::regrole");
    assert_eq!(left, "1", "only that of the connector's login");
}
