//! What rules mean, as `rules.spec` says it: each case is carried out by the real program.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::harness::{Ran, World};

const SPEC: &str = include_str!("rules.spec");

const TEAM: &str = r#"
[team]
name = "acme"
[members.olivia]
role = "owner"
[members.alice]
role = "admin" # alice
[members.adam]
role = "admin"
[members.erin]
role = "admin"
[members.bob]
role = "member"
[members.carol]
role = "member"
[members.dave]
role = "member"
[members.mia]
role = "member"
[members.vic]
role = "viewer"
[groups.dba]
members = ["dave", "erin"]
[groups.finance]
members = ["mia"]
[groups.backend]
members = ["bob"]
[connections.prod-aws]
environment = "production"
[connections.prod-k8s]
environment = "production"
[connections.dev-1]
environment = "non-production"
[connections.dev-2]
environment = "non-production"
[connections.dev-3]
environment = "non-production"
[targets.orders-db]
connections = ["prod-aws"]
[targets.web]
connections = ["dev-1"]
[targets.both]
connections = ["prod-aws", "dev-3"]
[features.cost]
role = "admin"
[scopes.prod]
connections = ["prod-aws"]
[scopes.dev]
environments = ["non-production"]
[scopes.mixed]
connections = ["prod-aws", "dev-1"]
[scopes.stores]
targets = ["orders-db"]

# rules
"#;

struct Case<'s> {
    name: &'s str,
    rules: Vec<&'s str>,
    /// With the number of the line in the file.
    steps: Vec<(usize, &'s str)>,
}

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let lines = SPEC.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(['#', '='])) {
        if let Some(name) = line.strip_prefix("case ") {
            cases.push(Case { name, rules: Vec::new(), steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().expect("a file begins with a case");
        match line.strip_prefix("rule ") {
            Some(rule) => case.rules.push(rule),
            None => case.steps.push((number, line)),
        }
    }
    cases
}

/// The team file of a case, with its rules before the tables, as TOML wants it.
fn file(rules: &[&str]) -> String {
    let named =
        |rule: &&str| if rule.contains("name = ") { (*rule).to_owned() } else { format!("name = \"it\", {rule}") };
    let rules: Vec<String> = rules.iter().map(|rule| format!("{{ {} }}", named(rule))).collect();
    if rules.is_empty() { TEAM.to_owned() } else { format!("rules = [{}]\n{TEAM}", rules.join(", ")) }
}

struct Play {
    world: World,
    file: String,
}

impl Play {
    fn begin(rules: &[&str]) -> Play {
        let file = file(rules);
        Play { world: World::of("olivia", &file), file }
    }

    /// Does one line. What is wrong is told.
    fn step(&mut self, line: &str) -> Result<(), String> {
        if let Some(length) = line.strip_prefix("wait ") {
            self.world.pass(length);
            return Ok(());
        }
        if line == "cron" {
            let ran = self.world.run("root", &["expire"]);
            return (ran.code == 0).then_some(()).ok_or(ran.err);
        }
        if let Some(change) = line.strip_prefix("team: ") {
            return self.change_team(change);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [who, "may", what] => self.holds(who, what, true),
            [who, "may", "not", what] => self.holds(who, what, false),
            [who, "is", "told", event] => self.told(who, event, true),
            [who, "is", "not", "told", event] => self.told(who, event, false),
            [id, "is", state] => same("the state", &self.show(id)["state"], &Value::from(*state)),
            [id, "has", ..] => self.has(id, line),
            _ => {
                let (done, becomes) = line.split_once(" -> ").ok_or("nothing that can be done")?;
                self.act(done, becomes)
            }
        }
    }

    fn change_team(&mut self, change: &str) -> Result<(), String> {
        let (from, to) = change.split_once(" =>").ok_or("a change is written A => B")?;
        let (from, to) = (from.replace("\\n", "\n"), to.trim_start().replace("\\n", "\n"));
        if self.file.matches(&from).count() != 1 {
            return Err(format!("{from:?} is not in the team file once"));
        }
        self.file = self.file.replace(&from, &to);
        let ran = self.world.apply("olivia", &self.file);
        (ran.code == 0).then_some(()).ok_or(ran.err)
    }

    fn show(&self, id: &str) -> Value {
        self.world.json("olivia", &["show", id])
    }

    fn holds(&self, who: &str, what: &str, expected: bool) -> Result<(), String> {
        same("whether it may be used", &self.world.may(who, what), &expected)
    }

    fn told(&self, who: &str, event: &str, expected: bool) -> Result<(), String> {
        same("whether that was told", &self.world.unread(who).contains(&event.to_owned()), &expected)
    }

    /// `1 has 1 of 2, waiting on adam, erin`.
    fn has(&self, id: &str, line: &str) -> Result<(), String> {
        let approvals = &self.show(id)["approvals"];
        let waiting: Vec<&str> =
            approvals["waiting_on"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let says =
            format!("{id} has {} of {}, waiting on {}", approvals["have"], approvals["need"], waiting.join(", "));
        same("what it has", &says.trim_end(), &line)
    }

    fn act(&self, done: &str, becomes: &str) -> Result<(), String> {
        let words: Vec<&str> = done.split_whitespace().collect();
        let (who, verb, rest) = match words.as_slice() {
            [who, verb, rest @ ..] => (*who, *verb, rest.to_vec()),
            _ => return Err("who does what?".to_owned()),
        };
        let mut args: Vec<&str> = match verb {
            "asks" => vec!["request"],
            "approves" => vec!["approve"],
            "denies" => vec!["deny"],
            "withdraws" => vec!["withdraw"],
            "revokes" => vec!["revoke"],
            "extends" => vec!["extend"],
            "reviews" => vec!["review", "--note", "looked at it"],
            _ => return Err(format!("{verb} is nothing that anybody does")),
        };
        for (index, word) in rest.iter().enumerate() {
            // The second word of `asks connection:prod-aws 4h`.
            if verb == "asks" && index == 1 && !word.starts_with("--") {
                args.push("--duration");
            }
            args.push(word);
        }
        if matches!(verb, "asks" | "extends") && !rest.contains(&"--reason") {
            args.extend(["--reason", "testing"]);
        }
        args.push("--json");
        let ran = self.world.run(who, &args);
        became(&ran, becomes)
    }
}

fn became(ran: &Ran, expected: &str) -> Result<(), String> {
    let (kind, words) = expected.split_once(": ").unwrap_or((expected, ""));
    let code = match kind {
        "usage" => 2,
        "refused" => 3,
        "unknown" => 4,
        "conflict" => 5,
        state => {
            if ran.code != 0 {
                return Err(format!("it failed: {}", ran.err));
            }
            return same("the state", &ran.json()["state"], &Value::from(state));
        }
    };
    same(&format!("the exit code ({}{})", ran.out, ran.err), &ran.code, &code)?;
    if ran.err.contains(words) { Ok(()) } else { Err(format!("it says {}", ran.err)) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what} is {actual:?}")) }
}

fn run(case: &Case<'_>) -> Result<(), String> {
    let mut play = Play::begin(&case.rules);
    for (number, line) in &case.steps {
        play.step(line).map_err(|why| format!("rules.spec:{number}: {line}\n    case {}\n    {why}", case.name))?;
    }
    let verified = play.world.run("olivia", &["audit", "verify"]);
    if verified.code == 0 { Ok(()) } else { Err(format!("case {}\n    {}", case.name, verified.out)) }
}

#[test]
fn rules_mean_what_their_specification_says() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases are read", cases.len());
    let next = AtomicUsize::new(0);
    let faults: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A helper that panics is a fault of this case too.
                    let done = std::panic::catch_unwind(|| run(case));
                    if let Err(fault) = done.unwrap_or_else(|_| Err(format!("case {} panicked", case.name))) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
