//! The countdown in bash's prompt (`packaging/recipes/prompt.bash`).

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use access::domain::time::Timestamp;

use crate::harness::{ACCESS, World};
use crate::tmux::Terminal;

/// A world whose clock is right, in which bob has something for an hour.
fn granted() -> World {
    let world = World::empty();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.set_clock(&Timestamp::from_unix(i64::try_from(now).unwrap()).unwrap().to_string());
    world.run("olivia", &["init", "--sample"]).ok();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world
}

/// A folder with these programs and no others, for `PATH`.
fn programs(world: &World, names: &[&str]) -> PathBuf {
    let folder = world.folder().join("bin");
    std::fs::create_dir(&folder).unwrap();
    symlink(ACCESS, folder.join("access")).unwrap();
    for name in names {
        symlink(Path::new("/usr/bin").join(name), folder.join(name)).unwrap();
    }
    folder
}

/// bash in this world, as bob.
fn bash(world: &World, path: &Path, args: &[&str]) -> Command {
    let given = world.command("bob", &[]);
    let mut bash = Command::new("/bin/bash");
    bash.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bash.env_remove("ACCESS_TEST_NOW").env("PATH", path).env("RECIPE", recipe()).args(["--norc", "--noprofile"]);
    bash.args(args).current_dir(world.folder());
    bash
}

fn recipe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes/prompt.bash")
}

/// What bash prints that runs this, as (standard output, standard error).
fn said(world: &World, path: &Path, line: &str) -> (String, String) {
    let ran = bash(world, path, &["-c", line]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
}

/// Shows the prompt as bash would, after a command that failed with 7.
const SHOW: &str = r#"(exit 7); eval "$PROMPT_COMMAND"; echo "$? <${PS1@P}>""#;

#[test]
fn the_prompt_counts_down_and_keeps_the_exit_code() {
    let world = granted();
    let path = programs(&world, &["jq", "timeout"]);
    for (before, prompt) in [
        ("PS1='$ '", "7 <[target:orders-db 1h] $ >\n"),
        ("PS1='$? $ '", "7 <[target:orders-db 1h] 7 $ >\n"),
        ("PS1='$ '; PROMPT_COMMAND='seen=$?; (exit $seen)'", "7 <[target:orders-db 1h] $ >\n"),
        ("PS1='$ '; PROMPT_COMMAND=('seen=$?; (exit $seen)' 'true')", "7 <[target:orders-db 1h] $ >\n"),
        // As a bash in a bash may find them.
        ("PS1='${ACCESS_LEFT}$ '; PROMPT_COMMAND=_access_left", "7 <[target:orders-db 1h] $ >\n"),
        ("set -u; PS1='$ '", "7 <[target:orders-db 1h] $ >\n"),
    ] {
        let line = format!("{before}; source $RECIPE; {SHOW}");
        let (shown, complaints) = said(&world, &path, &line);
        // Of an hour some is over.
        assert_eq!((shown.replace("59m]", "1h]"), complaints), (prompt.to_owned(), String::new()), "{before}");
        // A second time, as when ~/.bashrc is read again: it is shown once.
        let line = format!("{before}; source $RECIPE; source $RECIPE; {SHOW}");
        let (shown, complaints) = said(&world, &path, &line);
        // Of an hour some is over.
        assert_eq!((shown.replace("59m]", "1h]"), complaints), (prompt.to_owned(), String::new()), "{before}");
    }
}

#[test]
fn the_prompt_is_quiet_where_there_is_nothing_to_say() {
    for names in [&["timeout"][..], &["jq"], &[]] {
        let world = granted();
        let path = programs(&world, names);
        let line = format!("PS1='$ '; source $RECIPE; {SHOW}");
        assert_eq!(said(&world, &path, &line), ("7 <$ >\n".to_owned(), String::new()), "{names:?}");
    }
    // No database, or nothing that ends.
    let world = World::empty();
    let path = programs(&world, &["jq", "timeout"]);
    let line = format!("PS1='$ '; source $RECIPE; {SHOW}");
    assert_eq!(said(&world, &path, &line), ("7 <$ >\n".to_owned(), String::new()));
    std::fs::remove_file(path.join("access")).unwrap();
    assert_eq!(said(&world, &path, &line), ("7 <$ >\n".to_owned(), String::new()));
}

#[test]
fn the_prompt_of_a_bash_in_which_somebody_types() {
    let world = granted();
    let path = programs(&world, &["jq", "timeout"]);
    let rc = format!("PATH={}\nPS1='$ '\nsource {}\n", path.display(), recipe().display());
    std::fs::write(world.folder().join("rc"), rc.clone() + &rc.replace("PS1='$ '\n", "")).unwrap();
    let given = world.command("bob", &[]);
    let mut typed = Command::new("/bin/bash");
    typed.args(["--noprofile", "--rcfile", "rc", "-i"]);
    typed.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("ACCESS_TEST_NOW");
    let terminal = Terminal::of(&world, &typed);
    terminal.shows_when("the prompt", |screen| ["1h] $", "59m] $"].iter().any(|it| screen.contains(it)));
    terminal.text("(exit 7)").key("Enter");
    terminal.text("echo \"code $?\"").key("Enter");
    let screen = terminal.shows("code 7");
    assert!(screen.lines().all(|line| line.matches("[target:").count() <= 1), "{screen}");
    terminal.text("exit 0").key("Enter");
}
