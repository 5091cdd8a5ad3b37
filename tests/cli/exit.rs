//! Exit 0 means what it says: a gate reads nothing but the exit code.

use std::process::Stdio;

use crate::harness::World;

/// Runs with a standard output that its reader has closed.
fn unread(world: &World, login: &str, args: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = world.command(login, args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn a_closed_pipe_changes_no_exit_code() {
    let world = World::sample();
    let live = world.grant("bob", "target:orders-db", "alice", &[]);
    let [first, second] = ["target:search-index", "connection:prod-aws"].map(|it| world.request("carol", it, &[]));
    let checkpoint = world.json("olivia", &["audit", "checkpoint"]);
    let forged = checkpoint.to_string().replace(&checkpoint["head"].as_str().unwrap()[..4], "0000");
    std::fs::write(world.folder().join("forged.jsonl"), forged).unwrap();
    for (login, args, code) in [
        ("bob", "check target:orders-db", 0),
        ("carol", "check target:orders-db", 1),
        ("carol", "check target:orders-db --json", 1),
        ("alice", "check target:orders-db --user carol", 1),
        ("carol", "check target:no-such-thing", 4),
        ("stranger", "check target:orders-db", 3),
        ("olivia", "audit verify --against forged.jsonl", 1),
        ("olivia", "audit verify --against forged.jsonl --json", 1),
        ("olivia", "audit verify", 0),
        ("olivia", "doctor --against forged.jsonl", 1),
        ("olivia", "doctor --against forged.jsonl --json", 1),
        ("alice", "deny 998 999", 4),
        ("alice", "deny 998 999 --json", 4),
        ("alice", "approve 998", 4),
        ("bob", "request connection:prod-aws --reason x --wait --timeout 1s", 1),
        ("bob", "request target:billing-db --reason x --wait --timeout 1s --json", 1),
        ("bob", "list --all", 0),
        ("olivia", "audit export --format jsonl", 0),
        ("bob", "whoami", 0),
    ] {
        let words: Vec<&str> = args.split(' ').collect();
        let (given, err) = unread(&world, login, &words);
        assert_eq!(given, Some(code), "{login}: {args}: {err}");
        assert!(!err.contains("written"), "{err}");
    }
    // What was asked for is done, however little of it can be shown.
    assert_eq!(unread(&world, "alice", &["deny", &first, &second, "--yes"]).0, Some(0));
    assert_eq!((world.state(&first), world.state(&second)), ("denied".into(), "denied".into()));
    assert_eq!(unread(&world, "alice", &["revoke", &live, "--yes", "--json"]).0, Some(0));
    assert_eq!(world.state(&live), "revoked");
}

#[test]
fn no_variable_turns_a_command_into_a_completion() {
    let world = World::sample();
    let live = world.grant("bob", "target:orders-db", "alice", &[]);
    for variable in ["COMPLETE", "_ACCESS_COMPLETE"] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell", "nonsense", "1"] {
            let run = |login: &str, args: &[&str]| {
                let ran =
                    world.command(login, args).env(variable, shell).env("_CLAP_COMPLETE_INDEX", "1").output().unwrap();
                ran.status.code()
            };
            assert_eq!(run("carol", &["check", "--quiet", "target:orders-db"]), Some(1), "{variable}={shell}");
            assert_eq!(run("carol", &["check", "--quiet", "--", "target:orders-db"]), Some(1), "{variable}={shell}");
            assert_eq!(run("carol", &["--quiet", "check", "--", "target:orders-db"]), Some(1), "{variable}={shell}");
            assert_eq!(run("stranger", &["whoami"]), Some(3), "{variable}={shell}");
            assert_eq!(run("bob", &["--"]), Some(2), "{variable}={shell}");
        }
    }
    let zsh = world.command("alice", &["revoke", &live, "--yes"]).env("_ACCESS_COMPLETE", "zsh").output().unwrap();
    assert_eq!((zsh.status.code(), world.state(&live)), (Some(0), "revoked".into()));
}

#[test]
fn check_exits_0_for_nothing_but_yes() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &[]);
    for args in [
        &["check", "--help"][..],
        &["check", "-h"],
        &["check", "--version"],
        &["check", "-V"],
        &["check", "--quiet", "--login", "bob", "--help"],
        &["check", "--quiet", "--login", "bob", "--version"],
        &["check", "--quiet", "--login", "--help", "target:orders-db"],
        &["check", "--quiet", "--login=bob", "--", "--help"],
        &["check", "--quiet", "--login=--help", "--", "target:orders-db"],
        &["check", "--login=bob", "--", "target:orders-db", "--help"],
        &["check", "target:orders-db", "--help"],
        &["--help", "check", "target:orders-db"],
        &["--version", "check", "target:orders-db"],
        &["--help", "--quiet", "check"],
        &["check"],
        &["check", ""],
        &["check", "--login=", "--", "target:orders-db"],
        &["check", "--login=bob", "--", ""],
        &["check", "--login=bob", "--", "target:orders-db\n"],
        &["check", "--login=bob ", "--", "target:orders-db"],
        &["check", "--login=bob", "--", "*"],
        &["check", "--login=bob", "--", "--"],
    ] {
        assert_ne!(world.run("olivia", args).code, 0, "{args:?}");
    }
    world.run("olivia", &["check", "--login=bob", "--", "target:orders-db"]).ok();
    // Help for a person still tells what there is.
    world.run("olivia", &["check", "--help"]).exits(2).says("Usage: access check");
    world.run("olivia", &["request", "--help"]).ok().says("Usage: access request");
}

#[test]
fn following_a_log_that_is_not_shared_ends_at_once_and_says_so() {
    let world = World::sample();
    for args in [&["follow"][..], &["follow", "--once"]] {
        let ran = world.run("olivia", args).exits(65);
        assert!(ran.err.contains("error: this database is not a copy of a shared log"), "{ran:?}");
    }
}
