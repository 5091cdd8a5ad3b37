//! From the request to the end, through the connectors of a Unix host as docs/connectors.md configures them: members really can,
//! and then really cannot.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::host::{ACCESS, CONFIG, Host, Ran, access, root, shell, within};
use crate::meanwhile::held_meanwhile;

const TEAM: &str = r#"
[team]
name = "acme"

[members.ana]
role = "owner"
[members.alice]
role = "admin"
[members.bob]
role = "member"
[members.carol]
role = "member"

[connections.prod]
environment = "production"
[targets.orders-db]
connections = ["prod"]
[targets.web]
connections = ["prod"]
"#;

const SOON: Duration = Duration::from_secs(15);

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(program: &str, args: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").stdin(Stdio::null());
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

/// The examples of a section of docs/connectors.md: for root's configuration, and for the team file.
fn examples(heading: &str) -> (String, String) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connectors.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("## `{heading}`")).unwrap();
    let mut blocks = section.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    (blocks.next().unwrap(), blocks.next().unwrap())
}

/// A host with both connectors.
fn host() -> Option<Host> {
    let host = Host::new()?;
    root("groupadd", &["orders-files"]).ok();
    for program in ["systemctl", "journalctl"] {
        let path = format!("/usr/bin/{program}");
        let _ = fs::remove_file(&path);
        fs::write(&path, "#!/bin/sh\necho \"as $(id -un): $*\"\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all("/run/sudo").unwrap();
    let (groups, sudo) = (examples("unix-group"), examples("sudoers"));
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(CONFIG, format!("{config}\n{}\n{}", groups.0, sudo.0)).unwrap();
    host.apply("ana", &format!("{TEAM}\n{}\n{}", groups.1, sudo.1)).ok();
    Some(host)
}

fn grant(host: &Host, login: &str, resource: &str, length: &str) -> String {
    let id = host.request(login, resource);
    access("alice", &["approve", &id, "--duration", length]).ok();
    id
}

fn reconcile() -> Ran {
    root(ACCESS, &["reconcile", "--fix"])
}

fn in_group(login: &str) -> bool {
    root("id", &["-nG", login]).ok().out.split_whitespace().any(|group| group == "orders-files")
}

fn restarts(login: &str) -> bool {
    shell(login, "sudo -n systemctl restart nginx").code == Some(0)
}

fn session(login: &str) -> Running {
    let ids = [format!("--reuid={login}"), format!("--regid={login}")];
    let session = Running::start("setpriv", &[&ids[0], &ids[1], "--init-groups", "sleep", "600"]);
    let exe = format!("/proc/{}/exe", session.0.id());
    within(SOON, || fs::read_link(&exe).is_ok_and(|program| program.ends_with("sleep")), "the session is open");
    session
}

#[test]
fn a_member_can_while_access_lasts_and_cannot_afterwards() {
    let Some(host) = host() else { return };
    root("usermod", &["-aG", "orders-files", "carol"]).ok();
    let _watch = Running::start(ACCESS, &["reconcile", "--fix", "--watch", "--quiet"]);
    assert!(!in_group("bob") && !restarts("bob"));
    let group = grant(&host, "bob", "target:orders-db", "8s");
    grant(&host, "bob", "target:web", "8s");
    within(SOON, || in_group("bob") && restarts("bob"), "bob can");
    shell("bob", "sudo -n systemctl restart sshd").not_done();
    shell("bob", "sudo -n journalctl -u nginx").not_done();
    let mut opened = session("bob");
    within(SOON, || access("bob", &["show", &group]).ok().out.contains("granted"), "it is on record");
    // The end by the clock. Nobody runs anything.
    within(Duration::from_secs(30), || !in_group("bob") && !restarts("bob"), "bob can't");
    within(SOON, || opened.has_ended(), "the session has ended");
    within(SOON, || !fs::exists("/etc/sudoers.d/access+bob+web").unwrap(), "the file is gone");
    // A revoke.
    let (group, web) = (grant(&host, "bob", "target:orders-db", "1h"), grant(&host, "bob", "target:web", "1h"));
    within(SOON, || in_group("bob") && restarts("bob"), "bob can again");
    access("alice", &["revoke", &group]).ok();
    within(SOON, || !in_group("bob"), "the group is gone");
    // A sudo that was reading its rules while the group was taken is ended.
    within(SOON, || restarts("bob"), "and only the group");
    access("alice", &["revoke", &web]).ok();
    within(SOON, || !restarts("bob"), "and then the rest");
    within(SOON, || access("bob", &["show", &web]).ok().out.contains("revoked"), "it is on record");
    root(ACCESS, &["expire"]).ok();
    assert!(in_group("carol"), "what was there before stays");
    access("alice", &["audit", "verify"]).ok();
}

#[test]
fn sudo_ends_access_where_nothing_runs_any_more() {
    let Some(host) = host() else { return };
    grant(&host, "bob", "target:web", "6s");
    reconcile().ok();
    assert!(restarts("bob"));
    // No reconciler, no cron, no server.
    let mut host = host;
    host.stop_serving();
    within(SOON, || !restarts("bob"), "the file has the end");
    assert!(fs::exists("/etc/sudoers.d/access+bob+web").unwrap());
    host.serve(crate::host::Start::Listener);
    reconcile().ok();
    assert!(!fs::exists("/etc/sudoers.d/access+bob+web").unwrap());
}

#[test]
fn two_grants_of_one_thing_and_an_extension_leave_no_gap() {
    let Some(host) = host() else { return };
    let bob: [&(dyn Fn() -> bool + Sync); 2] = [&|| restarts("bob"), &|| in_group("bob")];
    let first = ["target:web", "target:orders-db"].map(|resource| grant(&host, "bob", resource, "1h"));
    let second = grant(&host, "bob", "connection:prod", "2h");
    reconcile().ok();
    held_meanwhile(&bob, || {
        first.iter().for_each(|id| drop(access("alice", &["revoke", id]).ok()));
        reconcile().ok();
    });
    access("alice", &["revoke", &second]).ok();
    reconcile().ok();
    assert!(!restarts("bob") && !in_group("bob"));

    let short = ["target:web", "target:orders-db"].map(|resource| grant(&host, "bob", resource, "10s"));
    reconcile().ok();
    let samples = held_meanwhile(&bob, || {
        for id in &short {
            let longer = access("bob", &["extend", id, "--duration", "1h", "--reason", "testing", "--json"]).ok();
            access("alice", &["approve", &longer.json()["id"].to_string()]).ok();
        }
        reconcile().ok();
        // Over the end of the first grants, which sudo would see by itself.
        std::thread::sleep(Duration::from_secs(11));
        reconcile().ok();
    });
    assert!(samples > 50, "{samples}");
}

/// Stands in front of the connector, and dies half-way through a revoke: the membership is gone, and the sessions are not.
const DIES: &str = r#"#!/bin/sh
input=$(cat)
case $input in *'"operation":"revoke"'*)
    if [ -e /srv/dies ]; then rm /srv/dies; gpasswd -d bob orders-files; kill -9 $$; fi
esac
echo "$input" | /usr/bin/access connector unix-group
"#;

#[test]
fn a_revoke_that_died_half_way_still_ends_the_sessions() {
    let Some(host) = host() else { return };
    fs::write("/srv/connector", DIES).unwrap();
    fs::set_permissions("/srv/connector", Permissions::from_mode(0o755)).unwrap();
    let config = fs::read_to_string(CONFIG).unwrap();
    let command = r#"["/usr/bin/access", "connector", "unix-group"]"#;
    assert!(config.contains(command));
    fs::write(CONFIG, config.replace(command, r#"["/srv/connector"]"#)).unwrap();
    let id = grant(&host, "bob", "target:orders-db", "1h");
    reconcile().ok();
    let mut opened = session("bob");
    access("alice", &["revoke", &id]).ok();
    fs::write("/srv/dies", "").unwrap();
    reconcile().exits(1);
    assert!(!in_group("bob") && !opened.has_ended(), "half of it is done");
    reconcile();
    within(SOON, || opened.has_ended(), "the rest is done by the next run");
    reconcile().ok();
}

#[test]
fn what_root_did_by_hand_is_drift_and_stays() {
    let Some(host) = host() else { return };
    root("usermod", &["-aG", "orders-files", "bob"]).ok();
    reconcile().exits(1).says("unexplained");
    let id = grant(&host, "bob", "target:orders-db", "1h");
    reconcile();
    access("alice", &["revoke", &id]).ok();
    reconcile();
    assert!(in_group("bob"), "it was there before");
    // And what we gave and root took is given again.
    let id = grant(&host, "bob", "target:web", "1h");
    reconcile();
    fs::remove_file("/etc/sudoers.d/access+bob+web").unwrap();
    root(ACCESS, &["reconcile"]).exits(1).says("missing");
    reconcile();
    assert!(restarts("bob"));
    access("alice", &["revoke", &id]).ok();
    root(ACCESS, &["reconcile"]).exits(1).says("stale");
    reconcile();
    assert!(!restarts("bob"));
}

#[test]
fn the_owner_of_the_team_is_not_root() {
    let Some(host) = host() else { return };
    root("groupadd", &["--system", "wheel"]).ok();
    let bindings = |group: &str, profile: &str| {
        format!(
            "[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"groups\"\ngroup = \"{group}\"\n\
             [[bindings]]\nresource = \"target:web\"\nconnector = \"sudo\"\nprofile = \"{profile}\"\n"
        )
    };
    for (group, profile) in [("wheel", "root"), ("sudo", "ALL"), ("0", "web*"), ("orders-x,sudo", "web=/bin/sh")] {
        let ran = host.apply("ana", &format!("{TEAM}\n{}", bindings(group, profile)));
        if ran.code != Some(0) {
            continue;
        }
        let ids = ["target:orders-db", "target:web"].map(|resource| grant(&host, "bob", resource, "1h"));
        let groups = root("id", &["-nG", "bob"]).ok().out;
        reconcile();
        assert_eq!(root("id", &["-nG", "bob"]).ok().out, groups, "{group}");
        assert!(!fs::exists("/etc/sudoers.d/access+bob+web").unwrap());
        assert_eq!(
            fs::read_dir("/etc/sudoers.d").unwrap().filter(|it| format!("{it:?}").contains("access+")).count(),
            0
        );
        for id in ids {
            access("alice", &["revoke", &id]).ok();
        }
    }
}

#[test]
fn the_connectors_pass_their_own_trial() {
    let Some(_host) = host() else { return };
    root("useradd", &["probe"]).ok();
    root(ACCESS, &["connector", "test", "groups", "--login", "probe", "group=orders-files"]).ok();
    root(ACCESS, &["connector", "test", "sudo", "--login", "probe", "profile=web"]).ok();
    root(ACCESS, &["connector", "list"]).ok().says("groups").says("sudo");
}
