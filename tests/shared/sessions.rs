//! Sessions that end with access: a real sshd and sudo with PAM, real users, and a reconciler that ends their processes.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host::{ACCESS, HIDING, Host, Ran, TEAM, access, as_user, hopper, hops, python, root, shell, within};
use crate::names;
use crate::recipes::{documented, install, recipe};
use crate::ssh::{COMMAND, MORE, Running, Sshd, grant};

const RULE: &str = "[[rules]]\nname = \"sessions\"\nmatch = { resources = [\"target:*\"] }\nend_sessions = true\n";
const PAM: &str = "auth sufficient pam_permit.so\naccount required pam_permit.so\n";

/// A host that is set up as docs/recipes.md says, with rules.
fn host(rules: &str) -> Option<Host> {
    let host = crate::ssh::host()?;
    host.apply("ana", &format!("{TEAM}{MORE}{rules}")).ok();
    root("install", &["-d", "/usr/local/lib/access"]).ok();
    install(&recipe("pam-session"), "/usr/local/lib/access/pam-session");
    let loginuid = "session required pam_loginuid.so\n";
    fs::write("/etc/pam.d/sshd", format!("{PAM}{loginuid}{}", documented("pam-session user"))).unwrap();
    fs::write("/etc/pam.d/sudo", format!("{PAM}{}", documented("pam-session caller target:web"))).unwrap();
    fs::create_dir_all("/run/sudo").unwrap();
    Some(host)
}

/// Logs in and runs a program of the shell, until its connection ends.
fn log_in(sshd: &Sshd, login: &str, program: &str) -> Running {
    fs::write(format!("/home/{login}/work.sh"), program).unwrap();
    let options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
    let line = format!("exec ssh {options} -i ~/id -p {} {login}@127.0.0.1 sh work.sh", sshd.port);
    start(login, &line)
}

fn start(login: &str, line: &str) -> Running {
    let mut command = as_user(login, "/bin/sh", &["-c", line]);
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

/// The number that a process wrote to this file.
fn pid(file: &str) -> u32 {
    let read = || fs::read_to_string(file).unwrap_or_default().trim().parse();
    within(Duration::from_secs(20), || read().is_ok(), file);
    read().unwrap()
}

fn is_running(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    // The 18th field from there is the number of threads.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') || rest.split(' ').nth(17) != Some("1"))
}

fn reconcile() -> Ran {
    let begun = Instant::now();
    let ran = root(ACCESS, &["reconcile", "--fix", "sessions"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    ran
}

fn sessions(id: &str) -> Vec<Value> {
    let shown = access("alice", &["show", id, "--json"]).ok().json();
    shown["sessions"].as_array().cloned().unwrap_or_default()
}

fn opened() -> Vec<Value> {
    access("alice", &["audit", "--action", "session.opened", "--json"]).ok().json().as_array().unwrap().clone()
}

/// It ignores what asks it to end, and has left its parents and their session.
const STUBBORN: &str = "echo $$ > ~/plain
setsid sh -c '(trap \"\" HUP TERM INT; sh -c \"echo \\$PPID\" > ~/stubborn; while :; do sleep 1; done) &' < /dev/null > /dev/null 2>&1
sleep 300\n";

#[test]
fn the_end_of_access_ends_the_session_and_all_that_it_started() {
    let Some(_host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let id = grant(&_host, "bob", "target:orders-db");
    let mut bobs = log_in(&sshd, "bob", STUBBORN);
    // An admin has access without a grant.
    let mut alices = log_in(&sshd, "alice", "echo $$ > ~/plain; sleep 300\n");
    let (plain, stubborn, hers) = (pid("/home/bob/plain"), pid("/home/bob/stubborn"), pid("/home/alice/plain"));
    let open = sessions(&id);
    assert_eq!(open.len(), 1, "{open:?}");
    let (service, from) = (&open[0]["service"], &open[0]["from"]);
    assert_eq!((service, from, &open[0]["closed_at"]), (&"sshd".into(), &"127.0.0.1".into(), &Value::Null));
    access("bob", &["show", &id]).ok().says("sshd from 127.0.0.1 on target:orders-db").says("open");
    let hers_recorded = opened().into_iter().find(|entry| entry["detail"]["login"] == "alice").unwrap();
    assert_eq!(hers_recorded["detail"].get("request"), None);
    reconcile();
    assert!(is_running(plain), "access is live");
    access("alice", &["revoke", &id]).ok();
    root(ACCESS, &["reconcile", "sessions"]).exits(1).says("stale");
    reconcile().says("revoked");
    assert!(!is_running(plain) && !is_running(stubborn), "{plain} {stubborn}");
    within(Duration::from_secs(5), || has_ended(&mut bobs.0), "the connection is gone");
    assert_eq!(sessions(&id)[0]["how"], "ended");
    access("bob", &["show", &id]).ok().says("ended with the access");
    assert!(is_running(hers) && !has_ended(&mut alices.0), "another person's session goes on");
    access("alice", &["audit"]).ok().says("bob opened a session of sshd from 127.0.0.1 on target:orders-db");
    access("ana", &["audit", "verify"]).ok();
    root(ACCESS, &["reconcile", "sessions"]).ok();
}

#[test]
fn a_process_hides_neither_by_its_name_nor_by_the_end_of_its_first_thread() {
    let Some(host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let id = grant(&host, "bob", "target:orders-db");
    let start = |(_, program): &(&str, &str)| format!("python3 -c \"{program}\" < /dev/null > /dev/null 2>&1 &\n");
    let _bobs = log_in(&sshd, "bob", &format!("{}sleep 300\n", HIDING.iter().map(start).collect::<String>()));
    let hidden = HIDING.map(|(name, _)| pid(&format!("/home/bob/{name}")));
    let state = || fs::read_to_string(format!("/proc/{}/status", hidden[1])).unwrap();
    within(Duration::from_secs(10), || state().contains("State:\tZ"), "its first thread has ended");
    access("alice", &["revoke", &id]).ok();
    reconcile().says("revoked");
    assert_eq!(hidden.map(is_running), [false; 2]);
    assert_eq!(sessions(&id)[0]["how"], "ended");
}

#[test]
fn a_process_that_always_starts_another_does_not_get_away() {
    let Some(host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let (id, program) = (grant(&host, "bob", "target:orders-db"), hopper());
    let _bobs = log_in(&sshd, "bob", &format!("cd; {program} & sleep 300\n"));
    within(Duration::from_secs(20), || Path::new("/home/bob/hops").exists(), "it started");
    access("alice", &["revoke", &id]).ok();
    root(ACCESS, &["reconcile", "--fix", "sessions"]).ok().says("revoked");
    assert!(!hops());
    assert_eq!(sessions(&id)[0]["how"], "ended");
}

#[test]
fn a_session_lives_while_another_grant_does_and_one_that_was_closed_leaves_nothing_behind() {
    let Some(host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let ids = ["target:orders-db", "connection:prod"].map(|resource| grant(&host, "bob", resource));
    let mut bobs = log_in(&sshd, "bob", "echo $$ > ~/plain; sleep 300\n");
    let plain = pid("/home/bob/plain");
    let by = ids.iter().position(|id| !sessions(id).is_empty()).unwrap();
    access("alice", &["revoke", &ids[by]]).ok();
    reconcile();
    assert!(is_running(plain) && !has_ended(&mut bobs.0));
    // He logs out, and something stays.
    let mut second = log_in(&sshd, "bob", &STUBBORN.replace("sleep 300", "sleep 0.1"));
    let stubborn = pid("/home/bob/stubborn");
    within(Duration::from_secs(20), || has_ended(&mut second.0), "he logs out");
    let closed = || sessions(&ids[1 - by]).iter().any(|session| session["how"] == "closed");
    within(Duration::from_secs(5), closed, "it is recorded");
    reconcile();
    assert!(is_running(stubborn));
    access("alice", &["revoke", &ids[1 - by]]).ok();
    reconcile();
    assert!(!is_running(plain) && !is_running(stubborn));
    assert!(sessions(&ids[1 - by]).iter().any(|session| session["how"] == "closed"));
    assert_eq!(sessions(&ids[by])[0]["how"], "ended");
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn what_a_session_left_behind_is_not_forgotten_while_nobody_knows_whose_it_is() {
    let Some(host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let id = grant(&host, "bob", "target:orders-db");
    let mut bobs = log_in(&sshd, "bob", &STUBBORN.replace("sleep 300", "sleep 0.1"));
    let stubborn = pid("/home/bob/stubborn");
    within(Duration::from_secs(20), || has_ended(&mut bobs.0), "he logs out");
    names::put_in_front();
    names::for_user("root", "fail bob");
    // While he has access, the session is not forgotten.
    reconcile();
    access("alice", &["revoke", &id]).ok();
    root(ACCESS, &["reconcile", "sessions"]).exits(1).says("stale");
    root(ACCESS, &["reconcile", "--fix", "sessions"]).exits(1).says("user database");
    assert!(is_running(stubborn));
    fs::remove_file("/etc/nss-test").unwrap();
    reconcile().says("revoked");
    assert!(!is_running(stubborn));
}

#[test]
fn without_end_sessions_a_session_goes_on() {
    let Some(host) = host("") else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let id = grant(&host, "bob", "target:orders-db");
    let _bobs = log_in(&sshd, "bob", "echo $$ > ~/plain; sleep 300\n");
    let plain = pid("/home/bob/plain");
    access("alice", &["revoke", &id]).ok();
    reconcile();
    assert!(is_running(plain));
    // A rule that comes later holds for it too.
    host.apply("ana", &format!("{TEAM}{MORE}{RULE}")).ok();
    reconcile();
    assert!(!is_running(plain));
}

#[test]
fn a_command_that_runs_with_sudo_ends_and_the_shell_around_it_goes_on() {
    let Some(host) = host(RULE) else { return };
    fs::write("/etc/sudoers.d/web", "Defaults iolog_dir=/srv/io\nbob ALL=(root) NOPASSWD: LOG_OUTPUT: /bin/sh\n")
        .unwrap();
    root("chmod", &["440", "/etc/sudoers.d/web"]).ok();
    let id = grant(&host, "bob", "target:web");
    let line =
        "echo $$ > ~/outer; sudo -n /bin/sh -c 'echo $$ > /home/bob/inner; trap \"\" HUP TERM; sleep 300; sleep 300'
                exec sleep 300";
    let _bobs = start("bob", line);
    let (outer, inner) = (pid("/home/bob/outer"), pid("/home/bob/inner"));
    assert_eq!(sessions(&id)[0]["service"], "sudo");
    access("alice", &["revoke", &id]).ok();
    reconcile().says("revoked");
    assert!(!is_running(inner) && is_running(outer));
    assert_eq!(sessions(&id)[0]["how"], "ended");
    // A command that ends by itself is closed by PAM.
    let id = grant(&host, "bob", "target:web");
    shell("bob", "sudo -n /bin/sh -c true").ok();
    assert_eq!(sessions(&id)[0]["how"], "closed");
}

#[test]
fn who_became_another_user_is_that_no_longer() {
    let Some(host) = host(RULE) else { return };
    root("useradd", &["--system", "--shell", "/bin/sh", "orders"]).ok();
    root("install", &["-d", "-o", "orders", "/srv/orders"]).ok();
    fs::write("/etc/pam.d/su", format!("{PAM}{}", documented("pam-session caller target:web"))).unwrap();
    let id = grant(&host, "bob", "target:web");
    let line = "echo $$ > ~/outer; su orders -c 'echo $$ > /srv/orders/inner; sleep 300; sleep 300'; exec sleep 300";
    let _bobs = start("bob", line);
    let (outer, inner) = (pid("/home/bob/outer"), pid("/srv/orders/inner"));
    assert_eq!((&sessions(&id)[0]["service"], &sessions(&id)[0]["login"]), (&"su".into(), &"bob".into()));
    // What carol runs as the same user is hers.
    let _other = start("carol", "su orders -c 'echo $$ > /srv/orders/hers; exec sleep 300'");
    let hers = pid("/srv/orders/hers");
    access("alice", &["revoke", &id]).ok();
    reconcile();
    assert!(!is_running(inner) && is_running(outer) && is_running(hers));
    root("kill", &[&hers.to_string()]).ok();
}

#[test]
fn sessions_that_are_too_many_to_record_end_as_well() {
    let Some(host) = host(RULE) else { return };
    let id = grant(&host, "bob", "target:orders-db");
    let opened_by = "access session opened --for target:orders-db --service test --login=bob";
    let flood = format!("for i in $(seq 60); do {opened_by} || exit 1; done; access session closed");
    shell("root", &flood).ok();
    assert_eq!(opened().iter().filter(|entry| entry["detail"]["last_in_hour"] == true).count(), 1);
    // With a limit of the caller of sudo. (Only the soft one: not everywhere may root lift the other.)
    let line = format!("prlimit --fsize=0:unlimited {opened_by} 2> /dev/null && echo $$ > /srv/more; sleep 300");
    let _more = start("root", &line);
    let more = pid("/srv/more");
    assert_eq!(
        access("alice", &["audit", "--action", "session.opened", "--limit", "1000", "--json"])
            .ok()
            .json()
            .as_array()
            .unwrap()
            .len(),
        60
    );
    let shown = access("alice", &["show", &id, "--json"]).ok().json();
    assert_eq!((shown["sessions"].as_array().unwrap().len(), &shown["more_sessions"]), (20, &40.into()));
    access("alice", &["revoke", &id]).ok();
    reconcile();
    assert!(!is_running(more));
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn a_login_without_access_records_nothing_and_is_let_in() {
    let Some(host) = host(RULE) else { return };
    let head = host.head();
    for login in ["bob", "mallory", "root"] {
        root("pamtester", &["sshd", login, "open_session", "close_session"]).ok();
    }
    assert_eq!(host.head(), head);
    let mut host = host;
    host.stop_serving();
    root("pamtester", &["sshd", "alice", "open_session", "close_session"]).ok();
}

#[test]
fn what_another_host_calls_itself_can_neither_act_nor_be_long_nor_hide_the_session() {
    let Some(host) = host(RULE) else { return };
    grant(&host, "bob", "target:orders-db");
    let hook = "/usr/local/lib/access/pam-session user target:orders-db 'tlog {login} {request}'";
    let environment = "PAM_USER=bob PAM_SERVICE=sshd PAM_TYPE=open_session";
    for (number, rhost) in [
        "'\u{1b}[2Jx\u{202e}'",
        "\"$(head -c 100000 /dev/zero | tr '\\0' y)\"",
        "\"$(printf 'z\\377')\"",
        "'-h --help'",
    ]
    .iter()
    .enumerate()
    {
        shell("root", &format!("{environment} PAM_RHOST={rhost} {hook}")).ok();
        let all = opened();
        assert_eq!(all.len(), number + 1, "{rhost}");
        let from = all[0]["detail"]["from"].as_str().unwrap();
        assert!(
            from.chars().count() <= 255 && !from.contains(char::is_control) && !from.contains('\u{202e}'),
            "{from:?}"
        );
        assert_eq!(all[0]["detail"]["recording"], "tlog bob 1");
    }
    for login in ["-h", "bob\n", "--login=alice", ""] {
        shell("root", &format!("PAM_TYPE=open_session PAM_USER='{login}' {hook}")).not_done();
    }
    assert_eq!(opened().len(), 4);
}

#[test]
fn only_root_records_sessions() {
    let Some(host) = host(RULE) else { return };
    let id = grant(&host, "bob", "target:orders-db");
    for login in ["bob", "alice", "ana", "carol"] {
        let opened = ["session", "opened", "--for", "target:orders-db", "--service", "x", "--login=bob"];
        access(login, &opened).fails(3, "only root");
        access(login, &["session", "closed"]).fails(3, "only root");
        for call in [
            r#"{"CloseSessions": {"sessions": []}}"#,
            r#"{"JudgeSessions": {"sessions": []}}"#,
            r#"{"OpenSessions": {}}"#,
            &open_call("1", "0", "x"),
        ] {
            python(login, &format!("print(say(command({call})))")).ok().says("only root");
        }
    }
    assert_eq!((opened().len(), sessions(&id).len()), (0, 0));
}

fn open_call(pid: &str, started: &str, boot: &str) -> String {
    format!(
        r#"{{"OpenSession": {{"login": "bob", "resource": "target:orders-db", "service": "x", "from": "", "recording": "",
            "processes": {{"pid": {pid}, "started": {started}, "boot": "{boot}"}}}}}}"#
    )
}

#[test]
fn a_session_of_before_a_reboot_or_whose_number_is_reused_is_over_and_nobody_is_hit() {
    let Some(host) = host(RULE) else { return };
    let id = grant(&host, "bob", "target:orders-db");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = start("carol", "echo $$ > ~/plain; exec sleep 300");
    let carols = pid("/home/carol/plain").to_string();
    for (started, boot) in [("1", boot.trim()), ("1", "another")] {
        python("root", &format!("print(say(command({})))", open_call(&carols, started, boot))).ok().says("recorded");
    }
    python("root", &format!("print(say(command({})))", open_call("1", "0", boot.trim()))).ok().says("recorded");
    access("alice", &["revoke", &id]).ok();
    reconcile();
    assert!(is_running(carols.parse().unwrap()) && is_running(1));
    let how: Vec<Value> = sessions(&id).iter().map(|session| session["how"].clone()).collect();
    assert_eq!(how[1..], ["restarted", "gone"]);
    drop(other);
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn the_service_ends_a_session_when_its_time_is_over() {
    let Some(host) = host(RULE) else { return };
    let sshd = Sshd::with(COMMAND, "UsePAM yes");
    let mut service = as_user("root", ACCESS, &["reconcile", "--fix", "--watch"]);
    let _service = Running(service.stdout(Stdio::null()).spawn().unwrap());
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id, "--duration", "8s"]).ok();
    let mut bobs = log_in(&sshd, "bob", "echo $$ > ~/plain; sleep 300\n");
    let begun = Instant::now();
    pid("/home/bob/plain");
    within(Duration::from_secs(14), || has_ended(&mut bobs.0), "it ends by the clock");
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    within(Duration::from_secs(5), || sessions(&id)[0]["how"] == "ended", "it is recorded");
}
