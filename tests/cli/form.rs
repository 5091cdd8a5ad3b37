//! The form of `access request` on a terminal of 80 by 24: it knows the rules before it asks.

use crate::harness::{TEAM, World};
use crate::tmux::Terminal;

/// The sample team with these rules.
fn world(rules: &str) -> World {
    let world = World::sample();
    world.apply("olivia", &format!("{TEAM}\n{rules}")).ok();
    world
}

/// A ticket, two hours at most, and a reason of some length.
const PRODUCTION: &str = r#"
[[rules]]
name = "production"
match = { environments = ["production"] }
approvers = ["role:admin"]
max_duration = "2h"
allow_permanent = false
ticket = "OPS-[0-9]+"
reason_min = 15
"#;

/// Starts the form, and picks a resource by its name.
fn picked(world: &World, login: &str, name: &str) -> Terminal {
    let terminal = Terminal::access(world, login, &["request"]);
    terminal.shows("What do you need?");
    terminal.text(name);
    let first = format!(":{name} ");
    terminal
        .shows_when("it is found", |screen| screen.lines().any(|line| line.starts_with('❯') && line.contains(&first)));
    terminal.key("Enter");
    terminal
}

/// The row that is chosen in a list.
fn chosen(screen: &str) -> &str {
    screen.lines().rev().find_map(|line| line.strip_prefix("❯ ")).unwrap_or_default()
}

#[track_caller]
fn chooses(terminal: &Terminal, label: &str) {
    terminal.shows_when(label, |screen| chosen(screen).starts_with(label));
}

#[test]
fn under_strict_rules_it_goes_from_the_first_question_to_filed_without_a_refusal() {
    let world = world(PRODUCTION);
    let terminal = picked(&world, "bob", "orders-db");
    let screen = terminal.shows("For how long?");
    for told in [
        "target:orders-db, in prod-aws",
        "decides      alice, erin or olivia (rule \"production\")",
        "how long     at most 2h",
        "ticket       required, like OPS-[0-9]+",
        "reason       at least 15 characters",
        "2 hours     the longest",
    ] {
        assert!(screen.contains(told), "{told}: {screen}");
    }
    assert!(!screen.contains("4 hours") && !screen.contains("Permanent"), "only what can pass: {screen}");
    chooses(&terminal, "1 hour");
    terminal.key("Down");
    chooses(&terminal, "2 hours");
    terminal.key("Enter").shows("? Why? (at least 15 characters)");
    terminal.text("The totals of yesterday are wrong").key("Enter");
    terminal.shows("? Which ticket? (like OPS-[0-9]+)");
    terminal.text("OPS-12").key("Enter");
    let screen = terminal.shows("File this request?");
    for said in [
        "Your request: target:orders-db for 2h",
        "reason       The totals of yesterday are wrong",
        "ticket       OPS-12",
        "decides      alice, erin or olivia",
        "lapses       2026-12-01 09:00",
    ] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    terminal.key("Enter");
    let screen = terminal.exits(0);
    assert!(screen.contains("Request 1: target:orders-db for 2h, waiting on alice, erin, olivia"), "{screen}");
    for once in ["What do you need?", "For how long?", "Why?", "Which ticket?"] {
        assert_eq!(screen.matches(once).count(), 1, "drawn in place, and nothing is left of it above: {screen}");
    }
    assert!(!screen.contains("error:") && !screen.contains('✘'), "{screen}");
    assert!(terminal.cursor_is_shown() && terminal.takes_lines());
    let request = world.json("bob", &["show", "1"]);
    assert_eq!((&request["duration"], &request["ticket"]), (&"2h".into(), &"OPS-12".into()));
    assert!(!world.actions().contains(&"attempt.refused".to_owned()));
}

#[test]
fn what_the_rules_do_not_take_is_said_at_once() {
    let world = world(PRODUCTION);
    let terminal = picked(&world, "bob", "orders-db");
    terminal.shows("For how long?");
    // What is typed at the lengths is a length, not a choice among them.
    terminal.text("3h").shows("? How long?");
    terminal.key("Enter").shows("✘ the rule \"production\" says: at most 2h");
    terminal.key("C-u").text("90m").key("Enter").shows("? Why?");
    terminal.key("Enter").shows("✘ write why you need it");
    terminal.text("too short").key("Enter").shows("✘ it has 9 characters, but needs at least 15");
    terminal.text(", and now it is not").key("Enter").shows("? Which ticket?");
    terminal.text("INC-7").key("Enter").shows("✘ it must match OPS-[0-9]+");
    terminal.key("C-u").text("OPS-7").key("Enter").shows("File this request?");
    terminal.key("Enter").exits(0);
    let request = world.json("bob", &["show", "1"]);
    assert_eq!(request["reason"], "too short, and now it is not");
    assert_eq!((&request["duration"], &request["ticket"]), (&"1h30m".into(), &"OPS-7".into()));
}

#[test]
fn a_change_that_needs_more_asks_for_that_and_keeps_what_was_typed() {
    let world = world(
        r#"
[[rules]]
name = "long"
match = { longer_than = "4h" }
approvers = ["role:admin"]
approvals = 2
ticket = "OPS-[0-9]+"
reason_min = 20
"#,
    );
    let terminal = picked(&world, "bob", "orders-db");
    let screen = terminal.shows("For how long?");
    for told in
        ["how long     any length, or permanent", "for longer than 4h:", "2 of alice, erin, olivia (rule \"long\")"]
    {
        assert!(screen.contains(told), "{told}: {screen}");
    }
    assert!(screen.contains("1 day      2 approvals, needs a ticket"), "{screen}");
    terminal.key("Enter").shows("? Why?");
    terminal.text("wrong totals").key("Enter");
    let screen = terminal.shows("File this request?");
    assert!(!screen.contains("Which ticket?"), "an hour needs none: {screen}");
    terminal.key("Down").key("Enter").shows("❯ 1 hour");
    terminal.key("Down").key("Down").key("Enter");
    terminal.shows("error: ");
    let screen = terminal.shows("? Why? (at least 20 characters)");
    assert!(screen.contains("› wrong totals"), "what was typed is there: {screen}");
    terminal.text(" since yesterday").key("Enter").shows("? Which ticket?");
    terminal.text("OPS-1").key("Enter").shows("Your request: target:orders-db for 1d");
    chooses(&terminal, "File it");
    terminal.key("Enter").exits(0);
    let request = world.json("bob", &["show", "1"]);
    assert_eq!((&request["reason"], &request["ticket"]), (&"wrong totals since yesterday".into(), &"OPS-1".into()));
}

#[test]
fn only_what_is_missing_on_the_line_is_asked_for() {
    let world = world(PRODUCTION);
    let line = ["request", "orders-db", "--ticket", "INC-7"];
    let terminal = Terminal::access(&world, "bob", &line);
    terminal.shows("? Why? (at least 15 characters)");
    terminal.text("a reason that is long enough").key("Enter");
    // The ticket of the line does not pass, and is there to be corrected.
    terminal.shows("error: ");
    terminal.shows("? Which ticket? (like OPS-[0-9]+)");
    terminal.shows("› INC-7");
    terminal.key("C-u").text("OPS-7").key("Enter").shows("File this request?");
    terminal.key("Enter").exits(0);
    let request = world.json("bob", &["show", "1"]);
    assert_eq!((&request["duration"], &request["ticket"]), (&"1h".into(), &"OPS-7".into()));
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_anything_is_typed() {
    let world = world(
        "[[rules]]\nname = \"frozen\"\nmatch = { resources = [\"target:billing-db\"] }\ndeny = \"The books are closed\"\n",
    );
    world.request("bob", "target:search-index", &[]);
    let terminal = picked(&world, "bob", "billing-db");
    terminal.shows("error: The books are closed (rule \"frozen\")");
    // Another one can be picked.
    terminal.shows_when("asked again", |screen| screen.lines().any(|line| line == "? What do you need? ›"));
    terminal.text("search-index").key("Enter");
    terminal.shows("error: request 1 for target:search-index is pending already");
    terminal.text("orders-db").shows("› orders-db");
    terminal.key("Enter").shows("For how long?");
    terminal.key("C-c").exits(130);
    let terminal = Terminal::access(&world, "bob", &["request", "billing-db"]);
    assert!(!terminal.exits(3).contains("Why?"));
    assert_eq!(world.actions(), ["team.initialized", "team.applied", "request.submitted"]);
}

#[test]
fn lengths_that_other_grants_use_up_are_not_offered() {
    let rule = PRODUCTION.replace("allow_permanent", "cooldown = \"4h\"\nallow_permanent");
    let world = world(&rule);
    let reason = "a reason that is long enough";
    world.run("bob", &["request", "orders-db", "-r", reason, "-t", "OPS-1", "-d", "80m"]).ok();
    world.run("alice", &["approve", "1", "--yes"]).ok();
    // While it is held, only what ends later can be asked for, and together it has to be two hours.
    world.pass("30m");
    let terminal = picked(&world, "bob", "orders-db");
    let screen = terminal.shows("how long     at most 1h30m");
    assert!(!screen.contains("2 hours"), "{screen}");
    terminal.shows("1h30m     the longest");
    terminal.key("C-c").exits(130);
    // Within the cooldown what was had still counts.
    world.pass("1h");
    let terminal = picked(&world, "bob", "orders-db");
    terminal.shows("how long     at most 40m");
    terminal.shows("30 minutes");
    chooses(&terminal, "5 minutes");
    terminal.key("C-c").exits(130);
}

#[test]
fn letters_and_blanks_choose_nothing() {
    let world = World::sample();
    let terminal = picked(&world, "bob", "orders-db");
    terminal.shows("For how long?");
    terminal.key("Enter").shows("? Why?");
    terminal.text("testing").key("Enter").shows("File this request?");
    terminal.text("y yes jkq 2h");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let screen = terminal.screen();
    assert_eq!(chosen(&screen), "File it", "{screen}");
    assert!(!screen.contains("[exit"), "{screen}");
    terminal.key("Up");
    chooses(&terminal, "Leave without filing");
    terminal.key("Enter");
    assert!(terminal.exits(1).contains("error: cancelled; nothing was done"));
    assert_eq!(world.actions(), ["team.initialized"]);
}

#[test]
fn ctrl_c_at_any_question_ends_with_130_and_leaves_a_usable_terminal() {
    let world = world(PRODUCTION);
    type Step = fn(&Terminal);
    let steps: [(&str, Step); 4] = [
        ("For how long?", |terminal| {
            terminal.key("Enter");
        }),
        ("? Why?", |terminal| {
            terminal.text("a reason that is long enough").key("Enter");
        }),
        ("? Which ticket?", |terminal| {
            terminal.text("OPS-1").key("Enter");
        }),
        ("File this request?", |terminal| {
            terminal.key("Down").key("Down").key("Enter");
        }),
    ];
    for stop in 0..=steps.len() {
        let terminal = picked(&world, "bob", "orders-db");
        for (question, answer) in &steps[..stop] {
            terminal.shows(question);
            answer(&terminal);
        }
        terminal.shows(steps.get(stop).map_or("› a reason that", |(question, _)| question));
        terminal.key("C-c");
        let screen = terminal.exits(130);
        assert!(screen.contains("\nerror: interrupted; nothing more was done"), "{screen}");
        assert!(terminal.cursor_is_shown() && terminal.takes_lines(), "after {stop} answers");
    }
    assert_eq!(world.actions(), ["team.initialized", "team.applied"]);
}

#[test]
fn a_reason_of_wide_characters_is_written_and_corrected_over_the_end_of_a_line() {
    let world = World::sample();
    let terminal = Terminal::access(&world, "bob", &["request", "orders-db"]);
    terminal.shows("? Why?");
    // 77 columns fit: 38 wide characters, and the next begins the second row.
    let wide: String = "本番環境の障害".chars().cycle().take(50).collect();
    terminal.text(&wide);
    let (first, second): (String, String) = (wide.chars().take(38).collect(), wide.chars().skip(38).collect());
    terminal.shows(&format!("› {first}\n  {second}"));
    assert_eq!(terminal.column(), 2 + 2 * second.chars().count());
    // Back over the end of the row, and a character taken out of the first.
    for _ in 0..14 {
        terminal.key("Left");
    }
    terminal.key("BSpace");
    let expected: String = wide.chars().take(35).chain(wide.chars().skip(36)).collect();
    let (first, second): (String, String) = (expected.chars().take(38).collect(), expected.chars().skip(38).collect());
    terminal.shows(&format!("› {first}\n  {second}"));
    assert_eq!(terminal.column(), 2 + 2 * 35);
    terminal.text("🚀").key("Enter").shows("File this request?");
    terminal.key("Enter").exits(0);
    let expected: String = wide.chars().take(35).chain(['🚀']).chain(wide.chars().skip(36)).collect();
    assert_eq!(world.json("bob", &["show", "1"])["reason"], expected.as_str());
}

#[test]
fn a_pasted_text_is_one_answer_whatever_lines_it_has() {
    let world = World::sample();
    let terminal = Terminal::access(&world, "bob", &["request"]);
    terminal.shows("What do you need?");
    terminal.text("orders-db").shows("› orders-db");
    terminal.key("Enter").shows("For how long?");
    terminal.key("Enter").shows("? Why?");
    terminal.paste("first line\nsecond line\n\n").shows("› first line second line");
    // A sequence that no key of ours sends adds nothing either: Ctrl-Shift-F5.
    terminal.key("C-S-F5").text("!").shows("second line  !");
    terminal.key("Enter").shows("File this request?");
    terminal.key("C-c").exits(130);
    assert_eq!(world.actions(), ["team.initialized"]);
}

#[test]
fn nobody_learns_from_the_form_what_there_is_who_may_not_list_it() {
    let world = world("[members.zoe]\nrole = \"member\"\ndisabled = true\n");
    for (login, says) in [("zoe", "zoe is disabled"), ("stranger", "the Unix user stranger is not a member")] {
        for resource in ["target:orders-db", "target:no-such", "orders-db", "no-such"] {
            let screen = Terminal::access(&world, login, &["request", resource]).exits(3);
            assert!(screen.contains(says) && !screen.contains("decides"), "{screen}");
            assert!(!screen.contains("did you mean"), "{screen}");
        }
    }
    // Who may not ask for others learns nothing about them.
    for other in ["carol", "nobody"] {
        let screen = Terminal::access(&world, "bob", &["request", "orders-db", "--for", other]).exits(3);
        assert!(screen.contains("only admins and the owner may file a request for somebody else"), "{screen}");
    }
}

#[test]
fn a_name_that_only_one_resource_has_is_enough() {
    let world = World::sample();
    let id = world.request("bob", "orders-db", &[]);
    assert_eq!(world.json("bob", &["show", &id])["resource"], "target:orders-db");
    world.run("bob", &["request", "admin", "--reason", "on call", "--dry-run"]).ok().says("Would ask: role:admin");
    let listed = world.json("bob", &["list", "--resource", "orders-db"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    world.run("alice", &["approve", &id, "--yes"]).ok();
    world.run("alice", &["who", "orders-db"]).ok().says("bob");
    let unknown = world.run("bob", &["request", "order-db", "--reason", "x"]);
    let unknown = unknown.fails(4, "there is no resource with the name order-db");
    assert!(unknown.err.contains("did you mean target:orders-db?"), "{}", unknown.err);
}

#[test]
fn a_name_that_several_resources_have_is_refused_with_the_choices() {
    let world = world("[scopes.orders-db]\ntargets = [\"orders-db\"]\nassigned = []\n");
    let says = "orders-db is the name of several resources: scope:orders-db, target:orders-db";
    for line in ["request orders-db --reason x", "list --resource orders-db"] {
        world.run("bob", &line.split(' ').collect::<Vec<_>>()).fails(2, says);
    }
    for line in [&["request", "orders-db"][..], &["request", "orders-db", "--reason", "x"]] {
        let screen = Terminal::access(&world, "bob", line).exits(2);
        assert!(screen.replace('\n', "").contains(says), "{screen}");
    }
    assert_eq!(world.actions(), ["team.initialized", "team.applied"]);
}

#[test]
fn a_gate_and_an_approval_name_the_resource_in_full() {
    let world = World::sample();
    let id = world.grant("bob", "target:orders-db", "alice", &[]);
    let gate = world.run("bob", &["check", "orders-db"]).fails(2, "a resource is written kind:name");
    assert!(gate.err.contains("hint: did you mean target:orders-db?"), "{gate:?}");
    world.run("bob", &["check", "orders"]).fails(2, "hint: `access resources` lists what there is");
    for (login, more) in [("stranger", &[][..]), ("root", &["--login", "bob"])] {
        world.run(login, &[&["check", "orders-db"], more].concat()).fails(2, "a resource is written kind:name");
    }
    assert!(!world.actions().contains(&"attempt.refused".to_owned()), "a check records nothing");
    let other = world.request("bob", "target:billing-db", &[]);
    let approve = ["approve", &other, "--resource", "orders-read", "--yes"];
    let approved = world.run("alice", &approve).fails(2, "a resource is written kind:name");
    assert!(approved.err.contains("hint: did you mean scope:orders-read?"), "{approved:?}");
    assert_eq!((world.state(&id), world.state(&other)), ("active".to_owned(), "pending".to_owned()));
}

#[test]
fn a_denial_or_a_revocation_asks_for_a_reason() {
    let world = World::sample();
    let denied = world.request("bob", "target:orders-db", &[]);
    let terminal = Terminal::access(&world, "alice", &["deny", &denied]);
    terminal.shows("Deny request 1?");
    terminal.text("y").shows("? Why? (the requester is notified; may stay empty)");
    terminal.text("Use the replica").key("Enter");
    terminal.exits(0);
    assert_eq!(world.json("bob", &["show", &denied])["decisions"][0]["note"], "Use the replica");

    let live = world.grant("bob", "target:orders-db", "alice", &[]);
    let terminal = Terminal::access(&world, "alice", &["revoke", &live]);
    terminal.shows(&format!("Revoke request {live}?"));
    terminal.text("y").shows("? Why? (the member is notified; may stay empty)");
    terminal.key("Escape");
    terminal.exits(1);
    assert_eq!(world.state(&live), "active", "who leaves at the second question has done nothing");
    let terminal = Terminal::access(&world, "alice", &["revoke", &live, "--reason", "The incident is over"]);
    terminal.shows(&format!("Revoke request {live}?"));
    terminal.text("y").exits(0);
    assert_eq!(world.state(&live), "revoked");
}

#[test]
fn an_extension_knows_the_rules_too() {
    let world = World::sample();
    let id = world.request("bob", "orders-db", &["--ticket", "INC-7"]);
    world.run("alice", &["approve", &id, "--yes"]).ok();
    world.apply("olivia", &format!("{TEAM}\n{PRODUCTION}")).ok();
    // What the rules don't allow is refused before a reason is typed.
    let terminal = Terminal::access(&world, "bob", &["extend", &id, "--duration", "2h"]);
    assert!(!terminal.exits(3).contains("Why?"));
    let terminal = Terminal::access(&world, "bob", &["extend", &id]);
    let screen = terminal.shows("? Why? (at least 15 characters)");
    assert!(screen.contains("how long     1h more"), "{screen}");
    terminal.text("it takes longer").key("Enter");
    // The ticket of before does not do any more.
    terminal.shows("? Which ticket? (like OPS-[0-9]+)");
    terminal.text("OPS-8").key("Enter");
    terminal.exits(0);
    let extension = world.json("bob", &["show", "2"]);
    assert_eq!((&extension["extends"], &extension["ticket"]), (&1.into(), &"OPS-8".into()));
    assert!(!world.actions().contains(&"attempt.refused".to_owned()));
}

#[test]
fn a_command_that_needs_access_asks_for_it_by_the_same_form() {
    let world = World::sample();
    let terminal = Terminal::access(&world, "bob", &["run", "orders-db", "--", "echo", "it", "ran"]);
    terminal.shows("? Why?");
    terminal.text("stuck orders").key("Enter");
    let screen = terminal.shows("File this request?");
    assert!(screen.contains("Your request: target:orders-db for 1h"), "{screen}");
    terminal.key("Enter").shows("Request 1 waits on alice, erin, olivia");
    world.run("alice", &["approve", "1"]).ok();
    terminal.shows("it ran");
}
