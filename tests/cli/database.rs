//! The database file: what is taken for one, and what no accident may do to it.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::{geteuid, mkfifo};
use rusqlite::Connection;

use crate::harness::{ACCESS, Ran, World};

/// Two Unix users that are not root and need no entry in the system's user database.
const OWNER: u32 = 65_534;
const STRANGER: u32 = 65_533;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Every way in, by reading and by writing, ends so; and the file stays as it was, with nothing beside it.
#[track_caller]
fn refuses(world: &World, code: i32, says: &str) {
    let bytes = || world.db().is_file().then(|| fs::read(world.db()).unwrap());
    let before = bytes();
    let beside = listing(world.folder());
    for args in [
        &["list"][..],
        &["request", "target:orders-db", "--reason", "x"],
        &["expire"],
        &["team", "show", "--json"],
        &["check", "target:orders-db"],
    ] {
        let ran = world.run("bob", args).exits(code);
        assert!(ran.err.contains(says), "expected: {says}\n{ran:?}");
        assert!(ran.err.contains("hint"), "{ran:?}");
        assert_eq!(ran.out, "", "{ran:?}");
    }
    assert_eq!(bytes(), before);
    assert_eq!(listing(world.folder()), beside);
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_no_database() {
    let world = World::empty();
    fs::create_dir(world.db()).unwrap();
    refuses(&world, 65, "is a folder");
}

#[test]
fn a_link_is_no_database_wherever_it_points() {
    let world = World::sample();
    let real = world.folder().join("real.db");
    fs::rename(world.db(), &real).unwrap();
    symlink(&real, world.db()).unwrap();
    refuses(&world, 65, "is a link");
    fs::remove_file(&real).unwrap();
    refuses(&world, 65, "is a link");
    world.run("bob", &["init"]).fails(5, "already exists");
    assert!(!real.exists(), "nothing is made at its end");
}

#[test]
fn a_linked_folder_is_followed() {
    let world = World::sample();
    let link = world.folder().join("link");
    symlink(world.folder(), &link).unwrap();
    let path = link.join("access.db");
    world.run("bob", &["request", "target:orders-db", "--reason", "x", "--db", path.to_str().unwrap()]).ok();
    assert_eq!(world.state("1"), "pending");
}

#[test]
fn a_pipe_is_no_database_and_nobody_waits_on_it() {
    let world = World::empty();
    mkfifo(&world.db(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    refuses(&world, 65, "is not a regular file");
}

#[test]
fn what_is_not_sqlite_is_left_alone() {
    let world = World::empty();
    for (bytes, says) in [
        (vec![], "is empty"),
        (b"Dear diary, today I wrote no database at all.\n".repeat(4096), "not an SQLite database"),
        (b"x".to_vec(), "not an SQLite database"),
        (vec![0; 8192], "not an SQLite database"),
    ] {
        fs::write(world.db(), &bytes).unwrap();
        set_mode(&world.db(), 0o600);
        refuses(&world, 65, says);
    }
}

#[test]
fn another_programs_database_is_left_alone() {
    for setup in ["", "PRAGMA journal_mode=WAL;", "PRAGMA application_id=252006674;", "PRAGMA user_version=1;"] {
        let world = World::empty();
        let other = Connection::open(world.db()).unwrap();
        other.execute_batch(&format!("{setup} CREATE TABLE event (x); INSERT INTO event VALUES (1);")).unwrap();
        other.close().unwrap();
        set_mode(&world.db(), 0o600);
        refuses(&world, 65, "is another program's database");
    }
}

#[test]
fn a_newer_file_is_not_touched() {
    let world = World::sample();
    let conn = Connection::open(world.db()).unwrap();
    conn.execute_batch("PRAGMA user_version=99").unwrap();
    conn.close().unwrap();
    refuses(&world, 65, "newer version of access (schema 99");
}

#[test]
fn a_truncated_file_is_found_out() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let _ = fs::remove_file(world.folder().join("access.db.lock"));
    let whole = fs::read(world.db()).unwrap();
    let page = 4096;
    assert_eq!(whole.len() % page, 0);
    for length in [
        1,
        15,
        16,
        50,
        99,
        100,
        511,
        512,
        1000,
        page - 1,
        page,
        page + 1,
        2 * page,
        5 * page + 1234,
        whole.len() / 2 / page * page,
        whole.len() - page,
        whole.len() - 1000,
        whole.len() - 1,
    ] {
        fs::write(world.db(), &whole[..length]).unwrap();
        refuses(&world, 65, "");
    }
    fs::write(world.db(), &whole).unwrap();
    assert_eq!(world.state("1"), "pending");
}

#[test]
fn only_its_owner_may_read_or_write_it() {
    let world = World::sample();
    for mode in [0o644, 0o660, 0o620, 0o604, 0o602, 0o601] {
        set_mode(&world.db(), mode);
        refuses(&world, 65, "can be read or written by others");
    }
    for mode in [0o400, 0o200] {
        set_mode(&world.db(), mode);
        refuses(&world, 65, "is read-only");
    }
    set_mode(&world.db(), 0o600);
    world.run("bob", &["list"]).ok();
}

#[test]
fn nobody_else_may_put_another_file_in_its_place() {
    let world = World::sample();
    for mode in [0o777, 0o770, 0o722] {
        set_mode(world.folder(), mode);
        refuses(&world, 65, "can be written by others");
        let path = world.folder().join("new.db");
        world.run("ana", &["init", "--db", path.to_str().unwrap()]).fails(65, "can be written by others");
        assert!(!path.exists());
    }
    // In a sticky folder such as /tmp nobody replaces the files of others, but anybody puts a log beside a database.
    set_mode(world.folder(), 0o1777);
    refuses(&world, 65, "can be written by others (mode 1777)");
    for mode in [0o755, 0o700] {
        set_mode(world.folder(), mode);
        world.run("bob", &["list"]).ok();
    }
}

#[test]
fn what_lies_beside_it_is_its_owners_alone_or_it_is_refused() {
    let world = World::sample();
    let other = world.folder().join("other");
    for suffix in ["-wal", "-shm", "-journal", ".lock"] {
        let path = world.folder().join(format!("access.db{suffix}"));
        let spoilt = |says: &str, spoil: &dyn Fn()| {
            fs::write(&other, "mine").unwrap();
            set_mode(&other, 0o600);
            let _ = fs::remove_file(&path);
            spoil();
            refuses(&world, 65, &format!("access.db{suffix} {says}"));
            assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
            fs::remove_file(&path).unwrap();
        };
        spoilt("is not a regular file", &|| mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap());
        spoilt("is not a regular file", &|| symlink(&other, &path).unwrap());
        spoilt("is a hard link: the same file has another name", &|| fs::hard_link(&other, &path).unwrap());
        spoilt("can be read or written by others (mode 0666)", &|| {
            fs::write(&path, "").unwrap();
            set_mode(&path, 0o666);
        });
        if geteuid().is_root() {
            spoilt("belongs to another user", &|| {
                fs::write(&path, "").unwrap();
                set_mode(&path, 0o600);
                chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
            });
        }
        world.run("bob", &["list"]).ok();
    }
}

#[test]
fn a_copy_is_not_made_where_others_can_write() {
    let world = World::sample();
    let folder = world.folder().join("copies");
    fs::create_dir(&folder).unwrap();
    let copy = folder.join("copy.db");
    let backup = || world.run("root", &["backup", copy.to_str().unwrap()]);
    for mode in [0o777, 0o1777, 0o770] {
        set_mode(&folder, mode);
        backup().fails(65, "can be written by others");
    }
    set_mode(&folder, 0o755);
    if geteuid().is_root() {
        chown(&folder, Some(STRANGER), Some(STRANGER)).unwrap();
        backup().fails(65, "belongs to another user");
        chown(&folder, Some(0), Some(0)).unwrap();
    }
    assert_eq!(listing(&folder), [""; 0].map(PathBuf::from));
    backup().ok();
}

/// A world whose folder and database belong to `OWNER`, and the program within everybody's reach. None: only root
/// can make one.
fn of_another_user() -> Option<World> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return None;
    }
    let world = World::sample();
    // By another process: a file that is open for writing in this one can't be run.
    assert!(Command::new("cp").arg(ACCESS).arg(world.folder()).status().unwrap().success());
    set_mode(world.folder(), 0o755);
    for path in [world.folder(), &world.db()] {
        chown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
    Some(world)
}

/// The exit code and the errors, when run under this uid.
fn run_under(world: &World, uid: u32, login: &str, args: &[&str]) -> (i32, String) {
    let plain = world.command(login, args);
    let mut command = Command::new(world.folder().join("access"));
    command.args(args).env_clear().uid(uid).gid(uid).current_dir(world.folder()).stdin(Stdio::null());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_file_of_another_user_is_refused() {
    let Some(world) = of_another_user() else { return };
    let ask = ["request", "target:orders-db", "--reason", "x"];
    let (code, err) = run_under(&world, STRANGER, "bob", &ask);
    assert_eq!(code, 65, "{err}");
    assert!(err.contains("belongs to another user"), "{err}");
    assert_eq!(run_under(&world, OWNER, "bob", &ask), (0, String::new()));

    chown(world.folder(), Some(STRANGER), Some(STRANGER)).unwrap();
    let (code, err) = run_under(&world, OWNER, "bob", &["list"]);
    assert_eq!(code, 65, "who owns the folder could put another file there: {err}");
}

#[test]
fn root_may_use_the_file_and_leaves_it_to_its_owner() {
    let Some(world) = of_another_user() else { return };
    // Root's cron may well be the first to write.
    assert_eq!(world.run("root", &["expire"]).ok().err, "");
    let ask = ["request", "target:orders-db", "--reason", "x"];
    assert_eq!(run_under(&world, OWNER, "bob", &ask), (0, String::new()));
    world.run("root", &["expire"]).ok();
    assert_eq!(run_under(&world, OWNER, "alice", &["approve", "1"]), (0, String::new()));
}

/// What must hold whatever happened: the file is sound, the log has no gap, and nothing is half-done.
#[track_caller]
fn sound(world: &World) {
    let log = world.json("olivia", &["audit"]);
    let seqs: Vec<i64> = log.as_array().unwrap().iter().rev().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    let conn = Connection::open(world.db()).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    let entries = |action: &str| count(&format!("SELECT count(*) FROM event WHERE action = '{action}'"));
    let requests = "SELECT count(*) FROM request";
    assert_eq!(count(requests), entries("request.submitted"));
    assert_eq!(count(&format!("{requests} WHERE state = 'approved'")), entries("request.approved"));
    assert_eq!(count("SELECT count(*) FROM grant"), entries("grant.started"));
    assert_eq!(entries("request.approved"), entries("grant.started"));
    assert_eq!(count("SELECT count(*) FROM grant WHERE ended_at IS NOT NULL"), entries("grant.expired"));
    let orphans = "SELECT count(*) FROM request WHERE state = 'approved' AND id NOT IN (SELECT request FROM grant)";
    assert_eq!(count(orphans), 0, "every approved request has its grant");
    let told = "SELECT count(*) FROM notification JOIN event USING (seq) WHERE action = 'grant.expired'";
    assert_eq!(count(told), entries("grant.expired"), "and everybody was told once");
}

/// Runs the program and kills it after a while, if it has not ended before.
fn killed(world: &World, login: &str, args: &[&str], after: Duration) {
    let mut child = world.command(login, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(after);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_half_done() {
    let world = World::sample();
    let began = Instant::now();
    let first = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    let run = began.elapsed();
    let mut ids = vec![first];
    for who in ["bob", "dave", "frank", "grace", "heidi", "ivan"] {
        for what in ["billing-db", "orders-api", "search-index"] {
            // Some have it already.
            let ran = world.run(who, &["request", &format!("target:{what}"), "--reason", "x", "--json"]);
            ids.extend((ran.code == 0).then(|| ran.json()["id"].to_string()));
        }
    }
    // Kills spread evenly over the time that a run takes, and a little more.
    let moment = |nth: usize, of: usize| run.mul_f64(1.2 * nth as f64 / of as f64);
    for (nth, id) in ids.iter().enumerate() {
        killed(&world, "alice", &["approve", id], moment(nth, ids.len()));
    }
    sound(&world);
    for id in &ids {
        let again = world.run("alice", &["approve", id]);
        assert!(again.code == 0 || again.code == 5, "done before or doable now: {again:?}");
        assert_eq!(world.state(id), "active");
    }
    world.pass("2h");
    for nth in 0..12 {
        killed(&world, "root", &["expire"], moment(nth, 12));
    }
    sound(&world);
    world.run("root", &["expire"]).ok();
    assert!(ids.iter().all(|id| world.state(id) == "expired"));
    sound(&world);
}

#[test]
fn kills_amid_many_at_once_leave_nothing_half_done() {
    let world = World::sample();
    let ids: Vec<String> = (0..8)
        .map(|nth| {
            let what = ["target:billing-db", "target:orders-db"][nth % 2];
            world.request(["bob", "frank", "heidi", "ivan"][nth / 2], what, &[])
        })
        .collect();
    let mut children: Vec<_> = ids
        .iter()
        .flat_map(|id| ["alice", "erin", "olivia"].map(|who| world.command(who, &["approve", id])))
        .map(|mut command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    for child in children.iter_mut().step_by(2) {
        sleep(Duration::from_millis(2));
        let _ = child.kill();
    }
    for child in &mut children {
        child.wait().unwrap();
    }
    sound(&world);
    world.request("carol", "target:orders-db", &[]);
}

/// A file system of one mebibyte, gone with its guard. None: only root can mount, and not everywhere.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<SmallDisk> {
        SmallDisk::mount_of(at, &["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
    }

    fn mount_of(at: PathBuf, how: &[&str]) -> Option<SmallDisk> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(how).arg(&at).stderr(Stdio::null());
        let mounted = geteuid().is_root() && mount.status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: no file system can be mounted here");
        }
        mounted.then_some(SmallDisk(at))
    }

    /// Leaves only so many pages free.
    fn fill(&self, pages_left: usize) {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast).unwrap();
        let mut pages = 0;
        while file.write_all(&[0; 4096]).is_ok() {
            pages += 1;
        }
        file.set_len(4096 * (pages - pages_left) as u64).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_done() {
    let world = World::empty();
    let Some(disk) = SmallDisk::mount(world.folder().join("disk")) else { return };
    let db = disk.0.join("access.db");
    let db = db.to_str().unwrap();
    disk.fill(4);
    world.run("olivia", &["init", "--sample", "--db", db]).fails(74, "can't be");
    assert_eq!(listing(&disk.0), [disk.0.join("ballast")], "no draft is left behind");
    disk.free();
    world.run("olivia", &["init", "--sample", "--db", db]).ok();

    let reason = "x".repeat(4000);
    let ask = ["request", "target:orders-db", "--reason", &reason, "--db", db];
    let log = || world.json("olivia", &["audit", "--db", db]);
    let before = log();
    // The disk runs out in the shared memory, in the log of what is written, and at the commit.
    for left in [0, 1, 3, 7, 8, 9, 10, 12, 14] {
        // What reading left behind.
        let _ = fs::remove_file(format!("{db}-shm"));
        disk.fill(left);
        let ran = world.run("bob", &ask).exits(74);
        assert!(ran.err.starts_with("error: ") && ran.out.is_empty(), "{left} pages left: {ran:?}");
        disk.free();
        assert_eq!(log(), before, "{left} pages left");
        assert_eq!(world.json("olivia", &["list", "--all", "--db", db]), serde_json::json!([]), "{left} pages left");
    }
    world.run("bob", &ask).ok();
}

#[test]
fn a_full_disk_stops_no_reading() {
    let world = World::empty();
    let Some(disk) = SmallDisk::mount(world.folder().join("disk")) else { return };
    let db = disk.0.join("access.db");
    let db = db.to_str().unwrap();
    world.run("olivia", &["init", "--sample", "--db", db]).ok();
    world.run("bob", &["request", "target:orders-db", "--reason", "x", "--db", db]).ok();
    world.run("alice", &["approve", "1", "--db", db]).ok();
    world.run("bob", &["request", "target:billing-db", "--reason", "x", "--db", db]).ok();
    let copy = world.folder().join("copy.db");
    let reads: [(&str, &[&str], i32); 15] = [
        ("bob", &["check", "target:orders-db"], 0),
        ("bob", &["check", "target:billing-db"], 1),
        ("root", &["check", "target:orders-db", "--user", "bob"], 0),
        ("alice", &["list"], 0),
        ("alice", &["show", "1"], 0),
        ("bob", &["whoami"], 0),
        ("alice", &["who", "target:orders-db"], 0),
        ("alice", &["inbox"], 0),
        ("bob", &["resources"], 0),
        ("olivia", &["audit"], 0),
        ("olivia", &["audit", "verify"], 0),
        ("olivia", &["audit", "export", "--format", "csv"], 0),
        ("olivia", &["team", "show"], 0),
        ("root", &["expire", "--dry-run"], 0),
        ("root", &["doctor"], 0),
    ];
    let tried = |pages_left: usize| {
        for (who, args, code) in reads {
            for beside in ["-wal", "-shm"] {
                // The last to close after a write removes both.
                let _ = fs::remove_file(format!("{db}{beside}"));
            }
            disk.fill(pages_left);
            world.run(who, &[args, &["--db", db]].concat()).exits(code);
            disk.free();
        }
    };
    for pages_left in [0, 1, 7] {
        tried(pages_left);
    }
    for beside in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{db}{beside}"));
    }
    disk.fill(0);
    // Many at once take turns.
    let gate = || world.command("bob", &["check", "target:orders-db", "--db", db]);
    let gates: Vec<_> = (0..12).map(|_| gate().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).collect();
    for mut gate in gates {
        assert_eq!(gate.wait().unwrap().code(), Some(0));
    }
    // A copy is made on a disk that has room.
    world.run("root", &["backup", copy.to_str().unwrap(), "--db", db]).ok();
    world.run("bob", &["request", "target:search-index", "--reason", "x", "--db", db]).fails(74, "no space");
    disk.free();
    world.run("bob", &["request", "target:search-index", "--reason", "x", "--db", db]).ok();
    world.run("bob", &["check", "target:orders-db", "--db", copy.to_str().unwrap()]).ok();
}

/// A file as the first version of the schema had it, with one grant and one request that waits.
#[test]
fn a_file_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let world = World::empty();
    let dump = include_str!("../fixtures/database-v1.sql");
    assert!(world.sqlite(dump).status.success());
    fs::set_permissions(world.db(), Permissions::from_mode(0o600)).unwrap();
    world.set_clock("2026-11-24T17:00:00Z");
    let last = world.rows("SELECT last_seq FROM team");

    let list = world.json("root", &["--as", "olivia", "list", "--all"]);
    let states: Vec<&str> = list.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "expired"]);
    assert_eq!(world.rows("PRAGMA user_version"), ["4"]);
    assert_eq!(world.rows("SELECT last_seq FROM team"), last, "nothing is recorded by that");
    world.run("root", &["--as", "olivia", "audit", "verify"]).ok();
    world.run("root", &["--as", "alice", "approve", "2"]).ok();
    world.run("root", &["expire"]).ok();
    assert!(world.run("root", &["--as", "carol", "check", "target:billing-db"]).code == 0);
    world.run("root", &["--as", "olivia", "audit", "verify"]).ok();
}

/// What was made on a disk of nearly enough room is whole, or is not there.
fn whole_or_nothing(world: &World, make: impl Fn(&str) -> Ran) {
    let (mut made, mut failed) = (0, 0);
    for kib in (220..=520).step_by(4) {
        let folder = world.folder().join(format!("disk-{kib}"));
        let how = ["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700"), "tmpfs"];
        let Some(disk) = SmallDisk::mount_of(folder, &how) else { return };
        let db = disk.0.join("new.db");
        let db = db.to_str().unwrap();
        let ran = make(db);
        if ran.code == 0 {
            made += 1;
            disk.remount("size=4m");
            let checked = Command::new("sqlite3").arg(db).arg("PRAGMA integrity_check").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&checked.stdout), "ok\n", "{kib} KiB: {checked:?}");
            world.run("olivia", &["audit", "verify", "--db", db]).ok();
            world.run("bob", &["request", "target:orders-db", "--reason", "x", "--db", db]).ok();
        } else {
            failed += 1;
            assert_eq!(ran.code, 74, "{kib} KiB: {ran:?}");
            assert!(listing(&disk.0).is_empty(), "{kib} KiB: {:?}", listing(&disk.0));
        }
    }
    assert!(made > 0 && failed > 0, "the sizes are around the one that suffices: {made} made, {failed} not");
}

#[test]
fn a_database_made_on_a_nearly_full_disk_is_whole_or_not_there() {
    let world = World::empty();
    whole_or_nothing(&world, |db| world.run("olivia", &["init", "--sample", "--db", db]));
}

#[test]
fn a_copy_made_on_a_nearly_full_disk_is_whole_or_not_there() {
    let world = World::sample();
    whole_or_nothing(&world, |db| world.run("root", &["backup", db]));
}

#[test]
fn a_read_only_file_system_is_named_with_what_to_do() {
    let world = World::sample();
    let how = ["--bind", world.folder().to_str().unwrap()];
    let outside = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount_of(outside.path().join("disk"), &how) else { return };
    disk.remount("bind,ro");
    let db = disk.0.join("access.db");
    let db = db.to_str().unwrap();
    for args in [&["list"][..], &["check", "target:orders-db"], &["expire"], &["request", "target:x", "--reason", "x"]]
    {
        let ran = world.run("bob", &[args, &["--db", db]].concat()).fails(74, "is on a read-only file system");
        assert!(ran.err.contains("hint: mount it read-write, or copy the database"), "{ran:?}");
    }
    let new = disk.0.join("new.db");
    world.run("bob", &["init", "--db", new.to_str().unwrap()]).fails(74, "ead-only file system");
    world.run("bob", &["backup", new.to_str().unwrap()]).fails(74, "ead-only file system");
}

#[test]
fn a_folder_that_its_owner_can_not_write_is_named() {
    let Some(world) = of_another_user() else { return };
    set_mode(world.folder(), 0o555);
    for args in [&["list"][..], &["request", "target:orders-db", "--reason", "x"]] {
        let (code, err) = run_under(&world, OWNER, "bob", args);
        assert_eq!(code, 65, "{err}");
        assert!(err.contains("is read-only for you") && err.contains("hint"), "{err}");
    }
    set_mode(world.folder(), 0o755);
    assert_eq!(run_under(&world, OWNER, "bob", &["list"]).0, 0);
}

#[test]
fn a_file_system_that_nothing_is_known_of_is_a_warning() {
    let world = World::empty();
    let how = ["-t", "ramfs", "-o", "mode=700", "ramfs"];
    let Some(disk) = SmallDisk::mount_of(world.folder().join("disk"), &how) else { return };
    let db = disk.0.join("access.db");
    let db = db.to_str().unwrap();
    world.run("olivia", &["init", "--sample", "--db", db]).ok();
    let ran = world.run("root", &["doctor", "--db", db]).ok();
    assert!(ran.out.contains("on an unknown file system (0x858458f6)"), "{}", ran.out);
}

/// A file system in user space, served by a program of ours: the kernel calls it as it does sshfs.
#[test]
fn a_file_system_in_user_space_is_refused() {
    let world = World::empty();
    if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: no file system in user space can be mounted here");
        return;
    }
    let at = world.folder().join("fuse");
    fs::create_dir(&at).unwrap();
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/fuse.py");
    let mut serving = Command::new("python3").arg(server).arg(&at).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(serving.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let db = at.join("access.db");
    let ran = world.run("olivia", &["init", "--db", db.to_str().unwrap()]);
    let _ = Command::new("umount").arg("-l").arg(&at).status();
    serving.kill().unwrap();
    serving.wait().unwrap();
    ran.fails(65, "is on a network or shared file system (FUSE");
}

/// A file as the first version had it, that another process is about to migrate: it holds the write lock.
#[test]
fn a_migration_that_waited_for_a_newer_one_changes_nothing() {
    let world = World::empty();
    assert!(world.sqlite(include_str!("../fixtures/database-v1.sql")).status.success());
    set_mode(&world.db(), 0o600);
    let newer = Connection::open(world.db()).unwrap();
    newer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = world.command("bob", &["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(500));
    newer.execute_batch("PRAGMA user_version = 99; COMMIT").unwrap();
    newer.close().unwrap();
    let output = waiting.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{err}");
    assert!(err.contains("newer version of access (schema 99"), "{err}");
    assert_eq!(world.rows("PRAGMA user_version"), ["99"]);
    assert_eq!(world.rows("SELECT count(*) FROM sqlite_schema WHERE name = 'request_review'"), ["0"]);
}

#[test]
fn a_write_that_waited_for_a_newer_migration_changes_nothing() {
    let world = World::sample();
    let newer = Connection::open(world.db()).unwrap();
    newer.execute_batch("BEGIN IMMEDIATE; ALTER TABLE request ADD COLUMN new TEXT").unwrap();
    let ask = ["request", "target:orders-db", "--reason", "x"];
    let waiting = world.command("bob", &ask).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(500));
    newer.execute_batch("PRAGMA user_version = 99; COMMIT").unwrap();
    let output = waiting.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{err}");
    assert!(err.contains("newer version of access (schema 99"), "{err}");
    assert_eq!(world.rows("SELECT count(*) FROM request"), ["0"]);
}

/// Root and a user who owns a database, in a folder of that user's.
#[test]
fn root_changes_no_file_of_anybody_else_by_way_of_a_users_database() {
    let Some(world) = of_another_user() else { return };
    let victim = tempfile::tempdir().unwrap();
    set_mode(victim.path(), 0o755);
    let file = victim.path().join("victim");
    let looks = || {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(&file).unwrap();
        (found.uid(), found.mode(), fs::read(&file).unwrap())
    };
    fs::write(&file, "root's own").unwrap();
    set_mode(&file, 0o600);
    let before = looks();
    for suffix in [".lock", "-wal", "-shm", "-journal"] {
        let path = world.folder().join(format!("access.db{suffix}"));
        let links: [&dyn Fn(); 2] = [&|| fs::hard_link(&file, &path).unwrap(), &|| symlink(&file, &path).unwrap()];
        for link in links {
            let _ = fs::remove_file(&path);
            link();
            for args in [&["expire"][..], &["doctor"], &["outbox", "retry"], &["backup", "/root/no.db"]] {
                let ran = world.run("root", args);
                assert!(matches!(ran.code, 1 | 65), "{ran:?}");
                assert_eq!(looks(), before, "{suffix}: {ran:?}");
            }
            fs::remove_file(&path).unwrap();
        }
    }
    // And nobody is held up.
    mkfifo(&world.folder().join("access.db.lock"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    chown(world.folder().join("access.db.lock"), Some(OWNER), Some(OWNER)).unwrap();
    let begun = Instant::now();
    world.run("root", &["expire"]).fails(65, "access.db.lock is not a regular file");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn root_uses_no_database_of_a_user_whom_nobody_knows() {
    let Some(world) = of_another_user() else { return };
    for path in [world.folder(), &world.db()] {
        chown(path, Some(3_999_999_999), Some(OWNER)).unwrap();
    }
    world.run("root", &["expire"]).fails(65, "which has no user on this system");
    // Nor what belongs to two at once: the one's folder, the other's file.
    chown(world.folder(), Some(STRANGER), Some(STRANGER)).unwrap();
    chown(world.db(), Some(OWNER), Some(OWNER)).unwrap();
    world.run("root", &["expire"]).fails(65, "belongs to another user");
    chown(world.db(), Some(0), Some(0)).unwrap();
    world.run("root", &["expire"]).fails(65, "belongs to another user");
}

#[test]
fn roots_backup_of_a_users_database_is_roots_and_whole() {
    let Some(world) = of_another_user() else { return };
    let safe = tempfile::tempdir().unwrap();
    let copy = safe.path().join("copy.db");
    // That user can't even see the folder.
    set_mode(safe.path(), 0o700);
    let told = world.json("root", &["backup", copy.to_str().unwrap()]);
    assert_eq!(told["file"], copy.to_str().unwrap());
    assert_eq!(listing(safe.path()), std::slice::from_ref(&copy));
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(&copy).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777, Some(found.len())), (0, 0o600, told["bytes"].as_u64()));
    world.run("olivia", &["--db", copy.to_str().unwrap(), "audit", "verify"]).ok();
    let left: Vec<_> =
        listing(world.folder()).into_iter().filter(|path| path.to_string_lossy().contains(".copy")).collect();
    assert!(left.is_empty(), "{left:?}");
    world.run("root", &["backup", copy.to_str().unwrap()]).fails(5, "already exists");
    // A folder that is not root's alone.
    world
        .run("root", &["backup", world.folder().join("copy.db").to_str().unwrap()])
        .fails(65, "belongs to another user");
    set_mode(safe.path(), 0o1777);
    world.run("root", &["backup", safe.path().join("x").to_str().unwrap()]).fails(65, "can be written by others");
}
