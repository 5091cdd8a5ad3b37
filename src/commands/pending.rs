//! `access pending`: changes of which it is not known whether the shared log has them.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::error::Failure;

/// Show changes whose outcome is not known yet. Exit 1: there are some
#[derive(Debug, Args)]
#[command(
    after_help = "When the connection to the shared log is lost while a change is sent, this host asks again until it knows \
whether the log has it. This command asks now."
)]
pub struct PendingArgs {}

impl Run for PendingArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let store = app.backend.get()?.database()?;
        let pending = || store.read(|read| read.pending_entries()).map_err(Failure::from);
        if pending()?.is_none() {
            app.printer.status("Nothing is pending");
            return Ok(0);
        }
        let asked = store.follow().map_err(Failure::from);
        match pending()? {
            None => {
                app.printer.print("It is known now: see `access audit`")?;
                Ok(0)
            }
            Some(pending) => {
                for body in &pending.bodies {
                    app.printer.print(body)?;
                }
                if let Err(failure) = asked {
                    app.printer.warn(&failure.message);
                }
                Ok(1)
            }
        }
    }
}
