//! What the output and the end of a program say about each operation.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde_json::Value;

use crate::connectors::protocol::{ConnectorAnswer, Holder, Operation};
use crate::domain::text::{shortened, visible};

/// The answer to one operation. Err: whether it was done is unknown, and why.
pub type Answered = Result<ConnectorAnswer, String>;

/// The exit status with which a program says that it may work later (EX_TEMPFAIL).
const LATER: i32 = 75;
/// The longest reason that is reported, in characters.
const WHY: usize = 300;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    Exited(i32),
    /// By a signal that access did not send.
    Killed(i32),
    /// Access ended it: why.
    Stopped(String),
}

impl ProgramEnd {
    pub fn of(status: ExitStatus) -> ProgramEnd {
        match (status.code(), status.signal()) {
            (Some(code), _) => ProgramEnd::Exited(code),
            (None, signal) => ProgramEnd::Killed(signal.unwrap_or_default()),
        }
    }

    fn describe(&self, said: &str) -> String {
        let ended = match self {
            ProgramEnd::Exited(0) => "it did not answer".to_owned(),
            ProgramEnd::Exited(code) => format!("it ended with the exit status {code}"),
            ProgramEnd::Killed(signal) => format!("signal {signal} ended it"),
            ProgramEnd::Stopped(why) => why.clone(),
        };
        if said.is_empty() { ended } else { format!("{said} ({ended})") }
    }
}

/// The last line of a text that says anything, in visible characters.
pub fn one_line(text: &str) -> String {
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    shortened(&visible(last, false), WHY).into_owned()
}

/// The answer to each operation. `said`: what the program said on its standard error.
pub fn answers(operations: &[Operation], output: &[u8], ended: &ProgramEnd, said: &str) -> Vec<Answered> {
    let unclear = |why: String| vec![Err(why); operations.len()];
    let text = String::from_utf8_lossy(output);
    let complete = |line: &&str| !line.trim().is_empty();
    let mut lines: Vec<&str> = text.lines().filter(complete).collect();
    if !matches!(ended, ProgramEnd::Exited(_)) {
        // It may have been stopped in the middle of a line.
        if !text.ends_with('\n') {
            lines.pop();
        }
        if output.is_empty() {
            return unclear(ended.describe(said));
        }
    }
    if lines.len() > operations.len() {
        return unclear(format!("it printed {} answers to {} operations", lines.len(), operations.len()));
    }
    let mut parsed = Vec::new();
    for line in &lines {
        match parse(line) {
            Ok(answer) => parsed.push(answer),
            Err(why) => {
                let (why, shown) = (one_line(&why), one_line(line));
                let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
                return unclear(format!(
                    "it printed a line that is no answer ({why}): {}{said}",
                    shortened(&shown, 80)
                ));
            }
        }
    }
    if parsed.len() == operations.len() {
        return operations.iter().zip(parsed).map(|(operation, answer)| fitting(operation, answer)).collect();
    }
    in_part(operations, parsed, ended, said)
}

/// An answer has to be of the kind that the operation asks for.
fn fitting(operation: &Operation, answer: ConnectorAnswer) -> Answered {
    match (operation, &answer) {
        (Operation::List { .. }, ConnectorAnswer::Done { .. }) => Err("it answered `list` with `done`".to_owned()),
        (Operation::Grant(_) | Operation::Revoke(_), ConnectorAnswer::Holds(_)) => {
            Err("it answered an act with a list".to_owned())
        }
        _ => Ok(answer),
    }
}

/// Fewer answers than operations. What is listed belongs to `list`, the rest to the acts, in their order. A program that
/// says nothing of its acts says it with its exit status.
fn in_part(operations: &[Operation], parsed: Vec<ConnectorAnswer>, ended: &ProgramEnd, said: &str) -> Vec<Answered> {
    let is_list = |answer: &ConnectorAnswer| matches!(answer, ConnectorAnswer::Holds(_));
    let (lists, acts): (Vec<_>, Vec<_>) = parsed.into_iter().partition(is_list);
    let silent = acts.is_empty();
    let (mut lists, mut acts) = (lists.into_iter(), acts.into_iter());
    let by_status = |is_list: bool| match ended {
        ProgramEnd::Exited(0) if silent && !is_list => Ok(ConnectorAnswer::done()),
        ProgramEnd::Exited(LATER) => Ok(ConnectorAnswer::Later(ended.describe(said))),
        ProgramEnd::Exited(code) if *code != 0 => Ok(ConnectorAnswer::Failed(ended.describe(said))),
        ProgramEnd::Exited(_) | ProgramEnd::Killed(_) | ProgramEnd::Stopped(_) => Err(ended.describe(said)),
    };
    let answer = |operation: &Operation| match operation {
        Operation::List { .. } => lists.next().map_or_else(|| by_status(true), Ok),
        Operation::Grant(_) | Operation::Revoke(_) => acts.next().map_or_else(|| by_status(false), Ok),
    };
    operations.iter().map(answer).collect()
}

fn parse(line: &str) -> Result<ConnectorAnswer, String> {
    let value: Value = serde_json::from_str(line).map_err(|_| "not JSON".to_owned())?;
    if let Some(holds) = value.get("holds").and_then(Value::as_array) {
        let holders: Result<Vec<Option<Holder>>, String> = holds.iter().map(holder).collect();
        return Ok(ConnectorAnswer::Holds(holders?.into_iter().flatten().collect()));
    }
    let answer = serde_json::from_value(value).map_err(|error| error.to_string())?;
    Ok(match answer {
        ConnectorAnswer::Later(why) => ConnectorAnswer::Later(one_line(&why)),
        ConnectorAnswer::Failed(why) => ConnectorAnswer::Failed(one_line(&why)),
        ConnectorAnswer::Done { note, was_there } => {
            ConnectorAnswer::Done { note: note.map(|note| one_line(&note)).filter(|note| !note.is_empty()), was_there }
        }
        ConnectorAnswer::Holds(_) => return Err("holds is not a list".to_owned()),
    })
}

/// None: a login or parameters that no member and no binding can have, so they are none of ours.
fn holder(value: &Value) -> Result<Option<Holder>, String> {
    match serde_json::from_value(value.clone()) {
        Ok(holder) => Ok(Some(holder)),
        Err(_) if value["login"].is_string() && value["parameters"].is_object() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::protocol::Provision;

    fn act() -> Provision {
        Provision {
            login: "bob".parse().unwrap(),
            parameters: [("role".parse().unwrap(), "rw".parse().unwrap())].into(),
            request: None,
            until: None,
            end_sessions: false,
            key: "k".to_owned(),
        }
    }

    /// A grant, a revoke and a list.
    fn operations() -> Vec<Operation> {
        vec![Operation::Grant(act()), Operation::Revoke(act()), Operation::List { parameters: Vec::new() }]
    }

    fn done() -> Answered {
        Ok(ConnectorAnswer::done())
    }

    const HOLDS: &str = r#"{"holds":[{"login":"bob","parameters":{"role":"rw"}}]}"#;

    fn bob() -> Answered {
        let act = act();
        Ok(ConnectorAnswer::Holds(vec![Holder { login: act.login, parameters: act.parameters }]))
    }

    fn answered(output: &str, ended: ProgramEnd) -> Vec<Answered> {
        answers(&operations(), output.as_bytes(), &ended, "")
    }

    #[test]
    fn a_line_for_each_operation() {
        let output = format!("{{\"done\":{{}}}}\n{{\"later\":\"busy\"}}\n{HOLDS}\n");
        let expected = vec![done(), Ok(ConnectorAnswer::Later("busy".to_owned())), bob()];
        assert_eq!(answered(&output, ProgramEnd::Exited(0)), expected);
        assert_eq!(answered(&output, ProgramEnd::Exited(1)), expected, "an answer says more than the exit status");
    }

    #[test]
    fn acts_without_a_line_are_answered_by_the_exit_status() {
        assert_eq!(answered(&format!("{HOLDS}\n"), ProgramEnd::Exited(0)), [done(), done(), bob()]);
        let later = answered(&format!("{HOLDS}\n"), ProgramEnd::Exited(75));
        assert!(matches!(later.as_slice(), [Ok(ConnectorAnswer::Later(_)), Ok(ConnectorAnswer::Later(_)), Ok(_)]));
        let failed = answered("", ProgramEnd::Exited(3));
        assert!(failed.iter().all(|answer| matches!(answer, Ok(ConnectorAnswer::Failed(_)))), "{failed:?}");
        let killed = answered("", ProgramEnd::Killed(9));
        assert!(killed.iter().all(Result::is_err), "{killed:?}");
        assert_eq!(
            answered("", ProgramEnd::Exited(0))[2],
            Err("it did not answer".to_owned()),
            "no list is no empty list"
        );
    }

    #[test]
    fn a_program_that_stops_half_way() {
        let half = answered("{\"done\":{}}\n{\"do", ProgramEnd::Stopped("too slow".to_owned()));
        assert_eq!(half, [done(), Err("too slow".to_owned()), Err("too slow".to_owned())]);
        let fewer = answered("{\"done\":{}}\n", ProgramEnd::Exited(0));
        assert!(fewer[1].is_err() && fewer[2].is_err(), "{fewer:?}");
    }

    #[test]
    fn what_is_no_answer_makes_all_of_them_unknown() {
        let more = format!("{HOLDS}\n").repeat(4);
        let outputs =
            ["rubbish\n", "{\"done\":{}}\nrubbish\n", "[]\n", "{\"holds\":[1]}\n", "{\"holds\":1}\n", "{}\n", &more];
        for output in outputs {
            let answers = answered(output, ProgramEnd::Exited(0));
            assert!(answers.iter().all(Result::is_err), "{output}: {answers:?}");
        }
        let hidden = answered("{\"do\u{202e}ne\":{}}\n", ProgramEnd::Exited(0));
        assert!(hidden.iter().all(|answer| answer.as_ref().is_err_and(|why| !why.contains('\u{202e}'))), "{hidden:?}");
        let swapped = answered(&format!("{HOLDS}\n{{\"done\":{{}}}}\n{{\"done\":{{}}}}\n"), ProgramEnd::Exited(0));
        assert!(swapped[0].is_err() && swapped[1].is_ok() && swapped[2].is_err(), "{swapped:?}");
    }

    #[test]
    fn holders_that_can_be_no_members_are_left_out() {
        let list = [Operation::List { parameters: Vec::new() }];
        let output = br#"{"holds":[{"login":"my role","parameters":{}},{"login":"bob","parameters":{"role":"rw"}}]}"#;
        assert_eq!(answers(&list, output, &ProgramEnd::Exited(0), ""), [bob()]);
        for half in [r#"{"login":"bob"}"#, r#"{"parameters":{}}"#, r#"{"login":"bob","parameters":[]}"#] {
            let answers = answers(&list, format!(r#"{{"holds":[{half}]}}"#).as_bytes(), &ProgramEnd::Exited(0), "");
            assert!(answers[0].is_err(), "{half}: what cannot be read is not left out");
        }
    }

    #[test]
    fn the_reason_is_the_last_line_and_can_do_no_harm() {
        assert_eq!(one_line("first\nsecond\n\n"), "second");
        assert!(!one_line("a\u{1b}[31mred").contains('\u{1b}'));
        assert!(one_line(&"x".repeat(10_000)).chars().count() <= WHY + 1);
        let failed = answers(&operations(), b"", &ProgramEnd::Exited(1), "no such role");
        assert_eq!(failed[0], Ok(ConnectorAnswer::Failed("no such role (it ended with the exit status 1)".to_owned())));
    }
}
