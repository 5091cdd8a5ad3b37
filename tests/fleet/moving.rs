//! A log goes into the shared one and comes back, by the real program, whatever interrupts it.

use crate::program::Fleet;

const ASK: [&str; 5] = ["request", "target:orders-db", "--duration", "1h", "--reason=deploy"];

#[test]
fn a_log_moves_there_and_back() {
    let fleet = Fleet::start();
    let (alpha, beta, owner) = (fleet.on("alpha"), fleet.on("beta"), fleet.url("keeper"));
    let first = alpha.entries();
    assert!(alpha.succeeds(&["doctor"]).contains("[log] is configured, and this database is not a copy"));
    alpha.succeeds(&["log", "init", &owner]);
    // Upgrading is the same command.
    alpha.succeeds(&["log", "init", &owner]);
    alpha.fails(&["log", "move", &owner], 69, "permission denied");
    // There is no copy that answers meanwhile.
    alpha.fails(&["log", "move", &owner], 69, "hint: nothing was changed; [log] in the configuration file");
    beta.fails(&["log", "join"], 69, "hint: nothing was changed; [log] in the configuration file");
    for host in ["alpha", "beta"] {
        alpha.succeeds(&["log", "allow", host, "decide", &owner]);
    }
    // A server without TLS: what to do depends on whose connection it is.
    let plain = format!("postgresql://alpha@127.0.0.1:{}/acme", fleet.cluster.port());
    alpha.fails(&["log", "init", &plain], 69, "plain connection with --allow-plain");
    let config = fleet.file("alpha").join(".config/access/config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("[log]\nurl = \"{plain}\"\n")).unwrap();
    alpha.fails(&["log", "move", &owner], 69, "`allow_plain = true` in [log]");
    std::fs::write(&config, before).unwrap();

    let said = alpha.succeeds(&["log", "move", "--dry-run", &owner]);
    assert!(said.contains("Would move 1 entry; this host is alpha"), "{said}");
    assert_eq!(
        fleet.ask("SELECT state || count(e.seq) FROM access.log LEFT JOIN access.entry e ON true GROUP BY state"),
        "importing0"
    );
    alpha.fails(&["log", "leave", &owner], 5, "not a copy of the shared log");

    alpha.succeeds(&["log", "move", &owner]);
    assert!(alpha.succeeds(&["log", "move", &owner]).contains("The log is shared already"));
    beta.fails(&["whoami"], 69, "make it with `access log join`");
    beta.succeeds(&["log", "join"]);
    beta.by("bob").succeeds(&ASK);
    assert_eq!(beta.entries()[..first.len()], first);

    let said = alpha.succeeds(&["log", "leave", "--dry-run", &owner]);
    assert!(said.contains(&format!("Would bring back {} entries", first.len() + 1)), "{said}");
    alpha.by("alice").succeeds(&["approve", "1"]);
    alpha.succeeds(&["log", "leave", &owner]);
    assert!(alpha.succeeds(&["log", "leave", &owner]).contains("The log is in this database already"));
    alpha.succeeds(&["audit", "verify"]);
    alpha.by("bob").succeeds(&["check", "target:orders-db"]);
    // Alone again: the next entry names no host.
    alpha.by("alice").succeeds(&["revoke", "1"]);
    assert!(!alpha.entries().last().unwrap().contains("\"host\""));

    // Nobody else takes it, writes to it, or takes it for fresh.
    beta.fails(&["log", "leave", &owner], 5, "the host alpha has taken the shared log");
    beta.fails(&["log", "move", &owner], 5, "the host alpha has taken the shared log");
    beta.by("bob").fails(&ASK, 69, "the shared log is closed");
    beta.fails(&["follow", "--once"], 69, "the shared log is closed");
    assert!(beta.succeeds(&["log", "status"]).contains(": CLOSED, as a host has taken it"));
    let doctor = String::from_utf8(beta.run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("closed: a host took it") && doctor.contains("move it back from that host"), "{doctor}");

    // It goes back to where it was, with what happened meanwhile.
    alpha.succeeds(&["log", "move", &owner]);
    assert_eq!(fleet.ask("SELECT epoch::text FROM access.log"), "2");
    beta.succeeds(&["follow", "--once"]);
    assert_eq!(beta.entries(), alpha.entries());
    beta.by("bob").succeeds(&ASK);
    for host in [alpha, beta] {
        host.succeeds(&["follow", "--once"]);
        host.succeeds(&["audit", "verify"]);
    }
}

#[test]
fn a_host_that_may_not_decide_neither_takes_the_log_nor_shares_one() {
    let fleet = Fleet::shared();
    let (alpha, leaf, owner) = (fleet.on("alpha"), fleet.on("leaf"), fleet.url("keeper"));
    alpha.succeeds(&["log", "allow", "leaf", "ask", &owner]);
    leaf.succeeds(&["log", "join"]);
    for dry_run in [&["--dry-run"][..], &[]] {
        leaf.fails(
            &[&["log", "leave", &owner], dry_run].concat(),
            5,
            "leaf may only ask, so it can't take the shared log",
        );
    }
    alpha.by("bob").succeeds(&ASK);

    // It was let decide when it took the log.
    alpha.succeeds(&["log", "allow", "leaf", "decide", &owner]);
    leaf.succeeds(&["log", "leave", &owner]);
    leaf.by("alice").succeeds(&["approve", "1"]);
    alpha.succeeds(&["log", "allow", "leaf", "ask", &owner]);
    let before =
        fleet.ask("SELECT state || count(e.seq) FROM access.log LEFT JOIN access.entry e ON true GROUP BY state");
    for dry_run in [&["--dry-run"][..], &[]] {
        leaf.fails(&[&["log", "move", &owner], dry_run].concat(), 5, "leaf may only ask, so it can't share its log");
    }
    let after =
        fleet.ask("SELECT state || count(e.seq) FROM access.log LEFT JOIN access.entry e ON true GROUP BY state");
    assert_eq!(before, after);
    alpha.succeeds(&["log", "allow", "leaf", "decide", &owner]);
    leaf.succeeds(&["log", "move", &owner]);
    alpha.by("bob").succeeds(&["check", "target:orders-db", "--fresh"]);
}

#[test]
fn a_move_that_was_interrupted_continues() {
    let fleet = Fleet::start();
    let (alpha, owner) = (fleet.on("alpha"), fleet.url("keeper"));
    alpha.succeeds(&["log", "init", &owner]);
    alpha.succeeds(&["log", "allow", "alpha", "decide", &owner]);
    let kept = fleet.file("kept");
    alpha.succeeds(&["backup", kept.to_str().unwrap()]);
    alpha.succeeds(&["log", "move", &owner]);

    // While it was copied; the log has grown since.
    alpha.put_back(Some(&kept));
    alpha.by("bob").succeeds(&ASK);
    fleet.sql("UPDATE access.log SET state = 'importing'");
    alpha.succeeds(&["log", "move", &owner]);
    assert_eq!(fleet.ask("SELECT string_agg(body, ' ' ORDER BY seq) FROM access.entry"), alpha.entries().join(" "));

    // After this database became a copy, and before the log was opened.
    fleet.sql("UPDATE access.log SET state = 'importing'");
    alpha.by("alice").fails(&["approve", "1"], 69, "the shared log is closed");
    alpha.succeeds(&["log", "move", &owner]);
    alpha.by("alice").succeeds(&["approve", "1"]);

    // On the way back, after it was closed.
    fleet.sql("SELECT access.close('alpha')");
    alpha.by("alice").fails(&["revoke", "1"], 69, "the shared log is closed");
    alpha.succeeds(&["log", "leave", &owner]);
    alpha.by("alice").succeeds(&["revoke", "1"]);

    // Another history: not this log.
    alpha.put_back(Some(&kept));
    alpha.by("carol").succeeds(&ASK);
    alpha.fails(&["log", "move", &owner], 5, "has other entries already");
}

#[test]
fn a_log_in_use_or_of_another_team_or_database_takes_no_other() {
    let fleet = Fleet::shared();
    let (leaf, owner) = (fleet.on("leaf"), fleet.url("keeper"));
    leaf.succeeds(&["init", "--sample"]);
    fleet.on("alpha").succeeds(&["log", "allow", "leaf", "decide", &owner]);
    leaf.fails(&["log", "move", &owner], 5, "in use already");
    leaf.fails(&["log", "leave", &owner], 5, "not a copy of the shared log");

    fleet.cluster.sql("postgres", "CREATE DATABASE other OWNER keeper TEMPLATE template0");
    let other = owner.replace("/acme", "/other");
    fleet.on("alpha").succeeds(&["log", "init", &other]);
    // The owner is connected to another database than the host.
    leaf.fails(&["log", "move", &other], 65, "names another database than the command line");
    fleet.on("alpha").fails(&["log", "move", &other], 65, "names another database than the command line");

    let named = leaf.path().join("named.toml");
    let team = leaf.succeeds(&["team", "show"]).replacen("name = \"acme\"", "name = \"umbrella\"", 1);
    std::fs::write(&named, team).unwrap();
    leaf.succeeds(&["team", "apply", named.to_str().unwrap(), "--yes"]);
    leaf.fails(&["log", "init", &owner], 5, "has the log of team acme, not of umbrella");
    leaf.fails(&["log", "move", &owner], 5, "has the log of team acme, not of umbrella");
}
