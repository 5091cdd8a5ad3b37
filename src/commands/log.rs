//! `access log`: the log that several hosts share, in PostgreSQL.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use super::Run;
use super::app::App;
use crate::log::{Engine, LogConfig};
use crate::server;
use crate::service;
use crate::time_format::relative;

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
  access log status"
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

/// Let a host in, or change what it may do
#[derive(Debug, Args)]
pub struct LogAllowArgs {
    /// The role that the host logs in to PostgreSQL as: its name in the log
    #[arg(value_name = "HOST")]
    pub role: String,
    /// What people on it may do
    #[arg(value_name = "WHAT", value_enum)]
    pub may: HostPower,
    #[command(flatten)]
    pub owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostPower {
    /// All commands
    Decide,
    /// Request, edit and withdraw; give back access
    Ask,
    /// Check and list only
    Read,
}

impl HostPower {
    fn as_str(self) -> &'static str {
        match self {
            HostPower::Decide => "decide",
            HostPower::Ask => "ask",
            HostPower::Read => "read",
        }
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
                app.printer.print(&format!("The database is ready for the log of team {team}"))?;
                app.printer.hint("let each host in with `access log allow`, then move the log with `access log move`");
            }
            LogVerb::Allow(allow) => {
                allow.owner.engine()?.allow(&allow.role, allow.may.as_str()).map_err(service::engine_failure)?;
                app.printer.print(&format!("The host {} may {}", allow.role, allow.may.as_str()))?;
            }
            LogVerb::Move(to) => return to.run(app),
            LogVerb::Join(_) => {
                let path = app.backend()?.place_for_copy()?.to_owned();
                let place = service::join_log(&path, server::engine())?;
                app.printer.print(&format!("Joined the shared log: {} entries, at {}", place.seq, path.display()))?;
                app.printer.hint("keep the copy fresh with `access follow`");
            }
            LogVerb::Leave(leave) => {
                let mut owner = leave.owner.engine()?;
                let place = service::leave_log(app.backend()?.database()?, &mut owner)?;
                app.printer.print(&format!("The log is in this database again, at entry {}", place.seq))?;
            }
            LogVerb::Status(_) => status(app)?,
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
        let store = app.backend.get()?.database()?;
        let moved = service::move_log(store, &mut owner, self.dry_run)?;
        let words = if self.dry_run {
            format!("Would move {} entries, as host {}", moved.entries, moved.host)
        } else {
            format!("Moved {} entries; this host is {}", moved.entries, moved.host)
        };
        app.printer.print_or(&words, &moved)?;
        Ok(0)
    }
}

fn status(app: &mut App) -> Result<()> {
    let status = service::log_status(app.backend()?.database()?)?;
    let now = app.printer.now();
    app.printer.object(&status, |sheet| {
        sheet.field("host", &status.host);
        sheet.field("this copy", &format!("entry {}", status.position.seq));
        match &status.engine {
            Ok(engine) => {
                sheet.field("shared log", &format!("entry {}, epoch {}", engine.seq, engine.epoch));
                for host in &engine.hosts {
                    let seen = host.seen_at.map_or("never seen".to_owned(), |at| {
                        format!("entry {}, seen {}", host.seen_seq.unwrap_or(0), relative(at, now))
                    });
                    sheet.field(&host.host, &format!("{}: {seen}", host.may));
                }
            }
            Err(why) => sheet.field("shared log", why),
        }
    })?;
    Ok(())
}
