//! A disk that is full, or that can't be written to, on the host's side.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::copies::{Host, Team, assert_equal, said};
use crate::tools::wait_until;

/// A team whose first host has its folder on a small disk of its own, which only this thread and its children see. None: this
/// needs root.
fn on_a_small_disk() -> Option<(Team, PathBuf)> {
    if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        println!("skipped: this test needs root, and mounts of its own");
        return None;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let team = Team::start(2);
    let folder = team.hosts[0].db().parent().unwrap().to_owned();
    let kept = folder.with_extension("kept");
    std::fs::rename(&folder, &kept).unwrap();
    std::fs::create_dir(&folder).unwrap();
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=4m,mode=700")).unwrap();
    crate::tools::run(std::process::Command::new("cp").arg("-a").arg(kept.join(".")).arg(&folder));
    Some((team, folder))
}

/// Asks for something, and does this once the log's database has the entry and has not committed it.
fn ask_meanwhile(team: &Team, host: &Host, text: &str, args: &[&str], work: impl FnOnce()) -> Output {
    let mut admin = team.admin("acme");
    admin
        .batch_execute(
            "CREATE OR REPLACE FUNCTION held() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(99); RETURN NULL; END $$;
             CREATE OR REPLACE TRIGGER held AFTER INSERT ON access.entry EXECUTE FUNCTION held();
             SELECT pg_advisory_lock(99)",
        )
        .unwrap();
    let what = format!("connection:account{}", text.len());
    let ask = ["request", &what, "--reason", text];
    let mut command = host.command("bob1", &[&ask[..], args].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the entry is sent", || {
        assert!(child.try_wait().unwrap().is_none(), "{:?}", child.stderr.take().map(std::io::read_to_string));
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        admin.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 1
    });
    work();
    admin.batch_execute("SELECT pg_advisory_unlock(99)").unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn what_the_log_has_and_a_full_disk_has_not_is_done_and_said_so() {
    let Some((team, folder)) = on_a_small_disk() else { return };
    let host = &team.hosts[0];
    let filler = folder.join("filler");
    let fill = || {
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    };
    let ran = ask_meanwhile(&team, host, "full-1", &[], fill);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    assert!(said(&ran).contains("it is recorded in the shared log, but not in this host's copy yet"), "{}", said(&ran));
    assert!(said(&ran).contains("disk is full"), "{}", said(&ran));
    assert_eq!(team.count("full-1"), 1);
    // Until there is room, this host changes nothing, and still answers.
    host.ok("bob1", &["whoami"]);
    let ran = host.run("bob2", &["request", "connection:account2", "--reason", "full-2"]);
    assert_eq!(ran.status.code(), Some(74), "{}", said(&ran));
    assert_eq!(team.count("full-2"), 0);
    std::fs::remove_file(&filler).unwrap();

    let ran = ask_meanwhile(&team, host, "full-three", &["--duration", "30m", "--json"], fill);
    let printed: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(printed["as_of"]["position"], format!("crowd@{}", team.count("")).as_str());
    assert!(printed["as_of"]["unwritten"].as_str().unwrap().contains("full"), "{printed}");
    std::fs::remove_file(&filler).unwrap();
    team.admin("acme").batch_execute("DROP TRIGGER held ON access.entry").unwrap();
    assert_equal(&team.hosts);
    let times = |text: &str| host.log().iter().filter(|(_, body)| body.contains(text)).count();
    assert_eq!((times("full-1"), times("full-three")), (1, 1));
}

#[test]
fn a_copy_on_a_read_only_disk_changes_nothing() {
    let Some((team, folder)) = on_a_small_disk() else { return };
    let host = &team.hosts[0];
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &folder, None::<&str>, flags, None::<&str>).unwrap();
    let ran = host.run("bob1", &["request", "connection:account1", "--reason", "read-only"]);
    assert_eq!(ran.status.code(), Some(74), "{}", said(&ran));
    assert_eq!(team.count("read-only"), 0);
    let ran = host.run("bob1", &["follow", "--once"]);
    assert_eq!(ran.status.code(), Some(74), "{}", said(&ran));
    assert!(said(&ran).contains("read-only file system"), "{}", said(&ran));
}
