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
    match walk(path)? {
        Walked { at, missing: None } => Ok(at),
        Walked { missing: Some(why), .. } => Err(why),
    }
}

/// Fails, with the reason, if another user could decide what a program finds at this path. What is not there yet, others
/// must not be able to make. A folder or a socket, such as a server's, may itself belong to others.
pub fn trusted_argument(path: &Path) -> Result<(), String> {
    let at = match (walk(path), path.parent()) {
        (Ok(Walked { missing: None, .. }), _) => return Ok(()),
        (Ok(Walked { at, missing: Some(_) }), _) => at,
        (Err(_), Some(parent)) if path.exists() && !path.is_file() => return trusted(parent).map(|_| ()),
        (Err(why), _) => return Err(why),
    };
    let found = fs::symlink_metadata(&at).map_err(|error| format!("{}: {error}", at.display()))?;
    // The sticky bit does not keep others from making what is not there.
    if found.mode() & WRITABLE_BY_OTHERS == 0 { Ok(()) } else { Err(writable(&at, &found)) }
}

struct Walked {
    /// The path without links, or the last folder on the way that is there.
    at: PathBuf,
    /// Why it goes no further.
    missing: Option<String>,
}

fn walk(path: &Path) -> Result<Walked, String> {
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
        if let Err(error) = fs::symlink_metadata(&next) {
            return Ok(Walked { at, missing: Some(format!("{}: {error}", next.display())) });
        }
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
    Ok(Walked { at, missing: None })
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
        return Err(writable(path, &found));
    }
    Ok(false)
}

fn writable(path: &Path, found: &fs::Metadata) -> String {
    format!("{} can be written by others (mode {:04o})", path.display(), found.mode() & 0o7777)
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

    #[test]
    fn an_argument_is_a_path_that_others_can_neither_change_nor_make() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mode = |path: &str, mode| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        for name in ["open", "sticky", "closed", "closed/open"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        for name in ["closed/file", "open/file"] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink("open/absent", root.join("dangling")).unwrap();
        mode("open", 0o777);
        mode("closed/open", 0o777);
        mode("sticky", 0o1777);
        for path in
            ["closed", "closed/file", "closed/absent", "closed/absent/deeper", "closed/open", "sticky", "absent"]
        {
            assert_eq!(trusted_argument(&root.join(path)), Ok(()), "{path}");
        }
        let refused =
            ["open/file", "open/absent", "open/absent/deeper", "closed/open/absent", "sticky/absent", "dangling"];
        for path in refused {
            assert!(trusted_argument(&root.join(path)).unwrap_err().contains("can be written by others"), "{path}");
        }
        fs::create_dir(root.join("open/folder")).unwrap();
        mode("open/folder", 0o777);
        assert!(trusted_argument(&root.join("open/folder")).is_err(), "others can put a file in its place");
    }
}
