//! `access doctor`: finds problems with this installation, and says how to fix them.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::app::App;
use super::{Run, input};
use crate::backend::Backend;
use crate::error::Kind;
use crate::protocol::{FindingView, Health};
use crate::provisioning;
use crate::service::AcceptClock;
use crate::time_format::with_local_times;
use crate::ui::{Sheet, bounded, lines};

/// Find problems with this installation, and how to fix them. Exit 1: found
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access doctor
  access doctor --against checkpoints.jsonl   after a restore
  access doctor --accept-clock                after the clock ran ahead")]
pub struct DoctorArgs {
    /// File of checkpoints, one per line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "accept_clock")]
    pub against: Option<PathBuf>,
    /// Accept the clock's time: it was wrong before and is right now (owner)
    #[arg(long)]
    pub accept_clock: bool,
}

impl Run for DoctorArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.accept_clock {
            let warnings = app.backend()?.answer(AcceptClock {})?;
            app.warn_all(&warnings);
            app.printer.print_or("The clock is accepted.", &serde_json::json!({ "accepted": true }))?;
            return Ok(0);
        }
        let against = input::read_checkpoints(self.against.as_deref())?;
        let backend = app.backend.get()?;
        let mut found: Vec<FindingView> = Vec::new();
        let mut ask_server = || {
            found = provisioning::findings(Some(backend));
            found.extend(provisioning::krl_finding(backend));
        };
        // Looked at first: root becomes the owner of the file.
        let krl = if matches!(backend, Backend::Own(_)) { provisioning::krl_finding(backend) } else { None };
        let mut list = app.printer.list();
        let mut print = |view: FindingView| list.painted(&view, |sheet, color| finding(sheet, &view, color));
        // A file that can't be opened is a finding too.
        let wrong = match backend.doctor(against, &mut ask_server, &mut print) {
            Ok(wrong) => wrong,
            Err(failure) if failure.kind == Kind::Refused => return Err(failure.into()),
            Err(failure) => {
                let found = failure.message.clone();
                print(FindingView { what: "file".to_owned(), health: Health::Wrong, found, mend: failure.hints })?;
                true
            }
        };
        let mut broken = false;
        // A database with faults is not asked for its bindings.
        if matches!(backend, Backend::Own(_)) {
            found = provisioning::findings((!wrong).then_some(backend));
            found.extend(krl);
        }
        for view in found {
            broken |= view.health == Health::Wrong;
            list.painted(&view, |sheet, color| finding(sheet, &view, color))?;
        }
        list.end()?;
        Ok(u8::from(wrong || broken))
    }

    fn changes(&self) -> bool {
        self.accept_clock
    }
}

/// `ok`, `warning` or `WRONG`, what was looked at, what was found, and what to do.
fn finding(sheet: &mut Sheet, view: &FindingView, color: bool) {
    const FOUND: usize = 21;
    let (mark, code) = match view.health {
        Health::Ok => ("ok", "32"),
        Health::Warning => ("warning", "33"),
        Health::Wrong => ("WRONG", "1;31"),
    };
    let mark = if color { format!("\x1b[{code}m{mark:<7}\x1b[0m") } else { format!("{mark:<7}") };
    let lead = format!("{mark}  {:<10}  ", view.what);
    // What is wrong with the clock is a matter of seconds.
    let found = if view.what == "clock" { view.found.clone() } else { with_local_times(&view.found) };
    sheet.item(&lead, FOUND, &bounded(&lines(&found)));
    for mend in &view.mend {
        // A command to copy stays on one line.
        sheet.push(&format!("{:FOUND$}→ {}\n", "", bounded(&lines(mend))));
    }
}
