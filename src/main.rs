//! The program: answers shell completion, or parses the command line, runs the command and returns its exit code.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use access::commands::{self, Verb, completions, line};
use access::error::{Failure, Kind};
use access::ui::ColorWhen;
use access::ui::{help, report};
use clap::error::ErrorKind;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let failure = Failure::new(Kind::Internal, format!("unexpected internal error{place}"))
            .hint("this is a bug; please report it with the command you typed");
        report(&failure, wants_json(), ColorWhen::Never);
        // An open transaction is rolled back, so nothing is half done.
        std::process::exit(Kind::Internal.exit_code().into());
    }));
    ExitCode::from(run())
}

fn run() -> u8 {
    if is_completion() {
        clap_complete::CompleteEnv::with_factory(completions::completed_command).var(completions::COMPLETE).complete();
    }
    let line: Vec<OsString> = std::env::args_os().collect();
    let cli = match line::parse(&line) {
        Ok(cli) => cli,
        Err(error) => return print_clap_error(error, &line, line.iter().any(|word| word == "check")),
    };
    if let Verb::Help(args) = &cli.verb {
        return print_clap_error(line::help(args.words.iter().map(String::as_str)), &line, false);
    }
    let (json, color) = (cli.global.json, cli.global.color);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => fail(&error, json, color),
    }
}

/// Whether a completion script calls: the variable is set and the line is `access -- WORD…`. No command has that form, so
/// the variable alone never turns a command, such as the `check` of a gate, into a success.
fn is_completion() -> bool {
    let mut words = std::env::args_os().skip(1);
    std::env::var_os(completions::COMPLETE).is_some()
        && words.next().is_some_and(|word| word == "--")
        && words.next().is_some()
}

fn fail(error: &anyhow::Error, json: bool, color: ColorWhen) -> u8 {
    let failure = match (error.downcast_ref::<Failure>(), error.downcast_ref::<std::io::Error>()) {
        (Some(failure), _) => failure.clone(),
        (None, Some(_)) => Failure::new(Kind::Io, format!("{error:#}")),
        (None, None) => Failure::new(Kind::Failure, format!("{error:#}")),
    };
    report(&failure, json, color);
    failure.kind.exit_code()
}

/// Prints what clap returns in place of a command: help, the version or an error. Help exits 0, except on a line with `check`,
/// where 0 means allowed: a gate may pass on a user's `--help` as a name.
fn print_clap_error(error: clap::Error, line: &[OsString], check: bool) -> u8 {
    let usage = Kind::Usage.exit_code();
    let color = line::color(line);
    let (printed, code) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            (help(&error.render(), color, false), if check { usage } else { 0 })
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !wants_json() => {
            (help(&error.render(), color, true), usage)
        }
        _ => (Err(line::failure(error, line)), usage),
    };
    match printed {
        Ok(()) => code,
        Err(failure) => {
            report(&failure, wants_json(), color);
            failure.kind.exit_code()
        }
    }
}

/// Whether to report in JSON, for a line that may not parse.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}
