//! Figures for docs/performance.md. Run them on a build that is optimised, with its examples:
//! `cargo build --release --features test-overrides --examples` and
//! `cargo test --release --features test-overrides --test fleet -- --ignored --nocapture --test-threads 1 figures`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::NoTls;

use crate::copies::{Host, PASSWORD, Team, share};
use crate::nodes::Nodes;
use crate::tools::run;

const SECONDS: u64 = 10;
/// Enough that none of them reaches a quota.
const PEOPLE: usize = 200;

/// A program of `benches/`.
fn example(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_access")).parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    Command::new(path)
}

fn percent(times: &mut [Duration], part: usize) -> Duration {
    times.sort();
    times.get(times.len() * part / 100).copied().unwrap_or_default()
}

/// Commands of one host after the other, until the time is over.
fn ask(host: &Host, next: &AtomicUsize) -> Vec<Duration> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (login, what) = (format!("bob{}", number % PEOPLE), format!("connection:account{}", number / PEOPLE));
        let at = Instant::now();
        let ran = host.run(&login, &["request", &what, "--reason", "figures"]);
        // Busy: the others had their turns for longer than a host waits.
        assert!([Some(0), Some(75)].contains(&ran.status.code()), "{ran:?}");
        if ran.status.success() {
            times.push(at.elapsed());
        }
    }
    times
}

#[test]
#[ignore = "figures"]
fn figures_of_appends() {
    let nodes = Nodes::start();
    let folder = tempfile::tempdir().unwrap();
    let mut admin = nodes.config(&nodes.leader().unwrap(), "postgres").connect(NoTls).unwrap();
    admin.batch_execute("CREATE DATABASE acme TEMPLATE template0").unwrap();
    let names: Vec<String> = (1..=32).map(|number| format!("h{number}")).collect();
    for name in &names {
        admin.batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", nodes.password())).unwrap();
    }
    let servers: Vec<String> = nodes.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let server = format!("{}/acme", servers.join(","));
    let hosts = share(&folder, &server, nodes.password(), &names, PEOPLE);
    let next = Arc::new(AtomicUsize::new(0));
    for writers in [1, 8, 32] {
        let running: Vec<_> = hosts[..writers]
            .iter()
            .cloned()
            .map(|host| {
                let next = Arc::clone(&next);
                std::thread::spawn(move || ask(&host, &next))
            })
            .collect();
        let mut times: Vec<Duration> = running.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        let rate = times.len() as u64 / SECONDS;
        println!(
            "commands, {writers} hosts: {rate}/s, p50 {:?}, p99 {:?}",
            percent(&mut times, 50),
            percent(&mut times, 99)
        );
    }
    let secret = folder.path().join("h1/password");
    for writers in ["1", "8", "32"] {
        let mut append = example("append");
        append.arg(format!("postgresql://h1@{server}")).arg(&secret).args([writers, &SECONDS.to_string()]);
        print!("engine alone, {}", run(&mut append));
    }
}

/// `ACCESS_TEST_PAST`: how many requests that are over the log has; each is three entries.
#[test]
#[ignore = "figures"]
fn figures_of_joining() {
    let past = std::env::var("ACCESS_TEST_PAST").unwrap_or_else(|_| "340000".to_owned());
    let team = Team::start(2);
    let filled: PathBuf = team.hosts[0].db();
    std::fs::remove_file(&filled).unwrap();
    run(example("fill").args(["create", filled.to_str().unwrap(), "bob0", &past, "0", "100"]));
    team.admin("postgres").batch_execute("CREATE DATABASE big TEMPLATE template0").unwrap();
    for host in &team.hosts {
        host.configure(&team.server("big"), PASSWORD);
    }
    let url = format!("postgresql://postgres@{}", team.server("big"));
    let secret = filled.with_file_name("password");
    let owner = [url.as_str(), "--allow-plain", "--password-file", secret.to_str().unwrap()];
    let log = |args: &[&str]| team.hosts[0].ok("bob0", &[&["log"], args, &owner].concat());
    log(&["init"]);
    for host in &team.hosts {
        log(&["allow", &host.name, "decide"]);
    }
    let timed = |what: &str, work: &dyn Fn() -> String| {
        let begun = Instant::now();
        let said = work();
        println!("{what}: {:?}: {}", begun.elapsed(), said.trim());
    };
    timed("move", &|| log(&["move"]));
    std::fs::remove_file(team.hosts[1].db()).unwrap();
    timed("join", &|| team.hosts[1].ok("bob0", &["log", "join"]));
}
