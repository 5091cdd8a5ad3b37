//! What can't be meant is refused in a sentence, with its exit code, and changes nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::harness::{Ran, TEAM, World};

/// A sample team with a request that is pending (1) and one that is live (2).
struct Busy {
    world: World,
    before: [Value; 2],
}

impl Busy {
    fn new() -> Busy {
        let world = World::sample();
        world.request("bob", "target:orders-db", &[]);
        let live = world.request("bob", "target:search-index", &[]);
        world.run("alice", &["approve", &live]).ok();
        let before = Busy::record(&world);
        Busy { world, before }
    }

    fn record(world: &World) -> [Value; 2] {
        [world.json("olivia", &["audit"]), world.json("olivia", &["list", "--all"])]
    }

    /// Fails so, and nothing has changed.
    #[track_caller]
    fn refuses(&self, login: &str, args: &[&str], code: i32, says: &str) -> Ran {
        let ran = self.world.run(login, args).fails(code, says);
        assert_eq!(Busy::record(&self.world), self.before, "{}", ran.line);
        ran
    }

    /// The same with `--json`: nothing on stdout, and one object on stderr, which it gives.
    #[track_caller]
    fn refuses_json(&self, login: &str, args: &[&str], code: i32) -> Value {
        let ran = self.world.run(login, &[args, &["--json"]].concat()).exits(code);
        assert_eq!(ran.out, "", "{}", ran.line);
        let value: Value = serde_json::from_str(&ran.err).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
        assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
        assert_eq!(Busy::record(&self.world), self.before, "{}", ran.line);
        value["error"].clone()
    }

    #[track_caller]
    fn refuses_file(&self, team: impl AsRef<[u8]>, code: i32, says: &str) -> Ran {
        std::fs::write(self.world.folder().join("bad.toml"), team).unwrap();
        self.refuses("olivia", &["team", "apply", "bad.toml", "--yes"], code, says)
    }
}

const ASK: [&str; 4] = ["request", "target:billing-db", "--reason", "testing"];

fn ask<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ASK[..], more].concat()
}

#[test]
fn durations_that_are_none() {
    let busy = Busy::new();
    for (flag, says) in [
        ("--duration=0h", "at least one second"),
        ("--duration=-1h", "a duration is written like"),
        ("--duration=1x", "a duration is written like"),
        ("--duration=", "a duration is written like"),
        ("--duration=h", "a duration is written like"),
        ("--duration=99999999999d", "at most ten years"),
        ("--duration=99999999999999999999999999d", "at most ten years"),
        ("--duration=3651d", "at most ten years"),
        ("--until=2020-01-01T00:00:00Z", "has passed"),
        ("--until=2026-11-24T09:00:00Z", "has passed"),
        ("--until=today 08:59", "has passed"),
        ("--until=2036-11-24T09:00:00Z", "more than ten years away"),
        ("--until=yesterday", "has passed"),
        ("--until=noonish", "a time is written like"),
        ("--until=2026-02-30T00:00:00Z", "a time is written like"),
    ] {
        busy.refuses("bob", &ask(&[flag]), 2, says);
    }
    busy.refuses("bob", &ask(&["--duration", "1h", "--until", "17:00"]), 2, "cannot be used with");
    for flag in ["--duration=0h", "--duration=99999999999d", "--until=2020-01-01T00:00:00Z"] {
        busy.refuses("alice", &["approve", "1", flag], 2, "");
    }
}

#[test]
fn names_that_are_none() {
    let busy = Busy::new();
    for name in
        ["a b", "a/b", "../x", "a\nb", "a\x1b[31mb", "a\u{202e}b", "a\u{7}", "A", "é", "", "-a", &"x".repeat(64)]
    {
        let resource = format!("target:{name}");
        busy.refuses("bob", &["request", &resource, "--reason", "x"], 2, "name");
        busy.refuses("bob", &["check", &resource], 2, "name");
        for flag in ["--as", "--for", "--requester", "--user", "--scope"] {
            let flag = format!("{flag}={name}");
            let args: Vec<&str> = match flag.split_once('=').unwrap().0 {
                "--as" => vec!["whoami", &flag],
                "--for" => ask(&[&flag]),
                "--requester" => vec!["list", &flag],
                "--user" => vec!["check", "target:orders-db", &flag],
                _ => vec!["approve", "1", &flag],
            };
            busy.refuses("alice", &args, 2, "name");
        }
        let world = World::empty();
        for flag in ["--owner", "--team"] {
            world.run("ana", &["init", &format!("{flag}={name}")]).fails(2, "name");
        }
        assert!(!world.db().exists());
    }
    for (word, says) in [
        ("Orders DB", "a resource is written kind:name"),
        ("disk:x", "a kind is one of"),
        ("", "a resource is written"),
    ] {
        busy.refuses("bob", &["request", word, "--reason", "x"], 2, says);
    }
}

#[test]
fn nothing_that_was_typed_acts_on_the_terminal() {
    let busy = Busy::new();
    for hostile in ["a\x1b[31mb", "a\u{7}b", "a\u{202e}b", "a\u{9b}31mb"] {
        let file = format!("{hostile}.toml");
        for args in [
            vec!["whoami", "--as", hostile],
            vec![hostile],
            vec!["show", hostile],
            vec!["list", "--state", hostile],
            vec!["team", "apply", &file, "--yes"],
            vec!["whoami", "--db", hostile],
        ] {
            let ran = busy.world.run("olivia", &args);
            assert_ne!(ran.code, 0, "{ran:?}");
            let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!ran.err.contains(acts), "{ran:?}");
        }
    }
}

#[test]
fn reasons_that_are_none() {
    let busy = Busy::new();
    let long = "x".repeat(4097);
    for (reason, says) in [
        ("", "it is blank"),
        (" \n\t ", "it is blank"),
        (long.as_str(), "at most 4096"),
        ("\x1b[2Jhello", "not allowed (U+001B)"),
        ("\x1b]0;title\x07", "not allowed (U+001B)"),
        ("a\u{202e}b", "not allowed (U+202E)"),
        ("a\u{2066}b", "not allowed (U+2066)"),
        ("a\r\nb", "not allowed (U+000D)"),
        ("a\u{2028}b", "not allowed (U+2028)"),
    ] {
        busy.refuses("bob", &["request", "target:billing-db", "--reason", reason], 2, says);
        busy.refuses("alice", &["deny", "1", "--reason", reason], 2, says);
        busy.refuses("alice", &["revoke", "2", "--reason", reason], 2, says);
        busy.refuses("alice", &["approve", "1", "--note", reason], 2, says);
    }
    busy.refuses("bob", &ask(&["--ticket", "OPS-1\nBcc: all"]), 2, "more than one line");

    let mut command = busy.world.command("bob", &["request", "target:billing-db", "--reason"]);
    let output = command.arg(OsStr::from_bytes(b"caf\xe9")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("UTF-8"));
    assert_eq!(Busy::record(&busy.world), busy.before);
}

/// Characters that show nothing of themselves: one of each block.
const HIDDEN: [char; 14] = [
    '\u{200b}',
    '\u{200c}',
    '\u{200d}',
    '\u{2060}',
    '\u{feff}',
    '\u{ad}',
    '\u{34f}',
    '\u{115f}',
    '\u{3164}',
    '\u{fe0f}',
    '\u{e0100}',
    '\u{e0041}',
    '\u{180e}',
    '\u{2800}',
];

#[test]
fn names_hold_nothing_that_cannot_be_seen() {
    let busy = Busy::new();
    for c in HIDDEN {
        let says = format!("a character that can't be seen (U+{:04X})", u32::from(c));
        busy.refuses("carol", &ask(&["--ticket", &format!("OPS{c}-1")]), 2, &says);
        let rule = |keys: &str| format!("{TEAM}\n[[rules]]\n{keys}\n");
        for file in [
            rule(&format!("name = \"two{c}\"\nreason_min = 5")),
            rule(&format!("name = \"x\"\nticket = \"OPS{c}-*\"")),
            TEAM.replace("[members.bob]\n", &format!("[members.bob]\nlogin = \"bo{c}b\"\n")),
        ] {
            assert_ne!(file, TEAM);
            busy.refuses_file(&file, 65, &says);
        }
        busy.refuses_file(TEAM.replace("[members.bob]", &format!("[members.\"bo{c}b\"]")), 65, "a name has lower-case");
    }
    busy.refuses_file(
        format!("{TEAM}\n[[rules]]\nname = \"two\u{a0}words\"\nreason_min = 5\n"),
        65,
        "can't be seen (U+00A0)",
    );
}

#[test]
fn what_cannot_be_seen_in_a_reason_is_shown_wherever_people_read() {
    let world = World::sample();
    for c in HIDDEN {
        let reason = format!("pay{c}roll");
        let id = world.json("bob", &["request", "target:orders-db", "--reason", &reason])["id"].to_string();
        let shown = format!("pay\\u{{{:x}}}roll", u32::from(c));
        world.run("alice", &["deny", &id, "--reason", &reason]).ok();
        for (login, args) in [
            ("bob", &["show", &id][..]),
            ("bob", &["inbox"]),
            ("alice", &["inbox"]),
            ("alice", &["audit", "--limit", "2"]),
            ("alice", &["list", "--all", "--limit", "1"]),
        ] {
            let mut command = world.command(login, args);
            let out = String::from_utf8(command.env("COLUMNS", "400").output().unwrap().stdout).unwrap();
            assert!(out.contains(&shown) && !out.contains(c), "{args:?}: {out}");
        }
        // To a program it is the same text, in an escape of JSON's.
        for (args, place) in
            [(&["show", &id, "--json"][..], "/reason"), (&["list", "--all", "--json", "--limit", "1"], "/0/reason")]
        {
            let ran = world.run("bob", args).ok();
            assert!(!ran.out.contains(c) && ran.out.contains("pay\\u"), "{}", ran.out);
            assert_eq!(ran.json().pointer(place).unwrap(), &reason);
        }
        for format in ["csv", "jsonl"] {
            let out = world.run("alice", &["audit", "export", "--format", format]).ok().out;
            assert!(!out.contains(c) && out.contains("pay\\u"), "{out}");
        }
    }
    // Emoji and several scripts are made with them.
    let family = "👩\u{200d}💻 نمی\u{200c}خواهم";
    let id = world.json("bob", &["request", "target:orders-db", "--reason", family])["id"].to_string();
    assert_eq!(world.json("bob", &["show", &id])["reason"], family);
}

#[test]
fn a_reason_of_4096_bytes_is_kept_whole() {
    let world = World::sample();
    let reason = format!("{}\nend", "é".repeat(2046));
    assert_eq!(reason.len(), 4096);
    world.run("bob", &["request", "target:orders-db", "--reason", &reason]).ok();
    assert_eq!(world.json("bob", &["show", "1"])["reason"], reason);
}

#[test]
fn all_mistakes_of_a_team_file_are_told_at_once_with_their_lines() {
    let busy = Busy::new();
    let file = r#"[team]
name = "Acme Corp"

[members.ann]
role = "owner"
[members.ben]
role = "owner"
[members.cy]
role = "member"
login = "ann"
shoe_size = 43
[members."d e"]
role = "member"
[members.eve]
role = "boss"

[connections.aws]
environment = "production"

[targets.db]
connections = []

[scopes.s]
connections = ["aws", "awz"]
[scopes.two]
connections = ["aws"]
targets = ["db"]
[scopes.none]
assigned = ["group:nobody"]

[rulez]
"#;
    let ran = busy.refuses_file(file, 65, "the team file has");
    let lines: Vec<&str> = ran.err.lines().filter(|line| line.trim_start().starts_with("line ")).collect();
    for (line, what) in [
        (2, "name \"Acme Corp\""),
        (6, "ben is a second owner, beside ann"),
        (8, "ann and cy have the same login, ann"),
        (11, "unknown key \"shoe_size\""),
        (12, "member \"d e\""),
        (15, "role \"boss\""),
        (20, "target db has no connection"),
        (24, "names connection \"awz\", which is not in the file; did you mean \"aws\"?"),
        (25, "scope two covers connections and targets; a scope covers one kind"),
        (28, "scope none covers nothing"),
        (29, "names group \"nobody\""),
        (31, "unknown key \"rulez\""),
    ] {
        let told = lines.iter().any(|said| said.contains(&format!("line {line}: ")) && said.contains(what));
        assert!(told, "line {line}: {what}\n{}", ran.err);
    }
    assert_eq!(lines.len(), 12, "{}", ran.err);
    let json = busy.refuses_json("olivia", &["team", "apply", "bad.toml", "--yes"], 65);
    assert_eq!(json["kind"], "invalid");
}

#[test]
fn team_files_that_are_none() {
    let busy = Busy::new();
    let good = busy.world.run("olivia", &["team", "show"]).ok().out;
    busy.refuses_file("[team\nname = ", 65, "line 1: not valid TOML");
    busy.refuses_file("", 65, "the team has no owner");
    busy.refuses_file("{\"team\": 1}", 65, "not valid TOML");
    busy.refuses_file(good.replace("role = \"owner\"", "role = \"admin\""), 65, "the team has no owner");
    busy.refuses_file("members = 3\n[team]\nname = \"x\"\n", 65, "members is a section of tables");
    busy.refuses_file(format!("{good}\n[members.bob]\nrole = \"admin\"\n"), 65, "not valid TOML");
    busy.refuses_file(b"[team]\nname = \"caf\xe9\"\n", 65, "not UTF-8 text");
    busy.refuses_file(format!("{good}#{}", "x".repeat(16 << 20)), 65, "larger than 16 MiB");
    let email = good.replacen("role = \"admin\"", "email = \"a@b\\r\\nBcc: c@d\"\nrole = \"admin\"", 1);
    busy.refuses_file(email.replacen("email = \"alice@acme.example\"\n", "", 1), 65, "an email is written like");
    busy.refuses_file("[team]\nname=\"x\"\n[members.a]\nrole=\"owner\"\ndisabled=true", 65, "can't be disabled");
    std::fs::create_dir(busy.world.folder().join("folder")).unwrap();
    for (file, hint) in [("absent.toml", "check its name"), ("folder", "name a file")] {
        let apply = busy.refuses("olivia", &["team", "apply", file, "--yes"], 74, "can't be read");
        assert!(apply.err.contains(&format!("hint: {hint}")) && !apply.err.contains("disk"), "{apply:?}");
    }
}

#[test]
fn numbers_of_requests_that_are_none() {
    let busy = Busy::new();
    for verb in ["show", "approve", "deny", "withdraw", "revoke"] {
        for id in ["0", "-1", "abc", "1.0", "", "+ 1"] {
            busy.refuses("alice", &[verb, "--", id], 2, "request");
        }
        busy.refuses("alice", &[verb, "-1"], 2, "-1");
        busy.refuses("alice", &[verb], 2, if verb == "approve" { "ID is missing" } else { "required" });
        for id in ["999999", "9223372036854775806", "9223372036854775808"] {
            busy.refuses("alice", &[verb, id], 4, &format!("there is no request {id}"));
        }
    }
}

#[test]
fn a_request_of_others_looks_like_none() {
    let busy = Busy::new();
    for verb in ["show", "withdraw"] {
        let hidden = busy.refuses("carol", &[verb, "1"], 4, "there is no request 1");
        let absent = busy.refuses("carol", &[verb, "99"], 4, "there is no request 99");
        assert_eq!(hidden.err, absent.err.replace("99", "1"));
    }
}

#[test]
fn unknown_things_suggest_what_was_meant() {
    let busy = Busy::new();
    let near =
        busy.refuses("bob", &["request", "target:orders-bd", "--reason", "x"], 4, "there is no target:orders-bd");
    assert!(near.err.contains("did you mean target:orders-db"), "{near:?}");
    let kind = busy.refuses("bob", &["check", "connection:orders-db"], 4, "there is no connection:orders-db");
    assert!(kind.err.contains("target:orders-db"), "the right name of another kind: {kind:?}");
    busy.refuses("alice", &["approve", "1", "--scope", "order-read"], 4, "there is no scope:order-read");
    busy.refuses("alice", &["who", "scope:nothing-like-it"], 4, "access resources");
    for args in
        [vec!["whoami", "--as", "bobb"], ask(&["--for", "bobb"]), vec!["check", "target:orders-db", "--user", "bobb"]]
    {
        let ran = busy.refuses("alice", &args, 4, "there is no member bobb");
        assert!(ran.err.contains("did you mean bob?"), "{ran:?}");
    }
    for args in
        [vec!["whoami", "--as", "bbo"], ask(&["--for", "bbo"]), vec!["check", "target:orders-db", "--user", "bbo"]]
    {
        let ran = busy.refuses("alice", &args, 4, "there is no member bbo");
        assert!(ran.err.contains("did you mean bob?"), "{ran:?}");
    }
}

#[test]
fn what_is_typed_amiss_is_told_with_the_nearest() {
    let busy = Busy::new();
    for (args, says) in [
        (vec!["aprove", "1"], "'approve'"),
        (vec!["list", "--pendng"], "'--pending'"),
        (vec!["team", "shwo"], "'show'"),
        (vec!["request", "--resaon", "x"], "'--reason'"),
    ] {
        busy.refuses("alice", &args, 2, says);
        let error = busy.refuses_json("alice", &args, 2);
        assert_eq!(error["kind"], "usage");
        assert!(error["hints"].to_string().contains(says), "{error}");
    }
    busy.refuses("alice", &["list", "--frobnicate"], 2, "--frobnicate");
    busy.refuses("alice", &["list", "--state", "opne"], 2, "a state is one of");
    busy.refuses("alice", &["audit", "--action", "request.aproved"], 2, "'request.approved'");
    busy.refuses("alice", &["notify", "mute", "request.submited"], 2, "did you mean request.submitted?");
    busy.refuses("alice", &["show", "1", "2"], 2, "unexpected argument '2'");
}

#[test]
fn a_number_that_is_too_large_is_that_of_no_request() {
    let busy = Busy::new();
    let long = "9".repeat(5000);
    for (number, said) in [
        ("99999999999999999999", "there is no request 99999999999999999999"),
        ("#99999999999999999999", "there is no request 99999999999999999999"),
        ("9223372036854775807", "there is no request 9223372036854775807"),
        (&long, "there is no request 99999999999999999999…9999999999999999999"),
    ] {
        for command in [&["show"][..], &["approve"], &["audit", "--request"]] {
            let args = [command, &[number]].concat();
            let ran = busy.refuses("alice", &args, 4, said);
            assert_eq!(
                ran.err,
                format!("error: {said}\nhint: `access list --all` shows the requests that you may see\n")
            );
            assert_eq!(busy.refuses_json("alice", &args, 4)["kind"], "not_found");
        }
    }
    busy.refuses("alice", &["show", "0"], 2, "a request's number is 1 or more");
    busy.refuses("alice", &["show", "1x"], 2, "a request is named by its number");
}

#[test]
fn roles_that_nobody_can_ask_for() {
    let busy = Busy::new();
    busy.refuses("bob", &["request", "role:member", "--reason", "x"], 5, "does not have already");
    busy.refuses("bob", &["request", "role:king", "--reason", "x"], 2, "role");
    busy.world.run("bob", &["request", "role:owner", "--reason", "x"]).fails(3, "nobody can ask to be the owner");
    let [log, requests] = Busy::record(&busy.world);
    assert_eq!(requests, busy.before[1]);
    assert_eq!(log[0]["action"], "attempt.refused", "all that happened is that it was tried");
    assert_eq!(log.as_array().unwrap().len(), busy.before[0].as_array().unwrap().len() + 1);
}

#[test]
fn a_missing_answer_names_its_flag_where_nobody_can_be_asked() {
    let busy = Busy::new();
    busy.refuses("bob", &["request", "target:billing-db"], 2, "--reason is missing");
    busy.refuses("bob", &["request"], 2, "RESOURCE and --reason are missing");
    busy.refuses("bob", &["request", "--reason", "x"], 2, "RESOURCE is missing");
    busy.refuses("olivia", &["whoami", "--watch"], 2, "--watch");
}

#[test]
fn in_json_every_failure_is_one_object() {
    let busy = Busy::new();
    for (login, args, code, kind) in [
        ("bob", vec!["request", "target:billing-db"], 2, "usage"),
        ("bob", ask(&["--duration=0h"]), 2, "usage"),
        ("bob", vec!["show"], 2, "usage"),
        ("bob", vec![], 2, "usage"),
        ("bob", vec!["nothing"], 2, "usage"),
        ("bob", vec!["team"], 2, "usage"),
        ("bob", vec!["show", "99"], 4, "not_found"),
        ("bob", vec!["request", "target:orders-db", "--reason", "x"], 5, "conflict"),
        ("olivia", vec!["team", "apply", "absent.toml", "--yes"], 74, "io"),
        ("olivia", vec!["list", "--db", "absent.db"], 69, "unavailable"),
        ("olivia", vec!["list", "--db", "."], 65, "invalid"),
    ] {
        let error = busy.refuses_json(login, &args, code);
        assert_eq!(error["kind"], kind, "{args:?}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{args:?}");
        assert!(error["hints"].is_array(), "{args:?}");
    }
}

#[test]
fn a_missing_database_says_how_to_make_one() {
    let world = World::empty();
    for args in [vec!["list"], vec!["expire"], ask(&[]), vec!["check", "target:x"], vec!["list", "--db", "no/such.db"]]
    {
        let ran = world.run("bob", &args).fails(69, "there is no access database at");
        assert!(ran.err.contains("access init"), "{ran:?}");
    }
    assert_eq!(std::fs::read_dir(world.folder()).unwrap().count(), 0, "and none is made");
}
