//! Runs one command line to its exit code, and reports what fails.

use std::ffi::OsString;
use std::io;

use clap::error::ErrorKind;

use super::ssh::{QUOTE_TWICE, not_over_ssh};
use super::{Verb, line};
use crate::error::{Failure, Kind};
use crate::server::OverSsh;
use crate::ui::{ColorWhen, help, report};

/// `over_ssh`: the member who gives the command, if it came over SSH.
pub fn run_line(line: &[OsString], over_ssh: Option<OverSsh>) -> u8 {
    let cli = match line::parse(line) {
        Ok(cli) => cli,
        Err(error) => {
            // On a line with `check` 0 means allowed: a gate may pass on a user's `--help` as a name.
            let help_code = if line.iter().any(|word| word == "check") { Kind::Usage.exit_code() } else { 0 };
            let hint = over_ssh.is_some().then_some(QUOTE_TWICE);
            return print_clap_error(error, line, help_code, hint);
        }
    };
    let (json, color) = (cli.global.json, cli.global.color);
    if let Some(over_ssh) = &over_ssh
        && let Some(what) = not_over_ssh(&cli)
    {
        return fail(&over_ssh.refuse(what).into(), json, color);
    }
    if let Verb::Help(args) = &cli.verb {
        return print_clap_error(line::help(args.words.iter().map(String::as_str)), line, 0, None);
    }
    match super::run(cli, over_ssh) {
        Ok(code) => code,
        Err(error) => fail(&error, json, color),
    }
}

fn fail(error: &anyhow::Error, json: bool, color: ColorWhen) -> u8 {
    let mut failure = match (error.downcast_ref::<Failure>(), error.downcast_ref::<io::Error>()) {
        (Some(failure), _) => failure.clone(),
        (None, Some(io)) => {
            let failure = Failure::new(Kind::Io, format!("{error:#}"));
            match io.kind() {
                io::ErrorKind::NotFound => failure.hint("check its name; a relative path begins in the current folder"),
                io::ErrorKind::PermissionDenied => failure.hint("check the permissions of the file and of its folders"),
                io::ErrorKind::IsADirectory => failure.hint("name a file"),
                _ => failure,
            }
        }
        (None, None) => Failure::new(Kind::Failure, format!("{error:#}")),
    };
    if failure.kind == Kind::Io && failure.hints.is_empty() {
        failure = failure.hint("check free disk space and permissions before you try again");
    }
    report(&failure, json, color);
    failure.kind.exit_code()
}

/// Prints what clap returns in place of a command: help, the version or an error, with another hint if there is one. Help
/// exits with this code.
fn print_clap_error(error: clap::Error, line: &[OsString], help_code: u8, hint: Option<&str>) -> u8 {
    let usage = Kind::Usage.exit_code();
    let (json, color) = (wants_json(line), line::color(line));
    let (printed, code) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => (help(&error.render(), color, false), help_code),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => (help(&error.render(), color, true), usage),
        _ => {
            let mut failure = line::failure(error, line);
            failure.hints.extend(hint.map(str::to_owned));
            (Err(failure), usage)
        }
    };
    match printed {
        Ok(()) => code,
        Err(failure) => {
            report(&failure, json, color);
            failure.kind.exit_code()
        }
    }
}

/// Whether to report in JSON, for a line that may not parse.
pub fn wants_json(line: &[OsString]) -> bool {
    line.iter().any(|word| word == "--json")
}
