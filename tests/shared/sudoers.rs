//! `access connector sudoers`, with real users and the real sudo.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::connector::{Connector, done, notes, says};
use crate::host::{ACCESS, Host, Ran, as_user, compile, root, shell, user, within};

const SUDO: Connector<'_> = Connector {
    args: &[
        "sudoers",
        "--profile",
        "web=/usr/local/bin/web restart",
        "--profile",
        "web=/usr/local/bin/web log *",
        "--profile",
        "status=/usr/local/bin/status",
    ],
    parameter: "profile",
};
const FILE: &str = "/etc/sudoers.d/access+bob+web";

/// A host with two programs that say who runs them and with what.
fn host() -> Option<Host> {
    let host = Host::bare()?;
    fs::create_dir_all("/run/sudo").unwrap();
    for program in ["web", "status"] {
        let path = format!("/usr/local/bin/{program}");
        fs::write(&path, "#!/bin/sh\necho \"as $(id -un): $*\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Some(host)
}

fn sudo(login: &str, command: &str) -> Ran {
    shell(login, &format!("sudo -n {command}"))
}

/// What root sees of somebody's rights.
fn rights(login: &str) -> String {
    root("sudo", &["-n", "-l", "-U", login]).out
}

/// All files there, with their modes and contents.
fn files() -> Vec<(String, u32, String)> {
    let entries = fs::read_dir("/etc/sudoers.d").unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        let mode = fs::metadata(&path).unwrap().mode();
        (path.display().to_string(), mode, fs::read_to_string(&path).unwrap())
    };
    let mut all: Vec<_> = entries.map(file).collect();
    all.sort();
    all
}

#[test]
fn a_member_may_run_the_commands_of_the_profile_and_then_may_not() {
    let Some(_host) = host() else { return };
    let rule = "carol ALL=(root) NOPASSWD: /usr/local/bin/status\n";
    fs::write("/etc/sudoers.d/carol", rule).unwrap();
    fs::set_permissions("/etc/sudoers.d/carol", fs::Permissions::from_mode(0o440)).unwrap();
    let before = files();
    sudo("bob", "web restart").not_done();
    for _ in 0..2 {
        assert_eq!(SUDO.grant("bob", "web"), done());
        assert_eq!(SUDO.holders("web"), ["bob"]);
        assert_eq!(SUDO.holders("status"), [""; 0]);
    }
    assert_eq!(fs::metadata(FILE).unwrap().mode() & 0o7777, 0o440);
    assert_eq!(fs::metadata(FILE).unwrap().uid(), 0);
    sudo("bob", "web restart").ok().says("as root: restart");
    sudo("bob", "/usr/local/bin/web log a b c").ok().says("as root: log a b c");
    assert!(rights("bob").contains("/usr/local/bin/web restart"), "{}", rights("bob"));
    // These commands, as this user, and nothing else.
    for command in [
        "web",
        "web stop",
        "web restart now",
        "web logs",
        "status",
        "id",
        "-i",
        "-s",
        "-u carol web restart",
        "-e /etc/passwd",
    ] {
        sudo("bob", command).not_done();
    }
    sudo("alice", "web restart").not_done();
    root("visudo", &["-c"]).ok();
    notes(&SUDO.revoke("bob", "web"), "already runs with sudo");
    assert_eq!(SUDO.revoke("bob", "web"), done());
    assert_eq!(SUDO.holders("web"), [""; 0]);
    for command in ["web restart", "web log a"] {
        sudo("bob", command).not_done();
    }
    assert!(rights("bob").contains("not allowed"), "{}", rights("bob"));
    assert_eq!(files(), before, "what was there before stays");
    sudo("carol", "status").ok();
}

/// As sudo does between the reading of its rules and the command.
const STOPPED: &str =
    "#include <signal.h>\n#include <unistd.h>\nint main(void) { raise(SIGSTOP); for (;;) pause(); }\n";

#[test]
fn a_sudo_that_was_stopped_before_its_command_ends() {
    let Some(_host) = host() else { return };
    assert_eq!(SUDO.grant("bob", "web"), done());
    let program = compile("stopped", STOPPED);
    root("chmod", &["4755", &program]).ok();
    let mut stopped = as_user("bob", &program, &[]).spawn().unwrap();
    let status = format!("/proc/{}/status", stopped.id());
    let is_stopped = || fs::read_to_string(&status).unwrap_or_default().contains("State:\tT");
    within(Duration::from_secs(10), is_stopped, "it is stopped");
    notes(&SUDO.revoke("bob", "web"), "already runs with sudo");
    assert!(stopped.try_wait().unwrap().is_none());
    assert_eq!(SUDO.revoke_and_end_sessions("bob", "web"), done());
    within(Duration::from_secs(2), || stopped.try_wait().unwrap().is_some(), "it ended");
    assert!(!Path::new("/home/bob/went-on").exists());
}

#[test]
fn two_profiles_and_two_people_are_apart() {
    let Some(_host) = host() else { return };
    for (login, profile) in [("bob", "web"), ("bob", "status"), ("carol", "web")] {
        assert_eq!(SUDO.grant(login, profile), done());
    }
    let list = json!({ "operation": "list", "parameters": [{ "profile": "web" }, { "profile": "status" }, { "x": "y" }, { "profile": "../web" }] });
    let holds = |login, profile| json!({ "login": login, "parameters": { "profile": profile } });
    assert_eq!(
        SUDO.answers(std::slice::from_ref(&list)),
        [json!({ "holds": [holds("bob", "web"), holds("carol", "web"), holds("bob", "status")] })]
    );
    SUDO.revoke("bob", "web");
    sudo("bob", "web restart").not_done();
    sudo("bob", "status").ok();
    sudo("bob", "status -v").not_done();
    sudo("carol", "web restart").ok();
}

/// So many seconds from now, as an operation has it.
fn seconds_from_now(seconds: i64) -> String {
    let date = root("date", &["-u", "-d", &format!("{seconds} seconds"), "+%Y-%m-%dT%H:%M:%SZ"]).ok();
    date.out.trim().to_owned()
}

#[test]
fn access_ends_on_time_whatever_the_time_zone_of_the_caller() {
    let Some(_host) = host() else { return };
    // The Baker and the Line Islands: they stretch a local time by 12 and 14 hours.
    let zones = ["UTC", "Etc/GMT+12", "Etc/GMT-14", "XXX+24", "Europe/Berlin", ":/home/bob/zone", ""];
    let in_zone = |zone: &str| shell("bob", &format!("TZ='{zone}' sudo -n web restart"));
    let half_an_hour_ago = seconds_from_now(-1800);
    assert_eq!(SUDO.grant_until("bob", "web", &half_an_hour_ago), done());
    let text = fs::read_to_string(FILE).unwrap();
    assert!(text.lines().skip(1).all(|line| line.contains("NOTAFTER=2") && line.contains("Z NOPASSWD: ")), "{text}");
    for zone in zones {
        in_zone(zone).not_done();
    }
    // The attack works on a time without the Z, so this test would see it.
    let local = text.replace("Z NOPASSWD", " NOPASSWD");
    fs::write(FILE, local).unwrap();
    assert!(zones.iter().any(|zone| in_zone(zone).code == Some(0)), "a local time is stretched by no zone");
    // Granted again until later, and so written anew.
    let until = seconds_from_now(3);
    assert_eq!(SUDO.grant_until("bob", "web", &until), done());
    in_zone("UTC").ok();
    within(Duration::from_secs(10), || in_zone("Etc/GMT+12").code != Some(0), "the end comes");
    let now = seconds_from_now(0);
    assert!(now >= until, "not before {until}, but at {now}");
    for zone in zones {
        in_zone(zone).not_done();
    }
    // It ended, and is there until it is taken back.
    assert_eq!(SUDO.holders("web"), ["bob"]);
    notes(&SUDO.revoke("bob", "web"), "sudo");
    assert_eq!(SUDO.holders("web"), [""; 0]);
}

#[test]
fn an_extension_has_no_gap() {
    let Some(_host) = host() else { return };
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    assert_eq!(SUDO.grant_until("bob", "web", &seconds_from_now(600)), done());
    let sampled = std::thread::scope(|scope| {
        let stopped = std::sync::Arc::clone(&stop);
        let sampler = scope.spawn(move || {
            let mut samples = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                sudo("bob", "web restart").ok();
                samples += 1;
            }
            samples
        });
        for seconds in 601..615 {
            assert_eq!(SUDO.grant_until("bob", "web", &seconds_from_now(seconds)), done());
        }
        assert_eq!(SUDO.grant("bob", "web"), done());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        sampler.join().unwrap()
    });
    assert!(sampled > 3, "{sampled}");
    assert!(!fs::read_to_string(FILE).unwrap().contains("NOTAFTER"), "permanent in the end");
}

/// Gives an account any name, as a name service can.
fn account(name: &str, uid: u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write("/etc/passwd", format!("{passwd}{name}:*:{uid}:{uid}::/:/bin/sh\n")).unwrap();
    let group = fs::read_to_string("/etc/group").unwrap();
    fs::write("/etc/group", format!("{group}{name}:x:{uid}:\n")).unwrap();
}

/// Runs sudo as a user of any name.
fn sudo_as(uid: u32) -> Ran {
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
    root("setpriv", &[&ids[0], &ids[1], "--clear-groups", "sudo", "-n", "web", "restart"])
}

#[test]
fn a_login_is_itself_to_sudo_and_never_everybody() {
    let Some(_host) = host() else { return };
    let first = user("ana").uid.as_raw() + 100_000_000;
    let long = "x".repeat(63);
    let names = [
        "ALL",
        "ADMINS",
        "User_Alias",
        "Defaults",
        "Robin",
        "a.b",
        "svc$",
        "bob@corp.example",
        "0day",
        "b+c",
        "a=b(c)",
        "x#1",
        "1000",
        "zoë",
        "~bob",
        "a*",
        "%bobs",
        "!bob",
        "@include",
        "a\"b",
        "CORP\\bob",
        "*",
        &long,
    ];
    // An alias of that name must not be taken for the login.
    let mut sudoers = OpenOptions::new().append(true).open("/etc/sudoers").unwrap();
    sudoers.write_all(b"User_Alias ADMINS = alice, carol\n").unwrap();
    root("groupadd", &["bobs"]).ok();
    root("usermod", &["-aG", "bobs", "alice"]).ok();
    for (uid, name) in (first..).zip(names) {
        account(name, uid);
    }
    // By default sudo ignores the case of names.
    account("Bob", first + 99);
    for (login, other) in [("Bob", "bob"), ("bob", "Bob")] {
        says(&SUDO.grant(login, "web"), "failed", &format!("does not tell {login} from {other}"));
    }
    let mut refused = Vec::new();
    for (uid, name) in (first..).zip(names) {
        let answer = SUDO.grant(name, "web");
        let given = answer == done();
        if !given {
            says(&answer, "failed", "a meaning of its own");
            refused.push(name);
        }
        assert_eq!(SUDO.holders("web"), if given { vec![name] } else { Vec::new() });
        // sudo can't be started by a user whose number it can't turn into a name.
        assert_eq!(sudo_as(uid).code == Some(0), given, "{name}: {:?}", sudo_as(uid));
        for other in ["alice", "bob", "carol", "mallory"] {
            sudo(other, "web restart").not_done();
        }
        for (other, another) in (first..).zip(names).filter(|(other, _)| *other != uid) {
            assert_ne!(sudo_as(other).code, Some(0), "{name} is given, and {another} may");
        }
        root("visudo", &["-c"]).ok();
        SUDO.revoke(name, "web");
        assert_ne!(sudo_as(uid).code, Some(0), "{name}");
    }
    assert_eq!(refused, ["~bob", "%bobs", "!bob", "@include", "a\"b", "CORP\\bob", "*"]);
    assert!(!files().iter().any(|(path, _, _)| path.contains("access+")));
}

#[test]
fn what_cannot_be_given_is_said_so_and_nothing_changes() {
    let Some(_host) = host() else { return };
    let before = files();
    says(&SUDO.grant("nobody-here", "web"), "failed", "no user nobody-here");
    says(&SUDO.grant("bob", "root"), "failed", "no --profile root");
    for profile in ["../web", "WEB", "web ", "*", "ALL", "web\\", "w/eb"] {
        let answer = SUDO.grant("bob", profile);
        assert!(answer["failed"].is_string(), "{profile}: {answer}");
    }
    let mut operation = SUDO.operation("grant", "bob", "web");
    operation["parameters"]["command"] = "/bin/sh".into();
    says(&SUDO.answers(&[operation])[0], "failed", "no parameter");
    assert_eq!(files(), before);
    // Without a command line that is valid, there is nothing to run.
    for arguments in [
        vec!["sudoers"],
        vec!["sudoers", "--profile", "web"],
        vec!["sudoers", "--profile", "web=systemctl"],
        vec!["sudoers", "--profile", "web=/bin/sh -c *x"],
        vec!["sudoers", "--profile", "web=/bin/a", "--run-as", "ALL"],
    ] {
        let broken = Connector { args: &arguments, parameter: "profile" };
        broken.ran("").exits(2);
    }
}

#[test]
fn a_file_that_sudo_does_not_accept_is_never_in_place() {
    let Some(_host) = host() else { return };
    // Stands for a sudo that knows NOTAFTER not yet: then it must not become a permission without an end.
    let visudo = "#!/bin/sh\ncase $* in *access+*) echo 'syntax error' >&2; exit 1;; esac\n";
    root("mv", &["/usr/sbin/visudo", "/usr/sbin/visudo.real"]).ok();
    fs::write("/usr/sbin/visudo", visudo).unwrap();
    fs::set_permissions("/usr/sbin/visudo", fs::Permissions::from_mode(0o755)).unwrap();
    says(&SUDO.grant_until("bob", "web", "2099-01-01T00:00:00Z"), "failed", "visudo refuses the file: syntax error");
    assert!(!files().iter().any(|(path, _, _)| path.contains("access+")), "{:?}", files());
    fs::remove_file("/usr/sbin/visudo").unwrap();
    says(&SUDO.grant("bob", "web"), "failed", "visudo is not installed");
    assert!(!files().iter().any(|(path, _, _)| path.contains("access+")));
    sudo("bob", "web restart").not_done();
}

#[test]
fn a_directory_that_sudo_does_not_read_gives_nothing_and_the_answer_says_so() {
    let Some(_host) = host() else { return };
    let sudoers = fs::read_to_string("/etc/sudoers").unwrap();
    fs::write("/etc/sudoers", sudoers.replace("@includedir", "# @includedir")).unwrap();
    for _ in 0..2 {
        says(&SUDO.grant("bob", "web"), "failed", "no line @includedir /etc/sudoers.d");
    }
    fs::write("/etc/sudoers", sudoers).unwrap();
    assert_eq!(SUDO.grant("bob", "web"), done());
    // A fault of somebody else's file is none of ours.
    fs::write("/etc/sudoers.d/broken", "what is this\n").unwrap();
    assert_eq!(SUDO.grant("carol", "web"), done());
}

#[test]
fn files_of_others_are_neither_read_as_ours_nor_changed() {
    let Some(_host) = host() else { return };
    assert_eq!(SUDO.grant("carol", "web"), done());
    let ours = fs::read_to_string("/etc/sudoers.d/access+carol+web").unwrap();
    let rule = "bob ALL=(root) NOPASSWD: /usr/local/bin/status\n";
    // Written by hand under the name of one of ours; and copies of ours under other names.
    fs::write(FILE, rule).unwrap();
    fs::write("/etc/sudoers.d/carol", &ours).unwrap();
    fs::write("/etc/sudoers.d/access+alice+web", &ours).unwrap();
    fs::write("/etc/sudoers.d/access+carol+web.dpkg-old", &ours).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", "/etc/sudoers.d/access+mallory+web").unwrap();
    fs::create_dir("/etc/sudoers.d/access+ana+web").unwrap();
    let list = || SUDO.answers(&[json!({ "operation": "list", "parameters": [{ "profile": "web" }] })]).remove(0);
    let holds = json!({ "holds": [{ "login": "carol", "parameters": { "profile": "web" } }] });
    assert_eq!(list(), holds);
    for login in ["bob", "alice", "mallory", "ana"] {
        says(&SUDO.grant(login, "web"), "failed", "was not written by access");
        assert_eq!(SUDO.revoke(login, "web"), done());
    }
    assert_eq!(fs::read_to_string(FILE).unwrap(), rule);
    assert_eq!(fs::read_to_string("/etc/sudoers.d/access+alice+web").unwrap(), ours);
    assert_eq!(list(), holds);
}

#[test]
fn a_revoke_lasts_before_it_is_done() {
    let Some(_host) = host() else { return };
    assert_eq!(SUDO.grant("bob", "web"), done());
    // The second: as after a run that was killed before it synced.
    for _ in 0..2 {
        SUDO.revoke_lasts("bob", "web", Path::new("/etc/sudoers.d"));
        assert!(!fs::exists(FILE).unwrap());
    }
}

#[test]
fn a_run_that_was_killed_leaves_nothing_in_the_way() {
    let Some(_host) = host() else { return };
    fs::write("/etc/sudoers.d/access+bob+web.new", "half a fi").unwrap();
    sudo("bob", "web restart").not_done();
    assert_eq!(SUDO.holders("web"), [""; 0]);
    assert_eq!(SUDO.grant("bob", "web"), done());
    assert!(!fs::exists("/etc/sudoers.d/access+bob+web.new").unwrap());
    sudo("bob", "web restart").ok();
}

#[test]
fn what_root_changes_in_a_profile_holds_from_the_next_grant() {
    let Some(_host) = host() else { return };
    assert_eq!(SUDO.grant("bob", "web"), done());
    let other = ["sudoers", "--profile", "web=/usr/local/bin/status", "--run-as", "carol"];
    let changed = Connector { args: &other, parameter: "profile" };
    assert_eq!(changed.grant("bob", "web"), done());
    sudo("bob", "web restart").not_done();
    sudo("bob", "-u carol status").ok().says("as carol");
    sudo("bob", "status").not_done();
    // A profile that is no longer there is listed, and taken back.
    let without = Connector { args: &["sudoers", "--profile", "x=/bin/true"], parameter: "profile" };
    assert_eq!(without.holders("web"), ["bob"]);
    notes(&without.revoke("bob", "web"), "sudo");
    sudo("bob", "-u carol status").not_done();
}

#[test]
fn a_password_is_asked_for_where_root_says_so() {
    let Some(_host) = host() else { return };
    let asking = ["sudoers", "--profile", "web=/usr/local/bin/web restart", "--ask-password"];
    let asking = Connector { args: &asking, parameter: "profile" };
    assert_eq!(asking.grant("bob", "web"), done());
    sudo("bob", "web restart").fails(1, "password is required");
    root(
        "usermod",
        &[
            "-p",
            "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
            "bob",
        ],
    )
    .ok();
    shell("bob", "echo password | sudo -S web restart").ok().says("as root: restart");
}

#[test]
fn who_is_not_root_changes_nothing() {
    let Some(_host) = host() else { return };
    let operation: Value = SUDO.operation("grant", "bob", "web");
    let line = format!("echo '{operation}' | {ACCESS} connector sudoers --profile 'web=/bin/sh'");
    shell("bob", &line).ok().says("Permission denied");
    assert!(!fs::exists(FILE).unwrap());
}

#[test]
fn sudo_records_a_command_where_root_says_so() {
    let Some(_host) = host() else { return };
    fs::write("/etc/sudoers.d/recordings", "Defaults iolog_dir=/srv/io\n").unwrap();
    root("chmod", &["440", "/etc/sudoers.d/recordings"]).ok();
    assert_eq!(SUDO.grant("bob", "web"), done());
    sudo("bob", "web restart").ok();
    root("sudoreplay", &["-d", "/srv/io", "-l", "user", "bob"]).not("restart");
    let logging = ["sudoers", "--profile", "web=/usr/local/bin/web restart", "--log-io"];
    assert_eq!(Connector { args: &logging, parameter: "profile" }.grant("bob", "web"), done());
    sudo("bob", "web restart").ok();
    root("sudoreplay", &["-d", "/srv/io", "-l", "user", "bob"]).ok().says("COMMAND=/usr/local/bin/web restart");
}
