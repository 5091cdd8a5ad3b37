//! Hosts with a copy of the log and a role of their own, that run real commands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use postgres::{Client, Config, NoTls};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::contents;
use crate::postgres_cluster::Cluster;

const ACCESS: &str = env!("CARGO_BIN_EXE_access");

/// One machine: a folder with a configuration file and a copy.
#[derive(Clone)]
pub struct Host {
    pub name: String,
    folder: PathBuf,
}

/// olivia owns; ada0 ... are admins; bob0 ... are members, so many of each; account0 to account19 can be asked for.
fn crowd(people: usize) -> String {
    let mut team = String::from("[team]\nname = \"crowd\"\n[members.olivia]\nrole = \"owner\"\n");
    for number in 0..people {
        writeln!(team, "[members.ada{number}]\nrole = \"admin\"\n[members.bob{number}]\nrole = \"member\"").unwrap();
    }
    for number in 0..20 {
        writeln!(team, "[connections.account{number}]\nenvironment = \"production\"").unwrap();
    }
    team
}

impl Host {
    /// `server`: what follows the role in the URL of the log.
    pub fn new(folder: &Path, name: &str, server: &str, password: &str) -> Host {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let host = Host { name: name.to_owned(), folder };
        host.configure(server, password);
        host
    }

    pub fn configure(&self, server: &str, password: &str) {
        let secret = self.folder.join("password");
        std::fs::write(&secret, password).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = self.folder.join(".config/access");
        std::fs::create_dir_all(&config).unwrap();
        let text = format!(
            "[log]\nurl = \"postgresql://{}@{server}\"\npassword_file = \"{}\"\nallow_plain = true\n",
            self.name,
            secret.display()
        );
        std::fs::write(config.join("config.toml"), text).unwrap();
    }

    pub fn db(&self) -> PathBuf {
        self.folder.join("access.db")
    }

    pub fn command(&self, login: &str, args: &[&str]) -> Command {
        let mut command = Command::new(ACCESS);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("TZ", "UTC")
            .env("ACCESS_DB", self.db())
            .env("ACCESS_TEST_USER", login)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, login: &str, args: &[&str]) -> Output {
        self.command(login, args).output().unwrap()
    }

    #[track_caller]
    pub fn ok(&self, login: &str, args: &[&str]) -> String {
        let ran = self.run(login, args);
        assert!(ran.status.success(), "{} {args:?}: {}", self.name, said(&ran));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// It ends with this code, and says this.
    #[track_caller]
    pub fn fails(&self, login: &str, args: &[&str], code: i32, text: &str) {
        let ran = self.run(login, args);
        assert!(ran.status.code() == Some(code) && said(&ran).contains(text), "{} {args:?}: {ran:?}", self.name);
    }

    pub fn sqlite(&self) -> Connection {
        Connection::open(self.db()).unwrap()
    }

    /// The log: each entry's hash and body.
    pub fn log(&self) -> Vec<(Vec<u8>, String)> {
        let conn = self.sqlite();
        let mut rows = conn.prepare("SELECT hash, body FROM event ORDER BY seq").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Every table that follows from the log, as text.
    pub fn tables(&self) -> BTreeMap<String, Vec<String>> {
        contents::of_log(&self.sqlite())
    }
}

pub fn said(ran: &Output) -> String {
    format!("{:?} {}", ran.status.code(), String::from_utf8_lossy(&ran.stderr))
}

/// Moves a new team's log into an empty database, as its owner `postgres`, and makes a copy of it on each host.
pub fn share(folder: &TempDir, server: &str, password: &str, names: &[String], people: usize) -> Vec<Host> {
    let hosts: Vec<Host> = names.iter().map(|name| Host::new(folder.path(), name, server, password)).collect();
    let first = &hosts[0];
    let team = folder.path().join("team.toml");
    std::fs::write(&team, crowd(people)).unwrap();
    first.ok("olivia", &["init"]);
    first.ok("olivia", &["team", "apply", team.to_str().unwrap(), "--yes"]);
    let secret = folder.path().join(&first.name).join("password");
    let url = format!("postgresql://postgres@{server}");
    let owner = [url.as_str(), "--allow-plain", "--password-file", secret.to_str().unwrap()];
    let log = |args: &[&str]| first.ok("olivia", &[&["log"], args, &owner].concat());
    log(&["init"]);
    for host in &hosts {
        log(&["allow", &host.name, "decide"]);
    }
    log(&["move"]);
    for host in &hosts[1..] {
        host.ok("olivia", &["log", "join"]);
    }
    hosts
}

/// A server of its own with the log of a new team, and hosts that have joined it. Its superuser has the hosts' password.
pub struct Team {
    pub cluster: Cluster,
    pub hosts: Vec<Host>,
    _folder: TempDir,
}

pub const PASSWORD: &str = "sesame";

impl Team {
    pub fn start(hosts: usize) -> Team {
        let (cluster, folder) = (Cluster::start(), tempfile::tempdir().unwrap());
        let names: Vec<String> = (1..=hosts).map(|number| format!("h{number}")).collect();
        cluster.sql("postgres", &format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'"));
        cluster.sql("postgres", "CREATE DATABASE acme TEMPLATE template0");
        for name in &names {
            cluster.sql("postgres", &format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"));
        }
        let hosts = share(&folder, &Team::address(&cluster.port(), "acme"), PASSWORD, &names, 8);
        Team { cluster, hosts, _folder: folder }
    }

    fn address(port: &str, database: &str) -> String {
        format!("127.0.0.1:{port}/{database}")
    }

    /// What follows the role in the URL of the log.
    pub fn server(&self, database: &str) -> String {
        Team::address(&self.cluster.port(), database)
    }

    /// A session of the superuser.
    pub fn admin(&self, database: &str) -> Client {
        self.connect("postgres", database)
    }

    /// A session of this host.
    pub fn session(&self, host: &str) -> Client {
        self.connect(host, "acme")
    }

    fn connect(&self, user: &str, database: &str) -> Client {
        let mut config = Config::new();
        config.host_path(self.cluster.folder()).port(self.cluster.port().parse().unwrap()).user(user);
        config.dbname(database).connect(NoTls).unwrap()
    }

    /// How many entries of the log have this text.
    pub fn count(&self, text: &str) -> i64 {
        let sql = "SELECT count(*) FROM access.entry WHERE strpos(body, $1) > 0";
        self.admin("acme").query_one(sql, &[&text]).unwrap().get(0)
    }
}

/// Each copy takes in what is new, settles what is pending, and is what the others are.
#[track_caller]
pub fn assert_equal(hosts: &[Host]) {
    for host in hosts {
        // One more time, as a host learns only now what became of its last entries.
        for _ in 0..2 {
            host.ok("olivia", &["follow", "--once"]);
        }
        host.ok("olivia", &["pending"]);
    }
    for host in hosts {
        host.ok("olivia", &["follow", "--once"]);
        host.ok("olivia", &["audit", "verify"]);
    }
    let (log, tables) = (hosts[0].log(), hosts[0].tables());
    for host in &hosts[1..] {
        assert!(host.log() == log, "{} has another log than {}", host.name, hosts[0].name);
        for (table, rows) in host.tables() {
            assert_eq!(rows, tables[&table], "{table} of {} and {}", host.name, hosts[0].name);
        }
    }
}
