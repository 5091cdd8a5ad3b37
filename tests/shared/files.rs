//! Direct attacks: on the files, and on the server's processes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::host::{
    ACCESS, CONFIG, DATABASE, Host, PEOPLE, PRELUDE, Ran, SOCKET, Start, access, as_user, home, python, root, shell,
    within,
};

/// All that is in the database's folder, by name, size and hash, once no server's process has the database open.
fn stands() -> String {
    let is_closed = || !Path::new(&format!("{DATABASE}-wal")).exists();
    within(Duration::from_secs(20), is_closed, "the server's processes end");
    root("sh", &["-c", "cd /var/lib/access && stat -c '%n %U %G %a %s' * && sha256sum access.db*"]).ok().out
}

#[test]
fn nobody_reads_copies_links_lists_or_changes_the_files() {
    let Some(host) = Host::new() else { return };
    let (head, before) = (host.head(), stands());
    for login in PEOPLE {
        for line in [
            "cat /var/lib/access/access.db",
            "cp /var/lib/access/access.db ~/copy.db",
            "ln /var/lib/access/access.db ~/linked.db",
            "ln -s /var/lib/access/access.db ~/link.db; cat ~/link.db",
            "ls /var/lib/access",
            "stat /var/lib/access/access.db-wal",
            "cat /var/lib/access/access.db.lock",
            "cat /var/lib/access/access.db.key",
            "sqlite3 /var/lib/access/access.db .dump",
            "sqlite3 'file:/var/lib/access/access.db?immutable=1' 'SELECT * FROM event'",
            "sqlite3 ~/link.db \"UPDATE member SET role = 'owner'\"",
            "echo x >> /var/lib/access/access.db",
            "truncate -s 0 /var/lib/access/access.db",
            "touch /var/lib/access/access.db-journal",
            "mv /var/lib/access /var/lib/elsewhere",
            "rmdir /var/lib/access",
            "chmod 755 /var/lib/access",
            "echo 'socket = \"/tmp/x\"' >> /etc/access/config.toml",
            "mv /etc/access/config.toml /etc/access/old",
            "ln -sf ~/own.toml /etc/access/config.toml",
            "rm -f /run/access/access.sock",
            "mv /run/access/access.sock /run/access/other.sock",
            "ln /run/access/access.sock ~/sock",
            "touch /run/access/x",
            "echo x > /usr/bin/access",
        ] {
            let ran = shell(login, line).not_done();
            assert!(!ran.out.contains("SQLite"), "{} gave: {}", ran.line, ran.out);
        }
    }
    assert_eq!(stands(), before);
    assert_eq!(host.head(), head);
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn every_file_is_the_systems_alone_under_any_umask() {
    let Some(mut host) = Host::bare() else { return };
    root("sh", &["-c", "umask 000; exec access init --shared --owner ana"]).ok();
    host.serve(Start::Handed);
    host.request_of_own();
    // Makes the key that signs checkpoints.
    host.head();
    root("sh", &["-c", "umask 000; exec access expire"]).ok();
    let files = root("sh", &["-c", "cd /var/lib/access && stat -c '%U:%G %a' . *"]).ok().out;
    let mut kinds: Vec<&str> = files.lines().collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["access:access 600", "access:access 700"], "{files}");
    let around = root("stat", &["-c", "%U:%G %a", "/etc/access", "/etc/access/config.toml", "/run/access", SOCKET]);
    assert_eq!(around.ok().out, "root:root 755\nroot:root 644\nroot:root 755\nroot:root 666\n");
    let bits = root("find", &["/usr/bin/access", "/var/lib/access", "/run/access", "/etc/access", "-perm", "/6000"]);
    assert_eq!(bits.ok().out, "", "no set-id bit anywhere");
}

#[test]
fn root_and_the_system_user_take_checkpoints_for_others_to_keep() {
    let Some(_host) = Host::new() else { return };
    let config = fs::read_to_string(CONFIG).unwrap();
    let file = "/var/lib/access/checkpoint";
    fs::write(CONFIG, format!("{config}\n[checkpoints]\nevery = \"1h\"\nfile = \"{file}\"\n")).unwrap();
    let taken = || {
        let log = access("ana", &["audit", "--json", "--action", "checkpoint.taken"]).ok().json();
        log.as_array().unwrap().iter().map(|entry| entry["os_user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    shell("access", "access expire").ok();
    root("access", &["expire"]).ok();
    assert_eq!(taken(), ["access"]);
    let owned = root("stat", &["-c", "%U:%G %a", file, "/var/lib/access/access.db.key"]).ok().out;
    assert_eq!(owned, "access:access 644\naccess:access 600\n");
    let kept = fs::read_to_string(file).unwrap();
    fs::write(home("ana").join("kept"), &kept).unwrap();
    access("ana", &["audit", "verify", "--against", home("ana").join("kept").to_str().unwrap()]).ok();
    // Members take no checkpoint for cron, and only admins take one at all.
    shell("bob", "access expire").not_done();
    access("bob", &["audit", "checkpoint", "--note"]).fails(3, "only admins");
}

/// The processes of this server that serve a connection.
fn serving(host: &Host) -> Vec<u32> {
    let parent = host.server_pid().unwrap();
    let owner = crate::host::user("access").uid.as_raw();
    let is_one = |pid: &u32| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ours = status.contains(&format!("PPid:\t{parent}\n")) && status.contains(&format!("Uid:\t{owner}\t"));
        ours && command == "access\0serve\0--connection\0"
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

/// The process that serves a connection which stays silent, and the one who holds it.
fn under_way(host: &Host, login: &str) -> (Child, u32) {
    within(Duration::from_secs(5), || serving(host).is_empty(), "what served the last command has ended");
    let program = format!("{PRELUDE}s = connect(); print(s.recv(9)); sys.stdout.flush(); time.sleep(5)");
    let mut silent = as_user(login, "/usr/bin/python3", &["-I", "-c", &program]);
    let silent = silent.stdout(Stdio::null()).spawn().unwrap();
    let mut found = None;
    let mut seek = || {
        found = serving(host).first().copied();
        // Once it has closed up, what is told of it is root's.
        found.is_some_and(|pid| fs::metadata(format!("/proc/{pid}/environ")).is_ok_and(|of| of.uid() == 0))
    };
    within(Duration::from_secs(5), &mut seek, "a connection is served");
    (silent, found.unwrap())
}

/// That the process is there, neither stopped nor traced nor ended.
fn goes_on(pid: u32) -> Option<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let harmed = ["State:\tT", "State:\tt"].iter().any(|state| status.contains(state));
    assert!(!harmed && status.contains("TracerPid:\t0"), "{status}");
    (!status.contains("State:\tZ")).then_some(())
}

/// A process that serves this user is attacked, which is not done, and it goes on. (Silence ends it after two seconds;
/// where a busy machine took so long, the attack is tried once more on another.)
fn survives(host: &Host, login: &str, attack: impl Fn(u32) -> Ran) {
    for _ in 0..20 {
        let begun = Instant::now();
        let (mut silent, connection) = under_way(host, login);
        let ran = attack(connection).not_done();
        let survived = goes_on(connection).is_some();
        let took = begun.elapsed();
        let _ = silent.kill();
        silent.wait().unwrap();
        let gone = || !fs::exists(format!("/proc/{connection}")).unwrap();
        within(Duration::from_secs(5), gone, "its server ends with it");
        if survived {
            return;
        }
        assert!(took > Duration::from_secs(2), "it ended: {ran:?}");
    }
    panic!("no attack was quick enough");
}

/// Each by `{pid}` of the process under attack.
const ATTACKS: [&str; 12] = [
    "kill -KILL {pid}",
    "kill -STOP {pid}",
    "kill -USR1 {pid}",
    "cat /proc/{pid}/environ",
    "cat /proc/{pid}/mem",
    "cat /proc/{pid}/maps",
    "ls /proc/{pid}/fd/",
    "timeout 5 strace -qq -p {pid} -o /dev/null",
    // PTRACE_ATTACH and PTRACE_SEIZE.
    "/usr/bin/python3 -Ic 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) != 0)'",
    "/usr/bin/python3 -Ic 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0x4206, {pid}, 0, 0) != 0)'",
    "prlimit --pid {pid} --nofile=0",
    "renice -n 19 -p {pid}",
];

#[test]
fn nobody_stops_traces_or_looks_into_the_process_that_serves_them() {
    let Some(host) = Host::alone(Start::Listener) else { return };
    let listener = host.server_pid().unwrap();
    let head = host.head();
    for login in PEOPLE {
        for attack in ATTACKS {
            survives(&host, login, |pid| shell(login, &attack.replace("{pid}", &pid.to_string())));
            shell(login, &attack.replace("{pid}", &listener.to_string())).not_done();
            goes_on(listener).unwrap_or_else(|| panic!("{login}: {attack}"));
        }
    }
    assert_eq!(host.head(), head);
    access("bob", &["whoami"]).ok();
}

#[test]
fn another_process_of_the_same_system_user_looks_into_none() {
    let Some(host) = Host::new() else { return };
    survives(&host, "bob", |pid| {
        let look = format!("cat /proc/{pid}/environ || cat /proc/{pid}/mem");
        root("setpriv", &["--reuid=access", "--regid=access", "--clear-groups", "sh", "-c", &look])
    });
}

#[test]
fn a_database_that_is_not_safe_is_not_served() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let refused = |says: &str| {
        root("timeout", &["5", ACCESS, "serve"]).fails(65, says);
    };
    fs::set_permissions(DATABASE, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    refused("read or written by others");
    root("chmod", &["600", DATABASE]).ok();
    root("chown", &["bob", DATABASE]).ok();
    refused("belongs to another user");
    root("chown", &["access", DATABASE]).ok();
    root("chmod", &["777", "/var/lib/access"]).ok();
    refused("can be written by others");
    root("chmod", &["700", "/var/lib/access"]).ok();
    root("mv", &[DATABASE, "/var/lib/access/real.db"]).ok();
    std::os::unix::fs::symlink("/var/lib/access/real.db", DATABASE).unwrap();
    refused("is a link");
    // A connection that is handed over to the same refuses likewise, and says so.
    host.serve(Start::Handed);
    access("bob", &["whoami"]).fails(65, "is a link");
}

/// Owner, mode and content.
fn looks(path: &str) -> String {
    root("sh", &["-c", &format!("stat -c '%U:%G %a %h' {path}; cat {path}")]).ok().out
}

#[test]
fn a_log_that_another_user_puts_beside_a_database_is_not_read() {
    let Some(_host) = Host::bare() else { return };
    access("bob", &["init", "--team", "honest"]).ok();
    access("mallory", &["init", "--team", "evil"]).ok();
    // In a folder like /tmp, and by somebody who can put files there.
    root(
        "sh",
        &[
            "-c",
            "mkdir -m 1777 /srv/tmp; install -o bob -g bob -m 600 ~bob/.local/share/access/access.db /srv/tmp/b.db",
        ],
    )
    .ok();
    let plant = "sqlite3 ~/.local/share/access/access.db \"UPDATE member SET name = 'bob', login = 'bob'\" \
                 '.shell cp ~/.local/share/access/access.db-wal /srv/tmp/b.db-wal; chmod 666 /srv/tmp/b.db-wal'";
    shell("mallory", plant).ok();
    assert!(fs::metadata("/srv/tmp/b.db-wal").unwrap().size() > 0);
    for args in [&["whoami"][..], &["team", "show"], &["check", "role:owner"], &["expire"], &["doctor"]] {
        let ran = access("bob", &[args, &["--db", "/srv/tmp/b.db"]].concat()).not_done().not("evil");
        assert!([&*ran.out, &*ran.err].concat().contains("can be written by others (mode 1777)"), "{ran:?}");
    }
    access("bob", &["init", "--db", "/srv/tmp/new.db"]).fails(65, "can be written by others");
    // Nor once the folder is bob's alone, and the log in it is not.
    root("sh", &["-c", "chown bob:bob /srv/tmp; chmod 755 /srv/tmp"]).ok();
    access("bob", &["whoami", "--db", "/srv/tmp/b.db"]).fails(65, "b.db-wal belongs to another user");
    root("rm", &["/srv/tmp/b.db-wal"]).ok();
    access("bob", &["team", "show", "--db", "/srv/tmp/b.db"]).ok().says("honest");
}

#[test]
fn a_report_over_the_server_is_the_callers_own_file() {
    let Some(host) = Host::new() else { return };
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    shell("alice", "umask 000; exec access report --html ~/page.html --csv ~/sheets").ok().says("1 held by 1 person");
    let made =
        root("sh", &["-c", "cd /home/alice && stat -c '%U:%G %a %n' page.html sheets sheets/grants.csv"]).ok().out;
    assert_eq!(made, "alice:alice 600 page.html\nalice:alice 700 sheets\nalice:alice 600 sheets/grants.csv\n");
    let page = fs::read_to_string("/home/alice/page.html").unwrap();
    assert!(page.contains("The log is whole") && page.contains("target:<wbr>orders-db"));
    // A link of somebody else in a folder that all can write, and what others may not read.
    root("mkdir", &["-m", "1777", "/srv/all"]).ok();
    shell("bob", "echo bob > ~/own; ln -s ~/own /srv/all/page.html; echo bob > /srv/all/bobs.html").ok();
    access("alice", &["report", "--html", "/srv/all/page.html"]).fails(5, "is a symbolic link");
    access("alice", &["report", "--html", "/srv/all/bobs.html"]).fails(5, "is no file of yours");
    shell("bob", "test \"$(cat ~/own /srv/all/bobs.html)\" = \"$(printf 'bob\\nbob')\"").ok();
    shell("carol", "cat /home/alice/page.html").not_done();
    for login in ["bob", "carol"] {
        access(login, &["report", "--html", "/srv/all/other.html"]).fails(3, "may make a report");
    }
    // By hand, the server refuses a call like any other, and root is no member.
    let program = "s = connect(); s.sendall(command({'PeriodReport': {'since': '2026-01-01T00:00:00Z', 'until': None}})); \
                   s.shutdown(socket.SHUT_WR); print(ascii(answers(s)))";
    python("bob", program).ok().says("may make a report");
    access("root", &["report"]).fails(3, "root is not a member");
}

#[test]
fn root_works_on_a_users_database_as_that_user() {
    let Some(_host) = Host::bare() else { return };
    access("bob", &["init", "--sample", "--db", "/home/bob/x.db"]).ok();
    root("sh", &["-c", "echo secret > /home/carol.txt; chown carol:carol /home/carol.txt; chmod 600 /home/carol.txt"])
        .ok();
    let before = looks("/home/carol.txt");
    for suffix in [".lock", "-wal", "-shm", "-journal"] {
        root("ln", &["/home/carol.txt", &format!("/home/bob/x.db{suffix}")]).ok();
        for args in [&["expire"][..], &["doctor"], &["backup", "/root/x.db"]] {
            root("timeout", &[&["20", ACCESS, "--db", "/home/bob/x.db"], args].concat()).not_done();
        }
        root("rm", &[&format!("/home/bob/x.db{suffix}")]).ok();
        assert_eq!(looks("/home/carol.txt"), before, "{suffix}");
    }
    root("sh", &["-c", "cd /root; exec access --db ../home/bob/x.db expire"]).ok();
    let left = root("sh", &["-c", "cd /home/bob && stat -c '%U:%G %a %n' x.db*"]).ok().out;
    assert!(left.lines().all(|line| line.starts_with("bob:bob 600 ")), "{left}");
    access("bob", &["--db", "/home/bob/x.db", "audit", "verify"]).ok();
    // What bob can't use, root does not use for him.
    root("install", &["-o", "carol", "-g", "carol", "-m", "600", "/home/bob/x.db", "/home/bob/carols.db"]).ok();
    root(ACCESS, &["--db", "/home/bob/carols.db", "expire"]).fails(65, "belongs to another user");
}

#[test]
fn the_system_user_turns_root_against_no_file() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let as_access = |line: &str| {
        root("setpriv", &["--reuid=access", "--regid=access", "--clear-groups", "sh", "-c", line]).ok();
    };
    let attempts = |says: &str| {
        for args in [&["expire"][..], &["outbox", "retry"], &["backup", "/root/never.db"]] {
            root("timeout", &[&["20", ACCESS], args].concat()).fails(65, says);
        }
        root("timeout", &["20", ACCESS, "doctor"]).exits(1);
        root("timeout", &["20", ACCESS, "serve"]).fails(65, says);
    };
    root("rm", &["-f", "/var/lib/access/access.db.lock"]).ok();
    as_access("mkfifo -m 600 /var/lib/access/access.db.lock");
    attempts("access.db.lock is not a regular file");
    as_access("rm /var/lib/access/access.db.lock");
    fs::write("/var/lib/victim", "root's own").unwrap();
    root("chmod", &["600", "/var/lib/victim"]).ok();
    let before = looks("/var/lib/victim");
    for suffix in [".lock", "-wal", "-shm"] {
        let path = format!("/var/lib/access/access.db{suffix}");
        let _ = fs::remove_file(&path);
        as_access(&format!("ln -s /var/lib/victim {path}"));
        attempts("is not a regular file");
        fs::remove_file(&path).unwrap();
        // Where the kernel does not forbid it (fs.protected_hardlinks), that user links what they can't read.
        fs::hard_link("/var/lib/victim", &path).unwrap();
        attempts("belongs to another user");
        fs::remove_file(&path).unwrap();
        assert_eq!(looks("/var/lib/victim"), before, "{suffix}");
    }
    as_access("rm -f /var/lib/access/access.db.places; mkfifo -m 600 /var/lib/access/access.db.places");
    host.serve(Start::Handed);
    access("bob", &["whoami"]).fails(65, "access.db.places is not a regular file");
    as_access("rm /var/lib/access/access.db.places");
    access("bob", &["whoami"]).ok();
    root(ACCESS, &["expire"]).ok();
}

#[test]
fn roots_backup_goes_only_where_root_alone_can_write() {
    let Some(host) = Host::new() else { return };
    host.request("bob", "target:orders-db");
    for folder in ["/home/bob", "/var/lib/access"] {
        root(ACCESS, &["backup", &format!("{folder}/copy.db")]).fails(65, "belongs to another user");
    }
    root("mkdir", &["-m", "1777", "/srv/tmp"]).ok();
    root(ACCESS, &["backup", "/srv/tmp/copy.db"]).fails(65, "can be written by others");
    root("mkdir", &["-m", "700", "/var/lib/copies"]).ok();
    root(ACCESS, &["backup", "/var/lib/copies/copy.db"]).ok();
    assert_eq!(
        root("sh", &["-c", "cd /var/lib/copies && stat -c '%n %U:%G %a' *"]).ok().out,
        "copy.db root:root 600\n"
    );
    root("sh", &["-c", "! ls /var/lib/access | grep copy"]).ok();
    root(ACCESS, &["--db", "/var/lib/copies/copy.db", "doctor"]).exits(0);
    root("rm", &["-r", "/var/lib/copies"]).ok();
    let own = ["--reuid=access", "--regid=access", "--clear-groups", ACCESS, "backup", "/var/lib/access/own.db"];
    root("setpriv", &own).ok();
}
