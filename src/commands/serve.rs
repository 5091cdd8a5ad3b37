//! `access serve`: a shared host's server.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::server;

/// Run the server of a shared host (started by the system)
#[derive(Debug, Args)]
#[command(after_help = "Each connection is served by its own process, as the user who owns the database. \
With systemd, use the units in packaging/systemd; otherwise start this as root at boot: it drops root privileges.

Examples:
  access serve
  access serve --group engineers   nobody else may connect")]
pub struct ServeArgs {
    /// Serve only the connection on standard input
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
