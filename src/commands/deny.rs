//! `access deny`.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::{decidable, each, seen, with_reason};
use crate::completion;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::service::Deny;

/// Deny requests
#[derive(Debug, Args)]
#[command(after_help = "Example:
  access deny 12 --reason 'Use the read replica: target:orders-db-staging'")]
pub struct DenyArgs {
    /// Request numbers
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::decidable))]
    pub ids: Vec<RequestId>,
    /// Reason, which the requester sees
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
}

impl Run for DenyArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let ask = with_reason("Deny", "the requester is notified; may stay empty", self.reason.as_ref());
        each(app, &self.ids, seen, decidable, ask, |app, id, reason, shown| {
            let seen = shown.and_then(|shown| shown.seen);
            app.backend()?.answer(Deny { id, reason: reason.unwrap_or_else(|| self.reason.clone()), seen })
        })
    }

    fn changes(&self) -> bool {
        true
    }
}
