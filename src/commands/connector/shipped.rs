//! The connectors that access ships: each reads operations from standard input and writes answers to standard output.

use std::io::stdin;

use anyhow::Result;
use clap::Subcommand;

use super::super::app::App;
use crate::connectors::ldap::LdapArgs;
use crate::connectors::postgres::PostgresArgs;
use crate::connectors::scim::ScimArgs;
use crate::connectors::sudoers::{Sudoers, SudoersArgs};
use crate::connectors::unix_group::{UnixGroup, UnixGroupArgs};
use crate::connectors::{System, serve};

#[derive(Debug, Subcommand)]
pub enum Shipped {
    UnixGroup(UnixGroupArgs),
    Sudoers(SudoersArgs),
    Postgres(PostgresArgs),
    Ldap(LdapArgs),
    Scim(ScimArgs),
}

impl Shipped {
    /// Serves until the end of the input.
    pub fn serve(self, app: &mut App) -> Result<u8> {
        let mut system: Box<dyn System> = match self {
            Shipped::UnixGroup(UnixGroupArgs {}) => Box::new(UnixGroup::default()),
            Shipped::Sudoers(args) => Box::new(Sudoers::new(args)),
            Shipped::Postgres(args) => Box::new(args.open()?),
            Shipped::Ldap(args) => Box::new(args.open()?),
            Shipped::Scim(args) => Box::new(args.open()?),
        };
        serve(&mut *system, stdin().lock(), app.printer.output())?;
        Ok(0)
    }
}
