//! What the connector gives and takes in AWS, as moto plays it. moto checks signatures and policies here.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Connector, act, assert_done, assert_says, free_port, holders, list, private_file, run, wait_until};

pub struct Aws {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    /// Of an administrator.
    keys: Value,
    credentials: PathBuf,
}

fn python(name: &str) -> Command {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/python.sh", path.display());
    Command::new(path)
}

impl Aws {
    pub fn start() -> Aws {
        let folder = tempfile::tempdir().unwrap();
        let credentials = private_file(&folder.path().join("credentials"), "");
        let keys = json!({ "id": "first", "secret": "first" });
        let mut aws = Aws { folder, port: free_port(), server: None, keys, credentials };
        aws.restart();
        aws
    }

    /// It keeps everything in memory.
    fn restart(&mut self) {
        self.stop();
        let mut command = python("moto_server");
        command.args(["-p", &self.port.to_string()]);
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("moto starts", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        self.keys = json!({ "id": "first", "secret": "first" });
        let keys = self.key_of("root", &json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }));
        let ours = ["iam:GetGroup", "iam:AddUserToGroup", "iam:RemoveUserFromGroup"];
        let connector = self.key_of("access", &json!({ "Effect": "Allow", "Action": ours, "Resource": "*" }));
        let (id, secret) = (connector["id"].as_str().unwrap(), connector["secret"].as_str().unwrap());
        let section = format!("[access]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n[other]\n");
        private_file(&self.credentials, &format!("[default]\nregion = x\n\n{section}"));
        // From here on it checks.
        ureq::post(format!("{}/moto-api/reset-auth", self.url())).send("0").unwrap();
        self.keys = keys;
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
            server.wait().unwrap();
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn call(&self, action: &str, arguments: &Value) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/iam.py");
        let mut command = python("python");
        command.arg(script).args([&self.url(), &self.keys.to_string(), action, &arguments.to_string()]);
        serde_json::from_str(&run(&mut command)).unwrap()
    }

    /// Creates a user who may do this. Returns the access key.
    fn key_of(&self, user: &str, statement: &Value) -> Value {
        self.call("create_user", &json!({ "UserName": user }));
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        self.call("put_user_policy", &json!({ "UserName": user, "PolicyName": "x", "PolicyDocument": policy }));
        let key = &self.call("create_access_key", &json!({ "UserName": user }))["AccessKey"];
        json!({ "id": key["AccessKeyId"], "secret": key["SecretAccessKey"] })
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

    pub fn connector(&self) -> Connector {
        self.connector_with(&self.credentials)
    }

    fn connector_with(&self, credentials: &Path) -> Connector {
        let file = credentials.to_str().unwrap();
        let words = ["aws-iam-group", "--url", &self.url(), "--allow-plain", "--credentials-file", file];
        Connector::new(&words).and(&["--profile", "access"])
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.stop();
    }
}

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
    assert_done(&connector.one(act("revoke", "bob", "group", "gone")));
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
        aws.connector_with(&private_file(&aws.folder.path().join("other"), &text))
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
