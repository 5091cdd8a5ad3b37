//! `access edit`: changes your own pending request.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::duration::Duration;
use crate::domain::request::edit::{Edit, Edited};
use crate::domain::terms::{End, RequestId};
use crate::domain::text::{Text, Ticket};
use crate::service::{EditRequest, Warned};
use crate::time_input;
use crate::time_input::{Pick, TypedTime};

/// Change your own pending request
#[derive(Debug, Args)]
#[command(
    after_help = "You can edit requests that you filed or that are for you. Options that you leave out keep their values; the resource \
can't be changed. The request is judged, and lapses, as if you filed it now. Any change voids all approvals, and \
the approvers are notified.

Examples:
  access edit 12 --ticket OPS-12
  access edit 12 --duration 2h --reason 'Two hours are enough'
  access edit 12 --until 17:00 --dry-run
  access edit 12 --no-start --no-ticket"
)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["reason", "ticket", "no_ticket", "duration", "until", "start", "no_start"]))]
pub struct EditArgs {
    /// Request number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::withdrawable))]
    pub id: RequestId,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// How long: 90m, 4h, 2d, 1w, permanent
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Until when: 17:00, 5pm, "tomorrow 09:00", "2026-12-01 17:00", or "in 3h"
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Start at this time
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub start: Option<TypedTime>,
    /// Start as soon as it is approved
    #[arg(long, conflicts_with = "start")]
    pub no_start: bool,
    /// Ticket reference
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
    /// Remove the ticket
    #[arg(long, conflicts_with = "ticket")]
    pub no_ticket: bool,
    /// Show what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl Run for EditArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let end = match (self.duration, self.until) {
            (Some(duration), _) => Some(duration.into()),
            (None, Some(until)) => Some(End::At(app.resolve(until, Pick::Next)?)),
            (None, None) => None,
        };
        let start = match self.start {
            Some(start) => Some(Edited::To(app.resolve(start, Pick::Next)?)),
            None => self.no_start.then_some(Edited::Removed),
        };
        let ticket = self.ticket.map(Edited::To).or(self.no_ticket.then_some(Edited::Removed));
        let edit = Edit { reason: self.reason, ticket, end, start };
        let dry_run = self.dry_run;
        let Warned { answer: view, warnings } = app.backend()?.answer(EditRequest { id: self.id, edit, dry_run })?;
        app.print_submitted(&view, &warnings, dry_run)?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        !self.dry_run
    }
}
