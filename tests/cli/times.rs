//! Times and lengths, as people type them and as they are shown.

use serde_json::{Value, json};

use crate::harness::{Ran, World, shows};

/// As `World::run`, in this time zone and for a wide terminal.
fn run_in(zone: &str, world: &World, login: &str, args: &[&str]) -> Ran {
    let mut command = world.command(login, args);
    let output = command.env("TZ", zone).env("COLUMNS", "160").output().unwrap();
    Ran {
        line: format!("{login}$ TZ={zone} access {}", args.join(" ")),
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn ask_in(zone: &str, world: &World, more: &[&str]) -> Ran {
    run_in(zone, world, "bob", &[&["request", "target:orders-db", "--reason", "testing"][..], more].concat())
}

/// The request that a dry run in Berlin would file.
fn would(world: &World, more: &[&str]) -> Value {
    ask_in("Europe/Berlin", world, &[more, &["--dry-run", "--json"]].concat()).ok().json()
}

#[test]
fn a_length_is_never_rounded_over_a_unit() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1d"]);
    world.pass("15m10s");
    let table = |says: &str| run_in("UTC", &world, "bob", &["list"]).ok().says(says);
    table("active, 23h44m left").says("15m ago");
    run_in("UTC", &world, "bob", &["check", "target:orders-db"]).ok().says("23h44m left");
    run_in("UTC", &world, "bob", &["resources"]).ok().says("23h44m left");
    run_in("UTC", &world, "bob", &["whoami"]).ok().says("  23h44m left, until");
    run_in("UTC", &world, "bob", &["show", "1"]).ok().says("(in 23h44m)").says("(15m ago)");
    world.pass("44m30s");
    table("23h left").says("59m ago");
    world.pass("22h");
    table("1h left").says("22h59m ago");
    world.pass("10m30s");
    table("49m left").says("23h10m ago");
}

#[test]
fn a_length_is_written_in_one_way_everywhere() {
    let world = World::sample();
    let rule = "[[rules]]\nname = \"short\"\nmax_duration = \"90m\"\nmatch = { resources = [\"target:*\"] }\n";
    let team = format!("{}\n{rule}", crate::harness::TEAM);
    world.apply("olivia", &team).ok().says("max_duration: 1h30m");
    world.apply("olivia", &team.replace("\"90m\"", "\"150 minutes\"")).ok().says("max_duration: 1h30m → 2h30m");
    world.run("olivia", &["team", "show"]).ok().says("max_duration = \"2h30m\"");
    world.run("alice", &["inbox"]).ok().says("1h30m → 2h30m");
    let asks = |length| world.run("bob", &["request", "target:orders-db", "-r", "testing", "-d", length]);
    asks("3 hours").fails(3, "at most 2h30m");
    asks("2h15").ok().says("for 2h15m");
    assert_eq!(world.json("bob", &["show", "1"])["duration"], "2h15m");
    world.run("bob", &["list"]).ok().says("2h15m");
    world.run("alice", &["approve", "1", "--yes"]).ok().says("(in 2h15m)");
}

#[test]
fn days_are_shown_as_days_and_whole_weeks_as_weeks() {
    let world = World::sample();
    let rule = "[[rules]]\nname = \"long\"\nmax_duration = \"90d\"\nmatch = { longer_than = \"30d\" }\n";
    world.apply("olivia", &format!("{}\n{rule}", crate::harness::TEAM)).ok().says("max_duration: 90d");
    let shown =
        world.run("olivia", &["team", "show"]).ok().says("max_duration = \"90d\"").says("longer_than = \"30d\"");
    world.apply("olivia", &shown.out).ok().says("Nothing changes");
    for (typed, shown, stored) in [("30d", "30d", "4w2d"), ("30d4h", "30d4h", "4w2d4h"), ("14d", "2w", "2w")] {
        let id = world.request("bob", "target:orders-db", &["--duration", typed]);
        world.run("bob", &["list"]).ok().says(&format!(" {shown} "));
        assert_eq!(world.json("bob", &["show", &id])["duration"], shown);
        let last = &world.json("alice", &["audit", "--action", "request.submitted"])[0];
        assert_eq!(last["detail"]["asked"]["end"]["after"], stored, "{last:#}");
        world.run("bob", &["withdraw", &id]).ok();
    }
    world.run("bob", &["request", "target:orders-db", "-r", "testing", "-d", "91d"]).fails(3, "at most 90d");
}

#[test]
fn sentences_have_their_times_in_the_zone_of_the_reader() {
    let world = World::sample();
    let until = "2026-11-24T16:00:00Z";
    ask_in("Europe/Berlin", &world, &["--until", "17:00"]).ok();
    for (login, args) in [("bob", &["show", "1"][..]), ("alice", &["inbox"]), ("alice", &["audit"])] {
        let ran = run_in("Europe/Berlin", &world, login, args).ok().says("until 2026-11-24 17:00 +01:00");
        assert!(!ran.out.contains("00Z"), "{ran:?}");
        let json = run_in("Europe/Berlin", &world, login, &[args, &["--json"]].concat()).ok();
        assert!(json.out.contains(until), "{json:?}");
    }
    let refused = || ask_in("Europe/Berlin", &world, &["--until", "2026-11-24T08:00:00Z"]);
    assert!(refused().err.contains("the end asked for, 2026-11-24 09:00 +01:00, has passed"), "{:?}", refused());
}

#[test]
fn every_option_takes_what_people_type() {
    let world = World::sample();
    // Tuesday, 10:00 in Berlin.
    for (flag, typed, until) in [
        ("--until", "5pm", "2026-11-24T16:00:00Z"),
        ("--until", "17:00", "2026-11-24T16:00:00Z"),
        ("--until", "09:30", "2026-11-25T08:30:00Z"),
        ("--until", "tomorrow 09:00", "2026-11-25T08:00:00Z"),
        ("-u", "mon 09:00", "2026-11-30T08:00:00Z"),
        ("-u", "monday 9am", "2026-11-30T08:00:00Z"),
        ("-u", "2026-12-01T17:00Z", "2026-12-01T17:00:00Z"),
        ("-u", "2026-12-01 17:00", "2026-12-01T16:00:00Z"),
        ("-u", "in 4 hours", "2026-11-24T13:00:00Z"),
    ] {
        assert_eq!(would(&world, &[flag, typed])["until"], until, "{typed}");
    }
    for (typed, length) in [("4 hours", "4h"), ("1h30", "1h30m"), ("1h30m", "1h30m"), ("90 minutes", "1h30m")] {
        assert_eq!(would(&world, &["--duration", typed])["duration"], length);
    }
    assert_eq!(would(&world, &["--start", "tomorrow 9am"])["start"], "2026-11-25T08:00:00Z");

    world.request("bob", "target:orders-db", &[]);
    let berlin = |login: &str, args: &[&str]| run_in("Europe/Berlin", &world, login, args);
    let edited = berlin("bob", &["edit", "1", "--until", "5pm", "--start", "4pm", "--dry-run", "--json"]).ok().json();
    shows(&edited, &json!({ "until": "2026-11-24T16:00:00Z", "start": "2026-11-24T15:00:00Z" }));
    berlin("alice", &["approve", "1", "--until", "5pm", "--yes"]).ok().says("until 2026-11-24 17:00 +01:00 (in 7h)");
    berlin("bob", &["extend", "1", "--duration", "90 min", "--reason", "More"]).ok().says("for 1h30m");
    let since = |typed: &str| berlin("bob", &["list", "--all", "--since", typed, "--json"]).ok().json();
    assert_eq!(since("today 10:00").as_array().unwrap().len(), 2);
    assert_eq!(since("09:59").as_array().unwrap().len(), 2);
    // Still to come today, so yesterday's.
    assert_eq!(since("10:01").as_array().unwrap().len(), 2);
    assert_eq!(since("today 10:01").as_array().unwrap().len(), 0);
    let audit = |args: &[&str]| berlin("alice", &[&["audit", "--json"], args].concat()).ok().json();
    assert!(audit(&["--since", "10:00", "--until", "5pm"]).as_array().unwrap().len() > 2);
    assert_eq!(audit(&["--until", "yesterday 5pm"]), json!([]));
    berlin("olivia", &["team", "apply", "-", "--dry-run", "--against", "2 weeks"]).exits(65);
    berlin("bob", &["request", "role:admin", "-r", "x", "--wait", "--timeout", "1 second"]).exits(1);
    berlin("bob", &["notify", "set", "all", "--digest", "daily", "--at", "5pm"]).ok().says("daily 17:00");
}

#[test]
fn a_time_that_has_passed_today_is_tomorrows_and_that_is_said() {
    let world = World::sample();
    let ran = ask_in("Europe/Berlin", &world, &["--until", "09:30"]).ok();
    let ran = ran.says("until 2026-11-25 09:30 +01:00");
    assert!(ran.err.contains("hint: 09:30 has passed today; using 2026-11-25 09:30 +01:00"), "{}", ran.err);
    let ran = run_in("Europe/Berlin", &world, "bob", &["list", "--since", "17:00"]).ok();
    assert!(ran.err.contains("using 2026-11-23 17:00 +01:00"), "{}", ran.err);
}

#[test]
fn a_length_where_a_time_belongs_gets_a_hint() {
    let world = World::sample();
    for (args, hint) in [
        (&["list", "--since", "1h"][..], "hint: write '1h ago'\n"),
        (&["audit", "--since", "30 days"], "hint: write '30d ago'\n"),
        (&["audit", "--until", "1h"], "hint: write '1h ago'\n"),
        (&["request", "target:orders-db", "-r", "x", "--until", "4h"], "hint: write 'in 4h'\n"),
        (&["edit", "1", "--start", "4h"], "hint: write 'in 4h'\n"),
    ] {
        let ran = world.run("bob", args).fails(2, "that is a length, not a time");
        assert!(ran.err.contains(hint), "{}", ran.err);
    }
    world.run("bob", &["request", "target:orders-db", "-r", "x", "-d", "90"]).fails(2, "needs a unit, as in 90m");
}

#[test]
fn the_hour_that_comes_twice_is_the_first_that_is_to_come() {
    let world = World::empty();
    // 02:15 summer time on the night of the change.
    world.set_clock("2026-10-25T00:15:00Z");
    world.run("olivia", &["init", "--sample"]).ok();
    let ran = ask_in("Europe/Berlin", &world, &["--until", "02:30"]).ok();
    assert!(ran.err.contains("occurs twice") && ran.err.contains("using 2026-10-25 02:30 +02:00"), "{}", ran.err);
    let ran = ran.says("until 2026-10-25 02:30 +02:00");
    assert_eq!(world.json("bob", &["show", "1"])["until"], "2026-10-25T00:30:00Z", "{ran:?}");
    world.run("bob", &["withdraw", "1"]).ok();
    assert_eq!(would(&world, &["--until", "02:10"])["until"], "2026-10-25T01:10:00Z", "the first has passed");
    assert_eq!(would(&world, &["--start", "02:20"])["start"], "2026-10-25T00:20:00Z");
    assert_eq!(would(&world, &["--until", "02:30 +01:00"])["until"], "2026-10-25T01:30:00Z");
    world.set_clock("2026-10-25T01:15:00Z");
    assert_eq!(would(&world, &["--until", "02:30"])["until"], "2026-10-25T01:30:00Z", "02:15 winter time");
    let shown = run_in("Europe/Berlin", &world, "bob", &["show", "1"]).ok();
    shown.says("submitted    2026-10-25 02:15 +02:00 (1h ago)");
}

#[test]
fn the_hour_that_does_not_exist_is_an_error() {
    let world = World::empty();
    world.set_clock("2026-03-28T20:00:00Z");
    world.run("olivia", &["init", "--sample"]).ok();
    for typed in ["02:30", "2026-03-29 02:30", "tomorrow 2:30am", "sun 02:30"] {
        for flag in ["--until", "--start"] {
            let says = "2026-03-29 02:30 does not exist: the clocks go forward then, from 02:00 +01:00 to 03:00 +02:00";
            let ran = ask_in("Europe/Berlin", &world, &[flag, typed]).fails(2, says);
            assert!(ran.err.contains("hint: add the offset"), "{}", ran.err);
        }
    }
    assert_eq!(would(&world, &["--until", "03:00"])["until"], "2026-03-29T01:00:00Z");
}

#[test]
fn an_unknown_time_zone_is_an_error_where_times_are_read_and_a_warning_where_they_are_shown() {
    let world = World::sample();
    world.request("bob", "connection:prod-aws", &[]);
    for zone in ["Europe/Pariss", "Paris", ":/dev/null", "\u{1b}[2J"] {
        let ran = ask_in(zone, &world, &["--until", "17:00"]).fails(2, "this machine knows no such time zone");
        assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
        ask_in(zone, &world, &["--until", "17:00 +01:00", "--dry-run"]).ok();
        let shown = run_in(zone, &world, "bob", &["show", "1"]).ok().says("2026-11-24 09:00 UTC");
        assert!(shown.err.contains("warning: TZ is ") && shown.err.contains("shown in UTC"), "{}", shown.err);
        // Nothing is shown here that depends on it.
        assert_eq!(run_in(zone, &world, "bob", &["list", "--json"]).ok().err, "");
        assert_eq!(run_in(zone, &world, "bob", &["check", "target:orders-db"]).exits(1).err, "");
    }
    // What POSIX allows besides names.
    let posix = run_in("CET-1CEST,M3.5.0,M10.5.0/3", &world, "bob", &["show", "1"]).ok();
    assert_eq!(posix.says("2026-11-24 10:00 +01:00").err, "");
}

#[test]
fn an_unknown_time_zone_in_the_team_file_is_a_warning() {
    let world = World::sample();
    let of_bob = |zone: &str| {
        let bob = "[members.bob]\n";
        assert!(crate::harness::TEAM.contains(bob));
        crate::harness::TEAM.replace(bob, &format!("{bob}timezone = \"{zone}\"\n"))
    };
    let unknown = "warning: this machine does not know the time zone Europe/Pariss; UTC is used for";
    let ran = world.apply("olivia", &of_bob("Europe/Pariss")).ok();
    assert!(ran.err.contains(&format!("{unknown} bob\n")), "{}", ran.err);
    let ran = world.run("bob", &["notify"]).ok();
    assert!(ran.err.contains(&format!("{unknown} your daily digests")), "{}", ran.err);
    let ran = world.apply("olivia", &of_bob("Europe/Paris")).ok();
    assert!(!ran.err.contains("time zone"), "{}", ran.err);
    assert_eq!(world.run("bob", &["notify"]).ok().says("Europe/Paris").err, "");
    world.apply("olivia", &of_bob("not a zone")).fails(65, "a timezone is written like Europe/Paris");
}

#[test]
fn local_times_carry_their_offset_wherever_they_are_shown() {
    let world = World::sample();
    let kolkata = |login: &str, args: &[&str]| run_in("Asia/Kolkata", &world, login, args).ok();
    let asked = run_in("Asia/Kolkata", &world, "bob", &["request", "target:orders-db", "-r", "x", "-u", "17:00"]).ok();
    asked.says("until 2026-11-24 17:00 +05:30");
    kolkata("alice", &["approve", "1", "--yes"]).says("until 2026-11-24 17:00 +05:30 (in 2h30m)");
    kolkata("bob", &["show", "1"]).says("2026-11-24 14:30 +05:30");
    kolkata("bob", &["whoami"]).says("until 17:00 +05:30");
    kolkata("alice", &["who", "target:orders-db"]).says("2026-11-24 17:00 +05:30");
    kolkata("alice", &["audit"]).says("2026-11-24 14:30 +05:30");
    let dry = ["request", "connection:prod-aws", "-r", "x", "--start", "18:00", "--dry-run"];
    kolkata("bob", &dry).says("from 2026-11-24 18:00 +05:30").says("lapses       2026-12-01 14:30 +05:30");
}

#[test]
fn the_manual_page_has_every_form() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/access.1")).unwrap();
    for (form, same) in access::time_input::LENGTHS.into_iter().chain(access::time_input::TIMES) {
        let escaped = |text: &str| text.replace('-', "\\-");
        let row = format!("\\fB{}\\fR\n{}\n", escaped(form), escaped(same));
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn a_request_that_is_wrong_in_many_ways_is_told_all_of_them() {
    let world = World::sample();
    let rules = "[[rules]]\nname = \"short\"\nmax_duration = \"30m\"\n\n[[rules]]\nname = \"ticket\"\nticket = \"OPS-[0-9]+\"\nreason_min = 12\n";
    world.apply("olivia", &format!("{}\n{rules}", crate::harness::TEAM)).ok();
    let ran = world.run("bob", &["request", "target:orders-db", "-r", "testing", "-d", "45m"]);
    let ran = ran.fails(3, "error: the rule \"short\" says: at most 30m; the rule \"ticket\" says: it needs a ticket");
    let hints: Vec<&str> = ran.err.lines().skip(1).collect();
    assert_eq!(hints[0], "hint: this length is allowed: `--duration 30m`", "{}", ran.err);
    assert!(hints[1].contains("--ticket") && hints[2].contains("--reason"), "{}", ran.err);
    assert_eq!(hints.len(), 4, "{}", ran.err);
    // One attempt, one entry, with all of it.
    let entries = world.json("olivia", &["audit", "--action", "attempt.refused"]);
    let why = entries[0]["detail"]["why"].as_str().unwrap();
    assert!(why.contains("30m") && why.contains("OPS-[0-9]+") && why.contains("12 characters"), "{why}");
    assert_eq!(entries.as_array().unwrap().len(), 1);
    // What a refusal names passes, and without a length it is the default.
    let asks = ["request", "target:orders-db", "-r", "testing a fix", "-t", "OPS-1"];
    world.run("bob", &[&asks[..], &["--dry-run", "-d", "30m"]].concat()).ok();
    world.run("bob", &asks).ok().says("for 30m");
    world.run("bob", &["request"]).fails(2, "RESOURCE and --reason are missing");
    world.run("bob", &["request", "target:orders-db"]).fails(2, "--reason is missing");
    world.run("bob", &["request", "-r", "x"]).fails(2, "RESOURCE is missing");
}

#[test]
fn a_refusal_names_no_more_than_ten_things() {
    let world = World::sample();
    let rule = |n: usize| format!("[[rules]]\nname = \"r{n}\"\nmax_duration = \"{n}m\"\n\n");
    let rules: String = (1..=15).map(rule).collect();
    world.apply("olivia", &format!("{}\n{rules}", crate::harness::TEAM)).ok();
    let ran = world.run("bob", &["request", "target:orders-db", "-r", "x", "-d", "1h"]).fails(3, "; and 5 more");
    assert!(ran.err.contains("`--duration 1m`"), "{}", ran.err);
    world.run("bob", &["request", "target:orders-db", "-r", "x"]).ok().says("for 1m");
}
