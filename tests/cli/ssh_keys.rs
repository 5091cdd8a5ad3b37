//! The SSH keys of members: in the team file, and in a log that is true. tests/shared/over_ssh.rs uses them.

use serde_json::json;

use crate::forged::{self, changes};
use crate::harness::{TEAM, World};
use crate::proof::faults;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILOGgAXUmcqZPlb7t8C0uPRWLCWHWLRfnRxcwSqkBO7j";
const PRINT: &str = "SHA256:9c45/xWufyEmIHi3qhgoRqth+HzYBWYOEo87dAGvFiU";
const OTHER: &str = "sk-ssh-ed25519@openssh.com \
AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo=";

/// The team, with these keys of bob and carol.
fn with(bob: &[&str], carol: &[&str]) -> String {
    let line = |keys: &[&str]| if keys.is_empty() { String::new() } else { format!("ssh_keys = {keys:?}\n") };
    let team = TEAM.replace("[members.bob]\n", &format!("[members.bob]\n{}", line(bob)));
    team.replace("[members.carol]\n", &format!("[members.carol]\n{}", line(carol)))
}

#[test]
fn a_key_is_one_members_and_whole() {
    let world = World::of("olivia", TEAM);
    let first = TEAM.lines().position(|line| line == "[members.bob]").unwrap() + 2;
    let at_laptop = format!("{KEY} bob@laptop");
    let at_laptop = at_laptop.as_str();
    let many: Vec<String> = (0..21).map(|number| format!("{KEY} {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (bob, carol, line, what) in [
        (&[KEY, at_laptop][..], &[][..], first, "member bob has the SSH key SHA256:"),
        (&[KEY], &[at_laptop], 0, "bob and carol have the same SSH key, SHA256:"),
        (&["ssh-dss AAAAB3NzaC1kc3MAAACB"], &[], first, "is a DSA key"),
        (&["no-pty ssh-ed25519 AAAA"], &[], first, "has options before the key"),
        (&["ssh-ed25519-cert-v01@openssh.com AAAA"], &[], first, "is a certificate"),
        (&["ssh-ed25519 AAAA"], &[], first, "is not a whole ssh-ed25519 key"),
        (&["hello"], &[], first, "is not an SSH public key"),
        (&[OTHER, "\n"], &[], first, "is not an SSH public key"),
        (&many, &[], first, "member bob has 21 SSH keys; it may have 20"),
    ] {
        let ran = world.apply("olivia", &with(bob, carol)).exits(65);
        assert!(ran.err.contains(what), "{what}: {}", ran.err);
        assert!(line == 0 || ran.err.contains(&format!("line {line}: ")), "{line}: {}", ran.err);
    }
    let empty = TEAM.replace("[members.bob]\n", "[members.bob]\nssh_keys = []\n");
    world.apply("olivia", &empty).fails(65, "ssh_keys is empty");
    world.apply("olivia", &TEAM.replace("[members.bob]\n", "[members.bob]\nssh_keys = \"x\"\n")).exits(65);
}

#[test]
fn keys_read_back_and_changes_of_them_are_shown() {
    let world = World::of("olivia", TEAM);
    let shown = world.apply("olivia", &with(&[&format!("  {KEY}   bob@laptop  "), OTHER], &[])).ok().out;
    assert!(shown.contains(&format!("{PRINT} (bob@laptop)")), "{shown}");
    let file = world.run("olivia", &["team", "show"]).ok().out;
    assert!(file.contains(&format!("{KEY} bob@laptop\"")) && file.contains(OTHER), "{file}");
    world.apply("olivia", &file).ok().says("Nothing changes");
    let told = world.run("alice", &["inbox", "--json"]).ok().json();
    let text = told[0]["text"].as_str().unwrap();
    assert!(text.contains("bob: ssh_keys + SHA256:") && text.contains(&format!("+ {PRINT} (bob@laptop)")), "{told}");
    // A key moves from one to the other in one file.
    world.apply("olivia", &with(&[OTHER], &[KEY])).ok();
    world.apply("olivia", &with(&[KEY], &[OTHER])).ok();
    assert_eq!(faults(&world), Vec::<String>::new());
    // Only sshd and those who keep the file learn whose key it is.
    let blob = KEY.split(' ').nth(1).unwrap();
    world.run("olivia", &["ssh", "keys", "--", blob]).ok().says(&format!("--key={PRINT} -- bob\" {KEY}\n"));
    world.apply("olivia", &with(&[], &[])).ok();
    world.run("olivia", &["ssh", "keys", "--", blob]).exits(1);
}

#[test]
fn what_came_over_ssh_is_by_who_had_the_key_in_a_log_that_is_true() {
    let forge = |world: &World, actor: Option<&str>, event: serde_json::Value| {
        forged::forge(world, actor, &format!("ssh:{PRINT}"), serde_json::from_value(event).unwrap());
    };
    let refused = || json!({ "action": "attempt.refused", "detail": { "command": "ssh", "why": "x" } });
    let withdrawn =
        || json!({ "action": "request.withdrawn", "detail": { "request": 1, "by": "bob", "because": "asked" } });
    let asked = |keys: &[&str]| {
        let world = World::of("olivia", TEAM);
        world.apply("olivia", &with(keys, &[])).ok();
        world.request("bob", "target:orders-db", &[]);
        world
    };
    let world = asked(&[KEY]);
    forge(&world, None, refused());
    forge(&world, Some("bob"), withdrawn());
    assert_eq!(faults(&world), Vec::<String>::new());
    let is_not_his = format!("it came with the SSH key {PRINT}, which is not one of bob's");
    for (keys, actor, event, says) in [
        (&[OTHER][..], Some("bob"), withdrawn(), is_not_his.as_str()),
        (&[], Some("bob"), withdrawn(), &is_not_his),
        (&[KEY], Some("carol"), refused(), &is_not_his.replace("bob", "carol")),
        (&[KEY], None, withdrawn(), &format!("it came with the SSH key {PRINT}, and is by nobody")),
    ] {
        let world = asked(keys);
        forge(&world, actor, event);
        let found = faults(&world);
        assert!(found.iter().any(|fault| fault.ends_with(says)), "{says}: {found:?}");
    }
    // Keys that change later void nothing.
    let world = asked(&[KEY]);
    forge(&world, Some("bob"), withdrawn());
    world.apply("olivia", &with(&[OTHER], &[KEY])).ok();
    assert_eq!(faults(&world), Vec::<String>::new());
    // Two members with one key.
    let world = World::of("olivia", TEAM);
    world.apply("olivia", &with(&[OTHER], &[KEY])).ok();
    let both = changes(&world, &[("carol", json!({ "ssh_keys": [KEY, OTHER] }))]);
    forged::forge(&world, Some("olivia"), "olivia", both);
    let found = faults(&world);
    assert!(found.iter().any(|fault| fault.contains("two members the same SSH key")), "{found:?}");
}
