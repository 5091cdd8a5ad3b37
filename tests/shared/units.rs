//! What packagers install: units that systemd finds sound and tight, and that let the program do what it does.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::{ACCESS, Host, SOCKET, access, root};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn installed(program: &str) -> bool {
    let there =
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn systemd_finds_the_units_sound_and_tight() {
    let Some(_host) = Host::bare() else { return };
    if !installed("systemd-analyze") {
        return;
    }
    let units = [
        "access.socket",
        "access@.service",
        "access-serve.socket",
        "access-serve.service",
        "access-expire.service",
        "access-expire.timer",
        "access-reconcile.service",
        "access-follow.service",
    ];
    fs::create_dir_all("/etc/systemd/system").unwrap();
    let place = |unit: &str| format!("/etc/systemd/system/{unit}");
    for unit in units {
        fs::copy(packaging().join("systemd").join(unit), place(unit)).unwrap();
    }
    for unit in units {
        let verified = root("systemd-analyze", &["verify", "--man=no", &place(unit)]).ok();
        assert_eq!(verified.out + &verified.err, "", "{unit}");
    }
    // In tenths: 1.5 for the server, and what delivers may reach the network.
    let security = |unit: &str| {
        root("systemd-analyze", &["security", "--offline=true", "--threshold", "15", &place(unit)]).ok();
    };
    let services = ["access@.service", "access-serve.service", "access-expire.service"];
    services.into_iter().chain(["access-follow.service"]).for_each(security);
    // They reach a log that hosts share with this beside them.
    for unit in services {
        fs::create_dir_all(place(&format!("{unit}.d"))).unwrap();
        fs::copy(packaging().join("shared-log.conf"), place(&format!("{unit}.d/shared-log.conf"))).unwrap();
        let verified = root("systemd-analyze", &["verify", "--man=no", &place(unit)]).ok();
        assert_eq!(verified.out + &verified.err, "", "{unit}");
        security(unit);
    }
}

#[test]
fn what_lies_beside_the_units_is_what_init_lays_out() {
    let Some(_host) = Host::bare() else { return };
    if !installed("systemd-sysusers") {
        return;
    }
    root("systemd-sysusers", &[packaging().join("sysusers.d/access.conf").to_str().unwrap()]).ok();
    root("systemd-tmpfiles", &["--create", packaging().join("tmpfiles.d/access.conf").to_str().unwrap()]).ok();
    let look = || root("stat", &["-c", "%n %U:%G %a", "/etc/access", "/var/lib/access", "/run/access"]).ok().out;
    let before = look();
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    assert_eq!(look(), before);
    root(ACCESS, &["doctor"]).exits(1).says("ok       user").says("ok       data").says("ok       config");
}

/// The names of system calls in a group, and in the groups of that group.
fn group(name: &str) -> BTreeSet<String> {
    let listed = root("systemd-analyze", &["syscall-filter", name]).ok().out;
    let mut names = BTreeSet::new();
    for word in listed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if word.starts_with('@') {
            names.extend(group(word));
        } else {
            names.insert(word.to_owned());
        }
    }
    names
}

/// Those that the unit lets through.
fn let_through() -> BTreeSet<String> {
    let mut allowed = group("@system-service");
    for not in group("@privileged").into_iter().chain(group("@resources")) {
        allowed.remove(&not);
    }
    allowed.extend(["prlimit64", "setrlimit"].map(str::to_owned));
    allowed
}

#[test]
fn the_units_let_the_program_do_what_it_does() {
    let Some(_host) = Host::bare() else { return };
    if !installed("systemd-analyze") || !installed("strace") {
        return;
    }
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    let trace = "/run/trace";
    let listener = UnixListener::bind(SOCKET).unwrap();
    fs::set_permissions(SOCKET, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", trace, "-u", "access", ACCESS, "serve", "--connection"]).env_clear();
        command.stdin(OwnedFd::from(stream)).stdout(Stdio::null()).status().unwrap()
    });
    access("ana", &["request", "role:viewer", "--reason", "x"]).exits(5);
    serving.join().unwrap();
    let traced = fs::read_to_string(trace).unwrap();
    let name = |line: &str| {
        let call = line.split_whitespace().nth(1)?.split('(').next()?.to_owned();
        call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(call)
    };
    let called: BTreeSet<String> = traced.lines().filter_map(name).collect();
    assert!(called.contains("prctl") && called.contains("pwrite64"), "{called:?}");
    let allowed = let_through();
    let forbidden: Vec<&String> = called.iter().filter(|name| !allowed.contains(*name)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn cron_has_the_owner_of_the_file_expire() {
    let Some(_host) = Host::new() else { return };
    let file = fs::read_to_string(packaging().join("cron.d/access")).unwrap();
    let line = file.lines().find(|line| line.starts_with('*')).unwrap();
    let (user, command) = line.trim_start_matches("* ").split_once(' ').unwrap();
    assert_eq!(user, "access");
    let words = ["--reuid=access", "--regid=access", "--init-groups", "--reset-env", "sh", "-c", command];
    let expired = root("setpriv", &words).ok();
    assert_eq!(expired.out + &expired.err, "", "it has nothing to say");
}

#[test]
fn the_security_page_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut folders = vec![root.join("tests"), root.join("src")];
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let is_test = ["#[test]\n", "#[test]\n    "].iter().any(|mark| sources.contains(&format!("{mark}fn {name}()")));
        assert!(is_test, "docs/security.md names a test {name}");
    }
}
