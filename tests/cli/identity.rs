//! Who somebody is: members who get another name, names that get another member. (The decisions are in `rules.spec`.)

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::completion::fish_words;
use crate::harness::{TEAM, World};

/// The sample team, in which anybody takes emergency access for an hour.
fn team() -> String {
    format!("{TEAM}\n[[rules]]\nname = \"glass\"\nemergency = true\nmax_duration = \"1h\"\n")
}

/// The team file with bob's section changed.
fn bob(to: &str) -> String {
    let team = team();
    let from = "[members.bob]\n";
    assert_eq!(team.matches(from).count(), 1);
    team.replace(from, to)
}

/// bob's requests: 1 denied, 2 revoked, 3 expired, 4 pending, and 5 an emergency that alice reviewed. alice filed 3.
fn history() -> World {
    let world = World::of("olivia", &team());
    world.request("bob", "target:orders-db", &[]);
    world.run("erin", &["deny", "1"]).ok();
    world.grant("bob", "target:orders-db", "alice", &[]);
    world.run("bob", &["revoke", "2"]).ok();
    world.request("alice", "target:orders-db", &["--for", "bob"]);
    world.run("erin", &["approve", "3"]).ok();
    world.pass("1h");
    world.run("root", &["expire"]).ok();
    world.request("bob", "connection:prod-aws", &[]);
    world.request("bob", "target:billing-db", &["--emergency", "--duration", "1h"]);
    world.run("alice", &["review", "5", "--note", "Fine"]).ok();
    world
}

#[test]
fn a_new_member_with_a_former_members_name_finds_nothing_of_theirs() {
    let world = history();
    let words: Vec<Vec<String>> = ["show", "withdraw", "revoke", "extend"]
        .map(|verb| fish_words(&world, "bob", &format!("access {verb} ")))
        .into();
    assert!(words.iter().any(|words| words.contains(&"4".to_owned())), "{words:?}");
    world.apply("olivia", &bob("[members.bob]\nlogin = \"robert\"\n")).ok();

    for list in [&["list", "--all"][..], &["list", "--mine", "--all"], &["list", "--all", "--requester", "bob"]] {
        assert_eq!(world.json("robert", list), json!([]), "{list:?}");
    }
    for id in ["1", "2", "3", "4", "5"] {
        for args in [
            &["show", id][..],
            &["withdraw", id],
            &["revoke", id],
            &["extend", id, "--reason", "x"],
            &["approve", id],
            &["deny", id],
            &["review", id, "--note", "x"],
        ] {
            // It looks like what is not there.
            let hidden = world.run("robert", args).exits(4).err;
            let missing = args.iter().map(|arg| if *arg == id { "99" } else { arg }).collect::<Vec<_>>();
            assert_eq!(
                hidden.replace(&format!("request {id}"), "request 99"),
                world.run("robert", &missing).exits(4).err
            );
        }
    }
    for verb in ["show", "withdraw", "revoke", "extend", "approve", "review"] {
        let words = fish_words(&world, "robert", &format!("access {verb} "));
        assert!(!words.iter().any(|word| word.parse::<u64>().is_ok()), "{verb}: {words:?}");
    }
    let me = world.json("robert", &["whoami"]);
    assert_eq!((&me["member"], &me["grants"], &me["unread"]), (&json!("bob"), &json!([]), &json!(0)));
    // Not even that bob's request was withdrawn, or how much bob had not read.
    assert_eq!(world.json("robert", &["inbox", "--all"]), json!([]));
    let marked = world.run("robert", &["inbox", "--mark-read"]).ok();
    assert!(!marked.out.contains(|c: char| c.is_ascii_digit() && c != '0'), "{marked:?}");
    // Their own requests are theirs.
    let own = world.request("robert", "connection:prod-aws", &[]);
    let list = world.json("robert", &["list", "--mine"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    world.run("robert", &["withdraw", &own]).ok();
    // An admin is told of all of them; of whose they are, too.
    assert_eq!(world.json("alice", &["list", "--all"]).as_array().unwrap().len(), 6);
    world.run("olivia", &["audit", "verify"]).ok();
}

#[test]
fn a_renamed_member_lists_what_they_filed_under_the_old_name() {
    let world = history();
    let renamed = bob("[members.bobby]\nlogin = \"bob\"\n").replace("\"bob\", \"carol\"", "\"bobby\", \"carol\"");
    world.apply("olivia", &renamed).ok();
    let ids = |args: &[&str]| -> Vec<i64> {
        let list = world.json("bob", args);
        list.as_array().unwrap().iter().map(|request| request["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&["list", "--all"]), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&["list", "--mine", "--all"]), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&["list"]), [0_i64; 0], "nothing of it is open");
    for (args, says) in [
        (&["withdraw", "4"][..], "nothing to withdraw"),
        (&["revoke", "5"], "nothing to revoke"),
        (&["extend", "5", "--reason", "x"], "nothing to extend"),
    ] {
        world.run("bob", args).fails(5, says);
    }
    assert!(!world.may("bob", "target:billing-db"));
    assert_eq!(world.json("bob", &["whoami"])["grants"], json!([]));
}

/// alice filed for bob, and alice's name then goes to somebody who is no admin.
#[test]
fn a_new_member_with_the_filers_name_is_told_nothing_of_what_was_filed() {
    let world = World::of("olivia", &team());
    let granted = world.request("alice", "target:orders-db", &["--for", "bob"]);
    world.run("erin", &["approve", &granted]).ok();
    // alice was asked to decide on this one.
    let pending = world.request("carol", "target:orders-db", &[]);
    let from = "[members.alice]\nrole = \"admin\"\n";
    assert_eq!(team().matches(from).count(), 1);
    let team = team().replace(from, "[members.alice]\nlogin = \"alina\"\nrole = \"member\"\n");
    world.apply("olivia", &team).ok();
    world.run("carol", &["withdraw", &pending]).ok();
    world.run("erin", &["revoke", &granted]).ok();
    assert_eq!(world.json("alina", &["inbox", "--all"]), json!([]));
    assert_eq!(world.json("alina", &["list", "--all"]), json!([]));
    world.run("alina", &["show", &granted]).exits(4);
    assert!(world.unread("erin").contains(&"request.withdrawn".to_owned()), "the others who were asked are told");
}

#[test]
fn an_admin_with_a_former_members_name_does_not_own_their_requests() {
    let world = World::of("olivia", &team());
    let id = world.request("carol", "target:orders-db", &["--emergency", "--duration", "1h"]);
    let from = "[members.carol]\nrole = \"member\"\n";
    assert_eq!(team().matches(from).count(), 1);
    let team = team().replace(from, "[members.carol]\nlogin = \"carla\"\nrole = \"admin\"\n");
    world.apply("olivia", &team).ok();
    // Admins see everything, but a namesake's requests are not their own.
    world.run("carla", &["show", &id]).ok();
    world.run("carla", &["withdraw", &id]).fails(3, "only its requester, or who filed it");
    world.run("carla", &["extend", &id, "--reason", "x"]).fails(3, "only its requester");
    assert_eq!(world.json("carla", &["list", "--mine", "--all"]), json!([]));
    // Another person is demanded for the review, and the same name could be the same person.
    world.run("carla", &["review", &id, "--note", "x"]).fails(3, "an earlier member with your name");
    assert_eq!(world.json("carla", &["show", &id])["may_decide"], false);
    world.run("alice", &["review", &id, "--note", "x"]).ok();
}

#[test]
fn the_log_names_the_unix_users_behind_a_request() {
    let world = World::of("olivia", &team());
    world.apply("olivia", &bob("[members.bob]\nlogin = \"robert\"\n")).ok();
    world.request("alice", "target:orders-db", &["--for", "bob"]);
    let entry = world.json("alice", &["audit", "--action", "request.submitted"])[0].clone();
    crate::harness::shows(
        &entry["detail"],
        &json!({ "requester": "bob", "requester_login": "robert", "filed_by": "alice", "filer_login": "alice" }),
    );
    let row = world.rows("SELECT seq, requester_login, filer_login FROM request");
    assert_eq!(row, [format!("{}|robert|alice", entry["seq"])]);
}

/// A file of version 3, in which carol was renamed to caroline, dave and frank exchanged their logins, alice got another
/// login, and ivan left and came back with another.
#[test]
fn a_file_of_version_3_learns_who_was_behind_each_request() {
    let world = World::empty();
    assert!(world.sqlite(include_str!("../fixtures/database-v3.sql")).status.success());
    fs::set_permissions(world.db(), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(world.rows("PRAGMA user_version"), ["3"]);
    world.run("olivia", &["audit", "verify"]).ok();
    assert_eq!(world.rows("PRAGMA user_version"), ["4"]);
    let expected = [
        "1|3|carol|carol|carol|carol",
        "2|4|bob|bob|alice|alice",
        "3|7|carol|carol|carol|carol",
        "4|9|dave|dave|dave|dave",
        "5|15|dave|frank|dave|frank",
        "6|16|caroline|carol|caroline|carol",
        "7|17|ivan|ivan|ivan|ivan",
        "8|21|ivan|ivan2|ivan|ivan2",
        "9|22|frank|dave|alice|alicia",
    ];
    let columns = "SELECT id, seq, requester, requester_login, filed_by, filer_login FROM request ORDER BY id";
    assert_eq!(world.rows(columns), expected);
    // carol is caroline now; the emergency that dave took is neither dave's nor frank's to review.
    for (login, id, says) in [("carol", "3", "own request"), ("dave", "4", "own request"), ("frank", "4", "your name")]
    {
        world.run(login, &["review", id, "--note", "x"]).fails(3, says);
    }
    world.run("erin", &["review", "3", "--note", "x"]).ok();
    world.run("carol", &["show", "3"]).ok();
    world.run("ivan2", &["show", "7"]).exits(4);
    world.run("ivan2", &["show", "8"]).ok();
    world.run("olivia", &["audit", "verify"]).ok();
}
