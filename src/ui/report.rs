//! Prints failures and help.

use std::io::{self, IsTerminal, Write};

use clap::builder::StyledStr;
use serde::Serialize;

use super::{ColorWhen, Pipe, broken, escape, write_value};
use crate::error::{Failure, Kind};
use crate::time_format::with_local_times;

pub(super) fn in_color(when: ColorWhen, terminal: bool) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        // https://no-color.org: any non-empty value.
        ColorWhen::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            terminal && !refused && !dumb
        }
    }
}

/// Prints the help of a command: as a result, or, if the line was incomplete, as an error.
pub fn help(text: &StyledStr, when: ColorWhen, is_error: bool) -> Result<(), Failure> {
    let terminal = if is_error { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let text = if in_color(when, terminal) { text.ansi().to_string() } else { text.to_string() };
    if is_error {
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    let mut out = Pipe::new();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(broken)
}

/// Prints a failure to standard error.
pub fn report(failure: &Failure, json: bool, color: ColorWhen) {
    print_failure(failure, json, in_color(color, io::stderr().is_terminal()));
}

/// If this fails too, nothing more can be done.
pub(super) fn print_failure(failure: &Failure, json: bool, color: bool) {
    let mut err = io::stderr().lock();
    let failure = &bounded(failure);
    if json {
        #[derive(Serialize)]
        struct Object<'f> {
            error: &'f Failure,
        }
        let _ = write_value(&mut err, &Object { error: failure });
        let _ = writeln!(err);
        return;
    }
    let paint = |code: &str, words: &str| if color { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() };
    // What is wrong with this machine, such as its clock, is said to the second.
    let about_machine = !matches!(failure.kind, Kind::Usage | Kind::Refused | Kind::NotFound | Kind::Conflict);
    let message = if about_machine { escape::lines(&failure.message).into_owned() } else { sentence(&failure.message) };
    let _ = writeln!(err, "{} {}", paint("1;31", "error:"), message);
    for hint in &failure.hints {
        let _ = writeln!(err, "{} {}", paint("36", "hint:"), escape::lines(hint));
    }
}

/// For a terminal, with the times in it in the reader's zone.
pub(super) fn sentence(text: &str) -> String {
    escape::lines(&with_local_times(text)).into_owned()
}

/// Input may be long, and so may be a message that repeats it.
fn bounded(failure: &Failure) -> Failure {
    let bounded = |text: &String| escape::bounded(text);
    Failure {
        kind: failure.kind,
        message: bounded(&failure.message),
        hints: failure.hints.iter().map(bounded).collect(),
    }
}
