//! Much at once: what a call of the database takes, and what it does not.

use std::fmt::Write as _;

use access::domain::event::{Entry, Event};
use serde_json::json;

use crate::copies::{PASSWORD, Team, assert_equal, said};
use crate::disk::{Disk, Reached, write_image};
use crate::random::Random;
use crate::recording::record;
use crate::shared_log::{Calls as _, Place, time};
use crate::tools::wait_until;

/// Appends what these events say, as the host h2.
fn append(team: &Team, events: &[serde_json::Value]) {
    let mut session = postgres::Config::new();
    session.host("127.0.0.1").port(team.cluster.port().parse().unwrap());
    let mut session = session.user("h2").password(PASSWORD).dbname("acme").connect(postgres::NoTls).unwrap();
    let row =
        team.admin("acme").query_one("SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1", &[]).unwrap();
    let mut end = Place(row.get(0), row.get(1));
    for events in events.chunks(1000) {
        let body = |(seq, event): (i64, &serde_json::Value)| {
            let entry = json!({ "v": 3, "seq": seq, "host": "h2", "nonce": "1", "at": time(0), "actor": "bob1",
                "os_user": "bob1", "event": event });
            // As the program writes it.
            serde_json::to_string(&serde_json::from_value::<Entry>(entry).unwrap()).unwrap()
        };
        let bodies: Vec<String> = (end.0 + 1..).zip(events).map(body).collect();
        assert_eq!(session.append(&end, &bodies).unwrap().0, "ok");
        end = end.after(&bodies);
    }
}

fn submitted(id: i64, lapses: &str) -> serde_json::Value {
    json!({ "action": "request.submitted", "detail": {
        "request": id, "requester": "bob1", "filed_by": "bob1", "requester_login": "bob1", "filer_login": "bob1",
        "reason": "x", "lapses_at": lapses,
        "asked": { "resource": "connection:account1", "end": { "after": "1h" } } } })
}

/// Its grant, which began and ended while nobody looked.
fn scheduled(id: i64) -> serde_json::Value {
    json!({ "action": "grant.scheduled", "detail": {
        "request": id, "member": "bob1", "resource": "connection:account1", "end": { "after": "1h" },
        "start": "2026-01-01T00:00:00Z", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-01T01:00:00Z",
        "modified": false, "approved_by": ["ada1"], "demands": [] } })
}

#[test]
fn thousands_that_end_at_once_are_recorded_once_each() {
    const EACH: i64 = 700;
    let team = Team::start(2);
    // None is filed lapsed.
    let lapses = time(5);
    let events = (1..=EACH).flat_map(|id| [submitted(id, &lapses), scheduled(id)]);
    let events: Vec<_> = events.chain((EACH + 1..=2 * EACH).map(|id| submitted(id, &lapses))).collect();
    events.iter().for_each(|event| drop(serde_json::from_value::<Event>(event.clone()).unwrap()));
    append(&team, &events);
    wait_until("the requests have lapsed", || time(0) > lapses);
    // Both hosts at once.
    let run = |host: usize| {
        let host = team.hosts[host].clone();
        std::thread::spawn(move || {
            host.ok("olivia", &["follow", "--once"]);
            host.run("olivia", &["expire", "--no-deliver"])
        })
    };
    for ran in [run(0), run(1)] {
        let ran = ran.join().unwrap();
        assert!([Some(0), Some(75)].contains(&ran.status.code()), "{}", said(&ran));
    }
    team.hosts[0].ok("olivia", &["expire", "--no-deliver"]);
    let mut admin = team.admin("acme");
    for action in ["grant.started", "grant.expired", "request.lapsed"] {
        let sql = "SELECT count(*), count(DISTINCT body::jsonb->'event'->'detail'->'request') FROM access.entry
                   WHERE body::jsonb->'event'->>'action' = $1";
        let row = admin.query_one(sql, &[&action]).unwrap();
        assert_eq!((row.get(0), row.get(1)), (EACH, EACH), "{action}");
    }
    for host in &team.hosts {
        host.ok("olivia", &["follow", "--once"]);
    }
    assert!(team.hosts[0].log() == team.hosts[1].log());
}

/// Most of its commits do not wait for the disk.
#[test]
fn a_host_that_loses_power_while_it_catches_up_continues() {
    const MOMENTS: usize = 12;
    let team = Team::start(2);
    let refused = json!({ "action": "attempt.refused", "detail": { "command": "approve", "why": "no" } });
    append(&team, &vec![refused; 4500]);
    let (host, other) = (&team.hosts[0], &team.hosts[1]);
    other.ok("olivia", &["follow", "--once"]);
    let (whole, folder) = (other.log(), host.db().parent().unwrap().to_owned());
    let mut disk = Disk::of(&folder, &[]);
    let ops = record(&host.command("olivia", &["follow", "--once"]), &folder);
    assert!(host.log() == whole);
    let mut random = Random::of("catching up");
    let mut moments: Vec<usize> = (0..MOMENTS).map(|_| random.below(ops.len())).collect();
    moments.sort_unstable();
    let (mut applied, mut least) = (0, whole.len());
    for moment in moments {
        ops[applied..moment].iter().for_each(|op| disk.apply(op));
        applied = moment;
        for reached in [Reached::Nothing, Reached::Everything, Reached::Some] {
            write_image(&folder, &disk.after_power_loss(reached, &mut random));
            host.ok("olivia", &["audit", "verify"]);
            let log = host.log();
            assert!(whole.starts_with(&log), "after {moment} calls of {}, {reached:?}", ops.len());
            least = least.min(log.len());
            host.ok("olivia", &["follow", "--once"]);
            assert!(host.log() == whole, "after {moment} calls of {}, {reached:?}", ops.len());
        }
    }
    assert!(least < whole.len(), "nothing was lost, so nothing was tried");
    // The last commit waits, for all before it.
    ops[applied..].iter().for_each(|op| disk.apply(op));
    write_image(&folder, &disk.after_power_loss(Reached::Nothing, &mut random));
    assert!(host.log() == whole);
    assert_equal(&team.hosts);
}

/// A team file with so many connections whose names are as long as can be.
fn file(connections: usize) -> String {
    let mut file = String::from("[team]\nname = \"crowd\"\n[members.olivia]\nrole = \"owner\"\n");
    for number in 0..connections {
        writeln!(file, "[connections.{}{number}]\nenvironment = \"production\"", "x".repeat(40)).unwrap();
    }
    file
}

#[test]
fn an_entry_of_a_mebibyte_is_the_largest() {
    let team = Team::start(2);
    let host = &team.hosts[0];
    let path = host.db().with_file_name("team.toml");
    let apply = |connections| {
        std::fs::write(&path, file(connections)).unwrap();
        host.run("olivia", &["team", "apply", path.to_str().unwrap(), "--yes"])
    };
    let before = team.count("");
    // The size of a change is found out: each connection adds as much as the others.
    const MANY: usize = 20_000;
    let refused = apply(MANY);
    assert_eq!(refused.status.code(), Some(65), "{}", said(&refused));
    assert!(said(&refused).contains("a shared log takes at most 1048576"), "{}", said(&refused));
    // Before it was sent.
    assert_eq!(team.count(""), before);
    host.ok("olivia", &["pending"]);
    let size =
        |text: &str| text.split("an entry of ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    let each = size(&said(&refused)) / MANY;
    assert_eq!(apply((1 << 20) / each + 100).status.code(), Some(65));
    let ran = apply((1 << 20) / each - 100);
    assert!(ran.status.success(), "{}", said(&ran));
    let largest = "SELECT max(octet_length(body)) FROM access.entry";
    let largest: i32 = team.admin("acme").query_one(largest, &[]).unwrap().get(0);
    assert!((1_000_000..=1 << 20).contains(&largest), "{largest}");
    assert_equal(&team.hosts);
}
