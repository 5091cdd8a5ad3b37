//! Hostile text in every field that keeps text, and what comes out of every exit: terminal, JSON, CSV, page, mail, Slack, webhook,
//! completion, manual. The exits are found, not listed: a new command fails `each_exit_is_tried`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Seek as _;
use std::path::Path;
use std::process::Command;

use access::domain::event::Entry;
use access::domain::text::acts_or_hides;
use serde_json::{Value, json};

use crate::completion::{bash, fish_words};
use crate::harness::World;
use crate::hostile_text::{ACTING, arguments, commands, harmless};
use crate::post::{Server, configure, python, slack, smtp, webhook};
use crate::proof::{bodies, forge};
use crate::{provisioning, sessions};

/// What people may write where they may write anything: formulas, markup, mentions, SQL, format strings, headers, ends of messages,
/// towers of marks, other directions, emoji with joiners, what can't be seen.
const TEXTS: [&str; 14] = [
    "=HYPERLINK(\"http://evil.example/\",\"x\")",
    "\n=1+1\n@SUM(1)",
    "-1+1|' /C calc'!A0",
    "＝1+1",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\"><svg onload=alert(3)>' ]]> --> &lt;b&gt;",
    "<!channel> <@U1> <http://evil.example|acme.example> *b* `c` @here",
    "'; DROP TABLE event; --",
    "%s%n%1$x {} {0} ${HOME} $(id) `id` \\",
    "end\n.\nFORGED: line\nBcc: eve@evil.example\n\n<html>\n-- \nFrom x",
    "Z̸̢̛͙̺͚͔̼̗̿̉̓͐͘ä̶́l̵͝g̷̈o̸̽",
    "שלום עולם 123 مرحبا بالعالم",
    "👩\u{200d}👩\u{200d}👧\u{200d}👦 🏳\u{fe0f}\u{200d}🌈 e\u{301}",
    "pay\u{200b}roll\u{2060}\u{feff}\u{ad}\u{e0041}",
];

/// Tickets are lines without what can't be seen.
fn ticket(text: &str) -> String {
    text.replace('\n', " ").chars().filter(|c| !acts_or_hides(*c)).collect::<String>().trim().to_owned()
}

const TEAM: &str = r#"
[team]
name = "acme"

[members]
olivia = { role = "owner", email = "olivia@acme.example", slack = "U0OLIVIA" }
alice = { role = "admin", email = "alice!#%&'*+/=?^_{|}~@acme.example", slack = "U0ALICE" }
erin = { role = "admin" }
carol = { role = "member", email = "carol@acme.example" }
dave = { role = "member", ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILOGgAXUmcqZPlb7t8C0uPRWLCWHWLRfnRxcwSqkBO7j =1+1 <b>\"&'"] }

[members.bob]
role = "member"
login = "=<b>\"&'$(id)%s"
email = "bob@acme.example"
slack = "U0BOB"

[connections]
prod = { environment = "production" }
glass = { environment = "production" }
sandbox = { environment = "non-production" }

[targets]
orders-db = { connections = ["prod"] }

[[rules]]
name = "=1+1 <script>alert(6)</script> <!channel> \"quoted\" %s"
match = { resources = ["connection:sandbox"] }
auto_approve = true

[[rules]]
name = "@break 'glass' <b>"
match = { resources = ["connection:glass"] }
emergency = true

[[rules]]
name = "never"
match = { resources = ["role:owner"] }
deny = "=no <img src=x onerror=alert(7)> <!here> %n"

[[bindings]]
resource = "target:orders-db"
connector = "orders-pg"
role = "=orders <b>\"&' $(id) %s"
"#;

/// With a target for each text.
pub fn team() -> String {
    let targets: String =
        (0..TEXTS.len()).map(|number| format!("t{number} = {{ connections = [\"prod\"] }}\n")).collect();
    TEAM.replace("[targets]\n", &format!("[targets]\n{targets}"))
}

/// bob, by the login that the team file gives him.
const BOB: &str = "=<b>\"&'$(id)%s";

struct Servers {
    mail: Server,
    web: Server,
}

fn ask(world: &World, login: &str, resource: &str, text: &str, more: &[&str]) -> String {
    let reason = format!("--reason={text}");
    let ticket = format!("--ticket={}", ticket(text));
    let mut args = vec!["request", resource, &reason];
    args.extend((!ticket.ends_with('=')).then_some(ticket.as_str()));
    args.extend(more);
    world.json(login, &args)["id"].to_string()
}

/// Every argument that is kept has every text.
fn hostile_world() -> (World, Servers) {
    let world = World::of("olivia", &team());
    let servers = Servers { mail: Server::mail(&world, &[]), web: Server::web(&world) };
    let url = format!("http://127.0.0.1:{}/hook", servers.web.port);
    let hook = webhook(&world, "siem", &url, "\"request.submitted\", \"request.denied\", \"audit\"");
    configure(&world, &[smtp(servers.mail.port), slack(&world, servers.web.port), hook].concat());
    for text in TEXTS {
        let given = |flag: &str| format!("{flag}={text}");
        let (reason, note) = (given("--reason"), given("--note"));
        let of_ticket = format!("--ticket={}", ticket(text));
        let id = ask(&world, BOB, "target:orders-db", text, &["--duration", "permanent"]);
        world.run(BOB, &["edit", &id, &given("--reason"), &of_ticket]);
        world.run("alice", &["approve", &id, "--duration", "2h", &note]).ok();
        let args = ["extend", &id, "--duration", "1h", &reason, &of_ticket];
        let more = world.json(BOB, &args)["id"].to_string();
        world.run("erin", &["deny", &more, &reason]).ok();
        world.run("root", &["expire"]).ok();
        world.run("alice", &["revoke", &id, &reason]).ok();
        let id = ask(&world, "carol", "connection:glass", text, &["--emergency", "--duration", "1h"]);
        world.run("alice", &["review", &id, &note]).ok();
        world.run("carol", &["revoke", &id]).ok();
        world.run("dave", &["run", "connection:sandbox", &reason, &of_ticket, "--give-back", "--", "true"]).ok();
        world.pass("11m");
    }
    world.grant(BOB, "target:orders-db", "alice", &["--duration", "permanent"]);
    for text in TEXTS {
        world.grant("carol", "connection:prod", "alice", &["--duration", "permanent"]);
        let start = ["recertify", "start", "--permanent", "--due", "1d", "--reviewers", "erin"];
        let review = world.json("olivia", &start)["id"].to_string();
        let reason = format!("--reason={text}");
        world.run("erin", &["recertify", "keep", &format!("{review}.1"), &reason]).ok();
        world.run("erin", &["recertify", "revoke", &format!("{review}.2"), &reason]).ok();
        let review = world.json("olivia", &start)["id"].to_string();
        world.run("olivia", &["recertify", "cancel", &review, &reason]).ok();
        world.pass("1h");
    }
    let id: i64 = world.grant(BOB, "connection:prod", "alice", &["--duration", "1w"]).parse().unwrap();
    sessions::open(&world, BOB);
    provisioning::record(&world, vec![provisioning::grant_failed(BOB, id, TEXTS[4])]);
    // What still waits, for those who decide.
    for (number, text) in TEXTS.iter().enumerate() {
        ask(&world, "carol", &format!("target:t{number}"), text, &["--duration", "3h"]);
    }
    (world, servers)
}

/// Who runs a command, with which words.
type Run = (&'static str, &'static [&'static str]);

/// How each command is tried. PENDING is the last request that waits, SOME is each fourth.
const EXITS: &[(&str, &[Run])] = &[
    ("team show", &[("alice", &["team", "show"]), ("dave", &["team", "show"])]),
    ("team apply", &[("olivia", &["team", "apply", "other.toml", "--dry-run"])]),
    ("team replace-owner", &[("olivia", &["team", "replace-owner", "=nobody"])]),
    ("resources", &[(BOB, &["resources"]), (BOB, &["resources", "--mine"])]),
    (
        "request",
        &[
            ("dave", &["request", "orders-db", "--reason", "x", "--dry-run"]),
            ("alice", &["request", "role:owner", "--reason", "x"]),
        ],
    ),
    ("extend", &[(BOB, &["extend", "1", "--reason", "x"])]),
    ("edit", &[("carol", &["edit", "PENDING", "--duration", "2h"])]),
    (
        "list",
        &[
            ("alice", &["list", "--all", "--limit", "0"]),
            ("alice", &["list", "--search", "evil"]),
            ("carol", &["list", "--mine"]),
            ("alice", &["list", "--all", "--at", "NOW"]),
        ],
    ),
    ("show", &[("alice", &["show", "1"]), ("alice", &["show", "SOME"])]),
    ("approve", &[("alice", &["approve", "PENDING", "--duration", "1h", "--note", "=x"])]),
    ("deny", &[("erin", &["deny", "PENDING"])]),
    ("review", &[("alice", &["review", "1", "--note", "x"])]),
    ("recertify start", &[("olivia", &["recertify", "start", "--due", "1d", "--dry-run"])]),
    ("recertify list", &[("erin", &["recertify", "list"])]),
    ("recertify show", &[("erin", &["recertify", "show", "1"]), ("olivia", &["recertify", "show", "5"])]),
    ("recertify cancel", &[("olivia", &["recertify", "cancel", "1", "--reason", "x"])]),
    ("recertify keep", &[("erin", &["recertify", "keep", "1.1"])]),
    ("recertify revoke", &[("erin", &["recertify", "revoke", "1.2"])]),
    ("withdraw", &[("carol", &["withdraw", "PENDING"])]),
    ("revoke", &[("alice", &["revoke", "1"])]),
    ("whoami", &[(BOB, &["whoami"]), ("dave", &["whoami"])]),
    ("check", &[(BOB, &["check", "orders-db"]), ("dave", &["check", "sandbox"])]),
    ("who", &[("alice", &["who", "orders-db"]), ("alice", &["who", "--user", "bob"])]),
    ("run", &[(BOB, &["run", "orders-db", "--", "true"])]),
    ("inbox", &[("alice", &["inbox", "--all"]), (BOB, &["inbox", "--all"]), ("erin", &["inbox"])]),
    ("notify", &[(BOB, &["notify"])]),
    ("notify show", &[(BOB, &["notify", "show"])]),
    ("notify set", &[(BOB, &["notify", "set", "all", "--digest", "daily"])]),
    ("notify mute", &[(BOB, &["notify", "mute", "access.expiring"])]),
    ("notify unmute", &[(BOB, &["notify", "unmute", "access.expiring"])]),
    ("notify reset", &[(BOB, &["notify", "reset"])]),
    ("notify test", &[(BOB, &["notify", "test"])]),
    ("expire", &[("root", &["expire", "--no-deliver"])]),
    ("deliver", &[("root", &["deliver"])]),
    ("outbox", &[("root", &["outbox"]), ("root", &["outbox", "--dead"])]),
    ("outbox retry", &[("root", &["outbox", "retry"])]),
    ("outbox discard", &[("root", &["outbox", "discard"])]),
    ("reconcile", &[("root", &["reconcile"])]),
    ("audit", &[("alice", &["audit", "--limit", "0"]), ("alice", &["audit", "--member", "bob", "--limit", "0"])]),
    ("audit verify", &[("alice", &["audit", "verify"])]),
    ("audit checkpoint", &[("alice", &["audit", "checkpoint"])]),
    ("audit prove", &[("alice", &["audit", "prove", "3"])]),
    ("audit key", &[("alice", &["audit", "key"])]),
    ("audit signature", &[("alice", &["audit", "signature", "3"])]),
    (
        "audit export",
        &[("alice", &["audit", "export", "--format", "csv"]), ("alice", &["audit", "export", "--format", "jsonl"])],
    ),
    ("report", &[("alice", &["report"])]),
    ("pending", &[("alice", &["pending"])]),
    ("backup", &[("olivia", &["backup", "copy.db"])]),
    ("doctor", &[("olivia", &["doctor"])]),
    (
        "ssh principals",
        &[("root", &["ssh", "principals", BOB]), ("root", &["ssh", "principals", "--for", "orders-db", BOB])],
    ),
    ("ssh keys", &[("root", &["ssh", "keys"])]),
    ("session opened", &[("root", &["session", "opened", "--for", "orders-db"])]),
    ("session closed", &[("root", &["session", "closed"])]),
    ("connector list", &[("root", &["connector", "list"])]),
    ("version", &[("alice", &["version"])]),
    ("help", &[("alice", &["help", "request"])]),
];

/// Commands that show nothing of the database.
const NOTHING: [&str; 25] = [
    "init",
    "connector test",
    "connector unix-group",
    "connector sudoers",
    "connector postgres",
    "connector ldap",
    "connector scim",
    "connector aws-iam-group",
    "connector aws-identity-center",
    // A host's own file, or a shared log, of which tests/fleet/ tells.
    "audit witness",
    "log init",
    "log allow",
    "log move",
    "log join",
    "log leave",
    "log status",
    "log upgrade",
    "log raise-epoch",
    "log salvage",
    "follow",
    // Other programs: the server, sshd, packagers.
    "serve",
    "ssh cert",
    "ssh command",
    "completions",
    "man",
];

/// Lines that somebody wrote, at the start of a line of the program's own.
fn forges_a_line(shown: &str) -> bool {
    shown.lines().any(|line| line.starts_with("FORGED") || line.starts_with("Bcc:"))
}

fn each_exit(world: &World, mut look: impl FnMut(&str, i32, &str, &str)) {
    let pending = world.rows("SELECT max(id) FROM request WHERE state = 'pending'")[0].clone();
    let ids = world.rows("SELECT id FROM request WHERE id % 4 = 0 ORDER BY id");
    let now = world.now().to_string();
    for (words, runs) in EXITS {
        for (login, args) in *runs {
            let each = if args.contains(&"SOME") { ids.clone() } else { vec![pending.clone()] };
            for id in &each {
                let of = |word: &&str| match *word {
                    "SOME" | "PENDING" => id.clone(),
                    "NOW" => now.clone(),
                    other => other.to_owned(),
                };
                let line: Vec<String> = args.iter().map(of).collect();
                let mut line: Vec<&str> = line.iter().map(String::as_str).collect();
                for more in ["--color=always", "--json"] {
                    line.insert(0, more);
                    let ran = world.run(login, &line);
                    line.remove(0);
                    assert!(![70, 101].contains(&ran.code), "{words}: {ran:?}");
                    look(&format!("{words} {more}"), ran.code, &ran.out, &ran.err);
                }
            }
        }
    }
}

#[test]
fn each_exit_is_tried() {
    let found: BTreeSet<String> = commands().into_iter().map(|(words, _)| words).collect();
    let tried = EXITS.iter().map(|(words, _)| *words).chain(NOTHING).map(str::to_owned);
    assert_eq!(found, tried.collect());
}

#[test]
fn what_people_wrote_acts_at_no_exit() {
    let (world, servers) = hostile_world();
    fs::write(
        world.folder().join("other.toml"),
        team().replace("=no <img", "=never <img").replace("=1+1 <script>", "@2 <script>"),
    )
    .unwrap();
    // Before commands change anything.
    is_kept(&world);
    is_safe_csv(&world);
    is_safe_page(&world);
    is_safe_completion(&world);
    let manual = world.folder().join("man");
    world.run("alice", &["man", manual.to_str().unwrap()]).ok();
    for page in fs::read_dir(&manual).unwrap().map(|page| page.unwrap()) {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page.file_name());
        assert_eq!(fs::read(page.path()).unwrap(), fs::read(committed).unwrap(), "a page of the manual has none of it");
    }
    each_exit(&world, |of, code, out, err| {
        assert!(code != 65, "{of}: {err}");
        // A row of CSV ends as RFC 4180 says.
        let out = &if of.starts_with("audit export") { out.replace("\r\n", "\n") } else { out.to_owned() };
        for shown in [out, err] {
            harmless(of, shown);
            let of_file = of.starts_with("audit export") || of.starts_with("team show");
            assert!(of_file || !forges_a_line(shown), "{of} shows a line that somebody wrote as its own:\n{shown}");
        }
        if of.ends_with("--json") && !of.starts_with("audit export") && !of.starts_with("help") {
            let lines = |text: &str| text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
            assert!(lines(out) || serde_json::from_str::<Value>(out).is_ok(), "{of}: {out}");
        }
    });
    world.run("root", &["deliver"]);
    is_safe_mail(&servers.mail);
    is_safe_slack(&servers.web);
    is_whole_at_webhook(&servers.web);
}

/// Each text is in the log as it was written, in each field, and it is found again.
fn is_kept(world: &World) {
    let log = world.json("alice", &["audit", "--limit", "0"]);
    for text in TEXTS {
        let mut fields = BTreeSet::new();
        for entry in log.as_array().unwrap() {
            let mut of_entry = Vec::new();
            strings(&entry["detail"], "", &mut of_entry);
            let holds = of_entry.iter().filter(|(_, found)| found == text || *found == ticket(text));
            fields.extend(holds.map(|(path, _)| format!("{}{path}", entry["action"].as_str().unwrap())));
        }
        let expected = [
            "grant.revoked/reason",
            "recertification.cancelled/reason",
            "recertification.decided/reason",
            "request.approved/note",
            "request.denied/reason",
            "request.reviewed/note",
            "request.submitted/reason",
            "request.submitted/ticket",
        ];
        for field in expected {
            assert!(fields.contains(field) || field.ends_with("ticket"), "{field} has no {text:?}, but {fields:?}");
        }
        let list =
            world.json("alice", &["list", "--all", "--search", text.trim_start_matches('-').trim(), "--limit", "0"]);
        assert!(list.as_array().unwrap().iter().any(|request| request["reason"] == text), "{text:?} is not found");
    }
}

fn strings(value: &Value, path: &str, into: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => into.push((path.to_owned(), text.clone())),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| strings(value, &format!("{path}/{key}"), into)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, path, into)),
        _ => {}
    }
}

/// Python reads the files as RFC 4180 has them. No cell is a formula.
fn is_safe_csv(world: &World) {
    world.run("alice", &["report", "--csv", "sheets"]).ok();
    for (name, args) in [
        ("list.csv", &["list", "--all", "--limit", "0", "--csv"][..]),
        ("audit.csv", &["audit", "export", "--format", "csv"]),
    ] {
        fs::write(world.folder().join("sheets").join(name), world.run("alice", args).ok().out).unwrap();
    }
    let read = "import csv, json, pathlib, sys\n\
                files = sorted(pathlib.Path(sys.argv[1]).glob('*.csv'))\n\
                print(json.dumps([list(csv.reader(open(f, newline=''), strict=True)) for f in files]))";
    let output = Command::new("python3").args(["-c", read]).arg(world.folder().join("sheets")).output().unwrap();
    let files: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let files: Vec<Vec<Vec<String>>> = serde_json::from_value(files).unwrap();
    assert!(files.len() > 4, "{} files", files.len());
    let mut cells = BTreeSet::new();
    for rows in files {
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "each row has all columns: {:?}", rows[0]);
        cells.extend(rows.into_iter().flatten());
    }
    for cell in &cells {
        assert!(
            !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']),
            "{cell:?} is a formula"
        );
        assert!(!cell.contains(|c| acts_or_hides(c) && c != '\n'), "{cell:?}");
    }
    assert!(cells.contains(&format!("'{}", TEXTS[0])) && cells.contains(TEXTS[9]));
}

/// The elements that are the program's own. (A browser shows the page in report.rs.)
fn is_safe_page(world: &World) {
    world.run("alice", &["report", "--html", "page.html"]).ok();
    let page = fs::read_to_string(world.folder().join("page.html")).unwrap();
    is_safe_html(&page);
}

fn is_safe_html(page: &str) {
    for rest in page.split('<').skip(1) {
        let tag: String =
            rest.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '!').collect();
        assert!(!tag.is_empty(), "{}", &rest[..rest.len().min(60)]);
        let foreign = ["script", "img", "iframe", "object", "form", "input", "base", "U1"];
        assert!(!foreign.contains(&tag.as_str()), "<{}", &rest[..rest.len().min(60)]);
        assert!(!rest.split('>').next().unwrap().contains("onload"), "{rest}");
    }
    assert!(!page.contains(|c| acts_or_hides(c) && c != '\n'));
}

/// What a shell is told to insert are names, numbers and the program's own words.
fn is_safe_completion(world: &World) {
    let own: Vec<String> = commands().into_iter().map(|(words, _)| words).collect();
    let options = arguments().into_iter().filter_map(|(_, words, arg)| Some(format!("{words} --{}", arg.get_long()?)));
    for words in own.into_iter().chain(options) {
        let mut line: Vec<&str> = std::iter::once("access").chain(words.split(' ')).collect();
        line.push("");
        let mut command = world.command("alice", &["--"]);
        command.args(&line).env("_ACCESS_COMPLETE", "fish").env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string());
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{words}: {ran:?}");
        let shown = String::from_utf8(ran.stdout).unwrap();
        for candidate in shown.lines() {
            let (word, described) = candidate.split_once('\t').unwrap_or((candidate, ""));
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
            let is_file =
                Path::new(word.trim_end_matches('/')).components().count() > 0 && world.folder().join(word).exists();
            assert!(is_file || word.chars().all(plain), "{words}: {word:?} is inserted");
            assert!(!described.contains(acts_or_hides), "{words}: {described:?} is shown");
        }
    }
    // What the shells make of it.
    for offered in [bash(world, "alice", "access approve "), fish_words(world, "alice", "access approve ")] {
        assert_eq!(offered.len(), TEXTS.len(), "{offered:?}");
        assert!(offered.iter().all(|word| word.parse::<i64>().is_ok()), "{offered:?}");
    }
}

/// No header but the program's own, no recipient but members, and no mark-up but the program's own.
fn is_safe_mail(server: &Server) {
    let mails = server.got();
    assert!(mails.len() > TEXTS.len() * 3, "{} mails", mails.len());
    let mut seen = BTreeSet::new();
    for mail in &mails {
        let data = mail["data"].as_str().unwrap();
        let (head, _) = data.split_once("\r\n\r\n").unwrap();
        for line in head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])) {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            assert!(line.is_ascii() && line.len() < 998, "{line:?}");
            seen.insert(name);
        }
        assert!(!data.to_lowercase().contains("eve@evil.example\r\nsubject"), "{data}");
    }
    let own = ["from", "to", "subject", "date", "message-id", "mime-version", "content-type", "auto-submitted"];
    let known = ["in-reply-to", "references", "content-transfer-encoding", "x-auto-response-suppress", "list-id"];
    let foreign = seen.iter().filter(|name| !own.contains(&name.as_str()) && !known.contains(&name.as_str()));
    assert_eq!(foreign.collect::<Vec<_>>(), [""; 0]);
    let bodies = taken_apart(&mails);
    for text in TEXTS {
        let line = text.trim().lines().next().unwrap();
        let shown: String =
            line.chars().flat_map(|c| if acts_or_hides(c) { c.escape_unicode().collect() } else { vec![c] }).collect();
        assert!(bodies.iter().any(|body| body.contains(&shown)), "no mail has {shown:?}");
    }
    for body in bodies {
        assert!(!body.contains(|c| acts_or_hides(c) && c != '\n'), "{body:?}");
        if body.starts_with("<!doctype") {
            is_safe_html(&body);
        } else {
            assert!(!forges_a_line(&body), "{body}");
        }
    }
}

/// The parts of all mails, as Python's library reads them.
fn taken_apart(mails: &[Value]) -> Vec<String> {
    let decode = "import email, email.policy, json, sys\n\
                  mails = [email.message_from_string(m['data'], policy=email.policy.default) for m in json.load(sys.stdin)]\n\
                  print(json.dumps([p.get_content().replace('\\r\\n', '\\n')\n\
                  \x20                for m in mails for p in m.walk() if not p.is_multipart()]))";
    let file = tempfile::tempfile().unwrap();
    serde_json::to_writer(&file, mails).unwrap();
    (&file).rewind().unwrap();
    let output = python().args(["-c", decode]).stdin(file).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Slack reads mark-up between `<` and `>`: the program writes none.
fn is_safe_slack(server: &Server) {
    let bodies = server.bodies("/api/chat.postMessage");
    assert!(bodies.len() > TEXTS.len(), "{} messages", bodies.len());
    for body in &bodies {
        let mut all = Vec::new();
        strings(body, "", &mut all);
        for (path, text) in &all {
            assert!(!text.contains(['<', '>']), "{path}: {text}");
            assert!(!text.contains(|c| acts_or_hides(c) && c != '\n') && !forges_a_line(text), "{path}: {text:?}");
        }
        assert_eq!(
            (&body["mrkdwn"], &body["link_names"], &body["parse"]),
            (&json!(false), &json!(false), &json!("none"))
        );
    }
    let text = serde_json::to_string(&bodies).unwrap();
    assert!(text.contains("&lt;!channel&gt; &lt;@U1&gt;"));
}

/// To a program, a text is what was written.
fn is_whole_at_webhook(server: &Server) {
    let mut all = Vec::new();
    server.bodies("/hook").iter().for_each(|body| strings(body, "", &mut all));
    let found: BTreeSet<&str> = all.iter().map(|(_, text)| text.as_str()).collect();
    for text in TEXTS {
        assert!(found.contains(text), "{text:?}");
    }
}

/// What no program of ours records: a host of a shared log, or somebody who can write the file, forges it.
#[test]
fn what_is_forged_in_the_log_acts_at_no_exit() {
    let (world, _servers) = hostile_world();
    let acting: String = ACTING.concat();
    let mut paths = BTreeSet::new();
    let mut forged = Vec::new();
    for body in bodies(&world) {
        let mut value: Value = serde_json::from_str(&body).unwrap();
        let mut of_entry = Vec::new();
        strings_by_pointer(&value, "", &mut of_entry);
        for pointer in of_entry {
            let before = value.pointer(&pointer).unwrap().clone();
            *value.pointer_mut(&pointer).unwrap() = json!(format!("{}{acting}", before.as_str().unwrap()));
            if serde_json::from_value::<Entry>(value.clone()).is_ok() {
                let place =
                    pointer.split('/').filter(|part| part.parse::<u32>().is_err()).collect::<Vec<_>>().join("/");
                paths.insert(format!("{}{place}", value["event"]["action"].as_str().unwrap()));
            } else {
                *value.pointer_mut(&pointer).unwrap() = before;
            }
        }
        forged.push(value.to_string());
    }
    assert!(paths.iter().any(|path| path.ends_with("/os_user")), "{paths:?}");
    forge(&world, &forged, "");
    each_exit(&world, |of, _, out, err| {
        for shown in [out, err] {
            if !of.starts_with("audit export") {
                harmless(of, shown);
            }
        }
    });
    for format in ["csv", "jsonl"] {
        let out = world.run("alice", &["audit", "export", "--format", format]).out;
        harmless("an export", &out.replace('\r', ""));
    }
}

fn strings_by_pointer(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::String(_) => into.push(path.to_owned()),
        Value::Object(fields) => {
            let key = |key: &str| key.replace('~', "~0").replace('/', "~1");
            fields.iter().for_each(|(name, value)| strings_by_pointer(value, &format!("{path}/{}", key(name)), into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| strings_by_pointer(item, &format!("{path}/{n}"), into));
        }
        _ => {}
    }
}
