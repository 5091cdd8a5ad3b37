//! New files and folders, whose names survive a power loss.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::Error;
use super::file::{beside, folder_of, io, sync};
use crate::error::Failure;

/// Creates a folder for this user alone, and those above it that are missing, so that their names survive a power loss.
pub fn create_folders(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_folders(folder_of(path))?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Another process made it meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    File::open(folder_of(path))?.sync_all()
}

/// Gives a finished draft its final name, and syncs the folder. Uses a hard link, which unlike a rename fails if the name was taken
/// meanwhile.
pub fn move_into_place(draft: &Path, path: &Path) -> Result<(), Error> {
    fs::hard_link(draft, path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => io(path, &error),
    })?;
    sync(folder_of(path)).map_err(|error| Error::Unfinished {
        message: format!("{} is there, but may not survive a power loss: {}", path.display(), Failure::from(error)),
    })
}

/// Removes a draft and the files beside it. Failures are ignored: there may be none, and leftovers do no harm.
pub fn remove_draft(draft: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let _ = fs::remove_file(beside(draft, suffix));
    }
}
