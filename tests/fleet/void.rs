//! Entries that the database takes and no program writes: they hold up no host, and change nothing.

use postgres::Client;
use serde_json::Value;

use crate::copies::{Host, PASSWORD, Team, said};
use crate::shared_log::{Body, Calls as _, Place, time, verdict};

const APPROVED: &str =
    r#"{"request":1,"by":"ada1","terms":{"resource":"connection:account1","end":{"after":"1h"}},"signature":""#;
/// Of somebody's key.
const SIGNATURE: &str = "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg8IKSqX3HPV2q/O2Oqic1EKeqxov/zZ/Mg3ePkmyYfGAAAAAPYWNjZXNz\
LWFwcHJvdmFsAAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5AAAAQOKokJ6nZGtwq9GioiCL6qc8o3luAZZTgoG589YJYfU1Nx4brZHKgj1Fu2z8amAE\
o60cYfsZ4RIzDZb3Zz0WUgU=";

fn end(team: &Team) -> Place {
    let sql = "SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1";
    let row = team.admin("acme").query_one(sql, &[]).unwrap();
    Place(row.get(0), row.get(1))
}

/// A hostile host.
fn hostile(team: &Team) -> Client {
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(team.cluster.port().parse().unwrap()).user("h2").password(PASSWORD).dbname("acme");
    config.connect(postgres::NoTls).unwrap()
}

fn refused(seq: i64, detail: &str) -> String {
    Body::new("h2", seq).action("attempt.refused", detail).text()
}

/// What `audit verify` says: whether all is whole, and the entries that are void.
fn verified(host: &Host) -> (bool, Vec<Value>) {
    let ran = host.run("olivia", &["audit", "verify", "--json"]);
    let printed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(ran.status.success(), printed["ok"] == true, "{}", said(&ran));
    (ran.status.success(), printed["void"].as_array().unwrap().clone())
}

/// The last entry with this action, as if h2 appended it at this place.
fn like(host: &Host, action: &str, seq: i64) -> String {
    let entry = format!(r#""action":"{action}""#);
    let body = host.log().into_iter().rev().map(|(_, body)| body).find(|body| body.contains(&entry)).unwrap();
    let between = |before: &str, after: &str| {
        let from = body.find(before).unwrap() + before.len();
        body[from..from + body[from..].find(after).unwrap()].to_owned()
    };
    let (its, at) = (between(r#""seq":"#, ","), between(r#""at":""#, "\""));
    body.replace(&format!(r#""seq":{its},"#), &format!(r#""seq":{seq},"#))
        .replacen(&at, &time(0), 1)
        .replace(r#""host":"h1""#, r#""host":"h2""#)
}

#[test]
fn what_no_program_can_read_or_apply_is_void_on_every_host() {
    let team = Team::start(3);
    let (h1, h3) = (&team.hosts[0], &team.hosts[2]);
    h1.ok("bob1", &["request", "connection:account1", "--reason", "x"]);
    let mut hostile = hostile(&team);
    let twice = r#"{"request":1,"requester":"bob2","filed_by":"alice","reason":"x","lapses_at":"2099-01-01T00:00:00Z",
        "asked":{"resource":"connection:account2","end":{"after":"1h"}}}"#;
    let plain = |seq| refused(seq, r#"{"command":"x","why":"x"}"#);
    let nothing = r#"{"request":99,"resource":"connection:account1","ended_at":"2026-01-01T00:00:00Z"}"#;
    let told = r#""told":[["ada1","request.submitted"]],"told_from":1,"event""#;
    let bodies: Vec<Box<dyn Fn(i64) -> String>> = vec![
        // A key twice, a detail that is missing, an action that nobody knows, and a number that is none here.
        Box::new(|seq| refused(seq, r#"{"command":"x","command":"y","why":"x"}"#)),
        Box::new(|seq| refused(seq, "{}")),
        Box::new(|seq| Body::new("h2", seq).action("grant.everything", "{}").text()),
        Box::new(|seq| plain(seq).replace(&format!(r#""seq":{seq}"#), &format!(r#""seq":{seq}e0"#))),
        // What PostgreSQL and a host would read in different ways: a change as an array, and another order or form.
        Box::new(|seq| {
            Body::new("h2", seq)
                .action("team.applied", r#"{"changes":[["remove","host:h1",{"may":"decide"},null]]}"#)
                .text()
        }),
        Box::new(|seq| plain(seq).replace("{\"command\"", "{ \"command\"")),
        // A request whose number is taken, the end of a grant that is not there, and a notification with another's number.
        Box::new(|seq| Body::new("h2", seq).action("request.submitted", twice).text()),
        Box::new(|seq| Body::new("h2", seq).action("grant.expired", nothing).text()),
        Box::new(|seq| plain(seq).replace(r#""event""#, told)),
        // An approval with a signature that is not the approver's.
        Box::new(|seq| {
            let approved = Body::new("h2", seq).action("request.approved", &format!("{APPROVED}{SIGNATURE}\"}}"));
            approved.text().replace(r#""actor":"alice""#, r#""actor":"ada1""#)
        }),
    ];
    let mut voids = Vec::new();
    for body in &bodies {
        let at = end(&team);
        let bodies = [body(at.0 + 1)];
        assert_eq!(verdict(hostile.append(&at, &bodies)), "ok", "{bodies:?}");
        voids.push(at.0 + 1);
        // A host that changes something right after it, and one that only follows.
        let text = format!("after-{at:?}", at = at.0);
        let ask = ["request", &format!("connection:account{}", voids.len() + 2), "--reason", &text];
        let mut ran = h1.run("bob1", &ask);
        if ran.status.code() == Some(75) {
            ran = h1.run("bob1", &ask);
        }
        assert!(ran.status.success(), "{bodies:?}: {}", said(&ran));
        let ran = h3.run("bob1", &["follow", "--once"]);
        assert!(ran.status.success(), "{bodies:?}: {}", said(&ran));
    }
    for host in [h1, h3] {
        host.ok("olivia", &["follow", "--once"]);
        assert!(host.log() == h1.log() && host.tables() == h1.tables(), "{}", host.name);
        // It is in the log as it was appended, and named.
        let (ok, void) = verified(host);
        let named: Vec<i64> = void.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
        assert!(ok && named == voids, "{void:?}");
        assert!(void.iter().all(|it| it["problem"].as_str().unwrap().starts_with("it is void and changes nothing")));
        let listed: Vec<Value> = serde_json::from_str(&host.ok("olivia", &["audit", "--json"])).unwrap();
        let listed = listed.iter().filter(|entry| entry["action"] == "entry.void");
        assert_eq!(listed.count(), voids.len());
        assert!(host.ok("olivia", &["audit"]).contains("it changes nothing"));
        let page = host.ok("olivia", &["report", "--html", "-"]);
        assert!(page.contains(&format!("Void entries: {}.", voids.len())) && page.contains("The log is whole"));
        assert!(voids.iter().all(|seq| page.contains(&format!("<li>entry {seq}: "))));
    }
    assert_eq!(serde_json::from_str::<Value>(&h3.ok("bob1", &["show", "1", "--json"])).unwrap()["requester"], "bob1");
    // A new host comes to the same.
    std::fs::remove_file(h3.db()).unwrap();
    h3.ok("bob1", &["log", "join"]);
    assert!(h3.log() == h1.log() && h3.tables() == h1.tables());
}

/// Makes an entry for a place.
type MakeBody<'h> = Box<dyn Fn(i64) -> String + 'h>;

/// Each is written as the program writes it, and could be applied. What would stop hosts, lose requests, keep access from being
/// revoked, or be found by `audit verify` on each host, changes nothing.
#[test]
fn what_could_harm_others_is_void_on_every_host() {
    let team = Team::start(2);
    let h1 = &team.hosts[0];
    h1.ok("bob1", &["request", "connection:account1", "--reason", "x", "--duration", "4h"]);
    h1.ok("bob2", &["request", "connection:account2", "--reason", "x", "--duration", "4h"]);
    h1.ok("bob1", &["edit", "1", "--reason", "y"]);
    h1.ok("bob2", &["withdraw", "2"]);
    h1.ok("bob1", &["request", "connection:account3", "--reason", "x", "--duration", "4h"]);
    h1.ok("ada1", &["approve", "3"]);
    h1.ok("ada1", &["revoke", "3", "--yes"]);
    h1.ok("bob1", &["request", "connection:account4", "--reason", "x", "--duration", "4h"]);
    h1.ok("ada1", &["approve", "4"]);
    h1.ok("bob1", &["notify", "set", "request.submitted", "--slack", "off"]);
    let submitted = |seq| like(h1, "request.submitted", seq);
    let next = |seq| submitted(seq).replace(r#""request":4"#, r#""request":5"#);
    let told = |text: String, from: &str| {
        let at = text.rfind(r#","told_from":"#).unwrap();
        format!("{}{from}}}", &text[..at])
    };
    h1.ok("olivia", &["recertify", "start", "--due", "30d", "--yes"]);
    // Its role is changed and changed back.
    let file = h1.db().with_file_name("team.toml");
    let shown = h1.ok("olivia", &["team", "show"]);
    let bob2 = shown.find("[members.bob2]").unwrap();
    let (before, after) = shown.split_at(bob2);
    std::fs::write(&file, format!("{before}{}", after.replacen("\"member\"", "\"viewer\"", 1))).unwrap();
    h1.ok("olivia", &["team", "apply", file.to_str().unwrap(), "--yes"]);
    let twice = |seq| {
        let body = like(h1, "team.applied", seq);
        let (head, tail) = body.split_once(r#""changes":["#).unwrap();
        let (change, _) = tail.split_once("]}}").unwrap();
        let (what, diff) = change.split_once(r#""from":"#).unwrap();
        let (from, to) = diff.trim_end_matches('}').split_once(r#"},"to":{"#).unwrap();
        let back = format!(r#"{what}"from":{{{to}}},"to":{}}}}}"#, from);
        format!(r#"{head}"changes":[{back},{change}]}}}}}}"#)
    };
    let bodies: Vec<(&str, MakeBody<'_>)> = vec![
        ("a member who is changed twice", Box::new(twice)),
        (
            "the last number of a recertification",
            Box::new(|seq| {
                let body = like(h1, "recertification.started", seq);
                let body = body.replace(r#""recertification":1,"#, r#""recertification":9223372036854775806,"#);
                // It notifies nobody, since the numbers of notifications would be wrong too.
                body.split_once(r#","told":"#).map_or_else(|| body.clone(), |(before, _)| format!("{before}}}"))
            }),
        ),
        (
            "a request that has lapsed",
            Box::new(|seq| {
                let body = next(seq);
                let (head, tail) = body.split_once(r#""lapses_at":""#).unwrap();
                format!(r#"{head}"lapses_at":"2026-01-02T00:00:00Z{}"#, &tail[20..])
            }),
        ),
        ("the last number of a notification", Box::new(|seq| told(next(seq), r#","told_from":9223372036854775807"#))),
        ("a late number of a notification", Box::new(|seq| told(next(seq), r#","told_from":9223372036854775800"#))),
        ("a gap before a notification", Box::new(|seq| told(next(seq), r#","told_from":1000"#))),
        ("notifications without numbers", Box::new(|seq| told(next(seq), ""))),
        (
            "a number without notifications",
            Box::new(|seq| refused(seq, r#"{"command":"x","why":"x"}"#).replace("}}}", r#"}},"told_from":1}"#)),
        ),
        ("a notification of nobody", Box::new(|seq| next(seq).replace(r#""told":[["ada"#, r#""told":[["nobody"#))),
        (
            "the last number of a request",
            Box::new(|seq| submitted(seq).replace(r#""request":4"#, r#""request":9223372036854775806"#)),
        ),
        ("a gap before a request", Box::new(|seq| submitted(seq).replace(r#""request":4"#, r#""request":6"#))),
        ("an extension of itself", Box::new(|seq| next(seq).replace("}},\"told\"", r#","extends":5}},"told""#))),
        (
            "an extension of what was not granted",
            Box::new(|seq| next(seq).replace("}},\"told\"", r#","extends":1}},"told""#)),
        ),
        (
            "another Unix user",
            Box::new(|seq| next(seq).replace(r#""requester_login":"bob1""#, r#""requester_login":"mallory""#)),
        ),
        ("somebody who is not a member", Box::new(|seq| next(seq).replace("bob1", "mallory"))),
        ("an edit of what it was not", Box::new(|seq| like(h1, "request.edited", seq))),
        (
            "an edit of what was withdrawn",
            Box::new(|seq| like(h1, "request.edited", seq).replace(r#""request":1"#, r#""request":2"#)),
        ),
        ("a second withdrawal", Box::new(|seq| like(h1, "request.withdrawn", seq))),
        ("a second revoke", Box::new(|seq| like(h1, "grant.revoked", seq))),
        (
            "a revoke of something else",
            Box::new(|seq| like(h1, "grant.revoked", seq).replace(r#""request":3"#, r#""request":4"#)),
        ),
        ("a preference that was another", Box::new(|seq| like(h1, "preference.changed", seq))),
        (
            "an SSH key that nobody has",
            Box::new(|seq| {
                like(h1, "request.withdrawn", seq)
                    .replace(r#""request":2"#, r#""request":1"#)
                    .replace(r#""os_user":"bob2""#, r#""os_user":"ssh:SHA256:x""#)
            }),
        ),
    ];
    let mut hostile = hostile(&team);
    let mut voids = Vec::new();
    for (what, body) in &bodies {
        let at = end(&team);
        let bodies = [body(at.0 + 1)];
        assert_eq!(verdict(hostile.append(&at, &bodies)), "ok", "{what}: {bodies:?}");
        voids.push(at.0 + 1);
        let ran = h1.run("bob1", &["follow", "--once"]);
        assert!(ran.status.success(), "{what}: {bodies:?}: {}", said(&ran));
    }
    h1.ok("bob1", &["request", "connection:account9", "--reason", "after", "--duration", "1h"]);
    h1.ok("ada1", &["approve", "5"]);
    h1.ok("ada1", &["revoke", "5", "--yes"]);
    let (ok, void) = verified(h1);
    let named: Vec<i64> = void.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert!(ok && named == voids, "{voids:?} {void:?}");
    for entry in &void {
        // Not only because of how they are written.
        assert!(!entry["problem"].as_str().unwrap().contains("not written as"), "{entry}");
    }
}

/// A host that decides denies a request after it has lapsed. The tables take that, and replay does not. That the request lapses is
/// then right by replay, and the tables can't apply it.
#[test]
fn what_the_tables_alone_refuse_is_void_on_every_host() {
    let team = Team::start(3);
    let (h1, h3) = (&team.hosts[0], &team.hosts[2]);
    h1.ok("bob1", &["request", "connection:account1", "--reason", "x"]);
    let at = end(&team);
    let submitted = like(h1, "request.submitted", at.0 + 1).replace(r#""request":1"#, r#""request":2"#);
    let (head, tail) = submitted.split_once(r#""lapses_at":""#).unwrap();
    let (_, told_from) = submitted.rsplit_once(r#""told_from":"#).unwrap();
    let next: i64 = h1.sqlite().query_row("SELECT max(id) + 1 FROM notification", [], |row| row.get(0)).unwrap();
    let lapses_at = time(1);
    let submitted = format!(r#"{head}"lapses_at":"{lapses_at}{}"#, &tail[20..])
        .replace(&format!(r#""told_from":{told_from}"#), &format!(r#""told_from":{next}}}"#));
    let denied = Body::new("h2", at.0 + 2).at(&time(2)).action("request.denied", r#"{"request":2,"by":"ada1"}"#).text();
    let lapsed = Body::new("h2", at.0 + 3)
        .at(&time(2))
        .action("request.lapsed", &format!(r#"{{"request":2,"lapsed_at":"{lapses_at}"}}"#));
    let bodies = [
        submitted,
        denied.replace(r#""actor":"alice""#, r#""actor":"ada1""#),
        lapsed.text().replace(r#""actor":"alice","os_user":"alice""#, r#""actor":null,"os_user":"root""#),
    ];
    assert_eq!(verdict(hostile(&team).append(&at, &bodies)), "ok", "{bodies:?}");
    // A host that changes something right after it, and one that only follows.
    h3.ok("bob1", &["follow", "--once"]);
    let ran = h1.run("bob1", &["withdraw", "1"]);
    if ran.status.code() == Some(75) {
        h1.ok("bob1", &["withdraw", "1"]);
    }
    h3.ok("bob1", &["follow", "--once"]);
    assert!(h3.log() == h1.log() && h3.tables() == h1.tables());
    for host in [h1, h3] {
        // What replay calls wrong is found, and what is void is named.
        let (ok, void) = verified(host);
        assert!(!ok && void.len() == 1 && void[0]["seq"] == at.0 + 3, "{void:?}");
        let folder = host.db().parent().unwrap().to_owned();
        let drafts = std::fs::read_dir(folder)
            .unwrap()
            .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().contains(".new-"));
        assert_eq!(drafts.count(), 0);
    }
    std::fs::remove_file(h3.db()).unwrap();
    h3.ok("bob1", &["log", "join"]);
    assert!(h3.log() == h1.log() && h3.tables() == h1.tables());
}

/// The database refuses entries that are earlier than the last. So its time counts for all hosts, however it is written.
#[test]
fn a_void_entry_of_a_later_time_holds_up_nobody() {
    let team = Team::start(2);
    let (h1, mut hostile) = (&team.hosts[0], hostile(&team));
    let others: [fn(&str) -> String; 4] = [
        |later| format!(r#""at":{later},"x":1e999"#),
        |later| format!(r#""at":1e999,"at":{later}"#),
        |later| format!(r#""at":{{}},"\u0061t":{later}"#),
        |later| format!(r#""x":{}1{},"at":{later}"#, "[".repeat(500), "]".repeat(500)),
    ];
    for (n, other) in others.iter().enumerate() {
        let (at, other) = (end(&team), other(&format!("\"{}\"", time(9))));
        let body = Body::new("h2", at.0 + 1).at("then").action("attempt.refused", "{}").text();
        let body = body.replace(r#""at":"then""#, &other);
        assert_eq!(verdict(hostile.append(&at, &[body])), "ok", "{other}");
        let ask = ["request", &format!("connection:account{n}"), "--reason", "after"];
        let ran = h1.run("bob1", &ask);
        if ran.status.code() == Some(75) {
            h1.ok("bob1", &ask);
        } else {
            assert!(ran.status.success(), "{other}: {}", said(&ran));
        }
    }
    assert!(verified(h1).0);
    // PostgreSQL would take these as times too.
    for time in ["2099-01-01T00:00:60Z", "2099-01-01T24:00:00Z"] {
        let at = end(&team);
        let body = Body::new("h2", at.0 + 1).at(time).action("attempt.refused", "{}").text();
        assert!(hostile.append(&at, &[body]).is_err(), "{time}");
    }
}

/// All are judged by one reading of the log, and fetched once.
#[test]
fn thousands_of_void_entries_hold_up_nobody() {
    const COUNT: i64 = 3000;
    let team = Team::start(2);
    let h1 = &team.hosts[0];
    let at = end(&team);
    let detail = r#"{"request":99,"by":"alice","because":"asked"}"#;
    let bodies: Vec<String> =
        (at.0 + 1..=at.0 + COUNT).map(|seq| Body::new("h2", seq).action("request.withdrawn", detail).text()).collect();
    assert_eq!(verdict(hostile(&team).append(&at, &bodies)), "ok");
    let followed = h1.ok("bob1", &["follow", "--once"]);
    assert!(followed.contains(&format!("{COUNT} ")) || followed.contains("3,000 "), "{followed}");
    h1.ok("bob1", &["request", "connection:account1", "--reason", "after"]);
    let void = h1.sqlite().query_row("SELECT count(*) FROM event WHERE action = 'entry.void'", [], |row| row.get(0));
    assert_eq!(void, Ok(COUNT));
    assert!(verified(h1).0);
}

/// It does not void what an honest host appended, and so never misses that access was taken away.
#[test]
fn a_copy_that_is_damaged_stops_at_an_honest_entry() {
    let team = Team::start(2);
    let (h1, h2) = (&team.hosts[0], &team.hosts[1]);
    h1.ok("bob1", &["request", "connection:account1", "--reason", "x"]);
    h2.ok("olivia", &["follow", "--once"]);
    h2.sqlite().execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM request").unwrap();
    h1.ok("bob1", &["withdraw", "1"]);
    let ran = h2.run("olivia", &["follow", "--once"]);
    assert!(![Some(0), Some(75)].contains(&ran.status.code()), "{}", said(&ran));
    assert!(!h2.log().iter().any(|(_, body)| body.contains("request.withdrawn")));
}
