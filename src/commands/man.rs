//! `access man`: writes the manual pages.

mod markdown;
mod pages;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;

/// Write the manual pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:
  access man ~/.local/share/man/man1")]
pub struct ManArgs {
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

impl Run for ManArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let count = pages::write_man_pages(&self.folder)?;
        app.printer.print(&format!("Wrote {count} pages to {}", self.folder.display()))?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}
