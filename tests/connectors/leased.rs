//! A connector that two hosts have which share a log: one runs it at a time, and the other knows what was given.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{ACCESS, Ran, TEAM, World};
use crate::hosts::Hosts;
use crate::postgres_cluster::Cluster;
use crate::wait_until;

const ALPHA: usize = 0;
const BETA: usize = 1;

const BINDING: &str = r#"
[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
role = "orders_rw"
"#;

/// Runs the connector in `$2`, before or after which it waits while a file is there that says so.
const SLOW: &str = r#"#!/bin/sh
folder=$1
shift
wait_while() {
    if [ -e "$folder/$1" ]; then : >"$folder/reached"; fi
    while [ -e "$folder/$1" ]; do sleep 0.02; done
}
input=$(cat)
case $input in *grant*) wait_while before ;; esac
output=$(printf '%s\n' "$input" | "$@")
case $input in *grant*) wait_while after ;; esac
printf '%s\n' "$output"
"#;

/// Two hosts, their log in one server, and the system in another.
struct Fleet {
    world: World,
    target: Cluster,
    // Last, because the world's database is dropped before.
    _log: Cluster,
}

impl Fleet {
    fn start(place: &str) -> Fleet {
        let log = Cluster::start();
        log.sql("postgres", "CREATE ROLE access_host NOLOGIN; CREATE ROLE alpha LOGIN; CREATE ROLE beta LOGIN");
        let folder = log.folder().to_str().unwrap().replace('/', "%2F");
        let world = World::sharing(Some(format!("postgresql://postgres@{folder}:{}/", log.port())));
        world.run("olivia", &["init"]).ok();
        world.apply("olivia", &format!("{TEAM}{BINDING}")).ok();
        let fleet = Fleet { world, target: Cluster::start().with_orders(), _log: log };
        let program = fleet.program();
        std::fs::write(&program, SLOW).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        [ALPHA, BETA].into_iter().for_each(|host| fleet.configure(host, place));
        fleet
    }

    fn hosts(&self) -> &Hosts {
        self.world.hosts().unwrap()
    }

    fn program(&self) -> PathBuf {
        self.world.folder().join("slow")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    fn config(&self, host: usize) -> PathBuf {
        self.hosts().home(host).join(".config/access/config.toml")
    }

    /// `reconcile` has the connector. Other commands would start it by themselves.
    fn configure(&self, host: usize, place: &str) {
        let words: Vec<String> =
            [self.program().to_str().unwrap(), self.world.folder().to_str().unwrap(), ACCESS, "connector"]
                .map(str::to_owned)
                .into_iter()
                .chain(self.target.connector("access").0)
                .collect();
        let section = format!(
            "[[connectors]]\nname = \"orders-pg\"\ncommand = {words:?}\nwhere = \"{place}\"\nallow = {{ role = [\"orders_*\"] }}\n"
        );
        self.hosts().configure(host, &section);
    }

    /// A command on this host that starts no run.
    fn act(&self, host: usize, login: &str, args: &[&str]) -> Ran {
        let config = std::fs::read_to_string(self.config(host)).unwrap();
        self.hosts().configure(host, "");
        self.world.run_on(host, login, &["follow", "--once"]).ok();
        let ran = self.world.run_on(host, login, args).ok();
        std::fs::write(self.config(host), config).unwrap();
        ran
    }

    fn grant(&self, login: &str, more: &[&str]) -> String {
        let ask =
            [&["request", "target:orders-db", "--reason", "testing", "--duration", "1h", "--json"], more].concat();
        let id = self.act(ALPHA, login, &ask).json()["id"].to_string();
        self.act(ALPHA, "alice", &["approve", &id]);
        id
    }

    /// A run, with what it reports, as connector, state and login.
    fn reconcile(&self, host: usize, code: i32) -> Vec<(String, String)> {
        self.world.run_on(host, "root", &["follow", "--once"]).ok();
        self.run(host, &["reconcile", "--fix", "--json"], code)
    }

    fn run(&self, host: usize, args: &[&str], code: i32) -> Vec<(String, String)> {
        let rows = self.world.run_on(host, "root", args).exits(code).json();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.as_array().unwrap().iter().map(|row| (text(row, "state"), text(row, "login"))).collect()
    }

    fn begin(&self, host: usize) -> Child {
        self.world.run_on(host, "root", &["follow", "--once"]).ok();
        let mut run = self.world.command_on(host, "root", &["reconcile", "--fix", "--json"]);
        run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn has(&self, login: &str) -> bool {
        self.target.can_set_role(login, "orders_rw")
    }

    fn actions(&self, action: &str) -> usize {
        let sql = "SELECT count(*) FROM access.entry WHERE strpos(body, $1) > 0";
        let count: i64 =
            self.hosts().superuser().query_one(sql, &[&format!("\"action\":\"{action}\"")]).unwrap().get(0);
        usize::try_from(count).unwrap()
    }

    /// What the hosts tell each other.
    fn shared(&self) -> Vec<(String, String)> {
        let sql = "SELECT value::text FROM access.side WHERE key = 'journal/orders-pg'";
        let Some(row) = self.hosts().superuser().query_opt(sql, &[]).unwrap() else { return Vec::new() };
        let value: Value = serde_json::from_str(row.get(0)).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        value["rows"].as_array().unwrap().iter().map(|row| (text(row, "state"), text(row, "login"))).collect()
    }

    fn verify(&self) {
        for host in [ALPHA, BETA] {
            self.world.run_on(host, "olivia", &["follow", "--once"]).ok();
            self.world.run_on(host, "olivia", &["audit", "verify"]).ok();
        }
    }
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(state, login)| ((*state).to_owned(), (*login).to_owned())).collect()
}

fn ended(run: Child, code: i32) -> Value {
    let output = run.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out} {err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn what_one_host_gave_the_other_keeps_and_takes_back() {
    let fleet = Fleet::start("leased");
    // Carol had it before, which the other host must know too.
    fleet.target.sql("access", "GRANT orders_rw TO carol");
    fleet.grant("bob", &[]);
    fleet.grant("carol", &[]);
    assert_eq!(fleet.reconcile(ALPHA, 0), rows(&[("granted", "bob")]));
    assert_eq!(fleet.reconcile(BETA, 0), []);
    assert!(fleet.has("bob") && fleet.has("carol"));
    assert_eq!(fleet.shared(), rows(&[("granted", "bob"), ("before", "carol")]));
    fleet.world.pass("61m");
    // A host that only looks changes nothing.
    fleet.world.run_on(BETA, "root", &["follow", "--once"]).ok();
    assert_eq!(fleet.run(BETA, &["reconcile", "--json"], 1), rows(&[("stale", "bob"), ("unexplained", "carol")]));
    assert_eq!(fleet.reconcile(BETA, 1), rows(&[("unexplained", "carol"), ("revoked", "bob")]));
    assert_eq!((fleet.has("bob"), fleet.has("carol"), fleet.shared()), (false, true, Vec::new()));
    assert_eq!(fleet.reconcile(ALPHA, 1), rows(&[("unexplained", "carol")]));
    assert!(fleet.has("carol"));
    // A host without a journal of its own takes over what the others gave, but notices that it lost what it gave itself.
    fleet.grant("bob", &[]);
    fleet.reconcile(ALPHA, 1);
    for host in [ALPHA, BETA] {
        std::fs::remove_dir_all(fleet.hosts().home(host).join(".local")).unwrap();
    }
    fleet.world.pass("61m");
    fleet.world.run_on(ALPHA, "root", &["reconcile", "--fix"]).fails(3, "there is no journal of it here");
    assert!(fleet.has("bob"));
    fleet.reconcile(BETA, 1);
    assert!(!fleet.has("bob"));
    fleet.verify();
}

#[test]
fn hosts_that_run_at_once_do_each_thing_once() {
    let fleet = Fleet::start("leased");
    for round in 1..=3 {
        fleet.grant("bob", &[]);
        for run in [ALPHA, BETA, ALPHA, BETA].map(|host| fleet.begin(host)) {
            ended(run, 0);
        }
        assert!(fleet.has("bob"));
        assert_eq!(fleet.actions("grant.provisioned"), round);
        fleet.world.pass("61m");
        for run in [BETA, ALPHA, BETA, ALPHA].map(|host| fleet.begin(host)) {
            ended(run, 0);
        }
        assert!(!fleet.has("bob"));
        assert_eq!(fleet.actions("grant.deprovisioned"), round);
    }
    fleet.verify();
}

#[test]
fn a_host_killed_after_it_gave_is_followed_by_one_that_takes_it_back() {
    let fleet = Fleet::start("leased");
    fleet.grant("bob", &[]);
    std::fs::write(fleet.file("after"), "").unwrap();
    let mut killed = fleet.begin(ALPHA);
    wait_until("it gives", || fleet.file("reached").exists());
    assert!(fleet.has("bob"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    std::fs::remove_file(fleet.file("after")).unwrap();
    // The lease is still the first one's.
    let mut waits = fleet.begin(BETA);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(waits.try_wait().unwrap().is_none(), "the lease is another host's");
    fleet.world.pass("31s");
    fleet.world.run_on(BETA, "olivia", &["follow", "--once"]).ok();
    assert_eq!(ended(waits, 0)[0]["state"], "granted");
    fleet.world.pass("61m");
    assert_eq!(fleet.reconcile(BETA, 0), rows(&[("revoked", "bob")]));
    assert_eq!((fleet.has("bob"), fleet.shared()), (false, Vec::new()));
    // The first comes back, and knows.
    assert_eq!(fleet.reconcile(ALPHA, 0), []);
    fleet.verify();
}

#[test]
fn what_a_frozen_host_gives_after_another_took_over_is_taken_back() {
    let fleet = Fleet::start("leased");
    let id = fleet.grant("bob", &[]);
    std::fs::write(fleet.file("before"), "").unwrap();
    let frozen = fleet.begin(ALPHA);
    wait_until("it is about to give", || fleet.file("reached").exists());
    let process = Pid::from_raw(i32::try_from(frozen.id()).unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    fleet.world.pass("31s");
    fleet.act(BETA, "alice", &["revoke", &id]);
    assert!(!fleet.has("bob"));
    fleet.reconcile(BETA, 0);
    assert_eq!((fleet.has("bob"), fleet.shared()), (false, Vec::new()));
    // Its program goes on.
    std::fs::remove_file(fleet.file("before")).unwrap();
    wait_until("it gives", || fleet.has("bob"));
    fleet.world.run_on(ALPHA, "olivia", &["follow", "--once"]).ok();
    kill(process, Signal::SIGCONT).unwrap();
    ended(frozen, 0);
    assert_eq!((fleet.has("bob"), fleet.shared()), (false, Vec::new()));
    assert_eq!(fleet.reconcile(BETA, 0), []);
    fleet.verify();
}

#[test]
fn a_host_that_does_not_hear_from_the_log_only_takes_back() {
    for place in ["leased", "every-host"] {
        let fleet = Fleet::start(place);
        fleet.grant("bob", &[]);
        fleet.grant("carol", &["--start", "2026-11-24T09:30:00Z"]);
        assert_eq!(fleet.reconcile(ALPHA, 0), rows(&[("granted", "bob")]), "{place}");
        let config = std::fs::read_to_string(fleet.config(ALPHA)).unwrap();
        let (_, section) = config.split_once("[[connectors]]").unwrap();
        let cut = format!("[log]\nurl = \"postgresql://alpha@127.0.0.1:1/none\"\n[[connectors]]{section}");
        std::fs::write(fleet.config(ALPHA), cut).unwrap();
        fleet.world.pass("61m");
        let said = fleet.run(ALPHA, &["reconcile", "--fix", "--json"], 1);
        assert!(said.contains(&("offline".to_owned(), String::new())), "{place}: {said:?}");
        assert_eq!((fleet.has("bob"), fleet.has("carol")), (false, false), "{place}");
        assert_eq!(fleet.actions("grant.deprovisioned"), 0, "{place}: it can't be recorded yet");
        fleet.configure(ALPHA, place);
        fleet.reconcile(ALPHA, 0);
        assert_eq!((fleet.has("bob"), fleet.has("carol")), (false, true), "{place}");
        assert_eq!((fleet.actions("grant.provisioned"), fleet.actions("grant.deprovisioned")), (2, 1), "{place}");
        fleet.verify();
    }
}

#[test]
fn a_journal_that_was_restored_or_lost_gives_nothing_until_somebody_says_so() {
    let fleet = Fleet::start("leased");
    let id = fleet.grant("bob", &[]);
    fleet.reconcile(ALPHA, 0);
    let side = "FROM access.side WHERE key = 'journal/orders-pg'";
    let mut database = fleet.hosts().superuser();
    let value: String = database.query_one(&format!("SELECT value::text {side}"), &[]).unwrap().get(0);
    fleet.grant("carol", &[]);
    fleet.reconcile(ALPHA, 0);
    // As a backup has it, which lacks what carol was given.
    let sql = "UPDATE access.side SET value = $1::text::jsonb WHERE key = 'journal/orders-pg'";
    database.execute(sql, &[&value]).unwrap();
    database.execute("SELECT access.raise_epoch()", &[]).unwrap();
    fleet.act(BETA, "alice", &["revoke", &id]);
    for host in [ALPHA, BETA] {
        assert_eq!(fleet.reconcile(host, 1), rows(&[("unreachable", "")]));
    }
    assert!(fleet.has("bob"));
    fleet.run(ALPHA, &["reconcile", "--fix", "--accept-restore", "--json"], 0);
    assert!(!fleet.has("bob") && fleet.has("carol"));
    assert_eq!(fleet.shared(), rows(&[("granted", "carol")]), "this host's own journal knows");
    assert_eq!(fleet.reconcile(BETA, 0), []);

    // Nobody knows anything any more, except the host that ran it last.
    database.execute(&format!("DELETE {side}"), &[]).unwrap();
    std::fs::remove_dir_all(fleet.hosts().home(BETA).join(".local")).unwrap();
    assert_eq!(fleet.reconcile(BETA, 1), rows(&[("unreachable", "")]));
    assert_eq!(fleet.reconcile(ALPHA, 0), []);
    fleet.world.pass("61m");
    assert_eq!(fleet.reconcile(BETA, 0), rows(&[("revoked", "carol")]));
    fleet.verify();
}

#[test]
fn a_host_that_may_not_decide_runs_no_leased_connector() {
    let fleet = Fleet::start("leased");
    fleet.grant("bob", &[]);
    let mut database = fleet.hosts().superuser();
    database.execute("SELECT access.allow('beta', 'ask')", &[]).unwrap();
    let said = fleet.world.run_on(BETA, "root", &["reconcile", "--fix", "--json"]).exits(1).json();
    assert_eq!(said[0]["state"], json!("offline"), "{said}");
    assert!(said[0]["error"].as_str().unwrap().contains("the host beta may not take leases"), "{said}");
    assert!(!fleet.has("bob"));
}

/// The connector of docs/connectors.md, which keeps a file. It fails for those who are in another file.
const DOORS: &str = r#"#!/bin/sh
set -eu
touch "$1"
while read -r line; do
    entry=$(printf %s "$line" | jq -r 'if .login then "\(.login) \(.parameters.role)" else "" end')
    case $(printf %s "$line" | jq -r .operation) in
    list) jq -cRn '{holds: [inputs / " " | {login: .[0], parameters: {role: .[1]}}]}' "$1" ;;
    grant) [ ! -e "$1.broken" ] || { echo "the lock is broken" >&2; exit 1; }
        grep -qxF "$entry" "$1" || echo "$entry" >>"$1" ;;
    revoke) grep -vxF "$entry" "$1" >"$1.new" || [ $? = 1 ] && mv "$1.new" "$1" ;;
    esac
done
"#;

#[test]
fn hosts_with_systems_of_their_own_have_records_of_their_own() {
    let fleet = Fleet::start("every-host");
    let program = fleet.file("doors.sh");
    std::fs::write(&program, DOORS).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let doors = |host: usize| fleet.hosts().home(host).join("doors");
    for host in [ALPHA, BETA] {
        let words = [program.to_str().unwrap().to_owned(), doors(host).to_str().unwrap().to_owned()];
        let section =
            format!("[[connectors]]\nname = \"orders-pg\"\ncommand = {words:?}\nallow = {{ role = [\"*\"] }}\n");
        fleet.hosts().configure(host, &section);
    }
    // Carol had it before on one host, and on the other it can't be given.
    std::fs::write(doors(ALPHA), "carol orders_rw\n").unwrap();
    let broken = doors(BETA).with_extension("broken");
    std::fs::write(&broken, "").unwrap();
    let id = fleet.grant("bob", &[]);
    for _ in 0..3 {
        fleet.reconcile(ALPHA, 1);
        fleet.reconcile(BETA, 1);
    }
    let counts = ["grant.provisioned", "provisioning.failed", "drift.found", "drift.resolved"];
    let recorded = || counts.map(|action| fleet.actions(action));
    assert_eq!(recorded(), [1, 1, 1, 0], "nothing is recorded again and again");
    let shown = || -> Vec<(Value, Value)> {
        let view = fleet.world.run_on(ALPHA, "olivia", &["show", &id, "--json"]).ok().json();
        let rows = view["grant"]["provisioning"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["parameters"]["on-host"].clone(), row["state"].clone())).collect()
    };
    assert_eq!(shown(), [(json!("alpha"), json!("granted")), (json!("beta"), json!("failed"))]);
    std::fs::remove_file(broken).unwrap();
    fleet.reconcile(BETA, 0);
    assert_eq!(recorded(), [2, 1, 1, 0]);
    fleet.world.pass("61m");
    fleet.reconcile(BETA, 0);
    assert_eq!(
        (std::fs::read_to_string(doors(BETA)).unwrap(), fleet.actions("grant.deprovisioned")),
        (String::new(), 1)
    );
    assert_eq!(std::fs::read_to_string(doors(ALPHA)).unwrap(), "carol orders_rw\nbob orders_rw\n");
    fleet.reconcile(ALPHA, 1);
    assert_eq!(std::fs::read_to_string(doors(ALPHA)).unwrap(), "carol orders_rw\n");
    // A host that does not have the connector says nothing about it.
    fleet.hosts().configure(BETA, "");
    fleet.grant("bob", &[]);
    assert_eq!(fleet.reconcile(BETA, 0), []);
    assert_eq!((fleet.actions("grant.deprovisioned"), recorded()), (2, [2, 1, 1, 0]));
    fleet.verify();
}
