//! The typed line: parsed, and answered where it asks for help or can't be parsed.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::num::ParseIntError;
use std::os::unix::ffi::OsStrExt as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, ValueEnum as _};

use crate::commands::Cli;
use crate::domain::Malformed;
use crate::domain::text::{shortened, visible};
use crate::error::{Failure, Kind};
use crate::ui::ColorWhen;

/// So many characters of what was typed are repeated in a message.
const MOST_REPEATED: usize = 200;

/// Parses the line like `Cli::try_parse`.
pub fn parse(line: &[OsString]) -> Result<Cli, clap::Error> {
    let line = with_dashed_values(line);
    let parsed = parse_by(Cli::command(), &line);
    match parsed {
        // `access team help`, as well as `access help team`.
        Err(error) if error.get(ContextKind::InvalidSubcommand) == Some(&ContextValue::String("help".to_owned())) => {
            let words = line.iter().skip(1).filter_map(|word| word.to_str());
            Err(help(words.filter(|word| *word != "help" && !word.starts_with('-'))))
        }
        parsed => parsed,
    }
}

fn parse_by(command: Command, line: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = ManuallyDrop::new(repeatable(command));
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(line)?);
    same_when_repeated(&matches)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The help of a command, given by its words, such as `team apply`. It is an error of clap's, as `--help` is.
pub fn help<'w>(words: impl IntoIterator<Item = &'w str>) -> clap::Error {
    let line = std::iter::once("access").chain(words).chain(["--help"]);
    match Cli::command().try_get_matches_from(line) {
        Err(help_or_error) => help_or_error,
        Ok(_) => Cli::command().error(ErrorKind::InvalidSubcommand, "there is no such command"),
    }
}

/// A switch may be given again, as scripts and aliases do. An option with a value too: `same_when_repeated` checks it.
fn repeatable(command: Command) -> Command {
    let again = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue => {
            let id = arg.get_id().clone();
            arg.overrides_with(id)
        }
        ArgAction::Set if is_single_option(&arg) => arg.action(ArgAction::Append),
        _ => arg,
    };
    command.mut_args(again).mut_subcommands(repeatable)
}

/// Whether this is an option of one command that takes one value. (Of a global option the last value counts.)
fn is_single_option(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set) && !arg.is_positional() && !arg.is_global_set()
}

/// Refuses an option that is given twice with different values: nobody can tell which one was meant.
fn same_when_repeated(matches: &ArgMatches) -> Result<(), clap::Error> {
    let mut path = Vec::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        // The derive makes a group of each struct, with its name. Its occurrences are those of all its arguments.
        let is_group = |id: &str| id.starts_with(|c: char| c.is_ascii_uppercase());
        for id in matches.ids().filter(|id| !is_group(id.as_str())) {
            let Ok(Some(given)) = matches.try_get_raw_occurrences(id.as_str()) else { continue };
            let given: Vec<Vec<_>> = given.map(Iterator::collect).collect();
            if given.iter().all(|values| *values == given[0]) {
                continue;
            }
            // Some options do take several values. Only the definition tells, and it is seldom needed.
            let mut whole = Cli::command();
            whole.build();
            let command = path.iter().try_fold(&whole, |command, name| command.find_subcommand(name));
            let defined = command.and_then(|it| it.get_arguments().find(|arg| arg.get_id() == id));
            if let Some(arg) = defined.filter(|arg| is_single_option(arg)) {
                let message = format!("'{arg}' is given more than once, with different values");
                return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
            }
        }
        level = matches.subcommand().map(|(name, below)| {
            path.push(name);
            below
        });
    }
    Ok(())
}

/// Joins an option and its value where the value begins with a dash and can't be another option: clap would take it for
/// one. `--reason '-- see below'` becomes `--reason=-- see below`.
fn with_dashed_values(line: &[OsString]) -> Vec<OsString> {
    let end = line.iter().position(|word| word == "--").unwrap_or(line.len());
    let (before, after) = line.split_at(end);
    if !before.iter().any(is_dashed_value) {
        return line.to_vec();
    }
    let whole = Cli::command();
    let mut joined: Vec<OsString> = Vec::with_capacity(line.len());
    for word in before {
        match joined.last_mut() {
            Some(option) if is_dashed_value(word) && option.to_str().is_some_and(|it| needs_value(&whole, it)) => {
                if option.as_bytes().starts_with(b"--") {
                    option.push("=");
                }
                option.push(word);
            }
            _ => joined.push(word.clone()),
        }
    }
    joined.extend_from_slice(after);
    joined
}

/// Whether the word begins with a dash and can't be an option: it has a blank, or is a negative number.
fn is_dashed_value(word: &OsString) -> bool {
    let Some(rest) = word.to_str().and_then(|word| word.strip_prefix('-')) else { return false };
    let name = rest.split('=').next().unwrap_or(rest);
    name.contains(char::is_whitespace) || rest.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether the word is an option, or several short ones, the last of which still needs its value.
fn needs_value(command: &Command, word: &str) -> bool {
    let takes = |arg: &Arg| {
        let least = arg.get_num_args().map_or(1, |range| range.min_values());
        arg.get_action().takes_values() && least > 0
    };
    let here = match word.strip_prefix("--") {
        Some(name) => command.get_arguments().any(|arg| arg.get_long() == Some(name) && takes(arg)),
        None => {
            let last = word.strip_prefix('-').and_then(|letters| letters.chars().last());
            last.is_some() && command.get_arguments().any(|arg| arg.get_short() == last && takes(arg))
        }
    };
    here || command.get_subcommands().any(|below| needs_value(below, word))
}

/// When to use colours, by a line that could not be parsed.
pub fn color(line: &[OsString]) -> ColorWhen {
    let words: Vec<&str> = line.iter().map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let spaced = words.windows(2).filter(|pair| pair[0] == "--color").map(|pair| pair[1]);
    let joined = words.iter().filter_map(|word| word.strip_prefix("--color="));
    let mut named = spaced.chain(joined).filter_map(|when| ColorWhen::from_str(when, false).ok());
    named.next_back().unwrap_or(ColorWhen::Auto)
}

/// What is wrong with a line, in the form of every failure. Built from the parts of clap's error, not from its text: what
/// was typed may be long, hold line breaks, or act on a terminal.
pub fn failure(mut error: clap::Error, line: &[OsString]) -> Failure {
    let kinds: Vec<(ContextKind, ContextValue)> = error.context().map(|(kind, it)| (kind, it.clone())).collect();
    let (mut meant, mut tips, mut usage) = (None, Vec::new(), None);
    for (kind, value) in kinds {
        match (kind, value) {
            (ContextKind::SuggestedSubcommand | ContextKind::SuggestedArg | ContextKind::SuggestedValue, it) => {
                meant = meant.or(nearest(it));
                error.remove(kind);
            }
            (ContextKind::Suggested, it) => {
                if let ContextValue::StyledStrs(said) = it {
                    tips.extend(said.iter().map(|tip| visible(&tip.to_string(), false).into_owned()));
                }
                error.remove(kind);
            }
            (ContextKind::Usage, it) => {
                if let ContextValue::StyledStr(said) = it {
                    usage = Some(said.to_string().trim_start_matches("Usage: ").to_owned());
                }
                error.remove(kind);
            }
            (_, ContextValue::String(typed)) => {
                let shown = visible(&shortened(&typed, MOST_REPEATED), false).into_owned();
                error.insert(kind, ContextValue::String(shown));
            }
            _ => {}
        }
    }
    let meant = meant.or_else(|| meant_instead(&error, line));
    let text = error.render().to_string();
    // What is left after the message is the line that points to --help.
    let mut message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim_end().to_owned();
    if let Some(no_number) = std::error::Error::source(&error).filter(|source| source.is::<ParseIntError>()) {
        let why = no_number.to_string();
        message = message.strip_suffix(&why).unwrap_or(&message).to_owned() + "a whole number is expected, such as 50";
    }
    let mut failure = Failure::new(Kind::Usage, message);
    if let Some(why) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Malformed>()) {
        tips.extend(why.hint.clone());
    }
    match before_a_dash(&error, line) {
        Some(option) => failure = failure.hint(format!("to give a value that begins with a dash: {option}=VALUE")),
        None => failure.hints = tips,
    }
    match (meant, usage) {
        (Some(meant), _) => failure.hint(format!("did you mean '{meant}'?")),
        (None, _) if error.kind() == ErrorKind::InvalidSubcommand => failure.hint("`access help` lists the commands"),
        (None, Some(usage)) => failure.hint(format!("usage: {usage}")),
        (None, None) => failure,
    }
}

/// What clap does not find: an option that is typed without its dashes, a command in capital letters.
fn meant_instead(error: &clap::Error, line: &[OsString]) -> Option<String> {
    let whole = Cli::command();
    let words = line.iter().skip(1).filter_map(|word| word.to_str());
    let command = words.fold(&whole, |command, word| command.find_subcommand(word).unwrap_or(command));
    match (error.kind(), error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word)), _) => {
            let mut options = command.get_arguments().chain(whole.get_arguments()).filter_map(Arg::get_long);
            options.find(|long| long == word).map(|long| format!("--{long}"))
        }
        (ErrorKind::InvalidSubcommand, _, Some(ContextValue::String(word))) => {
            let mut names = command.get_subcommands().map(Command::get_name);
            names.find(|name| name.eq_ignore_ascii_case(word)).map(str::to_owned)
        }
        _ => None,
    }
}

/// The option that is typed with a value that begins with a dash, where that may be what is wrong with the line.
fn before_a_dash<'l>(error: &clap::Error, line: &'l [OsString]) -> Option<&'l str> {
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    let missing = error.get(ContextKind::InvalidValue) == Some(&ContextValue::String(String::new()));
    if !unknown && !missing {
        return None;
    }
    let whole = Cli::command();
    let dashed = |word: &OsString| word != "--" && word.as_bytes().starts_with(b"-");
    let pairs = line.windows(2).take_while(|pair| pair[0] != "--").filter(|pair| dashed(&pair[1]));
    pairs.filter_map(|pair| pair[0].to_str()).find(|option| needs_value(&whole, option))
}

/// The likeliest of what clap thinks was meant: its last.
fn nearest(suggested: ContextValue) -> Option<String> {
    match suggested {
        ContextValue::String(one) => Some(one),
        ContextValue::Strings(many) => many.into_iter().next_back(),
        _ => None,
    }
}
