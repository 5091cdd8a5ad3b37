//! `access extend`: requests an extension of a grant.

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

/// Request a longer grant, from when your current one ends
#[derive(Debug, Args)]
#[command(after_help = "This files a new request, under the same rules. Its grant starts when the current one ends. \
If the current grant is revoked, the extension ends with it.

Examples:
  access extend 12 --reason 'The migration takes longer'
  access extend 12 --duration 2h --reason 'Nearly done'")]
pub struct ExtendArgs {
    /// Number of the request that was granted
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::extendable))]
    pub id: RequestId,
    /// How much longer (default: the same length, or as much of it as the rules allow)
    #[arg(short, long, value_name = "LENGTH", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Length>,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// Ticket reference (default: the ticket of the current request)
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
