//! PostgreSQL that is down, restarted, slow, or refuses; and the ways to log in.

use serde_json::{Value, json};

use crate::postgres_cluster::Cluster;
use crate::{Connector, act, assert_done, assert_says, certificates, holders, list, private_file};

fn grant(login: &str) -> Value {
    act("grant", login, "role", "orders_rw")
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "role", "orders_rw")
}

#[test]
fn a_server_that_is_down_is_for_later() {
    let mut cluster = Cluster::start().with_orders();
    let connector = cluster.connector("access");
    assert_done(&connector.one(grant("bob")));
    cluster.stop();
    for answer in connector.run(&[list("role", &["orders_rw"]), revoke("bob"), grant("carol")]) {
        assert!(answer.get("later").is_some(), "{answer}");
    }
    let port = cluster.port();
    let tcp = Connector::new(&[
        "postgres",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--user",
        "access",
        "--sslmode",
        "disable",
    ]);
    assert_says(&tcp.one(revoke("bob")), "later", "refused");
    cluster.restart();
    assert_done(&connector.one(revoke("bob")));
    assert!(!cluster.can_set_role("bob", "orders_rw"));
}

#[test]
fn a_server_that_is_restarted_during_a_run_is_asked_again() {
    let mut cluster = Cluster::start().with_orders();
    let mut running = cluster.connector("access").open();
    assert_done(&running.one(&grant("bob")));
    cluster.restart();
    assert_done(&running.one(&revoke("bob")));
    assert!(!cluster.can_set_role("bob", "orders_rw"));
    // A backend that an administrator ends.
    cluster.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'access'");
    assert_done(&running.one(&grant("bob")));
    cluster.stop();
    let answer = running.one(&revoke("bob"));
    assert!(answer.get("later").is_some(), "{answer}");
    running.end();
}

#[test]
fn locks_and_read_only_servers_are_for_later() {
    let cluster = Cluster::start().with_orders();
    let mut session = cluster.session("postgres");
    assert_eq!(session.ask("BEGIN; LOCK pg_auth_members IN ACCESS EXCLUSIVE MODE; SELECT 1").as_deref(), Some("1"));
    let answer = cluster.connector("access").one(grant("bob"));
    assert_says(&answer, "later", "55P03");
    drop(session);
    assert_done(&cluster.connector("access").one(grant("bob")));
}

#[test]
fn too_many_connections_are_for_later() {
    let cluster = Cluster::start().with_orders();
    cluster.sql("postgres", "ALTER ROLE access CONNECTION LIMIT 0");
    assert_says(&cluster.connector("access").one(grant("bob")), "later", "53300");
}

#[test]
fn a_server_that_does_not_let_the_connector_do_it_is_a_failure() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("access");
    assert_says(&connector.one(act("grant", "bob", "role", "orders_ro")), "failed", "42501");
    assert!(!cluster.can_set_role("bob", "orders_ro"));
    // No such login, no such database.
    assert_says(&cluster.connector("nobody").one(grant("bob")), "failed", "28000");
    assert_says(&connector.and(&["--dbname", "gone"]).one(grant("bob")), "failed", "3D000");
}

#[test]
fn a_password_comes_from_a_private_file() {
    let cluster = Cluster::start().with_orders();
    let port = cluster.port();
    let tcp = Connector::new(&[
        "postgres",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--user",
        "access",
        "--sslmode",
        "disable",
    ]);
    let file = private_file(&cluster.folder().join("password"), "sesame\n");
    let wrong = private_file(&cluster.folder().join("wrong"), "guess");
    let with = |file: &std::path::Path| tcp.and(&["--password-file", file.to_str().unwrap()]);
    assert_done(&with(&file).one(grant("bob")));
    let url = format!("postgresql://access@127.0.0.1:{port}/postgres");
    let by_url = Connector::new(&["postgres", "--url", &url, "--sslmode", "disable", "--password-file"]);
    assert_done(&by_url.and(&[file.to_str().unwrap()]).one(grant("bob")));
    let answer = with(&wrong).one(grant("bob"));
    assert_says(&answer, "failed", "28P01");
    assert!(!answer.to_string().contains("guess"));
    let answer = tcp.one(grant("bob"));
    assert!(answer.get("failed").is_some(), "{answer}");

    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(with(&file).refuses().contains("others can read"));
    let url = format!("postgresql://access:sesame@127.0.0.1:{port}/postgres");
    let said = Connector::new(&["postgres", "--url", &url]).refuses();
    assert!(said.contains("has a password") && !said.contains("sesame"), "{said}");
    let said = Connector::new(&["postgres", "--url", "postgresql://access:sesame@[bad"]).refuses();
    assert!(!said.contains("sesame"), "{said}");
}

#[test]
fn the_servers_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut cluster = Cluster::start().with_orders();
    let port = cluster.port();
    let password = private_file(&cluster.folder().join("password"), "sesame");
    let to = |host: &str| {
        let words = ["postgres", "--host", host, "--port", &port, "--user", "access", "--password-file"];
        Connector::new(&words).and(&[password.to_str().unwrap()])
    };
    let ca = folder.path().join("ca.pem");
    let trusting = |host: &str| to(host).and(&["--ca-file", ca.to_str().unwrap()]);
    // Encryption is the default, and nothing goes over a plain connection.
    assert_says(&trusting("localhost").one(grant("bob")), "failed", "TLS");

    cluster.put(&folder.path().join("cert.pem"), "server.crt");
    cluster.put(&folder.path().join("key.pem"), "server.key");
    cluster.configure("ssl = on");
    assert_done(&trusting("localhost").one(grant("bob")));
    assert_eq!(holders(&trusting("localhost").one(list("role", &["orders_rw"]))), ["bob"]);
    // Another name than the certificate's; an authority that is not trusted.
    assert_says(&trusting("127.0.0.1").one(grant("bob")), "failed", "certificate");
    assert_says(&to("localhost").one(grant("bob")), "failed", "certificate");
}

#[test]
fn parameters_and_arguments_that_are_wrong() {
    let cluster = Cluster::start().with_orders();
    let connector = cluster.connector("access");
    let with = |parameters: Value| {
        let mut operation = grant("bob");
        operation["parameters"] = parameters;
        operation
    };
    assert_says(&connector.one(with(json!({}))), "failed", "the parameter role is missing");
    assert_says(
        &connector.one(with(json!({ "role": "orders_rw", "databse": "x" }))),
        "failed",
        "databse is no parameter",
    );
    assert_says(&connector.one(with(json!({ "role": "-x" }))), "failed", "not valid");
    assert_says(&connector.one(with(json!({ "role": "" }))), "failed", "not valid");
    for (words, says) in [
        (&["postgres", "--url", "postgresql:///postgres"][..], "names no host"),
        (&["postgres", "--url", "nonsense"], "not valid"),
        (&["postgres", "--host", "/tmp", "--sslmode", "verify-full"], "socket"),
        (&["postgres", "--host", "db.example", "--ca-file", "/dev/null"], "regular file"),
        (&["postgres", "--url", "postgresql://x@h/d", "--host", "h"], "cannot be used with"),
    ] {
        let said = Connector::new(words).refuses();
        assert!(said.contains(says), "{said}");
    }
}
