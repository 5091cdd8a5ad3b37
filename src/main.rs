//! The program: answers a completing shell, else parses the line, does it, and gives the exit code.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use access::cli::{Cli, Verb};
use access::error::{Failure, Kind};
use access::output::report;
use access::{app, pages};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let failure = Failure::new(Kind::Internal, format!("access met something it did not expect{place}"))
            .hint("this is a bug; please report it, with what you typed");
        report(&failure, wants_json(), false);
        // Nothing half-done is left: an open transaction was never committed.
        std::process::exit(Kind::Internal.exit_code().into());
    }));
    ExitCode::from(run())
}

fn run() -> u8 {
    if is_completion() {
        clap_complete::CompleteEnv::with_factory(pages::completed_command).var(pages::COMPLETE).complete();
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let json = cli.global.json;
    match app::run(cli) {
        Ok(code) => code,
        Err(error) => fail(&error, json),
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

/// As `Cli::try_parse`, without taking the tree and what it matched apart again at the end, and first by the verb alone
/// that was typed: all work that a short command would notice.
fn parse() -> Result<Cli, clap::Error> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let alone = line.iter().skip(1).find_map(|word| Verb::alone(word.to_str()?));
    if let Some(Ok(cli)) = alone.map(|command| parse_by(command, &line)) {
        return Ok(cli);
    }
    parse_by(Cli::command(), &line)
}

fn parse_by(command: clap::Command, line: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = ManuallyDrop::new(command);
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(line)?);
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn fail(error: &anyhow::Error, json: bool) -> u8 {
    let failure = match (error.downcast_ref::<Failure>(), error.downcast_ref::<std::io::Error>()) {
        (Some(failure), _) => failure.clone(),
        (None, Some(_)) => Failure::new(Kind::Io, format!("{error:#}")),
        (None, None) => Failure::new(Kind::Failure, format!("{error:#}")),
    };
    report(&failure, json, false);
    failure.kind.exit_code()
}

/// A line that could not be parsed; or a call for help, which is no failure. Except with `check`, where 0 stands for yes:
/// a gate may put somebody's `--help` where it expects a name.
fn refuse(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            let check = std::env::args_os().any(|word| word == "check");
            if check { Kind::Usage.exit_code() } else { 0 }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !wants_json() => {
            let _ = error.print();
            Kind::Usage.exit_code()
        }
        _ => {
            report(&as_failure(error), wants_json(), false);
            Kind::Usage.exit_code()
        }
    }
}

/// In our own form, and through our own printing: clap repeats what was typed as it is, which may act on a terminal.
fn as_failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut parts = text.split("\n\n");
    let message = parts.next().unwrap_or_default().trim_start_matches("error: ").trim();
    let rest: Vec<&str> = parts.flat_map(str::lines).map(str::trim_start).collect();
    let tips = rest.iter().filter_map(|line| line.strip_prefix("tip: ")).map(str::to_owned);
    let usage = rest.iter().filter_map(|line| line.strip_prefix("Usage: ")).map(|usage| format!("usage: {usage}"));
    tips.chain(usage).fold(Failure::new(Kind::Usage, message), Failure::hint)
}

/// Before the line is parsed, or when it can't be.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}
