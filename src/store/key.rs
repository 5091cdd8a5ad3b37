//! The private key that signs checkpoints. It is in a file beside the database, so that no backup or copy of the database
//! has it.
//!
//! A new key is a draft, in a file of its own, until the log has it. Until then the key before it is not lost.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Error, Store, file};
use crate::domain::note::{KeyUse, SigningKey};

/// A key has less than this.
const LARGEST: u64 = 4096;

impl Store {
    /// The file with the key.
    pub fn key_path(&self) -> PathBuf {
        file::beside(&self.path, ".key")
    }

    fn draft_path(&self) -> PathBuf {
        file::beside(&self.path, ".key-new")
    }

    /// The key of this host. None: there is no file.
    pub fn checkpoint_key(&self) -> Result<Option<SigningKey>, Error> {
        read(&self.key_path())
    }

    /// The key that was made last, if it has not taken its place.
    pub fn drafted_checkpoint_key(&self) -> Result<Option<SigningKey>, Error> {
        read(&self.draft_path())
    }

    /// Makes a key for the log with this name, as a draft.
    pub fn draft_checkpoint_key(&self, origin: &str) -> Result<SigningKey, Error> {
        let key = SigningKey::new(origin, KeyUse::Checkpoint, random_seed()?)
            .map_err(|why| Error::Internal { message: format!("no key was made: {why}") })?;
        let path = self.draft_path();
        // A run that is killed here leaves no half of a key under the name of a draft.
        let unwritten = file::beside(&path, "-0");
        let mut file = open(&unwritten, OpenOptions::new().write(true).create(true).truncate(true))?;
        let written = file.write_all(key.secret_text().as_bytes()).and_then(|()| file.sync_all());
        let moved = written.and_then(|()| fs::rename(&unwritten, &path));
        moved.map_err(|error| file::io(&path, &error))?;
        file::sync(file::folder_of(&path))?;
        Ok(key)
    }

    /// Puts the draft in its place.
    pub fn adopt_checkpoint_key(&self) -> Result<(), Error> {
        let path = self.key_path();
        let renamed = match fs::rename(self.draft_path(), &path) {
            // Another process has done it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed,
        };
        let done = renamed.and_then(|()| File::open(file::folder_of(&path))?.sync_all());
        // The log has the key already. The next use tries again.
        done.map_err(|error| Error::Unfinished { message: format!("the new key is not in its place: {error}") })
    }
}

fn read(path: &Path) -> Result<Option<SigningKey>, Error> {
    let mut text = String::new();
    match open(path, OpenOptions::new().read(true)) {
        Ok(file) => file.take(LARGEST).read_to_string(&mut text).map_err(|error| file::io(path, &error))?,
        Err(_) if fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |why| Error::Invalid {
        message: format!("{} is no key that signs checkpoints: {why}", path.display()),
        hint: "restore it from your copy, or move it away, and the owner runs `access audit key --rotate`".to_owned(),
    };
    text.parse::<SigningKey>().map(Some).map_err(invalid)
}

/// 32 random bytes for a key.
pub fn random_seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    let no_seed = |_| Error::Io { message: "the system gives no random numbers".to_owned() };
    SystemRandom::new().fill(&mut seed).map_err(no_seed)?;
    Ok(seed)
}

/// Opens a file that only this user can read and write, and no link.
fn open(path: &Path, open: &mut OpenOptions) -> Result<File, Error> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = open.mode(0o600).custom_flags(flags).open(path).map_err(|error| file::io(path, &error))?;
    file::check_private(path, &file.metadata().map_err(|error| file::io(path, &error))?)?;
    Ok(file)
}
