//! Checkpoints that `expire` takes at a set rhythm, and the file that has the last one.

use std::io::ErrorKind;
use std::path::Path;

use crate::backend::Backend;
use crate::config;
use crate::config::Checkpoints;
use crate::domain::note::{Note, TreeHead};
use crate::error::{Failure, Kind};
use crate::files;
use crate::protocol::EarlierLog;
use crate::service::{AuditConsistency, CompareCheckpoint, TakeCheckpoint};

/// A checkpoint is for others to fetch.
const MODE: u32 = 0o644;

/// The rhythm, where the user takes checkpoints: the owner of the database, and root.
pub fn configured(backend: &Backend) -> Result<Option<Checkpoints>, Failure> {
    if backend.is_keepers() { config::checkpoints() } else { Ok(None) }
}

/// Takes a checkpoint if one is due, and keeps the last one in the file.
pub fn take(backend: &Backend, checkpoints: &Checkpoints) -> Result<(), Failure> {
    let last = backend.answer(TakeCheckpoint { every: checkpoints.every })?;
    let (Some(file), Some(last)) = (&checkpoints.file, last) else { return Ok(()) };
    if let Some(kept) = kept(file)? {
        let is_earlier =
            kept != last && backend.answer(CompareCheckpoint { kept }).map_err(|failure| stays(file, failure))?;
        if !is_earlier {
            return files::sync_name(file);
        }
    }
    files::replace(file, last.as_bytes(), MODE)
}

/// Writes a new checkpoint to a file, in place of an earlier one of the same log and of nothing else.
pub fn keep(backend: &Backend, file: &Path, note: &str) -> Result<(), Failure> {
    if let Some(old) = kept(file)? {
        let old = EarlierLog::Checkpoint(old);
        backend.answer(AuditConsistency { old }).map_err(|failure| stays(file, failure))?;
    }
    files::replace(file, note.as_bytes(), MODE)
}

/// The checkpoint that the file has.
fn kept(file: &Path) -> Result<Option<String>, Failure> {
    let text = match files::read_text(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::new(Kind::Io, format!("{}: {error}", file.display()))),
    };
    match text.parse::<Note>().and_then(|note| TreeHead::of(&note)) {
        Ok(_) => Ok(Some(text)),
        Err(why) => Err(stays(file, Failure::new(Kind::Invalid, why.to_string()))),
    }
}

/// If what the file has is not of the beginning of this log, it is evidence.
fn stays(file: &Path, failure: Failure) -> Failure {
    match failure.kind {
        Kind::Failure | Kind::Invalid => {
            Failure::new(Kind::Conflict, format!("{} is kept as it is: {}", file.display(), failure.message))
                .hint("name another file, or find out what became of the log: `access audit verify --against`")
        }
        _ => failure,
    }
}
