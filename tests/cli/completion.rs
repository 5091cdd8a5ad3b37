//! The committed completion scripts, in real shells. (What they offer is decided in `completion.rs` and the ledger.)

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{ACCESS, TEAM, World};
use crate::tmux::Terminal;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");

/// A shell in a world, for a member, with the `access` under test on its path.
fn shell(world: &World, login: &str, program: &str, args: &[&str]) -> Command {
    let own = Path::new(ACCESS).parent().unwrap().to_str().unwrap().to_owned();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap());
    let given = world.command(login, &[]);
    let mut shell = Command::new(program);
    shell.args(args).env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", path).env("LC_ALL", "C.UTF-8").current_dir(world.folder());
    shell
}

/// What a shell printed. It says nothing on stderr, whatever happens.
fn lines(mut shell: Command) -> Vec<String> {
    let ran = shell.output().unwrap_or_else(|why| panic!("{shell:?}: {why} (tests/run.sh)"));
    assert_eq!(String::from_utf8(ran.stderr).unwrap(), "", "{shell:?}");
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Calls the completion function as bash does, the line broken into words at blanks, colons and equal signs.
pub fn bash(world: &World, login: &str, line: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    for c in line.chars() {
        match c {
            ' ' => words.push(String::new()),
            ':' | '=' => words.extend([c.to_string(), String::new()]),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    let last = words.pop().unwrap();
    words.retain(|word| !word.is_empty());
    // At a break the word is the break, and what is to be completed is empty.
    if !(last.is_empty() && line.ends_with([':', '='])) {
        words.push(last.clone());
    }
    let script = r#"source "$1/access.bash"; COMP_LINE=$2 COMP_POINT=${#2}; last=$3; shift 3
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _access access "$last" ""
        [[ ${#COMPREPLY[@]} = 0 ]] || printf '%s\n' "${COMPREPLY[@]}""#;
    let mut args = vec!["--norc", "--noprofile", "-c", script, "bash", SCRIPTS, line, &last];
    args.extend(words.iter().map(String::as_str));
    lines(shell(world, login, "bash", &args))
}

fn fish(world: &World, login: &str, line: &str) -> Vec<String> {
    let script = format!("source {SCRIPTS}/access.fish; complete -C '{line}'");
    lines(shell(world, login, "fish", &["--no-config", "-c", &script]))
}

#[test]
fn a_file_that_somebody_holds_delays_no_completion() {
    let world = World::sample();
    let complete = || {
        let begun = std::time::Instant::now();
        let mut command = world.command("bob", &["--", "access", "request", ""]);
        let offered = command.env("_ACCESS_COMPLETE", "fish").output().unwrap().stdout;
        (String::from_utf8(offered).unwrap(), begun.elapsed())
    };
    let (offered, _) = complete();
    assert!(offered.contains("target:orders-db"), "{offered}");
    let hold = "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                c.execute('PRAGMA locking_mode=EXCLUSIVE')\nc.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\ntime.sleep(30)";
    let mut holder = Command::new("python3");
    let mut holder = holder.args(["-c", hold]).arg(world.db()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 4]).unwrap();
    // The best of three: other tests run beside this one.
    let tries = [0; 3].map(|_| complete());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(tries.iter().all(|(offered, _)| !offered.contains("target:")), "the file is held: {tries:?}");
    assert!(tries.iter().any(|(_, took)| *took < std::time::Duration::from_millis(500)), "{tries:?}");
}

/// The same without what is said about each.
pub fn fish_words(world: &World, login: &str, line: &str) -> Vec<String> {
    fish(world, login, line).iter().map(|row| row.split('\t').next().unwrap().to_owned()).collect()
}

/// zsh on a terminal, with the script in a folder of `fpath`, as it is installed.
fn zsh(world: &World, login: &str) -> Terminal {
    let rc = format!("PS1='$ ' fpath=({SCRIPTS} $fpath)\nautoload -U compinit && compinit -u -D\n");
    std::fs::write(world.folder().join(".zshrc"), rc).unwrap();
    let terminal = Terminal::of(world, &shell(world, login, "zsh", &["-d", "-i"]));
    terminal.shows("$");
    terminal
}

/// What is on the screen after Tab, once these words are there.
#[track_caller]
fn zsh_shows(world: &World, login: &str, line: &str, words: &str) -> String {
    let terminal = zsh(world, login);
    terminal.text(line).key("Tab");
    terminal.shows(words)
}

/// Three requests: two that alice may decide on, the third her own.
fn three_requests() -> World {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.request("carol", "connection:prod-aws", &[]);
    world.request("alice", "feature:export-customers", &[]);
    world
}

#[test]
fn commands_are_offered() {
    let world = World::empty();
    for offered in [bash(&world, "bob", "access "), fish_words(&world, "bob", "access ")] {
        assert!(["request", "approve", "team", "completions"].iter().all(|verb| offered.contains(&(*verb).to_owned())));
        assert!(offered.iter().all(|word| !word.starts_with('-')), "options wait for a dash: {offered:?}");
    }
    assert_eq!(bash(&world, "bob", "access withd"), ["withdraw"]);
    assert_eq!(fish(&world, "bob", "access withd"), ["withdraw\tWithdraw your own pending request"]);
    assert_eq!(bash(&world, "bob", "access team "), ["apply", "show", "replace-owner"]);
    zsh_shows(&world, "bob", "access withd", "access withdraw");
    zsh_shows(&world, "bob", "access re", "-- End access now, before its end time");
}

#[test]
fn resources_are_offered_with_their_kind() {
    let world = World::sample();
    let expected = ["connection:prod-aws", "connection:prod-k8s"];
    assert_eq!(fish_words(&world, "bob", "access request connection:pr"), expected);
    assert_eq!(bash(&world, "bob", "access request connection:pr"), ["prod-aws", "prod-k8s"], "what follows the colon");
    assert_eq!(bash(&world, "bob", "access check targ").len(), 5);
    assert_eq!(bash(&world, "bob", "access who --as alice role:m"), ["member"]);
    zsh_shows(&world, "bob", "access request connection:prod-a", "access request connection:prod-aws");
    zsh_shows(&world, "bob", "access request connection:st", "access request connection:staging-aws");
}

/// Only where the command takes it, once a letter is typed, and until the colon is.
#[test]
fn a_name_that_only_one_kind_has_is_offered_without_its_kind() {
    let team = format!("{TEAM}\n[scopes.orders-api]\ntargets = [\"orders-api\"]\n");
    let world = World::of("olivia", &team);
    let expected = ["orders-db", "orders-db-staging", "orders-read"];
    for line in ["access request orders-", "access who orders-", "access list --resource orders-"] {
        assert_eq!(fish_words(&world, "bob", line), expected, "{line}");
    }
    assert_eq!(bash(&world, "bob", "access request orders-db-"), ["orders-db-staging"]);
    assert_eq!(bash(&world, "bob", "access request target:orders-db-"), ["orders-db-staging"]);
    zsh_shows(&world, "bob", "access request orders-db-", "access request orders-db-staging");
    let all = fish_words(&world, "bob", "access request ");
    assert!(all.contains(&"target:orders-db".to_owned()) && !all.contains(&"orders-db".to_owned()), "{all:?}");
    for line in ["access check orders-", "access approve 1 --resource orders-"] {
        assert_eq!(fish_words(&world, "bob", line), [""; 0], "{line}");
    }
}

#[test]
fn bash_completes_over_a_colon_when_somebody_types() {
    let world = World::sample();
    let rc = world.folder().join("bashrc");
    std::fs::write(&rc, format!("PS1='$ '\nsource {SCRIPTS}/access.bash\n")).unwrap();
    let args = ["--noprofile", "--rcfile", rc.to_str().unwrap(), "-i"];
    let terminal = Terminal::of(&world, &shell(&world, "bob", "bash", &args));
    terminal.shows("$");
    terminal.text("access request conn").key("Tab");
    terminal.shows("$ access request connection:");
    terminal.text("pr").key("Tab");
    terminal.shows("$ access request connection:prod-");
    terminal.text("a").key("Tab");
    terminal.shows("$ access request connection:prod-aws");
    terminal.text("--duration=4").key("Tab");
    terminal.shows("$ access request connection:prod-aws --duration=4h");
}

#[test]
fn members_are_offered() {
    let world = World::sample();
    let lines = [
        "access request target:orders-db --for ca",
        "access --as ca",
        "access list --requester ca",
        "access list --approver ca",
        "access who --user ca",
        "access audit --member ca",
    ];
    for line in lines {
        assert_eq!(bash(&world, "alice", line), ["carol"], "{line}");
        assert_eq!(fish_words(&world, "alice", line), ["carol"], "{line}");
    }
    zsh_shows(&world, "alice", "access list --requester ca", "access list --requester carol");
}

#[test]
fn those_one_may_decide_on_are_offered_and_described() {
    let world = three_requests();
    for verb in ["approve", "deny"] {
        let line = format!("access {verb} ");
        assert_eq!(fish(&world, "alice", &line), ["1\tbob target:orders-db", "2\tcarol connection:prod-aws"]);
        assert_eq!(bash(&world, "alice", &line), ["1", "2"]);
    }
    let screen = zsh_shows(&world, "alice", "access approve ", "1  -- bob target:orders-db");
    assert!(screen.contains("2  -- carol connection:prod-aws"), "{screen}");
    assert!(!screen.contains("export-customers"), "{screen}");

    let ids = |login, line| bash(&world, login, line).into_iter().filter(|word| !word.starts_with('-')).count();
    assert_eq!(ids("bob", "access approve "), 0, "a member decides on nothing");
    assert_eq!(ids("olivia", "access approve "), 3);
    assert_eq!(ids("bob", "access withdraw "), 1, "their own");
    assert_eq!(fish(&world, "bob", "access edit "), ["1\tbob target:orders-db"]);
    assert_eq!(bash(&world, "bob", "access edit "), ["1"]);
    assert_eq!(bash(&world, "bob", "access edit 1 --no-"), ["--no-start", "--no-ticket"]);
    zsh_shows(&world, "bob", "access edit ", "access edit 1");
}

#[test]
fn states_and_durations_are_offered() {
    let world = World::sample();
    let states = ["pending", "scheduled", "active", "denied", "withdrawn", "lapsed", "expired", "revoked"];
    assert_eq!(bash(&world, "bob", "access list --state "), states);
    assert_eq!(fish_words(&world, "bob", "access list --state "), states);
    assert_eq!(bash(&world, "bob", "access list --state=pend"), ["pending"]);
    let durations = ["1h", "4h", "1d", "1w", "permanent"];
    assert_eq!(bash(&world, "bob", "access request target:orders-db --duration "), durations);
    assert_eq!(fish(&world, "bob", "access approve 1 -d p"), ["permanent\tuntil it is revoked"]);
    zsh_shows(&world, "bob", "access request --duration ", "-- 4 hours");
}

#[test]
fn the_database_and_the_member_on_the_line_count() {
    let world = three_requests();
    let elsewhere = World::empty();
    let path = world.db();
    let path = path.to_str().unwrap();
    let lines = [format!("access --db {path} --as alice approve "), format!("access --as=alice --db={path} approve ")];
    for line in lines {
        assert_eq!(bash(&elsewhere, "olivia", &line), ["1", "2"], "{line}");
        assert_eq!(fish_words(&elsewhere, "olivia", &line), ["1", "2"], "{line}");
        zsh_shows(&elsewhere, "olivia", &line, "1  -- bob target:orders-db");
    }
    // ACCESS_DB is how all these tests name their database; ACCESS_AS counts just so.
    let script = format!("source {SCRIPTS}/access.fish; complete -C 'access approve '");
    let mut by_environment = shell(&world, "olivia", "fish", &["--no-config", "-c", &script]);
    by_environment.env("ACCESS_AS", "alice");
    assert_eq!(self::lines(by_environment).len(), 2);
}

#[test]
fn without_a_database_or_with_a_broken_one_nothing_disturbs_the_line() {
    let none = World::empty();
    let broken = World::empty();
    let mut rubbish = String::new();
    for line in 0..1000 {
        writeln!(rubbish, "{line}: this is no database").unwrap();
    }
    std::fs::write(broken.db(), rubbish).unwrap();
    std::fs::set_permissions(broken.db(), std::fs::Permissions::from_mode(0o600)).unwrap();
    for world in [none, broken] {
        for line in ["access approve ", "access request target:", "access show ", "access --as "] {
            for offered in [bash(&world, "bob", line), fish_words(&world, "bob", line)] {
                assert!(offered.iter().all(|word| word.starts_with("--")), "{line}: {offered:?}");
            }
        }
        let terminal = zsh(&world, "bob");
        terminal.text("access request target:o").key("Tab");
        terminal.text("x");
        let screen = terminal.shows("$ access request target:ox");
        assert_eq!(screen.trim(), "$ access request target:ox");
    }
}
