//! `access expire`, for cron: records what the clock has ended, and sends what is due.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::Run;
use super::app::App;
use super::reconcile;
use crate::checkpoints;
use crate::domain::provisioning::{held_still, not_taken_back};
use crate::error::{Failure, Kind};
use crate::protocol::{ExpireView, StillHeldView, UnconfirmedView};
use crate::provisioning;
use crate::provisioning::ReconcileState;
use crate::service::{Expire, StillHeld, Warned};

/// Record what has expired, and notify people (for cron, every minute)
#[derive(Debug, Args)]
#[command(
    after_help = "Access ends by the clock whether or not this runs; this puts it on the record, and then sends what \
notifications (see `access deliver`). It also revokes what nobody kept in a recertification that is due. \
It prints nothing when nothing is due. Overlapping runs are safe.

While access that should be over could not be taken back by a connector, it says who still has what, and exits 1. It also \
does if nobody has taken back access that ended 10 minutes ago, while the list of revoked SSH certificates can't be \
written, and if a checkpoint that [checkpoints] of config.toml asks for could not be taken or kept.

A line for crontab(5):
  * * * * *  access expire --quiet"
)]
pub struct ExpireArgs {
    /// Show what is due, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave sending notifications to `access deliver`
    #[arg(long)]
    pub no_deliver: bool,
}

impl Run for ExpireArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let call = Expire { dry_run: self.dry_run, deliver: !self.no_deliver };
        // Asked before the call: root becomes the owner of the file, who can't read root's configuration.
        let systems = if self.dry_run { Ok(false) } else { provisioning::has_systems(app.backend()?) };
        let krl = if self.dry_run { Ok(None) } else { provisioning::write_krl(app.backend()?) };
        let checkpoints = if self.dry_run { Ok(None) } else { checkpoints::configured(app.backend()?) };
        let printer = &mut app.printer;
        let expired = app.backend.get()?.call(call, &mut |progress| {
            printer.progress(progress);
            Ok(())
        });
        let carry = match &expired {
            Ok(_) => true,
            // Access has ended, whether or not the shared log knows it.
            Err(failure) => {
                matches!(failure.kind, Kind::Unavailable | Kind::Refused)
                    && app.backend()?.is_keepers()
                    && app.backend()?.answer(StillHeld {}).is_ok()
            }
        };
        // What was recorded is shown, whatever comes of this.
        let carried = if carry { systems } else { Ok(false) };
        let carried = carried.and_then(|any| if any { app.carry_to_systems() } else { Ok(()) });
        if let (Err(_), Err(failure)) = (&expired, &carried) {
            app.printer.warn(&failure.message);
        }
        let Warned { answer: view, warnings } = expired?;
        let held = if self.dry_run { StillHeldView::default() } else { app.backend.get()?.answer(StillHeld {})? };
        let view = Expired { view, held };
        let quiet = app.printer.is_quiet();
        app.printer.object(&view, |sheet| {
            if !quiet {
                sheet.push(&counts(&view.view));
            }
        })?;
        app.warn_all(&warnings);
        for failed in &view.held.failed_revokes {
            app.printer.warn(&held_still(&failed.holding, failed.request, failed.error.as_deref()));
        }
        if let Some(UnconfirmedView { grants, since }) = view.held.unconfirmed_revokes {
            app.printer.warn(&not_taken_back(grants, since));
        }
        let taken = match (checkpoints, app.backend.get()?) {
            (Ok(Some(checkpoints)), backend) => checkpoints::take(backend, &checkpoints),
            (Ok(None), _) => Ok(()),
            (Err(failure), _) => Err(failure),
        };
        if let Err(failure) = &taken {
            app.printer.warn(&format!("no checkpoint was kept: {}", failure.message));
        }
        let krl_failed = krl.is_err();
        if let Err(failure) = krl {
            app.printer.warn(&failure.message);
        }
        // No output for cron, but an answer for a user who asks what is due.
        if view.view == ExpireView::default() && self.dry_run {
            app.printer.status("Nothing is due");
        }
        carried?;
        // Cron reports it, each time, until somebody helps.
        let is_held = !view.held.failed_revokes.is_empty() || view.held.unconfirmed_revokes.is_some();
        Ok(u8::from(krl_failed || is_held || taken.is_err()))
    }

    fn changes(&self) -> bool {
        !self.dry_run
    }
}

impl App {
    /// On a database of your own: gives and takes back access where it is enforced.
    fn carry_to_systems(&mut self) -> Result<(), Failure> {
        let backend = self.backend.get()?;
        let rows = provisioning::in_foreground(backend, self.backend.db())?;
        // What could not be taken back is on record now, and is reported from there.
        let others = rows.iter().filter(|row| row.state.is_failure() && row.state != ReconcileState::RevokeFailed);
        others.for_each(|row| self.printer.warn(&reconcile::in_words(row)));
        Ok(())
    }
}

/// What was done, and what was not taken back.
#[derive(Serialize)]
struct Expired {
    #[serde(flatten)]
    view: ExpireView,
    #[serde(flatten)]
    held: StillHeldView,
}

/// Empty if nothing was due.
fn counts(view: &ExpireView) -> String {
    let counts = [
        (view.expired, "expired"),
        (view.started, "started"),
        (view.expiring, if view.expiring == 1 { "warned that it ends soon" } else { "warned that they end soon" }),
        (view.lapsed, "lapsed undecided"),
        (view.reminded, "reminded of"),
        (view.rejudged, "from before the upgrade judged again"),
        (view.closed, if view.closed == 1 { "recertification closed" } else { "recertifications closed" }),
        (view.revoked, "revoked that nobody kept"),
        (view.delivered, if view.delivered == 1 { "notification sent" } else { "notifications sent" }),
        (view.failed, "not sent (`access outbox`)"),
    ];
    let parts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { parts.join(", ") + "\n" }
}
