//! Files that decide what runs: only root and this user may be able to change what a path leads to.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

/// A path with more links than this is taken for a circle.
const LINKS: usize = 40;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The path without links. Fails, with the reason, if another user could put something else there: the file, each folder
/// above it and each link on the way has to belong to root or to this user, and others can't write to it. In a folder with
/// the sticky bit, such as `/tmp`, others can't replace what belongs to this user.
pub fn trusted(path: &Path) -> Result<PathBuf, String> {
    let mut at = PathBuf::from("/");
    check(&at)?;
    let mut rest = reversed(path);
    let mut links = 0;
    while let Some(step) = rest.pop() {
        if step == "/" {
            at = PathBuf::from("/");
            continue;
        }
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        if check(&next)? {
            links += 1;
            if links > LINKS {
                return Err(format!("{} leads through too many links", path.display()));
            }
            let target = fs::read_link(&next).map_err(|error| format!("{}: {error}", next.display()))?;
            rest.extend(reversed(&target));
        } else {
            at = next;
        }
    }
    Ok(at)
}

/// The steps of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    steps.rev().map(|step| step.as_os_str().to_owned()).collect()
}

/// Returns whether it is a link.
fn check(path: &Path) -> Result<bool, String> {
    let shown = path.display();
    let found = fs::symlink_metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(format!("{shown} belongs to another user (user ID {})", found.uid()));
    }
    if found.is_symlink() {
        return Ok(true);
    }
    let sticky = found.is_dir() && found.mode() & STICKY != 0;
    if found.mode() & WRITABLE_BY_OTHERS != 0 && !sticky {
        return Err(format!("{shown} can be written by others (mode {:04o})", found.mode() & 0o7777));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_others_can_write_is_refused_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(root.join("open")).unwrap();
        fs::write(root.join("open/program"), "").unwrap();
        fs::write(root.join("program"), "").unwrap();
        symlink(root.join("open/program"), root.join("link")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(trusted(&root.join("link")), Ok(root.join("open/program")));
        assert_eq!(trusted(&root.join("./open/../program")), Ok(root.join("program")));
        assert!(trusted(&root.join("circle")).unwrap_err().contains("too many links"));
        assert!(trusted(&root.join("absent")).unwrap_err().contains("No such file"));

        mode(&root.join("open"), 0o775);
        for path in ["open/program", "link", "open/../program"] {
            let why = trusted(&root.join(path)).unwrap_err();
            assert!(why.ends_with("open can be written by others (mode 0775)"), "{path}: {why}");
        }
        mode(&root.join("open"), 0o1777);
        assert!(trusted(&root.join("link")).is_ok(), "the sticky bit protects what is there");
        mode(&root.join("open/program"), 0o666);
        assert!(trusted(&root.join("link")).is_err());
        if geteuid().is_root() {
            mode(&root.join("program"), 0o755);
            nix::unistd::chown(&root.join("program"), Some(12345.into()), None).unwrap();
            assert!(trusted(&root.join("program")).unwrap_err().contains("belongs to another user (user ID 12345)"));
        }
    }
}
