//! `access backup`: writes a verified copy of the database.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::protocol::BackupView;
use crate::ui::Sheet;

/// Write a verified copy of the database, even while it is in use
#[derive(Debug, Args)]
#[command(
    after_help = "The copy is one file. Do not copy a database in use in any other way: the latest changes are in \
access.db-wal and access.db-shm next to it. Those two, and access.db.lock, belong to that one database: never copy them.

To restore a backup: stop all use of the database, move the damaged file away together with its -wal and -shm, copy the \
backup to its place (mode 0600), and run `access doctor --against` with your checkpoints. Decisions made since the \
backup are lost, and access revoked since is active again until you revoke it.

Example:
  access backup /var/backups/access-$(date +%F).db"
)]
pub struct BackupArgs {
    /// File to create
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
    sheet.line(&format!("Copied to {file}: {} bytes, verified up to entry {}", view.bytes, view.checkpoint.seq));
}
