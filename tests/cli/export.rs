//! A raw export can be verified by anybody, with the lines that docs/log-format.md prints.

use std::path::PathBuf;
use std::process::Command;

use access::domain::event::ACTIONS;
use serde_json::{Value, json};

use crate::harness::World;

const DOCUMENT: &str = include_str!("../../docs/log-format.md");

/// The program in the document, exactly.
fn program() -> &'static str {
    let (_, after) = DOCUMENT.split_once("```python\n").unwrap();
    let (program, rest) = after.split_once("```\n").unwrap();
    assert!(!rest.contains("```python"), "the document has one program");
    program
}

fn world() -> World {
    let world = World::sample();
    world.run("bob", &["request", "target:orders-db", "--reason", "Größe\n\"quoted\" \u{1f680} and more"]).ok();
    world.run("alice", &["approve", "1", "--note", "fine"]).ok();
    world.run("bob", &["audit"]).exits(3);
    world.request("carol", "target:billing-db", &[]);
    world
}

fn export(world: &World) -> Vec<String> {
    let ran = world.run("alice", &["audit", "export", "--format", "raw"]).ok();
    assert!(ran.out.ends_with('\n'));
    ran.out.split_terminator('\n').map(str::to_owned).collect()
}

fn checkpoint(world: &World) -> String {
    world.run("alice", &["audit", "checkpoint"]).ok().out
}

/// Runs the program on these lines: what it prints, or what it fails with.
fn verify(world: &World, lines: &[String], checkpoints: Option<&str>) -> Result<String, String> {
    let file = |name: &str, text: &str| -> PathBuf {
        let path = world.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut python = Command::new("python3");
    python.arg("-I").arg(file("verify.py", program()));
    python.arg(file("log.jsonl", &lines.iter().map(|line| format!("{line}\n")).collect::<String>()));
    python.args(checkpoints.map(|kept| file("kept.jsonl", kept)));
    let output = python.output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!err.contains("Traceback"), "{err}");
    if output.status.success() { Ok(out) } else { Err(err) }
}

#[test]
fn a_raw_export_holds_the_stored_bytes_and_nothing_else() {
    let world = world();
    let rows = world.rows("SELECT hex(body) || ' ' || lower(hex(hash)) FROM event ORDER BY seq");
    let lines = export(&world);
    assert_eq!(lines.len(), rows.len());
    for ((line, row), seq) in lines.iter().zip(&rows).zip(1..) {
        let entry: Value = serde_json::from_str(line).unwrap();
        let body = entry["body"].as_str().unwrap();
        let hex: String = body.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(format!("{hex} {}", entry["hash"].as_str().unwrap()), *row);
        assert_eq!(entry, json!({ "seq": seq, "body": body, "hash": entry["hash"] }));
    }
    world.run("bob", &["audit", "export", "--format", "raw"]).fails(3, "only admins");
}

#[test]
fn anybody_verifies_an_export_with_the_lines_of_the_document() {
    assert!(program().lines().count() <= 20);
    let world = world();
    let early = checkpoint(&world);
    world.run("alice", &["deny", "2"]).ok();
    let (lines, late) = (export(&world), checkpoint(&world));
    let said = verify(&world, &lines, None).unwrap();
    let head: Value = serde_json::from_str(&late).unwrap();
    assert_eq!(said, format!("{} entries; the last hash is {}\n", lines.len(), head["head"].as_str().unwrap()));
    verify(&world, &lines, Some(&format!("{early}\n{late}"))).unwrap();

    // A byte of each entry in turn; a hash; a line that is gone; two that changed places.
    for n in 0..lines.len() {
        let mut changed = lines.clone();
        changed[n] = changed[n].replacen("olivia", "olivja", 1).replacen("alice", "alise", 1).replacen("bob", "bib", 1);
        changed[n] = changed[n].replacen("carol", "carul", 1);
        assert_ne!(changed[n], lines[n]);
        verify(&world, &changed, None).unwrap_err();
        if n + 1 < lines.len() {
            let mut removed = lines.clone();
            removed.remove(n);
            assert!(verify(&world, &removed, None).unwrap_err().contains("missing or not in its place"));
            let mut swapped = lines.clone();
            swapped.swap(n, n + 1);
            verify(&world, &swapped, None).unwrap_err();
        }
    }
    let mut doubled = lines.clone();
    doubled.push(lines[lines.len() - 1].clone());
    verify(&world, &doubled, None).unwrap_err();

    // An end that was cut off shows only by a checkpoint that was taken after it.
    let cut = &lines[..lines.len() - 1];
    verify(&world, cut, None).unwrap();
    verify(&world, cut, Some(&early)).unwrap();
    assert!(verify(&world, cut, Some(&late)).unwrap_err().contains("the log does not have this entry"));
    verify(&world, &[], Some(&early)).unwrap_err();
    let moved = early.replace("\"seq\":7", "\"seq\":6");
    assert_ne!(moved, early);
    verify(&world, &lines, Some(&moved)).unwrap_err();
}

#[test]
fn what_this_program_can_not_read_is_exported_all_the_same() {
    let world = world();
    world.rows(
        "DROP TRIGGER event_no_update;
         UPDATE event SET body = replace(body, 'request.submitted', 'request.dreamt' || char(8232)), hash = x'00' WHERE seq = 2",
    );
    world.run("alice", &["audit", "export", "--format", "jsonl"]).exits(65);
    let lines = export(&world);
    assert_eq!(lines.len(), 6);
    // What a terminal or an editor would act on is escaped, and means the same.
    assert!(lines[1].contains("request.dreamt\\u2028") && lines[1].contains("\"hash\":\"00\""), "{}", lines[1]);
    verify(&world, &lines, None).unwrap_err();
}

#[test]
fn jsonl_loses_nothing_of_an_entry() {
    let world = world();
    let jsonl = world.run("alice", &["audit", "export", "--format", "jsonl"]).ok().out;
    let parse = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    for (line, raw) in jsonl.lines().zip(export(&world)) {
        let (shown, raw) = (parse(line), parse(&raw));
        let stored = parse(raw["body"].as_str().unwrap());
        for field in ["v", "seq", "at", "actor", "os_user", "told_from"] {
            assert_eq!(shown[field], stored[field], "{field}");
        }
        assert_eq!((&shown["action"], &shown["detail"]), (&stored["event"]["action"], &stored["event"]["detail"]));
        assert_eq!(shown["hash"], raw["hash"]);
        let told = shown["told"].as_array().unwrap().iter().map(|told| json!([told["member"], told["event"]]));
        assert_eq!(Value::Array(told.collect()), stored.get("told").cloned().unwrap_or_else(|| json!([])));
    }
}

#[test]
fn the_document_names_every_action() {
    for action in ACTIONS {
        assert!(DOCUMENT.contains(&format!("| `{action}` |")), "{action}");
    }
}
