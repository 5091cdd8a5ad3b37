//! SSH certificates on the record, and the list of revoked ones, by the real ssh-keygen. `tests/shared/ssh.rs` asks sshd.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Ran, TEAM, World};
use crate::proof::{bodies, faults, forge};

/// A team, a CA and a key for each of some people.
struct Ca {
    world: World,
}

impl Ca {
    fn new() -> Ca {
        let ca = Ca { world: World::sample() };
        for key in ["ca", "other-ca", "bob", "carol"] {
            ca.keygen(&["-q", "-t", "ed25519", "-N", "", "-f", key]).ok();
        }
        ca
    }

    /// With the list of revoked certificates.
    fn with_list() -> Ca {
        let ca = Ca::new();
        ca.configure("ca.pub");
        ca.expire().ok();
        ca
    }

    fn configure(&self, key: &str) {
        let folder = self.path(".config/access");
        fs::create_dir_all(&folder).unwrap();
        let (krl, key) = (self.path("krl"), self.path(key));
        fs::write(folder.join("config.toml"), format!("[ssh]\nkrl = {krl:?}\nca = {key:?}\n")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn keygen(&self, args: &[&str]) -> Ran {
        let output = Command::new("ssh-keygen").args(args).current_dir(self.world.folder()).env("TZ", "UTC").output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            line: format!("ssh-keygen {args:?}"),
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Signs what is given for a login, with more arguments.
    fn sign(&self, user: &str, login: &str, resource: &str, input: &str, more: &[&str]) -> Ran {
        fs::write(self.path("input"), input).unwrap();
        let key = self.path("ca");
        let login = format!("--login={login}");
        let args = [&["ssh", "cert", "--ca", key.to_str().unwrap(), "--for", resource, &login], more].concat();
        let mut command = self.world.command(user, &args);
        let output = command.stdin(fs::File::open(self.path("input")).unwrap()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Ran { line: args.join(" "), code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// A certificate for a member, kept in a file of this name.
    fn certify(&self, login: &str, resource: &str, name: &str) -> String {
        let signed = self.sign("root", login, resource, &self.read(&format!("{login}.pub")), &[]).ok().out;
        fs::write(self.path(name), &signed).unwrap();
        signed
    }

    fn expire(&self) -> Ran {
        self.world.run("root", &["expire", "--no-deliver"])
    }

    /// Whether the list has the certificate in this file.
    fn is_revoked(&self, name: &str) -> bool {
        match self.keygen(&["-Q", "-f", "krl", name]).code {
            0 => false,
            1 => true,
            code => panic!("{code}"),
        }
    }

    fn issued(&self) -> usize {
        self.world.actions().iter().filter(|action| *action == "certificate.issued").count()
    }
}

const DB: &str = "target:orders-db";

#[test]
fn each_certificate_is_on_the_record_and_verify_holds_it_against_the_tables() {
    let ca = Ca::new();
    let id = ca.world.grant("bob", DB, "alice", &["--duration", "1h"]);
    ca.certify("bob", DB, "cert");
    let fingerprint = ca.keygen(&["-l", "-f", "bob.pub"]).ok().out.split_whitespace().nth(1).unwrap().to_owned();
    let shown = ca.world.json("bob", &["show", &id]);
    let expected = json!([{
        "serial": 1, "principal": "bob:target:orders-db", "resource": DB, "key": fingerprint,
        "from": "2026-11-24T08:59:00Z", "until": "2026-11-24T10:00:00Z",
        "issued_at": "2026-11-24T09:00:00Z", "issued_by": "root",
    }]);
    assert_eq!(shown["certificates"], expected);
    ca.world.run("bob", &["show", &id]).ok().says("certificate").says("(signed by root)").says(&fingerprint);
    let says =
        "bob got an SSH certificate for bob:target:orders-db, until 2026-11-24 10:00 UTC (request 1, key SHA256:";
    ca.world.run("alice", &["audit", "--action", "certificate.issued"]).ok().says(says);
    let entry = &ca.world.json("alice", &["audit", "--action", "certificate.issued"])[0];
    let detail: Value = entry["detail"].clone();
    assert_eq!((&detail["serial"], &detail["member"], &entry["os_user"]), (&json!(1), &json!("bob"), &json!("root")));
    // It changes nothing about the request for those who look at it meanwhile.
    assert_eq!(shown["last_seq"], json!(entry["seq"].as_i64().unwrap() - 1));
    assert_eq!(faults(&ca.world), [""; 0]);
    for (statement, found) in [
        (
            "UPDATE certificate SET valid_until = valid_until + 1",
            "the certificate of entry 5 is not as it was recorded",
        ),
        ("DELETE FROM certificate", "the certificate of entry 5 is on the record and not in its table"),
        (
            "INSERT INTO certificate SELECT 4, 1, 'bob', 'bob', 'target:orders-db', key, 1, 2, 3, 'root' FROM certificate",
            "the certificate of entry 4 is in its table, and no entry explains it",
        ),
    ] {
        let ca = Ca::new();
        ca.world.grant("bob", DB, "alice", &["--duration", "1h"]);
        ca.certify("bob", DB, "cert");
        assert!(ca.world.sqlite(statement).status.success());
        assert_eq!(faults(&ca.world), [found], "{statement}");
    }
}

#[test]
fn no_forged_certificate_is_in_a_log_that_is_true() {
    let forged = |from: &str, to: &str, rest: &str| {
        let ca = Ca::new();
        ca.world.grant("bob", DB, "alice", &["--duration", "1h"]);
        ca.certify("bob", DB, "cert");
        let mut bodies = bodies(&ca.world);
        let last = bodies.last_mut().unwrap();
        assert!(last.contains(from), "{last}");
        *last = last.replace(from, to);
        forge(&ca.world, &bodies, rest);
        faults(&ca.world)
    };
    let until = "UPDATE certificate SET valid_until = valid_until + 1";
    for (from, to, rest, found) in [
        ("T10:00:00Z", "T10:00:01Z", until, "outlives it"),
        (r#""serial":1"#, r#""serial":2"#, "", "has the serial number or the principal of another"),
        (r#""principal":"bob:"#, r#""principal":"carol:"#, "", "has the serial number or the principal of another"),
        (
            r#""member":"bob""#,
            r#""member":"carol""#,
            "UPDATE certificate SET member = 'carol'",
            "is for another person",
        ),
        (
            r#""login":"bob","resource":"target:orders-db","principal":"bob:"#,
            r#""login":"carol","resource":"target:orders-db","principal":"carol:"#,
            "UPDATE certificate SET login = 'carol'",
            "is for another person",
        ),
        (
            r#""resource":"target:orders-db","principal":"bob:target:orders-db""#,
            r#""resource":"target:billing-db","principal":"bob:target:billing-db""#,
            "UPDATE certificate SET resource = 'target:billing-db'",
            "is for what that does not open",
        ),
        (r#""actor":null"#, r#""actor":"carol""#, "", "is issued by somebody who is neither root nor an admin"),
        (
            r#""from":"2026-11-24T08:59:00Z""#,
            r#""from":"2026-11-24T09:00:01Z""#,
            "UPDATE certificate SET valid_from = valid_from + 61",
            "is not valid when it is issued",
        ),
    ] {
        // Where the table has no such column, the row differs too.
        let faults = forged(from, to, rest);
        assert_eq!(faults[0], format!("entry 5: the certificate for the grant 1 {found}"), "{to}");
        assert!(faults.len() == 1 || rest.is_empty(), "{faults:?}");
    }
    // After the grant was revoked.
    let ca = Ca::new();
    ca.world.grant("bob", DB, "alice", &["--duration", "1h"]);
    ca.certify("bob", DB, "cert");
    ca.world.run("alice", &["revoke", "1"]).ok();
    let mut bodies = bodies(&ca.world);
    let (revoked, issued) = (bodies.pop().unwrap(), bodies.pop().unwrap());
    bodies.extend([revoked.replace(r#""seq":6"#, r#""seq":5"#), issued.replace(r#""seq":5"#, r#""seq":6"#)]);
    let rest = "UPDATE certificate SET seq = 6; UPDATE notification SET seq = 5 WHERE seq = 6";
    forge(&ca.world, &bodies, rest);
    assert_eq!(faults(&ca.world), ["entry 6: the certificate for the grant 1 is issued while that is not live"]);
}

#[test]
fn the_signer_decides_nothing() {
    let ca = Ca::new();
    ca.world.grant("bob", DB, "alice", &["--duration", "1h"]);
    let key = ca.read("bob.pub");
    // However long is asked for, it ends with the grant.
    ca.sign("alice", "bob", DB, &key, &["--longest", "30d"]).ok();
    assert_eq!(ca.world.json("bob", &["show", "1"])["certificates"][0]["until"], "2026-11-24T10:00:00Z");
    ca.sign("bob", "bob", DB, &key, &[]).fails(3, "admin");
    ca.sign("root", "carol", DB, &key, &[]).fails(1, "carol has no grant for target:orders-db");
    ca.sign("root", "bob", "target:billing-db", &key, &[]).fails(1, "bob has no grant");
    ca.sign("root", "nobody", DB, &key, &[]).fails(3, "nobody");
    // An admin may use it by role, which is no grant.
    ca.sign("root", "alice", DB, &key, &[]).fails(1, "alice has no grant");
    ca.sign("root", "bob", DB, "ssh-ed25519 AAAA\n", &[]).fails(65, "not an SSH public key");
    assert_eq!(ca.issued(), 1);
    ca.world.grant("carol", DB, "alice", &["--duration", "30d"]);
    ca.sign("root", "carol", DB, &ca.read("carol.pub"), &["--longest", "30d"]).ok();
    assert_eq!(ca.world.json("carol", &["show", "2"])["certificates"][0]["until"], "2026-11-24T21:00:00Z");
    ca.world.pass("1h");
    ca.sign("root", "bob", DB, &key, &[]).fails(1, "bob has no grant");
    assert_eq!(ca.issued(), 2, "what is refused is not recorded");
    assert_eq!(faults(&ca.world), [""; 0]);
}

#[test]
fn a_member_gets_so_many_certificates_within_an_hour() {
    let ca = Ca::new();
    ca.world.grant("bob", DB, "alice", &["--duration", "8h"]);
    ca.world.grant("carol", DB, "alice", &["--duration", "8h"]);
    let key = ca.read("bob.pub");
    for _ in 0..60 {
        ca.sign("root", "bob", DB, &key, &[]).ok();
    }
    ca.sign("root", "bob", DB, &key, &[]).fails(3, "bob got 60 certificates within 1h; the next is possible at");
    ca.certify("carol", DB, "cert");
    ca.world.pass("1h");
    ca.sign("root", "bob", DB, &key, &[]).ok();
}

#[test]
fn a_certificate_that_is_still_good_is_given_back_and_not_recorded_again() {
    let ca = Ca::new();
    ca.world.grant("bob", DB, "alice", &["--duration", "8h"]);
    let old = ca.certify("bob", DB, "cert");
    let key = ca.read("bob.pub");
    let again = |key: &str, old: &str, more: &[&str]| ca.sign("root", "bob", DB, &format!("{key}{old}"), more).ok().out;
    assert_eq!(again(&key, &old, &[]), old);
    assert_eq!(again(&key, &format!("{old}{old}"), &[]), old, "only the line after the key counts");
    assert_eq!(ca.issued(), 1);
    // For another key, of another CA, for another resource, or no certificate at all.
    let mut count = 1;
    let mut is_new = |new: String, what: &str| {
        count += 1;
        assert_ne!(new, old, "{what}");
        assert_eq!((new.lines().count(), ca.issued()), (1, count), "{what}");
    };
    is_new(again(&ca.read("carol.pub"), &old, &[]), "another key");
    is_new(again(&key, &key, &[]), "no certificate");
    is_new(again(&key, "ssh-ed25519-cert-v01@openssh.com AAAA\n", &[]), "not a certificate");
    let names = ["-I", "x", "-n", "bob:target:orders-db", "-z", "1", "-V", "20261124085900:20261124170000"];
    ca.keygen(&[&["-q", "-s", "other-ca"], &names[..], &["bob.pub"]].concat()).ok();
    is_new(again(&key, &ca.read("bob-cert.pub"), &[]), "another CA");
    let names = ["-I", "x", "-n", "bob:target:orders-db", "-z", "2", "-V", "20261124085900:20261124170000"];
    ca.keygen(&[&["-q", "-s", "ca"], &names[..], &["bob.pub"]].concat()).ok();
    is_new(again(&key, &ca.read("bob-cert.pub"), &[]), "another request");
    let names = ["-I", "x", "-n", "bob:target:billing-db", "-z", "1", "-V", "20261124085900:20261124170000"];
    ca.keygen(&[&["-q", "-s", "ca"], &names[..], &["bob.pub"]].concat()).ok();
    is_new(again(&key, &ca.read("bob-cert.pub"), &[]), "another resource");
    // One that ends soon, though the grant does not.
    let short = ca.sign("root", "bob", DB, &key, &["--longest", "30m"]).ok().out;
    ca.world.pass("15m");
    assert_eq!(again(&key, &short, &[]), short);
    ca.world.pass("10m");
    assert_ne!(again(&key, &short, &[]), short);
    // One that lasts as long as the grant is good to the end.
    ca.world.pass("7h30m");
    assert_eq!(again(&key, &old, &[]), old);
    // The grant is over, and there is another one.
    ca.world.run("alice", &["revoke", "1"]).ok();
    ca.world.grant("bob", DB, "alice", &["--duration", "8h"]);
    assert_ne!(again(&key, &old, &[]), old);
}

// The list of revoked certificates

#[test]
fn a_revoke_puts_the_certificates_of_its_request_on_the_list_and_no_others() {
    let ca = Ca::with_list();
    let first = ca.world.grant("bob", DB, "alice", &["--duration", "4h"]);
    ca.world.grant("bob", "target:billing-db", "alice", &["--duration", "4h"]);
    ca.world.grant("carol", DB, "alice", &["--duration", "4h"]);
    for (login, resource, name) in
        [("bob", DB, "first"), ("bob", DB, "second"), ("bob", "target:billing-db", "billing"), ("carol", DB, "hers")]
    {
        ca.certify(login, resource, name);
    }
    ca.expire().ok();
    for name in ["first", "second", "billing", "hers"] {
        assert!(!ca.is_revoked(name), "an empty list: {name}");
    }
    ca.world.run("alice", &["revoke", &first]).ok();
    ca.expire().ok();
    assert!(ca.is_revoked("first") && ca.is_revoked("second"));
    assert!(!ca.is_revoked("billing") && !ca.is_revoked("hers"));
    // Another CA may use the same numbers.
    ca.keygen(&["-q", "-s", "other-ca", "-I", "x", "-z", "1", "bob.pub"]).ok();
    assert!(!ca.is_revoked("bob-cert.pub"));
    // What is granted again is another request, so another number.
    let again = ca.world.grant("bob", DB, "alice", &["--duration", "4h"]);
    assert_ne!(again, first);
    ca.certify("bob", DB, "again");
    ca.expire().ok();
    assert!(!ca.is_revoked("again") && ca.is_revoked("first"));
    // They are on it until they have ended, and an hour longer for hosts whose clock is behind.
    ca.world.pass("4h30m");
    ca.expire().ok();
    assert!(ca.is_revoked("first"));
    assert!(!ca.is_revoked("hers"), "a grant that expired is not on the list, since its certificates have ended");
    ca.world.pass("31m");
    ca.expire().ok();
    assert!(!ca.is_revoked("first"));
    assert_eq!(faults(&ca.world), [""; 0]);
}

#[test]
fn a_change_of_the_team_revokes_what_its_grant_no_longer_gives() {
    let ca = Ca::with_list();
    ca.world.grant("bob", "connection:prod-aws", "alice", &["--duration", "4h"]);
    ca.world.grant("carol", DB, "alice", &["--duration", "4h"]);
    ca.certify("bob", DB, "his");
    ca.certify("carol", DB, "hers");
    // The target is no longer behind the connection.
    let apart = TEAM.replacen("[targets.orders-db]\n", "[targets.orders-db]\n# apart\n", 1);
    let section = apart.split("[targets.orders-db]").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
    let other = section.replace("\"prod-aws\"", "\"staging-aws\"");
    assert_ne!(section, other, "{section}");
    ca.world.apply("olivia", &apart.replace(&section, &other)).ok();
    ca.expire().ok();
    assert!(ca.is_revoked("his"));
    assert!(!ca.is_revoked("hers"));
    // Her login is another one.
    ca.world.apply("olivia", &TEAM.replacen("[members.carol]\n", "[members.carol]\nlogin = \"eve\"\n", 1)).ok();
    ca.expire().ok();
    assert!(ca.is_revoked("hers"));
    assert!(!ca.is_revoked("his"), "it gives it again");
}

#[test]
fn the_list_is_written_when_it_changes_and_only_then() {
    let ca = Ca::with_list();
    let found = || {
        let found = fs::symlink_metadata(ca.path("krl")).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o644);
        found.ino()
    };
    let first = found();
    ca.expire().ok();
    ca.world.run("olivia", &["reconcile", "--fix"]).ok();
    assert_eq!(found(), first);
    ca.world.run("olivia", &["doctor"]).ok().says("lists what was revoked");
    ca.world.grant("bob", DB, "alice", &["--duration", "4h"]);
    ca.certify("bob", DB, "cert");
    ca.expire().ok();
    assert_eq!(found(), first);
    // A command that takes access away starts a run.
    ca.world.run("alice", &["revoke", "1"]).ok();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !ca.is_revoked("cert") {
        assert!(std::time::Instant::now() < until, "the list is written");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Somebody puts an older or an empty one there, opens it to others, empties it, or removes it.
    let whole = fs::read(ca.path("krl")).unwrap();
    ca.keygen(&["-q", "-k", "-C", "Written by access", "-f", "empty", "/dev/null"]).ok();
    let empty = fs::read(ca.path("empty")).unwrap();
    for (content, mode, fault) in [
        (Some(&empty), 0o644, "does not list what was revoked"),
        (Some(&whole), 0o600, "has mode 0600"),
        (Some(&whole), 0o666, "has mode 0666"),
        (Some(&Vec::new()), 0o644, "does not list what was revoked"),
        (None, 0, "is missing"),
    ] {
        fs::remove_file(ca.path("krl")).unwrap();
        if let Some(content) = content {
            fs::write(ca.path("krl"), content).unwrap();
            fs::set_permissions(ca.path("krl"), fs::Permissions::from_mode(mode)).unwrap();
        }
        ca.world.run("olivia", &["doctor"]).exits(1).says(fault);
        assert!(ca.world.run("olivia", &["reconcile"]).exits(1).err.contains(fault), "{fault}");
        ca.expire().ok();
        assert!(ca.is_revoked("cert"), "{fault}");
        found();
        ca.world.run("olivia", &["doctor"]).ok();
    }
    // A new CA has none of the old one's numbers on its list.
    ca.configure("other-ca.pub");
    ca.world.run("olivia", &["reconcile"]).exits(1);
    ca.expire().ok();
    assert!(!ca.is_revoked("cert"));
}

#[test]
fn a_list_that_can_not_be_replaced_is_reported_each_time_and_the_rest_goes_on() {
    let ca = Ca::with_list();
    ca.world.grant("bob", DB, "alice", &["--duration", "4h"]);
    ca.world.grant("carol", DB, "alice", &["--duration", "1h"]);
    ca.certify("bob", DB, "cert");
    let krl = ca.path("krl");
    let put = |what: &dyn Fn()| {
        let _ = fs::remove_file(&krl).or_else(|_| fs::remove_dir(&krl));
        what();
    };
    let is_refused = |why: &str| {
        let warns = |ran: Ran| {
            let ran = ran.exits(1);
            assert!(ran.err.contains(why) && ran.err.contains("the list of revoked SSH certificates"), "{ran:?}");
        };
        warns(ca.expire());
        warns(ca.world.run("olivia", &["reconcile", "--fix"]));
        ca.world.run("olivia", &["doctor"]).exits(1).says(why);
    };
    fs::write(ca.path("elsewhere"), "mine").unwrap();
    put(&|| symlink(ca.path("elsewhere"), &krl).unwrap());
    ca.world.pass("1h");
    ca.expire().exits(1).says("1 expired");
    is_refused("it is a link");
    assert_eq!(ca.read("elsewhere"), "mine");
    put(&|| symlink("nowhere", &krl).unwrap());
    is_refused("it is a link");
    put(&|| fs::create_dir(&krl).unwrap());
    is_refused("it is not a regular file");
    // Lists of others: of keys, and a KRL.
    put(&|| fs::write(&krl, ca.read("bob.pub")).unwrap());
    is_refused("KRL");
    put(&|| ca.keygen(&["-q", "-k", "-f", "krl", "bob.pub"]).ok().out.clear());
    is_refused("access did not write what is there");
    put(&|| {
        let key = ca.read("bob.pub");
        fs::write(ca.path("spec"), format!("key: {key}")).unwrap();
        ca.keygen(&["-q", "-k", "-C", "Written by access", "-f", "krl", "spec"]).ok();
    });
    is_refused("access did not write what is there");
    // Nobody else can put something in its place.
    put(&|| ());
    fs::create_dir(ca.path("open")).unwrap();
    fs::set_permissions(ca.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let config = ca.path(".config/access/config.toml");
    let sane = fs::read_to_string(&config).unwrap();
    fs::write(&config, sane.replace("/krl\"", "/open/krl\"")).unwrap();
    is_refused("can be written by others");
    // The sticky bit keeps others from replacing the list, and not from making what becomes the next one.
    fs::set_permissions(ca.path("open"), fs::Permissions::from_mode(0o1777)).unwrap();
    is_refused("can be written by others");
    fs::write(&config, sane.replace("/ca.pub\"", "/bob\"")).unwrap();
    fs::set_permissions(ca.path("bob"), fs::Permissions::from_mode(0o666)).unwrap();
    is_refused("can be written by others");
    fs::write(&config, sane.replace("/ca.pub\"", "/elsewhere\"")).unwrap();
    is_refused("not a public key");
    fs::write(&config, &sane).unwrap();
    // Where the new one is made, something else is in the way.
    fs::create_dir(ca.path("krl.new")).unwrap();
    assert!(ca.expire().exits(1).err.contains("krl.new: "));
    ca.world.run("olivia", &["doctor"]).exits(1).says("is missing");
    fs::remove_dir(ca.path("krl.new")).unwrap();
    // A run that was killed left a part of one.
    fs::write(ca.path("krl.new"), "part").unwrap();
    ca.expire().ok();
    assert!(!ca.is_revoked("cert") && !ca.path("krl.new").exists());
}

#[test]
fn a_section_that_makes_no_sense_is_refused() {
    let ca = Ca::with_list();
    let config = ca.path(".config/access/config.toml");
    for (text, why) in [
        ("[ssh]\nkrl = \"/k\"\n", "missing field `ca`"),
        ("[ssh]\nkrl = \"k\"\nca = \"/ca.pub\"\n", "krl is not an absolute path"),
        ("[ssh]\nkrl = \"/k\"\nca = \"ca.pub\"\n", "ca is not an absolute path"),
        ("[ssh]\nkrl = \"/k\"\nca = \"/ca.pub\"\nother = 1\n", "unknown field `other`"),
    ] {
        fs::write(&config, text).unwrap();
        ca.world.run("olivia", &["reconcile"]).fails(65, why);
    }
}

#[test]
fn writers_at_the_same_time_leave_the_last_state() {
    let ca = Ca::with_list();
    let mut ids = Vec::new();
    for resource in [DB, "target:billing-db", "connection:prod-aws"] {
        let id = ca.world.grant("bob", resource, "alice", &["--duration", "4h"]);
        ca.certify("bob", resource, &format!("cert-{id}"));
        ids.push(id);
    }
    let mut runs = Vec::new();
    for id in &ids {
        for _ in 0..4 {
            let args = ["reconcile", "--fix", "--quiet"];
            let mut command = ca.world.command("olivia", &args);
            runs.push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        }
        ca.world.run("alice", &["revoke", id]).ok();
    }
    runs.push(ca.world.command("olivia", &["reconcile", "--fix", "--quiet"]).stderr(Stdio::piped()).spawn().unwrap());
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for id in ids {
        assert!(ca.is_revoked(&format!("cert-{id}")), "{id}");
    }
    assert!(!ca.path("krl.new").exists());
}

#[test]
fn a_restored_database_takes_nothing_off_the_list_until_it_is_accepted() {
    let ca = Ca::with_list();
    ca.world.grant("bob", DB, "alice", &["--duration", "4h"]);
    ca.certify("bob", DB, "cert");
    let copy = ca.path("copy.db");
    ca.world.run("root", &["backup", copy.to_str().unwrap()]).ok();
    ca.world.run("alice", &["revoke", "1"]).ok();
    ca.expire().ok();
    assert!(ca.is_revoked("cert"));
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(ca.path(&format!("access.db{suffix}")));
    }
    fs::copy(&copy, ca.world.db()).unwrap();
    assert!(ca.expire().exits(3).err.contains("was not written: the log does not go on"));
    ca.world.run("olivia", &["reconcile", "--fix"]).fails(3, "restored from a backup");
    assert!(ca.is_revoked("cert"));
    ca.world.run("olivia", &["reconcile", "--fix", "--accept-restore"]).ok();
    assert!(!ca.is_revoked("cert"));
}
