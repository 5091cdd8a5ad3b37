//! A shared host whose log other hosts share: the server writes through a real PostgreSQL, as the user who owns the database.

use std::fs;

use crate::host::{ACCESS, CONFIG, DATABASE, Host, Start, TEAM, access, root};
use crate::over_ssh::Bastion;
use crate::postgres_cluster::Cluster;

const SECRET: &str = "/etc/access/log-password";

/// A log in a server of its own, which this host reaches as the role `bastion` with a password.
pub struct Log {
    cluster: Cluster,
}

impl Log {
    pub fn start() -> Log {
        let cluster = Cluster::start();
        cluster.sql("postgres", "CREATE ROLE bastion LOGIN PASSWORD 'sesame'; CREATE ROLE other LOGIN");
        cluster.sql("postgres", "CREATE DATABASE acme TEMPLATE template0");
        Log { cluster }
    }

    fn owner(&self) -> String {
        let folder = self.cluster.folder().to_str().unwrap().replace('/', "%2F");
        format!("postgresql://postgres@{folder}:{}/acme", self.cluster.port())
    }

    /// Says how to reach it in the machine's configuration.
    fn configure(&self) {
        let config = fs::read_to_string(CONFIG).unwrap();
        let url = format!("postgresql://bastion@127.0.0.1:{}/acme", self.cluster.port());
        let log = format!("\n[log]\nurl = \"{url}\"\npassword_file = \"{SECRET}\"\nallow_plain = true\n");
        fs::write(CONFIG, config + &log).unwrap();
        fs::write(SECRET, "sesame\n").unwrap();
        root("chown", &["access:access", SECRET]).ok();
        root("chmod", &["600", SECRET]).ok();
    }

    /// Of a host: its log is moved here.
    pub fn moved(&self) {
        let owner = self.owner();
        self.configure();
        root(ACCESS, &["log", "init", &owner]).ok();
        self.allow("bastion");
        root(ACCESS, &["log", "move", &owner]).ok();
    }

    pub fn allow(&self, role: &str) {
        root(ACCESS, &["log", "allow", role, "decide", &self.owner()]).ok();
    }

    pub fn sql(&self, sql: &str) -> String {
        self.cluster.sql("postgres", &format!("\\connect acme\n{sql}"))
    }

    /// The same as a line of a shell script.
    pub fn asking(&self, sql: &str) -> String {
        let folder = self.cluster.folder().display();
        format!("psql -XAtq -h {folder} -p {} -U postgres -d acme -c '{sql}'", self.cluster.port())
    }

    fn entries(&self) -> String {
        self.sql("SELECT count(*) FROM access.entry")
    }
}

#[test]
fn the_server_writes_through_the_shared_log() {
    let Some(host) = Host::new() else { return };
    let log = Log::start();
    log.moved();
    let before: i64 = log.entries().parse().unwrap();
    let id = host.request("bob", "target:orders-db");
    let approved = access("alice", &["approve", &id, "--json"]).ok();
    // The request, the approval, and the start of the access.
    let after: i64 = log.entries().parse().unwrap();
    assert!(after >= before + 2, "{before} {after}");
    assert_eq!(approved.json()["as_of"]["position"], format!("acme@{after}").as_str());
    access("bob", &["check", "target:orders-db"]).ok();
    access("bob", &["check", "target:orders-db", "--fresh"]).ok();
    access("alice", &["revoke", &id, "--yes", "--wait"]).ok();
    root(ACCESS, &["follow", "--once"]).ok();
    root(ACCESS, &["expire", "--quiet"]).ok();
    root(ACCESS, &["log", "status"]).ok().says("bastion");
    access("ana", &["audit", "verify"]).ok();
    access("bob", &["follow", "--once"]).fails(3, "only root");
    root(ACCESS, &["doctor"]).says("this host is bastion");
}

#[test]
fn members_give_commands_over_ssh_on_a_copy_of_a_shared_log() {
    let Some(bastion) = Bastion::new() else { return };
    let mut log = Log::start();
    log.moved();
    let asked = bastion.types("dave", "request target:orders-db --reason x --json").ok().json();
    let id = asked["id"].to_string();
    assert!(asked["as_of"]["position"].is_string(), "{asked}");
    bastion.types("alice", &format!("approve {id}")).ok();
    bastion.types("dave", "check target:orders-db").ok();
    bastion.types("alice", &format!("revoke {id} --wait --yes")).ok();
    bastion.types("dave", "check target:orders-db").exits(1);
    let by_key = log.sql("SELECT count(*) FROM access.entry WHERE body::json ->> 'os_user' LIKE 'ssh:SHA256:%'");
    assert!(by_key.parse::<u32>().unwrap() >= 4, "{by_key}");
    log.cluster.stop();
    let refused =
        bastion.types("dave", "request target:orders-db --reason y").fails(69, "the shared log can't be reached");
    assert!(!refused.err.contains("sesame"), "{refused:?}");
    bastion.types("dave", "whoami").ok();
    log.cluster.restart();
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn members_learn_no_secret_and_change_nothing_while_the_log_is_away() {
    let Some(host) = Host::new() else { return };
    let mut log = Log::start();
    log.moved();
    let id = host.request("bob", "target:orders-db");
    log.cluster.stop();
    let refused = access("alice", &["approve", &id]).fails(69, "the shared log can't be reached");
    assert!(!refused.err.contains("sesame"), "{refused:?}");
    access("bob", &["check", "target:orders-db"]).exits(1);
    access("bob", &["check", "target:orders-db", "--fresh"]).exits(69);
    log.cluster.restart();
    access("alice", &["approve", &id]).ok();
}

#[test]
fn a_second_shared_host_joins_the_log() {
    let Some(mut host) = Host::bare() else { return };
    let log = Log::start();
    // What a first host would have: a file that root moves there, under another role.
    root(ACCESS, &["init", "--shared", "--owner", "ana", "--team", "acme"]).ok();
    host.serve(Start::Listener);
    host.apply("ana", TEAM).ok();
    log.moved();
    // This machine starts again with nothing but its configuration.
    for beside in ["", "-wal", "-shm", ".lock", ".places"] {
        let _ = fs::remove_file(format!("{DATABASE}{beside}"));
    }
    access("bob", &["log", "join"]).fails(3, "only root");
    root(ACCESS, &["log", "join"]).ok();
    assert_eq!(root("stat", &["-c", "%U:%G %a", DATABASE]).ok().out, "access:access 600\n");
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id]).ok();
    root(ACCESS, &["doctor"]).says("this host is bastion");
}
