//! The work that a team file causes grows with its size and no faster; and only the owner can cause it.

use std::fmt::Write as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use access::domain::duration::Length;
use access::domain::event::{Draft, Event, Granted, Submission};
use access::domain::name::Name;
use access::domain::terms::{End, RequestDetails, Terms};
use access::error::Failure;
use access::store::{Context, Store};

use crate::harness::{Ran, World};

/// What compared everything with everything took minutes, in any build.
const LIMIT: Duration = Duration::from_secs(20);

const OWNER: &str = "[team]\nname = \"large\"\n[members.olivia]\nrole = \"owner\"\n";

fn world() -> World {
    let world = World::empty();
    world.run("olivia", &["init"]).ok();
    world
}

/// Applies a file, or looks at it, within the limit.
#[track_caller]
fn apply(world: &World, login: &str, team: &str, more: &[&str]) -> Ran {
    std::fs::write(world.folder().join("large.toml"), team).unwrap();
    let args = [&["team", "apply", "large.toml"], more].concat();
    let (out, err) = (world.folder().join("out"), world.folder().join("err"));
    let mut command = world.command(login, &args);
    let file = |path| Stdio::from(std::fs::File::create(path).unwrap());
    let mut child = command.stdout(file(&out)).stderr(file(&err)).spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{args:?} takes longer than {LIMIT:?}");
        }
        sleep(Duration::from_millis(20));
    };
    let read = |path| std::fs::read_to_string(path).unwrap();
    Ran { line: args.join(" "), code: status.code().unwrap(), out: read(&out), err: read(&err) }
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, n| {
        let _ = write!(all, "{}", each(n));
        all
    })
}

fn connections(count: usize) -> String {
    many(count, |n| format!("[connections.c{n}]\nenvironment = \"production\"\n"))
}

/// Is refused, and tells a hundred mistakes and how many more there are.
#[track_caller]
fn mistakes(team: &str, count: usize, first: &str) {
    let ran = apply(&world(), "olivia", team, &["--dry-run"]).exits(65);
    assert!(
        ran.err.starts_with(&format!("error: the team file has {count} mistakes; nothing was applied\n")),
        "{ran:?}"
    );
    assert_eq!(ran.err.lines().count(), 1 + 100 + 1, "{}", ran.err);
    assert!(ran.err.ends_with(&format!("\n  and {} more\n", count - 100)), "{}", ran.err);
    assert!(ran.err.contains(first), "{}", ran.err);
}

#[test]
fn many_mistakes_are_told_in_few_lines_and_few_are_guessed_at() {
    let members = many(20_000, |n| format!("[members.m{n}]\nrole = \"member\"\n"));
    let unknown = many(20_000, |n| format!("\"mm{n}\", "));
    let team = format!("{OWNER}{members}[groups.g]\nmembers = [{unknown}]\n");
    mistakes(&team, 20_000, "line 40006: group g names member \"mm0\", which is not in the file; did you mean \"m");
    let team = format!("{OWNER}{}", many(20_000, |n| format!("[members.k{n}]\nrole = \"member\"\nlogn = \"x\"\n")));
    mistakes(&team, 20_000, "unknown key \"logn\"; did you mean \"login\"?");
    // Three errors of syntax a line, but for the last.
    mistakes(&"=\n".repeat(20_000), 60_000 - 1, "line 1: not valid TOML");
}

#[test]
fn of_a_large_file_that_is_not_toml_the_first_error_is_told() {
    let ran = apply(&world(), "olivia", &format!("{OWNER}{}", "=\n".repeat(1 << 20)), &["--dry-run"]).exits(65);
    assert!(ran.err.contains("has a mistake") && ran.err.contains("line 5: not valid TOML"), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 2, "{ran:?}");
}

#[test]
fn a_file_has_at_most_so_many_items_and_rules() {
    let rules = |count| many(count, |n| format!("[[rules]]\nname = \"r{n}\"\napprovers = [\"role:owner\"]\n"));
    let team = format!("{OWNER}{}{}", connections(20_000), rules(20_000));
    let ran = apply(&world(), "olivia", &team, &["--dry-run"]).exits(65);
    assert!(ran.err.contains("line 1: the file has 20000 rules; it may have 10000"), "{ran:?}");
    let ran = apply(&world(), "olivia", &format!("{OWNER}{}", connections(100_000)), &["--dry-run"]).exits(65);
    assert!(ran.err.contains("line 1: the file has 100001 items"), "{ran:?}");
}

#[test]
fn many_rules_and_many_resources_are_applied_and_what_was_not_looked_at_is_said() {
    let rule = |n| {
        format!(
            "[[rules]]\nname = \"r{n}\"\napprovers = [\"role:owner\"]\nmatch = {{ resources = [\"connection:c*\"] }}\n"
        )
    };
    let team = format!("{OWNER}{}{}", connections(20_000), many(10_000, rule));
    let world = world();
    let ran = apply(&world, "olivia", &team, &["--yes"]).ok();
    assert!(ran.err.contains("too large to look for rules that nobody can meet"), "{}", ran.err);
    let order = "SELECT body ->> '$.names[0]', body ->> '$.names[9999]' FROM catalogue WHERE kind = 'rules'";
    assert_eq!(world.rows(order), ["r0|r9999"]);
    world.run("olivia", &["audit", "verify"]).ok();
    // And all of it goes again.
    apply(&world, "olivia", OWNER, &["--yes"]).ok();
    assert_eq!(world.rows("SELECT body FROM catalogue WHERE kind = 'rules'"), ["{\"names\":[]}"]);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn many_warnings_of_the_same_kind_are_counted() {
    let rules = many(200, |n| format!("[[rules]]\nname = \"r{n}\"\napprovers = [\"role:owner\"]\n"));
    let ran = apply(&world(), "olivia", &format!("{OWNER}{rules}"), &["--dry-run"]).ok();
    assert_eq!(ran.err.matches("takes 1 approval, and when olivia asks").count(), 50, "{}", ran.err);
    assert!(ran.err.contains("and 150 more warnings of this kind"), "{}", ran.err);
}

#[test]
fn who_may_not_apply_a_file_has_none_of_it_read() {
    let world = World::sample();
    for file in ["=\n".repeat(8 << 20), "[team".to_owned(), format!("{OWNER}{}", connections(100_000))] {
        let ran = apply(&world, "bob", &file, &["--yes"]).fails(3, "only the owner may apply a team file");
        assert_eq!(ran.err.lines().count(), 2, "{ran:?}");
    }
    assert_eq!(world.actions(), ["team.initialized", "attempt.refused", "attempt.refused", "attempt.refused"]);
}

/// So many grants of olivia's that have no end, each of another connection, as the program records them.
fn grants(world: &World, count: usize) {
    let store = Store::open(&world.db()).unwrap();
    let olivia: Name = "olivia".parse().unwrap();
    store
        .write(|write| -> Result<(), Failure> {
            let mut request = write.next_request()?;
            for n in 0..count {
                let resource = format!("connection:c{n}").parse().unwrap();
                let terms = Terms { resource, end: End::Never, start: None };
                let submitted = Event::RequestSubmitted(Submission {
                    request,
                    requester: olivia.clone(),
                    filed_by: olivia.clone(),
                    requester_login: Some("olivia".parse().unwrap()),
                    filer_login: Some("olivia".parse().unwrap()),
                    details: RequestDetails::new(terms.clone(), "many".parse().unwrap()),
                    lapses_at: world.now().plus(Length::WEEK),
                    remind_at: None,
                    extends: None,
                    emergency: false,
                });
                let started = Event::GrantStarted(Granted {
                    request,
                    member: olivia.clone(),
                    resource: terms.resource,
                    end: terms.end,
                    start: None,
                    starts_at: world.now(),
                    ends_at: None,
                    modified: false,
                    approved_by: Vec::new(),
                    by_rule: Some("free".parse().unwrap()),
                    demands: Vec::new(),
                    reviewers: None,
                });
                let drafts = [submitted, started].map(|event| Draft { event, recipients: Vec::new() });
                let context = Context { now: world.now(), actor: Some(olivia.clone()), os_user: "olivia".to_owned() };
                write.record(&context, drafts.into())?;
                request = request.next();
            }
            Ok(())
        })
        .unwrap();
    store.close();
}

const FREE: &str = "[[rules]]\nname = \"free\"\nauto_approve = true\n";

#[test]
fn what_many_grants_come_to_cover_is_not_looked_for_and_that_is_said() {
    let world = world();
    let before = format!("{OWNER}{}{FREE}", connections(2000));
    apply(&world, "olivia", &before, &["--yes"]).ok();
    grants(&world, 1000);
    let target = "[targets.t]\nconnections = [\"c0\"]\n";
    let ran = apply(&world, "olivia", &format!("{OWNER}{}{target}{FREE}", connections(2000)), &["--dry-run"]).ok();
    assert!(
        ran.err.contains("too many live grants and resources to say which grants come to cover more"),
        "{}",
        ran.err
    );
    assert!(!ran.out.contains("widened"), "{}", ran.out);
    // What follows is found all the same: here each grant, whose connection goes.
    let ran = apply(&world, "olivia", &format!("{OWNER}{FREE}"), &["--yes"]).ok();
    assert_eq!(ran.out.matches(" revoked: olivia has connection:c").count(), 1000);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn what_a_grant_comes_to_cover_is_told_in_a_few_names() {
    let world = world();
    apply(&world, "olivia", &format!("{OWNER}{}{FREE}", connections(1)), &["--yes"]).ok();
    grants(&world, 1);
    let targets = many(80, |n| format!("[targets.t{n}]\nconnections = [\"c0\"]\n"));
    let ran = apply(&world, "olivia", &format!("{OWNER}{}{targets}{FREE}", connections(1)), &["--dry-run"]).ok();
    let line = ran.out.lines().find(|line| line.contains("widened")).unwrap();
    assert_eq!(line.matches("target:t").count(), 50, "{line}");
    assert!(line.ends_with(", and 30 more"), "{line}");
}

#[test]
fn of_many_requests_decided_otherwise_the_first_are_told() {
    let world = world();
    apply(&world, "olivia", &format!("{OWNER}{}{FREE}", connections(1200)), &["--yes"]).ok();
    grants(&world, 1200);
    let ran = apply(&world, "olivia", &format!("{OWNER}{FREE}"), &["--dry-run", "--against", "1d"]).ok();
    assert!(ran.out.contains("Of 1200 requests since"), "{}", ran.out);
    assert!(ran.out.contains(", 1200 would have been decided otherwise:"), "{}", ran.out);
    assert_eq!(ran.out.matches("refused: connection:c").count(), 1000);
    assert!(ran.out.ends_with("  and 200 more\n"), "{}", ran.out);
    let json =
        apply(&world, "olivia", &format!("{OWNER}{FREE}"), &["--dry-run", "--against", "1d", "--json"]).ok().json();
    let against = &json["against"];
    assert_eq!((&against["requests"], &against["more"]), (&1200.into(), &200.into()));
    assert_eq!(against["otherwise"].as_array().unwrap().len(), 1000);
}
