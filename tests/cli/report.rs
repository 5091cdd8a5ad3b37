//! `report`: a page and CSV files to hand to an auditor. Chromium shows the page (tests/servers/browser.py).

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::World;
use crate::post::python;

/// What somebody may write where they may write anything.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\"><svg onload=alert(3)>' onmouseover='alert(4)",
    "</td></tr></table></main><style>*{display:none}</style>",
    "=HYPERLINK(\"//127.0.0.1/\",\"x\")",
    "@SUM(1+1)*cmd|' /C calc'!A0\n+1\n-1",
    "שלום עולם 123, مرحبا بالعالم",
    "🚀🔥 你好，世界 e\u{301} zero\u{200b}width",
    "javascript:alert(5) --> ]]> <!-- &lt;b&gt; &#60;",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
];

/// A team in which nobody holds anything without a grant. It has somebody with the longest name and a login that looks like
/// markup, and a rule that does.
const TEAM: &str = r#"
[team]
name = "acme"

[members]
olivia = { role = "owner" }
alice = { role = "admin" }
erin = { role = "admin" }
bob = { role = "member" }
carol = { role = "member" }
dave = { role = "member" }
frank = { role = "member" }
ivan = { role = "viewer" }
zed = { role = "viewer", auditor = true }

[members.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]
role = "member"
login = "<b>\"&'x"

[connections]
prod-aws = { environment = "production" }
prod-k8s = { environment = "production" }
batch = { environment = "non-production" }
sandbox = { environment = "non-production" }

[targets]
orders-db = { connections = ["prod-aws"] }

[scopes.all-of-production]
environments = ["production"]
assigned = ["member:olivia"]

[[rules]]
name = "<script>alert(6)</script> =1+1 \"quoted\""
match = { resources = ["connection:sandbox"] }
auto_approve = true

[[rules]]
name = "break glass"
match = { resources = ["connection:prod-k8s"] }
emergency = true
"#;

const LONG: &str = "<b>\"&'x";

fn ask(world: &World, login: &str, resource: &str, reason: &str, more: &[&str]) -> String {
    let mut args = vec!["request", resource, "--reason", reason, "--json"];
    args.extend(more);
    world.run(login, &args).ok().json()["id"].to_string()
}

/// Every section with something in it, and hostile text wherever people write.
fn hostile_world() -> World {
    let world = World::of("olivia", TEAM);
    let word = "W".repeat(500);
    let texts: Vec<&str> = HOSTILE.into_iter().chain([word.as_str()]).collect();
    for (n, text) in texts.iter().enumerate() {
        if n == 2 {
            recertify(&world, &texts);
        }
        let who = [LONG, "bob", "carol"][n % 3];
        let ticket = ["<i>&amp;", "=1+1", "OPS-1"][n % 3];
        let id = ask(&world, who, "connection:batch", text, &["--ticket", ticket, "--duration", "4h"]);
        world.pass("17m");
        world.run("alice", &["approve", &id, "--note", text]).ok();
        let id = ask(&world, who, "target:orders-db", text, &[]);
        world.pass("3h");
        world.run("erin", &["deny", &id, "--reason", text]).ok();
        let id = ask(
            &world,
            [LONG, "bob", "carol", "frank"][n % 4],
            "connection:prod-k8s",
            text,
            &["--emergency", "--duration", "1h"],
        );
        if n % 2 == 0 {
            world.run("alice", &["review", &id, "--note", text]).ok();
        }
        ask(&world, "dave", "connection:sandbox", text, &["--duration", "30m"]);
        world.run(LONG, &["audit"]).exits(3);
        world.pass("1d");
    }
    let id = ask(&world, LONG, "connection:batch", HOSTILE[0], &["--duration", "permanent"]);
    world.run("alice", &["approve", &id]).ok();
    world.run("alice", &["recertify", "start", "--permanent", "--due", "1d"]).ok();
    world.run("alice", &["recertify", "start", "--permanent", "--due", "1d"]).ok();
    world.run("alice", &["recertify", "cancel", "3", "--reason", HOSTILE[1]]).ok();
    world.apply("olivia", &TEAM.replace("alert(6)", "alert(7)")).ok();
    world.pass("2h");
    world
}

/// Some is kept, some revoked, and some left until it is due.
fn recertify(world: &World, texts: &[&str]) {
    let started = world.json("alice", &["recertify", "start", "--due", "1h"]);
    let ids: Vec<&str> = started["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    for (n, (id, text)) in ids.iter().skip(2).zip(texts).enumerate() {
        world.run("alice", &["recertify", ["keep", "revoke"][n % 2], id, "--reason", text]).ok();
    }
    world.pass("1h");
    world.run("root", &["expire"]).ok();
}

fn browse(page: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/browser.py");
    let output = python().arg(script).arg(page).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_browser_shows_the_report_whole_and_runs_nothing_of_it() {
    let world = hostile_world();
    world.run("alice", &["report", "--html", "page.html"]).ok();
    let path = world.folder().join("page.html");
    let found = browse(&path);
    assert_eq!(found["ran"], json!([]));
    assert_eq!(found["messages"], json!([]), "no script was refused, since there is none");
    assert_eq!(found["requests"].as_array().unwrap().len(), 1, "{}", found["requests"]);
    for (layout, width) in found["layouts"].as_array().unwrap().iter().zip([360, 768, 961, 1000, 1280]) {
        assert_eq!((&layout["window"], &layout["page"]), (&json!(width), &json!(width)));
        for none in ["wide", "repeated", "dead", "handlers"] {
            assert_eq!(layout[none], json!([]), "{none} at {width}");
        }
        assert_eq!(layout["stacked"], width < 960, "{width}");
        assert_eq!(layout["title"], "Access report: acme, 2026-09-06 to 2026-12-05");
        let elements: Vec<&str> =
            layout["elements"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for foreign in ["script", "img", "iframe", "link", "object", "form", "input", "base"] {
            assert!(!elements.contains(&foreign), "{foreign}");
        }
        let headings: Vec<i64> = layout["headings"].as_array().unwrap().iter().map(|it| it.as_i64().unwrap()).collect();
        assert_eq!(headings.iter().filter(|level| **level == 1).count(), 1);
        assert!(headings.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{headings:?}");
        let text = layout["text"].as_str().unwrap();
        for hostile in HOSTILE {
            let shown = hostile.replace('\n', " ").replace('\u{200b}', "\\u{200b}");
            assert!(text.contains(&shown), "{shown} at {width}");
        }
        assert!(text.contains("granted by the rule <script>alert(6)</script> =1+1 \"quoted\""), "the rule");
        assert!(text.contains("(user <b>\"&'x)"), "the login");
    }
    // Kinds of access differ in brightness too, for those who see no colours.
    let brightness = |color: &Value| -> f64 {
        let numbers = color.as_str().unwrap().trim_start_matches("rgb(").trim_end_matches(')');
        let parts: Vec<f64> = numbers.split(", ").map(|part| part.parse().unwrap()).collect();
        0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]
    };
    let mut colors: Vec<f64> = found["colors"].as_array().unwrap().iter().map(brightness).collect();
    colors.sort_by(f64::total_cmp);
    assert!(colors.windows(2).all(|pair| pair[1] - pair[0] > 30.0), "{colors:?}");
    assert!(found["pdf"].as_u64().unwrap() > 10_000);
}

#[test]
fn the_page_asks_for_no_script_no_style_and_no_picture_from_elsewhere() {
    let world = hostile_world();
    let page = world.run("alice", &["report", "--html", "-"]).ok().out;
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{}", &page[..80]);
    assert!(
        page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"")
    );
    for forbidden in ["<script", "src=\"", "url(", "@import", "http://", "https://", "onload=\"", "<link"] {
        let place = page.find(forbidden).map(|at| &page[at.saturating_sub(40)..]);
        assert_eq!(place.map(|text| text.chars().take(120).collect::<String>()), None, "{forbidden}");
    }
    // A character that would reorder the line is shown by its number. It comes in by the file alone: no command takes it.
    let id = ask(&world, "bob", "connection:batch", "turned round", &[]);
    world.rows(&format!("UPDATE request SET reason = 'turned ' || char(8238) || 'round' WHERE id = {id}"));
    let page = world.run("alice", &["report", "--html", "-"]).exits(65).err;
    assert!(page.contains("not valid"), "{page}");
}

/// Two grants, one denial, one emergency without a review, one attempt, in a day.
fn small_world() -> World {
    let world = World::of("olivia", TEAM);
    let first = ask(&world, "bob", "connection:batch", "one", &["--duration", "2h"]);
    world.pass("10m");
    world.run("alice", &["approve", &first]).ok();
    let second = ask(&world, "carol", "connection:batch", "two", &["--duration", "permanent"]);
    world.pass("30m");
    world.run("erin", &["approve", &second]).ok();
    let third = ask(&world, "dave", "target:orders-db", "three", &[]);
    world.pass("1h");
    world.run("alice", &["deny", &third, "--reason", "use the replica"]).ok();
    ask(&world, "frank", "connection:prod-k8s", "four", &["--emergency", "--duration", "1h"]);
    ask(&world, "dave", "connection:sandbox", "five", &["--duration", "30m"]);
    ask(&world, "dave", "target:orders-db", "six", &[]);
    world.run("bob", &["audit"]).exits(3);
    world.pass("1h");
    world
}

#[test]
fn the_figures_are_those_of_the_record() {
    let world = small_world();
    // The first one makes the key that signs it, which is an entry.
    let head = world.json("alice", &["audit", "checkpoint"]);
    let report = world.json("alice", &["report"]);
    crate::harness::shows(
        &report,
        &json!({
            "team": "acme", "since": "2026-08-26T11:40:00Z", "until": "2026-11-24T11:40:00Z", "made_by": "alice",
            "grants_held": 4, "grants_live": 1, "permanent": 1, "people": 4, "resources": 3,
            "submitted": 6, "decided": 3, "granted_by_rule": 1, "pending": 1, "undecided": 0, "denied": 1, "refused": 1,
            "emergencies": 1, "reviews_owed": 1, "recertifications": 0, "recertifications_overdue": 0, "team_changes": 2, "members_without_use": 3,
            "median_seconds_to_decision": 1800, "p90_seconds_to_decision": 3600, "html": null, "csv": null,
        }),
    );
    assert_eq!((&report["log"]["head"], &report["log"]["entries"]), (&head["head"], &head["seq"]));
    assert_eq!(report["log"]["ok"], true);
    let text = world.run("alice", &["report"]).ok().says("whole, ").says("4 held by 4 people on 3 resources").out;
    assert!(text.contains("median 30m, 90th percentile 1h"), "{text}");
}

#[test]
fn a_figure_leads_to_the_entries_that_it_rests_on() {
    let world = small_world();
    let page = world.run("alice", &["report", "--html", "-"]).ok().out;
    for (figure, action, count) in [
        ("permanent", "grant.started", 1),
        ("denied", "request.denied", 1),
        ("emergencies", "grant.started", 1),
        ("reviews_owed", "grant.started", 1),
        ("refused", "attempt.refused", 1),
        ("submitted", "request.submitted", 6),
        ("grants_held", "grant.started", 4),
        ("team_changes", "team.", 2),
    ] {
        assert!(page.contains(&format!("<a href=\"#b-{figure}\">{count}</a>")), "{figure}");
        let (_, basis) = page.split_once(&format!("id=\"b-{figure}\"")).unwrap();
        let (basis, _) = basis.split_once("</div>").unwrap();
        let cited: Vec<&str> = basis.split("#e").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
        assert_eq!(cited.len(), count, "{figure}: {basis}");
        for seq in cited {
            let (_, entry) = page.split_once(&format!("<li id=\"e{seq}\">")).unwrap();
            let (entry, _) = entry.split_once("</li>").unwrap();
            let known = world.rows(&format!("SELECT action FROM event WHERE seq = {seq}")).remove(0);
            assert!(entry.contains(&known) && known.starts_with(action), "{figure} {seq}: {entry}");
        }
    }
}

#[test]
fn a_period_ends_where_it_says() {
    let world = World::of("olivia", TEAM);
    world.set_clock("2026-11-25T09:00:00Z");
    let edited = ask(&world, "bob", "target:orders-db", "as it was", &["--ticket", "OLD-1"]);
    let granted = ask(&world, "carol", "connection:batch", "held", &["--duration", "3d"]);
    world.run("alice", &["approve", &granted]).ok();
    let emergency = ask(&world, "frank", "connection:prod-k8s", "down", &["--emergency", "--duration", "1h"]);
    world.set_clock("2026-11-26T09:00:00Z");
    world.run("bob", &["edit", &edited, "--reason", "as it became", "--ticket", "NEW-2"]).ok();
    world.run("alice", &["deny", &edited, "--reason", "no"]).ok();
    world.run("alice", &["revoke", &granted, "--reason", "no"]).ok();
    world.run("alice", &["review", &emergency, "--note", "fine"]).ok();
    ask(&world, "dave", "target:orders-db", "later", &[]);
    let of = |since: &str, until: &str| {
        let args = ["report", "--since", since, "--until", until];
        (world.json("alice", &args), world.run("alice", &[&args[..], &["--html", "-"]].concat()).ok().out)
    };
    let (before, page) = of("2026-11-25T00:00:00Z", "2026-11-25T23:59:59Z");
    crate::harness::shows(
        &before,
        &json!({
            "grants_held": 2, "grants_live": 1, "submitted": 3, "pending": 1, "denied": 0, "reviews_owed": 1,
            "emergencies": 1, "decided": 1,
        }),
    );
    assert!(page.contains("as it was") && page.contains("OLD-1") && page.contains("review owed"));
    assert!(!page.contains("as it became") && !page.contains("NEW-2") && !page.contains("revoked by"));
    let (after, page) = of("2026-11-26T00:00:00Z", "2026-11-26T10:00:00Z");
    crate::harness::shows(
        &after,
        &json!({
            "grants_held": 1, "grants_live": 0, "submitted": 1, "pending": 1, "denied": 1, "reviews_owed": 0,
            "emergencies": 0, "decided": 1,
        }),
    );
    assert!(page.contains("as it became") && page.contains("revoked by alice"));
    // The time from filing to the denial.
    assert_eq!(after["median_seconds_to_decision"], 86_400);
    let (none, _) = of("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    crate::harness::shows(&none, &json!({ "grants_held": 0, "submitted": 0, "pending": 0, "team_changes": 0 }));
    assert_eq!(none["log"]["entries_in_period"], 0);
    world
        .run("alice", &["report", "--since", "2026-11-26", "--until", "2026-11-25"])
        .fails(2, "--until is before --since");
}

#[test]
fn members_and_recertifications_are_those_of_the_end_of_the_period() {
    let world = World::of("olivia", TEAM);
    let id = ask(&world, "bob", "connection:batch", "x", &["--duration", "permanent"]);
    world.run("alice", &["approve", &id]).ok();
    world.run("alice", &["recertify", "start", "--due", "2d", "--reviewers", "erin,olivia"]).ok();
    let items = world.json("alice", &["recertify", "show", "1"])["items"].as_array().unwrap().clone();
    let role_of = |name: &str| {
        let item = items.iter().find(|item| item["member"] == name && item["held"]["role"].is_string());
        item.unwrap()["id"].as_str().unwrap().to_owned()
    };
    world.run("erin", &["recertify", "keep", &role_of("carol"), "--reason", "still here"]).ok();
    world.pass("1d");
    world.run("olivia", &["recertify", "revoke", &role_of("dave"), "--reason", "moved on"]).ok();
    world.pass("2d");
    let overdue = world.json("alice", &["report"]);
    crate::harness::shows(
        &overdue,
        &json!({ "recertifications_overdue": 1, "items_reviewed": 2, "items_not_kept": 0 }),
    );
    world.run("root", &["expire"]).ok();
    let rest = items.len() as u64 - 2;
    crate::harness::shows(
        &world.json("alice", &["report"]),
        &json!({ "recertifications": 1, "recertifications_overdue": 0, "items_reviewed": 2, "items_not_kept": rest }),
    );
    let page = |until: &[&str]| world.run("alice", &[&["report", "--html", "-"], until].concat()).ok().out;
    let still = "still in the team file";
    assert!(page(&[]).contains(still), "dave's role is still there");
    let without_dave = TEAM.replace("dave = { role = \"member\" }", "dave = { role = \"viewer\" }");
    let without_ivan = without_dave.replace("ivan = { role = \"viewer\" }\n", "");
    world.pass("1d");
    world.apply("olivia", &without_ivan).ok();
    world.pass("1h");

    // As it was when the first day was over: one item decided, and ivan a member.
    let first = ["--until", "2026-11-24T20:00:00Z"];
    let report = world.json("alice", &[&["report"], &first[..]].concat());
    crate::harness::shows(&report, &json!({ "items_reviewed": 1, "items_not_kept": 0, "recertifications": 1 }));
    let then = page(&first);
    assert!(then.contains("still here") && !then.contains("moved on") && !then.contains("nobody kept it"));
    assert!(then.contains("waits for member:erin, member:olivia") && then.contains("data-label=\"Member\">ivan"));
    let now = page(&[]);
    assert!(now.contains("moved on") && now.contains("nobody kept it") && !now.contains("waits for"));
    assert!(!now.contains("data-label=\"Member\">ivan <span"), "ivan is no member any more");
    let dave = now.split_once(&format!(">{}</th>", role_of("dave"))).unwrap().1.split_once("</tr>").unwrap().0;
    assert!(dave.contains("revoked by olivia") && !dave.contains(still), "{dave}");
    let (_, changes) = now.split_once("<section id=\"team\"").unwrap();
    let (changes, _) = changes.split_once("</section>").unwrap();
    let rows = changes.split("data-label=\"Entry\"><a href=\"#e").skip(1);
    let seqs: Vec<i64> = rows.map(|row| row.split_once('"').unwrap().0.parse().unwrap()).collect();
    assert!(seqs.len() > 1 && seqs.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {seqs:?}");
    // Before the log there was nobody.
    let none = world.json("alice", &["report", "--since", "2026-01-01", "--until", "2026-01-02"]);
    crate::harness::shows(&none, &json!({ "recertifications": 0, "members_without_use": 0 }));
}

/// The rows of a sheet, each by its columns. Read by the parser of Python.
fn sheet(folder: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let program = "import csv, json, sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))))";
    let output = python().args(["-c", program]).arg(folder.join(name)).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_sheets_have_everything_and_no_formula() {
    let world = hostile_world();
    let report = world.json("alice", &["report", "--csv", "sheets"]);
    let folder = world.folder().join("sheets");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 13);
    for name in &names {
        let rows = sheet(&folder, name);
        assert_eq!(rows.is_empty(), name == "verification.csv", "{name}");
        for cell in rows.iter().flat_map(BTreeMap::values) {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{name}: {cell}");
            assert!(!cell.starts_with(['{', '[']), "{name}: {cell}");
        }
    }
    for (name, figure) in [
        ("grants.csv", "grants_held"),
        ("permanent.csv", "permanent"),
        ("emergencies.csv", "emergencies"),
        ("denied.csv", "denied"),
        ("refused.csv", "refused"),
        ("recertifications.csv", "recertifications"),
    ] {
        assert_eq!(sheet(&folder, name).len() as u64, report[figure].as_u64().unwrap(), "{name}");
    }
    let grants = sheet(&folder, "grants.csv");
    let formula = grants.iter().find(|row| row["reason"].contains("HYPERLINK")).unwrap();
    assert_eq!(formula["reason"], "'=HYPERLINK(\"//127.0.0.1/\",\"x\")");
    let first = grants.iter().find(|row| row["request"] == "1").unwrap();
    assert_eq!((first["approvers"].as_str(), first["granted"].as_str()), ("alice", "4h"));
    assert_eq!(first["held_seconds_in_period"], "14400");
    // A row's entries are those of its request.
    let entries: Vec<String> = world.rows("SELECT seq FROM event WHERE request = 1 ORDER BY seq");
    assert_eq!(first["entries"].split(' ').collect::<Vec<_>>(), entries);
    let of_first: Vec<String> = sheet(&folder, "entries.csv")
        .into_iter()
        .filter(|row| row["request"] == "1")
        .map(|row| row["seq"].clone())
        .collect();
    assert_eq!(of_first, entries);
    let items = sheet(&folder, "recertification-items.csv");
    let decided = items.iter().filter(|row| !row["decided_by"].is_empty());
    assert_eq!(decided.count() as u64, report["items_reviewed"].as_u64().unwrap());
    let still = items.iter().find(|row| row["item"] == "1.4").unwrap();
    assert_eq!((still["state"].as_str(), still["decided_by"].as_str()), ("revoked", "alice"));
    assert_eq!(still["still_in_team_file"], "yes");
    let used = sheet(&folder, "members.csv").into_iter().filter(|row| row["used"] == "no").count();
    assert_eq!(used as u64, report["members_without_use"].as_u64().unwrap());
}

#[test]
fn a_report_is_private_and_goes_over_nothing_of_somebody_else() {
    let world = small_world();
    let path = |name: &str| world.folder().join(name);
    world.run("alice", &["report", "--html", "page.html", "--csv", "sheets"]).ok().says("page.html");
    let mode = |name: &str| path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("page.html"), mode("sheets"), mode("sheets/grants.csv")), (0o600, 0o700, 0o600));
    // The same file again, but never through a link, and no folder twice.
    world.run("alice", &["report", "--html", "page.html"]).ok();
    world.run("alice", &["report", "--csv", "sheets"]).fails(5, "sheets exists; nothing was written");
    std::fs::write(path("kept"), "kept").unwrap();
    symlink(path("kept"), path("link.html")).unwrap();
    world.run("alice", &["report", "--html", "link.html"]).fails(5, "is a symbolic link; nothing was written");
    symlink(path("nowhere"), path("link")).unwrap();
    world.run("alice", &["report", "--csv", "link"]).fails(5, "link exists; nothing was written");
    assert_eq!(std::fs::read_to_string(path("kept")).unwrap(), "kept");
    assert!(!path("nowhere").exists());
    for (option, path) in [("--html", "none/page.html"), ("--csv", "none/sheets")] {
        let ran = world.run("alice", &["report", option, path]).fails(74, &format!("{path} can't be written"));
        assert!(ran.err.ends_with("hint: create its folder first, or name another place\n"), "{ran:?}");
    }
    world.run("alice", &["report", "--html", "-", "--json"]).exits(2);
    let left = std::fs::read_dir(world.folder()).unwrap();
    let drafts = left.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains(".new-"));
    assert_eq!(drafts.count(), 0);
}

#[test]
fn a_report_that_fails_half_way_leaves_nothing() {
    let world = small_world();
    // The rows come in the order of their numbers: the sheets are begun when the damaged one is found.
    world.rows("UPDATE request SET reason = '' WHERE id = 6");
    world.run("alice", &["report", "--html", "page.html", "--csv", "sheets"]).exits(65);
    let names: Vec<String> = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("page") || name.contains("sheets"))
        .collect();
    assert_eq!(names, [] as [&str; 0]);
}

#[test]
fn a_report_says_if_the_log_is_not_whole() {
    let world = small_world();
    world.rows("UPDATE grant SET ends_at = ends_at + 3600 WHERE request = 1");
    let ran = world.run("alice", &["report", "--html", "page.html"]).exits(1);
    assert!(ran.out.contains("NOT WHOLE") && ran.err.contains("the log is not whole: 1 fault"), "{ran:?}");
    let page = std::fs::read_to_string(world.folder().join("page.html")).unwrap();
    assert!(page.contains("✗ The log is not whole.") && !page.contains("✓"));
    let report = world.run("alice", &["report", "--json"]).exits(1).json();
    assert_eq!((&report["log"]["ok"], &report["log"]["faults"]), (&json!(false), &json!(1)));
}

#[test]
fn only_those_who_may_read_the_log_may_make_a_report() {
    let world = small_world();
    for login in ["bob", "ivan"] {
        world.run(login, &["report", "--html", "page.html", "--csv", "sheets"]).fails(3, "may make a report");
    }
    assert!(!world.folder().join("page.html").exists() && !world.folder().join("sheets").exists());
    assert_eq!(world.json("alice", &["report"])["refused"], 3);
    for login in ["erin", "olivia", "zed"] {
        world.run(login, &["report"]).ok();
    }
}
