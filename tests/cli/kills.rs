//! A sender killed at any moment: nothing is lost, and what comes twice has the same id.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{TEAM, World};
use crate::post::{Server, configure, fresh, header, slack, smtp, webhook};

/// How often, unless `ACCESS_TEST_KILLS` says otherwise. It takes a while.
const KILLS: u64 = 40;

/// A number that is another at each call, and the same in each run of the test.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// So many notifications of bob's, by email and Slack, and as many entries for the webhook.
fn pile(world: &World, count: u64) {
    world.rows(&format!(
        "INSERT INTO event WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             SELECT (SELECT last_seq FROM team) + i, at, actor, os_user, action, request, randomblob(32),
                 json_set(body, '$.seq', (SELECT last_seq FROM team) + i,
                 '$.told', json('[[\"bob\",\"request.approved\"]]')) FROM n, event WHERE seq = 3;
         INSERT INTO notification (id, seq, member, kind)
             SELECT seq + 1000, seq, 'bob', 'request.approved' FROM event WHERE seq > (SELECT last_seq FROM team);
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at)
             SELECT seq + 1000, seq, 'request.approved', 'email', 0 FROM event WHERE seq > (SELECT last_seq FROM team);
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at)
             SELECT seq + 1000, seq, 'request.approved', 'slack', 0 FROM event WHERE seq > (SELECT last_seq FROM team);
         UPDATE team SET last_seq = last_seq + {count};"
    ));
}

#[test]
fn a_sender_killed_at_random_loses_nothing() {
    let kills = std::env::var("ACCESS_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let world = fresh(TEAM);
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let hook = webhook(&world, "siem", &format!("http://127.0.0.1:{}/hook", web.port), "\"request.approved\"");
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hook].concat());
    world.request("bob", "target:orders-db", &[]);
    world.rows("DELETE FROM outbox");
    let mut state = 0x2545_f491_4f6c_dd1d;
    let mut total = 0;
    for _ in 0..kills {
        let more = 5 + random(&mut state) % 20;
        pile(&world, more);
        total += more;
        let mut run = world.command("root", &["deliver"]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(5 + random(&mut state) % 120));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    // What is left may take more than one run may.
    while world.rows("SELECT count(*) FROM outbox") != ["0"] {
        world.run("root", &["deliver"]).ok();
    }
    let left = "SELECT subscriber, attempts, dead, error, count(*) FROM outbox GROUP BY 1, 2, 3, 4";
    assert_eq!(world.rows(left), [""; 0], "all is sent");

    let mut emails: BTreeMap<String, usize> = BTreeMap::new();
    for mail in mail.got() {
        *emails.entry(header(mail["data"].as_str().unwrap(), "Message-ID").unwrap()).or_default() += 1;
    }
    let mut others: BTreeMap<(String, String), usize> = BTreeMap::new();
    for request in web.got() {
        let path = request["path"].as_str().unwrap().to_owned();
        let body: serde_json::Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
        let id = match request["headers"]["webhook-id"].as_str() {
            Some(id) => id.to_owned(),
            None => body["client_msg_id"].as_str().unwrap().to_owned(),
        };
        *others.entry((path, id)).or_default() += 1;
    }
    let count = |path: &str| others.keys().filter(|(at, _)| at == path).count() as u64;
    assert_eq!((emails.len() as u64, count("/api/chat.postMessage"), count("/hook")), (total, total, total));
    let twice = emails.values().chain(others.values()).filter(|times| **times > 1).count();
    eprintln!("{kills} kills, {total} notifications on each of three ways, {twice} came more than once, under one id");
}
