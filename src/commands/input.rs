//! Reads files that are named on the command line.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;

use crate::error::{Failure, Kind};
use crate::protocol::KeptCheckpoint;

/// The largest file that is read: 16 MiB.
const LARGEST: u64 = 16 << 20;

/// Reads checkpoints as `audit checkpoint` prints them: one per line, or signed notes, one after the other.
pub fn read_checkpoints(path: Option<&Path>) -> Result<Vec<KeptCheckpoint>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = read_text(path)?;
    let notes = notes(&text);
    if !notes.is_empty() {
        return Ok(notes.into_iter().map(KeptCheckpoint::Note).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        let line_of_json = |line| serde_json::from_str(line).map(KeptCheckpoint::Line);
        line_of_json(line).map_err(|_| {
            Failure::new(Kind::Invalid, format!("{}, line {}: not a checkpoint", path.display(), index + 1))
                .hint("each line must be the output of `access audit checkpoint`")
        })
    });
    let checkpoints = parsed.collect::<Result<Vec<KeptCheckpoint>, Failure>>()?;
    if checkpoints.is_empty() {
        return Err(Failure::new(Kind::Invalid, format!("{} contains no checkpoint", path.display())).into());
    }
    Ok(checkpoints)
}

/// Reads one signed note.
pub fn read_note(path: &Path) -> Result<String> {
    match notes(&read_text(path)?).as_slice() {
        [note] => Ok(note.clone()),
        _ => Err(Failure::new(Kind::Invalid, format!("{} is not one signed note", path.display()))
            .hint("`access audit checkpoint --note` prints one")
            .into()),
    }
}

/// The signed notes of a text. Each ends with its last signature.
fn notes(text: &str) -> Vec<String> {
    let (mut notes, mut lines) = (Vec::new(), text.split_inclusive('\n').peekable());
    let mut note = String::new();
    while let Some(line) = lines.next() {
        if note.is_empty() && line.trim().is_empty() {
            continue;
        }
        note.push_str(line);
        let is_signature = |line: &&str| line.starts_with('\u{2014}');
        if is_signature(&line) && !lines.peek().is_some_and(is_signature) {
            notes.push(std::mem::take(&mut note));
        }
    }
    // If something is left, the text is not a note.
    if note.is_empty() { notes } else { Vec::new() }
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
