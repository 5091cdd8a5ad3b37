//! What each host may do, as the team file says it: the database refuses the rest, and so does every copy.

use crate::program::{Fleet, Host};
use crate::shared_log::{Body, Place, time};

const DENIED: &str = r#"{"request":1,"by":"alice"}"#;
const ASK: [&str; 5] = ["request", "target:orders-db", "--duration", "1h", "--reason=deploy"];

/// Applies today's team with this appended.
fn apply(host: Host<'_>, more: &str) -> String {
    host.succeeds(&["team", "apply", &team_with(host, more), "--yes"])
}

fn team_with(host: Host<'_>, more: &str) -> String {
    host.succeeds(&["follow", "--once"]);
    let team = host.succeeds(&["team", "show"]);
    let team = team.split("[hosts").next().unwrap();
    let file = host.path().join("team.toml");
    std::fs::write(&file, format!("{team}\n{more}")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Appends an entry as only a superuser can, who asks nobody.
fn forge(fleet: &Fleet, body: impl FnOnce(i64) -> Body) {
    let row = fleet.admin().query_one("SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1", &[]).unwrap();
    let end = Place(row.get(0), row.get(1));
    let body = body(end.0 + 1);
    let bodies = [body.text()];
    let Place(seq, hash) = end.after(&bodies);
    let sql = "INSERT INTO access.entry VALUES ($1, $2, $3, $4, now(), now())";
    fleet.admin().execute(sql, &[&seq, &hash, &bodies[0], &body.host]).unwrap();
}

#[test]
fn the_team_file_says_what_a_host_may() {
    let fleet = Fleet::shared();
    let (alpha, beta, leaf, owner) = (fleet.on("alpha"), fleet.on("beta"), fleet.on("leaf"), fleet.url("keeper"));
    let said =
        apply(alpha, "[hosts.alpha]\nmay = \"decide\"\n[hosts.beta]\nmay = \"ask\"\n[hosts.leaf]\nmay = \"read\"\n");
    assert!(!said.contains("with this team, this host"), "{said}");
    // The owner of the database lets the new role in; it can't give it anything else.
    alpha.fails(&["log", "allow", "leaf", "decide", &owner], 1, "the log itself names its hosts");
    alpha.succeeds(&["log", "allow", "leaf", "read", &owner]);
    leaf.succeeds(&["log", "join"]);

    beta.by("bob").succeeds(&ASK);
    beta.by("alice").fails(
        &["approve", "1"],
        3,
        "this host may not do this: the host beta may not append request.approved",
    );
    leaf.by("bob").fails(&["withdraw", "1"], 3, "this host may not do this: the host leaf may only read");
    leaf.succeeds(&["follow", "--once"]);
    leaf.by("bob").succeeds(&["show", "1"]);
    alpha.by("alice").succeeds(&["approve", "1"]);
    beta.by("bob").succeeds(&["revoke", "1"]);

    // A host that takes its own power away is warned, and what follows from the same change is recorded.
    alpha.by("bob").succeeds(&ASK);
    alpha.by("alice").succeeds(&["approve", "2"]);
    let file = team_with(alpha, "[hosts.beta]\nmay = \"decide\"\n[hosts.leaf]\nmay = \"read\"\n");
    let text = std::fs::read_to_string(&file).unwrap().replace("[members.bob]", "[members.bob]\ndisabled = true");
    std::fs::write(&file, text).unwrap();
    let said = alpha.succeeds(&["team", "apply", &file, "--yes"]);
    assert!(said.contains("with this team, this host (alpha) may do nothing with the log"), "{said}");
    alpha.by("alice").fails(&ASK, 69, "alpha is not a host of this log");
    for host in [beta, leaf] {
        host.succeeds(&["follow", "--once"]);
        assert!(host.entries().last().unwrap().contains("grant.revoked"));
        host.succeeds(&["audit", "verify"]);
    }

    // Somebody is left who may decide.
    let file = team_with(beta, "[hosts.beta]\nmay = \"ask\"\n");
    beta.fails(&["team", "apply", &file, "--yes"], 65, "no host may decide");
    let file = team_with(beta, "");
    beta.fails(&["team", "apply", &file, "--yes"], 65, "names no host, and the log is shared");
}

#[test]
fn a_copy_stops_at_an_entry_that_its_host_may_not_append() {
    let fleet = Fleet::shared();
    let (alpha, beta) = (fleet.on("alpha"), fleet.on("beta"));
    apply(alpha, "[hosts.alpha]\nmay = \"decide\"\n[hosts.beta]\nmay = \"ask\"\n");
    alpha.by("bob").succeeds(&ASK);
    let whole = alpha.entries();
    forge(&fleet, |seq| Body::new("beta", seq).action("request.denied", DENIED));
    for host in [alpha, beta] {
        host.fails(&["follow", "--once"], 65, "is request.denied by the host beta, which may not append that");
        assert_eq!(host.entries(), whole);
    }
    // A host that the team file does not name is none.
    fleet.restore_to(whole.len().try_into().unwrap());
    forge(&fleet, |seq| Body::new("gamma", seq).action("request.denied", DENIED));
    beta.fails(&["follow", "--once"], 65, "by the host gamma, which may not append that");
}

#[test]
fn a_copy_stops_at_an_unknown_format_and_knows_what_comes_before() {
    let fleet = Fleet::shared();
    let (alpha, beta) = (fleet.on("alpha"), fleet.on("beta"));
    alpha.by("bob").succeeds(&ASK);
    alpha.by("alice").succeeds(&["approve", "1"]);
    beta.succeeds(&["follow", "--once"]);
    beta.by("bob").succeeds(&["check", "target:orders-db"]);
    alpha.by("alice").succeeds(&["revoke", "1"]);
    forge(&fleet, |seq| {
        let mut body = Body::new("alpha", seq).action("request.pondered", "7").at(&time(0));
        body.v = 4;
        body
    });
    beta.fails(&["follow", "--once"], 65, "is of format 4; this version reads up to 3");
    beta.by("bob").fails(&["check", "target:orders-db"], 1, "");
    beta.by("bob").fails(&ASK, 65, "is of format 4");

    // Nobody writes it before every host has said that it reads it.
    let owner = fleet.url("keeper");
    fleet.sql("UPDATE access.seen SET format = 2 WHERE role = 'beta'");
    alpha.fails(&["log", "upgrade", &owner], 1, "these hosts do not read format 3 yet: beta");
    fleet.sql("UPDATE access.seen SET format = 3 WHERE role = 'beta'");
    assert!(alpha.succeeds(&["log", "upgrade", &owner]).contains("entries of format 3"));
}

/// Ages the copy by so many minutes.
fn age(host: Host<'_>, minutes: i64) {
    host.succeeds(&["follow", "--once"]);
    let database = rusqlite::Connection::open(host.database()).unwrap();
    database.execute("UPDATE replica SET wall_at = wall_at - ?1 * 60000", [minutes]).unwrap();
}

#[test]
fn the_team_file_says_how_long_a_copy_answers() {
    let fleet = Fleet::shared();
    let alpha = fleet.on("alpha");
    let file = team_with(alpha, "");
    let team = std::fs::read_to_string(&file).unwrap();
    let of = |team: &str, key: &str, value: &str| {
        let at = team.find(&format!("{key}\n")).unwrap_or_else(|| panic!("{key}: {team}")) + key.len() + 1;
        format!("{}offline_for = \"{value}\"\n{}", &team[..at], &team[at..])
    };
    let check = |minutes: i64, resource: &str, code: i32| {
        age(alpha, minutes);
        let output = alpha.run(&["check", resource]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{minutes} {resource}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let apply = |team: &str| {
        std::fs::write(&file, team).unwrap();
        alpha.succeeds(&["team", "apply", &file, "--yes"]);
    };
    // Unless the file says otherwise.
    for (minutes, resource, code) in [
        (4, "connection:prod-aws", 0),
        (6, "connection:prod-aws", 69),
        (4, "target:orders-db", 0),
        (6, "target:orders-db", 69),
        (14, "connection:sandbox", 0),
        (16, "connection:sandbox", 69),
        (14, "role:owner", 0),
    ] {
        check(minutes, resource, code);
    }
    let team = of(&team, "[connections.prod-aws]", "1h");
    apply(&team);
    check(50, "connection:prod-aws", 0);
    check(50, "target:orders-db", 0);
    check(70, "target:orders-db", 69);
    // A target of its own, stricter or less.
    let team = of(&team, "[targets.orders-db]", "12h");
    apply(&team);
    check(11 * 60, "target:orders-db", 0);
    check(13 * 60, "target:orders-db", 69);
    check(70, "connection:prod-aws", 69);
    apply(&of(&team, "[team]", "0"));
    check(1, "connection:sandbox", 69);
    check(0, "connection:sandbox", 0);
    check(50, "connection:prod-aws", 0);
    alpha.succeeds(&["audit", "verify"]);
    apply(&team);
    check(14, "connection:sandbox", 0);
}
