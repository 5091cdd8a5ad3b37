//! `access pending`: changes of which it is not known whether the shared log has them.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

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
            app.printer.print_or("Nothing is pending", &json!({ "pending": [] }))?;
            return Ok(0);
        }
        let asked = store.follow().map_err(Failure::from);
        let Some(pending) = pending()? else {
            app.printer.print_or("It is known now: see `access audit`", &json!({ "pending": [] }))?;
            return Ok(0);
        };
        let entries: Vec<Value> = pending.bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect();
        app.printer.print_or(&pending.bodies.join("\n"), &json!({ "pending": entries }))?;
        if let Err(failure) = asked {
            app.printer.warn(&failure.message);
        }
        Ok(1)
    }
}
