//! Reads files that are named on the command line.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;

use crate::error::{Failure, Kind};
use crate::protocol::Checkpoint;

/// The largest file that is read: 16 MiB.
const LARGEST: u64 = 16 << 20;

/// Reads checkpoints, one per line, as `audit checkpoint` prints them.
pub fn read_checkpoints(path: Option<&Path>) -> Result<Vec<Checkpoint>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        serde_json::from_str(line).map_err(|_| {
            Failure::new(Kind::Invalid, format!("{}, line {}: not a checkpoint", path.display(), index + 1))
                .hint("each line must be the output of `access audit checkpoint`")
        })
    });
    let checkpoints = parsed.collect::<Result<Vec<Checkpoint>, Failure>>()?;
    if checkpoints.is_empty() {
        return Err(Failure::new(Kind::Invalid, format!("{} contains no checkpoint", path.display())).into());
    }
    Ok(checkpoints)
}

/// Reads a text file of at most 16 MiB; `-` is standard input.
pub fn read_text(path: &Path) -> Result<String> {
    let stdin = path == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        let file = open_named(path).with_context(|| format!("{name} can't be read"))?;
        let Some(file) = file else {
            return Err(Failure::new(Kind::Invalid, format!("{name} is not a regular file"))
                .hint("to read the output of a command, pipe it into this one and use -")
                .into());
        };
        file.take(LARGEST + 1).read_to_end(&mut bytes)
    };
    read.with_context(|| format!("{name} can't be read"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(Kind::Invalid, format!("{name} is larger than 16 MiB")).into());
    }
    let invalid = |_| Failure::new(Kind::Invalid, format!("{name} is not UTF-8 text"));
    Ok(String::from_utf8(bytes).map_err(invalid)?)
}

/// Opens a regular file without blocking, as opening a named pipe would. None: it is something else. A pipe that the
/// caller's shell has opened, for `<(command)`, is allowed.
fn open_named(path: &Path) -> std::io::Result<Option<File>> {
    if ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.parent() == Some(Path::new(folder)))
        || path == Path::new("/dev/stdin")
    {
        return File::open(path).map(Some);
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Reading a folder fails by itself, and says why.
    let found = file.metadata()?;
    Ok((found.is_file() || found.is_dir()).then_some(file))
}
