//! What the connector gives and takes in AWS IAM Identity Center.

use serde_json::{Value, json};

use crate::aws::{ACCOUNT, Aws};
use crate::harness::{TEAM, World, shows};
use crate::{Connector, assert_done, assert_says, holders, with_input};

fn act(operation: &str, login: &str, permission_set: &str) -> Value {
    json!({ "operation": operation, "login": login, "request": 7, "until": null, "end_sessions": false, "key": "k",
        "parameters": { "account": ACCOUNT, "permission-set": permission_set } })
}

fn grant(login: &str) -> Value {
    act("grant", login, "Operator")
}

fn revoke(login: &str) -> Value {
    act("revoke", login, "Operator")
}

fn list(permission_sets: &[&str]) -> Value {
    let all = permission_sets.iter().map(|one| json!({ "account": ACCOUNT, "permission-set": one }));
    json!({ "operation": "list", "parameters": all.collect::<Vec<_>>() })
}

/// One run with a time limit of so many seconds.
fn within(seconds: u64, connector: &Connector, operation: &Value) -> Value {
    let ran = with_input(connector.command().env("ACCESS_TIMEOUT", seconds.to_string()), &format!("{operation}\n"));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn a_permission_set_is_assigned_and_taken_back() {
    let aws = Aws::start();
    let (bob, carol) = (aws.person("bob"), aws.person("carol"));
    let (other, set) = (aws.permission_set("Viewer"), aws.permission_set("Operator"));
    aws.assign("create", &set, "USER", &carol);
    let connector = aws.center();
    for name in ["Operator", &set] {
        assert_eq!(holders(&connector.one(list(&[name, "Viewer", "Gone"]))), ["carol"]);
        for done in [json!({}), json!({ "was_there": true })] {
            assert_eq!(connector.one(act("grant", "bob", name)), json!({ "done": done }));
            assert_eq!(aws.assigned(&set), [carol.clone(), bob.clone()]);
        }
        assert_eq!(holders(&connector.one(list(&[name]))), ["bob", "carol"]);
        assert_says(&connector.one(act("revoke", "bob", name))["done"], "note", "at most 12 hours");
        assert_eq!(connector.one(act("revoke", "bob", name)), json!({ "done": {} }));
        assert_eq!(aws.assigned(&set), std::slice::from_ref(&carol), "what was there before stays");
    }
    assert_eq!(aws.assigned(&other), [""; 0]);
}

/// AWS answers a change before it has made it, and refuses what is there already, or is not there, now or later.
#[test]
fn slow_changes_and_refused_duplicates() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    let connector = aws.center();
    for settings in [json!({ "slow": 3 }), json!({ "slow": 1, "accepts": true }), json!({ "slow": 2, "unknown": true })]
    {
        aws.set(&settings);
        assert_done(&connector.one(grant("bob")));
        assert_eq!(aws.assigned(&set), std::slice::from_ref(&bob), "{settings}");
        assert_done(&connector.one(grant("bob")));
        assert_eq!(aws.assigned(&set), std::slice::from_ref(&bob), "{settings}");
        for _ in 0..2 {
            assert_done(&connector.one(revoke("bob")));
            assert_eq!(aws.assigned(&set), [""; 0], "{settings}");
        }
    }
}

#[test]
fn a_change_that_fails_says_why() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    aws.set(&json!({ "slow": 1, "fail": "the account\nis suspended" }));
    assert_says(&aws.center().one(grant("bob")), "failed", "AWS could not do it: the accountis suspended");
    aws.set(&json!({}));
    assert_done(&aws.center().one(grant("bob")));
    aws.set(&json!({ "fail": "the role is protected" }));
    assert_says(&aws.center().one(revoke("bob")), "failed", "AWS could not do it: the role is protected");
    assert_eq!(aws.assigned(&set), [bob]);
}

/// What AWS has not finished is neither given nor taken back, whatever the list says at that moment.
#[test]
fn a_change_that_takes_longer_than_the_run_is_for_later() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    let connector = aws.center();
    let endless = json!({ "slow": 1000, "page": 1 });
    aws.set(&endless);
    assert_says(&within(2, &connector, &grant("bob")), "later", "has not finished the change yet");
    // It is not there, and will be.
    for operation in [revoke("bob"), grant("bob")] {
        assert_says(&within(2, &connector, &operation), "later", "has not finished an earlier change yet");
    }
    aws.set(&json!({}));
    assert_eq!(aws.assigned(&set), std::slice::from_ref(&bob));
    aws.set(&endless);
    assert_says(&within(2, &connector, &revoke("bob")), "later", "has not finished the change yet");
    // It is there, and will not be.
    for operation in [grant("bob"), revoke("bob")] {
        assert_says(&within(2, &connector, &operation), "later", "has not finished an earlier change yet");
    }
    aws.set(&json!({}));
    assert_eq!(aws.assigned(&set), [""; 0]);
    assert_done(&connector.one(revoke("bob")));
    assert_done(&connector.one(grant("bob")));
    assert_eq!(aws.assigned(&set), [bob]);
}

#[test]
fn too_many_requests_are_tried_again_within_the_time_limit() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    aws.set(&json!({ "throttled": 3 }));
    assert_done(&aws.center().one(grant("bob")));
    assert_eq!(aws.assigned(&set), [bob]);
    aws.set(&json!({ "throttled": 1000 }));
    for operation in [list(&["Operator"]), revoke("bob")] {
        assert_says(&within(1, &aws.center(), &operation), "later", "ThrottlingException");
    }
}

#[test]
fn lists_of_many_pages_and_principals_of_every_kind() {
    let aws = Aws::start();
    let (bob, zoe) = (aws.person("bob@example.com"), aws.person("Zoe@example.com"));
    let visitor = aws.person("visitor@partner.example");
    let group = aws.store("create_group", json!({ "DisplayName": "orders" }))["GroupId"].as_str().unwrap().to_owned();
    let sets = ["First", "Second", "Operator"].map(|name| aws.permission_set(name));
    for (kind, id) in [("GROUP", &group), ("USER", &bob), ("USER", &zoe), ("USER", &visitor)] {
        aws.assign("create", &sets[2], kind, id);
    }
    // A user of the same ID as a group is none of its members.
    aws.assign("create", &sets[1], "GROUP", &bob);
    aws.store("delete_user", json!({ "UserId": zoe }));
    let connector = aws.center().and(&["--user-name", "{login}@example.com"]);
    let gone = format!("user={zoe}");
    for page in [1, 2, 3, 100] {
        aws.set(&json!({ "page": page }));
        let listed = holders(&connector.one(list(&["Operator", "Second", "First"])));
        assert_eq!(listed, ["bob", &gone, "user=visitor@partner.example"], "pages of {page}");
    }
    assert_done(&connector.one(revoke("bob")));
    assert_eq!(aws.assigned(&sets[2]), [group, zoe, visitor], "only what the user has without a group");
}

#[test]
fn what_is_not_there() {
    let aws = Aws::start();
    aws.person("bob");
    aws.person("Carol");
    let set = aws.permission_set("Operator");
    let connector = aws.center();
    assert_says(&connector.one(grant("dave")), "failed", "there is no user dave");
    // AWS ignores the case of a name.
    assert_says(&connector.one(grant("carol")), "failed", "there is no user carol");
    assert_says(&connector.one(act("grant", "bob", "operator")), "failed", "there is no permission set operator");
    assert_done(&connector.one(revoke("dave")));
    assert_done(&connector.one(act("revoke", "bob", "Gone")));
    assert_eq!(aws.assigned(&set), [""; 0]);
    let with = |parameters: Value| {
        let mut operation = grant("bob");
        operation["parameters"] = parameters;
        operation
    };
    for (parameters, says) in [
        (json!({ "account": ACCOUNT }), "the parameter permission-set is missing"),
        (json!({ "permission-set": "Operator" }), "the parameter account is missing"),
        (json!({ "account": "12345678901", "permission-set": "Operator" }), "the parameter account has 12 digits"),
        (json!({ "account": "*", "permission-set": "Operator" }), "the parameter account has 12 digits"),
        (json!({ "account": ACCOUNT, "permission-set": "Operator", "role": "x" }), "takes account and permission-set"),
    ] {
        assert_says(&connector.one(with(parameters.clone())), "failed", says);
        assert_eq!(holders(&connector.one(json!({ "operation": "list", "parameters": [parameters] }))), [""; 0]);
    }
}

#[test]
fn a_user_who_was_renamed_is_reported_and_not_taken_for_gone() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    let connector = aws.center().and(&["--user-name", "{login}"]);
    assert_done(&connector.one(grant("bob")));
    // moto can't rename: another user has the assignment, and bob is gone.
    let renamed = aws.person("bobby");
    aws.assign("create", &set, "USER", &renamed);
    aws.assign("delete", &set, "USER", &bob);
    aws.store("delete_user", json!({ "UserId": bob }));
    assert_eq!(holders(&connector.one(list(&["Operator"]))), ["bobby"]);
    assert_says(&connector.one(revoke("bob")), "failed", "there is no user bob any more; if it was renamed");
    assert_eq!(aws.assigned(&set), [renamed]);
}

#[test]
fn keys_that_do_not_fit_or_may_not() {
    let aws = Aws::start();
    aws.person("bob");
    aws.permission_set("Operator");
    let weak = aws.key_of("weak", &json!({ "Effect": "Allow", "Action": "sso:ListInstances", "Resource": "*" }));
    let connector = |secret: &str| {
        let id = weak["id"].as_str().unwrap();
        let text = format!("[access]\naws_access_key_id={id}\naws_secret_access_key={secret}");
        aws.center_with(&aws.file("other", &text))
    };
    for operation in [list(&["Operator"]), grant("bob"), revoke("bob")] {
        let answer = connector(weak["secret"].as_str().unwrap()).one(operation.clone());
        assert_says(&answer, "failed", "AccessDenied");
        let answer = connector("guess").one(operation);
        assert_says(&answer, "failed", "Signature");
        assert!(!answer.to_string().contains("guess"));
    }
    let another = aws.center().and(&["--instance", "arn:aws:sso:::instance/ssoins-0123456789abcdef"]);
    assert_says(&another.one(list(&["Operator"])), "failed", "check --region and --instance");
}

#[test]
fn a_cloud_that_is_down_or_restarted_between_grant_and_revoke() {
    let mut aws = Aws::start();
    aws.person("bob");
    aws.permission_set("Operator");
    assert_done(&aws.center().one(grant("bob")));
    aws.stop();
    for answer in aws.center().run(&[revoke("bob"), list(&["Operator"]), grant("bob")]) {
        assert!(answer.get("later").is_some(), "{answer}");
    }
    aws.restart();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    aws.assign("create", &set, "USER", &bob);
    assert_done(&aws.center().one(revoke("bob")));
    assert_eq!(aws.assigned(&set), [""; 0]);
}

#[test]
fn arguments_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[default]\naws_access_key_id = x\naws_secret_access_key = y\n";
    let file = crate::private_file(&folder.path().join("credentials"), text);
    for (words, says) in [
        (&[][..], "--region"),
        (&["--region", "x.example/"], "--region is not valid"),
        (&["--region", "us-east-1", "--url", "http://sso.example"], "is not encrypted"),
        (&["--region", "us-east-1", "--user-name", "bob"], "--user-name"),
    ] {
        let connector = Connector::new(&["aws-identity-center", "--credentials-file", file.to_str().unwrap()]);
        let said = connector.and(words).refuses();
        assert!(said.contains(says), "{said}");
    }
}

/// The reconciler's own view of a change that outlasts its runs.
#[test]
fn the_next_run_takes_up_what_aws_had_not_finished() {
    let aws = Aws::start();
    let bob = aws.person("bob");
    let set = aws.permission_set("Operator");
    let world = World::sample();
    let words = [vec![env!("CARGO_BIN_EXE_access").to_owned(), "connector".to_owned()], aws.center().0].concat();
    let allow = format!("{{ account = [{ACCOUNT:?}], permission-set = [\"Operator\"] }}");
    let text = format!("[[connectors]]\nname = \"cloud\"\ncommand = {words:?}\nallow = {allow}\ntimeout = \"4s\"\n");
    let folder = world.folder().join(".config/access");
    std::fs::create_dir_all(&folder).unwrap();
    let binding = format!(
        "\n[[bindings]]\nresource = \"target:orders-db\"\nconnector = \"cloud\"\naccount = {ACCOUNT:?}\npermission-set = \"Operator\"\n"
    );
    world.apply("olivia", &format!("{TEAM}{binding}")).ok();
    let id = world.grant("bob", "target:orders-db", "alice", &["--duration", "1h"]);
    // Only now, so that no run is in the background.
    std::fs::write(folder.join("config.toml"), text).unwrap();
    let state = |expected: &str| {
        let shown = world.json("olivia", &["show", &id]);
        shows(&shown["grant"]["provisioning"][0], &json!({ "connector": "cloud", "state": expected }));
    };
    aws.set(&json!({ "slow": 1000 }));
    world.run("root", &["reconcile", "--fix"]).exits(1);
    aws.set(&json!({}));
    assert_eq!(aws.assigned(&set), std::slice::from_ref(&bob));
    world.run("root", &["reconcile", "--fix"]).ok();
    state("granted");

    aws.set(&json!({ "slow": 1000 }));
    world.pass("61m");
    let ran = world.run("root", &["expire", "--no-deliver"]).exits(1);
    assert!(ran.err.contains("bob STILL HAS"), "{}", ran.err);
    aws.set(&json!({}));
    assert_eq!(aws.assigned(&set), [""; 0]);
    world.run("root", &["expire", "--no-deliver"]).ok();
    state("revoked");
    world.run("olivia", &["audit", "verify"]).ok();
}
