//! What surrounds the client: limits, closed descriptors, hostile variables, a full disk, a full process table.

use std::fs;

use crate::host::{ACCESS, Host, access, as_user, home, root, run, shell, within};

fn sound(host: &Host) {
    access("alice", &["whoami"]).ok();
    access("ana", &["audit", "verify"]).ok();
    root(ACCESS, &["doctor"]).ok();
    assert!(!host.head().is_empty());
}

#[test]
fn a_limit_on_the_size_of_files_harms_nobody() {
    let Some(host) = Host::new() else { return };
    for (n, args) in ["request target:orders-db --reason x", "withdraw 1", "whoami", "list --all"].iter().enumerate() {
        let line = format!("exec prlimit --fsize=0 access {args}");
        assert!(shell("bob", &line).code == Some(0), "{n}: {args}");
    }
    sound(&host);
}

#[test]
fn other_limits_of_the_client_harm_nobody() {
    let Some(host) = Host::new() else { return };
    for limit in ["--nofile=4", "--as=20000000", "--stack=65536", "--cpu=1", "--data=1000000", "--memlock=0"] {
        for args in ["request target:orders-db --reason x", "check target:orders-db"] {
            let _ = shell("bob", &format!("exec prlimit {limit} access {args}"));
        }
    }
    sound(&host);
}

#[test]
fn closed_descriptors_harm_nobody() {
    let Some(host) = Host::new() else { return };
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let ran = shell("bob", &format!("access request target:orders-db --reason x --duration 2h {closed}"));
        assert!(ran.code.is_some_and(|code| code != 70), "{ran:?}");
        let _ = shell("bob", &format!("access list --all --json {closed}"));
        let _ = shell(
            "bob",
            &format!("access withdraw $(access list --mine --json | grep -o '\"id\":[0-9]*' | cut -d: -f2) {closed}"),
        );
    }
    let list = access("bob", &["list", "--mine", "--all", "--json"]).ok().json();
    assert!(list.as_array().unwrap().iter().all(|request| request["reason"] == "x"));
    sound(&host);
}

#[test]
fn a_hostile_environment_harms_nobody() {
    let Some(host) = Host::new() else { return };
    fs::create_dir_all("/home/bob/evil").unwrap();
    fs::write("/root/evil.c", "unsigned getuid(void) { return 0; } unsigned geteuid(void) { return 0; }\n").unwrap();
    root("cc", &["-shared", "-fPIC", "-o", "/home/bob/evil.so", "/root/evil.c"]).ok();
    fs::write("/root/none.c", "int none;\n").unwrap();
    root("cc", &["-shared", "-fPIC", "-o", "/home/bob/none.so", "/root/none.c"]).ok();
    for hostile in [
        "SQLITE_TMPDIR=/home/bob/evil TMPDIR=/home/bob/evil",
        "LD_PRELOAD=/home/bob/none.so",
        "HOME=/nowhere",
        "HOME=",
        "PATH=/home/bob/evil",
        "TZ=:/etc/shadow",
        "TZ=../../../home/bob/evil",
        "RUST_BACKTRACE=full RUST_LOG=trace",
        "LANG=xx LC_ALL=../../x",
        "COLUMNS=99999999999 TERM='$(id)' NO_COLOR=1",
        "LISTEN_FDS=3 LISTEN_PID=1 NOTIFY_SOCKET=/x INVOCATION_ID=x",
        "XDG_CONFIG_HOME=/home/bob XDG_DATA_HOME=/home/bob/evil XDG_RUNTIME_DIR=/home/bob",
    ] {
        shell("bob", &format!("env {hostile} {ACCESS} whoami --json")).ok().says("\"member\":\"bob\"");
    }
    // To itself, the preloaded client is root; to the server it is bob.
    shell("bob", &format!("LD_PRELOAD=/home/bob/evil.so {ACCESS} expire")).not_done();
    shell("bob", &format!("LD_PRELOAD=/home/bob/evil.so {ACCESS} check target:orders-db --user alice")).exits(3);
    assert_eq!(fs::read_dir("/home/bob/evil").unwrap().count(), 0);
    sound(&host);
}

#[test]
fn access_ends_in_every_time_zone() {
    let Some(host) = Host::new() else { return };
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id, "--duration", "2s"]).ok();
    access("bob", &["check", "target:orders-db"]).ok();
    within(
        std::time::Duration::from_secs(5),
        || access("bob", &["check", "target:orders-db"]).code == Some(1),
        "it ends",
    );
    for zone in ["Etc/GMT+12", "Etc/GMT-14", "AAA25", "AAA-25", "right/UTC", ":/home/bob/zone"] {
        shell("bob", &format!("TZ={zone} access check target:orders-db")).fails(1, "");
        assert_eq!(
            root("env", &[&format!("TZ={zone}"), ACCESS, "check", "--login", "bob", "target:orders-db"]).code,
            Some(1)
        );
    }
}

#[test]
fn a_full_disk_of_the_clients_harms_nobody() {
    let Some(host) = Host::new() else { return };
    root("mount", &["-t", "tmpfs", "-o", "size=64k,mode=777", "small", "/home/bob"]).ok();
    let _ = shell("bob", "cat /dev/zero > /home/bob/full");
    host.request("bob", "target:orders-db");
    let ran = shell("bob", "HOME=/home/bob TMPDIR=/home/bob access list > /home/bob/list");
    assert_eq!(ran.code, Some(74), "{ran:?}");
    let ran = shell("alice", "access audit export --format jsonl > /home/bob/log");
    assert_eq!(ran.code, Some(74), "{ran:?}");
    sound(&host);
}

#[test]
fn a_full_disk_of_the_servers_loses_nothing_and_answers() {
    let Some(mut host) = Host::bare() else { return };
    root("sh", &["-c", "mkdir -p /var/lib/access; mount -t tmpfs -o size=600k,mode=700 small /var/lib/access"]).ok();
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    host.serve(crate::host::Start::Listener);
    host.apply("ana", crate::host::TEAM).ok();
    let id = host.request("bob", "target:orders-db");
    root("sh", &["-c", "cat /dev/zero > /var/lib/access/full; true"]).ok();
    // Gates and reads go on. (The log and the shared memory went with the last who wrote.)
    access("bob", &["check", "target:orders-db"]).exits(1);
    root(ACCESS, &["check", "target:orders-db", "--login", "bob"]).exits(1);
    access("alice", &["list"]).ok().says("orders-db");
    access("alice", &["show", &id]).ok();
    root(ACCESS, &["doctor"]).ok();
    let mut failed = 0;
    for _ in 0..5 {
        let ran = access("bob", &["request", "connection:prod", "--reason", &"x".repeat(4000)]);
        failed += usize::from(ran.code == Some(74));
        access("bob", &["withdraw", "2"]);
    }
    assert!(failed > 0, "the disk is full");
    fs::remove_file("/var/lib/access/full").unwrap();
    access("alice", &["approve", &id]).ok();
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn a_full_process_table_of_the_clients_harms_nobody() {
    let Some(host) = Host::new() else { return };
    // All that bob may have, and he is short of one more.
    let mut sleeper = as_user("bob", "/bin/sh", &["-c", "for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; wait"]);
    let mut sleeping = sleeper.spawn().unwrap();
    let count = || shell("bob", "ps -u bob --no-headers | grep -c sleep").out.trim().parse() == Ok(8);
    within(std::time::Duration::from_secs(5), count, "his processes run");
    let uid = crate::host::user("bob").uid.to_string();
    let limited = |program: &str| {
        let words = ["--nproc=10", "setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "sh", "-c", program];
        root("prlimit", &words)
    };
    let ran = limited("sleep 0.01 & wait $! && echo forked");
    assert!(!ran.out.contains("forked"), "the table is full: {ran:?}");
    // A client needs no second process.
    limited("exec access request target:orders-db --reason x").ok();
    access("alice", &["approve", "1"]).ok();
    root("pkill", &["-KILL", "-u", &uid, "sleep"]).ok();
    sleeping.wait().unwrap();
    sound(&host);
}

#[test]
fn a_client_that_is_killed_in_the_middle_leaves_all_of_it_or_nothing() {
    let Some(host) = Host::new() else { return };
    for n in 0..30 {
        let line = format!("timeout -s KILL 0.00{n:02} access request target:orders-db --reason x --json");
        let _ = shell("bob", &line);
        let _ = run(&mut as_user("bob", ACCESS, &["withdraw", &(n + 1).to_string()]), String::new());
    }
    assert!(!home("bob").join(".local").exists());
    sound(&host);
}

#[test]
fn the_server_takes_nothing_from_its_environment() {
    let Some(host) = Host::new() else { return };
    // The listener was started with variables; neither it nor what it starts has any.
    let pid = host.server_pid().unwrap();
    assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap(), b"");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "access\n");
    // A connection that is handed over with variables starts anew without them.
    let program = "import os, socket, subprocess, sys, time\n\
                   a, b = socket.socketpair()\n\
                   env = {'ACCESS_DB': '/x', 'SQLITE_TMPDIR': '/', 'TZ': '/x', 'COMPLETE_X': '1', 'INVOCATION_ID': 'x'}\n\
                   s = subprocess.Popen(['/usr/bin/access', 'serve', '--connection'], stdin=b, stdout=subprocess.DEVNULL, \
                   env=env, pass_fds=[a.fileno()])\n\
                   b.close()\n\
                   assert a.recv(9) == b'access 1\\n'\n\
                   print(open(f'/proc/{s.pid}/environ', 'rb').read(), sorted(os.listdir(f'/proc/{s.pid}/fd')))\n\
                   s.kill()";
    let ran = root("/usr/bin/python3", &["-I", "-c", program]).ok();
    // Its own three, the connection, and its place.
    assert_eq!(ran.out, "b'' ['0', '1', '2', '3', '4']\n");
}
