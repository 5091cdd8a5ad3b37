//! `notify`: what people prefer, what the team file says of it, and what comes of the two.

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::post::{Server, configure, fresh, private, slack, smtp};
use crate::tmux::Terminal;

fn event(world: &World, login: &str, event: &str) -> Value {
    let view = world.json(login, &["notify"]);
    view["events"].as_array().unwrap().iter().find(|row| row["event"] == event).unwrap().clone()
}

#[test]
fn what_happens_with_each_event_and_why() {
    let policy = r##"
[notifications]
mandatory = ["access.revoked"]
digest = "hourly"
[notifications.events]
"request.submitted" = { email = false, digest = "daily 08:00" }
"##;
    let world = World::of("olivia", &format!("{TEAM}{policy}"));
    let how = |name: &str| {
        let row = event(&world, "alice", name);
        (row["email"]["how"].as_str().unwrap().to_owned(), row["slack"]["how"].as_str().unwrap().to_owned())
    };
    let pair = |email: &str, slack: &str| (email.to_owned(), slack.to_owned());
    assert_eq!(how("request.submitted"), pair("off", "daily 08:00"));
    assert_eq!(how("request.approved"), pair("hourly", "hourly"));
    assert_eq!(how("access.revoked"), pair("realtime", "realtime"));
    assert_eq!(how("access.emergency"), pair("realtime", "realtime"));
    shows(
        &event(&world, "erin", "request.approved"),
        &json!({ "in_app": true, "slack": { "how": "off", "why": "the team file has no Slack id for you" } }),
    );

    world.run("alice", &["notify", "set", "request.submitted", "--email", "on", "--digest", "realtime"]).ok();
    assert_eq!(how("request.submitted"), pair("realtime", "realtime"));
    world.run("alice", &["notify", "set", "all", "--digest", "daily"]).ok();
    assert_eq!(how("request.approved"), pair("daily 09:00", "daily 09:00"));
    assert_eq!(how("request.submitted"), pair("realtime", "realtime"), "what is said of one goes first");
    let muted = world.run("alice", &["notify", "mute"]).ok();
    assert!(muted.out.contains("everything except mandatory events"), "{}", muted.out);
    assert_eq!(how("request.submitted"), pair("off", "off"));
    assert_eq!(how("access.revoked"), pair("realtime", "realtime"), "mandatory");
    let told = world.run("alice", &["notify", "set", "access.revoked", "--slack", "off"]).ok();
    assert!(told.err.contains("mandatory") && told.err.contains("muted"), "{}", told.err);
    world.run("alice", &["notify", "reset"]).ok();
    assert_eq!(how("request.submitted"), pair("off", "daily 08:00"));

    let details: Vec<Value> =
        world.json("olivia", &["audit", "--action", "preference.changed"]).as_array().unwrap().clone();
    assert_eq!(details.len(), 5);
    shows(
        &details[4],
        &json!({ "actor": "alice", "detail": { "member": "alice", "from": {},
        "to": { "events": { "request.submitted": { "email": true, "digest": "realtime" } } } } }),
    );
    // Saying the same again changes nothing.
    world.run("alice", &["notify", "reset"]).ok();
    assert_eq!(world.json("olivia", &["audit", "--action", "preference.changed"]).as_array().unwrap().len(), 5);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_channel_without_an_address_is_explained_once() {
    let world = World::sample();
    let shown = world.run("erin", &["notify"]).ok().out;
    assert_eq!(shown.matches("Slack id").count(), 1, "{shown}");
    assert!(shown.contains("  slack        none: the team file has no Slack id for you\n"), "{shown}");
    assert!(shown.lines().any(|line| line.ends_with(" realtime  off    default")), "{shown}");
}

#[test]
fn a_change_shows_what_it_changes() {
    let world = World::of("olivia", &format!("{TEAM}[notifications]\nmandatory = [\"access.revoked\"]\n"));
    let run = |args: &[&str]| world.run("erin", &[&["notify"], args].concat()).ok();
    let events = |args: &[&str]| {
        let out = run(args).out;
        let rows = out.lines().skip_while(|line| !line.starts_with("EVENT")).skip(1);
        let rows: Vec<String> = rows.map(|row| row.split_whitespace().next().unwrap().to_owned()).collect();
        (out.lines().next().unwrap().to_owned(), rows)
    };
    let one = |event: &str| ("Saved; 1 event changes:".to_owned(), vec![event.to_owned()]);
    let none = ("Saved; no event changes".to_owned(), Vec::new());
    assert_eq!(events(&["mute", "access.expired"]), one("access.expired"));
    assert_eq!(events(&["mute", "access.expired"]), none);
    assert_eq!(events(&["set", "access.started", "--email", "off"]), one("access.started"));
    assert_eq!(events(&["set", "access.expiring", "--slack", "off"]), none, "erin has no Slack");
    assert_eq!(events(&["set", "access.revoked", "--email", "off"]), none, "it is mandatory");
    assert_eq!(events(&["unmute", "access.expired"]), one("access.expired"));
    assert_eq!(events(&["reset"]), one("access.started"));
    assert_eq!(run(&["mute", "--json"]).json()["events"].as_array().unwrap().len(), 20, "JSON has all of them");
}

#[test]
fn a_change_of_everything_fits_a_terminal() {
    let world = World::sample();
    for (login, args) in [
        ("erin", &["notify", "set", "all", "--digest", "daily"][..]),
        ("erin", &["notify", "mute"]),
        ("bob", &["notify", "mute"]),
    ] {
        let screen = Terminal::access(&world, login, args).shows("[exit 0]");
        assert!(screen.starts_with("Saved; 18 events change:\n"), "{screen}");
    }
}

#[test]
fn preferences_are_part_of_the_record() {
    let world = World::sample();
    world.run("bob", &["notify", "mute", "access.expired"]).ok();
    world.run("olivia", &["audit", "verify"]).ok();
    world.rows("UPDATE member SET preference = '{\"muted\":true}' WHERE name = 'carol'");
    world.run("olivia", &["audit", "verify"]).exits(1).says("the members' preferences are not as they were recorded");
    world.rows("UPDATE member SET preference = NULL WHERE name = 'carol'; UPDATE team SET policy = '{\"mandatory\":[\"access.expired\"]}'");
    world.run("olivia", &["audit", "verify"]).exits(1).says("notifications is not as it was recorded");
}

#[test]
fn preferences_outlive_a_change_of_the_member_and_go_with_them() {
    let world = World::of("olivia", TEAM);
    world.run("bob", &["notify", "mute"]).ok();
    let bob = "[members.bob]\nrole = \"member\"\nemail = \"bob@acme.example\"\nslack = \"U0BOB\"\n";
    world.apply("olivia", &TEAM.replace("bob@acme", "robert@acme")).ok();
    assert_eq!(world.json("bob", &["notify"])["muted"], true);
    world.apply("olivia", &TEAM.replace(bob, "").replace("\"bob\", ", "")).ok();
    world.apply("olivia", TEAM).ok();
    assert_eq!(world.json("bob", &["notify"])["muted"], false, "a name that comes back brings nothing back");
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn the_policy_is_a_part_of_the_team_file() {
    let policy = "[notifications]\nmandatory = [\"access.revoked\"]\nslack = false\ndigest = \"daily 07:30\"\n
[notifications.events]\n\"access.expired\" = { email = false }\n
[notifications.channels]\n\"#access\" = [\"request.submitted\"]\n";
    let team = format!("{TEAM}{policy}");
    let world = World::of("olivia", TEAM);
    world.apply("olivia", &team).ok().says("+ notifications (");
    let shown = world.run("bob", &["team", "show"]).ok().out;
    world.apply("olivia", &shown).ok().says("Nothing changes.");
    world
        .apply("olivia", &team.replace("07:30", "08:30"))
        .ok()
        .says("~ notifications (digest: daily 07:30 → daily 08:30)");
    world.apply("olivia", TEAM).ok().says("- notifications");
    world.run("olivia", &["audit", "verify"]).ok();

    for (wrong, line, says) in [
        ("[notifications]\ncolour = 1", 2, "unknown key \"colour\""),
        ("[notifications]\nmandatory = [\"access.gone\"]", 2, "not a notification event"),
        ("[notifications]\ndigest = \"weekly\"", 2, "write realtime, hourly, daily"),
        ("[notifications]\nemail = \"yes\"", 2, "email is true or false"),
        ("[notifications.events]\n\"access.gone\" = { email = true }", 2, "not a notification event"),
        ("[notifications.events]\n\"access.expired\" = true", 2, "is a section"),
        ("[notifications.channels]\n\"<!channel>\" = [\"access.expired\"]", 2, "a Slack channel is written like #ops"),
    ] {
        let at = TEAM.lines().count() + line;
        let ran = world.apply("olivia", &format!("{TEAM}{wrong}\n")).exits(65);
        assert!(ran.err.contains(&format!("line {at}: ")) && ran.err.contains(says), "{wrong}: {}", ran.err);
    }
}

#[test]
fn what_can_not_be_said() {
    let world = World::sample();
    for (args, says) in [
        (&["set", "request.submitted"][..], "required"),
        (&["set", "request.gone", "--email", "on"], "not a notification event"),
        (&["set", "all", "--email", "maybe"], "invalid value"),
        (&["set", "all", "--digest", "daily", "--at", "9"], "write a time of day like 09:00"),
        (&["set", "all", "--digest", "hourly", "--at", "09:00"], "--at is for --digest daily"),
    ] {
        let all: Vec<&str> = ["notify"].into_iter().chain(args.iter().copied()).collect();
        world.run("bob", &all).fails(2, says);
    }
    world.run("stranger", &["notify"]).fails(3, "not a member");
    world.run("bob", &["outbox"]).fails(3, "only admins, auditors and the owner may look at the outbox");
    world.run("alice", &["outbox"]).ok();
    world.run("root", &["outbox"]).ok();
}

#[test]
fn a_test_says_what_each_server_answered() {
    let world = World::sample();
    world.run("bob", &["notify", "test"]).fails(1, "only your inbox can be reached");
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    configure(&world, &[smtp(mail.port), slack(&world, web.port)].concat());
    shows(
        &world.json("bob", &["notify", "test"]),
        &json!([{ "channel": "email", "to": "bob@acme.example", "ok": true }, { "channel": "slack", "ok": true }]),
    );
    let ran = world.run("carol", &["notify", "test"]).ok().says("ok      email  carol@acme.example: 250 OK taken");
    assert!(ran.out.contains("-       slack  the team file has no Slack id for you"), "{}", ran.out);
    drop(mail);
    let ran = world.run("bob", &["notify", "test"]).exits(1);
    assert!(ran.out.contains("FAILED  email  bob@acme.example: ") && ran.out.contains("refused"), "{}", ran.out);
    assert!(
        !world.actions().contains(&"attempt.refused".to_owned()) && world.actions().len() == 1,
        "it is not recorded"
    );
    assert!(!ran.out.contains("xoxb") && !ran.err.contains("xoxb"));
}

#[test]
fn a_secret_that_others_can_read_is_refused_and_stops_nothing_else() {
    use std::os::unix::fs::PermissionsExt;
    let world = fresh(TEAM);
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    configure(&world, &[smtp(mail.port), slack(&world, web.port)].concat());
    let token = private(&world, "slack-token", "xoxb-secret-token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    world.request("bob", "target:orders-db", &[]);
    let ran = world.run("root", &["deliver", "--json"]).exits(65);
    assert!(ran.err.contains("can be read or written by others (mode 0644)"), "{}", ran.err);
    assert_eq!(mail.got().len(), 3, "email goes on");
    let ran = world.run("root", &["expire", "--json"]).ok();
    assert!(ran.err.contains("mode 0644") && ran.err.contains("chmod 600"), "{}", ran.err);
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1 }));
    let everything = [ran.out, ran.err, String::from_utf8_lossy(&std::fs::read(world.db()).unwrap()).into_owned()];
    assert!(everything.iter().all(|text| !text.contains("xoxb")));
}
