//! Starts a run after a command that changed who has access, on a database of your own. On a shared host a service of root
//! watches the log instead.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::view::ReconcileView;
use crate::backend::Backend;
use crate::config;
use crate::error::{Failure, Kind};

/// Whether a command on this database starts a run.
pub fn has_systems(backend: &Backend) -> Result<bool, Failure> {
    match backend {
        Backend::Own(_) => Ok(!config::connectors()?.is_empty() || config::ssh()?.is_some()),
        Backend::Shared(_) => Ok(false),
    }
}

/// `access reconcile --fix` on the same database, as a process of its own. `program`: the path of this one.
pub fn run_command(program: &Path, db: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    // It acts as no member.
    command.args(["reconcile", "--fix"]).env_remove("ACCESS_AS");
    if let Some(db) = db {
        command.arg("--db").arg(db);
    }
    command
}

/// Starts a run that goes on when this command has ended. Never fails: the next run does what this one does not.
pub fn in_background(backend: &Backend, db: Option<&Path>) {
    if !has_systems(backend).unwrap_or(false) {
        return;
    }
    let started = std::env::current_exe().and_then(|program| {
        let mut command = run_command(&program, db);
        command.args(["--background", "--quiet"]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    });
    // This command ends soon, and then nobody has to wait for the run.
    drop(started);
}

/// Runs it to its end. Returns what it reports.
pub fn in_foreground(backend: &Backend, db: Option<&Path>) -> Result<Vec<ReconcileView>, Failure> {
    // Root became the owner of the file. It has neither the owner's configuration nor the owner's journal.
    backend.journal()?;
    let failed =
        |error: std::io::Error| Failure::new(Kind::Io, format!("access was not carried to its systems: {error}"));
    let mut command = run_command(&std::env::current_exe().map_err(failed)?, db);
    command.arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).map_err(failed)?;
    rows(&output.stdout, &output.stderr, output.status)
}

/// What a run with `--json` printed, or why it failed as a whole.
pub fn rows(out: &[u8], err: &[u8], status: std::process::ExitStatus) -> Result<Vec<ReconcileView>, Failure> {
    serde_json::from_slice(out).map_err(|_| {
        let said = String::from_utf8_lossy(err);
        let last = said.lines().last().unwrap_or_default();
        let error: serde_json::Value = serde_json::from_str(last).unwrap_or_default();
        let failure = serde_json::from_value(error["error"].clone());
        failure.unwrap_or_else(|_| Failure::new(Kind::Failure, format!("reconciling failed ({status}): {last}")))
    })
}
