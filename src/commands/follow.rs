//! `access follow`: keeps this host's copy of a shared log fresh.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::domain::text::quantity;
use crate::error::{Failure, Kind};

/// How often the shared log is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Keep this host's copy of a shared log fresh (a service)
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the shared log once a second for what is new, verifies it, and adds it to the copy. While it runs and \
the log can be reached, a change on any host is known here within about a second."
)]
pub struct FollowArgs {
    /// Catch up once, and end
    #[arg(long)]
    pub once: bool,
}

impl Run for FollowArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let mut trouble: Option<String> = None;
        if !self.once {
            app.printer.status("Following the shared log; Ctrl-C stops");
        }
        loop {
            match app.backend()?.database()?.follow().map_err(Failure::from) {
                Ok(new) if self.once => {
                    app.printer.print_or(
                        &format!("Took in {}", quantity(new, "entry", "entries")),
                        &serde_json::json!({ "entries": new }),
                    )?;
                    return Ok(0);
                }
                Ok(_) if trouble.take().is_some() => app.printer.status("The shared log can be reached again"),
                Ok(_) => {}
                // A fork, a format that this version does not know, or a damaged copy does not pass by itself.
                Err(failure) if self.once || !matches!(failure.kind, Kind::Unavailable | Kind::Busy | Kind::Io) => {
                    return Err(failure.into());
                }
                Err(failure) => {
                    if trouble.as_ref() != Some(&failure.message) {
                        app.printer.warn(&failure.message);
                    }
                    trouble = Some(failure.message);
                }
            }
            app.printer.flush()?;
            sleep(PAUSE);
        }
    }

    fn changes(&self) -> bool {
        true
    }
}
