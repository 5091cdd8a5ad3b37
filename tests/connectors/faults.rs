//! Servers that take a request and lose the answer, or give only a part of it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::directory::Directory;
use crate::postgres_cluster::Cluster;
use crate::{Connector, act, assert_done, assert_says, certificates, free_port, list, private_file, wait_until};

/// Serves each connection with this, on a thread that ends with the tests. Returns the port.
pub fn serve(each: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(each));
    port
}

/// A service on the web that answers every request with these bytes, and then closes the connection.
pub fn website(answer: Vec<u8>) -> u16 {
    serve(move |mut stream| {
        let mut request = [0; 65536];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(&answer);
    })
}

pub fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body]
        .concat()
}

pub fn scim(port: u16, folder: &std::path::Path) -> Connector {
    let token = private_file(&folder.join("token"), "sesame");
    let url = format!("http://127.0.0.1:{port}");
    Connector::new(&["scim", "--url", &url, "--allow-plain", "--token-file", token.to_str().unwrap()])
}

pub fn aws(port: u16, folder: &std::path::Path) -> Connector {
    let text = "[default]\naws_access_key_id = x\naws_secret_access_key = y\n";
    let file = private_file(&folder.join("credentials"), text);
    let url = format!("http://127.0.0.1:{port}");
    Connector::new(&["aws-iam-group", "--url", &url, "--allow-plain", "--credentials-file", file.to_str().unwrap()])
}

/// IAM Identity Center, in the place of IAM.
pub fn center(port: u16, folder: &std::path::Path) -> Connector {
    let Connector(mut words) = aws(port, folder);
    words[0] = "aws-identity-center".to_owned();
    Connector(words).and(&["--region", "us-east-1"])
}

pub fn assignment(operation: &str) -> Value {
    let mut act = act(operation, "bob", "account", "123456789012");
    act["parameters"]["permission-set"] = "arn:aws:sso:::permissionSet/ssoins-x/ps-x".into();
    act
}

#[test]
fn a_request_whose_answer_is_lost_is_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let long_header = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\n{{}}", "x".repeat(1 << 20));
    for answer in [
        Vec::new(),
        b"HTTP/1.1 200".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        ok(b"\xff\xfe"),
        ok(&vec![b' '; (16 << 20) + 1]),
        long_header.into_bytes(),
    ] {
        let begin = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let port = website(answer);
        for connector in [scim(port, folder.path()), aws(port, folder.path())] {
            for operation in ["grant", "revoke"] {
                let said = connector.one(act(operation, "bob", "group", "orders"));
                assert!(said.get("later").is_some(), "{begin:?}: {said}");
            }
        }
        for operation in ["grant", "revoke"] {
            let said = center(port, folder.path()).one(assignment(operation));
            assert!(said.get("later").is_some(), "{begin:?}: {said}");
        }
    }
}

/// Nothing was sent there.
#[test]
fn a_service_whose_certificate_is_not_trusted_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let port = free_port().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &port, "-cert", "cert.pem", "-key", "key.pem", "-quiet"]);
    let mut server = command.current_dir(folder.path()).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("openssl starts", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let token = private_file(&folder.path().join("token"), "sesame");
    let url = format!("https://localhost:{port}");
    let connector = Connector::new(&["scim", "--url", &url, "--token-file", token.to_str().unwrap()]);
    let said = connector.one(act("grant", "bob", "group", "orders"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_says(&said, "failed", "certificate");
}

#[test]
fn a_service_that_gives_only_a_part_of_a_list_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    // Also a group of that id.
    let body: Value = json!({ "id": "other", "totalResults": 2, "itemsPerPage": 1, "startIndex": 1,
        "Resources": [{ "id": "1", "displayName": "Orders", "userName": "Bob" }] });
    let connector = scim(website(ok(body.to_string().as_bytes())), folder.path());
    for operation in
        [list("group", &["orders"]), act("grant", "bob", "group", "orders"), act("revoke", "bob", "group", "orders")]
    {
        assert_says(&connector.one(operation), "failed", "returns 1 of 2");
    }
    // A group that says that there is more, and not where. A page that names itself as the next.
    let group = "<GetGroupResponse><UserName>bob</UserName><IsTruncated>true</IsTruncated></GetGroupResponse>";
    let again = group.replace("<IsTr", "<Marker>1</Marker><IsTr");
    for body in [group, &again] {
        let connector = aws(website(ok(body.as_bytes())), folder.path());
        assert_says(&connector.one(list("group", &["orders"])), "failed", "returns only a part of the group orders");
    }
    let page = json!({ "Instances": [], "NextToken": "x" });
    let connector = center(website(ok(page.to_string().as_bytes())), folder.path());
    assert_says(&connector.one(assignment("revoke")), "failed", "returns only a part of Instances");
}

/// Passes everything on to a server of this machine. Once the switch is on, rubbish comes back instead of answers.
fn garbling(server: u16) -> (u16, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let port = serve(move |mut client| {
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let is_on = Arc::clone(&is_on);
        std::thread::spawn(move || {
            let mut answer = [0; 65536];
            while let Ok(length @ 1..) = server.read(&mut answer) {
                if is_on.load(Ordering::SeqCst) {
                    // To both it is a message, and not a valid one.
                    answer[..length].fill(b'Z');
                    answer[1..5].copy_from_slice(&[0, 0, 0, 0]);
                }
                if client.write_all(&answer[..length]).is_err() {
                    break;
                }
            }
        });
    });
    (port, switch)
}

#[test]
fn a_change_whose_answer_is_rubbish_is_for_later() {
    let cluster = Cluster::start().with_orders();
    let directory = Directory::start();
    let (port, switch) = garbling(cluster.port().parse().unwrap());
    let file = private_file(&cluster.folder().join("password"), "sesame");
    let words = ["postgres", "--host", "127.0.0.1", "--user", "access", "--sslmode", "disable", "--password-file"];
    let postgres = Connector::new(&words).and(&[file.to_str().unwrap(), "--port", &port.to_string()]);
    let (port, other_switch) = garbling(directory.port());
    let words = ["ldap", "--allow-plain", "--bind-dn", "cn=access,dc=example,dc=com", "--password-file"];
    let ldap =
        Connector::new(&words).and(&[directory.password(), "--login-dn", "uid={login},ou=people,dc=example,dc=com"]);
    let ldap = ldap.and(&["--url", &format!("ldap://127.0.0.1:{port}")]);
    let group = "cn=orders,ou=groups,dc=example,dc=com";
    for (connector, switch, key, value) in
        [(postgres, switch, "role", "orders_rw"), (ldap, other_switch, "group", group)]
    {
        let mut running = connector.open();
        assert_done(&running.one(&act("grant", "bob", key, value)));
        switch.store(true, Ordering::SeqCst);
        let said = running.one(&act("revoke", "bob", key, value));
        assert!(said.get("later").is_some(), "{said}");
        running.end();
    }
}
