//! `access version`.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;

/// Print the version
#[derive(Debug, Args)]
pub struct VersionArgs {}

impl Run for VersionArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let version = env!("CARGO_PKG_VERSION");
        if app.printer.is_json() {
            app.printer.json_line(&serde_json::json!({ "version": version }))?;
        } else {
            app.printer.raw(format!("access {version}\n").as_bytes())?;
        }
        Ok(0)
    }
}
