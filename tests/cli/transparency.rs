//! Checkpoints and proofs, verified by programs that know nothing of this one: Go's `note` and `tlog` packages, and the Python of
//! `examples/`, which has only what `docs/log-format.md` says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use access::domain::note::{KeyUse, Note, NoteKey, SigningKey, TreeHead};
use serde_json::{Value, json};

use crate::harness::{World, shows};
use crate::post::{Server, configure, header, smtp};
use crate::proof::{append, faults, forge};

/// The verifier in Go.
static GO: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-go");
    let program = folder.join("verify");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tlog/verify.go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source);
    // Offline: the packages are Debian's.
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", folder.join("cache"));
    let built = build.output().expect("go is installed (golang-go)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
});

fn python() -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut python = Command::new(target.join("test-python/bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify_proof.py"));
    python
}

impl World {
    fn keep(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn output(&self, args: &[&str]) -> String {
        self.run("alice", args).ok().out
    }

    fn key(&self) -> String {
        self.json("alice", &["audit", "key"]).as_array().unwrap().last().unwrap()["key"].as_str().unwrap().to_owned()
    }

    fn note(&self) -> String {
        self.output(&["audit", "checkpoint", "--note"])
    }
}

/// What both verifiers say: nothing, if it is not proved.
fn verified(keys: &[&str], what: &str, files: &[&Path]) -> Option<String> {
    let go = Command::new(&*GO).arg(keys.join(",")).arg(what).args(files).output().unwrap();
    let mut python = python();
    python.args(keys[1..].iter().flat_map(|key| ["--witness", *key])).arg(keys[0]).arg(what).args(files);
    let by_python = python.output().unwrap();
    let (err, go_err) = (String::from_utf8_lossy(&by_python.stderr), String::from_utf8_lossy(&go.stderr));
    assert_eq!(go.status.success(), by_python.status.success(), "{what}\nGo: {go_err}\nPython: {err}");
    assert!(go.status.success() || (go.status.code() == Some(1) && err.starts_with("not proved")), "{go_err}{err}");
    let out = String::from_utf8(by_python.stdout).unwrap();
    go.status.success().then_some(out)
}

fn history() -> World {
    let world = World::sample();
    world.grant("bob", "target:orders-db", "alice", &["--duration", "4h"]);
    world.request("carol", "target:billing-db", &[]);
    world
}

fn raw(world: &World) -> PathBuf {
    world.keep("log.jsonl", &world.output(&["audit", "export", "--format", "raw"]))
}

#[test]
fn a_checkpoint_and_every_proof_is_verified_by_others() {
    let world = history();
    let mut notes = vec![world.keep("note-1", &world.note())];
    let key = world.key();
    for (n, member) in (2..6).zip(["dave", "carol", "frank", "grace"]) {
        world.request(member, "target:orders-db", &[]);
        notes.push(world.keep(&format!("note-{n}"), &world.note()));
    }
    let log = raw(&world);
    let bodies: Vec<String> = world.rows("SELECT body FROM event ORDER BY seq");
    for note in &notes {
        assert!(verified(&[&key], "export", &[&log, note]).is_some());
        let proof = world.output(&["audit", "prove", "--consistency", note.to_str().unwrap()]);
        assert!(verified(&[&key], "consistency", &[note, &world.keep("proof", &proof)]).is_some(), "{proof}");
    }
    for (body, seq) in bodies.iter().zip(1..) {
        let proof = world.output(&["audit", "prove", &seq.to_string()]);
        let proof = world.keep("proof", &proof);
        assert_eq!(verified(&[&key], "entry", &[&proof]).as_deref(), Some(format!("{body}\n").as_str()));
    }
    // The checkpoint that somebody kept, as it is, rather than a new one.
    let old = notes[0].to_str().unwrap();
    let proof = world.output(&["audit", "prove", "2", "--checkpoint", old]);
    assert!(proof.ends_with(&std::fs::read_to_string(old).unwrap()));
    assert!(verified(&[&key], "entry", &[&world.keep("proof", &proof)]).is_some());
    world.run("alice", &["audit", "prove", "9", "--checkpoint", old]).fails(4, "no entry 9 among the first 6");
    world.run("alice", &["audit", "prove", "0"]).fails(4, "no entry 0");
    let view = world.json("alice", &["audit", "prove", "2"]);
    shows(&view, &json!({ "seq": 2, "size": bodies.len() }));
    let by_size = world.json("alice", &["audit", "prove", "--consistency", "6"]);
    shows(&by_size, &json!({ "old": 6, "size": bodies.len() }));
    world.run("bob", &["audit", "prove", "2"]).fails(3, "only admins");
    world.run("alice", &["audit", "verify"]).ok();
}

/// Attacks on what was handed over.
#[test]
fn others_refuse_what_was_altered() {
    let world = history();
    let old = world.keep("old", &world.note());
    let key = world.key();
    world.request("dave", "target:orders-db", &[]);
    let note = world.note();
    let new = world.keep("new", &note);
    let log = raw(&world);
    let exported = std::fs::read_to_string(&log).unwrap();
    let entry = world.output(&["audit", "prove", "3"]);
    let consistency = world.output(&["audit", "prove", "--consistency", old.to_str().unwrap()]);

    let refused = |what: &str, files: &[&Path]| assert_eq!(verified(&[&key], what, files), None, "{what}");
    // A log that was altered, shortened, or continued differently.
    let altered = world.keep("altered", &exported.replacen("testing", "breaking", 1));
    refused("export", &[&altered, &old]);
    let lines: Vec<&str> = exported.lines().collect();
    refused("export", &[&world.keep("short", &lines[..lines.len() - 1].join("\n")), &new]);
    // A proof of another entry, by another tree, or with hashes that are missing or too many.
    let lines: Vec<&str> = entry.split('\n').collect();
    let hash = lines[3];
    refused("entry", &[&world.keep("proof", &entry.replacen("index 2", "index 3", 1))]);
    refused("entry", &[&world.keep("proof", &entry.replacen(lines[1], "extra e30=", 1))]);
    refused("entry", &[&world.keep("proof", &entry.replacen(&format!("{hash}\n"), "", 1))]);
    refused("entry", &[&world.keep("proof", &entry.replacen(hash, &format!("{hash}\n{hash}"), 1))]);
    refused("consistency", &[&old, &world.keep("proof", &consistency.replacen("old 6", "old 5", 1))]);
    // Another key, also of the same name.
    let head = TreeHead::of(&note.parse().unwrap()).unwrap();
    let forger = SigningKey::new(&head.origin, KeyUse::Checkpoint, [7; 32]).unwrap();
    let forged = Note { text: head.text(), signatures: vec![forger.sign(&head.text())] };
    refused("export", &[&log, &world.keep("forged", &forged.to_string())]);
    let size = format!("\n{}\n", head.size);
    let larger = note.replacen(&size, &format!("\n{}\n", head.size - 1), 1);
    assert_ne!(larger, note);
    refused("export", &[&log, &world.keep("larger", &larger)]);
}

/// The one who can write the database, and has the key, writes the log again.
#[test]
fn a_fork_is_refused_by_others_and_by_this_program() {
    let world = history();
    let old = world.keep("old", &world.note());
    let key = world.key();
    let bodies: Vec<String> = world.rows("SELECT body FROM event ORDER BY seq");
    let mut forked = bodies.clone();
    forked[5] = forked[5].replacen("2026-11-24T09:00:00Z", "2026-11-24T09:00:01Z", 1);
    assert_ne!(forked, bodies);
    forge(&world, &forked, "");
    let kept = old.to_str().unwrap();
    world.run("alice", &["audit", "prove", "--consistency", kept]).fails(1, "its first 6 entries are others");
    world.run("alice", &["audit", "prove", "1", "--checkpoint", kept]).fails(1, "its first 6 entries are others");
    let ran = world.run("alice", &["audit", "verify", "--against", kept]).exits(1);
    assert!(ran.out.contains("entry 6: the log is not the one of the signed checkpoint of 6 entries"), "{}", ran.out);
    // With proofs from the fork.
    let proof = world.output(&["audit", "prove", "--consistency", "5"]).replacen("old 5", "old 6", 1);
    assert_eq!(verified(&[&key], "consistency", &[&old, &world.keep("proof", &proof)]), None);
    assert_eq!(verified(&[&key], "export", &[&raw(&world), &old]), None);

    forge(&world, &bodies[..4], "");
    world.run("alice", &["audit", "prove", "--consistency", kept]).fails(1, "its end was cut off");
}

#[test]
fn verify_takes_signed_and_older_checkpoints() {
    let world = history();
    let line = world.output(&["audit", "checkpoint"]);
    let note = world.note();
    let mut older: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(older.as_object_mut().unwrap().remove("note"), Some(Value::from(note.as_str())));
    world.request("dave", "target:orders-db", &[]);
    let later = world.note();
    let against = |text: &str| {
        let kept = world.keep("kept", text);
        world.run("alice", &["audit", "verify", "--against", kept.to_str().unwrap()])
    };
    against(&format!("{older}\n{line}")).ok().says("2 checkpoints");
    against(&note).ok().says("unchanged since the checkpoint");
    against(&format!("{note}\n{later}{note}")).ok().says("3 checkpoints");
    against(&format!("{note}and more")).fails(65, "not a checkpoint");
    against("").fails(65, "no checkpoint");

    let head = TreeHead::of(&note.parse().unwrap()).unwrap();
    let found = |head: &TreeHead, key: &SigningKey, fault: &str| {
        let note = Note { text: head.text(), signatures: vec![key.sign(&head.text())] };
        let ran = against(&note.to_string()).exits(1);
        assert!(ran.out.contains(fault), "{}", ran.out);
    };
    let ours: SigningKey = std::fs::read_to_string(world.folder().join("access.db.key")).unwrap().parse().unwrap();
    let other = SigningKey::new(&head.origin, KeyUse::Checkpoint, [7; 32]).unwrap();
    found(&head, &other, "has no valid signature of a key of this log");
    found(&TreeHead { size: 99, ..head.clone() }, &ours, "entry 99: the log ends at entry 7");
    found(&TreeHead { size: 4, ..head.clone() }, &ours, "entry 4: the log is not the one of the signed checkpoint");
    found(&TreeHead { origin: "access/other/00".to_owned(), ..head.clone() }, &ours, "is of the log access/other/00");
}

#[test]
fn the_key_is_made_once_and_replaced_by_the_owner() {
    let world = history();
    let file = world.folder().join("access.db.key");
    world.run("alice", &["audit", "key"]).ok().says("");
    assert!(!file.exists());
    let old = world.keep("old", &world.note());
    let first = world.key();
    world.note();
    assert_eq!(world.actions().iter().filter(|action| *action == "checkpoint_key.added").count(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);
    let name = first.parse::<NoteKey>().unwrap().name;
    assert!(name.starts_with("access/acme/"), "{name}");

    world.run("alice", &["audit", "key", "--rotate"]).fails(3, "only the owner");
    world.run("olivia", &["audit", "key", "--rotate"]).ok();
    let second = world.key();
    assert_ne!(first, second);
    let keys = world.json("alice", &["audit", "key"]);
    shows(
        &keys,
        &json!([{ "key": first, "host": null, "seq": 6, "replaced_by": 8 }, { "key": second, "replaced_by": null }]),
    );
    let new = world.keep("new", &world.note());
    // What the old key signed stays valid, and the new one continues the log.
    world.run("alice", &["audit", "verify", "--against", old.to_str().unwrap()]).ok();
    world.run("alice", &["audit", "verify", "--against", new.to_str().unwrap()]).ok();
    assert_eq!(verified(&[&first], "export", &[&raw(&world), &new]), None);
    assert!(verified(&[&second], "export", &[&raw(&world), &new]).is_some());

    // A draft that the log does not have, and one whose command died before it took its place.
    let draft = world.folder().join("access.db.key-new");
    let private = |path: &Path, text: &str| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    private(&draft, &SigningKey::new(&name, KeyUse::Checkpoint, [9; 32]).unwrap().secret_text());
    assert!(verified(&[&second], "export", &[&raw(&world), &world.keep("new", &world.note())]).is_some());
    std::fs::rename(&file, &draft).unwrap();
    assert!(verified(&[&second], "export", &[&raw(&world), &world.keep("new", &world.note())]).is_some());
    assert!(file.exists() && !draft.exists());

    // Lost, of another log, or the one before.
    let secret = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    world.run("alice", &["audit", "checkpoint"]).fails(65, "is missing");
    let other = SigningKey::new("access/other/00", KeyUse::Checkpoint, [7; 32]).unwrap();
    for (text, says) in [
        (other.secret_text(), "is the key of another log"),
        (
            SigningKey::new(&name, KeyUse::Checkpoint, [7; 32]).unwrap().secret_text(),
            "is not the key that the log names",
        ),
        ("nothing".to_owned(), "is no key"),
    ] {
        private(&file, &text);
        world.run("alice", &["audit", "checkpoint"]).fails(65, says);
    }
    std::fs::remove_file(&file).unwrap();
    world.run("olivia", &["audit", "key", "--rotate"]).ok();
    world.note();
    std::fs::write(&file, secret).unwrap();
    world.run("alice", &["audit", "checkpoint"]).fails(65, "is not the key that the log names");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    world.run("alice", &["list"]).fails(65, "can be read or written by others");
}

/// Entries that are forged by one who can write the file, with hashes that agree.
#[test]
fn forged_keys_and_checkpoints_are_found() {
    let world = history();
    let note: Note = world.note().parse().unwrap();
    let head = TreeHead::of(&note).unwrap();
    let whole = std::fs::read(world.db()).unwrap();
    let ours: SigningKey = std::fs::read_to_string(world.folder().join("access.db.key")).unwrap().parse().unwrap();
    let other = SigningKey::new(&head.origin, KeyUse::Checkpoint, [7; 32]).unwrap();
    let foreign = SigningKey::new("access/other/00", KeyUse::Checkpoint, [7; 32]).unwrap();
    let cosigner = SigningKey::new(&head.origin, KeyUse::Cosignature, [7; 32]).unwrap();
    let signed = |head: &TreeHead, key: &SigningKey| json!({ "note": Note { text: head.text(), signatures: vec![key.sign(&head.text())] }.to_string() });
    let short = TreeHead { size: 5, ..head.clone() };
    let wrong = TreeHead { root: [0; 32], ..head.clone() };
    let (key, old) = (other.public(), ours.public());
    for (actor, action, detail, fault) in [
        ("alice", "checkpoint_key.added", json!({ "key": old }), "is added a second time"),
        ("alice", "checkpoint_key.added", json!({ "key": foreign.public() }), "names another log"),
        ("alice", "checkpoint_key.added", json!({ "key": cosigner.public() }), "does not sign checkpoints"),
        ("bob", "checkpoint_key.added", json!({ "key": key }), "by somebody who is not an admin"),
        ("alice", "checkpoint_key.added", json!({ "key": key, "replaces": old }), "not by the owner"),
        ("olivia", "checkpoint_key.added", json!({ "key": key, "replaces": key }), "replaces one that did not sign"),
        ("", "checkpoint.taken", signed(&head, &other), "is not signed by a key of this log"),
        ("", "checkpoint.taken", signed(&short, &ours), "is of 5 entries, and is not of those before it"),
        ("", "checkpoint.taken", signed(&wrong, &ours), "its checkpoint is not of the entries before it"),
        ("alice", "checkpoint.taken", signed(&head, &ours), "is taken by a member"),
        ("", "checkpoint.taken", json!({ "note": "nothing" }), "it can't be read"),
        // These two are honest.
        ("olivia", "checkpoint_key.added", json!({ "key": key, "replaces": old }), ""),
        ("", "checkpoint.taken", signed(&head, &ours), ""),
    ] {
        let actor = if actor.is_empty() { "null".to_owned() } else { format!("{actor:?}") };
        let event = json!({ "action": action, "detail": detail });
        append(
            &world,
            &format!(
                r#"{{"v":2,"seq":{},"at":"2026-11-24T09:00:00Z","actor":{actor},"os_user":"root","event":{event}}}"#,
                head.size + 1
            ),
        );
        let found = faults(&world);
        assert_eq!(found.len(), usize::from(!fault.is_empty()), "{action} {detail}: {found:?}");
        assert!(found.iter().all(|found| found.contains(fault)), "{action} {detail}: {found:?}");
        std::fs::write(world.db(), &whole).unwrap();
    }
}

#[test]
fn expire_takes_checkpoints_at_a_rhythm_and_keeps_the_last_in_a_file() {
    let world = history();
    let kept = world.folder().join("kept");
    std::fs::create_dir_all(world.folder().join(".config/access")).unwrap();
    let config = format!("[checkpoints]\nevery = \"1d\"\nfile = {kept:?}\n");
    std::fs::write(world.folder().join(".config/access/config.toml"), config).unwrap();
    let taken = || world.actions().iter().filter(|action| *action == "checkpoint.taken").count();
    world.run("olivia", &["expire", "--dry-run"]).ok();
    assert_eq!(taken(), 0);
    world.run("olivia", &["expire"]).ok();
    world.run("olivia", &["expire"]).ok();
    assert_eq!(taken(), 1);
    let (key, first) = (world.key(), world.keep("first", &std::fs::read_to_string(&kept).unwrap()));
    assert!(verified(&[&key], "export", &[&raw(&world), &first]).is_some());
    // What is lost is written again, and what is not ours is left alone.
    std::fs::remove_file(&kept).unwrap();
    world.run("olivia", &["expire"]).ok();
    assert_eq!(std::fs::read(&kept).unwrap(), std::fs::read(&first).unwrap());
    world.pass("23h");
    world.run("olivia", &["expire"]).ok();
    assert_eq!(taken(), 1);
    world.pass("1h");
    world.run("olivia", &["expire"]).ok();
    assert_eq!(taken(), 2);
    let proof = world.output(&["audit", "prove", "--consistency", kept.to_str().unwrap()]);
    assert!(verified(&[&key], "consistency", &[&kept, &world.keep("proof", &proof)]).is_some());
    let proof = world.output(&["audit", "prove", "--consistency", first.to_str().unwrap()]);
    assert!(verified(&[&key], "consistency", &[&first, &world.keep("proof", &proof)]).is_some());
    world.run("olivia", &["audit", "verify", "--against", kept.to_str().unwrap()]).ok();

    let rewritten = std::fs::read_to_string(&first).unwrap().replace("\n6\n", "\n999\n");
    for other in ["important\n", rewritten.as_str()] {
        std::fs::write(&kept, other).unwrap();
        let ran = world.run("olivia", &["expire"]).exits(1);
        assert!(ran.err.contains("is kept as it is"), "{}", ran.err);
        assert!(!ran.err.contains(".key"), "{}", ran.err);
        world.run("alice", &["audit", "checkpoint", "--to", kept.to_str().unwrap()]).fails(5, "is kept as it is");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), other);
    }
    // A file that is damaged keeps no checkpoint from being taken.
    world.pass("1d");
    let ran = world.run("olivia", &["expire"]).exits(1);
    assert!(ran.err.contains("is kept as it is"), "{}", ran.err);
    assert_eq!(taken(), 3);
    std::fs::remove_file(&kept).unwrap();
    world.run("olivia", &["expire"]).ok();
    // A later one, taken by hand, stays until the next.
    world.run("alice", &["audit", "checkpoint", "--to", kept.to_str().unwrap()]).ok();
    let by_hand = std::fs::read_to_string(&kept).unwrap();
    world.run("olivia", &["expire"]).ok();
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), by_hand);
    world.run("bob", &["request", "target:billing-db", "--reason", "x"]).ok();
    world.pass("1d");
    world.run("olivia", &["expire"]).ok();
    assert_ne!(std::fs::read_to_string(&kept).unwrap(), by_hand);
    world.run("alice", &["audit", "checkpoint", "--to", first.to_str().unwrap()]).ok();
    assert!(verified(&[&key], "export", &[&raw(&world), &first]).is_some());
    // The key is not the file's fault.
    std::fs::rename(world.folder().join("access.db.key"), world.folder().join("away")).unwrap();
    world.pass("1d");
    let ran = world.run("olivia", &["expire"]).exits(1);
    assert!(ran.err.contains("access.db.key is missing") && !ran.err.contains("as it is"), "{}", ran.err);
}

#[test]
fn a_checkpoint_of_a_history_that_was_lost_is_evidence_and_stays() {
    let world = history();
    let (kept, backup) = (world.folder().join("kept"), world.folder().join("backup"));
    std::fs::create_dir_all(world.folder().join(".config/access")).unwrap();
    let config = format!("[checkpoints]\nevery = \"1d\"\nfile = {kept:?}\n");
    std::fs::write(world.folder().join(".config/access/config.toml"), config).unwrap();
    world.note();
    world.run("olivia", &["backup", backup.to_str().unwrap()]).ok();
    let request = |times: usize| {
        (0..times).for_each(|_| {
            world.run("bob", &["request", "target:billing-db", "--reason", "x"]).ok();
            let id = world.rows("SELECT max(id) FROM request").concat();
            world.run("bob", &["withdraw", &id, "--yes"]).ok();
        });
    };
    request(1);
    world.run("olivia", &["expire"]).ok();
    let of_what_was_lost = std::fs::read_to_string(&kept).unwrap();

    std::fs::copy(&backup, world.db()).unwrap();
    ["-wal", "-shm"].iter().for_each(|end| {
        let _ = std::fs::remove_file(format!("{}{end}", world.db().display()));
    });
    // The other history becomes longer than the lost one.
    world.pass("1d");
    request(3);
    let ran = world.run("olivia", &["expire"]).exits(1);
    assert!(ran.err.contains("is kept as it is: the log is not the one of the checkpoint"), "{}", ran.err);
    world.run("alice", &["audit", "checkpoint", "--to", kept.to_str().unwrap()]).fails(5, "is kept as it is");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), of_what_was_lost);
}

#[test]
fn a_report_has_the_signed_checkpoint_of_its_log() {
    let world = history();
    let log = || world.json("alice", &["report"])["log"].clone();
    assert_eq!(log()["note"], Value::Null, "a report makes no key");
    assert!(world.output(&["report", "--html", "-"]).contains("&quot;head&quot;:"));
    world.note();
    let note = log()["note"].as_str().unwrap().to_owned();
    let kept = world.keep("of-report", &note);
    assert!(verified(&[&world.key()], "export", &[&raw(&world), &kept]).is_some());
    let page = world.output(&["report", "--html", "-"]);
    assert!(note.lines().all(|line| page.contains(line)), "{note}");
    // Without the private key it is as before.
    std::fs::remove_file(world.folder().join("access.db.key")).unwrap();
    assert_eq!(log()["note"], Value::Null);
}

/// The attachments of a mail, byte by byte, as somebody else's library reads them.
fn attachments(mail: &Value) -> Vec<String> {
    let decode = "import email, email.policy, json, sys; m = email.message_from_string(sys.argv[1], policy=email.policy.default)\n\
                  print(json.dumps([p.get_payload(decode=True).decode() for p in m.iter_attachments()]))";
    let output = crate::post::python().args(["-c", decode, mail["data"].as_str().unwrap()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_mailbox_that_gets_each_checkpoint_is_a_witness() {
    let world = history();
    world.rows("DELETE FROM outbox");
    let mail = Server::mail(&world, &[]);
    let section = "[checkpoints]\nevery = \"1d\"\nmail = [\"auditor@big4.example\", \"vault@acme.example\"]\n";
    configure(&world, section);
    let ran = world.run("olivia", &["deliver"]).exits(65);
    assert!(ran.err.contains("does not say how to send it"), "{}", ran.err);
    configure(&world, &format!("{}{section}", smtp(mail.port)));
    let send = || (world.run("olivia", &["expire"]).ok(), world.run("olivia", &["expire"]).ok());
    send();
    send();
    // Members get mail too.
    let checkpoints = || {
        let is_checkpoint = |mail: &Value| mail["data"].as_str().unwrap().contains("Checkpoint of");
        mail.got().into_iter().filter(is_checkpoint).collect::<Vec<Value>>()
    };
    let got = checkpoints();
    let to: Vec<&Value> = got.iter().map(|mail| &mail["to"]).collect();
    assert_eq!(to, [&json!(["auditor@big4.example"]), &json!(["vault@acme.example"])], "each once");
    assert_eq!(header(got[0]["data"].as_str().unwrap(), "Subject").unwrap(), "[acme] Checkpoint of 6 entries");
    let first = world.keep("first", &attachments(&got[0])[0]);
    let key = world.key();
    assert!(verified(&[&key], "export", &[&raw(&world), &first]).is_some(), "others verify what the mailbox has");

    // A server that does not take it gets it later, once.
    let earlier = std::fs::read(world.db()).unwrap();
    world.pass("1d");
    std::fs::write(world.folder().join("mail.rules"), r#"{"data": "451 later"}"#).unwrap();
    send();
    assert_eq!(checkpoints().len(), 2);
    let waiting = world.json("olivia", &["outbox"]);
    let waiting = waiting.as_array().unwrap().iter().filter(|row| row["event"] == "checkpoint");
    let to: Vec<&Value> = waiting.map(|row| &row["channel"]).collect();
    assert_eq!(to, ["email:auditor@big4.example", "email:vault@acme.example"]);
    std::fs::remove_file(world.folder().join("mail.rules")).unwrap();
    world.pass("10m");
    send();
    let got = checkpoints();
    assert_eq!(got.len(), 4);
    let both = attachments(&got[0])[0].clone() + &attachments(&got[2])[0];
    let both = world.keep("both", &both);
    let verify = || world.run("alice", &["audit", "verify", "--against", both.to_str().unwrap()]);
    verify().ok().says("2 checkpoints");

    // A log that is put back, and one that is written anew, do not fit what the mailbox has.
    let now = std::fs::read(world.db()).unwrap();
    std::fs::write(world.db(), &earlier).unwrap();
    verify().exits(1);
    std::fs::write(world.db(), &now).unwrap();
    assert_eq!(verified(&[&key], "export", &[&raw(&history()), &first]), None);
}

#[test]
fn a_witness_signs_continuations_and_no_fork() {
    let (world, witness) = (history(), World::empty());
    let first = world.keep("first", &world.note());
    let key = world.key();
    let sign = |file: &Path, more: &[&str]| {
        witness.run("wanda", &[&["audit", "witness", file.to_str().unwrap()], more].concat())
    };
    let name = ["--name", "example.com/wanda"];
    let known = witness.run("wanda", &[&["audit", "witness"], &name[..]].concat()).ok().out.trim().to_owned();
    assert!(known.starts_with("example.com/wanda+"), "{known}");
    sign(&first, &[]).fails(3, "no key that this witness trusts");
    let cosigned = |note: &str, signature: &str| world.keep("cosigned", &format!("{note}{signature}"));
    let signature = sign(&first, &["--log", &key]).ok().out;
    let both = cosigned(&std::fs::read_to_string(&first).unwrap(), &signature);
    assert!(verified(&[&key, &known], "export", &[&raw(&world), &both]).is_some());
    assert_eq!(verified(&[&key, &known], "export", &[&raw(&world), &first]), None);
    sign(&first, &[]).ok();
    // A proof that leads to what the witness signed.
    let proof = world.output(&["audit", "prove", "3", "--checkpoint", both.to_str().unwrap()]);
    assert!(verified(&[&key, &known], "entry", &[&world.keep("proof", &proof)]).is_some());

    let whole = std::fs::read(world.db()).unwrap();
    world.request("dave", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    let request = |old: &str| world.keep("request", &world.output(&["audit", "prove", "--consistency", old]));
    sign(&request("5"), &[]).fails(5, "has seen 6 entries, not 5");
    sign(&world.keep("alone", &world.note()), &[]).fails(5, "has seen 6 entries, not 0");
    sign(&request("6"), &[]).ok();

    // Smaller, forked at the same size, and forked before a larger one.
    sign(&first, &[]).fails(1, "has 6 entries, and this witness has seen 8");
    std::fs::write(world.db(), &whole).unwrap();
    world.request("grace", "target:orders-db", &[]);
    world.request("frank", "target:orders-db", &[]);
    sign(&request("6"), &[]).fails(1, "is not the one that this witness has seen");
    world.request("dave", "target:orders-db", &[]);
    sign(&request("8"), &[]).fails(1, "does not continue the one of 8");
    let forged = SigningKey::new(&key.parse::<NoteKey>().unwrap().name, KeyUse::Checkpoint, [7; 32]).unwrap();
    let head = TreeHead { origin: forged.public().name.clone(), size: 9, root: [0; 32] };
    let note = Note { text: head.text(), signatures: vec![forged.sign(&head.text())] };
    sign(&world.keep("forged", &format!("old 8\n\n{note}")), &[]).fails(3, "no key that this witness trusts");
    sign(&world.keep("nothing", "nothing"), &[]).fails(65, "nothing that a witness signs");
    // None of this has changed what it knows.
    std::fs::write(world.db(), &whole).unwrap();
    world.request("dave", "target:orders-db", &[]);
    world.request("carol", "target:orders-db", &[]);
    world.request("grace", "target:orders-db", &[]);
    let request = request("8");
    sign(&request, &[]).ok();
}
