//! Checkpoints that `expire` takes at a set rhythm, and the file that has the last one.

use std::io::ErrorKind;
use std::path::Path;

use crate::backend::Backend;
use crate::config;
use crate::config::Checkpoints;
use crate::domain::note::{Note, TreeHead};
use crate::error::{Failure, Kind};
use crate::files;
use crate::service::TakeCheckpoint;

/// A checkpoint is for others to fetch.
const MODE: u32 = 0o644;

/// The rhythm, where the user takes checkpoints: the owner of the database, and root.
pub fn configured(backend: &Backend) -> Result<Option<Checkpoints>, Failure> {
    let may = matches!(backend, Backend::Own(_)) || !backend.has_member();
    if may { config::checkpoints() } else { Ok(None) }
}

/// Takes a checkpoint if one is due, and keeps the last one in the file.
pub fn take(backend: &Backend, checkpoints: &Checkpoints) -> Result<(), Failure> {
    let taken = backend.answer(TakeCheckpoint { every: checkpoints.every })?;
    match (taken, &checkpoints.file) {
        (Some(note), Some(file)) => keep(file, &note),
        _ => Ok(()),
    }
}

/// Writes a checkpoint to a file, in place of an earlier one of the same log and of nothing else.
pub fn keep(path: &Path, note: &str) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::new(Kind::Io, format!("{}: {error}", path.display()));
    match files::read_text(path) {
        Ok(old) if old == note => return files::sync_name(path),
        Ok(old) => replaces(&old, note).map_err(|why| {
            Failure::new(Kind::Conflict, format!("{} is kept as it is: {why}", path.display()))
                .hint("name another file, or find out what became of the log: `access audit verify --against`")
        })?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    files::replace(path, note.as_bytes(), MODE)
}

fn replaces(old: &str, note: &str) -> Result<(), String> {
    let head = |note: &str| TreeHead::of(&note.parse::<Note>()?);
    let old = head(old).map_err(|why| format!("{why}"))?;
    let new = head(note).map_err(|why| format!("{why}"))?;
    if old.origin != new.origin {
        Err(format!("it has a checkpoint of {}, and this one is of {}", old.origin, new.origin))
    } else if old.size > new.size || (old.size == new.size && old.root != new.root) {
        Err(format!("its checkpoint of {} entries contradicts the one of {}", old.size, new.size))
    } else {
        Ok(())
    }
}
