//! Direct attacks: on the files, and on the server's processes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::host::{ACCESS, DATABASE, Host, PEOPLE, PRELUDE, Ran, SOCKET, Start, access, as_user, root, shell, within};

/// All that stands in the database's folder, by name, size and hash.
fn stands() -> String {
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

/// The process that serves a connection which stays silent, and the one who holds it.
fn under_way(host: &Host, login: &str) -> (Child, u32) {
    let parent = host.server_pid().unwrap();
    let program = format!("{PRELUDE}s = connect(); print(s.recv(9)); sys.stdout.flush(); time.sleep(5)");
    let mut silent = as_user(login, "/usr/bin/python3", &["-I", "-c", &program]);
    let silent = silent.stdout(Stdio::null()).spawn().unwrap();
    let owner = crate::host::user("access").uid.as_raw();
    let mut found = None;
    let mut seek = || {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let ours = status.contains(&format!("PPid:\t{parent}\n")) && status.contains(&format!("Uid:\t{owner}\t"));
            if ours && command == "access\0serve\0--connection\0" {
                found = Some(pid);
                // Once it has closed up, what is told of it is root's.
                return entry.path().join("environ").metadata().is_ok_and(|of| of.uid() == 0);
            }
        }
        false
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
