//! `access deliver`: sends notifications that are due.

use std::thread::sleep;
use std::time::Duration as Wait;

use anyhow::{Context as _, Result};
use clap::Args;

use super::Run;
use super::app::App;
use crate::backend;
use crate::error::Kind;
use crate::protocol::DeliverView;
use crate::service::{Deliver, Delivered};

/// Send notifications that are due by email, Slack and webhooks
#[derive(Debug, Args)]
#[command(
    after_help = "`access expire` does this too. One process sends at a time, for at most a minute; of hosts that \
share a log, one. \
Failed messages are retried after 1, 5 and 30 minutes, 2 and 12 hours, and then given up: \
see `access outbox`.

Examples:
  access deliver
  access deliver --watch     as a service, in place of cron"
)]
pub struct DeliverArgs {
    /// Keep running: check again every few seconds
    #[arg(long)]
    pub watch: bool,
}

impl Run for DeliverArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.watch {
            return app.keep_delivering();
        }
        let printer = &mut app.printer;
        let delivered = app.backend.get()?.call(Deliver {}, &mut |progress| {
            printer.progress(progress);
            Ok(())
        })?;
        let Delivered { view, warnings, failure } = delivered;
        let quiet = app.printer.is_quiet();
        app.printer.object(&view, |sheet| {
            if !quiet {
                sheet.push(&counts(&view));
            }
        })?;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        app.warn_all(&warnings);
        Ok(u8::from(view.failed > 0))
    }

    fn changes(&self) -> bool {
        true
    }
}

impl App {
    /// Starts a process for each run, so that a hanging run can be ended, and each reads the current configuration.
    fn keep_delivering(&mut self) -> Result<u8> {
        const PAUSE: Wait = Wait::from_secs(5);
        let program = std::env::current_exe().context("the path of this program can't be found")?;
        // The same arguments, without --watch.
        let arguments: Vec<_> = std::env::args_os().skip(1).filter(|word| word != "--watch").collect();
        self.printer.status("Sending notifications as they become due; Ctrl-C stops");
        let mut shown = Vec::new();
        loop {
            let ran = std::process::Command::new(&program)
                .args(&arguments)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .and_then(std::process::Child::wait_with_output)
                .with_context(|| format!("{} can't be run", program.display()))?;
            let nothing = serde_json::from_slice(&ran.stdout)
                .is_ok_and(|view: DeliverView| DeliverView { busy: false, ..view } == DeliverView::default());
            if !nothing {
                self.printer.raw(&ran.stdout)?;
                self.printer.flush()?;
            }
            // A failure that repeats is reported once.
            if ran.stderr != shown {
                self.printer.relay(&ran.stderr);
                shown = ran.stderr;
            }
            // A failed mail server, a full disk or a busy database may recover, and a run may be killed by a signal. So may a
            // shared log that can't be reached. Any other failure, such as a refusal, needs somebody to fix it.
            const PASSING: [u8; 3] = [Kind::Failure.exit_code(), Kind::Io.exit_code(), Kind::Busy.exit_code()];
            const UNREACHABLE: u8 = Kind::Unavailable.exit_code();
            match ran.status.code().map(|code| u8::try_from(code).unwrap_or(1)) {
                Some(UNREACHABLE) if backend::names_shared_log() => sleep(PAUSE),
                Some(code) if code > 0 && !PASSING.contains(&code) => return Ok(code),
                Some(_) | None => sleep(PAUSE),
            }
        }
    }
}

/// Empty if nothing was sent.
fn counts(view: &DeliverView) -> String {
    if view.busy {
        return "Another process, or another host, is sending the outbox.\n".to_owned();
    }
    let counts = [
        (view.delivered, "sent"),
        (view.failed - view.dead, "failed, will be retried (`access outbox`)"),
        (view.dead, "given up (`access outbox --dead`)"),
    ];
    let parts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { parts.join(", ") + "\n" }
}
