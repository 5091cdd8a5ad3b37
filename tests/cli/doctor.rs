//! `doctor`: what is wrong with an installation, and what to do about it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::faults::certificate;
use crate::harness::{TEAM, World, shows};
use crate::post::{Server, configure, fresh, private, webhook};

/// What it finds about one thing, and the exit code with it.
fn finding(world: &World, what: &str) -> (i32, Value) {
    let ran = world.run("root", &["doctor", "--json"]);
    let findings = ran.json();
    let about = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
    (ran.code, about.unwrap_or_else(|| panic!("nothing about {what}: {findings:#}")).clone())
}

/// This is found to be wrong, which gives exit code 1, with these words and with what to do.
#[track_caller]
fn wrong(world: &World, what: &str, found: &str, mend: &str) {
    let (code, finding) = finding(world, what);
    assert_eq!((code, &finding["health"]), (1, &json!("wrong")), "{finding:#}");
    assert!(finding["found"].as_str().unwrap().contains(found), "{finding:#}");
    assert!(finding["mend"].to_string().contains(mend), "{finding:#}");
}

#[test]
fn a_sound_installation_is_ok_in_every_respect() {
    let world = World::sample();
    let findings = world.json("root", &["doctor"]);
    let whats = ["file", "version", "structure", "record", "clock", "expire", "reviews", "outbox", "delivery"];
    let expected = whats.map(|what| json!({ "what": what, "health": "ok", "mend": [] }));
    shows(&findings, &json!(expected));
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["found"] != ""), "{findings:#}");
    let ran = world.run("root", &["doctor"]).ok();
    assert_eq!(ran.out.lines().count(), whats.len(), "{}", ran.out);
    assert!(ran.out.lines().all(|line| line.starts_with("ok ")), "{}", ran.out);
}

#[test]
fn a_way_out_that_is_broken_is_wrong_before_anybody_has_to_be_told() {
    let world = World::sample();
    shows(
        &finding(&world, "delivery").1,
        &json!({ "health": "ok", "found": "config.toml configures no channel, so members have to look into their inbox" }),
    );
    let secret = private(&world, "token", "xoxb-1\n");
    configure(
        &world,
        &format!("from = \"a@b.example\"\n[smtp]\nhost = \"127.0.0.1\"\n[slack]\ntoken_file = \"{secret}\"\n"),
    );
    shows(&finding(&world, "delivery").1, &json!({ "health": "ok", "found": "by email, slack" }));
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    wrong(&world, "delivery", "can be read or written by others", "chmod 600");
    configure(&world, "[smtp\n");
    wrong(&world, "delivery", "config.toml, line 1", "the keys are");
}

#[test]
fn it_needs_no_member_and_records_nothing() {
    let world = World::sample();
    world.run("stranger", &["doctor"]).ok();
    world.pass("1h");
    world.run("bob", &["doctor"]).ok();
    assert_eq!(world.rows("SELECT count(*), max(last_seq), max(expire_ran_at) FROM event, team"), ["1|1|"]);
}

#[test]
fn late_expire_is_a_warning_only_while_a_grant_has_an_end() {
    let world = World::sample();
    world.grant("carol", "target:orders-db", "alice", &["--duration", "permanent"]);
    world.pass("1d");
    assert_eq!(finding(&world, "expire").1["health"], "ok", "there is nothing to expire");

    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    let (code, never) = finding(&world, "expire");
    shows(&never, &json!({ "health": "warning", "found": "never ran, and 1 grant has an end" }));
    assert_eq!(code, 0, "a warning is not wrong");
    assert!(never["mend"][1].as_str().unwrap().contains("access expire"), "{never}");

    world.run("root", &["expire"]).ok();
    world.pass("15m");
    shows(&finding(&world, "expire").1, &json!({ "health": "ok", "mend": [] }));
    world.pass("1s");
    let late = json!({ "health": "warning", "found": "last ran 15m ago, and 1 grant has an end" });
    shows(&finding(&world, "expire").1, &late);
    world.run("root", &["doctor"]).ok().says("warning  expire ").says("→ elsewhere, a line for crontab(5)");

    world.run("alice", &["revoke", "2"]).ok();
    assert_eq!(finding(&world, "expire").1["health"], "ok");
}

#[test]
fn a_clock_behind_the_record_is_wrong() {
    let world = World::sample();
    world.set_clock("2026-11-24T08:59:00Z");
    assert_eq!(finding(&world, "clock").1["health"], "ok", "a minute is let pass");
    world.set_clock("2026-11-24T08:58:59Z");
    wrong(&world, "clock", "1m1s before the last recorded time", "doctor --accept-clock");
    world.run("olivia", &["doctor", "--accept-clock"]).ok();
    assert_eq!(finding(&world, "clock"), (0, finding(&world, "clock").1));
}

#[test]
fn a_record_that_is_not_whole_is_wrong() {
    let world = World::sample();
    world.rows("UPDATE member SET role = 'admin' WHERE name = 'bob'");
    wrong(&world, "record", "1 fault; the first: member:bob is not as it was recorded", "audit verify");
    assert_eq!(finding(&world, "structure").1["health"], "ok");
    world.run("root", &["doctor"]).exits(1).says("WRONG    record ");
}

#[test]
fn a_row_that_points_nowhere_is_wrong() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    // The shell, unlike access, does not watch over references.
    world.rows("DELETE FROM request WHERE id = 1");
    wrong(&world, "structure", "grant 1 refers to a row of request that does not exist", "restore the newest backup");
}

#[test]
fn a_damaged_page_is_found_and_named_as_damage() {
    let world = World::sample();
    for _ in 0..3 {
        world.request("bob", "target:orders-db", &[]);
        world.run("bob", &["withdraw", &world.rows("SELECT max(id) FROM request")[0]]).ok();
    }
    let whole = fs::read(world.db()).unwrap();
    let size: u64 = world.rows("PRAGMA page_size")[0].parse().unwrap();
    for table in ["notification", "request", "outbox", "notification_by_member"] {
        let page: u64 =
            world.rows(&format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"))[0].parse().unwrap();
        let file = fs::OpenOptions::new().write(true).open(world.db()).unwrap();
        file.write_all_at(&vec![0xa5; size as usize], (page - 1) * size).unwrap();
        let ran = world.run("root", &["doctor", "--json"]).exits(1);
        let findings = ran.json();
        let damage = findings.as_array().unwrap().iter().any(|finding| {
            finding["health"] == "wrong"
                && finding["mend"].to_string().contains("restore")
                && finding["what"] != "record"
        });
        assert!(damage, "{table}: {findings:#}");
        fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn a_database_that_can_not_be_opened_is_a_finding() {
    let world = World::empty();
    wrong(&world, "file", "there is no access database", "access init");
    world.run("olivia", &["init", "--sample"]).ok();
    let whole = fs::read(world.db()).unwrap();

    fs::set_permissions(world.db(), Permissions::from_mode(0o644)).unwrap();
    wrong(&world, "file", "can be read or written by others (mode 0644)", "chmod 600");
    fs::set_permissions(world.db(), Permissions::from_mode(0o600)).unwrap();

    fs::set_permissions(world.folder(), Permissions::from_mode(0o777)).unwrap();
    wrong(&world, "file", "can be written by others (mode 0777)", "chmod 700");
    fs::set_permissions(world.folder(), Permissions::from_mode(0o700)).unwrap();

    for (bytes, found) in [
        (&b""[..], "is empty"),
        (&whole[..100], "not an SQLite database"),
        (&b"Dear diary, this is no database at all, but a text."[..], "not an SQLite database"),
    ] {
        fs::write(world.db(), bytes).unwrap();
        let ran = world.run("root", &["doctor", "--json"]).exits(1);
        shows(&ran.json(), &json!([{ "what": "file", "health": "wrong" }]));
        let told = ran.json()[0]["found"].as_str().unwrap().to_owned();
        assert!(told.contains(found) || told.contains("damaged"), "{told}");
        assert_ne!(ran.json()[0]["mend"], json!([]), "{ran:?}");
    }

    fs::write(world.db(), &whole[..whole.len() / 2]).unwrap();
    let cut = world.run("root", &["doctor", "--json"]).exits(1);
    assert!(cut.json().as_array().unwrap().iter().any(|finding| finding["health"] == "wrong"), "{cut:?}");

    fs::write(world.db(), &whole).unwrap();
    world.run("root", &["doctor"]).ok();
    world.rows("PRAGMA user_version = 999");
    wrong(&world, "file", "newer version of access", "install that version");
    world.rows("PRAGMA user_version = 1; PRAGMA application_id = 7");
    wrong(&world, "file", "another program's database", "--db");
}

#[test]
fn a_checkpoint_kept_elsewhere_tells_of_what_a_restore_lost() {
    let world = World::of("olivia", TEAM);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent"]);
    let copy = world.folder().join("copy.db");
    world.run("root", &["backup", copy.to_str().unwrap()]).ok();
    world.run("alice", &["revoke", "1"]).ok();
    let kept = world.folder().join("checkpoints");
    fs::write(&kept, world.run("alice", &["audit", "checkpoint", "--json"]).ok().out).unwrap();
    let against = ["doctor", "--against", kept.to_str().unwrap()];
    world.run("root", &against).ok().says("unchanged since 1 checkpoint");

    fs::copy(&copy, world.db()).unwrap();
    assert!(world.may("bob", "target:orders-db"), "what was revoked since lives again");
    world.run("root", &["doctor"]).ok();
    let ran = world
        .run("root", &against)
        .exits(1)
        .says("WRONG    record ")
        .says("`access audit verify --against FILE`")
        .says("the log ends at entry ");
    let ran = ran.says("access revoked since is active again: revoke it (`access list --state active`)");
    assert!(!ran.out.contains("WRONG    structure"), "{}", ran.out);
    shows(&world.json("alice", &["list", "--state", "active"]), &json!([{ "id": 1 }]));

    world.run("alice", &["revoke", "1"]).ok();
    assert!(!world.may("bob", "target:orders-db"));
    world.run("root", &["doctor"]).ok();
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn what_cannot_be_read_hides_nothing_else_that_was_found() {
    let world = World::sample();
    assert!(world.sqlite("DROP TRIGGER event_no_delete; DELETE FROM event").status.success());
    wrong(&world, "clock", "the audit log is empty", "record");
    wrong(&world, "record", "the log ends at entry 0", "audit verify");
    assert_eq!(finding(&world, "outbox").1["health"], "ok");
}

#[test]
fn a_time_zone_that_this_machine_does_not_know_is_found() {
    let world = World::sample();
    let zones = |world: &World| {
        let findings: Value = world.run("root", &["doctor", "--json"]).ok().json();
        findings.as_array().unwrap().iter().find(|finding| finding["what"] == "time zones").cloned()
    };
    assert_eq!(zones(&world), None);
    let team = |zone: &str, default: &str| {
        let bob = "[members.bob]\n";
        let team = crate::harness::TEAM.replace(bob, &format!("{bob}timezone = \"{zone}\"\n"));
        format!("{team}\n[notifications]\ntimezone = \"{default}\"\n")
    };
    world.apply("olivia", &team("Europe/Pariss", "Mars/Base")).ok();
    let found = zones(&world).unwrap();
    let says = "this machine does not know Europe/Pariss (bob), Mars/Base (the team); UTC is used instead";
    shows(&found, &json!({ "health": "warning", "found": says }));
    assert!(found["mend"].to_string().contains("IANA database"), "{found:#}");
    world.apply("olivia", &team("Europe/Paris", "Asia/Tokyo")).ok();
    assert_eq!(zones(&world), None);
}

#[test]
fn nothing_is_sent_by_a_file_that_others_can_change() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    let (program, ran) = (world.folder().join("sendmail"), world.folder().join("ran"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\ncat > /dev/null\n", ran.display())).unwrap();
    configure(&world, &format!("sendmail = \"{}\"\nfrom = \"access@acme.example\"\n", program.display()));
    let config = world.folder().join(".config/access/config.toml");
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&program, 0o755);
    world.request("bob", "target:orders-db", &[]);
    for path in [&program, &config, &config.parent().unwrap().to_owned()] {
        let before = fs::metadata(path).unwrap().permissions().mode();
        mode(path, before | 0o020);
        world.run("root", &["deliver"]).fails(65, "cannot be used");
        assert_eq!(finding(&world, "delivery").1["health"], "wrong", "{}", path.display());
        assert!(!ran.exists());
        mode(path, before);
    }
    world.run("root", &["deliver"]).ok();
    assert!(ran.exists());
    configure(&world, "sendmail = \"sendmail\"\n");
    world.run("root", &["deliver"]).fails(65, "sendmail is not an absolute path");

    // Certificate authorities that others can change.
    let [ca, cert, key] = certificate(&world, "IP:127.0.0.1");
    let web = Server::web_encrypted(&world, &cert, &key);
    let hook = webhook(&world, "siem", &format!("https://127.0.0.1:{}/hook", web.port), "\"request.submitted\"");
    configure(&world, &format!("{hook}ca_file = \"{ca}\"\n"));
    mode(Path::new(&ca), 0o666);
    world.run("root", &["deliver"]).exits(1);
    assert!(web.got().is_empty());
    let errors = world.rows("SELECT error FROM outbox WHERE subscriber = 'webhook:siem' AND attempts > 0");
    assert!(errors[0].contains("not trusted"), "{errors:?}");
    mode(Path::new(&ca), 0o644);
    world.pass("2m");
    world.run("root", &["deliver"]).ok();
    assert_eq!(web.bodies("/hook").len(), 1);
}

#[test]
fn no_shared_log_is_reached_by_files_that_others_can_change() {
    let world = World::empty();
    let [ca, ..] = certificate(&world, "IP:127.0.0.1");
    configure(&world, &format!("[log]\nurl = \"postgresql://h1@127.0.0.1:1/acme\"\nca_file = \"{ca}\"\n"));
    let config = world.folder().join(".config/access/config.toml");
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (path, why) in [(&config, "[log] in"), (&Path::new(&ca).to_owned(), "its certificates are not trusted")] {
        mode(path, 0o622);
        let ran = world.run("root", &["log", "join"]).exits(69);
        assert!(ran.err.contains(why) && ran.err.contains("can be written by others"), "{}", ran.err);
        // It is there all the same: nobody is led to make a team.
        let list = world.run("root", &["list"]).exits(69);
        assert!(list.err.contains("there is no copy of the shared log"), "{}", list.err);
        mode(path, 0o644);
    }
    assert!(!world.run("root", &["log", "join"]).exits(69).err.contains("by others"));
}
