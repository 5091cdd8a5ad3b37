//! Who is told of what, and who is not.

use std::process::Stdio;

use serde_json::json;

use crate::harness::{MEMBERS, TEAM, World, shows};
use crate::post::{Server, ask, configure, fresh, header, parts, slack, smtp, webhook};

/// Those who have unread news of this event, as often as they have it.
fn told(world: &World, event: &str) -> Vec<&'static str> {
    let count = |member: &str| world.unread(member).iter().filter(|unread| *unread == event).count();
    MEMBERS.into_iter().flat_map(|member| vec![member; count(member)]).collect()
}

/// How many unread notifications the profile counts.
fn count(world: &World, login: &str) -> i64 {
    world.json(login, &["whoami"])["unread"].as_i64().unwrap()
}

/// The numbers of a member's unread notifications, newest first.
fn numbers(world: &World, login: &str) -> Vec<String> {
    world.json(login, &["inbox"]).as_array().unwrap().iter().map(|row| row["id"].to_string()).collect()
}

#[test]
fn a_request_is_told_to_the_admins_and_the_owner_but_not_to_who_asks() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    assert_eq!(told(&world, "request.submitted"), ["alice", "erin", "olivia"]);
    for member in MEMBERS {
        let expected = i64::from(["alice", "erin", "olivia"].contains(&member));
        assert_eq!(count(&world, member), expected, "{member} is told nothing else");
    }
}

#[test]
fn an_admin_is_not_told_of_their_own_request_nor_of_one_they_file() {
    let world = World::sample();
    world.request("alice", "feature:export-customers", &[]);
    assert_eq!(told(&world, "request.submitted"), ["erin", "olivia"]);
    world.request("erin", "target:orders-db", &["--for", "bob"]);
    assert_eq!(told(&world, "request.submitted"), ["alice", "erin", "olivia", "olivia"]);
}

#[test]
fn a_granted_admin_is_told_while_the_grant_lives_and_a_disabled_one_is_not() {
    let erin = "[members.erin]\nrole = \"admin\"\n";
    let world = World::of("olivia", &TEAM.replace(erin, &format!("{erin}disabled = true\n")));
    world.grant("frank", "role:admin", "olivia", &[]);
    world.request("bob", "target:orders-db", &[]);
    let submitted = "SELECT member FROM notification WHERE kind = 'request.submitted' AND seq =
         (SELECT max(seq) FROM notification) ORDER BY member";
    assert_eq!(world.rows(submitted), ["alice", "frank", "olivia"]);
    world.pass("1h");
    world.request("bob", "target:billing-db", &[]);
    assert_eq!(world.rows(submitted), ["alice", "olivia"]);
}

#[test]
fn the_decision_is_told_to_the_requester_alone() {
    let world = World::sample();
    let first = world.request("alice", "target:orders-db", &["--for", "bob"]);
    world.run("erin", &["approve", &first]).ok();
    assert_eq!(told(&world, "request.approved"), ["bob"]);

    let second = world.request("alice", "target:billing-db", &["--for", "bob"]);
    world.run("erin", &["deny", &second, "--reason", "Use the replica"]).ok();
    assert_eq!(told(&world, "request.denied"), ["bob"]);
    let news = world.json("bob", &["inbox"])[0].clone();
    assert_eq!(news["request"].to_string(), second);
    assert!(news["text"].as_str().unwrap().contains("Use the replica"), "{news:#}");
}

#[test]
fn the_end_is_announced_once_an_hour_before_it_and_told_once_when_it_came() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "permanent"]);
    let run = || {
        world.run("root", &["expire"]).ok();
        (told(&world, "access.expiring"), told(&world, "access.expired"))
    };
    world.pass("2h59m59s");
    assert_eq!(run(), (vec![], vec![]));
    world.pass("1s");
    assert_eq!(run(), (vec!["bob"], vec![]), "an hour left");
    world.pass("59m59s");
    assert_eq!(run(), (vec!["bob"], vec![]), "only once");
    world.pass("1s");
    assert_eq!(run(), (vec!["bob"], vec!["bob"]));
    world.pass("1h");
    assert_eq!(run(), (vec!["bob"], vec!["bob"]));
}

#[test]
fn a_grant_of_an_hour_or_less_is_announced_when_a_quarter_of_it_is_left() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "4m"]);
    world.grant("dave", "target:orders-db", "alice", &["--duration", "1h1s"]);
    let run = || {
        world.run("root", &["expire"]).ok();
        told(&world, "access.expiring")
    };
    assert!(run().is_empty(), "nobody who has just got access is told that it ends");
    world.pass("1s");
    assert_eq!(run(), ["dave"], "an hour is left");
    world.pass("2m58s");
    assert_eq!(run(), ["dave"]);
    world.pass("1s");
    assert_eq!(run(), ["carol", "dave"], "a minute of four is left");
    world.pass("41m59s");
    assert_eq!(run(), ["carol", "dave"]);
    world.pass("1s");
    assert_eq!(run(), ["bob", "carol", "dave"], "a quarter of an hour is left");
    world.pass("14m59s");
    assert_eq!(run(), ["bob", "carol", "dave"], "only once");
    world.pass("1s");
    run();
    assert_eq!(told(&world, "access.expired"), ["bob", "carol"]);
}

#[test]
fn who_keeps_access_by_an_extension_is_told_neither_that_it_ends_nor_that_it_ended() {
    let world = World::sample();
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "2h"]);
    let second = world.json("bob", &["extend", &first, "--reason", "more", "--duration", "3h"])["id"].to_string();
    let run = || {
        world.run("root", &["expire"]).ok();
        (told(&world, "access.expiring").len(), told(&world, "access.expired").len())
    };
    world.run("alice", &["approve", &second]).ok();
    let texts = || {
        world.json("bob", &["inbox"]).as_array().unwrap().iter().map(|row| row["text"].to_string()).collect::<Vec<_>>()
    };
    // An extension says until when access goes on.
    assert!(texts()[0].contains("2026-11-24T14:00:00Z"), "{:?}", texts());
    world.pass("1h30m");
    assert_eq!(run(), (0, 0), "half an hour of the first is left, and it goes on");
    world.pass("30m");
    assert_eq!(run(), (0, 0));
    assert!(texts()[0].contains("was extended until 2026-11-24T14:00:00Z"), "{:?}", texts());
    assert!(world.may("bob", "target:orders-db"));
    world.pass("2h");
    assert_eq!(run(), (1, 0));
    world.pass("1h");
    assert_eq!(run(), (1, 1));
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn an_extension_that_is_revoked_or_denied_leaves_the_warning_to_come() {
    let world = World::sample();
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "2h"]);
    let extend = || world.json("bob", &["extend", &first, "--reason", "more"])["id"].to_string();
    let run = || {
        world.run("root", &["expire"]).ok();
        (told(&world, "access.expiring").len(), told(&world, "access.expired").len())
    };
    let second = extend();
    world.run("alice", &["approve", &second]).ok();
    world.pass("1h10m");
    assert_eq!(run(), (0, 0));
    world.run("alice", &["revoke", &second]).ok();
    assert_eq!(run(), (1, 0), "now it ends after all");
    let third = extend();
    world.pass("30m");
    world.run("alice", &["deny", &third]).ok();
    world.pass("20m");
    assert_eq!(run(), (1, 1));
}

#[test]
fn who_keeps_access_by_another_grant_is_told_of_the_last_end_only() {
    let world = World::sample();
    // Of the same thing beside it, of something that holds it, and of the role that has it.
    world.grant("bob", "target:orders-db", "alice", &["--duration", "30m"]);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "5h"]);
    world.grant("carol", "target:orders-db", "alice", &["--duration", "30m"]);
    world.grant("carol", "connection:prod-aws", "olivia", &["--duration", "permanent"]);
    world.grant("dave", "target:orders-db", "alice", &["--duration", "30m"]);
    world.grant("dave", "role:admin", "olivia", &["--duration", "5h"]);
    // Something else is no reason to be silent.
    world.grant("grace", "target:orders-db", "alice", &["--duration", "30m"]);
    world.grant("grace", "feature:cost-explorer", "alice", &["--duration", "5h"]);
    let run = || {
        world.run("root", &["expire"]).ok();
        (told(&world, "access.expiring"), told(&world, "access.expired"))
    };
    world.pass("25m");
    assert_eq!(run(), (vec!["grace"], vec![]));
    world.pass("5m");
    assert_eq!(run(), (vec!["grace"], vec!["grace"]));
    world.pass("4h30m");
    assert_eq!(run().1, ["bob", "dave", "grace", "grace"]);
    assert!(!world.unread("bob").iter().filter(|event| *event == "access.expired").count() > 1);
    // All of it is on the record.
    assert_eq!(world.json("olivia", &["audit", "--action", "grant.expired"]).as_array().unwrap().len(), 7);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_thousand_grants_that_go_on_hide_none_that_ends() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "20m"]);
    world.grant("bob", "target:orders-db", "alice", &["--duration", "permanent"]);
    // A thousand like the first, which end before carol's.
    let copy = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)";
    world.rows(&format!(
        "INSERT INTO request (id, state, requester, filed_by, resource, length, reason, submitted_at, lapses_at, seq)
             {copy} SELECT i, 'approved', 'bob', 'bob', 'target:orders-db', 1200, 'x', submitted_at, lapses_at, seq FROM n, request WHERE id = 1;
         INSERT INTO grant (request, member, resource, length, modified, starts_at, ends_at)
             {copy} SELECT i, 'bob', 'target:orders-db', 1200, 0, starts_at, ends_at FROM n, grant WHERE request = 1"
    ));
    world.grant("carol", "target:orders-db", "alice", &["--duration", "21m"]);
    world.pass("17m");
    world.run("root", &["expire"]).ok();
    assert_eq!(told(&world, "access.expiring"), ["carol"]);
}

#[test]
fn a_warning_that_is_no_longer_true_is_not_sent() {
    let world = fresh(&TEAM.replace("slack = \"U0BOB\"\n", ""));
    let first = world.grant("bob", "target:orders-db", "alice", &["--duration", "2h"]);
    let second = world.grant("carol", "target:orders-db", "alice", &["--duration", "2h"]);
    world.grant("dave", "target:orders-db", "alice", &["--duration", "2h"]);
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    assert_eq!(told(&world, "access.expiring"), ["bob", "carol", "dave"]);
    // Mail is configured only now: bob has more, and carol has nothing any more.
    let more = world.json("bob", &["extend", &first, "--reason", "more"])["id"].to_string();
    world.run("alice", &["approve", &more]).ok();
    world.run("alice", &["revoke", &second]).ok();
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    world.run("root", &["deliver"]).ok();
    let ends =
        |who: &str| subjects(&mail, &format!("{who}@acme.example")).iter().filter(|it| it.contains(" ends")).count();
    assert_eq!((ends("bob"), ends("carol"), ends("dave")), (0, 0, 1));
}

#[test]
fn those_who_were_asked_are_told_that_it_is_decided() {
    let rule = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:billing-db\"] }\napprovers = [\"role:admin\"]\n\
                approvals = 2\n\n[[rules]]\nname = \"short\"\nmatch = { resources = [\"feature:export-customers\"] }\n\
                approvers = [\"group:dba\", \"role:admin\"]\n\n[groups.dba]\nmembers = [\"frank\"]\n";
    let world = World::of("olivia", &format!("{TEAM}{rule}"));
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", "1"]).ok();
    assert_eq!(told(&world, "request.decided"), ["erin", "olivia"], "not who decided, nor who asked");
    let text = world.json("erin", &["inbox"])[0]["text"].to_string();
    assert!(text.contains("alice approved request 1"), "{text}");
    // Not before it is decided; and who approved before is told as well.
    world.request("bob", "target:billing-db", &[]);
    world.run("erin", &["approve", "2"]).ok();
    assert_eq!(told(&world, "request.decided").len(), 2);
    world.run("olivia", &["approve", "2"]).ok();
    assert_eq!(told(&world, "request.decided"), ["alice", "erin", "erin", "olivia"]);
    // A denial decides too, and who was asked by a rule is told.
    world.request("alice", "feature:export-customers", &["--for", "bob"]);
    assert!(told(&world, "request.submitted").contains(&"frank"));
    world.run("erin", &["deny", "3"]).ok();
    assert_eq!(told(&world, "request.decided"), ["alice", "erin", "erin", "frank", "olivia", "olivia"]);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_decision_is_sent_with_digests_only_unless_somebody_says_otherwise() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"\n", ""));
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    world.run("erin", &["notify", "set", "all", "--digest", "hourly"]).ok();
    for _ in 0..2 {
        let id = world.request("bob", "target:orders-db", &[]);
        // Everybody is sent the request first.
        world.pass("1h");
        world.run("root", &["deliver"]).ok();
        world.run("alice", &["deny", &id]).ok();
        world.pass("1h");
        world.run("root", &["deliver"]).ok();
        world.run("olivia", &["notify", "set", "request.decided", "--email", "on"]).ok();
    }
    let of = |who: &str| {
        let all = subjects(&mail, &format!("{who}@acme.example"));
        all.into_iter().filter(|subject| subject.contains("denied")).collect::<Vec<_>>()
    };
    let denied = |id: u8| format!("[acme] Request {id} of bob for target:orders-db was denied");
    assert_eq!(of("erin"), [denied(1), denied(2)], "with her digest");
    assert_eq!(of("olivia"), [denied(2)], "once she asks for it");
    assert!(of("alice").is_empty(), "who decided knows");
}

#[test]
fn who_has_approved_is_not_sent_that_it_waits() {
    let rule = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:orders-db\"] }\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let world = fresh(&format!("{}{rule}", TEAM.replace("slack = \"U0ALICE\"\n", "")));
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", "1"]).ok();
    // The backlog, when mail is configured later.
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    world.run("root", &["deliver"]).ok();
    assert!(subjects(&mail, "alice@acme.example").is_empty());
    assert_eq!(subjects(&mail, "erin@acme.example"), ["[acme] bob asks for target:orders-db (request 1)"]);
}

#[test]
fn who_may_no_longer_see_a_request_is_not_sent_it() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"\n", ""));
    world.request("bob", "target:orders-db", &[]);
    let file = TEAM.replace("[members.erin]\nrole = \"admin\"", "[members.erin]\nrole = \"member\"");
    world.apply("olivia", &file).ok();
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    world.run("root", &["deliver"]).ok();
    let asks =
        |who: &str| subjects(&mail, &format!("{who}@acme.example")).iter().any(|subject| subject.contains("bob asks"));
    assert!(!asks("erin") && asks("alice"));
}

#[test]
fn who_is_no_admin_any_more_is_sent_nothing_that_only_admins_see() {
    let team = TEAM.replace("slack = \"U0ALICE\"\n", "");
    let world = fresh(&team);
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    for (login, event) in [("erin", "request.decided"), ("alice", "request.decided"), ("erin", "team.changed")] {
        world.run(login, &["notify", "set", event, "--digest", "daily"]).ok();
    }
    world.pass("2h");
    let id = ask(&world, "bob", &["--reason", "work"]);
    world.run("root", &["expire"]).ok();
    world.run("olivia", &["approve", &id, "--note", "SECRET note"]).ok();
    let in_zone = |zone: &str| team.replace("[members.carol]\n", &format!("[members.carol]\ntimezone = \"{zone}\"\n"));
    let without_erin =
        |team: &str| team.replace("[members.erin]\nrole = \"admin\"", "[members.erin]\nrole = \"member\"");
    for file in [in_zone("Europe/Paris"), without_erin(&in_zone("Europe/Paris")), without_erin(&in_zone("Europe/Rome"))]
    {
        world.apply("olivia", &file).ok();
    }
    world.run("erin", &["show", &id]).exits(4);
    let own = ask(&world, "erin", &["--reason", "my own"]);
    world.run("olivia", &["approve", &own]).ok();
    world.pass("1d");
    world.run("root", &["expire"]).ok();
    let text = |who: &str| -> String {
        let to = json!([format!("{who}@acme.example")]);
        mail.got().iter().filter(|mail| mail["to"] == to).map(|mail| parts(mail).0).collect()
    };
    let (erin, alice) = (text("erin"), text("alice"));
    assert!(alice.contains("SECRET note") && alice.contains("changed the team"), "{alice}");
    assert!(erin.contains("work") && erin.contains("my own"), "{erin}");
    assert!(!erin.contains("SECRET") && !erin.contains("Europe"), "{erin}");
    // But an owner can't make somebody no admin without their notice.
    assert_eq!(erin.matches("changed the team").count(), 1, "{erin}");
}

#[test]
fn what_is_decided_while_a_run_is_sending_is_not_sent_after_that() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"\n", ""));
    // So many before it on the same connection that it is settled long before it is sent.
    world.rows(
        "INSERT INTO notification (id, seq, member, kind)
             WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             SELECT i, 2, 'dave', 'access.started' FROM n;
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT id, seq, kind, 'email', 0 FROM notification WHERE id >= 1000;",
    );
    let id = world.request("bob", "target:orders-db", &[]);
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    let mut sending = world.command("root", &["deliver"]);
    let sending = sending.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while mail.lines().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    world.run("alice", &["deny", &id]).ok();
    let before = mail.lines().len();
    assert!(before < 600, "{before}: it was decided in time");
    let mut sending = sending;
    assert!(sending.wait().unwrap().success());
    assert!(mail.lines().len() >= 1000);
    assert!(subjects(&mail, "erin@acme.example").is_empty(), "{:?}", subjects(&mail, "erin@acme.example"));
}

#[test]
fn a_cron_that_comes_too_late_to_warn_tells_of_the_end_only() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    world.pass("3d");
    world.run("root", &["expire"]).ok();
    assert_eq!(world.unread("bob"), ["request.approved", "access.expired"]);
}

#[test]
fn an_inbox_says_whose_request_it_is_unless_it_is_ones_own() {
    let world = World::sample();
    let newest = |login: &str| world.json(login, &["inbox"])[0]["text"].as_str().unwrap().to_owned();
    let first = world.grant("bob", "target:orders-db", "alice", &[]);
    assert_eq!(newest("erin"), "alice approved request 1 of bob: target:orders-db for 1h");
    assert_eq!(newest("bob"), "alice approved request 1: target:orders-db for 1h");
    let longer = world.json("bob", &["extend", &first, "--reason", "more"])["id"].to_string();
    assert_eq!(
        newest("erin"),
        "bob asks for target:orders-db from 2026-11-24T10:00:00Z for 1h, request 2, to extend request 1: more"
    );
    world.run("alice", &["deny", &longer]).ok();
    assert_eq!(newest("erin"), "alice denied request 2 of bob (target:orders-db)");
    assert_eq!(newest("bob"), "alice denied request 2 (target:orders-db)");
}

#[test]
fn a_revoked_grant_is_told_to_its_holder_unless_they_did_it() {
    let world = World::sample();
    let own = world.grant("bob", "target:orders-db", "alice", &[]);
    world.run("bob", &["revoke", &own]).ok();
    assert!(told(&world, "access.revoked").is_empty());
    let others = world.request("erin", "target:billing-db", &["--for", "bob"]);
    world.run("alice", &["approve", &others]).ok();
    world.run("olivia", &["revoke", &others, "--reason", "The incident is over"]).ok();
    assert_eq!(told(&world, "access.revoked"), ["bob"]);
    let text = world.json("bob", &["inbox"])[0]["text"].to_string();
    assert!(text.contains("(request 2): The incident is over"), "{text}");
    // A grant that was revoked does not expire as well.
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    assert!(told(&world, "access.expired").is_empty());
}

#[test]
fn a_request_that_nobody_decides_on_lapses_after_seven_days() {
    let world = World::sample();
    world.request("alice", "target:orders-db", &["--for", "bob"]);
    world.pass("6d23h59m59s");
    world.run("root", &["expire"]).ok();
    assert!(told(&world, "request.lapsed").is_empty());
    world.pass("1s");
    for _ in 0..2 {
        world.run("root", &["expire"]).ok();
        assert_eq!(told(&world, "request.lapsed"), ["bob"]);
    }
}

#[test]
fn a_withdrawn_request_is_told_to_those_who_were_asked_and_to_whom_it_was_filed_for() {
    let world = World::sample();
    let own = world.request("bob", "target:orders-db", &[]);
    world.run("bob", &["withdraw", &own]).ok();
    assert_eq!(told(&world, "request.withdrawn"), ["alice", "erin", "olivia"]);
    let filed = world.request("alice", "target:billing-db", &["--for", "bob"]);
    world.run("alice", &["withdraw", &filed]).ok();
    assert_eq!(told(&world, "request.withdrawn"), ["alice", "bob", "erin", "erin", "olivia", "olivia"]);
}

#[test]
fn a_change_of_the_team_is_told_to_all_admins_and_the_owner() {
    let world = World::of("olivia", TEAM);
    for member in MEMBERS {
        world.run(member, &["inbox", "--mark-read"]).ok();
    }
    world.apply("olivia", TEAM).ok();
    assert!(told(&world, "team.changed").is_empty(), "nothing changed");
    let frank = TEAM.replace("[members.frank]\nrole = \"member\"", "[members.frank]\nrole = \"admin\"");
    world.apply("olivia", &frank).ok();
    assert_eq!(told(&world, "team.changed"), ["alice", "erin", "frank", "olivia"]);
    // frank is shut out, and hears no more.
    for member in MEMBERS {
        world.run(member, &["inbox", "--mark-read"]).ok();
    }
    world.apply("olivia", &frank.replace("[members.frank]\n", "[members.frank]\ndisabled = true\n")).ok();
    let before = world.rows("SELECT count(*) FROM notification WHERE member = 'frank'");
    world.apply("olivia", &TEAM.replace("[members.frank]\n", "[members.frank]\ndisabled = true\n")).ok();
    assert_eq!(world.rows("SELECT count(*) FROM notification WHERE member = 'frank'"), before);
}

#[test]
fn looking_marks_nothing_and_marking_counts_down() {
    let world = World::sample();
    for resource in ["target:orders-db", "target:billing-db", "connection:prod-aws"] {
        world.request("bob", resource, &[]);
    }
    world.run("alice", &["inbox"]).ok();
    world.run("alice", &["inbox", "--all"]).ok();
    assert_eq!(count(&world, "alice"), 3);
    let numbers = numbers(&world, "alice");
    world.run("alice", &["inbox", "--mark-read", &numbers[1]]).ok();
    assert_eq!(count(&world, "alice"), 2);
    let left: Vec<String> = self::numbers(&world, "alice");
    assert_eq!(left, [numbers[0].clone(), numbers[2].clone()]);
    // Again is no mistake, and does not move the time at which it was read.
    world.pass("1h");
    world.run("alice", &["inbox", "--mark-read", &numbers[1]]).ok();
    assert_eq!(world.json("alice", &["inbox", "--all"])[1]["read_at"], "2026-11-24T09:00:00Z");

    world.run("alice", &["inbox", "--mark-read"]).ok();
    assert_eq!(count(&world, "alice"), 0);
    assert_eq!(world.json("alice", &["inbox", "--all"]).as_array().unwrap().len(), 3);
    assert_eq!(count(&world, "erin"), 3, "hers are hers");
}

#[test]
fn a_notification_of_somebody_elses_does_not_exist() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    let own = numbers(&world, "alice").remove(0);
    let other = numbers(&world, "erin").remove(0);
    let hidden = world.run("alice", &["inbox", "--mark-read", &other]).fails(4, "there is no notification");
    let missing = world.run("alice", &["inbox", "--mark-read", "999"]).fails(4, "there is no notification");
    assert_eq!(hidden.err.replace(&format!("notification {other} "), "notification 999 "), missing.err);
    world.run("alice", &["inbox", "--mark-read", &own, &other]).fails(4, "there is no notification");
    assert_eq!((count(&world, "alice"), count(&world, "erin")), (1, 1), "all or nothing");
}

#[test]
fn a_namesake_neither_sees_nor_marks_what_an_earlier_member_was_told() {
    let world = World::sample();
    for resource in ["target:orders-db", "target:billing-db"] {
        world.request("bob", resource, &[]);
    }
    let (old, file) = (numbers(&world, "alice"), TEAM.to_owned());
    let without =
        file.replace("[members.alice]\nrole = \"admin\"\nemail = \"alice@acme.example\"\nslack = \"U0ALICE\"\n", "");
    let another = file.replace("[members.alice]\n", "[members.alice]\nlogin = \"alice-2\"\n");
    // Removed and added again; then the name goes to another Unix user.
    for (files, login) in [(vec![without, file], "alice"), (vec![another], "alice-2")] {
        for file in files {
            world.apply("olivia", &file).ok();
        }
        let earlier = || world.rows("SELECT id, read_at FROM notification WHERE member = 'alice' ORDER BY id LIMIT 2");
        let before = earlier();
        assert!(before.iter().all(|row| row.ends_with('|')), "nothing is read: {before:?}");
        // Only that they joined.
        let joined = world.json(login, &["inbox", "--all"]);
        assert_eq!((count(&world, login), joined.as_array().unwrap().len()), (1, 1), "{login}: {joined}");
        for id in &old {
            let hidden = world.run(login, &["inbox", "--mark-read", id]).fails(4, "there is no notification");
            let missing = world.run(login, &["inbox", "--mark-read", "999"]).fails(4, "there is no notification");
            assert_eq!(hidden.err.replace(&format!("notification {id} "), "notification 999 "), missing.err);
        }
        shows(&world.json(login, &["inbox", "--mark-read"]), &json!({ "marked": 1 }));
        assert_eq!(earlier(), before, "{login}");
        // What comes from now on is theirs.
        let id = world.request("carol", "target:orders-db", &[]);
        assert_eq!(count(&world, login), 1);
        shows(&world.json(login, &["inbox", "--mark-read"]), &json!({ "marked": 1 }));
        world.run("carol", &["withdraw", &id]).ok();
    }
}

#[test]
fn an_approver_who_was_removed_is_told_nothing_when_the_terms_change() {
    let world = World::sample();
    let two = "\n[[rules]]\nname = \"two\"\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let file = format!("{TEAM}{two}");
    world.apply("olivia", &file).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &id]).ok();
    let alice = "[members.alice]\nrole = \"admin\"\nemail = \"alice@acme.example\"\nslack = \"U0ALICE\"\n";
    world.apply("olivia", &file.replace(alice, "")).ok();
    world.run("erin", &["approve", &id, "--duration", "1h"]).ok();
    let changed = || world.rows("SELECT member FROM notification WHERE kind = 'request.changed'");
    assert_eq!(changed(), ["olivia"]);
    // Nor is a later member with that name.
    world.apply("olivia", &file).ok();
    world.run("erin", &["approve", &id, "--duration", "2h"]).ok();
    assert_eq!(changed(), ["olivia", "alice", "olivia"], "alice may decide on it now");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn what_is_told_is_queued_for_each_address_a_member_has() {
    let world = World::of("olivia", TEAM);
    let rest = world.rows("SELECT count(*) FROM outbox")[0].clone();
    let fresh = format!(
        "SELECT n.member, n.kind, o.subscriber FROM outbox o JOIN notification n ON n.id = o.notification
         WHERE o.id > {rest} ORDER BY n.member, n.kind, o.subscriber"
    );
    // frank has no address at all, alice both.
    let id = world.request("frank", "target:orders-db", &[]);
    let asked = [
        "alice|request.submitted|email",
        "alice|request.submitted|slack",
        "erin|request.submitted|email",
        "olivia|request.submitted|email",
    ];
    assert_eq!(world.rows(&fresh), asked);
    world.run("alice", &["approve", &id]).ok();
    let decided = [
        "alice|request.submitted|email",
        "alice|request.submitted|slack",
        "erin|request.decided|email",
        "erin|request.submitted|email",
        "olivia|request.decided|email",
        "olivia|request.submitted|email",
    ];
    assert_eq!(world.rows(&fresh), decided, "nowhere to send it to frank");
    assert_eq!(world.unread("frank"), ["request.approved"], "the inbox has it all the same");
}

#[test]
fn a_change_and_what_it_tells_are_written_together_or_not_at_all() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", "99"]).exits(4);
    world.run("bob", &["approve", &id]).exits(3);
    let queued = "SELECT count(*) FROM outbox";
    let before = world.rows(queued);
    let full = "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'no room'); END";
    assert!(world.sqlite(full).status.success());
    let failed = world.run("alice", &["approve", &id]);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert_eq!(world.state(&id), "pending");
    assert!(world.unread("bob").is_empty());
    assert!(!world.actions().contains(&"request.approved".to_owned()));
    assert!(world.sqlite("DROP TRIGGER full").status.success());

    world.run("alice", &["approve", &id]).ok();
    assert_eq!(world.unread("bob"), ["request.approved"]);
    assert_eq!(before.len(), 1);
    assert_ne!(world.rows(queued), before);
}

/// The subjects of the emails that came to this address.
fn subjects(server: &Server, to: &str) -> Vec<String> {
    let mails = server.got().into_iter().filter(|mail| mail["to"] == json!([to]));
    mails.map(|mail| header(mail["data"].as_str().unwrap(), "Subject").unwrap()).collect()
}

/// A team whose Slack channel is told as well, and a mail server and a web server for all of them.
fn wired() -> (World, Server, Server) {
    let policy =
        "[notifications.channels]\n\"#access\" = [\"request.submitted\", \"request.withdrawn\", \"team.changed\"]\n";
    let world = fresh(&format!("{TEAM}\n{policy}"));
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    let hook = webhook(&world, "siem", &url, "\"request.submitted\", \"request.withdrawn\", \"team.changed\"");
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hook].concat());
    world.run("root", &["deliver"]).ok();
    (world, mail, web)
}

#[test]
fn a_request_that_is_withdrawn_before_delivery_is_sent_to_nobody() {
    let (world, mail, web) = wired();
    let before = (mail.got().len(), web.bodies("/api/chat.postMessage").len());
    for _ in 0..12 {
        let id = world.request("bob", "target:orders-db", &[]);
        world.run("bob", &["withdraw", &id]).ok();
    }
    world.run("root", &["expire"]).ok();
    let after = (mail.got().len(), web.bodies("/api/chat.postMessage").len());
    assert_eq!(after, before, "neither that it was asked nor that it was withdrawn");
    assert_eq!(world.rows("SELECT count(*) FROM outbox"), ["0"]);
    // The inbox has it all the same, and so has a webhook.
    assert_eq!(told(&world, "request.submitted").len(), 3 * 12);
    assert_eq!(told(&world, "request.withdrawn").len(), 3 * 12);
    assert_eq!(web.bodies("/hook").iter().filter(|body| body["type"] != "team.changed").count(), 2 * 12);
}

#[test]
fn members_who_were_sent_a_request_are_sent_its_withdrawal() {
    let (world, mail, _web) = wired();
    // Erin's mail does not arrive, and alice has hers in a digest.
    world.run("alice", &["notify", "set", "request.submitted", "--digest", "hourly"]).ok();
    let rules = world.folder().join("mail.rules");
    std::fs::write(&rules, json!({ "rcpt": { "erin@acme.example": "451 later" } }).to_string()).unwrap();
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("root", &["deliver"]).exits(1);
    world.run("bob", &["withdraw", &id]).ok();
    std::fs::write(&rules, "{}").unwrap();
    for _ in 0..4 {
        world.pass("1h");
        world.run("root", &["deliver"]).ok();
    }
    let of = |member: &str| -> Vec<String> {
        let all = subjects(&mail, &format!("{member}@acme.example"));
        all.into_iter().filter(|subject| subject.contains("orders-db") || subject.contains("notifications")).collect()
    };
    assert_eq!(
        of("olivia"),
        [
            "[acme] bob asks for target:orders-db (request 1)",
            "[acme] Request 1 of bob for target:orders-db was withdrawn"
        ]
    );
    assert!(of("erin").is_empty() && of("alice").is_empty(), "{:?} {:?}", of("erin"), of("alice"));
    assert_eq!(world.rows("SELECT count(*) FROM outbox"), ["0"]);
}

#[test]
fn a_digest_leaves_out_what_is_no_longer_true() {
    let (world, mail, _web) = wired();
    world.run("erin", &["notify", "set", "all", "--digest", "daily", "--at", "12:00"]).ok();
    let gone = world.request("bob", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    let decided = world.request("dave", "target:orders-db", &[]);
    world.run("root", &["deliver"]).ok();
    world.run("bob", &["withdraw", &gone]).ok();
    world.run("alice", &["deny", &decided, "--reason", "no"]).ok();
    world.pass("4h");
    world.run("root", &["deliver"]).ok();
    let mails = subjects(&mail, "erin@acme.example");
    assert_eq!(mails.last().unwrap(), "[acme] carol asks for target:orders-db (request 2)", "{mails:?}");
    assert_eq!(mails.iter().filter(|subject| !subject.contains("team")).count(), 1, "{mails:?}");
}

#[test]
fn a_reminder_of_a_request_that_waits_no_longer_is_not_sent() {
    let rule = "\n[[rules]]\nname = \"remind\"\nremind_after = \"1h\"\n";
    let world = fresh(&format!("{TEAM}{rule}"));
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    let id = world.request("bob", "target:orders-db", &[]);
    let seen = world.json("alice", &["show", &id])["last_seq"].clone();
    world.run("root", &["deliver"]).ok();
    world.pass("1h");
    world.run("root", &["expire", "--no-deliver"]).ok();
    assert_eq!(told(&world, "request.reminder"), ["alice", "erin", "olivia"]);
    // It is the request that was looked at before.
    assert_eq!(world.json("alice", &["show", "1"])["last_seq"], seen);
    world.run("alice", &["approve", &id]).ok();
    world.run("root", &["deliver"]).ok();
    let erins = subjects(&mail, "erin@acme.example");
    assert_eq!(erins, ["[acme] bob asks for target:orders-db (request 1)"]);
}

#[test]
fn a_change_of_the_team_says_what_changed_wherever_it_is_told() {
    let rule = "\n[[rules]]\nname = \"two for production\"\nmatch = { environments = [\"production\"] }\n\
                approvers = [\"role:admin\"]\napprovals = 2\n";
    let (world, mail, web) = wired();
    let team = world.run("olivia", &["team", "show"]).ok().out;
    let group = "\n[groups.dba]\nmembers = [\"bob\"]\n";
    world.apply("olivia", &format!("{team}{rule}{group}")).ok();
    world.run("root", &["deliver"]).ok();
    let mut changed = format!("{team}{rule}{group}")
        .replace("approvals = 2", "approvals = 1")
        .replace("[members.bob]\nrole = \"member\"", "[members.bob]\nrole = \"admin\"")
        .replace(
            "[connections.prod-aws]\nenvironment = \"production\"",
            "[connections.prod-aws]\nenvironment = \"non-production\"",
        )
        .replace("members = [\"bob\"]\n", "members = [\"bob\", \"dave\"]\n");
    changed += "\n[members.zoe]\nrole = \"admin\"\n";
    for number in 0..40 {
        changed += &format!("\n[targets.aa-{number}]\nconnections = [\"sandbox\"]\n");
    }
    world.apply("olivia", &changed).ok();
    world.run("root", &["deliver"]).ok();
    let changes = [
        "bob: role member → admin",
        "member zoe added (admin)",
        "rule \"two for production\": approvals 2 → 1",
        "group dba: + dave",
        "connection prod-aws: environment production → non-production",
    ];
    let more = "and 35 more changes: `access audit --action team.applied --json`";
    // Wherever a line ends for the width of a terminal.
    let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut wide = world.command("erin", &["inbox"]);
    let inbox = String::from_utf8(wide.env("COLUMNS", "4000").output().unwrap().stdout).unwrap();
    let audit = world.run("erin", &["audit", "--limit", "1"]).ok().out;
    let json = world.json("erin", &["inbox"])[0]["text"].as_str().unwrap().to_owned();
    let got = mail.got().into_iter().rfind(|mail| mail["to"] == json!(["erin@acme.example"])).unwrap();
    let (plain, html) = parts(&got);
    let html = html.replace("&quot;", "\"");
    let posts = web.bodies("/api/chat.postMessage");
    let post = |channel: &str| {
        let post = posts.iter().rfind(|post| post["channel"] == channel).unwrap();
        post["blocks"][1]["text"]["text"].as_str().unwrap().to_owned()
    };
    let hook = web.bodies("/hook").last().unwrap()["data"]["text"].as_str().unwrap().to_owned();
    for (place, text) in [
        ("inbox", inbox),
        ("audit", audit),
        ("inbox --json", json),
        ("mail", plain),
        ("html", html.replace("<br>", "").replace("&nbsp;", " ")),
        ("slack", post("U0ALICE")),
        ("slack channel", post("#access")),
        ("webhook", hook),
    ] {
        let text = unwrapped(&text);
        let places: Vec<Option<usize>> = changes.iter().map(|change| text.find(change)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{place}: {text}");
        assert!(text.contains(more), "{place}: {text}");
        assert!(text.contains("olivia changed the team: bob: role"), "the most dangerous first: {place}: {text}");
    }
    assert_eq!(header(got["data"].as_str().unwrap(), "Subject").unwrap(), "[acme] The team was changed");
}
