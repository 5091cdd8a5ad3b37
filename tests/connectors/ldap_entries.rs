//! An entry for each grant, which slapd deletes by itself (its overlay dds).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::directory::Directory;
use crate::meanwhile::held_meanwhile;
use crate::{Connector, act, assert_done, assert_says, holders, list, run, wait_until};

const ORDERS: &str = "ou=orders,ou=grants,dc=example,dc=com";
const BOB: &str = "uid=bob,ou=orders,ou=grants,dc=example,dc=com";
const DDS: &str = "overlay dds\ndds-interval 1\ndds-default-ttl 60\n";

fn connector(directory: &Directory) -> Connector {
    directory.connector().and(&["--entry-class", "account"])
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Until this second.
fn grant_until(login: &str, end: u64) -> Value {
    let until = run(std::process::Command::new("date").args(["-u", "-d", &format!("@{end}"), "+%Y-%m-%dT%H:%M:%SZ"]));
    let mut act = act("grant", login, "container", ORDERS);
    act["until"] = json!(until.trim());
    act
}

fn grant_for(login: &str, seconds: u64) -> Value {
    grant_until(login, now() + seconds)
}

fn permanent(login: &str) -> Value {
    act("grant", login, "container", ORDERS)
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "container", ORDERS)
}

fn listed(connector: &Connector) -> Vec<String> {
    holders(&connector.one(list("container", &[ORDERS])))
}

/// Nothing of access runs when it ends.
#[test]
fn the_directory_ends_access_by_itself() {
    let directory = Directory::with(DDS);
    let connector = connector(&directory);
    let end = now() + 4;
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(connector.one(grant_until("bob", end)), json!({ "done": answer }));
        assert_eq!(listed(&connector), ["bob"]);
    }
    assert!(directory.entry(BOB).contains("objectClass: dynamicObject"), "{}", directory.entry(BOB));
    assert_done(&connector.one(grant_for("carol", 600)));
    wait_until("slapd deletes it", || directory.entry(BOB).is_empty());
    assert!(now() >= end, "not before {end}");
    assert_eq!(listed(&connector), ["carol"]);
    // To take back what is gone is done.
    for login in ["bob", "carol", "carol"] {
        assert_done(&connector.one(revoke(login)));
    }
    assert_eq!(listed(&connector), [""; 0]);
}

#[test]
fn a_new_end_leaves_no_gap() {
    let directory = Directory::with(DDS);
    let connector = connector(&directory);
    assert_done(&connector.one(grant_for("bob", 600)));
    let samples = held_meanwhile(&[&|| !directory.entry(BOB).is_empty()], || {
        for seconds in [900, 1200, 300, 1500] {
            assert_done(&connector.one(grant_for("bob", seconds)));
            let ttl = u64::try_from(directory.ttl(BOB).unwrap()).unwrap();
            assert!(ttl <= seconds && ttl + 5 > seconds, "{ttl} for {seconds}");
        }
        std::thread::sleep(Duration::from_millis(200));
    });
    assert!(samples >= 4, "{samples}");
    // A restart forgets nothing.
    assert_done(&connector.one(grant_for("bob", 5)));
    let mut directory = directory;
    directory.restart();
    wait_until("slapd deletes it", || directory.entry(BOB).is_empty());
}

/// The directory may allow no such time to live. Then nothing is given for longer or shorter than it should be.
#[test]
fn the_limits_of_the_directory_are_reported() {
    let directory = Directory::with(&format!("{DDS}dds-min-ttl 50\n"));
    let connector = connector(&directory);
    assert_says(
        &connector.one(grant_for("bob", 20)),
        "failed",
        "the directory keeps the entry for 50 s, and access ends in",
    );
    assert_says(&connector.one(grant_for("bob", 200_000)), "failed", "(dds-max-ttl)");
    assert_says(
        &connector.one(grant_for("bob", 40_000_000)),
        "failed",
        "no entry can have an end more than 31557600 s",
    );
    assert_says(&connector.one(grant_until("bob", now() - 10)), "failed", "access ended at");
    assert!(directory.entry(BOB).is_empty());
    // What was given before stays as it is.
    assert_done(&connector.one(grant_for("bob", 600)));
    assert_says(&connector.one(grant_for("bob", 200_000)), "failed", "(dds-max-ttl)");
    assert!((500..=600).contains(&directory.ttl(BOB).unwrap()));
}

#[test]
fn without_the_overlay_or_its_rights_nothing_is_left_behind() {
    let directory = Directory::start();
    let plain = connector(&directory);
    assert_says(&plain.one(grant_for("bob", 600)), "failed", "slapd needs the overlay dds");
    assert!(directory.entry(BOB).is_empty());
    // A permanent one needs no overlay.
    assert_done(&plain.one(permanent("bob")));
    assert_eq!(listed(&plain), ["bob"]);
    assert_done(&plain.one(revoke("bob")));
    assert!(directory.entry(BOB).is_empty());

    let directory = Directory::with(DDS);
    let reader = directory.connector_as("cn=reader,dc=example,dc=com").and(&["--entry-class", "account"]);
    assert_says(&reader.one(grant_for("bob", 600)), "failed", "needs manage access");
    assert!(directory.entry(BOB).is_empty());
}

#[test]
fn permanent_grants_have_no_end() {
    let directory = Directory::with(DDS);
    let connector = connector(&directory);
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(connector.one(permanent("bob")), json!({ "done": answer }));
        assert_eq!(directory.ttl(BOB), None);
    }
    // RFC 2589 lets no entry get an end later, and the reconciler takes it back.
    assert_done(&connector.one(grant_for("bob", 1)));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((listed(&connector), directory.ttl(BOB)), (vec!["bob".to_owned()], None));
    assert_done(&connector.one(revoke("bob")));

    assert_done(&connector.one(grant_for("bob", 600)));
    assert!(directory.ttl(BOB).is_some());
    assert_done(&connector.one(permanent("bob")));
    assert_eq!((listed(&connector), directory.ttl(BOB)), (vec!["bob".to_owned()], None));
}

#[test]
fn odd_logins_and_containers() {
    let directory = Directory::with(DDS);
    let connector = connector(&directory);
    let mut logins = ["o'brien", "a+b", "a\"b", "#1000", "sélect", "Zoe"];
    logins.sort_unstable();
    connector.run(&logins.map(|login| grant_for(login, 600))).iter().for_each(assert_done);
    assert_eq!(listed(&connector), logins);
    assert_says(&connector.one(grant_for("zoe", 600)), "failed", "no login zoe, but Zoe");
    assert_says(&connector.one(grant_for("erin", 600)), "failed", "there is no entry uid=erin");
    // What is Zoe's is not taken for zoe's.
    assert_says(&connector.one(revoke("zoe")), "failed", "is the entry of Zoe");
    assert_eq!(listed(&connector), logins);
    // Without --login-dn people need no entry, but a directory still takes one name for the other.
    let alone = directory.connector_as("cn=access,dc=example,dc=com").and(&["--entry-class", "account"]);
    assert_done(&alone.one(grant_for("erin", 600)));
    assert_says(&alone.one(grant_for("zoe", 600)), "failed", "is the entry of Zoe");
    assert_done(&alone.one(revoke("erin")));
    connector.run(&logins.map(revoke)).iter().for_each(assert_done);
    assert_eq!(listed(&connector), [""; 0]);

    let at = |operation: &str, container: &str| act(operation, "bob", "container", container);
    assert_says(
        &connector.one(at("grant", "OU=Orders, ou=grants,dc=example,dc=com")),
        "failed",
        "write the container as",
    );
    assert_says(&connector.one(at("grant", "ou=gone,ou=grants,dc=example,dc=com")), "failed", "there is no entry");
    assert_says(&connector.one(act("grant", "bob", "group", ORDERS)), "failed", "group is no parameter");
    let gone = "ou=gone,ou=grants,dc=example,dc=com";
    assert_eq!(holders(&connector.one(list("container", &[gone]))), [""; 0]);
    let hidden = "ou=inner,ou=closed,dc=example,dc=com";
    assert_says(&connector.one(list("container", &[hidden])), "failed", "can't see it");
    assert_says(&connector.one(at("revoke", hidden)), "later", "can't see it");
}

#[test]
fn entries_of_another_class_and_name() {
    let directory = Directory::with(DDS);
    let words = ["--entry-class", "device", "--entry-class", "uidObject", "--entry-naming", "cn"];
    let connector = directory.connector().and(&words);
    assert_says(&connector.one(grant_for("bob", 600)), "failed", "objectClassViolation");
    let connector = directory.connector().and(&["--entry-class", "device", "--entry-naming", "cn"]);
    assert_done(&connector.one(grant_for("bob", 600)));
    assert!(directory.entry("cn=bob,ou=orders,ou=grants,dc=example,dc=com").contains("objectClass: device"));
    assert_eq!(listed(&connector), ["bob"]);
    assert_done(&connector.one(revoke("bob")));
}

#[test]
fn a_directory_that_is_down_or_restarted() {
    let mut directory = Directory::with(DDS);
    let connector = connector(&directory);
    let mut running = connector.open();
    assert_done(&running.one(&grant_for("bob", 600)));
    directory.restart();
    assert_done(&running.one(&grant_for("carol", 600)));
    directory.stop();
    for operation in [grant_for("alice", 600), revoke("bob"), list("container", &[ORDERS])] {
        let answer = running.one(&operation);
        assert!(answer.get("later").is_some(), "{answer}");
    }
    running.end();
    directory.restart();
    assert_eq!(listed(&connector), ["bob", "carol"]);
}
