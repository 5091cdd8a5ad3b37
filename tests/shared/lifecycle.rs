//! Four people, one database, over the socket; and the answers are those of a database of your own.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::host::{ACCESS, CONFIG, DATABASE, Host, Start, TEAM, access, as_user, home, ran, root, run, within};

fn may(login: &str) -> bool {
    match access(login, &["check", "target:orders-db"]).code {
        Some(0) => true,
        Some(1) => false,
        other => panic!("check gave {other:?}"),
    }
}

#[test]
fn the_whole_lifecycle_by_four_people_at_the_listener() {
    the_whole_lifecycle(Start::Listener);
}

#[test]
fn the_whole_lifecycle_by_four_people_at_a_listener_given_its_socket() {
    the_whole_lifecycle(Start::Given);
}

#[test]
fn the_whole_lifecycle_by_four_people_handed_over_by_the_system() {
    the_whole_lifecycle(Start::Handed);
}

fn the_whole_lifecycle(start: Start) {
    let Some(host) = Host::started(start) else { return };
    // mallory the member is carol the Unix user.
    access("carol", &["whoami"]).ok().says("mallory");
    assert!(!may("bob"));
    let first = host.request("bob", "target:orders-db");
    access("bob", &["approve", &first]).fails(3, "nobody decides on their own request");
    access("carol", &["approve", &first]).fails(4, "there is no request");
    access("alice", &["list", "--pending"]).ok().says("orders-db");
    access("alice", &["approve", &first, "--duration", "4s", "--note", "quickly"]).ok();
    assert!(may("bob") && !may("carol"));
    access("bob", &["inbox"]).ok().says("approved");
    access("alice", &["check", "target:orders-db", "--user", "bob"]).ok();
    access("ana", &["who", "target:orders-db"]).ok().says("bob");
    within(Duration::from_secs(6), || !may("bob"), "access ends by the clock, without cron");
    root(ACCESS, &["expire"]).ok();

    let second = host.request("carol", "connection:prod");
    access("ana", &["deny", &second, "--reason", "not today"]).ok();
    access("carol", &["show", &second]).ok().says("not today");
    let third = host.request("carol", "target:orders-db");
    access("alice", &["approve", &third]).ok();
    access("carol", &["extend", &third, "--reason", "more"]).ok();
    access("alice", &["revoke", &third, "--reason", "enough"]).ok();
    assert!(!may("carol"));
    let fourth = host.request("bob", "connection:prod");
    access("bob", &["withdraw", &fourth]).ok();
    // An admin files for another, and can't decide on it.
    let filed = access("alice", &["request", "target:orders-db", "--reason", "x", "--for", "bob", "--json"]).ok();
    let filed = filed.json()["id"].to_string();
    access("alice", &["approve", &filed]).fails(3, "filed");
    access("ana", &["approve", &filed, "--duration", "2d"]).ok();

    // Who has it, or filed it, does not review it.
    let start =
        ["recertify", "start", "--resource", "target:orders-db", "--due", "1h", "--reviewers", "ana,alice", "--json"];
    let started = access("alice", &start).ok().json();
    let item = started["items"].as_array().unwrap().iter().find(|item| item["member"] == "bob").unwrap()["id"].clone();
    let item = item.as_str().unwrap();
    access("bob", &["recertify", "keep", item]).fails(3, "nobody reviews their own access");
    access("alice", &["recertify", "keep", item]).fails(3, "nobody reviews their own access");
    access("carol", &["recertify", "revoke", item]).fails(4, "there is no item");
    assert!(may("bob"));
    access("ana", &["recertify", "revoke", item, "--reason", "no longer"]).ok();
    assert!(!may("bob"));

    access("bob", &["audit"]).fails(3, "only admins, auditors and the owner");
    access("alice", &["audit", "verify"]).ok();
    let log = access("alice", &["audit", "export", "--format", "jsonl"]).ok().out;
    let users: Vec<&str> = ["ana", "alice", "bob", "carol", "root"]
        .into_iter()
        .filter(|user| log.contains(&format!("\"os_user\":\"{user}\"")))
        .collect();
    assert_eq!(users, ["ana", "alice", "bob", "carol", "root"], "{start:?}: each entry says who was there");
    root(ACCESS, &["doctor"]).ok();
}

/// The requester can't put other terms under an approval that is on its way.
#[test]
fn an_edit_slips_under_nobodys_approval() {
    let Some(host) = Host::new() else { return };
    let id = host.request("bob", "target:orders-db");
    access("carol", &["edit", &id, "--duration", "1h"]).fails(4, "there is no request");
    access("ana", &["edit", &id, "--duration", "1h"]).fails(3, "only its requester");
    access("bob", &["edit", &id, "--duration", "permanent"]).ok();
    access("alice", &["approve", &id]).fails(5, "has changed since it was filed");
    let seen = access("alice", &["show", &id, "--json"]).ok().json()["last_seq"].to_string();
    access("bob", &["edit", &id, "--reason", "another one"]).ok();
    access("alice", &["approve", &id, "--seen", &seen]).fails(5, "has changed since it was shown");
    assert!(!may("bob"));
    let seen = access("alice", &["show", &id, "--json"]).ok().json()["last_seq"].to_string();
    access("alice", &["approve", &id, "--seen", &seen]).ok();
    assert!(may("bob"));
    access("bob", &["edit", &id, "--duration", "2d"]).fails(5, "only a pending request can be edited");
    access("alice", &["audit", "verify"]).ok();
}

#[test]
fn a_person_who_waits_is_told_through_the_door() {
    let Some(_host) = Host::new() else { return };
    let args = ["request", "target:orders-db", "--reason", "x", "--wait", "--timeout", "30s"];
    let waiting = as_user("bob", ACCESS, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let filed = || access("alice", &["list", "--pending", "--json"]).ok().json()[0]["id"].is_number();
    within(Duration::from_secs(10), filed, "the request is filed");
    access("alice", &["approve", "1"]).ok();
    ran(waiting.wait_with_output().unwrap(), "waiting".to_owned()).ok().says("approved");
    let args = ["request", "connection:prod", "--reason", "x", "--wait", "--timeout", "1s"];
    access("bob", &args).exits(1);
}

/// Starts to wait for a decision. Gives the process, once its request is filed.
fn waiting() -> Child {
    let args = ["request", "target:orders-db", "--reason", "x", "--wait"];
    let waiting = as_user("bob", ACCESS, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let filed = || access("alice", &["list", "--pending", "--json"]).ok().json()[0]["id"].is_number();
    within(Duration::from_secs(10), filed, "the request is filed");
    waiting
}

#[test]
fn a_person_who_waits_outlasts_a_restart_of_the_server() {
    let Some(mut host) = Host::new() else { return };
    let waiting = waiting();
    host.stop_serving();
    std::thread::sleep(Duration::from_secs(2));
    host.serve(Start::Listener);
    access("alice", &["approve", "1"]).ok();
    let ran = ran(waiting.wait_with_output().unwrap(), "waiting".to_owned()).ok().says("approved");
    assert!(ran.err.contains("warning: request 1 was filed, and was waiting when last seen"), "{ran:?}");
    // A server that stays away is told from a request that was not filed.
    let begun = Instant::now();
    access("alice", &["revoke", "1"]).ok();
    let args = ["request", "target:orders-db", "--reason", "x", "--wait"];
    let waiting = as_user("bob", ACCESS, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let filed = || access("alice", &["list", "--pending", "--json"]).ok().json()[0]["id"].is_number();
    within(Duration::from_secs(10), filed, "the second request is filed");
    host.stop_serving();
    let ran = self::ran(waiting.wait_with_output().unwrap(), "waiting".to_owned()).exits(69);
    assert!(begun.elapsed() > Duration::from_secs(29), "{:?}", begun.elapsed());
    assert!(ran.err.contains("error: request 2 was filed, and was waiting when last seen"), "{ran:?}");
    assert!(ran.err.contains("access show 2"), "{ran:?}");
    access("bob", &args).fails(69, "error: the shared host's socket");
}

#[test]
fn a_person_who_waits_outlasts_a_server_that_has_no_place_free() {
    let Some(host) = Host::new() else { return };
    let waiting = waiting();
    // A listener that accepts nothing, for longer than a client goes on trying.
    let listener = Pid::from_raw(host.server_pid().unwrap().cast_signed());
    kill(listener, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(14));
    kill(listener, Signal::SIGCONT).unwrap();
    access("alice", &["approve", "1"]).ok();
    let ran = ran(waiting.wait_with_output().unwrap(), "waiting".to_owned()).ok().says("approved");
    assert!(ran.err.contains("warning: request 1 was filed, and was waiting when last seen: the server"), "{ran:?}");
    assert!(!ran.err.contains("nothing was done"), "{ran:?}");
}

#[test]
fn all_that_a_member_holds_ends_through_the_door() {
    let Some(host) = Host::new() else { return };
    // More than an answer that is no list may have.
    let mut ids: Vec<String> = Vec::new();
    for resource in ["target:orders-db", "connection:prod"] {
        ids.push(host.request("bob", resource));
        access("alice", &["approve", ids.last().unwrap(), "--duration", "1h"]).ok();
        for _ in 0..9 {
            let next = access("bob", &["extend", ids.last().unwrap(), "--reason", "more", "--json"]).ok().json();
            ids.push(next["id"].to_string());
            access("alice", &["approve", ids.last().unwrap()]).ok();
        }
    }
    access("carol", &["revoke", "--member", "bob"]).fails(3, "only admins");
    assert!(may("bob"));
    let ended = access("alice", &["revoke", "--member", "bob", "--json"]).ok().json();
    assert_eq!(ended.as_array().unwrap().len(), 20);
    assert!(!may("bob"));
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn both_doors_give_the_same_answers() {
    let Some(host) = Host::new() else { return };
    for resource in ["target:orders-db", "connection:prod", "feature:export", "role:admin"] {
        host.request("bob", resource);
    }
    access("alice", &["approve", "1", "--duration", "permanent", "--note", "für immer, \"ganz\""]).ok();
    access("alice", &["approve", "2", "--resource", "target:orders-db"]).ok();
    // Only the owner has this feature, so only the owner decides on it.
    access("alice", &["deny", "3", "--reason", "no"]).exits(3);
    access("ana", &["deny", "3", "--reason", "no"]).ok();
    access("bob", &["approve", "4"]).exits(3);
    let questions: [&[&str]; 18] = [
        &["whoami"],
        &["resources"],
        &["list", "--all"],
        &["list", "--all", "--limit", "2"],
        &["show", "1"],
        &["show", "2"],
        &["show", "3"],
        &["check", "target:orders-db", "--user", "bob"],
        &["who", "target:orders-db"],
        &["inbox", "--all"],
        &["audit"],
        &["audit", "verify"],
        &["team", "show"],
        &["show", "99"],
        &["list", "--requester", "bobb"],
        &["list", "--resource", "target:order-db"],
        &["audit", "--actor", "alicia"],
        &["revoke", "--member", "bobb"],
    ];
    let ask = || -> Vec<(Option<i32>, Value, String)> {
        let all = questions.iter().map(|words| {
            let ran = access("alice", &[words, &["--json"][..]].concat());
            (ran.code, without_seconds(serde_json::from_str(&ran.out).unwrap_or_default()), ran.err)
        });
        all.collect()
    };
    let shared = ask();
    // The same file, as her own.
    fs::remove_file(CONFIG).unwrap();
    let own = home("alice").join(".local/share/access");
    run(&mut as_user("alice", "mkdir", &["-p", "-m", "700", own.to_str().unwrap()]), "mkdir".into()).ok();
    let file = own.join("access.db");
    root(ACCESS, &["--db", DATABASE, "backup", "/root/copy.db"]).ok();
    root("install", &["-o", "alice", "-g", "alice", "-m", "600", "/root/copy.db", file.to_str().unwrap()]).ok();
    fs::remove_file("/root/copy.db").unwrap();
    root("chmod", &["-R", "go=", own.to_str().unwrap()]).ok();
    root("chown", &["-R", "alice:alice", own.to_str().unwrap()]).ok();
    for (words, (of_host, of_own)) in questions.iter().zip(shared.into_iter().zip(ask())) {
        assert_eq!(of_host, of_own, "{words:?}");
    }
}

/// What counts on differs by the second that lies between the two.
fn without_seconds(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "now" && name != "remaining_seconds");
            fields.values_mut().for_each(|field| *field = without_seconds(field.take()));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = without_seconds(element.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

#[test]
fn an_auditor_of_the_host_sees_everything_and_changes_nothing() {
    let Some(host) = Host::new() else { return };
    host.apply("ana", &TEAM.replace("login = \"carol\"", "login = \"carol\"\nauditor = true")).ok();
    let id = host.request("bob", "target:orders-db");
    access("carol", &["list"]).ok().says("bob");
    access("carol", &["show", &id]).ok().says("testing");
    access("carol", &["who", "target:orders-db"]).ok().says("alice");
    access("carol", &["audit"]).ok().says("request.submitted");
    access("carol", &["audit", "verify"]).ok();
    access("carol", &["audit", "export", "--format", "raw"]).ok();
    access("carol", &["check", "target:orders-db", "--user", "alice"]).ok();
    access("carol", &["check", "target:orders-db"]).exits(1);
    // Over the socket, of the past and with the filters too.
    let at = access("ana", &["audit", "--json", "--limit", "1"]).ok().json()[0]["at"].as_str().unwrap().to_owned();
    access("carol", &["who", "target:orders-db", "--at", &at]).ok().says("alice");
    access("carol", &["who", "--user", "alice", "--at", &at]).ok().says("target:orders-db");
    access("carol", &["check", "target:orders-db", "--user", "alice", "--at", &at]).ok().says("yes, at");
    access("carol", &["check", "target:orders-db", "--user", "bob", "--at", &at]).exits(1).says("no, at");
    access("carol", &["list", "--at", &at]).ok().says("pending");
    access("carol", &["team", "show", "--at", &at]).ok().says("auditor = true");
    access("bob", &["team", "show", "--at", &at]).fails(3, "only admins, auditors and the owner");
    access("carol", &["list", "--search", "testing", "--csv"]).ok().says("bob,target:orders-db,testing");
    access("carol", &["audit", "--member", "bob"]).ok().says("request.submitted");
    let recorded = || {
        let log = access("ana", &["audit", "--json"]).ok().json();
        log.as_array().unwrap().iter().filter(|entry| entry["action"] != "attempt.refused").count()
    };
    let before = recorded();
    access("carol", &["approve", &id]).fails(3, "mallory is an auditor");
    access("carol", &["deny", &id]).fails(3, "mallory is an auditor");
    access("carol", &["withdraw", &id]).exits(3);
    access("carol", &["request", "target:orders-db", "--reason", "x", "--for", "bob"]).fails(3, "is an auditor");
    access("carol", &["revoke", "--member", "bob", "--yes"]).fails(3, "is an auditor");
    access("carol", &["team", "apply", CONFIG, "--yes"]).exits(3);
    assert_eq!(recorded(), before);
    assert!(host.refused("carol").iter().any(|why| why.contains("decides nothing")));
}
