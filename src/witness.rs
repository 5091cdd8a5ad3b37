//! A witness keeps the last checkpoint that it saw of each log, and signs a new one only if that log continues the last one. It
//! needs no database.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config;
use crate::domain::audit;
use crate::domain::merkle::{is_consistent, leaf};
use crate::domain::note::{KeyUse, Note, NoteKey, NoteSignature, SigningKey, TreeHead, WitnessRequest};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::files;
use crate::store;

pub struct Witness {
    folder: PathBuf,
    key: SigningKey,
    /// Held while this process decides, so that no two processes sign two continuations.
    _lock: File,
}

/// What a witness knows of a log.
#[derive(Debug, Serialize, Deserialize)]
struct KnownLog {
    /// The keys whose signatures count.
    keys: Vec<NoteKey>,
    /// The last checkpoint that was signed.
    last: Option<Note>,
}

impl Witness {
    /// This user's witness. `name`: what it is called, if it is new.
    pub fn open(name: &str) -> Result<Witness, Failure> {
        let folder = config::state_folder()?.join("witness");
        store::create_folders(&folder).map_err(|error| io(&folder, &error))?;
        let path = folder.join("lock");
        let lock = store::open_private(&path)?;
        if !store::try_lock(&lock, 0, &path)? {
            return Err(Failure::new(Kind::Busy, "another process uses this witness").hint("try again"));
        }
        let path = folder.join("key");
        let invalid = |why| Failure::new(Kind::Invalid, format!("{}: {why}", path.display()));
        let key = match read(&path)? {
            Some(text) => text.parse::<SigningKey>().map_err(invalid)?,
            None => {
                let key = SigningKey::new(name, KeyUse::Cosignature, store::random_seed()?).map_err(invalid)?;
                files::replace(&path, key.secret_text().as_bytes(), 0o600)?;
                key
            }
        };
        Ok(Witness { folder, key, _lock: lock })
    }

    pub fn key(&self) -> &NoteKey {
        self.key.public()
    }

    /// Signs the checkpoint of a request, if its log continues the one that this witness saw last. `trusted`: keys of the log
    /// that count from now on.
    pub fn cosign(&self, request: &str, trusted: &[NoteKey], at: Timestamp) -> Result<NoteSignature, Failure> {
        let invalid = |why| Failure::new(Kind::Invalid, format!("this is nothing that a witness signs: {why}"));
        let WitnessRequest { old, proof, note, head } = request.parse().map_err(invalid)?;
        let path = self.folder.join(format!("{}.json", &audit::hex(&leaf(head.origin.as_bytes()))[..32]));
        let mut log = known(&path)?;
        let added = trusted.iter().filter(|key| !log.keys.contains(key)).cloned();
        log.keys.extend(added.collect::<Vec<_>>());
        if !log.keys.iter().any(|key| key.name == head.origin && key.has_signed(&note) == Some(true)) {
            let message = format!("no key that this witness trusts for {} signed the checkpoint", head.origin);
            return Err(Failure::new(Kind::Refused, message)
                .hint("if you got the key of the log from somebody you trust, give it with --log"));
        }
        continues(&log, old, &proof, &head)?;
        log.last = Some(note.clone());
        let text = serde_json::to_string(&log).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
        // Before the signature is out, so that no other continuation is signed after a crash.
        files::replace(&path, text.as_bytes(), 0o600)?;
        Ok(self.key.cosign(&note.text, at))
    }
}

/// Refuses a tree that does not continue the last one.
fn continues(log: &KnownLog, old: u64, proof: &[audit::Hash], head: &TreeHead) -> Result<(), Failure> {
    let Some(last) = &log.last else {
        return if old == 0 && proof.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(Kind::Conflict, format!("this witness has seen no checkpoint of {}", head.origin))
                .hint("give it a checkpoint alone first: `access audit checkpoint --note`"))
        };
    };
    let last = TreeHead::of(last).map_err(|why| Failure::new(Kind::Invalid, format!("the last checkpoint: {why}")))?;
    let fork = |what: String| {
        Err(Failure::new(Kind::Failure, format!("{what}; nothing is signed"))
            .hint("the log was rewritten, or restored from a backup: keep this file, and ask its owner"))
    };
    if head.size < last.size {
        return fork(format!("the log has {} entries, and this witness has seen {}", head.size, last.size));
    }
    if head.size == last.size {
        return match head.root == last.root {
            true => Ok(()),
            false => fork(format!("the log of {} entries is not the one that this witness has seen", head.size)),
        };
    }
    if old != last.size {
        return Err(Failure::new(Kind::Conflict, format!("this witness has seen {} entries, not {old}", last.size))
            .hint(format!("give it the proof from there: `access audit prove --consistency {}`", last.size)));
    }
    match is_consistent(old, &last.root, head.size, &head.root, proof) {
        true => Ok(()),
        false => fork(format!("the log of {} entries does not continue the one of {old}", head.size)),
    }
}

fn known(path: &Path) -> Result<KnownLog, Failure> {
    let Some(text) = read(path)? else { return Ok(KnownLog { keys: Vec::new(), last: None }) };
    serde_json::from_str(&text).map_err(|why| Failure::new(Kind::Invalid, format!("{}: {why}", path.display())))
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, &error)),
    }
}
