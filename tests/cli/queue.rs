//! `access approve` on a terminal: the requests that wait, one after another.

use access::domain::replica::Replica;
use access::domain::terms::{RequestDetails, Terms};
use access::service::{ActingAs, Caller, Outside, Service, SubmitRequest};
use access::store::Store;

use crate::completion;
use crate::harness::{ACCESS, TEAM, World};
use crate::tmux::Terminal;

/// So many requests wait, of many members, filed one after another.
fn crowd(count: usize) -> World {
    let mut team = TEAM.to_owned();
    for number in 0..30 {
        team += &format!("[members.m{number}]\nrole = \"member\"\n[targets.t{number}]\nconnections = [\"prod-aws\"]\n");
    }
    let world = World::sample();
    world.apply("olivia", &team).ok();
    let store = Store::open(&world.db()).unwrap();
    let now = world.now();
    for number in 0..count {
        let login = format!("m{}", number % 30).parse().unwrap();
        let caller = Caller { login, root: false, acting_as: ActingAs::Login };
        let resource = format!("target:t{}", number / 30).parse().unwrap();
        let end = "1h".parse::<access::domain::duration::Duration>().unwrap().into();
        let submit = SubmitRequest {
            default_length: false,
            details: RequestDetails::new(Terms { resource, end, start: None }, "testing".parse().unwrap()),
            requester: None,
            emergency: false,
            dry_run: false,
        };
        let clock = |_: Option<&Replica>| Ok(now);
        let outside = Outside {
            clocks: &|| unreachable!("no log is shared"),
            owns_file: &|| true,
            has_account: &|_| Ok(true),
            knows_zone: &|_| true,
            shared: false,
            deliver: &|_| unreachable!("nothing is sent"),
            notify_test: &|_| unreachable!("nothing is sent"),
            delivery_findings: &|_| Vec::new(),
        };
        Service { store: &store, caller: &caller, clock: &clock, outside: &outside }.answer(submit).unwrap();
    }
    store.close();
    world
}

fn shown_first(terminal: &Terminal) -> String {
    let screen = terminal.shows(" of ");
    screen.lines().find(|line| line.starts_with("Request ")).unwrap().to_owned()
}

#[test]
fn a_queue_of_more_than_500_begins_with_the_oldest_and_has_all() {
    let world = crowd(513);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    assert!(shown_first(&terminal).starts_with("Request 1: target:t0 for m0"));
    terminal.shows("? Request 1 (1 of 513)");
    terminal.key("Up").key("Up").key("Up").key("Enter");
    terminal.shows("? Request 2 (2 of 513)");
    terminal.key("Escape").exits(0);
    assert_eq!(world.state("1"), "active");

    // Completion offers the oldest too.
    let offered = completion::bash(&world, "alice", "access approve ");
    assert_eq!(offered[..2], ["2", "3"]);
    assert!(offered.len() >= 500, "{}", offered.len());
    // A member's own are offered among all others, also the oldest.
    assert_eq!(completion::bash(&world, "m1", "access withdraw ").last().unwrap(), "2");
}

#[test]
fn what_lapses_first_comes_first() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.request("carol", "connection:prod-aws", &["--until", "2026-11-24T11:00:00Z"]);
    world.request("dave", "feature:cost-explorer", &[]);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    for (request, place) in [("2", "1 of 3"), ("1", "2 of 3"), ("3", "3 of 3")] {
        terminal.shows(&format!("? Request {request} ({place})"));
        terminal.key("Enter");
    }
    terminal.exits(0);
    // Once it has lapsed it does not wait any more.
    world.set_clock("2026-11-24T11:00:00Z");
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    terminal.shows("? Request 1 (1 of 2)");
    terminal.key("C-c").exits(130);
}

#[test]
fn who_may_not_ask_for_the_queue_is_refused() {
    let world = World::sample();
    let screen = Terminal::access(&world, "olivia", &["--as", "ghost", "approve"]).exits(4);
    assert!(screen.contains("error: there is no member ghost"), "{screen}");
    let screen = Terminal::access(&world, "stranger", &["approve"]).exits(3);
    assert!(screen.contains("stranger is not a member"), "{screen}");
    assert!(!screen.contains("No requests wait"), "{screen}");
    assert_eq!(world.actions(), ["team.initialized", "attempt.refused"]);
    let log = world.json("olivia", &["audit", "--action", "attempt.refused"]);
    assert!(log[0].to_string().contains("\"approve\""), "{log}");
}

#[test]
fn changes_are_put_together_before_anything_is_approved() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    terminal.shows("? Request 1 (1 of 1)");
    terminal.key("Up").key("Up").shows("❯ Approve with changes …");
    terminal.key("Enter").shows("❯ How long");
    // No letter approves.
    terminal.text("y").text(" ").text("a");
    terminal.key("Enter").shows("? For how long?");
    terminal.key("C-u").text("1h").key("Enter").shows("❯ Approve target:orders-db for 1h");
    // The scope that covers it is offered first.
    terminal.key("Up").key("Up").key("Up").key("Enter").shows("? Which scope?");
    terminal.shows("❯ scope:orders-read  the narrowest that covers target:orders-db");
    terminal.key("Enter").shows("❯ Approve scope:orders-read for 1h");
    terminal.key("Up").key("Enter").shows("? Note?");
    terminal.text("An hour is enough").key("Enter");
    terminal.shows_when("the note", |screen| {
        screen.lines().any(|line| line.starts_with("  Note") && line.ends_with("enough"))
    });
    assert_eq!(world.state(&id), "pending");
    terminal.key("Enter");
    terminal.exits(0);
    let view = world.json("bob", &["show", &id]);
    assert_eq!((&view["grant"]["resource"], &view["grant"]["duration"]), (&"scope:orders-read".into(), &"1h".into()));
    assert_eq!(view["decisions"][0]["note"], "An hour is enough");
}

#[test]
fn only_scopes_that_cover_what_is_asked_are_offered_and_what_is_lost_is_said() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.request("bob", "feature:cost-explorer", &[]);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    terminal.shows("? Request 1 (1 of 2)");
    terminal.key("Up").key("Up").key("Enter").shows("❯ How long");
    terminal.key("Down").key("Enter");
    let screen = terminal.shows("? Which scope?");
    assert!(screen.contains("❯ scope:orders-read") && !screen.contains("scope:kubernetes"), "{screen}");
    terminal.key("Escape").shows("❯ Approve target:orders-db for 1h");
    terminal.key("Up").key("Up").key("Enter").shows("? Which resource?");
    terminal.text("scope:kubernetes").key("Enter");
    terminal.shows("❯ Approve scope:kubernetes for 1h, without target:orders-db");
    terminal.key("Down").key("Enter").shows("? Request 1 (1 of 2)");
    terminal.key("Enter").shows("? Request 2 (2 of 2)");
    terminal.key("Up").key("Up").key("Enter").shows("❯ How long");
    terminal.key("Down").key("Enter").shows("error: no scope covers feature:cost-explorer");
    terminal.key("Escape").shows("? Request 2 (2 of 2)");
    terminal.key("Enter").exits(0);
}

#[test]
fn a_resource_is_searched_for_and_who_goes_back_approves_nothing() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    terminal.shows("? Request 1 (1 of 1)");
    terminal.key("Up").key("Up").key("Enter").shows("❯ How long");
    terminal.key("Down").key("Down").key("Enter").shows("? Which resource?");
    terminal.text("orders-db-staging").shows("❯ target:orders-db-staging");
    terminal.key("Enter").shows("❯ Approve target:orders-db-staging for 1h");
    terminal.key("Escape").shows("? Request 1 (1 of 1)");
    terminal.key("Escape").exits(0);
    assert_eq!(world.state(&id), "pending");
    assert!(terminal.cursor_is_shown());
}

#[test]
fn changes_that_are_refused_are_kept_to_be_changed() {
    let world = World::sample();
    let rule = "[[rules]]\nname = \"short\"\napprovers = [\"role:admin\"]\nmax_duration = \"2h\"\n";
    world.apply("olivia", &format!("{TEAM}\n{rule}")).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "2h"]);
    let terminal = Terminal::access(&world, "alice", &["approve"]);
    terminal.shows("? Request 1 (1 of 1)");
    terminal.key("Up").key("Up").key("Enter").shows("❯ How long");
    terminal.key("Enter").shows("? For how long?");
    terminal.key("C-u").text("8h").key("Enter").shows("❯ Approve target:orders-db for 8h");
    terminal.key("Enter").shows("error: the rule \"short\" says: at most 2h");
    terminal.key("Up").key("Up").key("Up").key("Up").key("Enter").shows("› 8h");
    terminal.key("C-u").text("1h").key("Enter").shows("❯ Approve target:orders-db for 1h");
    terminal.key("Enter");
    terminal.exits(0);
    assert_eq!(world.json("bob", &["show", &id])["grant"]["duration"], "1h");
}

#[test]
fn what_is_typed_before_a_question_is_there_does_not_answer_it() {
    let world = World::sample();
    let id = world.request("bob", "connection:prod-aws", &[]);
    for (line, question) in [("approve 1", "Approve request 1?"), ("approve", "? Request 1 (1 of 1)")] {
        let mut slow = std::process::Command::new("sh");
        let given = world.command("alice", &[]);
        slow.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        slow.args(["-c", &format!("echo soon; sleep 1; {ACCESS} {line}")]);
        let terminal = Terminal::of(&world, &slow);
        terminal.shows("soon");
        // Yes to the one question, and the first choice of the other.
        terminal.ahead("yyy\u{1b}[H\r");
        terminal.shows(question);
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!terminal.screen().contains("[exit"), "{line}: {}", terminal.screen());
        terminal.key("Escape");
        terminal.shows("[exit");
        assert_eq!(world.state(&id), "pending", "{line}");
    }
}
