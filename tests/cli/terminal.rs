//! What a person meets at a terminal: forms, confirmations, a countdown; and what differs in a pipe.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access::domain::time::Timestamp;

use crate::harness::{ACCESS, START, World};
use crate::tmux::Terminal;

/// Starts the form, and waits for its first question.
fn form(world: &World) -> Terminal {
    let terminal = Terminal::access(world, "bob", &["request"]);
    terminal.shows("What do you need?");
    terminal
}

/// Answers the form's first question: a target.
fn form_up_to_the_duration(world: &World) -> Terminal {
    let terminal = form(world);
    // The letters of `target:billing-db`, in order, with gaps.
    terminal.text("tgtbill");
    terminal.shows_when("one match", |screen| screen.contains("target:billing-db") && !screen.contains("prod-k8s"));
    terminal.key("Enter").shows("For how long?");
    terminal
}

/// Answers the rest.
fn file_it(terminal: &Terminal) {
    terminal.shows("? Why?");
    terminal.text("OPS-7: wrong totals").key("Enter").shows("File this request?");
    terminal.key("Enter");
}

#[test]
fn a_form_asks_what_how_long_and_why() {
    let world = World::sample();
    let terminal = form_up_to_the_duration(&world);
    terminal.key("Down");
    terminal.shows_when("4 hours picked", |screen| {
        screen.lines().any(|line| line.starts_with('❯') && line.contains("4 hours"))
    });
    terminal.key("Enter");
    file_it(&terminal);
    terminal.exits(0);
    let request = world.json("bob", &["show", "1"]);
    assert_eq!(request["resource"], "target:billing-db");
    assert_eq!(request["reason"], "OPS-7: wrong totals");
    assert_eq!(request["duration"], "4h");
    assert!(terminal.cursor_is_shown());
}

#[test]
fn the_form_takes_a_duration_of_ones_own() {
    let world = World::sample();
    let terminal = form_up_to_the_duration(&world);
    terminal.key("Up");
    terminal.shows_when("Custom picked", |screen| {
        screen.lines().any(|line| line.starts_with('❯') && line.contains("Custom"))
    });
    terminal.key("Enter").shows("? How long?");
    terminal.text("soon").key("Enter").shows("✘ write a length or a time, such as 90m, 2d12h or 17:00");
    for _ in "soon".chars() {
        terminal.key("BSpace");
    }
    terminal.text("90m").key("Enter");
    file_it(&terminal);
    terminal.exits(0);
    assert_eq!(world.json("bob", &["show", "1"])["duration"], "1h30m");
}

#[test]
fn a_form_that_is_left_does_nothing() {
    for key in ["Escape", "C-c"] {
        let world = World::sample();
        let terminal = form(&world);
        terminal.key(key);
        let (code, says) = match key {
            "C-c" => (130, "\nerror: interrupted; nothing more was done"),
            _ => (1, "error: cancelled; nothing was done"),
        };
        let screen = terminal.exits(code);
        let screen = format!("\n{screen}");
        assert!(screen.contains(says), "{screen}");
        assert!(terminal.cursor_is_shown(), "after {key}");
        assert_eq!(world.actions(), ["team.initialized"]);
    }
    for key in ["Escape", "C-c"] {
        let world = World::sample();
        let terminal = form_up_to_the_duration(&world);
        terminal.key(key);
        terminal.exits(if key == "C-c" { 130 } else { 1 });
        assert!(terminal.cursor_is_shown(), "after {key}");
        assert_eq!(world.actions(), ["team.initialized"]);
    }
}

#[test]
fn a_missing_reason_is_asked_for() {
    let world = World::sample();
    let terminal = Terminal::access(&world, "bob", &["request", "connection:prod-aws"]);
    terminal.shows("Why?");
    terminal.text("because").key("Enter");
    // An hour by default: only the form asks. It is shown before it is filed.
    let screen = terminal.shows("File this request?");
    for shown in
        ["Your request: connection:prod-aws for 1h", "reason       because", "decides      alice, erin or olivia"]
    {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    terminal.key("Enter").exits(0);
    assert_eq!(world.json("bob", &["show", "1"])["duration"], "1h");
    // Who says how long is asked for nothing else.
    let terminal = Terminal::access(&world, "bob", &["request", "role:admin", "--duration", "4h"]);
    terminal.shows("Why?");
    terminal.text("because").key("Enter").exits(0);
    assert_eq!(world.json("bob", &["show", "2"])["duration"], "4h");
    for args in [&["--reason", "because"][..], &["--reason", "because", "--yes"]] {
        let line = [&["request", "feature:cost-explorer", "--dry-run"][..], args].concat();
        let screen = Terminal::access(&world, "bob", &line).exits(0);
        assert!(!screen.contains("File this request?"), "{screen}");
    }
}

#[test]
fn an_approver_sees_the_request_first() {
    let world = World::sample();
    let id = world.request("bob", "connection:prod-aws", &["--duration", "4h"]);
    let terminal = Terminal::access(&world, "alice", &["deny", &id]);
    let screen = terminal.shows("Deny request 1?");
    for shown in ["Request 1: connection:prod-aws for bob", "for 4h", "testing", "may decide"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    terminal.text("n").exits(1);
    assert_eq!(world.state(&id), "pending", "no is no");

    let terminal = Terminal::access(&world, "alice", &["deny", &id]);
    terminal.shows("Deny request 1?");
    terminal.text("y").shows("? Why?");
    terminal.key("Enter");
    terminal.exits(0);
    assert_eq!(world.state(&id), "denied");
    assert_eq!(world.json("bob", &["show", &id])["decisions"][0]["note"], serde_json::Value::Null);
}

#[test]
fn an_approver_who_leaves_approves_nothing() {
    for key in ["Escape", "C-c", "Enter"] {
        let world = World::sample();
        let id = world.request("bob", "connection:prod-aws", &[]);
        let terminal = Terminal::access(&world, "alice", &["approve", &id]);
        terminal.shows("Approve request 1?");
        terminal.key(key);
        terminal.exits(if key == "C-c" { 130 } else { 1 });
        assert_eq!(world.state(&id), "pending", "after {key}");
        assert!(terminal.cursor_is_shown(), "after {key}");
    }
}

#[test]
fn of_several_each_is_asked_about_until_ctrl_c() {
    let world = World::sample();
    for resource in ["connection:prod-aws", "role:admin", "feature:cost-explorer"] {
        world.request("bob", resource, &[]);
    }
    let terminal = Terminal::access(&world, "olivia", &["approve", "1", "2", "3"]);
    terminal.shows("Approve request 1?");
    terminal.key("Escape").shows("Approve request 2?");
    terminal.key("C-c");
    let screen = terminal.exits(130);
    assert!(!screen.contains("Approve request 3?"), "{screen}");
    assert!(["1", "2", "3"].iter().all(|id| world.state(id) == "pending"));
}

#[test]
fn an_approver_is_offered_the_narrowest_scope_that_covers_it() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    let terminal = Terminal::access(&world, "alice", &["approve", &id]);
    let screen = terminal.shows("Do nothing");
    assert!(screen.contains("Approve as asked: target:orders-db alone"), "{screen}");
    assert!(screen.contains("scope:orders-read"), "{screen}");
    // Nothing is what Enter alone does; the scope is above it.
    terminal.key("Up");
    terminal.shows_when("scope picked", |screen| {
        screen.lines().any(|line| line.starts_with('❯') && line.contains("orders-read"))
    });
    terminal.key("Enter");
    terminal.exits(0);
    let grant = &world.json("bob", &["show", &id])["grant"];
    assert_eq!(grant["resource"], "scope:orders-read");
    assert_eq!(grant["modified"], true);
}

#[test]
fn what_changed_since_it_was_shown_is_not_decided_on() {
    let world = World::sample();
    let id = world.request("bob", "connection:prod-aws", &[]);
    let terminal = Terminal::access(&world, "alice", &["approve", &id]);
    terminal.shows("Approve request 1?");
    world.run("erin", &["deny", &id]).ok();
    terminal.text("y");
    terminal.exits(5);
    assert_eq!(world.state(&id), "denied");
    assert!(!world.may("bob", "connection:prod-aws"));
    assert!(!world.actions().contains(&"request.approved".to_owned()));
}

#[test]
fn a_team_file_is_shown_and_confirmed() {
    let world = World::sample();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    std::fs::write(world.folder().join("team.toml"), team + "\n[members.zoe]\nrole = \"member\"\n").unwrap();
    let apply = ["team", "apply", "team.toml"];
    for key in ["Enter", "Escape", "C-c"] {
        let terminal = Terminal::access(&world, "olivia", &apply);
        let screen = terminal.shows("Apply this?");
        assert!(screen.contains("+ member:zoe"), "{screen}");
        terminal.key(key);
        terminal.exits(if key == "C-c" { 130 } else { 1 });
        assert_eq!(world.actions(), ["team.initialized"], "after {key}");
    }
    let terminal = Terminal::access(&world, "olivia", &apply);
    terminal.shows("Apply this?");
    terminal.text("y");
    terminal.exits(0);
    assert_eq!(world.actions(), ["team.initialized", "team.applied"]);
}

#[test]
fn a_team_file_confirmed_on_a_terminal_answers_in_json_when_asked_to() {
    let world = World::sample();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    std::fs::write(world.folder().join("team.toml"), team + "\n[members.zoe]\nrole = \"member\"\n").unwrap();
    let terminal = Terminal::access(&world, "olivia", &["team", "apply", "team.toml", "--json"]);
    terminal.shows("Apply this?");
    terminal.text("y");
    let screen = terminal.exits(0).replace('\n', "");
    assert!(screen.contains("\"applied\":true"), "{screen}");
}

#[test]
fn a_team_that_changed_since_it_was_shown_is_not_overwritten() {
    let world = World::sample();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    std::fs::write(world.folder().join("mine.toml"), team.clone() + "\n[members.zoe]\nrole = \"member\"\n").unwrap();
    let terminal = Terminal::access(&world, "olivia", &["team", "apply", "mine.toml"]);
    terminal.shows("Apply this?");
    world.apply("olivia", &(team + "\n[members.yann]\nrole = \"member\"\n")).ok();
    terminal.text("y");
    terminal.exits(5);
    let team = world.run("olivia", &["team", "show"]).ok().out;
    assert!(team.contains("yann") && !team.contains("zoe"));
}

#[test]
fn yes_asks_nothing() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    Terminal::access(&world, "alice", &["approve", &id, "--yes"]).exits(0);
    assert_eq!(world.state(&id), "active");
}

#[test]
fn a_watched_profile_counts_down_until_ctrl_c() {
    let world = World::empty();
    // This one goes by the real clock.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.set_clock(&Timestamp::from_unix(i64::try_from(now).unwrap()).unwrap().to_string());
    world.run("olivia", &["init", "--sample"]).ok();
    let id = world.request("bob", "connection:prod-aws", &["--duration", "4h"]);
    world.run("alice", &["approve", &id]).ok();
    let mut watch = world.command("bob", &["whoami", "--watch"]);
    watch.env_remove("ACCESS_TEST_NOW");
    let terminal = Terminal::of(&world, &watch);
    let left = |screen: &str| screen.lines().find(|line| line.contains(" left")).map(str::to_owned);
    let first = left(&terminal.shows(" left")).unwrap();
    assert!(first.contains("connection:prod-aws  "), "{first}");
    let screen = terminal.shows_when("the next second", |screen| left(screen).is_some_and(|line| line != first));
    assert_eq!(screen.matches(" left").count(), 1, "redrawn in place: {screen}");
    terminal.interrupt();
    terminal.exits(130);
    assert!(terminal.cursor_is_shown());
}

#[test]
fn unread_notifications_are_mentioned_on_a_terminal_only() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let screen = Terminal::access(&world, "alice", &["list"]).exits(0);
    assert!(screen.contains("1 unread notification: access inbox"), "{screen}");
    assert_eq!(world.run("alice", &["list"]).ok().err, "");
    for flag in ["--quiet", "--json"] {
        let screen = Terminal::access(&world, "alice", &["list", flag]).exits(0);
        assert!(!screen.contains("unread notification"), "{screen}");
    }
    // Only standard error is the terminal: the answer goes through a pipe, whose reader draws on the same terminal.
    for line in [r#""$0" list | cat"#, r#""$0" list > list.txt"#, r#""$0" list 2> list.txt"#] {
        let given = world.command("alice", &[]);
        let mut shell = Command::new("sh");
        shell.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?)))).args(["-c", line, ACCESS]);
        let screen = Terminal::of(&world, &shell).exits(0);
        assert!(!screen.contains("unread notification"), "{line}: {screen}");
    }
}

#[test]
fn a_team_file_that_changes_nothing_needs_no_yes() {
    let world = World::sample();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    std::fs::write(world.folder().join("team.toml"), &team).unwrap();
    let apply = ["team", "apply", "team.toml"];
    assert_eq!(world.run("olivia", &apply).ok().out, "Nothing changes.\n");
    assert_eq!(world.run("olivia", &[&apply[..], &["--json"]].concat()).ok().json()["changes"], serde_json::json!([]));
    assert!(Terminal::access(&world, "olivia", &apply).exits(0).contains("Nothing changes."));
    assert_eq!(world.actions(), ["team.initialized"]);
    // A file that does something needs it.
    std::fs::write(world.folder().join("team.toml"), team + "\n[members.zoe]\nrole = \"member\"\n").unwrap();
    let ran = world.run("olivia", &apply).fails(2, "needs your confirmation, and nobody can be asked");
    assert!(ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(world.actions(), ["team.initialized"]);
    // What is wrong with a file, or with who applies it, comes first.
    world.run("bob", &apply).fails(3, "");
    std::fs::write(world.folder().join("team.toml"), "[team").unwrap();
    world.run("olivia", &apply).fails(65, "not valid TOML");
}

#[test]
fn a_list_fits_80_columns_and_cuts_no_number() {
    let world = World::sample();
    let reason = "a reason that goes on and on, well past the end of any line of eighty columns there is";
    world.run("bob", &["request", "target:orders-db-staging", "--reason", reason, "--duration", "2d12h"]).exits(5);
    world.run("bob", &["request", "target:search-index", "--reason", reason, "--duration", "2d12h"]).ok();
    // As many as a team files in years: the number is what all else is done by.
    let db = rusqlite::Connection::open(world.db()).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF; UPDATE request SET id = 12345").unwrap();
    drop(db);
    world.run("carol", &["request", "connection:prod-aws", "--reason", reason]).ok();
    let screen = Terminal::access(&world, "alice", &["list"]).exits(0);
    assert!(screen.contains("12345 pending"), "{screen}");
    assert!(screen.contains("12346 pending"), "{screen}");
    // The headings and a line each, then the exit code and the unread notifications.
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines.len(), 5, "a line each: {screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(screen.contains("target:search-index") && screen.contains('…'), "only the reason is cut: {screen}");
}

#[test]
fn colour_is_for_terminals_unless_said_otherwise() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let colored = |output: &str| output.contains('\u{1b}');
    assert!(!colored(&world.run("alice", &["list"]).ok().out), "a pipe");
    assert!(colored(&world.run("alice", &["list", "--color", "always"]).ok().out));

    // On a terminal, by way of `script`, which keeps every byte.
    let on_terminal = |args: &[&str], variable: Option<(&str, &str)>| {
        let log = world.folder().join("typescript");
        let _ = std::fs::remove_file(&log);
        let line = format!("{ACCESS} {}", args.join(" "));
        let mut script = Command::new("script");
        let given = world.command("alice", &[]);
        script.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?)))).envs(variable);
        script.env("TERM", "xterm-256color").args(["-q", "-e", "-c", &line]).arg(&log);
        let ran = script.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("script is installed");
        assert!(ran.success());
        String::from_utf8(std::fs::read(&log).unwrap()).unwrap()
    };
    assert!(colored(&on_terminal(&["list"], None)));
    assert!(!colored(&on_terminal(&["list", "--color", "never"], None)));
    assert!(!colored(&on_terminal(&["list"], Some(("NO_COLOR", "1")))));
    assert!(colored(&on_terminal(&["list"], Some(("NO_COLOR", "")))), "an empty NO_COLOR says nothing");
    assert!(colored(&on_terminal(&["list", "--color", "always"], Some(("NO_COLOR", "1")))));
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let world = World::sample();
    for resource in ["target:orders-db", "connection:prod-aws", "role:admin"] {
        world.request("bob", resource, &[]);
    }
    for args in ["list --all --limit 0", "list --json", "resources", "audit", "team show", "audit export --format csv"]
    {
        let line = format!(r#""$0" {args} | true; echo "${{PIPESTATUS[0]}}""#);
        let given = world.command("alice", &[]);
        let mut bash = Command::new("bash");
        bash.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = bash.args(["-c", &line, ACCESS]).output().unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), "0\n", "{args}");
        assert_eq!(String::from_utf8(ran.stderr).unwrap(), "", "{args}");
    }
}

/// Starts `request --wait`, lets an admin do something about it, and waits for the end.
fn wait_while(world: &World, more: &[&str], act: &[&str]) -> Output {
    let mut args = vec!["request", "target:orders-db", "--reason", "waiting", "--wait"];
    args.extend(more);
    let waiting = world.command("bob", &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while world.json("alice", &["list"]).as_array().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    if !act.is_empty() {
        world.run("alice", act).ok();
    }
    waiting.wait_with_output().unwrap()
}

#[test]
fn wait_reports_an_approval() {
    let ended = wait_while(&World::sample(), &[], &["approve", "1"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("approved"), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("waits on alice, erin, olivia"), "{ended:?}");
}

#[test]
fn wait_reports_a_denial() {
    let ended = wait_while(&World::sample(), &[], &["deny", "1", "--reason", "not today"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("denied"), "{ended:?}");
}

#[test]
fn wait_ends_at_its_time_limit() {
    let world = World::sample();
    let ended = wait_while(&world, &["--timeout", "1s", "--json"], &[]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let shown: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(shown["state"], "pending");
    assert_eq!(world.state("1"), "pending", "the request goes on");
}

#[test]
fn an_empty_list_says_where_more_may_be() {
    let world = World::sample();
    let says = |args: &[&str]| world.run("bob", args).ok().err;
    for args in [&["list"][..], &["list", "--mine"]] {
        assert_eq!(says(args), "No requests; `access request` asks for access\n");
    }
    for more in [&["--all"][..], &["--state", "expired"], &["--requester", "bob"], &["--at", START]] {
        assert_eq!(says(&[&["list"], more].concat()).lines().next(), Some("No requests"), "{more:?}");
    }
    assert_eq!(says(&["inbox"]), "No notifications\n");

    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["deny", &id, "--reason", "not today"]).ok();
    world.run("bob", &["inbox", "--mark-read"]).ok();
    for more in [&[][..], &["--requester", "bob"]] {
        let said = says(&[&["list"], more].concat());
        assert_eq!(said, "No requests; `access list --all` shows the closed ones too\n");
    }
    assert_eq!(says(&["list", "--requester", "carol"]), "No requests\n");
    assert_eq!(says(&["inbox"]), "Nothing unread; `access inbox --all` shows the read ones too\n");
}
