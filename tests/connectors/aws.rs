//! An AWS on loopback: moto, less kind (tests/servers/aws.py). It checks signatures and policies.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Connector, Running, free_port, private_file, wait_until};

pub struct Aws {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    /// Of an administrator.
    keys: Value,
    /// A program with boto3, once it is needed.
    admin: Mutex<Option<Running>>,
    credentials: PathBuf,
    settings: PathBuf,
}

pub fn python() -> Command {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/bin/python");
    assert!(path.exists(), "{} is missing: run tests/python.sh", path.display());
    Command::new(path)
}

/// A server of tests/servers.
pub fn server(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

pub fn stop(server: &mut Option<Child>) {
    if let Some(mut server) = server.take() {
        kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        server.wait().unwrap();
    }
}

impl Aws {
    pub fn start() -> Aws {
        let folder = tempfile::tempdir().unwrap();
        let credentials = private_file(&folder.path().join("credentials"), "");
        let settings = private_file(&folder.path().join("settings"), "{}");
        let (keys, admin) = (Value::Null, Mutex::default());
        let mut aws = Aws { folder, port: free_port(), server: None, keys, admin, credentials, settings };
        aws.restart();
        aws
    }

    /// It keeps everything in memory.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = python();
        command.arg(server("aws.py")).arg(self.port.to_string()).arg(&self.settings);
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("moto starts", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        self.keys = json!({ "id": "first", "secret": "first" });
        let keys = self.key_of("root", &json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }));
        let connector = self.key_of("access", &Aws::policy());
        let (id, secret) = (connector["id"].as_str().unwrap(), connector["secret"].as_str().unwrap());
        let section = format!("[access]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n[other]\n");
        private_file(&self.credentials, &format!("[default]\nregion = x\n\n{section}"));
        // From here on it checks.
        ureq::post(format!("{}/moto-api/reset-auth", self.url())).send("0").unwrap();
        self.keys = keys;
    }

    pub fn stop(&mut self) {
        stop(&mut self.server);
    }

    /// How unkind it is from now on: tests/servers/aws.py has the keys.
    pub fn set(&self, settings: &Value) {
        let new = private_file(&self.folder.path().join("settings.new"), &settings.to_string());
        std::fs::rename(new, &self.settings).unwrap();
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What docs/connectors.md lets the connectors do, and nothing else.
    pub fn policy() -> Value {
        let words = include_str!("../../docs/connectors.md").split('"');
        let is_action = |word: &&str| {
            let name = ["iam:", "sso:", "identitystore:"].iter().find_map(|service| word.strip_prefix(service));
            name.is_some_and(|name| name.starts_with(char::is_uppercase))
        };
        let actions: Vec<&str> = words.filter(is_action).collect();
        assert!(actions.len() == 15, "{actions:?}");
        json!({ "Effect": "Allow", "Action": actions, "Resource": "*" })
    }

    /// A file that only its owner can read.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        private_file(&self.folder.path().join(name), text)
    }

    fn ask(&self, service: &str, action: &str, arguments: &Value) -> Value {
        let mut admin = self.admin.lock().unwrap();
        let admin = admin.get_or_insert_with(|| Running::start(python().arg(server("boto.py")).arg(self.url())));
        admin.one(&json!({ "keys": self.keys, "service": service, "action": action, "arguments": arguments }))
    }

    /// By IAM.
    pub fn call(&self, action: &str, arguments: &Value) -> Value {
        self.ask("iam", action, arguments)
    }

    /// Creates a user who may do this. Returns the access key.
    pub fn key_of(&self, user: &str, statement: &Value) -> Value {
        self.call("create_user", &json!({ "UserName": user }));
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        self.call("put_user_policy", &json!({ "UserName": user, "PolicyName": "x", "PolicyDocument": policy }));
        let key = &self.call("create_access_key", &json!({ "UserName": user }))["AccessKey"];
        json!({ "id": key["AccessKeyId"], "secret": key["SecretAccessKey"] })
    }

    /// Temporary keys of a role that may do this, as an instance gets them.
    pub fn keys_of_role(&self, role: &str, statement: &Value) -> Value {
        let trust = json!({ "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" }] });
        let created =
            self.call("create_role", &json!({ "RoleName": role, "AssumeRolePolicyDocument": trust.to_string() }));
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        self.call("put_role_policy", &json!({ "RoleName": role, "PolicyName": "x", "PolicyDocument": policy }));
        let arguments = json!({ "RoleArn": created["Role"]["Arn"], "RoleSessionName": "i-1" });
        let keys = self.ask("sts", "assume_role", &arguments)["Credentials"].clone();
        json!({ "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"], "Token": keys["SessionToken"], "Expiration": keys["Expiration"] })
    }

    pub fn create(&self, group: &str, users: &[&str]) {
        self.call("create_group", &json!({ "GroupName": group }));
        for user in users {
            self.call("create_user", &json!({ "UserName": user }));
        }
    }

    /// By AWS's own list.
    pub fn groups_of(&self, user: &str) -> Vec<String> {
        let answer = self.call("list_groups_for_user", &json!({ "UserName": user }));
        let groups = answer["Groups"].as_array().unwrap();
        groups.iter().map(|group| group["GroupName"].as_str().unwrap().to_owned()).collect()
    }

    /// The connector for groups of IAM.
    pub fn connector(&self) -> Connector {
        self.connector_with(&self.credentials)
    }

    pub fn connector_with(&self, credentials: &Path) -> Connector {
        self.group_connector().and(&["--credentials-file", credentials.to_str().unwrap(), "--profile", "access"])
    }

    /// Without keys.
    pub fn group_connector(&self) -> Connector {
        Connector::new(&["aws-iam-group", "--url", &self.url(), "--allow-plain"])
    }

    /// The connector for IAM Identity Center.
    pub fn center(&self) -> Connector {
        self.center_with(&self.credentials)
    }

    pub fn center_with(&self, credentials: &Path) -> Connector {
        let words = ["aws-identity-center", "--region", "us-east-1", "--url", &self.url(), "--allow-plain"];
        Connector::new(&words).and(&["--credentials-file", credentials.to_str().unwrap(), "--profile", "access"])
    }

    fn instance(&self) -> Value {
        self.ask("sso-admin", "list_instances", &json!({}))["Instances"][0].clone()
    }

    /// By Identity Center. The instance is added.
    pub fn sso(&self, action: &str, mut arguments: Value) -> Value {
        arguments["InstanceArn"] = self.instance()["InstanceArn"].clone();
        self.ask("sso-admin", action, &arguments)
    }

    /// By the identity store. The store is added.
    pub fn store(&self, action: &str, mut arguments: Value) -> Value {
        arguments["IdentityStoreId"] = self.instance()["IdentityStoreId"].clone();
        self.ask("identitystore", action, &arguments)
    }

    /// Creates a user of the identity store. Returns the ID.
    pub fn person(&self, name: &str) -> String {
        let full = json!({ "GivenName": name, "FamilyName": "x" });
        let user = self.store("create_user", json!({ "UserName": name, "DisplayName": name, "Name": full }));
        user["UserId"].as_str().unwrap().to_owned()
    }

    /// Creates a permission set. Returns the ARN.
    pub fn permission_set(&self, name: &str) -> String {
        let created = self.sso("create_permission_set", json!({ "Name": name }));
        created["PermissionSet"]["PermissionSetArn"].as_str().unwrap().to_owned()
    }

    /// Creates or deletes an assignment by hand.
    pub fn assign(&self, action: &str, permission_set: &str, kind: &str, id: &str) {
        let arguments = json!({ "TargetId": ACCOUNT, "TargetType": "AWS_ACCOUNT", "PermissionSetArn": permission_set,
            "PrincipalType": kind, "PrincipalId": id });
        self.sso(&format!("{action}_account_assignment"), arguments);
    }

    /// The IDs of all who have it in the account, by AWS's own list.
    pub fn assigned(&self, permission_set: &str) -> Vec<String> {
        let arguments = json!({ "AccountId": ACCOUNT, "PermissionSetArn": permission_set });
        let answer = self.sso("list_account_assignments", arguments);
        let assignments = answer["AccountAssignments"].as_array().unwrap();
        assignments.iter().map(|one| one["PrincipalId"].as_str().unwrap().to_owned()).collect()
    }
}

/// Where permission sets are assigned.
pub const ACCOUNT: &str = "123456789012";

impl Drop for Aws {
    fn drop(&mut self) {
        self.stop();
        // It may have ended with an error, which the test has shown.
        drop(
            self.admin.lock().unwrap().take().map(|Running { mut child, .. }| child.kill().and_then(|()| child.wait())),
        );
    }
}
