//! The program: answers a completing shell, else parses the line, does it, and gives the exit code.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use access::commands::Verb;
use access::error::{Failure, Kind};
use access::ui::ColorWhen;
use access::ui::{help, report};
use access::{commands, line, pages};
use clap::error::ErrorKind;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let failure = Failure::new(Kind::Internal, format!("access met something it did not expect{place}"))
            .hint("this is a bug; please report it, with what you typed");
        report(&failure, wants_json(), ColorWhen::Never);
        // Nothing half-done is left: an open transaction was never committed.
        std::process::exit(Kind::Internal.exit_code().into());
    }));
    ExitCode::from(run())
}

fn run() -> u8 {
    if is_completion() {
        clap_complete::CompleteEnv::with_factory(pages::completed_command).var(pages::COMPLETE).complete();
    }
    let typed: Vec<OsString> = std::env::args_os().collect();
    let cli = match line::parse(&typed) {
        Ok(cli) => cli,
        Err(error) => return refuse(error, &typed, typed.iter().any(|word| word == "check")),
    };
    if let Verb::Help(args) = &cli.verb {
        return refuse(line::help(args.words.iter().map(String::as_str)), &typed, false);
    }
    let (json, color) = (cli.global.json, cli.global.color);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => fail(&error, json, color),
    }
}

/// Whether a completing shell calls: the variable is set, and the line is `access -- WORD…`, as in the scripts. No command
/// has that form, so the variable alone never turns a command (a gate's `check`, say) into a success.
fn is_completion() -> bool {
    let mut words = std::env::args_os().skip(1);
    std::env::var_os(pages::COMPLETE).is_some()
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

/// A line that could not be parsed, or a call for help, which is no failure. Except on a line with `check`, where 0 stands
/// for yes: a gate may put somebody's `--help` where it expects a name.
fn refuse(error: clap::Error, typed: &[OsString], check: bool) -> u8 {
    let usage = Kind::Usage.exit_code();
    let color = line::color(typed);
    let (printed, code) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            (help(&error.render(), color, false), if check { usage } else { 0 })
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !wants_json() => {
            (help(&error.render(), color, true), usage)
        }
        _ => (Err(line::failure(error, typed)), usage),
    };
    match printed {
        Ok(()) => code,
        Err(failure) => {
            report(&failure, wants_json(), color);
            failure.kind.exit_code()
        }
    }
}

/// Before the line is parsed, or when it can't be.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}
