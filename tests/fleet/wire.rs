//! A line between a host and the log that is cut, hangs or is slow at each message: what the command said is true, and what it
//! could not say is found out.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::copies::{Host, PASSWORD, Team, assert_equal, said};
use crate::line::{Line, Plan, Side, Trouble};
use crate::shared_log::{Body, Calls as _, Place};
use crate::tools::wait_until;

struct World {
    team: Team,
    line: Arc<Line>,
    next: usize,
}

impl World {
    fn start() -> World {
        let team = Team::start(2);
        let line = Line::to(team.cluster.port().parse().unwrap());
        team.hosts[0].configure(&format!("127.0.0.1:{}/acme", line.port), PASSWORD);
        World { team, line, next: 0 }
    }

    fn host(&self) -> &Host {
        &self.team.hosts[0]
    }

    /// A member asks for what nobody asked for yet, on a line with this trouble.
    #[track_caller]
    fn ask(&mut self, plan: Option<Plan>) -> Option<i32> {
        let (text, login) = (format!("say-{}-", self.next), format!("bob{}", self.next / 20 % 8));
        let what = format!("connection:account{}", self.next % 20);
        self.next += 1;
        if let Some(plan) = plan {
            self.line.plan(plan);
        }
        let begun = Instant::now();
        let mut command = self.host().command(&login, &["request", &what, "--reason", &text]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some((_, _, Trouble::Killed)) = plan {
            wait_until("the message", || self.line.reached.load(Ordering::SeqCst));
            child.kill().unwrap();
        }
        let ran = child.wait_with_output().unwrap();
        if let Some((_, _, Trouble::Killed)) = plan {
            self.line.clear();
        }
        let took = begun.elapsed();
        // It is known at the next contact at the latest, and nobody else is needed for that.
        self.line.plan.lock().unwrap().take();
        for args in [&["follow", "--once"][..], &["pending"]] {
            let begun = Instant::now();
            let settled = self.host().run("olivia", args);
            let after = (said(&ran), took, said(&settled), begun.elapsed());
            assert!(settled.status.success(), "{plan:?}: {args:?} after {after:?}");
        }
        self.line.clear();
        let times = self.team.count(&text);
        let line = format!("{plan:?}: {} after {took:?}, recorded {times} times", said(&ran));
        assert!(took < Duration::from_secs(45), "{line}");
        match ran.status.code() {
            Some(0) => assert_eq!(times, 1, "{line}"),
            Some(69 | 75) => assert_eq!(times, 0, "{line}"),
            Some(74) | None => assert!(times <= 1, "{line}"),
            Some(_) => panic!("{line}"),
        }
        let here = self.host().log().iter().filter(|(_, body)| body.contains(&text)).count();
        assert_eq!(i64::try_from(here).unwrap(), times, "{line}");
        ran.status.code()
    }

    /// Each place where a message of this side could be the last.
    fn places(&mut self, side: Side) -> usize {
        assert_eq!(self.ask(None), Some(0));
        // The last of the connection that asked, not of those that followed: a follow sends fewer.
        self.line.sent[side as usize].load(Ordering::SeqCst)
    }

    /// Trouble at each place, or at one in so many in the short form.
    fn everywhere(&mut self, trouble: Trouble, step: usize) {
        let step = if std::env::var_os("ACCESS_TEST_LONG").is_some() { 1 } else { step };
        let mut outcomes = std::collections::BTreeMap::new();
        for side in [Side::Host, Side::Server] {
            // A request has a few messages more than a contact.
            for place in (0..self.places(side) + 8).step_by(step) {
                let outcome = self.ask(Some((side, place, trouble)));
                *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1;
            }
        }
        println!("{trouble:?}: {outcomes:?}");
        assert!(outcomes.len() > 1, "{outcomes:?}");
        assert_equal(&self.team.hosts);
    }
}

#[test]
fn a_line_that_is_cut_at_any_message() {
    World::start().everywhere(Trouble::Cut, 2);
}

#[test]
fn a_command_that_is_killed_at_any_message() {
    let mut world = World::start();
    for side in [Side::Host, Side::Server] {
        // The last messages are those of the append and its commit.
        for place in (0..world.places(side)).step_by(2) {
            assert_eq!(world.ask(Some((side, place, Trouble::Killed))), None);
        }
    }
    assert_equal(&world.team.hosts);
}

#[test]
fn a_line_that_hangs_at_any_message() {
    World::start().everywhere(Trouble::Hangs, 11);
}

#[test]
fn a_line_that_drips() {
    let mut world = World::start();
    assert_eq!(world.ask(Some((Side::Host, usize::MAX, Trouble::Drips(Duration::from_micros(100))))), Some(0));
    let begun = Instant::now();
    assert_eq!(world.ask(Some((Side::Host, usize::MAX, Trouble::Drips(Duration::from_millis(20))))), Some(69));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// Appends so many entries of about this size that the host on the line does not have.
fn append(world: &World, count: i64, size: usize) {
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(world.team.cluster.port().parse().unwrap());
    let mut h2 = config.user("h2").password(PASSWORD).dbname("acme").connect(postgres::NoTls).unwrap();
    let sql = "SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1";
    let row = world.team.admin("acme").query_one(sql, &[]).unwrap();
    let at = Place(row.get(0), row.get(1));
    let detail = format!(r#"{{"command":"approve","why":"{}"}}"#, "x".repeat(size));
    let body = |seq| Body::new("h2", seq).action("attempt.refused", &detail).text();
    let bodies: Vec<String> = (at.0 + 1..=at.0 + count).map(body).collect();
    assert_eq!(h2.append(&at, &bodies).unwrap().0, "ok");
}

/// A page of what this host lacks takes longer than an answer may.
#[test]
fn a_line_that_is_slow_catches_up() {
    let world = World::start();
    // 500 entries are 2 MB.
    append(&world, 600, 4000);
    world.line.pace.store(300_000, Ordering::SeqCst);
    world.host().ok("olivia", &["follow", "--once"]);
    world.line.pace.store(0, Ordering::SeqCst);
    assert_equal(&world.team.hosts);
}

/// The pages that are read while others are applied are lost with their connection.
#[test]
fn a_copy_that_is_far_behind_catches_up_on_a_line_that_is_cut() {
    let world = World::start();
    // In the first page, in the second, and in the third, which is read ahead of its contact.
    for after in [300, 1500, 3500] {
        append(&world, 6000, 20);
        world.line.plan((Side::Server, after, Trouble::Cut));
        let ran = world.host().run("olivia", &["follow", "--once"]);
        assert!([Some(0), Some(69)].contains(&ran.status.code()), "{}", said(&ran));
        assert!(world.line.reached.load(Ordering::SeqCst));
        world.line.clear();
    }
    assert_equal(&world.team.hosts);
}
