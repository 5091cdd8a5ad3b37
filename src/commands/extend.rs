//! `access extend`: asking for more of a grant.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::duration::Length;
use crate::domain::terms::RequestId;
use crate::domain::text::{Text, Ticket};
use crate::service::{Extend, Warned};

/// Ask for more of a grant you have, from when it ends
#[derive(Debug, Args)]
#[command(
    after_help = "A new request, under the same rules. Once it is approved there is no gap, and no double grant. \
It falls with the grant that it goes on from, if that is revoked before its time.

Examples:
  access extend 12 --reason 'The migration takes longer'
  access extend 12 --duration 2h --reason 'Nearly done'"
)]
pub struct ExtendArgs {
    /// The number of the request that gave it
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::extendable))]
    pub id: RequestId,
    /// How much longer (as long again, or what the rules leave of that)
    #[arg(short, long, value_name = "LENGTH", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Length>,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// The ticket that this belongs to (default: the ticket of the request)
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
}

impl Run for ExtendArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let (reason, ticket) = match (self.reason, app.prompt) {
            (None, Some(prompt)) => app.ask_to_extend(prompt, self.id, self.duration, self.ticket)?,
            (reason, _) => (app.text(reason, "--reason", "Why?")?, self.ticket),
        };
        let extend = Extend { id: self.id, length: self.duration, reason, ticket };
        let Warned { answer: view, warnings } = app.backend()?.answer(extend)?;
        app.print_submitted(&view, &warnings, false)?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}
