//! `access connector sudoers`: the right to run certain commands with sudo.
//!
//! Each login and profile has a file of its own in `/etc/sudoers.d`. The commands of a profile are written on the connector's own
//! command line, and so in root's configuration only.

pub mod command;
mod file;

use std::path::PathBuf;

use clap::Args;

pub use command::{ProfileCommand, RunAs};
use file::{Rules, SudoGrant};

use super::protocol::{Holder, Provision};
use super::{GrantEffect, NotDone, System, account, parameters, processes};
use crate::domain::binding::Parameters;
use crate::domain::name::Name;

/// Commands that sudo lets people run
#[derive(Debug, Args)]
#[command(
    after_help = "The parameter is profile. A COMMAND is an absolute path and exactly the arguments that are allowed. \
A * in place of the last argument allows any arguments from there on.

Example:
  access connector sudoers --profile 'web=/usr/bin/systemctl restart nginx'"
)]
pub struct SudoersArgs {
    /// A command of a profile (repeatable)
    #[arg(long = "profile", value_name = "NAME=COMMAND", required = true)]
    pub profiles: Vec<ProfileCommand>,
    /// The user as whom the commands run
    #[arg(long, value_name = "USER", default_value = "root")]
    pub run_as: RunAs,
    /// Ask people for their own password, as sudo does by default
    #[arg(long)]
    pub ask_password: bool,
    /// Let sudo record the input and output of the commands, for sudoreplay
    #[arg(long)]
    pub log_io: bool,
    /// Where sudo reads its files
    #[arg(long, value_name = "DIR", default_value = "/etc/sudoers.d")]
    pub directory: PathBuf,
}

pub struct Sudoers {
    args: SudoersArgs,
    /// Whether sudo is known to read the directory.
    is_read: bool,
}

impl Sudoers {
    pub fn new(args: SudoersArgs) -> Sudoers {
        Sudoers { args, is_read: false }
    }

    /// What an act is about. A profile that root's configuration no longer has can still be taken back.
    fn named(act: &Provision) -> Result<SudoGrant, NotDone> {
        let profile = profile(&act.parameters)?;
        Ok(SudoGrant { login: act.login.clone(), profile })
    }
}

fn profile(parameters: &Parameters) -> Result<Name, NotDone> {
    let value = parameters::only(parameters, "profile")?;
    value.parse().map_err(|why| NotDone::Failed(format!("the profile {value:?}: {why}")))
}

impl System for Sudoers {
    fn list(&mut self, all: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let granted = file::read_all(&self.args.directory)?;
        let mut holders = Vec::new();
        for parameters in all {
            // Nobody holds parameters that this connector does not know.
            let Ok(profile) = profile(parameters) else { continue };
            let of_profile = granted.iter().filter(|granted| granted.profile == profile);
            holders.extend(
                of_profile.map(|granted| Holder { login: granted.login.clone(), parameters: parameters.clone() }),
            );
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let granted = Sudoers::named(act)?;
        let of_profile = self.args.profiles.iter().filter(|one| one.profile == granted.profile);
        let commands: Vec<_> = of_profile.map(|one| &one.command).collect();
        if commands.is_empty() {
            let profile = granted.profile;
            return Err(NotDone::Failed(format!("the command line of this connector has no --profile {profile}=…")));
        }
        account::of(&act.login)?;
        // By default sudo ignores the case of user names.
        if let Some(other) = account::other_case(&act.login)? {
            let login = &act.login;
            return Err(NotDone::Failed(format!("sudo does not tell {login} from {other}, another user of this host")));
        }
        let rules = Rules {
            granted,
            commands,
            run_as: &self.args.run_as,
            ask_password: self.args.ask_password,
            log_io: self.args.log_io,
            until: act.until,
        };
        let path = file::write(&self.args.directory, &rules)?;
        if !self.is_read {
            file::check_that_sudo_reads(&path)?;
            self.is_read = true;
        }
        // Only this connector writes such a file, and the list shows all of them.
        Ok(GrantEffect::Given)
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let granted = Sudoers::named(act)?;
        let was_there = file::remove(&self.args.directory, &granted)?;
        if act.end_sessions {
            end_starting(act)?;
        }
        Ok(was_there.then(|| format!("commands that {} already runs with sudo go on until they end", act.login)))
    }
}

/// Ends each sudo of the login that has not started its command yet.
fn end_starting(act: &Provision) -> Result<(), NotDone> {
    let user = match account::of(&act.login) {
        Ok(user) if user.uid.is_root() => return Ok(()),
        Ok(user) => user,
        Err(NotDone::Failed(_)) => return Ok(()),
        Err(later) => return Err(later),
    };
    processes::kill_changing(user.uid)
}
