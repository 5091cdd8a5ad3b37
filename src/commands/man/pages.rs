//! The manual pages, generated from the definition of the command line. The pages of section 5 are documents of docs/.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Arg, CommandFactory};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::markdown;
use crate::commands::Cli;
use crate::files;
use crate::time_input;

/// Writes a page for `access`, one for each subcommand and one for each file format. Returns their number.
pub fn write_man_pages(folder: &Path) -> Result<usize> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    fs::create_dir_all(folder).with_context(|| format!("{} can't be created", folder.display()))?;
    missing.into_iter().try_for_each(files::sync_name)?;
    let pages = man_pages();
    for (name, page) in &pages {
        files::replace(&folder.join(name), page.as_bytes(), 0o644)?;
    }
    Ok(pages.len())
}

/// When the content of the pages last changed. Not the date of the build, so that builds are reproducible.
const DATE: &str = "2026-11-27";

/// The pages of section 5: their names, what NAME says, and the documents that they are.
const FORMATS: [(&str, &str, &str); 2] = [
    ("access-config", "configuration file of access", include_str!("../../../docs/config.md")),
    ("access-team", "team file of access: members, resources and rules", include_str!("../../../docs/team-file.md")),
];

/// Pages that a reader of one page may want next. The pages above and below it, and beside it in a group, are added.
const RELATED: [(&str, &[&str]); 43] = [
    ("access-approve(1)", &["access-deny(1)", "access-show(1)", "access-list(1)", "access-team(5)"]),
    ("access-audit(1)", &["access-report(1)", "access-doctor(1)"]),
    ("access-backup(1)", &["access-doctor(1)", "access-audit-checkpoint(1)"]),
    ("access-check(1)", &["access-who(1)", "access-request(1)"]),
    ("access-config(5)", &["access-deliver(1)", "access-doctor(1)", "access-serve(1)", "access-team(5)"]),
    ("access-connector-list(1)", &["access-reconcile(1)", "access-doctor(1)", "access-config(5)"]),
    ("access-connector-test(1)", &["access-reconcile(1)", "access-config(5)"]),
    ("access-deliver(1)", &["access-expire(1)", "access-outbox(1)", "access-notify(1)", "access-config(5)"]),
    ("access-deny(1)", &["access-approve(1)", "access-show(1)"]),
    ("access-doctor(1)", &["access-audit-verify(1)", "access-backup(1)", "access-config(5)"]),
    ("access-edit(1)", &["access-request(1)", "access-withdraw(1)"]),
    ("access-expire(1)", &["access-deliver(1)", "access-doctor(1)"]),
    ("access-extend(1)", &["access-request(1)", "access-whoami(1)"]),
    ("access-follow(1)", &["access-log(1)", "access-pending(1)", "access-config(5)"]),
    ("access-inbox(1)", &["access-notify(1)"]),
    ("access-init(1)", &["access-team-apply(1)", "access-team(5)", "access-config(5)"]),
    ("access-list(1)", &["access-show(1)", "access-approve(1)"]),
    ("access-log(1)", &["access-follow(1)", "access-pending(1)", "access-doctor(1)", "access-config(5)"]),
    ("access-notify(1)", &["access-inbox(1)", "access-team(5)", "access-config(5)"]),
    ("access-outbox(1)", &["access-deliver(1)", "access-config(5)"]),
    ("access-pending(1)", &["access-log(1)", "access-follow(1)", "access-audit(1)"]),
    ("access-recertify(1)", &["access-who(1)", "access-revoke(1)", "access-expire(1)", "access-team-apply(1)"]),
    ("access-reconcile(1)", &["access-connector(1)", "access-expire(1)", "access-config(5)"]),
    ("access-report(1)", &["access-audit(1)", "access-audit-verify(1)", "access-list(1)"]),
    ("access-request(1)", &["access-resources(1)", "access-edit(1)", "access-extend(1)", "access-withdraw(1)"]),
    ("access-resources(1)", &["access-request(1)", "access-check(1)"]),
    ("access-review(1)", &["access-request(1)", "access-approve(1)"]),
    ("access-revoke(1)", &["access-who(1)", "access-list(1)"]),
    ("access-run(1)", &["access-request(1)", "access-check(1)", "access-extend(1)"]),
    ("access-serve(1)", &["access-init(1)", "access-config(5)"]),
    ("access-session(1)", &["access-reconcile(1)", "access-show(1)", "access-team(5)"]),
    ("access-show(1)", &["access-list(1)", "access-approve(1)", "access-audit(1)"]),
    ("access-ssh-cert(1)", &["access-check(1)"]),
    ("access-ssh-command(1)", &["access-serve(1)", "access-team(5)"]),
    ("access-ssh-keys(1)", &["access-serve(1)", "access-team(5)"]),
    ("access-ssh-principals(1)", &["access-check(1)"]),
    ("access-team(1)", &["access-team(5)"]),
    ("access-team(5)", &["access-team-apply(1)", "access-team-show(1)", "access-config(5)"]),
    ("access-team-apply(1)", &["access-team(5)"]),
    ("access-team-show(1)", &["access-team(5)"]),
    ("access-who(1)", &["access-check(1)", "access-revoke(1)"]),
    ("access-whoami(1)", &["access-resources(1)", "access-inbox(1)"]),
    ("access-withdraw(1)", &["access-request(1)", "access-edit(1)"]),
];

/// The exit codes. The pages of the subcommands refer to this list.
const EXIT_STATUS: [(&str, &str); 12] = [
    ("0", "Done. For check: allowed, and nothing else."),
    (
        "1",
        "The answer is no (check: not allowed; audit verify and doctor: a fault was found; request --wait: not granted), \
         or a failure without a status below.",
    ),
    ("2", "Usage: a wrong flag or argument, or a missing answer."),
    ("3", "Refused: you are not allowed to do this."),
    ("4", "Not found, or not visible to you."),
    ("5", "Conflict: already decided, already yours, already there, or changed since you looked at it."),
    ("65", "The team file, the configuration or the database is not valid."),
    (
        "69",
        "There is no database; the shared host's socket, the user database or a shared log cannot be reached; or the copy of a \
         shared log is too old to answer.",
    ),
    ("70", "A bug."),
    (
        "74",
        "Reading or writing failed. If only the output was lost, the message says that the command was carried out.",
    ),
    ("75", "The database or the shared host stayed busy; try again."),
    ("130", "Interrupted by Ctrl-C."),
];

const TIMES: &str = "A LENGTH is one or more numbers with units, the largest first: w, d, h, m and s, or their names. \
A TIME is a day, a time of day, or both. Without an offset (Z, UTC, +01:00) it is in the local time zone. \
An end or a start is the next such time, --since the last. \
Times are shown with their offset. These forms mean the same:";

const FILES: [(&str, &str); 5] = [
    ("~/.local/share/access/access.db", "The default database ($XDG_DATA_HOME is honoured)."),
    ("~/.config/access/config.toml", "Your configuration: see access-config(5) ($XDG_CONFIG_HOME is honoured)."),
    (
        "/etc/access/config.toml",
        "The configuration for all users of this machine. The key socket makes it a shared host.",
    ),
    ("/run/access/access.sock", "The socket of a shared host. All commands go to it."),
    ("/var/lib/access/access.db", "The database of a shared host. It belongs to the system user access."),
];

const ENVIRONMENT: [(&str, &str); 5] = [
    ("ACCESS_DB", "The database file, like --db (refused on a shared host)."),
    ("ACCESS_AS", "The member to act as, like --as (refused on a shared host)."),
    ("NO_COLOR", "If set and not empty, no colours, unless --color says otherwise."),
    ("COLUMNS", "The width of the terminal, instead of the width that the terminal reports."),
    ("TZ", "The time zone in which times are read and shown (default: that of the system)."),
];

/// File names and contents.
pub fn man_pages() -> Vec<(String, String)> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    collect(&root, None, &mut pages);
    pages.extend(FORMATS.map(|(name, about, document)| (format!("{name}.5"), format_page(name, about, document))));
    pages
}

fn collect(command: &clap::Command, above: Option<(&str, &clap::Command)>, pages: &mut Vec<(String, String)>) {
    let name = match above {
        Some((above, _)) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    pages.push((format!("{name}.1"), page(command, &name, above)));
    for below in command.get_subcommands() {
        collect(below, Some((&name, command)), pages);
    }
}

fn head(name: &str, section: &str, about: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [name.to_uppercase().as_str(), section, DATE, "access", "access manual"]);
    // A command that is divided at the end of a line can't be copied.
    roff.control("nh", []);
    roff.control("ad", ["l"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {}", about.trim_end_matches('.')))]);
    roff
}

fn format_page(name: &str, about: &str, document: &str) -> String {
    let mut roff = head(name, "5", about);
    roff.control("SH", ["DESCRIPTION"]);
    markdown::append(&mut roff, document);
    see_also(&mut roff, &format!("{name}(5)"), vec!["access(1)".to_owned()]);
    roff.render()
}

fn page(command: &clap::Command, name: &str, above: Option<(&str, &clap::Command)>) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = head(name, "1", &about);
    roff.control("SH", ["SYNOPSIS"]);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let spoken = command.get_bin_name().unwrap_or(name);
    roff.text([bold(spoken), roman(usage.strip_prefix(spoken).unwrap_or(usage))]);

    roff.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().map_or_else(|| about + ".", ToString::to_string);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = split_examples(&after);
    prose(&mut roff, &long);
    if !notes.is_empty() {
        roff.control("PP", []);
        prose(&mut roff, notes);
    }
    if command.has_subcommands() {
        roff.control("SH", ["COMMANDS"]);
    }
    for below in command.get_subcommands() {
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        let page = format!("{name}-{}", below.get_name());
        item(&mut roff, [bold(page), roman("(1)")], &about);
    }
    options(&mut roff, command, above.is_none());
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        preformatted(&mut roff, examples.lines());
    }
    if above.is_none() {
        common_to_all(&mut roff);
    } else {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman("See "), bold("access"), roman("(1), also for the options that every command takes.")]);
    }
    see_also(&mut roff, &format!("{name}(1)"), neighbours(command, name, above));
    roff.render()
}

/// What the page of `access` says for all commands.
fn common_to_all(roff: &mut Roff) {
    roff.control("SH", ["TIMES AND LENGTHS"]);
    prose(roff, TIMES);
    for (form, same) in time_input::LENGTHS.into_iter().chain(time_input::TIMES) {
        item(roff, [bold(form)], same);
    }
    for (heading, items) in
        [("ENVIRONMENT", &ENVIRONMENT[..]), ("FILES", &FILES[..]), ("EXIT STATUS", &EXIT_STATUS[..])]
    {
        roff.control("SH", [heading]);
        for (word, meaning) in items {
            item(roff, [bold(*word)], meaning);
        }
    }
}

/// The pages above, beside and below a command's. Of `access`: all of its commands and the file formats.
fn neighbours(command: &clap::Command, name: &str, above: Option<(&str, &clap::Command)>) -> Vec<String> {
    let below = |name: &str, command: &clap::Command| -> Vec<String> {
        command.get_subcommands().map(|below| format!("{name}-{}(1)", below.get_name())).collect()
    };
    let mut pages = match above {
        None => FORMATS.map(|(name, _, _)| format!("{name}(5)")).to_vec(),
        Some(("access", _)) => vec!["access(1)".to_owned()],
        Some((above, group)) => [vec!["access(1)".to_owned(), format!("{above}(1)")], below(above, group)].concat(),
    };
    pages.extend(below(name, command));
    pages
}

fn see_also(roff: &mut Roff, page: &str, mut pages: Vec<String>) {
    let related = RELATED.iter().filter(|(of, _)| *of == page).flat_map(|(_, related)| *related);
    pages.extend(related.map(|&related| related.to_owned()));
    pages.retain(|other| other != page);
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len().saturating_sub(1);
    for (index, page) in pages.iter().enumerate() {
        let (name, section) = page.split_at(page.find('(').unwrap_or(page.len()));
        roff.text([bold(name), roman(format!("{section}{}", if index == last { "" } else { "," }))]);
    }
}

/// The arguments and options. Those that every command takes are on the page of `access` alone.
fn options(roff: &mut Roff, command: &clap::Command, root: bool) {
    let shown = |arg: &&Arg| !arg.is_hide_set() && (root || !(arg.is_global_set() || arg.get_id() == "help"));
    // The name of an argument without a description explains itself.
    let arguments: Vec<&Arg> = command.get_positionals().filter(|arg| !description(arg).is_empty()).collect();
    let options: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_positional()).filter(shown).collect();
    for (heading, args) in [("ARGUMENTS", arguments), ("OPTIONS", options)] {
        if !args.is_empty() {
            roff.control("SH", [heading]);
        }
        for arg in args {
            item(roff, title(arg), &description(arg));
        }
    }
}

fn title(arg: &Arg) -> Vec<Inline> {
    let mut title = Vec::new();
    if let Some(short) = arg.get_short() {
        title.extend([bold(format!("-{short}")), roman(", ")]);
    }
    if let Some(long) = arg.get_long() {
        title.push(bold(format!("--{long}")));
    }
    if arg.get_action().takes_values() {
        let space = if title.is_empty() { "" } else { " " };
        let names = arg.get_value_names().unwrap_or_default();
        title.extend([roman(space), italic(names.join(" "))]);
    }
    title
}

fn description(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = if arg.is_hide_possible_values_set() || !arg.get_action().takes_values() {
        Vec::new()
    } else {
        let spell = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("{} ({help})", value.get_name()),
            None => value.get_name().to_owned(),
        };
        arg.get_possible_values().iter().map(spell).collect()
    };
    if !values.is_empty() {
        let stop = if text.is_empty() { "" } else { ". " };
        text += &format!("{stop}One of: {}", values.join(", "));
    }
    text
}

fn item(roff: &mut Roff, title: impl Into<Vec<Inline>>, text: &str) {
    roff.control("TP", []);
    roff.text(title);
    roff.text([roman(text)]);
}

/// Splits the text below the help into the notes and the examples.
fn split_examples(after: &str) -> (&str, &str) {
    for heading in ["Examples:\n", "Example:\n"] {
        if let Some((notes, examples)) = after.split_once(heading) {
            return (notes.trim_end(), examples);
        }
    }
    (after, "")
}

/// Paragraphs are filled; indented lines stay as they are.
fn prose(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        if line.trim().is_empty() {
            roff.control("PP", []);
        } else if line.starts_with(' ') {
            roff.control("PP", []);
            preformatted(roff, std::iter::once(line));
        } else {
            roff.text([roman(line)]);
        }
    }
}

fn preformatted<'t>(roff: &mut Roff, lines: impl Iterator<Item = &'t str>) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
}
