//! The units, run by a systemd of the test's own: sandboxed as they say, and asked by real users.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::delivery::{Server, team, wire};
use crate::host::{ACCESS, Host, root, user};

/// What is run inside, once the socket is there. Each line's exit code is told.
const INSIDE: &str = r#"
as() { login=$1; shift; setpriv --reuid "$login" --regid "$login" --init-groups --reset-env "$@" >/dev/null 2>&1; echo "$login $*: $?"; }
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

/// `restarted`: what can be restarted while people come.
fn served_by(socket: &str, services: &[&str], restarted: &str) {
    let Some(host) = Host::bare() else { return };
    let systemd = "/lib/systemd/systemd";
    if !Path::new(systemd).exists() {
        eprintln!("skipped: systemd is not installed");
        return;
    }
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    let at = host.scratch.path();
    let mail = Server::start("mail.py", at);
    wire(&mail, "");
    fs::write("/home/ana/team.toml", team()).unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    fs::create_dir_all("/etc/systemd/system").unwrap();
    for unit in [&[socket, "access-expire.service"], services].concat() {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        // Nothing else of a system is there to be waited for.
        let alone = text.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
        fs::write(Path::new("/etc/systemd/system").join(unit), alone).unwrap();
    }
    let (inside, out, ended) = (at.join("inside"), at.join("out"), at.join("ended"));
    fs::write(&inside, format!("{INSIDE}touch {}\nsystemctl exit --force --force\n", ended.display())).unwrap();
    let go = format!(
        "[Unit]\nDefaultDependencies=no\nWants={socket}\nAfter={socket}\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh {} {restarted} {socket}\nStandardOutput=file:{}\n",
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
    if !ended.exists() {
        let got = fs::read_to_string(out).unwrap_or_default();
        assert_eq!(got, "", "it was booted, and did not come to an end");
        eprintln!("skipped: systemd can't be booted in a namespace here");
        return;
    }
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
    assert_eq!(fs::read_to_string(out).unwrap().lines().collect::<Vec<_>>(), expected);
    let told = mail.got();
    let to = |name: &str| told.iter().filter(|letter| letter.contains(&format!("{name}@acme.example"))).count();
    assert!(to("alice") >= 1 && to("bob") >= 1, "who is told of what is told by the sandboxed service: {told:?}");
    // It was approved before anything was sent: that bob asks is not true any more.
    assert!(!told.iter().any(|letter| letter.contains("asks for")), "{told:?}");
}
