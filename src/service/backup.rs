//! `backup`: a copy of a live database, proven before it gets its name. Needs no member: whoever owns the file may.

use std::path::Path;

use super::{Call, Sink, verify};
use crate::command::{BackupView, Checkpoint, End, Reply};
use crate::domain::audit;
use crate::error::{Failure, Kind};

pub fn backup(call: &Call<'_>, to: &Path, sink: Sink<'_>) -> Result<End, Failure> {
    let mut checkpoint = None;
    let (file, bytes) = call.store.copy_to(to, |copy| -> Result<(), Failure> {
        let faults = copy.structural_faults()?;
        let proof = verify::prove(copy, &[])?;
        if let Some(fault) = faults.into_iter().chain(proof.faults.into_iter().map(|fault| fault.problem)).next() {
            return Err(Failure::new(
                Kind::Invalid,
                format!("the database is not whole, so it was not copied: {fault}"),
            )
            .hint("`access doctor` says all that is wrong"));
        }
        let head = copy.head()?;
        let at = call.now(copy)?;
        checkpoint = Some(Checkpoint { team: copy.team_name()?, seq: head.seq, head: audit::hex(&head.hash), at });
        Ok(())
    })?;
    let checkpoint = checkpoint.ok_or_else(|| Failure::new(Kind::Internal, "the copy was not looked at"))?;
    sink(Reply::BackedUp(BackupView { file, bytes, checkpoint }))?;
    Ok(End::default())
}
