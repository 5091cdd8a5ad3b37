//! The last entry of the log: whether something has changed.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Rows, Service};
use crate::domain::audit;
use crate::error::Failure;
use crate::protocol::{LogNews, Position};

/// The position of the log's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogPosition {
    /// The last entry that the caller saw.
    pub known: Option<Position>,
}

impl Call for LogPosition {
    const NAME: &'static str = "LogPosition";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = LogNews;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<LogNews, Failure> {
        let LogPosition { known } = self;
        service.store.read(|read| {
            let head = read.head()?;
            let position = Position { seq: head.seq, hash: audit::hex(&head.hash) };
            let is_news = match known {
                Some(known) if known == position => false,
                Some(known) => {
                    let goes_on = read.hash_of(known.seq)?.is_some_and(|hash| audit::hex(&hash) == known.hash);
                    !goes_on || read.has_news_after(known.seq)?
                }
                None => true,
            };
            Ok(LogNews { position, is_news })
        })
    }
}
