//! Approvals that are signed with the approver's SSH key: what counts as one, and what ssh-keygen says of it elsewhere.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::forged;
use crate::harness::{Ran, TEAM, World};
use crate::proof::{bodies, faults, forge};

const RULE: &str = "\n[[rules]]\nname = \"signed\"\nmatch = { resources = [\"target:orders-db\"] }\nsigned = true\n";
const NAMESPACE: &str = "access-approval";

/// The sample team, with these keys of its members, and these rules.
fn team(keys: &[(&str, &str)], rules: &str) -> String {
    let mut team = TEAM.to_owned();
    for (name, key) in keys {
        let section = format!("[members.{name}]\n");
        team = team.replace(&section, &format!("{section}ssh_keys = [{key:?}]\n"));
    }
    team + rules
}

/// Makes a key that ssh-keygen makes with these arguments. Gives its private file and the public key.
fn new_key(world: &World, name: &str, kind: &[&str]) -> (PathBuf, String) {
    let file = world.folder().join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-C", name]).args(kind).arg("-f").arg(&file).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    (file, public.trim().to_owned())
}

fn with_input(command: &mut Command, text: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What ssh-keygen signs, somewhere else.
fn sign(key: &PathBuf, namespace: &str, more: &[&str], text: &str) -> String {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", namespace]).args(more).arg("-f").arg(key);
    let output = with_input(&mut command, text);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The text that an approval with these arguments signs.
fn terms(world: &World, login: &str, args: &[&str]) -> String {
    world.run(login, &[&["approve"], args, &["--print-terms"]].concat()).ok().out
}

fn approve_with(world: &World, login: &str, args: &[&str], signature: &str) -> Ran {
    let file = world.folder().join("signature");
    std::fs::write(&file, signature).unwrap();
    world.run(login, &[&["approve"], args, &["--signature", file.to_str().unwrap()]].concat())
}

/// What `audit verify` finds, without the numbers of the entries.
fn found(world: &World) -> Vec<String> {
    let rest = |fault: String| fault.split_once(": ").map_or(fault.clone(), |(_, rest)| rest.to_owned());
    faults(world).into_iter().map(rest).collect()
}

/// alice and erin have keys, and target:orders-db is under the rule.
pub struct Signing {
    pub world: World,
    alice: (PathBuf, String),
    erin: (PathBuf, String),
}

impl Signing {
    pub fn begin() -> Signing {
        let world = World::empty();
        let alice = new_key(&world, "alice", &["-t", "ed25519"]);
        let erin = new_key(&world, "erin", &["-t", "ed25519"]);
        world.run("olivia", &["init"]).ok();
        world.apply("olivia", &team(&[("alice", &alice.1), ("erin", &erin.1)], RULE)).ok();
        Signing { world, alice, erin }
    }

    /// alice approves with these arguments, and signs what is printed.
    pub fn approve(&self, args: &[&str]) -> Ran {
        let text = terms(&self.world, "alice", args);
        approve_with(&self.world, "alice", args, &sign(&self.alice.0, NAMESPACE, &[], &text))
    }
}

#[test]
fn an_approval_is_signed_with_a_key_that_the_team_file_has() {
    let Signing { world, alice, .. } = &Signing::begin();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    // Without the key, nothing happens.
    let ran = world.run("alice", &["approve", &id]).fails(1, "no key is here that the team file has of you");
    assert!(ran.err.contains("no ssh-agent answers") && ran.err.contains("--print-terms"), "{}", ran.err);
    assert_eq!(world.state(&id), "pending");
    // Its file is named in the configuration, or is in ~/.ssh, or an agent has it.
    let config = world.folder().join(".config/access");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), format!("signing_key = {:?}\n", alice.0)).unwrap();
    let ran = world.run("alice", &["approve", &id, "--duration", "2h", "--note", "fine", "--json"]).ok();
    let shown = ran.json();
    let key = shown["decisions"][0]["signed_with"].as_str().unwrap();
    assert!(key.starts_with("SHA256:"), "{key}");
    for line in ["You sign:", "request: 1", "duration: 2h", "requester: bob", "approver: alice", "note: fine"] {
        assert!(ran.err.contains(line) || line == "You sign:", "{line}: {}", ran.err);
    }
    world.run("bob", &["show", &id]).ok().says(&format!("signed with {key}"));

    std::fs::remove_file(config.join("config.toml")).unwrap();
    let ssh = world.folder().join(".ssh");
    std::fs::create_dir(&ssh).unwrap();
    for (from, to) in [("alice", "id_alice"), ("alice.pub", "id_alice.pub")] {
        std::fs::copy(world.folder().join(from), ssh.join(to)).unwrap();
    }
    std::fs::set_permissions(ssh.join("id_alice"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let id = world.request("carol", "target:orders-db", &[]);
    let ran = world.run("alice", &["approve", &id]).ok();
    assert!(ran.err.contains("You sign:\naccess approval: 1\nlog: access/"), "{}", ran.err);

    std::fs::remove_dir_all(&ssh).unwrap();
    let socket = world.folder().join("agent");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let added = || {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&alice.0).env("SSH_AUTH_SOCK", &socket).status().unwrap().success()
    };
    // The agent's socket is there before it listens, so the first tries can fail.
    let begun = std::time::Instant::now();
    while !added() {
        assert!(begun.elapsed().as_secs() < 20, "no agent answers");
    }
    let id = world.request("dave", "target:orders-db", &[]);
    let ran = world.command("alice", &["approve", &id]).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(world.state(&id), "active");
    assert_eq!(faults(world), [""; 0]);
}

#[test]
fn the_text_that_is_signed_says_all_that_is_approved() {
    let Signing { world, .. } = &Signing::begin();
    let start = ["--start", "2026-11-25T09:00:00Z", "--until", "2026-11-26T09:00:00Z", "--ticket", "OPS-1"];
    let asked = ["request", "target:orders-db", "--for", "bob", "--reason", "line\nrequest: 7"];
    world.run("olivia", &[&asked[..], &start].concat()).ok();
    let hash = world.rows("SELECT lower(hex(hash)) FROM event WHERE seq = 3")[0].clone();
    let first = world.rows("SELECT lower(substr(hex(hash), 1, 16)) FROM event WHERE seq = 1")[0].clone();
    let name = world.rows("SELECT body ->> '$.event.detail.changes[0].to.name' FROM event WHERE seq = 1")[0].clone();
    assert_eq!(
        terms(world, "alice", &["1", "--note", "a\nb"]),
        format!(
            "access approval: 1\nlog: access/{name}/{first}\nrequest: 1\nentry: 3\nhash: {hash}\nrequester: bob\nlogin: bob\n\
             filed by: olivia\nresource: target:orders-db\nuntil: 2026-11-26T09:00:00Z\nstart: 2026-11-25T09:00:00Z\n\
             ticket: OPS-1\nreason: line\n    request: 7\napprover: alice\nnote: a\n    b\n"
        )
    );
    let printed = world.json("alice", &["approve", "1", "--print-terms", "--duration", "permanent"]);
    assert!(printed["text"].as_str().unwrap().contains("\nduration: permanent\nstart: "), "{printed}");
    assert_eq!((&printed["is_needed"], &printed["namespace"]), (&json!(true), &json!(NAMESPACE)));
    // Printing approves nothing, and is for those who may approve.
    assert_eq!(world.state("1"), "pending");
    world.run("carol", &["approve", "1", "--print-terms"]).exits(4);
    world.run("bob", &["approve", "1", "--print-terms"]).exits(3);
    world.run("alice", &["approve", "1", "2", "--print-terms"]).fails(2, "--print-terms is for one request");
    world.run("alice", &["approve", "1", "2", "--signature", "-"]).fails(2, "--signature is for one request");
}

#[test]
fn a_signature_is_of_exactly_this_approval_by_its_approver() {
    let signing = &Signing::begin();
    let Signing { world, alice, erin } = signing;
    let other = Signing::begin();
    let (olivia, _) = new_key(world, "olivia", &["-t", "ed25519"]);
    let ask = || world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let (first, id) = (ask(), world.request("carol", "target:orders-db", &["--duration", "4h"]));
    other.world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let of = |args: &[&str]| sign(&alice.0, NAMESPACE, &[], &terms(world, "alice", args));
    let text = terms(world, "alice", &[&id]);
    let elsewhere = sign(&alice.0, NAMESPACE, &[], &terms(&other.world, "alice", &["1"]));
    let changed = text.replace("duration: 4h", "duration: 8h");
    let not_these = "it does not sign these terms";
    for (by, signature, args, why) in [
        ("alice", of(&[&first]), &[][..], not_these),
        ("alice", elsewhere, &[], not_these),
        ("alice", sign(&alice.0, NAMESPACE, &[], &changed), &[], not_these),
        ("alice", of(&[&id]), &["--duration", "8h"], not_these),
        ("alice", of(&[&id]), &["--scope", "orders-read"], not_these),
        ("alice", of(&[&id]), &["--note", "another"], not_these),
        ("alice", of(&[&id, "--duration", "1h"]), &[], not_these),
        ("erin", of(&[&id]), &[], "is not one of theirs"),
        ("erin", sign(&erin.0, NAMESPACE, &[], &text), &[], not_these),
        ("alice", sign(&erin.0, NAMESPACE, &[], &text), &[], "is not one of theirs"),
        ("alice", sign(&olivia, NAMESPACE, &[], &text), &[], "is not one of theirs"),
        ("alice", sign(&alice.0, "git", &[], &text), &[], "it was made for the namespace \"git\""),
    ] {
        let ran = approve_with(world, by, &[&[&*id], args].concat(), &signature).exits(3);
        assert!(ran.err.contains("the signature is not ") && ran.err.contains(why), "{why}: {}", ran.err);
    }
    assert_eq!(world.state(&id), "pending");
    // Each try is on the record.
    let tries = world.json("olivia", &["audit", "--action", "attempt.refused"]);
    assert!(tries.as_array().unwrap().len() >= 12, "{tries}");
    // Of an edited request.
    let before = of(&[&id]);
    world.run("carol", &["edit", &id, "--reason", "another"]).ok();
    let seen = world.json("alice", &["show", &id])["last_seq"].to_string();
    approve_with(world, "alice", &[&id, "--seen", &seen], &before).fails(3, not_these);
    // Nor is a signature used twice, once another approver has proposed other terms.
    let now = of(&[&id]);
    approve_with(world, "alice", &[&id, "--seen", &seen], &now).ok();
    assert_eq!(faults(world), [""; 0]);
}

#[test]
fn what_is_no_signature_is_refused() {
    let signing = &Signing::begin();
    let Signing { world, alice, .. } = signing;
    let id = world.request("bob", "target:orders-db", &[]);
    let good = sign(&alice.0, NAMESPACE, &[], &terms(world, "alice", &[&id]));
    let digits: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = STANDARD.decode(&digits).unwrap();
    let framed = |bytes: &[u8]| {
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", STANDARD.encode(bytes))
    };
    let mut version = bytes.clone();
    version[9] = 2;
    let mut length = bytes.clone();
    length[10] = 0xff;
    for wrong in [
        String::new(),
        "hello".to_owned(),
        good.replace("BEGIN SSH", "BEGIN PGP"),
        good.replace("-----END SSH SIGNATURE-----", ""),
        good.replace('U', "*"),
        framed(&bytes[..bytes.len() - 1]),
        framed(&[&bytes[..], b"x"].concat()),
        framed(&version),
        framed(&length),
        framed(&b"SSHSIG\0\0\0\x01".repeat(5)),
        framed(&vec![0; 1 << 16]),
        "A".repeat(17 << 20),
        STANDARD.encode(vec![0u8; 3 << 20]),
    ] {
        let ran = approve_with(world, "alice", &[&id], &wrong).exits(65);
        assert!(ran.err.contains("is not an SSH signature") || ran.err.contains("larger than 16 MiB"), "{}", ran.err);
    }
    // Each bit of the signature itself counts, and of the key and the purpose.
    for place in [20, 45, 70, bytes.len() - 1, bytes.len() - 40] {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        let code = approve_with(world, "alice", &[&id], &framed(&flipped)).code;
        assert!([3, 65].contains(&code), "{place}: {code}");
    }
    assert_eq!(world.state(&id), "pending");
    approve_with(world, "alice", &[&id], &digits).ok();
    assert_eq!(world.state(&id), "active");
}

#[test]
fn an_unsigned_approval_does_not_count_under_the_rule() {
    let signing = &Signing::begin();
    let world = &signing.world;
    let two = "\n[[rules]]\nname = \"two\"\nmatch = { resources = [\"target:orders-db\"] }\napprovers = [\"role:admin\"]\napprovals = 2\n";
    let keys = [("alice", &*signing.alice.1), ("erin", &*signing.erin.1)];
    world.apply("olivia", &team(&keys, two)).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    world.run("alice", &["approve", &id]).ok();
    // The rule comes later: alice's approval no longer counts, and she gives it again.
    world.apply("olivia", &team(&keys, &format!("{two}{RULE}"))).ok();
    let text = terms(world, "erin", &[&id]);
    approve_with(world, "erin", &[&id], &sign(&signing.erin.0, NAMESPACE, &[], &text)).ok();
    assert_eq!(world.state(&id), "pending");
    let shown = world.json("olivia", &["show", &id]);
    assert!(shown["approvals"]["waiting_on"].as_array().unwrap().contains(&json!("alice")), "{shown}");
    // olivia has no key. The server says so, and records it.
    let ran = world.run("olivia", &["approve", &id]).fails(3, "the team file has no SSH key of yours");
    assert!(ran.err.contains("ssh_keys in the team file"), "{}", ran.err);
    signing.approve(&[&id]).ok();
    assert_eq!(world.state(&id), "active");
    // Denying, and what is not under the rule, need none.
    let id = world.request("bob", "target:billing-db", &[]);
    world.run("olivia", &["approve", &id]).ok();
    let id = world.request("carol", "target:orders-db", &[]);
    world.run("olivia", &["deny", &id]).ok();
    assert_eq!(faults(world), [""; 0]);
}

#[test]
fn each_approver_signs_the_terms_on_the_table() {
    let signing = &Signing::begin();
    let Signing { world, alice, erin } = signing;
    let rule = "\n[[rules]]\nname = \"signed\"\nmatch = { resources = [\"target:orders-db\"] }\napprovers = [\"role:admin\"]\n\
                approvals = 2\nsigned = true\n";
    world.apply("olivia", &team(&[("alice", &alice.1), ("erin", &erin.1)], rule)).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let unchanged = sign(&alice.0, NAMESPACE, &[], &terms(world, "alice", &[&id]));
    approve_with(world, "alice", &[&id], &unchanged).ok();
    // erin changes the terms, which voids alice's approval. What alice signed before does not come back.
    let shorter = [&*id, "--duration", "1h"];
    let text = terms(world, "erin", &shorter);
    approve_with(world, "erin", &shorter, &sign(&erin.0, NAMESPACE, &[], &text)).ok();
    let seen = world.json("alice", &["show", &id])["last_seq"].to_string();
    let back = [&*id, "--duration", "4h", "--seen", &seen];
    approve_with(world, "alice", &back, &unchanged).fails(3, "it does not sign these terms");
    let text = terms(world, "alice", &[&id]);
    assert!(text.contains("\nduration: 1h\n") && text.contains(&format!("\nentry: {seen}\n")), "{seen}: {text}");
    approve_with(world, "alice", &[&id, "--seen", &seen], &sign(&alice.0, NAMESPACE, &[], &text)).ok();
    assert_eq!(world.json("olivia", &["show", &id])["grant"]["duration"], "1h");
    assert_eq!(faults(world), [""; 0]);
}

#[test]
fn keys_of_then_count_whatever_comes_later() {
    let signing = &Signing::begin();
    let Signing { world, alice, erin } = signing;
    let id = world.request("bob", "target:orders-db", &[]);
    let stale = sign(&alice.0, NAMESPACE, &[], &terms(world, "alice", &[&id]));
    let (new_file, new) = new_key(world, "new", &["-t", "ed25519"]);
    world.apply("olivia", &team(&[("alice", &new), ("erin", &erin.1)], RULE)).ok();
    // Not with a key that was theirs before.
    approve_with(world, "alice", &[&id], &stale).fails(3, "is not one of theirs");
    let text = terms(world, "alice", &[&id]);
    approve_with(world, "alice", &[&id], &sign(&new_file, NAMESPACE, &[], &text)).ok();
    // Keys that change later void nothing.
    world.apply("olivia", &team(&[("erin", &erin.1)], RULE)).ok();
    assert_eq!(faults(world), [""; 0]);
    let seq = world.rows("SELECT seq FROM event WHERE action = 'request.approved'")[0].clone();
    let view = world.json("olivia", &["audit", "signature", &seq]);
    assert!(view["allowed_signers"].as_str().unwrap().contains(&new), "{view}");
}

/// Whether ssh-keygen takes a signature, with what `audit signature` wrote.
fn verified(folder: &std::path::Path, approver: &str, text: &str) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-n", NAMESPACE, "-f", "allowed_signers", "-I", approver, "-s", "terms.sig"]);
    with_input(command.current_dir(folder), text).status.success()
}

#[test]
fn ssh_keygen_verifies_an_approval_elsewhere() {
    let signing = &Signing::begin();
    let world = &signing.world;
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let signed = terms(world, "alice", &[&id, "--duration", "2h"]);
    signing.approve(&[&id, "--duration", "2h"]).ok();
    world.run("olivia", &["audit", "signature", "4", "--to", "approval"]).ok();
    let folder = world.folder().join("approval");
    let text = std::fs::read_to_string(folder.join("terms")).unwrap();
    assert_eq!(text, signed);
    assert!(verified(&folder, "alice", &text));
    assert!(!verified(&folder, "erin", &text));
    assert!(!verified(&folder, "alice", &text.replace("2h", "4h")));
    for entry in ["1", "3", "5", "99", "0"] {
        world.run("olivia", &["audit", "signature", entry]).fails(4, "is not an approval that was signed");
    }
    world.run("bob", &["audit", "signature", "4"]).exits(3);
    world.run("olivia", &["audit", "signature", "4", "--to", "approval"]).exits(5);
    world.run("olivia", &["audit", "signature", "4"]).ok().says("-----BEGIN SSH SIGNATURE-----");
}

/// By the specification of the format, and ssh-keygen.
#[test]
fn a_program_of_others_verifies_all_approvals() {
    let signing = &Signing::begin();
    let Signing { world, alice, erin } = signing;
    let two = RULE.to_owned() + "approvers = [\"role:admin\"]\napprovals = 2\n";
    world.apply("olivia", &team(&[("alice", &alice.1), ("erin", &erin.1)], &two)).ok();
    let start = ["--start", "2026-11-25T09:00:00Z", "--until", "2026-11-26T09:00:00Z", "--ticket", "OPS-1"];
    let ask = ["request", "target:orders-db", "--reason", "ä \"quote\"\n\nrequest: 7 \\ €"];
    world.run("bob", &[&ask[..], &start].concat()).ok();
    world.run("carol", &[&ask[..], &["--duration", "permanent"]].concat()).ok();
    world.run("olivia", &[&ask[..], &["--for", "dave", "--duration", "90m"]].concat()).ok();
    let approve = |login: &str, key: &PathBuf, args: &[&str]| {
        let text = terms(world, login, args);
        let seen = world.json(login, &["show", args[0]])["last_seq"].to_string();
        approve_with(world, login, &[args, &["--seen", &seen]].concat(), &sign(key, NAMESPACE, &[], &text)).ok();
    };
    approve("alice", &alice.0, &["1", "--note", "a\nb"]);
    world.run("bob", &["edit", "1", "--reason", "another"]).ok();
    approve("erin", &erin.0, &["1"]);
    approve("alice", &alice.0, &["1"]);
    approve("alice", &alice.0, &["2"]);
    approve("erin", &erin.0, &["2", "--duration", "2h"]);
    approve("alice", &alice.0, &["2"]);
    approve("erin", &erin.0, &["3", "--until", "2026-11-24T20:00:00Z"]);
    approve("alice", &alice.0, &["3"]);
    assert_eq!(faults(world), [""; 0]);
    world.apply("olivia", &team(&[("alice", &erin.1)], RULE)).ok();
    let export = world.run("olivia", &["audit", "export", "--format", "raw"]).ok().out;
    let (ok, said) = verify_elsewhere(world, &export);
    assert!(ok && said.lines().count() == 8 && said.lines().all(|line| line.starts_with("ok: ")), "{said}");
    let (ok, said) = verify_elsewhere(world, &export.replace("another", "altered"));
    assert!(!ok && said.contains("NOT OK"), "{said}");
    let (ok, said) = verify_elsewhere(world, &export.replacen("\\\"seq\\\":", "\\\"seq\\\":9,\\\"seq\\\":", 1));
    assert!(!ok && said.is_empty(), "{said}");
}

/// Whether the program of `examples/` accepts a raw export, and what it says.
fn verify_elsewhere(world: &World, export: &str) -> (bool, String) {
    let program = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify_approvals.py");
    let file = world.folder().join("log.jsonl");
    std::fs::write(&file, export).unwrap();
    let ran = Command::new("python3").arg(&program).arg(&file).output().unwrap();
    (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
}

/// The raw export of a log with these entries.
fn raw(bodies: &[String]) -> String {
    let mut hash = [0u8; 32];
    let lines = bodies.iter().zip(1..).map(|(body, seq)| {
        hash = Sha256::new().chain_update(hash).chain_update(body).finalize().into();
        format!("{}\n", json!({ "seq": seq, "body": body, "hash": hex(&hash) }))
    });
    lines.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_program_of_others_takes_keys_only_from_changes_of_the_team() {
    let signing = &Signing::begin();
    let Signing { world, erin, .. } = signing;
    let id = world.request("bob", "target:orders-db", &["--duration", "4h"]);
    let text = terms(world, "alice", &[&id]);
    signing.approve(&[&id]).ok();
    let mut all = bodies(world);
    // Somebody who writes the file gives alice a key in an entry that changes no team, and signs with that.
    let evil = json!([{ "what": "member:alice", "to": { "ssh_keys": [erin.1] } }]);
    all[2] = all[2].replace("\"reason\":", &format!("\"changes\":{evil},\"reason\":"));
    let of = |bodies: &[String]| {
        bodies
            .iter()
            .fold([0u8; 32], |hash, body| Sha256::new().chain_update(hash).chain_update(body).finalize().into())
    };
    let before = text.lines().find_map(|line| line.strip_prefix("hash: ")).unwrap();
    let signature = sign(&erin.0, NAMESPACE, &[], &text.replace(before, &hex(&of(&all[..3]))));
    let digits: String = signature.lines().filter(|line| !line.starts_with('-')).collect();
    let mut entry: Value = serde_json::from_str(&all[3]).unwrap();
    entry["event"]["detail"]["signature"] = json!(digits);
    all[3] = entry.to_string();
    let (ok, said) = verify_elsewhere(world, &raw(&all));
    assert!(!ok && said.starts_with("NOT OK: entry 4"), "{said}");
}

#[test]
fn keys_of_each_type_sign_and_ssh_keygen_agrees() {
    let world = World::empty();
    world.run("olivia", &["init"]).ok();
    for (name, kind, more) in [
        ("ed", &["-t", "ed25519"][..], &[][..]),
        ("p256", &["-t", "ecdsa", "-b", "256"], &[]),
        ("p384", &["-t", "ecdsa", "-b", "384"], &["-O", "hashalg=sha256"]),
        ("rsa", &["-t", "rsa", "-b", "2048"], &[]),
    ] {
        let (file, public) = new_key(&world, name, kind);
        world.apply("olivia", &team(&[("alice", &public)], RULE)).ok();
        let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
        let text = terms(&world, "alice", &[&id]);
        // The numbers of ECDSA have leading zeros at times.
        let signature = sign(&file, NAMESPACE, more, &text);
        approve_with(&world, "alice", &[&id], &signature).ok();
        world.run("olivia", &["revoke", &id]).ok();
    }
    let (file, public) = new_key(&world, "p521", &["-t", "ecdsa", "-b", "521"]);
    world.apply("olivia", &team(&[("alice", &public)], RULE)).ok();
    let id = world.request("bob", "target:orders-db", &[]);
    let signature = sign(&file, NAMESPACE, &[], &terms(&world, "alice", &[&id]));
    approve_with(&world, "alice", &[&id], &signature).fails(3, "ecdsa-sha2-nistp521 keys can't be verified");
    assert_eq!(faults(&world), [""; 0]);
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A positive number, as SSH writes it.
fn number(bytes: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    field(&if bytes[0] < 0x80 { bytes } else { [&[0], &bytes[..]].concat() })
}

/// A security key, without the device: its type, its public part, and what signs.
type Device = (&'static str, Vec<u8>, Box<dyn Fn(&[u8]) -> Vec<u8>>);

fn devices() -> [Device; 2] {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let random = SystemRandom::new();
    let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret.as_ref(), &random).unwrap();
    let (ed_public, ec_public) = (field(ed.public_key().as_ref()), field(ec.public_key().as_ref()));
    let ec_sign = move |data: &[u8]| {
        let signature = ec.sign(&SystemRandom::new(), data).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        [number(r), number(s)].concat()
    };
    [
        ("sk-ssh-ed25519@openssh.com", ed_public, Box::new(move |data| ed.sign(data).as_ref().to_vec())),
        ("sk-ecdsa-sha2-nistp256@openssh.com", [field(b"nistp256"), ec_public].concat(), Box::new(ec_sign)),
    ]
}

#[test]
fn a_security_key_signs_only_when_it_is_touched() {
    for (algorithm, public, device) in devices() {
        let world = World::empty();
        world.run("olivia", &["init"]).ok();
        let blob = [field(algorithm.as_bytes()), public, field(b"ssh:")].concat();
        let key = format!("{algorithm} {}", STANDARD.encode(&blob));
        world.apply("olivia", &team(&[("alice", &key)], RULE)).ok();
        let id = world.request("bob", "target:orders-db", &[]);
        let text = terms(&world, "alice", &[&id]);
        let signature = |flags: u8| {
            let digest = field(&Sha512::digest(&text));
            let head = [field(NAMESPACE.as_bytes()), field(b""), field(b"sha512")].concat();
            let signed = [b"SSHSIG".as_slice(), &head, &digest].concat();
            let rest = [flags, 0, 0, 0, 9];
            let data = [&Sha256::digest(b"ssh:")[..], &rest, &Sha256::digest(&signed)[..]].concat();
            let made = [field(algorithm.as_bytes()), field(&device(&data)), rest.to_vec()].concat();
            let whole = [b"SSHSIG\0\0\0\x01".as_slice(), &field(&blob), &head, &field(&made)].concat();
            format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", STANDARD.encode(whole))
        };
        approve_with(&world, "alice", &[&id], &signature(0)).fails(3, "its security key was not touched");
        approve_with(&world, "alice", &[&id], &signature(4)).fails(3, "its security key was not touched");
        approve_with(&world, "alice", &[&id], &signature(1)).ok();
        world.run("olivia", &["audit", "signature", "6", "--to", "approval"]).ok();
        assert!(verified(&world.folder().join("approval"), "alice", &text), "{algorithm}");
        let export = world.run("olivia", &["audit", "export", "--format", "raw"]).ok().out;
        assert!(verify_elsewhere(&world, &export).0, "{algorithm}");
        // ssh-keygen does not ask for the touch.
        let digits = |flags: u8| -> String { signature(flags).lines().filter(|line| !line.starts_with('-')).collect() };
        let given: Value = serde_json::from_str(bodies(&world).get(5).unwrap()).unwrap();
        let given = given["event"]["detail"]["signature"].as_str().unwrap();
        let (ok, said) = verify_elsewhere(&world, &export.replace(given, &digits(0)));
        assert!(!ok && said.contains("nobody touched the security key"), "{said}");
        assert_eq!(faults(&world), [""; 0]);
    }
}

#[track_caller]
fn has(found: &[String], fault: &str) {
    assert!(found.iter().any(|it| it == fault), "{fault}: {found:?}");
}

/// Makes the last entry one of format 1.
fn as_format_1(world: &World) {
    let mut all = bodies(world);
    let last = all.last_mut().unwrap();
    *last = last.replace("\"v\":2", "\"v\":1");
    forge(world, &all, "");
}

#[test]
fn nobody_who_writes_the_file_forges_an_approval() {
    let history = || {
        let signing = Signing::begin();
        let Signing { world, alice, .. } = &signing;
        for (login, length) in [("bob", "4h"), ("carol", "2h")] {
            let id = world.request(login, "target:orders-db", &["--duration", length]);
            let text = terms(world, "alice", &[&id]);
            approve_with(world, "alice", &[&id], &sign(&alice.0, NAMESPACE, &[], &text)).ok();
        }
        assert_eq!(faults(world), [""; 0]);
        signing
    };
    let approvals = |bodies: &[String]| -> Vec<usize> {
        (0..bodies.len()).filter(|&at| bodies[at].contains("\"request.approved\"")).collect()
    };
    let signature_of = |body: &str| {
        let entry: Value = serde_json::from_str(body).unwrap();
        entry["event"]["detail"]["signature"].as_str().unwrap().to_owned()
    };
    let not_hers =
        |id: u32, why: &str| format!("the signature is not alice's for this approval of request {id}: {why}");
    let not_these = "it does not sign these terms";
    type Edit<'e> = &'e dyn Fn(&mut Vec<String>, &[usize], &Signing);
    let edited = |edit: Edit<'_>| -> Vec<String> {
        let signing = history();
        let mut all = bodies(&signing.world);
        let places = approvals(&all);
        edit(&mut all, &places, &signing);
        forge(&signing.world, &all, "");
        found(&signing.world)
    };
    // Without the signature, or with that of another request.
    let found = edited(&|all, at, _| {
        let signature = signature_of(&all[at[0]]);
        all[at[0]] = all[at[0]].replace(&format!(",\"signature\":\"{signature}\""), "");
    });
    has(&found, "request 1 is granted by an approval of alice that had to be signed, and was not");
    let found = edited(&|all, at, _| {
        let (first, second) = (signature_of(&all[at[0]]), signature_of(&all[at[1]]));
        all[at[0]] = all[at[0]].replace(&first, &second);
    });
    has(&found, &not_hers(1, not_these));
    // Other terms, another reason, and an earlier entry that was changed: the hash of what the approval rests on is signed too.
    for (from, to) in
        [("\"after\":\"4h\"", "\"after\":\"8h\""), ("\"testing\"", "\"staging\""), ("\"carol\"", "\"grace\"")]
    {
        let found = edited(&|all, _, _| all.iter_mut().for_each(|body| *body = body.replace(from, to)));
        has(&found, &not_hers(1, not_these));
        has(&found, &not_hers(2, not_these));
    }
    // A key that the team file did not have then.
    let found = edited(&|all, _, signing| {
        let blob = |key: &str| key.split(' ').nth(1).unwrap().to_owned();
        let (_, other) = new_key(&signing.world, "other", &["-t", "ed25519"]);
        all.iter_mut().for_each(|body| *body = body.replace(&blob(&signing.alice.1), &blob(&other)));
    });
    assert!(found.iter().any(|it| it.starts_with(&not_hers(1, "its key SHA256:"))), "{found:?}");
}

#[test]
fn a_grant_has_all_signed_approvals_in_a_log_that_is_true() {
    let signing = &Signing::begin();
    let Signing { world, alice, erin } = signing;
    let two = RULE.to_owned() + "approvers = [\"role:admin\"]\napprovals = 2\n";
    world.apply("olivia", &team(&[("alice", &alice.1), ("erin", &erin.1)], &two)).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    signing.approve(&[&id]).ok();
    // One of two has signed. Another demand is met, and that of the rule is left out.
    let granted = json!({ "action": "grant.started", "detail": { "request": 1, "member": "bob", "resource": "target:orders-db",
        "end": { "after": "1h" }, "starts_at": world.now().to_string(), "ends_at": "2026-11-24T10:00:00Z", "modified": false,
        "approved_by": ["alice"], "demands": [{ "approvals": 1, "by": ["alice"] }] } });
    forged::forge(world, Some("alice"), "alice", serde_json::from_value(granted).unwrap());
    let missing = "request 1 is granted without the approvals that rule \"signed\" demanded then";
    assert_eq!(found(world), [missing]);
    as_format_1(world);
    assert_eq!(found(world), ["it is of format 1, after entries of a later format", missing]);
}

#[test]
fn the_default_demand_is_met_too_in_a_log_that_is_true() {
    let rule = "\n[[rules]]\nname = \"dba\"\nmatch = { resources = [\"target:orders-db\"] }\napprovers = [\"member:carol\"]\n\
                signed = true\n";
    let long = |more: &str| format!("\n[[rules]]\nname = \"long\"\nmatch = {{ longer_than = \"8h\" }}\n{more}\n");
    let default = "request 1 is granted without the approvals that the default demanded then";
    for (more, expected) in [
        (String::new(), vec![default]),
        // Its place is taken by a rule with approvers alone.
        (long("max_duration = \"12h\""), vec![default]),
        // bob's other grants can have made the request count as longer. The log that is still in memory does not say.
        (long("approvers = [\"role:admin\"]"), vec![]),
    ] {
        let world = &World::empty();
        let carol = new_key(world, "carol", &["-t", "ed25519"]);
        world.run("olivia", &["init"]).ok();
        world.apply("olivia", &team(&[("carol", &carol.1)], &format!("{rule}{more}"))).ok();
        // It opens more than the rule names.
        let id = world.request("bob", "scope:orders-read", &["--duration", "1h"]);
        let text = terms(world, "carol", &[&id]);
        approve_with(world, "carol", &[&id], &sign(&carol.0, NAMESPACE, &[], &text)).ok();
        assert_eq!(world.state(&id), "pending");
        let granted = json!({ "action": "grant.started", "detail": { "request": 1, "member": "bob",
            "resource": "scope:orders-read", "end": { "after": "1h" }, "starts_at": world.now().to_string(),
            "ends_at": "2026-11-24T10:00:00Z", "modified": false, "approved_by": ["carol"],
            "demands": [{ "rule": "dba", "approvals": 1, "by": ["carol"] }] } });
        forged::forge(world, Some("carol"), "carol", serde_json::from_value(granted).unwrap());
        assert_eq!(found(world), expected, "{more}");
    }
}

#[test]
fn a_rule_that_demands_signatures_lets_no_other_rule_approve() {
    let signing = &Signing::begin();
    let Signing { world, alice, .. } = signing;
    let auto = "\n[[rules]]\nname = \"auto\"\nmatch = { resources = [\"target:*\"] }\nauto_approve = true\n";
    let glass = "\n[[rules]]\nname = \"glass\"\nemergency = true\n";
    world.apply("olivia", &team(&[("alice", &alice.1)], &format!("{auto}{RULE}{glass}"))).ok();
    let id = world.request("bob", "target:orders-db", &["--duration", "1h"]);
    assert_eq!(world.state(&id), "pending");
    let free = world.request("bob", "target:billing-db", &["--duration", "1h"]);
    assert_eq!(world.state(&free), "active");
    // An emergency goes ahead, and its review needs no signature.
    let taken = world.request("carol", "target:orders-db", &["--duration", "1h", "--emergency"]);
    assert_eq!(world.state(&taken), "active");
    world.run("olivia", &["review", &taken, "--note", "fine"]).ok();
    assert_eq!(faults(world), [""; 0]);
    // Nor did it in a log that is true.
    let now = world.now().to_string();
    let granted = json!({ "action": "grant.started", "detail": { "request": 1, "member": "bob", "resource": "target:orders-db",
        "end": { "after": "1h" }, "starts_at": now, "ends_at": "2026-11-24T10:00:00Z", "modified": false, "approved_by": [],
        "by_rule": "auto" } });
    forged::forge(world, Some("bob"), "bob", serde_json::from_value(granted).unwrap());
    let found = found(world);
    assert!(found.iter().any(|it| it.contains("rule \"auto\", which could not give it then")), "{found:?}");
    has(&found, "request 1 is granted by rule \"auto\", where approvals had to be signed");
    // Not by an entry of a format that says less either.
    as_format_1(world);
    let found = self::found(world);
    has(&found, "request 1 is granted by rule \"auto\", where approvals had to be signed");
    has(&found, "it is of format 1, after entries of a later format");
}

#[test]
fn a_team_file_demands_only_signatures_that_can_be_made() {
    let signing = &Signing::begin();
    let Signing { world, alice, .. } = signing;
    let rule = |more: &str| format!("\n[[rules]]\nname = \"s\"\nsigned = true\n{more}\n");
    for (rules, why) in [
        (rule("auto_approve = true"), "auto_approve, deny and emergency belong in a rule of their own"),
        (rule("deny = \"no\""), "auto_approve, deny and emergency belong in a rule of their own"),
        (rule("emergency = true"), "auto_approve, deny and emergency belong in a rule of their own"),
        (rule("approvers = [\"member:erin\"]"), "takes 1 approval, and has 0 approvers with ssh_keys"),
        (rule("approvers = [\"role:admin\"]\napprovals = 2"), "takes 2 approvals, and has 1 approver with ssh_keys"),
    ] {
        let ran = world.apply("olivia", &team(&[("alice", &alice.1)], &rules)).exits(65);
        assert!(ran.err.contains(why), "{why}: {}", ran.err);
    }
    let ran = world.apply("olivia", &team(&[("bob", &alice.1)], &rule(""))).exits(65);
    assert!(ran.err.contains("takes 1 approval, and has 0 approvers with ssh_keys"), "{}", ran.err);
    world.apply("olivia", &team(&[("alice", &alice.1)], &rule("approvers = [\"role:admin\"]"))).ok();
    let file = world.run("olivia", &["team", "show"]).ok().out;
    assert!(file.contains("signed = true"), "{file}");
    world.apply("olivia", &file).ok().says("Nothing changes");
}
