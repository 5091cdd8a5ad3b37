//! The connectors that access ships.

use std::io::stdin;

use anyhow::Result;
use clap::Subcommand;

use super::super::app::App;
use crate::connectors::sudoers::{Sudoers, SudoersArgs};
use crate::connectors::unix_group::{UnixGroup, UnixGroupArgs};
use crate::connectors::{System, serve};

#[derive(Debug, Subcommand)]
pub enum Shipped {
    UnixGroup(UnixGroupArgs),
    Sudoers(SudoersArgs),
}

impl Shipped {
    /// Carries out the operations on standard input, and answers on standard output.
    pub fn serve(self, app: &mut App) -> Result<u8> {
        let mut system: Box<dyn System> = match self {
            Shipped::UnixGroup(UnixGroupArgs {}) => Box::new(UnixGroup::default()),
            Shipped::Sudoers(args) => Box::new(Sudoers::new(args)),
        };
        serve(&mut *system, stdin().lock(), app.printer.output())?;
        Ok(0)
    }
}
