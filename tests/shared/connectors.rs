//! The reconciler of a shared host, as root runs it, with a connector in shell.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::host::{ACCESS, CONFIG, Host, TEAM, access, root, within};
use crate::shared_log::Log;

const BINDING: &str = "[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"doors\"\ndoor = \"north\"\n";
/// Keeps the logins of one door in a file, without any other program than the shell's own and grep.
const DOORS: &str = r#"#!/bin/sh
set -eu
touch /srv/doors
while read -r line; do
    login=${line#*'"login":"'}
    login=${login%%'"'*}
    case $line in
    *'"operation":"list"'*)
        holds=
        while read -r who; do holds="$holds,{\"login\":\"$who\",\"parameters\":{\"door\":\"north\"}}"; done </srv/doors
        echo "{\"holds\":[${holds#,}]}" ;;
    *'"operation":"grant"'*) grep -qxF "$login" /srv/doors || echo "$login" >>/srv/doors ;;
    *'"operation":"revoke"'*) grep -vxF "$login" /srv/doors >/srv/doors.new || [ $? = 1 ] && mv /srv/doors.new /srv/doors ;;
    esac
done
id -un >/srv/ran-as
"#;

/// A host with the connector and its binding.
fn doors() -> Option<Host> {
    let host = Host::new()?;
    fs::write("/srv/program", DOORS).unwrap();
    fs::set_permissions("/srv/program", fs::Permissions::from_mode(0o755)).unwrap();
    let section = "[[connectors]]\nname = \"doors\"\ncommand = [\"/srv/program\"]\nallow = { door = [\"north\"] }\n";
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(CONFIG, format!("{config}\n{section}")).unwrap();
    host.apply("ana", &format!("{TEAM}\n{BINDING}")).ok();
    Some(host)
}

fn held() -> String {
    fs::read_to_string("/srv/doors").unwrap_or_default()
}

#[test]
fn root_carries_access_to_a_system_and_nobody_else_can() {
    let Some(host) = doors() else { return };
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    assert_eq!(held(), "", "a member's command starts no reconciler here");
    for login in ["bob", "ana", "access"] {
        for args in [&["reconcile"][..], &["reconcile", "--fix"], &["connector", "test", "doors", "door=north"]] {
            let ran = access(login, args);
            assert_eq!(ran.code, Some(3), "{login} {args:?}: {ran:?}");
        }
    }
    access("bob", &["connector", "list"]).ok().says("doors");
    root(ACCESS, &["connector", "test", "doors", "--login", "probe", "door=north"]).ok();
    root(ACCESS, &["reconcile", "--fix"]).ok().says("granted");
    assert_eq!((held().as_str(), fs::read_to_string("/srv/ran-as").unwrap().trim()), ("bob\n", "root"));
    for (path, mode) in [("/var/lib/access-reconcile", 0o700), ("/var/lib/access-reconcile/journal.db", 0o600)] {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (0, mode), "{path}");
    }
    root(ACCESS, &["reconcile"]).ok();
    access("bob", &["show", &id]).ok().says("granted");
    access("alice", &["revoke", &id]).ok();
    root(ACCESS, &["reconcile"]).exits(1).says("stale");
    root(ACCESS, &["reconcile", "--fix"]).ok().says("revoked");
    assert_eq!(held(), "");
    root(ACCESS, &["doctor"]).says("connectors  doors");
    access("alice", &["audit", "verify"]).ok();
}

#[test]
fn a_leased_connector_is_run_with_a_shared_log_by_the_host_that_has_the_lease() {
    let Some(host) = doors() else { return };
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(
        CONFIG,
        config.replace("command = [\"/srv/program\"]", "where = \"leased\"\ncommand = [\"/srv/program\"]"),
    )
    .unwrap();
    let log = Log::start();
    log.moved();
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    root(ACCESS, &["reconcile", "--fix"]).ok().says("granted");
    assert_eq!(held(), "bob\n");
    access("bob", &["show", &id]).ok().says("granted");
    access("alice", &["revoke", &id, "--yes"]).ok();
    // Another host has the lease for 3 seconds, and this one waits for it.
    log.allow("other");
    let lease = "SET SESSION AUTHORIZATION other; SELECT access.lease('lease/connector/doors', 3)";
    assert!(log.sql(lease).ends_with('t'));
    let until = log.sql("SELECT until FROM access.side WHERE key = 'lease/connector/doors'");
    root(ACCESS, &["reconcile", "--fix"]).ok().says("revoked");
    assert_eq!(held(), "");
    assert_eq!(log.sql(&format!("SELECT access.now() >= '{until}'")), "t");
    // Members have no part in it.
    for args in [&["reconcile"][..], &["reconcile", "--fix"]] {
        access("bob", args).exits(3);
    }
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn roots_doctor_sees_what_the_reconciler_sees() {
    let Some(host) = doors() else { return };
    // A program that only root can reach.
    fs::create_dir("/srv/closed").unwrap();
    fs::rename("/srv/program", "/srv/closed/program").unwrap();
    fs::set_permissions("/srv/closed", fs::Permissions::from_mode(0o700)).unwrap();
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(CONFIG, config.replace("/srv/program", "/srv/closed/program")).unwrap();
    root(ACCESS, &["doctor"]).ok().says("connectors  doors");
    let refused = "target:orders-db door=cellar: the connector doors does not allow door=cellar";
    let applied = host.apply("ana", &format!("{TEAM}\n{}", BINDING.replace("north", "cellar"))).ok();
    assert!(applied.err.contains(refused), "the owner reads root's configuration: {applied:?}");
    root(ACCESS, &["connector", "list", "--json"]).ok().says(refused);
    let examined = root(ACCESS, &["doctor", "--json"]).exits(1);
    assert!(examined.out.contains(refused), "{examined:?}");
}

#[test]
fn root_runs_no_connectors_for_a_users_own_database() {
    let Some(_host) = Host::bare() else { return };
    fs::write("/srv/program", DOORS).unwrap();
    fs::set_permissions("/srv/program", fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir("/etc/access").unwrap();
    let section = "[[connectors]]\nname = \"doors\"\ncommand = [\"/srv/program\"]\nallow = { door = [\"north\"] }\n";
    fs::write(CONFIG, section).unwrap();
    access("bob", &["init"]).ok();
    let db = "/home/bob/.local/share/access/access.db";
    for args in [&["reconcile", "--fix"][..], &["expire"]] {
        let ran = root(ACCESS, &[&["--db", db], args].concat()).exits(3);
        assert!(ran.err.contains("belongs to another user"), "{ran:?}");
    }
    assert!(!Path::new("/srv/ran-as").exists() && !Path::new("/var/lib/access-reconcile").exists());
    access("bob", &["reconcile", "--fix"]).ok();
}

#[test]
fn the_service_follows_the_log_and_a_server_that_restarts() {
    let Some(mut host) = doors() else { return };
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/access-reconcile.service");
    let unit = fs::read_to_string(unit).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = start.split(' ');
    let mut watch = Command::new(words.next().unwrap());
    let mut watch = watch.args(words).env_clear().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let soon = Duration::from_secs(30);
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id, "--duration", "15s"]).ok();
    within(soon, || held() == "bob\n", "it is given");
    // The end by the clock, before anything records it.
    within(soon, || held().is_empty(), "it is taken back");
    host.stop_serving();
    std::thread::sleep(Duration::from_secs(2));
    host.serve(crate::host::Start::Listener);
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    within(soon, || held() == "bob\n", "it goes on");
    assert!(watch.try_wait().unwrap().is_none(), "it still runs");
    watch.kill().unwrap();
    watch.wait().unwrap();
}
