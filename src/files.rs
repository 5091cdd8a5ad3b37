//! Writes files so that they appear complete or not at all, and survive a power loss.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;

use crate::error::{Failure, Kind};

/// The path of a draft, beside the place where it will be. No other process uses it, and no run that was killed has left a file
/// of this name: not even where each run has the same process ID, as in containers.
pub fn draft_of(path: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new-{}-{}", std::process::id(), since.as_nanos()))
}

/// Writes a file with this mode, in the place of one that may be there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let draft = draft_of(path);
    let write = |mut file: File| {
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let file = open.map_err(|error| not_written(path, &error))?;
    if let Err(error) = write(file) {
        let _ = fs::remove_file(&draft);
        return Err(not_written(path, &error));
    }
    sync_name(path)
}

/// Reads a file of text. Fails on what has no end, such as /dev/zero, and on more bytes than any that we write.
pub fn read_text(path: &Path) -> io::Result<String> {
    const MOST: u64 = 16 << 20;
    // A pipe would hang.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MOST {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is not a file of at most 16 MiB"));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Syncs a new name to disk. If that fails, the file exists, but may be lost in a power loss.
pub fn sync_name(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| {
        let message = format!("{} is there, but may not survive a power loss: {error}", path.display());
        Failure::new(Kind::Io, message)
    })
}

pub fn not_written(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(Kind::Io, format!("{} can't be written: {error}", path.display()));
    match error.kind() {
        ErrorKind::NotFound => failure.hint("create its folder first, or name another place"),
        ErrorKind::PermissionDenied => failure.hint("check the permissions of its folder, or name another place"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
        for path in [Path::new("/dev/zero"), Path::new("/dev/full"), &pipe, &large, folder.path()] {
            assert!(read_text(path).is_err(), "{}", path.display());
        }
        fs::write(&large, "text").unwrap();
        assert_eq!(read_text(&large).unwrap(), "text");
    }

    #[test]
    fn a_file_that_many_replace_at_once_is_always_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        let texts = ["a", "b", "c"].map(|text| text.repeat(100_000));
        replace(&path, texts[0].as_bytes(), 0o644).unwrap();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..30).for_each(|_| replace(&path, text.as_bytes(), 0o644).unwrap()));
            }
            for _ in 0..300 {
                let read = fs::read_to_string(&path).unwrap();
                assert!(texts.contains(&read), "{} bytes", read.len());
            }
        });
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_cannot_take_its_place_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one", 0o600).unwrap_err().message.contains("taken can't be written"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
