//! `access withdraw`: withdraws your own pending request.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::{each, seen};
use crate::completion;
use crate::domain::grant::State;
use crate::domain::terms::RequestId;
use crate::prompt::Prompt;
use crate::protocol::RequestView;
use crate::service::Withdraw;

/// Withdraw your own pending request
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// Request number
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::withdrawable))]
    pub ids: Vec<RequestId>,
}

impl Run for WithdrawArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let pending = |view: &RequestView| view.state == State::Pending;
        let ask = |prompt: &Prompt, view: &RequestView| {
            Ok(prompt.confirm(&format!("Withdraw request {}?", view.id))?.then_some(()))
        };
        each(app, &self.ids, seen, pending, ask, |app, id, _, shown| {
            let seen = shown.and_then(|shown| shown.seen);
            app.backend()?.answer(Withdraw { id, seen })
        })
    }

    fn changes(&self) -> bool {
        true
    }
}
