//! The connectors that access ships.

use std::io::stdin;

use anyhow::Result;
use clap::Subcommand;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::app::App;
use crate::connectors::aws_iam_group::AwsIamGroupArgs;
use crate::connectors::aws_identity_center::AwsIdentityCenterArgs;
use crate::connectors::ldap::LdapArgs;
use crate::connectors::postgres::PostgresArgs;
use crate::connectors::scim::ScimArgs;
use crate::connectors::sudoers::{Sudoers, SudoersArgs};
use crate::connectors::unix_group::{UnixGroup, UnixGroupArgs};
use crate::connectors::{System, serve};

/// The most memory that a connector may use: 1 GiB.
const MEMORY: u64 = 1 << 30;

#[derive(Debug, Subcommand)]
pub enum Shipped {
    UnixGroup(UnixGroupArgs),
    Sudoers(SudoersArgs),
    Postgres(PostgresArgs),
    Ldap(LdapArgs),
    Scim(ScimArgs),
    AwsIamGroup(AwsIamGroupArgs),
    AwsIdentityCenter(AwsIdentityCenterArgs),
}

impl Shipped {
    /// Carries out the operations on standard input, and answers on standard output.
    pub fn serve(self, app: &mut App) -> Result<u8> {
        let mut system: Box<dyn System> = match self {
            Shipped::UnixGroup(UnixGroupArgs {}) => Box::new(UnixGroup::default()),
            Shipped::Sudoers(args) => Box::new(Sudoers::new(args)),
            Shipped::Postgres(args) => Box::new(args.open()?),
            Shipped::Ldap(args) => args.open()?,
            Shipped::Scim(args) => Box::new(args.open()?),
            Shipped::AwsIamGroup(args) => Box::new(args.open()?),
            Shipped::AwsIdentityCenter(args) => Box::new(args.open()?),
        };
        // The other side can send what it likes.
        let (_, most) = getrlimit(Resource::RLIMIT_DATA).map_err(std::io::Error::from)?;
        let most = most.min(MEMORY);
        setrlimit(Resource::RLIMIT_DATA, most, most).map_err(std::io::Error::from)?;
        serve(&mut *system, stdin().lock(), app.printer.output())?;
        Ok(0)
    }
}
