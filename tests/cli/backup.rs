//! `backup`: a copy of a live database that can be relied on, or none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{ACCESS, TEAM, World, shows};

fn copy(world: &World) -> PathBuf {
    world.folder().join("copy.db")
}

fn backup(world: &World) -> crate::harness::Ran {
    world.run("root", &["backup", copy(world).to_str().unwrap()])
}

/// The copy is whole, by its own proof and by SQLite's.
#[track_caller]
fn sound(world: &World, copy: &Path) {
    let db = copy.to_str().unwrap();
    world.run("olivia", &["--db", db, "audit", "verify"]).ok();
    let checked = Command::new("sqlite3").arg(copy).arg("PRAGMA integrity_check").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "ok\n");
}

/// What lies in the folder by this name, or by a name that goes on from it.
fn left(world: &World, name: &str) -> Vec<String> {
    let entries = fs::read_dir(world.folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|found| found.starts_with(name)).collect()
}

/// So large a team that proving a copy takes its time.
fn large() -> World {
    let members: String = (0..800).map(|n| format!("[members.m{n}]\nrole = \"viewer\"\n")).collect();
    World::of("olivia", &(TEAM.to_owned() + &members))
}

#[test]
fn the_copy_is_the_same_record_and_says_up_to_where() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    let told = backup(&world).ok().says("verified up to entry 4");
    assert!(told.out.contains(copy(&world).to_str().unwrap()), "{}", told.out);
    assert_eq!(left(&world, "copy.db"), ["copy.db"], "and nothing beside it");
    sound(&world, &copy(&world));
    let log = ["audit", "export", "--format", "jsonl"];
    let path = copy(&world);
    let there = [&["--db", path.to_str().unwrap()], &log[..]].concat();
    assert_eq!(world.run("olivia", &there).ok().out, world.run("olivia", &log).ok().out);

    let second = world.folder().join("second.db");
    let answer = world.json("root", &["backup", second.to_str().unwrap()]);
    let head = world.rows("SELECT lower(hex(hash)) FROM event WHERE seq = 4")[0].clone();
    let bytes = fs::metadata(&second).unwrap().len();
    let checkpoint = json!({ "team": "acme", "seq": 4, "head": head, "at": "2026-11-24T09:00:00Z" });
    shows(&answer, &json!({ "file": second, "bytes": bytes, "checkpoint": checkpoint }));
}

#[test]
fn it_needs_no_member_and_records_nothing() {
    let world = World::sample();
    world.run("stranger", &["backup", copy(&world).to_str().unwrap()]).ok();
    assert_eq!(world.rows("SELECT count(*) FROM event"), ["1"]);
}

#[test]
fn nobody_else_can_read_the_copy_whatever_the_umask() {
    let world = World::sample();
    for umask in ["000", "022", "077"] {
        let to = world.folder().join(umask);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec {ACCESS} backup {}", to.display())]);
        let ran = shell.env("ACCESS_DB", world.db()).env("ACCESS_TEST_NOW", world.now().to_string()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o600, "umask {umask}");
    }
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let world = World::sample();
    fs::write(copy(&world), "dear diary").unwrap();
    backup(&world).fails(5, "already exists");
    assert_eq!(fs::read_to_string(copy(&world)).unwrap(), "dear diary");
    // Neither is a link followed, though it points nowhere, nor the database itself written over.
    let link = world.folder().join("link.db");
    std::os::unix::fs::symlink("elsewhere.db", &link).unwrap();
    world.run("root", &["backup", link.to_str().unwrap()]).fails(5, "already exists");
    world.run("root", &["backup", world.db().to_str().unwrap()]).fails(5, "already exists");
    assert_eq!(left(&world, "elsewhere"), [""; 0]);
    sound(&world, &world.db());
}

#[test]
fn a_copy_made_while_others_write_is_whole() {
    let world = World::sample();
    let asking = |login: &str, resource: &str| {
        let script = format!(
            "for n in $(seq 25); do {ACCESS} request {resource} --reason busy --json >{login} &&
                 {ACCESS} withdraw $(sed -n 's/^ *{{* *\"id\": *\\([0-9]*\\),.*/\\1/p' {login} | head -n 1) || exit 1; done"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("ACCESS_DB", world.db()).env("ACCESS_TEST_USER", login);
        command.env("ACCESS_TEST_NOW", world.now().to_string()).stdout(Stdio::null()).current_dir(world.folder());
        command.spawn().unwrap()
    };
    let mut writers = ["bob", "carol", "dave", "frank"].map(|login| asking(login, "target:billing-db"));
    let mut copies = Vec::new();
    while writers.iter_mut().any(|writer| writer.try_wait().unwrap().is_none()) {
        let to = world.folder().join(format!("copy-{}.db", copies.len()));
        world.run("root", &["backup", to.to_str().unwrap()]).ok();
        copies.push(to);
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    let count = |db: &Path| -> i64 {
        let log = world.run("olivia", &["--db", db.to_str().unwrap(), "audit", "verify", "--json"]).ok();
        log.json()["entries"].as_i64().unwrap()
    };
    for copy in &copies {
        sound(&world, copy);
    }
    let counts: Vec<i64> = copies.iter().map(|copy| count(copy)).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(count(&world.db()), 1 + 4 * 25 * 2, "nobody's work was lost to a backup");
    assert!(counts.iter().any(|&entries| 1 < entries && entries < 201), "some were made in the midst: {counts:?}");
}

#[test]
fn a_database_that_is_not_whole_is_not_copied() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.rows("UPDATE grant SET ends_at = ends_at + 1");
    backup(&world).fails(65, "the database is damaged, so it was not copied: grant 1 is not as it was recorded");
    assert_eq!(left(&world, "copy.db"), [""; 0]);
    world.rows("UPDATE grant SET ends_at = ends_at - 1");
    backup(&world).ok();
}

#[test]
fn a_backup_that_can_not_be_made_leaves_nothing() {
    let world = World::sample();
    world
        .run("root", &["backup", "no/such/folder/copy.db"])
        .fails(65, "there is no folder no/such/folder\nhint: create it");
    assert_eq!(left(&world, "no"), [""; 0]);
    World::empty().run("root", &["backup", "copy.db"]).fails(69, "there is no access database");
}

#[test]
fn a_backup_killed_in_the_middle_leaves_no_file_by_that_name() {
    let world = large();
    let mut killed = 0;
    for _ in 0..3 {
        let mut command = world.command("root", &["backup", copy(&world).to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let draft = world.folder().join(format!("copy.db.new-{}", child.id()));
        while !draft.exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it neither begins nor ends");
        }
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // It was faster than we: then the copy is whole.
            sound(&world, &copy(&world));
            fs::remove_file(copy(&world)).unwrap();
        } else {
            killed += 1;
            assert!(!copy(&world).exists());
        }
    }
    assert!(killed > 0, "none was killed in the middle");
    for draft in left(&world, "copy.db") {
        let mode = fs::metadata(world.folder().join(&draft)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{draft} is nobody else's");
    }
    backup(&world).ok();
    sound(&world, &copy(&world));
}
