//! `access serve`: a shared host's server.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::server;

/// Run a shared host's server (started by the system)
#[derive(Debug, Args)]
#[command(
    after_help = "Each connection is a process of its own that serves one command, as the user who owns the database. \
Under systemd use the units of packaging/systemd; elsewhere start this as root at boot: it gives root up.

Examples:
  access serve
  access serve --group engineers   nobody else may connect"
)]
pub struct ServeArgs {
    /// Serve the one connection on standard input
    #[arg(long)]
    pub connection: bool,
    /// The Unix group whose members may connect (default: everyone)
    #[arg(long, value_name = "GROUP", conflicts_with = "connection")]
    pub group: Option<String>,
}

impl Run for ServeArgs {
    fn run(self, _app: &mut App) -> Result<u8> {
        if self.connection {
            server::serve_connection()?;
        } else {
            server::listen(self.group.as_deref())?;
        }
        Ok(0)
    }
}
