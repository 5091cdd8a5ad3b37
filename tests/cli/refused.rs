//! Messages that a receiver refuses for what a member wrote: nobody else's wait for them, and none is lost.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::post::{Server, ask, configure, fresh, header, hurry, parts, slack, smtp, webhook};

const NIGHT: &str = "\n[[rules]]\nname = \"night\"\nmatch = { resources = [\"target:orders-db\"] }\nemergency = true\n";

/// A team of which nobody reads Slack, with this server for mail, and the answer to mails that contain POISON.
fn wired(answer: &str) -> (World, Server) {
    let world = fresh(&format!("{}{NIGHT}", TEAM.replace("slack = \"U0ALICE\"", "")));
    let mail = Server::mail(&world, &[]);
    configure(&world, &[smtp(mail.port), hurry("20s", "5s")].concat());
    fs::write(world.folder().join("mail.rules"), json!({ "content": { "POISON": answer } }).to_string()).unwrap();
    (world, mail)
}

fn subject(mail: &Value) -> String {
    header(mail["data"].as_str().unwrap(), "Subject").unwrap().replace("[acme] ", "")
}

/// The mails to alice.
fn to_alice(server: &Server) -> Vec<Value> {
    server.got().into_iter().filter(|mail| mail["to"] == json!(["alice@acme.example"])).collect()
}

fn subjects(server: &Server) -> Vec<String> {
    to_alice(server).iter().map(subject).collect()
}

fn poison(world: &World, login: &str) -> String {
    ask(world, login, &["--reason", "POISON"])
}

fn emergency(world: &World, login: &str, reason: &str) {
    world.run(login, &["request", "target:orders-db", "--reason", reason, "--emergency"]).ok();
}

#[test]
fn a_mail_that_is_refused_for_its_text_comes_without_it_and_keeps_its_place() {
    for answer in ["554 5.7.1 spam", "550 spam", "451 4.7.1 later", "break"] {
        let (world, mail) = wired(answer);
        poison(&world, "carol");
        emergency(&world, "bob", "POISON");
        ask(&world, "dave", &["--reason", "work"]);
        shows(&world.json("root", &["deliver"]), &json!({ "failed": 0, "dead": 0 }));
        let expected = [
            "carol asks for target:orders-db (request 1)",
            "EMERGENCY: bob took access to target:orders-db (request 2)",
            "dave asks for target:orders-db (request 3)",
        ];
        assert_eq!(subjects(&mail), expected, "{answer}");
        let got = to_alice(&mail);
        for (place, show) in ["access show 1", "access show 2"].into_iter().enumerate() {
            let (plain, html) = parts(&got[place]);
            for part in [plain, html] {
                assert!(part.contains("What people wrote is left out") && part.contains(show), "{answer}: {part}");
            }
        }
        assert!(parts(&got[2]).0.contains("Why:         work"));
    }
}

#[test]
fn a_digest_at_which_the_connection_breaks_again_and_again_is_divided() {
    let (world, mail) = wired("break");
    world.run("alice", &["notify", "set", "all", "--digest", "hourly"]).ok();
    poison(&world, "carol");
    ask(&world, "dave", &["--reason", "work"]);
    world.pass("1h");
    let mut delivered = Vec::new();
    for wait in ["0s", "72s", "6m"] {
        if wait != "0s" {
            world.pass(wait);
        }
        delivered.push(world.run("root", &["deliver", "--json"]).json()["delivered"].as_i64().unwrap());
    }
    // First what goes to erin and olivia, or what is left of that.
    assert_eq!(delivered.iter().sum::<i64>(), 6, "{delivered:?}");
    let got = to_alice(&mail);
    assert_eq!((got.len(), delivered[2] >= 2), (2, true), "{delivered:?} {:?}", subjects(&mail));
    assert!(parts(&got[0]).0.contains("What people wrote is left out"));
    assert!(parts(&got[1]).0.contains("Why:         work"));
}

#[test]
fn a_digest_loses_nothing_for_one_that_is_refused() {
    for (answer, deadline) in [("554 5.7.1 spam", "20s"), ("550 spam", "20s"), ("550 spam", "5s")] {
        let (world, mail) = wired(answer);
        configure(&world, &[smtp(mail.port), hurry(deadline, "5s")].concat());
        world.run("alice", &["notify", "set", "all", "--digest", "daily"]).ok();
        world.pass("1h");
        for (count, login) in ["bob", "carol", "dave", "frank", "grace"].into_iter().enumerate() {
            ask(&world, login, &["--reason", if count == 1 { "POISON" } else { "work" }]);
        }
        world.pass("1d");
        shows(&world.json("root", &["deliver"]), &json!({ "failed": 0, "dead": 0 }));
        let got = to_alice(&mail);
        // Five are divided until carol's is by itself.
        assert_eq!(got.len(), 3, "{answer}: {:?}", subjects(&mail));
        let all: String = got.iter().map(|mail| parts(mail).0).collect();
        for id in 1..=5 {
            assert_eq!(all.matches(&format!("    access approve {id}\n")).count(), 1, "{answer}: {all}");
        }
        assert_eq!(all.matches("Why:         work").count(), 4, "{all}");
        let ids: BTreeSet<String> =
            got.iter().map(|mail| header(mail["data"].as_str().unwrap(), "Message-ID").unwrap()).collect();
        assert_eq!(ids.len(), 3);
    }
}

#[test]
fn what_slack_refuses_for_its_text_comes_without_it() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    configure(&world, &slack(&world, web.port));
    let rule = json!({ "if": "POISON", "body": "{\"ok\":false,\"error\":\"invalid_blocks\"}" });
    fs::write(world.folder().join("web.rules"), json!({ "/api/chat.postMessage": rule }).to_string()).unwrap();
    poison(&world, "bob");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1, "failed": 0 }));
    let posts = web.bodies("/api/chat.postMessage");
    let [with, without] = posts.as_slice() else { panic!("{posts:#?}") };
    assert!(with.to_string().contains("POISON") && !without.to_string().contains("POISON"), "{without}");
    assert!(without.to_string().contains("access show 1"), "{without}");
    assert_eq!(with["client_msg_id"], without["client_msg_id"]);
}

/// A webhook for everything, that is at the end of the log.
fn hooked() -> (World, Server) {
    hooked_for("20s", "5s")
}

fn hooked_for(deadline: &str, timeout: &str) -> (World, Server) {
    let world = fresh(&format!("{TEAM}{NIGHT}"));
    let web = Server::web(&world);
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    let hook = webhook(&world, "siem", &url, "\"request.submitted\", \"access.emergency\", \"audit\"");
    configure(&world, &[hook, hurry(deadline, timeout)].concat());
    world.rows("INSERT INTO subscriber SELECT 'webhook:siem', last_seq FROM team");
    (world, web)
}

fn rule(world: &World, rule: &Value) {
    fs::write(world.folder().join("web.rules"), json!({ "/hook": rule }).to_string()).unwrap();
}

/// The messages that were taken: their types and entries.
fn taken(web: &Server, refused: impl Fn(&Value) -> bool) -> Vec<(String, i64)> {
    let bodies = web.bodies("/hook").into_iter().filter(|body| !refused(body));
    bodies.map(|body| (body["type"].as_str().unwrap().to_owned(), body["data"]["seq"].as_i64().unwrap())).collect()
}

fn has_poison(body: &Value) -> bool {
    body.to_string().contains("POISON")
}

#[test]
fn a_message_that_a_webhook_refuses_holds_back_the_others_for_minutes_only() {
    for answer in [json!({ "status": 403 }), json!({ "status": 500 }), json!({ "fault": "close" })] {
        let (world, web) = hooked();
        let mut refusing = answer.clone();
        refusing["if"] = json!("POISON");
        rule(&world, &refusing);
        // Several in a row, so that what comes next is refused too.
        for login in ["bob", "carol", "dave"] {
            poison(&world, login);
        }
        ask(&world, "frank", &["--reason", "work"]);
        let last: i64 = world.rows("SELECT last_seq FROM team")[0].parse().unwrap();
        world.run("root", &["deliver"]).exits(1);
        assert_eq!(taken(&web, has_poison), [], "{answer}: those behind it wait, in their order");
        world.pass("1m12s");
        world.run("root", &["deliver"]).exits(1);
        assert_eq!(taken(&web, has_poison), [], "{answer}");
        world.pass("6m");
        world.run("root", &["deliver"]).exits(1);
        let frank = [("request.submitted".to_owned(), last), ("audit".to_owned(), last)];
        let got = taken(&web, has_poison);
        assert!(frank.iter().all(|message| got.contains(message)) && got.len() == 2, "{answer}: {got:?}");
        // From now on they hold nothing back, and are still tried.
        ask(&world, "grace", &["--reason", "work"]);
        world.run("root", &["deliver"]).ok();
        assert_eq!(taken(&web, has_poison).len(), 4, "{answer}");
        let waiting = world.json("root", &["outbox"]);
        let waiting: Vec<&Value> =
            waiting.as_array().unwrap().iter().filter(|row| row["channel"] == "webhook:siem").collect();
        assert_eq!(waiting.len(), 6, "{waiting:#?}");
        assert!(waiting.iter().all(|row| row["attempts"].as_i64().unwrap() > 0 && !row["error"].is_null()));
        rule(&world, &json!({}));
        world.pass("1h");
        shows(&world.json("root", &["deliver"]), &json!({ "delivered": 6, "failed": 0 }));
        world.run("olivia", &["audit", "verify"]).ok();
    }
}

/// Each costs the time that an answer may take, and a run has time for seven of them.
#[test]
fn messages_at_which_a_webhook_hangs_hold_back_the_others_for_minutes_only() {
    let (world, web) = hooked_for("20s", "3s");
    // A receiver that takes its time: a second for each.
    rule(&world, &json!({ "if": "POISON", "fault": "hang", "slow": 1 }));
    for login in ["bob", "carol", "dave", "grace", "heidi"] {
        poison(&world, login);
    }
    ask(&world, "frank", &["--reason", "work"]);
    for wait in ["1s", "72s", "6m"] {
        assert_eq!(taken(&web, has_poison), []);
        world.pass(wait);
        world.run("root", &["deliver"]).exits(1);
    }
    let taken = taken(&web, has_poison);
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert_eq!(world.rows("SELECT count(*) FROM outbox WHERE passed"), ["10"], "{taken:?}");
}

#[test]
fn messages_between_those_that_a_webhook_refuses_are_not_held_back_by_each() {
    let (world, web) = hooked();
    rule(&world, &json!({ "if": "POISON", "status": 403 }));
    for (bad, good) in [("bob", "carol"), ("dave", "frank"), ("grace", "heidi")] {
        poison(&world, bad);
        ask(&world, good, &["--reason", "work"]);
    }
    for wait in ["1s", "72s", "6m"] {
        assert_eq!(taken(&web, has_poison), []);
        world.pass(wait);
        world.run("root", &["deliver"]).exits(1);
    }
    assert_eq!(taken(&web, has_poison).len(), 6);
}

#[test]
fn a_digest_that_failed_comes_as_one_message_again() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.run("alice", &["notify", "set", "all", "--digest", "hourly"]).ok();
    let logins = ["bob", "carol", "dave", "frank", "grace", "heidi"];
    let each =
        logins.iter().flat_map(|login| ["orders-db", "billing-db"].map(|target| (login, format!("target:{target}"))));
    for (login, target) in each {
        world.run(login, &["request", &target, "--reason", "work"]).ok();
    }
    configure(&world, &smtp(1));
    for wait in ["1h", "72s", "6m"] {
        world.pass(wait);
        world.run("root", &["deliver"]).exits(1);
    }
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    world.pass("30m");
    for _ in 0..40 {
        if to_alice(&mail).is_empty() {
            world.pass("10s");
            world.run("root", &["deliver"]).ok();
        }
    }
    assert_eq!(subjects(&mail).len(), 1, "{:?}", subjects(&mail));
    let digest = parts(&to_alice(&mail)[0]).0;
    assert_eq!(digest.matches("Why:         work").count(), 12, "{digest}");
}

#[test]
fn while_a_webhook_refuses_everything_the_order_is_kept_and_only_the_first_counts_as_tried() {
    for answer in [json!({ "status": 401 }), json!({ "status": 502 }), json!({ "fault": "close" })] {
        let (world, web) = hooked();
        rule(&world, &answer);
        for login in ["bob", "carol", "dave"] {
            ask(&world, login, &["--reason", "work"]);
        }
        for wait in ["1s", "72s", "6m", "36m", "144m", "15h", "15h"] {
            world.pass(wait);
            shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "delivered": 0, "failed": 1 }));
        }
        let attempts = world.rows("SELECT attempts FROM outbox WHERE subscriber = 'webhook:siem' ORDER BY id");
        assert_eq!(attempts, ["7", "0", "0", "0", "0", "0"], "{answer}");
        let before = web.got().len();
        rule(&world, &json!({}));
        world.pass("15h");
        shows(&world.json("root", &["deliver"]), &json!({ "delivered": 6, "failed": 0 }));
        let came: Vec<i64> = taken(&web, |_| false)[before..].iter().map(|(_, seq)| *seq).collect();
        assert!(came.is_sorted() && came.len() == 6, "{answer}: {came:?}");
    }
}

#[test]
fn an_emergency_waits_behind_no_message_that_failed() {
    let (world, web) = hooked();
    rule(&world, &json!({ "if": "POISON", "status": 403 }));
    poison(&world, "carol");
    world.run("root", &["deliver"]).exits(1);
    emergency(&world, "bob", "Down");
    world.run("root", &["deliver"]).ok();
    let emergencies = |web: &Server| {
        let got = taken(web, has_poison);
        got.iter().filter(|(event, _)| event == "access.emergency").count()
    };
    assert_eq!(emergencies(&web), 1);
    // Nor where the one that failed is due again at the same time.
    emergency(&world, "dave", "Down too");
    world.pass("72s");
    world.run("root", &["deliver"]).exits(1);
    assert_eq!(emergencies(&web), 2);

    // A mailbox that is full for now.
    let (world, mail) = wired("250 ok");
    let rules = world.folder().join("mail.rules");
    fs::write(&rules, json!({ "rcpt": { "alice@acme.example": "452 full" } }).to_string()).unwrap();
    ask(&world, "carol", &["--reason", "work"]);
    world.run("root", &["deliver"]).exits(1);
    fs::write(&rules, "{}").unwrap();
    emergency(&world, "bob", "Down");
    world.run("root", &["deliver"]).ok();
    assert_eq!(subjects(&mail), ["EMERGENCY: bob took access to target:orders-db (request 2)"]);
    world.pass("72s");
    world.run("root", &["deliver"]).ok();
    assert_eq!(subjects(&mail).last().unwrap(), "carol asks for target:orders-db (request 1)");
}
