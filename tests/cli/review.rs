//! Who may decide on what, what a decision gives, and who may see it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{MEMBERS, TEAM, World, shows};

/// The sample team with erin disabled, and three members to whom olivia granted the role of an admin: frank still
/// has it, grace's hour is over, dave's was revoked.
fn team() -> World {
    let erin = "[members.erin]\nrole = \"admin\"\n";
    let world = World::of("olivia", &TEAM.replace(erin, &format!("{erin}disabled = true\n")));
    world.grant("frank", "role:admin", "olivia", &["--duration", "1w"]);
    world.grant("grace", "role:admin", "olivia", &["--duration", "1h"]);
    let dave = world.grant("dave", "role:admin", "olivia", &["--duration", "1w"]);
    world.run("alice", &["revoke", &dave]).ok();
    world.pass("2h");
    world
}

/// The numbers of the requests that `list` shows, newest first.
fn listed(world: &World, login: &str) -> Vec<i64> {
    let list = world.json(login, &["list", "--all"]);
    list.as_array().unwrap().iter().map(|request| request["id"].as_i64().unwrap()).collect()
}

#[test]
fn nobody_decides_but_another_who_is_an_admin_now() {
    let world = team();
    let (own, filed) = ("nobody decides on their own request", "nobody decides on a request they filed");
    let (hidden, disabled, stranger) = ("there is no request", "is disabled", "is not a member");
    // What is asked for, by whom, filed by whom, who decides, and how that ends.
    let cases = [
        ("target:orders-db", "bob", "bob", "olivia", Ok(())),
        ("target:orders-db", "bob", "bob", "alice", Ok(())),
        ("target:orders-db", "bob", "bob", "frank", Ok(())),
        ("target:orders-db", "bob", "bob", "bob", Err((3, own))),
        ("target:orders-db", "bob", "bob", "grace", Err((4, hidden))),
        ("target:orders-db", "bob", "bob", "dave", Err((4, hidden))),
        ("target:orders-db", "bob", "bob", "carol", Err((4, hidden))),
        ("target:orders-db", "bob", "bob", "heidi", Err((4, hidden))),
        ("target:orders-db", "bob", "bob", "erin", Err((3, disabled))),
        ("target:orders-db", "bob", "bob", "stranger", Err((3, stranger))),
        ("target:orders-db", "bob", "alice", "olivia", Ok(())),
        ("target:orders-db", "bob", "alice", "frank", Ok(())),
        ("target:orders-db", "bob", "alice", "alice", Err((3, filed))),
        ("target:orders-db", "bob", "alice", "bob", Err((3, own))),
        ("target:orders-db", "bob", "olivia", "olivia", Err((3, filed))),
        ("target:orders-db", "bob", "frank", "frank", Err((3, filed))),
        ("target:orders-db", "bob", "frank", "alice", Ok(())),
        ("feature:export-customers", "alice", "alice", "alice", Err((3, own))),
        // Only the owner has this feature, so only the owner gives it.
        ("feature:export-customers", "alice", "alice", "frank", Err((3, "only the owner"))),
        ("feature:export-customers", "alice", "alice", "olivia", Ok(())),
        ("feature:export-customers", "alice", "frank", "alice", Err((3, own))),
        ("feature:export-customers", "frank", "frank", "frank", Err((3, own))),
        ("feature:export-customers", "frank", "frank", "alice", Err((3, "only the owner"))),
        ("feature:cost-explorer", "bob", "bob", "frank", Ok(())),
        ("role:admin", "bob", "bob", "olivia", Ok(())),
        ("role:admin", "bob", "bob", "alice", Ok(())),
        ("role:admin", "bob", "bob", "frank", Err((3, "is for a role"))),
    ];
    for (resource, requester, filer, decider, ends) in cases {
        let id = world.request(filer, resource, &["--for", requester]);
        // Where one decision is not allowed, the other is not either.
        match ends {
            Ok(()) => {
                world.run(decider, &["approve", &id]).ok();
                world.run(requester, &["revoke", &id]).ok();
                let id = world.request(filer, resource, &["--for", requester]);
                world.run(decider, &["deny", &id]).ok();
            }
            Err((code, says)) => {
                world.run(decider, &["approve", &id]).fails(code, says);
                world.run(decider, &["deny", &id]).fails(code, says);
                assert_eq!(world.state(&id), "pending");
                world.run(requester, &["withdraw", &id]).ok();
            }
        }
    }
}

#[test]
fn not_even_the_owner_decides_on_their_own_request() {
    // An owner has everything already; so bob asks, and then becomes the owner.
    let world = World::of("olivia", TEAM);
    let id = world.request("bob", "target:orders-db", &[]);
    let swapped = TEAM
        .replace("[members.olivia]\nrole = \"owner\"", "[members.olivia]\nrole = \"admin\"")
        .replace("[members.bob]\nrole = \"member\"", "[members.bob]\nrole = \"owner\"");
    world.apply("olivia", &swapped).ok();
    for verb in ["approve", "deny"] {
        world.run("bob", &[verb, &id]).fails(3, "nobody decides on their own request");
    }
    world.run("olivia", &["deny", &id]).ok();
}

#[test]
fn granted_admins_can_not_keep_one_another_in_office() {
    let world = team();
    world.grant("grace", "role:admin", "alice", &["--duration", "1w"]);
    let longer = world.request("frank", "role:admin", &["--duration", "permanent"]);
    world.run("grace", &["approve", &longer]).fails(3, "is for a role");
    // Nor by way of a request for something else, nor by turning one for a role into something else.
    let other = world.request("carol", "target:orders-db", &[]);
    world.run("grace", &["approve", &other, "--resource", "role:admin"]).fails(3, "is for a role");
    world.run("grace", &["approve", &longer, "--resource", "target:orders-db"]).fails(3, "is for a role");
    world.run("grace", &["deny", &longer]).fails(3, "is for a role");
    let show = world.json("frank", &["show", &longer]);
    shows(&show["approvals"], &json!({ "waiting_on": ["alice", "olivia"] }));
    // Those who are admins by the team file may do either.
    world.run("alice", &["approve", &other, "--resource", "role:admin"]).ok();
    shows(&world.json("carol", &["whoami"]), &json!({ "effective_role": "admin" }));
    world.run("alice", &["approve", &longer, "--duration", "2w"]).ok();
}

#[test]
fn an_approver_may_give_other_terms_than_were_asked() {
    let world = World::sample();
    let id =
        world.grant("bob", "connection:prod-aws", "alice", &["--duration", "30m", "--resource", "target:orders-db"]);
    assert!(world.may("bob", "target:orders-db") && !world.may("bob", "connection:prod-aws"));
    shows(&world.json("bob", &["show", &id])["grant"], &json!({ "modified": true, "ends_at": "2026-11-24T09:30:00Z" }));

    world.grant("carol", "connection:prod-aws", "alice", &["--scope", "orders-read", "--until", "in 2h"]);
    assert!(world.may("carol", "target:orders-db") && !world.may("carol", "target:billing-db"));
    world.pass("1h59m59s");
    assert!(world.may("carol", "target:orders-db"));
    world.pass("1s");
    assert!(!world.may("carol", "target:orders-db"));
}

#[test]
fn terms_that_can_not_be_given_leave_the_request_as_it_was() {
    let world = World::sample();
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", &id, "--scope", "no-such"]).fails(4, "there is no scope:no-such");
    world.run("alice", &["approve", &id, "--resource", "target:no-such"]).fails(4, "there is no target:no-such");
    world.run("alice", &["approve", &id, "--until", "2026-11-24T09:00:00Z"]).fails(2, "has passed");
    world.run("alice", &["approve", &id, "--until", "2046-11-24T09:00:00Z"]).fails(2, "ten years");
    world.run("alice", &["approve", &id, "--duration", "11y"]).exits(2);
    world.run("alice", &["approve", &id, "--scope", "orders-read", "--resource", "target:orders-db"]).exits(2);
    world.run("alice", &["approve", &id, "--resource", "role:owner"]).exits(3);
    assert_eq!(world.state(&id), "pending");
    // A request whose end has passed meanwhile has lapsed, and no other end revives it. It blocks no new one.
    let until = world.request("carol", "target:orders-db", &["--until", "10:00"]);
    world.pass("2h");
    world.run("alice", &["approve", &until]).fails(5, "is lapsed already");
    world.run("alice", &["approve", &until, "--duration", "1h"]).fails(5, "is lapsed already");
    world.request("carol", "target:orders-db", &["--duration", "1h"]);
}

#[test]
fn a_decision_once_made_stays_made() {
    let world = World::sample();
    let approved = world.grant("bob", "target:orders-db", "alice", &[]);
    let denied = world.request("bob", "target:billing-db", &[]);
    world.run("alice", &["deny", &denied]).ok();
    let withdrawn = world.request("bob", "connection:prod-aws", &[]);
    world.run("bob", &["withdraw", &withdrawn]).ok();
    for verb in ["approve", "deny"] {
        world.run("erin", &[verb, &approved]).fails(5, "is active already, decided by alice");
        world.run("erin", &[verb, &denied]).fails(5, "is denied already, decided by alice");
        world.run("erin", &[verb, &withdrawn]).fails(5, "is withdrawn already");
    }
    world.run("bob", &["withdraw", &approved]).fails(5, "nothing to withdraw");
    world.run("bob", &["withdraw", &withdrawn]).fails(5, "nothing to withdraw");
    world.run("alice", &["revoke", &denied]).fails(5, "nothing to revoke");
    world.run("alice", &["revoke", &approved]).ok();
    world.run("alice", &["revoke", &approved]).fails(5, "nothing to revoke");
    world.run("erin", &["approve", &approved]).fails(5, "is revoked already");
    assert_eq!([&approved, &denied, &withdrawn].map(|id| world.state(id)), ["revoked", "denied", "withdrawn"]);
}

#[test]
fn a_request_is_withdrawn_by_those_whose_it_is() {
    let world = World::sample();
    for who in ["bob", "alice"] {
        let id = world.request("alice", "target:orders-db", &["--for", "bob"]);
        world.run("erin", &["withdraw", &id]).fails(3, "only its requester, or who filed it");
        world.run("olivia", &["withdraw", &id]).fails(3, "only its requester, or who filed it");
        world.run("carol", &["withdraw", &id]).fails(4, "there is no request");
        world.run(who, &["withdraw", &id]).ok();
        assert_eq!(world.state(&id), "withdrawn");
    }
}

#[test]
fn a_grant_is_revoked_by_its_holder_and_by_admins() {
    let world = team();
    for who in ["bob", "alice", "olivia", "frank"] {
        let id = world.grant("bob", "target:orders-db", "alice", &[]);
        for other in ["carol", "heidi", "grace"] {
            world.run(other, &["revoke", &id]).fails(4, "there is no request");
        }
        assert!(world.may("bob", "target:orders-db"));
        world.run(who, &["revoke", &id]).ok();
        assert!(!world.may("bob", "target:orders-db"));
    }
}

#[test]
fn members_see_their_own_requests_and_admins_everybodys() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    world.request("alice", "target:orders-db", &["--for", "carol"]);
    world.grant("dave", "target:orders-db", "erin", &[]);
    assert_eq!(listed(&world, "bob"), [1]);
    assert_eq!(listed(&world, "carol"), [2]);
    assert_eq!(listed(&world, "dave"), [3]);
    assert_eq!(listed(&world, "heidi"), [0_i64; 0]);
    assert_eq!(listed(&world, "erin"), [3, 2, 1]);
    // No filter shows what is not theirs to see.
    for filter in [["--requester", "bob"], ["--resource", "target:orders-db"], ["--state", "pending"]] {
        let list = world.json("heidi", &["list", filter[0], filter[1]]);
        assert_eq!(list, json!([]), "{filter:?}");
    }
    for (login, sees) in [("bob", "1"), ("carol", "2"), ("dave", "3")] {
        for id in ["1", "2", "3"] {
            world.run(login, &["show", id]).exits(if id == sees { 0 } else { 4 });
        }
    }
}

#[test]
fn what_is_hidden_looks_like_what_is_not_there() {
    let world = World::sample();
    world.request("bob", "target:orders-db", &[]);
    for verb in ["show", "approve", "deny", "withdraw", "revoke"] {
        for json in [&[][..], &["--json"]] {
            let run = |id: &str| world.run("carol", &[&[verb, id][..], json].concat()).exits(4);
            let (hidden, missing) = (run("1"), run("9"));
            assert_eq!(hidden.err, missing.err.replace("request 9", "request 1"), "{verb}");
            assert_eq!((hidden.out, missing.out), (String::new(), String::new()));
        }
    }
}

#[test]
fn filing_for_another_is_for_admins_and_tells_others_nothing() {
    let world = World::sample();
    let file = |resource: &str, member: &str| {
        let args = ["request", resource, "--reason", "x", "--for", member];
        world.run("bob", &args).fails(3, "only admins and the owner may file a request for somebody else")
    };
    // Whether the member or the resource is there, or held, makes no difference.
    let told: BTreeSet<String> = [
        ("target:orders-db", "carol"),
        ("target:no-such", "carol"),
        ("target:orders-api", "carol"),
        ("target:orders-db", "nobody"),
    ]
    .map(|(resource, member)| file(resource, member).err)
    .into();
    assert_eq!(told.len(), 1, "{told:?}");
    // For oneself is no favour.
    world.request("bob", "target:orders-db", &["--for", "bob"]);
    world
        .run("alice", &["request", "target:orders-db", "--reason", "x", "--for", "nobody"])
        .fails(4, "no member nobody");
}

#[test]
fn what_one_has_already_is_not_asked_for_again() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.grant("carol", "role:admin", "alice", &["--duration", "4h"]);
    world.grant("dave", "connection:prod-aws", "alice", &["--duration", "permanent"]);
    let cases = [
        ("alice", "connection:prod-aws", "through role:admin, permanently"),
        ("alice", "scope:orders-read", "through role:admin, permanently"),
        ("bob", "target:orders-api", "through scope:kubernetes, permanently"),
        ("bob", "feature:deploy", "through the team file, permanently"),
        ("bob", "target:orders-db", "through request 1, for another 4h"),
        ("carol", "target:orders-db", "through role:admin, for another 4h"),
        ("carol", "role:admin", "through request 2, for another 4h"),
        ("dave", "target:billing-db", "through request 3, permanently"),
        ("bob", "role:member", "role:member gives nothing"),
        ("alice", "role:member", "role:member gives nothing"),
    ];
    for (login, resource, says) in cases {
        world.run(login, &["request", resource, "--reason", "x"]).fails(5, says);
    }
    for (login, more, hint) in [
        ("alice", &["--as", "erin"][..], "hint: `access whoami` shows what you have\n"),
        ("alice", &["--for", "erin"], "hint: `access who --user erin` shows what they have\n"),
        ("alice", &["--for", "carol"], "hint: `access who --user carol` shows what they have; ask for longer with"),
    ] {
        let ask = [&["request", "target:orders-db", "--reason", "x"][..], more].concat();
        let ran = world.run(login, &ask).exits(5);
        assert!(ran.err.contains(hint), "{ran:?}");
    }
    // Longer than it lasts is something new.
    for (login, resource) in [("bob", "target:orders-db"), ("carol", "role:admin")] {
        world.run(login, &["request", resource, "--reason", "x", "--duration", "4h"]).exits(5);
        let id = world.request(login, resource, &["--duration", "4h1s"]);
        world.run(login, &["withdraw", &id]).ok();
        world.request(login, resource, &["--duration", "permanent"]);
    }
}

#[test]
fn one_request_for_the_same_thing_waits_at_a_time() {
    let world = World::sample();
    let first = world.request("bob", "target:orders-db", &[]);
    let again = ["request", "target:orders-db", "--reason", "x", "--duration", "1d"];
    let says = format!("request {first} for target:orders-db is pending already");
    world.run("bob", &again).fails(5, &says);
    world.run("alice", &[&again[..], &["--for", "bob"]].concat()).fails(5, &says);
    world.request("bob", "target:billing-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    world.run("bob", &["withdraw", &first]).ok();
    world.run("bob", &again).ok();
}

#[test]
fn a_lapsed_request_can_not_be_approved_and_blocks_nothing() {
    let world = World::sample();
    let first = world.request("bob", "target:orders-db", &[]);
    world.pass("6d23h59m59s");
    world.run("bob", &["request", "target:orders-db", "--reason", "x"]).exits(5);
    world.pass("1s");
    assert_eq!(world.state(&first), "lapsed", "by the clock alone");
    world.run("alice", &["approve", &first]).fails(5, "is lapsed already");
    world.run("bob", &["withdraw", &first]).fails(5, "nothing to withdraw");
    let second = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["approve", &second]).ok();
}

#[test]
fn a_granted_role_is_a_role_while_it_lives_and_its_acts_outlive_it() {
    let world = World::sample();
    world.grant("frank", "role:admin", "olivia", &["--duration", "2h"]);
    shows(&world.json("frank", &["whoami"]), &json!({ "role": "member", "effective_role": "admin" }));
    assert!(world.may("frank", "feature:cost-explorer") && world.may("frank", "connection:prod-aws"));
    assert!(!world.may("frank", "feature:export-customers"), "an admin, not the owner");
    world.apply("frank", TEAM).fails(3, "only the owner");
    let given = world.grant("bob", "target:orders-db", "frank", &["--duration", "4h"]);
    let denied = world.request("carol", "target:orders-db", &[]);
    world.run("frank", &["deny", &denied]).ok();

    world.pass("2h");
    shows(&world.json("frank", &["whoami"]), &json!({ "effective_role": "member", "grants": [] }));
    assert!(!world.may("frank", "feature:cost-explorer") && !world.may("frank", "connection:prod-aws"));
    world.run("frank", &["audit"]).exits(3);
    world.run("frank", &["revoke", &given]).exits(4);
    world.run("root", &["expire"]).ok();
    assert_eq!([world.state(&given), world.state(&denied)], ["active", "denied"]);
    assert!(world.may("bob", "target:orders-db"));
    shows(&world.json("bob", &["show", &given]), &json!({ "decisions": [{ "by": "frank", "counts": true }] }));
}

#[test]
fn overlapping_grants_never_undo_one_another() {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    let long = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &long]).ok();
    let wide = world.request("bob", "connection:prod-aws", &["--duration", "1d"]);
    world.run("alice", &["approve", &wide]).ok();
    shows(
        &world.json("bob", &["check", "target:orders-db"])["because"],
        &json!([{ "request": 1 }, { "request": 2 }, { "request": 3 }]),
    );
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    assert!(world.may("bob", "target:orders-db"), "one ended, two go on");
    world.run("alice", &["revoke", &wide]).ok();
    assert!(world.may("bob", "target:orders-db"), "one revoked, one goes on");
    assert!(!world.may("bob", "target:billing-db"), "which only that one gave");
    world.pass("3h");
    assert!(!world.may("bob", "target:orders-db"));
}

#[test]
fn a_revoked_grant_takes_nothing_of_the_baseline_with_it() {
    let world = World::sample();
    // bob has prod-k8s by his group's scope; the scope granted to him covers orders-api too.
    let id = world.grant("bob", "target:orders-db", "alice", &["--scope", "orders-read"]);
    let role = world.grant("bob", "role:admin", "alice", &["--duration", "1d"]);
    world.run("alice", &["revoke", &id]).ok();
    world.run("alice", &["revoke", &role]).ok();
    assert!(world.may("bob", "target:orders-api") && world.may("bob", "feature:deploy"));
    assert!(!world.may("bob", "target:orders-db"));
    shows(
        &world.json("bob", &["whoami"]),
        &json!({ "effective_role": "member", "scopes": ["kubernetes", "non-production"] }),
    );
}

#[test]
fn a_connection_brings_its_targets_and_a_target_not_its_connection() {
    let world = World::sample();
    world.grant("dave", "connection:prod-aws", "alice", &[]);
    for target in ["target:orders-db", "target:billing-db", "target:search-index"] {
        assert!(world.may("dave", target), "{target}");
    }
    assert!(!world.may("dave", "target:orders-api") && !world.may("dave", "connection:prod-k8s"));
    world.grant("frank", "target:orders-db", "alice", &[]);
    assert!(!world.may("frank", "connection:prod-aws") && !world.may("frank", "target:billing-db"));
}

#[test]
fn a_scope_by_environment_has_a_target_only_with_all_its_connections() {
    let world = World::sample();
    // frank has the scope of all that is not production; search-index lies in both.
    assert!(world.may("frank", "target:orders-db-staging") && world.may("frank", "connection:staging-aws"));
    assert!(!world.may("frank", "target:search-index") && !world.may("frank", "connection:prod-aws"));
    assert!(world.may("grace", "target:search-index"), "hers is by name");
    assert!(!world.may("heidi", "connection:sandbox"), "no scope, nothing");
    assert!(world.may("bob", "target:orders-api"), "by a connection of it");
}

#[test]
fn a_feature_is_open_from_its_role_upwards_and_by_grant() {
    let world = World::sample();
    let holders =
        |feature: &str| -> Vec<&str> { MEMBERS.into_iter().filter(|member| world.may(member, feature)).collect() };
    assert_eq!(holders("feature:export-customers"), ["olivia"]);
    assert_eq!(holders("feature:cost-explorer"), ["alice", "erin", "olivia"]);
    assert_eq!(holders("feature:deploy"), ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "olivia"]);
    world.grant("heidi", "feature:deploy", "alice", &[]);
    assert!(world.may("heidi", "feature:deploy"));
    shows(&world.json("heidi", &["whoami"]), &json!({ "effective_role": "viewer" }));
    world.pass("1h");
    assert!(!world.may("heidi", "feature:deploy"));
}

#[test]
fn check_who_and_resources_agree_for_every_member_and_resource() {
    let world = World::sample();
    world.grant("dave", "connection:prod-aws", "alice", &[]);
    world.grant("frank", "role:admin", "alice", &["--duration", "4h"]);
    world.grant("ivan", "target:orders-db", "alice", &["--scope", "non-production"]);
    world.grant("heidi", "role:member", "alice", &["--duration", "permanent"]);
    world.grant("carol", "feature:cost-explorer", "alice", &["--duration", "30m"]);
    world.pass("30m");

    let all = world.json("olivia", &["resources"]);
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|row| row["resource"].as_str().unwrap()).collect();
    let held = |member: &str| -> BTreeSet<String> {
        let mine = world.json(member, &["resources", "--mine"]);
        mine.as_array().unwrap().iter().map(|row| row["resource"].as_str().unwrap().to_owned()).collect()
    };
    let held: Vec<(&str, BTreeSet<String>)> = MEMBERS.into_iter().map(|member| (member, held(member))).collect();
    let mut pairs = 0;
    for name in names {
        let who = world.json("olivia", &["who", name]);
        for (member, mine) in &held {
            let check = world.run(member, &["check", name, "--json"]).json();
            let ways: Vec<Value> =
                who.as_array().unwrap().iter().filter(|row| row["member"] == *member).cloned().collect();
            shows(&json!(ways), &check["because"]);
            assert_eq!(check["allowed"], json!(!ways.is_empty()), "{member} {name}");
            assert_eq!(mine.contains(name), !ways.is_empty(), "{member} {name}");
            pairs += usize::from(!ways.is_empty());
        }
    }
    assert!(pairs > 60, "{pairs} of them hold");
}
