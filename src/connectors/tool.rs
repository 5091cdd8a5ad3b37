//! Runs a tool of the operating system, and syncs the files that it changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::NotDone;

/// Runs it to its end, in an environment of its own. An exit status other than 0 is not an error here.
pub fn run<W: AsRef<OsStr>>(program: &str, words: impl IntoIterator<Item = W>) -> Result<Output, NotDone> {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => NotDone::Failed(format!("{program} is not installed")),
        _ => NotDone::Later(format!("{program} can't be run: {error}")),
    })
}

/// What it wrote on standard error, or else on standard output: on one line.
pub fn complaint(output: &Output) -> String {
    let text = if output.stderr.trim_ascii().is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { output.status.to_string() } else { lines.join("; ") }
}

/// Makes the names in a folder last. Once a revoke is done, nobody remembers the access, so it must not come back after a power
/// loss.
pub fn sync(folder: &Path) -> Result<(), NotDone> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| NotDone::Later(format!("{} can't be synced: {error}", folder.display())))
}
