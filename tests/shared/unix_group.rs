//! `access connector unix-group`, with real users, groups and processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::connector::{Connector, done, notes, says};
use crate::host::{ACCESS, HIDING, Host, as_user, compile, home, hopper, hops, root, user, within};

const GROUPS: Connector<'_> = Connector { args: &["unix-group"], parameter: "group" };

/// A host with the group orders, in which alice is.
fn host() -> Option<Host> {
    let host = Host::bare()?;
    root("groupadd", &["--gid", &gid().to_string(), "orders"]).ok();
    root("usermod", &["-aG", "orders", "alice"]).ok();
    Some(host)
}

/// Processes are found by their group's number, so no two tests have the same one.
fn gid() -> u32 {
    user("ana").uid.as_raw() + 9
}

fn groups(login: &str) -> Vec<String> {
    // It complains of the group of an account whose group has no name.
    root("id", &["-nG", login]).out.split_whitespace().map(str::to_owned).collect()
}

fn is_in(login: &str, group: &str) -> bool {
    groups(login).iter().any(|it| it == group)
}

/// A session as a login opens one, with the groups that the user has now.
fn session(login: &str, line: &str) -> Child {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={login}"), &format!("--regid={login}"), "--init-groups", "sh", "-c", line]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").spawn().unwrap()
}

/// A session that never had the group.
fn without_groups(line: &str) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=bob", "--regid=bob", "--clear-groups", "sh", "-c", &format!("exec {line}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").spawn().unwrap()
}

fn ready(name: &str) -> PathBuf {
    home("bob").join(name)
}

#[track_caller]
fn until_ready(name: &str) {
    within(Duration::from_secs(10), || ready(name).exists(), name);
}

#[test]
fn a_member_is_in_the_group_and_then_is_not() {
    let Some(_host) = host() else { return };
    fs::create_dir("/srv/orders").unwrap();
    fs::write("/srv/orders/file", "orders\n").unwrap();
    root("chgrp", &["-R", "orders", "/srv/orders"]).ok();
    root("chmod", &["-R", "o=,g+rX", "/srv/orders"]).ok();
    let reads = || session("bob", "cat /srv/orders/file").wait().unwrap().success();
    let before = fs::read_to_string("/etc/group").unwrap();

    assert!(!reads());
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(GROUPS.grant("bob", "orders"), json!({ "done": answer }));
        assert!(is_in("bob", "orders") && reads());
        assert_eq!(GROUPS.holders("orders"), ["alice", "bob"]);
    }
    for _ in 0..2 {
        assert_eq!(GROUPS.revoke("bob", "orders"), done());
        assert!(!is_in("bob", "orders") && !reads());
        assert_eq!(GROUPS.holders("orders"), ["alice"]);
    }
    assert_eq!(fs::read_to_string("/etc/group").unwrap(), before, "what was there before stays");
    root("grpck", &["-r"]).ok();
}

#[test]
fn a_revoke_lasts_before_it_is_done() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    // The second: as after a run that was killed before it synced.
    for _ in 0..2 {
        GROUPS.revoke_lasts("bob", "orders", Path::new("/etc"));
        assert!(!is_in("bob", "orders"));
    }
}

#[test]
fn many_operations_in_one_run_and_each_has_an_answer() {
    let Some(_host) = host() else { return };
    root("groupadd", &["reports"]).ok();
    let answers = GROUPS.answers(&[
        json!({ "operation": "list", "parameters": [{ "group": "orders" }, { "group": "reports" }, { "group": "none" }] }),
        GROUPS.operation("grant", "bob", "orders"),
        GROUPS.operation("grant", "nobody-here", "orders"),
        GROUPS.operation("grant", "bob", "reports"),
        json!({ "operation": "list", "parameters": [{ "group": "orders" }, { "group": "reports" }, { "other": "x" }, {}] }),
    ]);
    assert_eq!(answers[0], json!({ "holds": [{ "login": "alice", "parameters": { "group": "orders" } }] }));
    assert_eq!(answers[1], done());
    says(&answers[2], "failed", "no user nobody-here");
    assert_eq!(answers[3], done());
    let holds = |login, group| json!({ "login": login, "parameters": { "group": group } });
    assert_eq!(
        answers[4],
        json!({ "holds": [holds("alice", "orders"), holds("bob", "orders"), holds("bob", "reports")] })
    );
}

#[test]
fn what_is_not_there_is_said_so_and_nothing_changes() {
    let Some(_host) = host() else { return };
    root("groupadd", &["bobs-admins"]).ok();
    let group = fs::read_to_string("/etc/group").unwrap();
    fs::write("/etc/group", group + "27:x:4242:\n").unwrap();
    let before = fs::read_to_string("/etc/group").unwrap();
    says(&GROUPS.grant("bob", "none"), "failed", "no local group none");
    says(&GROUPS.grant("nobody-here", "orders"), "failed", "no user nobody-here");
    // A number is not the group with that number, nor the group of that name; a part of a name and a pattern are not the name.
    for group in
        ["0", "27", &gid().to_string(), "order", "Orders", "ord*", "orders,root", "orders:x", "orders ", "../orders"]
    {
        let answer = GROUPS.grant("bob", group);
        assert!(answer["failed"].is_string(), "{group}: {answer}");
    }
    for operation in [
        "garbage".to_owned(),
        "{}".to_owned(),
        json!({ "operation": "destroy" }).to_string(),
        json!({ "operation": "grant", "login": "-R", "parameters": { "group": "orders" }, "request": null, "until": null, "key": "k" })
            .to_string(),
        json!({ "operation": "grant", "login": "bob", "parameters": { "group": "-M" }, "request": null, "until": null, "key": "k" })
            .to_string(),
        json!({ "operation": "grant", "login": "bob", "parameters": { "role": "orders" }, "request": null, "until": null, "key": "k" })
            .to_string(),
        json!({ "operation": "grant", "login": "bob", "parameters": {}, "request": null, "until": null, "key": "k" }).to_string(),
        json!({ "operation": "grant", "login": "bob", "parameters": { "group": "orders", "x": "y" }, "request": null, "until": null, "key": "k" })
            .to_string(),
    ] {
        let ran = GROUPS.ran(&(operation.clone() + "\n")).ok();
        assert!(ran.json()["failed"].is_string(), "{operation}: {ran:?}");
    }
    assert_eq!(fs::read_to_string("/etc/group").unwrap(), before);
    // Nobody holds what does not exist, so there is nothing to take back.
    assert_eq!(GROUPS.revoke("bob", "none"), done());
    assert_eq!(GROUPS.revoke("nobody-here", "orders"), done());
    assert_eq!(GROUPS.holders("none"), [""; 0]);
}

#[test]
fn odd_logins_are_given_and_taken_like_others() {
    let Some(_host) = host() else { return };
    let first = gid() + 100_000_000;
    let long = "x".repeat(32);
    let names = ["a.b", "0day", "1000", "svc$", "Bob", "ALL", "_x-y", "b+c", long.as_str()];
    for (number, name) in (first..).zip(names) {
        // useradd refuses some of them, and a name service does not.
        let account = format!("{name}:x:{number}:{number}::/home/{name}:/bin/sh\n");
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        fs::write("/etc/passwd", passwd + &account).unwrap();
    }
    for name in names {
        assert_eq!(GROUPS.grant(name, "orders"), done(), "{name}");
        assert!(is_in(name, "orders"), "{name}");
    }
    assert_eq!(GROUPS.holders("orders").len(), names.len() + 1);
    assert!(!is_in("bob", "orders"), "Bob is not bob");
    for name in names {
        assert_eq!(GROUPS.revoke(name, "orders"), done(), "{name}");
        assert!(!is_in(name, "orders"), "{name}");
    }
    assert_eq!(GROUPS.holders("orders"), ["alice"]);
    says(&GROUPS.grant(&"x".repeat(63), "orders"), "failed", "no user");
}

#[test]
fn the_membership_of_an_account_that_is_gone_is_taken_too() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let others: String =
        passwd.lines().filter(|line| !line.starts_with("bob:")).map(|line| format!("{line}\n")).collect();
    fs::write("/etc/passwd", others).unwrap();
    assert_eq!(GROUPS.holders("orders"), ["alice", "bob"]);
    assert_eq!(GROUPS.revoke("bob", "orders"), done());
    assert_eq!(GROUPS.holders("orders"), ["alice"]);
}

#[test]
fn a_primary_group_is_not_ours_to_take() {
    let Some(_host) = host() else { return };
    root("usermod", &["-g", "orders", "bob"]).ok();
    assert_eq!(GROUPS.holders("orders"), ["alice"]);
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    assert_eq!(GROUPS.holders("orders"), ["alice", "bob"]);
    let mut running = session("bob", "touch ~bob/ready; exec sleep 600");
    until_ready("ready");
    notes(&GROUPS.revoke_and_end_sessions("bob", "orders"), "primary group");
    assert!(is_in("bob", "orders"));
    assert!(running.try_wait().unwrap().is_none(), "its processes have the group by right");
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn while_somebody_else_changes_the_groups_it_is_for_later() {
    let Some(_host) = host() else { return };
    // As vigr holds it, by a process that lives.
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write("/etc/group.lock", other.id().to_string()).unwrap();
    let begun = std::time::Instant::now();
    let answers = GROUPS.answers(&[
        GROUPS.operation("grant", "bob", "orders"),
        GROUPS.operation("revoke", "alice", "orders"),
        GROUPS.operation("grant", "alice", "orders"),
    ]);
    assert!(begun.elapsed() < Duration::from_secs(40), "the lock is waited for once: {:?}", begun.elapsed());
    says(&answers[0], "later", "lock");
    says(&answers[1], "later", "lock");
    assert_eq!(answers[2], json!({ "done": { "was_there": true } }), "she is in it already");
    other.kill().unwrap();
    other.wait().unwrap();
    // The lock of a process that is gone locks nothing.
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    assert_eq!(GROUPS.holders("orders"), ["alice", "bob"]);
}

/// As passwd does while it changes a password. Who started it can stop it then.
const LOCKS: &str = r#"
#include <fcntl.h>
#include <unistd.h>
int main(void) {
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(open("/etc/.pwd.lock", O_CREAT | O_WRONLY, 0600), F_SETLK, &all)) return 1;
    close(open("locks", O_CREAT | O_RDWR, 0600));
    for (;;) pause();
}
"#;

#[test]
fn who_holds_the_lock_of_the_groups_is_named_and_keeps_no_session() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let mut bobs = session("bob", "exec sleep 600");
    let program = compile("locks", LOCKS);
    root("chmod", &["4755", &program]).ok();
    let mut locks = session("bob", &format!("cd ~bob; exec {program}"));
    until_ready("locks");
    let holder = format!("process {} of bob has the lock", locks.id());
    says(&GROUPS.revoke("bob", "orders"), "later", &holder);
    assert!(bobs.try_wait().unwrap().is_none() && is_in("bob", "orders"));
    let _ = GROUPS.revoke_and_end_sessions("bob", "orders");
    within(Duration::from_secs(2), || bobs.try_wait().unwrap().is_some(), "his session ended");
    // It had the group too.
    within(Duration::from_secs(2), || locks.try_wait().unwrap().is_some(), "the lock is free");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    assert!(!is_in("bob", "orders"));
}

/// A sg of another group runs above its command.
#[test]
fn a_command_of_another_group_goes_on() {
    let Some(_host) = host() else { return };
    root("groupadd", &["reports"]).ok();
    root("usermod", &["-aG", "reports", "bob"]).ok();
    let mut other = without_groups("sg reports -c 'touch ~bob/other; exec sleep 600'");
    until_ready("other");
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    assert!(other.try_wait().unwrap().is_none());
    root("pkill", &["--signal", "KILL", "--uid", &user("bob").uid.to_string()]).ok();
    other.wait().unwrap();
}

#[test]
fn edits_at_the_same_time_lose_nothing() {
    let Some(_host) = host() else { return };
    let grants = ["bob", "carol", "mallory", "ana"].map(|login| {
        let input = format!("{}\n", GROUPS.operation("grant", login, "orders"));
        let file = home("ana").join(format!("{login}.json"));
        fs::write(&file, input).unwrap();
        let input = fs::File::open(file).unwrap();
        Command::new(ACCESS).args(["connector", "unix-group"]).stdin(input).stdout(Stdio::piped()).spawn().unwrap()
    });
    let mut by_hand = Command::new("groupadd").arg("by-hand").spawn().unwrap();
    for grant in grants {
        let output = grant.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"done\":{}}\n");
    }
    assert!(by_hand.wait().unwrap().success());
    let mut holders = GROUPS.holders("orders");
    holders.sort();
    assert_eq!(holders, ["alice", "ana", "bob", "carol", "mallory"]);
    root("getent", &["group", "by-hand"]).ok();
    root("grpck", &["-r"]).ok();
}

#[test]
fn a_running_session_keeps_the_group_and_the_answer_says_so() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let mut running = session("bob", "touch ~bob/ready; while :; do id -nG > ~bob/groups; sleep 0.1; done");
    until_ready("groups");
    for _ in 0..2 {
        notes(&GROUPS.revoke("bob", "orders"), "of bob keep the group orders");
    }
    fs::remove_file(ready("groups")).unwrap();
    within(
        Duration::from_secs(10),
        || fs::read_to_string(ready("groups")).is_ok_and(|groups| groups.contains("orders")),
        "the session has it",
    );
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn sessions_with_the_group_end_with_it_and_no_others_do() {
    let Some(_host) = host() else { return };
    let mut before = session("bob", "touch ~bob/before; exec sleep 600");
    until_ready("before");
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    // One that listens, one that does not and starts others, and one whose group is the current one.
    let mut polite = session("bob", "touch ~bob/polite; exec sleep 600");
    let mut deaf = session(
        "bob",
        "trap '' HUP TERM; setsid sh -c 'trap \"\" HUP TERM; touch ~bob/deaf; \
         i=0; while [ $i -lt 1000 ]; do i=$((i+1)); sleep 0.2 & sleep 0.01; done'",
    );
    let mut current = session("bob", "exec sg orders 'touch ~bob/current; exec sleep 600'");
    let mut hers = session("alice", "exec sleep 600");
    for name in ["polite", "deaf", "current"] {
        until_ready(name);
    }
    let begun = std::time::Instant::now();
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for ended in [&mut polite, &mut deaf, &mut current] {
        within(Duration::from_secs(2), || ended.try_wait().unwrap().is_some(), "it ended");
    }
    let left = Command::new("ps").args(["-o", "stat=,supgrp=,args=", "-u", "bob"]).output().unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    let kept: Vec<&str> = left.lines().filter(|line| !line.starts_with('Z') && line.contains("orders")).collect();
    assert_eq!(kept, [""; 0]);
    assert!(before.try_wait().unwrap().is_none(), "the session from before never had the group");
    assert!(hers.try_wait().unwrap().is_none(), "alice has it by right");
    // A run that was interrupted between the two steps is repeated: bob is out of the group, and a session is left.
    root("gpasswd", &["-a", "bob", "orders"]).ok();
    let mut left = session("bob", "touch ~bob/left; exec sleep 600");
    until_ready("left");
    root("gpasswd", &["-d", "bob", "orders"]).ok();
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    within(Duration::from_secs(2), || left.try_wait().unwrap().is_some(), "it ended");
    for other in [&mut before, &mut hers] {
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// A session in a user namespace, as a container of a user has it. The login's subordinate user ID `to` is that of its
/// process, which keeps its groups. Root maps it, in place of newuidmap.
fn in_namespace(name: &str, to: u32) -> Child {
    let line = format!(
        "exec unshare --user sh -c 'touch ~bob/{name}; until [ $(id -u) = 0 ]; do sleep 0.05; done; \
         exec setpriv --reuid=1 --keep-groups sleep 600'"
    );
    let child = session("bob", &line);
    until_ready(name);
    let map = format!("0 {} 1\n1 {to} 1\n", user("bob").uid);
    fs::write(format!("/proc/{}/uid_map", child.id()), map).unwrap();
    let status = format!("/proc/{}/status", child.id());
    let is_mapped = || fs::read_to_string(&status).unwrap().contains(&format!("Uid:\t{to}\t{to}\t{to}\t{to}\n"));
    within(Duration::from_secs(10), is_mapped, "it has the subordinate user ID");
    child
}

#[test]
fn a_process_with_a_subordinate_user_id_counts_and_ends_too() {
    let Some(_host) = host() else { return };
    let first = gid() + 200_000_000;
    let uid = user("bob").uid;
    fs::write("/etc/subuid", format!("alice:{}:10\nbob:{first}:10\n{uid}:{}:10\n", first + 10, first + 20)).unwrap();
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let mut by_name = in_namespace("by-name", first + 9);
    let mut by_number = in_namespace("by-number", first + 20);
    let mut hers = in_namespace("hers", first + 10);
    notes(&GROUPS.revoke("bob", "orders"), "2 running processes of bob keep the group orders");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    for ended in [&mut by_name, &mut by_number] {
        within(Duration::from_secs(2), || ended.try_wait().unwrap().is_some(), "it ended");
    }
    assert!(hers.try_wait().unwrap().is_none(), "that user ID is alice's");
    hers.kill().unwrap();
    hers.wait().unwrap();
}

/// In a container of a user, where groups can be given up: the first thread does so, and the other one keeps them.
const GIVES_UP: &str = "import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(300,)).start()
ctypes.CDLL(None).syscall({'x86_64': 116, 'aarch64': 159}[platform.machine()], 0, None)
open('gives-up', 'w'); time.sleep(300)";

#[test]
fn a_process_hides_neither_by_its_name_nor_by_its_first_thread() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let python = |program: &str| session("bob", &format!("cd ~bob; exec python3 -c \"{program}\""));
    let mut hidden: Vec<Child> = HIDING.iter().map(|(_, program)| python(program)).collect();
    fs::write(ready("gives-up.py"), GIVES_UP).unwrap();
    let line = "cd ~bob; exec unshare --user sh -c 'touch ready; until [ $(id -u) = 0 ]; do sleep 0.05; done; \
                exec python3 gives-up.py'";
    let in_namespace = session("bob", line);
    until_ready("ready");
    for (kind, number) in [("gid", user("bob").gid.as_raw()), ("uid", user("bob").uid.as_raw())] {
        fs::write(format!("/proc/{}/{kind}_map", in_namespace.id()), format!("0 {number} 1\n")).unwrap();
    }
    for name in ["named", "headless", "gives-up"] {
        until_ready(name);
    }
    let status = |child: &Child| fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    within(Duration::from_secs(10), || status(&hidden[1]).contains("State:\tZ"), "its first thread has ended");
    assert!(status(&in_namespace).contains("Groups:\t \n"), "its first thread has no groups");
    notes(&GROUPS.revoke("bob", "orders"), "3 running processes of bob keep the group orders");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    hidden.push(in_namespace);
    for ended in &mut hidden {
        within(Duration::from_secs(2), || ended.try_wait().unwrap().is_some(), "it ended");
    }
}

/// It is in no list of processes, and starts others faster than they are killed one by one.
#[test]
fn a_process_that_always_starts_another_does_not_get_away() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let program = hopper();
    let mut before = without_groups("sleep 600");
    let mut first = session("bob", &format!("cd ~bob; exec {program}"));
    until_ready("hops");
    notes(&GROUPS.revoke("bob", "orders"), "of bob keep");
    assert!(hops());
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    assert!(!hops());
    first.wait().unwrap();
    assert!(before.try_wait().unwrap().is_none(), "it never had the group");
    before.kill().unwrap();
    before.wait().unwrap();
}

#[test]
fn what_others_start_all_the_time_holds_up_nobodys_revoke() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let mut bobs = session("bob", "exec sleep 600");
    let program = hopper();
    let mut carols = as_user("carol", "/bin/sh", &["-c", &format!("cd; exec {program}")]).spawn().unwrap();
    within(Duration::from_secs(10), || home("carol").join("hops").exists(), "hers started");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    within(Duration::from_secs(2), || bobs.try_wait().unwrap().is_some(), "his ended");
    let hers = || root("flock", &["-n", "/home/carol/lock", "true"]).code != Some(0);
    assert!(hers(), "they go on");
    // All at once, as none of them can be killed alone.
    as_user("carol", "/bin/sh", &["-c", "kill -KILL -1"]).status().unwrap();
    carols.wait().unwrap();
    within(Duration::from_secs(5), || !hers(), "hers end");
}

/// The first process of a container that is killed waits for the end of another in it, which it can't wait for: that is a child of a
/// process outside, which does not ask for its exit status.
const NEVER_ENDS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **words) {
    FILE *file = fopen("first", count > 1 ? "r" : "w");
    int pid;
    char path[64];
    if (count == 1) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWPID)) return 1;
        if (!(pid = fork())) for (;;) pause();
        fprintf(file, "%d\n", pid);
        fclose(file);
        close(open("started", O_CREAT | O_RDWR, 0600));
        return 0;
    }
    if (fscanf(file, "%d", &pid) != 1) return 1;
    sprintf(path, "/proc/%d/ns/user", pid);
    int user = open(path, O_RDONLY);
    sprintf(path, "/proc/%d/ns/pid", pid);
    int inner = open(path, O_RDONLY);
    if (setns(user, CLONE_NEWUSER) || setns(inner, CLONE_NEWPID)) return 1;
    if (!fork()) for (;;) pause();
    close(open("joined", O_CREAT | O_RDWR, 0600));
    for (;;) pause();
}
"#;

#[test]
fn a_process_that_was_killed_and_waits_for_others_has_ended() {
    let Some(_host) = host() else { return };
    let program = compile("never-ends", NEVER_ENDS);
    let before = "until [ -e started ]; do sleep 0.05; done; exec";
    let mut outside = session("bob", &format!("cd ~bob; {before} {program} join"));
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    session("bob", &format!("cd ~bob; {program}")).wait().unwrap();
    until_ready("joined");
    let first = fs::read_to_string(ready("first")).unwrap();
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    assert!(Path::new(&format!("/proc/{}", first.trim())).exists(), "it waits");
    assert!(outside.try_wait().unwrap().is_none(), "it never had the group");
    outside.kill().unwrap();
    outside.wait().unwrap();
}

/// As sg does between the reading of /etc/group and the change: it has root's rights, and is the one who started it that stops it.
const STOPPED: &str = r#"
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <unistd.h>
int main(int count, char **words) {
    struct group *group = getgrnam("orders");
    gid_t gid = group->gr_gid;
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    close(open("read", O_CREAT | O_RDWR, 0600));
    raise(SIGSTOP);
    close(open("went-on", O_CREAT | O_RDWR, 0600));
    if (setgroups(1, &gid) || setuid(getuid())) return 1;
    for (;;) pause();
}
"#;

#[test]
fn a_program_that_was_stopped_before_it_takes_the_group_ends_too() {
    let Some(_host) = host() else { return };
    let program = compile("stopped", STOPPED);
    root("chmod", &["4755", &program]).ok();
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let mut stopped = without_groups(&format!("sh -c 'cd ~bob; exec {program}'"));
    until_ready("read");
    assert_eq!(GROUPS.revoke("bob", "orders"), done(), "it has no group");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    within(Duration::from_secs(2), || stopped.try_wait().unwrap().is_some(), "it ended");
    assert!(!ready("went-on").exists());
}

/// It does not have the group, and is in a user namespace that has it.
#[test]
fn a_process_that_can_take_the_group_counts_too() {
    let Some(_host) = host() else { return };
    assert_eq!(GROUPS.grant("bob", "orders"), done());
    let space = "sg orders -c 'unshare --user --map-root-user sh -c \"echo \\$\\$ > space; exec sleep 600\"'";
    let mut space = session("bob", &format!("cd ~bob; exec {space}"));
    let pid = || fs::read_to_string(ready("space")).unwrap_or_default().trim().to_owned();
    within(Duration::from_secs(10), || !pid().is_empty(), "it is in a user namespace");
    let inside = format!("nsenter --target {} --user --preserve-credentials", pid());
    let mut inside = without_groups(&format!("{inside} sh -c 'touch ~bob/inside; exec sleep 600'"));
    until_ready("inside");
    notes(&GROUPS.revoke("bob", "orders"), "running processes of bob keep");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    for ended in [&mut space, &mut inside] {
        within(Duration::from_secs(2), || ended.try_wait().unwrap().is_some(), "it ended");
    }
}

/// A friend's program with the set-user-ID bit runs with the groups of the one who starts it.
#[test]
fn a_program_of_somebody_else_counts_for_the_one_who_logged_in() {
    let Some(_host) = host() else { return };
    let bob = user("bob").uid;
    let start = |login: &str| {
        let line = format!(
            "echo {bob} > /proc/self/loginuid || exit; exec setpriv --reuid={login} --regid={login} --groups={} sleep 600",
            gid()
        );
        let mut child = Command::new("sh").args(["-c", &line]).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let uid = format!("Uid:\t{}", user(login).uid);
        let is_ready = |child: &mut Child| {
            child.try_wait().unwrap().is_some() || fs::read_to_string(&status).unwrap_or_default().contains(&uid)
        };
        within(Duration::from_secs(10), || is_ready(&mut child), "it runs as somebody else");
        child
    };
    let (mut anas, mut alices) = (start("ana"), start("alice"));
    if anas.try_wait().unwrap().is_some() {
        eprintln!("this kernel has no audit");
        return;
    }
    notes(&GROUPS.revoke("bob", "orders"), "1 running process of bob keeps");
    assert_eq!(GROUPS.revoke_and_end_sessions("bob", "orders"), done());
    within(Duration::from_secs(2), || anas.try_wait().unwrap().is_some(), "it ended");
    assert!(alices.try_wait().unwrap().is_none(), "she is in the group");
    alices.kill().unwrap();
    alices.wait().unwrap();
}

#[test]
fn who_is_not_root_changes_nothing() {
    let Some(_host) = host() else { return };
    fs::write("/home/bob/operation", format!("{}\n", GROUPS.operation("grant", "bob", "orders"))).unwrap();
    let mut command = as_user("bob", ACCESS, &["connector", "unix-group"]);
    let output = command.stdin(fs::File::open("/home/bob/operation").unwrap()).output().unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap();
    says(&answer, "failed", "Permission denied");
    assert_eq!(GROUPS.holders("orders"), ["alice"]);
}
