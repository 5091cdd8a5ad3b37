//! The typed line: help, repeated options, values that begin with a dash, empty variables, long input.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{ACCESS, Ran, TEAM, World};

#[test]
fn help_and_version_are_commands_too() {
    let world = World::empty();
    for (args, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "request"], &["request", "--help"]),
        (&["help", "team", "apply"], &["team", "apply", "--help"]),
        (&["team", "help"], &["team", "--help"]),
        (&["team", "help", "apply"], &["team", "apply", "--help"]),
        (&["help", "help"], &["help", "--help"]),
    ] {
        let help = world.run("bob", args).ok();
        assert_eq!((help.out, help.err.as_str()), (world.run("bob", same).ok().out, ""), "{args:?}");
    }
    // On the command line of a gate, `check` exits 0 for yes only. Here it is only the name of a command.
    let check = world.run("bob", &["check", "--help"]).exits(2);
    assert_eq!(world.run("bob", &["help", "check"]).ok().out, check.out);

    let version = world.run("bob", &["version"]).ok();
    assert_eq!(version.out, world.run("bob", &["--version"]).ok().out);
    assert_eq!(world.json("bob", &["version"])["version"], env!("CARGO_PKG_VERSION"));

    let wrong = world.run("bob", &["help", "aprove"]).fails(2, "unrecognized subcommand 'aprove'");
    assert!(wrong.err.contains("did you mean 'approve'?"), "{wrong:?}");
    world.run("bob", &["help", "--frobnicate"]).fails(2, "--frobnicate");
}

#[test]
fn the_help_of_backup_names_the_files_that_are_not_copied() {
    let help = World::empty().run("bob", &["backup", "--help"]).ok().out;
    for file in ["access.db-wal", "access.db-shm", "access.db.lock"] {
        assert!(help.contains(file), "{help}");
    }
}

#[test]
fn help_never_looks_like_a_yes_to_a_gate() {
    let world = World::sample();
    for args in [
        &["check", "help"][..],
        &["check", "version"],
        &["check", "--quiet", "--login=help", "--", "help"],
        &["check", "--login", "-h x", "--", "target:orders-db"],
        &["check", "--login", "--help", "--", "target:orders-db"],
        &["check", "--login=bob", "--login=olivia", "--", "connection:prod-aws"],
        &["check", "--login=olivia", "--login=bob", "--", "connection:prod-aws"],
        &["check", "--user", "help", "target:orders-db"],
        &["team", "help", "check"],
    ] {
        assert_ne!(world.run("olivia", args).code, 0, "{args:?}");
    }
}

#[test]
fn a_switch_may_be_repeated() {
    let world = World::sample();
    for args in [
        &["list", "--json", "--json"][..],
        &["--json", "list", "--json"],
        &["list", "-q", "--quiet", "-yy"],
        &["list", "--mine", "--mine"],
        &["team", "show", "--quiet", "--quiet"],
        &["audit", "verify", "--json", "--json"],
        &["request", "target:orders-db", "-r", "x", "--dry-run", "--dry-run"],
    ] {
        let login = if args[0] == "audit" { "olivia" } else { "bob" };
        world.run(login, args).ok();
    }
}

#[test]
fn an_option_is_repeated_with_the_same_value_only() {
    let world = World::sample();
    let ask =
        |more: &[&str]| world.run("bob", &[&["request", "target:orders-db", "--dry-run", "-r", "x"], more].concat());
    ask(&["--duration", "2h", "-d2h", "--reason=x"]).ok().says("for 2h");
    for (more, option) in [
        (&["--duration", "1h", "--duration", "2h"][..], "'--duration <LENGTH>'"),
        (&["-d", "1h", "--duration=2h"], "'--duration <LENGTH>'"),
        (&["--reason", "y"], "'--reason <TEXT>'"),
    ] {
        let says = format!("{option} is given more than once, with different values");
        ask(more).fails(2, &says);
    }
    world.run("bob", &["audit", "export", "--format", "csv", "--format", "raw"]).fails(2, "more than once");
    // What takes several values still does.
    world.run("bob", &["list", "--state", "active", "--state", "pending"]).ok();
    // Of an option that every command takes the last counts, so that an alias can be overruled.
    let aliased =
        world.run("olivia", &["--as", "bob", "whoami", "--as", "carol", "--color", "never", "--color", "always"]);
    aliased.ok().says("carol, member");
}

#[test]
fn a_value_may_begin_with_a_dash() {
    let world = World::sample();
    let reasons = [
        "-- dash",
        "- a list\n- of two",
        "-h is broken",
        "-V too",
        "-5",
        "-5 of 7 hosts are down",
        "--wait is not needed",
    ];
    for (option, form) in [("--reason", 0), ("-r", 0), ("--reason=", 1), ("-r", 1)] {
        for reason in reasons.into_iter().chain((form == 1).then_some("--emergency")) {
            let mut args = vec!["request".to_owned(), "target:orders-db".to_owned(), "--json".to_owned()];
            if form == 0 {
                args.extend([option.to_owned(), reason.to_owned()]);
            } else {
                args.push(format!("{option}{reason}"));
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let asked = world.run("bob", &args).ok().json();
            assert_eq!(asked["reason"], reason, "{args:?}");
            let id = asked["id"].to_string();
            let denied = world.run("alice", &["deny", &id, "--json", "--reason", "- no"]).ok().json();
            assert_eq!(denied["decisions"][0]["note"], "- no");
        }
        world.pass("2h");
    }
    // What may be another option is not taken for a value; that is said, and nothing is filed.
    for value in ["--emergency", "--emergancy", "-d1h", "--ticket=OPS-1", "--"] {
        let ran = world.run("bob", &["request", "target:orders-db", "--reason", value]).fails(2, "");
        assert!(value == "--" || ran.err.contains("begins with a dash: --reason=VALUE"), "{ran:?}");
    }
}

#[test]
fn an_empty_variable_is_named() {
    let world = World::sample();
    let run = |variable: (&str, &str), args: &[&str]| {
        let output = world.command("bob", args).env(variable.0, variable.1).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for name in ["ACCESS_DB", "ACCESS_AS"] {
        for args in [&["list"][..], &["check", "target:orders-db"], &["init"]] {
            let (code, err) = run((name, ""), args);
            assert_eq!(code, 2, "{err}");
            assert!(err.starts_with(&format!("error: the environment variable {name} is set, but empty\n")), "{err}");
            assert!(err.contains("unset it"), "{err}");
        }
        // It does not matter where an option says it, or where nothing needs it.
        let db = world.db();
        assert_eq!(run((name, ""), &["list", "--db", db.to_str().unwrap(), "--as", "bob"]).0, 0);
        assert_eq!(run((name, ""), &["completions", "bash"]).0, 0);
    }
    let (code, err) = run(("ACCESS_AS", "Bob Smith"), &["list"]);
    assert!(code == 2 && err.contains("the environment variable ACCESS_AS is \"Bob Smith\": a name has"), "{err}");
    // What a variable says is not repeated in a hint as if it were missing.
    let ran = world.run("bob", &["show"]).fails(2, "<ID>");
    assert!(ran.err.contains("usage: access show <ID>") && !ran.err.contains("--db"), "{ran:?}");
    assert!(world.run("bob", &["list", "--help"]).ok().out.contains("[env: ACCESS_DB]"));
}

/// Runs with a standard output that is full.
fn full(world: &World, login: &str, args: &[&str]) -> (i32, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = world.command(login, args).stdout(full).stderr(Stdio::piped()).output().unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

const DONE: &str = "the command was carried out; only its output is lost";

#[test]
fn an_output_that_is_full_is_a_failure() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    for args in [
        "--help",
        "--version",
        "help",
        "help list",
        "version",
        "version --json",
        "list --help",
        "check --help",
        "completions bash",
        "completions zsh",
        "list",
        "list --json",
        "resources",
        "show 1",
        "show 1 --json",
        "whoami",
        "check target:orders-db",
        "who target:orders-db",
        "inbox",
        "inbox --json",
        "team show",
        "audit",
        "audit verify",
        "audit export --format csv",
        "audit export --format raw",
        "notify",
        "--as bob request target:search-index --reason x --dry-run",
        "doctor",
    ] {
        let words: Vec<&str> = args.split(' ').collect();
        let (code, err) = full(&world, "olivia", &words);
        assert_eq!(code, 74, "{args}: {err}");
        assert!(err.contains("the output can't be written: No space left on device"), "{args}: {err}");
        assert!(!err.contains(DONE), "{args}: {err}");
    }
}

#[test]
fn what_was_done_is_told_where_its_output_is_lost() {
    let world = World::sample();
    let ids =
        ["orders-db", "search-index", "billing-db"].map(|it| world.request("carol", &format!("target:{it}"), &[]));
    let told = |login: &str, args: &[&str]| {
        let (code, err) = full(&world, login, args);
        assert_eq!(code, 74, "{args:?}: {err}");
        assert!(err.contains("the output can't be written") && err.contains(DONE), "{args:?}: {err}");
        assert_eq!(err.matches("can't be written").count(), 1, "{args:?}: {err}");
    };
    told("alice", &["approve", &ids[0]]);
    assert_eq!(world.state(&ids[0]), "active");
    told("alice", &["approve", &ids[1], &ids[2]]);
    assert_eq!((world.state(&ids[1]), world.state(&ids[2])), ("active".into(), "active".into()));
    told("alice", &["revoke", "--json", &ids[0], &ids[1]]);
    assert_eq!((world.state(&ids[0]), world.state(&ids[1])), ("revoked".into(), "revoked".into()));
    told("bob", &["request", "connection:prod-aws", "--reason", "x"]);
    assert_eq!(world.state("4"), "pending");
    told("alice", &["inbox", "--mark-read"]);
    assert_eq!(world.unread("alice"), Vec::<String>::new());
    told("bob", &["man", "pages"]);
    // It makes the key.
    told("olivia", &["audit", "checkpoint"]);
    // What was refused was not carried out.
    let (code, err) = full(&world, "alice", &["approve", "998"]);
    assert!(code == 4 && !err.contains(DONE), "{err}");
    let (code, err) = full(&world, "carol", &["approve", "4"]);
    assert!(code == 4 && !err.contains(DONE), "{err}");
    let made = World::empty();
    let (code, err) = full(&made, "ana", &["init"]);
    assert!(code == 74 && err.contains(DONE) && made.db().exists(), "{err}");
}

#[test]
fn help_is_coloured_as_the_line_says() {
    let world = World::empty();
    let colored = |args: &str, variables: &[(&str, &str)]| {
        let log = world.folder().join("typescript");
        let _ = std::fs::remove_file(&log);
        let mut script = Command::new("script");
        script.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm-256color");
        script.envs(variables.iter().copied()).args(["-q", "-c", &format!("{ACCESS} {args}")]).arg(&log);
        let ran = script.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("script is installed");
        assert!(ran.success());
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("Usage:") || text.contains("Usage:\u{1b}"), "{text}");
        // The log has a line of its own about the command.
        text.lines().any(|line| line.contains("Usage:") && line.contains('\u{1b}'))
    };
    for help in ["--help", "list --help", "help list", "team"] {
        assert!(colored(help, &[]), "{help}");
        assert!(!colored(&format!("--color never {help}"), &[]), "{help}");
        assert!(!colored(help, &[("NO_COLOR", "1")]), "{help}");
        assert!(!colored(help, &[("TERM", "dumb")]), "{help}");
        assert!(colored(&format!("--color=always {help}"), &[("NO_COLOR", "1")]), "{help}");
    }
    assert!(!world.run("bob", &["--help"]).ok().out.contains('\u{1b}'), "a pipe");
    assert!(world.run("bob", &["--help", "--color", "always"]).ok().out.contains('\u{1b}'));
}

/// Fails, and repeats little of what was given, in either form.
#[track_caller]
fn fails_shortly(world: &World, login: &str, args: &[&str]) -> Ran {
    let ran = world.run(login, args);
    assert!(![0, 70].contains(&ran.code), "{}", ran.code);
    assert!(ran.err.len() < 4000, "{} bytes: {}…", ran.err.len(), &ran.err[..1000]);
    let json = world.run(login, &[&["--json"], args].concat());
    assert!(json.err.len() < 4000, "{} bytes: {}…", json.err.len(), &json.err[..1000]);
    assert!(serde_json::from_str::<Value>(&json.err).unwrap()["error"]["message"].is_string());
    ran
}

#[test]
fn no_error_repeats_all_of_a_long_input() {
    let world = World::sample();
    // As long as one argument may be.
    let long = "x".repeat(100_000);
    let with = |before: &str| format!("{before}{long}");
    let lines = "x\n\n".repeat(30_000);
    for args in [
        &[long.as_str()][..],
        &["list", &with("--")],
        &["list", &with("-")],
        &["list", &long],
        &["list", "--state", &long],
        &["list", "--since", &long],
        &["list", "--requester", &long],
        &["list", "--resource", &with("target:")],
        &["list", "--limit", &long],
        &["show", &long],
        &["approve", "1", "--scope", &long],
        &["request", &with("target:"), "-r", "x"],
        &["request", &with("disk:"), "-r", "x"],
        &["request", "target:orders-db", "-r", &long],
        &["request", "target:orders-db", "-r", "x", "-d", &long],
        &["request", "target:orders-db", "-r", "x", "-d", &lines],
        &["request", "target:orders-db", "-r", "x", "-t", &long],
        &["request", "target:orders-db", "-r", "x", "-u", &long],
        &["check", "target:orders-db", "--login", &long],
        &["notify", "set", &long, "--email", "on"],
        &["notify", "set", "all", "--email", &long],
        &["audit", "--action", &long],
        &["help", &long],
        &["list", "--db", &long],
        &["list", "--as", &long],
        &["team", "apply", &long, "--yes"],
        &["audit", "verify", "--against", &long],
        &["backup", &long],
        &["man", &long],
        &["completions", &long],
    ] {
        let login = if args[0] == "man" { "bob" } else { "olivia" };
        fails_shortly(&world, login, args);
    }
    let kept = fails_shortly(&world, "bob", &["request", "target:orders-db", "-r", &long]);
    assert!(kept.err.contains("at most 4096 are allowed"), "the reason is kept: {kept:?}");

    for file in [
        format!("{TEAM}\n[members.{long}]\nrole = \"member\"\n"),
        format!("{TEAM}\n[members.zoe]\nrole = \"{long}\"\n"),
        format!("{TEAM}\n[members.zoe]\nrole = \"member\"\n{long} = 1\n"),
        format!("{TEAM}\n[members.zoe]\nrole = \"member\"\nemail = \"{long}\"\n"),
        format!("{TEAM}\n[scopes.zoe]\ntargets = [\"{long}\"]\n"),
        format!("{TEAM}\n[[rules]]\nname = \"{long}\"\nticket = \"{long}\"\n"),
        format!("{TEAM}\n{long}"),
    ] {
        std::fs::write(world.folder().join("long.toml"), file).unwrap();
        fails_shortly(&world, "olivia", &["team", "apply", "long.toml", "--yes"]);
    }
    std::fs::write(world.folder().join("long.jsonl"), &long).unwrap();
    fails_shortly(&world, "olivia", &["audit", "verify", "--against", "long.jsonl"]);

    for variable in ["ACCESS_DB", "ACCESS_AS"] {
        let output = world.command("olivia", &["list"]).env(variable, &long).output().unwrap();
        assert!(output.status.code() != Some(0) && output.stderr.len() < 4000, "{variable}");
    }
    let folder = world.folder().join(".config/access");
    std::fs::create_dir_all(&folder).unwrap();
    for config in
        [format!("{long} = 1\n"), format!("from = \"{long}\"\n"), format!("[deliver]\ntimeout = \"{long}\"\n")]
    {
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let output = world.command("olivia", &["list"]).env_remove("ACCESS_DB").output().unwrap();
        assert!(output.status.code() == Some(65) && output.stderr.len() < 4000, "{output:?}");
    }
}

#[test]
fn what_was_nearly_right_is_named() {
    let world = World::sample();
    for (args, meant) in [
        (&["aprove", "1"][..], "approve"),
        (&["APPROVE", "1"], "approve"),
        (&["ls"], "list"),
        (&["team", "Apply", "x"], "apply"),
        (&["list", "--hlep"], "--help"),
        (&["list", "pending"], "--pending"),
        (&["request", "target:orders-db", "emergency"], "--emergency"),
        (&["audit", "verify", "json"], "--json"),
        (&["--verion"], "--version"),
        (&["audit", "exprt"], "export"),
        (&["completions", "bsh"], "bash"),
    ] {
        let ran = world.run("bob", args).fails(2, "");
        assert!(ran.err.ends_with(&format!("hint: did you mean '{meant}'?\n")), "{ran:?}");
    }
    let none = world.run("bob", &["frobnicate"]).fails(2, "unrecognized subcommand 'frobnicate'");
    assert!(none.err.contains("`access help` lists the commands"), "{none:?}");
    for args in [["list", "--limit", "x"], ["list", "--limit", "-5"], ["list", "--limit", "1e3"]] {
        world.run("bob", &args).fails(2, "'--limit <N>': a whole number is expected");
    }
    world.run("bob", &["inbox", "--mark-read", "seven"]).fails(2, "a whole number is expected");
    world.run("bob", &["list", "--limit", "99999999999999999999"]).fails(2, "'--limit <N>': this number is too large");
}

#[test]
fn a_command_without_its_number_says_what_lists_them() {
    let world = World::sample();
    for (args, listed) in [
        (&["deny"][..], "`access list --pending` lists them; on a terminal, `access approve`"),
        (&["approve"], "`access list --pending` lists them"),
        (&["withdraw"], "`access list --mine --pending` lists yours"),
        (&["edit", "--duration", "2h"], "`access list --mine --pending` lists yours"),
        (&["edit"], "`access list --mine --pending` lists yours"),
        (&["extend"], "`access list --mine --state active` lists yours"),
        (&["revoke"], "`access list --state active,scheduled` lists them"),
        (&["review", "--note", "x"], "`access list --unreviewed` lists them"),
        (&["show"], "`access list` lists them, with --all the closed ones too"),
        (&["recertify", "show"], "`access recertify list` lists them"),
    ] {
        let ran = world.run("alice", args).fails(2, "");
        assert!(ran.err.contains(listed), "{ran:?}");
        for command in ran.err.split('`').filter(|words| words.starts_with("access list") && !words.contains("mine")) {
            world.run("alice", &command.split(' ').skip(1).collect::<Vec<_>>()).ok();
        }
    }
    let edit = world.run("alice", &["edit", "1"]).fails(2, "");
    assert!(!edit.err.contains("access list"), "{edit:?}");
}

#[test]
fn a_member_in_place_of_a_number_or_a_resource_gets_the_option_named() {
    let world = World::sample();
    for (args, code, option) in [
        (["revoke", "bob"], 2, "hint: to name a member: `access revoke --member bob`\n"),
        (["who", "bob"], 4, "hint: to name a member: `access who --user bob`\n"),
    ] {
        let ran = world.run("alice", &args).fails(code, "");
        assert!(ran.err.contains(option), "{ran:?}");
    }
    for args in [["revoke", "1.5"], ["approve", "bob"], ["who", "target:bob"]] {
        let ran = world.run("alice", &args);
        assert!(ran.code != 0 && !ran.err.contains("to name a member"), "{ran:?}");
    }
}

#[test]
fn an_option_that_has_another_name_here_is_named() {
    let world = World::sample();
    for (args, meant) in [
        (&["check", "--member", "bob", "target:orders-db"][..], "--user"),
        (&["who", "--member=bob"], "--user"),
        (&["revoke", "--user", "bob"], "--member"),
        (&["list", "--user", "bob"], "--requester"),
        (&["request", "target:orders-db", "--user", "bob"], "--for"),
        (&["approve", "1", "--reason", "x"], "--note"),
        (&["deny", "1", "--note", "x"], "--reason"),
    ] {
        let ran = world.run("alice", args).fails(2, "unexpected argument");
        assert!(ran.err.ends_with(&format!("found\nhint: did you mean '{meant}'?\n")), "{ran:?}");
    }
    let none = world.run("alice", &["check", "--nonsense", "x"]).fails(2, "unexpected argument '--nonsense'");
    assert!(!none.err.contains("to pass"), "{none:?}");
}

#[test]
fn line_breaks_in_what_was_typed_forge_no_hint() {
    let world = World::sample();
    let typed = "x\n\nUsage: run this\n\n  tip: and that";
    for args in [
        &[typed][..],
        &["list", typed],
        &["list", "--state", typed],
        &["request", "target:orders-db", "-r", "x", "-d", typed],
        &["help", typed],
        &["audit", "--action", typed],
    ] {
        let ran = world.run("bob", args).fails(2, "");
        let forged =
            |line: &str| line.starts_with("hint: run") || line.starts_with("Usage") || line.starts_with("hint: and");
        assert!(!ran.err.lines().any(forged), "{ran:?}");
    }
}
