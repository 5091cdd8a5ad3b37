//! What rules mean, as `rules.spec` says it: each case is carried out by the real program.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::harness::{Ran, World};
use crate::tmux::Terminal;

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
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILOGgAXUmcqZPlb7t8C0uPRWLCWHWLRfnRxcwSqkBO7j"]
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

    /// Does one line. Returns what is wrong.
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
            [who, "is", "notified", "of", event] => self.notified(who, event, true),
            [who, "is", "not", "notified", "of", event] => self.notified(who, event, false),
            [who, "sees", id] => self.sees(who, id, true),
            [who, "does", "not", "see", id] => self.sees(who, id, false),
            [id, "is", "reviewed", "by", names @ ..] => {
                let found = self.show(id)["reviewers"].clone();
                let names = names.iter().map(|name| Value::from(name.trim_end_matches(',')));
                same("who reviews it", &found, &Value::Array(names.collect()))
            }
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

    /// What `show` and `list` say, which have to agree.
    fn sees(&self, who: &str, id: &str, expected: bool) -> Result<(), String> {
        same("the exit code of show", &self.world.run(who, &["show", id]).code, &if expected { 0 } else { 4 })?;
        let list = self.world.json(who, &["list", "--all"]);
        let listed = list.as_array().unwrap().iter().any(|request| request["id"].as_u64() == id.parse().ok());
        same("whether list has it", &listed, &expected)
    }

    fn notified(&self, who: &str, event: &str, expected: bool) -> Result<(), String> {
        same("whether they were notified of that", &self.world.unread(who).contains(&event.to_owned()), &expected)
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
            "edits" => vec!["edit"],
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
        // The approver has looked at what it says now.
        let shown =
            rest.first().filter(|_| verb == "approves").map(|id| self.world.run("olivia", &["show", id, "--json"]));
        let seen = shown.filter(|shown| shown.code == 0).map(|shown| shown.json()["last_seq"].to_string());
        args.extend(seen.iter().flat_map(|seq| ["--seen", seq.as_str()]));
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
                    // A check that panics is a fault of this case too.
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

/// A world with these rules, written as in `rules.spec`.
fn world(rules: &[&str]) -> World {
    World::of("olivia", &file(rules))
}

#[test]
fn every_mistake_in_the_rules_is_told_at_once_with_its_line() {
    let world = world(&[]);
    let rules = r#"
[[rules]]
name = "a"
match = { resources = ["connection:pord-aws", "host:x", "target:*"], requesters = ["member:bbo", "group:dbas"] }
approvers = ["role:boss"]
approvals = 0
[[rules]]
name = "a"
max_duration = "-1h"
lapse_after = "99999999999d"
reason_min = -1
[[rules]]
name = "b"
ticket = "("
[[rules]]
name = "c"
approvers = ["group:finance"]
approvals = 2
[[rules]]
name = "d"
[[rules]]
approvers = ["role:admin"]
auto_approve = true
colour = "red"
[[rules]]
name = "e"
match = { resources = [], permanent = true, longer_than = "1d" }
emergency = true
deny = "no"
"#;
    let ran = world.apply("olivia", &format!("{TEAM}{rules}")).exits(65);
    let first = 2 + TEAM.lines().count();
    let expected = [
        (3, "\"pord-aws\", which is not in the file; did you mean \"prod-aws\"?"),
        (3, "a kind is one of"),
        (3, "member \"bbo\", which is not in the file"),
        (3, "\"dbas\", which is not in the file; did you mean \"dba\"?"),
        (4, "a role is one of"),
        (5, "a whole number from 1 to 4096"),
        (6, "is there already"),
        (8, "max_duration \"-1h\""),
        (9, "at most ten years"),
        (10, "a whole number from 1 to 4096"),
        (13, "it is not a regular expression"),
        (17, "takes 2 approvals, and has 1 approver"),
        (18, "says nothing"),
        (20, "has no name"),
        (23, "unknown key \"colour\""),
        (20, "a demand for approvers always wins"),
        (26, "resources is empty"),
        (26, "say one of the two"),
        (24, "auto_approve and deny belong in a rule of their own"),
    ];
    for (line, says) in expected {
        let line = format!("line {}: ", first + line - 1);
        let told = ran.err.lines().any(|told| told.contains(&line) && told.contains(says));
        assert!(told, "{line}{says}\n{}", ran.err);
    }
    assert!(world.run("olivia", &["team", "show"]).ok().out.lines().all(|line| !line.contains("rules")));
}

#[test]
fn a_pattern_made_to_be_slow_is_not() {
    let world = world(&["ticket = \"(((a*)*)*)*b\""]);
    let ticket = "a".repeat(128);
    let args = ["request", "connection:dev-1", "--reason", "x", "--ticket", &ticket];
    world.run("bob", &args).fails(3, "it needs a ticket like");
}

#[test]
fn rules_read_back_as_they_were_and_in_their_order() {
    let rules = [
        "name = \"z\", match = { resources = [\"connection:prod-*\"], environments = [\"production\"], requesters = [\"role:member\"], longer_than = \"1d\" }, approvers = [\"role:admin\", \"group:dba\"], approvals = 2, max_duration = \"8h\", allow_permanent = false, ticket = \"OPS-[0-9]+\", reason_min = 20, lapse_after = \"2d\", remind_after = \"4h\", escalate_to = [\"member:mia\"]",
        "name = \"a \\\"quoted\\\" one\", match = { permanent = false }, auto_approve = true",
        "name = \"m\", deny = \"no\"",
        "name = \"b\", emergency = true",
    ];
    let world = world(&rules);
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    let names: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("name = ")).skip(1).collect();
    assert_eq!(names, ["\"z\"", "'a \"quoted\" one'", "\"m\"", "\"b\""]);
    assert!(world.apply("olivia", &shown).ok().out.contains("Nothing changes"));
    // Another order is a change, and one that is recorded.
    let turned: Vec<&str> = rules.iter().rev().copied().collect();
    world.apply("olivia", &file(&turned)).ok().says("the order of the rules");
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    let names: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("name = ")).skip(1).collect();
    assert_eq!(names, ["\"b\"", "\"m\"", "'a \"quoted\" one'", "\"z\""]);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_team_file_whose_rules_amount_to_what_may_not_be_meant_is_warned_about() {
    let warned = |rules: &[&str], says: &str| {
        let world = World::of("olivia", TEAM);
        let ran = world.apply("olivia", &file(rules)).ok();
        assert!(ran.err.contains(says), "{says}\n{}", ran.err);
    };
    warned(&["approvers = [\"group:dba\"], approvals = 2"], "when dave or erin asks only 1 can be given");
    warned(
        &["name = \"two\", match = { environments = [\"production\"] }, approvers = [\"role:admin\"], approvals = 2"],
        "role:admin takes 1 approval, and rule \"two\" demands 2",
    );
    let quiet = |rules: &[&str], never: &str| {
        let world = World::of("olivia", TEAM);
        let ran = world.apply("olivia", &file(rules)).ok();
        assert!(!ran.err.contains(never), "{never}\n{}", ran.err);
    };
    // Only a rule that names the role approves it by itself, and only where none demands approvers for it.
    let guard = "name = \"guard\", match = { resources = [\"target:*\"] }, approvers = [\"role:admin\"]";
    let free =
        "name = \"free\", auto_approve = true, match = { resources = [\"role:*\"], requesters = [\"group:backend\"] }";
    warned(&[free, guard], "role:admin takes 0 approvals (rule \"free\"), and rule \"guard\" demands 1");
    quiet(&["name = \"free\", auto_approve = true", guard], "role:admin takes");
    quiet(&[free, "approvers = [\"role:admin\"]"], "role:admin takes");
    // A demand that replaces no default leaves it; one on some requesters is not always there.
    let two =
        "name = \"two\", match = { environments = [\"production\"] }, approvers = [\"role:admin\"], approvals = 2";
    warned(
        &[
            two,
            "match = { resources = [\"role:admin\"], requesters = [\"group:dba\"] }, approvers = [\"role:admin\"], approvals = 2",
        ],
        "role:admin takes 1 approval, and",
    );
    quiet(
        &[two, "match = { resources = [\"role:admin\"] }, approvers = [\"role:admin\"], approvals = 2"],
        "role:admin takes",
    );
    // What nobody is given is no way around anything.
    quiet(&[two, "match = { resources = [\"role:*\"] }, deny = \"never\""], "role:admin takes");
    // Emergencies take no approvals.
    let glass = "name = \"glass\", emergency = true, match = { resources = [\"role:admin\"] }, max_duration = \"1h\"";
    warned(&[two, glass], "role:admin takes 0 approvals in an emergency (rule \"glass\"), and rule \"two\" demands 2");
    let unnamed = "name = \"glass\", emergency = true, match = { requesters = [\"group:dba\"] }";
    warned(
        &[two, unnamed],
        "rule \"glass\" gives connection:prod-aws in an emergency without an approval, and rule \"two\" demands 2 approvals for it",
    );
    warned(&[two, unnamed], "role:admin takes 1 approval, and");
    quiet(&[guard, unnamed], "emergency");
    quiet(&[two, "emergency = true, match = { environments = [\"non-production\"] }"], "in an emergency");
    quiet(&[two, unnamed, "match = { environments = [\"production\"] }, deny = \"no\""], "in an emergency");
    // A rule that names a scope gives all that the scope covers; nothing, while the scope covers nothing.
    let scope = "name = \"glass\", emergency = true, match = { resources = [\"scope:mixed\"] }";
    warned(&[two, scope], "in an emergency without an approval, by scope:mixed, and rule \"two\" demands 2 approvals");
    quiet(&[guard, scope], "in an emergency");
    quiet(&[two, scope, "match = { environments = [\"production\"] }, deny = \"no\""], "in an emergency");
    let stores = "name = \"glass\", emergency = true, match = { resources = [\"scope:stores\"] }";
    quiet(&[stores], "allows no emergency");
    let world = World::of("olivia", TEAM);
    let emptied = file(&[stores]).replace("targets = [\"orders-db\"]", "targets = []");
    let ran = world.apply("olivia", &emptied).ok();
    let says = "rule \"glass\" allows no emergency: it names only scopes, and none of them covers anything";
    assert!(ran.err.contains(says), "{}", ran.err);
    // A part of what is guarded is approved at once.
    let whole = "name = \"whole\", match = { resources = [\"connection:dev-1\"] }, approvers = [\"group:dba\"]";
    let part = "name = \"part\", match = { resources = [\"target:web\"] }, auto_approve = true";
    warned(
        &[whole, part],
        "rule \"part\" approves target:web at once, which is a part of connection:dev-1, and rule \"whole\" demands an approval for it",
    );
    quiet(&[whole, part, "match = { resources = [\"target:*\"] }, approvers = [\"role:admin\"]"], "at once");
    let scope = "name = \"whole\", match = { resources = [\"scope:mixed\"] }, approvers = [\"group:dba\"]";
    warned(&[scope, part], "approves target:web at once, which is a part of scope:mixed");
    // Emergency rules demand nothing, and what is denied is never asked for.
    quiet(&["emergency = true, approvers = [\"group:dba\"], approvals = 2"], "can be given");
    quiet(&["approvers = [\"group:dba\"], approvals = 2", "name = \"no\", deny = \"no\""], "can be given");
    // For a role only base admins count, and they have it.
    let members = "match = { resources = [\"role:*\"] }, approvers = [\"member:mia\", \"role:member\"], approvals = 5";
    warned(&[members], "and when mia asks for a role only 4 can be given");
    quiet(&["match = { resources = [\"role:*\"] }, approvers = [\"role:admin\"], approvals = 4"], "can be given");
    // Who can meet a demand.
    let vic = "name = \"v\", match = { resources = [\"connection:prod-*\"] }, approvers = [\"member:vic\", \"member:mia\"], approvals = 2";
    warned(
        &[vic],
        "rule \"v\": nobody who can meet its demand for connection:prod-aws (production) is an admin: mia (member), vic (viewer)",
    );
    quiet(&[vic, "approvers = [\"role:admin\"]"], "is an admin");
    quiet(&["approvers = [\"group:dba\"]"], "is an admin");
    quiet(&["match = { resources = [\"connection:dev-*\"] }, approvers = [\"member:vic\"]"], "is an admin");
    warned(
        &["name = \"v\", match = { resources = [\"role:*\"] }, approvers = [\"member:vic\"]"],
        "its demand for role:member is an admin: vic (viewer)",
    );
    // Approval by a rule that never comes.
    let scope = "name = \"s\", auto_approve = true, match = { resources = [\"scope:dev\", \"scope:prod\"] }";
    warned(&[scope], "rule \"s\" approves nothing: its resources name only scopes");
    warned(
        &["name = \"s\", auto_approve = true, match = { resources = [\"target:no-*\"] }"],
        "approves nothing: it names nothing",
    );
    warned(
        &["name = \"s\", auto_approve = true, match = { resources = [\"target:web\"] }", "approvers = [\"group:dba\"]"],
        "approves nothing: other rules",
    );
    quiet(&["auto_approve = true, match = { environments = [\"non-production\"] }"], "approves nothing");
    warned(&["match = { environments = [\"production\"] }, max_duration = \"8h\""], "role:admin may last permanently");
    let signed = "name = \"signed\", match = { resources = [\"target:*\"] }, signed = true";
    warned(&[signed], "role:admin takes no signed approval, and rule \"signed\" demands one");
    quiet(&[signed, "match = { resources = [\"role:admin\"] }, signed = true"], "no signed approval");
    quiet(&["match = { resources = [\"role:*\"] }, signed = true"], "no signed approval");
    // As much is asked for the role.
    let world = World::of("olivia", TEAM);
    let ran =
        world.apply("olivia", &file(&["approvers = [\"role:admin\"], approvals = 2, max_duration = \"8h\""])).ok();
    assert!(!ran.err.contains("role:admin takes") && !ran.err.contains("may last"), "{}", ran.err);
    // And when a request meets it.
    let world = self::world(&["approvers = [\"group:finance\"]"]);
    let ran = world.run("mia", &["request", "connection:dev-1", "--reason", "x"]).ok();
    assert!(ran.err.contains("nobody can grant this"), "{}", ran.err);
}

/// What the rules of a new file would have done, by the requests' numbers.
fn otherwise(world: &World, rules: &[&str]) -> Vec<(String, String)> {
    std::fs::write(world.folder().join("new.toml"), file(rules)).unwrap();
    let plan = world.json("olivia", &["team", "apply", "new.toml", "--dry-run", "--against", "90d"]);
    let past = plan["against"]["otherwise"].as_array().unwrap();
    past.iter().map(|past| (past["request"].to_string(), past["would"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn past_requests_are_judged_by_what_was_granted() {
    let world = world(&["name = \"glass\", emergency = true"]);
    let modified = world.grant("bob", "connection:prod-aws", "alice", &["--duration", "2h"]);
    let other = world.grant("carol", "connection:dev-1", "alice", &["--resource", "target:web"]);
    let emergency = world.request("dave", "connection:prod-k8s", &["--emergency", "--duration", "1h"]);
    // Until noon of the next day, which is two hours when it is approved.
    let until = world.request("mia", "connection:dev-2", &["--until", "2026-11-25T12:00:00Z"]);
    world.pass("25h");
    world.run("erin", &["approve", &until]).ok();
    let glass = "name = \"glass\", emergency = true";
    let short = "name = \"short\", match = { resources = [\"connection:*\"] }, max_duration = \"2h\"";
    assert_eq!(otherwise(&world, &[glass, short]), []);
    // An emergency needs no approvals, and a rule that allows it.
    let two = "name = \"two\", approvers = [\"role:admin\"], approvals = 2";
    let waits = |of: &str| format!("still waiting: 1 more approval by rule \"two\" (of {of})");
    let waiting = [(modified.clone(), waits("adam, erin, olivia")), (other.clone(), waits("adam, erin, olivia"))];
    let mut expected = waiting.to_vec();
    expected.push((until.clone(), waits("adam, alice, olivia")));
    assert_eq!(otherwise(&world, &[glass, two]), expected);
    let refused = "refused: no rule allows emergency access to connection:prod-k8s".to_owned();
    assert_eq!(otherwise(&world, &[short]), [(emergency, refused)]);
    // Nobody's approval was needed for what was asked, though an approver gave less.
    let guard = "name = \"guard\", match = { resources = [\"connection:dev-1\"] }, approvers = [\"group:dba\"]";
    let free = "name = \"free\", match = { environments = [\"non-production\"] }, auto_approve = true";
    assert_eq!(otherwise(&world, &[glass, guard]), [], "the target's own demand is the default one");
    let at_once = |id: String| (id, "approved at once, by rule \"free\"".to_owned());
    assert_eq!(otherwise(&world, &[glass, guard, free]), [at_once(until.clone())]);
    assert_eq!(otherwise(&world, &[glass, free]), [at_once(other), at_once(until)]);
}

#[test]
fn past_lengths_count_together_as_they_did_then() {
    let world = world(&[]);
    let from = |hour: u32| format!("2026-11-25T{hour:02}:00:00Z");
    let asks =
        |who: &str, hour: u32| world.request(who, "connection:dev-1", &["--duration", "4h", "--start", &from(hour)]);
    // Filed first and approved second.
    let late = asks("bob", 9);
    let early = world.request("bob", "target:web", &["--duration", "4h", "--start", &from(13)]);
    world.run("alice", &["approve", &early]).ok();
    world.run("alice", &["approve", &late]).ok();
    // The first ends early, after the second was approved.
    let first = asks("vic", 9);
    let second = world.request("vic", "target:web", &["--duration", "4h", "--start", &from(13)]);
    world.run("alice", &["approve", &first]).ok();
    world.run("alice", &["approve", &second]).ok();
    world.set_clock(&from(10));
    world.run("vic", &["revoke", &first, "--yes"]).ok();
    let most = "name = \"most\", match = { resources = [\"target:web\"] }, max_duration = \"6h\"";
    let with = |id: &str, other: &str| {
        let says = "refused: the rule \"most\" says: at most 6h, and this would be 8h together with request";
        (id.to_owned(), format!("{says} {other}"))
    };
    assert_eq!(otherwise(&world, &[most]), [with(&late, &early), with(&second, &first)]);
    assert_eq!(otherwise(&world, &[&most.replace("6h", "8h")]), []);
}

#[test]
fn a_dry_run_and_show_tell_which_rules_match_and_why() {
    let world = world(&[
        "name = \"prod\", match = { environments = [\"production\"], requesters = [\"group:backend\"] }, approvers = [\"group:dba\"], approvals = 2, remind_after = \"4h\"",
        "name = \"long\", match = { longer_than = \"1h\" }, approvers = [\"group:finance\"], lapse_after = \"2d\"",
        "name = \"other\", match = { resources = [\"connection:dev-1\"] }, deny = \"no\"",
    ]);
    let args = ["request", "scope:mixed", "--reason", "x", "--duration", "4h"];
    let dry = [&args[..], &["--dry-run"]].concat();
    world.run("bob", &dry).fails(3, "no (rule \"other\")");
    let dry = ["request", "target:orders-db", "--reason", "x", "--duration", "4h", "--dry-run"];
    let seen = world.json("bob", &dry);
    let rules: Vec<(&str, &str)> = seen["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["rule"].as_str().unwrap(), rule["because"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rules,
        [
            ("prod", "bob is in group:backend; it is target:orders-db, in production"),
            ("long", "it is for longer than 1h")
        ]
    );
    assert_eq!(seen["approvals"]["need"], 3);
    assert_eq!(seen["lapses_at"], "2026-11-26T09:00:00Z");
    assert_eq!(seen["remind_at"], "2026-11-24T13:00:00Z");
    let told = world.run("bob", &dry).ok();
    for words in
        ["rule         \"prod\", because bob is in group:backend", "0 of 2, by rule \"prod\": waiting on dave, erin"]
    {
        assert!(told.out.contains(words), "{words}\n{}", told.out);
    }
    assert_eq!(world.actions(), ["team.initialized", "team.applied"]);

    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("mia", &["approve", &id]).ok();
    let shown = world.run("dave", &["show", &id]).ok();
    for words in
        ["1 of 1, by rule \"long\": done", "0 of 2, by rule \"prod\": waiting on dave, erin", "reminder ", "lapses "]
    {
        assert!(shown.out.contains(words), "{words}\n{}", shown.out);
    }
    let screen = Terminal::access(&world, "dave", &["show", &id]);
    let joined = screen.exits(0);
    let drawn = screen.drawn().join("\n");
    assert_eq!(drawn.trim_end(), joined, "the terminal breaks no line");
    let list = world.run("dave", &["list"]).ok();
    assert!(list.out.contains("pending, 1 of 3") && list.out.contains("dave +1"), "{}", list.out);
}

#[test]
fn past_requests_are_judged_by_the_rules_of_a_new_file() {
    let world = world(&[]);
    let approved = world.grant("bob", "connection:prod-aws", "alice", &["--duration", "4h"]);
    let long = world.grant("bob", "connection:prod-k8s", "alice", &["--duration", "2d"]);
    let denied = world.request("carol", "connection:dev-1", &[]);
    world.run("alice", &["deny", &denied]).ok();
    let same = world.grant("carol", "feature:cost", "alice", &[]);
    world.pass("1d");
    let path = world.folder().join("new.toml");
    let rules = [
        "name = \"two\", match = { environments = [\"production\"] }, approvers = [\"role:admin\"], approvals = 2, max_duration = \"1d\"",
        "name = \"free\", match = { environments = [\"non-production\"] }, auto_approve = true",
    ];
    std::fs::write(&path, file(&rules)).unwrap();
    let path = path.to_str().unwrap();
    let plan = world.json("olivia", &["team", "apply", path, "--dry-run", "--against", "90d"]);
    let against = &plan["against"];
    assert_eq!(against["requests"], 4);
    let otherwise: Vec<(String, &str)> = against["otherwise"]
        .as_array()
        .unwrap()
        .iter()
        .map(|past| (past["request"].to_string(), past["would"].as_str().unwrap()))
        .collect();
    let expected = [
        (approved, "still waiting: 1 more approval by rule \"two\" (of adam, erin, olivia)"),
        (long, "refused: the rule \"two\" says: at most 1d"),
        (denied, "approved at once, by rule \"free\""),
    ];
    assert_eq!(otherwise, expected.map(|(id, would)| (id, would)));
    assert!(!otherwise.iter().any(|(id, _)| *id == same));
    let told = world.run("olivia", &["team", "apply", path, "--dry-run", "--against", "1h"]).ok();
    assert!(told.out.contains("Of 0 requests since"), "{}", told.out);
    world.run("olivia", &["team", "apply", path, "--yes", "--against", "90d"]).exits(2);
    assert_eq!(world.state("1"), "expired");
    assert!(!world.run("olivia", &["team", "show"]).ok().out.contains("rules"), "a dry run changes nothing");
}

#[test]
fn the_end_of_an_emergency_that_was_reviewed_is_not_called_a_review() {
    let world = world(&["emergency = true, max_duration = \"1h\""]);
    for id in ["1", "2"] {
        let args = ["request", "target:orders-db", "--reason", "Orders are down", "--emergency"];
        world.run("bob", &args).ok();
        let review = || world.run("alice", &["review", id, "--note", "fine"]).ok();
        let revoke = || world.run("alice", &["revoke", id]).ok();
        let says = format!("Request {id} revoked: bob no longer has target:orders-db through it\n");
        if id == "1" {
            review().says("it is reviewed");
            assert_eq!(revoke().out, says);
        } else {
            assert_eq!(revoke().out, says);
            assert_eq!(review().out, "Request 2 reviewed: target:orders-db for 1h, revoked\n");
        }
    }
}

#[test]
fn an_emergency_hides_from_nobody_until_it_is_reviewed() {
    let world = world(&["emergency = true, max_duration = \"1h\""]);
    let args = ["request", "target:orders-db", "--reason", "Orders are down", "--emergency"];
    world.run("bob", &args).ok().says("it needs a review");
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    for who in ["bob", "carol", "vic", "alice", "olivia"] {
        let list = world.run(who, &["list"]).ok();
        assert!(list.out.contains("needs review"), "{who}: {}", list.out);
        assert!(list.err.contains("emergency access that needs a review: request 1"), "{who}: {}", list.err);
        assert_eq!(world.json(who, &["show", "1"])["review"], "owed", "{who}");
    }
    // No filter passes over it in silence.
    let filtered = world.run("carol", &["list", "--mine"]).ok();
    assert!(filtered.err.contains("needs a review"), "{}", filtered.err);
    let doctor = world.run("olivia", &["doctor"]).ok();
    assert!(doctor.out.contains("1 emergency needs a review: request 1"), "{}", doctor.out);
    let review = world.json("alice", &["review", "1", "--note", "as it should be"])["review"].clone();
    assert_eq!(review["by"], "alice");
    assert_eq!(review["note"], "as it should be");
    let list = world.run("carol", &["list"]).ok();
    assert!(!list.out.contains("needs review") && !list.err.contains("review"), "{}{}", list.out, list.err);
    world.run("carol", &["show", "1"]).exits(4);
    world.run("olivia", &["doctor"]).ok().says("no emergency needs a review");
}

#[test]
fn an_extension_is_linked_both_ways() {
    let world = world(&[]);
    let args = ["--ticket", "OPS-1", "--duration", "2h"];
    let first = world.request("bob", "connection:prod-aws", &args);
    world.run("alice", &["approve", &first]).ok();
    let next = world.json("bob", &["extend", &first, "--reason", "not done"]);
    crate::harness::shows(
        &next,
        &serde_json::json!({ "id": 2, "extends": 1, "duration": "2h", "start": "2026-11-24T11:00:00Z", "ticket": "OPS-1" }),
    );
    world.run("alice", &["show", "2"]).ok().says("extends      request 1");
    world.run("alice", &["show", &first]).ok().says("extended by  request 2");
    assert_eq!(world.json("alice", &["show", &first])["extended_by"], serde_json::json!([2]));
}

/// An approval is of exactly what the approver was shown.
#[test]
fn an_approval_of_terms_that_changed_meanwhile_is_none() {
    let world = world(&["approvers = [\"role:admin\"], approvals = 2"]);
    let id = world.request("bob", "connection:prod-aws", &["--duration", "1h"]);
    let terminal = crate::tmux::Terminal::access(&world, "erin", &["approve", &id]);
    terminal.shows("Approve as asked");
    world.run("alice", &["approve", &id, "--duration", "1w"]).ok();
    terminal.key("Up").key("Up").key("Enter");
    let screen = terminal.exits(5);
    assert!(screen.contains("has changed since it was shown"), "{screen}");
    let shown = world.json("olivia", &["show", &id]);
    assert_eq!((&shown["approvals"]["have"], &shown["state"]), (&Value::from(1), &Value::from("pending")));
}

#[test]
fn the_queue_is_walked_on_a_terminal() {
    let world =
        world(&["match = { resources = [\"connection:prod-aws\"] }, approvers = [\"role:admin\"], approvals = 2"]);
    world.request("bob", "connection:prod-aws", &["--duration", "4h"]);
    world.request("carol", "connection:prod-k8s", &[]);
    world.request("dave", "target:orders-db", &[]);
    world.request("mia", "feature:cost", &[]);
    world.request("vic", "role:member", &[]);
    let terminal = crate::tmux::Terminal::access(&world, "alice", &["approve"]);
    let choose = |request: &str, ups: usize| {
        terminal.shows(request);
        for _ in 0..ups {
            terminal.key("Up");
        }
        terminal.key("Enter");
    };
    choose("Request 1 (1 of 5)", 3);
    terminal.shows("has 2 of 3 approvals");
    choose("Request 2 (2 of 5)", 2);
    terminal.shows("Change what?");
    terminal.key("Enter").shows("? For how long?");
    terminal.key("C-u").text("4h").key("Enter").shows("❯ Approve connection:prod-k8s for 4h");
    terminal.key("Enter");
    choose("Request 3 (3 of 5)", 1);
    terminal.shows("? Why?");
    terminal.text("Use the replica").key("Enter");
    choose("Request 4 (4 of 5)", 0);
    terminal.shows("Request 5 (5 of 5)");
    terminal.key("Down").key("Enter");
    terminal.exits(0);
    let states: Vec<String> = ["1", "2", "3", "4", "5"].iter().map(|id| world.state(id)).collect();
    assert_eq!(states, ["pending", "active", "denied", "pending", "pending"]);
    let second = world.json("olivia", &["show", "2"]);
    assert_eq!(second["grant"]["duration"], "4h");
    assert_eq!(world.json("olivia", &["show", "3"])["decisions"][0]["note"], "Use the replica");
}

#[test]
fn nothing_waits_and_nobody_is_asked_in_a_pipe() {
    let world = world(&[]);
    world.run("alice", &["approve"]).fails(2, "ID is missing");
    world.run("alice", &["approve", "--json"]).exits(2);
    let terminal = crate::tmux::Terminal::access(&world, "alice", &["approve"]);
    assert!(terminal.exits(0).contains("No requests wait for you"));
}
