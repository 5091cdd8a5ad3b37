//! `audit prove`: that an entry is in the log, or that an earlier log is the beginning of it. Others' tools verify the proofs.

use serde::{Deserialize, Serialize};

use super::{last_note, sign, tree};
use crate::domain::Malformed;
use crate::domain::audit::Hash;
use crate::domain::merkle;
use crate::domain::note::{Note, TreeHead, WitnessRequest, base64};
use crate::error::{Failure, Kind};
use crate::protocol::{ConsistencyView, EarlierLog, ProofView};
use crate::service::{Call, Callers, Never, Problem, Rows, Service};
use crate::store::Read;

const PROVE: &str = "prove entries of the audit log";

/// Proves that an entry is in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditProve {
    pub seq: i64,
    /// A checkpoint that was kept, which the proof is for. None: a new one.
    pub checkpoint: Option<String>,
}

impl Call for AuditProve {
    const NAME: &'static str = "AuditProve";

    type Row = Never;
    type Reply = ProofView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ProofView, Failure> {
        let AuditProve { seq, checkpoint } = self;
        service.with_key("audit prove", PROVE, |read, key, _| {
            let kept = checkpoint.as_deref().map(|note| kept(read, &key.public().name, note)).transpose()?;
            let size = match &kept {
                Some((_, head)) => head.size,
                None => read.head()?.seq.unsigned_abs(),
            };
            let index = seq.unsigned_abs().saturating_sub(1);
            let body = read.body(seq)?.filter(|_| index < size).ok_or_else(|| no_such_entry(seq, size))?;
            let ranges = merkle::inclusion(index, size);
            let (note, hashes) = match kept {
                Some((note, head)) => {
                    let (root, hashes) = tree(read, size, ranges)?;
                    agrees(&head, &root)?;
                    (note, hashes)
                }
                None => sign(read, key, ranges)?,
            };
            let proof = format!(
                "c2sp.org/tlog-proof@v1\nextra {}\nindex {index}\n{}\n{note}",
                base64(body.as_bytes()),
                lines(&hashes)
            );
            Ok(ProofView { seq, size, proof })
        })
    }
}

/// Proves that an earlier log is the beginning of this one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditConsistency {
    pub old: EarlierLog,
}

impl Call for AuditConsistency {
    const NAME: &'static str = "AuditConsistency";

    type Row = Never;
    type Reply = ConsistencyView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ConsistencyView, Failure> {
        service.with_key("audit prove", PROVE, |read, key, _| {
            let size = read.head()?.seq.unsigned_abs();
            let (old, kept) = match &self.old {
                EarlierLog::Size(old) => (*old, None),
                EarlierLog::Checkpoint(note) => {
                    let (_, head) = kept(read, &key.public().name, note)?;
                    (head.size, Some(head))
                }
            };
            if old > size {
                return Err(shorter(old, size).into());
            }
            let mut ranges = merkle::consistency(old, size);
            ranges.push(0..old);
            let (note, mut hashes) = sign(read, key, ranges)?;
            if let (Some(root), Some(head)) = (hashes.pop(), &kept) {
                agrees(head, &root)?;
            }
            let head = TreeHead::of(&note).map_err(|why| Failure::new(Kind::Internal, why.to_string()))?;
            let proof = WitnessRequest { old, proof: hashes, note, head }.to_string();
            Ok(ConsistencyView { old, size, proof })
        })
    }
}

/// Compares a checkpoint that was kept with the last one on record. Returns whether that one is later. Fails if the kept one is not of the
/// beginning of this log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CompareCheckpoint {
    pub kept: String,
}

impl Call for CompareCheckpoint {
    const NAME: &'static str = "CompareCheckpoint";
    const CALLERS: Callers = Callers::Keepers;

    type Row = Never;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<bool, Failure> {
        let compared = service.store.read(|read| -> Result<bool, Problem> {
            let (_, head) = kept(read, &read.log_name()?, &self.kept)?;
            let last = last_note(read)?;
            // Another run may have just kept it.
            if last.as_ref().is_some_and(|last| last.to_string() == self.kept) {
                return Ok(false);
            }
            let last = last.and_then(|note| TreeHead::of(&note).ok());
            // Somebody took it by hand. It is compared when the next one is recorded, and not each minute.
            if last.is_none_or(|last| last.size < head.size) {
                return Ok(false);
            }
            let (root, _) = tree(read, head.size, Vec::new())?;
            agrees(&head, &root)?;
            Ok(true)
        });
        compared.map_err(|problem| match problem {
            Problem::Failure(failure) => failure,
            Problem::Refusal(refusal) => refusal.into(),
        })
    }
}

/// Reads a checkpoint that was kept. It is of this log, and not of a longer one.
fn kept(read: &Read<'_>, origin: &str, note: &str) -> Result<(Note, TreeHead), Problem> {
    let invalid = |why: Malformed| Failure::new(Kind::Invalid, format!("the checkpoint can't be used: {why}"));
    let note = note.parse::<Note>().map_err(invalid)?;
    let head = TreeHead::of(&note).map_err(invalid)?;
    let size = read.head()?.seq.unsigned_abs();
    if head.origin != origin {
        let message = format!("the checkpoint is of the log {}, and this one is {origin}", head.origin);
        return Err(Failure::new(Kind::Invalid, message).into());
    }
    if head.size > size {
        return Err(shorter(head.size, size).into());
    }
    Ok((note, head))
}

fn agrees(head: &TreeHead, root: &Hash) -> Result<(), Problem> {
    if head.root == *root {
        return Ok(());
    }
    let message = format!("the log is not the one of the checkpoint: its first {} entries are others", head.size);
    Err(Failure::new(Kind::Failure, message).hint("`access audit verify --against` compares all that you kept").into())
}

fn shorter(old: u64, size: u64) -> Failure {
    Failure::new(Kind::Failure, format!("the log had {old} entries, and has {size} now: its end was cut off"))
        .hint("`access audit verify --against` compares all that you kept")
}

fn no_such_entry(seq: i64, size: u64) -> Failure {
    Failure::new(Kind::NotFound, format!("there is no entry {seq} among the first {size}"))
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| base64(hash) + "\n").collect()
}
