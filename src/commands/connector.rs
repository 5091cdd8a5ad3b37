//! `access connector`: the connectors that are shipped.

use std::io::{stdin, stdout};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Run;
use super::app::App;
use crate::connectors::ldap::LdapArgs;
use crate::connectors::postgres::PostgresArgs;
use crate::connectors::scim::ScimArgs;
use crate::connectors::{System, serve};

/// Give and take back access in another system (started by the reconciler)
#[derive(Debug, Args)]
pub struct ConnectorArgs {
    #[command(subcommand)]
    pub what: ConnectorCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    Postgres(PostgresArgs),
    Ldap(LdapArgs),
    Scim(ScimArgs),
}

impl Run for ConnectorArgs {
    fn run(self, _app: &mut App) -> Result<u8> {
        let mut system: Box<dyn System> = match self.what {
            ConnectorCommand::Postgres(args) => Box::new(args.open()?),
            ConnectorCommand::Ldap(args) => Box::new(args.open()?),
            ConnectorCommand::Scim(args) => Box::new(args.open()?),
        };
        serve(system.as_mut(), stdin().lock(), stdout().lock())?;
        Ok(0)
    }
}
