//! Delivery: what is told arrives by email, Slack and webhooks, as each prefers, once and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use access::domain::notification::NotificationKind;
use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::post::{
    SECRET, Server, ask, configure, fresh, header, hurry, private, python, script, slack, smtp, webhook,
};

/// The ids of the emails that came, with how often.
fn ids(server: &Server) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for mail in server.got() {
        *ids.entry(header(mail["data"].as_str().unwrap(), "Message-ID").unwrap()).or_default() += 1;
    }
    ids
}

/// Subjects, in the order in which they came to this address.
fn subjects(server: &Server, to: &str) -> Vec<String> {
    let mails = server.got().into_iter().filter(|mail| mail["to"] == json!([to]));
    mails.map(|mail| header(mail["data"].as_str().unwrap(), "Subject").unwrap()).collect()
}

fn waiting(world: &World) -> i64 {
    world.rows("SELECT count(*) FROM outbox WHERE NOT dead")[0].parse().unwrap()
}

#[test]
fn one_request_from_asking_to_its_end_by_email() {
    let world = fresh(TEAM);
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    let id = ask(&world, "bob", &["--reason", "Überall <b>kaputt</b>", "--ticket", "OPS-1"]);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 3, "failed": 0, "dead": 0 }));
    world.run("alice", &["approve", &id, "--note", "Go on"]).ok();
    world.pass("1h");
    shows(&world.json("root", &["expire"]), &json!({ "expired": 1, "delivered": 2, "failed": 0 }));
    assert_eq!(
        subjects(&server, "bob@acme.example"),
        [
            "[acme] Request 1 for target:orders-db was approved",
            "[acme] Your access to target:orders-db ended (request 1)"
        ]
    );
    let asked = server.got().into_iter().find(|mail| mail["to"] == json!(["alice@acme.example"])).unwrap();
    let data = asked["data"].as_str().unwrap();
    assert_eq!(header(data, "Subject").unwrap(), "[acme] bob asks for target:orders-db (request 1)");
    assert_eq!(header(data, "Auto-Submitted").unwrap(), "auto-generated");
    assert_eq!(header(data, "List-Id").unwrap(), "access <acme.access.acme.example>");
    assert!(data.contains("access approve 1") && data.contains("multipart/alternative"), "{data}");
    // All that is told of one request hangs together.
    let threads: BTreeSet<_> =
        server.got().iter().map(|mail| header(mail["data"].as_str().unwrap(), "References").unwrap()).collect();
    assert_eq!(threads.len(), 1);
    assert_eq!(ids(&server).len(), server.got().len(), "each has an id of its own");
    // One connection a run, however many messages.
    let connections: BTreeSet<_> = server.got().iter().map(|mail| mail["connection"].as_i64().unwrap()).collect();
    assert_eq!(connections.len(), 2);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 0 }));
    world.run("olivia", &["audit", "verify"]).ok();
}

/// An entry that tells bob of each of these, as later versions may: the log's own chain is not what is tested here.
fn tell(world: &World, notices: &[NotificationKind]) {
    for notice in notices {
        let kind = notice.as_str();
        let script = format!(
            "INSERT INTO event SELECT max(seq) + 1, at, actor, os_user, action, request, randomblob(32),
                 json_set(body, '$.seq', max(seq) + 1, '$.told', json('[[\"bob\",\"{kind}\"]]')) FROM event;
             UPDATE team SET last_seq = last_seq + 1;
             INSERT INTO notification (id, seq, member, kind)
                 SELECT max(n.id) + 1, (SELECT max(seq) FROM event), 'bob', '{kind}' FROM notification n;
             INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT max(id), seq, kind, 'email', 0 FROM notification;
             INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT max(id), seq, kind, 'slack', 0 FROM notification;"
        );
        world.rows(&script);
    }
}

#[test]
fn every_event_on_every_channel_with_preferences_honoured() {
    let policy = "[notifications]\nmandatory = [\"access.revoked\"]\n
        [notifications.channels]\n\"#access\" = [\"request.submitted\", \"access.emergency\"]\n
        [[rules]]\nname = \"late\"\nmatch = { requesters = [\"member:carol\"] }\nremind_after = \"1d\"\n
        escalate_to = [\"member:bob\"]\n";
    let world = fresh(&format!("{TEAM}\n{policy}"));
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let events = NotificationKind::ALL.map(|notice| format!("\"{notice}\"")).join(", ");
    let hook = webhook(&world, "siem", &format!("http://127.0.0.1:{}/hook", web.port), &format!("{events}, \"audit\""));
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hook].concat());

    world.run("bob", &["notify", "set", "access.started", "--email", "off"]).ok();
    world.run("bob", &["notify", "set", "access.expired", "--slack", "off"]).ok();
    world.run("bob", &["notify", "mute", "request.lapsed", "access.revoked", "access.emergency"]).ok();
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", "1"]).ok();
    // Of what ends, access must live. Of what asks for a decision, the request must be pending, and bob must be one who may
    // see it.
    tell(&world, &[NotificationKind::AccessExpiring]);
    world.request("carol", "target:orders-db", &[]);
    tell(
        &world,
        &NotificationKind::ALL
            .into_iter()
            .filter(|notice| *notice != NotificationKind::AccessExpiring)
            .collect::<Vec<_>>(),
    );
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0, "dead": 0, "busy": false }));
    assert_eq!(waiting(&world), 0);

    let headlines = |notice: NotificationKind| match notice {
        NotificationKind::RequestSubmitted => "carol asks for",
        NotificationKind::RequestApproved => "was approved",
        NotificationKind::RequestDenied => "was denied",
        NotificationKind::RequestWithdrawn => "was withdrawn",
        NotificationKind::RequestLapsed => "lapsed",
        NotificationKind::RequestChanged => "has new terms",
        NotificationKind::RequestReminder => "is still waiting",
        NotificationKind::RequestDecided => "was decided",
        NotificationKind::AccessStarted => "started",
        NotificationKind::AccessExpiring => "ends soon",
        NotificationKind::AccessExpired => "ended (",
        NotificationKind::AccessRevoked => "was revoked",
        NotificationKind::AccessEmergency => "EMERGENCY: carol",
        NotificationKind::TeamChanged => "The team was changed",
        NotificationKind::ProvisioningFailed => "could not be given",
        NotificationKind::RevokeFailed => "COULD NOT BE TAKEN BACK",
        NotificationKind::DriftFound => "A system differs",
        NotificationKind::RecertificationStarted => "of others waits for your review",
        NotificationKind::RecertificationReminder => "of others still waits for your review",
        NotificationKind::RecertificationClosed => "A recertification was closed",
    };
    let emails = subjects(&mail, "bob@acme.example");
    let posts = web.bodies("/api/chat.postMessage");
    let to = |channel: &str| -> Vec<String> {
        let posts = posts.iter().filter(|post| post["channel"] == channel);
        posts.map(|post| post["text"].as_str().unwrap().to_owned()).collect()
    };
    let hooked = web.bodies("/hook");
    for notice in NotificationKind::ALL {
        let count = |texts: &[String]| texts.iter().filter(|text| text.contains(headlines(notice))).count();
        // The request's own approval besides.
        let own = usize::from(notice == NotificationKind::RequestApproved);
        // What was decided goes out with digests only, unless somebody says otherwise.
        let muted = matches!(notice, NotificationKind::RequestLapsed | NotificationKind::RequestDecided);
        let email = usize::from(notice != NotificationKind::AccessStarted && !muted) + own;
        let slack = usize::from(notice != NotificationKind::AccessExpired && !muted) + own;
        assert_eq!(count(&emails), email, "{notice} by email: {emails:#?}");
        assert_eq!(count(&to("U0BOB")), slack, "{notice} by Slack");
        let channel = usize::from(notice == NotificationKind::RequestSubmitted) * 2
            + usize::from(notice == NotificationKind::AccessEmergency);
        assert_eq!(count(&to("#access")), channel, "{notice} to the channel");
        let sent = hooked.iter().filter(|body| body["type"] == notice.as_str()).count();
        let own = match notice {
            NotificationKind::RequestApproved | NotificationKind::RequestDecided | NotificationKind::TeamChanged => 1,
            NotificationKind::RequestSubmitted => 2,
            _ => 0,
        };
        assert_eq!(sent, 1 + own, "{notice} to the webhook");
    }
    // The audit stream has every entry, in order.
    let seqs: Vec<i64> = hooked
        .iter()
        .filter(|body| body["type"] == "audit")
        .map(|body| body["data"]["seq"].as_i64().unwrap())
        .collect();
    let all: i64 = world.rows("SELECT count(*) FROM event")[0].parse().unwrap();
    assert_eq!(seqs, (1..=all).collect::<Vec<_>>());
    // Nobody's address or secret is in the webhooks, and nothing of the token in our own log.
    assert!(!fs::read_to_string(world.db()).is_ok_and(|text| text.contains("xoxb-secret-token")));
}

#[test]
fn a_slack_message_says_who_wants_what_and_mentions_nobody() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    configure(&world, &slack(&world, web.port));
    ask(&world, "bob", &["--reason", "<!channel> & <@U1> =cmd|' /C calc'!A0", "--ticket", "<x>"]);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1, "failed": 0 }));
    let got = web.got().remove(0);
    assert_eq!(got["headers"]["authorization"], "Bearer xoxb-secret-token");
    let post = web.bodies("/api/chat.postMessage").remove(0);
    assert_eq!(post["channel"], "U0ALICE");
    let text = post.to_string();
    assert!(!text.contains("<!channel>") && !text.contains("<@U1>") && !text.contains("<x>"), "{text}");
    for part in [
        "Who: bob",
        "What: target:orders-db",
        "How long: for 1h",
        "&lt;!channel&gt; &amp; &lt;@U1&gt;",
        "`access approve 1`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(post["metadata"]["event_payload"]["id"].as_str().unwrap().len(), 32 + ".1".len());
}

#[test]
fn a_channel_may_have_an_incoming_webhook_of_its_own() {
    let policy = "[notifications.channels]\n\"#ops\" = [\"request.submitted\"]\n\"#other\" = [\"request.submitted\"]\n";
    let world = fresh(&format!("{TEAM}\n{policy}"));
    let web = Server::web(&world);
    let url = private(&world, "ops-url", &format!("http://127.0.0.1:{}/services/T0/B0/x\n", web.port));
    configure(&world, &format!("[slack]\nallow_plain = true\n[slack.webhooks]\n\"#ops\" = \"{url}\"\n"));
    world.request("bob", "target:orders-db", &[]);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1, "failed": 0 }));
    assert!(web.bodies("/services/T0/B0/x")[0]["text"].as_str().unwrap().contains("bob asks for target:orders-db"));
}

#[test]
fn webhooks_verify_with_the_published_library() {
    let world = fresh(TEAM);
    // The library refuses what is older than five minutes.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = access::domain::time::Timestamp::from_unix(now as i64).unwrap();
    world.set_clock(&now.to_string());
    let web = Server::web(&world);
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    configure(&world, &webhook(&world, "siem", &url, "\"request.submitted\", \"audit\""));
    ask(&world, "bob", &["--reason", "naïve “quotes” \\ and\nlines"]);
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0 }));
    let ran = python().arg(script("verify_webhooks.py")).arg(web.log()).arg(SECRET).output().unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap().trim(), "4", "{}", String::from_utf8_lossy(&ran.stderr));
    let wrong = python()
        .arg(script("verify_webhooks.py"))
        .args([web.log().to_str().unwrap(), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
        .output()
        .unwrap();
    assert!(!wrong.status.success(), "the check can fail");
}

#[test]
fn digests_put_together_what_came_in_their_time() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", "timezone = \"Europe/Paris\""));
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    world.run("alice", &["notify", "set", "all", "--digest", "daily", "--at", "12:00"]).ok();
    world.run("erin", &["notify", "set", "request.submitted", "--digest", "hourly"]).ok();
    world.run("root", &["deliver"]).ok();
    let before = server.got().len();
    // It is 09:00 in UTC, and 10:00 in Paris.
    world.request("bob", "target:orders-db", &[]);
    world.pass("30m");
    world.request("carol", "target:orders-db", &[]);
    let mails = |to: &str| subjects(&server, to);
    let deliver = || world.json("root", &["deliver"]);
    shows(&deliver(), &json!({ "delivered": 2, "failed": 0 }));
    assert_eq!(server.got().len(), before + 2, "olivia has both at once");
    world.pass("30m");
    shows(&deliver(), &json!({ "delivered": 2 }));
    assert_eq!(mails("erin@acme.example"), ["[acme] 2 notifications"]);
    world.pass("59m59s");
    shows(&deliver(), &json!({ "delivered": 0 }));
    world.pass("1s");
    shows(&deliver(), &json!({ "delivered": 2 }));
    assert_eq!(mails("alice@acme.example").last().unwrap(), "[acme] 2 notifications");

    // Who changes their mind need not wait for the digest.
    world.request("dave", "target:orders-db", &[]);
    shows(&deliver(), &json!({ "delivered": 1 }));
    world.run("alice", &["notify", "reset"]).ok();
    shows(&deliver(), &json!({ "delivered": 1 }));
    assert_eq!(mails("alice@acme.example").last().unwrap(), "[acme] dave asks for target:orders-db (request 3)");
}

#[test]
fn a_refused_recipient_holds_up_nobody_and_one_to_be_tried_again_keeps_its_order() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    let rules = world.folder().join("mail.rules");
    fs::write(
        &rules,
        json!({ "rcpt": { "alice@acme.example": "451 later", "erin@acme.example": "550 no such user" } }).to_string(),
    )
    .unwrap();
    world.request("bob", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    let ran = world.run("root", &["deliver", "--json"]).exits(1);
    shows(&ran.json(), &json!({ "delivered": 2, "failed": 3, "dead": 2 }));
    assert!(ran.err.contains("access outbox --dead"), "{}", ran.err);
    let dead = world.json("root", &["outbox", "--dead"]);
    shows(
        &dead[0],
        &json!({ "channel": "email", "to": "erin", "event": "request.submitted", "request": 1, "attempts": 1, "dead": true }),
    );
    assert!(dead[0]["error"].as_str().unwrap().contains("550"), "{dead:#}");
    let left = world.json("root", &["outbox"]);
    shows(&left, &json!([{ "to": "alice", "attempts": 1 }, { "to": "alice", "attempts": 0, "error": null }]));
    world.run("root", &["doctor"]).ok().says("warning  outbox      2 notifications were given up, and 2 wait");

    fs::write(&rules, "{}").unwrap();
    world.pass("59s");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 0, "failed": 0 }));
    world.pass("13s");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2, "failed": 0 }));
    let asks =
        ["[acme] bob asks for target:orders-db (request 1)", "[acme] carol asks for target:orders-db (request 2)"];
    assert_eq!(subjects(&server, "alice@acme.example"), asks);
    world.run("root", &["outbox", "retry", "999"]).fails(4, "there is no 999 in the outbox");
    shows(&world.json("root", &["outbox", "retry"]), &json!({ "retried": 2 }));
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2 }));
    assert_eq!(subjects(&server, "erin@acme.example"), asks);
}

#[test]
fn five_more_attempts_and_then_it_is_dead_and_loud() {
    let world = fresh(TEAM);
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    fs::write(world.folder().join("mail.rules"), json!({ "data": "452 full" }).to_string()).unwrap();
    world.request("alice", "target:orders-db", &["--for", "bob"]);
    let mut attempts = 0;
    for wait in ["0s", "72s", "6m", "36m", "144m", "14h24m"] {
        if wait != "0s" {
            world.pass(wait);
        }
        let ran = world.run("root", &["deliver", "--json"]).exits(1);
        attempts += 1;
        let dead = if attempts == 6 { 2 } else { 0 };
        shows(&ran.json(), &json!({ "delivered": 0, "failed": 2, "dead": dead }));
    }
    world.pass("4d");
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0 }));
    assert_eq!(world.json("root", &["outbox", "--dead"]).as_array().unwrap().len(), 2);
}

#[test]
fn slack_is_left_alone_for_as_long_as_it_asks_and_a_bad_token_loses_nothing() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    configure(&world, &slack(&world, web.port));
    let rule = |rule: Value| {
        fs::write(world.folder().join("web.rules"), json!({ "/api/chat.postMessage": rule }).to_string()).unwrap();
    };
    rule(json!({ "status": 429, "headers": { "Retry-After": "30" } }));
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.run("root", &["deliver"]).exits(1);
    assert_eq!(web.got().len(), 1, "one asks, and the rest wait");
    world.pass("29s");
    world.run("root", &["deliver"]).ok();
    assert_eq!(web.got().len(), 1);
    rule(json!({ "body": "{\"ok\":false,\"error\":\"invalid_auth\"}" }));
    world.pass("1s");
    shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "failed": 1, "dead": 0 }));
    let waits = world.json("root", &["outbox"]);
    let slack = waits.as_array().unwrap().iter().find(|row| row["channel"] == "slack" && row["attempts"] == 1).unwrap();
    assert_eq!(slack["error"], "Slack answered invalid_auth");
    // Once the token is mended, all of it comes.
    rule(json!({}));
    world.pass("2m");
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0 }));
    assert_eq!(world.rows("SELECT count(*) FROM outbox WHERE subscriber = 'slack'"), ["0"]);
}

#[test]
fn two_senders_at_once_send_nothing_twice() {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    world.rows(
        "INSERT INTO notification (id, seq, member, kind)
             WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1119)
             SELECT i, 2, 'bob', 'access.started' FROM n;
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT id, seq, kind, 'email', 0 FROM notification WHERE id >= 1000;",
    );
    let start = || world.command("root", &["deliver", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let running = [start(), start(), start()];
    for child in running {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(waiting(&world), 0);
    let ids = ids(&server);
    assert_eq!((ids.len(), ids.values().max()), (120, Some(&1)));
}

#[test]
fn nothing_is_lost_where_no_way_is_configured_and_news_of_a_week_ago_is_none() {
    let world = fresh(TEAM);
    world.request("bob", "target:orders-db", &[]);
    world.run("root", &["deliver"]).ok();
    assert_eq!(waiting(&world), 4);
    world.pass("8d");
    world.run("root", &["deliver"]).ok();
    assert_eq!(waiting(&world), 0);
    assert_eq!(world.unread("alice"), ["team.changed", "request.submitted"], "the inbox has it all the same");
}

#[test]
fn the_hosts_own_mail_system_by_its_program() {
    use std::os::unix::fs::PermissionsExt;
    let world = fresh(TEAM);
    let program = world.folder().join("sendmail");
    let script =
        "#!/bin/sh\nprintf '%s ' \"$@\" >> \"$HOME/args\"; cat >> \"$HOME/mails\"; exit $(cat \"$HOME/code\")\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    configure(&world, &format!("sendmail = \"{}\"\nfrom = \"access@acme.example\"\n", program.display()));
    let code = |code: &str| fs::write(world.folder().join("code"), code).unwrap();
    code("75");
    world.request("alice", "target:orders-db", &["--for", "bob"]);
    shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "failed": 2, "dead": 0 }));
    code("0");
    world.pass("2m");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2 }));
    let args = fs::read_to_string(world.folder().join("args")).unwrap();
    assert!(args.contains("-i -f access@acme.example -- erin@acme.example "), "{args}");
    code("67");
    world.request("alice", "target:billing-db", &["--for", "bob"]);
    shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "failed": 2, "dead": 2 }));
}

#[test]
fn watching_sends_what_comes() {
    let world = fresh(TEAM);
    let server = Server::mail(&world, &[]);
    configure(&world, &[smtp(server.port), hurry("5s", "1s")].concat());
    world.request("bob", "target:orders-db", &[]);
    let mut watch = world.command("root", &["deliver", "--watch"]);
    let mut watch = watch.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while server.got().len() < 3 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(watch.try_wait().unwrap(), None, "it keeps going");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(server.got().len(), 3);
}

#[test]
fn emergencies_new_terms_reminders_and_beginnings_arrive_and_an_emergency_at_once() {
    let rules = r#"
[[rules]]
name = "night"
match = { resources = ["target:orders-db"] }
emergency = true

[[rules]]
name = "call to mind"
match = { resources = ["target:orders-db"] }
remind_after = "1h"
lapse_after = "2d"

[[rules]]
name = "two"
match = { resources = ["target:billing-db"] }
approvers = ["role:admin"]
approvals = 2
"#;
    let world = fresh(&format!("{}{rules}", TEAM.replace("slack = \"U0ALICE\"", "")));
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    // A member who muted everything, or has a daily digest, is notified of an emergency at once.
    world.run("alice", &["notify", "set", "all", "--digest", "daily"]).ok();
    world.run("alice", &["notify", "mute"]).ok();
    let deliver = || world.json("root", &["expire"]);
    let subjects = |to: &str| subjects(&server, to);

    world.run("bob", &["request", "target:orders-db", "--reason", "Down", "--emergency"]).ok();
    shows(&deliver(), &json!({ "failed": 0 }));
    assert_eq!(subjects("alice@acme.example"), ["[acme] EMERGENCY: bob took access to target:orders-db (request 1)"]);
    assert!(server.got().iter().any(|mail| mail["data"].as_str().unwrap().contains("access review 1")));

    ask(&world, "carol", &["--reason", "x"]);
    world.pass("1h");
    shows(&deliver(), &json!({ "failed": 0, "reminded": 1 }));
    let waits = "[acme] carol is still waiting for target:orders-db (request 2)".to_owned();
    assert!(subjects("erin@acme.example").contains(&waits), "{:?}", subjects("erin@acme.example"));

    world.request("dave", "target:billing-db", &["--duration", "4h"]);
    world.run("erin", &["approve", "3"]).ok();
    world.run("alice", &["approve", "3", "--duration", "1h"]).ok();
    shows(&deliver(), &json!({ "failed": 0 }));
    let changed = "[acme] Request 3 of dave for target:billing-db has new terms".to_owned();
    assert!(subjects("erin@acme.example").contains(&changed), "{:?}", subjects("erin@acme.example"));

    world.run("carol", &["request", "feature:cost-explorer", "--reason", "x", "--start", "in 2h"]).ok();
    world.run("erin", &["approve", "4"]).ok();
    world.pass("2h");
    shows(&deliver(), &json!({ "failed": 0 }));
    let started = "[acme] Your access to feature:cost-explorer started (request 4)".to_owned();
    assert!(subjects("carol@acme.example").contains(&started), "{:?}", subjects("carol@acme.example"));
    assert_eq!(subjects("alice@acme.example").len(), 1, "she is told of nothing else");
    world.run("olivia", &["audit", "verify"]).ok();
}
