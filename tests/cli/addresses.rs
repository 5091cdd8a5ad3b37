//! Addresses: which a team file may have, and how mail reaches them.

use std::fs;

use serde_json::json;

use crate::harness::{TEAM, World, shows};
use crate::post::{Server, configure, fresh, header, smtp};

fn with_address(address: &str) -> String {
    TEAM.replace("bob@acme.example", address)
}

#[test]
fn mail_reaches_every_address_that_a_team_file_may_have() {
    let world = fresh(TEAM);
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port).replace("access@acme.example", "access@bücher.example"));
    for (address, on_the_wire) in [
        ("o'bob@acme.example", "o'bob@acme.example"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@MÜNCHEN.example", "bob@xn--mnchen-3ya.example"),
        ("bob@例え.テスト", "bob@xn--r8jz45g.xn--zckzah"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("bob+access=x_1!#$%&*/?^`{|}~@acme.example", "bob+access=x_1!#$%&*/?^`{|}~@acme.example"),
        ("b.o.b@a-b.c1.example", "b.o.b@a-b.c1.example"),
        ("bob@localhost", "bob@localhost"),
    ] {
        world.apply("olivia", &with_address(address)).ok();
        world.rows("DELETE FROM outbox");
        let id = world.request("bob", "target:orders-db", &[]);
        world.run("alice", &["deny", &id]).ok();
        world.rows("DELETE FROM outbox WHERE notification NOT IN (SELECT id FROM notification WHERE member = 'bob') OR subscriber = 'slack'");
        shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1, "failed": 0, "dead": 0 }));
        let mail = server.got().pop().unwrap();
        assert_eq!((&mail["to"], &mail["from"]), (&json!([on_the_wire]), &json!("access@xn--bcher-kva.example")));
        let data = mail["data"].as_str().unwrap();
        assert!(header(data, "To").unwrap().contains(on_the_wire), "{data}");
        assert!(data.split("\r\n\r\n").next().unwrap().is_ascii(), "{data}");
        // The file says it as it was written.
        assert!(world.run("bob", &["team", "show"]).ok().out.contains(address), "{address}");
    }
}

#[test]
fn an_address_that_no_mail_reaches_is_refused_with_why() {
    let world = World::of("olivia", TEAM);
    let long = format!("{}@acme.example", "a".repeat(65));
    let label = format!("bob@{}.example", "a".repeat(64));
    for (address, why) in [
        ("bob..x@acme.example", "two dots in a row"),
        (".bob@acme.example", "begins with a dot"),
        ("bob.@acme.example", "just before the @"),
        ("alice@-acme.example", "\\\"-acme\\\" in its host name, which begins or ends with a hyphen"),
        ("alice@acme-.example", "begins or ends with a hyphen"),
        ("alice@acme..example", "two dots in a row"),
        ("alice@.acme.example", "a dot at the beginning or the end of its host name"),
        ("alice@acme.example.", "a dot at the beginning or the end of its host name"),
        ("alice@ac_me.example", "the character '_' after the @"),
        ("alice@[127.0.0.1]", "the character '[' after the @"),
        ("alice", "has no @"),
        ("@acme.example", "nothing before or after the @"),
        ("alice@", "nothing before or after the @"),
        ("al ice@acme.example", "the character U+0020 before the @"),
        ("älice@acme.example", "the character U+00E4 before the @"),
        ("a@b@acme.example", "the character @ before the @"),
        ("alice@bü\u{200b}cher.example", "can't be seen"),
        ("alice@bü cher.example", "not an international host name"),
        (long.as_str(), "too long"),
        (label.as_str(), "more than 63 characters"),
    ] {
        let ran = world.apply("olivia", &with_address(address)).exits(65);
        assert!(ran.err.contains(&why.replace("\\\"", "\"")), "{address}: {}", ran.err);
        assert!(ran.err.contains("line "), "{}", ran.err);
    }
    configure(&world, "from = \"a..b@acme.example\"\n[smtp]\nhost = \"127.0.0.1\"\nencryption = \"none\"\n");
    let ran = world.run("root", &["deliver"]).exits(65);
    assert!(ran.err.contains("two dots in a row"), "{}", ran.err);
}

#[test]
fn a_team_that_has_such_an_address_already_stays_readable() {
    let world = fresh(TEAM);
    // As an older version recorded it.
    world
        .rows("UPDATE member SET addresses = json_set(addresses, '$.email', 'bob..x@acme.example') WHERE name = 'bob'");
    world.run("bob", &["whoami"]).ok();
    let server = Server::mail(&world, &[]);
    configure(&world, &smtp(server.port));
    fs::write(world.folder().join("mail.rules"), "{}").unwrap();
    let id = world.request("bob", "target:orders-db", &[]);
    world.run("alice", &["deny", &id]).ok();
    let ran = world.run("root", &["deliver", "--json"]).exits(1);
    shows(&ran.json(), &json!({ "failed": 1, "dead": 1 }));
    let dead = world.json("root", &["outbox", "--dead"]);
    assert!(dead[0]["error"].as_str().unwrap().contains("bob..x@acme.example"), "{dead:#}");
}
