//! `access log`: the log that several hosts share, in PostgreSQL.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{EnumValueParser, PossibleValue};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::Run;
use super::app::App;
use crate::domain::host::HostPower;
use crate::domain::text::quantity;
use crate::log::{Engine, LogConfig};
use crate::protocol::{EngineCondition, MoveOutcome, MovedView};
use crate::server;
use crate::service;
use crate::time_format::ago;

/// Share the log with other hosts, in a PostgreSQL database
#[derive(Debug, Args)]
#[command(
    after_help = "A log that several hosts share is in a PostgreSQL database; each host keeps a verified copy, which `access \
check` reads. How this host reaches it is in [log] of the configuration file.

Examples:
  access log init postgresql://owner@db1/access
  access log allow bastion1 decide postgresql://owner@db1/access
  access log move postgresql://owner@db1/access    on the first host
  access log join                                  on every other host
  access log status
  access log leave postgresql://owner@db1/access   back into the file"
)]
pub struct LogArgs {
    #[command(subcommand)]
    pub verb: LogVerb,
}

#[derive(Debug, Subcommand)]
pub enum LogVerb {
    Init(LogInitArgs),
    Allow(LogAllowArgs),
    Move(LogMoveArgs),
    Join(LogJoinArgs),
    Leave(LogLeaveArgs),
    Status(LogStatusArgs),
    Upgrade(LogUpgradeArgs),
    RaiseEpoch(LogRaiseEpochArgs),
    Salvage(LogSalvageArgs),
}

/// How the owner of the log's database logs in.
#[derive(Debug, Args)]
pub struct Owner {
    /// postgresql://OWNER@SERVER,SERVER/DATABASE, without a password
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file with the owner's password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The owner's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Allow a connection that is not encrypted
    #[arg(long)]
    pub allow_plain: bool,
}

impl Owner {
    fn engine(self) -> Result<Engine> {
        let Owner { url, password_file, certificate, key, ca_file, allow_plain } = self;
        let config = LogConfig { url, password_file, certificate, key, ca_file, allow_plain, patroni: None };
        Ok(Engine::new(config.resolve()?))
    }
}

/// Prepare an empty PostgreSQL database for the log of this team, or upgrade it
#[derive(Debug, Args)]
pub struct LogInitArgs {
    #[command(flatten)]
    pub owner: Owner,
}

/// Let a host in, or change what it may do. Once the team file names hosts, they are changed there
#[derive(Debug, Args)]
pub struct LogAllowArgs {
    /// The role that the host logs in to PostgreSQL as: its name in the log
    #[arg(value_name = "HOST")]
    pub role: String,
    /// What people on it may do
    #[arg(value_name = "WHAT", value_parser = EnumValueParser::<HostPower>::new())]
    pub may: HostPower,
    #[command(flatten)]
    pub owner: Owner,
}

impl ValueEnum for HostPower {
    fn value_variants<'a>() -> &'a [HostPower] {
        &HostPower::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            HostPower::Decide => "All commands",
            HostPower::Ask => "Request, edit and withdraw; give back access",
            HostPower::Read => "Check and list only",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

/// Move the log of this database into the shared one, entry by entry, and make this a copy of it
#[derive(Debug, Args)]
pub struct LogMoveArgs {
    #[command(flatten)]
    pub owner: Owner,
    /// Verify the log and both connections, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Make this host's copy of the shared log, from nothing
#[derive(Debug, Args)]
pub struct LogJoinArgs {}

/// Close the shared log, and make this copy the log again
#[derive(Debug, Args)]
pub struct LogLeaveArgs {
    #[command(flatten)]
    pub owner: Owner,
    /// Verify the copy and both connections, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Write entries in the newest format that this version knows, once every host reads it
#[derive(Debug, Args)]
pub struct LogUpgradeArgs {
    #[command(flatten)]
    pub owner: Owner,
}

/// After the database was restored from a backup, or a standby was promoted by hand: begin another epoch
#[derive(Debug, Args)]
#[command(
    after_help = "Hosts that know more entries than the log has stop. Collect what it lacks on each of them with `access log \
salvage`; nothing is appended again by itself."
)]
pub struct LogRaiseEpochArgs {
    #[command(flatten)]
    pub owner: Owner,
}

/// After a restore: write the entries of this copy that the log lacks to a file
#[derive(Debug, Args)]
#[command(
    after_help = "The file has one JSON object a line: the number, the hash and the text of an entry. Entries whose outcome was not \
known are in it too. Nothing is appended again: do again by hand what still matters."
)]
pub struct LogSalvageArgs {
    /// The file to create
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Then put a new copy of the shared log in the place of this one, which is kept beside it
    #[arg(long)]
    pub rejoin: bool,
}

/// Show how far the shared log and each host are
#[derive(Debug, Args)]
pub struct LogStatusArgs {}

impl Run for LogArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            LogVerb::Init(init) => {
                let mut owner = init.owner.engine()?;
                let team = service::prepare_log(app.backend()?.database()?, &mut owner)?;
                let words = format!("The database is ready for the log of team {team}");
                app.printer.print_or(&words, &json!({ "team": team }))?;
                app.printer.hint("let each host in with `access log allow`, then move the log with `access log move`");
            }
            LogVerb::Allow(allow) => {
                allow.owner.engine()?.allow(&allow.role, allow.may.as_str()).map_err(service::engine_failure)?;
                let may = allow.may.as_str();
                let view = json!({ "host": allow.role, "may": may });
                app.printer.print_or(&format!("The host {} may {may}", allow.role), &view)?;
            }
            LogVerb::Move(to) => return to.run(app),
            LogVerb::Join(_) => {
                let path = app.backend()?.place_for_copy()?.to_owned();
                let place = service::join_log(&path, server::engine())?;
                let entries = quantity(place.seq, "entry", "entries");
                let words = format!("Joined the shared log: {entries}, at {}", path.display());
                app.printer.print_or(&words, &json!({ "entries": place.seq, "database": path }))?;
                app.printer.hint("keep the copy fresh with `access follow`");
            }
            LogVerb::Leave(leave) => {
                let mut owner = leave.owner.engine()?;
                let left = service::leave_log(app.backend()?.database()?, &mut owner, leave.dry_run)?;
                print_moved(app, &left, ("Would bring back", "Brought back", "The log is in this database already:"))?;
            }
            LogVerb::Status(_) => status(app)?,
            LogVerb::Upgrade(upgrade) => {
                let format = service::raise_format(&mut upgrade.owner.engine()?)?;
                let words = format!("The hosts write entries of format {format}");
                app.printer.print_or(&words, &json!({ "write_format": format }))?;
            }
            LogVerb::RaiseEpoch(raise) => {
                let mut owner = raise.owner.engine()?;
                let epoch = service::raise_epoch(app.backend()?.database()?, &mut owner)?;
                app.printer.print_or(&format!("The shared log is in epoch {epoch}"), &json!({ "epoch": epoch }))?;
                app.printer.hint("on hosts that stop with FORK, collect what the log lacks with `access log salvage`");
            }
            LogVerb::Salvage(salvage) => return salvage.run(app),
        }
        Ok(0)
    }

    fn changes(&self) -> bool {
        !matches!(self.verb, LogVerb::Status(_))
    }
}

impl LogMoveArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let mut owner = self.owner.engine()?;
        let moved = service::move_log(app.backend()?.database()?, &mut owner, self.dry_run)?;
        print_moved(app, &moved, ("Would move", "Moved", "The log is shared already:"))?;
        Ok(0)
    }
}

/// `words`: of a dry run, of a move, and if an earlier run has moved the log.
fn print_moved(app: &mut App, moved: &MovedView, words: (&str, &str, &str)) -> Result<()> {
    let words = match moved.outcome {
        MoveOutcome::DryRun => words.0,
        MoveOutcome::Moved => words.1,
        MoveOutcome::AlreadyMoved => words.2,
    };
    let entries = quantity(moved.entries, "entry", "entries");
    app.printer.print_or(&format!("{words} {entries}; this host is {}", moved.host), moved)?;
    Ok(())
}

impl LogSalvageArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let store = app.backend()?.open_database()?;
        let anew = self.rejoin.then(server::engine);
        let salvaged = service::salvage_log(store, &self.file, anew)?;
        let entries = quantity(salvaged.entries, "entry", "entries");
        let file = self.file.display();
        let mut words = format!("Wrote {entries} that the shared log lacks after {} to {file}", salvaged.common);
        match &salvaged.kept {
            Some(kept) => words += &format!("; the old copy is {}", kept.display()),
            None => app
                .printer
                .hint("then make a new copy with --rejoin and another file, once nobody else uses this database"),
        }
        app.printer.print_or(&words, &salvaged)?;
        Ok(0)
    }
}

fn status(app: &mut App) -> Result<()> {
    let status = service::log_status(app.backend()?.database()?)?;
    let now = app.printer.now();
    app.printer.object(&status, |sheet| {
        sheet.field("host", &status.host);
        sheet.field("this copy", &format!("entry {}", status.position.seq));
        if let Some(engine) = &status.engine {
            let how = match engine.state {
                EngineCondition::Open => "",
                EngineCondition::Closed => ": CLOSED, as a host has taken it, or a move into it has not ended",
                EngineCondition::Fork => ": FORK, it does not have the last entry of this copy",
            };
            sheet.field("shared log", &format!("entry {}, epoch {}{how}", engine.seq, engine.epoch));
            for host in &engine.hosts {
                let seen = host.seen_at.map_or("never seen".to_owned(), |at| {
                    format!("entry {}, seen {}", host.seen_seq.unwrap_or(0), ago(at, now))
                });
                sheet.field(&host.host, &format!("{}: {seen}", host.may));
            }
        }
        if let Some(why) = &status.unreachable {
            sheet.field("shared log", why);
        }
    })?;
    Ok(())
}
