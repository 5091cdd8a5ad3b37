//! What the connector gives and takes in groups of AWS IAM.

use serde_json::{Value, json};

use crate::aws::Aws;
use crate::{Connector, act, assert_done, assert_says, holders, list, private_file};

fn grant(login: &str) -> Value {
    act("grant", login, "group", "orders")
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "group", "orders")
}

#[test]
fn a_user_is_added_and_removed() {
    let aws = Aws::start();
    aws.create("orders", &["bob", "carol"]);
    aws.call("add_user_to_group", &json!({ "GroupName": "orders", "UserName": "carol" }));
    let connector = aws.connector();
    assert_eq!(holders(&connector.one(list("group", &["orders", "gone"]))), ["carol"]);
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(connector.one(grant("bob")), json!({ "done": answer }));
        assert_eq!(aws.groups_of("bob"), ["orders"]);
    }
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["bob", "carol"]);
    for _ in 0..2 {
        assert_eq!(connector.one(revoke("bob")), json!({ "done": {} }));
        assert_eq!(aws.groups_of("bob"), [""; 0]);
    }
    assert_eq!(aws.groups_of("carol"), ["orders"], "what was there before stays");
}

#[test]
fn a_group_of_many_pages() {
    let aws = Aws::start();
    let users = ["a", "b", "c", "d", "e"];
    aws.create("orders", &users);
    for user in users {
        aws.call("add_user_to_group", &json!({ "GroupName": "orders", "UserName": user }));
    }
    for page in [1, 2, 5, 6] {
        aws.set(&json!({ "page": page }));
        assert_eq!(holders(&aws.connector().one(list("group", &["orders"]))), users, "pages of {page}");
    }
}

#[test]
fn odd_names_are_signed_as_they_are() {
    let aws = Aws::start();
    let longest = "x".repeat(63);
    let mut users = ["a+b=c", "d,e", "f@g.example", "Zoe", "h_i-j", &longest];
    aws.create("orders", &users);
    users.sort_unstable();
    // A login has no comma.
    let logins: Vec<&str> = users.into_iter().filter(|user| !user.contains(',')).collect();
    let connector = aws.connector();
    let grants: Vec<Value> = logins.iter().map(|login| grant(login)).collect();
    connector.run(&grants).iter().for_each(assert_done);
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), logins);
    assert_eq!(aws.groups_of("d,e"), [""; 0]);
    let by_mail = connector.and(&["--user-name", "{login}@g.example"]);
    let mut expected: Vec<String> =
        logins.iter().map(|name| format!("user={name}").replace("user=f@g.example", "f")).collect();
    expected.sort();
    assert_eq!(holders(&by_mail.one(list("group", &["orders"]))), expected);
    for answer in connector.run(&["a&Action=DeleteGroup", "a'b", "é"].map(grant)) {
        assert!(answer.get("failed").is_some(), "{answer}");
    }
    let revokes: Vec<Value> = logins.iter().map(|login| revoke(login)).collect();
    connector.run(&revokes).iter().for_each(assert_done);
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), [""; 0]);
}

#[test]
fn users_and_groups_that_are_not_there() {
    let aws = Aws::start();
    aws.create("orders", &["bob"]);
    let connector = aws.connector();
    assert_says(&connector.one(grant("dave")), "failed", "dave");
    assert_says(&connector.one(act("grant", "bob", "group", "gone")), "failed", "gone");
    assert_done(&connector.one(revoke("dave")));
    // It may have another name now.
    assert_says(&connector.one(act("revoke", "bob", "group", "gone")), "later", "there is no group gone now");
}

#[test]
fn a_user_who_was_renamed_is_reported_and_not_taken_for_gone() {
    let aws = Aws::start();
    aws.create("orders", &["bob.x", "carol.x"]);
    aws.call("add_user_to_group", &json!({ "GroupName": "orders", "UserName": "carol.x" }));
    let connector = aws.connector().and(&["--user-name", "{login}.x"]);
    assert_done(&connector.one(grant("bob")));
    aws.call("update_user", &json!({ "UserName": "bob.x", "NewUserName": "bobby" }));
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["carol", "user=bobby"]);
    assert_says(&connector.one(revoke("bob")), "failed", "there is no user bob.x any more; if it was renamed");
    assert_eq!(aws.groups_of("bobby"), ["orders"]);
    aws.call("update_user", &json!({ "UserName": "bobby", "NewUserName": "bob.x" }));
    for _ in 0..2 {
        assert_done(&connector.one(revoke("bob")));
    }
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["carol"]);
}

#[test]
fn keys_that_do_not_fit_or_may_not() {
    let aws = Aws::start();
    aws.create("orders", &["bob"]);
    let weak = aws.key_of("weak", &json!({ "Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*" }));
    let connector = |id: &str, secret: &str| {
        let text = format!("[access]\naws_access_key_id={id}\naws_secret_access_key={secret}");
        aws.connector_with(&aws.file("other", &text))
    };
    let (id, secret) = (weak["id"].as_str().unwrap(), weak["secret"].as_str().unwrap());
    for operation in [list("group", &["orders"]), grant("bob"), revoke("bob")] {
        let answer = connector(id, secret).one(operation.clone());
        assert_says(&answer, "failed", "AccessDenied");
        let answer = connector(id, "guess").one(operation);
        assert_says(&answer, "failed", "SignatureDoesNotMatch");
        assert!(!answer.to_string().contains("guess"));
    }
    assert_says(&connector("unknown", "x").one(grant("bob")), "failed", "InvalidClientTokenId");
}

#[test]
fn a_cloud_that_is_down_or_restarted() {
    let mut aws = Aws::start();
    aws.create("orders", &["bob"]);
    assert_done(&aws.connector().one(grant("bob")));
    aws.stop();
    for answer in aws.connector().run(&[revoke("bob"), list("group", &["orders"])]) {
        assert!(answer.get("later").is_some(), "{answer}");
    }
    aws.restart();
    aws.create("orders", &["bob"]);
    aws.call("add_user_to_group", &json!({ "GroupName": "orders", "UserName": "bob" }));
    assert_done(&aws.connector().one(revoke("bob")));
    assert_eq!(aws.groups_of("bob"), [""; 0]);
}

#[test]
fn arguments_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[default]\naws_access_key_id = x\n[access]\naws_access_key_id = x\naws_secret_access_key = y\n";
    let file = private_file(&folder.path().join("credentials"), text);
    for (words, says) in [
        (&[][..], "the section [default] has no access key"),
        (&["--profile", "gone"], "the section [gone] has no access key"),
        (&["--profile", "access", "--url", "http://iam.example"], "is not encrypted"),
        (&["--profile", "access", "--user-name", "bob"], "--user-name"),
    ] {
        let said =
            Connector::new(&["aws-iam-group", "--credentials-file", file.to_str().unwrap()]).and(words).refuses();
        assert!(said.contains(says), "{said}");
    }
}
