//! What a mail says: who wants what, where, until when, and what decides; in the time of its reader.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{TEAM, World};
use crate::post::{Server, configure, fresh, parts, slack, smtp};

const RULES: &str = r##"
[notifications]
timezone = "America/New_York"

[notifications.channels]
"#access" = ["request.submitted"]

[[rules]]
name = "two for production"
match = { resources = ["target:*"], environments = ["production"] }
approvers = ["role:admin"]
approvals = 2
ticket = "OPS-[0-9]+"

[[rules]]
name = "sandbox"
match = { environments = ["non-production"], permanent = false }
auto_approve = true

[[rules]]
name = "break glass"
match = { resources = ["feature:export-customers"] }
emergency = true
"##;

/// alice lives in Paris, and the others by the team's clock.
fn wired() -> (World, Server) {
    let world = fresh(&format!("{}{RULES}", TEAM.replace("slack = \"U0ALICE\"", "timezone = \"Europe/Paris\"")));
    let mail = Server::mail(&world, &[]);
    configure(&world, &smtp(mail.port));
    (world, mail)
}

/// The last mail to a member: its text, and the text of its HTML.
fn last(server: &Server, member: &str) -> (String, String) {
    let to = json!([format!("{member}@acme.example")]);
    let got: Vec<Value> = server.got().into_iter().filter(|mail| mail["to"] == to).collect();
    let (plain, html) = parts(got.last().unwrap_or_else(|| panic!("nothing came to {member}")));
    (plain, html.replace("&quot;", "\"").replace("<br>", ""))
}

/// Both parts say this, as the value of this fact.
#[track_caller]
fn says(server: &Server, member: &str, facts: &[(&str, &str)]) {
    let (plain, html) = last(server, member);
    for (label, fact) in facts {
        let line = format!("{:<12} {fact}\n", format!("{label}:"));
        assert!(plain.contains(&line), "{member} is not told {line:?}:\n{plain}");
        let cell = format!("{label}</td><td>{fact}</td>");
        let bare: String = html
            .split('<')
            .map(|part| match part.split_once('>') {
                Some((tag, text)) if tag.starts_with("td") => format!("<td>{text}"),
                Some((tag, text)) => format!("<{tag}>{text}"),
                None => part.to_owned(),
            })
            .collect();
        assert!(bare.contains(&cell), "{member} is not shown {cell:?}:\n{bare}");
    }
}

#[test]
fn a_mail_that_asks_says_what_it_would_open_and_what_decides() {
    let (world, mail) = wired();
    let more = ["--duration", "4h", "--ticket", "OPS-12"];
    world.request("bob", "target:billing-db", &more);
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "alice",
        &[
            ("Who", "bob"),
            ("What", "target:billing-db"),
            ("Environment", "production"),
            ("How long", "for 4h from approval"),
            ("Why", "testing"),
            ("Ticket", "OPS-12"),
            ("Needs", "0 of 2 approvals by the rule \"two for production\"; alice, erin or olivia can approve"),
            ("Lapses", "2026-12-01 10:00 CET"),
        ],
    );
    says(&mail, "erin", &[("Lapses", "2026-12-01 04:00 EST")]);
    let (plain, _) = last(&mail, "erin");
    assert!(plain.contains("    access approve 1\n") && plain.contains("\n2026-11-24 04:00 EST\n"), "{plain}");

    // With one approval on other terms, and its note.
    world.run("alice", &["approve", "1", "--duration", "1h", "--note", "Enough for the fix"]).ok();
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "erin",
        &[
            ("How long", "for 1h from approval (asked: target:billing-db for 4h)"),
            ("Needs", "1 of 2 approvals (alice) by the rule \"two for production\"; erin or olivia can approve"),
            ("Note", "Enough for the fix (alice)"),
        ],
    );
}

#[test]
fn a_mail_of_a_decision_says_when_access_ends_and_who_gave_it() {
    let (world, mail) = wired();
    world.request(
        "alice",
        "target:billing-db",
        &["--for", "bob", "--ticket", "OPS-1", "--until", "2026-11-24T17:30:00Z"],
    );
    world.run("erin", &["approve", "1", "--note", "Go on"]).ok();
    world.run("olivia", &["approve", "1"]).ok();
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "bob",
        &[
            ("Who", "bob (filed by alice)"),
            ("Environment", "production"),
            ("How long", "until 2026-11-24 12:30 EST"),
            ("Ends", "2026-11-24 12:30 EST"),
            ("Decided by", "2 of 2 approvals (erin, olivia) by the rule \"two for production\""),
            ("Note", "Go on (erin)"),
        ],
    );
    // By a rule alone, and for a later time.
    world.request("heidi", "connection:sandbox", &["--start", "2026-11-24T12:00:00Z", "--duration", "2h"]);
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "heidi",
        &[
            ("Environment", "non-production"),
            ("How long", "from 2026-11-24 07:00 EST for 2h"),
            ("Starts", "2026-11-24 07:00 EST"),
            ("Ends", "2026-11-24 09:00 EST"),
            ("Decided by", "the rule \"sandbox\""),
        ],
    );
    // Permanent, by those who decide where no rule does.
    world.request("bob", "feature:cost-explorer", &["--duration", "permanent"]);
    world.run("erin", &["approve", "3"]).ok();
    world.run("root", &["deliver"]).ok();
    says(&mail, "bob", &[("Ends", "never"), ("Decided by", "1 of 1 approval (erin)")]);
    // Denied: by whom and why.
    world.request("bob", "target:orders-db", &["--ticket", "OPS-2"]);
    world.run("erin", &["deny", "4", "--reason", "Use the replica"]).ok();
    world.run("root", &["deliver"]).ok();
    says(&mail, "bob", &[("Decided by", "erin")]);
    assert!(last(&mail, "bob").0.contains("Use the replica"));
}

#[test]
fn a_mail_of_an_end_says_when_in_the_time_of_its_reader() {
    let (world, mail) = wired();
    world.request("alice", "feature:export-customers", &["--duration", "2h"]);
    world.run("olivia", &["approve", "1"]).ok();
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    let (plain, _) = last(&mail, "alice");
    assert!(plain.starts_with("Access to feature:export-customers ends 2026-11-24 12:00 CET (request 1)\n"), "{plain}");
    says(&mail, "alice", &[("Ends", "2026-11-24 12:00 CET")]);
    // An extension says the new end.
    world.run("alice", &["extend", "1", "--reason", "more"]).ok();
    world.run("olivia", &["approve", "2"]).ok();
    world.run("root", &["deliver"]).ok();
    says(&mail, "alice", &[("Starts", "2026-11-24 12:00 CET"), ("Ends", "2026-11-24 14:00 CET")]);
    assert!(
        last(&mail, "alice").0.contains("access continues until 2026-11-24 14:00 CET"),
        "{}",
        last(&mail, "alice").0
    );
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    assert!(last(&mail, "alice").0.contains("was extended until 2026-11-24 14:00 CET"), "{}", last(&mail, "alice").0);
    world.pass("2h");
    world.run("root", &["expire"]).ok();
    says(&mail, "alice", &[("Ended", "2026-11-24 14:00 CET")]);

    world.run("bob", &["request", "feature:export-customers", "--reason", "Down", "--emergency"]).ok();
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "alice",
        &[
            ("Ends", "2026-11-24 15:00 CET"),
            ("Decided by", "the rule \"break glass\""),
            ("Reviewers", "alice, erin or olivia"),
        ],
    );
}

#[test]
fn a_channel_reads_the_teams_time_and_a_digest_comes_by_it() {
    let (world, _mail) = wired();
    let web = Server::web(&world);
    let all = std::fs::read_to_string(world.folder().join(".config/access/config.toml")).unwrap();
    configure(&world, &format!("{all}{}", slack(&world, web.port)));
    assert_eq!(world.json("erin", &["notify"])["timezone"], "America/New_York");
    assert_eq!(world.json("alice", &["notify"])["timezone"], "Europe/Paris");
    world.run("erin", &["notify", "set", "all", "--digest", "daily", "--at", "05:00"]).ok();
    world.request("bob", "target:orders-db", &["--ticket", "OPS-1"]);
    world.run("root", &["deliver"]).ok();
    let post = web.bodies("/api/chat.postMessage").into_iter().find(|post| post["channel"] == "#access").unwrap();
    assert!(post.to_string().contains("Lapses: 2026-12-01 04:00 EST"), "{post}");
    assert!(post["blocks"][1]["fields"].as_array().unwrap().len() <= 10);
    let due = world.rows("SELECT datetime(due_at, 'unixepoch') FROM outbox WHERE subscriber = 'email'");
    assert_eq!(due, ["2026-11-24 10:00:00"], "five o'clock in New York");
    // It is a part of the team file, and must be a zone.
    let shown = world.run("olivia", &["team", "show"]).ok().out;
    assert!(shown.contains("timezone = \"America/New_York\""), "{shown}");
    world.apply("olivia", &shown).ok().says("Nothing changes.");
    world.apply("olivia", &shown.replace("America/New_York", "new york")).fails(65, "a timezone is written like");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn who_is_told_that_access_was_revoked_is_told_how_they_have_it_still() {
    let (world, mail) = wired();
    world.grant("bob", "feature:export-customers", "olivia", &["--duration", "30m"]);
    world.grant("bob", "feature:export-customers", "olivia", &["--duration", "3h"]);
    world.run("alice", &["revoke", "1"]).ok();
    world.run("root", &["deliver"]).ok();
    says(
        &mail,
        "bob",
        &[("Ended", "2026-11-24 04:00 EST"), ("Still held", "by request 2, until 2026-11-24 07:00 EST")],
    );
    world.run("alice", &["revoke", "2"]).ok();
    world.run("root", &["deliver"]).ok();
    assert!(!last(&mail, "bob").0.contains("Still held"), "{}", last(&mail, "bob").0);
}

#[test]
fn each_message_of_one_entry_has_an_id_of_its_own() {
    let channels = "\n[notifications.channels]\n\"#ops\" = [\"request.approved\", \"request.decided\"]\n\"#all\" = [\"request.decided\"]\n";
    let world = fresh(&format!("{TEAM}{channels}"));
    let web = Server::web(&world);
    configure(&world, &slack(&world, web.port));
    world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["notify", "set", "request.decided", "--slack", "on"]).ok();
    world.run("erin", &["approve", "1"]).ok();
    world.run("root", &["deliver"]).ok();
    let posts = web.bodies("/api/chat.postMessage");
    let all = |id: &dyn Fn(&Value) -> String| -> BTreeSet<String> { posts.iter().map(id).collect() };
    let ids = all(&|post| post["metadata"]["event_payload"]["id"].to_string());
    let uuids = all(&|post| post["client_msg_id"].to_string());
    assert!(posts.len() >= 4, "{posts:#?}");
    assert_eq!((ids.len(), uuids.len()), (posts.len(), posts.len()), "{ids:?} {uuids:?}");
}

#[test]
fn no_part_of_a_mail_has_a_line_that_somebody_wrote_as_its_own() {
    let (world, mail) = wired();
    world.request("bob", "target:orders-db", &["--ticket", "OPS-1"]);
    let forged = "Access to target:orders-db started (request 1)";
    world.run("alice", &["deny", "1", "--reason", &format!("no\n{forged}")]).ok();
    world.run("root", &["deliver"]).ok();
    let to = json!(["bob@acme.example"]);
    let mails = mail.got();
    let (plain, html) = parts(mails.iter().find(|mail| mail["to"] == to).unwrap());
    assert!(plain.contains(&format!("\n    {forged}\n")), "{plain}");
    assert!(html.contains(&format!("<br>\n&nbsp;&nbsp;&nbsp;&nbsp;{forged}</p>")), "{html}");
}
