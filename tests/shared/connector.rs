//! Runs the connectors that access ships, as the reconciler does: operations in, answers out, one JSON object a line.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::host::{ACCESS, Ran, run};
use crate::recording::{Op, record};

/// One connector with its arguments, for values of one parameter.
pub struct Connector<'c> {
    pub args: &'c [&'c str],
    pub parameter: &'c str,
}

impl Connector<'_> {
    pub fn ran(&self, input: &str) -> Ran {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut command = self.command();
        command.stdin(Stdio::from(file));
        run(&mut command, format!("root# access connector {} <<< {input}", self.args.join(" ")))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(ACCESS);
        command.arg("connector").args(self.args).env_clear().current_dir("/");
        // As the reconciler has it: /usr/sbin is not there, where Debian has visudo.
        command.env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("HOME", "/");
        command
    }

    /// Revokes. All that was changed of the names in this folder lasts before the answer comes.
    #[track_caller]
    pub fn revoke_lasts(&self, login: &str, value: &str, folder: &Path) {
        let input = tempfile::tempdir().unwrap();
        fs::write(input.path().join("input"), format!("{}\n", self.operation("revoke", login, value))).unwrap();
        let ops = record(self.command().current_dir(input.path()), folder);
        let told = ops.iter().position(|op| *op == Op::Told).unwrap();
        let synced = ops[..told].iter().rposition(|op| *op == Op::Sync { path: folder.to_owned() });
        let synced = synced.unwrap_or_else(|| panic!("{folder:?} is not synced: {ops:?}"));
        let names = |op: &&Op| !matches!(op, Op::Write { .. } | Op::Sync { .. } | Op::SetLength { .. });
        let later: Vec<&Op> = ops[synced..told].iter().filter(names).collect();
        assert!(later.is_empty(), "{later:?}");
    }

    /// The answers to these operations.
    #[track_caller]
    pub fn answers(&self, operations: &[Value]) -> Vec<Value> {
        let input: String = operations.iter().map(|operation| format!("{operation}\n")).collect();
        let ran = self.ran(&input).ok();
        let answers: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), operations.len(), "{ran:?}");
        answers
    }

    fn parameters(&self, value: &str) -> Value {
        json!({ (self.parameter): value })
    }

    pub fn operation(&self, operation: &str, login: &str, value: &str) -> Value {
        json!({ "operation": operation, "login": login, "parameters": self.parameters(value), "request": 7, "until": null, "key": "k" })
    }

    #[track_caller]
    fn one(&self, operation: &Value) -> Value {
        self.answers(std::slice::from_ref(operation)).remove(0)
    }

    /// Grants, and gives the answer.
    #[track_caller]
    pub fn grant(&self, login: &str, value: &str) -> Value {
        self.one(&self.operation("grant", login, value))
    }

    #[track_caller]
    pub fn grant_until(&self, login: &str, value: &str, until: &str) -> Value {
        let mut operation = self.operation("grant", login, value);
        operation["until"] = until.into();
        self.one(&operation)
    }

    #[track_caller]
    pub fn revoke(&self, login: &str, value: &str) -> Value {
        self.one(&self.operation("revoke", login, value))
    }

    #[track_caller]
    pub fn revoke_and_end_sessions(&self, login: &str, value: &str) -> Value {
        let mut operation = self.operation("revoke", login, value);
        operation["end_sessions"] = true.into();
        self.one(&operation)
    }

    /// Who holds this value.
    #[track_caller]
    pub fn holders(&self, value: &str) -> Vec<String> {
        let answer = self.one(&json!({ "operation": "list", "parameters": [self.parameters(value)] }));
        let holds = answer["holds"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert!(holds.iter().all(|holder| holder["parameters"] == self.parameters(value)), "{answer}");
        holds.iter().map(|holder| holder["login"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn done() -> Value {
    json!({ "done": {} })
}

/// Why it was not done: `kind` is `failed` or `later`.
#[track_caller]
pub fn says(answer: &Value, kind: &str, words: &str) {
    assert!(answer[kind].as_str().is_some_and(|why| why.contains(words)), "{kind} {words:?}: {answer}");
}

#[track_caller]
pub fn notes(answer: &Value, words: &str) {
    assert!(answer["done"]["note"].as_str().is_some_and(|note| note.contains(words)), "{words:?}: {answer}");
}
