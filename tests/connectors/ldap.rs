//! What the connector gives and takes in a directory.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::directory::{Directory, LOGINS, longest};
use crate::{Connector, act, assert_done, assert_says, holders, list, private_file, wait_until};

const ORDERS: &str = "cn=orders,ou=groups,dc=example,dc=com";
const LOGIN_DN: [&str; 2] = ["--login-dn", "uid={login},ou=people,dc=example,dc=com"];

fn grant(login: &str) -> Value {
    act("grant", login, "group", ORDERS)
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "group", ORDERS)
}

#[test]
fn a_member_is_added_and_removed() {
    let directory = Directory::start();
    let connector = directory.connector();
    assert!(!directory.can_read("bob"));
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(connector.one(grant("bob")), json!({ "done": answer }));
        assert!(directory.can_read("bob"));
    }
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["bob"]);
    let first = connector.one(revoke("bob"));
    assert!(first["done"]["note"].as_str().unwrap().contains("open sessions"), "{first}");
    assert_eq!(connector.one(revoke("bob")), json!({ "done": {} }));
    assert!(!directory.can_read("bob"));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), [""; 0]);
    assert!(directory.entry(ORDERS).contains("member: cn=nobody"), "what was there before stays");
}

#[test]
fn odd_logins() {
    let directory = Directory::start();
    let connector = directory.connector();
    let longest = longest();
    let mut logins: Vec<&str> = LOGINS.to_vec();
    logins.push(&longest);
    logins.sort_unstable();
    let grants: Vec<Value> = logins.iter().map(|login| grant(login)).collect();
    connector.run(&grants).iter().for_each(assert_done);
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), logins);
    for login in &logins {
        assert!(directory.can_read(login), "{login}");
    }
    let revokes: Vec<Value> = logins.iter().map(|login| revoke(login)).collect();
    connector.run(&revokes).iter().for_each(assert_done);
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), [""; 0]);
    for login in &logins {
        assert!(!directory.can_read(login), "{login}");
    }
}

#[test]
fn a_login_in_another_case_is_another_person() {
    let directory = Directory::start();
    let connector = directory.connector();
    assert_says(&connector.one(grant("zoe")), "failed", "no login zoe, but Zoe");
    assert_says(&connector.one(grant("BOB")), "failed", "no login BOB, but bob");
    assert!(!directory.can_read("bob"));
    // Somebody added bob in another spelling.
    let dn = "UID=BOB, ou=People,dc=example,dc=com";
    directory.modify(&format!("dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: {dn}\n"));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["bob"]);
    // What is bob's is not taken for BOB's.
    assert_says(&connector.one(revoke("BOB")), "failed", "no login BOB, but bob");
    // In another form of Unicode it is another login too.
    assert_done(&connector.one(grant("sélect")));
    for answer in connector.run(&[grant("se\u{301}lect"), revoke("se\u{301}lect")]) {
        assert!(answer.get("failed").is_some(), "{answer}");
    }
    assert!(directory.can_read("sélect") && directory.can_read("bob"));
    assert_done(&connector.one(revoke("bob")));
    assert!(!directory.can_read("bob"));
}

/// It has the access all the same.
#[test]
fn a_person_whose_entry_can_not_be_read_hides_nothing() {
    let directory = Directory::start();
    let connector = directory.connector();
    let mia = "uid=Mia,ou=people,dc=example,dc=com";
    directory.modify(&format!("dn: {mia}\nchangetype: add\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n"));
    directory.modify(&format!("dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: {mia}\n"));
    assert_says(&connector.one(grant("Mia")), "failed", "insufficientAccessRights");
    assert_done(&connector.one(grant("bob")));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["Mia", "bob"]);
    assert_done(&connector.one(revoke("Mia")));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["bob"]);
}

#[test]
fn logins_and_groups_that_are_not_there() {
    let directory = Directory::start();
    let connector = directory.connector();
    assert_says(&connector.one(grant("erin")), "failed", "there is no entry uid=erin,ou=people");
    // An entry that is gone may still be a member.
    directory.modify(&format!(
        "dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: uid=erin,ou=people,dc=example,dc=com\n"
    ));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["erin"]);
    assert_done(&connector.one(revoke("erin")));

    let gone = "cn=gone,ou=groups,dc=example,dc=com";
    assert_says(&connector.one(act("grant", "bob", "group", gone)), "failed", "there is no group");
    // It may only be hidden.
    assert_says(&connector.one(act("revoke", "bob", "group", gone)), "later", "there is no group");
    assert_eq!(holders(&connector.one(list("group", &[gone, "nonsense", ORDERS]))), [""; 0]);
    assert!(connector.one(act("grant", "bob", "group", "nonsense")).get("failed").is_some());
}

/// Otherwise one group could be two, and a pattern could allow what it does not show.
#[test]
fn a_group_has_one_spelling() {
    let directory = Directory::start();
    let connector = directory.connector();
    for group in [
        "cn=orders, ou=groups,dc=example,dc=com",
        "cn=\\6frders,ou=groups,dc=example,dc=com",
        "cn=o\\rders,ou=groups,dc=example,dc=com",
        "cn = orders,ou=groups,dc=example,dc=com",
        "cn=orders;ou=groups,dc=example,dc=com",
        "cn= orders,ou=groups,dc=example,dc=com",
    ] {
        let said = connector.one(act("grant", "bob", "group", group));
        assert_says(&said, "failed", &format!("write the group as {ORDERS}"));
        assert_eq!(holders(&connector.one(list("group", &[group]))), [""; 0]);
        assert!(!directory.can_read("bob"), "{group}");
    }
    assert_says(&connector.one(act("grant", "bob", "group", "cn=#6f,dc=x")), "failed", "no distinguished name");
    let add = "cn: x\nobjectClass: groupOfNames\nmember: cn=nobody";
    for (group, written) in [
        ("CN=Upper Case,ou=groups,dc=example,dc=com", "CN=Upper Case,ou=groups,dc=example,dc=com"),
        ("cn=a\\2cb\\2b,ou=groups,dc=example,dc=com", "cn=a\\,b\\+,ou=groups,dc=example,dc=com"),
        ("cn=größe,ou=groups,dc=example,dc=com", "cn=gr\\C3\\B6\\C3\\9Fe,ou=groups,dc=example,dc=com"),
    ] {
        directory.modify(&format!("dn: {written}\nchangetype: add\n{add}\n"));
        assert_done(&connector.one(act("grant", "bob", "group", group)));
        assert_eq!(holders(&connector.one(list("group", &[group]))), ["bob"]);
        assert_done(&connector.one(act("revoke", "bob", "group", group)));
        assert_eq!(holders(&connector.one(list("group", &[group]))), [""; 0]);
    }
    // To take back is always allowed.
    assert_done(&connector.one(grant("bob")));
    assert_done(&connector.one(act("revoke", "bob", "group", "CN=orders, ou=groups,dc=example,dc=com")));
    assert!(!directory.can_read("bob"));
}

/// A group that the connector may not see is never taken for one without members.
#[test]
fn what_the_connector_may_not_see_is_a_failure() {
    let directory = Directory::start();
    let connector = directory.connector();
    let sealed = "cn=sealed,ou=groups,dc=example,dc=com";
    assert_says(&connector.one(list("group", &[sealed])), "failed", "can't read member");
    let inner = "cn=inner,ou=closed,dc=example,dc=com";
    assert_says(&connector.one(list("group", &[inner])), "failed", "can't see it");
    assert_says(&connector.one(act("revoke", "bob", "group", inner)), "failed", "insufficientAccessRights");
    let reader = directory.connector_as("cn=reader,dc=example,dc=com").and(&LOGIN_DN);
    assert_says(&reader.one(grant("bob")), "failed", "insufficientAccessRights");
    assert_says(&reader.one(revoke("bob")), "failed", "insufficientAccessRights");
}

/// Such as one of another directory.
#[test]
fn a_member_that_can_not_be_looked_at_hides_no_other() {
    let directory = Directory::with("referral ldap://elsewhere.example\n");
    let connector = directory.connector();
    directory.modify(&format!("dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: uid=eve,dc=other\n"));
    assert_done(&connector.one(grant("bob")));
    let connector = connector.and(&["--empty-member", "cn=nobody"]);
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["bob", "dn=uid=eve;dc=other"]);
}

/// A directory with the overlay refint moves the membership with the person.
#[test]
fn a_person_who_was_renamed_is_reported() {
    let directory = Directory::with("overlay refint\nrefint_attributes member\n");
    let connector = directory.connector();
    let listed = || holders(&connector.one(list("group", &[ORDERS])));
    let rename = |dn: &str, name: &str, below: &str| {
        directory.modify(&format!(
            "dn: {dn}\nchangetype: modrdn\nnewrdn: uid={name}\ndeleteoldrdn: 1\nnewsuperior: ou={below},dc=example,dc=com\n"
        ));
    };
    for (name, below, reported) in [
        ("bob", "alumni", "dn=uid=bob;ou=alumni;dc=example;dc=com"),
        ("bob the, 2nd: a/b", "alumni", "dn=uid=bob\\20the\\2c\\202nd\\3a\\20a\\2fb;ou=alumni;dc=example;dc=com"),
        ("bobby", "people", "bobby"),
    ] {
        assert_done(&connector.one(grant("bob")));
        assert_eq!(listed(), ["bob"]);
        let dn = format!("uid={},ou={below},dc=example,dc=com", ldap3::dn_escape(name));
        rename("uid=bob,ou=people,dc=example,dc=com", &ldap3::dn_escape(name), below);
        wait_until("refint has renamed the member", || listed() == [reported]);
        connector.one(revoke("bob"));
        assert_eq!(listed(), [reported], "what is there is said, whatever a revoke answered");
        rename(&dn, "bob", "people");
        wait_until("refint has renamed the member", || listed() == ["bob"]);
        assert_done(&connector.one(revoke("bob")));
    }
    // Neither a group in the group nor a name without an entry is a person.
    directory.modify(&format!(
        "dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: cn=unix,ou=groups,dc=example,dc=com\nmember: cn=gone,dc=x\n"
    ));
    assert_eq!(listed(), [""; 0]);
    directory.modify(&format!("dn: {ORDERS}\nchangetype: modify\nadd: member\nmember: cn=reader,dc=example,dc=com\n"));
    assert_eq!(listed(), ["dn=cn=reader;dc=example;dc=com"]);
}

#[test]
fn the_last_member_of_a_group_that_cannot_be_empty() {
    let directory = Directory::start();
    let connector = directory.connector();
    assert_done(&connector.one(grant("bob")));
    directory.modify(&format!("dn: {ORDERS}\nchangetype: modify\ndelete: member\nmember: cn=nobody\n"));
    assert_says(&connector.one(revoke("bob")), "failed", "bob is the last member");
    assert!(directory.can_read("bob"));
    let connector = connector.and(&["--empty-member", "uid=nobody,ou=people,dc=example,dc=com"]);
    assert_done(&connector.one(revoke("bob")));
    assert!(!directory.can_read("bob"));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), [""; 0]);
    assert_done(&connector.one(grant("bob")));
    assert_eq!(holders(&connector.one(list("group", &[ORDERS]))), ["bob"]);
}

#[test]
fn groups_of_other_classes() {
    let directory = Directory::start();
    let unique = "cn=unique,ou=groups,dc=example,dc=com";
    let connector = directory.connector().and(&["--attribute", "uniqueMember"]);
    let unix = "cn=unix,ou=groups,dc=example,dc=com";
    let by_login = directory.connector_as("cn=access,dc=example,dc=com").and(&["--memberuid"]);
    for (connector, group, value) in
        [(connector, unique, "uniqueMember: uid=bob,ou=people"), (by_login, unix, "memberUid: bob\n")]
    {
        assert_eq!(holders(&connector.one(list("group", &[group]))), [""; 0]);
        for _ in 0..2 {
            assert_done(&connector.one(act("grant", "bob", "group", group)));
        }
        assert!(directory.entry(group).contains(value));
        assert_eq!(holders(&connector.one(list("group", &[group]))), ["bob"]);
        for _ in 0..2 {
            assert_done(&connector.one(act("revoke", "bob", "group", group)));
        }
        assert!(!directory.entry(group).contains(value));
    }
}

#[test]
fn connections_are_encrypted_and_verified() {
    let directory = Directory::start();
    let ca = directory.folder().join("ca.pem");
    let ca = ["--ca-file", ca.to_str().unwrap()];
    let to = |url: &str| {
        let words = ["ldap", "--url", url, "--bind-dn", "cn=access,dc=example,dc=com", "--password-file"];
        Connector::new(&words).and(&[directory.password()]).and(&LOGIN_DN)
    };
    assert_done(&to(&directory.tls_url("localhost")).and(&ca).one(grant("bob")));
    assert_done(&to(&directory.url()).and(&ca).and(&["--starttls"]).one(revoke("bob")));
    assert_says(&to(&directory.tls_url("127.0.0.1")).and(&ca).one(grant("bob")), "failed", "certificate");
    assert_says(&to(&directory.tls_url("localhost")).one(grant("bob")), "failed", "certificate");
    assert_says(&to(&directory.url()).and(&["--starttls"]).one(grant("bob")), "failed", "certificate");
    assert!(to(&directory.url()).refuses().contains("is not encrypted (--starttls)"));
    assert!(!directory.can_read("bob"));
}

#[test]
fn passwords_that_are_wrong() {
    let directory = Directory::start();
    let file = private_file(&directory.folder().join("wrong"), "guess");
    let words = ["ldap", "--allow-plain", "--bind-dn", "cn=access,dc=example,dc=com", "--password-file"];
    let connector = Connector::new(&words).and(&[file.to_str().unwrap(), "--url", &directory.url()]).and(&LOGIN_DN);
    let answer = connector.one(grant("bob"));
    assert_says(&answer, "failed", "invalidCredentials");
    assert!(!answer.to_string().contains("guess"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(connector.refuses().contains("others can read"));
}

#[test]
fn a_directory_that_is_down_or_restarted() {
    let mut directory = Directory::start();
    let connector = directory.connector();
    let mut running = connector.open();
    assert_done(&running.one(&grant("bob")));
    directory.restart();
    assert_done(&running.one(&grant("carol")));
    assert!(directory.can_read("bob") && directory.can_read("carol"));
    directory.stop();
    for operation in [revoke("bob"), revoke("carol"), list("group", &[ORDERS])] {
        let answer = running.one(&operation);
        assert!(answer.get("later").is_some(), "{answer}");
    }
    running.end();
    assert_says(&connector.one(revoke("bob")), "later", "can't be reached");
    directory.restart();
    connector.run(&[revoke("bob"), revoke("carol")]).iter().for_each(assert_done);
    assert!(!directory.can_read("bob") && !directory.can_read("carol"));
}

#[test]
fn arguments_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let password = private_file(&folder.path().join("password"), "sesame");
    let bind = ["--bind-dn", "cn=access", "--password-file", password.to_str().unwrap()];
    for (words, says) in [
        (&["--url", "ldap:x"][..], "not valid"),
        (&["--url", "ldaps://"], "names no host"),
        (&["--url", "ldaps://:636"], "names no host"),
        (&["--url", "http://x"], "begins with"),
        (&["--url", "ldaps://cn=admin:hunter2@x"], "has a user"),
        (&["--url", "https://admin:hunter2@x"], "--url"),
        (&["--url", "admin:hunter2@x"], "--url"),
        (&["--url", "ldaps://x", "--starttls"], "--starttls"),
        (&["--url", "ldaps://x", "--attribute", "a;b"], "--attribute"),
        (&["--url", "ldaps://x", "--entry-class", "a b"], "--entry-class"),
        (&["--url", "ldaps://x", "--entry-class", "account", "--entry-naming", "u+d"], "--entry-naming"),
        (&["--url", "ldaps://x", "--entry-naming", "cn"], "--entry-class"),
        (&["--url", "ldaps://x", "--entry-class", "account", "--attribute", "member"], "--attribute"),
        (&["--url", "ldaps://x", "--login-dn", "uid=bob,dc=x"], "--login-dn is not valid"),
    ] {
        let mut connector = Connector::new(&["ldap"]).and(words).and(&bind);
        if !words.contains(&"--login-dn") {
            connector = connector.and(&LOGIN_DN);
        }
        let said = connector.refuses();
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
    let said = Connector::new(&["ldap", "--url", "ldaps://x"]).and(&LOGIN_DN).refuses();
    assert!(said.contains("--bind-dn and --password-file are missing"), "{said}");
    assert!(Connector::new(&["ldap", "--url", "ldaps://x"]).and(&bind).refuses().contains("--login-dn"));
}
