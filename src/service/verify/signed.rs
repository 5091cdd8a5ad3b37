//! Compares the log with signed checkpoints that were kept.

use std::collections::BTreeMap;

use crate::domain::Malformed;
use crate::domain::event::{Entry, Event};
use crate::domain::merkle;
use crate::domain::merkle::Tree;
use crate::domain::note::{Note, NoteKey, TreeHead};
use crate::error::Failure;
use crate::protocol::{FaultView, KeptCheckpoint};
use crate::store::{RawEntry, Read};

pub(super) struct SignedHeads {
    /// By the number of entries, those that the log has not reached yet.
    waiting: BTreeMap<u64, Vec<TreeHead>>,
    notes: Vec<(Note, TreeHead)>,
    tree: Tree,
    /// The size up to which the tree is needed.
    until: u64,
    pub faults: Vec<FaultView>,
}

impl SignedHeads {
    pub fn new(read: &Read<'_>, against: &[KeptCheckpoint]) -> SignedHeads {
        // Where the index can't be trusted, the whole tree is computed.
        let last = read.last_checkpoint().map_or(u64::MAX, |last| last.map_or(0, |entry| entry.seq.unsigned_abs()));
        let (waiting, notes, tree, faults) = (BTreeMap::new(), Vec::new(), Tree::default(), Vec::new());
        let mut signed = SignedHeads { waiting, notes, tree, until: last, faults };
        for text in against.iter().filter_map(KeptCheckpoint::note) {
            match read_head(text) {
                Ok((note, head)) => {
                    signed.until = signed.until.max(head.size);
                    signed.waiting.entry(head.size).or_default().push(head.clone());
                    signed.notes.push((note, head));
                }
                Err(why) => signed.fault(None, format!("a signed checkpoint can't be read: {why}")),
            }
        }
        signed
    }

    fn fault(&mut self, seq: Option<u64>, problem: String) {
        let seq = seq.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
        self.faults.push(FaultView { seq, problem });
    }

    pub fn entry(&mut self, raw: &RawEntry<'_>) {
        if self.tree.size() >= self.until {
            return;
        }
        if raw.action == b"checkpoint.taken" {
            self.compare_recorded(raw);
        }
        self.tree.push(merkle::leaf(raw.body));
        let size = self.tree.size();
        for head in self.waiting.remove(&size).into_iter().flatten() {
            if head.root != self.tree.root() {
                self.fault(Some(size), format!("the log is not the one of the signed checkpoint of {size} entries"));
            }
        }
    }

    /// A checkpoint that the log has of itself. Replay checks all but its root.
    fn compare_recorded(&mut self, raw: &RawEntry<'_>) {
        let Ok(Entry { event: Event::CheckpointTaken { note }, .. }) = serde_json::from_slice(raw.body) else { return };
        if TreeHead::of(&note).is_ok_and(|head| head.root != self.tree.root()) {
            self.fault(Some(raw.seq.unsigned_abs()), "its checkpoint is not of the entries before it".to_owned());
        }
    }

    /// `keys`: those that the log names.
    pub fn end(&mut self, read: &Read<'_>, keys: &[NoteKey]) {
        let ended = self.tree.size();
        for size in std::mem::take(&mut self.waiting).into_keys() {
            self.fault(Some(size), format!("the log ends at entry {ended}, and a signed checkpoint has {size}"));
        }
        let origin = match read.log_name() {
            Ok(origin) => origin,
            Err(error) => return self.fault(Some(1), Failure::from(error).message),
        };
        if keys.first().is_some_and(|key| key.name != origin) {
            self.fault(None, format!("the keys of checkpoints are not of this log, which is {origin}"));
        }
        for (note, TreeHead { origin: named, size, .. }) in std::mem::take(&mut self.notes) {
            if named != origin {
                self.fault(None, format!("a signed checkpoint is of the log {named}, and this one is {origin}"));
            }
            if !keys.iter().any(|key| key.has_signed(&note) == Some(true)) {
                self.fault(
                    None,
                    format!("the checkpoint of {size} entries has no valid signature of a key of this log"),
                );
            }
        }
    }
}

fn read_head(text: &str) -> Result<(Note, TreeHead), Malformed> {
    let note: Note = text.parse()?;
    let head = TreeHead::of(&note)?;
    Ok((note, head))
}
