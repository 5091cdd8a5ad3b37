//! The last entry of the log: whether something has changed.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Rows, Service};
use crate::domain::audit;
use crate::error::Failure;
use crate::protocol::Position;

/// The position of the log's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogPosition {}

impl Call for LogPosition {
    const NAME: &'static str = "LogPosition";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = Position;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Position, Failure> {
        service.store.read(|read| {
            let head = read.head()?;
            Ok(Position { seq: head.seq, hash: audit::hex(&head.hash) })
        })
    }
}
