//! `access init`: a new database, or a shared host.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::error::{Failure, Kind};
use crate::server;
use crate::server::SharedInit;
use crate::service;
use crate::service::Init;

/// Create the database, with you as its owner
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access init                          a team of one: you
  access init --sample                 a small sample team, to try out
  access init --owner ana --team acme  as member ana of the team acme

As root, for a host that many share (see docs/shared-host.md):
  access init --shared --owner ana --team acme")]
pub struct InitArgs {
    /// Your name as a member (default: your Unix user name)
    #[arg(long, value_name = "NAME")]
    pub owner: Option<Name>,
    /// The team's name
    #[arg(long, value_name = "NAME")]
    pub team: Option<Name>,
    /// Load a small sample team
    #[arg(long)]
    pub sample: bool,
    /// Set up a shared host: the system user, the folders, the config and the database (root)
    #[arg(long, requires = "owner")]
    pub shared: bool,
    /// The owner's Unix user name on a shared host (default: the owner's name)
    #[arg(long, value_name = "LOGIN", requires = "shared")]
    pub login: Option<Login>,
}

impl Run for InitArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.shared {
            return self.init_shared(app);
        }
        let own = app.backend()?.own()?;
        let (login, path) = (own.login().clone(), own.path().to_owned());
        let owner = match self.owner {
            Some(owner) => owner,
            None => login.as_str().parse().map_err(|why| {
                Failure::new(Kind::Usage, format!("your Unix user name, {login}, can't be a member's name: {why}"))
                    .hint("choose another one with --owner NAME")
            })?,
        };
        let init = Init { login: &login, by: &login, owner: owner.clone(), team: self.team, sample: self.sample };
        let team = service::init(&path, app.clock, init)?;
        let path = path.display().to_string();
        let words = format!("Created {path}\nThe team {} is yours: you are its owner, {owner}", team.team.name);
        let json = serde_json::json!({ "database": path, "team": team.team.name, "owner": owner });
        app.printer.print_or(&words, &json)?;
        if self.sample {
            app.printer.hint("to try it out, act as another member: access --as bob request target:orders-db");
        } else {
            app.printer.hint("describe your team: access team show > team.toml, edit it, access team apply team.toml");
        }
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}

impl InitArgs {
    /// Sets up a shared host, as root, for another user who owns it.
    fn init_shared(self, app: &mut App) -> Result<u8> {
        let missing = || Failure::new(Kind::Usage, "--owner is missing");
        let owner = self.owner.ok_or_else(missing)?;
        let init = SharedInit { owner, login: self.login, team: self.team, sample: self.sample };
        let laid = server::init_shared(init, app.clock)?;
        let words = format!("Set up a shared host, with the database {}", laid.database.display());
        let json = serde_json::json!({ "database": laid.database, "socket": laid.socket });
        app.printer.print_or(&words, &json)?;
        app.printer.hint("serve it: systemctl enable --now access.socket access-expire.timer");
        app.printer.hint("with connectors: systemctl enable --now access-reconcile.service");
        app.printer
            .hint("or, without systemd: the table packaging/cron.d/access (in the checkout or /usr/share/doc/access)");
        app.printer.hint("then check the installation: access doctor");
        Ok(0)
    }
}
