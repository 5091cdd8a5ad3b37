//! Writes files that are named on the command line. They appear complete or not at all, and only their owner can read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::error::{Failure, Kind};
use crate::files::{draft_of, not_written, replace, sync_name};

/// A file or a folder in the making, beside the place where it will be. It is removed unless it is finished.
struct OutputDraft {
    path: PathBuf,
    draft: PathBuf,
    finished: bool,
}

impl OutputDraft {
    fn beside(path: &Path) -> Result<OutputDraft, Failure> {
        if path.file_name().is_none() {
            return Err(Failure::new(Kind::Usage, format!("{} does not name a file", path.display())));
        }
        Ok(OutputDraft { path: path.to_owned(), draft: draft_of(path), finished: false })
    }
}

impl Drop for OutputDraft {
    fn drop(&mut self) {
        if !self.finished {
            // Only what this process made is removed: creating fails where something of this name exists.
            let _ = fs::remove_file(&self.draft).or_else(|_| fs::remove_dir_all(&self.draft));
        }
    }
}

/// Writes a file. It may replace a file of the same user; a link is never followed.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if is_own_file(path)? {
        return replace(path, bytes, 0o600);
    }
    let mut place = OutputDraft::beside(path)?;
    let created = private_file(&place.draft);
    let mut file = created.map_err(|error| {
        // There is nothing of this process to remove.
        place.finished = true;
        not_written(path, &error)
    })?;
    // One that appears meanwhile is not replaced.
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&place.draft, path));
    written.map_err(|error| not_written(path, &error))?;
    sync_name(path)
}

/// Whether a file is there already, and may be replaced.
fn is_own_file(path: &Path) -> Result<bool, Failure> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(false) };
    if found.is_file() && found.uid() == geteuid().as_raw() {
        return Ok(true);
    }
    let what = if found.is_symlink() { "a symbolic link" } else { "no file of yours" };
    Err(Failure::new(Kind::Conflict, format!("{} is {what}; nothing was written", path.display()))
        .hint("name another file, or use - for standard output"))
}

/// A new folder for several files.
pub struct NewFolder(OutputDraft);

impl NewFolder {
    pub fn begin(path: &Path) -> Result<NewFolder, Failure> {
        if path == Path::new("-") {
            let message = "several files can't go to standard output; nothing was written";
            return Err(Failure::new(Kind::Usage, message).hint("name a folder that does not exist yet"));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(Failure::new(Kind::Conflict, format!("{} exists; nothing was written", path.display()))
                .hint("name a folder that does not exist yet"));
        }
        let mut place = OutputDraft::beside(path)?;
        DirBuilder::new().mode(0o700).create(&place.draft).map_err(|error| {
            place.finished = true;
            not_written(path, &error)
        })?;
        Ok(NewFolder(place))
    }

    pub fn file(&self, name: &str) -> io::Result<File> {
        private_file(&self.0.draft.join(name))
    }

    /// Gives it its name. `files`: all that it has.
    pub fn finish(mut self, files: impl Iterator<Item = File>) -> Result<(), Failure> {
        let mut files = files;
        let finished = files
            .try_for_each(|file| file.sync_all())
            .and_then(|()| File::open(&self.0.draft)?.sync_all())
            .and_then(|()| fs::rename(&self.0.draft, &self.0.path));
        finished.map_err(|error| not_written(&self.0.path, &error))?;
        self.0.finished = true;
        sync_name(&self.0.path)
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_not_standard_output() {
        assert!(NewFolder::begin(Path::new("-")).is_err_and(|failure| failure.kind == Kind::Usage));
    }

    #[test]
    fn a_file_is_private_and_replaces_only_a_file_of_the_same_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        write_file(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "keep").unwrap();
        symlink(&target, &link).unwrap();
        let failure = write_file(&link, b"three").unwrap_err();
        assert!(failure.kind == Kind::Conflict && failure.message.contains("symbolic link"), "{failure:?}");
        assert_eq!(fs::read(&target).unwrap(), b"keep");
        assert_eq!(write_file(folder.path(), b"four").unwrap_err().kind, Kind::Conflict);
        assert_eq!(write_file(&folder.path().join("none/page.html"), b"five").unwrap_err().kind, Kind::Io);
        assert_eq!(names(folder.path()), ["link", "page.html", "target"]);
    }

    #[test]
    fn what_a_killed_run_left_is_in_nobodys_way() {
        let path = Path::new("/folder/page.html");
        assert_ne!(OutputDraft::beside(path).unwrap().draft, OutputDraft::beside(path).unwrap().draft);
    }

    #[test]
    fn somebody_elses_draft_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, target) = (folder.path().join("draft"), folder.path().join("target"));
        symlink(&target, &draft).unwrap();
        assert_eq!(private_file(&draft).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!target.exists() && draft.is_symlink());
    }

    #[test]
    fn a_folder_appears_with_all_its_files_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheets");
        let begun = NewFolder::begin(&path).unwrap();
        let file = begun.file("a.csv").unwrap();
        assert!(!path.exists());
        begun.finish(std::iter::once(file)).unwrap();
        assert_eq!(names(&path), ["a.csv"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(NewFolder::begin(&path).is_err_and(|failure| failure.kind == Kind::Conflict));
        let left = NewFolder::begin(&folder.path().join("others")).unwrap();
        left.file("a.csv").unwrap();
        drop(left);
        assert_eq!(names(folder.path()), ["sheets"]);
    }
}
