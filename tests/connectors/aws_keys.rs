//! Where the connectors for AWS find their keys: a file, or the role of an EC2 instance.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::aws::{ACCOUNT, Aws, python, server, stop};
use crate::{Connector, act, assert_done, assert_says, holders, list, private_file};

/// The metadata service of an instance.
struct Metadata {
    folder: TempDir,
    server: Option<Child>,
    port: u16,
}

impl Metadata {
    fn start(settings: &Value) -> Metadata {
        let folder = tempfile::tempdir().unwrap();
        let mut command = python();
        command.arg(server("metadata.py")).arg(private_file(&folder.path().join("settings"), &settings.to_string()));
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Metadata { folder, server: Some(server), port: line.trim().parse().unwrap() }
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("settings")
    }

    fn set(&self, settings: &Value) {
        let new = private_file(&self.folder.path().join("new"), &settings.to_string());
        std::fs::rename(new, self.settings()).unwrap();
    }

    fn used_by(&self, connector: &Connector) -> Connector {
        connector.and(&["--instance-role", "--metadata-url", &format!("http://127.0.0.1:{}", self.port)])
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        stop(&mut self.server);
    }
}

fn grant() -> Value {
    act("grant", "bob", "group", "orders")
}

#[test]
fn the_keys_of_an_instance_role() {
    let aws = Aws::start();
    aws.create("orders", &["bob"]);
    let keys = aws.keys_of_role("reconciler", &Aws::policy());
    let metadata = Metadata::start(&json!({ "role": "reconciler", "keys": keys }));
    let groups = metadata.used_by(&aws.group_connector());
    for answer in groups.run(&[grant(), act("revoke", "bob", "group", "orders"), grant()]) {
        assert_done(&answer);
    }
    assert_eq!(aws.groups_of("bob"), ["orders"]);

    aws.person("bob");
    let set = aws.permission_set("Operator");
    let center =
        Connector::new(&["aws-identity-center", "--region", "us-east-1", "--url", &aws.url(), "--allow-plain"]);
    let listed = json!({ "operation": "list", "parameters": [{ "account": ACCOUNT, "permission-set": set }] });
    assert_eq!(holders(&metadata.used_by(&center).one(listed)), [""; 0]);

    // Temporary keys of a file.
    let part = |name: &str| keys[name].as_str().unwrap().to_owned();
    let (id, secret, token) = (part("AccessKeyId"), part("SecretAccessKey"), part("Token"));
    let text = format!("[access]\naws_access_key_id={id}\naws_secret_access_key={secret}\naws_session_token={token}");
    let listed = aws.connector_with(&aws.file("temporary", &text)).one(list("group", &["orders"]));
    assert_eq!(holders(&listed), ["bob"]);
    let text = text.replace(&token, "another");
    let listed = aws.connector_with(&aws.file("temporary", &text)).one(list("group", &["orders"]));
    assert!(listed.get("failed").is_some() && !listed.to_string().contains("another"), "{listed}");
}

#[test]
fn an_instance_without_keys() {
    let aws = Aws::start();
    aws.create("orders", &["bob"]);
    let keys = aws.keys_of_role("weak", &json!({ "Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*" }));
    let mut metadata = Metadata::start(&json!({}));
    let connector = metadata.used_by(&aws.group_connector());
    for (settings, kind, says) in [
        (json!({}), "failed", "instance metadata: this instance has no role"),
        (json!({ "status": 403 }), "failed", "instance metadata: it answers 403: it may be turned off"),
        (json!({ "status": 503 }), "later", "instance metadata: it answers 503"),
        (json!({ "role": "weak", "keys": { "Code": "Failed" } }), "later", "the role has no keys yet"),
        (json!({ "role": "weak", "keys": keys }), "failed", "AccessDenied"),
    ] {
        metadata.set(&settings);
        for answer in connector.run(&[grant(), list("group", &["orders"])]) {
            assert_says(&answer, kind, says);
        }
    }
    stop(&mut metadata.server);
    assert_says(&connector.one(grant()), "later", "instance metadata: the service can't be reached");
    assert_eq!(aws.groups_of("bob"), [""; 0]);
}

#[test]
fn one_source_of_keys_has_to_be_named() {
    for name in ["aws-iam-group", "aws-identity-center"] {
        let connector = Connector::new(&[name, "--region", "us-east-1"]);
        assert!(connector.refuses().contains("--credentials-file"), "{name}");
        let both = connector.and(&["--instance-role", "--credentials-file", "/etc/access/aws"]);
        assert!(both.refuses().contains("cannot be used with"), "{name}");
    }
}
