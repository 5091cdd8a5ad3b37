//! The list of revoked SSH certificates (KRL), which sshd reads on hosts that can't ask access.
//!
//! sshd refuses everybody if the file is missing or can't be read. So it is always there, empty if need be, and it is only ever
//! replaced as a whole, by one that ssh-keygen has read again.

use std::fs;
use std::fs::{File, Metadata, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::ssh_keygen::{fingerprint, finish, ssh_keygen};
use super::system::restored;
use crate::backend::Backend;
use crate::config;
use crate::config::{Ssh, trusted};
use crate::domain::ssh_key::KeyFingerprint;
use crate::domain::terms::RequestId;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::{FindingView, Health};
use crate::service::RevokedCertificates;
use crate::store;
use crate::store::Journal;

/// Says in the file that access wrote it, so that no list of others is replaced.
const COMMENT: &str = "Written by access";
const MODE: u32 = 0o644;
/// How long another writer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The list of one CA.
struct Krl {
    path: PathBuf,
    ca: PathBuf,
    ca_key: KeyFingerprint,
}

/// What a file lists.
#[derive(Debug, PartialEq, Eq)]
struct KrlContent {
    /// Revoked serial numbers, from and to, in order.
    serials: Vec<(i64, i64)>,
    /// The CAs that they are of.
    cas: Vec<String>,
}

/// The list that this user writes: root on a shared host, and the owner of a database elsewhere.
fn configured(backend: &Backend) -> Result<Option<Ssh>, Failure> {
    let may = matches!(backend, Backend::Own(_)) || identity::is_root();
    if may { config::ssh() } else { Ok(None) }
}

/// Writes the list if it is not as it should be. Returns its path, if there is one.
pub fn write_krl(backend: &Backend) -> Result<Option<PathBuf>, Failure> {
    let Some(ssh) = configured(backend)? else { return Ok(None) };
    let failed = |kind, why: &str| {
        Failure::new(kind, format!("the list of revoked SSH certificates {} was not written: {why}", ssh.krl.display()))
    };
    let krl = Krl::new(&ssh).map_err(|why| failed(Kind::Invalid, &why))?;
    let journal_path = backend.journal()?;
    let journal = Journal::open(&journal_path)?;
    // Who reads the record later must not write earlier.
    let _lock = lock(&store::beside(&journal_path, ".krl.lock"))?;
    let known = journal.position()?;
    let wanted = backend.answer(RevokedCertificates { known })?;
    if !wanted.continues {
        let why = restored(journal.position()?.as_ref());
        return Err(Failure { hints: why.hints, ..failed(why.kind, &why.message) });
    }
    let serials = ranges(&wanted.serials);
    if !krl.is_current(&serials).map_err(|why| failed(Kind::Invalid, &why))? {
        krl.replace(&serials).map_err(|why| failed(Kind::Io, &why))?;
    }
    journal.saw(&wanted.position)?;
    Ok(Some(krl.path))
}

/// What is wrong with the list. None: nothing, or there is none to write.
pub fn krl_fault(backend: &Backend) -> Result<Option<String>, Failure> {
    let Some(ssh) = configured(backend)? else { return Ok(None) };
    let serials = ranges(&backend.answer(RevokedCertificates { known: None })?.serials);
    let shown = ssh.krl.display();
    let looked = Krl::new(&ssh).and_then(|krl| match krl.file()? {
        None => Ok(Some("is missing: sshd with RevokedKeys lets nobody in".to_owned())),
        Some(found) if found.mode() & 0o777 != MODE => {
            Ok(Some(format!("has mode {:04o} instead of {MODE:04o}", found.mode() & 0o7777)))
        }
        Some(_) => Ok((!krl.is_current(&serials)?).then(|| "does not list what was revoked".to_owned())),
    });
    Ok(match looked {
        Ok(fault) => fault.map(|fault| format!("the list of revoked SSH certificates {shown} {fault}")),
        Err(why) => Some(format!("the list of revoked SSH certificates {shown} can't be used: {why}")),
    })
}

/// What `doctor` says of it. None: there is none to write.
pub fn krl_finding(backend: &Backend) -> Option<FindingView> {
    let finding = |health, found, mend| Some(FindingView { what: "ssh".to_owned(), health, found, mend });
    let ssh = match configured(backend) {
        Ok(None) => return None,
        Ok(Some(ssh)) => ssh,
        Err(failure) => return finding(Health::Wrong, failure.message, failure.hints),
    };
    match krl_fault(backend) {
        Ok(None) => finding(Health::Ok, format!("{} lists what was revoked", ssh.krl.display()), Vec::new()),
        Ok(Some(fault)) => {
            let mend = vec!["run `access reconcile --fix`, which writes it or says why it can't".to_owned()];
            finding(Health::Wrong, fault, mend)
        }
        Err(failure) => finding(Health::Wrong, failure.message, failure.hints),
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = store::open_private(path)?;
    let until = Instant::now() + PATIENCE;
    while !store::try_lock(&file, 0, path)? {
        if Instant::now() >= until {
            return Err(Failure::new(Kind::Busy, "another run is writing the list of revoked SSH certificates"));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(file)
}

impl Krl {
    fn new(ssh: &Ssh) -> Result<Krl, String> {
        let name = ssh.krl.file_name().ok_or("it is not the path of a file")?;
        let folder = trusted(ssh.krl.parent().unwrap_or(Path::new("/")))?;
        // In a folder with the sticky bit, such as /tmp, others could make the draft.
        if fs::metadata(&folder).map_err(|error| error.to_string())?.mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others", folder.display()));
        }
        let path = folder.join(name);
        let ca = trusted(&ssh.ca)?;
        Ok(Krl { path, ca_key: fingerprint(&ca)?, ca })
    }

    /// The file, if there is one. Fails if it is not a file of this user.
    fn file(&self) -> Result<Option<Metadata>, String> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if found.is_symlink() {
            Err("it is a link, which is not followed".to_owned())
        } else if !found.is_file() {
            Err("it is not a regular file".to_owned())
        } else if found.uid() != geteuid().as_raw() {
            Err(format!("it belongs to another user (user ID {})", found.uid()))
        } else {
            Ok(Some(found))
        }
    }

    /// Whether the file lists these and nothing else. Fails if it must not be replaced.
    fn is_current(&self, serials: &[(i64, i64)]) -> Result<bool, String> {
        let Some(found) = self.file()? else { return Ok(false) };
        // One that somebody made with `touch`.
        if found.len() == 0 {
            return Ok(false);
        }
        let listed = list(&self.path)?;
        let listed = listed.ok_or("access did not write what is there: move it away first")?;
        Ok(found.mode() & 0o7777 == MODE && self.has(&listed, serials))
    }

    fn has(&self, listed: &KrlContent, serials: &[(i64, i64)]) -> bool {
        let of_this_ca = serials.is_empty() || listed.cas == [self.ca_key.as_str()];
        listed.serials == serials && of_this_ca
    }

    fn replace(&self, serials: &[(i64, i64)]) -> Result<(), String> {
        let draft = store::beside(&self.path, ".new");
        let replaced = self.make(&draft, serials).and_then(|()| {
            fs::rename(&draft, &self.path).map_err(|error| error.to_string())?;
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| error.to_string())
        });
        if replaced.is_err() {
            let _ = fs::remove_file(&draft);
        }
        replaced
    }

    /// Makes a new list, and reads it again.
    fn make(&self, draft: &Path, serials: &[(i64, i64)]) -> Result<(), String> {
        match fs::remove_file(draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("{}: {error}", draft.display())),
            Ok(()) | Err(_) => {}
        }
        let mut command = ssh_keygen();
        command.args(["-q", "-k", "-C", COMMENT, "-s"]).arg(&self.ca).arg("-f").arg(draft).arg("-");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("ssh-keygen can't be run: {error}"))?;
        let line = |&(first, last): &(i64, i64)| match first == last {
            true => format!("serial: {first}\n"),
            false => format!("serial: {first}-{last}\n"),
        };
        let specification: String = serials.iter().map(line).collect();
        if let Some(mut input) = child.stdin.take() {
            // If it does not read everything, it says why.
            let _ = input.write_all(specification.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(said.lines().next().unwrap_or("ssh-keygen gave no reason").to_owned());
        }
        let is_as_wanted = list(draft)?.is_some_and(|listed| self.has(&listed, serials));
        if !is_as_wanted {
            return Err("ssh-keygen made another list than was asked for".to_owned());
        }
        fs::set_permissions(draft, Permissions::from_mode(MODE))
            .and_then(|()| File::open(draft))
            .and_then(|file| file.sync_all())
            .map_err(|error| format!("{}: {error}", draft.display()))
    }
}

/// What a file lists, by ssh-keygen. None: access did not write it.
fn list(path: &Path) -> Result<Option<KrlContent>, String> {
    Ok(parse(&finish(ssh_keygen().args(["-Q", "-l", "-f"]).arg(path))?))
}

fn parse(text: &str) -> Option<KrlContent> {
    let mut listed = KrlContent { serials: Vec::new(), cas: Vec::new() };
    let mut is_ours = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# Comment: ") {
            is_ours = comment == COMMENT;
        } else if let Some(ca) = line.strip_prefix("# CA key ") {
            listed.cas.push(ca.split_whitespace().last()?.to_owned());
        } else if let Some(serials) = line.strip_prefix("serial: ") {
            let (first, last) = serials.split_once('-').unwrap_or((serials, serials));
            push(&mut listed.serials, first.trim().parse().ok()?, last.trim().parse().ok()?);
        } else if !line.starts_with('#') {
            return None;
        }
    }
    is_ours.then_some(listed)
}

/// These numbers, which are in order, as ranges.
fn ranges(serials: &[RequestId]) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    serials.iter().for_each(|serial| push(&mut ranges, serial.get(), serial.get()));
    ranges
}

fn push(ranges: &mut Vec<(i64, i64)>, first: i64, last: i64) {
    match ranges.last_mut() {
        Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
        Some(_) | None => ranges.push((first, last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "# KRL version 0\n# Generated at 20261127T161632\n";

    #[test]
    fn a_list_is_ours_only_if_it_says_so_and_has_nothing_else() {
        let ours = format!("{HEAD}# Comment: {COMMENT}\n\n\n# CA key ssh-ed25519 SHA256:x\nserial: 2-3\nserial: 4\n");
        let listed = KrlContent { serials: vec![(2, 4)], cas: vec!["SHA256:x".to_owned()] };
        assert_eq!(parse(&ours), Some(listed));
        let nothing = KrlContent { serials: Vec::new(), cas: Vec::new() };
        assert_eq!(parse(&format!("{HEAD}# Comment: {COMMENT}\n")), Some(nothing));
        for other in [
            HEAD.to_owned(),
            ours.replace(COMMENT, "other"),
            format!("{ours}hash: SHA256:y\n"),
            format!("{ours}id: bob\n"),
            format!("{ours}serial: x\n"),
            format!("{ours}serial: 9223372036854775808\n"),
        ] {
            assert_eq!(parse(&other), None, "{other}");
        }
        let last = format!("{ours}serial: 9223372036854775807\nserial: 1\n");
        assert_eq!(parse(&last).map(|listed| listed.serials), Some(vec![(2, 4), (i64::MAX, i64::MAX), (1, 1)]));
    }

    proptest! {
        #[test]
        fn no_list_panics(lines in "((serial: |# Comment: |# CA key |hash: |)[-0-9]{0,20}[ -~]{0,12}\n){0,8}") {
            parse(&lines);
        }
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        let ids: Vec<RequestId> = [1, 2, 3, 7, 9, 10].into_iter().map(|id| RequestId::try_from(id).unwrap()).collect();
        assert_eq!(ranges(&ids), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges(&[]), []);
    }
}
