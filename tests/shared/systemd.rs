//! The units, run by a systemd of the test's own: sandboxed as they say, and asked by real users.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::delivery::{Server, team, wire};
use crate::host::{ACCESS, Host, root, user};
use crate::shared_log::Log;

/// A command as a user; its exit code is told.
const AS: &str = r#"
as() { login=$1; shift; setpriv --reuid "$login" --regid "$login" --init-groups --reset-env "$@" >/dev/null 2>&1; echo "$login $*: $?"; }
"#;

/// What is run inside, once the socket is there.
const INSIDE: &str = r#"
as ana access whoami
as ana access request role:viewer --reason x
as ana access team apply /home/ana/team.toml --yes
as bob access request target:orders-db --reason x
as bob access approve 1
as ana access approve 1
as bob access check target:orders-db
as mallory access whoami
as bob access audit export --format jsonl
as ana access audit verify
systemctl start access-expire.service; echo "expire: $?"
access doctor >/dev/null; echo "doctor: $?"
systemctl restart "$1"; as ana access whoami
# What doctor prints is run as it is: where the unit is stopped, and where the listener hangs.
repaired() {
    access doctor --json | jq -r '.[] | select(.health == "wrong") | .mend[]' >/run/lines
    sh /run/lines >/dev/null 2>&1
    access doctor >/run/said && echo "repaired: $(grep -c systemctl /run/lines)" || cat /run/lines /run/said
}
systemctl stop "$1" "$2"; repaired
systemctl is-active --quiet access-serve.service && systemctl kill --signal=STOP access-serve.service && repaired
systemctl --state=failed --no-legend --plain
"#;

#[test]
fn systemd_serves_real_people_by_the_units_as_they_stand() {
    served_by("access.socket", &["access@.service"], "access.socket");
}

#[test]
fn systemd_serves_real_people_by_one_listener() {
    served_by("access-serve.socket", &["access-serve.service"], "access-serve.service");
}

/// Boots a systemd of the test's own with these units, and runs a script in it. Returns what that printed. None: it can't be booted
/// here.
fn booted(host: &Host, units: &[&str], wanted: &str, script: &str) -> Option<Vec<String>> {
    let systemd = "/lib/systemd/systemd";
    if !Path::new(systemd).exists() {
        eprintln!("skipped: systemd is not installed");
        return None;
    }
    let at = host.scratch.path();
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    fs::create_dir_all("/etc/systemd/system").unwrap();
    for unit in units {
        let text = fs::read_to_string(packaged.join(unit)).unwrap();
        // Nothing else of a system is there to be waited for.
        let alone = text.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
        fs::write(Path::new("/etc/systemd/system").join(unit), alone).unwrap();
    }
    let (inside, out, ended) = (at.join("inside"), at.join("out"), at.join("ended"));
    fs::write(&inside, format!("{script}touch {}\nsystemctl exit --force --force\n", ended.display())).unwrap();
    let go = format!(
        "[Unit]\nDefaultDependencies=no\nWants={wanted}\nAfter={wanted}\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh {}\nStandardOutput=file:{}\n",
        inside.display(),
        out.display()
    );
    fs::write("/etc/systemd/system/go.service", go).unwrap();
    // In a control group of its own, which is taken away again: those of the real machine stay as they are.
    let groups = "/sys/fs/cgroup";
    let group = format!("{groups}/access-test-{}", user("ana").uid);
    let unshare = "unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --mount-proc";
    let boot = format!(
        "echo $$ >{group}/cgroup.procs && exec {unshare} sh -c \
         'umount {groups} && mount -t cgroup2 none {groups} && exec {systemd} --system --unit=go.service --log-target=null'"
    );
    root("mount", &["-t", "cgroup2", "none", groups]);
    root("mkdir", &[&group]);
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "90", "sh", "-c", &boot]).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("container", "other").stdin(Stdio::null());
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    root("find", &[&group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
    let got = fs::read_to_string(out).unwrap_or_default();
    if !ended.exists() {
        assert_eq!(got, "", "it was booted, and did not come to an end");
        eprintln!("skipped: systemd can't be booted in a namespace here");
        return None;
    }
    Some(got.lines().map(str::to_owned).collect())
}

/// `restarted`: what can be restarted while people come.
fn served_by(socket: &str, services: &[&str], restarted: &str) {
    let Some(host) = Host::bare() else { return };
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    let mail = Server::start("mail.py", host.scratch.path());
    wire(&mail, "");
    fs::write("/home/ana/team.toml", team()).unwrap();
    let units = [&[socket, "access-expire.service"], services].concat();
    let script = format!("set -- {restarted} {socket}\n{AS}{INSIDE}");
    let Some(got) = booted(&host, &units, socket, &script) else { return };
    let expected = [
        "ana access whoami: 0",
        "ana access request role:viewer --reason x: 5",
        "ana access team apply /home/ana/team.toml --yes: 0",
        "bob access request target:orders-db --reason x: 0",
        "bob access approve 1: 3",
        "ana access approve 1: 0",
        "bob access check target:orders-db: 0",
        "mallory access whoami: 3",
        "bob access audit export --format jsonl: 3",
        "ana access audit verify: 0",
        "expire: 0",
        "doctor: 0",
        "ana access whoami: 0",
    ];
    // One unit has a listener that can hang.
    let repaired = if socket == "access-serve.socket" { 2 } else { 1 };
    let expected = [&expected[..], &["repaired: 1"; 2][..repaired]].concat();
    assert_eq!(got, expected);
    let told = mail.got();
    let to = |name: &str| told.iter().filter(|letter| letter.contains(&format!("{name}@acme.example"))).count();
    assert!(to("alice") >= 1 && to("bob") >= 1, "who is told of what is told by the sandboxed service: {told:?}");
    // It was approved before anything was sent: that bob asks is not true any more.
    assert!(!told.iter().any(|letter| letter.contains("asks for")), "{told:?}");
}

/// `forget` and `seen`: make the log forget how far this host is, and ask it.
const ON_A_SHARED_LOG: &str = r#"
as ana access whoami
as bob access request target:orders-db --reason x
as ana access approve 1
as bob access check target:orders-db --fresh
forget
systemctl start access-follow.service; echo "follow: $?"
until [ "$(seen)" != 0 ]; do sleep 0.1; done
systemctl is-active access-follow.service
systemctl stop access-follow.service; systemctl is-failed access-follow.service
systemctl start access-expire.service; echo "expire: $?"
as bob access check target:orders-db
systemctl --state=failed --no-legend --plain
"#;

#[test]
fn the_units_reach_a_shared_log() {
    let Some(host) = Host::bare() else { return };
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    let log = Log::start();
    log.moved();
    let [socket, service] = ["access.socket", "access@.service"];
    for unit in [service, "access-expire.service"] {
        let folder = Path::new("/etc/systemd/system").join(format!("{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/shared-log.conf");
        fs::copy(packaged, folder.join("shared-log.conf")).unwrap();
    }
    fs::write("/home/ana/team.toml", team()).unwrap();
    let units = [socket, service, "access-expire.service", "access-follow.service"];
    let forget = log.asking("UPDATE access.seen SET seq = 0");
    let seen = log.asking("SELECT max(seq) FROM access.seen");
    let functions = format!("forget() {{ {forget}; }}\nseen() {{ {seen}; }}\n");
    let apply = "as ana access team apply /home/ana/team.toml --yes\n";
    let script = format!("{AS}{functions}{apply}{ON_A_SHARED_LOG}");
    let Some(got) = booted(&host, &units, socket, &script) else { return };
    let expected = [
        "ana access team apply /home/ana/team.toml --yes: 0",
        "ana access whoami: 0",
        "bob access request target:orders-db --reason x: 0",
        "ana access approve 1: 0",
        "bob access check target:orders-db --fresh: 0",
        "follow: 0",
        "active",
        "inactive",
        "expire: 0",
        "bob access check target:orders-db: 0",
    ];
    assert_eq!(got, expected);
}
