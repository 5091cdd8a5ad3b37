//! `access backup`: a verified copy of the database.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::protocol::BackupView;
use crate::ui::Sheet;

/// Write a proven copy of the database, while it is in use
#[derive(Debug, Args)]
#[command(
    after_help = "The copy is one file. Never copy a database in use by other means: what was written last is in \
access.db-wal and access.db-shm beside it. They, and access.db.lock, belong to the file that they lie beside: \
copy none of them by hand.

To restore one: see that nobody uses the database, move the damaged file away with its -wal and -shm, copy the \
backup to its place (mode 0600), and run `access doctor --against` with your checkpoints: decisions made since \
are lost, and what was revoked since lives again until you revoke it.

Example:
  access backup /var/backups/access-$(date +%F).db"
)]
pub struct BackupArgs {
    /// The new file
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}

impl Run for BackupArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let view = app.backend()?.back_up(self.to)?;
        app.printer.object(&view, |sheet| backed_up(sheet, &view))?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}

fn backed_up(sheet: &mut Sheet, view: &BackupView) {
    let file = view.file.display();
    sheet.line(&format!("Copied to {file}: {} bytes, proven whole up to entry {}", view.bytes, view.checkpoint.seq));
}
