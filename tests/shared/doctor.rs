//! `doctor` on a shared host. Each test breaks something, and runs the lines that `doctor` prints as they are.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use serde_json::Value;

use crate::host::{ACCESS, CONFIG, DATABASE, Host, Ran, SOCKET, Start, access, root, run, within};

/// Something to break, and what `doctor` then says.
struct Broken {
    by: &'static str,
    found: &'static str,
    /// Whether a member's command fails meanwhile.
    fails: bool,
}

const fn broken(by: &'static str, found: &'static str, fails: bool) -> Broken {
    Broken { by, found, fails }
}

/// A line of root's shell. `BACKUP` is what a line that restores a backup asks for.
fn paste(line: &str) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    shell.env("BACKUP", "/srv/backup.db").current_dir("/").stdin(Stdio::null());
    run(&mut shell, format!("root# {line}"))
}

fn is_well() -> bool {
    root(ACCESS, &["doctor", "--json"]).code == Some(0)
}

/// The lines that `doctor` prints for what is wrong.
fn lines() -> (String, Vec<String>) {
    let ran = root(ACCESS, &["doctor", "--json"]);
    if ran.code == Some(65) {
        // The config itself.
        let error: Value = serde_json::from_str(&ran.err).unwrap();
        let lines = error["error"]["hints"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        return (ran.err.clone(), lines.collect());
    }
    let ran = ran.exits(1);
    let findings = ran.json();
    let wrong = findings.as_array().unwrap().iter().filter(|finding| finding["health"] == "wrong");
    let lines: Vec<String> = wrong
        .flat_map(|finding| finding["mend"].as_array().unwrap())
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    assert!(!lines.is_empty(), "{findings:#}");
    (ran.out, lines)
}

/// Ends a listener that a line has started, as its parent is gone.
fn end_listener() {
    let Ok(stream) = UnixStream::connect(SOCKET) else { return };
    let pid = getsockopt(&stream, PeerCredentials).unwrap().pid();
    root("kill", &["-KILL", &pid.to_string()]);
}

fn try_each(all: Vec<Broken>) {
    for Broken { by, found, fails } in all {
        // On a machine of its own each.
        let tried = move || {
            let Some(host) = Host::new() else { return };
            root(ACCESS, &["backup", "/srv/backup.db"]).ok();
            root("sh", &["-c", by]).ok();
            assert_eq!(access("bob", &["whoami"]).code != Some(0), fails, "{by}");
            let (said, mut lines) = lines();
            assert!(said.contains(found), "{by}\n{said}");
            // What a line brings back may be wrong in its turn, as a copy is with its mode.
            for round in 0.. {
                for line in &lines {
                    paste(line);
                }
                let mut well = is_well();
                for _ in 0..20 {
                    // A listener that was just started.
                    if !well && lines.iter().any(|line| line.contains("setsid")) {
                        std::thread::sleep(Duration::from_millis(100));
                        well = is_well();
                    }
                }
                if well {
                    break;
                }
                assert!(round < 2, "{by}: {lines:?}\n{:?}", root(ACCESS, &["doctor"]));
                lines = crate::doctor::lines().1;
            }
            access("bob", &["whoami"]).ok().says("bob");
            access("ana", &["audit", "verify"]).ok();
            if lines.iter().any(|line| line.contains("setsid")) {
                end_listener();
            }
            drop(host);
        };
        std::thread::spawn(tried).join().unwrap();
    }
}

#[test]
fn modes_that_keep_people_out_are_found_and_repaired() {
    try_each(vec![
        broken("chmod 700 /etc/access", "/etc/access has mode 0700", true),
        broken("chmod 600 /etc/access/config.toml", "config.toml has mode 0600", true),
        broken("chmod 700 /run/access", "/run/access has mode 0700", true),
        broken("chmod 600 /var/lib/access", "/var/lib/access has mode 0600", true),
        broken("chmod 750 /var/lib", "access can't pass through /var/lib", true),
        broken("chmod 700 /run", "nobody can't pass through /run", true),
        broken("chmod 000 /var/lib/access/access.db", "access.db has mode 0000", true),
        broken("chmod 660 /run/access/access.sock", "command", true),
        broken("chmod 600 /run/access/access.sock", "access.sock has mode 0600", true),
    ]);
}

#[test]
fn a_program_that_nobody_can_reach_is_found() {
    let Some(_host) = Host::new() else { return };
    for folder in ["/usr", "/usr/bin"] {
        root("chmod", &["750", folder]).ok();
        // The server can't start a process either, and is said to be at fault too. That one line repairs both.
        let line = format!("chmod a+x {folder}");
        assert_eq!(lines().1[0], line);
        paste(&line).ok();
        assert!(is_well());
    }
}

#[test]
fn owners_that_are_wrong_are_found_and_repaired() {
    try_each(vec![
        broken("chown root:root /var/lib/access/access.db*", "access.db belongs to root:root", true),
        broken("chown -R root:root /var/lib/access", "/var/lib/access belongs to root:root", true),
        broken("chown bob /run/access", "/run/access belongs to bob", false),
        broken("chown mallory /etc/access && chmod 777 /etc/access", "/etc/access belongs to mallory", false),
        broken("mkdir -m 777 /etc/access/tls", "/etc/access/tls has mode 0777", false),
        broken(
            "mv /etc/access/config.toml /etc/access/c && ln -s c /etc/access/config.toml",
            "config.toml is a link",
            true,
        ),
        broken("chmod 666 /etc/access/config.toml", "can be written by others than root", true),
        broken("chown bob /etc/access/config.toml", "can be written by others than root", true),
        broken("ln -s /etc/hosts /etc/access/hosts", "/etc/access/hosts is a link", false),
        broken(
            "mkdir /srv/real && mv /var/lib/access/* /srv/real && rmdir /var/lib/access && chown access:access /srv/real \
             && chmod 700 /srv/real && ln -s /srv/real /var/lib/access",
            "/var/lib/access is a link",
            false,
        ),
    ]);
}

#[test]
fn a_missing_system_user_is_made_again_and_the_data_stays_theirs() {
    // The listener goes on: it has become that user by number.
    try_each(vec![
        broken("userdel --force access", "there is no system user access", false),
        broken("userdel --force access; groupdel access; true", "there is no system user access", false),
        // The number belongs to somebody else by now.
        broken(
            "uid=$(id -u access); userdel --force access && useradd --no-create-home --uid $uid newcomer",
            "there is no system user access",
            false,
        ),
        broken("usermod --shell /bin/sh access", "access can log in", false),
        broken("sed -i 's/^access:x:[0-9]*:/access:x:0:/' /etc/passwd", "access is root", false),
    ]);
}

#[test]
fn a_database_that_is_missing_or_damaged_comes_from_its_disk_or_a_backup_and_is_never_an_empty_one() {
    try_each(vec![
        broken("rm /var/lib/access/access.db*", "access.db: No such file", true),
        broken("rm -r /var/lib/access", "/var/lib/access: No such file", true),
        broken("truncate -s 0 /var/lib/access/access.db", "access.db is empty", true),
        broken("truncate -s 5000 /var/lib/access/access.db; rm -f /var/lib/access/access.db-*", "cut off", true),
    ]);
    let Some(_host) = Host::new() else { return };
    fs::write("/etc/fstab", "/srv/disk /var/lib/access none bind 0 0\n").unwrap();
    root("sh", &["-c", "cp -a /var/lib/access /srv/disk && rm /var/lib/access/*"]).ok();
    let asked = access("bob", &["whoami"]).not_done();
    assert!(!asked.err.contains("init"), "{asked:?}");
    for args in [&["expire"][..], &["backup", "/srv/b.db"]] {
        let ran = root(ACCESS, args).not_done();
        assert!(!ran.err.contains("init"), "{ran:?}");
    }
    root(ACCESS, &["init", "--shared", "--owner", "bob"]).fails(5, "nothing is mounted on /var/lib/access");
    assert!(!fs::exists(DATABASE).unwrap(), "no empty team is begun over a disk that is not mounted");
    let (_, lines) = lines();
    assert_eq!(lines, ["mount /var/lib/access"]);
    paste(&lines[0]).ok();
    access("bob", &["whoami"]).ok().says("bob");
    assert!(is_well());
}

#[test]
fn a_server_that_is_gone_or_hangs_is_started_anew() {
    try_each(vec![
        broken("rm /run/access/access.sock", "access.sock: No such file", true),
        broken("rm /run/access/access.sock; touch /run/access/access.sock", "is not a socket", true),
        broken("rm /run/access/access.sock; mkdir /run/access/access.sock", "is not a socket", true),
        broken("rm -r /run/access", "access.sock: No such file", true),
    ]);
    // Ended: the socket stays, and nobody listens.
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let (said, started) = lines();
    assert!(said.contains("Connection refused"), "{said}");
    started.iter().for_each(|line| drop(paste(line).ok()));
    within(Duration::from_secs(5), is_well, "it is served again");
    end_listener();

    // Stopped: it lets everybody wait. That its queue is full is said sooner.
    for full in [false, true] {
        host.serve(Start::Listener);
        root("kill", &["-STOP", &host.server_pid().unwrap().to_string()]).ok();
        let waiting: Vec<_> = (0..if full { 5000 } else { 0 }).map_while(|_| connected()).collect();
        let begun = Instant::now();
        let (said, started) = lines();
        assert!(said.contains(if full { "its queue is full" } else { "it does not greet" }), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        started.iter().for_each(|line| drop(paste(line).ok()));
        drop(waiting);
        within(Duration::from_secs(5), is_well, "it is served again");
        end_listener();
        host.stop_serving();
    }
}

/// A connection that waits at the socket, unless its queue is full.
fn connected() -> Option<std::os::fd::OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd as _;
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    connect(made.as_raw_fd(), &UnixAddr::new(SOCKET).unwrap()).ok().map(|()| made)
}

#[test]
fn an_owner_without_an_account_is_replaced_by_somebody_who_has_one() {
    let Some(_host) = Host::new() else { return };
    root("userdel", &["ana"]).ok();
    let (said, lines) = lines();
    assert!(said.contains("the owner, ana, has no account ana"), "{said}");
    assert_eq!(lines, ["access team replace-owner alice"]);
    // On a terminal it asks.
    paste(&format!("{} --yes", lines[0])).ok();
    assert!(is_well());
    access("alice", &["whoami"]).ok().says("owner");
}

#[test]
fn a_group_that_may_connect_keeps_the_socket() {
    let Some(_host) = Host::bare() else { return };
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    root("sh", &["-c", "groupadd engineers && usermod -aG engineers ana"]).ok();
    paste("setsid access serve --group engineers </dev/null >/dev/null 2>&1 &").ok();
    within(Duration::from_secs(5), is_well, "it is served");
    // Root alone might connect.
    root("chmod", &["600", SOCKET]).ok();
    assert_eq!(lines().1, [format!("chmod 0660 {SOCKET}")]);
    paste(&lines().1[0]).ok();
    assert!(is_well());
    end_listener();
    assert_eq!(lines().1, ["setsid access serve --group engineers </dev/null >/dev/null 2>&1 &"]);
    paste(&lines().1[0]).ok();
    within(Duration::from_secs(5), is_well, "it is served");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(SOCKET).unwrap()) & 0o777, 0o660);
    // The owner is none of them any more.
    root("gpasswd", &["--delete", "ana", "engineers"]).ok();
    root(ACCESS, &["doctor"]).exits(1).says("as ana (Unix user ana)");
    end_listener();
}

#[test]
fn laying_out_again_says_what_it_did_and_keeps_the_data() {
    let Some(mut host) = Host::new() else { return };
    let before = host.head();
    host.stop_serving();
    let again = || root(ACCESS, &["init", "--shared", "--owner", "ana"]);
    again().fails(5, "nothing was done");
    root("sh", &["-c", "userdel --force access; rm -r /etc/access; chmod 755 /var/lib/access"]).ok();
    let ran = again().fails(5, "was not changed");
    for made in ["the system user access", CONFIG, "/var/lib/access"] {
        assert!(ran.err.contains(made), "{ran:?}");
    }
    assert!(!ran.err.contains("nothing was done"), "{ran:?}");
    host.serve(Start::Listener);
    assert_eq!(host.head(), before);
    assert!(is_well());
}
