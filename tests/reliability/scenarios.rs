//! For each command that writes: what it needs, and how it is given. A new command of the program fails a test here until it is
//! listed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use access::commands::Cli;
use clap::CommandFactory as _;

use crate::harness::{TEAM, World};

const DB: &str = "target:orders-db";
const EMERGENCIES: &str =
    "\n[[rules]]\nname = \"outage\"\nmatch = { resources = [\"connection:prod-aws\"] }\nemergency = true\n";
const AUTOMATIC: &str = "\n[[rules]]\nname = \"free\"\nmatch = { resources = [\"target:*\"] }\nauto_approve = true\n";
const SIGNED: &str = "\n[[rules]]\nname = \"signed\"\nmatch = { resources = [\"target:orders-db\"] }\nsigned = true\n";
const SESSION: &str = "session opened --for target:orders-db --service sshd --login=bob";
const BINDING: &str = "\n[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"doors\"\ndoor = \"north\"\n";

/// What the same command does when it is given again after it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing more: it exits 0, or 5 and says that it is done.
    Converges,
    /// The same again, with an entry of its own.
    Repeats,
}

/// How the states in between may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// Everything or nothing.
    One,
    /// Several transactions: each is carried out or not, in their order.
    Several,
    /// As `One`, with random numbers in it, so that only what was recorded is compared.
    Random,
    /// As `Several`, with random numbers, or in any order.
    SeveralRandom,
}

impl Scenario {
    pub fn command(&self, world: &World) -> std::process::Command {
        let word = |word: &str| match word.strip_prefix('@') {
            Some(file) => fs::read_to_string(world.folder().join(file)).unwrap(),
            None => word.to_owned(),
        };
        let words: Vec<String> = self.line.split(' ').map(word).collect();
        world.command(self.login, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Who looks at the log afterwards.
    pub fn auditor(&self) -> &'static str {
        if self.name == "team replace-owner" { "alice" } else { "olivia" }
    }

    /// The database that the command uses.
    pub fn database(&self, world: &World) -> std::path::PathBuf {
        match self.line.strip_prefix("--db ") {
            Some(rest) => world.folder().join(rest.split(' ').next().unwrap()),
            None => world.db(),
        }
    }
}

impl Steps {
    pub fn is_one(self) -> bool {
        matches!(self, Steps::One | Steps::Random)
    }

    pub fn is_random(self) -> bool {
        matches!(self, Steps::Random | Steps::SeveralRandom)
    }
}

pub struct Scenario {
    /// As in the help: `team apply`. More than one scenario of a command has words after a comma.
    pub name: &'static str,
    pub login: &'static str,
    /// Separated by blanks; `@key` is what the file `key` has.
    pub line: &'static str,
    /// The exit code of a run that nothing happens to.
    pub exits: i32,
    pub steps: Steps,
    pub again: Again,
    /// Makes the world in which the command is given.
    pub world: fn() -> World,
}

const fn one(name: &'static str, login: &'static str, line: &'static str, world: fn() -> World) -> Scenario {
    Scenario { name, login, line, exits: 0, steps: Steps::One, again: Again::Converges, world }
}

/// Commands that change nothing that has to survive.
const READING: [&str; 23] = [
    "audit export",
    "audit verify",
    "check",
    "completions",
    "connector list",
    "help",
    "list",
    "log status",
    "notify show",
    "notify test",
    "pending",
    "recertify list",
    "recertify show",
    "resources",
    "serve",
    "show",
    "ssh keys",
    "ssh principals",
    "team show",
    "version",
    "who",
    "whoami",
    "connector test",
];

/// Commands that write, and are tried by other tests.
const ELSEWHERE: [(&str, &str); 17] = [
    ("connector aws-iam-group", "tests/connectors/aws_iam_group.rs"),
    ("connector aws-identity-center", "tests/connectors/aws_identity_center.rs"),
    ("connector ldap", "tests/connectors/kills.rs"),
    ("connector postgres", "tests/connectors/kills.rs"),
    ("connector scim", "tests/connectors/kills.rs"),
    ("connector sudoers", "tests/shared/sudoers.rs"),
    ("connector unix-group", "tests/shared/unix_group.rs"),
    ("follow", "tests/fleet/unwritten.rs"),
    ("log allow", "tests/fleet/hosts.rs"),
    ("log init", "tests/fleet/install.rs"),
    ("log join", "tests/fleet/moving.rs"),
    ("log leave", "tests/fleet/moving.rs"),
    ("log move", "tests/fleet/moving.rs"),
    ("log raise-epoch", "tests/fleet/restored.rs"),
    ("log salvage", "tests/fleet/salvage.rs"),
    ("log upgrade", "tests/fleet/moving.rs"),
    ("ssh command", "tests/shared/over_ssh.rs"),
];

pub fn all() -> Vec<Scenario> {
    let mut all = requests();
    all.extend(people());
    all.extend(upkeep());
    all
}

pub fn named(name: &str) -> Scenario {
    all().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn requests() -> Vec<Scenario> {
    vec![
        one("request", "bob", "request target:orders-db --reason x", World::sample),
        Scenario { exits: 3, again: Again::Repeats, ..one("approve, refused", "bob", "approve 1", pending) },
        one("request, decided by a rule", "bob", "request target:orders-db --reason x", automatic),
        one("extend", "bob", "extend 1 --reason more", granted),
        one("edit", "bob", "edit 1 --reason other", pending),
        one("approve", "alice", "approve 1", pending),
        one("approve, with other terms", "alice", "approve 1 --duration 30m --note short", pending),
        Scenario { steps: Steps::SeveralRandom, ..one("approve, several", "alice", "approve 1 2 3", three) },
        one("deny", "alice", "deny 1 --reason no", pending),
        one("withdraw", "bob", "withdraw 1", pending),
        one("revoke", "alice", "revoke 1 --reason over", granted),
        one("review", "erin", "review 1 --note seen", emergency),
        Scenario {
            steps: Steps::SeveralRandom,
            again: Again::Repeats,
            ..one("run", "bob", "run target:orders-db --reason x --give-back -- true", automatic)
        },
    ]
}

fn people() -> Vec<Scenario> {
    let start = "recertify start --permanent --due 1d";
    vec![
        one("team apply", "olivia", "team apply team.toml --yes", || {
            let world = granted();
            fs::write(
                world.folder().join("team.toml"),
                format!("{}{EMERGENCIES}", TEAM.replace("\"dave\"", "\"carol\"")),
            )
            .unwrap();
            world
        }),
        one("team replace-owner", "root", "team replace-owner alice --yes", ownerless),
        Scenario { again: Again::Repeats, ..one("recertify start", "alice", start, permanent) },
        one("recertify keep", "erin", "recertify keep 1.1 --reason needed", recertified),
        one("recertify revoke", "erin", "recertify revoke 1.1 --reason over", recertified),
        one("recertify cancel", "alice", "recertify cancel 1 --reason over", recertified),
        one("inbox", "alice", "inbox --mark-read", pending),
        one("notify set", "alice", "notify set request.submitted --slack off", World::sample),
        one("notify mute", "alice", "notify mute", World::sample),
        one("notify unmute", "alice", "notify unmute", muted),
        one("notify reset", "alice", "notify reset", muted),
        Scenario {
            steps: Steps::SeveralRandom,
            again: Again::Repeats,
            ..one("session opened", "root", SESSION, granted)
        },
        Scenario { steps: Steps::Several, ..one("session closed", "root", "session closed", granted) },
        Scenario {
            steps: Steps::Random,
            again: Again::Repeats,
            ..one("ssh cert", "root", "ssh cert --ca ca --for target:orders-db --login=bob", certified)
        },
    ]
}

fn upkeep() -> Vec<Scenario> {
    vec![
        one("init", "olivia", "init", World::empty),
        one("init, in a new folder", "olivia", "--db new/folder/access.db init --sample", World::empty),
        Scenario { steps: Steps::Several, ..one("expire", "root", "expire --no-deliver", lapsed) },
        Scenario {
            steps: Steps::SeveralRandom,
            ..one("expire, with a checkpoint", "root", "expire --no-deliver", lapsed)
        },
        Scenario { steps: Steps::SeveralRandom, ..one("deliver", "root", "deliver", outgoing) },
        one("outbox retry", "root", "outbox retry", given_up),
        one("outbox discard", "root", "outbox discard", given_up),
        one("doctor", "olivia", "doctor --accept-clock", || {
            let world = granted();
            world.set_clock("2026-11-24T06:00:00Z");
            world
        }),
        Scenario { steps: Steps::SeveralRandom, ..one("audit checkpoint", "alice", "audit checkpoint", granted) },
        Scenario {
            steps: Steps::SeveralRandom,
            again: Again::Repeats,
            ..one("audit key", "olivia", "audit key --rotate", || {
                let world = granted();
                world.run("alice", &["audit", "checkpoint"]).ok();
                world
            })
        },
        Scenario {
            steps: Steps::SeveralRandom,
            ..one("audit witness", "wanda", "audit witness note --log @key", witnessed)
        },
        Scenario {
            steps: Steps::SeveralRandom,
            ..one("audit checkpoint, into a file", "alice", "audit checkpoint --to note", granted)
        },
        Scenario { steps: Steps::SeveralRandom, ..one("audit prove", "alice", "audit prove 4", granted) },
        one("audit signature", "olivia", "audit signature 4 --to approval", signed),
        Scenario { steps: Steps::Several, ..one("man", "olivia", "man pages", World::empty) },
        one("report", "olivia", "report --html page.html", granted),
        one("report, as CSV", "olivia", "report --csv sheets", granted),
        one("report, in place of another", "olivia", "report --html page.html", || {
            let world = granted();
            fs::write(world.folder().join("page.html"), "an earlier page").unwrap();
            world
        }),
        one("backup", "root", "backup copy.db", granted),
        Scenario { steps: Steps::SeveralRandom, ..one("reconcile", "root", "reconcile --fix", bound) },
        one("whoami, migrating version 1", "root", "--as olivia whoami", || {
            stored(include_str!("../fixtures/database-v1.sql"))
        }),
        one("whoami, migrating version 3", "olivia", "whoami", || stored(include_str!("../fixtures/database-v3.sql"))),
    ]
}

fn path(world: &World, name: &str) -> String {
    world.folder().join(name).to_str().unwrap().to_owned()
}

fn configure(world: &World, text: &str) {
    fs::create_dir_all(world.folder().join(".config/access")).unwrap();
    fs::write(world.folder().join(".config/access/config.toml"), text).unwrap();
}

fn pending() -> World {
    let world = World::sample();
    world.request("bob", DB, &[]);
    world
}

fn granted() -> World {
    let world = World::sample();
    world.grant("bob", DB, "alice", &[]);
    world
}

fn three() -> World {
    let world = pending();
    world.request("carol", DB, &[]);
    world.request("dave", "target:billing-db", &[]);
    world
}

/// One that has to start, one that has to end, one that has to be warned of, and one that nobody decided.
fn lapsed() -> World {
    let world = granted();
    world.grant("dave", DB, "alice", &["--duration", "4h"]);
    let later = world.request("carol", DB, &["--start", "2026-11-24T11:00:00Z", "--duration", "1d"]);
    world.run("alice", &["approve", &later]).ok();
    world.request("frank", DB, &[]);
    world.pass("3h");
    world
}

fn permanent() -> World {
    let world = World::sample();
    world.grant("bob", DB, "alice", &["--duration", "permanent"]);
    world
}

fn recertified() -> World {
    let world = permanent();
    world.run("alice", &["recertify", "start", "--permanent", "--due", "1d"]).ok();
    world
}

fn muted() -> World {
    let world = World::sample();
    world.run("alice", &["notify", "mute"]).ok();
    world
}

fn automatic() -> World {
    World::of("olivia", &format!("{TEAM}{AUTOMATIC}"))
}

fn emergency() -> World {
    let world = World::of("olivia", &format!("{TEAM}{EMERGENCIES}"));
    world.request("bob", "connection:prod-aws", &["--emergency"]);
    world
}

fn given_up() -> World {
    let world = pending();
    world.rows("UPDATE outbox SET dead = 1, attempts = 6, error = 'no'");
    world
}

/// Mail that waits, and a program that sends it.
fn outgoing() -> World {
    let world = World::of("olivia", &TEAM.replace("slack = ", "# slack = "));
    world.request("bob", DB, &[]);
    fs::write(world.folder().join("sendmail"), "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
    fs::set_permissions(world.folder().join("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
    world
}

fn new_key(world: &World, name: &str) {
    let mut keygen = std::process::Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", name]).current_dir(world.folder()).status();
    assert!(made.unwrap().success());
}

/// The account of the owner is gone, and that of alice is there.
fn ownerless() -> World {
    let world = World::sample();
    let mut team = TEAM.to_owned();
    for (name, login) in [("olivia", "no-such-user-here"), ("alice", "games")] {
        let section = format!("[members.{name}]\n");
        assert!(team.contains(&section));
        team = team.replace(&section, &format!("{section}login = \"{login}\"\n"));
    }
    world.apply("olivia", &team).ok();
    world
}

/// An approval with a signature, as entry 4.
fn signed() -> World {
    let world = World::empty();
    new_key(&world, "alice");
    let key = fs::read_to_string(world.folder().join("alice.pub")).unwrap();
    let section = "[members.alice]\n";
    let team = TEAM.replace(section, &format!("{section}ssh_keys = [{:?}]\n", key.trim()));
    world.run("olivia", &["init"]).ok();
    world.apply("olivia", &format!("{team}{SIGNED}")).ok();
    world.request("bob", DB, &[]);
    configure(&world, &format!("signing_key = {:?}\n", path(&world, "alice")));
    world.run("alice", &["approve", "1"]).ok();
    world
}

fn certified() -> World {
    let world = granted();
    ["ca", "bob"].iter().for_each(|name| new_key(&world, name));
    fs::rename(world.folder().join("bob.pub"), world.folder().join("input")).unwrap();
    world
}

fn witnessed() -> World {
    let world = granted();
    let note = world.run("alice", &["audit", "checkpoint", "--note"]).ok().out;
    fs::write(world.folder().join("note"), note).unwrap();
    let keys = world.json("alice", &["audit", "key"]);
    fs::write(world.folder().join("key"), keys[0]["key"].as_str().unwrap()).unwrap();
    world.run("wanda", &["audit", "witness", "--name", "example.com/wanda"]).ok();
    world
}

/// A connector of ten lines, the one of docs/connectors.md, and access that it has to give.
fn bound() -> World {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connectors.md")).unwrap();
    let (_, rest) = page.split_once("```sh\n#!/bin/sh\n").unwrap();
    let world = World::of("olivia", &format!("{TEAM}{BINDING}"));
    world.grant("bob", DB, "alice", &[]);
    let program = world.folder().join("doors");
    fs::write(&program, format!("#!/bin/sh\n{}", rest.split_once("```").unwrap().0)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world
}

/// A database as an older version left it.
fn stored(sql: &str) -> World {
    let world = World::empty();
    assert!(world.sqlite(sql).status.success());
    fs::set_permissions(world.db(), fs::Permissions::from_mode(0o600)).unwrap();
    world
}

/// What has to name the folder of a world, which is a copy.
pub fn settle(scenario: &Scenario, world: &World) {
    let section = |text: String| configure(world, &text);
    match scenario.name {
        "reconcile" => section(format!(
            "[[connectors]]\nname = \"doors\"\ncommand = [{:?}, {:?}]\nallow = {{ door = [\"*\"] }}\n",
            path(world, "doors"),
            path(world, "allowed")
        )),
        // The process above it, which is this one, is the session.
        "session closed" => drop(world.run("root", &SESSION.split(' ').collect::<Vec<_>>()).ok()),
        "deliver" => section(format!("sendmail = {:?}\nfrom = \"access@acme.example\"\n", path(world, "sendmail"))),
        "expire, with a checkpoint" => {
            section(format!("[checkpoints]\nevery = \"1d\"\nfile = {:?}\n", path(world, "last")));
        }
        _ => {}
    }
}

#[test]
fn every_command_is_tried_or_listed() {
    let mut known: BTreeSet<String> =
        all().iter().map(|scenario| scenario.name.split(',').next().unwrap().to_owned()).collect();
    // A command that only reads migrates an older database.
    known.remove("whoami");
    let listed = READING.into_iter().chain(ELSEWHERE.into_iter().map(|(name, _)| name));
    for name in listed {
        assert!(known.insert(name.to_owned()), "{name} is listed twice");
    }
    for (_, test) in ELSEWHERE {
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(test).exists(), "{test}");
    }
    let mut found = BTreeSet::new();
    leaves(&Cli::command(), "", &mut found);
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), [&""; 0], "add a scenario for each");
    assert_eq!(known.difference(&found).collect::<Vec<_>>(), [&""; 0], "there is no such command");
}

fn leaves(command: &clap::Command, before: &str, found: &mut BTreeSet<String>) {
    for sub in command.get_subcommands() {
        let name = format!("{before}{}", sub.get_name());
        if sub.has_subcommands() {
            leaves(sub, &format!("{name} "), found);
        } else {
            found.insert(name);
        }
    }
}
