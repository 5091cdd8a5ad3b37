//! A log that is not what a copy knows: restored, rewritten, another team's, closed. And copies that are not this host's.

use crate::copies::{PASSWORD, Team, assert_equal};

const ASK: [&str; 4] = ["request", "connection:account1", "--reason", "say-"];

/// The database as it was is put in place of what it became.
fn restore(team: &Team) {
    team.admin("postgres")
        .batch_execute("DROP DATABASE acme WITH (FORCE)")
        .and_then(|()| team.admin("postgres").batch_execute("CREATE DATABASE acme TEMPLATE backup"))
        .unwrap();
}

fn back_up(team: &Team) {
    team.admin("postgres").batch_execute("CREATE DATABASE backup TEMPLATE acme").unwrap();
}

#[test]
fn after_a_restore_a_copy_that_was_ahead_says_fork() {
    let team = Team::start(3);
    let [ahead, behind, third] = &team.hosts[..] else { panic!() };
    back_up(&team);
    ahead.ok("bob0", &ASK);
    third.ok("olivia", &["follow", "--once"]);
    let lost = ahead.log();
    for raised in [false, true] {
        restore(&team);
        if raised {
            team.admin("acme").batch_execute("SELECT access.raise_epoch(1)").unwrap();
        }
        for host in [ahead, third] {
            host.fails("olivia", &["follow", "--once"], 65, "FORK");
            host.fails("bob1", &ASK, 65, "FORK");
            assert!(host.log() == lost, "it keeps what the log lost");
        }
        assert_eq!(team.count("say-"), 0);
        // One that was not ahead goes on.
        behind.ok("olivia", &["follow", "--once"]);
    }
    behind.ok("bob2", &ASK);
    assert_eq!(team.count("say-"), 1);
    ahead.fails("olivia", &["follow", "--once"], 65, "FORK");
    behind.ok("olivia", &["audit", "verify"]);
    // Even with the same number of entries.
    assert_eq!(ahead.log().len(), behind.log().len());
}

#[test]
fn a_superuser_who_rewrites_an_entry_is_noticed() {
    let team = Team::start(2);
    team.hosts[0].ok("bob0", &ASK);
    team.hosts[1].ok("olivia", &["follow", "--once"]);
    back_up(&team);
    // With all hashes after it made new.
    let rewrite = "ALTER TABLE access.entry DISABLE TRIGGER ALL;
        UPDATE access.entry SET body = replace(body, 'say-', 'ask-') WHERE strpos(body, 'say-') > 0;
        DO $$ DECLARE last bytea := decode(repeat('00', 32), 'hex'); e record; BEGIN
            FOR e IN SELECT * FROM access.entry ORDER BY seq LOOP
                last := sha256(last || convert_to(e.body, 'UTF8'));
                UPDATE access.entry SET hash = last WHERE seq = e.seq;
            END LOOP;
        END $$;";
    team.admin("acme").batch_execute(rewrite).unwrap();
    for host in &team.hosts {
        host.fails("olivia", &["follow", "--once"], 65, "FORK");
        host.fails("bob1", &["request", "connection:account2", "--reason", "more"], 65, "FORK");
        assert!(host.log().iter().any(|(_, body)| body.contains("say-")));
    }
    assert_eq!(team.count("more"), 0);

    // With the old hash: who has the entry keeps it, and who takes it in refuses.
    restore(&team);
    let body = "ALTER TABLE access.entry DISABLE TRIGGER ALL;
        UPDATE access.entry SET body = replace(body, 'say-', 'ask-') WHERE strpos(body, 'say-') > 0";
    team.admin("acme").batch_execute(body).unwrap();
    team.hosts[0].ok("olivia", &["follow", "--once"]);
    std::fs::remove_file(team.hosts[1].db()).unwrap();
    team.hosts[1].fails("olivia", &["log", "join"], 65, "does not follow the one before it");
    assert!(!team.hosts[1].db().exists());
}

/// What comes before an entry that can't be used counts, and the copy is not fresh.
#[test]
fn entries_before_one_that_cannot_be_read_are_taken_in() {
    let team = Team::start(2);
    let [first, second] = &team.hosts[..] else { panic!() };
    first.ok("bob0", &ASK);
    let contact =
        || -> i64 { second.sqlite().query_row("SELECT since_boot FROM replica", [], |row| row.get(0)).unwrap() };
    let before = contact();
    let later = "ALTER TABLE access.entry DISABLE TRIGGER ALL;
        INSERT INTO access.entry SELECT e.seq + 1, sha256(e.hash || convert_to(b.body, 'UTF8')), b.body, 'h1', e.at, e.taken
            FROM (SELECT * FROM access.entry ORDER BY seq DESC LIMIT 1) e,
            LATERAL (SELECT replace(replace(e.body, '\"v\":3', '\"v\":99'), format('\"seq\":%s', e.seq), format('\"seq\":%s', e.seq + 1)) AS body) b";
    team.admin("acme").batch_execute(later).unwrap();
    second.fails("olivia", &["follow", "--once"], 65, "of format 99");
    assert!(second.log().last().unwrap().1.contains("say-"));
    assert_eq!(contact(), before);
    second.fails("bob1", &ASK, 65, "of format 99");
}

#[test]
fn a_log_that_cannot_be_used_changes_nothing() {
    let team = Team::start(2);
    let [host, other] = &team.hosts[..] else { panic!() };
    let log = host.log();
    let refused = |server: &str, password: &str, code: i32, text: &str| {
        host.configure(server, password);
        for args in [&ASK[..], &["follow", "--once"]] {
            host.fails("bob0", args, code, text);
        }
        assert!(host.log() == log);
        host.ok("olivia", &["pending"]);
        host.configure(&team.server("acme"), PASSWORD);
    };
    refused(&team.server("acme"), "wrong", 69, "password authentication failed");
    refused(&team.server("nowhere"), PASSWORD, 69, "does not exist");
    refused("127.0.0.1:1/acme", PASSWORD, 69, "can't be reached");
    // A database without a log.
    team.admin("postgres").batch_execute("CREATE DATABASE empty TEMPLATE template0").unwrap();
    refused(&team.server("empty"), PASSWORD, 69, "the shared log refuses");
    // Another team's.
    let another = Team::start(1);
    another.cluster.sql("postgres", &format!("CREATE ROLE h9 LOGIN PASSWORD '{PASSWORD}'"));
    refused(&another.server("acme"), PASSWORD, 65, "FORK");
    // One with fewer functions.
    back_up(&team);
    team.admin("acme").batch_execute("DROP FUNCTION access.contact; DROP FUNCTION access.turn").unwrap();
    refused(&team.server("acme"), PASSWORD, 69, "the shared log refuses");
    restore(&team);
    // One that was moved away still says what it has, and the copy does not count as fresh.
    other.ok("bob1", &ASK);
    team.admin("acme").batch_execute("SELECT access.close()").unwrap();
    host.fails("bob0", &ASK, 69, "closed");
    host.fails("olivia", &["follow", "--once"], 69, "closed");
    assert!(host.log().last().unwrap().1.contains("say-"));
    team.admin("acme").batch_execute("SELECT access.open()").unwrap();
    host.ok("bob0", &ASK);
    assert_equal(&team.hosts);
}

#[test]
fn a_copy_that_is_not_this_hosts_appends_nothing() {
    let team = Team::start(2);
    let [host, other] = &team.hosts[..] else { panic!() };
    // Lost: it is made again.
    std::fs::remove_file(host.db()).unwrap();
    host.fails("bob0", &ASK, 69, "there is no copy of the shared log");
    host.ok("olivia", &["log", "join"]);
    host.ok("bob0", &ASK);
    // Damaged.
    let whole = std::fs::read(host.db()).unwrap();
    let mut damaged = whole.clone();
    for page in damaged.chunks_mut(4096).skip(1) {
        page[..100].fill(0xff);
    }
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", host.db().display()));
    }
    std::fs::write(host.db(), damaged).unwrap();
    host.fails("bob1", &ASK, 65, "damaged");
    std::fs::remove_file(host.db()).unwrap();
    host.ok("olivia", &["log", "join"]);
    // Another host's: the log takes no entry under its name.
    other.ok("olivia", &["follow", "--once"]);
    other.ok("olivia", &["backup", host.db().with_extension("copy").to_str().unwrap()]);
    std::fs::rename(host.db().with_extension("copy"), host.db()).unwrap();
    host.fails("bob2", &ASK, 69, "may not append an entry of the host h2");
    assert_eq!(team.count("say-"), 1);
    host.ok("olivia", &["pending"]);
}

/// A host that lost the right to append is not held up by what it had not settled.
#[test]
fn what_is_pending_and_refused_is_given_up_once_it_is_too_old() {
    let team = Team::start(1);
    let host = &team.hosts[0];
    host.ok("bob0", &ASK);
    let log = host.log();
    let (hash, body) = log.last().unwrap();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = body.replace(&format!("\"seq\":{}", log.len()), &format!("\"seq\":{}", log.len() + 1));
    let keep = |body: &str| {
        let pending = serde_json::json!({ "epoch": 1, "after": log.len(), "hash": hash, "bodies": [body] });
        host.sqlite().execute("UPDATE replica SET pending = ?1", [pending.to_string()]).unwrap();
    };
    team.admin("acme").batch_execute("SELECT access.allow('h1', 'read')").unwrap();
    // Until then it may still be on its way.
    keep(&body);
    host.fails("olivia", &["pending"], 1, "may not append");
    let year = body.find("\"at\":\"").unwrap() + 6;
    let old = format!("{}2020{}", &body[..year], &body[year + 4..]);
    keep(&old);
    host.ok("olivia", &["pending"]);
    assert!(host.log() == log);
    team.admin("acme").batch_execute("SELECT access.allow('h1', 'decide')").unwrap();
    host.ok("bob1", &ASK);
    // What is too old is not recorded later either.
    keep(&old);
    host.ok("olivia", &["pending"]);
    assert_eq!(host.log().len(), log.len() + 1);
}

/// A session that is cut off within a message is not idle, so the database ends it only when somebody waits for the turn.
#[test]
fn what_is_pending_is_settled_though_a_session_keeps_the_turn() {
    let team = Team::start(2);
    let host = &team.hosts[0];
    host.ok("bob0", &ASK);
    let log = host.log();
    let hash: String = log.last().unwrap().0.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = log.last().unwrap().1.replace(&format!("\"seq\":{}", log.len()), &format!("\"seq\":{}", log.len() + 1));
    let pending = serde_json::json!({ "epoch": 1, "after": log.len(), "hash": hash, "bodies": [body] });
    host.sqlite().execute("UPDATE replica SET pending = ?1", [pending.to_string()]).unwrap();
    let mut other = team.session("h2");
    other.batch_execute("BEGIN; SELECT access.turn(0, decode(repeat('00', 32), 'hex'))").unwrap();
    other.batch_execute("SET idle_in_transaction_session_timeout = 0").unwrap();
    let keeps = std::thread::spawn(move || other.batch_execute("SELECT pg_sleep(120)"));
    let begun = std::time::Instant::now();
    while !host.run("olivia", &["pending"]).status.success() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(90), "the turn is free again");
    }
    assert!(keeps.join().unwrap().is_err(), "its session is ended");
}
