//! Which hosts there are: the log says it, once it names any.

use crate::shared_log::{Body, Calls as _, Place, SharedLog, assert_refused, time, verdict};

fn hosts(log: &SharedLog) -> Vec<String> {
    let sql = "SELECT host || ' ' || may || CASE WHEN retired THEN ' retired' ELSE '' END FROM access.hosts()";
    log.connect("keeper").query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_log_names_its_hosts() {
    let log = SharedLog::start();
    let (mut alpha, mut beta) = (log.connect("alpha"), log.connect("beta"));
    assert_eq!(hosts(&log), ["alpha decide", "beta decide", "desk ask", "leaf read"]);
    let mut end = Place::empty();
    let mut apply = |client: &mut postgres::Client, changes: &[(&str, &str, &str)]| {
        let bodies = [Body::new("alpha", end.0 + 1).hosts(changes).text()];
        let answer = client.append(&end, &bodies);
        if answer.is_ok() {
            end = end.after(&bodies);
        }
        answer
    };
    // A team file that names none leaves them.
    assert_eq!(verdict(apply(&mut alpha, &[])), "ok");
    assert_eq!(hosts(&log), ["alpha decide", "beta decide", "desk ask", "leaf read"]);
    // From the first on, only those that are named count: also in the sessions that are open.
    assert_eq!(verdict(apply(&mut alpha, &[("add", "alpha", "decide"), ("add", "leaf", "ask")])), "ok");
    assert_eq!(hosts(&log), ["alpha decide", "beta decide retired", "desk ask retired", "leaf ask"]);
    assert_refused(beta.turn(&Place::empty()), "42501", "beta is not a host");
    let allow = "SELECT access.allow('beta', 'decide')";
    assert_refused(log.connect("keeper").batch_execute(allow), "55000", "the log itself names its hosts");

    assert_eq!(verdict(apply(&mut alpha, &[("change", "leaf", "read"), ("add", "beta", "decide")])), "ok");
    assert_eq!(verdict(apply(&mut alpha, &[("add", "x".repeat(63).as_str(), "read"), ("add", "later", "ask")])), "ok");
    assert_eq!(verdict(apply(&mut alpha, &[("remove", "later", ""), ("remove", "x".repeat(63).as_str(), "")])), "ok");
    let gone = format!("{} read retired", "x".repeat(63));
    assert_eq!(
        hosts(&log),
        ["alpha decide", "beta decide", "desk ask retired", "later ask retired", "leaf read", &gone]
    );
    // What is no host, and what would leave none.
    for (host, may) in [("x".repeat(64).as_str(), "read"), ("more", "own"), ("more", "")] {
        assert_refused(apply(&mut alpha, &[("add", host, may)]), "22023", "has no may");
    }
    let nobody = [("remove", "alpha", ""), ("change", "beta", "ask")];
    assert_refused(apply(&mut alpha, &nobody), "55000", "no host would be left");
    assert_refused(
        apply(&mut alpha, &[("remove", "alpha", ""), ("remove", "beta", "")]),
        "55000",
        "no host would be left",
    );
    // Its own removal is its last.
    assert_eq!(verdict(apply(&mut alpha, &[("remove", "alpha", "")])), "ok");
    assert_refused(apply(&mut alpha, &[]), "42501", "alpha is not a host");
    assert_eq!(beta.turn(&log.end()).unwrap(), "ok");
}

/// What follows from its removal is in the same batch, and passes.
#[test]
fn a_batch_has_the_rights_of_its_beginning() {
    let log = SharedLog::start();
    let mut alpha = log.connect("alpha");
    let (first, second) = (Body::new("alpha", 1).hosts(&[("add", "beta", "decide")]), Body::new("alpha", 2));
    // Copies know what was one call by its time.
    let bodies = [first.clone().text(), second.clone().at(&time(5)).text()];
    assert_refused(alpha.append(&Place::empty(), &bodies), "22023", "have one time");
    let bodies = [first.at(&second.at), second.clone()].map(|body| body.text());
    assert_eq!(verdict(alpha.append(&Place::empty(), &bodies)), "ok");
    assert_refused(alpha.turn(&log.end()), "42501", "alpha is not a host");
}

#[test]
fn an_import_follows_the_hosts_too() {
    let log = SharedLog::start();
    let mut owner = log.connect("keeper");
    owner.batch_execute("DROP SCHEMA access CASCADE").unwrap();
    log.install();
    owner.batch_execute("SELECT access.create('acme', 3), access.allow('leaf', 'read')").unwrap();
    // While it is imported, no host need be left: a log that came back to one file has none.
    let bodies = [
        Body::new("old", 1).at("2026-01-01T00:00:00Z").hosts(&[("add", "old", "decide")]).text(),
        Body::new("old", 2).at("2026-01-01T00:00:00Z").hosts(&[("remove", "old", "")]).text(),
        Body::new("old", 3)
            .at("2026-01-02T00:00:00Z")
            .hosts(&[("add", "alpha", "decide"), ("add", "desk", "ask")])
            .text(),
    ];
    let empty = Place::empty();
    owner.query("SELECT access.import($1, $2, $3)", &[&empty.0, &empty.1, &&bodies[..]]).unwrap();
    assert_eq!(hosts(&log), ["alpha decide", "desk ask", "leaf read retired", "old decide retired"]);
    assert_eq!(log.connect("desk").since(0, 1).unwrap()[0].2, "old");
}
