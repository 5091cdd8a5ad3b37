//! `backup`: a copy of a live database, verified before it gets its name. The file's owner may run it without being a
//! member.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Rows, Service, verify};
use crate::domain::audit;
use crate::error::{Failure, Kind};
use crate::protocol::{BackupView, Checkpoint};

/// A copy of the database, verified before it gets its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup {
    pub to: PathBuf,
}

impl Call for Backup {
    const NAME: &'static str = "Backup";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = BackupView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<BackupView, Failure> {
        let Backup { to } = self;
        let to = &to;
        let mut checkpoint = None;
        let (file, bytes) = service.store.copy_to(to, |copy| -> Result<(), Failure> {
            let mut faults = copy.structural_faults()?;
            if faults.is_empty() {
                faults.extend(verify::prove(copy, &[])?.faults.into_iter().map(|fault| fault.problem));
            }
            if let Some(fault) = faults.into_iter().next() {
                return Err(Failure::new(
                    Kind::Invalid,
                    format!("the database is damaged, so it was not copied: {fault}"),
                )
                .hint("`access doctor` lists all faults"));
            }
            let head = copy.head()?;
            let at = service.now(copy)?;
            checkpoint = Some(Checkpoint {
                team: copy.team_name()?,
                seq: head.seq,
                head: audit::hex(&head.hash),
                at,
                note: None,
            });
            Ok(())
        })?;
        let checkpoint = checkpoint.ok_or_else(|| Failure::new(Kind::Internal, "the copy was not verified"))?;
        Ok(BackupView { file, bytes, checkpoint })
    }
}
