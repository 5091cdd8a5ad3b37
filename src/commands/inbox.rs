//! `access inbox`: your notifications.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::domain::time::Timestamp;
use crate::protocol::NotificationView;
use crate::service::{Inbox, MarkRead};
use crate::time_format::{ago, with_local_times};
use crate::ui::{Color, Column, Fit, Shown, line};

/// List your notifications
#[derive(Debug, Args)]
#[command(after_help = "Listing notifications does not mark them as read.

Examples:
  access inbox
  access inbox --all
  access inbox --mark-read
  access inbox --mark-read 7 8")]
pub struct InboxArgs {
    /// Include notifications that you have read
    #[arg(long)]
    pub all: bool,
    /// Mark these notifications as read; without an ID, all of them
    #[arg(long, value_name = "ID", num_args = 0.., conflicts_with = "all", value_parser = clap::value_parser!(i64).range(1..))]
    pub mark_read: Option<Vec<i64>>,
    /// Show at most this many; 0: no limit (default: 50 in a table, no limit in JSON)
    #[arg(long, value_name = "N", conflicts_with = "mark_read")]
    pub limit: Option<u64>,
}

impl Run for InboxArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let Some(ids) = self.mark_read else {
            let call = Inbox { all: self.all, limit: app.limit(self.limit) };
            let (listed, count) = app.rows(call, |list, view| {
                let now = list.now();
                list.row(&view, &NOTIFICATIONS, || notification_row(&view, now))
            })?;
            if count == 0 {
                let has_read = !self.all && app.finds(Inbox { all: true, limit: Some(1) })?;
                app.printer.status(if has_read {
                    "Nothing unread; `access inbox --all` shows the read ones too"
                } else {
                    "No notifications"
                });
            }
            app.mention_more(listed.more)?;
            return Ok(0);
        };
        let marked = app.backend()?.answer(MarkRead { ids })?;
        app.printer.print_or(&format!("{marked} marked as read"), &serde_json::json!({ "marked": marked }))?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        self.mark_read.is_some()
    }
}

const NOTIFICATIONS: [Column; 3] = [Column("ID", Fit::Whole), Column("WHEN", Fit::Whole), Column("WHAT", Fit::Wrap)];

fn notification_row(view: &NotificationView, now: Timestamp) -> Vec<Shown> {
    let color = view.read_at.map(|_| Color::Grey);
    vec![
        view.id.to_string().into(),
        ago(view.at, now).into(),
        Shown(line(&with_local_times(&view.text)).into_owned(), color),
    ]
}
