//! What a host answers from its copy of the log, with the real program: how old it is, what it needs the log for, and what
//! happens while the log can't be reached.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres_cluster::Cluster;
use crate::tools::run;

const TEAM: &str = r#"
[team]
name = "acme"
[members.olivia]
role = "owner"
login = "LOGIN"
[members.alice]
role = "admin"
[members.bob]
role = "member"
[connections.prod]
environment = "production"
[connections.staging]
environment = "non-production"
"#;

/// A server, and two hosts that share its log: h1 and h2.
pub struct Hosts {
    pub cluster: Cluster,
    folder: TempDir,
}

#[derive(Debug)]
pub struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.out.contains(text) || self.err.contains(text), "{text}: {self:?}");
        self
    }
}

impl Hosts {
    pub fn start() -> Hosts {
        let cluster = Cluster::start();
        cluster.sql("postgres", "CREATE ROLE h1 LOGIN");
        cluster.sql("postgres", "CREATE ROLE h2 LOGIN");
        cluster.sql("postgres", "CREATE DATABASE acme TEMPLATE template0");
        let hosts = Hosts { cluster, folder: tempfile::tempdir().unwrap() };
        for host in ["h1", "h2"] {
            let config = hosts.folder.path().join(host).join(".config/access");
            std::fs::create_dir_all(&config).unwrap();
            std::fs::write(config.join("config.toml"), format!("[log]\nurl = \"{}\"\n", hosts.url(host))).unwrap();
        }
        hosts.run("h1", &["init", "--team", "acme"]).exits(0);
        let login = hosts.run("h1", &["team", "show", "--json"]).exits(0).json()["members"].clone();
        let login = login.as_object().unwrap().values().next().unwrap()["login"].as_str().unwrap().to_owned();
        let team = hosts.folder.path().join("team.toml");
        std::fs::write(&team, TEAM.replace("LOGIN", &login)).unwrap();
        hosts.run("h1", &["team", "apply", team.to_str().unwrap(), "--yes"]).exits(0);
        let owner = hosts.url("postgres");
        hosts.run("h1", &["log", "init", &owner]).exits(0);
        for host in ["h1", "h2"] {
            hosts.run("h1", &["log", "allow", host, "decide", &owner]).exits(0);
        }
        hosts.run("h1", &["log", "move", &owner]).exits(0);
        hosts.run("h2", &["log", "join"]).exits(0);
        hosts
    }

    fn url(&self, role: &str) -> String {
        let folder = self.cluster.folder().to_str().unwrap().replace('/', "%2F");
        format!("postgresql://{role}@{folder}:{}/acme", self.cluster.port())
    }

    fn database(&self, host: &str) -> PathBuf {
        self.folder.path().join(host).join("access.db")
    }

    fn command(&self, host: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_access"));
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path().join(host));
        command.env("ACCESS_DB", self.database(host)).stdin(Stdio::null());
        command
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// From now on the host shows this certificate, and logs in as this role.
    pub fn log_in_with_certificate(&self, host: &str, role: &str, own: &str) {
        let (at, port) = (self.folder.path().display(), self.cluster.port());
        let url = format!("url = \"postgresql://{role}@localhost:{port}/acme\"");
        let files = format!("certificate = \"{at}/{own}.crt\"\nkey = \"{at}/{own}.key\"\nca_file = \"{at}/ca.crt\"");
        let path = self.folder.path().join(host).join(".config/access/config.toml");
        std::fs::write(path, format!("[log]\n{url}\n{files}\n")).unwrap();
    }

    pub fn run(&self, host: &str, args: &[&str]) -> Ran {
        let ran = self.command(host, args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: ran.status.code().unwrap(), out: text(ran.stdout), err: text(ran.stderr) }
    }

    /// The last contact of this host was so long ago.
    fn age(&self, host: &str, seconds: i64) {
        let conn = rusqlite::Connection::open(self.database(host)).unwrap();
        let sql = "UPDATE replica SET since_boot = since_boot - ?1, wall_at = wall_at - ?1";
        assert_eq!(conn.execute(sql, [seconds * 1000]).unwrap(), 1);
    }

    fn head(&self) -> i64 {
        self.cluster.sql("postgres", "\\connect acme\nSELECT max(seq) FROM access.entry").parse().unwrap()
    }

    /// Gives bob access, from h1. Returns the number of the request.
    fn grant(&self, resource: &str, duration: &str) -> String {
        let asked = ["--as", "bob", "request", resource, "--reason", "größer", "--duration", duration, "--json"];
        let id = self.run("h1", &asked).exits(0).json()["id"].to_string();
        self.run("h1", &["--as", "alice", "approve", &id]).exits(0);
        id
    }
}

#[test]
fn answers_say_which_entry_they_know_and_how_old_they_are() {
    let hosts = Hosts::start();
    let id = hosts.grant("connection:staging", "1h");
    hosts.run("h2", &["follow", "--once"]).exits(0);
    let position = format!("acme@{}", hosts.head());
    let as_of = |ran: &Ran| ran.json()["as_of"].clone();
    for args in [
        &["--as", "bob", "check", "connection:staging", "--json"][..],
        &["--as", "bob", "whoami", "--json"],
        &["--as", "bob", "show", &id, "--json"],
        &["--as", "alice", "report", "--json"],
    ] {
        let as_of = as_of(&hosts.run("h2", args).exits(0));
        assert_eq!(as_of["position"], position.as_str(), "{args:?}");
        assert!(as_of["age_seconds"].as_i64().unwrap() < 10 && as_of["at"].is_string(), "{as_of}");
    }
    let report = hosts.run("h2", &["--as", "alice", "report", "--html", "-"]).exits(0);
    report.says(&format!("this host’s copy of the shared log at {position}"));
    // An array has no place for it.
    let lists = [&["list"][..], &["resources"], &["who", "connection:staging"]];
    let listed = |list: &[&str]| {
        let ran = hosts.run("h2", &[&["--as", "alice", "--json"], list].concat()).exits(0);
        assert!(ran.json().is_array(), "{ran:?}");
        ran.err
    };
    lists.iter().for_each(|list| assert_eq!(listed(list), "", "{list:?}"));
    let check = ["--as", "bob", "check", "connection:staging"];
    assert_eq!(hosts.run("h2", &check).exits(0).err, "", "fresh");
    // A change says where it is.
    let asked = ["--as", "bob", "request", "connection:prod", "--reason", "x", "--json"];
    let changed = hosts.run("h1", &asked).exits(0);
    assert_eq!(as_of(&changed)["position"], format!("acme@{}", hosts.head()).as_str());

    let principals = || hosts.run("h2", &["--as", "alice", "ssh", "principals", "bob"]);
    principals().says("connection:staging");
    hosts.age("h2", 240);
    hosts.run("h2", &check).exits(0).says("as of 4m");
    for list in lists {
        let err: Value = serde_json::from_str(&listed(list)).unwrap();
        assert_eq!(err["as_of"]["position"], position.as_str(), "{list:?}");
    }
    assert_eq!(hosts.run("h2", &[&check[..], &["--quiet"]].concat()).exits(0).err, "");
    let old = as_of(&hosts.run("h2", &[&check[..], &["--json"]].concat()).exits(0));
    assert!((240..250).contains(&old["age_seconds"].as_i64().unwrap()), "{old}");
    hosts.age("h2", 700);
    hosts.run("h2", &check).exits(69).says("too long");
    let one = hosts.run("h2", &["--as", "alice", "ssh", "principals", "--for", "connection:staging", "bob"]);
    assert!(one.code == 69 && one.out.is_empty(), "{one:?}");
    assert_eq!(principals().out, "");
}

#[test]
fn a_check_can_ask_the_log_first_or_wait_for_an_entry() {
    let hosts = Hosts::start();
    let check = ["--as", "bob", "check", "connection:staging"];
    hosts.run("h2", &check).exits(1);
    hosts.grant("connection:staging", "1h");
    hosts.run("h2", &check).exits(1);
    let position = format!("acme@{}", hosts.head());
    hosts.run("h2", &[&check[..], &["--at-least", &position]].concat()).exits(0);
    hosts.grant("connection:prod", "1h");
    hosts.run("h2", &["--as", "bob", "check", "connection:prod", "--fresh"]).exits(0);
    hosts.run("h2", &[&check[..], &["--at-least", "other@1"]].concat()).exits(2);
    hosts.run("h2", &[&check[..], &["--at-least", "acme"]].concat()).exits(2);
    let beyond = format!("acme@{}", hosts.head() + 1);
    hosts.run("h2", &[&check[..], &["--at-least", &beyond]].concat()).exits(69).says("does not know");
    // A stranger makes nobody ask.
    hosts.run("h2", &["--as", "nobody", "check", "connection:prod", "--fresh"]).exits(4);
}

#[test]
fn without_the_log_nothing_changes_and_checks_go_on() {
    let mut hosts = Hosts::start();
    let id = hosts.grant("connection:staging", "1h");
    hosts.run("h2", &["follow", "--once"]).exits(0);
    let before = hosts.head();
    hosts.cluster.stop();
    for args in [
        &["--as", "bob", "request", "connection:prod", "--reason", "x"][..],
        &["--as", "alice", "revoke", &id, "--yes"],
        &["--as", "bob", "withdraw", &id, "--yes"],
        &["--as", "bob", "notify", "mute"],
    ] {
        let ran = hosts.run("h2", args).exits(69);
        assert!(
            ran.err.contains("the shared log can't be reached") && ran.err.contains("nothing was changed"),
            "{ran:?}"
        );
    }
    hosts.run("h2", &["pending"]).exits(0).says("Nothing is pending");
    let check = ["--as", "bob", "check", "connection:staging"];
    hosts.run("h2", &check).exits(0);
    hosts.run("h2", &[&check[..], &["--fresh"]].concat()).exits(69);
    hosts.run("h2", &["--as", "bob", "whoami"]).exits(0);
    hosts.run("h2", &["doctor"]).exits(1).says("can't be reached");
    hosts.cluster.restart();
    assert_eq!(hosts.head(), before);
    hosts.run("h2", &["audit", "verify"]).exits(0);
}

#[test]
fn expire_says_what_it_could_not_record() {
    let mut hosts = Hosts::start();
    let id = hosts.grant("connection:staging", "1m");
    hosts.cluster.stop();
    // Its end comes by the host's count of seconds.
    hosts.age("h1", 61);
    hosts.run("h1", &["--as", "bob", "check", "connection:staging"]).exits(1);
    hosts.run("h1", &["expire", "--quiet"]).exits(69).says("not recorded: 1 end of access");
    hosts.run("h1", &["--as", "bob", "show", &id]).exits(0).says("expired");
    hosts.cluster.restart();
}

#[test]
fn a_revoke_waits_for_every_host() {
    let hosts = Hosts::start();
    let (first, second) = (hosts.grant("connection:staging", "1h"), hosts.grant("connection:prod", "1h"));
    hosts.run("h2", &["follow", "--once"]).exits(0);
    let cut_off = hosts.run("h1", &["--as", "alice", "revoke", &first, "--yes", "--wait", "--timeout", "1s"]);
    cut_off.exits(1).says("h2 does not know it yet; it denies by");
    let mut following = hosts.command("h2", &["follow"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    hosts.run("h1", &["--as", "alice", "revoke", &second, "--yes", "--wait"]).exits(0);
    hosts.run("h2", &["--as", "bob", "check", "connection:prod"]).exits(1);
    // SIGTERM ends it, and leaves a copy that goes on.
    let pid = nix::unistd::Pid::from_raw(following.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    following.wait().unwrap();
    hosts.run("h2", &["follow", "--once"]).exits(0);
    hosts.run("h2", &["audit", "verify"]).exits(0);
    assert!(!Path::new(&hosts.database("h2").with_extension("db-journal")).exists());
}

#[test]
fn doctor_looks_at_the_shared_log() {
    let hosts = Hosts::start();
    let doctor = |host| hosts.run(host, &["doctor", "--json"]);
    let health = |ran: &Ran, what: &str| {
        let found = ran.json().as_array().unwrap().iter().find(|finding| finding["what"] == what).cloned();
        found.map(|finding| (finding["health"].as_str().unwrap().to_owned(), finding["found"].to_string()))
    };
    let ran = doctor("h2");
    assert_eq!(health(&ran, "shared log").unwrap().0, "ok", "{ran:?}");
    assert!(health(&ran, "shared log").unwrap().1.contains("this host is h2"), "{ran:?}");
    // The test's server has no standby, and does not wait for its disk.
    assert_ne!(health(&ran, "replicas").unwrap().0, "ok", "{ran:?}");
    assert_eq!(health(&ran, "log clock").unwrap().0, "ok", "{ran:?}");
    assert_eq!(health(&ran, "copy").unwrap().0, "ok", "{ran:?}");
    assert_eq!(health(&ran, "pending"), None);
    hosts.grant("connection:staging", "1h");
    hosts.age("h2", 60);
    let copy = health(&doctor("h2"), "copy").unwrap();
    assert!(copy.0 == "warning" && copy.1.contains("3 entries behind"), "{copy:?}");
}

/// An authority, and in this folder a certificate of each of these: its file, its name, and for how many days.
pub fn certificates(folder: &Path, each: &[(&str, &str, &str)]) {
    let openssl = |words: &[&str]| run(Command::new("openssl").args(words).current_dir(folder));
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(&[&make[..], &["-days", "90", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt"]].concat());
    for (file, name, days) in each {
        let (subject, alternative) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        let (key, certificate) = (format!("{file}.key"), format!("{file}.crt"));
        let usage = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.crt", "-CAkey", "ca.key"];
        let names = ["-subj", &subject, "-addext", &alternative, "-keyout", &key, "-out", &certificate];
        openssl(&[&make[..], &["-days", days], &usage, &names].concat());
    }
}

#[test]
fn a_host_logs_in_with_its_certificate_and_doctor_says_when_that_ends() {
    let mut hosts = Hosts::start();
    let folder = hosts.folder.path().to_owned();
    let each = [("server", "localhost", "60"), ("h1", "h1", "60"), ("h2", "h2", "10")];
    certificates(&folder, &each);
    std::fs::write(folder.join("hba"), "local all all trust\nhostssl acme h1,h2 all cert\n").unwrap();
    for (file, name) in
        [("server.crt", "server.crt"), ("server.key", "server.key"), ("ca.crt", "ca.crt"), ("hba", "pg_hba.conf")]
    {
        hosts.cluster.put(&folder.join(file), name);
    }
    hosts.cluster.configure("ssl = on\nssl_ca_file = 'ca.crt'\n");
    let configure = |host: &str, role: &str, own: &str| hosts.log_in_with_certificate(host, role, own);
    configure("h1", "h1", "h1");
    configure("h2", "h2", "h2");
    hosts.grant("connection:staging", "1h");
    hosts.run("h2", &["follow", "--once"]).exits(0);
    hosts.run("h2", &["--as", "bob", "check", "connection:staging"]).exits(0);
    let certificate = |host| {
        let found = hosts.run(host, &["doctor", "--json"]).json();
        found.as_array().unwrap().iter().find(|finding| finding["what"] == "log cert").unwrap()["health"].clone()
    };
    assert_eq!(certificate("h1"), "ok");
    assert_eq!(certificate("h2"), "warning");
    // Another host's role is not for it.
    configure("h2", "h1", "h2");
    hosts.run("h2", &["follow", "--once"]).exits(69).says("certificate authentication failed");
    // A key that others can read is no secret.
    configure("h2", "h2", "h2");
    let key = folder.join("h2.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    hosts.run("h2", &["follow", "--once"]).says("others can read").exits(69);
}

/// Keeps lines such as "bob north" in the file that its argument names.
const DOORS: &str = r#"#!/bin/sh
touch "$1"
while read -r line; do
    entry=$(printf %s "$line" | jq -r 'if .login then "\(.login) \(.parameters.door)" else "" end')
    case $(printf %s "$line" | jq -r .operation) in
    list) jq -cRn '{holds: [inputs / " " | {login: .[0], parameters: {door: .[1]}}]}' "$1" ;;
    grant) grep -qxF "$entry" "$1" || echo "$entry" >>"$1" ;;
    revoke) grep -vxF "$entry" "$1" >"$1.new" || [ $? = 1 ] && mv "$1.new" "$1" ;;
    esac
done
"#;

#[test]
fn access_is_taken_back_while_the_log_is_away() {
    let mut hosts = Hosts::start();
    let folder = hosts.folder.path().to_owned();
    let (program, allowed) = (folder.join("doors"), folder.join("allowed"));
    std::fs::write(&program, DOORS).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = folder.join("h1/.config/access/config.toml");
    let command = format!("command = [{program:?}, {allowed:?}]\nallow = {{ door = [\"*\"] }}\n");
    let log = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{log}\n[[connectors]]\nname = \"doors\"\n{command}")).unwrap();
    let team = folder.join("team.toml");
    let binding = "[[bindings]]\nresource = \"connection:staging\"\nconnector = \"doors\"\ndoor = \"north\"\n";
    std::fs::write(&team, std::fs::read_to_string(&team).unwrap() + binding).unwrap();
    hosts.run("h1", &["team", "apply", team.to_str().unwrap(), "--yes"]).exits(0);
    hosts.run("h2", &["follow", "--once"]).exits(0);
    // The other host lacks the connector, and need not have it.
    // Doctor does not ask a database about its bindings while something else is wrong.
    hosts.cluster.sql("postgres", "ALTER SYSTEM SET fsync = on");
    hosts.cluster.sql("postgres", "SELECT pg_reload_conf()");
    hosts.run("h2", &["doctor"]).exits(0).says("connectors  not on this host, so left to the others: doors");
    hosts.run("h2", &["connector", "list"]).says("another host must have it");
    let more = std::fs::read_to_string(&team).unwrap() + &binding.replace("doors", "gates");
    std::fs::write(folder.join("more.toml"), more).unwrap();
    let more = folder.join("more.toml");
    let planned = hosts.run("h1", &["team", "apply", more.to_str().unwrap(), "--dry-run"]).exits(0);
    planned.says("no connector gates is configured on this host; make sure that another host has it");
    hosts.grant("connection:staging", "1m");
    let held = || std::fs::read_to_string(&allowed).unwrap_or_default();
    hosts.run("h1", &["reconcile", "--fix"]).exits(0);
    assert_eq!(held(), "bob north\n");
    hosts.cluster.stop();
    hosts.age("h1", 61);
    hosts.run("h1", &["expire", "--quiet"]).exits(69).says("not recorded: 1 end of access");
    assert_eq!(held(), "");
    hosts.cluster.restart();
    hosts.run("h1", &["expire", "--quiet"]);
    hosts.run("h1", &["audit", "verify"]).exits(0);
}
