//! `access connector`: the connectors that access ships.

use std::io::stdin;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Run;
use super::app::App;
use crate::connectors::aws_iam_group::AwsIamGroupArgs;
use crate::connectors::ldap::LdapArgs;
use crate::connectors::postgres::PostgresArgs;
use crate::connectors::scim::ScimArgs;
use crate::connectors::sudoers::{Sudoers, SudoersArgs};
use crate::connectors::unix_group::{UnixGroup, UnixGroupArgs};
use crate::connectors::{System, serve};

/// Give and take back access in another system (run by `access reconcile`)
#[derive(Debug, Args)]
#[command(
    after_help = "A connector reads operations from standard input and writes an answer to each on standard output, both in \
JSON, one object a line."
)]
pub struct ConnectorArgs {
    #[command(subcommand)]
    verb: ConnectorVerb,
}

#[derive(Debug, Subcommand)]
enum ConnectorVerb {
    UnixGroup(UnixGroupArgs),
    Sudoers(SudoersArgs),
    Postgres(PostgresArgs),
    Ldap(LdapArgs),
    Scim(ScimArgs),
    AwsIamGroup(AwsIamGroupArgs),
}

impl Run for ConnectorArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let mut system: Box<dyn System> = match self.verb {
            ConnectorVerb::UnixGroup(UnixGroupArgs {}) => Box::new(UnixGroup::default()),
            ConnectorVerb::Sudoers(args) => Box::new(Sudoers::new(args)),
            ConnectorVerb::Postgres(args) => Box::new(args.open()?),
            ConnectorVerb::Ldap(args) => Box::new(args.open()?),
            ConnectorVerb::Scim(args) => Box::new(args.open()?),
            ConnectorVerb::AwsIamGroup(args) => Box::new(args.open()?),
        };
        serve(&mut *system, stdin().lock(), app.printer.output())?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}
