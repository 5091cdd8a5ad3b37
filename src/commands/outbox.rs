//! `access outbox`: messages that wait to be sent, and those that failed.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Run;
use super::app::App;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::protocol::QueuedView;
use crate::service::{Outbox, OutboxDiscard, OutboxRetry};
use crate::time_format::relative;
use crate::ui::{Color, Column, Fit, Shown, line};

/// List messages that wait to be sent or failed, and why
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  access outbox
  access outbox --dead
  access outbox retry        all that were given up
  access outbox retry 7 8
  access outbox discard      all that were given up: they are never sent
  access outbox discard 7"
)]
pub struct OutboxArgs {
    #[command(subcommand)]
    pub verb: Option<OutboxVerb>,
    /// Only messages that were given up
    #[arg(long)]
    pub dead: bool,
}

#[derive(Debug, Subcommand)]
pub enum OutboxVerb {
    Retry(OutboxRetryArgs),
    Discard(OutboxDiscardArgs),
}

/// Retry messages now: these, or all that were given up
#[derive(Debug, Args)]
pub struct OutboxRetryArgs {
    /// Message numbers in the outbox
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
}

/// Delete messages so that they are never sent: these, or all that were given up. Inboxes keep the notifications
#[derive(Debug, Args)]
pub struct OutboxDiscardArgs {
    /// Message numbers in the outbox
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
}

impl Run for OutboxArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            Some(OutboxVerb::Retry(retry)) => {
                let count = app.backend()?.answer(OutboxRetry { ids: retry.ids.clone() })?;
                let words = quantity(count, "message is due again", "messages are due again");
                let all = retry.ids.is_empty();
                app.printer.print_or(&words, &serde_json::json!({ "retried": count }))?;
                if all && count == 0 {
                    app.printer
                        .hint("no message was given up; to send one that waits now, name it: `access outbox retry ID`");
                }
            }
            Some(OutboxVerb::Discard(discard)) => {
                let count = app.backend()?.answer(OutboxDiscard { ids: discard.ids })?;
                let words = format!("Discarded {}", quantity(count, "message", "messages"));
                app.printer.print_or(&words, &serde_json::json!({ "discarded": count }))?;
            }
            None => {
                let (_, count) = app.rows(Outbox { dead: self.dead }, |list, view| {
                    let now = list.now();
                    list.row(&view, &QUEUED, || queued_row(&view, now))
                })?;
                if count == 0 {
                    app.printer.status(if self.dead { "Nothing was given up" } else { "No messages wait to be sent" });
                }
            }
        }
        Ok(0)
    }

    fn changes(&self) -> bool {
        self.verb.is_some()
    }
}

const QUEUED: [Column; 7] = [
    Column("ID", Fit::Whole),
    Column("BY", Fit::Whole),
    Column("TO", Fit::Whole),
    Column("EVENT", Fit::Whole),
    Column("TRIES", Fit::Whole),
    Column("NEXT", Fit::Whole),
    Column("WHY", Fit::Wrap),
];

fn queued_row(view: &QueuedView, now: Timestamp) -> Vec<Shown> {
    let color = (view.attempts > 0).then_some(if view.dead { Color::Red } else { Color::Yellow });
    let event = match view.request {
        Some(request) => format!("{} {request}", view.event.as_str()),
        None => view.event.as_str().to_owned(),
    };
    let next = match view.due_at {
        Some(due) if due <= now => view.after.map_or_else(|| "due".to_owned(), |id| format!("after {id}")),
        Some(due) => relative(due, now),
        None => "given up".to_owned(),
    };
    vec![
        view.id.to_string().into(),
        view.channel.to_string().into(),
        line(&view.to).into_owned().into(),
        event.into(),
        view.attempts.to_string().into(),
        Shown(next, color),
        line(view.error.as_deref().unwrap_or_default()).into_owned().into(),
    ]
}
