//! What the connector gives and takes in a SCIM service, with scim2-server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Connector, act, assert_done, assert_says, free_port, holders, list, private_file, wait_until};

pub struct Service {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    token: PathBuf,
}

const TOKEN: &str = "sesame";

impl Service {
    pub fn start() -> Service {
        let folder = tempfile::tempdir().unwrap();
        let token = private_file(&folder.path().join("token"), TOKEN);
        let mut service = Service { folder, port: free_port(), server: None, token };
        service.restart();
        service
    }

    /// It keeps everything in memory.
    fn restart(&mut self) {
        self.stop();
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/bin/scim2-server");
        assert!(python.exists(), "{} is missing: run tests/python.sh", python.display());
        let mut command = Command::new(python);
        command.args(["--port", &self.port.to_string(), "--bearer-token", TOKEN]);
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the SCIM server starts", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
            server.wait().unwrap();
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v2", self.port)
    }

    pub fn connector(&self) -> Connector {
        let words = ["scim", "--url", &self.url(), "--allow-plain", "--token-file", self.token.to_str().unwrap()];
        Connector::new(&words)
    }

    fn ask(&self, path: &str) -> Value {
        let request = ureq::get(format!("{}{path}", self.url())).header("authorization", format!("Bearer {TOKEN}"));
        serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Returns its id.
    fn create(&self, path: &str, resource: &Value) -> String {
        let request = ureq::post(format!("{}{path}", self.url())).header("authorization", format!("Bearer {TOKEN}"));
        let request = request.header("content-type", "application/scim+json");
        let answer = request.send(resource.to_string()).unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub fn user(&self, name: &str) -> String {
        self.create("/Users", &json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name }))
    }

    fn rename(&self, kind: &str, id: &str, attribute: &str, name: &str) {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": attribute, "value": name }] });
        let request = ureq::patch(format!("{}/{kind}/{id}", self.url()));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        request.header("content-type", "application/scim+json").send(body.to_string()).unwrap();
    }

    pub fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        self.create(
            "/Groups",
            &json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members }),
        )
    }

    pub fn replace_members(&self, group: &str, ids: &[&str]) {
        let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": "members", "value": members }] });
        let request = ureq::patch(format!("{}/Groups/{group}", self.url()));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        request.header("content-type", "application/scim+json").send(body.to_string()).unwrap();
    }

    /// The ids of a group's members, by the service's own list.
    pub fn members(&self, group: &str) -> Vec<String> {
        let group = self.ask(&format!("/Groups/{group}"));
        let members = group["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_member_is_added_and_removed() {
    let service = Service::start();
    let (bob, carol) = (service.user("bob"), service.user("carol"));
    let group = service.group("orders", &[&carol]);
    let connector = service.connector();
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["carol"]);
    for answer in [json!({}), json!({ "was_there": true })] {
        assert_eq!(connector.one(act("grant", "bob", "group", "orders")), json!({ "done": answer }));
        assert_eq!(service.members(&group), [carol.clone(), bob.clone()]);
    }
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["bob", "carol"]);
    for _ in 0..2 {
        assert_done(&connector.one(act("revoke", "bob", "group", "orders")));
        assert_eq!(service.members(&group), std::slice::from_ref(&carol), "what was there before stays");
    }
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["carol"]);
}

#[test]
fn a_group_by_its_id() {
    let service = Service::start();
    let bob = service.user("bob");
    let (first, second) = (service.group("twins", &[]), service.group("twins", &[]));
    let connector = service.connector();
    assert_says(&connector.one(act("grant", "bob", "group", "twins")), "failed", "2 groups are named twins");
    assert_done(&connector.one(act("grant", "bob", "group", &second)));
    assert_eq!((service.members(&first).len(), service.members(&second)), (0, vec![bob]));
    assert_eq!(holders(&connector.one(list("group", &[&first, &second]))), ["bob"]);
    // A group that is named like the id of another does not take its place.
    let trap = service.group(&second, &[]);
    let carol = service.user("carol");
    assert_done(&connector.one(act("grant", "carol", "group", &second)));
    assert_eq!(holders(&connector.one(list("group", &[&second]))), ["bob", "carol"]);
    assert_done(&connector.one(act("revoke", "bob", "group", &second)));
    assert_eq!((service.members(&trap).len(), service.members(&second)), (0, vec![carol]));
}

/// Its members keep what it gives.
#[test]
fn a_group_that_was_renamed_is_not_taken_for_gone() {
    let service = Service::start();
    let bob = service.user("bob");
    let group = service.group("orders", &[]);
    let connector = service.connector();
    assert_done(&connector.one(act("grant", "bob", "group", "orders")));
    service.rename("Groups", &group, "displayName", "orders-old");
    assert_says(&connector.one(act("revoke", "bob", "group", "orders")), "later", "there is no group orders now");
    assert_eq!(service.members(&group), [bob]);
    service.rename("Groups", &group, "displayName", "orders");
    assert_done(&connector.one(act("revoke", "bob", "group", "orders")));
    assert_eq!(service.members(&group), [""; 0]);
}

#[test]
fn odd_logins_and_groups() {
    let service = Service::start();
    let longest = "x".repeat(63);
    let mut logins = ["o'brien", "a\"b", "a\\b", "Zoe", "sélect", "a&b=c", "x%20y", "1000", "a)or(b", &longest];
    for login in logins {
        service.user(&format!("{login}@example.com"));
    }
    logins.sort_unstable();
    let connector = service.connector().and(&["--user-name", "{login}@example.com"]);
    for name in ["orders & \"more\" ?x=1#y", "Größe"] {
        let group = service.group(name, &[]);
        let all = |operation| logins.map(|login| act(operation, login, "group", name));
        connector.run(&all("grant")).iter().for_each(assert_done);
        assert_eq!(holders(&connector.one(list("group", &[name]))), logins);
        connector.run(&all("revoke")).iter().for_each(assert_done);
        assert_eq!(service.members(&group), [""; 0]);
    }
    // A service ignores the case of a userName.
    service.group("orders", &[]);
    assert_says(&connector.one(act("grant", "zoe", "group", "orders")), "failed", "there is no user zoe@example.com");
}

#[test]
fn users_and_groups_that_are_not_there() {
    let service = Service::start();
    service.user("bob");
    let orders = service.group("orders", &[]);
    let wrapper = service.group("wrapper", &[&orders]);
    let connector = service.connector();
    assert_says(&connector.one(act("grant", "dave", "group", "orders")), "failed", "there is no user dave");
    assert_says(&connector.one(act("grant", "bob", "group", "gone")), "failed", "there is no group gone");
    assert_says(&connector.one(act("grant", "bob", "group", "Orders")), "failed", "there is no group Orders");
    assert_eq!(connector.one(act("revoke", "dave", "group", "orders")), json!({ "done": {} }));
    // It may have another name now.
    assert_says(&connector.one(act("revoke", "bob", "group", "gone")), "later", "there is no group gone now");
    // A group in a group is no login.
    assert_eq!(service.members(&wrapper), [orders]);
    assert_eq!(holders(&connector.one(list("group", &["gone", "orders", "wrapper"]))), [""; 0]);
}

/// A member who renames themselves keeps the membership, so it must not count as taken back.
#[test]
fn a_user_who_was_renamed_is_reported_and_not_taken_for_gone() {
    let service = Service::start();
    let bob = service.user("bob@example.com");
    let group = service.group("orders", &[]);
    let connector = service.connector().and(&["--user-name", "{login}@example.com"]);
    assert_done(&connector.one(act("grant", "bob", "group", "orders")));
    service.rename("Users", &bob, "userName", "bobby@corp.example");
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["user=bobby@corp.example"]);
    let answer = connector.one(act("revoke", "bob", "group", "orders"));
    assert_says(&answer, "failed", "there is no user bob@example.com any more; if it was renamed");
    assert_eq!(service.members(&group), std::slice::from_ref(&bob));
    // The name of another login is not taken for that login.
    service.rename("Users", &bob, "userName", "carol");
    assert_eq!(holders(&connector.one(list("group", &["orders"]))), ["user=carol"]);
    service.rename("Users", &bob, "userName", "bob@example.com");
    assert_done(&connector.one(act("revoke", "bob", "group", "orders")));
    assert_eq!(service.members(&group), [""; 0]);
    service.rename("Users", &bob, "userName", "bobby@corp.example");
    assert_done(&connector.one(act("revoke", "bob", "group", "orders")));
}

#[test]
fn many_members_are_listed_in_few_requests() {
    let service = Service::start();
    let ids: Vec<String> = (0..100).map(|number| service.user(&format!("member{number:03}"))).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    service.group("orders", &ids);
    let listed = holders(&service.connector().one(list("group", &["orders"])));
    assert_eq!((listed.len(), listed[99].as_str()), (100, "member099"));
}

#[test]
fn a_service_that_is_down_restarted_or_refuses() {
    let mut service = Service::start();
    let bob = service.user("bob");
    service.group("orders", &[]);
    let mut running = service.connector().open();
    assert_done(&running.one(&act("grant", "bob", "group", "orders")));
    service.stop();
    for operation in [act("revoke", "bob", "group", "orders"), list("group", &["orders"])] {
        let answer = running.one(&operation);
        assert!(answer.get("later").is_some(), "{answer}");
    }
    running.end();
    let answer = service.connector().one(act("revoke", "bob", "group", "orders"));
    assert!(answer.get("later").is_some(), "{answer}");
    service.restart();
    let bob_again = service.user("bob");
    assert_ne!(bob, bob_again);
    let group = service.group("orders", &[&bob_again]);
    assert_done(&service.connector().one(act("revoke", "bob", "group", "orders")));
    assert_eq!(service.members(&group), [""; 0]);

    let wrong = private_file(&service.folder.path().join("wrong"), "guess");
    let words = ["scim", "--url", &service.url(), "--allow-plain", "--token-file", wrong.to_str().unwrap()];
    let answer = Connector::new(&words).one(act("grant", "bob", "group", "orders"));
    assert_says(&answer, "failed", "401");
    assert!(!answer.to_string().contains("guess"));
    let words = ["scim", "--url", &format!("{}/elsewhere", service.url()), "--allow-plain", "--token-file"];
    let elsewhere = Connector::new(&words).and(&[service.token.to_str().unwrap()]);
    for operation in [list("group", &["orders"]), act("revoke", "bob", "group", "orders")] {
        assert_says(&elsewhere.one(operation), "failed", "the service answers");
    }
}

#[test]
fn arguments_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let token = private_file(&folder.path().join("token"), TOKEN);
    let with =
        |words: &[&str]| Connector::new(&["scim"]).and(words).and(&["--token-file", token.to_str().unwrap()]).refuses();
    for (words, says) in [
        (&["--url", "http://id.example/v2"][..], "is not encrypted"),
        (&["--url", "ftp://id.example/v2"], "begins with https://"),
        (&["--url", "id.example"], "begins with https://"),
        (&["--url", "https://bob:hunter2@id.example/v2"], "is not valid"),
        (&["--url", "http://bob:hunter2@id.example/v2"], "is not encrypted"),
        (&["--url", "bob:hunter2@id.example/v2"], "--url"),
        (&["--url", "https://id.example/v2?x=y"], "is not valid"),
        (&["--url", "https://id.example/v2", "--user-name", "bob"], "--user-name"),
    ] {
        let said = with(words);
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
}
