//! The program: answers shell completion, or runs the command line and returns its exit code.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use access::commands::completions;
use access::commands::run_line::{run_line, wants_json};
use access::error::{Failure, Kind};
use access::ui::ColorWhen;
use access::ui::report;

fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&line);
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let failure = Failure::new(Kind::Internal, format!("unexpected internal error{place}"))
            .hint("this is a bug; please report it with the command you typed");
        report(&failure, json, ColorWhen::Never);
        // An open transaction is rolled back, so nothing is half done.
        std::process::exit(Kind::Internal.exit_code().into());
    }));
    if is_completion() {
        clap_complete::CompleteEnv::with_factory(completions::completed_command).var(completions::COMPLETE).complete();
    }
    ExitCode::from(run_line(&line, None))
}

/// Whether a completion script calls: the variable is set and the line is `access -- WORD…`. No command has that form, so
/// the variable alone never turns a command, such as the `check` of a gate, into a success.
fn is_completion() -> bool {
    let mut words = std::env::args_os().skip(1);
    std::env::var_os(completions::COMPLETE).is_some()
        && words.next().is_some_and(|word| word == "--")
        && words.next().is_some()
}
