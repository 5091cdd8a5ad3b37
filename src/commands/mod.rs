//! The commands, one per file: the arguments, the dialogue and the output.

mod app;
mod approve;
mod audit;
mod backup;
mod check;
pub mod completions;
mod connector;
mod deliver;
mod deny;
mod doctor;
mod each;
mod edit;
mod expire;
mod extend;
mod follow;
mod help;
mod inbox;
mod init;
mod input;
pub mod line;
mod list;
mod log;
mod man;
mod notify;
mod outage;
mod outbox;
mod output;
mod pending;
mod recertify;
mod reconcile;
mod report;
mod request;
mod resources;
mod review;
mod revoke;
mod run;
pub mod run_line;
mod serve;
mod session;
mod show;
pub mod ssh;
mod team;
mod version;
mod who;
mod whoami;
mod withdraw;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use app::App;
use clap::{Args, Command, FromArgMatches as _, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;

use crate::completion;
use crate::domain::name::Name;
use crate::identity;
use crate::server::OverSsh;
use crate::time_zone;
use crate::ui::ColorWhen;

/// Request elevated access, approve it, and let it expire on time.
///
/// Engineers request access, admins approve or deny it, cron records its end, and an audit log records every action.
#[derive(Debug, Parser)]
#[command(
    name = "access",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Start with `access init --sample`, then `access whoami` and `access resources`."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Parses a line without building the other subcommands, which would take a tenth of the time of a `check`.
    /// None if that fails: the help and the errors come from `try_parse_from`.
    pub fn parse_named(line: &[OsString]) -> Option<Cli> {
        let command = Command::new("access").subcommand_required(true).disable_help_subcommand(true);
        let command = Verb::named(line, Global::augment_args(command));
        let mut matches = command.try_get_matches_from(line).ok()?;
        Cli::from_arg_matches_mut(&mut matches).ok()
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Use this database file [env: ACCESS_DB]
    #[arg(long, global = true, value_name = "PATH")]
    pub db: Option<PathBuf>,
    /// Act as this member (your Unix user is recorded too) [env: ACCESS_AS]
    #[arg(long = "as", global = true, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub acting_as: Option<Name>,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = false
    )]
    pub color: ColorWhen,
    /// Answer yes to all questions
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What a command does.
trait Run {
    /// Returns the exit code.
    fn run(self, app: &mut App) -> Result<u8>;

    /// Whether it changes something when it succeeds.
    fn changes(&self) -> bool {
        false
    }
}

impl<R: Run> Run for Box<R> {
    fn run(self, app: &mut App) -> Result<u8> {
        (*self).run(app)
    }

    fn changes(&self) -> bool {
        (**self).changes()
    }
}

/// Makes the subcommands, in the order of the help.
macro_rules! verbs {
    ($($verb:ident($args:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($verb($args)),*
        }

        impl Verb {
            /// Adds the subcommands that are words of the line.
            fn named(line: &[OsString], mut command: Command) -> Command {
                $(
                    let name = stringify!($verb).to_lowercase();
                    if line.iter().any(|word| *word == *name) {
                        command = command.subcommand(<$args>::augment_args(Command::new(name)));
                    }
                )*
                command
            }
        }

        impl Run for Verb {
            fn run(self, app: &mut App) -> Result<u8> {
                match self {
                    $(Verb::$verb(args) => args.run(app)),*
                }
            }

            fn changes(&self) -> bool {
                match self {
                    $(Verb::$verb(args) => args.changes()),*
                }
            }
        }
    };
}

verbs! {
    Init(init::InitArgs),
    Team(team::TeamArgs),
    Resources(resources::ResourcesArgs),
    Request(Box<request::RequestArgs>),
    Extend(extend::ExtendArgs),
    Edit(edit::EditArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Approve(approve::ApproveArgs),
    Deny(deny::DenyArgs),
    Review(review::ReviewArgs),
    Recertify(recertify::RecertifyArgs),
    Withdraw(withdraw::WithdrawArgs),
    Revoke(revoke::RevokeArgs),
    Whoami(whoami::WhoamiArgs),
    Check(check::CheckArgs),
    Who(who::WhoArgs),
    Run(Box<run::RunArgs>),
    Inbox(inbox::InboxArgs),
    Notify(notify::NotifyArgs),
    Expire(expire::ExpireArgs),
    Deliver(deliver::DeliverArgs),
    Outbox(outbox::OutboxArgs),
    Reconcile(reconcile::ReconcileArgs),
    Connector(connector::ConnectorArgs),
    Audit(audit::AuditArgs),
    Report(report::ReportArgs),
    Log(Box<log::LogArgs>),
    Follow(follow::FollowArgs),
    Pending(pending::PendingArgs),
    Backup(backup::BackupArgs),
    Doctor(doctor::DoctorArgs),
    Serve(serve::ServeArgs),
    Ssh(ssh::SshArgs),
    Session(session::SessionArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Version(version::VersionArgs),
    Help(help::HelpArgs),
}

/// Runs the command. Returns the exit code. `over_ssh`: the member who gives it, if it came over SSH.
fn run(cli: Cli, over_ssh: Option<OverSsh>) -> Result<u8> {
    let Cli { global, verb } = cli;
    let changes = verb.changes();
    let mut app = App::new(&global, over_ssh, identity::clock()?);
    let ended = match verb.run(&mut app) {
        // The reader closed the pipe (`| head`).
        Err(_) if app.stopped => Ok(0),
        ended => ended,
    };
    app.start_reconciler();
    // A command prints only after its change is committed. If the output fails, the user must know that it is done.
    let code = match (ended, app.printer.flush()) {
        (_, Err(failure)) if changes => {
            return Err(failure.hint("the command was carried out; only its output is lost").into());
        }
        (ended, written) => written.map_err(Into::into).and(ended)?,
    };
    if let Some(why) = time_zone::local_zone_error() {
        app.printer.warn(&format!("{why}; times are shown in UTC"));
    }
    app.mention_age();
    app.mention_unread();
    Ok(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_named_subcommands_are_those_of_the_whole_command() {
        let whole = Cli::command();
        let line: Vec<OsString> = whole.get_subcommands().map(|it| it.get_name().into()).collect();
        let names =
            |command: Command| command.get_subcommands().map(|it| it.get_name().into()).collect::<Vec<OsString>>();
        assert_eq!(names(Verb::named(&line, Command::new("access"))), line);
        assert_eq!(names(Verb::named(&line[..1], Command::new("access"))), line[..1]);
    }
}
