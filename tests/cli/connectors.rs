//! Connectors, through the real binary, with programs in shell. The first of them is the one in docs/connectors.md.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World, shows};

pub const NORTH: &str = "\n[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"doors\"\ndoor = \"north\"\n";
const ALSO_NORTH: &str = "\n[[bindings]]\nresource = \"target:billing-db\"\nconnector = \"doors\"\ndoor = \"north\"\n";

/// Nobody has to decide.
const OPEN: &str = "[[rules]]\nname = \"open\"\nmatch = { resources = [\"target:*\"] }\nauto_approve = true\n";

/// How often a reconciler is killed, unless `ACCESS_TEST_KILLS` says otherwise.
const KILLS: u64 = 12;

/// A world whose team has bindings, and a machine with the connector `doors`.
pub struct Doors {
    pub world: World,
}

impl Doors {
    pub fn new(bindings: &str) -> Doors {
        let doors = Doors { world: World::sample() };
        doors.program("doors", &documented());
        // Notes each operation before it is carried out.
        let logged = format!("#!/bin/sh\ntee -a {}.log | {} \"$1\"\n", doors.file("doors"), doors.file("doors"));
        doors.program("logged", &logged);
        doors.configure(&doors.connector("doors", &["logged", "allowed"]));
        doors.world.apply("olivia", &format!("{TEAM}{bindings}")).ok();
        doors
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A section of the configuration. `words`: files in the world's folder.
    fn connector(&self, name: &str, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| self.file(word)).collect();
        format!(
            "[[connectors]]\nname = {name:?}\ncommand = {words:?}\ntimeout = \"20s\"\nallow = {{ door = [\"*\"] }}\n\n"
        )
    }

    fn configure(&self, text: &str) {
        let folder = self.path(".config/access");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.toml"), text).unwrap();
    }

    /// The lines of the file of a connector, sorted.
    fn held(&self, file: &str) -> Vec<String> {
        let mut lines: Vec<String> =
            fs::read_to_string(self.path(file)).unwrap_or_default().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Waits for what runs in the background.
    #[track_caller]
    fn becomes(&self, file: &str, expected: &[&str]) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.held(file) != expected && Instant::now() < until {
            sleep(Duration::from_millis(20));
        }
        assert_eq!(self.held(file), expected);
    }

    /// Waits for the run that the change of the team started: it has read the configuration, and what was due then.
    fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.held("doors.log").is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(20));
        }
    }

    fn fix(&self) -> Ran {
        self.world.run("root", &["reconcile", "--fix"])
    }

    /// The rows of `reconcile`, and its exit code.
    fn rows(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let ran = self.world.run("root", &[&["reconcile", "--json"], args].concat());
        (ran.code, ran.json().as_array().unwrap().clone())
    }

    /// The operations that the connector got, without lists: `grant bob north`.
    fn acts(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("doors.log")).unwrap_or_default();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let acts = lines.filter(|line| line["operation"] != "list");
        acts.map(|line| {
            format!("{} {} {}", word(&line, "operation"), word(&line, "login"), word(&line["parameters"], "door"))
        })
        .collect()
    }

    /// What the log records of provisioning: `provisioned bob`.
    fn recorded(&self) -> Vec<(String, Value)> {
        let log = self.world.json("olivia", &["audit"]);
        let entries = log.as_array().unwrap().iter().rev();
        let concerns =
            |action: &str| ["provision", "drift"].iter().any(|word| action.contains(word)) && action != "team.applied";
        entries
            .filter(|entry| concerns(entry["action"].as_str().unwrap()))
            .map(|entry| (entry["action"].as_str().unwrap().to_owned(), entry["detail"].clone()))
            .collect()
    }

    fn actions(&self) -> Vec<String> {
        self.recorded().into_iter().map(|(action, _)| action).collect()
    }

    fn provisioning(&self, id: &str) -> Value {
        self.world.json("olivia", &["show", id])["grant"]["provisioning"].clone()
    }

    fn expire(&self) -> Ran {
        self.world.run("root", &["expire", "--no-deliver"])
    }

    fn verify(&self) {
        self.world.run("olivia", &["audit", "verify"]).ok();
    }
}

/// The connector of the document.
fn documented() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connectors.md")).unwrap();
    let (_, rest) = page.split_once("```sh\n#!/bin/sh\n").unwrap();
    format!("#!/bin/sh\n{}", rest.split_once("```").unwrap().0)
}

#[test]
fn a_command_starts_once_the_connector_has_given_the_access() {
    let doors = Doors { world: World::sample() };
    doors.program("doors", &documented());
    // It takes its time.
    doors.program("slow", &format!("#!/bin/sh\nsleep 1\nexec {} \"$1\"\n", doors.file("doors")));
    doors.configure(&doors.connector("doors", &["slow", "allowed"]));
    doors.world.apply("olivia", &format!("{TEAM}{NORTH}{OPEN}")).ok();
    let command = ["--", "cat", &doors.file("allowed")];
    let line = ["run", "orders-db", "-r", "x", "--give-back"];
    let ran = doors.world.run("bob", &[&line[..], &command].concat()).ok();
    assert_eq!(ran.out, "bob north\n");
    assert!(ran.err.contains("Waiting for the connector doors to give the access"), "{}", ran.err);
    // What was given back is taken back at once.
    doors.becomes("allowed", &[]);
    let waited = doors.world.run("bob", &["request", "orders-db", "-r", "x", "--wait"]).ok();
    assert_eq!(doors.held("allowed"), ["bob north"], "{}", waited.err);
    let again = doors.world.run("bob", &[&["run", "orders-db"][..], &command].concat()).ok();
    assert_eq!((again.out.as_str(), again.err.as_str()), ("bob north\n", ""));
}

#[test]
fn what_waits_for_a_connector_keeps_its_timeout_and_starts_nothing_without_access() {
    let doors = Doors { world: World::sample() };
    doors.program("doors", &documented());
    let (begun, go) = (doors.file("begun"), doors.path("go"));
    let waits = format!("touch {begun}\nwhile test ! -e {}; do sleep 0.1; done", go.display());
    doors.program("slow", &format!("#!/bin/sh\n{waits}\nexec {} \"$1\"\n", doors.file("doors")));
    doors.configure(&doors.connector("doors", &["slow", "allowed"]));
    doors.world.apply("olivia", &format!("{TEAM}{NORTH}{OPEN}")).ok();
    let since = Instant::now();
    let line = ["request", "orders-db", "-r", "x", "--wait", "--timeout", "1s"];
    let waited = doors.world.run("bob", &line).ok();
    assert!(waited.err.contains("the connector doors has not given the access yet"), "{}", waited.err);
    assert!(since.elapsed() < Duration::from_secs(20), "not the 30 seconds of connectors");

    let mut command = doors.world.command("bob", &["run", "orders-db", "--", "touch", &doors.file("started")]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(running.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
    assert!(said.contains("Waiting for the connector doors"), "{said}");
    doors.world.run("alice", &["revoke", "1"]).ok();
    std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("you have no access to target:orders-db; the command was not run"), "{said}");
    assert!(!doors.path("started").exists());
    fs::write(go, "").unwrap();
}

#[test]
fn a_command_starts_with_a_warning_if_the_connector_fails() {
    // No run of a connector that works has begun.
    let doors = Doors { world: World::sample() };
    doors.program("broken", "#!/bin/sh\necho 'the hinge is broken' >&2\nexit 1\n");
    doors.configure(&doors.connector("doors", &["broken"]));
    doors.world.apply("olivia", &format!("{TEAM}{NORTH}{OPEN}")).ok();
    let ran = doors.world.run("bob", &["run", "orders-db", "-r", "x", "--", "echo", "ran"]).ok();
    assert_eq!(ran.out, "ran\n");
    assert!(
        ran.err.contains("warning: the connector doors could not give the access: the hinge is broken"),
        "{}",
        ran.err
    );
}

#[test]
fn the_documented_connector_passes_the_test_and_has_ten_lines() {
    let doors = Doors::new(NORTH);
    assert!(documented().lines().count() <= 13, "a comment, the frame of the shell, and ten lines");
    let ran = doors.world.run("root", &["connector", "test", "doors", "--login", "probe", "door=north"]).ok();
    assert_eq!(ran.out.matches(" ok").count(), 10, "{}", ran.out);
    assert_eq!(doors.held("allowed"), [""; 0]);
    assert_eq!(doors.acts(), ["grant probe north", "grant probe north", "revoke probe north", "revoke probe north"]);
    doors.world.run("root", &["connector", "test", "doors", "wall=north"]).fails(3, "allows no parameter wall");
    doors.world.run("root", &["connector", "test", "windows"]).fails(4, "there is no connector windows");
}

#[test]
fn a_connector_that_is_not_idempotent_fails_the_test() {
    let doors = Doors::new(NORTH);
    doors.program(
        "careless",
        "#!/bin/sh\nset -e\nwhile read -r line; do case $line in
         *'\"list\"'*) jq -cRn '{holds: [inputs / \" \" | {login: .[0], parameters: {door: .[1]}}]}' \"$1\" ;;
         *'\"grant\"'*) test ! -s \"$1\" || { echo 'already there' >&2; exit 1; }; echo 'probe north' >\"$1\" ;;
         *) echo '{\"done\":{}}' ;; esac; done\n",
    );
    fs::write(doors.path("careless.txt"), "").unwrap();
    doors.configure(&doors.connector("careless", &["careless", "careless.txt"]));
    let ran = doors.world.run("root", &["connector", "test", "careless", "--login", "probe", "door=north", "--json"]);
    let steps = ran.exits(1).json();
    let wrong: Vec<&str> = steps
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["ok"] == json!(false))
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(wrong, ["grant again", "list after revoke", "list after revoke again"]);
    // The next run takes back what the test left behind.
    fs::write(doors.path("careless.txt"), "probe north\n").unwrap();
    doors.program("careless", &documented());
    doors.fix().exits(1).says("no connector doors is configured");
    assert_eq!(doors.held("careless.txt"), [""; 0]);
}

#[test]
fn approval_really_gives_and_the_end_really_takes_back() {
    let doors = Doors::new(NORTH);
    let id = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    shows(&doors.provisioning(&id), &json!([{ "connector": "doors", "state": "granted", "error": null }]));
    assert_eq!(doors.rows(&[]), (0, vec![]), "nothing differs");

    doors.world.pass("61m");
    let (code, rows) = doors.rows(&[]);
    assert_eq!((code, rows.len()), (1, 1));
    shows(
        &rows[0],
        &json!({ "connector": "doors", "state": "stale", "login": "bob", "parameters": { "door": "north" } }),
    );
    assert_eq!(doors.held("allowed"), ["bob north"], "it only compared");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
    shows(&doors.provisioning(&id), &json!([{ "connector": "doors", "state": "revoked" }]));
    assert_eq!(doors.actions(), ["grant.provisioned", "grant.deprovisioned"]);
    assert_eq!(doors.acts(), ["grant bob north", "revoke bob north"]);
    doors.verify();
}

#[test]
fn a_revoke_takes_back_at_once() {
    let doors = Doors::new(NORTH);
    let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.world.run("alice", &["revoke", &id]).ok();
    doors.becomes("allowed", &[]);
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.world.run("alice", &["revoke", "--member", "bob"]).ok();
    doors.becomes("allowed", &[]);
    doors.fix().ok();
    doors.verify();
}

#[test]
fn two_grants_of_one_thing_last_until_both_have_ended() {
    let doors = Doors::new(&[NORTH, ALSO_NORTH].concat());
    let first = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let second = doors.world.grant("bob", "target:billing-db", "alice", &["--duration", "2h"]);
    doors.fix().ok();
    assert_eq!(doors.held("allowed"), ["bob north"]);
    doors.world.pass("61m");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), ["bob north"], "the other grant still gives it");
    let gone = doors.recorded().into_iter().find(|(action, _)| action == "grant.deprovisioned").unwrap();
    assert_eq!(gone.1["still_held"], json!(true), "{gone:?}");
    shows(&doors.provisioning(&first), &json!([{ "state": "revoked" }]));
    shows(&doors.provisioning(&second), &json!([{ "state": "granted" }]));
    doors.world.pass("61m");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
    let revokes = doors.acts().iter().filter(|act| act.starts_with("revoke")).count();
    assert_eq!(revokes, 1);
    doors.verify();
}

#[test]
fn an_extension_leaves_no_gap() {
    let doors = Doors::new(NORTH);
    let id = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.world.pass("50m");
    let more = doors.world.json("bob", &["extend", &id, "--duration", "1h", "--reason", "more"])["id"].to_string();
    doors.world.run("alice", &["approve", &more]).ok();
    doors.fix().ok();
    for _ in 0..12 {
        doors.world.pass("5m");
        doors.expire().ok();
        assert_eq!(doors.held("allowed"), ["bob north"], "{}", doors.world.now());
    }
    // The system is told the new end, and nothing is taken away in between.
    let acts = doors.acts();
    assert!(acts.len() >= 2 && acts.iter().all(|act| act == "grant bob north"), "{acts:?}");
    let log = fs::read_to_string(doors.path("doors.log")).unwrap();
    assert!(log.contains("2026-11-24T10:00:00Z") && log.contains("2026-11-24T11:00:00Z"), "{log}");
    doors.world.pass("30m");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
}

#[test]
fn what_was_there_before_is_never_taken_away() {
    let doors = Doors::new(NORTH);
    fs::write(doors.path("allowed"), "bob north\nzoe north\nzoe cellar\n").unwrap();
    let id = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.fix();
    shows(&doors.provisioning(&id), &json!([{ "state": "granted" }]));
    doors.world.pass("61m");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), ["bob north", "zoe cellar", "zoe north"]);
    assert_eq!(doors.acts(), [""; 0], "nothing was given, so nothing is taken");
    let gone = doors.recorded().into_iter().find(|(action, _)| action == "grant.deprovisioned").unwrap();
    assert_eq!(gone.1["still_held"], json!(true), "{gone:?}");

    // It is reported at each run, and recorded once.
    let found = || doors.actions().iter().filter(|action| *action == "drift.found").count();
    let before = found();
    let (code, rows) = doors.rows(&["--fix"]);
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!((code, states), (1, vec!["unexplained", "unexplained"]), "{rows:?}");
    assert!(before >= 2 && found() == before, "{:?}", doors.recorded());
    doors.verify();
}

/// Lists nothing while the file `hidden` is there, dies once it has given something while `dies` is, and says what was there.
const HIDES: &str = r#"#!/bin/sh
set -eu
here=$(dirname "$1")
while read -r line; do
    entry=$(printf %s "$line" | jq -r 'if .login then "\(.login) \(.parameters.door)" else "" end')
    case $(printf %s "$line" | jq -r .operation) in
    list) [ ! -e "$here/dies" ] || exit 1; [ -e "$here/hidden" ] && echo '{"holds":[]}' ||
        jq -cRn '{holds: [inputs / " " | {login: .[0], parameters: {door: .[1]}}]}' "$1" ;;
    grant) if grep -qxF "$entry" "$1"; then echo '{"done":{"was_there":true}}'; else
        echo "$entry" >>"$1"; [ ! -e "$here/dying" ] || { mv "$here/dying" "$here/dies"; kill -9 $$; }; echo '{"done":{}}'; fi ;;
    revoke) grep -vxF "$entry" "$1" >"$1.new" || [ $? = 1 ] && mv "$1.new" "$1"; echo '{"done":{}}' ;;
    esac
done
"#;

#[test]
fn what_a_list_hid_was_there_before_and_what_a_killed_run_gave_was_not() {
    let doors = Doors::new(NORTH);
    doors.program("hides", HIDES);
    let config = doors.connector("doors", &["hides", "allowed"]);
    fs::write(doors.path("allowed"), "bob north\n").unwrap();
    // Without the configuration, so that nothing runs in the background.
    let grant = |login: &str| {
        doors.configure("");
        doors.world.grant(login, "target:orders-db", "alice", &["--duration", "1h"]);
        doors.configure(&config);
    };
    grant("bob");
    fs::write(doors.path("hidden"), "").unwrap();
    doors.fix().exits(1).says("does not list it");
    fs::remove_file(doors.path("hidden")).unwrap();
    doors.fix().ok();

    grant("carol");
    fs::write(doors.path("dying"), "").unwrap();
    doors.fix().exits(1);
    fs::remove_file(doors.path("dies")).unwrap();
    assert_eq!(doors.held("allowed"), ["bob north", "carol north"]);
    doors.fix().ok();

    doors.world.pass("61m");
    doors.expire();
    assert_eq!(doors.held("allowed"), ["bob north"]);
    doors.verify();
}

/// What a test can't give can be somebody else's, such as bob's in a directory that takes BOB for bob.
#[test]
fn a_test_takes_back_only_what_it_gave() {
    let doors = Doors::new(NORTH);
    let text = "#!/bin/sh\nwhile read -r line; do echo \"$line\" >>\"$1\"; case $line in
         *'\"list\"'*) echo '{\"holds\":[]}' ;; *'\"grant\"'*) echo 'ANSWER' ;; *) echo '{\"done\":{}}' ;; esac; done\n";
    doors.configure(&doors.connector("doors", &["refuses", "seen"]));
    for answer in [r#"{"failed":"there is no login BOB, but bob"}"#, r#"{"done":{"was_there":true}}"#] {
        doors.program("refuses", &text.replace("ANSWER", answer));
        doors.world.run("root", &["connector", "test", "doors", "--login", "BOB", "door=north"]).exits(1);
        doors.fix();
        let seen = fs::read_to_string(doors.path("seen")).unwrap();
        assert!(seen.contains("grant") && !seen.contains("revoke"), "{seen}");
    }
}

#[test]
fn what_a_revoke_does_not_reach_is_said() {
    let doors = Doors::new(NORTH);
    let note = "2 processes keep the group";
    let text = format!(
        "#!/bin/sh\nwhile read -r line; do printf '%s\\n' \"$line\" | {} \"$1\"; case $line in
         *'\"revoke\"'*) echo '{{\"done\":{{\"note\":\"{note}\"}}}}' ;; *'\"grant\"'*) echo '{{\"done\":{{}}}}' ;; esac; done\n",
        doors.file("doors")
    );
    doors.program("logged", &text);
    let config = doors.connector("doors", &["logged", "allowed"]);
    let revoked = || {
        doors.configure(&config);
        let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
        doors.becomes("allowed", &["bob north"]);
        doors.fix().ok();
        // Without the configuration, so that nothing runs in the background.
        doors.configure("");
        doors.world.run("alice", &["revoke", &id]).ok();
        doors.configure(&config);
    };
    revoked();
    let (code, rows) = doors.rows(&["--fix"]);
    assert_eq!(code, 0);
    shows(&rows[0], &json!({ "state": "revoked", "login": "bob", "error": null, "note": note }));
    revoked();
    doors.fix().ok().says(note);
    let recorded = doors.recorded();
    let gone: Vec<&Value> = recorded
        .iter()
        .filter(|(action, _)| action == "grant.deprovisioned")
        .map(|(_, detail)| &detail["note"])
        .collect();
    assert_eq!(gone, [note, note]);
    doors.world.run("olivia", &["audit"]).ok().says(note);
    doors.verify();
}

/// Some shells take a backslash in what `echo` prints for more than a backslash.
#[test]
fn the_documented_connector_takes_each_login_as_it_is() {
    let doors = Doors::new(NORTH);
    doors.configure(&doors.connector("doors", &["doors", "allowed"]));
    for login in ["CORP\\nancy", "x\\nalice", "a\\c"] {
        let login = format!("--login={login}");
        doors.world.run("root", &["connector", "test", "doors", &login, "door=north"]).ok();
        assert_eq!(fs::read_to_string(doors.path("allowed")).unwrap(), "");
    }
}

#[test]
fn a_connector_that_says_of_what_it_gives_that_it_was_there_fails_the_test() {
    let doors = Doors::new(NORTH);
    doors.program("hides", &HIDES.replace(r#"'{"done":{}}'; fi"#, r#"'{"done":{"was_there":true}}'; fi"#));
    fs::write(doors.path("allowed"), "").unwrap();
    doors.configure(&doors.connector("doors", &["hides", "allowed"]));
    let ran = doors.world.run("root", &["connector", "test", "doors", "--login", "probe", "door=north"]).exits(1);
    assert!(ran.out.contains("was there before, and did not list it"), "{}", ran.out);
}

#[test]
fn what_somebody_removed_is_reported_and_given_again() {
    let doors = Doors::new(NORTH);
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    fs::write(doors.path("allowed"), "").unwrap();
    let (code, rows) = doors.rows(&[]);
    assert_eq!(code, 1);
    shows(&rows[0], &json!({ "state": "missing", "login": "bob" }));
    doors.fix().ok();
    assert_eq!(doors.held("allowed"), ["bob north"]);
    assert!(doors.actions().contains(&"drift.found".to_owned()), "{:?}", doors.recorded());
    assert_eq!(doors.rows(&[]), (0, vec![]));
    doors.fix().ok();
    doors.verify();
}

/// Puts a copy in place of the database.
fn restore(world: &World, copy: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", world.db().display()));
    }
    fs::copy(copy, world.db()).unwrap();
}

#[test]
fn a_restored_database_gives_and_takes_nothing_until_it_is_accepted() {
    let doors = Doors::new(NORTH);
    let bob = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "3h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    let copy = doors.path("copy.db");
    doors.world.run("root", &["backup", copy.to_str().unwrap()]).ok();
    doors.world.run("alice", &["revoke", &bob]).ok();
    doors.becomes("allowed", &[]);
    doors.world.grant("carol", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["carol north"]);
    doors.fix().ok();
    restore(&doors.world, &copy);

    // The log says now that bob has it, and knows nothing of carol.
    let examined = doors.world.run("root", &["doctor"]).exits(1).out;
    assert!(examined.contains("WRONG    connectors  the log does not go on from"), "{examined}");
    assert!(examined.contains("→ then run `access reconcile --accept-restore`"), "{examined}");
    doors.fix().fails(3, "the log does not go on from what the reconciler saw last");
    assert!(doors.expire().code != 0);
    doors.world.grant("dave", "target:orders-db", "alice", &[]);
    sleep(Duration::from_millis(500));
    doors.fix().fails(3, "restored from a backup");
    assert_eq!(doors.held("allowed"), ["carol north"]);
    let (code, rows) = doors.rows(&[]);
    let found: Vec<String> = rows.iter().map(|row| format!("{} {}", row["state"], row["login"])).collect();
    let expected = ["\"missing\" \"bob\"", "\"stale\" \"carol\"", "\"missing\" \"dave\""];
    assert_eq!((code, found.iter().map(String::as_str).collect::<Vec<_>>()), (1, expected.to_vec()));

    doors.world.run("root", &["reconcile", "--accept-restore"]).exits(1);
    assert_eq!(doors.held("allowed"), ["carol north"], "it only compares");
    doors.fix().ok();
    doors.world.run("root", &["doctor"]).ok().says("connectors  doors");
    assert_eq!(doors.held("allowed"), ["bob north", "dave north"]);
    doors.verify();
}

#[test]
fn a_binding_that_is_dropped_takes_back_what_it_gave() {
    let doors = Doors::new(NORTH);
    let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    doors.world.apply("olivia", TEAM).ok();
    doors.becomes("allowed", &[]);
    doors.fix().ok();
    assert!(doors.world.may("bob", "target:orders-db"), "the grant itself goes on");
    assert_eq!(doors.actions(), ["grant.provisioned", "grant.deprovisioned"], "{:?}", doors.provisioning(&id));
    doors.verify();
}

#[test]
fn a_member_whose_login_changes_keeps_nothing_under_the_old_one() {
    let doors = Doors::new(NORTH);
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    let renamed = TEAM.replace("[members.bob]\n", "[members.bob]\nlogin = \"robert\"\n");
    assert_ne!(renamed, TEAM);
    doors.world.apply("olivia", &[&renamed, NORTH].concat()).ok();
    doors.fix().ok();
    let may = doors.world.may("robert", "target:orders-db");
    let expected: &[&str] = if may { &["robert north"] } else { &[] };
    assert_eq!(doors.held("allowed"), expected);
    doors.verify();
}

#[test]
fn one_system_that_fails_holds_up_no_other() {
    let team = format!("{NORTH}{}", NORTH.replace("doors", "broken"));
    let doors = Doors::new(&team);
    doors.program("broken", "#!/bin/sh\necho 'the door is bricked up' >&2; exit 1\n");
    doors.configure(&format!(
        "{}{}",
        doors.connector("doors", &["logged", "allowed"]),
        doors.connector("broken", &["broken"])
    ));
    let id = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().exits(1).says("the door is bricked up");
    let provisioning = doors.provisioning(&id);
    let state = |connector: &str| {
        let mut all = provisioning.as_array().unwrap().iter();
        all.find(|one| one["connector"] == connector).unwrap()["state"].clone()
    };
    assert_eq!((state("doors"), state("broken")), (json!("granted"), json!("failed")));
    assert!(doors.world.unread("bob").contains(&"provisioning.failed".to_owned()));
    doors.world.pass("61m");
    doors.expire();
    assert_eq!(doors.held("allowed"), [""; 0]);
    doors.verify();
}

#[test]
fn a_revoke_that_fails_is_reported_until_it_works() {
    let doors = Doors::new(NORTH);
    doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    doors.program("logged", "#!/bin/sh\necho 'the server does not answer' >&2; exit 75\n");
    doors.world.pass("61m");
    for _ in 0..3 {
        let ran = doors.expire().exits(1);
        assert!(ran.err.contains("the server does not answer") && ran.err.contains("bob"), "{}", ran.err);
        doors.world.pass("10m");
    }
    let list = doors.world.run("alice", &["list"]).ok().out;
    assert!(list.lines().nth(1).unwrap().contains("bob"), "{list}");
    let failed = doors.actions().iter().filter(|action| *action == "provisioning.failed").count();
    assert_eq!(failed, 1, "it is recorded once a day: {:?}", doors.recorded());
    assert!(doors.world.unread("alice").contains(&"revoke.failed".to_owned()));
    doors.program("logged", &format!("#!/bin/sh\nexec {} \"$1\"\n", doors.file("doors")));
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
    doors.verify();
}

#[test]
fn what_is_not_listed_when_its_grant_ends_is_taken_back_once_it_is() {
    let doors = Doors::new(NORTH);
    let id = doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    // The door is hidden for a moment.
    doors.program(
        "logged",
        "#!/bin/sh\nwhile read -r line; do case $line in
         *'\"list\"'*) echo '{\"holds\":[]}' ;; *) echo '{\"failed\":\"there is no such door\"}' ;; esac; done\n",
    );
    doors.world.pass("61m");
    for _ in 0..3 {
        doors.world.run("root", &["expire", "--no-deliver"]);
        let states = doors.provisioning(&id);
        assert_ne!(states[0]["state"], "revoked", "nobody took it back: {:?}", doors.recorded());
        doors.world.pass("1m");
    }
    assert!(doors.world.unread("alice").contains(&"revoke.failed".to_owned()));
    doors.program("logged", &format!("#!/bin/sh\nexec {} \"$1\"\n", doors.file("doors")));
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
    shows(&doors.provisioning(&id), &json!([{ "state": "revoked" }]));
    doors.verify();
}

#[test]
fn what_a_system_gives_after_it_said_later_is_taken_back() {
    let doors = Doors::new(NORTH);
    // It carries out at the next start what it was asked before.
    let late = doors.file("late");
    let text = format!(
        "#!/bin/sh\ncat {late} >>\"$1\" 2>/dev/null; rm -f {late}\nwhile read -r line; do case $line in
         *'\"grant\"'*) if grep -qx 'bob north' \"$1\"; then echo '{{\"done\":{{}}}}'
             else echo 'bob north' >{late}; echo '{{\"later\":\"504 Gateway Timeout\"}}'; fi ;;
         *) printf '%s\\n' \"$line\" | {} \"$1\" ;; esac; done\n",
        doors.file("doors")
    );
    doors.program("logged", &text);
    doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let ran: Vec<Ran> = (0..3).map(|_| doors.fix()).collect();
    assert_eq!((doors.held("allowed"), ran[2].code), (vec!["bob north".to_owned()], 0), "{ran:?}");
    doors.world.pass("61m");
    doors.expire().ok();
    assert_eq!(doors.held("allowed"), [""; 0]);
    doors.verify();
}

#[test]
fn a_binding_that_the_system_does_not_know_holds_up_no_other_and_leaves_nothing_behind() {
    let doors = Doors::new(&[&NORTH.replace("north", "vault"), ALSO_NORTH].concat());
    let dave = doors.world.grant("dave", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["dave vault"]);
    doors.fix().ok();
    // The vault is gone, and a list that asks about it gets no answer about the rest.
    let text = format!(
        "#!/bin/sh\nwhile read -r line; do case $line in *vault*) echo '{{\"failed\":\"there is no door vault\"}}' ;;
         *) printf '%s\\n' \"$line\" | {} \"$1\" ;; esac; done\n",
        doors.file("doors")
    );
    doors.program("logged", &text);
    let bob = doors.world.grant("bob", "target:billing-db", "alice", &["--duration", "1h"]);
    let carol = doors.world.grant("carol", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north", "dave vault"]);
    doors.fix().exits(1).says("there is no door vault");
    shows(&doors.provisioning(&bob), &json!([{ "state": "granted" }]));
    shows(&doors.provisioning(&carol), &json!([{ "state": "failed" }]));
    // Nobody knows that it is gone.
    shows(&doors.provisioning(&dave), &json!([{ "state": "granted" }]));
    doors.world.pass("61m");
    let ran = doors.expire();
    assert!(ran.err.contains("there is no door vault"), "{ran:?}");
    assert_eq!(doors.held("allowed"), ["dave vault"]);

    // Without the binding, only what was given there is left.
    doors.world.apply("olivia", &format!("{TEAM}{ALSO_NORTH}")).ok();
    doors.fix();
    let ran = doors.expire().exits(1);
    assert!(ran.err.contains("dave STILL HAS door=vault") && !ran.err.contains("carol"), "{ran:?}");
    doors.program("logged", &format!("#!/bin/sh\nexec {} \"$1\"\n", doors.file("doors")));
    doors.fix().ok();
    doors.expire().ok();
    assert_eq!((doors.held("allowed"), doors.rows(&[])), (vec![], (0, vec![])));
    doors.verify();
}

/// A program of which lists that contain this text say later. All else works.
fn lists_fail(doors: &Doors, text: &str) -> String {
    format!(
        "#!/bin/sh\ntee -a {}.log | while read -r line; do case $line in *'\"list\"'*{text}*) echo '{{\"later\":\"it is being counted\"}}' ;;
         *) printf '%s\\n' \"$line\" | {} \"$1\" ;; esac; done\n",
        doors.file("doors"),
        doors.file("doors")
    )
}

#[test]
fn what_can_not_be_listed_is_taken_back_and_holds_up_no_other() {
    let doors = Doors::new(&[&NORTH.replace("north", "vault"), ALSO_NORTH].concat());
    let working = fs::read_to_string(doors.path("logged")).unwrap();
    // One set of parameters, then both.
    for text in ["vault", ""] {
        doors.world.grant("dave", "target:orders-db", "alice", &["--duration", "1h"]);
        doors.world.grant("bob", "target:billing-db", "alice", &["--duration", "1h"]);
        doors.becomes("allowed", &["bob north", "dave vault"]);
        doors.fix().ok();
        doors.program("logged", &lists_fail(&doors, text));
        doors.world.pass("61m");
        let ran = doors.expire().exits(1);
        assert_eq!(doors.held("allowed"), [""; 0]);
        // Nobody has seen it.
        let says = "dave STILL HAS door=vault in doors";
        assert!(ran.err.contains(says) && ran.err.contains("could not be seen: it is being counted"), "{ran:?}");
        assert_eq!(ran.err.contains("bob STILL HAS"), text.is_empty(), "{ran:?}");
        doors.program("logged", &working);
        doors.expire().ok();
        assert_eq!(doors.rows(&[]), (0, vec![]));
    }
    doors.verify();
}

#[test]
fn bindings_that_the_machine_does_not_allow_give_nothing() {
    let team = format!("{}{}", NORTH.replace("north", "vault"), ALSO_NORTH.replace("doors", "windows"));
    let doors = Doors::new(&team);
    doors.settle();
    let config = doors.connector("doors", &["logged", "allowed"]).replace("[\"*\"]", "[\"north\", \"lab-*\"]");
    doors.configure(&config);
    let vault = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    let window = doors.world.grant("bob", "target:billing-db", "alice", &[]);
    let ran = doors.fix().exits(1);
    assert!(ran.out.contains("the connector doors does not allow door=vault"), "{}", ran.out);
    assert!(ran.out.contains("no connector windows is configured"), "{}", ran.out);
    assert_eq!((doors.held("allowed"), doors.acts()), (vec![], vec![]));
    for id in [vault, window] {
        shows(&doors.provisioning(&id), &json!([{ "state": "failed" }]));
    }
    let found = doors.world.run("root", &["doctor"]).exits(1).out;
    assert!(found.contains("does not allow door=vault") && found.contains("no connector windows"), "{found}");
    let list = doors.world.run("root", &["connector", "list"]).ok().out;
    assert!(list.contains("does not allow door=vault") && list.contains("windows"), "{list}");

    // What was given before the machine forbade it is taken back.
    doors.configure(&doors.connector("doors", &["logged", "allowed"]));
    doors.fix();
    assert_eq!(doors.held("allowed"), ["bob vault"]);
    doors.configure(&config);
    doors.fix();
    assert_eq!(doors.held("allowed"), [""; 0]);
    doors.verify();
}

/// Programs that misbehave, and what is said of them.
const FAULTS: [(&str, &str, &str); 8] = [
    ("hangs", "trap '' TERM\nsleep 1000 & wait\nsleep 1000", "it did not end within 1s"),
    ("prints a gigabyte", "exec head -c 1073741824 /dev/zero", "more than 1048576 bytes"),
    ("prints garbage", "echo boom >&2; echo rubbish", "a line that is no answer (not JSON): rubbish; it said: boom"),
    ("says nothing", "exit 0", "it did not answer"),
    (
        "does nothing",
        "while read -r line; do case $line in *list*) echo '{\"holds\":[]}' ;; esac; done",
        "does not list it",
    ),
    ("says later", "echo 'come back later' >&2; exit 75", "come back later"),
    ("kills itself", "kill -9 $$", "signal 9 ended it"),
    (
        "fails half-way",
        "while read -r line; do case $line in *list*) echo '{\"holds\":[]}' ;; *) echo 'out of keys' >&2; exit 1 ;; esac; done",
        "out of keys",
    ),
];

#[test]
fn a_program_that_misbehaves_is_contained() {
    let doors = Doors::new(NORTH);
    let mark = doors.file("mark");
    for (name, text, says) in FAULTS {
        // What it leaves behind, also outside its process group, would write this file.
        let left = format!(
            "(sleep 8; echo {name} >>{mark}) >/dev/null 2>&1 &\nsetsid sh -c 'sleep 8; echo {name} >>{mark}' &\n"
        );
        doors.program("faulty", &format!("#!/bin/sh\n{left}{text}\n"));
        doors.configure(&doors.connector("doors", &["faulty"]).replace("20s", "1s"));
        if name == "hangs" {
            doors.world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
        }
        let begun = Instant::now();
        let ran = doors.fix().exits(1);
        assert!(ran.out.contains(says), "{name}: {}", ran.out);
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}: {:?}", begun.elapsed());
    }
    sleep(Duration::from_secs(9));
    assert_eq!(fs::read_to_string(&mark).unwrap_or_default(), "", "nothing was left running");
    doors.configure(&doors.connector("doors", &["logged", "allowed"]));
    doors.fix().ok();
    assert_eq!(doors.held("allowed"), ["bob north"]);
    doors.verify();
}

#[test]
fn a_program_gets_a_clean_environment() {
    let doors = Doors::new(NORTH);
    let seen = doors.file("seen");
    let text =
        format!("#!/bin/sh\n(tr '\\0' '\\n' </proc/$$/environ | sort; pwd; cat) >{seen}; echo '{{\"holds\":[]}}'\n");
    doors.program("curious", &text);
    doors.configure(&doors.connector("doors", &["curious"]));
    doors.world.run("root", &["reconcile"]).ok();
    let seen = fs::read_to_string(&seen).unwrap();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let list = r#"{"operation":"list","parameters":[{"door":"north"}]}"#;
    assert_eq!(seen.lines().collect::<Vec<_>>(), ["ACCESS_TIMEOUT=20", "HOME=/", "LANG=C.UTF-8", path, "/", list]);
}

#[test]
fn the_program_of_a_run_that_was_killed_is_ended_first() {
    let doors = Doors::new(NORTH);
    let began = doors.file("began");
    doors.program("stuck", &format!("#!/bin/sh\necho $$ >{began}\nsleep 1000 & wait; sleep 1000\n"));
    doors.configure(&doors.connector("doors", &["stuck"]));
    let mut run = doors.world.command("root", &["reconcile", "--fix"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = || fs::read_to_string(&began).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let until = Instant::now() + Duration::from_secs(20);
    while pid().is_none() && Instant::now() < until {
        sleep(Duration::from_millis(10));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let stuck = PathBuf::from(format!("/proc/{}/exe", pid().unwrap()));
    assert!(fs::read_link(&stuck).is_ok(), "it outlives the reconciler");
    doors.configure(&doors.connector("doors", &["logged", "allowed"]));
    doors.fix().ok();
    assert!(fs::read_link(&stuck).is_err(), "it was ended");
}

#[test]
fn what_others_can_change_is_not_run() {
    let doors = Doors::new(NORTH);
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    let mode = |path: &str, mode| fs::set_permissions(doors.path(path), fs::Permissions::from_mode(mode)).unwrap();
    let refused = |says: &str| {
        let ran = doors.fix();
        assert!(ran.code != 0 && [&ran.out, &ran.err].iter().any(|text| text.contains(says)), "{says}: {ran:?}");
        let found = doors.world.run("root", &["doctor"]).exits(1);
        assert!(found.out.contains("doors") || found.out.contains("connectors"), "{found:?}");
    };
    fs::remove_file(doors.path("doors.log")).unwrap();
    mode("logged", 0o775);
    refused("can be written by others (mode 0775)");
    mode("logged", 0o644);
    refused("");
    mode("logged", 0o755);
    fs::create_dir(doors.path("open")).unwrap();
    doors.program("open/logged", &fs::read_to_string(doors.path("logged")).unwrap());
    mode("open", 0o777);
    doors.configure(&doors.connector("doors", &["open/logged", "allowed"]));
    refused("open can be written by others (mode 0777)");
    doors.configure(&doors.connector("doors", &["absent", "allowed"]));
    refused("No such file or directory");
    doors.configure(&doors.connector("doors", &["logged", "allowed"]));
    mode(".config/access/config.toml", 0o666);
    refused("config.toml can be written by others (mode 0666)");
    mode(".config/access/config.toml", 0o600);
    assert!(!doors.path("doors.log").exists(), "nothing was run");
    doors.fix().ok();
}

#[test]
fn a_command_never_fails_because_of_a_connector() {
    let doors = Doors::new(NORTH);
    doors.configure("[[connectors]]\nname = \"doors\"\ncommand = [\"/nonexistent\"]\n");
    let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.world.run("alice", &["revoke", &id]).ok();
    doors.configure("[[connectors]]\nname = \"doors\"\ncommand = [\"relative\"]\n");
    doors.fix().fails(65, "the connector doors has a command that does not begin with an absolute path");
    doors.configure("[[connectors]]\nname = \"doors\"\ncommand = []\n");
    doors.fix().fails(65, "the connector doors has an empty command");
    doors.world.grant("carol", "target:orders-db", "alice", &["--duration", "1h"]);
    doors.world.pass("2h");
    let expired = doors.expire().exits(65);
    assert!(expired.out.contains("1 expired"), "{expired:?}");
    let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.world.run("alice", &["revoke", &id]).ok();
}

#[test]
fn two_reconcilers_at_once_do_each_thing_once() {
    let doors = Doors::new(NORTH);
    // Without the configuration, so that nothing runs in the background.
    let quiet = |args: &[&str], login| {
        let mut command = doors.world.command(login, args);
        assert!(command.env("HOME", doors.path("elsewhere")).output().unwrap().status.success(), "{args:?}");
    };
    for login in ["bob", "carol", "dave"] {
        let id = doors.world.request(login, "target:orders-db", &[]);
        quiet(&["approve", &id], "alice");
    }
    let run = |_| {
        let mut command = doors.world.command("root", &["reconcile", "--fix"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut all: Vec<Child> = (0..4).map(run).collect();
    let codes: Vec<Option<i32>> = all.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    let mut acts = doors.acts();
    acts.sort();
    assert_eq!(acts, ["grant bob north", "grant carol north", "grant dave north"]);
    assert_eq!(doors.held("allowed"), ["bob north", "carol north", "dave north"]);
    assert_eq!(doors.actions(), ["grant.provisioned"; 3]);
}

#[test]
fn a_watching_reconciler_follows_the_log() {
    let doors = Doors::new(NORTH);
    // The other run would say what the watching one should.
    doors.settle();
    doors.fix().ok();
    let mut watch = doors.world.command("root", &["reconcile", "--fix", "--watch"]);
    let output = fs::File::create(doors.path("watch.out")).unwrap();
    let mut watch = watch.stdout(output).stderr(Stdio::null()).spawn().unwrap();
    let quiet = |args: &[&str]| {
        let mut command = doors.world.command("alice", args);
        command.env("HOME", doors.path("elsewhere")).output().unwrap()
    };
    let id = doors.world.request("bob", "target:orders-db", &[]);
    quiet(&["approve", &id]);
    doors.becomes("allowed", &["bob north"]);
    quiet(&["revoke", &id]);
    doors.becomes("allowed", &[]);
    let until = Instant::now() + Duration::from_secs(20);
    let said = || fs::read_to_string(doors.path("watch.out")).unwrap();
    while !said().contains("revoked") && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    let words = ["doors: granted door=north for bob (request 1)", "doors: revoked door=north for bob (request 1)"];
    assert!(words.iter().all(|line| said().contains(line)), "{}", said());
}

/// A number that is another at each call, and the same in each run of the test.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn a_reconciler_killed_at_random_ends_in_the_same_state() {
    let kills = std::env::var("ACCESS_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let names = ["doors", "gates", "hatches"];
    let bindings: String = names.iter().map(|name| NORTH.replace("doors", name)).collect();
    let doors = Doors::new(&bindings);
    // Slow, so that kills hit it at work.
    doors.program("slow", &documented().replace("while read -r line; do", "while read -r line; do sleep 0.02"));
    let config: String = names.iter().map(|name| doors.connector(name, &["slow", &format!("{name}.txt")])).collect();
    let files: Vec<String> = names.iter().map(|name| format!("{name}.txt")).collect();
    for file in &files {
        fs::write(doors.path(file), "zoe north\nbob cellar\n").unwrap();
    }
    let members = ["bob", "carol", "dave", "frank"];
    let mut live: Vec<(String, String)> = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..kills {
        // Without the configuration, so that nothing runs in the background.
        doors.configure("");
        let login = members[usize::try_from(random(&mut state) % 4).unwrap()];
        match live.iter().position(|(of, _)| of == login) {
            Some(at) => {
                doors.world.run("alice", &["revoke", &live.remove(at).1]).ok();
            }
            None => live.push((login.to_owned(), doors.world.grant(login, "target:orders-db", "alice", &[]))),
        }
        doors.configure(&config);
        let mut run = doors.world.command("root", &["reconcile", "--fix"]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(random(&mut state) % 400));
        run.kill().unwrap();
        run.wait().unwrap();
        doors.world.pass("1s");
    }
    doors.world.run("root", &["reconcile", "--fix"]);
    let mut expected: Vec<String> = live.iter().map(|(login, _)| format!("{login} north")).collect();
    expected.extend(["zoe north".to_owned(), "bob cellar".to_owned()]);
    expected.sort();
    // Nothing of an earlier run goes on.
    for pause in [0, 500] {
        sleep(Duration::from_millis(pause));
        for file in &files {
            assert_eq!(doors.held(file), expected, "{file}");
        }
    }
    for (_, id) in &live {
        let states: Vec<Value> =
            doors.provisioning(id).as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
        assert_eq!(states, ["granted", "granted", "granted"].map(Value::from), "{id}");
    }
    let (_, rows) = doors.rows(&[]);
    assert!(rows.iter().all(|row| row["state"] == "unexplained" && row["login"] == "zoe"), "{rows:?}");
    doors.verify();
}

#[test]
fn a_binding_that_leaves_out_what_the_machine_limits_gives_nothing() {
    let doors = Doors::new(&NORTH.replace("door = \"north\"\n", ""));
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    let ran = doors.fix().exits(1);
    assert!(ran.out.contains("the connector doors does not allow a binding without door"), "{}", ran.out);
    assert_eq!((doors.held("allowed"), doors.acts()), (vec![], vec![]));
    let test = ["connector", "test", "doors", "--login", "probe"];
    doors.world.run("root", &test).fails(3, "does not allow a binding without door");

    // An empty value allows it.
    doors.configure(&doors.connector("doors", &["logged", "allowed"]).replace("[\"*\"]", "[\"*\", \"\"]"));
    doors.fix();
    assert!(doors.held("doors.log").iter().any(|line| line.contains("\"grant\"")), "it is asked to give");
}

#[test]
fn a_program_whose_arguments_others_can_change_or_make_is_not_run() {
    let doors = Doors::new(NORTH);
    doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    fs::remove_file(doors.path("doors.log")).unwrap();
    for (name, mode) in [("open", 0o777), ("sticky", 0o1777)] {
        fs::create_dir(doors.path(name)).unwrap();
        fs::set_permissions(doors.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(doors.path("open/settings"), "").unwrap();
    let with = |argument: &str| {
        let section = doors.connector("doors", &["logged", "allowed"]);
        doors.configure(&section.replace("allowed\"]", &format!("allowed\", {argument:?}]")));
        doors.fix()
    };
    let folder = doors.file("");
    for path in ["open/settings", "open/absent", "open/absent/deeper", "sticky/absent"] {
        let relative = folder.trim_start_matches('/');
        for argument in [
            format!("{folder}{path}"),
            format!("--settings={folder}{path}"),
            format!("-o=file={folder}{path}"),
            format!("{relative}{path}"),
        ] {
            let ran = with(&argument);
            let text = format!("{}{}", ran.out, ran.err);
            assert!(ran.code != 0 && text.contains("can be written by others"), "{argument}: {ran:?}");
            let examined = doors.world.run("root", &["doctor"]).exits(1);
            assert!(examined.out.contains("can be written by others"), "{argument}: {examined:?}");
        }
    }
    assert!(!doors.path("doors.log").exists(), "nothing was run");
    for argument in ["--settings=/etc/absent", "/nowhere/at/all", "--mode=fast", "--path=/etc", "https://x/tmp", "a/b"]
    {
        with(argument).ok();
    }
    doors.world.run("root", &["doctor"]).says("connectors  doors");
}

#[test]
fn a_backup_under_another_path_gives_nothing_until_it_is_accepted() {
    let doors = Doors::new(NORTH);
    let bob = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    let copy = doors.file("copy.db");
    doors.world.run("root", &["backup", &copy]).ok();
    doors.world.run("alice", &["revoke", &bob]).ok();
    doors.becomes("allowed", &[]);
    doors.fix().ok();

    let examined = doors.world.run("root", &["--db", &copy, "doctor"]).exits(1).out;
    assert!(examined.contains("there is no journal of it here"), "{examined}");
    let there = |args: &[&str]| doors.world.run("root", &[&["--db", &copy, "reconcile"], args].concat());
    there(&["--fix"]).fails(3, "this log has provisioned access before, and there is no journal of it here");
    let looked = there(&[]).exits(1);
    assert!(looked.err.contains("there is no journal of it here"), "{looked:?}");
    there(&["--fix"]).fails(3, "there is no journal of it here");
    assert_eq!(doors.held("allowed"), [""; 0]);
    there(&["--accept-restore"]).exits(1);
    assert_eq!(doors.held("allowed"), [""; 0], "it only compares");
    there(&["--fix"]).ok();
    assert_eq!(doors.held("allowed"), ["bob north"]);
}

#[test]
fn a_system_that_lists_others_each_time_fills_neither_the_log_nor_an_inbox() {
    let doors = Doors::new(NORTH);
    doors.fix().ok();
    let counts = || {
        let actions = doors.actions();
        let count = |of: &str| actions.iter().filter(|action| *action == of).count();
        (count("drift.found"), count("drift.omitted"))
    };
    let unread = || doors.world.unread("alice").iter().filter(|kind| *kind == "drift.found").count();
    doors.world.run("alice", &["inbox", "--mark-read"]).ok();
    let list = |run: usize| {
        let strangers: String = (0..70).map(|number| format!("stranger-{run}-{number} north\n")).collect();
        fs::write(doors.path("allowed"), strangers).unwrap();
        doors.world.pass("5m");
        doors.fix();
    };
    list(0);
    assert_eq!((counts(), unread()), ((70, 0), 20));
    // Others at each run, for the rest of the hour. One entry says how many were left out when it began.
    (1..9).for_each(list);
    assert_eq!((counts(), unread()), ((100, 1), 21));
    let (_, omitted) = doors.recorded().into_iter().find(|(action, _)| action == "drift.omitted").unwrap();
    assert_eq!(omitted, json!({ "connector": "doors", "count": 40 }));
    doors.world.run("alice", &["inbox"]).ok().says("40 more differences in doors, too many to record each");
    // An hour later the rest is recorded, if it is still there.
    doors.world.pass("1h");
    doors.fix();
    assert_eq!((counts(), unread()), ((170, 1), 41));
    doors.fix();
    assert_eq!(counts(), (170, 1));
    doors.verify();
}

#[test]
fn what_a_watching_reconciler_records_makes_no_system_due() {
    let doors = Doors::new(&format!("{NORTH}{}", NORTH.replace("doors", "noisy")));
    // Another stranger at each list.
    let noisy = "#!/bin/sh\nwhile read -r line; do echo \"{\\\"holds\\\":[{\\\"login\\\":\\\"s$(date +%s%N)\\\",\\\"parameters\\\":{\\\"door\\\":\\\"north\\\"}}]}\"; done\n";
    doors.program("noisy", noisy);
    let sections = ["doors", "noisy"]
        .map(|name| doors.connector(name, if name == "doors" { &["logged", "allowed"] } else { &["noisy"] }));
    doors.configure(&sections.concat());
    let mut watch = doors.world.command("root", &["reconcile", "--fix", "--watch"]);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !doors.actions().contains(&"drift.found".to_owned()) && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_secs(2));
    let lists = || doors.held("doors.log").len();
    let (listed, recorded) = (lists(), doors.actions().len());
    sleep(Duration::from_secs(4));
    let (listed, recorded) = (lists() - listed, doors.actions().len() - recorded);
    // What others do is followed still.
    let id = doors.world.request("bob", "target:orders-db", &[]);
    let mut approve = doors.world.command("alice", &["approve", &id]);
    assert!(approve.env("HOME", doors.path("elsewhere")).output().unwrap().status.success());
    doors.becomes("allowed", &["bob north"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!((listed, recorded), (0, 0));
}

#[test]
fn a_team_file_warns_of_bindings_that_this_machine_refuses() {
    let doors = Doors::new(NORTH);
    doors.configure(&doors.connector("doors", &["logged", "allowed"]).replace("\"*\"", "\"north\""));
    let cellar = NORTH.replace("north", "cellar");
    let file = doors.path("team.toml");
    fs::write(&file, format!("{TEAM}{NORTH}{cellar}{}", NORTH.replace("doors", "gates"))).unwrap();
    let file = file.to_str().unwrap();
    let refusals = [
        "target:orders-db door=cellar: the connector doors does not allow door=cellar",
        "target:orders-db door=north: no connector gates is configured on this machine",
    ];
    for more in ["--dry-run", "--yes"] {
        let ran = doors.world.run("olivia", &["team", "apply", file, more]).ok();
        for refusal in refusals {
            assert!(ran.err.contains(&format!("warning: a binding is refused: {refusal}")), "{ran:?}");
        }
        assert_eq!(ran.err.matches("is refused").count(), 2, "{ran:?}");
    }
    // They are the words of the list, which says it as long as it is so.
    let listed = doors.world.run("root", &["connector", "list", "--json"]).ok().json();
    let said: Vec<&Value> = listed.as_array().unwrap().iter().map(|view| &view["refused"][0]).collect();
    assert_eq!(said, refusals);
    // What the file does not change is not repeated.
    let ran = doors.world.run("olivia", &["team", "apply", file, "--yes"]).ok();
    assert!(!ran.err.contains("is refused"), "{ran:?}");
    // A configuration that is wrong stops nobody.
    doors.configure("connectors = 1\n");
    let ran = doors.world.apply("olivia", &format!("{TEAM}{NORTH}")).ok();
    assert_eq!(ran.err.matches("is refused").count(), 0, "{ran:?}");
    let ran = doors.world.apply("olivia", &format!("{TEAM}{cellar}")).ok();
    assert!(ran.err.contains("config.toml, line 1"), "{ran:?}");
}

/// A watching reconciler with the connector `doors`, which notes each list.
struct Watching<'d> {
    doors: &'d Doors,
    watch: Child,
}

impl Watching<'_> {
    /// When it has looked at everything once.
    fn start(doors: &Doors) -> Watching<'_> {
        let mut watch = doors.world.command("root", &["reconcile", "--fix", "--watch"]);
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let watching = Watching { doors, watch };
        let before = watching.lists();
        watching.within(Duration::from_secs(20), || watching.lists() > before);
        sleep(Duration::from_secs(2));
        watching
    }

    fn lists(&self) -> usize {
        self.doors.held("doors.log").iter().filter(|line| line.contains("\"list\"")).count()
    }

    #[track_caller]
    fn within(&self, limit: Duration, done: impl Fn() -> bool) {
        let until = Instant::now() + limit;
        while !done() {
            assert!(Instant::now() < until, "not within {limit:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// A command that starts no run by itself.
    #[track_caller]
    fn quiet(&self, login: &str, args: &[&str]) {
        let mut command = self.doors.world.command(login, args);
        let ran = command.env("HOME", self.doors.path("elsewhere")).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {ran:?}");
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

/// Without a person: dave may have it at once.
const AT_ONCE: &str = "\n[[rules]]\nname = \"at once\"\nmatch = { resources = [\"target:orders-db\"], requesters = [\"member:dave\"] }\nauto_approve = true\n";

#[test]
fn requests_that_change_nobodys_access_make_no_system_due() {
    let doors = Doors::new(NORTH);
    doors.world.grant("carol", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["carol north"]);
    doors.fix().ok();
    let watching = Watching::start(&doors);
    let before = watching.lists();
    for _ in 0..6 {
        let id = doors.world.request("bob", "target:orders-db", &[]);
        sleep(Duration::from_millis(600));
        watching.quiet("bob", &["withdraw", &id]);
        sleep(Duration::from_millis(600));
    }
    sleep(Duration::from_secs(2));
    assert_eq!(watching.lists(), before);
}

#[test]
fn access_that_comes_and_goes_is_taken_back_at_once_and_looked_at_seldom() {
    let doors = Doors::new(&format!("{NORTH}{AT_ONCE}"));
    let watching = Watching::start(&doors);
    let before = watching.lists();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let mut asked = doors.world.command("dave", &["request", "target:orders-db", "--reason", "now", "--json"]);
        let asked = asked.env("HOME", doors.path("elsewhere")).output().unwrap();
        let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
        assert_eq!(asked["state"], "active");
        sleep(Duration::from_millis(700));
        watching.quiet("dave", &["revoke", &asked["id"].to_string()]);
        let gone = Instant::now();
        watching.within(Duration::from_secs(10), || doors.held("allowed").is_empty());
        slowest = slowest.max(gone.elapsed());
        sleep(Duration::from_millis(700));
        // A run that had begun before may give it once more, and takes it back.
        watching.within(Duration::from_secs(3), || doors.held("allowed").is_empty());
    }
    let (lists, seconds) = (watching.lists() - before, begun.elapsed().as_secs());
    // A run lists before and after what it does, and each access that was given is taken back by another run.
    let most = 4 * (usize::try_from(seconds).unwrap() / 5 + 1);
    assert!(lists <= most, "{lists} lists in {seconds} s, the slowest revoke took {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // In the end all is on the record.
    let id = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    watching.quiet("alice", &["revoke", &id]);
    doors.becomes("allowed", &[]);
    drop(watching);
    assert_eq!(doors.rows(&[]), (0, vec![]));
    doors.fix().ok();
    doors.verify();
}

#[test]
fn a_binding_that_can_not_be_listed_does_not_delay_the_others() {
    let doors = Doors::new(&[&NORTH.replace("north", "vault"), ALSO_NORTH].concat());
    doors.program("logged", &lists_fail(&doors, "vault"));
    let watching = Watching::start(&doors);
    let bob = doors.world.request("bob", "target:billing-db", &[]);
    watching.quiet("alice", &["approve", &bob]);
    watching.within(Duration::from_secs(30), || doors.held("allowed") == ["bob north"]);
    watching.within(Duration::from_secs(10), || doors.provisioning(&bob)[0]["state"] == "granted");
    watching.quiet("alice", &["revoke", &bob]);
    // A system that fails as a whole rests for longer after each failure.
    watching.within(Duration::from_secs(9), || doors.held("allowed").is_empty());
}

#[test]
fn what_has_ended_is_taken_back_at_once_while_nothing_can_be_listed() {
    let doors = Doors::new(NORTH);
    let bob = doors.world.grant("bob", "target:orders-db", "alice", &[]);
    doors.becomes("allowed", &["bob north"]);
    doors.fix().ok();
    doors.program("logged", &lists_fail(&doors, ""));
    let watching = Watching::start(&doors);
    // The system rests for 10 seconds after its first failure, and then for 20.
    let first = watching.lists();
    watching.within(Duration::from_secs(30), || watching.lists() > first);
    sleep(Duration::from_secs(1));
    watching.quiet("alice", &["revoke", &bob]);
    watching.within(Duration::from_secs(9), || doors.held("allowed").is_empty());
}

#[test]
fn what_a_slow_run_gives_that_has_ended_meanwhile_is_taken_back() {
    let doors = Doors::new(NORTH);
    let slow = doors.file("slow");
    let paused = format!("{{ test ! -e {slow} || sleep 1.5; {} \"$1\"; }}", doors.file("doors"));
    doors.program("logged", &format!("#!/bin/sh\ntee -a {} | {paused}\n", doors.file("doors.log")));
    let watching = Watching::start(&doors);
    fs::write(&slow, "").unwrap();
    let approved = |login| {
        let id = doors.world.request(login, "target:orders-db", &[]);
        watching.quiet("alice", &["approve", &id]);
        id
    };
    // The run begins for carol, and gives bob's too, since it goes on until nothing else has turned up.
    let lists = watching.lists();
    approved("carol");
    watching.within(Duration::from_secs(10), || watching.lists() > lists);
    let bob = approved("bob");
    watching.within(Duration::from_secs(20), || doors.acts().contains(&"grant bob north".to_owned()));
    watching.quiet("alice", &["revoke", &bob]);
    watching.within(Duration::from_secs(20), || doors.held("allowed") == ["bob north", "carol north"]);
    watching.within(Duration::from_secs(20), || doors.held("allowed") == ["carol north"]);
    watching.within(Duration::from_secs(20), || doors.provisioning(&bob)[0]["state"] == "revoked");
}

#[test]
fn a_run_waits_for_a_slow_one_and_a_third_leaves_it_to_the_second() {
    let doors = Doors::new(&format!("{NORTH}{}", NORTH.replace("north", "south")));
    doors.fix().ok();
    let begun = doors.file("begun");
    // Each run of the program takes 4.8 seconds, and a list of both doors fails: so a run takes five of them, which is more
    // than two programs that reach their limit of 6 seconds, and 10 seconds.
    let both = "list) case $line in *'},{'*) echo '{\"failed\":\"one by one\"}'; continue ;; esac; ";
    let done = "esac\ncase $line in *'\"list\"'*) ;; *) echo '{\"done\":{}}' ;; esac\ndone";
    let slow = documented().replace("while read", &format!("touch {begun}; sleep 4.8\nwhile read"));
    doors.program("slow", &slow.replace("list) ", both).replace("esac\ndone", done));
    let run = || {
        let mut command = doors.world.command("root", &["reconcile", "--fix", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    doors.configure("");
    for login in ["bob", "carol"] {
        doors.world.grant(login, "target:orders-db", "alice", &[]);
    }
    doors.configure(&doors.connector("doors", &["slow", "allowed"]).replace("20s", "6s"));
    let mut first = run();
    while !Path::new(&begun).exists() {
        sleep(Duration::from_millis(10));
    }
    let since = Instant::now();
    let mut waiting = [run(), run()];
    let third = loop {
        match waiting.iter_mut().position(|child| child.try_wait().unwrap().is_some()) {
            Some(ended) => break ended,
            None => sleep(Duration::from_millis(20)),
        }
    };
    assert!(first.try_wait().unwrap().is_none(), "it does not wait for the first to end");
    let [one, other] = waiting;
    let (second, third) = if third == 0 { (other, one) } else { (one, other) };
    let third = third.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&third.stdout).unwrap();
    let why = "another run waits for this system already, and does what is due";
    shows(&said, &json!([{ "connector": "doors", "state": "busy", "error": why }]));
    assert_eq!(third.status.code(), Some(1));
    let first = first.wait_with_output().unwrap();
    assert!(since.elapsed() > Duration::from_secs(22), "{:?} {first:?}", since.elapsed());
    let second = second.wait_with_output().unwrap();
    for (ran, rows) in [(&first, 4), (&second, 0)] {
        let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((ran.status.code(), said.as_array().unwrap().len()), (Some(0), rows), "{said}");
    }
}
