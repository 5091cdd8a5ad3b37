//! Parses the command line with clap, and turns what clap reports into failures of this program.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser as _, ValueEnum as _};

use crate::commands::Cli;
use crate::domain::Malformed;
use crate::domain::name::Name;
use crate::domain::text::{shortened, visible};
use crate::error::{Failure, Kind};
use crate::ui::ColorWhen;

/// A message repeats at most this many characters of a word.
const MAX_REPEATED: usize = 200;

pub fn parse(line: &[OsString]) -> Result<Cli, clap::Error> {
    let line = join_dashed_values(line);
    if let Some(cli) = Cli::parse_named(&line) {
        return Ok(cli);
    }
    match Cli::try_parse_from(&line) {
        // Maybe an option that is given twice.
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => parse_repeated(&line),
        // `access team help` means the same as `access help team`.
        Err(error) if string(&error, ContextKind::InvalidSubcommand) == Some("help") => {
            let words = line.iter().skip(1).filter_map(|word| word.to_str());
            Err(help(words.filter(|word| *word != "help" && !word.starts_with('-'))))
        }
        parsed => parsed,
    }
}

/// The help of a command that is given by its words, such as `team apply`. Like `--help`, it is one of clap's errors.
pub fn help<'w>(words: impl IntoIterator<Item = &'w str>) -> clap::Error {
    let line = std::iter::once("access").chain(words).chain(["--help"]);
    match Cli::command().try_get_matches_from(line) {
        Err(help_or_error) => help_or_error,
        Ok(_) => Cli::command().error(ErrorKind::InvalidSubcommand, "there is no such command"),
    }
}

/// Parses a line on which switches and options may be repeated. An option has to have the same value each time; of a global
/// option the last value counts.
fn parse_repeated(line: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Cli::command().args_override_self(true);
    let mut matches = keep_repeated(command.clone()).try_get_matches_from(line)?;
    one_value_each(&command, &matches)?;
    Cli::from_arg_matches_mut(&mut matches)
}

fn is_single_option(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set) && !arg.is_positional() && !arg.is_global_set()
}

/// Has clap keep every value of an option, instead of the last only.
fn keep_repeated(command: Command) -> Command {
    let keep = |arg: Arg| if is_single_option(&arg) { arg.action(ArgAction::Append) } else { arg };
    command.mut_args(keep).mut_subcommands(keep_repeated)
}

/// Refuses an option that is given twice with different values: it is unclear which one is meant.
fn one_value_each(command: &Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    for arg in command.get_arguments().filter(|arg| is_single_option(arg)) {
        let values: Vec<_> = matches.get_raw(arg.get_id().as_str()).into_iter().flatten().collect();
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            let message = format!("'{}' is given more than once, with different values", arg.clone().num_args(1));
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
    }
    let below = matches.subcommand().and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
    below.map_or(Ok(()), |(command, matches)| one_value_each(command, matches))
}

/// Joins an option and a value that begins with a dash but cannot be an option, because it has a blank or is a number:
/// `--reason '- a list'`. With clap's `allow_hyphen_values`, `--reason --emergency` would lose its `--emergency` too.
fn join_dashed_values(line: &[OsString]) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(line.len());
    let end = line.iter().position(|word| word == "--").unwrap_or(line.len());
    let is_option = |word: &OsString| word.to_str().is_some_and(|word| takes_value(&Cli::command(), word));
    for (place, word) in line[..end].iter().enumerate() {
        let rest = word.to_str().and_then(|word| word.strip_prefix('-')).unwrap_or_default();
        let name = rest.split('=').next().unwrap_or_default();
        let is_value = name.contains(char::is_whitespace) || rest.starts_with(|c: char| c.is_ascii_digit());
        match joined.last_mut() {
            Some(option) if is_value && is_option(&line[place - 1]) => {
                option.push(if option.len() > 2 { "=" } else { "" });
                option.push(word);
            }
            _ => joined.push(word.clone()),
        }
    }
    joined.extend_from_slice(&line[end..]);
    joined
}

/// Whether the word is an option that takes a value, of this command or of one below it.
fn takes_value(command: &Command, word: &str) -> bool {
    let named = |arg: &&Arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4]))),
    };
    command.get_arguments().find(named).is_some_and(|arg| arg.get_action().takes_values())
        || command.get_subcommands().any(|below| takes_value(below, word))
}

/// When to use colours, for a line that may not parse.
pub fn color(line: &[OsString]) -> ColorWhen {
    let words: Vec<&str> = line.iter().map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let spaced = words.windows(2).filter(|pair| pair[0] == "--color").map(|pair| pair[1]);
    let joined = words.iter().filter_map(|word| word.strip_prefix("--color="));
    let mut named = spaced.chain(joined).filter_map(|when| ColorWhen::from_str(when, false).ok());
    named.next_back().unwrap_or(ColorWhen::Auto)
}

/// What is wrong with a line, as a failure like any other. The words of the line are made harmless first: they may be long,
/// have line breaks that would look like the next part of the message, or act on a terminal.
pub fn failure(mut error: clap::Error, line: &[OsString]) -> Failure {
    if let Some(nothing) = malformed(&error).filter(|why| why.names_nothing) {
        let failure = Failure::new(Kind::NotFound, nothing.to_string());
        return nothing.hint.iter().fold(failure, Failure::hint);
    }
    let kinds: Vec<ContextKind> = error.context().map(|(kind, _)| kind).collect();
    for kind in kinds {
        if let Some(typed) = string(&error, kind) {
            let shown = visible(&shortened(typed, MAX_REPEATED), false).into_owned();
            error.insert(kind, ContextValue::String(shown));
        }
    }
    let text = error.render().to_string();
    // The paragraphs below the message are suggestions and the usage, which become hints.
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim_end();
    let mut failure = match error.source().filter(|source| source.is::<ParseIntError>()) {
        Some(why) => {
            let message = message.trim_end_matches(&why.to_string());
            let wrong = match why.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
                Some(IntErrorKind::PosOverflow) => "this number is too large",
                _ => "a whole number is expected, such as 50",
            };
            Failure::new(Kind::Usage, format!("{message}{wrong}"))
        }
        None => Failure::new(Kind::Usage, message),
    };

    let root = Cli::command();
    let words: Vec<&str> = line.iter().skip(1).map_while(|word| word.to_str()).take_while(|it| *it != "--").collect();
    let mut path = Vec::new();
    let command = words.iter().fold(&root, |command, word| {
        let below = command.find_subcommand(word);
        path.extend(below.map(Command::get_name));
        below.unwrap_or(command)
    });
    let path = path.join(" ");
    let args: Vec<&Arg> = command.get_arguments().chain(root.get_arguments()).collect();
    if let Some(option) = dashed_value(&error, &root, &words) {
        failure = failure.hint(format!("to give a value that begins with a dash: {option}=VALUE"));
    } else if let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested) {
        // A long option that is not known is hardly ever a value.
        let long = string(&error, ContextKind::InvalidArg).is_some_and(|word| word.starts_with("--"));
        let tips = tips.iter().map(ToString::to_string).filter(|tip| !(long && tip.starts_with("to pass ")));
        failure.hints.extend(tips.map(|tip| visible(&tip, false).into_owned()));
    }
    failure.hints.extend(malformed(&error).and_then(|why| why.hint.clone()));
    failure.hints.extend(member_option(&error, command, &path));
    failure.hints.extend(listed_by(&error, &path).map(str::to_owned));
    if let Some(meant) = renamed(&error, &root, command).or_else(|| suggestion(&error, command, &args)) {
        failure.hint(format!("did you mean '{meant}'?"))
    } else if error.kind() == ErrorKind::InvalidSubcommand {
        failure.hint("`access help` lists the commands")
    } else if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        failure.hint(format!("usage: {}", usage.to_string().trim_start_matches("Usage: ")))
    } else {
        failure
    }
}

/// The option for a member's name, of a command that was given the name in place of a number.
fn member_option(error: &clap::Error, command: &Command, path: &str) -> Option<String> {
    let typed = string(error, ContextKind::InvalidValue)?;
    let name: Name = typed.parse().ok().filter(|_| typed.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let positional = !string(error, ContextKind::InvalidArg)?.starts_with('-');
    let option = options_for(command, "MEMBER").next().filter(|_| malformed(error).is_some() && positional)?;
    Some(format!("to name a member: `access {path} --{option} {name}`"))
}

/// What lists the numbers that a command takes, if one is missing.
fn listed_by(error: &clap::Error, path: &str) -> Option<&'static str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if missing.iter().any(|arg| arg.starts_with("<ID>")) => {}
        _ => return None,
    }
    Some(match path {
        "deny" => {
            "`access list --pending` lists them; on a terminal, `access approve` asks about each that waits for you, \
             and you can deny it there"
        }
        "edit" | "withdraw" => "`access list --mine --pending` lists yours",
        "extend" => "`access list --mine --state active` lists yours",
        "revoke" => "`access list --state active,scheduled` lists them",
        "review" => "`access list --unreviewed` lists them",
        "show" => "`access list` lists them, with --all the closed ones too",
        "recertify show" | "recertify cancel" => "`access recertify list` lists them",
        _ => return None,
    })
}

/// The option of this command that takes what an option of another command takes: `--user` for `--member`.
fn renamed(error: &clap::Error, root: &Command, command: &Command) -> Option<String> {
    let typed = string(error, ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let typed = typed.strip_prefix("--")?;
    let value = ["MEMBER", "TEXT"]
        .into_iter()
        .find(|value| root.get_subcommands().any(|other| options_for(other, value).any(|long| long == typed)))?;
    options_for(command, value).next().map(|long| format!("--{long}"))
}

/// The options of a command that take such a value.
fn options_for<'c>(command: &'c Command, value: &'c str) -> impl Iterator<Item = &'c str> {
    let takes = move |arg: &&Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == value));
    command.get_arguments().filter(|arg| !arg.is_global_set()).filter(takes).filter_map(Arg::get_long)
}

fn malformed(error: &clap::Error) -> Option<&Malformed> {
    error.source()?.downcast_ref()
}

/// The option that got no value because the next word begins with a dash.
fn dashed_value<'w>(error: &clap::Error, root: &Command, words: &[&'w str]) -> Option<&'w str> {
    let no_value = string(error, ContextKind::InvalidValue) == Some("");
    let mut pairs = words.windows(2).filter(|_| no_value || error.kind() == ErrorKind::UnknownArgument);
    pairs.find(|pair| pair[1].starts_with('-') && takes_value(root, pair[0])).map(|pair| pair[0])
}

/// What was probably meant: by clap, or what clap does not find, an option without its dashes and a command in capitals.
fn suggestion(error: &clap::Error, command: &Command, args: &[&Arg]) -> Option<String> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    match kinds.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(one)) => return Some(one.clone()),
        // The likeliest comes last.
        Some(ContextValue::Strings(many)) if !many.is_empty() => return many.last().cloned(),
        _ => {}
    }
    match (string(error, ContextKind::InvalidArg), string(error, ContextKind::InvalidSubcommand)) {
        (Some(word), _) => args.iter().find(|arg| arg.get_long() == Some(word)).map(|_| format!("--{word}")),
        (_, Some(word)) => {
            let mut names = command.get_subcommands().map(Command::get_name);
            names.find(|name| name.eq_ignore_ascii_case(word)).map(str::to_owned)
        }
        _ => None,
    }
}

fn string(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}
