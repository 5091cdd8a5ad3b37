//! What a long history shows: pages, limits, and counts that stop at 1,000.

use std::process::Command;

use crate::harness::{ACCESS, World};

/// Copies what bob's first request made, this many times. Only for what shows it: no record would be like this.
fn lengthen(world: &World, times: u32) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})");
    let next = "(SELECT max(seq) FROM event) + i";
    let last = "(SELECT max(seq) FROM event)";
    world.rows(&format!(
        "INSERT INTO event {numbers} SELECT {next}, at, actor, os_user, action, request, randomblob(32),
                 json_set(body, '$.seq', {next})
             FROM n, event WHERE seq = 2;
         INSERT INTO request (state, requester, filed_by, resource, length, reason, submitted_at, lapses_at, seq,
             requester_login, filer_login)
             {numbers} SELECT 'denied', requester, filed_by, resource, length, reason, submitted_at, lapses_at, {last},
                 requester_login, filer_login FROM n, request WHERE id = 1;
         INSERT INTO notification (seq, member, kind)
             {numbers} SELECT seq, 'alice', kind FROM n, notification WHERE id = 1;"
    ));
}

fn world(times: u32) -> World {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    lengthen(&world, times);
    world
}

#[track_caller]
fn lines_and_more(world: &World, login: &str, args: &[&str]) -> (usize, String) {
    let out = world.run(login, args).ok().out;
    let mut lines: Vec<&str> = out.lines().skip(1).collect();
    let more = lines.pop_if(|line| line.starts_with('…')).unwrap_or_default().to_owned();
    (lines.len(), more)
}

#[test]
fn an_inbox_shows_50_unless_a_limit_is_given_and_all_in_json() {
    let world = world(120);
    let shown = |args: &[&str]| lines_and_more(&world, "alice", &[&["inbox"], args].concat());
    assert_eq!(shown(&[]), (50, "… and 71 more (--limit 0 shows all)".to_owned()));
    assert_eq!(shown(&["--limit", "3"]), (3, "… and 118 more (--limit 0 shows all)".to_owned()));
    assert_eq!(shown(&["--limit", "121"]), (121, String::new()));
    assert_eq!(shown(&["--limit", "0", "--all"]), (121, String::new()));
    let ids = |args: &[&str]| -> Vec<i64> {
        let rows = world.json("alice", &[&["inbox"], args].concat());
        rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    let all = ids(&[]);
    assert_eq!(all.len(), 121);
    assert!(all.is_sorted_by(|newer, older| newer > older), "the newest first, each once");
    assert_eq!(ids(&["--limit", "2"]), all[..2]);
    world.run("alice", &["inbox", "--limit", "2", "--mark-read"]).exits(2);
}

#[test]
fn an_inbox_longer_than_a_page_has_each_notification_once() {
    let world = world(1_234);
    assert_eq!(world.json("alice", &["inbox"]).as_array().unwrap().len(), 1_235);
    assert_eq!(world.json("alice", &["inbox", "--all"]).as_array().unwrap().len(), 1_235);
    assert_eq!(world.json("alice", &["inbox", "--mark-read"])["marked"], 1_235);
    assert_eq!(world.json("alice", &["inbox"]).as_array().unwrap().len(), 0);
    assert_eq!(world.json("alice", &["inbox", "--all"]).as_array().unwrap().len(), 1_235);
}

#[test]
fn marking_all_as_read_takes_more_than_one_transaction_of_ten_thousand() {
    let world = world(21_000);
    assert_eq!(world.json("alice", &["inbox", "--mark-read"])["marked"], 21_001);
    assert_eq!(world.rows("SELECT count(*) FROM notification WHERE member = 'alice' AND read_at IS NULL"), ["0"]);
}

#[test]
fn what_a_limit_leaves_out_is_counted_up_to_a_thousand() {
    let (few, many) = (world(1_040), world(1_050));
    for (args, left) in [
        (&["inbox"][..], 991),
        (&["inbox", "--all"], 991),
        (&["audit"], 992),
        (&["list", "--all"], 991),
        (&["list", "--state", "denied"], 990),
    ] {
        let (_, more) = lines_and_more(&few, "alice", args);
        assert_eq!(more, format!("… and {left} more (--limit 0 shows all)"), "{args:?}");
        let (_, more) = lines_and_more(&many, "alice", &[args, &["--limit", "40"]].concat());
        assert_eq!(more, "… and more than 1,000 more (--limit 0 shows all)", "{args:?}");
    }
    let (shown, more) = lines_and_more(&many, "bob", &["list", "--mine", "--all", "--limit", "40"]);
    assert_eq!((shown, &*more), (40, "… and more than 1,000 more (--limit 0 shows all)"));
    assert_eq!(many.json("bob", &["list", "--mine", "--all"]).as_array().unwrap().len(), 1_051);
}

#[test]
fn whoami_counts_what_is_unread_up_to_a_thousand() {
    let world = world(999);
    let profile = world.json("alice", &["whoami"]);
    assert_eq!((&profile["unread"], profile.get("more_unread")), (&1000.into(), None));
    lengthen(&world, 1);
    let profile = world.json("alice", &["whoami"]);
    assert_eq!((&profile["unread"], &profile["more_unread"]), (&1000.into(), &true.into()));
    world.run("alice", &["whoami"]).ok().says("more than 1,000");
}

#[test]
fn a_new_member_with_the_name_of_one_who_had_many_notifications_has_none_of_them() {
    let world = world(1_100);
    let team = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/team.toml")).unwrap();
    let without = team.replace("[members.heidi]", "[members.hedda]");
    world.rows("UPDATE notification SET member = 'heidi' WHERE id > 1");
    assert_eq!(world.json("heidi", &["whoami"])["unread"], 1000);
    world.apply("olivia", &without).ok();
    world.apply("olivia", &team).ok();
    let unread = world.json("heidi", &["whoami"])["unread"].as_u64().unwrap();
    assert!(unread <= 1, "{unread}");
    assert_eq!(world.json("heidi", &["inbox", "--all"]).as_array().unwrap().len() as u64, unread);
}

#[test]
fn what_is_written_is_synced_without_its_times() {
    let world = World::sample();
    let trace = world.folder().join("trace");
    let command = world.command("bob", &["request", "target:orders-db", "--reason", "x", "--yes"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace).arg(ACCESS).args(command.get_args());
    strace.env_clear().current_dir(world.folder());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match strace.status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return eprintln!("skipped: no strace"),
        Err(error) => panic!("{error}"),
        Ok(status) if !status.success() => return eprintln!("skipped: strace may not trace here"),
        Ok(_) => {}
    }
    assert_eq!(world.state("1"), "pending");
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("fdatasync("), "{trace}");
    assert!(!trace.contains("fsync("), "the bundled SQLite is built with HAVE_FDATASYNC (.cargo/config.toml)\n{trace}");
}
