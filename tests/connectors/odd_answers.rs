//! Servers that answer with something else than what was asked for, or without end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::faults::{assignment, aws, center, ok, scim, serve, website};
use crate::{Connector, act, assert_says, holders, list, private_file};

/// What a service answers to `GET /Groups/gA`.
type Odd = fn(&str) -> Option<Vec<u8>>;

/// A SCIM service with the groups alpha (gA) and beta (gB). Their members are bob (u1) and another user (u2).
fn service(odd: Odd) -> u16 {
    serve(move |mut stream| {
        let request = request(&mut stream);
        let line = request.lines().next().unwrap_or_default();
        let _ = stream.write_all(&odd(line).unwrap_or_else(|| usual(line)));
    })
}

/// A whole request, with its body.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if body.len() >= length.map_or(0, |(_, length)| length.parse().unwrap()) {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => bytes.extend_from_slice(&chunk[..count]),
            _ => return text,
        }
    }
}

fn usual(line: &str) -> Vec<u8> {
    let found = |resource: Value| ok(json!({ "totalResults": 1, "Resources": [resource] }).to_string().as_bytes());
    let members = json!([{ "value": "u1" }, { "value": "u2" }]);
    let group = |id: &str| ok(json!({ "id": id, "members": members }).to_string().as_bytes());
    let target = line.split(' ').nth(1).unwrap_or_default();
    match target.split(['?', '&']).next().unwrap_or_default() {
        _ if line.starts_with("PATCH") => b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec(),
        "/Groups" if target.contains("alpha") => found(json!({ "id": "gA", "displayName": "alpha" })),
        "/Groups" => found(json!({ "id": "gB", "displayName": "beta" })),
        "/Groups/gA" => group("gA"),
        "/Groups/gB" => group("gB"),
        "/Users" => found(json!({ "id": "u1", "userName": "bob" })),
        _ => refused(404),
    }
}

fn refused(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes()
}

#[test]
fn a_service_may_refuse_a_name_in_the_place_of_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let refusing: [Odd; 6] = [
        |line| line.contains(" /Groups/alpha").then(|| refused(400)),
        |line| line.contains(" /Groups/alpha").then(|| refused(405)),
        |line| line.contains(" /Groups/alpha").then(|| refused(410)),
        |line| line.contains(" /Groups/alpha").then(|| refused(422)),
        |line| line.contains(" /Groups/alpha").then(|| refused(501)),
        // It may be an id, which the name of another group must not replace.
        |line| line.contains(" /Groups/alpha").then(|| refused(503)),
    ];
    for (number, odd) in refusing.into_iter().enumerate() {
        let connector = scim(service(odd), folder.path());
        let listed = connector.one(list("group", &["alpha"]));
        match number {
            0..5 => assert_eq!(holders(&listed), ["bob"], "{number}"),
            _ => assert_says(&listed, "later", "503"),
        }
    }
}

#[test]
fn an_error_with_the_status_200_is_no_empty_group_and_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let errors: [Odd; 3] = [
        |line| line.contains(" /Groups/gA").then(|| ok(b"{\"status\":\"error\"}")),
        |line| line.contains(" /Groups/gA").then(|| ok(b"<html>maintenance</html>")),
        // The group can be read, and still has the member.
        |line| line.starts_with("PATCH").then(|| ok(b"{\"status\":\"error\"}")),
    ];
    for (number, odd) in errors.into_iter().enumerate() {
        let connector = scim(service(odd), folder.path());
        for operation in [act("revoke", "bob", "group", "alpha"), act("revoke", "bob", "group", "gA")] {
            assert_says(&connector.one(operation), "later", "not with what was asked for");
        }
        if number < 2 {
            assert_says(&connector.one(list("group", &["alpha"])), "later", "not with what was asked for");
            assert_says(&connector.one(act("grant", "bob", "group", "alpha")), "later", "not with what was asked for");
        }
    }
    let connector = scim(service(|_| None), folder.path());
    let done = connector.one(act("revoke", "bob", "group", "alpha"));
    assert!(done["done"]["note"].is_string(), "{done}");
    let body = b"<html>maintenance</html>";
    let connector = aws(website(ok(body)), folder.path());
    for operation in [list("group", &["orders"]), act("revoke", "bob", "group", "orders")] {
        assert_says(&connector.one(operation), "later", "with something else");
    }
}

#[test]
fn one_group_or_user_that_can_not_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let broken: [Odd; 3] = [
        |line| line.contains("/Groups/gA").then(|| ok(b"\xff\xfe")),
        |line| line.contains("/Groups/gA").then(|| ok(&vec![b' '; (16 << 20) + 1])),
        // The connection ends.
        |line| line.contains("/Groups/gA").then(Vec::new),
    ];
    for odd in broken {
        let connector = scim(service(odd), folder.path());
        let answers = connector.run(&[list("group", &["alpha"]), list("group", &["beta"])]);
        assert!(answers[0].get("later").is_some(), "{answers:?}");
        assert_eq!(holders(&answers[1]), ["bob"]);
    }
    let connector = scim(service(|line| line.contains("/Users/u2").then(|| refused(403))), folder.path());
    assert_eq!(holders(&connector.one(list("group", &["alpha"]))), ["bob", "user=u2"]);
    let connector = scim(service(|line| line.contains("/Users/u2").then(|| refused(503))), folder.path());
    assert_says(&connector.one(list("group", &["alpha"])), "later", "503");
}

#[test]
fn pages_without_end() {
    let folder = tempfile::tempdir().unwrap();
    // Each page names another one as the next.
    let pages = |page: fn(u32) -> String| {
        let number = std::sync::atomic::AtomicU32::new(0);
        serve(move |mut stream| {
            request(&mut stream);
            let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _ = stream.write_all(&ok(page(number).as_bytes()));
        })
    };
    let group = |number| format!("<GetGroupResponse><IsTruncated>true</IsTruncated><Marker>{number}</Marker>");
    let connector = aws(pages(group), folder.path());
    assert_says(&connector.one(list("group", &["orders"])), "failed", "returns only a part of the group orders");
    let instances = |number| json!({ "Instances": [], "NextToken": format!("{number}") }).to_string();
    let connector = center(pages(instances), folder.path());
    assert_says(&connector.one(assignment("revoke")), "failed", "returns only a part of Instances");
}

/// An element of BER.
fn ber(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&[tag, 0x84][..], &length.to_be_bytes(), content].concat()
}

fn message(id: u8, operation: &[u8]) -> Vec<u8> {
    ber(0x30, &[&[2, 1, id], operation].concat())
}

/// A result of this kind: success.
fn success(kind: u8) -> Vec<u8> {
    ber(kind, b"\x0a\x01\x00\x04\x00\x04\x00")
}

fn entry(attributes: &[(&[u8], &[&[u8]])]) -> Vec<u8> {
    let attribute = |(name, values): &(&[u8], &[&[u8]])| {
        let values: Vec<u8> = values.iter().flat_map(|value| ber(4, value)).collect();
        ber(0x30, &[ber(4, name), ber(0x31, &values)].concat())
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    message(2, &ber(0x64, &[ber(4, b"cn=x,dc=x"), ber(0x30, &attributes)].concat()))
}

/// A directory that lets everybody in, and answers a search with this.
fn directory(answer: impl Fn(&mut TcpStream) + Send + 'static, folder: &std::path::Path) -> Connector {
    let port = serve(move |mut stream| {
        let mut chunk = [0; 65536];
        let _ = stream.read(&mut chunk);
        let _ = stream.write_all(&message(1, &success(0x61)));
        let _ = stream.read(&mut chunk);
        answer(&mut stream);
    });
    let password = private_file(&folder.join("password"), "sesame");
    let words = ["ldap", "--allow-plain", "--bind-dn", "cn=a", "--memberuid", "--password-file"];
    Connector::new(&words).and(&[password.to_str().unwrap(), "--url", &format!("ldap://127.0.0.1:{port}")])
}

#[test]
fn a_search_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let entries = entry(&[(b"memberUid", &[b"bob"])]).repeat(1000);
    let connector = directory(move |stream| while stream.write_all(&entries).is_ok() {}, folder.path());
    assert_says(&connector.one(list("group", &["cn=x,dc=x"])), "failed", "it sends more than 100000 entries");
}

#[test]
fn a_member_that_is_no_text_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |stream: &mut TcpStream| {
        let group = entry(&[(b"objectClass", &[b"posixGroup"]), (b"memberUid", &[b"bob", b"eve\xff"])]);
        let _ = stream.write_all(&[group, message(2, &success(0x65))].concat());
        // Until the other side has read it.
        let _ = stream.read(&mut [0; 100]);
    };
    let listed = holders(&directory(answer, folder.path()).one(list("group", &["cn=x,dc=x"])));
    assert_eq!((listed.len(), listed[0].as_str()), (2, "bob"), "{listed:?}");
}

/// A message can claim any length.
#[test]
fn a_connector_has_a_limit_for_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = scim(service(|_| None), folder.path()).open();
    assert_eq!(holders(&running.one(&list("group", &["alpha"]))), ["bob"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(data.contains("1073741824"), "{data}");
    running.end();
}
