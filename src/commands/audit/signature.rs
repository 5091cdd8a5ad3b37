//! `access audit signature`: what others need to verify a signed approval.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::super::app::App;
use super::super::output::NewFolder;
use crate::error::Failure;
use crate::files::not_written;
use crate::protocol::SignatureView;
use crate::service::AuditSignature;

/// Print the signature of an approval, for ssh-keygen to verify elsewhere
#[derive(Debug, Args)]
#[command(
    after_help = "With --to, a new folder has the text that was signed (terms), its signature (terms.sig), and the SSH keys that the \
team file had of the approver when it was recorded (allowed_signers). Compare these keys with those that you know. docs/guide.md has \
the line for ssh-keygen.

Examples:
  access audit signature 12
  access audit signature 12 --to approval-12"
)]
pub struct SignatureArgs {
    /// Number of the entry that records the approval
    #[arg(value_name = "ENTRY")]
    pub entry: u32,
    /// Write the files that ssh-keygen takes into this new folder
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

impl SignatureArgs {
    pub(super) fn run(self, app: &mut App) -> Result<u8> {
        let view = app.backend()?.answer(AuditSignature { seq: self.entry.into() })?;
        if let Some(folder) = &self.to {
            write(folder, &view)?;
            app.printer.status(&format!("Wrote the approval of {} and its signature", view.approver));
            return Ok(0);
        }
        app.printer.object(&view, |sheet| {
            let parts = [&view.terms, &view.signature, &view.allowed_signers];
            parts.into_iter().flat_map(|part| part.lines()).for_each(|line| sheet.line(line));
        })?;
        Ok(0)
    }
}

fn write(path: &Path, view: &SignatureView) -> Result<(), Failure> {
    let folder = NewFolder::begin(path)?;
    let files = [("terms", &view.terms), ("terms.sig", &view.signature), ("allowed_signers", &view.allowed_signers)];
    let written = files.into_iter().map(|(name, text)| {
        let mut file = folder.file(name)?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    });
    let written: std::io::Result<Vec<_>> = written.collect();
    folder.finish(written.map_err(|error| not_written(path, &error))?.into_iter())
}
