//! Entries that nobody's command wrote, written as the program writes them: with their rows, and in the chain.

use access::domain::event::{Draft, Event, Granted};
use access::domain::notification::NotificationKind;
use access::domain::terms::End;
use access::store::{Context, Error, Store};
use serde_json::{Value, json};

use crate::harness::{TEAM, World};
use crate::proof::{bodies, faults};

/// Writes an event as it is, without asking any rule.
pub fn forge(world: &World, actor: Option<&str>, os_user: &str, event: Event) {
    let store = Store::open(&world.db()).unwrap();
    let actor = actor.map(|actor| actor.parse().unwrap());
    let context = Context { now: world.now(), actor, os_user: os_user.to_owned() };
    let kind = match &event {
        Event::TeamApplied { .. } => Some(NotificationKind::TeamChanged),
        Event::GrantStarted(Granted { reviewers: Some(_), .. }) => Some(NotificationKind::AccessEmergency),
        _ => None,
    };
    // Those who have to be notified are among them.
    let recipients = kind.map(|kind| kind.to_all(store.read(|read| read.team()).unwrap().members.keys()));
    let drafts = vec![Draft { event, recipients: recipients.unwrap_or_default() }];
    store.write(|write| -> Result<(), Error> { write.record(&context, drafts) }).unwrap();
    store.close();
}

/// A change of these members from what they are, as an event.
pub fn changes(world: &World, members: &[(&str, Value)]) -> Event {
    let export = world.run("olivia", &["audit", "export", "--format", "jsonl"]).ok().out;
    let mut now: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    for line in export.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        for change in entry["detail"]["changes"].as_array().into_iter().flatten() {
            now.insert(change["what"].as_str().unwrap().to_owned(), change["to"].clone());
        }
    }
    let changes: Vec<Value> = members
        .iter()
        .map(|(name, patch)| {
            let what = format!("member:{name}");
            let from = now[&what].clone();
            let mut to = from.clone();
            for (key, value) in patch.as_object().unwrap() {
                to[key] = value.clone();
            }
            json!({ "change": "change", "what": what, "from": from, "to": to })
        })
        .collect();
    serde_json::from_value(json!({ "action": "team.applied", "detail": { "changes": changes } })).unwrap()
}

#[test]
fn root_changes_nothing_of_a_team_but_its_owner_in_a_log_that_is_true() {
    let role = |role: &str| json!({ "role": role });
    let gone = || json!({ "role": "viewer", "disabled": true });
    let nobody = "the team was changed by nobody";
    for (os_user, members, says) in [
        ("root", vec![("olivia", gone()), ("bob", role("owner"))], ""),
        // As older versions replaced an owner.
        ("root", vec![("olivia", role("viewer")), ("bob", role("owner"))], ""),
        ("mallory", vec![("olivia", gone()), ("bob", role("owner"))], nobody),
        ("root", vec![("bob", role("admin")), ("carol", role("admin"))], nobody),
        ("root", vec![("olivia", role("admin")), ("bob", role("owner"))], nobody),
        ("root", vec![("olivia", gone()), ("bob", json!({ "role": "owner", "login": "mallory" }))], nobody),
        ("root", vec![("olivia", json!({ "role": "viewer", "login": "x" })), ("bob", role("owner"))], nobody),
        ("root", vec![("olivia", gone()), ("bob", role("owner")), ("carol", role("admin"))], nobody),
        ("root", vec![("bob", role("admin"))], nobody),
    ] {
        let world = World::of("olivia", TEAM);
        let event = changes(&world, &members);
        forge(&world, None, os_user, event);
        let found = faults_by(&world, "alice");
        let expected: &[&str] = if says.is_empty() { &[] } else { &["entry 3: the team was changed by nobody"] };
        assert_eq!(found, expected, "{os_user} {members:?}");
    }
}

#[test]
fn those_are_notified_whom_nobody_leaves_out_in_a_log_that_is_true() {
    let world = World::of("olivia", TEAM);
    let rule = "\n[[rules]]\nname = \"glass\"\nemergency = true\n";
    world.apply("olivia", &format!("{TEAM}{rule}")).ok();
    world.request("bob", "target:orders-db", &["--duration", "1h", "--emergency"]);
    assert_eq!(faults(&world), [""; 0]);
    let whole = std::fs::read(world.db()).unwrap();
    let mut all = bodies(&world);
    for (seq, says) in [(5, "alice, erin, olivia of access.emergency"), (3, "alice, erin, olivia of team.changed")] {
        // The last that notifies anybody, so that the numbers of the others are right.
        let (before, _) = all[seq - 1].split_once(",\"told\":").unwrap();
        all[seq - 1] = format!("{before}}}");
        all.truncate(seq);
        std::fs::write(world.db(), &whole).unwrap();
        crate::proof::forge(
            &world,
            &all,
            &format!("DELETE FROM outbox WHERE seq >= {seq}; DELETE FROM notification WHERE seq >= {seq}"),
        );
        let found = faults(&world);
        assert!(found.contains(&format!("entry {seq}: it does not notify {says}")), "{found:?}");
    }
}

fn faults_by(world: &World, login: &str) -> Vec<String> {
    let ran = world.run(login, &["audit", "verify", "--json"]);
    let faults = ran.json()["faults"].as_array().unwrap().clone();
    faults
        .iter()
        .map(|fault| match fault["seq"].as_i64() {
            Some(seq) => format!("entry {seq}: {}", fault["problem"].as_str().unwrap()),
            None => fault["problem"].as_str().unwrap().to_owned(),
        })
        .collect()
}

/// What ends for nobody's sake ends by root only as a consequence of the owner's replacement.
#[test]
fn root_ends_only_what_follows_from_a_new_owner_in_a_log_that_is_true() {
    let world = World::of("olivia", TEAM);
    world.grant("bob", "target:orders-db", "alice", &[]);
    let revoked = json!({ "action": "grant.revoked", "detail": {
        "request": 1, "resource": "target:orders-db", "because": { "no_longer_given": "x" } } });
    forge(&world, None, "root", serde_json::from_value(revoked).unwrap());
    assert_eq!(faults(&world), ["entry 6: grant 1 is revoked by nobody"]);
}

/// A grant of request 1 that bob asked for, by this rule.
fn granted(world: &World, resource: &str, by_rule: &str, reviewers: Option<&[&str]>) -> Granted {
    let now = world.now();
    let end = End::After("1h".parse().unwrap());
    Granted {
        request: "1".parse().unwrap(),
        member: "bob".parse().unwrap(),
        resource: resource.parse().unwrap(),
        end,
        start: None,
        starts_at: now,
        ends_at: end.instant(now),
        modified: false,
        approved_by: Vec::new(),
        by_rule: Some(serde_json::from_value(json!(by_rule)).unwrap()),
        demands: Vec::new(),
        reviewers: reviewers.map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
    }
}

const AUTO: &str = "\n[[rules]]\nname = \"auto\"\nauto_approve = true\nmatch = { resources = [\"RESOURCE\"] }\n";

/// Each with the rules at the moment of the grant, which are applied once the request is filed.
#[test]
fn a_rule_gave_what_it_is_said_to_have_given_in_a_log_that_is_true() {
    let auto = |resource: &str| AUTO.replace("RESOURCE", resource);
    let with = |more: &str| format!("{}\n[[rules]]\nname = \"other\"\n{more}\n", auto("target:orders-db"));
    let on_prod = "match = { resources = [\"target:orders-*\"] }\n";
    let given = |more: &str| with(&format!("{on_prod}{more}"));
    for (rules, says) in [
        (auto("target:orders-db"), ""),
        (auto("target:*"), ""),
        (auto("connection:prod-aws"), "it does not match all of it"),
        (auto("target:billing-db"), "it does not match all of it"),
        (given("deny = \"never\""), "never (rule \"other\")"),
        (given("approvers = [\"role:admin\"]"), "another rule demands approvals"),
        (given("max_duration = \"30m\""), "at most 30m"),
        (given("ticket = \"OPS-[0-9]+\""), "it needs a ticket"),
        (given("reason_min = 100"), "it needs a reason"),
        // What others have, or at another length, is no matter of this grant.
        (with("match = { resources = [\"connection:staging-aws\"] }\ndeny = \"never\""), ""),
        (with("match = { longer_than = \"2h\" }\napprovers = [\"role:admin\"]"), ""),
        (with("match = { requesters = [\"member:carol\"] }\ndeny = \"never\""), ""),
        (auto("target:orders-db").replace("match = {", "match = { requesters = [\"member:carol\"],"), "it does not"),
        // A chain of grants can make it long enough; the log that is still in memory does not say.
        (auto("target:orders-db").replace("match = {", "match = { longer_than = \"2h\","), ""),
    ] {
        let world = World::of("olivia", TEAM);
        world.request("bob", "target:orders-db", &["--duration", "1h"]);
        world.apply("olivia", &format!("{TEAM}{rules}")).ok();
        forge(&world, Some("bob"), "bob", Event::GrantStarted(granted(&world, "target:orders-db", "auto", None)));
        let found = faults(&world);
        match says {
            "" => assert_eq!(found, [""; 0], "{rules}"),
            says => {
                assert_eq!(found.len(), 1, "{rules}: {found:?}");
                assert!(found[0].contains("could not give it then") && found[0].contains(says), "{rules}: {found:?}");
            }
        }
    }
}

/// Nor did an emergency reach further than its rule, or get around what forbade it.
#[test]
fn an_emergency_was_allowed_by_the_rule_it_names_in_a_log_that_is_true() {
    let glass = |matches: &str| format!("\n[[rules]]\nname = \"glass\"\nemergency = true\n{matches}\n");
    let everything = glass("");
    let other = "[[rules]]\nname = \"other\"\nmatch = { resources = [\"connection:prod-aws\"] }\n";
    for (rules, says) in [
        (glass("match = { resources = [\"connection:prod-aws\"] }"), ""),
        (everything.clone(), ""),
        (glass("match = { resources = [\"connection:sandbox\"] }"), "could not give it then"),
        (glass("match = { environments = [\"non-production\"] }"), "could not give it then"),
        (glass("match = { requesters = [\"group:data\"] }"), "could not give it then"),
        (format!("{everything}{other}deny = \"never\"\n"), "never"),
        (format!("{everything}{other}max_duration = \"30m\"\n"), "at most 30m"),
        (format!("{everything}{other}approvers = [\"role:admin\"]\n"), ""),
    ] {
        // The entry of an emergency that was taken is put into the log of the rules that are tried.
        let world = World::of("olivia", TEAM);
        world.apply("olivia", &format!("{TEAM}{rules}")).ok();
        let filed = json!({ "action": "request.submitted", "detail": {
            "request": 1, "requester": "bob", "filed_by": "bob", "requester_login": "bob", "filer_login": "bob",
            "asked": { "resource": "connection:prod-aws", "end": { "after": "1h" } }, "reason": "down",
            "lapses_at": "2026-12-01T09:00:00Z", "emergency": true } });
        forge(&world, Some("bob"), "bob", serde_json::from_value(filed).unwrap());
        let taken = granted(&world, "connection:prod-aws", "glass", Some(&["alice", "erin", "olivia"]));
        forge(&world, Some("bob"), "bob", Event::GrantStarted(taken));
        let found = faults(&world);
        match says {
            "" => assert_eq!(found, [""; 0], "{rules}"),
            says => assert!(found.len() == 1 && found[0].contains(says), "{rules}: {found:?}"),
        }
    }
}

/// Somebody else than the fixed reviewers reviewed it only when none of those could, and could do so by the rules then.
#[test]
fn an_emergency_was_reviewed_by_who_could_in_a_log_that_is_true() {
    let rules = "\n[[rules]]\nname = \"glass\"\nemergency = true\n\
                 [[rules]]\nname = \"dave\"\napprovers = [\"member:dave\"]\nmatch = { resources = [\"target:orders-db\"] }\n";
    let team = format!("{TEAM}{rules}");
    let no_admins = |team: &str| {
        team.replace("[members.alice]\nrole = \"admin\"", "[members.alice]\nrole = \"member\"")
            .replace("[members.erin]\nrole = \"admin\"", "[members.erin]\nrole = \"member\"")
            .replace("[members.olivia]\nrole = \"owner\"", "[members.olivia]\nrole = \"member\"")
            .replace("[members.heidi]\nrole = \"viewer\"", "[members.heidi]\nrole = \"owner\"")
    };
    let longer = "\n[[rules]]\nname = \"long\"\nmatch = { longer_than = \"1d\" }\napprovers = [\"role:admin\"]\n";
    let others = "which is for others to review";
    for (then, by, says) in [
        (team.clone(), "alice", ""),
        (team.clone(), "dave", ""),
        (team.clone(), "carol", others),
        // dave, by the rule, is the only one of the fixed who still could.
        (no_admins(&team), "dave", ""),
        (no_admins(&team), "heidi", others),
        // Now none of them can.
        (no_admins(&team).replace("member:dave", "member:frank"), "frank", ""),
        (no_admins(&team).replace("member:dave", "member:frank"), "heidi", ""),
        (no_admins(&team).replace("member:dave", "member:frank"), "carol", "who could not review it then"),
        // What older versions allowed: alice was fixed.
        (no_admins(&team), "alice", ""),
        // A demand may depend on other grants: only base admins are known to be able to review.
        (format!("{}{longer}", no_admins(&team)), "heidi", ""),
        (format!("{team}{longer}"), "carol", others),
    ] {
        let world = World::of("olivia", &team);
        world.run("bob", &["request", "target:orders-db", "--reason", "Down", "--duration", "1h", "--emergency"]).ok();
        if then != team {
            world.apply("olivia", &then).ok();
        }
        let review = json!({ "action": "request.reviewed", "detail": { "request": 1, "by": by, "note": "fine" } });
        forge(&world, Some(by), by, serde_json::from_value(review).unwrap());
        let owner = if then.contains("[members.heidi]\nrole = \"owner\"") { "heidi" } else { "olivia" };
        let found = faults_by(&world, owner);
        match says {
            "" => assert_eq!(found, [""; 0], "{by}: {then}"),
            says => assert!(found.len() == 1 && found[0].contains(says), "{by}: {found:?} {then}"),
        }
    }
}
