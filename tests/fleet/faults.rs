//! Eight hosts run real commands while servers of the log fail: what a command said is true.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postgres::NoTls;
use serde_json::Value;

use crate::copies::{Host, assert_equal, said, share};
use crate::nodes::Nodes;
use crate::shared_log::Place;

const HOSTS: usize = 8;

/// Random numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What a command tried. Its text is in no other.
struct Try {
    text: String,
    action: &'static str,
    line: String,
    ran: Output,
    took: Duration,
}

impl Try {
    /// None: a signal ended it.
    fn code(&self) -> Option<i32> {
        self.ran.status.code()
    }
}

/// What all hosts know of.
#[derive(Default)]
struct Known {
    pending: Vec<u64>,
    granted: Vec<u64>,
    tries: Vec<Try>,
}

struct Crowd {
    hosts: Vec<Host>,
    known: Mutex<Known>,
    done: AtomicU64,
    over: AtomicBool,
}

impl Crowd {
    /// One of a host's people does something.
    fn act(&self, number: usize, turn: u64, dice: &mut Dice) {
        let host = &self.hosts[number];
        let text = format!("say-{number}-{turn}-");
        let (admin, member) = (format!("ada{}", dice.below(HOSTS as u64)), format!("bob{number}"));
        let wish = dice.below(10);
        let (pending, granted) = {
            let mut known = self.known.lock().unwrap();
            let take = |ids: &mut Vec<u64>, at: u64| (!ids.is_empty()).then(|| ids.remove(at as usize % ids.len()));
            let pending = if wish < 4 { take(&mut known.pending, turn) } else { None };
            (pending, if wish == 4 || wish == 5 { take(&mut known.granted, turn) } else { None })
        };
        let (action, login, args) = match (pending, granted) {
            (Some(id), _) if wish == 0 => {
                ("request.denied", admin, vec!["deny".to_owned(), id.to_string(), "--reason".to_owned(), text.clone()])
            }
            (Some(id), _) => (
                "request.approved",
                admin,
                vec!["approve".to_owned(), id.to_string(), "--note".to_owned(), text.clone()],
            ),
            (_, Some(id)) => {
                ("grant.revoked", admin, vec!["revoke".to_owned(), id.to_string(), "--reason".to_owned(), text.clone()])
            }
            _ => {
                let what = format!("connection:account{}", dice.below(20));
                ("request.submitted", member, vec!["request".to_owned(), what, "--reason".to_owned(), text.clone()])
            }
        };
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.push("--json");
        let mut command = host.command(&login, &args);
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Some are killed wherever they are.
        if dice.below(25) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(800)));
            child.kill().unwrap();
        }
        let ran = child.wait_with_output().unwrap();
        let line = format!("{}: {login}$ {}", host.name, args.join(" "));
        self.note(Try { text, action, line, ran, took: begun.elapsed() }, pending, granted);
    }

    fn note(&self, tried: Try, pending: Option<u64>, granted: Option<u64>) {
        let mut known = self.known.lock().unwrap();
        match (tried.code(), tried.action) {
            (Some(0), "request.submitted") => {
                let answer: Value = serde_json::from_slice(&tried.ran.stdout).unwrap();
                known.pending.push(answer["id"].as_u64().unwrap());
            }
            (Some(0), "request.approved") => known.granted.extend(pending),
            (Some(69 | 74 | 75) | None, _) => {
                known.pending.extend(pending);
                known.granted.extend(granted);
            }
            _ => {}
        }
        if tried.code() == Some(0) {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        known.tries.push(tried);
    }

    fn count(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}

/// The log as the leader has it, each entry where its hash says.
fn log_of(nodes: &Nodes) -> Vec<String> {
    let mut config = nodes.config(&nodes.leader().unwrap(), "postgres");
    let mut admin = config.dbname("acme").connect(NoTls).unwrap();
    let mut place = Place::empty();
    let rows = admin.query("SELECT seq, hash, body FROM access.entry ORDER BY seq", &[]).unwrap();
    let entries = rows.iter().map(|row| {
        let body: String = row.get(2);
        place = place.after(std::slice::from_ref(&body));
        assert_eq!(place, Place(row.get(0), row.get(1)), "the chain is whole");
        body
    });
    entries.collect()
}

/// What every command said is what the log has.
#[track_caller]
fn assert_true(crowd: &Crowd, log: &[String]) {
    let known = crowd.known.lock().unwrap();
    let mut recorded: BTreeMap<(String, String), usize> = BTreeMap::new();
    for body in log {
        let entry: Value = serde_json::from_str(body).unwrap();
        let action = entry["event"]["action"].as_str().unwrap().to_owned();
        for word in body.split(|letter: char| !letter.is_alphanumeric() && letter != '-') {
            if word.starts_with("say-") {
                *recorded.entry((action.clone(), word.to_owned())).or_default() += 1;
            }
        }
    }
    let mut codes: BTreeMap<String, (usize, Duration)> = BTreeMap::new();
    for tried in &known.tries {
        let times = recorded.get(&(tried.action.to_owned(), tried.text.clone())).copied().unwrap_or(0);
        let line = format!("{} {}: recorded {times} times", tried.line, said(&tried.ran));
        match tried.code() {
            Some(0) => assert_eq!(times, 1, "{line}"),
            // Refused, not found, already decided, unreachable, busy.
            Some(3 | 4 | 5 | 69 | 75) => assert_eq!(times, 0, "{line}"),
            Some(74) | None => assert!(times <= 1, "{line}"),
            Some(_) => panic!("{line}"),
        }
        let outcome = format!("{:?} {}", tried.code(), if times == 1 { "recorded" } else { "not recorded" });
        let (count, longest) = codes.entry(outcome).or_default();
        (*count, *longest) = (*count + 1, tried.took.max(*longest));
    }
    println!("{} entries; {codes:?}", log.len());
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    HostKilled,
    PostmasterKilled,
    Frozen,
    SwitchOver,
    TwoKilled,
    StoreDown,
}

impl Fault {
    const ALL: [Fault; 6] = [
        Fault::PostmasterKilled,
        Fault::SwitchOver,
        Fault::HostKilled,
        Fault::Frozen,
        Fault::TwoKilled,
        Fault::StoreDown,
    ];

    /// Does it, and repairs it.
    fn strike(self, nodes: &mut Nodes, crowd: &Crowd) {
        let leader = nodes.leader().unwrap();
        let before = crowd.count();
        let begun = Instant::now();
        let goes_on = |nodes: &Nodes, what: &str| {
            nodes.until(what, 90, |_| crowd.count() >= before + 30);
            println!("{self:?}: {:?} until 30 more are acknowledged", begun.elapsed());
        };
        match self {
            Fault::HostKilled => {
                nodes.kill_host(&leader);
                goes_on(nodes, "writes go on without the killed host");
                nodes.start_host(&leader);
            }
            Fault::PostmasterKilled => nodes.kill_postmaster(&leader),
            Fault::Frozen => {
                let (agent, server) = (nodes.freeze_agent(&leader), nodes.freeze_server(&leader));
                nodes.until("another node leads", 60, |nodes| nodes.leader().is_some_and(|now| now != leader));
                goes_on(nodes, "writes go on while a host is frozen");
                std::thread::sleep(Duration::from_secs(30).saturating_sub(begun.elapsed()));
                server.thaw();
                std::thread::sleep(Duration::from_secs(2));
                agent.thaw();
            }
            Fault::SwitchOver => nodes.switch_over(),
            Fault::TwoKilled => {
                let standby = nodes.with_role("sync_standby").unwrap();
                nodes.kill_host(&standby);
                nodes.kill_host(&leader);
                std::thread::sleep(Duration::from_secs(25));
                let stopped = crowd.count();
                std::thread::sleep(Duration::from_secs(3));
                assert_eq!(crowd.count(), stopped, "nothing is acknowledged by the third");
                nodes.start_host(&standby);
                nodes.start_host(&leader);
            }
            Fault::StoreDown => {
                let store = nodes.freeze_etcd();
                std::thread::sleep(Duration::from_secs(25));
                store.thaw();
            }
        }
        let after = crowd.count();
        nodes.until("writes go on", 120, |_| crowd.count() >= after + 30);
        nodes.until("three nodes are ready again", 120, Nodes::is_whole);
        println!("{self:?}: {:?} until all is well; {} acknowledged", begun.elapsed(), crowd.count() - before);
    }
}

fn prepare(nodes: &Nodes, folder: &tempfile::TempDir) -> Vec<Host> {
    let mut admin = nodes.config(&nodes.leader().unwrap(), "postgres").connect(NoTls).unwrap();
    admin.batch_execute("CREATE DATABASE acme TEMPLATE template0").unwrap();
    let names: Vec<String> = (1..=HOSTS).map(|number| format!("h{number}")).collect();
    for name in &names {
        admin.batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", nodes.password())).unwrap();
    }
    let servers: Vec<String> = nodes.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
    share(folder, &format!("{}/acme", servers.join(",")), nodes.password(), &names, HOSTS)
}

/// Two faults, or with `ACCESS_TEST_LONG` all of them, as often as it says. `ACCESS_TEST_SEED` repeats a run.
#[test]
fn what_commands_say_is_true_while_servers_fail() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("ACCESS_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("ACCESS_TEST_SEED={seed}");
    let faults = match number("ACCESS_TEST_LONG") {
        None => Fault::ALL[..2].to_vec(),
        Some(rounds) => Fault::ALL.repeat(usize::try_from(rounds).unwrap()),
    };
    let mut nodes = Nodes::start();
    let folder = tempfile::tempdir().unwrap();
    let crowd = Arc::new(Crowd {
        hosts: prepare(&nodes, &folder),
        known: Mutex::default(),
        done: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let begin = |number: usize| {
        let crowd = Arc::clone(&crowd);
        std::thread::spawn(move || {
            let mut dice = Dice(seed.wrapping_mul(31).wrapping_add(number as u64 * 7919) | 1);
            for turn in 0.. {
                if crowd.over.load(Ordering::SeqCst) {
                    return;
                }
                crowd.act(number, turn, &mut dice);
            }
        })
    };
    let people: Vec<_> = (0..HOSTS).map(begin).collect();
    nodes.until("the hosts write", 30, |_| crowd.count() >= 50);
    for fault in faults {
        fault.strike(&mut nodes, &crowd);
    }
    crowd.over.store(true, Ordering::SeqCst);
    for person in people {
        person.join().unwrap();
    }
    assert_equal(&crowd.hosts);
    let log = log_of(&nodes);
    assert_true(&crowd, &log);
    let copy: Vec<String> = crowd.hosts[0].log().into_iter().map(|(_, body)| body).collect();
    assert_eq!(copy, log);
}
