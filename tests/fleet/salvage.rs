//! The database was restored from a backup: hosts that know more stop, and keep what was lost.

use crate::program::Fleet;

const ASK: [&str; 5] = ["request", "target:orders-db", "--duration", "1h", "--reason=deploy"];

#[test]
fn what_a_restore_lost_is_salvaged() {
    let fleet = Fleet::shared();
    let (alpha, beta, owner) = (fleet.on("alpha"), fleet.on("beta"), fleet.url("keeper"));
    let backed_up = alpha.entries().len();
    alpha.by("bob").succeeds(&ASK);
    alpha.by("alice").succeeds(&["approve", "1"]);
    alpha.fails(&["log", "salvage", "none"], 1, "nothing to salvage");
    assert!(!fleet.file("none").exists());
    fleet.restore_to(backed_up.try_into().unwrap());

    // Nobody has said that it was restored: somebody may have rewritten it, so the copy is not given up.
    alpha.fails(&["follow", "--once"], 65, "FORK");
    alpha.fails(&["log", "salvage", "lost"], 65, "run `access log raise-epoch` once");
    let doctor = String::from_utf8(alpha.run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("FORK") && doctor.contains("run `access log raise-epoch` once"), "{doctor}");
    alpha.by("carol").fails(&ASK, 65, "FORK");
    assert!(alpha.succeeds(&["log", "status"]).contains("FORK, it does not have the last entry of this copy"));
    assert!(!fleet.file("lost").exists());

    // A host that was behind goes on, and puts other entries in their place.
    assert!(beta.succeeds(&["log", "raise-epoch", &owner]).contains("epoch 2"));
    beta.by("carol").succeeds(&ASK);
    alpha.fails(&["follow", "--once"], 65, "restored from a backup (epoch 2, after 1)");

    let before = alpha.entries();
    alpha.succeeds(&["log", "salvage", "lost"]);
    assert_eq!(alpha.entries(), before);
    let lost = std::fs::read_to_string(fleet.file("lost")).unwrap();
    let bodies: Vec<String> = lost
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(bodies, before[backed_up..]);
    // A file that is there is kept.
    alpha.fails(&["log", "salvage", "lost"], 74, "exists");

    // A process that has the database open would spoil the new copy.
    let open = rusqlite::Connection::open(alpha.database()).unwrap();
    open.query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0)).unwrap();
    alpha.fails(&["log", "salvage", "again", "--rejoin"], 75, "another process has the database open");
    drop(open);
    alpha.succeeds(&["log", "salvage", "at-last", "--rejoin"]);
    assert!(alpha.files().contains(&"access.db.epoch-1".to_owned()), "{:?}", alpha.files());
    assert_eq!(alpha.entries(), beta.entries());
    alpha.by("alice").succeeds(&["approve", "1"]);
    beta.succeeds(&["follow", "--once"]);
    for host in [alpha, beta] {
        host.succeeds(&["audit", "verify"]);
    }
    assert_eq!(fleet.ask("SELECT count(*)::text FROM access.entry"), beta.entries().len().to_string());
}

/// A change whose outcome was not known is in the file as well.
#[test]
fn what_is_pending_is_salvaged_too() {
    let fleet = Fleet::shared();
    let (alpha, owner) = (fleet.on("alpha"), fleet.url("keeper"));
    let backed_up = alpha.entries().len();
    alpha.by("bob").succeeds(&ASK);
    let database = rusqlite::Connection::open(alpha.database()).unwrap();
    let pending = "UPDATE replica SET pending = json_object('epoch', 1, 'after', (SELECT max(seq) FROM event),
        'hash', (SELECT lower(hex(hash)) FROM event ORDER BY seq DESC LIMIT 1), 'bodies', json_array('{\"pending\":1}'))";
    database.execute(pending, []).unwrap();
    drop(database);
    fleet.restore_to(backed_up.try_into().unwrap());
    alpha.succeeds(&["log", "raise-epoch", &owner]);
    alpha.succeeds(&["log", "salvage", "lost", "--rejoin"]);
    let lost = std::fs::read_to_string(fleet.file("lost")).unwrap();
    assert_eq!(lost.lines().count(), 2);
    assert!(lost.lines().last().unwrap().contains("pending"));
    alpha.succeeds(&["pending"]);
    alpha.by("bob").succeeds(&ASK);
}
