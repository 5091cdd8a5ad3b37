//! `audit checkpoint` and `audit key`: signed statements of what the log is now, to be kept elsewhere, and the keys that sign
//! them. Each host that writes the log has a key of its own. The log says which keys there are.

mod prove;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Problem, Rows, Service};
use crate::domain::audit;
use crate::domain::audit::Hash;
use crate::domain::duration::Length;
use crate::domain::event::{Draft, Entry, Event};
use crate::domain::host::HostPower;
use crate::domain::merkle;
use crate::domain::merkle::{Ranges, Tree};
use crate::domain::note::{Note, NoteKey, SigningKey, TreeHead};
use crate::domain::principal::Principal;
use crate::domain::replica::Replica;
use crate::domain::request::authorize;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{Checkpoint, KeyView};
use crate::store::{Error, Read, Write};

pub use prove::{AuditConsistency, AuditProve, CompareCheckpoint};

const TAKE: &str = "take a checkpoint of the audit log";
const ROTATE: &str = "the owner makes another one with `access audit key --rotate`";

/// The state of the log now, to be kept elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditCheckpoint {}

impl Call for AuditCheckpoint {
    const NAME: &'static str = "AuditCheckpoint";

    type Row = Never;
    type Reply = Checkpoint;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Checkpoint, Failure> {
        let (unsigned, may_sign) = service.ask("audit checkpoint", |read, me, now| {
            authorize::needs_auditor(me, TAKE, now)?;
            // An auditor, who changes nothing, adds no key.
            let may_sign = may_sign(read)?
                && (authorize::needs_admin(me, TAKE, now).is_ok()
                    || matches!(service.host_key(read)?, HostKey::Recorded(_)));
            Ok((unsigned(read, now)?, may_sign))
        })?;
        if !may_sign {
            return Ok(unsigned);
        }
        let signed = service.with_key("audit checkpoint", TAKE, |read, key, now| {
            let (note, _) = sign(read, key, Vec::new())?;
            Ok(Checkpoint { note: Some(note.to_string()), ..self::unsigned(read, now)? })
        });
        match signed {
            // The shared log does not take the key, now or from this host.
            Err(failure) if matches!(failure.kind, Kind::Unavailable | Kind::Refused) => Ok(unsigned),
            signed => signed,
        }
    }
}

/// The state of the log, without a signature.
pub fn unsigned(read: &Read<'_>, at: Timestamp) -> Result<Checkpoint, Error> {
    let head = read.head()?;
    Ok(Checkpoint { team: read.team_name()?, seq: head.seq, head: audit::hex(&head.hash), at, note: None })
}

/// Records a checkpoint if the last one is older than this. Returns the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeCheckpoint {
    pub every: Length,
}

impl Call for TakeCheckpoint {
    const NAME: &'static str = "TakeCheckpoint";
    const CALLERS: Callers = Callers::Keepers;

    type Row = Never;
    type Reply = Option<String>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Option<String>, Failure> {
        let every = self.every;
        let is_due = |read: &Read<'_>| -> Result<bool, Failure> {
            let (last, now) = (read.last_checkpoint()?, service.now(read)?);
            // A last one in the future was taken before the clock was set back.
            let is_old = |last: Entry| last.at > now || last.at.plus(every) <= now;
            Ok(may_sign(read)? && last.is_none_or(is_old))
        };
        // Most of the tree is computed before the others have to wait.
        let tree = service.store.read(|read| -> Result<Option<Tree>, Failure> {
            if !is_due(read)? {
                return Ok(None);
            }
            let mut tree = Tree::default();
            read.each_body(0, read.head()?.seq.unsigned_abs(), |body| tree.push(merkle::leaf(body)))?;
            Ok(Some(tree))
        })?;
        if let Some(mut tree) = tree {
            service.store.write(|write| -> Result<(), Failure> {
                if !is_due(write)? {
                    return Ok(());
                }
                let now = service.now_to_write(write)?;
                let key = service.ensure_key(write, None, now)?;
                let size = write.head()?.seq.unsigned_abs();
                write.each_body(tree.size(), size, |body| tree.push(merkle::leaf(body)))?;
                let event = Event::CheckpointTaken { note: head_note(&key, size, tree.root()) };
                Ok(write.record(&service.context(None, now), vec![Draft { event, recipients: Vec::new() }])?)
            })?;
            service.settle_key()?;
        }
        service.store.read(|read| Ok(last_note(read)?.map(|note| note.to_string())))
    }
}

/// The keys that sign checkpoints, in the order in which they were added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointKeys {}

impl Call for CheckpointKeys {
    const NAME: &'static str = "CheckpointKeys";

    type Row = KeyView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, KeyView>) -> Result<(), Failure> {
        let keys = service.ask("audit key", |read, me, now| {
            authorize::needs_auditor(me, "see the keys of the audit log", now)?;
            Ok(RecordedKeys::of(read)?)
        })?;
        keys.0.iter().map(RecordedKey::view).try_for_each(rows)
    }
}

/// Replaces this host's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RotateCheckpointKey {}

impl Call for RotateCheckpointKey {
    const NAME: &'static str = "RotateCheckpointKey";

    type Row = Never;
    type Reply = KeyView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<KeyView, Failure> {
        let time = |read: &Read<'_>| service.now_to_write(read);
        let view = service.write_as_member("audit key", None, time, |write, me, now| {
            authorize::needs_owner(me, "replace the key that signs checkpoints")?;
            if !may_sign(write)? {
                return Err(signs_nothing().into());
            }
            // A key that is lost or can't be read is what a new one is for.
            let replaces = match service.host_key(write) {
                Ok(HostKey::Recorded(key)) => Some(key.public().clone()),
                Ok(HostKey::Unrecorded(_) | HostKey::Missing) | Err(_) => {
                    RecordedKeys::of(write)?.of_host(write)?.map(|old| old.key.clone())
                }
            };
            let key = service.store.draft_checkpoint_key(&write.log_name()?)?;
            service.add_key(write, Some(me), now, &key, replaces)?;
            let keys = RecordedKeys::of(write)?;
            let added = keys.current(key.public()).map(RecordedKey::view);
            added.ok_or_else(|| Failure::new(Kind::Internal, "the key was not recorded").into())
        })?;
        service.settle_key()?;
        Ok(view)
    }
}

impl Service<'_> {
    /// The state of the log, signed if this host has a key that the log names.
    pub(super) fn checkpoint(&self, read: &Read<'_>, at: Timestamp) -> Result<Checkpoint, Error> {
        let unsigned = unsigned(read, at)?;
        match self.host_key(read) {
            Ok(HostKey::Recorded(key)) if may_sign(read)? => {
                let (note, _) = sign(read, &key, Vec::new())?;
                Ok(Checkpoint { note: Some(note.to_string()), ..unsigned })
            }
            Ok(_) | Err(_) => Ok(unsigned),
        }
    }

    /// Reads something that this host's key signs, as an auditor or an admin. The first time, an admin makes the key.
    fn with_key<T>(
        &self,
        command: &str,
        to: &'static str,
        work: impl FnOnce(&Read<'_>, &SigningKey, Timestamp) -> Result<T, Problem>,
    ) -> Result<T, Failure> {
        let has_key = self.ask(command, |read, me, now| {
            authorize::needs_auditor(me, to, now)?;
            if !may_sign(read)? {
                return Err(signs_nothing().into());
            }
            Ok(matches!(self.host_key(read)?, HostKey::Recorded(_)))
        })?;
        if !has_key {
            self.write_as_member(
                command,
                None,
                |read| self.now_to_write(read),
                |write, me, now| {
                    authorize::needs_admin(me, to, now)?;
                    Ok(self.ensure_key(write, Some(me), now).map(drop)?)
                },
            )?;
        }
        self.ask(command, |read, me, now| {
            authorize::needs_auditor(me, to, now)?;
            match self.host_key(read)? {
                HostKey::Recorded(key) => work(read, &key, now),
                HostKey::Unrecorded(_) | HostKey::Missing => {
                    Err(Failure::new(Kind::Busy, "the key that signs checkpoints has just changed")
                        .hint("try again")
                        .into())
                }
            }
        })
    }

    /// Makes and records this host's key if it has none.
    fn ensure_key(&self, write: &Write<'_>, me: Option<&Principal>, now: Timestamp) -> Result<SigningKey, Failure> {
        let key = match self.host_key(write)? {
            HostKey::Recorded(key) => return Ok(key),
            HostKey::Unrecorded(key) => key,
            HostKey::Missing => self.store.draft_checkpoint_key(&write.log_name()?)?,
        };
        self.add_key(write, me, now, &key, None)?;
        Ok(key)
    }

    fn add_key(
        &self,
        write: &Write<'_>,
        me: Option<&Principal>,
        now: Timestamp,
        key: &SigningKey,
        replaces: Option<NoteKey>,
    ) -> Result<(), Error> {
        let event = Event::CheckpointKeyAdded { key: key.public().clone(), replaces };
        write.record(&self.context(me, now), vec![Draft { event, recipients: Vec::new() }])
    }

    /// Has a key that was just recorded take its place.
    fn settle_key(&self) -> Result<(), Failure> {
        self.store.read(|read| self.host_key(read).map(drop))
    }

    /// This host's key, if the log and the file beside the database agree.
    fn host_key(&self, read: &Read<'_>) -> Result<HostKey, Failure> {
        let keys = RecordedKeys::of(read)?;
        let path = self.store.key_path();
        let wrong = |why: &str| Failure::new(Kind::Invalid, format!("{} {why}", path.display())).hint(ROTATE);
        // A new key takes its place once the log has it.
        let draft = self.store.drafted_checkpoint_key()?;
        if draft.is_some_and(|draft| keys.current(draft.public()).is_some()) {
            self.store.adopt_checkpoint_key()?;
        }
        let Some(key) = self.store.checkpoint_key()? else {
            return match keys.of_host(read)? {
                Some(_) => {
                    Err(wrong("is missing: the key that signs checkpoints").hint("or restore it from your copy"))
                }
                None => Ok(HostKey::Missing),
            };
        };
        if key.public().name != read.log_name()? {
            Err(wrong("is the key of another log"))
        } else if keys.current(key.public()).is_some() {
            Ok(HostKey::Recorded(key))
        } else if keys.of_host(read)?.is_none() && !keys.has(key.public()) {
            // The database was restored from a backup that is older than the key.
            Ok(HostKey::Unrecorded(key))
        } else {
            Err(wrong("is not the key that the log names for this host"))
        }
    }
}

fn signs_nothing() -> Failure {
    Failure::new(Kind::Refused, "this host signs nothing: by the team file it does not decide")
        .hint("run the command on a host that decides")
}

/// Whether this host may add its key to the log.
fn may_sign(read: &Read<'_>) -> Result<bool, Error> {
    let Some(Replica { host, .. }) = read.replica()? else { return Ok(true) };
    let hosts = read.hosts()?;
    let may = hosts.iter().find(|(name, _)| name.as_str() == host).map(|(_, host)| host.may);
    Ok(hosts.is_empty() || may == Some(HostPower::Decide))
}

enum HostKey {
    Recorded(SigningKey),
    Unrecorded(SigningKey),
    Missing,
}

/// The keys that the log names, in order.
struct RecordedKeys(Vec<RecordedKey>);

struct RecordedKey {
    key: NoteKey,
    entry: Entry,
    replaced_by: Option<i64>,
}

impl RecordedKey {
    fn view(&self) -> KeyView {
        KeyView {
            key: self.key.to_string(),
            host: self.entry.host.as_ref().map(ToString::to_string),
            seq: self.entry.seq,
            at: self.entry.at,
            replaced_by: self.replaced_by,
        }
    }
}

impl RecordedKeys {
    fn of(read: &Read<'_>) -> Result<RecordedKeys, Error> {
        let mut keys: Vec<RecordedKey> = Vec::new();
        for entry in read.checkpoint_keys()? {
            let Event::CheckpointKeyAdded { key, replaces } = &entry.event else { continue };
            for old in keys.iter_mut().filter(|old| Some(&old.key) == replaces.as_ref()) {
                old.replaced_by = Some(entry.seq);
            }
            keys.push(RecordedKey { key: key.clone(), entry, replaced_by: None });
        }
        Ok(RecordedKeys(keys))
    }

    fn has(&self, key: &NoteKey) -> bool {
        self.0.iter().any(|recorded| recorded.key == *key)
    }

    fn current(&self, key: &NoteKey) -> Option<&RecordedKey> {
        self.0.iter().find(|recorded| recorded.key == *key && recorded.replaced_by.is_none())
    }

    /// The key that this host added last, if nothing has replaced it.
    fn of_host(&self, read: &Read<'_>) -> Result<Option<&RecordedKey>, Error> {
        let host = read.replica()?.map(|replica| replica.host);
        let ours = |key: &&RecordedKey| key.entry.host.as_deref() == host.as_deref() && key.replaced_by.is_none();
        Ok(self.0.iter().rev().find(ours))
    }
}

/// The checkpoint that was recorded last.
fn last_note(read: &Read<'_>) -> Result<Option<Note>, Error> {
    Ok(read.last_checkpoint()?.and_then(|entry| match entry.event {
        Event::CheckpointTaken { note } => Some(note),
        _ => None,
    }))
}

/// Signs the tree of all entries. Gives the roots of these ranges of it too.
fn sign(read: &Read<'_>, key: &SigningKey, ranges: Vec<Range<u64>>) -> Result<(Note, Vec<Hash>), Error> {
    let size = read.head()?.seq.unsigned_abs();
    let (root, roots) = tree(read, size, ranges)?;
    Ok((head_note(key, size, root), roots))
}

fn head_note(key: &SigningKey, size: u64, root: Hash) -> Note {
    let text = TreeHead { origin: key.public().name.clone(), size, root }.text();
    let signatures = vec![key.sign(&text)];
    Note { text, signatures }
}

/// The root of the tree of the first `size` entries, and those of these ranges of it.
fn tree(read: &Read<'_>, size: u64, ranges: Vec<Range<u64>>) -> Result<(Hash, Vec<Hash>), Error> {
    let mut all = Ranges::new(std::iter::once(0..size).chain(ranges).collect());
    read.each_body(0, size, |body| all.push(merkle::leaf(body)))?;
    let mut roots = all.roots();
    let root = roots.remove(0);
    Ok((root, roots))
}
