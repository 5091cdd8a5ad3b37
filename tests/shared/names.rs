//! A name service that is slow, fails or hangs: a module of the C library's, in front of /etc/passwd. That is nobody's fault
//! who comes, so it is recorded against nobody; and nobody waits for somebody else's look-up.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{ACCESS, Host, Start, access, as_user, python, root, run, user};

/// Acts for the processes of one user alone, as /etc/nss-test says: `UID sleep SECONDS`, `UID fail` or `UID fail NAME`, which is
/// about this name only.
const MODULE: &str = r#"
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum nss_status act(const char *name, int *error) {
    FILE *file = fopen("/etc/nss-test", "re");
    unsigned uid = 0;
    char what[16] = "", which[32] = "";
    if (!file) return NSS_STATUS_NOTFOUND;
    int read = fscanf(file, "%u %15s %31s", &uid, what, which);
    fclose(file);
    if (read < 2 || geteuid() != uid) return NSS_STATUS_NOTFOUND;
    if (!strcmp(what, "fail")) {
        if (*which && strcmp(which, name)) return NSS_STATUS_NOTFOUND;
        *error = errno = EAGAIN;
        return NSS_STATUS_TRYAGAIN;
    }
    sleep(atoi(which));
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_test_getpwuid_r(uid_t uid, struct passwd *found, char *buffer, size_t length, int *error) {
    (void)uid; (void)found; (void)buffer; (void)length;
    return act("", error);
}

enum nss_status _nss_test_getpwnam_r(const char *name, struct passwd *found, char *buffer, size_t length, int *error) {
    (void)found; (void)buffer; (void)length;
    return act(name, error);
}
"#;

fn host(start: Start) -> Option<Host> {
    let host = Host::started(start)?;
    put_in_front();
    Some(host)
}

pub fn put_in_front() {
    fs::write("/root/nss.c", MODULE).unwrap();
    root("cc", &["-shared", "-fPIC", "-Wall", "-Werror", "-o", "/usr/lib/libnss_test.so.2", "/root/nss.c"]).ok();
    fs::write("/etc/nsswitch.conf", "passwd: test [TRYAGAIN=return] files\ngroup: files\n").unwrap();
}

pub fn for_user(login: &str, what: &str) {
    fs::write("/etc/nss-test", format!("{} {what}", user(login).uid)).unwrap();
}

#[test]
fn a_slow_name_service_refuses_nobody() {
    // Each on a thread, and so on a machine, of its own.
    let hosts = [Start::Listener, Start::Given, Start::Handed].map(|start| std::thread::spawn(move || slow(start)));
    hosts.into_iter().for_each(|host| host.join().unwrap());
}

fn slow(start: Start) {
    let Some(host) = host(start) else { return };
    for_user("access", "sleep 2");
    let begun = Instant::now();
    access("bob", &["request", "target:orders-db", "--reason", "x"]).ok();
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    root(ACCESS, &["check", "--quiet", "--login=carol", "--", "target:orders-db"]).exits(1);
    access("ana", &["team", "apply", "/home/ana/team.toml", "--yes"]).ok();
    // The client's words have their two seconds still, and no more.
    python("bob", "s = connect(); s.recv(9); s.sendall(b'acc'); time.sleep(3); print(answers(s))").ok().says("in time");
    fs::remove_file("/etc/nss-test").unwrap();
    assert_eq!(host.refused("bob"), ["the command did not arrive in time"]);
}

#[test]
fn a_name_service_that_fails_or_hangs_is_said_so_and_recorded_against_nobody() {
    let Some(host) = host(Start::Listener) else { return };
    for what in ["fail", "sleep 1000"] {
        let head = host.head();
        for_user("access", what);
        let begun = Instant::now();
        access("bob", &["whoami"]).fails(69, "nothing was done");
        root(ACCESS, &["check", "--quiet", "--login=carol", "--", "target:orders-db"]).fails(69, "user database");
        python("carol", "print(say(b'garbage!!'))").ok().says("user database");
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        fs::remove_file("/etc/nss-test").unwrap();
        assert_eq!(host.head(), head, "{what}: nothing is recorded");
    }
    access("bob", &["whoami"]).ok();
    // The client of a gate is root's, and looks root up.
    for_user("root", "fail");
    root(ACCESS, &["check", "--quiet", "--login=carol", "--", "target:orders-db"]).fails(69, "user database");
}

#[test]
fn nobody_waits_for_the_look_up_of_somebody_else() {
    let Some(_host) = host(Start::Listener) else { return };
    root("userdel", &["--force", "ana"]).ok();
    // Root asks whether the owner has an account; meanwhile another changes something.
    let mut change = as_user("bob", ACCESS, &["inbox", "--mark-read"]);
    for_user("root", "sleep 4");
    let mut replace = Command::new(ACCESS);
    let mut replacing =
        replace.args(["team", "replace-owner", "alice", "--yes"]).stdout(Stdio::null()).spawn().unwrap();
    let mut changes = 0;
    while replacing.try_wait().unwrap().is_none() {
        run(&mut change, "bob$ access inbox --mark-read".to_owned()).ok();
        changes += 1;
    }
    assert!(changes > 4 && replacing.wait().unwrap().success(), "{changes}");
    fs::remove_file("/etc/nss-test").unwrap();
    access("alice", &["audit", "verify"]).ok();
}
